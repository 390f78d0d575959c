/*
 * What an entry of a guest's page tables says, in every paging mode: where it stands, whether it
 * maps a page, what is reserved in it. For who walks to one page, and for who reads them all.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/assert.h"
#include "lib/x86.h"
#include "vmm/vcpu/walk.h"

#define PTE_P         (1ull << 0)
#define PTE_RW        (1ull << 1)
#define PTE_US        (1ull << 2)
#define PTE_PWT       (1ull << 3)
#define PTE_PCD       (1ull << 4)
#define PTE_A         (1ull << 5)
#define PTE_D         (1ull << 6)
#define PTE_PS        (1ull << 7)  /* in a PDE, PDPTE */
#define PTE_PAT_4K    (1ull << 7)  /* in a PTE */
#define PTE_BIT8      (1ull << 8)  /* in a PML4E, PML5E */
#define PTE_PAT_LARGE (1ull << 12) /* in a PDE or PDPTE that maps a page */
#define PTE_XD        (1ull << 63)

/* The levels of the tables; a table of level n has entries of that level. */
enum { LEVEL_PT = 1, LEVEL_PD, LEVEL_PDPT, LEVEL_PML4, LEVEL_PML5, LEVELS = LEVEL_PML5 };

enum paging { PAGING_32BIT, PAGING_PAE, PAGING_LONG };

/* The paging mode that a state has. */
struct walk_mode {
    const struct walk_state *state;
    enum paging paging;
    unsigned root;                       /* the highest level */
    unsigned width;                      /* bytes of an entry */
    unsigned index_bits;                 /* bits of the address that a level translates */
    unsigned pdpte_level;                /* PAE: the level whose entries have rules of their own */
    uint64_t base;                       /* address bits of an entry that points to a table */
    uint64_t reserved;                   /* bits that are reserved in every leaf of this mode */
    uint64_t reserved_table[LEVELS + 1]; /* what entries that point to a table reserve */
};

/* Bits HIGH to LOW; HIGH < LOW: none. */
static inline uint64_t bits(unsigned high, unsigned low)
{
    return high < low ? 0 : (~0ull >> (63 - high)) & (~0ull << low);
}

/* The memory type that an entry says; PAT_BIT: the third bit of the index, where it has one. */
static inline enum memtype entry_type(const struct walk_state *state, uint64_t entry,
                                      uint64_t pat_bit)
{
    static_assert(PTE_PWT == 1 << 3 && PTE_PCD == 1 << 4, "the two low bits of the index");
    unsigned index = (unsigned)(entry >> 3 & 3) | (entry & pat_bit ? 4u : 0);
    return (enum memtype)(state->pat >> (8 * index) & 7);
}

static inline bool has_nx(const struct walk_mode *mode)
{
    return mode->paging != PAGING_32BIT && (mode->state->efer & EFER_NXE);
}

static inline unsigned level_shift(const struct walk_mode *mode, unsigned level)
{
    return 12 + (level - 1) * mode->index_bits;
}

/* Whether an entry maps a page; where that would be illegal, its PS bit is a reserved one. */
static inline bool is_leaf(const struct walk_mode *mode, unsigned level, uint64_t entry)
{
    if (level == LEVEL_PT)
        return true;
    if (!(entry & PTE_PS))
        return false;
    if (mode->paging == PAGING_32BIT)
        return mode->state->cr4 & CR4_PSE;
    return level == LEVEL_PD ||
           (level == LEVEL_PDPT && mode->paging == PAGING_LONG && mode->state->has_1g);
}

