/* The two 8259 interrupt controllers: nothing may interrupt the host before it asks for it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/pic.h"

#include "lib/assert.h"
#include "lib/x86.h"

/* Of each controller the first port; the second one has its mask. (8259A data sheet.) */
enum { MASTER = 0x20, SLAVE = 0xa0, CASCADE = 2 };
enum { ICW1_INIT_ICW4 = 0x11, ICW4_8086 = 0x01, OCW2_SPECIFIC_EOI = 0x60, OCW3_READ_ISR = 0x0b };

static uint16_t pic_of(unsigned line)
{
    assert(line < PIC_LINES);
    return line < 8 ? MASTER : SLAVE;
}

static void init(uint16_t pic, uint8_t vector, uint8_t cascade)
{
    out8(pic, ICW1_INIT_ICW4);
    out8(pic + 1, vector);
    out8(pic + 1, cascade);
    out8(pic + 1, ICW4_8086);
    out8(pic + 1, 0xff);
}

void pic_init(void)
{
    init(SLAVE, PIC_VECTOR + 8, CASCADE);
    init(MASTER, PIC_VECTOR, 1 << CASCADE);
}

void pic_unmask(unsigned line)
{
    uint16_t mask = pic_of(line) + 1;
    out8(mask, (uint8_t)(in8(mask) & ~(1u << line % 8)));
    if (line >= 8)
        pic_unmask(CASCADE);
}

void pic_mask(unsigned line)
{
    uint16_t mask = pic_of(line) + 1;
    out8(mask, (uint8_t)(in8(mask) | 1u << line % 8));
}

void pic_end(uint8_t vector)
{
    unsigned line = (unsigned)vector - PIC_VECTOR;
    if (line >= PIC_LINES)
        return;
    uint16_t pic = pic_of(line);
    out8(pic, OCW3_READ_ISR);
    if ((in8(pic) >> line % 8 & 1) != 0)
        out8(pic, (uint8_t)(OCW2_SPECIFIC_EOI | line % 8));
    if (line >= 8) /* the master's line is in service even if the slave's was spurious */
        out8(MASTER, OCW2_SPECIFIC_EOI | CASCADE);
}
