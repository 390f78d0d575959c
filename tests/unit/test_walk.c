/*
 * Tests of the guest page-table walker: literal cases for each rule, and a model that is written
 * from the manuals' tables, on random states and tables of every paging mode.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/host.h"

#include "lib/errno.h"
#include "vmm/vcpu/walk_code.h"

enum { MAX_ENTRIES = 8, RANDOM_CASES = 300000 };

#define P   0x1ull
#define W   0x2ull
#define U   0x4ull
#define PWT 0x8ull
#define PCD 0x10ull
#define A   0x20ull
#define D   0x40ull
#define PS  0x80ull
#define NX  0x8000000000000000ull

#define PG     0x80000000ull
#define WP     0x10000ull
#define PSE    0x10ull
#define PAE    0x20ull
#define LA57   0x1000ull
#define PCIDE  0x20000ull
#define SMEP   0x100000ull
#define SMAP   0x200000ull
#define LMA    0x400ull
#define NXE    0x800ull
#define AC     0x40000ull
#define PAT    0x0007040600070406ull /* after reset: WB, WT, UC-, UC, and again */
#define PAT_WC 0x0001050500070406ull /* 4: WP, 5: WP, 6: WC, 7: UC */

/* The entries that a walk may meet; whatever else it reads is an error. */
struct slot {
    uint64_t gpa, value;
    unsigned width;
    enum memtype type; /* by which it must be read and written */
    bool check_type;
};

struct world {
    struct slot slot[MAX_ENTRIES];
    unsigned count;
    uint64_t missing;   /* a GPA where reading fails */
    unsigned changes;   /* how often set_bits still finds the entry changed, */
    uint64_t change_to; /* to this, but for accessed and dirty bits, if not 0 */
    unsigned reads, sets;
};

static struct slot *find(struct world *world, uint64_t gpa)
{
    for (unsigned i = 0; i < world->count; i++)
        if (world->slot[i].gpa == gpa)
            return &world->slot[i];
    return NULL;
}

static struct slot *add(struct world *world, uint64_t gpa, uint64_t value)
{
    assert_true(world->count < MAX_ENTRIES);
    struct slot *slot = &world->slot[world->count++];
    *slot = (struct slot){.gpa = gpa, .value = value, .width = 8};
    return slot;
}

static int world_read(void *context, gpa_t gpa, unsigned width, enum memtype type, uint64_t *value)
{
    struct world *world = context;
    world->reads++;
    if (world->missing != 0 && gpa.v == world->missing)
        return -EIO;
    const struct slot *slot = find(world, gpa.v);
    assert_non_null(slot);
    assert_int_equal(width, slot->width);
    if (slot->check_type)
        assert_int_equal(type, slot->type);
    *value = slot->value;
    return 0;
}

static int world_set_bits(void *context, gpa_t gpa, unsigned width, enum memtype type, uint64_t old,
                          uint64_t bits)
{
    struct world *world = context;
    struct slot *slot = find(world, gpa.v);
    world->sets++;
    assert_non_null(slot);
    assert_int_equal(width, slot->width);
    if (slot->check_type)
        assert_int_equal(type, slot->type);
    if (world->changes > 0) {
        world->changes--;
        if (world->change_to != 0)
            slot->value = world->change_to;
        return -EEXIST;
    }
    assert_int_equal(old, slot->value);
    assert_int_equal(bits & ~(A | D), 0);
    assert_int_not_equal(bits & ~old, 0);
    slot->value |= bits;
    return 0;
}

/* What the walk for code reads from: by one type alone. */
struct code {
    struct world *world;
    enum memtype type;
};

static unsigned walked_short; /* how often that walk has known the answer */

static bool code_read(void *context, gpa_t gpa, uint64_t *entry)
{
    const struct code *code = context;
    return world_read(code->world, gpa, 8, code->type, entry) == 0;
}

/* A fetch is walked for twice; where the short walk knows the answer, it is that of the other. */
static int walk(const struct walk_state *state, struct world *world, uint64_t va, unsigned access,
                struct walk_result *out)
{
    struct walk_memory memory = {world_read, world_set_bits, world};
    struct world before = *world;
    struct code code = {&before, (enum memtype)(state->pat & 7)};
    struct walk_result quick;
    bool known = access == WALK_FETCH && (state->cr0 & PG) != 0 &&
                 walk_code(state, code_read, &code, gva(va), &quick);
    int result = guest_walk(state, &memory, gva(va), access, out);
    if (known) {
        assert_int_equal(result, 0);
        assert_int_equal(quick.gpa.v, out->gpa.v);
        assert_int_equal(quick.pat_type, out->pat_type);
        assert_int_equal(world->sets, before.sets);
        walked_short++;
    }
    return result;
}

/* --- literal cases: four levels -------------------------------------------------------------- */

/* Tables at 1000h, 2000h, 3000h, 4000h; VA 0000_0080_C060_5123h has the indices 1, 3, 3, 5. */
#define VA4     0x80c0605123ull
#define AT_PML4 0x1008ull
#define AT_PDPT 0x2018ull
#define AT_PD   0x3018ull
#define AT_PT   0x4028ull

static const struct walk_state long_mode = {
    .cr0 = PG | WP,
    .cr3 = 0x1000,
    .cr4 = PAE,
    .efer = LMA | NXE,
    .pat = PAT,
    .phys_bits = 40,
    .has_1g = true,
};

static struct world four_levels(uint64_t pml4e, uint64_t pdpte, uint64_t pde, uint64_t pte)
{
    struct world world = {.count = 0};
    add(&world, AT_PML4, pml4e);
    add(&world, AT_PDPT, pdpte);
    add(&world, AT_PD, pde);
    add(&world, AT_PT, pte);
    return world;
}

