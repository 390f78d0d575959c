/* Counts interrupts by CPU and vector. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/taken.h"

#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/machine.h"
#include "lib/string.h"
#include "lib/x86.h"

enum { LONG_MS = 10000 };

uint32_t taken[SMP_MAX][VECTORS];
uint32_t taken_twice;
void (*taken_hook)(unsigned cpu, unsigned vector);

static void count(unsigned vector)
{
    unsigned cpu = smp_index();
    __atomic_store_n(&taken[cpu][vector], taken[cpu][vector] + 1, __ATOMIC_RELEASE);
    if (taken_hook != NULL)
        taken_hook(cpu, vector);
}

/*
 * QEMU can deliver what VMRUN has injected once more, as an exception, where another of its threads
 * stops the CPU before it exits: in the midst of the handler then, where interrupts are off.
 */
static bool is_repeated(const struct interrupt_frame *frame)
{
    return (frame->rflags & RFLAGS_IF) == 0 && !machine_is_bochs();
}

static void on_interrupt(struct interrupt_frame *frame)
{
    if (is_repeated(frame)) {
        (void)__atomic_fetch_add(&taken_twice, 1, __ATOMIC_RELAXED);
        return;
    }
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
