/* The instruction decoder: prefixes, two opcode tables, and one function per operand form. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/vcpu/decode.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/string.h"

enum { REX_B = 1, REX_X = 2, REX_R = 4, REX_W = 8 };

enum { REG_AX = 0, REG_BX = 3, REG_SP = 4, REG_BP = 5, REG_SI = 6, REG_DI = 7 };

/* How an opcode's operands are encoded; 0 is what this decoder does not take. */
enum form {
    FORM_UNKNOWN,
    FORM_PLAIN,    /* none */
    FORM_ESCAPE,   /* a second byte of opcode follows */
    FORM_CONTROL,  /* ModRM: reg is a control register, r/m a general one whatever mod says */
    FORM_DEBUG,    /* the same with a debug register */
    FORM_GROUP7,   /* 0F 01, more opcode in ModRM */
    FORM_PORT_IMM, /* rAX and a port in an immediate byte */
    FORM_PORT_DX,  /* rAX and a port in DX */
    FORM_STRING,   /* at rSI or rDI */
    FORM_MODRM,    /* ModRM: memory and a register */
    FORM_TO_REG,   /* the same, with the register as the first operand */
    FORM_MOVSXD,   /* the same, in 64-bit mode alone */
    FORM_IMM,      /* ModRM: memory and an immediate; reg is 0 */
    FORM_GROUP1,   /* the same, reg is more opcode */
    FORM_GROUP1_8, /* the same with a byte that is sign-extended */
    FORM_MOFFS,    /* rAX and an absolute address */
};

struct opcode {
    uint8_t form;  /* enum form */
    uint8_t op;    /* enum insn_op */
    uint8_t width; /* bytes of the access; 0: the operand size */
    uint8_t dest;  /* bytes of the register operand; 0: the operand size */
};

