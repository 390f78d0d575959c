/*
 * Storms of several lines at once: those of the PIT, the RTC and the UARTs, each of which a test
 * sets by an instruction. No time is in them: how often each is to be taken is exact.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "guest-tests/runtime/isa.h"

struct storm {
    enum way way;
    bool levels;   /* all that can be are triggered by level */
    uint8_t icw4;  /* more in it */
    uint8_t first; /* the master is told this first: an OCW2 or OCW3 */
    uint8_t eoi;   /* the OCW2 of an end, with the input if it is specific */
    bool nests;    /* handlers let others in */
    unsigned rounds;
};

/* Why there are no two such lines, or NULL. */
const char *needs_lines(void);

/*
 * In each round some of the lines rise together, some in the handlers of others; some are masked
 * before that or after it, or by their handlers, which leave them high. Each is taken once, and by
 * the 8259s in the order of their priorities.
 */
void lines_storm(const struct storm *storm);

/* All rise on the second CPU, which the first masks and unmasks. Needs two, and smp_start(). */
void lines_race(const struct storm *storm);
