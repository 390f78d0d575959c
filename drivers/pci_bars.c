/* PCI: a function's base addresses and their sizes. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/log.h"

#include "drivers/pci_parts.h"

/* PCI Local Bus Specification, "Base Addresses" and "Expansion ROM Base Address Register". */
enum { BAR_IO = 1 << 0, BAR_TYPE = 3 << 1, BAR_WIDE = 2 << 1, BAR_PREFETCHABLE = 1 << 3 };
enum { ROM_SIZE_MAX = 16 * 1024 * 1024, ROM = PCI_BARS }; /* ROM: its number in the log */
#define ROM_ADDRESS 0xfffff800u

/* What is done with a function. */
struct work {
    struct pci_function *f;
    bool sizes;         /* decoding is off */
    unsigned senseless; /* a bit for each BAR, and for the ROM */
};

/* Which bits can be set; what was there is there again. */
static uint32_t probe(struct pci_bdf bdf, unsigned reg, uint32_t ones)
{
    uint32_t old = pci_read32(bdf, reg);
    pci_write32(bdf, reg, ones);
    uint32_t set = pci_read32(bdf, reg);
    pci_write32(bdf, reg, old);
    return set;
}

/* Address bits that can be set must be all from one on; false: they make no sense. */
static bool take_size(struct pci_bar *bar, uint64_t set, uint64_t most)
{
    bar->size = set & (0 - set);
    return set == 0 - bar->size && bar->size <= most && is_aligned(bar->address, bar->size);
}

/* What BAR is, I in the log, of address bits that can be SET; where it is not sized SET is 0. */
static void judge(struct work *work, struct pci_bar *bar, unsigned i, uint64_t set, uint64_t most)
{
    bool none = work->sizes ? set == 0 : bar->address == 0;
    bool sane = none ? bar->address == 0 : !work->sizes || take_size(bar, set, most);
    if (none || !sane)
        *bar = (struct pci_bar){.kind = PCI_BAR_NONE};
    if (!sane)
        work->senseless |= 1u << i;
}

/* Bits from FIRST on are there if any other is. */
static uint64_t widened(uint64_t set, unsigned first)
{
    return set == 0 ? 0 : set | UINT64_MAX << first;
}

/* It may lack its upper 16 bits. */
static void take_io(struct work *work, unsigned i, uint32_t low)
{
    uint32_t set = work->sizes ? probe(work->f->bdf, PCI_BAR0 + 4 * i, UINT32_MAX) & ~3u : 0;
    work->f->bar[i] = (struct pci_bar){.address = low & ~3u, .kind = PCI_BAR_IO};
    judge(work, &work->f->bar[i], i, widened(set, set >> 16 == 0 ? 16 : 32), 64 * KIB);
}

static void take_memory(struct work *work, unsigned i, uint32_t low, bool wide)
{
    unsigned reg = PCI_BAR0 + 4 * i;
    struct pci_bdf bdf = work->f->bdf;
    uint64_t high = wide ? pci_read32(bdf, reg + 4) : 0;
    uint64_t set = work->sizes ? probe(bdf, reg, UINT32_MAX) & ~0xfu : 0;
    if (work->sizes && wide)
        set |= (uint64_t)probe(bdf, reg + 4, UINT32_MAX) << 32;
    work->f->bar[i] = (struct pci_bar){.address = high << 32 | (low & ~0xfu),
                                       .kind = PCI_BAR_MEMORY,
                                       .wide = wide,
                                       .prefetchable = (low & BAR_PREFETCHABLE) != 0};
    judge(work, &work->f->bar[i], i, wide ? set : widened(set, 32), UINT64_MAX);
}

/* Returns the number of the next one. */
static unsigned take_bar(struct work *work, unsigned i, unsigned count)
{
    uint32_t low = pci_read32(work->f->bdf, PCI_BAR0 + 4 * i);
    bool io = (low & BAR_IO) != 0, wide = !io && (low & BAR_TYPE) == BAR_WIDE;
    if (low == UINT32_MAX || (wide && i + 1 == count) || (!io && (low & BAR_TYPE) == BAR_TYPE))
        work->senseless |= 1u << i;
    else if (io)
        take_io(work, i, low);
    else
        take_memory(work, i, low, wide);
    return i + (wide ? 2 : 1);
}

static void take_rom(struct work *work)
{
    uint32_t low = pci_read32(work->f->bdf, PCI_ROM);
    uint32_t set = probe(work->f->bdf, PCI_ROM, ROM_ADDRESS) & ROM_ADDRESS;
    work->f->rom = (struct pci_bar){.address = low & ROM_ADDRESS, .kind = PCI_BAR_MEMORY};
    judge(work, &work->f->rom, ROM, low == UINT32_MAX ? 1 : widened(set, 32), ROM_SIZE_MAX);
}

/* Decoding of a bridge or of the machine's own parts is not touched: these are nobody's. */
static void size_device(struct work *work)
{
    const uint16_t decode = PCI_COMMAND_IO | PCI_COMMAND_MEMORY;
    struct pci_bdf bdf = work->f->bdf;
    uint16_t command = pci_read16(bdf, PCI_COMMAND);
    pci_write16(bdf, PCI_COMMAND, command & (uint16_t)~decode);
    work->sizes = (pci_read16(bdf, PCI_COMMAND) & decode) == 0;
    for (unsigned i = 0; i < PCI_BARS;)
        i = take_bar(work, i, PCI_BARS);
    if (work->sizes)
        take_rom(work);
    pci_write16(bdf, PCI_COMMAND, command);
}

void pci_find_bars(struct pci_function *f)
{
    struct work work = {.f = f};
    unsigned count = f->header == 0 ? PCI_BARS : f->header == 1 ? 2 : 0;
    if (f->header == 0 && !pci_is_bridge(f) && !pci_is_iommu(f))
        size_device(&work);
    else
        for (unsigned i = 0; i < count;)
            i = take_bar(&work, i, count);
    for (unsigned i = 0; i <= ROM; i++)
        if ((work.senseless >> i & 1) != 0)
            log_line("pci %s: %s %u makes no sense; it is left out", pci_name(f->bdf).text,
                     i == ROM ? "ROM" : "BAR", i == ROM ? 0 : i);
}
