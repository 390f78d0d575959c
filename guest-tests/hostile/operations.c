/*
 * The operations: short straight pieces of code of a random instruction with random operands. What
 * would take the guest's footing away stands together with what undoes it; INT3 at the start of a
 * slot has the next instruction single-stepped.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/hostile/hostile.h"
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/machine.h"
#include "lib/x86.h"

static bool outer(const struct mode *mode)
{
    return mode->cpl == 3 || mode->v86;
}

/*
 * Emulator deviations: QEMU's TCG leaves long mode in 64-bit code, and takes PG without PE, where
 * the manuals say #GP; and it takes reserved bits of CR3, with which the next VMRUN fails.
 */
static bool lax(void)
{
    return !machine.intel;
}

/* --- pieces of code --------------------------------------------------------------------------- */

void bytes(const char *text, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        e8((uint8_t)text[i]);
}

void mov(const struct mode *mode, enum reg reg, uint64_t value)
{
    if (mode->bits == 16)
        e8(0x66);
    e8(0xb8 + reg);
    e32(value);
}

/* MOV r64, imm64 */
static void mov64(enum reg reg, uint64_t value)
{
    e8(0x48);
    e8(0xb8 + reg);
    e64(value);
}

void operand32(const struct mode *mode)
{
    if (mode->bits == 16)
        e8(0x66);
}

/* ModRM for the absolute linear ADDRESS, which lies within 64 KiB of a 16-bit segment's base. */
static void absolute(const struct mode *mode, unsigned reg, uint32_t address)
{
    if (mode->bits == 64) {
        e8(0x04 | reg << 3);
        e8(0x25);
        e32(address);
    } else if (mode->bits == 32) {
        e8(0x05 | reg << 3);
        e32(address);
    } else {
        e8(0x06 | reg << 3);
        e16(address - CODE);
    }
}

/* Before an instruction with an absolute() operand: in 16-bit code CS has the base for it. */
static void absolute_prefix(const struct mode *mode)
{
    if (mode->bits == 16)
        e8(0x2e);
}

static uint32_t data_address(void)
{
    return DATA + random_below(0x1f00);
}

/*
 * Single-steps the next instruction, which EXITS. Emulator deviation: with SVM Bochs leaves the
 * pending step of an intercepted instruction to the host, as a #DB.
 */
static void step(bool exits)
{
    if (!exits || hostile_can_step_exits())
        e8(0xcc);
}

/* In front of what takes the guest's footing away for a moment. */
static void hold_interrupts(const struct mode *mode)
{
    if (!outer(mode))
        e8(0xfa);
}

/* --- model-specific registers ----------------------------------------------------------------- */

uint32_t random_msr(void)
{
    static const uint32_t known[] = {
        MSR_TSC,
        MSR_APIC_BASE,
        MSR_FEATURE_CONTROL,
        MSR_MTRRCAP,
        MSR_SYSENTER_CS,
        MSR_SYSENTER_ESP,
        MSR_SYSENTER_EIP,
        MSR_MCG_CAP,
        MSR_PAT,
        MSR_MTRR_DEF_TYPE,
        MSR_MC0_STATUS,
        MSR_X2APIC + 0xf,
        MSR_XSS,
        MSR_EFER,
        MSR_STAR,
        MSR_LSTAR,
        MSR_CSTAR,
        MSR_SFMASK,
        MSR_FS_BASE,
        MSR_GS_BASE,
        MSR_KERNEL_GS_BASE,
        MSR_TSC_AUX,
        MSR_SYSCFG,
        MSR_VM_CR,
        MSR_VM_HSAVE_PA,
        0x48,
        0x49,
        0x8b,
        0x1a0,
        0x1d9,
        0xce,
        0xc0010015,
    };
    switch (random_below(4)) {
    case 0:
        return MSR_MTRR_PHYSBASE0 + random_below(0x100);
    case 1:
        return (one_in(2) ? 0 : one_in(2) ? 0xc0000000 : 0xc0010000) + random_below(0x2000);
    case 2:
        return one_in(4) ? (uint32_t)random64() : random_below(0x1000);
    default:
        return known[random_below(sizeof(known) / sizeof(known[0]))];
    }
}

