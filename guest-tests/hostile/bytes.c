/*
 * One instruction of random bytes, single-stepped. What it may not be is what would end the guest
 * or take its footing away: I/O (of which operations.c chooses the ports), HLT at CPL 0, and
 * writes of system registers, which operations.c makes together with what undoes them.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/hostile/hostile.h"
#include "guest-tests/runtime/machine.h"

enum { LENGTH = 15, PREFIXES = 8 };

static bool is_among(unsigned byte, const uint8_t *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (byte == list[i])
            return true;
    return false;
}

static bool is_prefix(unsigned byte, const struct mode *mode)
{
    static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
                                       0x66, 0x67, 0xf0, 0xf2, 0xf3};
    return is_among(byte, prefixes, sizeof(prefixes)) ||
           (mode->bits == 64 && byte >= 0x40 && byte <= 0x4f);
}

/* In real mode no segment but DS, ES and SS as they are keeps a store off the handlers. */
static bool prefix_allowed(unsigned byte, const struct mode *mode)
{
    return mode->family != FAMILY_REAL || (byte != 0x2e && byte != 0x67);
}

static bool is_io(unsigned op)
{
    return (op >= 0x6c && op <= 0x6f) || (op >= 0xe4 && op <= 0xe7) || (op >= 0xec && op <= 0xef);
}

/* Behind 0Fh: what exits on SVM, as LGDT to LMSW, CPUID, RDMSR. */
static bool may_exit(unsigned op)
{
    static const uint8_t exits[] = {0x01, 0x08, 0x09, 0x20, 0x22, 0x30, 0x32, 0x33, 0xa2, 0xaa};
    return is_among(op, exits, sizeof(exits));
}

/* Behind 0Fh: not LSS; at CPL 0 not LGDT to LMSW, MOV of control and debug registers, WRMSR. */
static bool second_allowed(unsigned op, const struct mode *mode)
{
    static const uint8_t loads[] = {0xa1, 0xa9, 0xb4, 0xb5};
    if (op == 0xb2 || (may_exit(op) && !hostile_can_step_exits()))
        return false;
    if (mode->cpl == 3 || mode->v86)
        return true;
    if (op == 0x00 || op == 0x01 || (op >= 0x20 && op <= 0x27) || op == 0x30)
        return false;
    return !mode->fragile || !is_among(op, loads, sizeof(loads));
}

/*
 * POP SS, MOV SS: the step comes one instruction later, of which nothing is known. Emulator
 * deviation: QEMU's TCG delays it at STI too.
 */
static bool delays_step(unsigned op, unsigned modrm)
{
    return op == 0x17 || op == 0xfb || (op == 0x8e && (modrm >> 3 & 7) == 2);
}

/*
 * Emulator deviation: QEMU's TCG ends itself at VPERMILPS in the form 0F 38 0C, without a prefix,
 * and at forms of VEX (C4h, C5h) that the manuals refuse: PINSRW and VROUNDSS with L set, and
 * others. None of VEX exits.
 */
static bool ends_emulator(const uint8_t *op, const struct mode *mode)
{
    bool is_vex = (op[0] == 0xc4 || op[0] == 0xc5) && (mode->bits == 64 || op[1] >= 0xc0);
    return is_vex || (op[0] == 0x0f && op[1] == 0x38 && op[2] == 0x0c);
}

/* Where exceptions use the code's own stack, SP and SS stay as they are. */
static bool keeps_stack(unsigned op, unsigned modrm)
{
    static const uint8_t changes[] = {0x07, 0x1f, 0x44, 0x4c, 0x5c, 0x8e, 0x94, 0xbc,
                                      0xc4, 0xc5, 0xc8, 0xc9, 0xca, 0xcb, 0xcf, 0xc2};
    if (is_among(op, changes, sizeof(changes)))
        return false;
    return (modrm >> 3 & 7) != 4 && (modrm & 0xc7) != 0xc4;
}

/*
 * With CPL 0 the core is writable, and what registers hold leads there if it is scaled (8 *
 * DATA, 4 * STACK + DATA): no two bytes may say so, of those that could be ModRM and SIB.
 */
static bool is_scaled(const uint8_t *op)
{
    enum { MODRM_FIRST = 1, MODRM_LAST = 5 };
    for (unsigned i = MODRM_FIRST; i <= MODRM_LAST; i++)
        if (op[i] < 0xc0 && (op[i] & 7) == 4 && op[i + 1] >= 0x40)
            return true;
    return false;
}

static bool allowed(const uint8_t *bytes, const struct mode *mode)
{
    unsigned i = 0;
    for (; i < PREFIXES && is_prefix(bytes[i], mode); i++)
        if (!prefix_allowed(bytes[i], mode))
            return false;
    unsigned op = bytes[i], modrm = bytes[i + 1];
    bool outer = mode->cpl == 3 || mode->v86;
    if (is_prefix(op, mode) || is_io(op))
        return false;
    if (op == 0x0f && !second_allowed(modrm, mode))
        return false;
    if (delays_step(op, modrm) || (op == 0xf4 && !outer))
        return false;
    if (!outer && is_scaled(bytes + i))
        return false;
    if (!machine.intel && ends_emulator(bytes + i, mode))
        return false;
    return !mode->fragile || keeps_stack(op, op == 0x0f ? bytes[i + 2] : modrm);
}

static void make(uint8_t *bytes, const struct mode *mode)
{
    uint64_t low = random64(), high = random64();
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(low >> 8 * i);
    for (unsigned i = 8; i < LENGTH; i++)
        bytes[i] = (uint8_t)(high >> 8 * (i - 8));
    unsigned at = 0;
    if (mode->bits == 64 && one_in(2))
        bytes[at++] = (uint8_t)(0x40 | random_below(16));
    if (one_in(3))
        bytes[at] = 0x0f;
}

void emit_random_bytes(const struct mode *mode, unsigned slot)
{
    uint8_t bytes[LENGTH];
    (void)slot;
    do
        make(bytes, mode);
    while (!allowed(bytes, mode));
    e8(0xcc);
    for (unsigned i = 0; i < LENGTH; i++)
        e8(bytes[i]);
}
