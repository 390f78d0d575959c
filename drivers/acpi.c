/* ACPI tables: finds one by its signature, the machine's CPUs in the MADT, ECAMs in the MCFG. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/gsi.h"

#include "drivers/firmware_format.h"
#include "lib/assert.h"
#include "lib/log.h"
#include "lib/string.h"

enum { LONGEST_RSDP = 1024, LONGEST_TABLE = 1024 * 1024, MOST_TABLES = 256 };

/* --- the tables ------------------------------------------------------------------------------- */

/* Where the tables are listed, by entries of 4 or 8 bytes. */
struct root {
    struct acpi_table table;
    unsigned entry_size;
};

uint64_t acpi_find_rsdp(const struct firmware *firmware)
{
    return firmware_find_anywhere(firmware, "RSD PTR ", ACPI_RSDP_OLD_SIZE);
}

/* True where there is a table of SIGNATURE; NONE: nothing can be read there. */
static bool look_at(const struct firmware *firmware, uint64_t at, const char *signature,
                    struct acpi_table *table, unsigned *nowhere)
{
    struct acpi_header header;
    if (!firmware->read(firmware, at, &header, sizeof(header))) {
        ++*nowhere;
        return false;
    }
    if (memcmp(header.signature, signature, sizeof(header.signature)) != 0)
        return false;
    *table = (struct acpi_table){at, header.length};
    bool good = header.length >= sizeof(header) && header.length <= LONGEST_TABLE &&
                firmware_sums_up(firmware, at, header.length);
    if (!good)
        log_line("acpi: %s at 0x%lx: its length (%u) or its sum is wrong; left out, update the "
                 "firmware",
                 signature, at, header.length);
    return good;
}

/* The XSDT or RSDT at AT. */
static bool take_root(const struct firmware *firmware, uint64_t at, unsigned entry_size,
                      struct root *root)
{
    const char *name = entry_size == 8 ? "XSDT" : "RSDT";
    unsigned nowhere = 0;
    root->entry_size = entry_size;
    if (at == 0)
        return false;
    if (look_at(firmware, at, name, &root->table, &nowhere))
        return true;
    log_line("acpi: no %s at 0x%lx, where the RSDP has it; update the firmware", name, at);
    return false;
}

static bool find_root(const struct firmware *firmware, uint64_t at, struct root *root)
{
    struct acpi_rsdp rsdp = {.revision = 0};
    if (!firmware->read(firmware, at, &rsdp, ACPI_RSDP_OLD_SIZE) ||
        memcmp(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature)) != 0 ||
        !firmware_sums_up(firmware, at, ACPI_RSDP_OLD_SIZE)) {
        log_line("acpi: no valid RSDP at 0x%lx; update the firmware", at);
        return false;
    }
    bool whole = rsdp.revision >= 2 && firmware->read(firmware, at, &rsdp, sizeof(rsdp)) &&
                 rsdp.length >= sizeof(rsdp) && rsdp.length <= LONGEST_RSDP &&
                 firmware_sums_up(firmware, at, rsdp.length);
    return (whole && take_root(firmware, rsdp.xsdt, 8, root)) ||
           take_root(firmware, rsdp.rsdt, 4, root);
}

bool acpi_find(const struct firmware *firmware, uint64_t rsdp, const char *signature,
               struct acpi_table *table)
{
    struct root root;
    unsigned nowhere = 0;
    bool found = false;
    if (!find_root(firmware, rsdp, &root))
        return false;
    uint64_t count = (root.table.length - sizeof(struct acpi_header)) / root.entry_size;
    for (unsigned i = 0; i < count && i < MOST_TABLES && !found; i++) {
        uint64_t at = 0, entry = root.table.at + sizeof(struct acpi_header) + i * root.entry_size;
        found = firmware->read(firmware, entry, &at, root.entry_size) && at != 0 &&
                look_at(firmware, at, signature, table, &nowhere);
    }
    if (nowhere != 0)
        log_line("acpi: %u addresses of tables where no table can be; update the firmware",
                 nowhere);
    return found;
}

/* --- the MADT --------------------------------------------------------------------------------- */

/* ACPI, "Multiple APIC Description Table (MADT) Format". */
enum { MADT_LOCAL_APIC = 36, MADT_ENTRIES = 44 };
enum { ENTRY_LOCAL_APIC = 0, ENTRY_IO_APIC = 1, ENTRY_OVERRIDE = 2 };
enum { ENTRY_LOCAL_APIC_ADDRESS = 5, ENTRY_LOCAL_X2APIC = 9 };
enum { CPU_ENABLED = 1 << 0, CPU_ONLINE_CAPABLE = 1 << 1 };
#define BROADCAST   0xffu
#define BROADCAST_X 0xffffffffu

