/*
 * INTx of devices that guests have. Its line is masked when it comes, and stays so until the guest
 * has served it: the device may be silent by then, or it comes again.
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

enum { ISA_LINES = 16, NO_LINE = 0 };

static void has_come(struct irq *irq)
{
    struct passed_intx *intx = (struct passed_intx *)(void *)irq;
    gsi_mask(intx->gsi);
    __atomic_store_n(&intx->come, true, __ATOMIC_RELEASE);
    vcpu_device_has_sent(intx->device->vm);
}

/* As the config says, else as the firmware routes it for 8259s, whose lines are GSIs. */
void passed_find_intx(struct passed *d)
{
    unsigned pin = pci_read8(d->real->bdf, PCI_INTERRUPT_PIN);
    unsigned line = pci_read8(d->real->bdf, PCI_INTERRUPT_LINE);
    uint32_t gsi = d->config->intx != CONFIG_NOT_GIVEN ? d->config->intx : line;
    bool usable = pin >= 1 && pin <= 4 && gsi_exists(gsi) &&
                  (d->config->intx != CONFIG_NOT_GIVEN || (line != NO_LINE && line < ISA_LINES));
    d->intx = (struct passed_intx){
        .irq = {has_come}, .device = d, .index = -1, .gsi = usable ? gsi : PASSED_NO_GSI};
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

/* Leads its line to the VM's first CPU. */
int passed_make_intx(struct passed *d)
{
    struct passed_intx *intx = &d->intx;
    if (intx->gsi == PASSED_NO_GSI)
        return 0;
    intx->pin =
        (uint8_t)platform_pci_pin(d->function.at / 8, pci_read8(d->real->bdf, PCI_INTERRUPT_PIN));
    if (!find_chip(intx->gsi, &intx->chip))
        return -ENODEV;
    intx->index = (int16_t)iommu_host()->claim(intx->chip, 1);
    return intx->index < 0 ? intx->index : 0;
}

static bool lead(struct passed_intx *intx)
{
    uint32_t cpu = intx->device->vm->vcpus[0]->cpu_index;
    struct iommu_message says;
    int vector = intx->vector != 0 ? intx->vector : irq_take(cpu, &intx->irq);
    if (vector < 0 || intx->index < 0)
        return false;
    intx->vector = (uint8_t)vector;
    const struct iommu_interrupt to = {
        .apic_id = smp_apic_id(cpu), .vector = intx->vector, .level = true};
    iommu_host()->interrupt(intx->chip, (unsigned)intx->index, &to, &says);
    gsi_route(intx->gsi, says.rte | GSI_LEVEL | GSI_LOW_ACTIVE);
    return true;
}

void passed_open_intx(struct passed *d, bool open)
{
    struct passed_intx *intx = &d->intx;
    if (intx->gsi == PASSED_NO_GSI || intx->open == open || d->vm->vcpu_count == 0)
        return;
    if (!open)
        gsi_mask(intx->gsi);
    else if (!lead(intx))
        return;
    intx->open = open;
    __atomic_store_n(&intx->come, false, __ATOMIC_RELAXED);
}

void passed_take_intx(struct vcpu *vcpu, struct passed *d)
{
    if (__atomic_exchange_n(&d->intx.come, false, __ATOMIC_ACQUIRE) && d->intx.open)
        devices_assert_pci_pin(vcpu, d->intx.pin);
}

void passthrough_ended(struct vcpu *vcpu, uint32_t pins)
{
    const struct passthrough *p = vcpu->vm->passthrough;
    for (unsigned i = 0; i < p->count; i++) {
        struct passed_intx *intx = &p->devices[i]->intx;
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