static void test_four_levels(void **unused)
{
    (void)unused;
    struct world world = four_levels(0x2000 | P | W | U, 0x3000 | P | W | U, 0x4000 | P | W | U,
                                     0xab12345000 | P | W | U | NX);
    struct walk_result out;
    assert_int_equal(walk(&long_mode, &world, VA4, WALK_READ, &out), 0);
    assert_int_equal(out.gpa.v, 0xab12345123);
    assert_int_equal(out.page, 0x1000);
    assert_int_equal(out.levels, 4);
    assert_int_equal(out.pat_type, MT_WB);
    assert_true(out.writable);
    assert_true(out.user);
    assert_false(out.executable);
    assert_int_equal(world.slot[0].value, 0x2000 | P | W | U | A);
    assert_int_equal(world.slot[1].value, 0x3000 | P | W | U | A);
    assert_int_equal(world.slot[2].value, 0x4000 | P | W | U | A);
    assert_int_equal(world.slot[3].value, 0xab12345000 | P | W | U | NX | A);
    assert_int_equal(world.sets, 4);
    assert_int_equal(walk(&long_mode, &world, VA4, WALK_WRITE, &out), 0);
    assert_int_equal(world.slot[2].value, 0x4000 | P | W | U | A);
    assert_int_equal(world.slot[3].value, 0xab12345000 | P | W | U | NX | A | D);
    assert_int_equal(world.sets, 5);
}

static void test_large_pages(void **unused)
{
    (void)unused;
    struct walk_result out;
    struct world world = four_levels(0x2000 | P | W, 0xff00000000 | 0xc0000000 | P | W | PS, 0, 0);
    assert_int_equal(walk(&long_mode, &world, VA4, WALK_READ, &out), 0);
    assert_int_equal(out.gpa.v, 0xffc0605123);
    assert_int_equal(out.page, 0x40000000);
    assert_int_equal(out.levels, 2);
    struct walk_state no_1g = long_mode;
    no_1g.has_1g = false;
    assert_int_equal(walk(&no_1g, &world, VA4, WALK_READ, &out), -EFAULT);
    assert_int_equal(out.error, 0x9);
    world = four_levels(0x2000 | P | W, 0x3000 | P | W, 0xff00400000 | P | W | PS, 0);
    assert_int_equal(walk(&long_mode, &world, VA4, WALK_READ, &out), 0);
    assert_int_equal(out.gpa.v, 0xff00405123);
    assert_int_equal(out.page, 0x200000);
    assert_int_equal(out.levels, 3);
}

/* What the short walk is for, and what of it is left to the other. */
static void test_code(void **unused)
{
    (void)unused;
    const uint64_t table = P | W | A;
    struct walk_state state = long_mode;
    struct walk_result out;
    struct world world =
        four_levels(0x2000 | table, 0x3000 | table, 0x4000 | table, 0x5000 | P | A | PWT);
    walked_short = 0;
    assert_int_equal(walk(&state, &world, VA4, WALK_FETCH, &out), 0);
    assert_int_equal(out.gpa.v, 0x5123);
    assert_int_equal(out.pat_type, MT_WT);
    world.slot[2].value = 0xff00400000 | P | A | PS;
    assert_int_equal(walk(&state, &world, VA4, WALK_FETCH, &out), 0);
    assert_int_equal(out.gpa.v, 0xff00405123);
    state.cr3 |= 0xfff;
    state.cr4 |= PCIDE;
    assert_int_equal(walk(&state, &world, VA4, WALK_FETCH, &out), 0);
    assert_int_equal(walked_short, 3);
    world.slot[0].value |= PCD;
    assert_int_equal(walk(&state, &world, VA4, WALK_FETCH, &out), 0);
    world.slot[0].value ^= PCD | A;
    assert_int_equal(walk(&state, &world, VA4, WALK_FETCH, &out), 0);
    assert_int_equal(world.sets, 1);
    state.cpl = 3;
    assert_int_equal(walk(&state, &world, VA4, WALK_FETCH, &out), -EFAULT);
    state = (struct walk_state){.cr0 = PG, .cr3 = 0x1000, .cr4 = PAE, .pat = PAT, .phys_bits = 40};
    world = (struct world){.count = 0};
    add(&world, 0x1018, 0);
    assert_int_equal(walk(&state, &world, 0xc0805123, WALK_FETCH, &out), -EFAULT);
    assert_int_equal(walked_short, 3);
}

static void test_five_levels(void **unused)
{
    (void)unused;
    struct walk_state state = long_mode;
    struct walk_result out;
    state.cr4 |= LA57;
    state.cr3 = 0x8000;
    struct world world = four_levels(0x2000 | P, 0x3000 | P, 0x4000 | P, 0x5000 | P);
    add(&world, 0x8ff8, 0x1000 | P);
    assert_int_equal(walk(&state, &world, 0xffff008000000000 | VA4, WALK_READ, &out), 0);
    assert_int_equal(out.gpa.v, 0x5123);
    assert_int_equal(out.levels, 5);
    world.slot[4].value |= PS;
    assert_int_equal(walk(&state, &world, 0xffff008000000000 | VA4, WALK_READ, &out), -EFAULT);
    assert_int_equal(out.error, 0x9);
}

/* Bit 8 of the entries above PDPTEs: AMD reserves it, Intel ignores it; below both ignore it. */
static void test_bit8(void **unused)
{
    (void)unused;
    const uint64_t bit8 = 0x100;
    struct walk_state state = long_mode;
    struct walk_result out;
    struct world world = four_levels(0x2000 | P | bit8, 0x3000 | P, 0x4000 | P, 0x5000 | P);
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), 0);
    state.reserves_bit8 = true;
    assert_int_equal(walk(&state, &world, VA4, WALK_WRITE, &out), -EFAULT);
    assert_int_equal(out.error, 0xb);
    world = four_levels(0x2000 | P, 0x3000 | P | bit8, 0x4000 | P | bit8, 0x5000 | P | bit8);
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), 0);
    world = four_levels(0x2000 | P, P | PS | bit8, 0, 0);
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), 0);
    state.cr4 |= LA57;
    state.cr3 = 0x8000;
    world = four_levels(0x2000 | P, 0x3000 | P, 0x4000 | P, 0x5000 | P);
    add(&world, 0x8000, 0x1000 | P | bit8);
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), -EFAULT);
    assert_int_equal(out.error, 0x9);
    state.reserves_bit8 = false;
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), 0);
}

static void test_peek(void **unused)
{
    (void)unused;
    struct world world =
        four_levels(0x2000 | P | W, 0x3000 | P | W, 0x4000 | P | W, 0x5000 | P | W);
    struct walk_result out;
    assert_int_equal(walk(&long_mode, &world, VA4, WALK_WRITE | WALK_PEEK, &out), 0);
    assert_int_equal(out.gpa.v, 0x5123);
    assert_int_equal(world.sets, 0);
    world.slot[3].value = P;
    assert_int_equal(walk(&long_mode, &world, VA4, WALK_WRITE | WALK_PEEK, &out), -EFAULT);
    assert_int_equal(out.error, 0x3);
}

