/* The MTRRs of one CPU as registers: their values, and which writes are legal. */
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

static bool is_type(uint64_t byte)
{
    return byte == MT_UC || byte == MT_WC || byte == MT_WT || byte == MT_WP || byte == MT_WB;
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

void mtrr_reset_firmware(struct mtrr_state *state, unsigned phys_bits)
{
    assert(phys_bits >= 36 && phys_bits <= 52);
    *state = (struct mtrr_state){.phys_bits = (uint8_t)phys_bits};
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

bool mtrr_write(struct mtrr_state *state, uint32_t msr, uint64_t value)
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
    if (legal)
        *target = value;
    return legal;
}
