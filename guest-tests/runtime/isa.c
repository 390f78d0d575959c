/* ISA interrupts, by the 8259s or by the I/O APIC. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/isa.h"

#include <stddef.h>

#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/smp.h"
#include "lib/x86.h"

#define IOAPIC ((volatile uint32_t *)0xfec00000)
enum { WINDOW = 4, PIC_LINES = 8, ICW1 = 0x11, LAST_OF_PIC = 7 };
enum { PIT_0 = 0x40, PIT_CONTROL = 0x43, LSR_EMPTY = 0x60, MCR_ON = 0xb, IER_EMPTY = 2 };
enum { LONG_MS = 2000, SHORT_MS = 1, PIT_COUNT = 1193 };

volatile uint32_t isa_taken[IRQS], isa_spurious, isa_odd;
void (*isa_hook)(unsigned irq), (*isa_eoi)(unsigned irq) = pic_eoi;
static uint16_t opened;

static unsigned pic_of(unsigned irq)
{
    return irq < PIC_LINES ? PIC_1 : PIC_2;
}

/* --- the 8259s -------------------------------------------------------------------------------- */

void pic_start(uint8_t more)
{
    static const uint8_t wiring[] = {1 << IRQ_CASCADE, IRQ_CASCADE};
    for (unsigned i = 0; i < 2; i++) {
        uint16_t port = i == 0 ? PIC_1 : PIC_2;
        out8(port, ICW1);
        out8(port + 1, (uint8_t)(VECTOR_PIC + PIC_LINES * i));
        out8(port + 1, wiring[i]);
        out8(port + 1, 1 | more);
        out8(port + 1, i == 0 ? 0xff & ~(1 << IRQ_CASCADE) : 0xff);
    }
}

void pic_mask(unsigned irq, bool masked)
{
    uint16_t port = (uint16_t)(pic_of(irq) + 1);
    unsigned bit = 1u << irq % PIC_LINES, old = in8(port);
    out8(port, (uint8_t)(masked ? old | bit : old & ~bit));
}

void pic_eoi(unsigned irq)
{
    if (irq >= PIC_LINES)
        out8(PIC_2, PIC_EOI);
    out8(PIC_1, PIC_EOI);
}

unsigned pic_read(uint8_t which)
{
    out8(PIC_1, which);
    out8(PIC_2, which);
    return in8(PIC_1) | (unsigned)in8(PIC_2) << PIC_LINES;
}

/* --- the I/O APIC ----------------------------------------------------------------------------- */

uint32_t ioapic_get(unsigned reg)
{
    IOAPIC[0] = reg;
    return IOAPIC[WINDOW];
}

void ioapic_set(unsigned reg, uint32_t value)
{
    IOAPIC[0] = reg;
    IOAPIC[WINDOW] = value;
}

uint64_t pin_get(unsigned pin)
{
    return ioapic_get(IOAPIC_TABLE + 2 * pin) | (uint64_t)ioapic_get(IOAPIC_TABLE + 2 * pin + 1)
                                                    << 32;
}

void pin_set(unsigned pin, uint64_t entry)
{
    ioapic_set(IOAPIC_TABLE + 2 * pin, PIN_MASKED);
    ioapic_set(IOAPIC_TABLE + 2 * pin + 1, (uint32_t)(entry >> 32));
    ioapic_set(IOAPIC_TABLE + 2 * pin, (uint32_t)entry);
}

unsigned pin_of(unsigned irq)
{
    return irq == IRQ_PIT ? IRQ_CASCADE : irq;
}

/* --- interrupts ------------------------------------------------------------------------------- */

/* In service is the last of a chip only if it was requested. */
static bool is_spurious(unsigned irq)
{
    return irq % PIC_LINES == LAST_OF_PIC && (pic_read(PIC_READ_ISR) >> irq & 1) == 0;
}

static void take(unsigned irq)
{
    if ((opened >> irq & 1) == 0)
        isa_odd++;
    isa_taken[irq]++;
    if (isa_hook != NULL)
        isa_hook(irq);
}

