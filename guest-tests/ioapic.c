/*
 * The I/O APIC: registers, edges and levels with remote IRR and EOIs of all kinds, masks,
 * destinations and delivery modes, and storms of edges and levels with masking races, with the
 * local APICs in each of their modes.
 *
 * row: ioapic end=0 control-timeout=30
 * row: ioapic.2 end=0 cpus=2 timeout=60 control-timeout=30
 * row: ioapic.4 end=0 cpus=4 timeout=90 control-timeout=60
 * row: ioapic.x2 end=0 cpus=2 cmdline="apic=x2" timeout=60 control-timeout=30
 * row: ioapic.x2.4 end=0 cpus=4 cmdline="apic=x2 only=destinations"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/isa.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/lines.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/smp.h"

enum { LONG_MS = 5000, STORM = 300, ROUNDS = 40, RACES = 20, VECTOR = VECTOR_PIN + IRQ_COM1 };
enum { ID_MASK = 0xf << 24, ALL = 0xff };

#define ENTRY_WRITABLE 0xff0000000001afffull
#define ENTRY_SHOWN    0xff0000000001ffffull
#define IOAPIC_EOI     ((volatile uint32_t *)0xfec00040)
#define DEST(id)       ((uint64_t)(id) << 56)

static bool is_bare_bochs(void)
{
    return !machine.nosnoop && machine_is_bochs();
}

/* --- registers -------------------------------------------------------------------------------- */

static void registers(void)
{
    uint32_t version = ioapic_get(IOAPIC_VERSION), id = ioapic_get(IOAPIC_ID);
    expect((version >> 16 & 0xff) == IOAPIC_PINS - 1, "version %x", version);
    ioapic_set(IOAPIC_ID, 0x05000000);
    uint32_t five = ioapic_get(IOAPIC_ID);
    ioapic_set(IOAPIC_ID, id);
    expect((five & ID_MASK) == 0x05000000, "ID %x", five);
    expect((ioapic_get(IOAPIC_ID) & ID_MASK) == (id & ID_MASK), "the ID did not come back");
    ioapic_set(IOAPIC_VERSION, 0);
    expect(ioapic_get(IOAPIC_VERSION) == version, "the version can be written");
}

static void store_string(uint64_t at, uint32_t value)
{
    uint64_t count = 1;
    __asm__ volatile("rep stosl" : "+D"(at), "+c"(count) : "a"(value) : "memory");
    expect(count == 0 && at % 16 == 4, "count %lu, RDI %lx", count, at);
}

static void registers_by_stos(void)
{
    const uint64_t select = 0xfec00000, window = 0xfec00010;
    uint32_t id = ioapic_get(IOAPIC_ID);
    (void)ioapic_get(IOAPIC_VERSION);
    store_string(select, IOAPIC_ID);
    store_string(window, 0x05000000);
    uint32_t five = ioapic_get(IOAPIC_ID);
    ioapic_set(IOAPIC_ID, id);
    expect((five & ID_MASK) == 0x05000000, "ID %x", five);
}

/* All but the two that hardware sets; masked throughout. */
static void entries(void)
{
    for (unsigned i = 0; i < 20 * IOAPIC_PINS; i++) {
        unsigned pin = i % IOAPIC_PINS;
        uint64_t value =
            ((uint64_t)isa_random() << 32 | isa_random() | PIN_MASKED) & ENTRY_WRITABLE;
        pin_set(pin, value | PIN_MASKED);
        uint64_t back = pin_get(pin);
        pin_set(pin, PIN_MASKED);
        if (!expect((back & ENTRY_SHOWN & ~(uint64_t)PIN_PENDING) == value, "pin %u: %lx, not %lx",
                    pin, back, value))
            break;
    }
}

static const char *needs_read_only(void)
{
    return is_bare_bochs() ? "emulator: remote IRR can be written" : NULL;
}

