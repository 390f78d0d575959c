/* An MC146818: a divider chain of a 32.768 kHz crystal, a calendar, an alarm and RAM. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/rtc.h"

#include "lib/assert.h"
#include "lib/format.h"
#include "vmm/host/rate.h"

enum { HZ = 32768, MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

/* "Address Map"; the century and what follows are PC firmware's. */
enum cell {
    SECONDS,
    ALARM_SECONDS,
    MINUTES,
    ALARM_MINUTES,
    HOURS,
    ALARM_HOURS,
    DAY_OF_WEEK,
    DAY_OF_MONTH,
    MONTH,
    YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    SUM_FIRST = 0x10, /* the cells that the sum, high byte first, is of */
    EQUIPMENT = 0x14,
    BASE_MEMORY = 0x15,     /* KiB, 2 bytes */
    EXTENDED_MEMORY = 0x17, /* KiB above 1 MiB */
    SUM_LAST = 0x2d,
    SUM = 0x2e,
    EXTENDED_MEMORY2 = 0x30, /* the same as at 17h */
    CENTURY = 0x32,
    MEMORY_16M = 0x34, /* 64 KiB above 16 MiB, 2 bytes */
    MEMORY_4G = 0x5b,  /* 64 KiB above 4 GiB, 3 bytes */
    OTHER_CPUS = 0x5f,
};

enum { A_UIP = 0x80, A_DIVIDER = 0x70, A_RATE = 0x0f, A_RUNS = 0x20, A_DEFAULT = 0x26 };
enum { B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_SQWE = 8, B_BINARY = 4, B_24 = 2 };
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10, FLAGS = C_PF | C_AF | C_UF };
enum { D_VALID = 0x80, PM = 0x80, ANY = 0xc0, ANY_VALUE = 60, EQUIPMENT_FPU = 2, BASE_KIB = 640 };

/*
 * "Update Cycle": it begins half a second after the divider's reset and takes 1984 us, UIP goes
 * up 244 us before.
 */
enum { UPDATE_BEGIN = HZ / 2, UPDATE_END = UPDATE_BEGIN + 65, UIP_BEGIN = UPDATE_BEGIN - 8 };

/* --- the calendar ---------------------------------------------------------------------------- */

static uint8_t encode(const struct rtc *rtc, unsigned value)
{
    if ((rtc->cell[REG_B] & B_BINARY) != 0)
        return (uint8_t)value;
    return (uint8_t)(value / 10 << 4 | value % 10);
}

static uint8_t encode_hour(const struct rtc *rtc, unsigned hour)
{
    if ((rtc->cell[REG_B] & B_24) != 0)
        return encode(rtc, hour);
    return encode(rtc, hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? PM : 0);
}

/* What is no legal value is taken as the nearest that is. */
static unsigned decode(const struct rtc *rtc, unsigned v, unsigned least, unsigned most)
{
    if ((rtc->cell[REG_B] & B_BINARY) == 0)
        v = (v >> 4) * 10 + (v & 15);
    return v < least ? least : v > most ? most : v;
}

static unsigned decode_hour(const struct rtc *rtc, unsigned v)
{
    if ((rtc->cell[REG_B] & B_24) != 0)
        return decode(rtc, v, 0, 23);
    return decode(rtc, v & ~(unsigned)PM, 1, 12) % 12 + ((v & PM) != 0 ? 12 : 0);
}

static unsigned second_of_day(const struct rtc *rtc)
{
    return decode_hour(rtc, rtc->cell[HOURS]) * HOUR +
           decode(rtc, rtc->cell[MINUTES], 0, 59) * MINUTE + decode(rtc, rtc->cell[SECONDS], 0, 59);
}

static void set_second_of_day(struct rtc *rtc, unsigned second)
{
    rtc->cell[SECONDS] = encode(rtc, second % MINUTE);
    rtc->cell[MINUTES] = encode(rtc, second / MINUTE % 60);
    rtc->cell[HOURS] = encode_hour(rtc, second / HOUR);
}

/* Every fourth year is a leap year, as in the chip. */
static unsigned days_in(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && year % 4 == 0 ? 1u : 0);
}

enum { YEARS_4 = 4 * 365 + 1, CENTURY_DAYS = 25 * YEARS_4 };

