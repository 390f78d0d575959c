/*
 * The pair of 8259As against a second model, which has a bool an input and a list of inputs by
 * priority; on random operations. And what the data sheet says of each mode, by hand.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/device_ops.h"
#include "tests/unit/host.h"
#include "vmm/devices/i8259.h"

static uint64_t seed = 8259;

static unsigned below(unsigned n)
{
    return (unsigned)(host_random(&seed) % n);
}

/* --- the second model ------------------------------------------------------------------------ */

struct naive_chip {
    bool line[8], edge[8], level[8], isr[8], imr[8];
    int order[8]; /* inputs, that of highest priority first */
    int step;     /* 0: initialized; else the ICW that comes */
    unsigned icw1, icw2, icw3, icw4;
    bool rotate_aeoi, smm, poll, ris;
};

struct naive {
    struct naive_chip m, s;
    bool intr;
    int rises; /* of it */
};

static unsigned byte_of(const bool *bits)
{
    unsigned value = 0;
    for (int i = 7; i >= 0; i--)
        value = value * 2 + bits[i];
    return value;
}

static void bits_of(bool *bits, unsigned value)
{
    for (int i = 0; i < 8; i++, value /= 2)
        bits[i] = value % 2 == 1;
}

static bool wants(const struct naive_chip *c, int i)
{
    return c->level[i] ? c->line[i] : c->edge[i];
}

/* Down the list: what is in service ends the search, unless a slave may interrupt itself. */
static int naive_request(const struct naive_chip *c)
{
    if (c->step != 0)
        return -1;
    for (int k = 0; k < 8; k++) {
        int i = c->order[k];
        bool counts = c->isr[i] && !(c->smm && c->imr[i]);
        bool slave = (c->icw4 & 0x10) && !(c->icw1 & 2) && (c->icw3 >> i & 1);
        if (counts && !slave)
            return -1;
        if (wants(c, i) && !c->imr[i])
            return i;
        if (counts)
            return -1;
    }
    return -1;
}

/* I becomes the last, and those behind it the first. */
static void make_last(struct naive_chip *c, int i)
{
    while (c->order[7] != i) {
        int first = c->order[0];
        for (int k = 0; k < 7; k++)
            c->order[k] = c->order[k + 1];
        c->order[7] = first;
    }
}

static void naive_line(struct naive_chip *c, int i, bool up)
{
    if (up && !c->line[i])
        c->edge[i] = true;
    if (!up)
        c->edge[i] = false;
    c->line[i] = up;
}

static void naive_drive(struct naive *n, bool intr)
{
    if (intr && !n->intr)
        n->rises++;
    n->intr = intr;
}

static void naive_wire(struct naive *n)
{
    naive_line(&n->m, 2, naive_request(&n->s) >= 0);
    naive_drive(n, naive_request(&n->m) >= 0);
}

static int naive_take(struct naive *n, struct naive_chip *c)
{
    int i = naive_request(c);
    if (i < 0)
        return -1;
    c->edge[i] = false;
    c->isr[i] = true;
    if (c->icw4 & 2) {
        c->isr[i] = false;
        if (c->rotate_aeoi)
            make_last(c, i);
    }
    if (c == &n->m) /* the first pulse of the acknowledge */
        naive_drive(n, false);
    if (c == &n->s) {
        naive_line(&n->m, 2, false);
        naive_drive(n, naive_request(&n->m) >= 0);
    }
    naive_wire(n);
    return i;
}

static unsigned naive_acknowledge(struct naive *n)
{
    int i = naive_take(n, &n->m);
    int shown = i < 0 ? 7 : i;
    bool cascaded = !(n->m.icw1 & 2) && (n->m.icw3 >> shown & 1);
    if (!cascaded)
        return (n->m.icw2 & 0xf8) + (unsigned)shown;
    if ((int)(n->s.icw3 & 7) != shown)
        return 0xff;
    i = naive_take(n, &n->s);
    return (n->s.icw2 & 0xf8) + (i < 0 ? 7u : (unsigned)i);
}