static void read_only(void)
{
    pin_set(IRQ_COM1, PIN_MASKED | PIN_LEVEL | PIN_REMOTE_IRR | PIN_PENDING | VECTOR);
    uint64_t back = pin_get(IRQ_COM1);
    pin_set(IRQ_COM1, PIN_MASKED);
    expect(back == (PIN_MASKED | PIN_LEVEL | VECTOR), "%lx", back);
}

/* --- edges and levels ------------------------------------------------------------------------- */

static void edge(void)
{
    isa_clear();
    line_init();
    isa_open(IRQ_COM1, BY_IOAPIC, false);
    line_set(true);
    bool comes = isa_wait(IRQ_COM1, 1);
    isa_let_in();
    unsigned high = isa_taken[IRQ_COM1];
    line_set(false);
    isa_let_in();
    unsigned low = isa_taken[IRQ_COM1];
    line_set(true);
    isa_wait(IRQ_COM1, 2);
    line_set(false);
    isa_close(IRQ_COM1);
    expect(comes && high == 1 && low == 1, "taken %u times, then %u", high, low);
    expect(isa_taken[IRQ_COM1] == 2, "taken %u times", isa_taken[IRQ_COM1]);
}

static void masked_edge(void)
{
    isa_clear();
    line_init();
    isa_open(IRQ_COM1, BY_IOAPIC, false);
    isa_mask(IRQ_COM1, BY_IOAPIC, true);
    line_set(true);
    isa_mask(IRQ_COM1, BY_IOAPIC, false);
    isa_let_in();
    line_set(false);
    isa_close(IRQ_COM1);
    expect(isa_taken[IRQ_COM1] == 0, "taken %u times", isa_taken[IRQ_COM1]);
}

/* The end of a count that nobody looks at meanwhile; that of another is taken. */
static void masked_timer(void)
{
    enum { COUNT = 1193 };
    isa_clear();
    pit_start(0, COUNT);
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(20);)
        sti_nop_cli();
    isa_open(IRQ_PIT, BY_IOAPIC, false);
    isa_let_in();
    unsigned early = isa_taken[IRQ_PIT];
    pit_start(0, COUNT);
    isa_wait(IRQ_PIT, early + 1);
    isa_close(IRQ_PIT);
    expect(early == 0, "taken %u times", early);
    expect(isa_taken[IRQ_PIT] == early + 1, "then taken %u times", isa_taken[IRQ_PIT]);
}

static uint64_t inside;
static unsigned lower_at;

/* The level stays for some interrupts. */
static void lower_at_last(unsigned irq)
{
    if (irq != IRQ_COM1)
        return;
    inside = pin_get(IRQ_COM1);
    if (isa_taken[IRQ_COM1] >= lower_at)
        line_set(false);
}

static const char *needs_levels(void)
{
    return is_bare_bochs() ? "emulator: a level that stays is not sent again" : NULL;
}

static void level(void)
{
    enum { TIMES = 3 };
    isa_clear();
    line_init();
    lower_at = TIMES;
    isa_hook = lower_at_last;
    isa_open(IRQ_COM1, BY_IOAPIC, true);
    line_set(true);
    isa_wait(IRQ_COM1, TIMES);
    isa_let_in();
    uint64_t after = pin_get(IRQ_COM1);
    line_set(false);
    isa_close(IRQ_COM1);
    expect(isa_taken[IRQ_COM1] == TIMES, "taken %u times", isa_taken[IRQ_COM1]);
    expect((inside & PIN_REMOTE_IRR) != 0, "before its EOI: %lx", inside);
    expect((after & PIN_REMOTE_IRR) == 0, "after it: %lx", after);
}

static void masked_level(void)
{
    isa_clear();
    line_init();
    lower_at = 1;
    isa_hook = lower_at_last;
    isa_open(IRQ_COM1, BY_IOAPIC, true);
    isa_mask(IRQ_COM1, BY_IOAPIC, true);
    line_set(true);
    isa_let_in();
    unsigned held = isa_taken[IRQ_COM1];
    isa_mask(IRQ_COM1, BY_IOAPIC, false);
    isa_wait(IRQ_COM1, 1);
    isa_let_in();
    line_set(false);
    isa_close(IRQ_COM1);
    expect(held == 0, "taken %u times while masked", held);
    expect(isa_taken[IRQ_COM1] == 1, "taken %u times", isa_taken[IRQ_COM1]);
}

