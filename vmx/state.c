/* Moves guest state between the VMCS (and the registers that it leaves alone) and its neutral form.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/x86.h"
#include "vmx/controls.h"
#include "vmx/vmx.h"

struct seg_fields {
    enum vmcs_field selector, base, limit, rights;
};

#define SEG_ROW(name)                                                                              \
    {                                                                                              \
        VMCS_GUEST_##name##_SELECTOR, VMCS_GUEST_##name##_BASE, VMCS_GUEST_##name##_LIMIT,         \
            VMCS_GUEST_##name##_ACCESS_RIGHTS                                                      \
    }

static const struct seg_fields seg_fields[SEGS] = {
    [SEG_ES] = SEG_ROW(ES),     [SEG_CS] = SEG_ROW(CS), [SEG_SS] = SEG_ROW(SS),
    [SEG_DS] = SEG_ROW(DS),     [SEG_FS] = SEG_ROW(FS), [SEG_GS] = SEG_ROW(GS),
    [SEG_LDTR] = SEG_ROW(LDTR), [SEG_TR] = SEG_ROW(TR),
};

static void fetch_segment(struct guest_state *state, enum seg_reg reg)
{
    const struct seg_fields *f = &seg_fields[reg];
    uint64_t rights = vmread(f->rights);
    state->seg[reg] = (struct seg){
        .selector = (uint16_t)vmread(f->selector),
        .attr = (rights & RIGHTS_UNUSABLE) != 0 ? 0 : (uint16_t)rights,
        .limit = (uint32_t)vmread(f->limit),
        .base = vmread(f->base),
    };
}

static void fetch_code(struct guest_state *state)
{
    fetch_segment(state, SEG_CS);
    state->cpl = (uint8_t)((vmread(VMCS_GUEST_SS_ACCESS_RIGHTS) & RIGHTS_DPL) >> 5);
}

static void fetch_segments(struct guest_state *state)
{
    for (enum seg_reg i = SEG_ES; i < SEGS; i++)
        if (i != SEG_CS)
            fetch_segment(state, i);
    state->gdtr =
        (struct table_reg){vmread(VMCS_GUEST_GDTR_BASE), (uint32_t)vmread(VMCS_GUEST_GDTR_LIMIT)};
    state->idtr =
        (struct table_reg){vmread(VMCS_GUEST_IDTR_BASE), (uint32_t)vmread(VMCS_GUEST_IDTR_LIMIT)};
}

static void commit_segment(const struct guest_state *state, enum seg_reg reg)
{
    const struct seg_fields *f = &seg_fields[reg];
    const struct seg *seg = &state->seg[reg];
    vmwrite(f->selector, seg->selector);
    vmwrite(f->base, seg->base);
    vmwrite(f->limit, seg->limit);
    uint64_t cpl = reg == SEG_SS ? (uint64_t)state->cpl << 5 : 0; /* SS has it, usable or not */
    vmwrite(f->rights, seg->attr == 0 ? RIGHTS_UNUSABLE | cpl : seg->attr);
}

static void commit_segments(const struct guest_state *state)
{
    for (enum seg_reg i = SEG_ES; i < SEGS; i++)
        if (i != SEG_CS)
            commit_segment(state, i);
    vmwrite(VMCS_GUEST_GDTR_BASE, state->gdtr.base);
    vmwrite(VMCS_GUEST_GDTR_LIMIT, state->gdtr.limit);
    vmwrite(VMCS_GUEST_IDTR_BASE, state->idtr.base);
    vmwrite(VMCS_GUEST_IDTR_LIMIT, state->idtr.limit);
}

/* Bits that the host owns read as the guest last wrote them. */
static uint64_t merge(enum vmcs_field real, enum vmcs_field shadow, uint64_t host)
{
    return (vmread_always(real) & ~host) | (vmread_always(shadow) & host);
}

static void fetch_mode(const struct vmx_vcpu *vmx, struct guest_state *state)
{
    state->cr0 = merge(VMCS_GUEST_CR0, VMCS_CR0_READ_SHADOW, VMX_CR0_HOST);
    state->cr4 = merge(VMCS_GUEST_CR4, VMCS_CR4_READ_SHADOW, vmx->cr4_host);
    state->efer = vmread_always(VMCS_GUEST_IA32_EFER);
}

/* CR2 and DR6 stay in the CPU's own registers: the host changes neither. */
static void fetch_control(struct guest_state *state)
{
    state->cr2 = read_cr2();
    state->cr3 = vmread(VMCS_GUEST_CR3);
    state->pat = vmread(VMCS_GUEST_IA32_PAT);
    state->dr6 = read_dr6();
    state->dr7 = vmread(VMCS_GUEST_DR7);
    for (unsigned i = 0; i < 4; i++)
        state->pdpte[i] = vmread((enum vmcs_field)(VMCS_GUEST_PDPTE0 + 2 * i));
}

/* The fixed bits of CR0 without PE and PG, which unrestricted guests are free to clear. */
static uint64_t real_cr0(const struct vmx_msrs *msrs, uint64_t guest)
{
    uint64_t fixed = msrs->cr0_fixed0 & ~(CR0_PE | CR0_PG);
    return ((guest & ~VMX_CR0_HOST) | fixed) & msrs->cr0_fixed1;
}

