/*
 * Memory types: the oracle's answers, against what bare metal would give by the manuals' tables,
 * which runtime/memtypes.c has once more. The guest changes MTRRs, PAT, CR0.CD and its own page
 * tables, and asks what type an access then has.
 *
 * row: types end=0 set=policy=exact set=control=yes control=skip control-reason="no oracle"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/memtypes.h"

/* Memory that nothing else uses: 2 MiB at 32 MiB. */
#define SPOT      0x2000000ull
#define SPOT_SIZE 0x200000ull

/* --- asking ----------------------------------------------------------------------------------- */

static struct type_answer physical(uint64_t at, unsigned pat)
{
    struct type_answer answer;
    int64_t result = oracle_ask(HYPERCALL_TYPE_PHYSICAL, at, pat, &answer);
    expect(result == 0, "asking about GPA %lx: %ld", at, result);
    return answer;
}

static struct type_answer linear(const volatile void *at)
{
    struct type_answer answer;
    int64_t result = oracle_ask(HYPERCALL_TYPE_LINEAR, (uint64_t)at, 0, &answer);
    expect(result == 0, "asking about linear %lx: %ld", (uint64_t)at, result);
    return answer;
}

/* --- changing --------------------------------------------------------------------------------- */

static struct {
    struct mtrrs mtrrs;
    uint64_t pat, cr0;
} saved;

static void save(void)
{
    saved.cr0 = read_cr0();
    saved.pat = rdmsr(MSR_PAT);
    mtrrs_read(&saved.mtrrs);
}

static void restore(void)
{
    wrmsr(MSR_PAT, saved.pat);
    mtrrs_write(&saved.mtrrs);
    write_cr0(saved.cr0);
}

static void set_pair(unsigned i, uint64_t base, uint64_t mask, unsigned type)
{
    wrmsr(MSR_MTRR_PHYSBASE0 + 2 * i + 1, 0);
    wrmsr(MSR_MTRR_PHYSBASE0 + 2 * i, base | type);
    wrmsr(MSR_MTRR_PHYSBASE0 + 2 * i + 1, (mask & address_mask()) | MASK_V);
}

static void set_range(unsigned i, uint64_t base, uint64_t size, unsigned type)
{
    set_pair(i, base, ~(size - 1), type);
}

/* --- pages ------------------------------------------------------------------------------------ */

enum { PWT = 1 << 3, PCD = 1 << 4, PS = 1 << 7, PAT_4K = 1 << 7, PAT_LARGE = 1 << 12 };
enum { SIZE_4K, SIZE_2M, SIZE_1G, SIZES };

extern uint64_t pdpt[512], window_directory[512], window_table[512];

/* Slot SLOT of the PAT, as bits of an entry that maps a page. */
static uint64_t slot_bits(unsigned slot, unsigned size)
{
    uint64_t pat = size == SIZE_4K ? PAT_4K : PAT_LARGE;
    return ((slot & 1) != 0 ? PWT : 0u) | ((slot & 2) != 0 ? PCD : 0u) |
           ((slot & 4) != 0 ? pat : 0);
}

/* Maps the spot by a page of SIZE through a slot of the PAT, and returns where. */
static const volatile char *map_spot(unsigned size, unsigned slot)
{
    const uint64_t pw = PAGE_P | PAGE_W;
    const char *at = (const char *)(5 * GIB);
    if (size == SIZE_1G) { /* the gigabyte that the spot lies in */
        pdpt[5] = 0 | pw | PS | slot_bits(slot, size);
        at += SPOT;
    } else if (size == SIZE_2M) {
        window_directory[1] = SPOT | pw | PS | slot_bits(slot, size);
        at = (const char *)(4 * GIB + 2 * MIB);
    } else {
        window_table[0] = SPOT | pw | slot_bits(slot, size);
        at = (const char *)(4 * GIB);
    }
    invlpg(at);
    return at;
}

static bool has_1g(void)
{
    return (cpuid(0x80000001, 0).edx >> 26 & 1) != 0;
}

/* Each of the six types in a slot, and slots that differ in each of the three bits. */
#define PAT_ALL 0x0700010500070406ull
static const uint8_t slot_types[8] = {MT_WB, MT_WT, MT_UC_MINUS, MT_UC,
                                      MT_WP, MT_WC, MT_UC,       MT_UC_MINUS};

/* --- cases ------------------------------------------------------------------------------------ */