/* Days since the beginning of a century's first year. */
static unsigned day_number(const struct rtc *rtc)
{
    unsigned year = decode(rtc, rtc->cell[YEAR], 0, 99);
    unsigned month = decode(rtc, rtc->cell[MONTH], 1, 12);
    unsigned days = year * 365 + (year + 3) / 4;
    for (unsigned m = 1; m < month; m++)
        days += days_in(year, m);
    return days + decode(rtc, rtc->cell[DAY_OF_MONTH], 1, days_in(year, month)) - 1;
}

static void set_day_number(struct rtc *rtc, unsigned days)
{
    unsigned year = days / YEARS_4 * 4, month = 1;
    for (days %= YEARS_4; days >= (year % 4 == 0 ? 366 : 365); year++)
        days -= year % 4 == 0 ? 366 : 365;
    for (; days >= days_in(year, month); month++)
        days -= days_in(year, month);
    rtc->cell[YEAR] = encode(rtc, year);
    rtc->cell[MONTH] = encode(rtc, month);
    rtc->cell[DAY_OF_MONTH] = encode(rtc, days + 1);
}

static void add_days(struct rtc *rtc, uint64_t days)
{
    uint64_t sum = day_number(rtc) + days;
    unsigned weekday = decode(rtc, rtc->cell[DAY_OF_WEEK], 1, 7) - 1;
    unsigned century = decode(rtc, rtc->cell[CENTURY], 0, 99);
    set_day_number(rtc, (unsigned)(sum % CENTURY_DAYS));
    rtc->cell[DAY_OF_WEEK] = encode(rtc, (unsigned)((weekday + days) % 7) + 1);
    rtc->cell[CENTURY] = encode(rtc, (unsigned)((century + sum / CENTURY_DAYS) % 100));
}

static void add_seconds(struct rtc *rtc, uint64_t seconds)
{
    uint64_t sum = second_of_day(rtc) + seconds;
    add_days(rtc, sum / DAY);
    set_second_of_day(rtc, (unsigned)(sum % DAY));
}

/*
 * What an alarm's field waits for; "Alarm": 11 in the top bits of its cell is any value, as is
 * ANY_VALUE here. False: a value that never comes.
 */
static bool alarm_field(const struct rtc *rtc, enum cell cell, unsigned *value)
{
    uint8_t v = rtc->cell[cell];
    bool hours = cell == ALARM_HOURS;
    *value = v >= ANY ? ANY_VALUE : hours ? decode_hour(rtc, v) : decode(rtc, v, 0, 59);
    if (*value == ANY_VALUE)
        return true;
    return v == (hours ? encode_hour(rtc, *value) : encode(rtc, *value));
}

/* The first second from AT on in which a field, of so many values of UNIT seconds, is VALUE. */
static unsigned first_from(unsigned at, unsigned unit, unsigned values, unsigned value)
{
    unsigned is = at / unit % values;
    if (value == ANY_VALUE || is == value)
        return at;
    return (at / unit + (value + values - is) % values) * unit;
}

/* Updates until the alarm, 1 to DAY; 0: it never comes. */
static unsigned until_alarm(const struct rtc *rtc)
{
    unsigned now = second_of_day(rtc), hour, minute, second;
    if (!alarm_field(rtc, ALARM_HOURS, &hour) || !alarm_field(rtc, ALARM_MINUTES, &minute) ||
        !alarm_field(rtc, ALARM_SECONDS, &second))
        return 0;
    for (unsigned at = now + 1;;) {
        unsigned next = first_from(at, HOUR, 24, hour);
        next = first_from(next, MINUTE, 60, minute);
        next = first_from(next, 1, 60, second);
        if (next == at)
            return at - now;
        at = next;
    }
}

/* --- the divider chain ----------------------------------------------------------------------- */

/* Any other setting holds it at 0: the crystal is what it is. */
static bool runs(const struct rtc *rtc)
{
    return (rtc->cell[REG_A] & A_DIVIDER) == A_RUNS;
}

/* How often a multiple of PERIOD, displaced by PHASE, comes to be between two states of it. */
static uint64_t times(uint64_t from, uint64_t to, uint64_t period, uint64_t phase)
{
    return (to + period - phase) / period - (from + period - phase) / period;
}

/* Cycles of the periodic interrupt; 0: none. The two fastest are too fast for this crystal. */
static unsigned period_of(const struct rtc *rtc)
{
    unsigned rate = rtc->cell[REG_A] & A_RATE;
    return rate == 0 ? 0 : rate <= 2 ? 1u << (rate + 6) : 1u << (rate - 1);
}

