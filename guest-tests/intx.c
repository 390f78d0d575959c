/*
 * INTx of several of QEMU's devices for education, by the I/O APIC and by the 8259s' level: lines
 * that are shared, masked while they are asserted, ended before the device is served, turned off.
 * One interrupt serves one device: as long as another is left, it has to come again, and none may
 * come for nothing.
 *
 * row: intx end=0 timeout=60 control-timeout=30 device=edu
 * row: intx.amd end=0 timeout=60 device=edu iommu=amd control=skip control-reason="as intx"
 * row: intx.amd-3 end=0 timeout=60 device=edu device=edu-2 device=edu-13 iommu=amd control=skip
 *      control-reason="as intx.4"
 * row: intx.4 end=0 timeout=60 control-timeout=30 device=edu device=edu-2 device=edu-13
 *      device=edu-bridge
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/edu.h"
#include "guest-tests/runtime/isa.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/x86.h"

enum { MOST = 8, BUSES = 2, VECTOR_INTX = 0x60, STORM = 300, WAIT_MS = 2000 };

/* A device. */
struct card {
    bdf_t bdf;
    volatile uint32_t *registers;
    unsigned line[2]; /* by the 8259s: its IRQ; by the I/O APIC: its pin */
    bool off;         /* it is not to be served by interrupts */
};

static struct card cards[MOST];
static unsigned card_count;
static enum way way;

/* What an interrupt does beside its EOI: it serves one device, but for the first ones that do
 * nothing; or masks its line. */
static bool masks;
static unsigned lazy;
static unsigned served, empty, other, taken; /* since begin() */

static uint32_t get(const struct card *card, unsigned reg)
{
    return card->registers[reg / 4];
}

static void raise(const struct card *card)
{
    card->registers[EDU_RAISE / 4] = 1;
    (void)get(card, EDU_IRQ);
}

static bool serve(const struct card *card)
{
    uint32_t status = get(card, EDU_IRQ);
    if (status == 0)
        return false;
    card->registers[EDU_ACK / 4] = status;
    (void)get(card, EDU_IRQ);
    served++;
    return true;
}

/* --- lines ------------------------------------------------------------------------------------ */

static void mask_line(unsigned line, bool masked)
{
    if (way == BY_PIC) {
        pic_mask(line, masked);
        return;
    }
    unsigned reg = IOAPIC_TABLE + 2 * line;
    ioapic_set(reg, (ioapic_get(reg) & ~(uint32_t)PIN_MASKED) | (masked ? PIN_MASKED : 0));
}

static void mask_all(bool masked)
{
    for (unsigned i = 0; i < card_count; i++)
        mask_line(cards[i].line[way], masked);
}

static void turn(struct card *card, bool on)
{
    pci_command(card->bdf, on ? 0 : COMMAND_NO_INTX, on ? COMMAND_NO_INTX : 0);
    card->off = !on;
}

static void turn_all(bool on)
{
    for (unsigned i = 0; i < card_count; i++)
        turn(&cards[i], on);
}

static void begin(void)
{
    masks = false;
    lazy = 0;
    served = empty = other = taken = 0;
    for (unsigned i = 0; i < card_count; i++) {
        if (way == BY_PIC)
            isa_open(cards[i].line[BY_PIC], BY_PIC, true);
        else
            pci_open_intx(cards[i].bdf, VECTOR_INTX + cards[i].line[BY_IOAPIC]);
    }
    turn_all(true);
}

/* All has been served that was to be, and nothing came for nothing. */
static void end(unsigned wanted)
{
    isa_let_in();
    expect(served == wanted, "%u served, of %u", served, wanted);
    expect(empty == 0 && other == 0, "%u interrupts for nothing, %u others", empty, other);
    mask_all(true);
    turn_all(false);
}

static bool wait_for(const unsigned *count, unsigned wanted)
{
    for (uint64_t start = rdtsc(); *(const volatile unsigned *)count < wanted;) {
        sti_nop_cli();
        if (rdtsc() - start > machine_ticks(WAIT_MS))
            return expect(false, "%u, not %u", *count, wanted);
    }
    return true;
}

/* --- interrupts ------------------------------------------------------------------------------- */

static void act(unsigned line)
{
    bool any = false;
    taken++;
    if (masks)
        mask_line(line, true);
    if (masks || taken <= lazy)
        return;
    for (unsigned i = 0; i < card_count && !any; i++)
        any = cards[i].line[way] == line && !cards[i].off && serve(&cards[i]);
    empty += !any;
}

static void take(struct interrupt_frame *frame)
{
    unsigned vector = (unsigned)frame->vector;
    if (way == BY_PIC && vector - VECTOR_PIC < IRQS && (vector - VECTOR_PIC) % 8 != 7) {
        act(vector - VECTOR_PIC);
        pic_eoi(vector - VECTOR_PIC);
    } else if (way == BY_IOAPIC && vector - VECTOR_INTX < IOAPIC_PINS) {
        act(vector - VECTOR_INTX);
        apic_set(EOI, 0);
    } else {
        other++;
    }
}

/* --- cases ------------------------------------------------------------------------------------ */

