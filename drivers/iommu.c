/* Which kind of IOMMU the machine has, and what it cannot tell apart. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/iommu.h"

#include "drivers/amdvi.h"
#include "drivers/vtd.h"
#include "lib/log.h"

const struct iommu_ops *iommu_start(const struct iommu_machine *machine,
                                    struct iommu_ioapics *ioapics)
{
    static const struct iommu_ops *const kinds[] = {&vtd_ops, &amdvi_ops};
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
        if (kinds[i]->start(machine, ioapics) == 0)
            return kinds[i];
    return NULL;
}

/* The BDF that F's requests carry. */
static struct pci_bdf carried(const struct iommu_ops *ops, const struct pci_function *f)
{
    struct iommu_facts facts;
    return ops->facts(pci_requester(f), &facts) ? facts.alias : pci_requester(f);
}

void iommu_join_groups(const struct iommu_ops *ops, struct pci_table *table)
{
    for (struct pci_function *f = table->f; f < table->f + table->count; f++) {
        struct pci_bdf by = carried(ops, f);
        for (struct pci_function *g = table->f; g < f; g++) {
            if (g->group == f->group || !pci_same_bdf(carried(ops, g), by))
                continue;
            log_line("iommu: nothing tells %s from %s: they are one group", pci_name(f->bdf).text,
                     pci_name(g->bdf).text);
            pci_join_groups(table, g->group, f->group);
        }
    }
}
