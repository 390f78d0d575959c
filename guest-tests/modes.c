/*
 * Every mode of the CPU, reached from 64-bit mode by way of 32-bit mode without paging and left in
 * the same way; in each the instructions that exit, with their results, lengths and faults.
 *
 * row: modes end=0 timeout=60
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/mode.h"
#include "lib/format.h"

enum { UNUSED = 0x580, SCRATCH_VALUE = 0xa5, COUNT = 300, OFFSET = 0x800, FILLED = 0x1000 };

#define ALL_ONES 0xffffffffull
#define PATTERN  0x1122334455667788ull
#define IOPL_3   (3ull << 12)
#define WC_BASE  (0x12345000ull | MT_WC)

#define CODE(name) extern const struct mode_code op_##name;
CODE(cpuid)
CODE(rdmsr)
CODE(wrmsr)
CODE(wbinvd)
CODE(hlt)
CODE(clts)
CODE(cli)
CODE(smsw)
CODE(lmsw)
CODE(in8)
CODE(in16)
CODE(in32)
CODE(out8)
CODE(out32)
CODE(outsb)
CODE(outsb_other)
CODE(outsb_fs)
CODE(rep_outsb)
CODE(rep_outsb_other)
CODE(insb)
CODE(rep_insb)
CODE(rep_insb_other)
CODE(rep_insd)
CODE(cr0)
CODE(cr4)
CODE(from_cr0)
CODE(from_cr3)
CODE(from_cr4)
CODE(to_cr3)
CODE(outsb_ss_other)
CODE(insb_null)
CODE(insb_code)
CODE(insb_down)
CODE(insd_down)
CODE(insd_wraps)
CODE(load)
CODE(load8)
CODE(store)

/* CR3 of the last two groups is filled in as the test begins. */
static struct mode modes[] = {
    {.name = "real", .kind = MODE_REAL, .bits = 16},
    {.name = "big real", .kind = MODE_BIG_REAL, .bits = 16},
    {.name = "16-bit, unpaged", .kind = MODE_16, .bits = 16},
    {.name = "32-bit, unpaged", .kind = MODE_32, .bits = 32},
    {.name = "32-bit, EIP wraps", .kind = MODE_32, .bits = 32, .based = true},
    {.name = "32-bit paging", .kind = MODE_32, .bits = 32, .cr0 = CR0_PG},
    {.name = "PSE", .kind = MODE_32, .bits = 32, .cr0 = CR0_PG, .cr4 = CR4_PSE},
    {.name = "PSE, 16-bit", .kind = MODE_16, .bits = 16, .cr0 = CR0_PG, .cr4 = CR4_PSE},
    {.name = "PSE, virtual-8086", .kind = MODE_V86, .bits = 16, .cr0 = CR0_PG, .cr4 = CR4_PSE},
    {.name = "PSE, CPL 3", .kind = MODE_USER, .bits = 32, .cr0 = CR0_PG, .cr4 = CR4_PSE},
    {.name = "PAE", .kind = MODE_32, .bits = 32, .cr0 = CR0_PG, .cr4 = CR4_PAE},
    {.name = "PAE, EIP wraps",
     .kind = MODE_32,
     .bits = 32,
     .cr0 = CR0_PG,
     .cr4 = CR4_PAE,
     .based = true},
    {.name = "PAE, 16-bit", .kind = MODE_16, .bits = 16, .cr0 = CR0_PG, .cr4 = CR4_PAE},
    {.name = "PAE, virtual-8086", .kind = MODE_V86, .bits = 16, .cr0 = CR0_PG, .cr4 = CR4_PAE},
    {.name = "PAE, virtual-8086, VME",
     .kind = MODE_V86,
     .bits = 16,
     .cr0 = CR0_PG,
     .cr4 = CR4_PAE | CR4_VME},
    {.name = "PAE, CPL 3", .kind = MODE_USER, .bits = 32, .cr0 = CR0_PG, .cr4 = CR4_PAE},
    {.name = "compatibility, 16-bit",
     .kind = MODE_16,
     .bits = 16,
     .cr0 = CR0_PG,
     .cr4 = CR4_PAE,
     .efer = EFER_LME},
    {.name = "compatibility",
     .kind = MODE_32,
     .bits = 32,
     .cr0 = CR0_PG,
     .cr4 = CR4_PAE,
     .efer = EFER_LME},
    {.name = "compatibility, EIP wraps",
     .kind = MODE_32,
     .bits = 32,
     .cr0 = CR0_PG,
     .cr4 = CR4_PAE,
     .efer = EFER_LME,
     .based = true},
    {.name = "compatibility, CPL 3",
     .kind = MODE_USER,
     .bits = 32,
     .cr0 = CR0_PG,
     .cr4 = CR4_PAE,
     .efer = EFER_LME},
    {.name = "64-bit",
     .kind = MODE_64,
     .bits = 64,
     .cr0 = CR0_PG,
     .cr4 = CR4_PAE,
     .efer = EFER_LME},
    {.name = "64-bit, 5 levels",
     .kind = MODE_64,
     .bits = 64,
     .cr0 = CR0_PG,
     .cr4 = CR4_PAE | CR4_LA57,
     .efer = EFER_LME},
    {.name = "compatibility, 5 levels",
     .kind = MODE_32,
     .bits = 32,
     .cr0 = CR0_PG,
     .cr4 = CR4_PAE | CR4_LA57,
     .efer = EFER_LME},
};

