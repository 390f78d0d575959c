/*
 * The real-time clock against a second model that goes cycle by cycle and second by second, on
 * random operations; the C library's calendar; and what the data sheet says, by hand.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <time.h>

#include "tests/unit/device_ops.h"
#include "tests/unit/host.h"
#include "vmm/devices/rtc.h"

static uint64_t seed = 146818;

static unsigned below(unsigned n)
{
    return (unsigned)(host_random(&seed) % n);
}

/* --- the second model ------------------------------------------------------------------------ */

struct naive {
    uint8_t ram[128];
    unsigned index;
    bool pf, af, uf;
    unsigned chain; /* cycles of the divider chain in this second */
    uint64_t tick, khz, sum;
    uint64_t irq_tick; /* when the interrupt came; 0: it has not since this was last cleared */
};

static bool naive_irq(const struct naive *n)
{
    unsigned b = n->ram[11];
    return (n->pf && (b & 64)) || (n->af && (b & 32)) || (n->uf && (b & 16));
}

static int get(const struct naive *n, int cell, int least, int most)
{
    int v = n->ram[cell];
    if (!(n->ram[11] & 4))
        v = v / 16 * 10 + v % 16;
    if (v < least)
        v = least;
    return v > most ? most : v;
}

static void put(struct naive *n, int cell, int v)
{
    n->ram[cell] = (uint8_t)(n->ram[11] & 4 ? v : v / 10 * 16 + v % 10);
}

/* 0 to 23, whatever the format. */
static int get_hour(struct naive *n)
{
    if (n->ram[11] & 2)
        return get(n, 4, 0, 23);
    bool pm = n->ram[4] & 0x80;
    n->ram[4] &= 0x7f;
    int hour = get(n, 4, 1, 12);
    if (hour == 12)
        hour = 0;
    return pm ? hour + 12 : hour;
}

static void put_hour(struct naive *n, int hour)
{
    bool pm = hour >= 12;
    if (n->ram[11] & 2) {
        put(n, 4, hour);
        return;
    }
    if (pm)
        hour -= 12;
    put(n, 4, hour == 0 ? 12 : hour);
    if (pm)
        n->ram[4] |= 0x80;
}

static int month_days(int year, int month)
{
    switch (month) {
    case 2:
        return year % 4 == 0 ? 29 : 28;
    case 4:
    case 6:
    case 9:
    case 11:
        return 30;
    default:
        return 31;
    }
}

static void next_day(struct naive *n)
{
    int year = get(n, 9, 0, 99), month = get(n, 8, 1, 12);
    int day = get(n, 7, 1, month_days(year, month)) + 1;
    int century = get(n, 0x32, 0, 99);
    put(n, 6, get(n, 6, 1, 7) % 7 + 1);
    if (day > month_days(year, month)) {
        day = 1;
        month++;
    }
    if (month > 12) {
        month = 1;
        year++;
    }
    if (year > 99) {
        year = 0;
        century = (century + 1) % 100;
    }
    put(n, 7, day);
    put(n, 8, month);
    put(n, 9, year);
    put(n, 0x32, century);
}

/* What is no time becomes one in an update, although nothing else changes it. */
static void settle_date(struct naive *n)
{
    int year = get(n, 9, 0, 99), month = get(n, 8, 1, 12);
    put(n, 6, get(n, 6, 1, 7));
    put(n, 7, get(n, 7, 1, month_days(year, month)));
    put(n, 8, month);
    put(n, 9, year);
    put(n, 0x32, get(n, 0x32, 0, 99));
}

static bool alarm_is(const struct naive *n, int cell)
{
    return (n->ram[cell] & 0xc0) == 0xc0 || n->ram[cell] == n->ram[cell - 1];
}

static void naive_update(struct naive *n)
{
    int second = get(n, 0, 0, 59) + 1, minute = get(n, 2, 0, 59), hour = get_hour(n);
    settle_date(n);
    if (second == 60) {
        second = 0;
        minute++;
    }
    if (minute == 60) {
        minute = 0;
        hour++;
    }
    if (hour == 24) {
        hour = 0;
        next_day(n);
    }
    put(n, 0, second);
    put(n, 2, minute);
    put_hour(n, hour);
    n->uf = true;
    if (alarm_is(n, 1) && alarm_is(n, 3) && alarm_is(n, 5))
        n->af = true;
}

