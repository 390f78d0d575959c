/*
 * The real-time clock and its RAM (MC146818 data sheet), with what PC firmware keeps there. Pure:
 * time is an argument, in ticks of a TSC, and never goes back.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

enum { RTC_INDEX, RTC_DATA, RTC_REGS, RTC_CELLS = 128 };

struct rtc {
    uint64_t start;   /* tick of cycle 0 */
    uint64_t at;      /* the cycle that the state is of */
    uint64_t divided; /* the cycle at which the divider chain was 0; modulo 2^64 */
    uint32_t khz;     /* ticks in a millisecond */
    uint8_t index;
    uint8_t cell[RTC_CELLS]; /* with the registers, UIP and IRQF aside */
};

/* What firmware finds out. */
struct rtc_setup {
    uint32_t khz;       /* ticks in a millisecond */
    uint64_t unix_time; /* UTC, which the clock is set to; until 2099 */
    uint64_t below_4g;  /* bytes of memory below 4 GiB, and above */
    uint64_t above_4g;
    unsigned cpus;
};

/* As firmware leaves it: the time in BCD and 24 hours, no interrupts, memory sizes in the RAM. */
void rtc_create(struct rtc *rtc, const struct rtc_setup *setup, uint64_t now);

/* The RESET pin: no interrupts; the time and the RAM stay. */
void rtc_reset(struct rtc *rtc, uint64_t now);

/* Accesses RTC_INDEX (port 70h) or RTC_DATA (port 71h). */
uint8_t rtc_read(struct rtc *rtc, unsigned reg, uint64_t now);
void rtc_write(struct rtc *rtc, unsigned reg, uint8_t value, uint64_t now);

/* Its interrupt, IRQ 8, which register C's read ends. */
bool rtc_interrupts(struct rtc *rtc, uint64_t now);

/* The tick at which it next comes if nobody touches it; UINT64_MAX: never. */
uint64_t rtc_due(const struct rtc *rtc);

/* Text for a person, lines that each end with a newline; returns its length. */
size_t rtc_describe(const struct rtc *rtc, char *text, size_t size);
