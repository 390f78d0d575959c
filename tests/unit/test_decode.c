/*
 * Tests of the instruction decoder: literal encodings, and sweeps and random bytes through the fuzz
 * target, which compares each with Zydis and stops the program where they differ.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/host.h"

#include "lib/errno.h"
#include "vmm/vcpu/decode.h"

enum { RANDOM_CASES = 1000000, NO = INSN_NO_REG };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct literal {
    const char *bytes;
    unsigned n, code_size;
    struct insn insn;
};

#define BYTES(s) s, sizeof(s) - 1
#define PLAIN(o, l, size)                                                                          \
    {                                                                                              \
        .op = o, .length = l, .addr_size = size, .reg = NO, .base = NO, .index = NO                \
    }

static const struct literal literals[] = {
    {BYTES("\x0f\xa2"), 8, PLAIN(INSN_CPUID, 2, 8)},
    {BYTES("\x0f\x32\x90"), 4, PLAIN(INSN_RDMSR, 2, 4)},
    {BYTES("\x66\x48\x0f\x30"), 8, PLAIN(INSN_WRMSR, 4, 8)},
    {BYTES("\x67\x0f\x06"), 4, PLAIN(INSN_CLTS, 3, 2)},
    {BYTES("\x0f\x08\x00"), 2, PLAIN(INSN_INVD, 2, 2)},
    {BYTES("\x0f\x09"), 8, PLAIN(INSN_WBINVD, 2, 8)},
    {BYTES("\xf3\x0f\x09"), 8, PLAIN(INSN_WBINVD, 3, 8)}, /* WBNOINVD */
    {BYTES("\xf4"), 2, PLAIN(INSN_HLT, 1, 2)},
    {BYTES("\x0f\x01\xc1"), 8, PLAIN(INSN_VMCALL, 3, 8)},
    {BYTES("\x0f\x01\xd1"), 8, PLAIN(INSN_XSETBV, 3, 8)},
    {BYTES("\x0f\x01\xd9"), 4, PLAIN(INSN_VMMCALL, 3, 4)},
    {BYTES("\x0f\x22\xd8"),
     4, /* mov cr3, eax */
     {.op = INSN_MOV_TO_CR,
      .length = 3,
      .op_size = 4,
      .addr_size = 4,
      .reg = 0,
      .extra = 3,
      .base = NO,
      .index = NO}},
    {BYTES("\x45\x0f\x20\xc7"),
     8, /* mov r15, cr8 */
     {.op = INSN_MOV_FROM_CR,
      .length = 4,
      .op_size = 8,
      .addr_size = 8,
      .reg = 15,
      .extra = 8,
      .base = NO,
      .index = NO}},
    {BYTES("\x0f\x20\x05"),
     8, /* mov rbp, cr0 whatever mod says */
     {.op = INSN_MOV_FROM_CR,
      .length = 3,
      .op_size = 8,
      .addr_size = 8,
      .reg = 5,
      .base = NO,
      .index = NO}},
    {BYTES("\x0f\x23\xfb"),
     2, /* mov dr7, ebx */
     {.op = INSN_MOV_TO_DR,
      .length = 3,
      .op_size = 4,
      .addr_size = 2,
      .reg = 3,
      .extra = 7,
      .base = NO,
      .index = NO}},
    {BYTES("\x0f\x01\xf0"),
     4, /* lmsw ax */
     {.op = INSN_LMSW,
      .length = 3,
      .op_size = 2,
      .addr_size = 4,
      .reg = 0,
      .base = NO,
      .index = NO}},
    {BYTES("\x0f\x01\x36\x34\x12"),
     2, /* lmsw [1234h] */
     {.op = INSN_LMSW,
      .length = 5,
      .op_size = 2,
      .width = 2,
      .addr_size = 2,
      .reg = NO,
      .memory = true,
      .seg = INSN_DS,
      .base = NO,
      .index = NO,
      .scale = 1,
      .disp = 0x1234}},
    {BYTES("\x48\x0f\x01\xe1"),
     8, /* smsw rcx */
     {.op = INSN_SMSW,
      .length = 4,
      .op_size = 8,
      .addr_size = 8,
      .reg = 1,
      .base = NO,
      .index = NO}},
    {BYTES("\xe5\xf4"),
     4, /* in eax, 0f4h */
     {.op = INSN_IN,
      .length = 2,
      .op_size = 4,
      .width = 4,
      .addr_size = 4,
      .reg = 0,
      .base = NO,
      .index = NO,
      .has_imm = true,
      .imm = 0xf4}},
    {BYTES("\x66\x48\xef"),
     8, /* out dx, eax: REX.W undoes 66 */
     {.op = INSN_OUT,
      .length = 3,
      .op_size = 4,
      .width = 4,
      .addr_size = 8,
      .reg = 0,
      .base = NO,
      .index = NO}},
    {BYTES("\xf2\x64\x6e"),
     2, /* rep outsb fs:[si] */
     {.op = INSN_OUTS,
      .length = 3,
      .op_size = 1,
      .width = 1,
      .addr_size = 2,
      .reg = NO,
      .rep = true,
      .memory = true,
      .seg = INSN_FS,
      .base = 6,
      .index = NO,
      .scale = 1}},
    {BYTES("\x65\xf3\x67\x48\xab"),
     8, /* rep stosq es:[edi]: no override */
     {.op = INSN_STOS,
      .length = 5,
      .op_size = 8,
      .width = 8,
      .addr_size = 4,
      .reg = 0,
      .rep = true,
      .memory = true,
      .seg = INSN_ES,
      .base = 7,
      .index = NO,
      .scale = 1}},
    {BYTES("\x8a\x65\xff"),
     4, /* mov ah, ss:[ebp-1] */
     {.op = INSN_MOV_LOAD,
      .length = 3,
      .op_size = 1,
      .width = 1,
      .addr_size = 4,
      .reg = 0,
      .high_byte = true,
      .memory = true,
      .seg = INSN_SS,
      .base = 5,
      .index = NO,
      .scale = 1,
      .disp = -1}},
    {BYTES("\x40\x88\x24\x24"),
     8, /* mov [rsp], spl */
     {.op = INSN_MOV_STORE,
      .length = 4,
      .op_size = 1,
      .width = 1,
      .addr_size = 8,
      .reg = 4,
      .memory = true,
      .seg = INSN_SS,
      .base = 4,
      .index = NO,
      .scale = 1}},
    {BYTES("\x48\x2e\x8b\x00"),
     8, /* mov eax, [rax]: REX before a prefix is void, and so is CS */
     {.op = INSN_MOV_LOAD,
      .length = 4,
      .op_size = 4,
      .width = 4,
      .addr_size = 8,
      .reg = 0,
      .memory = true,
      .seg = INSN_DS,
      .base = 0,
      .index = NO,
      .scale = 1}},
    {BYTES("\x2e\x8b\x03"),
     2, /* mov ax, cs:[bp+di] */
     {.op = INSN_MOV_LOAD,
      .length = 3,
      .op_size = 2,
      .width = 2,
      .addr_size = 2,
      .reg = 0,
      .memory = true,
      .seg = INSN_CS,
      .base = 5,
      .index = 7,
      .scale = 1}},
    {BYTES("\x48\xc7\x05\x10\x00\x00\x00\xfe\xff\xff\xff"),
     8, /* mov qword [rip+16], -2 */
     {.op = INSN_MOV_STORE,
      .length = 11,
      .op_size = 8,
      .width = 8,
      .addr_size = 8,
      .reg = NO,
      .has_imm = true,
      .memory = true,
      .seg = INSN_DS,
      .base = INSN_RIP,
      .index = NO,
      .scale = 1,
      .disp = 16,
      .imm = 0xfffffffffffffffe}},
    {BYTES("\xc6\x04\xcd\x00\x00\x00\x80\xff"),
     4, /* mov byte [ecx*8+80000000h], -1 */
     {.op = INSN_MOV_STORE,
      .length = 8,
      .op_size = 1,
      .width = 1,
      .addr_size = 4,
      .reg = NO,
      .has_imm = true,
      .memory = true,
      .seg = INSN_DS,
      .base = NO,
      .index = 1,
      .scale = 8,
      .disp = -0x80000000ll,
      .imm = 0xff}},
    {BYTES("\x48\xa3\x88\x77\x66\x55\x44\x33\x22\xf1"),
     8, /* mov [0f122334455667788h], rax */
     {.op = INSN_MOV_STORE,
      .length = 10,
      .op_size = 8,
      .width = 8,
      .addr_size = 8,
      .reg = 0,
      .memory = true,
      .seg = INSN_DS,
      .base = NO,
      .index = NO,
      .scale = 1,
      .disp = -0xeddccbbaa998878ll}},
    {BYTES("\x67\xa0\x00\x00\x00\xfe"),
     8, /* mov al, [0fe000000h]: not sign-extended */
     {.op = INSN_MOV_LOAD,
      .length = 6,
      .op_size = 1,
      .width = 1,
      .addr_size = 4,
      .reg = 0,
      .memory = true,
      .seg = INSN_DS,
      .base = NO,
      .index = NO,
      .scale = 1,
      .disp = 0xfe000000}},
    {BYTES("\x4e\x0f\xb6\x44\xa5\x7f"),
     8, /* movzx r8, byte ss:[rbp+r12*4+127] */
     {.op = INSN_MOVZX,
      .length = 6,
      .op_size = 8,
      .width = 1,
      .addr_size = 8,
      .reg = 8,
      .memory = true,
      .seg = INSN_SS,
      .base = 5,
      .index = 12,
      .scale = 4,
      .disp = 127}},
    {BYTES("\x66\x0f\xbe\x08"),
     4, /* movsx cx, byte [eax] */
     {.op = INSN_MOVSX,
      .length = 4,
      .op_size = 2,
      .width = 1,
      .addr_size = 4,
      .reg = 1,
      .memory = true,
      .seg = INSN_DS,
      .base = 0,
      .index = NO,
      .scale = 1}},
    {BYTES("\x49\x63\x45\x00"),
     8, /* movsxd rax, dword [r13]: no stack base */
     {.op = INSN_MOVSX,
      .length = 4,
      .op_size = 8,
      .width = 4,
      .addr_size = 8,
      .reg = 0,
      .memory = true,
      .seg = INSN_DS,
      .base = 13,
      .index = NO,
      .scale = 1}},
    {BYTES("\x66\x63\x00"),
     8, /* movsxd ax, word [rax] */
     {.op = INSN_MOVSX,
      .length = 3,
      .op_size = 2,
      .width = 2,
      .addr_size = 8,
      .reg = 0,
      .memory = true,
      .seg = INSN_DS,
      .base = 0,
      .index = NO,
      .scale = 1}},
};

