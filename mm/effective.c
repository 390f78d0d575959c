/* Effective memory types: their names and classes. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/effective.h"

#include "lib/assert.h"

const char *effective_name(unsigned effective)
{
    static const char *const names[EFFECTIVES] = {"UC", "CD", "WC", "WC+", "WT", "WP", "WB"};
    assert(effective < EFFECTIVES);
    return names[effective];
}

enum effective effective_class(enum effective effective)
{
    return effective == EFFECTIVE_CD        ? EFFECTIVE_UC
           : effective == EFFECTIVE_WC_PLUS ? EFFECTIVE_WC
                                            : effective;
}
