/*
 * The type that MTRRs give, against a second decoder that looks at one byte at a time, on random
 * states; and the known mistakes of decoders, each of which the same comparison must find.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>

#include "mm/memtype.h"
#include "mm/mtrr.h"
#include "svm/npt.h"
#include "tests/unit/golden.h"

enum { STATES = 1000000, PHYS_BITS_MAX = 52 };

/* A decoder: the type of one byte. The mutants are decoders too. */
typedef unsigned decoder(const struct mtrr_state *state, uint64_t address);

/* --- the second decoder: straight from the manuals, a byte at a time -------------------------- */

/* SDM, "Address Mapping for Fixed-Range MTRRs": first byte, size and register of each run of 8. */
static const struct {
    uint64_t first, size;
} fixed_runs[MTRR_FIXED] = {
    {0x00000, 0x10000}, {0x80000, 0x4000}, {0xa0000, 0x4000}, {0xc0000, 0x1000},
    {0xc8000, 0x1000},  {0xd0000, 0x1000}, {0xd8000, 0x1000}, {0xe0000, 0x1000},
    {0xe8000, 0x1000},  {0xf0000, 0x1000}, {0xf8000, 0x1000},
};

static unsigned fixed_byte(const struct mtrr_state *state, uint64_t address)
{
    for (unsigned r = 0; r < MTRR_FIXED; r++)
        for (unsigned i = 0; i < 8; i++) {
            uint64_t first = fixed_runs[r].first + i * fixed_runs[r].size;
            if (address >= first && address < first + fixed_runs[r].size)
                return (unsigned)(state->fixed[r] >> (8 * i)) & 7;
        }
    fail_msg("%lx is in no fixed range", (unsigned long)address);
    return 0;
}

static bool matches(const struct mtrr_state *state, unsigned i, uint64_t address)
{
    uint64_t valid = ((1ull << state->phys_bits) - 1) & ~0xfffull;
    uint64_t mask = state->variable[i].mask & valid, base = state->variable[i].base & valid;
    return (state->variable[i].mask & 0x800) != 0 && (mask & base) == (mask & address);
}

/* How many of the ranges that match have each type. */
static unsigned count_types(const struct mtrr_state *state, uint64_t address, unsigned count[8])
{
    unsigned all = 0;
    for (unsigned i = 0; i < 8; i++)
        count[i] = 0;
    for (unsigned i = 0; i < state->count; i++)
        if (matches(state, i, address)) {
            count[state->variable[i].base & 0xff]++;
            all++;
        }
    return all;
}

/* SDM, "MTRR Precedences". */
static unsigned precedence(const unsigned count[8], unsigned all)
{
    for (unsigned type = 0; type < 8; type++)
        if (count[type] == all)
            return type;
    if (count[MT_UC] == 0 && count[MT_WT] != 0 && count[MT_WT] + count[MT_WB] == all)
        return MT_WT;
    return MT_UC;
}

static unsigned default_byte(const struct mtrr_state *state, uint64_t address)
{
    if (address >= 0x100000000 && address < state->default_wb_end)
        return MT_WB;
    return state->def_type & 7;
}

static unsigned by_byte(const struct mtrr_state *state, uint64_t address)
{
    unsigned count[8];
    if ((state->def_type & MTRR_DEF_E) == 0)
        return MT_UC;
    if ((state->def_type & MTRR_DEF_FE) != 0 && address < 0x100000)
        return fixed_byte(state, address);
    unsigned all = count_types(state, address, count);
    return all != 0 ? precedence(count, all) : default_byte(state, address);
}

/* --- random states ---------------------------------------------------------------------------- */

static uint64_t seed;

static uint64_t below(uint64_t n)
{
    return host_random(&seed) % n;
}

static uint64_t random_type(void)
{
    static const uint8_t types[] = {MT_UC, MT_WC, MT_WT, MT_WP, MT_WB};
    return types[below(ARRAY_SIZE(types))];
}

