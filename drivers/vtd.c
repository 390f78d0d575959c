/* VT-d as an IOMMU: units and domains, by VT-d's "Legacy Mode". */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/vtd.h"

#include "drivers/iommu_domain.h"
#include "drivers/vtd_format.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

/* "Root Entry" and "Context Entry": two words each. */
#define ENTRY_P            (1ull << 0)
#define ENTRY_ADDRESS      0xffffffffff000ull
#define CONTEXT_ID(id)     ((uint64_t)(id) << 8)
#define CONTEXT_AW(levels) ((uint64_t)(levels)-2)

static struct {
    const struct iommu_machine *machine;
    struct dmar dmar;
    struct vtd_unit units[DMAR_MAX_UNITS]; /* as dmar.units */
    struct lock lock;                      /* of root and context tables */
    struct iommu_ids ids;                  /* of domains that exist */
} vtd;

static struct vtd_unit *unit_of(struct pci_bdf requester)
{
    const struct dmar_unit *unit = dmar_unit_of(&vtd.dmar, requester);
    if (unit == NULL || !vtd.units[unit - vtd.dmar.units].on)
        return NULL;
    return &vtd.units[unit - vtd.dmar.units];
}

/* --- start ------------------------------------------------------------------------------------ */

/* Those that have a unit which remaps what they send. */
static void find_ioapics(struct iommu_ioapics *ioapics)
{
    ioapics->count = 0;
    for (unsigned i = 0; i < vtd.dmar.scope_count; i++) {
        const struct dmar_scope *scope = &vtd.dmar.scopes[i];
        const struct vtd_unit *u = scope->type == DMAR_IOAPIC ? unit_of(scope->bdf) : NULL;
        if (u != NULL && u->remaps && ioapics->count < IOMMU_MAX_IOAPICS)
            ioapics->r[ioapics->count++] = (struct iommu_ioapic){
                scope->enumeration, scope->bdf, .alias = scope->bdf, .x2apic = u->x2apic};
    }
}

static int start(const struct iommu_machine *machine, struct iommu_ioapics *ioapics)
{
    const struct dmar_reader reader = {machine->firmware, machine->map, machine->phys_bits,
                                       machine->config};
    struct acpi_table table;
    memset(&vtd, 0, sizeof(vtd));
    vtd.machine = machine;
    if (!machine->find("DMAR", &table))
        return -ENODEV;
    int error = dmar_parse(&reader, &table, &vtd.dmar);
    volatile uint64_t *status = error == 0 ? machine->alloc(1) : NULL;
    if (status == NULL)
        return error != 0 ? error : -ENOMEM;
    hpa_t at = machine->hpa((const void *)(uintptr_t)status);
    bool any = false;
    for (unsigned i = 0; i < vtd.dmar.unit_count; i++) {
        enum { LINE = 64 }; /* a cache line for each */
        struct vtd_unit *u = &vtd.units[i];
        *u =
            (struct vtd_unit){.machine = machine, .dmar = &vtd.dmar.units[i], .number = (uint8_t)i};
        any |= vtd_unit_start(u, vtd.dmar.remaps, status + i * LINE / sizeof(*status),
                              hpa(at.v + i * LINE)) == 0;
    }
    find_ioapics(ioapics);
    return any ? 0 : -ENODEV;
}

/* --- facts ------------------------------------------------------------------------------------ */

static unsigned reach(unsigned unit, unsigned levels)
{
    const struct vtd_unit *u = &vtd.units[unit];
    if ((VTD_CAP_SAGAW(u->cap) >> (levels - 2) & 1) == 0)
        return 0;
    return (unsigned)min_u64(12 + 9 * levels, VTD_CAP_MGAW(u->cap));
}

