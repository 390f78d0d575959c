/*
 * No IOMMU: devices' addresses are the machine's own, and their interrupts go where they say. So a
 * VM has to have its memory at the same addresses, and nothing holds its devices to that.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/iommu_identity.h"

#include "drivers/gsi.h"
#include "lib/errno.h"
#include "lib/log.h"

/* SDM, "Message Address Register Format"; 82093AA data sheet, "IOREDTBL": physical destination. */
#define MESSAGE_ADDRESS  0xfee00000ull
#define MESSAGE_ID_SHIFT 12
#define ENTRY_ID_SHIFT   56

static const struct iommu_machine *machine;

static int start(const struct iommu_machine *on, struct iommu_ioapics *ioapics)
{
    struct acpi_table madt;
    struct gsi_table gsis;
    static_assert((int)GSI_MAX_CHIPS <= (int)IOMMU_MAX_IOAPICS, "all of them");
    machine = on;
    ioapics->count = 0;
    if (on->find("APIC", &madt)) {
        acpi_gsis(on->firmware, &madt, &gsis);
        for (; ioapics->count < gsis.count; ioapics->count++)
            ioapics->r[ioapics->count] = (struct iommu_ioapic){.id = gsis.chip[ioapics->count].id};
    }
    log_line("iommu: unsafe-identity: a VM's devices reach all memory, the hypervisor's and other "
             "VMs' too, and interrupt any CPU: nothing isolates them");
    return 0;
}

static bool facts(struct pci_bdf requester, struct iommu_facts *facts)
{
    *facts = (struct iommu_facts){.alias = requester};
    return true;
}

static int create(struct iommu_domain *domain, const struct pci_bdf *requesters, unsigned count,
                  unsigned bits, bool snoop)
{
    (void)bits, (void)snoop;
    *domain = (struct iommu_domain){.requesters = requesters, .count = count};
    return 0;
}

static void attach(struct pci_bdf requester, struct iommu_domain *domain)
{
    (void)requester, (void)domain;
}

/* What a VM has elsewhere is below 1 MiB, where no address that it gives a device can be meant. */
static int map(struct iommu_domain *domain, uint64_t address, hpa_t hpa, uint64_t size,
               unsigned perm)
{
    (void)domain, (void)perm;
    if (address == hpa.v || address + size <= MIB)
        return 0;
    log_line("iommu: unsafe-identity: memory at 0x%llx cannot be at 0x%llx for devices",
             (unsigned long long)hpa.v, (unsigned long long)address);
    return -EINVAL;
}

/* There are no entries. */
static int claim(struct pci_bdf requester)
{
    (void)requester;
    return 0;
}

static void interrupt(struct pci_bdf requester, unsigned index,
                      const struct iommu_interrupt *interrupt, struct iommu_message *message)
{
    (void)requester, (void)index;
    if (interrupt == NULL || message == NULL)
        return;
    assert(interrupt->apic_id <= UINT8_MAX);
    *message = (struct iommu_message){
        .address = MESSAGE_ADDRESS | interrupt->apic_id << MESSAGE_ID_SHIFT,
        .data = interrupt->vector,
        .rte = (uint64_t)interrupt->apic_id << ENTRY_ID_SHIFT | interrupt->vector,
    };
}

static unsigned faults(void)
{
    return 0;
}

const struct iommu_ops iommu_identity_ops = {
    .start = start,
    .facts = facts,
    .create = create,
    .attach = attach,
    .map = map,
    .claim = claim,
    .interrupt = interrupt,
    .faults = faults,
};