static const struct {
    const char *bytes;
    unsigned n, code_size;
    int result;
} refused[] = {
    {BYTES("\xf0\x0f\x20\xc0"), 4, -ENOEXEC}, /* LOCK: CR8 on AMD */
    {BYTES("\xf0\x89\x00"), 8, -ENOEXEC},
    {BYTES("\x0f\x22\xc8"), 8, -ENOEXEC},             /* CR1 */
    {BYTES("\x44\x0f\x22\xc8"), 8, -ENOEXEC},         /* CR9 */
    {BYTES("\x44\x0f\x21\xc0"), 8, -ENOEXEC},         /* DR8 */
    {BYTES("\x44\x0f\x22\xc0"), 4, -ENOEXEC},         /* INC ESP */
    {BYTES("\x63\x00"), 4, -ENOEXEC},                 /* ARPL */
    {BYTES("\x89\xc0"), 8, -ENOEXEC},                 /* no memory */
    {BYTES("\x0f\xb6\xc0"), 8, -ENOEXEC},             /* the same */
    {BYTES("\xc7\x08\x00\x00\x00\x00"), 4, -ENOEXEC}, /* C7 /1 */
    {BYTES("\xc6\xf8\x00"), 8, -ENOEXEC},             /* XABORT */
    {BYTES("\x66\x0f\x01\xc1"), 8, -ENOEXEC},         /* not VMCALL */
    {BYTES("\xf3\x0f\x01\xd1"), 8, -ENOEXEC},         /* not XSETBV */
    {BYTES("\x0f\x01\xf8"), 8, -ENOEXEC},             /* SWAPGS */
    {BYTES("\x0f\x31\x00"), 8, -ENOEXEC},             /* RDTSC */
    {BYTES("\x0f\x0f\x00"), 8, -ENOEXEC},
    {BYTES("\x90"), 8, -ENOEXEC},
    {BYTES(""), 8, -ENODATA},
    {BYTES("\x0f"), 8, -ENODATA},
    {BYTES("\x0f\x01"), 8, -ENODATA},
    {BYTES("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x0f"), 8, -ENODATA},
    {BYTES("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66"), 8, -ENOEXEC},
    {BYTES("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x0f"), 8, -ENOEXEC},
    {BYTES("\x64\x64\x64\x64\x64\x64\xc7\x80\x00\x00\x00\x00\x00\x00\x00"), 8, -ENOEXEC}, /* 16 */
};

