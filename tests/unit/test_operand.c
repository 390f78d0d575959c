/*
 * Where the memory operand of an instruction is that the hypervisor completes: its linear address
 * by registers, segments and address size, its width, and whether it is written, against Zydis.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>

#include <Zydis/Zydis.h>

#include "tests/unit/host.h"

#undef assert
#include "lib/x86.h"
#include "vmm/passthrough/passthrough.h"
#include "vmm/vcpu/access.h"
#include "vmm/devices/devices.h"
#include "vmm/vcpu/exits.h"
#include "vmm/vcpu/interrupts.h"

enum { RANDOM_CASES = 1000000, SIB_CASES = 3 * 2 * 0x10000 };

static const struct virt_caps no_caps;
static struct vm vm = {.caps = &no_caps};
static struct vcpu vcpu;
static enum vector raised; /* by the last operand that was refused */
static uint64_t random_state;

/* --- what those files need ---------------------------------------------------------------------*/

void vcpu_raise(struct vcpu *it, enum vector vector, uint32_t error)
{
    assert_ptr_equal(it, &vcpu);
    assert_int_equal(error, 0);
    raised = vector;
}

static noreturn void not_here(void)
{
    fail();
    abort();
}

void vcpu_raise_page_fault(struct vcpu *it, gva_t address, uint32_t error)
{
    (void)it, (void)address, (void)error;
    not_here();
}

void vm_stop(struct vm *it, const char *fmt, ...)
{
    (void)it, (void)fmt;
    not_here();
}

/* What exits, and what it does to the local APIC's page. */
static struct insn exiting;
static struct {
    unsigned reads, writes, offset, width;
} apic;

bool vcpu_decode(struct vcpu *it, struct insn *insn)
{
    assert_ptr_equal(it, &vcpu);
    *insn = exiting;
    return true;
}

/* It makes RIP 32 bits wide, or single-steps. */
void vcpu_skip_rarely(struct vcpu *it)
{
    assert_ptr_equal(it, &vcpu);
}

void vcpu_skip_iteration(struct vcpu *it)
{
    (void)it;
    not_here();
}

void vcpu_tables_fault(struct vcpu *it, const struct exit_memory *fault)
{
    (void)it, (void)fault;
    not_here();
}

bool vcpu_leave_apic(struct vcpu *it)
{
    (void)it;
    return false;
}

uint32_t vcpu_read_apic(struct vcpu *it, unsigned offset, unsigned width)
{
    assert_ptr_equal(it, &vcpu);
    apic.reads++;
    apic.offset = offset;
    apic.width = width;
    return 0x12345678;
}

void vcpu_write_apic(struct vcpu *it, unsigned offset, unsigned width, uint32_t value)
{
    (void)value;
    assert_ptr_equal(it, &vcpu);
    apic.writes++;
    apic.offset = offset;
    apic.width = width;
}

/* No operand here is of the I/O APIC, or of PCI. */
uint32_t devices_read_ioapic(struct vcpu *it, unsigned offset, unsigned width)
{
    (void)it, (void)offset, (void)width;
    fail();
    return 0;
}

void devices_write_ioapic(struct vcpu *it, unsigned offset, unsigned width, uint64_t value)
{
    (void)it, (void)offset, (void)width, (void)value;
    fail();
}

uint64_t devices_read_pci(struct vcpu *it, unsigned page, unsigned offset, unsigned width)
{
    (void)it, (void)page, (void)offset, (void)width;
    fail();
    return 0;
}

void devices_write_pci(struct vcpu *it, unsigned page, unsigned offset, unsigned width,
                       uint64_t value)
{
    (void)it, (void)page, (void)offset, (void)width, (void)value;
    fail();
}

bool passthrough_is_mmio(const struct vm *of, gpa_t at)
{
    (void)of, (void)at;
    return false;
}

uint64_t passthrough_read(struct vcpu *it, gpa_t at, unsigned width)
{
    (void)it, (void)at, (void)width;
    fail();
    return 0;
}

