/*
 * An AHCI controller (Serial ATA AHCI 1.3.1; AT Attachment 8; Serial ATA 3.x), as a driver uses it:
 * reset, a port's list of commands and received FISes, identification, reads and writes with tables
 * of several regions, queued commands, with lists, tables and data in memory of every type; told by
 * MSI and by INTx.
 *
 * row: ahci end=0 timeout=60 control-timeout=30 device=ahci set=control=yes cmdline=dma=coherent
 * row: ahci.amd end=0 timeout=60 device=ahci iommu=amd set=control=yes cmdline=dma=coherent
 *      control=skip control-reason="as ahci"
 * row: ahci.amd-non-coherent end=0 timeout=60 device="ahci dma=non-coherent" iommu=amd
 *      set=control=yes control=skip control-reason="as ahci"
 * row: ahci.no-snoop end=0 timeout=60 device=ahci iommu=no-snoop set=control=yes control=skip
 *      control-reason="as ahci"
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
#include "guest-tests/runtime/pci.h"
#include "guest-tests/runtime/taken.h"
#include "lib/assert.h"
#include "lib/string.h"

enum { AHCI_CLASS = 0x010601, CLASS_MASK = 0xffffff, AHCI_BAR = 5 };

/* "Generic Host Control". */
enum { CAP = 0x00, GHC = 0x04, IS = 0x08, PI = 0x0c };
enum { GHC_RESET = 1, GHC_IRQ = 2, CAP_SLOTS_AT = 8, CAP_SLOTS = 31, PORTS = 32 };
#define GHC_AHCI   (1u << 31)
#define CAP_QUEUED (1u << 30)

/* "Port Registers", from a port's first. */
enum {
    PORT_FIRST = 0x100,
    PORT_SIZE = 0x80,
    CLB = 0x00,
    CLBU = 0x04,
    FB = 0x08,
    FBU = 0x0c,
    PORT_IS = 0x10,
    PORT_IE = 0x14,
    CMD = 0x18,
    TFD = 0x20,
    SSTS = 0x28,
    SERR = 0x30,
    SACT = 0x34,
    CI = 0x38,
};
enum { CMD_START = 1, CMD_SPIN_UP = 2, CMD_POWER = 4, CMD_FIS = 1 << 4 };
enum { CMD_FIS_RUNS = 1 << 14, CMD_RUNS = 1 << 15, TFD_ERROR = 1, TFD_DRQ = 8, TFD_BUSY = 0x80 };
enum { IS_REGISTERS = 1, IS_SET_BITS = 8, IS_TASK_FILE = 1 << 30, SSTS_DET = 15, SSTS_THERE = 3 };

/* "Command List Structure", "Physical Region Descriptor Table", "Command Table". */
struct header {
    uint16_t flags, regions; /* FLAGS: dwords of the FIS, and what is below */
    uint32_t moved;          /* bytes */
    uint64_t table;
    uint32_t reserved[4];
};
static_assert(sizeof(struct header) == 32, "Command Header");
enum { HEADER_WRITE = 1 << 6, FIS_DWORDS = 5 };

struct region {
    uint64_t address;
    uint32_t reserved, size; /* SIZE: less one */
};
static_assert(sizeof(struct region) == 16, "Physical Region Descriptor");

enum { REGIONS = 8 };
struct table {
    uint8_t fis[64], packet[16], reserved[48];
    struct region regions[REGIONS];
};
static_assert(sizeof(struct table) == 0x100, "Command Table");

/* SATA, "Register Host to Device FIS"; ATA, the commands. */
enum { FIS_TO_DEVICE = 0x27, FIS_COMMAND = 0x80, DEVICE_LBA = 0x40 };
enum { READ_DMA = 0x25, WRITE_DMA = 0x35, READ_QUEUED = 0x60, IDENTIFY = 0xec };
enum { IDENTIFY_QUEUED = 76, IDENTIFY_BLOCKS = 100, HAS_QUEUED = 1 << 8 };

/* One page has the list and, from FIS_AT on, what is received. */
enum { SLOTS = 4, FIS_AT = 0x400, VECTOR = 0x51, LONG_MS = 3000 };
enum { COUNT = 13, BYTES = COUNT * DISK_BLOCK, PAGES = DISK_PAGES, READ_AT = 9, WRITE_AT = 1000 };
enum told { POLLED, BY_MSI, BY_INTX };

static bdf_t ahci;
static struct pci_bar bar;
static volatile uint8_t *registers;
static unsigned port; /* the offset of its registers */
static volatile struct header *list;
static volatile struct table *tables;
static enum told how;
static uint32_t told; /* interrupts that there have to be */
static volatile uint32_t causes;
static bool has_test_disk;

