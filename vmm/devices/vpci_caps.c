/* A passed-through function as its guest sees it: the list of capabilities, and simple ones. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/vpci.h"

enum { FIRST_CAP = 0x40, DWORD = 4, MSIX_SIZE = 12 };

/* "PCI Bus Power Management Interface Specification": registers, and what is shown of them. */
enum { PM_SIZE = 8, PM_CONTROL = 4, PM_STATE = 3, PM_NO_SOFT_RESET = 1 << 3 };
#define PM_SHOWN 0x0627ffffu /* no PME, no auxiliary power; the header */
#define PM_D1    (1u << 25)
#define PM_D2    (1u << 26)

/* "PCI Express Capability Structure": of version 1 as an endpoint has it. */
enum { PCIE_SIZE_1 = 0x14, PCIE_SIZE_2 = 0x3c, PCIE_LEAST = 0x0c };
enum { PCIE_DEVICE_CAP = 4, PCIE_DEVICE_CONTROL = 8, PCIE_DEVICE_STATUS = 10 };
#define PCIE_VERSION(header) ((header) >> 16 & 15)
#define PCIE_TYPE            0x00f00000u
#define PCIE_TYPE_AT         20
#define PCIE_CAN_FLR         (1u << 28)
#define PCIE_PHANTOM         0x00000018u
#define PCIE_RELAXED         (1u << 4)
#define PCIE_NO_SNOOP        (1u << 11)
#define PCIE_FLR             (1u << 15)
#define PCIE_CLEARED         0x0fu /* of Device Status, by ones */

/* "Advanced Capabilities for Conventional PCI ECN". */
enum { AF_SIZE = 6, AF_CONTROL = 4 };
#define AF_CAN_FLR (1u << 25)
#define AF_FLR     1u
#define AF_PENDING (1u << 8)

/* "Vendor-Specific Capability": the length is in the third byte. */
#define VENDOR_SIZE(header) ((header) >> 16 & 0xff)

/* --- the list --------------------------------------------------------------------------------- */

/* Bytes of a capability by its first 4; 0: it is not understood. */
static unsigned size_of(uint32_t header)
{
    switch (header & 0xff) {
    case CAP_PM:
        return PM_SIZE;
    case CAP_MSI:
        return vpci_msi_size(header);
    case CAP_MSIX:
        return MSIX_SIZE;
    case CAP_PCIE:
        return PCIE_VERSION(header) < 2 ? PCIE_SIZE_1 : PCIE_SIZE_2;
    case CAP_AF:
        return AF_SIZE;
    case CAP_VENDOR:
        return VENDOR_SIZE(header) < DWORD ? DWORD : VENDOR_SIZE(header);
    default:
        return 0;
    }
}

/* How many of these must have room. */
static unsigned least_of(uint32_t header, unsigned size)
{
    unsigned id = header & 0xff;
    return id == CAP_PCIE ? PCIE_LEAST : id == CAP_VENDOR ? DWORD : size;
}

/*
 * Takes what the model has to know of it; false: it is to be hidden. So is one that the owner, who
 * acts on it, does not know or knows elsewhere: lists may change, as by a reset.
 */
static bool accept(struct vpci *v, unsigned at, uint32_t header)
{
    const struct pci_function *real = v->setup.real;
    switch (header & 0xff) {
    case CAP_MSI:
        return at == real->msi && vpci_accept_msi(v, header);
    case CAP_MSIX:
        return at == real->msix && vpci_accept_msix(v, at, header);
    case CAP_PCIE:
        if (at != real->pcie)
            return false;
        v->pcie = (uint8_t)at;
        v->device_control = (uint16_t)vpci_real(v, at + PCIE_DEVICE_CONTROL, 2);
        v->device_control &= (uint16_t) ~(PCIE_FLR | (v->setup.snoops ? PCIE_NO_SNOOP : 0));
        return true;
    default:
        return true;
    }
}

static bool is_shown(const struct vpci *v, unsigned id)
{
    for (unsigned i = 0; i < v->cap_count; i++)
        if (v->caps[i].id == id)
            return true;
    return false;
}

bool vpci_has_messages(const struct vpci *v)
{
    return is_shown(v, CAP_MSI) || is_shown(v, CAP_MSIX);
}

