/*
 * A model of AMD-Vi units for host tests: registers, the command buffer's engine, caches of device
 * entries, translations and interrupt entries that stay until they are invalidated, whatever memory
 * says, and the event log. Written from the specification, by bit numbers.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "tests/unit/fake_iommu.h"

enum { UNITS = 2, CACHED = 32, REGISTERS = 0x4000 };
#define UNIT_BASE 0xfed80000ull

#define PASSES (UINT64_MAX - 1) /* a message that goes where it says */

/* What a unit is like. */
struct model {
    bool caches_absent, has_features, all, wide, x2apic; /* NpCache, EFRSup, IASup, GASup, XTSup */
    unsigned hats;
    bool msi, msi_64;
    unsigned smi_filters; /* SmiFSup, and of SmiFRC the registers; a power of two */
    bool no_function;     /* what the table names as its PCI function is another one */
};

struct cached_page {
    bool valid;
    uint16_t domain;
    uint64_t page, leaf, size;
};

struct fake_unit {
    struct model model;
    bool ones, forgot_all;
    unsigned stuck; /* a register that no longer does anything; 0: none */
    uint16_t busy;  /* a device that reads address 0 whenever the unit is waited for; 0: none */
    uint64_t table, command_base, event_base, control, exclusion, limit, status;
    unsigned head, tail, event_head, event_tail; /* entries */
    struct cached_entry {
        bool valid;
        uint16_t device;
        uint64_t word[4];
    } entry[CACHED];
    struct cached_interrupt {
        bool valid;
        uint16_t device;
        unsigned index;
        uint64_t low, high;
    } interrupt[CACHED];
    struct cached_page iotlb[CACHED];
    unsigned next, next_entry, next_interrupt;
    uint64_t filter[16]; /* of SMIs */
    bool smis_passed;    /* it was on, and then off */
    uint32_t msi[4];
    unsigned messages; /* that it has sent for events */
};

static struct fake_unit fake[UNITS];
static char arena[UNITS][REGISTERS];

/* --- memory ----------------------------------------------------------------------------------- */

static void *fake_alloc(unsigned pages)
{
    return find_zeroed(pages, pages);
}

static void *fake_take(uint64_t size, hpa_t *at)
{
    void *p = find_pages((unsigned)(size / 4096), (unsigned)(size / 4096));
    assert_int_equal(size % 4096, 0);
    if (p != NULL)
        *at = fake_hpa(p);
    return p;
}

static void fake_flush(const void *at, size_t n)
{
    (void)at, (void)n;
    fail_msg("all walks of these units snoop");
}

/* A word of a table that is there. */
static uint64_t *word_at(uint64_t at)
{
    uint64_t i = (at - RAM_BASE) / 4096;
    assert_true(at >= RAM_BASE && i < PAGES && at % 8 == 0 && used[i]);
    return &ram[i][at % 4096 / 8];
}

/* --- events ----------------------------------------------------------------------------------- */

static uint64_t record(struct fake_unit *u, uint64_t low, uint64_t high)
{
    if ((u->control >> 2 & 1) == 0 || (u->status & 1) != 0)
        return NO_HPA;
    if ((u->event_tail + 1) % 256 == u->event_head) {
        u->status = (u->status | 1) & ~8ull; /* the log is full, and stops */
    } else {
        uint64_t at = (u->event_base & 0xffffffffff000) + u->event_tail * 16u;
        *word_at(at) = low;
        *word_at(at + 8) = high;
        u->event_tail = (u->event_tail + 1) % 256;
        u->status |= 2;
    }
    u->messages += u->control >> 3 & 1;
    return NO_HPA;
}

/* IO_PAGE_FAULT. */
static uint64_t fault(struct fake_unit *u, uint16_t device, uint64_t address, bool read,
                      bool is_irq)
{
    return record(u, 2ull << 60 | (uint64_t)!read << 53 | (uint64_t)is_irq << 51 | device, address);
}

/* --- commands --------------------------------------------------------------------------------- */

