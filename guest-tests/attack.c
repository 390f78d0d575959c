/*
 * A guest that attacks with the device it has: DMA to what is not its own, messages that it was not
 * given, BARs over everything, and its own end while DMA is on the way. Where the machine has an
 * IOMMU none of it has any effect; in a control run there is none, and what the device can do is
 * seen to be done.
 *
 * row: attack end=0 waits=yes timeout=60 control-timeout=30 device=edu set=control=yes
 *      cmdline=dma=coherent
 * row: attack.no-snoop end=0 waits=yes timeout=60 device=edu iommu=no-snoop set=control=yes
 *      control=skip control-reason="as attack"
 * row: attack.two end=0 waits=yes timeout=60 device=edu device=edu-2 set=control=yes
 *      cmdline="dma=coherent at=83886080" control=skip control-reason="as attack"
 * row: attack.amd end=0 waits=yes timeout=60 device=edu iommu=amd set=control=yes
 *      cmdline="dma=coherent index=yes" control=skip control-reason="as attack"
 * row: attack.amd-two end=0 waits=yes timeout=60 device=edu device=edu-2 iommu=amd
 *      set=control=yes cmdline="dma=coherent index=yes at=83886080" control=skip
 *      control-reason="as attack"
 * row: attack.dies end=0 waits=yes timeout=60 memory=36M device=edu-port set=control=yes
 *      set=on_reset=restart cmdline="dma=coherent dies=100" control=skip
 *      control-reason="the machine ends there"
 * row: attack.amd-dies end=0 timeout=60 memory=36M device=edu iommu=amd set=control=yes
 *      set=on_reset=restart cmdline="dma=coherent dies=100" control=skip
 *      control-reason="the machine ends there"
 *
 * With `dies=N` on the command line it ends N times with DMA on the way. With `faults=N` it does no
 * more than N transfers in a row to successive pages that are not its own and, with `more=yes`, one
 * two seconds later; with `at=N` it attacks that address and no other, or the first of those pages
 * is there, and with `at1=N`, `at2=N` and so on those pages follow; with `stays=yes` it does not
 * end; with `others=yes` other VMs have interrupts that count.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/dma.h"
#include "guest-tests/runtime/edu.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/taken.h"
#include "vmm/abi.h"

enum { BYTES = 4000, KEYBOARD = 0x64, RESET = 0xfe, VECTOR_SLEEP = 0x50, VECTOR_FORGED = 0xe5 };
#define MESSAGES 0xfee00000ull

static void fill(volatile uint8_t *buffer, uint8_t seed)
{
    for (unsigned i = 0; i < BYTES; i++)
        buffer[i] = (uint8_t)(seed + i * 11 + (i >> 8));
    dma_sync(buffer, PAGE_SIZE);
}

/* How many bytes of AT are as fill() makes them. */
static unsigned alike(const volatile uint8_t *at, uint8_t seed)
{
    unsigned same = 0;
    for (unsigned i = 0; i < BYTES; i++)
        same += at[i] == (uint8_t)(seed + i * 11 + (i >> 8));
    return same;
}

/* All zeros or all ones. */
static bool is_empty(const volatile uint8_t *at)
{
    unsigned ones = 0, zeros = 0;
    for (unsigned i = 0; i < BYTES; i++) {
        ones += at[i] == 0xff;
        zeros += at[i] == 0;
    }
    return ones == BYTES || zeros == BYTES;
}

/* A buffer goes to the device and comes back into another. */
static void expect_works(void)
{
    volatile uint8_t *from = dma_take(1), *to = dma_take(1);
    fill(from, 1);
    dma_sync(to, PAGE_SIZE);
    bool ends = edu_transfer(dma_address(from), EDU_BUFFER, BYTES, 0) &&
                edu_transfer(EDU_BUFFER, dma_address(to), BYTES, DMA_FROM_DEVICE);
    dma_sync(to, PAGE_SIZE);
    expect(ends && alike(to, 1) == BYTES, "its own DMA: %u bytes are right", alike(to, 1));
}

/* --- memory of others ------------------------------------------------------------------------- */

/*
 * Behind the guest's memory, where its host may have anything; in the hole; above all memory.
 * Below 4 GiB the identity map has them.
 */
static const uint64_t others[] = {0x4000000,  0x4100000,  0x8000000,   0x12345000,
                                  0xc0000000, 0xfec00000, 0x100000000, 0xfffffff000};

