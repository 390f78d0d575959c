/* A passed-through function as its guest sees it: the header of its configuration space. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/vpci.h"

#include "lib/assert.h"
#include "lib/string.h"

/* Dwords of "Type 00h Configuration Space Header". */
enum {
    REG_COMMAND = 0x04,
    REG_HEADER = 0x0c,
    REG_BARS = 0x10,
    REG_BARS_END = 0x28,
    REG_CARDBUS = 0x28,
    REG_ROM = 0x30,
    REG_CAPABILITIES = 0x34,
    REG_RESERVED = 0x38,
    REG_INTERRUPT = 0x3c,
    HEADER_SIZE = 0x40,
    CONFIG_SIZE = 0x100, /* without the extended space */
};

/* "Command Register". */
#define COMMAND_PARITY (1u << 6)
#define COMMAND_SERR   (1u << 8)
#define COMMAND_ALL    0x7ffu
/* What the real function has of the guest's. */
#define COMMAND_PASSED (PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX)
/* What the guest stores. */
#define COMMAND_GUEST                                                                              \
    (COMMAND_PASSED | PCI_COMMAND_IO | PCI_COMMAND_MEMORY | COMMAND_PARITY | COMMAND_SERR)

/* "Status Register". */
#define STATUS_CAPABILITIES (1u << 4)
#define STATUS_CLEARED      0xf900u /* by ones */

/* Cache Line Size and Latency Timer, of the dword that has Header Type and BIST. */
#define HEADER_SHOWN         0x0000ffffu
#define HEADER_MULTIFUNCTION (1u << 23)

#define BAR_IO           1u
#define BAR_WIDE         4u
#define BAR_PREFETCHABLE 8u
enum { PORTS = 0x10000, PINS = 4 };

/* --- BARs ------------------------------------------------------------------------------------- */

static bool is_upper(const struct pci_bar *bars, unsigned i)
{
    return i > 0 && bars[i - 1].kind == PCI_BAR_MEMORY && bars[i - 1].wide;
}

/* The bits of BAR I that the guest can write ("Base Addresses"). */
static uint32_t writable(const struct pci_bar *bars, unsigned i)
{
    if (is_upper(bars, i))
        return (uint32_t)(-bars[i - 1].size >> 32);
    if (bars[i].kind == PCI_BAR_NONE || bars[i].size == 0)
        return 0;
    return (uint32_t)-bars[i].size & (bars[i].kind == PCI_BAR_IO ? ~3u : ~15u);
}

static uint32_t read_bar(const struct vpci *v, unsigned i)
{
    const struct pci_bar *bar = &v->setup.real->bar[i];
    uint32_t value = v->bar[i];
    if (is_upper(v->setup.real->bar, i) || bar->kind == PCI_BAR_NONE || bar->size == 0)
        return value;
    if (bar->kind == PCI_BAR_IO)
        return value | BAR_IO;
    return value | (bar->wide ? BAR_WIDE : 0) | (bar->prefetchable ? BAR_PREFETCHABLE : 0);
}

/*
 * What leads to BAR I. At 0 it has not been placed; and one that ends with the address space, or
 * with its lower half, is being sized.
 */
static struct vpci_range range_of(const struct vpci *v, unsigned i)
{
    const struct pci_bar *bar = &v->setup.real->bar[i];
    const struct vpci_range nowhere = {0, 0};
    bool io = bar->kind == PCI_BAR_IO;
    uint32_t decodes = v->command & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);
    struct vpci_range range = {v->bar[i], bar->size};
    if (bar->kind == PCI_BAR_NONE || bar->size == 0 || decodes == 0 || v->power != POWER_D0)
        return nowhere;
    if (bar->wide)
        range.start |= (uint64_t)v->bar[i + 1] << 32;
    uint64_t last = range.start + (bar->size - 1);
    if (range.start == 0 || last == UINT32_MAX || last == UINT64_MAX || (io && last >= PORTS))
        return nowhere;
    return range;
}

static void tell_ranges(struct vpci *v)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct vpci_range before = v->range[i], now = range_of(v, i);
        if (before.start == now.start && before.size == now.size)
            continue;
        v->range[i] = now;
        v->setup.ops->decode(v->setup.context, i, before, now);
    }
}

/* --- Command ---------------------------------------------------------------------------------- */

static void set_command(struct vpci *v, uint32_t command)
{
    if (v->real_command == command)
        return;
    v->real_command = (uint16_t)command;
    vpci_set_real(v, PCI_COMMAND, 2, command);
}

/* Bus mastering ends before all else, and begins after it. */
void vpci_tell(struct vpci *v)
{
    bool masters = (v->command & PCI_COMMAND_MASTER) != 0 && v->power == POWER_D0;
    const struct vpci_ops *ops = v->setup.ops;
    if (!masters && v->masters) {
        set_command(v, v->real_command & ~PCI_COMMAND_MASTER);
        ops->bus_master(v->setup.context, false);
    }
    vpci_tell_interrupts(v);
    tell_ranges(v);
    uint32_t command = v->kept | (v->real_command & PCI_COMMAND_MASTER);
    if (masters && !v->masters && ops->bus_master(v->setup.context, true))
        command |= PCI_COMMAND_MASTER;
    v->masters = masters;
    set_command(v, command | (v->how == VPCI_INTX ? 0 : PCI_COMMAND_NO_INTX));
}