/* Linux's way where there is no EOI register: made an edge, masked, and a level again. */
static uint64_t by_hand[2];

static void forget_by_hand(unsigned irq)
{
    if (irq != IRQ_COM1)
        return;
    by_hand[0] = pin_get(IRQ_COM1);
    line_set(false);
    ioapic_set(IOAPIC_TABLE + 2 * IRQ_COM1, PIN_MASKED | VECTOR);
    ioapic_set(IOAPIC_TABLE + 2 * IRQ_COM1, PIN_LEVEL | VECTOR);
    by_hand[1] = pin_get(IRQ_COM1);
}

static void forget_by_register(unsigned irq)
{
    if (irq != IRQ_COM1)
        return;
    by_hand[0] = pin_get(IRQ_COM1);
    line_set(false);
    *IOAPIC_EOI = VECTOR;
    by_hand[1] = pin_get(IRQ_COM1);
}

static void forget(void (*how)(unsigned irq))
{
    isa_clear();
    line_init();
    isa_hook = how;
    isa_open(IRQ_COM1, BY_IOAPIC, true);
    line_set(true);
    isa_wait(IRQ_COM1, 1);
    line_set(true);
    isa_wait(IRQ_COM1, 2);
    line_set(false);
    isa_close(IRQ_COM1);
    expect(isa_taken[IRQ_COM1] == 2, "taken %u times", isa_taken[IRQ_COM1]);
    expect((by_hand[0] & PIN_REMOTE_IRR) != 0 && (by_hand[1] & PIN_REMOTE_IRR) == 0,
           "%lx, then %lx", by_hand[0], by_hand[1]);
}

static const char *needs_edge_forgets(void)
{
    return is_bare_bochs() ? "emulator: remote IRR stays where a level becomes an edge" : NULL;
}

static void eoi_by_hand(void)
{
    forget(forget_by_hand);
}

static const char *needs_eoi_register(void)
{
    return (ioapic_get(IOAPIC_VERSION) & 0xff) >= 0x20 ? NULL : "the I/O APIC has no EOI register";
}

static void eoi_register(void)
{
    forget(forget_by_register);
}

/* --- destinations and modes ------------------------------------------------------------------- */

static uint32_t counts[SMP_MAX];
static void (*old_hook)(struct interrupt_frame *frame);

static void count_by_cpu(struct interrupt_frame *frame)
{
    if (frame->vector != VECTOR) {
        old_hook(frame);
        return;
    }
    __atomic_add_fetch(&counts[smp_index()], 1, __ATOMIC_RELEASE);
    apic_set(EOI, 0);
}

static volatile bool listening;
static unsigned listeners;

static void listen(unsigned cpu)
{
    apic_set(TPR, 0);
    if (!apic_x2) {
        apic_set(DFR, 0xffffffff);
        apic_set(LDR, 1u << (24 + cpu));
    }
    __atomic_add_fetch(&listeners, 1, __ATOMIC_RELEASE);
    while (listening)
        sti_nop_cli();
}

static unsigned all_taken(void)
{
    unsigned all = 0;
    for (unsigned i = 0; i < SMP_MAX; i++)
        all += __atomic_load_n(&counts[i], __ATOMIC_ACQUIRE);
    return all;
}

/* An edge by that entry: waits for all that should be taken, and a moment for what should not. */
static void send(uint64_t entry, unsigned wanted)
{
    for (unsigned i = 0; i < SMP_MAX; i++)
        counts[i] = 0;
    pin_set(IRQ_COM1, entry | VECTOR);
    line_set(true);
    for (uint64_t start = rdtsc();
         all_taken() < wanted && rdtsc() - start < machine_ticks(LONG_MS);)
        sti_nop_cli();
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(20);)
        sti_nop_cli();
    line_set(false);
    pin_set(IRQ_COM1, PIN_MASKED);
}

