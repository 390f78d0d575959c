/* What vmm/ does at each kind of exit; the table is in run.c, one file holds one topic. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/vcpu/decode.h"
#include "vmm/vm.h"

typedef void exit_handler(struct vcpu *vcpu, const struct vm_exit *exit);

exit_handler exit_cpuid; /* cpuid.c */
exit_handler exit_rdmsr; /* msr.c */
exit_handler exit_wrmsr;
exit_handler exit_cr; /* cr.c */
exit_handler exit_xsetbv;
exit_handler exit_io;        /* io.c */
exit_handler exit_memory;    /* hole.c */
exit_handler exit_apic;      /* interrupts.c */
exit_handler exit_hypercall; /* hypercall.c */
exit_handler exit_exception; /* inject.c */

/* Its name in reports. */
const char *exit_kind_name(unsigned kind);

/*
 * Decodes the instruction at RIP through the guest's page tables. Returns true; false: what the
 * guest must get instead (a fault, or a stop) has been arranged.
 */
bool vcpu_decode(struct vcpu *vcpu, struct insn *insn);

/* The same, and the instruction must be OP. */
bool vcpu_expect(struct vcpu *vcpu, enum insn_op op, struct insn *insn);

/*
 * Queues the intercepted #GP(0) of the instruction at RIP, or the #UD that it is for a guest: see
 * insn_is_absent().
 */
void vcpu_pass_on_gp(struct vcpu *vcpu);

/*
 * The linear address of the memory operand of INSN, of which WRITE says the access; false: a fault
 * has been queued.
 */
bool vcpu_operand(struct vcpu *vcpu, const struct insn *insn, bool write, gva_t *linear);

/*
 * tables.c: the CPU's walk of the guest's tables came to where no memory is. The guest gets the
 * #PF that its tables amount to, or is stopped.
 */
void vcpu_tables_fault(struct vcpu *vcpu, const struct exit_memory *fault);

/* CR4 bits that a guest may set: those whose feature the CPU has and CPUID shows. */
uint64_t cr4_allowed(void);

/* Writes op_size bytes to a register operand: 4 clear the upper half, 1 and 2 leave the rest. */
void vcpu_set_register(struct vcpu *vcpu, const struct insn *insn, uint64_t value);

/* Stops the VM: the bytes at RIP are not those that the CPU executed. */
void vcpu_stop_changed(struct vcpu *vcpu);

/* The parts of the next two that are seldom needed. */
void vcpu_skip_rarely(struct vcpu *vcpu);
uint64_t vcpu_decode_next(struct vcpu *vcpu, enum insn_op op);

/*
 * Where the instruction ends: as the CPU said, or else by decoding it, which must be OP. 0: it is
 * not, or cannot be read, and what the guest must get instead has been arranged; so a handler asks
 * before it changes anything.
 */
static inline uint64_t vcpu_next_rip(struct vcpu *vcpu, enum insn_op op)
{
    uint64_t next = vcpu->exit.next_rip;
    return next != 0 ? next : vcpu_decode_next(vcpu, op);
}

/*
 * An iteration of a repeated string instruction is done, but not the last: RIP stays, and RF keeps
 * an instruction breakpoint on it from being hit again (SDM, "Instruction-Breakpoint Exception
 * Condition").
 */
void vcpu_skip_iteration(struct vcpu *vcpu);

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
