/*
 * A 16550: registers, FIFOs, loopback, the modem's lines, every cause of an interrupt in its order,
 * by the 8259s and by the I/O APIC, and how its line looks as an edge and as a level. All in
 * loopback, but for what shows that characters leave.
 *
 * row: serial end=0 timeout=30 control-timeout=30
 * row: serial.4 end=0 cpus=4 timeout=60 control=skip
 *      control-reason="emulator: with several CPUs, characters come at any time"
 * row: serial.com2 end=0 cmdline="port=760" control-timeout=30
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/isa.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCRATCH, FCR = IIR, COM1 = 0x3f8, FIFO_SIZE = 16 };
enum { IER_DATA = 1, IER_EMPTY = 2, IER_LINE = 4, IER_MODEM = 8, IER_ALL = 15 };
enum { IIR_NONE = 1, IIR_LINE = 6, IIR_DATA = 4, IIR_TIMEOUT = 12, IIR_EMPTY = 2, IIR_MODEM = 0 };
enum { FCR_ON = 1, FCR_CLEAR = 6, FCR_4 = 0x40, FCR_8 = 0x80, FCR_14 = 0xc0, IIR_FIFO = 0xc0 };
enum { LCR_8N1 = 3, LCR_BREAK = 0x40, LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16 };
enum { LSR_READY = 1, LSR_OVERRUN = 2, LSR_BREAK = 0x10, LSR_EMPTY = 0x60 };
enum { CTS = 0x10, DSR = 0x20, RI = 0x40, DCD = 0x80, D_CTS = 1, D_DSR = 2, T_RI = 4, D_DCD = 8 };

static uint16_t base;
static unsigned irq;

static uint8_t get(unsigned reg)
{
    return in8((uint16_t)(base + reg));
}

static void set(unsigned reg, unsigned value)
{
    out8((uint16_t)(base + reg), (uint8_t)value);
}

static const char *needs_port(void)
{
    return get(LSR) != 0xff ? NULL : "there is no such port";
}

/* REASON on the bare emulators that are so. */
static const char *unless(bool bochs, bool qemu, const char *reason)
{
    if (needs_port() != NULL)
        return needs_port();
    return !machine.nosnoop && (machine_is_bochs() ? bochs : qemu) ? reason : NULL;
}

static const char *needs_break(void)
{
    return unless(false, true, "emulator: breaks do not loop");
}

static const char *needs_no_out2(void)
{
    return unless(true, false, "emulator: OUT2 holds interrupts back");
}

static const char *needs_order(void)
{
    return unless(true, true, "emulator: causes are lost while they are not enabled");
}

static const char *needs_clear(void)
{
    return unless(true, false, "emulator: data stay ready where the FIFO is cleared");
}

static const char *needs_changes(void)
{
    return unless(false, true, "emulator: the modem's lines in loopback change unseen");
}

static bool wait_lsr(unsigned bits)
{
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(2000);)
        if ((get(LSR) & bits) == bits)
            return true;
    return false;
}

/* At 115200 with MCR, and nothing left over. What was printed before has left. */
static void begin(unsigned fcr, unsigned mcr)
{
    wait_lsr(LSR_EMPTY);
    set(IER, 0);
    set(LCR, LCR_DLAB | LCR_8N1);
    set(DATA, 1);
    set(IER, 0);
    set(LCR, LCR_8N1);
    set(FCR, 0);
    set(FCR, fcr);
    set(MCR, mcr);
    for (unsigned i = 0; i < FIFO_SIZE; i++)
        get(DATA);
    get(LSR);
    get(MSR);
    get(IIR);
}

/* Ready to print again. */
static void end(void)
{
    set(IER, 0);
    set(LCR, LCR_8N1);
    set(FCR, 0);
    set(FCR, FCR_ON | FCR_CLEAR);
    set(MCR, MCR_DTR | MCR_RTS);
    get(LSR);
    get(MSR);
}

static void send(unsigned value)
{
    wait_lsr(LSR_EMPTY);
    set(DATA, value);
    wait_lsr(LSR_EMPTY);
}

/* --- registers -------------------------------------------------------------------------------- */

static void registers(void)
{
    unsigned wrong = 0;
    begin(0, MCR_LOOP);
    for (unsigned i = 0; i < 256; i++) {
        set(SCRATCH, i);
        wrong += get(SCRATCH) != i;
        set(LCR, (i & 0x3f) | LCR_DLAB);
        wrong += get(LCR) != ((i & 0x3f) | LCR_DLAB);
        set(DATA, i);
        set(IER, 255 - i);
        wrong += get(DATA) != i || get(IER) != 255 - i;
    }
    set(LCR, LCR_8N1);
    set(IER, 0xff);
    uint8_t ier = get(IER);
    set(IER, 0);
    set(MCR, 0xff);
    uint8_t mcr = get(MCR);
    end();
    expect(wrong == 0, "%u differences", wrong);
    expect(ier == IER_ALL && mcr == 0x1f, "IER %x, MCR %x", ier, mcr);
}

