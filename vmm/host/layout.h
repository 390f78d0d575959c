/* Where things are in the host's address space: all in the top 2 GiB (docs/memory-map.md). */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

#define IMAGE_VA   0xffffffff80000000ull /* the image, as linker.ld says */
#define POOL_VA    0xffffffff90000000ull /* the host pool */
#define BUILD_VA   0xffffffffa0000000ull /* the area of a CPU while it is made */
#define MMIO_VA    0xffffffffb0000000ull /* device registers */
#define AREA_VA    0xffffffffc0000000ull /* from here on each CPU maps its own area alone */
#define CPU_STRIDE 0x20000ull            /* of the areas */

#define MAIN_STACK_SIZE (16 * KIB)
#define IST_STACK_SIZE  (8 * KIB)

/* In an area, behind the stacks and unmapped pages between them (vmm/host/cpu.h). */
#define AREA_CPU_OFFSET    0xf000ull  /* struct cpu */
#define AREA_TABLE_OFFSET  0x11000ull /* the page table that has the windows */
#define AREA_WINDOW_OFFSET 0x12000ull /* pages mapped for a moment */

#define POOL_SIZE (2 * MIB)

/* Bounds that the linker sets. */
extern char image_start[], text_end[], rodata_end[], data_end[], image_end[];
