/* The states that a vCPU begins in: its VM's start, an INIT, and a startup IPI. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/string.h"
#include "lib/x86.h"
#include "mm/memtype.h"
#include "vmm/host/fpu.h"
#include "vmm/vcpu/msr.h"
#include "vmm/typing/views.h"
#include "vmm/vm.h"

enum { CODE = SEG_P | SEG_S | 0xb, DATA = SEG_P | SEG_S | 0x3, LDT = SEG_P | 0x2 };
enum { BUSY_TSS = SEG_P | 0xb, FLAT = SEG_D | SEG_G };

/* Where the two agree; the segments are of the given code and data. */
static void set_common(struct guest_state *state, const struct seg *code, const struct seg *data)
{
    memset(state->gpr, 0, sizeof(state->gpr));
    state->rflags = RFLAGS_FIXED;
    state->cr2 = state->cr3 = state->cr4 = state->efer = 0;
    state->dr6 = DR6_RESET;
    state->dr7 = DR7_RESET;
    state->cpl = 0;
    for (unsigned i = 0; i < SEG_LDTR; i++)
        state->seg[i] = i == SEG_CS ? *code : *data;
    state->seg[SEG_LDTR] = (struct seg){0, LDT, 0xffff, 0};
    state->seg[SEG_TR] = (struct seg){0, BUSY_TSS, 0xffff, 0};
    state->gdtr = state->idtr = (struct table_reg){0, 0xffff};
}

/* Multiboot Specification 0.6.96, "Machine state": flat 32-bit segments, no paging, no interrupts.
 */
static void set_multiboot(struct guest_state *state)
{
    const struct seg code = {0x08, CODE | FLAT, UINT32_MAX, 0};
    const struct seg data = {0x10, DATA | FLAT, UINT32_MAX, 0};
    set_common(state, &code, &data);
    state->cr0 = CR0_PE | CR0_ET;
}

/* SDM, "Processor State After Reset"; APM, "Processor Initialization State": where no CPU runs. */
static void set_init(struct vcpu *vcpu)
{
    struct guest_state *state = &vcpu->state;
    uint64_t kept = state->cr0 & (CR0_CD | CR0_NW);
    const struct seg code = {0xf000, CODE, 0xffff, 0xffff0000};
    const struct seg data = {0, DATA, 0xffff, 0};
    set_common(state, &code, &data);
    state->rip = 0xfff0;
    state->cr0 = CR0_ET | kept;
    state->gpr[RDX] = vcpu->vm->cpuid.basic[1].eax;
    vcpu->waits = true;
}

/* Nothing of what the backend has is that of before. */
static void put_all(struct vcpu *vcpu)
{
    vcpu->fetched = STATE_CR | STATE_CODE | STATE_SEG | STATE_MSR | STATE_MODE;
    vcpu->changed = vcpu->fetched | STATE_EVENTS;
    vcpu->vm->ops->vcpu_reset(vcpu);
}

int vcpu_reset(struct vcpu *vcpu)
{
    const struct vm *vm = vcpu->vm;
    bool architectural = vm->map.typing.policy.reset == KNOB_RESET_ARCHITECTURAL;
    memset(vcpu, 0, offsetof(struct vcpu, vm));
    if (vcpu->index == 0)
        set_multiboot(&vcpu->state);
    else
        set_init(vcpu);
    if (architectural)
        vcpu->state.cr0 |= CR0_CD | CR0_NW;
    vcpu->pat = PAT_RESET;
    vcpu->state.tsc_offset = vm->tsc_offset;
    vm_reset_mtrrs(vm, &vcpu->mtrr);
    vcpu->hides_mtrrs = vm->map.typing.policy.report == KNOB_REPORT_HIDDEN;
    msr_reset(vcpu);
    lapic_reset(&vcpu->lapic, vcpu->apic_page, vcpu->index, vcpu->index == 0);
    if (vcpu->index == 0)
        lapic_set_virtual_wire(&vcpu->lapic);
    vcpu->walk = (struct walk_state){
        .phys_bits = vcpu->mtrr.phys_bits,
        .has_1g = (vm->cpuid.extended[1].edx & 1u << 26) != 0,
        .reserves_bit8 = vm->caps->reserves_bit8,
        .pdpte_valid = vm->caps->has_pdptes,
    };
    vcpu->mail = (struct mailbox){.due = UINT64_MAX}; /* nobody sends now */
    put_all(vcpu);
    return vcpu->waits ? 0 : views_reset(vcpu);
}

/* MTRRs, PAT, TSC, the FPU and what MSRs say are left as they are. */
void vcpu_init(struct vcpu *vcpu)
{
    vcpu_fetch(vcpu, STATE_CR | STATE_CODE | STATE_SEG | STATE_MSR | STATE_MODE);
    vcpu->pat = views_own_pat(vcpu);
    views_leave(vcpu);
    set_init(vcpu);
    vcpu->event.valid = false;
    vcpu->completed = vcpu->nmi = vcpu->extint = vcpu->owes = false;
    vcpu->awaits = 0;
    vcpu->again = 0;
    lapic_init(&vcpu->lapic);
    vcpu->delivers = false;
    fpu_reset_breakpoints();
    put_all(vcpu);
}

/* SDM, "Startup IPI"; the guest's view is one that its state asks for. */
void vcpu_startup(struct vcpu *vcpu, uint8_t vector)
{
    vcpu->waits = false;
    vcpu->state.seg[SEG_CS].selector = (uint16_t)(vector << 8);
    vcpu->state.seg[SEG_CS].base = (uint64_t)vector << 12;
    vcpu->state.rip = 0;
    vcpu->changed |= STATE_CODE | STATE_SEG;
    if (views_reset(vcpu) != 0) /* the tables of before the INIT may be another's now */
        views_stop_without_tables(vcpu->vm);
}
