/* A VM's devices together: ports and their widths, lines and masks, times, messages, resets. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/devices_fake.h"

#undef assert

enum { KHZ = 1000000 };
#define BOOT (&world.vcpu[0])
#define DEVS (&world.vm.devices)

static int create(void **state)
{
    (void)state;
    world_create(KHZ, PORT_COM1, 2);
    return 0;
}

static void out(unsigned port, unsigned value)
{
    assert_true(devices_out(BOOT, (uint16_t)port, 1, value));
    world_check();
}

static uint32_t in(unsigned port, unsigned width)
{
    uint32_t value = devices_in(BOOT, (uint16_t)port, width);
    world_check();
    return width == 4 ? value : value & ((1u << 8 * width) - 1);
}

static void set_entry(unsigned pin, uint64_t entry)
{
    for (unsigned half = 2; half-- > 0;) {
        devices_write_ioapic(BOOT, 0x00, 4, 0x10 + 2 * pin + half);
        devices_write_ioapic(BOOT, 0x10, 4, entry >> 32 * half & UINT32_MAX);
    }
    world_check();
}

/* Lets time pass; what is due by then is done. */
static void wait(uint64_t ticks)
{
    world.now += ticks;
    world.messages = world.tells = world.rises = 0;
    world_settle();
}

/* All of the master's inputs and the slave's, vectors 20h and 28h, but those of MASKED. */
static void open_pic(unsigned masked)
{
    static const uint16_t port[] = {0x20, 0xa0};
    for (unsigned i = 0; i < 2; i++) {
        out(port[i], 0x11);
        out(port[i] + 1u, 0x20 + 8 * i);
        out(port[i] + 1u, i == 0 ? 4 : 2);
        out(port[i] + 1u, 1);
        out(port[i] + 1u, masked >> 8 * i & 0xff);
    }
}

/* A register of each device; the bytes between them are nobody's. */
static void ports_by_width(void **state)
{
    (void)state;
    out(0x21, 0xa5);
    out(0xa1, 0x5a);
    assert_int_equal(in(0x21, 1), 0xa5);
    assert_int_equal(in(0xa1, 1), 0x5a);
    assert_int_equal(in(0x20, 2), 0xa500);
    assert_int_equal(BOOT->port_reads, 0);
    assert_int_equal(in(0x20, 4), 0xffffa500);
    assert_int_equal(BOOT->port_reads, 2); /* 22h and 23h */
    assert_int_equal(in(0x1f, 2), 0x00ff);
    assert_int_equal(BOOT->port_reads, 3);
    out(0x3ff, 0x77); /* the scratch register, and what stands behind it */
    assert_int_equal(in(0x3ff, 1), 0x77);
    assert_int_equal(in(0x3ff, 2), 0xff77);
    assert_int_equal(BOOT->port_reads, 4);
    assert_true(devices_out(BOOT, 0x4d0, 2, 0x0ff8));
    assert_int_equal(in(0x4d0, 2), 0x0ef8 & ~0x0100); /* IRQ 8 is always edge-triggered */
    assert_false(devices_out(BOOT, 0x60, 1, 1));
    assert_true(devices_out(BOOT, 0x60, 2, 0x0300)); /* port 61h */
    assert_int_equal(in(0x61, 1) & 3, 3);
    assert_false(devices_out(BOOT, 0x512, 2, 0));
    assert_int_equal(BOOT->port_writes, 0); /* by whoever has the ports' others */
}

/* Of a word at 510h the selector is one, of 4 bytes nothing is; PCI takes all widths itself. */
static void whole_accesses(void **state)
{
    (void)state;
    assert_true(devices_out(BOOT, 0x510, 2, 5));
    assert_int_equal(in(0x511, 1), 2);
    assert_int_equal(in(0x511, 1), 0);
    assert_int_equal(BOOT->port_reads, 0);
    assert_int_equal(in(0x511, 2), 0xffff);
    assert_int_equal(BOOT->port_reads, 1);
    assert_false(devices_out(BOOT, 0x510, 4, 0));
    assert_int_equal(in(0xcfc, 4), 0x33221100);
    assert_int_equal(in(0xcfd, 1), 0x11);
    assert_int_equal(in(0xcfe, 2), 0x3322);
    assert_int_equal(BOOT->port_reads, 1);
}