/* SDM, "Formats of CR3 and Paging-Structure Entries ..." of each mode. */
static inline uint64_t reserved_bits(const struct walk_mode *mode, unsigned level, bool leaf)
{
    unsigned width = mode->state->phys_bits;
    if (level == mode->pdpte_level) /* not bit 5: a CPU that walks them may set it as in others */
        return bits(63, width) | bits(8, 6) | bits(2, 1);
    if (!leaf)
        return mode->reserved_table[level];
    if (level == LEVEL_PT)
        return mode->reserved;
    if (mode->paging == PAGING_32BIT) /* PSE-36: address bits 39:32 in bits 20:13 */
        return bits(21, (unsigned)min_u64(width, 40) - 19);
    return mode->reserved | bits(level_shift(mode, level) - 1, 13);
}

/* Where the entry of LEVEL for ADDRESS stands, in the table that PARENT points to. */
static inline gpa_t entry_gpa(const struct walk_mode *mode, unsigned level, uint64_t parent,
                              uint64_t address)
{
    uint64_t base = parent & (level == mode->pdpte_level ? bits(31, 5) : mode->base);
    static_assert(12 - 9 - 3 == 0 && 12 - 10 - 2 == 0,
                  "an index, scaled, begins at bit 0 of these");
    return gpa(base + (address >> mode->index_bits * level & (PAGE_SIZE - mode->width)));
}

/* What stands for the parent entry of the highest level: CR3, as far as it says that. */
static inline uint64_t root_entry(const struct walk_mode *mode)
{
    bool pcid = mode->paging == PAGING_LONG && (mode->state->cr4 & CR4_PCIDE);
    return pcid ? mode->state->cr3 & ~bits(11, 0) : mode->state->cr3;
}

/* The first byte of the page that an entry of LEVEL maps. */
static inline gpa_t leaf_gpa(const struct walk_mode *mode, unsigned level, uint64_t entry)
{
    uint64_t base = entry & mode->base;
    if (mode->width == 4 && level == LEVEL_PD)
        base = (entry & bits(31, 22)) | (entry & bits(20, 13)) << 19;
    return gpa(align_down(base, 1ull << level_shift(mode, level)));
}

/* The memory type of that page by the guest's PAT. */
static inline enum memtype leaf_type(const struct walk_mode *mode, unsigned level, uint64_t entry)
{
    return entry_type(mode->state, entry, level == LEVEL_PT ? PTE_PAT_4K : PTE_PAT_LARGE);
}

/* SDM, "Paging Modes and Control Bits"; CR0.PG is 1. */
static inline void walk_mode_init(struct walk_mode *mode, const struct walk_state *state)
{
    bool long_mode = state->efer & EFER_LMA, pae = state->cr4 & CR4_PAE;
    mode->state = state;
    mode->paging = long_mode ? PAGING_LONG : pae ? PAGING_PAE : PAGING_32BIT;
    mode->width = mode->paging == PAGING_32BIT ? 4 : 8;
    mode->index_bits = mode->paging == PAGING_32BIT ? 10 : 9;
    mode->pdpte_level = mode->paging == PAGING_PAE ? LEVEL_PDPT : 0;
    mode->base = bits(mode->paging == PAGING_32BIT ? 31 : state->phys_bits - 1u, 12);
    mode->reserved = mode->reserved_table[LEVEL_PD] = 0;
    if (mode->width == 8) { /* a PS bit that does not make a leaf is reserved */
        uint64_t bit8 = state->reserves_bit8 ? PTE_BIT8 : 0;
        mode->reserved = bits(long_mode ? 51 : 62, state->phys_bits) | (has_nx(mode) ? 0 : PTE_XD);
        mode->reserved_table[LEVEL_PD] = mode->reserved_table[LEVEL_PDPT] = mode->reserved | PTE_PS;
        mode->reserved_table[LEVEL_PML4] = mode->reserved | PTE_PS | bit8;
        mode->reserved_table[LEVEL_PML5] = mode->reserved | PTE_PS | bit8;
    }
    if (long_mode)
        mode->root = state->cr4 & CR4_LA57 ? LEVEL_PML5 : LEVEL_PML4;
    else
        mode->root = pae ? LEVEL_PDPT : LEVEL_PD;
}
