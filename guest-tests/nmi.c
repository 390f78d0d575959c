/*
 * An NMI is blocked until the handler of the one before returns, however long that takes: on Bochs
 * so long that the hypervisor sends its own to a CPU that answers no kicks.
 *
 * row: nmi.2 end=0 cpus=2 timeout=60 control-timeout=30
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/smp.h"

enum { SHORT_MS = 20, LONG_MS = 4000, NESTED_VALUE = 3 };

static volatile bool handles, go;
static volatile unsigned count;

static unsigned handler_ms(void)
{
    return machine.nosnoop && machine_is_bochs() ? LONG_MS : SHORT_MS;
}

/* Its stack is the one that a second NMI would begin on. */
static bool on_nmi(struct fault_frame *frame)
{
    if (frame->vector != VECTOR_NMI)
        return false;
    if (handles) {
        print("# an NMI in the handler of another\n");
        guest_exit(NESTED_VALUE);
    }
    handles = true;
    count++;
    for (uint64_t start = rdtsc(); count == 1 && rdtsc() - start < machine_ticks(handler_ms());)
        cpu_relax();
    handles = false;
    return true;
}

static void wait_for_two(unsigned cpu)
{
    (void)cpu;
    go = true;
    for (uint64_t start = rdtsc(); count < 2 && rdtsc() - start < machine_ticks(3 * LONG_MS);)
        smp_relax();
}

static void blocked(void)
{
    smp_begin(1, wait_for_two);
    while (!go)
        cpu_relax();
    apic_send(1, NMI);
    while (!handles)
        cpu_relax();
    apic_send(1, NMI);
    smp_wait(1);
    expect(count == 2, "%u NMIs came", count);
}

static const struct test_case cases[] = {{"an NMI while one is handled", NULL, blocked}};

void test_main(void)
{
    fault_hook = on_nmi;
    smp_start();
    ktap_all(cases, ARRAY_SIZE(cases));
}
