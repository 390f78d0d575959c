/*
 * The real-time clock: its time in all formats, how it is set and read, its three interrupts by the
 * 8259s and by the I/O APIC, its RAM, and its rates against the TSC or, where that is not told, the
 * PIT. Most of its time is waiting.
 *
 * row: rtc end=0 waits=yes timeout=120 control-timeout=120
 * row: rtc.real end=0 long=yes timeout=120 control-timeout=120
 * row: rtc.4 end=0 cpus=4 cmdline="only=interrupts" timeout=60 control-timeout=60
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/isa.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/smp.h"
#include "lib/string.h"

enum { SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, WEEKDAY, DAY, MONTH };
enum { YEAR = 9, A, B, C, D, CENTURY = 0x32, FREE = 0x50 };
enum { UIP = 0x80, RATE_1024 = 0x26, RATE_64 = 0x2a, VRT = 0x80 };
enum { SET = 0x80, PIE = 0x40, AIE = 0x20, UIE = 0x10, BINARY = 4, HOURS_24 = 2, PM = 0x80 };
enum { ANY = 0xc0 };

static const char *needs_setting(void)
{
    return !machine.nosnoop && machine_is_bochs() ? "emulator: an hour is lost where time is set"
                                                  : NULL;
}

static const char *needs_flags(void)
{
    return machine.nosnoop ? NULL : "emulator: flags come only with their interrupts";
}

/* --- the time --------------------------------------------------------------------------------- */

struct time {
    unsigned second, minute, hour, day, month, year;
};

static unsigned decimal(uint8_t value)
{
    return (rtc_get(B) & BINARY) != 0 ? value : (unsigned)(value >> 4) * 10 + (value & 15);
}

static unsigned coded(unsigned value)
{
    return (rtc_get(B) & BINARY) != 0 ? value : value / 10 << 4 | value % 10;
}

static struct time read_once(void)
{
    for (uint64_t start = rdtsc(); (rtc_get(A) & UIP) != 0;)
        if (rdtsc() - start > machine_ticks(100))
            break;
    return (struct time){decimal(rtc_get(SECONDS)), decimal(rtc_get(MINUTES)),
                         decimal(rtc_get(HOURS)),   decimal(rtc_get(DAY)),
                         decimal(rtc_get(MONTH)),   decimal(rtc_get(YEAR))};
}

/* Until two readings agree: for 24 hours. */
static struct time read_time(void)
{
    struct time last, now = read_once();
    do {
        last = now;
        now = read_once();
    } while (memcmp(&last, &now, sizeof(now)) != 0);
    return now;
}

static void stop(unsigned b)
{
    rtc_put(B, SET | b);
}

static void write_time(const struct time *t)
{
    rtc_put(SECONDS, coded(t->second));
    rtc_put(MINUTES, coded(t->minute));
    rtc_put(HOURS, coded(t->hour));
    rtc_put(DAY, coded(t->day));
    rtc_put(MONTH, coded(t->month));
    rtc_put(YEAR, coded(t->year));
}

/* Until the seconds are others; false: for long they are not. */
static bool wait_for_second(void)
{
    uint8_t old = rtc_get(SECONDS);
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(5000);)
        if (rtc_get(SECONDS) != old)
            return true;
    return false;
}

static void as_found(void)
{
    uint8_t b = rtc_get(B), d = rtc_get(D);
    struct time t = read_time();
    expect((b & (SET | PIE | AIE | UIE | BINARY)) == 0 && (b & HOURS_24) != 0, "register B: %x", b);
    expect((d & VRT) != 0, "register D: %x", d);
    expect((rtc_get(A) & 0x7f) == RATE_1024, "register A: %x", rtc_get(A));
    expect(t.second < 60 && t.minute < 60 && t.hour < 24 && t.day >= 1 && t.day <= 31 &&
               t.month >= 1 && t.month <= 12 && t.year >= 24 && t.year < 99,
           "%u-%u-%u %u:%u:%u", t.year, t.month, t.day, t.hour, t.minute, t.second);
    expect(rtc_get(CENTURY) == 0x20, "century %x", rtc_get(CENTURY));
}

