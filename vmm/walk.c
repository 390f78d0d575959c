/* The walk of a guest's page tables: one loop over levels, and what each mode makes of them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/walk.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/x86.h"

/*
 * Protection keys (CR4.PKE, PKS), CET shadow stacks (CR4.CET) and LAM are not supported: the
 * guest's CPUID does not offer them, its CR4 and CR3 cannot have their bits, and nothing here looks
 * at them.
 */

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

#define PF_P    (1u << 0)
#define PF_W    (1u << 1)
#define PF_U    (1u << 2)
#define PF_RSVD (1u << 3)
#define PF_ID   (1u << 4)

/* The levels of the tables; a table of level n has entries of that level. */
enum { LEVEL_PT = 1, LEVEL_PD, LEVEL_PDPT, LEVEL_PML4, LEVEL_PML5, LEVELS = LEVEL_PML5 };

/* Walks that find an entry changed below them before the guest is given up. */
enum { WALK_TRIES = 16 };

enum paging { PAGING_32BIT, PAGING_PAE, PAGING_LONG };

struct entry {
    uint64_t value;
    gpa_t gpa;
    enum memtype type; /* by which it is read and written */
};

struct walk {
    const struct walk_state *state;
    const struct walk_memory *memory;
    struct walk_result *out;
    uint64_t address;
    unsigned access;
    enum paging paging;
    unsigned root;                       /* the highest level */
    unsigned width;                      /* bytes of an entry */
    unsigned index_bits;                 /* bits of the address that a level translates */
    unsigned pdpte_level;                /* PAE: the level whose entries have rules of their own */
    uint64_t base;                       /* address bits of an entry that points to a table */
    uint64_t reserved;                   /* bits that are reserved in every leaf of this mode */
    uint64_t all, any;                   /* AND and OR of the entries; PAE's PDPTEs have no say */
    struct entry entry[LEVELS + 1];      /* by level */
    uint64_t reserved_table[LEVELS + 1]; /* what entries that point to a table reserve */
};

/* Bits HIGH to LOW; HIGH < LOW: none. */
static uint64_t bits(unsigned high, unsigned low)
{
    return high < low ? 0 : (~0ull >> (63 - high)) & (~0ull << low);
}

static enum memtype pat_type(const struct walk_state *state, uint64_t entry, uint64_t pat_bit)
{
    static_assert(PTE_PWT == 1 << 3 && PTE_PCD == 1 << 4, "the two low bits of the index");
    unsigned index = (unsigned)(entry >> 3 & 3) | (entry & pat_bit ? 4u : 0);
    return (enum memtype)(state->pat >> (8 * index) & 7);
}

static bool has_nx(const struct walk *walk)
{
    return walk->paging != PAGING_32BIT && (walk->state->efer & EFER_NXE);
}

static bool user_access(const struct walk *walk)
{
    return walk->state->cpl == 3 && !(walk->access & WALK_SYSTEM);
}

/* SDM, "Page-Fault Exceptions". */
static int page_fault(const struct walk *walk, uint32_t reason)
{
    uint32_t error = reason;
    if (walk->access & WALK_WRITE)
        error |= PF_W;
    if (user_access(walk))
        error |= PF_U;
    if ((walk->access & WALK_FETCH) && (has_nx(walk) || (walk->state->cr4 & CR4_SMEP)))
        error |= PF_ID;
    walk->out->error = error;
    return -EFAULT;
}

static unsigned level_shift(const struct walk *walk, unsigned level)
{
    return 12 + (level - 1) * walk->index_bits;
}

/* Whether an entry maps a page; where that would be illegal, its PS bit is a reserved one. */
static bool is_leaf(const struct walk *walk, unsigned level, uint64_t entry)
{
    if (level == LEVEL_PT)
        return true;
    if (!(entry & PTE_PS))
        return false;
    if (walk->paging == PAGING_32BIT)
        return walk->state->cr4 & CR4_PSE;
    return level == LEVEL_PD ||
           (level == LEVEL_PDPT && walk->paging == PAGING_LONG && walk->state->has_1g);
}

