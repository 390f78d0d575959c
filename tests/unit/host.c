/* The host's side of the log and of assertions, so that kernel files link into a test. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>

#include "lib/log.h"
#include "tests/unit/host.h"
#include "vmm/instruments/trace.h"
#include "vmm/host/watchdog.h"

#undef assert
#include "lib/assert.h"

char host_log[65536];
static size_t host_log_used;

void host_log_reset(void)
{
    host_log[0] = '\0';
    host_log_used = 0;
}

void log_line(const char *fmt, ...)
{
    va_list args;
    size_t room = sizeof(host_log) - host_log_used;
    va_start(args, fmt);
    int n = vsnprintf(host_log + host_log_used, room, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n + 2 > room)
        return;
    host_log_used += (size_t)n;
    host_log[host_log_used++] = '\n';
    host_log[host_log_used] = '\0';
}

struct cpu_set trace_cpus;

/* A test that turns the trace on has its own. */
__attribute__((weak)) void trace_put(enum trace_kind kind, unsigned what, uint32_t info, uint64_t a,
                                     uint64_t b)
{
    (void)kind, (void)what, (void)info, (void)a, (void)b;
}

void watchdog_look(void)
{
}

noreturn void assert_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, what);
    abort();
}

uint64_t host_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1dull;
}
