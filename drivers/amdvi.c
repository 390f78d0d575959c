/* AMD-Vi as an IOMMU: units, device tables and domains. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/amdvi.h"

#include "drivers/amdvi_format.h"
#include "drivers/iommu_domain.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

static struct {
    const struct iommu_machine *machine;
    struct ivrs ivrs;
    struct amdvi_unit units[IVRS_MAX_UNITS];      /* as ivrs.units */
    struct amdvi_devices devices[IVRS_MAX_UNITS]; /* of the first unit of each segment */
    hpa_t nothing;                                /* a page table that is empty */
    struct iommu_ids ids;                         /* of domains that exist; 0: what is blocked */
    struct lock lock;                             /* of which domain a device's entry names */
} amdvi;

static struct amdvi_unit *unit_of(struct pci_bdf requester)
{
    const struct ivrs_unit *unit = ivrs_unit_of(&amdvi.ivrs, requester);
    if (unit == NULL || !amdvi.units[unit - amdvi.ivrs.units].on)
        return NULL;
    return &amdvi.units[unit - amdvi.ivrs.units];
}

static struct amdvi_ids ids_of(struct pci_bdf requester)
{
    struct amdvi_ids ids = {{pci_id(requester), ivrs_alias_of(&amdvi.ivrs, requester)}, 1};
    ids.count = ids.id[0] == ids.id[1] ? 1 : 2;
    return ids;
}

static struct pci_bdf alias_of(struct pci_bdf requester)
{
    return pci_of_id(requester.segment, ivrs_alias_of(&amdvi.ivrs, requester));
}

static int make_source(struct amdvi_unit *u, struct pci_bdf requester)
{
    struct amdvi_ids ids = ids_of(requester);
    return amdvi_make_source(u, requester, &ids);
}

/* --- start ------------------------------------------------------------------------------------ */

/*
 * An entry that nobody has: all DMA is blocked, and interrupts but for what firmware wants to pass.
 * Where system management messages pass, writes must be allowed, too (Revision Guide for AMD
 * SR56x0 chipsets, erratum 63): those are blocked by tables with nothing in them.
 */
static void block(uint64_t *entry, uint8_t setting)
{
    uint64_t sysmgt = AMDVI_SETTING_SYSMGT(setting);
    uint64_t writes = amdvi.nothing.v | AMDVI_DTE_MODE(AMDVI_MIN_LEVELS) | AMDVI_DTE_IW;
    __atomic_store_n(&entry[1], AMDVI_DTE_SYSMGT(sysmgt), __ATOMIC_RELEASE);
    __atomic_store_n(&entry[0], AMDVI_BLOCKED | (sysmgt == AMDVI_SYSMGT_PASSES ? writes : 0),
                     __ATOMIC_RELEASE);
    __atomic_store_n(&entry[2], entry[2] | AMDVI_BLOCKED_2 | AMDVI_DTE_PASS(setting),
                     __ATOMIC_RELEASE);
}

/* As nobody has device ID of the segment. */
static void block_device(const struct amdvi_devices *devices, uint16_t segment, uint16_t id)
{
    block(devices->entries + (size_t)id * AMDVI_ENTRY_WORDS,
          ivrs_setting_of(&amdvi.ivrs, segment, id));
}

/* Of most devices firmware wants nothing to pass. */
static void pass_settings(const struct amdvi_devices *devices, const struct ivrs_unit *unit)
{
    const struct ivrs_entry *e = amdvi.ivrs.entries + unit->first_entry;
    for (const struct ivrs_entry *end = e + unit->entry_count; e < end; e++) {
        for (uint32_t id = e->first; id <= e->last && e->setting != 0; id++)
            block_device(devices, unit->segment, (uint16_t)id);
        if (e->aliased && e->setting != 0)
            block_device(devices, unit->segment, e->alias);
    }
}

/* "Device Table": of all units of a segment, so of as many entries as any of them needs. */
static bool make_devices(struct amdvi_devices *devices, uint16_t segment)
{
    enum { IN_A_PAGE = PAGE_SIZE / AMDVI_ENTRY_SIZE };
    const struct ivrs *ivrs = &amdvi.ivrs;
    uint32_t last = 0;
    for (unsigned i = 0; i < ivrs->unit_count; i++)
        if (ivrs->units[i].segment == segment && ivrs->units[i].last > last)
            last = ivrs->units[i].last;
    devices->count = (uint32_t)align_up(last + 1, IN_A_PAGE);
    devices->entries =
        amdvi.machine->take((uint64_t)devices->count * AMDVI_ENTRY_SIZE, &devices->hpa);
    if (devices->entries == NULL) {
        log_line("iommu: no memory for a table of %u devices; give the machine more RAM",
                 devices->count);
        return false;
    }
    memset(devices->entries, 0, (size_t)devices->count * AMDVI_ENTRY_SIZE);
    for (uint32_t i = 0; i < devices->count; i++)
        block(devices->entries + (size_t)i * AMDVI_ENTRY_WORDS, 0);
    for (unsigned i = 0; i < ivrs->unit_count; i++)
        if (ivrs->units[i].segment == segment)
            pass_settings(devices, &ivrs->units[i]);
    return true;
}

