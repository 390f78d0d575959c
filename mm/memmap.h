/* Physical memory as the hypervisor sees it: the firmware's map made sane, and who has what. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "boot/boot_info.h"

/* Ranges and files overlap in at most 2n-1 pieces; the rest is for what the kernel takes. */
enum { MEMMAP_MAX = 2 * (BOOT_MAX_RANGES + BOOT_MAX_FILES) + 64 };

/* No physical address lies at or above it (MAXPHYADDR is at most 52). */
#define MEMMAP_END (1ull << 52)

/*
 * Rising, not overlapping, none empty, multiples of 4096, below MEMMAP_END; ranges of one kind that
 * touch are one. Their source is 0. What is in no range is nothing that the firmware named.
 */
struct memmap {
    struct mem_range r[MEMMAP_MAX];
    unsigned count;
};

/*
 * Makes the map from what the door said. RAM is rounded inward to pages, all else outward; where
 * ranges overlap the highest kind wins; an unknown kind counts as MEM_FIRMWARE. Boot files become
 * MEM_FILE. What is empty, wraps, or lies above MEMMAP_END is left out, and so is what the door had
 * to drop: both logged. Returns 0, -ENOMEM where no RAM is left (logged), or as memmap_set().
 */
int memmap_build(const struct boot_info *info, struct memmap *map);

/*
 * Makes START to END (multiples of 4096, START < END <= MEMMAP_END) be KIND, whatever was there.
 * Returns 0, or -E2BIG where the map is full, logged; then nothing has changed.
 */
int memmap_set(struct memmap *map, uint64_t start, uint64_t end, enum mem_kind kind);

/*
 * The lowest SIZE bytes of RAM at a multiple of ALIGN (a power of two >= 4096) that lie from MIN to
 * below MAX. SIZE is a multiple of 4096, not 0. Returns 0, or -ENOMEM, not logged: the caller knows
 * what it was for.
 */
int memmap_find(const struct memmap *map, uint64_t size, uint64_t align, uint64_t min, uint64_t max,
                uint64_t *start);

/* The enum mem_kind at ADDRESS, 0 for none. NEXT: where that answer stops; UINT64_MAX: nowhere. */
unsigned memmap_kind_at(const struct memmap *map, uint64_t address, uint64_t *next);

/* True where all of START to END is of KINDS: a bit for each enum mem_kind, bit 0 for none. */
bool memmap_is_all(const struct memmap *map, uint64_t start, uint64_t end, unsigned kinds);

/* KINDS where a chip's registers can be. */
enum { MEMMAP_REGISTERS = 1 | 1 << MEM_FIRMWARE | 1 << MEM_MMIO };
