/*
 * Every rule of every preset, by tests/policies.csv: written by hand from what is known of these
 * systems (tests/golden/policies_of_others.csv), whose cells its rows name.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/errno.h"
#include "mm/mtrr.h"
#include "tests/unit/golden.h"
#include "vmm/typing/policy.h"

#define TABLE  "tests/policies.csv"
#define OTHERS "tests/golden/policies_of_others.csv"

enum column {
    PRESET,
    BACKEND,
    NONCOHERENT,
    E,
    FE,
    GUEST,
    HOST,
    FIXED,
    DEFAULT,
    CD,
    MMIO,
    LEAF,
    IPAT,
    PAT,
    ACTS,
    REPORTED,
    CELL,
    STATUS
};

static const struct policy_means ept = {.has_ipat = true}, npt = {.owns_cr0_cd = true};

static struct vm_config config;

static const struct policy_means *means_of(const char *backend)
{
    assert_true(strcmp(backend, "EPT") == 0 || strcmp(backend, "NPT") == 0);
    return strcmp(backend, "EPT") == 0 ? &ept : &npt;
}

static bool flag(const struct golden_row *row, enum column column)
{
    const char *cell = row->cell[column];
    assert_true(strcmp(cell, "0") == 0 || strcmp(cell, "1") == 0);
    return cell[0] == '1';
}

static void resolve(const char *preset, const struct policy_means *means, bool noncoherent,
                    struct policy *policy)
{
    memset(&config, 0, sizeof(config));
    strcpy(config.name, "test");
    strcpy(config.policy, preset);
    assert_int_equal(policy_resolve(&config, means, noncoherent, policy), 0);
}

/* --- the table -------------------------------------------------------------------------------- */

static struct policy_page page_of(const struct golden_row *row)
{
    struct policy_page page = {.guest = (uint8_t)golden_type(row->cell[GUEST]),
                               .host = (uint8_t)golden_type(row->cell[HOST]),
                               .low = row->cell[FIXED][0] != '-',
                               .mmio = flag(row, MMIO)};
    page.def_type = (uint16_t)((flag(row, E) ? MTRR_DEF_E : 0) | (flag(row, FE) ? MTRR_DEF_FE : 0) |
                               golden_type(row->cell[DEFAULT]));
    if (page.low)
        page.fixed = (uint8_t)golden_type(row->cell[FIXED]);
    return page;
}

static uint64_t pat_of(const struct golden_row *row, uint64_t guests)
{
    const char *cell = row->cell[PAT];
    if (cell[0] == '-')
        return guests;
    assert_true(strcmp(cell, "uc") == 0 || strcmp(cell, "wb") == 0);
    return cell[0] == 'u' ? 0 : 0x0606060606060606;
}

static unsigned line, asserted, skipped;

static void check_row(const struct golden_row *row)
{
    const uint64_t pat = 0x0007040600070406;
    struct policy policy;
    bool enabled = flag(row, E), cd = flag(row, CD);
    line++;
    if (strncmp(row->cell[STATUS], "skip: ", 6) == 0) {
        skipped++;
        return;
    }
    asserted++;
    resolve(row->cell[PRESET], means_of(row->cell[BACKEND]), flag(row, NONCOHERENT), &policy);
    struct policy_page page = page_of(row);
    struct pt_attr leaf = policy_leaf(&policy, policy_view(&policy, enabled, cd), &page);
    uint64_t want = pat_of(row, pat);
    if (leaf.type != golden_type(row->cell[LEAF]) || leaf.ipat != flag(row, IPAT) ||
        policy_pat(&policy, enabled, cd, pat) != want ||
        policy_cd_acts(&policy, cd) != flag(row, ACTS) || policy.report != KNOB_REPORT_STORED ||
        strcmp(row->cell[REPORTED], "stored") != 0)
        fail_msg("line %u, %s: %s: leaf type %u, ipat %u, PAT 0x%llx", 1 + line, row->cell[PRESET],
                 row->cell[CELL], leaf.type, leaf.ipat,
                 (unsigned long long)policy_pat(&policy, enabled, cd, pat));
    if (want != pat)
        assert_true(policy_forces_pat(&policy));
}

static void test_table(void **unused)
{
    (void)unused;
    line = asserted = skipped = 0;
    assert_int_equal(golden_file(TABLE, check_row), 175);
    assert_int_equal(asserted, 165);
    assert_int_equal(skipped, 10);
}

