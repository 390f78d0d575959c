/* Configuration space, BARs, and interrupts by pin and by message. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/pci.h"

#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/firmware.h"
#include "guest-tests/runtime/isa.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/smp.h"
#include "lib/assert.h"

enum { CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc };
enum {
    BUSES = 256,
    FUNCTIONS_OF_BUS = 256,
    MULTIFUNCTION = 0x80,
    HEADER_LAYOUT = 0x7f,
    BRIDGE = 1,
    CAPABILITIES = 48
};
enum { MCFG_ENTRIES = 44, MCFG_ENTRY = 16 };
enum { ENTRY_PCD = 1 << 4, LARGE_PAGES = 2048, HIGH_FIRST = 256 };
enum { BAR_IO = 1, BAR_64 = 4, BAR_PREFETCHABLE = 8 };
enum { MSI_ENABLE = 1, MSI_64 = 1 << 7, MSI_MULTIPLE = 7 << 4 };
enum {
    MSIX_ENABLE = 1 << 15,
    MSIX_MASK_ALL = 1 << 14,
    MSIX_MASKED = 1,
    MSIX_ENTRY = 16,
    MSIX_LAST = 0x7ff
};

/* Where what firmware has not placed goes: from the start of the hole, and high ports. */
#define FREE_MEMORY 0xc0000000ull
#define FREE_PORTS  0xc000u
#define MESSAGES    0xfee00000u

extern uint64_t page_directories[4][512];

static uint64_t ecam; /* of bus 0; 0: there is none */
static uint64_t free_memory = FREE_MEMORY;
static uint32_t free_ports = FREE_PORTS;

/* --- configuration space ---------------------------------------------------------------------- */

/* The identity map has it uncached. */
static void map_uncached(uint64_t start, uint64_t size)
{
    uint64_t *entries = page_directories[0];
    for (uint64_t i = start / (2 * MIB); i < LARGE_PAGES && i * 2 * MIB < start + size; i++)
        entries[i] |= ENTRY_PCD;
    write_cr3(read_cr3());
}

void pci_init(void)
{
    uint64_t mcfg = acpi_table("MCFG", true);
    if (mcfg == 0)
        mcfg = acpi_table("MCFG", false);
    uint64_t end = mcfg == 0 ? 0 : mcfg + firmware_number(mcfg + 4, 4);
    for (uint64_t at = mcfg + MCFG_ENTRIES; at + MCFG_ENTRY <= end; at += MCFG_ENTRY)
        if (firmware_number(at + 8, 2) == 0 && firmware_number(at + 10, 1) == 0)
            ecam = firmware_number(at, 8);
    if (ecam >= 4 * GIB) /* not mapped */
        ecam = 0;
    if (ecam != 0)
        map_uncached(ecam, (uint64_t)BUSES * FUNCTIONS_OF_BUS * PAGE_SIZE);
}

bool pci_has_ecam(void)
{
    return ecam != 0;
}

static uint16_t select_register(bdf_t bdf, unsigned reg)
{
    assert(reg < 256);
    out32(CONFIG_ADDRESS, 1u << 31 | (uint32_t)bdf << 8 | (reg & 0xfc));
    return (uint16_t)(CONFIG_DATA + (reg & 3));
}

uint32_t pci_get_by_port(bdf_t bdf, unsigned reg, unsigned bytes)
{
    uint16_t port = select_register(bdf, reg);
    return bytes == 1 ? in8(port) : bytes == 2 ? in16(port) : in32(port);
}

uint32_t pci_get(bdf_t bdf, unsigned reg, unsigned bytes)
{
    uint64_t at = ecam + (uint64_t)bdf * PAGE_SIZE + reg;
    if (ecam == 0)
        return pci_get_by_port(bdf, reg, bytes);
    return bytes == 1   ? *(const volatile uint8_t *)at
           : bytes == 2 ? *(const volatile uint16_t *)at
                        : *(const volatile uint32_t *)at;
}

void pci_put_by_port(bdf_t bdf, unsigned reg, unsigned bytes, uint32_t value)
{
    uint16_t port = select_register(bdf, reg);
    if (bytes == 1)
        out8(port, (uint8_t)value);
    else if (bytes == 2)
        out16(port, (uint16_t)value);
    else
        out32(port, value);
}

