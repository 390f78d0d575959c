/* One logical CPU: its descriptor tables, stacks, windows, and what runs on it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/assert.h"
#include "mm/types.h"
#include "vmm/host/layout.h"

enum { MAX_CPUS = 64 };

enum selector {
    SEL_CODE = 0x08,
    SEL_DATA = 0x10,
    SEL_TSS = 0x18,
};

/* Interrupt-stack-table slots of the TSS (SDM, "64-Bit Task State Segment"): 1 to 7. */
enum ist { IST_NONE, IST_DF, IST_NMI, IST_MC, IST_COUNT };

struct tss {
    uint32_t reserved0;
    uint32_t rsp_ist[2 * 3 + 2 + 2 * 7 + 2]; /* RSP0-2, reserved, IST1-7, reserved: not 8-aligned */
    uint16_t reserved1;
    uint16_t io_map_base;
};
static_assert(sizeof(struct tss) == 104, "SDM, 64-Bit Task State Segment");

enum window_slot {
    WINDOW_WALK,
    WINDOW_DATA,
    WINDOW_LOAD,
    WINDOW_BOOT,
    WINDOW_CONFIG, /* a function's PCI configuration space */
    WINDOW_SLOTS,
};

struct trace_ring;
struct vcpu;

struct cpu {
    struct cpu *self; /* at GS:0 */
    uint32_t index;
    uint64_t gdt[5];
    struct tss tss;
    char *windows;                         /* this CPU's, a page each */
    uint64_t *window_entry;                /* the page-table entries of this CPU's windows */
    uint64_t window_bits[MT_UC_MINUS + 1]; /* of such an entry, by memory type */
    struct vcpu *vcpu;                     /* what runs here, or NULL */
    void *backend;                         /* VMX's or SVM's per-CPU pages */
    struct trace_ring *trace;              /* or NULL */
    hpa_t trace_hpa;                       /* where it is */
    uint64_t nmis;                         /* host NMIs seen */
    uint64_t strays;                       /* interrupts that the host did not ask for */
};

static_assert(sizeof(struct cpu) <= PAGE_SIZE, "a page of its CPU's area");

/* A set of CPUs by index. */
struct cpu_set {
    uint64_t bits;
};
static_assert(MAX_CPUS <= 64, "struct cpu_set is one word");

static inline unsigned cpu_count(struct cpu_set set)
{
    unsigned count = 0;
    for (; set.bits != 0; set.bits &= set.bits - 1)
        count++;
    return count;
}

/*
 * Makes GS lead to this CPU's area, whatever it is: an exception between a guest's exit and the
 * loading of the host's state, which must not be, finds the guest's there, and is to be reported.
 */
void cpu_reclaim_gs(void);

static inline struct cpu *this_cpu(void)
{
    struct cpu *cpu;
    __asm__("mov %%gs:0, %0" : "=r"(cpu));
    return cpu;
}

/*
 * Makes this CPU's descriptor tables and loads them, with GS:0 pointing at CPU. Before the host's
 * tables are live, the interrupt stacks are those of the image.
 */
void cpu_load_tables(struct cpu *cpu);

/* Sets CR0, CR4, EFER and the PAT as every host CPU has them; logs what the CPU lacks. */
void cpu_set_modes(void);

/* True where CPUID says the bit: LEAF, register 0 to 3 (EAX to EDX), bit. */
bool cpu_has(uint32_t leaf, unsigned reg, unsigned bit);

/* MAXPHYADDR of this CPU, 36 to 52. */
unsigned cpu_phys_bits(void);

/* The CPU of that INDEX, as its own tables map it. */
static inline struct cpu *cpu_at(uint32_t index)
{
    return (struct cpu *)(AREA_VA + index * CPU_STRIDE + AREA_CPU_OFFSET);
}

/* Stack tops of a CPU in the host's address space. */
uint64_t cpu_main_stack(uint32_t index);
uint64_t cpu_ist_stack(uint32_t index, enum ist ist);
