/* Interrupts: an IDT with an entry for each vector, which leads to a test's function. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdint.h>

enum { VECTORS = 256, FIRST_VECTOR = 32 };

/* As pushed by the entries and the CPU. */
struct interrupt_frame {
    uint64_t registers[15];
    uint64_t vector;
    uint64_t rip, cs, rflags, rsp, ss;
};

/* Called with interrupts off, on the stack of what was interrupted; the EOI is its affair. */
extern void (*interrupt_hook)(struct interrupt_frame *frame);

/* Loads the IDT (exceptions are those of fault_idt then), and masks the machine's 8259s. */
void interrupt_init(void);

/* STI, the instruction in its shadow, one more, CLI: what is pending is taken. */
static inline void sti_nop_cli(void)
{
    __asm__ volatile("sti\n\tnop\n\tnop\n\tcli" : : : "memory");
}

static inline void sti(void)
{
    __asm__ volatile("sti" : : : "memory");
}

static inline void cli(void)
{
    __asm__ volatile("cli" : : : "memory");
}