void pci_put(bdf_t bdf, unsigned reg, unsigned bytes, uint32_t value)
{
    uint64_t at = ecam + (uint64_t)bdf * PAGE_SIZE + reg;
    if (ecam == 0)
        pci_put_by_port(bdf, reg, bytes, value);
    else if (bytes == 1)
        *(volatile uint8_t *)at = (uint8_t)value;
    else if (bytes == 2)
        *(volatile uint16_t *)at = (uint16_t)value;
    else
        *(volatile uint32_t *)at = value;
}

void pci_fill(bdf_t bdf, unsigned reg, uint32_t value, uint64_t count)
{
    uint64_t at = ecam + (uint64_t)bdf * PAGE_SIZE + reg;
    assert(ecam != 0);
    __asm__ volatile("rep stosl" : "+D"(at), "+c"(count) : "a"(value) : "memory");
}

/* --- functions -------------------------------------------------------------------------------- */

/* The function with a number from FIRST up that is there. */
static bdf_t next_function(unsigned first)
{
    unsigned last_bus = 0;
    for (unsigned n = 0; n < (last_bus + 1) * FUNCTIONS_OF_BUS && n < PCI_NOT_THERE; n++) {
        bdf_t bdf = (bdf_t)n, head = (bdf_t)(n & ~7u);
        if (pci_get(bdf, PCI_VENDOR, 2) == 0xffff)
            continue;
        if (bdf != head && (pci_get(head, PCI_HEADER, 1) & MULTIFUNCTION) == 0)
            continue;
        if (n >= first)
            return bdf;
        if ((pci_get(bdf, PCI_HEADER, 1) & HEADER_LAYOUT) == BRIDGE) {
            unsigned behind = pci_get(bdf, PCI_SECONDARY, 1);
            last_bus = behind > last_bus ? behind : last_bus;
        }
    }
    return PCI_NOT_THERE;
}

bdf_t pci_find(unsigned vendor, unsigned device)
{
    bdf_t bdf = next_function(0);
    while (bdf != PCI_NOT_THERE && pci_get(bdf, PCI_VENDOR, 4) != (vendor | device << 16))
        bdf = next_function(bdf + 1u);
    return bdf;
}

bdf_t pci_find_class(uint32_t class, uint32_t mask)
{
    bdf_t bdf = next_function(0);
    while (bdf != PCI_NOT_THERE && ((pci_get(bdf, PCI_CLASS, 4) >> 8 ^ class) & mask) != 0)
        bdf = next_function(bdf + 1u);
    return bdf;
}

unsigned pci_next_capability(bdf_t bdf, unsigned id, unsigned at)
{
    if ((pci_get(bdf, PCI_STATUS, 2) & STATUS_LIST) == 0)
        return 0;
    at = pci_get(bdf, at == 0 ? PCI_CAPABILITIES : at + 1, 1) & 0xfc;
    for (unsigned i = 0; i < CAPABILITIES && at != 0; i++) {
        if (pci_get(bdf, at, 1) == id)
            return at;
        at = pci_get(bdf, at + 1, 1) & 0xfc;
    }
    return 0;
}

unsigned pci_capability(bdf_t bdf, unsigned id)
{
    return pci_next_capability(bdf, id, 0);
}

void pci_command(bdf_t bdf, unsigned set, unsigned clear)
{
    pci_put(bdf, PCI_COMMAND, 2, (pci_get(bdf, PCI_COMMAND, 2) & ~clear) | set);
}

/* PCI Express Base Specification, "Function Level Reset (FLR)". */
bool pci_reset(bdf_t bdf)
{
    enum { CAPABLE = 1 << 28, INITIATE = 1 << 15, DEVICE_CAPABILITIES = 4, DEVICE_CONTROL = 8 };
    enum { RESET_MS = 100 };
    unsigned at = pci_capability(bdf, CAP_PCIE);
    if (at == 0 || (pci_get(bdf, at + DEVICE_CAPABILITIES, 4) & CAPABLE) == 0)
        return false;
    pci_command(bdf, 0, COMMAND_MASTER);
    unsigned control = pci_get(bdf, at + DEVICE_CONTROL, 2);
    pci_put(bdf, at + DEVICE_CONTROL, 2, control | INITIATE);
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(RESET_MS);)
        cpu_relax();
    return true;
}

