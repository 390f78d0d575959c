/*
 * Fuzzes the instruction decoder against Zydis: what one of them takes, the other must take alike,
 * to the last operand. The first byte of the input is the mode, the rest the code; test_decode.c
 * feeds it by the million too.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdnoreturn.h>

#include <Zydis/Zydis.h>

#include "lib/errno.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/vcpu/decode.h"

struct code {
    const uint8_t *bytes;
    unsigned n, size; /* size as in insn_decode() */
};

static noreturn void disagree(const struct code *code, const char *what)
{
    fprintf(stderr, "%s, code size %u:", what, code->size);
    for (unsigned i = 0; i < code->n; i++)
        fprintf(stderr, " %02x", code->bytes[i]);
    fprintf(stderr, "\n");
    abort();
}

static bool zydis_decode(const struct code *code, ZydisDecodedInstruction *insn,
                         ZydisDecodedOperand *operands)
{
    ZydisDecoder decoder;
    ZydisMachineMode mode = code->size == 8   ? ZYDIS_MACHINE_MODE_LONG_64
                            : code->size == 4 ? ZYDIS_MACHINE_MODE_LEGACY_32
                                              : ZYDIS_MACHINE_MODE_LEGACY_16;
    ZydisStackWidth width = code->size == 8   ? ZYDIS_STACK_WIDTH_64
                            : code->size == 4 ? ZYDIS_STACK_WIDTH_32
                                              : ZYDIS_STACK_WIDTH_16;
    ZydisDecoderInit(&decoder, mode, width);
    return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code->bytes, code->n, insn, operands));
}

/* Zydis's operand I as a general register of WANT; false: it is none. */
static bool general_register(const ZydisDecodedOperand *operand, struct insn *want)
{
    ZydisRegister reg = operand->reg.value;
    if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER)
        return false;
    switch ((int)ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
        want->high_byte = reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;
        if (reg >= ZYDIS_REGISTER_SPL)
            want->reg = (uint8_t)(reg - ZYDIS_REGISTER_SPL + 4);
        else if (want->high_byte)
            want->reg = (uint8_t)(reg - ZYDIS_REGISTER_AH);
        else
            want->reg = (uint8_t)(reg - ZYDIS_REGISTER_AL);
        break;
    case ZYDIS_REGCLASS_GPR16:
        want->reg = (uint8_t)(reg - ZYDIS_REGISTER_AX);
        break;
    case ZYDIS_REGCLASS_GPR32:
        want->reg = (uint8_t)(reg - ZYDIS_REGISTER_EAX);
        break;
    case ZYDIS_REGCLASS_GPR64:
        want->reg = (uint8_t)(reg - ZYDIS_REGISTER_RAX);
        break;
    default:
        return false;
    }
    want->op_size = (uint8_t)(operand->size / 8);
    return true;
}

/* The number of a register that an address is made of. */
static uint8_t address_register(ZydisRegister reg)
{
    struct insn found = {.reg = 0};
    ZydisDecodedOperand operand = {.type = ZYDIS_OPERAND_TYPE_REGISTER, .reg = {reg}};
    if (reg == ZYDIS_REGISTER_NONE)
        return INSN_NO_REG;
    if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
        return INSN_RIP;
    return general_register(&operand, &found) ? found.reg : INSN_NO_REG;
}

static bool memory_operand(const ZydisDecodedOperand *operand, struct insn *want)
{
    if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY)
        return false;
    want->memory = true;
    want->seg = (uint8_t)(operand->mem.segment - ZYDIS_REGISTER_ES);
    want->base = address_register(operand->mem.base);
    want->index = address_register(operand->mem.index);
    want->scale = want->index == INSN_NO_REG ? 1 : operand->mem.scale;
    want->disp = operand->mem.disp.value;
    /* Zydis sign-extends an absolute address; both are the same modulo the address size. */
    if (operand->encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64 && want->addr_size < 8)
        want->disp &= (1ll << (8 * want->addr_size)) - 1;
    want->width = (uint8_t)(operand->size / 8);
    return true;
}