/* SDM, "Formats of CR3 and Paging-Structure Entries ..." of each mode. */
static uint64_t reserved_bits(const struct walk *walk, unsigned level, bool leaf)
{
    unsigned width = walk->state->phys_bits;
    if (level == walk->pdpte_level) /* not bit 5: a CPU that walks them may set it as in others */
        return bits(63, width) | bits(8, 6) | bits(2, 1);
    if (!leaf)
        return walk->reserved_table[level];
    if (level == LEVEL_PT)
        return walk->reserved;
    if (walk->paging == PAGING_32BIT) /* PSE-36: address bits 39:32 in bits 20:13 */
        return bits(21, (unsigned)min_u64(width, 40) - 19);
    return walk->reserved | bits(level_shift(walk, level) - 1, 13);
}

/* Where the entry of LEVEL for the address stands, in the table that PARENT points to. */
static gpa_t entry_gpa(const struct walk *walk, unsigned level, uint64_t parent)
{
    uint64_t base = parent & (level == walk->pdpte_level ? bits(31, 5) : walk->base);
    static_assert(12 - 9 - 3 == 0 && 12 - 10 - 2 == 0,
                  "an index, scaled, begins at bit 0 of these");
    uint64_t scaled = walk->address >> walk->index_bits * level & (PAGE_SIZE - walk->width);
    return gpa(base + scaled);
}

/* Reads the entry of LEVEL; *LEAF: it maps a page. PAE's PDPTEs may be in the CPU, checked. */
static int read_entry(struct walk *walk, unsigned level, uint64_t parent, bool *leaf)
{
    struct entry *entry = &walk->entry[level];
    *leaf = false;
    if (level == walk->pdpte_level && walk->state->pdpte_valid) {
        entry->value = walk->state->pdpte[walk->address >> 30];
        return entry->value & PTE_P ? 0 : page_fault(walk, 0);
    }
    entry->gpa = entry_gpa(walk, level, parent);
    entry->type = pat_type(walk->state, parent, 0);
    walk->out->levels++;
    if (walk->memory->read(walk->memory->context, entry->gpa, walk->width, entry->type,
                           &entry->value) != 0) {
        walk->out->at = entry->gpa;
        return -EIO;
    }
    if (!(entry->value & PTE_P))
        return page_fault(walk, 0);
    *leaf = is_leaf(walk, level, entry->value);
    if (entry->value & reserved_bits(walk, level, *leaf))
        return page_fault(walk, PF_P | PF_RSVD);
    return 0;
}

/* Reads the entries from the root to the leaf, whose level is returned; or a negative errno. */
static int read_entries(struct walk *walk)
{
    uint64_t parent = walk->state->cr3; /* as if it were the root's parent entry */
    bool leaf = false;
    unsigned level = walk->root;
    if (walk->paging == PAGING_LONG && (walk->state->cr4 & CR4_PCIDE))
        parent &= ~bits(11, 0);
    walk->all = ~0ull;
    walk->any = 0;
    for (;; level--) {
        int err = read_entry(walk, level, parent, &leaf);
        if (err != 0)
            return err;
        parent = walk->entry[level].value;
        if (level != walk->pdpte_level) {
            walk->all &= parent;
            walk->any |= parent;
        }
        if (leaf)
            return (int)level;
    }
}

/* What the entries allow together. */
static void combine_rights(struct walk *walk)
{
    walk->out->writable = walk->all & PTE_RW;
    walk->out->user = walk->all & PTE_US;
    walk->out->executable = !has_nx(walk) || !(walk->any & PTE_XD);
}

/* SDM, "Determination of Access Rights". */
static bool is_allowed(const struct walk *walk)
{
    const struct walk_state *state = walk->state;
    const struct walk_result *out = walk->out;
    bool user = user_access(walk);
    if (user && !out->user)
        return false;
    if ((walk->access & WALK_FETCH) &&
        (!out->executable || (!user && out->user && (state->cr4 & CR4_SMEP))))
        return false;
    if ((walk->access & WALK_WRITE) && !out->writable && (user || (state->cr0 & CR0_WP)))
        return false;
    bool data = walk->access & (WALK_READ | WALK_WRITE);
    bool guarded = data && !user && out->user && (state->cr4 & CR4_SMAP);
    return !guarded || (!(walk->access & WALK_SYSTEM) && (state->rflags & RFLAGS_AC));
}