/* --- BARs ------------------------------------------------------------------------------------- */

/* What the BAR's writable bits are: all ones are written and read back. */
static uint32_t writable(bdf_t bdf, unsigned reg)
{
    uint32_t old = pci_get(bdf, reg, 4);
    pci_put(bdf, reg, 4, ~0u);
    uint32_t ones = pci_get(bdf, reg, 4);
    pci_put(bdf, reg, 4, old);
    return ones;
}

static void size_bar(bdf_t bdf, unsigned reg, struct pci_bar *bar)
{
    uint32_t low = pci_get(bdf, reg, 4), ones = writable(bdf, reg);
    bar->io = (low & BAR_IO) != 0;
    bar->wide = !bar->io && (low & 6) == BAR_64;
    bar->prefetchable = !bar->io && (low & BAR_PREFETCHABLE) != 0;
    uint64_t mask = ones & (bar->io ? ~3u : ~15u);
    bar->address = low & (bar->io ? ~3u : ~15u);
    if (bar->wide) {
        mask |= (uint64_t)writable(bdf, reg + 4) << 32;
        bar->address |= (uint64_t)pci_get(bdf, reg + 4, 4) << 32;
    } else if (mask != 0) {
        mask |= bar->io ? ~0xffffull : ~0xffffffffull;
    }
    bar->size = mask & (0 - mask);
}

static void place(bdf_t bdf, unsigned index, struct pci_bar *bar)
{
    uint64_t *at = &free_memory, ports = free_ports;
    if (bar->io)
        at = &ports;
    bar->address = (*at + bar->size - 1) & ~(bar->size - 1);
    *at = bar->address + bar->size;
    free_ports = (uint32_t)ports;
    pci_move_bar(bdf, index, bar->address);
}

struct pci_bar pci_bar(bdf_t bdf, unsigned index)
{
    struct pci_bar bar = {0};
    unsigned old = pci_get(bdf, PCI_COMMAND, 2);
    pci_command(bdf, 0, COMMAND_IO | COMMAND_MEMORY);
    size_bar(bdf, PCI_BAR + 4 * index, &bar);
    if (bar.size != 0 && bar.address == 0)
        place(bdf, index, &bar);
    pci_put(bdf, PCI_COMMAND, 2, old);
    return bar;
}

void pci_move_bar(bdf_t bdf, unsigned index, uint64_t address)
{
    unsigned reg = PCI_BAR + 4 * index;
    uint32_t low = pci_get(bdf, reg, 4);
    pci_put(bdf, reg, 4, (uint32_t)address);
    if ((low & (BAR_IO | 6)) == BAR_64)
        pci_put(bdf, reg + 4, 4, (uint32_t)(address >> 32));
}

volatile void *pci_map(const struct pci_bar *bar)
{
    assert(!bar->io && bar->size != 0);
    if (bar->address + bar->size <= 4 * GIB) {
        map_uncached(bar->address, bar->size);
        return (volatile void *)bar->address;
    }
    volatile uint8_t *first = NULL;
    for (unsigned i = 0; i < WINDOW_PAGES - HIGH_FIRST && i * PAGE_SIZE < bar->size; i++) {
        uint64_t page = bar->address + i * PAGE_SIZE;
        volatile uint8_t *at = window_map(HIGH_FIRST + i, page, PAGE_P | PAGE_W | ENTRY_PCD);
        first = first == NULL ? at : first;
    }
    return first;
}

/* --- interrupts ------------------------------------------------------------------------------- */

static bool find_intx(bdf_t bdf, struct mp_interrupt *found)
{
    unsigned intx = pci_get(bdf, PCI_PIN, 1);
    if (intx < 1 || intx > 4)
        return false;
    if (mp_pci_interrupt(bdf >> 8, bdf >> 3 & 31, intx, found))
        return true;
    *found = (struct mp_interrupt){pci_get(bdf, PCI_LINE, 1), .level = true, .low_active = true};
    return found->pin != 0 && found->pin < IRQS;
}

