/* What domains are made of, whoever made the units: numbers, table pages, and what is mapped. */
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

/* Of a struct pt_owner, where a table's context is a domain whose MACHINE is set. */
bool iommu_table_alloc(struct pt *pt, hpa_t *page);
void iommu_table_free(struct pt *pt, hpa_t page);
uint64_t *iommu_table_at(const struct pt *pt, hpa_t page);

/*
 * Maps as iommu_ops.map() does; nothing is told to units but through the table's owner. What BITS
 * do not reach of the machine's memory is -ERANGE, logged. PERM is not 0.
 */
int iommu_domain_map(struct iommu_domain *domain, uint64_t address, hpa_t to, uint64_t size,
                     unsigned perm, unsigned bits);