static void take_of_pic(unsigned irq)
{
    if (is_spurious(irq)) {
        isa_spurious++;
        if (irq >= PIC_LINES)
            out8(PIC_1, PIC_EOI);
        return;
    }
    take(irq);
    isa_eoi(irq);
}

static void on_interrupt(struct interrupt_frame *frame)
{
    unsigned vector = (unsigned)frame->vector;
    if (vector - VECTOR_PIC < IRQS) {
        take_of_pic(vector - VECTOR_PIC);
        return;
    }
    if (vector - VECTOR_PIN < IRQS)
        take(vector - VECTOR_PIN);
    else
        isa_odd++;
    if (vector != VECTOR_SPURIOUS)
        apic_set(EOI, 0);
}

void isa_clear(void)
{
    isa_hook = NULL;
    isa_eoi = pic_eoi;
    isa_spurious = isa_odd = 0;
    for (unsigned i = 0; i < IRQS; i++)
        isa_taken[i] = 0;
}

void isa_init(void)
{
    interrupt_init();
    interrupt_hook = on_interrupt;
    apic_enable();
    pic_start(0);
    out8(ELCR_1, 0);
    out8(ELCR_2, 0);
    for (unsigned pin = 0; pin < IRQS; pin++)
        pin_set(pin, PIN_MASKED);
    opened = 0;
    isa_clear();
}

/* An edge that QEMU still has of a line that is low would be a level that never ends. */
static void forget_edges(void)
{
    uint8_t masks[] = {in8(PIC_1_DATA), in8(PIC_2_DATA)};
    pic_start(0);
    out8(PIC_1_DATA, masks[0]);
    out8(PIC_2_DATA, masks[1]);
}

static void set_elcr(unsigned irq, bool level)
{
    uint16_t port = irq < PIC_LINES ? ELCR_1 : ELCR_2;
    unsigned bit = 1u << irq % PIC_LINES, old = in8(port);
    out8(port, (uint8_t)(level ? old | bit : old & ~bit));
}

void isa_open(unsigned irq, enum way way, bool level)
{
    opened |= (uint16_t)(1u << irq);
    if (way == BY_IOAPIC) {
        pin_set(pin_of(irq), (VECTOR_PIN + irq) | (level ? PIN_LEVEL : 0));
        return;
    }
    if (level)
        forget_edges();
    if (irq != IRQ_PIT)
        set_elcr(irq, level);
    apic_set(LVT_LINT0, LINT_EXTINT);
    pic_mask(irq, false);
}

void isa_close(unsigned irq)
{
    pic_mask(irq, true);
    pin_set(pin_of(irq), PIN_MASKED);
    if (irq != IRQ_PIT)
        set_elcr(irq, false);
    isa_let_in(); /* what was on its way */
    opened &= (uint16_t) ~(1u << irq);
}

void isa_mask(unsigned irq, enum way way, bool masked)
{
    unsigned reg = IOAPIC_TABLE + 2 * pin_of(irq);
    if (way == BY_PIC)
        pic_mask(irq, masked);
    else
        ioapic_set(reg, (ioapic_get(reg) & ~(uint32_t)PIN_MASKED) | (masked ? PIN_MASKED : 0));
}

bool isa_wait(unsigned irq, uint32_t count)
{
    uint64_t start = rdtsc();
    while (isa_taken[irq] < count && rdtsc() - start < machine_ticks(LONG_MS)) {
        sti_nop_cli();
        cpu_relax();
    }
    return isa_taken[irq] >= count;
}

void isa_let_in(void)
{
    enum { TIMES = 20 };
    for (unsigned i = 0; i < TIMES; i++)
        sti_nop_cli();
}

/* --- COM1's line ------------------------------------------------------------------------------ */

