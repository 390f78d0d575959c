/* The machine's I/O APICs. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/gsi.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/lock.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmm/host/host.h"

/* 82093AA data sheet, "Memory Mapped Registers for Accessing IOAPIC Registers". */
enum { SELECT = 0x00, WINDOW = 0x10, END = 0x40, REG_VERSION = 1, REG_ENTRIES = 0x10 };
enum { MOST_PINS = 240, FIRST_VERSION_WITH_END = 0x20 };
enum { REMOTE_IRR = 1 << 14 };

struct chip {
    volatile char *registers;
    uint32_t first, pins;
    uint8_t id;
    bool has_end;
};

static struct chip chips[GSI_MAX_CHIPS];
static unsigned chip_count;
static uint32_t isa[GSI_ISA_LINES];
static struct lock lock; /* one access takes two */

/* With the lock, or before any other CPU. */
static uint32_t read_reg(const struct chip *chip, unsigned reg)
{
    *(volatile uint32_t *)(volatile void *)(chip->registers + SELECT) = reg;
    return *(volatile uint32_t *)(volatile void *)(chip->registers + WINDOW);
}

static void write_reg(const struct chip *chip, unsigned reg, uint32_t value)
{
    *(volatile uint32_t *)(volatile void *)(chip->registers + SELECT) = reg;
    *(volatile uint32_t *)(volatile void *)(chip->registers + WINDOW) = value;
}

static void mask_all(const struct chip *chip)
{
    for (unsigned pin = 0; pin < chip->pins; pin++)
        write_reg(chip, REG_ENTRIES + 2 * pin, (uint32_t)GSI_MASKED);
}

static const struct chip *find_chip(uint32_t gsi)
{
    for (unsigned i = 0; i < chip_count; i++)
        if (gsi - chips[i].first < chips[i].pins)
            return &chips[i];
    return NULL;
}

static int add_chip(struct host *host, const struct gsi_chip *found)
{
    struct chip *chip = &chips[chip_count];
    *chip = (struct chip){.registers = host_map_mmio(host, hpa(found->address), PAGE_SIZE),
                          .first = found->first,
                          .id = found->id};
    if (chip->registers == NULL)
        return -ENOMEM;
    uint32_t version = read_reg(chip, REG_VERSION);
    chip->pins = (version >> 16 & 0xff) + 1;
    chip->has_end = (version & 0xff) >= FIRST_VERSION_WITH_END;
    if (version == UINT32_MAX || chip->pins > MOST_PINS || find_chip(found->first) != NULL) {
        log_line("gsi: the I/O APIC at 0x%llx makes no sense (version register 0x%x): left out",
                 (unsigned long long)found->address, version);
        return 0;
    }
    mask_all(chip);
    chip_count++;
    return 0;
}

int gsi_init(struct host *host, const struct gsi_table *table)
{
    int error = 0;
    assert(chip_count == 0);
    memcpy(isa, table->isa, sizeof(isa));
    for (unsigned i = 0; i < table->count && error == 0; i++)
        error = add_chip(host, &table->chip[i]);
    return error;
}

bool gsi_exists(uint32_t gsi)
{
    return find_chip(gsi) != NULL;
}

uint32_t gsi_of_isa(unsigned irq)
{
    assert(irq < GSI_ISA_LINES);
    return isa[irq];
}

uint8_t gsi_chip_id(uint32_t gsi)
{
    assert(gsi_exists(gsi));
    return find_chip(gsi)->id;
}

static unsigned entry_of(const struct chip *chip, uint32_t gsi)
{
    return REG_ENTRIES + 2 * (gsi - chip->first);
}

/* Masked while it has the one half and not yet the other. */
void gsi_route(uint32_t gsi, uint64_t entry)
{
    const struct chip *chip = find_chip(gsi);
    assert(chip != NULL);
    unsigned reg = entry_of(chip, gsi);
    lock_take(&lock);
    write_reg(chip, reg, (uint32_t)GSI_MASKED);
    write_reg(chip, reg + 1, (uint32_t)(entry >> 32));
    write_reg(chip, reg, (uint32_t)entry);
    lock_release(&lock);
}

/*
 * Ends the interrupt of a masked level at the chip itself: the EOI of a CPU names its own vector,
 * and where interrupts are remapped that need not be what the entry has. An edge has no end, so
 * that what has no register for it forgets it as one.
 */
static void end(const struct chip *chip, unsigned reg, uint32_t entry)
{
    if (chip->has_end) {
        *(volatile uint32_t *)(volatile void *)(chip->registers + END) = entry & 0xff;
    } else {
        write_reg(chip, reg, entry & ~(uint32_t)GSI_LEVEL);
        write_reg(chip, reg, entry);
    }
}

void gsi_mask(uint32_t gsi)
{
    const struct chip *chip = find_chip(gsi);
    assert(chip != NULL);
    unsigned reg = entry_of(chip, gsi);
    lock_take(&lock);
    write_reg(chip, reg, read_reg(chip, reg) | (uint32_t)GSI_MASKED);
    uint32_t entry = read_reg(chip, reg);
    if ((entry & REMOTE_IRR) != 0)
        end(chip, reg, entry);
    lock_release(&lock);
}

void gsi_unmask(uint32_t gsi)
{
    const struct chip *chip = find_chip(gsi);
    assert(chip != NULL);
    unsigned reg = entry_of(chip, gsi);
    lock_take(&lock);
    write_reg(chip, reg, read_reg(chip, reg) & ~(uint32_t)GSI_MASKED);
    lock_release(&lock);
}
