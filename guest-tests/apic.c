/*
 * The local APIC: registers and modes, IPIs to itself, priorities, errors, the timer in each of its
 * modes, HLT, and what the CPU does with an interrupt that it has been given. And what ends the VM:
 * HLT where no timer can be delivered, and an INIT of the one CPU.
 *
 * row: apic end=0 ips=50000000
 * row: apic.software end=0 ips=50000000 set="apic=software" control=skip
 *      control-reason="as for the row apic"
 * row: apic.x2 end=0 ips=50000000 cmdline="mode=x2" control=skip
 *      control-reason="as for the row apic"
 * row: apic.x2-software end=0 ips=50000000 cmdline="mode=x2" set="apic=software" control=skip
 *      control-reason="as for the row apic"
 * row: apic.x2-held end=126 stopped="halted for good" cmdline="mode=x2 end=held" control=skip
 *      control-reason="as for the row apic"
 * row: apic.masked end=126 stopped="halted for good" cmdline="end=masked" control=124
 *      control-timeout=3
 * row: apic.held end=126 stopped="halted for good" cmdline="end=held" control=124 control-timeout=3
 * row: apic.off end=126 stopped="halted for good" cmdline="end=off" control=124 control-timeout=3
 * row: apic.init end=126 stopped="reset" cmdline="end=init" control=skip
 *      control-reason="a bare machine starts its firmware"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/interrupt.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "vmm/abi.h"

enum { LOG = 64, UNUSED_PORT = 0x580 };

#define PAGE_HOLE 0xd0000000ull

static const uint64_t LONG = 4000000000ull; /* ticks of the TSC: more than any wait here takes */

/* What was taken, in order; and the RIP that each interrupted. */
static volatile unsigned taken;
static volatile uint8_t taken_vector[LOG];
static volatile uint64_t taken_rip[LOG];
static void (*on_interrupt)(unsigned vector); /* before its EOI */
static bool no_eoi;
static volatile unsigned nmis;
static bool always_x2; /* cases that are not of one mode are run in x2APIC mode */

static void to_self(uint32_t vector)
{
    if (apic_x2)
        wrmsr(MSR_OF(SELF_IPI), vector);
    else
        apic_send(0, vector | TO_SELF);
}

static void take(struct interrupt_frame *frame)
{
    unsigned vector = (unsigned)frame->vector;
    if (taken < LOG) {
        taken_vector[taken] = (uint8_t)vector;
        taken_rip[taken] = frame->rip;
    }
    taken++;
    if (on_interrupt != NULL)
        on_interrupt(vector);
    if (!no_eoi)
        apic_set(EOI, 0);
}

/* Software-enabled in xAPIC mode, all masked, nothing requested or in service. */
static void fresh_xapic(void)
{
    if (machine.nosnoop) {
        wrmsr(MSR_APIC_BASE, BASE_OFF);
        wrmsr(MSR_APIC_BASE, BASE_XAPIC);
    }
    apic_x2 = false;
    on_interrupt = NULL;
    no_eoi = false;
    fault_hook = NULL;
    apic_enable();
    apic_set(DFR, 0xffffffff);
    apic_set(LDR, 0);
    for (unsigned i = 0; i < 16; i++) {
        apic_set(EOI, 0);
        sti_nop_cli();
    }
    apic_set(ESR, 0);
    apic_set(ESR, 0);
    taken = nmis = 0;
}

static void fresh_x2apic(void)
{
    fresh_xapic();
    wrmsr(MSR_APIC_BASE, BASE_X2APIC);
    apic_x2 = true;
}

/* As each case begins that is of both modes. */
static void fresh(void)
{
    if (always_x2)
        fresh_x2apic();
    else
        fresh_xapic();
}

/* Those that were taken are N, and these. */
static void expect_taken(unsigned n, const uint8_t *vectors)
{
    expect(taken == n, "%u taken, of %u", taken, n);
    for (unsigned i = 0; i < n && i < taken; i++)
        expect(taken_vector[i] == vectors[i], "number %u is %x, not %x", i, taken_vector[i],
               vectors[i]);
}

#define EXPECT_TAKEN(...)                                                                          \
    do {                                                                                           \
        const uint8_t expected_vectors[] = {__VA_ARGS__};                                          \
        expect_taken(sizeof(expected_vectors), expected_vectors);                                  \
    } while (0)

static void expect_none(void)
{
    expect(taken == 0, "%u taken, the first %x", taken, taken_vector[0]);
}

static void expect_reg(unsigned reg, uint32_t value)
{
    uint32_t found = apic_get(reg);
    expect(found == value, "register %x is %x, not %x", reg, found, value);
}

static bool in_bits(unsigned first, unsigned vector)
{
    return (apic_get(first + vector / 32 * 16) >> vector % 32 & 1) != 0;
}

/* --- preconditions --------------------------------------------------------------------------- */

static const char *needs_true_zero(void)
{
    return machine.nosnoop ? NULL : "emulator: a count of 0 does not stop the timer";
}

static const char *needs_clusters(void)
{
    return machine.nosnoop ? NULL : "emulator: no broadcast to clusters";
}

/* --- registers ------------------------------------------------------------------------------- */

static void announced(void)
{
    struct cpuid_regs one = cpuid(1, 0);
    expect((one.edx & EDX_APIC) != 0, "no APIC");
    expect((one.ecx & ECX_X2APIC) != 0, "no x2APIC");
    expect((one.ecx & ECX_DEADLINE) != 0, "no TSC-deadline timer");
    expect(one.ebx >> 24 == 0, "APIC id %x", one.ebx >> 24);
    if (!machine.intel)
        expect((cpuid(0x80000001, 0).edx & EDX_APIC) != 0, "no APIC in 80000001h");
    if (cpuid(0, 0).eax >= 6)
        expect((cpuid(6, 0).eax & 4) != 0, "no ARAT");
    expect(rdmsr(MSR_APIC_BASE) == BASE_XAPIC, "base %lx", rdmsr(MSR_APIC_BASE));
}

