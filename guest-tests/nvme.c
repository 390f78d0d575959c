/*
 * An NVMe controller (NVM Express Base Specification; NVM Command Set Specification), as a driver
 * uses it: reset, the admin queue, identification, several I/O queues, reads and writes, with
 * queues, lists and data in memory of every type; told by MSI-X, a vector a queue, and by INTx.
 *
 * row: nvme end=0 timeout=60 control-timeout=30 device=nvme set=control=yes cmdline=dma=coherent
 * row: nvme.amd end=0 timeout=60 device=nvme iommu=amd set=control=yes cmdline=dma=coherent
 *      control=skip control-reason="as nvme"
 * row: nvme.amd-non-coherent end=0 timeout=60 device="nvme dma=non-coherent" iommu=amd
 *      set=control=yes control=skip control-reason="as nvme"
 * row: nvme.no-snoop end=0 timeout=60 device=nvme iommu=no-snoop set=control=yes control=skip
 *      control-reason="as nvme"
 * row: nvme.held end=0 timeout=60 device="nvme dma=coherent" iommu=no-snoop set=control=yes
 *      cmdline=dma=coherent control=skip control-reason="as nvme"
 *
 * It writes to no disk but one whose first block begins with `nosnoop test disk`, and in whose
 * other blocks each 32-bit word tells its place. With `n=N` on the command line it does no more
 * than N reads.
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

enum { NVME_CLASS = 0x010802, CLASS_MASK = 0xffffff };

/* "Controller Properties". */
enum {
    CAP = 0x00,
    INTMS = 0x0c,
    INTMC = 0x10,
    CC = 0x14,
    CSTS = 0x1c,
    AQA = 0x24,
    ASQ = 0x28,
    ACQ = 0x30,
    DOORBELLS = 0x1000,
};
enum { CC_EN = 1, CC_SQ_64 = 6 << 16, CC_CQ_16 = 4 << 20, CSTS_READY = 1, CSTS_FATAL = 2 };

/* "Opcodes for Admin Commands", "Opcodes for NVM Commands". */
enum { DELETE_SQ = 0x00, CREATE_SQ = 0x01, DELETE_CQ = 0x04, CREATE_CQ = 0x05, ADMIN_IDENTIFY = 6 };
enum { SET_FEATURES = 0x09, FEATURE_QUEUES = 0x07, NVM_WRITE = 0x01, NVM_READ = 0x02 };
enum { IDENTIFY_NAMESPACE = 0, IDENTIFY_CONTROLLER = 1, QUEUE_CONTIGUOUS = 1, QUEUE_IRQ = 2 };

/* "Submission Queue Entry", "Completion Queue Entry". */
struct command {
    uint32_t opcode; /* and the command's identifier in the upper half */
    uint32_t nsid, reserved[2];
    uint64_t metadata, prp[2];
    uint32_t dword[6]; /* 10 to 15 */
};
static_assert(sizeof(struct command) == 64, "Submission Queue Entry");

struct completion {
    uint32_t result, reserved;
    uint16_t sq_head, sq_id, id, status; /* bit 0 of STATUS: the phase */
};
static_assert(sizeof(struct completion) == 16, "Completion Queue Entry");

enum { ADMIN, IO_QUEUES = 3, QUEUES, ENTRIES = 4, VECTOR_QUEUE = 0x51, VECTOR_INTX = 0x60 };
enum { LONG_MS = 10000, MQES_MASK = 0xffff };
enum told { POLLED, BY_MSIX, BY_INTX };

struct queue {
    volatile struct command *commands;
    volatile struct completion *completions;
    unsigned id, tail, head, phase;
    uint32_t told; /* interrupts that it has had */
};

static bdf_t nvme;
static struct pci_bar bar;
static volatile uint8_t *registers;
static struct queue queues[QUEUES];
static uint32_t told_together; /* interrupts that all queues have had by INTx */
static enum told how;
static bool has_test_disk;

/* --- registers -------------------------------------------------------------------------------- */

