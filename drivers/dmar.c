/* The ACPI table of Intel's IOMMUs: which units there are, and what they translate. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/dmar.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

/* VT-d, "DMA Remapping Reporting Structure". */
enum { WIDTH = 36, FLAGS = 37, STRUCTURES = 48 };
enum { FLAG_REMAPS = 1 << 0, FLAG_NO_X2APIC = 1 << 1 };
enum { TYPE_UNIT = 0, TYPE_RESERVED = 1, TYPE_PORTS = 2 };

/* "Remapping Structure Types": how each begins; scopes follow. */
struct __attribute__((packed)) structure {
    uint16_t type, length;
    union {
        struct __attribute__((packed)) { /* its bit 0: INCLUDE_PCI_ALL */
            uint8_t flags, size;
            uint16_t segment;
            uint64_t base;
        } unit;
        struct __attribute__((packed)) {
            uint16_t reserved, segment;
            uint64_t base, limit; /* LIMIT: of the last byte */
        } reserved;
        struct __attribute__((packed)) { /* its bit 0: ALL_PORTS */
            uint8_t flags, reserved;
            uint16_t segment;
        } ports;
    };
};
static_assert(offsetof(struct structure, unit.base) == 8, "VT-d, DRHD");
static_assert(offsetof(struct structure, reserved.limit) == 16, "VT-d, RMRR");
static_assert(offsetof(struct structure, ports.segment) == 6, "VT-d, ATSR");
enum { UNIT_SIZE = 16, RESERVED_SIZE = 24, PORTS_SIZE = 8 };

/* "Device Scope Structure"; a path of pairs follows. */
struct __attribute__((packed)) scope_head {
    uint8_t type, length;
    uint16_t reserved;
    uint8_t enumeration, bus;
};
static_assert(sizeof(struct scope_head) == 6, "VT-d, Device Scope Structure");

struct __attribute__((packed)) hop {
    uint8_t device, function;
};

/* PCI Local Bus Specification and PCI-to-PCI Bridge Architecture Specification. */
enum { PCI_ID = 0x00, PCI_HEADER_TYPE = 0x0c, PCI_BUSES = 0x18, HEADER_BRIDGE = 1 };

/* A structure of the table, as far as it has been read. */
struct cursor {
    const struct dmar_reader *reader;
    struct dmar *dmar;
    uint64_t at; /* of the structure */
    struct structure s;
    const char *name;
};

static bool read(const struct cursor *c, uint64_t at, void *to, size_t n)
{
    return c->reader->firmware->read(c->reader->firmware, at, to, n);
}

/* --- scopes ----------------------------------------------------------------------------------- */

static bool is_there(const struct cursor *c, struct pci_bdf bdf)
{
    return (uint16_t)c->reader->config(bdf, PCI_ID) != 0xffff;
}

static bool is_bridge(const struct cursor *c, struct pci_bdf bdf)
{
    return is_there(c, bdf) &&
           (c->reader->config(bdf, PCI_HEADER_TYPE) >> 16 & 0x7f) == HEADER_BRIDGE;
}

/* Follows the path of a scope of HOPS pairs at AT; false: it leads nowhere. */
static bool follow(const struct cursor *c, uint64_t at, unsigned hops, struct pci_bdf *bdf)
{
    for (unsigned i = 0; i < hops; i++) {
        struct hop hop;
        if (i > 0 && !is_bridge(c, *bdf))
            return false;
        if (i > 0)
            bdf->bus = (uint8_t)(c->reader->config(*bdf, PCI_BUSES) >> 8);
        if (!read(c, at + i * sizeof(hop), &hop, sizeof(hop)) || hop.device >= 32 ||
            hop.function >= 8)
            return false;
        bdf->device = hop.device;
        bdf->function = hop.function;
    }
    return true;
}

