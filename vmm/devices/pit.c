/* An 8254: any number of its clock's cycles at once. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/pit.h"

#include "lib/assert.h"
#include "lib/format.h"
#include "vmm/host/rate.h"

/* Control words: the channel is in bits 7:6; 3 there is a read-back command. */
enum { READ_BACK = 3 << 6, BCD = 1 << 0, ACCESS_SHIFT = 4, ACCESS_LATCH = 0, MODE_SHIFT = 1 };
enum { ACCESS_LOW = 1, ACCESS_HIGH = 2, ACCESS_BOTH = 3, CONTROL_BITS = 0x3f };

/* Read-back commands: what is asked for (0), of which channels (1); and the status byte. */
enum { BACK_NO_COUNT = 1 << 5, BACK_NO_STATUS = 1 << 4, BACK_0 = 1 << 1, BACK_REST = 3 << 2 };
enum { STATUS_OUT = 1 << 7, STATUS_NULL = 1 << 6 };

/* The data sheet's "Interrupt on Terminal Count" and so on. */
enum { TERMINAL, ONE_SHOT, RATE, SQUARE, SOFT_STROBE, HARD_STROBE };

enum { PORT61_GATE = 1 << 0, PORT61_WRITTEN = 0x0f, PORT61_REFRESH = 1 << 4, PORT61_OUT = 1 << 5 };
enum { REFRESH_COUNT = 18 };

static unsigned access_of(const struct pit_channel *c)
{
    return c->control >> ACCESS_SHIFT & 3;
}

static uint32_t modulus(const struct pit_channel *c)
{
    return (c->control & BCD) != 0 ? 10000 : 65536;
}

static uint32_t from_bcd(uint32_t v)
{
    return (v >> 12) * 1000 + (v >> 8 & 15) * 100 + (v >> 4 & 15) * 10 + (v & 15);
}

static __attribute__((noinline)) uint16_t to_bcd(uint32_t v)
{
    return (uint16_t)(v / 1000 % 10 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10);
}

/*
 * The count that was written, 1 to the modulus. A digit above 9 is undefined; so is a count of 1 in
 * the periodic modes: it is taken as 2.
 */
static uint32_t initial(const struct pit_channel *c)
{
    uint32_t count = (c->control & BCD) != 0 ? from_bcd(c->count) % 10000 : c->count;
    unsigned mode = c->mode;
    if (count == 0)
        return modulus(c);
    return count == 1 && (mode == RATE || mode == SQUARE) ? 2 : count;
}

static void set_out(struct pit_channel *c, bool out)
{
    c->rose = c->rose || (out && !c->out);
    c->out = out;
}

/* --- what cycles do -------------------------------------------------------------------------- */

static void load(struct pit_channel *c)
{
    unsigned mode = c->mode;
    uint32_t count = initial(c);
    c->element = mode == SQUARE ? count & ~1u : count;
    c->odd = mode == SQUARE && (count & 1) != 0;
    c->strobes = mode == SOFT_STROBE || mode == HARD_STROBE;
    c->null = false;
    c->loads = false;
    c->runs = true;
}

/* The next cycle, which loads the count. */
static void load_cycle(struct pit_channel *c)
{
    unsigned mode = c->mode;
    load(c);
    set_out(c, mode != TERMINAL && mode != ONE_SHOT);
}

static void count_down(struct pit_channel *c, uint64_t cycles)
{
    uint64_t left = cycles % modulus(c);
    uint32_t element = c->element;
    c->element = (uint32_t)(element >= left ? element - left : element + modulus(c) - left);
}

/* Modes 4 and 5: low for the one cycle after the count has ended. */
static void strobe(struct pit_channel *c, uint64_t cycles)
{
    uint64_t end = c->element;
    count_down(c, cycles);
    if (!c->out)
        set_out(c, true);
    if (!c->strobes || cycles < end)
        return;
    c->strobes = false;
    set_out(c, false);
    if (cycles > end)
        set_out(c, true);
}

