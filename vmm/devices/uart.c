/* A 16550A as its data sheet has it: registers, the receiver's FIFO, interrupts and loopback. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/uart.h"

#include "lib/assert.h"
#include "lib/format.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCRATCH, FCR = IIR };

/* Interrupts that are enabled. */
enum { IER_DATA = 1 << 0, IER_EMPTY = 1 << 1, IER_LINE = 1 << 2, IER_MODEM = 1 << 3, IER_ALL = 15 };

/* "Interrupt Identification Register", by falling priority. */
enum { IIR_LINE = 6, IIR_DATA = 4, IIR_TIMEOUT = 12, IIR_EMPTY = 2, IIR_MODEM = 0, IIR_NONE = 1 };
enum { IIR_FIFO = 0xc0 };

enum { FCR_ON = 1 << 0, FCR_CLEAR = 1 << 1, FCR_TRIGGER_BIT = 6, FCR_KEPT = 0xc1 };
enum {
    LCR_LENGTH = 3,
    LCR_STOP = 4,
    LCR_PARITY = 8,
    LCR_EVEN = 16,
    LCR_BREAK = 64,
    LCR_DLAB = 128
};
enum { LCR_8_BITS = 3, DIVISOR_9600 = 12 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16, MCR_ALL = 31 };
enum { LSR_READY = 1 << 0, LSR_OVERRUN = 1 << 1, LSR_EMPTY = 0x60, LSR_FIFO_ERROR = 1 << 7 };
enum { MSR_CTS = 16, MSR_DSR = 32, MSR_RI = 64, MSR_DCD = 128, MSR_DELTA_SHIFT = 4 };

static bool has_fifo(const struct uart *u)
{
    return (u->fcr & FCR_ON) != 0;
}

static bool loops(const struct uart *u)
{
    return (u->mcr & MCR_LOOP) != 0;
}

static unsigned capacity(const struct uart *u)
{
    return has_fifo(u) ? UART_FIFO : 1;
}

/* "FIFO Interrupt Mode Operation": four characters' time, of the bits that one has. */
static uint64_t timeout(const struct uart *u)
{
    unsigned length = 5 + (u->lcr & LCR_LENGTH), stop = length == 5 ? 3 : 4;
    unsigned half_bits = 2 * (1 + length + ((u->lcr & LCR_PARITY) != 0 ? 1 : 0)) +
                         ((u->lcr & LCR_STOP) != 0 ? stop : 2);
    uint64_t divisor = u->divisor[0] | (unsigned)u->divisor[1] << 8;
    /* Each of 115200 bits in a second, with a divisor of 1. */
    return half_bits * divisor * u->khz * 5 / 288;
}

static bool is_timed_out(const struct uart *u, uint64_t now)
{
    return u->timed_out || (has_fifo(u) && u->count > 0 && now >= u->touched + timeout(u));
}

/* --- the receiver ---------------------------------------------------------------------------- */

static void show_errors_of_first(struct uart *u)
{
    if (u->count > 0)
        u->errors |= u->fifo[u->head].errors;
}

static void clear_receiver(struct uart *u)
{
    u->count = 0;
    u->timed_out = false;
}

/* Without FIFOs the new character takes the place of the old one, with them it is lost. */
static void take(struct uart *u, uint8_t data, uint8_t errors, uint64_t now)
{
    u->touched = now;
    if (u->count == capacity(u)) {
        u->errors |= LSR_OVERRUN;
        if (has_fifo(u))
            return;
        u->count = 0;
    }
    unsigned at = (u->head + u->count++) % UART_FIFO;
    u->fifo[at].data = data & (uint8_t)(0xff >> (LCR_8_BITS - (u->lcr & LCR_LENGTH)));
    u->fifo[at].errors = errors & UART_ERRORS;
    if (u->count == 1)
        show_errors_of_first(u);
}

static uint8_t read_data(struct uart *u, uint64_t now)
{
    if (u->count > 0) {
        u->data = u->fifo[u->head].data;
        u->head = (u->head + 1u) % UART_FIFO;
        u->count--;
        show_errors_of_first(u);
    }
    u->touched = now;
    u->timed_out = false;
    return u->data;
}