/* SDM, "Local APIC State After Power-Up or Reset". */
static void expect_reset(bool by_firmware)
{
    const struct {
        unsigned reg;
        uint32_t value;
    } rows[] = {
        {ID, 0},
        {VERSION, 0x50014},
        {TPR, 0},
        {APR, 0},
        {PPR, 0},
        {RRD, 0},
        {LDR, 0},
        {DFR, 0xffffffff},
        {SVR, by_firmware ? 0x1ff : 0xff},
        {ESR, 0},
        {ICR, 0},
        {ICR_HIGH, 0},
        {LVT_TIMER, MASKED},
        {LVT_THERMAL, MASKED},
        {LVT_PMC, MASKED},
        {LVT_LINT0, by_firmware ? 0x700 : MASKED},
        {LVT_LINT1, by_firmware ? 0x400 : MASKED},
        {LVT_ERROR, MASKED},
        {INITIAL, 0},
        {CURRENT, 0},
        {DIVIDE, 0},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        expect_reg(rows[i].reg, rows[i].value);
    for (unsigned i = 0; i < 8; i++) {
        expect_reg(ISR + 16 * i, 0);
        expect_reg(TMR + 16 * i, 0);
        expect_reg(IRR + 16 * i, 0);
    }
}

/* Firmware leaves the boot CPU in virtual wire mode. */
static void reset_values(void)
{
    expect_reset(true);
}

static void xapic_by_stos(void)
{
    uint64_t at = APIC_PAGE + LVT_ERROR, count = 1;
    fresh_xapic();
    __asm__ volatile("rep stosl" : "+D"(at), "+c"(count) : "a"(MASKED | 0x41) : "memory");
    expect_reg(LVT_ERROR, MASKED | 0x41);
    expect(count == 0 && at == APIC_PAGE + LVT_ERROR + 4, "count %lu, RDI %lx", count, at);
    apic_set(LVT_ERROR, MASKED);
}

struct bits {
    unsigned reg;
    uint32_t xapic, x2apic; /* bits that can be written; 0 in x2APIC mode: none, or no register */
};

static const struct bits writable[] = {
    {TPR, 0xff, 0xff},
    {LDR, 0xff000000, 0},
    {SVR, 0x1ff, 0x1ff},
    {ICR_HIGH, 0xff000000, 0},
    {LVT_TIMER, 0x700ff, 0x700ff},
    {LVT_THERMAL, 0x107ff, 0x107ff},
    {LVT_PMC, 0x107ff, 0x107ff},
    {LVT_LINT0, 0x1a7ff, 0x1a7ff},
    {LVT_LINT1, 0x1a7ff, 0x1a7ff},
    {LVT_ERROR, 0x100ff, 0x100ff},
    {DIVIDE, 0xb, 0xb},
};

/* A write in xAPIC mode changes the bits that it can, whatever else it has. */
static void xapic_bits(void)
{
    fresh_xapic();
    for (unsigned i = 0; i < ARRAY_SIZE(writable); i++) {
        uint32_t mask = writable[i].reg == SVR ? ~(1u << 9) : 0xffffffff; /* FCC: not on all */
        apic_set(writable[i].reg, mask & ~(uint32_t)MASKED);
        uint32_t value = apic_get(writable[i].reg);
        expect((value & mask) == (writable[i].xapic & ~(uint32_t)MASKED), "register %x is %x",
               writable[i].reg, value);
        apic_set(writable[i].reg, writable[i].reg == SVR ? SVR_ON : MASKED);
    }
    apic_set(DFR, 0);
    expect_reg(DFR, 0x0fffffff);
    for (unsigned reg = ID; reg <= VERSION; reg += 16) {
        uint32_t before = apic_get(reg);
        apic_set(reg, ~before);
        expect_reg(reg, before);
    }
}

/* A reserved register is an error, which ESR tells of when it has been written. */
static void reserved_registers(void)
{
    static const unsigned reserved[] = {0x10,  0x40,  0x70,  0x290, 0x2e0, 0x2f0,
                                        0x3a0, 0x3d0, 0x3f0, 0x400, 0xff0};
    for (unsigned i = 0; i < ARRAY_SIZE(reserved); i++)
        for (unsigned write = 0; write < 2; write++) {
            fresh_xapic();
            if (write)
                apic_set(reserved[i], 0);
            else
                expect_reg(reserved[i], 0);
            expect_reg(ESR, 0);
            apic_set(ESR, 0);
            expect_reg(ESR, 0x80);
            apic_set(ESR, 0);
            expect_reg(ESR, 0);
        }
}

/* The manuals define none of these: parts of a register are read and written, and nothing else. */
static void odd_widths(void)
{
    volatile uint8_t *bytes = (volatile uint8_t *)(APIC_PAGE + LDR);
    volatile uint16_t *halves = (volatile uint16_t *)(APIC_PAGE + LDR);
    volatile uint32_t *words = (volatile uint32_t *)(APIC_PAGE + LDR);
    volatile uint64_t *both = (volatile uint64_t *)(APIC_PAGE + LDR);
    fresh_xapic();
    apic_set(LDR, 0x5a000000);
    expect(bytes[3] == 0x5a, "byte %x", bytes[3]);
    expect(halves[1] == 0x5a00, "half %x", halves[1]);
    expect(words[1] == 0, "behind the register");
    bytes[3] = 0x11;
    expect_reg(LDR, 0x11000000);
    halves[1] = 0x2233;
    expect_reg(LDR, 0x22000000);
    words[1] = 0x44444444;
    *both = 0x5555555555555555;
    expect_reg(LDR, 0x22000000);
    uint64_t across = *(volatile uint64_t *)(APIC_PAGE + 0xffc);
    expect(across >> 32 == 0xffffffff, "the hole behind the page");
}

/* The operand in any register and addressing form. */
static void encodings(void)
{
    fresh_xapic();
    uint64_t value, base = APIC_PAGE, index = TPR / 4;
    __asm__ volatile("movl $0x21, 0x80(%0)" : : "r"(base) : "memory");
    __asm__ volatile("movl (%1,%2,4), %k0" : "=r"(value) : "r"(base), "r"(index));
    expect(value == 0x21, "%lx by an index", value);
    __asm__ volatile("movabsl 0xfee00080, %%eax" : "=a"(value));
    expect(value == 0x21, "%lx by an absolute address", value);
    __asm__ volatile("mov %0, %%r12\n\tmov %1, %%r13d\n\tmovl %%r13d, 0x80(%%r12)"
                     :
                     : "r"(base), "r"(0x43)
                     : "r12", "r13", "memory");
    expect_reg(TPR, 0x43);
    value = 0x54;
    __asm__ volatile("xchgl %k0, 0x80(%1)" : "+r"(value) : "r"(base) : "memory");
    expect(value == 0x43, "%lx by XCHG", value);
    expect_reg(TPR, 0x54);
    bool zero, less;
    __asm__ volatile("orl $0x83, 0x80(%0)" : : "r"(base) : "memory", "cc");
    expect_reg(TPR, 0xd7);
    __asm__ volatile("andl $0x9c, 0x80(%0)" : : "r"(base) : "memory", "cc");
    expect_reg(TPR, 0x94);
    __asm__ volatile("testl $0x14, 0x80(%1)" : "=@ccz"(zero) : "r"(base));
    expect(!zero, "TEST says that 94 has nothing of 14");
    __asm__ volatile("cmpl $0x95, 0x80(%1)" : "=@ccb"(less) : "r"(base));
    expect(less, "CMP says that 94 is not below 95");
    if (!machine.nosnoop) /* the emulator's has no bytes */
        return;
    apic_set(TPR, 0x21);
    __asm__ volatile("mov $-1, %0\n\tmovzbl 0x80(%1), %k0" : "=&r"(value) : "r"(base));
    expect(value == 0x21, "%lx by MOVZX", value);
    __asm__ volatile("movl $0x95, 0x80(%1)\n\tmovsbl 0x80(%1), %k0" : "=&r"(value) : "r"(base));
    expect(value == 0xffffff95, "%lx by MOVSX", value);
}

/* SDM, "x2APIC Register Address Space" and "Reserved Bit Checking". */
static void x2apic_registers(void)
{
    uint64_t value;
    fresh_x2apic();
    for (unsigned msr = MSR_X2APIC; msr < MSR_X2APIC + 0x100; msr++) {
        unsigned reg = (msr - MSR_X2APIC) * 16;
        bool readable = reg == ID || reg == VERSION || reg == TPR || reg == PPR || reg == LDR ||
                        reg == SVR || (reg >= ISR && reg <= ESR) || reg == ICR ||
                        (reg >= LVT_TIMER && reg <= CURRENT) || reg == DIVIDE;
        struct fault fault = try_rdmsr(msr, &value);
        expect(readable ? fault.vector == FAULT_NONE : is_gp0(fault), "read of %x: vector %d", msr,
               fault.vector);
        bool can_write = reg == TPR || reg == EOI || reg == SVR || reg == ESR || reg == ICR ||
                         (reg >= LVT_TIMER && reg <= INITIAL) || reg == DIVIDE;
        fault = try_wrmsr(msr, reg == SVR ? SVR_ON : 0);
        if (reg != SELF_IPI) /* 0 is an illegal vector */
            expect(can_write ? fault.vector == FAULT_NONE : is_gp0(fault), "write of %x: vector %d",
                   msr, fault.vector);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(writable); i++)
        for (unsigned bit = 0; bit < 64 && writable[i].x2apic != 0; bit++) {
            uint64_t status = writable[i].reg >= LVT_TIMER && writable[i].reg <= LVT_ERROR;
            uint64_t legal = writable[i].x2apic | status << 12;
            legal |= writable[i].reg == LVT_LINT0 || writable[i].reg == LVT_LINT1 ? 1u << 14 : 0;
            legal |= writable[i].reg == SVR ? 1u << 9 : 0;
            bool fine = (legal >> bit & 1) != 0;
            struct fault fault = try_wrmsr(MSR_OF(writable[i].reg), 1ull << bit);
            expect(fine ? fault.vector == FAULT_NONE : is_gp0(fault), "bit %u of %x: vector %d",
                   bit, writable[i].reg, fault.vector);
        }
    expect(is_gp0(try_wrmsr(MSR_OF(EOI), 1)), "EOI takes only 0");
    expect(is_gp0(try_wrmsr(MSR_OF(ESR), 1)), "ESR takes only 0");
    expect(is_gp0(try_wrmsr(MSR_OF(ICR), 1 << 20)), "reserved bits of ICR");
    expect(rdmsr(MSR_OF(ID)) == 0 && rdmsr(MSR_OF(LDR)) == 1, "id %lx, logical %lx",
           rdmsr(MSR_OF(ID)), rdmsr(MSR_OF(LDR)));
    if (cpuid(0, 0).eax >= 0xb)
        expect(cpuid(0xb, 0).edx == 0, "leaf Bh: %x", cpuid(0xb, 0).edx);
}

static void expect_base(uint64_t value, bool legal)
{
    uint64_t before = rdmsr(MSR_APIC_BASE);
    struct fault fault = try_wrmsr(MSR_APIC_BASE, value);
    expect(legal ? fault.vector == FAULT_NONE : is_gp0(fault), "%lx after %lx: vector %d", value,
           before, fault.vector);
    expect(rdmsr(MSR_APIC_BASE) == (legal ? value : before), "base is %lx", rdmsr(MSR_APIC_BASE));
}

/* SDM, "x2APIC State Transitions". */
static void transitions(void)
{
    fresh_xapic();
    apic_set(TPR, 0x30);
    expect_base(APIC_PAGE | 0x500, false); /* EXTD without EN */
    expect_base(BASE_X2APIC, true);
    expect(rdmsr(MSR_OF(TPR)) == 0x30, "TPR is kept: %lx", rdmsr(MSR_OF(TPR)));
    expect(*(volatile uint32_t *)(APIC_PAGE + TPR) == 0xffffffff, "no page in x2APIC mode");
    expect_base(BASE_XAPIC, false);
    expect_base(APIC_PAGE | 0x500, false);
    expect_base(BASE_OFF, true);
    expect((cpuid(1, 0).edx & EDX_APIC) == 0, "CPUID shows an APIC that is off");
    uint64_t value;
    expect(is_gp0(try_rdmsr(MSR_OF(TPR), &value)), "its MSRs are there");
    expect(*(volatile uint32_t *)(APIC_PAGE + TPR) == 0xffffffff, "its page is there");
    expect_base(BASE_X2APIC, false);
    expect_base(BASE_XAPIC, true);
    expect((cpuid(1, 0).edx & EDX_APIC) != 0, "CPUID shows no APIC");
    expect_reset(false);
    for (unsigned bit = 0; bit < 64; bit++)
        if (bit < 8 || bit == 9 || bit >= physical_bits())
            expect_base(BASE_XAPIC | 1ull << bit, false);
}

static void cr8_is_tpr(void)
{
    fresh();
    for (uint64_t i = 0; i < 16; i++) {
        uint64_t cr8;
        apic_set(TPR, (uint32_t)i << 4 | 5);
        __asm__ volatile("mov %%cr8, %0" : "=r"(cr8));
        expect(cr8 == i, "CR8 is %lx for TPR %lx", cr8, i << 4);
        __asm__ volatile("mov %0, %%cr8" : : "r"(15 - i));
        expect((apic_get(TPR) & 0xf0) == 240 - 16 * i, "TPR is %x for CR8 %lx", apic_get(TPR),
               15 - i);
        expect(apic_get(PPR) == apic_get(TPR), "PPR is %x, TPR is %x", apic_get(PPR),
               apic_get(TPR));
    }
}

/* --- IPIs to itself -------------------------------------------------------------------------- */

static void shorthands(void)
{
    fresh();
    apic_send(0, 0x41 | TO_SELF);
    expect(in_bits(IRR, 0x41), "IRR has no 41");
    expect((apic_get(ICR) & 1 << 12) == 0, "it is still to be sent");
    sti_nop_cli();
    expect(!in_bits(IRR, 0x41), "IRR still has 41");
    apic_send(0, 0x52 | TO_ALL | ASSERT);
    sti_nop_cli();
    apic_send(0, 0x63 | TO_OTHERS);
    sti_nop_cli();
    EXPECT_TAKEN(0x41, 0x52);
}

static void destinations(void)
{
    uint32_t id = apic_get(ID) >> 24;
    fresh_xapic();
    apic_send(id, 0x41);
    apic_send(id + 1, 0x42);
    apic_send(0xff, 0x53);
    apic_set(LDR, 0x02000000);
    apic_send(0x06, 0x64 | LOGICAL);
    apic_send(0x05, 0x65 | LOGICAL);
    apic_set(DFR, 0x0fffffff);
    apic_set(LDR, 0x32000000);
    apic_send(0x36, 0x76 | LOGICAL);
    apic_send(0x26, 0x77 | LOGICAL);
    apic_send(0x34, 0x78 | LOGICAL);
    apic_send(id, 0x9a | LOWEST);
    for (unsigned i = 0; i < 10; i++)
        sti_nop_cli();
    EXPECT_TAKEN(0x9a, 0x76, 0x64, 0x53, 0x41);
}

static void broadcast_to_clusters(void)
{
    fresh_xapic();
    apic_set(DFR, 0x0fffffff);
    apic_set(LDR, 0x32000000);
    apic_send(0xff, 0x89 | LOGICAL);
    sti_nop_cli();
    EXPECT_TAKEN(0x89);
}

static void x2apic_destinations(void)
{
    fresh_x2apic();
    apic_send(0, 0x41);
    apic_send(1, 0x42);
    apic_send(0xff, 0x43);
    apic_send(0xffffffff, 0x53);
    apic_send(0x00001, 0x64 | LOGICAL);
    apic_send(0x00002, 0x65 | LOGICAL);
    apic_send(0x10001, 0x66 | LOGICAL);
    apic_send(0, 0x74 | TO_SELF);
    wrmsr(MSR_OF(SELF_IPI), 0x85);
    expect(rdmsr(MSR_OF(ICR)) == (0x74 | TO_SELF), "ICR is %lx", rdmsr(MSR_OF(ICR)));
    for (unsigned i = 0; i < 10; i++)
        sti_nop_cli();
    EXPECT_TAKEN(0x85, 0x74, 0x64, 0x53, 0x41);
}

/* What has no effect: SMI, a start-up of a CPU that does not wait for one, an INIT de-asserted. */
static void without_effect(void)
{
    fresh();
    apic_send(0, SMI);
    apic_send(0, STARTUP | 0x9);
    apic_send(0, INIT | LEVEL);
    apic_send(0, NMI | TO_SELF);
    apic_send(0, INIT | TO_SELF);
    apic_send(0, LOWEST | TO_SELF | 0x41);
    apic_send(0, 3 << 8 | 0x41);
    apic_send(0, 7 << 8 | 0x41);
    sti_nop_cli();
    expect_none();
}

static void disabled_by_software(void)
{
    fresh();
    apic_set(LVT_LINT0, 0x41);
    apic_send(0, 0x55 | TO_SELF);
    apic_set(SVR, SVR_ON & 0xff);
    expect_reg(LVT_LINT0, MASKED | 0x41);
    apic_set(LVT_LINT0, 0x42);
    expect_reg(LVT_LINT0, MASKED | 0x42);
    apic_send(0, 0x44 | TO_SELF);
    expect(!in_bits(IRR, 0x44), "it takes an IPI");
    to_self(0x46);
    expect(!in_bits(IRR, 0x46), "it takes an IPI to itself");
    sti_nop_cli();
    EXPECT_TAKEN(0x55); /* what was requested before is held, and can be taken */
    apic_set(SVR, SVR_ON);
    expect_reg(LVT_LINT0, MASKED | 0x42);
}

/* --- NMIs ------------------------------------------------------------------------------------ */

static unsigned nmi_depth, nmi_deepest;

/* One more is sent from the handler of the first: it waits for the IRET. */
static bool on_nmi(struct fault_frame *frame)
{
    if (frame->vector != VECTOR_NMI)
        return false;
    nmi_depth++;
    if (nmi_depth > nmi_deepest)
        nmi_deepest = nmi_depth;
    if (++nmis == 1) {
        apic_send(apic_get(ID) >> 24, NMI);
        (void)cpuid(0, 0);
        out8(UNUSED_PORT, 0);
    }
    nmi_depth--;
    return true;
}

static void nmi_to_itself(void)
{
    fresh();
    fault_hook = on_nmi;
    nmi_depth = nmi_deepest = 0;
    apic_send(apic_get(ID) >> 24, NMI);
    expect(nmis >= 1, "it waits for interrupts to be on");
    __asm__ volatile("sti" : : : "memory");
    for (uint64_t start = rdtsc(); nmis < 2 && rdtsc() - start < LONG;)
        __asm__ volatile("pause");
    __asm__ volatile("cli" : : : "memory");
    expect(nmis == 2, "%u NMIs", nmis);
    expect(nmi_deepest == 1, "one in the handler of another");
    apic_send(apic_get(ID) >> 24, NMI);
    expect(nmis == 3, "%u NMIs", nmis);
    fault_hook = NULL;
}

/* --- priorities ------------------------------------------------------------------------------ */

static uint32_t seen_ppr[LOG];

static void nest(unsigned vector)
{
    unsigned at = taken - 1;
    seen_ppr[at] = apic_get(PPR);
    expect(in_bits(ISR, vector), "ISR has no %x", vector);
    if (vector == 0x50) {
        to_self(0x5f); /* the same class: waits */
        to_self(0x41); /* a lower one */
        to_self(0x80); /* a higher one: at once */
        sti_nop_cli();
        expect(taken == at + 2, "%u taken in the handler", taken - at - 1);
        expect(in_bits(ISR, 0x50) && !in_bits(ISR, 0x80), "ISR after the EOI of the higher one");
        expect(apic_get(PPR) == 0x50, "PPR is %x", apic_get(PPR));
    }
}

static void nested(void)
{
    fresh();
    on_interrupt = nest;
    to_self(0x50);
    sti_nop_cli();
    sti_nop_cli();
    EXPECT_TAKEN(0x50, 0x80, 0x5f, 0x41);
    expect(seen_ppr[0] == 0x50 && seen_ppr[1] == 0x80 && seen_ppr[2] == 0x50 && seen_ppr[3] == 0x40,
           "PPR was %x, %x, %x, %x", seen_ppr[0], seen_ppr[1], seen_ppr[2], seen_ppr[3]);
    expect_reg(PPR, 0);
}

/* SDM, "Task and Processor Priorities": the class of TPR and what is in service. */
static void processor_priority(void)
{
    fresh();
    no_eoi = true;
    to_self(0x65);
    sti_nop_cli();
    apic_set(TPR, 0x5a);
    expect_reg(PPR, 0x60);
    apic_set(TPR, 0x7a);
    expect_reg(PPR, 0x7a);
    apic_set(EOI, 0);
    expect_reg(PPR, 0x7a);
    apic_set(TPR, 0);
    expect_reg(PPR, 0);
    EXPECT_TAKEN(0x65);
}

static void held_by_tpr(void)
{
    fresh();
    apic_set(TPR, 0x40);
    to_self(0x4f);
    sti_nop_cli();
    expect_none();
    to_self(0x50);
    sti_nop_cli();
    EXPECT_TAKEN(0x50);
    __asm__ volatile("sti" : : : "memory");
    apic_set(TPR, 0x3f);
    __asm__ volatile("nop\n\tcli" : : : "memory");
    EXPECT_TAKEN(0x50, 0x4f);
}

static void held_by_cr8(void)
{
    fresh();
    for (uint64_t held = 6; held < 16; held++) {
        taken = 0;
        __asm__ volatile("mov %0, %%cr8" : : "r"(held));
        to_self(0x62);
        __asm__ volatile("sti\n\tnop\n\tnop" : : : "memory");
        expect_none();
        __asm__ volatile("mov %0, %%cr8\n\tnop\n\tnop" : : "r"(6ull) : "memory");
        expect_none();
        __asm__ volatile("mov %0, %%cr8\n\tnop\n\tnop\n\tcli" : : "r"(5ull) : "memory");
        EXPECT_TAKEN(0x62);
        __asm__ volatile("mov %0, %%cr8" : : "r"(0ull));
    }
}

/* Each class in turn, requested in the wrong order. */
static void by_priority(void)
{
    static const uint8_t order[] = {0xf1, 0xe2, 0xd3, 0xc4, 0xb5, 0xa6, 0x97,
                                    0x88, 0x79, 0x6a, 0x5b, 0x4c, 0x3d, 0x2e};
    fresh();
    for (unsigned i = ARRAY_SIZE(order); i > 0; i--)
        to_self(order[i - 1]);
    to_self(order[0]); /* requested already: it is one */
    for (unsigned i = 0; i < ARRAY_SIZE(order) + 2; i++)
        sti_nop_cli();
    expect_taken(ARRAY_SIZE(order), order);
}

/* --- errors ---------------------------------------------------------------------------------- */

static void errors(void)
{
    fresh();
    apic_set(LVT_ERROR, 0x61);
    to_self(0x0f);
    sti_nop_cli();
    EXPECT_TAKEN(0x61);
    expect_reg(ESR, 0);          /* not written since */
    apic_send(0, 0x03 | LOWEST); /* the interrupt is armed again by a write of ESR */
    sti_nop_cli();
    EXPECT_TAKEN(0x61);
    apic_set(ESR, 0);
    expect_reg(ESR, 0x20);
    apic_set(ESR, 0);
    expect_reg(ESR, 0);
    apic_set(LVT_TIMER, 0x0e); /* it fires with an illegal vector */
    apic_set(DIVIDE, BY_1);
    apic_set(INITIAL, 10);
    for (uint64_t start = rdtsc(); !in_bits(IRR, 0x61) && rdtsc() - start < LONG;)
        (void)apic_get(CURRENT); /* an exit: Bochs holds the host's timer back while IF = 0 */
    sti_nop_cli();
    EXPECT_TAKEN(0x61, 0x61);
    apic_set(LVT_ERROR, MASKED);
    apic_set(ESR, 0);
    expect_reg(ESR, 0x40);
    to_self(0x01);
    sti_nop_cli();
    EXPECT_TAKEN(0x61, 0x61);
    apic_set(ESR, 0);
    expect_reg(ESR, 0x20);
    apic_set(LVT_ERROR, 0x62);
    apic_set(ESR, 0);
    to_self(0x0f); /* a CPU that sends them by itself leaves this one to others */
    sti_nop_cli();
    EXPECT_TAKEN(0x61, 0x61, 0x62);
}

/* --- the timer ------------------------------------------------------------------------------- */

static uint64_t tsc_khz(void)
{
    return cpuid(CPUID_HYPERVISOR_TIMING, 0).eax;
}

/* Until N are taken, with interrupts on: true; false: TICKS of the TSC are over. */
static bool wait_for(unsigned n, uint64_t ticks)
{
    uint64_t start = rdtsc();
    __asm__ volatile("sti" : : : "memory");
    while (taken < n && rdtsc() - start < ticks)
        __asm__ volatile("pause");
    __asm__ volatile("cli" : : : "memory");
    return taken >= n;
}

static void one_shot(void)
{
    fresh();
    apic_set(DIVIDE, BY_1);
    apic_set(LVT_TIMER, 0x71);
    apic_set(INITIAL, 500000);
    uint32_t first = apic_get(CURRENT), second = apic_get(CURRENT);
    expect(first <= 500000 && (second < first || second == 0), "%u, then %u", first, second);
    expect(wait_for(1, LONG), "it does not fire");
    expect_reg(CURRENT, 0);
    expect_reg(INITIAL, 500000);
    expect(!wait_for(2, 3000000), "it fires twice");
    EXPECT_TAKEN(0x71);
    apic_set(INITIAL, 50000); /* and again */
    expect(wait_for(2, LONG), "it does not fire again");
}

static void stopped(void)
{
    fresh();
    apic_set(DIVIDE, BY_1);
    apic_set(LVT_TIMER, 0x71);
    apic_set(INITIAL, 200000);
    apic_set(INITIAL, 0);
    expect_reg(CURRENT, 0);
    expect(in_bits(IRR, 0x71) || !wait_for(1, 4000000), "it fires though stopped");
}

static void masked_timer(void)
{
    fresh();
    apic_set(DIVIDE, BY_1);
    apic_set(LVT_TIMER, MASKED | 0x71);
    apic_set(INITIAL, 20000);
    while (apic_get(CURRENT) != 0)
        __asm__ volatile("pause");
    apic_set(LVT_TIMER, 0x71); /* too late */
    expect(!wait_for(1, 3000000), "it fires though masked");
}

/* Ticks of the TSC until the count, by CODE, has gone through N. */
static uint64_t time_count(uint32_t code, uint32_t n)
{
    apic_set(DIVIDE, code);
    apic_set(LVT_TIMER, MASKED);
    uint64_t start = rdtsc();
    apic_set(INITIAL, n);
    while (apic_get(CURRENT) != 0)
        ;
    return rdtsc() - start;
}

/* Each divisor counts N/divisor in the same time. */
static void divisors(void)
{
    static const struct {
        uint32_t code, divisor;
    } rows[] = {{0xb, 1},  {0x0, 2},  {0x1, 4},  {0x2, 8},
                {0x3, 16}, {0x8, 32}, {0x9, 64}, {0xa, 128}};
    fresh();
    uint64_t whole = 25600 * tsc_khz() / cpuid(CPUID_HYPERVISOR_TIMING, 0).ebx;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t ticks = time_count(rows[i].code, 25600 / rows[i].divisor);
        print("# divided by %u: %lu ticks of the TSC, by its rate %lu\n", rows[i].divisor, ticks,
              whole);
        expect(ticks >= whole - whole / 1000, "divisor %u: %lu of %lu ticks", rows[i].divisor,
               ticks, whole);
    }
    struct cpuid_regs crystal = cpuid(0x15, 0);
    if (cpuid(0, 0).eax >= 0x15 && crystal.eax != 0)
        expect(crystal.ecx / 1000 == cpuid(CPUID_HYPERVISOR_TIMING, 0).ebx,
               "leaf 15h: the crystal has %u Hz", crystal.ecx);
}