static void set_tables(void)
{
    for (struct mode *m = modes; m < modes + ARRAY_SIZE(modes); m++)
        m->cr3 = mode_tables(m);
}

static bool privileged(const struct mode *m)
{
    return m->kind != MODE_V86 && m->kind != MODE_USER;
}

static uint64_t pe_of(const struct mode *m)
{
    return m->kind != MODE_REAL && m->kind != MODE_BIG_REAL ? CR0_PE : 0;
}

static struct registers patterned(void)
{
    struct registers r = {.rflags = RFLAGS_FIXED | RFLAGS_CF};
    for (uint64_t i = 0; i < GPRS; i++)
        r.gpr[i] = PATTERN + i * 0x0101010101010101;
    return r;
}

static uint64_t width_mask(const struct mode *m)
{
    return m->bits == 64 ? ~0ull : ALL_ONES;
}

/* All registers that the mode has, but ESP, are as in WANT. */
static void expect_registers(const struct mode *m, const struct registers *now,
                             const struct registers *want)
{
    for (unsigned i = 0; i < (m->bits == 64 ? GPRS : RDI + 1); i++)
        if (i != RSP)
            expect((now->gpr[i] & width_mask(m)) == (want->gpr[i] & width_mask(m)),
                   "register %u: %lx, not %lx", i, now->gpr[i], want->gpr[i]);
    expect((now->rflags & RFLAGS_CF) == (want->rflags & RFLAGS_CF), "flags %lx", now->rflags);
}

/* It ends at its end. */
static bool runs(const struct mode *m, const struct mode_code *code, struct registers *r)
{
    struct fault fault = mode_run(m, code, MODE_CODE, r);
    return expect(fault.vector == FAULT_NONE, "vector %d, error %x, CR2 %lx, RIP + %lx",
                  fault.vector, fault.error, fault.cr2, fault.rip);
}

/* #GP(0) at its beginning, and nothing changed. */
static void refused(const struct mode *m, const struct mode_code *code, struct registers r)
{
    struct registers now = r;
    struct fault fault = mode_run(m, code, MODE_CODE, &now);
    expect(is_gp0(fault) && fault.rip == 0, "vector %d, error %x, RIP + %lx", fault.vector,
           fault.error, fault.rip);
    expect_registers(m, &now, &r);
}

static void cpuid_leaves(const struct mode *m)
{
    static const uint32_t leaves[] = {0, 7, 0x40000000, 0x80000000, 0x80000008};
    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++) {
        struct registers r = patterned(), want = r;
        struct cpuid_regs c = cpuid(leaves[i], 0);
        r.gpr[RAX] = PATTERN << 32 | leaves[i];
        r.gpr[RCX] = PATTERN << 32;
        want.gpr[RAX] = c.eax;
        want.gpr[RBX] = c.ebx;
        want.gpr[RCX] = c.ecx;
        want.gpr[RDX] = c.edx;
        if (runs(m, &op_cpuid, &r))
            expect_registers(m, &r, &want);
    }
}