void uart_receive(struct uart *u, uint8_t data, uint8_t errors, uint64_t now)
{
    u->timed_out = is_timed_out(u, now);
    if (!loops(u))
        take(u, data, errors, now);
}

unsigned uart_room(const struct uart *u)
{
    return loops(u) ? 0 : capacity(u) - u->count;
}

static bool fifo_has_error(const struct uart *u)
{
    bool any = (u->errors & UART_ERRORS) != 0;
    for (unsigned i = 0; i < u->count; i++)
        any |= u->fifo[(u->head + i) % UART_FIFO].errors != 0;
    return any && has_fifo(u);
}

/* What it says of errors, it says once. */
static uint8_t read_lsr(struct uart *u)
{
    unsigned lsr = LSR_EMPTY | u->errors | (u->count > 0 ? LSR_READY : 0) |
                   (fifo_has_error(u) ? LSR_FIFO_ERROR : 0);
    u->errors = 0;
    if (u->count > 0)
        u->fifo[u->head].errors = 0;
    return (uint8_t)lsr;
}

/* --- interrupts ------------------------------------------------------------------------------ */

static bool is_triggered(const struct uart *u)
{
    static const uint8_t levels[] = {1, 4, 8, 14};
    return u->count >= (has_fifo(u) ? levels[u->fcr >> FCR_TRIGGER_BIT] : 1);
}

static uint8_t identify(const struct uart *u, uint64_t now)
{
    if ((u->ier & IER_LINE) != 0 && u->errors != 0)
        return IIR_LINE;
    if ((u->ier & IER_DATA) != 0 && is_triggered(u))
        return IIR_DATA;
    if ((u->ier & IER_DATA) != 0 && is_timed_out(u, now))
        return IIR_TIMEOUT;
    if ((u->ier & IER_EMPTY) != 0 && u->emptied)
        return IIR_EMPTY;
    return (u->ier & IER_MODEM) != 0 && u->deltas != 0 ? IIR_MODEM : IIR_NONE;
}

static uint8_t read_iir(struct uart *u, uint64_t now)
{
    uint8_t source = identify(u, now);
    if (source == IIR_EMPTY)
        u->emptied = false;
    return source | (has_fifo(u) ? IIR_FIFO : 0);
}

bool uart_interrupts(const struct uart *u, uint64_t now)
{
    return identify(u, now) != IIR_NONE;
}

bool uart_has_dipped(struct uart *u)
{
    bool dipped = u->dipped;
    u->dipped = false;
    return dipped;
}

uint64_t uart_due(const struct uart *u)
{
    bool counts = has_fifo(u) && u->count > 0 && !u->timed_out && (u->ier & IER_DATA) != 0;
    return counts ? u->touched + timeout(u) : UINT64_MAX;
}

/* --- the modem's lines, and loopback --------------------------------------------------------- */

static unsigned lines(const struct uart *u)
{
    if (!loops(u))
        return MSR_DCD | MSR_DSR | MSR_CTS;
    return ((u->mcr & MCR_RTS) != 0 ? MSR_CTS : 0) | ((u->mcr & MCR_DTR) != 0 ? MSR_DSR : 0) |
           ((u->mcr & MCR_OUT1) != 0 ? MSR_RI : 0) | ((u->mcr & MCR_OUT2) != 0 ? MSR_DCD : 0);
}

static bool hears_break(const struct uart *u)
{
    return loops(u) && (u->lcr & LCR_BREAK) != 0;
}

/* A break has no stop bit, and the parity bit that even parity expects. */
static void begin_break(struct uart *u, uint64_t now)
{
    bool odd = (u->lcr & (LCR_PARITY | LCR_EVEN)) == LCR_PARITY;
    take(u, 0, UART_BREAK | UART_FRAMING | (odd ? UART_PARITY : 0), now);
}

