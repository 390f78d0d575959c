/* The IDT and its handlers. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tick.h"

struct frame;

struct __attribute__((packed)) gate {
    uint16_t low, selector;
    uint8_t zero, type;
    uint16_t middle;
#ifdef __x86_64__
    uint32_t high, reserved;
#endif
};

static struct gate idt[256];
volatile unsigned taken[256];
bool by_pic;

static void set_gate(unsigned vector, void *handler)
{
    uintptr_t at = (uintptr_t)handler;
    idt[vector] = (struct gate){
        .low = (uint16_t)at, .selector = 8, .type = 0x8e, .middle = (uint16_t)(at >> 16)};
}

static void count(unsigned vector)
{
    __atomic_fetch_add(&taken[vector], 1, __ATOMIC_SEQ_CST);
}

static void end_irq(unsigned irq)
{
    count(VECTOR_PIC + irq);
    if (by_pic)
        pic_eoi(irq);
    else
        apic_eoi();
}

/* No exception is expected. Any has something on its stack that nobody looks at. */
__attribute__((interrupt)) static void on_exception(struct frame *frame)
{
    (void)frame;
    fail("an exception");
}

__attribute__((interrupt)) static void on_other(struct frame *frame)
{
    (void)frame;
    fail("an interrupt that was not asked for");
}

__attribute__((interrupt)) static void on_pit(struct frame *frame)
{
    (void)frame;
    end_irq(0);
}

__attribute__((interrupt)) static void on_serial(struct frame *frame)
{
    (void)frame;
    serial_interrupt();
    end_irq(4);
}

/* It comes again only after its register C has been read. */
__attribute__((interrupt)) static void on_rtc(struct frame *frame)
{
    (void)frame;
    outb(0x70, 0x0c);
    (void)inb(0x71);
    end_irq(8);
}

__attribute__((interrupt)) static void on_timer(struct frame *frame)
{
    (void)frame;
    count(VECTOR_TIMER);
    apic_eoi();
}

__attribute__((interrupt)) static void on_ipi(struct frame *frame)
{
    (void)frame;
    count(VECTOR_IPI);
    apic_eoi();
}

__attribute__((interrupt)) static void on_spurious(struct frame *frame)
{
    (void)frame;
    count(VECTOR_SPURIOUS);
}

void idt_init(void)
{
    for (unsigned i = 0; i < 256; i++)
        set_gate(i, i < 32 ? on_exception : on_other);
    set_gate(VECTOR_PIC + 0, on_pit);
    set_gate(VECTOR_PIC + 4, on_serial);
    set_gate(VECTOR_PIC + 8, on_rtc);
    set_gate(VECTOR_TIMER, on_timer);
    set_gate(VECTOR_IPI, on_ipi);
    set_gate(VECTOR_SPURIOUS, on_spurious);
    idt_load();
}

void idt_load(void)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uintptr_t base;
    } idtr = {sizeof(idt) - 1, (uintptr_t)idt};
    __asm__ volatile("lidt %0" : : "m"(idtr));
}