static void msrs(const struct mode *m)
{
    const uint32_t msr = MSR_MTRR_PHYSBASE0 + 14;
    struct registers r = patterned(), want;
    uint64_t old = rdmsr(msr);
    r.gpr[RCX] = msr;
    r.gpr[RAX] = (uint32_t)WC_BASE;
    r.gpr[RDX] = WC_BASE >> 32;
    if (!privileged(m)) {
        refused(m, &op_rdmsr, r);
        refused(m, &op_wrmsr, r);
        return;
    }
    want = r;
    if (runs(m, &op_wrmsr, &r))
        expect_registers(m, &r, &want);
    expect(rdmsr(msr) == WC_BASE, "%lx stored", rdmsr(msr));
    r.gpr[RAX] = r.gpr[RDX] = PATTERN;
    if (runs(m, &op_rdmsr, &r))
        expect_registers(m, &r, &want);
    wrmsr(msr, old);
}

static void unknown_msr(const struct mode *m)
{
    struct registers r = patterned();
    r.gpr[RCX] = 0x12345;
    if (!machine.nosnoop) {
        skip("emulator: no #GP from MSRs");
        return;
    }
    refused(m, &op_rdmsr, r);
    refused(m, &op_wrmsr, r);
}

static void in_one(const struct mode *m, const struct mode_code *code, uint64_t keep,
                   uint64_t value)
{
    struct registers r = patterned(), want;
    r.gpr[RDX] = UNUSED;
    want = r;
    want.gpr[RAX] = (r.gpr[RAX] & keep) | value;
    if (runs(m, code, &r))
        expect_registers(m, &r, &want);
}

static void ports(const struct mode *m)
{
    struct registers r = patterned(), want;
    in_one(m, &op_in8, ~0xffull, 0xff);
    in_one(m, &op_in16, ~0xffffull, 0xffff);
    in_one(m, &op_in32, 0, ALL_ONES);
    r.gpr[RDX] = UNUSED;
    want = r;
    if (runs(m, &op_out32, &r))
        expect_registers(m, &r, &want);
    if (!console_present())
        return;
    r.gpr[RDX] = COM1_SCRATCH;
    if (runs(m, &op_out8, &r))
        expect(in8(COM1_SCRATCH) == (uint8_t)PATTERN, "%x in the port", in8(COM1_SCRATCH));
    r.gpr[RAX] = 0;
    if (runs(m, &op_in8, &r))
        expect((r.gpr[RAX] & ALL_ONES) == (uint8_t)PATTERN, "%lx from the port", r.gpr[RAX]);
}

/* By the bitmap of the TSS, where the CPL is beyond the IOPL and in virtual-8086 mode. */
static void denied_port(const struct mode *m)
{
    struct registers r = patterned();
    r.gpr[RDX] = MODE_DENIED_PORT;
    if (privileged(m)) {
        if (runs(m, &op_in8, &r))
            expect((uint8_t)r.gpr[RAX] == 0xff, "%lx", r.gpr[RAX]);
        return;
    }
    refused(m, &op_in8, r);
    refused(m, &op_out32, r);
    refused(m, &op_outsb, r);
    refused(m, &op_rep_insb, r);
}

static uint8_t *data(void)
{
    uintptr_t address = LOW_DATA;
    __asm__("" : "+r"(address)); /* an object there is unknown to the compiler */
    return (uint8_t *)address;
}

static uint8_t fill_byte(uint32_t i)
{
    return (uint8_t)(i * 7 % 97 + 1);
}

static void fill(void)
{
    for (uint32_t i = 0; i < FILLED; i++)
        data()[i] = fill_byte(i);
}

/* The address of LOW_DATA + OFFSET in DS and ES; upper bits are there to be ignored. */
static uint64_t address_of(const struct mode *m, uint32_t offset, unsigned address_bits)
{
    if (m->bits == 64)
        return LOW_DATA + offset;
    return address_bits == 16 ? 0x77660000 | offset : offset;
}

