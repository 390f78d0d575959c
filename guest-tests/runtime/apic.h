/* The running CPU's local APIC, by the mode that all CPUs' are in. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/x86.h"

/* SDM, "Local APIC Register Address Map": offsets in the page. */
enum {
    ID = 0x20,
    VERSION = 0x30,
    TPR = 0x80,
    APR = 0x90,
    PPR = 0xa0,
    EOI = 0xb0,
    RRD = 0xc0,
    LDR = 0xd0,
    DFR = 0xe0,
    SVR = 0xf0,
    ISR = 0x100,
    TMR = 0x180,
    IRR = 0x200,
    ESR = 0x280,
    ICR = 0x300,
    ICR_HIGH = 0x310,
    LVT_TIMER = 0x320,
    LVT_THERMAL = 0x330,
    LVT_PMC = 0x340,
    LVT_LINT0 = 0x350,
    LVT_LINT1 = 0x360,
    LVT_ERROR = 0x370,
    INITIAL = 0x380,
    CURRENT = 0x390,
    DIVIDE = 0x3e0,
    SELF_IPI = 0x3f0,
};

enum { SVR_ON = 0x1ff, MASKED = 1 << 16, PERIODIC = 1 << 17, DEADLINE = 2 << 17, BY_1 = 0xb };
enum { NMI = 4 << 8, LOWEST = 1 << 8, SMI = 2 << 8, INIT = 5 << 8, STARTUP = 6 << 8 };
enum { LOGICAL = 1 << 11, PENDING = 1 << 12, ASSERT = 1 << 14, LEVEL = 1 << 15 };
enum { TO_SELF = 1 << 18, TO_ALL = 2 << 18, TO_OTHERS = 3 << 18 };

#define APIC_PAGE    0xfee00000ull
#define BASE_BSP     (1ull << 8)
#define BASE_OFF     (APIC_PAGE | BASE_BSP)
#define BASE_XAPIC   (APIC_PAGE | 0x800 | BASE_BSP)
#define BASE_X2APIC  (APIC_PAGE | 0xc00 | BASE_BSP)
#define MSR_OF(reg)  (MSR_X2APIC + (reg) / 16)
#define ECX_X2APIC   (1u << 21)
#define ECX_DEADLINE (1u << 24)
#define EDX_APIC     (1u << 9)

/* Whether the APICs are in x2APIC mode. */
extern bool apic_x2;

static inline uint32_t apic_get(unsigned reg)
{
    return apic_x2 ? (uint32_t)rdmsr(MSR_OF(reg)) : *(volatile uint32_t *)(APIC_PAGE + reg);
}

static inline void apic_set(unsigned reg, uint32_t value)
{
    if (apic_x2)
        wrmsr(MSR_OF(reg), value);
    else
        *(volatile uint32_t *)(APIC_PAGE + reg) = value;
}

/* Writes ICR. In x2APIC mode, where WRMSR does not, it waits for what was stored before. */
static inline void apic_send(uint32_t dest, uint32_t low)
{
    if (apic_x2) {
        mfence();
        wrmsr(MSR_OF(ICR), (uint64_t)dest << 32 | low);
        return;
    }
    while ((apic_get(ICR) & PENDING) != 0)
        cpu_relax();
    apic_set(ICR_HIGH, dest << 24);
    apic_set(ICR, low);
}

const char *needs_x2apic(void);
const char *needs_deadline(void);

/* Software-enables it; nothing is held back, no timer runs, and its own sources are masked. */
void apic_enable(void);

/* Halts for TICKS of the timer, whose VECTOR has a handler, or until another interrupt comes. */
void apic_sleep(unsigned vector, uint32_t ticks);