static void update(struct rtc *rtc, uint64_t seconds)
{
    unsigned alarm = until_alarm(rtc);
    if (alarm != 0 && alarm <= seconds)
        rtc->cell[REG_C] |= C_AF;
    rtc->cell[REG_C] |= C_UF;
    add_seconds(rtc, seconds);
}

static void advance(struct rtc *rtc, uint64_t now)
{
    uint64_t cycle = rate_cycles(now - rtc->start, rtc->khz, HZ);
    uint64_t from = rtc->at - rtc->divided, to = cycle - rtc->divided;
    unsigned period = period_of(rtc);
    rtc->at = cycle;
    if (!runs(rtc)) {
        rtc->divided = cycle;
        return;
    }
    if (period != 0 && from / period != to / period)
        rtc->cell[REG_C] |= C_PF;
    uint64_t updates = times(from, to, HZ, UPDATE_END);
    if (updates != 0 && (rtc->cell[REG_B] & B_SET) == 0)
        update(rtc, updates);
}

static uint64_t phase_now(const struct rtc *rtc)
{
    return (rtc->at - rtc->divided) % HZ;
}

static bool is_updating(const struct rtc *rtc)
{
    uint64_t phase = phase_now(rtc);
    return (rtc->cell[REG_B] & B_SET) == 0 && phase >= UIP_BEGIN && phase < UPDATE_END;
}

static bool irqf(const struct rtc *rtc)
{
    return (rtc->cell[REG_C] & rtc->cell[REG_B] & FLAGS) != 0;
}

/* --- accesses -------------------------------------------------------------------------------- */

static uint8_t read_cell(struct rtc *rtc, unsigned cell)
{
    uint8_t value = rtc->cell[cell];
    if (cell == REG_A)
        value |= is_updating(rtc) ? A_UIP : 0;
    if (cell == REG_C) {
        value |= irqf(rtc) ? C_IRQF : 0;
        rtc->cell[REG_C] = 0;
    }
    return value;
}

static void write_cell(struct rtc *rtc, unsigned cell, uint8_t value)
{
    if (cell == REG_C || cell == REG_D)
        return;
    if (cell == REG_A)
        value &= (uint8_t)~A_UIP;
    if (cell == REG_B && (value & ~rtc->cell[REG_B] & B_SET) != 0)
        value &= (uint8_t)~B_UIE; /* "SET": its going high clears UIE */
    rtc->cell[cell] = value;
}

/* The index cannot be read: nobody drives the bus. */
uint8_t rtc_read(struct rtc *rtc, unsigned reg, uint64_t now)
{
    assert(reg < RTC_REGS);
    if (reg == RTC_INDEX)
        return UINT8_MAX;
    advance(rtc, now);
    return read_cell(rtc, rtc->index);
}

/* The index's top bit masks NMIs, of which there are none. */
void rtc_write(struct rtc *rtc, unsigned reg, uint8_t value, uint64_t now)
{
    assert(reg < RTC_REGS);
    if (reg == RTC_INDEX) {
        rtc->index = value % RTC_CELLS;
        return;
    }
    advance(rtc, now);
    write_cell(rtc, rtc->index, value);
}

bool rtc_interrupts(struct rtc *rtc, uint64_t now)
{
    advance(rtc, now);
    return irqf(rtc);
}

/* Cycles of the divider until the interrupt; 0: never. */
static uint64_t until_interrupt(const struct rtc *rtc)
{
    uint64_t at = rtc->at - rtc->divided, due = UINT64_MAX;
    unsigned b = rtc->cell[REG_B], period = period_of(rtc);
    uint64_t to_update = HZ - (at + HZ - UPDATE_END) % HZ;
    if ((b & B_PIE) != 0 && period != 0)
        due = period - at % period;
    if ((b & B_SET) == 0 && (b & B_UIE) != 0)
        due = min_u64(due, to_update);
    unsigned alarm = (b & B_SET) == 0 && (b & B_AIE) != 0 ? until_alarm(rtc) : 0;
    if (alarm != 0)
        due = min_u64(due, to_update + (uint64_t)(alarm - 1) * HZ);
    return due == UINT64_MAX ? 0 : due;
}

