/*
 * The two 8259s: registers, priorities, ends of interrupts, special modes, polling, the cascade,
 * virtual wire by LINT0 and by the I/O APIC, LINT0 in its other modes, and storms of edges and
 * levels with masking races, of one line and of several at once.
 *
 * row: pic end=0 control-timeout=30
 * row: pic.2 end=0 cpus=2 timeout=60 control-timeout=30
 * row: pic.4 end=0 cpus=4 timeout=90 control-timeout=60
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/isa.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/lines.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/smp.h"

enum { ONE_SHOT = 0, SHORT = 100, STORM = 300, ROUNDS = 40, RACES = 20 };

static bool is_bare_bochs(void)
{
    return !machine.nosnoop && machine_is_bochs();
}

static const char *needs_priorities(void)
{
    return is_bare_bochs() ? "emulator: a request is not weighed against later ones" : NULL;
}

static const char *needs_polling(void)
{
    return is_bare_bochs() ? "emulator: a poll does not acknowledge" : NULL;
}

static const char *needs_lint0(void)
{
    return is_bare_bochs() ? "emulator: the 8259s reach the CPU past LINT0" : NULL;
}

/* --- registers -------------------------------------------------------------------------------- */

static void masks(void)
{
    pic_start(0);
    for (unsigned i = 0; i < 256; i++) {
        out8(PIC_1_DATA, (uint8_t)i);
        out8(PIC_2_DATA, (uint8_t)~i);
        unsigned one = in8(PIC_1_DATA), two = in8(PIC_2_DATA);
        if (!expect(one == i && two == (0xff ^ i), "%x, %x", one, two))
            break;
    }
    pic_start(0);
    expect(pic_read(PIC_READ_ISR) == 0, "in service: %x", pic_read(PIC_READ_ISR));
}

static void level_register(void)
{
    out8(ELCR_1, 0xff);
    out8(ELCR_2, 0xff);
    unsigned one = in8(ELCR_1), two = in8(ELCR_2);
    out8(ELCR_1, 0);
    out8(ELCR_2, 0);
    expect(one == 0xf8 && two == 0xde, "%x, %x", one, two);
    expect(in8(ELCR_1) == 0 && in8(ELCR_2) == 0, "not 0 again");
}

/* --- requests --------------------------------------------------------------------------------- */

static bool wait_for_request(unsigned irq)
{
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(1000);)
        if ((pic_read(PIC_READ_IRR) >> irq & 1) != 0)
            return true;
    return false;
}

/* The PIT and COM1 both ask, with interrupts off. */
static void request_two(uint8_t icw4)
{
    isa_clear();
    line_init();
    pic_start(icw4);
    pit_start(ONE_SHOT, SHORT);
    line_set(true);
    bool pit = wait_for_request(IRQ_PIT), com = wait_for_request(IRQ_COM1);
    line_set(pit && com);
}

static void end_of_two(void)
{
    line_set(false);
    isa_close(IRQ_PIT);
    isa_close(IRQ_COM1);
    pic_start(0);
}

static unsigned first, second, order;

static void note_order(unsigned irq)
{
    if (irq == IRQ_COM1)
        line_set(false);
    *(order++ == 0 ? &first : &second) = irq;
}

/* LOWEST: what has the lowest priority. */
static void take_two(unsigned lowest, unsigned wanted)
{
    request_two(0);
    out8(PIC_1, (uint8_t)(PIC_LOWEST_IS | lowest));
    isa_hook = note_order;
    order = first = second = 0;
    isa_open(IRQ_PIT, BY_PIC, false);
    isa_open(IRQ_COM1, BY_PIC, false);
    isa_wait(IRQ_PIT, 1);
    isa_wait(IRQ_COM1, 1);
    end_of_two();
    expect(order == 2, "%u taken", order);
    expect(first == wanted, "lowest %u: first %u, then %u", lowest, first, second);
}

static void priorities(void)
{
    take_two(7, IRQ_PIT);
    take_two(0, IRQ_COM1);
    take_two(4, IRQ_PIT);
    take_two(3, IRQ_COM1);
}

