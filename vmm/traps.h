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

/* Reports a machine check (SDM, "Machine-Check Architecture") and stops the machine. */
void machine_check(void);