/* Port 92h is written back as it was read; a reset is bit 0's rise, once more after a reset. */
static void port_a(void **state)
{
    (void)state;
    assert_int_equal(in(0x92, 1), 0x02);
    out(0x92, in(0x92, 1) | 2);
    out(0x92, 0xfc);
    assert_int_equal(in(0x92, 1), 0xfc);
    assert_int_equal(world.resets, 0);
    out(0x92, 0x03);
    assert_int_equal(world.resets, 1);
    out(0x92, 0x01); /* it is on already */
    assert_int_equal(in(0x92, 1), 0x01);
    assert_int_equal(world.resets, 1);
    assert_true(devices_out(BOOT, 0x91, 2, 0x0200));
    assert_true(devices_out(BOOT, 0x92, 2, 0xff03)); /* of a word that port's byte */
    assert_int_equal(world.resets, 2);
    world_reset();
    assert_int_equal(in(0x92, 1), 0x02);
    assert_int_equal(BOOT->port_reads, 0);
    assert_false(devices_out(BOOT, 0x93, 1, 1));
}

/* Nothing is to be read, and what was written has been taken; its data port is not there. */
static void no_keyboard(void **state)
{
    (void)state;
    assert_int_equal(in(0x64, 1), 0);
    assert_int_equal(BOOT->port_reads, 0);
    assert_int_equal(in(0x60, 1), 0xff);
    assert_int_equal(in(0x65, 1), 0xff);
    assert_int_equal(BOOT->port_reads, 2);
    assert_false(devices_out(BOOT, 0x64, 1, 0xfe)); /* by whoever has the ports' others */
}

/* The CRTC's cursor, at 0 at first, and its index; no other register of it. */
static void crtc(void **state)
{
    static const uint8_t values[] = {0x07, 0xd0};
    (void)state;
    assert_int_equal(in(0x3d4, 1), 0);
    for (unsigned i = 0; i < 2; i++) {
        out(0x3d4, 0x0e + i);
        assert_int_equal(in(0x3d5, 1), 0);
        out(0x3d5, values[i]);
    }
    assert_int_equal(in(0x3d4, 2), 0xd00f);
    assert_true(devices_out(BOOT, 0x3d4, 2, 0x120e)); /* both at once */
    assert_int_equal(in(0x3d5, 1), 0x12);
    assert_int_equal(BOOT->port_reads, 0);
    out(0x3d4, 0x0c);
    assert_false(devices_out(BOOT, 0x3d5, 1, 0x55));
    assert_int_equal(in(0x3d5, 1), 0xff);
    assert_int_equal(BOOT->port_reads, 1);
    world_reset();
    out(0x3d4, 0x0f);
    assert_int_equal(in(0x3d5, 1), 0);
}

/* The PIT, at 1 kHz by its divisor of 1193: not before it is due, and at once when it is. */
static void pit_by_pic(void **state)
{
    (void)state;
    assert_true(BOOT->mail.due == UINT64_MAX);
    out(0x43, 0x34);
    out(0x40, 1193 & 0xff);
    out(0x40, 1193 >> 8);
    assert_true(BOOT->mail.due == UINT64_MAX); /* nobody would see it */
    open_pic(0xfffe);
    uint64_t due = BOOT->mail.due;
    assert_in_range(due, world.now, world.now + KHZ * 1195ull * 1000 / 1193182);
    assert_true(world.tells > 0);
    wait(due - 1 - world.now);
    assert_false(BOOT->mail.intr);
    wait(1);
    assert_true(BOOT->mail.intr && world.tells > 0);
    assert_int_equal(devices_acknowledge(BOOT), 0x20);
    world_check();
    assert_false(BOOT->mail.intr);
    assert_true(BOOT->mail.due - due <= KHZ);
    out(0x20, 0x20);
    wait(10 * KHZ); /* ten periods at once are one edge */
    assert_int_equal(devices_acknowledge(BOOT), 0x20);
    out(0x20, 0x20);
    assert_false(BOOT->mail.intr);
}

