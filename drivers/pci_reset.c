/* PCI: resets of functions. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/errno.h"
#include "lib/log.h"

#include "drivers/pci_parts.h"

enum { MS = 1000 }; /* microseconds */

/* PCI Express Base Specification, "Device Capabilities", "Device Control", "Device Status". */
enum { HAS_FLR = 1 << 28, START_FLR = 1 << 15, PENDING = 1 << 5 };
enum { SHOWS_LINK = 1 << 20, LINK_ACTIVE = 1 << 13 };
/* PCI-SIG ECN "Advanced Capabilities for Conventional PCI". */
enum { AF_CAP = 3, AF_CONTROL = 4, AF_STATUS = 5, AF_HAS_TP_AND_FLR = 3 };
/* PCI Bus Power Management Interface Specification, "Power Management Control/Status". */
enum { PM_CONTROL = 4, PM_STATE = 3, PM_D3HOT = 3, PM_NO_SOFT_RESET = 1 << 3, PM_PME = 1 << 15 };
enum { BRIDGE_RESET = 1 << 6 };

/* --- which ------------------------------------------------------------------------------------ */

/* Whether a reset of the bus behind F's bridge takes no other function along. */
static bool is_alone(const struct pci_table *table, const struct pci_function *f)
{
    const struct pci_function *bridge = f->parent;
    if (bridge == NULL || bridge->header != 1 || bridge->secondary != f->bdf.bus ||
        table->left_out != 0)
        return false;
    for (unsigned i = 0; i < table->count; i++)
        if (table->f[i].parent == bridge && &table->f[i] != f)
            return false;
    return true;
}

/*
 * What is surest comes first. D3hot is the last: how much of a function it resets is the function's
 * affair.
 */
static enum pci_reset_method method(const struct pci_table *table, const struct pci_function *f)
{
    struct pci_bdf bdf = f->bdf;
    if (pci_is_bridge(f) || pci_is_iommu(f))
        return PCI_RESET_NONE;
    if (f->pcie != 0 && (pci_read32(bdf, f->pcie + PCIE_DEVICE_CAP) & HAS_FLR) != 0)
        return PCI_RESET_FLR;
    if (f->af != 0 && (pci_read8(bdf, f->af + AF_CAP) & AF_HAS_TP_AND_FLR) == AF_HAS_TP_AND_FLR)
        return PCI_RESET_AF;
    if (is_alone(table, f))
        return PCI_RESET_BUS;
    if (f->pm != 0 && (pci_read16(bdf, f->pm + PM_CONTROL) & PM_NO_SOFT_RESET) == 0)
        return PCI_RESET_PM;
    return PCI_RESET_NONE;
}

void pci_find_resets(struct pci_table *table)
{
    for (unsigned i = 0; i < table->count; i++)
        table->f[i].reset = (uint8_t)method(table, &table->f[i]);
}

/* --- how -------------------------------------------------------------------------------------- */

typedef void wait(uint32_t us);

static bool has_pending(const struct pci_function *f)
{
    if (f->pcie != 0)
        return (pci_read16(f->bdf, f->pcie + PCIE_DEVICE_STATUS) & PENDING) != 0;
    return f->af != 0 && (pci_read8(f->bdf, f->af + AF_STATUS) & 1) != 0;
}

/* PCI Express Base Specification, "Function Level Reset": what is under way ends before. */
static void drain(const struct pci_function *f, wait *delay)
{
    enum { PATIENCE = 200 };
    for (unsigned ms = 0; ms < PATIENCE && has_pending(f); ms++)
        delay(MS);
    if (has_pending(f))
        log_line("pci %s: transactions are pending; it is reset all the same",
                 pci_name(f->bdf).text);
}

static void reset_by_flr(const struct pci_function *f, wait *delay)
{
    uint16_t control = pci_read16(f->bdf, f->pcie + PCIE_DEVICE_CONTROL);
    pci_write16(f->bdf, f->pcie + PCIE_DEVICE_CONTROL, control | START_FLR);
    delay(100 * MS);
}

static void reset_by_af(const struct pci_function *f, wait *delay)
{
    pci_write8(f->bdf, f->af + AF_CONTROL, 1);
    delay(100 * MS);
}

/* "Power Management State Transition": 10 ms each way. */
static void reset_by_pm(const struct pci_function *f, wait *delay)
{
    unsigned reg = f->pm + PM_CONTROL;
    unsigned control = pci_read16(f->bdf, reg) & ~(unsigned)(PM_STATE | PM_PME);
    pci_write16(f->bdf, reg, (uint16_t)(control | PM_D3HOT));
    delay(10 * MS);
    pci_write16(f->bdf, reg, (uint16_t)control);
    delay(10 * MS);
}

/* Whether a link of PCI Express, and no conventional bus, leads from the bridge to F. */
static bool is_by_link(const struct pci_function *f)
{
    unsigned port = f->parent->port;
    return port == PCI_PORT_ROOT || port == PCI_PORT_DOWNSTREAM || port == PCI_PORT_FROM_PCI;
}

