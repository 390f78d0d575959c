/*
 * Memory types of several CPUs: all of them write MTRRs by the manuals' sequence again and again,
 * `times=N`, disagree for a while, `hold=N` milliseconds, are started again in the midst of the
 * sequence, and change the policy while the others write MTRRs, for `rounds=N` each. The oracle's
 * answers on each are those of its own MTRRs, those that say the same have the same tables, and
 * memory has what was written there.
 *
 * row: mpmtrr.2 end=0 cpus=2 cmdline="times=50 rounds=4" timeout=60 control-timeout=30
 *      set=policy=exact set=control=yes
 * row: mpmtrr.4 end=0 cpus=4 cmdline="times=50 rounds=2" timeout=90 control-timeout=60
 *      set=policy=exact set=control=yes
 * row: mpmtrr.many end=0 long=yes cpus=2 cmdline="only=sequence times=1000" timeout=180
 *      control-timeout=60 set=policy=exact set=control=yes
 *
 * With `only=sequence|pages|disagree` it does one of its parts alone: tests/system/test_sharing.py
 * reads in the log what came of that.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/policies.h"
#include "guest-tests/runtime/smp.h"
#include "lib/x86.h"

/* Memory that nothing else uses, where ranges begin and words stand. */
#define SPOT 0x2000000ull

enum { WORDS = 16, WORD_STEP = 0x81000, LAYOUTS = 6, OFTEN = 50 };
enum { DISAGREEMENTS = 2, SWITCHES = 5, ALL_SWITCH = 5 };

static struct mtrrs as_found;
static struct mtrrs layouts[LAYOUTS];
static uint64_t written[SMP_MAX][WORDS];
static uint64_t roots[SMP_MAX]; /* of the tables that each has said it runs on */
static bool over;

static uint64_t rounds(void)
{
    return cmdline_number("rounds", 1);
}

/* --- memory ---------------------------------------------------------------------------------- */

/* Words of all CPUs share lines. */
static volatile uint64_t *word_at(unsigned cpu, unsigned i)
{
    uintptr_t address = SPOT + i * WORD_STEP + cpu * sizeof(uint64_t);
    __asm__("" : "+r"(address)); /* an object there is unknown to the compiler */
    return (volatile uint64_t *)address;
}

static void write_words(unsigned cpu, uint64_t round)
{
    for (unsigned i = 0; i < WORDS; i++) {
        written[cpu][i] = round << 16 | cpu << 8 | i;
        *word_at(cpu, i) = written[cpu][i];
    }
}

static void check_words(unsigned cpu, unsigned owner)
{
    for (unsigned i = 0; i < WORDS; i++)
        expect(*word_at(owner, i) == written[owner][i], "CPU %u reads %lx at %lx, not %lx", cpu,
               *word_at(owner, i), (uint64_t)word_at(owner, i), written[owner][i]);
}

/* What all have written before they met. */
static void check_all_words(unsigned cpu)
{
    for (unsigned owner = 0; owner < smp_count(); owner++)
        check_words(cpu, owner);
}

/* --- MTRRs ----------------------------------------------------------------------------------- */

/* Those in which the layouts differ, as mtrrs_at() counts them: three pairs, 80000 to 9FFFF. */
static void write_some(const struct mtrrs *values)
{
    static const uint8_t some[] = {10, 11, 12, 13, 14, 15, 2 * PAIRS + 1, MTRRS - 1};
    struct mtrrs copy = *values;
    for (unsigned i = 0; i < ARRAY_SIZE(some); i++) {
        uint32_t msr;
        const uint64_t *at = mtrrs_at(&copy, some[i], &msr);
        wrmsr(msr, *at);
    }
}

/* SDM, "MTRR Considerations in MP Systems", steps 4 to 13. */
static void write_by_sequence(const struct mtrrs *values, void (*write)(const struct mtrrs *values))
{
    uint64_t cr0 = read_cr0(), cr4 = read_cr4();
    write_cr0((cr0 | CR0_CD) & ~CR0_NW);
    wbinvd();
    write_cr4(cr4 & ~CR4_PGE);
    write_cr3(read_cr3());
    wrmsr(MSR_MTRR_DEF_TYPE, values->def_type & ~(uint64_t)DEF_E);
    write(values);
    wbinvd();
    write_cr3(read_cr3());
    write_cr0(cr0);
    write_cr4(cr4);
}

static void update(const struct mtrrs *values)
{
    write_by_sequence(values, write_some);
}

/* Also those that a CPU may have been started without. */
static void update_all(const struct mtrrs *values)
{
    write_by_sequence(values, mtrrs_write);
}

