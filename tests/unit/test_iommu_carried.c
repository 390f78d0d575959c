/* Which IDs a function's requests may carry, and what memory firmware keeps for any of them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/iommu.h"
#include "tests/unit/host.h"

static const struct pci_bdf card = {0, 6, 1, 0}, bus = {0, 6, 0, 0}, alias = {0, 0, 20, 4};
static const struct pci_bdf own_alias = {0, 0, 20, 5};
static struct pci_function bridge, behind;

/* What the tables say: nothing, of an ID that is not here. */
static struct said {
    struct pci_bdf id, alias;
    struct iommu_reserved reserved;
    bool unreached; /* no unit translates its DMA */
} said[4];
static unsigned said_count;

static bool facts(struct pci_bdf requester, struct iommu_facts *unit)
{
    *unit = (struct iommu_facts){.alias = requester};
    for (unsigned i = 0; i < said_count; i++)
        if (pci_same_bdf(said[i].id, requester)) {
            *unit = (struct iommu_facts){.alias = said[i].alias, .reserved = said[i].reserved};
            return !said[i].unreached;
        }
    return false;
}

static struct iommu_reserved *say(struct pci_bdf id, struct pci_bdf its_alias)
{
    said[said_count] = (struct said){.id = id, .alias = its_alias};
    return &said[said_count++].reserved;
}

static struct range page(unsigned i)
{
    return (struct range){0x7f000000 + i * 0x1000, 0x7f001000 + i * 0x1000};
}

static int begin(void **state)
{
    (void)state;
    said_count = 0;
    bridge = (struct pci_function){
        .bdf = {0, 0, 28, 0}, .header = 1, .secondary = 6, .port = PCI_PORT_TO_PCI};
    behind = (struct pci_function){.bdf = card, .parent = &bridge};
    return 0;
}

static void expect_carried(const struct pci_bdf *ids, unsigned count)
{
    struct iommu_carried carried = iommu_carried(facts, &behind);
    assert_int_equal(carried.count, count);
    for (unsigned i = 0; i < count; i++) {
        bool any = false;
        for (unsigned k = 0; k < count; k++)
            any |= pci_same_bdf(carried.id[k], ids[i]);
        assert_true(any);
    }
}

static void carried(void **state)
{
    const struct pci_bdf all[] = {bus, card, alias, own_alias};
    (void)state;
    expect_carried(all, 2);
    say(bus, bus);
    say(card, card);
    expect_carried(all, 2);
    said[0].alias = alias;
    expect_carried(all, 3);
    said[1].alias = own_alias;
    expect_carried(all, 4);
    said_count = 0;
    behind.parent = NULL;
    expect_carried(&card, 1);
}

/* As a driver is told: it adds the aliases itself, and would add those of aliases. */
static void requesters(void **state)
{
    (void)state;
    assert_int_equal(iommu_requesters(facts, &behind).count, 0);
    say(card, own_alias);
    say(alias, own_alias);
    struct iommu_carried found = iommu_requesters(facts, &behind);
    assert_true(found.count == 1 && pci_same_bdf(found.id[0], card));
    say(bus, alias);
    found = iommu_requesters(facts, &behind);
    assert_true(found.count == 2 && pci_same_bdf(found.id[0], bus));
    assert_true(pci_same_bdf(found.id[1], card));
    behind.parent = NULL;
    assert_int_equal(iommu_requesters(facts, &behind).count, 1);
}

/* Whichever of the IDs firmware has named for it, be it one of no device's. */
static void reserved_by_any(void **state)
{
    const struct pci_bdf ids[] = {card, bus, alias, alias};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
        said_count = 0;
        say(bus, alias);
        say(card, card);
        say(alias, alias);
        said[2].unreached = i == 3;
        for (unsigned k = 0; k < said_count; k++)
            if (pci_same_bdf(said[k].id, ids[i]))
                iommu_add_reserved(&said[k].reserved, page(3));
        struct iommu_reserved all = iommu_reserved(facts, &behind);
        assert_true(all.count == 1 && !all.more && all.r[0].start == page(3).start);
    }
}

static void reserved_by_all(void **state)
{
    (void)state;
    struct iommu_reserved *by_bus = say(bus, bus), *by_card = say(card, card);
    iommu_add_reserved(by_bus, page(0));
    iommu_add_reserved(by_bus, page(1));
    iommu_add_reserved(by_card, page(1));
    iommu_add_reserved(by_card, page(2));
    struct iommu_reserved all = iommu_reserved(facts, &behind);
    assert_true(all.count == 3 && !all.more);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(all.r[i].end, page(i).end);
}

/* What has no room is not kept in silence. */
static void more_than_has_room(void **state)
{
    (void)state;
    struct iommu_reserved *by_bus = say(bus, bus), *by_card = say(card, card);
    for (unsigned i = 0; i < IOMMU_MAX_RESERVED; i++)
        iommu_add_reserved(by_card, page(i));
    iommu_add_reserved(by_card, page(0));
    assert_false(iommu_reserved(facts, &behind).more);
    iommu_add_reserved(by_bus, page(IOMMU_MAX_RESERVED));
    assert_true(iommu_reserved(facts, &behind).more);
    *by_bus = (struct iommu_reserved){.count = 0};
    iommu_add_reserved(by_card, page(IOMMU_MAX_RESERVED));
    struct iommu_reserved all = iommu_reserved(facts, &behind);
    assert_true(all.more && all.count == IOMMU_MAX_RESERVED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(carried, begin),
        cmocka_unit_test_setup(requesters, begin),
        cmocka_unit_test_setup(reserved_by_any, begin),
        cmocka_unit_test_setup(reserved_by_all, begin),
        cmocka_unit_test_setup(more_than_has_room, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
