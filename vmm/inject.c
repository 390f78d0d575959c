/* Exceptions for the guest, merged with what was in delivery as the manuals say. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/assert.h"
#include "lib/x86.h"
#include "vmm/vm.h"

enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

/* SDM, "Interrupt 8 - Double Fault Exception (#DF)". */
static enum fault_class class_of(const struct event *event)
{
    if (!event->valid || event->type != DELIVER_EXCEPTION)
        return BENIGN;
    switch (event->vector) {
    case VECTOR_DE:
    case VECTOR_TS:
    case VECTOR_NP:
    case VECTOR_SS:
    case VECTOR_GP:
        return CONTRIBUTORY;
    case VECTOR_PF:
        return PAGE_FAULT;
    case VECTOR_DF:
        return DOUBLE_FAULT;
    default:
        return BENIGN;
    }
}

/* In real mode no exception has one. */
static bool has_error_code(const struct vcpu *vcpu, enum vector vector)
{
    return (vcpu->state.cr0 & CR0_PE) != 0 &&
           (vector == VECTOR_DF || (vector >= VECTOR_TS && vector <= VECTOR_PF) ||
            vector == VECTOR_AC);
}

void vcpu_raise(struct vcpu *vcpu, enum vector vector, uint32_t error)
{
    vcpu_fetch(vcpu, STATE_CR);
    struct event next = {
        .valid = true,
        .vector = (uint8_t)vector,
        .type = DELIVER_EXCEPTION,
        .has_error = has_error_code(vcpu, vector),
        .error = error,
    };
    enum fault_class first = class_of(&vcpu->event);
    enum fault_class second = class_of(&next);
    bool doubles = (first == CONTRIBUTORY && second == CONTRIBUTORY) ||
                   (first == PAGE_FAULT && second != BENIGN);
    assert(vector < 32);
    if (first == DOUBLE_FAULT && second != BENIGN) {
        vm_reset(vcpu->vm, "triple fault");
        return;
    }
    if (doubles)
        next = (struct event){true, VECTOR_DF, DELIVER_EXCEPTION, has_error_code(vcpu, VECTOR_DF),
                              0,    0};
    vcpu->event = next;
    if (vector != VECTOR_DB && vector != VECTOR_DF) /* a fault: what it pushes has RF set */
        vcpu->state.rflags |= RFLAGS_RF;
}

void vcpu_raise_page_fault(struct vcpu *vcpu, gva_t address, uint32_t error)
{
    vcpu_change(vcpu, STATE_CR);
    vcpu->state.cr2 = address.v;
    vcpu_raise(vcpu, VECTOR_PF, error);
}
