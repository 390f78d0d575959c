/*
 * What an IPI in x2APIC mode costs both sides together: from before the sender's WRMSR to the first
 * instruction of the handler of another CPU that has halted. In TSC ticks (instructions, where the
 * emulator counts them), the median.
 *
 * row: ipicost end=0 long=yes cpus=2 timeout=40
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/interrupt.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/mode.h"
#include "guest-tests/runtime/smp.h"

enum { TIMES = 1000, PING = 0x51, SETTLED = 20000 };

extern const struct mode_code op_ping;

static volatile uint32_t came; /* the TSC when the last did, low half, odd; 0: not yet */
static volatile unsigned count;
static uint32_t costs[TIMES];

static void on_interrupt(struct interrupt_frame *frame)
{
    (void)frame;
    came = (uint32_t)rdtsc() | 1;
    count++;
    apic_set(EOI, 0);
}

/* STI's shadow lasts until it has halted. */
static void receive(unsigned cpu)
{
    (void)cpu;
    while (count < 2 * TIMES)
        __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
}

static void wait_until_halted(void)
{
    for (uint64_t start = rdtsc(); rdtsc() - start < SETTLED;)
        cpu_relax();
}

static uint32_t ping(const struct mode *mode)
{
    struct registers r = {.rflags = RFLAGS_FIXED};
    r.gpr[RDI] = PING;
    r.gpr[RBP] = 1;
    r.gpr[RBX] = (uint64_t)&came;
    wait_until_halted();
    came = 0;
    struct fault fault = mode_run(mode, &op_ping, MODE_CODE, &r);
    expect(fault.vector == FAULT_NONE, "vector %d", fault.vector);
    return came - (uint32_t)r.gpr[RSI];
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
    const struct mode unpaged = {.name = "32", .kind = MODE_32, .bits = 32};
    const struct mode paged = {.name = "64",
                               .kind = MODE_64,
                               .bits = 64,
                               .cr0 = CR0_PG,
                               .cr3 = read_cr3(),
                               .cr4 = CR4_PAE,
                               .efer = EFER_LME};
    const struct mode *const modes[] = {&unpaged, &paged};
    smp_set_x2apic(true);
    smp_begin(1, receive);
    for (unsigned m = 0; m < ARRAY_SIZE(modes); m++) {
        for (unsigned i = 0; i < TIMES; i++)
            costs[i] = ping(modes[m]);
        print("# bench x2apic_ipi %s %u\n", modes[m]->name, median());
    }
    smp_wait(1);
}

static const char *needs_two(void)
{
    if (!machine.nosnoop)
        return "only under the hypervisor";
    return smp_count() < 2 ? "there is one CPU" : NULL;
}

static const struct test_case cases[] = {
    {"x2APIC: an IPI to a CPU that has halted", needs_two, measure},
};

void test_main(void)
{
    mode_init();
    interrupt_init();
    interrupt_hook = on_interrupt;
    smp_start();
    ktap_all(cases, ARRAY_SIZE(cases));
}
