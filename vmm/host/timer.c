/* The timer of the running CPU, by which a guest's wakes it: the physical local APIC's. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/timer.h"

#include "drivers/apic.h"
#include "lib/x86.h"
#include "vmm/host/log.h"
#include "vmm/host/traps.h"
#include "vmm/host/watchdog.h"

enum { VECTOR_TIMER = APIC_HOST_VECTORS + 1 }; /* the first is of kicks */

/* TSC ticks: what the rate is measured by, and what is set at most. */
enum { MEASURED = 1 << 19, LONGEST = 1 << 28 };

/* Ticks of the timer in 2^SHIFT ticks of the TSC, rounded up. */
enum { SHIFT = 28 };
static uint64_t rate; /* 0: there is none */

/* Who set it for a guest looks at that when it has come. */
static void on_timer(uint8_t vector)
{
    (void)vector;
    watchdog_look();
    timer_set(UINT64_MAX);
}

static uint64_t measure(void)
{
    uint64_t start = rdtsc(), end = start;
    apic_timer_start(UINT32_MAX);
    while (end - start < MEASURED)
        end = rdtsc();
    uint64_t ticks = UINT32_MAX - apic_timer_count();
    apic_timer_start(0);
    return (ticks << SHIFT) / (end - start) + 1;
}

void timer_init(void)
{
    if (!apic_timer_init(VECTOR_TIMER)) {
        log_line("clock: the local APIC is off: guests' timers only come when they exit");
        return;
    }
    if (rate != 0)
        return;
    traps_on_interrupt(VECTOR_TIMER, on_timer);
    rate = measure();
    log_line("clock: local APIC timer at %lu ticks for 1000000 of the TSC",
             rate * 1000000 >> SHIFT);
}

void timer_set(uint64_t ticks)
{
    uint64_t left = watchdog_left();
    if (rate == 0)
        return;
    if (ticks != UINT64_MAX)
        left = min_u64(left, min_u64(ticks, LONGEST));
    uint64_t count = left == UINT64_MAX ? 0 : min_u64((left * rate >> SHIFT) + 1, UINT32_MAX);
    apic_timer_start((uint32_t)count);
}

void timer_wait(void)
{
    if (rate != 0)
        traps_wait_for_interrupt();
    else
        traps_take_interrupts();
}