/* Few bits of an address are wild: then ranges meet, nest and straddle. */
static uint64_t random_address(const struct mtrr_state *state)
{
    uint64_t limit = 1ull << state->phys_bits;
    uint64_t near[] = {0, 0x80000, 0xa0000, 0xc0000, MIB, 16 * MIB, 3 * GIB, 4 * GIB, 5 * GIB};
    uint64_t base = below(4) == 0 ? host_random(&seed) : near[below(ARRAY_SIZE(near))];
    return (base + (host_random(&seed) & 7) * (PAGE_SIZE << below(20))) % limit;
}

static void random_pair(struct mtrr_state *state, struct mtrr_pair *pair)
{
    uint64_t valid = ((1ull << state->phys_bits) - 1) & ~0xfffull;
    uint64_t size = PAGE_SIZE << below(state->phys_bits - 11u);
    pair->base = (random_address(state) & valid) | random_type();
    pair->mask = valid & ~(size - 1);
    if (below(4) == 0) /* discontiguous */
        pair->mask &= ~(1ull << (12 + below(state->phys_bits - 12u)));
    if (below(16) == 0)
        pair->mask &= host_random(&seed);
    if (below(3) != 0)
        pair->mask |= MTRR_MASK_V;
}

static void random_state(struct mtrr_state *state)
{
    *state = (struct mtrr_state){.phys_bits = (uint8_t)(36 + below(17))};
    state->count = (uint8_t)(1 + below(MTRR_MAX_VARIABLE));
    state->def_type =
        random_type() | (below(8) != 0 ? MTRR_DEF_E : 0) | (below(2) != 0 ? MTRR_DEF_FE : 0);
    for (unsigned i = 0; i < state->count; i++)
        random_pair(state, &state->variable[i]);
    for (unsigned i = 0; i < MTRR_FIXED; i++)
        for (unsigned byte = 0; byte < 8; byte++)
            state->fixed[i] |= random_type() << 8 * byte;
    if (below(4) == 0)
        state->default_wb_end = 4 * GIB + PAGE_SIZE * below(1 << 20);
}

static unsigned by_interval(const struct mtrr_state *state, uint64_t address)
{
    return mtrr_type(state, address).type;
}

/* An address at which the two disagree in one of N random states; false: none. */
static bool disagree(decoder *one, decoder *other, unsigned n)
{
    struct mtrr_state state;
    seed = 1;
    for (unsigned i = 0; i < n; i++) {
        random_state(&state);
        for (unsigned k = 0; k < 4; k++) {
            uint64_t address = random_address(&state);
            if (one(&state, address) != other(&state, address))
                return true;
        }
    }
    return false;
}

/* --- the interval decoder --------------------------------------------------------------------- */

/* Inside an answer's interval every byte has its type; what is behind it is asked too. */
static void check_interval(const struct mtrr_state *state, uint64_t address)
{
    struct mtrr_answer answer = mtrr_type(state, address);
    uint64_t limit = 1ull << state->phys_bits;
    uint64_t last = answer.next == UINT64_MAX ? limit - 1 : answer.next - 1;
    assert_true(answer.next > address);
    assert_int_equal(answer.type, by_byte(state, address));
    assert_int_equal(answer.type, by_byte(state, last));
    for (unsigned k = 0; k < 4; k++) {
        uint64_t inside = address + below(last - address + 1);
        uint64_t close = address + (below(1ull << below(40)) % (last - address + 1));
        assert_int_equal(answer.type, by_byte(state, inside));
        assert_int_equal(answer.type, by_byte(state, close));
    }
}

static void test_intervals(void **unused)
{
    struct mtrr_state state;
    (void)unused;
    seed = 20261127;
    for (unsigned i = 0; i < STATES; i++) {
        random_state(&state);
        uint64_t address = random_address(&state);
        for (unsigned k = 0; k < 3; k++) {
            check_interval(&state, address);
            uint64_t next = mtrr_type(&state, address).next;
            if (next >= 1ull << state.phys_bits)
                break;
            address = next;
        }
    }
}