static uint32_t read_command(const struct vpci *v)
{
    uint32_t status = vpci_real(v, PCI_STATUS, 2) & ~STATUS_CAPABILITIES;
    if (v->cap_count > 0)
        status |= STATUS_CAPABILITIES;
    return status << 16 | v->command | (v->kept & ~COMMAND_GUEST);
}

static void write_command(struct vpci *v, uint32_t mask, uint32_t value)
{
    uint32_t cleared = (mask & value) >> 16 & STATUS_CLEARED;
    if (cleared != 0)
        vpci_set_real(v, PCI_STATUS, 2, cleared);
    v->command = (uint16_t)vpci_merge(v->command, COMMAND_GUEST, mask, value);
}

/* --- all of it -------------------------------------------------------------------------------- */

static uint32_t read_header(const struct vpci *v, unsigned reg)
{
    switch (reg) {
    case REG_COMMAND:
        return read_command(v);
    case REG_HEADER:
        return (vpci_real(v, reg, 4) & HEADER_SHOWN) |
               (v->multifunction ? HEADER_MULTIFUNCTION : 0);
    case REG_CARDBUS:
    case REG_ROM:
    case REG_RESERVED:
        return 0;
    case REG_CAPABILITIES:
        return v->cap_count > 0 ? v->caps[0].at : 0;
    case REG_INTERRUPT:
        return (vpci_real(v, reg, 4) & (v->setup.intx ? 0xffffff00 : 0xffff0000)) | v->line;
    default:
        return reg >= REG_BARS && reg < REG_BARS_END ? read_bar(v, (reg - REG_BARS) / 4)
                                                     : vpci_real(v, reg, 4);
    }
}

static void write_header(struct vpci *v, unsigned reg, uint32_t mask, uint32_t value)
{
    unsigned i = (reg - REG_BARS) / 4;
    if (reg == REG_COMMAND)
        write_command(v, mask, value);
    else if (reg == REG_INTERRUPT)
        v->line = (uint8_t)vpci_merge(v->line, 0xff, mask, value);
    else if (i < PCI_BARS)
        v->bar[i] = vpci_merge(v->bar[i], writable(v->setup.real->bar, i), mask, value);
}

/* Nothing of the extended space is shown. Without PCI Express there is none. */
uint32_t vpci_read(const struct vpci *v, unsigned reg)
{
    assert(reg % 4 == 0 && reg < PCI_CONFIG_END);
    if (reg < HEADER_SIZE)
        return read_header(v, reg);
    if (reg >= CONFIG_SIZE)
        return v->pcie != 0 ? 0 : UINT32_MAX;
    unsigned what = v->what[reg / 4];
    if (what >= WHAT_CAP)
        return vpci_read_cap(v, what - WHAT_CAP, reg);
    return what == WHAT_DEVICE ? vpci_real(v, reg, 4) : 0;
}

void vpci_write(struct vpci *v, unsigned reg, uint32_t mask, uint32_t value)
{
    assert(reg % 4 == 0 && reg < PCI_CONFIG_END);
    unsigned what = reg < CONFIG_SIZE ? v->what[reg / 4] : WHAT_NOTHING;
    if (reg < HEADER_SIZE)
        write_header(v, reg, mask, value);
    else if (what >= WHAT_CAP)
        vpci_write_cap(v, what - WHAT_CAP, reg, mask, value);
    vpci_tell(v);
}

/* What is not the model's is as after a reset. */
static void restore(struct vpci *v)
{
    vpci_restore_caps(v);
    v->real_command = (uint16_t)(v->kept | PCI_COMMAND_NO_INTX);
    vpci_set_real(v, PCI_COMMAND, 2, v->real_command);
    vpci_tell(v);
}

static void clear(struct vpci *v)
{
    v->command = 0;
    v->line = 0;
    v->power = POWER_D0;
    memset(v->bar, 0, sizeof(v->bar));
    vpci_clear_msi(v);
}

/* INTx is possible again at the end of it, but not before. */
void vpci_reset(struct vpci *v)
{
    clear(v);
    v->power = POWER_D3;
    vpci_tell(v);
    v->power = POWER_D0;
    v->setup.ops->reset(v->setup.context);
    restore(v);
}

/* The real function decodes always: what leads to it is the guest's. */
static uint16_t kept_command(const struct vpci *v)
{
    const struct pci_bar *bars = v->setup.real->bar;
    uint32_t kept = vpci_real(v, PCI_COMMAND, 2) & COMMAND_ALL & ~COMMAND_PASSED;
    for (unsigned i = 0; i < PCI_BARS; i++)
        if (bars[i].kind != PCI_BAR_NONE && bars[i].address != 0)
            kept |= bars[i].kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    return (uint16_t)kept;
}

void vpci_create(struct vpci *v, const struct vpci_setup *setup)
{
    assert(!setup->real->bar[PCI_BARS - 1].wide && setup->vectors <= VPCI_MAX_VECTORS);
    *v = (struct vpci){.setup = *setup};
    v->setup.intx &= vpci_real(v, PCI_INTERRUPT_PIN, 1) - 1 < PINS;
    v->kept = kept_command(v);
    vpci_find_caps(v);
    clear(v);
    restore(v);
}
