/* The devices of a VM: ports, lines, and when they are due. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/devices.h"

#include "drivers/cmos.h"
#include "drivers/serial.h"
#include "lib/format.h"
#include "lib/rare.h"
#include "lib/x86.h"
#include "vmm/host/clock.h"
#include "vmm/vcpu/interrupts.h"
#include "vmm/host/log.h"
#include "vmm/passthrough/passthrough.h"

enum { PORTS_PIC = 0x20, PORTS_PIC2 = 0xa0, PORTS_ELCR = 0x4d0, PORTS_PIT = 0x40 };
enum { PORT_61 = 0x61, PORTS_RTC = 0x70, PIN_INTR = 0, SOFT_OFF = 0 };

/* What is at ports, by twos. */
enum { AT_NOTHING, AT_PIC, AT_ELCR, AT_PIT, AT_PORT_61, AT_RTC, AT_COM1, AT_COM2, AT_PM, AT_FWCFG };
#define TWO(ports, i) [(ports) / 2 + (i)]
#define EIGHT(ports, i, at)                                                                        \
    TWO(ports, i) = at, TWO(ports, i + 1) = at, TWO(ports, i + 2) = at, TWO(ports, i + 3) = at
static const uint8_t at_ports[] = {
    TWO(PORTS_PIC, 0) = AT_PIC,      TWO(PORTS_PIC2, 0) = AT_PIC,     TWO(PORTS_ELCR, 0) = AT_ELCR,
    TWO(PORTS_PIT, 0) = AT_PIT,      TWO(PORTS_PIT, 1) = AT_PIT,      TWO(PORT_61, 0) = AT_PORT_61,
    TWO(PORTS_RTC, 0) = AT_RTC,      EIGHT(COM1, 0, AT_COM1),         EIGHT(COM2, 0, AT_COM2),
    EIGHT(PORT_PM1_EVENT, 0, AT_PM), EIGHT(PORT_PM1_EVENT, 4, AT_PM), TWO(FWCFG_PORT, 0) = AT_FWCFG,
};
static_assert(PORT_PM1_EVENT % 16 == 0, "EIGHT above is of all its ports");

/* Where the TSC's rate is not known, devices are as slow or fast as it happens. */
enum { SOME_KHZ = 1000000 };

static const uint8_t irqs[DEVICES] = {
    [DEVICE_PIT] = IRQ_PIT, [DEVICE_COM1] = IRQ_COM1, [DEVICE_COM2] = IRQ_COM2,
    [DEVICE_RTC] = IRQ_RTC, [DEVICE_PM] = IRQ_SCI,
};

/* --- lines ------------------------------------------------------------------------------------ */

static unsigned pin_of(unsigned irq)
{
    return irq == IRQ_PIT ? PIN_PIT : irq;
}

static void set_line(struct devices *d, unsigned irq, bool high)
{
    if ((d->lines >> irq & 1) == high)
        return;
    d->lines ^= (uint16_t)(1u << irq);
    d->stirred = true;
    i8259_set_line(&d->pic, irq, high);
    ioapic_set_pin(&d->ioapic, pin_of(irq), high);
}

static void set_pci_pins(struct devices *d, uint32_t pins)
{
    for (uint32_t left = pins ^ d->pci_pins; left != 0; left &= left - 1) {
        unsigned pin = (unsigned)__builtin_ctz(left);
        ioapic_set_pin(&d->ioapic, pin, (pins >> pin & 1) == 0);
    }
    d->pci_pins = pins;
    d->pci_masked &= pins != 0;
    set_line(d, IRQ_PCI, pins != 0);
    d->stirred = true;
}

/* Those of PINS that are asserted are no more, before anything of theirs is sent again. */
static void end_pins(struct devices *d, uint32_t pins)
{
    pins &= d->pci_pins;
    if (pins == 0)
        return;
    set_pci_pins(d, d->pci_pins & ~pins);
    d->ended |= pins;
}

/*
 * A PIT's line stays high: its next edge is made of it, however late that is seen. But where the
 * guest has made it low it is so, and what was not taken of it has gone.
 */
