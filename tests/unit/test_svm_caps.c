/* The judgement whether SVM may be used, on made-up values of CPUID and VM_CR. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/errno.h"
#include "svm/caps.h"
#include "tests/unit/host.h"

/* APM, "Enabling SVM": VM_CR.SVMDIS is bit 4, LOCK bit 3; CPUID 8000000Ah EDX: NP 0, SVML 2. */
struct row {
    struct svm_cpu cpu;
    int result;
    const char *says; /* part of the message */
};

static const struct row rows[] = {
    {{true, 16, 0x1, 0}, 0, ""},
    {{true, 16, 0xdff, 0x8}, 0, ""}, /* locked, but on */
    {{false, 16, 0x1, 0}, -ENODEV, "CPU lacks it"},
    {{true, 16, 0x1, 0x10}, -ENODEV, "disabled by the firmware (VM_CR.SVMDIS)"},
    {{true, 16, 0x5, 0x18}, -ENODEV, "disabled and locked"},
    {{true, 16, 0x5, 0x10}, -ENODEV, "not locked"},
    {{true, 16, 0x4, 0}, -ENODEV, "nested paging"},
    {{true, 1, 0x1, 0}, -ENODEV, "ASID"},
};

static void each_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        host_log_reset();
        assert_int_equal(svm_check(&rows[i].cpu), rows[i].result);
        assert_true(strstr(host_log, rows[i].says) != NULL);
        assert_int_equal(host_log[0] == '\0', rows[i].result == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_row)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
