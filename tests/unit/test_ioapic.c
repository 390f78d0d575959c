/*
 * The I/O APIC against a second model that is as plain as can be: a struct of bools a pin, looked
 * at one after the other; on random operations. And what the data sheets say of each register.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/device_ops.h"
#include "tests/unit/host.h"
#include "vmm/devices/ioapic.h"

enum { PINS = 24 };

static uint64_t seed;

static uint64_t below(uint64_t n)
{
    return host_random(&seed) % n;
}

/* --- the second model ------------------------------------------------------------------------ */

struct naive_pin {
    unsigned vector, mode, dest;
    bool logical, low_active, level, masked; /* as written */
    bool high, remote_irr, edge;
};

struct naive {
    struct naive_pin pin[PINS];
    unsigned index, id;
};

static void naive_reset(struct naive *n, unsigned id)
{
    memset(n, 0, sizeof(*n));
    n->id = id;
    for (unsigned i = 0; i < PINS; i++) {
        n->pin[i].masked = true;
        n->pin[i].high = i >= 16;
    }
}

static bool naive_by_level(const struct naive_pin *p)
{
    return p->level && (p->mode == 0 || p->mode == 1);
}

static bool naive_active(const struct naive_pin *p)
{
    return p->low_active ? !p->high : p->high;
}

static bool naive_wants(const struct naive_pin *p)
{
    if (p->masked)
        return false;
    return naive_by_level(p) ? naive_active(p) && !p->remote_irr : p->edge;
}

static void naive_set_pin(struct naive *n, unsigned i, bool high)
{
    struct naive_pin *p = &n->pin[i];
    bool was = naive_active(p);
    p->high = high;
    if (!was && naive_active(p) && !p->masked && !naive_by_level(p))
        p->edge = true;
}

static void naive_eoi(struct naive *n, unsigned vector)
{
    for (unsigned i = 0; i < PINS; i++)
        if (n->pin[i].vector == vector)
            n->pin[i].remote_irr = false;
}

/* The next message; false: none. */
static bool naive_next(struct naive *n, struct ipi *message)
{
    for (unsigned i = 0; i < PINS; i++) {
        struct naive_pin *p = &n->pin[i];
        if (!naive_wants(p))
            continue;
        p->edge = false;
        if (naive_by_level(p))
            p->remote_irr = true;
        if (p->mode == 2 || p->mode == 3 || p->mode == 6)
            continue;
        memset(message, 0, sizeof(*message));
        message->dest = p->dest == 255 ? 0xffffffff : p->dest;
        message->mode = (uint8_t)p->mode;
        message->vector = (uint8_t)p->vector;
        message->logical = p->logical;
        message->level = naive_by_level(p);
        return true;
    }
    return false;
}

static uint32_t naive_low(const struct naive_pin *p)
{
    return p->vector + p->mode * 0x100 + (p->logical ? 0x800 : 0) + (naive_wants(p) ? 0x1000 : 0) +
           (p->low_active ? 0x2000 : 0) + (p->remote_irr ? 0x4000 : 0) + (p->level ? 0x8000 : 0) +
           (p->masked ? 0x10000 : 0);
}

static uint32_t naive_register(const struct naive *n, unsigned index)
{
    if (index == 0 || index == 2)
        return n->id * 0x1000000;
    if (index == 1)
        return 0x00170020;
    if (index < 0x10 || index > 0x3f)
        return 0;
    const struct naive_pin *p = &n->pin[(index - 0x10) / 2];
    return index % 2 == 0 ? naive_low(p) : p->dest * 0x1000000;
}

static void naive_write_low(struct naive_pin *p, uint32_t value)
{
    p->vector = value % 256;
    p->mode = value / 256 % 8;
    p->logical = (value & 0x800) != 0;
    p->low_active = (value & 0x2000) != 0;
    p->level = (value & 0x8000) != 0;
    p->masked = (value & 0x10000) != 0;
    if (!naive_by_level(p))
        p->remote_irr = false;
    if (p->masked || naive_by_level(p))
        p->edge = false;
}

