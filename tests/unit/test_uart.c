/*
 * The 16550A against a second model that is as plain as can be: a list that moves up, a flag for
 * each fact, time that passes; on random operations. And what its data sheet says.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/device_ops.h"
#include "tests/unit/host.h"
#include "vmm/devices/uart.h"

enum { RBR, THR = 0, IER, IIR, FCR = 2, LCR, MCR, LSR, MSR, SCR };

static uint64_t seed;

static uint64_t below(uint64_t n)
{
    return host_random(&seed) % n;
}

/* --- the second model ------------------------------------------------------------------------ */

struct naive_char {
    unsigned data;
    bool parity, framing, brk;
};

struct naive {
    struct naive_char list[16];
    unsigned used;
    uint64_t khz, idle; /* since the list changed */
    bool fifo, enabled[4];
    unsigned trigger, dma, lcr, mcr, scratch, low, high, last;
    bool overrun, parity, framing, brk, late, empty, dipped;
    bool line[4], delta[4]; /* CTS, DSR, RI, DCD */
};

static void naive_set_lines(struct naive *n)
{
    bool loop = (n->mcr & 16) != 0;
    bool now[4] = {!loop || (n->mcr & 2) != 0, !loop || (n->mcr & 1) != 0,
                   loop && (n->mcr & 4) != 0, !loop || (n->mcr & 8) != 0};
    for (unsigned i = 0; i < 4; i++) {
        if (now[i] != n->line[i] && (i != 2 || !now[i]))
            n->delta[i] = true;
        n->line[i] = now[i];
    }
}

static void naive_reset(struct naive *n, uint32_t khz)
{
    memset(n, 0, sizeof(*n));
    n->khz = khz;
    n->lcr = 3;
    n->low = 12;
    naive_set_lines(n);
    memset(n->delta, 0, sizeof(n->delta));
}

/* Four characters at the baud rate of a clock of 1.8432 MHz, of which 16 ticks are a bit. */
static uint64_t naive_limit(const struct naive *n)
{
    static const unsigned lengths[] = {5, 6, 7, 8};
    double bits = 1 + lengths[n->lcr % 4] + (n->lcr / 8 % 2);
    bits += n->lcr / 4 % 2 == 0 ? 1 : n->lcr % 4 == 0 ? 1.5 : 2;
    long double seconds = 4 * (long double)bits * 16 * (n->low + n->high * 256) / 1843200;
    return (uint64_t)(seconds * (long double)n->khz * 1000 + 1e-6L);
}

static void naive_pass(struct naive *n, uint64_t ticks)
{
    n->idle += ticks;
}

static void naive_check_time(struct naive *n)
{
    if (n->fifo && n->used > 0 && n->idle >= naive_limit(n))
        n->late = true;
}

static void naive_first_shows(struct naive *n)
{
    if (n->used == 0)
        return;
    n->parity |= n->list[0].parity;
    n->framing |= n->list[0].framing;
    n->brk |= n->list[0].brk;
}

static void naive_come(struct naive *n, struct naive_char c)
{
    n->idle = 0;
    c.data %= 32u << n->lcr % 4;
    if (n->used == 16 && n->fifo) {
        n->overrun = true;
        return;
    }
    if (n->used == 1 && !n->fifo) {
        n->overrun = true;
        n->used = 0;
    }
    n->list[n->used++] = c;
    if (n->used == 1)
        naive_first_shows(n);
}

static unsigned naive_read_data(struct naive *n)
{
    n->idle = 0;
    n->late = false;
    if (n->used == 0)
        return n->last;
    n->last = n->list[0].data;
    n->used--;
    for (unsigned i = 0; i < n->used; i++)
        n->list[i] = n->list[i + 1];
    naive_first_shows(n);
    return n->last;
}

static unsigned naive_cause(const struct naive *n)
{
    static const unsigned levels[] = {1, 4, 8, 14};
    unsigned level = n->fifo ? levels[n->trigger] : 1;
    if (n->enabled[2] && (n->overrun || n->parity || n->framing || n->brk))
        return 0x06;
    if (n->enabled[0] && n->used >= level)
        return 0x04;
    if (n->enabled[0] && n->late)
        return 0x0c;
    if (n->enabled[1] && n->empty)
        return 0x02;
    if (n->enabled[3] && (n->delta[0] || n->delta[1] || n->delta[2] || n->delta[3]))
        return 0x00;
    return 0x01;
}

