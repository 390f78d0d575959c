/* Whose rules memory types can follow, as a guest knows them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/policies.h"

#include "guest-tests/runtime/machine.h"
#include "lib/assert.h"

enum { EPT = 1, NPT = 0 };

const char *const policy_names[POLICIES] = {
    "exact",   "wb",           "kvm-2008", "kvm-4.19", "kvm-6.7", "kvm-6.11",  "kvm-6.16",
    "kvm-svm", "kvm-svm-2015", "xen",      "bhyve",    "acrn",    "jailhouse", "bitvisor"};

/* clang-format off */
const struct rules all_rules[] = {
    /* policy               on   device  leaves           IPAT  PAT               CR0.CD */
    {POLICY_EXACT,          EPT, false,  RAM_GUEST,       0,    PAT_GUEST,        CD_VIEW},
    {POLICY_EXACT,          EPT, true,   RAM_GUEST,       0,    PAT_GUEST,        CD_VIEW},
    {POLICY_EXACT,          NPT, false,  RAM_GUEST,       0,    PAT_GUEST,        CD_CPU},
    {POLICY_EXACT,          NPT, true,   RAM_GUEST,       0,    PAT_GUEST,        CD_CPU},
    {POLICY_WB,             EPT, false,  RAM_WB,          1,    PAT_GUEST,        CD_NOTHING},
    {POLICY_WB,             EPT, true,   RAM_WB,          1,    PAT_GUEST,        CD_NOTHING},
    {POLICY_WB,             NPT, false,  RAM_WB,          0,    PAT_GUEST,        CD_NOTHING},
    {POLICY_WB,             NPT, true,   RAM_WB,          0,    PAT_GUEST,        CD_NOTHING},
    {POLICY_KVM_2008,       EPT, false,  RAM_KVM_2008,    1,    PAT_GUEST,        CD_UNKNOWN},
    {POLICY_KVM_2008,       EPT, true,   RAM_KVM_2008,    1,    PAT_GUEST,        CD_UNKNOWN},
    {POLICY_KVM_4_19,       EPT, false,  RAM_WB,          1,    PAT_GUEST,        CD_NOTHING},
    {POLICY_KVM_4_19,       EPT, true,   RAM_GUEST,       0,    PAT_GUEST,        CD_WB_IPAT},
    {POLICY_KVM_6_7,        EPT, false,  RAM_WB,          1,    PAT_GUEST,        CD_NOTHING},
    {POLICY_KVM_6_7,        EPT, true,   RAM_GUEST,       0,    PAT_GUEST,        CD_WB},
    {POLICY_KVM_6_11,       EPT, false,  RAM_WB,          1,    PAT_GUEST,        CD_NOTHING},
    {POLICY_KVM_6_11,       EPT, true,   RAM_WB,          0,    PAT_GUEST,        CD_NOTHING},
    {POLICY_KVM_6_16,       EPT, false,  RAM_WB,          1,    PAT_GUEST,        CD_NOTHING},
    {POLICY_KVM_6_16,       EPT, true,   RAM_WB,          0,    PAT_GUEST,        CD_NOTHING},
    {POLICY_KVM_SVM,        NPT, false,  RAM_WB,          0,    PAT_GUEST,        CD_NOTHING},
    {POLICY_KVM_SVM,        NPT, true,   RAM_WB,          0,    PAT_GUEST,        CD_NOTHING},
    {POLICY_KVM_SVM_2015,   NPT, false,  RAM_WB,          0,    PAT_WB,           CD_CPU},
    {POLICY_KVM_SVM_2015,   NPT, true,   RAM_GUEST_NO_WP, 0,    PAT_GUEST,        CD_CPU},
    {POLICY_XEN,            EPT, false,  RAM_WB,          1,    PAT_GUEST,        CD_NOTHING},
    {POLICY_XEN,            EPT, true,   RAM_GUEST,       0,    PAT_GUEST,        CD_PAT_UC},
    {POLICY_XEN,            NPT, false,  RAM_WB,          0,    PAT_GUEST,        CD_UNKNOWN},
    {POLICY_XEN,            NPT, true,   RAM_WB,          0,    PAT_GUEST,        CD_UNKNOWN},
    {POLICY_BHYVE,          EPT, false,  RAM_WB,          1,    PAT_GUEST,        CD_UNKNOWN},
    {POLICY_BHYVE,          EPT, true,   RAM_WB,          1,    PAT_GUEST,        CD_UNKNOWN},
    {POLICY_BHYVE,          NPT, false,  RAM_WB,          0,    PAT_GUEST,        CD_UNKNOWN},
    {POLICY_BHYVE,          NPT, true,   RAM_WB,          0,    PAT_GUEST,        CD_UNKNOWN},
    {POLICY_ACRN,           EPT, false,  RAM_LOW,         0,    PAT_GUEST,        CD_PAT_UC},
    {POLICY_ACRN,           EPT, true,   RAM_LOW,         0,    PAT_GUEST,        CD_PAT_UC},
    {POLICY_JAILHOUSE,      EPT, false,  RAM_WB,          0,    PAT_UC_WITHOUT_E, CD_NOTHING},
    {POLICY_JAILHOUSE,      EPT, true,   RAM_WB,          0,    PAT_UC_WITHOUT_E, CD_NOTHING},
    {POLICY_JAILHOUSE,      NPT, false,  RAM_WB,          0,    PAT_UC_WITHOUT_E, CD_CPU},
    {POLICY_JAILHOUSE,      NPT, true,   RAM_WB,          0,    PAT_UC_WITHOUT_E, CD_CPU},
    {POLICY_BITVISOR,       EPT, false,  RAM_GUEST,       0,    PAT_GUEST,        CD_UNKNOWN},
    {POLICY_BITVISOR,       EPT, true,   RAM_GUEST,       0,    PAT_GUEST,        CD_UNKNOWN},
    {POLICY_BITVISOR,       NPT, false,  RAM_GUEST,       0,    PAT_GUEST,        CD_UNKNOWN},
    {POLICY_BITVISOR,       NPT, true,   RAM_GUEST,       0,    PAT_GUEST,        CD_UNKNOWN},
};
/* clang-format on */
const unsigned rules_count = ARRAY_SIZE(all_rules);