struct __attribute__((packed)) madt_entry {
    uint8_t type, length;
    union {
        struct __attribute__((packed)) {
            uint8_t uid, id;
            uint32_t flags;
        } local_apic;
        struct __attribute__((packed)) {
            uint8_t id, reserved;
            uint32_t address, first;
        } io_apic;
        struct __attribute__((packed)) {
            uint8_t bus, irq;
            uint32_t gsi;
            uint16_t flags;
        } override;
        struct __attribute__((packed)) {
            uint16_t reserved;
            uint32_t id, flags, uid;
        } local_x2apic;
        struct __attribute__((packed)) {
            uint16_t reserved;
            uint64_t address;
        } address;
    };
};
static_assert(offsetof(struct madt_entry, local_apic.flags) == 4, "ACPI, Processor Local APIC");
static_assert(offsetof(struct madt_entry, io_apic.first) == 8, "ACPI, I/O APIC Structure");
static_assert(offsetof(struct madt_entry, override.flags) == 8, "ACPI, Interrupt Source Override");
static_assert(sizeof(struct madt_entry) == 16, "ACPI, Processor Local x2APIC Structure");

static void take_cpu(struct firmware_cpus *cpus, uint32_t id, uint32_t flags, uint32_t broadcast)
{
    if ((flags & CPU_ENABLED) == 0)
        ++*((flags & CPU_ONLINE_CAPABLE) != 0 ? &cpus->later : &cpus->disabled);
    else if (id == broadcast)
        cpus->senseless++;
    else
        firmware_add_cpu(cpus, id);
}

/* ENTRY has all the bytes of its length, as far as they are of any known type. */
static void take_entry(struct firmware_cpus *cpus, const struct madt_entry *entry)
{
    static const uint8_t lengths[] = {
        [ENTRY_LOCAL_APIC] = 8, [ENTRY_LOCAL_APIC_ADDRESS] = 12, [ENTRY_LOCAL_X2APIC] = 16};
    if (entry->type < ARRAY_SIZE(lengths) && entry->length < lengths[entry->type])
        cpus->senseless++;
    else if (entry->type == ENTRY_LOCAL_APIC)
        take_cpu(cpus, entry->local_apic.id, entry->local_apic.flags, BROADCAST);
    else if (entry->type == ENTRY_LOCAL_X2APIC)
        take_cpu(cpus, entry->local_x2apic.id, entry->local_x2apic.flags, BROADCAST_X);
    else if (entry->type == ENTRY_LOCAL_APIC_ADDRESS)
        cpus->local_apic = entry->address.address;
}

/* The entry at OFFSET of MADT; false: it has no length, or one that leads out of the table. */
static bool read_entry(const struct firmware *firmware, const struct acpi_table *madt,
                       uint32_t offset, struct madt_entry *entry)
{
    uint32_t rest = madt->length - offset;
    memset(entry, 0, sizeof(*entry));
    return rest >= 2 && firmware->read(firmware, madt->at + offset, entry, 2) &&
           entry->length >= 2 && entry->length <= rest &&
           firmware->read(firmware, madt->at + offset, entry,
                          min_u64(entry->length, sizeof(*entry)));
}

/*
 * The next entry of MADT, of which OFFSET is the place of the one after; false: there is none, or
 * it makes no sense, logged.
 */
static bool next_entry(const struct firmware *firmware, const struct acpi_table *madt,
                       uint32_t *offset, struct madt_entry *entry)
{
    if (*offset >= madt->length)
        return false;
    if (!read_entry(firmware, madt, *offset, entry)) {
        log_line("acpi: MADT: the entry at byte %u has the length %u; it and the rest are left "
                 "out, update the firmware",
                 *offset, entry->length);
        return false;
    }
    *offset += entry->length;
    return true;
}

void acpi_cpus(const struct firmware *firmware, const struct acpi_table *madt,
               struct firmware_cpus *cpus)
{
    struct madt_entry entry;
    uint32_t local_apic = 0, offset = MADT_ENTRIES;
    if (madt->length >= MADT_ENTRIES)
        firmware->read(firmware, madt->at + MADT_LOCAL_APIC, &local_apic, sizeof(local_apic));
    *cpus = (struct firmware_cpus){.local_apic = local_apic};
    while (next_entry(firmware, madt, &offset, &entry))
        take_entry(cpus, &entry);
}

