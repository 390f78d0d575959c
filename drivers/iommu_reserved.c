/* Memory that firmware says devices go on to use by themselves. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/iommu.h"

void iommu_add_reserved(struct iommu_reserved *to, struct range r)
{
    for (unsigned i = 0; i < to->count; i++)
        if (to->r[i].start == r.start && to->r[i].end == r.end)
            return;
    if (to->count == IOMMU_MAX_RESERVED)
        to->more = true;
    else
        to->r[to->count++] = r;
}
