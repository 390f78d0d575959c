/* The page-table engine against a flat array of pages, with a TLB that forgets only what it is
 * told. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/host.h"

#include <stdlib.h>

#include "drivers/amdvi_format.h"
#include "drivers/vtd_format.h"
#include "lib/errno.h"
#include "mm/pt_host.h"
#include "svm/npt.h"
#include "vmx/ept.h"

#define PAGE_2M    0x200000ull
#define PAGE_1G    0x40000000ull
#define TABLE_BASE 0x700000000ull
#define ABSENT     UINT64_MAX

enum {
    POOL = 2200,
    WINDOW = 3 * 0x40000,
    TLB_SLOTS = 96,
    ATTRS = 4,
    LARGE_OPS = 25,
    SMALL_OPS = 250
};

/* --- the formats, read by the manuals' bit numbers, not by the code's names --------------------
 */

struct form {
    const struct pt_format *format;
    uint64_t middle;            /* the model's window lies around it: a multiple of 512 GiB */
    uint64_t table;             /* all bits of an entry for a table but the address */
    uint64_t fixed_mask, fixed; /* bits that every leaf has the same */
    struct pt_attr attrs[ATTRS];
};

static const struct form forms[] = {
    {&pt_host_format,
     0xffffff8000000000ull,
     0x23,
     0x7ff0000000000165ull,
     0x61,
     {{3, 6, false}, {5, 6, false}, {3, 0, false}, {7, 1, false}}},
    {&npt_format,
     0x8000000000ull,
     0x27,
     0x7ff0000000000165ull,
     0x65,
     {{7, 6, false}, {7, 0, false}, {7, 5, false}, {1, 4, false}}},
    {&ept_format,
     0x8000000000ull,
     0x07,
     0xfff0000000000f00ull,
     0,
     {{7, 6, false}, {7, 0, true}, {5, 0, false}, {4, 1, false}}},
    {&vtd_formats[4 - VTD_MIN_LEVELS],
     0x8000000000ull,
     0x03,
     0xfff000000000077cull,
     0,
     {{3, 6, false}, {3, 0, false}, {1, 6, false}, {2, 0, false}}},
    {&amdvi_formats[4 - AMDVI_MIN_LEVELS],
     0x8000000000ull,
     0x6000000000000001ull,
     0x8ff0000000000fffull,
     0x01,
     {{3, 6, false}, {3, 0, false}, {1, 6, false}, {2, 0, false}}},
};

/* One translation as the CPU would cache it. */
struct walk {
    bool present;
    uint64_t base, size, hpa; /* of the leaf; or of the entry that is not present */
    struct pt_attr attr;
    unsigned level;
    uint64_t raw;
    uint64_t tables[4]; /* page numbers from the root down, for the structure caches */
    unsigned depth;
};

struct fake {
    struct pt pt;
    const struct form *form;
    uint64_t random;
    bool used[POOL];
    unsigned used_count, allocs, calls, splits, joins;
    long budget; /* pages that alloc() still gives */
    struct walk tlb[TLB_SLOTS];
    uint64_t va, lead, window; /* the model's first address; pages below the middle, and in all */
    uint64_t from, pages;      /* the change under test, in pages of the window */
};

static uint64_t pool[POOL][512];
static uint64_t memory[POOL][512]; /* the same for a walk that does not look into caches */
static uint64_t snapshot[POOL][512];
static uint64_t model_hpa[WINDOW];
static struct pt_attr model_attr[WINDOW];
static bool reported[WINDOW];
static enum { NOT_TOLD, TOLD, TOLD_OF_TABLE } told[WINDOW];
static struct fake fake;

static bool same(struct pt_attr a, struct pt_attr b)
{
    return a.perm == b.perm && a.type == b.type && a.ipat == b.ipat;
}

static uint64_t bit(uint64_t raw, unsigned n)
{
    return raw >> n & 1;
}

static bool is_second_level(const struct form *form)
{
    return form->format == &vtd_formats[4 - VTD_MIN_LEVELS];
}

