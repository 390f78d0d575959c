/*
 * CPUID and hypercalls: who is there, that answers agree with each other, and what the guest must
 * not be told.
 *
 * row: cpuid end=0
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "vmm/abi.h"

#define EXTENDED      0x80000000u
#define PHYSICAL_BITS 0x80000008u
#define SVM_FEATURES  0x8000000au

#define SYSCALL_EDX  (1u << 11)
#define TOPOLOGY_EXT (1u << 22)

extern const char form_cpuid_32[]; /* cpuid.asm */

enum { EDX_MSR = 1 << 5, EDX_MTRR = 1 << 12, EDX_PAT = 1 << 16 };
enum { ECX_VMX = 1 << 5, ECX_XSAVE = 1 << 26, ECX_OSXSAVE = 1 << 27 };
enum { EXT_ECX_SVM = 1 << 2, EXT_EDX_LM = 1 << 29 };

/* APM, "Function 8000_0001h": EDX bits that are those of function 1 again. */
#define AMD_SAME_EDX 0x0183f3ffu

static bool same(struct cpuid_regs a, struct cpuid_regs b)
{
    return a.eax == b.eax && a.ebx == b.ebx && a.ecx == b.ecx && a.edx == b.edx;
}

static bool all_zero(struct cpuid_regs r)
{
    return same(r, (struct cpuid_regs){0, 0, 0, 0});
}

static void signature(void)
{
    struct cpuid_regs r = cpuid(CPUID_HYPERVISOR, 0);
    uint32_t text[3] = {r.ebx, r.ecx, r.edx};
    expect(memcmp(text, NOSNOOP_SIGNATURE, sizeof(text)) == 0, "%.12s", (const char *)text);
    expect(r.eax >= CPUID_HYPERVISOR && r.eax <= CPUID_HYPERVISOR + 0xff, "highest leaf %x", r.eax);
    expect(cpuid(1, 0).ecx >> 31 == 1, "the hypervisor bit is clear");
}

static void vendor(void)
{
    struct cpuid_regs r = cpuid(0, 0), extended = cpuid(EXTENDED, 0);
    uint32_t text[3] = {r.ebx, r.edx, r.ecx};
    bool amd = memcmp(text, "AuthenticAMD", sizeof(text)) == 0;
    expect(amd || memcmp(text, "GenuineIntel", sizeof(text)) == 0, "%.12s", (const char *)text);
    if (amd)
        expect(extended.ebx == r.ebx && extended.ecx == r.ecx && extended.edx == r.edx,
               "leaf 80000000h names another vendor");
}

static void ranges(void)
{
    uint32_t basic = cpuid(0, 0).eax, extended = cpuid(EXTENDED, 0).eax;
    expect(basic >= 1 && basic < 0x100, "highest basic leaf %x", basic);
    expect(extended >= PHYSICAL_BITS && extended < EXTENDED + 0x100, "highest extended leaf %x",
           extended);
}

static void compare_twice(uint32_t first, uint32_t last)
{
    for (uint32_t leaf = first; leaf <= last; leaf++)
        expect(same(cpuid(leaf, 0), cpuid(leaf, 0)), "leaf %x", leaf);
}

static void twice(void)
{
    compare_twice(0, cpuid(0, 0).eax);
    compare_twice(EXTENDED, cpuid(EXTENDED, 0).eax);
}

/*
 * SDM, "CPUID": data of the highest basic leaf, by the same subleaf where it has some; AMD: zeros.
 */
static void check_beyond(uint32_t leaf)
{
    for (uint32_t sub = 0; sub < 4; sub++) {
        struct cpuid_regs got = cpuid(leaf, sub), highest = cpuid(cpuid(0, 0).eax, sub);
        bool right = machine.intel ? same(got, highest) : all_zero(got);
        if (!right && !machine.nosnoop)
            skip("emulator: leaves out of range");
        else
            expect(right, "leaf %x.%x: %x %x %x %x", leaf, sub, got.eax, got.ebx, got.ecx, got.edx);
    }
}

