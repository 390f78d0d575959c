/* The MTRRs of one CPU: their values, which writes are legal, and the type that they give. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/mtrr.h"

#include "lib/assert.h"
#include "lib/x86.h"

/* Which register an MSR number means. */
enum mtrr_kind { KIND_NONE, KIND_CAP, KIND_BASE, KIND_MASK, KIND_FIXED, KIND_DEF };

struct mtrr_name {
    enum mtrr_kind kind;
    unsigned index;
};

static struct mtrr_name name_of(uint32_t msr)
{
    if (msr >= MSR_MTRR_PHYSBASE0 && msr <= MSR_MTRR_PHYSMASK7)
        return (struct mtrr_name){(msr & 1) != 0 ? KIND_MASK : KIND_BASE,
                                  (msr - MSR_MTRR_PHYSBASE0) / 2};
    if (msr == MSR_MTRR_FIX64K)
        return (struct mtrr_name){KIND_FIXED, 0};
    if (msr == MSR_MTRR_FIX16K_0 || msr == MSR_MTRR_FIX16K_1)
        return (struct mtrr_name){KIND_FIXED, 1 + msr - MSR_MTRR_FIX16K_0};
    if (msr >= MSR_MTRR_FIX4K_0 && msr <= MSR_MTRR_FIX4K_7)
        return (struct mtrr_name){KIND_FIXED, 3 + msr - MSR_MTRR_FIX4K_0};
    if (msr == MSR_MTRR_DEF_TYPE)
        return (struct mtrr_name){KIND_DEF, 0};
    return (struct mtrr_name){msr == MSR_MTRRCAP ? KIND_CAP : KIND_NONE, 0};
}

static inline bool is_type(uint64_t byte)
{
    const unsigned types = 1u << MT_UC | 1u << MT_WC | 1u << MT_WT | 1u << MT_WP | 1u << MT_WB;
    return byte < 8 && (types >> byte & 1) != 0;
}

static bool are_types(uint64_t eight)
{
    for (unsigned i = 0; i < 64; i += 8)
        if (!is_type(eight >> i & 0xff))
            return false;
    return true;
}

/* Bits that an address register of this CPU has: 12 to MAXPHYADDR-1. */
static uint64_t address_bits(const struct mtrr_state *state)
{
    return ((1ull << state->phys_bits) - 1) & ~(PAGE_SIZE - 1);
}

void mtrr_reset(struct mtrr_state *state, unsigned phys_bits)
{
    assert(phys_bits >= 36 && phys_bits <= 52);
    *state = (struct mtrr_state){.phys_bits = (uint8_t)phys_bits, .count = MTRR_VARIABLE};
}

void mtrr_reset_firmware(struct mtrr_state *state, unsigned phys_bits)
{
    mtrr_reset(state, phys_bits);
    state->def_type = MTRR_DEF_E | MTRR_DEF_FE | MT_WB;
    for (unsigned i = 0; i < MTRR_FIXED; i++)
        state->fixed[i] = 0x0606060606060606;
    state->fixed[2] = 0; /* FIX16K_A0000: A0000 to BFFFF */
    state->variable[0].base = 0xc0000000 | MT_UC;
    state->variable[0].mask = (address_bits(state) & ~0x3fffffffull) | MTRR_MASK_V;
}

bool mtrr_is_msr(uint32_t msr)
{
    return name_of(msr).kind != KIND_NONE;
}

uint64_t mtrr_read(const struct mtrr_state *state, uint32_t msr)
{
    struct mtrr_name name = name_of(msr);
    assert(name.kind != KIND_NONE);
    switch (name.kind) {
    case KIND_BASE:
        return state->variable[name.index].base;
    case KIND_MASK:
        return state->variable[name.index].mask;
    case KIND_FIXED:
        return state->fixed[name.index];
    case KIND_DEF:
        return state->def_type;
    case KIND_CAP:
    case KIND_NONE:
        break;
    }
    return MTRR_GUEST_CAP;
}

enum mtrr_written mtrr_write(struct mtrr_state *state, uint32_t msr, uint64_t value)
{
    struct mtrr_name name = name_of(msr);
    uint64_t allowed = address_bits(state);
    bool legal = false;
    uint64_t *target = NULL;
    assert(name.kind != KIND_NONE);
    switch (name.kind) {
    case KIND_BASE:
        target = &state->variable[name.index].base;
        legal = is_type(value & 0xff) && (value & ~(allowed | 0xff)) == 0;
        break;
    case KIND_MASK:
        target = &state->variable[name.index].mask;
        legal = (value & ~(allowed | MTRR_MASK_V)) == 0;
        break;
    case KIND_FIXED:
        target = &state->fixed[name.index];
        legal = are_types(value);
        break;
    case KIND_DEF:
        target = &state->def_type;
        legal = is_type(value & 0xff) && (value & ~(MTRR_DEF_E | MTRR_DEF_FE | 0xffull)) == 0;
        break;
    case KIND_CAP:
    case KIND_NONE:
        break;
    }
    if (!legal)
        return MTRR_REFUSED;
    uint64_t old = *target;
    *target = value;
    return value != old ? MTRR_CHANGED : MTRR_SAME;
}

