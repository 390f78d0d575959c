/* Storms of several lines at once, with a model of the 8259s' priorities. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/lines.h"

#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/smp.h"

enum { PIT_CONTROL = 0x43, PIT_LOW = 0x30, PIT_HIGH = 0x32 }; /* control words of modes 0 and 1 */
enum { B_24 = 2 };
enum { COM2_IER = 0x2f9, COM2_MCR = 0x2fc, COM2_LSR = 0x2fd, MCR_ON = 0xb, IER_EMPTY = 2 };
enum { INPUTS = 8, LONG_MS = 2000, NOT_THERE = 0xff, EMPTY = 0x60 };

static const uint8_t irqs[] = {IRQ_PIT, IRQ_COM2, IRQ_COM1, IRQ_RTC};
enum { CAN_BE_LEVEL = 1 << IRQ_COM2 | 1 << IRQ_COM1 }; /* by ELCR */

/* A bit an IRQ. */
static unsigned lines;   /* that there are */
static unsigned waiting; /* that have risen and are to be taken */
static unsigned shut;    /* masked, since before they could be sent */
static unsigned keeping; /* whose handlers are to mask them, and leave them high */
static unsigned kept;    /* who have been left so */
static unsigned later;   /* that rise in the next handler */

static const struct storm *storm;
static uint32_t wanted[IRQS];
static unsigned wrong;   /* taken out of order, or while masked */
static unsigned serving; /* inputs of the master, a bit each */
static unsigned lowest;  /* its input of lowest priority */

/* --- the lines -------------------------------------------------------------------------------- */

static unsigned bit(unsigned irq)
{
    return 1u << irq;
}

static bool is_bare_bochs(void)
{
    return !machine.nosnoop && machine_is_bochs();
}

static bool is_bare_qemu(void)
{
    return !machine.nosnoop && !machine_is_bochs();
}

/* The RTC's index stays at register B, and its periodic flag set: one access does it. */
static void set_line(unsigned irq, bool high)
{
    if (irq == IRQ_PIT)
        out8(PIT_CONTROL, high ? PIT_HIGH : PIT_LOW);
    else if (irq == IRQ_RTC)
        out8(RTC_DATA, B_24 | (high ? RTC_PERIODIC : 0));
    else if (irq == IRQ_COM2)
        out8(COM2_IER, high ? IER_EMPTY : 0);
    else
        line_set(high);
}

static void set_lines(unsigned set, bool high)
{
    for (unsigned i = 0; i < ARRAY_SIZE(irqs); i++)
        if ((set >> irqs[i] & 1) != 0)
            set_line(irqs[i], high);
}

static bool has_com2(void)
{
    return in8(COM2_LSR) != NOT_THERE;
}

/* QEMU's PIT takes no control word without a count; Bochs's RTC no flag without its interrupt. */
static unsigned find_lines(void)
{
    return bit(IRQ_COM1) | (has_com2() ? bit(IRQ_COM2) : 0) | (is_bare_qemu() ? 0 : bit(IRQ_PIT)) |
           (is_bare_bochs() ? 0 : bit(IRQ_RTC));
}

const char *needs_lines(void)
{
    unsigned set = find_lines();
    return (set & (set - 1)) != 0 ? NULL : "there is only one line";
}

static void start_com2(void)
{
    out8(COM2_IER, 0);
    out8(COM2_MCR, MCR_ON);
    for (uint64_t start = rdtsc(); (in8(COM2_LSR) & EMPTY) != EMPTY;)
        if (rdtsc() - start > machine_ticks(LONG_MS))
            break;
}

/* Until the RTC's periodic flag is set, which nobody reads from then on. */
static void start_rtc(void)
{
    out8(RTC_INDEX, RTC_B);
    set_line(IRQ_RTC, true);
    for (uint64_t start = rdtsc(); (pic_read(PIC_READ_IRR) & bit(IRQ_RTC)) == 0;)
        if (rdtsc() - start > machine_ticks(LONG_MS))
            break;
}

static void start_lines(void)
{
    lines = find_lines();
    line_init();
    if ((lines & bit(IRQ_COM2)) != 0)
        start_com2();
    if ((lines & bit(IRQ_RTC)) != 0)
        start_rtc();
    set_lines(lines, false);
}

static void stop_lines(void)
{
    set_lines(lines, false);
    rtc_get(RTC_C);
    pic_start(0);
}

/* --- what is to be taken ---------------------------------------------------------------------- */

static unsigned input_of(unsigned irq)
{
    return irq < INPUTS ? irq : IRQ_CASCADE;
}

