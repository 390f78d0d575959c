/*
 * Ports: unassigned ones read all ones and drop writes in every form of IN, OUT, INS and OUTS;
 * string forms move the right bytes and fault where memory is not there.
 *
 * row: io end=0
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"

enum { UNUSED = 0x580, UNUSED_TOP = 0xfffc, SCRATCH_VALUE = 0xa5 };
enum { PF_PRESENT = 1, PF_WRITE = 2, COUNT = 16, BUFFER_SIZE = 0x11000, MIDDLE = 0x1000 - 8 };

#define FORM(name) extern const char form_##name[];
FORM(in_al_imm)
FORM(in_ax_imm)
FORM(in_eax_imm)
FORM(in_ax_dx)
FORM(in_eax_dx)
FORM(in_rexw_dx)
FORM(out_imm_al)
FORM(out_imm_ax)
FORM(out_imm_eax)
FORM(out_dx_ax)
FORM(out_dx_eax)
FORM(in_ax_compat)
FORM(in_eax_compat)
FORM(in_ax_16)
FORM(in_eax_16)
FORM(outsb)
FORM(outsw)
FORM(outsd)
FORM(insb)
FORM(insw)
FORM(insd)
FORM(rep_outsb)
FORM(rep_outsw)
FORM(rep_outsd)
FORM(rep_insb)
FORM(rep_insw)
FORM(rep_insd)
FORM(repne_insb)
FORM(rep_outsb_fs)
FORM(rep_outsb_a32)
FORM(rep_insb_a32)
FORM(rep_outsb_32)
FORM(rep_insb_32)
FORM(rep_outsb_es_32)
FORM(rep_outsb_a16_32)
FORM(rep_insb_a16_32)
FORM(rep_insb_16)
FORM(rep_insd_a32_16)

/* Page aligned, so that MIDDLE lies just before a page's end. */
static uint8_t buffer[BUFFER_SIZE] __attribute__((aligned(PAGE_SIZE)));

static struct registers patterned(void)
{
    struct registers r = {.rflags = RFLAGS_FIXED | RFLAGS_CF};
    for (uint64_t i = 0; i < GPRS; i++)
        r.gpr[i] = (i + 1) * 0x0101010101010101;
    return r;
}

/* Only the halves that a mode has are compared. */
static void expect_registers(const struct registers *now, const struct registers *want, bool compat)
{
    uint64_t mask = compat ? 0xffffffff : ~0ull;
    for (unsigned i = 0; i < (compat ? RDI + 1 : GPRS); i++)
        expect((now->gpr[i] & mask) == (want->gpr[i] & mask), "register %u: %lx, not %lx", i,
               now->gpr[i], want->gpr[i]);
    uint64_t flags = RFLAGS_CF | RFLAGS_DF;
    expect((now->rflags & flags) == (want->rflags & flags), "flags %lx", now->rflags);
}

static struct fault run(const char *code, enum selector cs, struct registers *r)
{
    if (cs != SEL_CODE16)
        return form_run(code, cs, r);
    segment_set_base(SEL_CODE16, (uint32_t)(uint64_t)code);
    return form_run(NULL, cs, r);
}

/* Single IN and OUT: RAX is then (RAX & keep) | set. */
static const struct io_case {
    const char *name;
    const char *code;
    enum selector cs;
    uint16_t port; /* in DX */
    uint64_t keep, set;
} io_cases[] = {
    {"in al, imm8", form_in_al_imm, SEL_CODE64, 0, ~0xffull, 0xff},
    {"in ax, imm8", form_in_ax_imm, SEL_CODE64, 0, ~0xffffull, 0xffff},
    {"in eax, imm8", form_in_eax_imm, SEL_CODE64, 0, 0, 0xffffffff},
    {"in al, dx", form_in_al_dx, SEL_CODE64, UNUSED, ~0xffull, 0xff},
    {"in ax, dx", form_in_ax_dx, SEL_CODE64, UNUSED, ~0xffffull, 0xffff},
    {"in eax, dx", form_in_eax_dx, SEL_CODE64, UNUSED, 0, 0xffffffff},
    {"in eax, dx with REX.W", form_in_rexw_dx, SEL_CODE64, UNUSED, 0, 0xffffffff},
    {"in eax, dx, not aligned", form_in_eax_dx, SEL_CODE64, UNUSED + 3, 0, 0xffffffff},
    {"in eax, dx, the last ports", form_in_eax_dx, SEL_CODE64, UNUSED_TOP, 0, 0xffffffff},
    {"in ax, dx in 32-bit code", form_in_ax_compat, SEL_CODE32, UNUSED, ~0xffffull, 0xffff},
    {"in eax, dx in 32-bit code", form_in_eax_compat, SEL_CODE32, UNUSED, 0, 0xffffffff},
    {"in ax, dx in 16-bit code", form_in_ax_16, SEL_CODE16, UNUSED, ~0xffffull, 0xffff},
    {"in eax, dx in 16-bit code", form_in_eax_16, SEL_CODE16, UNUSED, 0, 0xffffffff},
    {"out imm8, al", form_out_imm_al, SEL_CODE64, 0, ~0ull, 0},
    {"out imm8, ax", form_out_imm_ax, SEL_CODE64, 0, ~0ull, 0},
    {"out imm8, eax", form_out_imm_eax, SEL_CODE64, 0, ~0ull, 0},
    {"out dx, al", form_out_dx_al, SEL_CODE64, UNUSED, ~0ull, 0},
    {"out dx, ax", form_out_dx_ax, SEL_CODE64, UNUSED, ~0ull, 0},
    {"out dx, eax", form_out_dx_eax, SEL_CODE64, UNUSED, ~0ull, 0},
};

