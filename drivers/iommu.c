/* Which kind of IOMMU the machine has. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/iommu.h"

#include "drivers/vtd.h"

const struct iommu_ops *iommu_start(const struct iommu_machine *machine,
                                    struct iommu_ioapics *ioapics)
{
    static const struct iommu_ops *const kinds[] = {&vtd_ops};
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
        if (kinds[i]->start(machine, ioapics) == 0)
            return kinds[i];
    return NULL;
}