static unsigned naive_read_lsr(struct naive *n)
{
    bool in_fifo = n->parity || n->framing || n->brk;
    for (unsigned i = 0; i < n->used; i++)
        in_fifo |= n->list[i].parity || n->list[i].framing || n->list[i].brk;
    unsigned value = 0x60u + (n->used > 0 ? 1u : 0) + (n->overrun ? 2u : 0) + (n->parity ? 4u : 0) +
                     (n->framing ? 8u : 0) + (n->brk ? 16u : 0) + (in_fifo && n->fifo ? 128u : 0);
    n->overrun = n->parity = n->framing = n->brk = false;
    n->list[0].parity = n->list[0].framing = n->list[0].brk = false;
    return value;
}

static unsigned naive_read_msr(struct naive *n)
{
    unsigned value = 0;
    for (unsigned i = 0; i < 4; i++) {
        value += (n->line[i] ? 16u << i : 0) + (n->delta[i] ? 1u << i : 0);
        n->delta[i] = false;
    }
    return value;
}

static unsigned naive_read_other(struct naive *n, unsigned reg)
{
    unsigned cause, ier = 0;
    switch (reg) {
    case IER:
        for (unsigned i = 0; i < 4; i++)
            ier += n->enabled[i] ? 1u << i : 0;
        return ier;
    case IIR:
        cause = naive_cause(n);
        if (cause == 0x02)
            n->empty = false;
        return cause + (n->fifo ? 0xc0 : 0);
    case LCR:
        return n->lcr;
    case MCR:
        return n->mcr;
    case LSR:
        return naive_read_lsr(n);
    case MSR:
        return naive_read_msr(n);
    default:
        return n->scratch;
    }
}

static unsigned naive_read(struct naive *n, unsigned reg)
{
    naive_check_time(n);
    if (n->lcr >= 128 && reg == 0)
        return n->low;
    if (n->lcr >= 128 && reg == 1)
        return n->high;
    return reg == RBR ? naive_read_data(n) : naive_read_other(n, reg);
}

static bool naive_loop_breaks(const struct naive *n)
{
    return (n->mcr & 16) != 0 && (n->lcr & 64) != 0;
}

static void naive_loop_break(struct naive *n)
{
    bool odd = (n->lcr & 8) != 0 && (n->lcr & 16) == 0;
    naive_come(n, (struct naive_char){0, odd, true, true});
}

static void naive_write_ier(struct naive *n, unsigned value)
{
    for (unsigned i = 0; i < 4; i++) {
        bool on = (value >> i & 1) != 0;
        if (i == 1 && on && !n->enabled[i])
            n->empty = true;
        n->enabled[i] = on;
    }
}

static void naive_write_fcr(struct naive *n, unsigned value)
{
    bool on = value % 2 == 1;
    if (on != n->fifo) {
        n->used = 0;
        n->late = false;
        n->empty = true;
    }
    n->fifo = on;
    if (on && (value & 2) != 0) {
        n->used = 0;
        n->late = false;
    }
    n->trigger = value >> 6;
}

static int naive_send(struct naive *n, unsigned value)
{
    n->empty = false;
    if (naive_cause(n) == 0x01)
        n->dipped = true;
    n->empty = true;
    if ((n->lcr & 64) != 0)
        return -1;
    if ((n->mcr & 16) == 0)
        return (int)value;
    naive_come(n, (struct naive_char){value, false, false, false});
    return -1;
}

static int naive_write(struct naive *n, unsigned reg, unsigned value)
{
    bool breaks = naive_loop_breaks(n);
    naive_check_time(n);
    if (n->lcr >= 128 && reg == 0)
        n->low = value;
    else if (n->lcr >= 128 && reg == 1)
        n->high = value;
    else if (reg == THR)
        return naive_send(n, value);
    else if (reg == IER)
        naive_write_ier(n, value);
    else if (reg == FCR)
        naive_write_fcr(n, value);
    else if (reg == LCR)
        n->lcr = value;
    else if (reg == MCR)
        n->mcr = value % 32;
    else if (reg == SCR)
        n->scratch = value;
    if (reg == MCR)
        naive_set_lines(n);
    if (!breaks && naive_loop_breaks(n))
        naive_loop_break(n);
    return -1;
}