static unsigned other_bits(const struct mode *m)
{
    return m->bits == 32 ? 16 : 32;
}

/* OUTS of COUNT bytes: the last is in the UART's scratch register, the index and count went on. */
static void outs(const struct mode *m, const struct mode_code *code, unsigned address_bits,
                 bool rep, uint64_t start)
{
    struct registers r = patterned(), want;
    uint32_t count = rep ? COUNT : 1;
    r.gpr[RDX] = COM1_SCRATCH;
    r.gpr[RSI] = start;
    if (rep)
        r.gpr[RCX] = address_bits == 16 ? 0x66550000 | COUNT : COUNT;
    want = r;
    want.gpr[RSI] += count;
    want.gpr[RCX] -= rep ? count : 0;
    out8(COM1_SCRATCH, SCRATCH_VALUE);
    if (runs(m, code, &r))
        expect_registers(m, &r, &want);
    uint8_t last = fill_byte(OFFSET + count - 1), got = in8(COM1_SCRATCH);
    expect(!console_present() || got == last, "%x in the port, not %x", got, last);
}

static void outs_forms(const struct mode *m)
{
    unsigned own = m->bits, other = other_bits(m);
    fill();
    outs(m, &op_outsb, own, false, address_of(m, OFFSET, own));
    outs(m, &op_outsb_other, other, false, address_of(m, OFFSET, other));
    outs(m, &op_outsb_fs, own, false, own == 16 ? 0x77660000 | OFFSET : OFFSET);
    outs(m, &op_rep_outsb, own, true, address_of(m, OFFSET, own));
    outs(m, &op_rep_outsb_other, other, true, address_of(m, OFFSET, other));
}

static void ins(const struct mode *m, const struct mode_code *code, unsigned address_bits, bool rep,
                unsigned width)
{
    struct registers r = patterned(), want;
    uint32_t count = rep ? COUNT : 1;
    fill();
    r.gpr[RDX] = UNUSED;
    r.gpr[RDI] = address_of(m, OFFSET, address_bits);
    if (rep)
        r.gpr[RCX] = address_bits == 16 ? 0x66550000 | COUNT : COUNT;
    want = r;
    want.gpr[RDI] += (uint64_t)count * width;
    want.gpr[RCX] -= rep ? count : 0;
    if (runs(m, code, &r))
        expect_registers(m, &r, &want);
    for (uint32_t i = 0; i < FILLED; i++) {
        uint8_t byte = i >= OFFSET && i < OFFSET + count * width ? 0xff : fill_byte(i);
        expect(data()[i] == byte, "at %x: %x, not %x", i, data()[i], byte);
    }
}

static void ins_forms(const struct mode *m)
{
    ins(m, &op_insb, m->bits, false, 1);
    ins(m, &op_rep_insb, m->bits, true, 1);
    ins(m, &op_rep_insb_other, other_bits(m), true, 1);
    ins(m, &op_rep_insd, m->bits, true, 4);
}

/* OLD and NEXT are what MOV reads of a register that is set to the second and back. */
static void expect_toggled(const struct mode *m, const struct mode_code *code, uint64_t old,
                           uint64_t next)
{
    struct registers r = patterned(), want;
    r.gpr[RCX] = old;
    r.gpr[RAX] = next;
    want = r;
    want.gpr[RBX] = next;
    want.gpr[RDX] = old;
    if (runs(m, code, &r))
        expect_registers(m, &r, &want);
}

static void cr0(const struct mode *m)
{
    struct registers r = patterned();
    uint64_t pe = pe_of(m);
    if (!privileged(m)) {
        refused(m, &op_from_cr0, r);
        refused(m, &op_cr0, r);
        refused(m, &op_clts, r);
        refused(m, &op_lmsw, r);
        return;
    }
    if (!runs(m, &op_from_cr0, &r))
        return;
    uint64_t old = r.gpr[RAX] & width_mask(m);
    uint64_t want = (read_cr0() & ~(CR0_PG | CR0_PE)) | m->cr0 | pe;
    expect(old == want, "CR0 %lx, not %lx", old, want);
    expect_toggled(m, &op_cr0, old, old ^ CR0_WP);
    expect_toggled(m, &op_cr0, old, old ^ CR0_NE);
    expect_toggled(m, &op_cr0, old, old | CR0_CD);
    expect_toggled(m, &op_cr0, old, old | CR0_CD | CR0_NW | CR0_TS);
}

