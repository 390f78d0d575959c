/*
 * How kernels wait: STI, and HLT in its shadow, so that no interrupt comes between and leaves the
 * HLT without one. A timer that is a little later each time comes to each instruction once.
 *
 * row: halts end=0
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/taken.h"

enum { VECTOR = 0x41, SHOTS = 2000, SOONEST = 500, STEP = 10 };

static void behind_sti(void)
{
    apic_set(DIVIDE, BY_1);
    apic_set(LVT_TIMER, VECTOR);
    for (uint32_t i = 1; i <= SHOTS; i++) {
        apic_set(INITIAL, SOONEST + STEP * i);
        while (taken_of(0, VECTOR) < i)
            __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
        expect(taken_of(0, VECTOR) == i, "%u taken after %u", taken_of(0, VECTOR), i);
    }
    apic_set(LVT_TIMER, MASKED);
}

static const struct test_case cases[] = {
    {"none comes between STI and HLT", NULL, behind_sti},
};

void test_main(void)
{
    taken_init();
    smp_start();
    ktap_all(cases, ARRAY_SIZE(cases));
}
