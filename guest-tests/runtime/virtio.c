/* Virtual I/O devices. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/virtio.h"

#include "guest-tests/runtime/dma.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/assert.h"
#include "lib/string.h"
#include "lib/x86.h"

/* "Virtio Structure PCI Capabilities". */
enum { CAP_TYPE = 3, CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_MULTIPLIER = 16 };
enum { TYPE_COMMON = 1, TYPE_NOTIFY, TYPE_ISR, TYPE_DEVICE };

/* "Common configuration structure layout". */
enum {
    FEATURES_SELECT = 0x00,
    FEATURES = 0x04,
    DRIVER_SELECT = 0x08,
    DRIVER_FEATURES = 0x0c,
    CONFIG_ENTRY = 0x10,
    STATUS = 0x14,
    QUEUE_SELECT = 0x16,
    QUEUE_SIZE = 0x18,
    QUEUE_ENTRY = 0x1a,
    QUEUE_ENABLE = 0x1c,
    QUEUE_NOTIFY = 0x1e,
    QUEUE_DESCRIPTORS = 0x20,
    QUEUE_AVAILABLE = 0x28,
    QUEUE_USED = 0x30,
};

/* "Device Status Field", and what of "Reserved Feature Bits" stands in the second dword. */
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };
enum { VERSION_1 = 1 << 0, ACCESS_PLATFORM = 1 << 1 };

/* "The Virtqueue Descriptor Table", "The Virtqueue Available Ring", "The Virtqueue Used Ring". */
struct virtio_descriptor {
    uint64_t address;
    uint32_t bytes;
    uint16_t flags, next;
};
static_assert(sizeof(struct virtio_descriptor) == 16, "Virtqueue Descriptor");
enum { HAS_NEXT = 1, TO_MEMORY = 2, NO_INTERRUPT = 1 };

struct virtio_available {
    uint16_t flags, index, ring[VIRTIO_QUEUE];
};
struct virtio_used {
    uint16_t flags, index;
    struct {
        uint32_t id, bytes;
    } ring[VIRTIO_QUEUE];
};
static_assert(sizeof(struct virtio_used) == 4 + 8 * VIRTIO_QUEUE, "Virtqueue Used Ring");

enum { LONG_MS = 3000 };

/* --- registers -------------------------------------------------------------------------------- */

static void put32(const struct virtio *v, unsigned reg, uint32_t value)
{
    *(volatile uint32_t *)(uintptr_t)(v->common + reg) = value;
}

static void put16(const struct virtio *v, unsigned reg, unsigned value)
{
    *(volatile uint16_t *)(uintptr_t)(v->common + reg) = (uint16_t)value;
}

static uint16_t get16(const struct virtio *v, unsigned reg)
{
    return *(const volatile uint16_t *)(uintptr_t)(v->common + reg);
}

static void put_address(const struct virtio *v, unsigned reg, const volatile void *at)
{
    put32(v, reg, (uint32_t)dma_address(at));
    put32(v, reg + 4, (uint32_t)(dma_address(at) >> 32));
}

/* --- the device ------------------------------------------------------------------------------- */

/* Where the structure of a capability is; NULL: outside its BAR. */
static volatile uint8_t *structure(bdf_t bdf, unsigned at)
{
    struct pci_bar bar = pci_bar(bdf, pci_get(bdf, at + CAP_BAR, 1));
    uint64_t offset = pci_get(bdf, at + CAP_OFFSET, 4), length = pci_get(bdf, at + CAP_LENGTH, 4);
    if (bar.io || length == 0 || offset + length > bar.size)
        return NULL;
    return (volatile uint8_t *)pci_map(&bar) + offset;
}

static void take_capability(struct virtio *v, unsigned at)
{
    volatile uint8_t **const places[] = {
        [TYPE_COMMON] = &v->common,
        [TYPE_NOTIFY] = &v->notify,
        [TYPE_ISR] = &v->isr,
        [TYPE_DEVICE] = &v->device,
    };
    unsigned type = pci_get(v->bdf, at + CAP_TYPE, 1);
    if (type < TYPE_COMMON || type > TYPE_DEVICE || *places[type] != NULL)
        return;
    *places[type] = structure(v->bdf, at);
    if (type == TYPE_NOTIFY)
        v->multiplier = pci_get(v->bdf, at + CAP_MULTIPLIER, 4);
}

void virtio_find(struct virtio *v, unsigned device)
{
    *v = (struct virtio){.bdf = pci_find(VIRTIO_VENDOR, device)};
    if (v->bdf == PCI_NOT_THERE)
        return;
    for (unsigned at = 0; (at = pci_next_capability(v->bdf, CAP_VENDOR, at)) != 0;)
        take_capability(v, at);
    if (v->common == NULL || v->notify == NULL || v->isr == NULL)
        v->bdf = PCI_NOT_THERE;
    else
        pci_command(v->bdf, COMMAND_MEMORY | COMMAND_MASTER, 0);
}

