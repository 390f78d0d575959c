/*
 * The PIT: how it is programmed and read, its modes, port 61h, and its rate: its counts against the
 * TSC, and its interrupts against its counts, by the 8259s and by the I/O APIC. Most of its time is
 * waiting.
 *
 * row: pit end=0 waits=yes timeout=120 control-timeout=120
 * row: pit.real end=0 long=yes timeout=120 control-timeout=120
 * row: pit.4 end=0 cpus=4 cmdline="only=interrupts" timeout=60 control-timeout=60
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/isa.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/smp.h"

enum { CHANNEL_0 = 0x40, CONTROL = 0x43, PORT_61 = 0x61 };
enum { LATCH = 0, LOW = 0x10, HIGH = 0x20, BOTH = 0x30, BCD = 1 };
enum { STATUS_OUT = 0x80, STATUS_NULL = 0x40 };
enum { READ_BACK = 0xc0, NO_COUNT = 0x20, NO_STATUS = 0x10 };
enum { GATE_2 = 1, SPEAKER = 2, OUT_2 = 0x20 };

static void control(unsigned channel, unsigned how, unsigned mode)
{
    out8(CONTROL, (uint8_t)(channel << 6 | how | mode << 1));
}

static void write_count(unsigned channel, unsigned count)
{
    out8((uint16_t)(CHANNEL_0 + channel), (uint8_t)count);
    out8((uint16_t)(CHANNEL_0 + channel), (uint8_t)(count >> 8));
}

static unsigned read_two(unsigned channel)
{
    uint16_t port = (uint16_t)(CHANNEL_0 + channel);
    unsigned low = in8(port);
    return low | (unsigned)in8(port) << 8;
}

static unsigned latched(unsigned channel)
{
    control(channel, LATCH, 0);
    return read_two(channel);
}

static uint8_t status(unsigned channel)
{
    out8(CONTROL, (uint8_t)(READ_BACK | NO_COUNT | 2u << channel));
    return in8((uint16_t)(CHANNEL_0 + channel));
}

static void gate(bool high)
{
    out8(PORT_61, high ? GATE_2 : 0);
}

static bool out_2(void)
{
    return (in8(PORT_61) & OUT_2) != 0;
}

/* Until channel 2's output is HIGH. */
static bool wait_out(bool high)
{
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(1000);)
        if (out_2() == high)
            return true;
    return false;
}

static void wait_ms(unsigned ms)
{
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(ms);)
        cpu_relax();
}

static bool is_bare_qemu(void)
{
    return !machine.nosnoop && !machine_is_bochs();
}

static const char *needs_gate(void)
{
    return is_bare_qemu() ? "emulator: a gate that is low stops no count" : NULL;
}

static const char *needs_control_words(void)
{
    return is_bare_qemu() ? "emulator: a control word without a count changes nothing" : NULL;
}

static const char *needs_bcd(void)
{
    return is_bare_qemu() ? "emulator: counts are binary" : NULL;
}

/* --- programming ------------------------------------------------------------------------------ */

/* With its gate low, channel 2 does not count in these modes. */
static void bytes(void)
{
    gate(false);
    control(2, BOTH, 0);
    write_count(2, 0x1234);
    wait_ms(1);
    unsigned both = latched(2);
    control(2, LOW, 0);
    out8(CHANNEL_0 + 2, 0x56);
    wait_ms(1);
    unsigned low = in8(CHANNEL_0 + 2);
    control(2, HIGH, 0);
    out8(CHANNEL_0 + 2, 0x78);
    wait_ms(1);
    unsigned high = in8(CHANNEL_0 + 2);
    expect(both == 0x1234, "two bytes: %x", both);
    expect(low == 0x56, "the low byte: %x", low);
    expect(high == 0x78, "the high byte: %x", high);
}

