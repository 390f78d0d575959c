/*
 * The PIIX's bus-master IDE in compatibility mode (82371SB PCI ISA IDE Xcelerator; Programming
 * Interface for Bus Master IDE Controller): ports 1F0h to 1F7h and 3F6h, IRQ 14 as an edge, and DMA
 * by descriptors that a BAR's registers point at, through memory of every type.
 *
 * row: ide end=0 timeout=60 control-timeout=30 device=ide set=control=yes
 * row: ide.amd end=0 timeout=60 device=ide-card iommu=amd set=control=yes cmdline=dma=coherent
 *      control=skip control-reason="as ide"
 * row: ide.amd-non-coherent end=0 timeout=60 device="ide-card dma=non-coherent" iommu=amd
 *      set=control=yes control=skip control-reason="as ide"
 * row: ide.no-snoop end=0 timeout=60 device=ide-card iommu=no-snoop set=control=yes control=skip
 *      control-reason="as ide"
 * row: ide.snoop end=0 timeout=60 device=ide-card iommu=snoop set=control=yes cmdline=dma=coherent
 *      control=skip control-reason="as ide"
 *
 * It writes to no disk but one whose first sector begins with `nosnoop test disk`, and in whose
 * other sectors each 32-bit word tells its place.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/disk.h"
#include "guest-tests/runtime/dma.h"
#include "guest-tests/runtime/isa.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/pci.h"
#include "guest-tests/runtime/taken.h"
#include "lib/assert.h"
#include "lib/string.h"

/* Class 01h, subclass 01h, a bus master (bit 7), the first channel in compatibility mode. */
enum { IDE_CLASS = 0x010180, IDE_CLASS_MASK = 0xffff81, MASTER_BAR = 4, MASTER_SIZE = 16 };

/* AT Attachment: the first channel's registers. */
enum {
    ATA_DATA = 0x1f0,
    ATA_COUNT = 0x1f2,
    ATA_LOW,
    ATA_MIDDLE,
    ATA_HIGH,
    ATA_DRIVE,
    ATA_COMMAND,
    ATA_CONTROL = 0x3f6
};
enum { ATA_BUSY = 0x80, ATA_READY = 0x40, ATA_FAULT = 0x20, ATA_DRQ = 8, ATA_ERROR = 1 };
enum { DRIVE_LBA = 0xe0, CONTROL_NO_IRQ = 2, IRQ_IDE = 14 };
enum { READ_SECTORS = 0x20, READ_DMA = 0xc8, WRITE_DMA = 0xca, IDENTIFY = 0xec };

/* Of the bus master, from its BAR: "Bus Master IDE Register Description". */
enum { MASTER_COMMAND = 0, MASTER_STATUS = 2, MASTER_TABLE = 4 };
enum { MASTER_START = 1, MASTER_TO_MEMORY = 8 };
enum { MASTER_ACTIVE = 1, MASTER_ERROR = 2, MASTER_IRQ = 4 };

/* "Physical Region Descriptor". */
struct region {
    uint32_t address;
    uint16_t size, last;
};
static_assert(sizeof(struct region) == 8, "Physical Region Descriptor");
enum { LAST_REGION = 1 << 15 };

enum { VECTOR_IDE = 0x51, LONG_MS = 2000 };
enum { COUNT = 12, BYTES = COUNT * DISK_BLOCK, READ_AT = 9, WRITE_AT = 1000 };

static bdf_t ide;
static struct pci_bar bar;
static uint16_t master;
static int drive = -1; /* -1: there is no test disk */
static volatile uint8_t master_status, drive_status;

static const char *needs_ide(void)
{
    return drive >= 0 ? NULL : "there is no test disk";
}

/* --- the drive by its ports ------------------------------------------------------------------- */

static bool wait_drive(unsigned bits, unsigned value)
{
    uint64_t start = rdtsc();
    while ((in8(ATA_COMMAND) & bits) != value)
        if (rdtsc() - start > machine_ticks(LONG_MS))
            return false;
    return true;
}

