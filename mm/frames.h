/* The host pool: page frames for the hypervisor's own tables and structures. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/lock.h"
#include "mm/types.h"

enum { FRAMES_MAX = 4096 };

/* A pool of at most 16 MiB, for all CPUs. */
struct frames {
    struct lock lock;
    uint8_t *va;                    /* where it is mapped */
    hpa_t base;                     /* where it lies */
    unsigned count;                 /* pages in all */
    unsigned free;                  /* pages free */
    unsigned hint;                  /* word of USED where the next search for one page begins */
    uint64_t used[FRAMES_MAX / 64]; /* a bit a page; pages beyond COUNT are used */
};

/* Makes a pool of the BYTES at BASE, mapped at VA: all multiples of 4096, at most FRAMES_MAX pages.
 */
void frames_init(struct frames *f, void *va, hpa_t base, uint64_t bytes);

/* N >= 1 zeroed pages in a row, or NULL: there is no such run. */
void *frames_alloc(struct frames *f, unsigned n);

/* Gives back N pages from P on, all of which are in use: all or a part of what was allocated. */
void frames_free(struct frames *f, void *p, unsigned n);

/* Where a byte of the pool lies, and the other way. */
hpa_t frames_hpa(const struct frames *f, const void *p);
void *frames_at(const struct frames *f, hpa_t hpa);
