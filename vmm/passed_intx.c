/*
 * Lines of devices that guests have. That of an INTx is masked when it comes, and stays so until
 * the guest has served it: the device may be silent by then, or it comes again. One of the ISA bus
 * has come when it rises. Devices of one VM may have a line together; those of two may not, as one
 * VM could keep it busy.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/gsi.h"
#include "lib/errno.h"
#include "vmm/devices.h"
#include "vmm/interrupts.h"
#include "vmm/iommu_host.h"
#include "vmm/log.h"
#include "vmm/passed.h"
#include "vmm/platform.h"
#include "vmm/smp.h"
#include "vmm/vm.h"

enum { PINS = 4, STATUS_INTX = 1 << 3 };

/* --- lines that devices have together --------------------------------------------------------- */

static struct passed_line *lines; /* of all VMs, which are made one after the other */

/* The first from LINE on that is GSI; NULL: none. */
static struct passed_line *line_from(struct passed_line *line, uint32_t gsi)
{
    while (line != NULL && line->gsi != gsi)
        line = line->next;
    return line;
}

static bool is_anothers(const struct vm *vm, uint32_t gsi)
{
    const struct passed_line *line = line_from(lines, gsi);
    return line != NULL && line->device->vm != vm;
}

static void add_line(struct passed_line *line)
{
    struct passed_line **end = &lines;
    while (*end != NULL)
        end = &(*end)->next;
    *end = line;
}

static bool is_shared(const struct passed_line *line)
{
    return line_from(line_from(lines, line->gsi)->next, line->gsi) != NULL;
}

static bool any_is_open(uint32_t gsi)
{
    struct passed_line *line = line_from(lines, gsi);
    while (line != NULL && !line->open)
        line = line_from(line->next, gsi);
    return line != NULL;
}

/* PCI Local Bus Specification 3.0, "Device Status": Interrupt Status. */
static bool asks(const struct passed_line *line)
{
    return line->open && (pci_read16(line->device->real->bdf, PCI_STATUS) & STATUS_INTX) != 0;
}

/* Older devices do not tell: where none of a line's does, it may be each. */
static bool may_be(const struct passed_line *line)
{
    struct passed_line *other = line_from(lines, line->gsi);
    if (!is_shared(line) || asks(line))
        return true;
    while (other != NULL && !asks(other))
        other = line_from(other->next, line->gsi);
    return other == NULL;
}

/* --- */

/* The line's first has the vector. */
static void has_come(struct irq *irq)
{
    struct passed_line *line = (struct passed_line *)(void *)irq;
    struct vm *vm = line->device->vm;
    static_assert(offsetof(struct passed_line, irq) == 0, "the rest is found by it");
    if (!line->isa)
        gsi_mask(line->gsi);
    for (; line != NULL; line = line_from(line->next, line->gsi))
        __atomic_store_n(&line->come, true, __ATOMIC_RELEASE);
    vcpu_device_has_sent(vm);
}

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

/* NULL: it is found, and there is an entry for it; else why not. */
static const char *find_line(struct passed *d, unsigned pin, struct intx_line *line)
{
    struct passed_line *intx = &d->intx;
    struct intx_sources from = iommu_host_intx();
    bool given = d->config->intx != CONFIG_NOT_GIVEN;
    if (given)
        *line = intx_given(&from, d->config->intx);
    else if (!intx_find(&from, d->real, pin, pci_read8(d->real->bdf, PCI_INTERRUPT_LINE), line))
        return "neither the MP table nor Interrupt Line says where it comes in";
    if (!gsi_exists(line->gsi))
        return given ? "there is no such line" : "no I/O APIC has the line that it is said to have";
    if (is_anothers(d->vm, line->gsi))
        return "a device of another VM has the same line";
    if (!find_chip(line->gsi, &intx->chip))
        return "no IOMMU remaps the lines of its I/O APIC";
    intx->index = (int16_t)iommu_host()->claim(intx->chip, 1);
    return intx->index < 0 ? "no entry is left for it" : NULL;
}

/* A controller of which all channels have ISA lines has no INTx, whatever Interrupt Pin says. */
static bool has_intx(const struct passed *d, unsigned pin)
{
    bool all = true;
    for (unsigned i = 0; i < PASSED_CHANNELS; i++)
        all = all && passed_channel_irq(d, i) >= 0;
    return pin - 1 < PINS && !all;
}

static int find_intx(struct passed *d)
{
    struct intx_line line = {.gsi = PASSED_NO_GSI};
    unsigned pin = pci_read8(d->real->bdf, PCI_INTERRUPT_PIN);
    bool given = d->config->intx != CONFIG_NOT_GIVEN, has = has_intx(d, pin);
    const char *why = has ? find_line(d, pin, &line) : given ? "it has no INTx" : NULL;
    d->intx = (struct passed_line){.irq = {has_come},
                                   .device = d,
                                   .chip = d->intx.chip,
                                   .index = d->intx.index,
                                   .gsi = has && why == NULL ? line.gsi : PASSED_NO_GSI,
                                   .high_active = line.high_active,
                                   .missing = has && why != NULL};
    add_line(&d->intx);
    if (why == NULL && has)
        log_line("vm %s: device %s: INTx is GSI %u, active %s, by %s", d->vm->config->name,
                 pci_name(d->real->bdf).text, line.gsi, line.high_active ? "high" : "low", line.by);
    else if (why != NULL && !given)
        log_line("vm %s: device %s: no INTx: %s; write intx=GSI behind it if it is known",
                 d->vm->config->name, pci_name(d->real->bdf).text, why);
    return why != NULL && given ? passed_refuse(d, "cannot have that intx=: %s; leave it out", why)
                                : 0;
}

