/* Interrupts of devices that guests have: messages through the IOMMU to a CPU of the VM, and on. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/assert.h"
#include "lib/x86.h"
#include "vmm/vcpu/interrupts.h"
#include "vmm/host/iommu_host.h"
#include "vmm/host/log.h"
#include "vmm/passthrough/passed.h"
#include "vmm/host/smp.h"
#include "vmm/vm.h"

/* "Message Control for MSI", and "for MSI-X". */
enum { MSI_CONTROL = 2, MSI_ENABLE = 1 << 0, MSI_64 = 1 << 7, MSI_MASKS = 1 << 8 };
enum { MSI_MULTIPLE = 7 << 4 };
enum { MSIX_ENABLE = 1 << 15, MSIX_MASK_ALL = 1 << 14 };
enum { ENTRY_WORDS = 4, ENTRY_MASKED = 1 };

/* SDM, "Message Address Register Format", "Message Data Register Format". */
enum { MESSAGE_ADDRESS = 0xfee };

/* In one word: another CPU, which takes what has come, finds the old or the new, never half. */
static uint64_t pack(const struct vpci_message *message)
{
    bool ours = message->address >> 20 == MESSAGE_ADDRESS;
    return ours ? message->address << 32 | message->data : 0;
}

static struct ipi ipi_of(uint64_t packed)
{
    uint32_t address = (uint32_t)(packed >> 32), data = (uint32_t)packed;
    return (struct ipi){.dest = address >> 12 & 0xff,
                        .mode = data >> 8 & 7,
                        .vector = (uint8_t)data,
                        .shorthand = IPI_TO_DEST,
                        .logical = (address >> 2 & 1) != 0,
                        .level = (data >> 15 & 1) != 0};
}

/* The vCPU that a message is for, if that is one; the first may send it on. */
static const struct vcpu *target_of(const struct vm *vm, uint64_t packed)
{
    struct ipi ipi = ipi_of(packed);
    bool one = !ipi.logical && ipi.dest < vm->vcpu_count;
    return vm->vcpus[one ? ipi.dest : 0];
}

/* --- when one comes --------------------------------------------------------------------------- */

static void has_come(struct irq *irq)
{
    struct passed_irq *own = (struct passed_irq *)(void *)irq;
    struct passed *d = own->device;
    unsigned entry = (unsigned)(own - d->irq);
    if (!__atomic_load_n(&own->leads, __ATOMIC_ACQUIRE))
        return;
    (void)__atomic_fetch_or(&d->pending[entry / 64], 1ull << entry % 64, __ATOMIC_RELEASE);
    vcpu_device_has_sent(d->vm);
}

static void send(struct vcpu *vcpu, const struct passed_irq *irq)
{
    uint64_t packed = __atomic_load_n(&irq->message, __ATOMIC_ACQUIRE);
    struct ipi ipi = ipi_of(packed);
    if (packed != 0)
        vcpu_send(vcpu, &ipi);
}

void passthrough_take(struct vcpu *vcpu)
{
    const struct passthrough *p = vcpu->vm->passthrough;
    for (unsigned i = 0; i < p->count; i++) {
        struct passed *d = p->devices[i];
        passed_take_lines(vcpu, d);
        for (unsigned word = 0; word < ARRAY_SIZE(d->pending); word++) {
            uint64_t bits = __atomic_exchange_n(&d->pending[word], 0, __ATOMIC_ACQUIRE);
            for (; bits != 0; bits &= bits - 1)
                send(vcpu, &d->irq[64 * word + (unsigned)__builtin_ctzll(bits)]);
        }
    }
}

/* --- where they go ---------------------------------------------------------------------------- */

