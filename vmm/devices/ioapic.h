/*
 * An I/O APIC of 24 pins (82093AA data sheet; ICH9 data sheet, "Advanced Programmable Interrupt
 * Controller (APIC)", for version 20h with its EOI register). Pure: it has the messages that are to
 * be sent to local APICs, and whoever changes it takes them.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/devices/lapic.h"

#define IOAPIC_ADDRESS 0xfec00000ull

/* Of version 20h: there is an EOI register. */
enum { IOAPIC_PINS = 24, IOAPIC_SIZE = 0x1000, IOAPIC_VERSION = 0x20 };

/* Pins that a PCI bus pulls up: its interrupts are low active. */
#define IOAPIC_PULLED_UP 0x00ff0000u

struct ioapic {
    uint64_t entry[IOAPIC_PINS]; /* of the redirection table, as last written */
    /* A bit a pin: */
    uint32_t high;                      /* its signal is high */
    uint32_t low_active, level, masked; /* what its entry says */
    uint32_t remote_irr;                /* a level message was sent, and has had no EOI */
    uint32_t edges;                     /* an edge is still to be sent */
    uint8_t index, id;
};

/* As after power-on, but for its ID, 0 to 15, which is as firmware sets it. */
void ioapic_reset(struct ioapic *ioapic, unsigned id);

/*
 * Accesses of WIDTH bytes at OFFSET of the page. Index and EOI register take their low byte of any
 * access to it, the window only whole registers (ICH9 data sheet, "DAT-Data Register"). What is no
 * part of a register reads as 0.
 */
uint64_t ioapic_read(const struct ioapic *ioapic, unsigned offset, unsigned width);
void ioapic_write(struct ioapic *ioapic, unsigned offset, unsigned width, uint64_t value);

/* Such a write makes a masked pin one that is not: what its signal did until then is to be told. */
bool ioapic_opens(const struct ioapic *ioapic, unsigned offset, unsigned width, uint64_t value);

/* The signal of a pin is now high, or low. */
void ioapic_set_pin(struct ioapic *ioapic, unsigned pin, bool high);

/*
 * A local APIC tells of the EOI of VECTOR, which was level-triggered. Returns the pins that this
 * ends, a bit each.
 */
uint32_t ioapic_eoi(struct ioapic *ioapic, unsigned vector);

/* The pins that have something to send: after any of the above. */
static inline uint32_t ioapic_ready(const struct ioapic *ioapic)
{
    uint32_t active = ioapic->high ^ ioapic->low_active;
    uint32_t levels = active & ioapic->level & ~ioapic->remote_irr;
    return (ioapic->edges | levels) & ~ioapic->masked;
}

/* The pins that are not masked, and of one of MODES, a bit for each enum ipi_mode. */
uint32_t ioapic_open(const struct ioapic *ioapic, unsigned modes);

/* Takes the next message that is to be sent; false: none. */
bool ioapic_next(struct ioapic *ioapic, struct ipi *message);

/* Text for a person, lines that each end with a newline; returns its length. */
size_t ioapic_describe(const struct ioapic *ioapic, char *text, size_t size);
