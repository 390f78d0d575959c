/*
 * HLT that nothing can end: interrupts off for good, or on with no source that could raise one.
 *
 * row: halt end=126 stopped="halted for good" control=124 control-timeout=3
 * row: halt.sti end=126 stopped="halted for good" cmdline="irq=on" control=124 control-timeout=3
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/machine.h"
#include "lib/x86.h"

void test_main(void)
{
    out8(0x21, 0xff); /* both interrupt controllers of the bare machine: all masked */
    out8(0xa1, 0xff);
    if (cmdline_has("irq", "on"))
        __asm__ volatile("sti; hlt; cli");
    else
        __asm__ volatile("cli; hlt");
    guest_exit(1);
}