uint64_t rtc_due(const struct rtc *rtc)
{
    uint64_t cycles = irqf(rtc) || !runs(rtc) ? 0 : until_interrupt(rtc);
    if (cycles == 0)
        return UINT64_MAX;
    uint64_t tick = rate_tick(rtc->at + cycles, rtc->khz, HZ);
    return tick > UINT64_MAX - rtc->start ? UINT64_MAX : rtc->start + tick;
}

/* --- what firmware does ---------------------------------------------------------------------- */

static void set_word(struct rtc *rtc, unsigned cell, uint64_t value)
{
    uint64_t word = min_u64(value, UINT16_MAX);
    rtc->cell[cell] = (uint8_t)word;
    rtc->cell[cell + 1] = (uint8_t)(word >> 8);
}

static uint64_t above(uint64_t bytes, uint64_t start)
{
    return bytes > start ? bytes - start : 0;
}

static void set_memory(struct rtc *rtc, const struct rtc_setup *setup)
{
    uint64_t high = min_u64(setup->above_4g / (64 * KIB), (1u << 24) - 1);
    set_word(rtc, BASE_MEMORY, BASE_KIB);
    set_word(rtc, EXTENDED_MEMORY, above(setup->below_4g, MIB) / KIB);
    set_word(rtc, EXTENDED_MEMORY2, above(setup->below_4g, MIB) / KIB);
    set_word(rtc, MEMORY_16M, above(setup->below_4g, 16 * MIB) / (64 * KIB));
    set_word(rtc, MEMORY_4G, high & UINT16_MAX);
    rtc->cell[MEMORY_4G + 2] = (uint8_t)(high >> 16);
}

static void set_sum(struct rtc *rtc)
{
    unsigned sum = 0;
    for (unsigned i = SUM_FIRST; i <= SUM_LAST; i++)
        sum += rtc->cell[i];
    rtc->cell[SUM] = (uint8_t)(sum >> 8);
    rtc->cell[SUM + 1] = (uint8_t)sum;
}

/*
 * From 1900, which for the chip is a leap year: so it begins a day early, on a Sunday, and 1970
 * begins 25568 days later.
 */
static void set_time(struct rtc *rtc, uint64_t unix_time)
{
    enum { SUNDAY = 1, EPOCH = 25568 };
    rtc->cell[DAY_OF_WEEK] = SUNDAY;
    rtc->cell[DAY_OF_MONTH] = rtc->cell[MONTH] = 1;
    rtc->cell[CENTURY] = encode(rtc, 19);
    add_seconds(rtc, (uint64_t)EPOCH * DAY + unix_time);
}

void rtc_create(struct rtc *rtc, const struct rtc_setup *setup, uint64_t now)
{
    *rtc = (struct rtc){.khz = setup->khz, .start = now, .divided = -(uint64_t)UPDATE_END};
    rtc->cell[REG_A] = A_DEFAULT;
    rtc->cell[REG_B] = B_24;
    rtc->cell[REG_D] = D_VALID;
    rtc->cell[EQUIPMENT] = EQUIPMENT_FPU;
    rtc->cell[OTHER_CPUS] = (uint8_t)(setup->cpus - 1);
    set_time(rtc, setup->unix_time);
    set_memory(rtc, setup);
    set_sum(rtc);
}

/* "RESET": SQWE and the interrupts, asked for and flagged. */
void rtc_reset(struct rtc *rtc, uint64_t now)
{
    advance(rtc, now);
    rtc->cell[REG_B] &= (uint8_t) ~(B_PIE | B_AIE | B_UIE | B_SQWE);
    rtc->cell[REG_C] = 0;
}

size_t rtc_describe(const struct rtc *rtc, char *text, size_t size)
{
    const uint8_t *c = rtc->cell;
    size_t used =
        format(text, size,
               "RTC: %02x%02x-%02x-%02x %02x:%02x:%02x, day %x, alarm "
               "%02x:%02x:%02x\n",
               c[CENTURY], c[YEAR], c[MONTH], c[DAY_OF_MONTH], c[HOURS], c[MINUTES], c[SECONDS],
               c[DAY_OF_WEEK], c[ALARM_HOURS], c[ALARM_MINUTES], c[ALARM_SECONDS]);
    return used + format(text + used, size - used, "RTC: index %02x, A %02x, B %02x, C %02x\n",
                         rtc->index, c[REG_A], c[REG_B], c[REG_C]);
}
