/* Domains' numbers, units, table pages, and what is mapped. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/iommu_domain.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"

uint16_t iommu_take_id(struct iommu_ids *ids, unsigned most)
{
    uint16_t id = 1;
    assert(most <= IOMMU_MOST_DOMAINS);
    lock_take(&ids->lock);
    while (id < most && (ids->taken >> id & 1) != 0)
        id++;
    if (id < most)
        ids->taken |= 1ull << id;
    lock_release(&ids->lock);
    if (id < most)
        return id;
    log_line("iommu: no domain is left");
    return 0;
}

void iommu_give_id_back(struct iommu_ids *ids, uint16_t id)
{
    lock_take(&ids->lock);
    ids->taken &= ~(1ull << id);
    lock_release(&ids->lock);
}

unsigned iommu_next_unit(const struct iommu_domain *domain, unsigned from)
{
    uint64_t rest = from < IOMMU_NO_UNIT ? domain->units >> from : 0;
    return rest != 0 ? from + (unsigned)__builtin_ctzll(rest) : IOMMU_NO_UNIT;
}

static bool all_reach(const struct iommu_domain *domain, unsigned levels, unsigned bits)
{
    for (unsigned i = iommu_next_unit(domain, 0); i < IOMMU_NO_UNIT;
         i = iommu_next_unit(domain, i + 1))
        if (domain->kind->reach(i, levels) < bits)
            return false;
    return true;
}

unsigned iommu_domain_levels(const struct iommu_domain *domain, unsigned bits)
{
    const struct iommu_kind *kind = domain->kind;
    for (unsigned levels = kind->min_levels; levels <= kind->max_levels; levels++)
        if (all_reach(domain, levels, bits))
            return levels;
    log_line("iommu: no tables that all units of a VM's devices have reach %u bits", bits);
    return 0;
}

void iommu_domain_forget(const struct iommu_domain *domain)
{
    for (unsigned i = iommu_next_unit(domain, 0); i < IOMMU_NO_UNIT;
         i = iommu_next_unit(domain, i + 1))
        domain->kind->forget(i, domain->id);
}

void iommu_table_invalidate(struct pt *pt, uint64_t va, uint64_t size, struct pt_attr old)
{
    (void)va, (void)size, (void)old;
    iommu_domain_forget(pt->context);
}

static const struct iommu_machine *machine_of(const struct pt *pt)
{
    const struct iommu_domain *domain = pt->context;
    return domain->machine;
}

bool iommu_table_alloc(struct pt *pt, hpa_t *page)
{
    void *p = machine_of(pt)->alloc(1);
    if (p != NULL)
        *page = machine_of(pt)->hpa(p);
    return p != NULL;
}

void iommu_table_free(struct pt *pt, hpa_t page)
{
    machine_of(pt)->free(machine_of(pt)->at(page));
}

uint64_t *iommu_table_at(const struct pt *pt, hpa_t page)
{
    return machine_of(pt)->at(page);
}

int iommu_domain_map(struct iommu_domain *domain, uint64_t address, hpa_t to, uint64_t size,
                     unsigned perm, unsigned bits)
{
    struct pt_attr attr = {.perm = (uint8_t)perm, .type = domain->snoops ? MT_WB : MT_UC};
    assert(perm != 0);
    if (bits < 64 && to.v + size > 1ull << bits) {
        log_line("iommu: memory at 0x%lx lies where no device reaches: beyond %u bits", to.v, bits);
        return -ERANGE;
    }
    return pt_map(&domain->pt, address, to, size, attr);
}