static void fifos_show(void)
{
    begin(0, MCR_LOOP);
    uint8_t without = get(IIR);
    set(FCR, FCR_ON | FCR_CLEAR);
    uint8_t with = get(IIR);
    set(FCR, 0);
    uint8_t again = get(IIR);
    end();
    expect((without & IIR_FIFO) == 0 && (with & IIR_FIFO) == IIR_FIFO && (again & IIR_FIFO) == 0,
           "%x, %x, %x", without, with, again);
}

/* --- loopback --------------------------------------------------------------------------------- */

static void characters(void)
{
    unsigned wrong = 0;
    begin(0, MCR_LOOP);
    for (unsigned i = 0; i < 256; i++) {
        send(i);
        wrong += !wait_lsr(LSR_READY) || get(DATA) != i || (get(LSR) & LSR_READY) != 0;
    }
    end();
    expect(wrong == 0, "%u differences", wrong);
}

static void fifo_order(void)
{
    unsigned wrong = 0;
    begin(FCR_ON | FCR_CLEAR, MCR_LOOP);
    for (unsigned i = 0; i < FIFO_SIZE; i++)
        send('A' + i);
    for (unsigned i = 0; i < FIFO_SIZE; i++)
        wrong += !wait_lsr(LSR_READY) || get(DATA) != 'A' + i;
    uint8_t lsr = get(LSR);
    end();
    expect(wrong == 0 && (lsr & (LSR_READY | LSR_OVERRUN)) == 0, "%u differences, LSR %x", wrong,
           lsr);
}

/* The first ones stay, and it is told once. */
static void fifo_overrun(void)
{
    unsigned wrong = 0;
    begin(FCR_ON | FCR_CLEAR, MCR_LOOP);
    for (unsigned i = 0; i <= FIFO_SIZE; i++) {
        set(DATA, 'A' + i);
        for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(1);)
            cpu_relax();
    }
    uint8_t first = get(LSR), second = get(LSR);
    for (unsigned i = 0; i < FIFO_SIZE; i++)
        wrong += get(DATA) != 'A' + i;
    uint8_t after = get(LSR);
    end();
    expect((first & LSR_OVERRUN) != 0 && (second & LSR_OVERRUN) == 0, "LSR %x, %x", first, second);
    expect(wrong == 0 && (after & LSR_READY) == 0, "%u differences, LSR %x", wrong, after);
}

/* Without FIFOs the last one does. */
static void overrun(void)
{
    begin(0, MCR_LOOP);
    send('A');
    send('B');
    set(DATA, 'C');
    uint64_t start = rdtsc();
    while (rdtsc() - start < machine_ticks(1))
        cpu_relax();
    uint8_t data = get(DATA);
    end();
    expect(data == 'C', "%x", data);
}

static void fifo_clear(void)
{
    begin(FCR_ON | FCR_CLEAR, MCR_LOOP);
    send('A');
    send('B');
    bool ready = wait_lsr(LSR_READY);
    set(FCR, FCR_ON | FCR_CLEAR);
    uint8_t lsr = get(LSR);
    end();
    expect(ready && (lsr & LSR_READY) == 0, "LSR %x", lsr);
}

static void break_in_loop(void)
{
    begin(0, MCR_LOOP);
    set(LCR, LCR_8N1 | LCR_BREAK);
    bool comes = wait_lsr(LSR_READY);
    set(LCR, LCR_8N1);
    uint8_t data = get(DATA);
    end();
    expect(comes && data == 0, "%x", data);
}

/* --- the modem's lines ------------------------------------------------------------------------ */

static void modem_lines(void)
{
    static const struct {
        uint8_t mcr, msr;
    } pairs[] = {{MCR_DTR, DSR}, {MCR_RTS, CTS}, {MCR_OUT1, RI}, {MCR_OUT2, DCD}};
    uint8_t found[ARRAY_SIZE(pairs)];
    begin(0, MCR_LOOP);
    for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
        set(MCR, MCR_LOOP | pairs[i].mcr);
        found[i] = get(MSR) & 0xf0;
    }
    end();
    for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++)
        expect(found[i] == pairs[i].msr, "MCR %x: MSR %x", pairs[i].mcr, found[i]);
}

