/* The manuals' tables and rules of memory types, as guests know them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/memtypes.h"

#include "guest-tests/runtime/machine.h"
#include "lib/x86.h"

const uint8_t mtrr_types[TYPES] = {MT_UC, MT_WC, MT_WT, MT_WP, MT_WB};
const uint8_t pat_types[PATS] = {MT_UC, MT_UC_MINUS, MT_WC, MT_WT, MT_WP, MT_WB};
const uint32_t fixed_msrs[FIXED] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                    0x26b, 0x26c, 0x26d, 0x26e, 0x26f};

/* SDM, "Effective Page-Level Memory Types for Pentium III and More Recent Processor Families". */
static const uint8_t intel[TYPES][PATS] = {
    /*        UC  UC- WC  WT  WP  WB */
    /* UC */ {UC, UC, WC, UC, UC, UC},
    /* WC */ {UC, WC, WC, UC, UC, WC},
    /* WT */ {UC, UC, WC, WT, WP, WT},
    /* WP */ {UC, WC, WC, WT, WP, WP},
    /* WB */ {UC, UC, WC, WT, WP, WB},
};

/* APM, "Combined Effect of MTRRs and PAT". */
static const uint8_t amd[TYPES][PATS] = {
    /*        UC  UC- WC  WT  WP  WB */
    /* UC */ {UC, UC, WC, UC, UC, UC},
    /* WC */ {CD, WC, WC, CD, CD, WC},
    /* WT */ {CD, CD, WC, WT, CD, WT},
    /* WP */ {CD, CD, WC, CD, WP, WP},
    /* WB */ {CD, CD, WC, WT, WP, WB},
};

bool snoops_more(unsigned mtrr, unsigned pat)
{
    bool uncached = mtrr_types[mtrr] == MT_UC && pat_types[pat] != MT_WC;
    bool combining = mtrr_types[mtrr] >= MT_WT && pat_types[pat] == MT_WC;
    return uncached || combining;
}

unsigned native(unsigned mtrr, unsigned pat)
{
    return machine.intel ? intel[mtrr][pat] : amd[mtrr][pat];
}

unsigned expected(unsigned mtrr, unsigned pat)
{
    unsigned type = native(mtrr, pat);
    if (machine.intel || !snoops_more(mtrr, pat))
        return type;
    return type == UC ? CD : WCP;
}

const char *type_name(unsigned effective)
{
    static const char *const names[] = {"UC", "CD", "WC", "WC+", "WT", "WP", "WB", "?"};
    return names[effective < 7 ? effective : 7];
}

const char *encoded_name(unsigned type)
{
    static const char *const names[] = {[MT_UC] = "UC", [MT_WC] = "WC", [MT_WT] = "WT",
                                        [MT_WP] = "WP", [MT_WB] = "WB", [MT_UC_MINUS] = "UC-"};
    return names[type];
}

unsigned index_of(const uint8_t *types, unsigned count, unsigned type)
{
    unsigned i = 0;
    while (i < count && types[i] != type)
        i++;
    return i;
}

uint64_t address_mask(void)
{
    return ((1ull << physical_bits()) - 1) & ~(PAGE_SIZE - 1);
}

uint64_t *mtrrs_at(struct mtrrs *mtrrs, unsigned index, uint32_t *msr)
{
    if (index < 2 * PAIRS) {
        *msr = MSR_MTRR_PHYSBASE0 + index;
        return &mtrrs->pair[index];
    }
    if (index < 2 * PAIRS + FIXED) {
        *msr = fixed_msrs[index - 2 * PAIRS];
        return &mtrrs->fixed[index - 2 * PAIRS];
    }
    *msr = MSR_MTRR_DEF_TYPE;
    return &mtrrs->def_type;
}

void mtrrs_read(struct mtrrs *mtrrs)
{
    for (unsigned i = 0; i < MTRRS; i++) {
        uint32_t msr;
        uint64_t *at = mtrrs_at(mtrrs, i, &msr);
        *at = rdmsr(msr);
    }
}

