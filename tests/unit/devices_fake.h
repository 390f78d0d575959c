/*
 * The devices of a VM in a world that the test makes: time is what it says, the machine has a UART
 * at COM1, and what goes to vCPUs is kept. What must hold after whatever a guest does is looked at
 * by plain computations. To be included by one C file of a program, before any other.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "tests/unit/host.h"

#undef assert
#include "drivers/cmos.h"
#include "drivers/serial.h"
#include "lib/assert.h"
#include "lib/x86.h"
#include "vmm/host/clock.h"
#include "vmm/vcpu/interrupts.h"
#include "vmm/host/log.h"

enum { WORLD_MESSAGES = 64, WORLD_CHARS = 32, WORLD_TEXT = 256 };

static struct {
    uint64_t now, step; /* ticks that each look at the time takes */
    uint32_t khz;
    struct vm_config config;
    struct vm vm;
    struct vcpu vcpu[2];
    struct ipi message[WORLD_MESSAGES]; /* that have been sent since it was last cleared */
    unsigned messages, tells, rises, drains;
    uint32_t ended; /* pins that the machine's own devices asserted, since it was last cleared */
    int exit_value; /* -1: none */
    unsigned resets;
    /* The machine's UART: what is about to come in, with LSR's errors, and what was sent. */
    uint8_t in[WORLD_CHARS], errors[WORLD_CHARS];
    unsigned ins;
    char out[WORLD_TEXT];
    unsigned outs;
    bool no_uart;
    uint16_t log_port;
} world;

static inline void world_lock(struct lock *lock)
{
    assert(!lock->held);
    lock->held = true;
}

static inline void world_unlock(struct lock *lock)
{
    assert(lock->held);
    lock->held = false;
}

/* Of the machine's UART a guest's only reads data and LSR. */
static inline uint8_t world_in8(uint16_t port)
{
    assert(port == COM1 || port == COM1 + 5);
    if (port == COM1 + 5)
        return 0x60 | (world.ins > 0 ? 1 | world.errors[0] : 0);
    assert(world.ins > 0);
    uint8_t byte = world.in[0];
    world.ins--;
    memmove(world.in, world.in + 1, world.ins);
    memmove(world.errors, world.errors + 1, world.ins);
    return byte;
}

#define rdtsc()            (world.now += world.step)
#define clock_tsc_khz()    (world.khz)
#define in8(port)          world_in8(port)
#define lock_take(lock)    world_lock(lock)
#define lock_release(lock) world_unlock(lock)

#include "vmm/devices/com.c"
#include "vmm/devices/devices.c"

/* --- what those files need -------------------------------------------------------------------- */

void vcpu_send(struct vcpu *vcpu, const struct ipi *ipi)
{
    assert(!vcpu->vm->lock.held && world.messages < WORLD_MESSAGES);
    world.message[world.messages++] = *ipi;
}

void vcpu_tell_first(struct vcpu *vcpu)
{
    assert(!vcpu->vm->lock.held);
    world.tells++;
}

void vcpu_raise_lint0(struct vcpu *vcpu)
{
    vcpu_tell_first(vcpu);
    world.rises++;
}

void passthrough_ended(struct vcpu *vcpu, uint32_t pins)
{
    assert(!vcpu->vm->lock.held && pins != 0);
    assert((pins & vcpu->vm->devices.pci_pins) == 0);
    world.ended |= pins;
}

void vm_exit_value(struct vm *vm, unsigned value)
{
    assert(!vm->lock.held);
    world.exit_value = (int)value;
}

void vm_reset(struct vm *vm, const char *why)
{
    assert(!vm->lock.held && why != NULL);
    world.resets++;
}

/* The PCI bus is not of these files. */
bool devices_in_pci(struct vcpu *vcpu, uint16_t port, unsigned width, uint32_t *value)
{
    assert(!vcpu->vm->lock.held && devices_is_pci(port));
    *value = 0x33221100 >> 8 * (port & 3) & (width == 4 ? UINT32_MAX : (1u << 8 * width) - 1);
    return true;
}

uint64_t cmos_unix_time(void)
{
    return 1767225600; /* 2026-01-01 00:00:00 */
}

bool serial_start(uint16_t port)
{
    return port == COM1 && !world.no_uart;
}

void serial_put(uint16_t port, char c)
{
    assert(port == COM1);
    if (world.outs < WORLD_TEXT - 1)
        world.out[world.outs++] = c;
}

void serial_drain(uint16_t port)
{
    assert(port == COM1);
    world.drains++;
}

uint16_t log_port(void)
{
    return world.log_port;
}

/* --- a VM ------------------------------------------------------------------------------------- */

/* KHZ: 0 if the hypervisor does not know. */
static inline void world_create(uint32_t khz, enum config_port serial, unsigned cpus)
{
    host_log_reset();
    memset(&world, 0, sizeof(world));
    world.now = 1000000;
    world.khz = khz;
    world.exit_value = -1;
    world.log_port = COM2;
    world.config.cpus = cpus;
    world.config.serial = serial;
    memcpy(world.config.name, "vm", sizeof("vm"));
    world.vm.config = &world.config;
    world.vm.ram[0] = (struct range){0, 3ull << 30};
    world.vm.ram[1] = (struct range){4ull << 30, 6ull << 30};
    world.vm.ram_count = 2;
    for (unsigned i = 0; i < ARRAY_SIZE(world.vcpu); i++) {
        world.vcpu[i].vm = &world.vm;
        world.vcpu[i].index = i;
        world.vm.vcpus[i] = &world.vcpu[i];
    }
    world.vcpu[0].mail.due = UINT64_MAX;
    devices_create(&world.vm);
}

