/* The MultiProcessor Specification's tables: the machine's CPUs where there is no ACPI. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/mptable.h"

#include "drivers/firmware_format.h"
#include "lib/assert.h"
#include "lib/log.h"
#include "lib/string.h"

/*
 * MultiProcessor Specification, "Processor Entries": first in the table, 20 bytes each; all others
 * have 8.
 */
struct entry {
    uint8_t type, apic_id, apic_version, flags;
};
enum { ENTRY_CPU = 0, ENTRY_CPU_SIZE = 20, ENTRY_SIZE = 8, ENTRY_LAST_TYPE = 4 };
enum { CPU_ENABLED = 1 << 0, BROADCAST = 0xff };

/* "Default Configurations": 1 to 7, each of two CPUs with the APIC IDs 0 and 1. */
enum { LAST_DEFAULT = 7 };
#define DEFAULT_LOCAL_APIC 0xfee00000u

static void take_cpu(struct firmware_cpus *cpus, const struct entry *entry)
{
    if ((entry->flags & CPU_ENABLED) == 0)
        cpus->disabled++;
    else if (entry->apic_id == BROADCAST)
        cpus->senseless++;
    else
        firmware_add_cpu(cpus, entry->apic_id);
}

static void take_entries(const struct firmware *firmware, uint64_t table,
                         const struct mp_header *header, struct firmware_cpus *cpus)
{
    uint32_t at = sizeof(*header), size = 0;
    for (unsigned i = 0; i < header->entries; i++, at += size) {
        struct entry entry = {.type = ENTRY_LAST_TYPE + 1};
        if (at + sizeof(entry) <= header->length)
            firmware->read(firmware, table + at, &entry, sizeof(entry));
        size = entry.type == ENTRY_CPU ? ENTRY_CPU_SIZE : ENTRY_SIZE;
        if (entry.type > ENTRY_LAST_TYPE || size > header->length - at) {
            log_line("mp table: entry %u is of no known type, or beyond the table's end; it and "
                     "the rest are left out, update the firmware",
                     i);
            return;
        }
        if (entry.type == ENTRY_CPU)
            take_cpu(cpus, &entry);
    }
}

static bool take_table(const struct firmware *firmware, uint64_t at, struct firmware_cpus *cpus)
{
    struct mp_header header;
    if (!firmware->read(firmware, at, &header, sizeof(header)) ||
        memcmp(header.signature, "PCMP", sizeof(header.signature)) != 0 ||
        header.length < sizeof(header) || !firmware_sums_up(firmware, at, header.length)) {
        log_line("mp table: no valid configuration table at 0x%lx; update the firmware", at);
        return false;
    }
    cpus->local_apic = header.local_apic;
    take_entries(firmware, at, &header, cpus);
    return true;
}

bool mptable_cpus(const struct firmware *firmware, struct firmware_cpus *cpus)
{
    struct mp_pointer pointer;
    uint64_t at = firmware_find_anywhere(firmware, "_MP_", sizeof(pointer));
    *cpus = (struct firmware_cpus){.local_apic = DEFAULT_LOCAL_APIC};
    if (at == 0 || !firmware->read(firmware, at, &pointer, sizeof(pointer)))
        return false;
    if (pointer.configuration == 0)
        return take_table(firmware, pointer.table, cpus);
    if (pointer.configuration > LAST_DEFAULT) {
        log_line("mp table: no default configuration has the number %u; update the firmware",
                 pointer.configuration);
        return false;
    }
    firmware_add_cpu(cpus, 0);
    firmware_add_cpu(cpus, 1);
    return true;
}