/* An immediate of SIZE bytes. */
static bool immediate(const ZydisDecodedOperand *operand, uint8_t size, struct insn *want)
{
    if (operand->type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
        return false;
    uint64_t mask = size == 8 ? ~0ull : (1ull << 8 * size) - 1;
    want->has_imm = true;
    want->imm = operand->imm.value.u & mask;
    want->op_size = size;
    return true;
}

static bool special_register(const ZydisDecodedOperand *operand, ZydisRegisterClass class,
                             struct insn *want)
{
    if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER ||
        ZydisRegisterGetClass(operand->reg.value) != class)
        return false;
    want->extra = (uint8_t)ZydisRegisterGetId(operand->reg.value);
    return true;
}

static bool want_mov(const ZydisDecodedOperand *to, const ZydisDecodedOperand *from,
                     struct insn *want)
{
    if (memory_operand(to, want)) {
        want->op = INSN_MOV_STORE;
        return general_register(from, want) || immediate(from, want->width, want);
    }
    if (memory_operand(from, want)) {
        want->op = INSN_MOV_LOAD;
        return general_register(to, want);
    }
    if (special_register(to, ZYDIS_REGCLASS_CONTROL, want))
        want->op = INSN_MOV_TO_CR;
    else if (special_register(from, ZYDIS_REGCLASS_CONTROL, want))
        want->op = INSN_MOV_FROM_CR;
    else if (special_register(to, ZYDIS_REGCLASS_DEBUG, want))
        want->op = INSN_MOV_TO_DR;
    else if (special_register(from, ZYDIS_REGCLASS_DEBUG, want))
        want->op = INSN_MOV_FROM_DR;
    else
        return false;
    return general_register(to, want) || general_register(from, want);
}

static bool want_port(enum insn_op op, const ZydisDecodedOperand *acc,
                      const ZydisDecodedOperand *port, struct insn *want)
{
    want->op = (uint8_t)op;
    if (!immediate(port, 1, want) && port->reg.value != ZYDIS_REGISTER_DX)
        return false;
    if (!general_register(acc, want))
        return false;
    want->width = want->op_size;
    return true;
}

static bool want_string(enum insn_op op, const ZydisDecodedInstruction *insn,
                        const ZydisDecodedOperand *operands, struct insn *want)
{
    want->op = (uint8_t)op;
    want->rep = insn->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE |
                                    ZYDIS_ATTRIB_HAS_REPZ | ZYDIS_ATTRIB_HAS_REPNE);
    if (op == INSN_STOS) {
        general_register(&operands[1], want);
        return memory_operand(&operands[0], want);
    }
    if (!memory_operand(&operands[op == INSN_OUTS], want))
        return false;
    want->op_size = want->width;
    return true;
}

/* Zydis's register or memory, and for a load the register it goes to. */
static bool want_load(enum insn_op op, const ZydisDecodedOperand *operands, struct insn *want)
{
    want->op = (uint8_t)op;
    if (!general_register(&operands[0], want) || !memory_operand(&operands[1], want))
        return false;
    /* MOVSXD r16: the SDM has r/m16, Zydis m32. */
    if (want->width > want->op_size)
        want->width = want->op_size;
    return true;
}

/* Memory with a register, either of them first, or with an immediate. */
static bool want_two(enum insn_op op, const ZydisDecodedOperand *operands, struct insn *want)
{
    want->op = (uint8_t)op;
    if (memory_operand(&operands[0], want))
        return general_register(&operands[1], want) || immediate(&operands[1], want->width, want);
    want->to_reg = op != INSN_XCHG && op != INSN_TEST;
    return general_register(&operands[0], want) && memory_operand(&operands[1], want);
}

static bool want_msw(enum insn_op op, const ZydisDecodedOperand *operand, struct insn *want)
{
    want->op = (uint8_t)op;
    want->op_size = 2;
    return general_register(operand, want) || memory_operand(operand, want);
}