/* The VM's reset, at which no vCPU runs, and what that of vCPU 0 does. */
static inline void world_reset(void)
{
    devices_reset(&world.vm);
    world.vcpu[0].mail.intr = false;
    world.vcpu[0].mail.due = UINT64_MAX;
}

/* Something comes in at the machine's UART; false: there is no room for it. */
static inline bool world_type(uint8_t byte, uint8_t errors)
{
    if (world.ins == WORLD_CHARS)
        return false;
    world.in[world.ins] = byte;
    world.errors[world.ins++] = errors;
    return true;
}

/* --- what must hold --------------------------------------------------------------------------- */

/* An IRQ that gets through neither the 8259s nor the I/O APIC need not be looked at. */
static inline bool world_open(unsigned irq)
{
    const struct devices *d = &world.vm.devices;
    unsigned pin = irq == 0 ? 2 : irq, chip = irq / 8;
    bool by_pic = (d->pic.chip[chip].masked >> irq % 8 & 1) == 0;
    if (chip == 1 && (d->pic.chip[0].masked >> 2 & 1) != 0)
        by_pic = false;
    return by_pic || (d->ioapic.entry[pin] >> 16 & 1) == 0;
}

static inline bool world_line(unsigned irq)
{
    return (world.vm.devices.lines >> irq & 1) != 0;
}

/* Every line leads to an input of the 8259s and to one pin. */
static inline void world_check_lines(void)
{
    const struct devices *d = &world.vm.devices;
    for (unsigned irq = 0; irq < 16; irq++) {
        unsigned pin = irq == 0 ? 2 : irq;
        if (irq == 2)
            continue;
        assert((d->pic.chip[irq / 8].high >> irq % 8 & 1) == world_line(irq));
        assert((d->ioapic.high >> pin & 1) == world_line(irq));
    }
    assert((d->pic.chip[0].high >> 2 & 1) == d->pic.chip[1].out);
    assert((d->ioapic.high & 1) == d->pic.chip[0].out);
    assert((d->ioapic.high & IOAPIC_PULLED_UP) == (IOAPIC_PULLED_UP & ~d->pci_pins));
    assert(world_line(IRQ_PCI) == (d->pci_pins != 0));
}

/* What copies of the devices would say at the time of the last look. */
static inline void world_check_signals(void)
{
    const struct devices *d = &world.vm.devices;
    struct pmtimer pm = d->pm;
    struct rtc rtc = d->rtc;
    struct pit pit = d->pit;
    for (unsigned i = 0; i < COMS; i++)
        if (world_open(i == 0 ? 4 : 3))
            assert(world_line(i == 0 ? 4 : 3) == uart_interrupts(&d->com[i].uart, d->now));
    if (world_open(8))
        assert(world_line(8) == rtc_interrupts(&rtc, d->now));
    if (world_open(9))
        assert(world_line(9) == pmtimer_interrupts(&pm, d->now));
    if (world_open(0))
        assert(!pit_rises(&pit, d->now));
}

/* Input by input, from the highest priority on: does any get through to the chip's output? */
static inline bool world_asks(const struct i8259_chip *c)
{
    for (unsigned i = 1; i <= 8 && c->expects == 0; i++) {
        unsigned n = (c->lowest + i) % 8, bit = 1u << n;
        bool requested = ((c->level & bit) != 0 ? c->high & bit : c->edges & bit) != 0;
        bool masked = (c->masked & bit) != 0, nested = (c->icw4 & 0x10) != 0;
        bool busy = (c->service & bit) != 0 && !(c->special && masked);
        bool slave = (c->icw1 & 2) == 0 && (c->cascade & bit) != 0;
        if (requested && !masked && (!busy || (nested && slave)))
            return true;
        if (busy)
            return false;
    }
    return false;
}

/* What a device says that is not later than the last look has been done. */
static inline uint64_t world_due(void)
{
    const struct devices *d = &world.vm.devices;
    const uint64_t due[] = {pit_due(&d->pit), uart_due(&d->com[0].uart), uart_due(&d->com[1].uart),
                            rtc_due(&d->rtc), pmtimer_due(&d->pm)};
    static const unsigned irq[] = {0, 4, 3, 8, 9};
    uint64_t first = UINT64_MAX;
    for (unsigned i = 0; i < ARRAY_SIZE(due); i++)
        if (world_open(irq[i]) && due[i] > d->now && due[i] < first)
            first = due[i];
    return first;
}

/* Of the machine's UART nothing says when something comes. */
static inline bool world_listens(void)
{
    const struct com *com = &world.vm.devices.com[0];
    return com->machine != 0 && (com->uart.ier & 1) != 0 && world_open(4);
}

/* What is due already may be so since another time than a device would say. */
static inline void world_check_due(void)
{
    uint64_t due = world.vcpu[0].mail.due, expected = world_due();
    assert(due <= world.now || due == expected || (world_listens() && due < expected));
}

static inline void world_check(void)
{
    const struct devices *d = &world.vm.devices;
    const struct mailbox *mail = &world.vcpu[0].mail;
    assert(!world.vm.lock.held && !d->stirred && !d->moved && !d->tell && !d->off && !d->resets);
    assert(!d->rises && !d->pic.rises);
    world_check_lines();
    for (unsigned i = 0; i < 2; i++)
        assert(d->pic.chip[i].out == world_asks(&d->pic.chip[i]));
    assert(mail->intr == d->pic.chip[0].out && d->intr == mail->intr);
    assert(ioapic_ready(&d->ioapic) == 0);
    world_check_due();
}

/* At the time of its mailbox vCPU 0 looks; then nothing that was due still is. */
static inline void world_settle(void)
{
    if (world.now < world.vcpu[0].mail.due)
        return;
    devices_run(&world.vcpu[0]);
    world_check();
    world_check_signals();
    assert(world.vcpu[0].mail.due > world.now);
}
