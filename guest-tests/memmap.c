/*
 * A map to look at: MTRRs with something of everything, and the map of the memory in the log with
 * E = 1, with E = 0 and with CR0.CD = 1. tools/memmap draws it. `many=yes`: more ranges than the
 * log takes.
 *
 * row: memmap end=0 set=policy=exact set=control=yes control=skip control-reason="no map"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/memtypes.h"
#include "lib/x86.h"

#define EACH(type) (0x0101010101010101ull * (type))

/* UC for the screen, ROM in WP, and something of all else. */
static void set_fixed(struct mtrrs *m)
{
    static const uint8_t types[FIXED] = {MT_WB, MT_WB, MT_UC, MT_WP, MT_WT, MT_WB,
                                         MT_UC, MT_WC, MT_WB, MT_WP, MT_WP};
    for (unsigned i = 0; i < FIXED; i++)
        m->fixed[i] = EACH(types[i]);
}

static void set_range(struct mtrrs *m, unsigned pair, uint64_t base, uint64_t size, unsigned type)
{
    m->pair[2 * pair] = base | type;
    m->pair[2 * pair + 1] = (address_mask() & ~(size - 1)) | MASK_V;
}

static void set_all(struct mtrrs *m)
{
    set_range(m, 0, 3 * GIB, GIB, MT_UC);        /* the hole for devices */
    set_range(m, 1, 16 * MIB, 4 * MIB, MT_WC);   /* whole large pages */
    set_range(m, 2, 24 * MIB, 64 * KIB, MT_UC);  /* pages inside one */
    set_range(m, 3, 32 * MIB, 8 * MIB, MT_WT);   /* */
    set_range(m, 4, 36 * MIB, 4 * MIB, MT_WB);   /* WT and WB: WT */
    set_range(m, 5, 44 * MIB, MIB, MT_WP);       /* half a large page */
    set_range(m, 6, 48 * MIB, 8 * MIB, MT_UC);   /* */
    set_range(m, 7, 52 * MIB, 256 * KIB, MT_WC); /* UC wins */
    set_fixed(m);
}

/* Every other page from 32 MiB to 64 MiB is WC. */
static void set_many(struct mtrrs *m)
{
    m->pair[0] = 32 * MIB | MT_WC;
    m->pair[1] = (address_mask() & ~(32 * MIB - 1)) | PAGE_SIZE | MASK_V;
}

static void log_map(void)
{
    int64_t result = hypercall(HYPERCALL_LOG_MAP);
    expect(result == 0, "result %ld", result);
}

static void enabled(void)
{
    struct mtrrs m;
    mtrrs_read(&m);
    m.def_type = DEF_E | DEF_FE | MT_WB;
    if (cmdline_has("many", "yes"))
        set_many(&m);
    else
        set_all(&m);
    mtrrs_write(&m);
    log_map();
}

static void disabled(void)
{
    wrmsr(MSR_MTRR_DEF_TYPE, MT_WB);
    log_map();
    wrmsr(MSR_MTRR_DEF_TYPE, DEF_E | DEF_FE | MT_WB);
}

static void cache_disabled(void)
{
    uint64_t cr0 = read_cr0();
    write_cr0(cr0 | CR0_CD);
    log_map();
    write_cr0(cr0);
}

static const struct test_case cases[] = {
    {"the map by the MTRRs", NULL, enabled},
    {"the map with E = 0", NULL, disabled},
    {"the map with CR0.CD = 1", NULL, cache_disabled},
};

void test_main(void)
{
    ktap_all(cases, ARRAY_SIZE(cases));
}