/* A tick that nobody has taken goes where the guest makes the output low, and comes no more. */
static void pit_made_low(void **state)
{
    (void)state;
    open_pic(0xfffe);
    wait(66ull * KHZ);
    assert_true(BOOT->mail.intr);
    out(0x43, 0xb6); /* channel 2 is another */
    assert_true(BOOT->mail.intr);
    out(0x43, 0x30);
    assert_false(BOOT->mail.intr);
    assert_false(world_line(0));
    out(0x40, 0xa9);
    out(0x40, 0x04);
    wait(2ull * KHZ);
    assert_true(BOOT->mail.intr && world_line(0));
    out(0x40, 0xa9); /* a count makes it low, too */
    assert_false(BOOT->mail.intr);
    out(0x40, 0x04);
    wait(2ull * KHZ);
    assert_int_equal(devices_acknowledge(BOOT), 0x20);
}

/* The same line by the I/O APIC: pin 2, an edge is one message; and the 8259s by pin 0, ExtINT. */
static void pit_by_ioapic(void **state)
{
    (void)state;
    set_entry(2, 0x0000000000000031);
    wait(66ull * KHZ); /* firmware's 18.2 Hz */
    assert_int_equal(world.messages, 1);
    assert_int_equal(world.message[0].vector, 0x31);
    assert_int_equal(world.message[0].dest, 0);
    assert_false(world.message[0].level);
    set_entry(2, 0x10031);
    assert_true(BOOT->mail.due == UINT64_MAX);
    set_entry(0, 0x0100000000000700);
    open_pic(0xfffe);
    wait(66ull * KHZ);
    assert_int_equal(world.messages, 1);
    assert_int_equal(world.message[0].mode, IPI_EXTINT);
    assert_int_equal(world.message[0].dest, 1);
}

/* Nobody acknowledges: each tick has INTR fall and rise, for LINT0 and, as an edge, for pin 0. */
static void pit_unacknowledged(void **state)
{
    (void)state;
    out(0x43, 0x34);
    out(0x40, 1193 & 0xff);
    out(0x40, 1193 >> 8);
    set_entry(0, 0x0000000000000031);
    open_pic(0xfffe);
    for (unsigned i = 0; i < 10; i++) {
        wait(BOOT->mail.due - world.now);
        assert_true(BOOT->mail.intr);
        assert_int_equal(world.rises, 1);
        assert_int_equal(world.messages, 1);
        assert_int_equal(world.message[0].vector, 0x31);
    }
    assert_int_equal(devices_acknowledge(BOOT), 0x20);
    world_check();
    assert_int_equal(world.rises, 1);
}

/* With automatic EOIs the second request has it rise at once, also after a poll. */
static void rises_of_two(void **state)
{
    (void)state;
    open_pic(0xff9f);
    out(0x20, 0x11);
    out(0x21, 0x20);
    out(0x21, 4);
    out(0x21, 3);
    out(0x21, 0x9f);
    for (unsigned poll = 0; poll < 2; poll++) {
        world.rises = 0;
        devices_set_irq(BOOT, 5, true);
        devices_set_irq(BOOT, 6, true);
        assert_int_equal(world.rises, 1);
        if (poll == 0) {
            assert_int_equal(devices_acknowledge(BOOT), 0x25);
        } else {
            out(0x20, 0x0c);
            assert_int_equal(in(0x20, 1), 0x85);
        }
        world_check();
        assert_int_equal(world.rises, 2);
        assert_int_equal(devices_acknowledge(BOOT), 0x26);
        assert_int_equal(world.rises, 2);
        devices_set_irq(BOOT, 5, false);
        devices_set_irq(BOOT, 6, false);
    }
}

static bool can_send(unsigned modes, bool by_intr)
{
    return devices_can_send(BOOT, modes, by_intr);
}

