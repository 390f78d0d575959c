/*
 * The local APIC against a second model that is as plain as can be: a bool a vector, a timer that
 * counts tick by tick; on random operations. And what the manuals' tables say of each register.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>

#include "tests/unit/host.h"
#include "vmm/devices/lapic.h"

enum { STEPS = 150000, SETS = 100000, SET_SIZE = 8 };

static uint64_t seed;

static uint64_t below(uint64_t n)
{
    return host_random(&seed) % n;
}

/* --- the second model ------------------------------------------------------------------------ */

struct naive {
    bool enabled, x2, bsp;
    uint32_t id;
    bool irr[256], isr[256], tmr[256];
    uint32_t tpr, ldr, dfr, svr, esr, errors;
    uint32_t icr_low, icr_high;
    uint32_t timer, thermal, pmc, lint0, lint1, error;
    uint32_t initial, count, divide, phase;
    uint64_t host, offset, deadline;
};

static void naive_init(struct naive *n)
{
    struct naive old = *n;
    memset(n, 0, sizeof(*n));
    n->enabled = old.enabled;
    n->x2 = old.x2;
    n->bsp = old.bsp;
    n->id = old.id;
    n->host = old.host;
    n->offset = old.offset;
    n->dfr = 0xffffffff;
    n->svr = 0xff;
    n->timer = n->thermal = n->pmc = n->lint0 = n->lint1 = n->error = 0x10000;
}

static void naive_post(struct naive *n, unsigned vector);

static void naive_error(struct naive *n, unsigned bit)
{
    uint32_t before = n->errors;
    n->errors |= 1u << bit;
    if (before == 0 && (n->error >> 16 & 1) == 0)
        naive_post(n, n->error & 0xff);
}

static void naive_post(struct naive *n, unsigned vector)
{
    if (vector <= 15)
        naive_error(n, 6);
    else if (vector <= 255) {
        n->irr[vector] = true;
        n->tmr[vector] = false;
    }
}

/* SDM, "APIC Timer": the divide value by its encoding. */
static unsigned naive_divisor(uint32_t code)
{
    switch (code & 0xb) {
    case 0x0:
        return 2;
    case 0x1:
        return 4;
    case 0x2:
        return 8;
    case 0x3:
        return 16;
    case 0x8:
        return 32;
    case 0x9:
        return 64;
    case 0xa:
        return 128;
    default:
        return 1;
    }
}

static void naive_fire(struct naive *n)
{
    if ((n->timer >> 16 & 1) == 0)
        naive_post(n, n->timer & 0xff);
}

static void naive_deadline(struct naive *n)
{
    if (n->deadline != 0 && n->host + n->offset >= n->deadline) {
        n->deadline = 0;
        naive_fire(n);
    }
}

static void naive_step(struct naive *n)
{
    n->host++;
    naive_deadline(n);
    if (n->count == 0 || ++n->phase < 16 * naive_divisor(n->divide))
        return;
    n->phase = 0;
    if (--n->count != 0)
        return;
    if ((n->timer >> 17 & 3) == 1)
        n->count = n->initial;
    naive_fire(n);
}

static int naive_top(const bool *bits)
{
    for (int i = 255; i >= 0; i--)
        if (bits[i])
            return i;
    return -1;
}

/* SDM, "Task and Processor Priorities". */
static unsigned naive_ppr(const struct naive *n)
{
    int top = naive_top(n->isr);
    unsigned isrv = top < 0 ? 0 : (unsigned)top;
    return n->tpr / 16 >= isrv / 16 ? n->tpr : isrv / 16 * 16;
}

static int naive_pending(const struct naive *n)
{
    int top = naive_top(n->irr);
    return top >= 0 && (unsigned)top / 16 > naive_ppr(n) / 16 ? top : -1;
}

static uint32_t naive_word(const bool *bits, unsigned word)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < 32; i++)
        value |= bits[32 * word + i] ? 1u << i : 0;
    return value;
}

static uint32_t naive_ldr(const struct naive *n)
{
    return n->x2 ? n->id / 16 * 65536 + (1u << n->id % 16) : n->ldr;
}

/* Registers that are what was last written, by their offset. */
static const struct {
    unsigned offset;
    size_t member;
} stored[] = {
    {0x080, offsetof(struct naive, tpr)},     {0x0f0, offsetof(struct naive, svr)},
    {0x280, offsetof(struct naive, esr)},     {0x320, offsetof(struct naive, timer)},
    {0x330, offsetof(struct naive, thermal)}, {0x340, offsetof(struct naive, pmc)},
    {0x350, offsetof(struct naive, lint0)},   {0x360, offsetof(struct naive, lint1)},
    {0x370, offsetof(struct naive, error)},   {0x380, offsetof(struct naive, initial)},
    {0x390, offsetof(struct naive, count)},   {0x3e0, offsetof(struct naive, divide)},
};

/* NULL: none of these. */
static uint32_t *naive_stored(struct naive *n, unsigned offset)
{
    for (unsigned i = 0; i < ARRAY_SIZE(stored); i++)
        if (stored[i].offset == offset)
            return (uint32_t *)(void *)((char *)n + stored[i].member);
    return NULL;
}