/* Tables of ones, as they are where nothing answers, in each paging mode. */
static void test_ones(void **unused)
{
    (void)unused;
    struct walk_state state = long_mode;
    struct walk_result out;
    struct world world = four_levels(0x2000 | P, ~0ull, 0, 0);
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), -EFAULT);
    assert_int_equal(out.error, 0x9);
    state.phys_bits = 52; /* then only the low bits of a large page are reserved, */
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), -EFAULT);
    assert_int_equal(out.error, 0x9);
    world = four_levels(0x2000 | P, 0x3000 | P, 0x4000 | P, ~0ull);
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), 0); /* and nothing of a PTE */
    assert_int_equal(out.gpa.v, 0xffffffffff123);
    state.efer = LMA;
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), -EFAULT);
    assert_int_equal(out.error, 0x9);
    state = (struct walk_state){.cr0 = PG, .cr3 = 0x1000, .pat = PAT, .phys_bits = 40};
    world = (struct world){.count = 0};
    add(&world, 0x1c08, 0xffffffff)->width = 4;
    add(&world, 0xfffff014, 0xffffffff)->width = 4;
    assert_int_equal(walk(&state, &world, 0xc0805123, WALK_WRITE, &out), 0);
    assert_int_equal(out.gpa.v, 0xfffff123);
    assert_int_equal(world.sets, 0);
    state.cr4 = PSE;
    assert_int_equal(walk(&state, &world, 0xc0805123, WALK_WRITE, &out), -EFAULT);
    assert_int_equal(out.error, 0xb);
}

/* Bits of CR3 that are no address: 11:0 (of PAE 4:0, of PCIDs all), 63:MAXPHYADDR, 63:32. */
static void test_cr3(void **unused)
{
    (void)unused;
    struct walk_state state = long_mode;
    struct walk_result out;
    struct world world = four_levels(0x2000 | P, 0x3000 | P, 0x4000 | P, 0x5000 | P);
    state.cr3 = 0xffffff0000001fff;
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), 0);
    state.cr4 |= PCIDE;
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), 0);
    state = (struct walk_state){.cr0 = PG, .cr3 = 0xfffffff00001fff, .pat = PAT, .phys_bits = 40};
    world.count = 0;
    add(&world, 0x1c08, 0)->width = 4;
    assert_int_equal(walk(&state, &world, 0xc0805123, WALK_READ, &out), -EFAULT);
    assert_int_equal(out.levels, 1);
    state.cr4 = PAE;
    add(&world, 0x1ff8, 0);
    assert_int_equal(walk(&state, &world, 0xc0805123, WALK_READ, &out), -EFAULT);
    assert_int_equal(out.levels, 1);
}

static void test_canonical(void **unused)
{
    (void)unused;
    static const uint64_t bad4[] = {0x800000000000, 0xffff7fffffffffff, 0x8000000000000000};
    static const uint64_t bad5[] = {0x100000000000000, 0xfeffffffffffffff};
    struct walk_state state = long_mode;
    struct world world = {.count = 0};
    struct walk_result out;
    for (size_t i = 0; i < ARRAY_SIZE(bad4); i++)
        assert_int_equal(walk(&state, &world, bad4[i], WALK_READ, &out), -EINVAL);
    state.cr4 |= LA57;
    for (size_t i = 0; i < ARRAY_SIZE(bad5); i++)
        assert_int_equal(walk(&state, &world, bad5[i], WALK_READ, &out), -EINVAL);
    assert_int_equal(world.reads, 0);
    add(&world, 0x1000 + 8 * 0xff, 0);
    assert_int_equal(walk(&state, &world, 0xffffffffffffff, WALK_READ, &out), -EFAULT);
    state.cr4 = PAE;
    assert_int_equal(walk(&state, &world, 0x7fffffffffff, WALK_READ, &out), -EFAULT);
}

/* --- literal cases: access rights and error codes -------------------------------------------- */

struct right {
    const char *name;
    uint64_t cr0, cr4, efer, rflags; /* added to the state, whose CR0.WP is 0 */
    unsigned cpl, access;
    uint64_t pde, pte; /* flags */
    int result;
    unsigned error;
};

