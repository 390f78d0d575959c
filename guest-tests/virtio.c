/*
 * Virtual I/O devices (VIRTIO 1.1) as a driver uses them: a disk, which has a function-level reset
 * where it is behind a root port, and a source of random bytes; with queues and data in memory of
 * every type; told by MSI-X and by INTx.
 *
 * row: virtio end=0 timeout=60 control-timeout=30 device=virtio-disk-port device=virtio-random
 *      set=control=yes cmdline=dma=coherent
 * row: virtio.no-snoop end=0 timeout=60 device=virtio-disk-port device=virtio-random iommu=no-snoop
 *      set=control=yes control=skip control-reason="as virtio"
 * row: virtio.amd end=0 timeout=60 device=virtio-disk device=virtio-random iommu=amd
 *      set=control=yes cmdline=dma=coherent control=skip control-reason="as virtio"
 * row: virtio.amd-non-coherent end=0 timeout=60 device="virtio-disk dma=non-coherent"
 *      device=virtio-random iommu=amd set=control=yes control=skip control-reason="as virtio"
 *
 * It writes to no disk but one whose first block begins with `nosnoop test disk`, and in whose
 * other blocks each 32-bit word tells its place.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/disk.h"
#include "guest-tests/runtime/dma.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/taken.h"
#include "guest-tests/runtime/virtio.h"
#include "lib/assert.h"

/* "Block Device", "Device Operation". */
struct head {
    uint32_t type, reserved;
    uint64_t sector;
};
static_assert(sizeof(struct head) == 16, "virtio_blk_req");
enum { BLOCK_IN, BLOCK_OUT, STATUS_OK = 0 };

enum { DISK_VECTOR = 0x51, RANDOM_VECTOR, QUEUE_ENTRY = 1, REGISTERS_BAR = 4, MSIX_BAR = 1 };
enum { COUNT = 13, BYTES = COUNT * DISK_BLOCK, PAGES = DISK_PAGES, READ_AT = 9, WRITE_AT = 1000 };
enum { REQUESTS = 4, PARTS = 4, STATUS_AT = 0x800, RANDOM_BYTES = 300 };
static_assert(REQUESTS * PARTS <= VIRTIO_QUEUE, "all at once");
enum told { POLLED, BY_MSIX, BY_INTX };

static struct virtio disk, source;
static volatile uint8_t *heads; /* a page: REQUESTS heads and, from STATUS_AT on, as many states */
static enum told how;
static uint32_t told; /* interrupts that there have to be */
static bool has_test_disk;

static const char *needs_disk(void)
{
    return disk.bdf == PCI_NOT_THERE ? "there is no disk" : has_test_disk ? NULL : "no test disk";
}

static const char *needs_source(void)
{
    return source.bdf != PCI_NOT_THERE ? NULL : "there is no source of random bytes";
}

/* --- interrupts ------------------------------------------------------------------------------- */

static void take(unsigned cpu, unsigned vector)
{
    (void)cpu;
    if (how == BY_INTX)
        virtio_acknowledge(vector == DISK_VECTOR ? &disk : &source);
}

/* Entries up to QUEUE_ENTRY have vectors from VECTOR on; the last is the queue's. */
static void open_interrupts(const struct virtio *v, enum told by, unsigned vector)
{
    how = by;
    told = 0;
    taken_clear();
    taken_hook = take;
    if (by == BY_MSIX)
        expect(pci_open_msix(v->bdf, vector - QUEUE_ENTRY, QUEUE_ENTRY + 1), "no MSI-X");
    if (by == BY_INTX)
        pci_expect_intx(v->bdf, vector);
}

static void close_interrupts(const struct virtio *v, unsigned vector)
{
    if (how == BY_MSIX)
        pci_close_msix(v->bdf);
    if (how == BY_INTX)
        pci_close_intx(v->bdf);
    uint32_t count = taken_of(smp_index(), vector);
    expect(count == told, "%u interrupts, not %u", count, told);
    how = POLLED;
}

static bool start(struct virtio *v)
{
    return virtio_start(v, how != POLLED, how == BY_MSIX ? QUEUE_ENTRY : VIRTIO_NO_ENTRY);
}

/* The bytes that the next request's end tells; -1: it has not ended. */
static int64_t complete(struct virtio *v, unsigned vector)
{
    if (how != POLLED)
        expect(dma_wait(vector, ++told), "no interrupt");
    return virtio_complete(v);
}

/* --- the disk --------------------------------------------------------------------------------- */

static bool start_disk(void)
{
    heads = dma_take(1);
    return start(&disk);
}

