/* Completing an instruction in the guest's place: finding its length, and going past it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/x86.h"
#include "vmm/vcpu/access.h"
#include "vmm/vcpu/exits.h"

bool vcpu_decode(struct vcpu *vcpu, struct insn *insn)
{
    struct decoded *known = &vcpu->decoded[vcpu->state.rip % ARRAY_SIZE(vcpu->decoded)];
    uint64_t words[2] = {0};
    uint8_t *bytes = (uint8_t *)words;
    unsigned code_size = vcpu_code_size(vcpu);
    unsigned n = 0;
    int error;
    do {
        n = vcpu_fetch_code(vcpu, code_size, n, bytes);
        if (n == 0)
            return false;
        error = n == INSN_MAX_LENGTH ? insn_decode_again(known, words, code_size, insn)
                                     : insn_decode(bytes, n, code_size, insn);
    } while (error == -ENODATA && n < INSN_MAX_LENGTH);
    if (error == 0)
        return true;
    vm_stop(vcpu->vm, "instruction form %02x %02x %02x %02x at RIP 0x%lx is not emulated", bytes[0],
            bytes[1], bytes[2], bytes[3], vcpu->state.rip);
    return false;
}

void vcpu_stop_changed(struct vcpu *vcpu)
{
    vm_stop(vcpu->vm, "instruction at RIP 0x%lx changed while it ran", vcpu->state.rip);
}

bool vcpu_expect(struct vcpu *vcpu, enum insn_op op, struct insn *insn)
{
    if (!vcpu_decode(vcpu, insn))
        return false;
    if (insn->op != op)
        vcpu_stop_changed(vcpu);
    return insn->op == op;
}

void vcpu_skip_rarely(struct vcpu *vcpu)
{
    struct guest_state *state = &vcpu->state;
    if (vcpu_code_size(vcpu) != 8)
        state->rip = (uint32_t)state->rip;
    if ((state->rflags & RFLAGS_TF) != 0)
        vcpu_raise_debug(vcpu, DR6_BS);
}

void vcpu_skip_iteration(struct vcpu *vcpu)
{
    vcpu->state.rflags |= RFLAGS_RF;
    vcpu->completed = true;
    if ((vcpu->state.rflags & RFLAGS_TF) != 0)
        vcpu_raise_debug(vcpu, DR6_BS);
}

uint64_t vcpu_decode_next(struct vcpu *vcpu, enum insn_op op)
{
    struct insn insn;
    return vcpu_expect(vcpu, op, &insn) ? vcpu->state.rip + insn.length : 0;
}

void vcpu_pass_on_gp(struct vcpu *vcpu)
{
    uint8_t bytes[INSN_MAX_LENGTH];
    unsigned code_size = vcpu_code_size(vcpu), n = 0;
    bool fetched = code_size == 8 || vcpu->state.rip <= vcpu->state.seg[SEG_CS].limit;
    int absent = fetched ? -ENODATA : 0;
    while (absent == -ENODATA && n < INSN_MAX_LENGTH) {
        n = vcpu_fetch_code(vcpu, code_size, n, bytes);
        if (n == 0)
            return;
        absent = insn_is_absent(bytes, n, code_size);
    }
    vcpu_raise(vcpu, absent > 0 ? VECTOR_UD : VECTOR_GP, 0);
}