/* A bit a CPU that has taken one. */
static uint32_t taken_by(void)
{
    uint32_t by = 0;
    for (unsigned i = 0; i < SMP_MAX; i++)
        by |= counts[i] == 0 ? 0 : counts[i] == 1 ? 1u << i : 1u << 31;
    return by;
}

static void begin_destinations(void)
{
    isa_clear();
    line_init();
    old_hook = interrupt_hook;
    interrupt_hook = count_by_cpu;
    listening = true;
    listeners = 0;
    if (!apic_x2) {
        apic_set(DFR, 0xffffffff);
        apic_set(LDR, 1u << 24);
    }
    for (unsigned i = 1; i < smp_count(); i++)
        smp_begin(i, listen);
    while (__atomic_load_n(&listeners, __ATOMIC_ACQUIRE) < smp_count() - 1)
        smp_relax();
}

static void end_destinations(void)
{
    listening = false;
    for (unsigned i = 1; i < smp_count(); i++)
        smp_wait(i);
    isa_let_in();
    interrupt_hook = old_hook;
}

static void expect_sent(const char *what, uint64_t entry, uint32_t wanted)
{
    unsigned cpus = 0;
    for (uint32_t left = wanted; left != 0; left &= left - 1)
        cpus++;
    send(entry, cpus);
    uint32_t by = taken_by();
    expect(by == wanted, "%s: taken by %x, not %x", what, by, wanted);
}

static void destinations(void)
{
    uint32_t all = (1u << smp_count()) - 1;
    begin_destinations();
    expect_sent("physical 0", DEST(0), 1);
    expect_sent("physical 1", DEST(1), 2);
    expect_sent("all", DEST(ALL), all);
    end_destinations();
}

static const char *needs_others_levels(void)
{
    return needs_levels() != NULL ? needs_levels() : needs_two_cpus();
}

enum { LEVELS = 3 };

/* The level stays until the last of them: each EOI but that sends another. */
static void lower_by_cpu(struct interrupt_frame *frame)
{
    if (frame->vector == VECTOR && counts[smp_index()] == LEVELS - 1)
        line_set(false);
    count_by_cpu(frame);
}

static void others_levels(void)
{
    begin_destinations();
    interrupt_hook = lower_by_cpu;
    for (unsigned cpu = 1; cpu < smp_count(); cpu++) {
        send(DEST(cpu) | PIN_LEVEL, LEVELS);
        expect(counts[cpu] == LEVELS && all_taken() == LEVELS, "CPU %u: taken %u times, of %u", cpu,
               counts[cpu], all_taken());
    }
    end_destinations();
}

static const char *needs_nobody(void)
{
    return is_bare_bochs() ? "emulator: a message to nobody is sent again and again" : NULL;
}

static void nobody(void)
{
    begin_destinations();
    expect_sent("physical 9", DEST(9), 0);
    end_destinations();
}

static const char *needs_logical(void)
{
    if (is_bare_bochs() && apic_x2)
        return "emulator: logical destinations of 8 bits reach no x2APIC";
    return needs_two_cpus();
}

static void logical(void)
{
    begin_destinations();
    expect_sent("logical 2", DEST(2) | PIN_LOGICAL, 2);
    expect_sent("logical 3", DEST(3) | PIN_LOGICAL, 3);
    end_destinations();
}

static void lowest_priority(void)
{
    begin_destinations();
    send(DEST(3) | PIN_LOGICAL | LOWEST, 1);
    uint32_t by = taken_by();
    end_destinations();
    expect(by == 1 || by == 2, "taken by %x", by);
}

static volatile unsigned nmis;

static bool on_nmi(struct fault_frame *frame)
{
    if (frame->vector != VECTOR_NMI)
        return false;
    nmis++;
    return true;
}