static unsigned rank(unsigned input)
{
    return (input - lowest - 1) % INPUTS;
}

static bool is_by_pic(void)
{
    return storm->way == BY_PIC;
}

/* Bare Bochs does not weigh a request of its 8259s against later ones, and masks. */
static bool weighs(void)
{
    return is_by_pic() && !is_bare_bochs();
}

static bool is_automatic(void)
{
    return (storm->icw4 & PIC_AUTO_EOI) != 0;
}

static bool is_special(void)
{
    return storm->first == PIC_SPECIAL_ON;
}

/* Whether nothing else that waits, or is in service, has the priority. */
static bool is_first(unsigned irq)
{
    unsigned others = is_special() || is_automatic() ? 0 : serving;
    for (unsigned i = 0; i < ARRAY_SIZE(irqs); i++)
        if ((waiting & ~shut & ~bit(irq)) >> irqs[i] & 1)
            others |= bit(input_of(irqs[i]));
    for (unsigned input = 0; input < INPUTS; input++)
        if ((others >> input & 1) != 0 && rank(input) <= rank(input_of(irq)))
            return false;
    return true;
}

static void check(unsigned irq)
{
    bool waits = (waiting & ~shut & bit(irq)) != 0;
    wrong += !waits || (weighs() && !is_first(irq));
}

static bool rotates(void)
{
    return storm->eoi == PIC_ROTATE || storm->eoi == PIC_ROTATE_THIS ||
           storm->first == PIC_ROTATE_AUTO;
}

static void raise(unsigned set)
{
    waiting |= set;
    for (unsigned i = 0, from = isa_random(); i < ARRAY_SIZE(irqs); i++) {
        unsigned irq = irqs[(from + i) % ARRAY_SIZE(irqs)];
        if ((set >> irq & 1) != 0)
            set_line(irq, true);
    }
}

static void mask(unsigned set, bool masked)
{
    for (unsigned i = 0; i < ARRAY_SIZE(irqs); i++)
        if ((set >> irqs[i] & 1) != 0)
            isa_mask(irqs[i], storm->way, masked);
}

/* --- handlers --------------------------------------------------------------------------------- */

static void wait_a_little(void)
{
    for (unsigned n = isa_random() % 16; n != 0; n--)
        sti_nop_cli();
}

/* In special mask mode what is in service holds others back only where it is not masked. */
static void nest(unsigned irq)
{
    unsigned input = input_of(irq);
    bool masks = is_special() && is_by_pic();
    if (masks)
        pic_mask(input, true);
    isa_let_in();
    if (weighs() && (is_special() || is_automatic()))
        wrong += (waiting & ~shut) != 0; /* nothing held it back */
    if (masks && (input != irq || (shut & bit(irq)) == 0))
        pic_mask(input, false);
}

static void on_line(unsigned irq)
{
    check(irq);
    waiting &= ~bit(irq);
    serving |= bit(input_of(irq));
    lowest = rotates() ? input_of(irq) : lowest;
    if ((keeping & bit(irq)) != 0) {
        mask(bit(irq), true);
        shut |= bit(irq);
        kept |= bit(irq);
    } else {
        set_line(irq, false);
    }
    unsigned now = later;
    later = 0;
    raise(now);
    if (storm->nests)
        nest(irq);
    serving &= ~bit(input_of(irq));
}

static void tell(uint16_t port, unsigned input)
{
    bool specific = storm->eoi == PIC_SPECIFIC || storm->eoi == PIC_ROTATE_THIS;
    out8(port, (uint8_t)(storm->eoi | (specific ? input : 0)));
}

static void end_of_line(unsigned irq)
{
    if (irq >= INPUTS)
        tell(PIC_2, irq % INPUTS);
    tell(PIC_1, input_of(irq));
}

/* --- storms ----------------------------------------------------------------------------------- */

/* With the masks that are. */
static void restart_pic(uint8_t icw4)
{
    uint8_t masks[] = {in8(PIC_1_DATA), in8(PIC_2_DATA)};
    pic_start(icw4);
    out8(PIC_1_DATA, masks[0]);
    out8(PIC_2_DATA, masks[1]);
}

static void begin(const struct storm *s, void (*hook)(unsigned irq))
{
    storm = s;
    isa_clear();
    start_lines();
    isa_hook = hook;
    isa_eoi = end_of_line;
    waiting = shut = keeping = kept = later = serving = wrong = 0;
    lowest = INPUTS - 1;
    for (unsigned i = 0; i < ARRAY_SIZE(irqs); i++) {
        unsigned irq = irqs[i];
        bool level = s->levels && (s->way == BY_IOAPIC || (CAN_BE_LEVEL & bit(irq)) != 0);
        wanted[irq] = 0;
        if ((lines & bit(irq)) != 0)
            isa_open(irq, s->way, level);
    }
    restart_pic(s->icw4);
    if (s->first != 0)
        out8(PIC_1, s->first);
}

