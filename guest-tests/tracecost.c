/*
 * What the trace adds to an exit: an OUT to an unassigned port while it has never been on, while it
 * is on, and after it has been, by the same instructions. In TSC ticks (instructions, where the
 * emulator counts them). tools/bench runs it.
 *
 * row: tracecost end=0 long=yes set=control=yes
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/x86.h"
#include "vmm/abi.h"

enum { REPEAT = 1000, UNUSED = 0x580 };

static uint32_t ticks_of_outs(void)
{
    uint64_t start = rdtsc();
    for (unsigned i = 0; i < REPEAT; i++)
        out8(UNUSED, 0);
    return (uint32_t)(rdtsc() - start);
}

/* Twice: the first time warms up what an emulator caches. */
static void measure(const char *when)
{
    (void)ticks_of_outs();
    print("# bench traced_%s 64 %u\n", when, (ticks_of_outs() + REPEAT / 2) / REPEAT);
}

static void cost(void)
{
    measure("never");
    int64_t on = hypercall_trace(TRACE_CALL_ON);
    measure("on");
    int64_t off = hypercall_trace(TRACE_CALL_OFF);
    measure("off_again");
    expect(on == 0 && off == 0, "on: %ld, off: %ld", on, off);
}

static const char *needs_trace(void)
{
    return machine.nosnoop ? NULL : "only under the hypervisor";
}

static const struct test_case cases[] = {
    {"an exit under the trace", needs_trace, cost},
};

void test_main(void)
{
    ktap_all(cases, ARRAY_SIZE(cases));
}