/* "Periodic Interrupt Rate and Square Wave Output Frequency", for 32.768 kHz, in cycles. */
static const unsigned periods[] = {0,   128, 256, 4,    8,    16,   32,   64,
                                   128, 256, 512, 1024, 2048, 4096, 8192, 16384};

static bool naive_runs(const struct naive *n)
{
    return (n->ram[10] & 0x70) == 0x20;
}

static void naive_cycle(struct naive *n)
{
    if (!naive_runs(n)) {
        n->chain = 0;
        return;
    }
    unsigned period = periods[n->ram[10] & 15];
    n->chain = (n->chain + 1) % 32768;
    if (period != 0 && n->chain % period == 0)
        n->pf = true;
    if (n->chain == 16384 + 65 && !(n->ram[11] & 0x80))
        naive_update(n);
    if (naive_irq(n) && n->irq_tick == 0)
        n->irq_tick = n->tick;
}

static void naive_tick(struct naive *n)
{
    n->tick++;
    for (n->sum += 32768; n->sum >= 1000 * n->khz; n->sum -= 1000 * n->khz)
        naive_cycle(n);
}

/* A whole second from wherever it is in one. */
static void naive_second(struct naive *n)
{
    n->tick += 1000 * n->khz;
    if (!naive_runs(n))
        return;
    if (periods[n->ram[10] & 15] != 0)
        n->pf = true;
    if (!(n->ram[11] & 0x80))
        naive_update(n);
}

static unsigned naive_read(struct naive *n)
{
    unsigned value = n->ram[n->index];
    if (n->index == 10 && !(n->ram[11] & 0x80) && n->chain >= 16384 - 8 && n->chain < 16384 + 65)
        value |= 0x80;
    if (n->index == 12) {
        value = (naive_irq(n) ? 0x80u : 0) + n->pf * 0x40u + n->af * 0x20u + n->uf * 0x10u;
        n->pf = n->af = n->uf = false;
    }
    return value;
}

static void naive_write(struct naive *n, unsigned value)
{
    bool set = n->ram[11] & 0x80;
    if (n->index == 12 || n->index == 13)
        return;
    n->ram[n->index] = (uint8_t)value;
    if (n->index == 10)
        n->ram[10] &= 0x7f;
    if (n->index == 11 && !set && (value & 0x80))
        n->ram[11] &= 0xef;
    if (!naive_runs(n))
        n->chain = 0;
}

/* --- random operations ----------------------------------------------------------------------- */

struct both {
    struct rtc rtc;
    struct naive naive;
};

static void select_both(struct both *b, unsigned index)
{
    rtc_write(&b->rtc, RTC_INDEX, (uint8_t)(index | below(2) << 7), b->naive.tick);
    b->naive.index = index;
}

static void read_both(struct both *b, unsigned index)
{
    select_both(b, index);
    assert_int_equal(rtc_read(&b->rtc, RTC_DATA, b->naive.tick), naive_read(&b->naive));
}

static void write_both(struct both *b, unsigned index, unsigned value)
{
    select_both(b, index);
    rtc_write(&b->rtc, RTC_DATA, (uint8_t)value, b->naive.tick);
    naive_write(&b->naive, value);
}

/* An alarm that will come, perhaps. */
static unsigned alarm_value(const struct both *b, unsigned cell)
{
    if (below(2) == 0)
        return 0xc0 | below(64);
    return b->naive.ram[cell - 1] + below(3);
}

/* The end of a year is near, more often than by chance. */
static void write_time(struct both *b)
{
    static const uint8_t end[] = {0x59, 0, 0x59, 0, 0x23, 0, 7, 0x31, 0x12, 0x99};
    unsigned cell = below(10), value = below(4) == 0 ? below(256) : end[cell];
    if (cell == 1 || cell == 3 || cell == 5)
        value = alarm_value(b, cell);
    else if (b->naive.ram[11] & 4)
        value = value / 16 * 10 + value % 16;
    write_both(b, cell, value);
}