static void end(void)
{
    isa_let_in();
    set_lines(lines, false);
    for (unsigned i = 0; i < ARRAY_SIZE(irqs); i++)
        if ((lines & bit(irqs[i])) != 0)
            isa_close(irqs[i]);
    out8(PIC_1, PIC_SPECIAL_OFF);
    stop_lines();
    for (unsigned i = 0; i < ARRAY_SIZE(irqs); i++)
        expect(isa_taken[irqs[i]] == wanted[irqs[i]], "IRQ %u: %u taken, of %u", irqs[i],
               isa_taken[irqs[i]], wanted[irqs[i]]);
    expect(wrong == 0, "%u out of order, or masked", wrong);
    expect(isa_odd == 0, "%u that nobody asked for", isa_odd);
}

/* At the I/O APIC, edges of LOST have gone: they have others. */
static void release(unsigned set, unsigned lost)
{
    set_lines((kept & set) | lost, false);
    kept &= ~set;
    shut &= ~set;
    mask(set, false);
    set_lines(lost, true);
}

static bool wait_for_all(void)
{
    bool all = true;
    for (unsigned i = 0; i < ARRAY_SIZE(irqs); i++)
        if ((lines & bit(irqs[i])) != 0)
            all = isa_wait(irqs[i], wanted[irqs[i]]) && all;
    return all;
}

/* Where a bare QEMU's slave is masked too late, its master's request stays: it is spurious. */
static unsigned masked_late(void)
{
    return isa_random() & lines & (is_bare_qemu() ? ~bit(IRQ_RTC) : UINT32_MAX);
}

static bool one_round(void)
{
    unsigned before = isa_random() & lines, after = masked_late() & ~before;
    unsigned set = isa_random() & lines, edges = !is_by_pic() && !storm->levels ? before : 0;
    keeping = isa_random() & isa_random() & lines;
    later = isa_random() & isa_random() & set & ~before & ~after;
    later = later == set ? 0 : later;
    for (unsigned i = 0; i < ARRAY_SIZE(irqs); i++)
        wanted[irqs[i]] += set >> irqs[i] & 1;
    shut = before;
    mask(before, true);
    raise(set & ~later);
    mask(after, true);
    shut |= weighs() ? after : 0;
    wait_a_little();
    release(before | after, set & edges);
    bool all = wait_for_all();
    wait_a_little();
    release(kept, 0);
    wait_a_little();
    return all;
}

void lines_storm(const struct storm *s)
{
    begin(s, on_line);
    for (unsigned i = 0; i < s->rounds; i++)
        if (!one_round())
            break;
    end();
    expect(isa_spurious == 0, "%u spurious", isa_spurious);
}

/* --- races ------------------------------------------------------------------------------------ */

static volatile unsigned lowered; /* a bit an IRQ */

static void lower(unsigned irq)
{
    set_line(irq, false);
    __atomic_or_fetch(&lowered, bit(irq), __ATOMIC_RELEASE);
}

static void raise_all(unsigned cpu)
{
    (void)cpu;
    for (unsigned i = 0; i < storm->rounds; i++) {
        for (uint64_t start = rdtsc(); lowered != lines; smp_relax())
            if (rdtsc() - start > machine_ticks(LONG_MS))
                return;
        lowered = 0;
        for (unsigned k = 0; k < ARRAY_SIZE(irqs); k++)
            if ((lines & bit(irqs[(i + k) % ARRAY_SIZE(irqs)])) != 0)
                set_line(irqs[(i + k) % ARRAY_SIZE(irqs)], true);
    }
}

/* The 8259s' request may be gone when the CPU acknowledges it: bare machines have spurious ones. */
void lines_race(const struct storm *s)
{
    begin(s, lower);
    lowered = lines;
    for (unsigned i = 0; i < ARRAY_SIZE(irqs); i++)
        wanted[irqs[i]] = (lines & bit(irqs[i])) != 0 ? s->rounds : 0;
    smp_begin(1, raise_all);
    while (!smp_is_done(1)) {
        unsigned set = isa_random() & lines;
        mask(set, true);
        wait_a_little();
        mask(set, false);
        wait_a_little();
    }
    wait_for_all();
    end();
    if (machine.nosnoop)
        expect(isa_spurious == 0, "%u spurious", isa_spurious);
}
