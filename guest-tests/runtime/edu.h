/* QEMU's device for education (docs/specs/edu.txt): its registers, and DMA to and from any address.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "guest-tests/runtime/pci.h"

enum { EDU_VENDOR = 0x1234, EDU_DEVICE = 0x11e8, EDU_SIZE = 0x100000 };
enum { EDU_ID = 0x00, EDU_LIVE = 0x04, EDU_FACTORIAL = 0x08, EDU_STATUS = 0x20 };
enum { EDU_IRQ = 0x24, EDU_RAISE = 0x60, EDU_ACK = 0x64 };
enum { EDU_SOURCE = 0x80, EDU_TARGET = 0x88, EDU_COUNT = 0x90, EDU_DMA = 0x98 };
enum { STATUS_BUSY = 1, STATUS_INTERRUPTS = 0x80, IRQ_FACTORIAL = 1, IRQ_DMA = 0x100 };
enum { DMA_START = 1, DMA_FROM_DEVICE = 2, DMA_INTERRUPTS = 4 };

/* The device's own memory: its address and bytes; one transfer is shorter than that. */
enum { EDU_BUFFER = 0x40000, EDU_BUFFER_SIZE = 4096 };

/* The function, PCI_NOT_THERE if there is none, and its BAR. */
extern bdf_t edu;
extern struct pci_bar edu_bar;

/* Finds it and maps its registers. It is no bus master yet. After pci_init(). */
void edu_find(void);
const char *needs_edu(void);

/* A test case: it is there. */
void edu_expect(void);

/* Where its registers are from now on. */
void edu_map(const struct pci_bar *bar);

uint32_t edu_get(unsigned reg);
void edu_put(unsigned reg, uint32_t value);

/* Waits until BITS of a register are 0; false: for long they are not. */
bool edu_wait_clear(unsigned reg, uint32_t bits);

/* A transfer of BYTES, which takes 100 ms; COMMAND has DMA_FROM_DEVICE and DMA_INTERRUPTS. */
void edu_start(uint64_t from, uint64_t to, uint64_t bytes, unsigned command);
/* The same, and its end is waited for; false: there is none. */
bool edu_transfer(uint64_t from, uint64_t to, uint64_t bytes, unsigned command);