static bool is_ram(uint64_t at)
{
    for (unsigned i = 0; i < machine.ram_count; i++)
        if (at >= machine.ram[i].start && at + PAGE_SIZE <= machine.ram[i].end)
            return true;
    return false;
}

/*
 * What is written there is not read from there, and a device that may not read keeps what it had;
 * without an IOMMU it is memory as any other.
 */
static void reach(uint64_t at, volatile uint8_t *mine, volatile uint8_t *back)
{
    fill(mine, 2);
    bool ends = edu_transfer(dma_address(mine), EDU_BUFFER, BYTES, 0) &&
                edu_transfer(EDU_BUFFER, at, BYTES, DMA_FROM_DEVICE);
    fill(mine, 3);
    ends = ends && edu_transfer(dma_address(mine), EDU_BUFFER, BYTES, 0) &&
           edu_transfer(at, EDU_BUFFER, BYTES, 0) &&
           edu_transfer(EDU_BUFFER, dma_address(back), BYTES, DMA_FROM_DEVICE);
    dma_sync(back, PAGE_SIZE);
    unsigned written = alike(back, 2), kept = alike(back, 3);
    expect(ends, "%lx: no end", at);
    if (machine.nosnoop)
        expect(kept == BYTES || is_empty(back), "%lx: %u bytes are new", at, BYTES - kept);
    else
        expect(written == BYTES && alike((const volatile uint8_t *)at, 2) == BYTES,
               "%lx: %u bytes are what was written", at, written);
}

static void memory_of_others(void)
{
    dma_begin(DMA_WB);
    volatile uint8_t *mine = dma_take(1), *back = dma_take(1);
    uint64_t at = cmdline_number("at", 0);
    for (unsigned i = 0; i < ARRAY_SIZE(others) && at == 0; i++)
        if (machine.nosnoop || is_ram(others[i]))
            reach(others[i], mine, back);
    if (at != 0)
        reach(at, mine, back);
    expect_works();
    dma_end();
}

extern const char image_start[], image_end[];

/* A page whole; of this guest's image by what is there already, for it is needed. */
static void overwrite(volatile uint8_t *mine, uint64_t at)
{
    bool own = at >= (uint64_t)image_start && at < (uint64_t)image_end;
    fill(mine, 5);
    for (unsigned i = 0; i < BYTES && own; i++)
        mine[i] = ((const volatile uint8_t *)at)[i];
    dma_sync(mine, PAGE_SIZE);
    expect(edu_transfer(dma_address(mine), EDU_BUFFER, BYTES, 0) &&
               edu_transfer(EDU_BUFFER, at, BYTES, DMA_FROM_DEVICE),
           "%lx: no end", at);
}

/* Nobody here looks at what is written. */
static void faults(void)
{
    enum { FIRST = 0x5000000, QUIET_MS = 2000 };
    uint64_t count = cmdline_number("faults", 0), at = cmdline_number("at", FIRST);
    dma_begin(DMA_WB);
    volatile uint8_t *mine = dma_take(1);
    fill(mine, 5);
    expect(edu_transfer(dma_address(mine), EDU_BUFFER, BYTES, 0), "no end");
    for (uint64_t i = 0; i < count; i++, at += PAGE_SIZE)
        expect(edu_transfer(EDU_BUFFER, at, BYTES, DMA_FROM_DEVICE), "%lx: no end", at);
    for (char key[] = "at1"; cmdline_number(key, 0) != 0; key[2]++)
        overwrite(mine, cmdline_number(key, 0));
    if (cmdline_has("more", "yes")) {
        machine_spin(QUIET_MS);
        expect(edu_transfer(EDU_BUFFER, at, BYTES, DMA_FROM_DEVICE), "%lx: no end", at);
    }
    dma_end();
}

/* --- messages --------------------------------------------------------------------------------- */

/* DATA as a message of 4 bytes to ADDRESS, by DMA. */
static void message(volatile uint32_t *buffer, uint64_t address, uint32_t data)
{
    buffer[0] = data;
    dma_sync(buffer, sizeof(*buffer));
    edu_transfer(dma_address(buffer), EDU_BUFFER, sizeof(*buffer), 0);
    edu_transfer(EDU_BUFFER, address, sizeof(*buffer), DMA_FROM_DEVICE);
    sti();
    machine_spin(1);
    cli();
}

