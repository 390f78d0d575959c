/*
 * IPIs between all CPUs without end, each counted, while timers fire, MTRRs are written and, if the
 * VM may do that, its policy is changed: none is lost, and none comes twice. Words of the command
 * line: ipis=N; policy=N for the number of the other policy. `make soak` runs it for long.
 *
 * row: ipistorm.2 end=0 cpus=2 timeout=60 control-timeout=30
 * row: ipistorm.4 end=0 cpus=4 timeout=90 control-timeout=60
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/policies.h"
#include "guest-tests/runtime/taken.h"

enum { FIRST = 0x51, TIMER = 0x41, IPIS = 2000, DISTURB = 16, SWITCH = 64, PERIOD = 200000 };
enum { PERIOD_BOCHS = 4000, MASK_VALID = 1 << 11, TYPE_UC = 0, TYPE_WB = 6 };

/* Memory that nothing else uses. */
#define SPOT      0x2000000ull
#define SPOT_SIZE 0x200000ull

static unsigned rounds;
static uint64_t total, timers, switches, mtrrs;
static int64_t policy_of_start;

static void write_mtrrs(uint32_t number)
{
    uint64_t mask = ~(SPOT_SIZE - 1) & ((1ull << physical_bits()) - 1);
    wrmsr(MSR_MTRR_PHYSBASE0, SPOT | (number / DISTURB % 2 != 0 ? TYPE_UC : TYPE_WB));
    wrmsr(MSR_MTRR_PHYSBASE0 + 1, mask | MASK_VALID);
    __atomic_add_fetch(&mtrrs, 2, __ATOMIC_RELAXED);
}

static void change_policy(uint32_t number)
{
    uint64_t other = cmdline_number("policy", POLICY_ASK);
    if (other == POLICY_ASK)
        return;
    uint64_t to = number / SWITCH % 2 != 0 ? other : (uint64_t)policy_of_start;
    int64_t result = policy_call(to, 0);
    expect(result == 0, "policy %lu: %ld", to, result);
    switches++;
}

static void start_timer(void)
{
    apic_set(DIVIDE, BY_1);
    apic_set(LVT_TIMER, TIMER | PERIODIC);
    apic_set(INITIAL, machine_is_bochs() ? PERIOD_BOCHS : PERIOD);
}

static void stop_timer(void)
{
    apic_set(INITIAL, 0);
    apic_set(LVT_TIMER, MASKED);
}

/* One IPI to each is on its way at a time: what is lost, or comes again, shows at once. */
static bool round_of(unsigned cpu, uint32_t number)
{
    for (unsigned to = 0; to < smp_count(); to++)
        apic_send(to, FIRST + cpu);
    if (number % DISTURB == 0)
        write_mtrrs(number);
    if (cpu == 0 && number % SWITCH == 0)
        change_policy(number);
    for (unsigned to = 0; to < smp_count(); to++) {
        bool come = taken_wait(to, FIRST + cpu, number);
        uint32_t times = taken_of(to, FIRST + cpu);
        if (!expect(come, "number %u from %u to %u is lost", number, cpu, to) ||
            !expect(times == number, "number %u from %u to %u: taken %u times", number, cpu, to,
                    times))
            return false;
    }
    return true;
}

static void rage(unsigned cpu)
{
    start_timer();
    sti();
    for (uint32_t number = 1; number <= rounds && round_of(cpu, number); number++) {
    }
    stop_timer();
    smp_barrier();
    cli();
    write_mtrrs(0); /* all CPUs' are the same at rest */
}

static void storm(unsigned ipis)
{
    unsigned each = smp_count() * smp_count();
    taken_clear();
    rounds = (ipis + each - 1) / each;
    smp_run(rage);
    for (unsigned to = 0; to < smp_count(); to++) {
        for (unsigned from = 0; from < smp_count(); from++) {
            uint32_t times = taken_of(to, FIRST + from);
            expect(times == rounds, "from %u to %u: %u of %u", from, to, times, rounds);
            total += times;
        }
        expect(taken_of(to, TIMER) != 0, "CPU %u's timer has not fired", to);
        timers += taken_of(to, TIMER);
    }
}

static void xapic(void)
{
    unsigned ipis = (unsigned)cmdline_number("ipis", IPIS);
    storm(needs_x2apic() == NULL ? ipis / 4 : ipis);
}

static void x2apic(void)
{
    smp_set_x2apic(true);
    storm((unsigned)cmdline_number("ipis", IPIS) / 4 * 3);
}

static const struct test_case cases[] = {
    {"xAPIC", NULL, xapic},
    {"x2APIC", needs_x2apic, x2apic},
};

void test_main(void)
{
    policy_of_start = machine.nosnoop ? policy_call(POLICY_ASK, 0) : 0;
    taken_init();
    smp_start();
    ktap_begin(ARRAY_SIZE(cases));
    ktap_run(cases, ARRAY_SIZE(cases));
    print("# IPIs %lu, timers %lu, MTRR writes %lu, policies %lu\n", total, timers, mtrrs,
          switches);
    ktap_end();
}