void passthrough_write(struct vcpu *it, gpa_t at, unsigned width, uint64_t value)
{
    (void)it, (void)at, (void)width, (void)value;
    fail();
}

/* --- the machine that the operand is seen by ---------------------------------------------------*/

static uint64_t random64(void)
{
    return host_random(&random_state);
}

static uint64_t random_address(void)
{
    uint64_t value = random64();
    switch (random64() >> 32 & 3) {
    case 0:
        return (uint64_t)(int64_t)(int32_t)(uint32_t)value;
    case 1:
        return (uint16_t)value;
    case 2: /* often canonical */
        return (uint64_t)((int64_t)(value << 16) >> 16);
    default:
        return value;
    }
}

static void random_machine(unsigned code_size)
{
    vcpu.vm = &vm;
    vcpu.fetched = UINT32_MAX;
    struct guest_state *state = &vcpu.state;
    state->rip = code_size == 8 ? random_address() : (uint32_t)random64();
    state->cr0 = CR0_PE;
    state->cr4 = random64() & CR4_LA57;
    state->efer = code_size == 8 ? EFER_LMA : 0;
    for (unsigned i = 0; i < GPRS; i++)
        state->gpr[i] = random_address();
    for (unsigned i = SEG_ES; i <= SEG_GS; i++)
        state->seg[i] = (struct seg){
            .attr = SEG_P | SEG_S | (i == SEG_CS ? 0xb : 0x3),
            .limit = random64() & 1 ? UINT32_MAX : (uint32_t)random64(),
            .base = i >= SEG_FS && code_size == 8 ? random_address() : (uint32_t)random64(),
        };
    state->seg[SEG_CS].attr |= code_size == 8 ? SEG_L : code_size == 4 ? SEG_D : 0;
}

/* The same registers by Zydis's names: of each size. */
static void give_registers(ZydisRegisterContext *context)
{
    for (unsigned i = 0; i < GPRS; i++) {
        uint64_t value = vcpu.state.gpr[i];
        context->values[ZYDIS_REGISTER_RAX + i] = value;
        context->values[ZYDIS_REGISTER_EAX + i] = (uint32_t)value;
        context->values[ZYDIS_REGISTER_AX + i] = (uint16_t)value;
    }
}

/* --- the comparison ----------------------------------------------------------------------------*/

struct code {
    uint8_t bytes[INSN_MAX_LENGTH];
    unsigned size;
};

static void disagree(const struct code *code, const char *what)
{
    char text[3 * INSN_MAX_LENGTH + 1] = "";
    for (unsigned i = 0; i < INSN_MAX_LENGTH; i++)
        sprintf(text + 3 * i, " %02x", code->bytes[i]);
    fail_msg("%s, code size %u:%s", what, code->size, text);
}

static bool zydis_decode(const struct code *code, ZydisDecodedInstruction *insn,
                         ZydisDecodedOperand *operands)
{
    ZydisDecoder decoder;
    if (code->size == 8)
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    else if (code->size == 4)
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    else
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    return ZYAN_SUCCESS(
        ZydisDecoderDecodeFull(&decoder, code->bytes, INSN_MAX_LENGTH, insn, operands));
}

