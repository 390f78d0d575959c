/* The format of nested page tables: the host's, open to user accesses. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "svm/npt.h"

#include "mm/pt_host.h"

/* APM, "Nested versus Guest Page Faults, Fault Ordering": every nested access is a user access. */
static uint64_t npt_leaf(struct pt_attr attr, unsigned level)
{
    return pt_host_format.leaf(attr, level) | PTE_U;
}

static struct pt_attr npt_attr(uint64_t entry, unsigned level)
{
    return pt_host_format.attr(entry, level);
}

static bool npt_is_leaf(uint64_t entry, unsigned level)
{
    return pt_host_format.is_leaf(entry, level);
}

const struct pt_format npt_format = {
    .name = "nested page table",
    .levels = 4,
    .largest_leaf = 3,
    .address = PTE_ADDRESS,
    .present = PTE_P,
    .table = PTE_P | PTE_W | PTE_U | PTE_A,
    .leaf = npt_leaf,
    .attr = npt_attr,
    .is_leaf = npt_is_leaf,
};