static bool facts(struct pci_bdf requester, struct iommu_facts *facts)
{
    const struct vtd_unit *u = unit_of(requester);
    *facts = (struct iommu_facts){.alias = requester};
    for (unsigned i = 0; i < vtd.dmar.reserved_count; i++)
        if (dmar_names(&vtd.dmar, vtd.dmar.reserved[i].scopes, requester))
            iommu_add_reserved(&facts->reserved, vtd.dmar.reserved[i].range);
    if (u == NULL)
        return false;
    facts->unit = u->number;
    facts->snoops = (u->ecap & VTD_ECAP_SC) != 0;
    facts->remaps = u->remaps;
    facts->x2apic = u->x2apic;
    return true;
}

/* --- domains ---------------------------------------------------------------------------------- */

/* The domain's first unit after U, NULL: of all; NULL: there is none. */
static struct vtd_unit *next_unit(const struct iommu_domain *domain, const struct vtd_unit *u)
{
    unsigned i = iommu_next_unit(domain, u == NULL ? 0 : u->number + 1u);
    return i != IOMMU_NO_UNIT ? &vtd.units[i] : NULL;
}

static void forget(unsigned unit, uint16_t domain)
{
    vtd_forget_domain(&vtd.units[unit], domain);
}

static const struct iommu_kind kind = {VTD_MIN_LEVELS, VTD_MAX_LEVELS, reach, forget};

static void table_flush(const struct pt *pt, const void *at, size_t n)
{
    const struct iommu_domain *domain = pt->context;
    if (!domain->coherent)
        vtd.machine->flush(at, n);
}

static const struct pt_owner table_owner = {.alloc = iommu_table_alloc,
                                            .free = iommu_table_free,
                                            .at = iommu_table_at,
                                            .invalidate = iommu_table_invalidate,
                                            .flush = table_flush};

/* How many numbers of domains every unit has room for. */
static unsigned most_domains(const struct iommu_domain *domain)
{
    unsigned most = IOMMU_MOST_DOMAINS;
    for (struct vtd_unit *u = next_unit(domain, NULL); u != NULL; u = next_unit(domain, u))
        most = (unsigned)min_u64(most, 16u << 2 * VTD_CAP_ND(u->cap));
    return most;
}

/* The entry of the requester's context; NULL: no table has it. */
static uint64_t *context_of(const struct vtd_unit *u, struct pci_bdf requester)
{
    uint64_t root = u->root[2 * requester.bus];
    if ((root & ENTRY_P) == 0)
        return NULL;
    uint64_t *table = vtd.machine->at(hpa(root & ENTRY_ADDRESS));
    return &table[2 * (pci_id(requester) & 0xff)];
}

/* Makes the requester's context table, which stays. */
static bool make_context(struct vtd_unit *u, struct pci_bdf requester)
{
    bool there = true;
    lock_take(&vtd.lock);
    uint64_t *root = &u->root[2 * requester.bus];
    if ((*root & ENTRY_P) == 0) {
        void *table = vtd.machine->alloc(1);
        there = table != NULL;
        if (there) {
            vtd_flush(u, table, PAGE_SIZE);
            __atomic_store_n(root, vtd.machine->hpa(table).v | ENTRY_P, __ATOMIC_RELEASE);
            vtd_flush(u, root, sizeof(*root));
        }
    }
    lock_release(&vtd.lock);
    return there;
}

/* That all units of the domain have. */
static unsigned largest_leaf(const struct iommu_domain *domain)
{
    unsigned largest = 3;
    for (struct vtd_unit *u = next_unit(domain, NULL); u != NULL; u = next_unit(domain, u)) {
        if ((u->cap & VTD_CAP_SL2M) == 0)
            largest = 1;
        else if ((u->cap & VTD_CAP_SL1G) == 0 && largest == 3)
            largest = 2;
    }
    return largest;
}

static int make_tables(struct iommu_domain *domain, unsigned levels)
{
    for (unsigned i = 0; i < domain->count; i++)
        if (!make_context(unit_of(domain->requesters[i]), domain->requesters[i])) {
            log_line("iommu: no memory for context tables; make the host pool larger");
            return -ENOMEM;
        }
    return pt_init(&domain->pt, &vtd_formats[levels - VTD_MIN_LEVELS], &table_owner, domain,
                   largest_leaf(domain));
}