/* --- what the rows cite ----------------------------------------------------------------------- */

static char sought[64];
static unsigned cells_cited, found;

static void seek_row(const struct golden_row *row)
{
    if (strcmp(row->cell[0], sought) == 0)
        found++;
}

/* The head of the table of others. */
static struct golden_row head;

/* NAME is a column of it. */
static bool is_column(const char *name)
{
    for (unsigned i = 1; i < GOLDEN_COLUMNS; i++)
        if (strcmp(head.cell[i], name) == 0)
            return true;
    return false;
}

static void check_cells(const struct golden_row *row)
{
    char cells[128];
    strcpy(cells, row->cell[CELL]);
    for (char *cell = strtok(cells, ";"); cell != NULL; cell = strtok(NULL, ";")) {
        char *column = strchr(cell, '/');
        assert_non_null(column);
        *column++ = '\0';
        assert_true(is_column(column));
        strcpy(sought, cell);
        found = 0;
        golden_file(OTHERS, seek_row);
        assert_int_equal(found, 1);
        /* The row of the preset, and where it has one for each kind of tables, of these. */
        assert_int_equal(strncmp(cell, row->cell[PRESET], strlen(row->cell[PRESET])), 0);
        if (strchr(cell, '(') != NULL)
            assert_non_null(strstr(cell, row->cell[BACKEND]));
        cells_cited++;
    }
}

static void test_cells(void **unused)
{
    (void)unused;
    FILE *file = fopen(OTHERS, "r");
    assert_non_null(file);
    assert_non_null(fgets(head.text, sizeof(head.text), file));
    fclose(file);
    golden_split(&head);
    cells_cited = 0;
    golden_file(TABLE, check_cells);
    assert_int_equal(cells_cited, 228);
}

static struct policy xen;

static void check_merge(const struct golden_row *row)
{
    struct policy_page page = {.guest = (uint8_t)golden_type(row->cell[0]),
                               .host = (uint8_t)golden_type(row->cell[1])};
    struct pt_attr leaf = policy_leaf(&xen, VIEW_TYPED, &page);
    assert_int_equal(leaf.type, golden_type(row->cell[2]));
    assert_false(leaf.ipat);
}

static void test_merge(void **unused)
{
    (void)unused;
    resolve("xen", &ept, true, &xen);
    assert_int_equal(xen.wants, WANTS_HOST);
    assert_int_equal(golden_each("policy_xen_guest_mtrr_x_host_mtrr", check_merge), 25);
}

/* --- which there are -------------------------------------------------------------------------- */

static void expect_refused(const struct policy_means *means, const char *message)
{
    struct policy policy;
    host_log_reset();
    assert_int_equal(policy_resolve(&config, means, false, &policy), -EINVAL);
    assert_string_equal(host_log, message);
}

static void test_refused(void **unused)
{
    (void)unused;
    memset(&config, 0, sizeof(config));
    strcpy(config.name, "test");
    strcpy(config.policy, "kvm-svm");
    expect_refused(&ept, "vm test: policy = kvm-svm has no rules for EPT; write one of: exact, wb, "
                         "kvm-2008, kvm-4.19, kvm-6.7, kvm-6.11, kvm-6.16, xen, bhyve, acrn, "
                         "jailhouse, bitvisor\n");
    strcpy(config.policy, "acrn");
    expect_refused(&npt, "vm test: policy = acrn has no rules for NPT; write one of: exact, wb, "
                         "kvm-svm, kvm-svm-2015, xen, bhyve, jailhouse, bitvisor\n");
    strcpy(config.policy, "other");
    expect_refused(&npt, "vm test: policy = other is no policy; write one of: exact, wb, kvm-svm, "
                         "kvm-svm-2015, xen, bhyve, jailhouse, bitvisor\n");
}

