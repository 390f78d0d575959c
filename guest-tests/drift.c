/*
 * Time on all CPUs at once: one TSC for all, and each one's APIC timer in each of its modes, which
 * never fires early, never twice, and does not drift against the TSC.
 *
 * row: drift end=0
 * row: drift.2 end=0 cpus=2 timeout=60 control-timeout=30
 * row: drift.4 end=0 cpus=4 timeout=90 control-timeout=60
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/taken.h"
#include "vmm/abi.h"

enum { FIRST = 0x41, READS = 20000, SHOTS = 20, PERIODS = 30, PERIOD = 10000, START_MS = 5000 };

static uint64_t first_tsc, last_tsc;
static uint64_t latest[SMP_MAX]; /* ticks of the TSC that a timer was late */

static unsigned vector_of(unsigned cpu)
{
    return FIRST + cpu;
}

/* Ticks of the TSC for one of the timer; 0: not known. */
static uint64_t ratio(void)
{
    if (!machine.nosnoop)
        return 0;
    struct cpuid_regs rates = cpuid(CPUID_HYPERVISOR_TIMING, 0);
    return rates.ebx == 0 ? 0 : rates.eax / rates.ebx;
}

static uint64_t ordered_rdtsc(void)
{
    __asm__ volatile("lfence" : : : "memory");
    uint64_t now = rdtsc();
    __asm__ volatile("lfence" : : : "memory");
    return now;
}

/* --- the TSC --------------------------------------------------------------------------------- */

