/* Guest memory: picks host RAM so that the largest second-level leaves come of it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/extents.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

/* --- the free ranges -------------------------------------------------------------------------- */

/* The first free range that ends above ADDRESS, or count. */
static unsigned first_above(const struct extents *pool, uint64_t address)
{
    unsigned i = 0;
    while (i < pool->count && pool->r[i].end <= address)
        i++;
    return i;
}

/* Puts the N ranges of NEW in the place of free ranges FIRST to END-1. */
static void splice(struct extents *pool, unsigned first, unsigned end, const struct range *new,
                   unsigned n)
{
    unsigned count = pool->count - (end - first) + n;
    assert(first <= end && end <= pool->count && count <= EXTENTS_MAX_FREE);
    memmove(&pool->r[first + n], &pool->r[end], (pool->count - end) * sizeof(pool->r[0]));
    memcpy(&pool->r[first], new, n * sizeof(pool->r[0]));
    pool->count = count;
}

static void take(struct extents *pool, uint64_t start, uint64_t end)
{
    unsigned i = first_above(pool, start), n = 0;
    assert(i < pool->count && pool->r[i].start <= start && end <= pool->r[i].end);
    struct range rest[2];
    if (pool->r[i].start < start)
        rest[n++] = (struct range){pool->r[i].start, start};
    if (end < pool->r[i].end)
        rest[n++] = (struct range){end, pool->r[i].end};
    splice(pool, i, i + 1, rest, n);
    pool->taken++;
}

static void give_back(struct extents *pool, uint64_t start, uint64_t end)
{
    unsigned i = first_above(pool, start), first = i, last = i;
    assert(start < end && (i == pool->count || end <= pool->r[i].start) && pool->taken > 0);
    struct range joined = {start, end};
    if (i > 0 && pool->r[i - 1].end == start)
        joined.start = pool->r[--first].start;
    if (i < pool->count && pool->r[i].start == end)
        joined.end = pool->r[last++].end;
    splice(pool, first, last, &joined, 1);
    pool->taken--;
}

int extents_init(struct extents *pool, const struct memmap *map, uint64_t from)
{
    pool->count = 0;
    pool->taken = 0;
    for (unsigned i = 0; i < map->count; i++) {
        struct range r = {max_u64(map->r[i].start, from), map->r[i].end};
        if (map->r[i].kind == MEM_RAM && r.start < r.end)
            splice(pool, pool->count, pool->count, &r, 1);
    }
    if (pool->count > 0)
        return 0;
    log_line("guest memory: no free RAM from 0x%llx up; give the machine more RAM",
             (unsigned long long)from);
    return -ENOMEM;
}

bool extents_next(const struct extents *pool, uint64_t address, struct range *free)
{
    unsigned i = first_above(pool, address);
    if (i == pool->count)
        return false;
    *free = (struct range){max_u64(pool->r[i].start, address), pool->r[i].end};
    return true;
}

bool extents_withdraw(struct extents *pool, struct range range)
{
    if (pool->taken == EXTENTS_MAX_TAKEN)
        return false;
    take(pool, range.start, range.end);
    return true;
}

uint64_t extents_bytes(const struct extents *pool)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < pool->count; i++)
        bytes += pool->r[i].end - pool->r[i].start;
    return bytes;
}

/* --- the choice ------------------------------------------------------------------------------- */

struct choice {
    struct extent piece;
    uint64_t room; /* bytes of the free range that it comes from */
};

/*
 * Keeps the better of BEST and this: the part of GAP from SKIP bytes on lies at HPA in FREE, as far
 * as both go. Where that cuts the gap it is cut at 2 MiB, if leaves are large, so that the rest can
 * have whole 2 MiB leaves too.
 */
static void consider(struct choice *best, struct range gap, struct range free, uint64_t skip,
                     uint64_t hpa_start, uint64_t align)
{
    uint64_t cut = min_u64(align, 2 * MIB);
    if (skip >= gap.end - gap.start || hpa_start >= free.end)
        return;
    uint64_t end = gap.start + skip + min_u64(gap.end - gap.start - skip, free.end - hpa_start);
    uint64_t start = skip == 0 ? gap.start : align_up(gap.start + skip, cut);
    if (end != gap.end)
        end = align_down(end, cut);
    if (start >= end || align_up(start, align) + align > end)
        return;
    uint64_t size = end - start, room = free.end - free.start;
    if (size < best->piece.size || (size == best->piece.size && room >= best->room))
        return;
    *best = (struct choice){
        .piece = {gpa(start), hpa(hpa_start + (start - gap.start - skip)), size},
        .room = room,
    };
}

