/*
 * MSRs: what is stored and read back, and what is #GP. A case is one MSR or one kind of MSR.
 *
 * row: msr end=0
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"

enum { PAIRS = 8, FIXED_RANGES = 11 };
enum { CAP_COUNT = 0xff, CAP_FIX = 1 << 8, CAP_WC = 1 << 10 };
enum { DEF_FE = 1 << 10, DEF_E = 1 << 11, MASK_V = 1 << 11 };

#define MSR_PLATFORM_ID    0x17u
#define MSR_BIOS_UPDT_TRIG 0x79u
#define MSR_BIOS_SIGN_ID   0x8bu
#define MSR_IORR_BASE0     0xc0010016u
#define MSR_TOP_MEM        0xc001001au
#define MSR_PATCH_LOADER   0xc0010020u
#define APIC_DEFAULT       0xfee00000u

#define NO_GP        "emulator: no #GP from MSRs"
#define NONCANONICAL 0x0000800000000000ull

static const uint8_t types[] = {MT_UC, MT_WC, MT_WT, MT_WP, MT_WB};
static const uint8_t bad_types[] = {2, 3, 7, 8, 0x10, 0x80, 0xff}; /* of MTRRs */

static const uint32_t fixed[FIXED_RANGES] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                             0x26b, 0x26c, 0x26d, 0x26e, 0x26f};

static uint64_t repeated(uint8_t byte)
{
    return byte * 0x0101010101010101ull;
}

static bool has_tsc_adjust(void)
{
    return cpuid(0, 0).eax >= 7 && (cpuid(7, 0).ebx & 1u << 1) != 0;
}

static bool has_rdtscp(void)
{
    return (cpuid(0x80000001, 0).edx & 1u << 27) != 0;
}

/* VALUE is stored and read back; then the old one is. */
static void expect_stores(uint32_t msr, uint64_t value)
{
    uint64_t old, got;
    struct fault fault = try_rdmsr(msr, &old);
    if (!expect(fault.vector == FAULT_NONE, "reading %x: vector %d", msr, fault.vector))
        return;
    fault = try_wrmsr(msr, value);
    expect(fault.vector == FAULT_NONE, "%x to %x: vector %d", msr, (uint32_t)value, fault.vector);
    try_rdmsr(msr, &got);
    expect(got == value, "%x: wrote %lx, read %lx", msr, value, got);
    try_wrmsr(msr, old);
    try_rdmsr(msr, &got);
    expect(got == old, "%x: restored %lx, read %lx", msr, old, got);
}

/*
 * Whether #GP was raised, as it must be. On a bare emulator that raises none the case is skipped;
 * NATIVE: one that AMD's hypervisor leaves to the CPU, so the same there under the hypervisor.
 */
static bool expect_gp(struct fault fault, bool native, const char *what, uint32_t msr,
                      uint64_t value)
{
    bool lenient = !machine.nosnoop || (native && !machine.intel);
    if (fault.vector == FAULT_NONE && lenient) {
        skip(NO_GP);
        return false;
    }
    return expect(is_gp0(fault), "%s %x, %lx: vector %d, error %x", what, msr, value, fault.vector,
                  fault.error);
}

/* Writing VALUE is #GP and changes nothing. */
static void expect_refused(uint32_t msr, uint64_t value, bool native)
{
    uint64_t old, now;
    struct fault fault = try_rdmsr(msr, &old);
    if (!expect(fault.vector == FAULT_NONE, "reading %x: vector %d", msr, fault.vector))
        return;
    if (expect_gp(try_wrmsr(msr, value), native, "writing", msr, value)) {
        try_rdmsr(msr, &now);
        expect(now == old, "%x: %lx after the #GP, not %lx", msr, now, old);
    }
    try_wrmsr(msr, old);
}

static void pat_stores(void)
{
    expect_stores(MSR_PAT, 0x0007040600070406);
    expect_stores(MSR_PAT, 0x0105040600070406);
    expect_stores(MSR_PAT, 0x0706050401000706);
    expect_stores(MSR_PAT, repeated(MT_WB));
}

