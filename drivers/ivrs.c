/* The ACPI table of AMD's IOMMUs: which units there are, and what they translate. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/ivrs.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

/* AMD IOMMU, "IVRS Header Fields": IVinfo, and where the blocks begin. */
enum { INFO = 36, BLOCKS = 48 };
#define INFO_PA_BITS(info) ((unsigned)((info) >> 8 & 0x7f))
#define INFO_VA_BITS(info) ((unsigned)((info) >> 15 & 0x7f))

enum { TYPE_UNIT = 0x10, TYPE_UNIT_EFR = 0x11, TYPE_UNIT_ACPI = 0x40 };
enum { TYPE_MEMORY_ALL = 0x20, TYPE_MEMORY_ONE = 0x21, TYPE_MEMORY_RANGE = 0x22 };

/* How each block begins; behind an IVHD's entries of devices follow. */
struct __attribute__((packed)) block {
    uint8_t type, flags;
    uint16_t length, id;
    union {
        struct __attribute__((packed)) {
            uint16_t capability;
            uint64_t base;
            uint16_t segment, info;
            uint32_t attributes; /* of the types with EFR */
        } unit;
        struct __attribute__((packed)) {
            uint16_t last, segment;
            uint8_t reserved[6];
            uint64_t start, size;
        } memory;
    };
};
static_assert(offsetof(struct block, unit.base) == 8, "AMD IOMMU, IVHD");
static_assert(offsetof(struct block, unit.segment) == 16, "AMD IOMMU, IVHD");
static_assert(offsetof(struct block, unit.attributes) == 20, "AMD IOMMU, IVHD");
static_assert(offsetof(struct block, memory.segment) == 8, "AMD IOMMU, IVMD");
static_assert(offsetof(struct block, memory.start) == 16, "AMD IOMMU, IVMD");
enum { ATTRIBUTE_HATDIS = 1 };
enum { HEAD = 6, UNIT_SIZE = 24, UNIT_EFR_SIZE = 40, MEMORY_SIZE = 32 };

/* "IVHD Device Entries"; what one of 4 bytes lacks is 0. */
struct __attribute__((packed)) entry {
    uint8_t type;
    uint16_t id;
    uint8_t setting, handle;
    uint16_t alias;
    uint8_t variety;
};
static_assert(sizeof(struct entry) == 8, "AMD IOMMU, IVHD Device Entries");

enum entry_type {
    ENTRY_PAD = 0,
    ENTRY_ALL = 1,
    ENTRY_ONE = 2,
    ENTRY_START = 3,
    ENTRY_END = 4,
    ENTRY_LONG_PAD = 0x40,
    ENTRY_ALIAS = 0x42,
    ENTRY_ALIAS_START = 0x43,
    ENTRY_EXTENDED = 0x46,
    ENTRY_EXTENDED_START = 0x47,
    ENTRY_SPECIAL = 0x48,
    ENTRY_ACPI = 0xf0,
};
enum { VARIETY_IOAPIC = 1, VARIETY_HPET = 2, FIRST_OF_ANY_LENGTH = 0xf0 };
enum { ACPI_HID = 4, ACPI_HID_SIZE = 8, ACPI_SIZE = 22, ACPI_UID_SIZE = 21 };

/* The table, as far as it has been read. */
struct cursor {
    const struct ivrs_reader *reader;
    struct ivrs *ivrs;
    uint64_t first, at, end; /* of the blocks; of this one; of the table */
    struct block b;
    struct ivrs_unit *unit; /* whose entries are read */
    bool lost;              /* the unit is */
    struct ivrs_entry open; /* a range that has begun */
    bool is_open;
};

static bool read(const struct cursor *c, uint64_t at, void *to, size_t n)
{
    return c->reader->firmware->read(c->reader->firmware, at, to, n);
}

static bool is_unit(uint8_t type)
{
    return type == TYPE_UNIT || type == TYPE_UNIT_EFR || type == TYPE_UNIT_ACPI;
}

/* --- devices ---------------------------------------------------------------------------------- */

