/* Random numbers, and the filling of the code page: one operation in each slot. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/hostile/hostile.h"
#include "guest-tests/runtime/smp.h"
#include "lib/assert.h"
#include "lib/string.h"
#include "lib/x86.h"

uint64_t generated[MAX_OPERATIONS];

static uint64_t states[SMP_MAX];
static uint8_t *out, *slot_end;

/*
 * Vigna, "An experimental exploration of Marsaglia's xorshift generators": xorshift64*. Each CPU
 * has numbers of its own.
 */
uint64_t random64(void)
{
    uint64_t *state = &states[smp_index()];
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1d;
}

void random_seed(uint64_t seed)
{
    for (unsigned i = 0; i < SMP_MAX; i++) {
        states[i] = (seed + ((uint64_t)i << 32)) * 0x9e3779b97f4a7c15 + 1;
        if (states[i] == 0)
            states[i] = 1;
    }
    for (unsigned i = 0; i < 8; i++)
        random64();
}

uint32_t random_below(uint32_t end)
{
    return (uint32_t)((random64() >> 32) * end >> 32);
}

bool one_in(uint32_t n)
{
    return random_below(n) == 0;
}

/* Never an address of the code page: what a register leads to is data or nothing. */
uint64_t interesting(void)
{
    switch (random_below(8)) {
    case 0:
        return random_below(64);
    case 1:
        return 1ull << random_below(64);
    case 2:
        return (1ull << random_below(64)) - 1;
    case 3:
        return DATA + random_below(0x2000);
    case 4:
        return STACK + random_below(0x10000);
    case 5:
        return (uint32_t)random64();
    case 6:
        return (uint64_t)(int64_t)(int32_t)(uint32_t)random64();
    default:
        return random64();
    }
}

void e8(unsigned byte)
{
    assert(out < slot_end);
    *out++ = (uint8_t)byte;
}

void e16(unsigned value)
{
    e8(value & 0xff);
    e8(value >> 8 & 0xff);
}

void e32(uint64_t value)
{
    e16((unsigned)(value & 0xffff));
    e16((unsigned)(value >> 16 & 0xffff));
}

void e64(uint64_t value)
{
    e32(value);
    e32(value >> 32);
}

static const struct operation *pick(const struct mode *mode)
{
    static uint32_t sum;
    if (sum == 0)
        for (unsigned i = 0; i < kind_count; i++)
            sum += kinds[i].weight;
    for (;;) {
        uint32_t at = random_below(sum);
        const struct operation *op = kinds;
        for (; at >= op->weight; op++)
            at -= op->weight;
        if (op->fits == NULL || op->fits(mode))
            return op;
    }
}

/* The rest of a slot is jumped over; at least one byte of it is left, so that no trap ends beyond.
 */
static void finish_slot(void)
{
    unsigned left = (unsigned)(slot_end - out);
    assert(left >= 1);
    if (left >= 2) {
        e8(0xeb);
        e8(left - 2);
    }
    while (out < slot_end)
        e8(left >= 2 ? 0xcc : 0x90);
}

void generate_registers(void)
{
    for (unsigned i = 0; i < POOL_ENTRIES * 2; i++) {
        uint32_t at = random_below(POOL_ENTRIES * 16);
        hostile_pool[at / 16][at % 16] = interesting();
    }
}

void generate(const struct mode *mode)
{
    for (unsigned slot = 0; slot < SLOTS - 1; slot++) {
        const struct operation *op = pick(mode);
        out = (uint8_t *)CODE + slot * SLOT_SIZE;
        slot_end = out + SLOT_SIZE;
        op->emit(mode, slot);
        finish_slot();
        generated[op - kinds]++;
    }
}