/* What is due and where it leads: to an own pin, or by the 8259s to LINT0 and pin 0. */
static void what_can_be_sent(void **state)
{
    const unsigned nmi = 1 << IPI_NMI, init = 1 << IPI_INIT;
    (void)state;
    assert_false(can_send(nmi | init, true));
    set_entry(8, 0x400); /* the RTC does nothing */
    assert_false(can_send(nmi | init, true));
    set_entry(2, 0x0051); /* the PIT does, but by no NMI */
    assert_true(BOOT->mail.due != UINT64_MAX);
    assert_false(can_send(nmi | init, true));
    set_entry(2, 0x0400);
    assert_true(can_send(nmi, false));
    assert_false(can_send(init, true));
    set_entry(2, 0x0500);
    assert_true(can_send(init, false));
    set_entry(2, 0x10400);
    assert_false(can_send(nmi | init, true));
    open_pic(0xfffe);
    assert_true(can_send(nmi, true));
    assert_false(can_send(nmi, false));
    set_entry(0, 0x0400);
    assert_true(can_send(nmi, false));
    set_entry(0, 0x10400);
    out(0x21, 0xff);
    assert_false(can_send(nmi, true));
    set_entry(8, 0x10400);
    out(0x70, 0x0b);
    out(0x71, 0x42); /* periodic interrupts */
    set_entry(8, 0x0400);
    assert_true(can_send(nmi, false));
}

/* A level of LINT0 may be high after any EOI that is broadcast. */
static void eoi_while_intr(void **state)
{
    (void)state;
    open_pic(0xffef);
    for (unsigned high = 0; high < 2; high++) {
        devices_set_irq(BOOT, 4, high == 1);
        BOOT->changed = 0;
        devices_eoi(BOOT, 0x51);
        assert_int_equal((BOOT->changed & STATE_EVENTS) != 0, high == 1);
    }
}

/* Lets a pin in long after its line has risen behind its mask: nothing is sent. */
static void open_late(unsigned pin, unsigned irq)
{
    set_entry(pin, 0x10031);
    world.now += 99ull * KHZ;
    set_entry(pin, 0x31);
    assert_int_equal(world.messages, 0);
    assert_true(world_line(irq));
}

/* An edge at a masked pin is lost, whoever else lets it in or looks; the next one is not. */
static void pit_behind_a_pin(void **state)
{
    (void)state;
    for (unsigned open = 0; open < 2; open++) {
        open_pic(open == 1 ? 0xfffe : 0xffff);
        out(0x43, 0x30);
        out(0x40, 1193 & 0xff);
        out(0x40, 1193 >> 8); /* ends after 1 ms */
        open_late(2, 0);
        assert_int_equal(BOOT->mail.intr, open);
        wait(99ull * KHZ);
        assert_int_equal(world.messages, 0);
        out(0x43, 0x30);
        out(0x40, 1193 & 0xff);
        out(0x40, 1193 >> 8);
        wait(2 * KHZ);
        assert_int_equal(world.messages, 1);
        world.messages = 0;
    }
}

/* The RTC's stays high until register C is read. */
static void rtc_behind_a_pin(void **state)
{
    (void)state;
    out(0x70, 0x0b);
    out(0x71, 0x42); /* 1024 a second */
    open_late(8, 8);
    wait(99ull * KHZ);
    assert_int_equal(world.messages, 0);
    out(0x70, 0x0c);
    assert_int_equal(in(0x71, 1), 0xc0);
    wait(2 * KHZ);
    assert_int_equal(world.messages, 1);
}

/* The 8259s' output, at pin 0: what rose behind its mask is theirs still, and no edge. */
static void intr_behind_a_pin(void **state)
{
    (void)state;
    open_pic(0xfffe);
    world.now += 99ull * KHZ;
    set_entry(0, 0x700);
    assert_int_equal(world.messages, 0);
    assert_true(BOOT->mail.intr);
    assert_int_equal(devices_acknowledge(BOOT), 0x20);
    out(0x20, 0x20);
    wait(99ull * KHZ);
    assert_int_equal(world.messages, 1);
}