/* Mode 2: low while the element is 1, which is followed by the count. */
static void rate(struct pit_channel *c, uint64_t cycles)
{
    if (cycles >= c->element) {
        cycles -= c->element;
        c->rose = true;
        load(c);
        cycles %= c->element;
    }
    c->element -= (uint32_t)cycles;
    c->out = c->element != 1;
}

/* Mode 3: the cycles of a half period that are left. It counts by 2. */
static uint32_t half_left(const struct pit_channel *c)
{
    return c->element / 2 + (c->odd && c->out ? 1 : 0);
}

static void next_half(struct pit_channel *c)
{
    load(c);
    set_out(c, !c->out);
}

static void square(struct pit_channel *c, uint64_t cycles)
{
    if (cycles >= half_left(c)) {
        cycles -= half_left(c);
        next_half(c);
        c->rose = c->rose || cycles >= initial(c);
        cycles %= initial(c);
    }
    if (cycles >= half_left(c)) {
        cycles -= half_left(c);
        next_half(c);
    }
    c->element -= 2 * (uint32_t)cycles;
}

/* CYCLES (not 0) with nothing to load, and the gate open. */
static void run(struct pit_channel *c, uint64_t cycles)
{
    switch (c->mode) {
    case TERMINAL:
    case ONE_SHOT:
        if (cycles >= c->element)
            set_out(c, true);
        count_down(c, cycles);
        break;
    case RATE:
        rate(c, cycles);
        break;
    case SQUARE:
        square(c, cycles);
        break;
    default:
        strobe(c, cycles);
        break;
    }
}

/* Modes 1 and 5 do not care for the gate's level. */
static bool gate_is_open(const struct pit_channel *c)
{
    unsigned mode = c->mode;
    return c->gate || mode == ONE_SHOT || mode == HARD_STROBE;
}

static __attribute__((noinline)) void advance(struct pit_channel *c, uint64_t cycle)
{
    uint64_t cycles = cycle - c->at;
    c->at = cycle;
    if (cycles != 0 && c->loads) {
        load_cycle(c);
        cycles--;
    }
    if (cycles == 0 || !c->runs)
        return;
    if (gate_is_open(c))
        run(c, cycles);
    else if (c->mode == SOFT_STROBE)
        set_out(c, true); /* a strobe does not wait for the gate */
}

static uint64_t cycle_at(const struct pit *pit, uint64_t now)
{
    return rate_cycles(now - pit->start, pit->khz, PIT_HZ);
}

static struct pit_channel *channel_at(struct pit *pit, unsigned i, uint64_t now)
{
    struct pit_channel *c = &pit->channel[i];
    advance(c, cycle_at(pit, now));
    return c;
}

/* --- what a guest does ----------------------------------------------------------------------- */

/* "Gate Pin Operations Summary". */
static void set_gate(struct pit_channel *c, bool gate)
{
    unsigned mode = c->mode;
    if (gate == c->gate)
        return;
    c->gate = gate;
    if (gate && c->counted && mode != TERMINAL && mode != SOFT_STROBE)
        c->loads = true;
    if (!gate && (mode == RATE || mode == SQUARE))
        set_out(c, true);
}

static void write_control(struct pit_channel *c, uint8_t value)
{
    unsigned mode = value >> MODE_SHIFT & 7;
    c->control = value & CONTROL_BITS;
    c->mode = (uint8_t)(mode > HARD_STROBE ? mode - 4 : mode);
    c->count = 0;
    c->element %= modulus(c);
    c->has_status = c->has_latched = c->second_read = c->second_write = false;
    c->counted = c->loads = c->runs = false;
    c->null = true;
    set_out(c, c->mode != TERMINAL);
}

/* A whole count is there. Modes 2 and 3 take another at the end of a period, or of half of one. */
static void has_count(struct pit_channel *c)
{
    unsigned mode = c->mode;
    bool periodic = mode == RATE || mode == SQUARE;
    if (mode == TERMINAL || mode == SOFT_STROBE || (periodic && !c->counted))
        c->loads = true;
    c->counted = true;
    c->null = true;
}

