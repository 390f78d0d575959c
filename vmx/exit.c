/* Decodes what the VMCS says of an exit into its neutral form (SDM, "VMX Basic Exit Reasons"). */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/x86.h"
#include "vmm/log.h"
#include "vmm/traps.h"
#include "vmx/controls.h"
#include "vmx/vmx.h"

static const char *const names[] = {
#define X(name, number, text) [number] = (text),
    VMX_EXIT_REASONS(X)
#undef X
};

/* What the exit carries beyond its kind. */
typedef void exit_decoder(struct vcpu *vcpu, struct vm_exit *exit);

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
 * The host's handler runs by a software interrupt: its IRET ends the blocking of NMIs, and what the
 * exit left in the guest's interruptibility goes too.
 */
static void take_nmi(struct vm_exit *exit)
{
    uint64_t state = vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE);
    __asm__ volatile("int $2");
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE, state & ~(uint64_t)BLOCKING_BY_NMI);
    exit->kind = EXIT_NONE;
}

/* An intercepted #DB has not changed DR6 yet: the qualification has what it would get. */
static void set_debug_status(struct vcpu *vcpu)
{
    const uint64_t conditions = 0xf | 1u << 13 | DR6_BS;
    uint64_t pending = vmread(VMCS_EXIT_QUALIFICATION) & conditions;
    vcpu_change(vcpu, STATE_CR);
    vcpu->state.dr6 = (vcpu->state.dr6 & ~0xfull) | pending;
}

static void decode_exception(struct vcpu *vcpu, struct vm_exit *exit)
{
    uint64_t info = vmread(VMCS_VM_EXIT_INTERRUPTION_INFORMATION);
    struct event event = event_of(info, VMCS_VM_EXIT_INTERRUPTION_ERROR_CODE);
    if (event.type == DELIVER_NMI) {
        take_nmi(exit);
        return;
    }
    if (event.vector == VECTOR_MC)
        machine_check();
    if (event.vector == VECTOR_DB)
        set_debug_status(vcpu);
    exit->exception = event;
}

/* A physical interrupt is taken here; the host has none that it expects. */
static void decode_interrupt(struct vcpu *vcpu, struct vm_exit *exit)
{
    (void)vcpu, (void)exit;
    __asm__ volatile("sti\n\tnop\n\tcli");
}

/* SDM, "Exit Qualification for Control-Register Accesses". */
static void decode_cr(struct vcpu *vcpu, struct vm_exit *exit)
{
    static const uint8_t ops[] = {CR_MOV_TO, CR_MOV_FROM, CR_CLTS, CR_LMSW};
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);
    (void)vcpu;
    exit->cr = (struct exit_cr){
        .known = true,
        .op = ops[q >> 4 & 3],
        .cr = (uint8_t)(q & 0xf),
        .gpr = (uint8_t)(q >> 8 & 0xf),
        .source = (uint16_t)(q >> 16),
    };
}

/* SDM, "Exit Qualification for I/O Instructions". */
static void decode_io(struct vcpu *vcpu, struct vm_exit *exit)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);
    (void)vcpu;
    exit->io = (struct exit_io){
        .port = (uint16_t)(q >> 16),
        .width = (uint8_t)((q & 7) + 1),
        .in = (q & 1 << 3) != 0,
        .string = (q & 1 << 4) != 0,
        .rep = (q & 1 << 5) != 0,
    };
}

/* SDM, "Exit Qualification for EPT Violations". */
static void decode_memory(struct vcpu *vcpu, struct vm_exit *exit)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);
    bool linear_valid = (q & 1 << 7) != 0, translated = (q & 1 << 8) != 0;
    (void)vcpu;
    exit->memory = (struct exit_memory){
        .gpa = gpa(vmread(VMCS_GUEST_PHYSICAL_ADDRESS)),
        .access = (q & 4) != 0   ? PT_X
                  : (q & 2) != 0 ? PT_W
                                 : PT_R,
        .present = (q >> 3 & 7) != 0,
        .walk = !linear_valid || !translated,
    };
}

static void decode_failed(struct vcpu *vcpu, struct vm_exit *exit)
{
    log_line("VM entry failed: %s, qualification 0x%lx", names[exit->code & EXIT_REASON_BASIC],
             vmread(VMCS_EXIT_QUALIFICATION));
    vmx_explain(vcpu);
}

struct exit_row {
    uint8_t kind;          /* enum exit_kind */
    bool advances;         /* an instruction whose length the exit carries */
    exit_decoder *decoder; /* NULL: it carries nothing more */
};

