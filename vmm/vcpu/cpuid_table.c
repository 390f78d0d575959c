/* What CPUID may tell a guest: one row a leaf, of the host's answer less what is not virtualized.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/string.h"
#include "vmm/abi.h"
#include "vmm/vcpu/cpuid.h"
#include "vmm/devices/lapic.h"

#define BIT(n) (1u << (n))
#define ALL    0xffffffffu

/* EDX of leaf 1, and of 80000001h where AMD repeats it (APM, "Function 8000_0001h"). */
#define FEATURES_EDX                                                                               \
    (BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) |     \
     BIT(12) | BIT(13) | BIT(14) | BIT(15) | BIT(16) | BIT(17) | BIT(23) | BIT(24))

/*
 * Bits of subleaf 0 that pass. A leaf that is not here reads as 0: 3 (serial number), 5 (MONITOR),
 * 6 (power and thermal), 9 (DCA), 0Ah (performance counters), 0Fh and 10h
 * (resource monitoring and allocation), 12h (SGX), 14h (processor trace). Above 16h are key locker,
 * LBRs, AMX and hybrid CPUs, none of them virtualized, and 1Fh, which says what 0Bh says.
 */
static const struct cpuid_regs basic[CPUID_BASIC + 1] = {
    [0x00] = {0, ALL, ALL, ALL},
    /* Hidden in ECX: DTES64, MONITOR, DS-CPL, VMX, SMX, EIST, TM2, CNXT-ID, SDBG, xTPR, PDCM, PCID,
       DCA. In EDX: serial number, DS, ACPI, self-snoop, HTT, TM, PBE.
       EBX is made, and HTT. */
    [0x01] = {ALL, 0x0000ffff,
              BIT(0) | BIT(1) | BIT(9) | BIT(12) | BIT(13) | BIT(19) | BIT(20) | BIT(22) | BIT(23) |
                  BIT(25) | BIT(26) | BIT(27) | BIT(28) | BIT(29) | BIT(30),
              FEATURES_EDX | BIT(11) | BIT(19) | BIT(25) | BIT(26)},
    /* Caches and TLBs, as they are. */
    [0x02] = {ALL, ALL, ALL, ALL},
    /* Caches, shared with no one: by cpuid_cache(). */
    [0x04] = {ALL, ALL, ALL, ALL},
    /* Instructions whose state is the guest's own, bits 6 and 13 of EBX (how the FPU behaves) and
       MD_CLEAR (what VERW does). Hidden: SGX, TSX, INVPCID, RDT, MPX,
       PT, PKU, WAITPKG, CET, RDPID, key locker, ENQCMD, hybrid, PCONFIG, LBR, AMX, and with their
       MSRs IBRS, IBPB, STIBP, L1D_FLUSH, ARCH_CAPABILITIES, CORE_CAPABILITIES, SSBD. Its EAX, 0,
       hides the subleaves. */
    [0x07] = {0,
              BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(13) |
                  BIT(16) | BIT(17) | BIT(18) | BIT(19) | BIT(20) | BIT(21) | BIT(23) | BIT(24) |
                  BIT(28) | BIT(29) | BIT(30) | BIT(31),
              BIT(1) | BIT(2) | BIT(6) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(14) |
                  BIT(16),
              BIT(2) | BIT(3) | BIT(4) | BIT(10)},
    /* Made by cpuid_topology(), where the host has it. */
    [0x0b] = {0, ALL, 0, 0},
    [0x0d] = {ALL, ALL, ALL, ALL},
    /* 15h and 16h are made by make_rates(). */
};

