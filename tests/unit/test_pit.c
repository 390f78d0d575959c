/*
 * The 8254 against a second model that is clocked cycle by cycle, on random operations; and what
 * its data sheet says of each mode, by hand.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include "tests/unit/device_ops.h"
#include "tests/unit/host.h"
#include "vmm/devices/pit.h"
#include "vmm/host/rate.h"

static uint64_t seed = 8254;

static unsigned below(unsigned n)
{
    return (unsigned)(host_random(&seed) % n);
}

/* --- the second model ------------------------------------------------------------------------ */

struct naive_channel {
    int mode, access, word; /* word: as written */
    bool bcd;
    int bytes[2]; /* of the count register, low first */
    int pointer_w, pointer_r;
    bool written; /* since the control word */
    bool fresh;   /* null count */
    bool load_next, counting, armed, strobe;
    int ce, n, phase; /* phase: cycles of the half period in mode 3 */
    bool gate, out;
    int latch, status; /* -1: none */
};

struct naive {
    struct naive_channel c[3];
    uint64_t tick, cycles, khz, sum;
    uint64_t rise; /* the tick of channel 0's first rise since that was last asked; 0: none */
    unsigned port61;
};

static int limit(const struct naive_channel *c)
{
    return c->bcd ? 10000 : 65536;
}

static int as_number(const struct naive_channel *c)
{
    char text[8];
    int v = c->bytes[1] * 256 + c->bytes[0];
    if (c->bcd) {
        snprintf(text, sizeof(text), "%04x", (unsigned)v);
        v = atoi(text);
    }
    if (v == 1 && (c->mode == 2 || c->mode == 3))
        return 2;
    return v == 0 ? limit(c) : v;
}

static int as_read(const struct naive_channel *c)
{
    char text[8];
    if (!c->bcd)
        return c->ce % 65536;
    snprintf(text, sizeof(text), "%04d", c->ce % 10000);
    return (int)strtol(text, NULL, 16);
}

static void down(struct naive_channel *c)
{
    c->ce = c->ce % limit(c) == 0 ? limit(c) - 1 : c->ce - 1;
}

static void fetch(struct naive_channel *c)
{
    c->n = c->ce = as_number(c);
    if (c->mode == 3)
        c->ce = c->n / 2 * 2;
    c->phase = 0;
    c->fresh = false;
}

/* The cycle in which a count gets from the count register to the counting element. */
static void clock_load(struct naive_channel *c)
{
    fetch(c);
    c->load_next = false;
    c->counting = true;
    c->armed = true;
    c->out = c->mode >= 2;
}

static void clock_square(struct naive_channel *c)
{
    int half = c->out ? (c->n + 1) / 2 : c->n / 2;
    c->phase++;
    c->ce -= 2;
    if (c->phase < half)
        return;
    c->out = !c->out;
    fetch(c);
}

static void clock_rate(struct naive_channel *c)
{
    if (c->ce == 1) {
        fetch(c);
        c->out = true;
        return;
    }
    down(c);
    if (c->ce == 1)
        c->out = false;
}

static void clock_once(struct naive_channel *c)
{
    if (c->strobe) {
        c->strobe = false;
        c->out = true;
    }
    if (c->load_next) {
        clock_load(c);
        return;
    }
    if (!c->counting || (!c->gate && c->mode != 1 && c->mode != 5))
        return;
    if (c->mode == 3) {
        clock_square(c);
    } else if (c->mode == 2) {
        clock_rate(c);
    } else {
        down(c);
        if (c->ce == 0 && c->mode < 2)
            c->out = true;
        if (c->ce == 0 && c->mode >= 4 && c->armed) {
            c->armed = false;
            c->strobe = true;
            c->out = false;
        }
    }
}

static void note_rise(struct naive *n, bool before)
{
    if (!before && n->c[0].out && n->rise == 0)
        n->rise = n->tick;
}

/* So many cycles a tick as make 1193182 in 1000 KHZ of them. */
static void naive_tick(struct naive *n)
{
    n->tick++;
    for (n->sum += 1193182; n->sum >= 1000 * n->khz; n->sum -= 1000 * n->khz) {
        bool before = n->c[0].out;
        n->cycles++;
        for (int i = 0; i < 3; i++)
            clock_once(&n->c[i]);
        note_rise(n, before);
    }
}