/* Reasons that have no row are of controls that are off: they must never occur. */
static const struct exit_row rows[ARRAY_SIZE(names)] = {
    [VMX_EXIT_EXCEPTION_OR_NMI] = {EXIT_EXCEPTION, false, decode_exception},
    [VMX_EXIT_EXTERNAL_INTERRUPT] = {EXIT_INTERRUPT, false, decode_interrupt},
    [VMX_EXIT_TRIPLE_FAULT] = {EXIT_TRIPLE_FAULT, false, NULL},
    [VMX_EXIT_INIT] = {EXIT_INIT, false, NULL},
    [VMX_EXIT_CPUID] = {EXIT_CPUID, true, NULL},
    [VMX_EXIT_GETSEC] = {EXIT_UNDEFINED, false, NULL},
    [VMX_EXIT_HLT] = {EXIT_HLT, true, NULL},
    [VMX_EXIT_INVD] = {EXIT_INVD, true, NULL},
    [VMX_EXIT_RDPMC] = {EXIT_PRIVILEGED, false, NULL},
    [VMX_EXIT_RSM] = {EXIT_UNDEFINED, false, NULL},
    [VMX_EXIT_VMCALL] = {EXIT_HYPERCALL, true, NULL},
    [VMX_EXIT_VMCLEAR] = {EXIT_UNDEFINED, false, NULL},
    [VMX_EXIT_VMLAUNCH] = {EXIT_UNDEFINED, false, NULL},
    [VMX_EXIT_VMPTRLD] = {EXIT_UNDEFINED, false, NULL},
    [VMX_EXIT_VMPTRST] = {EXIT_UNDEFINED, false, NULL},
    [VMX_EXIT_VMREAD] = {EXIT_UNDEFINED, false, NULL},
    [VMX_EXIT_VMRESUME] = {EXIT_UNDEFINED, false, NULL},
    [VMX_EXIT_VMWRITE] = {EXIT_UNDEFINED, false, NULL},
    [VMX_EXIT_VMXOFF] = {EXIT_UNDEFINED, false, NULL},
    [VMX_EXIT_VMXON] = {EXIT_UNDEFINED, false, NULL},
    [VMX_EXIT_CR_ACCESS] = {EXIT_CR, true, decode_cr},
    [VMX_EXIT_IO_INSTRUCTION] = {EXIT_IO, true, decode_io},
    [VMX_EXIT_RDMSR] = {EXIT_RDMSR, true, NULL},
    [VMX_EXIT_WRMSR] = {EXIT_WRMSR, true, NULL},
    [VMX_EXIT_ENTRY_GUEST_STATE] = {EXIT_FAILED, false, decode_failed},
    [VMX_EXIT_ENTRY_MSR_LOADING] = {EXIT_FAILED, false, decode_failed},
    [VMX_EXIT_MWAIT] = {EXIT_UNDEFINED, false, NULL},
    [VMX_EXIT_MONITOR] = {EXIT_UNDEFINED, false, NULL},
    [VMX_EXIT_ENTRY_MACHINE_CHECK] = {EXIT_FAILED, false, decode_failed},
    [VMX_EXIT_EPT_VIOLATION] = {EXIT_MEMORY, false, decode_memory},
    [VMX_EXIT_INVEPT] = {EXIT_UNDEFINED, false, NULL},
    [VMX_EXIT_INVVPID] = {EXIT_UNDEFINED, false, NULL},
    [VMX_EXIT_WBINVD] = {EXIT_WBINVD, true, NULL},
    [VMX_EXIT_XSETBV] = {EXIT_XSETBV, true, NULL},
    [VMX_EXIT_XSAVES] = {EXIT_UNDEFINED, false, NULL},
    [VMX_EXIT_XRSTORS] = {EXIT_UNDEFINED, false, NULL},
};

static void decode_never(struct vm_exit *exit, uint32_t reason)
{
    const char *name = reason < ARRAY_SIZE(names) && names[reason] != NULL ? names[reason] : "?";
    log_line("VM exit %u (%s), which no control asks for", reason, name);
    exit->kind = EXIT_UNKNOWN;
}

/* The length that a software event must be injected with is the one that its delivery had. */
static struct event delivering(void)
{
    struct event event =
        event_of(vmread(VMCS_IDT_VECTORING_INFORMATION), VMCS_IDT_VECTORING_ERROR_CODE);
    if (event.valid && event.type >= DELIVER_SOFT_INTERRUPT)
        event.length = (uint8_t)vmread(VMCS_VM_EXIT_INSTRUCTION_LENGTH);
    return event;
}

void vmx_decode_exit(struct vcpu *vcpu, struct vm_exit *exit)
{
    uint32_t code = (uint32_t)vmread(VMCS_EXIT_REASON);
    uint32_t reason = code & EXIT_REASON_BASIC;
    bool failed = (code & EXIT_REASON_ENTRY_FAILURE) != 0;
    vmx_of(vcpu)->launched = !failed;
    exit->code = code;
    exit->next_rip = 0;
    exit->delivering = failed ? vcpu->event : delivering();
    if (reason >= ARRAY_SIZE(rows) || rows[reason].kind == EXIT_NONE ||
        failed != (rows[reason].kind == EXIT_FAILED)) {
        decode_never(exit, reason);
        return;
    }
    const struct exit_row *row = &rows[reason];
    exit->kind = (enum exit_kind)row->kind;
    if (row->advances)
        exit->next_rip = vcpu->state.rip + vmread(VMCS_VM_EXIT_INSTRUCTION_LENGTH);
    if (row->decoder != NULL)
        row->decoder(vcpu, exit);
}