static void run_io(const struct io_case *c)
{
    struct registers want = patterned(), now;
    want.gpr[RDX] = (want.gpr[RDX] & ~0xffffull) | c->port;
    now = want;
    struct fault fault = run(c->code, c->cs, &now);
    expect(fault.vector == FAULT_NONE, "vector %d", fault.vector);
    if (!machine.nosnoop && c->port == UNUSED + 3 && now.gpr[RAX] == 0) {
        skip("emulator: ports that are not aligned");
        return;
    }
    want.gpr[RAX] = (want.gpr[RAX] & c->keep) | c->set;
    expect_registers(&now, &want, c->cs != SEL_CODE64);
    expect(in32(UNUSED) == 0xffffffff, "the port kept %x", in32(UNUSED));
}

enum { INS = 1, DOWN = 2, SCRATCH = 4, FS = 8, ES = 16 };

/*
 * String forms: COUNT elements (or one, without REP) between a port and buffer + OFFSET; with FS or
 * ES the address register holds OFFSET alone, from the segment's base. SCRATCH: the port is the
 * UART's scratch register, that shows what was written and gives what is read.
 */
static const struct string_case {
    const char *name;
    const char *code;
    enum selector cs;
    uint8_t width;
    unsigned flags;
    uint32_t count; /* in RCX; 1 for forms without REP, that leave RCX */
    uint32_t offset;
    uint32_t base; /* the segment's, from the buffer's start */
    bool rep;
} string_cases[] = {
    {"outsb", form_outsb, SEL_CODE64, 1, SCRATCH, 1, 0x100, 0, false},
    {"outsw", form_outsw, SEL_CODE64, 2, 0, 1, 0x100, 0, false},
    {"outsd", form_outsd, SEL_CODE64, 4, 0, 1, 0x100, 0, false},
    {"outsd, DF=1", form_outsd, SEL_CODE64, 4, DOWN, 1, 0x100, 0, false},
    {"insb", form_insb, SEL_CODE64, 1, INS | SCRATCH, 1, 0x100, 0, false},
    {"insw", form_insw, SEL_CODE64, 2, INS, 1, 0x100, 0, false},
    {"insd", form_insd, SEL_CODE64, 4, INS, 1, 0x100, 0, false},
    {"insd, DF=1", form_insd, SEL_CODE64, 4, INS | DOWN, 1, 0x100, 0, false},
    {"rep outsb", form_rep_outsb, SEL_CODE64, 1, SCRATCH, COUNT, 0x100, 0, true},
    {"rep outsb, DF=1", form_rep_outsb, SEL_CODE64, 1, SCRATCH | DOWN, COUNT, 0x100, 0, true},
    {"rep outsb across pages", form_rep_outsb, SEL_CODE64, 1, SCRATCH, COUNT, MIDDLE, 0, true},
    {"rep outsb, 0 times", form_rep_outsb, SEL_CODE64, 1, SCRATCH, 0, 0x100, 0, true},
    {"rep outsb, many", form_rep_outsb, SEL_CODE64, 1, SCRATCH, 0x2345, 0x100, 0, true},
    {"rep outsw", form_rep_outsw, SEL_CODE64, 2, 0, COUNT, 0x101, 0, true},
    {"rep outsd", form_rep_outsd, SEL_CODE64, 4, 0, COUNT, 0x100, 0, true},
    {"rep outsd, DF=1", form_rep_outsd, SEL_CODE64, 4, DOWN, COUNT, 0x100, 0, true},
    {"rep outsd across pages", form_rep_outsd, SEL_CODE64, 4, 0, COUNT, MIDDLE + 2, 0, true},
    {"rep insb", form_rep_insb, SEL_CODE64, 1, INS, COUNT, 0x100, 0, true},
    {"rep insb of data", form_rep_insb, SEL_CODE64, 1, INS | SCRATCH, COUNT, 0x100, 0, true},
    {"repne insb", form_repne_insb, SEL_CODE64, 1, INS, COUNT, 0x100, 0, true},
    {"rep insb, DF=1", form_rep_insb, SEL_CODE64, 1, INS | DOWN, COUNT, 0x100, 0, true},
    {"rep insb across pages", form_rep_insb, SEL_CODE64, 1, INS, COUNT, MIDDLE, 0, true},
    {"rep insb, DF=1, across pages", form_rep_insb, SEL_CODE64, 1, INS | DOWN, COUNT, 0x1004, 0,
     true},
    {"rep insb, 0 times", form_rep_insb, SEL_CODE64, 1, INS, 0, 0x100, 0, true},
    {"rep insb, many", form_rep_insb, SEL_CODE64, 1, INS, 0x2345, 0x100, 0, true},
    {"rep insw", form_rep_insw, SEL_CODE64, 2, INS, COUNT, 0x101, 0, true},
    {"rep insw, DF=1", form_rep_insw, SEL_CODE64, 2, INS | DOWN, COUNT, 0x100, 0, true},
    {"rep insd", form_rep_insd, SEL_CODE64, 4, INS, COUNT, 0x100, 0, true},
    {"rep insd across pages", form_rep_insd, SEL_CODE64, 4, INS, COUNT, MIDDLE + 2, 0, true},
    {"rep insd, many, across pages", form_rep_insd, SEL_CODE64, 4, INS, 0x1234, 0x102, 0, true},
    {"rep outsb, FS base", form_rep_outsb_fs, SEL_CODE64, 1, SCRATCH | FS, COUNT, 0x100, 0x800,
     true},
    {"rep outsb, 32-bit address", form_rep_outsb_a32, SEL_CODE64, 1, SCRATCH, COUNT, 0x100, 0,
     true},
    {"rep insb, 32-bit address", form_rep_insb_a32, SEL_CODE64, 1, INS, COUNT, 0x100, 0, true},
    {"rep outsb in 32-bit code", form_rep_outsb_32, SEL_CODE32, 1, SCRATCH, COUNT, 0x100, 0, true},
    {"rep insb in 32-bit code, ES base", form_rep_insb_32, SEL_CODE32, 1, INS | ES, COUNT, 0x100,
     0x800, true},
    {"rep outsb in 32-bit code, ES base", form_rep_outsb_es_32, SEL_CODE32, 1, SCRATCH | ES, COUNT,
     0x100, 0x800, true},
    {"rep outsb in 32-bit code, 16-bit address", form_rep_outsb_a16_32, SEL_CODE32, 1, SCRATCH | ES,
     COUNT, 0x100, 0x800, true},
    {"rep insb in 32-bit code, 16-bit address", form_rep_insb_a16_32, SEL_CODE32, 1, INS | ES,
     COUNT, 0x100, 0x800, true},
    {"rep insb in 16-bit code", form_rep_insb_16, SEL_CODE16, 1, INS | ES, COUNT, 0x100, 0x800,
     true},
    {"rep insd in 16-bit code, 32-bit address", form_rep_insd_a32_16, SEL_CODE16, 4, INS | ES,
     COUNT, 0x100, 0x800, true},
};

