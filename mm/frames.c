/* The host pool: a bitmap of page frames. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/frames.h"

#include "lib/assert.h"
#include "lib/string.h"

enum { WORD = 64 };

static bool is_used(const struct frames *f, unsigned page)
{
    return (f->used[page / WORD] >> page % WORD & 1) != 0;
}

static void flip(struct frames *f, unsigned first, unsigned n)
{
    for (unsigned page = first; page < first + n; page++)
        f->used[page / WORD] ^= 1ull << page % WORD;
}

void frames_init(struct frames *f, void *va, hpa_t base, uint64_t bytes)
{
    assert(is_aligned((uint64_t)va | base.v | bytes, PAGE_SIZE));
    assert(bytes <= FRAMES_MAX * PAGE_SIZE);
    unsigned count = (unsigned)(bytes / PAGE_SIZE);
    *f = (struct frames){.va = va, .base = base, .count = count, .free = count};
    flip(f, count, FRAMES_MAX - count);
}

/* The first free page at or after the hint's word, around the end; there must be one. */
static unsigned find_one(struct frames *f)
{
    while (f->used[f->hint] == UINT64_MAX)
        f->hint = (f->hint + 1) % ARRAY_SIZE(f->used);
    return f->hint * WORD + (unsigned)__builtin_ctzll(~f->used[f->hint]);
}

/* The first of N free pages in a row, or count. */
static unsigned find_run(const struct frames *f, unsigned n)
{
    unsigned run = 0;
    for (unsigned page = 0; page < f->count; page++) {
        run = is_used(f, page) ? 0 : run + 1;
        if (run == n)
            return page + 1 - n;
    }
    return f->count;
}

/* The first of N pages in a row that were free, or count. */
static unsigned take(struct frames *f, unsigned n)
{
    if (n > f->free)
        return f->count;
    unsigned first = n == 1 ? find_one(f) : find_run(f, n);
    if (first == f->count)
        return first;
    flip(f, first, n);
    f->free -= n;
    return first;
}

void *frames_alloc(struct frames *f, unsigned n)
{
    assert(n >= 1);
    lock_take(&f->lock);
    unsigned first = take(f, n);
    lock_release(&f->lock);
    return first == f->count ? NULL : memset(f->va + first * PAGE_SIZE, 0, n * PAGE_SIZE);
}

void frames_free(struct frames *f, void *p, unsigned n)
{
    uint64_t offset = frames_hpa(f, p).v - f->base.v;
    unsigned first = (unsigned)(offset / PAGE_SIZE);
    assert(is_aligned(offset, PAGE_SIZE) && n >= 1 && n <= f->count - first);
    lock_take(&f->lock);
    for (unsigned page = first; page < first + n; page++)
        assert(is_used(f, page));
    flip(f, first, n);
    f->free += n;
    lock_release(&f->lock);
}

hpa_t frames_hpa(const struct frames *f, const void *p)
{
    uint64_t offset = (uint64_t)p - (uint64_t)f->va;
    assert(offset < f->count * PAGE_SIZE);
    return hpa(f->base.v + offset);
}

void *frames_at(const struct frames *f, hpa_t hpa)
{
    uint64_t offset = hpa.v - f->base.v;
    assert(offset < f->count * PAGE_SIZE);
    return f->va + offset;
}
