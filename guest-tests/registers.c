/*
 * XCR0 and the debug registers: what is stored and read back, what is fixed, what is #GP or #UD.
 *
 * row: registers end=0
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"

enum { DEBUG_REGISTERS = 8, DEBUG_FORMS = 16 };
enum { XSAVE_LEAF = 0xd, ECX_XSAVE = 26, ECX_OSXSAVE = 27 };

#define NO_ZEROS "emulator: bits of DR6 and DR7 that must be 0 are stored"
#define NO_UD    "emulator: the CPL is checked before CR4.OSXSAVE"

extern const char form_xsetbv[], form_xsetbv_32[], form_xgetbv[], form_xsave[], form_xrstor[];
extern const char form_avx[], form_avx512[];
extern const char *const form_from_dr[DEBUG_FORMS], *const form_to_dr[DEBUG_FORMS];

static uint8_t area[4096] __attribute__((aligned(64)));

static struct fault run(const char *code, enum selector cs, struct registers *r)
{
    r->rflags = RFLAGS_FIXED;
    r->gpr[RBX] = (uint64_t)area;
    return form_run(code, cs, r);
}

static struct fault xsetbv(const char *code, enum selector cs, uint64_t rcx, uint64_t value)
{
    struct registers r = {.gpr = {[RAX] = value, [RCX] = rcx, [RDX] = value >> 32}};
    r.gpr[RAX] &= 0xffffffff;
    return run(code, cs, &r);
}

static uint64_t xcr0(void)
{
    struct registers r = {.gpr = {[RCX] = 0}};
    run(form_xgetbv, SEL_CODE64, &r);
    return r.gpr[RDX] << 32 | (uint32_t)r.gpr[RAX];
}

static uint64_t supported(void)
{
    struct cpuid_regs r = cpuid(XSAVE_LEAF, 0);
    return (uint64_t)r.edx << 32 | r.eax;
}

static const char *needs_xsave(void)
{
    return cpuid(1, 0).ecx >> ECX_XSAVE & 1 ? NULL : "no XSAVE";
}

static const char *needs_avx(void)
{
    return needs_xsave() == NULL && supported() & XCR0_AVX ? NULL : "no AVX";
}

static const char *needs_avx512(void)
{
    return needs_avx() == NULL && supported() & XCR0_AVX512 ? NULL : "no AVX-512";
}

static void expect_taken(uint64_t value)
{
    struct fault fault = xsetbv(form_xsetbv, SEL_CODE64, 0, value);
    expect(fault.vector == FAULT_NONE, "%lx: vector %d", value, fault.vector);
    expect(xcr0() == value, "%lx: reads %lx", value, xcr0());
}

static void expect_refused(uint64_t value)
{
    uint64_t before = xcr0();
    struct fault fault = xsetbv(form_xsetbv, SEL_CODE64, 0, value);
    expect(is_gp0(fault), "%lx: vector %d, error %x", value, fault.vector, fault.error);
    expect(fault.rip == (uint64_t)form_xsetbv, "%lx: RIP %lx", value, fault.rip);
    expect(xcr0() == before, "%lx: reads %lx after the #GP", value, xcr0());
}

/* SDM, "XSETBV", "XGETBV", "XSAVE": #UD, at any CPL and whatever the operands. */
static void osxsave_clear(void)
{
    static const char *const codes[] = {form_xsetbv, form_xgetbv, form_xsave, form_xrstor};
    uint64_t cr4 = read_cr4();
    write_cr4(cr4 & ~CR4_OSXSAVE);
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(codes); i++)
        for (uint64_t rcx = 0; rcx < 2; rcx++) {
            struct registers r = {.gpr = {[RAX] = 1, [RCX] = rcx}};
            struct fault fault = run(codes[i / 2], i % 2 ? SEL_USER_CODE64 : SEL_CODE64, &r);
            if (!machine.intel && fault.vector == VECTOR_GP && codes[i / 2] == form_xsetbv)
                skip(NO_UD);
            else
                expect(fault.vector == VECTOR_UD, "%u, ECX %lu: vector %d", i, rcx, fault.vector);
        }
    expect(!(cpuid(1, 0).ecx >> ECX_OSXSAVE & 1), "CPUID shows OSXSAVE");
    write_cr4(cr4 | CR4_OSXSAVE);
    expect(cpuid(1, 0).ecx >> ECX_OSXSAVE & 1, "CPUID does not show OSXSAVE");
    expect(xcr0() == XCR0_X87, "%lx", xcr0());
}

