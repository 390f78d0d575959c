/* What CPUID tells a guest: a table that is made once, and what of it follows the guest's state. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/x86.h"
#include "vmm/virt.h"

/* The highest leaves that a guest may see; it has them where the host has, and those up to 15h. */
enum { CPUID_BASIC = 0x16, CPUID_EXTENDED_COUNT = 0x1f, CPUID_SUBLEAVES = 8 };

#define CPUID_EXTENDED 0x80000000u

struct cpuid_table {
    uint32_t last, last_extended; /* the highest leaves, the second without CPUID_EXTENDED */
    struct cpuid_regs basic[CPUID_BASIC + 1]; /* subleaf 0 */
    struct cpuid_regs extended[CPUID_EXTENDED_COUNT];
    struct cpuid_regs cache[CPUID_SUBLEAVES]; /* of leaf 4, or of 8000001Dh */
    struct cpuid_regs xsave[CPUID_SUBLEAVES]; /* of leaf 0Dh, without what follows XCR0 */
    uint32_t tsc_khz, apic_khz;               /* 0: not known; of the APIC's bus */
    uint32_t cpus;
};

typedef struct cpuid_regs cpuid_reader(uint32_t leaf, uint32_t subleaf);

/*
 * Fills TABLE with what HOST answers less what is not virtualized, for guests with PHYS_BITS of
 * physical addresses, a TSC of TSC_KHZ, 0: not known, and 1 to 64 CPUS.
 */
void cpuid_table_init(struct cpuid_table *table, cpuid_reader *host, unsigned phys_bits,
                      uint32_t tsc_khz, uint32_t cpus);

/*
 * Subleaves of leaf 4 or 8000001Dh, of 0Bh on the CPU with that APIC ID, and of 0Dh with the
 * guest's XCR0.
 */
struct cpuid_regs cpuid_cache(const struct cpuid_table *table, uint32_t leaf, uint32_t subleaf);
struct cpuid_regs cpuid_topology(const struct cpuid_table *table, uint32_t subleaf,
                                 uint32_t apic_id);
struct cpuid_regs cpuid_xsave(const struct cpuid_table *table, uint32_t subleaf, uint64_t xcr0);

/* Leaves 40000000h to 40000010h. */
struct cpuid_regs cpuid_hypervisor(const struct cpuid_table *table, uint32_t leaf);
