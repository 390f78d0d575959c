/*
 * The PM timer and its registers against a second model that counts cycle by cycle, on random
 * operations; and what the ACPI specification says of each register, by hand.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/device_ops.h"
#include "tests/unit/host.h"
#include "vmm/devices/pmtimer.h"

static uint64_t seed = 3579545;

static unsigned below(unsigned n)
{
    return (unsigned)(host_random(&seed) % n);
}

/* --- the second model ------------------------------------------------------------------------ */

struct naive {
    uint64_t tick, khz, sum, count;
    bool tmr_sts;
    bool tmr_en, gbl_en, button_en, rtc_en;
    unsigned sleep_type;
    uint64_t irq_tick; /* when the interrupt came; 0: not since this was last cleared */
};

static bool naive_irq(const struct naive *n)
{
    return n->tmr_sts && n->tmr_en;
}

enum { WRAP = 1 << 24 };

/* The status is of the top bit's change, in either direction. */
static void naive_tick(struct naive *n)
{
    n->tick++;
    for (n->sum += 3579545; n->sum >= 1000 * n->khz; n->sum -= 1000 * n->khz) {
        bool top = n->count >= WRAP / 2;
        n->count = n->count + 1 == WRAP ? 0 : n->count + 1;
        if (top == (n->count >= WRAP / 2))
            continue;
        n->tmr_sts = true;
        if (naive_irq(n) && n->irq_tick == 0)
            n->irq_tick = n->tick;
    }
}

static unsigned naive_read(const struct naive *n, unsigned reg)
{
    switch (reg) {
    case 0:
        return n->tmr_sts;
    case 2:
        return n->tmr_en + n->gbl_en * 0x20u;
    case 3:
        return n->button_en + n->rtc_en * 4u;
    case 4:
        return 1;
    case 5:
        return n->sleep_type * 4;
    case 8:
        return (unsigned)(n->count % 256);
    case 9:
        return (unsigned)(n->count / 256 % 256);
    case 10:
        return (unsigned)(n->count / 65536);
    default:
        return 0;
    }
}

static int naive_write(struct naive *n, unsigned reg, unsigned value)
{
    if (reg == 0 && (value & 1))
        n->tmr_sts = false;
    if (reg == 2) {
        n->tmr_en = value & 1;
        n->gbl_en = value & 0x20;
    }
    if (reg == 3) {
        n->button_en = value & 1;
        n->rtc_en = value & 4;
    }
    if (reg == 5) {
        n->sleep_type = value / 4 % 8;
        return value & 0x20 ? (int)n->sleep_type : -1;
    }
    return -1;
}

/* --- random operations ----------------------------------------------------------------------- */

struct both {
    struct pmtimer timer;
    struct naive naive;
};

static void begin_both(struct both *b, unsigned khz, uint64_t cycles)
{
    b->naive = (struct naive){.khz = khz, .tick = 123};
    pmtimer_reset(&b->timer, khz, 123);
    /* In whole seconds, of which no part of a cycle is left over. */
    for (uint64_t c = 0; c + 3579545 <= cycles; c += 3579545) {
        bool top = b->naive.count >= WRAP / 2;
        b->naive.tick += 1000 * khz;
        b->naive.count = (b->naive.count + 3579545) % WRAP;
        if (top != (b->naive.count >= WRAP / 2))
            b->naive.tmr_sts = true;
    }
}

static void operate(struct both *b)
{
    struct naive *n = &b->naive;
    unsigned reg = below(16), value = below(256);
    if (below(3) != 0)
        assert_int_equal(pmtimer_read(&b->timer, reg, n->tick), naive_read(n, reg));
    else
        assert_int_equal(pmtimer_write(&b->timer, reg, (uint8_t)value, n->tick),
                         naive_write(n, reg, value));
}

static void pass(struct both *b)
{
    struct naive *n = &b->naive;
    bool was = naive_irq(n);
    uint64_t due = pmtimer_due(&b->timer);
    if (was)
        assert_int_equal(due, UINT64_MAX);
    n->irq_tick = 0;
    for (unsigned t = below(500) == 0 ? below(20000) : below(100); t > 0; t--)
        naive_tick(n);
    if (!was && n->irq_tick != 0)
        assert_int_equal(due, n->irq_tick);
    else
        assert_true(due > n->tick);
    assert_int_equal(pmtimer_interrupts(&b->timer, n->tick), naive_irq(n));
}