static uint32_t get(unsigned reg)
{
    return *(const volatile uint32_t *)(uintptr_t)(registers + reg);
}

static uint64_t get_wide(unsigned reg)
{
    return get(reg) | (uint64_t)get(reg + 4) << 32;
}

static void put(unsigned reg, uint32_t value)
{
    *(volatile uint32_t *)(uintptr_t)(registers + reg) = value;
}

static void put_wide(unsigned reg, uint64_t value)
{
    put(reg, (uint32_t)value);
    put(reg + 4, (uint32_t)(value >> 32));
}

/* "Submission Queue y Tail Doorbell", "Completion Queue y Head Doorbell". */
static unsigned doorbell(unsigned queue, bool completion)
{
    unsigned stride = 4u << (get_wide(CAP) >> 32 & 15);
    return DOORBELLS + (2 * queue + completion) * stride;
}

static bool wait_ready(unsigned ready)
{
    uint64_t start = rdtsc();
    while ((get(CSTS) & CSTS_READY) != ready)
        if ((get(CSTS) & CSTS_FATAL) != 0 || rdtsc() - start > machine_ticks(LONG_MS))
            return false;
    return true;
}

/* --- queues ----------------------------------------------------------------------------------- */

static void make_queue(struct queue *queue, unsigned id)
{
    *queue = (struct queue){dma_take(1), dma_take(1), .id = id, .phase = 1};
    memset((void *)(uintptr_t)queue->commands, 0, PAGE_SIZE);
    memset((void *)(uintptr_t)queue->completions, 0, PAGE_SIZE);
    dma_sync(queue->commands, PAGE_SIZE);
    dma_sync(queue->completions, PAGE_SIZE);
}

static void submit(struct queue *queue, const struct command *command)
{
    volatile struct command *at = &queue->commands[queue->tail];
    *at = *command;
    at->opcode |= (queue->tail + 1) << 16;
    dma_sync(at, sizeof(*at));
    queue->tail = (queue->tail + 1) % ENTRIES;
    put(doorbell(queue->id, false), queue->tail);
}

/* An interrupt that a level has told of is masked until its completion has been taken. */
static void take(unsigned cpu, unsigned vector)
{
    (void)cpu;
    if (vector == VECTOR_INTX)
        put(INTMS, ~0u);
}

/* By INTx all queues have one vector, which counts their interrupts together. */
static void wait_told(struct queue *queue)
{
    bool comes = how == BY_MSIX ? dma_wait(VECTOR_QUEUE + queue->id, ++queue->told)
                                : dma_wait(VECTOR_INTX, ++told_together);
    expect(comes, "queue %u: no interrupt", queue->id);
}

/* The next completion's status, shifted; -1: none has come. */
static int complete(struct queue *queue, uint32_t *result)
{
    const volatile struct completion *at = &queue->completions[queue->head];
    uint64_t start = rdtsc();
    if (how != POLLED)
        wait_told(queue);
    for (dma_sync(at, sizeof(*at)); (at->status & 1) != queue->phase; dma_sync(at, sizeof(*at)))
        if (rdtsc() - start > machine_ticks(LONG_MS))
            return -1;
    int status = at->status >> 1;
    if (result != NULL)
        *result = at->result;
    queue->head = (queue->head + 1) % ENTRIES;
    queue->phase ^= queue->head == 0;
    put(doorbell(queue->id, true), queue->head);
    if (how == BY_INTX)
        put(INTMC, ~0u);
    return status;
}

static bool execute(struct queue *queue, const struct command *command, uint32_t *result)
{
    submit(queue, command);
    int status = complete(queue, result);
    return expect(status == 0, "queue %u, opcode %x: status %x", queue->id, command->opcode,
                  (unsigned)status);
}

static bool admin(uint32_t opcode, uint32_t ten, uint32_t eleven, const volatile void *memory)
{
    struct command command = {.opcode = opcode, .dword = {ten, eleven}};
    if (memory != NULL)
        command.prp[0] = dma_address(memory);
    return execute(&queues[ADMIN], &command, NULL);
}

/* --- the controller --------------------------------------------------------------------------- */