/* A count goes on at the new rate when the divisor changes. */
static void divisor_changes(void)
{
    fresh();
    apic_set(DIVIDE, BY_1);
    apic_set(LVT_TIMER, MASKED);
    apic_set(INITIAL, 0x10000000);
    apic_set(DIVIDE, 0xa);
    uint32_t count = apic_get(CURRENT);
    expect(count > 0x0f000000, "the count has become %x", count);
}

enum { PERIODS = 40, TRIES = 20 };
static uint64_t period_tsc[PERIODS];

static void note_time(unsigned vector)
{
    (void)vector;
    if (taken <= PERIODS)
        period_tsc[taken - 1] = rdtsc();
}

/* How far the last one is off the count, but for whole periods: it gets there in small steps. */
static int64_t drift_from(uint64_t start)
{
    int64_t sum = 0, period = (int64_t)tsc_khz();
    for (unsigned i = 0; i < PERIODS; i++) {
        uint64_t before = i == 0 ? start : period_tsc[i - 1];
        int64_t step = (int64_t)((period_tsc[i] - before) % tsc_khz());
        sum += step > period / 2 ? step - period : step;
    }
    return sum;
}

/*
 * Periods of 1 ms. An emulator that is busy may be late with them, and two become one; where it is
 * so by half a period it has another go. A timer that drifts is late in each.
 */