/* Its entries say of what level a table is; 0: of none. */
static bool says_level(const struct form *form)
{
    return form->format == &amdvi_formats[4 - AMDVI_MIN_LEVELS];
}

static uint64_t raw_present(const struct form *form)
{
    return form->format == &ept_format ? 7 : is_second_level(form) ? 3 : 1;
}

static struct pt_attr raw_attr(const struct form *form, uint64_t raw, unsigned level)
{
    static const uint8_t by_slot[8] = {6, 4, 7, 0, 1, 5, 7, 0};
    struct pt_attr attr = {(uint8_t)(raw & 7), (uint8_t)(raw >> 3 & 7), bit(raw, 6) != 0};
    if (is_second_level(form))
        return (struct pt_attr){(uint8_t)(raw & 3), bit(raw, 11) != 0 ? 6 : 0, false};
    if (says_level(form))
        return (struct pt_attr){(uint8_t)(raw >> 61 & 3), bit(raw, 60) != 0 ? 6 : 0, false};
    if (form->format == &ept_format)
        return attr;
    attr.perm = (uint8_t)(1 | bit(raw, 1) << 1 | (bit(raw, 63) ^ 1) << 2);
    attr.type = by_slot[bit(raw, 3) | bit(raw, 4) << 1 | bit(raw, level == 1 ? 7 : 12) << 2];
    attr.ipat = false;
    return attr;
}

/* Of an entry above level 1. */
static bool raw_is_leaf(const struct form *form, uint64_t raw)
{
    return says_level(form) ? (raw >> 9 & 7) == 0 : bit(raw, 7) != 0;
}

static struct walk raw_walk(const struct fake *f, uint64_t va)
{
    struct walk w = {.level = 4};
    uint64_t page = (f->pt.root.v - TABLE_BASE) / 4096;
    for (;; w.level--) {
        w.tables[w.depth++] = page;
        w.size = 4096ull << 9 * (w.level - 1);
        w.raw = memory[page][va / w.size % 512];
        w.base = va & ~(w.size - 1);
        w.present = (w.raw & raw_present(f->form)) != 0;
        if (!w.present)
            return w;
        if (w.level == 1 || raw_is_leaf(f->form, w.raw))
            break;
        uint64_t level = says_level(f->form) ? (w.level - 1) << 9 : 0;
        assert_int_equal(w.raw & ~0xffffffffff000ull, f->form->table | level);
        page = ((w.raw & 0xffffffffff000ull) - TABLE_BASE) / 4096;
        assert_true(page < POOL && f->used[page]);
    }
    assert_int_equal(w.raw & f->form->fixed_mask, f->form->fixed);
    assert_true(w.level <= f->pt.max_leaf);
    bool has_pat = raw_present(f->form) == 1 && !says_level(f->form);
    uint64_t low = w.level == 1 || !has_pat ? 0 : 0x1000;
    assert_int_equal(w.raw & 0xffffffffff000ull & (w.size - 1) & ~low, 0);
    w.hpa = w.raw & 0xffffffffff000ull & ~(w.size - 1);
    w.attr = raw_attr(f->form, w.raw, w.level);
    return w;
}

/* --- the CPU's caches ------------------------------------------------------------------------- */

static void tlb_fill(struct fake *f, unsigned n)
{
    while (n-- > 0) {
        uint64_t page = host_random(&f->random) % f->window;
        if (f->pages != 0 && host_random(&f->random) % 4 != 0)
            page =
                (f->from + f->window - 8 + host_random(&f->random) % (f->pages + 16)) % f->window;
        struct walk w = raw_walk(f, f->va + page * 4096);
        f->tlb[host_random(&f->random) % TLB_SLOTS] = w;
    }
}

/* Forgets what the range covers. Entries that are not present stand for the structure caches. */
static void tlb_drop(struct fake *f, uint64_t va, uint64_t size, struct pt_attr old)
{
    for (unsigned i = 0; i < TLB_SLOTS; i++) {
        struct walk *w = &f->tlb[i];
        if (w->depth == 0 || w->base > va + (size - 1) || va > w->base + (w->size - 1))
            continue;
        if (w->present && old.perm != 0)
            assert_true(same(w->attr, old));
        *w = (struct walk){0};
    }
}