static void emit_rdmsr(const struct mode *mode, unsigned slot)
{
    (void)slot;
    mov(mode, CX, random_msr());
    bytes("\x0f\x32", 2);
}

/*
 * EFER with a random low half, and at once with the good one. Emulator deviation: at an exit with
 * LME set and both PG and PAE clear, QEMU's TCG does not load the host's CR0.
 */
static void emit_efer(const struct mode *mode)
{
    uint64_t value = one_in(2) ? random64() : hostile_mode.efer ^ 1ull << random_below(16);
    if (lax() && !mode->paged)
        value &= ~EFER_LME;
    hold_interrupts(mode);
    mov(mode, CX, MSR_EFER);
    mov(mode, AX, value);
    bytes("\x31\xd2\x0f\x30", 4); /* XOR EDX, EDX; WRMSR */
    mov(mode, AX, hostile_mode.efer);
    bytes("\x0f\x30", 2);
}

/*
 * Where SYSCALL and SYSENTER lead must not be the arena, and outside of long mode SYSENTER_CS stays
 * 0, with which SYSENTER faults. On AMD it stays 0 there too (emulator deviation: QEMU's TCG has
 * SYSENTER in compatibility mode, where AMD has #UD, and leaves CS with both D and L, with which
 * the next VMRUN fails).
 */
static void emit_wrmsr(const struct mode *mode, unsigned slot)
{
    uint32_t msr = random_msr();
    uint64_t value = one_in(2) ? interesting() : random64();
    (void)slot;
    if (msr == MSR_EFER) {
        emit_efer(mode);
        return;
    }
    if (msr == MSR_X2APIC + ICR / 16)
        value = apic_tame(value);
    if (msr == MSR_LSTAR || msr == MSR_CSTAR || msr == MSR_SYSENTER_EIP)
        value |= 1ull << 46;
    if (msr == MSR_SYSENTER_CS && (mode->family != FAMILY_LONG || lax()))
        value = 0;
    mov(mode, CX, msr);
    mov(mode, AX, value);
    mov(mode, DX, value >> 32);
    bytes("\x0f\x30", 2);
}

/* --- control and debug registers -------------------------------------------------------------- */

static uint64_t cr0_value(const struct mode *mode)
{
    uint64_t value = (uint32_t)random64();
    if (!one_in(3))
        value = hostile_mode.cr0 ^ 1ull << random_below(32) ^ 1ull << random_below(32);
    if (lax() && mode->bits == 64)
        value |= CR0_PG | CR0_PE;
    if (lax() && (value & CR0_PE) == 0)
        value &= ~CR0_PG;
    return value;
}

/* Without PAE a legacy mode's tables are of the other kind: nothing would be mapped. */
static uint64_t cr4_value(const struct mode *mode)
{
    uint64_t value = (uint32_t)random64();
    if (!one_in(3))
        value = hostile_mode.cr4 ^ 1ull << random_below(32);
    if (mode->family == FAMILY_LEGACY && mode->paged)
        value = (value & ~CR4_PAE) | (hostile_mode.cr4 & CR4_PAE);
    return value;
}

static uint64_t cr3_value(const struct mode *mode)
{
    uint64_t ignored = mode->tables == TABLES_PAE ? 0x1f : 0xfff;
    if (!mode->paged)
        return (uint32_t)random64();
    uint64_t value = hostile_mode.cr3 ^ (random64() & ignored);
    if (!lax() && mode->bits == 64 && one_in(4))
        value |= 1ull << (52 + random_below(11));
    return value;
}

