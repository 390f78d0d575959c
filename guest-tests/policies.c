/*
 * Each policy that a VM can go over to, with and without a device that does not snoop: the oracle's
 * answers, in each state of MTRRs and CR0.CD, against what runtime/policies.c says of the system
 * that the policy is named after; and what a policy of the other backend is refused with.
 *
 * row: policies end=0 set=policy=exact set=control=yes control=skip control-reason="no hypercalls"
 * row: policies.denied end=0 cmdline="denied=yes" control=skip control-reason="no hypercalls"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/policies.h"
#include "lib/x86.h"

enum { FREE_PAIR = 7, LOW_FIXED = 5, EINVAL = 22, EPERM = 1, EOPNOTSUPP = 95 };

/* Memory that nothing else uses: 2 MiB at 32 MiB, and a page that fixed_msrs[LOW_FIXED] has. */
#define SPOT      0x2000000ull
#define SPOT_SIZE 0x200000ull
#define LOW       0xd3000ull

/* Each of the six types; not the reset value. */
#define PAT_ALL 0x0700010500070406ull

static unsigned number; /* of the policy that is tried */
static const struct rules *rules;

/* What must be the leaf's reason: enum mtrr_rule or enum type_rule. */
static unsigned rule_of(struct memory_is is, unsigned guest_type, unsigned guest_rule)
{
    if (is.by_cd)
        return TYPE_RULE_CD;
    return rules->ram == RAM_WB || is.leaf != guest_type ? (unsigned)TYPE_RULE_POLICY : guest_rule;
}

static void check_at(const struct mtrrs *mtrrs, bool cd, uint64_t at, unsigned pat)
{
    struct type_answer a;
    unsigned guest_rule, guest = mtrrs_type(mtrrs, at, &guest_rule);
    struct memory_is is = memory_by(rules, mtrrs, cd, at, pat);
    int64_t result = oracle_ask(HYPERCALL_TYPE_PHYSICAL, at, pat, &a);
    bool moot = cd && rules->cd == CD_CPU; /* leaves may be those of another state */
    expect(result == 0 && a.cd == cd, "asked: %ld, CD %u", result, a.cd);
    expect(a.guest_type == guest && a.guest_rule == guest_rule, "MTRRs: %u by %u", a.guest_type,
           a.guest_rule);
    expect(moot || (a.leaf_type == is.leaf && a.leaf_ipat == is.ipat),
           "device %u, %lx, default type %lx, CD %u: leaf %u, IPAT %u; not %u, %u",
           rules->noncoherent, at, mtrrs->def_type, cd, a.leaf_type, a.leaf_ipat, is.leaf, is.ipat);
    expect(a.pat_type == pat_by(rules, mtrrs, cd, pat), "device %u, CD %u: PAT %u for %u",
           rules->noncoherent, cd, a.pat_type, pat);
    expect(a.effective == is.effective,
           "device %u, %lx, default type %lx, CD %u, PAT %u: %s not %s", rules->noncoherent, at,
           mtrrs->def_type, cd, pat, type_name(a.effective), type_name(is.effective));
    expect(a.rule == rule_of(is, guest, guest_rule), "%lx: rule %u", at, a.rule);
}

static void check_state(const struct mtrrs *mtrrs, bool cd)
{
    for (unsigned pat = 0; pat < PATS; pat++)
        check_at(mtrrs, cd, SPOT, pat_types[pat]);
    check_at(mtrrs, cd, LOW, MT_WB);
    expect(rdmsr(MSR_PAT) == PAT_ALL, "PAT %lx", rdmsr(MSR_PAT));
}

/* With CR0.CD = 0 and 1; what nobody has published is only made to happen. */
static void check_both(const struct mtrrs *mtrrs)
{
    uint64_t cr0 = read_cr0();
    check_state(mtrrs, false);
    write_cr0(cr0 | CR0_CD);
    expect((read_cr0() & CR0_CD) != 0, "CD does not read as 1");
    if (rules->cd != CD_UNKNOWN)
        check_state(mtrrs, true);
    write_cr0(cr0);
    check_at(mtrrs, false, SPOT, MT_WB);
}

