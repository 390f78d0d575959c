/* Effective memory types: what the CPU makes of MTRR, second-level leaf and PAT together. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/pt.h"
#include "mm/types.h"

/* Two are of one manual alone: CD is UC that looks into the caches, WC+ is WC that does. */
enum effective {
    EFFECTIVE_UC,
    EFFECTIVE_CD,
    EFFECTIVE_WC,
    EFFECTIVE_WC_PLUS,
    EFFECTIVE_WT,
    EFFECTIVE_WP,
    EFFECTIVE_WB,
    EFFECTIVES,
};

/* "UC", "CD", "WC", "WC+", "WT", "WP", "WB". */
const char *effective_name(unsigned effective);

/* UC for CD and WC for WC+, which differ from these only in more snooping; else the type itself. */
enum effective effective_class(enum effective effective);

/* What a kind of CPU does: pure functions, tables out of its manual. PAT types include UC-. */
struct type_rules {
    /* On bare metal: of the MTRR's type and the PAT's. */
    enum effective (*native)(enum memtype mtrr, enum memtype pat);
    /*
     * In a guest: of its leaf in the second-level table, the guest's PAT type and the host's MTRR.
     */
    enum effective (*nested)(struct pt_attr leaf, enum memtype pat, enum memtype host);
    enum effective cd; /* while the CR0.CD that acts is 1, whatever the rest */
};