static void firmware_made_levels(void)
{
    unsigned elcr = in8(ELCR_1) | (unsigned)in8(ELCR_2) << 8;
    for (unsigned i = 0; i < card_count; i++)
        expect((elcr >> cards[i].line[BY_PIC] & 1) != 0, "IRQ %u is an edge",
               cards[i].line[BY_PIC]);
}

static void each(void)
{
    begin();
    for (unsigned i = 0; i < card_count; i++) {
        raise(&cards[i]);
        wait_for(&served, i + 1);
    }
    end(card_count);
}

static void all_at_once(void)
{
    begin();
    for (unsigned i = 0; i < card_count; i++)
        raise(&cards[i]);
    wait_for(&served, card_count);
    end(card_count);
}

/* It comes again as long as the device is not served. */
static void ended_before(void)
{
    begin();
    lazy = 3;
    raise(&cards[0]);
    wait_for(&served, 1);
    isa_let_in();
    expect(taken == lazy + 1, "%u taken", taken);
    end(1);
}

/* What is masked waits, and is gone where the device is silent again. */
static void masked(void)
{
    begin();
    mask_all(true);
    for (unsigned i = 0; i < card_count; i++)
        raise(&cards[i]);
    isa_let_in();
    expect(taken == 0, "%u taken while masked", taken);
    serve(&cards[0]);
    mask_all(false);
    wait_for(&served, card_count);
    isa_let_in();
    expect(taken == card_count - 1, "%u taken", taken);
    end(card_count);
}

/* As systems do that serve devices by threads. */
static void masked_by_its_handler(void)
{
    begin();
    for (unsigned i = 0; i < card_count; i++) {
        masks = true;
        taken = 0;
        raise(&cards[i]);
        wait_for(&taken, 1);
        isa_let_in();
        serve(&cards[i]);
        masks = false;
        mask_line(cards[i].line[way], false);
        isa_let_in();
        expect(taken == 1, "taken %u times", taken);
    }
    end(card_count);
}

/* "Command Register", Interrupt Disable: what it asserts no more does not come. */
static void turned_off(void)
{
    begin();
    mask_all(true);
    for (unsigned i = 0; i < card_count; i++)
        raise(&cards[i]);
    isa_let_in();
    turn(&cards[0], false);
    mask_all(false);
    wait_for(&served, card_count - 1);
    isa_let_in();
    expect(taken == card_count - 1, "%u taken, %u for nothing", taken, empty);
    turn(&cards[0], true);
    wait_for(&served, card_count);
    end(card_count);
}

/* Raised by turns, with lines open or masked meanwhile, and served by interrupts or without. */
static void storm(void)
{
    unsigned raised = 0;
    begin();
    for (unsigned n = 0; n < STORM; n++) {
        uint32_t how = isa_random();
        bool behind = (how & 1) != 0;
        mask_all(behind);
        for (unsigned i = 0; i < card_count; i++)
            if ((how >> (8 + i) & 1) != 0) {
                raise(&cards[i]);
                raised++;
            }
        if ((how & 2) != 0)
            isa_let_in();
        for (unsigned i = 0; i < card_count && behind && (how & 4) != 0; i++)
            serve(&cards[i]);
        mask_all(false);
        wait_for(&served, raised);
    }
    end(raised);
}

/* --- tables ----------------------------------------------------------------------------------- */

static const struct test_case cases[] = {
    {"each", NULL, each},
    {"all at once", NULL, all_at_once},
    {"ended before it is served", NULL, ended_before},
    {"masked while it is asserted", NULL, masked},
    {"masked by its handler", NULL, masked_by_its_handler},
    {"turned off while it is asserted", NULL, turned_off},
    {"a storm", NULL, storm},
};

static void run_by(enum way by, const char *name)
{
    print("# by %s\n", name);
    way = by;
    ktap_run(cases, ARRAY_SIZE(cases));
}

static void add(bdf_t bdf)
{
    struct card *card = &cards[card_count];
    if (card_count == MOST || pci_get(bdf, PCI_VENDOR, 4) != (EDU_DEVICE << 16 | EDU_VENDOR))
        return;
    struct pci_bar bar = pci_bar(bdf, 0);
    card->bdf = bdf;
    card->registers = (volatile uint32_t *)(uintptr_t)pci_map(&bar);
    card->line[BY_PIC] = pci_get(bdf, PCI_LINE, 1);
    if (!pci_intx(bdf, &card->line[BY_IOAPIC]))
        return;
    pci_command(bdf, COMMAND_MEMORY | COMMAND_NO_INTX, 0);
    print("# %x: pin %u, IRQ %u\n", bdf, card->line[BY_IOAPIC], card->line[BY_PIC]);
    card_count++;
}

static void found(void)
{
    expect(card_count != 0, "there is no edu with INTx");
}

static const struct test_case first_cases[] = {
    {"devices are found", NULL, found},
    {"firmware has made their IRQs levels", NULL, firmware_made_levels},
};

void test_main(void)
{
    pci_init();
    for (unsigned device = 0; device < BUSES * 32; device++)
        add((bdf_t)(device << 3));
    ktap_begin(ARRAY_SIZE(first_cases) + 2 * ARRAY_SIZE(cases));
    ktap_run(first_cases, ARRAY_SIZE(first_cases));
    isa_init();
    interrupt_hook = take;
    run_by(BY_IOAPIC, "the I/O APIC");
    run_by(BY_PIC, "the 8259s");
    ktap_end();
}