static unsigned odd; /* cells that differ from bare metal's type */

static void check_cell(const volatile char *at, unsigned mtrr, unsigned slot, const char *size)
{
    unsigned pat = index_of(pat_types, PATS, slot_types[slot]);
    struct type_answer a = linear(at);
    unsigned want = expected(mtrr, pat);
    odd += a.effective != native(mtrr, pat);
    expect(a.gpa == SPOT, "GPA %lx", a.gpa);
    expect(a.pat_type == pat_types[pat], "slot %u by %s: PAT type %u, not %u", slot, size,
           a.pat_type, pat_types[pat]);
    expect(a.effective == want, "MTRR %u, PAT %u by %s: %s, not %s", mtrr_types[mtrr],
           pat_types[pat], size, type_name(a.effective), type_name(want));
}

/* MTRR type x PAT slot x page size, with E = 1 and both values of FE. */
static void sweep(void)
{
    static const char *const sizes[SIZES] = {"4K", "2M", "1G"};
    save();
    wrmsr(MSR_PAT, PAT_ALL);
    odd = 0;
    for (unsigned fe = 0; fe < 2; fe++)
        for (unsigned mtrr = 0; mtrr < TYPES; mtrr++) {
            wrmsr(MSR_MTRR_DEF_TYPE, DEF_E | (fe != 0 ? DEF_FE : 0) | MT_WB);
            set_range(7, SPOT, SPOT_SIZE, mtrr_types[mtrr]);
            for (unsigned size = 0; size < (has_1g() ? SIZES : SIZE_1G); size++)
                for (unsigned slot = 0; slot < 8; slot++)
                    check_cell(map_spot(size, slot), mtrr, slot, sizes[size]);
        }
    restore();
}

/* Under AMD's nested paging exactly 8 of the 30 pairs differ, and only within their class. */
static void cells(void)
{
    static const uint8_t slot_of[PATS] = {3, 2, 5, 1, 4, 0}; /* in the order of pat_types */
    unsigned differ = 0;
    save();
    wrmsr(MSR_PAT, PAT_ALL);
    for (unsigned mtrr = 0; mtrr < TYPES; mtrr++) {
        set_range(7, SPOT, SPOT_SIZE, mtrr_types[mtrr]);
        for (unsigned pat = 0; pat < PATS; pat++) {
            unsigned got = linear(map_spot(SIZE_4K, slot_of[pat])).effective;
            unsigned bare = native(mtrr, pat);
            bool same_class = (bare == UC && got == CD) || (bare == WC && got == WCP);
            expect(got == bare || same_class, "MTRR %u, PAT %u: %s for %s", mtrr_types[mtrr],
                   pat_types[pat], type_name(got), type_name(bare));
            expect((got != bare) == (!machine.intel && snoops_more(mtrr, pat)),
                   "MTRR %u, PAT %u: %s for %s", mtrr_types[mtrr], pat_types[pat], type_name(got),
                   type_name(bare));
            differ += got != bare;
        }
    }
    expect(differ == (machine.intel ? 0 : 8), "%u cells differ", differ);
    restore();
}

/* E = 0: all memory is UC by the MTRRs, and only a PAT of WC is something else. */
static void disabled(void)
{
    save();
    wrmsr(MSR_PAT, PAT_ALL);
    set_range(7, SPOT, SPOT_SIZE, MT_WT);
    for (unsigned fe = 0; fe < 2; fe++) {
        wrmsr(MSR_MTRR_DEF_TYPE, (fe != 0 ? DEF_FE : 0) | MT_WB);
        for (unsigned size = 0; size < (has_1g() ? SIZES : SIZE_1G); size++)
            for (unsigned slot = 0; slot < 8; slot++) {
                struct type_answer a = linear(map_spot(size, slot));
                unsigned pat = index_of(pat_types, PATS, slot_types[slot]);
                expect(a.effective == expected(0, pat), "slot %u: %s, not %s", slot,
                       type_name(a.effective), type_name(expected(0, pat)));
                expect(slot_types[slot] != MT_WC || a.effective == WC, "WC by PAT: %s",
                       type_name(a.effective));
                expect(a.guest_type == MT_UC && a.guest_rule == 0, "type %u by rule %u",
                       a.guest_type, a.guest_rule);
            }
    }
    restore();
}