static void pat_reserved(void)
{
    static const uint8_t reserved[] = {2, 3, 8, 0x10, 0x46, 0x86, 0xff};
    for (unsigned byte = 0; byte < 8; byte++)
        for (unsigned i = 0; i < ARRAY_SIZE(reserved); i++) {
            uint64_t others = repeated(MT_WB) & ~(0xffull << byte * 8);
            expect_refused(MSR_PAT, others | (uint64_t)reserved[i] << byte * 8, false);
        }
}

static void cap_reads(void)
{
    uint64_t cap = rdmsr(MSR_MTRRCAP);
    expect((cap & CAP_FIX) != 0, "no fixed ranges: %lx", cap);
    expect((cap & CAP_WC) != 0, "no WC: %lx", cap);
    if (!machine.nosnoop && (cap & CAP_COUNT) != PAIRS)
        skip("a machine with another number of pairs");
    else
        expect((cap & CAP_COUNT) == PAIRS, "%lu pairs", cap & CAP_COUNT);
}

static void cap_write(void)
{
    expect_refused(MSR_MTRRCAP, rdmsr(MSR_MTRRCAP), false);
    expect_refused(MSR_MTRRCAP, 0, false);
}

static unsigned pairs(void)
{
    return machine.nosnoop ? PAIRS : rdmsr(MSR_MTRRCAP) & CAP_COUNT;
}

static uint64_t address_mask(void)
{
    return ((1ull << physical_bits()) - 1) & ~(PAGE_SIZE - 1);
}

/* The top page, so that the pair types nothing that is used; the other bits do not matter with V=0.
 */
static void variable_stores(void)
{
    uint64_t all = address_mask(), top = 1ull << (physical_bits() - 1);
    for (uint32_t i = 0; i < pairs(); i++) {
        uint32_t base = MSR_MTRR_PHYSBASE0 + 2 * i, mask = base + 1;
        uint64_t old_mask = rdmsr(mask);
        wrmsr(mask, 0);
        for (unsigned t = 0; t < ARRAY_SIZE(types); t++)
            expect_stores(base, (all & 0x5a5a5a5a5a5a5000) | types[t]);
        expect_stores(base, all);
        wrmsr(mask, old_mask);
        expect_stores(mask, all);
        expect_stores(mask, 0);
    }
    uint32_t base = MSR_MTRR_PHYSBASE0 + 2 * (pairs() - 1);
    uint64_t old_base = rdmsr(base), old_mask = rdmsr(base + 1);
    wrmsr(base, all | MT_WC);
    expect_stores(base + 1, all | MASK_V);
    expect_stores(base + 1, (top | 0xfff00000) | MASK_V); /* SDM: discontinuous masks are legal */
    wrmsr(base + 1, old_mask);
    wrmsr(base, old_base);
}

static void variable_apart(void)
{
    uint64_t old[2 * PAIRS], all = address_mask();
    unsigned count = pairs() < PAIRS ? 2 * pairs() : 2 * PAIRS;
    for (uint32_t i = 0; i < count; i++)
        old[i] = rdmsr(MSR_MTRR_PHYSBASE0 + i);
    for (uint32_t i = 1; i < count; i += 2)
        wrmsr(MSR_MTRR_PHYSBASE0 + i, (all & ~0xfffffull) + i * PAGE_SIZE);
    for (uint32_t i = 0; i < count; i += 2)
        wrmsr(MSR_MTRR_PHYSBASE0 + i, i * PAGE_SIZE | MT_WB);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t want = i % 2 ? (all & ~0xfffffull) + i * PAGE_SIZE : (i * PAGE_SIZE | MT_WB);
        uint64_t got = rdmsr(MSR_MTRR_PHYSBASE0 + i);
        expect(got == want, "%x: wrote %lx, read %lx", MSR_MTRR_PHYSBASE0 + i, want, got);
    }
    for (uint32_t i = count; i-- > 0;)
        wrmsr(MSR_MTRR_PHYSBASE0 + i, old[i]);
}

