/* Devices of VMs on a machine without an IOMMU. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/iommu_identity.h"
#include "lib/errno.h"
#include "tests/unit/host.h"

/* MADT: its header, a CPU, and I/O APICs with IDs 12 (GSIs from 0) and 13 (from 24). */
static uint8_t madt[44 + 8 + 2 * 12];
static bool there;

static const uint8_t entries[] = {0, 8,  0,  0, 1, 0,    0,    0, /* a CPU */
                                  1, 12, 12, 0, 0, 0,    0xc0, 0xfe, 0,  0, 0, 0,
                                  1, 12, 13, 0, 0, 0x10, 0xc0, 0xfe, 24, 0, 0, 0};

static bool read_memory(const struct firmware *firmware, uint64_t at, void *to, size_t n)
{
    (void)firmware;
    if (at > sizeof(madt) || n > sizeof(madt) - at)
        return false;
    memcpy(to, madt + at, n);
    return true;
}

static bool find(const char *signature, struct acpi_table *table)
{
    assert_string_equal(signature, "APIC");
    static_assert(sizeof(madt) == 44 + sizeof(entries), "what follows its header");
    memcpy(madt + 44, entries, sizeof(entries));
    *table = (struct acpi_table){0, sizeof(madt)};
    return there;
}

static const struct firmware memory = {read_memory};
static const struct iommu_machine machine = {.firmware = &memory, .find = find, .phys_bits = 40};
static struct iommu_ioapics ioapics;
static const struct iommu_ops *const ops = &iommu_identity_ops;
static const struct pci_bdf nic = {0, 0, 3, 0};

static int start(void **state)
{
    (void)state;
    there = true;
    host_log_reset();
    return ops->start(&machine, &ioapics);
}

static void says_what_it_means(void **state)
{
    (void)state;
    assert_string_equal(host_log,
                        "iommu: unsafe-identity: a VM's devices reach all memory, the hypervisor's "
                        "and other VMs' too, and interrupt any CPU: nothing isolates them\n");
    assert_int_equal(ioapics.count, 2);
    assert_true(ioapics.r[0].id == 12 && ioapics.r[1].id == 13);
    there = false;
    assert_int_equal(ops->start(&machine, &ioapics), 0);
    assert_int_equal(ioapics.count, 0);
    assert_int_equal(ops->faults(), 0);
}

/* Nobody's DMA is made to snoop, remapped or reserved. */
static void facts_of_all(void **state)
{
    (void)state;
    struct iommu_facts facts;
    memset(&facts, 0xff, sizeof(facts));
    assert_true(ops->facts(nic, &facts));
    assert_true(!facts.snoops && !facts.remaps && !facts.x2apic && facts.reserved.count == 0);
    assert_true(pci_same_bdf(facts.alias, nic));
    struct iommu_domain domain;
    memset(&domain, 0xff, sizeof(domain));
    assert_int_equal(ops->create(&domain, &nic, 1, 40, true), 0);
    assert_true(!domain.snoops && domain.count == 1 && domain.requesters == &nic);
}

/* What is not where the guest says is of no use to its devices, but below 1 MiB. */
static void maps_nothing(void **state)
{
    (void)state;
    struct iommu_domain domain;
    assert_int_equal(ops->create(&domain, &nic, 1, 40, false), 0);
    host_log_reset();
    assert_int_equal(ops->map(&domain, 0x100000, hpa(0x100000), 0x3f00000, PT_R | PT_W), 0);
    assert_int_equal(ops->map(&domain, 0, hpa(0x410a000), 0x1000, PT_R | PT_W), 0);
    assert_int_equal(ops->map(&domain, 0x9f000, hpa(0x410b000), 0x61000, PT_R | PT_W), 0);
    assert_string_equal(host_log, "");
    assert_int_equal(ops->map(&domain, 0xff000, hpa(0x410b000), 0x2000, PT_R | PT_W), -EINVAL);
    assert_int_equal(ops->map(&domain, 0x200000, hpa(0x400000), 0x1000, PT_R | PT_W), -EINVAL);
    assert_string_equal(
        host_log, "iommu: unsafe-identity: memory at 0x410b000 cannot be at 0xff000 for devices\n"
                  "iommu: unsafe-identity: memory at 0x400000 cannot be at 0x200000 for devices\n");
}

/*
 * SDM, "Message Address Register Format" and "Message Data Register Format"; 82093AA data sheet,
 * "IOREDTBL": fixed, edge, to the CPU by its physical APIC ID; the entry's destination in bits 56
 * and up.
 */
static void messages(void **state)
{
    (void)state;
    struct iommu_message says;
    const struct iommu_interrupt first = {.apic_id = 0, .vector = 0x41};
    const struct iommu_interrupt last = {.apic_id = 0xff, .vector = 0xfe, .level = true};
    unsigned index = (unsigned)ops->claim(nic);
    ops->interrupt(nic, index, &first, &says);
    assert_true(says.address == 0xfee00000 && says.data == 0x41 && says.rte == 0x41);
    ops->interrupt(nic, index, &last, &says);
    assert_true(says.address == 0xfeeff000 && says.data == 0xfe);
    assert_true(says.rte == 0xff000000000000fe);
    ops->interrupt(nic, index, &last, NULL);
    ops->interrupt(nic, index, NULL, NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(says_what_it_means, start),
        cmocka_unit_test_setup(facts_of_all, start),
        cmocka_unit_test_setup(maps_nothing, start),
        cmocka_unit_test_setup(messages, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