static void add(const struct cursor *c, struct ivrs_entry entry)
{
    struct ivrs *ivrs = c->ivrs;
    if (entry.last < entry.first) {
        log_line("ivrs: devices %04x to %04x: this ends before it begins; left out", entry.first,
                 entry.last);
        ivrs->cut = true;
        return;
    }
    if (ivrs->entry_count == IVRS_MAX_ENTRIES) {
        log_line("ivrs: more than %u entries of devices; %04x is left out", IVRS_MAX_ENTRIES,
                 entry.first);
        ivrs->cut = true;
        return;
    }
    ivrs->entries[ivrs->entry_count++] = entry;
    c->unit->entry_count++;
    c->unit->last = (uint16_t)max_u64(c->unit->last, entry.last);
    if (entry.aliased)
        c->unit->last = (uint16_t)max_u64(c->unit->last, entry.alias);
}

/* "IVHD Special Device Entry": what sends interrupts by an ID that no PCI function need have. */
static void add_special(const struct cursor *c, const struct entry *e)
{
    if (e->variety != VARIETY_IOAPIC && e->variety != VARIETY_HPET) {
        log_line("ivrs: a special device of the kind %u; left out", e->variety);
        return;
    }
    add(c, (struct ivrs_entry){.first = e->alias,
                               .last = e->alias,
                               .setting = e->setting,
                               .ioapic = e->variety == VARIETY_IOAPIC && !c->lost,
                               .handle = e->handle});
}

/* "ACPI Device Entry": no function of PCI's, so nobody is given it. */
static void add_acpi(const struct cursor *c, const struct entry *e, uint64_t at)
{
    char name[ACPI_HID_SIZE];
    if (!read(c, at + ACPI_HID, name, sizeof(name)))
        return;
    for (unsigned i = 0; i < sizeof(name); i++)
        if (name[i] < ' ' || name[i] > '~')
            name[i] = '?';
    if (!c->lost)
        log_line("ivrs: the ACPI device %.8s, by %04x: its DMA is blocked", name, e->id);
    add(c, (struct ivrs_entry){.first = e->id, .last = e->id, .setting = e->setting});
}

static void end_range(struct cursor *c, uint16_t last)
{
    if (!c->is_open) {
        log_line("ivrs: %04x ends a range that has not begun; left out", last);
        c->ivrs->cut = true;
        return;
    }
    c->is_open = false;
    c->open.last = last;
    add(c, c->open);
}

static void drop_range(struct cursor *c)
{
    if (c->is_open)
        log_line("ivrs: the range from %04x on has no end; left out", c->open.first);
    c->ivrs->cut |= c->is_open;
    c->is_open = false;
}

static void take_entry(struct cursor *c, const struct entry *e, uint64_t at)
{
    struct ivrs_entry one = {
        .first = e->id, .last = e->id, .alias = e->alias, .setting = e->setting};
    bool begins =
        e->type == ENTRY_START || e->type == ENTRY_ALIAS_START || e->type == ENTRY_EXTENDED_START;
    one.aliased = e->type == ENTRY_ALIAS || e->type == ENTRY_ALIAS_START;
    if (e->type == ENTRY_PAD || e->type == ENTRY_LONG_PAD)
        return;
    if (e->type == ENTRY_END) {
        end_range(c, e->id);
        return;
    }
    drop_range(c);
    c->is_open = begins;
    c->open = one;
    if (e->type == ENTRY_ALL)
        add(c, (struct ivrs_entry){.first = 0, .last = UINT16_MAX, .setting = e->setting});
    else if (e->type == ENTRY_ONE || e->type == ENTRY_ALIAS || e->type == ENTRY_EXTENDED)
        add(c, one);
    else if (e->type == ENTRY_SPECIAL)
        add_special(c, e);
    else if (e->type == ENTRY_ACPI)
        add_acpi(c, e, at);
}

/* "IVHD Device Entry Types": the two highest bits are the length, but of the last 16; 0: none. */
static unsigned entry_length(const struct cursor *c, uint8_t type, uint64_t at, unsigned rest)
{
    uint8_t uid;
    if (type < FIRST_OF_ANY_LENGTH)
        return 4u << (type >> 6);
    if (type != ENTRY_ACPI || c->b.type != TYPE_UNIT_ACPI || rest < ACPI_SIZE ||
        !read(c, at + ACPI_UID_SIZE, &uid, sizeof(uid)))
        return 0;
    return ACPI_SIZE + uid;
}