static void periodic(void)
{
    uint32_t bus_khz = cpuid(CPUID_HYPERVISOR_TIMING, 0).ebx;
    uint64_t passed = 0, whole = PERIODS * tsc_khz();
    int64_t drift = INT64_MAX, most = (int64_t)tsc_khz() / 2;
    for (unsigned tries = 0; tries < TRIES && (drift >= most || drift <= -most); tries++) {
        fresh();
        on_interrupt = note_time;
        apic_set(DIVIDE, BY_1);
        apic_set(LVT_TIMER, PERIODIC | 0x72);
        uint64_t start = rdtsc();
        apic_set(INITIAL, bus_khz);
        expect(wait_for(PERIODS, LONG), "%u periods", taken);
        passed = period_tsc[PERIODS - 1] - start;
        expect(passed >= whole - whole / 1000, "%lu ticks, of %lu", passed, whole);
        drift = drift_from(start);
    }
    print("# %u periods of 1 ms: %lu ticks of the TSC, %lu by its rate\n", PERIODS, passed, whole);
    expect(drift < most && drift > -most, "it drifts: by %ld ticks, %u periods", drift, PERIODS);
    on_interrupt = NULL;
    taken = 0;
    apic_set(LVT_TIMER, 0x72); /* one-shot: the count that runs is the last, and one may be due */
    expect(!wait_for(3, 8 * tsc_khz()), "it goes on");
    expect_reg(CURRENT, 0);
}