/* --- registers -------------------------------------------------------------------------------- */

static uint32_t get(unsigned reg)
{
    return *(const volatile uint32_t *)(uintptr_t)(registers + reg);
}

static void put(unsigned reg, uint32_t value)
{
    *(volatile uint32_t *)(uintptr_t)(registers + reg) = value;
}

/* Waits until BITS of a register are VALUE. */
static bool wait_for(unsigned reg, uint32_t bits, uint32_t value)
{
    uint64_t start = rdtsc();
    while ((get(reg) & bits) != value)
        if (rdtsc() - start > machine_ticks(LONG_MS))
            return false;
    return true;
}

/* --- the controller --------------------------------------------------------------------------- */

/* "HBA Reset". */
static bool reset(void)
{
    put(GHC, get(GHC) | GHC_AHCI);
    put(GHC, get(GHC) | GHC_RESET);
    bool ready = wait_for(GHC, GHC_RESET, 0);
    put(GHC, GHC_AHCI);
    return ready;
}

/* The first port with a device on it. */
static bool find_port(void)
{
    for (unsigned i = 0; i < PORTS; i++) {
        port = PORT_FIRST + i * PORT_SIZE;
        if ((get(PI) >> i & 1) == 0)
            continue;
        put(port + CMD, get(port + CMD) | CMD_SPIN_UP | CMD_POWER);
        if ((get(port + SSTS) & SSTS_DET) == SSTS_THERE)
            return true;
    }
    return false;
}

static void make_lists(void)
{
    list = dma_take(1);
    tables = dma_take(1);
    memset((void *)(uintptr_t)list, 0, PAGE_SIZE);
    memset((void *)(uintptr_t)tables, 0, PAGE_SIZE);
    dma_sync(list, PAGE_SIZE);
    dma_sync(tables, PAGE_SIZE);
}

static void put_address(unsigned reg, uint64_t address)
{
    put(port + reg, (uint32_t)address);
    put(port + reg + 4, (uint32_t)(address >> 32));
}

/* "System Software Specific Initialization". */
static bool start(void)
{
    bool ready = reset() && find_port();
    make_lists();
    put_address(CLB, dma_address(list));
    put_address(FB, dma_address(list) + FIS_AT);
    put(port + CMD, get(port + CMD) | CMD_FIS);
    put(port + SERR, ~0u);
    ready = ready && wait_for(port + TFD, TFD_BUSY | TFD_DRQ, 0);
    put(port + CMD, get(port + CMD) | CMD_START);
    put(port + PORT_IS, ~0u);
    put(IS, ~0u);
    return expect(ready, "no reset or no disk: SSTS %x, TFD %x", get(port + SSTS), get(port + TFD));
}

static void stop(void)
{
    put(port + CMD, get(port + CMD) & ~(uint32_t)CMD_START);
    expect(wait_for(port + CMD, CMD_RUNS, 0), "the list does not stop");
    put(port + CMD, get(port + CMD) & ~(uint32_t)CMD_FIS);
    expect(wait_for(port + CMD, CMD_FIS_RUNS, 0), "FISes do not stop");
    expect(reset(), "no reset");
}

/* --- interrupts ------------------------------------------------------------------------------- */

/* The port's causes first, then the controller's: "Interrupts". */
static void take(unsigned cpu, unsigned vector)
{
    (void)cpu;
    if (vector != VECTOR)
        return;
    uint32_t now = get(port + PORT_IS);
    put(port + PORT_IS, now);
    put(IS, get(IS));
    causes |= now;
}

static void open_interrupts(enum told by)
{
    how = by;
    told = 0;
    taken_clear();
    taken_hook = take;
    if (by == BY_MSI)
        expect(pci_open_msi(ahci, VECTOR), "no MSI");
    if (by == BY_INTX)
        pci_expect_intx(ahci, VECTOR);
    if (by == POLLED)
        return;
    put(port + PORT_IE, IS_REGISTERS | IS_SET_BITS | IS_TASK_FILE);
    put(GHC, get(GHC) | GHC_IRQ);
}

static void close_interrupts(void)
{
    if (how == BY_MSI)
        pci_close_msi(ahci);
    if (how == BY_INTX)
        pci_close_intx(ahci);
    uint32_t count = taken_of(smp_index(), VECTOR);
    expect(how == POLLED || count == told, "%u interrupts, not %u", count, told);
    how = POLLED;
}

/* --- commands --------------------------------------------------------------------------------- */

