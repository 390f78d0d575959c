/* The walk of a guest's page tables: one loop over levels, and what each mode makes of them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/vcpu/walk.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/x86.h"
#include "vmm/vcpu/walk_format.h"

/*
 * Protection keys (CR4.PKE, PKS), CET shadow stacks (CR4.CET) and LAM are not supported: the
 * guest's CPUID does not offer them, its CR4 and CR3 cannot have their bits, and nothing here looks
 * at them.
 */

#define PF_P    (1u << 0)
#define PF_W    (1u << 1)
#define PF_U    (1u << 2)
#define PF_RSVD (1u << 3)
#define PF_ID   (1u << 4)

/* Walks that find an entry changed below them before the guest is given up. */
enum { WALK_TRIES = 16 };

struct entry {
    uint64_t value;
    gpa_t gpa;
    enum memtype type; /* by which it is read and written */
};

struct walk {
    struct walk_mode mode;
    const struct walk_memory *memory;
    struct walk_result *out;
    uint64_t address;
    unsigned access;
    uint64_t all, any;              /* AND and OR of the entries; PAE's PDPTEs have no say */
    struct entry entry[LEVELS + 1]; /* by level */
};

static bool user_access(const struct walk *walk)
{
    return walk->mode.state->cpl == 3 && !(walk->access & WALK_SYSTEM);
}

/* SDM, "Page-Fault Exceptions". */
static int page_fault(const struct walk *walk, uint32_t reason)
{
    uint32_t error = reason;
    if (walk->access & WALK_WRITE)
        error |= PF_W;
    if (user_access(walk))
        error |= PF_U;
    if ((walk->access & WALK_FETCH) && (has_nx(&walk->mode) || (walk->mode.state->cr4 & CR4_SMEP)))
        error |= PF_ID;
    walk->out->error = error;
    return -EFAULT;
}

/* Reads the entry of LEVEL; *LEAF: it maps a page. PAE's PDPTEs may be in the CPU, checked. */
static int read_entry(struct walk *walk, unsigned level, uint64_t parent, bool *leaf)
{
    struct entry *entry = &walk->entry[level];
    *leaf = false;
    if (level == walk->mode.pdpte_level && walk->mode.state->pdpte_valid) {
        entry->value = walk->mode.state->pdpte[walk->address >> 30];
        return entry->value & PTE_P ? 0 : page_fault(walk, 0);
    }
    entry->gpa = entry_gpa(&walk->mode, level, parent, walk->address);
    entry->type = entry_type(walk->mode.state, parent, 0);
    walk->out->levels++;
    if (walk->memory->read(walk->memory->context, entry->gpa, walk->mode.width, entry->type,
                           &entry->value) != 0) {
        walk->out->at = entry->gpa;
        return -EIO;
    }
    if (!(entry->value & PTE_P))
        return page_fault(walk, 0);
    *leaf = is_leaf(&walk->mode, level, entry->value);
    if (entry->value & reserved_bits(&walk->mode, level, *leaf))
        return page_fault(walk, PF_P | PF_RSVD);
    return 0;
}

/* Reads the entries from the root to the leaf, whose level is returned; or a negative errno. */
static int read_entries(struct walk *walk)
{
    uint64_t parent = root_entry(&walk->mode);
    bool leaf = false;
    unsigned level = walk->mode.root;
    walk->all = ~0ull;
    walk->any = 0;
    for (;; level--) {
        int err = read_entry(walk, level, parent, &leaf);
        if (err != 0)
            return err;
        parent = walk->entry[level].value;
        if (level != walk->mode.pdpte_level) {
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
    walk->out->executable = !has_nx(&walk->mode) || !(walk->any & PTE_XD);
}

/* SDM, "Determination of Access Rights". */
static bool is_allowed(const struct walk *walk)
{
    const struct walk_state *state = walk->mode.state;
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
    for (unsigned level = walk->mode.root; level >= leaf; level--) {
        const struct entry *entry = &walk->entry[level];
        uint64_t flags = PTE_A;
        if (level == leaf && (walk->access & WALK_WRITE))
            flags |= PTE_D;
        if ((entry->value & flags) == flags || level == walk->mode.pdpte_level)
            continue;
        int err = walk->memory->set_bits(walk->memory->context, entry->gpa, walk->mode.width,
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
    uint64_t page = 1ull << level_shift(&walk->mode, leaf);
    uint64_t base = leaf_gpa(&walk->mode, leaf, entry).v;
    walk->out->page = page;
    walk->out->gpa = gpa(base | (walk->address & (page - 1)));
    walk->out->pat_type = (uint8_t)leaf_type(&walk->mode, leaf, entry);
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

/* False: the address is not canonical. */
static bool choose_mode(struct walk *walk, const struct walk_state *state)
{
    walk_mode_init(&walk->mode, state);
    if (walk->mode.paging != PAGING_LONG) {
        walk->address &= bits(31, 0);
        return true;
    }
    uint64_t high = walk->address >> (level_shift(&walk->mode, walk->mode.root) + 8);
    return high == 0 || high == ~0ull >> (level_shift(&walk->mode, walk->mode.root) + 8);
}

int guest_walk_paged(const struct walk_state *state, const struct walk_memory *memory,
                     gva_t address, unsigned access, struct walk_result *out)
{
    assert(state->phys_bits >= 32 && state->phys_bits <= 52);
    assert(access & (WALK_READ | WALK_WRITE | WALK_FETCH));
    struct walk walk;
    walk.memory = memory;
    walk.out = out;
    walk.address = address.v;
    walk.access = access;
    if (!choose_mode(&walk, state)) {
        *out = (struct walk_result){0};
        return -EINVAL;
    }
    int err = -EEXIST;
    for (unsigned i = 0; i < WALK_TRIES && err == -EEXIST; i++)
        err = walk_once(&walk);
    return err == -EEXIST ? -EIO : err;
}
