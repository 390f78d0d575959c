/*
 * Exceptions: vector, error code, CR2, and the pushed RIP and RF of each; what a second one in its
 * delivery makes of it, the same of those that the hypervisor raises; and a fault in the delivery
 * of a double fault.
 *
 * row: exceptions end=0
 * row: exceptions.uncached end=0 set=policy=exact set=cd=hw cmdline="caches=off"
 * row: exceptions.triple end=126 plan=no stopped="reset" cmdline="part=triple" control=127
 * row: exceptions.triple-msr end=126 plan=no stopped="reset" cmdline="part=triple-msr" control=2
 * row: exceptions.hole end=126 plan=no stopped="delivery of vector 6" cmdline="part=hole"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/string.h"

enum { UNKNOWN_MSR = 0x12345, SOFT_VECTOR = 31, GDT_WORDS = 10, STACK_PAGE = 8, DATA_PAGE = 10 };
enum { VECTOR_BR = 5, VECTOR_MF = 16, VECTOR_XM = 19 };
enum { PF_WRITE = 2, ERROR_IDT = 2, ERROR_EXT = 1, GATE_DPL3 = 0x60, GATE_P = 0x80 };

#define HOLE              0xd0000000ull
#define NOT_CANONICAL     0x0000900000000000ull
#define RFLAGS_OF         (1ull << 11)
#define IDT_ERROR(vector) ((vector)*8u + ERROR_IDT)

#define CODE(name) extern const char raise_##name[], raise_##name##_next[];
CODE(div)
CODE(div_32)
CODE(int3)
CODE(int3_32)
CODE(int_3)
CODE(int_4)
CODE(into)
CODE(bound)
CODE(ud)
CODE(ud_32)
CODE(fnop)
CODE(int_31)
CODE(int_31_32)
CODE(int_6)
CODE(mov_ds)
CODE(mov_ss)
CODE(push)
CODE(load)
CODE(store)
CODE(rdmsr)
CODE(rdmsr_32)
CODE(mov_cr4)
CODE(vmrun)
CODE(vmxon)
CODE(misaligned)
CODE(fwait)
CODE(divps)
extern const char raise_fwait_before[], raise_divps_before[];

extern const struct {
    uint32_t error, protected_taken;
    uint32_t sp, real_taken;
} early;

extern uint64_t gdt[]; /* by enum selector, in bytes */

static struct fault_frame taken;
static bool any, rf_by_cpu;
static struct idt_gate saved_idt[EXCEPTIONS];
static struct tss64 saved_tss;
static uint64_t saved_gdt[GDT_WORDS];
static uint32_t data[16] __attribute__((aligned(64)));

static uint64_t cr0(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}

static void set_cr0(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr0" : : "r"(value));
}

static uint64_t cr4(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}

static void set_cr4(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr4" : : "r"(value));
}

static void load_idt(unsigned vectors)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed))
    pointer = {(uint16_t)(vectors * sizeof(struct idt_gate) - 1), (uint64_t)fault_idt};
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

