/*
 * The devices of a PC, each by one way to its interrupt at least: 8259s, I/O APIC (edge and level,
 * in both modes of the local APIC), PIT, serial port, RTC, PM timer, fw_cfg, and the tables of the
 * firmware. And a guest that halts while a device can wake it, and for good when none can.
 *
 * row: devices end=0
 * row: devices.4 end=0 cpus=4
 * row: devices.off end=0 plan=no cmdline="end=off" control=skip
 *      control-reason="a bare machine would be off"
 * row: devices.masked end=126 stopped="halted for good" cmdline="end=masked" control=124
 *      control-timeout=3
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/interrupt.h"
#include "guest-tests/runtime/isa.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"

enum { VECTOR_MASTER = 0x30, VECTOR_SLAVE = 0x38, VECTOR_IOAPIC = 0x50, TICKS = 10 };
enum { RATE = 500, COM1 = 0x3f8, PM_TIMER = 0x608, PM_HZ = 3579545 };

#define IOAPIC     0xfec00000ull
#define RTE_LEVEL  0x8000u
#define RTE_MASKED 0x10000u

static volatile unsigned taken, wrong;
static unsigned expected; /* the vector */
static void (*serve)(void);

static void take(struct interrupt_frame *frame)
{
    taken++;
    if (frame->vector != expected)
        wrong = (unsigned)frame->vector;
    if (serve != NULL)
        serve();
    if (frame->vector >= VECTOR_IOAPIC)
        apic_set(EOI, 0);
    else if (frame->vector >= VECTOR_SLAVE)
        out8(0xa0, 0x20);
    if (frame->vector < VECTOR_IOAPIC)
        out8(0x20, 0x20);
}

static void pin(unsigned number, uint32_t low)
{
    *(volatile uint32_t *)IOAPIC = 0x11 + 2 * number;
    *(volatile uint32_t *)(IOAPIC + 0x10) = 0;
    *(volatile uint32_t *)IOAPIC = 0x10 + 2 * number;
    *(volatile uint32_t *)(IOAPIC + 0x10) = low;
}

static void init_8259s(unsigned master_mask)
{
    static const uint8_t words[][2] = {{0x11, 0x11}, {VECTOR_MASTER, VECTOR_SLAVE}, {4, 2}, {1, 1}};
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
        out8(i == 0 ? 0x20 : 0x21, words[i][0]);
        out8(i == 0 ? 0xa0 : 0xa1, words[i][1]);
    }
    out8(0x21, (uint8_t)master_mask);
    out8(0xa1, 0xff);
}

static void start_pit(void)
{
    out8(0x43, 0x34);
    out8(0x40, (uint8_t)(PIT_HZ / RATE));
    out8(0x40, PIT_HZ / RATE / 256);
}

static void fresh(unsigned vector)
{
    cli();
    serve = NULL;
    apic_enable();
    out8(0x21, 0xff);
    out8(0xa1, 0xff);
    pin(2, RTE_MASKED);
    pin(4, RTE_MASKED);
    pin(8, RTE_MASKED);
    sti_nop_cli(); /* what is still on its way */
    taken = wrong = 0;
    expected = vector;
}

/* Waits with interrupts on until N are taken, or two seconds have gone by. */
static void wait_for(unsigned n)
{
    uint64_t end = rdtsc() + machine_ticks(2000);
    sti();
    while (taken < n && rdtsc() < end)
        cpu_relax();
    cli();
    expect(taken >= n, "%u taken, of %u", taken, n);
    expect(wrong == 0, "vector %x, not %x", wrong, expected);
}

static void pit_by_8259(void)
{
    fresh(VECTOR_MASTER);
    apic_set(LVT_LINT0, 0x700);
    start_pit();
    init_8259s(0xfe);
    wait_for(TICKS);
}

static void pit_without_apic(void)
{
    fresh(VECTOR_MASTER);
    wrmsr(MSR_APIC_BASE, BASE_OFF);
    start_pit();
    init_8259s(0xfe);
    wait_for(TICKS);
    out8(0x21, 0xff);
    wrmsr(MSR_APIC_BASE, BASE_XAPIC);
}

