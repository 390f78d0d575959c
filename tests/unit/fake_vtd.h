/*
 * A model of VT-d units for host tests: registers, the queue's engine, a context cache, an IOTLB
 * and an interrupt entry cache whose entries stay until they are invalidated, whatever memory says.
 * Written from the specification, by bit numbers. What a unit reads is what has reached memory.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/errno.h"
#include "tests/unit/fake_iommu.h"

enum { UNITS = 3, CACHED = 4096, RECORDS = 4, SPACE = 0x5000 };
#define UNIT_BASE 0xfed90000ull

/* What a unit is like. */
struct model {
    bool coherent, queued, caches_absent, write_buffer, snoops, remaps, eim, protects,
        protects_high;
    unsigned sagaw, mgaw, leaves, nd; /* SAGAW's bits; bits; SLLPS; ND */
};

struct cached_page {
    bool valid, present;
    uint16_t source, id;
    uint64_t page, leaf, size;
};

struct fake_unit {
    struct model model;
    bool ones, forgot_contexts, forgot_pages, forgot_interrupts;
    unsigned stuck; /* a register that no longer changes; 0: none */
    uint32_t gsts, fsts, pmen, fectl, fedata, feaddr, feuaddr;
    uint64_t rtaddr, root, iqa, iqh, iqt, irta, table, ccmd, iotlb_reg;
    uint64_t protected[4]; /* the low region's base and limit, the high one's */
    unsigned offs;         /* how often translation has been turned off */
    struct {
        bool valid, present;
        uint64_t low, high;
    } context[65536], interrupt[1024];
    struct cached_page iotlb[CACHED];
    unsigned next;
    uint64_t record[RECORDS][2];
    unsigned flushes; /* of write buffers */
};

static uint64_t memory[PAGES][512]; /* what has reached it of ram */
static struct fake_unit fake[UNITS];
static char arena[UNITS][SPACE];
static uint64_t mapped[UNITS]; /* bytes of it */

/* --- memory ----------------------------------------------------------------------------------- */

static void *fake_alloc(unsigned pages)
{
    return find_zeroed(pages, 1);
}

static void fake_free(void *page)
{
    free_page(page);
    memset(memory[page_of(page)], 0xff, sizeof(memory[0]));
}

/* Whole lines. */
static void fake_flush(const void *at, size_t n)
{
    size_t offset = (size_t)((const char *)at - (const char *)ram);
    size_t start = offset / 64 * 64, end = (offset + n + 63) / 64 * 64;
    assert_true(offset < sizeof(ram) && n <= sizeof(ram) - offset);
    memcpy((char *)memory + start, (const char *)ram + start, end - start);
}

static void write_buffer_drains(void)
{
    memcpy(memory, ram, sizeof(memory));
}

/* A word of the queue as the unit reads it, whose tail is written behind it. */
static uint64_t fetch_queue(const struct fake_unit *u, uint64_t at)
{
    uint64_t i = (at - RAM_BASE) / 4096;
    assert_true(at >= RAM_BASE && i < PAGES && used[i]);
    return u->model.coherent ? ram[i][at % 4096 / 8] : memory[i][at % 4096 / 8];
}

/* A word of a table as the unit reads it. */
static uint64_t fetch(const struct fake_unit *u, uint64_t at)
{
    assert_true(at >= RAM_BASE && at < RAM_BASE + PAGES * 4096ull && at % 8 == 0);
    uint64_t i = (at - RAM_BASE) / 4096, word = at % 4096 / 8;
    assert_true(used[i]);
    return u->model.coherent && !u->model.write_buffer ? ram[i][word] : memory[i][word];
}

/* --- invalidation ----------------------------------------------------------------------------- */

static void forget_contexts(struct fake_unit *u)
{
    if (u->model.write_buffer)
        write_buffer_drains();
    memset(u->context, 0, sizeof(u->context));
    u->forgot_contexts = true;
}

/* ID 0: of all. Pages must not come back by contexts that are still cached. */
static void forget_pages(struct fake_unit *u, uint16_t id)
{
    if (u->model.write_buffer)
        write_buffer_drains();
    for (unsigned i = 0; i < CACHED; i++)
        if (id == 0 || u->iotlb[i].id == id)
            u->iotlb[i].valid = false;
    u->forgot_pages |= id == 0;
}