/* --- random operations ----------------------------------------------------------------------- */

struct pair {
    struct uart u;
    struct naive n;
    uint64_t now;
};

static void receive_both(struct pair *p)
{
    unsigned data = (unsigned)below(256), errors = below(3) == 0 ? (unsigned)below(8) << 2 : 0;
    uart_receive(&p->u, (uint8_t)data, (uint8_t)(errors | (below(2) == 0 ? 0xe3 : 0)), p->now);
    naive_check_time(&p->n);
    if ((p->n.mcr & 16) == 0)
        naive_come(&p->n, (struct naive_char){data, (errors & 4) != 0, (errors & 8) != 0,
                                              (errors & 16) != 0});
}

static void pass(struct pair *p)
{
    uint64_t limit = naive_limit(&p->n);
    uint64_t by = below(4) == 0   ? limit - (p->n.idle < limit ? p->n.idle : 0)
                  : below(2) == 0 ? below(limit + 2)
                                  : below(3);
    if (below(8) == 0 && by > 0)
        by--;
    p->now += by;
    naive_pass(&p->n, by);
}

static uint8_t random_value(unsigned reg)
{
    uint8_t value = (uint8_t)host_random(&seed);
    switch (reg) {
    case FCR:
        return (uint8_t)(value & (below(4) == 0 ? 0xff : 0xfd) & (below(8) == 0 ? 0xff : 0xfe)) |
               (below(8) == 0 ? 0 : 1);
    case LCR:
        return value & (below(4) == 0 ? 0xff : 0x7f) & (below(4) == 0 ? 0xff : 0xbf);
    default:
        return value;
    }
}

static void write_both(struct pair *p)
{
    static const uint8_t regs[] = {THR, THR, THR, THR, IER, IER, FCR, LCR, MCR, LSR, MSR, SCR};
    unsigned reg = regs[below(ARRAY_SIZE(regs))];
    uint8_t value = random_value(reg);
    assert_int_equal(uart_write(&p->u, reg, value, p->now), naive_write(&p->n, reg, value));
}

static void read_both(struct pair *p)
{
    static const uint8_t regs[] = {RBR, RBR, RBR, IER, IIR, IIR, LCR, MCR, LSR, LSR, MSR, SCR};
    unsigned reg = regs[below(ARRAY_SIZE(regs))];
    assert_int_equal(uart_read(&p->u, reg, p->now), naive_read(&p->n, reg));
}

/* Its signal, and when that may rise next. */
static void compare(struct pair *p)
{
    naive_check_time(&p->n);
    bool interrupts = naive_cause(&p->n) != 0x01;
    assert_int_equal(uart_interrupts(&p->u, p->now), interrupts);
    assert_int_equal(uart_has_dipped(&p->u), p->n.dipped);
    p->n.dipped = false;
    uint64_t due = uart_due(&p->u);
    bool waits = p->n.fifo && p->n.used > 0 && !p->n.late && p->n.enabled[0];
    if (waits)
        assert_int_equal(due, p->now - p->n.idle + naive_limit(&p->n));
    else if (p->n.late) /* which the model may not have seen yet */
        assert_true(due == UINT64_MAX || due <= p->now);
    else
        assert_int_equal(due, UINT64_MAX);
    unsigned room = (p->n.mcr & 16) != 0 ? 0 : (p->n.fifo ? 16 : 1) - p->n.used;
    assert_int_equal(uart_room(&p->u), room);
}

static void random_operations(void **context)
{
    static const uint32_t rates[] = {1000, 2600000, 3693593, 1000000};
    static struct pair p;
    (void)context;
    seed = 1;
    for (unsigned long i = device_ops(10000000); i > 0; i--) {
        if (i % 5000 == 0) {
            uint32_t khz = rates[below(ARRAY_SIZE(rates))];
            uart_reset(&p.u, khz);
            naive_reset(&p.n, khz);
        }
        unsigned what = (unsigned)below(16);
        if (what < 3)
            receive_both(&p);
        else if (what < 8)
            write_both(&p);
        else
            read_both(&p);
        if (below(4) == 0)
            compare(&p);
        if (below(8) == 0)
            pass(&p);
    }
}