/* SDM, "Local Vector Table": LINT0 is fixed, by level, and its last one has had no EOI. */
static bool naive_awaits_eoi(const struct naive *n)
{
    unsigned vector = n->lint0 % 256;
    return n->lint0 / 0x100 % 8 == 0 && n->lint0 / 0x8000 % 2 == 1 &&
           (n->irr[vector] || n->isr[vector]);
}

/* Those that are not; false: there is none in this mode. EOI reads as 0 in xAPIC mode. */
static bool naive_read_other(struct naive *n, unsigned offset, uint64_t *value)
{
    switch (offset) {
    case 0x20:
        *value = n->x2 ? n->id : n->id << 24;
        return true;
    case 0x30:
        *value = 0x50014;
        return true;
    case 0xa0:
        *value = naive_ppr(n);
        return true;
    case 0xd0:
        *value = naive_ldr(n);
        return true;
    case 0x300:
        *value = n->icr_low | (n->x2 ? (uint64_t)n->icr_high << 32 : 0);
        return true;
    case 0xe0:
        *value = n->dfr;
        return !n->x2;
    case 0x310:
        *value = n->icr_high;
        return !n->x2;
    case 0x90:
    case 0xb0:
    case 0xc0:
        return !n->x2;
    default:
        return false;
    }
}

/* The value of the register at OFFSET of the page; false: there is none in this mode. */
static bool naive_read(struct naive *n, unsigned offset, uint64_t *value)
{
    const uint32_t *at = naive_stored(n, offset);
    *value = 0;
    if (offset >= 0x100 && offset <= 0x170)
        *value = naive_word(n->isr, (offset - 0x100) / 16);
    else if (offset >= 0x200 && offset <= 0x270)
        *value = naive_word(n->irr, (offset - 0x200) / 16);
    else if (at != NULL)
        *value = *at | (offset == 0x350 && naive_awaits_eoi(n) ? 0x4000 : 0);
    else if (offset >= 0x180 && offset <= 0x1f0)
        *value = naive_word(n->tmr, (offset - 0x180) / 16);
    else
        return naive_read_other(n, offset, value);
    return true;
}

static void naive_write_timer(struct naive *n, uint32_t value)
{
    bool was = (n->timer >> 17 & 3) == 2, is = (value >> 17 & 3) == 2;
    n->timer = value;
    if (was != is) {
        n->initial = n->count = 0;
        n->deadline = 0;
    }
}

/* A fixed IPI to itself, and the errors: where else it goes is tested with sets. */
static void naive_command(struct naive *n)
{
    unsigned mode = n->icr_low >> 8 & 7, vector = n->icr_low & 0xff;
    if (mode > 1)
        return;
    if (vector < 16)
        naive_error(n, 5);
    else if ((n->icr_low >> 18 & 3) == 1 && mode == 0 && (n->svr >> 8 & 1) != 0)
        naive_post(n, vector);
}

static void naive_write_svr(struct naive *n, uint32_t value)
{
    n->svr = value;
    if ((value >> 8 & 1) != 0)
        return;
    n->timer |= 0x10000;
    n->thermal |= 0x10000;
    n->pmc |= 0x10000;
    n->lint0 |= 0x10000;
    n->lint1 |= 0x10000;
    n->error |= 0x10000;
}

static void naive_end(struct naive *n)
{
    int top = naive_top(n->isr);
    if (top >= 0)
        n->isr[top] = false;
}

static void naive_self_ipi(struct naive *n, unsigned vector)
{
    if (vector < 16)
        naive_error(n, 5);
    else if ((n->svr >> 8 & 1) != 0)
        naive_post(n, vector);
}

static void naive_write_timing(struct naive *n, unsigned offset, uint32_t value)
{
    if (offset == 0x380 && (n->timer >> 17 & 3) == 2)
        return;
    if (offset == 0x380)
        n->initial = n->count = value;
    else
        n->divide = value;
    n->phase = 0;
}

static void naive_write_icr(struct naive *n, uint64_t value)
{
    n->icr_low = (uint32_t)value;
    if (n->x2)
        n->icr_high = (uint32_t)(value >> 32);
    naive_command(n);
}

/* VALUE has no bits but those that the manual lets be written. */
static void naive_write(struct naive *n, unsigned offset, uint64_t wide)
{
    uint32_t value = (uint32_t)wide;
    uint32_t masked = (n->svr >> 8 & 1) == 0 ? value | 0x10000 : value;
    if (offset == 0x80)
        n->tpr = value;
    else if (offset == 0xb0)
        naive_end(n);
    else if (offset == 0xd0)
        n->ldr = value;
    else if (offset == 0xe0)
        n->dfr = value | 0x0fffffff;
    else if (offset == 0xf0)
        naive_write_svr(n, value);
    else if (offset == 0x280) {
        n->esr = n->errors;
        n->errors = 0;
    } else if (offset == 0x300) {
        naive_write_icr(n, wide);
    } else if (offset == 0x310) {
        n->icr_high = value;
    } else if (offset == 0x320) {
        naive_write_timer(n, masked);
    } else if (offset >= 0x330 && offset <= 0x370) {
        uint32_t *entry = naive_stored(n, offset);
        if (entry != NULL)
            *entry = masked;
    } else if (offset == 0x380 || offset == 0x3e0) {
        naive_write_timing(n, offset, value);
    } else if (offset == 0x3f0) {
        naive_self_ipi(n, value);
    }
}

