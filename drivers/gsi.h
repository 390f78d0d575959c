/*
 * The machine's I/O APICs: where interrupts of lines come in. A GSI is a line's number among all of
 * them (ACPI, "Global System Interrupts").
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/acpi.h"

enum { GSI_MAX_CHIPS = 16, GSI_ISA_LINES = 16 };

struct gsi_chip {
    uint64_t address; /* of its registers, a page */
    uint32_t first;   /* GSI of its pin 0 */
    uint8_t id;       /* its APIC ID */
};

/* What firmware says of them. */
struct gsi_table {
    struct gsi_chip chip[GSI_MAX_CHIPS];
    unsigned count;
    uint32_t isa[GSI_ISA_LINES];       /* the GSI of each IRQ of the ISA bus */
    uint16_t isa_flags[GSI_ISA_LINES]; /* INTI_*; 0: as the bus has it */
    unsigned senseless;                /* entries left out: too short, too many, at no address */
};

/*
 * Fills TABLE from the MADT (ACPI, "I/O APIC Structure", "Interrupt Source Override Structure"); an
 * entry that has no length ends the list.
 */
void acpi_gsis(const struct firmware *firmware, const struct acpi_table *madt,
               struct gsi_table *table);

struct host;

/*
 * Takes the chips of TABLE, of which each pin is masked from now on, whatever firmware has left.
 * Those that do not answer are left out, logged. Returns 0, or -ENOMEM, logged.
 */
int gsi_init(struct host *host, const struct gsi_table *table);

/* Whether there is such a line. */
bool gsi_exists(uint32_t gsi);

/* The line of an IRQ of the ISA bus; there may be none such. */
uint32_t gsi_of_isa(unsigned irq);

/* The APIC ID of the chip of GSI, which exists: the source of its messages. */
uint8_t gsi_chip_id(uint32_t gsi);

/*
 * Bits of an entry of the redirection table (82093AA data sheet, "IOREDTBL"); the rest says where
 * the interrupt goes, as with or without remapping.
 */
#define GSI_LOW_ACTIVE (1ull << 13)
#define GSI_LEVEL      (1ull << 15)
#define GSI_MASKED     (1ull << 16)

/*
 * Writes the entry of GSI, which exists; then its mask alone: to mask a level ends its interrupt,
 * too. Several CPUs may do so at once.
 */
void gsi_route(uint32_t gsi, uint64_t entry);
void gsi_mask(uint32_t gsi);
void gsi_unmask(uint32_t gsi);
