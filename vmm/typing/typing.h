/*
 * The second-level tables of a VM: one set for each effective map (a view), made when it is first
 * needed and changed only where types really change. Also runs in a host process, with hooks that
 * model a CPU's TLB.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/extents.h"
#include "mm/mtrr.h"
#include "vmm/host/cpu.h"
#include "vmm/typing/policy.h"

struct typing;

/*
 * A guest-physical range that leads to a device's registers. TYPE, an enum memtype, takes the place
 * of the guest's MTRRs there; MMIO_BY_MTRRS: they count.
 */
struct mmio_range {
    struct extent at;
    uint8_t type;
};

enum { MMIO_BY_MTRRS = 0xff, MMIO_MAX_RANGES = 64 };

/* Where table pages come from, and what a change asks of the CPUs. */
struct typing_hooks {
    bool (*alloc)(struct typing *typing, hpa_t *page); /* one zeroed page; false: none left */
    void (*free)(struct typing *typing, hpa_t page);
    uint64_t *(*at)(const struct typing *typing, hpa_t page);
    /* Makes every CPU of the VM forget all translations by the tables at ROOT. */
    void (*invalidate)(struct typing *typing, hpa_t root);
    /* Writes back and drops the cache lines of SIZE bytes at GPA, whose type becomes TYPE. */
    void (*flush)(struct typing *typing, gpa_t gpa, uint64_t size, enum memtype type);
};

/* What may have changed since the leaves of a view were made. */
enum stale { STALE_MTRRS = 1, STALE_POLICY = 2 };

struct view {
    struct pt pt;
    struct typing *typing;
    enum view_kind kind;
    bool made;
    bool has_apic;             /* it maps, or cannot map, the CPU's own page for APICs */
    uint8_t stale;             /* enum stale */
    struct policy policy;      /* by which its leaves were made */
    struct mtrr_state applied; /* and of which MTRRs, if they count */
    struct range plain;        /* memory, perhaps not all, that has a leaf like PLAIN_LEAF */
    struct pt_attr plain_leaf;
};

struct typing {
    struct policy policy; /* typing_mark_policy() after a change */
    const struct typing_hooks *hooks;
    void *context;                /* the hooks' */
    const struct extent *extents; /* the VM's memory */
    unsigned extent_count;
    const struct mmio_range *mmio; /* its devices' registers */
    unsigned mmio_count;
    const struct config_region *regions;
    unsigned region_count;
    const struct mtrr_state *host; /* the machine's own MTRRs */
    const struct pt_format *format;
    uint8_t max_leaf;
    struct view views[VIEWS];
    struct cpu_set on;           /* vCPUs that run on the typed view (vmm/typing/sharing.h) */
    struct cpu_set stale[VIEWS]; /* vCPUs whose CPU may have translations of other leaves */
    bool undefined;              /* the log has said that some MTRRs overlap in an undefined way */
    enum memtype becomes;        /* during a change: the type that leaves get */
    uint64_t leaves_changed;     /* bytes whose leaf was rewritten, since the start */
    uint64_t invalidations;      /* since the start */
};

/*
 * An MTRR was written: the typed view, alone, may say something else than it should. Other CPUs may
 * do this at the same time.
 */
static inline void typing_mark(struct typing *typing)
{
    (void)__atomic_fetch_or(&typing->views[VIEW_TYPED].stale, STALE_MTRRS, __ATOMIC_RELAXED);
}

/* The policy has become another one. */
static inline void typing_mark_policy(struct typing *typing)
{
    for (unsigned kind = 0; kind < VIEWS; kind++)
        typing->views[kind].stale |= STALE_POLICY;
}

/* Whether a view is there, and says what it should. */
static inline bool typing_is_ready(const struct typing *typing, enum view_kind kind)
{
    return typing->views[kind].made && typing->views[kind].stale == 0;
}

/*
 * Makes a view that is not ready, or brings it up to date with the policy and the guest's MTRRs:
 * then only leaves that change are rewritten. Returns 0; -ENOMEM, logged: no table pages are left;
 * -E2BIG, logged: MTRRs that cut memory into more than TYPING_MAX_STEPS pieces. After an error the
 * VM must not run on.
 */
int typing_prepare(struct typing *typing, const struct mtrr_state *mtrr, enum view_kind kind);

/*
 * Whether typing_prepare() would make the typed view or rewrite a leaf of it, were it not ready; at
 * no more cost.
 */
bool typing_owes(struct typing *typing, const struct mtrr_state *mtrr);

enum { TYPING_MAX_STEPS = 1 << 18 };

/*
 * The VM's devices have their registers in COUNT RANGES from now on: in each view that has been
 * made, those of before that are not among them are unmapped, and those that are new are mapped.
 * They overlap neither memory nor each other. The caller then puts them where TYPING->mmio points
 * to. Returns 0, or -ENOMEM, logged: the VM must not run on.
 */
int typing_set_mmio(struct typing *typing, const struct mmio_range *ranges, unsigned count);

/* The region that has AT, or NULL; *NEXT comes down to the next edge of any region above AT. */
const struct config_region *typing_region(const struct typing *typing, uint64_t at, uint64_t *next);

/* Frees all table pages. */
void typing_destroy(struct typing *typing);
