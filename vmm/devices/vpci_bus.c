/* A VM's PCI bus: how configuration space is reached, and the host bridge. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/vpci_bus.h"

#include "lib/assert.h"
#include "lib/format.h"

enum { DEVICES = 32, FUNCTIONS = 8, DWORD = 4, CONFIG_SIZE = 0x1000, CONVENTIONAL_SIZE = 0x100 };

/* CONFIG_ADDRESS: what can be written; bus, device and function from bit 8 on. */
#define ADDRESS_ENABLE   (1u << 31)
#define ADDRESS_WRITABLE 0x80fffffcu
#define ADDRESS_AT(a)    ((a) >> 8 & 0xffff)

/* --- registers -------------------------------------------------------------------------------- */

/*
 * The host bridge is that of QEMU's generic PCI Express host ("QEMU PCI IDs", 1b36:0008), which has
 * no registers but those of every function. Other bridges have some of their own, and kernels that
 * know them use these. Its Command is fixed 0, as is the rest.
 */
static uint32_t read_bridge(unsigned reg)
{
    switch (reg) {
    case PCI_VENDOR:
        return 0x00081b36;
    case PCI_REVISION:
        return (uint32_t)PCI_CLASS_BRIDGE << 24;
    case PCI_SUBSYSTEM:
        return 0x11001af4;
    default:
        return reg < CONVENTIONAL_SIZE ? 0 : UINT32_MAX;
    }
}

/* AT: bus, device and function as in an address. */
static struct vpci *find(const struct vpci_bus *bus, unsigned at)
{
    for (unsigned i = 0; i < bus->count; i++)
        if (bus->functions[i]->at == at)
            return bus->functions[i];
    return NULL;
}

static uint32_t read_register(const struct vpci_bus *bus, unsigned at, unsigned reg)
{
    const struct vpci *v = find(bus, at);
    if (at == 0)
        return read_bridge(reg);
    return v != NULL ? vpci_read(v, reg) : UINT32_MAX;
}

static void write_register(struct vpci_bus *bus, unsigned at, unsigned reg, uint32_t mask,
                           uint32_t value)
{
    struct vpci *v = find(bus, at);
    if (v != NULL)
        vpci_write(v, reg, mask, value);
}

static uint32_t ones(unsigned bytes)
{
    return bytes == DWORD ? UINT32_MAX : (1u << 8 * bytes) - 1;
}

/* Bytes up to the end of a register. */
static unsigned part_of(uint32_t offset, unsigned left)
{
    unsigned part = DWORD - offset % DWORD;
    return part < left ? part : left;
}

/* An access that is in several registers is one to each. */
uint64_t vpci_bus_read(const struct vpci_bus *bus, uint32_t offset, unsigned width)
{
    uint64_t value = 0;
    for (unsigned done = 0, part; done < width; done += part) {
        uint32_t at = offset + done, reg = at % CONFIG_SIZE / DWORD * DWORD;
        part = part_of(at, width - done);
        uint32_t whole = read_register(bus, at / CONFIG_SIZE, reg);
        value |= (uint64_t)(whole >> 8 * (at % DWORD) & ones(part)) << 8 * done;
    }
    return value;
}

void vpci_bus_write(struct vpci_bus *bus, uint32_t offset, unsigned width, uint64_t value)
{
    for (unsigned done = 0, part; done < width; done += part) {
        uint32_t at = offset + done, reg = at % CONFIG_SIZE / DWORD * DWORD;
        part = part_of(at, width - done);
        unsigned shift = 8 * (at % DWORD);
        uint32_t bytes = (uint32_t)(value >> 8 * done) & ones(part);
        write_register(bus, at / CONFIG_SIZE, reg, ones(part) << shift, bytes << shift);
    }
}

/* --- ports ------------------------------------------------------------------------------------ */

/*
 * An access that is not all in CONFIG_DATA: how many of its bytes come before it, and how many are
 * in it. False: none is, or the address is not enabled.
 */
static bool in_data(const struct vpci_bus *bus, unsigned port, unsigned width, unsigned *before,
                    unsigned *bytes)
{
    unsigned end = port + width;
    *before = port < VPCI_PORT_DATA ? VPCI_PORT_DATA - port : 0;
    *bytes = (end < VPCI_PORT_DATA + DWORD ? end : VPCI_PORT_DATA + DWORD) - (port + *before);
    return end > VPCI_PORT_DATA && (bus->address & ADDRESS_ENABLE) != 0;
}

/* Where the first byte of an access to CONFIG_DATA is in configuration space. */
static uint32_t data_offset(const struct vpci_bus *bus, unsigned port)
{
    return ADDRESS_AT(bus->address) * CONFIG_SIZE + (bus->address & 0xfc) + port % DWORD;
}

/* CONFIG_ADDRESS is one for whole dwords: others pass it by. */
bool vpci_bus_in(struct vpci_bus *bus, unsigned port, unsigned width, uint32_t *value)
{
    unsigned before, bytes;
    *value = UINT32_MAX;
    if (port == VPCI_PORT_ADDRESS && width == DWORD) {
        *value = bus->address;
        return true;
    }
    if (!in_data(bus, port, width, &before, &bytes))
        return false;
    uint32_t data = (uint32_t)vpci_bus_read(bus, data_offset(bus, port + before), bytes);
    *value &= ~(ones(bytes) << 8 * before);
    *value |= data << 8 * before;
    return true;
}

