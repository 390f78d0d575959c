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

/* The types of its entries, which follow each other without a gap. */
enum {
    MP_ENTRY_CPU,
    MP_ENTRY_BUS,
    MP_ENTRY_IOAPIC,
    MP_ENTRY_INTERRUPT,
    MP_ENTRY_LOCAL_INTERRUPT,
};

/* "Processor Entries". */
struct mp_cpu {
    uint8_t type, apic_id, apic_version, flags;
    uint32_t signature, features, reserved[2];
};
static_assert(sizeof(struct mp_cpu) == 20, "Processor Entries");
enum { MP_CPU_ENABLED = 1 << 0, MP_CPU_BOOT = 1 << 1 };

/* "Bus Entries". */
struct mp_bus {
    uint8_t type, id;
    char name[6]; /* filled up with spaces */
};
static_assert(sizeof(struct mp_bus) == 8, "Bus Entries");

/* "I/O APIC Entries". */
struct mp_ioapic {
    uint8_t type, id, version, flags;
    uint32_t address;
};
static_assert(sizeof(struct mp_ioapic) == 8, "I/O APIC Entries");
enum { MP_IOAPIC_ENABLED = 1 };

/* "I/O Interrupt Assignment Entries", "Local Interrupt Assignment Entries". */
struct mp_interrupt {
    uint8_t type, interrupt;
    uint16_t flags;
    uint8_t bus, irq, apic, pin;
};
static_assert(sizeof(struct mp_interrupt) == 8, "I/O Interrupt Assignment Entries");
enum { MP_INT = 0, MP_NMI = 1, MP_EXTINT = 3, MP_ALL_APICS = 0xff };

/* Polarity and trigger mode there, and in ACPI's "MPS INTI Flags". */
enum {
    INTI_AS_BUS = 0,
    INTI_HIGH = 1,
    INTI_POLARITY = 3,
    INTI_LOW = 3,
    INTI_EDGE = 1 << 2,
    INTI_LEVEL = 3 << 2,
    INTI_TRIGGER = 3 << 2,
};
