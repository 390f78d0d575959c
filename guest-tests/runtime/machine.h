/* What the guest finds around it: hypervisor, CPU, boot information, and a window to map pages. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

enum { MACHINE_MAX_RANGES = 16 };

enum { PAGE_P = 1, PAGE_W = 2, WINDOW_PAGES = 512 };

/* The boot information, copied out of guest memory before a test writes there. */
struct machine {
    bool nosnoop; /* under the hypervisor; else this is a control run on a bare machine */
    bool intel;   /* the CPU's vendor: which hypercall instruction and which rules apply */
    char cmdline[256];
    struct range ram[MACHINE_MAX_RANGES]; /* as the loader lists it */
    unsigned ram_count;
    struct range modules[MACHINE_MAX_RANGES];
    unsigned module_count;
};

extern struct machine machine;

/* Fills machine in. An image without multiboot information ends the guest. */
void machine_init(void);

/* Preconditions of test cases: NULL or why not. */
const char *needs_nosnoop(void);
const char *needs_nosnoop_amd(void);

/* The value of the word KEY=VALUE on the command line, a decimal number; FALLBACK if it is not
 * there. */
uint64_t cmdline_number(const char *key, uint64_t fallback);

/* Whether the command line has the word KEY=VALUE. */
bool cmdline_has(const char *key, const char *value);

/* Maps page INDEX of the window to the 4 KiB at PHYSICAL with FLAGS (PAGE_*; 0: not at all). */
volatile void *window_map(unsigned index, uint64_t physical, uint64_t flags);

/* A fault without an IDT: the machine resets. */
static inline void triple_fault(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) no_idt = {0, 0};
    __asm__ volatile("lidt %0; ud2" : : "m"(no_idt));
}

/* A hypercall with NUMBER in RAX, by the instruction of this CPU's vendor; NUMBER if it faults. */
int64_t hypercall(uint64_t number);

/* HYPERCALL_TRACE with what it is to do (enum trace_call). */
int64_t hypercall_trace(uint64_t what);

/* Ticks of the TSC in MS milliseconds: in a control run more or less. */
uint64_t machine_ticks(unsigned ms);

/* Waits that long, with interrupts as they are. */
void machine_spin(unsigned ms);

/* Bochs, bare or below the hypervisor: no CPU has so slow a TSC. It counts instructions there. */
bool machine_is_bochs(void);

/* CPUID 80000008h: bits of a physical address. */
unsigned physical_bits(void);

/*
 * What a guest test does, with `caches=off` under CR0.CD = 1; the machine ends with value 1 should
 * it return.
 */
void test_main(void);
