/* The two 8259 interrupt controllers: nothing may interrupt the host before it asks for it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdint.h>

/* The vector of line 0; the other 15 follow. */
enum { PIC_VECTOR = 0x20, PIC_LINES = 16 };

/* Gives the lines the host's vectors, and masks all of them. */
void pic_init(void);

/* Lets LINE interrupt; or no longer. */
void pic_unmask(unsigned line);
void pic_mask(unsigned line);

/*
 * Acknowledges the interrupt of VECTOR, if it is one of an 8259 and in service there: a spurious
 * one (lines 7 and 15) is not.
 */
void pic_end(uint8_t vector);
