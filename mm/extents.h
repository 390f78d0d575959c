/* Guest memory: which host RAM backs a guest-physical range. It is never mapped by the host. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/memmap.h"
#include "mm/types.h"

/* SIZE bytes that lie at GPA for a guest and at HPA in the machine: multiples of 4096. */
struct extent {
    gpa_t gpa;
    hpa_t hpa;
    uint64_t size;
};

enum { EXTENTS_MAX_TAKEN = 256, EXTENTS_MAX_FREE = MEMMAP_MAX + EXTENTS_MAX_TAKEN };

/*
 * The RAM that guests may have. Free ranges are rising and do not touch: each lies between two
 * edges of the map or of taken extents, so they never outgrow R while TAKEN is bounded.
 */
struct extents {
    struct range r[EXTENTS_MAX_FREE];
    unsigned count;
    unsigned taken; /* extents given out */
};

/* Takes over all RAM of MAP from FROM up, a multiple of 4096. Returns 0, or -ENOMEM where there is
 * none, logged. */
int extents_init(struct extents *pool, const struct memmap *map, uint64_t from);

/*
 * Backs the guest-physical range (multiples of 4096, not empty) with OUT[0..COUNT), rising in GPA.
 * First come the longest pieces where GPA and HPA agree modulo 1 GiB and that hold a whole aligned
 * GiB; then the same for 2 MiB; then any pages. Among equals the smallest free range is used, so
 * that large ones last. Contents are not touched. Returns 0, or -ENOMEM, logged: too little RAM, or
 * more than MAX pieces; then nothing is taken.
 */
int extents_alloc(struct extents *pool, struct range gpas, struct extent *out, unsigned max,
                  unsigned *count);

/*
 * Takes what is free of the guest-physical range (multiples of 4096) at the same host-physical
 * addresses, lowest first: at most BYTES, in OUT[0..COUNT), rising. Returns how many bytes they
 * have: fewer than BYTES where no more is free, or not in MAX pieces.
 */
uint64_t extents_alloc_same(struct extents *pool, struct range gpas, uint64_t bytes,
                            struct extent *out, unsigned max, unsigned *count);

/* Gives back COUNT extents as extents_alloc() or extents_alloc_same() gave them. */
void extents_free(struct extents *pool, const struct extent *extents, unsigned count);

/* The first free range, or part of one, from ADDRESS up; false: there is none. */
bool extents_next(const struct extents *pool, uint64_t address, struct range *free);

/* Takes RANGE, which must be free, for good. False: too many pieces, nothing is taken. */
bool extents_withdraw(struct extents *pool, struct range range);

/* Bytes free. */
uint64_t extents_bytes(const struct extents *pool);

/* Where SIZE bytes at GPA lie; false: not all in one of the N extents. SIZE 0 counts as 1. */
static inline bool extent_hpa(const struct extent *extents, unsigned n, gpa_t gpa, uint64_t size,
                              hpa_t *hpa)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t offset = gpa.v - extents[i].gpa.v;
        if (offset >= extents[i].size)
            continue;
        hpa->v = extents[i].hpa.v + offset;
        return size <= extents[i].size - offset;
    }
    return false;
}

/* Where the byte at GPA, and with it its whole page, lies; false: in none of the N extents. */
static inline bool extent_byte(const struct extent *extents, unsigned n, gpa_t gpa, hpa_t *hpa)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t offset = gpa.v - extents[i].gpa.v;
        if (offset < extents[i].size) {
            hpa->v = extents[i].hpa.v + offset;
            return true;
        }
    }
    return false;
}