static void naive_write_register(struct naive *n, uint32_t value)
{
    if (n->index == 0)
        n->id = value / 0x1000000 % 16;
    if (n->index < 0x10 || n->index > 0x3f)
        return;
    struct naive_pin *p = &n->pin[(n->index - 0x10) / 2];
    if (n->index % 2 == 0)
        naive_write_low(p, value);
    else
        p->dest = value / 0x1000000;
}

static void naive_write(struct naive *n, unsigned offset, unsigned width, uint64_t value)
{
    if (offset == 0)
        n->index = value % 256;
    if (offset == 0x10 && width == 4)
        naive_write_register(n, (uint32_t)value);
    if (offset == 0x40)
        naive_eoi(n, value % 256);
}

static uint64_t naive_read(const struct naive *n, unsigned offset, unsigned width)
{
    uint8_t page[0x60] = {(uint8_t)n->index};
    uint32_t window = naive_register(n, n->index);
    uint64_t value = 0;
    memcpy(page + 0x10, &window, sizeof(window));
    if (width < 8 && offset / 16 == (offset + width - 1) / 16)
        for (unsigned i = 0; i < width; i++)
            if (offset + i < sizeof(page))
                value |= (uint64_t)page[offset + i] << 8 * i;
    return (offset & 15) + width > 4 ? 0 : value;
}

/* --- random operations ----------------------------------------------------------------------- */

struct pair {
    struct ioapic io;
    struct naive n;
};

static void expect_same_message(const struct ipi *a, const struct ipi *b)
{
    assert_int_equal(a->dest, b->dest);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->vector, b->vector);
    assert_int_equal(a->shorthand, IPI_TO_DEST);
    assert_int_equal(a->logical, b->logical);
    assert_int_equal(a->level, b->level);
}

static void drain(struct pair *p)
{
    for (;;) {
        struct ipi expected, message;
        bool more = naive_next(&p->n, &expected);
        assert_int_equal(ioapic_next(&p->io, &message), more);
        if (!more)
            break;
        expect_same_message(&message, &expected);
    }
    assert_int_equal(ioapic_ready(&p->io), 0);
}

static void compare(struct pair *p)
{
    unsigned index = p->n.index;
    for (unsigned i = 0; i < 0x41; i++) {
        ioapic_write(&p->io, 0, 4, i);
        assert_int_equal(ioapic_read(&p->io, 0x10, 4), naive_register(&p->n, i));
    }
    ioapic_write(&p->io, 0, 4, index);
}

/* Few vectors and destinations, so that they meet. */
static uint32_t random_entry(void)
{
    uint32_t value = (uint32_t)(host_random(&seed) & 0xfffe58f0) | (uint32_t)below(4);
    value |= (uint32_t)(below(4) == 0 ? below(8) : below(2)) << 8;
    return value | (below(2) == 0 ? 0x8000u : 0) | (below(4) == 0 ? 0x10000u : 0) |
           (below(2) == 0 ? 0x2000u : 0);
}

static uint32_t random_window(unsigned index)
{
    if (index >= 0x10 && index < 0x40 && index % 2 == 0)
        return random_entry();
    return below(4) == 0 ? 0xff000000 : (uint32_t)host_random(&seed);
}

static unsigned naive_masks(const struct naive *n)
{
    unsigned masked = 0;
    for (unsigned i = 0; i < PINS; i++)
        masked |= (n->pin[i].masked ? 1u : 0) << i;
    return masked;
}

static void write_both(struct pair *p, unsigned offset, unsigned width, uint64_t value)
{
    unsigned masked = naive_masks(&p->n);
    bool opens = ioapic_opens(&p->io, offset, width, value);
    ioapic_write(&p->io, offset, width, value);
    naive_write(&p->n, offset, width, value);
    assert_int_equal(opens, (masked & ~naive_masks(&p->n)) != 0);
}