bool vpci_bus_out(struct vpci_bus *bus, unsigned port, unsigned width, uint32_t value)
{
    unsigned before, bytes;
    if (port == VPCI_PORT_ADDRESS && width == DWORD) {
        bus->address = value & ADDRESS_WRITABLE;
        return true;
    }
    if (!in_data(bus, port, width, &before, &bytes))
        return false;
    vpci_bus_write(bus, data_offset(bus, port + before), bytes, value >> 8 * before);
    return true;
}

/* --- places ----------------------------------------------------------------------------------- */

static bool same_device(const struct vpci *a, const struct vpci *b)
{
    struct pci_bdf x = a->setup.real->bdf, y = b->setup.real->bdf;
    return x.segment == y.segment && x.bus == y.bus && x.device == y.device;
}

/* Whether function 0 of the real device of V is to be on the bus, too. */
static bool has_first(const struct vpci *v, struct vpci *const *functions, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (same_device(v, functions[i]) && functions[i]->setup.real->bdf.function == 0)
            return true;
    return false;
}

static unsigned free_device(uint32_t taken, unsigned wanted)
{
    unsigned device = wanted;
    while ((taken >> device & 1) != 0)
        device = (device + 1) % DEVICES;
    return device;
}

/* Device numbers that are taken: 0 is the host bridge's. */
static uint32_t taken_devices(const struct vpci_bus *bus)
{
    uint32_t taken = 1;
    for (unsigned i = 0; i < bus->count; i++)
        taken |= 1u << bus->functions[i]->at / FUNCTIONS;
    return taken;
}

/* STAYS: with the others of its device, if any are there already. */
static void put(struct vpci_bus *bus, struct vpci *v, bool stays)
{
    const struct pci_bdf *real = &v->setup.real->bdf;
    unsigned device = free_device(taken_devices(bus), real->device);
    for (unsigned i = 0; i < bus->count && stays; i++)
        if (same_device(v, bus->functions[i]))
            device = bus->functions[i]->at / FUNCTIONS;
    v->at = (uint8_t)(device * FUNCTIONS + (stays ? real->function : 0));
    bus->functions[bus->count++] = v;
}

void vpci_bus_fill(struct vpci_bus *bus, struct vpci *const *functions, unsigned count)
{
    assert(bus->count == 0 && count <= VPCI_BUS_FUNCTIONS);
    for (unsigned i = 0; i < count; i++)
        put(bus, functions[i], has_first(functions[i], functions, count));
    for (unsigned i = 0; i < count; i++)
        for (unsigned k = 0; k < count; k++)
            functions[i]->multifunction |=
                k != i && functions[k]->at / FUNCTIONS == functions[i]->at / FUNCTIONS;
}

/* --- what firmware does ----------------------------------------------------------------------- */

/* Where BARs are put: the larger of both windows of memory is filled first. */
struct window {
    uint64_t next, end;
    uint8_t kind;  /* enum pci_bar_kind */
    uint16_t step; /* at least: a BAR has its pages for itself */
};

/* The largest first, so that nothing is lost between them. */
static const uint64_t largest = 1ull << 31, smallest = 4;

static void place_bar(struct window *window, unsigned windows, struct vpci *v, unsigned i)
{
    const struct pci_bar *bar = &v->setup.real->bar[i];
    for (unsigned w = 0; w < windows; w++) {
        uint64_t step = bar->size > window[w].step ? bar->size : window[w].step;
        uint64_t at = align_up(window[w].next, step);
        if (window[w].kind != bar->kind || at + step > window[w].end)
            continue;
        window[w].next = at + step;
        vpci_write(v, PCI_BAR0 + DWORD * i, UINT32_MAX, (uint32_t)at);
        return;
    }
}

/* BARs for which there is no room stay where nothing leads to them. */
static void place_all(struct vpci_bus *bus)
{
    struct window window[] = {
        {0xc0000000, VPCI_ECAM_START, PCI_BAR_MEMORY, PAGE_SIZE},
        {VPCI_ECAM_START + VPCI_ECAM_SIZE, 0xfec00000, PCI_BAR_MEMORY, PAGE_SIZE},
        {0xc000, 0x10000, PCI_BAR_IO, DWORD},
    };
    for (uint64_t size = largest; size >= smallest; size /= 2)
        for (unsigned i = 0; i < bus->count * PCI_BARS; i++)
            if (bus->functions[i / PCI_BARS]->setup.real->bar[i % PCI_BARS].size == size)
                place_bar(window, ARRAY_SIZE(window), bus->functions[i / PCI_BARS], i % PCI_BARS);
}

void vpci_bus_reset(struct vpci_bus *bus)
{
    bus->address = 0;
    for (unsigned i = 0; i < bus->count; i++)
        vpci_reset(bus->functions[i]);
    place_all(bus);
    for (unsigned i = 0; i < bus->count; i++) {
        struct vpci *v = bus->functions[i];
        vpci_write(v, PCI_INTERRUPT_LINE / DWORD * DWORD, 0xff, v->setup.line);
        vpci_write(v, PCI_COMMAND, 0xffff, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
    }
}

size_t vpci_bus_describe(const struct vpci_bus *bus, char *text, size_t size)
{
    size_t used = format(text, size, "PCI: address 0x%x, 00.0 a host bridge\n", bus->address);
    for (unsigned i = 0; i < bus->count; i++) {
        const struct vpci *v = bus->functions[i];
        used +=
            format(text + used, size - used, "PCI: %02x.%u %04x:%04x, command 0x%x\n", v->at / 8u,
                   v->at % 8u, v->setup.real->vendor, v->setup.real->device, v->command);
    }
    return used;
}
