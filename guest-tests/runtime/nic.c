/* Intel's Gigabit controllers. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/nic.h"

#include "guest-tests/runtime/dma.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/assert.h"
#include "lib/x86.h"

enum { RCTL = 0x0100, TCTL = 0x0400, RING_HIGH = 4, RING_SIZE = 8, RING_HEAD = 0x10 };
enum { RING_TAIL = 0x18, CTRL_LINK_UP = 1 << 6, CTRL_RESET = 1 << 26, STATUS_LINK_UP = 2 };
enum { RCTL_EN = 1 << 1, RCTL_UPE = 1 << 3, RCTL_MPE = 1 << 4, RCTL_BAM = 1 << 15 };
enum { RCTL_SECRC = 1 << 26 };
enum { TCTL_EN = 1 << 1, TCTL_PSP = 1 << 3, TCTL_CT = 0xf << 4, TCTL_COLD = 0x40 << 12 };

/* "Legacy Transmit Descriptor Format", "Receive Descriptor Format". */
struct nic_descriptor {
    uint64_t address;
    uint16_t length;
    uint8_t checksum, command; /* of a receive descriptor its checksum */
    uint8_t status, errors;    /* of a transmit descriptor where its checksum starts */
    uint16_t special;
};
static_assert(sizeof(struct nic_descriptor) == 16, "Legacy Transmit Descriptor Format");
enum { TX_EOP = 1, TX_IFCS = 2, TX_RS = 8, DONE = 1, RX_EOP = 2, LONG_MS = 2000 };

uint32_t nic_get(const struct nic *nic, unsigned reg)
{
    return *(const volatile uint32_t *)(uintptr_t)(nic->registers + reg);
}

void nic_put(const struct nic *nic, unsigned reg, uint32_t value)
{
    *(volatile uint32_t *)(uintptr_t)(nic->registers + reg) = value;
}

void nic_find(struct nic *nic, unsigned device)
{
    *nic = (struct nic){.bdf = pci_find(NIC_VENDOR, device)};
    if (nic->bdf == PCI_NOT_THERE)
        return;
    nic->bar = pci_bar(nic->bdf, 0);
    nic->registers = pci_map(&nic->bar);
    pci_command(nic->bdf, COMMAND_MEMORY | COMMAND_MASTER, 0);
}

/* Waits until BITS of a register are VALUE. */
static bool wait_for(const struct nic *nic, unsigned reg, uint32_t bits, uint32_t value)
{
    uint64_t start = rdtsc();
    while ((nic_get(nic, reg) & bits) != value)
        if (rdtsc() - start > machine_ticks(LONG_MS))
            return false;
    return true;
}

/* --- the controller --------------------------------------------------------------------------- */

bool nic_reset(const struct nic *nic)
{
    nic_put(nic, NIC_IMC, ~0u);
    nic_put(nic, NIC_CTRL, nic_get(nic, NIC_CTRL) | CTRL_RESET);
    bool ready = wait_for(nic, NIC_CTRL, CTRL_RESET, 0);
    nic_put(nic, NIC_IMC, ~0u);
    (void)nic_get(nic, NIC_CAUSES);
    return ready;
}

static struct nic_ring make_ring(void)
{
    struct nic_ring ring = {.at = dma_take(1), .buffers = dma_take(NIC_DESCRIPTORS)};
    for (unsigned i = 0; i < NIC_DESCRIPTORS; i++)
        ring.at[i] = (struct nic_descriptor){.address = dma_address(ring.buffers + i * PAGE_SIZE)};
    dma_sync(ring.at, PAGE_SIZE);
    dma_sync(ring.buffers, NIC_DESCRIPTORS * PAGE_SIZE);
    return ring;
}

static void set_ring(const struct nic *nic, const struct nic_ring *ring, unsigned base)
{
    nic_put(nic, base, (uint32_t)dma_address(ring->at));
    nic_put(nic, base + RING_HIGH, (uint32_t)(dma_address(ring->at) >> 32));
    nic_put(nic, base + RING_SIZE, NIC_DESCRIPTORS * sizeof(struct nic_descriptor));
    nic_put(nic, base + RING_HEAD, 0);
    nic_put(nic, base + RING_TAIL, 0);
}

