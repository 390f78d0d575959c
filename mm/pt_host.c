/* The page-table format of the host: what attributes are as bits, and back. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/pt_host.h"

#include "mm/memtype.h"

/* SDM, "Determination of Memory Type Used for a Page": slot = 4 PAT + 2 PCD + PWT. */
static uint64_t host_leaf(struct pt_attr attr, unsigned level)
{
    uint64_t pat = level == 1 ? PTE_PAT_4K : PTE_PAT_LARGE;
    unsigned slot = host_pat_slot((enum memtype)attr.type);
    return PTE_P | PTE_A | PTE_D | (level == 1 ? 0 : PTE_PS) |
           ((attr.perm & PT_W) != 0 ? PTE_W : 0) | ((attr.perm & PT_X) != 0 ? 0 : PTE_NX) |
           ((slot & 1) != 0 ? PTE_PWT : 0) | ((slot & 2) != 0 ? PTE_PCD : 0) |
           ((slot & 4) != 0 ? pat : 0);
}

static struct pt_attr host_attr(uint64_t entry, unsigned level)
{
    uint64_t pat = level == 1 ? PTE_PAT_4K : PTE_PAT_LARGE;
    unsigned slot = ((entry & PTE_PWT) != 0 ? 1u : 0) | ((entry & PTE_PCD) != 0 ? 2u : 0) |
                    ((entry & pat) != 0 ? 4u : 0);
    unsigned perm = PT_R | ((entry & PTE_W) != 0 ? PT_W : 0u) | ((entry & PTE_NX) != 0 ? 0u : PT_X);
    return (struct pt_attr){.perm = (uint8_t)perm, .type = (uint8_t)pat_type(HOST_PAT, slot)};
}

static bool host_is_leaf(uint64_t entry, unsigned level)
{
    return level == 1 || (level <= 3 && (entry & PTE_PS) != 0);
}

const struct pt_format pt_host_format = {
    .name = "host page table",
    .levels = 4,
    .largest_leaf = 3,
    .sign_extended = true,
    .address = PTE_ADDRESS,
    .present = PTE_P,
    .table = PTE_P | PTE_W | PTE_A,
    .leaf = host_leaf,
    .attr = host_attr,
    .is_leaf = host_is_leaf,
};
