/*
 * One set of MTRRs under everybody's rules: what the oracle says of some places, each through a
 * type of the guest's PAT, under each policy that this CPU has rules for, with and without a
 * non-coherent device, with E = 1, with E = 0 and with CR0.CD = 1. tools/policies makes a picture
 * of what this prints.
 *
 * row: policymap end=0 set=policy=exact set=control=yes control=skip control-reason="no oracle"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/policies.h"
#include "lib/errno.h"
#include "lib/format.h"
#include "lib/x86.h"

#define LARGE (2 * MIB)

static const struct place {
    uint64_t at;
    uint8_t pat; /* the guest's PAT type there */
} places[] = {
    {24 * MIB, MT_WB},       /* nothing but the default type */
    {16 * MIB, MT_WB},       /* variable ranges, one type each */
    {16 * MIB, MT_WC},       /* */
    {18 * MIB, MT_WB},       /* */
    {20 * MIB, MT_WB},       /* */
    {22 * MIB, MT_WB},       /* */
    {0xa0000, MT_WB},        /* fixed ranges */
    {0xc0000, MT_WB},        /* */
    {24 * MIB, MT_WC},       /* the PAT alone */
    {24 * MIB, MT_WT},       /* */
    {24 * MIB, MT_UC_MINUS}, /* */
    {24 * MIB, MT_UC},       /* */
};

static void set_range(struct mtrrs *m, unsigned pair, uint64_t base, unsigned type)
{
    m->pair[2 * pair] = base | type;
    m->pair[2 * pair + 1] = (address_mask() & ~(LARGE - 1)) | MASK_V;
}

static void set_mtrrs(void)
{
    struct mtrrs m;
    mtrrs_read(&m);
    set_range(&m, 1, 16 * MIB, MT_UC);
    set_range(&m, 2, 18 * MIB, MT_WC);
    set_range(&m, 3, 20 * MIB, MT_WT);
    set_range(&m, 4, 22 * MIB, MT_WP);
    m.fixed[2] = 0;                                       /* A0000 to BFFFF: UC */
    m.fixed[3] = m.fixed[4] = 0x0101010101010101 * MT_WP; /* C0000 to CFFFF */
    m.def_type = DEF_E | DEF_FE | MT_WB;
    mtrrs_write(&m);
}

/* What bare metal's types follow from. */
static void print_scenario(void)
{
    struct mtrrs m;
    mtrrs_read(&m);
    print("# cpu %s\n", machine.intel ? "intel" : "amd");
    print("# default %lx\n", m.def_type);
    for (unsigned i = 0; i < PAIRS; i++)
        print("# variable %lx %lx\n", m.pair[2 * i], m.pair[2 * i + 1]);
    for (unsigned i = 0; i < FIXED; i++)
        print("# fixed %lx\n", m.fixed[i]);
    for (const struct place *p = places; p < places + ARRAY_SIZE(places); p++)
        print("# place %lx %s\n", p->at, encoded_name(p->pat));
}

/* --- policies --------------------------------------------------------------------------------- */

/* The effective type of each place, in one line. */
static void print_types(unsigned policy, bool noncoherent, bool enabled, bool cd)
{
    char line[128];
    size_t n = 0;
    for (const struct place *p = places; p < places + ARRAY_SIZE(places); p++) {
        struct type_answer a;
        int64_t result = oracle_ask(HYPERCALL_TYPE_PHYSICAL, p->at, p->pat, &a);
        expect(result == 0 && a.present != 0, "%s: %lx: %ld", policy_names[policy], p->at, result);
        n += format(line + n, sizeof(line) - n, " %s", type_name(a.effective));
    }
    print("# types %s %u %u %u%s\n", policy_names[policy], noncoherent, enabled, cd, line);
}

static void every_state(unsigned policy, bool noncoherent)
{
    uint64_t cr0 = read_cr0(), def_type = rdmsr(MSR_MTRR_DEF_TYPE);
    print_types(policy, noncoherent, true, false);
    wrmsr(MSR_MTRR_DEF_TYPE, def_type & ~(uint64_t)DEF_E);
    print_types(policy, noncoherent, false, false);
    wrmsr(MSR_MTRR_DEF_TYPE, def_type);
    write_cr0(cr0 | CR0_CD);
    print_types(policy, noncoherent, true, true);
    write_cr0(cr0);
}

static void every_policy(void)
{
    set_mtrrs();
    print_scenario();
    for (unsigned i = 0; i < 2 * POLICIES; i++) {
        int64_t result = policy_call(i / 2, i % 2);
        if (result == 0)
            every_state(i / 2, i % 2 != 0);
        else if (i % 2 == 0)
            print("# refused %s\n", policy_names[i / 2]);
        expect(result == 0 || result == -EOPNOTSUPP, "%s: %ld", policy_names[i / 2], result);
    }
    expect(policy_call(POLICY_EXACT, 0) == 0, "back to exact");
}

static const struct test_case cases[] = {
    {"the same memory under every policy", NULL, every_policy},
};

void test_main(void)
{
    ktap_all(cases, ARRAY_SIZE(cases));
}