/* As many as the guest can ask for: no other device's guest can take them then. */
int passed_make_irqs(struct passed *d)
{
    static_assert(offsetof(struct passed_irq, irq) == 0, "has_come() finds the rest by it");
    unsigned count = vpci_table_entries(&d->function);
    if (count == 0 && d->real->msi != 0)
        count = 1;
    assert(count <= PASSED_MAX_ENTRIES);
    for (unsigned i = 0; i < count; i++) {
        int index = iommu_host()->claim(d->requester);
        if (index < 0)
            return passed_refuse(d,
                                 "has %u interrupts, and its IOMMU has no entries left for them; "
                                 "leave it or another device out",
                                 count);
        d->irq[i] = (struct passed_irq){.irq = {has_come}, .device = d, .index = (int16_t)index};
    }
    d->irq_count = (uint8_t)count;
    return 0;
}

/*
 * A vector of the CPU that TO runs on; it keeps those that it has elsewhere, by which one may be on
 * its way. Where none is left it stays where it is, and what comes is sent on from there.
 */
static bool take_vector(struct passed_irq *irq, const struct vcpu *to)
{
    int vector = irq_take(to->cpu_index, &irq->irq);
    if (vector < 0)
        return irq->vector != 0;
    irq->vector = (uint8_t)vector;
    irq->cpu = (uint8_t)to->cpu_index;
    return true;
}

static bool take_any_vector(struct passed_irq *irq)
{
    const struct vm *vm = irq->device->vm;
    bool taken = take_vector(irq, target_of(vm, irq->message));
    for (unsigned i = 0; i < vm->vcpu_count && !taken; i++)
        taken = take_vector(irq, vm->vcpus[i]);
    return taken;
}

/* A guest can ask for this again and again: the log has it once. */
static void tell_of_none(struct passed_irq *irq)
{
    struct passed *d = irq->device;
    if (!d->told_of_none)
        log_line("vm %s: device %s: no vector is left for its entry %u", d->vm->config->name,
                 pci_name(d->real->bdf).text, (unsigned)(irq - d->irq));
    d->told_of_none = true;
}

/*
 * What the real function is to write for the entry; false: no vector is left. Where it has led
 * nowhere, what has come is of an older guest.
 */
static bool lead(struct passed_irq *irq, struct iommu_message *says)
{
    struct passed *d = irq->device;
    unsigned entry = (unsigned)(irq - d->irq);
    if (!take_any_vector(irq)) {
        tell_of_none(irq);
        return false;
    }
    if (!irq->leads)
        (void)__atomic_fetch_and(&d->pending[entry / 64], ~(1ull << entry % 64), __ATOMIC_RELAXED);
    __atomic_store_n(&irq->leads, true, __ATOMIC_RELEASE);
    const struct iommu_interrupt to = {.apic_id = smp_apic_id(irq->cpu), .vector = irq->vector};
    iommu_host()->interrupt(d->requester, (unsigned)irq->index, &to, says);
    return true;
}

/* While it is masked the device itself keeps what comes. The read waits for the write. */
static void write_entry(const struct passed *d, unsigned entry, const struct iommu_message *says)
{
    volatile uint32_t *words = d->table + ENTRY_WORDS * entry;
    if (d->lost)
        return;
    uint32_t low = says != NULL ? (uint32_t)says->address : 0;
    uint32_t high = says != NULL ? (uint32_t)(says->address >> 32) : 0;
    bool same = says != NULL && words[0] == low && words[1] == high && words[2] == says->data;
    if (!same) {
        words[3] = ENTRY_MASKED;
        (void)words[3];
    }
    if (says != NULL && !same) {
        words[0] = low;
        words[1] = high;
        words[2] = says->data;
    }
    if (says != NULL)
        words[3] = 0;
}

/* "MSI Capability Structure": where what is behind the address is. */
struct msi {
    struct pci_bdf bdf;
    unsigned at, data, mask; /* mask 0: it has none */
    uint16_t control;        /* not enabled, one vector */
    bool wide;
};

static struct msi msi_of(const struct passed *d)
{
    struct msi msi = {.bdf = d->real->bdf, .at = d->real->msi};
    uint16_t control = pci_read16(msi.bdf, msi.at + MSI_CONTROL);
    msi.control = control & (uint16_t) ~(MSI_ENABLE | MSI_MULTIPLE);
    msi.wide = (control & MSI_64) != 0;
    msi.data = msi.at + (msi.wide ? 12 : 8);
    msi.mask = (control & MSI_MASKS) != 0 ? msi.data + 4 : 0;
    return msi;
}

