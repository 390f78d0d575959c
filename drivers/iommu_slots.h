/* Entries for interrupts, which are given out for good: a bit for each that is taken. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/errno.h"
#include "mm/types.h"

/* Takes one of COUNT slots: the first that is left, or -ENOSPC. */
static inline int slots_take(uint64_t *taken, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if ((taken[i / 64] >> i % 64 & 1) == 0) {
            taken[i / 64] |= 1ull << i % 64;
            return (int)i;
        }
    return -ENOSPC;
}
