/* VMX: turns it on, makes vCPUs, and runs them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/vmx.h"

#include "lib/errno.h"
#include "lib/string.h"
#include "lib/x86.h"
#include "vmm/vcpu/decode.h"
#include "vmm/host/host.h"
#include "vmm/host/log.h"
#include "vmm/host/panic.h"
#include "vmm/instruments/trace.h"
#include "vmx/controls.h"
#include "vmx/ept.h"
#include "vmx/insn.h"
#include "vmx/types.h"

/* The same on every CPU that may run guests. */
static struct vmx_caps vmx_caps;

/* A 4 KiB region that begins with the CPU's revision (SDM, "VMCS Data", "VMXON Region"). */
static bool make_region(struct host *host, hpa_t *region)
{
    uint32_t *page = frames_alloc(&host->frames, 1);
    if (page == NULL)
        return false;
    page[0] = (uint32_t)vmx_caps.msrs.basic & 0x7fffffff;
    *region = host_address(host, page);
    return true;
}

/* What firmware decides is judged for each CPU. */
static bool is_as_first(const struct cpu *cpu, const struct vmx_msrs *msrs)
{
    if (memcmp(msrs, &vmx_caps.msrs, offsetof(struct vmx_msrs, feature_control)) == 0)
        return true;
    log_line("VMX: the capabilities of CPU %u are not those of the first", cpu->index);
    return false;
}

static int read_caps(const struct cpu *cpu, bool first)
{
    struct vmx_msrs msrs;
    uint64_t set;
    vmx_msrs_read(&msrs, rdmsr, cpuid(0x80000008, 0).eax, cpuid(7, 0).ebx);
    if (vmx_judge_firmware(msrs.feature_control, &set) == VMX_FIRMWARE_OPEN) {
        wrmsr(MSR_FEATURE_CONTROL, set);
        msrs.feature_control = rdmsr(MSR_FEATURE_CONTROL);
    }
    if (!first && !is_as_first(cpu, &msrs))
        return -ENODEV;
    return vmx_caps_init(&vmx_caps, &msrs);
}

static void forget_all(void)
{
    const struct invalidate_descriptor none = {0, 0};
    bool done = invept(INVALIDATE_ALL, none);
    if ((vmx_caps.ept_vpid & VPID_CAP_ALL_CONTEXTS) != 0)
        done = invvpid(INVALIDATE_ALL, none) && done;
    assert(done);
}

static const char *yes_no(bool yes)
{
    return yes ? "yes" : "no";
}

static void take_features(const struct host *host, struct virt_caps *caps)
{
    *caps = (struct virt_caps){
        .format = &ept_format,
        .types = &vmx_type_rules,
        .max_leaf = (vmx_caps.ept_vpid & EPT_CAP_PAGE_1G) != 0   ? 3
                    : (vmx_caps.ept_vpid & EPT_CAP_PAGE_2M) != 0 ? 2
                                                                 : 1,
        .has_ipat = true,
        .has_nrips = true,
        .has_nmi_window = true,
        .has_pdptes = true,
        .switches_pat = true,
        .self_snoops = cpu_has(1, 3, 27),
        .repeats_last_leaf = true,
        .has_misc_enable = true,
        .syscall_is_64_bit = true,
        .apic_access = vmx_apic_access(&vmx_caps, host),
        .delivers = (vmx_caps.control[VMX_PROC2] & PROC2_VIRTUAL_INTERRUPT_DELIVERY) != 0,
        .hypercall = INSN_VMCALL,
    };
    log_line("VMX: revision %x, VPID %s, largest EPT page level %u, accessed and dirty flags %s",
             (unsigned)vmx_caps.msrs.basic & 0x7fffffff,
             yes_no((vmx_caps.control[VMX_PROC2] & PROC2_ENABLE_VPID) != 0), caps->max_leaf,
             yes_no((vmx_caps.ept_vpid & EPT_CAP_ACCESSED_DIRTY) != 0));
    log_line("VMX: of APICs the CPU does CR8 %s, TPR by page %s and by MSR %s, interrupts %s",
             yes_no((vmx_caps.control[VMX_PROC] & PROC_USE_TPR_SHADOW) != 0),
             yes_no(caps->apic_access.v != 0),
             yes_no((vmx_caps.control[VMX_PROC2] & PROC2_VIRTUALIZE_X2APIC_MODE) != 0),
             yes_no(caps->delivers));
    vmx_fill_bitmaps(caps);
}

