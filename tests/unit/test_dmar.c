/* DMARs as machines have them, well made and not. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/acpi_bytes.h"

#include <stdio.h>

#include "drivers/dmar.h"
#include "lib/errno.h"
#include "tests/unit/dmar_records.h"

static struct dmar dmar;
static bool recorded; /* the machine is one of those in dmar_records.h */

/* --- the machine: 00:02.0 is a bridge to 01, 01:00.0 one to 02 and 03; devices below ---------- */

/* Every function is there; on buses above 0 those of devices 0 to 3 are ports to the next bus. */
static uint32_t config_recorded(struct pci_bdf bdf, unsigned reg)
{
    bool port = bdf.bus != 0 && bdf.device < 4;
    uint32_t next = bdf.bus + 1u;
    return reg == 0x0c   ? (uint32_t)port << 16
           : reg == 0x18 ? next << 16 | next << 8 | bdf.bus
                         : 0x12348086;
}

static uint32_t config(struct pci_bdf bdf, unsigned reg)
{
    if (recorded)
        return config_recorded(bdf, reg);
    static const struct {
        uint16_t segment;
        uint8_t bus, device, function;
        uint32_t header, buses;
    } functions[] = {
        {0, 0, 0, 0, 0, 0},       {0, 0, 1, 0, 0, 0},          {0, 0, 2, 0, 1, 0x00030100},
        {0, 0, 0x1d, 0, 0x80, 0}, {0, 0, 0x1f, 0, 0x80, 0},    {0, 0, 0x1f, 2, 0x80, 0},
        {0, 0, 0x1f, 3, 0x80, 0}, {0, 1, 0, 0, 1, 0x00030201}, {0, 2, 3, 0, 0, 0},
        {1, 0, 2, 0, 0, 0},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(functions); i++) {
        struct pci_bdf f = {functions[i].segment, functions[i].bus, functions[i].device,
                            functions[i].function};
        if (pci_same_bdf(bdf, f))
            return reg == 0x0c   ? functions[i].header << 16
                   : reg == 0x18 ? functions[i].buses
                                 : 0x12348086;
    }
    return UINT32_MAX;
}

static const struct dmar_reader reader = {&firmware, &map, 40, config};

static int parse(void)
{
    host_log_reset();
    return dmar_parse(&reader, &(struct acpi_table){TABLE, used}, &dmar);
}

/* --- tables ----------------------------------------------------------------------------------- */

static void begin(void)
{
    begin_table("DMAR", (struct range){0xfed90000, 0xfed91000});
    bytes[36] = 38;
    bytes[37] = 1;
}

/* Structures; the length is put in by end(). */
static unsigned drhd(uint64_t base, unsigned flags, unsigned segment)
{
    unsigned at = used;
    put(0, 4), put(flags, 1), put(0, 1), put(segment, 2), put(base, 8);
    return at;
}

static unsigned rmrr(uint64_t base, uint64_t limit)
{
    unsigned at = used;
    put(1, 4), put(0, 4), put(base, 8), put(limit, 8);
    return at;
}

/* A scope of up to two hops; DEVICE2 0xff: one. */
static void scope(unsigned type, unsigned enumeration, unsigned bus, unsigned device,
                  unsigned function, unsigned device2)
{
    put(type, 1), put(device2 == 0xff ? 8 : 10, 1), put(0, 2), put(enumeration, 1), put(bus, 1);
    put(device, 1), put(function, 1);
    if (device2 != 0xff)
        put(device2, 1), put(0, 1);
}

static const struct pci_bdf vga = {0, 0, 2, 0}, behind = {0, 2, 3, 0}, usb = {0, 0, 0x1d, 0};

static unsigned unit_of(struct pci_bdf bdf)
{
    const struct dmar_unit *unit = dmar_unit_of(&dmar, bdf);
    return unit == NULL ? 99 : (unsigned)(unit - dmar.units);
}

/* --- good ones -------------------------------------------------------------------------------- */

/* As QEMU 7.2's q35 with a root port and a bridge behind it has it in memory: nothing is left over
 * for INCLUDE_PCI_ALL. */
