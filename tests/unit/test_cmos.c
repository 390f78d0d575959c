/* The machine's real-time clock, read from a chip of which the test says what it holds. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/string.h"
#undef memcpy
#undef memset

#include <time.h>

#include "lib/x86.h"
#include "tests/unit/host.h"

static uint8_t read_port(uint16_t port);
static void write_port(uint16_t port, uint8_t value);

#define in8  read_port
#define out8 write_port

#include "drivers/cmos.c"

enum { BINARY = 4, HOURS_24 = 2, PM = 0x80, UIP = 0x80, A = 10, B = 11 };
enum { TO_2000 = 946684800 };

/* The cells as the chip has them; what it reads as by the number of the read. */
static struct {
    uint8_t cell[128], index;
    unsigned reads;
    unsigned updating;      /* so many reads of register A say that an update is going on */
    unsigned changes_at;    /* the read before which NEXT takes the place of the cells; 0: none */
    unsigned changes_again; /* and so often more, with the same distance, in turns */
    uint8_t next[128];
} chip;

static void change(void)
{
    uint8_t old[sizeof(chip.cell)];
    memcpy(old, chip.cell, sizeof(old));
    memcpy(chip.cell, chip.next, sizeof(old));
    memcpy(chip.next, old, sizeof(old));
}

static uint8_t read_port(uint16_t port)
{
    assert_int_equal(port, 0x71);
    if (++chip.reads == chip.changes_at) {
        change();
        chip.changes_at = chip.changes_again > 0 ? chip.reads + 12 : 0;
        chip.changes_again -= chip.changes_again > 0;
    }
    if (chip.index != A)
        return chip.cell[chip.index];
    bool updating = chip.updating > 0;
    chip.updating -= updating;
    return updating ? UIP | 0x26 : 0x26;
}

/* Registers are only chosen, never written. */
static void write_port(uint16_t port, uint8_t value)
{
    assert_int_equal(port, 0x70);
    assert_true(value < sizeof(chip.cell));
    chip.index = value;
}

static uint8_t coded(int value, uint8_t status)
{
    return (uint8_t)((status & BINARY) != 0 ? value : value / 10 * 16 + value % 10);
}

static uint8_t coded_hour(int hour, uint8_t status)
{
    if ((status & HOURS_24) != 0)
        return coded(hour, status);
    return coded((hour + 11) % 12 + 1, status) | (hour >= 12 ? PM : 0);
}

static void fill(uint8_t *cell, uint64_t when, uint8_t status)
{
    time_t seconds = (time_t)when;
    const struct tm *tm = gmtime(&seconds);
    assert_non_null(tm);
    cell[0] = coded(tm->tm_sec, status);
    cell[2] = coded(tm->tm_min, status);
    cell[4] = coded_hour(tm->tm_hour, status);
    cell[7] = coded(tm->tm_mday, status);
    cell[8] = coded(tm->tm_mon + 1, status);
    cell[9] = coded(tm->tm_year % 100, status);
    cell[B] = status;
}

static void set(uint64_t when, uint8_t status)
{
    memset(&chip, 0, sizeof(chip));
    fill(chip.cell, when, status);
}

/* By the C library, each hour of some days and some of every month of the century. */
static void times(void **state)
{
    static const uint8_t statuses[] = {0, BINARY, HOURS_24, BINARY | HOURS_24};
    (void)state;
    for (unsigned s = 0; s < sizeof(statuses); s++) {
        for (uint64_t hour = 0; hour < 48; hour++) {
            set(TO_2000 + hour * 3600 + 59 * 61, statuses[s]);
            assert_int_equal(cmos_unix_time(), TO_2000 + hour * 3600 + 59 * 61);
        }
        for (uint64_t when = TO_2000; when < TO_2000 + 100ull * 31557600; when += 1000003) {
            set(when, statuses[s]);
            assert_int_equal(cmos_unix_time(), when);
        }
    }
}

static void expect_date(unsigned year, unsigned month, unsigned day, uint64_t days)
{
    set(TO_2000, BINARY | HOURS_24);
    chip.cell[7] = (uint8_t)day;
    chip.cell[8] = (uint8_t)month;
    chip.cell[9] = (uint8_t)year;
    assert_int_equal(cmos_unix_time(), TO_2000 + days * 86400);
}

/* Days since 2000, counted by hand; and dates that there are not, which are taken as 2000. */
static void dates(void **state)
{
    (void)state;
    expect_date(0, 2, 29, 59);
    expect_date(0, 3, 1, 60);
    expect_date(1, 1, 1, 366);
    expect_date(4, 2, 28, 4 * 365 + 1 + 58);
    expect_date(4, 3, 1, 4 * 365 + 1 + 60);
    expect_date(99, 12, 31, 36524);
    static const uint8_t wrong[][3] = {{1, 0, 1},  {1, 13, 1},  {1, 1, 0},
                                       {1, 1, 32}, {100, 1, 1}, {255, 255, 255}};
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        expect_date(wrong[i][0], wrong[i][1], wrong[i][2], 0);
}

/* While an update goes on, nothing is taken. */
static void updates(void **state)
{
    (void)state;
    set(TO_2000 + 86399, 0);
    chip.updating = 5;
    chip.changes_at = 5;
    fill(chip.next, TO_2000 + 86400, 0);
    assert_int_equal(cmos_unix_time(), TO_2000 + 86400);
}

/* An update between any two reads gives the time before it or after it, and no mixture. */
static void update_between(void **state)
{
    (void)state;
    for (unsigned at = 2; at < 40; at++) {
        set(TO_2000 + 366ull * 86400 - 1, HOURS_24);
        fill(chip.next, TO_2000 + 366ull * 86400, HOURS_24);
        chip.changes_at = at;
        assert_in_range(cmos_unix_time(), TO_2000 + 366ull * 86400 - 1, TO_2000 + 366ull * 86400);
    }
}

/* A chip that always updates, changes all the time, or is not there: some time, after a while. */
static void broken(void **state)
{
    (void)state;
    set(TO_2000 + 5, 0);
    chip.updating = UINT32_MAX;
    assert_int_equal(cmos_unix_time(), TO_2000 + 5);
    assert_in_range(chip.reads, 1, 3000000);
    set(TO_2000 + 5, 0);
    fill(chip.next, TO_2000 + 99, 0);
    chip.changes_at = 2;
    chip.changes_again = UINT32_MAX;
    (void)cmos_unix_time();
    assert_in_range(chip.reads, 1, 3000000);
    set(TO_2000, 0);
    memset(chip.cell, 0xff, sizeof(chip.cell));
    assert_in_range(cmos_unix_time(), TO_2000, TO_2000 + 256 * 3600 + 256 * 60 + 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times),          cmocka_unit_test(dates),  cmocka_unit_test(updates),
        cmocka_unit_test(update_between), cmocka_unit_test(broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
