/*
 * Instructions that a guest does not have are #UD, at every CPL: those of both vendors'
 * virtualization, and those that CPUID hides. Those that CPL 3 may not use are #GP there.
 *
 * row: vendor end=0
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/assert.h"

/* As vendor.asm numbers them. */
enum gate {
    ABSENT,
    HYPERCALL_INTEL,
    HYPERCALL_AMD,
    GATE_INVPCID,
    GATE_MONITOR,
    GATE_XSAVES,
    GATE_RDRAND,
    GATE_RDSEED,
    GATE_RDTSCP,
    GATE_RDPMC,
    GATE_WAITPKG,
    PRIVILEGED,
};

struct vendor_form {
    const char *name;
    const char *kernel, *kernel_32, *user; /* code of CPL 0, the same in 32 bits, of CPL 3 */
    uint64_t gate;                         /* enum gate */
};
static_assert(sizeof(struct vendor_form) == 40, "table in vendor.asm");

extern const struct vendor_form vendor_forms[], vendor_forms_end[];

#define UNMAPPED 0x200000000ull /* what code of CPL 3 reads when the instruction was executed */

static uint8_t operand[4096] __attribute__((aligned(4096)));

/* What the registers RAX and RCX hold: some of these instructions judge them, for a #GP. */
static const uint64_t operands[][2] = {{0, 0}, {0xfff, 1}, {1ull << 63, 1ull << 32}};

static bool shown(uint32_t leaf, uint32_t subleaf, unsigned reg, unsigned bit)
{
    struct cpuid_regs r = cpuid(leaf, subleaf);
    uint32_t values[] = {r.eax, r.ebx, r.ecx, r.edx};
    return cpuid(leaf & 0x80000000, 0).eax >= leaf && (values[reg] >> bit & 1) != 0;
}

static bool is_shown(enum gate gate)
{
    switch (gate) {
    case HYPERCALL_INTEL:
        return machine.nosnoop && machine.intel;
    case HYPERCALL_AMD:
        return machine.nosnoop && !machine.intel;
    case GATE_INVPCID:
        return shown(7, 0, 1, 10);
    case GATE_MONITOR:
        return shown(1, 0, 2, 3);
    case GATE_XSAVES:
        return shown(0xd, 1, 0, 3);
    case GATE_RDRAND:
        return shown(1, 0, 2, 30);
    case GATE_RDSEED:
        return shown(7, 0, 1, 18);
    case GATE_RDTSCP:
        return shown(0x80000001, 0, 3, 27);
    case ABSENT:
    case GATE_RDPMC:
    case GATE_WAITPKG:
    case PRIVILEGED:
        return false;
    }
    return false;
}

static struct fault run(const char *code, enum selector cs, const uint64_t values[2])
{
    struct registers r = {.rflags = RFLAGS_FIXED};
    r.gpr[RAX] = values[0];
    r.gpr[RCX] = values[1];
    r.gpr[RBX] = (uint64_t)operand;
    struct fault fault = form_run(code, cs, &r);
    if (fault.vector == VECTOR_PF && fault.cr2 == UNMAPPED)
        fault.vector = FAULT_NONE; /* code of CPL 3 came to its end */
    return fault;
}

/* Why the CPU may end the instruction with VECTOR after all, or NULL. */
static const char *deviation(enum gate gate, enum selector cs, int vector)
{
    bool executed = vector == FAULT_NONE;
    if (gate == GATE_WAITPKG && !machine.intel && executed)
        return "emulator: executed as MFENCE";
    if (gate == GATE_RDSEED && !machine.intel && executed)
        return "emulator: RDSEED is there with RDRAND";
    if (gate == GATE_RDPMC && !machine.nosnoop && cs != SEL_USER_CODE64)
        return "emulator: no #GP by RDPMC";
    if (gate == GATE_XSAVES && !machine.intel)
        return "AMD: not intercepted";
    if (gate == GATE_XSAVES && cs == SEL_USER_CODE64 && vector == VECTOR_GP)
        return "emulator: the CPL is checked before the control";
    return NULL;
}

static void expect_vector(const struct vendor_form *form, const char *code, enum selector cs,
                          int vector)
{
    static const char *const modes[] = {"64-bit code", "32-bit code", "CPL 3"};
    const char *mode = modes[cs == SEL_CODE64 ? 0 : cs == SEL_CODE32 ? 1 : 2];
    for (unsigned i = 0; i < ARRAY_SIZE(operands); i++) {
        struct fault fault = run(code, cs, operands[i]);
        const char *reason = deviation((enum gate)form->gate, cs, fault.vector);
        if (fault.vector != vector && reason != NULL) {
            skip(reason);
            return;
        }
        expect(fault.vector == vector, "%s, RAX %lx: vector %d, not %d", mode, operands[i][0],
               fault.vector, vector);
        if (fault.vector == FAULT_NONE || vector == FAULT_NONE)
            continue;
        expect(fault.rip == (uint64_t)code, "%s: RIP %lx, not %lx", mode, fault.rip,
               (uint64_t)code);
        expect(fault.error == 0, "%s: error %x", mode, fault.error);
    }
}

static void expect_everywhere(const struct vendor_form *form, int vector)
{
    expect_vector(form, form->kernel, SEL_CODE64, vector);
    expect_vector(form, form->kernel_32, SEL_CODE32, vector);
    expect_vector(form, form->user, SEL_USER_CODE64, vector);
}

/* SDM and APM: what is there is executed at every CPL; what is not is #UD at every CPL. */
static void run_unprivileged(const struct vendor_form *form)
{
    expect_everywhere(form, is_shown((enum gate)form->gate) ? FAULT_NONE : VECTOR_UD);
}

static void run_absent(const struct vendor_form *form)
{
    if (is_shown((enum gate)form->gate))
        skip("this CPU has it");
    else
        expect_everywhere(form, VECTOR_UD);
}

static void run_form(const struct vendor_form *form)
{
    switch ((enum gate)form->gate) {
    case GATE_RDRAND:
    case GATE_RDSEED:
    case GATE_RDTSCP:
        run_unprivileged(form);
        break;
    case GATE_RDPMC: /* no counter is there: none that can be read */
        expect_everywhere(form, VECTOR_GP);
        break;
    case PRIVILEGED:
        expect_vector(form, form->user, SEL_USER_CODE64, VECTOR_GP);
        break;
    case ABSENT:
    case HYPERCALL_INTEL:
    case HYPERCALL_AMD:
    case GATE_INVPCID:
    case GATE_MONITOR:
    case GATE_XSAVES:
    case GATE_WAITPKG:
        run_absent(form);
        break;
    }
}

void test_main(void)
{
    if (shown(1, 0, 2, 26))
        write_cr4(read_cr4() | CR4_OSXSAVE);
    ktap_begin((unsigned)(vendor_forms_end - vendor_forms));
    for (const struct vendor_form *form = vendor_forms; form < vendor_forms_end; form++) {
        ktap_start(form->name);
        run_form(form);
        ktap_finish();
    }
    ktap_end();
}