/* All entries of the block, from its byte FROM on. */
static void take_entries(struct cursor *c, unsigned from)
{
    struct entry e;
    unsigned length;
    for (unsigned rest = c->b.length - from; rest != 0; rest -= length) {
        uint64_t at = c->at + c->b.length - rest;
        memset(&e, 0, sizeof(e));
        length = read(c, at, &e.type, sizeof(e.type)) ? entry_length(c, e.type, at, rest) : 0;
        if (length == 0 || length > rest || !read(c, at, &e, min_u64(length, sizeof(e)))) {
            log_line("ivrs: a device's entry at 0x%lx, of the type %02xh, has no sensible length; "
                     "it and the rest are left out",
                     at, e.type);
            c->ivrs->cut = true;
            break;
        }
        take_entry(c, &e, at);
    }
    drop_range(c);
}

/* --- units ------------------------------------------------------------------------------------ */

/* Why there cannot be a unit at BASE; NULL: there can. */
static const char *place_problem(const struct cursor *c, uint64_t base)
{
    const uint64_t size = 16 * KIB;
    if (base == 0 || !is_aligned(base, size) || base > (1ull << c->reader->phys_bits) - size)
        return "is not where registers can be";
    return memmap_is_all(c->reader->map, base, base + size, MEMMAP_REGISTERS) ? NULL
                                                                              : "is over memory";
}

/* It is on then, and blocks what other blocks name for it. */
static bool is_known(const struct ivrs *ivrs, uint64_t base)
{
    for (unsigned i = 0; i < ivrs->unit_count; i++)
        if (ivrs->units[i].base == base)
            return true;
    return false;
}

/* Why the unit cannot be used; NULL: it can. */
static const char *unit_problem(const struct cursor *c)
{
    if (is_known(c->ivrs, c->b.unit.base))
        return "is there twice";
    if (c->ivrs->unit_count == IVRS_MAX_UNITS)
        return "is one too many";
    return place_problem(c, c->b.unit.base);
}

/* Reads how the block at AT begins; false: there is none, or none of a sensible length. */
static bool read_head(const struct cursor *c, uint64_t at, struct block *b)
{
    memset(b, 0, sizeof(*b));
    return c->end - at >= HEAD && read(c, at, b, HEAD) && b->length >= HEAD &&
           b->length <= c->end - at;
}

/* Whether there is a block of a higher type for the unit, with registers where they can be. */
static bool has_better(const struct cursor *c)
{
    struct block b;
    for (uint64_t at = c->first; read_head(c, at, &b); at += b.length)
        if (is_unit(b.type) && b.type > c->b.type && b.id == c->b.id && b.length >= UNIT_EFR_SIZE &&
            read(c, at, &b, UNIT_SIZE) && b.unit.segment == c->b.unit.segment &&
            place_problem(c, b.unit.base) == NULL)
            return true;
    return false;
}

/* Devices of UNIT, a lost one or not; its entries begin at the block's byte FROM. */
static void take_devices(struct cursor *c, struct ivrs_unit *unit, unsigned from)
{
    unit->first_entry = (uint16_t)c->ivrs->entry_count;
    c->unit = unit;
    take_entries(c, from);
}

/* What it names is no other unit's: nothing translates that. */
static void lose_unit(struct cursor *c, struct ivrs_unit unit, unsigned from)
{
    struct ivrs *ivrs = c->ivrs;
    if (ivrs->lost_count == ARRAY_SIZE(ivrs->lost)) {
        ivrs->incomplete = true;
        return;
    }
    ivrs->lost[ivrs->lost_count] = unit;
    c->lost = true;
    take_devices(c, &ivrs->lost[ivrs->lost_count++], from);
    c->lost = false;
}

/* Whether a block of another type has told of the same unit, and that can be used. */
static bool is_used(const struct ivrs *ivrs, const struct ivrs_unit *unit)
{
    for (const struct ivrs_unit *u = ivrs->units; u < ivrs->units + ivrs->unit_count; u++)
        if (u->segment == unit->segment && u->id == unit->id && u->type != unit->type)
            return true;
    return false;
}

/* Only at the end is it known which units are used. */
static void drop_used(struct ivrs *ivrs)
{
    unsigned count = 0;
    for (unsigned i = 0; i < ivrs->lost_count; i++)
        if (!is_used(ivrs, &ivrs->lost[i]))
            ivrs->lost[count++] = ivrs->lost[i];
    ivrs->lost_count = count;
}

