/*
 * Tests of the alias detector: random page tables of every paging mode against a model that goes
 * through them entry by entry and keeps, for each page of memory, what reaches it; planted aliases;
 * and tables that would keep it busy for ever.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>

#include "tests/unit/host.h"

#include "lib/errno.h"
#include "vmm/instruments/alias.h"

#define P   0x1ull
#define PCD 0x10ull
#define PS  0x80ull
#define NX  0x8000000000000000ull

/* Memory: pages of host RAM from HPA_BASE on, of which the first are tables. */
enum { PAGES = 2048, TABLES = 24, MOST_ROOTS = 3, RANDOM_CASES = 1500 };
#define HPA_BASE 0x123400000ull
#define PAT      0x0605010000070406ull /* WB, WT, UC-, UC, UC, WC, WP, WB */

struct world {
    uint64_t random;
    struct walk_state state;
    uint64_t table[TABLES][512];
    uint8_t type[PAGES]; /* what a page is by MTRR: uncached, write-combining, or cached */
    bool hole[PAGES];    /* there is nothing */
    unsigned reads, types;
    uint8_t reached[PAGES]; /* the model: 1: through a cacheable type, 2: through another */
    uint8_t found[PAGES];
    unsigned aliases;
    uint64_t end; /* of the last one */
    uint64_t root[MOST_ROOTS];
};

static uint64_t pick(struct world *w, uint64_t n)
{
    return (host_random(&w->random) >> 20) % n;
}

/* Made up, but that both matter: UC where the page or the PAT says so, and so on. */
static unsigned effective_of(const struct world *w, uint64_t page, unsigned pat)
{
    static const uint8_t by_pat[8] = {
        [MT_UC] = EFFECTIVE_UC, [MT_WC] = EFFECTIVE_WC,      [2] = EFFECTIVES,
        [3] = EFFECTIVES,       [MT_WT] = EFFECTIVE_WT,      [MT_WP] = EFFECTIVE_WP,
        [MT_WB] = EFFECTIVE_WB, [MT_UC_MINUS] = EFFECTIVE_CD};
    if (pat == MT_WC)
        return EFFECTIVE_WC_PLUS;
    return w->type[page] == 0 ? EFFECTIVE_UC : w->type[page] == 1 ? EFFECTIVE_WC : by_pat[pat];
}

static int world_read(void *context, gpa_t gpa, unsigned size, enum memtype type, uint64_t *table)
{
    struct world *w = context;
    w->reads++;
    assert_true(size == PAGE_SIZE || (size == 32 && gpa.v % 32 == 0));
    assert_true(size == 32 || gpa.v % PAGE_SIZE == 0);
    assert_true((unsigned)type <= MT_UC_MINUS);
    if (gpa.v >= TABLES * PAGE_SIZE)
        return -EIO;
    memcpy(table, (const char *)w->table + gpa.v, size);
    return 0;
}

static bool is_there(const struct world *w, uint64_t page)
{
    return page < PAGES && !w->hole[page];
}

static void world_type(void *context, gpa_t gpa, enum memtype pat, struct alias_type *out)
{
    struct world *w = context;
    uint64_t page = gpa.v / PAGE_SIZE, end = page + 1;
    w->types++;
    *out = (struct alias_type){.present = is_there(w, page), .next = UINT64_MAX};
    if (page >= PAGES)
        return;
    while (end < PAGES && w->type[end] == w->type[page] && w->hole[end] == w->hole[page])
        end++;
    out->next = end * PAGE_SIZE;
    out->hpa = hpa(HPA_BASE + gpa.v);
    out->effective = (uint8_t)effective_of(w, page, pat);
}

/* --- the model ------------------------------------------------------------------------------- */

/* A level of tables, as the manuals draw them. */
struct row {
    unsigned shift, count, width;
    uint64_t page;     /* what a large entry maps; 0: there is none */
    uint64_t reserved; /* in an entry that points to a table, but for addresses and XD */
    uint64_t reserved_page;
};

