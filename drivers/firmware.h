/* What firmware tables are read through, and the CPUs that they name: any byte may be wrong. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

enum { FIRMWARE_MAX_CPUS = 64 };

/* Physical memory as tables are read from it. */
struct firmware {
    /* Copies N bytes (at most 512) from AT; false: nothing can be read there. */
    bool (*read)(const struct firmware *firmware, uint64_t at, void *to, size_t n);
};

/* Counts are of table entries. */
struct firmware_cpus {
    uint32_t apic_id[FIRMWARE_MAX_CPUS]; /* of CPUs that are ready for use, each once, as listed */
    unsigned count;
    unsigned beyond;     /* CPUs for which there was no room */
    unsigned disabled;   /* not usable */
    unsigned later;      /* not usable yet: online-capable */
    unsigned senseless;  /* left out: too short, twice there, or for the broadcast ID */
    uint64_t local_apic; /* address of its registers */
};

/* Adds a CPU that is ready for use, by its APIC ID. */
void firmware_add_cpu(struct firmware_cpus *cpus, uint32_t apic_id);

/* True where the N bytes at AT can be read and their sum is 0, modulo 256. */
bool firmware_sums_up(const struct firmware *firmware, uint64_t at, uint64_t n);

/*
 * The first multiple of 16 in RANGE (multiples of 16) where SIGNATURE stands at the head of N bytes
 * that sum up to 0; 0: there is none.
 */
uint64_t firmware_find(const struct firmware *firmware, struct range range, const char *signature,
                       size_t n);

/*
 * The same where ACPI ("Finding the RSDP on IA-PC Systems") and the MultiProcessor Specification
 * ("MP Floating Pointer Structure") have PC firmware put such structures.
 */
uint64_t firmware_find_anywhere(const struct firmware *firmware, const char *signature, size_t n);