bool nic_start(struct nic *nic)
{
    bool ready = nic_reset(nic);
    nic->sender = make_ring();
    nic->receiver = make_ring();
    set_ring(nic, &nic->sender, NIC_TDBAL);
    set_ring(nic, &nic->receiver, NIC_RDBAL);
    nic_put(nic, NIC_CTRL, nic_get(nic, NIC_CTRL) | CTRL_LINK_UP);
    ready = ready && wait_for(nic, NIC_STATUS, STATUS_LINK_UP, STATUS_LINK_UP);
    nic_put(nic, NIC_RDBAL + RING_TAIL, NIC_DESCRIPTORS - 1);
    nic_put(nic, RCTL, RCTL_EN | RCTL_UPE | RCTL_MPE | RCTL_BAM | RCTL_SECRC);
    nic_put(nic, TCTL, TCTL_EN | TCTL_PSP | TCTL_CT | TCTL_COLD);
    return expect(ready, "no reset or no link: status %x", nic_get(nic, NIC_STATUS));
}

void nic_stop(const struct nic *nic)
{
    nic_put(nic, RCTL, 0);
    nic_put(nic, TCTL, 0);
    nic_reset(nic);
}

/* --- frames ----------------------------------------------------------------------------------- */

static bool is_done(const volatile struct nic_descriptor *d)
{
    dma_sync(d, sizeof(*d));
    return (d->status & DONE) != 0;
}

static bool wait_done(const volatile struct nic_descriptor *d)
{
    uint64_t begin = rdtsc();
    do
        if (is_done(d))
            return true;
    while (rdtsc() - begin < machine_ticks(LONG_MS));
    return false;
}

volatile uint8_t *nic_to_send(const struct nic *nic)
{
    return nic->sender.buffers + nic->sender.next * PAGE_SIZE;
}

bool nic_send(struct nic *nic, unsigned length)
{
    volatile struct nic_descriptor *d = &nic->sender.at[nic->sender.next];
    dma_sync(nic_to_send(nic), PAGE_SIZE);
    d->status = 0;
    d->length = (uint16_t)length;
    d->command = TX_EOP | TX_IFCS | TX_RS;
    dma_sync(d, sizeof(*d));
    nic->sender.next = (nic->sender.next + 1) % NIC_DESCRIPTORS;
    nic_put(nic, NIC_TDBAL + RING_TAIL, nic->sender.next);
    return expect(wait_done(d), "a frame is not sent");
}

bool nic_has_received(const struct nic *nic)
{
    return is_done(&nic->receiver.at[nic->receiver.next]);
}

unsigned nic_receive(struct nic *nic, volatile uint8_t **frame)
{
    struct nic_ring *ring = &nic->receiver;
    volatile struct nic_descriptor *d = &ring->at[ring->next];
    *frame = ring->buffers + ring->next * PAGE_SIZE;
    if (!expect(wait_done(d), "no frame has come"))
        return 0;
    unsigned length = d->length;
    dma_sync(*frame, PAGE_SIZE);
    expect((d->status & RX_EOP) != 0 && d->errors == 0 && length <= PAGE_SIZE,
           "%u bytes, status %x, errors %x", length, d->status, d->errors);
    expect(dma_is_pattern(*frame + length, PAGE_SIZE - length), "bytes behind it have changed");
    d->status = 0;
    dma_sync(d, sizeof(*d));
    nic_put(nic, NIC_RDBAL + RING_TAIL, ring->next);
    ring->next = (ring->next + 1) % NIC_DESCRIPTORS;
    return length;
}

void nic_put_bytes(volatile uint8_t *at, const uint8_t *bytes, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        at[i] = bytes[i];
}

uint16_t nic_checksum(const volatile uint8_t *at, unsigned size)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < size; i += 2)
        sum += (uint32_t)at[i] << 8 | (i + 1 < size ? at[i + 1] : 0);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

void nic_put_checksum(volatile uint8_t *at, unsigned size, unsigned place)
{
    uint16_t sum = nic_checksum(at, size);
    at[place] = (uint8_t)(sum >> 8);
    at[place + 1] = (uint8_t)sum;
}
