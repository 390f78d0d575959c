/*
 * What the models of both makers' units stand in: pages for tables, full of rubbish until they are
 * taken, and the end of a machine that is stopped.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdlib.h>

#include "drivers/iommu.h"
#include "tests/unit/host.h"

enum { PAGES = 600 };
#define RAM_BASE 0x7000000ull
#define NO_HPA   UINT64_MAX

static uint64_t ram[PAGES][512];
static bool used[PAGES];
static unsigned used_count;
static unsigned budget; /* what pages may still cost */
static unsigned stopped;
static jmp_buf on_stop;

static void fake_iommu_reset(void)
{
    memset(used, 0, sizeof(used));
    memset(ram, 0xff, sizeof(ram));
    used_count = stopped = 0;
    budget = PAGES;
}

/* Pages of rubbish in a row, or NULL where they COST more than there is. */
static void *find_pages(unsigned pages, unsigned cost)
{
    unsigned first = 0, i = 0;
    if (budget < cost)
        return NULL;
    budget -= cost;
    for (; i < first + pages; i++) {
        assert_true(i < PAGES);
        if (used[i])
            first = i + 1;
    }
    memset(&used[first], 1, pages);
    used_count += pages;
    return ram[first];
}

static void *find_zeroed(unsigned pages, unsigned cost)
{
    void *p = find_pages(pages, cost);
    if (p != NULL)
        memset(p, 0, pages * 4096ul);
    return p;
}

static unsigned page_of(const void *page)
{
    size_t offset = (size_t)((const char *)page - (const char *)ram);
    assert_true(offset < sizeof(ram));
    return (unsigned)(offset / 4096);
}

static void free_page(void *page)
{
    unsigned i = page_of(page);
    assert_true(used[i]);
    used[i] = false;
    used_count--;
    memset(ram[i], 0xff, sizeof(ram[i]));
}

static hpa_t fake_hpa(const void *page)
{
    return hpa(RAM_BASE + page_of(page) * 4096ull);
}

static void *fake_at(hpa_t page)
{
    assert_true(page.v >= RAM_BASE && page.v < RAM_BASE + PAGES * 4096ull && page.v % 4096 == 0);
    return ram[(page.v - RAM_BASE) / 4096];
}

static inline void fake_stop(const char *why)
{
    assert_non_null(why);
    stopped++;
    longjmp(on_stop, 1);
}
