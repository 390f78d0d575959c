/*
 * The two 8259As of a PC, the slave on the master's IR2 (8259A data sheet; 82371SB data sheet,
 * "Interrupt Controller", for ELCR). Pure, and without time.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

/* Registers: two of each chip at ports 20h and A0h, then ELCR1 and ELCR2 at 4D0h. */
enum { I8259_MASTER = 0, I8259_SLAVE = 2, I8259_ELCR = 4, I8259_REGS = 6 };
enum { I8259_LINES = 16, I8259_CASCADE = 2 };

struct i8259_chip {
    /* A bit an input: */
    uint8_t high;    /* it is high */
    uint8_t edges;   /* it rose, has stayed high, and has not been acknowledged */
    uint8_t level;   /* it is level-triggered (ELCR) */
    uint8_t service; /* ISR */
    uint8_t masked;  /* IMR */
    uint8_t icw1, vectors, cascade, icw4;
    uint8_t expects; /* the next ICW, 2 to 4; 0: initialized */
    uint8_t lowest;  /* the input of lowest priority */
    bool rotates;    /* at automatic EOIs */
    bool special;    /* special mask mode */
    bool polled;     /* the next read is a poll */
    bool reads_isr;  /* rather than IRR */
    bool out;        /* the output, INT */
};

struct i8259 {
    struct i8259_chip chip[2];
    bool rises; /* INTR has, since that was last asked */
};

/*
 * As firmware leaves them: vectors 08h and 70h, all inputs but the cascade's masked, edge-triggered
 * and low.
 */
void i8259_reset(struct i8259 *pic);

uint8_t i8259_read(struct i8259 *pic, unsigned reg);

/* Returns whether what is masked may have changed. */
bool i8259_write(struct i8259 *pic, unsigned reg, uint8_t value);

/* Input IRQ, 0 to 15 but I8259_CASCADE, is now high, or low. */
void i8259_set_line(struct i8259 *pic, unsigned irq, bool high);

/* INTR, the master's output. */
static inline bool i8259_interrupts(const struct i8259 *pic)
{
    return pic->chip[0].out;
}

/* Whether it has risen since this was last asked, also where it has fallen again, or had before. */
static inline bool i8259_has_risen(struct i8259 *pic)
{
    bool rises = pic->rises;
    pic->rises = false;
    return rises;
}

/* Whether IRQ is masked: its own input, or the slave's. */
static inline bool i8259_masks(const struct i8259 *pic, unsigned irq)
{
    return (pic->chip[irq / 8].masked >> irq % 8 & 1) != 0 ||
           (irq / 8 != 0 && (pic->chip[0].masked >> I8259_CASCADE & 1) != 0);
}

/* Whether IRQ has been acknowledged since it last rose, and has had its EOI. */
static inline bool i8259_is_done(const struct i8259 *pic, unsigned irq)
{
    const struct i8259_chip *chip = &pic->chip[irq / 8];
    return ((chip->edges | chip->service) >> irq % 8 & 1) == 0;
}

/* The CPU's acknowledge cycle: the vector; that of IR7 if the request is gone. */
uint8_t i8259_acknowledge(struct i8259 *pic);

/* Text for a person, lines that each end with a newline; returns its length. */
size_t i8259_describe(const struct i8259 *pic, char *text, size_t size);
