/* The guest's serial line, and its end. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdnoreturn.h>

enum { COM1_SCRATCH = 0x3ff };

/* Sets COM1 to 115200 8N1. A port that reads FFh is no UART: what is printed then is dropped. */
void console_init(void);

/* Whether COM1 is there. */
bool console_present(void);

/* Writes text of at most 255 characters. Formats are those of lib/format.h. */
__attribute__((format(printf, 1, 2))) void print(const char *fmt, ...);
__attribute__((format(printf, 1, 0))) void print_v(const char *fmt, va_list args);

/* Says VALUE on a line of its own, and waits until the UART has sent the last bit. */
void console_end(unsigned value);

/* What is left to do if the machine goes on after its end. */
noreturn void halt_forever(void);

/* Ends the machine with VALUE (0 to 99) by the exit port. */
noreturn void guest_exit(unsigned value);