/* MOV CRn, RAX with a random value, and at once with the good one. */
static void emit_mov_to_cr(const struct mode *mode, unsigned slot)
{
    static const uint8_t registers[] = {0, 0, 3, 4, 4, 4};
    unsigned cr = registers[random_below(sizeof(registers))];
    uint64_t good = cr == 0 ? hostile_mode.cr0 : cr == 3 ? hostile_mode.cr3 : hostile_mode.cr4;
    uint64_t value = cr == 0 ? cr0_value(mode) : cr == 3 ? cr3_value(mode) : cr4_value(mode);
    (void)slot;
    if (cr != 3 && !lax() && mode->bits == 64 && one_in(8))
        value |= random64() << 32;
    hold_interrupts(mode);
    if (value >> 32 != 0)
        mov64(AX, value);
    else
        mov(mode, AX, value);
    mov(mode, BX, good);
    bytes("\x0f\x22", 2);
    e8(0xc0 | cr << 3 | AX);
    bytes("\x0f\x22", 2);
    e8(0xc0 | cr << 3 | BX);
}

/* CRs that hold nothing the guest stands on, and those that do not exist. */
static void emit_other_cr(const struct mode *mode, unsigned slot)
{
    static const uint8_t others[] = {1, 2, 2, 5, 6, 7};
    unsigned cr = others[random_below(sizeof(others))], least = hostile_can_write_cr8() ? 0 : 1;
    (void)slot;
    mov(mode, AX, interesting());
    if (mode->bits == 64 && one_in(2)) {
        e8(0x44); /* CR8 to CR15 */
        cr = one_in(2) ? least : least + random_below(8 - least);
    } else if (least == 0 && one_in(4)) {
        e8(0xf0); /* AMD's name for CR8, #UD elsewhere */
        cr = 0;
    }
    bytes("\x0f\x22", 2);
    e8(0xc0 | cr << 3);
}

static void emit_mov_from_cr(const struct mode *mode, unsigned slot)
{
    (void)slot;
    if (one_in(3))
        step(true);
    if (mode->bits == 64 && one_in(4))
        e8(0x44);
    bytes("\x0f\x20", 2);
    e8(0xc0 | random_below(8) << 3 | random_below(4));
}

static void emit_lmsw(const struct mode *mode, unsigned slot)
{
    (void)slot;
    if (one_in(4)) {
        bytes("\x0f\x06", 2); /* CLTS */
        return;
    }
    hold_interrupts(mode);
    mov(mode, AX, random64());
    mov(mode, BX, hostile_mode.cr0);
    bytes("\x0f\x01\xf0", 3);
    bytes("\x0f\x22\xc3", 3);
}

/*
 * A breakpoint leads to a slot's start, to data, or to where nothing is. Emulator deviation: QEMU's
 * TCG ends itself at a breakpoint on an instruction of a segment whose base is not 0.
 */
static uint64_t breakpoint(const struct mode *mode)
{
    if (one_in(4) && (mode->bits != 16 || !lax()))
        return CODE + random_below(SLOTS) * SLOT_SIZE;
    return one_in(2) ? data_address() : (uint32_t)random64() | 0x80000000;
}

/* Nor does Bochs's SVM keep what a breakpoint has pending from the host: see step(). */
static void emit_mov_to_dr(const struct mode *mode, unsigned slot)
{
    unsigned dr = random_below(8);
    uint64_t value = dr < 4 ? breakpoint(mode) : (uint32_t)random64();
    (void)slot;
    if (dr == 7 && one_in(2))
        value = (value & 0xffff0000) | 0x400 | (random64() & 0xff);
    if (dr == 7 && !hostile_can_step_exits())
        value &= ~0xffull;
    if (!lax() && mode->bits == 64 && one_in(8))
        mov64(AX, value | random64() << 32);
    else
        mov(mode, AX, value);
    bytes("\x0f\x23", 2);
    e8(0xc0 | dr << 3);
}

static void emit_mov_from_dr(const struct mode *mode, unsigned slot)
{
    (void)mode, (void)slot;
    if (one_in(3))
        step(false);
    bytes("\x0f\x21", 2);
    e8(0xc0 | random_below(8) << 3);
}

static void emit_xsetbv(const struct mode *mode, unsigned slot)
{
    uint64_t value = one_in(3) ? random64() : random_below(0x400);
    (void)slot;
    mov(mode, CX, one_in(4) ? random_below(3) : 0);
    mov(mode, AX, value);
    mov(mode, DX, value >> 32);
    bytes("\x0f\x01", 2);
    e8(one_in(4) ? 0xd0 : 0xd1);
}

