/*
 * Lines of devices that guests have. That of an INTx is masked when it comes, and stays so until
 * the guest has served it: the device may be silent by then, or it comes again. Devices of one VM
 * may share a line; of two VMs they may not, as one could keep the other's from coming, or have it
 * come without end. One of the ISA bus has come when it rises.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/gsi.h"
#include "lib/errno.h"
#include "vmm/devices/devices.h"
#include "vmm/vcpu/interrupts.h"
#include "vmm/host/iommu_host.h"
#include "vmm/host/log.h"
#include "vmm/passthrough/passed.h"
#include "vmm/host/pci_host.h"
#include "vmm/devices/platform.h"
#include "vmm/host/smp.h"
#include "vmm/vm.h"

enum { PINS = 4 };

/* PCI Local Bus Specification, "Device Status": Interrupt Status. */
enum { STATUS_INTX = 1 << 3 };

static void has_come(struct irq *irq)
{
    struct passed_line *line = (struct passed_line *)(void *)irq;
    static_assert(offsetof(struct passed_line, irq) == 0, "the rest is found by it");
    if (!line->isa)
        gsi_mask(line->gsi);
    __atomic_store_n(&line->come, true, __ATOMIC_RELEASE);
    vcpu_device_has_sent(line->device->vm);
}

/* --- which line ------------------------------------------------------------------------------- */

static bool find_chip(uint32_t gsi, struct pci_bdf *requester)
{
    const struct iommu_ioapics *chips = iommu_host_ioapics();
    for (unsigned i = 0; i < chips->count; i++)
        if (chips->r[i].id == gsi_chip_id(gsi)) {
            *requester = chips->r[i].requester;
            return true;
        }
    return false;
}

static struct passed_line *find_line_of(struct passed *d, uint32_t gsi)
{
    if (d->intx.line != NULL && d->intx.gsi == gsi)
        return d->intx.line;
    for (unsigned i = 0; i < PCI_IDE_CHANNELS; i++)
        if (d->channel[i].line != NULL && d->channel[i].gsi == gsi)
            return d->channel[i].line;
    return NULL;
}

/* The line of any VM's with that GSI, or NULL. */
static struct passed_line *find_taken(uint32_t gsi)
{
    const struct pci_table *pci = pci_host_functions();
    struct passed_line *found = NULL;
    for (const struct pci_function *f = pci->f; f < pci->f + pci->count && found == NULL; f++) {
        const struct passthrough *p = f->owner != NULL ? f->owner->passthrough : NULL;
        for (unsigned i = 0; p != NULL && i < p->count && found == NULL; i++)
            found = find_line_of(p->devices[i], gsi);
    }
    return found;
}

/* A line for itself, and an entry for it. NULL: done, else why not. */
static const char *take_line(struct passed_line *line)
{
    if (!find_chip(line->gsi, &line->chip))
        return "no IOMMU remaps the lines of its I/O APIC";
    line->index = (int16_t)iommu_host()->claim(line->chip);
    if (line->index < 0)
        return "no entry is left for it";
    line->line = line;
    return NULL;
}

/* One for itself, or that of others of the VM. */
static const char *share_line(struct passed_line *intx)
{
    struct passed_line *taken = find_taken(intx->gsi);
    if (taken == NULL)
        return take_line(intx);
    if (taken->isa)
        return "a channel of an IDE controller has that line, too";
    if (taken->device->vm != intx->device->vm)
        return "a device of another VM has the same line";
    intx->line = taken;
    return NULL;
}

/* NULL: it is found, else why not. */
static const char *find_line(struct passed *d, unsigned pin, struct intx_line *line)
{
    struct intx_sources from = iommu_host_intx();
    bool given = d->config->intx != CONFIG_NOT_GIVEN;
    if (given)
        *line = intx_given(&from, d->config->intx);
    else if (!intx_find(&from, d->real, pin, pci_read8(d->real->bdf, PCI_INTERRUPT_LINE), line))
        return "neither the MP table nor Interrupt Line says where it comes in";
    d->intx.gsi = line->gsi;
    d->intx.high_active = line->high_active;
    if (!gsi_exists(line->gsi))
        return given ? "there is no such line" : "no I/O APIC has the line that it is said to have";
    return share_line(&d->intx);
}

/* "Command Register": Interrupt Disable came with the bit of Device Status. */
static bool is_blind(struct pci_bdf bdf)
{
    uint16_t command = pci_read16(bdf, PCI_COMMAND);
    pci_write16(bdf, PCI_COMMAND, command | PCI_COMMAND_NO_INTX);
    return (pci_read16(bdf, PCI_COMMAND) & PCI_COMMAND_NO_INTX) == 0;
}

