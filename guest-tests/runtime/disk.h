/* The test disk that drivers of disks use: its first block begins with a mark, in all others each
 * 32-bit word tells its place. Buffers are of two pages, data in them begin at DISK_OFFSET. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { DISK_BLOCK = 512, DISK_PAGES = 2, DISK_OFFSET = 0x400 };

/* Whether a block is the first one of a test disk; to no other disk may be written. */
bool disk_is_marked(const volatile void *block);

/* The word at a byte of the disk, as it is made. */
uint32_t disk_word(uint64_t byte);

/* What is to be written to COUNT blocks from LBA on; others by SEED. */
void disk_fill(volatile uint8_t *buffer, uint64_t lba, unsigned count, uint32_t seed);

/*
 * The buffer has COUNT blocks from LBA on as they were made (SEED is NULL), or as disk_fill() has
 * them; nothing around has changed.
 */
void disk_expect(const volatile uint8_t *buffer, uint64_t lba, unsigned count,
                 const uint32_t *seed);
