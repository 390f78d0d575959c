/* What the doors of both multiboot versions share: how the loader's data are read and judged. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "boot/boot_info.h"

/* A pointer to what lies at a physical address, or NULL where nothing can be read. */
typedef const void *physical_at(uint64_t hpa);

/* Types of memory map entries, in multiboot 2 as well; all others are reserved. */
enum mb1_type { MB1_RAM = 1, MB1_RESERVED, MB1_ACPI, MB1_NVS, MB1_BAD };

/* Of a framebuffer with direct colour: positions and sizes in bits. */
struct multiboot_colors {
    uint8_t red_position, red_size;
    uint8_t green_position, green_size;
    uint8_t blue_position, blue_size;
};

static_assert(sizeof(struct multiboot_colors) == 6, "Boot information format");

/* SIZE bytes of the loader's data at HPA, or NULL where they cannot be: all lie below 4 GiB. */
const void *multiboot_data(physical_at *at, uint64_t hpa, uint64_t size);

/* Copies SIZE bytes of the loader's data from HPA. Returns false where they cannot be. */
bool multiboot_fetch(physical_at *at, uint64_t hpa, void *to, size_t size);

/*
 * Copies the string at HPA, which ends at END (at most 4 GiB) at the latest, into the SIZE bytes at
 * TO. An address that holds no string gives the empty one; a string that is too long is cut.
 */
void multiboot_fetch_string(physical_at *at, uint64_t hpa, uint64_t end, char *to, size_t size);

/* Counts, and logs, a module that makes no sense; NUMBER counts the loader's modules from 0. */
void multiboot_drop_module(struct boot_info *info, uint32_t number);

/*
 * Adds an entry of the memory map; one that wraps around is logged and left out. Returns true for
 * RAM.
 */
bool multiboot_add_entry(struct boot_info *info, uint64_t base, uint64_t length, uint32_t type);

/*
 * What is left where there is no memory map: LOWER KiB from 0 and UPPER KiB from 1 MiB up. Returns
 * 0, or -EINVAL for UPPER = 0: both logged.
 */
int multiboot_amount_of_memory(struct boot_info *info, uint32_t lower, uint32_t upper);

/* The format of pixels of BPP bits; TYPE is the loader's: 1 is direct colour. */
enum boot_pixel multiboot_pixel(uint8_t type, uint8_t bpp, const struct multiboot_colors *colors);
