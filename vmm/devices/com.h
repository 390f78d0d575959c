/* A guest's COM port: a UART whose bytes go to a port of the machine, to the log, or nowhere. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/config.h"
#include "vmm/devices/uart.h"

enum { COM_LINE_SIZE = 160 };

struct com {
    struct uart uart;
    uint16_t base;    /* the guest's first port; 0: the guest has none */
    uint16_t machine; /* the machine's port at the other end; 0: none */
    const char *name; /* prefix of lines in the log; NULL: bytes do not go there */
    char line[COM_LINE_SIZE];
    uint32_t used;
};

/*
 * Gives the guest a UART at port BASE whose bytes leave as WHERE says: PORT_COM1 or PORT_COM2
 * (bytes unchanged, both ways), PORT_LOG (lines of the log, each after `[NAME] `) or PORT_NONE (no
 * UART). Its times are in ticks of KHZ (not 0).
 */
void com_init(struct com *com, uint16_t base, uint32_t khz, enum config_port where,
              const char *name);

/* The same, where bytes go nowhere and none come in. */
void com_init_alone(struct com *com, uint16_t base, uint32_t khz);

static inline bool com_has(const struct com *com, uint16_t port)
{
    return com->base != 0 && port >= com->base && port < com->base + UART_PORTS;
}

/* Accesses register 0 to 7, a byte each. */
uint8_t com_read(struct com *com, unsigned reg, uint64_t now);
void com_write(struct com *com, unsigned reg, uint8_t value, uint64_t now);

/* Takes what has come in at the machine's port, as far as there is room. */
void com_poll(struct com *com, uint64_t now);

/* When it next has to be looked at, to interrupt in time; UINT64_MAX: not before it is touched. */
uint64_t com_due(const struct com *com, uint64_t now);

/* Its registers as after power-on; what the guest sent before has left the machine. */
void com_reset(struct com *com);

/* Sends what is left of an unfinished line, and waits until all has left the machine. */
void com_flush(struct com *com);