static void take_unit(struct cursor *c)
{
    unsigned size = c->b.type == TYPE_UNIT ? UNIT_SIZE : UNIT_EFR_SIZE;
    struct ivrs *ivrs = c->ivrs;
    if (c->b.length < size || !read(c, c->at, &c->b, UNIT_SIZE)) {
        log_line("ivrs: an IVHD of only %u bytes; left out, update the firmware", c->b.length);
        ivrs->incomplete = true;
        return;
    }
    bool hatdis = size == UNIT_EFR_SIZE && (c->b.unit.attributes & ATTRIBUTE_HATDIS) != 0;
    struct ivrs_unit unit = {.base = c->b.unit.base,
                             .segment = c->b.unit.segment,
                             .id = c->b.id,
                             .capability = c->b.unit.capability,
                             .type = c->b.type,
                             .flags = c->b.flags,
                             .has_no_tables = hatdis};
    bool better = has_better(c), known = better || is_known(ivrs, unit.base);
    const char *why = better ? "is there by a higher type, too" : unit_problem(c);
    if (why != NULL) {
        log_line("ivrs: the unit at 0x%lx (IVHD %02xh) %s; left out", unit.base, unit.type, why);
        if (!known)
            lose_unit(c, unit, size);
        return;
    }
    ivrs->units[ivrs->unit_count] = unit;
    take_devices(c, &ivrs->units[ivrs->unit_count++], size);
}

/* --- reserved memory -------------------------------------------------------------------------- */

static const char *memory_problem(const struct cursor *c)
{
    uint64_t start = c->b.memory.start, size = c->b.memory.size;
    if (size == 0 || start >= MEMMAP_END || size > MEMMAP_END - start)
        return "has no sensible length";
    if (!is_aligned(start | size, PAGE_SIZE))
        return "is not of whole pages";
    if (!memmap_is_all(c->reader->map, start, start + size, 1 << MEM_FIRMWARE))
        return "is not all in memory that the firmware keeps for itself";
    if (c->b.type == TYPE_MEMORY_RANGE && c->b.memory.last < c->b.id)
        return "is for devices that end before they begin";
    return c->ivrs->reserved_count == IVRS_MAX_RESERVED ? "is one too many" : NULL;
}

/* An exclusion range, too, becomes memory that is mapped one to one: for its devices alone. */
static void take_memory(struct cursor *c)
{
    if (c->b.length < MEMORY_SIZE || !read(c, c->at, &c->b, MEMORY_SIZE)) {
        log_line("ivrs: an IVMD of only %u bytes; left out, update the firmware", c->b.length);
        return;
    }
    const char *why = memory_problem(c);
    uint64_t start = c->b.memory.start, size = c->b.memory.size;
    if (why != NULL) {
        log_line("ivrs: the IVMD at 0x%lx, of 0x%lx bytes, %s; left out, update the firmware",
                 start, size, why);
        return;
    }
    struct ivrs_reserved r = {{start, start + size}, c->b.memory.segment, c->b.id, c->b.id};
    if (c->b.type == TYPE_MEMORY_ALL)
        r.first = 0;
    if (c->b.type != TYPE_MEMORY_ONE)
        r.last = c->b.type == TYPE_MEMORY_ALL ? UINT16_MAX : c->b.memory.last;
    c->ivrs->reserved[c->ivrs->reserved_count++] = r;
}

/* --- the table -------------------------------------------------------------------------------- */

static void check_ioapics(const struct ivrs *ivrs)
{
    for (unsigned i = 0; i < ivrs->entry_count; i++)
        if (ivrs->entries[i].ioapic)
            return;
    if (ivrs->unit_count != 0)
        log_line("ivrs: it names no I/O APIC: interrupts of lines (INTx) are blocked; update the "
                 "firmware");
}