static void tlb_check(const struct fake *f)
{
    for (unsigned i = 0; i < TLB_SLOTS; i++) {
        const struct walk *w = &f->tlb[i];
        if (w->depth == 0 || !w->present)
            continue;
        struct walk now = raw_walk(f, w->base);
        assert_true(now.present && now.raw == w->raw && now.size == w->size);
    }
}

/* --- the owner -------------------------------------------------------------------------------- */

static bool fake_alloc(struct pt *pt, hpa_t *page)
{
    struct fake *f = pt->context;
    unsigned i = (unsigned)(host_random(&f->random) % POOL);
    if (f->budget == 0 || f->used_count == POOL)
        return false;
    while (f->used[i])
        i = (i + 1) % POOL;
    memset(pool[i], 0, sizeof(pool[i]));
    f->used[i] = true;
    f->used_count++;
    f->allocs++;
    f->budget--;
    *page = hpa(TABLE_BASE + i * 4096ull);
    return true;
}

static void fake_free(struct pt *pt, hpa_t page)
{
    struct fake *f = pt->context;
    uint64_t i = (page.v - TABLE_BASE) / 4096;
    assert_true(i < POOL && f->used[i]);
    for (unsigned t = 0; t < TLB_SLOTS; t++)
        for (unsigned d = 0; d < f->tlb[t].depth; d++)
            assert_true(f->tlb[t].tables[d] != i);
    f->used[i] = false;
    f->used_count--;
    memset(pool[i], 0xff, sizeof(pool[i]));
    memset(memory[i], 0xff, sizeof(memory[i]));
}

static uint64_t *fake_at(const struct pt *pt, hpa_t page)
{
    const struct fake *f = pt->context;
    uint64_t i = (page.v - TABLE_BASE) / 4096;
    assert_true(page.v >= TABLE_BASE && i < POOL && f->used[i]);
    return pool[i];
}

/* Whole lines reach memory. */
static void fake_flush(const struct pt *pt, const void *at, size_t n)
{
    size_t offset = (size_t)((const char *)at - (const char *)pool);
    size_t start = offset / 64 * 64, end = (offset + n + 63) / 64 * 64;
    (void)pt;
    assert_true(offset < sizeof(pool) && n <= sizeof(pool) - offset);
    memcpy((char *)memory + start, (const char *)pool + start, end - start);
}

/* Nothing in the range may be present now; what it was must be what the model says. */
static void fake_invalidate(struct pt *pt, uint64_t va, uint64_t size, struct pt_attr old)
{
    struct fake *f = pt->context;
    f->calls++;
    assert_true(size > 0 && (va | size) % 4096 == 0);
    for (uint64_t done = 0; done < size;) {
        struct walk w = raw_walk(f, va + done);
        assert_false(w.present);
        done = w.base + w.size - va;
    }
    uint64_t page = (va - f->va) / 4096;
    for (uint64_t i = page; old.perm != 0 && i < page + size / 4096; i++) {
        if (i >= f->window || model_hpa[i] == ABSENT || !same(model_attr[i], old) || reported[i])
            fail_msg("page %llu: invalidated as what it was not", (unsigned long long)i);
        reported[i] = true;
    }
    tlb_drop(f, va, size, old);
    tlb_fill(f, 4);
}

static void told_of_leaves(struct fake *f, const struct pt_step *step)
{
    for (uint64_t at = step->va; at != step->va + step->size; at += 4096) {
        struct walk w = raw_walk(f, at);
        uint64_t i = (at - f->va) / 4096;
        assert_true(i < f->window && told[i] == NOT_TOLD && w.level == step->level);
        assert_true(w.present ? same(w.attr, step->new) : step->new.perm == 0);
        assert_true(step->old.perm == 0 || same(model_attr[i], step->old));
        told[i] = step->old.perm != 0 ? TOLD : TOLD_OF_TABLE;
    }
}

