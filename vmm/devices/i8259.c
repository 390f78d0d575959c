/* A pair of 8259As, as the data sheet describes their priorities, commands and cascade. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/i8259.h"

#include "lib/assert.h"
#include "lib/format.h"

enum { NONE = 8, INPUTS = 8, FLOATING = 0xff, VECTOR_BITS = 0xf8 };

/* ICW1 and ICW4; LTIM is without effect beside ELCR. All others are as they must be in a PC. */
enum { ICW1_IC4 = 1 << 0, ICW1_SINGLE = 1 << 1, ICW1 = 1 << 4 };
enum { ICW4_AEOI = 1 << 1, ICW4_SFNM = 1 << 4 };

enum { OCW3 = 1 << 3, OCW3_RIS = 1 << 0, OCW3_RR = 1 << 1, OCW3_POLL = 1 << 2 };
enum { OCW3_SMM = 1 << 5, OCW3_ESMM = 1 << 6 };

/* 82371SB data sheet, "ELCR1" and "ELCR2": IRQ 0, 1, 2, 8 and 13 are always edge-triggered. */
static const uint8_t elcr_bits[] = {0xf8, 0xde};

/* The order of input N in the chip's priorities: 0 is the highest. */
static unsigned rank(const struct i8259_chip *chip, unsigned n)
{
    return (n - chip->lowest - 1) % INPUTS;
}

/* The input of highest priority of SET, or NONE. */
static unsigned first_of(const struct i8259_chip *chip, unsigned set)
{
    if (set == 0)
        return NONE;
    unsigned shift = (chip->lowest + 1u) % INPUTS;
    unsigned turned = (set | set << INPUTS) >> shift & 0xff;
    return ((unsigned)__builtin_ctz(turned) + shift) % INPUTS;
}

static unsigned requests(const struct i8259_chip *chip)
{
    return chip->edges ^ ((chip->edges ^ chip->high) & chip->level); /* of each: high, or edges */
}

/* What is in service, but for what special mask mode disregards. */
static unsigned in_service(const struct i8259_chip *chip)
{
    return chip->special ? chip->service & ~chip->masked : chip->service;
}

/* Whether a slave's request counts although its input is in service itself. */
static bool is_nested(const struct i8259_chip *chip, unsigned n)
{
    return (chip->icw4 & ICW4_SFNM) != 0 && (chip->icw1 & ICW1_SINGLE) == 0 &&
           (chip->cascade >> n & 1) != 0;
}

/* The input that the chip's output is high for, or NONE. */
static unsigned pending(const struct i8259_chip *chip)
{
    unsigned n = first_of(chip, requests(chip) & ~chip->masked);
    if (n == NONE || chip->expects != 0)
        return NONE;
    unsigned busy = first_of(chip, in_service(chip));
    if (busy == NONE || rank(chip, n) < rank(chip, busy))
        return n;
    return n == busy && is_nested(chip, n) ? n : NONE;
}

/* Mostly nothing is: then the output is low, and no OCW2 changes that. */
static inline bool is_requested(const struct i8259_chip *chip)
{
    return (requests(chip) & ~chip->masked) != 0;
}

/* Whether its output is high. */
static inline bool asks(const struct i8259_chip *chip)
{
    return is_requested(chip) && pending(chip) != NONE;
}

static void set_input(struct i8259_chip *chip, unsigned n, bool high)
{
    uint8_t bit = (uint8_t)(1u << n);
    if (!high)
        chip->edges &= (uint8_t)~bit;
    else
        chip->edges |= bit & (uint8_t)~chip->high;
    chip->high = high ? chip->high | bit : chip->high & (uint8_t)~bit;
}

/* The slave's output leads to the master, and the master's to the CPU. */
static __attribute__((noinline)) void propagate(struct i8259 *pic)
{
    struct i8259_chip *master = &pic->chip[0], *slave = &pic->chip[1];
    slave->out = asks(slave);
    if (slave->out != (master->high >> I8259_CASCADE & 1))
        set_input(master, I8259_CASCADE, slave->out);
    bool out = asks(master);
    pic->rises |= out && !master->out;
    master->out = out;
}