/* Request N: a head, data in two parts where they are more than one block, a status. */
static void submit(unsigned n, unsigned type, uint64_t lba, unsigned count,
                   const volatile uint8_t *buffer)
{
    volatile struct head *head = (volatile struct head *)(uintptr_t)heads + n;
    uint64_t data = dma_address(buffer) + DISK_OFFSET;
    uint32_t first = 510, bytes = count * DISK_BLOCK;
    bool in = type == BLOCK_IN;
    const struct virtio_part parts[PARTS] = {
        {dma_address(head), sizeof(*head), false},
        {data, first, in},
        {data + first, bytes - first, in},
        {dma_address(heads) + STATUS_AT + n, 1, true},
    };
    *head = (struct head){.type = type, .sector = lba};
    heads[STATUS_AT + n] = 0xff;
    dma_sync(heads, PAGE_SIZE);
    dma_sync(buffer, PAGES * PAGE_SIZE);
    virtio_submit(&disk, parts, PARTS);
}

/* Waits for a request of N's, one of those under way. */
static bool finish(unsigned n, int64_t written)
{
    int64_t bytes = complete(&disk, DISK_VECTOR);
    dma_sync(heads, PAGE_SIZE);
    return expect(bytes == written, "%ld bytes, not %ld", bytes, written) &&
           expect(heads[STATUS_AT + n] == STATUS_OK, "status %x", heads[STATUS_AT + n]);
}

static bool move(unsigned type, uint64_t lba, const volatile uint8_t *buffer)
{
    static unsigned n;
    n = (n + 1) % REQUESTS;
    submit(n, type, lba, COUNT, buffer);
    return finish(n, type == BLOCK_IN ? BYTES + 1 : 1);
}

static void there_and_back(volatile uint8_t *one, volatile uint8_t *other, uint32_t seed)
{
    disk_fill(one, WRITE_AT, COUNT, seed);
    move(BLOCK_OUT, WRITE_AT, one);
    move(BLOCK_IN, WRITE_AT, other);
    disk_expect(one, WRITE_AT, COUNT, &seed);
    disk_expect(other, WRITE_AT, COUNT, &seed);
}

static void use_disk(enum told by)
{
    static uint32_t seed;
    volatile uint8_t *read = dma_take(PAGES);
    open_interrupts(&disk, by, DISK_VECTOR);
    if (start_disk()) {
        if (move(BLOCK_IN, READ_AT, read))
            disk_expect(read, READ_AT, COUNT, NULL);
        for (unsigned i = 0; i < 3; i++) {
            volatile uint8_t *one = dma_take(PAGES), *other = dma_take(PAGES);
            there_and_back(one, other, ++seed);
        }
    }
    virtio_stop(&disk);
    close_interrupts(&disk, DISK_VECTOR);
}

static void blocks(void)
{
    use_disk(POLLED);
    use_disk(BY_MSIX);
    use_disk(BY_INTX);
}

/* --- the source of random bytes --------------------------------------------------------------- */

/* Bytes that the device has written are no pattern, and those behind them still are. */
static void expect_random(const volatile uint8_t *buffer, int64_t bytes)
{
    unsigned same = 0, count = (unsigned)bytes;
    if (!expect(bytes > 0 && bytes <= RANDOM_BYTES, "%ld bytes", bytes))
        return;
    dma_sync(buffer, PAGE_SIZE);
    for (unsigned i = 0; i < count; i++)
        same += buffer[i] == dma_pattern(buffer + i);
    expect(same <= count / 4, "%u of %u bytes are the pattern's", same, count);
    expect(dma_is_pattern(buffer + count, PAGE_SIZE - count), "bytes behind it have changed");
}

static void use_source(enum told by)
{
    open_interrupts(&source, by, RANDOM_VECTOR);
    if (start(&source))
        for (unsigned i = 0; i < 3; i++) {
            const volatile uint8_t *buffer = dma_take(1);
            const struct virtio_part part = {dma_address(buffer), RANDOM_BYTES, .to_memory = true};
            virtio_submit(&source, &part, 1);
            expect_random(buffer, complete(&source, RANDOM_VECTOR));
        }
    virtio_stop(&source);
    close_interrupts(&source, RANDOM_VECTOR);
}

static void random_bytes(void)
{
    use_source(POLLED);
    use_source(BY_MSIX);
    use_source(BY_INTX);
}

/* --- other cases ------------------------------------------------------------------------------ */

static void are_found(void)
{
    expect(disk.bdf != PCI_NOT_THERE && source.bdf != PCI_NOT_THERE, "%x and %x", disk.bdf,
           source.bdf);
}

static void identify(void)
{
    dma_begin(DMA_WB);
    const volatile uint8_t *first = dma_take(PAGES);
    struct pci_bar bar = pci_bar(disk.bdf, REGISTERS_BAR);
    expect(bar.wide && bar.prefetchable, "BAR %u: %lx bytes", REGISTERS_BAR, bar.size);
    if (expect(disk.device != NULL, "no structure of the device's own") && start_disk()) {
        print("# %lu blocks\n", *(const volatile uint64_t *)(uintptr_t)disk.device);
        submit(0, BLOCK_IN, 0, 2, first);
        finish(0, 2 * DISK_BLOCK + 1);
        dma_sync(first, PAGES * PAGE_SIZE);
        has_test_disk = disk_is_marked(first + DISK_OFFSET);
        expect(has_test_disk, "another disk");
    }
    virtio_stop(&disk);
    dma_end();
}