static void formats(void)
{
    static const struct time noon = {59, 59, 12, 28, 2, 24};
    stop(HOURS_24);
    write_time(&noon);
    uint8_t bcd = rtc_get(SECONDS);
    struct time back = read_time();
    stop(BINARY | HOURS_24);
    write_time(&noon);
    uint8_t binary = rtc_get(SECONDS);
    rtc_put(B, HOURS_24);
    expect(bcd == 0x59 && binary == 59, "%x, %x", bcd, binary);
    expect(memcmp(&back, &noon, sizeof(back)) == 0, "%u-%u-%u %u:%u:%u", back.year, back.month,
           back.day, back.hour, back.minute, back.second);
}

/* From the last second of one day to the first of the next. */
static void turn(const char *what, const struct time *from, const struct time *to)
{
    stop(HOURS_24);
    write_time(from);
    rtc_put(B, HOURS_24);
    bool turns = wait_for_second();
    struct time t = read_time();
    expect(turns && t.hour == to->hour && t.minute == to->minute && t.day == to->day &&
               t.month == to->month && t.year == to->year,
           "%s: %u-%u-%u %u:%u:%u", what, t.year, t.month, t.day, t.hour, t.minute, t.second);
}

static void turns(void)
{
    static const struct time leap[] = {{59, 59, 23, 28, 2, 28}, {0, 0, 0, 29, 2, 28}};
    static const struct time years[] = {{59, 59, 23, 31, 12, 26}, {0, 0, 0, 1, 1, 27}};
    struct time kept = read_time();
    turn("leap year", &leap[0], &leap[1]);
    turn("year", &years[0], &years[1]);
    stop(HOURS_24);
    write_time(&kept);
    rtc_put(B, HOURS_24);
}

static void twelve_hours(void)
{
    stop(0);
    rtc_put(SECONDS, 0x59);
    rtc_put(MINUTES, 0x59);
    rtc_put(HOURS, 0x11);
    rtc_put(B, 0);
    bool turns = wait_for_second();
    uint8_t noon = rtc_get(HOURS);
    stop(0);
    rtc_put(SECONDS, 0x59);
    rtc_put(MINUTES, 0x59);
    rtc_put(HOURS, PM | 0x12);
    rtc_put(B, 0);
    turns = wait_for_second() && turns;
    uint8_t one = rtc_get(HOURS);
    stop(HOURS_24);
    rtc_put(HOURS, 0x13);
    rtc_put(B, HOURS_24);
    expect(turns && noon == (PM | 0x12) && one == (PM | 0x01), "%x, then %x", noon, one);
}

static void held(void)
{
    stop(HOURS_24);
    rtc_put(SECONDS, 0x30);
    machine_spin(1500);
    uint8_t seconds = rtc_get(SECONDS), a = rtc_get(A);
    rtc_put(B, HOURS_24);
    expect(seconds == 0x30 && (a & UIP) == 0, "second %x, A %x", seconds, a);
}

static void ram(void)
{
    uint8_t old[16];
    unsigned wrong = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(old); i++) {
        old[i] = rtc_get(FREE + i);
        rtc_put(FREE + i, 0xa0 ^ i * 3);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(old); i++) {
        wrong += rtc_get(FREE + i) != (uint8_t)(0xa0 ^ i * 3);
        rtc_put(FREE + i, old[i]);
    }
    expect(wrong == 0, "%u bytes", wrong);
}

/* --- interrupts ------------------------------------------------------------------------------- */

static volatile uint8_t causes;
static struct meter meter; /* counts if it has a period */

static void on_rtc(unsigned irq)
{
    if (irq != IRQ_RTC)
        return;
    if (meter.period != 0)
        isa_note(&meter);
    causes |= rtc_get(C);
}

static void begin(enum way way, uint8_t b)
{
    rtc_put(B, HOURS_24);
    isa_open(IRQ_RTC, way, false);
    rtc_get(C);
    isa_let_in(); /* an edge that an 8259 may still have */
    isa_clear();
    causes = 0;
    isa_hook = on_rtc;
    rtc_put(B, HOURS_24 | b);
}

