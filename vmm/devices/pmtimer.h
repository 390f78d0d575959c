/*
 * ACPI's fixed hardware, as little as there may be: the PM timer, and the PM1a blocks of registers
 * (ACPI Specification, "ACPI Register Model"). Pure: time is an argument, in ticks of a TSC, and
 * never goes back.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

#define PMTIMER_HZ 3579545u

/* TMR_STS comes every 2.3 seconds: of a timer of 32 bits, every ten minutes. */
enum { PMTIMER_BITS = 24 };

/* Registers, little-endian, from the block's first port on. */
enum {
    PMTIMER_STATUS = 0,  /* 2 bytes */
    PMTIMER_ENABLE = 2,  /* 2 */
    PMTIMER_CONTROL = 4, /* 2 */
    PMTIMER_VALUE = 8,   /* 4 */
    PMTIMER_REGS = 16,
};

enum { PMTIMER_NO_SLEEP = -1 };

struct pmtimer {
    uint64_t start; /* tick of cycle 0 */
    uint64_t at;    /* the cycle that the state is of */
    uint32_t khz;   /* ticks in a millisecond */
    uint8_t sleep_type;
    uint16_t status, enable;
};

/* In ACPI mode. All times are in ticks of KHZ. */
void pmtimer_reset(struct pmtimer *timer, uint32_t khz, uint64_t now);

/*
 * Accesses a byte at REG, 0 to PMTIMER_REGS - 1. A write returns the SLP_TYP that is to be entered,
 * or PMTIMER_NO_SLEEP.
 */
uint8_t pmtimer_read(struct pmtimer *timer, unsigned reg, uint64_t now);
int pmtimer_write(struct pmtimer *timer, unsigned reg, uint8_t value, uint64_t now);

/* The level of SCI. */
bool pmtimer_interrupts(struct pmtimer *timer, uint64_t now);

/* The tick at which it next rises if nobody touches it; UINT64_MAX: never. */
uint64_t pmtimer_due(const struct pmtimer *timer);

/* Text for a person, lines that each end with a newline; returns its length. */
size_t pmtimer_describe(const struct pmtimer *timer, char *text, size_t size);