/* The tables must say already what is told. */
static void fake_told(struct pt *pt, const struct pt_step *step)
{
    struct fake *f = pt->context;
    if (step->kind == PT_LEAVES) {
        told_of_leaves(f, step);
        return;
    }
    unsigned level = step->kind == PT_JOIN ? step->level : step->level - 1u;
    assert_true(step->size == 4096ull << 9 * (step->level - 1) && step->va % step->size == 0);
    assert_true(same(step->old, step->new));
    for (uint64_t done = 0; done < step->size; done += 4096ull << 9 * (level - 1)) {
        struct walk w = raw_walk(f, step->va + done);
        assert_true(w.present && w.level == level && same(w.attr, step->new));
        f->splits += step->kind == PT_SPLIT && done == 0;
        f->joins += step->kind == PT_JOIN;
    }
}

static const struct pt_owner owner = {.alloc = fake_alloc,
                                      .free = fake_free,
                                      .at = fake_at,
                                      .invalidate = fake_invalidate,
                                      .flush = fake_flush,
                                      .told = fake_told};

static void fake_init(const struct form *form, unsigned max_leaf, uint64_t seed)
{
    fake = (struct fake){.form = form, .random = seed, .budget = -1};
    fake.lead = max_leaf == 3 ? PAGE_1G / 4096 : 4 * 512;
    fake.window = 3 * fake.lead;
    fake.va = form->middle - fake.lead * 4096;
    for (unsigned i = 0; i < WINDOW; i++)
        model_hpa[i] = ABSENT;
    assert_int_equal(pt_init(&fake.pt, form->format, &owner, &fake, max_leaf), 0);
}

static void fake_destroy(void)
{
    memset(fake.tlb, 0, sizeof(fake.tlb));
    pt_destroy(&fake.pt);
    assert_int_equal(fake.used_count, 0);
    assert_int_equal(fake.pt.pages, 0);
}

/* --- the model -------------------------------------------------------------------------------- */

enum op_kind { OP_MAP, OP_UNMAP, OP_RETYPE };

struct op {
    enum op_kind kind;
    uint64_t page, pages, hpa;
    struct pt_attr attr;
};

static int run(const struct op *op)
{
    uint64_t va = fake.va + op->page * 4096, size = op->pages * 4096;
    if (op->kind == OP_MAP)
        return pt_map(&fake.pt, va, hpa(op->hpa), size, op->attr);
    if (op->kind == OP_UNMAP)
        return pt_unmap(&fake.pt, va, size);
    return pt_retype(&fake.pt, va, size, op->attr);
}

/* Updates the model. What was present and changes must have been reported as leaving its
 * attributes. */
static void model_run(const struct op *op)
{
    for (uint64_t i = op->page; i < op->page + op->pages; i++) {
        uint64_t to = model_hpa[i];
        struct pt_attr attr = op->attr;
        if (op->kind == OP_MAP)
            to = op->hpa + (i - op->page) * 4096;
        else if (op->kind == OP_UNMAP)
            to = ABSENT;
        bool was = model_hpa[i] != ABSENT;
        bool change = to != model_hpa[i] || (was && !same(attr, model_attr[i]));
        bool expected = was && change;
        if (reported[i] != expected && (expected || op->kind != OP_MAP))
            fail_msg("page %llu reported: %d", (unsigned long long)i, reported[i]);
        if ((expected && told[i] == NOT_TOLD) ||
            (!expected && told[i] == TOLD && op->kind != OP_MAP))
            fail_msg("page %llu told: %d", (unsigned long long)i, told[i]);
        told[i] = NOT_TOLD;
        model_hpa[i] = to;
        model_attr[i] = attr;
        reported[i] = false;
    }
}

/* True if one entry that stands for N pages can say what the model says of them. */
static bool is_one_entry(uint64_t page, uint64_t n, bool leaf_allowed)
{
    bool present = model_hpa[page] != ABSENT;
    if (present && (!leaf_allowed || model_hpa[page] % (n * 4096) != 0))
        return false;
    for (uint64_t i = 1; i < n; i++) {
        if ((model_hpa[page + i] != ABSENT) != present)
            return false;
        if (present && (model_hpa[page + i] != model_hpa[page] + i * 4096 ||
                        !same(model_attr[page + i], model_attr[page])))
            return false;
    }
    return true;
}