static void set_pair(struct mtrrs *mtrrs, unsigned i, uint64_t base, uint64_t size, unsigned type)
{
    mtrrs->pair[2 * i] = base | type;
    mtrrs->pair[2 * i + 1] = (address_mask() & ~(size - 1)) | MASK_V;
}

static void make_layouts(void)
{
    mtrrs_read(&as_found);
    for (unsigned i = 0; i < LAYOUTS; i++)
        layouts[i] = as_found;
    set_pair(&layouts[1], 7, SPOT, 2 * MIB, MT_UC);
    set_pair(&layouts[2], 6, SPOT, 4 * MIB, MT_WT);
    set_pair(&layouts[2], 7, SPOT + MIB, 64 * KIB, MT_UC);
    set_pair(&layouts[3], 7, SPOT + 0x5000, PAGE_SIZE, MT_WP);
    layouts[3].fixed[1] = 0x0101010101010101ull * MT_WC; /* 80000 to 9FFFF */
    set_pair(&layouts[4], 5, SPOT + 4 * MIB, 4 * MIB, MT_WC);
    layouts[4].def_type &= ~(uint64_t)DEF_FE;
    layouts[5].def_type = (as_found.def_type & ~0xffull) | MT_WT;
}

/* Each register reads as it was written. */
static void check_mtrrs(unsigned cpu, const struct mtrrs *values)
{
    struct mtrrs is, want = *values;
    mtrrs_read(&is);
    for (unsigned i = 0; i < MTRRS; i++) {
        uint32_t msr;
        uint64_t has = *mtrrs_at(&is, i, &msr), should = *mtrrs_at(&want, i, &msr);
        expect(has == should, "CPU %u, MSR %x: %lx, not %lx", cpu, msr, has, should);
    }
}

/* --- types ----------------------------------------------------------------------------------- */

static const uint64_t places[] = {
    0,          0x85000,          0xa5000,        0xf3000,
    MIB,        SPOT - PAGE_SIZE, SPOT,           SPOT + 0x5000,
    SPOT + MIB, SPOT + 2 * MIB,   SPOT + 4 * MIB, SPOT + 8 * MIB - PAGE_SIZE,
};

/* On a bare machine there is no one to ask. */
static void check_types(unsigned cpu, const struct rules *rules, const struct mtrrs *mtrrs)
{
    for (unsigned i = 0; i < ARRAY_SIZE(places) && machine.nosnoop; i++) {
        uint64_t at = places[i];
        struct type_answer a;
        struct memory_is is = memory_by(rules, mtrrs, false, at, MT_WB);
        unsigned rule, type = mtrrs_type(mtrrs, at, &rule);
        int64_t result = oracle_ask(HYPERCALL_TYPE_PHYSICAL, at, MT_WB, &a);
        expect(result == 0 && a.cd == 0, "CPU %u, %lx: result %ld, CD %u", cpu, at, result, a.cd);
        expect(a.guest_type == type && a.guest_rule == rule, "CPU %u, %lx: %u by %u, not %u by %u",
               cpu, at, a.guest_type, a.guest_rule, type, rule);
        expect(a.leaf_type == is.leaf && a.leaf_ipat == is.ipat && a.effective == is.effective,
               "CPU %u, policy %u, %lx: leaf %u, IPAT %u, %s, not %u, %u, %s", cpu, rules->policy,
               at, a.leaf_type, a.leaf_ipat, type_name(a.effective), is.leaf, is.ipat,
               type_name(is.effective));
        roots[cpu] = a.root;
    }
}

static void check_exact(unsigned cpu, const struct mtrrs *mtrrs)
{
    check_types(cpu, rules_of(POLICY_EXACT, false), mtrrs);
}

/* All have told their roots before they met, and tell others only after they have met again. */
static void check_roots(unsigned cpu, bool same)
{
    for (unsigned i = 0; i < cpu && machine.nosnoop; i++)
        expect((roots[i] == roots[cpu]) == same, "CPU %u has the root %lx, CPU %u %lx", cpu,
               roots[cpu], i, roots[i]);
}

static void agree(unsigned cpu)
{
    update_all(&as_found);
    check_exact(cpu, &as_found);
    smp_barrier();
    check_roots(cpu, true);
}

/* --- all but one ----------------------------------------------------------------------------- */

/* The first CPU has the types of its start. */
static void change_but_first(unsigned cpu)
{
    write_words(cpu, 0);
    if (cpu != 0)
        update_all(&layouts[1]);
    smp_barrier();
    check_exact(cpu, cpu == 0 ? &as_found : &layouts[1]);
    check_all_words(cpu);
    smp_barrier();
    agree(cpu);
}

