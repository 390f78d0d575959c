/* What domains are made of, whoever made the units: numbers, units, table pages, what is mapped. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/iommu.h"
#include "lib/lock.h"

enum { IOMMU_MOST_DOMAINS = 64 };

/* The numbers of domains: 1 up to IOMMU_MOST_DOMAINS - 1. All zero: none is taken. */
struct iommu_ids {
    struct lock lock;
    uint64_t taken; /* a bit each */
};

/* A number below MOST, which is at most IOMMU_MOST_DOMAINS; 0: none is left, logged. */
uint16_t iommu_take_id(struct iommu_ids *ids, unsigned most);
void iommu_give_id_back(struct iommu_ids *ids, uint16_t id);

/* What a driver can of its units, which go by their numbers. */
struct iommu_kind {
    unsigned min_levels, max_levels; /* that page tables may have */
    /* Bits of addresses that tables of LEVELS give a unit's devices; 0: it has no such tables. */
    unsigned (*reach)(unsigned unit, unsigned levels);
    void (*forget)(unsigned unit, uint16_t domain); /* what it has cached of a domain's tables */
};

enum { IOMMU_NO_UNIT = 64 };

/* The domain's first unit from number FROM on; IOMMU_NO_UNIT: there is none. */
unsigned iommu_next_unit(const struct iommu_domain *domain, unsigned from);

/* The fewest levels by which all units of the domain reach 2^BITS; 0: none do, logged. */
unsigned iommu_domain_levels(const struct iommu_domain *domain, unsigned bits);

/* All of the domain's units forget what they have cached of its tables. */
void iommu_domain_forget(const struct iommu_domain *domain);

/* Of a struct pt_owner, where a table's context is a domain whose MACHINE and KIND are set. */
void iommu_table_invalidate(struct pt *pt, uint64_t va, uint64_t size, struct pt_attr old);
bool iommu_table_alloc(struct pt *pt, hpa_t *page);
void iommu_table_free(struct pt *pt, hpa_t page);
uint64_t *iommu_table_at(const struct pt *pt, hpa_t page);

/*
 * Maps as iommu_ops.map() does; nothing is told to units but through the table's owner. What BITS
 * do not reach of the machine's memory is -ERANGE, logged. PERM is not 0.
 */
int iommu_domain_map(struct iommu_domain *domain, uint64_t address, hpa_t to, uint64_t size,
                     unsigned perm, unsigned bits);