/* What is behind SCOPE, a bridge; what is none is taken for a device alone. */
static void look_behind(const struct cursor *c, struct dmar_scope *scope)
{
    if (!is_bridge(c, scope->bdf)) {
        log_line("dmar: %s names %02x:%02x.%u as a bridge, which it is not", c->name,
                 scope->bdf.bus, scope->bdf.device, scope->bdf.function);
        scope->type = DMAR_ENDPOINT;
        return;
    }
    uint32_t buses = c->reader->config(scope->bdf, PCI_BUSES);
    scope->secondary = (uint8_t)(buses >> 8);
    scope->subordinate = (uint8_t)(buses >> 16);
}

/* Adds the scope that HEAD begins; the device may be one that this machine does not have. */
static void add_scope(const struct cursor *c, const struct scope_head *head, uint64_t at,
                      uint16_t segment)
{
    struct dmar_scope scope = {head->type, head->enumeration, {segment, head->bus, 0, 0}, 0, 0};
    unsigned hops = (head->length - (unsigned)sizeof(*head)) / sizeof(struct hop);
    bool seen = head->type == DMAR_ENDPOINT || head->type == DMAR_BRIDGE;
    struct dmar *dmar = c->dmar;
    if (!follow(c, at + sizeof(*head), hops, &scope.bdf) || (seen && !is_there(c, scope.bdf))) {
        log_line("dmar: %s names a device by bus %02x that is not there; left out", c->name,
                 head->bus);
        return;
    }
    if (dmar->scope_count == DMAR_MAX_SCOPES) {
        log_line("dmar: more than %u devices named; %02x:%02x.%u left out", DMAR_MAX_SCOPES,
                 scope.bdf.bus, scope.bdf.device, scope.bdf.function);
        dmar->cut = true;
        return;
    }
    if (scope.type == DMAR_BRIDGE)
        look_behind(c, &scope);
    dmar->scopes[dmar->scope_count++] = scope;
}

/* The scope that begins REST bytes before the structure's end; false, logged: that is none. */
static bool read_scope(const struct cursor *c, unsigned rest, struct scope_head *head)
{
    uint64_t at = c->at + c->s.length - rest;
    if (rest >= sizeof(*head) && read(c, at, head, sizeof(*head)) &&
        head->length >= sizeof(*head) + sizeof(struct hop) && head->length % 2 == 0 &&
        head->length <= rest)
        return true;
    log_line("dmar: %s: a device's entry at 0x%lx has no sensible length; it and the rest are left "
             "out",
             c->name, at);
    return false;
}

/* All scopes of the structure, from its byte FROM on. */
static struct dmar_scopes take_scopes(const struct cursor *c, unsigned from, uint16_t segment)
{
    struct scope_head head;
    unsigned first = c->dmar->scope_count;
    for (unsigned rest = c->s.length - from; rest != 0; rest -= head.length) {
        if (!read_scope(c, rest, &head)) {
            c->dmar->cut = true;
            break;
        }
        if (head.type >= DMAR_ENDPOINT && head.type <= DMAR_NAMESPACE)
            add_scope(c, &head, c->at + c->s.length - rest, segment);
    }
    return (struct dmar_scopes){(uint16_t)first, (uint16_t)(c->dmar->scope_count - first)};
}

/* --- structures ------------------------------------------------------------------------------- */

static bool is_known(const struct dmar *dmar, uint64_t base)
{
    for (unsigned i = 0; i < dmar->unit_count; i++)
        if (dmar->units[i].base == base)
            return true;
    return false;
}

/* Why the unit cannot be used; NULL: it can. */
static const char *unit_problem(const struct cursor *c)
{
    uint64_t base = c->s.unit.base;
    const uint64_t most = 5 * PAGE_SIZE; /* that CAP.FRO, CAP.NFR and ECAP.IRO can lead to */
    if (c->dmar->unit_count == DMAR_MAX_UNITS)
        return "is one too many";
    if (base == 0 || !is_aligned(base, PAGE_SIZE) || base > (1ull << c->reader->phys_bits) - most)
        return "is not where registers can be";
    return memmap_is_all(c->reader->map, base, base + most, MEMMAP_REGISTERS) ? NULL
                                                                              : "is over memory";
}

