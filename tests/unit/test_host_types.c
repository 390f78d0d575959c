/*
 * The machine's own memory types: reading MTRRs, the firmware's mistakes, and what guests may have.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/errno.h"
#include "lib/x86.h"
#include "mm/host_types.h"
#include "tests/unit/host.h"

/* --- MSRs ------------------------------------------------------------------------------------- */

static struct {
    uint32_t msr;
    uint64_t value;
} msrs[64];
static unsigned msr_count;

static void set_msr(uint32_t msr, uint64_t value)
{
    for (unsigned i = 0; i < msr_count; i++)
        if (msrs[i].msr == msr) {
            msrs[i].value = value;
            return;
        }
    msrs[msr_count].msr = msr;
    msrs[msr_count++].value = value;
}

static bool read_msr(uint32_t msr, uint64_t *value)
{
    for (unsigned i = 0; i < msr_count; i++)
        if (msrs[i].msr == msr) {
            *value = msrs[i].value;
            return true;
        }
    return false;
}

static unsigned writes;

/* The first write turns MTRRs off; until the last one they stay so. */
static void write_msr(uint32_t msr, uint64_t value)
{
    uint64_t def_type;
    assert_true(read_msr(msr, &def_type) && msr != 0xfe);
    read_msr(0x2ff, &def_type);
    assert_true((msr == 0x2ff && writes == 0) || (def_type & 0x800) == 0);
    writes++;
    set_msr(msr, value);
}

/* As firmware leaves it: default WB, UC from 3 to 4 GiB, fixed ranges WB but for A0000-BFFFF. */
static void usual(void)
{
    msr_count = 0;
    set_msr(0xfe, 0x508);
    set_msr(0x2ff, 0xc06);
    for (uint32_t i = 0; i < 16; i++)
        set_msr(0x200 + i, 0);
    set_msr(0x200, 0xc0000000);
    set_msr(0x201, 0xffc0000800);
    set_msr(0x250, 0x0606060606060606);
    for (uint32_t i = 0; i < 2; i++)
        set_msr(0x258 + i, i == 0 ? 0x0606060606060606 : 0);
    for (uint32_t i = 0; i < 8; i++)
        set_msr(0x268 + i, 0x0606060606060606);
}

static struct memmap map;

static void ram(uint64_t start, uint64_t end)
{
    map.r[map.count++] = (struct mem_range){start, end, MEM_RAM, 0};
}

static const char *judged(void)
{
    struct mtrr_state state;
    host_log_reset();
    uint64_t syscfg = host_types_read(read_msr, 40, &state);
    host_types_judge(&state, syscfg, &map);
    return host_log;
}

static void test_usual(void **unused)
{
    struct mtrr_state state;
    (void)unused;
    usual();
    host_types_read(read_msr, 40, &state);
    assert_int_equal(mtrr_type(&state, MIB).type, MT_WB);
    assert_int_equal(mtrr_type(&state, 0xa0000).type, MT_UC);
    assert_int_equal(mtrr_type(&state, 0xd0000000).type, MT_UC);
    map.count = 0;
    ram(MIB, 0xc0000000);
    ram(4 * GIB, 8 * GIB);
    assert_string_equal(judged(), "");
    msr_count = 0;
    assert_int_equal(host_types_read(read_msr, 40, &state), 0);
    assert_int_equal(mtrr_type(&state, MIB).type, MT_UC);
}

/* SMRRs (1F2h, 1F3h) look like a pair of MTRRs and are none. */
static void test_smrr(void **unused)
{
    struct mtrr_state state;
    (void)unused;
    usual();
    set_msr(0x1f2, 0x40000000 | MT_UC);
    set_msr(0x1f3, 0xff000800);
    host_types_read(read_msr, 40, &state);
    assert_int_equal(mtrr_type(&state, 0x40000000).type, MT_WB);
}

/* APM, "System Configuration Register (SYSCFG)": Tom2ForceMemTypeWB counts with MtrrTom2En. */
static void test_top_mem2(void **unused)
{
    struct mtrr_state state;
    (void)unused;
    usual();
    set_msr(0x2ff, 0xc00);
    set_msr(0xc001001d, 0x240000000);
    static const struct {
        uint64_t syscfg;
        unsigned type;
    } rows[] = {{0, MT_UC}, {1 << 22, MT_UC}, {1 << 21, MT_UC}, {3 << 21, MT_WB}};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        set_msr(0xc0010010, rows[i].syscfg);
        host_types_read(read_msr, 40, &state);
        assert_int_equal(mtrr_type(&state, 4 * GIB).type, rows[i].type);
        assert_int_equal(mtrr_type(&state, 0x23fffffff).type, rows[i].type);
        assert_int_equal(mtrr_type(&state, 0x240000000).type, MT_UC);
        assert_int_equal(mtrr_type(&state, 0x7fffffff).type, MT_UC);
    }
    set_msr(0xc001001d, 0x80000000); /* nothing below 4 GiB is typed by it */
    host_types_read(read_msr, 40, &state);
    assert_int_equal(mtrr_type(&state, MIB).type, MT_UC);
    set_msr(0xc001001d, 0x240000000);
    set_msr(0x202, 4 * GIB | MT_WT); /* a variable range overrides it */
    set_msr(0x203, 0xff00000800);
    host_types_read(read_msr, 40, &state);
    assert_int_equal(mtrr_type(&state, 4 * GIB).type, MT_WT);
}

