/* The devices of a VM: ports, lines, and when they are due. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices.h"

#include "drivers/cmos.h"
#include "drivers/serial.h"
#include "lib/format.h"
#include "lib/x86.h"
#include "vmm/clock.h"
#include "vmm/interrupts.h"
#include "vmm/log.h"

enum { PORTS_PIC = 0x20, PORTS_PIC2 = 0xa0, PORTS_ELCR = 0x4d0, PORTS_PIT = 0x40 };
enum { PORT_61 = 0x61, PORTS_RTC = 0x70, PM_BITS = 32, PIN_INTR = 0, SOFT_OFF = 0 };

/* Where the TSC's rate is not known, devices are as slow or fast as it happens. */
enum { SOME_KHZ = 1000000 };

static const uint8_t irqs[DEVICES] = {
    [DEVICE_PIT] = IRQ_PIT, [DEVICE_COM1] = IRQ_COM1, [DEVICE_COM2] = IRQ_COM2,
    [DEVICE_RTC] = IRQ_RTC, [DEVICE_PM] = IRQ_SCI,
};

/* --- lines ------------------------------------------------------------------------------------ */

static void set_line(struct devices *d, unsigned irq, bool high)
{
    if ((d->lines >> irq & 1) == high)
        return;
    d->lines ^= (uint16_t)(1u << irq);
    i8259_set_line(&d->pic, irq, high);
    ioapic_set_pin(&d->ioapic, irq == IRQ_PIT ? PIN_PIT : irq, high);
}