static void legal(void)
{
    static const uint64_t values[] = {XCR0_X87, XCR0_X87 | XCR0_SSE, XCR0_X87 | XCR0_SSE | XCR0_AVX,
                                      XCR0_GUEST};
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++)
        if ((values[i] & ~supported()) == 0)
            expect_taken(values[i]);
    expect_taken(XCR0_X87);
}

static void x87_stays(void)
{
    expect_refused(0);
    expect_refused(XCR0_SSE);
    expect_refused(XCR0_SSE | XCR0_AVX);
    expect_refused(XCR0_GUEST & ~XCR0_X87);
}

static void avx_alone(void)
{
    expect_refused(XCR0_X87 | XCR0_AVX);
}

static void avx512_parts(void)
{
    const uint64_t avx = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    for (uint64_t part = 1; part < 7; part++)
        expect_refused(avx | part << 5);
    expect_refused(XCR0_X87 | XCR0_AVX512);
    expect_refused(XCR0_X87 | XCR0_SSE | XCR0_AVX512);
}

static void reserved(void)
{
    for (unsigned bit = 0; bit < 64; bit++)
        if ((supported() >> bit & 1) == 0)
            expect_refused(XCR0_X87 | XCR0_SSE | 1ull << bit);
}

static void not_zero(void)
{
    static const uint64_t numbers[] = {1, 2, 0x80000000, 0xffffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++) {
        struct fault fault = xsetbv(form_xsetbv, SEL_CODE64, numbers[i], XCR0_X87);
        expect(is_gp0(fault), "XSETBV %lx: vector %d", numbers[i], fault.vector);
        struct registers r = {.gpr = {[RCX] = numbers[i]}};
        fault = run(form_xgetbv, SEL_CODE64, &r);
        bool one = numbers[i] == 1 && (cpuid(XSAVE_LEAF, 1).eax >> 2 & 1) != 0;
        expect(one ? fault.vector == FAULT_NONE : is_gp0(fault), "XGETBV %lx: vector %d",
               numbers[i], fault.vector);
    }
}

/* Operands are 32 bits. */
static void upper_halves(void)
{
    const uint64_t junk = 0xdeadbeef00000000;
    struct registers r = {.gpr = {[RAX] = junk | 3, [RCX] = junk, [RDX] = junk}};
    struct fault fault = run(form_xsetbv, SEL_CODE64, &r);
    expect(fault.vector == FAULT_NONE && xcr0() == 3, "vector %d, XCR0 %lx", fault.vector, xcr0());
    expect(r.gpr[RAX] == (junk | 3) && r.gpr[RCX] == junk && r.gpr[RDX] == junk, "registers");
    fault = run(form_xgetbv, SEL_CODE64, &r);
    expect(r.gpr[RAX] == 3 && r.gpr[RDX] == 0, "XGETBV: RAX %lx, RDX %lx", r.gpr[RAX], r.gpr[RDX]);
    fault = xsetbv(form_xsetbv_32, SEL_CODE32, 0, XCR0_X87);
    expect(fault.vector == FAULT_NONE && xcr0() == 1, "32-bit code: vector %d", fault.vector);
}

static void user(void)
{
    struct fault fault = xsetbv(form_xsetbv, SEL_USER_CODE64, 0, XCR0_X87 | XCR0_SSE);
    expect(is_gp0(fault), "vector %d", fault.vector);
    fault = xsetbv(form_xsetbv, SEL_USER_CODE64, 0, 0);
    expect(is_gp0(fault), "an illegal value: vector %d", fault.vector);
    expect(xcr0() == XCR0_X87, "%lx", xcr0());
}

static void expect_avx(const char *code, int vector, const char *when)
{
    struct registers r = {.gpr = {0}};
    struct fault fault = run(code, SEL_CODE64, &r);
    expect(fault.vector == vector, "%s: vector %d, not %d", when, fault.vector, vector);
}

/* What XCR0 does not enable is #UD. */
static void enables_avx(void)
{
    expect_taken(XCR0_X87 | XCR0_SSE);
    expect_avx(form_avx, VECTOR_UD, "XCR0 is 3");
    expect_taken(XCR0_X87 | XCR0_SSE | XCR0_AVX);
    expect_avx(form_avx, FAULT_NONE, "XCR0 is 7");
    write_cr4(read_cr4() & ~CR4_OSXSAVE);
    expect_avx(form_avx, VECTOR_UD, "CR4.OSXSAVE is 0");
    write_cr4(read_cr4() | CR4_OSXSAVE);
    expect(xcr0() == 7, "%lx after CR4.OSXSAVE", xcr0());
    expect_taken(XCR0_X87);
}

