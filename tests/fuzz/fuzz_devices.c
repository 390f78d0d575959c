/*
 * All devices of a VM at once, used by any guest at any time: by ports of any width, by the I/O
 * APIC's page, by EOIs and acknowledgements, while the machine's devices interrupt. After each
 * operation lines, outputs and times are what plain computations say, vCPU 0 has been told what is
 * news for it, and what was due is done.
 *
 * Input: two bytes of setup; operations of 8 bytes (what, where, value, time).
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/devices_fake.h"

#include "tests/fuzz/fuzz.h"

enum { OPERATION = 8, MOST_TEXT = DEVICES_TEXT };

/* What an operation is, by its low bits; the next two: of how many bytes. */
enum { IN, OUT, READ, WRITE, EOI, ACKNOWLEDGE, OTHER, MACHINE, KINDS };
enum { TYPE, RESET, FLUSH, DESCRIBE };
enum { IRQ_IDE = 14 };

/* Where anything is; others by two bytes of the value. */
static const uint16_t ports[] = {
    0x20,  0x21,  0xa0,  0xa1,  0x4d0, 0x4d1, 0x40,  0x41,  0x42,  0x43,  0x61,
    0x70,  0x71,  0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x2f8,
    0x2f9, 0x2fa, 0x2fb, 0x2fc, 0x2fd, 0x2fe, 0x2ff, 0xcf8, 0xcfc, 0x600, 0x601,
    0x602, 0x603, 0x604, 0x605, 0x608, 0x60b, 0x510, 0x511,
};

static uint32_t value_of(const uint8_t *at)
{
    return at[2] | (uint32_t)at[3] << 8 | (uint32_t)at[4] << 16 | (uint32_t)at[5] << 24;
}

static uint16_t port_of(const uint8_t *at)
{
    return (uint16_t)(at[1] < 0xc0 ? ports[at[1] % ARRAY_SIZE(ports)] : at[4] << 8 | at[5]);
}

/* Index, window and EOI register most of the time. */
static unsigned offset_of(const uint8_t *at)
{
    static const uint16_t offsets[] = {0x00, 0x10, 0x40};
    unsigned any = (at[4] * 256u + at[5]) % IOAPIC_SIZE;
    return at[1] < 0xc0 ? offsets[at[1] % ARRAY_SIZE(offsets)] : any;
}

static void describe(void)
{
    static char text[MOST_TEXT];
    devices_describe(&world.vm, text);
    size_t length = strlen(text);
    require(length > 0 && length < MOST_TEXT && text[length - 1] == '\n');
}

/* What the machine's own devices do, if anything: time passes in any case. */
static void machine_does(struct vcpu *vcpu, const uint8_t *at)
{
    if (at[1] >= 0x80)
        devices_assert_pci_pin(vcpu, PIN_PCI + at[1] % PCI_PINS);
    else if (at[1] >= 0x60)
        devices_set_irq(vcpu, IRQ_IDE + at[1] % 2u, at[2] % 2 != 0);
    else if (at[1] >= 0x50)
        devices_drop_pci_pins(vcpu, value_of(at));
}

static void other(const uint8_t *at)
{
    switch (at[1] % 4) {
    case TYPE:
        (void)world_type(at[2], at[3] & 0x1c);
        break;
    case RESET:
        world_reset();
        if (at[2] % 2 != 0)
            devices_level_pci(&world.vm);
        break;
    case FLUSH:
        devices_flush(&world.vm);
        break;
    case DESCRIBE:
        describe();
        break;
    }
}

static void operate(struct vcpu *vcpu, const uint8_t *at)
{
    unsigned width = 1u << (at[0] >> 3 & 3) % 3, wide = 1u << (at[0] >> 3 & 3);
    uint32_t value = value_of(at);
    switch (at[0] % KINDS) {
    case IN:
        (void)devices_in(vcpu, port_of(at), width);
        break;
    case OUT:
        (void)devices_out(vcpu, port_of(at), width, value);
        break;
    case READ:
        (void)devices_read_ioapic(vcpu, offset_of(at), wide);
        break;
    case WRITE:
        devices_write_ioapic(vcpu, offset_of(at), wide, value | (uint64_t)value << 32);
        break;
    case EOI:
        devices_eoi(vcpu, at[1]);
        break;
    case ACKNOWLEDGE:
        (void)devices_acknowledge(&world.vcpu[0]);
        break;
    case OTHER:
        other(at);
        break;
    default:
        machine_does(vcpu, at);
        break;
    }
}

/* One that is asserted is still to be taken, or served. */
static void check_pci(void)
{
    const struct devices *d = &world.vm.devices;
    require(d->pci_pins == 0 || !i8259_is_done(&d->pic, IRQ_PCI));
    require((world.ended & d->pci_pins) == 0 && d->ended == 0);
}

/* A guest makes few messages at once: each pin one, and edges of those that it touches. */
static void step(const uint8_t *at)
{
    const struct mailbox *mail = &world.vcpu[0].mail;
    bool intr = mail->intr, is_reset = at[0] % KINDS == OTHER && at[1] % 4 == RESET;
    uint64_t due = mail->due;
    world.messages = world.tells = world.ended = 0;
    world.now += (uint64_t)at[6] << (at[7] % 44);
    operate(&world.vcpu[at[0] >> 5 & 1], at);
    world_check();
    check_pci();
    if (!is_reset && at[0] % KINDS != ACKNOWLEDGE)
        require(world.tells != 0 || ((intr || !mail->intr) && mail->due >= due));
    world_settle();
    require(world.messages < WORLD_MESSAGES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t rates[] = {0, 1000000, 50000, 3700001};
    static const enum config_port serials[] = {PORT_COM1, PORT_COM2, PORT_LOG, PORT_NONE};
    if (size < 2)
        return 0;
    world_create(rates[data[0] & 3], serials[data[0] >> 2 & 3], data[1] % 64 + 1);
    world.no_uart = (data[0] & 0x10) != 0;
    world_check();
    for (size_t at = 2; at + OPERATION <= size; at += OPERATION)
        step(data + at);
    return 0;
}
