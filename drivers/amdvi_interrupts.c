/* AMD-Vi's interrupt remapping: who has which table, and the tables' entries. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/amdvi.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "lib/x86.h"

/*
 * AMD IOMMU, "Interrupt Remapping Table Entry Formats": fixed, physical. Of 32 bits, or, where
 * guest virtual APICs are supported, of two words.
 */
#define IRTE_REMAP_EN        1u
#define IRTE_DESTINATION(id) (((id)&0xff) << 8)
#define IRTE_VECTOR(vector)  ((uint32_t)(vector) << 16)
#define IRTE_WIDE_LOW(id)    ((uint64_t)((id)&0xffffff) << 8)
#define IRTE_WIDE_HIGH(id)   ((uint64_t)((id) >> 24) << 56)
enum { NARROW = 4, WIDE = 16 };
static_assert(AMDVI_INTERRUPTS * WIDE == 2 * PAGE_SIZE && AMDVI_INTERRUPTS * NARROW <= PAGE_SIZE,
              "a table's pages");

/* SDM, "Message Address Register Format"; the data is the index, of up to 11 bits. */
#define MESSAGE_ADDRESS 0xfee00000u
#define RTE_LEVEL       (1ull << 15)

enum { MOST_SOURCES = 96 };

struct table {
    void *entries;
    bool wide;
    unsigned claimed; /* of the entries, the first ones */
};

/* A requester, and what it was found to be when it was given its table. */
struct source {
    struct amdvi_unit *unit;
    struct pci_bdf requester;
    struct amdvi_ids ids;
    struct table *table;
};

/* None is ever given back. */
static struct {
    struct lock lock;
    struct source sources[MOST_SOURCES];
    struct table tables[MOST_SOURCES];
    unsigned source_count, table_count;
} interrupts;

/* --- sources ---------------------------------------------------------------------------------- */

void amdvi_forget_sources(void)
{
    memset(&interrupts, 0, sizeof(interrupts));
}

/* NULL: it has none. */
static struct source *source_of(struct pci_bdf requester)
{
    for (struct source *s = interrupts.sources; s < interrupts.sources + interrupts.source_count;
         s++)
        if (pci_same_bdf(s->requester, requester))
            return s;
    return NULL;
}

static bool carries(const struct amdvi_ids *ids, uint16_t id)
{
    return id == ids->id[0] || (ids->count > 1 && id == ids->id[1]);
}

/* The tables that IDS of a segment have already; returns how many, and TABLE is one of them. */
static unsigned tables_of(uint16_t segment, const struct amdvi_ids *ids, struct table **table)
{
    unsigned count = 0;
    *table = NULL;
    for (struct source *s = interrupts.sources; s < interrupts.sources + interrupts.source_count;
         s++) {
        if (s->requester.segment != segment || s->table == *table)
            continue;
        for (unsigned i = 0; i < s->ids.count; i++)
            if (carries(ids, s->ids.id[i])) {
                *table = s->table;
                count++;
                break;
            }
    }
    return count;
}

static struct table *make_table(const struct amdvi_unit *u)
{
    struct table *t = &interrupts.tables[interrupts.table_count]; /* there are as many as sources */
    *t = (struct table){.entries = u->machine->alloc(u->wide ? 2 : 1), .wide = u->wide};
    if (t->entries == NULL)
        return NULL;
    interrupts.table_count++;
    return t;
}

/*
 * Has the interrupts of all its IDs remapped by its table. set_entry() of amdvi.c changes the same
 * words by another lock, but at no other time: VMs are made one by one, before any of them runs.
 */
static void set_table(const struct source *s)
{
    struct amdvi_unit *u = s->unit;
    for (unsigned i = 0; i < s->ids.count; i++) {
        uint64_t *entry = amdvi_entry(u, s->ids.id[i]);
        uint64_t with = AMDVI_DTE_TABLE_LENGTH(AMDVI_INTERRUPTS_SHIFT) | AMDVI_DTE_REMAP |
                        u->machine->hpa(s->table->entries).v;
        __atomic_store_n(&entry[2], entry[2] | with, __ATOMIC_RELEASE);
        amdvi_forget_device(u, s->ids.id[i], (uint16_t)entry[1]);
    }
}