/* What the config says of a line that cannot be had is refused; else the device goes without. */
static int do_without(struct passed *d, const char *why)
{
    d->intx.missing = true;
    if (d->config->intx != CONFIG_NOT_GIVEN)
        return passed_refuse(d, "cannot have that intx=: %s; leave it out", why);
    log_line("vm %s: device %s: no INTx: %s; intx= behind it can name another GSI",
             d->vm->config->name, pci_name(d->real->bdf).text, why);
    if (d->intx.blind && find_taken(d->intx.gsi) != NULL)
        return passed_refuse(d, "cannot be kept from that line; leave one of the two out");
    return 0;
}

/* A controller of which all channels have ISA lines has no INTx, whatever Interrupt Pin says. */
static bool has_intx(const struct passed *d, unsigned pin)
{
    bool all = true;
    for (unsigned i = 0; i < PCI_IDE_CHANNELS; i++)
        all = all && passed_channel_irq(d, i) >= 0;
    return pin - 1 < PINS && !all;
}

static int find_intx(struct passed *d)
{
    struct intx_line line = {.by = NULL};
    unsigned pin = pci_read8(d->real->bdf, PCI_INTERRUPT_PIN);
    d->intx = (struct passed_line){.irq = {has_come}, .device = d};
    if (!has_intx(d, pin))
        return d->config->intx != CONFIG_NOT_GIVEN ? do_without(d, "it has no INTx") : 0;
    d->intx.blind = is_blind(d->real->bdf);
    const char *why = find_line(d, pin, &line);
    if (why != NULL)
        return do_without(d, why);
    log_line("vm %s: device %s: INTx is GSI %u, active %s, by %s", d->vm->config->name,
             pci_name(d->real->bdf).text, line.gsi, line.high_active ? "high" : "low", line.by);
    return 0;
}

/* Lines of the ISA bus rise when a device asks. */
static void find_channel(struct passed *d, struct passed_line *line, int irq)
{
    *line = (struct passed_line){.irq = {has_come}, .device = d, .isa = true, .high_active = true};
    if (irq < 0)
        return;
    line->gsi = gsi_of_isa((unsigned)irq);
    line->pin = (uint8_t)irq;
    const char *why = !gsi_exists(line->gsi)          ? "no I/O APIC has it"
                      : find_taken(line->gsi) != NULL ? "another device has that line, too"
                                                      : take_line(line);
    if (why != NULL)
        log_line("vm %s: device %s: no IRQ %d: %s", d->vm->config->name,
                 pci_name(d->real->bdf).text, irq, why);
}

int passed_find_lines(struct passed *d)
{
    for (unsigned i = 0; i < PCI_IDE_CHANNELS; i++)
        find_channel(d, &d->channel[i], passed_channel_irq(d, i));
    return find_intx(d);
}

void passed_make_intx(struct passed *d)
{
    if (d->intx.line != NULL)
        d->intx.pin = (uint8_t)platform_pci_pin(d->function.at / 8,
                                                pci_read8(d->real->bdf, PCI_INTERRUPT_PIN));
}

/* --- opening and closing ---------------------------------------------------------------------- */

/* Of those that share LINE: how many are open, how many wait. With the lock. */
static unsigned count_open(const struct passed_line *line, unsigned *waiting)
{
    const struct passthrough *p = line->device->vm->passthrough;
    unsigned open = 0;
    *waiting = 0;
    for (unsigned i = 0; i < p->count; i++) {
        const struct passed_line *intx = &p->devices[i]->intx;
        open += intx->line == line && intx->open;
        *waiting += intx->line == line && intx->waits;
    }
    return open;
}

/* Leads it to the VM's first CPU. */
static bool lead(struct passed_line *line)
{
    uint32_t cpu = line->device->vm->vcpus[0]->cpu_index;
    struct iommu_message says;
    int vector = line->vector != 0 ? line->vector : irq_take(cpu, &line->irq);
    if (vector < 0)
        return false;
    line->vector = (uint8_t)vector;
    const struct iommu_interrupt to = {
        .apic_id = smp_apic_id(cpu), .vector = line->vector, .level = !line->isa};
    iommu_host()->interrupt(line->chip, (unsigned)line->index, &to, &says);
    __atomic_store_n(&line->come, false, __ATOMIC_RELAXED);
    gsi_route(line->gsi,
              says.rte | (line->isa ? 0 : GSI_LEVEL) | (line->high_active ? 0 : GSI_LOW_ACTIVE));
    return true;
}

/* With the lock. What waits at its pin falls behind this access. */
static void set_open(struct passed_line *line, bool open)
{
    unsigned waiting;
    if (open) {
        line->open = count_open(line->line, &waiting) != 0 || lead(line->line);
        return;
    }
    line->open = line->waits = false;
    if (!line->isa)
        line->device->vm->passthrough->silent |= 1u << line->pin;
    if (count_open(line->line, &waiting) == 0)
        gsi_mask(line->gsi);
}

