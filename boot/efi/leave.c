/* Ends boot services, with the memory map that holds at that moment. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/efi/loader.h"
#include "lib/errno.h"

/* Allocating the buffer, and the firmware's own last acts, split a few ranges more. */
enum { SLACK_DESCRIPTORS = 64 };

struct memory_map {
    EFI_MEMORY_DESCRIPTOR *descriptors;
    UINTN room, size, stride, key; /* bytes, but for the key */
};

static EFI_STATUS get_map(struct loader *loader, struct memory_map *map)
{
    UINT32 version;
    map->size = map->room;
    return loader->boot->GetMemoryMap(&map->size, map->descriptors, &map->key, &map->stride,
                                      &version);
}

static int make_room(struct loader *loader, struct memory_map *map)
{
    EFI_STATUS status = get_map(loader, map);
    if (status != EFI_BUFFER_TOO_SMALL || map->stride < sizeof(EFI_MEMORY_DESCRIPTOR)) {
        loader_panic("the firmware gives no memory map (status %llx); update the firmware",
                     (unsigned long long)status);
        return -EIO;
    }
    map->room = map->size + SLACK_DESCRIPTORS * map->stride;
    map->descriptors = memory_take(loader, map->room, EfiLoaderData, "the memory map");
    return map->descriptors == NULL ? -ENOMEM : 0;
}

/* UEFI, "EFI_BOOT_SERVICES.ExitBootServices()": one try may fail as its events change the map. */
static EFI_STATUS exit_with_map(struct loader *loader, struct memory_map *map)
{
    EFI_STATUS status = EFI_INVALID_PARAMETER;
    for (unsigned tries = 0; tries < 2 && EFI_ERROR(status); tries++) {
        status = get_map(loader, map);
        if (EFI_ERROR(status))
            break;
        console_close(); /* a failed try may have stopped it */
        status = loader->boot->ExitBootServices(loader->image, map->key);
    }
    return status;
}

int leave_firmware(struct loader *loader)
{
    struct memory_map map = {0};
    int error = make_room(loader, &map);
    if (error != 0)
        return error;
    EFI_STATUS status = exit_with_map(loader, &map);
    if (EFI_ERROR(status)) {
        loader_panic("the firmware does not end its services (status %llx); update the firmware",
                     (unsigned long long)status);
        return -EIO;
    }
    error = efi_memory_map(map.descriptors, map.size, map.stride, loader->info);
    assert(error ==
           0); /* the one thing that it refuses was checked when there was still a way back */
    return 0;
}