/* An entry of the first pins, the way that drivers do it. */
static void write_entry(struct pair *p)
{
    unsigned index = 0x10 + (unsigned)below(below(4) == 0 ? 0x30 : 8);
    write_both(p, 0, below(2) == 0 ? 1 : 4, index);
    write_both(p, 0x10, 4, random_window(index));
}

static void access_anywhere(struct pair *p)
{
    static const unsigned widths[] = {1, 2, 4, 8};
    unsigned width = widths[below(4)];
    unsigned offset = (unsigned)(below(2) == 0 ? below(0x60) : below(6) * 0x10);
    if (below(16) == 0)
        offset = (unsigned)below(0x1000 - width + 1);
    if (below(2) == 0)
        write_both(p, offset, width, below(2) == 0 ? below(0x50) : host_random(&seed));
    uint64_t mask = width == 8 ? UINT64_MAX : (1ull << 8 * width) - 1;
    assert_int_equal(ioapic_read(&p->io, offset, width) & mask, naive_read(&p->n, offset, width));
}

static unsigned some_vector(const struct naive *n)
{
    return below(4) == 0 ? (unsigned)below(256) : n->pin[below(PINS)].vector;
}

static void step(struct pair *p)
{
    unsigned what = (unsigned)below(16), pin = (unsigned)below(below(4) == 0 ? PINS : 4);
    if (what < 7) {
        bool high = below(2) == 0;
        ioapic_set_pin(&p->io, pin, high);
        naive_set_pin(&p->n, pin, high);
    } else if (what < 10) {
        write_entry(p);
    } else if (what < 12) {
        access_anywhere(p);
    } else {
        unsigned vector = some_vector(&p->n);
        if (what == 12)
            write_both(p, 0x40, 4, vector);
        else
            ioapic_eoi(&p->io, vector), naive_eoi(&p->n, vector);
    }
    if (below(8) != 0)
        drain(p);
    if (below(16) == 0)
        compare(p);
}

static void random_operations(void **context)
{
    static struct pair p;
    (void)context;
    seed = 1;
    for (unsigned long i = device_ops(10000000); i > 0; i--) {
        if (i % 5000 == 0) {
            unsigned id = (unsigned)below(16);
            ioapic_reset(&p.io, id);
            naive_reset(&p.n, id);
        }
        step(&p);
    }
}

/* --- the data sheets ------------------------------------------------------------------------- */

static void set(struct ioapic *io, unsigned index, uint32_t value)
{
    ioapic_write(io, 0, 4, index);
    ioapic_write(io, 0x10, 4, value);
}

static uint32_t get(struct ioapic *io, unsigned index)
{
    ioapic_write(io, 0, 4, index);
    return (uint32_t)ioapic_read(io, 0x10, 4);
}

/* Default values, and the bits that can be written. */
static void registers(void **context)
{
    struct ioapic io;
    (void)context;
    ioapic_reset(&io, 5);
    assert_int_equal(ioapic_read(&io, 0, 4), 0);
    assert_int_equal(get(&io, 0), 0x05000000);
    assert_int_equal(get(&io, 1), 0x00170020);
    assert_int_equal(get(&io, 2), 0x05000000);
    set(&io, 0, 0xffffffff);
    set(&io, 1, 0xffffffff);
    set(&io, 2, 0);
    assert_int_equal(get(&io, 0), 0x0f000000);
    assert_int_equal(get(&io, 1), 0x00170020);
    assert_int_equal(get(&io, 2), 0x0f000000);
    for (unsigned pin = 0; pin < PINS; pin++) {
        assert_int_equal(get(&io, 0x10 + 2 * pin), 0x10000);
        assert_int_equal(get(&io, 0x11 + 2 * pin), 0);
        set(&io, 0x10 + 2 * pin, 0xffffffff);
        set(&io, 0x11 + 2 * pin, 0xffffffff);
        assert_int_equal(get(&io, 0x10 + 2 * pin), 0x1afff);
        assert_int_equal(get(&io, 0x11 + 2 * pin), 0xff000000);
    }
}