static void machine_status(const struct mode *m)
{
    struct registers r = patterned();
    uint64_t pe = pe_of(m);
    uint64_t low = (read_cr0() & 0xfffe) | pe;
    if (runs(m, &op_smsw, &r))
        expect((r.gpr[RAX] & 0xffff) == low, "SMSW %lx, not %lx", r.gpr[RAX], low);
    if (!privileged(m))
        return;
    r.gpr[RAX] = CR0_TS | CR0_MP | pe;
    struct registers want = r;
    if (runs(m, &op_lmsw, &r))
        expect_registers(m, &r, &want);
    if (runs(m, &op_clts, &r))
        expect_registers(m, &r, &want);
    expect((read_cr0() & CR0_TS) == 0, "TS is set");
}

static void cr3(const struct mode *m)
{
    struct registers r = patterned();
    if (!privileged(m)) {
        refused(m, &op_from_cr3, r);
        refused(m, &op_to_cr3, r);
        return;
    }
    r.gpr[RAX] = m->cr3;
    struct registers want = r;
    want.gpr[RBX] = m->cr3;
    if (runs(m, &op_to_cr3, &r))
        expect_registers(m, &r, &want);
}

static void cr4(const struct mode *m)
{
    struct registers r = patterned();
    if (!privileged(m)) {
        refused(m, &op_from_cr4, r);
        refused(m, &op_cr4, r);
        return;
    }
    uint64_t want = (read_cr4() & ~CR4_PAE) | m->cr4;
    if (!runs(m, &op_from_cr4, &r))
        return;
    expect((r.gpr[RAX] & width_mask(m)) == want, "CR4 %lx, not %lx", r.gpr[RAX], want);
    expect_toggled(m, &op_cr4, want, want ^ CR4_MCE);
    expect_toggled(m, &op_cr4, want, want ^ (CR4_DE | CR4_TSD));
    expect_toggled(m, &op_cr4, want, want ^ CR4_PGE);
}

static void write_back(const struct mode *m)
{
    struct registers r = patterned(), want = r;
    if (!privileged(m))
        refused(m, &op_wbinvd, r);
    else if (runs(m, &op_wbinvd, &r))
        expect_registers(m, &r, &want);
}

/* CPL 3 may not halt; elsewhere that would be the end. */
static void halt(const struct mode *m)
{
    if (privileged(m))
        skip("HLT at CPL 0 ends the machine");
    else
        refused(m, &op_hlt, patterned());
}

static void hole(const struct mode *m)
{
    struct registers r = patterned(), want;
    if (!machine.nosnoop || m->kind == MODE_REAL) {
        skip(machine.nosnoop ? "out of reach" : "only under the hypervisor");
        return;
    }
    r.gpr[RBX] = m->kind == MODE_V86 ? 0x40 : MODE_HOLE + 0x40;
    want = r;
    if (runs(m, &op_store, &r))
        expect_registers(m, &r, &want);
    want.gpr[RAX] = ALL_ONES;
    if (runs(m, &op_load, &r))
        expect_registers(m, &r, &want);
    want.gpr[RDX] |= 0xff;
    if (runs(m, &op_load8, &r))
        expect_registers(m, &r, &want);
}

static const struct group {
    const char *name;
    void (*run)(const struct mode *mode);
} groups[] = {
    {"CPUID", cpuid_leaves},
    {"RDMSR, WRMSR", msrs},
    {"unknown MSRs are #GP", unknown_msr},
    {"IN, OUT", ports},
    {"IN, OUT by the TSS's bitmap", denied_port},
    {"OUTS", outs_forms},
    {"INS", ins_forms},
    {"CR0, CLTS, LMSW", cr0},
    {"SMSW", machine_status},
    {"CR3", cr3},
    {"CR4", cr4},
    {"WBINVD", write_back},
    {"HLT at CPL 3", halt},
    {"the hole", hole},
};