static void pit_by_ioapic(void)
{
    fresh(VECTOR_IOAPIC);
    start_pit();
    pin(2, VECTOR_IOAPIC);
    wait_for(TICKS);
}

static void halt_for(void (*start)(void), unsigned vector)
{
    fresh(vector);
    start();
    while (taken < TICKS)
        __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
    expect(wrong == 0, "vector %x", wrong);
}

static void by_8259(void)
{
    apic_set(LVT_LINT0, 0x700);
    start_pit();
    init_8259s(0xfe);
}

static void by_ioapic(void)
{
    start_pit();
    pin(2, VECTOR_IOAPIC);
}

static void halts(void)
{
    halt_for(by_8259, VECTOR_MASTER);
    halt_for(by_ioapic, VECTOR_IOAPIC);
}

/* --- the serial port, in loopback ------------------------------------------------------------- */

static void start_loop(void)
{
    out8(COM1 + 4, 0x18); /* OUT2 */
    while ((in8(COM1 + 5) & 1) != 0)
        (void)in8(COM1);
    (void)in8(COM1 + 6);
    (void)in8(COM1 + 2);
    out8(COM1 + 1, 1);
    out8(COM1, 'x');
}

static void end_loop(void)
{
    out8(COM1 + 1, 0);
    out8(COM1 + 4, 0x03);
}

static unsigned iir, data;

static void read_com(void)
{
    iir = in8(COM1 + 2) & 0x3f;
    data = in8(COM1);
}

/* Leaves its cause the first time. */
static void read_com_later(void)
{
    if (taken == 3)
        read_com();
}

/* A bare QEMU that is held up tells of a time-out, even without FIFOs. */
static void expect_com(unsigned n)
{
    enum { RECEIVED = 4, TIMED_OUT = 0xc };
    bool told = iir == RECEIVED || (iir == TIMED_OUT && !machine.nosnoop);
    expect(told && data == 'x', "IIR %x, data %x", iir, data);
    expect(taken == n, "%u taken, not %u", taken, n);
}

static void com_by_8259(void)
{
    fresh(VECTOR_MASTER + 4);
    serve = read_com;
    apic_set(LVT_LINT0, 0x700);
    init_8259s(0xef);
    start_loop();
    wait_for(1);
    end_loop();
    expect_com(1);
}

static void com_by_ioapic(void)
{
    fresh(VECTOR_IOAPIC + 4);
    serve = read_com;
    pin(4, VECTOR_IOAPIC + 4);
    start_loop();
    wait_for(1);
    end_loop();
    expect_com(1);
}

static void com_by_level(void)
{
    fresh(VECTOR_IOAPIC + 4);
    serve = read_com_later;
    pin(4, (VECTOR_IOAPIC + 4) | RTE_LEVEL);
    start_loop();
    wait_for(3);
    end_loop();
    sti_nop_cli();
    expect_com(3);
}

static void com_by_level_x2(void)
{
    fresh(0);
    wrmsr(MSR_APIC_BASE, BASE_X2APIC);
    apic_x2 = true;
    com_by_level();
    wrmsr(MSR_APIC_BASE, BASE_OFF);
    wrmsr(MSR_APIC_BASE, BASE_XAPIC);
    apic_x2 = false;
    apic_enable();
}

/* --- the RTC ---------------------------------------------------------------------------------- */

static void read_rtc(void)
{
    (void)rtc_get(RTC_C);
}

static void rtc_by(unsigned vector)
{
    serve = read_rtc;
    (void)rtc_get(RTC_C);
    rtc_put(RTC_A, 0x26);
    rtc_put(RTC_B, rtc_get(RTC_B) | RTC_PERIODIC);
    wait_for(TICKS);
    rtc_put(RTC_B, rtc_get(RTC_B) & 0x0fu);
    expect(expected == vector, "%x", vector);
}

