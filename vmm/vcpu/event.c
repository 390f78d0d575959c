/* What the manuals say of exceptions: error codes, and one during the delivery of another. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/vcpu/event.h"

enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

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

struct event event_exception(enum vector vector, uint32_t error, bool protected_mode)
{
    const uint32_t with_error = 1u << VECTOR_DF | 1u << VECTOR_TS | 1u << VECTOR_NP |
                                1u << VECTOR_SS | 1u << VECTOR_GP | 1u << VECTOR_PF |
                                1u << VECTOR_AC;
    return (struct event){
        .valid = true,
        .vector = (uint8_t)vector,
        .type = DELIVER_EXCEPTION,
        .has_error = protected_mode && (with_error >> vector & 1) != 0,
        .error = error,
    };
}

bool event_merge(const struct event *first, struct event *next, bool protected_mode)
{
    enum fault_class old = class_of(first), new = class_of(next);
    if (old == BENIGN || new == BENIGN || (old == CONTRIBUTORY && new == PAGE_FAULT))
        return true;
    *next = event_exception(VECTOR_DF, 0, protected_mode);
    return old != DOUBLE_FAULT;
}