static void kept_while_masked(void)
{
    isa_clear();
    apic_set(LVT_LINT0, LINT_EXTINT);
    pic_start(0);
    pit_start(ONE_SHOT, SHORT);
    bool asks = wait_for_request(IRQ_PIT);
    isa_let_in();
    unsigned before = isa_taken[IRQ_PIT];
    isa_open(IRQ_PIT, BY_PIC, false);
    isa_wait(IRQ_PIT, 1);
    isa_let_in();
    expect(asks, "it does not ask");
    expect(before == 0, "taken while masked");
    expect(isa_taken[IRQ_PIT] == 1, "taken %u times", isa_taken[IRQ_PIT]);
    isa_close(IRQ_PIT);
}

/* A level goes with its line. */
static void level_withdrawn(void)
{
    isa_clear();
    line_init();
    isa_open(IRQ_COM1, BY_PIC, true);
    line_set(true);
    unsigned high = pic_read(PIC_READ_IRR);
    line_set(false);
    unsigned low = pic_read(PIC_READ_IRR);
    isa_let_in();
    isa_close(IRQ_COM1);
    expect((high >> IRQ_COM1 & 1) == 1 && (low >> IRQ_COM1 & 1) == 0, "IRR %x, then %x", high, low);
    expect(isa_taken[IRQ_COM1] == 0, "taken %u times", isa_taken[IRQ_COM1]);
}

/* --- ends of interrupts ----------------------------------------------------------------------- */

static unsigned in_service[2];

static void note_service(unsigned irq)
{
    in_service[0] = pic_read(PIC_READ_ISR);
    line_set(false);
    out8(PIC_1, (uint8_t)(PIC_SPECIFIC | irq));
    in_service[1] = pic_read(PIC_READ_ISR);
}

static void take_com1(uint8_t icw4)
{
    isa_clear();
    line_init();
    pic_start(icw4);
    isa_hook = note_service;
    isa_open(IRQ_COM1, BY_PIC, false);
    line_set(true);
    isa_wait(IRQ_COM1, 1);
    isa_close(IRQ_COM1);
    pic_start(0);
    expect(isa_taken[IRQ_COM1] == 1, "taken %u times", isa_taken[IRQ_COM1]);
}

static void specific_eoi(void)
{
    take_com1(0);
    expect(in_service[0] == 1 << IRQ_COM1 && in_service[1] == 0, "in service: %x, then %x",
           in_service[0], in_service[1]);
}

static void automatic_eoi(void)
{
    take_com1(PIC_AUTO_EOI);
    expect(in_service[0] == 0, "in service: %x", in_service[0]);
}

/* The second one needs nothing but the first one's acknowledgement: no EOI, and no exit. */
static void automatic_eoi_of_two(void)
{
    request_two(PIC_AUTO_EOI);
    isa_open(IRQ_COM1, BY_PIC, false);
    isa_open(IRQ_PIT, BY_PIC, false);
    isa_let_in();
    unsigned pit = isa_taken[IRQ_PIT], com1 = isa_taken[IRQ_COM1];
    end_of_two();
    expect(pit == 1 && com1 == 1, "taken %u and %u times", pit, com1);
}

/* After an EOI that rotates, what was served has the lowest priority. */
static void rotation(void)
{
    request_two(0);
    out8(PIC_1_DATA, 0xff & ~(1 << IRQ_PIT | 1 << IRQ_COM1));
    out8(PIC_1, PIC_POLL);
    unsigned polled = in8(PIC_1);
    out8(PIC_1, PIC_ROTATE);
    pit_start(ONE_SHOT, SHORT);
    bool again = wait_for_request(IRQ_PIT);
    out8(PIC_1, PIC_POLL);
    unsigned next = in8(PIC_1);
    out8(PIC_1, PIC_EOI);
    end_of_two();
    expect(polled == (0x80 | IRQ_PIT), "first %x", polled);
    expect(again && next == (0x80 | IRQ_COM1), "then %x", next);
}