static void variable_types(void)
{
    for (uint32_t i = 0; i < pairs(); i++)
        for (unsigned t = 0; t < ARRAY_SIZE(bad_types); t++)
            expect_refused(MSR_MTRR_PHYSBASE0 + 2 * i, bad_types[t], false);
}

static void variable_reserved(void)
{
    for (uint32_t i = 0; i < pairs(); i++) {
        uint32_t base = MSR_MTRR_PHYSBASE0 + 2 * i;
        for (unsigned bit = 8; bit < 12; bit++)
            expect_refused(base, 1ull << bit, false);
        for (unsigned bit = 0; bit < 11; bit++)
            expect_refused(base + 1, 1ull << bit, false);
        for (unsigned bit = physical_bits(); bit < 64; bit++) {
            expect_refused(base, 1ull << bit, false);
            expect_refused(base + 1, 1ull << bit, false);
        }
    }
}

static void fixed_stores(void)
{
    for (unsigned i = 0; i < FIXED_RANGES; i++) {
        for (unsigned t = 0; t < ARRAY_SIZE(types); t++)
            expect_stores(fixed[i], repeated(types[t]));
        expect_stores(fixed[i], 0x0001040506000106);
    }
}

static void fixed_types(void)
{
    for (unsigned i = 0; i < FIXED_RANGES; i++)
        for (unsigned byte = 0; byte < 8; byte++) {
            expect_refused(fixed[i], 2ull << byte * 8, false);
            expect_refused(fixed[i], 7ull << byte * 8, false);
            expect_refused(fixed[i], 0x26ull << byte * 8, false);
        }
}

static void default_stores(void)
{
    for (unsigned t = 0; t < ARRAY_SIZE(types); t++) {
        expect_stores(MSR_MTRR_DEF_TYPE, types[t] | DEF_E | DEF_FE);
        expect_stores(MSR_MTRR_DEF_TYPE, types[t] | DEF_E);
    }
    expect_stores(MSR_MTRR_DEF_TYPE, MT_WB | DEF_FE);
    expect_stores(MSR_MTRR_DEF_TYPE, MT_WB);
    expect_stores(MSR_MTRR_DEF_TYPE, 0);
}

static void default_refused(void)
{
    for (unsigned t = 0; t < ARRAY_SIZE(bad_types); t++)
        expect_refused(MSR_MTRR_DEF_TYPE, bad_types[t] | DEF_E | DEF_FE, false);
    for (unsigned bit = 8; bit < 64; bit++)
        if ((1ull << bit & (DEF_E | DEF_FE)) == 0)
            expect_refused(MSR_MTRR_DEF_TYPE, 1ull << bit | DEF_E | DEF_FE | MT_WB, false);
}

static void unknown(void)
{
    static const uint32_t numbers[] = {0x12345, 0xc0001234, 0x2fe, 0x40000000, 0xffffffff};
    uint64_t value;
    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
        expect_gp(try_rdmsr(numbers[i], &value), false, "reading", numbers[i], 0);
        expect_gp(try_wrmsr(numbers[i], 0), false, "writing", numbers[i], 0);
    }
}

static void efer_toggles(void)
{
    uint64_t efer = rdmsr(MSR_EFER);
    expect((efer & (EFER_LME | EFER_LMA)) == (EFER_LME | EFER_LMA), "%lx in long mode", efer);
    expect_stores(MSR_EFER, efer | EFER_SCE);
    expect_stores(MSR_EFER, efer & ~EFER_SCE);
    expect_stores(MSR_EFER, efer | EFER_NXE);
    expect_stores(MSR_EFER, efer & ~EFER_NXE);
    expect_stores(MSR_EFER, efer | EFER_NXE | EFER_SCE);
}

/* MBZ in both manuals. */
static void efer_reserved(void)
{
    static const unsigned bits[] = {9, 16, 19, 22, 31, 32, 63};
    uint64_t efer = rdmsr(MSR_EFER);
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
        expect_refused(MSR_EFER, efer | 1ull << bits[i], false);
}

