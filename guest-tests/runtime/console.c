/* The guest's serial line (a 16550 on COM1), and its end by the exit port. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"

#include "lib/assert.h"
#include "lib/format.h"
#include "lib/x86.h"
#include "vmm/abi.h"

enum { DATA = 0x3f8, INTERRUPTS, FIFO, LINE, MODEM, LINE_STATUS };
enum { LSR_THRE = 1 << 5, LSR_TEMT = 1 << 6, LCR_8N1 = 3, LCR_DLAB = 1 << 7 };
enum { POLLS = 1000000, ASSERT_VALUE = 3 };

static bool present;
static bool printing;

void console_init(void)
{
    present = in8(LINE_STATUS) != 0xff;
    if (!present)
        return;
    out8(INTERRUPTS, 0);
    out8(LINE, LCR_DLAB);
    out8(DATA, 1);
    out8(INTERRUPTS, 0);
    out8(LINE, LCR_8N1);
    out8(FIFO, 7);
    out8(MODEM, 3);
}

bool console_present(void)
{
    return present;
}

static void wait_for(uint8_t status)
{
    for (unsigned i = 0; present && i < POLLS && (in8(LINE_STATUS) & status) == 0; i++)
        cpu_relax();
}

static void put(char c)
{
    if (!present)
        return;
    wait_for(LSR_THRE);
    out8(DATA, (uint8_t)c);
}

/* A text is one CPU's; but one that was stopped in the middle of its text silences no other. */
static void wait_for_others(void)
{
    for (unsigned i = 0; i < POLLS && __atomic_exchange_n(&printing, true, __ATOMIC_ACQUIRE); i++)
        cpu_relax();
}

void print_v(const char *fmt, va_list args)
{
    char text[256];
    size_t n = format_v(text, sizeof(text), fmt, args);
    wait_for_others();
    for (size_t i = 0; i < n; i++)
        put(text[i]);
    __atomic_store_n(&printing, false, __ATOMIC_RELEASE);
}

void print(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    print_v(fmt, args);
    va_end(args);
}

void console_end(unsigned value)
{
    print("# exit: value %u\n", value);
    wait_for(LSR_TEMT);
}

noreturn void halt_forever(void)
{
    for (;;)
        __asm__ volatile("cli; hlt");
}

noreturn void guest_exit(unsigned value)
{
    assert(value <= 99);
    console_end(value);
    out8(PORT_EXIT, (uint8_t)value);
    halt_forever();
}

noreturn void assert_failed(const char *what, const char *file, int line)
{
    print("# assertion failed: %s, %s:%d\n", what, file, line);
    guest_exit(ASSERT_VALUE);
}