static void latch(void)
{
    gate(true);
    control(2, BOTH, 2);
    write_count(2, 0);
    wait_ms(1);
    control(2, LATCH, 0);
    wait_ms(2);
    control(2, LATCH, 0); /* the first one counts */
    unsigned first = read_two(2), second = latched(2);
    gate(false);
    unsigned ticks = (first - second) & 0xffff;
    expect(ticks >= 2 * PIT_HZ / 1000 * 9 / 10, "%x, then %x", first, second);
}

static void read_back(void)
{
    gate(false);
    control(2, BOTH, 3);
    uint8_t fresh = status(2);
    write_count(2, 0x4321);
    wait_ms(1);
    out8(CONTROL, READ_BACK | 8);
    uint8_t loaded = in8(CHANNEL_0 + 2);
    unsigned count = read_two(2);
    expect(fresh == (STATUS_OUT | STATUS_NULL | BOTH | 3 << 1), "before a count: %x", fresh);
    expect((loaded & 0x3f) == (BOTH | 3 << 1) && (loaded & STATUS_OUT) != 0, "with one: %x",
           loaded);
    expect(count <= 0x4321, "count %x", count);
}

static bool is_bcd(unsigned value)
{
    for (; value != 0; value >>= 4)
        if ((value & 15) > 9)
            return false;
    return true;
}

static void bcd(void)
{
    gate(true);
    control(2, BOTH | BCD, 2);
    write_count(2, 0x9999);
    for (unsigned i = 0; i < 100; i++) {
        unsigned count = latched(2);
        if (!expect(is_bcd(count) && count != 0, "count %x", count))
            break;
    }
    gate(false);
}

/* --- modes ------------------------------------------------------------------------------------ */

static void mode_0(void)
{
    gate(true);
    control(2, BOTH, 0);
    bool before = out_2();
    write_count(2, 10000);
    bool counting = out_2();
    bool ends = wait_out(true);
    wait_ms(20);
    bool stays = out_2();
    control(2, BOTH, 0);
    bool again = out_2();
    gate(false);
    expect(!before && !counting && ends && stays && !again, "output %u %u %u %u %u", before,
           counting, ends, stays, again);
}

static void mode_0_gate(void)
{
    gate(true);
    control(2, BOTH, 0);
    write_count(2, 60000);
    wait_ms(1);
    gate(false);
    unsigned one = latched(2);
    wait_ms(2);
    unsigned two = latched(2);
    gate(true);
    wait_ms(2);
    unsigned three = latched(2);
    gate(false);
    expect(one == two, "with the gate low: %u, then %u", one, two);
    expect(three < two, "with the gate high again: %u, then %u", two, three);
}

static const char *needs_mode_1(void)
{
    return machine.nosnoop ? NULL : "emulator: the output before the trigger is low";
}

static void mode_1(void)
{
    gate(false);
    control(2, BOTH, 1);
    write_count(2, 10000);
    wait_ms(1);
    bool before = out_2();
    gate(true);
    bool starts = wait_out(false), ends = wait_out(true);
    gate(false);
    gate(true);
    bool again = wait_out(false);
    gate(false);
    expect(before && starts && ends && again, "output %u %u %u %u", before, starts, ends, again);
}

/* A rise begins MODE's count anew, and a fall stops nothing; false: held up for too long. */
static bool trigger_again(unsigned mode, bool out)
{
    gate(false);
    control(2, BOTH, mode);
    write_count(2, 60000);
    uint64_t start = rdtsc();
    gate(true);
    wait_ms(2);
    gate(false);
    unsigned high = latched(2);
    wait_ms(1);
    unsigned low = latched(2);
    uint64_t rise = rdtsc();
    gate(true);
    wait_ms(1);
    unsigned again = latched(2);
    bool is_out = out_2();
    if (rise - start > machine_ticks(20) || rdtsc() - rise > machine_ticks(2)) /* of 3 by LOW */
        return false;
    expect(low < high, "mode %u, with the gate low: %u, then %u", mode, high, low);
    expect(again > low && again <= 60000, "mode %u, the gate rises: %u, then %u", mode, low, again);
    expect(is_out == out || is_bare_qemu(), "mode %u: output %u", mode, is_out);
    return true;
}