/* --- ports ------------------------------------------------------------------------------------ */

/* Not the exit port, the ports that reset, nor the guest's own UART, nor what overlaps them. */
uint16_t random_port(void)
{
    for (;;) {
        uint32_t port = one_in(2) ? random_below(0x400) : random_below(0x10000);
        if (!(port >= 0x61 && port <= 0x64) && !(port >= 0x8f && port <= 0x92) &&
            !(port >= 0xf1 && port <= 0xf4) && !(port >= 0x3f5 && port <= 0x3ff) &&
            !(port >= 0xcf6 && port <= 0xcf9))
            return (uint16_t)port;
    }
}

/* Those ports with values that do nothing. */
static void emit_harmless_out(const struct mode *mode)
{
    static const uint16_t ports[] = {0x64, 0x92, 0xcf9};
    mov(mode, DX, ports[random_below(3)]);
    mov(mode, AX, 0x60); /* no reset command, bit 0 and bit 2 clear */
    e8(0xee);
}

static void emit_io(const struct mode *mode, unsigned slot)
{
    unsigned wide = random_below(3);
    (void)slot;
    if (one_in(16)) {
        emit_harmless_out(mode);
        return;
    }
    unsigned port = random_port();
    mov(mode, AX, interesting());
    if (port >= 0x100)
        mov(mode, DX, port);
    if (wide == 2)
        e8(0x66);
    e8((port < 0x100 ? 0xe4u : 0xecu) + (one_in(2) ? 2u : 0) + (wide != 0 ? 1u : 0));
    if (port < 0x100)
        e8(port);
}

/* Addresses far enough from the pages below for DF=1, and from the end. */
static void emit_string_io(const struct mode *mode, unsigned slot)
{
    unsigned address = mode->family == FAMILY_REAL || mode->v86 ? 0x800 : DATA + 0x800;
    bool in = one_in(2);
    (void)slot;
    mov(mode, DX, random_port());
    mov(mode, CX, one_in(32) ? random_below(0x180) : random_below(4));
    mov(mode, in ? DI : SI, address + random_below(0x800));
    if (mode->bits == 16 && address >= DATA)
        e8(0x67);
    if (one_in(3))
        e8(0x66);
    if (!one_in(4))
        e8(one_in(2) ? 0xf3 : 0xf2);
    e8((in ? 0x6c : 0x6e) + random_below(2));
}

/* --- CPUID, hypercalls, and instructions that want to be refused ------------------------------ */

static void emit_cpuid(const struct mode *mode, unsigned slot)
{
    static const uint32_t ranges[] = {0, 0x40000000, 0x80000000, 0x8fff0000};
    (void)slot;
    uint32_t leaf = ranges[random_below(4)] + random_below(0x30);
    mov(mode, AX, one_in(8) ? random64() : leaf);
    mov(mode, CX, one_in(2) ? 0 : interesting());
    bytes("\x0f\xa2", 2);
}

static void emit_hypercall(const struct mode *mode, unsigned slot)
{
    (void)slot;
    mov(mode, AX, one_in(2) ? random_below(32) : interesting());
    mov(mode, BX, interesting());
    mov(mode, CX, interesting());
    bytes("\x0f\x01", 2);
    e8((machine.intel ? 0xc1u : 0xd9u) ^ (one_in(8) ? 0x18u : 0));
}

