/*
 * Page tables that lie in the hole, whose entries read as all ones, or nowhere; and what accesses
 * on the guest's behalf leave in its tables and respect of their rights. In a control run a page
 * full of ones stands for the hole.
 *
 * row: tables end=0
 * row: tables.nowhere end=126 plan=no stopped="page tables at GPA 0xb0000" cmdline="part=nowhere"
 * row: tables.ones32 end=126 plan=no stopped="give no fault" cmdline="part=ones32"
 * row: tables.form end=126 plan=no stopped="f0 0f c1 03" cmdline="part=form"
 * row: tables.tail end=126 plan=no stopped="fetch from the hole" cmdline="part=tail"
 * row: tables.stop end=126 plan=no stopped="page tables at GPA 0xd0000" cmdline="part=load"
 *      set="unmapped=stop"
 * row: tables.idt end=126 plan=no stopped="delivery of vector 6" cmdline="part=idt" control=127
 * row: tables.triple end=126 plan=no stopped="reset" cmdline="part=triple" control=127
 * row: tables.cr3 end=126 plan=no stopped="reset" cmdline="part=cr3" control=127
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/mode.h"
#include "lib/assert.h"
#include "lib/format.h"
#include "lib/string.h"

#define HOLE    0xd0000000ull
#define NOWHERE 0xb0000000ull

/* Entries of page tables. */
#define P  0x1ull
#define W  0x2ull
#define U  0x4ull
#define A  0x20ull
#define D  0x40ull
#define PS 0x80ull

/* Error codes of #PF. */
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_ID = 16 };

/* Linear addresses that the tables below lead to: one good 2 MiB, the next three by the hole. */
#define GOOD    (1ull << 39)
#define BAD_PT  (GOOD + 2 * MIB)
#define GOOD2   (GOOD + 4 * MIB)
#define BAD_PD  (GOOD + GIB)
#define BAD_PDP (2ull << 39)
#define BAD_PML (1ull << 48) /* with five levels */

enum { STACK_SIZE = 4096, RFLAGS_IOPL = 3 << 12, PORT = 0x80, LEAF7_SMEP = 7, LEAF7_SMAP = 20 };

typedef uint64_t table[512] __attribute__((aligned(PAGE_SIZE)));

static table ones, pdpt, pd, pt, pt2, data, code, tail;
static uint32_t pd32[1024] __attribute__((aligned(PAGE_SIZE)));
static uint32_t pt32[1024] __attribute__((aligned(PAGE_SIZE)));
static uint8_t stack[STACK_SIZE] __attribute__((aligned(16)));
static uint64_t *pml4;
static uint64_t hole; /* where ones are read */

extern const char form_load[], form_store[], form_jump[], form_load_byte[], form_stos[];
extern const char form_xadd[], form_ud2[], form_divide[];
extern const char form_outsb[], form_outsd[], form_insb[], form_insd[];
extern const struct mode_code op_load, op_store, op_jump, op_load_cr3;
extern uint64_t gdt[];

static void flush(void)
{
    write_cr3(read_cr3());
}

static void build(void)
{
    const uint64_t all = P | W | U;
    hole = machine.nosnoop ? HOLE : (uint64_t)ones;
    memset(ones, 0xff, sizeof(ones));
    pml4 = (uint64_t *)(read_cr3() & ~0xfffull);
    pml4[1] = (uint64_t)pdpt | all;
    pml4[2] = hole | all;
    pdpt[0] = (uint64_t)pd | all;
    pdpt[1] = hole | all;
    pd[0] = (uint64_t)pt | all;
    pd[1] = hole | all;
    pd[2] = (uint64_t)pt2 | all;
    pt[0] = (uint64_t)data | all;
    pt[1] = (uint64_t)code | all;
    pt[2] = hole | all;
    pt[511] = pt[510] = (uint64_t)tail | all;
    pt2[0] = (uint64_t)data | all;
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE); /* error codes tell fetches then */
    flush();
}

static struct registers registers(uint64_t rbx)
{
    struct registers r = {.rflags = RFLAGS_FIXED};
    r.gpr[RBX] = rbx;
    r.gpr[RCX] = 1;
    r.gpr[RDX] = PORT;
    r.gpr[RSI] = r.gpr[RDI] = rbx;
    r.gpr[RSP] = (uint64_t)(stack + sizeof(stack));
    return r;
}