static void efer_lme(void)
{
    expect_refused(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_LME, false);
}

static void efer_svme(void)
{
    uint64_t efer = rdmsr(MSR_EFER);
    expect((efer & EFER_SVME) == 0, "SVME shows: %lx", efer);
    expect_refused(MSR_EFER, efer | EFER_SVME, false);
}

static void tsc(void)
{
    uint64_t before = rdtsc(), got = rdmsr(MSR_TSC), after = rdtsc();
    if (got == 0 && (!machine.nosnoop || !machine.intel)) /* AMD's is read without an exit */
        skip("emulator: the TSC's MSR reads 0");
    else
        expect(before <= got && got <= after, "%lx, %lx, %lx", before, got, after);
}

static void apic_base(void)
{
    uint64_t base;
    struct fault fault = try_rdmsr(MSR_APIC_BASE, &base);
    expect(fault.vector == FAULT_NONE, "vector %d", fault.vector);
    expect((base & address_mask()) == APIC_DEFAULT, "%lx", base);
}

static void sysenter(void)
{
    expect_stores(MSR_SYSENTER_CS, 0x1234);
    expect_stores(MSR_SYSENTER_ESP, 0x12345678); /* AMD may keep 32 bits alone */
    expect_stores(MSR_SYSENTER_EIP, 0x76543210);
}

static void syscall(void)
{
    expect_stores(MSR_STAR, 0x0123456789abcdef);
    expect_stores(MSR_LSTAR, 0xffff8000abcdef12);
    expect_stores(MSR_CSTAR, 0xffff8000abcdef34);
    expect_stores(MSR_SFMASK, 0x00047700);
}

static void bases(void)
{
    expect_stores(MSR_FS_BASE, 0x00007fffffffffff);
    expect_stores(MSR_GS_BASE, 0xffff800000000000);
    expect_stores(MSR_KERNEL_GS_BASE, 0xffffffff80000123);
}

static void not_canonical(void)
{
    static const uint32_t msrs[] = {MSR_LSTAR, MSR_CSTAR, MSR_FS_BASE, MSR_GS_BASE,
                                    MSR_KERNEL_GS_BASE};
    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
        expect_refused(msrs[i], NONCANONICAL, true);
}

/*
 * MSRs are read and written as two 32-bit halves by the number in ECX. Bits 32 and 33 of RCX stay
 * 0: one emulator takes them for part of the place in the bitmap of intercepted MSRs.
 */
static void upper_halves(void)
{
    uint64_t junk = 0xdeadbeec00000000, old = rdmsr(MSR_PAT), value = 0x0007040600070506;
    struct registers r = {.rflags = RFLAGS_FIXED};
    r.gpr[RAX] = junk | (uint32_t)value;
    r.gpr[RDX] = junk | value >> 32;
    r.gpr[RCX] = junk | MSR_PAT;
    struct fault fault = form_run(form_wrmsr, SEL_CODE64, &r);
    expect(fault.vector == FAULT_NONE && rdmsr(MSR_PAT) == value, "WRMSR: vector %d, PAT %lx",
           fault.vector, rdmsr(MSR_PAT));
    r.gpr[RAX] = r.gpr[RDX] = ~0ull;
    form_run(form_rdmsr, SEL_CODE64, &r);
    expect(r.gpr[RAX] == (uint32_t)value, "RAX %lx", r.gpr[RAX]);
    expect(r.gpr[RDX] == value >> 32, "RDX %lx", r.gpr[RDX]);
    expect(r.gpr[RCX] == (junk | MSR_PAT), "RCX %lx", r.gpr[RCX]);
    wrmsr(MSR_PAT, old);
}

static void expect_privileged(const char *code, uint32_t msr)
{
    struct registers r = {.rflags = RFLAGS_FIXED};
    r.gpr[RCX] = msr;
    struct fault fault = form_run(code, SEL_USER_CODE64, &r);
    expect(is_gp0(fault), "%x: vector %d, error %x", msr, fault.vector, fault.error);
    expect(fault.rip == (uint64_t)code, "RIP %lx, not %lx", fault.rip, (uint64_t)code);
}

