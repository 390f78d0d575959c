/* Memory types and PATs: names, and what a PAT may hold. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/memtype.h"

#include "lib/assert.h"

/* By encoding; NULL: reserved (SDM, "Memory Types That Can Be Encoded With PAT"). */
static const char *const names[] = {
    [MT_UC] = "UC", [MT_WC] = "WC", [MT_WT] = "WT",
    [MT_WP] = "WP", [MT_WB] = "WB", [MT_UC_MINUS] = "UC-",
};

bool memtype_is_pat(unsigned type)
{
    return type < ARRAY_SIZE(names) && names[type] != NULL;
}

const char *memtype_name(unsigned type)
{
    return memtype_is_pat(type) ? names[type] : "?";
}

enum memtype pat_type(uint64_t pat, unsigned slot)
{
    assert(slot < 8);
    unsigned type = (unsigned)(pat >> (8 * slot) & 0xff);
    assert(memtype_is_pat(type));
    return (enum memtype)type;
}

bool pat_is_legal(uint64_t pat)
{
    for (unsigned slot = 0; slot < 8; slot++)
        if (!memtype_is_pat((unsigned)(pat >> (8 * slot) & 0xff)))
            return false;
    return true;
}

unsigned host_pat_slot(enum memtype type)
{
    unsigned slot = 0;
    while (slot < 8 && pat_type(HOST_PAT, slot) != type)
        slot++;
    assert(slot < 8);
    return slot;
}
