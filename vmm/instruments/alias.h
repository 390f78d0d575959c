/*
 * The alias detector: reads all of a guest's page tables, and finds the memory that they reach
 * through types of different cacheability (WB, WT and WP are cacheable). Pure: tables are read and
 * types asked for through callbacks. What it costs is bounded, whatever the tables say.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stddef.h>

#include "mm/effective.h"
#include "vmm/vcpu/walk.h"

struct alias_question;
struct alias_answer;
struct vcpu;

/* Entries read, types asked for and runs sorted, of a scan in all. */
enum { ALIAS_STEPS = 1 << 20 };

/* What a guest-physical address reaches. */
struct alias_type {
    bool present;      /* there is memory */
    uint8_t effective; /* enum effective */
    hpa_t hpa;
    uint64_t next; /* the first address above where the answer may be another */
};

struct alias_memory {
    /*
     * Reads a table of SIZE bytes (a page, or 32) through memory type TYPE, each entry at once. 0,
     * or -EIO: it is not in memory, and maps nothing: what is read in the hole, ones, does not.
     */
    int (*read)(void *context, gpa_t gpa, unsigned size, enum memtype type, uint64_t *table);
    /* The memory at GPA where the guest's PAT says PAT. */
    void (*type)(void *context, gpa_t gpa, enum memtype pat, struct alias_type *out);
    void *context;
};

/* Memory that a row of linear addresses reaches by pages of one size and type. */
struct alias_run {
    hpa_t hpa;
    gpa_t gpa;
    gva_t linear;
    uint32_t pages;     /* of 4 KiB */
    uint8_t root;       /* the number that alias_read() was given */
    uint8_t page_shift; /* the size of the guest's pages is 1 << PAGE_SHIFT */
    uint8_t pat_type;   /* enum memtype, by the guest's entry */
    uint8_t effective;  /* enum effective */
};

struct alias_scan;

/* Begins a scan in memory of SIZE bytes, at least ALIAS_LEAST, zeroed: there is no more to free. */
enum { ALIAS_LEAST = 8 * PAGE_SIZE };
struct alias_scan *alias_begin(void *zeroed, size_t size, const struct alias_memory *memory);

/*
 * Reads the tables that STATE (CR0.PG = 1) has at its CR3, each table once, and no entry is
 * changed. A page that they map twice is there twice, whoever may access it. Returns 0; -E2BIG: the
 * scan gave up, as the tables cost more than ALIAS_STEPS or have more runs than there is room for.
 */
int alias_read(struct alias_scan *scan, const struct walk_state *state, unsigned root);

/*
 * Calls FOUND for each alias in what has been read, by rising HPA and without overlaps: the same
 * PAGES of host memory by the two paths, which begin there. Returns how many there are.
 */
unsigned alias_find(struct alias_scan *scan,
                    void (*found)(void *context, const struct alias_run *cacheable,
                                  const struct alias_run *uncacheable),
                    void *context);

/* --- of a VM: oracle_alias.c ------------------------------------------------------------------ */

/*
 * Scans the tables of VCPU, which is between two exits on this CPU, and of the roots that QUESTION
 * names. Fills ANSWER with the alias at INDEX, if there are so many. Returns how many there are;
 * -E2BIG: the scan gave up; -EINVAL: more roots than can be; -ENOMEM.
 */
int64_t oracle_alias(struct vcpu *vcpu, const struct alias_question *question, uint64_t index,
                     struct alias_answer *answer);

/*
 * Calls LINE for each alias, up to some, and then with what came of the scan. QUESTION, as above,
 * has no more roots than can be.
 */
void alias_list(struct vcpu *vcpu, const struct alias_question *question,
                void (*line)(const char *text));
