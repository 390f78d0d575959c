/*
 * Several CPUs and one set of devices: interrupts that lead to each of them, those of several
 * devices to several CPUs at once, and registers that all use at the same time, with a lock where
 * they take two accesses and without one where they take one.
 *
 * row: together.2 end=0 cpus=2 timeout=40 control-timeout=30
 * row: together.4 end=0 cpus=4 timeout=60 control-timeout=30
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/isa.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/smp.h"

enum { EACH = 3, MANY = 20, TURNS = 100, LONG_MS = 5000, PIT_MS = 1193, RATE = 2 };
enum { RTC_RAM = 0x50, RTC_1024 = 0x26, RTC_24_HOURS = 2 };
enum { PIT_0 = 0x40, PIT_CONTROL = 0x43, PIT_LATCH = 0, SCRATCH = 0x3ff, PM_TIMER = 0x608 };

static const unsigned irqs[] = {IRQ_PIT, IRQ_RTC, IRQ_COM1};

/* --- interrupts ------------------------------------------------------------------------------- */

static uint32_t counts[SMP_MAX][IRQS], odd;

static void count(struct interrupt_frame *frame)
{
    unsigned irq = (unsigned)frame->vector - VECTOR_PIN;
    if (irq >= IRQS) {
        __atomic_add_fetch(&odd, 1, __ATOMIC_RELAXED);
        return;
    }
    if (irq == IRQ_RTC)
        (void)rtc_get(RTC_C);
    __atomic_add_fetch(&counts[smp_index()][irq], 1, __ATOMIC_RELEASE);
    apic_set(EOI, 0);
}

static unsigned taken(unsigned cpu, unsigned irq)
{
    return __atomic_load_n(&counts[cpu][irq], __ATOMIC_ACQUIRE);
}

static volatile bool listening;
static unsigned listeners;

static void listen(unsigned cpu)
{
    (void)cpu;
    __atomic_add_fetch(&listeners, 1, __ATOMIC_RELEASE);
    while (listening)
        sti_nop_cli();
}

/* All CPUs take interrupts; none is open yet. */
static void begin(void)
{
    for (unsigned cpu = 0; cpu < SMP_MAX; cpu++)
        for (unsigned irq = 0; irq < IRQS; irq++)
            counts[cpu][irq] = 0;
    odd = listeners = 0;
    listening = true;
    line_init();
    pit_start(RATE, PIT_MS);
    rtc_put(RTC_A, RTC_1024);
    rtc_put(RTC_B, RTC_24_HOURS | RTC_PERIODIC);
    (void)rtc_get(RTC_C);
    for (unsigned i = 1; i < smp_count(); i++)
        smp_begin(i, listen);
    while (__atomic_load_n(&listeners, __ATOMIC_ACQUIRE) < smp_count() - 1)
        smp_relax();
}

static void open_for(unsigned irq, unsigned cpu)
{
    pin_set(pin_of(irq), (uint64_t)cpu << 56 | (VECTOR_PIN + irq));
    if (irq == IRQ_RTC) /* what rose behind the mask is no edge any more */
        (void)rtc_get(RTC_C);
}

/* What is on its way comes. */
static void close(unsigned irq)
{
    pin_set(pin_of(irq), PIN_MASKED);
    isa_let_in();
}

static void end(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(irqs); i++)
        close(irqs[i]);
    rtc_put(RTC_B, RTC_24_HOURS);
    listening = false;
    for (unsigned i = 1; i < smp_count(); i++)
        smp_wait(i);
    expect(odd == 0, "%u that nobody has asked for", odd);
}

/* Until CPU has taken N. */
static bool wait_for(unsigned cpu, unsigned irq, unsigned n)
{
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(LONG_MS); sti_nop_cli())
        if (taken(cpu, irq) >= n)
            return true;
    return false;
}

/* COM1's line rises, and falls when its interrupt has been taken by CPU. */
static bool raise(unsigned cpu)
{
    unsigned before = taken(cpu, IRQ_COM1);
    line_set(true);
    bool came = wait_for(cpu, IRQ_COM1, before + 1);
    line_set(false);
    return came;
}

static bool take_some(unsigned cpu, unsigned irq)
{
    bool came = true;
    for (unsigned i = 0; i < EACH && irq == IRQ_COM1 && came; i++)
        came = raise(cpu);
    return came && wait_for(cpu, irq, EACH);
}

static void expect_nobody_else(unsigned irq, unsigned cpu)
{
    for (unsigned i = 0; i < smp_count(); i++)
        expect(i == cpu || taken(i, irq) == 0, "IRQ %u for CPU %u: %u by CPU %u", irq, cpu,
               taken(i, irq), i);
}

