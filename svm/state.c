/* Moves guest state between the VMCB and its neutral form, and prints the VMCB by name. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/x86.h"
#include "svm/svm.h"
#include "vmm/host/log.h"

/* The VMCB packs a descriptor's bits 55:52 next to 47:40. */
static struct seg unpack(const struct vmcb_seg *seg)
{
    uint16_t attr = (uint16_t)((seg->attrib & 0xff) | (seg->attrib & 0xf00) << 4);
    return (struct seg){seg->selector, attr, seg->limit, seg->base};
}

static struct vmcb_seg pack(const struct seg *seg)
{
    uint16_t attrib = (uint16_t)((seg->attr & 0xff) | (seg->attr >> 4 & 0xf00));
    return (struct vmcb_seg){seg->selector, attrib, seg->limit, seg->base};
}

static const uint16_t seg_offsets[SEGS] = {
    [SEG_ES] = offsetof(struct vmcb, es),     [SEG_CS] = offsetof(struct vmcb, cs),
    [SEG_SS] = offsetof(struct vmcb, ss),     [SEG_DS] = offsetof(struct vmcb, ds),
    [SEG_FS] = offsetof(struct vmcb, fs),     [SEG_GS] = offsetof(struct vmcb, gs),
    [SEG_LDTR] = offsetof(struct vmcb, ldtr), [SEG_TR] = offsetof(struct vmcb, tr),
};

static struct vmcb_seg *seg_of(struct vmcb *vmcb, enum seg_reg reg)
{
    return (struct vmcb_seg *)(void *)((char *)vmcb + seg_offsets[reg]);
}

static void fetch_code(struct guest_state *state, const struct vmcb *vmcb)
{
    state->seg[SEG_CS] = unpack(&vmcb->cs);
    state->cpl = vmcb->cpl;
}

static void fetch_segments(struct guest_state *state, struct vmcb *vmcb)
{
    for (enum seg_reg i = SEG_ES; i < SEGS; i++)
        if (i != SEG_CS)
            state->seg[i] = unpack(seg_of(vmcb, i));
    state->gdtr = (struct table_reg){vmcb->gdtr.base, vmcb->gdtr.limit};
    state->idtr = (struct table_reg){vmcb->idtr.base, vmcb->idtr.limit};
}

/* CR0 bits that the CPU does not get: those of a CD that must not act. */
static uint64_t hidden_cr0(const struct vcpu *vcpu)
{
    return policy_cd_acts(&vcpu->vm->map.typing.policy, true) ? 0 : CR0_CD | CR0_NW;
}

/* Of EFER.LMA that is the meaning; Bochs 2.7 has changed it when a MOV to CR0 exits. */
static uint64_t with_lma(uint64_t efer, uint64_t cr0)
{
    bool active = (efer & EFER_LME) != 0 && (cr0 & CR0_PG) != 0;
    return active ? efer | EFER_LMA : efer & ~EFER_LMA;
}

/* The real CR4.MCE is always 1, EFER.SVME too: the guest sees its own. */
static void fetch_control(const struct vcpu *vcpu, struct guest_state *state,
                          const struct vmcb *vmcb)
{
    uint64_t hidden = hidden_cr0(vcpu);
    state->cr0 = (vmcb->cr0 & ~hidden) | (state->cr0 & hidden);
    state->cr4 = (vmcb->cr4 & ~CR4_MCE) | (state->cr4 & CR4_MCE);
    state->efer = with_lma(vmcb->efer & ~EFER_SVME, vmcb->cr0);
    state->cr2 = vmcb->cr2;
    state->cr3 = vmcb->cr3;
    state->dr6 = vmcb->dr6;
    state->dr7 = vmcb->dr7;
}

static void fetch_msrs(struct guest_state *state, const struct vmcb *vmcb)
{
    state->sysenter_cs = vmcb->sysenter_cs;
    state->sysenter_esp = vmcb->sysenter_esp;
    state->sysenter_eip = vmcb->sysenter_eip;
    state->star = vmcb->star;
    state->lstar = vmcb->lstar;
    state->cstar = vmcb->cstar;
    state->sfmask = vmcb->sfmask;
    state->kernel_gs_base = vmcb->kernel_gs_base;
}

/* Control registers lie together: who asks for one group of them mostly asks for the other. */
unsigned svm_fetch(struct vcpu *vcpu, unsigned groups)
{
    const unsigned control = STATE_CR | STATE_MODE;
    struct vmcb *vmcb = svm_of(vcpu)->vmcb;
    if ((groups & control) != 0) {
        groups |= control;
        fetch_control(vcpu, &vcpu->state, vmcb);
    }
    if ((groups & STATE_CODE) != 0)
        fetch_code(&vcpu->state, vmcb);
    if ((groups & STATE_SEG) != 0)
        fetch_segments(&vcpu->state, vmcb);
    if ((groups & STATE_MSR) != 0)
        fetch_msrs(&vcpu->state, vmcb);
    return groups;
}

static void commit_code(const struct guest_state *state, struct vmcb *vmcb)
{
    vmcb->cs = pack(&state->seg[SEG_CS]);
    vmcb->cpl = state->cpl;
}

static void commit_segments(const struct guest_state *state, struct vmcb *vmcb)
{
    for (enum seg_reg i = SEG_ES; i < SEGS; i++)
        if (i != SEG_CS)
            *seg_of(vmcb, i) = pack(&state->seg[i]);
    vmcb->gdtr = (struct vmcb_seg){.base = state->gdtr.base, .limit = state->gdtr.limit};
    vmcb->idtr = (struct vmcb_seg){.base = state->idtr.base, .limit = state->idtr.limit};
}