/* Why there is none, and how it comes that there will be. */
static int make(struct amdvi_unit *u, struct pci_bdf requester, const struct amdvi_ids *ids,
                const char **why)
{
    struct table *table;
    unsigned count = tables_of(requester.segment, ids, &table);
    *why = "of so many devices interrupts cannot be remapped; give fewer devices away";
    if (interrupts.source_count == MOST_SOURCES)
        return -ENOSPC;
    *why = "the firmware makes it one with two others that have interrupts already; update the "
           "firmware, or leave one of them out";
    if (count > 1 || (count == 1 && table->wide != u->wide))
        return -EINVAL;
    *why = "no memory for a table of interrupts; make the host pool larger";
    if (count == 0)
        table = make_table(u);
    if (table == NULL)
        return -ENOMEM;
    struct source *s = &interrupts.sources[interrupts.source_count++];
    *s = (struct source){u, requester, *ids, table};
    set_table(s);
    return 0;
}

int amdvi_make_source(struct amdvi_unit *u, struct pci_bdf requester, const struct amdvi_ids *ids)
{
    const char *why = NULL;
    lock_take(&interrupts.lock);
    int error = source_of(requester) == NULL ? make(u, requester, ids, &why) : 0;
    lock_release(&interrupts.lock);
    if (error != 0)
        log_line("iommu %u: %s: %s", u->number, pci_name(requester).text, why);
    return error;
}

/* --- entries ---------------------------------------------------------------------------------- */

/* By one write: an interrupt goes where the entry leads before, or where it leads after. */
static void write_interrupt(const struct source *s, unsigned index,
                            const struct iommu_interrupt *interrupt)
{
    uint32_t id = interrupt != NULL ? interrupt->apic_id : 0;
    uint8_t vector = interrupt != NULL ? interrupt->vector : 0;
    uint32_t on = interrupt != NULL ? IRTE_REMAP_EN : 0;
    assert(s->unit->x2apic || id <= UINT8_MAX);
    if (s->table->wide)
        store16((uint64_t *)s->table->entries + (size_t)2 * index, on | IRTE_WIDE_LOW(id),
                vector | IRTE_WIDE_HIGH(id));
    else
        __atomic_store_n((uint32_t *)s->table->entries + index,
                         on | IRTE_DESTINATION(id) | IRTE_VECTOR(vector), __ATOMIC_RELEASE);
}

/* By whichever ID of a device that has the table it may have been found. */
static void forget_entries(const struct table *table)
{
    for (struct source *s = interrupts.sources; s < interrupts.sources + interrupts.source_count;
         s++)
        for (unsigned i = 0; s->table == table && i < s->ids.count; i++)
            amdvi_forget_interrupts(s->unit, s->ids.id[i]);
}

/*
 * "MSI Address and Data": the entry's index is the data, so of an I/O APIC's entry vector and
 * delivery mode. Its EOI must name that, and not the vector that the CPU gets.
 */
static struct iommu_message message_of(unsigned index, const struct iommu_interrupt *interrupt)
{
    uint64_t level = interrupt != NULL && interrupt->level ? RTE_LEVEL : 0;
    return (struct iommu_message){.address = MESSAGE_ADDRESS, .data = index, .rte = level | index};
}

int amdvi_claim(struct pci_bdf requester)
{
    lock_take(&interrupts.lock);
    const struct source *s = source_of(requester);
    assert(s != NULL);
    unsigned *claimed = &s->table->claimed;
    int found = *claimed < AMDVI_INTERRUPTS ? (int)(*claimed)++ : -ENOSPC;
    lock_release(&interrupts.lock);
    if (found < 0)
        log_line("iommu %u: none of a device's %u entries for interrupts is left", s->unit->number,
                 AMDVI_INTERRUPTS);
    return found;
}

void amdvi_interrupt(struct pci_bdf requester, unsigned index,
                     const struct iommu_interrupt *interrupt, struct iommu_message *message)
{
    lock_take(&interrupts.lock);
    const struct source *s = source_of(requester);
    assert(index < AMDVI_INTERRUPTS && s != NULL);
    write_interrupt(s, index, interrupt);
    forget_entries(s->table);
    lock_release(&interrupts.lock);
    if (message != NULL)
        *message = message_of(index, interrupt);
}