static struct fault run(const void *rip, enum selector cs, uint64_t rbx)
{
    struct registers r = registers(rbx);
    return form_run(rip, cs, &r);
}

/* A reserved bit, as the manuals have it but for P: the emulator's, in a control run. */
static bool lacks_p(uint32_t got, uint32_t error)
{
    bool lacks = !machine.nosnoop && (error & PF_RSVD) != 0 && got == (error & ~(uint32_t)PF_P);
    if (lacks)
        skip("emulator: #PF by a reserved bit has P=0");
    return lacks;
}

static void expect_pf(struct fault fault, uint32_t error, uint64_t cr2)
{
    if (fault.vector == VECTOR_PF && lacks_p(fault.error, error))
        fault.error = error;
    expect(fault.vector == VECTOR_PF && fault.error == error, "vector %d, error %x, not %x",
           fault.vector, fault.error, error);
    expect(fault.vector != VECTOR_PF || fault.cr2 == cr2, "CR2 %lx, not %lx", fault.cr2, cr2);
}

/* --- tables in the hole: every level, access and privilege ------------------------------------ */

static const struct {
    const char *name;
    const char *form;
    uint32_t error;
} accesses[] = {
    {"read", form_load, 0},
    {"write", form_store, PF_W},
    {"fetch", form_jump, PF_ID},
};

static void check_access(const char *table_name, unsigned access, enum selector cs, uint64_t at)
{
    static char name[64];
    bool user = cs == SEL_USER_CODE64;
    uint32_t error = PF_P | PF_RSVD | accesses[access].error | (user ? PF_U : 0u);
    const char *rip = accesses[access].form;
    format(name, sizeof(name), "%s in the hole: %s%s", table_name, user ? "user " : "",
           accesses[access].name);
    ktap_start(name);
    struct fault fault = run(rip, cs, at + 0x123);
    expect_pf(fault, error, at + 0x123);
    if (rip == form_jump)
        rip = (const char *)(at + 0x123);
    expect(fault.rip == (uint64_t)rip, "RIP %lx", fault.rip);
    ktap_finish();
}

static void check_accesses(const char *table_name, uint64_t at)
{
    for (unsigned access = 0; access < ARRAY_SIZE(accesses); access++) {
        check_access(table_name, access, SEL_CODE64, at);
        check_access(table_name, access, SEL_USER_CODE64, at);
    }
}

/* --- other instructions ----------------------------------------------------------------------- */

static void load_byte(void)
{
    expect_pf(run(form_load_byte, SEL_CODE64, BAD_PT), PF_P | PF_RSVD, BAD_PT);
}

static void stos(void)
{
    expect_pf(run(form_stos, SEL_CODE64, BAD_PT), PF_P | PF_RSVD | PF_W, BAD_PT);
}

static void load_across(void)
{
    expect_pf(run(form_load, SEL_CODE64, BAD_PT - 2), PF_P | PF_RSVD, BAD_PT);
}

static void store_across(void)
{
    tail[511] = 0x1234;
    expect_pf(run(form_store, SEL_CODE64, BAD_PT - 2), PF_P | PF_RSVD | PF_W, BAD_PT);
    expect(tail[511] == 0x1234, "written: %lx", tail[511]);
}

/* mov dword [rbx], 1 with its last 3 bytes in another page. */
static void put_tail(void)
{
    static const uint8_t bytes[] = {0xc7, 0x03, 0x01};
    memcpy((uint8_t *)tail + sizeof(tail) - sizeof(bytes), bytes, sizeof(bytes));
}

static void fetch_across(void)
{
    put_tail();
    struct fault fault = run((const void *)(BAD_PT - 3), SEL_CODE64, (uint64_t)data);
    expect_pf(fault, PF_P | PF_RSVD | PF_ID, BAD_PT);
    expect(fault.rip == BAD_PT - 3, "RIP %lx", fault.rip);
}

static void string_out(void)
{
    expect_pf(run(form_outsb, SEL_CODE64, BAD_PT + 5), PF_P | PF_RSVD, BAD_PT + 5);
}

static void string_in(void)
{
    expect_pf(run(form_insb, SEL_CODE64, BAD_PT + 5), PF_P | PF_RSVD | PF_W, BAD_PT + 5);
}

static void fetch_ones(void)
{
    struct fault fault = run(form_jump, SEL_CODE64, GOOD + 2 * PAGE_SIZE + 0x10);
    expect(fault.vector == VECTOR_UD, "vector %d", fault.vector);
    expect(fault.rip == GOOD + 2 * PAGE_SIZE + 0x10, "RIP %lx", fault.rip);
}