static void naive_icw1(struct naive_chip *c, unsigned value)
{
    for (int i = 0; i < 8; i++) {
        c->edge[i] = c->isr[i] = c->imr[i] = false;
        c->order[i] = i;
    }
    c->icw1 = value;
    c->icw4 = 0;
    c->step = 2;
    c->rotate_aeoi = c->smm = c->poll = c->ris = false;
}

static void naive_icw(struct naive_chip *c, unsigned value)
{
    bool single = c->icw1 & 2, fourth = c->icw1 & 1;
    switch (c->step) {
    case 2:
        c->icw2 = value;
        c->step = !single ? 3 : fourth ? 4 : 0;
        break;
    case 3:
        c->icw3 = value;
        c->step = fourth ? 4 : 0;
        break;
    default:
        c->icw4 = value;
        c->step = 0;
        break;
    }
}

/* The input in service that a non-specific EOI ends. */
static int naive_served(const struct naive_chip *c)
{
    for (int k = 0; k < 8; k++)
        if (c->isr[c->order[k]] && !(c->smm && c->imr[c->order[k]]))
            return c->order[k];
    return -1;
}

/* The table in "Operation Command Word 2". */
static void naive_ocw2(struct naive_chip *c, unsigned value)
{
    int level = (int)(value & 7), served = naive_served(c);
    switch (value >> 5) {
    case 0: /* rotate in automatic EOI mode: clear */
        c->rotate_aeoi = false;
        break;
    case 1: /* non-specific EOI */
        if (served >= 0)
            c->isr[served] = false;
        break;
    case 2: /* no operation */
        break;
    case 3: /* specific EOI */
        c->isr[level] = false;
        break;
    case 4: /* rotate in automatic EOI mode: set */
        c->rotate_aeoi = true;
        break;
    case 5: /* rotate on non-specific EOI */
        if (served >= 0) {
            c->isr[served] = false;
            make_last(c, served);
        }
        break;
    case 6: /* set priority */
        make_last(c, level);
        break;
    default: /* rotate on specific EOI */
        c->isr[level] = false;
        make_last(c, level);
        break;
    }
}

static void naive_ocw3(struct naive_chip *c, unsigned value)
{
    if ((value & 0x60) == 0x60)
        c->smm = true;
    if ((value & 0x60) == 0x40)
        c->smm = false;
    if (value & 4)
        c->poll = true;
    else if ((value & 3) == 2)
        c->ris = false;
    else if ((value & 3) == 3)
        c->ris = true;
}

static void naive_write_chip(struct naive_chip *c, int a0, unsigned value)
{
    if (a0 == 1 && c->step != 0)
        naive_icw(c, value);
    else if (a0 == 1)
        bits_of(c->imr, value);
    else if (value & 0x10)
        naive_icw1(c, value);
    else if (value & 8)
        naive_ocw3(c, value);
    else
        naive_ocw2(c, value);
}

/* By port. */
static void naive_write(struct naive *n, unsigned port, unsigned value)
{
    if (port == 0x4d0)
        bits_of(n->m.level, value & 0xf8);
    else if (port == 0x4d1)
        bits_of(n->s.level, value & 0xde);
    else
        naive_write_chip(port < 0x80 ? &n->m : &n->s, port & 1, value);
    naive_wire(n);
}

static unsigned naive_read(struct naive *n, unsigned port)
{
    struct naive_chip *c = port < 0x80 ? &n->m : &n->s;
    bool irr[8];
    if (port >= 0x4d0)
        return byte_of(port == 0x4d0 ? n->m.level : n->s.level);
    if (c->poll) {
        c->poll = false;
        int i = naive_take(n, c);
        return i < 0 ? 0 : 0x80 + (unsigned)i;
    }
    if (port & 1)
        return byte_of(c->imr);
    for (int i = 0; i < 8; i++)
        irr[i] = wants(c, i);
    return byte_of(c->ris ? c->isr : irr);
}