/* A bare machine's 8259 may find its request masked or gone when the CPU acknowledges it. */
static void end(void)
{
    rtc_put(B, HOURS_24);
    rtc_get(C);
    isa_close(IRQ_RTC);
    expect(isa_odd == 0, "%u others", isa_odd);
    if (machine.nosnoop)
        expect(isa_spurious == 0, "%u spurious", isa_spurious);
}

static void periodic(enum way way)
{
    rtc_put(A, RATE_1024);
    begin(way, PIE);
    bool comes = true;
    for (unsigned n = 1; n <= 50 && comes; n++)
        comes = isa_wait(IRQ_RTC, n);
    end();
    expect(comes && (causes & 0xc0) == 0xc0, "taken %u times, causes %x", isa_taken[IRQ_RTC],
           causes);
}

static void periodics(void)
{
    periodic(BY_PIC);
    periodic(BY_IOAPIC);
}

static void enable_periodic(unsigned cpu)
{
    (void)cpu;
    rtc_put(B, HOURS_24 | PIE);
}

/* The first CPU halts while another one enables what it takes. */
static void enabled_by_other(unsigned cpu, enum way way)
{
    begin(way, 0);
    smp_begin(cpu, enable_periodic);
    while (isa_taken[IRQ_RTC] < 5)
        __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
    smp_wait(cpu);
    end();
    expect((causes & 0xc0) == 0xc0, "CPU %u: causes %x", cpu, causes);
}

static void others(void)
{
    rtc_put(A, RATE_1024);
    for (unsigned cpu = 1; cpu < smp_count(); cpu++) {
        enabled_by_other(cpu, BY_PIC);
        enabled_by_other(cpu, BY_IOAPIC);
    }
}

/* Once a second, when the time is new. */
static void updates(void)
{
    begin(BY_PIC, UIE);
    bool comes = isa_wait(IRQ_RTC, 1);
    uint8_t before = rtc_get(SECONDS);
    comes = isa_wait(IRQ_RTC, 2) && comes;
    uint8_t after = rtc_get(SECONDS);
    end();
    expect(comes && (causes & 0x90) == 0x90, "taken %u times, causes %x", isa_taken[IRQ_RTC],
           causes);
    expect(before != after, "second %x, and again", before);
}

static void alarm_at(unsigned second, unsigned minute, unsigned hour)
{
    rtc_put(SECONDS_ALARM, second);
    rtc_put(MINUTES_ALARM, minute);
    rtc_put(HOURS_ALARM, hour);
}

static void alarms(void)
{
    static const struct time t = {58, 59, 9, 5, 6, 26};
    struct time kept = read_time();
    stop(HOURS_24);
    write_time(&t);
    alarm_at(0, 0, 0x10);
    begin(BY_IOAPIC, AIE);
    bool comes = isa_wait(IRQ_RTC, 1) || isa_wait(IRQ_RTC, 1);
    uint8_t hour = rtc_get(HOURS);
    end();
    uint8_t exact = causes;
    alarm_at(ANY, ANY, ANY);
    begin(BY_IOAPIC, AIE);
    bool all = isa_wait(IRQ_RTC, 1) && isa_wait(IRQ_RTC, 2);
    end();
    alarm_at(0, 0, 0);
    stop(HOURS_24);
    write_time(&kept);
    rtc_put(B, HOURS_24);
    expect(comes && hour == 0x10 && (exact & 0xa0) == 0xa0, "hour %x, causes %x", hour, exact);
    expect(all, "not each second: %u", isa_taken[IRQ_RTC]);
}

/* What is asked for by polling, with no interrupt enabled. */
static void flags(void)
{
    rtc_put(B, HOURS_24);
    rtc_put(A, RATE_1024);
    rtc_get(C);
    uint8_t seen = 0;
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(2000) && (seen & 0x50) != 0x50;)
        seen |= rtc_get(C);
    expect((seen & 0x50) == 0x50 && (seen & 0x80) == 0, "register C: %x", seen);
}