/* A buffer in four regions: two that end within a page, one of two pages, and the rest. */
static void describe(volatile struct table *table, uint64_t at)
{
    static const uint16_t sizes[] = {514, 2046, 3072, BYTES - 514 - 2046 - 3072};
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        table->regions[i] = (struct region){.address = at, .size = sizes[i] - 1u};
        at += sizes[i];
    }
}

/* Of a queued command the count is where others have features, and its slot where they have it. */
static void put_fis(volatile uint8_t *fis, unsigned number, uint64_t lba, unsigned slot)
{
    enum { KIND, FLAGS, COMMAND, FEATURES, LBA_LOW, DEVICE = 7, LBA_HIGH, COUNT_LOW = 12 };
    bool queued = number == READ_QUEUED;
    for (unsigned i = 0; i < 4 * FIS_DWORDS; i++)
        fis[i] = 0;
    for (unsigned i = 0; i < 3; i++) {
        fis[LBA_LOW + i] = (uint8_t)(lba >> 8 * i);
        fis[LBA_HIGH + i] = (uint8_t)(lba >> (24 + 8 * i));
    }
    fis[KIND] = FIS_TO_DEVICE;
    fis[FLAGS] = FIS_COMMAND;
    fis[COMMAND] = (uint8_t)number;
    fis[FEATURES] = queued ? COUNT : 0;
    fis[DEVICE] = DEVICE_LBA;
    fis[COUNT_LOW] = (uint8_t)(queued ? slot << 3 : COUNT);
}

/* "Building a Command": for COUNT blocks from LBA on, or one that IDENTIFY gives. */
static void make(unsigned slot, unsigned number, uint64_t lba, uint64_t address)
{
    volatile struct table *table = &tables[slot];
    uint16_t write = number == WRITE_DMA ? HEADER_WRITE : 0;
    put_fis(table->fis, number, lba, slot);
    describe(table, address);
    if (number == IDENTIFY)
        table->regions[0].size = DISK_BLOCK - 1;
    list[slot] = (struct header){.flags = (uint16_t)(FIS_DWORDS | write),
                                 .regions = number == IDENTIFY ? 1 : 4,
                                 .table = dma_address(table)};
    dma_sync(&list[slot], sizeof(list[slot]));
    dma_sync(table, sizeof(*table));
}

static bool wait_told(uint32_t cause)
{
    bool comes = dma_wait(VECTOR, ++told) && (causes & cause) == cause;
    causes = 0;
    return expect(comes, "%u interrupts, not %u, or another cause", taken_of(smp_index(), VECTOR),
                  told);
}

/* Waits for the commands of SLOTS (bits). */
static bool complete(uint32_t slots, unsigned reg)
{
    bool ended = how == POLLED || wait_told(IS_REGISTERS);
    ended = wait_for(port + reg, slots, 0) && ended;
    return expect(ended && (get(port + TFD) & (TFD_BUSY | TFD_DRQ | TFD_ERROR)) == 0,
                  "%x of %x not ended, task file %x", get(port + reg), slots, get(port + TFD));
}

static bool move(unsigned number, uint64_t lba, const volatile uint8_t *buffer)
{
    static unsigned slot;
    slot = (slot + 1) % SLOTS;
    dma_sync(buffer, PAGES * PAGE_SIZE);
    make(slot, number, lba, dma_address(buffer) + DISK_OFFSET);
    put(port + CI, 1u << slot);
    bool all = complete(1u << slot, CI);
    dma_sync(&list[slot], sizeof(list[slot]));
    uint32_t bytes = number == IDENTIFY ? DISK_BLOCK : BYTES;
    return expect(list[slot].moved == bytes, "%u bytes moved, not %u", list[slot].moved, bytes) &&
           all;
}

/* --- cases ------------------------------------------------------------------------------------ */

static const char *needs_ahci(void)
{
    return ahci != PCI_NOT_THERE ? NULL : "there is no AHCI controller";
}

static const char *needs_disk(void)
{
    return needs_ahci() != NULL ? needs_ahci() : has_test_disk ? NULL : "no test disk";
}

static void find(void)
{
    ahci = pci_find_class(AHCI_CLASS, CLASS_MASK);
    if (ahci == PCI_NOT_THERE)
        return;
    bar = pci_bar(ahci, AHCI_BAR);
    registers = pci_map(&bar);
    pci_command(ahci, COMMAND_MEMORY | COMMAND_MASTER, 0);
}

static void is_found(void)
{
    expect(ahci != PCI_NOT_THERE, "there is no AHCI controller");
}