/* What check_type() changes of the MTRRs. */
static void put(const struct mtrrs *mtrrs)
{
    wrmsr(MSR_MTRR_PHYSBASE0 + 2 * FREE_PAIR, mtrrs->pair[2 * FREE_PAIR]);
    wrmsr(MSR_MTRR_PHYSBASE0 + 2 * FREE_PAIR + 1, mtrrs->pair[2 * FREE_PAIR + 1]);
    wrmsr(fixed_msrs[LOW_FIXED], mtrrs->fixed[LOW_FIXED]);
    wrmsr(MSR_MTRR_DEF_TYPE, mtrrs->def_type);
}

/* Both places get the type, with each value of E and FE and two default types. */
static void check_type(const struct mtrrs *start, unsigned type)
{
    static const unsigned ons[] = {DEF_E | DEF_FE, DEF_E, DEF_FE, 0};
    struct mtrrs mtrrs = *start;
    mtrrs.pair[2 * FREE_PAIR] = SPOT | type;
    mtrrs.pair[2 * FREE_PAIR + 1] = (address_mask() & ~(SPOT_SIZE - 1)) | MASK_V;
    mtrrs.fixed[LOW_FIXED] = 0x0101010101010101 * type;
    put(&mtrrs);
    for (unsigned on = 0; on < ARRAY_SIZE(ons); on++)
        for (unsigned other = 0; other < 2; other++) {
            mtrrs.def_type = ons[on] | (other != 0 ? MT_WC : MT_WB);
            wrmsr(MSR_MTRR_DEF_TYPE, mtrrs.def_type);
            check_both(&mtrrs);
        }
    put(start);
}

static void check_rules(void)
{
    struct mtrrs start;
    int64_t result = policy_call(number, rules->noncoherent);
    expect(result == 0, "the hypercall: %ld", result);
    expect(policy_call(POLICY_ASK, 0) == number, "in force: %ld", policy_call(POLICY_ASK, 0));
    mtrrs_read(&start);
    for (unsigned type = 0; type < TYPES; type++)
        check_type(&start, mtrr_types[type]);
}

static void refused(int64_t with, uint64_t policy, uint64_t flags)
{
    int64_t before = policy_call(POLICY_ASK, 0), result = policy_call(policy, flags);
    expect(result == -with, "policy %lx, %lx: %ld", policy, flags, result);
    expect(policy_call(POLICY_ASK, 0) == before, "it is in force");
}

static void one_policy(void)
{
    for (unsigned device = 0; device < 2; device++) {
        rules = rules_of(number, device != 0);
        if (rules != NULL)
            check_rules();
        else
            refused(EOPNOTSUPP, number, device);
    }
}

static void no_policy(void)
{
    refused(EINVAL, POLICIES, 0);
    refused(EINVAL, ~0ull - 1, 0);
    refused(EINVAL, 1ull << 32, 0);
    refused(EINVAL, POLICY_WB, 2);
    refused(EINVAL, POLICY_WB, 1ull << 63);
}

static void denied(void)
{
    expect(policy_call(POLICY_ASK, 0) == -EPERM, "asked");
    expect(policy_call(POLICY_EXACT, 0) == -EPERM, "set");
}

void test_main(void)
{
    uint64_t pat = rdmsr(MSR_PAT);
    const struct test_case denied_case[] = {{"without control = yes", NULL, denied}};
    if (cmdline_has("denied", "yes")) {
        ktap_all(denied_case, 1);
    }
    ktap_begin(POLICIES + 1);
    wrmsr(MSR_PAT, PAT_ALL);
    for (number = 0; number < POLICIES; number++) {
        const struct test_case policy_case = {policy_names[number], NULL, one_policy};
        ktap_run(&policy_case, 1);
    }
    const struct test_case last = {"no such policy", NULL, no_policy};
    ktap_run(&last, 1);
    wrmsr(MSR_PAT, pat);
    ktap_end();
}