/* --- the data sheet -------------------------------------------------------------------------- */

static struct uart fresh(void)
{
    struct uart u;
    uart_reset(&u, 1000); /* microseconds */
    return u;
}

static void reset_values(void **context)
{
    static const uint8_t values[] = {0x00, 0x00, 0x01, 0x03, 0x00, 0x60, 0xb0, 0x00};
    struct uart u = fresh();
    (void)context;
    for (unsigned reg = 0; reg < 8; reg++)
        assert_int_equal(uart_read(&u, reg, 0), values[reg]);
    assert_false(uart_interrupts(&u, 0));
    uart_write(&u, LCR, 0x83, 0);
    assert_int_equal(uart_read(&u, 0, 0), 12);
    assert_int_equal(uart_read(&u, 1, 0), 0);
    uart_write(&u, 0, 0x34, 0);
    uart_write(&u, 1, 0x12, 0);
    uart_write(&u, LCR, 0x03, 0);
    assert_int_equal(uart_read(&u, 1, 0), 0);
    assert_int_equal(uart_write(&u, THR, 0xa5, 0), 0xa5);
    uart_write(&u, LCR, 0x83, 0);
    assert_int_equal(uart_read(&u, 0, 0), 0x34);
    assert_int_equal(uart_read(&u, 1, 0), 0x12);
}

/* Bits that are always 0, and registers that cannot be written. */
static void writable_bits(void **context)
{
    static const uint8_t values[] = {0x0f, 0xe1, 0xff, 0x1f};
    static const unsigned regs[] = {IER, FCR, SCR, MCR};
    struct uart u = fresh();
    (void)context;
    for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
        uart_write(&u, regs[i], 0xff, 0);
    uart_write(&u, LSR, 0xff, 0);
    uart_write(&u, IER, 0x00, 0);
    assert_int_equal(uart_read(&u, LSR, 0), 0x60);
    assert_int_equal(uart_read(&u, IIR, 0), 0xc1);
    assert_int_equal(uart_read(&u, MCR, 0), values[3]);
    assert_int_equal(uart_read(&u, SCR, 0), values[2]);
    uart_write(&u, IER, 0xff, 0);
    assert_int_equal(uart_read(&u, IER, 0), values[0]);
    uart_write(&u, FCR, 0xfe, 0); /* the others count only beside bit 0 */
    assert_int_equal(uart_read(&u, IIR, 0) & 0xc0, 0);
}

/* "Interrupt Identification Register": priorities, and what ends each. */
static void priorities(void **context)
{
    struct uart u = fresh();
    (void)context;
    uart_write(&u, MCR, 0x08, 0);
    uart_write(&u, IER, 0x0f, 0);
    uart_receive(&u, 'a', 0, 0);
    uart_receive(&u, 'b', UART_PARITY, 0); /* overrun, too */
    u.deltas = 1;
    assert_true(uart_interrupts(&u, 0));
    assert_int_equal(uart_read(&u, IIR, 0), 0x06);
    assert_int_equal(uart_read(&u, LSR, 0), 0x67);
    assert_int_equal(uart_read(&u, LSR, 0), 0x61);
    assert_int_equal(uart_read(&u, IIR, 0), 0x04);
    assert_int_equal(uart_read(&u, RBR, 0), 'b');
    assert_int_equal(uart_read(&u, IIR, 0), 0x02);
    assert_int_equal(uart_read(&u, IIR, 0), 0x00);
    assert_int_equal(uart_read(&u, MSR, 0), 0xb1);
    assert_int_equal(uart_read(&u, IIR, 0), 0x01);
    assert_false(uart_interrupts(&u, 0));
}