static void naive_gate(struct naive_channel *c, bool gate)
{
    bool rises = gate && !c->gate;
    c->gate = gate;
    if (rises && c->written && (c->mode == 1 || c->mode == 2 || c->mode == 3 || c->mode == 5))
        c->load_next = true;
    if (!gate && (c->mode == 2 || c->mode == 3))
        c->out = true;
}

static void naive_control(struct naive_channel *c, int value)
{
    static const int modes[] = {0, 1, 2, 3, 4, 5, 2, 3};
    int ce = c->ce;
    bool gate = c->gate;
    memset(c, 0, sizeof(*c));
    c->word = value & 0x3f;
    c->mode = modes[value / 2 % 8];
    c->access = value / 16 % 4;
    c->bcd = value % 2;
    c->ce = ce % limit(c);
    c->gate = gate;
    c->latch = c->status = -1;
    c->fresh = true;
    c->out = c->mode != 0;
}

static void naive_latch(struct naive_channel *c)
{
    if (c->latch < 0)
        c->latch = as_read(c);
}

static void naive_status(struct naive_channel *c)
{
    if (c->status < 0)
        c->status = c->word + (c->out ? 128 : 0) + (c->fresh ? 64 : 0);
}

static void naive_command(struct naive *n, int value)
{
    bool before = n->c[0].out;
    if (value >= 0xc0) {
        for (int i = 0; i < 3; i++) {
            if ((value & 2 << i) && !(value & 0x20))
                naive_latch(&n->c[i]);
            if ((value & 2 << i) && !(value & 0x10))
                naive_status(&n->c[i]);
        }
    } else if ((value & 0x30) == 0) {
        naive_latch(&n->c[value / 64]);
    } else {
        naive_control(&n->c[value / 64], value);
    }
    note_rise(n, before);
}

static void naive_count(struct naive_channel *c, int value)
{
    bool whole = c->access != 3 || c->pointer_w == 1;
    int at = c->access == 2 || (c->access == 3 && c->pointer_w == 1);
    c->bytes[at] = value;
    c->pointer_w = whole ? 0 : 1;
    if (c->mode == 0) {
        c->out = false;
        c->load_next = false;
        if (!whole)
            c->counting = false;
    }
    if (!whole)
        return;
    if (c->mode == 0 || c->mode == 4 || (!c->written && (c->mode == 2 || c->mode == 3)))
        c->load_next = true;
    c->written = true;
    c->fresh = true;
}

static int naive_read(struct naive_channel *c)
{
    int value = c->latch >= 0 ? c->latch : as_read(c);
    if (c->status >= 0) {
        value = c->status;
        c->status = -1;
        return value;
    }
    if (c->access == 3 && c->pointer_r == 0) {
        c->pointer_r = 1;
        return value % 256;
    }
    c->pointer_r = 0;
    c->latch = -1;
    return c->access == 1 ? value % 256 : value / 256;
}

static void naive_reset(struct naive *n, unsigned khz)
{
    memset(n, 0, sizeof(*n));
    n->khz = khz;
    n->tick = 1000;
    n->c[0].gate = n->c[1].gate = true;
    naive_command(n, 0x34);
    naive_count(&n->c[0], 0);
    naive_count(&n->c[0], 0);
    naive_command(n, 0x54);
    naive_count(&n->c[1], 18);
    naive_command(n, 0xb6);
    naive_count(&n->c[2], 0);
    naive_count(&n->c[2], 0);
    n->rise = 0;
}

/* --- random operations ----------------------------------------------------------------------- */

struct both {
    struct pit pit;
    struct naive naive;
};

/* Time goes on. What was said of the next rise was true. */
static void pass(struct both *b)
{
    uint64_t due = pit_due(&b->pit);
    unsigned ticks = below(20000) == 0 ? below(200000) : below(64) == 0 ? below(400) : below(14);
    while (ticks-- > 0)
        naive_tick(&b->naive);
    if (b->naive.rise != 0)
        assert_int_equal(due, b->naive.rise);
    else
        assert_true(due > b->naive.tick);
}