static void polling(void)
{
    request_two(0);
    out8(PIC_1, PIC_POLL);
    unsigned masked = in8(PIC_1);
    out8(PIC_1_DATA, 0xff & ~(1 << IRQ_COM1));
    out8(PIC_1, PIC_POLL);
    unsigned polled = in8(PIC_1);
    unsigned service = pic_read(PIC_READ_ISR);
    out8(PIC_1, PIC_EOI);
    end_of_two();
    expect((masked & 0x80) == 0, "all masked: %x", masked);
    expect(polled == (0x80 | IRQ_COM1), "polled %x", polled);
    expect(service == 1 << IRQ_COM1, "in service: %x", service);
}

/* In service, the PIT holds back COM1, but not in special mask mode while it is masked. */
static void special_mask(void)
{
    request_two(0);
    out8(PIC_1_DATA, 0xff & ~(1 << IRQ_PIT | 1 << IRQ_COM1));
    out8(PIC_1, PIC_POLL);
    unsigned one = in8(PIC_1);
    out8(PIC_1, PIC_POLL);
    unsigned held = in8(PIC_1);
    out8(PIC_1_DATA, 0xff & ~(1 << IRQ_COM1));
    out8(PIC_1, PIC_SPECIAL_ON);
    out8(PIC_1, PIC_POLL);
    unsigned two = in8(PIC_1);
    out8(PIC_1, PIC_SPECIFIC | IRQ_COM1);
    out8(PIC_1, PIC_SPECIFIC | IRQ_PIT);
    out8(PIC_1, PIC_SPECIAL_OFF);
    end_of_two();
    expect(one == (0x80 | IRQ_PIT), "first %x", one);
    expect((held & 0x80) == 0, "while that is in service: %x", held);
    expect(two == (0x80 | IRQ_COM1), "in special mask mode: %x", two);
}

/* --- the cascade ------------------------------------------------------------------------------ */

static unsigned services;

static void on_rtc(unsigned irq)
{
    if (irq != IRQ_RTC)
        return;
    services = pic_read(PIC_READ_ISR);
    rtc_get(RTC_C);
}

static void cascade(void)
{
    isa_clear();
    isa_hook = on_rtc;
    services = 0;
    isa_open(IRQ_RTC, BY_PIC, false);
    pic_mask(IRQ_CASCADE, true);
    rtc_enable(RTC_PERIODIC);
    bool asks = wait_for_request(IRQ_RTC);
    isa_let_in();
    unsigned held = isa_taken[IRQ_RTC];
    pic_mask(IRQ_CASCADE, false);
    bool comes = isa_wait(IRQ_RTC, 3);
    rtc_enable(0);
    isa_close(IRQ_RTC);
    expect(asks && held == 0, "with the cascade masked: %u taken", held);
    expect(comes && services == (1 << IRQ_RTC | 1 << IRQ_CASCADE), "in service: %x", services);
    expect(isa_odd == 0, "%u that nobody asked for", isa_odd);
}

/* --- ways to the CPU -------------------------------------------------------------------------- */

static void lint0_masked(void)
{
    isa_clear();
    isa_open(IRQ_PIT, BY_PIC, false);
    apic_set(LVT_LINT0, LINT_EXTINT | MASKED);
    pit_start(ONE_SHOT, SHORT);
    wait_for_request(IRQ_PIT);
    isa_let_in();
    unsigned held = isa_taken[IRQ_PIT];
    apic_set(LVT_LINT0, LINT_EXTINT);
    isa_wait(IRQ_PIT, 1);
    isa_close(IRQ_PIT);
    expect(held == 0 && isa_taken[IRQ_PIT] == 1, "taken %u times, then %u", held,
           isa_taken[IRQ_PIT]);
}