/* From the start, and from shortly before the top bit changes either way. */
static void random_operations(void **context)
{
    static const struct {
        unsigned khz;
        uint64_t from;
    } runs[] = {
        {3000, 0},
        {3580, 0},
        {1000, 0x7fffff},
        {2999, 0xffffffff},
    };
    unsigned long left = device_ops(10000000) / ARRAY_SIZE(runs);
    struct both b;
    (void)context;
    for (unsigned i = 0; i < ARRAY_SIZE(runs); i++) {
        begin_both(&b, runs[i].khz, runs[i].from);
        for (unsigned long k = 0; k < left; k++) {
            operate(&b);
            pass(&b);
        }
    }
}

/* --- by hand --------------------------------------------------------------------------------- */

/* Ticks of a TSC that is a thousand times as fast. */
enum { KHZ = 3579545 };
static struct pmtimer timer;

static uint64_t at(uint64_t cycle)
{
    return 1000 * cycle;
}

static uint64_t read_wide(unsigned reg, unsigned width, uint64_t now)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++)
        value |= (uint64_t)pmtimer_read(&timer, reg + i, now) << 8 * i;
    return value;
}

static int write_word(unsigned reg, unsigned value, uint64_t now)
{
    int first = pmtimer_write(&timer, reg, (uint8_t)value, now);
    assert_int_equal(first, PMTIMER_NO_SLEEP);
    return pmtimer_write(&timer, reg + 1, (uint8_t)(value >> 8), now);
}

static void values(void **context)
{
    (void)context;
    pmtimer_reset(&timer, KHZ, 0);
    assert_int_equal(read_wide(8, 4, at(0x345678)), 0x345678);
    assert_int_equal(read_wide(8, 4, at(0x345678) - 1), 0x345677);
    assert_int_equal(read_wide(8, 4, at(0x312345678)), 0x345678);
    pmtimer_reset(&timer, 2999999, 5);
    assert_int_equal(read_wide(8, 4, 5 + 86400ull * 2999999 * 1000),
                     86400ull * 3579545 % (1 << 24));
}

/* "Power Management Timer": TMR_STS is set whenever the top bit changes. */
static void events(void **context)
{
    const uint64_t half = at(1 << 23);
    (void)context;
    pmtimer_reset(&timer, KHZ, 0);
    assert_int_equal(pmtimer_due(&timer), UINT64_MAX);
    assert_int_equal(write_word(2, 0x0001, 10), PMTIMER_NO_SLEEP);
    assert_int_equal(pmtimer_due(&timer), half);
    assert_false(pmtimer_interrupts(&timer, half - 1));
    assert_true(pmtimer_interrupts(&timer, half));
    assert_int_equal(read_wide(0, 4, half), 0x00010001);
    write_word(0, 0xfffe, half);
    assert_true(pmtimer_interrupts(&timer, half));
    write_word(0, 0x0001, half);
    assert_false(pmtimer_interrupts(&timer, half));
    assert_int_equal(pmtimer_due(&timer), 2 * half);
    write_word(2, 0x0000, half);
    assert_false(pmtimer_interrupts(&timer, 2 * half));
    assert_int_equal(read_wide(0, 2, 2 * half), 1);
    write_word(2, 0xffff, 2 * half);
    assert_int_equal(read_wide(2, 2, 2 * half), 0x0521);
    assert_true(pmtimer_interrupts(&timer, 2 * half));
}

/* "PM1 Control Registers": SLP_TYPx counts when SLP_EN, which reads as 0, is written. */
static void sleep_is_asked_for(void **context)
{
    (void)context;
    pmtimer_reset(&timer, KHZ, 0);
    assert_int_equal(read_wide(4, 2, 0), 0x0001);
    assert_int_equal(write_word(4, 5 << 10, 0), PMTIMER_NO_SLEEP);
    assert_int_equal(read_wide(4, 2, 0), 0x1401);
    assert_int_equal(write_word(4, 5 << 10 | 1 << 13, 0), 5);
    assert_int_equal(write_word(4, 1 << 13, 0), 0);
    assert_int_equal(read_wide(4, 2, 0), 0x0001);
    assert_int_equal(write_word(6, 0x3fff, 0), PMTIMER_NO_SLEEP);
    assert_int_equal(read_wide(12, 4, 0), 0);
}

static void described(void **context)
{
    char text[128];
    (void)context;
    pmtimer_reset(&timer, KHZ, 0);
    write_word(2, 0x0100, at(0x9abcde));
    size_t length = pmtimer_describe(&timer, text, sizeof(text));
    assert_int_equal(length, strlen(text));
    assert_string_equal(text, "PM timer: 9abcde, PM1_STS 0001, PM1_EN 0100\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(events),
        cmocka_unit_test(sleep_is_asked_for),
        cmocka_unit_test(described),
        cmocka_unit_test(random_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
