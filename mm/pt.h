/*
 * One page-table engine for host, EPT, NPT and IOMMU tables. A format says what bits an entry has;
 * the engine walks, maps, unmaps, changes attributes, splits and joins. It knows nothing of VMs.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

enum { PT_R = 1, PT_W = 2, PT_X = 4 };

struct pt_attr {
    uint8_t perm; /* PT_R | PT_W | PT_X */
    uint8_t type; /* enum memtype */
    bool ipat;    /* EPT: ignore the guest's PAT; false in formats that lack it */
};

static inline bool pt_same_attr(struct pt_attr a, struct pt_attr b)
{
    return a.perm == b.perm && a.type == b.type && a.ipat == b.ipat;
}

/*
 * Level 1 entries map 4 KiB, level 2 2 MiB, level 3 1 GiB; a root of LEVELS levels (at most 5) is a
 * table of that level.
 */
struct pt_format {
    const char *name;
    uint8_t levels;
    uint8_t largest_leaf; /* level of the largest leaf the format has */
    bool sign_extended;   /* addresses are canonical; false: they begin at 0 */
    uint64_t address;     /* address bits of an entry */
    uint64_t present;     /* an entry is in use if any of these is set */
    uint64_t table;       /* what an entry that points to a table has */
    uint8_t level_shift;  /* 0, or its lowest bit of the level of the table that it points to */
    uint64_t (*leaf)(struct pt_attr attr, unsigned level);  /* bits of a leaf but its address */
    struct pt_attr (*attr)(uint64_t entry, unsigned level); /* the inverse */
    bool (*is_leaf)(uint64_t entry, unsigned level);        /* of a present entry */
};

struct pt;

enum pt_step_kind {
    PT_LEAVES, /* what was mapped has been changed or unmapped, by entries of LEVEL */
    PT_SPLIT,  /* a leaf of LEVEL has become a table that says the same */
    PT_JOIN,   /* a table has become a leaf of LEVEL that says the same */
};

struct pt_step {
    enum pt_step_kind kind;
    uint8_t level;
    uint64_t va, size;
    struct pt_attr old, new; /* perm 0: of OLD: it was a table; of NEW: nothing is mapped */
};

/* Where table pages come from, and who must be told of a change. */
struct pt_owner {
    bool (*alloc)(struct pt *pt, hpa_t *page); /* one zeroed page; false: none left */
    void (*free)(struct pt *pt, hpa_t page);
    uint64_t *(*at)(const struct pt *pt, hpa_t page); /* a table page as 512 entries */
    /*
     * Break before make: called after entries that were present became not present and before
     * others take their place (or their table is freed), with the range of addresses. Whatever
     * caches translations of the range, or tables on the way to it, must forget them. OLD: the
     * attributes that all of the range's leaves had; where OLD.perm is 0, no byte's translation
     * changes by this step, only the size of leaves (a split, a join) or a table that has emptied.
     */
    void (*invalidate)(struct pt *pt, uint64_t va, uint64_t size, struct pt_attr old);
    /*
     * NULL, or writes N bytes of a table at AT back to memory, for a reader that does not look into
     * the CPU's caches: called after each write of an entry, and for a table page before it is
     * linked.
     */
    void (*flush)(const struct pt *pt, const void *at, size_t n);
    /* NULL, or told of each step that has been made. */
    void (*told)(struct pt *pt, const struct pt_step *step);
};

struct pt {
    const struct pt_format *format;
    const struct pt_owner *owner;
    void *context; /* the owner's */
    hpa_t root;
    uint8_t max_leaf; /* level of the largest leaf this table may use: what the CPU has */
    uint32_t pages;   /* table pages in use, the root included */
    hpa_t spare; /* the engine's, during a change: pages reserved, linked by their first entry */
    uint64_t spares;
};

struct pt_leaf {
    bool present;
    hpa_t hpa;           /* what VA maps to, to the byte; 0 if not present */
    struct pt_attr attr; /* 0 if not present */
    uint8_t level;       /* level of the entry that answers */
    uint64_t next;       /* first address above VA where this answer stops; UINT64_MAX: none */
};

/*
 * Makes an empty table. MAX_LEAF: 1 to 3; a level that the format lacks is not used. Returns 0, or
 * -ENOMEM, logged.
 */
int pt_init(struct pt *pt, const struct pt_format *format, const struct pt_owner *owner,
            void *context, unsigned max_leaf);

/*
 * Makes the tables that FROM has for the GiB at VA (a multiple) serve TO as well, for good: what
 * FROM maps there from then on, TO maps too. Both have one format and owner; TO must map nothing
 * there, but something in the same 512 GiB. TO is not to be changed there, nor destroyed.
 */
void pt_share(struct pt *to, const struct pt *from, uint64_t va);

/* Frees every table page. What the leaves map is not touched, and nothing is invalidated. */
void pt_destroy(struct pt *pt);

/*
 * Maps VA.. to HPA.. with the largest leaves that both alignments allow; what was mapped there is
 * replaced (break before make), what is mapped so already is not touched. VA, HPA and SIZE are
 * multiples of 4096, in reach of the format, on one side of the canonical hole; SIZE may be 0. ATTR
 * must be one that the format can say. Returns 0, or -ENOMEM, logged; then nothing has changed.
 * While a leaf is split or replaced nothing may use it: not the stack or code that runs.
 */
int pt_map(struct pt *pt, uint64_t va, hpa_t hpa, uint64_t size, struct pt_attr attr);

/*
 * Unmaps; what is not mapped is passed over. Returns 0, or -ENOMEM, logged (a leaf had to be
 * split); then nothing has changed.
 */
int pt_unmap(struct pt *pt, uint64_t va, uint64_t size);

/*
 * Gives every leaf in the range the attributes ATTR: splits at the edges, touches no leaf that has
 * them already, joins tables whose 512 entries have become one larger leaf. What is not mapped
 * stays so. Returns 0, or -ENOMEM, logged; then nothing has changed.
 */
int pt_retype(struct pt *pt, uint64_t va, uint64_t size, struct pt_attr attr);

/* What VA maps to, and where that answer stops holding. Any VA may be asked for. */
struct pt_leaf pt_query(const struct pt *pt, uint64_t va);

/*
 * The entry of a 4 KiB leaf, for an owner that changes it directly from then on (a window). VA must
 * be mapped by such a leaf. The owner then makes no other change within its 2 MiB but to other
 * leaves that stay, or the engine may free the table page.
 */
uint64_t *pt_entry(struct pt *pt, uint64_t va);
