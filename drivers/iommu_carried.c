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

/* What a requester can be, at most IOMMU_MAX_REQUESTERS. */
static struct iommu_carried ids_of(const struct pci_function *f)
{
    struct iommu_carried ids = {.id = {pci_requester(f)}, .count = 1};
    add(&ids, f->bdf);
    return ids;
}

struct iommu_carried iommu_requesters(iommu_facts_of *facts_of, const struct pci_function *f)
{
    struct iommu_carried ids = ids_of(f), requesters = {.count = 0};
    struct iommu_facts facts;
    for (unsigned i = 0; i < ids.count; i++)
        if (facts_of(ids.id[i], &facts))
            add(&requesters, ids.id[i]);
    return requesters;
}

struct iommu_carried iommu_carried(iommu_facts_of *facts_of, const struct pci_function *f)
{
    struct iommu_carried ids = ids_of(f), carried = ids;
    struct iommu_facts facts;
    for (unsigned i = 0; i < ids.count; i++)
        if (facts_of(ids.id[i], &facts))
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
