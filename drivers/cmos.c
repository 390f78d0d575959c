/* Reads the machine's real-time clock (MC146818 data sheet). */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/cmos.h"

#include <stdbool.h>

#include "lib/string.h"
#include "lib/x86.h"

enum { PORT_INDEX = 0x70, PORT_DATA = 0x71 };
enum { SECOND = 0, MINUTE = 2, HOUR = 4, DAY = 7, MONTH = 8, YEAR = 9, STATUS_A = 10, STATUS_B };
enum { A_UPDATING = 0x80, B_24_HOURS = 2, B_BINARY = 4, HOUR_PM = 0x80 };

/* An update takes 2 ms: far fewer port reads than this on any machine. */
enum { PATIENCE = 100000 };

static uint8_t read_cell(unsigned cell)
{
    out8(PORT_INDEX, (uint8_t)cell);
    return in8(PORT_DATA);
}

static void read_all(uint8_t cells[STATUS_A])
{
    for (unsigned i = 0; i < PATIENCE && (read_cell(STATUS_A) & A_UPDATING) != 0; i++)
        ;
    for (unsigned i = 0; i < STATUS_A; i++)
        cells[i] = read_cell(i);
}

static unsigned number(uint8_t cell, uint8_t status)
{
    return (status & B_BINARY) != 0 ? cell : (cell >> 4) * 10u + (cell & 0xf);
}

static unsigned hours(uint8_t cell, uint8_t status)
{
    unsigned hour = number(cell & (uint8_t)~HOUR_PM, status);
    if ((status & B_24_HOURS) != 0)
        return number(cell, status);
    return hour % 12 + ((cell & HOUR_PM) != 0 ? 12 : 0);
}

/* Of this century: every fourth year is a leap year. */
static uint64_t days_since_1970(unsigned year, unsigned month, unsigned day)
{
    static const uint16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    enum { DAYS_TO_2000 = 10957 };
    if (month < 1 || month > 12 || day < 1 || day > 31 || year > 99)
        return DAYS_TO_2000;
    bool leap_day = year % 4 == 0 && month > 2;
    return DAYS_TO_2000 + 365 * year + (year + 3) / 4 + before[month - 1] + (leap_day ? 1 : 0) +
           day - 1;
}

uint64_t cmos_unix_time(void)
{
    uint8_t cells[STATUS_A], again[STATUS_A], status = read_cell(STATUS_B);
    unsigned tries = 0;
    do {
        read_all(cells);
        read_all(again);
    } while (memcmp(cells, again, sizeof(cells)) != 0 && tries++ < 8);
    uint64_t days = days_since_1970(number(cells[YEAR], status), number(cells[MONTH], status),
                                    number(cells[DAY], status));
    return days * 86400 + hours(cells[HOUR], status) * 3600u + number(cells[MINUTE], status) * 60u +
           number(cells[SECOND], status);
}
