/*
 * Virtual I/O Device (VIRTIO) Version 1.1: a device on PCI, found by its vendor's capabilities,
 * whose addresses an IOMMU translates, with one split virtqueue in the memory of dma.h.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "guest-tests/runtime/pci.h"

enum { VIRTIO_VENDOR = 0x1af4, VIRTIO_BLOCK = 0x1042, VIRTIO_ENTROPY = 0x1044 };
enum { VIRTIO_QUEUE = 16, VIRTIO_NO_ENTRY = 0xffff }; /* descriptors, at most; of MSI-X */

/* In volatile memory, a page each: what devices read and write. */
struct virtio_queue {
    volatile struct virtio_descriptor *descriptors;
    volatile struct virtio_available *available;
    volatile struct virtio_used *used;
    volatile uint16_t *notify;
    uint16_t size;             /* descriptors */
    uint16_t next, sent, seen; /* the next descriptor; requests that were made, and that ended */
};

struct virtio {
    bdf_t bdf; /* PCI_NOT_THERE: it is not there, or is not as a device is to be */
    volatile uint8_t *common, *notify, *isr, *device;
    uint32_t multiplier; /* of places of notifications */
    struct virtio_queue queue;
};

/* A part of a request: memory that the device reads or, if TO_MEMORY, writes. */
struct virtio_part {
    uint64_t address;
    uint32_t bytes;
    bool to_memory;
};

/* The first one with that device ID, with bus mastering on. */
void virtio_find(struct virtio *v, unsigned device);

/*
 * From reset on: features, a new queue 0, whose requests' ends are told by ENTRY of MSI-X, or by
 * INTx where MSI-X is off if TOLD. False: the device does not want that.
 */
bool virtio_start(struct virtio *v, bool told, unsigned entry);
bool virtio_stop(struct virtio *v);

/* Whether it is reset: it has no driver. */
bool virtio_is_reset(const struct virtio *v);

/* Makes a request of COUNT parts; all that are under way have no more than the queue. */
void virtio_submit(struct virtio *v, const struct virtio_part *parts, unsigned count);

/* Waits for the next request's end: how many bytes it wrote; -1: it does not end. */
int64_t virtio_complete(struct virtio *v);

/* Takes away the interrupt by INTx. */
void virtio_acknowledge(const struct virtio *v);
