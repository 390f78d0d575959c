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

#include "lib/x86.h"

enum { SMP_MAX = 8 };

/* The page below 1 MiB that they begin in; others are free for tests from 50000h to 7FFFFh. */
enum { SMP_PAGE = 0x50000 };

/* How many CPUs there are, by CPUID. Their indices, from 0, are their APIC IDs. */
unsigned smp_count(void);

/* The index of the running CPU. */
unsigned smp_index(void);

/* Starts all others, in the first CPU's APIC mode; one that does not come ends the guest. */
void smp_start(void);

/* The page at ADDRESS, below 1 MiB, is another that they may begin in. */
void smp_put_start(uintptr_t address);

/*
 * NMIs that come to a CPU while it is being started, by the page at ADDRESS, make it begin again:
 * then they are blocked until its first IRET. This writes to page 0, where its IDT is.
 */
void smp_bear_nmis(uintptr_t address);

/* Starts CPU with an INIT, wherever it is, and two STARTUP IPIs; false: it did not come. */
bool smp_restart(unsigned cpu);

/*
 * The parts of that: CPU, which is about to be sent an INIT, has no work any more and has not come;
 * with the INIT; and whether it has come, after a while for that.
 */
void smp_forget(unsigned cpu);
void smp_init(unsigned cpu);
bool smp_has_come(unsigned cpu);

/* If it is not NULL: what a CPU does first, before it sets up its APIC. */
extern void (*smp_first)(unsigned cpu);

/* Has CPU, which is not the running one, do WORK with interrupts off. */
void smp_begin(unsigned cpu, void (*work)(unsigned cpu));

/* Whether it is done, and waits until it is: for long, then the guest ends. */
bool smp_is_done(unsigned cpu);
void smp_wait(unsigned cpu);

/* All CPUs do WORK, the running one too; returns when all have. */
void smp_run(void (*work)(unsigned cpu));

/*
 * PAUSE, with interrupts as they are. Where they are off, STI and CLI follow, between which a CPU
 * takes none (not so all emulators): Bochs 2.7 holds those of the host back after an entry with
 * RFLAGS.IF = 0 until the guest changes it.
 */
static inline void smp_relax(void)
{
    uint64_t flags;
    __asm__ volatile("pause\n\tpushfq\n\tpopq %0" : "=r"(flags) : : "memory");
    if ((flags & RFLAGS_IF) == 0)
        __asm__ volatile("sti\n\tcli" : : : "memory");
}

/* All CPUs wait here for each other. */
void smp_barrier(void);

/* All CPUs' APICs change to that mode, and are as apic_enable() leaves them. */
void smp_set_x2apic(bool x2);