static const struct right rights[] = {
    {"supervisor reads supervisor", 0, 0, 0, 0, 0, WALK_READ, P, P, 0, 0},
    {"user reads supervisor", 0, 0, 0, 0, 3, WALK_READ, P | U, P, -EFAULT, 0x5},
    {"user reads user under supervisor", 0, 0, 0, 0, 3, WALK_READ, P, P | U, -EFAULT, 0x5},
    {"CPL 2 is supervisor", 0, 0, 0, 0, 2, WALK_READ, P, P, 0, 0},
    {"absent, supervisor read", 0, 0, 0, 0, 0, WALK_READ, P, 0, -EFAULT, 0x0},
    {"absent, user write", 0, 0, 0, 0, 3, WALK_WRITE, P | U, 0, -EFAULT, 0x6},
    {"absent, fetch, no NXE", 0, 0, 0, 0, 0, WALK_FETCH, P, 0, -EFAULT, 0x0},
    {"absent, fetch, NXE", 0, 0, NXE, 0, 0, WALK_FETCH, P, 0, -EFAULT, 0x10},
    {"absent, fetch, SMEP", 0, SMEP, 0, 0, 3, WALK_FETCH, P, 0, -EFAULT, 0x14},
    {"absent wins over reserved", 0, 0, 0, 0, 0, WALK_READ, P, NX, -EFAULT, 0x0},
    {"absent, descriptor read at CPL 3", 0, 0, 0, 0, 3, WALK_READ | WALK_SYSTEM, P, 0, -EFAULT, 0},
    {"descriptor read at CPL 3", 0, 0, 0, 0, 3, WALK_READ | WALK_SYSTEM, P, P, 0, 0},
    {"user writes read-only", 0, 0, 0, 0, 3, WALK_WRITE, P | W | U, P | U, -EFAULT, 0x7},
    {"user writes under read-only", 0, 0, 0, 0, 3, WALK_WRITE, P | U, P | W | U, -EFAULT, 0x7},
    {"user writes", 0, 0, 0, 0, 3, WALK_WRITE, P | W | U, P | W | U, 0, 0},
    {"supervisor writes read-only, WP 0", 0, 0, 0, 0, 0, WALK_WRITE, P, P, 0, 0},
    {"supervisor writes read-only, WP 1", WP, 0, 0, 0, 0, WALK_WRITE, P | W, P, -EFAULT, 0x3},
    {"supervisor writes under read-only", WP, 0, 0, 0, 0, WALK_WRITE, P, P | W, -EFAULT, 0x3},
    {"XD without NXE is reserved", 0, 0, 0, 0, 0, WALK_READ, P, P | NX, -EFAULT, 0x9},
    {"XD without NXE, user write", 0, 0, 0, 0, 3, WALK_WRITE, P | NX, P, -EFAULT, 0xf},
    {"read of XD", 0, 0, NXE, 0, 0, WALK_READ, P, P | NX, 0, 0},
    {"fetch of XD", 0, 0, NXE, 0, 0, WALK_FETCH, P, P | NX, -EFAULT, 0x11},
    {"fetch under XD, user", 0, 0, NXE, 0, 3, WALK_FETCH, P | U | NX, P | U, -EFAULT, 0x15},
    {"fetch", 0, 0, NXE, 0, 0, WALK_FETCH, P, P, 0, 0},
    {"fetch of a user page", 0, 0, NXE, 0, 0, WALK_FETCH, P | U, P | U, 0, 0},
    {"SMEP", 0, SMEP, 0, 0, 0, WALK_FETCH, P | U, P | U, -EFAULT, 0x11},
    {"SMEP, user's fetch", 0, SMEP, 0, 0, 3, WALK_FETCH, P | U, P | U, 0, 0},
    {"SMEP, not a user page", 0, SMEP, 0, 0, 0, WALK_FETCH, P, P | U, 0, 0},
    {"SMEP, read", 0, SMEP, 0, 0, 0, WALK_READ, P | U, P | U, 0, 0},
    {"SMAP", 0, SMAP, 0, 0, 0, WALK_READ, P | U, P | U, -EFAULT, 0x1},
    {"SMAP, write, WP 0", 0, SMAP, 0, 0, 0, WALK_WRITE, P | U | W, P | U | W, -EFAULT, 0x3},
    {"SMAP, AC", 0, SMAP, 0, AC, 0, WALK_READ, P | U, P | U, 0, 0},
    {"SMAP, AC, implicit", 0, SMAP, 0, AC, 0, WALK_READ | WALK_SYSTEM, P | U, P | U, -EFAULT, 0x1},
    {"SMAP, implicit, CPL 3", 0, SMAP, 0, AC, 3, WALK_READ | WALK_SYSTEM, P | U, P | U, -EFAULT, 1},
    {"SMAP, user's read", 0, SMAP, 0, 0, 3, WALK_READ, P | U, P | U, 0, 0},
    {"SMAP, fetch", 0, SMAP, 0, 0, 0, WALK_FETCH, P | U, P | U, 0, 0},
    {"SMAP, not a user page", 0, SMAP, 0, 0, 0, WALK_READ, P, P | U, 0, 0},
    {"SMAP, AC, WP", WP, SMAP, 0, AC, 0, WALK_WRITE, P | U, P | U, -EFAULT, 0x3},
    {"reserved bit 40", 0, 0, 0, 0, 0, WALK_READ, P | 1ull << 40, P, -EFAULT, 0x9},
    {"reserved bit 51, write", 0, 0, 0, 0, 0, WALK_WRITE, P, P | 1ull << 51, -EFAULT, 0xb},
    {"bit 52 is ignored", 0, 0, 0, 0, 0, WALK_READ, P | 1ull << 52, P | 1ull << 62, 0, 0},
    {"reserved bit of a 2 MiB page", 0, 0, 0, 0, 0, WALK_READ, P | PS | 1 << 13, 0, -EFAULT, 0x9},
    {"reserved, fetch, NXE", 0, 0, NXE, 0, 0, WALK_FETCH, P, P | 1ull << 51, -EFAULT, 0x19},
};

static void check_right(const struct right *r)
{
    struct walk_state state = long_mode;
    state.cr0 = PG | r->cr0;
    state.cr4 |= r->cr4;
    state.efer = LMA | r->efer;
    state.rflags = r->rflags;
    state.cpl = (uint8_t)r->cpl;
    uint64_t pde = r->pde & PS ? r->pde : r->pde | 0x4000, pte = 0x5000 | r->pte;
    struct world world = four_levels(0x2000 | P | W | U, 0x3000 | P | W | U, pde, pte);
    struct walk_result out;
    int result = walk(&state, &world, VA4, r->access, &out);
    if (result != r->result || (result == -EFAULT && out.error != r->error))
        fail_msg("%s: result %d, error %x", r->name, result, out.error);
    bool write = r->access & WALK_WRITE;
    uint64_t accessed = result == 0 ? A : 0, dirty = result == 0 && write ? D : 0;
    assert_int_equal(world.slot[0].value, 0x2000 | P | W | U | accessed);
    assert_int_equal(world.slot[1].value, 0x3000 | P | W | U | accessed);
    assert_int_equal(world.slot[2].value, pde | accessed);
    assert_int_equal(world.slot[3].value, pte | accessed | dirty);
}

static void test_rights(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ARRAY_SIZE(rights); i++)
        check_right(&rights[i]);
}

/* --- literal cases: memory types ------------------------------------------------------------- */

static void expect_type(struct world *world, unsigned i, enum memtype type)
{
    world->slot[i].type = type;
    world->slot[i].check_type = true;
}

static void test_table_types(void **unused)
{
    (void)unused;
    struct walk_state state = long_mode;
    struct walk_result out;
    state.cr3 |= PCD;
    struct world world =
        four_levels(0x2000 | P | PWT, 0x3000 | P, 0x4000 | P | PCD | PWT, 0x5000 | P | PCD);
    expect_type(&world, 0, MT_UC_MINUS);
    expect_type(&world, 1, MT_WT);
    expect_type(&world, 2, MT_WB);
    expect_type(&world, 3, MT_UC);
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), 0);
    assert_int_equal(world.sets, 4);
    assert_int_equal(out.pat_type, MT_UC_MINUS);
    state.cr4 |= PCIDE; /* then CR3's bits are part of the PCID, and the index is 0 */
    expect_type(&world, 0, MT_WB);
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), 0);
    state.pat = 0x0007040600070401;
    expect_type(&world, 0, MT_WC);
    expect_type(&world, 2, MT_WC);
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), 0);
}