/* An instruction each: register operands only. */
static const struct code singles[] = {
    {2, "\x0f\xa2"},                      /* CPUID */
    {3, "\x66\x0f\xa2"},                  /* with a prefix */
    {3, "\xf3\x0f\xa2"}, {2, "\x0f\x32"}, /* RDMSR */
    {2, "\xe4\x80"},     {2, "\xe5\x80"},     {2, "\xe6\x80"},
    {2, "\xe7\x80"},     {3, "\x66\xe7\x80"}, {3, "\x0f\x01\xd0"}, /* XGETBV */
    {3, "\x0f\x01\xd1"},                                           /* XSETBV */
    {3, "\x0f\x01\xc1"},                                           /* VMCALL */
    {3, "\x0f\x01\xd9"},                                           /* VMMCALL */
    {3, "\x0f\x01\xc2"},                                           /* VMLAUNCH */
    {3, "\x0f\x01\xc3"},                                           /* VMRESUME */
    {3, "\x0f\x01\xc4"},                                           /* VMXOFF */
    {3, "\x0f\x01\xd4"},                                           /* VMFUNC */
    {3, "\x0f\x01\xd8"},                                           /* VMRUN */
    {3, "\x0f\x01\xda"},                                           /* VMLOAD */
    {3, "\x0f\x01\xdb"},                                           /* VMSAVE */
    {3, "\x0f\x01\xdc"},                                           /* STGI */
    {3, "\x0f\x01\xdd"},                                           /* CLGI */
    {3, "\x0f\x01\xde"},                                           /* SKINIT */
    {3, "\x0f\x01\xdf"},                                           /* INVLPGA */
    {3, "\x0f\x01\xf8"},                                           /* SWAPGS */
    {3, "\x0f\x01\xf9"},                                           /* RDTSCP */
    {3, "\x0f\x01\xc9"},                                           /* MWAIT */
    {3, "\x0f\x01\xca"},                                           /* CLAC */
    {3, "\x0f\x01\xcf"},                                           /* ENCLS */
    {3, "\x0f\x01\xd7"},                                           /* ENCLU */
    {3, "\x0f\x01\xfd"},                                           /* RDPRU */
    {2, "\x0f\x78"},                                               /* VMREAD */
    {3, "\x0f\x78\xc0"}, {3, "\x0f\x79\xc0"},                      /* VMWRITE */
    {2, "\x0f\x37"},                                               /* GETSEC */
    {2, "\x0f\xaa"},                                               /* RSM */
    {2, "\x0f\x31"},                                               /* RDTSC */
    {2, "\x0f\x33"},                                               /* RDPMC */
    {2, "\x0f\x08"},                                               /* INVD */
    {2, "\x0f\x09"},                                               /* WBINVD */
    {3, "\xf3\x0f\x09"}, {2, "\x0f\x0b"},                          /* UD2 */
    {1, "\xf1"},                                                   /* INT1 */
    {1, "\xce"},                                                   /* INTO */
    {2, "\xcd\x03"},     {2, "\xcd\x04"},     {1, "\xfa"},         /* CLI */
    {1, "\xfb"},                                                   /* STI */
    {3, "\xfb\x0f\xa2"},                                           /* in the shadow of STI */
    {3, "\x0f\x00\xc0"},                                           /* SLDT */
    {3, "\x0f\x00\xc8"},                                           /* STR */
    {3, "\x0f\x01\xe0"},                                           /* SMSW */
    {3, "\x0f\x20\xc0"}, {3, "\x0f\x20\xe0"}, {3, "\x0f\x06\x90"}, /* CLTS */
    {2, "\xf7\xf0"},                                               /* DIV */
    {2, "\x0f\x05"},                                               /* SYSCALL */
    {2, "\x0f\x34"},                                               /* SYSENTER */
    {2, "\x0f\x35"},                                               /* SYSEXIT */
    {2, "\x0f\x07"},                                               /* SYSRET */
};

/* Transfers of control among them are only made single-stepped. */
static void emit_single(const struct mode *mode, unsigned slot)
{
    const struct code *code = &singles[random_below(sizeof(singles) / sizeof(singles[0]))];
    bool transfer = code->text[0] == 0x0f && (code->text[1] == 0x05 || code->text[1] == 0x07 ||
                                              code->text[1] == 0x34 || code->text[1] == 0x35);
    (void)mode, (void)slot;
    if (transfer || one_in(2))
        step(!transfer);
    bytes(code->text, code->n);
}

/*
 * MONITOR, of the arena's data: without paging a read of anywhere would stop the VM. Emulator
 * deviation: Bochs reads it before SVM's intercept.
 */
static void emit_monitor(const struct mode *mode, unsigned slot)
{
    (void)slot;
    mov(mode, AX, data_address());
    mov(mode, CX, one_in(4) ? interesting() : 0);
    bytes("\x0f\x01\xc8", 3);
}