static void forget_pages(struct fake_unit *u, unsigned domain)
{
    for (unsigned i = 0; i < CACHED; i++)
        if (u->iotlb[i].domain == domain || domain > UINT16_MAX)
            u->iotlb[i].valid = false;
}

/* DEVICE beyond 16 bits: of all. */
static void forget_entry(struct fake_unit *u, unsigned device)
{
    for (unsigned i = 0; i < CACHED; i++)
        if (u->entry[i].device == device || device > UINT16_MAX)
            u->entry[i].valid = false;
}

static void forget_interrupts(struct fake_unit *u, unsigned device)
{
    for (unsigned i = 0; i < CACHED; i++)
        if (u->interrupt[i].device == device || device > UINT16_MAX)
            u->interrupt[i].valid = false;
}

static uint64_t dma(struct fake_unit *u, uint16_t device, uint64_t address, bool read,
                    uint64_t *leaf);

static bool do_command(struct fake_unit *u, uint64_t low, uint64_t high)
{
    uint16_t device = (uint16_t)low;
    switch (low >> 60) {
    case 1: /* stores; interrupts no one */
        assert_int_equal(low & 0xff0000000000007, 1);
        *word_at(low & 0xffffffffffff8) = high;
        if (u->busy != 0)
            (void)dma(u, u->busy, 0, true, NULL);
        return true;
    case 2:
        assert_true((low << 4 >> 20) == 0 && high == 0);
        forget_entry(u, device);
        return true;
    case 3:
        assert_true((low & 0xfff0000ffffffff) == 0 && high == 0x7ffffffffffff003);
        forget_pages(u, (uint16_t)(low >> 32));
        return true;
    case 5:
        assert_true((low << 4 >> 20) == 0 && high == 0);
        forget_interrupts(u, device);
        return true;
    case 8:
        assert_true(u->model.all && low << 4 == 0 && high == 0);
        forget_entry(u, UINT16_MAX + 1);
        forget_interrupts(u, UINT16_MAX + 1);
        forget_pages(u, UINT16_MAX + 1);
        u->forgot_all = true;
        return true;
    default: /* ILLEGAL_COMMAND_ERROR stops it */
        record(u, 5ull << 60, (u->command_base & 0xffffffffff000) + u->head * 16u);
        u->status &= ~0x10ull;
        return false;
    }
}

static void run_commands(struct fake_unit *u)
{
    while (u->head != u->tail && (u->status & 0x10) != 0) {
        uint64_t at = (u->command_base & 0xffffffffff000) + u->head * 16u;
        if (!do_command(u, *word_at(at), *word_at(at + 8)))
            return;
        u->head = (u->head + 1) % 256;
    }
}

/* --- registers -------------------------------------------------------------------------------- */

static struct fake_unit *unit_at(const volatile void *reg, unsigned *at)
{
    size_t offset = (size_t)((const volatile char *)reg - &arena[0][0]);
    assert_true(offset < sizeof(arena));
    *at = offset % REGISTERS;
    return &fake[offset / REGISTERS];
}

static uint64_t features_of(const struct model *m)
{
    return (uint64_t)m->x2apic << 2 | (uint64_t)m->all << 6 | (uint64_t)m->wide << 7 |
           (uint64_t)m->hats << 10 |
           (m->smi_filters != 0 ? 1ull << 16 | (uint64_t)__builtin_ctz(m->smi_filters) << 18 : 0);
}

/* A register of the filter of SMIs; NULL: there is none at AT. */
static uint64_t *filter_at(struct fake_unit *u, unsigned at)
{
    unsigned i = (at - 0x60) / 8;
    return at >= 0x60 && at < 0xe0 && at % 8 == 0 && i < u->model.smi_filters ? &u->filter[i]
                                                                              : NULL;
}

