/*
 * The interval timer of a PC (8254 data sheet) and its part of port 61h (82371SB data sheet, "NMI
 * Status and Control Register"). Pure: time is an argument, in ticks of a TSC, and never goes back.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

#define PIT_HZ 1193182u

enum { PIT_CHANNELS = 3, PIT_CONTROL = 3, PIT_REGS = 4 };

struct pit_channel {
    uint64_t at;      /* the cycle that the channel's state is of */
    uint32_t element; /* what counts down; 65536 (or 10000) and 0 are the same */
    uint16_t count;   /* as last written, in binary or BCD */
    uint16_t latched; /* the count, in binary or BCD */
    uint8_t control;  /* the last control word's low 6 bits */
    uint8_t mode;     /* of it, 0 to 5 */
    uint8_t status;   /* latched */
    bool has_status, has_latched;
    bool second_read, second_write; /* the next byte is the second of two */
    bool counted;                   /* a count has been written since the control word */
    bool null;                      /* it has not been loaded yet */
    bool loads;                     /* the next cycle loads it */
    bool runs;                      /* it has been loaded, and nothing stops it */
    bool odd;                       /* the count of the half period that runs, in mode 3 */
    bool strobes;                   /* the end of the count is a strobe */
    bool gate, out;
    bool rose; /* since that was last asked */
};

struct pit {
    struct pit_channel channel[PIT_CHANNELS];
    uint64_t start; /* tick of cycle 0 */
    uint32_t khz;   /* ticks in a millisecond */
    uint8_t port61; /* the bits that a guest writes */
};

/*
 * As firmware leaves it: channel 0 has the longest period there is, 1 asks for memory's refresh,
 * and the speaker is silent.
 */
void pit_reset(struct pit *pit, uint32_t khz, uint64_t now);

/*
 * Accesses register 0 to 3 (ports 40h to 43h), and port 61h. A write returns whether what
 * pit_rises() and pit_due() say may be something else now.
 */
uint8_t pit_read(struct pit *pit, unsigned reg, uint64_t now);
bool pit_write(struct pit *pit, unsigned reg, uint8_t value, uint64_t now);
uint8_t pit_read_port61(struct pit *pit, uint64_t now);
void pit_write_port61(struct pit *pit, uint8_t value, uint64_t now);

/* The output of a channel; 0's is IRQ 0. */
bool pit_output(struct pit *pit, unsigned channel, uint64_t now);

/* Whether channel 0's output has risen since this was last asked. */
bool pit_rises(struct pit *pit, uint64_t now);

/* Whether the guest has made it low, and its count has not ended since: mode 0. */
bool pit_is_held_low(const struct pit *pit);

/* The tick at which it next will if nobody touches it; UINT64_MAX: never. */
uint64_t pit_due(const struct pit *pit);

/* Text for a person, lines that each end with a newline; returns its length. */
size_t pit_describe(const struct pit *pit, char *text, size_t size);
