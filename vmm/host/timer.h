/* The timer of the running CPU, by which a guest's wakes it: the physical local APIC's. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

/*
 * Makes this CPU's timer ready; the first time its rate is measured by the TSC, and logged. Where
 * the local APIC is off there is none, which is logged: nothing comes then.
 */
void timer_init(void);

/*
 * An interrupt comes TICKS of the TSC from now, or before if that is far away: nothing but that it
 * An interrupt comes TICKS of the TSC from now, or before if that is far away or the watchdog is to
 * look: nothing but that it exits, or ends a HLT. UINT64_MAX: none is asked for.
 */
void timer_set(uint64_t ticks);

/* Halts until an interrupt comes; where there is no timer, it only takes those that are pending. */
void timer_wait(void);