static void user(void)
{
    expect_privileged(form_rdmsr, MSR_PAT);
    expect_privileged(form_wrmsr, MSR_PAT);
    expect_privileged(form_rdmsr, MSR_MTRR_DEF_TYPE);
    expect_privileged(form_rdmsr, MSR_LSTAR);
}

/* The host's own mapping of DRAM is none of the guest's business: they read as 0. */
static void amd_host(void)
{
    static const uint32_t msrs[] = {MSR_SYSCFG,        MSR_TOP_MEM,        MSR_TOP_MEM2,
                                    MSR_IORR_BASE0,    MSR_IORR_BASE0 + 1, MSR_IORR_BASE0 + 2,
                                    MSR_IORR_BASE0 + 3};
    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
        expect_stores(msrs[i], 0);
        expect_refused(msrs[i], 1ull << 21, false);
    }
}

/* An MSR that reads as VALUE; a write that changes bits outside WRITABLE is #GP. */
struct fixed_msr {
    uint32_t msr;
    uint64_t value, writable;
};

static void check_fixed(const struct fixed_msr *list, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct fixed_msr *m = &list[i];
        uint64_t got;
        struct fault fault = try_rdmsr(m->msr, &got);
        expect(fault.vector == FAULT_NONE, "reading %x: vector %d", m->msr, fault.vector);
        expect(got == m->value, "%x reads %lx, not %lx", m->msr, got, m->value);
        expect_stores(m->msr, m->value);
        for (unsigned bit = 0; bit < 64; bit++)
            if ((m->writable >> bit & 1) != 0)
                expect_stores(m->msr, m->value ^ 1ull << bit);
            else
                expect_refused(m->msr, m->value ^ 1ull << bit, false);
    }
}

/* SDM Volume 4, "Architectural MSRs"; APM Volume 2, Appendix A. */
static void fixed_values(void)
{
    static const struct fixed_msr both[] = {
        {0x0, 0, 0},            /* P5_MC_ADDR */
        {0x1, 0, 0},            /* P5_MC_TYPE */
        {MSR_MCG_STATUS, 0, 7}, /* RIPV, EIPV, MCIP */
        {MSR_DEBUGCTL, 0, 0},
    };
    /* Fast strings, BTS unavailable, PEBS unavailable. */
    static const struct fixed_msr intel[] = {
        {MSR_MISC_ENABLE, 1u << 0 | 1u << 11 | 1u << 12, 1u << 0},
    };
    /* INVDWBINVD and TscFreqSel; TLBCACHEDIS, FFDIS, IGNNE_EM, McStatusWrEn. */
    static const struct fixed_msr amd[] = {
        {MSR_HWCR, 1u << 4 | 1u << 24, 1u << 3 | 1u << 6 | 1u << 8 | 1u << 18},
        {0x1db, 0, 0}, /* last branches and exceptions */
        {0x1dc, 0, 0},
        {0x1dd, 0, 0},
        {0x1de, 0, 0},
    };
    check_fixed(both, ARRAY_SIZE(both));
    if (machine.intel)
        check_fixed(intel, ARRAY_SIZE(intel));
    else
        check_fixed(amd, ARRAY_SIZE(amd));
}

static void expect_absent(uint32_t msr)
{
    uint64_t value;
    expect_gp(try_rdmsr(msr, &value), false, "reading", msr, 0);
    expect_gp(try_wrmsr(msr, 0), false, "writing", msr, 0);
}

