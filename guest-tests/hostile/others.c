/* What the machine's other CPUs do meanwhile: operations that exit, with odd values, and IPIs. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/hostile/hostile.h"
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/interrupt.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/smp.h"

enum { STACK_SIZE = 4096, NONE = 0x1e /* an APIC ID that no CPU has */ };

#define HOLE_PAGE   0xd0000000ull
#define BASE_EXTD   (1ull << 10)
#define BASE_ENABLE (1ull << 11)

static uint8_t stacks[SMP_MAX][STACK_SIZE] __attribute__((aligned(16)));
static volatile uint64_t operations[SMP_MAX], starts[SMP_MAX];

/* By the mode that this CPU's APIC is in; if it is off, where nothing is, or not at all. */
static void set_register(unsigned reg, uint64_t value)
{
    if ((rdmsr(MSR_APIC_BASE) & BASE_EXTD) != 0)
        wrmsr(MSR_OF(reg), value);
    else
        *(volatile uint32_t *)(APIC_PAGE + reg) = (uint32_t)value;
}

/* INITs and NMIs go to one of the others: the first CPU would reset the VM, or has no stack. */
static void send(void)
{
    static const uint32_t sent[] = {INIT, INIT | ASSERT | LEVEL, NMI, STARTUP, STARTUP};
    uint32_t to = one_in(8) ? NONE : 1 + random_below(smp_count() - 1);
    uint32_t low = sent[random_below(ARRAY_SIZE(sent))] | HOSTILE_START / 4096;
    if ((rdmsr(MSR_APIC_BASE) & BASE_EXTD) != 0) {
        wrmsr(MSR_OF(ICR), (uint64_t)to << 32 | low);
        return;
    }
    *(volatile uint32_t *)(APIC_PAGE + ICR_HIGH) = to << 24;
    *(volatile uint32_t *)(APIC_PAGE + ICR) = low;
}

static void write_apic(void)
{
    unsigned reg = apic_random_register();
    uint64_t high = reg == ICR ? (uint64_t)random_below(0x12) << 32 : 0;
    set_register(reg, high | apic_random_value(reg));
}

/* It is not left off, as it would take no INIT then. */
static void change_apic(void)
{
    static const uint32_t states[] = {0, 0x400, 0x800, 0xc00};
    wrmsr(MSR_APIC_BASE, APIC_PAGE | states[random_below(ARRAY_SIZE(states))]);
    wrmsr(MSR_APIC_BASE, APIC_PAGE);
    wrmsr(MSR_APIC_BASE, APIC_PAGE | BASE_ENABLE);
    set_register(SVR, SVR_ON);
    if (one_in(2))
        wrmsr(MSR_APIC_BASE, APIC_PAGE | BASE_ENABLE | BASE_EXTD);
}

static void read_msr(void)
{
    (void)rdmsr(random_msr());
}

/* This code goes on in long mode. */
static void write_msr(void)
{
    uint32_t msr = random_msr();
    uint64_t value = one_in(2) ? interesting() : random64();
    if (msr == MSR_EFER)
        value |= EFER_LME | EFER_LMA | EFER_NXE;
    if (msr == MSR_APIC_BASE)
        value |= BASE_ENABLE;
    if (msr == MSR_X2APIC + ICR / 16)
        value = apic_tame(value);
    wrmsr(msr, value);
}

/* Those bits with which this code can live, and those that are refused. */
static void change_cr(void)
{
    static const uint64_t cr0_bits[] = {CR0_MP, CR0_TS, CR0_NE, CR0_CD, CR0_CD, CR0_NW};
    static const uint64_t cr4_bits[] = {CR4_TSD, CR4_DE, CR4_PGE, CR4_PCE, CR4_VMXE};
    uint64_t cr;
    if (one_in(2)) {
        __asm__ volatile("mov %%cr0, %0" : "=r"(cr));
        cr ^= cr0_bits[random_below(ARRAY_SIZE(cr0_bits))];
        __asm__ volatile("mov %0, %%cr0" : : "r"(cr) : "memory");
        return;
    }
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr));
    cr ^= cr4_bits[random_below(ARRAY_SIZE(cr4_bits))];
    __asm__ volatile("mov %0, %%cr4" : : "r"(cr) : "memory");
}