static const struct row rows_32[] = {{22, 1024, 4, 0, 0, 0}, {12, 1024, 4, 4 * KIB, 0, 0}};
static const struct row rows_pse[] = {{22, 1024, 4, 4 * MIB, 0, 0x200000},
                                      {12, 1024, 4, 4 * KIB, 0, 0}};
static const struct row rows_pae[] = {{30, 4, 8, 0, 0xfff00000000001c6, 0},
                                      {21, 512, 8, 2 * MIB, 0x7ff0000000000000, 0x7ff00000001fe000},
                                      {12, 512, 8, 4 * KIB, 0, 0x7ff0000000000000}};
static const struct row rows_5[] = {{48, 512, 8, 0, 0x80, 0},
                                    {39, 512, 8, 0, 0x80, 0},
                                    {30, 512, 8, GIB, 0, 0x3fffe000},
                                    {21, 512, 8, 2 * MIB, 0, 0x1fe000},
                                    {12, 512, 8, 4 * KIB, 0, 0}};
static const struct row rows_no_1g[] = {{39, 512, 8, 0, 0x80, 0},
                                        {30, 512, 8, 0, 0x80, 0},
                                        {21, 512, 8, 2 * MIB, 0, 0x1fe000},
                                        {12, 512, 8, 4 * KIB, 0, 0}};

enum mode { BITS32, PSE, PAE_MEMORY, PAE_CPU, FOUR, FOUR_NO_1G, FIVE, MODES };

static const struct row *const rows_of[MODES] = {rows_32,    rows_pse,   rows_pae, rows_pae,
                                                 rows_5 + 1, rows_no_1g, rows_5};

static bool model_reserved(const struct world *w, const struct row *row, uint64_t entry, bool leaf)
{
    uint64_t physical = 1ull << w->state.phys_bits;
    uint64_t reserved = leaf ? row->reserved_page : row->reserved;
    if (row->width == 4)
        return leaf && row->page == 4 * MIB &&
               ((entry & reserved) || (entry >> 13 & 0xff) << 32 >= physical);
    if (!(w->state.efer & EFER_NXE))
        reserved |= NX;
    return (entry & reserved) || (entry & 0x000fffffffffffff) >= physical;
}

static void model_page(struct world *w, const struct row *row, uint64_t entry)
{
    uint64_t at = entry & 0x000fffffffffffff & ~(row->page - 1);
    uint64_t slot = (entry >> 3 & 3) + (entry >> (row->page == 4 * KIB ? 7 : 12) & 1) * 4;
    unsigned pat = w->state.pat >> 8 * slot & 0xff;
    if (row->page == 4 * MIB)
        at = (entry & 0xffc00000) + ((entry >> 13 & 0xff) << 32);
    for (uint64_t page = at / PAGE_SIZE; page < (at + row->page) / PAGE_SIZE && page < PAGES;
         page++)
        if (is_there(w, page))
            w->reached[page] |= effective_of(w, page, pat) >= EFFECTIVE_WT ? 1 : 2;
}

/* Everything below a table, every time that it is met. */
static void model_table(struct world *w, const struct row *row, uint64_t base, const uint64_t *held)
{
    if (held == NULL && base >= TABLES * PAGE_SIZE)
        return;
    const char *table = held != NULL ? (const char *)held : (const char *)w->table + base;
    for (unsigned i = 0; i < row->count; i++) {
        uint64_t entry = 0;
        memcpy(&entry, table + (size_t)i * row->width, row->width);
        bool leaf = row->shift == 12 || (row->page != 0 && (entry & PS));
        if (!(entry & P) || model_reserved(w, row, entry, leaf))
            continue;
        if (leaf)
            model_page(w, row, entry);
        else
            model_table(w, row + 1, entry & 0x000ffffffffff000, NULL);
    }
}

/* --- random cases ---------------------------------------------------------------------------- */

