/* Exceptions and interrupts of the host. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdint.h>

/* What the entry stubs leave on the stack. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

/* Fills the host's IDT, once, before any CPU loads it. */
void traps_init(void);

/* Loads the IDT on the running CPU. */
void traps_load(void);

/* The linear address of the IDT that all CPUs share. */
uint64_t traps_idt_base(void);

/* The manual's name of an exception vector; "interrupt" from 32 up. */
const char *trap_name(uint64_t vector);

/*
 * HANDLER is called for each interrupt of VECTOR, 32 or above, with interrupts off; it may be
 * called for none. The interrupt is acknowledged behind it, at the controller where it is in
 * service.
 */
void traps_on_interrupt(uint8_t vector, void (*handler)(uint8_t vector));

/* Takes the interrupts that are pending; else the host runs with interrupts off. */
static inline void traps_take_interrupts(void)
{
    __asm__ volatile("sti\n\tnop\n\tcli" : : : "memory");
}

/* The same for one that is still to come: the CPU halts until it does. */
static inline void traps_wait_for_interrupt(void)
{
    __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
}

/* Reports a machine check (SDM, "Machine-Check Architecture") and stops the machine. */
void machine_check(void);