static void serve_pit(struct devices *d)
{
    bool rises = pit_rises(&d->pit, d->now);
    if (rises || pit_is_held_low(&d->pit))
        set_line(d, IRQ_PIT, false);
    if (rises)
        set_line(d, IRQ_PIT, true);
}

static void serve_com(struct devices *d, unsigned i)
{
    struct uart *uart = &d->com[i].uart;
    unsigned irq = irqs[DEVICE_COM1 + i];
    if (uart_has_dipped(uart))
        set_line(d, irq, false);
    set_line(d, irq, uart_interrupts(uart, d->now));
}

/* What the lines of a device are now. */
static void serve(struct devices *d, enum device device)
{
    switch (device) {
    case DEVICE_PIT:
        serve_pit(d);
        break;
    case DEVICE_COM1:
    case DEVICE_COM2:
        serve_com(d, device - DEVICE_COM1);
        break;
    case DEVICE_RTC:
        set_line(d, IRQ_RTC, rtc_interrupts(&d->rtc, d->now));
        break;
    case DEVICE_PM:
    default:
        set_line(d, IRQ_SCI, pmtimer_interrupts(&d->pm, d->now));
        break;
    }
}

static uint64_t due_of(const struct devices *d, enum device device)
{
    switch (device) {
    case DEVICE_PIT:
        return pit_due(&d->pit);
    case DEVICE_COM1:
    case DEVICE_COM2:
        return com_due(&d->com[device - DEVICE_COM1], d->now);
    case DEVICE_RTC:
        return rtc_due(&d->rtc);
    case DEVICE_PM:
        return pmtimer_due(&d->pm);
    }
    return UINT64_MAX;
}

/* What was due by now has been served: a device that has it pending says so still. */
static void look_at_due(struct devices *d, enum device device)
{
    uint64_t due = (d->open >> irqs[device] & 1) != 0 ? due_of(d, device) : UINT64_MAX;
    if (due <= d->now)
        due = UINT64_MAX;
    if (due == d->due[device])
        return;
    d->due[device] = due;
    d->moved = d->stirred = true;
}

static __attribute__((noinline)) void look_at(struct devices *d, enum device device)
{
    serve(d, device);
    look_at_due(d, device);
}

static void look_at_all(struct devices *d)
{
    for (unsigned i = 0; i < DEVICES; i++)
        look_at(d, i);
}

/* Which IRQs are masked neither at the 8259s nor at the I/O APIC. */
static uint16_t open_of(const struct devices *d)
{
    const struct i8259_chip *chip = d->pic.chip;
    unsigned masked = chip[0].masked | (unsigned)chip[1].masked << 8;
    if ((chip[0].masked >> I8259_CASCADE & 1) != 0)
        masked |= 0xff00;
    unsigned pins = ~d->ioapic.masked;
    return (uint16_t)(~masked | (pins & ~(1u << IRQ_PIT)) | (pins >> PIN_PIT & 1));
}

/* After a change of who is masked. */
static void look_at_masks(struct devices *d)
{
    uint16_t open = open_of(d), changed = open ^ d->open;
    d->open = open;
    for (unsigned i = 0; i < DEVICES; i++)
        if ((changed >> irqs[i] & 1) != 0)
            look_at(d, i);
}

/* One that was low for a moment is an edge, too: where nobody acknowledges, there is no other. */
static void look_at_intr(struct vm *vm)
{
    struct devices *d = &vm->devices;
    bool intr = i8259_interrupts(&d->pic), rises = i8259_has_risen(&d->pic);
    if (rises && intr == d->intr)
        ioapic_set_pin(&d->ioapic, PIN_INTR, !intr);
    else if (intr == d->intr)
        return;
    d->intr = intr;
    d->rises |= rises;
    ioapic_set_pin(&d->ioapic, PIN_INTR, intr);
    __atomic_store_n(&vm->vcpus[0]->mail.intr, intr, __ATOMIC_RELEASE);
}