static void expect_same(const struct policy *a, const struct policy *b)
{
    assert_ptr_equal(a->preset, b->preset);
    assert_int_equal(a->noncoherent, b->noncoherent);
    assert_int_equal(a->mtrr, b->mtrr);
    assert_int_equal(a->pat, b->pat);
    assert_int_equal(a->cd, b->cd);
    assert_int_equal(a->mmio, b->mmio);
    assert_int_equal(a->report, b->report);
    assert_int_equal(a->reset, b->reset);
    assert_int_equal(a->mmio_ipat, b->mmio_ipat);
    assert_int_equal(a->pat_by_enable, b->pat_by_enable);
    assert_int_equal(a->disabled_is_uc, b->disabled_is_uc);
    assert_int_equal(a->cd_view, b->cd_view);
    assert_int_equal(a->wants, b->wants);
    assert_int_equal(a->means.has_ipat, b->means.has_ipat);
    assert_int_equal(a->means.owns_cr0_cd, b->means.owns_cr0_cd);
    assert_int_equal(a->means.runs_uncached, b->means.runs_uncached);
}

/* At run time: all but what the guest reads and how it starts, or nothing. */
static void test_take(void **unused)
{
    struct policy policy, fresh;
    (void)unused;
    for (unsigned i = 0; i < POLICIES; i++) {
        enum policy_number number = (enum policy_number)i;
        const struct preset *preset = preset_find(number);
        assert_int_equal(preset->number, number);
        assert_ptr_equal(preset_named(preset->name), preset);
        for (unsigned k = 0; k < 4; k++) {
            const struct policy_means *means = k < 2 ? &ept : &npt;
            bool there_is = k < 2 ? preset->with_ipat : preset->without_ipat;
            resolve("jailhouse", means, false, &policy);
            policy.report = KNOB_REPORT_FIXED;
            policy.reset = KNOB_RESET_ARCHITECTURAL;
            struct policy before = policy;
            int result = policy_take(number, k % 2 != 0, &policy);
            assert_int_equal(result, there_is ? 0 : -EOPNOTSUPP);
            if (!there_is) {
                expect_same(&policy, &before);
                continue;
            }
            resolve(preset->name, means, k % 2 != 0, &fresh);
            fresh.report = KNOB_REPORT_FIXED;
            fresh.reset = KNOB_RESET_ARCHITECTURAL;
            expect_same(&policy, &fresh);
        }
    }
    assert_int_equal(policy_take(POLICIES, false, &policy), -EINVAL);
    assert_null(preset_named("kvm"));
}

/* --- knobs over presets ----------------------------------------------------------------------- */

static struct policy_page ram(enum memtype guest)
{
    return (struct policy_page){.guest = (uint8_t)guest, .host = MT_UC, .def_type = MTRR_DEF_E};
}

static struct pt_attr leaf_of(const struct policy *policy, bool enabled, bool cd,
                              struct policy_page page)
{
    return policy_leaf(policy, policy_view(policy, enabled, cd), &page);
}

static void expect_leaf(struct pt_attr leaf, enum memtype type, bool ipat)
{
    assert_int_equal(leaf.type, type);
    assert_int_equal(leaf.ipat, ipat);
}

static void again(const struct policy_means *means, bool noncoherent, struct policy *policy)
{
    assert_int_equal(policy_resolve(&config, means, noncoherent, policy), 0);
}

static void test_knobs(void **unused)
{
    struct policy policy;
    (void)unused;
    resolve("xen", &ept, true, &policy);
    config.mtrr = KNOB_MTRR_GUEST; /* no merge with the host's UC */
    again(&ept, true, &policy);
    assert_int_equal(policy.wants, 0);
    expect_leaf(leaf_of(&policy, true, false, ram(MT_WT)), MT_WT, false);
    assert_int_equal(policy_view(&policy, false, false), VIEW_DISABLED);
    config.mtrr = KNOB_MTRR_IGNORE;
    again(&ept, true, &policy);
    expect_leaf(leaf_of(&policy, false, false, ram(MT_UC)), MT_WB, false);
    resolve("jailhouse", &ept, false, &policy);
    config.mtrr = KNOB_MTRR_IGNORE; /* E neither */
    again(&ept, false, &policy);
    assert_int_equal(policy_pat(&policy, false, false, 0x0706), 0x0706);
    resolve("bhyve", &ept, false, &policy);
    config.mmio = KNOB_MMIO_CLAMP;
    again(&ept, false, &policy);
    struct policy_page bar = {.guest = MT_WC, .mmio = true};
    expect_leaf(leaf_of(&policy, true, false, bar), MT_WC, false);
    config.mmio = KNOB_MMIO_GUEST;
    again(&ept, false, &policy);
    bar.guest = MT_WP;
    expect_leaf(leaf_of(&policy, true, false, bar), MT_WP, false);
}