/* The chip takes what it requests: the input, or NONE. Its output falls for a moment. */
static unsigned take(struct i8259 *pic, struct i8259_chip *chip)
{
    struct i8259_chip *master = &pic->chip[0];
    unsigned n = pending(chip);
    if (n == NONE)
        return NONE;
    uint8_t bit = (uint8_t)(1u << n);
    chip->edges &= (uint8_t)~bit;
    if ((chip->icw4 & ICW4_AEOI) == 0)
        chip->service |= bit;
    else if (chip->rotates)
        chip->lowest = (uint8_t)n;
    if (chip != master)
        set_input(master, I8259_CASCADE, false);
    master->out = chip != master && asks(master);
    propagate(pic);
    return n;
}

static uint8_t vector_of(const struct i8259_chip *chip, unsigned n)
{
    return (uint8_t)(chip->vectors | (n == NONE ? INPUTS - 1 : n));
}

/* A slave answers to its ID alone; where none does, nobody drives the bus. */
uint8_t i8259_acknowledge(struct i8259 *pic)
{
    struct i8259_chip *master = &pic->chip[0], *slave = &pic->chip[1];
    unsigned n = take(pic, master);
    unsigned id = n == NONE ? INPUTS - 1 : n;
    if ((master->icw1 & ICW1_SINGLE) != 0 || (master->cascade >> id & 1) == 0)
        return vector_of(master, n);
    if ((slave->cascade & (INPUTS - 1)) != id)
        return FLOATING;
    return vector_of(slave, take(pic, slave));
}

void i8259_set_line(struct i8259 *pic, unsigned irq, bool high)
{
    assert(irq < I8259_LINES && irq != I8259_CASCADE);
    set_input(&pic->chip[irq / INPUTS], irq % INPUTS, high);
    propagate(pic);
}

/* --- commands -------------------------------------------------------------------------------- */

/* "Initialization Command Words 1 and 2"; that ISR is cleared is not said there, but is done. */
static void initialize(struct i8259_chip *chip, uint8_t icw1)
{
    *chip = (struct i8259_chip){
        .high = chip->high,
        .level = chip->level,
        .vectors = chip->vectors,
        .cascade = chip->cascade,
        .icw1 = icw1,
        .expects = 2,
        .lowest = INPUTS - 1,
    };
}

static void write_icw(struct i8259_chip *chip, uint8_t value)
{
    unsigned next = chip->expects + 1u;
    if (chip->expects == 2)
        chip->vectors = value & VECTOR_BITS;
    else if (chip->expects == 3)
        chip->cascade = value;
    else
        chip->icw4 = value;
    if (next == 3 && (chip->icw1 & ICW1_SINGLE) != 0)
        next = 4;
    if (next == 4 && (chip->icw1 & ICW1_IC4) == 0)
        next = 5;
    chip->expects = next <= 4 ? (uint8_t)next : 0;
}

/* "Operation Command Word 2": EOI, SL and R are bits 5 to 7. */
static void write_ocw2(struct i8259_chip *chip, uint8_t value)
{
    enum { EOI = 1, SL = 2, R = 4 };
    unsigned command = value >> 5, n = value & (INPUTS - 1);
    if ((command & (EOI | SL)) == 0) {
        chip->rotates = (command & R) != 0;
        return;
    }
    if ((command & SL) == 0)
        n = first_of(chip, in_service(chip));
    if (n == NONE)
        return;
    if ((command & EOI) != 0)
        chip->service &= (uint8_t) ~(1u << n);
    if ((command & R) != 0)
        chip->lowest = (uint8_t)n;
}

