/*
 * The machine that a guest sees: where its devices are, and the tables that tell (MultiProcessor
 * Specification 1.4; ACPI Specification). The tables are built by pure functions.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

/* ISA interrupts: all lead to the I/O APIC's pin of the same number, but for the PIT's. */
enum { IRQ_PIT, IRQ_CASCADE = 2, IRQ_COM2, IRQ_COM1, IRQ_RTC = 8, IRQ_SCI, ISA_IRQS = 16 };
enum { PIN_PIT = 2 };

/* Pins of the I/O APIC that PCI interrupts have, low-active, and their IRQ at the 8259s. */
enum { PIN_PCI = 16, PCI_PINS = 8, IRQ_PCI = 11 };

/* The pin of INTA to INTD (1 to 4) of a device on the PCI bus. */
static inline unsigned platform_pci_pin(unsigned device, unsigned intx)
{
    return PIN_PCI + (device + intx - 1) % PCI_PINS;
}

enum { PLATFORM_PCI_FUNCTIONS = 8 };

/* A PCI function that interrupts by INTx. */
struct platform_intx {
    uint8_t device, intx; /* 1: INTA */
};

/* ACPI, "PM1 Event Grouping", "PM1 Control Grouping", "Power Management Timer". */
enum { PORT_PM1_EVENT = 0x600, PORT_PM1_CONTROL = 0x604, PORT_PM_TIMER = 0x608 };

/* The reset control register. */
enum { PORT_RESET = 0xcf9 };

enum { PLATFORM_COM1 = 1 << 0, PLATFORM_COM2 = 1 << 1 };

struct platform {
    unsigned cpus;                /* their APIC IDs are 0, 1 and so on */
    unsigned ioapic_id;           /* 0 to 15 */
    unsigned coms;                /* which ports there are: PLATFORM_COM1, PLATFORM_COM2 */
    uint32_t signature, features; /* EAX and EDX of CPUID leaf 1 */
    struct platform_intx pci[PLATFORM_PCI_FUNCTIONS];
    unsigned pci_count;
    const uint8_t *dsdt;
    size_t dsdt_size;
};

/* One that no CPU has, if there is any (MultiProcessor Specification, "I/O APIC Entries"). */
static inline unsigned platform_ioapic_id(unsigned cpus)
{
    return cpus < 16 ? cpus : 15;
}

/* The DSDT that goes with it (vmm/devices/dsdt.asl). */
extern const uint8_t dsdt_start[], dsdt_end[];

/*
 * Where firmware leaves its tables: from here to 1 MiB both kinds are looked for ("MP Floating
 * Pointer Structure"; "Finding the RSDP on IA-PC Systems").
 */
#define PLATFORM_TABLES_GPA 0xf0000u
enum { PLATFORM_TABLES_SIZE = 8 * KIB }; /* enough for 64 CPUs */

/*
 * Builds all tables in SIZE bytes at BUFFER, for the guest-physical address GPA (a multiple of 64,
 * where they can be looked for). What is left of the buffer is zeroed. Returns the bytes that are
 * used; they must suffice.
 */
size_t platform_tables(void *buffer, size_t size, uint32_t gpa, const struct platform *platform);

/* --- between the files that do this ---------------------------------------------------------- */

struct space {
    uint8_t *bytes;
    size_t size, used;
    uint32_t gpa;
};

/* N zeroed bytes at a multiple of ALIGN, and their guest-physical address. */
void *space_take(struct space *space, size_t n, size_t align);
uint32_t space_gpa(const struct space *space, const void *at);

/* What makes N bytes sum up to 0, where the sum's own byte is still 0. */
uint8_t platform_checksum(const void *bytes, size_t n);

void platform_mp(struct space *space, const struct platform *platform);
void platform_acpi(struct space *space, const struct platform *platform);
