/*
 * Interprocessor interrupts between all CPUs: every kind and destination mode, to CPUs that run,
 * wait, or have interrupts off; none is lost, none comes twice.
 *
 * row: ipi end=0
 * row: ipi.2 end=0 cpus=2 timeout=60 control-timeout=30
 * row: ipi.4 end=0 cpus=4 timeout=90 control-timeout=60
 * row: ipi.many end=0 long=yes cpus=4 cmdline="ipis=100000" timeout=120 control-timeout=90
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/taken.h"
#include "lib/string.h"

enum { TEST = 0x71, PAIR = 0x30, OUT = 24, FIRST_HELD = 0x31, LAST_HELD = 0xef };
enum { IPIS = 10000, WAKES = 80, NMIS = 50, SETTLE_MS = 1 };

static unsigned count; /* of CPUs */

/* --- every kind ------------------------------------------------------------------------------ */

/* Who sends; the others have interrupts on meanwhile. */
static volatile unsigned sender;
static uint32_t wanted[SMP_MAX];
static void (*sends)(void);

static void settle(void)
{
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(SETTLE_MS);)
        smp_relax();
}

static unsigned all(void)
{
    return (1u << count) - 1;
}

static unsigned me(void)
{
    return 1u << smp_index();
}

/* Sends to DEST; all of MASK must take it, as VECTOR, and at the end none of the others has. */
static void check_vector(unsigned vector, uint32_t dest, uint32_t low, unsigned mask)
{
    apic_send(dest, vector == VECTOR_NMI ? low : low | vector);
    for (unsigned i = 0; i < count; i++)
        if ((mask >> i & 1) != 0)
            expect(taken_wait(i, vector, ++wanted[i]), "%x to %x: CPU %u does not take it", low,
                   dest, i);
    for (unsigned i = 0; i < count; i++)
        expect(taken_of(i, vector) == wanted[i], "%x to %x: CPU %u has taken %u, not %u", low, dest,
               i, taken_of(i, vector), wanted[i]);
}

static void check(uint32_t dest, uint32_t low, unsigned mask)
{
    check_vector(TEST, dest, low, mask);
}

/* Exactly one of MASK takes it. */
static void check_lowest(uint32_t dest, uint32_t low, unsigned mask)
{
    unsigned takers = 0;
    apic_send(dest, low | LOWEST | TEST);
    for (uint64_t start = rdtsc(); takers == 0 && rdtsc() - start < machine_ticks(2000);) {
        settle();
        for (unsigned i = 0; i < count; i++)
            if (taken_of(i, TEST) != wanted[i]) {
                takers |= 1u << i;
                wanted[i]++;
            }
    }
    expect(takers != 0 && (takers & (takers - 1)) == 0 && (takers & ~mask) == 0,
           "lowest priority to %x, of %x: taken by %x", dest, mask, takers);
}

/* Each CPU in turn does what SENDS says, while the others are there. */
static void take_turns(unsigned cpu)
{
    for (unsigned i = 0; i < count; i++) {
        smp_barrier();
        sti();
        if (cpu == i) {
            sends();
            settle();
            sender = i + 1;
        }
        while (sender <= i)
            smp_relax();
        cli();
    }
}

static void by_each(void (*what)(void), unsigned vector)
{
    taken_clear();
    memset(wanted, 0, sizeof(wanted));
    sender = 0;
    sends = what;
    smp_run(take_turns);
    for (unsigned i = 0; i < count; i++)
        expect(taken_of(i, vector) == wanted[i], "CPU %u: %u, not %u", i, taken_of(i, vector),
               wanted[i]);
}

static void send_physical(void)
{
    for (unsigned i = 0; i < count; i++)
        check(i, 0, 1u << i);
    check(count, 0, 0); /* there is none */
    check(apic_x2 ? 0xffffffff : 0xff, 0, all());
}

static void physical(void)
{
    by_each(send_physical, TEST);
}

static const char *needs_physical_lowest(void)
{
    return machine.nosnoop ? NULL : "emulator: no lowest priority by physical destination";
}

