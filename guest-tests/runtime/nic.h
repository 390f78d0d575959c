/*
 * Intel's Gigabit controllers of the 8254x family and the 82574 (PCI/PCI-X Family of Gigabit
 * Ethernet Controllers Software Developer's Manual; 82574 GbE Controller Family Datasheet), with
 * one ring of legacy descriptors each way in the memory of dma.h.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "guest-tests/runtime/pci.h"

enum { NIC_VENDOR = 0x8086, NIC_82540 = 0x100e, NIC_82574 = 0x10d3, NIC_SIZE = 0x20000 };

/* "Register Descriptions". */
enum {
    NIC_CTRL = 0x0000,
    NIC_STATUS = 0x0008,
    NIC_CAUSES = 0x00c0, /* reading clears it */
    NIC_IMS = 0x00d0,
    NIC_IMC = 0x00d8,
    NIC_EIAC = 0x00dc,
    NIC_IVAR = 0x00e4,
    NIC_RDBAL = 0x2800,
    NIC_TDBAL = 0x3800,
};
enum { CAUSE_SENT = 1 << 0, CAUSE_RECEIVED = 1 << 7 };

/* Of the 82574 with MSI-X. */
enum { CAUSE_RX_QUEUE = 1 << 20, CAUSE_TX_QUEUE = 1 << 22 };
enum { IVAR_RX_AT = 0, IVAR_TX_AT = 8, IVAR_VALID = 8 };

struct nic_descriptor;
enum { NIC_DESCRIPTORS = 16 };

/* In volatile memory: what devices read and write. */
struct nic_ring {
    volatile struct nic_descriptor *at; /* a page */
    volatile uint8_t *buffers;          /* a page for each descriptor */
    unsigned next;
};

struct nic {
    bdf_t bdf; /* PCI_NOT_THERE: it is not there */
    struct pci_bar bar;
    volatile uint8_t *registers;
    struct nic_ring sender, receiver;
};

/* The first one with that device ID, with bus mastering on. */
void nic_find(struct nic *nic, unsigned device);

uint32_t nic_get(const struct nic *nic, unsigned reg);
void nic_put(const struct nic *nic, unsigned reg, uint32_t value);

bool nic_reset(const struct nic *nic);

/*
 * From reset on: new rings, the link is up, it receives all frames. False: it does not. QEMU's
 * 82540EM takes the first frame after a second.
 */
bool nic_start(struct nic *nic);
void nic_stop(const struct nic *nic);

/* The page that the next frame to be sent is made in, and has it sent. */
volatile uint8_t *nic_to_send(const struct nic *nic);
bool nic_send(struct nic *nic, unsigned length);

/*
 * The next frame that comes: where the next descriptor says, and nothing else in its page has
 * changed. Its length, without the CRC; 0: it has not come.
 */
unsigned nic_receive(struct nic *nic, volatile uint8_t **frame);

/* Whether it has come, already. */
bool nic_has_received(const struct nic *nic);

/* COUNT bytes become a frame's. */
void nic_put_bytes(volatile uint8_t *at, const uint8_t *bytes, unsigned count);

/* RFC 1071, of SIZE bytes: 0 where what they hold has its checksum in it. */
uint16_t nic_checksum(const volatile uint8_t *at, unsigned size);
/* It is stored big-endian where AT + PLACE is, which is 0 before. */
void nic_put_checksum(volatile uint8_t *at, unsigned size, unsigned place);