static void test_leaf_types(void **unused)
{
    (void)unused;
    struct walk_state state = long_mode;
    struct walk_result out;
    state.pat = PAT_WC;
    /* PAT is bit 7 of a PTE, and bit 12 of a larger leaf. */
    struct world world = four_levels(0x2000 | P, 0x3000 | P, 0x4000 | P, 0x5000 | P | 0x80 | PCD);
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), 0);
    assert_int_equal(out.pat_type, MT_WC);
    world = four_levels(0x2000 | P, 0x3000 | P, 0x400000 | P | PS | 0x1000 | PCD, 0);
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), 0);
    assert_int_equal(out.pat_type, MT_WC);
    assert_int_equal(out.gpa.v, 0x405123);
    world = four_levels(0x2000 | P, 0x3000 | P, 0x400000 | P | PS | PCD, 0);
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), 0);
    assert_int_equal(out.pat_type, MT_UC_MINUS);
    world = four_levels(0x2000 | P, P | PS | 0x1000 | PWT, 0, 0);
    assert_int_equal(walk(&state, &world, VA4, WALK_READ, &out), 0);
    assert_int_equal(out.pat_type, MT_WP);
}

/* --- literal cases: the other modes ---------------------------------------------------------- */

static void test_unpaged(void **unused)
{
    (void)unused;
    struct walk_state state = {.phys_bits = 36, .cpl = 3, .cr4 = SMEP | SMAP | PAE};
    struct world world = {.count = 0};
    struct walk_result out;
    assert_int_equal(walk(&state, &world, 0x1fedcba98, WALK_WRITE, &out), 0);
    assert_int_equal(out.gpa.v, 0xfedcba98);
    assert_int_equal(out.page, 0x1000);
    assert_int_equal(out.pat_type, MT_WB);
    assert_int_equal(out.levels, 0);
    assert_true(out.writable && out.user && out.executable);
}

/* VA C0805123h: PDE 302h at 1C08h, PTE 5 at 2014h. */
static void test_32bit(void **unused)
{
    (void)unused;
    struct walk_state state = {.cr0 = PG, .cr3 = 0x1fff, .pat = PAT, .phys_bits = 40, .efer = NXE};
    struct world world = {.count = 0};
    struct walk_result out;
    add(&world, 0x1c08, 0x2000 | P | W | PS)->width = 4;
    add(&world, 0x2014, 0xfedcb000 | P | W)->width = 4;
    assert_int_equal(walk(&state, &world, 0xc0805123, WALK_WRITE, &out), 0);
    assert_int_equal(out.gpa.v, 0xfedcb123);
    assert_int_equal(out.levels, 2);
    assert_true(out.executable);
    assert_int_equal(world.slot[0].value, 0x2000 | P | W | PS | A);
    assert_int_equal(world.slot[1].value, 0xfedcb000 | P | W | A | D);
    state.cpl = 3; /* no I/D here, whatever NXE */
    assert_int_equal(walk(&state, &world, 0xc0805123, WALK_FETCH, &out), -EFAULT);
    assert_int_equal(out.error, 0x5);
    state.cpl = 0;
    state.cr4 = PSE;
    world.slot[0].value = 0x80400000 | 0xab << 13 | P | W | PS;
    assert_int_equal(walk(&state, &world, 0xc0805123, WALK_READ, &out), 0);
    assert_int_equal(out.gpa.v, 0xab80405123);
    assert_int_equal(out.page, 0x400000);
    state.phys_bits = 36; /* bits 39:36 of the address are reserved */
    assert_int_equal(walk(&state, &world, 0xc0805123, WALK_READ, &out), -EFAULT);
    assert_int_equal(out.error, 0x9);
    world.slot[0].value = 0x80400000 | 0x0b << 13 | P | W | PS;
    assert_int_equal(walk(&state, &world, 0xc0805123, WALK_READ, &out), 0);
    assert_int_equal(out.gpa.v, 0xb80405123);
    state.phys_bits = 52; /* PSE-36 ends at 40 bits */
    world.slot[0].value = 0x80400000 | 1 << 21 | P | W | PS;
    assert_int_equal(walk(&state, &world, 0xc0805123, WALK_READ, &out), -EFAULT);
}

/* VA C0605123h: PDPTE 3 at 1038h, PDE 3 at 3018h, PTE 5 at 4028h. */
static void test_pae(void **unused)
{
    (void)unused;
    struct walk_state state = {.cr0 = PG, .cr3 = 0x1020, .cr4 = PAE, .pat = PAT, .phys_bits = 40};
    struct world world = {.count = 0};
    struct walk_result out;
    add(&world, 0x1038, 0x3000 | P | PCD);
    add(&world, AT_PD, 0x4000 | P | W | U);
    add(&world, AT_PT, 0xab12345000 | P | W | U);
    expect_type(&world, 1, MT_UC_MINUS);
    state.cpl = 3; /* a PDPTE has neither rights nor accessed bit */
    assert_int_equal(walk(&state, &world, 0xc0605123, WALK_WRITE, &out), 0);
    assert_int_equal(out.gpa.v, 0xab12345123);
    assert_int_equal(out.levels, 3);
    assert_int_equal(world.slot[0].value, 0x3000 | P | PCD);
    world.slot[0].value |= U;
    assert_int_equal(walk(&state, &world, 0xc0605123, WALK_READ, &out), -EFAULT);
    assert_int_equal(out.error, 0xd);
    for (unsigned bit = 0; bit < 64; bit++) { /* all but PWT, PCD, address, 11:9; and bit 5 */
        bool legal = bit == 0 || (bit >= 3 && bit <= 5) || (bit >= 9 && bit < 40);
        world = (struct world){.count = 0};
        add(&world, 0x1038, P | 1ull << bit);
        add(&world, bit >= 12 ? 0x18 + (1ull << bit) : 0x18, 0);
        assert_int_equal(walk(&state, &world, 0xc0605123, WALK_READ, &out), -EFAULT);
        assert_int_equal(out.error, legal ? 0x4 : 0xd);
    }
    world = (struct world){.count = 0};
    add(&world, 0x1038, 0x3000 | P | PCD);
    add(&world, AT_PD, 0x4000 | P | W | U);
    add(&world, AT_PT, 0xab12345000 | P | W | U);
    state.pdpte_valid = true;
    state.pdpte[3] = 0x3000 | P;
    expect_type(&world, 1, MT_WB);
    assert_int_equal(walk(&state, &world, 0xc0605123, WALK_READ, &out), 0);
    assert_int_equal(out.levels, 2);
    world.slot[2].value |= 1ull << 62; /* reserved here, though not in long mode */
    assert_int_equal(walk(&state, &world, 0xc0605123, WALK_READ, &out), -EFAULT);
    assert_int_equal(out.error, 0xd);
    state.pdpte[3] = 0x3000;
    assert_int_equal(walk(&state, &world, 0xc0605123, WALK_READ, &out), -EFAULT);
    assert_int_equal(out.error, 0x4);
}