bool virtio_is_reset(const struct virtio *v)
{
    return v->common[STATUS] == 0;
}

bool virtio_stop(struct virtio *v)
{
    v->common[STATUS] = 0;
    for (uint64_t start = rdtsc(); !virtio_is_reset(v);)
        if (rdtsc() - start > machine_ticks(LONG_MS))
            return false;
    return true;
}

/* Version 1 by addresses that an IOMMU translates, and nothing else. */
static bool agree(struct virtio *v)
{
    const uint32_t wanted = VERSION_1 | ACCESS_PLATFORM;
    v->common[STATUS] = ACKNOWLEDGE;
    v->common[STATUS] = ACKNOWLEDGE | DRIVER;
    put32(v, FEATURES_SELECT, 1);
    uint32_t offered = *(const volatile uint32_t *)(uintptr_t)(v->common + FEATURES);
    for (unsigned i = 0; i < 2; i++) {
        put32(v, DRIVER_SELECT, i);
        put32(v, DRIVER_FEATURES, i == 1 ? wanted : 0);
    }
    v->common[STATUS] = ACKNOWLEDGE | DRIVER | FEATURES_OK;
    return expect((offered & wanted) == wanted && (v->common[STATUS] & FEATURES_OK) != 0,
                  "features %x, status %x", offered, v->common[STATUS]);
}

static void make_queue(struct virtio *v, bool told)
{
    struct virtio_queue *queue = &v->queue;
    *queue = (struct virtio_queue){
        .descriptors = dma_take(1), .available = dma_take(1), .used = dma_take(1)};
    memset((void *)(uintptr_t)queue->descriptors, 0, PAGE_SIZE);
    memset((void *)(uintptr_t)queue->available, 0, PAGE_SIZE);
    memset((void *)(uintptr_t)queue->used, 0, PAGE_SIZE);
    queue->available->flags = told ? 0 : NO_INTERRUPT;
    dma_sync(queue->descriptors, PAGE_SIZE);
    dma_sync(queue->available, PAGE_SIZE);
    dma_sync(queue->used, PAGE_SIZE);
}

/* "Device Initialization", "Virtqueue Configuration". */
bool virtio_start(struct virtio *v, bool told, unsigned entry)
{
    if (!expect(virtio_stop(v), "no reset") || !agree(v))
        return false;
    make_queue(v, told);
    put16(v, CONFIG_ENTRY, VIRTIO_NO_ENTRY);
    put16(v, QUEUE_SELECT, 0);
    if (get16(v, QUEUE_SIZE) > VIRTIO_QUEUE)
        put16(v, QUEUE_SIZE, VIRTIO_QUEUE);
    v->queue.size = get16(v, QUEUE_SIZE);
    put16(v, QUEUE_ENTRY, entry);
    put_address(v, QUEUE_DESCRIPTORS, v->queue.descriptors);
    put_address(v, QUEUE_AVAILABLE, v->queue.available);
    put_address(v, QUEUE_USED, v->queue.used);
    v->queue.notify =
        (volatile uint16_t *)(uintptr_t)(v->notify + get16(v, QUEUE_NOTIFY) * v->multiplier);
    put16(v, QUEUE_ENABLE, 1);
    v->common[STATUS] = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
    return expect(v->queue.size != 0 && get16(v, QUEUE_ENTRY) == entry,
                  "%u descriptors, entry %x of MSI-X", v->queue.size, get16(v, QUEUE_ENTRY));
}

/* --- requests --------------------------------------------------------------------------------- */

void virtio_submit(struct virtio *v, const struct virtio_part *parts, unsigned count)
{
    struct virtio_queue *queue = &v->queue;
    uint16_t head = queue->next;
    for (unsigned i = 0; i < count; i++) {
        volatile struct virtio_descriptor *d = &queue->descriptors[queue->next];
        queue->next = (uint16_t)((queue->next + 1) % queue->size);
        d->address = parts[i].address;
        d->bytes = parts[i].bytes;
        d->flags = (parts[i].to_memory ? TO_MEMORY : 0) | (i + 1 < count ? HAS_NEXT : 0);
        d->next = queue->next;
        dma_sync(d, sizeof(*d));
    }
    queue->available->ring[queue->sent % queue->size] = head;
    dma_sync(queue->available, sizeof(*queue->available));
    queue->available->index = ++queue->sent;
    dma_sync(queue->available, sizeof(*queue->available));
    *queue->notify = 0;
}

int64_t virtio_complete(struct virtio *v)
{
    struct virtio_queue *queue = &v->queue;
    uint64_t start = rdtsc();
    do {
        dma_sync(queue->used, sizeof(*queue->used));
        if (queue->used->index != queue->seen)
            return queue->used->ring[queue->seen++ % queue->size].bytes;
    } while (rdtsc() - start < machine_ticks(LONG_MS));
    return -1;
}

void virtio_acknowledge(const struct virtio *v)
{
    (void)*v->isr;
}