static void naive_reset(struct naive *n)
{
    static const unsigned init[][2] = {{0x20, 0x11}, {0x21, 0x08}, {0x21, 0x04}, {0x21, 0x01},
                                       {0xa0, 0x11}, {0xa1, 0x70}, {0xa1, 0x02}, {0xa1, 0x01},
                                       {0x21, 0xfb}, {0xa1, 0xff}};
    memset(n, 0, sizeof(*n));
    for (unsigned i = 0; i < ARRAY_SIZE(init); i++)
        naive_write(n, init[i][0], init[i][1]);
}

/* --- random operations ----------------------------------------------------------------------- */

static const unsigned ports[I8259_REGS] = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1};

struct both {
    struct i8259 pic;
    struct naive naive;
};

static void write_both(struct both *b, unsigned reg, unsigned value)
{
    i8259_write(&b->pic, reg, (uint8_t)value);
    naive_write(&b->naive, ports[reg], value);
}

/* Mostly as a PC's must be, so that there are interrupts. */
static void initialize_both(struct both *b, unsigned chip)
{
    static const unsigned icw3[] = {4, 2};
    unsigned odd = below(8), icw1 = 0x10 | below(16);
    if (odd != 0)
        icw1 = (icw1 & ~2u) | 1;
    write_both(b, 2 * chip, icw1);
    write_both(b, 2 * chip + 1, below(256));
    write_both(b, 2 * chip + 1, odd == 1 ? below(256) : icw3[chip]);
    write_both(b, 2 * chip + 1, (below(4) == 0 ? 2 : 0) | (below(2) == 0 ? 0x10 : 0) | 1);
    write_both(b, 2 * chip + 1, below(256) & below(256));
}

static void line_both(struct both *b)
{
    unsigned irq = below(16);
    bool high = below(2) == 0;
    if (irq == I8259_CASCADE)
        return;
    i8259_set_line(&b->pic, irq, high);
    naive_line(irq < 8 ? &b->naive.m : &b->naive.s, (int)irq % 8, high);
    naive_wire(&b->naive);
}

static void operate(struct both *b)
{
    unsigned what = below(64), chip = below(2);
    if (what < 20)
        line_both(b);
    else if (what < 30 && (i8259_interrupts(&b->pic) || below(8) == 0))
        assert_int_equal(i8259_acknowledge(&b->pic), naive_acknowledge(&b->naive));
    else if (what < 40)
        write_both(b, 2 * chip, below(8) << 5 | below(8)); /* OCW2 */
    else if (what < 44)
        write_both(b, 2 * chip, 8 | below(8) | below(4) << 5); /* OCW3 */
    else if (what < 46)
        write_both(b, 2 * chip + 1, below(256) & below(256));
    else if (what == 46)
        write_both(b, I8259_ELCR + chip, below(256));
    else if (what == 47 && below(8) == 0)
        initialize_both(b, chip);
    else if (what == 48 && below(16) == 0)
        write_both(b, below(I8259_REGS), below(256));
    else if (what > 48) {
        unsigned reg = below(I8259_REGS);
        assert_int_equal(i8259_read(&b->pic, reg), naive_read(&b->naive, ports[reg]));
    }
}

static void random_operations(void **context)
{
    struct both b;
    (void)context;
    i8259_reset(&b.pic);
    naive_reset(&b.naive);
    for (unsigned long i = device_ops(10000000); i > 0; i--) {
        b.naive.rises = 0;
        operate(&b);
        assert_int_equal(i8259_interrupts(&b.pic), naive_request(&b.naive.m) >= 0);
        assert_int_equal(i8259_has_risen(&b.pic), b.naive.rises > 0);
        assert_false(i8259_has_risen(&b.pic));
    }
}

/* --- by hand --------------------------------------------------------------------------------- */

static struct i8259 pic;

/* Vectors 20h and 28h, all inputs open. */
static void begin(unsigned master_icw4, unsigned slave_icw4)
{
    i8259_reset(&pic);
    for (unsigned chip = 0; chip < 2; chip++) {
        i8259_write(&pic, 2 * chip, 0x11);
        i8259_write(&pic, 2 * chip + 1, chip == 0 ? 0x20 : 0x28);
        i8259_write(&pic, 2 * chip + 1, chip == 0 ? 4 : 2);
        i8259_write(&pic, 2 * chip + 1, (uint8_t)(chip == 0 ? master_icw4 : slave_icw4));
    }
}