/* The same from 80000000h on. Reading as 0: 0Ah (SVM), 1Bh (IBS), 1Ch (LWP). */
static const struct cpuid_regs extended[CPUID_EXTENDED_COUNT] = {
    [0x00] = {0, ALL, ALL, ALL},
    /* Hidden in ECX: multi-core (1), SVM, extended APIC space, CR8 by LOCK MOV, OSVW, IBS, SKINIT,
       watchdog, LWP, TCE, node ids, performance counters, breakpoint masks, MWAITX.
       TopologyExtensions (22) announces 1Dh and 1Eh, which is the running CPU's IDs. */
    [0x01] = {ALL, ALL,
              BIT(0) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(11) | BIT(16) | BIT(21) | BIT(22),
              FEATURES_EDX | BIT(11) | BIT(20) | BIT(22) | BIT(25) | BIT(26) | BIT(27) | BIT(29)},
    [0x02] = {ALL, ALL, ALL, ALL},
    [0x03] = {ALL, ALL, ALL, ALL},
    [0x04] = {ALL, ALL, ALL, ALL},
    /* Caches and TLBs. */
    [0x05] = {ALL, ALL, ALL, ALL},
    [0x06] = {ALL, ALL, ALL, ALL},
    /* Invariant TSC; no power management, no RAS. */
    [0x07] = {0, 0, 0, BIT(8)},
    /* Address widths; CLZERO, and that FXSAVE always saves error pointers. Hidden: InstRetCntMsr,
       INVLPGB, RDPRU, MCOMMIT, WBNOINVD, IBPB, IBRS, STIBP, SSBD. ECX is made. */
    [0x08] = {0x0000ffff, BIT(0) | BIT(2), 0, 0},
    /* TLBs of 1G pages; how fast vectors are. */
    [0x19] = {ALL, ALL, 0, 0},
    [0x1a] = {BIT(0) | BIT(1) | BIT(2), 0, 0, 0},
    /* Caches, shared with no one: by cpuid_cache(). */
    [0x1d] = {ALL, ALL, ALL, ALL},
};

enum { CACHE_TYPE = 0x1f, CACHE_SHARED_BY = 0xfff << 14, TOPOLOGY_EXTENSIONS = 1 << 22 };
#define CACHE_CORES (0x3fu << 26)

enum { XSAVE_LEGACY = 512 + 64, XSAVEC = 1 << 1, XSAVE_ALIGNED = 1 << 1 };

static struct cpuid_regs filter(struct cpuid_regs r, const struct cpuid_regs *keep)
{
    return (struct cpuid_regs){r.eax & keep->eax, r.ebx & keep->ebx, r.ecx & keep->ecx,
                               r.edx & keep->edx};
}

/* CPUs describe their caches in leaf 4 or in 8000001Dh; the other reads as 0. */
static bool has_leaf_4(const struct cpuid_table *table)
{
    return (table->basic[4].eax & CACHE_TYPE) != 0;
}

/* SDM, "CPUID", leaf 4; APM, "Function 8000_001Dh": caches until one of type 0. */
static void read_caches(struct cpuid_table *table, cpuid_reader *host, uint32_t leaf)
{
    for (uint32_t i = 0; i < CPUID_SUBLEAVES - 1; i++) {
        struct cpuid_regs r = host(leaf, i);
        if ((r.eax & CACHE_TYPE) == 0)
            return;
        r.eax &= ~(CACHE_SHARED_BY | CACHE_CORES);
        table->cache[i] = r;
    }
}

/*
 * SDM, "CPUID", leaf 0Dh: of the state components those that XSETBV lets the guest enable; of the
 * instructions not XSAVES, whose IA32_XSS the guest does not have.
 */
static void read_xsave(struct cpuid_table *table, cpuid_reader *host)
{
    const uint32_t instructions = BIT(0) | XSAVEC | BIT(2);
    struct cpuid_regs *area = table->xsave;
    area[0].eax = host(0xd, 0).eax & XCR0_GUEST;
    area[0].ecx = XSAVE_LEGACY;
    area[1].eax = host(0xd, 1).eax & instructions;
    for (uint32_t i = 2; i < CPUID_SUBLEAVES; i++) {
        if ((area[0].eax & BIT(i)) == 0)
            continue;
        struct cpuid_regs r = host(0xd, i);
        area[i] = (struct cpuid_regs){r.eax, r.ebx, r.ecx & XSAVE_ALIGNED, 0};
        area[0].ecx = (uint32_t)max_u64(area[0].ecx, r.eax + r.ebx);
    }
}
static_assert((XCR0_GUEST >> CPUID_SUBLEAVES) == 0, "leaf 0Dh has a place for each component");