static uint64_t fake_read(const volatile void *reg, unsigned size)
{
    unsigned at;
    struct fake_unit *u = unit_at(reg, &at);
    assert_int_equal(size, 8);
    if (u->ones)
        return UINT64_MAX;
    if (filter_at(u, at) != NULL)
        return *filter_at(u, at);
    switch (at) {
    case 0x18:
        return u->control;
    case 0x30:
        assert_true(u->model.has_features);
        return features_of(&u->model);
    case 0x2010:
        return u->event_head * 16u;
    case 0x2018:
        return u->event_tail * 16u;
    case 0x2020:
        return u->status;
    default:
        fail_msg("register %x is read", at);
        return 0;
    }
}

/* Formats may change only while it is off; logs and the buffer run when their bits are on. */
static void write_control(struct fake_unit *u, uint64_t value)
{
    const uint64_t formats = 1ull << 17 | 1ull << 50;
    const uint64_t smis = u->model.smi_filters != 0 ? 1ull << 22 | 1ull << 24 : 0;
    if ((u->control & 1) == 0)
        assert_int_equal(value & ~(0x1f0full | formats | smis), 0);
    else if ((value & 1) != 0)
        assert_int_equal(u->control & formats, value & formats);
    assert_true((value >> 17 & 1) == 0 || u->model.wide);
    assert_true((value >> 50 & 1) == 0 || (u->model.x2apic && (value >> 17 & 1) != 0));
    u->smis_passed |= (u->control & ~value) >> 22 & 1;
    u->control = value;
    if (u->stuck == 0x18)
        return;
    u->status &= ~0x198ull;
    if ((value & 0x1001) == 0x1001)
        u->status |= 0x10;
    if ((value & 5) == 5)
        u->status |= 8;
    run_commands(u);
}

static void write_pointer(struct fake_unit *u, unsigned at, uint64_t value)
{
    assert_true(value % 16 == 0 && value < 4096);
    unsigned entry = (unsigned)value / 16;
    if (at == 0x2000)
        u->head = entry;
    else if (at == 0x2008)
        u->tail = entry;
    else if (at == 0x2010)
        u->event_head = entry;
    else
        u->event_tail = entry;
    if (u->stuck != at)
        run_commands(u);
}

static void fake_write(volatile void *reg, unsigned size, uint64_t value)
{
    unsigned at;
    struct fake_unit *u = unit_at(reg, &at);
    assert_true(size == 8 && !u->ones);
    if (filter_at(u, at) != NULL) { /* 17 locks it */
        assert_int_equal(value & ~0x3ffffull, 0);
        if ((*filter_at(u, at) >> 17 & 1) == 0)
            *filter_at(u, at) = value;
        return;
    }
    switch (at) {
    case 0x00: /* up to 2 MiB */
        assert_true((u->control & 1) == 0 && (value & 0xfff0000000000e00) == 0);
        u->table = value;
        return;
    case 0x08:
    case 0x10: /* 256 entries */
        assert_true((u->control & 1) == 0 && value >> 56 == 8 && (value & 0xf0000000000fff) == 0);
        *(at == 8 ? &u->command_base : &u->event_base) = value;
        return;
    case 0x18:
        write_control(u, value);
        return;
    case 0x20:
        u->exclusion = value;
        return;
    case 0x28:
        u->limit = value;
        return;
    case 0x2020:
        u->status &= ~(value & 0x667);
        return;
    default:
        assert_true(at >= 0x2000 && at < 0x2020);
        write_pointer(u, at, value);
    }
}

static inline volatile void *fake_map(hpa_t registers, uint64_t size)
{
    uint64_t i = (registers.v - UNIT_BASE) / 0x10000;
    assert_true(i < UNITS && size == REGISTERS && registers.v == UNIT_BASE + i * 0x10000);
    return arena[i];
}

/* --- its PCI function: a capability block at 40h, another at 58h, MSI at 64h ------------------ */

static uint32_t read_function(const struct fake_unit *u, unsigned reg)
{
    const struct model *m = &u->model;
    switch (reg) {
    case 0x34:
        return 0x40;
    case 0x40:
        if (m->no_function)
            return 0x35805;
        return 0x3580f | (uint32_t)m->has_features << 27 | (uint32_t)m->caches_absent << 26;
    case 0x58:
        return m->msi ? 0x6408 : 0x08;
    default:
        return reg >= 0x64 && reg < 0x74 ? u->msi[(reg - 0x64) / 4] : 0;
    }
}

