/*
 * The trace: calls that turn it on and off, and what there is to trace, each thing a known number
 * of times. tests/system/test_trace.py compares what it says in the log with what the emulator
 * shows: the guest waits before it begins (`wait=begin`), until `trace_go` is not 0, or after so
 * many steps (`wait=end until=N`).
 *
 * row: trace end=0 set=policy=exact set=control=yes
 * row: trace.denied end=0 set=policy=exact cmdline="denied=yes"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/policies.h"
#include "lib/string.h"

#define SPOT 0x2000000ull /* memory that nothing uses, in leaves of 2 MiB */

enum { BASE = MSR_MTRR_PHYSBASE0 + 14, MASK, UNKNOWN_MSR = 0x7fffff00, ERRNO_PERM = -1 };
enum { ERRNO_INVAL = -22 };

#define PAT_AS_RESET  0x0007040600070406ull
#define PAT_WITH_ZERO 0x0007040600070400ull

/* Set by the test when the guest is to go on. */
volatile uint32_t trace_go;

static bool waits(const char *where)
{
    return cmdline_has("wait", where);
}

/* --- calls ------------------------------------------------------------------------------------ */

static void refused(void)
{
    const uint64_t bad[] = {TRACE_CALL_DUMP + 1, 1ull << 32, UINT64_MAX};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        int64_t result = hypercall_trace(bad[i]);
        expect(result == ERRNO_INVAL, "%lx: %ld", bad[i], result);
    }
    for (uint64_t what = TRACE_CALL_OFF; what <= TRACE_CALL_DUMP; what++) {
        int64_t result = hypercall_trace(what);
        expect(result == 0, "%lu: %ld", what, result);
    }
    expect(hypercall_trace(TRACE_CALL_OFF) == 0, "it cannot be turned off");
}

static void denied(void)
{
    for (uint64_t what = TRACE_CALL_OFF; what <= TRACE_CALL_DUMP + 1; what++) {
        int64_t result = hypercall_trace(what);
        expect(result == ERRNO_PERM, "%lu: %ld", what, result);
    }
}

/* --- what there is to trace ------------------------------------------------------------------- */

/* What was done, to be printed when the trace is off. */
static struct write {
    uint32_t msr;
    uint64_t value;
} writes[32];
static unsigned write_count;

static void write(uint32_t msr, uint64_t value)
{
    wrmsr(msr, value);
    writes[write_count++] = (struct write){msr, value};
}

static uint64_t mask_of(uint64_t size)
{
    return (address_mask() & ~(size - 1)) | MASK_V;
}

static void ask_cpuid(void)
{
    for (unsigned i = 0; i < 5; i++)
        (void)cpuid(0x40000000, i);
}

/* A #GP each from two MSRs, and the #UD of a hypercall by CPL 3. */
static void take_faults(void)
{
    struct registers r = {.rflags = RFLAGS_FIXED};
    uint64_t value;
    expect(is_gp0(try_rdmsr(UNKNOWN_MSR, &value)), "RDMSR");
    expect(is_gp0(try_wrmsr(UNKNOWN_MSR + 1, 0)), "WRMSR");
    struct fault fault = form_run(machine.intel ? form_vmcall : form_vmmcall, SEL_USER_CODE64, &r);
    expect(fault.vector == VECTOR_UD, "hypercall: vector %d", fault.vector);
}

/* A leaf of 2 MiB, from WB. */
static void make_uc(void)
{
    write(BASE, SPOT | MT_UC);
    write(MASK, mask_of(2 * MIB));
}

/* It splits: a part stays as it is, the rest becomes WB again. */
static void leave_8k(void)
{
    write(MASK, mask_of(2 * PAGE_SIZE));
}

/* It joins. */
static void take_back(void)
{
    write(MASK, 0);
}

/* So little that lines are flushed one by one. */
static void make_wc(void)
{
    write(BASE, SPOT | MT_WC);
    write(MASK, mask_of(PAGE_SIZE));
}

/* To the view of E = 0 and back. */
static void disable(void)
{
    uint64_t def_type = rdmsr(MSR_MTRR_DEF_TYPE);
    write(MSR_MTRR_DEF_TYPE, def_type & ~(uint64_t)DEF_E);
    write(MSR_MTRR_DEF_TYPE, def_type);
}

/* What is written in the meantime has to be done when CD clears. */
static void write_while_cd(void)
{
    uint64_t cr0 = read_cr0();
    write_cr0(cr0 | CR0_CD);
    write(MASK, 0);
    ask_cpuid();
    write_cr0(cr0);
}

static void write_pat(void)
{
    write(MSR_PAT, PAT_WITH_ZERO);
    write(MSR_PAT, PAT_AS_RESET);
}

/* To rules by which no leaf is another, and back. */
static void change_policy(void)
{
    int64_t there = policy_call(POLICY_BITVISOR, 0), back = policy_call(POLICY_EXACT, 0);
    expect(there == 0 && back == 0, "policy: %ld, %ld", there, back);
}

static void (*const steps[])(void) = {
    ask_cpuid, take_faults, make_uc,   leave_8k,       take_back,
    make_wc,   disable,     write_pat, write_while_cd, change_policy,
};

static void make_all(void)
{
    uint64_t until = cmdline_number("until", ARRAY_SIZE(steps));
    for (uint64_t i = 0; i < until; i++)
        steps[i]();
}

static void all_kinds(void)
{
    if (waits("begin")) {
        print("waiting\n");
        while (trace_go == 0)
            cpu_relax();
    }
    int64_t on = hypercall_trace(TRACE_CALL_ON);
    make_all();
    int64_t off = hypercall_trace(TRACE_CALL_OFF);
    int64_t dump = hypercall_trace(TRACE_CALL_DUMP);
    expect(on == 0 && off == 0 && dump == 0, "on %ld, off %ld, dump %ld", on, off, dump);
    for (unsigned i = 0; i < write_count; i++)
        print("# wrmsr %x %lx\n", writes[i].msr, writes[i].value);
    if (waits("end")) {
        print("waiting\n");
        for (;;)
            cpu_relax();
    }
}

static const struct test_case without_control[] = {
    {"calls without control = yes", needs_nosnoop, denied},
};

static const struct test_case cases[] = {
    {"calls", needs_nosnoop, refused},
    {"all kinds", needs_nosnoop, all_kinds},
};

void test_main(void)
{
    bool none = cmdline_has("denied", "yes");
    const struct test_case *table = none ? without_control : cases;
    unsigned count = none ? ARRAY_SIZE(without_control) : ARRAY_SIZE(cases);
    ktap_all(table, count);
}