/* The fewest table pages that can say what the model says. */
static unsigned model_pages(void)
{
    unsigned pages = 1; /* the root */
    uint64_t part = fake.lead == 0x40000 ? 0x40000 : fake.window - fake.lead;
    bool high = false; /* anything above the middle */
    for (uint64_t i = 0; i < fake.window; i += 512)
        pages += !is_one_entry(i, 512, fake.pt.max_leaf >= 2);
    for (uint64_t i = 0, n = fake.lead; i < fake.window; i += n, n = part) {
        bool any = !is_one_entry(i, n, false);
        pages += !is_one_entry(i, n, fake.pt.max_leaf == 3); /* a table of level 2 */
        pages += any && (i == 0 || !high);                   /* a table of level 3 */
        high |= any && i != 0;
    }
    return pages;
}

static void check_query(const struct walk *w, uint64_t va)
{
    struct pt_leaf q = pt_query(&fake.pt, va);
    assert_int_equal(q.present, w->present);
    assert_int_equal(q.level, w->level);
    assert_int_equal(q.next, w->base + w->size == 0 ? UINT64_MAX : w->base + w->size);
    if (q.present) {
        assert_int_equal(q.hpa.v, w->hpa + (va - w->base));
        assert_true(same(q.attr, w->attr));
    }
}

/* True if the model says of the pages from I to END-1 what W says; VA is page I's address. */
static bool model_agrees(const struct walk *w, uint64_t va, uint64_t i, uint64_t end)
{
    uint64_t to = w->hpa + (va - w->base);
    for (; i < end; i++, to += 4096) {
        if (model_hpa[i] != (w->present ? to : ABSENT))
            return false;
        if (w->present && !same(model_attr[i], w->attr))
            return false;
    }
    return true;
}

static void check_all(void)
{
    for (uint64_t i = 0; i < fake.window;) {
        uint64_t va = fake.va + i * 4096;
        struct walk w = raw_walk(&fake, va);
        uint64_t rest = w.base + w.size - va;
        uint64_t end = i + rest / 4096 < fake.window ? i + rest / 4096 : fake.window;
        if (w.size > 4096 || i % 64 == 0)
            check_query(&w, va + host_random(&fake.random) % rest);
        assert_true(model_agrees(&w, va, i, end));
        assert_true(w.present || w.raw == 0);
        i = end;
    }
    assert_int_equal(fake.pt.pages, fake.used_count);
    assert_int_equal(fake.pt.pages, model_pages());
    tlb_check(&fake);
}

/* Runs with so many pages to be had; -ENOMEM must mean that nothing has changed. Then runs for
 * good. */
static void check_op(const struct op *op, long budget)
{
    fake.from = op->page;
    fake.pages = op->pages;
    tlb_fill(&fake, 40);
    unsigned before = fake.pt.pages;
    bool failed = false;
    fake.calls = 0;
    fake.allocs = 0;
    fake.budget = budget;
    if (budget >= 0)
        memcpy(snapshot, pool, sizeof(pool));
    int error = run(op);
    if (error != 0) {
        assert_int_equal(error, -ENOMEM);
        assert_int_equal(fake.calls, 0);
        assert_int_equal(fake.pt.pages, before);
        assert_int_equal(fake.used_count, before);
        for (unsigned i = 0; i < POOL; i++)
            assert_true(!fake.used[i] || memcmp(pool[i], snapshot[i], sizeof(pool[i])) == 0);
        failed = true;
        fake.allocs = 0;
        fake.budget = -1;
        assert_int_equal(run(op), 0);
    }
    assert_true(budget < 0 || failed == (fake.allocs > (unsigned long)budget));
    fake.budget = -1;
    model_run(op);
    check_all();
}