static const char *lacks(const struct mode *m)
{
    if ((m->cr4 & CR4_LA57) != 0 && (cpuid(7, 0).ecx & 1 << 16) == 0)
        return "the CPU has no 5-level paging";
    if ((m->cr4 & CR4_VME) != 0 && (cpuid(1, 0).edx & 1 << 1) == 0)
        return "the CPU has no VME";
    return NULL;
}

/* VECTOR with error code 0, at the last instruction, of LENGTH bytes. */
static void expect_stopped(const struct mode *m, const struct mode_code *code,
                           const struct registers *before, enum vector vector, unsigned length)
{
    struct registers r = *before;
    struct fault fault = mode_run(m, code, MODE_CODE, &r);
    if (fault.vector != (int)vector && !machine.nosnoop && !machine.intel) {
        skip("emulator: INS and OUTS check no segments");
        return;
    }
    expect(fault.vector == (int)vector && fault.error == 0 &&
               fault.rip == mode_length(m, code) - length,
           "vector %d, error %x, RIP + %lx", fault.vector, fault.error, fault.rip);
}

static bool real_segments(const struct mode *m)
{
    return pe_of(m) == 0 || m->kind == MODE_V86;
}

/* The segments end at FFFFh but in big real mode. */
static void beyond_limit(const struct mode *m)
{
    bool small = m->bits == 16;
    struct registers r = patterned();
    r.gpr[RDX] = UNUSED;
    r.gpr[RSI] = r.gpr[RDI] = 0x10000;
    if (m->kind != MODE_BIG_REAL) {
        expect_stopped(m, small ? &op_outsb_other : &op_outsb, &r, VECTOR_GP, small ? 2 : 1);
        r.gpr[RCX] = 1;
        r.gpr[RDI] = 0xfffd;
        expect_stopped(m, &op_rep_insd, &r, VECTOR_GP, small ? 3 : 2);
    }
    if (real_segments(m))
        expect_stopped(m, &op_outsb_ss_other, &r, VECTOR_SS, 3);
}

/* No segment, one of code, and one that expands down. */
static void wrong_segment(const struct mode *m)
{
    struct registers r = patterned();
    r.gpr[RDX] = UNUSED;
    r.gpr[RDI] = EXPAND_DOWN;
    expect_stopped(m, &op_insb_null, &r, VECTOR_GP, 1);
    expect_stopped(m, &op_insb_code, &r, VECTOR_GP, 1);
    runs(m, &op_insb_down, &r);
    r.gpr[RDI] = EXPAND_DOWN - 1;
    expect_stopped(m, &op_insb_down, &r, VECTOR_GP, 1);
    r.gpr[RDI] = 0xfffd;
    expect_stopped(m, &op_insd_down, &r, VECTOR_GP, m->bits == 16 ? 2 : 1);
}

/* Two bytes at the end of 4 GiB, in the hole, and two at 0. */
static void wraps_at_4g(const struct mode *m)
{
    struct registers r = patterned();
    uintptr_t zero = 0;
    __asm__("" : "+r"(zero)); /* an object there is unknown to the compiler */
    volatile uint32_t *first = (volatile uint32_t *)zero;
    uint32_t old = *first;
    *first = 0;
    r.gpr[RDX] = UNUSED;
    r.gpr[RDI] = (uint32_t)-2 - WRAP_BASE;
    struct fault fault = mode_run(m, &op_insd_wraps, MODE_CODE, &r);
    if (fault.cr2 == 1ull << 32 && !machine.nosnoop && !machine.intel)
        skip("emulator: long mode does not wrap at 4 GiB");
    else
        expect(fault.vector == FAULT_NONE && *first == 0xffff, "vector %d, CR2 %lx, %x at 0",
               fault.vector, fault.cr2, *first);
    *first = old;
}

/* The first address that is not canonical, and an element that goes on there. */
static void not_canonical(const struct mode *m)
{
    struct registers r = patterned();
    r.gpr[RDX] = UNUSED;
    r.gpr[RCX] = 1;
    r.gpr[RSI] = r.gpr[RDI] = (m->cr4 & CR4_LA57) != 0 ? 1ull << 56 : 1ull << 47;
    expect_stopped(m, &op_outsb, &r, VECTOR_GP, 1);
    expect_stopped(m, &op_rep_insd, &r, VECTOR_GP, 2);
    r.gpr[RDI] -= 2;
    expect_stopped(m, &op_rep_insd, &r, VECTOR_GP, 2);
}