const struct rules *rules_of(unsigned policy, bool noncoherent)
{
    for (unsigned i = 0; i < rules_count; i++)
        if (all_rules[i].policy == policy && all_rules[i].intel == machine.intel &&
            all_rules[i].noncoherent == noncoherent)
            return &all_rules[i];
    return NULL;
}

/* Of a fixed range, whether or not it counts. */
static unsigned low_type(const struct mtrrs *mtrrs, uint64_t at)
{
    struct mtrrs on = *mtrrs;
    unsigned rule;
    on.def_type |= DEF_E | DEF_FE;
    return mtrrs_type(&on, at, &rule);
}

static unsigned ram_type(const struct rules *rules, const struct mtrrs *mtrrs, uint64_t at)
{
    unsigned rule, guest = mtrrs_type(mtrrs, at, &rule);
    unsigned on = mtrrs->def_type & (DEF_E | DEF_FE), otherwise = mtrrs->def_type & 7;
    switch ((enum ram_rule)rules->ram) {
    case RAM_GUEST:
        return guest;
    case RAM_GUEST_NO_WP:
        return guest == MT_WP ? MT_UC : guest;
    case RAM_KVM_2008:
        if (on == 0)
            return MT_WB;
        if (at < MIB)
            return low_type(mtrrs, at);
        return (on & DEF_E) != 0 ? guest : otherwise;
    case RAM_LOW:
        if (at < MIB)
            return on == (DEF_E | DEF_FE) ? low_type(mtrrs, at) : otherwise;
        break;
    case RAM_WB:
        break;
    }
    return MT_WB;
}

unsigned pat_by(const struct rules *rules, const struct mtrrs *mtrrs, bool cd, unsigned pat)
{
    bool enabled = (mtrrs->def_type & DEF_E) != 0;
    if ((cd && rules->cd == CD_PAT_UC) || (!enabled && rules->pat == PAT_UC_WITHOUT_E))
        return MT_UC;
    return rules->pat == PAT_WB ? MT_WB : pat;
}

struct memory_is memory_by(const struct rules *rules, const struct mtrrs *mtrrs, bool cd,
                           uint64_t at, unsigned pat)
{
    struct memory_is is = {.leaf = ram_type(rules, mtrrs, at), .ipat = rules->ipat};
    if (cd && (rules->cd == CD_WB || rules->cd == CD_WB_IPAT || rules->cd == CD_VIEW)) {
        is.leaf = rules->cd == CD_VIEW ? MT_UC : MT_WB;
        is.ipat = rules->cd != CD_WB;
        is.by_cd = true;
    }
    unsigned acting = is.ipat != 0 ? (unsigned)MT_WB : pat_by(rules, mtrrs, cd, pat);
    is.effective =
        expected(index_of(mtrr_types, TYPES, is.leaf), index_of(pat_types, PATS, acting));
    if (cd && rules->cd == CD_CPU) {
        is.effective = machine.intel ? UC : CD;
        is.by_cd = true;
    }
    return is;
}

int64_t policy_call(uint64_t policy, uint64_t flags)
{
    int64_t result = HYPERCALL_POLICY;
    if (machine.intel)
        __asm__ volatile("vmcall" : "+a"(result) : "b"(policy), "d"(flags) : "memory");
    else
        __asm__ volatile("vmmcall" : "+a"(result) : "b"(policy), "d"(flags) : "memory");
    return result;
}