/* Lines of the ISA bus rise when a device asks. */
static void find_channel(struct passed *d, struct passed_line *line, int irq)
{
    *line = (struct passed_line){
        .irq = {has_come}, .device = d, .gsi = PASSED_NO_GSI, .isa = true, .high_active = true};
    if (irq < 0)
        return;
    uint32_t gsi = gsi_of_isa((unsigned)irq);
    line->pin = (uint8_t)irq;
    if (gsi_exists(gsi) && !is_anothers(d->vm, gsi) && find_chip(gsi, &line->chip)) {
        line->index = (int16_t)iommu_host()->claim(line->chip, 1);
        line->gsi = line->index >= 0 ? gsi : PASSED_NO_GSI;
        add_line(line);
    }
    if (line->gsi == PASSED_NO_GSI)
        log_line("vm %s: device %s: no IRQ %d: no I/O APIC has it", d->vm->config->name,
                 pci_name(d->real->bdf).text, irq);
}

int passed_find_lines(struct passed *d)
{
    for (unsigned i = 0; i < PASSED_CHANNELS; i++)
        find_channel(d, &d->channel[i], passed_channel_irq(d, i));
    return find_intx(d);
}

void passed_make_intx(struct passed *d)
{
    if (d->intx.gsi != PASSED_NO_GSI)
        d->intx.pin = (uint8_t)platform_pci_pin(d->function.at / 8,
                                                pci_read8(d->real->bdf, PCI_INTERRUPT_PIN));
}

/* Leads it to the VM's first CPU: as its first does, where devices have it together. */
static bool lead(const struct passed_line *any)
{
    struct passed_line *line = line_from(lines, any->gsi);
    uint32_t cpu = line->device->vm->vcpus[0]->cpu_index;
    struct iommu_message says;
    int vector = line->vector != 0 ? line->vector : irq_take(cpu, &line->irq);
    if (vector < 0)
        return false;
    line->vector = (uint8_t)vector;
    const struct iommu_interrupt to = {
        .apic_id = smp_apic_id(cpu), .vector = line->vector, .level = !line->isa};
    iommu_host()->interrupt(line->chip, (unsigned)line->index, &to, &says);
    gsi_route(line->gsi,
              says.rte | (line->isa ? 0 : GSI_LEVEL) | (line->high_active ? 0 : GSI_LOW_ACTIVE));
    return true;
}

static void open_line(struct passed_line *line, bool open)
{
    if (line->gsi == PASSED_NO_GSI || line->open == open || line->device->vm->vcpu_count == 0)
        return;
    if (open && !any_is_open(line->gsi) && !lead(line))
        return;
    line->open = open;
    if (!any_is_open(line->gsi))
        gsi_mask(line->gsi);
    __atomic_store_n(&line->come, false, __ATOMIC_RELAXED);
}

void passed_open_intx(struct passed *d, bool open)
{
    open_line(&d->intx, open);
}

void passed_open_channels(struct passed *d, bool open)
{
    for (unsigned i = 0; i < PASSED_CHANNELS; i++)
        open_line(&d->channel[i], open);
}

static bool take(struct passed_line *line)
{
    return __atomic_exchange_n(&line->come, false, __ATOMIC_ACQUIRE) && line->open && may_be(line);
}

void passed_take_lines(struct vcpu *vcpu, struct passed *d)
{
    if (take(&d->intx))
        devices_assert_pci_pin(vcpu, d->intx.pin);
    for (unsigned i = 0; i < PASSED_CHANNELS; i++)
        if (take(&d->channel[i]))
            devices_set_irq(vcpu, d->channel[i].pin, true);
}

void passthrough_ended(struct vcpu *vcpu, uint32_t pins)
{
    const struct passthrough *p = vcpu->vm->passthrough;
    for (unsigned i = 0; i < p->count; i++) {
        const struct passed_line *intx = &p->devices[i]->intx;
        if (intx->open && (pins >> intx->pin & 1) != 0)
            gsi_unmask(intx->gsi);
    }
}

void passthrough_describe(const struct vm *vm, struct platform *platform)
{
    const struct passthrough *p = vm->passthrough;
    for (unsigned i = 0; p != NULL && i < p->count; i++) {
        const struct passed *d = p->devices[i];
        if (d->intx.gsi != PASSED_NO_GSI)
            platform->pci[platform->pci_count++] = (struct platform_intx){
                d->function.at / 8, pci_read8(d->real->bdf, PCI_INTERRUPT_PIN)};
    }
}