/* CR0.CD = 1 by each knob, over memory and over a device's registers. */
static void test_cd(void **unused)
{
    struct policy policy;
    struct policy_page bar = {.guest = MT_WC, .mmio = true};
    (void)unused;
    resolve("exact", &ept, true, &policy);
    expect_leaf(leaf_of(&policy, true, true, bar), MT_UC, true);
    assert_true(policy_cd_flushes(&policy));
    config.cd = KNOB_CD_UC_IPAT;
    again(&ept, true, &policy);
    expect_leaf(leaf_of(&policy, true, true, ram(MT_WB)), MT_UC, true);
    expect_leaf(leaf_of(&policy, true, true, bar), MT_WC, false);
    assert_false(policy_cd_flushes(&policy));
    config.mmio = KNOB_MMIO_UC;
    config.cd = KNOB_CD_WB_IPAT;
    again(&ept, true, &policy);
    expect_leaf(leaf_of(&policy, true, true, ram(MT_UC)), MT_WB, true);
    expect_leaf(leaf_of(&policy, false, true, ram(MT_UC)), MT_WB, true);
    expect_leaf(leaf_of(&policy, true, true, bar), MT_UC, false);
    assert_false(policy_cd_flushes(&policy));
    for (unsigned k = 0; k < 2; k++) {
        resolve("exact", k == 0 ? &ept : &npt, true, &policy);
        config.cd = KNOB_CD_PAT_UC;
        again(k == 0 ? &ept : &npt, true, &policy);
        expect_leaf(leaf_of(&policy, true, true, ram(MT_WT)), MT_WT, false);
        assert_int_equal(policy_view(&policy, true, true), VIEW_TYPED);
        assert_int_equal(policy_pat(&policy, true, true, 0x0706), 0);
        assert_int_equal(policy_pat(&policy, true, false, 0x0706), 0x0706);
        assert_true(policy_forces_pat(&policy) && policy_cd_flushes(&policy));
        assert_false(policy_cd_acts(&policy, true));
    }
    config.pat = KNOB_PAT_IGNORE;
    again(&npt, true, &policy);
    assert_int_equal(policy_pat(&policy, true, false, 0x0706), 0x0606060606060606);
    assert_int_equal(policy_pat(&policy, true, true, 0x0706), 0);
}

static void test_cannot(void **unused)
{
    static const struct {
        enum knob_cd cd;
        const char *name;
    } views[] = {
        {KNOB_CD_VIEW, "view"}, {KNOB_CD_UC_IPAT, "uc-ipat"}, {KNOB_CD_WB_IPAT, "wb-ipat"}};
    struct policy policy;
    char message[160];
    (void)unused;
    resolve("exact", &npt, false, &policy);
    for (unsigned i = 0; i < ARRAY_SIZE(views); i++) {
        config.cd = views[i].cd;
        snprintf(message, sizeof(message),
                 "vm test: cd = %s: this CPU's nested tables cannot "
                 "override a PAT; write cd = hw, ignore or pat-uc\n",
                 views[i].name);
        expect_refused(&npt, message);
        again(&ept, false, &policy);
    }
    config.cd = KNOB_CD_HW;
    again(&npt, false, &policy);
    expect_refused(&ept, "vm test: cd = hw: this CPU's guests do not own CR0.CD; "
                         "write cd = view\n");
    again(&(struct policy_means){.has_ipat = true, .runs_uncached = true}, false, &policy);
    assert_true(policy_cd_acts(&policy, true));
    config.cd = KNOB_CD_PAT_UC;
    config.pat = KNOB_PAT_IGNORE;
    expect_refused(&ept, "vm test: cd = pat-uc: leaves ignore the PAT, so that it cannot act; "
                         "write pat = guest, or another cd\n");
    resolve("jailhouse", &ept, false, &policy);
    config.pat = KNOB_PAT_IGNORE;
    expect_refused(&ept, "vm test: pat = ignore: this policy acts by the PAT alone; "
                         "write pat = guest, or another policy\n");
    again(&npt, false, &policy);
}