/* The transmitter's interrupt: once for each byte and each time that it is enabled. */
static void transmitter(void **context)
{
    struct uart u = fresh();
    (void)context;
    uart_write(&u, MCR, 0x08, 0);
    uart_write(&u, THR, 'x', 0);
    assert_int_equal(uart_read(&u, IIR, 0), 0x01);
    uart_write(&u, IER, 0x02, 0);
    assert_true(uart_interrupts(&u, 0));
    assert_true(uart_has_dipped(&u)); /* by the byte before */
    uart_write(&u, MCR, 0x00, 0);
    assert_true(uart_interrupts(&u, 0)); /* without OUT2, as in QEMU */
    assert_int_equal(uart_read(&u, IIR, 0), 0x02);
    assert_int_equal(uart_read(&u, IIR, 0), 0x01);
    uart_write(&u, IER, 0x02, 0);
    assert_int_equal(uart_read(&u, IIR, 0), 0x01);
    uart_write(&u, IER, 0x00, 0);
    uart_write(&u, IER, 0x02, 0);
    assert_int_equal(uart_read(&u, IIR, 0), 0x02);
    assert_false(uart_has_dipped(&u));
    assert_int_equal(uart_write(&u, THR, 'y', 0), 'y');
    assert_true(uart_has_dipped(&u)); /* with a byte in it its interrupt ends */
    assert_int_equal(uart_read(&u, IIR, 0), 0x02);
    uart_write(&u, FCR, 0x01, 0);
    assert_int_equal(uart_read(&u, IIR, 0), 0xc2);
    assert_int_equal(uart_read(&u, IIR, 0), 0xc1);
}

/* "FIFO Control Register": trigger levels; the interrupt ends when the FIFO drops below. */
static void triggers(void **context)
{
    static const unsigned levels[] = {1, 4, 8, 14};
    (void)context;
    for (unsigned t = 0; t < 4; t++) {
        struct uart u = fresh();
        uart_write(&u, FCR, (uint8_t)(t << 6 | 1), 0);
        uart_write(&u, IER, 0x01, 0);
        for (unsigned i = 1; i <= 16; i++) {
            uart_receive(&u, (uint8_t)i, 0, 0);
            assert_int_equal(uart_read(&u, IIR, 0), i >= levels[t] ? 0xc4 : 0xc1);
            assert_int_equal(uart_room(&u), 16 - i);
        }
        uart_receive(&u, 17, 0, 0);
        assert_int_equal(uart_read(&u, LSR, 0), 0x63);
        for (unsigned i = 1; i <= 16; i++) {
            assert_int_equal(uart_read(&u, RBR, 0), i);
            assert_int_equal(uart_read(&u, IIR, 0), 16 - i >= levels[t] ? 0xc4 : 0xc1);
        }
        assert_int_equal(uart_read(&u, LSR, 0), 0x60);
    }
}

/* 300 baud and characters of 12 bits: 160 ms ("FIFO Interrupt Mode Operation"). */
static void timeouts(void **context)
{
    struct uart u = fresh();
    (void)context;
    uart_write(&u, LCR, 0x8f, 0); /* 8 bits, 2 stop bits, parity */
    uart_write(&u, 0, 0x80, 0);
    uart_write(&u, 1, 0x01, 0);
    uart_write(&u, LCR, 0x0f, 0);
    uart_write(&u, FCR, 0xc1, 0);
    uart_write(&u, IER, 0x01, 0);
    assert_true(uart_due(&u) == UINT64_MAX);
    uart_receive(&u, 'a', 0, 1000);
    uart_receive(&u, 'b', 0, 2000);
    assert_int_equal(uart_due(&u), 162000);
    assert_int_equal(uart_read(&u, IIR, 161999), 0xc1);
    assert_int_equal(uart_read(&u, IIR, 162000), 0xcc);
    uart_receive(&u, 'c', 0, 162001);
    assert_int_equal(uart_read(&u, IIR, 162002), 0xcc);
    assert_int_equal(uart_read(&u, RBR, 162003), 'a');
    assert_int_equal(uart_read(&u, IIR, 162003), 0xc1);
    assert_int_equal(uart_due(&u), 322003);
    assert_int_equal(uart_read(&u, IIR, 322003), 0xcc);
    uart_write(&u, FCR, 0xc3, 322004);
    assert_int_equal(uart_read(&u, IIR, 999999), 0xc1);
    assert_int_equal(uart_read(&u, LSR, 999999), 0x60);
}

