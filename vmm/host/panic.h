/* The end of the machine: a report, and a halt that says it is one. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdint.h>
#include <stdnoreturn.h>

#include "vmm/host/traps.h"

/* Stops the machine: `panic: ...`, a backtrace with names, `end: panic`. */
noreturn void panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The same for a fault of the hypervisor itself, with its registers. */
noreturn void panic_trap(const struct trap_frame *frame);

/* The same for the running CPU's being stuck in what FRAME interrupted. */
noreturn void panic_stuck(const struct trap_frame *frame);

/* Comes back unless another CPU panics: then this one halts for good. */
void panic_stop_if_elsewhere(void);

/* Ends the machine in order: `end: REASON`, then halts for ever. */
noreturn void end_halt(const char *reason);