/* The same, "Link Capabilities", "Link Status": a port that can go faster than 5 GT/s shows it. */
static bool shows_link(const struct pci_function *port)
{
    return (pci_read32(port->bdf, port->pcie + PCIE_LINK_CAP) & SHOWS_LINK) != 0 &&
           (pci_read16(port->bdf, port->pcie + PCIE_LINK_STATUS) & LINK_ACTIVE) != 0;
}

/* "Configuration Request Retry Status": a root that shows it gives the vendor 0001h. */
static bool answers(struct pci_bdf bdf)
{
    uint16_t vendor = pci_read16(bdf, PCI_VENDOR);
    return vendor != 0xffff && vendor != 0x0001;
}

/*
 * Whether F has been taken out, as far as its port shows that; or the port itself has. What answers
 * is there, whatever its port says of the link.
 */
static bool is_cut_off(const struct pci_function *f)
{
    const struct pci_function *port = f->parent;
    if (port == NULL || port->pcie == 0 || !is_by_link(f) || answers(f->bdf))
        return false;
    uint32_t cap = pci_read32(port->bdf, port->pcie + PCIE_LINK_CAP);
    return cap == UINT32_MAX || ((cap & SHOWS_LINK) != 0 && !shows_link(port));
}

/*
 * PCI Express Base Specification, "Conventional Reset", has the first request 100 ms after, which
 * begin when the link is up; PCI Local Bus Specification, "Timing and Configuration
 * Specifications", 2^25 clocks: a second.
 */
static void reset_by_bus(const struct pci_function *f, wait *delay)
{
    enum { PATIENCE = 1000 };
    const struct pci_function *bridge = f->parent;
    uint16_t control = pci_read16(bridge->bdf, PCI_BRIDGE_CONTROL);
    bool shown = is_by_link(f) && shows_link(bridge); /* what leads to F is up */
    pci_write16(bridge->bdf, PCI_BRIDGE_CONTROL, control | BRIDGE_RESET);
    delay(2 * MS);
    pci_write16(bridge->bdf, PCI_BRIDGE_CONTROL, control & (uint16_t)~BRIDGE_RESET);
    for (unsigned ms = 0; shown && ms < PATIENCE && !shows_link(bridge); ms++)
        delay(MS);
    delay(is_by_link(f) ? 100 * MS : 1000 * MS);
}

/* A function whose link starts anew with it is waited for. */
static int wait_until_back(const struct pci_function *f, wait *delay)
{
    enum { LINK_PATIENCE = 1000, PATIENCE = 10000 };
    for (unsigned ms = 0; ms < PATIENCE; ms++) {
        if (answers(f->bdf))
            return 0;
        if (ms >= LINK_PATIENCE && is_cut_off(f)) {
            log_line("pci %s: its link is down after its reset", pci_name(f->bdf).text);
            return -EIO;
        }
        delay(MS);
    }
    log_line("pci %s: it does not answer %u s after its reset", pci_name(f->bdf).text,
             PATIENCE / 1000);
    return -EIO;
}

int pci_reset(const struct pci_function *f, wait *delay)
{
    static void (*const by[])(const struct pci_function *, wait *) = {
        [PCI_RESET_FLR] = reset_by_flr,
        [PCI_RESET_AF] = reset_by_af,
        [PCI_RESET_PM] = reset_by_pm,
        [PCI_RESET_BUS] = reset_by_bus,
    };
    if (f->reset == PCI_RESET_NONE)
        return -ENODEV;
    if (f->reset != PCI_RESET_BUS && is_cut_off(f)) {
        log_line("pci %s: its link is down: it cannot be reset", pci_name(f->bdf).text);
        return -EIO;
    }
    pci_write16(f->bdf, PCI_COMMAND, PCI_COMMAND_NO_INTX);
    drain(f, delay);
    by[f->reset](f, delay);
    return wait_until_back(f, delay);
}

/* --- what it takes ---------------------------------------------------------------------------- */

void pci_save(const struct pci_function *f, struct pci_saved *saved)
{
    *saved = (struct pci_saved){.device_control = 0};
    for (unsigned i = 0; i < PCI_BARS; i++)
        saved->bar[i] = pci_read32(f->bdf, PCI_BAR0 + 4 * i);
    if (f->pcie != 0)
        saved->device_control = pci_read16(f->bdf, f->pcie + PCIE_DEVICE_CONTROL);
    if (f->acs != 0)
        saved->acs_control = pci_read16(f->bdf, f->acs + ACS_CONTROL);
    saved->device_control &= (uint16_t)~START_FLR;
}

/* Max_Payload_Size is what the ports before it have been told, and ACS what groups rest on. */
void pci_restore(const struct pci_function *f, const struct pci_saved *saved)
{
    for (unsigned i = 0; i < PCI_BARS; i++)
        pci_write32(f->bdf, PCI_BAR0 + 4 * i, saved->bar[i]);
    if (f->pcie != 0)
        pci_write16(f->bdf, f->pcie + PCIE_DEVICE_CONTROL, saved->device_control);
    if (f->acs != 0)
        pci_write16(f->bdf, f->acs + ACS_CONTROL, saved->acs_control);
}