static void look_at_time(struct vm *vm)
{
    struct devices *d = &vm->devices;
    uint64_t *known = &vm->vcpus[0]->mail.due, due = UINT64_MAX;
    if (!d->moved)
        return;
    d->moved = false;
    for (unsigned i = 0; i < DEVICES; i++)
        due = min_u64(due, d->due[i]);
    d->tell |= due < *known;
    __atomic_store_n(known, due, __ATOMIC_RELEASE);
}

/* --- under the lock, and what is done behind it ----------------------------------------------- */

static struct devices *begin(struct vcpu *vcpu)
{
    struct devices *d = &vcpu->vm->devices;
    lock_take(&vcpu->vm->lock);
    d->now = max_u64(d->now, rdtsc());
    return d;
}

/* Messages are sent one by one, as what they do may need the lock. */
static __attribute__((noinline)) void send_messages(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    struct ipi message;
    bool any = true;
    while (any) {
        lock_take(&vm->lock);
        any = ioapic_next(&vm->devices.ioapic, &message);
        lock_release(&vm->lock);
        if (any)
            vcpu_send(vcpu, &message);
    }
}

static void soft_off(struct vm *vm)
{
    log_line("vm %s: soft off", vm->config->name);
    vm_exit_value(vm, 0);
}

/*
 * PCI's IRQ has been served, or is let in: its device may have been served meanwhile. It is asked
 * anew.
 */
static void look_at_pci(struct devices *d)
{
    bool masked = i8259_masks(&d->pic, IRQ_PCI);
    if (i8259_is_done(&d->pic, IRQ_PCI) || (d->pci_masked && !masked))
        end_pins(d, UINT32_MAX);
    d->pci_masked = masked;
}

static __attribute__((noinline)) void end_stirred(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    struct devices *d = &vm->devices;
    if (d->pci_pins != 0)
        look_at_pci(d);
    look_at_intr(vm);
    look_at_time(vm);
    bool sends = ioapic_ready(&d->ioapic) != 0, tell = d->tell, off = d->off, resets = d->resets;
    bool rises = d->rises;
    uint32_t ended = d->ended;
    d->stirred = d->tell = d->rises = d->off = d->resets = false;
    d->ended = 0;
    lock_release(&vm->lock);
    if (tell)
        vcpu_tell_first(vcpu);
    if (rises)
        vcpu_raise_lint0(vcpu);
    if (sends)
        send_messages(vcpu);
    if (ended != 0)
        passthrough_ended(vcpu, ended);
    if (off)
        soft_off(vm);
    if (resets)
        vm_reset(vm, "a port");
}

static inline void end(struct vcpu *vcpu)
{
    if (vcpu->vm->devices.stirred)
        end_stirred(vcpu);
    else
        lock_release(&vcpu->vm->lock);
}

/* --- ports ------------------------------------------------------------------------------------ */

/* Lines of IRQs that cannot get in are looked at when they can, and when IRR is read, or polled. */
static uint8_t in_pic(struct devices *d, unsigned reg)
{
    if (reg == I8259_MASTER || reg == I8259_SLAVE) {
        for (unsigned i = 0; i < COMS; i++)
            com_poll(&d->com[i], d->now);
        look_at_all(d);
    }
    uint8_t value = i8259_read(&d->pic, reg);
    d->stirred |=
        i8259_interrupts(&d->pic) != d->intr || d->pic.rises || d->pci_pins != 0; /* a poll */
    return value;
}

static __attribute__((noinline)) uint8_t in_rtc(struct devices *d, unsigned reg)
{
    uint8_t value = rtc_read(&d->rtc, reg, d->now);
    look_at(d, DEVICE_RTC);
    return value;
}

static __attribute__((noinline)) uint8_t in_pm(struct devices *d, unsigned reg)
{
    uint8_t value = pmtimer_read(&d->pm, reg, d->now);
    look_at(d, DEVICE_PM);
    return value;
}

/* The register of the 8259s at PORT, which is one of theirs. */
static unsigned pic_register(unsigned port)
{
    static_assert(((PORTS_PIC2 ^ PORTS_PIC) >> 6 & I8259_SLAVE) != 0, "bit 7 tells them apart");
    return (port >> 6 & I8259_SLAVE) | (port & 1);
}