/* As before there were APICs. */
static void apic_off(void)
{
    isa_clear();
    isa_open(IRQ_PIT, BY_PIC, false);
    wrmsr(MSR_APIC_BASE, BASE_OFF);
    pit_start(ONE_SHOT, SHORT);
    isa_wait(IRQ_PIT, 1);
    wrmsr(MSR_APIC_BASE, BASE_XAPIC);
    apic_enable();
    isa_close(IRQ_PIT);
    expect(isa_taken[IRQ_PIT] == 1, "taken %u times", isa_taken[IRQ_PIT]);
}

static const char *needs_extint_pin(void)
{
    return machine.nosnoop || machine_is_bochs() ? NULL : "emulator: no 8259 at the I/O APIC";
}

/* Pin 0 of the I/O APIC has the 8259s. */
static void extint_pin(void)
{
    isa_clear();
    isa_open(IRQ_PIT, BY_PIC, false);
    apic_set(LVT_LINT0, LINT_EXTINT | MASKED);
    pin_set(0, LINT_EXTINT);
    pit_start(ONE_SHOT, SHORT);
    isa_wait(IRQ_PIT, 1);
    pin_set(0, PIN_MASKED);
    isa_close(IRQ_PIT);
    expect(isa_taken[IRQ_PIT] == 1, "taken %u times", isa_taken[IRQ_PIT]);
}

/* --- LINT0 in its other modes: nobody acknowledges -------------------------------------------- */

/* Told as that of an IRQ which is nobody's. */
enum { LINT0_IRQ = 7, LINT0_VECTOR = VECTOR_PIN + LINT0_IRQ };

static const char *needs_no_acknowledge(void)
{
    if (machine.nosnoop || is_bare_bochs())
        return needs_lint0();
    return "emulator: it hangs where nobody acknowledges the 8259s";
}

static void begin_lint0(uint32_t entry)
{
    isa_clear();
    line_init();
    isa_open(IRQ_COM1, BY_PIC, true);
    apic_set(LVT_LINT0, entry);
}

static void end_lint0(void)
{
    line_set(false);
    apic_set(LVT_LINT0, MASKED);
    isa_close(IRQ_COM1);
    isa_close(IRQ_PIT);
    pic_start(0);
}

static void lint0_fixed(void)
{
    begin_lint0(LINT0_VECTOR);
    line_set(true);
    isa_wait(LINT0_IRQ, 1);
    isa_let_in();
    unsigned high = isa_taken[LINT0_IRQ];
    line_set(false);
    isa_let_in();
    unsigned low = isa_taken[LINT0_IRQ];
    line_set(true);
    isa_wait(LINT0_IRQ, 2);
    isa_let_in();
    end_lint0();
    expect(high == 1 && low == 1, "taken %u times, then %u", high, low);
    expect(isa_taken[LINT0_IRQ] == 2, "taken %u times", isa_taken[LINT0_IRQ]);
    expect(isa_taken[IRQ_COM1] == 0, "%u by ExtINT", isa_taken[IRQ_COM1]);
}

static void lower_from_third_on(unsigned irq)
{
    if (irq == LINT0_IRQ && isa_taken[irq] >= 3)
        line_set(false);
}

/* A level waits behind a mask. */
static void lint0_level(void)
{
    begin_lint0(LINT0_VECTOR | LEVEL | MASKED);
    isa_hook = lower_from_third_on;
    line_set(true);
    isa_let_in();
    unsigned masked = isa_taken[LINT0_IRQ];
    apic_set(LVT_LINT0, LINT0_VECTOR | LEVEL);
    isa_wait(LINT0_IRQ, 3);
    isa_let_in();
    unsigned taken = isa_taken[LINT0_IRQ];
    line_set(true);
    isa_wait(LINT0_IRQ, 4);
    isa_let_in();
    end_lint0();
    expect(masked == 0 && taken == 3, "masked %u times, then %u", masked, taken);
    expect(isa_taken[LINT0_IRQ] == 4, "taken %u times", isa_taken[LINT0_IRQ]);
}

static volatile unsigned nmis;

static bool on_nmi(struct fault_frame *frame)
{
    nmis += frame->vector == VECTOR_NMI ? 1 : 0;
    return frame->vector == VECTOR_NMI;
}