static bool reset(void)
{
    put(CC, 0);
    return wait_ready(0);
}

/* "Memory-based Controller Initialization (PCIe)". */
static bool enable(void)
{
    taken_clear();
    taken_hook = take;
    told_together = 0;
    bool ready = reset();
    make_queue(&queues[ADMIN], ADMIN);
    put(AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
    put_wide(ASQ, dma_address(queues[ADMIN].commands));
    put_wide(ACQ, dma_address(queues[ADMIN].completions));
    put(CC, CC_EN | CC_SQ_64 | CC_CQ_16);
    return expect(ready && wait_ready(CSTS_READY), "not ready: status %x", get(CSTS));
}

static void open_interrupts(enum told told)
{
    how = told;
    if (told == BY_MSIX)
        expect(pci_open_msix(nvme, VECTOR_QUEUE, QUEUES), "no MSI-X of %u vectors", QUEUES);
    if (told == BY_INTX)
        pci_expect_intx(nvme, VECTOR_INTX);
}

static void close_interrupts(void)
{
    if (how == BY_MSIX)
        pci_close_msix(nvme);
    if (how == BY_INTX)
        pci_close_intx(nvme);
    how = POLLED;
}

static bool create_queue(unsigned id)
{
    struct queue *queue = &queues[id];
    uint32_t size = (ENTRIES - 1) << 16 | id, vector = how == BY_MSIX ? id << 16 : 0;
    make_queue(queue, id);
    return admin(CREATE_CQ, size, vector | QUEUE_IRQ | QUEUE_CONTIGUOUS, queue->completions) &&
           admin(CREATE_SQ, size, id << 16 | QUEUE_CONTIGUOUS, queue->commands);
}

static bool create_queues(void)
{
    const uint32_t count = (IO_QUEUES - 1) << 16 | (IO_QUEUES - 1);
    bool all = admin(SET_FEATURES, FEATURE_QUEUES, count, NULL);
    for (unsigned id = 1; id < QUEUES && all; id++)
        all = create_queue(id);
    return all;
}

static void delete_queues(void)
{
    for (unsigned id = 1; id < QUEUES; id++)
        if (admin(DELETE_SQ, id, 0, NULL))
            admin(DELETE_CQ, id, 0, NULL);
}

/* --- blocks ----------------------------------------------------------------------------------- */

/* COUNT blocks from LBA on; what lies behind the first page is told by PRP 2. */
static bool blocks(struct queue *queue, unsigned opcode, uint64_t lba, unsigned count,
                   const uint64_t prp[2])
{
    struct command command = {
        .opcode = opcode,
        .nsid = 1,
        .prp = {prp[0], prp[1]},
        .dword = {(uint32_t)lba, (uint32_t)(lba >> 32), count - 1},
    };
    return execute(queue, &command, NULL);
}

enum { OFFSET = DISK_OFFSET, PAGES = DISK_PAGES, COUNT = 13, READ_AT = 9, WRITE_AT = 1000 };

static bool move(struct queue *queue, unsigned opcode, uint64_t lba, const volatile uint8_t *buffer)
{
    const uint64_t prp[] = {dma_address(buffer) + OFFSET, dma_address(buffer) + PAGE_SIZE};
    dma_sync(buffer, PAGES * PAGE_SIZE);
    return blocks(queue, opcode, lba, COUNT, prp);
}

static void there_and_back(struct queue *queue, volatile uint8_t *one, volatile uint8_t *other,
                           uint32_t seed)
{
    uint64_t lba = WRITE_AT + 100 * queue->id;
    disk_fill(one, lba, COUNT, seed);
    move(queue, NVM_WRITE, lba, one);
    move(queue, NVM_READ, lba, other);
    disk_expect(one, lba, COUNT, &seed);
    disk_expect(other, lba, COUNT, &seed);
}

/* --- cases ------------------------------------------------------------------------------------ */

static const char *needs_nvme(void)
{
    return nvme != PCI_NOT_THERE ? NULL : "there is no NVMe controller";
}

static const char *needs_disk(void)
{
    return needs_nvme() != NULL ? needs_nvme() : has_test_disk ? NULL : "no test disk";
}

static void is_found(void)
{
    expect(nvme != PCI_NOT_THERE, "there is no NVMe controller");
}

static void find(void)
{
    nvme = pci_find_class(NVME_CLASS, CLASS_MASK);
    if (nvme == PCI_NOT_THERE)
        return;
    bar = pci_bar(nvme, 0);
    registers = pci_map(&bar);
    pci_command(nvme, COMMAND_MEMORY | COMMAND_MASTER, 0);
}

static void identify(void)
{
    dma_begin(DMA_WB);
    const char *disk = dma_take(1);
    volatile uint32_t *data = dma_take(1);
    const uint64_t prp[] = {dma_address(disk), 0};
    struct command command = {.opcode = ADMIN_IDENTIFY, .nsid = 1, .prp = {dma_address(data)}};
    expect(bar.wide && (get_wide(CAP) & MQES_MASK) + 1 >= ENTRIES, "capabilities %lx",
           get_wide(CAP));
    if (enable() && admin(ADMIN_IDENTIFY, IDENTIFY_CONTROLLER, 0, data)) {
        dma_sync(data, PAGE_SIZE);
        expect((data[0] & 0xffff) == pci_get(nvme, PCI_VENDOR, 2), "vendor %x", data[0]);
        expect(execute(&queues[ADMIN], &command, NULL), "no namespace 1");
        dma_sync(data, PAGE_SIZE);
        print("# %u blocks\n", data[0]);
        if (create_queues() && blocks(&queues[1], NVM_READ, 0, 1, prp)) {
            dma_sync(disk, PAGE_SIZE);
            has_test_disk = disk_is_marked(disk);
            expect(has_test_disk, "another disk");
        }
    }
    reset();
    dma_end();
}

/* Everything from reset on, by queues that are told by HOW. */
static void use(enum told told)
{
    static uint32_t seed;
    volatile uint8_t *read = dma_take(PAGES);
    open_interrupts(told);
    if (enable() && create_queues()) {
        if (move(&queues[1], NVM_READ, READ_AT, read))
            disk_expect(read, READ_AT, COUNT, NULL);
        for (unsigned id = 1; id < QUEUES; id++)
            for (unsigned i = 0; i < ENTRIES; i++) {
                volatile uint8_t *one = dma_take(PAGES), *other = dma_take(PAGES);
                there_and_back(&queues[id], one, other, ++seed);
            }
        delete_queues();
    }
    reset();
    close_interrupts();
}

static void polled(void)
{
    use(POLLED);
}

static void by_msix(void)
{
    use(BY_MSIX);
    for (unsigned id = 0; id < QUEUES; id++) {
        uint32_t count = taken_of(smp_index(), VECTOR_QUEUE + id);
        expect(count == queues[id].told, "queue %u: %u interrupts, not %u", id, count,
               queues[id].told);
    }
}

static void by_intx(void)
{
    use(BY_INTX);
    uint32_t count = taken_of(smp_index(), VECTOR_INTX);
    expect(count == told_together, "%u interrupts, not %u", count, told_together);
}

/* As many commands as fit into each queue before the first is looked at. */
static void in_flight(void)
{
    const volatile uint8_t *buffers[QUEUES][ENTRIES - 1];
    dma_begin(DMA_WB);
    bool ready = enable() && create_queues();
    for (unsigned n = 0; n < (QUEUES - 1) * (ENTRIES - 1) && ready; n++) {
        unsigned id = 1 + n % (QUEUES - 1), i = n / (QUEUES - 1);
        buffers[id][i] = dma_take(PAGES);
        uint64_t address = dma_address(buffers[id][i]);
        struct command command = {
            .opcode = NVM_READ,
            .nsid = 1,
            .prp = {address + OFFSET, address + PAGE_SIZE},
            .dword = {READ_AT + 20 * n, 0, COUNT - 1},
        };
        submit(&queues[id], &command);
    }
    for (unsigned n = 0; n < (QUEUES - 1) * (ENTRIES - 1) && ready; n++) {
        unsigned id = 1 + n % (QUEUES - 1);
        int status = complete(&queues[id], NULL);
        expect(status == 0, "queue %u: status %x", id, (unsigned)status);
    }
    for (unsigned n = 0; n < (QUEUES - 1) * (ENTRIES - 1) && ready; n++)
        disk_expect(buffers[1 + n % (QUEUES - 1)][n / (QUEUES - 1)], READ_AT + 20 * n, COUNT, NULL);
    reset();
    dma_end();
}

/* "PRP Entry and List": more than two pages are told by a list, here in no order. */
static void list(void)
{
    enum { LIST_PAGES = 4, LIST_BLOCKS = LIST_PAGES * PAGE_SIZE / DISK_BLOCK };
    const volatile uint32_t *pages[LIST_PAGES];
    unsigned wrong = 0;
    dma_begin(DMA_UC_PAT);
    volatile uint64_t *entries = dma_take(1);
    for (unsigned i = 0; i < LIST_PAGES; i++)
        pages[LIST_PAGES - 1 - i] = dma_take(1);
    for (unsigned i = 1; i < LIST_PAGES; i++)
        entries[i - 1] = dma_address(pages[i]);
    const uint64_t prp[] = {dma_address(pages[0]), dma_address(entries)};
    dma_sync(entries, PAGE_SIZE);
    if (enable() && create_queues() && blocks(&queues[1], NVM_READ, READ_AT, LIST_BLOCKS, prp))
        for (unsigned i = 0; i < LIST_BLOCKS * DISK_BLOCK / 4; i++) {
            uint32_t word = pages[i / (PAGE_SIZE / 4)][i % (PAGE_SIZE / 4)];
            wrong += word != disk_word(READ_AT * DISK_BLOCK + 4 * i);
        }
    expect(wrong == 0, "%u words are wrong", wrong);
    reset();
    dma_end();
}

/* A queue and a buffer become WC, after they have been used and before they are used again. */
static void retyped(void)
{
    dma_begin(DMA_WB);
    uint8_t *one = dma_take(PAGES), *other = dma_take(PAGES);
    if (enable() && create_queues()) {
        there_and_back(&queues[1], one, other, 200);
        dma_retype((void *)(uintptr_t)queues[1].commands, 1, DMA_WC_PAT);
        dma_retype((void *)(uintptr_t)queues[1].completions, 1, DMA_WC_PAT);
        dma_retype(one, PAGES, DMA_WC_PAT);
        there_and_back(&queues[1], one, other, 201);
        there_and_back(&queues[1], other, one, 202);
    }
    reset();
    dma_end();
}

/* After a function-level reset it has forgotten everything, and is placed again. */
static void forget(void)
{
    const unsigned on = COMMAND_MEMORY | COMMAND_MASTER;
    if (!expect(pci_reset(nvme), "no function-level reset"))
        return;
    unsigned command = pci_get(nvme, PCI_COMMAND, 2);
    unsigned msix = pci_get(nvme, pci_capability(nvme, CAP_MSIX) + 2, 2);
    expect((command & on) == 0, "command %x", command);
    expect(msix >> 15 == 0, "MSI-X is on: %x", msix);
    pci_move_bar(nvme, 0, bar.address);
    pci_command(nvme, on, 0);
    expect(get(CC) == 0 && (get(CSTS) & CSTS_READY) == 0, "CC %x, CSTS %x", get(CC), get(CSTS));
}

/* Again and again with MSI-X on and commands in flight, of which nothing comes later. */
static void function_resets(void)
{
    enum { TIMES = 4 };
    dma_begin(DMA_WB);
    uint8_t *one = dma_take(PAGES), *other = dma_take(PAGES), *late = dma_take(PAGES);
    const struct command command = {
        .opcode = NVM_READ,
        .nsid = 1,
        .prp = {dma_address(late) + OFFSET, dma_address(late) + PAGE_SIZE},
        .dword = {READ_AT, 0, COUNT - 1},
    };
    for (uint32_t i = 0; i < TIMES && enable() && create_queues(); i++) {
        there_and_back(&queues[1], one, other, 300 + i);
        pci_open_msix(nvme, VECTOR_QUEUE, QUEUES);
        submit(&queues[1], &command);
        submit(&queues[2], &command);
        forget();
    }
    reset();
    dma_end();
}

static uint32_t sum(const volatile uint8_t *at, unsigned size)
{
    uint32_t all = 0;
    for (unsigned i = 0; i < size; i++)
        all = all * 31 + at[i];
    return all;
}

/* One upon the other, by a master of the bus in the midst of its work; then none comes any more. */
static void reset_storms(void)
{
    enum { ROUNDS = 2, TIMES = 5, CONTROL = 8, INITIATE = 1 << 15, WAIT_MS = 50 };
    dma_begin(DMA_WB);
    uint8_t *one = dma_take(PAGES), *other = dma_take(PAGES), *late = dma_take(PAGES);
    unsigned at = pci_capability(nvme, CAP_PCIE) + CONTROL;
    const struct command command = {
        .opcode = NVM_READ,
        .nsid = 1,
        .prp = {dma_address(late) + OFFSET, dma_address(late) + PAGE_SIZE},
        .dword = {READ_AT, 0, COUNT - 1},
    };
    for (uint32_t i = 0; i < ROUNDS && enable() && create_queues(); i++) {
        submit(&queues[1], &command);
        submit(&queues[2], &command);
        for (unsigned n = 0; n < TIMES; n++)
            pci_put(nvme, at, 2, pci_get(nvme, at, 2) | INITIATE);
        uint32_t before = sum(late, PAGES * PAGE_SIZE);
        for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(WAIT_MS);)
            cpu_relax();
        expect(sum(late, PAGES * PAGE_SIZE) == before, "it has come");
        forget();
    }
    if (enable() && create_queues())
        there_and_back(&queues[1], one, other, 400);
    reset();
    dma_end();
}