/* --- the manuals' tables --------------------------------------------------------------------- */

/* SDM, "Local APIC Register Address Map" and "... Supported by x2APIC"; the figure of each. */
static const struct row {
    unsigned offset;
    const char *xapic, *x2apic; /* "r", "w", "rw" or none */
    uint64_t reset;             /* of CPU 0 */
    uint32_t writable;
    uint32_t read_only; /* beside them; other bits are reserved */
} table[] = {
    {0x020, "r", "r", 0, 0, 0},
    {0x030, "r", "r", 0x50014, 0, 0},
    {0x080, "rw", "rw", 0, 0xff, 0},
    {0x090, "r", "", 0, 0, 0},
    {0x0a0, "r", "r", 0, 0, 0},
    {0x0b0, "w", "w", 0, 0, 0},
    {0x0c0, "r", "", 0, 0, 0},
    {0x0d0, "rw", "r", 0, 0xff000000, 0},
    {0x0e0, "rw", "", 0xffffffff, 0xf0000000, 0},
    {0x0f0, "rw", "rw", 0xff, 0x3ff, 0},
    {0x100, "r", "r", 0, 0, 0},
    {0x170, "r", "r", 0, 0, 0},
    {0x180, "r", "r", 0, 0, 0},
    {0x1f0, "r", "r", 0, 0, 0},
    {0x200, "r", "r", 0, 0, 0},
    {0x270, "r", "r", 0, 0, 0},
    {0x280, "rw", "rw", 0, 0, 0},
    {0x300, "rw", "rw", 0, 0x000ccfff, 0},
    {0x310, "rw", "", 0, 0xff000000, 0},
    {0x320, "rw", "rw", 0x10000, 0x000700ff, 0x1000},
    {0x330, "rw", "rw", 0x10000, 0x000107ff, 0x1000},
    {0x340, "rw", "rw", 0x10000, 0x000107ff, 0x1000},
    {0x350, "rw", "rw", 0x10000, 0x0001a7ff, 0x5000},
    {0x360, "rw", "rw", 0x10000, 0x0001a7ff, 0x5000},
    {0x370, "rw", "rw", 0x10000, 0x000100ff, 0x1000},
    {0x380, "rw", "rw", 0, 0xffffffff, 0},
    {0x390, "r", "r", 0, 0, 0},
    {0x3e0, "rw", "rw", 0, 0x0000000b, 0},
    {0x3f0, "", "w", 0, 0xff, 0},
};

/* A range's first and last stand in the table, with the same for those between. */
static const struct row *row_of(unsigned offset)
{
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
        if (table[i].offset == offset || (offset > 0x100 && offset < 0x280 && offset % 16 == 0 &&
                                          table[i].offset == (offset & ~0x7fu)))
            return &table[i];
    return NULL;
}

static bool has(const char *access, char what)
{
    return strchr(access, what) != NULL;
}

static const struct lapic_now never = {0, 0};
static uint32_t pages[SET_SIZE][1024];

static struct lapic reset_one(bool x2)
{
    struct lapic l;
    lapic_reset(&l, pages[0], 0, true);
    if (x2)
        assert_true(lapic_set_base(&l, 0xfee00d00));
    return l;
}

static void reset_values(void **context)
{
    (void)context;
    struct lapic l = reset_one(false);
    assert_int_equal(l.base, 0xfee00900);
    for (unsigned offset = 0; offset < 0x1000; offset += 16) {
        const struct row *row = row_of(offset);
        uint64_t expected = row != NULL && has(row->xapic, 'r') ? row->reset : 0;
        assert_int_equal(lapic_read_mmio(&l, offset, 4, never), expected);
    }
}

/* In xAPIC mode what may not be written is left alone, and what is not there is an error. */
static void xapic_bits(void **context)
{
    struct ipi ipi;
    (void)context;
    for (unsigned offset = 0; offset < 0x1000; offset += 16) {
        const struct row *row = row_of(offset);
        struct lapic l = reset_one(false);
        bool there = row != NULL && (has(row->xapic, 'r') || has(row->xapic, 'w'));
        lapic_write_mmio(&l, 0xf0, 4, 0x1ff, never, &ipi);
        lapic_write_mmio(&l, offset, 4, 0xffffffff, never, &ipi);
        uint64_t value = lapic_read_mmio(&l, offset, 4, never);
        if (there && offset != 0x280) {
            uint64_t kept = offset == 0xe0 ? 0x0fffffff : 0;
            uint64_t expected = has(row->xapic, 'w') ? row->writable | kept : row->reset;
            assert_int_equal(value, offset == 0x390 ? 0 : expected);
        }
        lapic_write_mmio(&l, 0x280, 4, 0, never, &ipi);
        assert_int_equal(lapic_read_mmio(&l, 0x280, 4, never), there ? 0 : 0x80);
    }
}