static void enables_avx512(void)
{
    expect_taken(XCR0_X87 | XCR0_SSE | XCR0_AVX);
    expect_avx(form_avx512, VECTOR_UD, "XCR0 is 7");
    expect_taken(XCR0_GUEST);
    expect_avx(form_avx512, FAULT_NONE, "XCR0 is e7");
    expect_taken(XCR0_X87);
}

static struct fault to_dr(unsigned dr, uint64_t value)
{
    struct registers r = {.gpr = {[RAX] = value}};
    return run(form_to_dr[dr], SEL_CODE64, &r);
}

static struct fault from_dr(unsigned dr, uint64_t *value)
{
    struct registers r = {.gpr = {[RAX] = 0x5555555555555555}};
    struct fault fault = run(form_from_dr[dr], SEL_CODE64, &r);
    *value = r.gpr[RAX];
    return fault;
}

static uint64_t read_dr(unsigned dr)
{
    uint64_t value;
    from_dr(dr, &value);
    return value;
}

static void dr_addresses(void)
{
    static const uint64_t values[] = {0x0123456789abcdef, ~0ull, 1ull << 63, 0x0000800000000000};
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
        for (unsigned dr = 0; dr < 4; dr++)
            expect(to_dr(dr, values[i] ^ dr << 4).vector == FAULT_NONE, "DR%u", dr);
        for (unsigned dr = 0; dr < 4; dr++)
            expect(read_dr(dr) == (values[i] ^ dr << 4), "DR%u is %lx", dr, read_dr(dr));
    }
    for (unsigned dr = 0; dr < 4; dr++)
        to_dr(dr, 0);
}

/* What is fixed of a debug register; OPTIONAL bits are where the CPU lacks what they are for. */
struct fixed_bits {
    uint64_t ones, zeros, optional;
};

static void expect_fixed(unsigned dr, uint64_t value, const struct fixed_bits *fixed)
{
    struct fault fault = to_dr(dr, value);
    uint64_t got = read_dr(dr), want = (value | fixed->ones) & ~fixed->zeros;
    expect(fault.vector == FAULT_NONE, "DR%u to %lx: vector %d", dr, value, fault.vector);
    if (!machine.intel && (got & fixed->zeros & ~fixed->optional) != 0) {
        skip(NO_ZEROS);
        want |= value & fixed->zeros;
    }
    expect(((got ^ want) & ~fixed->optional) == 0, "DR%u is %lx after %lx, not %lx", dr, got, value,
           want);
}

/* SDM, "Debug Registers". Optional: RTM and BLD of DR6, RTM of DR7. */
static const struct fixed_bits dr6 = {0xffff0ff0, 1 << 12, 1 << 16 | 1 << 11};
static const struct fixed_bits dr7 = {1 << 10, 1 << 15 | 1 << 14 | 1 << 12 | 1 << 11, 1 << 11};

static void dr6_fixed(void)
{
    static const uint64_t values[] = {0, 0xffffffff, 0xe00f, 0x55555555, 0xaaaaaaaa};
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++)
        expect_fixed(6, values[i], &dr6);
    expect_fixed(6, DR6_RESET, &dr6);
}

/* With no breakpoint that could be hit, and without GD. */
static void dr7_fixed(void)
{
    static const uint64_t values[] = {0, 0xffffffff, 0xffff0000, 0x3ff, 0x55555555, 0xaaaaaaaa};
    for (unsigned dr = 0; dr < 4; dr++)
        to_dr(dr, 0xffff800012345678);
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
        uint64_t value = values[i] & ~DR7_GD;
        expect_fixed(7, value, &dr7);
    }
    expect_fixed(7, DR7_RESET, &dr7);
}

static void dr_upper_halves(void)
{
    const uint64_t reset[] = {[6] = DR6_RESET, [7] = DR7_RESET};
    for (unsigned dr = 6; dr <= 7; dr++)
        for (unsigned bit = 32; bit < 64; bit++) {
            struct fault fault = to_dr(dr, reset[dr] | 1ull << bit);
            expect(is_gp0(fault), "DR%u, bit %u: vector %d", dr, bit, fault.vector);
            expect(read_dr(dr) == reset[dr], "DR%u is %lx", dr, read_dr(dr));
        }
}