/* The best piece for GAP out of all free ranges: from the gap's start, or from the range's start.
 */
static void consider_all(const struct extents *pool, struct choice *best, struct range gap,
                         uint64_t align)
{
    for (unsigned i = 0; i < pool->count; i++) {
        struct range free = pool->r[i];
        uint64_t lead = (gap.start - free.start) & (align - 1);
        uint64_t skip = (free.start - gap.start) & (align - 1);
        consider(best, gap, free, 0, free.start + lead, align);
        consider(best, gap, free, skip, free.start, align);
    }
}

/* Gap I of a range that OUT backs in part: before OUT[I], or after the last. May be empty. */
static struct range gap_before(struct range gpas, const struct extent *out, unsigned count,
                               unsigned i)
{
    return (struct range){
        .start = i == 0 ? gpas.start : out[i - 1].gpa.v + out[i - 1].size,
        .end = i == count ? gpas.end : out[i].gpa.v,
    };
}

/* Backs one more piece; false: there is none that ALIGN allows, or no room to note it. */
static bool place(struct extents *pool, struct range gpas, struct extent *out, unsigned max,
                  unsigned *count, uint64_t align)
{
    struct choice best = {.room = 0};
    if (*count == max || pool->taken == EXTENTS_MAX_TAKEN)
        return false;
    for (unsigned i = 0; i <= *count; i++)
        consider_all(pool, &best, gap_before(gpas, out, *count, i), align);
    if (best.piece.size == 0)
        return false;
    unsigned at = 0;
    while (at < *count && out[at].gpa.v < best.piece.gpa.v)
        at++;
    memmove(&out[at + 1], &out[at], (*count - at) * sizeof(*out));
    out[at] = best.piece;
    ++*count;
    take(pool, best.piece.hpa.v, best.piece.hpa.v + best.piece.size);
    return true;
}

int extents_alloc(struct extents *pool, struct range gpas, struct extent *out, unsigned max,
                  unsigned *count)
{
    static const uint64_t aligns[] = {GIB, 2 * MIB, PAGE_SIZE};
    assert(is_aligned(gpas.start | gpas.end, PAGE_SIZE) && gpas.start < gpas.end);
    assert(gpas.end <= MEMMAP_END);
    *count = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(aligns);)
        if (!place(pool, gpas, out, max, count, aligns[i]))
            i++;
    uint64_t backed = 0, size = gpas.end - gpas.start;
    for (unsigned i = 0; i < *count; i++)
        backed += out[i].size;
    assert(backed <= size);
    if (backed == size)
        return 0;
    extents_free(pool, out, *count);
    *count = 0;
    log_line("guest memory: %llu KiB wanted, %llu KiB free in %u ranges, at most %u can be used; "
             "give the VM less memory or the machine more",
             (unsigned long long)(size / KIB), (unsigned long long)(extents_bytes(pool) / KIB),
             pool->count, max);
    return -ENOMEM;
}

uint64_t extents_alloc_same(struct extents *pool, struct range gpas, uint64_t bytes,
                            struct extent *out, unsigned max, unsigned *count)
{
    uint64_t left = bytes, at = gpas.start;
    struct range free;
    assert(is_aligned(gpas.start | gpas.end | bytes, PAGE_SIZE));
    for (*count = 0; *count < max && left > 0 && pool->taken < EXTENTS_MAX_TAKEN; ++*count) {
        if (!extents_next(pool, at, &free) || free.start >= gpas.end)
            break;
        uint64_t size = min_u64(left, min_u64(free.end, gpas.end) - free.start);
        out[*count] = (struct extent){gpa(free.start), hpa(free.start), size};
        at = free.start + size;
        left -= size;
        take(pool, free.start, at);
    }
    return bytes - left;
}

void extents_free(struct extents *pool, const struct extent *extents, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        give_back(pool, extents[i].hpa.v, extents[i].hpa.v + extents[i].size);
}
