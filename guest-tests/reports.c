/*
 * What a guest reads of its MTRRs, and what acts: knobs of their own. The command line says what is
 * reported: the values of the start whatever is written, or no MTRRs at all.
 *
 * row: reports end=0 set=policy=exact set=control=yes
 * row: reports.fixed end=0 set=policy=exact set=report=fixed set=control=yes cmdline="fixed=yes"
 * row: reports.hidden end=0 set=policy=exact set=report=hidden set=control=yes cmdline="hidden=yes"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/memtypes.h"

#define SPOT      0x2000000ull
#define SPOT_SIZE 0x200000ull

enum { CPUID_MTRR = 1 << 12, FREE_PAIR = 7 };

static bool fixed, hidden;

static void check_cpuid(void)
{
    bool there = (cpuid(1, 0).edx & CPUID_MTRR) != 0;
    expect(there == !hidden, "CPUID 1: EDX.MTRR is %u", there);
}

/* Writes VALUE; then reads VALUE, what it was before (fixed), or neither is possible (hidden). */
static void check_write(uint32_t msr, uint64_t value)
{
    uint64_t old = 0, got = 0;
    struct fault read = try_rdmsr(msr, &old), write = try_wrmsr(msr, value);
    if (hidden) {
        expect(is_gp0(read) && is_gp0(write), "%x: vectors %d, %d", msr, read.vector, write.vector);
        return;
    }
    expect(read.vector == FAULT_NONE && write.vector == FAULT_NONE, "%x: vectors %d, %d", msr,
           read.vector, write.vector);
    try_rdmsr(msr, &got);
    expect(got == (fixed ? old : value), "%x: wrote %lx over %lx, read %lx", msr, value, old, got);
    try_wrmsr(msr, old);
}

static void check_registers(void)
{
    uint64_t cap;
    struct mtrrs all;
    for (unsigned i = 0; i < MTRRS; i++) {
        uint32_t msr;
        mtrrs_at(&all, i, &msr);
        check_write(msr, msr == MSR_MTRR_DEF_TYPE ? DEF_E | DEF_FE | MT_WT
                         : i >= 2 * PAIRS         ? 0x0404040404040404
                         : i % 2 == 0             ? SPOT | MT_WT
                                                  : address_mask() & ~(SPOT_SIZE - 1));
    }
    struct fault fault = try_rdmsr(MSR_MTRRCAP, &cap);
    expect(hidden ? is_gp0(fault) : cap == 0x508, "MTRRCAP: vector %d", fault.vector);
}

/* What no MTRR can hold is #GP whatever is reported. */
static void check_refusals(void)
{
    expect(is_gp0(try_wrmsr(MSR_MTRR_DEF_TYPE, DEF_E | DEF_FE | 2)), "a bad default type");
    expect(is_gp0(try_wrmsr(MSR_MTRR_PHYSBASE0, 3)), "a bad type");
    expect(is_gp0(try_wrmsr(MSR_MTRRCAP, 0)), "a write of MTRRCAP");
}

static unsigned type_of_spot(void)
{
    struct type_answer answer;
    int64_t result = oracle_ask(HYPERCALL_TYPE_PHYSICAL, SPOT, MT_WB, &answer);
    expect(result == 0, "the oracle: %ld", result);
    return answer.effective;
}

/* A range that is written acts, but where there are no MTRRs to write. */
static void check_effect(void)
{
    uint32_t base = MSR_MTRR_PHYSBASE0 + 2 * FREE_PAIR, mask = base + 1;
    expect(type_of_spot() == WB, "WB at first");
    try_wrmsr(base, SPOT | MT_WT);
    try_wrmsr(mask, (address_mask() & ~(SPOT_SIZE - 1)) | MASK_V);
    unsigned type = type_of_spot();
    expect(type == (hidden ? WB : WT), "%s", type_name(type));
    try_wrmsr(mask, 0);
    expect(type_of_spot() == WB, "WB again");
}

static const struct test_case cases[] = {
    {"CPUID", needs_nosnoop, check_cpuid},
    {"registers", needs_nosnoop, check_registers},
    {"refusals", needs_nosnoop, check_refusals},
    {"effect", needs_nosnoop, check_effect},
};

void test_main(void)
{
    fixed = cmdline_has("fixed", "yes");
    hidden = cmdline_has("hidden", "yes");
    ktap_all(cases, ARRAY_SIZE(cases));
}