static void test_qemu(void **state)
{
    (void)state;
    begin();
    unhex("444d4152780000000103424f4348532042585043202020200100000042585043010000002f01000000000000"
          "0000000000004800000000000000d9fe000000000308000000ff000001080000000000000108000000000100"
          "02080000000002000108000000001f000108000000001f020108000000001f03");
    assert_int_equal(used, 120);
    assert_int_equal(parse(), 0);
    assert_string_equal(host_log, "");
    assert_int_equal(dmar.address_bits, 48);
    assert_true(dmar.remaps);
    assert_int_equal(dmar.unit_count, 1);
    assert_int_equal(dmar.units[0].base, 0xfed90000);
    assert_false(dmar.units[0].all);
    assert_int_equal(dmar.units[0].scopes.count, 7);
    assert_int_equal(dmar.scopes[0].type, DMAR_IOAPIC);
    assert_int_equal(unit_of((struct pci_bdf){0, 0xff, 0, 0}), 0);
    assert_int_equal(unit_of(behind), 0);
    assert_int_equal(unit_of((struct pci_bdf){0, 3, 31, 7}), 0);
    assert_int_equal(unit_of((struct pci_bdf){0, 4, 0, 0}), 99);
    assert_int_equal(unit_of(usb), 99);
}

/* The same without bridges and with device-iotlb=on: all root ports take ATS. */
static void test_qemu_with_ats(void **state)
{
    (void)state;
    begin();
    unhex("444d415278000000010c424f4348532042585043202020200100000042585043010000002f01000000000000"
          "0000000000004000000000000000d9fe000000000308000000ff000001080000000000000108000000000100"
          "0108000000001f000108000000001f020108000000001f030200080001000000");
    assert_int_equal(parse(), 0);
    assert_string_equal(host_log, "");
    assert_int_equal(dmar.unit_count, 1);
    assert_int_equal(dmar.scope_count, 6);
}

/* A laptop: one unit for the display, one for the rest, RMRRs of display and USB. */
static void laptop(void)
{
    begin();
    unsigned at = drhd(0xfed90000, 0, 0);
    scope(1, 0, 0, 1, 0, 0xff);
    end(at);
    at = drhd(0xfed91000, 1, 0);
    scope(3, 2, 0xf0, 0x1f, 0, 0xff);
    scope(4, 0, 0, 0x1f, 0, 0xff);
    end(at);
    at = rmrr(0x7f800000, 0x7fffffff);
    scope(1, 0, 0, 1, 0, 0xff);
    end(at);
    at = rmrr(0x7e000000, 0x7e01ffff);
    scope(1, 0, 0, 0x1d, 0, 0xff);
    scope(1, 0, 0, 2, 0, 0);
    end(at);
    put(2, 2), put(16, 2), put(0, 4); /* ATSR, of a bridge */
    put(2, 1), put(8, 1), put(0, 4), put(2, 1), put(0, 1);
    put(3, 2), put(20, 2), put(0, 16); /* RHSA */
    put(99, 2), put(8, 2), put(0, 4);  /* what is to come */
}

static void test_laptop(void **state)
{
    (void)state;
    laptop();
    assert_int_equal(parse(), 0);
    assert_string_equal(host_log, "");
    assert_int_equal(dmar.address_bits, 39);
    assert_int_equal(dmar.unit_count, 2);
    assert_int_equal(unit_of((struct pci_bdf){0, 0, 1, 0}), 0);
    assert_int_equal(unit_of(usb), 1);
    assert_int_equal(unit_of(behind), 1);
    assert_int_equal(unit_of((struct pci_bdf){1, 0, 1, 0}), 99);
    assert_int_equal(dmar.scopes[1].enumeration, 2);
    assert_int_equal(dmar.reserved_count, 2);
    assert_int_equal(dmar.reserved[0].range.end, 0x80000000);
    assert_true(dmar_names(&dmar, dmar.reserved[1].scopes, usb));
    assert_true(dmar_names(&dmar, dmar.reserved[1].scopes, (struct pci_bdf){0, 1, 0, 0}));
    assert_false(dmar_names(&dmar, dmar.reserved[1].scopes, vga));
    assert_int_equal(dmar.scope_count, 6);
}