static void do_descriptor(struct fake_unit *u, uint64_t low, uint64_t high)
{
    unsigned type = low & 0xf, scope = low >> 4 & 3;
    if (type == 1) {
        assert_int_equal(low, 0x11);
        forget_contexts(u);
    } else if (type == 2) {
        assert_true(scope == 1 || scope == 2);
        assert_int_equal(low >> 6 & 3, 3);
        assert_int_equal(high, 0);
        forget_pages(u, scope == 1 ? 0 : (uint16_t)(low >> 16));
    } else if (type == 4) {
        if ((low >> 4 & 1) == 0) {
            memset(u->interrupt, 0, sizeof(u->interrupt));
            u->forgot_interrupts = true;
        } else {
            assert_int_equal(low >> 27 & 0x1f, 0);
            u->interrupt[low >> 32 & 0x3ff].valid = false;
        }
    } else {
        assert_int_equal(low & 0xff, 0x25); /* type 5, a status write, no interrupt */
        uint64_t i = (high - RAM_BASE) / 4096;
        assert_true(high % 4 == 0 && i < PAGES && used[i]);
        memcpy((char *)ram[i] + high % 4096, (const char *)&low + 4, 4);
        memcpy((char *)memory[i] + high % 4096, (const char *)&low + 4, 4);
    }
}

/* "Invalidation Queue Error": the head stays at what is no descriptor. */
static void run_queue(struct fake_unit *u)
{
    while (u->iqh != u->iqt && (u->gsts >> 26 & 1) != 0 && (u->fsts & 0x50) == 0) {
        uint64_t at = (u->iqa & ~0xfffull) + u->iqh;
        uint64_t low = fetch_queue(u, at), high = fetch_queue(u, at + 8);
        if (low == 0) {
            u->fsts |= 0x10;
            return;
        }
        do_descriptor(u, low, high);
        u->iqh = (u->iqh + 16) % 4096;
    }
}

/* --- registers -------------------------------------------------------------------------------- */

static uint64_t cap_of(const struct model *m)
{
    return m->nd | (uint64_t)m->write_buffer << 4 | (uint64_t)m->protects << 5 |
           (uint64_t)m->protects_high << 6 | (uint64_t)m->caches_absent << 7 |
           (uint64_t)m->sagaw << 8 | (uint64_t)(m->mgaw - 1) << 16 | 0x22ull << 24 |
           (uint64_t)m->leaves << 34 | (uint64_t)(RECORDS - 1) << 40 | 3ull << 54;
}

/* FRO 220h, IRO 1000h: beyond the first page. */
static uint64_t ecap_of(const struct model *m)
{
    return (uint64_t)m->coherent | (uint64_t)m->queued << 1 | (uint64_t)m->remaps << 3 |
           (uint64_t)m->eim << 4 | (uint64_t)m->snoops << 7 | 0x100ull << 8;
}

static struct fake_unit *unit_at(const volatile void *reg, unsigned *offset)
{
    size_t at = (size_t)((const volatile char *)reg - (const volatile char *)arena);
    assert_true(at < sizeof(arena));
    *offset = (unsigned)(at % SPACE);
    assert_true(*offset < mapped[at / SPACE]);
    return &fake[at / SPACE];
}

static uint64_t fake_read(const volatile void *reg, unsigned size)
{
    unsigned at, record;
    struct fake_unit *u = unit_at(reg, &at);
    assert_true((size == 4 || size == 8) && at % size == 0);
    if (u->ones)
        return size == 8 ? UINT64_MAX : UINT32_MAX;
    record = (at - 0x220) / 16;
    if (at >= 0x220 && record < RECORDS) {
        assert_int_equal(size, 8);
        return u->record[record][at / 8 % 2];
    }
    switch (at) {
    case 0x00:
        return 0x10;
    case 0x08:
        return cap_of(&u->model);
    case 0x10:
        return ecap_of(&u->model);
    case 0x1c:
        return u->gsts;
    case 0x20:
        return u->rtaddr;
    case 0x28:
        return u->ccmd;
    case 0x34:
        return u->fsts;
    case 0x64:
        return u->pmen;
    case 0x80:
        return u->iqh;
    case 0x88:
        return u->iqt;
    case 0x1008:
        return u->iotlb_reg;
    default:
        fail_msg("register 0x%x is read", at);
    }
    return 0;
}