static void rtc_by_8259(void)
{
    fresh(VECTOR_SLAVE);
    apic_set(LVT_LINT0, 0x700);
    init_8259s(0xfb);
    out8(0xa1, 0xfe);
    rtc_by(VECTOR_SLAVE);
}

static void rtc_by_ioapic(void)
{
    fresh(VECTOR_IOAPIC + 8);
    pin(8, VECTOR_IOAPIC + 8);
    rtc_by(VECTOR_IOAPIC + 8);
}

/* --- what has no interrupt -------------------------------------------------------------------- */

/* It may be held up between two reads: the ticks lie in what is between and what is around them. */
static void pm_timer(void)
{
    uint64_t second = machine_ticks(1000), before = rdtsc();
    uint32_t first = in32(PM_TIMER);
    uint64_t start = rdtsc();
    while (rdtsc() - start < second / 50)
        cpu_relax();
    uint64_t end = rdtsc();
    uint64_t ticks = in32(PM_TIMER) - first;
    uint64_t most = (rdtsc() - before) * PM_HZ / second, least = (end - start) * PM_HZ / second;
    expect(ticks * 100 > least * 95 && ticks * 100 < most * 105, "%lu ticks, not %lu to %lu", ticks,
           least, most);
}

static void fw_cfg(void)
{
    static const char signature[] = "QEMU";
    out16(0x510, 0);
    for (unsigned i = 0; i < 4; i++)
        expect(in8(0x511) == (uint8_t)signature[i], "byte %u", i);
    out16(0x510, 5);
    unsigned cpus = in8(0x511);
    expect(cpus >= 1 && cpus <= 64, "%u CPUs", cpus);
}

static const uint8_t *find(const char *signature, unsigned size)
{
    for (const uint8_t *at = (const uint8_t *)0xe0000; at < (const uint8_t *)0x100000; at += 16) {
        unsigned same = 0, sum = 0;
        while (signature[same] != '\0' && at[same] == (uint8_t)signature[same])
            same++;
        for (unsigned i = 0; i < size; i++)
            sum += at[i];
        if (signature[same] == '\0' && sum % 256 == 0)
            return at;
    }
    return NULL;
}

static void tables(void)
{
    expect(find("RSD PTR ", 20) != NULL, "no RSDP");
    expect(find("_MP_", 16) != NULL, "no MP table");
}

static const char *needs_pins(void)
{
    return *(volatile uint32_t *)IOAPIC != 0xffffffff ? NULL : "no I/O APIC";
}

static uint8_t first_mask;

/* Firmware leaves the slave's input open: kernels that keep the masks open the slave's alone. */
static void cascade_open(void)
{
    expect((first_mask & 1 << 2) == 0, "masked at the start: %x", first_mask);
}

static const struct test_case cases[] = {
    {"the cascade is open at the start", NULL, cascade_open},
    {"PIT by the 8259s", NULL, pit_by_8259},
    {"PIT by the 8259s, the local APIC being off", needs_nosnoop, pit_without_apic},
    {"PIT by the I/O APIC", needs_pins, pit_by_ioapic},
    {"HLT ends by either", needs_pins, halts},
    {"serial port by the 8259s", NULL, com_by_8259},
    {"serial port by the I/O APIC", needs_pins, com_by_ioapic},
    {"serial port by the I/O APIC, level-triggered", needs_pins, com_by_level},
    {"the same in x2APIC mode", needs_nosnoop, com_by_level_x2},
    {"RTC by the 8259s", NULL, rtc_by_8259},
    {"RTC by the I/O APIC", needs_pins, rtc_by_ioapic},
    {"PM timer", needs_nosnoop, pm_timer},
    {"fw_cfg", needs_nosnoop, fw_cfg},
    {"tables of the firmware", NULL, tables},
};

void test_main(void)
{
    first_mask = in8(0x21);
    interrupt_init();
    interrupt_hook = take;
    if (cmdline_has("end", "off"))
        out16(0x604, 0x2000);
    if (cmdline_has("end", "masked")) {
        fresh(0);
        start_pit();
        sti();
        halt_forever();
    }
    ktap_all(cases, ARRAY_SIZE(cases));
}