static void write_function(struct fake_unit *u, unsigned reg, uint32_t value)
{
    assert_true(reg >= 0x64 && reg < 0x74 && reg % 4 == 0);
    assert_true((u->control & 1) == 0);
    u->msi[(reg - 0x64) / 4] = value;
}

/* --- what devices do -------------------------------------------------------------------------- */

/* A device's entry; false: there is none. */
static bool device_entry(struct fake_unit *u, uint16_t device, uint64_t word[4])
{
    uint64_t at = (u->table & 0xffffffffff000) + device * 32u;
    if (device >= ((u->table & 0x1ff) + 1) * 128)
        return false;
    unsigned i = 0;
    while (i < CACHED && !(u->entry[i].valid && u->entry[i].device == device))
        i++;
    if (i == CACHED) {
        i = u->next_entry++ % CACHED;
        u->entry[i] = (struct cached_entry){.valid = true, .device = device};
        for (unsigned k = 0; k < 4; k++)
            u->entry[i].word[k] = *word_at(at + 8 * k);
    }
    memcpy(word, u->entry[i].word, 32);
    assert_int_equal(word[0] & 0x9ff000000000007c, 0);
    assert_int_equal(word[1] & 0xfffffcffffff0000, 0); /* no ATS, no exclusion, SD 0 */
    assert_int_equal(word[3], 0);
    return true;
}

/* A walk of tables, from the device's entry; fills a cache entry. */
static struct cached_page walk(const uint64_t word[4], uint64_t address)
{
    uint64_t entry = word[0];
    struct cached_page c = {.valid = true, .domain = (uint16_t)word[1]};
    for (unsigned level = entry >> 9 & 7; level != 0; level = entry >> 9 & 7) {
        unsigned above = level;
        c.size = 4096ull << 9 * (level - 1);
        entry = *word_at((entry & 0xffffffffff000) + address / c.size % 512 * 8);
        if ((entry & 1) == 0) {
            entry = 0;
            break;
        }
        level = entry >> 9 & 7;
        assert_true(level == 0 || level == above - 1);
        assert_int_equal(entry & (level == 0 ? 0x8ff0000000000ffe : 0x9ff00000000001fe), 0);
    }
    assert_true(c.domain != 0 || entry == 0); /* what is blocked */
    c.page = address & ~(c.size - 1);
    c.leaf = entry;
    return c;
}

static struct cached_page translation(struct fake_unit *u, const uint64_t word[4], uint64_t address)
{
    for (unsigned i = 0; i < CACHED; i++) {
        const struct cached_page *c = &u->iotlb[i];
        if (c->valid && c->domain == (uint16_t)word[1] && address - c->page < c->size)
            return *c;
    }
    struct cached_page c = walk(word, address);
    if ((c.leaf & 1) != 0 || u->model.caches_absent)
        u->iotlb[u->next++ % CACHED] = c;
    return c;
}

/* Where a device's access goes, and by which leaf (NULL: not asked); NO_HPA: it is blocked. */
static uint64_t dma(struct fake_unit *u, uint16_t device, uint64_t address, bool read,
                    uint64_t *leaf)
{
    uint64_t word[4], right = read ? 1ull << 61 : 1ull << 62;
    if ((u->control & 1) == 0)
        return address;
    if (!device_entry(u, device, word))
        return record(u, 1ull << 60 | (uint64_t)!read << 53 | device, address);
    if ((word[0] & 1) == 0)
        return address;
    unsigned mode = word[0] >> 9 & 7;
    if ((word[0] & 2) == 0 || (word[0] & right) == 0)
        return fault(u, device, address, read, false);
    if (mode == 0)
        return address;
    assert_true(u->model.hats < 3 && mode <= 4 + u->model.hats);
    if (address >> (12 + 9 * mode) != 0)
        return fault(u, device, address, read, false);
    struct cached_page c = translation(u, word, address);
    if ((c.leaf & right) == 0)
        return fault(u, device, address, read, false);
    if (leaf != NULL)
        *leaf = c.leaf;
    return (c.leaf & 0xffffffffff000 & ~(c.size - 1)) + (address - c.page);
}