static void change_cr8(void)
{
    if (hostile_can_write_cr8())
        __asm__ volatile("mov %0, %%cr8" : : "r"((uint64_t)random_below(0x10)));
}

static void exit_simply(void)
{
    (void)cpuid((uint32_t)interesting(), (uint32_t)random64());
    (void)in8(random_port());
    (void)*(volatile uint32_t *)(HOLE_PAGE + random_below(0x400) * 4);
}

static void call(void)
{
    uint64_t number = 1ull << 32 | random64(); /* there is none such */
    if (one_in(2))
        __asm__ volatile("vmcall" : "+a"(number) : : "memory");
    else
        __asm__ volatile("vmmcall" : "+a"(number) : : "memory");
}

static void flush(void)
{
    __asm__ volatile("wbinvd" : : : "memory");
    __asm__ volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" : : : "rax", "memory");
}

static void raise(void)
{
    __asm__ volatile("ud2");
}

/* Until the timer's end, or what others send. */
static void halt(void)
{
    set_register(SVR, SVR_ON);
    set_register(LVT_TIMER, 0x40);
    set_register(INITIAL, random_below(0x1000));
    __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
}

static void halt_deaf(void)
{
    __asm__ volatile("hlt");
}

static const struct {
    void (*what)(void);
    uint8_t weight;
} works[] = {{send, 2},      {write_apic, 8}, {change_apic, 1}, {read_msr, 4}, {write_msr, 4},
             {change_cr, 3}, {change_cr8, 2}, {exit_simply, 6}, {call, 1},     {flush, 1},
             {raise, 1},     {halt, 2},       {halt_deaf, 1}};

static void (*random_work(void))(void)
{
    enum { WEIGHTS = 36 };
    uint32_t at = random_below(WEIGHTS);
    unsigned i = 0;
    for (; at >= works[i].weight; i++)
        at -= works[i].weight;
    return works[i].what;
}

/* From the start, or after an exception; the argument may be anything. */
static void work_for_ever(unsigned unused)
{
    unsigned cpu = smp_index();
    (void)unused;
    for (;;) {
        random_work()();
        operations[cpu]++;
        smp_relax();
    }
}

static void begin_again(unsigned cpu)
{
    starts[cpu]++;
    work_for_ever(cpu);
}

/* NMIs are returned from; after anything else the others begin with something new. */
static bool on_exception(struct fault_frame *frame)
{
    unsigned cpu = smp_index();
    if (frame->vector == VECTOR_NMI)
        return true;
    if (cpu == 0)
        return false;
    frame->rip = (uint64_t)work_for_ever;
    frame->rsp = (uint64_t)(stacks[cpu] + STACK_SIZE - 8); /* as after a CALL */
    frame->cs = SEL_CODE64;
    frame->ss = SEL_DATA;
    frame->rflags = RFLAGS_FIXED;
    return true;
}

static void on_interrupt(struct interrupt_frame *frame)
{
    (void)frame;
    set_register(EOI, 0);
}

const char *needs_others(void)
{
    return smp_count() > 1 ? NULL : "there is one CPU";
}

void others_begin(void)
{
    if (needs_others() != NULL)
        return;
    interrupt_init();
    interrupt_hook = on_interrupt;
    fault_hook = on_exception;
    smp_start();
    smp_put_start(HOSTILE_START);
    smp_first = begin_again;
    for (unsigned i = 1; i < smp_count(); i++)
        smp_begin(i, work_for_ever);
}

/* Who waits to be started is, who has halted goes on, and now and then all wait. */
void others_start(void)
{
    if (needs_others() != NULL)
        return;
    smp_bear_nmis(HOSTILE_START); /* page 0 may have been written to */
    if (one_in(16))
        apic_send(0, INIT | ASSERT | TO_OTHERS);
    apic_send(0, STARTUP | TO_OTHERS | HOSTILE_START / 4096);
    apic_send(0, NMI | TO_OTHERS);
}

void others_judge(void)
{
    for (unsigned i = 1; i < smp_count(); i++) {
        expect(operations[i] != 0, "CPU %u has done nothing", i);
        expect(starts[i] != 0, "CPU %u has not been started again", i);
    }
}

void others_report(void)
{
    for (unsigned i = 1; i < smp_count(); i++)
        print("# CPU %u: %lu operations, started %lu times\n", i, operations[i], starts[i]);
}