static bool asks_for_xapic(void)
{
    return dmar_asks_for_xapic(&firmware, &(struct acpi_table){TABLE, used});
}

/* X2APIC_OPT_OUT counts beside INTR_REMAP alone. */
static void test_flags(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 4; flags++) {
        begin();
        bytes[37] = (uint8_t)flags;
        bytes[36] = 255;
        assert_int_equal(parse(), 0);
        assert_int_equal(dmar.remaps, flags & 1);
        assert_int_equal(asks_for_xapic(), flags == 3);
        assert_int_equal(dmar.address_bits, 64);
    }
}

/* Paths through bridges, in two segments. */
static void test_paths(void **state)
{
    (void)state;
    begin();
    unsigned at = drhd(0xfed92000, 0, 0);
    put(1, 1), put(12, 1), put(0, 2), put(0, 1), put(0, 1); /* 00:02.0, 01:00.0, 02:03.0 */
    put(2, 2), put(0, 2), put(3, 2);
    end(at);
    at = drhd(0xfed93000, 0, 1);
    scope(1, 0, 0, 2, 0, 0xff);
    end(at);
    assert_int_equal(parse(), 0);
    assert_string_equal(host_log, "");
    assert_int_equal(unit_of(behind), 0);
    assert_int_equal(unit_of((struct pci_bdf){1, 0, 2, 0}), 1);
    assert_int_equal(unit_of(vga), 99);
}

/* --- recorded ones ---------------------------------------------------------------------------- */

struct record {
    const char *hex, *log;
    uint8_t bits, units, scopes, reserved_count;
    bool xapic;
    struct range reserved[2];
    struct {
        struct pci_bdf bdf;
        uint8_t unit;
    } of[4];
    uint64_t base[4]; /* of units, in order */
};

static const struct record records[] = {
    {.hex = DMAR_SURFACE, /* two timers and UARTs by name */
     .log = "dmar: the RMRR 0x3e2e0000-0x3e2fffff is not all in memory that the firmware keeps for "
            "itself; left out, update the firmware\n",
     .bits = 39,
     .units = 2,
     .scopes = 8,
     .reserved_count = 1,
     .reserved = {{0x8d000000, 0x8f800000}},
     .of = {{{0, 0, 2, 0}, 0}, {{0, 0, 0x14, 0}, 1}, {{0, 1, 0, 0}, 1}, {{0, 0, 0x15, 1}, 1}},
     .base = {0xfed90000, 0xfed91000}},
    {.hex = DMAR_SURFACE_2020,
     .log = "",
     .bits = 39,
     .xapic = true,
     .units = 3,
     .scopes = 5,
     .reserved_count = 1,
     .reserved = {{0x91000000, 0x95400000}},
     .of = {{{0, 0, 2, 0}, 0}, {{0, 0, 5, 0}, 1}, {{0, 0, 0x14, 0}, 2}, {{0, 1, 0, 0}, 2}},
     .base = {0xfed90000, 0xfed92000, 0xfed91000}},
    {.hex = DMAR_SERVER, /* none is for all the rest, and its RHSAs are of units that it has not */
     .log = "",
     .bits = 46,
     .units = 3,
     .scopes = 15,
     .reserved_count = 1,
     .reserved = {{0x75460000, 0x75471000}},
     .of = {{{0, 0x80, 4, 7}, 0}, {{0, 0x86, 0, 0}, 1}, {{0, 0xaf, 0, 0}, 2}, {{0, 0, 20, 0}, 99}},
     .base = {0xd37fc000, 0xe0ffc000, 0xee7fc000}},
    {.hex = DMAR_SNB,
     .log = "",
     .bits = 36,
     .units = 2,
     .scopes = 13,
     .reserved_count = 2,
     .reserved = {{0xcadcd000, 0xcade4000}, {0xcb800000, 0xcfa00000}},
     .of = {{{0, 0, 2, 0}, 0}, {{0, 0, 0x1d, 0}, 1}, {{0, 1, 0, 0}, 1}, {{0, 0xf0, 0x1f, 0}, 1}},
     .base = {0xfed90000, 0xfed91000}},
    {.hex = DMAR_IMAC_PRO,
     .log = "",
     .bits = 46,
     .units = 4,
     .scopes = 11,
     .xapic = true,
     .reserved_count = 1,
     .reserved = {{0x4fee1000, 0x4fee4000}},
     .of = {{{0, 4, 0, 0}, 0}, {{0, 6, 0, 0}, 1}, {{0, 0xf1, 0, 0}, 2}, {{0, 0, 0x14, 0}, 3}},
     .base = {0x8fffc000, 0xdfffc000, 0xfbffc000, 0x7fffc000}},
};

