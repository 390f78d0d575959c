/* Whether the TSCs of the CPUs agree. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/host/cpu.h"

/* Compares those of OTHERS, which are up, with the running CPU's, one after the other; logs it. */
void tsc_compare(struct cpu_set others);

/* What an other one does for it (REQUEST_TSC). */
void tsc_answer(void);

/*
 * What an exchange says: asked at BEFORE, the other CPU read THEIRS, and the answer was there at
 * AFTER. Returns 0 where the two may agree, else how far the other one is ahead at least.
 */
static inline int64_t tsc_ahead(uint64_t before, uint64_t theirs, uint64_t after)
{
    int64_t late = (int64_t)(theirs - before), early = (int64_t)(theirs - after);
    return late < 0 ? late : early > 0 ? early : 0;
}