static struct op random_op(void)
{
    const uint64_t units[] = {1, 1, 512, 512, fake.lead};
    static const uint64_t shifts[] = {0, 0, 0, 0, PAGE_2M, PAGE_1G, 4096};
    struct op op;
    uint64_t *r = &fake.random;
    uint64_t unit = units[host_random(r) % ARRAY_SIZE(units)];
    op.kind = host_random(r) % 2 == 0 ? OP_MAP : host_random(r) % 3 == 0 ? OP_UNMAP : OP_RETYPE;
    op.page = host_random(r) % (fake.window / unit) * unit;
    op.pages = (host_random(r) % 3 + 1) * unit;
    if (host_random(r) % 4 == 0)
        op.pages += host_random(r) % 1500;
    if (op.pages > fake.window - op.page)
        op.pages = fake.window - op.page;
    op.hpa = 5 * PAGE_1G - fake.lead * 4096 + op.page * 4096 +
             shifts[host_random(r) % ARRAY_SIZE(shifts)];
    op.attr = fake.form->attrs[host_random(r) % (host_random(r) % 3 == 0 ? ATTRS : 2)];
    return op;
}

static void test_random(void **state)
{
    (void)state;
    for (unsigned f = 0; f < ARRAY_SIZE(forms); f++)
        for (unsigned max_leaf = 1; max_leaf <= 3; max_leaf++) {
            fake_init(&forms[f], max_leaf, 0x1234567 + f * 10 + max_leaf);
            for (unsigned n = max_leaf == 3 ? LARGE_OPS : SMALL_OPS; n > 0; n--) {
                struct op op = random_op();
                long budget = (long)(host_random(&fake.random) % 12) - 6;
                check_op(&op, budget < 0 ? -1 : budget);
            }
            fake_destroy();
        }
}

/* Type one page of 1 GiB, then put it back: it splits into exactly two tables and becomes one leaf.
 */
static void test_split_and_join(void **state)
{
    (void)state;
    for (unsigned f = 0; f < ARRAY_SIZE(forms); f++) {
        const struct pt_attr *a = forms[f].attrs;
        fake_init(&forms[f], 3, 99);
        check_op(&(struct op){OP_MAP, 0, WINDOW, PAGE_1G, a[0]}, 2);
        assert_int_equal(fake.pt.pages, 3); /* the root, and one table for each 512 GiB */
        check_op(&(struct op){OP_RETYPE, 0x40000 + 7, 1, 0, a[1]}, 1);
        assert_int_equal(fake.pt.pages, 5);
        assert_int_equal(fake.calls, 3); /* two splits and the leaf */
        assert_int_equal(fake.splits, 2);
        check_op(&(struct op){OP_RETYPE, 0x40000 + 7, 1, 0, a[1]}, 0);
        assert_int_equal(fake.calls, 0);
        check_op(&(struct op){OP_MAP, 0x40000 + 7, 1, 2 * PAGE_1G + 7 * 4096, a[0]}, 0);
        assert_int_equal(fake.pt.pages, 3);
        assert_int_equal(raw_walk(&fake, forms[f].middle).level, 3);
        assert_int_equal(fake.joins, 2);
        check_op(&(struct op){OP_MAP, 5, 1, PAGE_1G + 5 * 4096, a[0]}, 0);
        assert_int_equal(fake.calls, 0); /* it said so already */
        check_op(&(struct op){OP_UNMAP, 0, WINDOW, 0, a[0]}, 0);
        assert_int_equal(fake.pt.pages, 1);
        fake_destroy();
    }
}

/* A run of equal small leaves changes with one invalidation, which names all of it. */
static void test_one_invalidation_per_run(void **state)
{
    (void)state;
    fake_init(&forms[2], 1, 7);
    const struct pt_attr *a = forms[2].attrs;
    check_op(&(struct op){OP_MAP, 0, 512, PAGE_1G, a[0]}, -1);
    check_op(&(struct op){OP_RETYPE, 100, 300, 0, a[1]}, -1);
    assert_int_equal(fake.calls, 1);
    check_op(&(struct op){OP_RETYPE, 0, 512, 0, a[2]}, -1);
    assert_int_equal(fake.calls, 3);
    fake_destroy();
}