/* The device table of unit I's segment; NULL: no memory. */
static const struct amdvi_devices *devices_for(unsigned i)
{
    uint16_t segment = amdvi.ivrs.units[i].segment;
    for (unsigned first = 0; first < i; first++)
        if (amdvi.ivrs.units[first].segment == segment)
            return amdvi.units[first].devices;
    return make_devices(&amdvi.devices[i], segment) ? &amdvi.devices[i] : NULL;
}

static void find_ioapics(struct iommu_ioapics *ioapics)
{
    ioapics->count = 0;
    for (const struct ivrs_unit *u = amdvi.ivrs.units; u < amdvi.ivrs.units + amdvi.ivrs.unit_count;
         u++)
        for (unsigned i = 0; i < u->entry_count && ioapics->count < IOMMU_MAX_IOAPICS; i++) {
            const struct ivrs_entry *e = &amdvi.ivrs.entries[u->first_entry + i];
            struct pci_bdf bdf = pci_of_id(u->segment, e->first);
            struct amdvi_unit *unit = &amdvi.units[u - amdvi.ivrs.units];
            if (e->ioapic && unit->on && make_source(unit, bdf) == 0)
                ioapics->r[ioapics->count++] = (struct iommu_ioapic){.id = e->handle,
                                                                     .requester = bdf,
                                                                     .alias = alias_of(bdf),
                                                                     .x2apic = unit->x2apic};
        }
}

static int start(const struct iommu_machine *machine, struct iommu_ioapics *ioapics)
{
    const struct ivrs_reader reader = {machine->firmware, machine->map, machine->phys_bits};
    struct acpi_table table;
    memset(&amdvi, 0, sizeof(amdvi));
    amdvi_forget_sources();
    amdvi.machine = machine;
    if (!machine->find("IVRS", &table))
        return -ENODEV;
    int error = ivrs_parse(&reader, &table, &amdvi.ivrs);
    if (error != 0)
        return error;
    volatile uint64_t *status = machine->alloc(2); /* and an empty table */
    if (status == NULL) {
        log_line("iommu: no memory for two pages; make the host pool larger");
        return -ENOMEM;
    }
    hpa_t at = machine->hpa((const void *)(uintptr_t)status);
    amdvi.nothing = hpa(at.v + PAGE_SIZE);
    bool any = false;
    for (unsigned i = 0; i < amdvi.ivrs.unit_count; i++) {
        enum { LINE = 64 }; /* a cache line for each */
        struct amdvi_unit *u = &amdvi.units[i];
        *u = (struct amdvi_unit){.machine = machine,
                                 .ivrs = &amdvi.ivrs.units[i],
                                 .entries = amdvi.ivrs.entries + amdvi.ivrs.units[i].first_entry,
                                 .devices = devices_for(i),
                                 .number = (uint8_t)i};
        if (u->devices == NULL)
            return -ENOMEM;
        any |= amdvi_unit_start(u, status + i * LINE / sizeof(*status), hpa(at.v + i * LINE)) == 0;
    }
    find_ioapics(ioapics);
    return any ? 0 : -ENODEV;
}

/* --- facts ------------------------------------------------------------------------------------ */

static unsigned reach(unsigned unit, unsigned levels)
{
    if (levels > amdvi_levels(&amdvi.units[unit]))
        return 0;
    return (unsigned)min_u64(12 + 9 * levels, amdvi.ivrs.device_bits);
}

static bool facts(struct pci_bdf requester, struct iommu_facts *facts)
{
    const struct amdvi_unit *u = unit_of(requester);
    *facts = (struct iommu_facts){.alias = alias_of(requester)};
    for (unsigned i = 0; i < amdvi.ivrs.reserved_count; i++)
        if (ivrs_names(&amdvi.ivrs.reserved[i], requester))
            iommu_add_reserved(&facts->reserved, amdvi.ivrs.reserved[i].range);
    if (u == NULL || amdvi_levels(u) == 0)
        return false;
    facts->unit = u->number;
    facts->snoops = facts->remaps = true;
    facts->x2apic = u->x2apic;
    return true;
}

