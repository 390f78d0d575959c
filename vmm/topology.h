/* Which CPUs the machine has, as its firmware says. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/firmware.h"

struct boot_info;
struct host;

/*
 * Fills CPUS from the ACPI tables or, where there are none, from the MP table, and logs what was
 * found; without either there are none.
 */
void topology_read(const struct host *host, const struct boot_info *info,
                   struct firmware_cpus *cpus);