static struct walk_state state_of(struct world *w, enum mode mode)
{
    struct walk_state state = {.cr0 = CR0_PG, .pat = PAT, .has_1g = mode != FOUR_NO_1G};
    state.phys_bits = (uint8_t)(pick(w, 2) != 0 ? 40 : 33 + pick(w, 20));
    state.efer = (mode >= FOUR ? EFER_LMA : 0u) | (pick(w, 2) != 0 ? EFER_NXE : 0u);
    state.cr4 = (mode >= PAE_MEMORY ? CR4_PAE : 0u) | (mode == PSE ? CR4_PSE : 0u) |
                (mode == FIVE ? CR4_LA57 : 0u);
    return state;
}

static uint64_t random_entry(struct world *w, enum mode mode)
{
    bool to_table = pick(w, 2) != 0;
    uint64_t entry = pick(w, to_table ? TABLES + 1 : PAGES + 64) * PAGE_SIZE | P;
    entry |= host_random(&w->random) & 0xe18; /* PWT, PCD, ignored bits */
    if (pick(w, 3) == 0)
        entry |= PS;
    if ((entry & PS) && pick(w, 8) != 0)
        entry &= ~0x1fe000ull;
    if ((entry & PS) && pick(w, 2) != 0)
        entry &= ~0x3fffe000ull;
    if (pick(w, 16) == 0)
        entry |= 1ull << pick(w, 64);
    return mode <= PSE ? (uint32_t)entry : entry;
}

/* All of a table: more runs than little memory has room for, but of few pages. */
static void crowd_table(struct world *w, enum mode mode, unsigned table)
{
    for (unsigned i = 0; i < 512; i++) {
        uint64_t entry = (1024 + pick(w, 40)) * PAGE_SIZE | P | (pick(w, 32) == 0 ? PCD : 0);
        w->table[table][i] = mode <= PSE ? entry | entry << 32 : entry;
    }
}

/* A few entries in each table: some in a row, some anywhere. */
static void fill_tables(struct world *w, enum mode mode)
{
    unsigned width = mode <= PSE ? 4 : 8, count = 4096 / width;
    for (unsigned t = 0; t < TABLES; t++)
        for (unsigned n = 1 + (unsigned)pick(w, 5); n > 0; n--) {
            uint64_t entry = random_entry(w, mode), at = pick(w, pick(w, 2) != 0 ? 4 : count);
            unsigned row = pick(w, 4) == 0 ? (unsigned)pick(w, t % 4 == 3 ? 40 : 5) : 1;
            for (; row > 0 && at < count; row--, at++, entry += PAGE_SIZE)
                memcpy((char *)w->table[t] + at * width, &entry, width);
        }
}

static void fill_world(struct world *w, uint64_t seed, enum mode mode)
{
    memset(w, 0, sizeof(*w));
    w->random = seed;
    w->state = state_of(w, mode);
    for (unsigned page = 0; page < PAGES;) {
        unsigned n = (unsigned)pick(w, pick(w, 2) != 0 ? 4 : 600) + 1;
        uint8_t type = (uint8_t)pick(w, 4);
        bool hole = pick(w, 6) == 0;
        for (; n > 0 && page < PAGES; n--, page++) {
            w->type[page] = type;
            w->hole[page] = hole;
        }
    }
    fill_tables(w, mode);
    for (unsigned n = (unsigned)pick(w, 4); n > 0; n--)
        crowd_table(w, mode, (unsigned)pick(w, TABLES));
    for (unsigned i = 0; i < MOST_ROOTS; i++)
        w->root[i] = pick(w, TABLES) * PAGE_SIZE;
    w->state.pdpte_valid = mode == PAE_CPU;
    for (unsigned i = 0; i < 4 && mode == PAE_CPU; i++)
        w->state.pdpte[i] = pick(w, 3) == 0 ? 0 : (pick(w, TABLES) * PAGE_SIZE | P);
}

