/* Names of the kernel's functions, from a table that the build appends to the image. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/symbols.h"

#include <stddef.h>

#include "vmm/host/layout.h"

/* Made by tools/symbols: rising offsets from the image's start, and where each name begins. */
struct symbol {
    uint32_t offset, name;
};
extern const uint32_t symbol_count;
extern const struct symbol symbol_table[];
extern const char symbol_names[];

const char *symbol_at(uint64_t rip, uint64_t *offset)
{
    const struct symbol *found = NULL;
    *offset = 0;
    for (uint32_t i = 0; i < symbol_count && IMAGE_VA + symbol_table[i].offset <= rip; i++)
        found = &symbol_table[i];
    if (found == NULL || rip >= (uint64_t)text_end)
        return "?";
    *offset = rip - IMAGE_VA - found->offset;
    return symbol_names + found->name;
}