/* Small address spaces are gone through page by page: no edge is passed over. */
static void test_every_page(void **unused)
{
    struct mtrr_state state;
    (void)unused;
    seed = 7;
    for (unsigned i = 0; i < 64; i++) {
        random_state(&state);
        for (unsigned p = 0; p < state.count; p++) {
            state.variable[p].mask |= ((1ull << state.phys_bits) - 1) & ~0x3fffffull;
            state.variable[p].base = (below(4 * MIB) & ~0xfffull) | random_type();
        }
        for (uint64_t at = 0, next = 0; at < 4 * MIB; at += PAGE_SIZE) {
            if (at == 0 || at == next)
                next = mtrr_type(&state, at).next;
            assert_true(next > at);
            assert_int_equal(mtrr_type(&state, at).next, next);
            assert_int_equal(mtrr_type(&state, at).type, by_byte(&state, at));
        }
    }
}

static void test_agree(void **unused)
{
    (void)unused;
    assert_false(disagree(by_interval, by_byte, STATES));
}

/* --- known mistakes of decoders --------------------------------------------------------------- */

static unsigned last_match_wins(const struct mtrr_state *state, uint64_t address)
{
    unsigned count[8], type = 0;
    bool fixed = (state->def_type & MTRR_DEF_FE) != 0 && address < MIB;
    if ((state->def_type & MTRR_DEF_E) == 0 || fixed || count_types(state, address, count) == 0)
        return by_byte(state, address);
    for (unsigned i = 0; i < state->count; i++)
        if (matches(state, i, address))
            type = state->variable[i].base & 7;
    return type;
}

static unsigned lowest_encoding_wins(const struct mtrr_state *state, uint64_t address)
{
    unsigned count[8], type = 0;
    bool fixed = (state->def_type & MTRR_DEF_FE) != 0 && address < MIB;
    if ((state->def_type & MTRR_DEF_E) == 0 || fixed || count_types(state, address, count) == 0)
        return by_byte(state, address);
    while (count[type] == 0)
        type++;
    return type;
}

static unsigned fixed_without_fe(const struct mtrr_state *state, uint64_t address)
{
    struct mtrr_state changed = *state;
    changed.def_type |= MTRR_DEF_FE;
    return by_byte(&changed, address);
}

static unsigned default_when_off(const struct mtrr_state *state, uint64_t address)
{
    return (state->def_type & MTRR_DEF_E) == 0 ? state->def_type & 7 : by_byte(state, address);
}

/* As if the lowest set bit of a mask gave the length of one range from its base. */
static unsigned contiguous_masks(const struct mtrr_state *state, uint64_t address)
{
    struct mtrr_state changed = *state;
    uint64_t valid = ((1ull << state->phys_bits) - 1) & ~0xfffull;
    for (unsigned i = 0; i < state->count; i++) {
        uint64_t mask = state->variable[i].mask & valid;
        if (mask != 0)
            changed.variable[i].mask |= valid & ~((mask & -mask) - 1);
    }
    return by_byte(&changed, address);
}

static unsigned fixed_reversed(const struct mtrr_state *state, uint64_t address)
{
    struct mtrr_state changed = *state;
    for (unsigned i = 0; i < MTRR_FIXED; i++)
        changed.fixed[i] = __builtin_bswap64(state->fixed[i]);
    return by_byte(&changed, address);
}

static unsigned forced_wb_ignored(const struct mtrr_state *state, uint64_t address)
{
    struct mtrr_state changed = *state;
    changed.default_wb_end = 0;
    return by_byte(&changed, address);
}

/* The type of the first byte of the 2 MiB page for all of it. */
static unsigned large_page_by_its_first(const struct mtrr_state *state, uint64_t address)
{
    return by_byte(state, align_down(address, 2 * MIB));
}