/* "Line Status Register": errors show when their character is the first; bit 7 tells of all. */
static void errors_in_fifo(void **context)
{
    struct uart u = fresh();
    (void)context;
    uart_write(&u, FCR, 0x01, 0);
    uart_receive(&u, 'a', 0, 0);
    uart_receive(&u, 'b', UART_FRAMING, 0);
    uart_receive(&u, 0, UART_BREAK | UART_FRAMING, 0);
    assert_int_equal(uart_read(&u, LSR, 0), 0xe1);
    uart_read(&u, RBR, 0);
    assert_int_equal(uart_read(&u, LSR, 0), 0xe9);
    assert_int_equal(uart_read(&u, LSR, 0), 0xe1);
    uart_read(&u, RBR, 0);
    assert_int_equal(uart_read(&u, LSR, 0), 0xf9);
    assert_int_equal(uart_read(&u, LSR, 0), 0x61);
}

/* "Modem Control Register": each output is an input, the transmitter is the receiver. */
static void loopback(void **context)
{
    struct uart u = fresh();
    (void)context;
    uart_write(&u, MCR, 0x1f, 0);
    assert_int_equal(uart_read(&u, MSR, 0), 0xf0); /* only RI has changed, which began */
    uart_write(&u, MCR, 0x10, 0);
    assert_int_equal(uart_read(&u, MSR, 0), 0x0f);
    static const uint8_t inputs[] = {0x22, 0x11, 0x40, 0x88};
    for (unsigned i = 0; i < 4; i++) {
        uart_write(&u, MCR, (uint8_t)(0x10 | 1 << i), 0);
        assert_int_equal(uart_read(&u, MSR, 0), inputs[i]);
        uart_write(&u, MCR, 0x10, 0);
        assert_int_equal(uart_read(&u, MSR, 0), i == 2 ? 0x04 : inputs[i] & 0x0f);
    }
    uart_receive(&u, 'z', 0, 0);
    assert_int_equal(uart_read(&u, LSR, 0), 0x60);
    assert_int_equal(uart_write(&u, THR, 0xae, 0), UART_SENT_NOTHING);
    assert_int_equal(uart_read(&u, LSR, 0), 0x61);
    assert_int_equal(uart_read(&u, RBR, 0), 0xae);
    uart_write(&u, LCR, 0x00, 0); /* 5 bits */
    uart_write(&u, THR, 0xff, 0);
    assert_int_equal(uart_read(&u, RBR, 0), 0x1f);
    uart_write(&u, LCR, 0x4b, 0); /* a break, with odd parity */
    assert_int_equal(uart_read(&u, LSR, 0), 0x7d);
    assert_int_equal(uart_read(&u, RBR, 0), 0);
    uart_write(&u, THR, 'q', 0);
    assert_int_equal(uart_read(&u, LSR, 0), 0x60);
    uart_write(&u, MCR, 0x00, 0);
    assert_int_equal(uart_write(&u, THR, 'q', 0), UART_SENT_NOTHING);
    uart_write(&u, LCR, 0x0b, 0);
    assert_int_equal(uart_write(&u, THR, 'q', 0), 'q');
}

static void text(void **context)
{
    static char line[2048];
    size_t length;
    (void)context;
    struct uart u = fresh();
    uart_write(&u, FCR, 0x41, 0);
    uart_write(&u, MCR, 0x0b, 0);
    uart_write(&u, IER, 0x03, 0);
    uart_receive(&u, 'a', UART_BREAK, 0);
    length = uart_describe(&u, line, sizeof(line));
    assert_int_equal(length, strlen(line));
    assert_string_equal(line, "IER 03 FCR 41 LCR 03 MCR 0b, divisor 12, 1 characters have come in, "
                              "errors 10, modem changes 0, transmitter empty\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reset_values),      cmocka_unit_test(writable_bits),
        cmocka_unit_test(priorities),        cmocka_unit_test(transmitter),
        cmocka_unit_test(triggers),          cmocka_unit_test(timeouts),
        cmocka_unit_test(errors_in_fifo),    cmocka_unit_test(loopback),
        cmocka_unit_test(random_operations), cmocka_unit_test(text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
