/* The log: dense lines with a time and a CPU, into a ring in memory and out of a UART. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/log.h"

#include "drivers/serial.h"
#include "lib/format.h"
#include "lib/string.h"
#include "lib/x86.h"
#include "vmm/host/cpu.h"
#include "vmm/host/watchdog.h"

struct log_ring log_ring;

extern const uint64_t entry_tsc; /* boot/entry.asm */

static uint16_t uart;   /* its first port; 0: none */
static uint32_t unkept; /* index + 1 of the CPU whose lines do not go into the ring; 0: none */
static void (*before_line)(void), (*after_line)(void);

uint64_t log_ticks(void)
{
    return rdtsc() - entry_tsc;
}

uint16_t log_port(void)
{
    return uart;
}

static void put(char c, bool keep)
{
    if (keep) {
        log_ring.bytes[log_ring.next] = c;
        log_ring.next = (log_ring.next + 1) % LOG_RING_SIZE;
    }
    if (uart != 0)
        serial_put(uart, c);
}

/* Index + 1 of the CPU that writes; 0: none. */
static uint32_t writer;

void log_seize(void)
{
    __atomic_store_n(&writer, this_cpu()->index + 1, __ATOMIC_RELEASE);
}

/*
 * False: this one was at it, as when a fault comes in between, or has seized the log; then it goes
 * on, and lets go nothing.
 */
bool log_hold(void)
{
    uint32_t me = this_cpu()->index + 1, none = 0;
    if (__atomic_load_n(&writer, __ATOMIC_ACQUIRE) == me)
        return false;
    while (!__atomic_compare_exchange_n(&writer, &none, me, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED)) {
        none = 0;
        watchdog_look();
        cpu_relax();
    }
    return true;
}

void log_release(bool held)
{
    if (held)
        __atomic_store_n(&writer, 0, __ATOMIC_RELEASE);
}

bool log_to_port(uint16_t port)
{
    if (port == uart)
        return true;
    log_drain();
    if (port != 0 && !serial_start(port))
        return false;
    uart = port;
    return true;
}

void log_line(const char *fmt, ...)
{
    char line[256];
    va_list args;
    bool held = log_hold(); /* first, so that the times in the log rise */
    size_t n = format(line, sizeof(line), "[%10lu %u] ", log_ticks(), this_cpu()->index);
    va_start(args, fmt);
    n += format_v(line + n, sizeof(line) - n - 1, fmt, args);
    va_end(args);
    line[n++] = '\n';
    bool keep = unkept != this_cpu()->index + 1;
    if (before_line != NULL)
        before_line();
    for (size_t i = 0; i < n; i++)
        put(line[i], keep);
    if (after_line != NULL)
        after_line();
    log_release(held);
}

void log_around(void (*before)(void), void (*after)(void))
{
    before_line = before;
    after_line = after;
}

void log_keep(bool keep)
{
    bool held = log_hold();
    unkept = keep ? 0 : this_cpu()->index + 1;
    log_release(held);
}

void log_drain(void)
{
    if (uart != 0)
        serial_drain(uart);
}
