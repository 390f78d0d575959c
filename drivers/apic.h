/* The local APIC of the running CPU, in either mode. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdint.h>

struct host;

/* Vectors from here up are the host's own: no other fixed interrupt is taken. */
enum { APIC_HOST_VECTORS = 0xf0, APIC_SPURIOUS = 0xff };

/*
 * Enables the local APIC, with all of its local interrupts masked, and with a priority that holds
 * back every vector that firmware may have left to a timer, an I/O APIC or a device. Does nothing
 * where the APIC is off: then the 8259's interrupts come without it.
 */
void apic_init(struct host *host);

/* The running CPU takes the interrupts of the 8259: LINT0 becomes ExtINT. */
void apic_take_pic(void);

/* Acknowledges the interrupt of VECTOR, if it is in service in the local APIC. */
void apic_end(uint8_t vector);
