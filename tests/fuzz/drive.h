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

/* Of the machine: every second function is not there; every second one is behind a bridge. */
enum { LEAVE_OUT = 1, BEHIND_BRIDGES = 2 };

/* The model of the unit that translates what the requester sends. */
static struct fake_unit *unit_of(struct pci_bdf requester);

/* Functions, a VM for each group; those that a unit translates have a domain. */
static struct pci_table guests;
static struct pci_function bridges[GUESTS];
static struct iommu_domain domains[GUESTS];
static bool created[GUESTS];
static struct pci_bdf requesters[GUESTS][GUESTS * IOMMU_MAX_REQUESTERS];
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

/* The functions as they are: how says what LEAVE_OUT and BEHIND_BRIDGES say. */
static void place_guests(unsigned how)
{
    unsigned count = 0;
    for (unsigned i = 0; i < guests.count; i += (how & LEAVE_OUT) != 0 ? 2 : 1)
        guests.f[count++] = guests.f[i];
    guests.count = count;
    for (unsigned i = 1; i < count && (how & BEHIND_BRIDGES) != 0; i += 2) {
        bridges[i] = guests.f[i - 1];
        bridges[i].port = PCI_PORT_CONVENTIONAL;
        guests.f[i].parent = &bridges[i];
    }
}

static hpa_t page_of_group(unsigned group)
{
    return hpa(0x100000000 + group * 4096ull);
}

/* Where the function's accesses go, by any ID that they may carry. */
__attribute__((noinline)) static void expect_own(const struct iommu_ops *ops,
                                                 const struct pci_function *f, bool attached)
{
    struct iommu_facts facts;
    struct iommu_carried of = iommu_requesters(ops->facts, f);
    uint64_t own = attached ? page_of_group(f->group).v : NO_HPA;
    for (unsigned i = 0; i < of.count; i++) {
        struct fake_unit *u = unit_of(of.id[i]);
        require(ops->facts(of.id[i], &facts) && u != NULL);
        const uint16_t ids[] = {pci_id(of.id[i]), pci_id(facts.alias)};
        for (unsigned k = 0; k < ARRAY_SIZE(ids); k++) {
            require(dma(u, ids[k], OWN, k == 0, NULL) == own);
            require(dma(u, ids[k], NOBODYS, k == 0, NULL) == NO_HPA);
        }
    }
}

/* Message M from G, by any ID that it may carry, does not come as COMES says. */
__attribute__((noinline)) static void expect_silent(const struct iommu_ops *ops,
                                                    const struct pci_function *g,
                                                    const struct iommu_message *m, uint64_t comes)
{
    struct iommu_facts facts;
    struct iommu_carried of = iommu_requesters(ops->facts, g);
    for (unsigned i = 0; i < of.count; i++) {
        require(ops->facts(of.id[i], &facts));
        const uint16_t ids[] = {pci_id(of.id[i]), pci_id(facts.alias)};
        for (unsigned k = 0; k < ARRAY_SIZE(ids) && facts.remaps; k++)
            require(message(unit_of(of.id[i]), ids[k], m->address, m->data) != comes);
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
    const struct pci_bdf sender = pci_requester(f);
    int index = ops->facts(sender, &facts) && facts.remaps ? ops->claim(sender) : -1;
    if (index < 0)
        return;
    uint16_t id = pci_id(facts.alias);
    ops->interrupt(sender, (unsigned)index, &to, &m);
    require(message(unit_of(sender), id, m.address, m.data) == comes);
    for (const struct pci_function *g = guests.f; g < guests.f + guests.count; g++)
        if (g->group != f->group && created[g->group])
            expect_silent(ops, g, &m, comes);
    ops->interrupt(sender, (unsigned)index, NULL, NULL);
    require(message(unit_of(sender), id, m.address, m.data) == NO_HPA);
}

/* A line of each I/O APIC comes to a CPU, and no function of a VM's can send it. */
__attribute__((noinline)) static void drive_lines(const struct iommu_ops *ops,
                                                  const struct iommu_ioapics *ioapics)
{
    for (unsigned i = 0; i < ioapics->count; i++) {
        const struct iommu_interrupt to = {.apic_id = 1, .vector = 0x50, .level = true};
        struct iommu_message m;
        int index = ops->claim(ioapics->r[i].requester);
        if (index < 0)
            continue;
        ops->interrupt(ioapics->r[i].requester, (unsigned)index, &to, &m);
        for (const struct pci_function *g = guests.f; g < guests.f + guests.count; g++)
            if (created[g->group])
                expect_silent(ops, g, &m, (uint64_t)to.apic_id << 32 | to.vector);
    }
}

/* What carries an I/O APIC's ID is given to no VM. */
__attribute__((noinline)) static bool is_hosts(const struct iommu_ops *ops,
                                               const struct iommu_ioapics *ioapics,
                                               const struct pci_function *f)
{
    struct iommu_carried carried = iommu_carried(ops->facts, f);
    for (unsigned i = 0; i < carried.count; i++)
        for (unsigned k = 0; k < ioapics->count; k++)
            if (pci_same_bdf(carried.id[i], ioapics->r[k].requester) ||
                pci_same_bdf(carried.id[i], ioapics->r[k].alias))
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

/* A VM has only what has an IOMMU. */
static bool is_given(const struct iommu_ops *ops, const struct pci_function *f)
{
    struct iommu_facts facts;
    return ops->facts(pci_requester(f), &facts);
}

__attribute__((noinline)) static void create_domain(const struct iommu_ops *ops, unsigned group)
{
    struct iommu_domain *domain = &domains[group];
    requester_count[group] = 0;
    for (unsigned i = 0; i < guests.count; i++) {
        if (guests.f[i].group != group || !is_given(ops, &guests.f[i]))
            continue;
        struct iommu_carried of = iommu_requesters(ops->facts, &guests.f[i]);
        for (unsigned k = 0; k < of.count; k++)
            requesters[group][requester_count[group]++] = of.id[k];
    }
    created[group] =
        requester_count[group] != 0 &&
        ops->create(domain, requesters[group], requester_count[group], 32, true) == 0 &&
        ops->map(domain, OWN, page_of_group(group), PAGE_SIZE, PT_R | PT_W) == 0;
}

static void attach_all(const struct iommu_ops *ops, bool on)
{
    for (unsigned group = 0; group < GUESTS; group++)
        for (unsigned i = 0; i < requester_count[group] && created[group]; i++)
            ops->attach(requesters[group][i], on ? &domains[group] : NULL);
    for (unsigned i = 0; i < guests.count; i++)
        if (created[guests.f[i].group] && is_given(ops, &guests.f[i]))
            expect_own(ops, &guests.f[i], on);
}

/* All of GUESTS' lives; HOW says which of them are there, and where. */
static void drive(const struct iommu_ops *ops, const struct iommu_ioapics *ioapics, unsigned how)
{
    place_guests(how);
    iommu_join_groups(ops, &guests);
    leave_out_hosts(ops, ioapics);
    for (unsigned group = 0; group < GUESTS; group++)
        create_domain(ops, group);
    attach_all(ops, true);
    drive_lines(ops, ioapics);
    for (unsigned i = 0; i < guests.count; i++)
        if (created[guests.f[i].group])
            drive_interrupt(ops, &guests.f[i]);
    attach_all(ops, false);
    (void)ops->faults();
}
