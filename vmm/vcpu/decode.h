/*
 * Decodes exactly those x86 instructions that the hypervisor completes in the guest's place: their
 * length, and for accesses to memory also operand and width. Pure: it sees bytes and a mode.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

enum { INSN_MAX_LENGTH = 15, INSN_NO_REG = 0xff, INSN_RIP = 0xfe };

enum insn_op {
    INSN_CPUID,
    INSN_RDMSR,
    INSN_WRMSR,
    INSN_HLT,
    INSN_INVD,
    INSN_WBINVD, /* WBNOINVD too, which writes back no more */
    INSN_XSETBV,
    INSN_VMCALL,      /* 0F 01 C1 */
    INSN_VMMCALL,     /* 0F 01 D9 */
    INSN_MOV_FROM_CR, /* reg = general register, extra = control register: 0, 2, 3, 4, 8 */
    INSN_MOV_TO_CR,
    INSN_MOV_FROM_DR, /* extra = debug register 0 to 7; 4 and 5 are 6 and 7, or #UD by CR4.DE */
    INSN_MOV_TO_DR,
    INSN_CLTS,
    INSN_LMSW, /* register or memory operand of 2 bytes */
    INSN_SMSW, /* register operand of op_size, or memory operand of 2 bytes */
    INSN_IN,   /* IN and OUT: reg = RAX; the port is imm (has_imm) or in DX */
    INSN_OUT,
    INSN_INS, /* string forms: no reg; base, seg and addr_size say where */
    INSN_OUTS,
    INSN_MOV_LOAD,  /* MOV r, m (8A, 8B, A0, A1) */
    INSN_MOV_STORE, /* MOV m, r (88, 89, A2, A3) and MOV m, imm (C6, C7): has_imm, no reg */
    INSN_MOVZX,     /* 0F B6, 0F B7: source width is `width`, destination `op_size` */
    INSN_MOVSX,     /* 0F BE, 0F BF, and MOVSXD 63 in 64-bit mode */
    INSN_STOS,      /* AA, AB: reg = RAX */
    INSN_XCHG,      /* 86, 87: reg and memory */
    INSN_ADD,       /* from here: memory with reg, which to_reg makes the first operand, or imm */
    INSN_SUB,
    INSN_OR,
    INSN_AND,
    INSN_XOR,
    INSN_CMP,
    INSN_TEST,
    INSN_OPS,
};

enum insn_seg { INSN_ES, INSN_CS, INSN_SS, INSN_DS, INSN_FS, INSN_GS };

/* What an instruction does not have is 0, false or INSN_NO_REG. */
struct insn {
    uint8_t op;        /* enum insn_op */
    uint8_t length;    /* bytes, prefixes included: 1 to 15 */
    uint8_t op_size;   /* bytes of the register or immediate operand: 1, 2, 4, 8 */
    uint8_t width;     /* bytes of the memory or port access: 1, 2, 4, 8 */
    uint8_t addr_size; /* bytes: 2, 4, 8; always valid */
    uint8_t reg;       /* general register 0 to 15 of the operand */
    uint8_t extra;     /* control or debug register */
    bool high_byte;    /* reg is AH, CH, DH or BH: bits 15:8 of register reg (0 to 3) */
    bool has_imm;
    bool to_reg;   /* the result goes to reg, or reg comes first in the comparison */
    bool rep;      /* F3 or F2 on INS, OUTS, STOS */
    bool memory;   /* has a memory operand, described by the next five */
    uint8_t seg;   /* enum insn_seg, overrides applied */
    uint8_t base;  /* register 0 to 15, INSN_NO_REG or INSN_RIP (disp counts from the next insn) */
    uint8_t index; /* register 0 to 15 or INSN_NO_REG */
    uint8_t scale; /* 1, 2, 4, 8 */
    int64_t disp;  /* sign-extended; of A0 to A3 the whole address, zero-extended */
    uint64_t imm;  /* the port; or op_size bytes, an imm32 sign-extended where op_size is 8 */
};

/*
 * Decodes the instruction at BYTES (N of them, at most 15) in code of CODE_SIZE bytes (2, 4: by
 * CS.D; 8: 64-bit mode). Returns 0; -ENODATA where N bytes do not hold all of it; -ENOEXEC for any
 * other instruction or form (a LOCK prefix, by which AMD names CR8 outside 64-bit mode, or one
 * longer than 15 bytes included). After an error *OUT is undefined. (SDM, "Instruction Format"; APM
 * volume 3, "Instruction Encoding".)
 */
int insn_decode(const uint8_t *bytes, unsigned n, unsigned code_size, struct insn *out);

/* An instruction that has been decoded. */
struct decoded {
    uint64_t bytes[2]; /* 15, and 0 */
    struct insn insn;
    unsigned code_size; /* 0: none */
};

/*
 * The same of 15 bytes, with a 0 behind them, where KNOWN is what was decoded last: what it says of
 * the same bytes is all there is to say.
 */
static inline int insn_decode_again(struct decoded *known, const uint64_t bytes[2],
                                    unsigned code_size, struct insn *out)
{
    if (known->bytes[0] == bytes[0] && known->bytes[1] == bytes[1] &&
        known->code_size == code_size) {
        *out = known->insn;
        return 0;
    }
    int error = insn_decode((const uint8_t *)bytes, INSN_MAX_LENGTH, code_size, out);
    if (error == 0)
        *known = (struct decoded){{bytes[0], bytes[1]}, *out, code_size};
    return error;
}

/*
 * Whether the instruction at BYTES (N of them, at most 15) is one that no guest has, but for which
 * a CPU that has it may raise #GP, by the CPL or an operand, before the hypervisor can intercept
 * it: 1 or 0; -ENODATA where N bytes do not tell. (APM, "Instruction Intercepts".)
 */
int insn_is_absent(const uint8_t *bytes, unsigned n, unsigned code_size);

/* Whether it writes its memory operand. */
static inline bool insn_writes(const struct insn *insn)
{
    const uint64_t writers = 1ull << INSN_MOV_STORE | 1ull << INSN_STOS | 1ull << INSN_SMSW |
                             1ull << INSN_INS | 1ull << INSN_XCHG | 1ull << INSN_ADD |
                             1ull << INSN_SUB | 1ull << INSN_OR | 1ull << INSN_AND |
                             1ull << INSN_XOR;
    return (writers >> insn->op & 1) != 0 && !insn->to_reg;
}
