/*
 * The text screen at B8000h: plain memory, whose lines the hypervisor's log shows when the VM ends
 * (tests/system/test_screen.py reads them there).
 *
 * row: text end=0
 * row: text.stop end=126 stopped="halted for good" cmdline="end=halt" control=124 control-timeout=3
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/assert.h"

enum { ROWS = 25, COLUMNS = 80, WHITE = 0x0700 };

static volatile uint16_t *const screen = (volatile uint16_t *)0xb8000;

static void write_at(unsigned row, unsigned column, const char *text)
{
    for (; *text != '\0'; text++)
        screen[row * COLUMNS + column++] = (uint16_t)(WHITE | (uint8_t)*text);
}

static void clear(void)
{
    for (unsigned i = 0; i < ROWS * COLUMNS; i++)
        screen[i] = WHITE | ' ';
}

static void lines(void)
{
    if (!cmdline_has("clear", "no"))
        clear();
    if (cmdline_has("write", "no"))
        return;
    write_at(0, 0, "first line");
    write_at(2, 3, "exit: vm text value 9   ");
    write_at(5, 0, "\x01 bell\x07 high\xb0 del\x7f");
    write_at(23, 79, "xy");
}

static void read_back(void)
{
    expect(screen[0] == (WHITE | 'f'), "cell 0 is %x", screen[0]);
    expect(screen[24 * COLUMNS] == (WHITE | 'y'), "the last row's first cell is %x",
           screen[24 * COLUMNS]);
}

static const struct test_case cases[] = {
    {"what is written is read", NULL, read_back},
};

void test_main(void)
{
    lines();
    if (cmdline_has("end", "halt") || cmdline_has("write", "no"))
        halt_forever();
    ktap_all(cases, ARRAY_SIZE(cases));
}
