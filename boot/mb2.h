/* What a multiboot 2 loader leaves in memory for the kernel. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "boot/multiboot.h"

/*
 * Multiboot2 Specification 2.0, "Boot information format": a head, then tags up to the end tag. All
 * begin at multiples of 8 bytes; sizes are in bytes, addresses physical. What stands below as a
 * structure of its own follows the tag's head.
 */
struct mb2_head {
    uint32_t total_size; /* with this head */
    uint32_t reserved;
};

struct mb2_tag {
    uint32_t type; /* enum mb2_type, or one that does not matter here */
    uint32_t size; /* with this head, without the padding behind it */
};

enum mb2_type {
    MB2_END = 0,
    MB2_LOADER_NAME = 2,
    MB2_MODULE = 3,
    MB2_MEMORY = 4,
    MB2_MMAP = 6,
    MB2_FRAMEBUFFER = 8,
    MB2_ACPI_OLD = 14,      /* a copy of the RSDP of ACPI 1.0 */
    MB2_ACPI_NEW = 15,      /* a copy of the RSDP of ACPI 2.0 and later */
    MB2_EFI_MMAP = 17,      /* struct mb2_map, then EFI_MEMORY_DESCRIPTORs */
    MB2_BOOT_SERVICES = 18, /* the loader has not called ExitBootServices() */
};

struct mb2_module {
    uint32_t start, end; /* bytes START to END-1; then comes the string */
};

struct mb2_memory {
    uint32_t lower, upper; /* KiB from 0, KiB from 1 MiB */
};

struct mb2_map {
    uint32_t entry_size, entry_version; /* later versions only add fields at an entry's end */
};

struct mb2_mmap {
    uint64_t base, length;
    uint32_t type; /* enum mb1_type */
    uint32_t reserved;
};

struct mb2_framebuffer {
    uint64_t hpa;
    uint32_t pitch, width, height; /* bytes a line, pixels, pixels */
    uint8_t bpp;
    uint8_t type; /* 1: direct colour, and struct multiboot_colors follows */
    uint16_t reserved;
};

static_assert(sizeof(struct mb2_mmap) == 24, "Boot information format, memory map");
static_assert(offsetof(struct mb2_framebuffer, bpp) == 20, "Boot information format, framebuffer");
static_assert(sizeof(struct mb2_framebuffer) == 24, "Boot information format, framebuffer");

/*
 * Turns the boot information at HPA into INFO, all of which is set. AT maps a physical address of
 * the loader's data to a pointer that can be read (identity in the kernel), or to NULL. The UEFI
 * memory map is preferred where the loader has left boot services; the RSDP is the loader's copy,
 * and kept. Modules that make no sense are logged and counted in dropped_files, and what follows a
 * damaged tag is left out, logged. Returns 0, or -EINVAL, logged, where the information is none or
 * has neither a memory map with RAM in it nor an amount of memory.
 */
int mb2_boot_info(uint64_t hpa, physical_at *at, struct boot_info *info);