/* Different at every place near a case's bytes, and never what a port gives. */
static uint8_t fill_byte(uint32_t offset)
{
    return (uint8_t)(offset * 7 % 97 + 1);
}

static void fill_buffer(void)
{
    for (uint32_t i = 0; i < BUFFER_SIZE; i++)
        buffer[i] = fill_byte(i);
}

/* The first and the last byte that the case reaches. */
static void bounds(const struct string_case *c, uint32_t *low, uint32_t *high)
{
    uint32_t start = c->base + c->offset;
    *low = c->flags & DOWN ? start - (c->count - 1) * c->width : start;
    *high = *low + c->count * c->width;
}

static void check_buffer(const struct string_case *c)
{
    uint32_t low, high;
    bounds(c, &low, &high);
    for (uint32_t i = 0; i < BUFFER_SIZE; i++) {
        bool written = (c->flags & INS) && c->count > 0 && i >= low && i < high;
        uint8_t got = c->flags & SCRATCH ? SCRATCH_VALUE : 0xff;
        uint8_t want = written ? got : fill_byte(i);
        expect(buffer[i] == want, "buffer + %x: %x, not %x", i, buffer[i], want);
    }
}

/* The scratch register holds what OUTS wrote last; without it, what was there. */
static void check_scratch(const struct string_case *c)
{
    if (!console_present())
        return;
    uint32_t step = c->flags & DOWN ? -(c->count - 1) : c->count - 1;
    uint8_t want = SCRATCH_VALUE, got = in8(COM1_SCRATCH);
    if ((c->flags & SCRATCH) && !(c->flags & INS) && c->count > 0)
        want = fill_byte(c->base + c->offset + step);
    expect(got == want, "the scratch register is %x, not %x", got, want);
}