/* --- literal cases: memory that changes or is not there -------------------------------------- */

static void test_changes(void **unused)
{
    (void)unused;
    struct walk_result out;
    struct world world = four_levels(0x2000 | P | A, 0x3000 | P | A, 0x4000 | P | A, 0x5000 | P);
    world.changes = 1;
    world.change_to = 0x6000 | P;
    assert_int_equal(walk(&long_mode, &world, VA4, WALK_READ, &out), 0);
    assert_int_equal(out.gpa.v, 0x6123);
    assert_int_equal(out.levels, 4);
    assert_int_equal(world.slot[3].value, 0x6000 | P | A);
    world.slot[3].value = 0x5000 | P;
    world.changes = 1;
    world.change_to = 0x6000;
    assert_int_equal(walk(&long_mode, &world, VA4, WALK_READ, &out), -EFAULT);
    assert_int_equal(out.error, 0);
    world.slot[3].value = 0x5000 | P;
    world.changes = 1000000;
    world.change_to = 0;
    world.sets = 0;
    assert_int_equal(walk(&long_mode, &world, VA4, WALK_READ, &out), -EIO);
    assert_int_equal(out.at.v, AT_PT);
    assert_in_range(world.sets, 2, 100);
}

static void test_missing(void **unused)
{
    (void)unused;
    struct walk_result out;
    struct world world = four_levels(0x2000 | P, 0x3000 | P, 0x4000 | P, 0x5000 | P);
    world.missing = AT_PD;
    assert_int_equal(walk(&long_mode, &world, VA4, WALK_READ, &out), -EIO);
    assert_int_equal(out.at.v, AT_PD);
    assert_int_equal(world.sets, 0);
}

/* --- the model ------------------------------------------------------------------------------- */

enum mode { UNPAGED, BITS32, PAE_MEMORY, PAE_CPU, FOUR, FIVE, MODES };

/* One row of a mode's tables as the manuals draw them. */
struct row {
    unsigned shift, count;    /* of the index */
    bool pdpte;               /* PAE: no rights, no accessed bit */
    uint64_t never;           /* reserved in every entry, but for address and XD */
    uint64_t large, if_large; /* page size, 0: maps none; bits reserved then */
};

static const struct row rows_32[] = {
    {22, 1024, false, 0, 0, 0},
    {12, 1024, false, 0, 0x1000, 0},
};
static const struct row rows_32_pse[] = {
    {22, 1024, false, 0, 0x400000, 0x200000},
    {12, 1024, false, 0, 0x1000, 0},
};
static const struct row rows_pae[] = {
    {30, 4, true, 0xfff00000000001c6, 0, 0}, /* bit 5 may be an accessed flag */
    {21, 512, false, 0x7ff0000000000000, 0x200000, 0x1fe000},
    {12, 512, false, 0x7ff0000000000000, 0x1000, 0},
};
static const struct row rows_long[] = {
    {48, 512, false, 0x80, 0, 0},
    {39, 512, false, 0x80, 0, 0},
    {30, 512, false, 0, 0x40000000, 0x3fffe000},
    {21, 512, false, 0, 0x200000, 0x1fe000},
    {12, 512, false, 0, 0x1000, 0},
};
static const struct row rows_long_no_1g[] = {
    {48, 512, false, 0x80, 0, 0},   {39, 512, false, 0x80, 0, 0},
    {30, 512, false, 0x80, 0, 0},   {21, 512, false, 0, 0x200000, 0x1fe000},
    {12, 512, false, 0, 0x1000, 0},
};

struct random_case {
    uint64_t random;
    enum mode mode;
    struct walk_state state;
    struct world world;
    uint64_t va;
    unsigned access;
    bool plain; /* most entries are accessed, and of one type */
};

static bool one_in(struct random_case *c, unsigned n)
{
    return (host_random(&c->random) >> 32) % n == 0;
}

static uint64_t random_entry(struct random_case *c, const struct row *row)
{
    uint64_t bits = host_random(&c->random);
    uint64_t value = (bits & 0x000ffffffffff000) % (1ull << c->state.phys_bits);
    value |= (bits >> 52) & (PWT | PCD | A | D | 0xe00);
    if (c->plain && !one_in(c, 12))
        value = (value & ~(PWT | PCD)) | A;
    if (!one_in(c, 16))
        value |= P;
    if (!one_in(c, 6))
        value |= W;
    if (!one_in(c, 6))
        value |= U;
    if (one_in(c, 3))
        value |= PS;
    if (one_in(c, 12))
        value |= NX;
    if (row->shift >= 39 && one_in(c, 12))
        value |= 0x100;
    if (one_in(c, 20))
        value |= 1ull << host_random(&c->random) % 63;
    if ((value & PS) && row->shift > 12 && !one_in(c, 8))
        value &= row->shift == 22 ? ~(one_in(c, 2) ? 0x200000ull : 0x3fe000ull)
                                  : ~((1ull << row->shift) - 0x2000);
    if ((value & PS) && row->shift >= 30 && row->large == 0 && !one_in(c, 16))
        value &= ~PS;
    if (row->pdpte && !one_in(c, 8))
        value &= ~row->never;
    return row->shift == 22 || row->count == 1024 ? value & 0xffffffff : value;
}

