/* The MTRRs of one CPU as registers: their values, and which writes are legal. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

enum { MTRR_VARIABLE = 8, MTRR_FIXED = 11 };

/* IA32_MTRRCAP as guests see it: 8 variable pairs, fixed ranges (bit 8), WC (bit 10). */
#define MTRR_GUEST_CAP 0x508ull

#define MTRR_DEF_E  (1ull << 11)
#define MTRR_DEF_FE (1ull << 10)
#define MTRR_MASK_V (1ull << 11)

struct mtrr_pair {
    uint64_t base, mask;
};

struct mtrr_state {
    uint64_t def_type;
    struct mtrr_pair variable[MTRR_VARIABLE];
    uint64_t fixed[MTRR_FIXED]; /* FIX64K, FIX16K_0, FIX16K_1, FIX4K_0 to FIX4K_7 */
    uint8_t phys_bits;          /* MAXPHYADDR: bits above it are reserved */
};

/*
 * The values that firmware leaves on a running machine: E and FE set, default WB, UC over
 * A0000-BFFFF and over the hole C0000000-FFFFFFFF.
 */
void mtrr_reset_firmware(struct mtrr_state *state, unsigned phys_bits);

/* True where MSR is one of the MTRRs, MTRRCAP included. */
bool mtrr_is_msr(uint32_t msr);

/* Reads an MTRR; the MSR must be one. */
uint64_t mtrr_read(const struct mtrr_state *state, uint32_t msr);

/*
 * Writes an MTRR; the MSR must be one. False: the manual says #GP (SDM, "Memory Type Range
 * Registers"): a type that is not 0, 1, 4, 5 or 6, a reserved bit, or a write of MTRRCAP.
 */
bool mtrr_write(struct mtrr_state *state, uint32_t msr, uint64_t value);