/* CR0 and EFER bits that change translations, or what they allow. */
static bool changes_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    uint64_t cr0_changes = cr0 ^ vmread_always(VMCS_GUEST_CR0);
    return (cr0_changes & (CR0_PE | CR0_PG | CR0_WP)) != 0 ||
           cr4 != vmread_always(VMCS_GUEST_CR4) || efer != vmread_always(VMCS_GUEST_IA32_EFER);
}

static void commit_mode(struct vmx_vcpu *vmx, const struct guest_state *state)
{
    const struct vmx_msrs *msrs = &vmx->caps->msrs;
    uint64_t cr0 = real_cr0(msrs, state->cr0);
    uint64_t cr4 = (state->cr4 & ~vmx->cr4_host) | CR4_MCE | msrs->cr4_fixed0;
    vmwrite_always(VMCS_CR0_READ_SHADOW, state->cr0);
    vmwrite_always(VMCS_CR4_READ_SHADOW, state->cr4);
    if (changes_paging(cr0, cr4, state->efer)) {
        uint64_t entry = vmx->caps->control[VMX_ENTRY] & ~(uint64_t)ENTRY_CTL_IA32E_MODE_GUEST;
        if ((state->efer & EFER_LMA) != 0)
            entry |= ENTRY_CTL_IA32E_MODE_GUEST;
        vmwrite(VMCS_GUEST_CR4, cr4);
        vmwrite(VMCS_GUEST_IA32_EFER, state->efer);
        vmwrite(VMCS_VM_ENTRY_CONTROLS, entry);
        vmx->flush = (uint8_t)max_u64(vmx->flush, VMX_FLUSH_LINEAR);
    }
    vmwrite_always(VMCS_GUEST_CR0, cr0);
}

static void commit_control(struct vmx_vcpu *vmx, const struct guest_state *state)
{
    write_cr2(state->cr2);
    vmwrite(VMCS_GUEST_CR3, state->cr3);
    vmwrite(VMCS_GUEST_IA32_PAT, state->pat);
    write_dr6(state->dr6);
    vmwrite(VMCS_GUEST_DR7, state->dr7);
    for (unsigned i = 0; i < 4; i++)
        vmwrite((enum vmcs_field)(VMCS_GUEST_PDPTE0 + 2 * i), state->pdpte[i]);
    vmx->flush = (uint8_t)max_u64(vmx->flush, VMX_FLUSH_LINEAR);
}

static void fetch_msrs(struct guest_state *state)
{
    state->sysenter_cs = vmread(VMCS_GUEST_IA32_SYSENTER_CS);
    state->sysenter_esp = vmread(VMCS_GUEST_IA32_SYSENTER_ESP);
    state->sysenter_eip = vmread(VMCS_GUEST_IA32_SYSENTER_EIP);
    state->star = rdmsr(MSR_STAR);
    state->lstar = rdmsr(MSR_LSTAR);
    state->cstar = rdmsr(MSR_CSTAR);
    state->sfmask = rdmsr(MSR_SFMASK);
    state->kernel_gs_base = rdmsr(MSR_KERNEL_GS_BASE);
}

static void commit_msrs(const struct guest_state *state)
{
    vmwrite(VMCS_TSC_OFFSET, state->tsc_offset);
    vmwrite(VMCS_GUEST_IA32_SYSENTER_CS, state->sysenter_cs);
    vmwrite(VMCS_GUEST_IA32_SYSENTER_ESP, state->sysenter_esp);
    vmwrite(VMCS_GUEST_IA32_SYSENTER_EIP, state->sysenter_eip);
    wrmsr(MSR_STAR, state->star);
    wrmsr(MSR_LSTAR, state->lstar);
    wrmsr(MSR_CSTAR, state->cstar);
    wrmsr(MSR_SFMASK, state->sfmask);
    wrmsr(MSR_KERNEL_GS_BASE, state->kernel_gs_base);
}

static __attribute__((noinline)) unsigned fetch_others(struct vcpu *vcpu, unsigned groups)
{
    if ((groups & STATE_CR) != 0)
        fetch_control(&vcpu->state);
    if ((groups & STATE_CODE) != 0)
        fetch_code(&vcpu->state);
    if ((groups & STATE_SEG) != 0)
        fetch_segments(&vcpu->state);
    if ((groups & STATE_MSR) != 0)
        fetch_msrs(&vcpu->state);
    return groups;
}

unsigned vmx_fetch(struct vcpu *vcpu, unsigned groups)
{
    if ((groups & STATE_MODE) != 0)
        fetch_mode(vmx_of(vcpu), &vcpu->state);
    return groups == STATE_MODE ? groups : fetch_others(vcpu, groups);
}

static __attribute__((noinline)) void commit_others(struct vcpu *vcpu, unsigned groups)
{
    if ((groups & STATE_CR) != 0)
        commit_control(vmx_of(vcpu), &vcpu->state);
    if ((groups & STATE_MODE) != 0)
        commit_mode(vmx_of(vcpu), &vcpu->state);
    if ((groups & STATE_CODE) != 0)
        commit_segment(&vcpu->state, SEG_CS);
    if ((groups & STATE_SEG) != 0)
        commit_segments(&vcpu->state);
    if ((groups & STATE_MSR) != 0)
        commit_msrs(&vcpu->state);
}

/* CD and NW are the host's: what the guest reads is all that they change. */
void vmx_commit(struct vcpu *vcpu, unsigned groups)
{
    if ((groups & STATE_CD) != 0)
        vmwrite_always(VMCS_CR0_READ_SHADOW, vcpu->state.cr0);
    if (groups != STATE_CD)
        commit_others(vcpu, groups);
}