static void send_physical_lowest(void)
{
    for (unsigned i = 0; i < count; i++)
        check_lowest(i, 0, 1u << i);
}

static void physical_lowest(void)
{
    by_each(send_physical_lowest, TEST);
}

static void send_shorthands(void)
{
    check(0, TO_SELF, me());
    check(0, TO_ALL | ASSERT, all());
    check(0, TO_OTHERS, all() & ~me());
    check(smp_index(), TO_OTHERS | ASSERT, all() & ~me());
    if (apic_x2) {
        wrmsr(MSR_OF(SELF_IPI), TEST);
        wanted[smp_index()]++;
    }
}

static void shorthands(void)
{
    by_each(send_shorthands, TEST);
}

/* In x2APIC mode, too: there the first 16 CPUs are one cluster. */
static void send_flat(void)
{
    for (unsigned mask = 0; mask <= all(); mask++)
        check(mask, LOGICAL, mask);
    for (unsigned mask = 1; mask <= all(); mask++)
        check_lowest(mask, LOGICAL, mask);
    check(apic_x2 ? 0xffffffff : 0xff, LOGICAL, all());
}

static void set_flat(unsigned cpu)
{
    if (apic_x2)
        return;
    apic_set(DFR, 0xffffffff);
    apic_set(LDR, 1u << (24 + cpu));
}

static void flat(void)
{
    smp_run(set_flat);
    by_each(send_flat, TEST);
}

enum { CLUSTER_CPUS = 2 };

static void set_cluster(unsigned cpu)
{
    apic_set(DFR, 0x0fffffff);
    apic_set(LDR, (cpu / CLUSTER_CPUS << 4 | 1u << cpu % CLUSTER_CPUS) << 24);
}

static void send_cluster(void)
{
    for (unsigned cluster = 0; cluster * CLUSTER_CPUS < count; cluster++)
        for (unsigned mask = 0; mask < 1u << CLUSTER_CPUS; mask++) {
            unsigned cpus = mask << cluster * CLUSTER_CPUS & all();
            check(cluster << 4 | mask, LOGICAL, cpus);
            if (cpus != 0)
                check_lowest(cluster << 4 | mask, LOGICAL, cpus);
        }
    check(7 << 4 | 1, LOGICAL, 0);
}

static void cluster(void)
{
    smp_run(set_cluster);
    by_each(send_cluster, TEST);
}

static const char *needs_clusters(void)
{
    return machine.nosnoop ? NULL : "emulator: no broadcast to clusters";
}

static void send_to_clusters(void)
{
    check(0xff, LOGICAL, all());
}

static void to_clusters(void)
{
    smp_run(set_cluster);
    by_each(send_to_clusters, TEST);
}

static void send_nmis(void)
{
    for (unsigned i = 0; i < count; i++)
        check_vector(VECTOR_NMI, i, NMI | ASSERT, 1u << i);
    for (unsigned mask = 1; mask <= all(); mask++)
        check_vector(VECTOR_NMI, mask, NMI | LOGICAL, mask);
    check_vector(VECTOR_NMI, 0, NMI | TO_OTHERS, all() & ~me());
}

static void nmis(void)
{
    smp_run(set_flat);
    by_each(send_nmis, VECTOR_NMI);
}

/* --- to CPUs that cannot take it ------------------------------------------------------------- */

static volatile bool go, ready;

static const char *needs_two(void)
{
    return smp_count() > 1 ? NULL : "there is one CPU";
}

static const char *needs_two_x2apic(void)
{
    const char *unmet = needs_x2apic();
    return unmet != NULL ? unmet : needs_two();
}

static const char *needs_kicks(void)
{
    return machine.nosnoop && machine.intel && machine_is_bochs()
               ? "emulator: after a VM entry with IF = 0 what comes for the host waits for STI"
               : needs_two();
}

static const char *needs_kicks_x2apic(void)
{
    const char *unmet = needs_x2apic();
    return unmet != NULL ? unmet : needs_kicks();
}

static void wait_for_go(void)
{
    while (!go)
        cpu_relax();
}