static void operate(struct both *b)
{
    unsigned what = below(32);
    if (what < 10)
        read_both(b, below(14));
    else if (what < 13)
        read_both(b, 12);
    else if (what < 18)
        write_time(b);
    else if (what == 18)
        write_both(b, 10, below(16) == 0 ? below(256) : 0x20 + below(16));
    else if (what == 19 && below(8) == 0)
        write_both(b, 11, below(256));
    else if (what < 21)
        write_both(b, 11,
                   (b->naive.ram[11] & 6u) | (below(256) & 0x79) | (below(8) == 0 ? 0x80 : 0));
    else if (what == 21)
        write_both(b, below(128), below(256));
    else
        read_both(b, below(128));
}

static void pass(struct both *b)
{
    struct naive *n = &b->naive;
    bool was = naive_irq(n);
    uint64_t due = rtc_due(&b->rtc);
    if (was)
        assert_int_equal(due, UINT64_MAX);
    n->irq_tick = 0;
    if (below(512) == 0) {
        for (unsigned s = below(32) == 0 ? below(200000) : below(200); s > 0; s--)
            naive_second(n);
        assert_int_equal(due <= n->tick, !was && naive_irq(n));
    } else {
        for (unsigned t = below(200) == 0 ? below(40000) : below(100); t > 0; t--)
            naive_tick(n);
        if (!was && n->irq_tick != 0)
            assert_int_equal(due, n->irq_tick);
        else
            assert_true(due > n->tick);
    }
    assert_int_equal(rtc_interrupts(&b->rtc, n->tick), naive_irq(n));
}

static struct rtc_setup setup = {
    .khz = 33, .unix_time = 4102444790, .below_4g = 64 * MIB, .cpus = 1};

static void begin_both(struct both *b, unsigned khz)
{
    struct naive *n = &b->naive;
    memset(n, 0, sizeof(*n));
    n->tick = 5;
    n->khz = khz;
    n->chain = 16384 + 65;
    setup.khz = khz;
    rtc_create(&b->rtc, &setup, n->tick);
    for (unsigned i = 0; i < 128; i++) {
        rtc_write(&b->rtc, RTC_INDEX, (uint8_t)i, 5);
        n->ram[i] = rtc_read(&b->rtc, RTC_DATA, 5);
    }
    n->index = 127;
}

static void random_operations(void **context)
{
    static const unsigned rates[] = {30, 33, 40};
    unsigned long left = device_ops(10000000) / ARRAY_SIZE(rates);
    struct both b;
    (void)context;
    for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
        begin_both(&b, rates[i]);
        for (unsigned long k = 0; k < left; k++) {
            operate(&b);
            pass(&b);
        }
    }
}

/* --- by hand --------------------------------------------------------------------------------- */

static struct rtc rtc;

/* Ticks of 1 MHz. */
enum { KHZ = 1000, SECOND = 1000000 };

static void begin(uint64_t unix_time)
{
    struct rtc_setup one = {.khz = KHZ, .unix_time = unix_time, .below_4g = MIB, .cpus = 1};
    rtc_create(&rtc, &one, 0);
}

static unsigned read_at(unsigned cell, uint64_t now)
{
    rtc_write(&rtc, RTC_INDEX, (uint8_t)cell, now);
    return rtc_read(&rtc, RTC_DATA, now);
}

static void write_at(unsigned cell, unsigned value, uint64_t now)
{
    rtc_write(&rtc, RTC_INDEX, (uint8_t)cell, now);
    rtc_write(&rtc, RTC_DATA, (uint8_t)value, now);
}

static int bcd_at(unsigned cell, uint64_t now)
{
    unsigned v = read_at(cell, now);
    return (int)(v / 16 * 10 + v % 16);
}

static void expect_date(uint64_t unix_time, uint64_t now)
{
    time_t t = (time_t)unix_time;
    struct tm tm = *gmtime(&t);
    assert_int_equal(bcd_at(0, now), tm.tm_sec);
    assert_int_equal(bcd_at(2, now), tm.tm_min);
    assert_int_equal(bcd_at(4, now), tm.tm_hour);
    assert_int_equal(bcd_at(6, now), tm.tm_wday + 1);
    assert_int_equal(bcd_at(7, now), tm.tm_mday);
    assert_int_equal(bcd_at(8, now), tm.tm_mon + 1);
    assert_int_equal(bcd_at(9, now) + 100 * bcd_at(0x32, now), tm.tm_year + 1900);
}

static void calendar(void **context)
{
    (void)context;
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t first = host_random(&seed) % 4102444800, second = host_random(&seed) % 4102444800;
        begin(min_u64(first, second));
        expect_date(min_u64(first, second), 0);
        expect_date(max_u64(first, second),
                    (max_u64(first, second) - min_u64(first, second)) * SECOND);
    }
}