int ivrs_parse(const struct ivrs_reader *reader, const struct acpi_table *table, struct ivrs *ivrs)
{
    struct cursor c = {.reader = reader,
                       .ivrs = ivrs,
                       .first = table->at + BLOCKS,
                       .end = table->at + table->length};
    uint32_t info = 0;
    memset(ivrs, 0, sizeof(*ivrs));
    if (table->length < BLOCKS || !read(&c, table->at + INFO, &info, sizeof(info))) {
        log_line("ivrs: of only %u bytes; update the firmware", table->length);
        return -EINVAL;
    }
    ivrs->address_bits = (uint8_t)(INFO_PA_BITS(info) != 0 ? min_u64(INFO_PA_BITS(info), 64) : 64);
    ivrs->device_bits = (uint8_t)(INFO_VA_BITS(info) != 0 ? min_u64(INFO_VA_BITS(info), 64) : 64);
    for (c.at = c.first; read_head(&c, c.at, &c.b); c.at += c.b.length) {
        if (is_unit(c.b.type))
            take_unit(&c);
        else if (c.b.type >= TYPE_MEMORY_ALL && c.b.type <= TYPE_MEMORY_RANGE)
            take_memory(&c);
    }
    drop_used(ivrs);
    ivrs->incomplete |= c.at != c.end;
    if (c.at != c.end)
        log_line("ivrs: the block at byte %lu has the length %u; it and the rest are left out, "
                 "update the firmware",
                 c.at - table->at, c.b.length);
    check_ioapics(ivrs);
    return 0;
}

/* --- questions -------------------------------------------------------------------------------- */

/* How an entry names a device: the narrower counts. */
enum naming { NAMES_ONE, NAMES_RANGE, NAMES_ALL, NAMES_NOT };

static enum naming naming_of(const struct ivrs_entry *e, uint16_t id)
{
    if (id < e->first || id > e->last)
        return NAMES_NOT;
    if (e->first == e->last)
        return NAMES_ONE;
    return e->first == 0 && e->last == UINT16_MAX ? NAMES_ALL : NAMES_RANGE;
}

/* The first of COUNT units, at U, that names BDF as narrowly as any of them (*HOW); or NULL. */
static const struct ivrs_unit *narrowest(const struct ivrs *ivrs, const struct ivrs_unit *u,
                                         unsigned count, struct pci_bdf bdf, enum naming *how)
{
    const struct ivrs_unit *found = NULL;
    *how = NAMES_NOT;
    for (const struct ivrs_unit *end = u + count; u < end; u++) {
        const struct ivrs_entry *e = ivrs->entries + u->first_entry;
        for (unsigned i = 0; i < u->entry_count && u->segment == bdf.segment; i++) {
            enum naming naming = naming_of(&e[i], pci_id(bdf));
            if (naming >= *how)
                continue;
            *how = naming;
            found = u;
        }
    }
    return found;
}

/* A lost unit counts where both name it alike; what nothing tells of may be in any range. */
const struct ivrs_unit *ivrs_unit_of(const struct ivrs *ivrs, struct pci_bdf bdf)
{
    enum naming how, lost;
    const struct ivrs_unit *unit = narrowest(ivrs, ivrs->units, ivrs->unit_count, bdf, &how);
    bool others = ivrs->unit_count + ivrs->lost_count > 1;
    narrowest(ivrs, ivrs->lost, ivrs->lost_count, bdf, &lost);
    if ((ivrs->incomplete || (ivrs->cut && others)) && lost > NAMES_RANGE)
        lost = NAMES_RANGE;
    return how < lost ? unit : NULL;
}

uint16_t ivrs_alias_of(const struct ivrs *ivrs, struct pci_bdf bdf)
{
    enum naming how;
    const struct ivrs_unit *u = narrowest(ivrs, ivrs->units, ivrs->unit_count, bdf, &how);
    uint16_t id = pci_id(bdf), alias = id;
    for (unsigned i = 0; u != NULL && i < u->entry_count; i++) {
        const struct ivrs_entry *e = &ivrs->entries[u->first_entry + i];
        if (e->aliased && id >= e->first && id <= e->last)
            alias = e->alias;
    }
    return alias;
}

uint8_t ivrs_setting_of(const struct ivrs *ivrs, uint16_t segment, uint16_t id)
{
    uint8_t setting = 0;
    for (const struct ivrs_unit *u = ivrs->units; u < ivrs->units + ivrs->unit_count; u++) {
        const struct ivrs_entry *e = ivrs->entries + u->first_entry;
        for (unsigned i = 0; i < u->entry_count && u->segment == segment; i++)
            if ((id >= e[i].first && id <= e[i].last) || (e[i].aliased && id == e[i].alias))
                setting |= e[i].setting;
    }
    return setting;
}

bool ivrs_names(const struct ivrs_reserved *reserved, struct pci_bdf bdf)
{
    uint16_t id = pci_id(bdf);
    return reserved->segment == bdf.segment && id >= reserved->first && id <= reserved->last;
}