static void out_pic(struct devices *d, unsigned reg, uint8_t value)
{
    if (i8259_write(&d->pic, reg, value))
        look_at_masks(d);
    if (i8259_interrupts(&d->pic) != d->intr || d->pci_pins != 0)
        d->stirred = true;
}

static __attribute__((noinline)) bool in_com(struct devices *d, unsigned i, uint16_t port,
                                             uint8_t *value)
{
    if (!com_has(&d->com[i], port))
        return false;
    *value = com_read(&d->com[i], port - d->com[i].base, d->now);
    look_at(d, DEVICE_COM1 + i);
    return true;
}

static __attribute__((noinline)) bool out_com(struct devices *d, unsigned i, uint16_t port,
                                              uint8_t value)
{
    if (!com_has(&d->com[i], port))
        return false;
    com_write(&d->com[i], port - d->com[i].base, value, d->now);
    look_at(d, DEVICE_COM1 + i);
    return true;
}

static void out_pit(struct devices *d, uint16_t port, uint8_t value)
{
    if (pit_write(&d->pit, port - PORTS_PIT, value, d->now))
        look_at(d, DEVICE_PIT);
}

static __attribute__((noinline)) void out_rtc(struct devices *d, unsigned reg, uint8_t value)
{
    rtc_write(&d->rtc, reg, value, d->now);
    look_at(d, DEVICE_RTC);
}

static __attribute__((noinline)) void out_pm(struct devices *d, unsigned reg, uint8_t value)
{
    if (pmtimer_write(&d->pm, reg, value, d->now) == SOFT_OFF)
        d->off = d->stirred = true;
    look_at(d, DEVICE_PM);
}

static __attribute__((noinline)) bool in_fwcfg_byte(struct devices *d, uint8_t *value)
{
    uint32_t wide = *value;
    bool any = fwcfg_read(&d->fwcfg, 1, &wide);
    *value = (uint8_t)wide;
    return any;
}

static bool is_fwcfg(uint16_t port)
{
    return (port & ~1u) == FWCFG_PORT;
}

/* What is seldom written. */
static __attribute__((noinline)) bool out_other(struct devices *d, uint16_t port, uint8_t value)
{
    if (is_fwcfg(port))
        return fwcfg_write(&d->fwcfg, port & 1, 1, value);
    enum legacy_write answer = legacy_write(&d->legacy, port, value);
    if (answer == LEGACY_RESETS)
        d->resets = d->stirred = true;
    return answer != LEGACY_NOTHING;
}

/*
 * What is seldom read. Of CONFIG_DATA, with the lock, which is let go meanwhile: PCI has its own,
 * and what is done under that may need this one.
 */
static __attribute__((noinline)) bool in_other_byte(struct vcpu *vcpu, uint16_t port,
                                                    uint8_t *value)
{
    uint32_t wide = *value;
    if (!devices_is_pci(port))
        return legacy_read(&vcpu->vm->devices.legacy, port, value);
    lock_release(&vcpu->vm->lock);
    bool any = devices_in_pci(vcpu, port, 1, &wide);
    lock_take(&vcpu->vm->lock);
    *value = (uint8_t)wide;
    return any;
}

static unsigned at(unsigned port)
{
    return port / 2 < ARRAY_SIZE(at_ports) ? at_ports[port / 2] : AT_NOTHING;
}

/* One byte. False: nothing is there. */
static inline bool in_byte(struct vcpu *vcpu, struct devices *d, uint16_t port, uint8_t *value)
{
    switch (at(port)) {
    case AT_PIC:
        *value = in_pic(d, pic_register(port));
        return true;
    case AT_ELCR:
        *value = in_pic(d, I8259_ELCR + (port & 1));
        return true;
    case AT_PIT:
        *value = pit_read(&d->pit, port - PORTS_PIT, d->now);
        return true;
    case AT_PORT_61:
        if ((port & 1) != 0)
            *value = pit_read_port61(&d->pit, d->now);
        return (port & 1) != 0;
    case AT_RTC:
        *value = in_rtc(d, port & 1);
        return true;
    case AT_COM1:
    case AT_COM2:
        return in_com(d, at(port) - AT_COM1, port, value);
    case AT_PM:
        *value = in_pm(d, port & 15);
        return true;
    case AT_FWCFG:
        return in_fwcfg_byte(d, value);
    default:
        return in_other_byte(vcpu, port, value);
    }
}

