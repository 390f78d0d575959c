/*
 * Drives the IOMMUs that a fuzzed table describes, on the model of their units: devices of VMs get
 * pages and interrupts, and each reaches what is its own. For a fuzzer that has included the model
 * and gives unit_of().
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/iommu.h"
#include "tests/fuzz/fuzz.h"

enum { GUESTS = 6, OWN = 0x1000, NOBODYS = 0x5000 };

/* The model of the unit that translates what the requester sends. */
static struct fake_unit *unit_of(struct pci_bdf requester);

/* Functions, a VM for each group; those that a unit translates have a domain. */
static struct pci_table guests;
static struct iommu_domain domains[GUESTS];
static bool created[GUESTS];
static struct pci_bdf requesters[GUESTS][GUESTS];
static unsigned requester_count[GUESTS];

static void add_guest(struct pci_bdf bdf)
{
    for (unsigned i = 0; i < guests.count; i++)
        if (pci_same_bdf(guests.f[i].bdf, bdf))
            return;
    if (guests.count == GUESTS)
        return;
    struct pci_function *f = &guests.f[guests.count];
    memset(f, 0, sizeof(*f));
    f->bdf = bdf;
    f->group = (uint16_t)guests.count++;
}

static hpa_t page_of_group(unsigned group)
{
    return hpa(0x100000000 + group * 4096ull);
}

/* Where the function's accesses may go. */
__attribute__((noinline)) static void expect_own(const struct iommu_ops *ops,
                                                 const struct pci_function *f, bool attached)
{
    struct iommu_facts facts;
    struct iommu_carried carried = iommu_carried(ops->facts, f);
    struct fake_unit *u = unit_of(f->bdf);
    uint64_t own = attached ? page_of_group(f->group).v : NO_HPA;
    require(ops->facts(f->bdf, &facts) && u != NULL);
    require(dma(u, pci_id(facts.alias), OWN, true, NULL) == own);
    for (unsigned i = 0; i < carried.count; i++) {
        uint64_t at = dma(u, pci_id(carried.id[i]), OWN, false, NULL);
        require(at == NO_HPA || at == own);
        require(dma(u, pci_id(carried.id[i]), NOBODYS, false, NULL) == NO_HPA);
    }
}

/* A message of each function comes to its VM's CPU, and no other function can send it. */
__attribute__((noinline)) static void drive_interrupt(const struct iommu_ops *ops,
                                                      const struct pci_function *f)
{
    struct iommu_facts facts;
    struct iommu_message m;
    const struct iommu_interrupt to = {.apic_id = f->group + 1u,
                                       .vector = (uint8_t)(0x40 + f->group)};
    uint64_t comes = (uint64_t)to.apic_id << 32 | to.vector;
    int index = ops->facts(f->bdf, &facts) && facts.remaps ? ops->claim(f->bdf) : -1;
    if (index < 0)
        return;
    ops->interrupt(f->bdf, (unsigned)index, &to, &m);
    require(message(unit_of(f->bdf), pci_id(facts.alias), m.address, m.data) == comes);
    for (const struct pci_function *g = guests.f; g < guests.f + guests.count; g++)
        if (g->group != f->group && created[g->group] && ops->facts(g->bdf, &facts))
            require(!facts.remaps ||
                    message(unit_of(g->bdf), pci_id(facts.alias), m.address, m.data) != comes);
    ops->interrupt(f->bdf, (unsigned)index, NULL, NULL);
    require(ops->facts(f->bdf, &facts));
    require(message(unit_of(f->bdf), pci_id(facts.alias), m.address, m.data) == NO_HPA);
}

static void drive_lines(const struct iommu_ops *ops, const struct iommu_ioapics *ioapics)
{
    for (unsigned i = 0; i < ioapics->count; i++) {
        const struct iommu_interrupt to = {.apic_id = 1, .vector = 0x50, .level = true};
        struct iommu_message m;
        int index = ops->claim(ioapics->r[i].requester);
        if (index >= 0)
            ops->interrupt(ioapics->r[i].requester, (unsigned)index, &to, &m);
    }
}

/* What carries an I/O APIC's ID is given to no VM. */
static bool is_hosts(const struct iommu_ops *ops, const struct iommu_ioapics *ioapics,
                     const struct pci_function *f)
{
    struct iommu_carried carried = iommu_carried(ops->facts, f);
    for (unsigned i = 0; i < carried.count; i++)
        for (unsigned k = 0; k < ioapics->count; k++)
            if (pci_same_bdf(carried.id[i], ioapics->r[k].requester))
                return true;
    return false;
}

static void leave_out_hosts(const struct iommu_ops *ops, const struct iommu_ioapics *ioapics)
{
    unsigned count = 0;
    for (unsigned i = 0; i < guests.count; i++)
        if (!is_hosts(ops, ioapics, &guests.f[i]))
            guests.f[count++] = guests.f[i];
    guests.count = count;
}

static void create_domain(const struct iommu_ops *ops, unsigned group)
{
    struct iommu_domain *domain = &domains[group];
    struct iommu_facts facts;
    requester_count[group] = 0;
    for (unsigned i = 0; i < guests.count; i++)
        if (guests.f[i].group == group && ops->facts(guests.f[i].bdf, &facts))
            requesters[group][requester_count[group]++] = guests.f[i].bdf;
    created[group] =
        requester_count[group] != 0 &&
        ops->create(domain, requesters[group], requester_count[group], 32, true) == 0 &&
        ops->map(domain, OWN, page_of_group(group), PAGE_SIZE, PT_R | PT_W) == 0;
}

static void attach_all(const struct iommu_ops *ops, bool on)
{
    struct iommu_facts facts;
    for (unsigned group = 0; group < GUESTS; group++)
        for (unsigned i = 0; i < requester_count[group] && created[group]; i++)
            ops->attach(requesters[group][i], on ? &domains[group] : NULL);
    for (unsigned i = 0; i < guests.count; i++)
        if (created[guests.f[i].group] && ops->facts(guests.f[i].bdf, &facts))
            expect_own(ops, &guests.f[i], on);
}

/* All of GUESTS' lives. */
static void drive(const struct iommu_ops *ops, const struct iommu_ioapics *ioapics)
{
    iommu_join_groups(ops, &guests);
    leave_out_hosts(ops, ioapics);
    drive_lines(ops, ioapics);
    for (unsigned group = 0; group < GUESTS; group++)
        create_domain(ops, group);
    attach_all(ops, true);
    for (unsigned i = 0; i < guests.count; i++)
        if (created[guests.f[i].group])
            drive_interrupt(ops, &guests.f[i]);
    attach_all(ops, false);
    (void)ops->faults();
}
