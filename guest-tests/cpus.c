/*
 * The machine's other CPUs: how many there are, who they are, and that they do what they are given.
 *
 * row: cpus end=0
 * row: cpus.2 end=0 cpus=2 timeout=60 control-timeout=30
 * row: cpus.4 end=0 cpus=4 timeout=90 control-timeout=60
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/smp.h"

enum { ROUNDS = 50, LEVELS = 8 };

#define BASE_MASK 0xd00ull

static unsigned seen[SMP_MAX], counter;

/* Each CPU sees itself as every place that tells who it is says. */
static void who(unsigned cpu)
{
    uint32_t id = apic_get(ID);
    expect(smp_index() == cpu, "CPU %u is %u by its TR", cpu, smp_index());
    expect(cpuid(1, 0).ebx >> 24 == cpu, "CPU %u: CPUID says %x", cpu, cpuid(1, 0).ebx >> 24);
    expect((apic_x2 ? id : id >> 24) == cpu, "CPU %u: the APIC says %x", cpu, id);
    for (unsigned i = 0; i < LEVELS && cpuid(0, 0).eax >= 0xb && cpuid(0xb, 0).ebx != 0; i++)
        expect(cpuid(0xb, i).edx == cpu, "CPU %u: leaf Bh.%u says %x", cpu, i, cpuid(0xb, i).edx);
    uint64_t base = APIC_PAGE | 0x800 | (apic_x2 ? 0x400 : 0) | (cpu == 0 ? BASE_BSP : 0);
    expect(rdmsr(MSR_APIC_BASE) == base, "CPU %u: APIC base %lx", cpu, rdmsr(MSR_APIC_BASE));
    __atomic_add_fetch(&seen[cpu], 1, __ATOMIC_RELAXED);
}

static void each_once(unsigned times)
{
    for (unsigned i = 0; i < SMP_MAX; i++) {
        expect(seen[i] == (i < smp_count() ? times : 0), "CPU %u: %u times", i, seen[i]);
        seen[i] = 0;
    }
}

static void identities(void)
{
    smp_run(who);
    each_once(1);
}

static void identities_x2apic(void)
{
    smp_set_x2apic(true);
    smp_run(who);
    each_once(1);
}

static const char *needs_way_back(void)
{
    return machine.nosnoop ? NULL : "emulator: an APIC that was off stays off";
}

static void identities_again(void)
{
    smp_set_x2apic(false);
    smp_run(who);
    each_once(1);
}

/* Leaves 1 and Bh agree on how many there are. */
static void counts(void)
{
    unsigned count = smp_count();
    struct cpuid_regs one = cpuid(1, 0);
    if (count > 1)
        expect((one.edx >> 28 & 1) != 0 && (one.ebx >> 16 & 0xff) == count, "leaf 1: HTT %u, %u",
               one.edx >> 28 & 1, one.ebx >> 16 & 0xff);
}

static void count_one(unsigned cpu)
{
    (void)cpu;
    __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED);
}

static void many_works(void)
{
    counter = 0;
    for (unsigned i = 1; i <= ROUNDS; i++) {
        smp_run(count_one);
        if (!expect(counter == i * smp_count(), "%u after %u rounds", counter, i))
            return;
    }
}

/* Nobody is in the next round before all have left this one. */
static void rounds(unsigned cpu)
{
    for (unsigned i = 1; i <= ROUNDS; i++) {
        __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED);
        smp_barrier();
        unsigned found = __atomic_load_n(&counter, __ATOMIC_RELAXED);
        expect(found == i * smp_count(), "CPU %u: %u in round %u", cpu, found, i);
        smp_barrier();
    }
}

static void barriers(void)
{
    counter = 0;
    smp_run(rounds);
}

/* Each has a stack and an IST of its own for its exceptions. */
static bool on_breakpoint(struct fault_frame *frame)
{
    if (frame->vector != VECTOR_BP)
        return false;
    __atomic_add_fetch(&seen[smp_index()], 1, __ATOMIC_RELAXED);
    return true;
}

static void break_often(unsigned cpu)
{
    (void)cpu;
    for (unsigned i = 0; i < ROUNDS; i++)
        __asm__ volatile("int3");
}

static void exceptions(void)
{
    fault_hook = on_breakpoint;
    smp_run(break_often);
    fault_hook = NULL;
    each_once(ROUNDS);
}

static const struct test_case cases[] = {
    {"CPUID counts them", NULL, counts},
    {"each knows who it is", NULL, identities},
    {"work for all", NULL, many_works},
    {"barriers", NULL, barriers},
    {"exceptions on all at once", NULL, exceptions},
    {"in x2APIC mode", needs_x2apic, identities_x2apic},
    {"back in xAPIC mode", needs_way_back, identities_again},
};

void test_main(void)
{
    smp_start();
    ktap_all(cases, ARRAY_SIZE(cases));
}