bool pci_intx(bdf_t bdf, unsigned *pin)
{
    struct mp_interrupt found = {0};
    bool there = find_intx(bdf, &found);
    *pin = found.pin;
    return there;
}

bool pci_open_intx(bdf_t bdf, unsigned vector)
{
    struct mp_interrupt found;
    if (!find_intx(bdf, &found))
        return false;
    pci_command(bdf, 0, COMMAND_NO_INTX);
    pin_set(found.pin, vector | (found.level ? PIN_LEVEL : 0) |
                           (found.low_active ? PIN_LOW_ACTIVE : 0) | (uint64_t)smp_index() << 56);
    return true;
}

bool pci_expect_intx(bdf_t bdf, unsigned vector)
{
    unsigned pin;
    if (!expect(pci_intx(bdf, &pin) && pci_open_intx(bdf, vector), "no INTx"))
        return false;
    print("# INTx is pin %u\n", pin);
    return true;
}

void pci_close_intx(bdf_t bdf)
{
    struct mp_interrupt found;
    if (find_intx(bdf, &found))
        pin_set(found.pin, PIN_MASKED);
    pci_command(bdf, COMMAND_NO_INTX, 0);
}

bool pci_open_msi(bdf_t bdf, unsigned vector)
{
    unsigned at = pci_capability(bdf, CAP_MSI);
    if (at == 0)
        return false;
    unsigned control = pci_get(bdf, at + 2, 2) & ~(unsigned)(MSI_ENABLE | MSI_MULTIPLE);
    bool wide = (control & MSI_64) != 0;
    pci_put(bdf, at + 4, 4, MESSAGES | smp_index() << 12);
    if (wide)
        pci_put(bdf, at + 8, 4, 0);
    pci_put(bdf, at + (wide ? 12 : 8), 2, vector);
    pci_put(bdf, at + 2, 2, control | MSI_ENABLE);
    return true;
}

void pci_close_msi(bdf_t bdf)
{
    unsigned at = pci_capability(bdf, CAP_MSI);
    pci_put(bdf, at + 2, 2, pci_get(bdf, at + 2, 2) & ~(unsigned)MSI_ENABLE);
}

/* The table, all entries of it masked. */
static volatile uint32_t *msix_table(bdf_t bdf, unsigned at)
{
    unsigned last = pci_get(bdf, at + 2, 2) & MSIX_LAST, place = pci_get(bdf, at + 4, 4);
    struct pci_bar bar = pci_bar(bdf, place & 7);
    volatile uint8_t *table = pci_map(&bar);
    table += place & ~7u;
    volatile uint32_t *words = (volatile uint32_t *)(uintptr_t)table;
    for (unsigned i = 0; i <= last; i++)
        words[i * (MSIX_ENTRY / 4) + 3] = MSIX_MASKED;
    return words;
}

/* SDM, "Message Signalled Interrupts". */
bool pci_open_msix(bdf_t bdf, unsigned first, unsigned count)
{
    unsigned at = pci_capability(bdf, CAP_MSIX);
    if (at == 0)
        return false;
    unsigned control = pci_get(bdf, at + 2, 2);
    if ((control & MSIX_LAST) + 1 < count)
        return false;
    pci_put(bdf, at + 2, 2, control | MSIX_ENABLE | MSIX_MASK_ALL);
    volatile uint32_t *table = msix_table(bdf, at);
    for (unsigned i = 0; i < count; i++) {
        volatile uint32_t *entry = table + i * (MSIX_ENTRY / 4);
        entry[0] = MESSAGES | smp_index() << 12;
        entry[1] = 0;
        entry[2] = first + i;
        entry[3] = 0;
    }
    pci_put(bdf, at + 2, 2, (control & ~(unsigned)MSIX_MASK_ALL) | MSIX_ENABLE);
    return true;
}

void pci_close_msix(bdf_t bdf)
{
    unsigned at = pci_capability(bdf, CAP_MSIX);
    pci_put(bdf, at + 2, 2, pci_get(bdf, at + 2, 2) & ~(unsigned)MSIX_ENABLE);
}
