/*
 * The policy goes round all that this CPU has rules for, with and without a device that does not
 * snoop, while the guest writes MTRRs, PAT and CR0 at random and uses its memory: after each step
 * the oracle's answers are those of runtime/policies.c for this state, registers read as they were
 * written, and memory has what was written there. With `to=N times=N` the policy alone changes, to
 * number N and back, and the log counts leaves: tests/system/test_switch.py.
 *
 * row: switch end=0 set=policy=exact set=control=yes control=skip control-reason="no hypercalls"
 * row: switch.wb end=0 set=policy=wb set=control=yes cmdline="seed=7" control=skip
 *      control-reason="no hypercalls"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/policies.h"
#include "lib/x86.h"

/* Memory that nothing else uses, where ranges begin and patterns stand. */
#define SPOT      0x2000000ull
#define SPOT_SIZE 0x800000ull

enum { STEPS_OF_A_CASE = 250, PROBES = 4, WORDS = 64 };

static struct {
    struct mtrrs mtrrs;
    uint64_t pat, cr0;
    const struct rules *rules;
    struct {
        volatile uint64_t *at;
        uint64_t value;
    } word[WORDS];
} model;

static uint64_t seed;

static uint64_t below(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % n;
}

/* --- what happens ----------------------------------------------------------------------------- */

static void write(uint32_t msr, uint64_t *model_of, uint64_t value)
{
    *model_of = value;
    wrmsr(msr, value);
}

static void write_pair(void)
{
    uint32_t i = 2 * (uint32_t)below(PAIRS);
    uint64_t size = PAGE_SIZE << below(12), mask = ~(size - 1) & address_mask();
    uint64_t base = (SPOT + below(SPOT_SIZE)) & mask;
    write(MSR_MTRR_PHYSBASE0 + i, &model.mtrrs.pair[i], base | mtrr_types[below(TYPES)]);
    write(MSR_MTRR_PHYSBASE0 + i + 1, &model.mtrrs.pair[i + 1],
          mask | (below(3) != 0 ? MASK_V : 0));
}

static void write_fixed(void)
{
    unsigned i = (unsigned)below(FIXED), shift = 8 * (unsigned)below(8);
    uint64_t others = model.mtrrs.fixed[i] & ~(0xffull << shift);
    uint64_t type = mtrr_types[below(TYPES)];
    write(fixed_msrs[i], &model.mtrrs.fixed[i], others | type << shift);
}

static void write_def_type(void)
{
    write(MSR_MTRR_DEF_TYPE, &model.mtrrs.def_type,
          mtrr_types[below(TYPES)] | (below(3) != 0 ? DEF_E : 0) | (below(2) != 0 ? DEF_FE : 0));
}

static void write_pat(void)
{
    uint64_t pat = 0;
    for (unsigned i = 0; i < 64; i += 8)
        pat |= (uint64_t)pat_types[below(PATS)] << i;
    write(MSR_PAT, &model.pat, pat);
}

static void write_caches(void)
{
    model.cr0 &= ~(uint64_t)(CR0_CD | CR0_NW);
    if (below(2) != 0)
        model.cr0 |= CR0_CD | (below(2) != 0 ? CR0_NW : 0);
    write_cr0(model.cr0);
}

static void write_memory(void)
{
    unsigned i = (unsigned)below(WORDS);
    model.word[i].at =
        (volatile uint64_t *)(SPOT + WORDS * 8 * below(SPOT_SIZE / WORDS / 8) + 8 * i);
    *model.word[i].at = model.word[i].value = seed;
    if (below(4) == 0)
        wbinvd();
}

/* The next policy that has rules here. */
static void change_policy(void)
{
    static unsigned next;
    do {
        model.rules = rules_of(next / 2, next % 2 != 0);
        next = (next + 1) % (2 * POLICIES);
    } while (model.rules == NULL);
    int64_t result = policy_call(model.rules->policy, model.rules->noncoherent);
    expect(result == 0, "policy %u: %ld", model.rules->policy, result);
    expect(policy_call(POLICY_ASK, 0) == model.rules->policy, "policy %ld is in force",
           policy_call(POLICY_ASK, 0));
}

static void change(void)
{
    static void (*const changes[])(void) = {
        write_pair,   write_pair,   write_fixed,   write_def_type, write_pat,     write_caches,
        write_memory, write_memory, change_policy, change_policy,  change_policy, change_policy};
    changes[below(ARRAY_SIZE(changes))]();
}

/* --- what is then looked at ------------------------------------------------------------------- */

