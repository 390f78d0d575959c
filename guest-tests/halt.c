/*
 * HLT that nothing can end: interrupts off for good, with a timer that sends no NMI and a device
 * that never sends its own; the same in an NMI's handler, while that timer sends more; or with
 * interrupts on and no source that raises one. And with them off one that an INIT by LINT0 ends.
 *
 * row: halt end=126 stopped="halted for good" control=124 control-timeout=3
 * row: halt.nmi end=126 stopped="halted for good" cmdline="irq=nmi" control=skip
 *      control-reason="a bare machine halts for good there, too"
 * row: halt.init end=126 stopped="reset" cmdline="irq=init" control=skip
 *      control-reason="a bare machine starts its firmware"
 * row: halt.sti end=126 stopped="halted for good" cmdline="irq=on" control=124 control-timeout=3
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/isa.h"
#include "guest-tests/runtime/machine.h"
#include "lib/x86.h"

enum { VECTOR = 0x41, MS_COUNT = 1193 };

static void halt(void)
{
    __asm__ volatile("cli; hlt");
    guest_exit(1);
}

static bool on_nmi(struct fault_frame *frame)
{
    (void)frame;
    halt();
    return true;
}

/* Nothing on the way to LINT0 can rise, as that is masked at the 8259s. */
static void with_pins(uint32_t pit, uint32_t rtc)
{
    apic_enable();
    apic_set(LVT_LINT0, NMI);
    pit_start(2, MS_COUNT);
    pin_set(IRQ_RTC, rtc);
    pin_set(pin_of(IRQ_PIT), pit);
}

void test_main(void)
{
    out8(0x21, 0xff); /* both interrupt controllers of the bare machine: all masked */
    out8(0xa1, 0xff);
    if (cmdline_has("irq", "on")) {
        __asm__ volatile("sti; hlt; cli");
    } else if (cmdline_has("irq", "nmi")) {
        fault_hook = on_nmi;
        with_pins(NMI, PIN_MASKED);
        halt();
    } else if (cmdline_has("irq", "init")) {
        with_pins(PIN_MASKED, PIN_MASKED);
        apic_set(LVT_LINT0, INIT);
        pic_mask(IRQ_PIT, false);
        halt();
    } else {
        with_pins(VECTOR, NMI);
        halt();
    }
    guest_exit(1);
}
