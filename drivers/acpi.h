/* ACPI tables: finds one by its signature, the machine's CPUs in the MADT, ECAMs in the MCFG. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/firmware.h"
#include "drivers/pci.h"
#include "mm/memmap.h"

/* A table whose length and sum were right. */
struct acpi_table {
    uint64_t at;
    uint32_t length; /* bytes, with the header; 36 to 1 MiB */
};

/* The RSDP's address where no door gave it; 0: there is none. */
uint64_t acpi_find_rsdp(const struct firmware *firmware);

/*
 * The first table of SIGNATURE (4 characters) that the RSDP leads to by the XSDT or, where that is
 * not there or broken, by the RSDT. False: there is none; what is broken on the way is logged.
 */
bool acpi_find(const struct firmware *firmware, uint64_t rsdp, const char *signature,
               struct acpi_table *table);

/*
 * Fills CPUS from the MADT (ACPI, "Multiple APIC Description Table"): entries of local APICs and
 * local x2APICs. What makes no sense is counted; an entry that has no length ends the list, logged.
 */
void acpi_cpus(const struct firmware *firmware, const struct acpi_table *madt,
               struct firmware_cpus *cpus);

/* The IRQ of ACPI's own interrupt (ACPI, "Fixed ACPI Description Table (FADT)", SCI_INT). */
uint16_t acpi_sci(const struct firmware *firmware, const struct acpi_table *fadt);

/*
 * Fills ECAMS from the MCFG (PCI Firmware Specification, "MCFG Table Description"), rising by
 * segment and bus. Entries that end beyond TOP, are not at a multiple of 1 MiB, lie over memory of
 * MAP that cannot be registers, or overlap an earlier one are left out, logged.
 */
void acpi_ecams(const struct firmware *firmware, const struct acpi_table *mcfg,
                const struct memmap *map, uint64_t top, struct pci_ecams *ecams);
