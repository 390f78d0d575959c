/* Enters the guest, and decodes what the VMCS says of its exit (SDM, "VMX Basic Exit Reasons"). */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/x86.h"
#include "vmm/host/log.h"
#include "vmm/instruments/trace.h"
#include "vmm/host/traps.h"
#include "vmx/controls.h"
#include "vmx/insn.h"
#include "vmx/vmx.h"

static const char *const names[] = {
#define X(name, number, text) [number] = (text),
    VMX_EXIT_REASONS(X)
#undef X
};

/* The valid format of interruption information serves exits and entries alike. */
static struct event event_of(uint64_t info, enum vmcs_field error_field)
{
    if ((info & EVENT_VALID) == 0)
        return (struct event){.valid = false};
    bool has_error = (info & EVENT_DELIVER_ERROR_CODE) != 0;
    return (struct event){
        .valid = true,
        .vector = (uint8_t)(info & EVENT_VECTOR),
        .type = (uint8_t)((info & EVENT_TYPE) >> 8),
        .has_error = has_error,
        .error = has_error ? (uint32_t)vmread(error_field) : 0,
    };
}

/*
 * In the SHADOW of STI or MOV SS an entry wants a single step to be pending, which the exit may not
 * have saved (SDM, "Checks on Guest Non-Register State", "Saving Non-Register State").
 */
static void keep_step_pending(const struct vcpu *vcpu, uint64_t shadow)
{
    uint64_t pending = vmread(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS);
    if ((shadow & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS)) != 0 &&
        (vcpu->state.rflags & RFLAGS_TF) != 0)
        vmwrite(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, pending | PENDING_DEBUG_BS);
}

/*
 * The host's handler runs by a software interrupt: its IRET ends the blocking of NMIs. That of the
 * guest's own is another one, and stays (SDM, "Saving Non-Register State"). Where the guest cannot
 * be in a handler of its own, it goes, for CPUs that do not keep the two apart.
 */
static void take_nmi(const struct vcpu *vcpu, struct vm_exit *exit)
{
    uint64_t state = vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE);
    __asm__ volatile("int $2");
    if (!vmx_of(vcpu)->nmi)
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE, state & ~(uint64_t)BLOCKING_BY_NMI);
    keep_step_pending(vcpu, state);
    exit->kind = EXIT_INTERRUPT;
}

/* An intercepted #DB has not changed DR6 yet: the qualification has what it would get. */
static void set_debug_status(struct vcpu *vcpu)
{
    const uint64_t conditions = 0xf | 1u << 13 | DR6_BS;
    uint64_t pending = vmread(VMCS_EXIT_QUALIFICATION) & conditions;
    vcpu_change(vcpu, STATE_CR);
    vcpu->state.dr6 = (vcpu->state.dr6 & ~0xfull) | pending;
}

static __attribute__((noinline)) void decode_exception(struct vcpu *vcpu, struct vm_exit *exit)
{
    uint64_t info = vmread(VMCS_VM_EXIT_INTERRUPTION_INFORMATION);
    struct event event = event_of(info, VMCS_VM_EXIT_INTERRUPTION_ERROR_CODE);
    if (event.type == DELIVER_NMI) {
        take_nmi(vcpu, exit);
        return;
    }
    if (event.vector == VECTOR_MC)
        machine_check();
    if (event.type == DELIVER_ICEBP)
        event.length = (uint8_t)vmread(VMCS_VM_EXIT_INSTRUCTION_LENGTH);
    else if (event.vector == VECTOR_DB)
        set_debug_status(vcpu);
    exit->exception = event;
}

/* SDM, "Exit Qualification for Control-Register Accesses". */
static void decode_cr(struct vm_exit *exit)
{
    static_assert(CR_MOV_TO == 0 && CR_MOV_FROM == 1 && CR_CLTS == 2 && CR_LMSW == 3, "the same");
    uint64_t q = vmread_always(VMCS_EXIT_QUALIFICATION);
    exit->cr = (struct exit_cr){
        .known = true,
        .op = (uint8_t)(q >> 4 & 3),
        .cr = (uint8_t)(q & 0xf),
        .gpr = (uint8_t)(q >> 8 & 0xf),
        .source = (uint16_t)(q >> 16),
    };
}

/* SDM, "Exit Qualification for I/O Instructions". */
static void decode_io(struct vm_exit *exit)
{
    uint64_t q = vmread_always(VMCS_EXIT_QUALIFICATION);
    exit->io = (struct exit_io){
        .port = (uint16_t)(q >> 16),
        .width = (uint8_t)((q & 7) + 1),
        .flags = (uint8_t)((q >> 3 & 1 ? IO_IN : 0) | (q >> 2 & (IO_STRING | IO_REP))),
    };
}

