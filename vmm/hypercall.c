/* Hypercalls: vmm/abi.h has their numbers. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/abi.h"

#include "lib/errno.h"
#include "lib/x86.h"
#include "vmm/exits.h"

static int64_t call(struct vcpu *vcpu, uint64_t number)
{
    (void)vcpu;
    switch (number) {
    case HYPERCALL_VERSION:
        return HYPERCALL_ABI;
    default:
        return -ENOSYS;
    }
}

void exit_hypercall(struct vcpu *vcpu, const struct vm_exit *exit)
{
    (void)exit;
    vcpu_fetch(vcpu, STATE_CODE);
    if (vcpu->state.cpl != 0 || (vcpu->state.rflags & RFLAGS_VM) != 0) {
        vcpu_raise(vcpu, VECTOR_UD, 0);
        return;
    }
    uint64_t next = vcpu_next_rip(vcpu, vcpu->vm->caps->hypercall);
    if (next == 0)
        return;
    vcpu->state.gpr[RAX] = (uint64_t)call(vcpu, vcpu->state.gpr[RAX]);
    vcpu_skip(vcpu, next);
}
