/* Exceptions during the delivery of others: every pair, as the manual's tables have them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/vcpu/event.h"

#include "tests/unit/host.h"

/* SDM, "Interrupt and Exception Classes": one letter for each vector from 0 to 19. */
static const char classes[] = "CBBBBBBBDBCCCCPBBBBB";

/* SDM, "Conditions for Generating a Double Fault", and its text for a fault during that. */
static char merged(char first, char second)
{
    if (second == 'B' || first == 'B' || (first == 'C' && second == 'P'))
        return 's'; /* serially */
    return first == 'D' ? 'x' : 'd';
}

static bool is_raised(unsigned vector)
{
    return vector != 2 && vector != 9 && vector != 15 && vector != 8;
}

static void check_pair(const struct event *first, char first_class, unsigned vector)
{
    struct event next = event_exception((enum vector)vector, 0x1234, true);
    const struct event old = next;
    char want = merged(first_class, classes[vector]);
    assert_int_equal(event_merge(first, &next, true), want != 'x');
    if (want == 's')
        assert_memory_equal(&next, &old, sizeof(next));
    if (want != 'd')
        return;
    assert_true(next.valid && next.vector == 8 && next.type == DELIVER_EXCEPTION);
    assert_true(next.has_error && next.error == 0);
}

static void every_pair(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++)
        for (unsigned j = 0; j < 20; j++)
            if ((is_raised(i) || i == 8) && is_raised(j)) {
                struct event first = event_exception((enum vector)i, 0, true);
                check_pair(&first, classes[i], j);
            }
}

/* Nothing in delivery, and what is no exception: INT n of any number, interrupts, NMI. */
static void first_of_no_class(void **state)
{
    static const uint8_t types[] = {DELIVER_INTERRUPT, DELIVER_NMI, DELIVER_SOFT_INTERRUPT,
                                    DELIVER_ICEBP, DELIVER_SOFT_EXCEPTION};
    (void)state;
    for (unsigned vector = 0; vector < 20; vector++) {
        struct event first = event_exception((enum vector)vector, 0, true);
        first.valid = false;
        check_pair(&first, 'B', VECTOR_GP);
        first.valid = true;
        for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
            first.type = types[i];
            check_pair(&first, 'B', VECTOR_GP);
            check_pair(&first, 'B', VECTOR_PF);
        }
    }
}

/* SDM, "Error Code": of these vectors, and in real mode of none. */
static void error_codes(void **state)
{
    const uint32_t with = 1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17;
    (void)state;
    for (unsigned vector = 0; vector < 20; vector++) {
        struct event event = event_exception((enum vector)vector, 5, true);
        assert_int_equal(event.has_error, with >> vector & 1);
        assert_false(event_exception((enum vector)vector, 5, false).has_error);
    }
    struct event first = event_exception(VECTOR_GP, 0, false), next = first;
    assert_true(event_merge(&first, &next, false));
    assert_true(next.vector == 8 && !next.has_error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair),
        cmocka_unit_test(first_of_no_class),
        cmocka_unit_test(error_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
