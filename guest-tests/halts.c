/*
 * How kernels wait: STI, and HLT in its shadow, so that no interrupt comes between and leaves the
 * HLT without one. A timer that is a little later each time comes to each instruction once. And,
 * with interrupts off, a HLT that an NMI of a device ends, as watchdogs have them.
 *
 * row: halts end=0
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/isa.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/taken.h"

enum { VECTOR = 0x41, SHOTS = 2000, SOONEST = 500, STEP = 10, NMIS = 20, MS_COUNT = 1193 };

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

static volatile unsigned nmis;

static bool on_nmi(struct fault_frame *frame)
{
    if (frame->vector != VECTOR_NMI)
        return false;
    nmis++;
    rtc_get(RTC_C); /* its line falls */
    return true;
}

static void begin(void)
{
    nmis = 0;
    fault_hook = on_nmi;
}

/* Where an NMI comes before the HLT that is to wait for it, the next one ends that. */
static void halt_with_interrupts_off(void)
{
    rtc_get(RTC_C);
    for (unsigned i = 1; i <= NMIS; i++)
        while (nmis < i)
            __asm__ volatile("cli\n\thlt" : : : "memory");
}

/* The source is masked: one may be on its way, then none comes. */
static void end(void)
{
    enum { ON_ITS_WAY_MS = 1, PERIODS_MS = 5 };
    machine_spin(ON_ITS_WAY_MS);
    unsigned before = nmis;
    machine_spin(PERIODS_MS);
    expect(nmis == before, "%u NMIs though it is masked", nmis - before);
    fault_hook = NULL;
}

static void by_pit(void)
{
    begin();
    pit_start(2, MS_COUNT);
    pin_set(pin_of(IRQ_PIT), NMI);
    halt_with_interrupts_off();
    pin_set(pin_of(IRQ_PIT), PIN_MASKED);
    end();
}

static void by_rtc(void)
{
    begin();
    rtc_enable(RTC_PERIODIC);
    pin_set(IRQ_RTC, NMI);
    halt_with_interrupts_off();
    pin_set(IRQ_RTC, PIN_MASKED);
    end();
    rtc_enable(0);
}

static void by_8259s(uint32_t lint0, uint64_t pin_0)
{
    begin();
    pic_start(0);
    pit_start(2, MS_COUNT);
    pic_mask(IRQ_PIT, false);
    apic_set(LVT_LINT0, lint0);
    pin_set(0, pin_0);
    halt_with_interrupts_off();
    apic_set(LVT_LINT0, MASKED);
    pin_set(0, PIN_MASKED);
    end();
    pic_start(0);
}

static const char *needs_lint0(void)
{
    if (machine.nosnoop)
        return NULL;
    return machine_is_bochs() ? "emulator: the 8259s reach the CPU past LINT0"
                              : "emulator: it hangs where nobody acknowledges the 8259s";
}

static void by_lint0(void)
{
    by_8259s(NMI, PIN_MASKED);
}

static void by_pin_0(void)
{
    by_8259s(MASKED, NMI);
}

static const struct test_case cases[] = {
    {"none comes between STI and HLT", NULL, behind_sti},
    {"an NMI of the PIT ends CLI and HLT", NULL, by_pit},
    {"an NMI of the RTC", NULL, by_rtc},
    {"an NMI by LINT0", needs_lint0, by_lint0},
    {"an NMI by the I/O APIC's pin 0", needs_nosnoop, by_pin_0},
};

void test_main(void)
{
    taken_init();
    smp_start();
    ktap_all(cases, ARRAY_SIZE(cases));
}
