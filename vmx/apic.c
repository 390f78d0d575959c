/* What the CPU does of a guest's local APIC by itself (SDM, "APIC Virtualization and Virtual
 * Interrupts"). */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/host.h"
#include "vmx/controls.h"
#include "vmx/vmx.h"

enum { PROC_CR8_EXITING = PROC_CR8_LOAD_EXITING | PROC_CR8_STORE_EXITING };
enum {
    PROC2_DELIVERY = PROC2_APIC_REGISTER_VIRTUALIZATION | PROC2_VIRTUAL_INTERRUPT_DELIVERY,
};

/* The CPU never gets to it: only that it is mapped counts. One does for all guests. */
static _Alignas(4096) uint8_t access_page[4096];

hpa_t vmx_apic_access(const struct vmx_caps *caps, const struct host *host)
{
    bool has = (caps->control[VMX_PROC2] & PROC2_VIRTUALIZE_APIC_ACCESSES) != 0;
    return has ? host_address(host, access_page) : hpa(0);
}

void vmx_set_apic(const struct vcpu *vcpu)
{
    const uint32_t *control = vmx_of(vcpu)->caps->control;
    if ((control[VMX_PROC] & PROC_USE_TPR_SHADOW) != 0) {
        vmwrite(VMCS_VIRTUAL_APIC_ADDRESS, host_address(vcpu->vm->host, vcpu->apic_page).v);
        vmwrite(VMCS_TPR_THRESHOLD, 0);
    }
    if ((control[VMX_PROC2] & PROC2_VIRTUALIZE_APIC_ACCESSES) != 0)
        vmwrite(VMCS_APIC_ACCESS_ADDRESS, host_address(vcpu->vm->host, access_page).v);
    if ((control[VMX_PROC2] & PROC2_VIRTUAL_INTERRUPT_DELIVERY) != 0) {
        vmwrite(VMCS_GUEST_INTERRUPT_STATUS, 0);
        for (unsigned i = 0; i < 4; i++)
            vmwrite((enum vmcs_field)(VMCS_EOI_EXIT_BITMAP_0 + 2 * i), 0);
    }
}

static void put_primary(const struct vcpu *vcpu, unsigned awaited)
{
    uint32_t proc = vmx_of(vcpu)->proc;
    if ((awaited & AWAIT_INTERRUPT) != 0)
        proc |= PROC_INTERRUPT_WINDOW_EXITING;
    if ((awaited & AWAIT_NMI) != 0)
        proc |= PROC_NMI_WINDOW_EXITING;
    vmwrite(VMCS_PRIMARY_PROCESSOR_BASED_CONTROLS, proc);
}

/* What never acts in the APIC's mode: the two modes of it exclude each other. */
static uint32_t useless(const struct vcpu *vcpu, bool helps)
{
    uint32_t bits = vcpu->delivers ? 0 : PROC2_DELIVERY;
    if (!helps || !lapic_x2apic(&vcpu->lapic))
        bits |= PROC2_VIRTUALIZE_X2APIC_MODE;
    if (!helps || lapic_x2apic(&vcpu->lapic) || !vcpu_has_apic_access(vcpu))
        bits |= PROC2_VIRTUALIZE_APIC_ACCESSES;
    return bits;
}

/* The TPR is the page's in every mode. */
uint32_t vmx_control_apic(struct vcpu *vcpu, bool *x2apic)
{
    struct vmx_vcpu *vmx = vmx_of(vcpu);
    uint32_t proc = vmx->caps->control[VMX_PROC], proc2 = vmx->caps->control[VMX_PROC2];
    bool helps = vcpu->vm->config->apic == APIC_HARDWARE && (proc & PROC_USE_TPR_SHADOW) != 0;
    vmx->proc = proc & ~(uint32_t)(helps ? PROC_CR8_EXITING : PROC_USE_TPR_SHADOW);
    put_primary(vcpu, vcpu->awaits);
    proc2 &= ~useless(vcpu, helps);
    *x2apic =
        (proc2 & PROC2_VIRTUALIZE_X2APIC_MODE) != 0 && vcpu->delivers == vcpu->vm->caps->delivers;
    return proc2;
}

/* Where CR8 exits, it does so always. */
void vmx_await(struct vcpu *vcpu, unsigned what)
{
    bool cr8 = (what & AWAIT_CR8) != 0;
    put_primary(vcpu, what);
    if ((vmx_of(vcpu)->proc & PROC_USE_TPR_SHADOW) != 0)
        vmwrite(VMCS_TPR_THRESHOLD, cr8 ? *lapic_reg(&vcpu->lapic, LAPIC_TPR) >> 4 : 0);
}

/* SDM, "Guest Interrupt Status": RVI, and SVI above it. */
unsigned vmx_delivered(const struct vcpu *vcpu)
{
    (void)vcpu; /* its VMCS is the current one */
    return (unsigned)vmread_always(VMCS_GUEST_INTERRUPT_STATUS);
}

/* SDM, "EOI Virtualization": whose EOI exits. */
static void put_levels(const struct lapic *lapic)
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t low = *lapic_reg(lapic, LAPIC_TMR + 2 * i);
        uint64_t high = *lapic_reg(lapic, LAPIC_TMR + 2 * i + 1);
        vmwrite((enum vmcs_field)(VMCS_EOI_EXIT_BITMAP_0 + 2 * i), high << 32 | low);
    }
}

void vmx_deliver(struct vcpu *vcpu, unsigned highest)
{
    vmwrite_always(VMCS_GUEST_INTERRUPT_STATUS, highest);
    if (vcpu->lapic.levels)
        put_levels(&vcpu->lapic);
}