static void log_order(unsigned cpu, unsigned vector)
{
    static unsigned last;
    expect(cpu == 1, "CPU %u takes %x", cpu, vector);
    expect(vector == LAST_HELD || vector == last - 1, "%x after %x", vector, last);
    last = vector;
}

static void take_all_held(unsigned cpu)
{
    (void)cpu;
    ready = true;
    wait_for_go();
    for (unsigned i = 0; i < VECTORS; i++)
        expect(taken_of(1, i) == 0, "%x is taken with interrupts off", i);
    for (unsigned i = FIRST_HELD; i <= LAST_HELD; i++)
        sti_nop_cli();
}

/* What comes while interrupts are off is taken later: each vector once, the highest first. */
static void held(void)
{
    taken_clear();
    taken_hook = log_order;
    go = ready = false;
    smp_begin(1, take_all_held);
    while (!ready)
        cpu_relax();
    for (unsigned twice = 0; twice < 2; twice++)
        for (unsigned i = FIRST_HELD; i <= LAST_HELD; i++)
            apic_send(1, i);
    settle();
    go = true;
    smp_wait(1);
    for (unsigned i = FIRST_HELD; i <= LAST_HELD; i++)
        expect(taken_of(1, i) == 1, "%x is taken %u times", i, taken_of(1, i));
    taken_hook = NULL;
}

static const char *needs_deaf(void)
{
    return !machine.nosnoop ? "emulator: an APIC that is off by software takes IPIs" : needs_two();
}

static void be_deaf(unsigned cpu)
{
    apic_set(SVR, SVR_ON & 0xff);
    go = true;
    sti();
    expect(taken_wait(cpu, VECTOR_NMI, 1), "no NMI");
    cli();
    apic_set(SVR, SVR_ON);
    sti_nop_cli();
}

/* SDM, "Local APIC State After It Has Been Software Disabled". */
static void deaf(void)
{
    taken_clear();
    go = false;
    smp_begin(1, be_deaf);
    wait_for_go();
    apic_send(1, TEST);
    settle();
    apic_send(1, NMI);
    smp_wait(1);
    expect(taken_of(1, TEST) == 0 && taken_of(1, VECTOR_NMI) == 1, "%u taken, and %u NMIs",
           taken_of(1, TEST), taken_of(1, VECTOR_NMI));
}

/* --- to CPUs that halt ----------------------------------------------------------------------- */

static void sleep_often(unsigned cpu)
{
    for (uint32_t i = 1; i <= WAKES; i++)
        while (taken_of(cpu, TEST) < i)
            __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
}

/* Each IPI ends a HLT, or comes before it: then the next is not reached. */
static void wake(void)
{
    taken_clear();
    for (unsigned i = 1; i < count; i++)
        smp_begin(i, sleep_often);
    for (uint32_t round = 1; round <= WAKES; round++)
        for (unsigned i = 1; i < count; i++) {
            apic_send(i, TEST);
            if (!expect(taken_wait(i, TEST, round), "round %u: CPU %u sleeps on", round, i))
                return;
        }
    for (unsigned i = 1; i < count; i++)
        smp_wait(i);
}

static void sleep_deeply(unsigned cpu)
{
    while (taken_of(cpu, VECTOR_NMI) < NMIS)
        __asm__ volatile("cli\n\thlt" : : : "memory");
}

static void wake_by_nmi(void)
{
    taken_clear();
    for (unsigned i = 1; i < count; i++)
        smp_begin(i, sleep_deeply);
    for (uint32_t round = 1; round <= NMIS; round++)
        for (unsigned i = 1; i < count; i++) {
            if (round % 2 != 0)
                settle(); /* it has halted by then */
            apic_send(i, NMI);
            if (!expect(taken_wait(i, VECTOR_NMI, round), "round %u: CPU %u has no NMI", round, i))
                return;
            expect(taken_of(i, VECTOR_NMI) == round, "CPU %u has %u NMIs, not %u", i,
                   taken_of(i, VECTOR_NMI), round);
        }
    for (unsigned i = 1; i < count; i++)
        while (!smp_is_done(i)) { /* it may have halted just after the last one */
            apic_send(i, NMI);
            settle();
        }
}