static const struct opcode one_byte[256] = {
    [0x00] = {FORM_MODRM, INSN_ADD, 1, 1},
    [0x01] = {FORM_MODRM, INSN_ADD, 0, 0},
    [0x02] = {FORM_TO_REG, INSN_ADD, 1, 1},
    [0x03] = {FORM_TO_REG, INSN_ADD, 0, 0},
    [0x08] = {FORM_MODRM, INSN_OR, 1, 1},
    [0x09] = {FORM_MODRM, INSN_OR, 0, 0},
    [0x0a] = {FORM_TO_REG, INSN_OR, 1, 1},
    [0x0b] = {FORM_TO_REG, INSN_OR, 0, 0},
    [0x0f] = {FORM_ESCAPE, 0, 0, 0},
    [0x20] = {FORM_MODRM, INSN_AND, 1, 1},
    [0x21] = {FORM_MODRM, INSN_AND, 0, 0},
    [0x22] = {FORM_TO_REG, INSN_AND, 1, 1},
    [0x23] = {FORM_TO_REG, INSN_AND, 0, 0},
    [0x28] = {FORM_MODRM, INSN_SUB, 1, 1},
    [0x29] = {FORM_MODRM, INSN_SUB, 0, 0},
    [0x2a] = {FORM_TO_REG, INSN_SUB, 1, 1},
    [0x2b] = {FORM_TO_REG, INSN_SUB, 0, 0},
    [0x30] = {FORM_MODRM, INSN_XOR, 1, 1},
    [0x31] = {FORM_MODRM, INSN_XOR, 0, 0},
    [0x32] = {FORM_TO_REG, INSN_XOR, 1, 1},
    [0x33] = {FORM_TO_REG, INSN_XOR, 0, 0},
    [0x38] = {FORM_MODRM, INSN_CMP, 1, 1},
    [0x39] = {FORM_MODRM, INSN_CMP, 0, 0},
    [0x3a] = {FORM_TO_REG, INSN_CMP, 1, 1},
    [0x3b] = {FORM_TO_REG, INSN_CMP, 0, 0},
    [0x63] = {FORM_MOVSXD, INSN_MOVSX, 4, 0},
    [0x6c] = {FORM_STRING, INSN_INS, 1, 1},
    [0x6d] = {FORM_STRING, INSN_INS, 0, 0},
    [0x6e] = {FORM_STRING, INSN_OUTS, 1, 1},
    [0x6f] = {FORM_STRING, INSN_OUTS, 0, 0},
    [0x80] = {FORM_GROUP1, 0, 1, 1},
    [0x81] = {FORM_GROUP1, 0, 0, 0},
    [0x83] = {FORM_GROUP1_8, 0, 0, 0},
    [0x84] = {FORM_MODRM, INSN_TEST, 1, 1},
    [0x85] = {FORM_MODRM, INSN_TEST, 0, 0},
    [0x86] = {FORM_MODRM, INSN_XCHG, 1, 1},
    [0x87] = {FORM_MODRM, INSN_XCHG, 0, 0},
    [0x88] = {FORM_MODRM, INSN_MOV_STORE, 1, 1},
    [0x89] = {FORM_MODRM, INSN_MOV_STORE, 0, 0},
    [0x8a] = {FORM_MODRM, INSN_MOV_LOAD, 1, 1},
    [0x8b] = {FORM_MODRM, INSN_MOV_LOAD, 0, 0},
    [0xa0] = {FORM_MOFFS, INSN_MOV_LOAD, 1, 1},
    [0xa1] = {FORM_MOFFS, INSN_MOV_LOAD, 0, 0},
    [0xa2] = {FORM_MOFFS, INSN_MOV_STORE, 1, 1},
    [0xa3] = {FORM_MOFFS, INSN_MOV_STORE, 0, 0},
    [0xaa] = {FORM_STRING, INSN_STOS, 1, 1},
    [0xab] = {FORM_STRING, INSN_STOS, 0, 0},
    [0xc6] = {FORM_IMM, INSN_MOV_STORE, 1, 1},
    [0xc7] = {FORM_IMM, INSN_MOV_STORE, 0, 0},
    [0xe4] = {FORM_PORT_IMM, INSN_IN, 1, 1},
    [0xe5] = {FORM_PORT_IMM, INSN_IN, 0, 0},
    [0xe6] = {FORM_PORT_IMM, INSN_OUT, 1, 1},
    [0xe7] = {FORM_PORT_IMM, INSN_OUT, 0, 0},
    [0xec] = {FORM_PORT_DX, INSN_IN, 1, 1},
    [0xed] = {FORM_PORT_DX, INSN_IN, 0, 0},
    [0xee] = {FORM_PORT_DX, INSN_OUT, 1, 1},
    [0xef] = {FORM_PORT_DX, INSN_OUT, 0, 0},
    [0xf4] = {FORM_PLAIN, INSN_HLT, 0, 0},
    [0xf6] = {FORM_IMM, INSN_TEST, 1, 1},
    [0xf7] = {FORM_IMM, INSN_TEST, 0, 0},
};

static const struct opcode two_byte[256] = {
    [0x01] = {FORM_GROUP7, 0, 0, 0},
    [0x06] = {FORM_PLAIN, INSN_CLTS, 0, 0},
    [0x08] = {FORM_PLAIN, INSN_INVD, 0, 0},
    [0x09] = {FORM_PLAIN, INSN_WBINVD, 0, 0},
    [0x20] = {FORM_CONTROL, INSN_MOV_FROM_CR, 0, 0},
    [0x21] = {FORM_DEBUG, INSN_MOV_FROM_DR, 0, 0},
    [0x22] = {FORM_CONTROL, INSN_MOV_TO_CR, 0, 0},
    [0x23] = {FORM_DEBUG, INSN_MOV_TO_DR, 0, 0},
    [0x30] = {FORM_PLAIN, INSN_WRMSR, 0, 0},
    [0x32] = {FORM_PLAIN, INSN_RDMSR, 0, 0},
    [0xa2] = {FORM_PLAIN, INSN_CPUID, 0, 0},
    [0xb6] = {FORM_MODRM, INSN_MOVZX, 1, 0},
    [0xb7] = {FORM_MODRM, INSN_MOVZX, 2, 0},
    [0xbe] = {FORM_MODRM, INSN_MOVSX, 1, 0},
    [0xbf] = {FORM_MODRM, INSN_MOVSX, 2, 0},
};