static inline bool out_byte(struct devices *d, uint16_t port, uint8_t value)
{
    switch (at(port)) {
    case AT_PIC:
        out_pic(d, pic_register(port), value);
        return true;
    case AT_ELCR:
        out_pic(d, I8259_ELCR + (port & 1), value);
        return true;
    case AT_PIT:
        out_pit(d, port, value);
        return true;
    case AT_PORT_61:
        if ((port & 1) != 0)
            pit_write_port61(&d->pit, value, d->now);
        return (port & 1) != 0;
    case AT_RTC:
        out_rtc(d, port & 1, value);
        return true;
    case AT_COM1:
    case AT_COM2:
        return out_com(d, at(port) - AT_COM1, port, value);
    case AT_PM:
        out_pm(d, port & 15, value);
        return true;
    default:
        return out_other(d, port, value);
    }
}

/* Devices that take wider accesses themselves. */
static bool is_whole(uint16_t port)
{
    return is_fwcfg(port) || devices_is_pci(port);
}

static bool in_whole(struct vcpu *vcpu, uint16_t port, unsigned width, uint32_t *value)
{
    if (devices_is_pci(port))
        return devices_in_pci(vcpu, port, width, value);
    lock_take(&vcpu->vm->lock);
    bool any = fwcfg_read(&vcpu->vm->devices.fwcfg, width, value);
    lock_release(&vcpu->vm->lock);
    return any;
}

static bool out_fwcfg(struct vcpu *vcpu, uint16_t port, unsigned width, uint32_t value)
{
    lock_take(&vcpu->vm->lock);
    bool any = fwcfg_write(&vcpu->vm->devices.fwcfg, port & 1, width, value);
    lock_release(&vcpu->vm->lock);
    return any;
}

/* One byte of several: all are read at one time. */
static __attribute__((noinline)) uint8_t in_one_of(struct vcpu *vcpu, uint16_t port)
{
    uint8_t value = 0xff;
    if (!in_byte(vcpu, &vcpu->vm->devices, port, &value))
        vcpu->port_reads++;
    return value;
}

/* As a bus takes wider accesses apart for devices of 8 bits. */
static __attribute__((noinline)) uint32_t in_wide(struct vcpu *vcpu, uint16_t port, unsigned width)
{
    uint32_t value = UINT32_MAX;
    if (is_whole(port)) {
        vcpu->port_reads += in_whole(vcpu, port, width, &value) ? 0 : 1;
        return value;
    }
    (void)begin(vcpu);
    for (unsigned i = 0; i < width; i++) {
        uint32_t byte = in_one_of(vcpu, (uint16_t)(port + i));
        value = (value & ~(0xffu << 8 * i)) | byte << 8 * i;
    }
    end(vcpu);
    return value;
}

static __attribute__((noinline)) bool out_wide(struct vcpu *vcpu, uint16_t port, unsigned width,
                                               uint32_t value)
{
    bool any = is_fwcfg(port) && out_fwcfg(vcpu, port, width, value);
    for (unsigned i = 0; i < width && !is_fwcfg(port); i++)
        any |= devices_out(vcpu, (uint16_t)(port + i), 1, value >> 8 * i);
    return any;
}

uint32_t devices_in(struct vcpu *vcpu, uint16_t port, unsigned width)
{
    uint8_t value = 0xff;
    if (width != 1)
        return in_wide(vcpu, port, width);
    if (!in_byte(vcpu, begin(vcpu), port, &value))
        vcpu->port_reads++;
    end(vcpu);
    return value;
}

bool devices_out(struct vcpu *vcpu, uint16_t port, unsigned width, uint32_t value)
{
    if (width != 1)
        return out_wide(vcpu, port, width, value);
    struct devices *d = begin(vcpu);
    bool any = out_byte(d, port, (uint8_t)value);
    end(vcpu);
    return any;
}

/* --- interrupt controllers -------------------------------------------------------------------- */

