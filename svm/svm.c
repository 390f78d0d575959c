/* SVM: turns it on, makes vCPUs, and runs them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "svm/svm.h"

#include "lib/errno.h"
#include "lib/string.h"
#include "lib/x86.h"
#include "svm/caps.h"
#include "svm/npt.h"
#include "svm/types.h"
#include "vmm/vcpu/decode.h"
#include "vmm/host/host.h"
#include "vmm/host/log.h"
#include "vmm/vcpu/msr.h"
#include "vmm/host/panic.h"
#include "vmm/instruments/trace.h"

/* Deny by default: one map of each kind serves all guests (APM, "MSR Intercepts", "IOIO
 * Intercepts"). */
static _Alignas(4096) uint8_t msrpm[8192];
static _Alignas(4096) uint8_t iopm[12288];

/* Two bits an MSR, read and write, in three ranges of 2 KiB each. */
static void allow_msr(const struct msr_direct *direct)
{
    static const uint32_t bases[] = {0x00000000, 0xc0000000, 0xc0010000};
    for (unsigned i = 0; i < ARRAY_SIZE(bases); i++)
        if (direct->msr >= bases[i] && direct->msr - bases[i] < 0x2000) {
            uint32_t bit = i * 2048 * 8 + (direct->msr - bases[i]) * 2;
            unsigned allowed = (direct->read ? 1u : 0) | (direct->write ? 2u : 0);
            msrpm[bit / 8] &= (uint8_t) ~(allowed << bit % 8);
            return;
        }
    panic("MSR 0x%x lies in no range of the permission map", direct->msr);
}

static void fill_maps(const struct virt_caps *caps)
{
    struct msr_direct direct;
    memset(msrpm, 0xff, sizeof(msrpm));
    memset(iopm, 0xff, sizeof(iopm));
    for (unsigned i = 0; msr_direct(caps, i, &direct); i++)
        allow_msr(&direct);
}

/* TLB_FLUSH_ASID where the CPU has it. */
static uint32_t flush_command = TLB_FLUSH_ALL;

static struct svm_cpu read_cpu(void)
{
    struct svm_cpu c = {.has_svm = cpu_has(0x80000001, 2, 2)};
    struct cpuid_regs r = cpuid(0x8000000a, 0);
    c.asids = r.ebx;
    c.features = r.edx;
    if (!rdmsr_safe(MSR_VM_CR, &c.vm_cr))
        c.vm_cr = 0;
    return c;
}

static void log_features(const struct svm_cpu *c, const struct virt_caps *caps)
{
    log_line("SVM: %u ASIDs, next RIP %s, flush by ASID %s, 1 GiB nested pages %s", c->asids,
             caps->has_nrips ? "yes" : "no",
             (c->features & SVM_FEATURE_FLUSH_BY_ASID) != 0 ? "yes" : "no",
             caps->max_leaf == 3 ? "yes" : "no");
}

/* What is the same on every CPU that may run guests. */
static void take_features(const struct svm_cpu *c, struct virt_caps *caps)
{
    *caps = (struct virt_caps){
        .format = &npt_format,
        .types = &svm_type_rules,
        .max_leaf = cpu_has(0x80000001, 3, 26) ? 3 : 2,
        .has_nrips = (c->features & SVM_FEATURE_NRIPS) != 0,
        .reserves_bit8 = true,
        .owns_cr0_cd = true,
        .has_syscfg = true,
        .host_types_count = true,
        .self_snoops = true,
        .hypercall = INSN_VMMCALL,
    };
    if ((c->features & SVM_FEATURE_FLUSH_BY_ASID) != 0)
        flush_command = TLB_FLUSH_ASID;
    fill_maps(caps);
    log_features(c, caps);
}

static int svm_cpu_start(struct cpu *cpu, struct host *host, struct virt_caps *caps)
{
    struct svm_cpu c = read_cpu();
    int error = svm_check(&c);
    if (error != 0)
        return error;
    struct vmcb *pages = frames_alloc(&host->frames, 2); /* the host's VMCB, the save area */
    if (pages == NULL)
        return -ENOMEM;
    if (caps->format == NULL)
        take_features(&c, caps);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
    wrmsr(MSR_VM_HSAVE_PA, host_address(host, &pages[1]).v);
    cpu->backend = pages;
    __asm__ volatile("vmsave %0" : : "a"(host_address(host, pages).v) : "memory");
    return 0;
}

