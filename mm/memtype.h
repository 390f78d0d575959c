/* Memory types and PATs: names, the host's own PAT, and what a PAT may hold. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

/*
 * IA32_PAT of every host CPU (SDM, "IA32_PAT MSR"): slots 0 to 3 keep the reset values WB, WT, UC-,
 * UC, which SMM and the trampoline expect; 4 is WC, 5 WP, 6 UC-, 7 UC.
 */
#define HOST_PAT 0x0007050100070406ull
/* IA32_PAT after a reset. */
#define PAT_RESET 0x0007040600070406ull

/* "UC", "WC", "WT", "WP", "WB", "UC-"; "?" for any other number. */
const char *memtype_name(unsigned type);

/* True for the encodings that a PAT slot may hold: every enum memtype. */
bool memtype_is_pat(unsigned type);

/* Slot 0 to 7 of PAT: the type it gives. The PAT must be legal. */
enum memtype pat_type(uint64_t pat, unsigned slot);

/* False where WRMSR of IA32_PAT raises #GP: a byte that is 2, 3 or above 7. */
bool pat_is_legal(uint64_t pat);

/* The lowest slot of HOST_PAT that gives TYPE. */
unsigned host_pat_slot(enum memtype type);
