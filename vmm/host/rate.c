/* Ratios of clocks in 64 bits: whole seconds first, so that no product overflows. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/rate.h"

uint64_t rate_tick(uint64_t cycles, uint32_t khz, uint32_t hz)
{
    uint64_t second = (uint64_t)khz * 1000;
    uint64_t rest = (cycles % hz * second + hz - 1) / hz;
    if (cycles / hz > (UINT64_MAX - rest) / second)
        return UINT64_MAX;
    return cycles / hz * second + rest;
}