static void triggers(void)
{
    bool one = false, five = false;
    for (unsigned i = 0; i < METER_TRIES; i++) {
        one = one || trigger_again(1, false);
        five = five || trigger_again(5, true);
    }
    gate(false);
    if (!one || !five)
        skip("emulator: it is held up all the time");
}

static const char *needs_trigger(void)
{
    return is_bare_qemu() ? "emulator: a count begins without its trigger" : NULL;
}

static const char *needs_strobe(void)
{
    if (needs_trigger() != NULL)
        return needs_trigger();
    return machine.nosnoop ? NULL : "emulator: its clock may step over the end of a count";
}

/*
 * A look at channel 2 a while after its gate's rise, when its count is about to end: what is left
 * of that, and below 0 after its end. Its output is low while that is 0.
 */
static int16_t look_at_strobe(uint64_t after, unsigned *wrong)
{
    gate(false);
    gate(true);
    uint64_t start = rdtsc();
    while (rdtsc() - start < after)
        cpu_relax();
    out8(CONTROL, READ_BACK | 8);
    bool high = (in8(CHANNEL_0 + 2) & STATUS_OUT) != 0;
    int16_t left = (int16_t)read_two(2);
    if (rdtsc() - start < machine_ticks(20))
        *wrong += high == (left == 0);
    return left;
}

/* Cycles by which the next look is to be later; one that was far too late had been held up. */
static int32_t later_by(int16_t left)
{
    enum { NEAR = 64, SHARE = 8 };
    if (left > NEAR)
        return left;
    return (left < -NEAR ? -NEAR : left) / SHARE;
}

/* Each look tells when the next is to be. */
static void mode_5(void)
{
    enum { COUNT = 1500 };
    uint64_t cycle = machine_ticks(1000) / PIT_HZ, least = cycle * COUNT / 4, after = least;
    unsigned wrong = 0, seen = 0, looks = 0;
    gate(false);
    control(2, BOTH, 5);
    write_count(2, COUNT);
    wait_ms(5);
    uint8_t idle = status(2);
    for (uint64_t start = rdtsc(); seen == 0 && rdtsc() - start < machine_ticks(20000);) {
        int16_t left = look_at_strobe(after, &wrong);
        seen += left == 0;
        after += isa_random() % (2 * cycle) + (uint64_t)((int64_t)cycle * (later_by(left) - 1));
        after = after < least || after > 8 * least ? least : after;
        looks++;
    }
    gate(false);
    expect(idle == (STATUS_OUT | STATUS_NULL | BOTH | 5 << 1), "before the gate rises: %x", idle);
    expect(seen != 0 && wrong == 0, "%u strobes seen, %u of %u looks wrong", seen, wrong, looks);
}

/* The gate of channel 0 is always high: what needs its rise never ends. */
static void never_triggered(void)
{
    for (unsigned mode = 1; mode <= 5; mode += 4) {
        isa_open(IRQ_PIT, BY_PIC, false);
        control(0, BOTH, mode); /* its output is high from here on: perhaps an edge */
        isa_let_in();
        isa_clear();
        write_count(0, 1000);
        for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(10);)
            sti_nop_cli();
        isa_close(IRQ_PIT);
        expect(isa_taken[IRQ_PIT] == 0, "mode %u: taken %u times", mode, isa_taken[IRQ_PIT]);
    }
}

/* Counts only stay within the period, and begin again. */
static void mode_2(void)
{
    enum { WRAPS = 4 };
    unsigned most = 0, wraps = 0, last = 0;
    gate(true);
    control(2, BOTH, 2);
    write_count(2, 1000);
    for (uint64_t start = rdtsc(); wraps < WRAPS && rdtsc() - start < machine_ticks(1000);) {
        unsigned count = latched(2);
        most = count > most ? count : most;
        wraps += count > last;
        last = count;
    }
    gate(false);
    expect(most <= 1000 && wraps == WRAPS, "at most %u, %u times from the start", most, wraps);
}

