/*
 * What the EOI of a level-triggered interrupt costs, which goes on to the I/O APIC: of COM1's line,
 * low again by then; in x2APIC mode where there is that, else by the APIC's page. In TSC ticks
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

static void measure(void)
{
    for (unsigned i = 0; i < TIMES; i++)
        take_one();
    unsigned taken = count;
    isa_close(IRQ_COM1);
    print("# bench ioapic_eoi 64 %u\n", median());
    expect(taken == TIMES, "taken %u times", taken);
}

static const struct test_case cases[] = {
    {"the EOI of a level-triggered interrupt", needs_nosnoop, measure},
};

void test_main(void)
{
    isa_init();
    smp_start();
    smp_set_x2apic(needs_x2apic() == NULL);
    line_init();
    isa_open(IRQ_COM1, BY_IOAPIC, true);
    interrupt_hook = on_interrupt;
    ktap_all(cases, ARRAY_SIZE(cases));
}