/* In mode 0 the first byte already ends what was: "no clock pulse required". */
static void write_count(struct pit_channel *c, uint8_t value)
{
    unsigned access = access_of(c);
    bool high = access == ACCESS_HIGH || (access == ACCESS_BOTH && c->second_write);
    bool ends = access != ACCESS_BOTH || c->second_write;
    unsigned count =
        high ? (c->count & 0xffu) | (unsigned)value << 8 : (c->count & 0xff00u) | value;
    c->count = (uint16_t)count;
    if (c->mode == TERMINAL) {
        set_out(c, false);
        c->runs = c->runs && ends;
        c->loads = false;
    }
    c->second_write = !ends;
    if (ends)
        has_count(c);
}

static uint16_t readable(const struct pit_channel *c)
{
    return (c->control & BCD) != 0 ? to_bcd(c->element) : (uint16_t)c->element;
}

static void latch_count(struct pit_channel *c)
{
    if (c->has_latched)
        return;
    c->latched = readable(c);
    c->has_latched = true;
}

static void latch_status(struct pit_channel *c)
{
    if (c->has_status)
        return;
    c->status = c->control | (c->out ? STATUS_OUT : 0) | (c->null ? STATUS_NULL : 0);
    c->has_status = true;
}

static inline void latch(struct pit_channel *c, uint8_t command, uint64_t cycle)
{
    advance(c, cycle);
    if ((command & BACK_NO_COUNT) == 0)
        latch_count(c);
    if ((command & BACK_NO_STATUS) == 0)
        latch_status(c);
}

static __attribute__((noinline)) void read_back_rest(struct pit *pit, uint8_t command,
                                                     uint64_t cycle)
{
    for (unsigned i = 1; i < PIT_CHANNELS; i++)
        if ((command & BACK_0 << i) != 0)
            latch(&pit->channel[i], command, cycle);
}

/* Mostly of channel 0 alone. */
static void read_back(struct pit *pit, uint8_t command, uint64_t now)
{
    uint64_t cycle = cycle_at(pit, now);
    if ((command & BACK_REST) != 0)
        read_back_rest(pit, command, cycle);
    if ((command & BACK_0) != 0)
        latch(&pit->channel[0], command, cycle);
}

/* Anything else. */
static __attribute__((noinline)) bool write_other(struct pit *pit, unsigned reg, uint8_t value,
                                                  uint64_t now)
{
    bool control = reg == PIT_CONTROL;
    bool latches = control && (value >> ACCESS_SHIFT & 3) == ACCESS_LATCH;
    struct pit_channel *c = channel_at(pit, control ? value >> 6 : reg, now);
    if (latches)
        latch_count(c);
    else if (control)
        write_control(c, value);
    else
        write_count(c, value);
    return !latches;
}

bool pit_write(struct pit *pit, unsigned reg, uint8_t value, uint64_t now)
{
    assert(reg < PIT_REGS);
    if (reg == PIT_CONTROL && value >= READ_BACK) {
        read_back(pit, value, now);
        return false;
    }
    return write_other(pit, reg, value, now);
}

static uint8_t read_channel(struct pit_channel *c)
{
    if (c->has_status) {
        c->has_status = false;
        return c->status;
    }
    unsigned access = access_of(c);
    uint16_t value = c->has_latched ? c->latched : readable(c);
    bool high = access == ACCESS_HIGH || (access == ACCESS_BOTH && c->second_read);
    c->second_read = access == ACCESS_BOTH && !c->second_read;
    if (!c->second_read)
        c->has_latched = false;
    return (uint8_t)(high ? value >> 8 : value);
}

/* The control register cannot be read: nobody drives the bus. */
uint8_t pit_read(struct pit *pit, unsigned reg, uint64_t now)
{
    assert(reg < PIT_REGS);
    return reg == PIT_CONTROL ? UINT8_MAX : read_channel(channel_at(pit, reg, now));
}

