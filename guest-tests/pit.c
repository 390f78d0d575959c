/*
 * The PIT: how it is programmed and read, its modes, port 61h, and its rate: its counts against the
 * TSC, and its interrupts against its counts, by the 8259s and by the I/O APIC. Most of its time is
 * waiting: Bochs does less in each second.
 *
 * row: pit end=0 ips=10000000 timeout=120 control-timeout=120
 * row: pit.4 end=0 cpus=4 cmdline="only=interrupts"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/isa.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/smp.h"

enum { CHANNEL_0 = 0x40, CONTROL = 0x43, PORT_61 = 0x61, PIT_HZ = 1193182 };
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

/* The TSC just before and after a look at a count. */
struct look {
    uint64_t at, around;
    unsigned count;
};

static struct look look(void)
{
    struct look best = {0, UINT64_MAX, 0};
    for (unsigned i = 0; i < 8; i++) {
        uint64_t before = rdtsc();
        unsigned count = latched(0);
        uint64_t after = rdtsc();
        if (after - before < best.around)
            best = (struct look){before + (after - before) / 2, after - before, count};
    }
    return best;
}

/*
 * PIT cycles and TSC ticks of MS milliseconds. Looks come more often than the count begins again;
 * where something held the guest up for longer, it begins again, a few times.
 */
static bool measure(unsigned ms, uint64_t *cycles, uint64_t *ticks)
{
    uint64_t most = machine_ticks(40);
    for (unsigned tries = 0; tries < 20; tries++) {
        struct look first = look(), last = first;
        bool whole = true;
        *cycles = 0;
        while (whole && last.at - first.at < machine_ticks(ms)) {
            struct look now = look();
            whole = now.at - last.at < most;
            *cycles += (last.count - now.count) & 0xffff;
            last = now;
        }
        *ticks = last.at - first.at;
        if (whole)
            return true;
    }
    return false;
}

/* A and B differ by a thousandth of B at most. */
static bool is_same(uint64_t a, uint64_t b)
{
    return (a > b ? a - b : b - a) <= b / 1000;
}

/* Cycles by the TSC's rate as the hypervisor tells it; else those of another stretch. */
static void counts(void)
{
    uint64_t cycles, ticks, cycles_2, ticks_2;
    pit_start(2, 0);
    wait_ms(1);
    if (!measure(500, &cycles, &ticks) || !measure(700, &cycles_2, &ticks_2)) {
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

/* Ticks of the TSC for a count: told, or those that a stretch of counts has. */
static uint64_t ticks_of_count(unsigned count)
{
    uint64_t cycles, ticks;
    if (machine.nosnoop)
        return machine_ticks(1000) * count / PIT_HZ;
    pit_start(2, 0);
    wait_ms(1);
    return measure(300, &cycles, &ticks) ? ticks * count / cycles : 0;
}

/* An emulator that was held up all the time has another go. */
static void interrupts(enum way way, unsigned mode)
{
    enum { COUNT = 11932, TAKEN = 100 };
    bool right = false;
    for (unsigned i = 0; i < METER_TRIES && !right; i++) {
        meter = (struct meter){.n = TAKEN, .period = ticks_of_count(COUNT)};
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
};

void test_main(void)
{
    isa_init();
    smp_start();
    if (cmdline_has("only", "interrupts"))
        ktap_all(only_interrupts, ARRAY_SIZE(only_interrupts));
    ktap_all(cases, ARRAY_SIZE(cases));
}