/* Half of the time high: for long, and by many looks. */
static void mode_3(void)
{
    enum { LOOKS = 1000 };
    unsigned high = 0, all = 0;
    gate(true);
    control(2, BOTH, 3);
    write_count(2, 2000);
    for (uint64_t start = rdtsc(); all < LOOKS || rdtsc() - start < machine_ticks(200); all++)
        high += out_2();
    gate(false);
    bool stays = out_2();
    expect(high * 100ull > all * 40ull && high * 100ull < all * 60ull, "%u of %u high", high, all);
    expect(stays, "low with the gate low");
}

/* The end of the count: one interrupt, and no other. */
static void strobe(void)
{
    isa_open(IRQ_PIT, BY_PIC, false);
    control(0, BOTH, 4); /* its output is high from here on: perhaps an edge */
    isa_let_in();
    isa_clear();
    write_count(0, 5000);
    isa_wait(IRQ_PIT, 1);
    wait_ms(20);
    isa_let_in();
    isa_close(IRQ_PIT);
    expect(isa_taken[IRQ_PIT] == 1, "taken %u times", isa_taken[IRQ_PIT]);
}

static void one_shot(enum way way)
{
    isa_clear();
    isa_open(IRQ_PIT, way, false);
    for (unsigned i = 1; i <= 20; i++) {
        pit_start(0, (uint16_t)(500 * i));
        isa_wait(IRQ_PIT, i);
    }
    wait_ms(10);
    isa_let_in();
    isa_close(IRQ_PIT);
    expect(isa_taken[IRQ_PIT] == 20, "taken %u times, of 20", isa_taken[IRQ_PIT]);
}

static void one_shots(void)
{
    one_shot(BY_PIC);
    one_shot(BY_IOAPIC);
}

static void start_count(unsigned cpu)
{
    (void)cpu;
    pit_start(0, 3000);
}

/* The first CPU halts while another one makes it due. */
static void started_by_others(enum way way)
{
    unsigned others = smp_count() - 1, all = 4 * others;
    pit_start(0, 0);
    isa_open(IRQ_PIT, way, false);
    isa_let_in();
    isa_clear();
    for (unsigned i = 1; i <= all; i++) {
        unsigned cpu = 1 + i % others;
        smp_begin(cpu, start_count);
        while (isa_taken[IRQ_PIT] < i)
            __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
        smp_wait(cpu);
    }
    isa_close(IRQ_PIT);
    expect(isa_taken[IRQ_PIT] == all, "taken %u times, of %u", isa_taken[IRQ_PIT], all);
}

static void others(void)
{
    started_by_others(BY_PIC);
    started_by_others(BY_IOAPIC);
}

/* --- rates ------------------------------------------------------------------------------------ */

/* A and B differ by a thousandth of B at most. */
static bool is_same(uint64_t a, uint64_t b)
{
    return (a > b ? a - b : b - a) <= b / 1000;
}

/* Cycles by the TSC's rate as the hypervisor tells it; else those of another stretch. */
static void counts(void)
{
    uint64_t cycles, ticks, cycles_2, ticks_2;
    if (!pit_measure(500, &cycles, &ticks) || !pit_measure(700, &cycles_2, &ticks_2)) {
        skip("emulator: it is held up all the time");
        return;
    }
    expect(is_same(cycles * (ticks_2 / 1000), cycles_2 * (ticks / 1000)),
           "%lu cycles in %lu ticks, %lu in %lu", cycles, ticks, cycles_2, ticks_2);
    uint64_t wanted = ticks * PIT_HZ / 1000 / machine_ticks(1);
    if (machine.nosnoop)
        expect(is_same(cycles, wanted), "%lu cycles, not %lu", cycles, wanted);
}

static struct meter meter;

static void note_time(unsigned irq)
{
    (void)irq;
    isa_note(&meter);
}