/* By an edge, whatever the entry says of that. */
static void lint0_nmi(void)
{
    unsigned seen[2];
    nmis = 0;
    fault_hook = on_nmi;
    begin_lint0(NMI | LEVEL);
    for (unsigned i = 0; i < 2; i++) {
        line_set(true);
        for (uint64_t start = rdtsc(); nmis == i && rdtsc() - start < machine_ticks(1000);)
            smp_relax();
        isa_let_in();
        seen[i] = nmis;
        line_set(false);
    }
    end_lint0();
    fault_hook = NULL;
    expect(seen[0] == 1 && seen[1] == 2, "%u NMIs, then %u", seen[0], seen[1]);
    expect(nmis == 2, "%u NMIs", nmis);
}

enum { TICKS = 20, MS_COUNT = 1193 };

/* As systems that look for a way to get ticks: the timer's next rise is the request's, too. */
static void take_ticks(uint32_t lint0, uint64_t pin_0)
{
    isa_clear();
    pic_start(0);
    isa_open(IRQ_PIT, BY_PIC, false);
    apic_set(LVT_LINT0, lint0);
    pin_set(0, pin_0);
    pit_start(2, MS_COUNT);
    bool comes = isa_wait(LINT0_IRQ, TICKS);
    pin_set(0, PIN_MASKED);
    end_lint0();
    expect(comes, "%u ticks", isa_taken[LINT0_IRQ]);
    expect(isa_taken[IRQ_PIT] == 0, "%u by ExtINT", isa_taken[IRQ_PIT]);
}

static void lint0_ticks(void)
{
    take_ticks(LINT0_VECTOR, PIN_MASKED);
}

static void pin_0_ticks(void)
{
    take_ticks(MASKED, LINT0_VECTOR);
}

static const char *needs_other_and_no_acknowledge(void)
{
    const char *reason = needs_no_acknowledge();
    return reason != NULL ? reason : needs_two_cpus();
}

/* Late enough for the first one to sleep, mostly. */
static void raise_line(unsigned cpu)
{
    (void)cpu;
    for (unsigned i = 0; i < 1000; i++)
        smp_relax();
    line_set(true);
}

static void lower_line(unsigned irq)
{
    if (irq == LINT0_IRQ)
        line_set(false);
}

static void halt_for_other(uint32_t entry)
{
    begin_lint0(entry);
    isa_hook = lower_line;
    for (unsigned i = 1; i <= TICKS; i++) {
        smp_begin(1, raise_line);
        while (isa_taken[LINT0_IRQ] < i)
            __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
        smp_wait(1);
    }
    end_lint0();
    expect(isa_taken[LINT0_IRQ] == TICKS, "%x: taken %u times", entry, isa_taken[LINT0_IRQ]);
}

static void lint0_from_other(void)
{
    halt_for_other(LINT0_VECTOR);
    halt_for_other(LINT0_VECTOR | LEVEL);
}

/* --- storms ----------------------------------------------------------------------------------- */

static void storm_of_edges(void)
{
    isa_storm(BY_PIC, false, STORM);
}

static void storm_of_levels(void)
{
    isa_storm(BY_PIC, true, STORM);
}

static void race_of_edges(void)
{
    isa_race(BY_PIC, false, STORM);
}

static void race_of_levels(void)
{
    isa_race(BY_PIC, true, STORM);
}

/* --- storms of several lines ------------------------------------------------------------------ */

static void together(void)
{
    lines_storm(&(struct storm){.eoi = PIC_EOI, .rounds = ROUNDS});
    lines_storm(&(struct storm){.eoi = PIC_SPECIFIC, .levels = true, .rounds = ROUNDS});
}

static void nested(void)
{
    lines_storm(&(struct storm){.eoi = PIC_EOI, .nests = true, .rounds = ROUNDS});
}

static void automatic_eois(void)
{
    lines_storm(&(struct storm){.icw4 = PIC_AUTO_EOI, .eoi = PIC_NOTHING, .rounds = ROUNDS});
}

