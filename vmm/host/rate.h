/* Clocks of devices by the TSC, without drift: both counted from a common start. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

/* Whole cycles of a clock of HZ (below 2^22) in TICKS of a TSC of KHZ (not 0). */
static inline uint64_t rate_cycles(uint64_t ticks, uint32_t khz, uint32_t hz)
{
    uint64_t second = (uint64_t)khz * 1000;
    return ticks / second * hz + ticks % second * hz / second;
}

/* The first tick at which CYCLES are over; UINT64_MAX if that is none. */
uint64_t rate_tick(uint64_t cycles, uint32_t khz, uint32_t hz);
