/* Output on COM1, and the end. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tick.h"

enum { COM1 = 0x3f8, DEBUG_EXIT = 0xf4 };

void serial_init(void)
{
    outb(COM1 + 1, 0x00);
    outb(COM1 + 3, 0x80); /* 38400 baud */
    outb(COM1 + 0, 0x03);
    outb(COM1 + 1, 0x00);
    outb(COM1 + 3, 0x03);
    outb(COM1 + 2, 0xc7);
    outb(COM1 + 4, 0x0b);
}

static void put(char c)
{
    while ((inb(COM1 + 5) & 0x20) == 0)
        ;
    outb(COM1, (uint8_t)c);
}

void print(const char *text)
{
    for (; *text != 0; text++) {
        if (*text == '\n')
            put('\r');
        put(*text);
    }
}

void print_number(const char *before, uint32_t number, const char *after)
{
    char digits[11], *at = digits + sizeof(digits) - 1;
    *at = 0;
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    print(before);
    print(at);
    print(after);
}

void quit(uint32_t code)
{
    while ((inb(COM1 + 5) & 0x40) == 0)
        ;
    outl(DEBUG_EXIT, code);
    for (;;)
        __asm__ volatile("cli; hlt");
}

void fail(const char *why)
{
    print("FAIL: ");
    print(why);
    print("\n");
    quit(1);
}
