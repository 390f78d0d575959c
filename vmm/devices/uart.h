/*
 * A 16550A (PC16550D data sheet). Pure: time is an argument, a byte that it sends is a result. It
 * sends in no time at all, so its transmitter is always empty.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

enum { UART_PORTS = 8, UART_FIFO = 16 };

/* Errors of a character that comes in, as LSR has them. */
enum {
    UART_PARITY = 1 << 2,
    UART_FRAMING = 1 << 3,
    UART_BREAK = 1 << 4,
    UART_ERRORS = UART_PARITY | UART_FRAMING | UART_BREAK,
};

enum { UART_SENT_NOTHING = -1 };

struct uart {
    uint32_t khz;     /* ticks of the time in a millisecond */
    uint64_t touched; /* when a character last came in or was read */
    struct {
        uint8_t data, errors;
    } fifo[UART_FIFO]; /* a ring; one place is used while FIFOs are off */
    uint8_t head, count;
    uint8_t ier, fcr, lcr, mcr, scratch, divisor[2];
    uint8_t errors; /* of LSR: those that have not been read, with overrun */
    uint8_t deltas; /* of MSR */
    uint8_t data;   /* that was read last */
    bool emptied;   /* the transmitter's interrupt waits to be identified */
    bool dipped;
    bool timed_out;
};

/*
 * As firmware leaves one: 9600 baud, 8 bits, no parity, FIFOs and interrupts off. All times are in
 * ticks of KHZ. DCD, DSR and CTS are on, as if somebody were at the other end.
 */
void uart_reset(struct uart *uart, uint32_t khz);

/* Accesses register 0 to 7. A write returns the byte that leaves, or UART_SENT_NOTHING. */
uint8_t uart_read(struct uart *uart, unsigned reg, uint64_t now);
int uart_write(struct uart *uart, unsigned reg, uint8_t value, uint64_t now);

/* A character comes in; in loopback it is lost. */
void uart_receive(struct uart *uart, uint8_t data, uint8_t errors, uint64_t now);

/* How many can come in before one is lost. */
unsigned uart_room(const struct uart *uart);

/*
 * Its interrupt signal. A PC's board lets it through where OUT2 is on; QEMU's does always, on which
 * kernels that set up nothing rely: so does this.
 */
bool uart_interrupts(const struct uart *uart, uint64_t now);

/*
 * Whether the signal has been low for a moment since this was last asked: while the transmitter had
 * a byte, where nothing else held it up. Who looks for edges must ask.
 */
bool uart_has_dipped(struct uart *uart);

/* When the signal may rise although nobody touches it; UINT64_MAX: never. */
uint64_t uart_due(const struct uart *uart);

/* Text for a person, lines that each end with a newline; returns its length. */
size_t uart_describe(const struct uart *uart, char *text, size_t size);