static void identify(void)
{
    dma_begin(DMA_WB);
    volatile uint8_t *first = dma_take(PAGES), *data = dma_take(PAGES);
    const volatile uint16_t *words = (const volatile uint16_t *)(uintptr_t)(data + DISK_OFFSET);
    expect(!bar.io && (get(CAP) >> CAP_SLOTS_AT & CAP_SLOTS) + 1 >= SLOTS, "capabilities %x",
           get(CAP));
    if (start() && move(IDENTIFY, 0, data) && move(READ_DMA, 0, first)) {
        dma_sync(data, PAGES * PAGE_SIZE);
        print("# %u blocks\n", words[IDENTIFY_BLOCKS] | words[IDENTIFY_BLOCKS + 1] << 16);
        expect((words[IDENTIFY_QUEUED] & HAS_QUEUED) != 0 && (get(CAP) & CAP_QUEUED) != 0,
               "no queued commands");
        dma_sync(first, PAGES * PAGE_SIZE);
        has_test_disk = disk_is_marked(first + DISK_OFFSET);
        expect(has_test_disk, "another disk");
    }
    stop();
    dma_end();
}

static void there_and_back(volatile uint8_t *one, volatile uint8_t *other, uint32_t seed)
{
    disk_fill(one, WRITE_AT, COUNT, seed);
    move(WRITE_DMA, WRITE_AT, one);
    move(READ_DMA, WRITE_AT, other);
    disk_expect(one, WRITE_AT, COUNT, &seed);
    disk_expect(other, WRITE_AT, COUNT, &seed);
}

/* Everything from reset on, each end of a command told by BY. */
static void use(enum told by)
{
    static uint32_t seed;
    volatile uint8_t *read = dma_take(PAGES);
    if (!start())
        return;
    open_interrupts(by);
    if (move(READ_DMA, READ_AT, read))
        disk_expect(read, READ_AT, COUNT, NULL);
    for (unsigned i = 0; i < SLOTS; i++) {
        volatile uint8_t *one = dma_take(PAGES), *other = dma_take(PAGES);
        there_and_back(one, other, ++seed);
    }
    close_interrupts();
    stop();
}

static void polled(void)
{
    use(POLLED);
}

static void by_msi(void)
{
    use(BY_MSI);
}

static void by_intx(void)
{
    use(BY_INTX);
}

/* "Native Queued Commands": all slots at once. */
static void queued(void)
{
    const volatile uint8_t *buffers[SLOTS];
    const uint32_t all = (1u << SLOTS) - 1;
    dma_begin(DMA_UC_PAT);
    if (start()) {
        for (unsigned i = 0; i < SLOTS; i++) {
            buffers[i] = dma_take(PAGES);
            make(i, READ_QUEUED, READ_AT + 20 * i, dma_address(buffers[i]) + DISK_OFFSET);
        }
        put(port + SACT, all);
        put(port + CI, all);
        if (complete(all, SACT))
            for (unsigned i = 0; i < SLOTS; i++)
                disk_expect(buffers[i], READ_AT + 20 * i, COUNT, NULL);
        stop();
    }
    dma_end();
}

/* List, tables and a buffer become WC, after they have been used and before they are again. */
static void retyped(void)
{
    dma_begin(DMA_WB);
    uint8_t *one = dma_take(PAGES), *other = dma_take(PAGES);
    if (start()) {
        there_and_back(one, other, 200);
        dma_retype((void *)(uintptr_t)list, 1, DMA_WC_PAT);
        dma_retype((void *)(uintptr_t)tables, 1, DMA_WC_PAT);
        dma_retype(one, PAGES, DMA_WC_PAT);
        there_and_back(one, other, 201);
        there_and_back(other, one, 202);
        stop();
    }
    dma_end();
}

static const struct test_case first[] = {
    {"the function is found", NULL, is_found},
    {"reset and identification", needs_ahci, identify},
};

static const struct test_case cases[] = {
    {"queued commands in all slots", needs_disk, queued},
    {"memory that is made WC between commands", needs_disk, retyped},
    {"no other memory has changed", needs_ahci, dma_check_memory},
};

void test_main(void)
{
    taken_init();
    apic_enable();
    pci_init();
    find();
    dma_init();
    ktap_begin(ARRAY_SIZE(first) + 3 * DMA_TYPES + ARRAY_SIZE(cases));
    ktap_run(first, ARRAY_SIZE(first));
    dma_run("blocks by polling", needs_disk, polled);
    dma_run("blocks with MSI", needs_disk, by_msi);
    dma_run("blocks with INTx", needs_disk, by_intx);
    ktap_run(cases, ARRAY_SIZE(cases));
    ktap_end();
}
