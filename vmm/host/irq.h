/* Vectors of the host for interrupts of devices that guests have: those of one CPU each. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/host/cpu.h"

struct host;

struct irq {
    /* On the CPU of its vector, wherever the host takes interrupts there; more are off. */
    void (*came)(struct irq *irq);
};

/* From here to APIC_HOST_VECTORS. Those below have the priority of the host's exceptions. */
enum { IRQ_FIRST_VECTOR = 0x40 };

/*
 * The running CPU takes the interrupts of devices from now on, of which none may come that firmware
 * has left. Once is enough. Returns 0, or -ENOMEM, logged.
 */
int irq_prepare(struct host *host);

/*
 * The vector of CPU, which has prepared for that, by which IRQ comes; -ENOSPC: it has none, and no
 * more are left. It keeps it for good: whatever it is told, what sends it may have one on its way.
 * Not on two CPUs at once for the same CPU.
 */
int irq_take(unsigned cpu, struct irq *irq);
