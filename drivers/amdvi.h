/* AMD-Vi: one unit's registers and tables, for the files that drive them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/iommu.h"
#include "drivers/ivrs.h"
#include "lib/assert.h"
#include "lib/lock.h"

extern const struct iommu_ops amdvi_ops;

/* AMD IOMMU, "IOMMU MMIO Registers": all of 64 bits. */
enum amdvi_register {
    AMDVI_DEVICE_TABLE = 0x0000,
    AMDVI_COMMAND_BASE = 0x0008,
    AMDVI_EVENT_BASE = 0x0010,
    AMDVI_CONTROL = 0x0018,
    AMDVI_EXCLUSION_BASE = 0x0020,
    AMDVI_EXCLUSION_LIMIT = 0x0028,
    AMDVI_FEATURES = 0x0030,
    AMDVI_SMI_FILTER = 0x0060, /* the first of up to 16 */
    AMDVI_COMMAND_HEAD = 0x2000,
    AMDVI_COMMAND_TAIL = 0x2008,
    AMDVI_EVENT_HEAD = 0x2010,
    AMDVI_EVENT_TAIL = 0x2018,
    AMDVI_STATUS = 0x2020,
    AMDVI_REGISTERS_SIZE = 0x4000,
};

/* "Extended Feature Register". */
#define AMDVI_FEATURE_XT (1ull << 2) /* interrupts to 32-bit APIC IDs */
#define AMDVI_FEATURE_IA (1ull << 6) /* INVALIDATE_IOMMU_ALL */
#define AMDVI_FEATURE_GA (1ull << 7) /* entries for interrupts of 128 bits */

/* "SmiFSup", and how many registers there are ("SmiFRC"). */
#define AMDVI_FEATURE_SMI_FILTER(features) (((features) >> 16 & 3) == 1)
#define AMDVI_FEATURE_FILTERS(features)    (1u << ((features) >> 18 & 7))

/* "Device Table Entry Format": four words each. */
enum { AMDVI_ENTRY_WORDS = 4, AMDVI_ENTRY_SIZE = 32 };
#define AMDVI_DTE_V            (1ull << 0)
#define AMDVI_DTE_TV           (1ull << 1)
#define AMDVI_DTE_MODE(levels) ((uint64_t)(levels) << 9) /* 0: by IR and IW, untranslated */
#define AMDVI_DTE_IR           (1ull << 61)
#define AMDVI_DTE_IW           (1ull << 62)
/* Of the second word: the domain's number, and "SysMgt". */
#define AMDVI_DTE_SYSMGT(sysmgt) ((uint64_t)(sysmgt) << 40)
/* Of the third word. */
#define AMDVI_DTE_IV              (1ull << 0)
#define AMDVI_DTE_TABLE_LENGTH(n) ((uint64_t)(n) << 1) /* 2^N entries */
#define AMDVI_DTE_REMAP           (2ull << 60)         /* IntCtl; 0: none passes */
#define AMDVI_DTE_PASS(setting)   ((uint64_t)((setting)&0xc7) << 56)

/* "DTE Setting": of system management messages none pass (0), all do (1), or INTx (2). */
enum { AMDVI_SYSMGT_PASSES = 1 };
#define AMDVI_SETTING_SYSMGT(setting) ((setting) >> 4 & 3u)

/* What blocks all DMA and all interrupts. */
#define AMDVI_BLOCKED   (AMDVI_DTE_V | AMDVI_DTE_TV)
#define AMDVI_BLOCKED_2 AMDVI_DTE_IV

/* "Interrupt Remapping Tables": of as many entries as all units take. */
enum { AMDVI_INTERRUPTS_SHIFT = 9, AMDVI_INTERRUPTS = 1 << AMDVI_INTERRUPTS_SHIFT };

/* Entries of a segment, of all devices that its units translate: blocked where nobody has them. */
struct amdvi_devices {
    uint64_t *entries;
    hpa_t hpa;
    uint32_t count; /* a multiple of what a page holds */
};

struct amdvi_unit {
    const struct iommu_machine *machine;
    const struct ivrs_unit *ivrs;
    const struct ivrs_entry *entries; /* its own */
    const struct amdvi_devices *devices;
    volatile char *registers;
    uint64_t features;
    uint8_t number;
    bool on;     /* all DMA is translated, and invalidations work */
    bool wide;   /* entries for interrupts have 128 bits */
    bool x2apic; /* those go to 32-bit APIC IDs */
    struct lock lock;
    uint64_t *commands;        /* "Command Buffer": 2 words an entry */
    uint64_t *events;          /* "Event Log": the same */
    volatile uint64_t *status; /* what COMPLETION_WAIT writes */
    hpa_t status_hpa;
    uint64_t ticket; /* that the last one was to write */
    unsigned tail;   /* command that is next */
    unsigned late;   /* looks for the next event, which the unit says is there */
    unsigned missed; /* the place of the last one that has never come, and 1; 0: none */
};

/* Levels that its page tables may have ("HATS"); 0: it translates by none. */
static inline unsigned amdvi_levels(const struct amdvi_unit *u)
{
    unsigned hats = u->features >> 10 & 3;
    return hats == 3 || u->ivrs->has_no_tables ? 0 : 4 + hats;
}

/* A device's entry. */
static inline uint64_t *amdvi_entry(const struct amdvi_unit *u, uint16_t device)
{
    assert(device < u->devices->count);
    return u->devices->entries + (size_t)device * AMDVI_ENTRY_WORDS;
}

/* --- drivers/amdvi_unit.c --------------------------------------------------------------------- */

/*
 * Turns on the unit, by its device table. STATUS: 8 bytes in a table page that are this unit's
 * alone. Of U, machine, ivrs, entries, devices and number are set. Returns 0, -ENODEV, -ENOMEM or
 * -EIO, logged.
 */
int amdvi_unit_start(struct amdvi_unit *u, volatile uint64_t *status, hpa_t status_hpa);

/*
 * Each forgets what the unit has cached, and waits until what was under way by that is done: a
 * device's entry, and the translations of domain ID, which it had; a domain's translations; a
 * device's interrupts. Where the unit does not do it in time, the machine is stopped.
 */
void amdvi_forget_device(struct amdvi_unit *u, uint16_t device, uint16_t id);
void amdvi_forget_domain(struct amdvi_unit *u, uint16_t id);
void amdvi_forget_interrupts(struct amdvi_unit *u, uint16_t device);

/* Logs and clears what events are recorded. Returns how many, and one more where one is to come. */
unsigned amdvi_unit_faults(struct amdvi_unit *u);

/* --- drivers/amdvi_interrupts.c --------------------------------------------------------------- */

/* What a requester's requests may carry: its own ID, and what the firmware's table says instead. */
struct amdvi_ids {
    uint16_t id[2];
    unsigned count;
};

/* No requester has a table for interrupts. */
void amdvi_forget_sources(void);

/*
 * Gives a requester of U's that carries IDS its table for interrupts, if it has none; it stays.
 * Those that have an ID in common share one. Returns 0, -ENOMEM, -ENOSPC (too many have one) or
 * -EINVAL (it would have two), logged.
 */
int amdvi_make_source(struct amdvi_unit *u, struct pci_bdf requester, const struct amdvi_ids *ids);

/* As in struct iommu_ops: the requester has a table. */
int amdvi_claim(struct pci_bdf requester);
void amdvi_interrupt(struct pci_bdf requester, unsigned index,
                     const struct iommu_interrupt *interrupt, struct iommu_message *message);
