/* Enters the guest, and decodes its exit by the VMCB (APM, "SVM Intercept Exit Codes"). */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/x86.h"
#include "svm/svm.h"
#include "vmm/host/traps.h"

/* Codes that mean one kind and nothing more. */
static const uint8_t kinds[] = {
    [SVM_EXIT_IOIO] = EXIT_IO,
    [SVM_EXIT_MSR] = EXIT_RDMSR, /* or EXIT_WRMSR */
    [SVM_EXIT_CPUID] = EXIT_CPUID,
    [SVM_EXIT_VMMCALL] = EXIT_HYPERCALL,
    [SVM_EXIT_HLT] = EXIT_HLT,
    [SVM_EXIT_WBINVD] = EXIT_WBINVD,
    [SVM_EXIT_INVD] = EXIT_INVD,
    [SVM_EXIT_XSETBV] = EXIT_XSETBV,
    [SVM_EXIT_FERR_FREEZE] = EXIT_FREEZE, /* CR0.NE=0: it waits for an interrupt */
    [SVM_EXIT_SHUTDOWN] = EXIT_TRIPLE_FAULT,
    [SVM_EXIT_INIT] = EXIT_INIT,
    [SVM_EXIT_INTR] = EXIT_INTERRUPT,
    [SVM_EXIT_VINTR] = EXIT_WINDOW,
    [SVM_EXIT_IRET] = EXIT_WINDOW, /* of the handler of an NMI */
    [SVM_EXIT_RDPMC] = EXIT_PRIVILEGED,
    [SVM_EXIT_RSM] = EXIT_UNDEFINED,
    [SVM_EXIT_INVLPGA] = EXIT_UNDEFINED,
    [SVM_EXIT_VMRUN] = EXIT_UNDEFINED,
    [SVM_EXIT_VMLOAD] = EXIT_UNDEFINED,
    [SVM_EXIT_VMSAVE] = EXIT_UNDEFINED,
    [SVM_EXIT_STGI] = EXIT_UNDEFINED,
    [SVM_EXIT_CLGI] = EXIT_UNDEFINED,
    [SVM_EXIT_SKINIT] = EXIT_UNDEFINED,
    [SVM_EXIT_MONITOR] = EXIT_UNDEFINED,
    [SVM_EXIT_MWAIT] = EXIT_UNDEFINED,
    [SVM_EXIT_MWAIT_ARMED] = EXIT_UNDEFINED,
    [SVM_EXIT_RDPRU] = EXIT_UNDEFINED,
    [SVM_EXIT_INVLPGB] = EXIT_UNDEFINED,
    [SVM_EXIT_INVPCID] = EXIT_UNDEFINED,
    [SVM_EXIT_MCOMMIT] = EXIT_UNDEFINED,
    [SVM_EXIT_TLBSYNC] = EXIT_UNDEFINED,
};

/* Codes beyond the table, and those that stand in it by ranges. */
static enum exit_kind kind_of_others(uint64_t code)
{
    if (code <= SVM_EXIT_CR15_WRITE)
        return EXIT_CR;
    if (code >= SVM_EXIT_EXCEPTION_0 && code <= SVM_EXIT_EXCEPTION_31)
        return EXIT_EXCEPTION;
    if (code == SVM_EXIT_NMI) /* the host took it when GIF was set again */
        return EXIT_INTERRUPT;
    if (code == SVM_EXIT_NPF)
        return EXIT_MEMORY;
    return (uint32_t)code == SVM_EXIT_INVALID ? EXIT_FAILED : EXIT_UNKNOWN;
}

static enum exit_kind kind_of(uint64_t code)
{
    enum exit_kind kind = code < ARRAY_SIZE(kinds) ? (enum exit_kind)kinds[code] : EXIT_NONE;
    return kind != EXIT_NONE ? kind : kind_of_others(code);
}

static void decode_io(const struct vmcb *vmcb, struct vm_exit *exit)
{
    uint64_t info = vmcb->exitinfo1;
    static_assert(IO_IN == IOIO_IN && IO_STRING == IOIO_STRING && IO_REP == IOIO_REP, "the same");
    exit->next_rip = vmcb->exitinfo2;
    exit->io = (struct exit_io){
        .port = IOIO_PORT(info),
        .width = IOIO_WIDTH(info),
        .flags = (uint8_t)(info & (IOIO_IN | IOIO_STRING | IOIO_REP)),
    };
}

