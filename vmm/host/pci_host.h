/* The machine's PCI functions: found once, and logged. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/pci.h"

struct boot_info;
struct host;

/*
 * Finds the machine's functions (pci_scan()), logs a line for each, and warns of BARs that are
 * cacheable. Once, while one CPU runs and nothing uses a device but the log.
 */
void pci_host_init(const struct host *host, const struct boot_info *info);

/* The functions that it found. */
struct pci_table *pci_host_functions(void);

/* Where their configuration space is in memory. */
const struct pci_ecams *pci_host_ecams(void);