static bool is_protected(const struct fake_unit *u, uint64_t address)
{
    const uint64_t *r = u->protected;
    return (u->pmen & 1) != 0 &&
           ((address >= r[0] && address <= r[1]) || (address >= r[2] && address <= r[3]));
}

/* "Protected Memory Regions": where DMA goes while translation is off. */
static uint64_t untranslated(const struct fake_unit *u, uint64_t address)
{
    return is_protected(u, address) ? NO_HPA : address;
}

/* A mode of the root table is another one's only while translation is off. */
static void set_root(struct fake_unit *u)
{
    assert_true((u->gsts >> 31) == 0 || (u->root >> 10 & 3) == (u->rtaddr >> 10 & 3));
    u->root = u->rtaddr;
    u->gsts |= 1u << 30;
    u->forgot_contexts = u->forgot_pages = false;
}

/* While translation is off no DMA passes, where the unit can do that. */
static void turn_off(struct fake_unit *u)
{
    static const uint64_t places[] = {0, 0x7f000000, 0xfffff000, 4 * GIB, (1ull << 48) - 4096};
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
        if (places[i] < 4 * GIB ? u->model.protects : u->model.protects_high)
            assert_int_equal(untranslated(u, places[i]), NO_HPA);
    u->offs++;
}

/* Commands that are done once, and bits that stay. */
static void write_gcmd(struct fake_unit *u, uint32_t value)
{
    const uint32_t stays = 0x86800000; /* TE, QIE, IRE, CFI */
    uint32_t changed = (u->gsts ^ value) & stays;
    assert_int_equal(value & ~(stays | 0x49000000), 0);
    assert_true(__builtin_popcount(changed | (value & 0x49000000)) <= 1);
    if (u->stuck == 0x1c)
        return;
    if ((value >> 30 & 1) != 0)
        set_root(u);
    if ((value >> 27 & 1) != 0) {
        write_buffer_drains();
        u->flushes++;
    }
    if ((value >> 24 & 1) != 0) {
        u->table = u->irta;
        u->gsts |= 1u << 24;
        u->forgot_interrupts = false;
    }
    if ((changed & value) >> 31 != 0)
        assert_true((u->gsts >> 30 & 1) != 0 && u->forgot_contexts && u->forgot_pages);
    if (((changed & value) >> 25 & 1) != 0)
        assert_true((u->gsts >> 24 & 1) != 0 && u->forgot_interrupts && (u->gsts >> 23 & 1) == 0);
    if ((changed & ~value) >> 31 != 0)
        turn_off(u);
    if ((changed & ~value & 1 << 26) != 0)
        assert_true(u->iqh == u->iqt && (u->fsts & 0x50) == 0);
    if ((changed & 1 << 26) != 0)
        u->iqh = 0;
    u->gsts = (u->gsts & ~stays) | (value & stays);
}

static void write_fault(struct fake_unit *u, unsigned at, uint64_t value)
{
    unsigned record = (at - 0x220) / 16;
    assert_true(at % 16 == 12 && record < RECORDS);
    u->record[record][1] &= ~(value << 32);
    bool any = false;
    for (unsigned i = 0; i < RECORDS; i++)
        any |= u->record[i][1] >> 63 != 0;
    u->fsts = (u->fsts & ~2u) | (any ? 2 : 0);
}