/* Only where no access can be uncached has a guest's WBINVD nothing to do. */
static void test_uncaches(void **unused)
{
    struct policy policy;
    (void)unused;
    resolve("wb", &ept, false, &policy);
    assert_false(policy_uncaches(&policy));
    config.cd = KNOB_CD_WB_IPAT;
    again(&ept, false, &policy);
    assert_false(policy_uncaches(&policy));
    config.cd = KNOB_CD_UC_IPAT;
    again(&ept, false, &policy);
    assert_true(policy_uncaches(&policy));
    resolve("kvm-2008", &ept, false, &policy);
    assert_true(policy_uncaches(&policy));
    resolve("kvm-6.11", &ept, true, &policy);
    assert_true(policy_uncaches(&policy));
    resolve("kvm-6.7", &ept, false, &policy);
    assert_false(policy_uncaches(&policy));
    resolve("wb", &npt, false, &policy);
    assert_true(policy_uncaches(&policy));
}

/* --- what needs leave ------------------------------------------------------------------------- */

static void expect_dangerous(const struct policy *policy, const char *what, const char *why)
{
    char message[320];
    config.dangerous = false;
    host_log_reset();
    assert_int_equal(policy_allow(&config, policy), -EINVAL);
    snprintf(message, sizeof(message),
             "vm test: %s: %s; write dangerous = yes in [host] if that is meant\n", what, why);
    assert_string_equal(host_log, message);
    config.dangerous = true;
    host_log_reset();
    assert_int_equal(policy_allow(&config, policy), 0);
    snprintf(message, sizeof(message), "vm test: dangerous: %s: %s\n", what, why);
    assert_string_equal(host_log, message);
}

static void test_dangerous(void **unused)
{
    static const char stale[] =
        "a device that does not look into the caches may read and leave stale data";
    static const struct {
        enum knob_mtrr mtrr;
        enum knob_pat pat;
        enum knob_cd cd;
        const char *policy, *what;
    } rows[] = {
        {KNOB_MTRR_DEFAULT, KNOB_PAT_DEFAULT, KNOB_CD_DEFAULT, "wb", "policy = wb"},
        {KNOB_MTRR_IGNORE, KNOB_PAT_DEFAULT, KNOB_CD_DEFAULT, "exact", "mtrr = ignore"},
        {KNOB_MTRR_DEFAULT, KNOB_PAT_IGNORE, KNOB_CD_DEFAULT, "exact", "pat = ignore"},
        {KNOB_MTRR_DEFAULT, KNOB_PAT_DEFAULT, KNOB_CD_IGNORE, "exact", "cd = ignore"},
        {KNOB_MTRR_DEFAULT, KNOB_PAT_DEFAULT, KNOB_CD_WB_IPAT, "exact", "cd = wb-ipat"},
    };
    struct policy policy;
    (void)unused;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        resolve(rows[i].policy, &ept, true, &policy);
        config.mtrr = rows[i].mtrr;
        config.pat = rows[i].pat;
        config.cd = rows[i].cd;
        again(&ept, true, &policy);
        expect_dangerous(&policy, rows[i].what, stale);
        config.dangerous = false;
        again(&ept, false, &policy);
        assert_int_equal(policy_allow(&config, &policy), 0);
    }
    resolve("exact", &ept, false, &policy);
    config.mmio = KNOB_MMIO_GUEST;
    again(&ept, false, &policy);
    expect_dangerous(&policy, "mmio = guest",
                     "a cacheable type over device registers can machine-check");
    resolve("bhyve", &ept, true, &policy); /* a preset is what was asked for */
    assert_int_equal(policy_allow(&config, &policy), 0);
}

/* Of what a VM can go over to, with knobs in its config that no longer count. */
static void test_dangerous_to_take(void **unused)
{
    struct policy policy;
    (void)unused;
    for (unsigned i = 0; i < POLICIES; i++)
        for (unsigned noncoherent = 0; noncoherent < 2; noncoherent++) {
            resolve("exact", &ept, true, &policy);
            config.mtrr = KNOB_MTRR_IGNORE;
            if (policy_take((enum policy_number)i, noncoherent != 0, &policy) == 0)
                assert_int_equal(policy_needs_leave(&policy), i == POLICY_WB && noncoherent != 0);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_cells),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_knobs),
        cmocka_unit_test(test_cd),
        cmocka_unit_test(test_cannot),
        cmocka_unit_test(test_uncaches),
        cmocka_unit_test(test_dangerous),
        cmocka_unit_test(test_dangerous_to_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