/* Dwords from AT on, SIZE bytes at most, to the next capability or the end. */
static unsigned room(uint64_t heads, unsigned at, unsigned size)
{
    unsigned n = 1, first = at / DWORD;
    while (n * DWORD < size && first + n < VPCI_DWORDS && (heads >> (first + n) & 1) == 0)
        n++;
    return n;
}

/* Of each but the vendor's own the first is shown. What is hidden reads as 0, its first 8 bytes. */
static void add_cap(struct vpci *v, uint64_t heads, unsigned at)
{
    uint32_t header = vpci_real(v, at, 4);
    uint8_t id = (uint8_t)header, what = WHAT_NOTHING;
    unsigned size = id != CAP_VENDOR && is_shown(v, id) ? 0 : size_of(header);
    unsigned n = room(heads, at, size == 0 ? 2 * DWORD : size);
    if (size != 0 && n * DWORD >= least_of(header, size) && accept(v, at, header)) {
        what = (uint8_t)(WHAT_CAP + v->cap_count);
        v->caps[v->cap_count++] = (struct vpci_cap){(uint8_t)at, id};
    }
    for (unsigned i = 0; i < n; i++)
        v->what[at / DWORD + i] = what;
}

/* "Capabilities List". A device's list may lead anywhere, also back. */
void vpci_find_caps(struct vpci *v)
{
    uint8_t order[VPCI_MAX_CAPS];
    unsigned count = 0, at = 0;
    uint64_t heads = 0;
    if ((vpci_real(v, PCI_STATUS, 2) & 1 << 4) != 0)
        at = vpci_real(v, PCI_CAPABILITIES, 1) & ~3u;
    while (at >= FIRST_CAP && (heads >> at / DWORD & 1) == 0) {
        heads |= 1ull << at / DWORD;
        order[count++] = (uint8_t)at;
        at = vpci_real(v, at + 1, 1) & ~3u;
    }
    for (unsigned i = 0; i < count; i++)
        add_cap(v, heads, order[i]);
}

/* --- power management ------------------------------------------------------------------------- */

static bool keeps_state(const struct vpci *v, unsigned at)
{
    return !v->setup.resets || (vpci_real(v, at + PM_CONTROL, 2) & PM_NO_SOFT_RESET) != 0;
}

static uint32_t read_pm(const struct vpci *v, unsigned at, unsigned reg)
{
    if (reg == 0)
        return vpci_real(v, at, 4) & PM_SHOWN;
    return v->power | (keeps_state(v, at) ? PM_NO_SOFT_RESET : 0);
}

/*
 * The real function stays in D0: it decodes nothing of the guest's, masters no bus and does not
 * interrupt. States that are not there are not taken, nor is a way up but to D0.
 */
static void write_pm(struct vpci *v, unsigned at, unsigned reg, uint32_t mask, uint32_t value)
{
    uint32_t header = vpci_real(v, at, 4);
    unsigned state = vpci_merge(v->power, PM_STATE, mask, value), was = v->power;
    if (reg != PM_CONTROL || (state == POWER_D1 && (header & PM_D1) == 0) ||
        (state == POWER_D2 && (header & PM_D2) == 0) || (state != POWER_D0 && state < was))
        return;
    v->power = (uint8_t)state;
    if (was == POWER_D3 && state == POWER_D0 && !keeps_state(v, at))
        vpci_reset(v);
}

/* --- PCI Express ------------------------------------------------------------------------------ */

/*
 * On the guest's root bus an endpoint is one of the root complex, which has no link. Nothing of the
 * registers from Device Capabilities 2 on is offered.
 */
static uint32_t read_pcie(const struct vpci *v, unsigned at, unsigned reg)
{
    uint32_t value = reg <= PCIE_DEVICE_CONTROL ? vpci_real(v, at + reg, 4) : 0;
    if (reg == 0 && (value & PCIE_TYPE) >> PCIE_TYPE_AT <= PCI_PORT_LEGACY_ENDPOINT)
        return (value & ~PCIE_TYPE) | (uint32_t)PCI_PORT_INTEGRATED_ENDPOINT << PCIE_TYPE_AT;
    if (reg == PCIE_DEVICE_CAP)
        return value & ~(PCIE_PHANTOM | (v->setup.resets ? 0 : PCIE_CAN_FLR));
    return reg == PCIE_DEVICE_CONTROL ? value & ~PCIE_FLR : value;
}