/* What firmware keeps, with memory up to the first of it. */
static void map_of(const struct record *r)
{
    map = (struct memmap){.count = 1 + r->reserved_count};
    map.r[0] = (struct mem_range){.start = 0, .end = r->reserved[0].start, .kind = MEM_RAM};
    for (unsigned i = 0; i < r->reserved_count; i++)
        map.r[1 + i] = (struct mem_range){
            .start = r->reserved[i].start, .end = r->reserved[i].end, .kind = MEM_FIRMWARE};
}

static void expect_record(const struct record *r)
{
    unhex(r->hex);
    map_of(r);
    assert_int_equal(parse(), 0);
    assert_string_equal(host_log, r->log);
    assert_int_equal(dmar.address_bits, r->bits);
    assert_true(dmar.remaps);
    assert_int_equal(dmar.unit_count, r->units);
    for (unsigned i = 0; i < r->units; i++)
        assert_int_equal(dmar.units[i].base, r->base[i]);
    for (unsigned i = 0; i < ARRAY_SIZE(r->of); i++)
        assert_int_equal(unit_of(r->of[i].bdf), r->of[i].unit);
    assert_int_equal(dmar.scope_count, r->scopes);
    assert_int_equal(asks_for_xapic(), r->xapic);
    assert_int_equal(dmar.reserved_count, r->reserved_count);
    for (unsigned i = 0; i < r->reserved_count; i++) {
        assert_int_equal(dmar.reserved[i].range.start, r->reserved[i].start);
        assert_int_equal(dmar.reserved[i].range.end, r->reserved[i].end);
    }
}

static void test_recorded(void **state)
{
    (void)state;
    recorded = true;
    for (unsigned i = 0; i < ARRAY_SIZE(records); i++)
        expect_record(&records[i]);
    recorded = false;
}

/* Whatever byte is another, or where it ends: as many units as before at most, and no harm. */
static void test_recorded_and_damaged(void **state)
{
    (void)state;
    recorded = true;
    for (unsigned i = 0; i < ARRAY_SIZE(records); i++)
        for (unsigned at = 36; at < strlen(records[i].hex) / 2; at++) {
            map_of(&records[i]);
            for (unsigned bit = 0; bit < 8; bit++) {
                unhex(records[i].hex);
                bytes[at] ^= (uint8_t)(1u << bit);
                (void)parse();
                assert_true(dmar.unit_count <= DMAR_MAX_UNITS);
            }
            unhex(records[i].hex);
            used = at;
            (void)parse();
            assert_true(dmar.unit_count <= records[i].units);
        }
    recorded = false;
}

/* --- odd ones --------------------------------------------------------------------------------- */

static void test_too_short(void **state)
{
    (void)state;
    begin();
    used = 47;
    bytes[37] = 3;
    assert_int_equal(parse(), -EINVAL);
    assert_false(asks_for_xapic());
    assert_true(logged("dmar: of only 47 bytes"));
}

static void test_structures_without_length(void **state)
{
    (void)state;
    for (unsigned length = 0; length < 4; length++) {
        laptop();
        unsigned at = used;
        put(0, 2), put(length, 2), put(0, 12);
        end(drhd(0xfed94000, 0, 0));
        assert_int_equal(parse(), 0);
        char text[80];
        snprintf(text, sizeof(text), "the structure at byte %u has the length %u;", at, length);
        assert_true(logged(text));
        assert_int_equal(dmar.unit_count, 2);
    }
}