static ZydisDecodedOperand *memory_of(const ZydisDecodedInstruction *insn,
                                      ZydisDecodedOperand *operands)
{
    for (unsigned i = 0; i < insn->operand_count; i++)
        if (operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
            return &operands[i];
    return NULL;
}

/* Zydis 4.0.0 has R13 for a base that is none, as REX.B says. SDM, "REX Prefix Fields". */
static void correct_base(const ZydisDecodedInstruction *insn, ZydisDecodedOperand *memory)
{
    bool has_sib = (insn->attributes & ZYDIS_ATTRIB_HAS_SIB) != 0;
    if (!has_sib || insn->raw.modrm.mod != 0 || insn->raw.sib.base != 5)
        return;
    memory->mem.base = ZYDIS_REGISTER_NONE;
    memory->mem.disp.has_displacement = true;
    memory->mem.disp.value = insn->raw.disp.value;
}

static bool is_canonical_for(uint64_t address)
{
    uint64_t above = address >> ((vcpu.state.cr4 & CR4_LA57) != 0 ? 56 : 47);
    uint64_t ones = UINT64_MAX >> ((vcpu.state.cr4 & CR4_LA57) != 0 ? 56 : 47);
    return above == 0 || above == ones;
}

/*
 * SDM, "Segmentation in IA-32e Mode", "Limit Checking", "Type Checking": the linear address of
 * OFFSET, and whether it may be accessed.
 */
static bool expected(const struct code *code, unsigned seg, uint64_t offset, unsigned width,
                     bool write, uint64_t *linear)
{
    const struct seg *s = &vcpu.state.seg[seg];
    bool has_base = code->size != 8 || seg == SEG_FS || seg == SEG_GS;
    *linear = offset + (has_base ? s->base : 0);
    if (code->size == 8)
        return is_canonical_for(*linear) && is_canonical_for(*linear + width - 1);
    *linear &= UINT32_MAX;
    return offset + width <= (uint64_t)s->limit + 1 && !(write && seg == SEG_CS);
}

static void compare_addresses(const struct code *code, const struct insn *got,
                              const ZydisDecodedInstruction *insn,
                              const ZydisDecodedOperand *memory, bool write)
{
    static ZydisRegisterContext context;
    ZyanU64 offset;
    uint64_t want;
    gva_t linear = gva(0);
    unsigned seg = (unsigned)(memory->mem.segment - ZYDIS_REGISTER_ES);
    give_registers(&context);
    if (!ZYAN_SUCCESS(ZydisCalcAbsoluteAddressEx(insn, memory, vcpu.state.rip, &context, &offset)))
        disagree(code, "Zydis gives no address");
    raised = 0;
    bool legal = vcpu_operand(&vcpu, got, write, &linear);
    if (legal != expected(code, seg, offset, got->width, write, &want))
        disagree(code, legal ? "a fault is missing" : "a fault that is none");
    if (linear.v != want)
        disagree(code, "another address");
    if (!legal)
        assert_int_equal(raised, seg == SEG_SS ? VECTOR_SS : VECTOR_GP);
}

/* The CPU's address alone says where in the page; RIP goes on behind the instruction. */
static void compare_apic(const struct code *code, const struct insn *insn,
                         const ZydisDecodedOperand *memory)
{
    bool read = (memory->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
    bool write = (memory->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    uint64_t next = vcpu.state.rip + insn->length;
    unsigned offset = 1 + (unsigned)(random64() % (PAGE_SIZE - insn->width));
    struct vm_exit exit = {
        .kind = EXIT_MEMORY,
        .memory = {.gpa = gpa(LAPIC_ADDRESS + offset), .access = (uint8_t)(write ? PT_W : PT_R)}};
    memset(&apic, 0, sizeof(apic));
    exiting = *insn;
    vcpu.lapic.base = LAPIC_ADDRESS | LAPIC_BASE_ENABLE;
    vcpu.event.valid = false;
    exit_memory(&vcpu, &exit);
    if (apic.reads != read || apic.writes != write)
        disagree(code, "other accesses to the APIC");
    if (apic.offset != offset || apic.width != insn->width)
        disagree(code, "another place in the APIC's page");
    if (vcpu.state.rip != next)
        disagree(code, "RIP is elsewhere");
}

/* Those that emulate() completes by one access, or one to read and one to write. */
static bool is_of_page(const struct insn *insn)
{
    const uint64_t ops = 1ull << INSN_MOV_LOAD | 1ull << INSN_MOV_STORE | 1ull << INSN_MOVZX |
                         1ull << INSN_MOVSX | 1ull << INSN_XCHG | 1ull << INSN_ADD |
                         1ull << INSN_SUB | 1ull << INSN_OR | 1ull << INSN_AND | 1ull << INSN_XOR |
                         1ull << INSN_CMP | 1ull << INSN_TEST;
    return (ops >> insn->op & 1) != 0;
}

/* Whether the decoder takes it, and it has a memory operand. */
static bool compare(const struct code *code)
{
    struct insn got;
    ZydisDecodedInstruction insn;
    static ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (insn_decode(code->bytes, INSN_MAX_LENGTH, code->size, &got) != 0 || !got.memory)
        return false;
    ZydisDecodedOperand *memory =
        zydis_decode(code, &insn, operands) ? memory_of(&insn, operands) : NULL;
    if (memory == NULL || insn.length != got.length)
        disagree(code, "another instruction");
    bool write = (memory->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    if (write != insn_writes(&got))
        disagree(code, "it is not as said whether it writes");
    /* MOVSXD r16: the SDM has r/m16, Zydis m32. */
    if (memory->size / 8 != got.width && !(got.op == INSN_MOVSX && got.op_size == 2))
        disagree(code, "another width");
    correct_base(&insn, memory);
    random_machine(code->size);
    compare_addresses(code, &got, &insn, memory, write);
    if (is_of_page(&got))
        compare_apic(code, &got, memory);
    return true;
}

static const uint8_t sizes[] = {2, 4, 8};

static void fill(struct code *code, unsigned n)
{
    for (; n < INSN_MAX_LENGTH; n++)
        code->bytes[n] = (uint8_t)(random64() >> 32);
}

/* Every ModRM byte with every SIB byte, in every mode, with both address sizes. */
static void test_forms(void **unused)
{
    unsigned taken = 0;
    (void)unused;
    random_state = 2003;
    for (unsigned i = 0; i < SIB_CASES; i++) {
        struct code code = {.size = sizes[(i >> 16) % 3]};
        unsigned n = 0;
        if (i >> 16 >= 3)
            code.bytes[n++] = 0x67;
        if (code.size == 8)
            code.bytes[n++] = (uint8_t)(0x40 | (random64() >> 32 & 0xf));
        code.bytes[n++] = i & 1 ? 0x8b : 0x89;
        code.bytes[n++] = (uint8_t)(i >> 8);
        code.bytes[n++] = (uint8_t)i;
        fill(&code, n);
        taken += compare(&code);
    }
    assert_int_equal(taken, SIB_CASES / 4 * 3); /* all but mod = 3 */
}

/* Up to four prefixes before every opcode that has memory. */
static void test_random(void **unused)
{
    static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67,
                                       0xf2, 0xf3, 0x40, 0x41, 0x42, 0x44, 0x48, 0x4f};
    static const uint8_t opcodes[] = {
        0x08, 0x09, 0x0a, 0x0b, 0x20, 0x21, 0x22, 0x23, 0x38, 0x39, 0x3a, 0x3b, 0x63, 0x6c, 0x6d,
        0x6e, 0x6f, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0xa0, 0xa1,
        0xa2, 0xa3, 0xaa, 0xab, 0xc6, 0xc7, 0xf6, 0xf7, 0x01, 0xb6, 0xb7, 0xbe, 0xbf};
    enum { TWO_BYTE = 0x01 }; /* from this one on, behind 0Fh */
    unsigned taken[sizeof(opcodes)] = {0};
    (void)unused;
    random_state = 2011;
    for (unsigned i = 0; i < RANDOM_CASES; i++) {
        struct code code = {.size = sizes[random64() % 3]};
        unsigned n = 0, which = (unsigned)(random64() % sizeof(opcodes));
        for (uint64_t left = random64() % 5; left > 0; left--)
            code.bytes[n++] = prefixes[random64() % sizeof(prefixes)];
        if (which >=
            (unsigned)((const uint8_t *)memchr(opcodes, TWO_BYTE, sizeof(opcodes)) - opcodes))
            code.bytes[n++] = 0x0f;
        code.bytes[n++] = opcodes[which];
        fill(&code, n);
        taken[which] += compare(&code);
    }
    for (unsigned i = 0; i < sizeof(opcodes); i++)
        assert_true(taken[i] > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