/* CR0.CD = 1: UC whatever the rest says; AMD calls it CD, which is of the same class. */
static void cache_disable(void)
{
    unsigned want = machine.intel ? UC : CD;
    save();
    wrmsr(MSR_PAT, PAT_ALL);
    for (unsigned e = 0; e < 2; e++)
        for (unsigned mtrr = 0; mtrr < TYPES; mtrr++) {
            set_range(7, SPOT, SPOT_SIZE, mtrr_types[mtrr]);
            wrmsr(MSR_MTRR_DEF_TYPE, (e != 0 ? DEF_E : 0) | DEF_FE | MT_WB);
            write_cr0(saved.cr0 | CR0_CD);
            expect((read_cr0() & CR0_CD) != 0, "CD does not read as 1");
            for (unsigned slot = 0; slot < 8; slot++) {
                struct type_answer a = linear(map_spot(SIZE_4K, slot));
                expect(a.effective == want && a.cd == 1, "E=%u MTRR %u slot %u: %s, CD %u", e,
                       mtrr_types[mtrr], slot, type_name(a.effective), a.cd);
            }
            write_cr0(saved.cr0);
            unsigned type = e != 0 ? mtrr : 0;
            struct type_answer after = linear(map_spot(SIZE_4K, 0));
            expect(after.effective == expected(type, PATS - 1), "after CD: %s",
                   type_name(after.effective));
        }
    restore();
}

/* SDM, "Address Mapping for Fixed-Range MTRRs": the first address and the size of each byte. */
static void fixed_place(unsigned i, uint64_t *first, uint64_t *size)
{
    *size = i < 8 ? 0x10000 : i < 24 ? 0x4000 : 0x1000;
    *first = i < 8    ? i * 0x10000ull
             : i < 24 ? 0x80000 + (i - 8) * 0x4000ull
                      : 0xc0000 + (i - 24) * 0x1000ull;
}

static void fixed_ranges(void)
{
    save();
    for (unsigned i = 0; i < 88; i++) {
        uint32_t msr = fixed_msrs[i / 8];
        uint64_t first, size, old = rdmsr(msr);
        fixed_place(i, &first, &size);
        for (unsigned t = 0; t < TYPES; t++) {
            uint64_t byte = 0xffull << 8 * (i % 8), all = 0x0101010101010101 * mtrr_types[t];
            wrmsr(msr, (old & ~byte) | (all & byte));
            struct type_answer a = physical(first, MT_WB), z = physical(first + size - 1, MT_WB);
            expect(a.guest_type == mtrr_types[t] && z.guest_type == mtrr_types[t],
                   "range %u: %u and %u, not %u", i, a.guest_type, z.guest_type, mtrr_types[t]);
            expect(a.effective == expected(t, PATS - 1), "range %u: %s", i, type_name(a.effective));
        }
        wrmsr(msr, old);
    }
    for (unsigned t = 0; t < TYPES; t++) { /* FE = 0: the variable and default types instead */
        wrmsr(MSR_MTRR_DEF_TYPE, DEF_E | mtrr_types[t]);
        struct type_answer a = physical(0xa0000, MT_WB);
        expect(a.guest_type == mtrr_types[t], "FE=0: %u, not %u", a.guest_type, mtrr_types[t]);
    }
    restore();
}

/* One page of another type: the pages around it, in the same 2 MiB, keep theirs. */
static void straddling(void)
{
    const uint64_t page = SPOT + 0x5000;
    save();
    struct type_answer before = physical(page, MT_WB);
    set_range(7, page, PAGE_SIZE, MT_WC);
    expect(physical(page - 1, MT_WB).effective == WB, "below it");
    expect(physical(page, MT_WB).effective == WC, "it");
    expect(physical(page + PAGE_SIZE - 1, MT_WB).effective == WC, "its end");
    expect(physical(page + PAGE_SIZE, MT_WB).effective == WB, "above it");
    struct type_answer a = physical(page, MT_WB);
    expect(a.leaf_level == 1 && a.next == page + PAGE_SIZE, "level %u, next %lx", a.leaf_level,
           a.next);
    restore();
    a = physical(page, MT_WB);
    expect(a.leaf_level == before.leaf_level && a.hpa == before.hpa, "level %u, was %u",
           a.leaf_level, before.leaf_level);
}

