/*
 * Debug exceptions on instructions that exit: single steps over each, one for every iteration of a
 * string, in the shadows of STI and MOV SS; instruction and data breakpoints; DR7.GD; what DR6,
 * DR7.GD and the pushed RIP and RF are.
 *
 * row: steps end=0
 * row: steps.uncached end=0 set=policy=exact set=cd=hw cmdline="caches=off"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/format.h"

enum { UNUSED_PORT = 0x580, MAX_EVENTS = 12, COUNT = 3, PIC_MASK_1 = 0x21, PIC_MASK_2 = 0xa1 };
enum { DR6_B0 = 1, DR6_BD = 1 << 13 };
enum { DR7_L0 = 1, DR7_WRITE_4 = 0xd << 16, DR7_ACCESS_2 = 0x7 << 16 };

#define HOLE 0xd0000000ull

#define CODE(name) extern const char step_##name[], step_##name##_next[];
CODE(nop)
CODE(cpuid)
CODE(rdmsr)
CODE(wrmsr)
CODE(in)
CODE(out)
CODE(outsb)
CODE(insb)
CODE(rep_outsb)
CODE(rep_insb)
CODE(rep_movsb)
CODE(vmcall)
CODE(vmmcall)
CODE(mov_from_cr4)
CODE(mov_to_cr4)
CODE(wbinvd)
CODE(load)
CODE(store)
CODE(stosb)
CODE(rep_stosb)
CODE(icebp)
CODE(int3)
CODE(mov_to_dr7)
CODE(mov_from_dr6)
CODE(ss_cpuid)
CODE(ss_nop)
CODE(ss_out)
CODE(ss_load)
CODE(ss_memory_cpuid)
CODE(popf_cpuid)
CODE(popf_load)
CODE(sti)
CODE(sti_cpuid)
CODE(compat)
extern const char step_ss_cpuid_before[], step_ss_nop_before[], step_ss_out_before[];
extern const char step_ss_load_before[], step_ss_memory_cpuid_before[];
extern const char step_popf_cpuid_before[], step_popf_load_before[], step_sti_cpuid_before[];

/* What the handler saw, in order. DR6 is reset after each. */
static struct event {
    uint64_t vector, rip, rflags, dr6, dr7;
} events[MAX_EVENTS];
static unsigned event_count;

static uint8_t buffer[64];
static uint16_t stack_selector[8] = {SEL_DATA};

static uint64_t read_dr7(void)
{
    uint64_t value;
    __asm__ volatile("mov %%dr7, %0" : "=r"(value));
    return value;
}

static void write_dr7(uint64_t value)
{
    __asm__ volatile("mov %0, %%dr7" : : "r"(value));
}

static void write_dr0(const volatile void *address)
{
    __asm__ volatile("mov %0, %%dr0" : : "r"(address));
}

/* Notes what happened, and goes on: behind a fault at the form's end, past a breakpoint by RF. */
static bool on_exception(struct fault_frame *frame)
{
    uint64_t dr6 = read_dr6();
    bool end = frame->vector != VECTOR_DB || frame->rip == (uint64_t)form_done;
    if (event_count < MAX_EVENTS)
        events[event_count] =
            (struct event){frame->vector, frame->rip, frame->rflags, dr6, read_dr7()};
    end |= ++event_count >= MAX_EVENTS;
    write_dr6(DR6_RESET);
    frame->rflags |= RFLAGS_RF;
    if (end) {
        frame->rip = (uint64_t)form_done;
        frame->cs = SEL_CODE64;
        frame->ss = SEL_DATA;
        frame->rflags &= ~(RFLAGS_TF | RFLAGS_IF);
    }
    return true;
}

static struct registers registers(uint64_t rflags)
{
    struct registers r = {.rflags = RFLAGS_FIXED | rflags};
    r.gpr[RDX] = UNUSED_PORT;
    r.gpr[RCX] = COUNT;
    r.gpr[RBX] = HOLE;
    r.gpr[RSI] = (uint64_t)buffer;
    r.gpr[RDI] = (uint64_t)buffer;
    r.gpr[RBP] = SEL_DATA;
    r.gpr[R8] = (uint64_t)stack_selector;
    __asm__ volatile("mov %%rsp, %0" : "=r"(r.gpr[RSP]));
    r.gpr[RSP] -= 1024;
    return r;
}

