/* The IDT of tests with interrupts. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/interrupt.h"

#include "guest-tests/runtime/fault.h"

enum { PIC_MASK_1 = 0x21, PIC_MASK_2 = 0xa1 };

extern const uint64_t interrupt_entries[VECTORS - FIRST_VECTOR];
void interrupt_handle(struct interrupt_frame *frame);

static struct idt_gate idt[VECTORS];
void (*interrupt_hook)(struct interrupt_frame *frame);

void interrupt_handle(struct interrupt_frame *frame)
{
    assert(interrupt_hook != NULL);
    interrupt_hook(frame);
}

static void set_gate(unsigned vector, uint64_t entry)
{
    idt[vector] = fault_idt[0];
    idt[vector].offset_low = (uint16_t)entry;
    idt[vector].offset_middle = (uint16_t)(entry >> 16);
    idt[vector].offset_high = (uint32_t)(entry >> 32);
    idt[vector].ist = 0;
}

void interrupt_init(void)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } idtr = {sizeof(idt) - 1, (uint64_t)idt};
    out8(PIC_MASK_1, 0xff);
    out8(PIC_MASK_2, 0xff);
    for (unsigned i = 0; i < VECTORS; i++)
        if (i < EXCEPTIONS)
            idt[i] = fault_idt[i];
        else
            set_gate(i, interrupt_entries[i - FIRST_VECTOR]);
    __asm__ volatile("lidt %0" : : "m"(idtr));
}