/*
 * SDM, "System-Management Range Register Interface": SMRRs look like a pair, but act in SMM alone.
 */
static unsigned smrr_as_a_pair(const struct mtrr_state *state, uint64_t address)
{
    struct mtrr_state changed = *state;
    if (state->count == MTRR_MAX_VARIABLE)
        return by_byte(state, address);
    uint64_t valid = (1ull << state->phys_bits) - 1;
    changed.variable[changed.count++] =
        (struct mtrr_pair){3 * GIB | MT_WB, (valid & ~(8 * MIB - 1)) | MTRR_MASK_V};
    return by_byte(&changed, address);
}

static void test_mutants(void **unused)
{
    static decoder *const mutants[] = {
        last_match_wins,   lowest_encoding_wins,    fixed_without_fe,
        default_when_off,  contiguous_masks,        fixed_reversed,
        forced_wb_ignored, large_page_by_its_first, smrr_as_a_pair,
    };
    (void)unused;
    for (unsigned i = 0; i < ARRAY_SIZE(mutants); i++)
        if (!disagree(by_interval, mutants[i], 10000))
            fail_msg("mutant %u lives", i);
}

/* --- the manuals' tables ---------------------------------------------------------------------- */

static unsigned fixed_index(uint64_t msr)
{
    static const uint64_t msrs[MTRR_FIXED] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                              0x26b, 0x26c, 0x26d, 0x26e, 0x26f};
    unsigned i = 0;
    while (i < MTRR_FIXED && msrs[i] != msr)
        i++;
    assert_true(i < MTRR_FIXED);
    return i;
}

/* One byte of one register says WC, all others WB: exactly its range is WC. */
static void check_fixed(const struct golden_row *row)
{
    struct mtrr_state state = {.phys_bits = 40, .count = 8};
    uint64_t msr = strtoull(row->cell[0], NULL, 16), byte = strtoull(row->cell[2], NULL, 10);
    uint64_t first = strtoull(row->cell[4], NULL, 16), last = strtoull(row->cell[5], NULL, 16);
    uint64_t all = 0x0606060606060606;
    assert_true(mtrr_write(&state, 0x2ff, MTRR_DEF_E | MTRR_DEF_FE | MT_WB));
    for (unsigned i = 0; i < MTRR_FIXED; i++)
        state.fixed[i] = all;
    assert_true(mtrr_write(&state, (uint32_t)msr, all ^ (uint64_t)(MT_WB ^ MT_WC) << 8 * byte));
    assert_int_equal(state.fixed[fixed_index(msr)], all ^ (uint64_t)(MT_WB ^ MT_WC) << 8 * byte);
    struct mtrr_answer answer = mtrr_type(&state, first);
    assert_int_equal(answer.type, MT_WC);
    assert_int_equal(answer.rule, MTRR_RULE_FIXED);
    assert_int_equal(answer.next, last + 1);
    assert_int_equal(mtrr_type(&state, last).type, MT_WC);
    assert_int_equal(mtrr_type(&state, last + 1).type, MT_WB);
    assert_int_equal(mtrr_type(&state, first == 0 ? MIB : first - 1).type, MT_WB);
    assert_int_equal((last + 1 - first) / KIB, strtoull(row->cell[6], NULL, 10));
}

static void check_overlap(const struct golden_row *row)
{
    struct mtrr_state state = {.phys_bits = 40, .count = 8, .def_type = MTRR_DEF_E | MT_WB};
    bool undefined = strcmp(row->cell[2], "UNDEFINED") == 0;
    state.variable[1].base = 0x40000000 | golden_type(row->cell[0]);
    state.variable[6].base = 0x40000000 | golden_type(row->cell[1]);
    state.variable[1].mask = state.variable[6].mask = 0xffc0000800;
    struct mtrr_answer answer = mtrr_type(&state, 0x40001000);
    assert_int_equal(answer.rule == MTRR_RULE_UNDEFINED, undefined);
    assert_int_equal(answer.type, undefined ? MT_UC : golden_type(row->cell[2]));
    assert_int_equal(answer.next, 0x80000000);
}

