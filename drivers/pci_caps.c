/* PCI: a function's capabilities, and those that are turned off or on at once. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/log.h"

#include "drivers/pci_parts.h"

enum { STATUS_LIST = 1 << 4, CARDBUS_CAPABILITIES = 0x14, FIRST = 0x40 };

/* PCI Code and ID Assignment Specification, "Capability IDs" and "Extended Capability IDs". */
enum { CAP_PM = 0x01, CAP_MSI = 0x05, CAP_PCIE = 0x10, CAP_MSIX = 0x11, CAP_AF = 0x13 };
enum { EXT_ACS = 0x0d, EXT_ATS = 0x0f, EXT_SRIOV = 0x10, EXT_PRI = 0x13, EXT_PASID = 0x1b };

/* --- the lists -------------------------------------------------------------------------------- */

/* Where struct pci_function has a capability of SIZE bytes. */
struct known {
    uint16_t id, field;
    uint8_t size;
};

#define FIELD(name) offsetof(struct pci_function, name)
static const struct known capabilities[] = {
    {CAP_PM, FIELD(pm), 8},      {CAP_MSI, FIELD(msi), 10}, {CAP_PCIE, FIELD(pcie), 12},
    {CAP_MSIX, FIELD(msix), 12}, {CAP_AF, FIELD(af), 6},
};
static const struct known extended[] = {
    {EXT_ACS, FIELD(acs), 8},  {EXT_ATS, FIELD(ats), 8},     {EXT_SRIOV, FIELD(sriov), 64},
    {EXT_PRI, FIELD(pri), 16}, {EXT_PASID, FIELD(pasid), 8},
};

/* MSI has 4 bytes more for 64 address bits and 10 for masks; PCI Express 32 from version 2 on. */
static unsigned size_of(struct pci_bdf bdf, const struct known *known, unsigned at)
{
    unsigned word = pci_read16(bdf, at + 2);
    if (known->field == FIELD(msi))
        return known->size + ((word & 1 << 7) != 0 ? 4u : 0) + ((word & 1 << 8) != 0 ? 10u : 0);
    if (known->field == FIELD(pcie))
        return known->size + ((word & 0xf) < 2 ? 0 : 32u);
    return known->size;
}

/* The first of each ID counts, if it lies in the space below END. */
static void take(struct pci_function *f, const struct known *known, unsigned count, unsigned id,
                 unsigned at)
{
    unsigned end = known == extended ? PCI_CONFIG_END : PCI_EXTENDED;
    for (unsigned i = 0; i < count; i++) {
        uint16_t *reg = (uint16_t *)(void *)((char *)f + known[i].field);
        if (known[i].id == id && *reg == 0 && at + size_of(f->bdf, &known[i], at) <= end)
            *reg = (uint16_t)at;
    }
}

/* A list that leads outside, or in a circle: there is no room for more than MOST. */
static void senseless(const struct pci_function *f, unsigned at)
{
    log_line("pci %s: its list of capabilities makes no sense at register 0x%x; the rest is left "
             "out",
             pci_name(f->bdf).text, at);
}

/* PCI Local Bus Specification, "Capabilities List". */
static void walk(struct pci_function *f)
{
    enum { MOST = (PCI_EXTENDED - FIRST) / 4 };
    unsigned head = f->header == 2 ? CARDBUS_CAPABILITIES : PCI_CAPABILITIES;
    if ((pci_read16(f->bdf, PCI_STATUS) & STATUS_LIST) == 0)
        return;
    unsigned at = pci_read8(f->bdf, head) & 0xfc;
    for (unsigned i = 0; at != 0; i++) {
        uint16_t entry = at < FIRST ? UINT16_MAX : pci_read16(f->bdf, at);
        if ((entry & 0xff) == 0xff || i == MOST) {
            senseless(f, at);
            return;
        }
        take(f, capabilities, ARRAY_SIZE(capabilities), entry & 0xff, at);
        at = entry >> 8 & 0xfc;
    }
}

/*
 * PCI Express Base Specification, "Extended Capabilities": there are none behind a conventional
 * bus, where these registers may show others.
 */
static bool has_extended(const struct pci_function *f)
{
    bool express = f->pcie != 0;
    for (const struct pci_function *b = f->parent; b != NULL && express; b = b->parent)
        express = b->pcie != 0 && b->port != PCI_PORT_TO_PCI && b->port != PCI_PORT_FROM_PCI;
    return express;
}