/* With the BITS of DR7 beside those that are always 1. */
static void run(const char *code, enum selector cs, struct registers *r, uint64_t bits)
{
    event_count = 0;
    write_dr6(DR6_RESET);
    fault_hook = on_exception;
    write_dr7(DR7_RESET | bits);
    form_run(code, cs, r);
    fault_hook = NULL;
    write_dr7(DR7_RESET);
}

/* Event I is a #DB with these causes, RIP and RF. */
static void expect_debug(unsigned i, const char *rip, uint64_t causes, bool rf)
{
    const struct event *e = &events[i];
    if (!expect(i < event_count, "only %u exceptions", event_count))
        return;
    expect(e->vector == VECTOR_DB, "exception %u: vector %lu", i, e->vector);
    expect(e->rip == (uint64_t)rip, "exception %u: RIP %lx, not %lx", i, e->rip, (uint64_t)rip);
    expect(e->dr6 == (DR6_RESET | causes), "exception %u: DR6 %lx, not %lx", i, e->dr6,
           (uint64_t)(DR6_RESET | causes));
    expect((e->rflags & RFLAGS_RF) == (rf ? RFLAGS_RF : 0), "exception %u: RFLAGS %lx", i,
           e->rflags);
    expect((e->dr7 & DR7_GD) == 0, "exception %u: DR7 %lx", i, e->dr7);
}

static void expect_count(unsigned count)
{
    expect(event_count == count, "%u exceptions, not %u", event_count, count);
}

/* NATIVE: done by the CPU. */
enum { FROM_HOLE = 1, WITHOUT_TF = 2, GUARDED_DR7 = 4, NATIVE = 8 };

static const struct step_case {
    const char *name;
    const char *code, *next;
    uint64_t rax, rcx, rdx;
    unsigned repeats; /* steps that end at CODE again */
    const char *before;
    unsigned flags;
} step_cases[] = {
    {"NOP", step_nop, step_nop_next, 0, 0, 0, 0, NULL, 0},
    {"CPUID", step_cpuid, step_cpuid_next, 0, 0, 0, 0, NULL, 0},
    {"RDMSR", step_rdmsr, step_rdmsr_next, 0, MSR_MTRRCAP, 0, 0, NULL, 0},
    {"WRMSR", step_wrmsr, step_wrmsr_next, 0x06060606, MSR_MTRR_FIX64K, 0x06060606, 0, NULL, 0},
    {"IN", step_in, step_in_next, 0, 0, UNUSED_PORT, 0, NULL, 0},
    {"OUT", step_out, step_out_next, 0, 0, UNUSED_PORT, 0, NULL, 0},
    {"OUTSB", step_outsb, step_outsb_next, 0, 0, UNUSED_PORT, 0, NULL, 0},
    {"INSB", step_insb, step_insb_next, 0, 0, UNUSED_PORT, 0, NULL, 0},
    {"REP OUTSB", step_rep_outsb, step_rep_outsb_next, 0, COUNT, UNUSED_PORT, 2, NULL, 0},
    {"REP INSB", step_rep_insb, step_rep_insb_next, 0, COUNT, UNUSED_PORT, 2, NULL, 0},
    {"REP MOVSB", step_rep_movsb, step_rep_movsb_next, 0, COUNT, 0, 2, NULL, NATIVE},
    {"MOV from CR4", step_mov_from_cr4, step_mov_from_cr4_next, 0, 0, 0, 0, NULL, 0},
    {"MOV to CR4", step_mov_to_cr4, step_mov_to_cr4_next, 0x20, 0, 0, 0, NULL, 0},
    {"WBINVD", step_wbinvd, step_wbinvd_next, 0, 0, 0, 0, NULL, 0},
    {"MOV from the hole", step_load, step_load_next, 0, 0, 0, 0, NULL, 0},
    {"MOV to the hole", step_store, step_store_next, 0, 0, 0, 0, NULL, 0},
    {"STOSB to the hole", step_stosb, step_stosb_next, 0, 0, 0, 0, NULL, FROM_HOLE},
    {"REP STOSB to the hole", step_rep_stosb, step_rep_stosb_next, 0, COUNT, 0, 2, NULL, FROM_HOLE},
    {"STI", step_sti, step_sti_next, 0, 0, 0, 0, NULL, 0},
    {"MOV SS, NOP: none between", step_ss_nop, step_ss_nop_next, 0, 0, 0, 0, step_ss_nop_before, 0},
    {"MOV SS, CPUID: none between", step_ss_cpuid, step_ss_cpuid_next, 0, 0, 0, 0,
     step_ss_cpuid_before, 0},
    {"MOV SS, OUT: none between", step_ss_out, step_ss_out_next, 0, 0, UNUSED_PORT, 0,
     step_ss_out_before, 0},
    {"MOV SS, MOV from the hole: none between", step_ss_load, step_ss_load_next, 0, 0, 0, 0,
     step_ss_load_before, 0},
    {"POPF sets TF, CPUID", step_popf_cpuid, step_popf_cpuid_next, 0, 0, 0, 0,
     step_popf_cpuid_before, WITHOUT_TF},
    {"POPF sets TF, MOV from the hole", step_popf_load, step_popf_load_next, 0, 0, 0, 0,
     step_popf_load_before, WITHOUT_TF},
    {"CPUID, with DR7.GD", step_cpuid, step_cpuid_next, 0, 0, 0, 0, NULL, GUARDED_DR7},
};

