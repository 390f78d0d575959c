/* The ACPI table of AMD's IOMMUs: which units there are, and what they translate. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/acpi.h"
#include "drivers/pci.h"
#include "mm/memmap.h"

enum { IVRS_MAX_UNITS = 32, IVRS_MAX_RESERVED = 32, IVRS_MAX_ENTRIES = 512 };

/* Device IDs that an IVHD names. */
struct ivrs_entry {
    uint16_t first, last;
    uint16_t alias;  /* what their requests carry instead, where they are ALIASED */
    uint8_t setting; /* "DTE Setting": what of theirs must pass as it is */
    bool aliased;
    bool ioapic;    /* FIRST is what its interrupts carry */
    uint8_t handle; /* the I/O APIC's ID */
};

/* AMD IOMMU, "I/O Virtualization Hardware Definition (IVHD) Block". */
struct ivrs_unit {
    uint64_t base; /* of its registers, a multiple of 16 KiB */
    uint16_t segment;
    uint16_t id;         /* its own PCI function */
    uint16_t capability; /* the register of that function's capability block */
    uint8_t type, flags; /* of the block */
    bool has_no_tables;  /* "HATDis": it translates by no tables of the host's */
    uint16_t last;       /* the highest device ID that it names */
    uint16_t first_entry, entry_count;
};

/* "I/O Virtualization Memory Definition (IVMD) Block". */
struct ivrs_reserved {
    struct range range; /* multiples of 4096 */
    uint16_t segment;
    uint16_t first, last; /* device IDs */
};

struct ivrs {
    uint8_t address_bits; /* of what DMA reaches ("PASize") */
    uint8_t device_bits;  /* of addresses that devices use ("VASize") */
    struct ivrs_unit units[IVRS_MAX_UNITS];
    struct ivrs_reserved reserved[IVRS_MAX_RESERVED];
    struct ivrs_entry entries[IVRS_MAX_ENTRIES];
    struct ivrs_unit lost[IVRS_MAX_UNITS]; /* units that cannot be used: what they name is theirs */
    unsigned unit_count, reserved_count, entry_count, lost_count;
    bool incomplete; /* nothing tells what others that were left out name */
    bool cut;        /* of what some blocks name a part was left out */
};

/* What the parser asks beside the table. */
struct ivrs_reader {
    const struct firmware *firmware;
    const struct memmap *map;
    unsigned phys_bits; /* of addresses: at most 52 */
};

/*
 * Fills IVRS from TABLE (AMD IOMMU, "I/O Virtualization Reporting Structure (IVRS)"). Of several
 * blocks for one unit the one of the highest type counts that makes sense. What makes no sense is
 * logged and left out, and what there is no room for; what is wrong but can be understood is
 * logged. Returns 0, or -EINVAL, logged: the table ends before its first block.
 */
int ivrs_parse(const struct ivrs_reader *reader, const struct acpi_table *table, struct ivrs *ivrs);

/*
 * The unit that translates BDF's DMA, or NULL. Of several that name it the one counts that does so
 * by itself, before one by a range, before one by all; NULL, too, where that one cannot be used, or
 * where a table that was not wholly read does not name it by itself.
 */
const struct ivrs_unit *ivrs_unit_of(const struct ivrs *ivrs, struct pci_bdf bdf);

/* The device ID that BDF's requests carry: its own, or what an entry of a unit in use says. */
uint16_t ivrs_alias_of(const struct ivrs *ivrs, struct pci_bdf bdf);

/* The "DTE Setting" of a device ID: of all entries that name it, or have it for an alias. */
uint8_t ivrs_setting_of(const struct ivrs *ivrs, uint16_t segment, uint16_t id);

/* Whether RESERVED is BDF's. */
bool ivrs_names(const struct ivrs_reserved *reserved, struct pci_bdf bdf);
