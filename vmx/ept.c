/* The format of extended page tables: what attributes are as bits, and back. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/ept.h"

#include "lib/assert.h"
#include "mm/memtype.h"

static_assert(PT_R == EPT_R && PT_W == EPT_W && PT_X == EPT_X, "permissions are bits 2:0");

static uint64_t ept_leaf(struct pt_attr attr, unsigned level)
{
    assert((attr.perm & (PT_R | PT_W)) != PT_W);
    assert(memtype_is_pat(attr.type) && attr.type != MT_UC_MINUS);
    return attr.perm | (uint64_t)attr.type << EPT_TYPE_SHIFT | (attr.ipat ? EPT_IPAT : 0) |
           (level == 1 ? 0 : EPT_LARGE);
}

static struct pt_attr ept_attr(uint64_t entry, unsigned level)
{
    (void)level;
    return (struct pt_attr){
        .perm = (uint8_t)(entry & (EPT_R | EPT_W | EPT_X)),
        .type = (uint8_t)(entry >> EPT_TYPE_SHIFT & 7),
        .ipat = (entry & EPT_IPAT) != 0,
    };
}

static bool ept_is_leaf(uint64_t entry, unsigned level)
{
    return level == 1 || (level <= 3 && (entry & EPT_LARGE) != 0);
}

const struct pt_format ept_format = {
    .name = "extended page table",
    .levels = 4,
    .largest_leaf = 3,
    .address = EPT_ADDRESS,
    .present = EPT_R | EPT_W | EPT_X,
    .table = EPT_R | EPT_W | EPT_X,
    .leaf = ept_leaf,
    .attr = ept_attr,
    .is_leaf = ept_is_leaf,
};