static void every_hour_in_every_format(void **context)
{
    (void)context;
    for (unsigned b = 0; b < 8; b += 2)
        for (int hour = 0; hour < 24; hour++) {
            begin(0);
            write_at(11, 0x80 | b, 0);
            int shown = b & 2 ? hour : hour % 12 == 0 ? 12 : hour % 12;
            int before = (hour + 23) % 24;
            int old = b & 2 ? before : before % 12 == 0 ? 12 : before % 12;
            bool pm = !(b & 2) && hour >= 12, old_pm = !(b & 2) && before >= 12;
            int coded = b & 4 ? old : old / 10 * 16 + old % 10;
            write_at(4, (unsigned)coded | (old_pm ? 0x80u : 0), 0);
            write_at(2, b & 4 ? 59 : 0x59, 0);
            write_at(0, b & 4 ? 59 : 0x59, 0);
            write_at(11, b, 0);
            coded = b & 4 ? shown : shown / 10 * 16 + shown % 10;
            assert_int_equal(read_at(4, SECOND), (unsigned)coded | (pm ? 0x80u : 0));
        }
}

/* UIP comes 244 us before an update of 1984 us, in which the time is still the old one. */
static void updates(void **context)
{
    (void)context;
    begin(0);
    assert_int_equal(read_at(10, SECOND - 2240), 0x26);
    assert_int_equal(read_at(10, SECOND - 2220), 0xa6);
    assert_int_equal(read_at(10, SECOND - 10), 0xa6);
    assert_int_equal(read_at(0, SECOND - 10), 0);
    assert_int_equal(read_at(10, SECOND), 0x26);
    assert_int_equal(read_at(0, SECOND), 1);
    assert_int_equal(read_at(12, SECOND), 0x50);
    assert_int_equal(read_at(12, SECOND), 0);
    write_at(11, 0x92, SECOND);
    assert_int_equal(read_at(11, SECOND), 0x82);
    assert_int_equal(read_at(10, 2 * SECOND - 10), 0x26);
    assert_int_equal(read_at(0, 5 * SECOND), 1);
    assert_int_equal(read_at(12, 5 * SECOND), 0x40);
    write_at(11, 0x12, 5 * SECOND);
    assert_int_equal(rtc_due(&rtc), 6 * SECOND);
    assert_true(rtc_interrupts(&rtc, 6 * SECOND));
    assert_int_equal(read_at(12, 6 * SECOND), 0xd0);
    assert_int_equal(read_at(13, 6 * SECOND), 0x80);
    write_at(10, 0x70, 6 * SECOND);
    write_at(10, 0x26, 9 * SECOND + 15625);
    assert_int_equal(read_at(0, 9 * SECOND + 15625), 2);
    assert_int_equal(rtc_due(&rtc), 9 * SECOND + 15625 + 501984); /* 1/2 s, 65 cycles */
}

static void rates(void **context)
{
    static const unsigned hz[] = {0,   256, 128, 8192, 4096, 2048, 1024, 512,
                                  256, 128, 64,  32,   16,   8,    4,    2};
    (void)context;
    for (unsigned rate = 0; rate < 16; rate++) {
        unsigned count = 0;
        begin(0);
        write_at(10, 0x20 + rate, 0);
        write_at(11, 0x42, 0);
        for (uint64_t due = rtc_due(&rtc); due <= 10 * SECOND; due = rtc_due(&rtc)) {
            assert_true(rtc_interrupts(&rtc, due));
            assert_int_equal(read_at(12, due) & 0xc0, 0xc0);
            count++;
        }
        assert_int_equal(count, 10 * hz[rate]);
    }
}

