/*
 * WBINVD and INVD under rules for a VM with and without a device that does not snoop: neither loses
 * what is in the caches. tests/system/test_passthrough.py looks in the trace for which of them had
 * an exit, and what was done.
 *
 * row: wbinvd end=0 set=control=yes
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/policies.h"
#include "lib/x86.h"

enum { WORDS = 4096 };
static volatile uint64_t memory[WORDS];

static uint64_t word(unsigned i, uint64_t seed)
{
    return (i + seed) * 0x9e3779b97f4a7c15ull;
}

static void fill(uint64_t seed)
{
    for (unsigned i = 0; i < WORDS; i++)
        memory[i] = word(i, seed);
}

static void expect_filled(uint64_t seed)
{
    unsigned wrong = 0;
    for (unsigned i = 0; i < WORDS; i++)
        wrong += memory[i] != word(i, seed);
    expect(wrong == 0, "%u words are lost", wrong);
}

static void both(uint64_t policy, uint64_t device)
{
    int64_t result = policy_call(policy, device);
    expect(result == 0, "policy %lu: %ld", policy, result);
    fill(device + 1);
    wbinvd();
    expect_filled(device + 1);
    fill(device + 2);
    __asm__ volatile("invd" : : : "memory");
    expect_filled(device + 2);
}

static void keep_what_is_cached(void)
{
    int64_t on = hypercall_trace(TRACE_CALL_ON);
    both(POLICY_EXACT, 1);
    both(POLICY_WB, 0);
    int64_t off = hypercall_trace(TRACE_CALL_OFF), dump = hypercall_trace(TRACE_CALL_DUMP);
    expect(on == 0 && off == 0 && dump == 0, "on %ld, off %ld, dump %ld", on, off, dump);
}

static const struct test_case cases[] = {
    {"WBINVD and INVD", needs_nosnoop, keep_what_is_cached},
};

void test_main(void)
{
    ktap_all(cases, ARRAY_SIZE(cases));
}