static enum memtype model_pat(const struct walk_state *state, bool pat, bool pcd, bool pwt)
{
    uint8_t slots[8];
    memcpy(slots, &state->pat, 8);
    return (enum memtype)slots[pat * 4 + pcd * 2 + pwt];
}

/* The error code of a fault of this access, of which P and RSVD are known. */
static uint32_t model_error(const struct random_case *c, uint32_t error)
{
    bool nxe = c->mode >= PAE_MEMORY && (c->state.efer & NXE);
    error += c->access & WALK_WRITE ? 2 : 0;
    error += c->state.cpl == 3 && !(c->access & WALK_SYSTEM) ? 4 : 0;
    error += (c->access & WALK_FETCH) && (nxe || (c->state.cr4 & SMEP)) ? 16 : 0;
    return error;
}

static bool model_allows_read(const struct random_case *c, const struct walk_result *r)
{
    if (c->access & WALK_SYSTEM)
        return !r->user || !(c->state.cr4 & SMAP);
    if (c->state.cpl == 3)
        return r->user;
    return !r->user || !(c->state.cr4 & SMAP) || (c->state.rflags & AC);
}

static bool model_allows_write(const struct random_case *c, const struct walk_result *r)
{
    bool supervisor = c->state.cpl < 3 || (c->access & WALK_SYSTEM);
    if (supervisor && !(c->state.cr0 & WP))
        return model_allows_read(c, r);
    return r->writable && model_allows_read(c, r);
}

static bool model_allows_fetch(const struct random_case *c, const struct walk_result *r)
{
    if (c->state.cpl == 3 && !(c->access & WALK_SYSTEM))
        return r->user && r->executable;
    if (r->user && (c->state.cr4 & SMEP))
        return false;
    return r->executable;
}

static bool model_is_reserved(const struct random_case *c, const struct row *row, uint64_t entry,
                              bool large)
{
    uint64_t physical = 1ull << c->state.phys_bits;
    uint64_t reserved = row->never | (large ? row->if_large : 0);
    if (row->shift >= 39 && c->state.reserves_bit8)
        reserved |= 0x100;
    if (c->mode == BITS32) {
        uint64_t high = entry / 0x2000 % 0x100; /* address bits 39:32 */
        return large && row->large == 0x400000 && ((entry & reserved) || (high << 32) >= physical);
    }
    if (!(c->state.efer & NXE))
        reserved |= NX;
    return (entry & reserved) || (entry & 0x000fffffffffffff) >= physical;
}

static uint64_t model_address(const struct random_case *c, const struct row *row, uint64_t entry)
{
    uint64_t base = entry % (1ull << c->state.phys_bits) / row->large * row->large;
    if (row->large == 0x400000)
        base = (entry & 0xffc00000) + ((entry >> 13 & 0xff) << 32);
    return base + c->va % row->large;
}

static const struct row *model_rows(const struct random_case *c)
{
    switch (c->mode) {
    case BITS32:
        return c->state.cr4 & PSE ? rows_32_pse : rows_32;
    case PAE_MEMORY:
    case PAE_CPU:
        return rows_pae;
    case FIVE:
        return c->state.has_1g ? rows_long : rows_long_no_1g;
    case FOUR:
        return (c->state.has_1g ? rows_long : rows_long_no_1g) + 1;
    case UNPAGED:
    case MODES:
        break;
    }
    return NULL;
}

/* The table that CR3 names, and the bits of CR3 that decide its type. */
static uint64_t model_root(const struct random_case *c, uint64_t *flags)
{
    uint64_t cr3 = c->state.cr3;
    *flags = (c->state.cr4 & PCIDE) && c->mode >= FOUR ? 0 : cr3;
    if (c->mode == BITS32)
        return cr3 & 0xfffff000;
    if (c->mode < FOUR)
        return cr3 & 0xffffffe0;
    return cr3 % (1ull << c->state.phys_bits) & ~0xfffull;
}

/* What may be set in the entries of the walk: EXPECTED is the world after it. */
static int model_finish(struct random_case *c, const struct row *row, uint64_t entry,
                        struct slot *const *met, unsigned count, struct walk_result *r)
{
    bool pat = entry & (row->large == 0x1000 ? 0x80u : 0x1000u);
    if (((c->access & WALK_READ) && !model_allows_read(c, r)) ||
        ((c->access & WALK_WRITE) && !model_allows_write(c, r)) ||
        ((c->access & WALK_FETCH) && !model_allows_fetch(c, r))) {
        r->error = model_error(c, 1);
        return -EFAULT;
    }
    for (unsigned i = 0; i < count; i++)
        met[i]->value |= A;
    if (c->access & WALK_WRITE)
        met[count - 1]->value |= D;
    r->gpa = gpa(model_address(c, row, entry));
    r->page = row->large;
    r->pat_type = (uint8_t)model_pat(&c->state, pat, entry & PCD, entry & PWT);
    return 0;
}

/* Makes up the entries of the walk in C->world, and says in EXPECTED what they become. */
static int model_tables(struct random_case *c, struct world *expected, struct walk_result *r)
{
    struct slot *met[5];
    uint64_t flags, table = model_root(c, &flags);
    unsigned count = 0;
    r->writable = r->user = r->executable = true;
    for (const struct row *row = model_rows(c);; row++) {
        uint64_t index = (c->va >> row->shift) % row->count, entry = random_entry(c, row);
        unsigned width = row->count == 1024 ? 4 : 8;
        bool in_cpu = row->pdpte && c->mode == PAE_CPU;
        if (in_cpu) {
            c->state.pdpte[index] = entry;
        } else {
            if (find(&c->world, table + index * width) != NULL)
                return -EEXIST; /* tables that overlap: not a case */
            struct slot *slot = add(&c->world, table + index * width, entry);
            slot->width = width;
            slot->type = model_pat(&c->state, false, flags & PCD, flags & PWT);
            slot->check_type = true;
            met[count] = add(expected, table + index * width, entry);
            count += !row->pdpte;
            r->levels++;
        }
        bool large = row->large == 0x1000 || (row->large && (entry & PS));
        r->error = !(entry & P) ? model_error(c, 0) : model_error(c, 9);
        if (!(entry & P) || (!in_cpu && model_is_reserved(c, row, entry, large)))
            return -EFAULT;
        if (!row->pdpte) {
            r->writable = r->writable && (entry & W);
            r->user = r->user && (entry & U);
            r->executable =
                r->executable && (!(entry & NX) || !(c->state.efer & NXE) || c->mode == BITS32);
        }
        if (large)
            return model_finish(c, row, entry, met, count, r);
        table = entry % (1ull << c->state.phys_bits) & 0x000ffffffffff000;
        flags = entry;
    }
}