/* Registers of what CPUID hides, of both vendors. */
static void absent(void)
{
    static const uint32_t numbers[] = {
        0x3a, /* FEATURE_CONTROL: no VMX, SMX, SGX, LMCE */
        0x48,       0x49,       0xcf,       0x10a,           0x10b,      0x122,
        0x123,                                                                  /* speculation */
        0x9b,       0x480,      0x485,      0x48b,           0x491,             /* VMX */
        0xc1,       0x186,      0x309,      0x345,           0x38f,      0x4c1, /* PMU */
        0x600,      0x560,      0x570, /* debug store, PT */
        0xe7,       0xe8,       0x198,      0x199,           0x19a,      0x19b,
        0x19c, /* power */
        0x1a2,      0x1b0,      0x606,      0x770,           0xc0010062, 0xc00000e7,
        0x17b,      0x180,      0x280,      0x400,           0x401,      0x47f, /* banks */
        0xc0000408, 0xc0002000, 0x800,      0x802,           0x80b,      0x830,
        0x83f,      0x8ff, /* of x2APIC mode */
        0x6a0,      0xc80,      0xc8f,      0xd90,           MSR_XSS,    0xc0000104,
        MSR_VM_CR,  0xc0010115, 0xc0010116, MSR_VM_HSAVE_PA, 0xc0010118, /* SVM */
        0xc0010000, 0xc0010004, 0xc0010200,                              /* PMU */
        0xc0010111, 0xc0010112, 0xc0010113, 0xc0010130,      0xc0010131, /* SMM, SEV */
        0xc0010140, 0xc0011019, 0xc0011027, 0xc0011030,      0x1f2,      0x1f8,
    };
    static const uint32_t amd_alone[] = {MSR_SYSCFG,  MSR_HWCR,     MSR_IORR_BASE0,
                                         MSR_TOP_MEM, MSR_TOP_MEM2, MSR_PATCH_LOADER};
    static const uint32_t intel_alone[] = {MSR_PLATFORM_ID, MSR_BIOS_UPDT_TRIG, MSR_MISC_ENABLE};
    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
        expect_absent(numbers[i]);
    for (unsigned i = 0; i < ARRAY_SIZE(amd_alone) && machine.intel; i++)
        expect_absent(amd_alone[i]);
    for (unsigned i = 0; i < ARRAY_SIZE(intel_alone) && !machine.intel; i++)
        expect_absent(intel_alone[i]);
    if (!has_tsc_adjust())
        expect_absent(MSR_TSC_ADJUST);
}

/* Registers that are read-only, or write-only to load microcode, which is not done. */
static void one_way(void)
{
    uint64_t value;
    uint32_t loader = machine.intel ? MSR_BIOS_UPDT_TRIG : MSR_PATCH_LOADER;
    expect(try_rdmsr(MSR_BIOS_SIGN_ID, &value).vector == FAULT_NONE, "reading the revision");
    expect(is_gp0(try_rdmsr(loader, &value)), "reading %x", loader);
    expect(try_wrmsr(loader, 0x1000).vector == FAULT_NONE, "writing %x", loader);
    expect(try_rdmsr(MSR_MCG_CAP, &value).vector == FAULT_NONE && value == 0, "MCG_CAP %lx", value);
    expect(is_gp0(try_wrmsr(MSR_MCG_CAP, 0)), "writing MCG_CAP");
    if (machine.intel) {
        expect(try_rdmsr(MSR_PLATFORM_ID, &value).vector == FAULT_NONE, "reading PLATFORM_ID");
        expect((value & ~(7ull << 50)) == 0, "PLATFORM_ID %lx", value);
        expect(is_gp0(try_wrmsr(MSR_PLATFORM_ID, 0)), "writing PLATFORM_ID");
        expect(try_wrmsr(MSR_BIOS_SIGN_ID, 0).vector == FAULT_NONE, "writing BIOS_SIGN_ID");
    } else {
        expect(is_gp0(try_wrmsr(MSR_BIOS_SIGN_ID, 0)), "writing PATCH_LEVEL");
    }
}