/* COM1's as level: a message, and another at each EOI as long as it is high. */
static void level_by_ioapic(void **state)
{
    (void)state;
    set_entry(4, 0x8041);
    world.messages = 0;
    out(0x3fc, 8);
    out(0x3f9, 2); /* the transmitter is empty */
    assert_int_equal(world.messages, 1);
    assert_true(world.message[0].level && world.message[0].vector == 0x41);
    devices_eoi(BOOT, 0x42);
    assert_int_equal(world.messages, 1);
    devices_eoi(BOOT, 0x41);
    assert_int_equal(world.messages, 2);
    assert_int_equal(in(0x3fa, 1) & 15, 2); /* identified: it falls */
    devices_eoi(BOOT, 0x41);
    world_check();
    assert_int_equal(world.messages, 2);
}

/* Clears what has been told so far, and returns it: pins whose devices may interrupt again. */
static uint32_t ended(void)
{
    uint32_t pins = world.ended;
    world.ended = 0;
    return pins;
}

/* A pin of the machine's device, low-active as a level, has just been sent to vector 61h. */
static void send_pin(unsigned pin)
{
    set_entry(pin, 0xa061);
    assert_int_equal(ended(), 0);
    world.messages = 0;
    devices_assert_pci_pin(BOOT, pin);
    world_check();
    assert_int_equal(world.messages, 1);
    assert_true(world.message[0].level && world.message[0].vector == 0x61);
}

/* What ends it at the I/O APIC: one is told of that pin, it is sent no more, but can come again. */
static void expect_end_of(unsigned pin)
{
    world_check();
    assert_int_equal(ended(), 1u << pin);
    assert_int_equal(world.messages, 1);
    devices_eoi(BOOT, 0x61);
    assert_int_equal(ended(), 0);
    assert_int_equal(world.messages, 1);
    send_pin(pin);
    devices_eoi(BOOT, 0x61);
    assert_int_equal(ended(), 1u << pin);
}

static void pci_pin_by_eoi(void **state)
{
    (void)state;
    send_pin(17);
    devices_eoi(BOOT, 0x62);
    assert_int_equal(ended(), 0);
    devices_eoi(BOOT, 0x61);
    expect_end_of(17);
}

/* By the EOI register, of this vector alone. */
static void pci_pin_by_directed_eoi(void **state)
{
    (void)state;
    send_pin(18);
    devices_write_ioapic(BOOT, 0x40, 4, 0x62);
    assert_int_equal(ended(), 0);
    devices_write_ioapic(BOOT, 0x40, 4, 0x61);
    expect_end_of(18);
}

/* By hand: masked, an edge and back. */
static void pci_pin_by_trigger(void **state)
{
    (void)state;
    send_pin(19);
    set_entry(19, 0x1a061);
    assert_int_equal(ended(), 0);
    set_entry(19, 0x12061);
    set_entry(19, 0x1a061);
    set_entry(19, 0xa061);
    expect_end_of(19);
}

/* What was masked while it was asserted: its device may be silent by now. */
static void pci_pin_behind_a_mask(void **state)
{
    (void)state;
    set_entry(19, 0x1a061);
    devices_assert_pci_pin(BOOT, 19);
    devices_assert_pci_pin(BOOT, 20);
    assert_int_equal(world.messages, 0);
    set_entry(19, 0xa061);
    world_check();
    assert_int_equal(ended(), 1u << 19);
    assert_int_equal(world.messages, 0);
    devices_assert_pci_pin(BOOT, 19);
    assert_int_equal(world.messages, 1);
    set_entry(19, 0xa062); /* it was open */
    assert_int_equal(ended(), 0);
    devices_eoi(BOOT, 0x62);
    assert_int_equal(ended(), 1u << 19);
}

