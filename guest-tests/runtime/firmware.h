/* What firmware tells of the machine: the MP table and ACPI's tables, found the usual way. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The little-endian number of at most 8 BYTES at physical ADDRESS, which is below 4 GiB. */
uint64_t firmware_number(uint64_t address, unsigned bytes);

/* Whether TEXT stands at ADDRESS. */
bool firmware_has(uint64_t address, const char *text);

/* Of BYTES from ADDRESS: 0 for a table that is whole. */
uint8_t firmware_sum(uint64_t address, uint64_t bytes);

/* The MP floating pointer structure, and the MP table: their addresses, 0 if there is none. */
uint64_t mp_pointer(void);
uint64_t mp_table(void);

/* Where an interrupt reaches the I/O APIC. */
struct mp_interrupt {
    unsigned pin;
    bool level, low_active;
};

/*
 * The MP table's entry for pin INTA to INTD (1 to 4) of a device on a PCI bus; false: there is
 * none.
 */
bool mp_pci_interrupt(unsigned bus, unsigned device, unsigned intx, struct mp_interrupt *found);

/* ACPI's root pointer, and the table of that name by the RSDT or the XSDT; 0: there is none. */
uint64_t acpi_rsdp(void);
uint64_t acpi_table(const char *name, bool by_xsdt);
