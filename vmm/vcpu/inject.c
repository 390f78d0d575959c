/* Exceptions for the guest, merged with what was in delivery as the manuals say. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/assert.h"
#include "vmm/vcpu/access.h"
#include "vmm/vcpu/event.h"
#include "vmm/vcpu/exits.h"

void vcpu_raise(struct vcpu *vcpu, enum vector vector, uint32_t error)
{
    assert(vector < 32);
    vcpu_fetch(vcpu, STATE_MODE);
    bool protected_mode = (vcpu->state.cr0 & CR0_PE) != 0;
    struct event next = event_exception(vector, error, protected_mode);
    if (!event_merge(&vcpu->event, &next, protected_mode)) {
        vm_reset(vcpu->vm, "triple fault");
        return;
    }
    vcpu->event = next;
    vcpu->completed = true;
    if (vector != VECTOR_DB) /* a fault: what it pushes has RF set */
        vcpu->state.rflags |= RFLAGS_RF;
}

void vcpu_raise_page_fault(struct vcpu *vcpu, gva_t address, uint32_t error)
{
    vcpu_change(vcpu, STATE_CR);
    vcpu->state.cr2 = address.v;
    vcpu_raise(vcpu, VECTOR_PF, error);
}

void vcpu_raise_debug(struct vcpu *vcpu, uint64_t status)
{
    vcpu_change(vcpu, STATE_CR);
    vcpu->state.dr6 |= status;
    vcpu->state.dr7 &= ~DR7_GD;
    vcpu_raise(vcpu, VECTOR_DB, 0);
}

/*
 * A #DB that interrupts the first instruction of its own handler, on the stack that it switches to:
 * RIP and RSP are then the very ones that its last delivery has pushed.
 */
static bool debug_repeats(struct vcpu *vcpu)
{
    uint64_t rsp = vcpu->state.gpr[RSP], rip, old_rsp;
    return vcpu_code_size(vcpu) == 8 && rsp % 8 == 0 && vcpu_peek(vcpu, gva(rsp), &rip) &&
           rip == vcpu->state.rip && vcpu_peek(vcpu, gva(rsp + 24), &old_rsp) && old_rsp == rsp;
}

/* An #AC that delivering an #AC has raised: the next delivery would find all as this one did. */
static bool alignment_repeats(const struct vcpu *vcpu, const struct event *next)
{
    const struct event *first = &vcpu->event;
    return next->vector == VECTOR_AC && first->valid && first->type == DELIVER_EXCEPTION &&
           first->vector == VECTOR_AC;
}

/*
 * #DB and #AC are intercepted so that no guest can hold the CPU in their delivery: the guest gets
 * them all the same, unless delivery has brought them up again with nothing changed. #GP is
 * intercepted where it may have to be #UD.
 */
void exit_exception(struct vcpu *vcpu, const struct vm_exit *exit)
{
    const struct event *next = &exit->exception;
    bool debug = next->vector == VECTOR_DB;
    if (debug ? debug_repeats(vcpu) : alignment_repeats(vcpu, next)) {
        vm_stop(vcpu->vm, "delivery of vector %u raises it for ever at RIP 0x%lx", next->vector,
                vcpu->state.rip);
    } else if (debug) {
        vcpu_raise_debug(vcpu, 0);
        if (next->type == DELIVER_ICEBP) /* a trap with a length of its own */
            vcpu->event = *next;
    } else if (next->vector == VECTOR_GP && next->error == 0 && !vcpu->event.valid) {
        vcpu_pass_on_gp(vcpu);
    } else {
        vcpu_raise(vcpu, (enum vector)next->vector, next->error);
    }
}
