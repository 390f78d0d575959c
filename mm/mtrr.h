/* The MTRRs of one CPU: their values, which writes are legal, and the type that they give. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

/* Variable pairs of a guest; the most of a host that are read; fixed-range registers. */
enum { MTRR_VARIABLE = 8, MTRR_MAX_VARIABLE = 16, MTRR_FIXED = 11 };

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
    struct mtrr_pair variable[MTRR_MAX_VARIABLE];
    uint64_t fixed[MTRR_FIXED]; /* FIX64K, FIX16K_0, FIX16K_1, FIX4K_0 to FIX4K_7 */
    uint64_t default_wb_end;    /* from 4 GiB to here the default is WB (APM, "SYSCFG": where
                                   Tom2ForceMemTypeWB is set, TOP_MEM2); 0 in guests */
    uint8_t count;              /* variable pairs that exist */
    uint8_t phys_bits;          /* MAXPHYADDR: bits above it are reserved */
};

/* What decided a type. */
enum mtrr_rule {
    MTRR_RULE_DISABLED,  /* MTRRdefType.E is 0: UC */
    MTRR_RULE_FIXED,     /* a fixed range */
    MTRR_RULE_VARIABLE,  /* one variable range, or several of one type */
    MTRR_RULE_UC_WINS,   /* several, UC among them */
    MTRR_RULE_WT_WB,     /* several, WT and WB: WT */
    MTRR_RULE_UNDEFINED, /* any other mix, undefined by the manuals: undefined-is-uc */
    MTRR_RULE_DEFAULT,   /* MTRRdefType.Type, or WB by default_wb_end */
    MTRR_RULES,
};

struct mtrr_answer {
    uint8_t type;  /* enum memtype, never UC- */
    uint8_t rule;  /* enum mtrr_rule */
    uint64_t next; /* first address above the one asked for where it may stop holding; UINT64_MAX:
                      none */
};

/*
 * The type of the byte at ADDRESS, below 2^phys_bits or not, and where that stops holding: the
 * answer is the same for every byte from ADDRESS to NEXT-1. It costs the same however long that is.
 * (SDM, "MTRR Precedences" and "Memory Type Range Registers"; APM, "MTRR Type Fields and
 * Overlap".)
 */
struct mtrr_answer mtrr_type(const struct mtrr_state *state, uint64_t address);

/* What the fixed range of ADDRESS, below 1 MiB, says, whether it counts or not. */
struct mtrr_answer mtrr_fixed_type(const struct mtrr_state *state, uint64_t address);

/* "disabled", "fixed", "variable", "uc-wins", "wt-wb", "undefined-is-uc", "default". */
const char *mtrr_rule_name(unsigned rule);

/*
 * The values that firmware leaves on a running machine: E and FE set, default WB, UC over
 * A0000-BFFFF and over the hole C0000000-FFFFFFFF.
 */
void mtrr_reset_firmware(struct mtrr_state *state, unsigned phys_bits);

/* The manuals' values after a reset: E clear, and all else 0 (SDM, "MTRR Initialization"). */
void mtrr_reset(struct mtrr_state *state, unsigned phys_bits);

/* True where MSR is one of the MTRRs, MTRRCAP included. */
bool mtrr_is_msr(uint32_t msr);

/* Reads an MTRR; the MSR must be one. */
uint64_t mtrr_read(const struct mtrr_state *state, uint32_t msr);

/* What a write of an MTRR did; MTRR_REFUSED, which alone is false: the manual says #GP. */
enum mtrr_written { MTRR_REFUSED, MTRR_SAME, MTRR_CHANGED };

/*
 * Writes an MTRR; the MSR must be one. Refused (SDM, "Memory Type Range Registers"): a type that is
 * not 0, 1, 4, 5 or 6, a reserved bit, or a write of MTRRCAP.
 */
enum mtrr_written mtrr_write(struct mtrr_state *state, uint32_t msr, uint64_t value);
