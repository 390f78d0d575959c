/* Checks of preconditions and invariants, in the kernel, the loader and host tests alike. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdnoreturn.h>

#define static_assert _Static_assert

/* Ends the program with a report: the kernel panics, a host test aborts. */
noreturn void assert_failed(const char *what, const char *file, int line);

#define assert(cond) ((cond) ? (void)0 : assert_failed(#cond, __FILE__, __LINE__))