/* What the table of the manuals gives this guest; all else is #GP. */
static bool is_known(uint32_t msr)
{
    static const struct {
        uint32_t first, last;
        enum { BOTH, INTEL, AMD } vendor;
    } known[] = {
        {0x0, 0x1, BOTH},
        {MSR_TSC, MSR_TSC, BOTH},
        {MSR_PLATFORM_ID, MSR_PLATFORM_ID, INTEL},
        {MSR_APIC_BASE, MSR_APIC_BASE, BOTH},
        {MSR_BIOS_SIGN_ID, MSR_BIOS_SIGN_ID, BOTH},
        {MSR_MTRRCAP, MSR_MTRRCAP, BOTH},
        {MSR_SYSENTER_CS, MSR_SYSENTER_EIP, BOTH},
        {MSR_MCG_CAP, MSR_MCG_STATUS, BOTH},
        {MSR_MISC_ENABLE, MSR_MISC_ENABLE, INTEL},
        {MSR_DEBUGCTL, MSR_DEBUGCTL, BOTH},
        {0x1db, 0x1de, AMD},
        {0x200, 0x20f, BOTH},
        {0x250, 0x250, BOTH},
        {0x258, 0x259, BOTH},
        {0x268, 0x26f, BOTH},
        {MSR_PAT, MSR_PAT, BOTH},
        {MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, BOTH},
        {MSR_MTRR_DEF_TYPE, MSR_MTRR_DEF_TYPE, BOTH},
        {MSR_EFER, MSR_SFMASK, BOTH},
        {MSR_FS_BASE, MSR_KERNEL_GS_BASE, BOTH},
        {MSR_SYSCFG, MSR_SYSCFG, AMD},
        {MSR_HWCR, MSR_TOP_MEM, AMD},
        {MSR_TOP_MEM2, MSR_TOP_MEM2, AMD},
    };
    if (msr == MSR_TSC_ADJUST)
        return has_tsc_adjust();
    if (msr == MSR_TSC_AUX)
        return has_rdtscp();
    for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
        if (msr >= known[i].first && msr <= known[i].last)
            return known[i].vendor == BOTH || (known[i].vendor == INTEL) == machine.intel;
    return false;
}

static void sweep_range(uint32_t first, uint32_t count)
{
    for (uint32_t msr = first; msr - first < count; msr++) {
        uint64_t value;
        struct fault fault = try_rdmsr(msr, &value);
        bool right = is_known(msr) ? fault.vector == FAULT_NONE : is_gp0(fault);
        if (!right)
            expect(false, "reading %x: vector %d", msr, fault.vector);
    }
}

static void sweep(void)
{
    sweep_range(0, 0x2000);
    sweep_range(0x40000000, 0x100);
    sweep_range(0xc0000000, 0x2000);
    sweep_range(0xc0010000, 0x2000);
}

static const char *needs_tsc_adjust(void)
{
    return has_tsc_adjust() ? NULL : "no TSC_ADJUST";
}

static const char *needs_rdtscp(void)
{
    return has_rdtscp() ? NULL : "no RDTSCP";
}

/* SDM, "IA32_TSC_ADJUST Register Support". */
static void tsc_adjust(void)
{
    const uint64_t step = 1ull << 50, slack = 1ull << 40;
    uint64_t old = rdmsr(MSR_TSC_ADJUST), before = rdtsc();
    wrmsr(MSR_TSC_ADJUST, old + step);
    uint64_t after = rdtsc();
    expect(after - before >= step && after - before < step + slack, "TSC %lx, then %lx", before,
           after);
    expect(rdmsr(MSR_TSC_ADJUST) == old + step, "reads %lx", rdmsr(MSR_TSC_ADJUST));
    wrmsr(MSR_TSC, before);
    uint64_t adjust = rdmsr(MSR_TSC_ADJUST);
    expect(old - adjust < slack, "%lx after the TSC was set back; at first %lx", adjust, old);
    wrmsr(MSR_TSC_ADJUST, old);
    expect(rdtsc() - before < slack, "TSC %lx, at first %lx", rdtsc(), before);
}