/* With another limit; LTR wants an available TSS. */
static void load_tss(uint32_t limit)
{
    const uint64_t busy = 2ull << 40;
    uint64_t *descriptor = &gdt[SEL_TSS / 8];
    *descriptor = (*descriptor & ~(0xffff | busy)) | limit;
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

static bool on_exception(struct fault_frame *frame)
{
    taken = *frame;
    any = true;
    frame->rip = (uint64_t)form_done;
    frame->cs = SEL_CODE64;
    frame->ss = SEL_DATA;
    frame->rflags = RFLAGS_FIXED;
    return true;
}

static volatile uint8_t *unmapped_page(void)
{
    return window_map(DATA_PAGE, 0, 0);
}

/* The top of a stack whose page is not there. */
static uint64_t unmapped_stack(void)
{
    return (uint64_t)window_map(STACK_PAGE, 0, 0) + PAGE_SIZE;
}

/* What each case starts with. */
static void reset_state(struct registers *r)
{
    *r = (struct registers){.rflags = RFLAGS_FIXED};
    __asm__ volatile("mov %%rsp, %0" : "=r"(r->gpr[RSP]));
    r->gpr[RSP] -= 1024;
    r->gpr[RDI] = (uint64_t)data;
    memset(data, 0, sizeof(data));
}

static void save_tables(void)
{
    memcpy(saved_idt, fault_idt, sizeof(saved_idt));
    memcpy(&saved_tss, &fault_tss, sizeof(saved_tss));
    memcpy(saved_gdt, gdt, sizeof(saved_gdt));
}

static void restore_tables(void)
{
    memcpy(fault_idt, saved_idt, sizeof(saved_idt));
    memcpy(&fault_tss, &saved_tss, sizeof(saved_tss));
    memcpy(gdt, saved_gdt, sizeof(saved_gdt));
    load_idt(EXCEPTIONS);
    load_tss(sizeof(fault_tss) - 1);
}

static void run(const char *code, enum selector cs, struct registers *r)
{
    uint64_t old_cr0 = cr0(), old_cr4 = cr4();
    any = false;
    fault_hook = on_exception;
    form_run(code, cs, r);
    fault_hook = NULL;
    set_cr0(old_cr0);
    set_cr4(old_cr4);
}

static void no_fpu(struct registers *r)
{
    (void)r;
    set_cr0(cr0() | CR0_TS);
}

static void overflow(struct registers *r)
{
    r->rflags |= RFLAGS_OF;
}

static void out_of_bounds(struct registers *r)
{
    data[1] = 4;
    r->gpr[RAX] = 5;
}

/* The gate's IST lies behind the limit, that of the gate of #TS does not. */
static void short_tss(struct registers *r)
{
    (void)r;
    fault_idt[SOFT_VECTOR].ist = 7;
    load_tss(offsetof(struct tss64, ist) + 6 * 8 - 1);
}

static void absent_segment(struct registers *r)
{
    gdt[SEL_BASED / 8] &= ~(1ull << 47);
    r->gpr[RAX] = SEL_BASED;
}

static void no_descriptor(struct registers *r)
{
    r->gpr[RAX] = 0xfff8;
}

static void bad_rsp(struct registers *r)
{
    r->gpr[RSP] = NOT_CANONICAL;
}

static void bad_rbx(struct registers *r)
{
    r->gpr[RBX] = NOT_CANONICAL;
}

static void unknown_msr(struct registers *r)
{
    r->gpr[RCX] = UNKNOWN_MSR;
}

static void bad_cr4(struct registers *r)
{
    r->gpr[RAX] = cr4() | 1ull << 62;
}

static void absent_page(struct registers *r)
{
    r->gpr[RBX] = (uint64_t)unmapped_page();
}

static void read_only_page(struct registers *r)
{
    r->gpr[RBX] = (uint64_t)window_map(DATA_PAGE, 0x100000, PAGE_P);
}

static void kernel_page(struct registers *r)
{
    r->gpr[RBX] = (uint64_t)window_map(DATA_PAGE, 0x100000, PAGE_P | PAGE_W);
}

static void fpu_error(struct registers *r)
{
    (void)r;
    data[0] = 0x37b; /* all masked but division by zero */
    set_cr0((cr0() | CR0_NE | CR0_MP) & ~(CR0_TS | CR0_EM));
}

static void simd_error(struct registers *r)
{
    (void)r;
    data[0] = 0x1d80; /* the same */
    for (unsigned i = 4; i < 8; i++)
        data[i] = 0x3f800000;
    set_cr0(cr0() & ~(CR0_TS | CR0_EM));
    set_cr4(cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
}

static void alignment(struct registers *r)
{
    set_cr0(cr0() | CR0_AM);
    r->rflags |= RFLAGS_AC;
}

static void gate_31_of_cpl3(struct registers *r)
{
    (void)r;
    fault_idt[SOFT_VECTOR].type |= GATE_DPL3;
}

enum { NONE = -1 };

static const struct vector_case {
    const char *name;
    const char *code, *before;
    enum selector cs;
    void (*prepare)(struct registers *r);
    int vector;
    uint32_t error;
    const char *rip;     /* NULL: that of CODE, a fault */
    bool cr2;            /* is RBX */
    const char *missing; /* why a bare emulator may raise none */
    bool injected;       /* by the hypervisor, if there is one */
} vector_cases[] = {
    {"#DE", raise_div, NULL, SEL_CODE64, NULL, VECTOR_DE, 0, NULL, false, NULL, false},
    {"#DE in 32-bit code", raise_div_32, NULL, SEL_CODE32, NULL, VECTOR_DE, 0, NULL, false, NULL,
     false},
    {"#BP: INT3", raise_int3, NULL, SEL_CODE64, NULL, VECTOR_BP, 0, raise_int3_next, false, NULL,
     false},
    {"#BP: INT3 in 32-bit code", raise_int3_32, NULL, SEL_CODE32, NULL, VECTOR_BP, 0,
     raise_int3_32_next, false, NULL, false},
    {"INT 3", raise_int_3, NULL, SEL_CODE64, NULL, VECTOR_BP, 0, raise_int_3_next, false, NULL,
     false},
    {"INT 4", raise_int_4, NULL, SEL_CODE64, NULL, VECTOR_OF, 0, raise_int_4_next, false, NULL,
     false},
    {"#OF: INTO", raise_into, NULL, SEL_CODE32, overflow, VECTOR_OF, 0, raise_into_next, false,
     NULL, false},
    {"INTO without overflow", raise_into, NULL, SEL_CODE32, NULL, NONE, 0, NULL, false, NULL,
     false},
    {"#BR", raise_bound, NULL, SEL_CODE32, out_of_bounds, VECTOR_BR, 0, NULL, false, NULL, false},
    {"#UD", raise_ud, NULL, SEL_CODE64, NULL, VECTOR_UD, 0, NULL, false, NULL, false},
    {"#UD at CPL 3", raise_ud, NULL, SEL_USER_CODE64, NULL, VECTOR_UD, 0, NULL, false, NULL, false},
    {"#UD in 32-bit code", raise_ud_32, NULL, SEL_CODE32, NULL, VECTOR_UD, 0, NULL, false, NULL,
     false},
    {"#NM", raise_fnop, NULL, SEL_CODE64, no_fpu, VECTOR_NM, 0, NULL, false, NULL, false},
    {"#TS: a stack behind the limit of the TSS", raise_int_31, NULL, SEL_CODE64, short_tss,
     VECTOR_TS, SEL_TSS, NULL, false, NULL, false},
    {"#NP", raise_mov_ds, NULL, SEL_CODE64, absent_segment, VECTOR_NP, SEL_BASED, NULL, false, NULL,
     false},
    {"#SS: the segment", raise_mov_ss, NULL, SEL_CODE64, absent_segment, VECTOR_SS, SEL_BASED, NULL,
     false, NULL, false},
    {"#SS: the address", raise_push, NULL, SEL_CODE64, bad_rsp, VECTOR_SS, 0, NULL, false, NULL,
     false},
    {"#GP: the address", raise_load, NULL, SEL_CODE64, bad_rbx, VECTOR_GP, 0, NULL, false, NULL,
     false},
    {"#GP: the selector", raise_mov_ds, NULL, SEL_CODE64, no_descriptor, VECTOR_GP, 0xfff8, NULL,
     false, NULL, false},
    {"#GP: RDMSR", raise_rdmsr, NULL, SEL_CODE64, unknown_msr, VECTOR_GP, 0, NULL, false,
     "emulator: unknown MSRs raise no #GP", true},
    {"#GP: RDMSR in 32-bit code", raise_rdmsr_32, NULL, SEL_CODE32, unknown_msr, VECTOR_GP, 0, NULL,
     false, "emulator: unknown MSRs raise no #GP", true},
    {"#GP: MOV to CR4", raise_mov_cr4, NULL, SEL_CODE64, bad_cr4, VECTOR_GP, 0, NULL, false,
     "emulator: reserved bits of CR4 hang", true},
    {"#GP: INT n of CPL 0 at CPL 3", raise_int_31, NULL, SEL_USER_CODE64, NULL, VECTOR_GP,
     IDT_ERROR(SOFT_VECTOR), NULL, false, NULL, false},
    {"INT n at CPL 3", raise_int_31, NULL, SEL_USER_CODE64, gate_31_of_cpl3, SOFT_VECTOR, 0,
     raise_int_31_next, false, NULL, false},
    {"INT n in 32-bit code", raise_int_31_32, NULL, SEL_CODE32, NULL, SOFT_VECTOR, 0,
     raise_int_31_32_next, false, NULL, false},
    {"#PF: read", raise_load, NULL, SEL_CODE64, absent_page, VECTOR_PF, 0, NULL, true, NULL, false},
    {"#PF: write", raise_store, NULL, SEL_CODE64, absent_page, VECTOR_PF, 2, NULL, true, NULL,
     false},
    {"#PF: write to a read-only page", raise_store, NULL, SEL_CODE64, read_only_page, VECTOR_PF, 3,
     NULL, true, NULL, false},
    {"#PF: read at CPL 3", raise_load, NULL, SEL_USER_CODE64, kernel_page, VECTOR_PF, 5, NULL, true,
     NULL, false},
    {"#PF: write at CPL 3", raise_store, NULL, SEL_USER_CODE64, absent_page, VECTOR_PF, 6, NULL,
     true, NULL, false},
    {"#MF", raise_fwait, raise_fwait_before, SEL_CODE64, fpu_error, VECTOR_MF, 0, NULL, false, NULL,
     false},
    {"#AC", raise_misaligned, NULL, SEL_USER_CODE64, alignment, VECTOR_AC, 0, NULL, false,
     "emulator: no alignment checks", false},
    {"#AC: none at CPL 0", raise_misaligned, NULL, SEL_CODE64, alignment, NONE, 0, NULL, false,
     NULL, false},
    {"#XM", raise_divps, raise_divps_before, SEL_CODE64, simd_error, VECTOR_XM, 0, NULL, false,
     "emulator: SIMD exceptions are always masked", false},
};

/* Whether the CPU itself pushes RF with a fault. What the hypervisor raises always has it. */
static bool faults_push_rf(void)
{
    struct registers r;
    reset_state(&r);
    run(raise_ud, SEL_CODE64, &r);
    return (taken.rflags & RFLAGS_RF) != 0;
}

static void pushed_rf(void)
{
    if (!rf_by_cpu)
        skip("emulator: no fault pushes RF");
}

/* Emulators differ in the error codes of faults in delivery, and of those that name a gate. */
static void expect_error(uint32_t want)
{
    uint32_t gate = want & ERROR_IDT ? (want & ~7u) * 2 + ERROR_IDT : want;
    if (taken.error == want)
        return;
    if (!rf_by_cpu && taken.vector != VECTOR_PF &&
        (taken.error == gate || taken.error == (want & ~(uint32_t)ERROR_EXT)))
        skip("emulator: error codes without EXT, and of 16 bytes a gate");
    else if (taken.vector == VECTOR_SS && want <= ERROR_EXT && taken.error == (want | SEL_DATA))
        skip("emulator: #SS in delivery names the old stack");
    else
        expect(false, "error %lx, not %x", taken.error, want);
}

/* The #GP in the delivery of an INT n becomes #DF where an older event seems to be in delivery. */
static bool older_event(const char *code)
{
    bool older = machine.nosnoop && !machine.intel && code == raise_int_31 && any &&
                 taken.vector == VECTOR_DF;
    if (older)
        skip("emulator: EXITINTINFO of an INT n is that of an older event");
    return older;
}

/* Code of CPL 3 can end only by a fault: that of its end. */
static bool raised_none(const struct vector_case *c)
{
    return !any || (c->cs == SEL_USER_CODE64 && taken.rip != (uint64_t)c->code && c->rip == NULL);
}

static void run_vector(const struct vector_case *c)
{
    struct registers r;
    if (c->code == raise_mov_cr4 && !machine.nosnoop && !machine.intel) {
        skip(c->missing);
        return;
    }
    reset_state(&r);
    save_tables();
    if (c->prepare != NULL)
        c->prepare(&r);
    uint64_t address = r.gpr[RBX];
    run(c->before != NULL ? c->before : c->code, c->cs, &r);
    restore_tables();
    if (c->vector == NONE) {
        expect(!any, "vector %lu", taken.vector);
        return;
    }
    if (c->missing != NULL && raised_none(c)) {
        skip(c->missing);
        return;
    }
    if (older_event(c->code))
        return;
    if (!rf_by_cpu && c->prepare == bad_rsp && taken.vector == VECTOR_GP) {
        skip("emulator: a stack address that is not canonical is #GP");
        return;
    }
    uint64_t rip = (uint64_t)(c->rip != NULL ? c->rip : c->code);
    uint64_t rf = c->rip != NULL ? 0 : RFLAGS_RF;
    expect(any && taken.vector == (uint64_t)c->vector, "vector %ld",
           any ? (int64_t)taken.vector : NONE);
    expect_error(c->error);
    expect(taken.rip == rip, "RIP %lx, not %lx", taken.rip, rip);
    expect((taken.rflags & RFLAGS_RF) == rf || (!rf_by_cpu && !c->injected), "RFLAGS %lx",
           taken.rflags);
    expect(!c->cr2 || taken.cr2 == address, "CR2 %lx, not %lx", taken.cr2, address);
    expect(taken.cs == (uint64_t)c->cs, "CS %lx", taken.cs);
}

/* Where the delivery of a case's exception fails, and how. */
enum obstacle {
    GATE_ABSENT,
    GATE_BAD,
    GATE_BEYOND,
    GATE_NULL,
    CODE_ABSENT,
    CODE_IS_DATA,
    STACK_ABSENT,
    STACK_BAD,
};

static void put_in_the_way(enum obstacle obstacle, unsigned vector)
{
    struct idt_gate *gate = &fault_idt[vector];
    switch (obstacle) {
    case GATE_ABSENT:
        gate->type &= (uint8_t)~GATE_P;
        break;
    case GATE_BAD:
        gate->type = GATE_P | 2;
        break;
    case GATE_BEYOND:
        load_idt(vector);
        break;
    case GATE_NULL:
        gate->selector = 0;
        break;
    case CODE_ABSENT:
        gdt[SEL_BASED / 8] = 0x00af1b000000ffff;
        gate->selector = SEL_BASED;
        break;
    case CODE_IS_DATA:
        gate->selector = SEL_DATA;
        break;
    case STACK_ABSENT:
        gate->ist = 2;
        memcpy(&fault_tss.ist[2], &(uint64_t){unmapped_stack()}, 8);
        break;
    case STACK_BAD:
        gate->ist = 2;
        memcpy(&fault_tss.ist[2], &(uint64_t){NOT_CANONICAL}, 8);
        break;
    }
}

static const struct delivery_case {
    const char *name;
    const char *code;
    void (*prepare)(struct registers *r);
    unsigned first; /* the vector whose delivery fails */
    enum obstacle obstacle;
    unsigned vector;
    uint32_t error;
    bool only_nosnoop; /* the emulator alone raises no first one */
} delivery_cases[] = {
    {"#UD, no gate: #NP", raise_ud, NULL, VECTOR_UD, GATE_ABSENT, VECTOR_NP,
     IDT_ERROR(VECTOR_UD) | ERROR_EXT, false},
    {"INT 6, no gate: #NP", raise_int_6, NULL, VECTOR_UD, GATE_ABSENT, VECTOR_NP,
     IDT_ERROR(VECTOR_UD), false},
    {"INT3, no gate: #NP", raise_int3, NULL, VECTOR_BP, GATE_ABSENT, VECTOR_NP,
     IDT_ERROR(VECTOR_BP), false},
    {"#UD, bad gate: #GP", raise_ud, NULL, VECTOR_UD, GATE_BAD, VECTOR_GP,
     IDT_ERROR(VECTOR_UD) | ERROR_EXT, false},
    {"INT 31 beyond the IDT: #GP", raise_int_31, NULL, SOFT_VECTOR, GATE_BEYOND, VECTOR_GP,
     IDT_ERROR(SOFT_VECTOR), false},
    {"#UD, null selector: #GP", raise_ud, NULL, VECTOR_UD, GATE_NULL, VECTOR_GP, ERROR_EXT, false},
    {"#UD, no code segment: #NP", raise_ud, NULL, VECTOR_UD, CODE_ABSENT, VECTOR_NP,
     SEL_BASED | ERROR_EXT, false},
    {"INT 6, no code segment: #NP", raise_int_6, NULL, VECTOR_UD, CODE_ABSENT, VECTOR_NP, SEL_BASED,
     false},
    {"#UD, data segment: #GP", raise_ud, NULL, VECTOR_UD, CODE_IS_DATA, VECTOR_GP,
     SEL_DATA | ERROR_EXT, false},
    {"#UD, no stack: #PF", raise_ud, NULL, VECTOR_UD, STACK_ABSENT, VECTOR_PF, PF_WRITE, false},
    {"#UD, bad stack: #SS", raise_ud, NULL, VECTOR_UD, STACK_BAD, VECTOR_SS, ERROR_EXT, false},
    {"INT 6, bad stack: #SS", raise_int_6, NULL, VECTOR_UD, STACK_BAD, VECTOR_SS, 0, false},
    {"#DE, no gate: #DF", raise_div, NULL, VECTOR_DE, GATE_ABSENT, VECTOR_DF, 0, false},
    {"#DE, bad stack: #DF", raise_div, NULL, VECTOR_DE, STACK_BAD, VECTOR_DF, 0, false},
    {"#GP, no gate: #DF", raise_load, bad_rbx, VECTOR_GP, GATE_ABSENT, VECTOR_DF, 0, false},
    {"#GP, no stack: #PF", raise_load, bad_rbx, VECTOR_GP, STACK_ABSENT, VECTOR_PF, PF_WRITE,
     false},
    {"#PF, no gate: #DF", raise_load, absent_page, VECTOR_PF, GATE_ABSENT, VECTOR_DF, 0, false},
    {"#PF, no stack: #DF", raise_load, absent_page, VECTOR_PF, STACK_ABSENT, VECTOR_DF, 0, false},
    {"#GP of RDMSR, no gate: #DF", raise_rdmsr, unknown_msr, VECTOR_GP, GATE_ABSENT, VECTOR_DF, 0,
     true},
    {"#GP of RDMSR, bad stack: #DF", raise_rdmsr, unknown_msr, VECTOR_GP, STACK_BAD, VECTOR_DF, 0,
     true},
    {"#GP of RDMSR, no stack: #PF", raise_rdmsr, unknown_msr, VECTOR_GP, STACK_ABSENT, VECTOR_PF,
     PF_WRITE, true},
};

static void expect_delivered(const struct delivery_case *c, const char *code)
{
    expect(any && taken.vector == c->vector, "vector %ld", any ? (int64_t)taken.vector : NONE);
    expect_error(c->error);
    expect(c->vector == VECTOR_DF || taken.rip == (uint64_t)code, "RIP %lx, not %lx", taken.rip,
           (uint64_t)code);
    expect(c->vector == VECTOR_DF || !rf_by_cpu || (taken.rflags & RFLAGS_RF) != 0, "RFLAGS %lx",
           taken.rflags);
    if (c->vector == VECTOR_PF)
        expect(taken.cr2 == unmapped_stack() - 8, "CR2 %lx", taken.cr2);
}

static void run_delivery(const struct delivery_case *c)
{
    struct registers r;
    if (c->only_nosnoop && !machine.nosnoop) {
        skip("only under the hypervisor");
        return;
    }
    reset_state(&r);
    save_tables();
    if (c->prepare != NULL)
        c->prepare(&r);
    put_in_the_way(c->obstacle, c->first);
    run(c->code, SEL_CODE64, &r);
    restore_tables();
    if (machine.nosnoop && !rf_by_cpu && c->first == VECTOR_GP && c->vector == VECTOR_DF &&
        taken.vector != VECTOR_DF) {
        skip("emulator: a fault in the delivery of an injected exception makes no #DF");
        return;
    }
    if (!older_event(c->code))
        expect_delivered(c, c->code);
}

/* #UD that the hypervisor raises: the vendor's own instruction exits. */
static void own_instruction(void)
{
    static const struct delivery_case c = {.vector = VECTOR_NP,
                                           .error = IDT_ERROR(VECTOR_UD) | ERROR_EXT};
    const char *code = machine.intel ? raise_vmxon : raise_vmrun;
    struct registers r;
    reset_state(&r);
    r.gpr[RBX] = (uint64_t)data;
    save_tables();
    put_in_the_way(GATE_ABSENT, VECTOR_UD);
    run(code, SEL_CODE64, &r);
    restore_tables();
    expect_delivered(&c, code);
}

static void protected_mode(void)
{
    if (!early.protected_taken && !machine.nosnoop)
        skip("emulator: unknown MSRs raise no #GP");
    else
        expect(early.protected_taken && early.error == 0, "error %x", early.error);
}

static void real_mode(void)
{
    if (!early.real_taken && !machine.nosnoop)
        skip("emulator: unknown MSRs raise no #GP");
    else
        expect(early.real_taken && early.sp == 0x1000, "SP %x", early.sp);
}

static const struct test_case cases[] = {
    {"RF of a fault", NULL, pushed_rf},
    {"#GP of RDMSR in 32-bit protected mode", NULL, protected_mode},
    {"#GP of RDMSR in real mode: no error code", NULL, real_mode},
    {"delivery: #UD of the vendor's instruction, no gate: #NP", NULL, own_instruction},
};

/* No gate is there of #DF and what leads to it. */
static void end_by(const char *code, unsigned first)
{
    struct registers r;
    reset_state(&r);
    r.gpr[RCX] = code == raise_rdmsr ? UNKNOWN_MSR : 0;
    put_in_the_way(GATE_ABSENT, first);
    put_in_the_way(GATE_ABSENT, VECTOR_NP);
    put_in_the_way(GATE_ABSENT, VECTOR_DF);
    run(code, SEL_CODE64, &r);
    guest_exit(2);
}

/* On a bare machine writes to the hole are lost, and the handler's stack with them. */
static void end_in_hole(void)
{
    struct registers r;
    if (!machine.nosnoop)
        guest_exit(0);
    reset_state(&r);
    fault_idt[VECTOR_UD].ist = 2;
    memcpy(&fault_tss.ist[2], &(uint64_t){HOLE}, 8);
    run(raise_ud, SEL_CODE64, &r);
    guest_exit(2);
}

void test_main(void)
{
    if (cmdline_has("part", "triple"))
        end_by(raise_div, VECTOR_DE);
    if (cmdline_has("part", "triple-msr"))
        end_by(raise_rdmsr, VECTOR_GP);
    if (cmdline_has("part", "hole"))
        end_in_hole();
    rf_by_cpu = faults_push_rf();
    ktap_begin(ARRAY_SIZE(cases) + ARRAY_SIZE(vector_cases) + ARRAY_SIZE(delivery_cases));
    for (unsigned i = 0; i < ARRAY_SIZE(vector_cases); i++) {
        ktap_start(vector_cases[i].name);
        run_vector(&vector_cases[i]);
        ktap_finish();
    }
    for (unsigned i = 0; i < ARRAY_SIZE(delivery_cases); i++) {
        ktap_start(delivery_cases[i].name);
        run_delivery(&delivery_cases[i]);
        ktap_finish();
    }
    ktap_run(cases, ARRAY_SIZE(cases));
    ktap_end();
}