static void modem_deltas(void)
{
    begin(0, MCR_LOOP);
    get(MSR);
    set(MCR, MCR_LOOP | MCR_DTR | MCR_RTS | MCR_OUT1 | MCR_OUT2);
    uint8_t rise = get(MSR), told = get(MSR);
    set(MCR, MCR_LOOP);
    uint8_t fall = get(MSR);
    end();
    expect(rise == (CTS | DSR | RI | DCD | D_CTS | D_DSR | D_DCD), "risen: %x", rise);
    expect(told == (CTS | DSR | RI | DCD), "told: %x", told);
    expect(fall == (D_CTS | D_DSR | T_RI | D_DCD), "fallen: %x", fall);
}

/* --- causes, looked at by polling ------------------------------------------------------------- */

static uint8_t cause(void)
{
    return get(IIR) & 15;
}

/* IIR when all are there, and as each is served. */
static void order_of_causes(void)
{
    begin(0, MCR_LOOP);
    uint8_t none = cause();
    set(DATA, 'A');
    wait_lsr(LSR_EMPTY | LSR_READY);
    set(DATA, 'B');
    uint64_t start = rdtsc();
    while (rdtsc() - start < machine_ticks(2))
        cpu_relax();
    set(MCR, MCR_LOOP | MCR_RTS);
    set(IER, IER_ALL);
    uint8_t line = cause();
    uint8_t lsr = get(LSR);
    uint8_t data = cause();
    get(DATA);
    uint8_t empty = cause();
    uint8_t modem = cause();
    get(MSR);
    uint8_t last = cause();
    end();
    expect(none == IIR_NONE && last == IIR_NONE, "at first %x, at last %x", none, last);
    expect(line == IIR_LINE && (lsr & LSR_OVERRUN) != 0, "overrun: IIR %x, LSR %x", line, lsr);
    expect(data == IIR_DATA, "data: %x", data);
    expect(empty == IIR_EMPTY, "transmitter empty: %x", empty);
    expect(modem == IIR_MODEM, "modem: %x", modem);
}

/* How many characters it takes; false: a machine that was held up has told of an old one first. */
static bool send_to_trigger(uint8_t fcr, unsigned *sent)
{
    uint8_t why = IIR_NONE;
    begin(FCR_ON | FCR_CLEAR | fcr, MCR_LOOP);
    set(IER, IER_DATA);
    for (*sent = 0; *sent < FIFO_SIZE && why == IIR_NONE; (*sent)++) {
        send('A');
        why = cause();
    }
    end();
    return why != IIR_TIMEOUT;
}

static void triggers(void)
{
    static const struct {
        uint8_t fcr, count;
    } levels[] = {{0, 1}, {FCR_4, 4}, {FCR_8, 8}, {FCR_14, 14}};
    for (unsigned i = 0; i < ARRAY_SIZE(levels); i++) {
        unsigned sent = 0;
        bool told = false;
        for (unsigned tries = 0; tries < METER_TRIES && !told; tries++)
            told = send_to_trigger(levels[i].fcr, &sent);
        expect(told && sent == levels[i].count, "trigger %u: after %u", levels[i].count, sent);
    }
}

static void character_timeout(void)
{
    begin(FCR_ON | FCR_CLEAR | FCR_14, MCR_LOOP);
    set(IER, IER_DATA);
    send('A');
    uint8_t found = IIR_NONE;
    for (uint64_t start = rdtsc(); found != IIR_TIMEOUT && rdtsc() - start < machine_ticks(2000);)
        found = cause();
    get(DATA);
    uint8_t after = cause();
    end();
    expect(found == IIR_TIMEOUT && after == IIR_NONE, "%x, then %x", found, after);
}

/* --- interrupts ------------------------------------------------------------------------------- */

static volatile unsigned seen; /* a bit a cause */

static void on_irq(unsigned number)
{
    if (number != irq)
        return;
    for (unsigned i = 0; i < 8; i++) {
        unsigned id = cause();
        if (id == IIR_NONE)
            return;
        seen |= 1u << id;
        if (id == IIR_LINE)
            get(LSR);
        else if (id == IIR_MODEM)
            get(MSR);
        else if (id != IIR_EMPTY)
            get(DATA);
    }
}

static void listen(enum way way, bool level, unsigned fcr)
{
    isa_clear();
    begin(fcr, MCR_LOOP | MCR_OUT2);
    isa_open(irq, way, level);
    isa_let_in();
    isa_clear();
    isa_hook = on_irq;
    seen = 0;
}

static void deaf(void)
{
    set(IER, 0);
    isa_close(irq);
    end();
    expect(isa_odd == 0, "%u others", isa_odd);
}

