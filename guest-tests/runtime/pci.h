/* PCI as a system uses it: functions found, placed, and their interrupts brought to the first CPU.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "mm/types.h"

/* A function by its requester ID: bus, device, function in 8, 5 and 3 bits. */
typedef uint16_t bdf_t;
enum { PCI_NOT_THERE = 0xffff };

/* PCI Local Bus Specification, "Configuration Space Organization"; PCI Express Base Specification.
 */
enum {
    PCI_VENDOR = 0x00,
    PCI_DEVICE = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_CLASS = 0x08, /* with the revision in its lowest byte */
    PCI_HEADER = 0x0e,
    PCI_BAR = 0x10,
    PCI_SECONDARY = 0x19,
    PCI_CAPABILITIES = 0x34,
    PCI_LINE = 0x3c,
    PCI_PIN = 0x3d,
};
enum { COMMAND_IO = 1, COMMAND_MEMORY = 2, COMMAND_MASTER = 4, COMMAND_NO_INTX = 1 << 10 };
enum { STATUS_INTX = 1 << 3, STATUS_LIST = 1 << 4 };
enum { CAP_MSI = 0x05, CAP_VENDOR = 0x09, CAP_PCIE = 0x10, CAP_MSIX = 0x11 };

/* Looks for ECAM. Before anything else here. */
void pci_init(void);

/* Whether configuration space is reached by ECAM, else by ports. */
bool pci_has_ecam(void);

/* A register of BYTES (1, 2, 4), below 100h where there is no ECAM. */
uint32_t pci_get(bdf_t bdf, unsigned reg, unsigned bytes);
void pci_put(bdf_t bdf, unsigned reg, unsigned bytes, uint32_t value);

/* VALUE in COUNT registers from REG on, by one REP STOS; there is an ECAM. */
void pci_fill(bdf_t bdf, unsigned reg, uint32_t value, uint64_t count);

/* The same by CF8h and CFCh, whether or not there is ECAM. */
uint32_t pci_get_by_port(bdf_t bdf, unsigned reg, unsigned bytes);
void pci_put_by_port(bdf_t bdf, unsigned reg, unsigned bytes, uint32_t value);

/* The first function with those IDs, or with that class (24 bits, of which MASK's count). */
bdf_t pci_find(unsigned vendor, unsigned device);
bdf_t pci_find_class(uint32_t class, uint32_t mask);

/* Where a capability stands; 0: it is not there. And where the next one with that ID behind AT. */
unsigned pci_capability(bdf_t bdf, unsigned id);
unsigned pci_next_capability(bdf_t bdf, unsigned id, unsigned at);

struct pci_bar {
    bool io, wide, prefetchable;
    uint64_t address, size; /* size 0: there is none */
};

/* BAR INDEX (0 to 5), placed where firmware has not done that. Decoding is off while it is sized.
 */
struct pci_bar pci_bar(bdf_t bdf, unsigned index);

/* Has it at ADDRESS. */
void pci_move_bar(bdf_t bdf, unsigned index, uint64_t address);

/* Memory of a BAR, mapped uncached (UC- by the PAT): all of it, or its first MiB above 4 GiB. */
volatile void *pci_map(const struct pci_bar *bar);

/* Sets and clears bits of the command register. */
void pci_command(bdf_t bdf, unsigned set, unsigned clear);

/* A function-level reset; false: the function has none. It is not configured then. */
bool pci_reset(bdf_t bdf);

/* --- interrupts, to the running CPU ----------------------------------------------------------- */

/* The I/O APIC's pin of the function's INTx, by the MP table or by Interrupt Line; false: none. */
bool pci_intx(bdf_t bdf, unsigned *pin);

/* Opens that pin for VECTOR, or masks it. */
bool pci_open_intx(bdf_t bdf, unsigned vector);

/* The same of a test case, which fails without; the pin is printed. */
bool pci_expect_intx(bdf_t bdf, unsigned vector);
void pci_close_intx(bdf_t bdf);

/* One message; it takes the place of INTx. False: the function has no MSI. */
bool pci_open_msi(bdf_t bdf, unsigned vector);
void pci_close_msi(bdf_t bdf);

/*
 * Entries 0 to COUNT-1 have vectors from FIRST up; the others stay masked. False: there are not so
 * many.
 */
bool pci_open_msix(bdf_t bdf, unsigned first, unsigned count);
void pci_close_msix(bdf_t bdf);