/* --- all pairs ------------------------------------------------------------------------------- */

static volatile uint32_t sent[SMP_MAX]; /* by each CPU: the number of its round */
static unsigned rounds;

/* The sender is known by the vector; it may have seen the count, and send the next. */
static void answer(unsigned cpu, unsigned vector)
{
    unsigned from = (vector - PAIR) / OUT;
    if (vector == VECTOR_NMI) /* the last one of another case */
        return;
    uint32_t number = taken[cpu][vector];
    expect(from < count && (number == sent[from] || number + 1 == sent[from]),
           "CPU %u takes %x for the %uth time, of %u", cpu, vector, number, sent[from]);
}

/* In each round every CPU sends each of its vectors to each, and waits until all have come. */
static void talk_to_all(unsigned cpu)
{
    unsigned first = PAIR + cpu * OUT;
    sti();
    for (uint32_t number = 1; number <= rounds; number++) {
        sent[cpu] = number;
        for (unsigned vector = first; vector < first + OUT; vector++)
            for (unsigned to = 0; to < count; to++)
                apic_send(to, vector);
        for (unsigned to = 0; to < count; to++)
            for (unsigned vector = first; vector < first + OUT; vector++)
                expect(taken_wait(to, vector, number), "number %u of %x from %u to %u is lost",
                       number, vector, cpu, to);
    }
    smp_barrier();
    cli();
}

static void talk(unsigned ipis)
{
    taken_clear();
    taken_hook = answer;
    unsigned each = count * count * OUT;
    rounds = (ipis + each - 1) / each;
    smp_run(talk_to_all);
    for (unsigned to = 0; to < count; to++)
        for (unsigned vector = PAIR; vector < PAIR + count * OUT; vector++)
            expect(taken_of(to, vector) == rounds, "%x to %u: %u of %u", vector, to,
                   taken_of(to, vector), rounds);
    if (taken_twice != 0)
        print("# the emulator has delivered %u of all a second time\n", taken_twice);
    taken_hook = NULL;
}

/* A fifth of all in xAPIC mode, where each takes longer, if there is another. */
static void pairs(void)
{
    unsigned ipis = (unsigned)cmdline_number("ipis", IPIS);
    talk(needs_x2apic() == NULL ? ipis / 5 : ipis);
}

static void pairs_x2apic(void)
{
    smp_set_x2apic(true);
    talk((unsigned)cmdline_number("ipis", IPIS) / 5 * 4);
}

static const struct test_case cases[] = {
    {"physical destinations", NULL, physical},
    {"physical destinations: lowest priority", needs_physical_lowest, physical_lowest},
    {"shorthands", NULL, shorthands},
    {"logical destinations: flat", NULL, flat},
    {"logical destinations: clusters", NULL, cluster},
    {"logical destinations: all clusters", needs_clusters, to_clusters},
    {"NMIs", NULL, nmis},
    {"held back while interrupts are off", needs_kicks, held},
    {"an APIC that is off by software", needs_deaf, deaf},
    {"HLT is ended", needs_two, wake},
    {"HLT with interrupts off is ended by an NMI", needs_two, wake_by_nmi},
    {"all pairs", NULL, pairs},
    {"all pairs, x2APIC", needs_x2apic, pairs_x2apic},
    {"x2APIC: physical destinations", needs_x2apic, physical},
    {"x2APIC: shorthands", needs_x2apic, shorthands},
    {"x2APIC: logical destinations", needs_x2apic, flat},
    {"x2APIC: NMIs", needs_x2apic, nmis},
    {"x2APIC: held back while interrupts are off", needs_kicks_x2apic, held},
    {"x2APIC: HLT is ended", needs_two_x2apic, wake},
};

void test_main(void)
{
    count = smp_count();
    taken_init();
    smp_start();
    ktap_all(cases, ARRAY_SIZE(cases));
}
