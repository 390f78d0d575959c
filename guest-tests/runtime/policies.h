/*
 * Whose rules memory types can follow, as a guest knows them: what each system makes of memory, by
 * what is published of it, and the hypercall that changes them.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "guest-tests/runtime/memtypes.h"

/* By enum policy_number. */
extern const char *const policy_names[POLICIES];

/* The type of a leaf. */
enum ram_rule {
    RAM_WB,
    RAM_GUEST,       /* the guest's MTRRs */
    RAM_GUEST_NO_WP, /* the same, but UC for WP */
    RAM_KVM_2008,    /* the same, but with E = 0 and FE = 0 WB, and with E = 0 the default type */
    RAM_LOW,         /* below 1 MiB fixed ranges, or the default type where they are off; else WB */
};

/* The PAT in force. */
enum pat_rule { PAT_GUEST, PAT_WB, PAT_UC_WITHOUT_E };

/* What CR0.CD = 1 does. */
enum cd_rule {
    CD_NOTHING,
    CD_UNKNOWN, /* nothing; nothing is published */
    CD_CPU,     /* it acts in the CPU */
    CD_VIEW,    /* leaves are UC and ignore the PAT */
    CD_WB_IPAT, /* leaves are WB and ignore the PAT */
    CD_WB,      /* leaves are WB and the PAT counts */
    CD_PAT_UC,  /* the PAT in force is all UC */
};

struct rules {
    uint8_t policy; /* enum policy_number */
    bool intel;     /* for EPT, else for NPT */
    bool noncoherent;
    uint8_t ram, ipat, pat, cd; /* enums as above */
};

/* All of them; those of one policy are together. */
extern const struct rules all_rules[];
extern const unsigned rules_count;

/* The rules of a policy on this CPU, or NULL. */
const struct rules *rules_of(unsigned policy, bool noncoherent);

/* What memory is by RULES: types as in a PAT. */
struct memory_is {
    unsigned leaf, ipat;
    unsigned effective;
    bool by_cd; /* CR0.CD decides: it acts in the CPU, or by leaves of its own */
};
struct memory_is memory_by(const struct rules *rules, const struct mtrrs *mtrrs, bool cd,
                           uint64_t at, unsigned pat);

/* The PAT type that counts where the guest's is PAT. */
unsigned pat_by(const struct rules *rules, const struct mtrrs *mtrrs, bool cd, unsigned pat);

/* The hypercall, which changes the policy or, with POLICY_ASK, tells its number. */
#define POLICY_ASK (~0ull)
int64_t policy_call(uint64_t policy, uint64_t flags);