static void beyond_basic(void)
{
    check_beyond(cpuid(0, 0).eax + 1);
    check_beyond(0x3fffffff);
}

static void beyond_extended(void)
{
    check_beyond(cpuid(EXTENDED, 0).eax + 1);
    check_beyond(EXTENDED + 0xffff);
}

static void no_virtualization(void)
{
    expect((cpuid(1, 0).ecx & ECX_VMX) == 0, "VMX");
    expect((cpuid(EXTENDED + 1, 0).ecx & EXT_ECX_SVM) == 0, "SVM");
    if (!machine.intel)
        expect(all_zero(cpuid(SVM_FEATURES, 0)), "leaf 8000000Ah");
}

struct bits {
    uint32_t leaf;
    uint8_t reg; /* 0 to 3: EAX to EDX */
    uint32_t mask;
    const char *what;
};

static uint32_t reg_of(struct cpuid_regs r, unsigned reg)
{
    const uint32_t values[] = {r.eax, r.ebx, r.ecx, r.edx};
    return values[reg];
}

/* SDM, "CPUID"; APM Volume 3, Appendix E: what only a hypervisor that virtualizes it may show. */
static void nothing_else(void)
{
    static const struct bits hidden[] = {
        {1, 2, 1u << 2 | 1u << 4, "DTES64, DS-CPL"},
        {1, 2, 1u << 3, "MONITOR"},
        {1, 2, 1u << 6 | 1u << 7 | 1u << 8 | 1u << 10 | 1u << 11, "SMX, EIST, TM2, CNXT-ID, SDBG"},
        {1, 2, 1u << 14 | 1u << 15 | 1u << 18, "xTPR, PDCM, DCA"},
        {1, 2, 1u << 17, "PCID"},
        {1, 3, 1u << 18 | 1u << 21 | 1u << 22, "PSN, DS, ACPI"},
        {1, 3, 1u << 28 | 1u << 29 | 1u << 31, "HTT, TM, PBE"},
        {6, 0, ~(1u << 2), "power and thermal"},
        {6, 1, 0xffffffff, "thermal thresholds"},
        {6, 2, 0xffffffff, "APERF, MPERF"},
        {7, 0, 0xffffffff, "subleaves of leaf 7"},
        {7, 1, 1u << 2 | 1u << 4 | 1u << 11 | 1u << 12, "SGX, HLE, RTM, PQM"},
        {7, 1, 1u << 10 | 1u << 14 | 1u << 15 | 1u << 25, "INVPCID, MPX, PQE, PT"},
        {7, 2, 1u << 3 | 1u << 4 | 1u << 5 | 1u << 7 | 1u << 13, "PKU, OSPKE, WAITPKG, CET, TME"},
        {7, 2, 1u << 22 | 1u << 23 | 1u << 29 | 1u << 30 | 1u << 31, "RDPID, KL, ENQCMD, SGX, PKS"},
        {7, 3, 1u << 5 | 1u << 15 | 1u << 18 | 1u << 19 | 1u << 20, "UINTR, hybrid, PCONFIG, LBR"},
        {7, 3, 1u << 22 | 1u << 24 | 1u << 25, "AMX"},
        {7, 3, 1u << 26 | 1u << 27 | 1u << 28 | 1u << 29 | 1u << 30 | 1u << 31, "SPEC_CTRL"},
        {0xd, 3, 0xffffffff, "state components above 31"},
        {0xd, 0, 1u << 3 | 1u << 4 | 1u << 9 | 1u << 17 | 1u << 18, "MPX, PKRU, AMX"},
        {EXTENDED + 1, 2, 1u << 1 | 1u << 3 | 1u << 9 | 1u << 10, "CmpLegacy, ExtApic, OSVW, IBS"},
        {EXTENDED + 1, 2, 1u << 12 | 1u << 13 | 1u << 15 | 1u << 17, "SKINIT, WDT, LWP, TCE"},
        {EXTENDED + 1, 2, 1u << 19 | 1u << 23 | 1u << 24 | 1u << 26, "NodeId, PMCs, DBX"},
        {EXTENDED + 1, 2, 1u << 27 | 1u << 28 | 1u << 29, "PerfTsc, L2I, MWAITX"},
        {EXTENDED + 7, 1, 0xffffffff, "RAS"},
        {EXTENDED + 7, 3, ~(1u << 8), "power management"},
        {PHYSICAL_BITS, 1, 1u << 1 | 1u << 3 | 1u << 4 | 1u << 8,
         "InstRet, INVLPGB, RDPRU, MCOMMIT"},
        {PHYSICAL_BITS, 1, 1u << 12 | 1u << 14 | 1u << 15 | 1u << 24, "IBPB, IBRS, STIBP, SSBD"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(hidden); i++) {
        const struct bits *h = &hidden[i];
        uint32_t value = reg_of(cpuid(h->leaf, 0), h->reg);
        if (h->leaf <= cpuid(h->leaf & EXTENDED, 0).eax)
            expect((value & h->mask) == 0, "leaf %x register %u is %x: %s", h->leaf, h->reg, value,
                   h->what);
    }
    expect((cpuid(0xd, 1).eax & ~7u) == 0, "XSAVES or XFD: %x", cpuid(0xd, 1).eax);
}

/* Leaves of things that are not virtualized, where there is no bit to hide. */
static void empty_leaves(void)
{
    static const uint32_t empty[] = {
        3,
        5,
        8,
        9,
        0xa,
        0xc,
        0xe,
        0xf,
        0x10,
        0x11,
        0x12,
        0x13,
        0x14,
        0x17,
        0x18,
        0x19,
        0x1a,
        0x1b,
        0x1c,
        0x1d,
        0x1e,
        SVM_FEATURES,
        EXTENDED + 0x1b,
        EXTENDED + 0x1c,
        EXTENDED + 0x1e,
        EXTENDED + 0x1f,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(empty); i++)
        for (uint32_t sub = 0; sub < 3 && empty[i] <= cpuid(empty[i] & EXTENDED, 0).eax; sub++)
            expect(all_zero(cpuid(empty[i], sub)), "leaf %x.%u", empty[i], sub);
}

/* One package of one core of one thread, whose APIC id is 0. */
static void topology(void)
{
    struct cpuid_regs one = cpuid(1, 0);
    expect(one.ebx >> 24 == 0, "APIC id %u", one.ebx >> 24);
    expect((one.ebx >> 16 & 0xff) == 1, "%u logical processors", one.ebx >> 16 & 0xff);
    expect((cpuid(PHYSICAL_BITS, 0).ecx & 0xf0ff) == 0, "80000008h: ECX is %x",
           cpuid(PHYSICAL_BITS, 0).ecx);
    struct cpuid_regs r = cpuid(0xb, 0);
    if (cpuid(0, 0).eax < 0xb || (r.ebx & 0xffff) == 0)
        return;
    for (uint32_t i = 0; i < 5; i++) {
        r = cpuid(0xb, i);
        uint32_t type = i < 2 ? i + 1 : 0; /* thread, core, none */
        expect(r.eax == 0 && r.ebx == (i < 2 ? 1 : 0) && r.edx == 0, "0Bh.%u: %x %x, id %x", i,
               r.eax, r.ebx, r.edx);
        expect(r.ecx == (type << 8 | i), "0Bh.%u: ECX is %x", i, r.ecx);
    }
    if (cpuid(0, 0).eax >= 0x1f)
        expect(same(cpuid(0x1f, 0), cpuid(0xb, 0)), "1Fh is not 0Bh");
}

/* Leaf 4, or 8000001Dh: caches that no one shares, then none. */
static void caches(void)
{
    uint32_t leaf = machine.intel ? 4 : EXTENDED + 0x1d, i;
    bool there = machine.intel || (cpuid(EXTENDED + 1, 0).ecx & TOPOLOGY_EXT) != 0;
    for (i = 0; i < 8 && there && (cpuid(leaf, i).eax & 0x1f) != 0; i++) {
        struct cpuid_regs r = cpuid(leaf, i);
        uint32_t type = r.eax & 0x1f, level = r.eax >> 5 & 7;
        expect(type <= 3 && level >= 1 && level <= 4, "%x.%u: type %u, level %u", leaf, i, type,
               level);
        expect(r.eax >> 14 == 0, "%x.%u: EAX is %x: shared", leaf, i, r.eax);
        expect((r.ebx & 0xfff) + 1 == (cpuid(1, 0).ebx >> 8 & 0xff) * 8, "%x.%u: line %u", leaf, i,
               (r.ebx & 0xfff) + 1);
    }
    expect(!there || i > 0, "leaf %x has no caches", leaf);
    expect(all_zero(cpuid(leaf, i)), "%x.%u is not all 0", leaf, i);
    expect(all_zero(cpuid(leaf, 0x10000)), "%x.10000 is not all 0", leaf);
    expect(machine.intel || all_zero(cpuid(4, 0)), "leaf 4");
}

static const char *needs_xsave(void)
{
    return cpuid(1, 0).ecx & ECX_XSAVE ? NULL : "no XSAVE";
}

static void set_xcr0(uint32_t value)
{
    __asm__ volatile("xsetbv" : : "c"(0), "a"(value), "d"(0));
}

/* The end of the furthest of COMPONENTS, as leaf 0Dh gives each. */
static uint32_t end_of(uint32_t components, bool compacted)
{
    uint32_t end = 512 + 64;
    for (uint32_t i = 2; i < 32; i++) {
        struct cpuid_regs r = cpuid(0xd, i);
        if ((components >> i & 1) == 0)
            continue;
        if (compacted)
            end = ((r.ecx & 2) != 0 ? (end + 63) & ~63u : end) + r.eax;
        else if (r.ebx + r.eax > end)
            end = r.ebx + r.eax;
    }
    return end;
}

static void check_xsave_size(uint32_t xcr0)
{
    set_xcr0(xcr0);
    struct cpuid_regs size = cpuid(0xd, 0), instructions = cpuid(0xd, 1);
    uint32_t compact = (instructions.eax & 2) != 0 ? end_of(xcr0, true) : 0;
    expect(size.ebx == end_of(xcr0, false), "XCR0 %x: EBX is %x", xcr0, size.ebx);
    expect(size.ecx == end_of(size.eax, false), "XCR0 %x: ECX is %x", xcr0, size.ecx);
    if (instructions.ebx != compact && !machine.nosnoop)
        skip("emulator: EBX of leaf 0Dh.1");
    else
        expect(instructions.ebx == compact, "XCR0 %x: EBX of 0Dh.1 is %x", xcr0, instructions.ebx);
}

/* SDM, "CPUID", leaf 0Dh: EBX follows XCR0, ECX is for all that XCR0 may have. */
static void xsave_sizes(void)
{
    uint64_t cr4 = read_cr4();
    uint32_t all = cpuid(0xd, 0).eax;
    expect((all & 3) == 3, "EAX is %x", all);
    write_cr4(cr4 | CR4_OSXSAVE);
    check_xsave_size(XCR0_X87);
    check_xsave_size(XCR0_X87 | XCR0_SSE);
    if ((all & XCR0_AVX) != 0)
        check_xsave_size(XCR0_X87 | XCR0_SSE | XCR0_AVX);
    if ((all & XCR0_AVX512) != 0)
        check_xsave_size(XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512);
    set_xcr0(XCR0_X87);
    write_cr4(cr4);
}

static void xsave_parts(void)
{
    uint32_t all = cpuid(0xd, 0).eax;
    for (uint32_t i = 2; i < 70; i++) {
        bool there = i < 32 && (all >> i & 1) != 0;
        struct cpuid_regs r = cpuid(0xd, i);
        if (there)
            expect(r.eax > 0 && r.ebx >= 576 && (r.ecx & 1) == 0 && r.edx == 0,
                   "0Dh.%u: %x %x %x %x", i, r.eax, r.ebx, r.ecx, r.edx);
        else
            expect(all_zero(r), "0Dh.%u: %x %x %x %x", i, r.eax, r.ebx, r.ecx, r.edx);
    }
}

static void no_more_subleaves(void)
{
    static const uint32_t subleaves[] = {1, 2, 3, 0xff, 0x80000000, 0xffffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(subleaves); i++)
        expect(cpuid(0, 0).eax < 7 || all_zero(cpuid(7, subleaves[i])), "leaf 7.%x", subleaves[i]);
}

static void sweep(uint32_t first, uint32_t last)
{
    static const uint32_t subleaves[] = {0, 1, 2, 3, 7, 8, 0x3f, 0x40, 0xffffffff};
    for (uint32_t leaf = first; leaf <= last; leaf++)
        for (unsigned i = 0; i < ARRAY_SIZE(subleaves); i++) {
            struct cpuid_regs before = cpuid(leaf, subleaves[i]);
            cpuid(0, 0);
            expect(same(before, cpuid(leaf, subleaves[i])), "leaf %x.%x", leaf, subleaves[i]);
        }
}

static void stable(void)
{
    sweep(0, 0x40);
    sweep(CPUID_HYPERVISOR, CPUID_HYPERVISOR + 0x20);
    sweep(EXTENDED, EXTENDED + 0x40);
}

/* The TSC's rate and that of the APIC's bus; what lies between the hypervisor's leaves is empty. */
static void timing(void)
{
    struct cpuid_regs r = cpuid(CPUID_HYPERVISOR_TIMING, 0);
    expect(cpuid(CPUID_HYPERVISOR, 0).eax == CPUID_HYPERVISOR_TIMING, "highest leaf");
    expect(r.eax >= 1000 && r.eax <= 20000000, "%u kHz", r.eax);
    expect(r.ebx == r.eax / 16, "the bus has %u kHz, the TSC %u", r.ebx, r.eax);
    expect(r.ecx == 0 && r.edx == 0, "%x %x", r.ecx, r.edx);
    for (uint32_t leaf = CPUID_HYPERVISOR + 1; leaf < CPUID_HYPERVISOR_TIMING; leaf++)
        expect(all_zero(cpuid(leaf, 0)), "leaf %x", leaf);
    check_beyond(CPUID_HYPERVISOR_TIMING + 1);
}

/* Leaf 15h, and 16h where it is, say the same of the TSC, to within their units. */
static void rates(void)
{
    uint64_t khz = cpuid(CPUID_HYPERVISOR_TIMING, 0).eax;
    struct cpuid_regs crystal = cpuid(0x15, 0), mhz = cpuid(0x16, 0);
    expect(cpuid(0, 0).eax >= 0x15 && crystal.eax != 0, "no leaf 15h");
    uint64_t hz = crystal.eax == 0 ? 0 : (uint64_t)crystal.ecx * crystal.ebx / crystal.eax;
    expect(hz <= khz * 1000 && hz + 16000 > khz * 1000, "%lu Hz by leaf 15h, %lu kHz", hz, khz);
    if (cpuid(0, 0).eax >= 0x16)
        expect(mhz.eax * 1000 <= khz + 500 && mhz.eax * 1000 + 500 >= khz, "%u MHz by leaf 16h",
               mhz.eax);
    print("# the TSC: %lu kHz, by leaf 15h %lu Hz\n", khz, hz);
}

/* SDM, "CPUID": SYSCALL is 0 outside 64-bit mode, where AMD has it too. */
static void syscall_by_mode(void)
{
    struct registers r = {.gpr = {[RAX] = EXTENDED + 1}, .rflags = RFLAGS_FIXED};
    uint32_t in_64 = cpuid(EXTENDED + 1, 0).edx;
    struct fault fault = form_run(form_cpuid_32, SEL_CODE32, &r);
    expect(fault.vector == FAULT_NONE, "vector %d", fault.vector);
    expect((in_64 & SYSCALL_EDX) != 0, "no SYSCALL: %x", in_64);
    uint32_t want = machine.intel ? in_64 & ~SYSCALL_EDX : in_64;
    expect((uint32_t)r.gpr[RDX] == want, "EDX is %x in 64-bit code, %x in 32-bit code", in_64,
           (uint32_t)r.gpr[RDX]);
}

static void memory_types(void)
{
    uint32_t edx = cpuid(1, 0).edx;
    expect((edx & EDX_MSR) != 0, "no MSRs");
    expect((edx & EDX_MTRR) != 0, "no MTRRs");
    expect((edx & EDX_PAT) != 0, "no PAT");
}

static void long_mode(void)
{
    uint32_t edx = cpuid(EXTENDED + 1, 0).edx;
    expect((edx & EXT_EDX_LM) != 0, "no long mode, in long mode");
    if (!machine.intel)
        expect(((edx ^ cpuid(1, 0).edx) & AMD_SAME_EDX) == 0, "EDX of 1 %x, of 80000001h %x",
               cpuid(1, 0).edx, edx);
}

static void osxsave(void)
{
    uint64_t cr4 = read_cr4();
    write_cr4(cr4 | CR4_OSXSAVE);
    expect((cpuid(1, 0).ecx & ECX_OSXSAVE) != 0, "clear with CR4.OSXSAVE=1");
    write_cr4(cr4 & ~CR4_OSXSAVE);
    expect((cpuid(1, 0).ecx & ECX_OSXSAVE) == 0, "set with CR4.OSXSAVE=0");
    write_cr4(cr4);
}

static void address_bits(void)
{
    uint32_t eax = cpuid(PHYSICAL_BITS, 0).eax, linear = eax >> 8 & 0xff;
    expect((eax & 0xff) >= 36 && (eax & 0xff) <= 52, "%u physical bits", eax & 0xff);
    expect(linear == 48 || linear == 57, "%u linear bits", linear);
}

static void brand(void)
{
    uint32_t text[12];
    for (uint32_t i = 0; i < 3; i++) {
        struct cpuid_regs r = cpuid(EXTENDED + 2 + i, 0);
        memcpy(text + 4 * i, &r, sizeof(r));
    }
    const char *c = (const char *)text;
    for (unsigned i = 0; i < sizeof(text) && c[i] != '\0'; i++)
        expect(c[i] >= ' ' && c[i] <= '~', "byte %u is %x", i, (uint8_t)c[i]);
}

/* Operands are 32 bits: upper halves are ignored on input, and zero on output. */
static void upper_halves(void)
{
    struct registers r = {.gpr = {0xdeadbeef00000000, 0xdeadbeef00000000, ~0ull, ~0ull},
                          .rflags = RFLAGS_FIXED | RFLAGS_CF};
    struct cpuid_regs want = cpuid(0, 0);
    r.gpr[R11] = 0x1122334455667788;
    struct fault fault = form_run(form_cpuid, SEL_CODE64, &r);
    expect(fault.vector == FAULT_NONE, "vector %d", fault.vector);
    expect(r.gpr[RAX] == want.eax, "RAX %lx", r.gpr[RAX]);
    expect(r.gpr[RBX] == want.ebx, "RBX %lx", r.gpr[RBX]);
    expect(r.gpr[RCX] == want.ecx, "RCX %lx", r.gpr[RCX]);
    expect(r.gpr[RDX] == want.edx, "RDX %lx", r.gpr[RDX]);
    expect(r.gpr[R11] == 0x1122334455667788, "R11 %lx", r.gpr[R11]);
    expect((r.rflags & RFLAGS_CF) != 0, "flags changed");
}

static void version(void)
{
    int64_t result = hypercall(HYPERCALL_VERSION);
    expect(result == HYPERCALL_ABI, "result %ld", result);
}

static void unknown(void)
{
    static const uint64_t numbers[] = {0x7fffffff, 1ull << 32, 1ull << 63, ~0ull};
    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
        int64_t result = hypercall(numbers[i]);
        expect(result == -ENOSYS, "number %lx: result %ld", numbers[i], result);
    }
}