static const struct test_case first[] = {
    {"the function is found", NULL, is_found},
    {"reset and identification", needs_nvme, identify},
};

static const struct test_case cases[] = {
    {"commands in flight in all queues", needs_disk, in_flight},
    {"a list of pages", needs_disk, list},
    {"memory that is made WC between transfers", needs_disk, retyped},
    {"function-level resets", needs_disk, function_resets},
    {"storms of function-level resets", needs_disk, reset_storms},
    {"no other memory has changed", needs_nvme, dma_check_memory},
};

/* What has its exits counted: reads whose ends are told by MSI-X. */
static void read_again_and_again(void)
{
    dma_begin(DMA_WB);
    volatile uint8_t *buffer = dma_take(PAGES);
    open_interrupts(BY_MSIX);
    if (enable() && create_queues())
        for (uint64_t i = cmdline_number("n", 0); i != 0; i--) {
            sti(); /* as while any driver runs: the interrupt is taken as it comes */
            move(&queues[1], NVM_READ, READ_AT, buffer);
        }
    reset();
    close_interrupts();
    dma_end();
}

static const struct test_case repeated[] = {
    {"reads again and again", needs_nvme, read_again_and_again},
};

static noreturn void repeat(void)
{
    ktap_all(repeated, ARRAY_SIZE(repeated));
}

void test_main(void)
{
    taken_init();
    apic_enable();
    pci_init();
    find();
    dma_init();
    if (cmdline_number("n", UINT64_MAX) != UINT64_MAX)
        repeat();
    ktap_begin(ARRAY_SIZE(first) + 3 * DMA_TYPES + ARRAY_SIZE(cases));
    ktap_run(first, ARRAY_SIZE(first));
    dma_run("blocks by polled queues", needs_disk, polled);
    dma_run("blocks by queues with MSI-X", needs_disk, by_msix);
    dma_run("blocks by queues with INTx", needs_disk, by_intx);
    ktap_run(cases, ARRAY_SIZE(cases));
    ktap_end();
}