static void rotations(void)
{
    lines_storm(&(struct storm){.eoi = PIC_ROTATE, .rounds = ROUNDS});
    lines_storm(&(struct storm){.eoi = PIC_ROTATE_THIS, .levels = true, .rounds = ROUNDS});
}

static struct storm rotating(bool levels, unsigned rounds)
{
    return (struct storm){.levels = levels,
                          .icw4 = PIC_AUTO_EOI,
                          .first = PIC_ROTATE_AUTO,
                          .eoi = PIC_NOTHING,
                          .rounds = rounds};
}

static void automatic_rotations(void)
{
    struct storm storm = rotating(false, ROUNDS);
    lines_storm(&storm);
}

static const char *needs_automatic_levels(void)
{
    return is_bare_bochs() ? "emulator: a level's request outlives it at an automatic EOI"
                           : needs_lines();
}

static void automatic_levels(void)
{
    struct storm storm = rotating(true, ROUNDS);
    storm.nests = true;
    lines_storm(&storm);
}

static void special_masks(void)
{
    lines_storm(&(struct storm){
        .first = PIC_SPECIAL_ON, .eoi = PIC_SPECIFIC, .nests = true, .rounds = ROUNDS});
}

static const char *needs_race(void)
{
    return needs_two_cpus() != NULL ? needs_two_cpus() : needs_lines();
}

static void race_of_rotations(void)
{
    lines_race(&(struct storm){.eoi = PIC_ROTATE, .levels = true, .rounds = RACES});
}

static void race_of_automatic_eois(void)
{
    struct storm storm = rotating(!is_bare_bochs(), RACES);
    lines_race(&storm);
}

static const struct test_case cases[] = {
    {"masks", NULL, masks},
    {"edges or levels", NULL, level_register},
    {"an edge is kept while it is masked", NULL, kept_while_masked},
    {"a level goes with its line", NULL, level_withdrawn},
    {"priorities", needs_priorities, priorities},
    {"a specific EOI", NULL, specific_eoi},
    {"automatic EOI", NULL, automatic_eoi},
    {"automatic EOI: two at once", NULL, automatic_eoi_of_two},
    {"polling", needs_polling, polling},
    {"rotation", needs_polling, rotation},
    {"special mask mode", needs_polling, special_mask},
    {"the cascade", NULL, cascade},
    {"LINT0 masked", needs_lint0, lint0_masked},
    {"the APIC switched off", NULL, apic_off},
    {"by the I/O APIC's pin 0", needs_extint_pin, extint_pin},
    {"LINT0 as a fixed interrupt", needs_no_acknowledge, lint0_fixed},
    {"the same by level", needs_no_acknowledge, lint0_level},
    {"LINT0 as an NMI", needs_lint0, lint0_nmi},
    {"LINT0: ticks that nobody acknowledges", needs_no_acknowledge, lint0_ticks},
    {"the I/O APIC's pin 0: the same", needs_nosnoop, pin_0_ticks},
    {"LINT0: another CPU ends HLT by it", needs_other_and_no_acknowledge, lint0_from_other},
    {"a storm of edges", NULL, storm_of_edges},
    {"a storm of levels", NULL, storm_of_levels},
    {"edges of another CPU", needs_two_cpus, race_of_edges},
    {"levels of another CPU", needs_two_cpus, race_of_levels},
    {"lines together", needs_lines, together},
    {"lines together: nested", needs_lines, nested},
    {"lines together: automatic EOIs", needs_lines, automatic_eois},
    {"lines together: rotation", needs_lines, rotations},
    {"lines together: rotation in automatic EOIs", needs_lines, automatic_rotations},
    {"lines together: levels in automatic EOIs", needs_automatic_levels, automatic_levels},
    {"lines together: special mask mode", needs_lines, special_masks},
    {"lines of another CPU: rotation", needs_race, race_of_rotations},
    {"lines of another CPU: automatic EOIs", needs_race, race_of_automatic_eois},
};

void test_main(void)
{
    isa_init();
    smp_start();
    ktap_all(cases, ARRAY_SIZE(cases));
}