static void x2apic_bits(void **context)
{
    struct ipi ipi;
    (void)context;
    for (unsigned msr = 0x7ff; msr <= 0x900; msr++)
        for (unsigned bit = 0; bit < 64; bit++) {
            struct lapic l = reset_one(true);
            const struct row *row = msr < 0x800 ? NULL : row_of((msr - 0x800) * 16);
            bool readable = row != NULL && has(row->x2apic, 'r');
            bool writable = row != NULL && has(row->x2apic, 'w');
            uint64_t value, known = row == NULL ? 0 : row->writable | row->read_only;
            if (msr == 0x830)
                known |= 0xffffffffull << 32;
            assert_int_equal(lapic_read_msr(&l, msr, never, &value), readable);
            if (readable)
                assert_int_equal(value, msr == 0x80d ? 1 : row->reset);
            assert_int_equal(lapic_write_msr(&l, msr, 1ull << bit, never, &ipi) != LAPIC_REFUSED,
                             writable && (known >> bit & 1) != 0);
            assert_int_equal(lapic_write_msr(&l, msr, 0, never, &ipi) != LAPIC_REFUSED, writable);
        }
}

/* Each mode's registers are out of the other's reach, and nothing is in reach where it is off. */
static void modes_apart(void **context)
{
    struct ipi ipi;
    uint64_t value;
    struct lapic l = reset_one(false);
    (void)context;
    assert_false(lapic_read_msr(&l, 0x802, never, &value));
    assert_int_equal(lapic_write_msr(&l, 0x808, 0, never, &ipi), LAPIC_REFUSED);
    assert_true(lapic_set_base(&l, 0xfee00100));
    assert_false(lapic_read_msr(&l, 0x802, never, &value));
}

/* SDM, "x2APIC State Transitions": EN and EXTD before and after. */
static void transitions(void **context)
{
    static const struct {
        uint64_t from, to;
        bool legal;
    } cases[] = {
        {0x000, 0x000, true}, {0x000, 0x800, true},  {0x000, 0xc00, false}, {0x000, 0x400, false},
        {0x800, 0x000, true}, {0x800, 0x800, true},  {0x800, 0xc00, true},  {0x800, 0x400, false},
        {0xc00, 0x000, true}, {0xc00, 0x800, false}, {0xc00, 0xc00, true},  {0xc00, 0x400, false},
    };
    (void)context;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct lapic l = reset_one(cases[i].from == 0xc00);
        struct ipi ipi;
        if (cases[i].from == 0)
            assert_true(lapic_set_base(&l, 0xfee00100));
        else if (cases[i].from == 0x800)
            lapic_write_mmio(&l, 0x80, 4, 0x55, never, &ipi);
        else
            lapic_write_msr(&l, 0x808, 0x55, never, &ipi);
        uint64_t old = l.base;
        assert_int_equal(lapic_set_base(&l, 0xfee00100 | cases[i].to), cases[i].legal);
        assert_int_equal(l.base, cases[i].legal ? 0xfee00100 | cases[i].to : old);
        bool kept = cases[i].from != 0 && (cases[i].to != 0 || !cases[i].legal);
        assert_int_equal(pages[0][0x80 / 4], kept ? 0x55 : 0);
    }
    struct lapic l = reset_one(false);
    assert_true(lapic_set_base(&l, 0xfee00800)); /* BSP is writable */
    for (unsigned bit = 0; bit < 64; bit++)
        assert_int_equal(lapic_set_base(&l, 0xfee00800 ^ 1ull << bit),
                         bit == 8 || bit == 11 || bit == 10);
}

/* Parts of a register can be read and written; what is beyond its 32 bits cannot. */
static void odd_accesses(void **context)
{
    struct ipi ipi;
    struct lapic l = reset_one(false);
    (void)context;
    lapic_write_mmio(&l, 0xd0, 4, 0x12000000, never, &ipi);
    assert_int_equal(lapic_read_mmio(&l, 0xd3, 1, never) & 0xff, 0x12);
    assert_int_equal(lapic_read_mmio(&l, 0xd2, 2, never) & 0xffff, 0x1200);
    assert_int_equal(lapic_read_mmio(&l, 0xd4, 4, never), 0);
    assert_int_equal(lapic_read_mmio(&l, 0xd0, 8, never), 0);
    lapic_write_mmio(&l, 0xd3, 1, 0x56, never, &ipi);
    assert_int_equal(lapic_read_mmio(&l, 0xd0, 4, never), 0x56000000);
    lapic_write_mmio(&l, 0xd2, 2, 0x1234, never, &ipi);
    lapic_write_mmio(&l, 0xd4, 4, 0x34000000, never, &ipi);
    lapic_write_mmio(&l, 0xd0, 2, 0x34, never, &ipi);
    assert_int_equal(lapic_read_mmio(&l, 0xd0, 4, never), 0x12000000);
}