/* A command for COUNT sectors from LBA (28 bits) on. */
static void command(unsigned number, uint32_t lba, unsigned count)
{
    out8(ATA_DRIVE, (uint8_t)(DRIVE_LBA | (unsigned)drive << 4 | lba >> 24));
    for (unsigned i = 0; i < 4; i++) /* 400 ns */
        in8(ATA_CONTROL);
    wait_drive(ATA_BUSY, 0);
    out8(ATA_COUNT, (uint8_t)count);
    out8(ATA_LOW, (uint8_t)lba);
    out8(ATA_MIDDLE, (uint8_t)(lba >> 8));
    out8(ATA_HIGH, (uint8_t)(lba >> 16));
    out8(ATA_COMMAND, (uint8_t)number);
    for (unsigned i = 0; i < 4; i++)
        in8(ATA_CONTROL);
}

/* A sector that the drive gives, by its data port. */
static bool data_in(unsigned number, uint8_t sector[DISK_BLOCK])
{
    command(number, 0, 1);
    if (in8(ATA_COMMAND) == 0 || !wait_drive(ATA_BUSY, 0) ||
        (in8(ATA_COMMAND) & (ATA_DRQ | ATA_ERROR)) != ATA_DRQ)
        return false;
    for (unsigned i = 0; i < DISK_BLOCK; i += 2) {
        uint16_t word = in16(ATA_DATA);
        memcpy(sector + i, &word, sizeof(word));
    }
    return true;
}

static bool is_test_disk(void)
{
    uint8_t sector[DISK_BLOCK];
    return data_in(IDENTIFY, sector) && data_in(READ_SECTORS, sector) && disk_is_marked(sector);
}

static void find(void)
{
    ide = pci_find_class(IDE_CLASS, IDE_CLASS_MASK);
    if (ide == PCI_NOT_THERE)
        return;
    bar = pci_bar(ide, MASTER_BAR);
    master = (uint16_t)bar.address;
    pci_command(ide, COMMAND_IO | COMMAND_MASTER, 0);
    out8(ATA_CONTROL, CONTROL_NO_IRQ);
    for (drive = 1; drive >= 0 && !is_test_disk();)
        drive--;
    out8(ATA_CONTROL, 0);
}

/* --- DMA -------------------------------------------------------------------------------------- */

/* Reading the drive's status takes its interrupt away. */
static void take(unsigned cpu, unsigned vector)
{
    (void)cpu;
    if (vector != VECTOR_IDE)
        return;
    master_status = in8((uint16_t)(master + MASTER_STATUS));
    drive_status = in8(ATA_COMMAND);
    out8((uint16_t)(master + MASTER_STATUS), MASTER_IRQ);
}

/* A buffer in four regions: two that end within a page, one of two pages, and the rest. */
static void describe(volatile struct region *table, const volatile uint8_t *buffer)
{
    static const uint16_t sizes[] = {514, 2046, 3072, 512};
    uint32_t at = (uint32_t)dma_address(buffer);
    static_assert(514 + 2046 + 3072 + 512 == BYTES, "all of it");
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        table[i] = (struct region){at, sizes[i], i + 1 == ARRAY_SIZE(sizes) ? LAST_REGION : 0};
        at += sizes[i];
    }
    dma_sync(table, PAGE_SIZE);
}

static void start(const volatile struct region *table, unsigned direction)
{
    taken_clear();
    taken_hook = take;
    master_status = drive_status = 0;
    out8((uint16_t)(master + MASTER_COMMAND), (uint8_t)direction);
    out8((uint16_t)(master + MASTER_STATUS), MASTER_ERROR | MASTER_IRQ);
    out32((uint16_t)(master + MASTER_TABLE), (uint32_t)dma_address(table));
}

