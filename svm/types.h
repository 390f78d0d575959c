/* Effective memory types on AMD's CPUs. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/effective.h"

extern const struct type_rules svm_type_rules;

/* A PAT type as two PATs combine to: one more than a PAT can hold. */
enum combined_pat {
    COMBINED_UC = MT_UC,
    COMBINED_WC = MT_WC,
    COMBINED_WT = MT_WT,
    COMBINED_WP = MT_WP,
    COMBINED_WB = MT_WB,
    COMBINED_UC_MINUS = MT_UC_MINUS,
    COMBINED_WC_PLUS = MT_UC_MINUS + 1,
};

/* APM, "Combining Guest and Host PAT Types". */
enum combined_pat svm_combine_pats(enum memtype guest, enum memtype nested);

/* APM, "Combining PAT and MTRR Types". */
enum effective svm_combine_mtrr(enum combined_pat pat, enum memtype mtrr);