uint32_t devices_read_ioapic(struct vcpu *vcpu, unsigned offset, unsigned width)
{
    lock_take(&vcpu->vm->lock);
    uint64_t value = ioapic_read(&vcpu->vm->devices.ioapic, offset, width);
    lock_release(&vcpu->vm->lock);
    return (uint32_t)value;
}

/* What has risen by now behind a mask is lost: a pin that this opens must not take it for new. */
void devices_write_ioapic(struct vcpu *vcpu, unsigned offset, unsigned width, uint64_t value)
{
    struct devices *d = begin(vcpu);
    if (ioapic_opens(&d->ioapic, offset, width, value)) {
        look_at_all(d);
        look_at_intr(vcpu->vm);
    }
    uint32_t served = d->ioapic.remote_irr, masked = d->ioapic.masked;
    ioapic_write(&d->ioapic, offset, width, value);
    end_pins(d, (served & ~d->ioapic.remote_irr) | (masked & ~d->ioapic.masked));
    look_at_masks(d);
    d->stirred = true;
    end(vcpu);
}

/* An EOI that changes more than an entry, with the lock. */
static __attribute__((noinline)) void end_levels(struct vcpu *vcpu, uint32_t pins)
{
    end_pins(&vcpu->vm->devices, pins);
    end_stirred(vcpu);
}

void devices_eoi(struct vcpu *vcpu, unsigned vector)
{
    struct devices *d = &vcpu->vm->devices;
    lock_take(&vcpu->vm->lock);
    uint32_t ended = ioapic_eoi(&d->ioapic, vector);
    if (d->intr) /* which LINT0 may have as a level */
        vcpu->changed |= STATE_EVENTS;
    if ((ended & d->pci_pins) != 0 || ioapic_ready(&d->ioapic) != 0)
        end_levels(vcpu, ended);
    else
        lock_release(&vcpu->vm->lock);
}

void devices_assert_pci_pin(struct vcpu *vcpu, unsigned pin)
{
    struct devices *d = begin(vcpu);
    set_pci_pins(d, d->pci_pins | 1u << pin);
    end(vcpu);
}

void devices_set_irq(struct vcpu *vcpu, unsigned irq, bool rises)
{
    struct devices *d = begin(vcpu);
    set_line(d, irq, false);
    if (rises)
        set_line(d, irq, true);
    end(vcpu);
}

void devices_drop_pci_pins(struct vcpu *vcpu, uint32_t pins)
{
    struct devices *d = begin(vcpu);
    end_pins(d, pins);
    end(vcpu);
}

/* INTR falls, and rises where more is requested. */
uint8_t devices_acknowledge(struct vcpu *vcpu)
{
    struct devices *d = begin(vcpu);
    uint8_t vector = i8259_acknowledge(&d->pic);
    d->stirred = true;
    end(vcpu);
    return vector;
}

void devices_level_pci(struct vm *vm)
{
    (void)i8259_write(&vm->devices.pic, I8259_ELCR + IRQ_PCI / 8, 1 << IRQ_PCI % 8);
}

/* --- time ------------------------------------------------------------------------------------- */

RARE bool devices_can_send(struct vcpu *vcpu, unsigned modes, bool by_intr)
{
    struct devices *d = &vcpu->vm->devices;
    lock_take(&vcpu->vm->lock);
    uint32_t pins = ioapic_open(&d->ioapic, modes), irqs_due = 0, pins_due = 0;
    for (unsigned i = 0; i < DEVICES; i++) {
        bool due = d->due[i] != UINT64_MAX;
        pins_due |= due ? 1u << pin_of(irqs[i]) : 0;
        irqs_due |= due && !i8259_masks(&d->pic, irqs[i]) ? 1u << irqs[i] : 0;
    }
    by_intr |= (pins >> PIN_INTR & 1) != 0;
    lock_release(&vcpu->vm->lock);
    return (pins & pins_due) != 0 || (by_intr && irqs_due != 0);
}