/* SDM, "Range Size and Alignment Requirement": masks need not be contiguous. */
static void discontiguous(void)
{
    save();
    set_pair(7, SPOT, ~(SPOT_SIZE - 1) | 0x3000, MT_WT); /* every fourth page of the spot */
    for (unsigned i = 0; i < 16; i++) {
        struct type_answer a = physical(SPOT + i * PAGE_SIZE, MT_WB);
        unsigned want = i % 4 == 0 ? MT_WT : MT_WB;
        expect(a.guest_type == want && a.leaf_type == want, "page %u: %u, leaf %u, not %u", i,
               a.guest_type, a.leaf_type, want);
    }
    restore();
}

/* SDM, "MTRR Precedences": two ranges over the spot. */
static void overlaps(void)
{
    save();
    for (unsigned a = 0; a < TYPES; a++)
        for (unsigned b = 0; b < TYPES; b++) {
            unsigned one = mtrr_types[a], other = mtrr_types[b];
            bool wt_wb = one + other == MT_WT + MT_WB && (one == MT_WT || one == MT_WB);
            bool undefined = one != other && one != MT_UC && other != MT_UC && !wt_wb;
            unsigned want = one == other ? one : wt_wb ? MT_WT : MT_UC;
            set_range(3, SPOT, SPOT_SIZE, one);
            set_range(6, SPOT, 2 * SPOT_SIZE, other);
            struct type_answer answer = physical(SPOT, MT_WB);
            expect(answer.guest_type == want && answer.leaf_type == want, "%u and %u: %u, leaf %u",
                   one, other, answer.guest_type, answer.leaf_type);
            expect((answer.guest_rule == 5) == undefined, "%u and %u: rule %u", one, other,
                   answer.guest_rule);
            answer = physical(SPOT + SPOT_SIZE, MT_WB);
            expect(answer.guest_type == other, "the second alone: %u", answer.guest_type);
        }
    restore();
}

/* SDM, "MTRR Considerations in MP Systems", by one CPU: NEW goes into the last pair. */
static void update(uint64_t base, uint64_t mask)
{
    uint64_t cr0 = read_cr0(), cr3 = read_cr3(), def_type = rdmsr(MSR_MTRR_DEF_TYPE);
    write_cr0((cr0 | CR0_CD) & ~CR0_NW);
    wbinvd();
    write_cr3(cr3);
    wrmsr(MSR_MTRR_DEF_TYPE, def_type & ~(uint64_t)DEF_E);
    wrmsr(MSR_MTRR_PHYSBASE0 + 14, base);
    wrmsr(MSR_MTRR_PHYSBASE0 + 15, mask);
    wbinvd();
    write_cr3(cr3);
    wrmsr(MSR_MTRR_DEF_TYPE, def_type);
    write_cr0(cr0);
}

static void update_sequence(void)
{
    uint64_t mask = (address_mask() & ~(SPOT_SIZE - 1)) | MASK_V;
    save();
    struct type_answer before = physical(SPOT, MT_WB);
    for (unsigned t = 0; t < TYPES; t++) {
        update(SPOT | mtrr_types[t], mask);
        struct type_answer a = physical(SPOT, MT_WB);
        expect(a.effective == expected(t, PATS - 1) && a.leaf_type == mtrr_types[t], "to %u: %s",
               mtrr_types[t], type_name(a.effective));
        expect(a.view == 0 && a.cd == 0, "view %u, CD %u", a.view, a.cd);
        update(SPOT | mtrr_types[t], mask); /* the same values: nothing changes */
        struct type_answer again = physical(SPOT, MT_WB);
        expect(again.leaf_type == a.leaf_type && again.leaf_level == a.leaf_level &&
                   again.hpa == a.hpa,
               "the same again: %u", again.leaf_type);
    }
    update(0, 0);
    struct type_answer after = physical(SPOT, MT_WB);
    expect(after.leaf_level == before.leaf_level && after.leaf_type == MT_WB, "level %u, type %u",
           after.leaf_level, after.leaf_type);
    restore();
}