static unsigned taken_in_all(void)
{
    unsigned sum = 0;
    for (unsigned vector = FIRST_VECTOR; vector < VECTORS; vector++)
        sum += taken_of(smp_index(), vector);
    return sum;
}

/* SDM, "Message Address Register Format": to the first CPU. */
static void compatibility_format(void)
{
    dma_begin(DMA_WB);
    taken_clear();
    message(dma_take(1), MESSAGES | smp_index() << 12, VECTOR_FORGED);
    uint32_t count = taken_of(smp_index(), VECTOR_FORGED);
    expect(count == (machine.nosnoop ? 0 : 1) && taken_in_all() == count, "taken %u times of %u",
           count, taken_in_all());
    expect_works();
    dma_end();
}

/*
 * VT-d Specification, "Interrupt Requests in Remappable Format": others' handles, and none's. QEMU
 * 7.2 does not know whose DMA it is, and does not look at the entry's source: what has a handle may
 * come to the host, and looks as if the line that it is of had been asserted.
 */
static void remappable_format(void)
{
    enum { REMAPPABLE = 1 << 4, HANDLES = 12 };
    dma_begin(DMA_WB);
    taken_clear();
    volatile uint32_t *buffer = dma_take(1);
    for (uint64_t handle = 0; handle < HANDLES; handle++)
        message(buffer, MESSAGES | REMAPPABLE | handle << 5, 0);
    message(buffer, MESSAGES | REMAPPABLE | 0x7fffull << 5 | 1 << 2, 0);
    expect(taken_in_all() == 0, "%u interrupts", taken_in_all());
    expect_works();
    dma_end();
}

/* AMD IOMMU, "Interrupt Remapping Tables": where the data is an index, others' and none's. */
static void messages_by_index(void)
{
    static const uint32_t far[] = {0xff, 0x100, 0x1ff, 0x200, 0x5ff, 0x7ff};
    enum { INDICES = 12 };
    dma_begin(DMA_WB);
    taken_clear();
    volatile uint32_t *buffer = dma_take(1);
    for (uint32_t index = 0; index < INDICES; index++)
        message(buffer, MESSAGES, index);
    for (unsigned i = 0; i < ARRAY_SIZE(far); i++)
        message(buffer, MESSAGES, far[i]);
    expect(taken_in_all() == 0, "%u interrupts", taken_in_all());
    expect_works();
    dma_end();
}

/* --- BARs over everything --------------------------------------------------------------------- */

/* Memory, firmware's tables, the APICs, ECAM, what lies behind memory, and the highest. */
static const uint32_t places[] = {0x2400000,  0x000000,   0x4000000,  0x8000000,
                                  0xe0000000, 0xfec00000, 0xfee00000, 0xfff00000};

static void move_to(uint32_t address)
{
    unsigned command = pci_get_by_port(edu, PCI_COMMAND, 2) & ~(unsigned)COMMAND_MEMORY;
    pci_put_by_port(edu, PCI_COMMAND, 2, command);
    pci_put_by_port(edu, PCI_BAR, 4, address);
    pci_put_by_port(edu, PCI_COMMAND, 2, command | COMMAND_MEMORY);
}

static void bars_over_everything(void)
{
    dma_begin(DMA_WB);
    uint32_t version = apic_get(VERSION);
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        move_to(places[i]);
        expect(hypercall(HYPERCALL_VERSION) == HYPERCALL_ABI, "%x: no hypercalls", places[i]);
        move_to((uint32_t)edu_bar.address);
        expect((edu_get(EDU_ID) & 0xffff) == 0x00ed, "%x: it does not come back", places[i]);
        expect(apic_get(VERSION) == version, "%x: APIC version %x", places[i], apic_get(VERSION));
    }
    expect_works();
    dma_end();
    dma_check_memory();
}

/* --- another device's BAR --------------------------------------------------------------------- */

static bdf_t second = PCI_NOT_THERE;
static struct pci_bar second_bar;

/* A second edu, on the first bus, too. */
static void find_second(void)
{
    for (bdf_t bdf = 0; bdf < 0x100 && edu != PCI_NOT_THERE; bdf = (bdf_t)(bdf + 8))
        if (bdf != edu && pci_get(bdf, PCI_VENDOR, 2) == EDU_VENDOR &&
            pci_get(bdf, PCI_DEVICE, 2) == EDU_DEVICE)
            second = bdf;
    if (second == PCI_NOT_THERE)
        return;
    second_bar = pci_bar(second, 0);
    pci_command(second, COMMAND_MEMORY | COMMAND_MASTER, 0);
}