static void svm_cpu_stop(struct cpu *cpu)
{
    (void)cpu;
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SVME);
}

static inline void put_flush(const struct svm_vcpu *svm)
{
    trace_put(TRACE_INVALIDATE, TRACE_NEXT_ENTRY, svm->flush, svm->vmcb->n_cr3, 0);
}

void svm_flush(struct svm_vcpu *svm)
{
    svm->vmcb->tlb_control = svm->flush;
    if (trace_is_on())
        put_flush(svm);
}

void svm_set_controls(struct vmcb *vmcb)
{
    vmcb->intercept_cr_read = 1 << 4;
    vmcb->intercept_cr_write = 1 << 4;
    /* #GP too: the CPU checks the CPL and operands of some instructions before it intercepts them,
       but a guest that does not have them gets #UD. */
    vmcb->intercept_exceptions =
        1u << VECTOR_DB | 1u << VECTOR_GP | 1u << VECTOR_AC | 1u << VECTOR_MC;
    vmcb->intercept_1 = INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_INIT | INTERCEPT_RDPMC |
                        INTERCEPT_CPUID | INTERCEPT_RSM | INTERCEPT_INVD | INTERCEPT_HLT |
                        INTERCEPT_INVLPGA | INTERCEPT_IOIO | INTERCEPT_MSR | INTERCEPT_FERR_FREEZE |
                        INTERCEPT_SHUTDOWN;
    vmcb->intercept_2 = INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD | INTERCEPT_VMSAVE |
                        INTERCEPT_STGI | INTERCEPT_CLGI | INTERCEPT_SKINIT | INTERCEPT_MONITOR |
                        INTERCEPT_MWAIT | INTERCEPT_MWAIT_ARMED | INTERCEPT_XSETBV |
                        INTERCEPT_RDPRU;
    vmcb->intercept_3 =
        INTERCEPT_INVLPGB | INTERCEPT_INVPCID | INTERCEPT_MCOMMIT | INTERCEPT_TLBSYNC;
    vmcb->v_intr = V_INTR_MASKING;
    vmcb->np_enable = 1;
    vmcb->clean = 0;
}

static int svm_vcpu_create(struct vcpu *vcpu)
{
    struct host *host = vcpu->vm->host;
    struct vmcb *vmcb = frames_alloc(&host->frames, 1);
    struct svm_vcpu *svm = frames_alloc(&host->frames, 1);
    if (vmcb == NULL || svm == NULL)
        return -ENOMEM;
    *svm = (struct svm_vcpu){
        .vmcb = vmcb,
        .vmcb_hpa = host_address(host, vmcb).v,
        .host_vmcb_hpa = host_address(host, vcpu->cpu->backend).v,
        .flush = flush_command,
    };
    vcpu->backend = svm;
    return 0;
}

static void svm_vcpu_reset(struct vcpu *vcpu)
{
    const struct host *host = vcpu->vm->host;
    struct vmcb *vmcb = svm_of(vcpu)->vmcb;
    memset(vmcb, 0, sizeof(*vmcb));
    svm_set_controls(vmcb);
    vmcb->iopm_base = host_address(host, iopm).v;
    vmcb->msrpm_base = host_address(host, msrpm).v;
    vmcb->asid = 1;
    svm_flush(svm_of(vcpu));
    svm_of(vcpu)->nmi = NMI_OPEN;
}

/*
 * Its one vCPU flushes at its next entry; it is not running, as this CPU is executing this. Before
 * it has run its first entry does so anyway. The tag is the ASID alone, whatever the root (APM,
 * "TLB Control").
 */
static void svm_invalidate(struct vm *vm, hpa_t root, struct cpu_set cpus)
{
    (void)vm, (void)root;
    assert(cpus.bits == 1ull << this_cpu()->index);
    if (this_cpu()->vcpu != NULL)
        svm_flush(svm_of(this_cpu()->vcpu));
}

static __attribute__((noinline)) void put_view(const struct vcpu *vcpu)
{
    const struct svm_vcpu *svm = svm_of(vcpu);
    trace_put(TRACE_VIEW, vcpu->view, 0, svm->vmcb->n_cr3, 0);
    put_flush(svm);
}

static void svm_set_view(struct vcpu *vcpu, hpa_t root)
{
    const struct svm_vcpu *svm = svm_of(vcpu);
    svm->vmcb->n_cr3 = root.v;
    svm->vmcb->tlb_control = svm->flush;
    if (trace_is_on()) /* once for both */
        put_view(vcpu);
}

