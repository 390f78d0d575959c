/* Operations on the local APIC: its page, its MSRs and modes, IPIs, timers, CR8. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/hostile/hostile.h"
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/smp.h"

#define APIC_LINEAR(mode) ((mode)->paged ? (uint64_t)APIC_WINDOW : APIC_PAGE)

/* From the first CPU it goes to the others; those send it, and NMIs, to others with care alone. */
uint64_t apic_tame(uint64_t value)
{
    uint64_t kind = value & 7 << 8;
    if (kind == STARTUP)
        value = (value & ~0xffull) | HOSTILE_START / 4096;
    if (smp_index() == 0)
        return kind == INIT ? value | TO_OTHERS : value;
    return kind == INIT || kind == NMI ? (value & ~(uint64_t)TO_OTHERS) | TO_SELF : value;
}

static uint32_t tame(uint64_t value)
{
    return (uint32_t)apic_tame(value);
}

/* Any mode, any vector; the shorthand is often one that leads here. */
static uint64_t icr_value(void)
{
    uint64_t value = random_below(0x100) | random_below(8) << 8;
    if (one_in(2))
        return value | TO_SELF;
    return value | (random64() & (LOGICAL | PENDING | ASSERT | LEVEL | TO_OTHERS));
}

static uint64_t lvt_value(void)
{
    uint64_t value = random_below(0x100) | (random64() & (PERIODIC | DEADLINE));
    return one_in(4) ? value | (random64() & (MASKED | 0xff00)) : value;
}

uint32_t apic_random_value(unsigned reg)
{
    if (one_in(8))
        return tame(interesting());
    switch (reg) {
    case ICR:
        return tame(icr_value());
    case SVR:
        return random_below(0x100) | (one_in(8) ? 0 : 1u << 8);
    case TPR:
        return random_below(0x100);
    case INITIAL:
        return one_in(2) ? random_below(0x1000) : (uint32_t)interesting();
    case LVT_TIMER:
    case LVT_ERROR:
        return (uint32_t)lvt_value();
    default:
        return tame(interesting());
    }
}

unsigned apic_random_register(void)
{
    static const uint16_t often[] = {TPR, EOI, EOI, SVR,       ICR,     ICR,    ICR_HIGH,
                                     LDR, ESR, ISR, LVT_TIMER, INITIAL, DIVIDE, SELF_IPI};
    return one_in(2) ? often[random_below(sizeof(often) / sizeof(often[0]))]
                     : random_below(0x40) * 16;
}

/*
 * In the forms that a hypervisor completes; the first two alone may come to ICR, with all of it: a
 * part could make an INIT of what was there. The half of an immediate that is left over by a 16-bit
 * operand is two NOPs.
 */
static const struct code forms[] = {
    {2, "\x89\x03"},     {2, "\x8b\x03"},     {3, "\x0f\xb6\x03"},
    {3, "\x0f\xb7\x03"}, {3, "\x0f\xbe\x03"}, {2, "\x88\x03"},
    {2, "\x8a\x0b"},     {3, "\xc6\x03\x11"}, {6, "\xc7\x03\x90\x90\x90\x90"},
    {2, "\x87\x03"},     {2, "\x09\x03"},     {2, "\x21\x03"},
    {2, "\x39\x03"},     {2, "\x85\x03"},     {3, "\x83\x0b\x01"},
    {1, "\xab"},         {2, "\xf3\xab"},     {1, "\xaa"},
};

void emit_apic_page(const struct mode *mode, unsigned slot)
{
    unsigned reg = apic_random_register(), end = sizeof(forms) / sizeof(forms[0]);
    unsigned offset = one_in(8) ? random_below(0xff8) : reg + (one_in(8) ? random_below(16) : 0);
    bool icr = (offset & ~15u) == ICR, simple = icr || one_in(2);
    const struct code *form = &forms[random_below(simple ? 2 : end)];
    (void)slot;
    mov(mode, AX, apic_random_value(reg));
    mov(mode, BX, APIC_LINEAR(mode) + (icr ? ICR : offset));
    mov(mode, CX, random_below(8));
    operand32(mode);
    bytes("\x89\xdf", 2); /* MOV EDI, EBX */
    if (mode->bits == 16)
        e8(0x67);
    bool other_size = one_in(8) && !icr;
    if ((mode->bits == 16) != other_size)
        e8(0x66);
    bytes(form->text, form->n);
}

/* By flat segments. */
bool fits_apic_page(const struct mode *mode)
{
    return mode->family != FAMILY_REAL && !mode->v86;
}

static void emit_write(const struct mode *mode, uint32_t msr, uint64_t value)
{
    mov(mode, CX, msr);
    mov(mode, AX, value);
    mov(mode, DX, value >> 32);
    bytes("\x0f\x30", 2);
}

void emit_apic_msr(const struct mode *mode, unsigned slot)
{
    unsigned reg = apic_random_register();
    uint64_t value = apic_random_value(reg);
    (void)slot;
    if (one_in(4)) {
        mov(mode, CX, MSR_OF(reg));
        bytes("\x0f\x32", 2);
        return;
    }
    if (reg == EOI)
        value = one_in(8) ? value : 0;
    else if (reg == ICR || one_in(8))
        value |= one_in(2) ? random64() << 32 : (uint64_t)random_below(0x12) << 32;
    emit_write(mode, MSR_OF(reg), value);
}

/* Each step between the modes, those that are none, and senseless values. */
void emit_apic_base(const struct mode *mode, unsigned slot)
{
    static const uint32_t states[] = {0, 0x400, 0x800, 0x800, 0xc00, 0xc00};
    uint64_t value = APIC_PAGE | states[random_below(6)] | (one_in(4) ? 0u : BASE_BSP);
    (void)slot;
    emit_write(mode, MSR_APIC_BASE, one_in(8) ? value ^ 1ull << random_below(64) : value);
}

/* Somewhere near now, long past, or never. */
void emit_deadline(const struct mode *mode, unsigned slot)
{
    (void)slot;
    if (one_in(4)) {
        emit_write(mode, MSR_TSC_DEADLINE, interesting());
        return;
    }
    mov(mode, CX, MSR_TSC_DEADLINE);
    bytes("\x0f\x31", 2); /* RDTSC */
    operand32(mode);
    e8(0x05); /* ADD EAX, imm32 */
    e32(one_in(2) ? random_below(0x10000) : (uint32_t)interesting());
    bytes("\x0f\x30", 2);
}

/* Most often a class that there is; and back. */
void emit_cr8(const struct mode *mode, unsigned slot)
{
    (void)slot;
    mov(mode, AX, one_in(8) ? interesting() : random_below(0x10));
    if (hostile_can_write_cr8())
        bytes("\x44\x0f\x22\xc0", 4);
    bytes("\x44\x0f\x20\xc1", 4);
}

bool fits_cr8(const struct mode *mode)
{
    return mode->bits == 64;
}

/* From any state: enabled, in either mode, and nothing pending or in service. */
void apic_begin(void)
{
    wrmsr(MSR_APIC_BASE, BASE_OFF);
    wrmsr(MSR_APIC_BASE, BASE_XAPIC);
    apic_x2 = needs_x2apic() == NULL && one_in(2);
    if (apic_x2)
        wrmsr(MSR_APIC_BASE, BASE_X2APIC);
    apic_set(SVR, SVR_ON);
}