/* Of RI only its end counts. */
static void write_mcr(struct uart *u, uint8_t value, uint64_t now)
{
    unsigned old = lines(u);
    bool heard = hears_break(u);
    u->mcr = value & MCR_ALL;
    unsigned changed = (old ^ lines(u)) & ~(lines(u) & MSR_RI);
    u->deltas |= (uint8_t)(changed >> MSR_DELTA_SHIFT);
    if (hears_break(u) && !heard)
        begin_break(u, now);
}

static void write_lcr(struct uart *u, uint8_t value, uint64_t now)
{
    bool heard = hears_break(u);
    u->lcr = value;
    if (hears_break(u) && !heard)
        begin_break(u, now);
}

static uint8_t read_msr(struct uart *u)
{
    uint8_t msr = (uint8_t)(lines(u) | u->deltas);
    u->deltas = 0;
    return msr;
}

/* --- registers ------------------------------------------------------------------------------- */

void uart_reset(struct uart *u, uint32_t khz)
{
    *u = (struct uart){.khz = khz, .lcr = LCR_8_BITS, .divisor = {DIVISOR_9600}};
}

/* While the line is held by a break nothing can leave. Bytes leave with all of their bits. */
static int send(struct uart *u, uint8_t value, uint64_t now)
{
    u->emptied = false;
    u->dipped |= identify(u, now) == IIR_NONE;
    u->emptied = true;
    if ((u->lcr & LCR_BREAK) != 0)
        return UART_SENT_NOTHING;
    if (!loops(u))
        return value;
    take(u, value, 0, now);
    return UART_SENT_NOTHING;
}

/* The other bits count only beside FCR_ON; of the transmitter's there is nothing to clear. */
static void write_fcr(struct uart *u, uint8_t value)
{
    bool on = (value & FCR_ON) != 0, changes = on != has_fifo(u);
    u->fcr = value & FCR_KEPT;
    if (changes || (on && (value & FCR_CLEAR) != 0))
        clear_receiver(u);
    if (changes)
        u->emptied = true;
}

/* The transmitter's interrupt that is enabled comes at once. */
static void write_ier(struct uart *u, uint8_t value)
{
    if ((value & ~u->ier & IER_EMPTY) != 0)
        u->emptied = true;
    u->ier = value & IER_ALL;
}

uint8_t uart_read(struct uart *u, unsigned reg, uint64_t now)
{
    bool divisor = (u->lcr & LCR_DLAB) != 0;
    u->timed_out = is_timed_out(u, now);
    switch (reg) {
    case DATA:
        return divisor ? u->divisor[0] : read_data(u, now);
    case IER:
        return divisor ? u->divisor[1] : u->ier;
    case IIR:
        return read_iir(u, now);
    case LCR:
        return u->lcr;
    case MCR:
        return u->mcr;
    case LSR:
        return read_lsr(u);
    case MSR:
        return read_msr(u);
    default:
        assert(reg == SCRATCH);
        return u->scratch;
    }
}

int uart_write(struct uart *u, unsigned reg, uint8_t value, uint64_t now)
{
    bool divisor = (u->lcr & LCR_DLAB) != 0;
    assert(reg < UART_PORTS);
    u->timed_out = is_timed_out(u, now);
    if (divisor && reg <= IER)
        u->divisor[reg] = value;
    else if (reg == DATA)
        return send(u, value, now);
    else if (reg == IER)
        write_ier(u, value);
    else if (reg == FCR)
        write_fcr(u, value);
    else if (reg == LCR)
        write_lcr(u, value, now);
    else if (reg == MCR)
        write_mcr(u, value, now);
    else if (reg == SCRATCH)
        u->scratch = value;
    return UART_SENT_NOTHING;
}

size_t uart_describe(const struct uart *u, char *text, size_t size)
{
    return format(text, size,
                  "IER %02x FCR %02x LCR %02x MCR %02x, divisor %u, %u characters have come in, "
                  "errors %02x, modem changes %x%s%s\n",
                  u->ier, u->fcr, u->lcr, u->mcr, u->divisor[0] | (unsigned)u->divisor[1] << 8,
                  u->count, u->errors, u->deltas, u->emptied ? ", transmitter empty" : "",
                  u->timed_out ? ", timed out" : "");
}