static void all_but_first(void)
{
    smp_run(change_but_first);
}

/* --- all at once ----------------------------------------------------------------------------- */

static void change_all(unsigned cpu)
{
    uint64_t times = cmdline_number("times", 1);
    update_all(&as_found);
    for (uint64_t i = 1; i <= times; i++) {
        const struct mtrrs *layout = &layouts[i % LAYOUTS];
        bool looks = i % OFTEN < LAYOUTS;
        smp_barrier();
        write_words(cpu, i);
        update(layout);
        if (looks)
            check_exact(cpu, layout);
        smp_barrier();
        check_all_words(cpu);
        if (looks) {
            check_mtrrs(cpu, layout);
            check_roots(cpu, true);
        }
    }
    update(&as_found);
}

static void sequences(void)
{
    smp_run(change_all);
}

/* Each time another page becomes UC, and that of before WB: 8 KiB of leaves. */
static void change_pages(unsigned cpu)
{
    struct mtrrs values = as_found;
    for (uint64_t i = 0; i < cmdline_number("times", 1); i++) {
        set_pair(&values, 7, SPOT + i * PAGE_SIZE, PAGE_SIZE, MT_UC);
        smp_barrier();
        update(&values);
        smp_barrier();
    }
    check_exact(cpu, &values);
}

static void pages(void)
{
    smp_run(change_pages);
}

/* --- each for itself ------------------------------------------------------------------------- */

static void hold(void)
{
    uint64_t ticks = machine_ticks((unsigned)cmdline_number("hold", 5));
    for (uint64_t start = rdtsc(); rdtsc() - start < ticks;)
        smp_relax();
}

static void disagree(unsigned cpu)
{
    struct mtrrs own = as_found;
    for (unsigned i = 0; i < DISAGREEMENTS; i++) {
        set_pair(&own, 7, SPOT, 2 * MIB, mtrr_types[(cpu + i) % TYPES]);
        write_words(cpu, i);
        update(&own);
        check_exact(cpu, &own);
        smp_barrier();
        check_roots(cpu, false);
        check_all_words(cpu);
        hold();
        check_exact(cpu, &own);
        check_mtrrs(cpu, &own);
        smp_barrier();
        update(&as_found);
        check_exact(cpu, &as_found);
        smp_barrier();
        check_roots(cpu, true);
        smp_barrier();
    }
}

static void disagreements(void)
{
    smp_run(disagree);
}

/* --- started again --------------------------------------------------------------------------- */

static const char *needs_mtrrs_kept(void)
{
    bool is_qemu = !machine.nosnoop && cpuid(1, 0).ecx >> 31 != 0;
    return is_qemu ? "emulator: INIT clears the MTRRs" : NULL;
}

static void change_on(unsigned cpu)
{
    for (unsigned i = cpu;; i++) {
        update(&layouts[i % LAYOUTS]);
        smp_relax();
    }
}

/* Whatever the CPU was in the middle of. */
static void check_kept(unsigned cpu)
{
    struct mtrrs kept;
    mtrrs_read(&kept);
    check_exact(cpu, &kept);
    check_words(cpu, cpu);
    check_mtrrs(cpu, &kept);
}

/* The others are gone while this one goes on, and come back to what it may have changed. */
static void start_others_again(unsigned round)
{
    for (unsigned i = 1; i < smp_count(); i++)
        smp_begin(i, change_on);
    for (unsigned i = 0; i < round; i++)
        update(&layouts[i % LAYOUTS]);
    for (unsigned i = 1; i < smp_count(); i++) {
        smp_init(i);
        update(&layouts[(round + i) % LAYOUTS]);
    }
    check_exact(0, &layouts[(round + smp_count() - 1) % LAYOUTS]);
    for (unsigned i = 1; i < smp_count(); i++) {
        apic_send(i, STARTUP | SMP_PAGE / 4096);
        if (expect(smp_has_come(i), "CPU %u has not come", i)) {
            smp_begin(i, check_kept);
            smp_wait(i);
        }
    }
    smp_run(agree);
}

static void restarts(void)
{
    for (unsigned i = 0; i < smp_count(); i++)
        write_words(i, 0);
    for (unsigned round = 1; round <= rounds(); round++)
        start_others_again(round);
}

/* --- policies -------------------------------------------------------------------------------- */

static const struct rules *in_force;

/* The next that this CPU has rules for. */
static void switch_policy(void)
{
    static unsigned next;
    do {
        in_force = rules_of(next / 2, next % 2 != 0);
        next = (next + 1) % (2 * POLICIES);
    } while (in_force == NULL);
    int64_t result = policy_call(in_force->policy, in_force->noncoherent);
    expect(result == 0, "policy %u: %ld", in_force->policy, result);
}

