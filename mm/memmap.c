/* Physical memory: paints the firmware's ranges over each other, lowest kind first. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/memmap.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

/* The first range that ends above ADDRESS, or count. */
static unsigned first_above(const struct memmap *map, uint64_t address)
{
    unsigned low = 0, high = map->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (map->r[middle].end > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Puts the N ranges of NEW in the place of ranges FIRST to END-1. */
static int splice(struct memmap *map, unsigned first, unsigned end, const struct mem_range *new,
                  unsigned n)
{
    assert(first <= end && end <= map->count);
    unsigned count = map->count - (end - first) + n;
    if (count > MEMMAP_MAX) {
        log_line("memory map: more than %d ranges, none left for 0x%llx; boot with fewer modules",
                 MEMMAP_MAX, (unsigned long long)new[0].start);
        return -E2BIG;
    }
    memmove(&map->r[first + n], &map->r[end], (map->count - end) * sizeof(map->r[0]));
    memcpy(&map->r[first], new, n * sizeof(map->r[0]));
    map->count = count;
    return 0;
}

int memmap_set(struct memmap *map, uint64_t start, uint64_t end, enum mem_kind kind)
{
    assert(is_aligned(start | end, PAGE_SIZE) && start < end && end <= MEMMAP_END);
    struct mem_range new[3];
    unsigned n = 0;
    /* From the range that touches START to the one that touches END: these can join. */
    unsigned first = start == 0 ? 0 : first_above(map, start - 1);
    unsigned last = first;
    while (last < map->count && map->r[last].start <= end)
        last++;
    struct mem_range middle = {.start = start, .end = end, .kind = kind};
    if (last > first && map->r[first].start < start) {
        if (map->r[first].kind == middle.kind)
            middle.start = map->r[first].start;
        else
            new[n++] = (struct mem_range){map->r[first].start, start, map->r[first].kind, 0};
    }
    unsigned at = n++;
    if (last > first && map->r[last - 1].end > end) {
        if (map->r[last - 1].kind == middle.kind)
            middle.end = map->r[last - 1].end;
        else
            new[n++] = (struct mem_range){end, map->r[last - 1].end, map->r[last - 1].kind, 0};
    }
    new[at] = middle;
    return splice(map, first, last, new, n);
}

/* Paints one range of the firmware's, cut to whole pages below MEMMAP_END. */
static int paint(struct memmap *map, uint64_t start, uint64_t end, enum mem_kind kind)
{
    uint64_t from = min_u64(start, MEMMAP_END), to = min_u64(end, MEMMAP_END);
    if (kind == MEM_RAM) {
        from = align_up(from, PAGE_SIZE);
        to = align_down(to, PAGE_SIZE);
    } else {
        from = align_down(from, PAGE_SIZE);
        to = align_up(to, PAGE_SIZE);
    }
    if (start > end || end > MEMMAP_END)
        log_line("memory map: 0x%llx to 0x%llx (kind %u) wraps or lies above 2^52: %s",
                 (unsigned long long)start, (unsigned long long)end, (unsigned)kind,
                 start < end && from < to ? "cut" : "left out");
    if (start >= end || from >= to)
        return 0;
    return memmap_set(map, from, to, kind);
}

static enum mem_kind kind_of(const struct mem_range *r)
{
    bool known = r->kind >= MEM_RAM && r->kind <= MEM_HYPERVISOR;
    return known ? (enum mem_kind)r->kind : MEM_FIRMWARE;
}

static int paint_kind(const struct boot_info *info, struct memmap *map, enum mem_kind kind)
{
    int error = 0;
    for (unsigned i = 0; i < info->range_count && error == 0; i++)
        if (kind_of(&info->ranges[i]) == kind)
            error = paint(map, info->ranges[i].start, info->ranges[i].end, kind);
    if (kind != MEM_FILE)
        return error;
    for (unsigned i = 0; i < info->file_count && error == 0; i++) {
        const struct boot_file *f = &info->files[i];
        error = paint(map, f->hpa, f->hpa + f->size, MEM_FILE);
    }
    return error;
}

int memmap_build(const struct boot_info *info, struct memmap *map)
{
    assert(info->range_count <= BOOT_MAX_RANGES && info->file_count <= BOOT_MAX_FILES);
    uint64_t ram;
    map->count = 0;
    if (info->dropped_ranges != 0)
        log_line("memory map: %u ranges beyond the first %d were left out; if memory is missing, "
                 "turn off what fragments the firmware's map",
                 info->dropped_ranges, BOOT_MAX_RANGES);
    for (unsigned kind = MEM_RAM; kind <= MEM_HYPERVISOR; kind++) {
        int error = paint_kind(info, map, (enum mem_kind)kind);
        if (error != 0)
            return error;
    }
    int error = memmap_find(map, PAGE_SIZE, PAGE_SIZE, 0, MEMMAP_END, &ram);
    if (error != 0)
        log_line("memory map: no RAM in it; boot by another door (UEFI, GRUB)");
    return error;
}

int memmap_find(const struct memmap *map, uint64_t size, uint64_t align, uint64_t min, uint64_t max,
                uint64_t *start)
{
    assert(size > 0 && is_aligned(size, PAGE_SIZE));
    assert(align >= PAGE_SIZE && is_aligned(align, align));
    for (unsigned i = 0; i < map->count; i++) {
        const struct mem_range *r = &map->r[i];
        uint64_t low = max_u64(r->start, min), high = min_u64(r->end, max);
        if (r->kind != MEM_RAM || low >= high)
            continue;
        uint64_t at = align_up(low, align);
        if (at < high && high - at >= size) {
            *start = at;
            return 0;
        }
    }
    return -ENOMEM;
}

unsigned memmap_kind_at(const struct memmap *map, uint64_t address, uint64_t *next)
{
    unsigned i = first_above(map, address);
    *next = UINT64_MAX;
    if (i == map->count)
        return 0;
    if (map->r[i].start > address) {
        *next = map->r[i].start;
        return 0;
    }
    *next = map->r[i].end;
    return map->r[i].kind;
}

bool memmap_is_all(const struct memmap *map, uint64_t start, uint64_t end, unsigned kinds)
{
    for (uint64_t at = start; at < end;)
        if ((kinds >> memmap_kind_at(map, at, &at) & 1) == 0)
            return false;
    return true;
}