/* SDM, "Exit Qualification for EPT Violations". */
static void decode_memory(struct vm_exit *exit)
{
    uint64_t q = vmread_always(VMCS_EXIT_QUALIFICATION);
    bool linear_valid = (q & 1 << 7) != 0, translated = (q & 1 << 8) != 0;
    exit->memory = (struct exit_memory){
        .gpa = gpa(vmread(VMCS_GUEST_PHYSICAL_ADDRESS)),
        .access = (q & 4) != 0   ? PT_X
                  : (q & 2) != 0 ? PT_W
                                 : PT_R,
        .present = (q >> 3 & 7) != 0,
        .walk = !linear_valid || !translated,
        .pdptes = !linear_valid,
    };
}

/*
 * SDM, "Exit Qualification for APIC-Access VM Exits from Linear Accesses and Guest-Physical
 * Accesses": reads, writes, fetches, event delivery; from 10 on they are of the CPU's walk.
 */
static void decode_apic_access(struct vm_exit *exit)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);
    unsigned type = q >> 12 & 0xf;
    exit->memory = (struct exit_memory){
        .gpa = gpa(LAPIC_ADDRESS + q % PAGE_SIZE),
        .access = type == 0   ? PT_R
                  : type == 2 ? PT_X
                              : PT_W,
        .present = true,
        .walk = type >= 10,
    };
}

struct exit_row {
    uint8_t kind;  /* enum exit_kind */
    bool advances; /* an instruction whose length the exit carries */
};

/*
 * Reasons that have no row are of controls that are off, and must never occur, or of failed
 * entries, which carry more bits than their reason.
 */
static const struct exit_row rows[ARRAY_SIZE(names)] = {
    [VMX_EXIT_EXCEPTION_OR_NMI] = {EXIT_EXCEPTION, false},
    [VMX_EXIT_EXTERNAL_INTERRUPT] = {EXIT_INTERRUPT, false},
    [VMX_EXIT_TRIPLE_FAULT] = {EXIT_TRIPLE_FAULT, false},
    [VMX_EXIT_INIT] = {EXIT_INIT, false},
    [VMX_EXIT_INTERRUPT_WINDOW] = {EXIT_WINDOW, false},
    [VMX_EXIT_NMI_WINDOW] = {EXIT_WINDOW, false},
    [VMX_EXIT_CPUID] = {EXIT_CPUID, true},
    [VMX_EXIT_GETSEC] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_HLT] = {EXIT_HLT, true},
    [VMX_EXIT_INVD] = {EXIT_INVD, true},
    [VMX_EXIT_RDPMC] = {EXIT_PRIVILEGED, false},
    [VMX_EXIT_RSM] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_VMCALL] = {EXIT_HYPERCALL, true},
    [VMX_EXIT_VMCLEAR] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_VMLAUNCH] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_VMPTRLD] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_VMPTRST] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_VMREAD] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_VMRESUME] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_VMWRITE] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_VMXOFF] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_VMXON] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_CR_ACCESS] = {EXIT_CR, true},
    [VMX_EXIT_IO_INSTRUCTION] = {EXIT_IO, true},
    [VMX_EXIT_RDMSR] = {EXIT_RDMSR, true},
    [VMX_EXIT_WRMSR] = {EXIT_WRMSR, true},
    [VMX_EXIT_TPR_BELOW_THRESHOLD] = {EXIT_WINDOW, false},
    [VMX_EXIT_APIC_ACCESS] = {EXIT_MEMORY, false},
    [VMX_EXIT_VIRTUALIZED_EOI] = {EXIT_APIC, false},
    [VMX_EXIT_APIC_WRITE] = {EXIT_APIC, false},
    [VMX_EXIT_MWAIT] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_MONITOR] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_EPT_VIOLATION] = {EXIT_MEMORY, false},
    [VMX_EXIT_INVEPT] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_INVVPID] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_WBINVD] = {EXIT_WBINVD, true},
    [VMX_EXIT_XSETBV] = {EXIT_XSETBV, true},
    [VMX_EXIT_ENCLS] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_ENCLV] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_SEAMCALL] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_TDCALL] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_RDMSR_IMMEDIATE] = {EXIT_UNDEFINED, false},
    [VMX_EXIT_WRMSR_IMMEDIATE] = {EXIT_UNDEFINED, false},
};

static void clear_interruptibility(uint64_t bits)
{
    uint64_t state = vmread_always(VMCS_GUEST_INTERRUPTIBILITY_STATE);
    if ((state & bits) != 0)
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE, state & ~bits);
}

/*
 * The length that a software event must be injected with is the one that its delivery had. An NMI
 * that was not delivered blocks no other (SDM, "Resuming Guest Software after Handling an
 * Exception").
 */