static void to_each(void)
{
    for (unsigned cpu = 0; cpu < smp_count(); cpu++) {
        begin();
        for (unsigned i = 0; i < ARRAY_SIZE(irqs); i++) {
            open_for(irqs[i], cpu);
            expect(take_some(cpu, irqs[i]), "IRQ %u: taken %u times by CPU %u", irqs[i],
                   taken(cpu, irqs[i]), cpu);
            close(irqs[i]);
            expect_nobody_else(irqs[i], cpu);
        }
        end();
    }
}

/* Each device's to a CPU of its own, as far as there are some. */
static void at_once(void)
{
    unsigned cpus[ARRAY_SIZE(irqs)];
    begin();
    for (unsigned i = 0; i < ARRAY_SIZE(irqs); i++) {
        cpus[i] = (i + 1) % smp_count();
        open_for(irqs[i], cpus[i]);
    }
    unsigned com = cpus[ARRAY_SIZE(irqs) - 1], raised = 0;
    while (raised < MANY && raise(com))
        raised++;
    for (unsigned i = 0; i < ARRAY_SIZE(irqs); i++)
        expect(wait_for(cpus[i], irqs[i], MANY), "IRQ %u: taken %u times", irqs[i],
               taken(cpus[i], irqs[i]));
    end();
    for (unsigned i = 0; i < ARRAY_SIZE(irqs); i++)
        expect_nobody_else(irqs[i], cpus[i]);
    expect(taken(com, IRQ_COM1) == MANY, "%u edges: taken %u times", raised, taken(com, IRQ_COM1));
}

/* --- registers -------------------------------------------------------------------------------- */

static uint32_t lock, wrong[SMP_MAX];

static void take_lock(void)
{
    while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE) != 0)
        smp_relax();
}

static void release_lock(void)
{
    __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
}

/* A cell of its own, the number of all turns in one of all, and what an index selects. */
static void turn_with_lock(unsigned cpu, unsigned turn)
{
    take_lock();
    wrong[cpu] += rtc_get(RTC_RAM + 1 + cpu) != (uint8_t)turn;
    rtc_put(RTC_RAM + 1 + cpu, turn + 1);
    rtc_put(RTC_RAM, rtc_get(RTC_RAM) + 1u);
    wrong[cpu] += (ioapic_get(IOAPIC_VERSION) >> 16 & 0xff) != IOAPIC_PINS - 1;
    out8(PIT_CONTROL, PIT_LATCH);
    unsigned latched = in8(PIT_0);
    latched |= (unsigned)in8(PIT_0) << 8;
    wrong[cpu] += latched > PIT_MS;
    release_lock();
}

static void all_with_lock(unsigned cpu)
{
    smp_barrier();
    for (unsigned turn = 0; turn < TURNS; turn++)
        turn_with_lock(cpu, turn);
}

static void expect_none_wrong(void)
{
    for (unsigned cpu = 0; cpu < smp_count(); cpu++)
        expect(wrong[cpu] == 0, "CPU %u: %u wrong", cpu, wrong[cpu]);
}

static void with_lock(void)
{
    pit_start(RATE, PIT_MS);
    for (unsigned i = 0; i <= smp_count(); i++)
        rtc_put(RTC_RAM + i, 0);
    for (unsigned i = 0; i < SMP_MAX; i++)
        wrong[i] = 0;
    smp_run(all_with_lock);
    expect_none_wrong();
    unsigned turns = rtc_get(RTC_RAM), all = TURNS * smp_count();
    expect(turns == (all & 0xff), "%u turns, not %u", turns, all);
}

/* The time only grows, and a register has what someone has put there. */
static void all_without_lock(unsigned cpu)
{
    uint32_t before = in32(PM_TIMER);
    smp_barrier();
    for (unsigned turn = 0; turn < TURNS; turn++) {
        uint32_t now = in32(PM_TIMER);
        wrong[cpu] += ((now - before) & 0xffffff) >= 1u << 23;
        before = now;
        out8(SCRATCH, (uint8_t)(0x50 + cpu));
        wrong[cpu] += (unsigned)in8(SCRATCH) - 0x50 >= smp_count();
        wrong[cpu] += in8(PIC_1_DATA) != (0xff & ~(1 << IRQ_CASCADE));
    }
}

static void without_lock(void)
{
    for (unsigned i = 0; i < SMP_MAX; i++)
        wrong[i] = 0;
    smp_run(all_without_lock);
    expect_none_wrong();
}

static const struct test_case cases[] = {
    {"interrupts to each CPU", NULL, to_each},
    {"interrupts to all at once", NULL, at_once},
    {"registers that take two accesses", NULL, with_lock},
    {"registers that take one", NULL, without_lock},
};

void test_main(void)
{
    isa_init();
    smp_start();
    interrupt_hook = count;
    ktap_all(cases, ARRAY_SIZE(cases));
}
