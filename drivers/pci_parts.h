/* PCI: what the files that read a function have for each other. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/pci.h"

/* Of the PCI Express capability (PCI Express Base Specification, "PCI Express Capability
 * Structure"). */
enum {
    PCIE_FLAGS = 0x02,
    PCIE_DEVICE_CAP = 0x04,
    PCIE_DEVICE_CONTROL = 0x08,
    PCIE_DEVICE_STATUS = 0x0a,
    PCIE_LINK_CAP = 0x0c,
    PCIE_LINK_STATUS = 0x12,
    PCIE_DEVICE_CONTROL_2 = 0x28,
};

/* The same, "ACS Extended Capability". */
enum { ACS_CAP = 0x04, ACS_CONTROL = 0x06 };

/*
 * Fills in F's capabilities, what kind of port it is, and whether it isolates; F's header and
 * parent are known. SR-IOV, ATS, PRI and PASID are turned off, ACS on. A list that makes no sense
 * ends there, logged.
 */
void pci_find_capabilities(struct pci_function *f);

/*
 * Fills in F's BARs and ROM: a device's with their sizes, with decoding off for the moment; those
 * of others are only read. What makes no sense is logged, and not there.
 */
void pci_find_bars(struct pci_function *f);

/* Gives every function of TABLE its group. */
void pci_make_groups(struct pci_table *table);

/* Gives every function of TABLE its reset method. */
void pci_find_resets(struct pci_table *table);

/* True where A and B are functions of one device. */
bool pci_same_device(const struct pci_function *a, const struct pci_function *b);
