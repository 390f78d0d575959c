/* PCI configuration space, by configuration mechanism 1. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pci_bdf {
    uint8_t bus, device, function;
};

/* REG is a multiple of 4 below 256. Of a function that is not there all ones. */
uint32_t pci_read(struct pci_bdf bdf, uint8_t reg);

/*
 * Calls EACH for every memory BAR that the firmware has set, of every function on bus 0 and behind
 * its bridges; nothing is written to the functions. (PCI Local Bus Specification, "Base
 * Addresses".)
 */
void pci_each_bar(void (*each)(struct pci_bdf bdf, uint64_t address, void *context), void *context);