static void write_both(struct both *b, unsigned i)
{
    struct naive_channel *c = &b->naive.c[i];
    unsigned value = below(4) == 0                         ? below(256)
                     : c->pointer_w == 1 || c->access == 2 ? below(2)
                                                           : below(16);
    bool before = b->naive.c[0].out;
    if (c->bcd)
        value = value / 16 % 10 * 16 + value % 10;
    pit_write(&b->pit, i, (uint8_t)value, b->naive.tick);
    naive_count(c, (int)value);
    note_rise(&b->naive, before);
}

static void operate(struct both *b)
{
    uint64_t now = b->naive.tick;
    unsigned what = below(16), i = below(3), value = below(256);
    if (what < 6) {
        assert_int_equal(pit_read(&b->pit, i, now), naive_read(&b->naive.c[i]));
    } else if (what < 10) {
        write_both(b, i);
    } else if (what == 10 || (what == 11 && below(4) == 0)) {
        if (what == 10 && below(4) != 0)
            value = below(2) == 0 ? value & 0xcf : value | 0xc0; /* latches */
        pit_write(&b->pit, PIT_CONTROL, (uint8_t)value, now);
        naive_command(&b->naive, (int)value);
    } else if (what == 12) {
        pit_write_port61(&b->pit, (uint8_t)value, now);
        b->naive.port61 = value % 16;
        naive_gate(&b->naive.c[2], value % 2);
    } else if (what == 13) {
        unsigned expected = b->naive.port61 + (b->naive.c[2].out ? 32 : 0) +
                            (b->naive.cycles / 18 % 2 == 1 ? 16 : 0);
        assert_int_equal(pit_read_port61(&b->pit, now), expected);
    } else {
        assert_int_equal(pit_output(&b->pit, i, now), b->naive.c[i].out);
    }
}

static void random_operations(void **context)
{
    static const unsigned rates[] = {700, 1193, 1194, 2000, 3579};
    unsigned long left = device_ops(10000000) / ARRAY_SIZE(rates);
    struct both b;
    (void)context;
    for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
        naive_reset(&b.naive, rates[i]);
        pit_reset(&b.pit, rates[i], b.naive.tick);
        for (unsigned long k = 0; k < left; k++) {
            operate(&b);
            assert_int_equal(pit_rises(&b.pit, b.naive.tick), b.naive.rise != 0);
            b.naive.rise = 0;
            pass(&b);
        }
    }
}

/* --- by hand --------------------------------------------------------------------------------- */

/* A tick of this TSC is a little less than a cycle: the first after cycle N. */
enum { KHZ = 1193182 };
static struct pit pit;

/* The tick in the middle of cycle N. */
static uint64_t at(uint64_t n)
{
    return 1000 * n + 500;
}

static void begin(void)
{
    pit_reset(&pit, KHZ, 0);
}

static void program(unsigned channel, unsigned mode, unsigned count, uint64_t now)
{
    pit_write(&pit, 3, (uint8_t)(channel << 6 | 0x30 | mode << 1), now);
    pit_write(&pit, channel, (uint8_t)count, now);
    pit_write(&pit, channel, (uint8_t)(count >> 8), now);
}

/* The output from cycle FIRST on, a digit a cycle. */
static void expect_out(unsigned channel, uint64_t first, const char *digits)
{
    for (unsigned i = 0; digits[i] != '\0'; i++)
        assert_int_equal(pit_output(&pit, channel, at(first + i)), digits[i] == '1');
}

static unsigned read_word(unsigned channel, uint64_t now)
{
    unsigned low = pit_read(&pit, channel, now);
    return low | (unsigned)pit_read(&pit, channel, now) << 8;
}