static bool has_rest(const struct dmar *dmar, uint16_t segment)
{
    for (unsigned i = 0; i < dmar->unit_count; i++)
        if (dmar->units[i].all && dmar->units[i].segment == segment)
            return true;
    return false;
}

/* What it names is no other unit's, all the rest neither: nothing translates that. */
static void lose_unit(const struct cursor *c, struct dmar_unit unit)
{
    struct dmar *dmar = c->dmar;
    if (dmar->lost_count == ARRAY_SIZE(dmar->lost)) {
        dmar->incomplete = true;
        return;
    }
    unit.scopes = take_scopes(c, UNIT_SIZE, unit.segment);
    dmar->lost[dmar->lost_count++] = unit;
}

static void take_unit(const struct cursor *c)
{
    struct dmar_unit unit = {c->s.unit.base, c->s.unit.segment, (c->s.unit.flags & 1) != 0, {0, 0}};
    bool twice = is_known(c->dmar, unit.base); /* it blocks what the other entry names */
    bool rest = has_rest(c->dmar, unit.segment);
    const char *why = twice ? "is there twice" : unit_problem(c);
    if (why != NULL) {
        log_line("dmar: the unit at 0x%lx %s; left out, update the firmware", unit.base, why);
        if (!twice)
            lose_unit(c, unit);
        return;
    }
    if (rest)
        log_line("dmar: the unit at 0x%lx comes after the one for all the rest of segment %u%s",
                 unit.base, unit.segment,
                 unit.all ? ", and is for all the rest, too: it gets what it names" : "");
    unit.all = unit.all && !rest;
    unit.scopes = take_scopes(c, UNIT_SIZE, unit.segment);
    c->dmar->units[c->dmar->unit_count++] = unit;
}

static const char *reserved_problem(const struct cursor *c)
{
    uint64_t base = c->s.reserved.base, limit = c->s.reserved.limit;
    if (base > limit)
        return "ends before it begins";
    if (limit >= MEMMAP_END || !is_aligned(base, PAGE_SIZE) || !is_aligned(limit + 1, PAGE_SIZE))
        return "is not of whole pages";
    if (!memmap_is_all(c->reader->map, base, limit + 1, 1 << MEM_FIRMWARE))
        return "is not all in memory that the firmware keeps for itself";
    return c->dmar->reserved_count == DMAR_MAX_RESERVED ? "is one too many" : NULL;
}

static void take_reserved(const struct cursor *c)
{
    const char *why = reserved_problem(c);
    uint64_t base = c->s.reserved.base, limit = c->s.reserved.limit;
    if (why != NULL) {
        log_line("dmar: the RMRR 0x%lx-0x%lx %s; left out, update the firmware", base, limit, why);
        return;
    }
    struct dmar_reserved reserved = {{base, limit + 1},
                                     take_scopes(c, RESERVED_SIZE, c->s.reserved.segment)};
    if (reserved.scopes.count != 0)
        c->dmar->reserved[c->dmar->reserved_count++] = reserved;
}

/*
 * ATS is off everywhere, whatever ports take it: what is wrong here is told of, and no more.
 * "Root Port ATS Capability Reporting Structure": a scope is a root port, and counts where not all
 * ports are meant.
 */
static void check_ports(const struct cursor *c)
{
    struct scope_head head;
    bool all = (c->s.ports.flags & 1) != 0;
    unsigned rest = all ? 0 : c->s.length - PORTS_SIZE;
    for (; rest != 0 && read_scope(c, rest, &head); rest -= head.length)
        if (head.type != DMAR_BRIDGE)
            log_line("dmar: %s names a device by bus %02x that is no root port", c->name, head.bus);
}

static const struct {
    const char *name;
    uint16_t size;
    void (*take)(const struct cursor *c);
} kinds[] = {
    [TYPE_UNIT] = {"a DRHD", UNIT_SIZE, take_unit},
    [TYPE_RESERVED] = {"an RMRR", RESERVED_SIZE, take_reserved},
    [TYPE_PORTS] = {"an ATSR", PORTS_SIZE, check_ports},
};

