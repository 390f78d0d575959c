/*
 * CPUs with memory types of their own, one of which is started again, by an INIT that leaves its
 * MTRRs alone: it needs other tables then, as another CPU has taken those that it had.
 *
 * row: crowded end=0 cpus=3 memory=16M set=policy=exact
 *
 * tests/system/test_typing.py gives it so much memory that there are not enough.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/memtypes.h"
#include "guest-tests/runtime/smp.h"

enum { FREE_PAIR = 7, INIT_MS = 30 };

static const uint8_t types[] = {MT_UC, MT_WT, MT_WP};

/* Every other MiB of all memory, by one range whose mask has a single bit, a type for each CPU. */
static void take_tables(unsigned cpu)
{
    wrmsr(MSR_MTRR_PHYSBASE0 + 2 * FREE_PAIR, MIB | types[cpu]);
    wrmsr(MSR_MTRR_PHYSBASE0 + 2 * FREE_PAIR + 1, MIB | MASK_V);
}

static void crowd(void)
{
    smp_begin(1, take_tables);
    smp_wait(1);
    smp_init(1);
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(INIT_MS);)
        smp_relax(); /* it has left its tables then */
    smp_begin(2, take_tables);
    smp_wait(2);
    take_tables(0);
    expect(smp_restart(1), "it does not come");
}

static const struct test_case cases[] = {
    {"three CPUs with memory types of their own", NULL, crowd}};

void test_main(void)
{
    smp_start();
    ktap_all(cases, ARRAY_SIZE(cases));
}