static int create(struct iommu_domain *domain, const struct pci_bdf *requesters, unsigned count,
                  unsigned bits, bool snoop)
{
    assert(count >= 1);
    *domain = (struct iommu_domain){.requesters = requesters,
                                    .count = count,
                                    .snoops = snoop,
                                    .coherent = true,
                                    .machine = vtd.machine,
                                    .kind = &kind};
    for (unsigned i = 0; i < count; i++) {
        const struct vtd_unit *u = unit_of(requesters[i]);
        assert(u != NULL);
        domain->units |= 1ull << u->number;
        domain->snoops &= (u->ecap & VTD_ECAP_SC) != 0;
        domain->coherent &= (u->ecap & VTD_ECAP_C) != 0;
    }
    unsigned levels = iommu_domain_levels(domain, bits);
    if (levels == 0)
        return -ERANGE;
    domain->id = iommu_take_id(&vtd.ids, most_domains(domain));
    if (domain->id == 0)
        return -ENOSPC;
    int error = make_tables(domain, levels);
    if (error != 0)
        iommu_give_id_back(&vtd.ids, domain->id);
    return error;
}

static int map(struct iommu_domain *domain, uint64_t address, hpa_t to, uint64_t size,
               unsigned perm)
{
    if (perm == 0)
        return pt_unmap(&domain->pt, address, size);
    int error = iommu_domain_map(domain, address, to, size, perm, vtd.dmar.address_bits);
    for (struct vtd_unit *u = next_unit(domain, NULL); u != NULL; u = next_unit(domain, u))
        vtd_tell_of_more(u, domain->id);
    return error;
}

/* "Context Entry Programming Considerations": the half with P is written last, and first taken. */
static void set_context(struct vtd_unit *u, uint64_t *context, const struct iommu_domain *domain)
{
    __atomic_store_n(&context[0], 0, __ATOMIC_RELEASE);
    vtd_flush(u, context, 16);
    vtd_forget_all(u);
    if (domain == NULL)
        return;
    context[1] = CONTEXT_ID(domain->id) | CONTEXT_AW(domain->pt.format->levels);
    vtd_flush(u, context, 16);
    __atomic_store_n(&context[0], domain->pt.root.v | ENTRY_P, __ATOMIC_RELEASE);
    vtd_flush(u, context, 16);
    vtd_forget_all(u);
}

static void attach(struct pci_bdf requester, struct iommu_domain *domain)
{
    struct vtd_unit *u = unit_of(requester);
    uint64_t *context = u != NULL ? context_of(u, requester) : NULL;
    assert(context != NULL || domain == NULL);
    if (context == NULL)
        return;
    lock_take(&vtd.lock);
    set_context(u, context, domain);
    lock_release(&vtd.lock);
}

/* --- interrupts and faults -------------------------------------------------------------------- */

static struct vtd_unit *remapper_of(struct pci_bdf requester)
{
    struct vtd_unit *u = unit_of(requester);
    assert(u != NULL && u->remaps);
    return u;
}

static int claim(struct pci_bdf requester)
{
    return vtd_claim_in(remapper_of(requester));
}

static void interrupt(struct pci_bdf requester, unsigned index,
                      const struct iommu_interrupt *interrupt, struct iommu_message *message)
{
    assert(index < VTD_INTERRUPTS);
    vtd_set_interrupt(remapper_of(requester), requester, index, interrupt);
    if (message != NULL)
        *message = vtd_message(index, interrupt);
}

static unsigned faults(void)
{
    unsigned count = 0;
    for (struct vtd_unit *u = vtd.units; u < vtd.units + vtd.dmar.unit_count; u++)
        if (u->on)
            count += vtd_unit_faults(u);
    return count;
}

const struct iommu_ops vtd_ops = {
    .start = start,
    .facts = facts,
    .create = create,
    .attach = attach,
    .map = map,
    .claim = claim,
    .interrupt = interrupt,
    .faults = faults,
};
