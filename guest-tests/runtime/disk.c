/* Blocks of the test disk. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/disk.h"

#include "guest-tests/runtime/dma.h"
#include "guest-tests/runtime/ktap.h"
#include "lib/assert.h"

bool disk_is_marked(const volatile void *block)
{
    static const char mark[] = "nosnoop test disk\n";
    const volatile char *at = block;
    for (unsigned i = 0; i < sizeof(mark) - 1; i++)
        if (at[i] != mark[i])
            return false;
    return true;
}

uint32_t disk_word(uint64_t byte)
{
    return (uint32_t)(byte / 4) * 0x9e3779b1u;
}

static uint32_t new_word(uint64_t byte, uint32_t seed)
{
    return disk_word(byte) ^ 0x55aa00ff ^ seed;
}

void disk_fill(volatile uint8_t *buffer, uint64_t lba, unsigned count, uint32_t seed)
{
    volatile uint32_t *words = (volatile uint32_t *)(uintptr_t)(buffer + DISK_OFFSET);
    assert(DISK_OFFSET + count * DISK_BLOCK <= DISK_PAGES * PAGE_SIZE);
    for (uint32_t i = 0; i < count * DISK_BLOCK; i += 4)
        words[i / 4] = new_word(lba * DISK_BLOCK + i, seed);
    dma_sync(buffer, DISK_PAGES * PAGE_SIZE);
}

void disk_expect(const volatile uint8_t *buffer, uint64_t lba, unsigned count, const uint32_t *seed)
{
    unsigned wrong = 0;
    uint32_t bytes = count * DISK_BLOCK, end = DISK_OFFSET + bytes;
    const volatile uint32_t *words = (const volatile uint32_t *)(uintptr_t)(buffer + DISK_OFFSET);
    dma_sync(buffer, DISK_PAGES * PAGE_SIZE);
    for (uint32_t i = 0; i < bytes; i += 4) {
        uint64_t byte = lba * DISK_BLOCK + i;
        wrong += words[i / 4] != (seed != NULL ? new_word(byte, *seed) : disk_word(byte));
    }
    expect(wrong == 0, "block %lu: %u words are wrong", lba, wrong);
    expect(dma_is_pattern(buffer, DISK_OFFSET), "bytes before it have changed");
    expect(dma_is_pattern(buffer + end, DISK_PAGES * PAGE_SIZE - end),
           "bytes behind it have changed");
}
