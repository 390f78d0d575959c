/* The machine's 16550 UARTs: output by polling, input by interrupts. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define COM1 0x3f8
#define COM2 0x2f8

/* Sets 115200 baud, 8 bits, no parity, FIFOs on. False: no UART answers there (LSR reads FFh). */
bool serial_start(uint16_t port);

/* Sends one byte; waits for the transmitter for a bounded time, then drops it. */
void serial_put(uint16_t port, char c);

/* Waits, bounded, until the last byte has left the shift register. */
void serial_drain(uint16_t port);

/*
 * Takes what comes in at PORT, one of the two above, by its interrupt: for one port, once, where
 * the CPU takes the 8259's interrupts. Returns NULL, or why there is no input: a probe of the whole
 * way found that the interrupt does not come.
 */
const char *serial_listen(uint16_t port);

/* The next byte that has come in; false: none. */
bool serial_get(uint8_t *byte);
