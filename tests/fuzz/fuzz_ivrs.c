/*
 * Fuzzes the parser of IVRSs. The input is the table's body. What is taken must lie where it may,
 * every entry within the list, and each answer must follow from an entry.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/ivrs.h"
#include "tests/fuzz/fuzz.h"

enum { TABLE = 0x1000, BODY = 36, LONGEST = 4096 };

static const uint8_t *body;
static unsigned body_size;
static struct ivrs ivrs;

/* 7f000000 to 7f0fffff is the firmware's; all below is RAM. */
static const struct memmap map = {
    .count = 2,
    .r = {{.start = 0, .end = 0x7f000000, .kind = MEM_RAM},
          {.start = 0x7f000000, .end = 0x7f100000, .kind = MEM_FIRMWARE}},
};

static bool read_bytes(const struct firmware *firmware, uint64_t at, void *to, size_t n)
{
    (void)firmware;
    require(n <= 512 && at >= TABLE + BODY && at + n <= TABLE + BODY + body_size);
    memcpy(to, body + (at - TABLE - BODY), n);
    return true;
}

static void check_entries(const struct ivrs_unit *unit)
{
    require(unit->first_entry + unit->entry_count <= ivrs.entry_count);
    for (unsigned i = 0; i < unit->entry_count; i++) {
        const struct ivrs_entry *e = &ivrs.entries[unit->first_entry + i];
        struct pci_bdf bdf = {unit->segment, (uint8_t)(e->last >> 8), e->last >> 3 & 31,
                              e->last & 7};
        require(e->first <= e->last && e->last <= unit->last && e->kind <= IVRS_HPET);
        require(!e->aliased || e->alias <= unit->last);
        require(pci_id(bdf) == e->last);
        require(ivrs_unit_of(&ivrs, bdf) != NULL && ivrs_unit_of(&ivrs, bdf) <= unit);
        require(ivrs_alias_of(&ivrs, bdf) <= ivrs_unit_of(&ivrs, bdf)->last);
    }
}

static void check_units(void)
{
    require(ivrs.unit_count <= IVRS_MAX_UNITS && ivrs.entry_count <= IVRS_MAX_ENTRIES);
    for (unsigned i = 0; i < ivrs.unit_count; i++) {
        const struct ivrs_unit *unit = &ivrs.units[i];
        require(unit->base >= 0x7f000000 && unit->base % 0x4000 == 0);
        require(unit->base < (1ull << 40));
        require(unit->type == 0x10 || unit->type == 0x11 || unit->type == 0x40);
        check_entries(unit);
        for (unsigned k = 0; k < i; k++)
            require(ivrs.units[k].base != unit->base);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct firmware firmware = {read_bytes};
    static const struct ivrs_reader reader = {&firmware, &map, 40};
    host_log_reset();
    if (size > LONGEST)
        return 0;
    body = data;
    body_size = (unsigned)size;
    const struct acpi_table table = {TABLE, BODY + body_size};
    if (ivrs_parse(&reader, &table, &ivrs) != 0)
        return 0;
    check_units();
    require(ivrs.address_bits >= 1 && ivrs.address_bits <= 64);
    require(ivrs.device_bits >= 1 && ivrs.device_bits <= 64);
    require(ivrs.reserved_count <= IVRS_MAX_RESERVED);
    for (unsigned i = 0; i < ivrs.reserved_count; i++) {
        struct range r = ivrs.reserved[i].range;
        require(r.start >= 0x7f000000 && r.start < r.end && r.end <= 0x7f100000);
        require((r.start | r.end) % 4096 == 0);
        require(ivrs.reserved[i].first <= ivrs.reserved[i].last);
    }
    return 0;
}