static int walk_read(void *context, gpa_t gpa, unsigned width, enum memtype type, uint64_t *value)
{
    const struct world *w = context;
    (void)type;
    *value = 0;
    if (gpa.v >= TABLES * PAGE_SIZE)
        return -EIO;
    memcpy(value, (const char *)w->table + gpa.v, width);
    return 0;
}

/* A path leads where it says, from its first page to its last, and not to the next one so. */
static void check_path(struct world *w, const struct alias_run *run)
{
    const struct walk_memory memory = {walk_read, NULL, w};
    struct walk_state state = w->state;
    assert_in_range(run->root, 0, MOST_ROOTS - 1);
    state.cr3 = w->root[run->root];
    state.pdpte_valid = w->state.pdpte_valid && run->root == 0;
    assert_int_equal(run->hpa.v, HPA_BASE + run->gpa.v);
    for (uint64_t i = 0; i < run->pages; i++) {
        struct walk_result at;
        gva_t linear = gva(run->linear.v + i * PAGE_SIZE);
        assert_int_equal(guest_walk(&state, &memory, linear, WALK_READ | WALK_PEEK, &at), 0);
        assert_int_equal(at.gpa.v, run->gpa.v + i * PAGE_SIZE);
        assert_int_equal(at.page, 1ull << run->page_shift);
        assert_int_equal(at.pat_type, run->pat_type);
        uint64_t page = at.gpa.v / PAGE_SIZE;
        assert_true(is_there(w, page));
        assert_int_equal(effective_of(w, page, at.pat_type), run->effective);
    }
}

static void found(void *context, const struct alias_run *cacheable,
                  const struct alias_run *uncacheable)
{
    struct world *w = context;
    assert_true(cacheable->pages > 0 && cacheable->pages == uncacheable->pages);
    assert_int_equal(cacheable->hpa.v, uncacheable->hpa.v);
    assert_true(cacheable->hpa.v >= w->end);
    assert_true(cacheable->effective >= EFFECTIVE_WT && uncacheable->effective < EFFECTIVE_WT);
    check_path(w, cacheable);
    check_path(w, uncacheable);
    w->end = cacheable->hpa.v + cacheable->pages * PAGE_SIZE;
    w->aliases++;
    for (uint64_t i = 0; i < cacheable->pages; i++)
        w->found[cacheable->gpa.v / PAGE_SIZE + i] = 3;
}

/* Scans ROOTS roots of the world in memory of SIZE bytes. */
static int scan(struct world *w, size_t size, unsigned roots)
{
    const struct alias_memory memory = {world_read, world_type, w};
    void *zeroed = calloc(1, size);
    struct alias_scan *s = alias_begin(zeroed, size, &memory);
    struct walk_state state = w->state;
    int error = 0;
    w->end = w->aliases = 0;
    for (unsigned i = 0; i < roots && error == 0; i++) {
        state.cr3 = w->root[i];
        error = alias_read(s, &state, i);
        state.pdpte_valid = false;
    }
    unsigned count = alias_find(s, found, w);
    assert_int_equal(count, w->aliases);
    free(zeroed);
    return error;
}

static void model(struct world *w, enum mode mode, unsigned roots)
{
    for (unsigned i = 0; i < roots; i++) {
        const uint64_t *held = mode == PAE_CPU && i == 0 ? w->state.pdpte : NULL;
        model_table(w, rows_of[mode], w->root[i], held);
    }
}

static struct world world;

static void test_random(void **unused)
{
    (void)unused;
    unsigned with_aliases[MODES] = {0};
    for (unsigned i = 0; i < RANDOM_CASES; i++) {
        enum mode mode = (enum mode)(i % MODES);
        unsigned roots = 1 + i / MODES % MOST_ROOTS;
        fill_world(&world, i + 1, mode);
        model(&world, mode, roots);
        /* Little memory, so that runs have to be forgotten; nothing may be lost by that. */
        int error = scan(&world, i % 2 == 0 ? ALIAS_LEAST : 64 * PAGE_SIZE, roots);
        assert_true(error == 0 || (error == -E2BIG && i % 2 == 0));
        for (unsigned page = 0; page < PAGES; page++)
            if (error == 0 || world.found[page] != 0)
                assert_int_equal(world.found[page] == 3, world.reached[page] == 3);
        with_aliases[mode] += world.aliases > 0;
    }
    for (unsigned mode = 0; mode < MODES; mode++)
        assert_in_range(with_aliases[mode], RANDOM_CASES / MODES / 20, RANDOM_CASES);
}