/* The figures of the data sheet's mode definitions: counts 4, 3 and 5. */
static void modes_of_channel_0(void **context)
{
    (void)context;
    begin();
    program(0, 0, 4, at(0));
    expect_out(0, 0, "0000011");
    program(0, 2, 3, at(10));
    expect_out(0, 10, "1110110110");
    program(0, 3, 4, at(20));
    expect_out(0, 20, "111001100");
    program(0, 3, 5, at(30));
    expect_out(0, 30, "1111001110011");
    program(0, 4, 3, at(50));
    expect_out(0, 50, "11110111");
    program(0, 1, 3, at(60));
    expect_out(0, 60, "1111111");
}

static void modes_of_the_gate(void **context)
{
    (void)context;
    begin();
    program(2, 1, 3, at(0));
    expect_out(2, 0, "111");
    pit_write_port61(&pit, 1, at(3));
    expect_out(2, 3, "10001111");
    pit_write_port61(&pit, 0, at(12));
    pit_write_port61(&pit, 1, at(13));
    expect_out(2, 14, "0");
    pit_write_port61(&pit, 0, at(14));
    pit_write_port61(&pit, 1, at(15)); /* again, before it has ended */
    expect_out(2, 16, "00011");
    program(2, 5, 3, at(30));
    expect_out(2, 30, "11111");
    pit_write_port61(&pit, 0, at(35));
    pit_write_port61(&pit, 1, at(36));
    expect_out(2, 36, "111101111");
    program(2, 0, 3, at(50));
    expect_out(2, 50, "00");
    pit_write_port61(&pit, 0, at(52)); /* 1 of 3 has been counted */
    expect_out(2, 52, "000000");
    pit_write_port61(&pit, 1, at(58));
    expect_out(2, 58, "0011");
    program(2, 3, 4, at(70));
    expect_out(2, 70, "1110");
    pit_write_port61(&pit, 0, at(73));
    expect_out(2, 73, "111");
    pit_write_port61(&pit, 1, at(76));
    expect_out(2, 76, "1110011");
}

static void counts_are_read(void **context)
{
    (void)context;
    begin();
    program(0, 2, 1000, at(0));
    pit_write(&pit, 3, 0xc2, at(0)); /* status, then count: it is not loaded yet */
    assert_int_equal(pit_read(&pit, 0, at(9)), 0x80 | 0x40 | 0x34);
    pit_read(&pit, 0, at(9));
    pit_read(&pit, 0, at(9));
    pit_write(&pit, 3, 0x00, at(11));
    pit_write(&pit, 3, 0x00, at(12)); /* no effect: the first is not read */
    assert_int_equal(read_word(0, at(20)), 990);
    assert_int_equal(read_word(0, at(21)), 980);
    pit_write(&pit, 3, 0xe2, at(1000));
    assert_int_equal(pit_read(&pit, 0, at(1001)), 0x34); /* its cycle of 1 */
    assert_int_equal(read_word(0, at(1001)), 1000);
}

static void access_modes(void **context)
{
    (void)context;
    begin();
    pit_write(&pit, 3, 0x50 | 4 << 1, at(0));
    pit_write(&pit, 1, 200, at(0));
    assert_int_equal(pit_read(&pit, 1, at(11)), 190);
    assert_int_equal(pit_read(&pit, 1, at(12)), 189);
    pit_write(&pit, 3, 0x60 | 4 << 1, at(20));
    pit_write(&pit, 1, 3, at(20));
    assert_int_equal(pit_read(&pit, 1, at(21)), 3);
    assert_int_equal(pit_read(&pit, 1, at(22)), 2);
    assert_int_equal(pit_read(&pit, 3, at(22)), 0xff);
}

static void decimal(void **context)
{
    (void)context;
    begin();
    pit_write(&pit, 3, 0x31, at(0));
    pit_write(&pit, 0, 0x00, at(0));
    pit_write(&pit, 0, 0x10, at(0));
    assert_int_equal(read_word(0, at(2)), 0x0999);
    assert_false(pit_output(&pit, 0, at(1000)));
    assert_true(pit_output(&pit, 0, at(1001)));
    assert_int_equal(read_word(0, at(1002)), 0x9999);
    pit_write(&pit, 0, 0, at(2000));
    pit_write(&pit, 0, 0, at(2000));
    assert_false(pit_output(&pit, 0, at(12000)));
    assert_true(pit_output(&pit, 0, at(12001)));
}