const char *mtrr_rule_name(unsigned rule)
{
    static const char *const names[MTRR_RULES] = {
        "disabled", "fixed", "variable", "uc-wins", "wt-wb", "undefined-is-uc", "default"};
    assert(rule < MTRR_RULES);
    return names[rule];
}

/*
 * SDM, "MTRR Mappings": 8 ranges of 64 KiB, 16 of 16 KiB, 64 of 4 KiB, which 11 registers hold, the
 * lowest range in the lowest byte.
 */
struct mtrr_answer mtrr_fixed_type(const struct mtrr_state *state, uint64_t address)
{
    uint64_t size = address < 0x80000 ? 64 * KIB : address < 0xc0000 ? 16 * KIB : 4 * KIB;
    uint64_t first = address < 0x80000 ? 0 : address < 0xc0000 ? 0x80000 : 0xc0000;
    unsigned reg = address < 0x80000 ? 0 : address < 0xc0000 ? 1 : 3;
    unsigned index = (unsigned)((address - first) / size);
    uint64_t value = state->fixed[reg + index / 8];
    return (struct mtrr_answer){.type = (uint8_t)(value >> 8 * (index % 8) & 7),
                                .rule = MTRR_RULE_FIXED,
                                .next = align_down(address, size) + size};
}

/*
 * The lowest address above A with A's bits of MASK no longer the same; UINT64_MAX: none. MASK is
 * not 0.
 */
static uint64_t match_end(uint64_t a, uint64_t mask)
{
    uint64_t low = mask & -mask;
    uint64_t last = a | (low - 1);
    return last == UINT64_MAX ? last : last + 1;
}

/*
 * The lowest address above A, whose bits of MASK are not those of WANT, where they are, of the
 * addresses below LIMIT, a power of two; UINT64_MAX: none. Bits of WANT lie in MASK.
 */
static uint64_t match_start(uint64_t a, uint64_t want, uint64_t mask, uint64_t limit)
{
    uint64_t differ = (a & mask) ^ want;
    uint64_t top = 1ull << (63 - __builtin_clzll(differ)); /* the highest bit that is wrong */
    uint64_t above = a & ~(top | (top - 1));
    if ((want & top) != 0)
        return above | (want & (top | (top - 1)));
    /* A is past the match below these bits: count up the free bits above them. */
    uint64_t stepped = ((a | mask | (top - 1)) + top) & ~mask;
    uint64_t start = (stepped & ~(top | (top - 1))) | want;
    return (stepped & ~(top | (top - 1))) != 0 && start < limit ? start : UINT64_MAX;
}

/* Which types the variable ranges give, as bits, and how far that holds. */
static unsigned variable_types(const struct mtrr_state *state, uint64_t address, uint64_t *next)
{
    unsigned types = 0;
    for (unsigned i = 0; i < state->count; i++) {
        const struct mtrr_pair *pair = &state->variable[i];
        uint64_t mask = pair->mask & address_bits(state), want = pair->base & mask;
        if ((pair->mask & MTRR_MASK_V) == 0)
            continue;
        uint64_t edge = UINT64_MAX;
        if ((address & mask) != want)
            edge = match_start(address, want, mask, 1ull << state->phys_bits);
        else
            types |= 1u << (pair->base & 7);
        if ((address & mask) == want && mask != 0)
            edge = match_end(address, mask);
        *next = min_u64(*next, edge);
    }
    return types;
}

/* SDM, "MTRR Precedences". */
static void combine_types(struct mtrr_answer *answer, unsigned types)
{
    const unsigned wt_wb = 1u << MT_WT | 1u << MT_WB;
    if ((types & (types - 1)) == 0) {
        answer->type = (uint8_t)__builtin_ctz(types);
        answer->rule = MTRR_RULE_VARIABLE;
    } else if ((types & 1u << MT_UC) != 0) {
        answer->type = MT_UC;
        answer->rule = MTRR_RULE_UC_WINS;
    } else if (types == wt_wb) {
        answer->type = MT_WT;
        answer->rule = MTRR_RULE_WT_WB;
    } else {
        answer->type = MT_UC;
        answer->rule = MTRR_RULE_UNDEFINED;
    }
}

static void default_type(const struct mtrr_state *state, struct mtrr_answer *answer,
                         uint64_t address)
{
    answer->type = state->def_type & 0xff;
    answer->rule = MTRR_RULE_DEFAULT;
    if (address < 4 * GIB && state->default_wb_end > 4 * GIB)
        answer->next = min_u64(answer->next, 4 * GIB);
    else if (address < state->default_wb_end) {
        answer->type = MT_WB;
        answer->next = min_u64(answer->next, state->default_wb_end);
    }
}

struct mtrr_answer mtrr_type(const struct mtrr_state *state, uint64_t address)
{
    struct mtrr_answer answer = {MT_UC, MTRR_RULE_DISABLED, UINT64_MAX};
    if ((state->def_type & MTRR_DEF_E) == 0)
        return answer;
    bool fixed = (state->def_type & MTRR_DEF_FE) != 0;
    if (fixed && address < MIB)
        return mtrr_fixed_type(state, address);
    unsigned types = variable_types(state, address, &answer.next);
    if (types != 0)
        combine_types(&answer, types);
    else
        default_type(state, &answer, address);
    return answer;
}