/* --- bits ------------------------------------------------------------------------------------- */

struct bits {
    const struct form *form;
    struct pt_attr attr;
    unsigned level;
    uint64_t expected; /* without the address */
};

static const struct bits bits[] = {
    /* SDM, "Formats of Paging-Structure Entries": P, W, PWT 3, PCD 4, A 5, D 6, PAT 7 or 12, PS 7.
     */
    {&forms[0], {3, 6, false}, 1, 0x8000000000000063},
    {&forms[0], {5, 6, false}, 1, 0x0000000000000061},
    {&forms[0], {7, 6, false}, 1, 0x0000000000000063},
    {&forms[0], {1, 6, false}, 2, 0x80000000000000e1},
    {&forms[0], {3, 4, false}, 1, 0x800000000000006b},
    {&forms[0], {3, 7, false}, 1, 0x8000000000000073},
    {&forms[0], {3, 0, false}, 1, 0x800000000000007b},
    {&forms[0], {3, 1, false}, 1, 0x80000000000000e3},
    {&forms[0], {3, 5, false}, 1, 0x80000000000000eb},
    {&forms[0], {3, 1, false}, 2, 0x80000000000010e3},
    {&forms[0], {3, 5, false}, 3, 0x80000000000010eb},
    {&forms[0], {3, 0, false}, 3, 0x80000000000000fb},
    /* APM, "Nested Paging": the same, with U/S = 1. */
    {&forms[1], {7, 6, false}, 1, 0x0000000000000067},
    {&forms[1], {3, 6, false}, 1, 0x8000000000000067},
    {&forms[1], {7, 6, false}, 3, 0x00000000000000e7},
    {&forms[1], {7, 1, false}, 1, 0x00000000000000e7},
    {&forms[1], {7, 1, false}, 2, 0x00000000000010e7},
    {&forms[1], {7, 0, false}, 2, 0x00000000000000ff},
    {&forms[1], {7, 5, false}, 3, 0x00000000000010ef},
    {&forms[1], {7, 4, false}, 2, 0x00000000000000ef},
    /* SDM, "The Extended Page Table Mechanism (EPT)": R W X, type 5:3, IPAT 6, large page 7. */
    {&forms[2], {7, 6, false}, 1, 0x37},
    {&forms[2], {7, 6, true}, 1, 0x77},
    {&forms[2], {7, 6, false}, 2, 0xb7},
    {&forms[2], {7, 6, false}, 3, 0xb7},
    {&forms[2], {7, 0, false}, 1, 0x07},
    {&forms[2], {7, 0, true}, 3, 0xc7},
    {&forms[2], {7, 1, false}, 1, 0x0f},
    {&forms[2], {7, 4, false}, 2, 0xa7},
    {&forms[2], {7, 5, false}, 1, 0x2f},
    {&forms[2], {1, 6, false}, 1, 0x31},
    {&forms[2], {5, 6, false}, 1, 0x35},
    {&forms[2], {4, 6, false}, 1, 0x34},
    {&forms[2], {3, 6, false}, 1, 0x33},
};

static void test_bits(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
        const struct bits *b = &bits[i];
        uint64_t size = 4096ull << 9 * (b->level - 1), to = 0x000fffff80000000ull;
        fake_init(b->form, 3, 5);
        assert_int_equal(pt_map(&fake.pt, b->form->middle, hpa(to), size, b->attr), 0);
        struct walk w = raw_walk(&fake, b->form->middle);
        assert_int_equal(w.raw, to | b->expected);
        assert_int_equal(w.level, b->level);
        assert_true(same(w.attr, b->attr));
        fake_destroy();
    }
}