static void odd_accesses(void **context)
{
    struct ioapic io;
    (void)context;
    ioapic_reset(&io, 0);
    ioapic_write(&io, 0, 1, 0x12);
    ioapic_write(&io, 0x10, 4, 0x10345);
    assert_int_equal(ioapic_read(&io, 0x11, 1) & 0xff, 0x03);
    assert_int_equal(ioapic_read(&io, 0x12, 2) & 0xffff, 0x0001);
    assert_int_equal(ioapic_read(&io, 0x13, 2), 0);
    assert_int_equal(ioapic_read(&io, 0x10, 8), 0);
    ioapic_write(&io, 0x10, 1, 0xff);
    ioapic_write(&io, 0x10, 2, 0xffff);
    ioapic_write(&io, 0x10, 8, 0xffff);
    ioapic_write(&io, 0x11, 4, 0xffff);
    ioapic_write(&io, 0x14, 4, 0xffff);
    assert_int_equal(ioapic_read(&io, 0x10, 4), 0x10345);
    ioapic_write(&io, 0, 4, 0xabcdef11);
    assert_int_equal(ioapic_read(&io, 0, 4), 0x11);
    assert_int_equal(ioapic_read(&io, 0x40, 4), 0);
}

/* What a pin sends when it becomes active, or is: its message, or none. */
static bool sends(struct ioapic *io, struct ipi *message)
{
    struct ipi more;
    bool any = ioapic_next(io, message);
    assert_false(ioapic_next(io, &more));
    return any;
}

/* "Interrupt Mask" and "Trigger Mode". */
static void edges(void **context)
{
    struct ioapic io;
    struct ipi m;
    (void)context;
    ioapic_reset(&io, 0);
    set(&io, 0x13, 0x07000000);
    set(&io, 0x12, 0x00931); /* lowest priority, logical */
    ioapic_set_pin(&io, 1, true);
    assert_true(sends(&io, &m));
    assert_int_equal(m.vector, 0x31);
    assert_int_equal(m.mode, IPI_LOWEST);
    assert_int_equal(m.dest, 7);
    assert_true(m.logical);
    assert_false(m.level);
    ioapic_set_pin(&io, 1, true);
    assert_false(sends(&io, &m));
    ioapic_set_pin(&io, 1, false);
    assert_false(sends(&io, &m));
    set(&io, 0x12, 0x10031);
    ioapic_set_pin(&io, 1, true);
    set(&io, 0x12, 0x00031);
    assert_false(sends(&io, &m)); /* an edge at a masked pin is not held */
    set(&io, 0x12, 0x02031);
    assert_false(sends(&io, &m));
    ioapic_set_pin(&io, 1, false); /* low active: this is its edge */
    assert_true(sends(&io, &m));
    assert_int_equal(get(&io, 0x12), 0x02031);
}

/* "Remote IRR": none is sent again before the EOI, and then while the pin is active. */
static void levels(void **context)
{
    struct ioapic io;
    struct ipi m;
    (void)context;
    ioapic_reset(&io, 0);
    ioapic_set_pin(&io, 3, true);
    set(&io, 0x17, 0xff000000);
    set(&io, 0x16, 0x08040);
    assert_int_equal(get(&io, 0x16), 0x09040); /* delivery status: pending */
    assert_true(sends(&io, &m));
    assert_true(m.level);
    assert_int_equal(m.dest, IPI_BROADCAST);
    assert_int_equal(get(&io, 0x16), 0x0c040);
    ioapic_set_pin(&io, 3, false);
    ioapic_set_pin(&io, 3, true);
    assert_false(sends(&io, &m));
    ioapic_eoi(&io, 0x41);
    assert_false(sends(&io, &m));
    ioapic_eoi(&io, 0x40);
    assert_true(sends(&io, &m));
    set(&io, 0x16, 0x18040); /* masked: the EOI counts, and it is sent once it is not */
    ioapic_write(&io, 0x40, 4, 0x40);
    assert_int_equal(get(&io, 0x16), 0x18040);
    assert_false(sends(&io, &m));
    set(&io, 0x16, 0x08040);
    assert_true(sends(&io, &m));
    ioapic_set_pin(&io, 3, false);
    ioapic_eoi(&io, 0x40);
    assert_false(sends(&io, &m));
}

