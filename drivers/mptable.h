/* The MultiProcessor Specification's tables: the machine's CPUs where there is no ACPI. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/firmware.h"

/*
 * Fills CPUS from the configuration table, or from the default configuration that firmware says
 * the machine has (MultiProcessor Specification 1.4). False: there is neither; what is broken on
 * the way is logged.
 */
bool mptable_cpus(const struct firmware *firmware, struct firmware_cpus *cpus);
