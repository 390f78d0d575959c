/* PCI configuration space, by configuration mechanism 1. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/pci.h"

#include "lib/assert.h"
#include "lib/x86.h"

enum { CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc };
enum { REG_ID = 0x00, REG_CLASS = 0x08, REG_HEADER = 0x0c, REG_BAR0 = 0x10, REG_BUSES = 0x18 };
enum { CLASS_PCI_BRIDGE = 0x0604 };
enum { BAR_IO = 1, BAR_64 = 4 };

uint32_t pci_read(struct pci_bdf bdf, uint8_t reg)
{
    assert(reg % 4 == 0 && bdf.device < 32 && bdf.function < 8);
    out32(CONFIG_ADDRESS, 1u << 31 | (uint32_t)bdf.bus << 16 | (uint32_t)bdf.device << 11 |
                              (uint32_t)bdf.function << 8 | reg);
    return in32(CONFIG_DATA);
}

/* What goes through all functions: buses still to be seen, and what is done with a BAR. */
struct scan {
    uint64_t todo[4], seen[4]; /* a bit for each bus */
    void (*each)(struct pci_bdf bdf, uint64_t address, void *context);
    void *context;
};

static void scan_bars(const struct scan *scan, struct pci_bdf bdf, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint32_t low = pci_read(bdf, (uint8_t)(REG_BAR0 + 4 * i));
        uint64_t address = low & ~0xfu;
        if ((low & BAR_IO) != 0)
            continue;
        if ((low & BAR_64) != 0 && i + 1 < count)
            address |= (uint64_t)pci_read(bdf, (uint8_t)(REG_BAR0 + 4 * ++i)) << 32;
        if (address != 0)
            scan->each(bdf, address, scan->context);
    }
}

static void scan_function(struct scan *scan, struct pci_bdf bdf)
{
    uint32_t class = pci_read(bdf, REG_CLASS) >> 16;
    unsigned header = pci_read(bdf, REG_HEADER) >> 16 & 0x7f;
    if (class == CLASS_PCI_BRIDGE && header == 1) {
        uint8_t secondary = (uint8_t)(pci_read(bdf, REG_BUSES) >> 8);
        scan->todo[secondary / 64] |= 1ull << secondary % 64;
    }
    scan_bars(scan, bdf, header == 0 ? 6 : header == 1 ? 2 : 0);
}

static void scan_bus(struct scan *scan, uint8_t bus)
{
    for (uint8_t device = 0; device < 32; device++) {
        struct pci_bdf bdf = {bus, device, 0};
        if ((uint16_t)pci_read(bdf, REG_ID) == 0xffff)
            continue;
        bool many = (pci_read(bdf, REG_HEADER) >> 23 & 1) != 0;
        for (; bdf.function < (many ? 8 : 1); bdf.function++)
            if ((uint16_t)pci_read(bdf, REG_ID) != 0xffff)
                scan_function(scan, bdf);
    }
}

void pci_each_bar(void (*each)(struct pci_bdf bdf, uint64_t address, void *context), void *context)
{
    struct scan scan = {.todo = {1}, .each = each, .context = context};
    for (unsigned bus = 0; bus < 256;) {
        uint64_t bit = 1ull << bus % 64;
        bool scans = (scan.todo[bus / 64] & ~scan.seen[bus / 64] & bit) != 0;
        scan.seen[bus / 64] |= scans ? bit : 0;
        if (scans)
            scan_bus(&scan, (uint8_t)bus);
        bus = scans ? 0 : bus + 1; /* a bridge may lead to a lower number */
    }
}