static void pulse(unsigned irq)
{
    i8259_set_line(&pic, irq, false);
    i8259_set_line(&pic, irq, true);
}

static void expect(unsigned vector)
{
    assert_true(i8259_interrupts(&pic));
    assert_int_equal(i8259_acknowledge(&pic), vector);
}

static unsigned isr(unsigned reg)
{
    i8259_write(&pic, reg, 0x0b);
    return i8259_read(&pic, reg);
}

static unsigned irr(unsigned reg)
{
    i8259_write(&pic, reg, 0x0a);
    return i8259_read(&pic, reg);
}

static void as_firmware_leaves_them(void **context)
{
    (void)context;
    i8259_reset(&pic);
    assert_int_equal(i8259_read(&pic, 1), 0xfb);
    assert_int_equal(i8259_read(&pic, 3), 0xff);
    i8259_write(&pic, 1, 0);
    i8259_write(&pic, 3, 0);
    pulse(0);
    expect(0x08);
    i8259_write(&pic, 0, 0x20);
    pulse(8);
    expect(0x70);
}

static void fully_nested(void **context)
{
    (void)context;
    begin(1, 1);
    pulse(4);
    pulse(12);
    expect(0x2c); /* by the slave, at the master's IR2 */
    assert_int_equal(isr(0), 0x04);
    assert_int_equal(isr(2), 0x10);
    assert_false(i8259_interrupts(&pic));
    pulse(1);
    expect(0x21);
    pulse(9); /* of higher priority in the slave, but the master has IR2 in service */
    assert_false(i8259_interrupts(&pic));
    i8259_write(&pic, 0, 0x20);
    assert_int_equal(isr(0), 0x04);
    i8259_write(&pic, 2, 0x20);
    i8259_write(&pic, 0, 0x20);
    expect(0x29);
    i8259_write(&pic, 2, 0x20);
    i8259_write(&pic, 0, 0x20);
    expect(0x24);
}

static void special_fully_nested(void **context)
{
    (void)context;
    begin(0x11, 1);
    pulse(12);
    expect(0x2c);
    pulse(3);
    assert_false(i8259_interrupts(&pic));
    pulse(9);
    expect(0x29);
    i8259_write(&pic, 2, 0x20);
    assert_int_equal(isr(2), 0x10);
}

static void spurious(void **context)
{
    (void)context;
    begin(1, 1);
    pulse(5);
    i8259_set_line(&pic, 5, false);
    assert_false(i8259_interrupts(&pic));
    assert_int_equal(i8259_acknowledge(&pic), 0x27);
    assert_int_equal(isr(0), 0);
    i8259_write(&pic, 0, 0x68); /* special mask mode, so that IR2 does not hide it */
    pulse(14);
    i8259_write(&pic, 4, 0);
    i8259_write(&pic, 3, 0x40);
    assert_false(i8259_interrupts(&pic));
    i8259_write(&pic, 3, 0);
    assert_true(i8259_interrupts(&pic));
    i8259_set_line(&pic, 14, false);
    assert_int_equal(i8259_acknowledge(&pic), 0x27); /* the slave has withdrawn it */
}

/* An edge is taken once; a level is there until it goes. */
static void edges_and_levels(void **context)
{
    (void)context;
    begin(1, 1);
    i8259_write(&pic, 4, 0xff);
    i8259_write(&pic, 5, 0xff);
    assert_int_equal(i8259_read(&pic, 4), 0xf8);
    assert_int_equal(i8259_read(&pic, 5), 0xde);
    pulse(1);
    pulse(10);
    assert_int_equal(irr(0), 0x06);
    expect(0x21);
    i8259_write(&pic, 0, 0x20);
    expect(0x2a);
    assert_int_equal(irr(2), 0x04);
    i8259_write(&pic, 2, 0x20);
    i8259_write(&pic, 0, 0x20);
    expect(0x2a);
    i8259_set_line(&pic, 10, false);
    assert_int_equal(irr(2), 0);
    i8259_write(&pic, 2, 0x20);
    i8259_write(&pic, 0, 0x20);
    assert_false(i8259_interrupts(&pic));
    i8259_write(&pic, 0, 0x11); /* "the edge sense circuit is reset" */
    i8259_write(&pic, 1, 0x20);
    i8259_write(&pic, 1, 4);
    i8259_write(&pic, 1, 1);
    assert_int_equal(i8259_read(&pic, 1), 0);
    assert_false(i8259_interrupts(&pic));
}