static void run_string(const struct string_case *c)
{
    unsigned index = c->flags & INS ? RDI : RSI;
    struct registers want = patterned(), now;
    if ((c->flags & SCRATCH) && !console_present()) {
        skip("no UART");
        return;
    }
    fill_buffer();
    if (c->flags & FS)
        wrmsr(MSR_FS_BASE, (uint64_t)buffer + c->base);
    segment_set_base(SEL_BASED, c->flags & ES ? (uint32_t)(uint64_t)buffer + c->base : 0);
    want.gpr[RDX] = c->flags & SCRATCH ? COM1_SCRATCH : UNUSED;
    want.gpr[RCX] = c->count;
    want.gpr[index] = (c->flags & (FS | ES) ? 0 : (uint64_t)buffer) + c->offset;
    want.rflags |= c->flags & DOWN ? RFLAGS_DF : 0;
    now = want;
    out8(COM1_SCRATCH, SCRATCH_VALUE);
    struct fault fault = run(c->code, c->cs, &now);
    expect(fault.vector == FAULT_NONE, "vector %d, error %x", fault.vector, fault.error);
    uint64_t bytes = (uint64_t)c->count * c->width;
    want.gpr[index] += c->flags & DOWN ? -bytes : bytes;
    if (c->rep)
        want.gpr[RCX] = 0;
    expect_registers(&now, &want, c->cs != SEL_CODE64);
    check_buffer(c);
    check_scratch(c);
}

/* DI and SI end at FFFFh and go on at 0 of the segment. */
static void wraps(void)
{
    struct registers r = patterned();
    fill_buffer();
    segment_set_base(SEL_BASED, (uint32_t)(uint64_t)buffer);
    r.gpr[RDX] = UNUSED;
    r.gpr[RCX] = 4;
    r.gpr[RDI] = 0x7654fffe;
    run(form_rep_insb_a16_32, SEL_CODE32, &r);
    expect((uint32_t)r.gpr[RDI] == 0x76540002, "EDI %lx", r.gpr[RDI]);
    for (uint32_t i = 0; i < BUFFER_SIZE; i++) {
        uint8_t want = i < 2 || i == 0xfffe || i == 0xffff ? 0xff : fill_byte(i);
        expect(buffer[i] == want, "buffer + %x: %x, not %x", i, buffer[i], want);
    }
    segment_set_base(SEL_BASED, 0);
}

/* One page of the window is there, the next is as SECOND says: the fault comes at its first byte.
 */
static void fault_between(const char *code, unsigned index, uint64_t second, uint32_t error)
{
    enum { BEFORE = 8 };
    volatile uint8_t *page = window_map(1, (uint64_t)buffer, PAGE_P | PAGE_W);
    volatile uint8_t *next = window_map(2, (uint64_t)buffer + PAGE_SIZE, second);
    struct registers r = patterned(), want;
    fill_buffer();
    r.gpr[RDX] = UNUSED;
    r.gpr[RCX] = COUNT;
    r.gpr[index] = (uint64_t)page + PAGE_SIZE - BEFORE;
    want = r;
    struct fault fault = run(code, SEL_CODE64, &r);
    expect(fault.vector == VECTOR_PF, "vector %d", fault.vector);
    expect(fault.error == error, "error %x, not %x", fault.error, error);
    expect(fault.cr2 == (uint64_t)next, "CR2 %lx, not %lx", fault.cr2, (uint64_t)next);
    expect(fault.rip == (uint64_t)code, "RIP %lx, not %lx", fault.rip, (uint64_t)code);
    want.gpr[RCX] = COUNT - BEFORE;
    want.gpr[index] = (uint64_t)next;
    expect_registers(&r, &want, false);

    window_map(2, (uint64_t)buffer + PAGE_SIZE, PAGE_P | PAGE_W);
    fault = run(code, SEL_CODE64, &r); /* resumed, as after the fault's cause is gone */
    expect(fault.vector == FAULT_NONE, "again: vector %d", fault.vector);
    want.gpr[RCX] = 0;
    want.gpr[index] = (uint64_t)next + COUNT - BEFORE;
    expect_registers(&r, &want, false);
}