static void alarms(void **context)
{
    uint64_t day = 86400ull * SECOND;
    (void)context;
    begin(0);
    write_at(5, 0x13, 0);
    write_at(3, 0x05, 0);
    write_at(1, 0x30, 0);
    write_at(11, 0x22, 0);
    assert_int_equal(rtc_due(&rtc), (13 * 3600 + 5 * 60 + 30) * (uint64_t)SECOND);
    write_at(5, 0xc0, 0);
    assert_int_equal(rtc_due(&rtc), (5 * 60 + 30) * SECOND);
    write_at(3, 0xff, 0);
    assert_int_equal(rtc_due(&rtc), 30 * SECOND);
    write_at(1, 0xc5, 0);
    assert_int_equal(rtc_due(&rtc), SECOND);
    write_at(1, 0x60, 0); /* no such second */
    assert_int_equal(rtc_due(&rtc), UINT64_MAX);
    write_at(5, 0, 0);
    write_at(3, 0, 0);
    write_at(1, 0, 0);
    assert_int_equal(rtc_due(&rtc), day);
    assert_false(rtc_interrupts(&rtc, day - 1));
    assert_true(rtc_interrupts(&rtc, day));
    assert_int_equal(read_at(12, day), 0xf0);
}

static void memory_cells(void **context)
{
    struct rtc_setup big = {
        .khz = KHZ, .below_4g = 3 * GIB, .above_4g = 5 * GIB + 64 * KIB, .cpus = 4};
    unsigned sum = 0;
    (void)context;
    rtc_create(&rtc, &big, 0);
    assert_int_equal(read_at(0x15, 0) | read_at(0x16, 0) << 8, 640);
    assert_int_equal(read_at(0x17, 0) | read_at(0x18, 0) << 8, 65535);
    assert_int_equal(read_at(0x30, 0) | read_at(0x31, 0) << 8, 65535);
    assert_int_equal(read_at(0x34, 0) | read_at(0x35, 0) << 8, (3 * 1024 - 16) * 16);
    assert_int_equal(read_at(0x5b, 0) | read_at(0x5c, 0) << 8 | read_at(0x5d, 0) << 16,
                     5 * 16384 + 1);
    assert_int_equal(read_at(0x5f, 0), 3);
    for (unsigned i = 0x10; i <= 0x2d; i++)
        sum += read_at(i, 0);
    assert_int_equal(read_at(0x2e, 0) << 8 | read_at(0x2f, 0), sum);
    big.below_4g = 32 * MIB;
    big.above_4g = 0;
    rtc_create(&rtc, &big, 0);
    assert_int_equal(read_at(0x17, 0) | read_at(0x18, 0) << 8, 31 * 1024);
    assert_int_equal(read_at(0x30, 0) | read_at(0x31, 0) << 8, 31 * 1024);
    assert_int_equal(read_at(0x34, 0) | read_at(0x35, 0) << 8, 256);
    assert_int_equal(read_at(0x5b, 0) | read_at(0x5c, 0) | read_at(0x5d, 0), 0);
    big.below_4g = 512 * KIB;
    rtc_create(&rtc, &big, 0);
    assert_int_equal(read_at(0x30, 0) | read_at(0x31, 0) | read_at(0x34, 0) | read_at(0x35, 0), 0);
}

static void a_reset_keeps_the_time(void **context)
{
    (void)context;
    begin(0);
    write_at(0x60, 0x5a, 0);
    write_at(11, 0x7e, 0);
    assert_true(rtc_interrupts(&rtc, SECOND));
    rtc_reset(&rtc, 3 * SECOND);
    assert_false(rtc_interrupts(&rtc, 3 * SECOND));
    assert_int_equal(read_at(11, 3 * SECOND), 0x06);
    assert_int_equal(read_at(12, 3 * SECOND), 0);
    assert_int_equal(read_at(0, 3 * SECOND), 3);
    assert_int_equal(read_at(0x60, 3 * SECOND), 0x5a);
    assert_int_equal(rtc_read(&rtc, RTC_INDEX, 3 * SECOND), 0xff);
}

static void described(void **context)
{
    char text[256];
    (void)context;
    begin(951868799); /* 2000-02-29 23:59:59, a Tuesday */
    read_at(13, SECOND);
    size_t length = rtc_describe(&rtc, text, sizeof(text));
    assert_int_equal(length, strlen(text));
    assert_string_equal(text, "RTC: 2000-03-01 00:00:00, day 4, alarm 00:00:00\n"
                              "RTC: index 0d, A 26, B 02, C 70\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calendar),
        cmocka_unit_test(every_hour_in_every_format),
        cmocka_unit_test(updates),
        cmocka_unit_test(rates),
        cmocka_unit_test(alarms),
        cmocka_unit_test(memory_cells),
        cmocka_unit_test(a_reset_keeps_the_time),
        cmocka_unit_test(described),
        cmocka_unit_test(random_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
