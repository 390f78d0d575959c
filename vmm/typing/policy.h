/*
 * Memory-type policies: what a guest's leaf is, and what the CPU makes of it. Pure functions; where
 * a policy's leaves are built and kept is vmm/typing/typing.h.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/effective.h"
#include "vmm/abi.h"
#include "vmm/config.h"

/* Effective maps of a guest, each a set of second-level tables of its own. */
enum view_kind {
    VIEW_TYPED,    /* as the MTRRs say */
    VIEW_DISABLED, /* MTRRdefType.E = 0: all UC, where the guest's PAT may still say WC */
    VIEW_CD,       /* CR0.CD = 1: all UC, whatever the guest's PAT says, or as the cd knob says */
    VIEWS,
};

/* What of the backend decides which policies there are. */
struct policy_means {
    bool has_ipat;      /* leaves can ignore the guest's PAT */
    bool owns_cr0_cd;   /* the guest's CR0.CD acts by itself */
    bool runs_uncached; /* else: the CPU's can be set while the guest runs */
};

struct preset;

/* A policy with every knob resolved: none is KNOB_..._DEFAULT. */
struct policy {
    const struct preset *preset;
    bool noncoherent; /* a device of the VM does not look into the caches */
    enum knob_mtrr mtrr;
    enum knob_pat pat;
    enum knob_cd cd;
    enum knob_mmio mmio;
    enum knob_report report;
    enum knob_reset reset;
    bool mmio_ipat;      /* leaves of device registers ignore the guest's PAT */
    bool pat_by_enable;  /* while MTRRdefType.E is 0 the PAT is all UC */
    bool disabled_is_uc; /* with MTRRs that count: E = 0 makes memory UC, in a view of its own */
    bool cd_view;        /* CR0.CD = 1 asks for leaves of its own: a view */
    uint8_t wants;       /* enum page_fact: what the preset's rule looks at */
    struct policy_means means;
};

/* What a policy is told of a page. */
struct policy_page {
    uint8_t guest; /* enum memtype: the guest's MTRRs; UC where they are disabled */
    uint8_t host;  /* enum memtype: the host's MTRRs; only with WANTS_HOST */
    bool region;   /* GUEST is the type of a region of the config: the MTRRs do not matter */
    bool mmio;     /* by the host's map and the BARs, never by the guest */
    /* Only with WANTS_FIXED. */
    bool low;          /* below 1 MiB, where the fixed ranges are */
    uint8_t fixed;     /* LOW: enum memtype in the guest's fixed range, whether it counts or not */
    uint16_t def_type; /* the guest's IA32_MTRR_DEF_TYPE */
};

/* Of struct policy_page, what few want. */
enum page_fact { WANTS_HOST = 1, WANTS_FIXED = 2 };

/* Somebody's rules, by name (docs/policies.md). */
struct preset {
    const char *name;
    enum policy_number number;
    bool with_ipat, without_ipat; /* whether there are rules for such leaves */
    uint8_t wants;                /* enum page_fact */
    /* Sets the knobs, by the policy's means and whether it is noncoherent. */
    void (*fill)(struct policy *policy);
    /* The type of a leaf of memory under KNOB_MTRR_PRESET. */
    enum memtype (*ram)(const struct policy_page *page);
};

/* NULL: none of that number or name. */
const struct preset *preset_find(enum policy_number number);
const struct preset *preset_named(const char *name);

/*
 * The policy that the config of a VM asks for. NONCOHERENT: a device of it does not snoop, so that
 * the default is exact, else wb. Returns 0, or -EINVAL, logged: no such policy, none for this
 * backend, or a value that it cannot do.
 */
int policy_resolve(const struct vm_config *config, const struct policy_means *means,
                   bool noncoherent, struct policy *policy);

/*
 * Goes over to the rules of another preset, as they are with or without a noncoherent device; what
 * the guest reads (report) and how it starts (reset) stay. Returns 0; -EINVAL: no such number;
 * -EOPNOTSUPP: it has no rules for this CPU's tables. Then nothing has changed.
 */
int policy_take(enum policy_number number, bool noncoherent, struct policy *policy);

/*
 * Whether what is a choice, but can cost the guest its data or the machine, has been allowed by
 * `dangerous = yes`; logs it, at each start, where it has. Returns 0, or -EINVAL, logged.
 */
int policy_allow(const struct vm_config *config, const struct policy *policy);

/* Whether the rules that policy_take() has given need that leave, too. */
bool policy_needs_leave(const struct policy *policy);

/* Whether caches are written back when CR0.CD becomes 1, where they would be bypassed from then. */
static inline bool policy_cd_flushes(const struct policy *policy)
{
    return policy->cd == KNOB_CD_VIEW || policy->cd == KNOB_CD_PAT_UC;
}

/* Which view a guest needs in its state: ENABLED is MTRRdefType.E, CD is CR0.CD. */
static inline enum view_kind policy_view(const struct policy *policy, bool enabled, bool cd)
{
    if (cd && policy->cd_view)
        return VIEW_CD;
    return policy->disabled_is_uc && !enabled ? VIEW_DISABLED : VIEW_TYPED;
}

/* The leaf of a page in a view; permissions are all. */
struct pt_attr policy_leaf(const struct policy *policy, enum view_kind view,
                           const struct policy_page *page);

/* Whether there can be accesses to memory that are not cached; a region's type apart. */
bool policy_uncaches(const struct policy *policy);

/* The PAT that is in force while the guest's own is PAT, by its MTRRdefType.E and CR0.CD. */
uint64_t policy_pat(const struct policy *policy, bool enabled, bool cd, uint64_t pat);

/* Whether that is ever another than the guest's own. */
bool policy_forces_pat(const struct policy *policy);

/* Whether a guest's CR0.CD = 1 acts in the CPU itself. */
static inline bool policy_cd_acts(const struct policy *policy, bool cd)
{
    return cd && policy->cd == KNOB_CD_HW;
}

/*
 * What the CPU makes of an access: its LEAF, the guest's PAT type (WB with paging off), whether the
 * CR0.CD that acts is 1, and the host's MTRR type of the memory.
 */
enum effective policy_effective(const struct type_rules *rules, struct pt_attr leaf,
                                enum memtype pat, bool cd, enum memtype host);

/*
 * The type of a window that acts on the guest's memory as the guest's own access would. The
 * arguments are those of policy_effective().
 */
enum memtype policy_window(const struct type_rules *rules, struct pt_attr leaf, enum memtype pat,
                           bool cd, enum memtype host);