static int model(struct random_case *c, struct world *expected, struct walk_result *r)
{
    *r = (struct walk_result){.levels = 0};
    if (c->mode < FOUR)
        c->va %= 1ull << 32;
    if (c->mode == UNPAGED) {
        *r = (struct walk_result){gpa(c->va), 0x1000, MT_WB, 0, true, true, true, 0, gpa(0)};
        return 0;
    }
    unsigned unused = c->mode == FOUR ? 16 : 7;
    if (c->mode >= FOUR && (uint64_t)((int64_t)(c->va << unused) >> unused) != c->va)
        return -EINVAL;
    return model_tables(c, expected, r);
}

static void random_state(struct random_case *c)
{
    static const uint8_t widths[] = {32, 36, 39, 40, 46, 48, 52, 52};
    static const uint8_t accesses[] = {WALK_READ, WALK_WRITE, WALK_READ | WALK_WRITE, WALK_FETCH};
    static const uint8_t types[] = {MT_UC, MT_WC, MT_WT, MT_WP, MT_WB, MT_UC_MINUS};
    uint64_t bits = host_random(&c->random);
    struct walk_state *s = &c->state;
    c->mode = (enum mode)(bits % MODES);
    c->plain = one_in(c, 2);
    s->cr0 = 0x31 | (c->mode == UNPAGED ? 0 : PG) | (bits & WP);
    s->cr3 = host_random(&c->random) & ~(c->plain ? PWT | PCD | 0x100 : 0);
    s->cr4 = (bits >> 20) & (PSE | PCIDE | SMEP | SMAP);
    s->cr4 |= c->mode >= PAE_MEMORY ? PAE : 0;
    s->cr4 |= c->mode == FIVE ? LA57 : 0;
    s->efer = (c->mode >= FOUR ? LMA | 0x100 : 0) | (one_in(c, 4) ? 0 : NXE);
    s->rflags = 2 | (one_in(c, 2) ? AC : 0);
    s->pdpte_valid = c->mode == PAE_CPU;
    for (unsigned i = 0; i < 8; i++)
        s->pat |= (uint64_t)types[host_random(&c->random) % ARRAY_SIZE(types)] << 8 * i;
    s->cpl = one_in(c, 2) ? 3 : (uint8_t)(bits >> 56 & 3);
    s->phys_bits = widths[bits >> 40 & 7];
    s->has_1g = one_in(c, 2);
    s->reserves_bit8 = one_in(c, 2);
    c->access = accesses[bits >> 44 & 3] | (one_in(c, 4) ? WALK_SYSTEM : 0u);
    c->va = host_random(&c->random);
    if (c->mode >= FOUR && !one_in(c, 50))
        c->va = (uint64_t)((int64_t)c->va >> (c->mode == FOUR ? 16 : 7));
}

static void compare(const struct random_case *c, const struct world *expected, int want_result,
                    const struct walk_result *want, int got_result, const struct walk_result *got)
{
    assert_int_equal(want_result, got_result);
    for (unsigned i = 0; i < expected->count; i++)
        assert_int_equal(expected->slot[i].value, c->world.slot[i].value);
    if (want_result == -EFAULT)
        assert_int_equal(want->error, got->error);
    if (want_result != 0)
        return;
    assert_int_equal(want->gpa.v, got->gpa.v);
    assert_int_equal(want->page, got->page);
    assert_int_equal(want->pat_type, got->pat_type);
    assert_int_equal(want->levels, got->levels);
    assert_int_equal(want->writable, got->writable);
    assert_int_equal(want->user, got->user);
    assert_int_equal(want->executable, got->executable);
}

struct outcomes {
    unsigned done, faults, reserved;
};

static void check_random(uint64_t seed, struct outcomes *of_mode)
{
    static struct random_case c;
    static struct world expected;
    c = (struct random_case){.random = seed};
    expected = (struct world){.count = 0};
    struct walk_result want, got;
    random_state(&c);
    uint64_t va = c.va;
    int result = model(&c, &expected, &want);
    if (result == -EEXIST)
        return;
    int got_result = walk(&c.state, &c.world, va, c.access, &got);
    compare(&c, &expected, result, &want, got_result, &got);
    of_mode[c.mode].done += result == 0;
    of_mode[c.mode].faults += result == -EFAULT && !(want.error & 8);
    of_mode[c.mode].reserved += result == -EFAULT && (want.error & 8);
}

static void test_model(void **unused)
{
    struct outcomes outcomes[MODES] = {0};
    uint64_t random = 20231014;
    (void)unused;
    walked_short = 0;
    for (unsigned i = 0; i < RANDOM_CASES; i++)
        check_random(host_random(&random), outcomes);
    for (enum mode mode = UNPAGED; mode < MODES; mode++) {
        assert_true(outcomes[mode].done > RANDOM_CASES / MODES / 20);
        assert_true(mode == UNPAGED || outcomes[mode].faults > RANDOM_CASES / MODES / 20);
        assert_true(mode == UNPAGED || outcomes[mode].reserved > RANDOM_CASES / MODES / 50);
    }
    assert_true(walked_short > RANDOM_CASES / 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_four_levels), cmocka_unit_test(test_large_pages),
        cmocka_unit_test(test_five_levels), cmocka_unit_test(test_canonical),
        cmocka_unit_test(test_rights),      cmocka_unit_test(test_table_types),
        cmocka_unit_test(test_leaf_types),  cmocka_unit_test(test_unpaged),
        cmocka_unit_test(test_32bit),       cmocka_unit_test(test_pae),
        cmocka_unit_test(test_changes),     cmocka_unit_test(test_missing),
        cmocka_unit_test(test_model),       cmocka_unit_test(test_bit8),
        cmocka_unit_test(test_peek),        cmocka_unit_test(test_ones),
        cmocka_unit_test(test_cr3),         cmocka_unit_test(test_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