static void tsc_aux(void)
{
    uint32_t old = (uint32_t)rdmsr(MSR_TSC_AUX), aux;
    expect_stores(MSR_TSC_AUX, 0x12345678);
    if (try_wrmsr(MSR_TSC_AUX, 1ull << 32).vector == FAULT_NONE) /* the CPU's own affair */
        skip("emulator: no #GP from the upper half of TSC_AUX");
    wrmsr(MSR_TSC_AUX, 0xabcdef01);
    __asm__ volatile("rdtscp" : "=c"(aux) : : "eax", "edx");
    expect(aux == 0xabcdef01, "RDTSCP gives %x", aux);
    wrmsr(MSR_TSC_AUX, old);
}

static void tsc_write(void)
{
    uint64_t before = rdtsc();
    wrmsr(MSR_TSC, before + (1ull << 50));
    uint64_t after = rdtsc();
    wrmsr(MSR_TSC, before);
    if (after - before < 1ull << 50 && !machine.nosnoop)
        skip("emulator: the TSC is not written");
    else
        expect(after - before >= 1ull << 50, "TSC %lx, then %lx", before, after);
}

static const char *needs_nosnoop_intel(void)
{
    if (machine.nosnoop && !machine.intel)
        return "only on Intel";
    return needs_nosnoop();
}

/* SDM, "WRMSR": these two must be canonical as well; on AMD they have 32 bits. */
static void sysenter_canonical(void)
{
    expect_refused(MSR_SYSENTER_ESP, NONCANONICAL, true);
    expect_refused(MSR_SYSENTER_EIP, NONCANONICAL, true);
}

static const struct test_case cases[] = {
    {"PAT: stored and read back", NULL, pat_stores},
    {"PAT: reserved types are #GP", NULL, pat_reserved},
    {"MTRRcap: 8 pairs, fixed ranges, WC", NULL, cap_reads},
    {"MTRRcap: a write is #GP", NULL, cap_write},
    {"variable MTRRs: stored and read back", NULL, variable_stores},
    {"variable MTRRs: each its own", NULL, variable_apart},
    {"variable MTRRs: reserved types are #GP", NULL, variable_types},
    {"variable MTRRs: reserved bits are #GP", NULL, variable_reserved},
    {"fixed MTRRs: stored and read back", NULL, fixed_stores},
    {"fixed MTRRs: reserved types are #GP", NULL, fixed_types},
    {"MTRRdefType: stored and read back", NULL, default_stores},
    {"MTRRdefType: reserved types and bits are #GP", NULL, default_refused},
    {"unknown MSRs are #GP", NULL, unknown},
    {"EFER: SCE and NXE", NULL, efer_toggles},
    {"EFER: reserved bits are #GP", NULL, efer_reserved},
    {"EFER: LME is fixed while paging is on", NULL, efer_lme},
    {"EFER: no SVME", needs_nosnoop, efer_svme},
    {"TSC: as RDTSC", NULL, tsc},
    {"TSC: written", NULL, tsc_write},
    {"TSC_ADJUST: moves the TSC, and is moved by it", needs_tsc_adjust, tsc_adjust},
    {"TSC_AUX: stored, and RDTSCP's", needs_rdtscp, tsc_aux},
    {"APIC_BASE: readable", NULL, apic_base},
    {"SYSENTER MSRs: stored and read back", NULL, sysenter},
    {"SYSCALL MSRs: stored and read back", NULL, syscall},
    {"SYSENTER: addresses that are not canonical are #GP", needs_nosnoop_intel, sysenter_canonical},
    {"FS, GS, KERNEL_GS bases: stored and read back", NULL, bases},
    {"addresses that are not canonical are #GP", NULL, not_canonical},
    {"RDMSR and WRMSR: upper halves of registers", NULL, upper_halves},
    {"RDMSR and WRMSR: #GP at CPL 3", NULL, user},
    {"SYSCFG, TOP_MEM, IORRs: 0 alone", needs_nosnoop_amd, amd_host},
    {"fixed values, and bits that may be written", needs_nosnoop, fixed_values},
    {"read-only and write-only MSRs", needs_nosnoop, one_way},
    {"absent: what CPUID hides", needs_nosnoop, absent},
    {"absent: all that is in no table", needs_nosnoop, sweep},
};

void test_main(void)
{
    ktap_all(cases, ARRAY_SIZE(cases));
}