/*
 * Before anything is stepped over that exits: where a #DB that is intercepted leaves DR6 as it was,
 * a step over such an instruction comes to the host, where no CPU takes it.
 */
static bool steps_are_lost(void)
{
    static enum { UNKNOWN, KEPT, LOST } steps;
    if (steps == UNKNOWN) {
        struct registers r = registers(RFLAGS_TF);
        run(step_nop, SEL_CODE64, &r, 0);
        steps = event_count == 3 && events[0].dr6 == DR6_RESET ? LOST : KEPT;
    }
    if (steps == LOST)
        skip("emulator: an intercepted #DB leaves DR6 as it was, and steps come to the host");
    return steps == LOST;
}

/* STI shadows no debug exception. */
static bool sti_hides_step(const char *next)
{
    bool hides = event_count > 0 && events[0].rip == (uint64_t)next;
    if (hides)
        skip("emulator: STI holds a step back");
    return hides;
}

static void run_step(const struct step_case *c)
{
    if (steps_are_lost())
        return;
    struct registers r = registers(c->flags & WITHOUT_TF ? 0 : RFLAGS_TF);
    r.gpr[RAX] = c->rax;
    r.gpr[RCX] = c->rcx;
    r.gpr[RDX] = c->rdx;
    if (c->flags & FROM_HOLE)
        r.gpr[RDI] = HOLE;
    run(c->before != NULL ? c->before : c->code, SEL_CODE64, &r,
        c->flags & GUARDED_DR7 ? DR7_GD : 0);
    if (c->code == step_sti && sti_hides_step(c->next + 1))
        return;
    if (c->flags & GUARDED_DR7 && !machine.nosnoop && (events[0].dr7 & DR7_GD)) {
        skip("emulator: a #DB leaves DR7.GD set");
        return;
    }
    unsigned i = 0;
    bool sets_rf = (events[0].rflags & RFLAGS_RF) != 0;
    if (c->repeats > 0 && !sets_rf && (c->flags & NATIVE || !machine.nosnoop))
        skip("emulator: no RF between the iterations of a string");
    else
        sets_rf = true;
    for (; i < c->repeats; i++)
        expect_debug(i, c->code, DR6_BS, sets_rf);
    expect_debug(i, c->next, DR6_BS, false);
    expect_debug(i + 1, c->next + 1, DR6_BS, false);
    expect_debug(i + 2, form_done, DR6_BS, false);
    expect_count(i + 3);
}

/* Where an instruction breakpoint must be hit once, before the instruction does anything. */
static const struct step_case break_cases[] = {
    {"NOP", step_nop, step_nop_next, 0, 0, 0, 0, NULL, 0},
    {"CPUID", step_cpuid, step_cpuid_next, 0, 0, 0, 0, NULL, 0},
    {"RDMSR", step_rdmsr, step_rdmsr_next, 0, MSR_MTRRCAP, 0, 0, NULL, 0},
    {"OUT", step_out, step_out_next, 0, 0, UNUSED_PORT, 0, NULL, 0},
    {"REP OUTSB", step_rep_outsb, step_rep_outsb_next, 0, 600, UNUSED_PORT, 0, NULL, 0},
    {"MOV from the hole", step_load, step_load_next, 0, 0, 0, 0, NULL, 0},
    {"REP STOSB to the hole", step_rep_stosb, step_rep_stosb_next, 0, COUNT, 0, 0, NULL, FROM_HOLE},
};