/* Where decoding stands, and what the prefixes said. */
struct cursor {
    const uint8_t *bytes;
    unsigned n, at;
    bool truncated; /* a byte beyond the last was asked for, and read as 0 */
    bool prefix_66, prefix_67, prefix_rep;
    uint8_t code_size;
    uint8_t rex; /* 40 to 4F, or 0: none */
    uint8_t seg; /* enum insn_seg, or INSN_NO_REG: no override */
};

static inline uint8_t next_byte(struct cursor *c)
{
    if (c->at == c->n) {
        c->truncated = true;
        return 0;
    }
    return c->bytes[c->at++];
}

/* The next SIZE bytes (0 to 8), little-endian; mostly there are 4, and more behind them. */
static inline uint64_t next_bytes(struct cursor *c, unsigned size)
{
    uint64_t value = 0;
    if (size == sizeof(uint32_t) && c->n - c->at >= size) {
        memcpy(&value, &c->bytes[c->at], sizeof(uint32_t));
        c->at += size;
        return value;
    }
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)next_byte(c) << (8 * i);
    return value;
}

static int64_t next_signed(struct cursor *c, unsigned size)
{
    if (size == 0)
        return 0;
    uint64_t sign = 1ull << (8 * size - 1);
    return (int64_t)((next_bytes(c, size) ^ sign) - sign);
}

/*
 * Takes note of B if it is a prefix; any but REX makes a REX before it void. LOCK is no prefix
 * here: nothing is decoded with it. Apart, so that code without prefixes does not pay for them.
 */
static __attribute__((noinline)) bool take_prefix(struct cursor *c, uint8_t b)
{
    if (c->code_size == 8 && (b & 0xf0) == 0x40) {
        c->rex = b;
        return true;
    }
    switch (b) {
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
        if (c->code_size != 8)
            c->seg = b >> 3 & 3;
        break;
    case 0x64:
    case 0x65:
        c->seg = b == 0x64 ? INSN_FS : INSN_GS;
        break;
    case 0x66:
        c->prefix_66 = true;
        break;
    case 0x67:
        c->prefix_67 = true;
        break;
    case 0xf2:
    case 0xf3:
        c->prefix_rep = true;
        break;
    default:
        return false;
    }
    c->rex = 0;
    return true;
}

static const struct opcode *next_opcode(struct cursor *c)
{
    uint8_t byte = next_byte(c);
    while (one_byte[byte].form == FORM_UNKNOWN && take_prefix(c, byte))
        byte = next_byte(c);
    return one_byte[byte].form == FORM_ESCAPE ? &two_byte[next_byte(c)] : &one_byte[byte];
}

static uint8_t operand_size(const struct cursor *c)
{
    if (c->rex & REX_W)
        return 8;
    return (c->code_size == 2) != c->prefix_66 ? 2 : 4;
}

static inline uint8_t address_size(const struct cursor *c)
{
    if (!c->prefix_67)
        return c->code_size;
    return c->code_size == 4 ? 2 : 4;
}

static uint8_t modrm_mod(uint8_t modrm)
{
    return modrm >> 6;
}

static uint8_t modrm_reg(const struct cursor *c, uint8_t modrm)
{
    return (uint8_t)((modrm >> 3 & 7) | (c->rex & REX_R ? 8 : 0));
}

static uint8_t modrm_rm(const struct cursor *c, uint8_t modrm)
{
    return (uint8_t)((modrm & 7) | (c->rex & REX_B ? 8 : 0));
}

