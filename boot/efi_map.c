/* The UEFI door: turns the firmware's memory map into struct boot_info's ranges. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/boot_info.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

/* EFI_MEMORY_DESCRIPTOR, version 1; later versions only add fields at the end. */
struct efi_descriptor {
    uint32_t type;
    uint32_t reserved;
    uint64_t physical_start;
    uint64_t virtual_start;
    uint64_t pages; /* of 4 KiB */
    uint64_t attribute;
};

static_assert(sizeof(struct efi_descriptor) == 40, "UEFI, EFI_BOOT_SERVICES.GetMemoryMap()");

#define EFI_ATTRIBUTE_RUNTIME (1ull << 63)

enum { EFI_TYPE_CONVENTIONAL = 7 };

/* By EFI_MEMORY_TYPE (UEFI, "Memory Type Usage after ExitBootServices()"). */
static const uint8_t kinds[] = {
    [0] = MEM_FIRMWARE,                /* EfiReservedMemoryType */
    [1] = MEM_RAM,                     /* EfiLoaderCode */
    [2] = MEM_RAM,                     /* EfiLoaderData */
    [3] = MEM_RAM,                     /* EfiBootServicesCode */
    [4] = MEM_RAM,                     /* EfiBootServicesData */
    [5] = MEM_FIRMWARE,                /* EfiRuntimeServicesCode */
    [6] = MEM_FIRMWARE,                /* EfiRuntimeServicesData */
    [EFI_TYPE_CONVENTIONAL] = MEM_RAM, /* EfiConventionalMemory */
    [8] = MEM_BAD,                     /* EfiUnusableMemory */
    [9] = MEM_ACPI,                    /* EfiACPIReclaimMemory */
    [10] = MEM_FIRMWARE,               /* EfiACPIMemoryNVS */
    [11] = MEM_MMIO,                   /* EfiMemoryMappedIO */
    [12] = MEM_MMIO,                   /* EfiMemoryMappedIOPortSpace */
    [13] = MEM_FIRMWARE,               /* EfiPalCode */
    [14] = MEM_FIRMWARE,               /* EfiPersistentMemory */
};

/* Types of OEMs, of operating systems and of later versions of UEFI are left to the firmware. */
static enum mem_kind kind_of(const struct efi_descriptor *d)
{
    enum mem_kind kind = d->type < ARRAY_SIZE(kinds) ? (enum mem_kind)kinds[d->type] : MEM_FIRMWARE;
    bool runtime = (d->attribute & EFI_ATTRIBUTE_RUNTIME) != 0;
    return kind == MEM_RAM && runtime ? MEM_FIRMWARE : kind;
}

/* Returns false for a descriptor whose end is beyond the address space. */
static bool take(struct boot_info *info, const struct efi_descriptor *d)
{
    enum mem_kind kind = kind_of(d);
    if (d->pages > (UINT64_MAX - d->physical_start) / PAGE_SIZE)
        return false;
    /* What boot services used is conventional now: told apart, a real map would not fit. */
    uint32_t source = kind == MEM_RAM ? (uint32_t)EFI_TYPE_CONVENTIONAL : d->type;
    boot_add_range(info, d->physical_start, d->physical_start + d->pages * PAGE_SIZE, kind, source);
    return true;
}

int efi_memory_map(const void *map, uint64_t size, uint64_t stride, struct boot_info *info)
{
    const uint8_t *bytes = map;
    struct efi_descriptor descriptor;
    uint64_t bad = 0;
    if (stride < sizeof(descriptor)) {
        log_line("UEFI memory map: descriptors of %llu bytes, at least 40 expected; update the "
                 "firmware",
                 (unsigned long long)stride);
        return -EINVAL;
    }
    for (uint64_t count = size / stride; count > 0; count--, bytes += stride) {
        memcpy(&descriptor, bytes, sizeof(descriptor));
        if (!take(info, &descriptor))
            bad++;
    }
    if (bad != 0)
        log_line("UEFI memory map: %llu descriptors wrap around; left out, update the firmware",
                 (unsigned long long)bad);
    return 0;
}
