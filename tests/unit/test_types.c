/* Effective memory types against every cell of the manuals' tables. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "svm/types.h"
#include "tests/unit/golden.h"
#include "vmx/types.h"

static void expect_effective(enum effective got, const char *want)
{
    assert_string_equal(effective_name(got), want);
}

static struct pt_attr leaf(enum memtype type, bool ipat)
{
    return (struct pt_attr){.perm = PT_R, .type = (uint8_t)type, .ipat = ipat};
}

static void check_intel(const struct golden_row *row)
{
    enum memtype mtrr = golden_type(row->cell[0]), pat = golden_type(row->cell[2]);
    assert_int_equal(mtrr, strtoul(row->cell[1], NULL, 10));
    assert_int_equal(pat, strtoul(row->cell[3], NULL, 10));
    expect_effective(vmx_type_rules.native(mtrr, pat), row->cell[4]);
    for (unsigned host = 0; host < MT_UC_MINUS; host++)
        expect_effective(vmx_type_rules.nested(leaf(mtrr, false), pat, (enum memtype)host),
                         row->cell[4]);
}

static void check_ipat(const struct golden_row *row)
{
    static const enum memtype all[] = {MT_UC, MT_WC, MT_WT, MT_WP, MT_WB, MT_UC_MINUS};
    if (row->cell[0][0] == '*') {
        expect_effective(vmx_type_rules.cd, row->cell[2]);
        return;
    }
    if (strchr(row->cell[0], '|') != NULL) /* illegal types: a misconfiguration, no leaf */
        return;
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
        expect_effective(
            vmx_type_rules.nested(leaf(golden_type(row->cell[0]), true), all[i], MT_UC),
            row->cell[2]);
}

static void test_intel(void **state)
{
    (void)state;
    assert_int_equal(golden_each("intel_mtrr_or_ept_x_pat", check_intel), 30);
    assert_int_equal(golden_each("intel_ept_ipat1", check_ipat), 7);
}

static void check_amd_native(const struct golden_row *row)
{
    expect_effective(svm_type_rules.native(golden_type(row->cell[1]), golden_type(row->cell[0])),
                     row->cell[2]);
}

static const char *combined_name(enum combined_pat pat)
{
    static const char *const names[] = {"UC", "WC", "", "", "WT", "WP", "WB", "UC-", "WC+"};
    return names[pat];
}

static void check_pats(const struct golden_row *row)
{
    enum combined_pat got = svm_combine_pats(golden_type(row->cell[0]), golden_type(row->cell[1]));
    assert_string_equal(combined_name(got), row->cell[2]);
}

static enum combined_pat combined(const char *name)
{
    return strcmp(name, "WC+") == 0 ? COMBINED_WC_PLUS : (enum combined_pat)golden_type(name);
}

static void check_mtrr(const struct golden_row *row)
{
    expect_effective(svm_combine_mtrr(combined(row->cell[0]), golden_type(row->cell[1])),
                     row->cell[2]);
}

static void check_nested(const struct golden_row *row)
{
    enum memtype guest = golden_type(row->cell[0]), nested = golden_type(row->cell[1]);
    assert_string_equal(combined_name(svm_combine_pats(guest, nested)), row->cell[3]);
    expect_effective(svm_type_rules.nested(leaf(nested, false), guest, golden_type(row->cell[2])),
                     row->cell[4]);
}

static void test_amd(void **state)
{
    (void)state;
    assert_int_equal(golden_each("amd_native_mtrr_x_pat", check_amd_native), 30);
    assert_int_equal(golden_each("amd_guest_pat_x_host_pat", check_pats), 36);
    assert_int_equal(golden_each("amd_combined_pat_x_host_mtrr", check_mtrr), 35);
    assert_int_equal(golden_each("amd_nested_full", check_nested), 180);
    expect_effective(svm_type_rules.cd, "CD");
}

static unsigned exact, same_class;

/* Nested PAT type := guest MTRR type: what bare metal would give, or the same class. */
static void check_emulation(const struct golden_row *row)
{
    enum memtype mtrr = golden_type(row->cell[0]), pat = golden_type(row->cell[1]);
    enum effective native = svm_type_rules.native(mtrr, pat);
    enum effective nested =
        svm_type_rules.nested(leaf(mtrr, false), pat, golden_type(row->cell[2]));
    expect_effective(native, row->cell[3]);
    expect_effective(nested, row->cell[4]);
    bool same = effective_class(native) == effective_class(nested);
    assert_string_equal(native == nested ? "exact"
                        : same           ? "same-class"
                                         : "DIFFERENT",
                        row->cell[5]);
    if (strcmp(row->cell[2], "WB") != 0)
        return;
    exact += native == nested;
    same_class += native != nested && same;
}

/* Of 30 pairs over RAM that the host has as WB 22 are exact, and 8 of the same class. */
static void test_emulation(void **state)
{
    (void)state;
    exact = same_class = 0;
    assert_int_equal(golden_each("amd_npt_guest_mtrr_emulation", check_emulation), 150);
    assert_int_equal(exact, 22);
    assert_int_equal(same_class, 8);
}

static void check_vendors(const struct golden_row *row)
{
    enum memtype mtrr = golden_type(row->cell[0]), pat = golden_type(row->cell[1]);
    enum effective intel = vmx_type_rules.native(mtrr, pat);
    enum effective amd = svm_type_rules.native(mtrr, pat);
    expect_effective(intel, row->cell[2]);
    expect_effective(amd, row->cell[3]);
    bool same = effective_class(intel) == effective_class(amd);
    assert_string_equal(intel == amd ? "same" : same ? "same-class" : "DIFFERENT", row->cell[4]);
}

static void test_vendors(void **state)
{
    (void)state;
    assert_int_equal(golden_each("intel_vs_amd_native", check_vendors), 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_intel),
        cmocka_unit_test(test_amd),
        cmocka_unit_test(test_emulation),
        cmocka_unit_test(test_vendors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
