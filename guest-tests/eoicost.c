/*
 * What the EOI of a level-triggered interrupt costs, which goes on to the I/O APIC: of COM1's line,
 * low again by then; in xAPIC mode, by the APIC's page, and in x2APIC mode. In TSC ticks
 * (instructions, where the emulator counts them), the median.
 *
 * row: eoicost end=0 timeout=40
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/isa.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/smp.h"

enum { TIMES = 200, NEXT = 1000000 };

static volatile unsigned count;
static uint32_t costs[TIMES];

static uint32_t ticks_of_eoi(void)
{
    uint64_t start = rdtsc();
    apic_set(EOI, 0);
    return (uint32_t)(rdtsc() - start);
}

static void on_interrupt(struct interrupt_frame *frame)
{
    (void)frame;
    line_set(false);
    uint32_t cost = ticks_of_eoi();
    if (count < TIMES)
        costs[count] = cost;
    count++;
}

static void take_one(void)
{
    unsigned before = count;
    line_set(true);
    for (unsigned i = 0; i < NEXT && count == before; i++)
        __asm__ volatile("sti\n\tnop\n\tcli" : : : "memory");
    line_set(false);
}

static uint32_t median(void)
{
    for (unsigned i = 1; i < TIMES; i++)
        for (unsigned k = i; k > 0 && costs[k - 1] > costs[k]; k--) {
            uint32_t swap = costs[k];
            costs[k] = costs[k - 1];
            costs[k - 1] = swap;
        }
    return costs[TIMES / 2];
}

static void measure(const char *name)
{
    count = 0;
    isa_open(IRQ_COM1, BY_IOAPIC, true);
    for (unsigned i = 0; i < TIMES; i++)
        take_one();
    unsigned taken = count;
    isa_close(IRQ_COM1);
    print("# bench %s 64 %u\n", name, median());
    expect(taken == TIMES, "taken %u times", taken);
}

static void by_memory(void)
{
    measure("ioapic_eoi_xapic");
}

static void by_msr(void)
{
    smp_set_x2apic(true);
    measure("ioapic_eoi");
}

static const char *needs_both(void)
{
    return machine.nosnoop ? needs_x2apic() : needs_nosnoop();
}

static const struct test_case cases[] = {
    {"the EOI of a level-triggered interrupt in xAPIC mode", needs_nosnoop, by_memory},
    {"the EOI of a level-triggered interrupt in x2APIC mode", needs_both, by_msr},
};

void test_main(void)
{
    isa_init();
    smp_start();
    line_init();
    interrupt_hook = on_interrupt;
    ktap_all(cases, ARRAY_SIZE(cases));
}
