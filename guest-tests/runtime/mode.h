/* Code run in any mode of the CPU: by way of 32-bit mode without paging there and back. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "guest-tests/runtime/fault.h"

/*
 * Low memory, where real mode reaches it: the code (CS in real and virtual-8086 mode, the base of
 * 16-bit code), data (the base of DS, ES and FS below 64-bit mode, of FS in it), and a page that
 * the paged modes below map to the hole for virtual-8086 code. Elsewhere linear addresses are
 * physical. GS has base 0 and a limit of 4 GiB but in real and virtual-8086 mode.
 */
enum { LOW = 0x20000, LOW_DATA = 0x30000, LOW_HOLE = 0x40000, LOW_SIZE = 0x10000 };

#define MODE_HOLE 0xc0000000u

enum { MODE_CODE = 0x4000 }; /* where in LOW code is put that may lie anywhere */

enum mode_kind { MODE_32, MODE_16, MODE_64, MODE_REAL, MODE_BIG_REAL, MODE_V86, MODE_USER };

struct mode {
    const char *name;
    enum mode_kind kind;
    unsigned bits;                /* of its code: 16, 32, 64 */
    uint64_t cr0, cr3, cr4, efer; /* CR0 and EFER: bits beside PE, ET, NE and SCE */
    bool based; /* MODE_32: CS begins behind the first instruction, so that EIP wraps */
};

/* The selector of an expand-down segment at LOW_DATA: its offsets are EXPAND_DOWN to FFFFh. */
enum { SEL_EXPAND_DOWN = 0x60, EXPAND_DOWN = 0x1000 };

/* The selector of a segment of 4 GiB that begins at WRAP_BASE and goes on at 0. */
enum { SEL_WRAPS = 0x68, WRAP_BASE = 0x1000 };

/* A port that TSS and bitmap deny to code of CPL 3 and virtual-8086 mode, which have all others. */
enum { MODE_DENIED_PORT = 0x590 };

/* Puts the block in its place and makes its tables; before anything else here. */
void mode_init(void);

/* The linear address of the descriptor of the TSS that modes without paging begin with. */
uint32_t mode_tss(void);

/* A piece of code as 16-bit, 32-bit and 64-bit code: made by mode.inc, ends with UD2. */
struct mode_code {
    const void *code[3];
    uint32_t size[3], first; /* FIRST: of the first instruction; 0: there is only one */
};

/*
 * Runs CODE in MODE at offset AT of LOW, with REGISTERS (all but RSP; below 64-bit mode their low
 * halves). Returns what ended it, with RIP from the code's start, of 16 bits in real mode;
 * FAULT_NONE for the #UD of its end.
 */
struct fault mode_run(const struct mode *mode, const struct mode_code *code, uint32_t at,
                      struct registers *registers);

/* How far behind the start of CODE its UD2 lies. */
uint64_t mode_length(const struct mode *mode, const struct mode_code *code);

/* Tables for struct mode: 32-bit paging by 4 KiB and with PSE, PAE, and 5 levels. */
extern uint32_t mode_directory_4k[1024], mode_directory_pse[1024];
extern uint64_t mode_pdpt[4], mode_pml5[512];

/* The CR3 of those tables that fit MODE's CR4 and EFER. */
uint64_t mode_tables(const struct mode *mode);
