/* The MultiProcessor Specification's tables: CPUs, and inputs of I/O APICs. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/mptable.h"

#include "drivers/firmware_format.h"
#include "lib/assert.h"
#include "lib/log.h"
#include "lib/string.h"

/* An entry, as far as all of them have it: that of a CPU has more, which is not looked at. */
union entry {
    uint8_t type;
    struct {
        uint8_t type, apic_id, apic_version, flags;
    } cpu;
    struct mp_bus bus;
    struct mp_ioapic ioapic;
    struct mp_interrupt interrupt;
};
static_assert(sizeof(union entry) == 8, "MP Configuration Table Entries");
enum { BROADCAST = 0xff };

/* "Default Configurations": 1 to 7, each of two CPUs with the APIC IDs 0 and 1. */
enum { LAST_DEFAULT = 7 };
#define DEFAULT_LOCAL_APIC 0xfee00000u

/* --- the table -------------------------------------------------------------------------------- */

struct table {
    const struct firmware *firmware;
    uint64_t at;
    struct mp_header header;
};

/* A place in it: entry I begins OFFSET bytes from its start. */
struct place {
    uint32_t offset;
    unsigned i;
};

static const struct place first = {sizeof(struct mp_header), 0};

/* The entry at PLACE, which goes on to the next one; false: it was the last, or makes no sense. */
static bool next_entry(const struct table *table, struct place *place, union entry *entry)
{
    uint32_t length = table->header.length, at = place->offset;
    if (place->i >= table->header.entries || at + sizeof(*entry) > length ||
        !table->firmware->read(table->firmware, table->at + at, entry, sizeof(*entry)))
        return false;
    uint32_t size = entry->type == MP_ENTRY_CPU ? sizeof(struct mp_cpu) : sizeof(*entry);
    if (entry->type > MP_ENTRY_LOCAL_INTERRUPT || size > length - at)
        return false;
    *place = (struct place){at + size, place->i + 1};
    return true;
}

static bool find_pointer(const struct firmware *firmware, struct mp_pointer *pointer)
{
    uint64_t at = firmware_find_anywhere(firmware, "_MP_", sizeof(*pointer));
    return at != 0 && firmware->read(firmware, at, pointer, sizeof(*pointer));
}

static bool read_table(const struct firmware *firmware, uint64_t at, struct table *table)
{
    struct mp_header *header = &table->header;
    table->firmware = firmware;
    table->at = at;
    return firmware->read(firmware, at, header, sizeof(*header)) &&
           memcmp(header->signature, "PCMP", sizeof(header->signature)) == 0 &&
           header->length >= sizeof(*header) && firmware_sums_up(firmware, at, header->length);
}

/* --- CPUs ------------------------------------------------------------------------------------- */

static void take_cpu(struct firmware_cpus *cpus, const union entry *entry)
{
    if ((entry->cpu.flags & MP_CPU_ENABLED) == 0)
        cpus->disabled++;
    else if (entry->cpu.apic_id == BROADCAST)
        cpus->senseless++;
    else
        firmware_add_cpu(cpus, entry->cpu.apic_id);
}

static bool take_cpus(const struct table *table, struct firmware_cpus *cpus)
{
    struct place place = first;
    union entry entry;
    cpus->local_apic = table->header.local_apic;
    while (next_entry(table, &place, &entry))
        if (entry.type == MP_ENTRY_CPU)
            take_cpu(cpus, &entry);
    if (place.i < table->header.entries)
        log_line("mp table: entry %u is of no known type, or beyond the table's end; it and the "
                 "rest are left out, update the firmware",
                 place.i);
    return true;
}

bool mptable_cpus(const struct firmware *firmware, struct firmware_cpus *cpus)
{
    struct mp_pointer pointer;
    struct table table;
    *cpus = (struct firmware_cpus){.local_apic = DEFAULT_LOCAL_APIC};
    if (!find_pointer(firmware, &pointer))
        return false;
    if (pointer.configuration == 0) {
        if (read_table(firmware, pointer.table, &table))
            return take_cpus(&table, cpus);
        log_line("mp table: no valid configuration table at 0x%x; update the firmware",
                 pointer.table);
        return false;
    }
    if (pointer.configuration > LAST_DEFAULT) {
        log_line("mp table: no default configuration has the number %u; update the firmware",
                 pointer.configuration);
        return false;
    }
    firmware_add_cpu(cpus, 0);
    firmware_add_cpu(cpus, 1);
    return true;
}

/* --- interrupts ------------------------------------------------------------------------------- */

static bool find_table(const struct firmware *firmware, struct table *table)
{
    struct mp_pointer pointer;
    return find_pointer(firmware, &pointer) && pointer.configuration == 0 &&
           read_table(firmware, pointer.table, table);
}

/* The number of the first bus called so, which is ID or, below 0, any; or -1. */
static int find_bus(const struct table *table, const char *name, int id)
{
    struct place place = first;
    union entry entry;
    while (next_entry(table, &place, &entry))
        if (entry.type == MP_ENTRY_BUS && (id < 0 || entry.bus.id == id) &&
            memcmp(entry.bus.name, name, strlen(name)) == 0)
            return entry.bus.id;
    return -1;
}

/* The first I/O APIC of that ID in use; all of them have the same interrupt at the same pin. */
static bool find_ioapic(const struct table *table, unsigned id, uint64_t *address)
{
    struct place place = first;
    union entry entry;
    while (next_entry(table, &place, &entry))
        if (entry.type == MP_ENTRY_IOAPIC && (entry.ioapic.flags & MP_IOAPIC_ENABLED) != 0 &&
            (id == MP_ALL_APICS || entry.ioapic.id == id)) {
            *address = entry.ioapic.address;
            return true;
        }
    return false;
}

/* The first interrupt of that bus, which may be -1, and IRQ. */
static bool find_interrupt(const struct table *table, int bus, unsigned irq,
                           struct mptable_input *input)
{
    struct place place = first;
    union entry entry;
    while (next_entry(table, &place, &entry)) {
        const struct mp_interrupt *interrupt = &entry.interrupt;
        if (entry.type != MP_ENTRY_INTERRUPT || interrupt->interrupt != MP_INT ||
            interrupt->bus != bus || interrupt->irq != irq)
            continue;
        input->pin = interrupt->pin;
        input->flags = interrupt->flags;
        return find_ioapic(table, interrupt->apic, &input->ioapic);
    }
    return false;
}

/* "Source Bus IRQ" of PCI: the device, and INTA as 0. */
bool mptable_pci(const struct firmware *firmware, unsigned bus, unsigned device, unsigned intx,
                 struct mptable_input *input)
{
    struct table table;
    return find_table(firmware, &table) &&
           find_interrupt(&table, find_bus(&table, "PCI ", (int)bus), device << 2 | (intx - 1),
                          input);
}

bool mptable_isa(const struct firmware *firmware, unsigned irq, struct mptable_input *input)
{
    struct table table;
    return find_table(firmware, &table) && find_bus(&table, "PCI ", -1) < 0 &&
           find_interrupt(&table, find_bus(&table, "ISA ", -1), irq, input);
}