/* --- delivery of exceptions ------------------------------------------------------------------- */

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

enum { GATE_WORDS = 2, LOW_GATES = 8, GDT_SIZE = 0x50, TSS_RSP0 = 4, TSS_IST1 = 0x24 };

static struct table_pointer get_idt(void)
{
    struct table_pointer idt;
    __asm__ volatile("sidt %0" : "=m"(idt));
    return idt;
}

static void set_idt(struct table_pointer idt)
{
    __asm__ volatile("lidt %0" : : "m"(idt));
}

static void set_gdt(uint64_t base, uint16_t limit)
{
    struct table_pointer pointer = {limit, base};
    __asm__ volatile("lgdt %0" : : "m"(pointer));
}

static uint64_t *gate(unsigned vector)
{
    return (uint64_t *)get_idt().base + (size_t)vector * GATE_WORDS;
}

static uint8_t *get_tss(void)
{
    const uint64_t *d = &gdt[SEL_TSS / 8];
    return (uint8_t *)((d[0] >> 16 & 0xffffff) | (d[0] >> 56) << 24 | d[1] << 32);
}

static void set_tss(uint64_t base)
{
    uint64_t *d = &gdt[SEL_TSS / 8];
    d[0] = (d[0] & 0xffff) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
    d[1] = base >> 32;
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

/* The low gates behind a table in the hole, the others not. */
static void gate_behind(const char *form, unsigned vector, enum selector cs)
{
    struct table_pointer old = get_idt(), idt = old;
    idt.base = GOOD2 - LOW_GATES * GATE_WORDS * 8;
    memcpy(data, gate(LOW_GATES), old.limit + 1u - LOW_GATES * GATE_WORDS * 8);
    set_idt(idt);
    struct fault fault = run(form, cs, 0);
    set_idt(old);
    expect_pf(fault, PF_P | PF_RSVD, idt.base + vector * 16ull);
    expect(fault.rip == (uint64_t)form, "RIP %lx", fault.rip);
}

static void gate_of_ud(void)
{
    gate_behind(form_ud2, VECTOR_UD, SEL_CODE64);
}

static void gate_of_ud_user(void)
{
    gate_behind(form_ud2, VECTOR_UD, SEL_USER_CODE64);
}

static void gate_of_de(void)
{
    gate_behind(form_divide, VECTOR_DE, SEL_CODE64);
}

/* The code segment of the gate behind a table in the hole. */
static void gdt_behind(void)
{
    uint64_t *ud = gate(VECTOR_UD), old = ud[0];
    memcpy((uint8_t *)tail + sizeof(tail) - GDT_SIZE, gdt, GDT_SIZE);
    ud[0] = (old & ~0xffff0000ull) | GDT_SIZE << 16;
    set_gdt(BAD_PT - GDT_SIZE, 0xfff);
    struct fault fault = run(form_ud2, SEL_CODE64, 0);
    set_gdt((uint64_t)gdt, GDT_SIZE - 1);
    ud[0] = old;
    expect_pf(fault, PF_P | PF_RSVD, BAD_PT);
}

/* The gate's IST field: 0 for the stack by CPL. */
static void set_ist(unsigned vector, uint64_t ist)
{
    uint64_t *words = gate(vector);
    words[0] = (words[0] & ~(7ull << 32)) | ist << 32;
}

static void put_tss(unsigned offset, uint64_t stack_pointer)
{
    memcpy(get_tss() + offset, &stack_pointer, sizeof(stack_pointer));
}

static void tss_behind(void)
{
    uint64_t old = (uint64_t)get_tss();
    set_tss(BAD_PT + 0x100);
    set_ist(VECTOR_PF, 0);
    struct fault fault = run(form_ud2, SEL_CODE64, 0);
    set_ist(VECTOR_PF, 1);
    set_tss(old);
    expect_pf(fault, PF_P | PF_RSVD, BAD_PT + 0x100 + TSS_IST1);
}

static void ist_behind(void)
{
    set_ist(VECTOR_UD, 2);
    put_tss(TSS_IST1 + 8, BAD_PT + 0x808);
    struct fault fault = run(form_ud2, SEL_CODE64, 0);
    set_ist(VECTOR_UD, 1);
    expect_pf(fault, PF_P | PF_RSVD | PF_W, BAD_PT + 0x7f8);
}

/* What a user-mode exception of VECTOR ends in with RSP0 behind a table in the hole. */
static struct fault with_bad_rsp0(unsigned vector, const char *form, uint64_t rbx)
{
    uint64_t old;
    memcpy(&old, get_tss() + TSS_RSP0, sizeof(old));
    put_tss(TSS_RSP0, BAD_PT + 0x800);
    set_ist(vector, 0);
    struct fault fault = run(form, SEL_USER_CODE64, rbx);
    set_ist(vector, 1);
    put_tss(TSS_RSP0, old);
    return fault;
}

static void rsp0_behind(void)
{
    expect_pf(with_bad_rsp0(VECTOR_UD, form_ud2, 0), PF_P | PF_RSVD | PF_W, BAD_PT + 0x7f8);
}

static void double_fault(void)
{
    struct fault fault = with_bad_rsp0(VECTOR_PF, form_load, BAD_PT);
    expect(fault.vector == VECTOR_DF && fault.error == 0, "vector %d", fault.vector);
}

/* --- accessed and dirty bits, and rights, of accesses on the guest's behalf ------------------- */

static uint64_t *clear_flags(unsigned page)
{
    pt[page] &= ~(A | D);
    flush();
    return &pt[page];
}

static void expect_flags(uint64_t entry, uint64_t flags)
{
    expect((entry & (A | D)) == flags, "entry %lx", entry);
}

static void flags_of(const char *form, unsigned page, uint64_t flags)
{
    uint64_t *entry = clear_flags(page);
    struct fault fault = run(form, SEL_CODE64, GOOD + page * PAGE_SIZE);
    expect(fault.vector == FAULT_NONE, "vector %d, error %x", fault.vector, fault.error);
    expect_flags(*entry, flags);
}

static void flags_out(void)
{
    flags_of(form_outsb, 0, A);
}

static void flags_in(void)
{
    flags_of(form_insd, 0, A | D);
}

static void flags_hole_load(void)
{
    flags_of(form_load, 2, A);
}

static void flags_hole_store(void)
{
    flags_of(form_store, 2, A | D);
    memset(ones, 0xff, sizeof(ones));
}

/* FORM on page 0 without some of its rights. */
static void refused(const char *form, enum selector cs, uint64_t rights, uint32_t error)
{
    struct registers r = registers(GOOD);
    uint64_t *entry = clear_flags(0);
    *entry &= ~rights;
    flush();
    r.rflags |= RFLAGS_IOPL;
    struct fault fault = form_run(form, cs, &r);
    expect_pf(fault, error, GOOD);
    expect_flags(*entry, 0);
    *entry |= rights;
    flush();
}

static void in_read_only(void)
{
    refused(form_insb, SEL_CODE64, W, PF_P | PF_W);
}

static void out_absent(void)
{
    refused(form_outsd, SEL_CODE64, P, 0);
}

static void in_absent(void)
{
    refused(form_insb, SEL_CODE64, P, PF_W);
}

static void out_user(void)
{
    refused(form_outsb, SEL_USER_CODE64, U, PF_P | PF_U);
}

static void in_user(void)
{
    refused(form_insd, SEL_USER_CODE64, U, PF_P | PF_U | PF_W);
}

/* The second page refuses: the first has not been written. */
static void in_across(void)
{
    pt[1] = ((uint64_t)code | P | U);
    uint64_t *entry = clear_flags(0);
    struct fault fault = run(form_insd, SEL_CODE64, GOOD + PAGE_SIZE - 2);
    expect_pf(fault, PF_P | PF_W, GOOD + PAGE_SIZE);
    expect((*entry & D) == 0, "first page: entry %lx", *entry);
    pt[1] |= W;
    flush();
}

/* RDMSR that ends a page, and faults: the next page is none of its. */
static void code_end(void)
{
    static const uint8_t rdmsr_bytes[] = {0x0f, 0x32};
    memcpy((uint8_t *)code + PAGE_SIZE - 2, rdmsr_bytes, sizeof(rdmsr_bytes));
    struct registers r = registers(0);
    r.gpr[RCX] = 0x12345678;
    clear_flags(1);
    uint64_t *next = clear_flags(2);
    struct fault fault = form_run((const void *)(GOOD + 2 * PAGE_SIZE - 2), SEL_CODE64, &r);
    expect(is_gp0(fault), "vector %d", fault.vector);
    expect_flags(pt[1], A);
    expect_flags(*next, 0);
}

static bool has_leaf7(unsigned bit)
{
    return (cpuid(7, 0).ebx >> bit & 1) != 0;
}

static const char *needs_smap(void)
{
    return has_leaf7(LEAF7_SMAP) ? NULL : "no SMAP";
}

/* With SMAP: all but the pages at GOOD is the supervisor's meanwhile. */
static struct fault with_smap(const char *form, uint64_t rflags)
{
    struct registers r = registers(GOOD);
    r.rflags |= rflags;
    pml4[0] &= ~U;
    write_cr4(read_cr4() | CR4_SMAP);
    struct fault fault = form_run(form, SEL_CODE64, &r);
    write_cr4(read_cr4() & ~CR4_SMAP);
    pml4[0] |= U;
    flush();
    return fault;
}

static void smap_out(void)
{
    expect_pf(with_smap(form_outsb, 0), PF_P, GOOD);
}

static void smap_in(void)
{
    expect_pf(with_smap(form_insb, 0), PF_P | PF_W, GOOD);
}

static void smap_ac(void)
{
    expect(with_smap(form_outsb, RFLAGS_AC).vector == FAULT_NONE, "OUTS");
    expect(with_smap(form_insb, RFLAGS_AC).vector == FAULT_NONE, "INS");
}

static const struct test_case cases[] = {
    {"PT in the hole: movzx", NULL, load_byte},
    {"PT in the hole: rep stos", NULL, stos},
    {"PT in the hole: read that goes on there", NULL, load_across},
    {"PT in the hole: write that goes on there", NULL, store_across},
    {"PT in the hole: instruction that goes on there", NULL, fetch_across},
    {"PT in the hole: outs", NULL, string_out},
    {"PT in the hole: ins", NULL, string_in},
    {"fetch from the hole: #UD", NULL, fetch_ones},
    {"delivery of #UD: gate behind the hole", NULL, gate_of_ud},
    {"delivery of #UD at CPL 3: gate behind the hole", NULL, gate_of_ud_user},
    {"delivery of #DE: gate behind the hole", NULL, gate_of_de},
    {"delivery of #UD: GDT behind the hole", NULL, gdt_behind},
    {"delivery of #UD: TSS behind the hole", NULL, tss_behind},
    {"delivery of #UD: IST behind the hole", NULL, ist_behind},
    {"delivery of #UD: RSP0 behind the hole", NULL, rsp0_behind},
    {"delivery of #PF: RSP0 behind the hole: #DF", NULL, double_fault},
    {"outs: accessed", NULL, flags_out},
    {"ins: accessed and dirty", NULL, flags_in},
    {"hole read: accessed", NULL, flags_hole_load},
    {"hole written: accessed and dirty", NULL, flags_hole_store},
    {"ins to a read-only page", NULL, in_read_only},
    {"outs of an absent page", NULL, out_absent},
    {"ins to an absent page", NULL, in_absent},
    {"outs of a supervisor page at CPL 3", NULL, out_user},
    {"ins to a supervisor page at CPL 3", NULL, in_user},
    {"ins that goes on in a read-only page", needs_nosnoop, in_across},
    {"decoding at the end of a page", needs_nosnoop, code_end},
    {"outs of a user page: SMAP", needs_smap, smap_out},
    {"ins to a user page: SMAP", needs_smap, smap_in},
    {"user page: SMAP, AC", needs_smap, smap_ac},
};

/* --- the other paging modes ------------------------------------------------------------------- */

#define BAD32 0x40000000u

struct mode_case {
    const char *name;
    const struct mode_code *code;
    enum mode_kind kind;
    uint64_t entry; /* flags of the entry that points to the table in the hole */
    uint64_t cr4;
    uint32_t error;
    unsigned leaf7; /* bit of CPUID leaf 7 that must be there, if not 0 */
};

/* Ones map the last page for all; what is above them, and the CPU's modes, still say no. */
static const struct mode_case cases32[] = {
    {"absent rights: user read", &op_load, MODE_USER, P | W, 0, PF_P | PF_U, 0},
    {"absent rights: user write", &op_store, MODE_USER, P | U, 0, PF_P | PF_U | PF_W, 0},
    {"absent rights: user fetch", &op_jump, MODE_USER, P | W, 0, PF_P | PF_U, 0},
    {"absent rights: write, WP", &op_store, MODE_32, P, 0, PF_P | PF_W, 0},
    {"SMEP", &op_jump, MODE_32, P | W | U, CR4_SMEP, PF_P | PF_ID, LEAF7_SMEP},
    {"SMAP, read", &op_load, MODE_32, P | W | U, CR4_SMAP, PF_P, LEAF7_SMAP},
    {"SMAP, write", &op_store, MODE_32, P | W | U, CR4_SMAP, PF_P | PF_W, LEAF7_SMAP},
};

static const struct mode_case cases_pae[] = {
    {"read", &op_load, MODE_32, P, 0, PF_P | PF_RSVD, 0},
    {"write", &op_store, MODE_32, P, 0, PF_P | PF_RSVD | PF_W, 0},
    {"fetch", &op_jump, MODE_32, P, 0, PF_P | PF_RSVD | PF_ID, 0},
    {"user read", &op_load, MODE_USER, P, 0, PF_P | PF_RSVD | PF_U, 0},
    {"user write", &op_store, MODE_USER, P, 0, PF_P | PF_RSVD | PF_U | PF_W, 0},
    {"user fetch", &op_jump, MODE_USER, P, 0, PF_P | PF_RSVD | PF_U | PF_ID, 0},
};

static const struct mode_case cases_5[] = {
    {"read", &op_load, MODE_64, P, 0, PF_P | PF_RSVD, 0},
    {"write", &op_store, MODE_64, P, 0, PF_P | PF_RSVD | PF_W, 0},
    {"fetch", &op_jump, MODE_64, P, 0, PF_P | PF_RSVD | PF_ID, 0},
};

static void check_mode(const struct mode_case *c, const struct mode *mode, uint64_t at)
{
    struct registers r = registers(at + 0x123);
    struct fault fault = mode_run(mode, c->code, MODE_CODE, &r);
    expect_pf(fault, c->error, at + 0x123);
    uint64_t rip = c->code == &op_jump ? at + 0x123 - LOW - MODE_CODE : 0;
    expect(fault.rip == rip, "RIP %lx behind the code", fault.rip);
}

/* What the image lies in is the user's only where user mode runs, for SMEP and SMAP. */
static struct mode make_32bit(const struct mode_case *c)
{
    uint32_t image = (uint32_t)(P | W | (c->kind == MODE_USER ? U : 0));
    for (uint32_t i = 0; i < ARRAY_SIZE(pt32); i++)
        pt32[i] = i * (uint32_t)PAGE_SIZE | image;
    pd32[0] = (uint32_t)(uint64_t)pt32 | image;
    pd32[BAD32 >> 22] = (uint32_t)(hole | c->entry);
    return (struct mode){
        .kind = c->kind, .bits = 32, .cr0 = CR0_PG, .cr3 = (uint64_t)pd32, .cr4 = c->cr4};
}

/* BAD32 has a PDPTE of its own. */
static struct mode make_pae(const struct mode_case *c, bool pd_in_hole)
{
    static table pdpt_pae, pd_low, pd_bad, pt_low;
    const uint64_t all = P | W | U;
    for (uint64_t i = 0; i < ARRAY_SIZE(pt_low); i++)
        pt_low[i] = i * PAGE_SIZE | all;
    pd_low[0] = (uint64_t)pt_low | all;
    pd_bad[0] = hole | all;
    pdpt_pae[0] = (uint64_t)pd_low | P;
    pdpt_pae[1] = (pd_in_hole ? hole : (uint64_t)pd_bad) | P;
    return (struct mode){
        .kind = c->kind, .bits = 32, .cr0 = CR0_PG, .cr3 = (uint64_t)pdpt_pae, .cr4 = CR4_PAE};
}

static void start_case(const char *where, const struct mode_case *c)
{
    static char name[64];
    format(name, sizeof(name), "%s in the hole: %s", where, c->name);
    ktap_start(name);
}

static void check_32bit(void)
{
    for (const struct mode_case *c = cases32; c < cases32 + ARRAY_SIZE(cases32); c++) {
        start_case("32-bit, PT", c);
        struct mode mode = make_32bit(c);
        if (c->leaf7 != 0 && !has_leaf7(c->leaf7))
            skip("no SMEP or SMAP");
        else
            check_mode(c, &mode, BAD32);
        ktap_finish();
    }
}

static void check_pae(bool pd_in_hole)
{
    for (const struct mode_case *c = cases_pae; c < cases_pae + ARRAY_SIZE(cases_pae); c++) {
        start_case(pd_in_hole ? "PAE, PD" : "PAE, PT", c);
        struct mode mode = make_pae(c, pd_in_hole);
        check_mode(c, &mode, BAD32);
        ktap_finish();
    }
}

static void check_5(const char *where, uint64_t at)
{
    const struct mode mode = {.kind = MODE_64,
                              .bits = 64,
                              .cr0 = CR0_PG,
                              .cr3 = (uint64_t)mode_pml5,
                              .cr4 = CR4_PAE | CR4_LA57,
                              .efer = EFER_LME};
    mode_pml5[1] = hole | P | W | U;
    for (const struct mode_case *c = cases_5; c < cases_5 + ARRAY_SIZE(cases_5); c++) {
        start_case(where, c);
        if ((cpuid(7, 0).ecx >> 16 & 1) != 0)
            check_mode(c, &mode, at);
        else
            skip("no 5-level paging");
        ktap_finish();
    }
}

/* Intel loads the PDPTEs by MOV to CR3; AMD under nested paging as it walks. */
static void pae_cr3(void)
{
    struct mode mode = make_pae(&cases_pae[0], false);
    struct registers r = registers(hole);
    struct fault fault = mode_run(&mode, &op_load_cr3, MODE_CODE, &r);
    expect(is_gp0(fault) && fault.rip == 0, "vector %d, error %x, RIP %lx", fault.vector,
           fault.error, fault.rip);
}

static const char *needs_pdptes(void)
{
    return machine.intel ? NULL : "AMD reads PDPTEs as it walks";
}

static const struct test_case pae_case = {"PAE, PDPTEs in the hole: #GP", needs_pdptes, pae_cr3};

/* --- what ends the VM; a bare machine goes on, but for the last three ------------------------- */

static void part_nowhere(void)
{
    pd[1] = NOWHERE | P | W | U;
    flush();
    run(form_load, SEL_CODE64, BAD_PT);
}

static void part_ones32(void)
{
    const struct mode_case c = {.kind = MODE_32, .entry = P | W | U};
    struct mode mode = make_32bit(&c);
    struct registers r = registers(BAD32);
    mode_run(&mode, &op_load, MODE_CODE, &r);
}

static void part_form(void)
{
    run(form_xadd, SEL_CODE64, BAD_PT);
}

static void part_tail(void)
{
    put_tail();
    pd[1] = (uint64_t)pt2 | P | W | U;
    pt2[0] = hole | P | W | U;
    flush();
    run((const void *)(BAD_PT - 3), SEL_CODE64, (uint64_t)data);
}

static void part_load(void)
{
    run(form_load, SEL_CODE64, BAD_PT);
}

static void part_idt(void)
{
    struct table_pointer idt = {0xfff, GOOD + 2 * PAGE_SIZE};
    set_idt(idt);
    __asm__ volatile("ud2");
}

static void part_triple(void)
{
    struct table_pointer idt = {0xfff, BAD_PT};
    set_idt(idt);
    __asm__ volatile("ud2");
}

static void part_cr3(void)
{
    write_cr3(hole);
}

static const struct {
    const char *part;
    void (*run)(void);
} ends[] = {
    {"nowhere", part_nowhere}, {"ones32", part_ones32}, {"form", part_form},
    {"tail", part_tail},       {"load", part_load},     {"idt", part_idt},
    {"triple", part_triple},   {"cr3", part_cr3},
};

void test_main(void)
{
    build();
    mode_init();
    for (unsigned i = 0; i < ARRAY_SIZE(ends); i++)
        if (cmdline_has("part", ends[i].part)) {
            ends[i].run();
            guest_exit(machine.nosnoop ? 1 : 0);
        }
    ktap_begin(3 * 2 * ARRAY_SIZE(accesses) + ARRAY_SIZE(cases) + ARRAY_SIZE(cases32) +
               2 * ARRAY_SIZE(cases_pae) + 1 + 2 * ARRAY_SIZE(cases_5));
    check_accesses("PDPT", BAD_PDP);
    check_accesses("PD", BAD_PD);
    check_accesses("PT", BAD_PT);
    ktap_run(cases, ARRAY_SIZE(cases));
    check_32bit();
    check_pae(false);
    check_pae(true);
    ktap_run(&pae_case, 1);
    check_5("5 levels, PML4", BAD_PML);
    check_5("5 levels, PT", BAD_PT);
    ktap_end();
}