/* --- random operations ----------------------------------------------------------------------- */

struct pair {
    struct lapic l;
    struct naive n;
    bool shared; /* a CPU uses the page: which registers have bits is known less exactly */
};

static struct lapic_now now_of(const struct naive *n)
{
    return (struct lapic_now){n->host, n->host + n->offset};
}

static void begin(struct pair *p, uint32_t id)
{
    memset(p, 0, sizeof(*p));
    lapic_reset(&p->l, pages[0], id, id == 0);
    p->n.id = id;
    p->n.enabled = true;
    p->n.bsp = id == 0;
    p->n.host = 1000000;
    p->n.offset = -1000000ull + 77;
    naive_init(&p->n);
}

/* What a CPU that knows the page would read there, but for what is computed: PPR and CURRENT, and
   LINT0's remote IRR. */
static void compare_page(const struct pair *p, unsigned offset, uint64_t expected)
{
    const uint32_t *at = pages[0] + offset / 4;
    bool in_page = offset != 0xa0 && offset != 0x390;
    if (p->n.x2)
        assert_int_equal(lapic_is_in_page(offset / 16), offset != 0x390);
    if (offset == 0x350)
        expected &= ~0x4000ull;
    if (in_page)
        assert_int_equal(at[0] | (uint64_t)at[1] << 32, expected);
}

static void compare(struct pair *p)
{
    struct lapic_now now = now_of(&p->n);
    for (unsigned offset = 0; offset < 0x400; offset += 16) {
        uint64_t expected, value = 0;
        bool there = naive_read(&p->n, offset, &expected);
        if (p->n.x2) {
            assert_int_equal(lapic_read_msr(&p->l, 0x800 + offset / 16, now, &value), there);
        } else if (there && p->n.enabled) {
            value = lapic_read_mmio(&p->l, offset, 4, now);
        } else {
            continue;
        }
        if (there) {
            assert_int_equal(value, expected);
            compare_page(p, offset, expected);
        } else {
            assert_false(lapic_is_in_page(offset / 16));
        }
    }
    assert_int_equal(lapic_pending(&p->l), naive_pending(&p->n));
    assert_int_equal(lapic_deadline(&p->l, now), p->n.deadline);
    if (!p->shared || naive_top(p->n.irr) >= 0)
        assert_int_equal(lapic_requests(&p->l), naive_top(p->n.irr) >= 0);
    assert_int_equal(p->l.errors, p->n.errors);
}

/* What is left of the timer is exactly what the other takes to request its interrupt. */
static void compare_left(struct pair *p)
{
    uint64_t left = lapic_timer_left(&p->l, now_of(&p->n));
    unsigned vector = p->n.timer & 0xff;
    if (vector < 16)
        return;
    static struct naive n;
    n = p->n;
    uint64_t steps = 0;
    while (steps < 70000 && (steps < left || left == 0) && !n.irr[vector]) {
        naive_step(&n);
        steps++;
        if (left == 0)
            break;
    }
    if (left < 70000 && left != 0) {
        assert_false(p->n.irr[vector]);
        assert_true(n.irr[vector]);
        assert_int_equal(steps, left);
    } else if (left != 0 && !p->n.irr[vector]) {
        assert_false(n.irr[vector]);
    }
}

static void advance(struct pair *p)
{
    uint64_t by = below(8) == 0 ? below(3000) : below(100);
    for (uint64_t i = 0; i < by; i++)
        naive_step(&p->n);
    if (below(2) == 0)
        lapic_tick(&p->l, now_of(&p->n));
}

static uint32_t random_value(unsigned offset)
{
    uint32_t value = (uint32_t)host_random(&seed);
    if (offset == 0x380)
        return below(20) == 0 ? value : (uint32_t)below(30);
    if (offset == 0x3e0 && below(2) == 0)
        return 0xb;
    if (offset == 0xf0)
        return value | (below(8) != 0 ? 0x100u : 0);
    if (offset == 0x80)
        return below(2) == 0 ? 0 : value;
    if (offset >= 0x320 && offset <= 0x370 && below(4) != 0)
        return value & ~0x10000u;
    if (offset == 0x300)
        return (value & ~0x000c0700u) | (below(2) == 0 ? 0x40000u : value & 0x000c0700u);
    return value;
}

/* SDM, "Virtualizing Writes to the APIC-Access Page": what a CPU leaves to others, behind it. */
static bool cpu_leaves(unsigned offset)
{
    return offset == 0x20 || (offset >= 0xd0 && offset <= 0xf0) || offset == 0x280 ||
           offset == 0x300 || (offset >= 0x320 && offset <= 0x380) || offset == 0x3e0;
}

/* In xAPIC mode: at times by a CPU that puts into the page all that the guest writes. */
static enum lapic_effect write_page(struct pair *p, unsigned offset, uint32_t value,
                                    uint32_t writable, struct ipi *ipi)
{
    if (!cpu_leaves(offset) || below(2) == 0)
        return lapic_write_mmio(&p->l, offset, 4, value, now_of(&p->n), ipi);
    pages[0][offset / 4] = value | ((uint32_t)host_random(&seed) & ~writable);
    return lapic_wrote(&p->l, offset / 16, now_of(&p->n), ipi);
}