/* What comes then is kept by the device where it can do that, and otherwise lost. */
static void hold_msi(const struct msi *msi)
{
    if (msi->mask != 0)
        pci_write32(msi->bdf, msi->mask, 1);
    else
        pci_write16(msi->bdf, msi->at + MSI_CONTROL, msi->control);
}

static bool has_message(const struct msi *msi, const struct iommu_message *says)
{
    return pci_read32(msi->bdf, msi->at + 4) == (uint32_t)says->address &&
           (!msi->wide || pci_read32(msi->bdf, msi->at + 8) == says->address >> 32) &&
           pci_read16(msi->bdf, msi->data) == says->data;
}

/* A guest's other message is mostly no other one of the device: then it is never held. */
static void write_msi(const struct passed *d, const struct iommu_message *says)
{
    const struct msi msi = msi_of(d);
    bool same = says != NULL && has_message(&msi, says);
    if (!same)
        hold_msi(&msi);
    if (says == NULL)
        return;
    if (!same) {
        pci_write32(msi.bdf, msi.at + 4, (uint32_t)says->address);
        if (msi.wide)
            pci_write32(msi.bdf, msi.at + 8, (uint32_t)(says->address >> 32));
        pci_write16(msi.bdf, msi.data, (uint16_t)says->data);
    }
    pci_write16(msi.bdf, msi.at + MSI_CONTROL, msi.control | MSI_ENABLE);
    if (msi.mask != 0)
        pci_write32(msi.bdf, msi.mask, 0);
}

void passed_message(void *context, unsigned entry, const struct vpci_message *message)
{
    struct passed *d = context;
    struct passed_irq *irq = &d->irq[entry];
    struct iommu_message says;
    bool leads = false;
    if (message != NULL) {
        __atomic_store_n(&irq->message, pack(message), __ATOMIC_RELEASE);
        leads = lead(irq, &says);
    }
    if (d->function.how == VPCI_MSIX)
        write_entry(d, entry, leads ? &says : NULL);
    else
        write_msi(d, leads ? &says : NULL);
}

/* All is masked as long as nobody has said where it leads; without masks it is not on, either. */
static void open_msi(const struct passed *d, bool open)
{
    const struct msi msi = msi_of(d);
    pci_write16(msi.bdf, msi.at + MSI_CONTROL, msi.control);
    if (!open || msi.mask == 0)
        return;
    hold_msi(&msi);
    pci_write16(msi.bdf, msi.at + MSI_CONTROL, msi.control | MSI_ENABLE);
}

static void open_msix(const struct passed *d, bool open)
{
    struct pci_bdf bdf = d->real->bdf;
    uint16_t control = pci_read16(bdf, d->real->msix + MSI_CONTROL);
    control &= (uint16_t) ~(MSIX_ENABLE | MSIX_MASK_ALL);
    for (unsigned i = 0; open && i < vpci_table_entries(&d->function); i++)
        write_entry(d, i, NULL);
    pci_write16(bdf, d->real->msix + MSI_CONTROL, control | (open ? MSIX_ENABLE : 0));
}

void passed_interrupts(void *context, enum vpci_interrupts how)
{
    struct passed *d = context;
    passed_open_intx(d, how == VPCI_INTX);
    if (d->real->msi != 0)
        open_msi(d, how == VPCI_MSI);
    if (d->real->msix != 0)
        open_msix(d, how == VPCI_MSIX);
}

void passed_forget_irqs(struct passed *d)
{
    for (unsigned i = 0; i < d->irq_count; i++) {
        iommu_host()->interrupt(d->requester, (unsigned)d->irq[i].index, NULL, NULL);
        __atomic_store_n(&d->irq[i].leads, false, __ATOMIC_RELEASE);
    }
    passed_open_intx(d, false);
    passed_open_channels(d, false);
    for (unsigned i = 0; i < ARRAY_SIZE(d->pending); i++)
        __atomic_store_n(&d->pending[i], 0, __ATOMIC_RELAXED);
}
