/* Whether the host's CPUs go on: each is looked at by another, and one that is stuck is named. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdint.h>

#include "vmm/host/traps.h"

struct vcpu;

/*
 * From here on each CPU that is up looks once a second at the next one, in a ring; one alone,
 * beside an IOMMU, looks when it has asked for it. Called on the first CPU while the others are
 * parked.
 */
void watchdog_start(void);

/* No CPU looks any more: the machine ends. */
void watchdog_stop(void);

/*
 * Tells that the running CPU goes on, and looks at the next one when it is time: at each interrupt
 * of its timer, and in all that may take long. A CPU that has shown nothing for a second, and has
 * not answered for another, is the end of the machine, with a report of where it is.
 */
void watchdog_look(void);

/* The running CPU looks in a second at the latest, even if it is alone. */
void watchdog_ask(void);

/* TSC ticks until the running CPU is to look; UINT64_MAX: it is not. */
uint64_t watchdog_left(void);

/* The running CPU has VCPU, whose exits show that it goes on, too. */
void watchdog_follow(const struct vcpu *vcpu);

/* On a CPU that an NMI comes to, at FRAME: ends the machine if it was asked where it is stuck. */
void watchdog_nmi(const struct trap_frame *frame);