static int decode(const char *bytes, unsigned n, unsigned code_size, struct insn *out)
{
    uint8_t copy[INSN_MAX_LENGTH] = {0};
    memcpy(copy, bytes, n);
    return insn_decode(copy, n, code_size, out);
}

static void check_literal(unsigned row)
{
    const struct literal *l = &literals[row];
    struct insn got;
    int result = decode(l->bytes, l->n, l->code_size, &got);
    if (result != 0)
        fail_msg("row %u: %d", row, result);
#define SAME(field)                                                                                \
    if (got.field != l->insn.field)                                                                \
    fail_msg("row %u: " #field " is %llx", row, (unsigned long long)got.field)
    SAME(op);
    SAME(length);
    SAME(op_size);
    SAME(width);
    SAME(addr_size);
    SAME(reg);
    SAME(extra);
    SAME(high_byte);
    SAME(has_imm);
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

static void test_literals(void **unused)
{
    (void)unused;
    for (unsigned i = 0; i < ARRAY_SIZE(literals); i++)
        check_literal(i);
}

static void test_refused(void **unused)
{
    struct insn insn;
    (void)unused;
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        int result = decode(refused[i].bytes, refused[i].n, refused[i].code_size, &insn);
        if (result != refused[i].result)
            fail_msg("row %zu: %d", i, result);
    }
}

/* Fills up with random bytes, hands it to the fuzz target, and counts what the decoder takes. */
static void compare(uint8_t input[16], unsigned n, uint64_t *random, unsigned *taken)
{
    static const uint8_t sizes[] = {2, 4, 8};
    struct insn insn;
    for (; n < 16; n++)
        input[n] = (uint8_t)(host_random(random) >> 32);
    LLVMFuzzerTestOneInput(input, 16);
    if (insn_decode(input + 1, 15, sizes[input[0] % 3], &insn) == 0)
        taken[insn.op]++;
}

static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0,
                                   0xf2, 0xf3, 0x40, 0x41, 0x42, 0x44, 0x48, 0x4f};