static __attribute__((noinline)) void repeat_delivery(struct vcpu *vcpu, uint64_t info)
{
    vcpu->event = event_of(info, VMCS_IDT_VECTORING_ERROR_CODE);
    if (vcpu->event.type >= DELIVER_SOFT_INTERRUPT)
        vcpu->event.length = (uint8_t)vmread(VMCS_VM_EXIT_INSTRUCTION_LENGTH);
    else if (vcpu->event.type == DELIVER_NMI)
        clear_interruptibility(BLOCKING_BY_NMI);
}

/* A failed entry has bit 31 beside its reason; all else here must never occur. */
static __attribute__((noinline)) void decode_other(struct vcpu *vcpu, struct vm_exit *exit,
                                                   uint32_t code)
{
    uint32_t reason = code & EXIT_REASON_BASIC;
    const char *name = reason < ARRAY_SIZE(names) && names[reason] != NULL ? names[reason] : "?";
    bool failed = (code & EXIT_REASON_ENTRY_FAILURE) != 0;
    exit->kind = failed ? EXIT_FAILED : EXIT_UNKNOWN;
    exit->code = code;
    if (failed) /* nothing was delivered: what stands in the VMCS is of an earlier exit */
        vcpu->event.valid = false;
    if (failed && reason == VMX_EXIT_ENTRY_MACHINE_CHECK)
        machine_check();
    log_line("VM %s %u (%s), qualification 0x%lx", failed ? "entry failed" : "exit", reason, name,
             vmread(VMCS_EXIT_QUALIFICATION));
    if (failed)
        vmx_explain(vcpu, 0);
}

/* A write, by its offset; or the EOI of a vector, which the CPU has made. */
static void decode_apic(struct vm_exit *exit, uint32_t code)
{
    uint32_t qualification = (uint32_t)vmread(VMCS_EXIT_QUALIFICATION);
    exit->apic_reg = qualification % PAGE_SIZE / LAPIC_STRIDE;
    exit->apic_ended = code == VMX_EXIT_VIRTUALIZED_EOI;
    exit->apic_vector = qualification & 0xff;
}

/* What few kinds carry or need, but for I/O and control registers. */
static __attribute__((noinline)) void decode_rest(struct vcpu *vcpu, struct vm_exit *exit,
                                                  uint32_t code)
{
    if (code == VMX_EXIT_APIC_ACCESS)
        decode_apic_access(exit);
    else if (exit->kind == EXIT_MEMORY)
        decode_memory(exit);
    else if (exit->kind == EXIT_APIC)
        decode_apic(exit, code);
    else if (exit->kind == EXIT_INTERRUPT)
        keep_step_pending(vcpu, vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE));
    else if (exit->kind == EXIT_EXCEPTION)
        decode_exception(vcpu, exit);
}

static void decode(struct vcpu *vcpu, struct vm_exit *exit)
{
    uint32_t code = (uint32_t)vmread_always(VMCS_EXIT_REASON);
    if (code >= ARRAY_SIZE(rows) || rows[code].kind == EXIT_NONE) {
        decode_other(vcpu, exit, code);
        return;
    }
    const struct exit_row *row = &rows[code];
    exit->kind = (enum exit_kind)row->kind;
    if (row->advances)
        exit->next_rip = vcpu->state.rip + vmread_always(VMCS_VM_EXIT_INSTRUCTION_LENGTH);
    else
        exit->next_rip = 0;
    if (exit->kind == EXIT_IO)
        decode_io(exit);
    else if (exit->kind == EXIT_CR)
        decode_cr(exit);
    else if (exit->kind >= EXIT_INTERRUPT)
        decode_rest(vcpu, exit, code);
}

/* By the cheapest type that the CPU has (SDM, "INVEPT", "INVVPID"). */
void vmx_forget(const struct vmx_caps *caps, uint64_t eptp)
{
    bool single = (caps->ept_vpid & EPT_CAP_INVEPT_SINGLE) != 0;
    uint64_t type = single ? INVALIDATE_SINGLE : INVALIDATE_ALL;
    bool done = invept(type, (struct invalidate_descriptor){eptp, 0});
    assert(done);
    trace(TRACE_INVALIDATE, TRACE_BY_ROOT, (uint32_t)type, align_down(eptp, PAGE_SIZE), 0);
}