static void write_both(struct pair *p)
{
    static const uint16_t offsets[] = {
        0x20,  0x30,  0x80,  0x80,  0xb0,  0xb0,  0xd0,  0xe0,  0xf0,  0x280, 0x300, 0x300, 0x300,
        0x310, 0x320, 0x320, 0x330, 0x340, 0x350, 0x360, 0x370, 0x380, 0x380, 0x390, 0x3e0, 0x3f0};
    unsigned offset = offsets[below(ARRAY_SIZE(offsets))];
    const struct row *row = row_of(offset);
    uint64_t value = random_value(offset) & row->writable;
    struct ipi ipi;
    enum lapic_effect effect;
    bool writable = has(p->n.x2 ? row->x2apic : row->xapic, 'w');
    if (p->n.x2) {
        if (offset == 0x300)
            value |= host_random(&seed) << 32;
        effect = lapic_write_msr(&p->l, 0x800 + offset / 16, value, now_of(&p->n), &ipi);
        assert_int_equal(effect == LAPIC_REFUSED, !writable);
    } else if (p->n.enabled && offset != 0x3f0) {
        effect = write_page(p, offset, (uint32_t)value, row->writable, &ipi);
    } else {
        return;
    }
    if (effect == LAPIC_SEND && ipi.mode == IPI_FIXED && ipi.shorthand == IPI_TO_SELF)
        lapic_receive(&p->l, ipi.vector, false);
    int top = naive_top(p->n.isr);
    bool ends_level = offset == 0xb0 && top >= 0 && p->n.tmr[top];
    assert_int_equal(effect == LAPIC_ENDED, ends_level);
    if (ends_level)
        assert_int_equal(ipi.vector, top);
    if (writable)
        naive_write(&p->n, offset, value);
}

static void take_both(struct pair *p)
{
    lapic_tick(&p->l, now_of(&p->n));
    int vector = naive_pending(&p->n);
    assert_int_equal(lapic_pending(&p->l), vector);
    if (vector < 0)
        return;
    lapic_take(&p->l, (unsigned)vector);
    p->n.irr[vector] = false;
    p->n.isr[vector] = true;
}

static unsigned naive_highest(const struct naive *n)
{
    int irr = naive_top(n->irr), isr = naive_top(n->isr);
    return (unsigned)(irr < 0 ? 0 : irr) + 256 * (unsigned)(isr < 0 ? 0 : isr);
}

static void flip(bool *bit, unsigned first, unsigned vector)
{
    *bit = !*bit;
    pages[0][(first + vector / 32 * 16) / 4] ^= 1u << vector % 32;
}

/* A CPU requests, takes and ends interrupts in the page, and says what the highest are then. */
static void cpu_acts(struct pair *p)
{
    lapic_tick(&p->l, now_of(&p->n));
    for (unsigned i = 0; i < 3; i++) {
        unsigned vector = 16 + (unsigned)below(240);
        if (below(2) == 0)
            flip(&p->n.irr[vector], 0x200, vector);
        else
            flip(&p->n.isr[vector], 0x100, vector);
    }
    p->shared = true;
    lapic_follow(&p->l, naive_highest(&p->n));
    if (below(2) == 0) {
        assert_int_equal(lapic_highest(&p->l), naive_highest(&p->n));
        assert_int_equal(lapic_is_idle(&p->l), naive_highest(&p->n) == 0);
    }
}

static void change_mode(struct pair *p)
{
    struct naive *n = &p->n;
    bool enabled = n->enabled && (n->x2 ? below(2) == 0 : below(4) != 0);
    bool x2 = n->enabled && enabled;
    if (!n->enabled)
        enabled = true;
    assert_true(lapic_set_base(&p->l, 0xfee00000 | (n->bsp ? 0x100 : 0) | (enabled ? 0x800 : 0) |
                                          (x2 ? 0x400 : 0)));
    bool off = n->enabled && !enabled;
    n->enabled = enabled;
    n->x2 = x2;
    if (off)
        naive_init(n);
}

static void set_deadline(struct pair *p)
{
    uint64_t guest = p->n.host + p->n.offset;
    uint64_t value = below(8) == 0 ? 0 : guest + below(3000) - 100;
    lapic_set_deadline(&p->l, value, now_of(&p->n));
    if ((p->n.timer >> 17 & 3) == 2)
        p->n.deadline = value;
    naive_deadline(&p->n);
}

/* From an I/O APIC. */
static void receive_both(struct pair *p)
{
    unsigned vector = (unsigned)below(256);
    bool level = below(4) != 0;
    lapic_tick(&p->l, now_of(&p->n));
    lapic_receive(&p->l, vector, level);
    if ((p->n.svr >> 8 & 1) == 0)
        return;
    naive_post(&p->n, vector);
    p->n.tmr[vector] = vector > 15 && level;
}

