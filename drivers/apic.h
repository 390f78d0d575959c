/* The local APIC of the running CPU, in either mode. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct host;

/* Vectors from here up are the host's own: no other fixed interrupt is taken. */
enum { APIC_HOST_VECTORS = 0xf0, APIC_SPURIOUS = 0xff };

/*
 * Enables the local APIC of the first CPU, in x2APIC mode where the CPU has that, but not where it
 * is in xAPIC mode and the firmware ASKS_FOR_XAPIC, with all of its local interrupts masked, and
 * with a priority that holds back every vector that firmware may have left to a timer, an I/O APIC
 * or a device. Does nothing where the APIC is off: then the 8259's interrupts come without it.
 */
void apic_init(struct host *host, bool asks_for_xapic);

/* The same for any other CPU: its registers come to the same place, or to MSRs. */
void apic_join(void);

/* False: there is none, or it is off for good. */
bool apic_is_on(void);

/*
 * The running CPU takes fixed interrupts of devices from VECTOR up, a multiple of 16, too: the
 * caller knows that firmware has left none.
 */
void apic_take_from(unsigned vector);

/* The running CPU takes the interrupts of the 8259: LINT0 becomes ExtINT. */
void apic_take_pic(void);

/* Acknowledges the interrupt of VECTOR, if it is in service in the local APIC. */
void apic_end(uint8_t vector);

/* The running CPU's APIC ID, and the highest one that an IPI can go to. */
uint32_t apic_id(void);
uint32_t apic_last_id(void);

/* SDM, "Interrupt Command Register (ICR)": delivery modes; a vector is added to the last. */
enum { APIC_NMI = 4 << 8, APIC_INIT = 5 << 8, APIC_STARTUP = 6 << 8, APIC_FIXED = 0 };

/* Sends an IPI to the CPU of the APIC ID TO. False: it has not left this CPU in time. */
bool apic_send(uint32_t to, uint32_t command);

/* The timer counts down once, by the undivided bus, and then raises VECTOR; false: it is not there.
 */
bool apic_timer_init(uint8_t vector);

/* Starts it from COUNT, 0: stops it; and where it is. */
void apic_timer_start(uint32_t count);
uint32_t apic_timer_count(void);