static void test_structures_that_end_outside(void **state)
{
    (void)state;
    laptop();
    unsigned at = drhd(0xfed94000, 0, 0);
    end(at);
    bytes[at + 2]++;
    assert_int_equal(parse(), 0);
    assert_true(logged("has the length 17"));
    assert_int_equal(dmar.unit_count, 2);
    laptop();
    put(0, 3);
    assert_int_equal(parse(), 0);
    assert_true(logged("it and the rest are left out"));
}

static void test_structures_that_are_too_short(void **state)
{
    (void)state;
    begin();
    put(0, 2), put(12, 2), put(0, 8);
    put(1, 2), put(16, 2), put(0, 12);
    put(2, 2), put(6, 2), put(0, 2);
    end(drhd(0xfed94000, 1, 0));
    assert_int_equal(parse(), 0);
    assert_true(logged("a DRHD of only 12 bytes"));
    assert_true(logged("an RMRR of only 16 bytes"));
    assert_true(logged("an ATSR of only 6 bytes"));
    assert_int_equal(dmar.unit_count, 1);
}

static void test_units_at_no_place(void **state)
{
    (void)state;
    static const struct {
        uint64_t base;
        const char *why;
    } cases[] = {
        {0, "is not where registers can be"},
        {0xfed90800, "is not where registers can be"},
        {0xffffffc000, "is not where registers can be"}, /* their last page: 2^40 */
        {0xfff0000000000000, "is not where registers can be"},
        {0x100000, "is over memory"},
        {0xffffc000, "is over memory"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        begin();
        end(drhd(cases[i].base, 1, 0));
        assert_int_equal(parse(), 0);
        assert_int_equal(dmar.unit_count, 0);
        assert_true(logged(cases[i].why));
    }
}

/* What a unit that is left out names is not the other's, for it is not behind that. */
static void test_what_a_lost_unit_names(void **state)
{
    (void)state;
    for (unsigned damage = 0; damage < 3; damage++) {
        begin();
        unsigned at = drhd(0x100000, 0, 0);
        scope(1, 0, 0, 0x1d, 0, 0xff);
        if (damage == 1)
            bytes[used - 7] = 5; /* the scope's length */
        end(at);
        if (damage == 2) { /* a unit without room for its own members */
            at = drhd(0xfed92000, 0, 0);
            used -= 8;
            end(at);
        }
        end(drhd(0xfed91000, 1, 0));
        assert_int_equal(parse(), 0);
        assert_int_equal(dmar.unit_count, 1);
        assert_int_equal(unit_of(usb), 99);
        assert_int_equal(unit_of(vga), damage == 0 ? 0 : 99);
    }
}

/* Nor is all the rest, of its segment, whichever of the two comes first. */
static void test_a_lost_unit_for_all_the_rest(void **state)
{
    (void)state;
    for (unsigned last = 0; last < 2; last++) {
        begin();
        if (!last)
            end(drhd(0x100000, 1, 0));
        unsigned at = drhd(0xfed90000, 1, 0);
        scope(1, 0, 0, 0x1d, 0, 0xff);
        end(at);
        end(drhd(0xfed91000, 1, 1));
        if (last)
            end(drhd(0x100000, 1, 0));
        assert_int_equal(parse(), 0);
        assert_int_equal(dmar.unit_count, 2);
        assert_int_equal(unit_of(vga), 99);
        assert_int_equal(unit_of(behind), 99);
        assert_int_equal(unit_of(usb), 0);
        assert_int_equal(unit_of((struct pci_bdf){1, 0, 2, 0}), 1);
    }
}

static void test_units_twice(void **state)
{
    (void)state;
    begin();
    unsigned at = drhd(0xfed90000, 0, 0);
    scope(1, 0, 0, 0x1d, 0, 0xff);
    end(at);
    end(drhd(0xfed90000, 1, 0));
    end(drhd(0xfed91000, 1, 0));
    assert_int_equal(parse(), 0);
    assert_true(logged("the unit at 0xfed90000 is there twice; left out"));
    assert_int_equal(dmar.unit_count, 2);
    assert_int_equal(unit_of(vga), 1);
}

static void test_all_the_rest_is_not_last(void **state)
{
    (void)state;
    begin();
    end(drhd(0xfed90000, 1, 0));
    unsigned at = drhd(0xfed91000, 0, 0);
    scope(1, 0, 0, 0x1d, 0, 0xff);
    end(at);
    at = drhd(0xfed92000, 1, 0);
    scope(1, 0, 0, 0x1f, 2, 0xff);
    end(at);
    end(drhd(0xfed93000, 1, 1));
    assert_int_equal(parse(), 0);
    assert_true(logged("the unit at 0xfed91000 comes after the one for all the rest"));
    assert_true(logged("is for all the rest, too"));
    assert_int_equal(unit_of(usb), 1);
    assert_int_equal(unit_of((struct pci_bdf){0, 0, 0x1f, 2}), 2);
    assert_int_equal(unit_of(behind), 0);
    assert_int_equal(unit_of((struct pci_bdf){1, 0, 0, 0}), 3);
}

static void test_reserved_memory_at_no_place(void **state)
{
    (void)state;
    static const struct {
        uint64_t base, limit;
        const char *why;
    } cases[] = {
        {0x7f000000, 0x7effffff, "ends before it begins"},
        {0x7f000000, 0x7f000000, "is not of whole pages"},
        {0x7f000800, 0x7f000fff, "is not of whole pages"},
        {0, UINT64_MAX, "is not of whole pages"},
        {0x7d000000, 0x7e000fff, "is not all in memory that the firmware keeps"},
        {0x7ffff000, 0x80000fff, "is not all in memory that the firmware keeps"},
        {0x90000000, 0x90000fff, "is not all in memory that the firmware keeps"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        begin();
        unsigned at = rmrr(cases[i].base, cases[i].limit);
        scope(1, 0, 0, 0x1d, 0, 0xff);
        end(at);
        assert_int_equal(parse(), 0);
        assert_int_equal(dmar.reserved_count, 0);
        assert_true(logged(cases[i].why));
    }
}

static void test_devices_that_are_not_there(void **state)
{
    (void)state;
    begin();
    unsigned at = rmrr(0x7f000000, 0x7f000fff);
    scope(1, 0, 0, 0x15, 0, 0xff); /* nothing */
    scope(1, 0, 0, 0x1d, 0, 5);    /* behind what is no bridge */
    scope(1, 0, 0, 40, 0, 0xff);   /* no device can be that */
    scope(1, 0, 0, 0, 8, 0xff);
    end(at);
    at = rmrr(0x7f000000, 0x7f000fff);
    scope(5, 0, 0, 0x15, 0, 0xff); /* of which only ACPI knows */
    end(at);
    assert_int_equal(parse(), 0);
    assert_true(logged("an RMRR names a device by bus 00 that is not there; left out"));
    assert_int_equal(dmar.reserved_count, 1);
    assert_int_equal(dmar.scope_count, 1);
}

static void test_a_bridge_that_is_none(void **state)
{
    (void)state;
    begin();
    unsigned at = drhd(0xfed90000, 0, 0);
    scope(2, 0, 0, 0x1d, 0, 0xff);
    end(at);
    assert_int_equal(parse(), 0);
    assert_true(logged("names 00:1d.0 as a bridge, which it is not"));
    assert_int_equal(unit_of(usb), 0);
    assert_int_equal(unit_of((struct pci_bdf){0, 0, 0, 0}), 99);
}

static void test_scopes_without_length(void **state)
{
    (void)state;
    static const uint8_t lengths[] = {0, 1, 5, 6, 7, 9, 20};
    for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
        begin();
        unsigned at = drhd(0xfed90000, 0, 0);
        scope(1, 0, 0, 0x1d, 0, 0xff);
        scope(1, 0, 0, 0x1f, 2, 0xff);
        bytes[used - 7] = lengths[i];
        end(at);
        end(drhd(0xfed91000, 1, 0));
        assert_int_equal(parse(), 0);
        assert_true(logged("a device's entry at 0x7048 has no sensible length"));
        assert_int_equal(unit_of(usb), 0);
        assert_int_equal(unit_of((struct pci_bdf){0, 0, 0x1f, 2}), 1);
    }
}

static unsigned atsr(unsigned flags)
{
    unsigned at = used;
    put(2, 4), put(flags, 1), put(0, 3);
    return at;
}

/* Whatever is wrong with it is told, and changes nothing of what units translate. */
static void test_ports_for_ats(void **state)
{
    static const struct {
        uint8_t flags, type, length;
        const char *why;
    } cases[] = {
        {0, 2, 8, NULL},
        {0, 1, 8, "dmar: an ATSR names a device by bus 07 that is no root port"},
        {0, 3, 8, "dmar: an ATSR names a device by bus 07 that is no root port"},
        {0, 2, 0, "dmar: an ATSR: a device's entry at 0x7058 has no sensible length"},
        {0, 2, 6, "dmar: an ATSR: a device's entry at 0x7058 has no sensible length"},
        {0, 2, 7, "dmar: an ATSR: a device's entry at 0x7058 has no sensible length"},
        {0, 2, 10, "dmar: an ATSR: a device's entry at 0x7058 has no sensible length"},
        {1, 1, 0, NULL}, /* for all ports: what it names beside does not count */
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        begin();
        unsigned at = drhd(0x100000, 0, 0);
        scope(1, 0, 0, 0x1d, 0, 0xff);
        end(at);
        at = atsr(cases[i].flags);
        scope(2, 0, 0, 2, 0, 0xff);
        scope(cases[i].type, 0, 7, 0, 0, 0xff);
        bytes[used - 7] = cases[i].length;
        end(at);
        end(drhd(0xfed91000, 1, 0));
        assert_int_equal(parse(), 0);
        assert_int_equal(strstr(host_log, "ATSR") != NULL, cases[i].why != NULL);
        assert_true(cases[i].why == NULL || logged(cases[i].why));
        assert_int_equal(dmar.scope_count, 1);
        assert_int_equal(unit_of(vga), 0);
        assert_int_equal(unit_of(usb), 99);
    }
}

static void test_no_room(void **state)
{
    (void)state;
    begin();
    for (unsigned i = 0; i < DMAR_MAX_UNITS + 1; i++)
        end(drhd(0xfe000000 + i * 0x1000, 0, 0));
    for (unsigned i = 0; i < DMAR_MAX_RESERVED + 1; i++) {
        unsigned at = rmrr(0x7f000000, 0x7f000fff);
        for (unsigned n = 0; n < 9; n++)
            scope(1, 0, 0, 0x1d, 0, 0xff);
        end(at);
    }
    assert_int_equal(parse(), 0);
    assert_int_equal(dmar.unit_count, DMAR_MAX_UNITS);
    assert_int_equal(dmar.scope_count, DMAR_MAX_SCOPES);
    assert_true(logged("is one too many; left out"));
    assert_true(logged("more than 256 devices named; 00:1d.0 left out"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qemu),
        cmocka_unit_test(test_qemu_with_ats),
        cmocka_unit_test(test_laptop),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_recorded),
        cmocka_unit_test(test_recorded_and_damaged),
        cmocka_unit_test(test_too_short),
        cmocka_unit_test(test_structures_without_length),
        cmocka_unit_test(test_structures_that_end_outside),
        cmocka_unit_test(test_structures_that_are_too_short),
        cmocka_unit_test(test_units_at_no_place),
        cmocka_unit_test(test_what_a_lost_unit_names),
        cmocka_unit_test(test_a_lost_unit_for_all_the_rest),
        cmocka_unit_test(test_units_twice),
        cmocka_unit_test(test_all_the_rest_is_not_last),
        cmocka_unit_test(test_reserved_memory_at_no_place),
        cmocka_unit_test(test_devices_that_are_not_there),
        cmocka_unit_test(test_a_bridge_that_is_none),
        cmocka_unit_test(test_scopes_without_length),
        cmocka_unit_test(test_ports_for_ats),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