static void memory_at(const struct cursor *c, uint8_t base, uint8_t default_seg, struct insn *out)
{
    out->memory = true;
    out->base = base;
    out->scale = 1;
    out->seg = c->seg == INSN_NO_REG ? default_seg : c->seg;
}

/* SDM, "16-Bit Addressing Forms with the ModR/M Byte". */
static void memory_16(struct cursor *c, uint8_t modrm, struct insn *out)
{
    static const uint8_t bases[8] = {REG_BX, REG_BX, REG_BP, REG_BP,
                                     REG_SI, REG_DI, REG_BP, REG_BX};
    uint8_t mod = modrm_mod(modrm), rm = modrm & 7;
    bool absolute = mod == 0 && rm == 6;
    uint8_t base = absolute ? INSN_NO_REG : bases[rm];
    memory_at(c, base, base == REG_BP ? INSN_SS : INSN_DS, out);
    if (rm < 4)
        out->index = rm & 1 ? REG_DI : REG_SI;
    out->disp = next_signed(c, absolute ? 2 : mod);
}

/* SDM, "32-Bit Addressing Forms with the ModR/M Byte" and "... with the SIB Byte". */
static void memory_32(struct cursor *c, uint8_t modrm, struct insn *out)
{
    uint8_t mod = modrm_mod(modrm);
    bool has_sib = (modrm & 7) == REG_SP;
    uint8_t sib = has_sib ? next_byte(c) : modrm;
    uint8_t base = modrm_rm(c, sib);
    bool no_base = mod == 0 && (sib & 7) == REG_BP;
    if (no_base)
        base = !has_sib && c->code_size == 8 ? INSN_RIP : INSN_NO_REG;
    memory_at(c, base, base == REG_SP || base == REG_BP ? INSN_SS : INSN_DS, out);
    if (has_sib) {
        uint8_t index = (uint8_t)((sib >> 3 & 7) | (c->rex & REX_X ? 8 : 0));
        if (index != REG_SP) {
            out->index = index;
            out->scale = (uint8_t)(1 << (sib >> 6));
        }
    }
    out->disp = next_signed(c, mod == 1 ? 1 : mod == 2 || no_base ? 4 : 0);
}

static int decode_memory(struct cursor *c, uint8_t modrm, struct insn *out)
{
    if (modrm_mod(modrm) == 3)
        return -ENOEXEC;
    if (out->addr_size == 2)
        memory_16(c, modrm, out);
    else
        memory_32(c, modrm, out);
    return 0;
}

static int decode_control(struct cursor *c, unsigned legal, struct insn *out)
{
    uint8_t modrm = next_byte(c);
    out->op_size = c->code_size == 8 ? 8 : 4;
    out->reg = modrm_rm(c, modrm);
    out->extra = modrm_reg(c, modrm);
    return legal >> out->extra & 1 ? 0 : -ENOEXEC;
}

static int decode_msw(struct cursor *c, uint8_t modrm, struct insn *out)
{
    out->op = (modrm >> 3 & 7) == 6 ? INSN_LMSW : INSN_SMSW;
    out->op_size = 2;
    if (modrm_mod(modrm) == 3) {
        if (out->op == INSN_SMSW)
            out->op_size = operand_size(c);
        out->reg = modrm_rm(c, modrm);
        return 0;
    }
    out->width = 2;
    return decode_memory(c, modrm, out);
}

/*
 * The operation of 0F 01 MODRM where that byte is nothing but more opcode, else -ENOEXEC. (SDM,
 * "Opcode Extensions for One- and Two-byte Opcodes by Group Number".)
 */
static inline int group7_op(uint8_t modrm)
{
    switch (modrm) {
    case 0xc1:
        return INSN_VMCALL;
    case 0xd1:
        return INSN_XSETBV;
    case 0xd9:
        return INSN_VMMCALL;
    default:
        return -ENOEXEC;
    }
}