static bool take_chip(struct gsi_table *table, const struct madt_entry *entry)
{
    uint32_t address = entry->io_apic.address;
    if (entry->length < 12 || address == 0 || address % PAGE_SIZE != 0 ||
        table->count == GSI_MAX_CHIPS)
        return false;
    table->chip[table->count++] =
        (struct gsi_chip){address, entry->io_apic.first, entry->io_apic.id};
    return true;
}

static bool take_override(struct gsi_table *table, const struct madt_entry *entry)
{
    if (entry->length < 10 || entry->override.bus != 0 || entry->override.irq >= GSI_ISA_LINES)
        return false;
    table->isa[entry->override.irq] = entry->override.gsi;
    table->isa_flags[entry->override.irq] = entry->override.flags;
    return true;
}

void acpi_gsis(const struct firmware *firmware, const struct acpi_table *madt,
               struct gsi_table *table)
{
    struct madt_entry entry;
    uint32_t offset = MADT_ENTRIES;
    *table = (struct gsi_table){.count = 0};
    for (unsigned i = 0; i < GSI_ISA_LINES; i++)
        table->isa[i] = i;
    while (next_entry(firmware, madt, &offset, &entry)) {
        bool sense = entry.type == ENTRY_IO_APIC    ? take_chip(table, &entry)
                     : entry.type == ENTRY_OVERRIDE ? take_override(table, &entry)
                                                    : true;
        table->senseless += !sense;
    }
}

/* --- the FADT --------------------------------------------------------------------------------- */

uint16_t acpi_sci(const struct firmware *firmware, const struct acpi_table *fadt)
{
    enum { SCI_INT = 46 };
    uint16_t irq = UINT16_MAX;
    if (fadt->length >= SCI_INT + sizeof(irq))
        firmware->read(firmware, fadt->at + SCI_INT, &irq, sizeof(irq));
    return irq;
}

/* --- the MCFG --------------------------------------------------------------------------------- */

enum { MCFG_ENTRIES = 44 };

struct mcfg_entry {
    uint64_t base; /* of bus 0 */
    uint16_t segment;
    uint8_t first, last;
    uint32_t reserved;
};
static_assert(sizeof(struct mcfg_entry) == 16, "PCI Firmware Specification, MCFG");

static bool overlap(const struct pci_ecam *a, const struct pci_ecam *b)
{
    struct range x = pci_ecam_range(a), y = pci_ecam_range(b);
    bool buses = a->segment == b->segment && a->first <= b->last && b->first <= a->last;
    return buses || ranges_overlap(x, y);
}

static bool is_sane(const struct pci_ecam *e, const struct memmap *map, uint64_t top)
{
    return is_aligned(e->base, MIB) && e->first <= e->last && e->base < top &&
           pci_ecam_range(e).end <= top &&
           memmap_is_all(map, e->base, pci_ecam_range(e).end, MEMMAP_REGISTERS);
}

/* False: it overlaps one that is there, or there is no room. */
static bool insert(struct pci_ecams *ecams, const struct pci_ecam *e)
{
    unsigned at = ecams->count;
    for (unsigned i = 0; i < ecams->count; i++)
        if (overlap(e, &ecams->r[i]))
            return false;
    if (ecams->count == PCI_MAX_ECAMS)
        return false;
    for (; at > 0; at--) {
        const struct pci_ecam *other = &ecams->r[at - 1];
        if (other->segment < e->segment ||
            (other->segment == e->segment && other->first < e->first))
            break;
        ecams->r[at] = *other;
    }
    ecams->r[at] = *e;
    ecams->count++;
    return true;
}

void acpi_ecams(const struct firmware *firmware, const struct acpi_table *mcfg,
                const struct memmap *map, uint64_t top, struct pci_ecams *ecams)
{
    unsigned bad = 0;
    assert(top <= MEMMAP_END);
    ecams->count = 0;
    for (uint32_t at = MCFG_ENTRIES; at + sizeof(struct mcfg_entry) <= mcfg->length;
         at += (uint32_t)sizeof(struct mcfg_entry)) {
        struct mcfg_entry entry = {.base = 0};
        bool read = firmware->read(firmware, mcfg->at + at, &entry, sizeof(entry));
        struct pci_ecam e = {entry.base, entry.segment, entry.first, entry.last};
        bad += !read || !is_sane(&e, map, top) || !insert(ecams, &e);
    }
    if (bad != 0)
        log_line("acpi: MCFG: %u of its entries make no sense; left out, update the firmware", bad);
}