/*
 * Behind the last byte of 64 KiB the next instruction is beyond the limit: IP does not go on at 0
 * (SDM, "Segment Wraparound").
 */
static void past_64k(const struct mode *m)
{
    struct registers r = patterned();
    r.gpr[RAX] = 0x0b0f; /* UD2 at 0, where IP goes on if it wraps */
    struct fault fault = mode_run(m, &op_cpuid, LOW_SIZE - 2, &r);
    if (fault.vector != VECTOR_GP && !machine.intel)
        skip("emulator: no segment limits");
    else
        expect(is_gp0(fault) && fault.rip == 2, "vector %d, RIP + %lx", fault.vector, fault.rip);
}

/* VIF and VIP are what CLI clears where the IOPL is below 3. */
static void cli(const struct mode *m)
{
    struct registers r = patterned();
    r.rflags |= IOPL_3;
    runs(m, &op_cli, &r);
    r = patterned();
    if ((m->cr4 & CR4_VME) == 0) {
        refused(m, &op_cli, r);
        return;
    }
    struct fault fault = mode_run(m, &op_cli, MODE_CODE, &r);
    if (fault.vector == VECTOR_GP && !machine.intel)
        skip("emulator: VME has no effect");
    else
        expect(fault.vector == FAULT_NONE, "vector %d", fault.vector);
}

static void run_group(const struct mode *m, const struct group *g)
{
    char name[80];
    format(name, sizeof(name), "%s: %s", m->name, g->name);
    ktap_start(name);
    if (lacks(m) != NULL)
        skip(lacks(m));
    else
        g->run(m);
    ktap_finish();
}

static bool is_16_bit(const struct mode *m)
{
    return m->bits == 16;
}

static bool is_v86(const struct mode *m)
{
    return m->kind == MODE_V86;
}

static bool is_64_bit(const struct mode *m)
{
    return m->bits == 64;
}

static bool has_limits(const struct mode *m)
{
    return m->bits != 64 && !m->based;
}

static bool has_descriptors(const struct mode *m)
{
    return has_limits(m) && privileged(m) && pe_of(m) != 0;
}

/* And the end of 4 GiB mapped. */
static bool reaches_4g(const struct mode *m)
{
    return m->bits == 32 && has_descriptors(m) && ((m->cr0 & CR0_PG) == 0 || m->cr4 != 0);
}

/* Groups that not all modes have. */
static const struct {
    struct group group;
    bool (*has)(const struct mode *mode);
} some[] = {
    {{"IP beyond FFFFh", past_64k}, is_16_bit},
    {{"CLI by IOPL", cli}, is_v86},
    {{"INS, OUTS beyond a limit", beyond_limit}, has_limits},
    {{"INS to a segment that forbids it", wrong_segment}, has_descriptors},
    {{"INS across 4 GiB", wraps_at_4g}, reaches_4g},
    {{"INS, OUTS to addresses that are not canonical", not_canonical}, is_64_bit},
};

static unsigned count_cases(void)
{
    unsigned count = ARRAY_SIZE(modes) * ARRAY_SIZE(groups);
    for (const struct mode *m = modes; m < modes + ARRAY_SIZE(modes); m++)
        for (unsigned i = 0; i < ARRAY_SIZE(some); i++)
            count += some[i].has(m) ? 1u : 0;
    return count;
}

void test_main(void)
{
    mode_init();
    set_tables();
    ktap_begin(count_cases());
    for (const struct mode *m = modes; m < modes + ARRAY_SIZE(modes); m++) {
        for (const struct group *g = groups; g < groups + ARRAY_SIZE(groups); g++)
            run_group(m, g);
        for (unsigned i = 0; i < ARRAY_SIZE(some); i++)
            if (some[i].has(m))
                run_group(m, &some[i].group);
    }
    ktap_end();
}
