/* The machine's own memory types: reads its MTRRs and judges what the firmware made of them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/extents.h"
#include "mm/memmap.h"
#include "mm/mtrr.h"

/* Reads an MSR; false: the CPU does not have it. */
typedef bool host_msr_reader(uint32_t msr, uint64_t *value);

/* Bits of SYSCFG (APM, "System Configuration Register (SYSCFG)"). */
#define SYSCFG_FIX_DRAM_MOD_EN (1ull << 19)
#define SYSCFG_TOM2_EN         (1ull << 21)
#define SYSCFG_TOM2_FORCE_WB   (1ull << 22)

/*
 * Fills STATE with the running CPU's MTRRs through READ; without MTRRs it says E = 0. SYSCFG and
 * TOP_MEM2 are taken in where the CPU has them. Returns SYSCFG, or 0. (SDM, "IA32_MTRRCAP Register"
 * and those after it; SMRRs type nothing but SMM's memory and are no MTRRs.)
 */
uint64_t host_types_read(host_msr_reader *read, unsigned phys_bits, struct mtrr_state *state);

/* Writes an MSR that the CPU has. */
typedef void host_msr_writer(uint32_t msr, uint64_t value);

/*
 * Gives the running CPU the MTRRs of STATE, as host_types_read() has them of another CPU of the
 * machine, while nothing is cached and no translation kept: what SDM, "MTRR Considerations in MP
 * Systems", has around it is the caller's.
 */
void host_types_write(host_msr_writer *write, const struct mtrr_state *state);

/* True where both say the same. */
bool host_types_equal(const struct mtrr_state *a, const struct mtrr_state *b);

/*
 * Logs a warning for each run of RAM in MAP that is not WB, for each range where MTRRs overlap in a
 * way that the manuals leave undefined, and for bits that the firmware should have closed.
 */
void host_types_judge(const struct mtrr_state *state, uint64_t syscfg, const struct memmap *map);

/* Logs a warning where a device's registers at AT are of a cacheable type. NAME: of the device. */
void host_types_judge_bar(const struct mtrr_state *state, uint64_t at, const char *name);

/*
 * Takes out of POOL what is not WB. Returns 0, or -E2BIG, logged, where that leaves too many
 * pieces.
 */
int host_types_keep_wb(const struct mtrr_state *state, struct extents *pool);
