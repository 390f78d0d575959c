/*
 * Walks a guest's page tables in software, in every paging mode, as the manuals say the CPU does.
 * Pure: guest memory is reached through callbacks. SDM, "Paging"; APM, "Page Translation and
 * Protection".
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/x86.h"
#include "mm/types.h"

/* The state that translation depends on; what does not apply in the current mode is ignored. */
struct walk_state {
    uint64_t cr0, cr3, cr4, efer, rflags;
    uint64_t pdpte[4]; /* PAE paging: the four PDPTEs that the CPU holds, where pdpte_valid */
    bool pdpte_valid;  /* false: PAE PDPTEs are read from memory, as under nested paging (APM) */
    uint64_t pat;      /* the guest's IA32_PAT */
    uint8_t cpl;
    uint8_t phys_bits;  /* the guest's MAXPHYADDR, 32 to 52 */
    bool has_1g;        /* the guest's CPUID says 1 GiB pages */
    bool reserves_bit8; /* of entries of PML4 and PML5 (APM); else it is ignored (SDM) */
};

/* One or more of the first three; the others go with them. */
enum walk_access {
    WALK_READ = 1,
    WALK_WRITE = 2,
    WALK_FETCH = 4,
    WALK_SYSTEM = 8, /* implicit supervisor access (descriptor tables, TSS) whatever the CPL */
    WALK_PEEK = 16,  /* sets no accessed and dirty bits */
};

/* Guest memory for the walker. Both return 0, or -EIO where no memory is; the walk then ends. */
struct walk_memory {
    /* Reads WIDTH (4 or 8) bytes at an aligned GPA through memory type TYPE, at once. */
    int (*read)(void *context, gpa_t gpa, unsigned width, enum memtype type, uint64_t *value);
    /* Atomically ORs BITS into the entry if it still is OLD; -EEXIST: it changed, walk again. */
    int (*set_bits)(void *context, gpa_t gpa, unsigned width, enum memtype type, uint64_t old,
                    uint64_t bits);
    void *context;
};

/* Valid after success, but for the last two. */
struct walk_result {
    gpa_t gpa;        /* of the byte asked for */
    uint64_t page;    /* size of the page: 4 KiB, 2 MiB, 4 MiB, 1 GiB; 4 KiB with paging off */
    uint8_t pat_type; /* enum memtype from the leaf's PAT index; MT_WB with paging off */
    uint8_t levels;   /* table entries read from memory */
    bool writable, user, executable; /* what the entries allow, before CPL, WP, SMEP, SMAP */
    uint32_t error;                  /* with -EFAULT: the error code of the #PF */
    gpa_t at;                        /* with -EIO: the entry that could not be read or changed */
};

/* With paging off: the address itself, through WB. */
static inline void walk_unpaged(gva_t address, struct walk_result *out)
{
    *out = (struct walk_result){.gpa = {(uint32_t)address.v},
                                .page = PAGE_SIZE,
                                .pat_type = MT_WB,
                                .writable = true,
                                .user = true,
                                .executable = true};
}

/* guest_walk() with CR0.PG set. */
int guest_walk_paged(const struct walk_state *state, const struct walk_memory *memory,
                     gva_t address, unsigned access, struct walk_result *out);

/*
 * Translates ADDRESS for ACCESS; outside long mode its upper 32 bits are ignored. Sets accessed and
 * dirty bits only where the whole walk succeeds, as the access would. Returns 0; -EFAULT (#PF with
 * OUT->error); -EINVAL (#GP or #SS: not canonical; the caller checks segments); -EIO (an entry lies
 * where no memory is, or others keep changing it). (SDM, "Paging"; APM, "Page Translation and
 * Protection"; table reads: SDM, "Paging and Memory Typing When the PAT is Supported".)
 */
static inline int guest_walk(const struct walk_state *state, const struct walk_memory *memory,
                             gva_t address, unsigned access, struct walk_result *out)
{
    if ((state->cr0 & CR0_PG) != 0)
        return guest_walk_paged(state, memory, address, access, out);
    walk_unpaged(address, out);
    return 0;
}
