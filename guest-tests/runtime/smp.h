/*
 * The machine's other CPUs. They are started in 64-bit mode on the first CPU's page tables and IDT,
 * each with a stack and a TSS of its own and its APIC enabled, and do what they are given; between
 * two works they spin with interrupts off. GUARDED code, form_run() and mode_run() are for one CPU
 * at a time.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { SMP_MAX = 8 };

/* The page below 1 MiB that they begin in; others are free for tests from 50000h to 7FFFFh. */
enum { SMP_PAGE = 0x50000 };

/* How many CPUs there are, by CPUID. Their indices, from 0, are their APIC IDs. */
unsigned smp_count(void);

/* The index of the running CPU. */
unsigned smp_index(void);

/* Starts all others, in the first CPU's APIC mode; one that does not come ends the guest. */
void smp_start(void);

/* Starts CPU with an INIT, wherever it is, and two STARTUP IPIs; false: it did not come. */
bool smp_restart(unsigned cpu);

/* What a STARTUP IPI may lead to: position-independent real-mode code that starts a CPU. */
extern const uint8_t smp_trampoline[], smp_trampoline_end[];

/* Has CPU, which is not the running one, do WORK with interrupts off. */
void smp_begin(unsigned cpu, void (*work)(unsigned cpu));

/* Whether it is done, and waits until it is: for long, then the guest ends. */
bool smp_is_done(unsigned cpu);
void smp_wait(unsigned cpu);

/* All CPUs do WORK, the running one too; returns when all have. */
void smp_run(void (*work)(unsigned cpu));

/* All CPUs wait here for each other. */
void smp_barrier(void);

/* All CPUs' APICs change to that mode, and are as apic_enable() leaves them. */
void smp_set_x2apic(bool x2);
