/* Effective memory types on Intel's CPUs, with and without EPT, as the SDM's tables have them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/types.h"

#include "lib/assert.h"
#include "mm/memtype.h"

enum { UC = EFFECTIVE_UC, WC = EFFECTIVE_WC, WT = EFFECTIVE_WT, WP = EFFECTIVE_WP };
enum { WB = EFFECTIVE_WB };

/* SDM, "Effective Page-Level Memory Types for Pentium III and More Recent Processor Families". */
/* clang-format off */
static const uint8_t table[][MT_UC_MINUS + 1] = {
    /* PAT:    [MT_UC]=  [MT_WC]=  2   3   [MT_WT]=  [MT_WP]=  [MT_WB]=  [MT_UC_MINUS]= */
    [MT_UC] = {UC,       WC,       UC, UC, UC,       UC,       UC,       UC},
    [MT_WC] = {UC,       WC,       UC, UC, UC,       UC,       WC,       WC},
    [MT_WT] = {UC,       WC,       UC, UC, WT,       WP,       WT,       UC},
    [MT_WP] = {UC,       WC,       UC, UC, WT,       WP,       WP,       WC},
    [MT_WB] = {UC,       WC,       UC, UC, WT,       WP,       WB,       UC},
};
/* clang-format on */

static enum effective native(enum memtype mtrr, enum memtype pat)
{
    assert(memtype_is_pat(mtrr) && mtrr != MT_UC_MINUS && memtype_is_pat(pat));
    return (enum effective)table[mtrr][pat];
}

/* SDM, "EPT and Memory Typing": the leaf takes the MTRR's place; the host's MTRRs do not count. */
static enum effective nested(struct pt_attr leaf, enum memtype pat, enum memtype host)
{
    (void)host;
    return native((enum memtype)leaf.type, leaf.ipat ? MT_WB : pat);
}

const struct type_rules vmx_type_rules = {native, nested, EFFECTIVE_UC};
