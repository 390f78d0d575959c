/* The format of AMD-Vi's host page tables: what attributes are as bits, and back. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/amdvi_format.h"

#include "mm/memtype.h"

#define IO_PR             (1ull << 0)
#define IO_NEXT_LEVEL(io) ((io) >> NEXT_LEVEL & 7) /* 0: this is a leaf */
#define IO_FC             (1ull << 60)
#define IO_IR             (1ull << 61)
#define IO_IW             (1ull << 62)
enum { NEXT_LEVEL = 9 };

static uint64_t io_leaf(struct pt_attr attr, unsigned level)
{
    (void)level;
    return IO_PR | ((attr.perm & PT_R) != 0 ? IO_IR : 0) | ((attr.perm & PT_W) != 0 ? IO_IW : 0) |
           (attr.type == MT_WB ? IO_FC : 0);
}

static struct pt_attr io_attr(uint64_t entry, unsigned level)
{
    (void)level;
    unsigned perm = ((entry & IO_IR) != 0 ? PT_R : 0u) | ((entry & IO_IW) != 0 ? PT_W : 0u);
    return (struct pt_attr){.perm = (uint8_t)perm, .type = (entry & IO_FC) != 0 ? MT_WB : MT_UC};
}

static bool io_is_leaf(uint64_t entry, unsigned level)
{
    return level == 1 || (level <= 3 && IO_NEXT_LEVEL(entry) == 0);
}

/* PR alone says that an entry is present; what is not has no permissions either. */
#define IO_FORMAT(n)                                                                               \
    {                                                                                              \
        .name = "IOMMU page table", .levels = (n), .largest_leaf = 3,                              \
        .address = 0xffffffffff000ull, .present = IO_PR | IO_IR | IO_IW,                           \
        .table = IO_PR | IO_IR | IO_IW, .level_shift = NEXT_LEVEL, .leaf = io_leaf,                \
        .attr = io_attr, .is_leaf = io_is_leaf                                                     \
    }

const struct pt_format amdvi_formats[] = {IO_FORMAT(3), IO_FORMAT(4), IO_FORMAT(5)};