/* APM, "Extended Fixed-Range MTRR Type-Field Encodings": bits 4:3 say DRAM or not, not the type. */
static void check_rdmem(const struct golden_row *row)
{
    struct mtrr_state state = {.phys_bits = 40, .def_type = MTRR_DEF_E | MTRR_DEF_FE | MT_WB};
    enum memtype type = golden_type(row->cell[2]);
    uint64_t byte =
        type | strtoull(row->cell[0], NULL, 10) << 4 | strtoull(row->cell[1], NULL, 10) << 3;
    state.fixed[1] = byte << 8;
    assert_int_equal(mtrr_type(&state, 0x84000).type, type);
}

/* How the bits of a leaf choose a slot, in each size of page, and what the slots are at reset. */
static void check_pat_index(const struct golden_row *row)
{
    unsigned long slot = strtoul(row->cell[0], NULL, 10), pat = strtoul(row->cell[1], NULL, 10);
    uint64_t low = strtoull(row->cell[2], NULL, 10) << 4 | strtoull(row->cell[3], NULL, 10) << 3;
    assert_int_equal(pat_type(PAT_RESET, (unsigned)slot), golden_type(row->cell[4]));
    enum memtype host = pat_type(HOST_PAT, (unsigned)slot);
    for (unsigned level = 1; level <= 3; level++) {
        uint64_t bit = pat << (level == 1 ? 7 : 12);
        assert_int_equal(npt_format.attr(low | bit | (level == 1 ? 0 : 0x80), level).type, host);
        uint64_t leaf =
            npt_format.leaf((struct pt_attr){.perm = PT_R, .type = (uint8_t)host}, level);
        assert_int_equal(npt_format.attr(leaf, level).type, host);
        if (host_pat_slot(host) == slot) /* the lowest of the slots that have the type */
            assert_int_equal(leaf & (0x18 | 1u << (level == 1 ? 7 : 12)), low | bit);
    }
}

/*
 * The slot of a leaf that has its PAT bit at bit 7, whatever its size: there a large leaf has PS.
 */
static unsigned slot_by_bit_7(uint64_t leaf)
{
    return (unsigned)((leaf >> 3 & 3) | (leaf >> 7 & 1) << 2);
}

/* The last of the known mistakes: right in a 4 KiB leaf, and found in each larger one. */
static void test_pat_bit_mutant(void **unused)
{
    static const uint8_t types[] = {MT_UC, MT_WC, MT_WT, MT_WP, MT_WB};
    (void)unused;
    for (unsigned level = 1; level <= 3; level++) {
        unsigned wrong = 0;
        for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
            struct pt_attr attr = {.perm = PT_R, .type = types[i]};
            uint64_t leaf = npt_format.leaf(attr, level);
            assert_int_equal(npt_format.attr(leaf, level).type, types[i]);
            wrong += pat_type(HOST_PAT, slot_by_bit_7(leaf)) != types[i];
            if (level > 1 &&
                (leaf & 1 << 12) != 0) /* the writer's mistake: the bit is lost in PS */
                wrong += npt_format.attr(leaf & ~(1ull << 12), level).type != types[i];
        }
        assert_int_equal(wrong > 0, level > 1);
    }
}

static struct mtrr_state written;

static bool refused(uint32_t msr, uint64_t value)
{
    return !mtrr_write(&written, msr, value);
}

static bool types_refused(uint32_t msr, unsigned shift)
{
    bool right = true;
    for (uint64_t type = 0; type < 256; type++) {
        bool legal = type == 0 || type == 1 || (type >= 4 && type <= 6);
        right = right && refused(msr, type << shift) == !legal;
    }
    return right;
}

static bool bits_refused(uint32_t msr, unsigned low, unsigned high, uint64_t with)
{
    bool right = true;
    for (unsigned bit = low; bit <= high; bit++)
        right = right && refused(msr, with | 1ull << bit);
    return right;
}

