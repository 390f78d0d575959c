/* What the manuals say of exceptions: error codes, and one during the delivery of another. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/x86.h"
#include "vmm/virt.h"

/* An exception; outside protected mode none has an error code. */
struct event event_exception(enum vector vector, uint32_t error, bool protected_mode);

/*
 * NEXT arose while FIRST (where it is valid) was being delivered: makes of NEXT what the CPU then
 * delivers. False: it shuts down (SDM, "Interrupt 8 - Double Fault Exception (#DF)").
 */
bool event_merge(const struct event *first, struct event *next, bool protected_mode);