/* Moves a buffer from or to the sectors from LBA on, and has it told by one interrupt. */
static void transfer(const volatile struct region *table, uint32_t lba, bool to_memory)
{
    unsigned direction = to_memory ? MASTER_TO_MEMORY : 0;
    start(table, direction);
    pin_set(IRQ_IDE, VECTOR_IDE | (uint64_t)smp_index() << 56);
    command(to_memory ? READ_DMA : WRITE_DMA, lba, COUNT);
    out8((uint16_t)(master + MASTER_COMMAND), (uint8_t)(direction | MASTER_START));
    expect(dma_wait(VECTOR_IDE, 1), "sector %u: no interrupt; status %x of the drive", lba,
           in8(ATA_CONTROL));
    out8((uint16_t)(master + MASTER_COMMAND), (uint8_t)direction);
    pin_set(IRQ_IDE, PIN_MASKED);
    expect((master_status & (MASTER_ERROR | MASTER_IRQ)) == MASTER_IRQ, "sector %u: master %x", lba,
           master_status);
    expect((drive_status & (ATA_BUSY | ATA_READY | ATA_FAULT | ATA_DRQ | ATA_ERROR)) == ATA_READY,
           "sector %u: drive %x", lba, drive_status);
    uint32_t count = taken_of(smp_index(), VECTOR_IDE);
    expect(count == 1, "%u interrupts", count);
}

/* --- cases ------------------------------------------------------------------------------------ */

static void is_found(void)
{
    expect(ide != PCI_NOT_THERE, "there is no bus-master IDE in compatibility mode");
    expect(drive >= 0, "there is no test disk");
}

static void registers_work(void)
{
    static const uint32_t tables[] = {0x1230, 0xfffffffc};
    expect(bar.io && bar.size == MASTER_SIZE, "BAR 4: %lx bytes", bar.size);
    for (unsigned i = 0; i < ARRAY_SIZE(tables); i++) {
        out32((uint16_t)(master + MASTER_TABLE), tables[i]);
        expect(in32((uint16_t)(master + MASTER_TABLE)) == tables[i], "table %x", tables[i]);
    }
    expect((in8((uint16_t)(master + MASTER_STATUS)) & MASTER_ACTIVE) == 0, "it is active");
}

/* From the disk, to it, and from it again, by the same table. */
static void there_and_back(volatile struct region *table, volatile uint8_t *one,
                           volatile uint8_t *other, uint32_t seed)
{
    disk_fill(one, WRITE_AT, COUNT, seed);
    describe(table, one + DISK_OFFSET);
    transfer(table, WRITE_AT, false);
    disk_expect(one, WRITE_AT, COUNT, &seed);
    dma_sync(other, DISK_PAGES * PAGE_SIZE);
    describe(table, other + DISK_OFFSET);
    transfer(table, WRITE_AT, true);
    disk_expect(other, WRITE_AT, COUNT, &seed);
}

static void sectors(void)
{
    static uint32_t seed;
    volatile struct region *table = dma_take(1);
    volatile uint8_t *read = dma_take(DISK_PAGES), *one = dma_take(DISK_PAGES),
                     *other = dma_take(DISK_PAGES);
    describe(table, read + DISK_OFFSET);
    transfer(table, READ_AT, true);
    disk_expect(read, READ_AT, COUNT, NULL);
    there_and_back(table, one, other, ++seed);
}

static void retyped(void)
{
    dma_begin(DMA_WB);
    struct region *table = dma_take(1);
    uint8_t *one = dma_take(DISK_PAGES), *other = dma_take(DISK_PAGES);
    there_and_back(table, one, other, 100);
    dma_retype(table, 1, DMA_WC_PAT);
    dma_retype(one, DISK_PAGES, DMA_WC_PAT);
    there_and_back(table, one, other, 101);
    there_and_back(table, other, one, 102);
    dma_end();
}

static const struct test_case cases[] = {
    {"the function and its disk are found", NULL, is_found},
    {"registers of the bus master", needs_ide, registers_work},
    {"a buffer that is made WC between transfers", needs_ide, retyped},
    {"no other memory has changed", needs_ide, dma_check_memory},
};

void test_main(void)
{
    taken_init();
    apic_enable();
    pci_init();
    find();
    dma_init();
    ktap_begin(DMA_TYPES + ARRAY_SIZE(cases));
    dma_run("sectors read and written", needs_ide, sectors);
    ktap_run(cases, ARRAY_SIZE(cases));
    ktap_end();
}
