/* The PM timer and the PM1a registers, which ask for its interrupt and for the machine's end. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/pmtimer.h"

#include "lib/assert.h"
#include "lib/format.h"
#include "vmm/host/rate.h"

/*
 * "PM1 Status Registers", "PM1 Enable Registers": only the timer has events; the enable bits of
 * GBL, PWRBTN and RTC are kept, as software may look for them.
 */
enum { TMR = 1 << 0, ENABLE_KEPT = TMR | 1 << 5 | 1 << 8 | 1 << 10 };

/* "PM1 Control Registers", in its second byte; SCI_EN, in the first, is always 1. */
enum { SCI_EN = 1 << 0, SLP_TYP_SHIFT = 2, SLP_TYP = 7, SLP_EN = 1 << 5 };

/* TMR_STS: the top bit of the timer's value has changed. */
enum { HALF_SHIFT = PMTIMER_BITS - 1 };

static void advance(struct pmtimer *t, uint64_t now)
{
    uint64_t cycle = rate_cycles(now - t->start, t->khz, PMTIMER_HZ);
    if (cycle >> HALF_SHIFT != t->at >> HALF_SHIFT)
        t->status |= TMR;
    t->at = cycle;
}

static uint32_t value_of(const struct pmtimer *t)
{
    return (uint32_t)(t->at & ((1u << PMTIMER_BITS) - 1));
}

uint8_t pmtimer_read(struct pmtimer *t, unsigned reg, uint64_t now)
{
    assert(reg < PMTIMER_REGS);
    advance(t, now);
    switch (reg & ~3u) {
    case PMTIMER_STATUS:
        return (uint8_t)((t->status | (uint32_t)t->enable << 16) >> 8 * reg);
    case PMTIMER_CONTROL:
        return (uint8_t)((SCI_EN | t->sleep_type << 8 << SLP_TYP_SHIFT) >> 8 * (reg & 3));
    case PMTIMER_VALUE:
        return (uint8_t)(value_of(t) >> 8 * (reg & 3));
    default:
        return 0;
    }
}

/* SLP_EN is only ever written; it reads as 0. */
static int write_control(struct pmtimer *t, uint8_t value)
{
    t->sleep_type = value >> SLP_TYP_SHIFT & SLP_TYP;
    return (value & SLP_EN) != 0 ? t->sleep_type : PMTIMER_NO_SLEEP;
}

/* A 1 written to a status bit clears it. */
int pmtimer_write(struct pmtimer *t, unsigned reg, uint8_t value, uint64_t now)
{
    unsigned shift = 8 * (reg & 1);
    unsigned wide = (unsigned)value << shift;
    assert(reg < PMTIMER_REGS);
    advance(t, now);
    if (reg == PMTIMER_CONTROL + 1)
        return write_control(t, value);
    if ((reg & ~1u) == PMTIMER_STATUS)
        t->status &= (uint16_t)~wide;
    if ((reg & ~1u) == PMTIMER_ENABLE)
        t->enable = (uint16_t)((t->enable & ~(0xffu << shift)) | (wide & ENABLE_KEPT));
    return PMTIMER_NO_SLEEP;
}

bool pmtimer_interrupts(struct pmtimer *t, uint64_t now)
{
    advance(t, now);
    return (t->status & t->enable & TMR) != 0;
}

uint64_t pmtimer_due(const struct pmtimer *t)
{
    if ((t->enable & TMR) == 0 || (t->status & TMR) != 0)
        return UINT64_MAX;
    uint64_t cycle = ((t->at >> HALF_SHIFT) + 1) << HALF_SHIFT;
    uint64_t tick = rate_tick(cycle, t->khz, PMTIMER_HZ);
    return tick > UINT64_MAX - t->start ? UINT64_MAX : t->start + tick;
}

void pmtimer_reset(struct pmtimer *t, uint32_t khz, uint64_t now)
{
    *t = (struct pmtimer){.khz = khz, .start = now};
}

size_t pmtimer_describe(const struct pmtimer *t, char *text, size_t size)
{
    return format(text, size, "PM timer: %06x, PM1_STS %04x, PM1_EN %04x\n", value_of(t), t->status,
                  t->enable);
}