static void decode_memory(const struct vmcb *vmcb, struct vm_exit *exit)
{
    uint64_t info = vmcb->exitinfo1;
    exit->memory = (struct exit_memory){
        .gpa = gpa(vmcb->exitinfo2),
        .access = (info & NPF_FETCH) != 0   ? PT_X
                  : (info & NPF_WRITE) != 0 ? PT_W
                                            : PT_R,
        .present = (info & NPF_PRESENT) != 0,
        .walk = (info & NPF_TABLE) != 0,
    };
}

static void decode_exception(const struct vmcb *vmcb, struct vm_exit *exit)
{
    uint8_t vector = (uint8_t)(vmcb->exitcode - SVM_EXIT_EXCEPTION_0);
    if (vector == VECTOR_MC)
        machine_check();
    exit->exception = (struct event){
        .valid = true,
        .vector = vector,
        .type = DELIVER_EXCEPTION,
        .has_error = vector == VECTOR_AC || vector == VECTOR_GP,
        .error = (uint32_t)vmcb->exitinfo1,
    };
}

/* A stale vector may stand beside a clear valid bit. */
static void take_event(struct event *event, uint64_t bits)
{
    event->valid = (bits & EVENT_VALID) != 0;
    if (!event->valid)
        return;
    event->vector = (uint8_t)(bits & EVENT_VECTOR);
    event->type = (uint8_t)(bits >> EVENT_TYPE_SHIFT & EVENT_TYPE_MASK);
    event->has_error = (bits & EVENT_ERROR_VALID) != 0;
    event->error = (uint32_t)(bits >> 32);
    /* RIP is still that of an INTn, INT3 or INTO: it runs again by itself. */
    bool breakpoint = event->vector == VECTOR_BP || event->vector == VECTOR_OF;
    if (event->type == DELIVER_SOFT_INTERRUPT || (event->type == DELIVER_EXCEPTION && breakpoint))
        event->valid = false;
}

/* Kinds that carry more than themselves. */
static void decode_rest(const struct vmcb *vmcb, struct vm_exit *exit)
{
    if (exit->kind == EXIT_IO)
        decode_io(vmcb, exit);
    else if (exit->kind == EXIT_MEMORY)
        decode_memory(vmcb, exit);
    else if (exit->kind == EXIT_CR)
        exit->cr.known = false;
    else if (exit->kind == EXIT_EXCEPTION)
        decode_exception(vmcb, exit);
    else
        exit->code = vmcb->exitcode;
}

static void decode(const struct vmcb *vmcb, struct vm_exit *exit)
{
    exit->next_rip = vmcb->nrip;
    exit->kind = kind_of(vmcb->exitcode);
    if (exit->kind >= EXIT_IO)
        decode_rest(vmcb, exit);
    else if (exit->kind == EXIT_RDMSR && vmcb->exitinfo1 != 0)
        exit->kind = EXIT_WRMSR;
}

static __attribute__((noinline)) void set_event(struct vmcb *vmcb, const struct event *event)
{
    uint64_t bits = EVENT_VALID | (uint64_t)event->type << EVENT_TYPE_SHIFT | event->vector;
    if (event->has_error)
        bits |= EVENT_ERROR_VALID | (uint64_t)event->error << 32;
    vmcb->eventinj = bits;
}

/*
 * svm/entry.asm keeps no register but RBP and RSP: the compiler saves what it needs. The guest's
 * registers are at RDI, its VMCB at RSI, the host's at RDX.
 */
static inline void enter(uint64_t *gpr, const struct svm_vcpu *svm)
{
    uint64_t vmcb = svm->vmcb_hpa, host = svm->host_vmcb_hpa;
    __asm__ volatile("call svm_enter"
                     : "+D"(gpr), "+S"(vmcb), "+d"(host)
                     :
                     : "rax", "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
                       "cc", "memory");
}

void svm_run(struct vcpu *vcpu)
{
    const struct svm_vcpu *svm = svm_of(vcpu);
    struct vmcb *vmcb = svm->vmcb;
    struct guest_state *state = &vcpu->state;
    vmcb->rax = state->gpr[RAX];
    vmcb->rsp = state->gpr[RSP];
    vmcb->rip = state->rip;
    vmcb->rflags = state->rflags;
    if (vcpu->event.valid)
        set_event(vmcb, &vcpu->event);
    if (vcpu->completed) {
        vmcb->int_state &= ~INT_SHADOW;
        vcpu->completed = false;
    }
    enter(state->gpr, svm);
    vmcb->tlb_control = TLB_KEEP;
    vmcb->eventinj = 0;
    state->gpr[RAX] = vmcb->rax;
    state->gpr[RSP] = vmcb->rsp;
    state->rip = vmcb->rip;
    state->rflags = vmcb->rflags;
    take_event(&vcpu->event, vmcb->exitintinfo);
    decode(vmcb, &vcpu->exit);
}