/* "Automatic Rotation", "Specific Rotation": the data sheet's example is of IR4 and IR6. */
static void rotation(void **context)
{
    (void)context;
    begin(1, 1);
    pulse(4);
    pulse(6);
    expect(0x24);
    i8259_write(&pic, 0, 0xa0);
    pulse(4);
    expect(0x26); /* IR5 is the highest now, IR4 the lowest */
    i8259_write(&pic, 0, 0xe0 | 6);
    expect(0x24);
    pulse(7);
    expect(0x27);
    i8259_write(&pic, 0, 0x20);
    assert_int_equal(isr(0), 0x10);
    i8259_write(&pic, 0, 0x60 | 4);
    i8259_write(&pic, 0, 0xc0 | 2);
    pulse(1);
    pulse(3);
    expect(0x23);
}

static void automatic_eoi(void **context)
{
    (void)context;
    begin(3, 1);
    pulse(3);
    pulse(5);
    expect(0x23);
    expect(0x25);
    assert_int_equal(isr(0), 0);
    i8259_write(&pic, 0, 0x80);
    pulse(3);
    expect(0x23);
    pulse(3);
    pulse(5);
    expect(0x25);
    i8259_write(&pic, 0, 0x00);
    expect(0x23);
}

static void special_mask(void **context)
{
    (void)context;
    begin(1, 1);
    pulse(1);
    expect(0x21);
    pulse(6);
    i8259_write(&pic, 1, 0x02);
    assert_false(i8259_interrupts(&pic));
    i8259_write(&pic, 0, 0x68);
    expect(0x26);
    i8259_write(&pic, 0, 0x20); /* does not end what is masked */
    assert_int_equal(isr(0), 0x02);
    i8259_write(&pic, 0, 0x20);
    assert_int_equal(isr(0), 0x02);
    i8259_write(&pic, 0, 0x48);
    i8259_write(&pic, 0, 0x20);
    assert_int_equal(isr(0), 0);
}

static void polls(void **context)
{
    (void)context;
    begin(1, 1);
    i8259_write(&pic, 0, 0x0c);
    assert_int_equal(i8259_read(&pic, 0), 0);
    pulse(13);
    i8259_write(&pic, 0, 0x0c);
    assert_int_equal(i8259_read(&pic, 1), 0x82);
    i8259_write(&pic, 2, 0x0c);
    assert_int_equal(i8259_read(&pic, 2), 0x85);
    assert_int_equal(isr(0), 0x04);
    assert_int_equal(isr(2), 0x20);
    assert_int_equal(i8259_read(&pic, 1), 0);
}

static void described(void **context)
{
    char text[512];
    (void)context;
    begin(3, 1);
    i8259_write(&pic, 3, 0x81);
    size_t length = i8259_describe(&pic, text, sizeof(text));
    assert_int_equal(length, strlen(text));
    assert_string_equal(text,
                        "8259 master: vectors 20, IRR 00, IMR 00, ISR 00, inputs 00, ELCR 00, "
                        "lowest 7, auto-EOI\n"
                        "8259 slave: vectors 28, IRR 00, IMR 81, ISR 00, inputs 00, ELCR 00, "
                        "lowest 7\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_firmware_leaves_them),
        cmocka_unit_test(fully_nested),
        cmocka_unit_test(special_fully_nested),
        cmocka_unit_test(spurious),
        cmocka_unit_test(edges_and_levels),
        cmocka_unit_test(rotation),
        cmocka_unit_test(automatic_eoi),
        cmocka_unit_test(special_mask),
        cmocka_unit_test(polls),
        cmocka_unit_test(described),
        cmocka_unit_test(random_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
