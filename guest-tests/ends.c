/*
 * One CPU ends the VM while the others do something: they spin, halt, exit without end, send IPIs,
 * or wait to be started. `by` says how, `who` which one, `others` what they do; with `boots` it is
 * started again so many times first; with `trace=yes` the others' CPUs are traced from the first.
 *
 * row: ends.exit end=7 cpus=4 cmdline="by=exit who=3 others=exits" control=7
 * row: ends.triple end=126 cpus=4 stopped="reset" cmdline="by=triple who=2 others=spin" control=127
 * row: ends.nowhere end=126 cpus=4 stopped="b0000000" cmdline="by=nowhere who=1 others=ipis"
 *      control=9
 * row: ends.halt end=126 cpus=4 stopped="halted for good" cmdline="by=halt who=0 others=halt"
 *      control=124 control-timeout=3
 * row: ends.restart end=7 cpus=4 cmdline="by=triple who=3 others=exits boots=20"
 *      set="on_reset=restart" control=127
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/taken.h"
#include "mm/types.h"
#include "vmm/abi.h"

enum { VALUE = 7, GOES_ON = 9, VECTOR = 0x51, UNUSED_PORT = 0x580 };

#define HOLE_PAGE 0xd0000000ull
#define NOWHERE   0xb0000000ull
#define KEPT      0x2000000ull /* nothing is loaded there: a reset leaves it alone */
#define MARK      0x736e7261746572ull

static volatile unsigned busy;
static uint64_t boot;

static volatile uint64_t *kept(void)
{
    uintptr_t address = KEPT;
    __asm__("" : "+r"(address)); /* an object there is unknown to the compiler */
    return (volatile uint64_t *)address;
}

/* --- what the others do ---------------------------------------------------------------------- */

static void spin(void)
{
    sti();
    for (;;)
        cpu_relax();
}

static void spin_deaf(void)
{
    for (;;)
        smp_relax();
}

static void exit_for_ever(void)
{
    for (;;) {
        (void)cpuid(0, 0);
        out8(UNUSED_PORT, 0);
        (void)*(volatile uint32_t *)HOLE_PAGE;
        smp_relax();
    }
}

static void send_for_ever(void)
{
    sti();
    for (;;)
        apic_send(0, VECTOR | TO_ALL);
}

static void sleep_for_ever(void)
{
    for (;;)
        __asm__ volatile("sti\n\thlt" : : : "memory");
}

static void others_do(unsigned cpu)
{
    static const struct {
        const char *name;
        void (*what)(void);
    } rows[] = {{"spin", spin},          {"deaf", spin_deaf},       {"exits", exit_for_ever},
                {"ipis", send_for_ever}, {"sleep", sleep_for_ever}, {"halt", halt_forever}};
    (void)cpu;
    if (boot == 1 && cmdline_has("trace", "yes"))
        (void)hypercall_trace(TRACE_CALL_ON);
    __atomic_add_fetch(&busy, 1, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        if (cmdline_has("others", rows[i].name))
            rows[i].what();
    guest_exit(1);
}

/* --- how it ends ----------------------------------------------------------------------------- */

static void end(unsigned cpu)
{
    (void)cpu;
    while (busy != smp_count() - 1)
        smp_relax();
    if (cmdline_has("by", "exit"))
        guest_exit(VALUE);
    if (cmdline_has("by", "triple"))
        triple_fault();
    if (cmdline_has("by", "nowhere"))
        (void)*(volatile uint64_t *)NOWHERE;
    if (cmdline_has("by", "halt"))
        halt_forever();
    guest_exit(GOES_ON);
}

/* Ends the guest once it has been started often enough. */
static void count_boots(void)
{
    volatile uint64_t *place = kept();
    uint64_t boots = cmdline_number("boots", 0);
    if (boots == 0)
        return;
    place[1] = place[0] == MARK ? place[1] + 1 : 1;
    place[0] = MARK;
    boot = place[1];
    if (place[1] > boots)
        guest_exit(VALUE);
}

void test_main(void)
{
    unsigned who = (unsigned)cmdline_number("who", 0);
    count_boots();
    taken_init();
    smp_start();
    if (cmdline_has("others", "wait")) { /* they have been started, and go back to waiting */
        for (unsigned i = 1; i < smp_count(); i++)
            if (i != who)
                smp_init(i);
        busy = smp_count() - 1;
    }
    for (unsigned i = 1; i < smp_count() && !cmdline_has("others", "wait"); i++)
        if (i != who)
            smp_begin(i, others_do);
    if (who == 0)
        end(0);
    smp_begin(who, end);
    if (!cmdline_has("others", "wait"))
        others_do(0);
    sleep_for_ever();
}