/* Those whose devices cannot interrupt any more, whether or not they are asserted. */
static void pci_pins_dropped(void **state)
{
    (void)state;
    send_pin(18);
    devices_assert_pci_pin(BOOT, 20);
    devices_drop_pci_pins(BOOT, 3u << 19);
    world_check();
    assert_int_equal(ended(), 1u << 20);
    assert_true(world_line(IRQ_PCI));
    devices_drop_pci_pins(BOOT, 1u << 18);
    world_check();
    assert_int_equal(ended(), 1u << 18);
    assert_false(world_line(IRQ_PCI));
}

/* Pins end one by one; one that is not the machine's ends unheard. */
static void pci_pins(void **state)
{
    (void)state;
    set_entry(4, 0x8051);
    out(0x3fc, 8);
    out(0x3f9, 2); /* COM1's transmitter is empty */
    send_pin(17);
    set_entry(20, 0xa071);
    devices_assert_pci_pin(BOOT, 20);
    devices_eoi(BOOT, 0x51);
    assert_int_equal(ended(), 0);
    devices_eoi(BOOT, 0x71);
    world_check();
    assert_int_equal(ended(), 1u << 20);
    assert_true(world_line(IRQ_PCI));
    devices_eoi(BOOT, 0x61);
    world_check();
    assert_int_equal(ended(), 1u << 17);
    assert_false(world_line(IRQ_PCI));
}

/* The same by the 8259s' IRQ 11, a level: at the EOI. */
static void pci_pins_by_pic(void **state)
{
    (void)state;
    open_pic(0xf7fb);
    devices_level_pci(&world.vm);
    assert_int_equal(in(0x4d1, 1), 8);
    devices_assert_pci_pin(BOOT, 20);
    assert_true(BOOT->mail.intr);
    for (uint16_t port = 0x21; port <= 0xa1; port += 0x80) {
        out(port, 0xff); /* masked, and back: there may be nothing any more */
        assert_int_equal(ended(), 0);
        out(port, port == 0x21 ? 0xfb : 0xf7);
        assert_int_equal(ended(), 1u << 20);
        assert_false(BOOT->mail.intr);
        devices_assert_pci_pin(BOOT, 20);
        assert_true(BOOT->mail.intr);
    }
    out(0xa1, 0xf7); /* it is as it was */
    out(0x21, 0xfa);
    assert_int_equal(ended(), 0);
    assert_int_equal(devices_acknowledge(BOOT), 0x2b);
    devices_assert_pci_pin(BOOT, 21);
    assert_int_equal(ended(), 0);
    out(0xa0, 0x20);
    assert_int_equal(ended(), 3u << 20);
    out(0x20, 0x20);
    assert_false(BOOT->mail.intr);
}

/* As an edge; and as one of which there is no EOI, at the time that it is taken, or polled. */
static void pci_pins_by_other_ways(void **state)
{
    (void)state;
    open_pic(0xf7fb);
    devices_assert_pci_pin(BOOT, 20);
    assert_int_equal(devices_acknowledge(BOOT), 0x2b);
    out(0xa0, 0x63);
    assert_int_equal(ended(), 1u << 20);
    out(0x20, 0x20);
    out(0xa0, 0x11);
    out(0xa1, 0x28);
    out(0xa1, 2);
    out(0xa1, 3); /* automatic EOIs */
    out(0xa1, 0xf7);
    devices_assert_pci_pin(BOOT, 20);
    assert_int_equal(devices_acknowledge(BOOT), 0x2b);
    assert_int_equal(ended(), 1u << 20);
    devices_assert_pci_pin(BOOT, 20);
    assert_int_equal(ended(), 0);
    out(0xa0, 0x0c);
    assert_int_equal(in(0xa0, 1), 0x83);
    assert_int_equal(ended(), 1u << 20);
    devices_assert_pci_pin(BOOT, 20);
    out(0xa0, 0x11); /* all is forgotten: it comes again */
    assert_int_equal(ended(), 1u << 20);
}