/* Every opcode of both maps, every ModRM byte, one prefix or none, in every mode. */
static void test_sweep(void **unused)
{
    uint64_t random = 1978;
    unsigned taken[INSN_OPS] = {0};
    (void)unused;
    for (unsigned i = 0; i < 3 * 2 * (ARRAY_SIZE(prefixes) + 1) * 0x10000; i++) {
        uint8_t input[16];
        unsigned n = 0, rest = i >> 16;
        input[n++] = (uint8_t)(rest % 3);
        rest /= 3;
        if (rest / 2 < ARRAY_SIZE(prefixes))
            input[n++] = prefixes[rest / 2];
        if (rest % 2)
            input[n++] = 0x0f;
        input[n++] = (uint8_t)(i >> 8);
        input[n++] = (uint8_t)i;
        compare(input, n, &random, taken);
    }
    for (unsigned op = 0; op < INSN_OPS; op++)
        assert_true(taken[op] > 0);
}

/* Up to five prefixes before opcodes that are often those of the decoder. */
static void test_random(void **unused)
{
    static const uint8_t two_byte[] = {0x01, 0x06, 0x08, 0x09, 0x20, 0x21, 0x22, 0x23,
                                       0x30, 0x32, 0xa2, 0xb6, 0xb7, 0xbe, 0xbf};
    static const uint8_t one_byte[] = {0x08, 0x09, 0x0a, 0x0b, 0x20, 0x21, 0x22, 0x23, 0x38, 0x39,
                                       0x3a, 0x3b, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87, 0xf6,
                                       0xf7, 0x63, 0x6c, 0x6d, 0x6e, 0x6f, 0x88, 0x89, 0x8a, 0x8b,
                                       0xa0, 0xa1, 0xa2, 0xa3, 0xaa, 0xab, 0xc6, 0xc7, 0xe4, 0xe5,
                                       0xe6, 0xe7, 0xec, 0xed, 0xee, 0xef, 0xf4};
    uint64_t random = 1985;
    unsigned taken[INSN_OPS] = {0};
    (void)unused;
    for (unsigned i = 0; i < RANDOM_CASES; i++) {
        uint64_t choice = host_random(&random);
        uint8_t input[16] = {(uint8_t)(choice % 3)};
        unsigned n = 1;
        for (uint64_t left = (choice >> 8) % 6; left > 0; left--)
            input[n++] = prefixes[host_random(&random) % ARRAY_SIZE(prefixes)];
        if (choice >> 16 & 1)
            input[n++] = one_byte[(choice >> 24) % ARRAY_SIZE(one_byte)];
        else if (choice >> 17 & 7)
            input[n++] = 0x0f;
        if (input[n - 1] == 0x0f)
            input[n++] = two_byte[(choice >> 24) % ARRAY_SIZE(two_byte)];
        compare(input, n, &random, taken);
    }
    for (unsigned op = 0; op < INSN_OPS; op++)
        assert_true(taken[op] > 0);
}