static void set_deadline(uint64_t value)
{
    wrmsr(MSR_TSC_DEADLINE, value);
}

static void deadline(void)
{
    fresh();
    on_interrupt = note_time;
    set_deadline(rdtsc() + 1000); /* in another mode: ignored */
    expect(rdmsr(MSR_TSC_DEADLINE) == 0, "deadline %lx", rdmsr(MSR_TSC_DEADLINE));
    apic_set(LVT_TIMER, DEADLINE | 0x73);
    for (unsigned i = 0; i < PERIODS; i++) {
        uint64_t at = rdtsc() + 100000 + 10000 * i;
        set_deadline(at);
        uint64_t value = rdmsr(MSR_TSC_DEADLINE);
        expect(value == at || (value == 0 && rdtsc() >= at), "it reads as %lx", value);
        expect(wait_for(i + 1, LONG), "it does not come");
        expect(period_tsc[i] >= at, "%lu ticks before", at - period_tsc[i]);
    }
    expect(rdmsr(MSR_TSC_DEADLINE) == 0, "it stays: %lx", rdmsr(MSR_TSC_DEADLINE));
    expect_reg(CURRENT, 0);
    apic_set(INITIAL, 100);
    expect_reg(INITIAL, 0);
}

static void deadline_ends(void)
{
    fresh();
    apic_set(LVT_TIMER, DEADLINE | 0x73);
    set_deadline(1); /* over: at once */
    sti_nop_cli();
    EXPECT_TAKEN(0x73);
    set_deadline(rdtsc() + 4000000); /* time enough, but for a very busy emulator */
    set_deadline(0);
    expect(in_bits(IRR, 0x73) || !wait_for(2, 5000000), "it comes though disarmed");
    sti_nop_cli();
    taken = 0;
    set_deadline(rdtsc() + 4000000);
    apic_set(LVT_TIMER, 0x73);
    apic_set(LVT_TIMER, DEADLINE | 0x73);
    expect(rdmsr(MSR_TSC_DEADLINE) == 0, "another mode leaves it armed");
    expect(in_bits(IRR, 0x73) || !wait_for(1, 5000000), "it comes though the mode has changed");
}