/* A line of the machine's: each rise is an edge, also of one that has stayed high. */
static void machine_lines(void **state)
{
    (void)state;
    set_entry(14, 0x51);
    world.messages = 0;
    devices_set_irq(BOOT, 14, true);
    assert_int_equal(world.messages, 1);
    assert_true(!world.message[0].level && world.message[0].vector == 0x51);
    devices_set_irq(BOOT, 14, true);
    assert_int_equal(world.messages, 2);
    devices_set_irq(BOOT, 14, false);
    devices_set_irq(BOOT, 14, false);
    assert_int_equal(world.messages, 2);
    devices_set_irq(BOOT, 14, true);
    assert_int_equal(world.messages, 3);
}

/* By the 8259s a request that is taken back before the CPU takes it is none. */
static void machine_lines_by_pic(void **state)
{
    (void)state;
    open_pic(0xbffb);
    devices_set_irq(BOOT, 14, true);
    assert_true(BOOT->mail.intr);
    assert_int_equal(devices_acknowledge(BOOT), 0x2e);
    assert_false(BOOT->mail.intr);
    out(0xa0, 0x20);
    out(0x20, 0x20);
    assert_false(BOOT->mail.intr); /* it is high, but has risen once */
    devices_set_irq(BOOT, 14, true);
    assert_true(BOOT->mail.intr);
    devices_set_irq(BOOT, 14, false);
    assert_false(BOOT->mail.intr);
}

/* The RTC's update, once masked, once not; register C ends it. */
static void rtc_behind_a_mask(void **state)
{
    (void)state;
    out(0x70, 0x0b);
    out(0x71, 0x12);
    open_pic(0xffff);
    assert_true(BOOT->mail.due == UINT64_MAX);
    world.now += 1500ull * KHZ;
    out(0xa1, 0xfe);
    assert_false(BOOT->mail.intr);
    out(0x21, 0xfb); /* what came meanwhile is seen now */
    assert_true(BOOT->mail.intr);
    assert_int_equal(devices_acknowledge(BOOT), 0x28);
    out(0x70, 0x0c);
    assert_int_equal(in(0x71, 1), 0xd0);
    assert_true(BOOT->mail.due != UINT64_MAX);
    out(0x21, 0xff);
    assert_true(BOOT->mail.due == UINT64_MAX);
}

/* The PM timer is read as a whole, whatever time passes meanwhile: here 150 of its ticks. */
static void pm_timer_whole(void **state)
{
    uint32_t before = in(0x608, 4);
    (void)state;
    world.step = 150ull * KHZ * 1000 / 3579545;
    for (unsigned i = 0; i < 1000; i++) {
        uint32_t now = in(0x608, 4);
        assert_in_range(now - before, 149, 151);
        before = now;
    }
}

/* The PM timer's top bit, and a sleep type: 0 is soft off, others are nothing. */
static void power(void **state)
{
    (void)state;
    set_entry(9, 0x8051);
    world.messages = 0;
    out(0x602, 1);
    uint64_t left = BOOT->mail.due - world.now, half = (1ull << 23) * KHZ * 1000 / 3579545;
    assert_in_range(left, half - 1000, half + 1);
    wait(left);
    assert_int_equal(world.messages, 1);
    out(0x600, 1);
    devices_eoi(BOOT, 0x51);
    assert_int_equal(world.messages, 1);
    out(0x605, 0x24);
    assert_int_equal(world.exit_value, -1);
    out(0x605, 0x20);
    assert_int_equal(world.exit_value, 0);
}

/* Bytes go to the machine's UART and come from it, a millisecond late at most. */
static void com1(void **state)
{
    (void)state;
    out(0x3f8, 'x');
    assert_memory_equal(world.out, "x", 2);
    open_pic(0xffef);
    out(0x3fc, 8);
    out(0x3f9, 1);
    assert_int_equal(BOOT->mail.due, world.now + KHZ);
    assert_true(world_type('a', 0) && world_type('b', 0));
    wait(KHZ);
    assert_true(BOOT->mail.intr);
    assert_int_equal(in(0x3f8, 1), 'a');
    assert_int_equal(in(0x3f8, 1), 'b');
    assert_false(BOOT->mail.intr);
    devices_flush(&world.vm);
    assert_int_equal(world.drains, 1);
}