/* A new count waits for the period's end, or that of half a one; a trigger takes it. */
static void new_counts(void **context)
{
    (void)context;
    begin();
    program(0, 2, 4, at(0));
    pit_write(&pit, 0, 3, at(2));
    pit_write(&pit, 0, 0, at(2));
    expect_out(0, 3, "1011011");
    program(0, 3, 4, at(20));
    pit_write(&pit, 0, 6, at(21));
    pit_write(&pit, 0, 0, at(21));
    expect_out(0, 21, "11000111000");
    program(0, 0, 10, at(40));
    pit_write(&pit, 0, 2, at(60)); /* the first byte ends it */
    expect_out(0, 60, "0000");
    pit_write(&pit, 0, 0, at(64));
    expect_out(0, 64, "00011");
}

/* IRQ 0 at 18.2 Hz: after a day none is lost and none too many. */
static void a_day_of_rises(void **context)
{
    uint64_t khz = 2999997, day = 86400ull * 1000 * khz, rises = 0;
    (void)context;
    pit_reset(&pit, (uint32_t)khz, 77);
    for (uint64_t due = pit_due(&pit); due <= 77 + day; due = pit_due(&pit)) {
        assert_false(pit_rises(&pit, due - 1));
        assert_true(pit_rises(&pit, due));
        rises++;
    }
    uint64_t next = pit_due(&pit);
    assert_true(pit_output(&pit, 0, next));
    assert_true(pit_due(&pit) <= next); /* nobody has asked for it yet */
    assert_int_equal(rises, (86400ull * 1193182 - 1) / 65536);
}

static void port_61(void **context)
{
    (void)context;
    begin();
    assert_int_equal(pit_read_port61(&pit, at(17)), 0x20);
    assert_int_equal(pit_read_port61(&pit, at(18)), 0x30);
    assert_int_equal(pit_read_port61(&pit, at(36)), 0x20);
    pit_write_port61(&pit, 0xfd, at(36));
    program(2, 0, 3, at(36));
    assert_int_equal(pit_read_port61(&pit, at(39)), 0x0d);
    assert_int_equal(pit_read_port61(&pit, at(40)), 0x2d);
}

__extension__ typedef unsigned __int128 wide;

/* Against 128 bits. */
static void rates(void **context)
{
    static const uint32_t hz[] = {PIT_HZ, 32768, 3579545};
    (void)context;
    for (unsigned i = 0; i < 100000; i++) {
        uint32_t clock = hz[below(3)];
        uint32_t khz = (uint32_t)(host_random(&seed) >> (32 + below(20))) | 4096;
        uint64_t ticks = host_random(&seed) >> below(64);
        uint64_t cycles = (uint64_t)((wide)ticks * clock / (1000ull * khz));
        wide first = ((wide)cycles * khz * 1000 + clock - 1) / clock;
        assert_int_equal(rate_cycles(ticks, khz, clock), cycles);
        assert_int_equal(rate_tick(cycles, khz, clock), first);
    }
    assert_int_equal(rate_tick(UINT64_MAX, 1000000, 32768), UINT64_MAX);
}

static void described(void **context)
{
    char text[512];
    (void)context;
    begin();
    program(0, 2, 1000, at(0));
    pit_output(&pit, 0, at(11));
    size_t length = pit_describe(&pit, text, sizeof(text));
    assert_int_equal(length, strlen(text));
    assert_non_null(strstr(text, "PIT channel 0: mode 2, count 990 of 1000, gate 1, output 1\n"));
    assert_non_null(strstr(text, "PIT channel 2: mode 3, count 0 of 65536, gate 0, output 1, not "
                                 "counting\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates),
        cmocka_unit_test(modes_of_channel_0),
        cmocka_unit_test(modes_of_the_gate),
        cmocka_unit_test(counts_are_read),
        cmocka_unit_test(access_modes),
        cmocka_unit_test(decimal),
        cmocka_unit_test(new_counts),
        cmocka_unit_test(a_day_of_rises),
        cmocka_unit_test(port_61),
        cmocka_unit_test(described),
        cmocka_unit_test(random_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