static void emit_hlt(const struct mode *mode, unsigned slot)
{
    (void)mode, (void)slot;
    e8(0xf4);
}

/* With a memory operand in the arena's data. */
static void emit_memory_single(const struct mode *mode, unsigned slot)
{
    static const struct {
        uint8_t prefix, op, reg;
    } forms[] = {
        {0, 0x01, 0}, {0, 0x01, 1},    {0, 0x01, 4},    {0, 0x01, 7}, /* SGDT SIDT SMSW INVLPG */
        {0, 0x00, 0}, {0, 0x00, 1},    {0, 0x00, 4},    {0, 0x00, 5}, /* SLDT STR VERR VERW */
        {0, 0x02, 0}, {0, 0x03, 0},                                   /* LAR LSL */
        {0, 0xc7, 6}, {0x66, 0xc7, 6}, {0xf3, 0xc7, 6}, {0, 0xc7, 7}, /* VMPTRLD VMCLEAR VMXON */
        {0, 0xc7, 1}, {0, 0x78, 0},    {0, 0x79, 0},                  /* CMPXCHG8B VMREAD */
        {0, 0xae, 0}, {0, 0xae, 1},    {0, 0xae, 4},    {0, 0xae, 5}, /* FXSAVE FXRSTOR XSAVE */
        {0, 0xae, 7}, {0, 0xc7, 3},    {0, 0xc7, 5},    {0, 0xae, 2}, /* CLFLUSH XRSTORS XSAVES */
    };
    unsigned i = random_below(sizeof(forms) / sizeof(forms[0]));
    (void)slot;
    if (one_in(4))
        step(false);
    absolute_prefix(mode);
    if (forms[i].prefix != 0)
        e8(forms[i].prefix);
    e8(0x0f);
    e8(forms[i].op);
    absolute(mode, forms[i].reg, DATA + random_below(0x1c0) * 8);
}

/* INVEPT, INVVPID, INVPCID */
static void emit_invalidate(const struct mode *mode, unsigned slot)
{
    (void)slot;
    mov(mode, AX, random_below(5));
    absolute_prefix(mode);
    bytes("\x66\x0f\x38", 3);
    e8(0x80 + random_below(3));
    absolute(mode, AX, DATA + random_below(0x100) * 16);
}

/* --- segments and tables ---------------------------------------------------------------------- */

static uint16_t random_selector(void)
{
    if (one_in(16))
        return (uint16_t)random64();
    uint32_t selector = random_below(H_GDT_SIZE / 8 + 2) * 8 + random_below(4);
    return (uint16_t)(one_in(8) ? selector | 4 : selector);
}

/* What SS may get where exceptions use it: what it has, or what is refused. */
static uint16_t fragile_ss(void)
{
    static const uint16_t selectors[] = {H_STACK16, H_FLAT32, H_USER_FLAT, 0, H_ABSENT};
    return selectors[random_below(5)];
}

static uint16_t selector_for(const struct mode *mode, unsigned sreg)
{
    bool ss = sreg == 2;
    if (mode->family == FAMILY_REAL)
        return (uint16_t)(ss ? STACK >> 4 : (DATA >> 4) + random_below(0x800));
    if (mode->v86)
        return (uint16_t)random64();
    return ss && mode->fragile ? fragile_ss() : random_selector();
}

/* MOV to a segment register; CS and the two that do not exist are #UD. */
static void emit_segment(const struct mode *mode, unsigned slot)
{
    unsigned sreg = random_below(8);
    (void)slot;
    mov(mode, AX, selector_for(mode, sreg));
    e8(0x8e);
    e8(0xc0 | sreg << 3 | AX);
    if (sreg == 2 && one_in(2))
        bytes("\x0f\xa2", 2); /* CPUID in the shadow */
}

/*
 * LGDT or LIDT of a random operand, and at once of the good one, at the end of the code page; both
 * by CS, whose base never changes, and with nothing that could come between them.
 */
