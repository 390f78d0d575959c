/*
 * Memory-type policies: what a guest's leaf is, and what the CPU makes of it. Pure functions; where
 * a policy's leaves are built and kept is vmm/typing.h.
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
    VIEW_CD,       /* CR0.CD = 1: all UC, whatever the guest's PAT says */
    VIEWS,
};

/* What of the backend decides which policies there are. */
struct policy_means {
    bool has_ipat;      /* leaves can ignore the guest's PAT */
    bool owns_cr0_cd;   /* the guest's CR0.CD acts by itself */
    bool runs_uncached; /* else: the CPU's can be set while the guest runs */
};

struct policy;

/* Somebody's rules, by name. */
struct preset {
    const char *name;
    enum policy_number number;
    void (*fill)(struct policy *policy); /* by its means and whether it is noncoherent */
};

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
    struct policy_means means;
};

/* What a policy is told of a page. */
struct policy_page {
    uint8_t guest; /* enum memtype: the guest's MTRRs; UC where they are disabled */
    uint8_t host;  /* enum memtype: the host's MTRRs */
    bool low;      /* below 1 MiB, where the fixed ranges are */
    bool region;   /* GUEST is the type of a region of the config: the MTRRs do not matter */
    bool mmio;     /* by the host's map and the BARs, never by the guest */
};

/*
 * The policy that the config of a VM asks for. NONCOHERENT: a device of it does not snoop, so that
 * the default is exact, else wb. Returns 0, or -EINVAL, logged: no such policy, or a value that this
 * backend, or this build, cannot do.
 */
int policy_resolve(const struct vm_config *config, const struct policy_means *means,
                   bool noncoherent, struct policy *policy);

/*
 * Goes over to the rules of another preset, as they are with or without a noncoherent device; what
 * the guest reads (report) and how it starts (reset) stay. Returns 0; -EINVAL: no such number;
 * -EOPNOTSUPP: it has no rules for this CPU's tables. Then nothing has changed.
 */
int policy_take(enum policy_number number, bool noncoherent, struct policy *policy);

/* Which view a guest needs in its state: ENABLED is MTRRdefType.E, CD is CR0.CD. */
static inline enum view_kind policy_view(const struct policy *policy, bool enabled, bool cd)
{
    if (cd && policy->cd == KNOB_CD_VIEW)
        return VIEW_CD;
    return policy->mtrr == KNOB_MTRR_GUEST && !enabled ? VIEW_DISABLED : VIEW_TYPED;
}

/* The leaf of a page in a view; permissions are all. */
struct pt_attr policy_leaf(const struct policy *policy, enum view_kind view,
                           const struct policy_page *page);

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
enum memtype policy_window(const struct policy *policy, const struct type_rules *rules,
                           struct pt_attr leaf, enum memtype pat, bool cd, enum memtype host);