static void hold_both(struct pair *p)
{
    struct naive *n = &p->n;
    bool level = n->lint0 / 0x100 % 8 == 0 && n->lint0 / 0x8000 % 2 == 1;
    lapic_tick(&p->l, now_of(n));
    lapic_hold_lint0(&p->l);
    if ((n->svr >> 8 & 1) == 0 || (n->lint0 >> 16 & 1) != 0 || !level || naive_awaits_eoi(n))
        return;
    naive_post(n, n->lint0 % 256);
    n->tmr[n->lint0 % 256] = n->lint0 % 256 > 15;
}

static void step(struct pair *p)
{
    advance(p);
    unsigned what = (unsigned)below(64);
    if (what < 40) {
        write_both(p);
    } else if (what < 52) {
        take_both(p);
    } else if (what < 57) {
        set_deadline(p);
    } else if (what < 60) {
        receive_both(p);
        if (below(2) == 0)
            hold_both(p);
    } else if (what == 60) {
        change_mode(p);
    } else if (what == 63 && below(4) == 0) {
        cpu_acts(p);
    } else if (what == 61 && below(4) == 0) {
        lapic_init(&p->l);
        naive_init(&p->n);
    } else if (what == 62) { /* the guest writes its TSC */
        lapic_tick(&p->l, now_of(&p->n));
        p->n.offset += below(2000) - 1000;
        naive_deadline(&p->n);
    } else if (p->n.enabled) {
        unsigned vector = (unsigned)below(256);
        lapic_post(&p->l, vector);
        naive_post(&p->n, vector);
    }
    compare(p);
    if (below(8) == 0)
        compare_left(p);
}

/* LINT0 stays high: each of its interrupts needs the EOI of the one before, and that is broadcast.
 */
static void level_at_lint0(void **context)
{
    struct lapic l = reset_one(true);
    struct ipi ipi;
    uint64_t value;
    (void)context;
    assert_true(lapic_write_msr(&l, 0x80f, 0x1ff, never, &ipi) != LAPIC_REFUSED);
    for (unsigned mode = 0; mode < 8; mode++) { /* fixed is 0 */
        for (unsigned masked = 0; masked < 2; masked++) {
            uint32_t entry = 0x8051 | mode << 8 | masked << 16;
            assert_true(lapic_write_msr(&l, 0x835, entry, never, &ipi) != LAPIC_REFUSED);
            lapic_hold_lint0(&l);
            bool comes = mode == 0 && masked == 0;
            assert_int_equal(lapic_pending(&l), comes ? 0x51 : -1);
            if (!comes)
                continue;
            assert_true(lapic_read_msr(&l, 0x835, never, &value) && value == (entry | 0x4000));
            lapic_take(&l, 0x51);
            lapic_hold_lint0(&l);
            assert_false(lapic_requests(&l));
            assert_int_equal(lapic_end(&l), 0x51);
            assert_true(lapic_read_msr(&l, 0x835, never, &value) && value == entry);
            lapic_hold_lint0(&l);
            assert_int_equal(lapic_pending(&l), 0x51);
            lapic_take(&l, 0x51);
            assert_int_equal(lapic_end(&l), 0x51);
        }
    }
}

static void random_operations(void **context)
{
    static struct pair p;
    (void)context;
    seed = 1;
    for (unsigned i = 0; i < STEPS; i++) {
        if (i % 1000 == 0)
            begin(&p, (uint32_t)(i % 5000 == 0 ? 0 : below(256)));
        step(&p);
    }
}

/* --- destinations ---------------------------------------------------------------------------- */

/* SDM, "Determining IPI Destination", for one APIC and an IPI that has no shorthand. */
static bool naive_addressed(const struct lapic *l, const struct ipi *ipi)
{
    bool x2 = (l->base >> 10 & 1) != 0;
    uint32_t dest = ipi->dest;
    if (dest == 0xffffffff)
        return true;
    if (!ipi->logical)
        return x2 ? l->id == dest : (l->id & 0xff) == dest;
    if (x2)
        return l->id / 16 == dest / 65536 && (dest >> l->id % 16 & 1) != 0;
    if (dest > 255)
        return false;
    uint32_t ldr = l->page[0xd0 / 4] >> 24;
    if (l->page[0xe0 / 4] == 0xffffffff)
        return (ldr & dest) != 0;
    return ldr / 16 == dest / 16 && (ldr & dest & 15) != 0;
}

static uint64_t naive_targets(struct lapic *const *set, unsigned self, const struct ipi *ipi)
{
    uint64_t bits = 0;
    int best = -1;
    for (unsigned i = 0; i < SET_SIZE; i++) {
        bool on = (set[i]->base >> 11 & 1) != 0;
        bool hit = ipi->shorthand == 1   ? i == self
                   : ipi->shorthand == 2 ? on
                   : ipi->shorthand == 3 ? on && i != self
                                         : on && naive_addressed(set[i], ipi);
        if (!hit)
            continue;
        bits |= 1ull << i;
        if ((set[i]->page[0xf0 / 4] >> 8 & 1) != 0 &&
            (best < 0 || set[i]->page[0x80 / 4] < set[best]->page[0x80 / 4]))
            best = (int)i;
    }
    if (ipi->mode != 1)
        return bits;
    return best < 0 ? 0 : 1ull << best;
}