static void fake_write(volatile void *reg, unsigned size, uint64_t value)
{
    unsigned at;
    struct fake_unit *u = unit_at(reg, &at);
    assert_true((size == 4 || size == 8) && at % size == 0 && !u->ones);
    bool wide = size == 8;
    switch (at) {
    case 0x18:
        write_gcmd(u, (uint32_t)value);
        return;
    case 0x20:
        assert_true(wide && value % 4096 == 0);
        u->rtaddr = value;
        return;
    case 0x28:
        assert_true(wide && !u->model.queued && value == 0xa000000000000000);
        u->ccmd = u->stuck == at ? value : 0;
        forget_contexts(u);
        return;
    case 0x34:
        u->fsts &= ~((uint32_t)value & 0x71);
        run_queue(u);
        return;
    case 0x38:
        u->fectl = (uint32_t)value;
        return;
    case 0x3c:
        u->fedata = (uint32_t)value;
        return;
    case 0x40:
        u->feaddr = (uint32_t)value;
        return;
    case 0x44:
        u->feuaddr = (uint32_t)value;
        return;
    case 0x64:
        assert_true((value >> 31) != 0 || (u->gsts >> 31) != 0); /* dropped behind translation */
        u->pmen = u->stuck == at ? (uint32_t)value | 1 : (uint32_t)(value >> 31) * 0x80000001;
        return;
    case 0x68:
    case 0x6c:
        assert_true(!wide && u->model.protects && u->pmen == 0);
        u->protected[(at - 0x68) / 4] = value;
        return;
    case 0x70:
    case 0x78:
        assert_true(wide && u->model.protects_high && u->pmen == 0);
        assert_true(at == 0x78 || value >> 32 != 0);
        u->protected[2 + (at - 0x70) / 8] = value;
        return;
    case 0x88:
        assert_true(wide);
        u->iqt = value;
        if (u->stuck != at)
            run_queue(u);
        return;
    case 0x90:
        assert_true(wide && value % 4096 == 0);
        u->iqa = value;
        return;
    case 0xb8:
        assert_true(wide);
        u->irta = value;
        return;
    case 0x1008:
        assert_true(wide && !u->model.queued && value >> 63 != 0 && (value >> 48 & 3) == 3);
        u->iotlb_reg = u->stuck == at ? value : value & ~(1ull << 63);
        forget_pages(u, (value >> 60 & 3) == 1 ? 0 : (uint16_t)(value >> 32));
        return;
    default:
        write_fault(u, at, value);
    }
}

static inline volatile void *fake_map(hpa_t registers, uint64_t size)
{
    uint64_t i = (registers.v - UNIT_BASE) / 0x10000;
    assert_true(i < UNITS && size <= SPACE && registers.v == UNIT_BASE + i * 0x10000);
    mapped[i] = size;
    return arena[i];
}

/* --- what devices do -------------------------------------------------------------------------- */

/* "Fault Recording": a record that is not free is an overflow. */
static uint64_t fault(struct fake_unit *u, uint16_t source, uint64_t address, bool read,
                      unsigned reason)
{
    for (unsigned i = 0; i < RECORDS; i++)
        if (u->record[i][1] >> 63 == 0) {
            u->record[i][0] = address & ~0xfffull;
            u->record[i][1] = 1ull << 63 | (uint64_t)read << 62 | (uint64_t)reason << 32 | source;
            u->fsts |= 2;
            return NO_HPA;
        }
    u->fsts |= 1;
    return NO_HPA;
}

/* A source's context: cached where it is present, or where the unit caches what is not. */
static bool context(struct fake_unit *u, uint16_t source, uint64_t *low, uint64_t *high)
{
    if (!u->context[source].valid) {
        uint64_t root = fetch(u, u->root + (source >> 8) * 16u);
        assert_int_equal(root & 0xffe, 0);
        *low = *high = 0;
        if ((root & 1) != 0) {
            *low = fetch(u, (root & ~0xfffull) + (source & 0xff) * 16u);
            *high = fetch(u, (root & ~0xfffull) + (source & 0xff) * 16u + 8);
        }
        bool present = (*low & 1) != 0;
        u->context[source].low = *low;
        u->context[source].high = *high;
        u->context[source].present = present;
        u->context[source].valid = present || u->model.caches_absent;
        return present;
    }
    *low = u->context[source].low;
    *high = u->context[source].high;
    return u->context[source].present;
}