static int vmx_cpu_start(struct cpu *cpu, struct host *host, struct virt_caps *caps)
{
    hpa_t region;
    bool first = caps->format == NULL;
    int error = read_caps(cpu, first);
    if (error != 0)
        return error;
    if (!make_region(host, &region))
        return -ENOMEM;
    write_cr0((read_cr0() | vmx_caps.msrs.cr0_fixed0) & vmx_caps.msrs.cr0_fixed1);
    write_cr4((read_cr4() | vmx_caps.msrs.cr4_fixed0) & vmx_caps.msrs.cr4_fixed1);
    if (!vmxon(region)) {
        log_line("VMX: VMXON failed on CPU %u", cpu->index);
        return -ENODEV;
    }
    forget_all();
    if (first)
        take_features(host, caps);
    return 0;
}

static void vmx_cpu_stop(struct cpu *cpu)
{
    (void)cpu;
    vmxoff();
    write_cr4(read_cr4() & ~CR4_VMXE);
}

/* SDM, "Extended-Page-Table Pointer (EPTP)": tables cached as WB, 4 levels. */
static uint64_t eptp_of(hpa_t root)
{
    uint64_t flags = (vmx_caps.ept_vpid & EPT_CAP_ACCESSED_DIRTY) != 0 ? EPTP_ACCESSED_DIRTY : 0;
    return root.v | flags | (4 - 1) << 3 | MT_WB;
}

static int vmx_vcpu_create(struct vcpu *vcpu)
{
    struct host *host = vcpu->vm->host;
    struct vmx_vcpu *vmx = frames_alloc(&host->frames, 1);
    if (vmx == NULL || !make_region(host, &vmx->vmcs))
        return -ENOMEM;
    vmx->caps = &vmx_caps;
    vmx->cr4_host = ~vcpu->vm->cr4_allowed | CR4_MCE;
    vcpu->backend = vmx;
    if (!vmclear(vmx->vmcs) || !vmptrld(vmx->vmcs))
        panic("VMX: the CPU refuses the VMCS at 0x%lx", vmx->vmcs.v);
    return 0;
}

static void vmx_vcpu_reset(struct vcpu *vcpu)
{
    vmx_of(vcpu)->flush = VMX_FLUSH_ALL;
    vmx_of(vcpu)->nmi = false;
    vmx_set_controls(vcpu);
}

/* Translations are tagged with the EPTP: those of another view need no flush when one changes. */
static void vmx_invalidate(struct vm *vm, hpa_t root, struct cpu_set cpus)
{
    (void)vm;
    assert(cpus.bits == 1ull << this_cpu()->index);
    vmx_forget(&vmx_caps, eptp_of(root));
}

static __attribute__((noinline)) void put_view(const struct vcpu *vcpu, hpa_t root)
{
    trace_put(TRACE_VIEW, vcpu->view, 0, root.v, 0);
}

static void vmx_set_view(struct vcpu *vcpu, hpa_t root)
{
    uint64_t eptp = eptp_of(root);
    vmx_of(vcpu)->eptp = eptp;
    vmwrite_always(VMCS_EPT_POINTER, eptp);
    if (trace_is_on())
        put_view(vcpu, root);
}

static hpa_t vmx_root(const struct vcpu *vcpu)
{
    (void)vcpu; /* its VMCS is the current one */
    return hpa(align_down(vmread(VMCS_EPT_POINTER), PAGE_SIZE));
}

static unsigned vmx_blocked(struct vcpu *vcpu)
{
    uint64_t state = vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE);
    if ((state & BLOCKING_BY_NMI) == 0)
        vmx_of(vcpu)->nmi = false;
    return ((state & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS)) != 0 ? BLOCKED_BY_SHADOW : 0) |
           ((state & BLOCKING_BY_NMI) != 0 ? BLOCKED_NMI : 0);
}

const struct virt_ops vmx_ops = {
    .name = "VMX",
    .cpu_start = vmx_cpu_start,
    .cpu_stop = vmx_cpu_stop,
    .vcpu_create = vmx_vcpu_create,
    .vcpu_reset = vmx_vcpu_reset,
    .run = vmx_run,
    .run_uncached = vmx_run_uncached,
    .fetch = vmx_fetch,
    .commit = vmx_commit,
    .set_view = vmx_set_view,
    .root = vmx_root,
    .invalidate = vmx_invalidate,
    .control = vmx_control,
    .blocked = vmx_blocked,
    .await = vmx_await,
    .delivered = vmx_delivered,
    .deliver = vmx_deliver,
    .dump = vmx_dump,
};
