/* PCI configuration space, by ECAM where the firmware has it, else by configuration mechanism 1. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/pci.h"

#include "lib/format.h"
#include "lib/lock.h"
#include "lib/log.h"
#include "lib/x86.h"
#include "vmm/host/window.h"

struct pci_name pci_name(struct pci_bdf bdf)
{
    struct pci_name name = {.text = ""};
    size_t n = 0;
    if (bdf.segment != 0)
        n = format(name.text, sizeof(name.text), "%04x:", bdf.segment);
    format(name.text + n, sizeof(name.text) - n, "%02x:%02x.%u", bdf.bus, bdf.device, bdf.function);
    return name;
}

/* --- by ports --------------------------------------------------------------------------------- */

enum { CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc };

static struct lock ports; /* of these two */

/* PCI Local Bus Specification, "Software Generation of Configuration Transactions". */
static void choose(struct pci_bdf bdf, unsigned reg)
{
    out32(CONFIG_ADDRESS, 1u << 31 | (uint32_t)bdf.bus << 16 | (uint32_t)bdf.device << 11 |
                              (uint32_t)bdf.function << 8 | (reg & 0xfc));
}

static uint32_t read_ports(struct pci_bdf bdf, unsigned reg, unsigned size)
{
    uint16_t data = (uint16_t)(CONFIG_DATA + reg % 4);
    lock_take(&ports);
    choose(bdf, reg);
    uint32_t value = size == 1 ? in8(data) : size == 2 ? in16(data) : in32(data);
    lock_release(&ports);
    return value;
}

static void write_ports(struct pci_bdf bdf, unsigned reg, unsigned size, uint32_t value)
{
    uint16_t data = (uint16_t)(CONFIG_DATA + reg % 4);
    lock_take(&ports);
    choose(bdf, reg);
    if (size == 1)
        out8(data, (uint8_t)value);
    else if (size == 2)
        out16(data, (uint16_t)value);
    else
        out32(data, value);
    lock_release(&ports);
}

/* --- by ECAM ---------------------------------------------------------------------------------- */

static const struct pci_ecams *ecams;

uint64_t pci_ecam_address(const struct pci_ecams *from, struct pci_bdf bdf)
{
    for (unsigned i = 0; i < from->count; i++) {
        const struct pci_ecam *e = &from->r[i];
        if (e->segment == bdf.segment && e->first <= bdf.bus && bdf.bus <= e->last)
            return e->base + ((uint64_t)bdf.bus << 20 | (uint64_t)bdf.device << 15 |
                              (uint64_t)bdf.function << 12);
    }
    return 0;
}

/*
 * AMD, BIOS and Kernel Developer's Guide for Family 10h, "MMIO Configuration Coding Requirements":
 * uncached, by plain moves from and to AL, AX or EAX.
 */
static uint32_t read_ecam(uint64_t at, unsigned size)
{
    struct cpu *cpu = this_cpu();
    const void *reg = window_open(cpu, WINDOW_CONFIG, hpa(at), MT_UC);
    uint32_t value = 0;
    if (size == 1)
        __asm__ volatile("movb (%1), %b0" : "+a"(value) : "r"(reg) : "memory");
    else if (size == 2)
        __asm__ volatile("movw (%1), %w0" : "+a"(value) : "r"(reg) : "memory");
    else
        __asm__ volatile("movl (%1), %0" : "=a"(value) : "r"(reg) : "memory");
    window_close(cpu, WINDOW_CONFIG);
    return value;
}

static void write_ecam(uint64_t at, unsigned size, uint32_t value)
{
    struct cpu *cpu = this_cpu();
    void *reg = window_open(cpu, WINDOW_CONFIG, hpa(at), MT_UC);
    if (size == 1)
        __asm__ volatile("movb %b0, (%1)" : : "a"(value), "r"(reg) : "memory");
    else if (size == 2)
        __asm__ volatile("movw %w0, (%1)" : : "a"(value), "r"(reg) : "memory");
    else
        __asm__ volatile("movl %0, (%1)" : : "a"(value), "r"(reg) : "memory");
    window_close(cpu, WINDOW_CONFIG);
}

/* True where both ways lead to the same functions. */
static bool agrees(const struct pci_ecam *e)
{
    const struct pci_ecams one = {{*e}, 1};
    bool same = true;
    for (uint8_t device = 0; device < 32 && same && e->segment == 0; device++) {
        struct pci_bdf bdf = {0, e->first, device, 0};
        same = read_ecam(pci_ecam_address(&one, bdf), 4) == read_ports(bdf, PCI_VENDOR, 4);
    }
    return same;
}

void pci_use_ecams(struct pci_ecams *from)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < from->count; i++) {
        if (agrees(&from->r[i]))
            from->r[kept++] = from->r[i];
        else
            log_line("pci: ECAM at 0x%lx is not what the ports lead to: it is not used; update the "
                     "firmware",
                     from->r[i].base);
    }
    from->count = kept;
    ecams = from;
}

/* --- either ----------------------------------------------------------------------------------- */

static uint32_t read_machine(struct pci_bdf bdf, unsigned reg, unsigned size)
{
    uint64_t at = ecams == NULL ? 0 : pci_ecam_address(ecams, bdf);
    if (at != 0)
        return read_ecam(at + reg, size);
    return bdf.segment == 0 && reg < PCI_EXTENDED ? read_ports(bdf, reg, size) : UINT32_MAX;
}

static void write_machine(struct pci_bdf bdf, unsigned reg, unsigned size, uint32_t value)
{
    uint64_t at = ecams == NULL ? 0 : pci_ecam_address(ecams, bdf);
    if (at != 0)
        write_ecam(at + reg, size, value);
    else if (bdf.segment == 0 && reg < PCI_EXTENDED)
        write_ports(bdf, reg, size, value);
}

static const struct pci_access machine = {read_machine, write_machine};
static const struct pci_access *access = &machine;

void pci_use(const struct pci_access *with)
{
    access = with;
}

static uint32_t read(struct pci_bdf bdf, unsigned reg, unsigned size)
{
    assert(bdf.device < 32 && bdf.function < 8 && reg < PCI_CONFIG_END && (reg & (size - 1)) == 0);
    return access->read(bdf, reg, size);
}

static void write(struct pci_bdf bdf, unsigned reg, unsigned size, uint32_t value)
{
    assert(bdf.device < 32 && bdf.function < 8 && reg < PCI_CONFIG_END && (reg & (size - 1)) == 0);
    access->write(bdf, reg, size, value);
}

uint8_t pci_read8(struct pci_bdf bdf, unsigned reg)
{
    return (uint8_t)read(bdf, reg, 1);
}

uint16_t pci_read16(struct pci_bdf bdf, unsigned reg)
{
    return (uint16_t)read(bdf, reg, 2);
}

uint32_t pci_read32(struct pci_bdf bdf, unsigned reg)
{
    return read(bdf, reg, 4);
}

void pci_write8(struct pci_bdf bdf, unsigned reg, uint8_t value)
{
    write(bdf, reg, 1, value);
}

void pci_write16(struct pci_bdf bdf, unsigned reg, uint16_t value)
{
    write(bdf, reg, 2, value);
}

void pci_write32(struct pci_bdf bdf, unsigned reg, uint32_t value)
{
    write(bdf, reg, 4, value);
}