static void use_all(unsigned cpu, uint64_t round)
{
    write_words(cpu, round);
    expect(cpuid(1, 0).ebx >> 24 == cpu, "CPU %u: CPUID says %x", cpu, cpuid(1, 0).ebx >> 24);
    if (round % 4 == 1)
        update(&layouts[(cpu + round) % LAYOUTS]);
    if (round % 4 == 2)
        wrmsr(fixed_msrs[1], round % 8 == 2 ? 0 : as_found.fixed[1]);
    check_words(cpu, cpu);
    smp_relax();
}

static void switch_or_use(unsigned cpu)
{
    for (uint64_t i = 0; cpu != 0 && !__atomic_load_n(&over, __ATOMIC_ACQUIRE); i++)
        use_all(cpu, i);
    for (unsigned i = 0; cpu == 0 && i < SWITCHES; i++) {
        switch_policy();
        use_all(cpu, i);
    }
    if (cpu == 0)
        __atomic_store_n(&over, true, __ATOMIC_RELEASE);
}

static void check_policy(unsigned cpu)
{
    int64_t number = policy_call(POLICY_ASK, 0);
    update(&layouts[1]);
    check_all_words(cpu);
    expect(number == in_force->policy, "CPU %u: policy %ld, not %u", cpu, number, in_force->policy);
    check_types(cpu, in_force, &layouts[1]);
    smp_barrier();
    check_roots(cpu, true);
}

static void back_to_exact(void)
{
    int64_t result = policy_call(POLICY_EXACT, 0);
    expect(result == 0, "back to exact: %ld", result);
    smp_run(agree);
}

static void switches(void)
{
    for (unsigned i = 0; i < rounds(); i++) {
        over = false;
        smp_run(switch_or_use);
        smp_run(check_policy);
    }
    back_to_exact();
}

/* Without the device that does not snoop, which no answer tells of. */
static void switch_too(unsigned cpu)
{
    for (unsigned i = 0, policy = cpu; i < ALL_SWITCH; policy = (policy + 1) % POLICIES) {
        const struct rules *rules = rules_of(policy, false);
        if (rules == NULL)
            continue;
        int64_t result = policy_call(rules->policy, 0);
        expect(result == 0, "CPU %u, policy %u: %ld", cpu, policy, result);
        use_all(cpu, i++);
    }
}

static void all_switch(void)
{
    for (unsigned i = 0; i < rounds(); i++) {
        smp_run(switch_too);
        in_force = rules_of((unsigned)policy_call(POLICY_ASK, 0), false);
        smp_run(check_policy);
    }
    back_to_exact();
}

/* While they wait for their startup IPI they have no tables, and come back to other rules. */
static void switch_without_others(void)
{
    for (unsigned round = 0; round < rounds(); round++) {
        for (unsigned i = 1; i < smp_count(); i++) {
            smp_begin(i, change_on);
            smp_init(i);
            switch_policy();
        }
        for (unsigned i = 1; i < smp_count(); i++) {
            apic_send(i, STARTUP | SMP_PAGE / 4096);
            switch_policy();
            expect(smp_has_come(i), "CPU %u has not come", i);
        }
        for (unsigned i = 0; i < smp_count(); i++)
            write_words(i, round);
        smp_run(check_policy);
    }
    back_to_exact();
}

/* --- */

static const struct test_case only_sequence[] = {
    {"the manuals' sequence on all", NULL, sequences},
};
static const struct test_case only_pages[] = {{"a page at a time", NULL, pages}};
static const struct test_case only_disagree[] = {{"each has its own", NULL, disagreements}};
static const struct test_case cases[] = {
    {"all but the first", NULL, all_but_first},
    {"the manuals' sequence on all", NULL, sequences},
    {"each has its own", NULL, disagreements},
    {"started again in the midst of it", needs_mtrrs_kept, restarts},
    {"one changes the policy", needs_nosnoop, switches},
    {"all change the policy", needs_nosnoop, all_switch},
    {"a policy changed without others", needs_nosnoop, switch_without_others},
};

void test_main(void)
{
    smp_start();
    make_layouts();
    if (cmdline_has("only", "sequence"))
        ktap_all(only_sequence, 1);
    if (cmdline_has("only", "pages"))
        ktap_all(only_pages, 1);
    if (cmdline_has("only", "disagree"))
        ktap_all(only_disagree, 1);
    ktap_all(cases, ARRAY_SIZE(cases));
}
