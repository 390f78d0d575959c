/* The UEFI door: BOOTX64.EFI loads the kernel and the VMs' files, and starts the kernel. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdnoreturn.h>

#include "boot/efi/loader.h"
#include "lib/errno.h"
#include "lib/format.h"

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

static int make_info(struct loader *loader)
{
    loader->info = memory_take(loader, sizeof(*loader->info), EfiLoaderData, "boot information");
    if (loader->info == NULL)
        return -ENOMEM;
    loader->info->version = BOOT_INFO_VERSION;
    loader->info->door = DOOR_UEFI;
    format(loader->info->loader, sizeof(loader->info->loader), "nosnoop BOOTX64.EFI");
    return 0;
}

/* boot/entry.asm: RDI the boot information, RSI the image, paging as the firmware left it. */
static noreturn void enter_kernel(const struct loader *loader)
{
    uint64_t entry = loader->kernel + loader->kernel_entry;
    __asm__ volatile("cli\n\tcld\n\tjmp *%0"
                     :
                     : "r"(entry), "D"(loader->info), "S"(loader->kernel)
                     : "memory");
    __builtin_unreachable();
}

/* Files are read before pci_quiesce() takes the driver off the disk. */
static int prepare(struct loader *loader)
{
    int error = make_info(loader);
    if (error == 0)
        error = file_open_directory(loader);
    if (error == 0)
        error = kernel_load(loader);
    if (error == 0)
        error = files_load(loader);
    return error;
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    struct loader loader = {.image = image, .system = system, .boot = system->BootServices};
    console_open(image, system);
    if (prepare(&loader) != 0)
        return EFI_LOAD_ERROR;
    machine_describe(&loader);
    pci_quiesce(&loader);
    if (leave_firmware(&loader) != 0)
        return EFI_LOAD_ERROR;
    enter_kernel(&loader);
}