/* A PIT's line stays high: its next edge is made of it, however late that is seen. */
static void serve_pit(struct devices *d)
{
    if (!pit_rises(&d->pit, d->now))
        return;
    set_line(d, IRQ_PIT, false);
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

static void look_at_due(struct devices *d, enum device device)
{
    uint64_t due = (d->open >> irqs[device] & 1) != 0 ? due_of(d, device) : UINT64_MAX;
    d->moved |= due != d->due[device];
    d->due[device] = due;
}

static __attribute__((noinline)) void look_at(struct devices *d, enum device device)
{
    serve(d, device);
    look_at_due(d, device);
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

static void look_at_intr(struct vm *vm)
{
    struct devices *d = &vm->devices;
    bool intr = i8259_interrupts(&d->pic);
    if (intr == d->intr)
        return;
    d->intr = intr;
    ioapic_set_pin(&d->ioapic, PIN_INTR, intr);
    __atomic_store_n(&vm->vcpus[0]->mail.intr, intr, __ATOMIC_RELEASE);
    d->tell |= intr;
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

static void end(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    struct devices *d = &vm->devices;
    look_at_intr(vm);
    look_at_time(vm);
    bool sends = ioapic_ready(&d->ioapic) != 0, tell = d->tell;
    d->tell = false;
    lock_release(&vm->lock);
    if (tell)
        vcpu_tell_first(vcpu);
    if (sends)
        send_messages(vcpu);
}

static __attribute__((noinline)) void soft_off(struct vm *vm)
{
    log_line("vm %s: soft off", vm->config->name);
    vm_exit_value(vm, 0);
}

/* --- ports ------------------------------------------------------------------------------------ */

static bool com_of(const struct devices *d, uint16_t port, unsigned *i)
{
    *i = com_has(&d->com[0], port) ? 0 : 1;
    return com_has(&d->com[*i], port);
}

static uint8_t in_com(struct devices *d, unsigned i, uint16_t port)
{
    uint8_t value = com_read(&d->com[i], port - d->com[i].base, d->now);
    look_at(d, DEVICE_COM1 + i);
    return value;
}

/* Lines of IRQs that cannot get in are looked at when they can, and when IRR is read, or polled. */
static uint8_t in_pic(struct devices *d, unsigned reg)
{
    for (unsigned i = 0; i < DEVICES && (reg == I8259_MASTER || reg == I8259_SLAVE); i++)
        look_at(d, i);
    return i8259_read(&d->pic, reg);
}

static uint8_t in_pit(struct devices *d, uint16_t port)
{
    uint8_t value = port == PORT_61 ? pit_read_port61(&d->pit, d->now)
                                    : pit_read(&d->pit, port - PORTS_PIT, d->now);
    look_at(d, DEVICE_PIT);
    return value;
}

static uint8_t in_rtc(struct devices *d, unsigned reg)
{
    uint8_t value = rtc_read(&d->rtc, reg, d->now);
    look_at(d, DEVICE_RTC);
    return value;
}

static uint8_t in_pm(struct devices *d, unsigned reg)
{
    uint8_t value = pmtimer_read(&d->pm, reg, d->now);
    look_at(d, DEVICE_PM);
    return value;
}

/* The register of the 8259s at PORT, or I8259_REGS. */
static unsigned pic_register(uint16_t port)
{
    switch (port & ~1u) {
    case PORTS_PIC:
        return I8259_MASTER + (port & 1);
    case PORTS_PIC2:
        return I8259_SLAVE + (port & 1);
    case PORTS_ELCR:
        return I8259_ELCR + (port & 1);
    default:
        return I8259_REGS;
    }
}

/* One byte. */
static bool in_byte(struct devices *d, uint16_t port, uint8_t *value)
{
    unsigned i, pic = pic_register(port);
    if (pic < I8259_REGS)
        *value = in_pic(d, pic);
    else if (com_of(d, port, &i))
        *value = in_com(d, i, port);
    else if ((port & ~3u) == PORTS_PIT || port == PORT_61)
        *value = in_pit(d, port);
    else if ((port & ~1u) == PORTS_RTC)
        *value = in_rtc(d, port & 1);
    else if ((port & ~15u) == PORT_PM1_EVENT)
        *value = in_pm(d, port & 15);
    else
        return false;
    return true;
}

static void out_com(struct devices *d, unsigned i, uint16_t port, uint8_t value)
{
    com_write(&d->com[i], port - d->com[i].base, value, d->now);
    look_at(d, DEVICE_COM1 + i);
}

static void out_pic(struct devices *d, unsigned reg, uint8_t value)
{
    i8259_write(&d->pic, reg, value);
    look_at_masks(d);
}

static void out_pit(struct devices *d, uint16_t port, uint8_t value)
{
    if (port == PORT_61)
        pit_write_port61(&d->pit, value, d->now);
    else
        pit_write(&d->pit, port - PORTS_PIT, value, d->now);
    look_at(d, DEVICE_PIT);
}

static void out_rtc(struct devices *d, unsigned reg, uint8_t value)
{
    rtc_write(&d->rtc, reg, value, d->now);
    look_at(d, DEVICE_RTC);
}

static void out_pm(struct devices *d, unsigned reg, uint8_t value)
{
    if (pmtimer_write(&d->pm, reg, value, d->now) == SOFT_OFF)
        d->off = true;
    look_at(d, DEVICE_PM);
}

static bool out_byte(struct devices *d, uint16_t port, uint8_t value)
{
    unsigned i, pic = pic_register(port);
    if (pic < I8259_REGS)
        out_pic(d, pic, value);
    else if (com_of(d, port, &i))
        out_com(d, i, port, value);
    else if ((port & ~3u) == PORTS_PIT || port == PORT_61)
        out_pit(d, port, value);
    else if ((port & ~1u) == PORTS_RTC)
        out_rtc(d, port & 1, value);
    else if ((port & ~15u) == PORT_PM1_EVENT)
        out_pm(d, port & 15, value);
    else
        return false;
    return true;
}

static bool is_fwcfg(uint16_t port)
{
    return (port & ~1u) == FWCFG_PORT;
}

bool devices_in(struct vcpu *vcpu, uint16_t port, unsigned width, uint32_t *value)
{
    struct devices *d = begin(vcpu);
    bool any = false;
    *value = UINT32_MAX;
    if (is_fwcfg(port))
        any = fwcfg_read(&d->fwcfg, width, value);
    for (unsigned i = 0; i < width && !is_fwcfg(port); i++) {
        uint8_t byte = 0xff;
        any |= in_byte(d, (uint16_t)(port + i), &byte);
        *value = (*value & ~(0xffu << 8 * i)) | (uint32_t)byte << 8 * i;
    }
    end(vcpu);
    return any;
}

bool devices_out(struct vcpu *vcpu, uint16_t port, unsigned width, uint32_t value)
{
    struct devices *d = begin(vcpu);
    bool any = false;
    if (is_fwcfg(port))
        any = fwcfg_write(&d->fwcfg, port & 1, width, value);
    for (unsigned i = 0; i < width && !is_fwcfg(port); i++)
        any |= out_byte(d, (uint16_t)(port + i), (uint8_t)(value >> 8 * i));
    bool off = d->off;
    d->off = false;
    end(vcpu);
    if (off)
        soft_off(vcpu->vm);
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

void devices_write_ioapic(struct vcpu *vcpu, unsigned offset, unsigned width, uint64_t value)
{
    struct devices *d = begin(vcpu);
    ioapic_write(&d->ioapic, offset, width, value);
    look_at_masks(d);
    end(vcpu);
}

void devices_eoi(struct vcpu *vcpu, unsigned vector)
{
    struct vm *vm = vcpu->vm;
    lock_take(&vm->lock);
    ioapic_eoi(&vm->devices.ioapic, vector);
    bool sends = ioapic_ready(&vm->devices.ioapic) != 0;
    lock_release(&vm->lock);
    if (sends)
        send_messages(vcpu);
}

/* INTR falls, and rises where more is requested. */
uint8_t devices_acknowledge(struct vcpu *vcpu)
{
    struct devices *d = begin(vcpu);
    uint8_t vector = i8259_acknowledge(&d->pic);
    ioapic_set_pin(&d->ioapic, PIN_INTR, false);
    __atomic_store_n(&vcpu->vm->vcpus[0]->mail.intr, false, __ATOMIC_RELEASE);
    d->intr = false;
    end(vcpu);
    return vector;
}

/* --- time ------------------------------------------------------------------------------------- */

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

static void reset_common(struct vm *vm)
{
    struct devices *d = &vm->devices;
    const struct vm_config *config = vm->config;
    i8259_reset(&d->pic);
    ioapic_reset(&d->ioapic, platform_ioapic_id(config->cpus));
    pit_reset(&d->pit, khz(), d->now);
    pmtimer_reset(&d->pm, PM_BITS, khz(), d->now);
    fwcfg_reset(&d->fwcfg, config->cpus, config->memory);
    d->lines = 0;
    d->open = open_of(d);
    d->intr = d->tell = d->off = d->moved = false;
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
    uint64_t low = vm->ram[0].end;
    d->now = rdtsc();
    com_init(&d->com[0], COM1, serial_of(vm->config), vm->config->name);
    com_init_alone(&d->com[1], COM2);
    rtc_create(&d->rtc,
               &(struct rtc_setup){
                   .khz = khz(),
                   .unix_time = cmos_unix_time(),
                   .below_4g = low,
                   .above_4g = vm->config->memory - low,
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
    (void)fwcfg_describe(&d->fwcfg, text + used, DEVICES_TEXT - used);
    lock_release(&vm->lock);
}
