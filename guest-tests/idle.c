/*
 * A guest to be looked at: it leaves a mark in memory, which it maps twice, and in R12, says that
 * it is there, and then exits for ever (`by=exits`), writes lines (`by=lines`), or never exits.
 * Interrupts are off but for a moment in each turn: Bochs 2.7 holds those of the host back after an
 * entry with RFLAGS.IF = 0 until the guest changes it. With `if=0` nothing changes it. With
 * `devices=set` it also leaves values in a register or two of each device.
 *
 * row: idle end=124 timeout=3 control=124 control-timeout=2
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/isa.h"
#include "guest-tests/runtime/machine.h"
#include "lib/string.h"
#include "lib/x86.h"

#define MARKED_RAM 0x2000000ull /* nothing is loaded there */

enum { PAGE_PCD = 1 << 4 };

static const char mark[] = "seen by monitor";

static void exit_for_ever(void)
{
    for (;;)
        __asm__ volatile("sti; cli; cpuid" : : "a"(0) : "rbx", "rcx", "rdx");
}

static void turn_for_ever(void)
{
    __asm__ volatile("movabs $0x1122334455667788, %%r12\n"
                     "1: sti; cli; pause; jmp 1b"
                     :
                     :
                     : "r12");
}

static void print_for_ever(void)
{
    for (unsigned turn = 0;; turn++) {
        print("turn %u\n", turn);
        for (unsigned i = 0; i < 1000000; i++)
            __asm__ volatile("sti; cli; pause");
    }
}

static void spin_for_ever(void)
{
    __asm__ volatile("cli\n1: pause; jmp 1b");
}

static void set_devices(void)
{
    static const struct {
        uint16_t port;
        uint8_t value;
    } writes[] = {
        {PIC_1, 0x11},  {PIC_1_DATA, 0x50}, {PIC_1_DATA, 4}, {PIC_1_DATA, 1}, {PIC_1_DATA, 0xff},
        {ELCR_2, 0x0c}, {0x43, 0xb2},       {0x42, 0x34},    {0x42, 0x12},    {0x70, 1},
        {0x71, 0x56},   {0x70, 3},          {0x71, 0x34},    {0x70, 5},       {0x71, 0x12},
        {0x2fb, 0x80},  {0x2f8, 0x34},      {0x2f9, 0x12},   {0x2fb, 0x1b},   {0x2fc, 3},
        {0x603, 1},
    };
    for (unsigned i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
        out8(writes[i].port, writes[i].value);
    out16(0x510, 0x19);
    pin_set(20, 0x0300000000000077);
}

void test_main(void)
{
    out8(0x21, 0xff); /* both interrupt controllers of the bare machine: all masked */
    out8(0xa1, 0xff);
    memcpy((char *)(uint64_t)window_map(0, MARKED_RAM, PAGE_P | PAGE_W), mark, sizeof(mark));
    window_map(0, MARKED_RAM, PAGE_P | PAGE_W | PAGE_PCD); /* an alias */
    if (cmdline_has("devices", "set"))
        set_devices();
    print("idle\n");
    if (cmdline_has("by", "exits"))
        exit_for_ever();
    if (cmdline_has("by", "lines"))
        print_for_ever();
    if (cmdline_has("if", "0"))
        spin_for_ever();
    turn_for_ever();
}