static void take_structure(struct cursor *c)
{
    if (c->s.type >= ARRAY_SIZE(kinds))
        return;
    c->name = kinds[c->s.type].name;
    if (c->s.length < kinds[c->s.type].size || !read(c, c->at, &c->s, kinds[c->s.type].size)) {
        log_line("dmar: %s of only %u bytes; left out, update the firmware", c->name, c->s.length);
        c->dmar->incomplete |= c->s.type == TYPE_UNIT;
        return;
    }
    kinds[c->s.type].take(c);
}

int dmar_parse(const struct dmar_reader *reader, const struct acpi_table *table, struct dmar *dmar)
{
    enum { HEAD = 4 }; /* type and length */
    struct cursor c = {reader, dmar, table->at + STRUCTURES, {0, 0, {{0, 0, 0, 0}}}, ""};
    uint8_t head[2] = {0, 0};
    memset(dmar, 0, sizeof(*dmar));
    if (table->length < STRUCTURES || !read(&c, table->at + WIDTH, head, sizeof(head))) {
        log_line("dmar: of only %u bytes; update the firmware", table->length);
        return -EINVAL;
    }
    static_assert(FLAGS == WIDTH + 1, "both are read at once");
    dmar->address_bits = (uint8_t)min_u64(head[0] + 1u, 64);
    dmar->remaps = (head[1] & FLAG_REMAPS) != 0;
    for (uint64_t end = table->at + table->length; c.at < end; c.at += c.s.length) {
        if (end - c.at < HEAD || !read(&c, c.at, &c.s, HEAD) || c.s.length < HEAD ||
            c.s.length > end - c.at) {
            log_line("dmar: the structure at byte %lu has the length %u; it and the rest are left "
                     "out, update the firmware",
                     c.at - table->at, c.s.length);
            dmar->incomplete = true;
            break;
        }
        take_structure(&c);
    }
    return 0;
}

bool dmar_asks_for_xapic(const struct firmware *firmware, const struct acpi_table *table)
{
    enum { ASKS = FLAG_REMAPS | FLAG_NO_X2APIC };
    uint8_t flags;
    return table->length >= STRUCTURES &&
           firmware->read(firmware, table->at + FLAGS, &flags, sizeof(flags)) &&
           (flags & ASKS) == ASKS;
}

/* --- questions -------------------------------------------------------------------------------- */

bool dmar_names(const struct dmar *dmar, struct dmar_scopes scopes, struct pci_bdf bdf)
{
    for (unsigned i = scopes.first; i < scopes.first + (unsigned)scopes.count; i++) {
        const struct dmar_scope *scope = &dmar->scopes[i];
        if (scope->bdf.segment != bdf.segment)
            continue;
        if (scope->bdf.bus == bdf.bus && scope->bdf.device == bdf.device &&
            scope->bdf.function == bdf.function)
            return true;
        if (scope->type == DMAR_BRIDGE && bdf.bus >= scope->secondary &&
            bdf.bus <= scope->subordinate)
            return true;
    }
    return false;
}

const struct dmar_unit *dmar_unit_of(const struct dmar *dmar, struct pci_bdf bdf)
{
    const struct dmar_unit *rest = NULL;
    bool lost = dmar->incomplete || (dmar->cut && dmar->lost_count != 0); /* may be another's */
    for (unsigned i = 0; i < dmar->lost_count; i++) {
        if (dmar_names(dmar, dmar->lost[i].scopes, bdf))
            return NULL;
        lost = lost || (dmar->lost[i].all && dmar->lost[i].segment == bdf.segment);
    }
    for (unsigned i = 0; i < dmar->unit_count; i++) {
        const struct dmar_unit *unit = &dmar->units[i];
        if (dmar_names(dmar, unit->scopes, bdf))
            return unit;
        if (unit->all && unit->segment == bdf.segment)
            rest = unit;
    }
    return lost ? NULL : rest;
}
