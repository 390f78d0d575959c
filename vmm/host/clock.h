/* How fast the TSC counts. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/x86.h"

/* Finds the TSC's rate, once for all CPUs, and logs it. Takes about 3 ms. */
void clock_init(void);

/* The TSC's rate in kHz; 0: not known. */
uint32_t clock_tsc_khz(void);

/* TSC ticks of at least US microseconds (at most 2^32): where the rate is not known, far more. */
uint64_t clock_ticks(uint64_t us);

/* The same by CPUID leaf 15h, whose answer R is; 0: it does not say. */
uint32_t clock_khz_of_crystal(struct cpuid_regs r);

/* The same of TICKS that the TSC made while the PIT counted CLOCK_PIT_COUNT; 0: implausible. */
enum { CLOCK_PIT_COUNT = 3579 };
uint32_t clock_khz_of_pit(uint64_t ticks);