static void nmi(void)
{
    isa_clear();
    line_init();
    nmis = 0;
    fault_hook = on_nmi;
    pin_set(IRQ_COM1, NMI | VECTOR);
    line_set(true);
    for (uint64_t start = rdtsc(); nmis == 0 && rdtsc() - start < machine_ticks(LONG_MS);)
        smp_relax();
    line_set(false);
    pin_set(IRQ_COM1, PIN_MASKED);
    fault_hook = NULL;
    expect(nmis == 1, "%u NMIs", nmis);
}

/* --- storms ----------------------------------------------------------------------------------- */

static void storm_of_edges(void)
{
    isa_storm(BY_IOAPIC, false, STORM);
}

static void storm_of_levels(void)
{
    isa_storm(BY_IOAPIC, true, STORM);
}

static void race_of_levels(void)
{
    isa_race(BY_IOAPIC, true, STORM);
}

static void edges_together(void)
{
    lines_storm(&(struct storm){.way = BY_IOAPIC, .rounds = ROUNDS});
}

static void levels_together(void)
{
    lines_storm(&(struct storm){.way = BY_IOAPIC, .levels = true, .rounds = ROUNDS});
}

static const char *needs_race(void)
{
    if (is_bare_bochs())
        return "emulator: a level is sent again where it is unmasked before its EOI";
    return needs_two_cpus() != NULL ? needs_two_cpus() : needs_lines();
}

static void race_of_lines(void)
{
    lines_race(&(struct storm){.way = BY_IOAPIC, .levels = true, .rounds = RACES});
}

static const struct test_case cases[] = {
    {"registers", NULL, registers},
    {"registers by STOS", NULL, registers_by_stos},
    {"entries", NULL, entries},
    {"delivery status and remote IRR are read-only", needs_read_only, read_only},
    {"an edge", NULL, edge},
    {"an edge at a masked pin is lost", NULL, masked_edge},
    {"a timer's edge at a masked pin is lost", NULL, masked_timer},
    {"a level", needs_levels, level},
    {"a level at a masked pin waits", NULL, masked_level},
    {"an EOI by hand", needs_edge_forgets, eoi_by_hand},
    {"the EOI register", needs_eoi_register, eoi_register},
    {"NMI", NULL, nmi},
    {"destinations", needs_two_cpus, destinations},
    {"levels of other CPUs", needs_others_levels, others_levels},
    {"nobody", needs_nobody, nobody},
    {"logical destinations", needs_logical, logical},
    {"lowest priority", needs_logical, lowest_priority},
    {"a storm of edges", NULL, storm_of_edges},
    {"a storm of levels", NULL, storm_of_levels},
    {"levels of another CPU", needs_two_cpus, race_of_levels},
    {"edges together", needs_lines, edges_together},
    {"levels together", needs_lines, levels_together},
    {"levels of another CPU, together", needs_race, race_of_lines},
};

static const struct test_case only_destinations[] = {
    {"destinations", needs_two_cpus, destinations},
    {"levels of other CPUs", needs_others_levels, others_levels},
    {"logical destinations", needs_logical, logical},
    {"lowest priority", needs_logical, lowest_priority},
};

static void skip_all(const struct test_case *table, unsigned n, const char *reason)
{
    for (unsigned i = 0; i < n; i++) {
        ktap_start(table[i].name);
        skip(reason);
        ktap_finish();
    }
}

static void run(const struct test_case *table, unsigned n)
{
    bool x2 = cmdline_has("apic", "x2");
    ktap_begin(n);
    if (x2 && needs_x2apic() != NULL) {
        skip_all(table, n, needs_x2apic());
        ktap_end();
    }
    smp_set_x2apic(x2);
    ktap_run(table, n);
    ktap_end();
}

void test_main(void)
{
    isa_init();
    smp_start();
    if (cmdline_has("only", "destinations"))
        run(only_destinations, ARRAY_SIZE(only_destinations));
    run(cases, ARRAY_SIZE(cases));
}