static void keeps_registers(void)
{
    struct registers before = {.rflags = RFLAGS_FIXED | RFLAGS_CF}, r;
    for (uint64_t i = 1; i < GPRS; i++)
        before.gpr[i] = i * 0x0101010101010101;
    r = before;
    struct fault fault = form_run(machine.intel ? form_vmcall : form_vmmcall, SEL_CODE64, &r);
    expect(fault.vector == FAULT_NONE, "vector %d", fault.vector);
    for (unsigned i = 1; i < GPRS; i++)
        expect(r.gpr[i] == before.gpr[i], "register %u is %lx", i, r.gpr[i]);
}

static void expect_undefined(const char *code, enum selector cs)
{
    struct registers r = {.rflags = RFLAGS_FIXED};
    struct fault fault = form_run(code, cs, &r);
    expect(fault.vector == VECTOR_UD, "vector %d", fault.vector);
    expect(fault.rip == (uint64_t)code, "RIP %lx, not %lx", fault.rip, (uint64_t)code);
}

static void other_cpl(void)
{
    expect_undefined(machine.intel ? form_vmcall : form_vmmcall, SEL_USER_CODE64);
}

static void other_vendor(void)
{
    expect_undefined(machine.intel ? form_vmmcall : form_vmcall, SEL_CODE64);
    expect_undefined(machine.intel ? form_vmmcall : form_vmcall, SEL_USER_CODE64);
}

