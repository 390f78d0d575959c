/* Second-level faults: the MMIO hole, where nothing answers, and addresses where nothing is. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/assert.h"
#include "lib/x86.h"
#include "vmm/access.h"
#include "vmm/exits.h"

static uint64_t truncated(uint64_t value, unsigned bytes)
{
    return bytes == 8 ? value : value & ((1ull << 8 * bytes) - 1);
}

static uint64_t sign_extended(uint64_t value, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;
    return (uint64_t)((int64_t)(value << shift) >> shift);
}

void vcpu_set_register(struct vcpu *vcpu, const struct insn *insn, uint64_t value)
{
    assert(insn->reg < GPRS);
    uint64_t *reg = &vcpu->state.gpr[insn->reg];
    unsigned shift = insn->high_byte ? 8 : 0;
    if (insn->op_size >= 4) {
        *reg = truncated(value, insn->op_size);
        return;
    }
    uint64_t mask = truncated(UINT64_MAX, insn->op_size) << shift;
    *reg = (*reg & ~mask) | (value << shift & mask);
}

static uint64_t get_register(const struct vcpu *vcpu, const struct insn *insn)
{
    assert(insn->reg < GPRS);
    return vcpu->state.gpr[insn->reg] >> (insn->high_byte ? 8 : 0);
}

static uint64_t effective_address(const struct vcpu *vcpu, const struct insn *insn)
{
    uint64_t address = (uint64_t)insn->disp;
    if (insn->base == INSN_RIP)
        address += vcpu->state.rip + insn->length;
    else if (insn->base != INSN_NO_REG)
        address += vcpu->state.gpr[insn->base];
    if (insn->index != INSN_NO_REG)
        address += vcpu->state.gpr[insn->index] * insn->scale;
    return truncated(address, insn->addr_size);
}

bool vcpu_operand(struct vcpu *vcpu, const struct insn *insn, bool write, gva_t *linear)
{
    return vcpu_linear(vcpu, (enum seg_reg)insn->seg, effective_address(vcpu, insn), insn->width,
                       write, linear);
}

static bool load(struct vcpu *vcpu, const struct insn *insn)
{
    uint64_t value = 0;
    gva_t linear;
    if (!vcpu_operand(vcpu, insn, false, &linear) ||
        !vcpu_access(vcpu, linear, WALK_READ, &value, insn->width))
        return false;
    if (insn->op == INSN_MOVSX)
        value = sign_extended(value, insn->width);
    vcpu_set_register(vcpu, insn, value);
    return true;
}

static bool store(struct vcpu *vcpu, const struct insn *insn)
{
    uint64_t value = insn->has_imm ? insn->imm : get_register(vcpu, insn);
    gva_t linear;
    return vcpu_operand(vcpu, insn, true, &linear) &&
           vcpu_access(vcpu, linear, WALK_WRITE, &value, insn->width);
}

static void step_register(uint64_t *reg, unsigned addr_size, uint64_t step)
{
    uint64_t mask = truncated(UINT64_MAX, addr_size);
    uint64_t sum = (*reg + step) & mask;
    *reg = addr_size == 2 ? (*reg & ~mask) | sum : sum;
}

/* One element of STOS: the guest executes the rest, and comes back here if it must. */
static void stos(struct vcpu *vcpu, const struct insn *insn)
{
    uint64_t *gpr = vcpu->state.gpr;
    uint64_t step = insn->width;
    gva_t linear;
    if ((vcpu->state.rflags & RFLAGS_DF) != 0)
        step = -step;
    if (!vcpu_operand(vcpu, insn, true, &linear) ||
        !vcpu_access(vcpu, linear, WALK_WRITE, &gpr[RAX], insn->width))
        return;
    step_register(&gpr[RDI], insn->addr_size, step);
    if (insn->rep)
        step_register(&gpr[RCX], insn->addr_size, UINT64_MAX);
    if (!insn->rep || truncated(gpr[RCX], insn->addr_size) == 0)
        vcpu_skip(vcpu, vcpu->state.rip + insn->length);
    else
        vcpu_skip_iteration(vcpu);
}

static void emulate(struct vcpu *vcpu)
{
    struct insn insn;
    bool done = false;
    if (!vcpu_decode(vcpu, &insn))
        return;
    if (insn.op == INSN_STOS)
        stos(vcpu, &insn);
    else if (insn.op == INSN_MOV_LOAD || insn.op == INSN_MOVZX || insn.op == INSN_MOVSX)
        done = load(vcpu, &insn);
    else if (insn.op == INSN_MOV_STORE)
        done = store(vcpu, &insn);
    else
        vm_stop(vcpu->vm, "instruction at RIP 0x%lx is not emulated on the hole", vcpu->state.rip);
    if (done)
        vcpu_skip(vcpu, vcpu->state.rip + insn.length);
}

/*
 * What is fetched from the hole is ones, and FF FF is no instruction (SDM, "Opcode Map"). Where the
 * instruction only ends there, the VM is stopped: ones can be its operand.
 */
static void fetch(struct vcpu *vcpu, gpa_t gpa)
{
    uint16_t opcode;
    gva_t linear = vcpu_code_address(vcpu, vcpu_code_size(vcpu), 0);
    if (!vcpu_access(vcpu, linear, WALK_FETCH, &opcode, sizeof(opcode)))
        return;
    if (opcode == 0xffff)
        vcpu_raise(vcpu, VECTOR_UD, 0);
    else
        vm_stop(vcpu->vm, "fetch from the hole at GPA 0x%lx", gpa.v);
}

void exit_memory(struct vcpu *vcpu, const struct vm_exit *exit)
{
    const struct exit_memory *fault = &exit->memory;
    struct vm *vm = vcpu->vm;
    if (fault->walk)
        vcpu_tables_fault(vcpu, fault);
    else if (vcpu->event.valid)
        vm_stop(vm, "delivery of vector %u touches GPA 0x%lx, where nothing is", vcpu->event.vector,
                fault->gpa.v);
    else if (vm_gpa_kind(vm, fault->gpa) != GPA_HOLE)
        vcpu_stop_nowhere(vcpu, fault->gpa, fault->access);
    else if ((fault->access & PT_X) != 0)
        fetch(vcpu, fault->gpa);
    else
        emulate(vcpu);
}