static void flush(struct vmx_vcpu *vmx)
{
    if (vmx->flush == VMX_FLUSH_ALL)
        vmx_forget(vmx->caps, vmx->eptp);
    vmx->flush = VMX_FLUSH_NONE;
    if ((vmx->caps->control[VMX_PROC2] & PROC2_ENABLE_VPID) == 0)
        return;
    bool single = (vmx->caps->ept_vpid & VPID_CAP_SINGLE_CONTEXT) != 0;
    uint64_t type = single ? INVALIDATE_SINGLE : INVALIDATE_ALL;
    bool done = invvpid(type, (struct invalidate_descriptor){VMX_GUEST_VPID, 0});
    assert(done);
    trace(TRACE_INVALIDATE, TRACE_OF_GUEST, (uint32_t)type, 0, 0);
}

/*
 * A breakpoint that MOV SS has held back: an injected #DB takes the place of what is pending, and
 * changes DR6 for neither (SDM, "Delivery of Pending Debug Exceptions after VM Entry").
 */
static void take_pending_breakpoints(void)
{
    uint64_t pending = vmread(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS);
    if ((pending & PENDING_DEBUG_ENABLED_BREAKPOINT) != 0)
        write_dr6(read_dr6() | (pending & 0xf));
}

static void set_event(struct vmx_vcpu *vmx, const struct event *event)
{
    uint32_t bits = EVENT_VALID | (uint32_t)event->type << 8 | event->vector;
    if (event->vector == VECTOR_DB)
        take_pending_breakpoints();
    vmx->nmi = vmx->nmi || event->type == DELIVER_NMI;
    if (event->has_error) {
        bits |= EVENT_DELIVER_ERROR_CODE;
        vmwrite(VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE, event->error);
    }
    vmwrite(VMCS_VM_ENTRY_INSTRUCTION_LENGTH, event->length);
    vmwrite(VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, bits);
}

/* What few entries need. */
static __attribute__((noinline)) void prepare(const struct vcpu *vcpu)
{
    struct vmx_vcpu *vmx = vmx_of(vcpu);
    if (vmx->flush != VMX_FLUSH_NONE)
        flush(vmx);
    if (vcpu->event.valid)
        set_event(vmx, &vcpu->event);
}

static void end_shadow(struct vcpu *vcpu)
{
    vcpu->completed = false;
    clear_interruptibility(BLOCKING_BY_STI | BLOCKING_BY_MOV_SS);
}

/* vmx/entry.asm keeps no register but RDI, RBP and RSP: the compiler saves what it needs. */
static inline bool enter(uint64_t *gpr)
{
    bool refused;
    __asm__ volatile("call vmx_enter"
                     : "=@ccc"(refused)
                     : "D"(gpr)
                     : "rax", "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13",
                       "r14", "r15", "memory");
    return !refused;
}

void vmx_run(struct vcpu *vcpu)
{
    struct vmx_vcpu *vmx = vmx_of(vcpu);
    struct guest_state *state = &vcpu->state;
    if (vcpu->completed)
        end_shadow(vcpu);
    if (vmx->flush != VMX_FLUSH_NONE || vcpu->event.valid)
        prepare(vcpu);
    vmwrite_always(VMCS_GUEST_RIP, state->rip);
    vmwrite_always(VMCS_GUEST_RSP, state->gpr[RSP]);
    vmwrite_always(VMCS_GUEST_RFLAGS, state->rflags);
    if (!enter(state->gpr)) {
        uint64_t error = vmread(VMCS_VM_INSTRUCTION_ERROR);
        vcpu->exit = (struct vm_exit){.kind = EXIT_FAILED, .code = error};
        vmx_explain(vcpu, error);
        return;
    }
    vmread_to(VMCS_GUEST_RIP, &state->rip);
    vmread_to(VMCS_GUEST_RSP, &state->gpr[RSP]);
    vmread_to(VMCS_GUEST_RFLAGS, &state->rflags);
    uint64_t vectoring = vmread_always(VMCS_IDT_VECTORING_INFORMATION);
    vcpu->event.valid = false;
    if ((vectoring & EVENT_VALID) != 0)
        repeat_delivery(vcpu, vectoring);
    decode(vcpu, &vcpu->exit);
}

/*
 * Neither entries nor exits change CD and NW of the CPU (SDM, "Loading Guest Control Registers,
 * Debug Registers, and MSRs" and "Loading Host Control Registers, Debug Registers, MSRs"). The
 * host has filled the caches since the last exit (SDM, "Preventing Caching").
 */
void vmx_run_uncached(struct vcpu *vcpu)
{
    vmwrite(VMCS_HOST_RIP, (uint64_t)vmx_exit_point_uncached);
    write_cr0(read_cr0() | CR0_CD);
    wbinvd();
    trace(TRACE_FLUSH, 0, 0, 0, 0);
    vmx_run(vcpu);
    write_cr0(read_cr0() & ~CR0_CD); /* of an entry that the CPU refused */
    vmwrite(VMCS_HOST_RIP, (uint64_t)vmx_exit_point);
}
