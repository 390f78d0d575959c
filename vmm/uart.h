/* A guest's serial port: registers of a 16550, polled, whose bytes go to a machine port or the log.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"
#include "vmm/config.h"

enum { UART_PORTS = 8, UART_LINE_SIZE = 160 };

struct uart {
    uint16_t base;    /* the guest's first port; 0: the guest has none */
    uint16_t machine; /* the machine's port that carries the bytes; 0: none */
    const char *name; /* prefix of lines in the log; NULL: bytes do not go there */
    char line[UART_LINE_SIZE];
    uint32_t used;
    uint8_t ier, lcr, mcr, scratch, divisor[2];
};

/*
 * Gives the guest a UART at COM1 whose bytes leave as WHERE says: PORT_COM1 or PORT_COM2 (bytes
 * unchanged), PORT_LOG (lines of the log, each after `[NAME] `) or PORT_NONE (no UART).
 */
void uart_init(struct uart *uart, enum config_port where, const char *name);

/* Accesses register 0 to 7, a byte each. */
uint8_t uart_read(struct uart *uart, unsigned reg);
void uart_write(struct uart *uart, unsigned reg, uint8_t value);

/* Its registers as after power-on; what the guest sent before has left the machine. */
void uart_reset(struct uart *uart);

/* Sends what is left of an unfinished line, and waits until all has left the machine. */
void uart_flush(struct uart *uart);