void devices_run(struct vcpu *vcpu)
{
    struct devices *d = begin(vcpu);
    for (unsigned i = 0; i < COMS; i++)
        if (d->due[DEVICE_COM1 + i] <= d->now)
            com_poll(&d->com[i], d->now);
    for (unsigned i = 0; i < DEVICES; i++)
        if (d->due[i] <= d->now)
            look_at(d, i);
    end(vcpu);
}

static uint32_t khz(void)
{
    uint32_t rate = clock_tsc_khz();
    return rate != 0 ? rate : SOME_KHZ;
}

static uint64_t bytes_above_4g(const struct vm *vm)
{
    const struct range *last = &vm->ram[vm->ram_count - 1];
    return last->start == GUEST_HOLE_END ? last->end - last->start : 0;
}

static void reset_common(struct vm *vm)
{
    struct devices *d = &vm->devices;
    const struct vm_config *config = vm->config;
    i8259_reset(&d->pic);
    ioapic_reset(&d->ioapic, platform_ioapic_id(config->cpus));
    pit_reset(&d->pit, khz(), d->now);
    pmtimer_reset(&d->pm, khz(), d->now);
    fwcfg_reset(&d->fwcfg, config->cpus, vm->ram[0].end + bytes_above_4g(vm));
    legacy_reset(&d->legacy);
    d->lines = 0;
    d->pci_pins = d->ended = 0;
    d->pci_masked = false;
    d->open = open_of(d);
    d->intr = d->tell = d->rises = d->off = d->resets = d->moved = d->stirred = false;
    for (unsigned i = 0; i < DEVICES; i++)
        d->due[i] = UINT64_MAX;
}

/* A port that the log has: on a machine with one port, lines of both go there. */
static enum config_port serial_of(const struct vm_config *config)
{
    enum config_port port = config->serial;
    bool shared =
        (port == PORT_COM1 && log_port() == COM1) || (port == PORT_COM2 && log_port() == COM2);
    return shared ? PORT_LOG : port;
}

void devices_create(struct vm *vm)
{
    struct devices *d = &vm->devices;
    d->now = rdtsc();
    com_init(&d->com[0], COM1, khz(), serial_of(vm->config), vm->config->name);
    com_init_alone(&d->com[1], COM2, khz());
    rtc_create(&d->rtc,
               &(struct rtc_setup){
                   .khz = khz(),
                   .unix_time = cmos_unix_time(),
                   .below_4g = vm->ram[0].end,
                   .above_4g = bytes_above_4g(vm),
                   .cpus = vm->config->cpus,
               },
               d->now);
    reset_common(vm);
}

void devices_reset(struct vm *vm)
{
    struct devices *d = &vm->devices;
    d->now = max_u64(d->now, rdtsc());
    for (unsigned i = 0; i < COMS; i++)
        com_reset(&d->com[i]);
    rtc_reset(&d->rtc, d->now);
    reset_common(vm);
}

void devices_flush(struct vm *vm)
{
    for (unsigned i = 0; i < COMS; i++)
        com_flush(&vm->devices.com[i]);
}

void devices_describe(struct vm *vm, char text[DEVICES_TEXT])
{
    const struct devices *d = &vm->devices;
    size_t used = 0;
    lock_take(&vm->lock);
    used += i8259_describe(&d->pic, text + used, DEVICES_TEXT - used);
    used += ioapic_describe(&d->ioapic, text + used, DEVICES_TEXT - used);
    used += pit_describe(&d->pit, text + used, DEVICES_TEXT - used);
    for (unsigned i = 0; i < COMS; i++) {
        used += format(text + used, DEVICES_TEXT - used, "COM%u: ", i + 1);
        used += uart_describe(&d->com[i].uart, text + used, DEVICES_TEXT - used);
    }
    used += rtc_describe(&d->rtc, text + used, DEVICES_TEXT - used);
    used += pmtimer_describe(&d->pm, text + used, DEVICES_TEXT - used);
    used += fwcfg_describe(&d->fwcfg, text + used, DEVICES_TEXT - used);
    used += legacy_describe(&d->legacy, text + used, DEVICES_TEXT - used);
    lock_release(&vm->lock);
    (void)vpci_bus_describe(&vm->pci, text + used, DEVICES_TEXT - used);
}