static uint64_t probe_address(void)
{
    uint64_t edge = model.mtrrs.pair[2 * below(PAIRS)] & address_mask();
    if (below(3) == 0)
        return below(0x101) * PAGE_SIZE;
    return below(2) != 0 ? edge + below(2) - 1 : SPOT + below(SPOT_SIZE);
}

static void probe(void)
{
    uint64_t at = probe_address();
    unsigned rule, pat = pat_types[below(PATS)], guest = mtrrs_type(&model.mtrrs, at, &rule);
    bool cd = (model.cr0 & CR0_CD) != 0;
    const struct rules *rules = model.rules;
    struct memory_is is = memory_by(rules, &model.mtrrs, cd, at, pat);
    struct type_answer a;
    oracle_ask(HYPERCALL_TYPE_PHYSICAL, at, pat, &a);
    expect(a.cd == cd && a.guest_type == guest && a.guest_rule == rule, "%lx: CD %u, %u by %u", at,
           a.cd, a.guest_type, a.guest_rule);
    if (at >= 64 * MIB || (cd && rules->cd == CD_UNKNOWN))
        return;
    expect(a.effective == is.effective, "policy %u, device %u, %lx, PAT %u: %s, not %s",
           rules->policy, rules->noncoherent, at, pat, type_name(a.effective),
           type_name(is.effective));
    expect((a.rule == TYPE_RULE_CD) == is.by_cd, "policy %u, %lx: rule %u", rules->policy, at,
           a.rule);
    if (cd && rules->cd == CD_CPU)
        return;
    expect(a.leaf_type == is.leaf && a.leaf_ipat == is.ipat,
           "policy %u, device %u, %lx: leaf %u, IPAT %u, not %u, %u", rules->policy,
           rules->noncoherent, at, a.leaf_type, a.leaf_ipat, is.leaf, is.ipat);
}

static void look(void)
{
    for (unsigned i = 0; i < PROBES; i++)
        probe();
    expect(rdmsr(MSR_PAT) == model.pat, "PAT %lx, not %lx", rdmsr(MSR_PAT), model.pat);
    expect(read_cr0() == model.cr0, "CR0 %lx, not %lx", read_cr0(), model.cr0);
    for (unsigned i = 0; i < WORDS; i++)
        expect(*model.word[i].at == model.word[i].value, "memory at %lx: %lx, not %lx",
               (uint64_t)model.word[i].at, *model.word[i].at, model.word[i].value);
}

/* The MTRRs, read one by one. */
static void look_at_mtrrs(void)
{
    struct mtrrs real;
    mtrrs_read(&real);
    for (unsigned i = 0; i < MTRRS; i++) {
        uint32_t msr;
        uint64_t is = *mtrrs_at(&real, i, &msr), want = *mtrrs_at(&model.mtrrs, i, &msr);
        expect(is == want, "MSR %x: %lx, not %lx", msr, is, want);
    }
}

static void steps(void)
{
    mtrrs_read(&model.mtrrs);
    model.pat = rdmsr(MSR_PAT);
    model.cr0 = read_cr0();
    for (unsigned i = 0; i < WORDS; i++)
        write_memory();
    change_policy();
    for (unsigned i = 0; i < STEPS_OF_A_CASE; i++) {
        change();
        look();
    }
    look_at_mtrrs();
}

/* 2 MiB become UC; then nothing but the policy changes. */
static void there_and_back(void)
{
    int64_t from = policy_call(POLICY_ASK, 0);
    wrmsr(MSR_MTRR_PHYSBASE0 + 14, SPOT | MT_UC);
    wrmsr(MSR_MTRR_PHYSBASE0 + 15, (address_mask() & ~(2 * MIB - 1)) | MASK_V);
    for (uint64_t i = cmdline_number("times", 1); i > 0; i--) {
        int64_t result = policy_call(cmdline_number("to", 0), 1);
        expect(result == 0, "there: %ld", result);
        result = policy_call((uint64_t)from, 1);
        expect(result == 0, "back: %ld", result);
    }
}

static const struct test_case only_there_and_back[] = {{"there and back", NULL, there_and_back}};
static const struct test_case cases[] = {
    {"a first round", NULL, steps},
    {"a second round", NULL, steps},
    {"a third round", NULL, steps},
};

void test_main(void)
{
    seed = cmdline_number("seed", 1) * 0x9e3779b97f4a7c15;
    for (unsigned i = 0; i < WORDS; i++)
        model.word[i].at = (volatile uint64_t *)(SPOT + 8 * i);
    if (cmdline_number("times", 0) != 0) {
        ktap_all(only_there_and_back, 1);
    }
    ktap_all(cases, ARRAY_SIZE(cases));
}