uint8_t pit_read_port61(struct pit *pit, uint64_t now)
{
    uint64_t refreshes = rate_cycles(now - pit->start, pit->khz, PIT_HZ) / REFRESH_COUNT;
    uint8_t value = pit->port61;
    if ((refreshes & 1) != 0)
        value |= PORT61_REFRESH;
    if (pit_output(pit, 2, now))
        value |= PORT61_OUT;
    return value;
}

void pit_write_port61(struct pit *pit, uint8_t value, uint64_t now)
{
    pit->port61 = value & PORT61_WRITTEN;
    set_gate(channel_at(pit, 2, now), (value & PORT61_GATE) != 0);
}

/* --- what the machine asks ------------------------------------------------------------------- */

bool pit_output(struct pit *pit, unsigned channel, uint64_t now)
{
    assert(channel < PIT_CHANNELS);
    return channel_at(pit, channel, now)->out;
}

bool pit_rises(struct pit *pit, uint64_t now)
{
    struct pit_channel *c = channel_at(pit, 0, now);
    bool rose = c->rose;
    c->rose = false;
    return rose;
}

bool pit_is_held_low(const struct pit *pit)
{
    const struct pit_channel *c = &pit->channel[0];
    return c->mode == TERMINAL && !c->out;
}

/* Cycles from the state to the next rise, where the gate is open; 0: there will be none. */
static uint32_t until_rise(const struct pit_channel *c)
{
    unsigned mode = c->mode;
    uint32_t first = c->loads ? 1 + initial(c) : 0;
    if (!c->loads && !c->runs)
        return 0;
    switch (mode) {
    case TERMINAL:
    case ONE_SHOT:
        return c->loads ? first : c->out ? 0 : c->element;
    case RATE:
        return c->loads ? first : c->element;
    case SQUARE:
        return c->loads ? first : half_left(c) + (c->out ? initial(c) / 2 : 0);
    default:
        if (!c->out)
            return 1;
        return c->loads ? first + 1 : c->strobes ? c->element + 1 : 0;
    }
}

/* A rise that has not been asked for yet is due at once. */
uint64_t pit_due(const struct pit *pit)
{
    const struct pit_channel *c = &pit->channel[0];
    uint32_t cycles = until_rise(c);
    if (!c->rose && cycles == 0)
        return UINT64_MAX;
    uint64_t tick = rate_tick(c->at + (c->rose ? 0 : cycles), pit->khz, PIT_HZ);
    return tick > UINT64_MAX - pit->start ? UINT64_MAX : pit->start + tick;
}

void pit_reset(struct pit *pit, uint32_t khz, uint64_t now)
{
    static const uint8_t control[] = {0x34, 0x54, 0xb6}; /* of modes 2, 2 and 3 */
    static const uint8_t counts[] = {0, REFRESH_COUNT, 0};
    *pit = (struct pit){.khz = khz, .start = now};
    for (unsigned i = 0; i < PIT_CHANNELS; i++) {
        struct pit_channel *c = &pit->channel[i];
        c->gate = i != 2;
        write_control(c, control[i]);
        write_count(c, counts[i]);
        if (access_of(c) == ACCESS_BOTH)
            write_count(c, 0);
        c->rose = false;
    }
}

size_t pit_describe(const struct pit *pit, char *text, size_t size)
{
    size_t used = 0;
    for (unsigned i = 0; i < PIT_CHANNELS; i++) {
        const struct pit_channel *c = &pit->channel[i];
        used += format(text + used, size - used,
                       "PIT channel %u: mode %u%s, count %u of %u, gate %u, output %u%s\n", i,
                       c->mode, (c->control & BCD) != 0 ? " (BCD)" : "", c->element, initial(c),
                       c->gate, c->out, c->runs ? "" : ", not counting");
    }
    return used;
}
