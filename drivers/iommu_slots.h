/* Entries for interrupts, which are given out in rows: a bit for each that is taken. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/assert.h"
#include "lib/errno.h"
#include "mm/types.h"

/* The bits of N slots from FIRST on in their word: N is a power of two, FIRST a multiple of it. */
static inline uint64_t slots_mask(unsigned first, unsigned n)
{
    return ((1ull << n) - 1) << first % 64;
}

/* Takes N <= 32 of COUNT slots; their first one, or -ENOSPC. */
static inline int slots_take(uint64_t *taken, unsigned count, unsigned n)
{
    for (unsigned i = 0; i < count; i += n)
        if ((taken[i / 64] & slots_mask(i, n)) == 0) {
            taken[i / 64] |= slots_mask(i, n);
            return (int)i;
        }
    return -ENOSPC;
}

static inline void slots_give_back(uint64_t *taken, unsigned first, unsigned n)
{
    assert((taken[first / 64] & slots_mask(first, n)) == slots_mask(first, n));
    taken[first / 64] &= ~slots_mask(first, n);
}