/* mtrr_msr_rules.csv in its order, each condition by hand. */
static bool rule_holds(unsigned rule)
{
    switch (rule) {
    case 0:
        return refused(0xfe, 0) && refused(0xfe, 0x508);
    case 1:
        return bits_refused(0x2ff, 8, 9, MT_WB) && bits_refused(0x2ff, 12, 63, MT_WB);
    case 2:
        return types_refused(0x2ff, 0);
    case 3:
        return types_refused(0x250, 0) && types_refused(0x259, 24) && types_refused(0x26f, 56);
    case 4:
        return bits_refused(0x204, 8, 11, 0) && bits_refused(0x204, 40, 63, 0);
    case 5:
        return types_refused(0x20e, 0);
    case 6:
        return bits_refused(0x203, 0, 10, 0) && bits_refused(0x203, 40, 63, 0);
    case 7:
        return !pat_is_legal(0x0007040600070402) && !pat_is_legal(0x0307040600070406) &&
               !pat_is_legal(0x0007080600070406) && pat_is_legal(0x0706050401000706);
    default:
        return true; /* SYSCFG's bits, which test_host_types.c reads */
    }
}

static unsigned rules_seen;

static void check_rule(const struct golden_row *row)
{
    mtrr_reset(&written, 40);
    if (!rule_holds(rules_seen++))
        fail_msg("%s: %s", row->cell[0], row->cell[1]);
}

static void test_tables(void **unused)
{
    (void)unused;
    assert_int_equal(golden_each("mtrr_fixed_ranges", check_fixed), 88);
    assert_int_equal(golden_each("mtrr_variable_overlap", check_overlap), 25);
    assert_int_equal(golden_each("amd_fixed_rdmem_wrmem", check_rdmem), 16);
    assert_int_equal(golden_each("pat_index", check_pat_index), 8);
    rules_seen = 0;
    assert_int_equal(golden_each("mtrr_msr_rules", check_rule), 9);
}

static void test_rules(void **unused)
{
    struct mtrr_state state;
    (void)unused;
    mtrr_reset_firmware(&state, 40);
    assert_int_equal(mtrr_type(&state, 0).type, MT_WB);
    assert_int_equal(mtrr_type(&state, 0xa0000).type, MT_UC);
    assert_int_equal(mtrr_type(&state, 0xbffff).type, MT_UC);
    assert_int_equal(mtrr_type(&state, 0xc0000).type, MT_WB);
    struct mtrr_answer ram = mtrr_type(&state, MIB);
    assert_int_equal(ram.type, MT_WB);
    assert_string_equal(mtrr_rule_name(ram.rule), "default");
    assert_int_equal(ram.next, 0xc0000000);
    struct mtrr_answer hole = mtrr_type(&state, 0xc0000000);
    assert_int_equal(hole.type, MT_UC);
    assert_string_equal(mtrr_rule_name(hole.rule), "variable");
    assert_int_equal(hole.next, 4 * GIB);
    assert_int_equal(mtrr_type(&state, 4 * GIB).next, UINT64_MAX);
    state.variable[1].base = MT_WC | 0xfffff00000;
    state.variable[1].mask = 0xfffff00000 | MTRR_MASK_V;
    assert_int_equal(mtrr_type(&state, UINT64_MAX).next, UINT64_MAX);
    state.def_type &= ~MTRR_DEF_E;
    assert_int_equal(mtrr_type(&state, 0).type, MT_UC);
    assert_string_equal(mtrr_rule_name(mtrr_type(&state, 0).rule), "disabled");
    assert_int_equal(mtrr_type(&state, 0).next, UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables),         cmocka_unit_test(test_rules),
        cmocka_unit_test(test_intervals),      cmocka_unit_test(test_every_page),
        cmocka_unit_test(test_agree),          cmocka_unit_test(test_mutants),
        cmocka_unit_test(test_pat_bit_mutant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