static const char *needs_second(void)
{
    if (needs_edu() != NULL || needs_nosnoop() != NULL)
        return needs_edu() != NULL ? needs_edu() : needs_nosnoop();
    return second != PCI_NOT_THERE ? NULL : "there is one edu";
}

static void put_live(const struct pci_bar *bar, uint32_t value)
{
    edu_map(bar);
    edu_put(EDU_LIVE, value);
}

static void expect_live(const struct pci_bar *bar, const char *whose, uint32_t value)
{
    edu_map(bar);
    expect(edu_get(EDU_LIVE) == ~value, "%s: %x, not %x", whose, edu_get(EDU_LIVE), ~value);
}

/* At one place one answers; each is as it was when they are apart again, and does its own DMA. */
static void bar_over_another(void)
{
    dma_begin(DMA_WB);
    put_live(&edu_bar, 1);
    put_live(&second_bar, 2);
    move_to((uint32_t)second_bar.address);
    edu_map(&second_bar);
    uint32_t there = edu_get(EDU_LIVE);
    expect(there == ~1u || there == ~2u, "at one place: %x", there);
    move_to((uint32_t)edu_bar.address);
    expect_live(&edu_bar, "the first", 1);
    expect_live(&second_bar, "the second", 2);
    expect_works();
    edu_map(&edu_bar);
    expect_works();
    dma_end();
}

enum { VECTOR_FIRST = 0x51, VECTOR_SECOND = 0x52 };

static void acknowledge(unsigned cpu, unsigned vector)
{
    (void)cpu;
    edu_map(vector == VECTOR_FIRST ? &edu_bar : &second_bar);
    edu_put(EDU_ACK, edu_get(EDU_IRQ));
}

static void raise_on(const struct pci_bar *bar)
{
    edu_map(bar);
    edu_put(EDU_RAISE, 1);
}

static void expect_taken(uint32_t first, uint32_t second_count)
{
    unsigned cpu = smp_index();
    dma_wait(VECTOR_FIRST, first);
    dma_wait(VECTOR_SECOND, second_count);
    expect(taken_of(cpu, VECTOR_FIRST) == first && taken_of(cpu, VECTOR_SECOND) == second_count,
           "%u and %u, not %u and %u", taken_of(cpu, VECTOR_FIRST), taken_of(cpu, VECTOR_SECOND),
           first, second_count);
}

/* The machine's line may be one, the guest's are two: each has its own interrupts, also at once. */
static void lines_of_both(void)
{
    if (!expect(pci_open_intx(edu, VECTOR_FIRST) && pci_open_intx(second, VECTOR_SECOND),
                "no INTx"))
        return;
    taken_hook = acknowledge; /* a forged message may have asserted one: see above */
    sti();
    machine_spin(1);
    cli();
    taken_clear();
    taken_hook = acknowledge;
    raise_on(&edu_bar);
    expect_taken(1, 0);
    raise_on(&second_bar);
    expect_taken(1, 1);
    raise_on(&edu_bar);
    raise_on(&second_bar);
    expect_taken(2, 2);
    pci_close_intx(edu);
    raise_on(&second_bar);
    expect_taken(2, 3);
    pci_close_intx(second);
    taken_hook = NULL;
    edu_map(&edu_bar);
}

/* --- the guest's end -------------------------------------------------------------------------- */

/* Where nothing is loaded, and dma_init() fills nothing. */
static struct record {
    uint64_t magic, boots;
    volatile uint8_t *late; /* where the last transfer was to go: a page of the pool */
    /* Boots that found it come, never ended, or the device a bus master. */
    uint64_t arrived, endless, masters;
} *const record = (struct record *)0x70000;
#define MAGIC 0x61747461636b6564ull
static uint64_t boots;

static void count_boots(void)
{
    if (record->magic != MAGIC)
        *record = (struct record){.magic = MAGIC};
    boots = ++record->boots;
}

/* Sleeps until the device has ended what it was told in the boot before; false: for 2 s. */
static bool sleep_until_done(void)
{
    enum { TICKS = 2000000, PATIENCE_MS = 2000 };
    uint64_t start = rdtsc();
    while ((edu_get(EDU_DMA) & DMA_START) != 0 && rdtsc() - start < machine_ticks(PATIENCE_MS))
        apic_sleep(VECTOR_SLEEP, TICKS);
    return (edu_get(EDU_DMA) & DMA_START) == 0;
}

