/*
 * Second-level faults of the CPU's own walks: page tables of the guest that lie where no memory is.
 * Entries in the hole read as all ones. No CPU says by which access it came there, and some not
 * even for which linear address: so the accesses that it can have made are tried in software, in
 * its order, and the first that faults is the guest's. Where none does, the guest would only come
 * back here: it is stopped.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/x86.h"
#include "vmm/vcpu/access.h"
#include "vmm/vcpu/exits.h"

/* Offsets in the TSS of 32-bit and 64-bit mode: the stack of CPL 0, and IST1 less 8. */
enum { TSS_STACK0 = 4, TSS_IST = 0x1c };

/* Each of these returns false where a fault has been queued or the VM was stopped. */

static bool read_system(struct vcpu *vcpu, uint64_t base, uint64_t offset, void *data, unsigned n)
{
    return vcpu_access(vcpu, gva(base + offset), WALK_READ | WALK_SYSTEM, data, n);
}

static bool read_descriptor(struct vcpu *vcpu, unsigned selector, uint64_t *descriptor)
{
    const struct guest_state *state = &vcpu->state;
    uint64_t base = (selector & 4) != 0 ? state->seg[SEG_LDTR].base : state->gdtr.base;
    return read_system(vcpu, base, selector & 0xfff8, descriptor, sizeof(*descriptor));
}

static uint32_t descriptor_base(uint64_t descriptor)
{
    return (uint32_t)(descriptor >> 16 & 0xffffff) | (uint32_t)(descriptor >> 56) << 24;
}

/* The stack that a handler of CPL gets by a GATE; IST: the one that the gate names, 0: none. */
static bool find_stack(struct vcpu *vcpu, unsigned cpl, unsigned ist, bool long_mode,
                       uint64_t *stack)
{
    const struct guest_state *state = &vcpu->state;
    uint64_t offset = ist != 0 ? TSS_IST + 8 * ist : TSS_STACK0 + 8 * cpl, ss;
    *stack = state->gpr[RSP];
    if (ist == 0 && cpl == state->cpl) {
        if (!long_mode)
            *stack = (uint32_t)(state->seg[SEG_SS].base + *stack);
        return true;
    }
    if (!read_system(vcpu, state->seg[SEG_TR].base, offset, stack, sizeof(*stack)))
        return false;
    if (long_mode)
        return true;
    if (!read_descriptor(vcpu, *stack >> 32 & 0xffff, &ss))
        return false;
    *stack = (uint32_t)(descriptor_base(ss) + *stack);
    return true;
}

/* What delivery pushes: at its first word and at its last one. */
static bool push(struct vcpu *vcpu, uint64_t stack, bool long_mode, bool changes)
{
    unsigned size = long_mode ? 8 : 4, words = 3 + vcpu->event.has_error;
    unsigned access = WALK_WRITE | (changes ? WALK_SYSTEM : 0);
    if (long_mode)
        stack &= ~0xfull;
    if (long_mode || changes)
        words += 2;
    if ((vcpu->state.rflags & RFLAGS_VM) != 0)
        words += 4;
    return vcpu_probe(vcpu, gva(stack - size), access, size) &&
           vcpu_probe(vcpu, gva(stack - size * words), access, size);
}

/*
 * The accesses that deliver VCPU->event: gate, code segment, TSS, stack (SDM, "Exception- or
 * Interrupt-Handler Procedures"; "IA-32e Mode Interrupt and Exception Handling"). Task gates and
 * 16-bit gates and TSSs are left out.
 */
static bool try_delivery(struct vcpu *vcpu)
{
    const struct guest_state *state = &vcpu->state;
    bool long_mode = (state->efer & EFER_LMA) != 0;
    unsigned size = long_mode ? 16 : 8;
    uint64_t gate[2] = {0, 0}, code, stack;
    if (!read_system(vcpu, state->idtr.base, vcpu->event.vector * size, gate, size))
        return false;
    const unsigned gate_32bit = 0xe, tss_32bit = 8;
    if ((gate[0] >> 40 & gate_32bit) != gate_32bit || (state->seg[SEG_TR].attr & tss_32bit) == 0)
        return true;
    if (!read_descriptor(vcpu, gate[0] >> 16 & 0xffff, &code))
        return false;
    bool conforming = (code >> 42 & 1) != 0;
    unsigned cpl = conforming ? state->cpl : code >> 45 & 3;
    unsigned ist = long_mode ? gate[0] >> 32 & 7 : 0;
    return find_stack(vcpu, cpl, ist, long_mode, &stack) &&
           push(vcpu, stack, long_mode, cpl != state->cpl);
}

/* A MOV to CR that began or went on with PAE paging: ones are no PDPTEs. */
static bool try_pdptes(struct vcpu *vcpu, const struct insn *insn)
{
    uint64_t pdpte[4];
    bool to_cr3 = insn->op == INSN_MOV_TO_CR && insn->extra == 3;
    if (vcpu_read_pdptes(vcpu, to_cr3 ? vcpu->state.gpr[insn->reg] : vcpu->state.cr3, pdpte))
        return true;
    vcpu_raise(vcpu, VECTOR_GP, 0);
    return false;
}

/* The accesses of the instruction at RIP: its fetch, and its operand. */
static bool try_instruction(struct vcpu *vcpu, bool pdptes)
{
    struct insn insn;
    gva_t linear;
    if (!vcpu_decode(vcpu, &insn))
        return false;
    if (pdptes)
        return try_pdptes(vcpu, &insn);
    if (!insn.memory)
        return true;
    bool write = insn_writes(&insn);
    return vcpu_operand(vcpu, &insn, write, &linear) &&
           vcpu_probe(vcpu, linear, write ? WALK_WRITE : WALK_READ, insn.width);
}

void vcpu_tables_fault(struct vcpu *vcpu, const struct exit_memory *fault)
{
    vcpu_fetch(vcpu, STATE_CR | STATE_MODE | STATE_CODE | STATE_SEG);
    if (vm_gpa_kind(vcpu->vm, fault->gpa) != GPA_HOLE)
        vcpu_stop_tables(vcpu, fault->gpa);
    else if (vcpu->event.valid ? try_delivery(vcpu) : try_instruction(vcpu, fault->pdptes))
        vm_stop(vcpu->vm, "page tables at GPA 0x%lx, in the hole, give no fault, by RIP 0x%lx",
                fault->gpa.v, vcpu->state.rip);
}