/* An emulator that was held up all the time has another go. */
static void interrupts(enum way way, unsigned mode)
{
    enum { COUNT = 11932, TAKEN = 100 };
    bool right = false;
    for (unsigned i = 0; i < METER_TRIES && !right; i++) {
        meter = (struct meter){.n = TAKEN, .period = pit_second() * COUNT / PIT_HZ};
        if (meter.period == 0)
            continue;
        isa_clear();
        isa_hook = note_time;
        pit_start(mode, COUNT);
        isa_open(IRQ_PIT, way, false);
        for (unsigned n = 1; n <= TAKEN && isa_wait(IRQ_PIT, n); n++)
            ;
        isa_close(IRQ_PIT);
        right = isa_has_rate(&meter);
    }
    expect(right, "%u taken in %lu ticks, not each %lu; %ld and %ld late", meter.taken,
           meter.last - meter.first, meter.period, meter.least[0].late, meter.least[1].late);
}

static void rate_by_pic(void)
{
    interrupts(BY_PIC, 2);
}

static void rate_by_ioapic(void)
{
    interrupts(BY_IOAPIC, 2);
}

static void square_by_pic(void)
{
    interrupts(BY_PIC, 3);
}

/* All of them come, and in HLT too. */
static void halting(void)
{
    enum { TIMES = 50 };
    isa_clear();
    pit_start(2, 5966);
    isa_open(IRQ_PIT, BY_IOAPIC, false);
    for (unsigned i = 0; i < TIMES; i++)
        __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
    isa_close(IRQ_PIT);
    expect(isa_taken[IRQ_PIT] >= TIMES && isa_odd == 0, "taken %u times, %u others",
           isa_taken[IRQ_PIT], isa_odd);
}

static void speaker(void)
{
    out8(PORT_61, SPEAKER);
    unsigned on = in8(PORT_61);
    out8(PORT_61, 0);
    unsigned off = in8(PORT_61);
    expect((on & 3) == SPEAKER && (off & 3) == 0, "%x, %x", on, off);
    uint64_t start = rdtsc();
    bool high = false, low = false;
    while (!(high && low) && rdtsc() - start < machine_ticks(1000))
        *((in8(PORT_61) & 0x10) != 0 ? &high : &low) = true;
    expect(high && low, "refresh does not toggle");
}

static const struct test_case cases[] = {
    {"bytes", needs_gate, bytes},
    {"latch", NULL, latch},
    {"read-back", needs_control_words, read_back},
    {"BCD", needs_bcd, bcd},
    {"mode 0", needs_control_words, mode_0},
    {"mode 0 and the gate", needs_gate, mode_0_gate},
    {"mode 1", needs_mode_1, mode_1},
    {"modes 1 and 5: a trigger begins anew", NULL, triggers},
    {"mode 5", needs_strobe, mode_5},
    {"modes 1 and 5 without a trigger", needs_trigger, never_triggered},
    {"mode 2", NULL, mode_2},
    {"mode 3", needs_gate, mode_3},
    {"mode 4", NULL, strobe},
    {"port 61h", NULL, speaker},
    {"one interrupt a count", NULL, one_shots},
    {"started by other CPUs", needs_two_cpus, others},
    {"wakes from HLT", NULL, halting},
    {"rate of its counts", NULL, counts},
    {"rate of interrupts by the 8259s", NULL, rate_by_pic},
    {"rate of interrupts by the I/O APIC", NULL, rate_by_ioapic},
    {"rate of mode 3", NULL, square_by_pic},
};

static const struct test_case only_interrupts[] = {
    {"started by other CPUs", needs_two_cpus, others},
    {"one interrupt a count", NULL, one_shots},
    {"rate of its counts", NULL, counts},
    {"rate of interrupts by the I/O APIC", NULL, rate_by_ioapic},
};

void test_main(void)
{
    isa_init();
    smp_start();
    if (cmdline_has("only", "interrupts"))
        ktap_all(only_interrupts, ARRAY_SIZE(only_interrupts));
    ktap_all(cases, ARRAY_SIZE(cases));
}