/* A walk of second-level tables; fills a cache entry. */
static struct cached_page walk(struct fake_unit *u, uint64_t low, uint64_t high, uint64_t address)
{
    unsigned level = (unsigned)(high & 7) + 2;
    uint64_t table = low & ~0xfffull, entry;
    assert_true((u->model.sagaw >> (level - 2) & 1) != 0 && (low & 0xffe) == 0);
    struct cached_page c = {.id = (uint16_t)(high >> 8)};
    assert_true(c.id != 0 && c.id < 16u << 2 * u->model.nd && high >> 24 == 0);
    for (;; level--) {
        c.size = 4096ull << 9 * (level - 1);
        entry = fetch(u, table + address / c.size % 512 * 8);
        if ((entry & 3) == 0)
            break;
        assert_true(u->model.snoops || (entry >> 11 & 1) == 0);
        assert_int_equal(entry & 0xfff000000000077c, 0);
        if (level == 1 || (entry & 0x80) != 0)
            break;
        table = entry & 0xffffffffff000;
    }
    assert_true((entry & 3) == 0 || level == 1 || (u->model.leaves >> (level - 2) & 1) != 0);
    c.present = (entry & 3) != 0;
    c.page = address & ~(c.size - 1);
    c.leaf = entry;
    c.valid = true;
    return c;
}

static struct cached_page translation(struct fake_unit *u, uint16_t source, uint64_t low,
                                      uint64_t high, uint64_t address)
{
    uint16_t id = (uint16_t)(high >> 8);
    for (unsigned i = 0; i < CACHED; i++) {
        const struct cached_page *c = &u->iotlb[i];
        if (c->valid && c->id == id && address - c->page < c->size)
            return *c;
    }
    struct cached_page c = walk(u, low, high, address);
    c.source = source;
    if (c.present || u->model.caches_absent)
        u->iotlb[u->next++ % CACHED] = c;
    return c;
}

/* Where a device's access goes, and by which leaf (NULL: not asked); NO_HPA: it is blocked. */
static uint64_t dma(struct fake_unit *u, uint16_t source, uint64_t address, bool read,
                    uint64_t *leaf)
{
    uint64_t low, high;
    if ((u->gsts >> 31) == 0)
        return untranslated(u, address);
    if (!context(u, source, &low, &high))
        return fault(u, source, address, read, 2);
    unsigned bits = 30 + 9 * (unsigned)(high & 7);
    if (address >> (bits < u->model.mgaw ? bits : u->model.mgaw) != 0)
        return fault(u, source, address, read, 4);
    struct cached_page c = translation(u, source, low, high, address);
    if ((c.leaf & (read ? 1 : 2)) == 0)
        return fault(u, source, address, read, read ? 6 : 5);
    if (leaf != NULL)
        *leaf = c.leaf;
    return (c.leaf & 0xffffffffff000 & ~(c.size - 1)) + (address - c.page);
}

/* Where a message goes: destination << 32 | TM << 8 | vector; NO_HPA: it is blocked. */
static uint64_t message(struct fake_unit *u, uint16_t source, uint64_t address, uint32_t data)
{
    unsigned index = (unsigned)(address >> 5 & 0x7fff) | (unsigned)(address >> 2 & 1) << 15;
    assert_int_equal(address >> 20, 0xfee);
    if ((address >> 4 & 1) == 0)
        return fault(u, source, 0, false, 0x25);
    if ((address >> 3 & 1) != 0)
        index += data & 0xffff;
    if (index >= 2u << (u->table & 0xf))
        return fault(u, source, (uint64_t)index << 48, false, 0x21);
    uint64_t at = (u->table & ~0xfffull) + index * 16;
    if (!u->interrupt[index].valid) {
        u->interrupt[index].low = fetch(u, at);
        u->interrupt[index].high = fetch(u, at + 8);
        u->interrupt[index].valid = (u->interrupt[index].low & 1) != 0 || u->model.caches_absent;
    }
    uint64_t low = u->interrupt[index].low, high = u->interrupt[index].high;
    if ((low & 1) == 0)
        return fault(u, source, (uint64_t)index << 48, false, 0x22);
    assert_int_equal(low & 0xff0080ee, 0); /* fixed, physical, no hint, remapped */
    assert_int_equal(high >> 16, 4);       /* SQ 0, SVT 1 */
    if ((uint16_t)high != source)
        return fault(u, source, (uint64_t)index << 48, false, 0x26);
    bool wide = (u->table >> 11 & 1) != 0;
    if (!wide)
        assert_int_equal(low >> 48 | (low >> 32 & 0xff), 0);
    return (wide ? low >> 32 : low >> 40 & 0xff) << 32 | (low >> 4 & 1) << 8 | (low >> 16 & 0xff);
}