/* An entry of a device's table for interrupts. */
static bool interrupt_entry(struct fake_unit *u, uint16_t device, const uint64_t word[4],
                            unsigned index, uint64_t *low, uint64_t *high)
{
    uint64_t table = word[2] & 0xfffffffffffc0;
    bool wide = (u->control >> 17 & 1) != 0;
    if (index >= 1u << (word[2] >> 1 & 0xf))
        return false;
    unsigned i = 0;
    while (i < CACHED && !(u->interrupt[i].valid && u->interrupt[i].device == device &&
                           u->interrupt[i].index == index))
        i++;
    if (i == CACHED) {
        uint64_t pair = wide ? 0 : *word_at(table + index / 2 * 8);
        i = u->next_interrupt++ % CACHED;
        u->interrupt[i] = (struct cached_interrupt){true, device, index,
                                                    wide ? *word_at(table + index * 16)
                                                         : (uint32_t)(pair >> index % 2 * 32),
                                                    wide ? *word_at(table + index * 16 + 8) : 0};
    }
    *low = u->interrupt[i].low;
    *high = u->interrupt[i].high;
    return (*low & 1) != 0;
}

/* Of an SMI: the filter, where it is on, lets those of valid entries pass. */
static uint64_t smi(const struct fake_unit *u, uint16_t device)
{
    if ((u->control >> 22 & 1) == 0)
        return PASSES;
    for (unsigned i = 0; i < u->model.smi_filters; i++)
        if ((u->filter[i] >> 16 & 1) != 0 && (u->filter[i] & 0xffff) == device)
            return PASSES;
    return NO_HPA;
}

/*
 * Where a message goes: destination << 32 | vector; PASSES: where it says; NO_HPA: it is blocked.
 * DATA 10:8: the type. Fixed and lowest priority (0, 1) go by the table; an SMI (2) by the filter;
 * an NMI (4), INIT (5) and ExtINT (7) by a bit of the device's entry each.
 */
static uint64_t message(struct fake_unit *u, uint16_t device, uint64_t address, uint32_t data)
{
    static const uint8_t bits[8] = {[4] = 186 - 128, [5] = 184 - 128, [7] = 185 - 128};
    uint64_t word[4], low, high;
    bool wide = (u->control >> 17 & 1) != 0;
    unsigned type = data >> 8 & 7;
    assert_int_equal(address >> 20, 0xfee);
    if (type == 2)
        return smi(u, device);
    if (!device_entry(u, device, word))
        return NO_HPA;
    assert_true((word[2] & 1) != 0);
    if (bits[type] != 0 && (word[2] >> bits[type] & 1) != 0)
        return PASSES;
    if (type > 1 || (word[2] >> 60 & 3) == 0)
        return fault(u, device, address, false, true);
    assert_int_equal(word[2] >> 60 & 3, 2);
    assert_int_equal(word[2] & 0x8f0000000000020 & ~(7ull << 56), 0);
    if (!interrupt_entry(u, device, word, data & 0x7ff, &low, &high))
        return fault(u, device, address, false, true);
    assert_int_equal(low & 0xfe, 0); /* fixed, physical, no guest, faults recorded */
    if (!wide) {
        assert_int_equal(low >> 24, 0);
        return (low >> 8 & 0xff) << 32 | (low >> 16 & 0xff);
    }
    assert_true(low >> 32 == 0 && (high & 0xffffffffffff00) == 0);
    if ((u->control >> 50 & 1) == 0)
        assert_true(low >> 16 == 0 && high >> 56 == 0);
    return ((low >> 8 & 0xffffff) | high >> 56 << 24) << 32 | (high & 0xff);
}