static void emit_table(const struct mode *mode, unsigned slot)
{
    unsigned which = 2 + random_below(2);
    uint32_t good = which == 2 ? GOOD_GDT : GOOD_IDT;
    (void)slot;
    hold_interrupts(mode);
    if (!outer(mode)) {
        mov(mode, AX, DR7_RESET);
        bytes("\x0f\x23\xf8", 3);
    }
    for (unsigned i = 0; i < 2; i++) {
        operand32(mode);
        if (mode->bits != 64)
            e8(0x2e);
        bytes("\x0f\x01", 2);
        absolute(mode, which, i == 0 ? data_address() : good);
    }
}

/* Emulator deviation: QEMU's TCG loads a null TR, and ends itself at the next exception. */
static void emit_lldt_ltr(const struct mode *mode, unsigned slot)
{
    unsigned reg = 2 + random_below(2);
    uint16_t selector = reg == 2 && one_in(2) ? H_LDT : random_selector();
    (void)slot;
    if (reg == 3 && lax() && (selector & 0xfffc) == 0)
        selector = H_ABSENT;
    mov(mode, AX, selector);
    bytes("\x0f\x00", 2);
    e8(0xc0 | reg << 3);
}

/* --- far transfers ---------------------------------------------------------------------------- */

/* Where the page of INT3 is by SELECTOR. */
static uint32_t landing(uint16_t selector, unsigned slot)
{
    return LANDING + slot * SLOT_SIZE - arena_base(selector);
}

/* In real mode and virtual-8086 mode. */
static void emit_far_16(unsigned slot)
{
    unsigned back = random_below(0x800);
    unsigned cs = (LANDING >> 4) - back, ip = back * 16 + slot * SLOT_SIZE;
    switch (random_below(4)) {
    case 0:
        e8(one_in(2) ? 0xea : 0x9a);
        e16(ip);
        e16(cs);
        return;
    case 1:
        e8(0x68);
        e16((unsigned)random64() & 0xfeff); /* FLAGS without TF */
        e8(0x68);
        e16(cs);
        e8(0x68);
        e16(ip);
        e8(0xcf);
        return;
    default:
        e8(0x68);
        e16(cs);
        e8(0x68);
        e16(ip);
        e8(0xcb);
        return;
    }
}

static void push(const struct mode *mode, uint32_t value)
{
    operand32(mode);
    e8(0x68);
    e32(value);
}

static void emit_iret(const struct mode *mode, unsigned slot)
{
    uint16_t selector = random_selector();
    uint32_t flags = (uint32_t)random64() & 0x3ffeff;
    if (mode->bits != 16) {
        push(mode, mode->fragile ? H_USER_FLAT : random_selector());
        push(mode, STACK + 0x8000);
    }
    push(mode, mode->paged && one_in(8) ? flags : flags & ~(uint32_t)RFLAGS_VM);
    push(mode, selector);
    push(mode, landing(selector, slot));
    operand32(mode);
    if (mode->bits == 64)
        e8(0x48);
    e8(0xcf);
}

static void emit_retf(const struct mode *mode, unsigned slot)
{
    uint16_t selector = random_selector();
    push(mode, selector);
    push(mode, landing(selector, slot));
    operand32(mode);
    if (mode->bits == 64)
        e8(0x48);
    e8(0xcb);
}

static void emit_far(const struct mode *mode, unsigned slot)
{
    if (mode->family == FAMILY_REAL || mode->v86) {
        emit_far_16(slot);
        return;
    }
    unsigned form = random_below(mode->bits == 64 ? 2 : 4);
    uint16_t selector = random_selector();
    if (form == 0) {
        emit_iret(mode, slot);
    } else if (form == 1) {
        emit_retf(mode, slot);
    } else {
        operand32(mode);
        e8(form == 2 ? 0xea : 0x9a);
        e32(landing(selector, slot));
        e16(selector);
    }
}

static void emit_int(const struct mode *mode, unsigned slot)
{
    (void)mode, (void)slot;
    if (one_in(4))
        step(false);
    e8(0xcd);
    e8(random_below(256));
}