/* --- literal cases --------------------------------------------------------------------------- */

/* Four levels of which tables 0 to 3 are one each; all of memory cached, WB by the MTRRs. */
static void four_levels(void)
{
    memset(&world, 0, sizeof(world));
    world.state = (struct walk_state){
        .cr0 = CR0_PG, .cr4 = CR4_PAE, .efer = EFER_LMA, .pat = PAT, .phys_bits = 40};
    memset(world.type, 2, sizeof(world.type));
    world.table[0][0] = 1 * PAGE_SIZE | P;
    world.table[1][0] = 2 * PAGE_SIZE | P;
    world.table[2][0] = 3 * PAGE_SIZE | P;
}

static void expect_found(unsigned aliases, unsigned first, unsigned last)
{
    assert_int_equal(world.aliases, aliases);
    for (unsigned page = 0; page < PAGES; page++)
        assert_int_equal(world.found[page], page >= first && page <= last ? 3 : 0);
}

static void test_planted(void **unused)
{
    (void)unused;
    four_levels();
    world.table[2][1] = 2 * MIB | P | PS;
    assert_int_equal(scan(&world, ALIAS_LEAST, 1), 0);
    expect_found(0, 1, 0);
    world.table[3][7] = 517 * PAGE_SIZE | P | PCD;
    world.table[3][8] = 518 * PAGE_SIZE | P | PCD;
    assert_int_equal(scan(&world, ALIAS_LEAST, 1), 0);
    expect_found(1, 517, 518);
    world.table[3][8] = 518 * PAGE_SIZE | P;
    assert_int_equal(scan(&world, ALIAS_LEAST, 1), 0);
    memset(world.found, 0, sizeof(world.found));
    assert_int_equal(scan(&world, ALIAS_LEAST, 1), 0);
    expect_found(1, 517, 517);
    world.type[517] = 0; /* then it is UC by both */
    memset(world.found, 0, sizeof(world.found));
    assert_int_equal(scan(&world, ALIAS_LEAST, 1), 0);
    expect_found(0, 1, 0);
}

/* Two roots that have nothing in common but a page. */
static void test_two_roots(void **unused)
{
    (void)unused;
    four_levels();
    world.table[3][0] = 1000 * PAGE_SIZE | P;
    world.table[4][511] = 5 * PAGE_SIZE | P;
    world.table[5][0] = 6 * PAGE_SIZE | P;
    world.table[6][0] = 7 * PAGE_SIZE | P;
    world.table[7][1] = 1000 * PAGE_SIZE | P | PCD;
    world.root[1] = 4 * PAGE_SIZE;
    assert_int_equal(scan(&world, ALIAS_LEAST, 1), 0);
    expect_found(0, 1, 0);
    assert_int_equal(scan(&world, ALIAS_LEAST, 2), 0);
    expect_found(1, 1000, 1000);
}

/* What goes on in linear addresses and in memory, but by pages of another size. */
static void test_page_sizes(void **unused)
{
    (void)unused;
    four_levels();
    for (unsigned i = 0; i < 512; i++) {
        world.table[3][i] = i * PAGE_SIZE | P;
        world.table[4][i] = (i + 500) * PAGE_SIZE | P | PCD;
    }
    world.table[2][1] = 2 * MIB | P | PS;
    world.table[2][9] = 4 * PAGE_SIZE | P;
    assert_int_equal(scan(&world, ALIAS_LEAST, 1), 0);
    expect_found(2, 500, 1011);
}