/* It is a time by the TSC that the guest reads: a write of the TSC can bring it. */
static void deadline_by_tsc(void)
{
    fresh();
    apic_set(LVT_TIMER, DEADLINE | 0x73);
    uint64_t at = rdtsc() + (1ull << 40);
    set_deadline(at);
    wrmsr(MSR_TSC, at + 1);
    expect(wait_for(1, LONG), "the TSC has passed it");
    wrmsr(MSR_TSC, at - (1ull << 40));
}

/* --- HLT ------------------------------------------------------------------------------------- */

static void halt_until_timer(void)
{
    fresh();
    apic_set(DIVIDE, BY_1);
    apic_set(LVT_TIMER, 0x74);
    for (unsigned i = 1; i <= 20; i++) {
        apic_set(INITIAL, 20000);
        __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
        expect(taken == i, "%u taken after %u HLTs", taken, i);
    }
    apic_set(LVT_TIMER, PERIODIC | 0x74);
    apic_set(INITIAL, 30000);
    taken = 0;
    for (unsigned i = 0; i < 20; i++)
        __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
    expect(taken >= 20, "%u taken after 20 HLTs", taken);
}

/* What TPR holds back does not end HLT; what is higher does. */
static void halt_and_priority(void)
{
    fresh();
    to_self(0x35);
    apic_set(TPR, 0x40);
    apic_set(DIVIDE, BY_1);
    apic_set(LVT_TIMER, 0x85);
    apic_set(INITIAL, 50000);
    __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
    EXPECT_TAKEN(0x85);
    apic_set(TPR, 0);
    sti_nop_cli();
    EXPECT_TAKEN(0x85, 0x35);
}