/* What was decoded before counts for nothing where a byte or the code's size is another. */
static void test_again(void **unused)
{
    static const uint8_t sizes[] = {2, 4, 8};
    struct decoded known = {.code_size = 0};
    uint64_t random = 1996;
    uint8_t code[16] = {0xc7, 0x80};
    unsigned kept = 0;
    (void)unused;
    assert_int_equal(sizeof(struct insn), 32); /* with nothing between its fields */
    for (unsigned i = 0; i < RANDOM_CASES / 10; i++) {
        uint64_t choice = host_random(&random), bytes[2];
        unsigned at = (unsigned)(choice % 15), size = sizes[(choice >> 8) % 3];
        if ((choice >> 16) % 4 == 0)
            code[at] = at == 0 ? (choice >> 24 & 1 ? 0xc7 : 0x8b) : (uint8_t)(choice >> 24);
        memcpy(bytes, code, sizeof(bytes));
        struct insn got = {0}, want = {0};
        int result = insn_decode(code, INSN_MAX_LENGTH, size, &want);
        kept += memcmp(known.bytes, bytes, sizeof(bytes)) == 0 && known.code_size == size;
        assert_int_equal(insn_decode_again(&known, bytes, size, &got), result);
        if (result == 0)
            assert_memory_equal(&got, &want, sizeof(got));
    }
    assert_true(kept > RANDOM_CASES / 100);
}

/* All of 0F 01 C0 to FF that a guest does not have, and INVPCID; with prefixes; cut short. */
static void test_absent(void **unused)
{
    static const char *const group7 = "\xc8\xc9\xd8\xda\xdb\xdc\xdd\xde\xdf\xfa\xfb\xfd\xfe\xff";
    (void)unused;
    for (unsigned modrm = 0; modrm < 256; modrm++) {
        uint8_t bytes[] = {0xf3, 0x0f, 0x01, (uint8_t)modrm};
        bool want = memchr(group7, (int)modrm, 14) != NULL;
        assert_int_equal(insn_is_absent(bytes + 1, 3, 8), want);
        assert_int_equal(insn_is_absent(bytes, 4, 4), want);
        assert_int_equal(insn_is_absent(bytes, 3, 8), -ENODATA);
    }
    assert_true(insn_is_absent((const uint8_t *)"\x66\x0f\x38\x82\x03", 5, 8));
    assert_true(insn_is_absent((const uint8_t *)"\x66\x48\x0f\x01\xd8", 5, 8));
    assert_false(insn_is_absent((const uint8_t *)"\x48\x0f\x01\xd8", 4, 4)); /* DEC EAX */
    assert_false(insn_is_absent((const uint8_t *)"\x0f\x38\x82\x03", 4, 8));
    assert_false(insn_is_absent((const uint8_t *)"\x66\x0f\x38\x80\x03", 5, 8));
    assert_false(insn_is_absent((const uint8_t *)"\x0e\x01\xd8", 3, 4));
    assert_int_equal(insn_is_absent((const uint8_t *)"\x0f\x32", 2, 8), 0);
    assert_int_equal(insn_is_absent((const uint8_t *)"\x0f", 1, 8), -ENODATA);
    assert_int_equal(insn_is_absent((const uint8_t *)"\x66", 1, 8), -ENODATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_absent),  cmocka_unit_test(test_literals),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_random),  cmocka_unit_test(test_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