/* One character at a time, by interrupts alone. */
static void receive(enum way way, bool level)
{
    enum { N = 50 };
    bool all = true;
    listen(way, level, 0);
    set(IER, IER_DATA);
    for (unsigned i = 1; i <= N && all; i++) {
        set(DATA, i);
        all = isa_wait(irq, i);
    }
    unsigned count = isa_taken[irq];
    deaf();
    expect(count == N && seen == 1u << IIR_DATA, "taken %u times, causes %x", count, seen);
}

static void each_way(void)
{
    receive(BY_PIC, false);
    receive(BY_PIC, true);
    receive(BY_IOAPIC, false);
    receive(BY_IOAPIC, true);
}

/* The transmitter's interrupt comes when it is enabled, and after each character. */
static void transmit(void)
{
    listen(BY_PIC, false, 0);
    set(IER, IER_EMPTY);
    bool enabled = isa_wait(irq, 1);
    set(DATA, 'A');
    bool sent = isa_wait(irq, 2);
    set(IER, 0);
    set(IER, IER_EMPTY);
    bool again = isa_wait(irq, 3);
    isa_let_in();
    unsigned count = isa_taken[irq];
    deaf();
    expect(enabled && sent && again && count == 3, "taken %u times", count);
}

static void by_timeout(void)
{
    listen(BY_IOAPIC, false, FCR_ON | FCR_CLEAR | FCR_8);
    set(IER, IER_DATA);
    set(DATA, 'A');
    bool comes = isa_wait(irq, 1);
    deaf();
    expect(comes && seen == 1u << IIR_TIMEOUT, "causes %x", seen);
}

/* The guest goes on with what it has not read, and takes no second interrupt. */
static void by_timeout_unread(void)
{
    listen(BY_IOAPIC, false, FCR_ON | FCR_CLEAR | FCR_8);
    isa_hook = NULL;
    set(IER, IER_DATA);
    set(DATA, 'A');
    bool comes = isa_wait(irq, 1);
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(20);)
        cpu_relax();
    unsigned count = isa_taken[irq];
    deaf();
    expect(comes && count == 1, "taken %u times", count);
}

static void by_modem(void)
{
    listen(BY_IOAPIC, true, 0);
    set(IER, IER_MODEM);
    set(MCR, MCR_LOOP | MCR_OUT2 | MCR_DTR);
    bool comes = isa_wait(irq, 1);
    unsigned count = isa_taken[irq];
    deaf();
    expect(comes && count == 1 && seen == 1u << IIR_MODEM, "taken %u times, causes %x", count,
           seen);
}

static void by_line(void)
{
    listen(BY_PIC, true, 0);
    set(DATA, 'A');
    wait_lsr(LSR_EMPTY | LSR_READY);
    set(IER, IER_LINE);
    set(DATA, 'B');
    bool comes = isa_wait(irq, 1);
    deaf();
    expect(comes && seen == 1u << IIR_LINE, "causes %x", seen);
}

/* As kernels for QEMU expect it, that set up nothing. */
static void without_out2(void)
{
    listen(BY_PIC, true, 0);
    set(MCR, MCR_LOOP);
    set(IER, IER_EMPTY);
    bool comes = isa_wait(irq, 1);
    deaf();
    expect(comes, "not taken");
}

static const struct test_case cases[] = {
    {"registers", needs_port, registers},
    {"IIR shows FIFOs", needs_port, fifos_show},
    {"characters", needs_port, characters},
    {"FIFO", needs_port, fifo_order},
    {"overrun of the FIFO", needs_port, fifo_overrun},
    {"overrun without FIFO", needs_port, overrun},
    {"FIFO cleared", needs_clear, fifo_clear},
    {"break", needs_break, break_in_loop},
    {"modem's lines", needs_port, modem_lines},
    {"modem's changes", needs_changes, modem_deltas},
    {"order of causes", needs_order, order_of_causes},
    {"trigger levels", needs_port, triggers},
    {"character time-out", needs_port, character_timeout},
    {"received characters, each way", needs_port, each_way},
    {"transmitter", needs_port, transmit},
    {"time-out's interrupt", needs_port, by_timeout},
    {"time-out's interrupt, unread", needs_port, by_timeout_unread},
    {"modem's interrupt", needs_changes, by_modem},
    {"line status's interrupt", needs_port, by_line},
    {"interrupts without OUT2", needs_no_out2, without_out2},
};

void test_main(void)
{
    base = (uint16_t)cmdline_number("port", COM1);
    irq = base == COM1 ? IRQ_COM1 : IRQ_COM2;
    isa_init();
    ktap_all(cases, ARRAY_SIZE(cases));
}
