/* What the parts of the guest `hostile` share: its arena, its modes, its generator. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Linear and physical addresses of the arena; layout.inc has some of these again. */
enum {
    CODE = 0x20000,    /* one page of slots, an operation each */
    LANDING = 0x21000, /* INT3 everywhere: where far transfers lead, to an offset as their slot's */
    DATA = 0x22000,    /* two pages */
    STACK = 0x30000,   /* 64 KiB and a page: every SP of a 16-bit stack segment is good */
    REAL = 0x50000,    /* handlers of real mode */
    REAL_POOL = 0x1000,
    HOSTILE_START = 0x60000, /* where all STARTUP IPIs lead */
};
/* Operands of LGDT and LIDT in the last slot, behind its UD2. */
enum { GOOD_GDT = CODE + 0xfe4, GOOD_IDT = CODE + 0xfee };
enum { SLOT_SIZE = 32, SLOTS = 128, POOL_ENTRIES = 32, COUNTERS = 33 };

/* By all tables, where random bytes hardly lead: the local APIC's page. */
#define APIC_WINDOW 0x5a5a5000u

/* In the arena's 4-level tables alone, where no 32-bit address leads: the hole at D0000000h. */
#define HOLE_WINDOW 0x5a5a00000000ull

enum family { FAMILY_LONG, FAMILY_LEGACY, FAMILY_REAL };
enum tables { TABLES_4LEVEL, TABLES_PAE, TABLES_32BIT };

/* Selectors; the GDT is in arena.c. */
enum hostile_selector {
    H_CODE64 = 0x08,
    H_FLAT = 0x10,
    H_FLAT32 = 0x18,
    H_USER_CODE64 = 0x20 | 3,
    H_USER_FLAT = 0x28 | 3,
    H_USER_FLAT32 = 0x30 | 3,
    H_TSS64 = 0x38,
    H_TSS32 = 0x48,
    H_CODE16 = 0x50, /* base CODE */
    H_USER_CODE16 = 0x58 | 3,
    H_STACK16 = 0x60, /* base STACK, SP has 16 bits */
    H_USER_STACK16 = 0x68 | 3,
    H_LDT = 0x70,
    H_CONFORMING = 0x80,
    H_EXPAND_DOWN = 0x88,
    H_ABSENT = 0x90,
    H_CALL_GATE = 0x98,
    H_OTHER_TSS = 0xa8, /* an available one, in long mode only */
    H_REAL_DATA = 0xb8,
    H_REAL_CODE = 0xc0,
    H_GDT_SIZE = 0xc8,
};

struct mode {
    const char *name;
    uint8_t family, tables; /* enum family, enum tables */
    uint8_t bits, cpl;
    bool paged, v86;
    bool fragile; /* exceptions are delivered on the stack that the code has */
    uint16_t cs, ss;
};

/* As hostile.asm lays it out: what a resume loads and a handler puts right. */
struct mode_state {
    uint64_t cs, ss, ds, sp, flags, base, cr0, cr3, cr4, efer;
    uint32_t stack_sp, stack_ss;
};

struct real_data {
    uint32_t cr0;
    uint16_t flags, last, stepping, pool_at, sp, ss;
    uint32_t counts[COUNTERS];
} __attribute__((packed));

extern struct mode_state hostile_mode;
extern uint32_t hostile_counts[COUNTERS]; /* exceptions of this run; the last: INT n beyond them */
extern uint64_t hostile_pool[POOL_ENTRIES][16];
extern const char hostile_landing[];

/* arena.c: tables that do not change; then what one mode needs, and what each run in it. */
void arena_init(void);
void arena_set_mode(const struct mode *mode);
void arena_begin(const struct mode *mode, uint64_t flags);

/* Exceptions of a run in real mode, as hostile_counts. */
const uint32_t *arena_real_counts(void);

/* Base of a selector's segment, 0 where it has none. */
uint32_t arena_base(uint16_t selector);

/* generate.c: random numbers, and values that are more often interesting than not. */
void random_seed(uint64_t seed);
uint64_t random64(void);
uint32_t random_below(uint32_t end);
bool one_in(uint32_t n);
uint64_t interesting(void);

/* Emits bytes into the current slot. */
void e8(unsigned byte);
void e16(unsigned value);
void e32(uint64_t value);
void e64(uint64_t value);

/* operations.c: MOV r32, imm32; the prefix that makes an operand 32 bits wide; literal bytes. */
enum reg { AX, CX, DX, BX, SP, BP, SI, DI };
void mov(const struct mode *mode, enum reg reg, uint64_t value);
void operand32(const struct mode *mode);
void bytes(const char *text, unsigned n);

struct code {
    uint8_t n;
    char text[7];
};

/* Fills the slots of the code page with operations for MODE, and counts them in generated[]. */
void generate(const struct mode *mode);

/* Gives a part of the pool of registers other values. */
void generate_registers(void);

enum { MAX_OPERATIONS = 32 };
extern uint64_t generated[MAX_OPERATIONS];

/* operations.c: one function for each kind; SLOT is the number of the slot. */
struct operation {
    const char *name;
    void (*emit)(const struct mode *mode, unsigned slot);
    bool (*fits)(const struct mode *mode); /* NULL: everywhere */
    uint8_t weight;
};
extern const struct operation kinds[];
extern const unsigned kind_count;

/* An MSR that there is or not, and a port that neither ends the machine nor is the console's. */
uint32_t random_msr(void);
uint16_t random_port(void);

/* Whether an instruction that exits may be single-stepped (operations.c, step()). */
bool hostile_can_step_exits(void);

/* interrupts.c: operations on the local APIC, and where they are possible. */
void emit_apic_page(const struct mode *mode, unsigned slot);
void emit_apic_msr(const struct mode *mode, unsigned slot);
void emit_apic_base(const struct mode *mode, unsigned slot);
void emit_deadline(const struct mode *mode, unsigned slot);
void emit_cr8(const struct mode *mode, unsigned slot);
bool fits_apic_page(const struct mode *mode);
bool fits_cr8(const struct mode *mode);

/* A register, the popular ones more often; and a value for it that does more than to be refused. */
unsigned apic_random_register(void);
uint32_t apic_random_value(unsigned reg);

/* A value for ICR with which the VM goes on: an INIT resets it where it reaches the boot CPU. */
uint64_t apic_tame(uint64_t value);

/* Gives the local APIC a state in which a run begins. */
void apic_begin(void);

/* Whether a write of CR8 while an interrupt waits leaves the machine alive. */
bool hostile_can_write_cr8(void);

/* bytes.c: an instruction of random bytes that the arena can bear. */
void emit_random_bytes(const struct mode *mode, unsigned slot);

/*
 * others.c: the other CPUs, if there are any, begin; they are started or woken if they wait for
 * that; what came of them as a test case, which needs some, and as a line for each.
 */
const char *needs_others(void);
void others_begin(void);
void others_start(void);
void others_judge(void);
void others_report(void);
