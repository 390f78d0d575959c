/* Where things are in the host's address space: all in the top 2 GiB (docs/memory-map.md). */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

#define IMAGE_VA   0xffffffff80000000ull /* the image, as linker.ld says */
#define POOL_VA    0xffffffff90000000ull /* the host pool */
#define WINDOW_VA  0xffffffffa0000000ull /* per CPU: pages mapped for a moment */
#define MMIO_VA    0xffffffffb0000000ull /* device registers */
#define STACK_VA   0xffffffffc0000000ull /* per CPU: stacks between unmapped pages */
#define CPU_STRIDE 0x10000ull            /* of the per-CPU parts */

#define MAIN_STACK_SIZE (16 * KIB)
#define IST_STACK_SIZE  (8 * KIB)

#define POOL_SIZE (2 * MIB)

/* Bounds that the linker sets. */
extern char image_start[], text_end[], rodata_end[], data_end[], image_end[];