static void run_break(const struct step_case *c)
{
    if (steps_are_lost())
        return;
    struct registers r = registers(0);
    r.gpr[RAX] = c->rax;
    r.gpr[RCX] = c->rcx;
    r.gpr[RDX] = c->rdx;
    if (c->flags & FROM_HOLE)
        r.gpr[RDI] = HOLE;
    write_dr0(c->code);
    run(c->code, SEL_CODE64, &r, DR7_L0);
    if (!machine.nosnoop && event_count > 1 && events[1].rip == (uint64_t)c->code) {
        skip("emulator: no RF between the iterations of a string");
        return;
    }
    expect_debug(0, c->code, DR6_B0, false);
    expect_count(1);
}

static void hypercall_step(void)
{
    if (steps_are_lost())
        return;
    struct registers r = registers(RFLAGS_TF);
    const char *code = machine.intel ? step_vmcall : step_vmmcall;
    const char *next = machine.intel ? step_vmcall_next : step_vmmcall_next;
    run(code, SEL_CODE64, &r, 0);
    expect_debug(0, next, DR6_BS, false);
    expect_debug(1, next + 1, DR6_BS, false);
    expect_count(3);
}

static void compat_step(void)
{
    if (steps_are_lost())
        return;
    struct registers r = registers(RFLAGS_TF);
    run(step_compat, SEL_CODE32, &r, 0);
    expect_debug(0, step_compat_next, DR6_BS, false);
    expect_debug(1, step_compat_next + 1, DR6_BS, false);
    expect_debug(2, form_done, DR6_BS, false);
    expect_count(3);
}

/* A fault is no end of the instruction: no step, and TF in what was pushed. */
static void faulting_step(void)
{
    if (steps_are_lost())
        return;
    struct registers r = registers(RFLAGS_TF);
    r.gpr[RCX] = 0x12345;
    run(step_rdmsr, SEL_CODE64, &r, 0);
    if (!machine.nosnoop && events[0].vector == VECTOR_DB) {
        skip("emulator: unknown MSRs raise no #GP");
        return;
    }
    expect_count(1);
    expect(events[0].vector == VECTOR_GP, "vector %lu", events[0].vector);
    expect(events[0].rip == (uint64_t)step_rdmsr, "RIP %lx", events[0].rip);
    expect((events[0].rflags & (RFLAGS_TF | RFLAGS_RF)) == (RFLAGS_TF | RFLAGS_RF), "RFLAGS %lx",
           events[0].rflags);
    expect(events[0].dr6 == DR6_RESET, "DR6 %lx", events[0].dr6);
}

/* The #DB that the hypervisor injects meets a gate that is not there: its RIP is pushed. */
static void step_without_gate(void)
{
    const uint8_t present = 0x80;
    if (steps_are_lost())
        return;
    struct registers r = registers(RFLAGS_TF);
    r.gpr[RCX] = 0;
    fault_idt[VECTOR_DB].type &= (uint8_t)~present;
    run(step_cpuid, SEL_CODE64, &r, 0);
    fault_idt[VECTOR_DB].type |= present;
    expect_count(1);
    expect(events[0].vector == VECTOR_NP, "vector %lu", events[0].vector);
    expect(events[0].rip == (uint64_t)step_cpuid_next, "RIP %lx", events[0].rip);
    expect(events[0].dr6 == (DR6_RESET | DR6_BS), "DR6 %lx", events[0].dr6);
}

/* The first step comes behind STI, the second behind CPUID. */
static void sti_step(void)
{
    if (steps_are_lost())
        return;
    struct registers r = registers(RFLAGS_TF);
    r.gpr[RCX] = 0;
    run(step_sti_cpuid_before, SEL_CODE64, &r, 0);
    if (sti_hides_step(step_sti_cpuid_next))
        return;
    expect_debug(0, step_sti_cpuid, DR6_BS, false);
    expect_debug(1, step_sti_cpuid_next, DR6_BS, false);
    expect_count(4);
}

static void data_breakpoint(void)
{
    if (steps_are_lost())
        return;
    struct registers r = registers(0);
    r.gpr[RBX] = (uint64_t)buffer;
    write_dr0(buffer);
    run(step_store, SEL_CODE64, &r, DR7_L0 | DR7_WRITE_4);
    expect_debug(0, step_store_next, DR6_B0, false);
    expect_count(1);
}