static void commit_mode(const struct vcpu *vcpu, struct vmcb *vmcb)
{
    const struct guest_state *state = &vcpu->state;
    uint64_t translation = CR4_PSE | CR4_PAE | CR4_PGE | CR4_LA57 | CR4_PCIDE | CR4_SMEP | CR4_SMAP;
    uint64_t cr0 = state->cr0 & ~hidden_cr0(vcpu), cr4 = state->cr4 | CR4_MCE;
    uint64_t efer = state->efer | EFER_SVME;
    if (((cr4 ^ vmcb->cr4) & translation) != 0 || ((cr0 ^ vmcb->cr0) & (CR0_PG | CR0_WP)) != 0 ||
        vmcb->efer != efer)
        svm_flush(svm_of(vcpu));
    vmcb->cr0 = cr0;
    vmcb->cr4 = cr4;
    vmcb->efer = efer;
}

static void commit_control(const struct vcpu *vcpu, struct vmcb *vmcb)
{
    const struct guest_state *state = &vcpu->state;
    if (vmcb->g_pat != state->pat)
        svm_flush(svm_of(vcpu));
    vmcb->cr2 = state->cr2;
    write_cr2(state->cr2); /* the CPU's own is free, and Bochs 2.7 does not load the VMCB's */
    vmcb->cr3 = state->cr3;
    vmcb->dr6 = state->dr6;
    vmcb->dr7 = state->dr7;
    vmcb->g_pat = state->pat;
}

static void commit_msrs(const struct guest_state *state, struct vmcb *vmcb)
{
    vmcb->tsc_offset = state->tsc_offset;
    vmcb->sysenter_cs = state->sysenter_cs;
    vmcb->sysenter_esp = state->sysenter_esp;
    vmcb->sysenter_eip = state->sysenter_eip;
    vmcb->star = state->star;
    vmcb->lstar = state->lstar;
    vmcb->cstar = state->cstar;
    vmcb->sfmask = state->sfmask;
    vmcb->kernel_gs_base = state->kernel_gs_base;
}

void svm_commit(struct vcpu *vcpu, unsigned groups)
{
    struct vmcb *vmcb = svm_of(vcpu)->vmcb;
    if ((groups & STATE_CR) != 0)
        commit_control(vcpu, vmcb);
    if ((groups & (STATE_MODE | STATE_CD)) != 0)
        commit_mode(vcpu, vmcb);
    if ((groups & STATE_CODE) != 0)
        commit_code(&vcpu->state, vmcb);
    if ((groups & STATE_SEG) != 0)
        commit_segments(&vcpu->state, vmcb);
    if ((groups & STATE_MSR) != 0)
        commit_msrs(&vcpu->state, vmcb);
}

struct dump_row {
    const char *name;
    uint16_t offset;
    uint8_t bytes;
};

#define ROW(field)                                                                                 \
    {                                                                                              \
#field, offsetof(struct vmcb, field), sizeof(((struct vmcb *)0)->field)                    \
    }

static const struct dump_row dump_rows[] = {
    ROW(intercept_cr_read),
    ROW(intercept_cr_write),
    ROW(intercept_dr_read),
    ROW(intercept_dr_write),
    ROW(intercept_exceptions),
    ROW(intercept_1),
    ROW(intercept_2),
    ROW(intercept_3),
    ROW(iopm_base),
    ROW(msrpm_base),
    ROW(tsc_offset),
    ROW(asid),
    ROW(tlb_control),
    ROW(v_intr),
    ROW(int_state),
    ROW(exitcode),
    ROW(exitinfo1),
    ROW(exitinfo2),
    ROW(exitintinfo),
    ROW(np_enable),
    ROW(eventinj),
    ROW(n_cr3),
    ROW(lbr_enable),
    ROW(clean),
    ROW(nrip),
    ROW(cpl),
    ROW(efer),
    ROW(cr4),
    ROW(cr3),
    ROW(cr0),
    ROW(dr7),
    ROW(dr6),
    ROW(rflags),
    ROW(rip),
    ROW(rsp),
    ROW(rax),
    ROW(star),
    ROW(lstar),
    ROW(cstar),
    ROW(sfmask),
    ROW(kernel_gs_base),
    ROW(sysenter_cs),
    ROW(sysenter_esp),
    ROW(sysenter_eip),
    ROW(cr2),
    ROW(g_pat),
    ROW(dbgctl),
};

static void dump_seg(const char *name, const struct vmcb_seg *seg)
{
    log_line("  %-22s %04x attrib %03x limit %08x base %016lx", name, seg->selector, seg->attrib,
             seg->limit, seg->base);
}

void svm_dump(struct vcpu *vcpu)
{
    static const char *const names[SEGS] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
    struct vmcb *vmcb = svm_of(vcpu)->vmcb;
    log_line("VMCB at 0x%lx:", svm_of(vcpu)->vmcb_hpa);
    for (unsigned i = 0; i < ARRAY_SIZE(dump_rows); i++) {
        const struct dump_row *row = &dump_rows[i];
        uint64_t value = 0;
        __builtin_memcpy(&value, (const char *)vmcb + row->offset, row->bytes);
        log_line("  %-22s %0*lx", row->name, 2 * row->bytes, value);
    }
    for (enum seg_reg i = SEG_ES; i < SEGS; i++)
        dump_seg(names[i], seg_of(vmcb, i));
    dump_seg("gdtr", &vmcb->gdtr);
    dump_seg("idtr", &vmcb->idtr);
}
