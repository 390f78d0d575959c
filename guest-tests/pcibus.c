/*
 * The PCI bus of a machine: both ways to its configuration space, the host bridge, and that there
 * is nothing else where no device is passed through.
 *
 * row: pcibus end=0
 * row: pcibus.2 end=0 cpus=2
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/smp.h"
#include "lib/x86.h"

enum { CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc, DEVICES = 32, FUNCTIONS = 8, ROUNDS = 2000 };

#define ENABLE    0x80000000u
#define WRITABLE  0x80fffffcu
#define ECAM      0xe0000000u
#define ECAM_SIZE 0x100000u

static uint32_t config(unsigned at, unsigned reg)
{
    out32(CONFIG_ADDRESS, ENABLE | at << 8 | reg);
    return in32(CONFIG_DATA);
}

static const volatile uint32_t *ecam(unsigned at, unsigned reg)
{
    return (const volatile uint32_t *)(uint64_t)(ECAM + at * 0x1000 + reg);
}

/* "Configuration Mechanism #1": a register for whole dwords. */
static void address(void)
{
    out32(CONFIG_ADDRESS, ENABLE | 0x00123454);
    uint32_t value = in32(CONFIG_ADDRESS);
    out8(CONFIG_ADDRESS, 0);
    out8(CONFIG_ADDRESS + 3, 0);
    expect((value & WRITABLE) == (ENABLE | 0x00123454), "%x", value);
    expect(in32(CONFIG_ADDRESS) == value, "then %x", in32(CONFIG_ADDRESS));
    out32(CONFIG_ADDRESS, 0);
    expect((in32(CONFIG_ADDRESS) & WRITABLE) == 0, "at last %x", in32(CONFIG_ADDRESS));
}

static void disabled(void)
{
    out32(CONFIG_ADDRESS, 0);
    uint32_t value = in32(CONFIG_DATA);
    expect(value == UINT32_MAX, "%x", value);
}

static void bridge(void)
{
    uint32_t id = config(0, 0), class = config(0, 8), header = config(0, 12);
    expect(id != UINT32_MAX && class >> 16 == 0x0600, "ID %x, class %x", id, class);
    expect((header >> 16 & 0x7f) == 0, "header %x", header);
}

static void widths(void)
{
    uint32_t id = config(0, 0);
    for (unsigned i = 0; i < 4; i++)
        expect(in8((uint16_t)(CONFIG_DATA + i)) == (uint8_t)(id >> 8 * i), "byte %u: %x", i,
               in8((uint16_t)(CONFIG_DATA + i)));
    for (unsigned i = 0; i < 4; i += 2)
        expect(in16((uint16_t)(CONFIG_DATA + i)) == (uint16_t)(id >> 8 * i), "word %u: %x", i,
               in16((uint16_t)(CONFIG_DATA + i)));
}

/* The parts of it that are elsewhere find nothing. */
static void crossing(void)
{
    uint32_t id = config(0, 0);
    expect(in32(CONFIG_DATA + 1) == (id >> 8 | 0xff000000), "behind: %x", in32(CONFIG_DATA + 1));
    expect(in32(CONFIG_DATA - 2) == (id << 16 | 0xffff), "before: %x", in32(CONFIG_DATA - 2));
}

static void nothing_else(void)
{
    for (unsigned at = 1; at < DEVICES * FUNCTIONS; at++)
        if (!expect(config(at, 0) == UINT32_MAX, "%x: %x", at, config(at, 0)))
            break;
    expect(config(0x100, 0) == UINT32_MAX, "bus 1: %x", config(0x100, 0));
}

static void same_by_ecam(void)
{
    for (unsigned at = 0; at < DEVICES * FUNCTIONS; at += at == 0 ? 1 : 5)
        for (unsigned reg = 0; reg < 0x100; reg += 4)
            if (!expect(*ecam(at, reg) == config(at, reg), "%x.%x: %x", at, reg, *ecam(at, reg)))
                return;
    expect(*ecam(0, 0x100) == UINT32_MAX, "beyond 100h: %x", *ecam(0, 0x100));
    expect(*ecam(0x100, 0) == UINT32_MAX, "bus 1: %x", *ecam(0x100, 0));
}

static void ecam_widths(void)
{
    uint64_t both = config(0, 0) | (uint64_t)config(0, 4) << 32;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t at = ECAM + i, want = both >> 8 * i;
        uint8_t byte = *(const volatile uint8_t *)at;
        uint32_t dword = *(const volatile uint32_t *)at;
        expect(byte == (uint8_t)want, "byte %u: %x", i, byte);
        expect(dword == (uint32_t)want, "dword %u: %x", i, dword);
    }
    uint64_t qword = *(const volatile uint64_t *)(uint64_t)ECAM;
    expect(qword == both, "%lx, not %lx", qword, both);
}

/* What a write changes there is nothing of; all instructions that the hole knows may be used. */
static void ecam_writes(void)
{
    uint64_t at = ECAM;
    uint32_t id = config(0, 0), value = 0;
    *(volatile uint32_t *)at = 0;
    __asm__ volatile("xchgl %0, (%1)" : "+r"(value) : "r"(at) : "memory");
    expect(value == id, "xchg: %x", value);
    __asm__ volatile("orl $-1, (%0)" : : "r"(at) : "memory");
    __asm__ volatile("rep stosl" : "+D"(at) : "c"(4), "a"(0) : "memory");
    expect(config(0, 0) == id && config(0, 4) == 0, "%x %x", config(0, 0), config(0, 4));
    expect(*ecam(1, 0) == UINT32_MAX, "nothing: %x", *ecam(1, 0));
}

static uint32_t odd;

/* By memory alone: CONFIG_ADDRESS is the first CPU's. */
static void look(unsigned cpu)
{
    for (unsigned i = 0; i < ROUNDS && cpu != 0; i++)
        odd += *ecam(0, 8) >> 16 != 0x0600 || *ecam(3, 0) != UINT32_MAX;
    for (unsigned i = 0; i < ROUNDS && cpu == 0; i++)
        odd += config(0, 8) >> 16 != 0x0600 || config(3 * FUNCTIONS, 0) != UINT32_MAX;
}

static const char *needs_two(void)
{
    return !machine.nosnoop ? "only under the hypervisor" : smp_count() < 2 ? "one CPU" : NULL;
}

static void at_once(void)
{
    smp_start();
    smp_begin(1, look);
    look(0);
    smp_wait(1);
    expect(odd == 0, "%u were wrong", odd);
}

static const struct test_case cases[] = {
    {"CONFIG_ADDRESS", NULL, address},
    {"CONFIG_DATA, not enabled", NULL, disabled},
    {"host bridge", NULL, bridge},
    {"CONFIG_DATA, widths", NULL, widths},
    {"CONFIG_DATA, in part", needs_nosnoop, crossing},
    {"no devices", needs_nosnoop, nothing_else},
    {"ECAM", needs_nosnoop, same_by_ecam},
    {"ECAM, widths", needs_nosnoop, ecam_widths},
    {"ECAM, writes", needs_nosnoop, ecam_writes},
    {"two CPUs at once", needs_two, at_once},
};

void test_main(void)
{
    ktap_all(cases, ARRAY_SIZE(cases));
}