/* Register C that is not read holds the line: no other interrupt. */
static void unread(void)
{
    rtc_put(A, RATE_1024);
    begin(BY_PIC, PIE);
    isa_hook = NULL;
    bool comes = isa_wait(IRQ_RTC, 1);
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(20);)
        sti_nop_cli();
    uint32_t without = isa_taken[IRQ_RTC];
    rtc_get(C);
    bool again = isa_wait(IRQ_RTC, 2);
    end();
    expect(comes && without == 1, "taken %u times", without);
    expect(again, "no other after register C was read");
}

/* --- rates ------------------------------------------------------------------------------------ */

/* An emulator that was held up all the time has another go. */
static void rate(unsigned a, unsigned hz, unsigned n)
{
    bool right = false;
    for (unsigned i = 0; i < METER_TRIES && !right; i++) {
        meter = (struct meter){.n = n, .period = pit_second() / hz};
        if (meter.period == 0)
            continue;
        rtc_put(A, a);
        begin(BY_IOAPIC, PIE);
        for (unsigned k = 1; k <= n && isa_wait(IRQ_RTC, k); k++)
            ;
        end();
        rtc_put(A, RATE_1024);
        right = isa_has_rate(&meter);
    }
    expect(right, "%u taken in %lu ticks, not each %lu; %ld and %ld late", meter.taken,
           meter.last - meter.first, meter.period, meter.least[0].late, meter.least[1].late);
    meter.period = 0;
}

static void slow_rate(void)
{
    rate(RATE_64, 64, 50);
}

static void fast_rate(void)
{
    rate(RATE_1024, 1024, 800);
}

/* When a second begins: after BEFORE, and until AFTER. */
struct edge {
    uint64_t before, after;
};

static struct edge next_second(void)
{
    uint8_t old = rtc_get(SECONDS);
    struct edge edge = {rdtsc(), 0};
    for (uint64_t start = edge.before; rdtsc() - start < machine_ticks(5000);) {
        uint64_t before = rdtsc();
        bool begins = rtc_get(SECONDS) != old;
        edge.after = rdtsc();
        if (begins)
            break;
        edge.before = before;
    }
    return edge;
}

/* It lies between bounds; an emulator that was held up at an edge has another go. */
static void seconds(void)
{
    enum { TRIES = 5 };
    uint64_t least = 0, most = 0, wanted = pit_second();
    if (wanted == 0) {
        skip("emulator: it is held up all the time");
        return;
    }
    for (unsigned i = 0; i < TRIES && (i == 0 || most - least > wanted / 1000); i++) {
        struct edge first = next_second(), last = next_second();
        least = last.before - first.after;
        most = last.after - first.before;
        expect(wanted + wanted / 1000 > least && wanted - wanted / 1000 < most,
               "a second has %lu to %lu ticks, not %lu", least, most, wanted);
    }
}

static const struct test_case cases[] = {
    {"as it is found", NULL, as_found},
    {"BCD and binary", NULL, formats},
    {"12 hours", needs_setting, twelve_hours},
    {"days, months and years", needs_setting, turns},
    {"held while it is set", NULL, held},
    {"RAM", NULL, ram},
    {"flags", needs_flags, flags},
    {"periodic interrupt", NULL, periodics},
    {"enabled by other CPUs", needs_two_cpus, others},
    {"update interrupt", NULL, updates},
    {"alarm", needs_setting, alarms},
    {"register C unread", NULL, unread},
    {"rate of 64 Hz", NULL, slow_rate},
    {"rate of 1024 Hz", NULL, fast_rate},
    {"length of a second", NULL, seconds},
};

static const struct test_case only_interrupts[] = {
    {"periodic interrupt", NULL, periodics},
    {"enabled by other CPUs", needs_two_cpus, others},
    {"register C unread", NULL, unread},
    {"rate of 64 Hz", NULL, slow_rate},
};

void test_main(void)
{
    isa_init();
    smp_start();
    if (cmdline_has("only", "interrupts"))
        ktap_all(only_interrupts, ARRAY_SIZE(only_interrupts));
    ktap_all(cases, ARRAY_SIZE(cases));
}
