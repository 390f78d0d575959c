/* Ratios of clocks in 64 bits: whole seconds first, so that no product overflows. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/rate.h"

enum { PER_KHZ = 1000 };

uint64_t rate_cycles(uint64_t ticks, uint32_t khz, uint32_t hz)
{
    uint64_t second = (uint64_t)khz * PER_KHZ;
    return ticks / second * hz + ticks % second * hz / second;
}

uint64_t rate_tick(uint64_t cycles, uint32_t khz, uint32_t hz)
{
    uint64_t second = (uint64_t)khz * PER_KHZ;
    uint64_t rest = (cycles % hz * second + hz - 1) / hz;
    if (cycles / hz > (UINT64_MAX - rest) / second)
        return UINT64_MAX;
    return cycles / hz * second + rest;
}