static const char *needs_any_disk(void)
{
    return disk.bdf != PCI_NOT_THERE ? NULL : "there is no disk";
}

/* As many requests as the queue has room for, before the first is looked at. */
static void in_flight(void)
{
    const volatile uint8_t *buffers[REQUESTS];
    dma_begin(DMA_WB);
    if (start_disk()) {
        for (unsigned i = 0; i < REQUESTS; i++) {
            buffers[i] = dma_take(PAGES);
            submit(i, BLOCK_IN, READ_AT + 20 * i, COUNT, buffers[i]);
        }
        for (unsigned i = 0; i < REQUESTS; i++)
            expect(complete(&disk, DISK_VECTOR) == BYTES + 1, "not all blocks");
        for (unsigned i = 0; i < REQUESTS; i++)
            disk_expect(buffers[i], READ_AT + 20 * i, COUNT, NULL);
    }
    virtio_stop(&disk);
    dma_end();
}

/* The queue and a buffer become WC, after they have been used and before they are again. */
static void retyped(void)
{
    dma_begin(DMA_WB);
    uint8_t *one = dma_take(PAGES), *other = dma_take(PAGES);
    if (start_disk()) {
        there_and_back(one, other, 200);
        dma_retype((void *)(uintptr_t)disk.queue.descriptors, 1, DMA_WC_PAT);
        dma_retype((void *)(uintptr_t)disk.queue.available, 1, DMA_WC_PAT);
        dma_retype((void *)(uintptr_t)disk.queue.used, 1, DMA_WC_PAT);
        dma_retype((void *)(uintptr_t)heads, 1, DMA_WC_PAT);
        dma_retype(one, PAGES, DMA_WC_PAT);
        there_and_back(one, other, 201);
        there_and_back(other, one, 202);
    }
    virtio_stop(&disk);
    dma_end();
}

static const char *needs_reset(void)
{
    if (needs_disk() != NULL)
        return needs_disk();
    return pci_capability(disk.bdf, CAP_PCIE) != 0 ? NULL : "no PCI Express, no such reset";
}

/* After a function-level reset it has forgotten everything, and is placed again. */
static void forget(const struct pci_bar *registers, const struct pci_bar *table)
{
    const unsigned on = COMMAND_MEMORY | COMMAND_MASTER;
    if (!expect(pci_reset(disk.bdf), "no function-level reset"))
        return;
    unsigned command = pci_get(disk.bdf, PCI_COMMAND, 2);
    unsigned msix = pci_get(disk.bdf, pci_capability(disk.bdf, CAP_MSIX) + 2, 2);
    expect((command & on) == 0 && msix >> 15 == 0, "command %x, MSI-X %x", command, msix);
    pci_move_bar(disk.bdf, REGISTERS_BAR, registers->address);
    pci_move_bar(disk.bdf, MSIX_BAR, table->address);
    pci_command(disk.bdf, on, 0);
    expect(virtio_is_reset(&disk), "it has a driver");
}

/* With MSI-X on and a request under way, and then it is used again. */
static void function_reset(void)
{
    struct pci_bar registers = pci_bar(disk.bdf, REGISTERS_BAR),
                   table = pci_bar(disk.bdf, MSIX_BAR);
    dma_begin(DMA_WB);
    uint8_t *one = dma_take(PAGES), *other = dma_take(PAGES), *late = dma_take(PAGES);
    open_interrupts(&disk, BY_MSIX, DISK_VECTOR);
    if (start_disk()) {
        there_and_back(one, other, 300);
        submit(0, BLOCK_IN, READ_AT, COUNT, late);
        forget(&registers, &table);
    }
    how = POLLED;
    if (start_disk())
        there_and_back(one, other, 301);
    virtio_stop(&disk);
    dma_end();
}

static const struct test_case first[] = {
    {"both functions are found", NULL, are_found},
    {"capabilities and reset", needs_any_disk, identify},
};

static const struct test_case cases[] = {
    {"requests in flight", needs_disk, in_flight},
    {"memory that is made WC between requests", needs_disk, retyped},
    {"a function-level reset", needs_reset, function_reset},
    {"no other memory has changed", needs_disk, dma_check_memory},
};

void test_main(void)
{
    taken_init();
    apic_enable();
    pci_init();
    virtio_find(&disk, VIRTIO_BLOCK);
    virtio_find(&source, VIRTIO_ENTROPY);
    dma_init();
    ktap_begin(ARRAY_SIZE(first) + 2 * DMA_TYPES + ARRAY_SIZE(cases));
    ktap_run(first, ARRAY_SIZE(first));
    dma_run("blocks by polling, MSI-X and INTx", needs_disk, blocks);
    dma_run("random bytes by polling, MSI-X and INTx", needs_source, random_bytes);
    ktap_run(cases, ARRAY_SIZE(cases));
    ktap_end();
}
