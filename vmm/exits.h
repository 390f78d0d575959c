/* What vmm/ does at each kind of exit; the table is in vmm/run.c, one file holds one topic. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/decode.h"
#include "vmm/vm.h"

typedef void exit_handler(struct vcpu *vcpu, const struct vm_exit *exit);

exit_handler exit_cpuid; /* vmm/cpuid.c */
exit_handler exit_rdmsr; /* vmm/msr.c */
exit_handler exit_wrmsr;
exit_handler exit_cr; /* vmm/cr.c */
exit_handler exit_xsetbv;
exit_handler exit_io;        /* vmm/io.c */
exit_handler exit_memory;    /* vmm/hole.c */
exit_handler exit_hypercall; /* vmm/hypercall.c */

/*
 * Decodes the instruction at RIP through the guest's page tables. Returns true; false: what the
 * guest must get instead (a fault, or a stop) has been arranged.
 */
bool vcpu_decode(struct vcpu *vcpu, struct insn *insn);

/* The same, and the instruction must be OP. */
bool vcpu_expect(struct vcpu *vcpu, enum insn_op op, struct insn *insn);

/* CR4 bits that a guest may set: those whose feature the CPU has and CPUID shows. */
uint64_t cr4_allowed(void);

/* The parts of vcpu_skip() and vcpu_advance() that are seldom needed. */
void vcpu_skip_rarely(struct vcpu *vcpu);
uint64_t vcpu_next_rip(struct vcpu *vcpu, enum insn_op op);

/*
 * Sets RIP behind the instruction that was completed. Ends RF and the shadow of STI and MOV SS, and
 * queues the #DB of single-stepping.
 */
static inline void vcpu_skip(struct vcpu *vcpu, uint64_t next_rip)
{
    struct guest_state *state = &vcpu->state;
    state->rip = next_rip;
    state->rflags &= ~RFLAGS_RF;
    vcpu->completed = true;
    if (next_rip >> 32 != 0 || (state->rflags & RFLAGS_TF) != 0)
        vcpu_skip_rarely(vcpu);
}

/*
 * The same, to where the CPU said, or else by decoding the instruction, which must be OP; if it is
 * not, or cannot be read, what the guest must get instead has been arranged.
 */
static inline void vcpu_advance(struct vcpu *vcpu, const struct vm_exit *exit, enum insn_op op)
{
    uint64_t next = exit->next_rip != 0 ? exit->next_rip : vcpu_next_rip(vcpu, op);
    if (next != 0)
        vcpu_skip(vcpu, next);
}
