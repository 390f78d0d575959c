/* How often each CPU has taken each interrupt. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest-tests/runtime/interrupt.h"
#include "guest-tests/runtime/smp.h"

/* By vector; NMIs have their own, 2. */
extern uint32_t taken[SMP_MAX][VECTORS];

/* How many came with interrupts off, which only an emulator does: they are not counted above. */
extern uint32_t taken_twice;

/* Called before the EOI of what has been counted, if it is not NULL. */
extern void (*taken_hook)(unsigned cpu, unsigned vector);

/* Interrupts and NMIs are counted from here on. To be called before smp_start(). */
void taken_init(void);

/* All counts are 0, and there is no hook. */
void taken_clear(void);

static inline uint32_t taken_of(unsigned cpu, unsigned vector)
{
    return __atomic_load_n(&taken[cpu][vector], __ATOMIC_ACQUIRE);
}

/* Waits until that is COUNT or more, with interrupts as they are; false: it has not become so. */
bool taken_wait(unsigned cpu, unsigned vector, uint32_t count);