/* Whether a page of the pool, which is not mapped yet, is no longer as dma_begin() had left it. */
static bool has_changed(const volatile uint8_t *page)
{
    const volatile uint8_t *physical = (const volatile uint8_t *)dma_address(page);
    for (unsigned i = 0; i < PAGE_SIZE; i++)
        if (physical[i] != dma_pattern(page + i))
            return true;
    return false;
}

static void look_at_last(void)
{
    record->masters += (pci_get(edu, PCI_COMMAND, 2) & COMMAND_MASTER) != 0;
    record->endless += !sleep_until_done();
    record->arrived += has_changed(record->late);
}

/* A transfer into memory that comes when the guest is gone; it brings what is not the pattern. */
static noreturn void die(void)
{
    pci_command(edu, COMMAND_MASTER, 0);
    dma_begin(DMA_WB);
    record->late = (volatile uint8_t *)dma_take(8) + 5 * PAGE_SIZE;
    edu_start(EDU_BUFFER, dma_address(record->late), BYTES, DMA_FROM_DEVICE);
    for (;;)
        out8(KEYBOARD, RESET);
}

static void after_death(void)
{
    edu_expect();
    if (needs_edu() != NULL)
        return;
    expect(boots == 1 + cmdline_number("dies", 0), "boot %lu", boots);
    expect(record->arrived == 0, "%lu transfers have come", record->arrived);
    expect(record->endless == 0, "%lu transfers have no end", record->endless);
    expect(record->masters == 0, "in %lu boots it is a bus master", record->masters);
    dma_check_memory();
    dma_begin(DMA_WB);
    pci_command(edu, COMMAND_MASTER, 0);
    expect_works();
    dma_end();
}

/* --- tables ----------------------------------------------------------------------------------- */

static const char *needs_vm_and_edu(void)
{
    return needs_nosnoop() != NULL ? needs_nosnoop() : needs_edu();
}

/* Elsewhere these are vectors that an emulator may let through. */
static const char *needs_indices(void)
{
    return cmdline_has("index", "yes") ? needs_edu() : "a message's data is no index here";
}

static const char *needs_harmless_messages(void)
{
    if (needs_vm_and_edu() != NULL)
        return needs_vm_and_edu();
    return cmdline_has("others", "yes") ? "emulator: DMA has no requester, and reaches others"
                                        : NULL;
}

static const struct test_case cases[] = {
    {"the function is found", NULL, edu_expect},
    {"DMA to memory of others", needs_edu, memory_of_others},
    {"messages in compatibility format", needs_edu, compatibility_format},
    {"messages in remappable format", needs_harmless_messages, remappable_format},
    {"messages by index", needs_indices, messages_by_index},
    {"a BAR over everything", needs_vm_and_edu, bars_over_everything},
    {"a BAR over another's", needs_second, bar_over_another},
    {"interrupts of two devices on one line", needs_second, lines_of_both},
    {"no other memory has changed", needs_edu, dma_check_memory},
};

static const struct test_case restarted[] = {
    {"DMA on the way when the guest ends", NULL, after_death},
};

static const struct test_case counted[] = {
    {"DMA that is blocked", needs_edu, faults},
};

static noreturn void run(const struct test_case *table, unsigned count)
{
    ktap_begin(count);
    ktap_run(table, count);
    if (!cmdline_has("stays", "yes"))
        ktap_end();
    print("stays\n");
    for (;;)
        cpu_relax();
}

void test_main(void)
{
    uint64_t dies = cmdline_number("dies", 0);
    taken_init();
    apic_enable();
    pci_init();
    edu_find();
    count_boots();
    if (boots == 1) {
        dma_init();
    } else {
        look_at_last();
        dma_init_again();
    }
    if (boots <= dies && edu != PCI_NOT_THERE)
        die();
    if (dies != 0)
        run(restarted, ARRAY_SIZE(restarted));
    if (edu != PCI_NOT_THERE)
        pci_command(edu, COMMAND_MASTER, 0);
    find_second();
    if (cmdline_number("faults", 0) != 0)
        run(counted, ARRAY_SIZE(counted));
    run(cases, ARRAY_SIZE(cases));
}
