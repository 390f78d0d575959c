/* PCI: goes through all buses, silences what is found, and makes the table of functions. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/log.h"

#include "drivers/pci_parts.h"

enum { HEADER_TYPE = 0x7f, HEADER_MULTIFUNCTION = 0x80 };

static bool is_there(struct pci_bdf bdf)
{
    uint32_t id = pci_read32(bdf, PCI_VENDOR);
    return id != 0 && (uint16_t)id != 0xffff;
}

/*
 * A display goes on scanning out its memory, a bridge passes on what is behind it, and an IOMMU's
 * tables are the host's. Nothing that interrupts may hold a line that another function shares.
 */
static void silence(const struct pci_function *f)
{
    uint16_t command = pci_read16(f->bdf, PCI_COMMAND), wanted = command | PCI_COMMAND_NO_INTX;
    if (!pci_is_display(f) && f->class >> 16 != PCI_CLASS_BRIDGE && !pci_is_iommu(f))
        wanted &= (uint16_t)~PCI_COMMAND_MASTER;
    if (wanted != command)
        pci_write16(f->bdf, PCI_COMMAND, wanted);
}

/* Bridges lead to higher buses only: then there are no loops. */
static void take_buses(struct pci_function *f)
{
    uint8_t first = pci_read8(f->bdf, PCI_SECONDARY), last = pci_read8(f->bdf, PCI_SUBORDINATE);
    if (first > f->bdf.bus && last >= first) {
        f->secondary = first;
        f->subordinate = last;
    } else if (first != 0 || last != 0) {
        log_line("pci %s: a bridge to buses %02x to %02x makes no sense; update the firmware",
                 pci_name(f->bdf).text, first, last);
    }
}

static void identify(struct pci_function *f)
{
    uint32_t id = pci_read32(f->bdf, PCI_VENDOR);
    f->vendor = (uint16_t)id;
    f->device = (uint16_t)(id >> 16);
    f->class = pci_read32(f->bdf, PCI_REVISION) >> 8;
    f->header = pci_read8(f->bdf, PCI_HEADER) & HEADER_TYPE;
    if (f->header == 1 || f->header == 2)
        take_buses(f);
}

static void take_function(struct pci_table *table, const struct pci_function *parent,
                          struct pci_bdf bdf, bool many)
{
    struct pci_function f = {.bdf = bdf, .parent = parent, .multifunction = many};
    identify(&f);
    silence(&f);
    pci_find_capabilities(&f);
    if (table->count < PCI_MAX_FUNCTIONS)
        table->f[table->count++] = f;
    else
        table->left_out++;
}

/* The bridge that leads to a bus: of those whose buses it is one of, the nearest. */
static const struct pci_function *bridge_to(const struct pci_table *table, uint16_t segment,
                                            uint8_t bus)
{
    const struct pci_function *nearest = NULL;
    for (unsigned i = 0; i < table->count; i++) {
        const struct pci_function *f = &table->f[i];
        if (f->bdf.segment == segment && f->secondary != 0 && f->secondary <= bus &&
            bus <= f->subordinate && (nearest == NULL || f->secondary > nearest->secondary))
            nearest = f;
    }
    return nearest;
}

/*
 * PCI Express Base Specification, "Configuration Request Routing Rules": behind a port there is
 * device 0 alone, or with ARI one device whose function numbers are the device's bits, too.
 */
static void scan_bus(struct pci_table *table, uint16_t segment, uint8_t bus)
{
    const struct pci_function *bridge = bridge_to(table, segment, bus);
    bool port = bridge != NULL && bridge->secondary == bus &&
                (bridge->port == PCI_PORT_ROOT || bridge->port == PCI_PORT_DOWNSTREAM);
    bool ari = port && bridge->ari;
    for (uint8_t device = 0; device < (port && !ari ? 1 : 32); device++) {
        struct pci_bdf bdf = {segment, bus, device, 0};
        bool there = is_there(bdf);
        if (!there && !ari)
            continue;
        bool many = ari || (pci_read8(bdf, PCI_HEADER) & HEADER_MULTIFUNCTION) != 0;
        for (; bdf.function < (many ? 8 : 1); bdf.function++)
            if (is_there(bdf))
                take_function(table, bridge, bdf, many);
    }
}

/* Root buses may have any number: no bus is passed over. */
static void scan_buses(struct pci_table *table, uint16_t segment, unsigned first, unsigned last)
{
    for (unsigned bus = first; bus <= last; bus++)
        scan_bus(table, segment, (uint8_t)bus);
}

void pci_scan(struct pci_table *table, const struct pci_ecams *ecams)
{
    table->count = table->left_out = 0;
    scan_buses(table, 0, 0, 255);
    for (unsigned i = 0; i < ecams->count; i++)
        if (ecams->r[i].segment != 0)
            scan_buses(table, ecams->r[i].segment, ecams->r[i].first, ecams->r[i].last);
    for (unsigned i = 0; i < table->count; i++)
        pci_find_bars(&table->f[i]);
    pci_make_groups(table);
    pci_find_resets(table);
    if (table->left_out != 0)
        log_line("pci: %u functions more than %u are left out", table->left_out, table->count);
}

struct pci_function *pci_find(struct pci_table *table, struct pci_bdf bdf)
{
    for (unsigned i = 0; i < table->count; i++)
        if (pci_same_bdf(table->f[i].bdf, bdf))
            return &table->f[i];
    return NULL;
}