static void ins_unmapped(void)
{
    fault_between(form_rep_insb, RDI, 0, PF_WRITE);
    for (uint32_t i = 0; i < 2 * PAGE_SIZE; i++) {
        bool written = i >= PAGE_SIZE - 8 && i < PAGE_SIZE - 8 + COUNT;
        uint8_t want = written ? 0xff : fill_byte(i);
        expect(buffer[i] == want, "buffer + %x: %x, not %x", i, buffer[i], want);
    }
}

static void ins_read_only(void)
{
    fault_between(form_rep_insb, RDI, PAGE_P, PF_WRITE | PF_PRESENT);
}

static void outs_unmapped(void)
{
    fault_between(form_rep_outsb, RSI, 0, 0);
}

/* One element that begins on a page and ends on one that is not there: CR2 is that page's start. */
static void ins_split(void)
{
    volatile uint8_t *page = window_map(1, (uint64_t)buffer, PAGE_P | PAGE_W);
    struct registers r = patterned(), want;
    window_map(2, 0, 0);
    r.gpr[RDX] = UNUSED;
    r.gpr[RDI] = (uint64_t)page + PAGE_SIZE - 2;
    want = r;
    struct fault fault = run(form_insd, SEL_CODE64, &r);
    expect(fault.vector == VECTOR_PF, "vector %d", fault.vector);
    expect(fault.error == PF_WRITE, "error %x", fault.error);
    expect(fault.cr2 == (uint64_t)page + PAGE_SIZE, "CR2 %lx", fault.cr2);
    expect_registers(&r, &want, false);
}

static void not_canonical(void)
{
    static const struct {
        const char *code;
        unsigned index;
    } strings[] = {{form_insb, RDI}, {form_outsb, RSI}};
    for (unsigned i = 0; i < ARRAY_SIZE(strings); i++) {
        struct registers r = patterned(), want;
        r.gpr[RDX] = UNUSED;
        r.gpr[strings[i].index] = 0x0000800000000000;
        want = r;
        struct fault fault = run(strings[i].code, SEL_CODE64, &r);
        expect(is_gp0(fault), "vector %d, error %x", fault.vector, fault.error);
        expect_registers(&r, &want, false);
    }
}

static void user(void)
{
    static const char *const code[] = {form_in_al_dx, form_out_dx_al, form_in_eax_imm,
                                       form_rep_insb, form_rep_outsb};
    for (unsigned i = 0; i < ARRAY_SIZE(code); i++) {
        struct registers r = patterned();
        r.gpr[RDX] = UNUSED;
        struct fault fault = run(code[i], SEL_USER_CODE64, &r);
        expect(is_gp0(fault), "form %u: vector %d, error %x", i, fault.vector, fault.error);
        expect(fault.rip == (uint64_t)code[i], "form %u: RIP %lx", i, fault.rip);
    }
}

static void scratch(void)
{
    for (unsigned value = 0; value < 256; value++) {
        out8(COM1_SCRATCH, (uint8_t)value);
        expect(in8(COM1_SCRATCH) == value, "wrote %x, read %x", value, in8(COM1_SCRATCH));
    }
}

static const char *needs_uart(void)
{
    return console_present() ? NULL : "no UART";
}

static const struct test_case cases[] = {
    {"UART: the scratch register stores", needs_uart, scratch},
    {"rep insb: DI wraps at 64 KiB", NULL, wraps},
    {"rep insb: #PF on an unmapped page", NULL, ins_unmapped},
    {"rep insb: #PF on a read-only page", NULL, ins_read_only},
    {"rep outsb: #PF on an unmapped page", NULL, outs_unmapped},
    {"insd: #PF on its second page", NULL, ins_split},
    {"ins, outs: #GP on an address that is not canonical", NULL, not_canonical},
    {"in, out, ins, outs: #GP at CPL 3", NULL, user},
};

void test_main(void)
{
    ktap_begin(ARRAY_SIZE(cases) + ARRAY_SIZE(io_cases) + ARRAY_SIZE(string_cases));
    ktap_run(cases, ARRAY_SIZE(cases));
    for (unsigned i = 0; i < ARRAY_SIZE(io_cases); i++) {
        ktap_start(io_cases[i].name);
        run_io(&io_cases[i]);
        ktap_finish();
    }
    for (unsigned i = 0; i < ARRAY_SIZE(string_cases); i++) {
        ktap_start(string_cases[i].name);
        run_string(&string_cases[i]);
        ktap_finish();
    }
    ktap_end();
}
