/* Layouts of firmware tables that the host reads and that guests are given. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/assert.h"
#include "mm/types.h"

/* ACPI, "Root System Description Pointer (RSDP) Structure". */
struct __attribute__((packed)) acpi_rsdp {
    char signature[8];
    uint8_t checksum; /* of the first ACPI_RSDP_OLD_SIZE bytes */
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt;
    /* From revision 2 on: */
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum; /* of all */
    uint8_t reserved[3];
};
static_assert(sizeof(struct acpi_rsdp) == 36, "ACPI, Root System Description Pointer");
enum { ACPI_RSDP_OLD_SIZE = 20 };

/* ACPI, "System Description Table Header". */
struct __attribute__((packed)) acpi_header {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem_id[6], oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
};
static_assert(sizeof(struct acpi_header) == 36, "ACPI, System Description Table Header");

/* MultiProcessor Specification, "MP Floating Pointer Structure". */
struct mp_pointer {
    char signature[4];
    uint32_t table; /* 0: none */
    uint8_t length; /* of this structure, in units of 16 bytes: 1 */
    uint8_t revision, checksum;
    uint8_t configuration; /* number of a default configuration; 0: the table has all */
    uint8_t features[4];
};
static_assert(sizeof(struct mp_pointer) == 16, "MP Floating Pointer Structure");

/* "MP Configuration Table Header". */
struct mp_header {
    char signature[4];
    uint16_t length; /* of header and entries */
    uint8_t revision, checksum;
    char oem_id[8], product_id[12];
    uint32_t oem_table;
    uint16_t oem_table_size, entries;
    uint32_t local_apic;
    uint16_t extended_length;
    uint8_t extended_checksum, reserved;
};
static_assert(sizeof(struct mp_header) == 44, "MP Configuration Table Header");