/*
 * SDM, "CPUID", leaves 15h and 16h: the crystal is what the APIC's timer counts by, and the guest's
 * is its own; the TSC has the host's rate. A guest that has no other clock asks for the first, so
 * that it is there whatever the CPU has. The second has MHz, for people; but some take its first
 * for the TSC's rate, where a host's need not be that.
 */
static void make_rates(struct cpuid_table *table)
{
    uint32_t mhz = (table->tsc_khz + 500) / 1000, bus_mhz = (table->apic_khz + 500) / 1000;
    bool known = table->tsc_khz != 0, has_mhz = known && table->last >= 0x16;
    struct cpuid_regs crystal = {1, 1u << LAPIC_BUS_SHIFT, table->apic_khz * 1000, 0};
    struct cpuid_regs rates = {mhz, mhz, bus_mhz, 0}, none = {0, 0, 0, 0};
    if (known && table->last < 0x15)
        table->last = 0x15;
    table->basic[0x15] = known ? crystal : none;
    table->basic[0x16] = has_mhz ? rates : none;
}

/* Bits of an APIC ID that tell the cores of the one package apart. */
static unsigned core_bits(uint32_t cpus)
{
    return cpus == 1 ? 0 : 32 - (unsigned)__builtin_clz(cpus - 1);
}

/*
 * One package of CPUS cores, each of one thread (SDM, "CPUID", leaves 1 and 4; APM, "Legacy
 * Method", "Extended Method": where CPUs have SVM they count cores in 80000008h).
 */
static void make_cores(struct cpuid_table *table, cpuid_reader *host, uint32_t cpus)
{
    bool counts = (host(CPUID_EXTENDED + 1, 0).ecx & BIT(2)) != 0;
    table->basic[1].ebx |= cpus << 16;
    if (cpus == 1)
        return;
    table->basic[1].edx |= BIT(28);
    table->extended[1].ecx |= counts ? BIT(1) : 0;
    table->extended[8].ecx = counts ? core_bits(cpus) << 12 | (cpus - 1) : 0;
    for (uint32_t i = 0; i < CPUID_SUBLEAVES && has_leaf_4(table); i++)
        if ((table->cache[i].eax & CACHE_TYPE) != 0)
            table->cache[i].eax |= ((1u << core_bits(cpus)) - 1) << 26;
}

void cpuid_table_init(struct cpuid_table *table, cpuid_reader *host, unsigned phys_bits,
                      uint32_t tsc_khz, uint32_t cpus)
{
    *table = (struct cpuid_table){
        .tsc_khz = tsc_khz, .apic_khz = tsc_khz >> LAPIC_BUS_SHIFT, .cpus = cpus};
    table->last = (uint32_t)min_u64(host(0, 0).eax, CPUID_BASIC);
    table->last_extended =
        (uint32_t)min_u64(host(CPUID_EXTENDED, 0).eax - CPUID_EXTENDED, CPUID_EXTENDED_COUNT - 1);
    for (uint32_t i = 0; i <= table->last; i++)
        table->basic[i] = filter(host(i, 0), &basic[i]);
    for (uint32_t i = 0; i <= table->last_extended; i++)
        table->extended[i] = filter(host(CPUID_EXTENDED + i, 0), &extended[i]);
    if (table->last >= 0xd && (table->basic[1].ecx & BIT(26)) != 0)
        read_xsave(table, host);
    make_rates(table);
    table->basic[0].eax = table->last;
    table->basic[1].ecx |= BIT(31);           /* a hypervisor is there */
    table->basic[1].ecx |= BIT(21) | BIT(24); /* x2APIC and TSC-deadline, whatever the CPU has */
    if (table->last >= 6)
        table->basic[6].eax = BIT(2); /* ARAT: the APIC's timer never stops */
    table->extended[0].eax = CPUID_EXTENDED + table->last_extended;
    table->extended[8].eax = (table->extended[8].eax & 0xff00) | phys_bits;
    if (has_leaf_4(table))
        read_caches(table, host, 4);
    else if (table->last_extended >= 0x1d && (table->extended[1].ecx & TOPOLOGY_EXTENSIONS) != 0)
        read_caches(table, host, CPUID_EXTENDED + 0x1d);
    make_cores(table, host, cpus);
}