/* IRR tells of a character that has come in, although it is masked, and without OUT2. */
static void com1_polled_by_irr(void **state)
{
    (void)state;
    open_pic(0xffff);
    out(0x3f9, 1);
    assert_int_equal(in(0x20, 1) & 0x10, 0);
    assert_true(world_type('a', 0));
    assert_int_equal(in(0x20, 1) & 0x10, 0x10);
    assert_int_equal(in(0x3f8, 1), 'a');
    assert_int_equal(in(0x20, 1) & 0x10, 0);
}

/* Where lines go to the log, and where a guest has no port, which COM2 without a peer is not. */
static void other_ports(void **state)
{
    (void)state;
    world_create(KHZ, PORT_LOG, 1);
    for (const char *c = "one\r\ntwo\1"; *c != '\0'; c++)
        out(0x3f8, (uint8_t)*c);
    assert_string_equal(host_log, "[vm] one\n");
    devices_flush(&world.vm);
    assert_string_equal(host_log, "[vm] one\n[vm] two?\n");
    world_create(KHZ, PORT_NONE, 1);
    assert_int_equal(in(0x3f8, 1), 0xff);
    assert_false(devices_out(BOOT, 0x3f8, 1, 0));
    out(0x2f8, 'y');
    assert_int_equal(in(0x2fd, 1), 0x60);
    assert_int_equal(world.outs, 0);
}

/* A machine whose TSC's rate nobody knows: slower or faster, but never busy with nothing else. */
static void unknown_rate(void **state)
{
    (void)state;
    world_create(0, PORT_COM1, 1);
    open_pic(0);
    out(0x3fa, 0xc1);
    out(0x3f9, 1);
    assert_true(world_type('a', 0));
    for (unsigned i = 0; i < 100; i++) {
        wait(BOOT->mail.due - world.now);
        assert_true(BOOT->mail.due > world.now + 1000);
    }
}

/* As after power-on; the time goes on, and nothing is left of who asked for what. */
static void resets(void **state)
{
    static char before[DEVICES_TEXT], after[DEVICES_TEXT];
    (void)state;
    devices_describe(&world.vm, before);
    open_pic(0);
    set_entry(4, 0x8041);
    out(0x3f9, 2);
    out(0x43, 0x30);
    out(0x70, 0x0b);
    out(0x71, 0x72);
    wait(1000ull * KHZ);
    world_reset();
    out(0x70, 0x00);
    for (unsigned i = 0; i < DEVICES; i++)
        assert_true(DEVS->due[i] == UINT64_MAX);
    assert_int_equal(DEVS->lines, 0);
    devices_describe(&world.vm, after);
    const char *rtc = strstr(before, "RTC:"), *again = strstr(after, "RTC:");
    assert_non_null(rtc);
    assert_int_equal(rtc - before, again - after);
    assert_memory_equal(before, after, (size_t)(rtc - before));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, create)
    static const struct CMUnitTest tests[] = {
        CASE(ports_by_width),     CASE(whole_accesses),
        CASE(pit_by_pic),         CASE(pit_by_ioapic),
        CASE(pit_unacknowledged), CASE(rises_of_two),
        CASE(what_can_be_sent),   CASE(eoi_while_intr),
        CASE(level_by_ioapic),    CASE(power),
        CASE(pm_timer_whole),     CASE(com1),
        CASE(other_ports),        CASE(rtc_behind_a_mask),
        CASE(unknown_rate),       CASE(resets),
        CASE(pci_pin_by_eoi),     CASE(pci_pin_by_directed_eoi),
        CASE(pci_pin_by_trigger), CASE(pci_pin_behind_a_mask),
        CASE(pci_pins_dropped),   CASE(pci_pins),
        CASE(pci_pins_by_pic),    CASE(pci_pins_by_other_ways),
        CASE(machine_lines),      CASE(machine_lines_by_pic),
        CASE(pit_behind_a_pin),   CASE(rtc_behind_a_pin),
        CASE(intr_behind_a_pin),  CASE(port_a),
        CASE(no_keyboard),        CASE(crtc),
        CASE(com1_polled_by_irr), CASE(pit_made_low),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
