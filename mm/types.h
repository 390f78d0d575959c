/* Addresses, memory types and ranges: the words that every room of the house shares. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Different C types, so that they cannot be mixed. A host-virtual address is a C pointer. */
typedef struct {
    uint64_t v;
} hpa_t; /* host-physical */
typedef struct {
    uint64_t v;
} gpa_t; /* guest-physical */
typedef struct {
    uint64_t v;
} gva_t; /* guest-linear */

static inline hpa_t hpa(uint64_t v)
{
    return (hpa_t){v};
}

static inline gpa_t gpa(uint64_t v)
{
    return (gpa_t){v};
}

static inline gva_t gva(uint64_t v)
{
    return (gva_t){v};
}

#define KIB       ((uint64_t)1 << 10)
#define MIB       ((uint64_t)1 << 20)
#define GIB       ((uint64_t)1 << 30)
#define PAGE_SIZE (4 * KIB)

static inline uint64_t align_down(uint64_t v, uint64_t power_of_two)
{
    return v & ~(power_of_two - 1);
}

/* Wraps to 0 above the last multiple: callers check. */
static inline uint64_t align_up(uint64_t v, uint64_t power_of_two)
{
    return align_down(v + power_of_two - 1, power_of_two);
}

static inline bool is_aligned(uint64_t v, uint64_t power_of_two)
{
    return (v & (power_of_two - 1)) == 0;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Encodings of MTRRs, PAT and EPT leaves (SDM, "Memory Cache Control"); 7 is for PATs alone. */
enum memtype {
    MT_UC = 0,
    MT_WC = 1,
    MT_WT = 4,
    MT_WP = 5,
    MT_WB = 6,
    MT_UC_MINUS = 7,
};

/* Bytes START to END-1. */
struct range {
    uint64_t start, end;
};

static inline bool ranges_overlap(struct range a, struct range b)
{
    return a.start < b.end && b.start < a.end;
}

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
