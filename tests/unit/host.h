/* What every host test includes: cmocka, and the log lines that the code under test wrote. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mm/types.h"

/* All lines logged since the last reset, each ended by a newline. */
extern char host_log[65536];
void host_log_reset(void);

/* A repeatable generator of random numbers (xorshift64*), seeded per test. */
uint64_t host_random(uint64_t *state);