void mtrrs_write(const struct mtrrs *mtrrs)
{
    struct mtrrs copy = *mtrrs;
    for (unsigned i = 0; i < MTRRS; i++) {
        uint32_t msr;
        const uint64_t *at = mtrrs_at(&copy, i, &msr);
        wrmsr(msr, *at);
    }
}

/* SDM, "MTRR Considerations in MP Systems": MTRRs are written while they and the caches are off. */
void mtrrs_update(const struct mtrrs *values)
{
    uint64_t cr0 = read_cr0(), def_type = rdmsr(MSR_MTRR_DEF_TYPE);
    write_cr0((cr0 & ~(uint64_t)CR0_NW) | CR0_CD);
    wbinvd();
    write_cr3(read_cr3());
    wrmsr(MSR_MTRR_DEF_TYPE, def_type & ~(uint64_t)DEF_E);
    for (uint32_t i = 0; i < 2 * PAIRS; i++)
        wrmsr(MSR_MTRR_PHYSBASE0 + i, values->pair[i]);
    for (unsigned i = 0; i < FIXED; i++)
        wrmsr(fixed_msrs[i], values->fixed[i]);
    wbinvd();
    write_cr3(read_cr3());
    wrmsr(MSR_MTRR_DEF_TYPE, values->def_type);
    write_cr0(cr0);
}

/* SDM, "Address Mapping for Fixed-Range MTRRs": 8 ranges a register, of 64, 16 and 4 KiB. */
static unsigned fixed_type(const struct mtrrs *mtrrs, uint64_t at)
{
    unsigned range = at < 0x80000   ? (unsigned)(at >> 16)
                     : at < 0xc0000 ? 8 + (unsigned)((at - 0x80000) >> 14)
                                    : 24 + (unsigned)((at - 0xc0000) >> 12);
    return mtrrs->fixed[range / 8] >> 8 * (range % 8) & 0xff;
}

/* SDM, "MTRR Precedences"; rules as the oracle numbers them. */
static unsigned precedence(const unsigned count[8], unsigned all, unsigned *rule)
{
    for (unsigned type = 0; type < 8; type++)
        if (count[type] == all) {
            *rule = 2;
            return type;
        }
    *rule = 5;
    if (count[MT_UC] != 0)
        *rule = 3;
    else if (count[MT_WT] + count[MT_WB] == all)
        *rule = 4;
    return *rule == 4 ? MT_WT : MT_UC;
}

unsigned mtrrs_type(const struct mtrrs *mtrrs, uint64_t at, unsigned *rule)
{
    unsigned count[8] = {0}, all = 0;
    *rule = 0;
    if ((mtrrs->def_type & DEF_E) == 0)
        return MT_UC;
    *rule = 1;
    if ((mtrrs->def_type & DEF_FE) != 0 && at < MIB)
        return fixed_type(mtrrs, at);
    for (unsigned i = 0; i < PAIRS; i++) {
        uint64_t base = mtrrs->pair[2 * i], mask = mtrrs->pair[2 * i + 1];
        if ((mask & MASK_V) != 0 && ((base ^ at) & mask & address_mask()) == 0) {
            count[base & 7]++;
            all++;
        }
    }
    *rule = 6;
    return all == 0 ? mtrrs->def_type & 7 : precedence(count, all, rule);
}

int64_t oracle_ask(uint64_t number, uint64_t where, uint64_t what, struct type_answer *answer)
{
    int64_t result = (int64_t)number;
    *answer = (struct type_answer){.effective = 0xff};
    if (machine.intel)
        __asm__ volatile("vmcall" : "+a"(result) : "b"(where), "c"(answer), "d"(what) : "memory");
    else
        __asm__ volatile("vmmcall" : "+a"(result) : "b"(where), "c"(answer), "d"(what) : "memory");
    return result;
}