/* POPF of anything but TF. */
static void emit_flags(const struct mode *mode, unsigned slot)
{
    (void)slot;
    push(mode, (uint32_t)random64() & 0xfffdfeff);
    operand32(mode);
    e8(0x9d);
    if (one_in(2))
        e8(one_in(2) ? 0xfb : 0xfa);
    else
        bytes("\x0f\xa2", 2);
}

/* --- the hole --------------------------------------------------------------------------------- */

/* In the forms that a hypervisor completes: docs/memory-map.md. */
static void emit_hole(const struct mode *mode, unsigned slot)
{
    static const struct code forms[] = {
        {2, "\x89\x03"},     {2, "\x8b\x03"},
        {2, "\x88\x23"},     {2, "\x8a\x0b"},
        {3, "\x0f\xb6\x03"}, {3, "\x0f\xbf\x13"},
        {3, "\x48\x89\x03"}, {3, "\x48\x8b\x0b"},
        {3, "\x66\x8b\x03"}, {3, "\xc6\x03\x11"},
        {1, "\xaa"},         {1, "\xab"},
        {2, "\xf3\xab"},     {3, "\xf3\x48\xab"},
        {3, "\x48\x63\x03"}, {6, "\xc7\x03\x01\x02\x03\x04"},
    };
    const struct code *code = &forms[random_below(sizeof(forms) / sizeof(forms[0]))];
    (void)slot;
    mov64(DI, HOLE_WINDOW + random_below(0xf00));
    bytes("\x48\x89\xfb", 3); /* MOV RBX, RDI */
    mov(mode, CX, random_below(8));
    bytes(code->text, code->n);
}

static bool fits_hole(const struct mode *mode)
{
    return mode->family == FAMILY_LONG && mode->bits == 64;
}

/* Without paging 32-bit addresses lead to where nothing is, which stops a VM. */
static bool fits_bytes(const struct mode *mode)
{
    return mode->family == FAMILY_REAL || mode->paged;
}

const struct operation kinds[] = {
    {"RDMSR", emit_rdmsr, NULL, 8},
    {"WRMSR", emit_wrmsr, NULL, 8},
    {"MOV to CR0, CR3, CR4", emit_mov_to_cr, NULL, 8},
    {"MOV to other CRs", emit_other_cr, NULL, 2},
    {"MOV from CR", emit_mov_from_cr, NULL, 3},
    {"LMSW, CLTS", emit_lmsw, NULL, 2},
    {"MOV to DR", emit_mov_to_dr, NULL, 5},
    {"MOV from DR", emit_mov_from_dr, NULL, 2},
    {"XSETBV, XGETBV", emit_xsetbv, NULL, 4},
    {"IN, OUT", emit_io, NULL, 8},
    {"INS, OUTS", emit_string_io, NULL, 5},
    {"CPUID", emit_cpuid, NULL, 5},
    {"hypercall", emit_hypercall, NULL, 4},
    {"single instruction", emit_single, NULL, 12},
    {"with memory operand", emit_memory_single, NULL, 5},
    {"INVEPT, INVVPID, INVPCID", emit_invalidate, NULL, 2},
    {"segment load", emit_segment, NULL, 6},
    {"LGDT, LIDT", emit_table, NULL, 3},
    {"LLDT, LTR", emit_lldt_ltr, NULL, 2},
    {"far transfer", emit_far, NULL, 6},
    {"INT n", emit_int, NULL, 3},
    {"POPF", emit_flags, NULL, 3},
    {"HLT", emit_hlt, outer, 1},
    {"MONITOR", emit_monitor, NULL, 1},
    {"hole", emit_hole, fits_hole, 3},
    {"the APIC's page", emit_apic_page, fits_apic_page, 8},
    {"the APIC's MSRs", emit_apic_msr, NULL, 6},
    {"IA32_APIC_BASE", emit_apic_base, NULL, 2},
    {"IA32_TSC_DEADLINE", emit_deadline, NULL, 2},
    {"CR8", emit_cr8, fits_cr8, 2},
    {"random bytes", emit_random_bytes, fits_bytes, 14},
};
const unsigned kind_count = sizeof(kinds) / sizeof(kinds[0]);