static void random_member(struct lapic *l, unsigned i, bool x2)
{
    struct ipi ipi;
    lapic_reset(l, pages[i], below(4) == 0 ? (uint32_t)below(255) : i, i == 0);
    lapic_write_mmio(l, 0xd0, 4, (uint32_t)(below(2) == 0 ? 1u << 24 << i : below(256) << 24),
                     never, &ipi);
    lapic_write_mmio(l, 0xe0, 4, below(2) == 0 ? 0xf0000000 : 0, never, &ipi);
    if (below(4) != 0)
        lapic_write_mmio(l, 0xf0, 4, 0x1ff, never, &ipi);
    lapic_write_mmio(l, 0x80, 4, (uint32_t)below(4) << 5, never, &ipi);
    if (x2)
        lapic_set_base(l, l->base | 0x400);
    if (below(16) == 0)
        lapic_set_base(l, l->base & ~0xc00ull);
}

static uint32_t random_dest(bool x2)
{
    if (below(4) == 0)
        return x2 ? 0xffffffff : 0xff;
    if (x2 && below(2) == 0)
        return (uint32_t)(below(17) << 16 | 1u << below(16) | below(256));
    return (uint32_t)below(below(2) == 0 ? SET_SIZE : 256);
}

/* By what is written to the ICR, in either mode. */
static void destinations(void **context)
{
    static struct lapic members[SET_SIZE];
    struct lapic *set[SET_SIZE];
    (void)context;
    seed = 2;
    for (unsigned i = 0; i < SETS; i++) {
        bool x2 = below(2) == 0;
        unsigned self = (unsigned)below(SET_SIZE);
        for (unsigned k = 0; k < SET_SIZE; k++) {
            random_member(&members[k], k, x2);
            set[k] = &members[k];
        }
        if ((members[self].base & 0x800) == 0)
            continue;
        uint32_t dest = random_dest(x2), vector = 16 + (uint32_t)below(240);
        uint32_t mode = (uint32_t)below(2), shorthand = (uint32_t)below(4);
        bool logical = below(2) == 0;
        uint32_t low = vector | mode << 8 | (logical ? 1u << 11 : 0) | 1u << 14 | shorthand << 18;
        struct ipi ipi;
        enum lapic_effect effect;
        if (x2) {
            effect = lapic_write_msr(set[self], 0x830, (uint64_t)dest << 32 | low, never, &ipi);
        } else {
            lapic_write_mmio(set[self], 0x310, 4, dest << 24, never, &ipi);
            effect = lapic_write_mmio(set[self], 0x300, 4, low, never, &ipi);
        }
        bool invalid = mode == 1 && (shorthand == 1 || shorthand == 2);
        assert_int_equal(effect, invalid ? LAPIC_DONE : LAPIC_SEND);
        if (invalid)
            continue;
        struct ipi expected = {
            .dest = !x2 && dest == 0xff ? 0xffffffff : dest,
            .mode = (uint8_t)mode,
            .vector = (uint8_t)vector,
            .shorthand = (uint8_t)shorthand,
            .logical = logical,
        };
        assert_int_equal(ipi.vector, vector);
        assert_int_equal(lapic_targets(set, SET_SIZE, self, &ipi),
                         naive_targets(set, self, &expected));
    }
}

/* SDM, "Valid Combinations for the Pentium 4 and Intel Xeon Processors' Local xAPIC Interrupt
 * Command Register"; an INIT whose level is de-asserted does nothing. */
static void commands(void **context)
{
    (void)context;
    for (uint32_t bits = 0; bits < 256; bits++) {
        uint32_t mode = bits & 7, shorthand = bits >> 3 & 3, level = bits >> 5 & 1;
        uint32_t trigger = bits >> 6 & 1;
        struct lapic l = reset_one(bits >> 7 != 0);
        struct ipi ipi;
        uint32_t low = 0x40 | mode << 8 | level << 14 | trigger << 15 | shorthand << 18;
        enum lapic_effect effect = bits >> 7 != 0
                                       ? lapic_write_msr(&l, 0x830, low, never, &ipi)
                                       : lapic_write_mmio(&l, 0x300, 4, low, never, &ipi);
        bool sent = mode == 0 || ((mode == 1 || mode == 4 || mode == 5 || mode == 6) &&
                                  (shorthand == 0 || shorthand == 3));
        if (mode == 5 && level == 0 && trigger == 1)
            sent = false;
        assert_int_equal(effect, sent ? LAPIC_SEND : LAPIC_DONE);
        if (sent)
            assert_int_equal(ipi.mode, mode);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reset_values),      cmocka_unit_test(xapic_bits),
        cmocka_unit_test(x2apic_bits),       cmocka_unit_test(modes_apart),
        cmocka_unit_test(transitions),       cmocka_unit_test(odd_accesses),
        cmocka_unit_test(level_at_lint0),    cmocka_unit_test(commands),
        cmocka_unit_test(random_operations), cmocka_unit_test(destinations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
