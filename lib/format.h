/* printf without floating point: %s %c %d %u %x %X %p %%, 0 and -, width, .N, '*', l, ll and z. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdarg.h>
#include <stddef.h>

/*
 * Writes at most SIZE bytes to OUT, always ended by a NUL (SIZE >= 1). Returns the length of the
 * text that was written, without the NUL: a text that does not fit is cut. %p is written as 0xHEX,
 * a NULL %s as (null), and a conversion that is not in the list above as it stands in FMT.
 */
__attribute__((format(printf, 3, 0))) size_t format_v(char *out, size_t size, const char *fmt,
                                                      va_list args);
__attribute__((format(printf, 3, 4))) size_t format(char *out, size_t size, const char *fmt, ...);