static void halt_with_pending(void)
{
    fresh();
    for (unsigned i = 1; i <= 20; i++) {
        to_self(0x75);
        __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
        expect(taken == i, "%u taken after %u HLTs", taken, i);
    }
}

/* --- delivery -------------------------------------------------------------------------------- */

#define SHADOW(name)                                                                               \
    void shadow_##name(void);                                                                      \
    extern const char shadow_##name##_end[];
SHADOW(nop)
SHADOW(cpuid)
SHADOW(out)
SHADOW(hlt)
void popf_nop(void);
extern const char popf_nop_end[];

static void expect_at(const char *name, void (*code)(void), const char *end)
{
    for (unsigned i = 0; i < 3; i++) {
        fresh();
        to_self(0x90);
        code();
        EXPECT_TAKEN(0x90);
        expect(taken_rip[0] == (uint64_t)end, "%s: at %lx, not %lx", name, taken_rip[0],
               (uint64_t)end);
    }
}

/* SDM, "STI": the next instruction runs first, also where it exits; POPF casts no shadow. */
static void shadows(void)
{
    expect_at("STI, NOP", shadow_nop, shadow_nop_end);
    expect_at("STI, CPUID", shadow_cpuid, shadow_cpuid_end);
    expect_at("STI, OUT", shadow_out, shadow_out_end);
    expect_at("STI, HLT", shadow_hlt, shadow_hlt_end);
    expect_at("POPF", popf_nop, popf_nop_end);
}

/* Each is taken once, whatever exits around it. */
static void none_is_lost(void)
{
    enum { ROUNDS = 2000 };
    uint64_t value;
    fresh();
    __asm__ volatile("sti" : : : "memory");
    for (unsigned i = 1; i <= ROUNDS; i++) {
        to_self((0x30 + i % 0xc0));
        switch (i % 6) {
        case 0:
            (void)cpuid(0, 0);
            break;
        case 1:
            out8(UNUSED_PORT, 0);
            break;
        case 2:
            (void)rdmsr(MSR_MTRRCAP);
            break;
        case 3:
            (void)*(volatile uint32_t *)PAGE_HOLE;
            break;
        case 4:
            __asm__ volatile("mov %%cr8, %0" : "=r"(value));
            break;
        default:
            break;
        }
        if (!expect(taken == i, "%u taken, of %u", taken, i))
            break;
    }
    __asm__ volatile("cli" : : : "memory");
}