static hpa_t svm_root(const struct vcpu *vcpu)
{
    return hpa(svm_of(vcpu)->vmcb->n_cr3);
}

/* IA32_PAT always exits. */
static void svm_control(struct vcpu *vcpu)
{
    struct vmcb *vmcb = svm_of(vcpu)->vmcb;
    unsigned on = vcpu->controls;
    bool reads = (on & CONTROL_CR0_READS) != 0, writes = (on & CONTROL_CR0_WRITES) != 0;
    vmcb->intercept_cr_read = (uint16_t)((vmcb->intercept_cr_read & ~1u) | (reads ? 1 : 0));
    vmcb->intercept_cr_write = (uint16_t)((vmcb->intercept_cr_write & ~1u) | (writes ? 1 : 0));
    vmcb->intercept_2 = (vmcb->intercept_2 & ~INTERCEPT_WBINVD) |
                        ((on & CONTROL_WBINVD) != 0 ? INTERCEPT_WBINVD : 0);
}

static uint64_t svm_cr8(const struct vcpu *vcpu)
{
    return svm_of(vcpu)->vmcb->v_intr & V_TPR;
}

static void svm_set_cr8(struct vcpu *vcpu, uint64_t value)
{
    struct vmcb *vmcb = svm_of(vcpu)->vmcb;
    vmcb->v_intr = (vmcb->v_intr & ~V_TPR) | value;
}

static bool nmis_are_blocked(struct svm_vcpu *svm, const struct guest_state *state)
{
    if (svm->nmi == NMI_BLOCKED && svm->vmcb->exitcode == SVM_EXIT_IRET) {
        svm->nmi = NMI_RETURNING;
        svm->iret_rip = state->rip;
        svm->iret_rsp = state->gpr[RSP];
        svm->vmcb->intercept_1 &= ~INTERCEPT_IRET;
    } else if (svm->nmi == NMI_RETURNING &&
               (state->rip != svm->iret_rip || state->gpr[RSP] != svm->iret_rsp)) {
        svm->nmi = NMI_OPEN;
    }
    return svm->nmi != NMI_OPEN;
}

static unsigned svm_blocked(struct vcpu *vcpu)
{
    struct svm_vcpu *svm = svm_of(vcpu);
    bool shadow = (svm->vmcb->int_state & INT_SHADOW) != 0;
    return (shadow ? BLOCKED_BY_SHADOW : 0) |
           (nmis_are_blocked(svm, &vcpu->state) ? BLOCKED_NMI : 0);
}

/* A virtual interrupt, of any priority, that is intercepted (APM, "Virtual Interrupt Intercept").
 */
static void svm_await(struct vcpu *vcpu, unsigned what)
{
    struct vmcb *vmcb = svm_of(vcpu)->vmcb;
    bool interrupt = (what & AWAIT_INTERRUPT) != 0, cr8 = (what & AWAIT_CR8) != 0;
    if (vcpu->event.valid && vcpu->event.type == DELIVER_NMI) {
        svm_of(vcpu)->nmi = NMI_BLOCKED;
        vmcb->intercept_1 |= INTERCEPT_IRET;
    }
    vmcb->v_intr &= ~(V_IRQ | V_IGN_TPR);
    vmcb->intercept_1 &= ~INTERCEPT_VINTR;
    if (interrupt) {
        vmcb->v_intr |= V_IRQ | V_IGN_TPR;
        vmcb->intercept_1 |= INTERCEPT_VINTR;
    }
    vmcb->intercept_cr_write =
        (uint16_t)((vmcb->intercept_cr_write & ~(1u << 8)) | (cr8 ? 1u << 8 : 0));
}

const struct virt_ops svm_ops = {
    .name = "SVM",
    .cpu_start = svm_cpu_start,
    .cpu_stop = svm_cpu_stop,
    .vcpu_create = svm_vcpu_create,
    .vcpu_reset = svm_vcpu_reset,
    .run = svm_run,
    .fetch = svm_fetch,
    .commit = svm_commit,
    .set_view = svm_set_view,
    .root = svm_root,
    .invalidate = svm_invalidate,
    .control = svm_control,
    .cr8 = svm_cr8,
    .set_cr8 = svm_set_cr8,
    .blocked = svm_blocked,
    .await = svm_await,
    .dump = svm_dump,
};