/* The instructions without operands that count. */
static bool want_plain(ZydisMnemonic mnemonic, struct insn *want)
{
    static const struct {
        ZydisMnemonic mnemonic;
        enum insn_op op;
    } plain[] = {
        {ZYDIS_MNEMONIC_CPUID, INSN_CPUID},   {ZYDIS_MNEMONIC_RDMSR, INSN_RDMSR},
        {ZYDIS_MNEMONIC_WRMSR, INSN_WRMSR},   {ZYDIS_MNEMONIC_HLT, INSN_HLT},
        {ZYDIS_MNEMONIC_INVD, INSN_INVD},     {ZYDIS_MNEMONIC_WBINVD, INSN_WBINVD},
        {ZYDIS_MNEMONIC_XSETBV, INSN_XSETBV}, {ZYDIS_MNEMONIC_VMCALL, INSN_VMCALL},
        {ZYDIS_MNEMONIC_CLTS, INSN_CLTS},     {ZYDIS_MNEMONIC_VMMCALL, INSN_VMMCALL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
        if (plain[i].mnemonic == mnemonic) {
            want->op = (uint8_t)plain[i].op;
            return true;
        }
    }
    return false;
}

/* What insn_decode() must say for Zydis's instruction; false: -ENOEXEC. */
static bool expectation(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands,
                        struct insn *want)
{
    *want = (struct insn){.length = insn->length,
                          .addr_size = insn->address_width / 8,
                          .reg = INSN_NO_REG,
                          .base = INSN_NO_REG,
                          .index = INSN_NO_REG};
    /* Aliases that no one writes: 82 of 80, F6 /1 and F7 /1 of /0. */
    if (insn->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
        (insn->opcode == 0x82 || ((insn->opcode | 1) == 0xf7 && insn->raw.modrm.reg == 1)))
        return false;
    switch ((int)insn->mnemonic) {
    case ZYDIS_MNEMONIC_LMSW:
        return want_msw(INSN_LMSW, &operands[0], want);
    case ZYDIS_MNEMONIC_SMSW:
        return want_msw(INSN_SMSW, &operands[0], want);
    case ZYDIS_MNEMONIC_MOV:
        return want_mov(&operands[0], &operands[1], want);
    case ZYDIS_MNEMONIC_MOVZX:
        return want_load(INSN_MOVZX, operands, want);
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
        return want_load(INSN_MOVSX, operands, want);
    case ZYDIS_MNEMONIC_XCHG:
        return want_two(INSN_XCHG, operands, want);
    case ZYDIS_MNEMONIC_ADD:
        return want_two(INSN_ADD, operands, want);
    case ZYDIS_MNEMONIC_SUB:
        return want_two(INSN_SUB, operands, want);
    case ZYDIS_MNEMONIC_XOR:
        return want_two(INSN_XOR, operands, want);
    case ZYDIS_MNEMONIC_OR:
        return want_two(INSN_OR, operands, want);
    case ZYDIS_MNEMONIC_AND:
        return want_two(INSN_AND, operands, want);
    case ZYDIS_MNEMONIC_CMP:
        return want_two(INSN_CMP, operands, want);
    case ZYDIS_MNEMONIC_TEST:
        return want_two(INSN_TEST, operands, want);
    case ZYDIS_MNEMONIC_IN:
        return want_port(INSN_IN, &operands[0], &operands[1], want);
    case ZYDIS_MNEMONIC_OUT:
        return want_port(INSN_OUT, &operands[1], &operands[0], want);
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_INSD:
        return want_string(INSN_INS, insn, operands, want);
    case ZYDIS_MNEMONIC_OUTSB:
    case ZYDIS_MNEMONIC_OUTSW:
    case ZYDIS_MNEMONIC_OUTSD:
        return want_string(INSN_OUTS, insn, operands, want);
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
        return want_string(INSN_STOS, insn, operands, want);
    default:
        return want_plain(insn->mnemonic, want);
    }
}

/* Zydis 4.0.0 takes R13D for the disp32 where 67 and REX.B stand before an SIB without base. */
static void correct_base(const ZydisDecodedInstruction *insn, struct insn *want)
{
    bool no_base = (insn->attributes & ZYDIS_ATTRIB_HAS_SIB) && insn->raw.modrm.mod == 0 &&
                   insn->raw.sib.base == 5;
    if (want->memory && no_base && want->base == 13) {
        want->base = INSN_NO_REG;
        want->disp = insn->raw.disp.value;
    }
}

static void compare(const struct code *code, const struct insn *got, const struct insn *want)
{
#define SAME(field)                                                                                \
    if (got->field != want->field)                                                                 \
    disagree(code, "the decoder and Zydis differ in " #field)
    SAME(op);
    SAME(length);
    SAME(op_size);
    SAME(width);
    SAME(addr_size);
    SAME(reg);
    SAME(extra);
    SAME(high_byte);
    SAME(has_imm);
    SAME(to_reg);
    SAME(rep);
    SAME(memory);
    SAME(seg);
    SAME(base);
    SAME(index);
    SAME(scale);
    SAME(disp);
    SAME(imm);
#undef SAME
}

/*
 * Less than all of an instruction must be seen to be too little, without a look at what follows;
 * just all of it is the same as with something behind it.
 */
static void check_truncations(const struct code *code, const struct insn *insn)
{
    uint8_t bytes[INSN_MAX_LENGTH];
    struct insn part;
    for (unsigned n = 0; n < insn->length; n++) {
        uint8_t *at = bytes + sizeof(bytes) - n;
        memcpy(at, code->bytes, n);
        if (insn_decode(at, n, code->size, &part) != -ENODATA)
            disagree(code, "a truncated instruction is not -ENODATA");
    }
    if (insn_decode(code->bytes, insn->length, code->size, &part) != 0)
        disagree(code, "an instruction is not taken without the bytes behind it");
    compare(code, &part, insn);
}

/* What insn_is_absent() is to find: all that no guest has of 0F 01 with mod 3, and INVPCID. */
static bool no_guest_has(ZydisMnemonic mnemonic)
{
    static const ZydisMnemonic absent[] = {
        ZYDIS_MNEMONIC_MONITOR,  ZYDIS_MNEMONIC_MWAIT,     ZYDIS_MNEMONIC_VMRUN,
        ZYDIS_MNEMONIC_VMLOAD,   ZYDIS_MNEMONIC_VMSAVE,    ZYDIS_MNEMONIC_STGI,
        ZYDIS_MNEMONIC_CLGI,     ZYDIS_MNEMONIC_SKINIT,    ZYDIS_MNEMONIC_INVLPGA,
        ZYDIS_MNEMONIC_MONITORX, ZYDIS_MNEMONIC_MWAITX,    ZYDIS_MNEMONIC_RDPRU,
        ZYDIS_MNEMONIC_INVLPGB,  ZYDIS_MNEMONIC_TLBSYNC,   ZYDIS_MNEMONIC_MCOMMIT,
        ZYDIS_MNEMONIC_PSMASH,   ZYDIS_MNEMONIC_PVALIDATE, ZYDIS_MNEMONIC_RMPADJUST,
        ZYDIS_MNEMONIC_INVPCID,  ZYDIS_MNEMONIC_RMPUPDATE,
    };
    for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
        if (absent[i] == mnemonic)
            return true;
    return false;
}

static void check(const struct code *code)
{
    ZydisDecodedInstruction insn;
    static ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    struct insn got, want;
    int result = insn_decode(code->bytes, code->n, code->size, &got);
    bool known = zydis_decode(code, &insn, operands);
    bool wanted =
        known && !(insn.attributes & ZYDIS_ATTRIB_HAS_LOCK) && expectation(&insn, operands, &want);
    if (result == 0 && !wanted)
        disagree(code, "the decoder takes what it must not");
    if (result != 0 && wanted)
        disagree(code, "the decoder refuses what it must take");
    if (result != 0 && result != -ENOEXEC && (result != -ENODATA || known))
        disagree(code, "the decoder calls an instruction cut that is not");
    bool absent = insn_is_absent(code->bytes, code->n, code->size);
    if ((absent && result == 0) || (known && absent != no_guest_has(insn.mnemonic)))
        disagree(code, "what no guest has is mistaken");
    if (result == 0) {
        correct_base(&insn, &want);
        compare(code, &got, &want);
        check_truncations(code, &got);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t sizes[] = {2, 4, 8};
    if (size == 0)
        return 0;
    struct code code = {data + 1, (unsigned)min_u64(size - 1, INSN_MAX_LENGTH),
                        sizes[data[0] % ARRAY_SIZE(sizes)]};
    check(&code);
    return 0;
}