static int decode_group7(struct cursor *c, struct insn *out)
{
    uint8_t modrm = next_byte(c);
    int op = group7_op(modrm);
    if (op < 0)
        return (modrm >> 3 & 5) == 4 ? decode_msw(c, modrm, out) : -ENOEXEC;
    out->op = (uint8_t)op;
    /* F2 and F3 make VMMCALL the VMGEXIT that is VMMCALL but in SEV-ES guests. The others are #UD.
     */
    bool undefined = op != INSN_VMMCALL && (c->prefix_66 || c->prefix_rep);
    return undefined ? -ENOEXEC : 0;
}

static int decode_port(struct cursor *c, bool immediate, struct insn *out)
{
    /* Ports are at most 4 bytes wide: REX.W only undoes a 66 prefix. */
    if (out->width == 8)
        out->width = out->op_size = 4;
    out->reg = REG_AX;
    out->has_imm = immediate;
    if (immediate)
        out->imm = next_byte(c);
    return 0;
}

static int decode_string(const struct cursor *c, struct insn *out)
{
    if (out->op == INSN_STOS)
        out->reg = REG_AX;
    else if (out->width == 8)
        out->width = out->op_size = 4;
    out->rep = c->prefix_rep;
    if (out->op == INSN_OUTS) {
        memory_at(c, REG_SI, INSN_DS, out);
    } else {
        memory_at(c, REG_DI, INSN_ES, out);
        out->seg = INSN_ES; /* no prefix overrides it */
    }
    return 0;
}

static int decode_modrm(struct cursor *c, struct insn *out)
{
    uint8_t modrm = next_byte(c);
    out->reg = modrm_reg(c, modrm);
    if (out->op_size == 1 && c->rex == 0 && out->reg >= 4) {
        out->high_byte = true;
        out->reg -= 4;
    }
    return decode_memory(c, modrm, out);
}

static int decode_movsxd(struct cursor *c, struct insn *out)
{
    if (c->code_size != 8)
        return -ENOEXEC; /* ARPL */
    if (out->op_size == 2)
        out->width = 2;
    return decode_modrm(c, out);
}

static int decode_immediate(struct cursor *c, struct insn *out)
{
    uint8_t modrm = next_byte(c);
    if ((modrm >> 3 & 7) != 0)
        return -ENOEXEC;
    int err = decode_memory(c, modrm, out);
    out->has_imm = true;
    out->imm = out->op_size == 8 ? (uint64_t)next_signed(c, 4) : next_bytes(c, out->op_size);
    return err;
}

/* SDM, "Opcode Extensions for One- and Two-byte Opcodes by Group Number": group 1. */
static int decode_group1(struct cursor *c, unsigned imm_size, struct insn *out)
{
    static const uint8_t ops[8] = {INSN_ADD, INSN_OR, 0, 0, INSN_AND, INSN_SUB, INSN_XOR, INSN_CMP};
    uint8_t modrm = next_byte(c);
    out->op = ops[modrm >> 3 & 7];
    if (out->op == 0)
        return -ENOEXEC;
    int err = decode_memory(c, modrm, out);
    out->has_imm = true;
    out->imm = (uint64_t)next_signed(c, imm_size);
    if (out->op_size < 8)
        out->imm &= (1ull << 8 * out->op_size) - 1;
    return err;
}

static int decode_moffs(struct cursor *c, struct insn *out)
{
    memory_at(c, INSN_NO_REG, INSN_DS, out);
    out->reg = REG_AX;
    out->disp = (int64_t)next_bytes(c, out->addr_size);
    return 0;
}

