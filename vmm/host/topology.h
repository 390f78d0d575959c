/* The firmware's tables, and which CPUs the machine has by them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/acpi.h"

struct boot_info;
struct host;

/* What a parser of tables reads through: the memory where such tables can be. */
struct host_firmware {
    struct firmware firmware;
    const struct host *host;
};
struct host_firmware topology_firmware(const struct host *host);

/* Looks for the RSDP where BIOSes have it, if no door gave it; the other functions rest on that. */
void topology_find_rsdp(const struct host *host, struct boot_info *info);

/* The first ACPI table of SIGNATURE (4 characters), as acpi_find(). */
bool topology_find(const struct host_firmware *from, const struct boot_info *info,
                   const char *signature, struct acpi_table *table);

/* Whether the firmware's tables ask that local APICs stay out of x2APIC mode, logged. */
bool topology_asks_for_xapic(const struct host *host, const struct boot_info *info);

/*
 * Fills CPUS from the ACPI tables or, where there are none, from the MP table, and logs what was
 * found; without either there are none.
 */
void topology_read(const struct host *host, const struct boot_info *info,
                   struct firmware_cpus *cpus);