static const struct test_case cases[] = {
    {"cpuid: the hypervisor's signature", needs_nosnoop, signature},
    {"cpuid: a vendor, the same in both ranges", NULL, vendor},
    {"cpuid: highest leaves", NULL, ranges},
    {"cpuid: the same answer twice", NULL, twice},
    {"cpuid: beyond the basic leaves", NULL, beyond_basic},
    {"cpuid: beyond the extended leaves", NULL, beyond_extended},
    {"cpuid: no VMX and no SVM", needs_nosnoop, no_virtualization},
    {"cpuid: nothing else that is not virtualized", needs_nosnoop, nothing_else},
    {"cpuid: leaves that are empty", needs_nosnoop, empty_leaves},
    {"cpuid: one package, one core, one thread", needs_nosnoop, topology},
    {"cpuid: caches that no one shares", needs_nosnoop, caches},
    {"cpuid: sizes of XSAVE areas follow XCR0", needs_xsave, xsave_sizes},
    {"cpuid: state components of XSAVE", needs_xsave, xsave_parts},
    {"cpuid: no subleaves of leaf 7", needs_nosnoop, no_more_subleaves},
    {"cpuid: stable over all subleaves", NULL, stable},
    {"cpuid: the hypervisor's leaves, the TSC's rate", needs_nosnoop, timing},
    {"cpuid: leaves 15h and 16h say the same of it", needs_nosnoop, rates},
    {"cpuid: SYSCALL by mode", NULL, syscall_by_mode},
    {"cpuid: MSRs, MTRRs and PAT", NULL, memory_types},
    {"cpuid: long mode", NULL, long_mode},
    {"cpuid: OSXSAVE follows CR4", needs_xsave, osxsave},
    {"cpuid: bits of addresses", NULL, address_bits},
    {"cpuid: the brand is text", NULL, brand},
    {"cpuid: upper halves of registers", NULL, upper_halves},
    {"hypercall: version", needs_nosnoop, version},
    {"hypercall: unknown numbers", needs_nosnoop, unknown},
    {"hypercall: other registers stay", needs_nosnoop, keeps_registers},
    {"hypercall: #UD at CPL 3", NULL, other_cpl},
    {"hypercall: the other vendor's is #UD", NULL, other_vendor},
};

void test_main(void)
{
    ktap_all(cases, ARRAY_SIZE(cases));
}