/* The host's addresses end at 2^64 and have a hole; EPT's end at 2^48. */
static void test_ends(void **state)
{
    (void)state;
    const struct pt_attr rw = {3, 6, false}, rwx = {7, 6, false};
    fake_init(&forms[0], 3, 11);
    assert_int_equal(pt_map(&fake.pt, 0xffffffff80000000, hpa(0), 0x80000000, rw), 0);
    assert_int_equal(pt_map(&fake.pt, 0x7ffffffff000, hpa(0x5000), 4096, rw), 0);
    struct pt_leaf q = pt_query(&fake.pt, UINT64_MAX);
    assert_true(q.present && q.level == 3 && q.hpa.v == 0x7fffffff && q.next == UINT64_MAX);
    q = pt_query(&fake.pt, 0x7fffffffffff);
    assert_true(q.present && q.hpa.v == 0x5fff && q.next == 0x800000000000);
    q = pt_query(&fake.pt, q.next);
    assert_true(!q.present && q.next == 0xffff800000000000);
    q = pt_query(&fake.pt, q.next);
    assert_true(!q.present && q.next == 0xffff808000000000);
    fake_destroy();
    fake_init(&forms[2], 3, 12);
    assert_int_equal(pt_map(&fake.pt, 0xfffffffff000, hpa(0x000ffffffffff000), 4096, rwx), 0);
    q = pt_query(&fake.pt, 0xffffffffffff);
    assert_true(q.present && q.hpa.v == 0x000fffffffffffff && q.next == 1ull << 48);
    q = pt_query(&fake.pt, q.next);
    assert_true(!q.present && q.next == UINT64_MAX);
    assert_int_equal(pt_map(&fake.pt, 0, hpa(0), 0, rwx), 0);
    fake_destroy();
}

static void test_entry(void **state)
{
    (void)state;
    fake_init(&forms[0], 3, 13);
    uint64_t va = forms[0].middle + 9 * 4096;
    assert_int_equal(pt_map(&fake.pt, va, hpa(0x1234000), 4096, forms[0].attrs[0]), 0);
    uint64_t *entry = pt_entry(&fake.pt, va);
    assert_int_equal(*entry, 0x8000000001234063);
    *entry = 0;
    assert_false(pt_query(&fake.pt, va).present);
    fake_destroy();
}

/* What one maps later in the GiB that it shares, the other maps; and each has what is its own. */
static void test_share(void **state)
{
    (void)state;
    const uint64_t shared = 0xffffffff80000000, own = 0xffffffffc0000000;
    const struct pt_attr rw = {3, 6, false};
    struct pt other;
    fake_init(&forms[0], 2, 14);
    assert_int_equal(pt_map(&fake.pt, shared, hpa(0x1000), 4096, rw), 0);
    assert_int_equal(pt_init(&other, &pt_host_format, &owner, &fake, 1), 0);
    assert_int_equal(pt_map(&other, own, hpa(0x2000), 4096, rw), 0);
    pt_share(&other, &fake.pt, shared);
    assert_int_equal(pt_query(&other, shared).hpa.v, 0x1000);
    assert_int_equal(pt_map(&fake.pt, shared + 0x10000000, hpa(0x200000), 0x200000, rw), 0);
    assert_int_equal(pt_query(&other, shared + 0x10000000).hpa.v, 0x200000);
    assert_int_equal(pt_query(&other, own).hpa.v, 0x2000);
    assert_false(pt_query(&fake.pt, own).present);
    uint64_t *top = pool[(other.root.v - TABLE_BASE) / 4096];
    pool[((top[511] & 0xffffffffff000ull) - TABLE_BASE) / 4096][510] = 0;
    pt_destroy(&other);
    fake_destroy();
}

static void test_no_memory_at_all(void **state)
{
    (void)state;
    struct pt pt;
    fake = (struct fake){.form = &forms[2], .random = 1};
    host_log_reset();
    assert_int_equal(pt_init(&pt, &ept_format, &owner, &fake, 3), -ENOMEM);
    assert_non_null(strstr(host_log, "extended page table: no memory for 1 table pages"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits),           cmocka_unit_test(test_ends),
        cmocka_unit_test(test_entry),          cmocka_unit_test(test_no_memory_at_all),
        cmocka_unit_test(test_split_and_join), cmocka_unit_test(test_one_invalidation_per_run),
        cmocka_unit_test(test_random),         cmocka_unit_test(test_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
