/* Reads files of the volume that the loader came from. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/efi/loader.h"
#include "lib/errno.h"
#include "lib/string.h"

enum {
    FILE_MAX_NAME = 256,
    FILE_CHUNK = 1 << 20, /* bytes a call: some firmware fails on large ones */
};

#define FILE_MAX_SIZE (2 * GIB)

/* UEFI, "EFI_FILE_PROTOCOL.SetPosition()": this position is the file's end. */
#define FILE_END UINT64_MAX

int file_open_directory(struct loader *loader)
{
    EFI_GUID loaded_image = EFI_LOADED_IMAGE_PROTOCOL_GUID;
    EFI_GUID file_system = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
    EFI_LOADED_IMAGE_PROTOCOL *self;
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *volume;
    EFI_FILE_HANDLE root;
    CHAR16 path[] = LOADER_DIRECTORY;
    EFI_BOOT_SERVICES *boot = loader->boot;
    EFI_STATUS status = boot->HandleProtocol(loader->image, &loaded_image, (void **)&self);
    if (!EFI_ERROR(status))
        status = boot->HandleProtocol(self->DeviceHandle, &file_system, (void **)&volume);
    if (!EFI_ERROR(status))
        status = volume->OpenVolume(volume, &root);
    if (!EFI_ERROR(status))
        status = root->Open(root, &loader->directory, path, EFI_FILE_MODE_READ, 0);
    if (!EFI_ERROR(status))
        return 0;
    loader_panic("no directory \\nosnoop on the volume of BOOTX64.EFI (status %llx); make one with "
                 "nosnoop.elf and nosnoop.cfg in it",
                 (unsigned long long)status);
    return -ENOENT;
}

/* Returns false for a name that is too long. */
static bool to_path(const char *name, CHAR16 *path, size_t size)
{
    size_t n = strlen(name);
    if (n >= size)
        return false;
    for (size_t i = 0; i <= n; i++)
        path[i] = name[i] == '/' ? u'\\' : (uint8_t)name[i];
    return true;
}

static EFI_STATUS get_size(EFI_FILE_HANDLE file, uint64_t *size)
{
    EFI_STATUS status = file->SetPosition(file, FILE_END);
    if (!EFI_ERROR(status))
        status = file->GetPosition(file, size);
    if (!EFI_ERROR(status))
        status = file->SetPosition(file, 0);
    return status;
}

static EFI_STATUS read_all(EFI_FILE_HANDLE file, uint8_t *to, uint64_t size)
{
    while (size > 0) {
        UINTN n = min_u64(size, FILE_CHUNK);
        EFI_STATUS status = file->Read(file, &n, to);
        if (EFI_ERROR(status))
            return status;
        if (n == 0 || n > size)
            return EFI_END_OF_FILE;
        to += n;
        size -= n;
    }
    return EFI_SUCCESS;
}

static int read_open(struct loader *loader, EFI_FILE_HANDLE file, const char *name,
                     struct bytes *out)
{
    uint64_t size = 0;
    EFI_STATUS status = get_size(file, &size);
    if (!EFI_ERROR(status) && size > FILE_MAX_SIZE) {
        loader_panic("\\nosnoop\\%s has %llu bytes; use a file of 2 GiB at most", name,
                     (unsigned long long)size);
        return -E2BIG;
    }
    uint8_t *data = NULL;
    if (!EFI_ERROR(status)) {
        data = memory_take(loader, size, EfiLoaderData, name);
        if (data == NULL)
            return -ENOMEM;
        status = read_all(file, data, size);
    }
    if (EFI_ERROR(status)) {
        loader_panic("\\nosnoop\\%s cannot be read (status %llx); copy it to the volume again",
                     name, (unsigned long long)status);
        return -EIO;
    }
    *out = (struct bytes){data, size};
    return 0;
}

int file_read(struct loader *loader, const char *name, struct bytes *out)
{
    CHAR16 path[FILE_MAX_NAME];
    EFI_FILE_HANDLE file;
    if (!to_path(name, path, ARRAY_SIZE(path)))
        return -ENOENT;
    EFI_FILE_HANDLE directory = loader->directory;
    EFI_STATUS status = directory->Open(directory, &file, path, EFI_FILE_MODE_READ, 0);
    if (EFI_ERROR(status))
        return -ENOENT;
    int error = read_open(loader, file, name, out);
    file->Close(file);
    return error;
}
