/* Displays that firmware has left running: what memory they keep, by which units. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/host.h"

#undef assert
/* What no test here comes to; clang wants it said before. */
#pragma weak acpi_gsis
#pragma weak acpi_sci
#pragma weak apic_id
#pragma weak apic_is_on
#pragma weak apic_last_id
#pragma weak cpu_has
#pragma weak cpu_phys_bits
#pragma weak frames_alloc
#pragma weak frames_at
#pragma weak frames_free
#pragma weak frames_hpa
#pragma weak gsi_init
#pragma weak host_map_mmio
#pragma weak iommu_identity_ops
#pragma weak panic
#pragma weak pci_host_functions
#pragma weak topology_find
#pragma weak topology_firmware
#pragma weak traps_on_interrupt
#pragma weak watchdog_ask
#pragma weak host_take
#include "vmm/host/iommu_host.c"

static const struct range frame = {0x7f000000, 0x7f800000};
static struct pci_function bridge = {
    .bdf = {0, 0, 28, 0}, .header = 1, .secondary = 10, .port = PCI_PORT_TO_PCI};
static struct pci_function display = {.bdf = {0, 10, 1, 0}, .class = 0x030000};
static const struct pci_bdf bus = {0, 10, 0, 0};

/* The units: which IDs they name, and which of these have memory. */
static struct pci_bdf unnamed, owner;
static unsigned frames; /* how many ranges */

static unsigned created, attached;
static struct range mapped;

static bool fake_facts(struct pci_bdf requester, struct iommu_facts *facts)
{
    *facts = (struct iommu_facts){.alias = requester};
    for (unsigned i = 0; i < frames && pci_same_bdf(requester, owner); i++)
        iommu_add_reserved(&facts->reserved,
                           (struct range){frame.start + i * GIB, frame.end + i * GIB});
    return !pci_same_bdf(requester, unnamed);
}

/* As both drivers do: a unit must name each requester. */
static int fake_create(struct iommu_domain *domain, const struct pci_bdf *requesters,
                       unsigned count, unsigned bits, bool snoop)
{
    struct iommu_facts facts;
    *domain = (struct iommu_domain){.requesters = requesters, .count = count};
    assert_false(snoop);
    for (unsigned i = 0; i < count; i++)
        assert_true(fake_facts(requesters[i], &facts));
    assert_true(1ull << bits >= frame.end);
    created++;
    return 0;
}

static int fake_map(struct iommu_domain *domain, uint64_t address, hpa_t to, uint64_t size,
                    unsigned perm)
{
    assert_true(domain != NULL && address == to.v && perm == (PT_R | PT_W));
    mapped = (struct range){address, address + size};
    return 0;
}

static void fake_attach(struct pci_bdf requester, struct iommu_domain *domain)
{
    assert_true(attached < domain->count && pci_same_bdf(requester, domain->requesters[attached]));
    assert_true(pci_same_bdf(requester, display.bdf) || pci_same_bdf(requester, bus));
    attached++;
}

static const struct iommu_ops fake = {
    .facts = fake_facts, .create = fake_create, .map = fake_map, .attach = fake_attach};

static int begin(void **state)
{
    (void)state;
    ops = &fake;
    unnamed = owner = (struct pci_bdf){0xffff, 0, 0, 0};
    frames = 1;
    created = attached = 0;
    mapped = (struct range){0, 0};
    display.parent = NULL;
    host_log_reset();
    return 0;
}

/* With so many IDs. */
static void expect_kept(unsigned ids)
{
    created = attached = 0;
    keep_display(&display);
    assert_int_equal(created, ids != 0);
    assert_int_equal(attached, ids);
    if (ids != 0)
        assert_true(mapped.start == frame.start && mapped.end == frame.end);
}

static void keeps_its_memory(void **state)
{
    (void)state;
    expect_kept(0);
    owner = display.bdf;
    expect_kept(1);
    assert_string_equal(host_log,
                        "iommu: the display 0a:01.0 keeps the memory that firmware gave it\n");
}

/* Its requests carry the bridge's ID or its own, whichever of the two firmware has named. */
static void behind_a_bridge(void **state)
{
    (void)state;
    display.parent = &bridge;
    owner = bus;
    expect_kept(2);
    owner = display.bdf;
    unnamed = bus; /* no unit translates them */
    expect_kept(1);
}

static void more_than_has_room(void **state)
{
    (void)state;
    owner = display.bdf;
    frames = IOMMU_MAX_RESERVED + 1;
    keep_display(&display);
    assert_string_equal(host_log, "iommu: the display 0a:01.0 keeps the memory that firmware gave "
                                  "it, but not all of it\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(keeps_its_memory, begin),
        cmocka_unit_test_setup(behind_a_bridge, begin),
        cmocka_unit_test_setup(more_than_has_room, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