static void dr4_dr5(void)
{
    uint64_t cr4 = read_cr4(), value;
    write_cr4(cr4 & ~CR4_DE);
    expect(to_dr(4, DR6_RESET | DR6_BS).vector == FAULT_NONE, "to DR4");
    expect(read_dr(6) == (DR6_RESET | DR6_BS), "DR6 is %lx", read_dr(6));
    expect(read_dr(4) == (DR6_RESET | DR6_BS), "DR4 is %lx", read_dr(4));
    expect(to_dr(5, DR7_RESET | 0x300).vector == FAULT_NONE, "to DR5");
    expect(read_dr(7) == (DR7_RESET | 0x300), "DR7 is %lx", read_dr(7));
    expect(read_dr(5) == (DR7_RESET | 0x300), "DR5 is %lx", read_dr(5));
    to_dr(6, DR6_RESET);
    to_dr(7, DR7_RESET);
    write_cr4(cr4 | CR4_DE);
    for (unsigned dr = 4; dr <= 5; dr++) {
        expect(to_dr(dr, 0).vector == VECTOR_UD, "to DR%u with CR4.DE", dr);
        expect(from_dr(dr, &value).vector == VECTOR_UD, "from DR%u with CR4.DE", dr);
    }
    expect(read_dr(6) == DR6_RESET && read_dr(7) == DR7_RESET, "DR6 %lx, DR7 %lx", read_dr(6),
           read_dr(7));
    write_cr4(cr4);
}

static void dr8_to_dr15(void)
{
    uint64_t value;
    for (unsigned dr = DEBUG_REGISTERS; dr < DEBUG_FORMS; dr++) {
        expect(to_dr(dr, 0).vector == VECTOR_UD, "to DR%u", dr);
        expect(from_dr(dr, &value).vector == VECTOR_UD, "from DR%u", dr);
    }
}

static void dr_user(void)
{
    for (unsigned i = 0; i < 2 * DEBUG_REGISTERS; i++) {
        struct registers r = {.gpr = {[RAX] = DR7_RESET}};
        const char *code = i % 2 ? form_to_dr[i / 2] : form_from_dr[i / 2];
        struct fault fault = run(code, SEL_USER_CODE64, &r);
        expect(is_gp0(fault), "DR%u: vector %d", i / 2, fault.vector);
    }
}

static const struct test_case cases[] = {
    {"XSAVE family: #UD while CR4.OSXSAVE is 0", needs_xsave, osxsave_clear},
    {"XCR0: legal values are taken", needs_xsave, legal},
    {"XCR0: x87 cannot be cleared", needs_xsave, x87_stays},
    {"XCR0: AVX needs SSE", needs_avx, avx_alone},
    {"XCR0: AVX-512 all or nothing, and with AVX", needs_avx512, avx512_parts},
    {"XCR0: what CPUID does not show is #GP", needs_xsave, reserved},
    {"XSETBV, XGETBV: #GP for other registers", needs_xsave, not_zero},
    {"XSETBV, XGETBV: upper halves of registers", needs_xsave, upper_halves},
    {"XSETBV: #GP at CPL 3", needs_xsave, user},
    {"XCR0: AVX is #UD until it is enabled", needs_avx, enables_avx},
    {"XCR0: AVX-512 is #UD until it is enabled", needs_avx512, enables_avx512},
    {"DR0 to DR3: 64 bits each", NULL, dr_addresses},
    {"DR6: fixed bits", NULL, dr6_fixed},
    {"DR7: fixed bits", NULL, dr7_fixed},
    {"DR6, DR7: bits of the upper half are #GP", NULL, dr_upper_halves},
    {"DR4, DR5: DR6 and DR7, or #UD by CR4.DE", NULL, dr4_dr5},
    {"DR8 to DR15: #UD", NULL, dr8_to_dr15},
    {"MOV DR: #GP at CPL 3", NULL, dr_user},
};

void test_main(void)
{
    if (needs_xsave() == NULL)
        write_cr4(read_cr4() | CR4_OSXSAVE);
    write_cr4(read_cr4() | CR4_OSFXSR);
    ktap_all(cases, ARRAY_SIZE(cases));
}