/* An EOI by hand: from level to edge and back. A new vector does not free the old one. */
static void eoi_by_hand(void **context)
{
    struct ioapic io;
    struct ipi m;
    (void)context;
    ioapic_reset(&io, 0);
    set(&io, 0x10, 0x0a050); /* low active, and low */
    assert_true(sends(&io, &m));
    set(&io, 0x10, 0x0a051);
    ioapic_eoi(&io, 0x50);
    assert_false(sends(&io, &m));
    assert_int_equal(get(&io, 0x10), 0x0e051);
    set(&io, 0x10, 0x12051);
    set(&io, 0x10, 0x0a051);
    assert_true(sends(&io, &m));
    /* Two pins with one vector: one EOI is for both. */
    set(&io, 0x12, 0x0a051);
    assert_true(sends(&io, &m));
    ioapic_write(&io, 0x40, 1, 0x51);
    assert_true(ioapic_next(&io, &m));
    assert_true(sends(&io, &m));
}

/* "Delivery Mode": all but fixed and lowest priority are edge-triggered, and three are not sent. */
static void modes(void **context)
{
    (void)context;
    for (uint32_t mode = 0; mode < 8; mode++)
        for (uint32_t level = 0; level < 2; level++) {
            struct ioapic io;
            struct ipi m;
            bool by_level = level != 0 && mode < 2;
            ioapic_reset(&io, 0);
            set(&io, 0x10, 0x22 | mode << 8 | level << 15);
            ioapic_set_pin(&io, 0, true);
            bool sent = sends(&io, &m);
            assert_int_equal(sent, mode != 2 && mode != 3 && mode != 6);
            if (sent) {
                assert_int_equal(m.mode, mode);
                assert_int_equal(m.level, by_level);
            }
            assert_int_equal(get(&io, 0x10),
                             0x22 | mode << 8 | level << 15 | (by_level ? 0x4000u : 0));
            ioapic_eoi(&io, 0x22);
            assert_int_equal(sends(&io, &m), by_level);
        }
}

/* The PCI bus pulls its pins up. */
static void at_rest(void **context)
{
    struct ioapic io;
    struct ipi m;
    (void)context;
    ioapic_reset(&io, 0);
    for (unsigned pin = 0; pin < PINS; pin++)
        set(&io, 0x10 + 2 * pin, pin < 16 ? 0x08030 : 0x0a030);
    assert_false(sends(&io, &m));
    ioapic_set_pin(&io, 16, false);
    assert_true(sends(&io, &m));
}

static void text(void **context)
{
    static char line[2048];
    size_t length;
    (void)context;
    struct ioapic io;
    struct ipi m;
    ioapic_reset(&io, 7);
    length = ioapic_describe(&io, line, sizeof(line));
    assert_int_equal(length, strlen(line));
    assert_string_equal(line, "I/O APIC 7: index 0x0, high pins 0xff0000\n");
    set(&io, 0x17, 0x12000000);
    set(&io, 0x16, 0x0a040);
    assert_true(ioapic_next(&io, &m));
    for (unsigned pin = 4; pin < PINS; pin++)
        set(&io, 0x10 + 2 * pin, 0x40);
    length = ioapic_describe(&io, line, sizeof(line));
    assert_int_equal(length, strlen(line));
    assert_non_null(strstr(line, "I/O APIC pin 3: entry 120000000000e040\n"));
    assert_non_null(strstr(line, "I/O APIC pin 23: entry 0000000000000040\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers), cmocka_unit_test(odd_accesses),      cmocka_unit_test(edges),
        cmocka_unit_test(levels),    cmocka_unit_test(eoi_by_hand),       cmocka_unit_test(modes),
        cmocka_unit_test(at_rest),   cmocka_unit_test(random_operations), cmocka_unit_test(text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