/* What goes on in another root's addresses. */
static void test_row_over_roots(void **unused)
{
    (void)unused;
    four_levels();
    world.table[3][0] = 1000 * PAGE_SIZE | P | PCD;
    world.table[3][1] = 1001 * PAGE_SIZE | P | PCD;
    world.table[3][5] = 1000 * PAGE_SIZE | P;
    world.table[4][0] = 5 * PAGE_SIZE | P;
    world.table[5][0] = 6 * PAGE_SIZE | P;
    world.table[6][0] = 7 * PAGE_SIZE | P;
    world.table[7][6] = 1001 * PAGE_SIZE | P;
    world.root[1] = 4 * PAGE_SIZE;
    assert_int_equal(scan(&world, ALIAS_LEAST, 2), 0);
    expect_found(2, 1000, 1001);
}

/* A table that all its entries lead to, at each level, and that is a page at last. */
static void test_self_reference(void **unused)
{
    (void)unused;
    four_levels();
    for (unsigned i = 0; i < 512; i++)
        world.table[0][i] = P | (i == 300 ? PCD : 0);
    assert_int_equal(scan(&world, ALIAS_LEAST, 1), 0);
    assert_in_range(world.reads, 1, 4);
    expect_found(1, 0, 0);
}

/* Tables that lead to each other in any order: each is read once as one of each level. */
static void test_knot(void **unused)
{
    (void)unused;
    four_levels();
    for (unsigned t = 0; t < TABLES; t++)
        for (unsigned i = 0; i < 512; i++)
            world.table[t][i] = (i * 7 + t) % TABLES * PAGE_SIZE | P;
    assert_int_equal(scan(&world, 64 * PAGE_SIZE, 1), 0);
    assert_in_range(world.reads, TABLES, 3 * TABLES + 1);
    expect_found(0, 1, 0);
}

static int read_others(void *context, gpa_t gpa, unsigned size, enum memtype type, uint64_t *table)
{
    struct world *w = context;
    (void)type;
    w->reads++;
    for (unsigned i = 0; i < size / 8; i++)
        table[i] = ((gpa.v * 513 + i * PAGE_SIZE * 977) & 0xfffff000) | P;
    return 0;
}

static void find_others(void *context, gpa_t gpa, enum memtype pat, struct alias_type *out)
{
    struct world *w = context;
    w->types++;
    *out = (struct alias_type){.present = true,
                               .effective = pat == MT_WB ? EFFECTIVE_WB : EFFECTIVE_UC,
                               .hpa = hpa(gpa.v),
                               .next = gpa.v + PAGE_SIZE};
}

static void count_only(void *context, const struct alias_run *cacheable,
                       const struct alias_run *uncacheable)
{
    struct world *w = context;
    (void)cacheable, (void)uncacheable;
    w->aliases++;
}

/* Tables without an end: either the steps are spent or the runs. */
static void test_gives_up(void **unused)
{
    (void)unused;
    const struct alias_memory memory = {read_others, find_others, &world};
    for (unsigned pages = 8; pages <= 65536; pages *= 8) {
        void *zeroed = calloc(pages, PAGE_SIZE);
        four_levels();
        struct alias_scan *s = alias_begin(zeroed, pages * PAGE_SIZE, &memory);
        assert_int_equal(alias_read(s, &world.state, 0), -E2BIG);
        assert_in_range(world.reads * 512 + world.types, 512, ALIAS_STEPS + 512);
        alias_find(s, count_only, &world);
        assert_int_equal(world.aliases, 0); /* all are WB */
        free(zeroed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_planted),        cmocka_unit_test(test_two_roots),
        cmocka_unit_test(test_page_sizes),     cmocka_unit_test(test_row_over_roots),
        cmocka_unit_test(test_self_reference), cmocka_unit_test(test_knot),
        cmocka_unit_test(test_gives_up),       cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
