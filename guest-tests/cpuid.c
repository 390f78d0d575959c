/*
 * CPUID and hypercalls: who is there, that answers agree with each other, and what the guest must
 * not be told.
 *
 * row: cpuid end=0
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "vmm/abi.h"

#define EXTENDED      0x80000000u
#define PHYSICAL_BITS 0x80000008u
#define SVM_FEATURES  0x8000000au

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

/* SDM, CPUID: data of the highest basic leaf; AMD: zeros. */
static void check_beyond(uint32_t leaf)
{
    struct cpuid_regs got = cpuid(leaf, 0), highest = cpuid(cpuid(0, 0).eax, 0);
    bool right = machine.intel ? same(got, highest) : all_zero(got);
    if (!right && !machine.nosnoop)
        skip("emulator: leaves out of range");
    else
        expect(right, "leaf %x: %x %x %x %x", leaf, got.eax, got.ebx, got.ecx, got.edx);
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

static const char *needs_xsave(void)
{
    return cpuid(1, 0).ecx & ECX_XSAVE ? NULL : "no XSAVE";
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
    ktap_begin(ARRAY_SIZE(cases));
    ktap_run(cases, ARRAY_SIZE(cases));
    ktap_end();
}
