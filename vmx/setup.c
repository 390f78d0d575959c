/* Fills a VMCS but for the guest's state: controls, bitmaps, and the state that an exit restores.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/string.h"
#include "lib/x86.h"
#include "vmm/host/host.h"
#include "vmm/vcpu/msr.h"
#include "vmm/host/traps.h"
#include "vmx/controls.h"
#include "vmx/vmx.h"

/* Deny by default, for all guests (SDM, "MSR-Bitmap Address", "I/O-Bitmap Addresses"). The second
 * bitmaps of MSRs are for guests whose PAT is not in force: there what the CPU switches exits too.
 * The second pair are for those whose x2APIC the CPU looks after. */
static _Alignas(4096) uint8_t msr_bitmaps[2][2][4096];
static _Alignas(4096) uint8_t io_bitmaps[2][4096];

/* Reads of low and high MSRs, then writes of low and high MSRs: 1 KiB each. */
static void allow_msr(uint8_t *bitmap, const struct msr_direct *direct)
{
    uint32_t high = direct->msr >= 0xc0000000 ? 1 : 0;
    uint32_t bit = direct->msr & 0x1fff;
    assert((direct->msr & ~0xc0001fffu) == 0);
    if (direct->read)
        bitmap[high * 1024 + bit / 8] &= (uint8_t) ~(1u << bit % 8);
    if (direct->write)
        bitmap[2048 + high * 1024 + bit / 8] &= (uint8_t) ~(1u << bit % 8);
}

/* What a guest reaches of an x2APIC that the CPU looks after: what it reads and writes in the page
 * and no more, the rest would be the CPU's own (SDM, "Virtualizing MSR-Based APIC Accesses"). */
static struct msr_direct apic_direct(const struct virt_caps *caps, unsigned reg)
{
    bool all = caps->delivers;
    return (struct msr_direct){
        .msr = LAPIC_MSRS + reg,
        .read = all ? lapic_is_in_page(reg) : reg == LAPIC_TPR,
        .write = reg == LAPIC_TPR || (all && (reg == LAPIC_EOI || reg == LAPIC_SELF_IPI)),
    };
}

void vmx_fill_bitmaps(const struct virt_caps *caps)
{
    struct msr_direct direct;
    memset(msr_bitmaps, 0xff, sizeof(msr_bitmaps));
    memset(io_bitmaps, 0xff, sizeof(io_bitmaps));
    for (unsigned i = 0; msr_direct(caps, i, &direct); i++)
        for (unsigned which = 0; which < 4; which++)
            if (which % 2 == 0 || direct.msr != MSR_PAT)
                allow_msr(msr_bitmaps[which / 2][which % 2], &direct);
    for (unsigned reg = 0; reg < LAPIC_REGS; reg++) {
        direct = apic_direct(caps, reg);
        for (unsigned forced = 0; forced < 2; forced++)
            allow_msr(msr_bitmaps[1][forced], &direct);
    }
}

const uint8_t *vmx_msr_bitmap(bool forced, bool x2apic)
{
    return msr_bitmaps[x2apic][forced];
}

static void set_execution(const struct vcpu *vcpu)
{
    const struct host *host = vcpu->vm->host;
    const struct vmx_vcpu *vmx = vmx_of(vcpu);
    const uint32_t *control = vmx->caps->control;
    vmwrite(VMCS_PIN_BASED_CONTROLS, control[VMX_PIN]);
    vmwrite(VMCS_PRIMARY_VM_EXIT_CONTROLS, control[VMX_EXIT]);
    vmwrite(VMCS_VM_ENTRY_CONTROLS, control[VMX_ENTRY]);
    vmwrite(VMCS_ADDRESS_OF_IO_BITMAP_A, host_address(host, io_bitmaps[0]).v);
    vmwrite(VMCS_ADDRESS_OF_IO_BITMAP_B, host_address(host, io_bitmaps[1]).v);
    vmwrite(VMCS_EXCEPTION_BITMAP, 1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC);
    vmwrite(VMCS_CR0_GUEST_HOST_MASK, VMX_CR0_HOST);
    vmwrite(VMCS_CR4_GUEST_HOST_MASK, vmx->cr4_host);
    if ((control[VMX_PROC2] & PROC2_ENABLE_VPID) != 0)
        vmwrite(VMCS_VIRTUAL_PROCESSOR_IDENTIFIER, VMX_GUEST_VPID);
    if ((control[VMX_PROC2] & PROC2_ENABLE_ENCLS_EXITING) != 0)
        vmwrite(VMCS_ENCLS_EXITING_BITMAP, UINT64_MAX);
    if ((control[VMX_PROC2] & PROC2_ENABLE_ENCLV_EXITING) != 0)
        vmwrite(VMCS_ENCLV_EXITING_BITMAP, UINT64_MAX);
    vmwrite(VMCS_VMCS_LINK_POINTER, UINT64_MAX);
    vmx_set_apic(vcpu);
}