void line_init(void)
{
    out8(COM1_IER, 0);
    out8(COM1_MCR, MCR_ON);
    for (uint64_t start = rdtsc(); (in8(COM1_LSR) & LSR_EMPTY) != LSR_EMPTY;)
        if (rdtsc() - start > machine_ticks(LONG_MS))
            break;
    in8(COM1_IIR);
}

void line_set(bool high)
{
    out8(COM1_IER, high ? IER_EMPTY : 0);
}

void pit_start(unsigned mode, uint16_t count)
{
    out8(PIT_CONTROL, (uint8_t)(0x30 | mode << 1));
    out8(PIT_0, (uint8_t)count);
    out8(PIT_0, (uint8_t)(count >> 8));
}

uint32_t isa_random(void)
{
    static uint32_t state = 1;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

/* --- the RTC ---------------------------------------------------------------------------------- */

uint8_t rtc_get(unsigned cell)
{
    out8(RTC_INDEX, (uint8_t)cell);
    return in8(RTC_DATA);
}

void rtc_put(unsigned cell, unsigned value)
{
    out8(RTC_INDEX, (uint8_t)cell);
    out8(RTC_DATA, (uint8_t)value);
}

void rtc_enable(unsigned causes)
{
    rtc_put(RTC_B, (rtc_get(RTC_B) & 0x0fu) | causes);
    rtc_get(RTC_C);
}

/* --- rates ------------------------------------------------------------------------------------ */

static unsigned pit_count(void)
{
    out8(PIT_CONTROL, 0); /* latches channel 0's */
    unsigned low = in8(PIT_0);
    return low | (unsigned)in8(PIT_0) << 8;
}

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
        unsigned count = pit_count();
        uint64_t after = rdtsc();
        if (after - before < best.around)
            best = (struct look){before + (after - before) / 2, after - before, count};
    }
    return best;
}

