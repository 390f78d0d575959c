/* Effective memory types on AMD's CPUs, with and without NPT, as the APM's tables have them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "svm/types.h"

#include "lib/assert.h"
#include "mm/memtype.h"

enum { PATS = MT_UC_MINUS + 1, COMBINED = COMBINED_WC_PLUS + 1 };

/* Short names, for the tables alone. */
enum { UC = EFFECTIVE_UC, CD = EFFECTIVE_CD, WC = EFFECTIVE_WC, WCP = EFFECTIVE_WC_PLUS };
enum { WT = EFFECTIVE_WT, WP = EFFECTIVE_WP, WB = EFFECTIVE_WB };
enum { U = COMBINED_UC, C = COMBINED_WC, T = COMBINED_WT, P = COMBINED_WP, B = COMBINED_WB };
enum { M = COMBINED_UC_MINUS, X = COMBINED_WC_PLUS };

/* clang-format off */
static const uint8_t pats[PATS][PATS] = {
    /* nested:       UC WC 2  3  WT WP WB UC- */
    [MT_UC]       = {U, U, U, U, U, U, U, U},
    [MT_WC]       = {C, C, U, U, X, X, X, C},
    [MT_WT]       = {U, U, U, U, T, U, T, U},
    [MT_WP]       = {U, U, U, U, U, P, P, U},
    [MT_WB]       = {U, C, U, U, T, P, B, U},
    [MT_UC_MINUS] = {U, C, U, U, U, U, U, M},
};

static const uint8_t mtrrs[COMBINED][MT_WB + 1] = {
    /* MTRR:               UC  WC   2   3   WT   WP   WB */
    [COMBINED_UC]       = {UC, CD,  UC, UC, CD,  CD,  CD},
    [COMBINED_WC]       = {WC, WC,  UC, UC, WC,  WC,  WC},
    [COMBINED_WT]       = {UC, CD,  UC, UC, WT,  CD,  WT},
    [COMBINED_WP]       = {UC, CD,  UC, UC, CD,  WP,  WP},
    [COMBINED_WB]       = {UC, WC,  UC, UC, WT,  WP,  WB},
    [COMBINED_UC_MINUS] = {UC, WC,  UC, UC, CD,  CD,  CD},
    [COMBINED_WC_PLUS]  = {WC, WC,  UC, UC, WCP, WCP, WCP},
};
/* clang-format on */

enum combined_pat svm_combine_pats(enum memtype guest, enum memtype nested)
{
    assert(memtype_is_pat(guest) && memtype_is_pat(nested));
    return (enum combined_pat)pats[guest][nested];
}

enum effective svm_combine_mtrr(enum combined_pat pat, enum memtype mtrr)
{
    assert((pat == COMBINED_WC_PLUS || memtype_is_pat(pat)) && memtype_is_pat(mtrr) &&
           mtrr != MT_UC_MINUS);
    return (enum effective)mtrrs[pat][mtrr];
}

/* APM, "Combined Effect of MTRRs and PAT": as the second half of the nested case. */
static enum effective native(enum memtype mtrr, enum memtype pat)
{
    return svm_combine_mtrr((enum combined_pat)pat, mtrr);
}

/* APM, "Nested Paging: Combining Memory Types, MTRRs". */
static enum effective nested(struct pt_attr leaf, enum memtype pat, enum memtype host)
{
    return svm_combine_mtrr(svm_combine_pats(pat, (enum memtype)leaf.type), host);
}

const struct type_rules svm_type_rules = {native, nested, EFFECTIVE_CD};
