/*
 * A VM's PCI bus: number 0 of segment 0, the only one. At 00.0 there is a host bridge, elsewhere
 * the functions that are passed through. Pure, as vmm/devices/vpci.h is.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/devices/vpci.h"

/* Where its configuration space is in memory: that of bus 0. */
#define VPCI_ECAM_START 0xe0000000ull
#define VPCI_ECAM_SIZE  (1 * MIB)

/* "Configuration Mechanism #1": eight ports. CF9h, as a byte, is not one of them. */
enum { VPCI_PORT_ADDRESS = 0xcf8, VPCI_PORT_DATA = 0xcfc, VPCI_PORTS = 8 };

enum { VPCI_BUS_FUNCTIONS = 8 }; /* as many as a VM's config can name */

struct vpci_bus {
    uint32_t address; /* CONFIG_ADDRESS */
    struct vpci *functions[VPCI_BUS_FUNCTIONS];
    unsigned count;
};

/*
 * Puts functions, each another of the machine's, on an empty bus, and tells each where: under the
 * real device number if that is free there, else under the next one that is. Functions of one real
 * device stay one, if its function 0 is among them; else each is function 0 of a device of its own.
 */
void vpci_bus_fill(struct vpci_bus *bus, struct vpci *const *functions, unsigned count);

/*
 * The bus as firmware leaves it: each function reset, its BARs placed in the hole of the guest's
 * map, memory alone on its pages, and decoded; Interrupt Line as its setup says.
 */
void vpci_bus_reset(struct vpci_bus *bus);

/*
 * WIDTH bytes (1, 2, 4; in memory also 8) from PORT on, which is one of them, or at an offset into
 * the space in memory. False: none of the ports is that of a register.
 */
bool vpci_bus_in(struct vpci_bus *bus, unsigned port, unsigned width, uint32_t *value);
bool vpci_bus_out(struct vpci_bus *bus, unsigned port, unsigned width, uint32_t value);
uint64_t vpci_bus_read(const struct vpci_bus *bus, uint32_t offset, unsigned width);
void vpci_bus_write(struct vpci_bus *bus, uint32_t offset, unsigned width, uint64_t value);

/* Text for a person, lines that each end with a newline; returns its length. */
size_t vpci_bus_describe(const struct vpci_bus *bus, char *text, size_t size);