static void data_breakpoint_step(void)
{
    if (steps_are_lost())
        return;
    struct registers r = registers(RFLAGS_TF);
    r.gpr[RBX] = (uint64_t)buffer;
    write_dr0(buffer);
    run(step_store, SEL_CODE64, &r, DR7_L0 | DR7_WRITE_4);
    if (!machine.nosnoop && events[0].rip != (uint64_t)step_store_next) {
        skip("emulator: a data breakpoint under TF is hit elsewhere");
        return;
    }
    expect_debug(0, step_store_next, DR6_B0 | DR6_BS, false);
    expect_debug(1, step_store_next + 1, DR6_BS, false);
    expect_count(3);
}

/* MOV SS holds its own breakpoint back until the next instruction has ended. */
static void held_breakpoint(uint64_t rflags, uint64_t causes, unsigned count)
{
    if (steps_are_lost())
        return;
    struct registers r = registers(rflags);
    r.gpr[RCX] = 0;
    write_dr0(stack_selector);
    run(step_ss_memory_cpuid_before, SEL_CODE64, &r, DR7_L0 | DR7_ACCESS_2);
    if (event_count > 0 && events[0].rip == (uint64_t)step_ss_memory_cpuid) {
        skip("emulator: MOV SS does not hold its breakpoint back");
        return;
    }
    expect_debug(0, step_ss_memory_cpuid_next, causes, false);
    expect_count(count);
}

static void held_alone(void)
{
    held_breakpoint(0, DR6_B0, 1);
}

static void held_with_step(void)
{
    held_breakpoint(RFLAGS_TF, DR6_B0 | DR6_BS, 3);
}

static void guarded(const char *code)
{
    if (steps_are_lost())
        return;
    struct registers r = registers(0);
    r.gpr[RSI] = DR7_RESET;
    run(code, SEL_CODE64, &r, DR7_GD);
    if (event_count == 0 && !machine.intel) {
        skip("emulator: DR7.GD is ignored");
        return;
    }
    expect_debug(0, code, DR6_BD, false);
    expect_count(1);
}

static void guarded_write(void)
{
    guarded(step_mov_to_dr7);
}

static void guarded_read(void)
{
    guarded(step_mov_from_dr6);
}

/* A trap that sets nothing in DR6. */
static void icebp(void)
{
    if (steps_are_lost())
        return;
    struct registers r = registers(0);
    run(step_icebp, SEL_CODE64, &r, 0);
    if (event_count == 1 && events[0].vector == VECTOR_UD) {
        skip("emulator: INT1 is #UD");
        return;
    }
    expect_debug(0, step_icebp_next, 0, false);
    expect_count(1);
}

static const struct test_case cases[] = {
    {"step: hypercall", needs_nosnoop, hypercall_step},
    {"step: CPUID in 32-bit code", NULL, compat_step},
    {"step: none on RDMSR that faults", NULL, faulting_step},
    {"step: STI, CPUID: one between", NULL, sti_step},
    {"step: CPUID, no gate", NULL, step_without_gate},
    {"breakpoint: data", NULL, data_breakpoint},
    {"breakpoint: data and a step", NULL, data_breakpoint_step},
    {"breakpoint: data of MOV SS, behind CPUID", NULL, held_alone},
    {"breakpoint: data of MOV SS, behind CPUID and a step", NULL, held_with_step},
    {"DR7.GD: MOV to DR7", NULL, guarded_write},
    {"DR7.GD: MOV from DR6", NULL, guarded_read},
    {"INT1", NULL, icebp},
};

static void run_table(const char *what, const struct step_case *table, unsigned count,
                      void (*run_case)(const struct step_case *c))
{
    for (unsigned i = 0; i < count; i++) {
        char name[80];
        format(name, sizeof(name), "%s: %s", what, table[i].name);
        ktap_start(name);
        run_case(&table[i]);
        ktap_finish();
    }
}

void test_main(void)
{
    out8(PIC_MASK_1, 0xff); /* STI is executed: no interrupt of a bare machine may come */
    out8(PIC_MASK_2, 0xff);
    ktap_begin(ARRAY_SIZE(cases) + ARRAY_SIZE(step_cases) + ARRAY_SIZE(break_cases));
    run_table("step", step_cases, ARRAY_SIZE(step_cases), run_step);
    run_table("breakpoint", break_cases, ARRAY_SIZE(break_cases), run_break);
    ktap_run(cases, ARRAY_SIZE(cases));
    ktap_end();
}
