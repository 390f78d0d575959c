/* Counts interrupts by CPU and vector. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/taken.h"

#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/machine.h"
#include "lib/string.h"

enum { LONG_MS = 2000 };

uint32_t taken[SMP_MAX][VECTORS];
void (*taken_hook)(unsigned cpu, unsigned vector);

static void count(unsigned vector)
{
    unsigned cpu = smp_index();
    __atomic_store_n(&taken[cpu][vector], taken[cpu][vector] + 1, __ATOMIC_RELEASE);
    if (taken_hook != NULL)
        taken_hook(cpu, vector);
}

static void on_interrupt(struct interrupt_frame *frame)
{
    count((unsigned)frame->vector);
    apic_set(EOI, 0);
}

static bool on_nmi(struct fault_frame *frame)
{
    if (frame->vector != VECTOR_NMI)
        return false;
    count(VECTOR_NMI);
    return true;
}

void taken_init(void)
{
    interrupt_init();
    interrupt_hook = on_interrupt;
    fault_hook = on_nmi;
}

void taken_clear(void)
{
    taken_hook = NULL;
    memset(taken, 0, sizeof(taken));
}

bool taken_wait(unsigned cpu, unsigned vector, uint32_t wanted)
{
    for (uint64_t start = rdtsc(); taken_of(cpu, vector) < wanted; smp_relax())
        if (rdtsc() - start > machine_ticks(LONG_MS))
            return false;
    return true;
}