/* A fast timer while everything exits: the guest goes on, and every interrupt returns. */
static void storm(void)
{
    enum { ROUNDS = 3000 };
    fresh();
    apic_set(DIVIDE, BY_1);
    apic_set(LVT_TIMER, PERIODIC | 0x76);
    apic_set(INITIAL, 2000);
    __asm__ volatile("sti" : : : "memory");
    uint64_t sum = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        sum += cpuid(1, 0).eax != 0;
        out8(UNUSED_PORT, 0);
        sum += *(volatile uint32_t *)PAGE_HOLE == 0xffffffff;
        sum += rdmsr(MSR_MTRRCAP) != 0;
    }
    __asm__ volatile("cli" : : : "memory");
    apic_set(INITIAL, 0);
    print("# %u interrupts\n", taken);
    expect(taken > 0, "none is taken");
    if (machine.nosnoop)
        expect(sum == 3 * ROUNDS, "sum %lu", sum);
}

static void stop_at_100(unsigned vector)
{
    (void)vector;
    if (taken == 100)
        apic_set(INITIAL, 0);
}

/* With interrupts off, what comes again and again is one request. */
static void shortest_period(void)
{
    fresh();
    on_interrupt = stop_at_100;
    apic_set(DIVIDE, BY_1);
    apic_set(LVT_TIMER, PERIODIC | 0x77);
    apic_set(INITIAL, 1);
    for (uint64_t start = rdtsc(); rdtsc() - start < 3000000;)
        __asm__ volatile("pause");
    expect_none();
    expect(wait_for(100, LONG), "%u taken", taken);
}

static const struct test_case one_mode[] = {
    {"CPUID and IA32_APIC_BASE tell of it", needs_nosnoop, announced},
    {"reset values", needs_nosnoop, reset_values},
    {"xAPIC: bits that can be written", needs_nosnoop, xapic_bits},
    {"xAPIC: a register by STOS", NULL, xapic_by_stos},
    {"xAPIC: reserved registers", needs_nosnoop, reserved_registers},
    {"xAPIC: accesses that are not of 32 bits", needs_nosnoop, odd_widths},
    {"xAPIC: encodings", NULL, encodings},
    {"x2APIC: registers, and what is #GP", needs_x2apic, x2apic_registers},
    {"IA32_APIC_BASE: transitions", needs_nosnoop, transitions},
    {"IPI: destinations", NULL, destinations},
    {"IPI: broadcast to clusters", needs_clusters, broadcast_to_clusters},
    {"x2APIC: destinations", needs_x2apic, x2apic_destinations},
};

static const struct test_case each_mode[] = {
    {"CR8 is the class of TPR", NULL, cr8_is_tpr},
    {"IPI: shorthands", NULL, shorthands},
    {"IPI: what has no effect", needs_nosnoop, without_effect},
    {"disabled by software", needs_nosnoop, disabled_by_software},
    {"NMI to itself, blocked until IRET", NULL, nmi_to_itself},
    {"priorities: nested, and the order of EOIs", NULL, nested},
    {"priorities: PPR", NULL, processor_priority},
    {"priorities: TPR holds back", NULL, held_by_tpr},
    {"priorities: CR8 holds back", NULL, held_by_cr8},
    {"priorities: the highest first", NULL, by_priority},
    {"errors, and their interrupt", needs_nosnoop, errors},
    {"timer: one-shot", NULL, one_shot},
    {"timer: stopped", needs_true_zero, stopped},
    {"timer: masked", NULL, masked_timer},
    {"timer: divisors, and the rate that CPUID tells", needs_nosnoop, divisors},
    {"timer: the divisor changes", needs_nosnoop, divisor_changes},
    {"timer: periodic, by the TSC", needs_nosnoop, periodic},
    {"timer: TSC deadline", needs_deadline, deadline},
    {"timer: TSC deadline over, disarmed, mode left", needs_deadline, deadline_ends},
    {"timer: TSC deadline and writes of the TSC", needs_deadline, deadline_by_tsc},
    {"HLT until the timer", NULL, halt_until_timer},
    {"HLT and priorities", NULL, halt_and_priority},
    {"STI, HLT with one pending", NULL, halt_with_pending},
    {"shadow of STI", NULL, shadows},
    {"none is lost around exits", NULL, none_is_lost},
    {"a fast timer and exits", needs_nosnoop, storm},
    {"the shortest period", needs_nosnoop, shortest_period},
};

/* The timer runs, but its interrupt is masked, or below TPR, or interrupts are off. */
static noreturn void halt_for_good(void)
{
    fresh();
    apic_set(DIVIDE, BY_1);
    apic_set(LVT_TIMER, cmdline_has("end", "masked") ? MASKED | 0x41 : 0x41);
    apic_set(TPR, cmdline_has("end", "held") ? 0x40 : 0);
    apic_set(INITIAL, 10000);
    if (!cmdline_has("end", "off"))
        __asm__ volatile("sti");
    __asm__ volatile("hlt; cli");
    guest_exit(1);
}

static noreturn void init_itself(void)
{
    apic_send(0, INIT | ASSERT);
    guest_exit(1);
}

void test_main(void)
{
    interrupt_init();
    interrupt_hook = take;
    always_x2 = cmdline_has("mode", "x2");
    if (cmdline_has("end", "init"))
        init_itself();
    if (cmdline_has("end", "masked") || cmdline_has("end", "held") || cmdline_has("end", "off"))
        halt_for_good();
    ktap_begin(ARRAY_SIZE(each_mode) + (always_x2 ? 0 : ARRAY_SIZE(one_mode)));
    if (!always_x2)
        ktap_run(one_mode, ARRAY_SIZE(one_mode));
    ktap_run(each_mode, ARRAY_SIZE(each_mode));
    ktap_end();
}
