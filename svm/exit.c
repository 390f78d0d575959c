/* Decodes what the VMCB says of an exit into its neutral form (APM, "SVM Intercept Exit Codes"). */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/x86.h"
#include "svm/svm.h"
#include "vmm/traps.h"

/* Codes that mean one kind and nothing more. */
static const uint8_t kinds[] = {
    [SVM_EXIT_CPUID] = EXIT_CPUID,
    [SVM_EXIT_VMMCALL] = EXIT_HYPERCALL,
    [SVM_EXIT_HLT] = EXIT_HLT,
    [SVM_EXIT_WBINVD] = EXIT_WBINVD,
    [SVM_EXIT_INVD] = EXIT_INVD,
    [SVM_EXIT_XSETBV] = EXIT_XSETBV,
    [SVM_EXIT_SHUTDOWN] = EXIT_TRIPLE_FAULT,
    [SVM_EXIT_INIT] = EXIT_INIT,
    [SVM_EXIT_INTR] = EXIT_INTERRUPT,
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
    [SVM_EXIT_MCOMMIT] = EXIT_UNDEFINED,
    [SVM_EXIT_TLBSYNC] = EXIT_UNDEFINED,
};

static enum exit_kind kind_of(uint64_t code)
{
    if (code <= SVM_EXIT_CR15_WRITE)
        return EXIT_CR;
    if (code >= SVM_EXIT_EXCEPTION_0 && code <= SVM_EXIT_EXCEPTION_31)
        return EXIT_EXCEPTION;
    if (code == SVM_EXIT_NMI) /* the host took it when GIF was set again */
        return EXIT_NONE;
    return code < ARRAY_SIZE(kinds) && kinds[code] != EXIT_NONE ? (enum exit_kind)kinds[code]
                                                                : EXIT_UNKNOWN;
}

static void decode_io(const struct vmcb *vmcb, struct vm_exit *exit)
{
    uint64_t info = vmcb->exitinfo1;
    exit->kind = EXIT_IO;
    exit->next_rip = vmcb->exitinfo2;
    exit->io = (struct exit_io){
        .port = IOIO_PORT(info),
        .width = IOIO_WIDTH(info),
        .in = (info & IOIO_IN) != 0,
        .string = (info & IOIO_STRING) != 0,
        .rep = (info & IOIO_REP) != 0,
    };
}

static void decode_memory(const struct vmcb *vmcb, struct vm_exit *exit)
{
    uint64_t info = vmcb->exitinfo1;
    exit->kind = EXIT_MEMORY;
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
        .has_error = vector == VECTOR_AC,
        .error = (uint32_t)vmcb->exitinfo1,
    };
}

/* A physical interrupt is taken here; the host has none that it expects. */
static void take_interrupt(void)
{
    __asm__ volatile("sti\n\tnop\n\tcli");
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
}

void svm_decode_exit(struct vcpu *vcpu, struct vm_exit *exit)
{
    const struct vmcb *vmcb = svm_of(vcpu)->vmcb;
    uint64_t code = vmcb->exitcode;
    exit->next_rip = vmcb->nrip;
    take_event(&exit->delivering, vmcb->exitintinfo);
    exit->code = code;
    if (code == SVM_EXIT_IOIO) {
        decode_io(vmcb, exit);
    } else if (code == SVM_EXIT_MSR) {
        exit->kind = vmcb->exitinfo1 != 0 ? EXIT_WRMSR : EXIT_RDMSR;
    } else if (code == SVM_EXIT_NPF) {
        decode_memory(vmcb, exit);
    } else if ((uint32_t)code == SVM_EXIT_INVALID) {
        exit->kind = EXIT_FAILED;
    } else {
        exit->kind = kind_of(code);
        if (exit->kind == EXIT_CR)
            exit->cr.known = false;
        else if (exit->kind == EXIT_EXCEPTION)
            decode_exception(vmcb, exit);
        else if (exit->kind == EXIT_INTERRUPT)
            take_interrupt();
    }
}
