/* The format of VT-d's second-level tables: what attributes are as bits, and back. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/vtd_format.h"

#include "mm/memtype.h"

#define SL_R   (1ull << 0)
#define SL_W   (1ull << 1)
#define SL_PS  (1ull << 7)
#define SL_SNP (1ull << 11)

static uint64_t sl_leaf(struct pt_attr attr, unsigned level)
{
    return ((attr.perm & PT_R) != 0 ? SL_R : 0) | ((attr.perm & PT_W) != 0 ? SL_W : 0) |
           (level > 1 ? SL_PS : 0) | (attr.type == MT_WB ? SL_SNP : 0);
}

static struct pt_attr sl_attr(uint64_t entry, unsigned level)
{
    (void)level;
    unsigned perm = ((entry & SL_R) != 0 ? PT_R : 0u) | ((entry & SL_W) != 0 ? PT_W : 0u);
    return (struct pt_attr){.perm = (uint8_t)perm, .type = (entry & SL_SNP) != 0 ? MT_WB : MT_UC};
}

static bool sl_is_leaf(uint64_t entry, unsigned level)
{
    return level == 1 || (level <= 3 && (entry & SL_PS) != 0);
}

#define SL_FORMAT(n)                                                                               \
    {                                                                                              \
        .name = "IOMMU page table", .levels = (n), .largest_leaf = 3,                              \
        .address = 0xffffffffff000ull, .present = SL_R | SL_W, .table = SL_R | SL_W,               \
        .leaf = sl_leaf, .attr = sl_attr, .is_leaf = sl_is_leaf                                    \
    }

const struct pt_format vtd_formats[] = {SL_FORMAT(3), SL_FORMAT(4), SL_FORMAT(5)};