/* No CPU reads less than what any has read before. */
static void read_often(unsigned cpu)
{
    for (unsigned i = 0; i < READS; i++) {
        uint64_t before = __atomic_load_n(&last_tsc, __ATOMIC_ACQUIRE);
        uint64_t now = ordered_rdtsc();
        if (!expect(now >= before, "CPU %u reads %lu after %lu", cpu, now, before))
            return;
        while (before < now && !__atomic_compare_exchange_n(&last_tsc, &before, now, false,
                                                            __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        }
    }
}

static void one_for_all(void)
{
    last_tsc = 0;
    smp_run(read_often);
}

static void begins_at_0(void)
{
    expect(first_tsc < machine_ticks(START_MS), "the guest began at %lu", first_tsc);
}

/* --- what all timers have in common ---------------------------------------------------------- */

static void set_timer(unsigned cpu, uint32_t mode, uint32_t initial)
{
    apic_set(LVT_TIMER, mode | vector_of(cpu));
    if (mode == DEADLINE)
        mfence(); /* SDM, "TSC-Deadline Mode": LVT is memory in xAPIC mode, the deadline an MSR */
    else
        apic_set(INITIAL, initial);
}

static void stop_timer(void)
{
    apic_set(LVT_TIMER, MASKED);
    apic_set(INITIAL, 0);
}

static void fired(unsigned cpu, uint64_t due, uint64_t now)
{
    expect(now >= due, "CPU %u: early by %lu", cpu, due - now);
    if (now - due > latest[cpu] && now >= due)
        latest[cpu] = now - due;
}

static void all_do(void (*what)(unsigned cpu))
{
    taken_clear();
    for (unsigned i = 0; i < smp_count(); i++)
        latest[i] = 0;
    smp_run(what);
    for (unsigned i = 0; i < smp_count(); i++)
        print("# CPU %u: %u taken, late by at most %lu\n", i, taken_of(i, vector_of(i)), latest[i]);
    for (unsigned i = 0; i < smp_count(); i++)
        for (unsigned other = 0; other < smp_count(); other++)
            expect(i == other || taken_of(i, vector_of(other)) == 0, "CPU %u's timer comes to %u",
                   other, i);
}

/* --- modes ----------------------------------------------------------------------------------- */

static void shoot_once(unsigned cpu)
{
    uint64_t rate = ratio();
    apic_set(DIVIDE, BY_1);
    sti();
    for (uint32_t i = 1; i <= SHOTS; i++) {
        uint32_t initial = 1000 + 777 * i % 4000;
        uint64_t start = ordered_rdtsc();
        set_timer(cpu, 0, initial);
        if (!expect(taken_wait(cpu, vector_of(cpu), i), "CPU %u: shot %u does not come", cpu, i))
            break;
        fired(cpu, start + initial * rate, ordered_rdtsc());
        expect(taken_of(cpu, vector_of(cpu)) == i, "CPU %u: %u taken after %u", cpu,
               taken_of(cpu, vector_of(cpu)), i);
    }
    cli();
    stop_timer();
}

static void one_shot(void)
{
    all_do(shoot_once);
}

static void sleep_once(unsigned cpu)
{
    uint64_t rate = ratio();
    apic_set(DIVIDE, BY_1);
    for (uint32_t i = 1; i <= SHOTS; i++) {
        uint32_t initial = 2000 + 333 * i % 3000;
        uint64_t start = ordered_rdtsc();
        set_timer(cpu, 0, initial);
        while (taken_of(cpu, vector_of(cpu)) < i)
            __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
        fired(cpu, start + initial * rate, ordered_rdtsc());
    }
    stop_timer();
}

static void halted(void)
{
    all_do(sleep_once);
}

static void reach_deadlines(unsigned cpu)
{
    set_timer(cpu, DEADLINE, 0);
    sti();
    for (uint32_t i = 1; i <= SHOTS; i++) {
        uint64_t due = ordered_rdtsc() + 20000 + 7777 * i % 50000;
        wrmsr(MSR_TSC_DEADLINE, due);
        if (!expect(taken_wait(cpu, vector_of(cpu), i), "CPU %u: deadline %u", cpu, i))
            break;
        fired(cpu, due, ordered_rdtsc());
        expect(!machine.nosnoop || rdmsr(MSR_TSC_DEADLINE) == 0,
               "CPU %u: the deadline is still %lx", cpu, rdmsr(MSR_TSC_DEADLINE));
    }
    cli();
    stop_timer();
}

static void deadlines(void)
{
    all_do(reach_deadlines);
}

/* What CURRENT shows at a time between two readings of the TSC is where the timer must be. */
static void expect_phase(unsigned cpu, const uint64_t start[2], uint64_t rate)
{
    uint64_t before = ordered_rdtsc();
    uint32_t current = apic_get(CURRENT);
    uint64_t after = ordered_rdtsc();
    uint64_t least = (before - start[1]) / rate, most = (after - start[0]) / rate + 1;
    bool fine = false;
    for (uint64_t at = least; at <= most && at - least < PERIOD; at++)
        fine |= PERIOD - at % PERIOD == current || at % PERIOD + current == 0;
    expect(fine, "CPU %u: CURRENT is %u after %lu to %lu ticks", cpu, current, least, most);
}

/* Until PERIODS are over; returns the longest time that the CPU was not to be seen. */
static uint64_t spend(uint64_t start, uint64_t ticks)
{
    uint64_t longest = 0;
    for (uint64_t seen = start, now; seen - start < ticks; seen = now) {
        now = rdtsc();
        if (now - seen > longest)
            longest = now - seen;
    }
    return longest;
}

static void tick(unsigned cpu)
{
    uint64_t rate = ratio(), period = PERIOD * rate, start[2];
    apic_set(DIVIDE, BY_1);
    start[0] = ordered_rdtsc();
    set_timer(cpu, PERIODIC, PERIOD);
    start[1] = ordered_rdtsc();
    sti();
    uint64_t longest = spend(start[1], PERIODS * period);
    cli();
    uint64_t over = (ordered_rdtsc() - start[0]) / period;
    expect_phase(cpu, start, rate);
    stop_timer();
    sti_nop_cli();
    uint32_t found = taken_of(cpu, vector_of(cpu));
    expect(found <= over + 1, "CPU %u: %u taken in %lu periods", cpu, found, over);
    if (machine_is_bochs()) /* elsewhere CPU or timer may be held up, and some become one */
        expect(found + 1 >= PERIODS, "CPU %u: %u taken in %lu periods", cpu, found, over);
    latest[cpu] = longest;
}

static void periodic(void)
{
    all_do(tick);
}

static void each_another(unsigned cpu)
{
    static void (*const modes[])(unsigned) = {shoot_once, reach_deadlines, tick, sleep_once};
    modes[cpu % ARRAY_SIZE(modes)](cpu);
}

static void mixed(void)
{
    all_do(each_another);
}

static void x2apic(void)
{
    smp_set_x2apic(true);
    all_do(each_another);
    all_do(tick);
    all_do(shoot_once);
}

/* The manuals have the timer's rate in CPUID 15h at best. */
static const char *needs_rate(void)
{
    return ratio() != 0 ? NULL : "only under the hypervisor";
}

static const struct test_case cases[] = {
    {"the TSC begins at 0", needs_nosnoop, begins_at_0},
    {"one TSC for all", NULL, one_for_all},
    {"one-shot", NULL, one_shot},
    {"one-shot, in HLT", NULL, halted},
    {"deadlines", needs_deadline, deadlines},
    {"periodic", needs_rate, periodic},
    {"each another mode", needs_rate, mixed},
    {"by x2APIC", needs_rate, x2apic},
};

void test_main(void)
{
    first_tsc = rdtsc();
    taken_init();
    smp_start();
    ktap_all(cases, ARRAY_SIZE(cases));
}