static int decode_operands(struct cursor *c, const struct opcode *opcode, struct insn *out)
{
    enum form form = (enum form)opcode->form;
    if (form >= FORM_PORT_IMM) {
        out->width = opcode->width ? opcode->width : operand_size(c);
        out->op_size = opcode->dest ? opcode->dest : operand_size(c);
    }
    switch (form) {
    case FORM_UNKNOWN:
    case FORM_ESCAPE:
        return -ENOEXEC;
    case FORM_PLAIN:
        return 0;
    case FORM_CONTROL:
        return decode_control(c, 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 8, out);
    case FORM_DEBUG:
        return decode_control(c, 0xff, out);
    case FORM_GROUP7:
        return decode_group7(c, out);
    case FORM_PORT_IMM:
    case FORM_PORT_DX:
        return decode_port(c, form == FORM_PORT_IMM, out);
    case FORM_STRING:
        return decode_string(c, out);
    case FORM_MODRM:
    case FORM_TO_REG:
        out->to_reg = form == FORM_TO_REG;
        return decode_modrm(c, out);
    case FORM_MOVSXD:
        return decode_movsxd(c, out);
    case FORM_IMM:
        return decode_immediate(c, out);
    case FORM_GROUP1:
        return decode_group1(c, out->op_size == 8 ? 4 : out->op_size, out);
    case FORM_GROUP1_8:
        return decode_group1(c, 1, out);
    case FORM_MOFFS:
        return decode_moffs(c, out);
    }
    return -ENOEXEC;
}

/* Apart, so that its registers and stack cost the short way below nothing. */
static __attribute__((noinline)) int decode_any(const uint8_t *bytes, unsigned n,
                                                unsigned code_size, struct insn *out)
{
    struct cursor c = {.bytes = bytes, .n = n, .code_size = (uint8_t)code_size, .seg = INSN_NO_REG};
    const struct opcode *opcode = next_opcode(&c);
    out->op = opcode->op;
    out->addr_size = address_size(&c);
    int err = decode_operands(&c, opcode, out);
    if (c.truncated)
        return n == INSN_MAX_LENGTH ? -ENOEXEC : -ENODATA;
    out->length = (uint8_t)c.at;
    return err;
}

/* Most exits come from two or three bytes without prefixes and operands: a short way for these. */
static inline bool decode_plain(const uint8_t *bytes, unsigned n, struct insn *out)
{
    if (n < 3 || bytes[0] != 0x0f)
        return false;
    const struct opcode *opcode = &two_byte[bytes[1]];
    if (opcode->form == FORM_PLAIN) {
        out->op = opcode->op;
        out->length = 2;
        return true;
    }
    int op = opcode->form == FORM_GROUP7 ? group7_op(bytes[2]) : -ENOEXEC;
    if (op < 0)
        return false;
    out->op = (uint8_t)op;
    out->length = 3;
    return true;
}

int insn_decode(const uint8_t *bytes, unsigned n, unsigned code_size, struct insn *out)
{
    assert(n <= INSN_MAX_LENGTH);
    assert(code_size == 2 || code_size == 4 || code_size == 8);
    *out = (struct insn){.addr_size = (uint8_t)code_size,
                         .reg = INSN_NO_REG,
                         .base = INSN_NO_REG,
                         .index = INSN_NO_REG};
    return decode_plain(bytes, n, out) ? 0 : decode_any(bytes, n, code_size, out);
}

/* MONITOR and MWAIT; VMRUN, VMLOAD to INVLPGA; MONITORX, MWAITX, RDPRU, INVLPGB, TLBSYNC. */
#define GROUP7_ABSENT (3ull << 8 | 1ull << 24 | 0x3full << 26 | 3ull << 58 | 7ull << 61)

int insn_is_absent(const uint8_t *bytes, unsigned n, unsigned code_size)
{
    struct cursor c = {.bytes = bytes, .n = n, .code_size = (uint8_t)code_size};
    uint8_t first = next_byte(&c);
    while (take_prefix(&c, first))
        first = next_byte(&c);
    if (first != 0x0f)
        return c.truncated ? -ENODATA : 0;
    uint8_t second = next_byte(&c);
    uint8_t third = second == 0x01 || second == 0x38 ? next_byte(&c) : 0;
    if (c.truncated)
        return -ENODATA;
    if (second == 0x38)
        return c.prefix_66 && third == 0x82; /* INVPCID */
    return second == 0x01 && third >= 0xc0 && (GROUP7_ABSENT >> (third - 0xc0) & 1) != 0;
}