/* --- domains ---------------------------------------------------------------------------------- */

static void forget(unsigned unit, uint16_t domain)
{
    amdvi_forget_domain(&amdvi.units[unit], domain);
}

static const struct iommu_kind kind = {AMDVI_MIN_LEVELS, AMDVI_MAX_LEVELS, reach, forget};

static const struct pt_owner table_owner = {.alloc = iommu_table_alloc,
                                            .free = iommu_table_free,
                                            .at = iommu_table_at,
                                            .invalidate = iommu_table_invalidate};

static int create(struct iommu_domain *domain, const struct pci_bdf *requesters, unsigned count,
                  unsigned bits, bool snoop)
{
    enum { LARGEST_LEAF = 3 };
    assert(count >= 1);
    *domain = (struct iommu_domain){.requesters = requesters,
                                    .count = count,
                                    .snoops = snoop,
                                    .coherent = true,
                                    .machine = amdvi.machine,
                                    .kind = &kind};
    for (unsigned i = 0; i < count; i++) {
        const struct amdvi_unit *u = unit_of(requesters[i]);
        assert(u != NULL);
        domain->units |= 1ull << u->number;
    }
    unsigned levels = iommu_domain_levels(domain, bits);
    if (levels == 0)
        return -ERANGE;
    domain->id = iommu_take_id(&amdvi.ids, IOMMU_MOST_DOMAINS);
    if (domain->id == 0)
        return -ENOSPC;
    int error = 0;
    for (unsigned i = 0; i < count && error == 0; i++)
        error = make_source(unit_of(requesters[i]), requesters[i]);
    if (error == 0)
        error = pt_init(&domain->pt, &amdvi_formats[levels - AMDVI_MIN_LEVELS], &table_owner,
                        domain, LARGEST_LEAF);
    if (error != 0)
        iommu_give_id_back(&amdvi.ids, domain->id);
    return error;
}

/* Units may cache that nothing is present, too. */
static int map(struct iommu_domain *domain, uint64_t address, hpa_t to, uint64_t size,
               unsigned perm)
{
    if (perm == 0)
        return pt_unmap(&domain->pt, address, size);
    int error = iommu_domain_map(domain, address, to, size, perm, amdvi.ivrs.address_bits);
    iommu_domain_forget(domain);
    return error;
}

/*
 * A device's DMA is blocked while its entry changes: of the first two words the first decides. What
 * firmware wants to pass is for devices that nobody has: a VM's send no NMIs, and no commands.
 */
static void set_entry(struct amdvi_unit *u, uint16_t device, const struct iommu_domain *domain)
{
    uint64_t *entry = amdvi_entry(u, device);
    __atomic_store_n(&entry[0], AMDVI_BLOCKED, __ATOMIC_RELEASE);
    amdvi_forget_device(u, device, (uint16_t)entry[1]);
    if (domain == NULL) {
        block_device(u->devices, u->ivrs->segment, device);
    } else {
        uint64_t mode = AMDVI_DTE_MODE(domain->pt.format->levels);
        __atomic_store_n(&entry[2], entry[2] & ~AMDVI_DTE_PASS(UINT8_MAX), __ATOMIC_RELEASE);
        __atomic_store_n(&entry[1], domain->id, __ATOMIC_RELEASE);
        __atomic_store_n(&entry[0],
                         domain->pt.root.v | mode | AMDVI_BLOCKED | AMDVI_DTE_IR | AMDVI_DTE_IW,
                         __ATOMIC_RELEASE);
    }
    amdvi_forget_device(u, device, (uint16_t)entry[1]);
}

static void attach(struct pci_bdf requester, struct iommu_domain *domain)
{
    struct amdvi_unit *u = unit_of(requester);
    struct amdvi_ids ids = ids_of(requester);
    assert(u != NULL || domain == NULL);
    if (u == NULL)
        return;
    lock_take(&amdvi.lock);
    for (unsigned i = 0; i < ids.count; i++)
        set_entry(u, ids.id[i], domain);
    lock_release(&amdvi.lock);
}

/* --- faults ----------------------------------------------------------------------------------- */

static unsigned faults(void)
{
    unsigned count = 0;
    for (struct amdvi_unit *u = amdvi.units; u < amdvi.units + amdvi.ivrs.unit_count; u++)
        if (u->on)
            count += amdvi_unit_faults(u);
    return count;
}

const struct iommu_ops amdvi_ops = {
    .start = start,
    .facts = facts,
    .create = create,
    .attach = attach,
    .map = map,
    .claim = amdvi_claim,
    .interrupt = amdvi_interrupt,
    .faults = faults,
};