struct cpuid_regs cpuid_cache(const struct cpuid_table *table, uint32_t leaf, uint32_t subleaf)
{
    if ((leaf == 4) != has_leaf_4(table))
        return (struct cpuid_regs){0, 0, 0, 0};
    return table->cache[min_u64(subleaf, CPUID_SUBLEAVES - 1)]; /* the last is empty */
}

/* SDM, "CPUID", leaf 0Bh: cores of one thread, a package of them, and no further level. */
struct cpuid_regs cpuid_topology(const struct cpuid_table *table, uint32_t subleaf,
                                 uint32_t apic_id)
{
    enum { THREADS, CORES, LEVELS };
    struct cpuid_regs r = {0, 0, subleaf & 0xff, apic_id};
    if ((table->basic[0xb].ebx & 0xffff) == 0)
        return (struct cpuid_regs){0, 0, 0, 0};
    if (subleaf >= LEVELS)
        return r;
    r.eax = subleaf == CORES ? core_bits(table->cpus) : 0;
    r.ebx = subleaf == CORES ? table->cpus : 1;
    r.ecx |= (subleaf + 1) << 8; /* 1: thread, 2: core */
    return r;
}

/* Of the components in XCR0: the end of the standard form, or of the compacted one. */
static uint32_t xsave_size(const struct cpuid_table *table, uint64_t xcr0, bool compacted)
{
    uint64_t size = XSAVE_LEGACY;
    for (uint32_t i = 2; i < CPUID_SUBLEAVES; i++) {
        const struct cpuid_regs *part = &table->xsave[i];
        if ((xcr0 >> i & 1) == 0)
            continue;
        if (compacted && (part->ecx & XSAVE_ALIGNED) != 0)
            size = (size + 63) & ~63ull;
        size = compacted ? size + part->eax : max_u64(size, part->eax + part->ebx);
    }
    return (uint32_t)size;
}

struct cpuid_regs cpuid_xsave(const struct cpuid_table *table, uint32_t subleaf, uint64_t xcr0)
{
    if (subleaf >= CPUID_SUBLEAVES || table->xsave[0].eax == 0)
        return (struct cpuid_regs){0, 0, 0, 0};
    struct cpuid_regs r = table->xsave[subleaf];
    if (subleaf == 0)
        r.ebx = xsave_size(table, xcr0, false);
    else if (subleaf == 1 && (r.eax & XSAVEC) != 0)
        r.ebx = xsave_size(table, xcr0, true);
    return r;
}

struct cpuid_regs cpuid_hypervisor(const struct cpuid_table *table, uint32_t leaf)
{
    struct cpuid_regs r = {0, 0, 0, 0};
    if (leaf == CPUID_HYPERVISOR) {
        r.eax = CPUID_HYPERVISOR_LAST;
        memcpy(&r.ebx, NOSNOOP_SIGNATURE, 4);
        memcpy(&r.ecx, &NOSNOOP_SIGNATURE[4], 4);
        memcpy(&r.edx, &NOSNOOP_SIGNATURE[8], 4);
    } else if (leaf == CPUID_HYPERVISOR_TIMING) {
        r.eax = table->tsc_khz;
        r.ebx = table->apic_khz;
    }
    return r;
}