static void open_line(struct passed_line *line, bool open)
{
    const struct vm *vm = line->device->vm;
    if (line->line == NULL || line->open == open || vm->vcpu_count == 0)
        return;
    lock_take(&vm->passthrough->intx_lock);
    set_open(line, open);
    lock_release(&vm->passthrough->intx_lock);
}

void passed_open_intx(struct passed *d, bool open)
{
    open_line(&d->intx, open);
}

void passed_open_channels(struct passed *d, bool open)
{
    for (unsigned i = 0; i < PCI_IDE_CHANNELS; i++)
        open_line(&d->channel[i], open);
}

/* A pin of a device that is silent now falls, which tells of those that go on. */
void passed_follow_intx(struct vcpu *vcpu)
{
    struct passthrough *p = vcpu->vm->passthrough;
    uint32_t pins = p->silent;
    p->silent = 0;
    if (pins != 0) {
        devices_drop_pci_pins(vcpu, pins);
        passthrough_ended(vcpu, pins);
    }
}

/* --- when it comes ---------------------------------------------------------------------------- */

/*
 * Of several that share LINE those have it that say so; where none does, those that cannot say so.
 * Returns the pins of the guest's that are to be asserted.
 */
static uint32_t wait_for(const struct passed_line *line, bool alone, bool blind)
{
    const struct passthrough *p = line->device->vm->passthrough;
    uint32_t pins = 0;
    for (unsigned i = 0; i < p->count; i++) {
        struct passed_line *intx = &p->devices[i]->intx;
        if (intx->line != line || !intx->open || (blind && !intx->blind))
            continue;
        if (!alone && !blind &&
            (pci_read16(p->devices[i]->real->bdf, PCI_STATUS) & STATUS_INTX) == 0)
            continue;
        intx->waits = true;
        pins |= 1u << intx->pin;
    }
    return pins;
}

/* Where all are silent again the line is open at once. */
static uint32_t find_pins(const struct passed_line *line)
{
    unsigned waiting, open = count_open(line, &waiting);
    uint32_t pins = wait_for(line, open == 1, false);
    if (pins == 0)
        pins = wait_for(line, false, true);
    if (pins == 0 && open != 0)
        gsi_unmask(line->gsi);
    return pins;
}

static bool take(struct passed_line *line)
{
    return __atomic_exchange_n(&line->come, false, __ATOMIC_ACQUIRE);
}

static void take_intx(struct vcpu *vcpu, const struct passed_line *line)
{
    struct lock *lock = &vcpu->vm->passthrough->intx_lock;
    lock_take(lock);
    uint32_t pins = find_pins(line);
    lock_release(lock);
    for (; pins != 0; pins &= pins - 1)
        devices_assert_pci_pin(vcpu, (unsigned)__builtin_ctz(pins));
}

void passed_take_lines(struct vcpu *vcpu, struct passed *d)
{
    if (take(&d->intx))
        take_intx(vcpu, &d->intx);
    for (unsigned i = 0; i < PCI_IDE_CHANNELS; i++)
        if (take(&d->channel[i]) && d->channel[i].open)
            devices_set_irq(vcpu, d->channel[i].pin, true);
}

/* A line is open again when all of its devices have been served that were to be. */
static void end_line(const struct passthrough *p, const struct passed_line *line, uint32_t pins)
{
    unsigned waiting;
    bool any = false;
    for (unsigned i = 0; i < p->count; i++) {
        struct passed_line *intx = &p->devices[i]->intx;
        if (intx->line != line || (pins >> intx->pin & 1) == 0)
            continue;
        any = true;
        intx->waits = false;
    }
    if (any && count_open(line, &waiting) != 0 && waiting == 0)
        gsi_unmask(line->gsi);
}

void passthrough_ended(struct vcpu *vcpu, uint32_t pins)
{
    struct passthrough *p = vcpu->vm->passthrough;
    lock_take(&p->intx_lock);
    for (unsigned i = 0; i < p->count; i++)
        if (p->devices[i]->intx.line == &p->devices[i]->intx)
            end_line(p, &p->devices[i]->intx, pins);
    lock_release(&p->intx_lock);
}

void passthrough_describe(const struct vm *vm, struct platform *platform)
{
    const struct passthrough *p = vm->passthrough;
    for (unsigned i = 0; p != NULL && i < p->count; i++) {
        const struct passed *d = p->devices[i];
        if (d->intx.line != NULL)
            platform->pci[platform->pci_count++] = (struct platform_intx){
                d->function.at / 8, pci_read8(d->real->bdf, PCI_INTERRUPT_PIN)};
    }
}
