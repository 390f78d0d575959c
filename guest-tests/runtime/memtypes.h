/*
 * Memory types as the manuals have them, and how to ask the hypervisor for them: its tables stand
 * here once more, so that tests compare two readings.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/abi.h"

enum { TYPES = 5, PATS = 6, PAIRS = 8, FIXED = 11 };
enum { DEF_FE = 1 << 10, DEF_E = 1 << 11, MASK_V = 1 << 11 };

/* Effective types, as the oracle counts them: UC, CD, WC, WC+, WT, WP, WB. */
enum { UC, CD, WC, WCP, WT, WP, WB };

/* In the order of the tables. */
extern const uint8_t mtrr_types[TYPES], pat_types[PATS];

/* The MSRs of the fixed ranges, rising. */
extern const uint32_t fixed_msrs[FIXED];

/* Place of TYPE among COUNT of TYPES. */
unsigned index_of(const uint8_t *types, unsigned count, unsigned type);

/* The effective type on this vendor's bare machine, by places in mtrr_types and pat_types. */
unsigned native(unsigned mtrr, unsigned pat);

/* The cells where AMD's nested paging gives CD for UC, or WC+ for WC: more snooping, same class. */
bool snoops_more(unsigned mtrr, unsigned pat);

/* What the oracle must say: bare metal's type, but for the cells that snoop more. */
unsigned expected(unsigned mtrr, unsigned pat);

/* The name of an effective type. */
const char *type_name(unsigned effective);

/* The name of a type as MTRRs and PATs encode it. */
const char *encoded_name(unsigned type);

/* MTRRs as a guest has written them. */
struct mtrrs {
    uint64_t def_type, pair[2 * PAIRS], fixed[FIXED];
};

void mtrrs_read(struct mtrrs *mtrrs);
/* Base, mask and fixed ranges first, then MTRRdefType. */
void mtrrs_write(const struct mtrrs *mtrrs);
/* The same as systems do it while they run: with the caches and the MTRRs off. */
void mtrrs_update(const struct mtrrs *mtrrs);

/* What an MTRR at INDEX is called and where it stands: pairs, fixed ranges, MTRRdefType. */
enum { MTRRS = 2 * PAIRS + FIXED + 1 };
uint64_t *mtrrs_at(struct mtrrs *mtrrs, unsigned index, uint32_t *msr);

/* The type of the byte at AT by these MTRRs, one by one as the manuals say, and which rule gave it
 * (enum mtrr_rule). */
unsigned mtrrs_type(const struct mtrrs *mtrrs, uint64_t at, unsigned *rule);

/* Bits 12 to MAXPHYADDR-1. */
uint64_t address_mask(void);

/* A hypercall of the oracle. */
int64_t oracle_ask(uint64_t number, uint64_t where, uint64_t what, struct type_answer *answer);