/* The type by which tables are read: PCD and PWT of the entry above, or of CR3. */
static void tables(void)
{
    struct type_answer a;
    uint64_t cr3 = read_cr3(), old = window_directory[0];
    const volatile char *at = map_spot(SIZE_4K, 0);
    save();
    wrmsr(MSR_PAT, PAT_ALL);
    for (unsigned slot = 0; slot < 4; slot++) {
        unsigned pat = index_of(pat_types, PATS, slot_types[slot]);
        window_directory[0] = old | slot_bits(slot, SIZE_4K);
        invlpg((const void *)(uintptr_t)at);
        int64_t result = oracle_ask(HYPERCALL_TYPE_TABLE, (uint64_t)at, 1, &a);
        expect(result == 0 && a.gpa == (uint64_t)window_table, "result %ld, GPA %lx", result,
               a.gpa);
        expect(a.effective == expected(TYPES - 1, pat), "page table by slot %u: %s", slot,
               type_name(a.effective));
        window_directory[0] = old;
        write_cr3(cr3 | slot_bits(slot, SIZE_4K));
        result = oracle_ask(HYPERCALL_TYPE_TABLE, (uint64_t)at, 4, &a);
        expect(result == 0 && a.gpa >> 12 == cr3 >> 12, "result %ld, GPA %lx", result, a.gpa);
        expect(a.effective == expected(TYPES - 1, pat), "PML4 by slot %u: %s", slot,
               type_name(a.effective));
        write_cr3(cr3);
    }
    expect(oracle_ask(HYPERCALL_TYPE_TABLE, (uint64_t)at, 5, &a) == -14, "a fifth level");
    restore();
}

/* The answers of types.asm, from before this guest had 64-bit paging. */
enum { EARLY_MODES = 4, EARLY_ANSWERS = 1 + 8 * EARLY_MODES };
extern const struct type_answer early_answers[EARLY_ANSWERS];
extern const int32_t early_result;

static void paging_off(void)
{
    const struct type_answer *a = &early_answers[0];
    expect(early_result == 0, "results: %d", early_result);
    expect(a->gpa == SPOT && a->pat_type == MT_WB && a->effective == WB, "GPA %lx, PAT %u: %s",
           a->gpa, a->pat_type, type_name(a->effective));
}

static void other_paging(void)
{
    static const char *const modes[EARLY_MODES] = {"32-bit, 4M", "32-bit, 4K", "PAE, 2M",
                                                   "PAE, 4K"};
    for (unsigned mode = 0; mode < EARLY_MODES; mode++)
        for (unsigned slot = 0; slot < 8; slot++) {
            const struct type_answer *a = &early_answers[1 + 8 * mode + slot];
            unsigned pat = index_of(pat_types, PATS, slot_types[slot]);
            unsigned want = expected(TYPES - 1, pat);
            expect(a->gpa == SPOT && a->pat_type == slot_types[slot] && a->effective == want,
                   "%s, slot %u: GPA %lx, PAT %u, %s not %s", modes[mode], slot, a->gpa,
                   a->pat_type, type_name(a->effective), type_name(want));
        }
}

static void errors(void)
{
    struct type_answer a;
    expect(oracle_ask(HYPERCALL_TYPE_PHYSICAL, SPOT, 2, &a) == -22, "a PAT type of 2");
    expect(oracle_ask(HYPERCALL_TYPE_PHYSICAL, SPOT, 8, &a) == -22, "a PAT type of 8");
    expect(oracle_ask(HYPERCALL_TYPE_LINEAR, 6 * GIB, 0, &a) == -14,
           "an address that is not mapped");
    expect(oracle_ask(HYPERCALL_TYPE_TABLE, SPOT, 0, &a) == -22, "a table of level 0");
    expect(oracle_ask(HYPERCALL_TYPE_PHYSICAL, 0xd0000000, MT_WB, &a) == 0 && a.present == 0,
           "the hole has a leaf");
    expect(oracle_ask(HYPERCALL_TYPE_PHYSICAL, ~0ull, MT_WB, &a) == 0 && a.present == 0,
           "the highest address has a leaf");
}

static const struct test_case cases[] = {
    {"MTRR x PAT x page size", NULL, sweep},
    {"8 cells of AMD's nested paging snoop more", NULL, cells},
    {"E = 0: UC, and WC by PAT", NULL, disabled},
    {"CR0.CD = 1: uncached", NULL, cache_disable},
    {"fixed ranges", NULL, fixed_ranges},
    {"a page inside a large page", NULL, straddling},
    {"discontiguous masks", NULL, discontiguous},
    {"overlapping ranges", NULL, overlaps},
    {"the manuals' update sequence", NULL, update_sequence},
    {"page tables by CR3 and table bits", NULL, tables},
    {"paging off: as WB by PAT", NULL, paging_off},
    {"32-bit and PAE paging", NULL, other_paging},
    {"the oracle's errors", NULL, errors},
};

void test_main(void)
{
    ktap_all(cases, ARRAY_SIZE(cases));
}