static void test_warnings(void **unused)
{
    (void)unused;
    usual();
    map.count = 0;
    ram(MIB, 0xc1000000);
    assert_string_equal(judged(), "host MTRR: RAM 0xc0000000-0xc1000000 is UC, not WB; mend the "
                                  "firmware's set-up\n");
    usual();
    set_msr(0x202, 0x40000000 | MT_WC);
    set_msr(0x203, 0xfff0000800);
    set_msr(0x204, 0x40000000 | MT_WP);
    set_msr(0x205, 0xfff8000800);
    map.r[0].end = 0x80000000;
    assert_string_equal(
        judged(), "host MTRR: RAM 0x40000000-0x48000000: ranges overlap in a way that the manuals "
                  "leave undefined; mend the firmware's set-up\n"
                  "host MTRR: RAM 0x48000000-0x50000000 is WC, not WB; mend the firmware's "
                  "set-up\n");
    usual();
    set_msr(0x2ff, 6);
    assert_string_equal(judged(), "host MTRR: disabled: all memory is UC; mend the firmware's "
                                  "set-up\n");
    usual();
    set_msr(0xc0010010, 1 << 19);
    assert_string_equal(judged(), "host MTRR: SYSCFG.MtrrFixDramModEn is open; mend the "
                                  "firmware's set-up\n");
}

static void test_bars(void **unused)
{
    struct mtrr_state state;
    (void)unused;
    usual();
    host_types_read(read_msr, 40, &state);
    host_log_reset();
    host_types_judge_bar(&state, 0xfebf0000, "00:02.0");
    assert_string_equal(host_log, "");
    host_types_judge_bar(&state, 0xa0000000, "00:03.0");
    assert_string_equal(host_log, "host MTRR: registers of 00:03.0 at 0xa0000000 are WB; mend the "
                                  "firmware's set-up\n");
}

static void test_keep_wb(void **unused)
{
    static struct extents pool;
    struct mtrr_state state;
    (void)unused;
    usual();
    set_msr(0x202, 0x40000000 | MT_WC);
    set_msr(0x203, 0xfff0000800);
    host_types_read(read_msr, 40, &state);
    map.count = 0;
    ram(MIB, 0xc1000000);
    ram(4 * GIB, 5 * GIB);
    assert_int_equal(extents_init(&pool, &map, MIB), 0);
    assert_int_equal(host_types_keep_wb(&state, &pool), 0);
    assert_int_equal(pool.count, 3);
    assert_int_equal(pool.r[0].start, MIB);
    assert_int_equal(pool.r[0].end, 0x40000000);
    assert_int_equal(pool.r[1].start, 0x50000000);
    assert_int_equal(pool.r[1].end, 0xc0000000);
    assert_int_equal(pool.r[2].start, 4 * GIB);
    assert_int_equal(pool.r[2].end, 5 * GIB);
    set_msr(0x205, PAGE_SIZE | 0x800); /* every second page UC: refused, in bounded time */
    host_types_read(read_msr, 40, &state);
    host_log_reset();
    assert_int_equal(extents_init(&pool, &map, MIB), 0);
    assert_int_equal(host_types_keep_wb(&state, &pool), -E2BIG);
    assert_non_null(strstr(host_log, "too many pieces"));
    host_types_judge(&state, 0, &map);
}

/* What another CPU got is what it reads then; while it is changed nothing is cached. */
static void test_write(void **unused)
{
    struct mtrr_state state, other;
    (void)unused;
    usual();
    host_types_read(read_msr, 40, &state);
    assert_true(host_types_equal(&state, &state));
    set_msr(0x2ff, 0);
    set_msr(0x201, 0);
    set_msr(0x268, 0);
    host_types_read(read_msr, 40, &other);
    assert_false(host_types_equal(&state, &other));
    writes = 0;
    host_types_write(write_msr, &state);
    host_types_read(read_msr, 40, &other);
    assert_true(host_types_equal(&state, &other));
    assert_int_equal(writes, 2 + 16 + 11);
    set_msr(0x206, 0x1000);
    host_types_read(read_msr, 40, &other);
    assert_false(host_types_equal(&state, &other));
    set_msr(0xfe, 0x507); /* one pair less */
    host_types_read(read_msr, 40, &other);
    assert_false(host_types_equal(&state, &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usual),    cmocka_unit_test(test_smrr),
        cmocka_unit_test(test_top_mem2), cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_bars),     cmocka_unit_test(test_keep_wb),
        cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