/* Sets accessed and dirty bits from the root down; -EEXIST: an entry has changed meanwhile. */
static int set_flags(const struct walk *walk, unsigned leaf)
{
    bool dirty = !(walk->access & WALK_WRITE) || (walk->entry[leaf].value & PTE_D);
    if (((walk->all & PTE_A) && dirty) || (walk->access & WALK_PEEK))
        return 0;
    for (unsigned level = walk->root; level >= leaf; level--) {
        const struct entry *entry = &walk->entry[level];
        uint64_t flags = PTE_A;
        if (level == leaf && (walk->access & WALK_WRITE))
            flags |= PTE_D;
        if ((entry->value & flags) == flags || level == walk->pdpte_level)
            continue;
        int err = walk->memory->set_bits(walk->memory->context, entry->gpa, walk->width,
                                         entry->type, entry->value, flags);
        if (err != 0) {
            walk->out->at = entry->gpa;
            return err == -EEXIST ? -EEXIST : -EIO;
        }
    }
    return 0;
}

static void translate(struct walk *walk, unsigned leaf)
{
    uint64_t entry = walk->entry[leaf].value;
    uint64_t page = 1ull << level_shift(walk, leaf);
    uint64_t base = entry & walk->base;
    if (walk->width == 4 && leaf == LEVEL_PD)
        base = (entry & bits(31, 22)) | (entry & bits(20, 13)) << 19;
    walk->out->page = page;
    walk->out->gpa = gpa(align_down(base, page) | (walk->address & (page - 1)));
    walk->out->pat_type =
        (uint8_t)pat_type(walk->state, entry, leaf == LEVEL_PT ? PTE_PAT_4K : PTE_PAT_LARGE);
}

static int walk_once(struct walk *walk)
{
    *walk->out = (struct walk_result){0};
    int leaf = read_entries(walk);
    if (leaf < 0)
        return leaf;
    combine_rights(walk);
    if (!is_allowed(walk))
        return page_fault(walk, PF_P);
    translate(walk, (unsigned)leaf);
    return set_flags(walk, (unsigned)leaf);
}

/* SDM, "Paging Modes and Control Bits". False: the address is not canonical. */
static bool choose_mode(struct walk *walk)
{
    const struct walk_state *state = walk->state;
    bool long_mode = state->efer & EFER_LMA, pae = state->cr4 & CR4_PAE;
    walk->paging = long_mode ? PAGING_LONG : pae ? PAGING_PAE : PAGING_32BIT;
    walk->width = walk->paging == PAGING_32BIT ? 4 : 8;
    walk->index_bits = walk->paging == PAGING_32BIT ? 10 : 9;
    walk->pdpte_level = walk->paging == PAGING_PAE ? LEVEL_PDPT : 0;
    walk->base = bits(walk->paging == PAGING_32BIT ? 31 : state->phys_bits - 1u, 12);
    walk->reserved = walk->reserved_table[LEVEL_PD] = 0;
    if (walk->width == 8) { /* a PS bit that does not make a leaf is reserved */
        uint64_t bit8 = state->reserves_bit8 ? PTE_BIT8 : 0;
        walk->reserved = bits(long_mode ? 51 : 62, state->phys_bits) | (has_nx(walk) ? 0 : PTE_XD);
        walk->reserved_table[LEVEL_PD] = walk->reserved_table[LEVEL_PDPT] = walk->reserved | PTE_PS;
        walk->reserved_table[LEVEL_PML4] = walk->reserved | PTE_PS | bit8;
        walk->reserved_table[LEVEL_PML5] = walk->reserved | PTE_PS | bit8;
    }
    if (!long_mode) {
        walk->root = pae ? LEVEL_PDPT : LEVEL_PD;
        walk->address &= bits(31, 0);
        return true;
    }
    walk->root = state->cr4 & CR4_LA57 ? LEVEL_PML5 : LEVEL_PML4;
    uint64_t high = walk->address >> (level_shift(walk, walk->root) + 8);
    return high == 0 || high == ~0ull >> (level_shift(walk, walk->root) + 8);
}

int guest_walk_paged(const struct walk_state *state, const struct walk_memory *memory,
                     gva_t address, unsigned access, struct walk_result *out)
{
    assert(state->phys_bits >= 32 && state->phys_bits <= 52);
    assert(access & (WALK_READ | WALK_WRITE | WALK_FETCH));
    struct walk walk;
    walk.state = state;
    walk.memory = memory;
    walk.out = out;
    walk.address = address.v;
    walk.access = access;
    if (!choose_mode(&walk)) {
        *out = (struct walk_result){0};
        return -EINVAL;
    }
    int err = -EEXIST;
    for (unsigned i = 0; i < WALK_TRIES && err == -EEXIST; i++)
        err = walk_once(&walk);
    return err == -EEXIST ? -EIO : err;
}
