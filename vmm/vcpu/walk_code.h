/*
 * The walk that nearly every fetch of code makes, short and in line: through four levels of tables
 * of one memory type, in which nothing is to be set, and that refuse nothing.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/vcpu/walk.h"
#include "vmm/vcpu/walk_format.h"

/* Reads the entry at GPA at once, by the type that PA0 says; false: that has not been possible. */
typedef bool entry_reader(void *context, gpa_t gpa, uint64_t *entry);

/* What leads on to a table of another type, or, of a PML4E, may be reserved. */
#define PTE_NOT_PLAIN (PTE_PWT | PTE_PCD | PTE_BIT8)

/* SDM, "Determination of Access Rights", of a fetch: ALL is what the entries have in common. */
static inline bool may_fetch(const struct walk_state *state, uint64_t all)
{
    bool user = (all & PTE_US) != 0;
    return state->cpl == 3 ? user : !user || (state->cr4 & CR4_SMEP) == 0;
}

/*
 * Fills gpa and pat_type of *OUT as guest_walk() does for WALK_FETCH with CR0.PG set. False: it may
 * be another mode, a fault, a page of 1 GiB or a flag to be set, which guest_walk_paged() tells.
 */
static inline __attribute__((always_inline)) bool walk_code(const struct walk_state *state,
                                                            entry_reader *read, void *context,
                                                            gva_t address, struct walk_result *out)
{
    const uint64_t base = (1ull << state->phys_bits) - PAGE_SIZE, reserved = bits(51, 12) ^ base;
    const uint64_t pass = PTE_P | PTE_A, look = pass | reserved | PTE_XD;
    uint64_t entry = (state->cr4 & CR4_PCIDE) != 0 ? state->cr3 & ~bits(11, 0) : state->cr3;
    uint64_t all = ~0ull;
    unsigned shift = 12 + 9 * (LEVEL_PML4 - 1);
    if ((state->efer & EFER_LMA) == 0 || (state->cr4 & CR4_LA57) != 0 ||
        (uint64_t)((int64_t)(address.v << 16) >> 16) != address.v)
        return false;
    for (;; shift -= 9) {
        gpa_t at = gpa((entry & base) + (address.v >> shift << 3 & (PAGE_SIZE - 8)));
        if ((entry & PTE_NOT_PLAIN) != 0 || !read(context, at, &entry) || (entry & look) != pass)
            return false;
        all &= entry;
        if (shift == 12 || (entry & PTE_PS) != 0)
            break;
    }
    bool large = shift == 12 + 9 * (LEVEL_PD - 1);
    if (!may_fetch(state, all) || (shift != 12 && (!large || (entry & bits(20, 13)) != 0)))
        return false;
    uint64_t offset = bits(shift - 1, 0);
    out->gpa = gpa((entry & base & ~offset) | (address.v & offset));
    out->pat_type = (uint8_t)entry_type(state, entry, large ? PTE_PAT_LARGE : PTE_PAT_4K);
    return true;
}