static void write_ocw3(struct i8259_chip *chip, uint8_t value)
{
    if ((value & OCW3_ESMM) != 0)
        chip->special = (value & OCW3_SMM) != 0;
    if ((value & OCW3_POLL) != 0)
        chip->polled = true;
    else if ((value & OCW3_RR) != 0)
        chip->reads_isr = (value & OCW3_RIS) != 0;
}

static void write_chip(struct i8259_chip *chip, bool a0, uint8_t value)
{
    if (a0 && chip->expects != 0)
        write_icw(chip, value);
    else if (a0)
        chip->masked = value;
    else if ((value & ICW1) != 0)
        initialize(chip, value);
    else
        write_ocw3(chip, value);
}

/* Anything but an OCW2. */
static __attribute__((noinline)) bool write_other(struct i8259 *pic, unsigned reg, uint8_t value)
{
    if (reg >= I8259_ELCR)
        pic->chip[reg - I8259_ELCR].level = value & elcr_bits[reg - I8259_ELCR];
    else
        write_chip(&pic->chip[reg / 2], (reg & 1) != 0, value);
    propagate(pic);
    return (reg & 1) != 0 || (value & ICW1) != 0;
}

bool i8259_write(struct i8259 *pic, unsigned reg, uint8_t value)
{
    assert(reg < I8259_REGS);
    struct i8259_chip *chip = &pic->chip[reg / 2];
    if ((reg & ~(unsigned)I8259_SLAVE) != I8259_MASTER || (value & (ICW1 | OCW3)) != 0)
        return write_other(pic, reg, value);
    write_ocw2(chip, value);
    if (is_requested(chip))
        propagate(pic);
    return false;
}

/* "Poll Command": the read is the acknowledge, of this chip alone. */
static uint8_t poll(struct i8259 *pic, struct i8259_chip *chip)
{
    chip->polled = false;
    unsigned n = take(pic, chip);
    return n == NONE ? 0 : (uint8_t)(0x80 | n);
}

uint8_t i8259_read(struct i8259 *pic, unsigned reg)
{
    assert(reg < I8259_REGS);
    if (reg >= I8259_ELCR)
        return pic->chip[reg - I8259_ELCR].level;
    struct i8259_chip *chip = &pic->chip[reg / 2];
    if (chip->polled)
        return poll(pic, chip);
    if ((reg & 1) != 0)
        return chip->masked;
    return chip->reads_isr ? chip->service : (uint8_t)requests(chip);
}

void i8259_reset(struct i8259 *pic)
{
    static const uint8_t vectors[] = {0x08, 0x70}, cascade[] = {1 << I8259_CASCADE, I8259_CASCADE};
    static const uint8_t masked[] = {0xff & ~(1 << I8259_CASCADE), 0xff};
    *pic = (struct i8259){0};
    for (unsigned i = 0; i < ARRAY_SIZE(pic->chip); i++) {
        pic->chip[i].vectors = vectors[i];
        pic->chip[i].cascade = cascade[i];
        pic->chip[i].icw1 = ICW1 | ICW1_IC4;
        pic->chip[i].icw4 = 1; /* for an 8086 */
        pic->chip[i].masked = masked[i];
        pic->chip[i].lowest = INPUTS - 1;
    }
}

size_t i8259_describe(const struct i8259 *pic, char *text, size_t size)
{
    size_t used = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(pic->chip); i++) {
        const struct i8259_chip *c = &pic->chip[i];
        used += format(
            text + used, size - used,
            "%s: vectors %02x, IRR %02x, IMR %02x, ISR %02x, inputs %02x, ELCR %02x, "
            "lowest %u%s%s%s\n",
            i == 0 ? "8259 master" : "8259 slave", c->vectors, requests(c), c->masked, c->service,
            c->high, c->level, c->lowest, (c->icw4 & ICW4_AEOI) != 0 ? ", auto-EOI" : "",
            c->special ? ", special mask" : "", c->expects != 0 ? ", not initialized" : "");
    }
    return used;
}
