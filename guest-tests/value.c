/*
 * The exit port: the VM ends with what is written there, at every width and by every form of OUT.
 *
 * row: value.0 end=0 plan=no cmdline="value=0"
 * row: value.7 end=7 cmdline="value=7" control=7
 * row: value.99 end=99 cmdline="value=99" control=99
 * row: value.100 end=99 cmdline="value=100" control=99
 * row: value.byte-imm end=11 cmdline="value=11 width=1 form=imm" control=11
 * row: value.word-imm end=12 cmdline="value=12 width=2 form=imm" control=12
 * row: value.dword-imm end=13 cmdline="value=13 width=4 form=imm" control=13
 * row: value.byte-dx end=14 cmdline="value=14 width=1" control=14
 * row: value.word-dx end=15 cmdline="value=15 width=2" control=15
 * row: value.dword-dx end=16 cmdline="value=16 width=4" control=16
 * row: value.byte-string end=17 cmdline="value=17 width=1 form=string" control=17
 * row: value.dword-string end=18 cmdline="value=18 width=4 form=string" control=18
 * row: value.byte-of-more end=19 cmdline="value=275 width=1" control=19
 * row: value.word-large end=99 cmdline="value=261 width=2" control=skip control-reason="7 bits"
 * row: value.dword-large end=99 cmdline="value=65541 width=4" control=skip control-reason="7 bits"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/machine.h"
#include "vmm/abi.h"

static void out_imm(uint32_t value, uint64_t width)
{
    if (width == 1)
        __asm__ volatile("outb %b0, %1" : : "a"(value), "i"(PORT_EXIT));
    else if (width == 2)
        __asm__ volatile("outw %w0, %1" : : "a"(value), "i"(PORT_EXIT));
    else
        __asm__ volatile("outl %0, %1" : : "a"(value), "i"(PORT_EXIT));
}

static void out_dx(uint32_t value, uint64_t width)
{
    if (width == 1)
        __asm__ volatile("outb %b0, %w1" : : "a"(value), "d"(PORT_EXIT));
    else if (width == 2)
        __asm__ volatile("outw %w0, %w1" : : "a"(value), "d"(PORT_EXIT));
    else
        __asm__ volatile("outl %0, %w1" : : "a"(value), "d"(PORT_EXIT));
}

static void out_string(uint32_t value, uint64_t width)
{
    const uint32_t *from = &value;
    if (width == 1)
        __asm__ volatile("outsb" : "+S"(from) : "d"(PORT_EXIT) : "memory");
    else
        __asm__ volatile("outsl" : "+S"(from) : "d"(PORT_EXIT) : "memory");
}

void test_main(void)
{
    uint32_t value = (uint32_t)cmdline_number("value", 1);
    uint64_t width = cmdline_number("width", 1);
    if (width < sizeof(value))
        console_end(value & ((1u << width * 8) - 1));
    else
        console_end(value);
    if (cmdline_has("form", "imm"))
        out_imm(value, width);
    else if (cmdline_has("form", "string"))
        out_string(value, width);
    else
        out_dx(value, width);
    halt_forever();
}