/* Looks come more often than the count begins again. */
bool pit_measure(unsigned ms, uint64_t *cycles, uint64_t *ticks)
{
    uint64_t most = machine_ticks(40);
    pit_start(2, 0);
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(1);)
        cpu_relax();
    for (unsigned tries = 0; tries < METER_TRIES; tries++) {
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

uint64_t pit_second(void)
{
    enum { MS = 200 };
    static uint64_t measured;
    uint64_t cycles, ticks;
    if (machine.nosnoop)
        return machine_ticks(1000);
    if (measured == 0 && pit_measure(MS, &cycles, &ticks) && cycles != 0)
        measured = ticks * PIT_HZ / cycles;
    return measured;
}

void isa_note(struct meter *m)
{
    uint64_t now = rdtsc();
    if (m->taken++ == 0) {
        m->first = now;
        m->least[0].late = m->least[1].late = INT64_MAX;
    }
    m->last = now;
    uint64_t periods = (now - m->first + m->period / 2) / m->period;
    int64_t late = (int64_t)(now - m->first - periods * m->period);
    unsigned third = m->taken <= m->n / 3 ? 0 : 1;
    bool counts = third == 0 || m->taken > m->n - m->n / 3;
    if (counts && late < m->least[third].late) {
        m->least[third].late = late;
        m->least[third].at = now;
    }
}

bool isa_has_rate(const struct meter *m)
{
    if (m->taken < m->n)
        return false;
    int64_t drift = m->least[1].late - m->least[0].late;
    uint64_t between = m->least[1].at - m->least[0].at;
    uint64_t stretch = m->last - m->first, told = (m->taken - 1) * m->period;
    bool often = stretch + m->period / 2 < told, seldom = stretch > told + told / 1000;
    uint64_t size = (uint64_t)(drift < 0 ? -drift : drift);
    return !often && !(seldom && machine_is_bochs()) && size <= between / 1000;
}

/* --- storms ----------------------------------------------------------------------------------- */

static enum way storm_way;
static bool keeps; /* the handler leaves the line high, and masks it */
static volatile uint32_t lowered;

static void lower(unsigned irq)
{
    if (irq != IRQ_COM1)
        return;
    if (keeps)
        isa_mask(IRQ_COM1, storm_way, true);
    else
        line_set(false);
    lowered++;
}

static void wait_a_little(void)
{
    for (unsigned n = isa_random() % 16; n != 0; n--)
        sti_nop_cli();
}

/* Masked when it rises. An I/O APIC's edge is lost then: it has another. */
static void raise_masked(bool loses, uint32_t wanted)
{
    isa_mask(IRQ_COM1, storm_way, true);
    line_set(true);
    wait_a_little();
    expect(isa_taken[IRQ_COM1] == wanted - 1, "taken while it was masked");
    isa_mask(IRQ_COM1, storm_way, false);
    if (loses) {
        wait_a_little();
        expect(isa_taken[IRQ_COM1] == wanted - 1, "an edge at a masked pin was not lost");
        line_set(false);
        line_set(true);
    }
}

/* Masked before it can be taken. */
static void mask_raised(void)
{
    line_set(true);
    isa_mask(IRQ_COM1, storm_way, true);
    wait_a_little();
    isa_mask(IRQ_COM1, storm_way, false);
}

/* The handler masks it; what it waits for ends later. */
static void keep_raised(uint32_t wanted)
{
    keeps = true;
    line_set(true);
    isa_wait(IRQ_COM1, wanted);
    wait_a_little();
    keeps = false;
    line_set(false);
    isa_mask(IRQ_COM1, storm_way, false);
}

static void raise_once(bool level, uint32_t wanted)
{
    switch (isa_random() % 4) {
    case 0:
        line_set(true);
        break;
    case 1:
        raise_masked(storm_way == BY_IOAPIC && !level, wanted);
        break;
    case 2:
        mask_raised();
        break;
    default:
        keep_raised(wanted);
        break;
    }
}

static void storm_begin(enum way way, bool level)
{
    storm_way = way;
    isa_clear();
    line_init();
    lowered = 0;
    isa_hook = lower;
    isa_open(IRQ_COM1, way, level);
}

static void storm_end(unsigned n)
{
    isa_let_in();
    line_set(false);
    isa_close(IRQ_COM1);
    expect(isa_taken[IRQ_COM1] == n, "%u taken, of %u", isa_taken[IRQ_COM1], n);
    expect(isa_odd == 0, "%u that nobody asked for", isa_odd);
}

void isa_storm(enum way way, bool level, unsigned n)
{
    bool all = true;
    storm_begin(way, level);
    pit_start(2, PIT_COUNT);
    isa_open(IRQ_PIT, way, false);
    for (unsigned i = 1; i <= n && all; i++) {
        raise_once(level, i);
        all = isa_wait(IRQ_COM1, i);
        wait_a_little();
    }
    isa_wait(IRQ_PIT, 1);
    isa_close(IRQ_PIT);
    storm_end(n);
    expect(isa_spurious == 0, "%u spurious", isa_spurious);
    expect(isa_taken[IRQ_PIT] != 0, "no PIT");
}

static unsigned raises;

static void raise_all(unsigned cpu)
{
    (void)cpu;
    for (unsigned i = 0; i < raises; i++) {
        for (uint64_t start = rdtsc(); lowered != i; smp_relax())
            if (rdtsc() - start > machine_ticks(LONG_MS))
                return;
        line_set(true);
    }
}

/* The 8259s' request may be gone when the CPU acknowledges it: bare machines have spurious ones. */
void isa_race(enum way way, bool level, unsigned n)
{
    storm_begin(way, level);
    raises = n;
    smp_begin(1, raise_all);
    while (!smp_is_done(1)) {
        isa_mask(IRQ_COM1, way, true);
        wait_a_little();
        isa_mask(IRQ_COM1, way, false);
        wait_a_little();
    }
    isa_wait(IRQ_COM1, n);
    storm_end(n);
    if (machine.nosnoop)
        expect(isa_spurious == 0, "%u spurious", isa_spurious);
}

const char *needs_two_cpus(void)
{
    return smp_count() > 1 ? NULL : "one CPU";
}