/* A VMCS begins with unknown contents: all else is 0. (SDM, "Initializing a VMCS") */
static void clear_the_rest(void)
{
    static const enum vmcs_field zeros[] = {
        VMCS_CR3_TARGET_COUNT,
        VMCS_VM_EXIT_MSR_STORE_COUNT,
        VMCS_VM_EXIT_MSR_LOAD_COUNT,
        VMCS_VM_ENTRY_MSR_LOAD_COUNT,
        VMCS_PAGE_FAULT_ERROR_CODE_MASK,
        VMCS_PAGE_FAULT_ERROR_CODE_MATCH,
        VMCS_VM_ENTRY_INTERRUPTION_INFORMATION,
        VMCS_GUEST_IA32_DEBUGCTL,
        VMCS_GUEST_ACTIVITY_STATE,
        VMCS_GUEST_INTERRUPTIBILITY_STATE,
        VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS,
        VMCS_HOST_FS_SELECTOR,
        VMCS_HOST_GS_SELECTOR,
        VMCS_HOST_FS_BASE,
        VMCS_HOST_IA32_SYSENTER_CS,
        VMCS_HOST_IA32_SYSENTER_ESP,
        VMCS_HOST_IA32_SYSENTER_EIP,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(zeros); i++)
        vmwrite(zeros[i], 0);
}

/* What an exit loads: the registers of this CPU as they are now. */
static void set_host(const struct cpu *cpu)
{
    vmwrite(VMCS_HOST_CR0, read_cr0());
    vmwrite(VMCS_HOST_CR3, read_cr3());
    vmwrite(VMCS_HOST_CR4, read_cr4());
    vmwrite(VMCS_HOST_CS_SELECTOR, SEL_CODE);
    vmwrite(VMCS_HOST_SS_SELECTOR, SEL_DATA);
    vmwrite(VMCS_HOST_DS_SELECTOR, SEL_DATA);
    vmwrite(VMCS_HOST_ES_SELECTOR, SEL_DATA);
    vmwrite(VMCS_HOST_TR_SELECTOR, SEL_TSS);
    vmwrite(VMCS_HOST_TR_BASE, (uint64_t)&cpu->tss);
    vmwrite(VMCS_HOST_GS_BASE, (uint64_t)cpu);
    vmwrite(VMCS_HOST_GDTR_BASE, (uint64_t)cpu->gdt);
    vmwrite(VMCS_HOST_IDTR_BASE, traps_idt_base());
    vmwrite(VMCS_HOST_RIP, (uint64_t)vmx_exit_point);
    vmwrite(VMCS_HOST_IA32_PAT, rdmsr(MSR_PAT));
    vmwrite(VMCS_HOST_IA32_EFER, rdmsr(MSR_EFER));
}

/* Accesses of CR0.CD always exit: it is the host's here. */
void vmx_control(struct vcpu *vcpu)
{
    bool x2apic;
    uint32_t proc2 = vmx_control_apic(vcpu, &x2apic);
    const uint8_t *msrs = vmx_msr_bitmap((vcpu->controls & CONTROL_PAT) != 0, x2apic);
    if ((vcpu->controls & CONTROL_WBINVD) == 0)
        proc2 &= ~PROC2_WBINVD_EXITING;
    vmwrite(VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS, proc2);
    vmwrite(VMCS_ADDRESS_OF_MSR_BITMAPS, host_address(vcpu->vm->host, msrs).v);
}

void vmx_set_controls(struct vcpu *vcpu)
{
    clear_the_rest();
    set_execution(vcpu);
    set_host(this_cpu());
}
