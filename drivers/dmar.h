/* The ACPI table of Intel's IOMMUs: which units there are, and what they translate. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/acpi.h"
#include "drivers/pci.h"
#include "mm/memmap.h"

enum { DMAR_MAX_UNITS = 32, DMAR_MAX_RESERVED = 32, DMAR_MAX_SCOPES = 256 };

/* VT-d, "Device Scope Structure", Type. */
enum dmar_scope_type {
    DMAR_ENDPOINT = 1,
    DMAR_BRIDGE = 2, /* and all that is behind it */
    DMAR_IOAPIC = 3,
    DMAR_HPET = 4,
    DMAR_NAMESPACE = 5, /* a device that ACPI alone knows */
};

/* A device that a structure names, or a bridge with all that is behind it. */
struct dmar_scope {
    uint8_t type;        /* enum dmar_scope_type */
    uint8_t enumeration; /* the I/O APIC's ID; of others a number of the firmware's */
    struct pci_bdf bdf;
    uint8_t secondary, subordinate; /* DMAR_BRIDGE: buses behind it */
};

/* A run of dmar.scopes. */
struct dmar_scopes {
    uint16_t first, count;
};

/* VT-d, "DMA Remapping Hardware Unit Definition Structure". */
struct dmar_unit {
    uint64_t base; /* of its registers, a multiple of 4096 */
    uint16_t segment;
    bool all; /* INCLUDE_PCI_ALL: whatever of its segment no other unit names */
    struct dmar_scopes scopes;
};

/* "Reserved Memory Region Reporting Structure". */
struct dmar_reserved {
    struct range range; /* multiples of 4096 */
    struct dmar_scopes scopes;
};

struct dmar {
    uint8_t address_bits; /* that DMA may have ("Host Address Width") */
    bool remaps;          /* INTR_REMAP: the platform can remap interrupts */
    struct dmar_unit units[DMAR_MAX_UNITS];
    struct dmar_reserved reserved[DMAR_MAX_RESERVED];
    struct dmar_scope scopes[DMAR_MAX_SCOPES];
    struct dmar_unit lost[DMAR_MAX_UNITS]; /* units that cannot be used: what they name is theirs */
    unsigned unit_count, reserved_count, scope_count, lost_count;
    bool incomplete; /* nothing tells what others that were left out name */
    bool cut;        /* of what some structures name a part was left out */
};

/* What the parser asks beside the table. */
struct dmar_reader {
    const struct firmware *firmware;
    const struct memmap *map;
    unsigned phys_bits; /* of addresses: at most 52 */
    /* As pci_read32(): paths lead through bridges, of which a register names the bus behind. */
    uint32_t (*config)(struct pci_bdf bdf, unsigned reg);
};

/*
 * Fills DMAR from TABLE (VT-d, "DMA Remapping Reporting Structure"). What makes no sense is logged
 * and left out, and what there is no room for; what is wrong but can be understood is logged. Of
 * what says which root ports take ATS, which is off, the form alone is looked at. Returns 0, or
 * -EINVAL, logged: the table ends before its first structure.
 */
int dmar_parse(const struct dmar_reader *reader, const struct acpi_table *table, struct dmar *dmar);

/*
 * Whether TABLE's firmware asks that no CPU's local APIC be brought into x2APIC mode
 * (X2APIC_OPT_OUT, which counts where INTR_REMAP is set): its own code, in SMM, then uses them.
 */
bool dmar_asks_for_xapic(const struct firmware *firmware, const struct acpi_table *table);

/* The unit that translates BDF's DMA, or NULL: none, or it may be one that cannot be used. */
const struct dmar_unit *dmar_unit_of(const struct dmar *dmar, struct pci_bdf bdf);

/* Whether one of SCOPES names BDF, itself or by a bridge that it is behind. */
bool dmar_names(const struct dmar *dmar, struct dmar_scopes scopes, struct pci_bdf bdf);
