/* Which devices are coherent, by the rule, and what is said of each. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/errno.h"
#include "tests/unit/host.h"
#include "vmm/passthrough/coherence.h"

enum { N, Y };

/*
 * "Coherent only if its IOMMU can force snooping and does, or its No-Snoop-Enable is held at 0",
 * which is so only where the config insists; every case there is.
 */
static const struct {
    enum config_dma dma;
    unsigned forces, can_force, has_bit; /* Y implies Y of the next but for the last */
    int error;
    unsigned coherent, by_bit;
    const char *why; /* a part of it */
} cases[] = {
    {DMA_AUTO, Y, Y, N, 0, Y, N, "its IOMMU forces snooping"},
    {DMA_AUTO, Y, Y, Y, 0, Y, N, "its IOMMU forces snooping"},
    {DMA_AUTO, N, Y, N, 0, N, N, "not forced, as it cannot be for all"},
    {DMA_AUTO, N, Y, Y, 0, N, N, "not forced, as it cannot be for all"},
    {DMA_AUTO, N, N, N, 0, N, N, "no IOMMU can force it to snoop, and it has no Enable No Snoop"},
    {DMA_AUTO, N, N, Y, 0, N, N, "no IOMMU can force it to snoop; dma=coherent would hold"},
    {DMA_COHERENT, Y, Y, N, 0, Y, N, "its IOMMU forces snooping"},
    {DMA_COHERENT, Y, Y, Y, 0, Y, N, "its IOMMU forces snooping"},
    {DMA_COHERENT, N, Y, N, -EINVAL, N, N, "not forced, as it cannot be for all"},
    {DMA_COHERENT, N, Y, Y, 0, Y, Y, "its Enable No Snoop is held at 0"},
    {DMA_COHERENT, N, N, N, -EINVAL, N, N, "and it has no Enable No Snoop"},
    {DMA_COHERENT, N, N, Y, 0, Y, Y, "its Enable No Snoop is held at 0"},
    {DMA_NON_COHERENT, N, Y, N, 0, N, N, "as the config says"},
    {DMA_NON_COHERENT, N, Y, Y, 0, N, N, "as the config says"},
    {DMA_NON_COHERENT, N, N, N, 0, N, N, "as the config says"},
    {DMA_NON_COHERENT, N, N, Y, 0, N, N, "as the config says"},
};

static void test_cases(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct coherence_facts facts = {cases[i].dma, cases[i].forces, cases[i].can_force,
                                              cases[i].has_bit};
        struct coherence says;
        assert_int_equal(coherence_judge(&facts, &says), cases[i].error);
        assert_int_equal(says.coherent, cases[i].coherent);
        assert_int_equal(says.by_bit, cases[i].by_bit);
        assert_non_null(strstr(says.why, cases[i].why));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