static void walk_extended(struct pci_function *f)
{
    enum { MOST = (PCI_CONFIG_END - PCI_EXTENDED) / 4 };
    unsigned at = has_extended(f) ? PCI_EXTENDED : 0;
    for (unsigned i = 0; at != 0; i++) {
        uint32_t entry = at < PCI_EXTENDED ? UINT32_MAX : pci_read32(f->bdf, at);
        if (at == PCI_EXTENDED && (entry == 0 || entry == UINT32_MAX))
            return;
        if (entry == UINT32_MAX || i == MOST) {
            senseless(f, at);
            return;
        }
        take(f, extended, ARRAY_SIZE(extended), entry & 0xffff, at);
        at = entry >> 20 & 0xffc;
    }
}

/* --- what is done at once --------------------------------------------------------------------- */

static void find_port(struct pci_function *f)
{
    f->port = PCI_PORT_CONVENTIONAL;
    if (f->pcie == 0)
        return;
    uint16_t flags = pci_read16(f->bdf, f->pcie + PCIE_FLAGS);
    f->port = flags >> 4 & 0xf;
    f->ari = (f->port == PCI_PORT_ROOT || f->port == PCI_PORT_DOWNSTREAM) && (flags & 0xf) >= 2 &&
             (pci_read16(f->bdf, f->pcie + PCIE_DEVICE_CONTROL_2) & 1 << 5) != 0;
}

/* Single Root I/O Virtualization and Sharing Specification, "SR-IOV Control". */
static void stop_virtual_functions(struct pci_function *f)
{
    enum { CONTROL = 0x08, ENABLE = 1 << 0, MEMORY = 1 << 3 };
    uint16_t control = f->sriov == 0 ? 0 : pci_read16(f->bdf, f->sriov + CONTROL);
    f->virtual_functions = (control & ENABLE) != 0;
    if (f->virtual_functions)
        pci_write16(f->bdf, f->sriov + CONTROL, control & (uint16_t) ~(ENABLE | MEMORY));
}

static void turn_off(const struct pci_function *f, unsigned at, unsigned bit)
{
    uint16_t control = pci_read16(f->bdf, at);
    if ((control & bit) != 0)
        pci_write16(f->bdf, at, control & (uint16_t)~bit);
}

/*
 * PCI Express Base Specification, "Page Request Control Register", "ATS Control Register", "PASID
 * Control Register", which is not to change while ATS is on. No guest reaches these; what a device
 * sends as translated by itself all the same, the units' entries refuse.
 */
static void stop_translation(const struct pci_function *f)
{
    if (f->pri != 0)
        turn_off(f, f->pri + 4u, 1 << 0);
    if (f->ats != 0)
        turn_off(f, f->ats + 6u, 1 << 15);
    if (f->pasid != 0)
        turn_off(f, f->pasid + 6u, 1 << 0);
}

/*
 * PCI Express Base Specification, "ACS Functions and Capabilities". A switch's port must have all
 * four; what a root port lacks of redirection, and what another function lacks, it has no need of:
 * it never sends to a peer.
 */
static void turn_acs_on(struct pci_function *f)
{
    enum { SOURCE = 1 << 0, BLOCK = 1 << 1, REQUEST = 1 << 2, COMPLETION = 1 << 3, UP = 1 << 4 };
    const unsigned redirects = REQUEST | COMPLETION | UP;
    bool port = f->port == PCI_PORT_ROOT || f->port == PCI_PORT_DOWNSTREAM;
    f->isolates = !port && !f->multifunction;
    if (f->acs == 0)
        return;
    unsigned can = pci_read16(f->bdf, f->acs + ACS_CAP) & (SOURCE | BLOCK | redirects);
    pci_write16(f->bdf, f->acs + ACS_CONTROL, (uint16_t)can);
    unsigned does = pci_read16(f->bdf, f->acs + ACS_CONTROL);
    unsigned needs = f->port == PCI_PORT_DOWNSTREAM ? SOURCE | redirects
                     : f->port == PCI_PORT_ROOT     ? SOURCE | (can & redirects)
                                                    : can & redirects;
    f->isolates = (does & needs) == needs;
}

void pci_find_capabilities(struct pci_function *f)
{
    walk(f);
    walk_extended(f);
    find_port(f);
    stop_virtual_functions(f);
    stop_translation(f);
    turn_acs_on(f);
}
