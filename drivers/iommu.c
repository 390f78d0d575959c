/* Which kind of IOMMU the machine has, and what it cannot tell apart. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/iommu.h"

#include "drivers/amdvi.h"
#include "drivers/gsi.h"
#include "drivers/vtd.h"
#include "lib/log.h"

/* Of some the firmware's tables may say who remaps what they send, and of others not. */
static void check_ioapics(const struct iommu_machine *machine, const struct iommu_ioapics *ioapics)
{
    struct acpi_table madt;
    struct gsi_table gsis = {.count = 0};
    if (ioapics->count != 0 && machine->find("APIC", &madt))
        acpi_gsis(machine->firmware, &madt, &gsis);
    for (unsigned i = 0; i < gsis.count; i++) {
        unsigned k = 0;
        while (k < ioapics->count && ioapics->r[k].id != gsis.chip[i].id)
            k++;
        if (k == ioapics->count)
            log_line("iommu: nothing remaps what I/O APIC %u sends: its lines' interrupts (INTx) "
                     "are for no VM; update the firmware",
                     gsis.chip[i].id);
    }
}

const struct iommu_ops *iommu_start(const struct iommu_machine *machine,
                                    struct iommu_ioapics *ioapics)
{
    static const struct iommu_ops *const kinds[] = {&vtd_ops, &amdvi_ops};
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
        if (kinds[i]->start(machine, ioapics) == 0) {
            check_ioapics(machine, ioapics);
            return kinds[i];
        }
    return NULL;
}

/* --- groups ----------------------------------------------------------------------------------- */

void iommu_join_groups(const struct iommu_ops *ops, struct pci_table *table)
{
    static struct iommu_carried all[PCI_MAX_FUNCTIONS];
    for (unsigned i = 0; i < table->count; i++) {
        struct pci_function *f = &table->f[i];
        all[i] = iommu_carried(ops->facts, f);
        for (unsigned k = 0; k < i; k++) {
            struct pci_function *g = &table->f[k];
            if (g->group == f->group || !iommu_share_id(&all[k], &all[i]))
                continue;
            log_line("iommu: nothing tells %s from %s: they are one group", pci_name(f->bdf).text,
                     pci_name(g->bdf).text);
            pci_join_groups(table, g->group, f->group);
        }
    }
}
