/* VT-d: one unit's registers and tables, for the files that drive them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/dmar.h"
#include "drivers/iommu.h"
#include "lib/assert.h"
#include "lib/lock.h"

extern const struct iommu_ops vtd_ops;

/* VT-d, "Register Descriptions": those that are not at a place that CAP or ECAP names. */
enum vtd_register {
    VTD_VER = 0x00,
    VTD_CAP = 0x08,  /* 64 bits */
    VTD_ECAP = 0x10, /* 64 bits */
    VTD_GCMD = 0x18,
    VTD_GSTS = 0x1c,
    VTD_RTADDR = 0x20, /* 64 bits */
    VTD_CCMD = 0x28,   /* 64 bits */
    VTD_FSTS = 0x34,
    VTD_FECTL = 0x38,
    VTD_FEDATA = 0x3c,
    VTD_FEADDR = 0x40,
    VTD_FEUADDR = 0x44,
    VTD_PMEN = 0x64,
    VTD_PLMBASE = 0x68,
    VTD_PLMLIMIT = 0x6c,
    VTD_PHMBASE = 0x70,  /* 64 bits */
    VTD_PHMLIMIT = 0x78, /* 64 bits */
    VTD_IQH = 0x80,      /* 64 bits */
    VTD_IQT = 0x88,      /* 64 bits */
    VTD_IQA = 0x90,      /* 64 bits */
    VTD_IRTA = 0xb8,     /* 64 bits */
};

/* "Capability Register". */
#define VTD_CAP_ND(cap)    ((unsigned)((cap)&7))
#define VTD_CAP_RWBF       (1ull << 4)
#define VTD_CAP_PLMR       (1ull << 5)
#define VTD_CAP_PHMR       (1ull << 6)
#define VTD_CAP_CM         (1ull << 7)
#define VTD_CAP_SAGAW(cap) ((unsigned)((cap) >> 8 & 0x1f)) /* bit LEVELS - 2 */
#define VTD_CAP_MGAW(cap)  ((unsigned)((cap) >> 16 & 0x3f) + 1)
#define VTD_CAP_FRO(cap)   ((unsigned)((cap) >> 24 & 0x3ff) * 16)
#define VTD_CAP_SL2M       (1ull << 34)
#define VTD_CAP_SL1G       (1ull << 35)
#define VTD_CAP_NFR(cap)   ((unsigned)((cap) >> 40 & 0xff) + 1)

/* "Extended Capability Register". */
#define VTD_ECAP_C         (1ull << 0)
#define VTD_ECAP_QI        (1ull << 1)
#define VTD_ECAP_IR        (1ull << 3)
#define VTD_ECAP_EIM       (1ull << 4)
#define VTD_ECAP_SC        (1ull << 7)
#define VTD_ECAP_IRO(ecap) ((unsigned)((ecap) >> 8 & 0x3ff) * 16)

/* "Interrupt Remapping Table": entries for all that the guests of eight devices can ask for. */
enum { VTD_INTERRUPTS = 1024, VTD_INTERRUPTS_SIZE = 16 * VTD_INTERRUPTS };

struct vtd_unit {
    const struct iommu_machine *machine;
    const struct dmar_unit *dmar;
    volatile char *registers;
    uint64_t cap, ecap;
    uint8_t number;
    bool on;     /* all DMA is translated, and invalidations work */
    bool queued; /* by the queue, else by registers */
    bool remaps; /* interrupts */
    bool x2apic; /* those go to 32-bit APIC IDs */
    struct lock lock;
    uint64_t *root;            /* "Root Table": 2 words an entry */
    uint64_t *queue;           /* "Invalidation Queue": the same */
    volatile uint64_t *status; /* what a wait descriptor writes */
    hpa_t status_hpa;
    unsigned tail;       /* entry of the queue that is next */
    uint64_t *remapping; /* "Interrupt Remapping Table": the same */
    unsigned claimed;
};

/* --- drivers/vtd_unit.c ----------------------------------------------------------------------- */

/*
 * Turns on the unit: all DMA is blocked; with REMAPS interrupts are remapped where it can, those
 * of compatibility format blocked. STATUS: 8 bytes in a table page that are this unit's alone. Of
 * U, machine, dmar and number are set. Returns 0, -ENODEV, -ENOMEM or -EIO, logged.
 */
int vtd_unit_start(struct vtd_unit *u, bool remaps, volatile uint64_t *status, hpa_t status_hpa);

/* Writes back what the unit reads by itself, where its reads do not snoop. */
void vtd_flush(const struct vtd_unit *u, const volatile void *at, size_t n);

/*
 * Each forgets what the unit has cached, and waits until what was under way by that is done: all
 * contexts and translations; a domain's translations; entry INDEX of interrupts. Where a unit that
 * is on does not do it in time, the machine is stopped.
 */
bool vtd_forget_all(struct vtd_unit *u);
bool vtd_forget_domain(struct vtd_unit *u, uint16_t id);
bool vtd_forget_interrupt(struct vtd_unit *u, unsigned index);

/* What is present where nothing was: units that cache that, or whose writes wait, are told. */
void vtd_tell_of_more(struct vtd_unit *u, uint16_t id);

/* Logs and clears what faults are recorded. Returns how many. */
unsigned vtd_unit_faults(struct vtd_unit *u);

/* --- drivers/vtd_interrupts.c: ops of an unit's interrupts ------------------------------------ */

int vtd_claim_in(struct vtd_unit *u);
void vtd_set_interrupt(struct vtd_unit *u, struct pci_bdf requester, unsigned index,
                       const struct iommu_interrupt *interrupt);
struct iommu_message vtd_message(unsigned index, const struct iommu_interrupt *interrupt);
