/* What firmware's tables say of a function, whichever ID a request of it carries. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/iommu.h"

static void add(struct iommu_carried *to, struct pci_bdf id)
{
    for (unsigned i = 0; i < to->count; i++)
        if (pci_same_bdf(to->id[i], id))
            return;
    to->id[to->count++] = id;
}

struct iommu_carried iommu_requesters(iommu_facts_of *facts_of, const struct pci_function *f)
{
    const struct pci_bdf ids[] = {pci_requester(f), f->bdf};
    struct iommu_carried requesters = {.count = 0};
    struct iommu_facts facts;
    static_assert(ARRAY_SIZE(ids) == IOMMU_MAX_REQUESTERS, "each of them");
    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++)
        if (facts_of(ids[i], &facts))
            add(&requesters, ids[i]);
    return requesters;
}

struct iommu_carried iommu_carried(iommu_facts_of *facts_of, const struct pci_function *f)
{
    struct iommu_carried requesters = iommu_requesters(facts_of, f), carried = {.count = 0};
    struct iommu_facts facts;
    add(&carried, pci_requester(f));
    add(&carried, f->bdf);
    for (unsigned i = 0; i < requesters.count; i++)
        if (facts_of(requesters.id[i], &facts))
            add(&carried, facts.alias);
    return carried;
}

bool iommu_share_id(const struct iommu_carried *a, const struct iommu_carried *b)
{
    for (unsigned i = 0; i < a->count; i++)
        for (unsigned k = 0; k < b->count; k++)
            if (pci_same_bdf(a->id[i], b->id[k]))
                return true;
    return false;
}

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

struct iommu_reserved iommu_reserved(iommu_facts_of *facts_of, const struct pci_function *f)
{
    struct iommu_carried carried = iommu_carried(facts_of, f);
    struct iommu_reserved all = {.count = 0};
    struct iommu_facts facts;
    for (unsigned i = 0; i < carried.count; i++) {
        (void)facts_of(carried.id[i], &facts); /* no unit need translate what is an alias alone */
        for (unsigned k = 0; k < facts.reserved.count; k++)
            iommu_add_reserved(&all, facts.reserved.r[k]);
        all.more |= facts.reserved.more;
    }
    return all;
}
