/* The machine's real-time clock. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdint.h>

/* Seconds since 1970 of what it says, taken for UTC; where it says nothing sensible, since 2000. */
uint64_t cmos_unix_time(void);
