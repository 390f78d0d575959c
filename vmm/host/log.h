/* Where log lines go: a ring in memory, always, and a UART where there is one. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/log.h"

enum { LOG_RING_SIZE = 16384 };

/* The last LOG_RING_SIZE bytes of the log; the oldest is at LOG_RING_NEXT. For debuggers and dumps.
 */
struct log_ring {
    char bytes[LOG_RING_SIZE];
    uint32_t next;
};
extern struct log_ring log_ring;

/* Sends all later lines to the UART at PORT too; 0: to the ring alone. False: no UART answers
 * there. */
bool log_to_port(uint16_t port);
uint16_t log_port(void);

/*
 * BEFORE and AFTER are called around each line that goes to the UART: a line that is being edited
 * there gives way. They must not log.
 */
void log_around(void (*before)(void), void (*after)(void));

/* Whether lines of the running CPU go into the ring; the UART gets them in any case. */
void log_keep(bool keep);

/*
 * Waits until no other CPU writes, and keeps them from it until log_release() has the answer: for
 * what must stay together, on the log's port too. Not while waiting for another CPU.
 */
bool log_hold(void);
void log_release(bool held);

/* From here on the running CPU writes whoever was at it: the others have stopped. */
void log_seize(void);

/* Waits until what was logged has left the machine. */
void log_drain(void);

/* TSC ticks since the kernel was entered: the time in the log. */
uint64_t log_ticks(void);