static void write_pcie(struct vpci *v, unsigned at, unsigned reg, uint32_t mask, uint32_t value)
{
    uint32_t bits = PCIE_RELAXED | (v->setup.snoops ? 0 : PCIE_NO_SNOOP);
    uint32_t cleared = (mask & value) >> 16 & PCIE_CLEARED;
    if (reg != PCIE_DEVICE_CONTROL)
        return;
    uint32_t old = vpci_real(v, at + PCIE_DEVICE_CONTROL, 2) & ~PCIE_FLR;
    uint32_t now = vpci_merge(old, bits, mask, value);
    if (now != old)
        vpci_set_real(v, at + PCIE_DEVICE_CONTROL, 2, now);
    if (cleared != 0)
        vpci_set_real(v, at + PCIE_DEVICE_STATUS, 2, cleared);
    if ((mask & value & PCIE_FLR) != 0 && (read_pcie(v, at, PCIE_DEVICE_CAP) & PCIE_CAN_FLR) != 0)
        vpci_reset(v);
}

void vpci_restore_caps(const struct vpci *v)
{
    if (v->pcie != 0)
        vpci_set_real(v, v->pcie + PCIE_DEVICE_CONTROL, 2, v->device_control);
}

bool vpci_holds_no_snoop(const struct vpci *v)
{
    return v->pcie != 0 && (vpci_real(v, v->pcie + PCIE_DEVICE_CONTROL, 2) & PCIE_NO_SNOOP) == 0;
}

/* --- Advanced Features ------------------------------------------------------------------------ */

static uint32_t read_af(const struct vpci *v, unsigned at, unsigned reg)
{
    uint32_t value = vpci_real(v, at + reg, 4);
    return reg == AF_CONTROL ? value & AF_PENDING : value & ~(v->setup.resets ? 0 : AF_CAN_FLR);
}

static void write_af(struct vpci *v, unsigned at, unsigned reg, uint32_t mask, uint32_t value)
{
    if (reg == AF_CONTROL && (mask & value & AF_FLR) != 0 && (read_af(v, at, 0) & AF_CAN_FLR) != 0)
        vpci_reset(v);
}

/* --- all of them ------------------------------------------------------------------------------ */

static uint32_t read_registers(const struct vpci *v, const struct vpci_cap *cap, unsigned reg)
{
    switch (cap->id) {
    case CAP_PM:
        return read_pm(v, cap->at, reg);
    case CAP_MSI:
        return vpci_read_msi(v, cap->at, reg);
    case CAP_MSIX:
        return vpci_read_msix(v, cap->at, reg);
    case CAP_PCIE:
        return read_pcie(v, cap->at, reg);
    case CAP_AF:
        return read_af(v, cap->at, reg);
    default:
        return vpci_real(v, cap->at + reg, 4);
    }
}

uint32_t vpci_read_cap(const struct vpci *v, unsigned i, unsigned reg)
{
    const struct vpci_cap *cap = &v->caps[i];
    uint32_t value = read_registers(v, cap, reg - cap->at);
    if (reg != cap->at)
        return value;
    uint32_t next = i + 1 < v->cap_count ? v->caps[i + 1].at : 0;
    return (value & 0xffff0000) | next << 8 | cap->id;
}

void vpci_write_cap(struct vpci *v, unsigned i, unsigned reg, uint32_t mask, uint32_t value)
{
    const struct vpci_cap *cap = &v->caps[i];
    reg -= cap->at;
    switch (cap->id) {
    case CAP_PM:
        write_pm(v, cap->at, reg, mask, value);
        break;
    case CAP_MSI:
        vpci_write_msi(v, reg, mask, value);
        break;
    case CAP_MSIX:
        vpci_write_msix(v, reg, mask, value);
        break;
    case CAP_PCIE:
        write_pcie(v, cap->at, reg, mask, value);
        break;
    case CAP_AF:
        write_af(v, cap->at, reg, mask, value);
        break;
    default:
        break;
    }
}
