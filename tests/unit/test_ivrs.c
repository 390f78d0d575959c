/* IVRSs as machines have them, well made and not. All but QEMU's are made from the manual. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/acpi_bytes.h"

#include <stdio.h>

#include "drivers/ivrs.h"
#include "lib/errno.h"

static struct ivrs ivrs;

static const struct ivrs_reader reader = {&firmware, &map, 40};

static int parse(void)
{
    host_log_reset();
    return ivrs_parse(&reader, &(struct acpi_table){TABLE, used}, &ivrs);
}

/* --- tables ----------------------------------------------------------------------------------- */

static void begin(void)
{
    begin_table("IVRS", (struct range){0xfeb80000, 0xfeb84000});
    used = 36;
    put(0x00203040, 4); /* VASize 64, PASize 48 */
    used = 48;
}

/* Blocks; the length is put in by end(). */
static unsigned ivhd(unsigned type, unsigned id, uint64_t base, unsigned segment)
{
    unsigned at = used;
    put(type, 1), put(0xb0, 1), put(0, 2), put(id, 2), put(0x40, 2), put(base, 8), put(segment, 2);
    put(0, 6);
    if (type != 0x10)
        put(0x58f77ef22294ade, 8), put(0, 8);
    return at;
}

static unsigned ivmd(unsigned type, unsigned flags, unsigned first, unsigned last, uint64_t start,
                     uint64_t size)
{
    unsigned at = used;
    put(type, 1), put(flags, 1), put(0, 2), put(first, 2), put(last, 2), put(0, 8);
    put(start, 8), put(size, 8);
    return at;
}

static void entry(unsigned type, unsigned id, unsigned setting)
{
    put(type, 1), put(id, 2), put(setting, 1);
}

static void alias(unsigned type, unsigned id, unsigned to)
{
    entry(type, id, 0), put(0, 1), put(to, 2), put(0, 1);
}

static void special(unsigned handle, unsigned id, unsigned variety, unsigned setting)
{
    entry(0x48, 0, setting), put(handle, 1), put(id, 2), put(variety, 1);
}

static void acpi(unsigned id, const char *hid, unsigned uid_size)
{
    entry(0xf0, id, 0);
    for (unsigned i = 0; i < 8; i++)
        put((uint8_t)hid[i], 1);
    put(0, 8), put(uid_size != 0 ? 2 : 0, 1), put(uid_size, 1);
    put(0, uid_size);
}

static struct pci_bdf device(unsigned id)
{
    return (struct pci_bdf){0, (uint8_t)(id >> 8), id >> 3 & 31, id & 7};
}

static unsigned unit_of(unsigned id)
{
    const struct ivrs_unit *unit = ivrs_unit_of(&ivrs, device(id));
    return unit == NULL ? 99 : (unsigned)(unit - ivrs.units);
}

/* --- good ones -------------------------------------------------------------------------------- */

/* As QEMU 7.2's q35 with a root port has it in memory. */
static void test_qemu(void **state)
{
    (void)state;
    begin();
    unhex("495652537400000001f1424f4348532042585043202020200100000042585043010000000028000000000000"
          "0000"
          "000010d14400100040000000d8fe000000000000000044000000020000000208000002100000023000000300"
          "010004"
          "ff010002f8000002fa000002fb00004800000000a00001");
    assert_int_equal(used, 116);
    assert_int_equal(parse(), 0);
    assert_string_equal(host_log, "");
    assert_int_equal(ivrs.address_bits, 40);
    assert_int_equal(ivrs.device_bits, 64);
    assert_int_equal(ivrs.unit_count, 1);
    assert_int_equal(ivrs.units[0].base, 0xfed80000);
    assert_int_equal(ivrs.units[0].id, 0x10);
    assert_int_equal(ivrs.units[0].capability, 0x40);
    assert_int_equal(ivrs.units[0].flags, 0xd1);
    assert_int_equal(ivrs.units[0].last, 0x1ff);
    assert_int_equal(ivrs.units[0].entry_count, 9);
    assert_int_equal(unit_of(0x08), 0);
    assert_int_equal(unit_of(0x28), 99);
    assert_int_equal(unit_of(0x100), 0);
    assert_int_equal(unit_of(0x1ff), 0);
    assert_int_equal(unit_of(0x200), 99);
    assert_int_equal(unit_of(0xa0), 0); /* the I/O APIC's */
    const struct ivrs_entry *ioapic = &ivrs.entries[8];
    assert_true(ioapic->ioapic);
    assert_int_equal(ioapic->handle, 0);
    assert_int_equal(ioapic->first, 0xa0);
}

static void entries_of_a_desktop(bool with_acpi)
{
    entry(3, 0x08, 0), entry(4, 0xfffe, 0);
    put(0, 4), put(0x40, 8); /* padding */
    alias(0x43, 0xff00, 0xa5), put(0, 4), entry(4, 0xffff, 0);
    alias(0x42, 0x500, 0x428);
    special(0x21, 0xa0, 1, 0xd7);
    special(0, 0xa0, 2, 0);
    special(0x22, 0x01, 1, 0);
    if (with_acpi)
        acpi(0xa5, "AMDI0020", 9), acpi(0xa6,
                                        "AMDI\1\xff"
                                        "30",
                                        0);
}

/* A desktop: the same unit by three types of blocks. */
static void desktop(void)
{
    static const unsigned types[] = {0x10, 0x11, 0x40};
    begin();
    for (unsigned i = 0; i < 3; i++) {
        unsigned at = ivhd(types[i], 2, 0xfeb80000, 0);
        entries_of_a_desktop(types[i] == 0x40);
        end(at);
    }
}

static void test_desktop(void **state)
{
    (void)state;
    desktop();
    assert_int_equal(parse(), 0);
    assert_int_equal(ivrs.address_bits, 48);
    assert_int_equal(ivrs.device_bits, 64);
    assert_int_equal(ivrs.unit_count, 1);
    assert_true(logged("(IVHD 10h) is there by a higher type, too; left out"));
    assert_true(logged("(IVHD 11h) is there by a higher type, too; left out"));
    assert_true(logged("the ACPI device AMDI0020, by 00a5: its DMA is blocked"));
    assert_true(logged("the ACPI device AMDI??30, by 00a6"));
    assert_int_equal(ivrs.units[0].entry_count, 8);
    assert_int_equal(ivrs.units[0].last, 0xffff);
    assert_int_equal(unit_of(0x07), 99);
    assert_int_equal(unit_of(0x01), 0);
    assert_int_equal(unit_of(0x08), 0);
    assert_int_equal(ivrs_alias_of(&ivrs, device(0x500)), 0x428);
    assert_int_equal(ivrs_alias_of(&ivrs, device(0x501)), 0x501);
    assert_int_equal(ivrs_alias_of(&ivrs, device(0xff00)), 0xa5);
    assert_int_equal(ivrs_alias_of(&ivrs, device(0xffff)), 0xa5);
    assert_int_equal(ivrs.entries[3].setting, 0xd7);
    assert_int_equal(ivrs.entries[3].handle, 0x21);
    assert_true(ivrs.entries[3].ioapic && !ivrs.entries[4].ioapic);
    assert_int_equal(ivrs.entries[5].first, 1);
}

/* The highest type counts wherever it stands, and of each unit by itself. */
static void test_the_highest_type_counts(void **state)
{
    (void)state;
    begin();
    unsigned at = ivhd(0x11, 2, 0xfeb80000, 0);
    entry(2, 0x11, 0);
    end(at);
    at = ivhd(0x10, 2, 0xfeb80000, 0);
    entry(2, 0x10, 0);
    end(at);
    at = ivhd(0x10, 2, 0xfec80000, 1);
    entry(1, 0, 0);
    end(at);
    at = ivhd(0x10, 0x6002, 0xfed80000, 0);
    entry(2, 0x6010, 0), alias(0x42, 0x6011, 0x7000);
    end(at);
    assert_int_equal(parse(), 0);
    assert_int_equal(ivrs.unit_count, 3);
    assert_int_equal(unit_of(0x11), 0);
    assert_int_equal(unit_of(0x10), 99);
    assert_int_equal(unit_of(0x6010), 2);
    assert_ptr_equal(ivrs_unit_of(&ivrs, (struct pci_bdf){1, 0x77, 3, 1}), &ivrs.units[1]);
    assert_int_equal(ivrs.units[1].last, 0xffff);
    assert_int_equal(ivrs.units[2].last, 0x7000);
}

static void names_one(uint64_t base)
{
    unsigned at = ivhd(0x40, 2, base, 0);
    entry(2, 0x10, 0);
    end(at);
}

/* One that makes no sense takes nothing from one of a lower type, wherever it stands. */
static void test_the_highest_type_makes_no_sense(void **state)
{
    (void)state;
    static const uint64_t bases[] = {0, 0xfeb81000, 0x10000000000, 0x100000};
    for (unsigned i = 0; i < ARRAY_SIZE(bases); i++)
        for (unsigned first = 0; first < 2; first++) {
            begin();
            if (first != 0)
                names_one(bases[i]);
            unsigned at = ivhd(0x10, 2, 0xfeb80000, 0);
            entry(2, 0x10, 0);
            end(at);
            if (first == 0)
                names_one(bases[i]);
            assert_int_equal(parse(), 0);
            assert_int_equal(ivrs.unit_count, 1);
            assert_int_equal(unit_of(0x10), 0);
            assert_int_equal(ivrs.lost_count, 0);
            assert_true(logged("(IVHD 40h) is"));
        }
}

/* "IVHD attributes", bit 0, of the types that have them. */
static void test_units_without_tables(void **state)
{
    (void)state;
    static const unsigned types[] = {0x10, 0x11, 0x40};
    for (unsigned i = 0; i < 3; i++)
        for (unsigned bit = 0; bit < 32; bit++) {
            begin();
            unsigned at = ivhd(types[i], 2, 0xfeb80000, 0);
            bytes[at + 20 + bit / 8] = (uint8_t)(1 << bit % 8);
            end(at);
            assert_int_equal(parse(), 0);
            assert_int_equal(ivrs.units[0].has_no_tables, i != 0 && bit == 0);
        }
}

/* Of every kind of entry, and of an alias, too. */
static void test_settings(void **state)
{
    (void)state;
    begin();
    unsigned at = ivhd(0x40, 2, 0xfeb80000, 0);
    entry(3, 0x20, 0x40), entry(4, 0x2f, 0);
    entry(2, 0x30, 0x30);
    entry(0x42, 0x38, 0x10), put(0, 1), put(0x40, 2), put(0, 1);
    special(1, 0xa0, 1, 0xd7), special(1, 0xa0, 2, 0x20), special(2, 0xa1, 2, 0x02);
    acpi(0xa5, "AMDI0020", 0);
    bytes[used - 22 + 3] = 0x81;
    end(at);
    at = ivhd(0x40, 2, 0xfec80000, 1);
    entry(1, 0, 0x04);
    end(at);
    assert_int_equal(parse(), 0);
    static const struct {
        uint16_t id;
        uint8_t setting;
    } cases[] = {{0x1f, 0},    {0x20, 0x40}, {0x2f, 0x40}, {0x30, 0x30}, {0x38, 0x10}, {0x40, 0x10},
                 {0xa0, 0xf7}, {0xa1, 0x02}, {0xa5, 0x81}, {0xa6, 0},    {0xffff, 0}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(ivrs_setting_of(&ivrs, 0, cases[i].id), cases[i].setting);
        assert_int_equal(ivrs_setting_of(&ivrs, 1, cases[i].id), 4);
        assert_int_equal(ivrs_setting_of(&ivrs, 2, cases[i].id), 0);
    }
}

static void test_reserved_memory(void **state)
{
    (void)state;
    desktop();
    end(ivmd(0x20, 0x07, 0x123, 0, 0x7e000000, 0x1000));
    end(ivmd(0x21, 0x07, 0x300, 0, 0x7f000000, 0x100000));
    end(ivmd(0x22, 0x08, 0x400, 0x40f, 0x7f200000, 0x2000)); /* an exclusion range */
    put(0x21, 1), put(7, 1), put(32, 2), put(0x300, 2), put(0, 2), put(5, 8);
    put(0x7f400000, 8), put(0x1000, 8); /* of segment 5 */
    assert_int_equal(parse(), 0);
    assert_int_equal(ivrs.reserved_count, 4);
    assert_int_equal(ivrs.reserved[1].range.start, 0x7f000000);
    assert_int_equal(ivrs.reserved[1].range.end, 0x7f100000);
    static const struct {
        unsigned id, of;
    } cases[] = {{0, 1}, {0x2ff, 1}, {0x300, 3}, {0x301, 1}, {0x400, 5}, {0x40f, 5}, {0x410, 1}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        for (unsigned k = 0; k < 4; k++)
            assert_int_equal(ivrs_names(&ivrs.reserved[k], device(cases[i].id)),
                             cases[i].of >> k & 1);
    assert_true(ivrs_names(&ivrs.reserved[3], (struct pci_bdf){5, 3, 0, 0}));
}

static void test_widths(void **state)
{
    (void)state;
    static const struct {
        uint32_t info;
        unsigned pa, va;
    } cases[] = {{0, 64, 64}, {0x2800, 40, 64}, {0x142800, 40, 40}, {0xffffffff, 64, 64}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        desktop();
        memcpy(bytes + 36, &cases[i].info, 4);
        assert_int_equal(parse(), 0);
        assert_int_equal(ivrs.address_bits, cases[i].pa);
        assert_int_equal(ivrs.device_bits, cases[i].va);
    }
}

/* --- odd ones --------------------------------------------------------------------------------- */

static void test_too_short(void **state)
{
    (void)state;
    begin();
    used = 47;
    assert_int_equal(parse(), -EINVAL);
    assert_true(logged("ivrs: of only 47 bytes"));
    used = 48;
    assert_int_equal(parse(), 0);
    assert_string_equal(host_log, "");
}

static void test_blocks_without_length(void **state)
{
    (void)state;
    for (unsigned length = 0; length < 6; length++) {
        desktop();
        unsigned at = used;
        put(0x10, 2), put(length, 2), put(0, 12);
        end(ivhd(0x10, 0x102, 0xfed80000, 0));
        assert_int_equal(parse(), 0);
        char text[80];
        snprintf(text, sizeof(text), "the block at byte %u has the length %u;", at, length);
        assert_true(logged(text));
        assert_int_equal(ivrs.unit_count, 1);
    }
}

static void test_blocks_that_end_outside(void **state)
{
    (void)state;
    desktop();
    unsigned at = ivhd(0x10, 0x102, 0xfed80000, 0);
    end(at);
    bytes[at + 2]++;
    assert_int_equal(parse(), 0);
    assert_true(logged("has the length 25"));
    assert_int_equal(ivrs.unit_count, 1);
    desktop();
    put(0, 3);
    assert_int_equal(parse(), 0);
    assert_true(logged("it and the rest are left out"));
}

static void test_blocks_that_are_too_short(void **state)
{
    (void)state;
    begin();
    put(0x10, 2), put(20, 2), put(0, 16);
    put(0x11, 2), put(24, 2), put(0, 20);
    put(0x20, 2), put(24, 2), put(0, 20);
    unsigned at = ivhd(0x10, 2, 0xfed80000, 0);
    entry(1, 0, 0);
    end(at);
    assert_int_equal(parse(), 0);
    assert_true(logged("an IVHD of only 20 bytes"));
    assert_true(logged("an IVHD of only 24 bytes"));
    assert_true(logged("an IVMD of only 24 bytes"));
    assert_int_equal(ivrs.unit_count, 1);
    assert_true(logged("it names no I/O APIC"));
}

static void test_units_at_no_place(void **state)
{
    (void)state;
    static const struct {
        uint64_t base;
        const char *why;
    } cases[] = {
        {0, "is not where registers can be"},
        {0xfed81000, "is not where registers can be"},
        {0x10000000000, "is not where registers can be"}, /* 2^40 */
        {0xffffffffffffc000, "is not where registers can be"},
        {0x100000, "is over memory"},
        {0x100000000, "is over memory"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        begin();
        end(ivhd(0x10, 2, cases[i].base, 0));
        assert_int_equal(parse(), 0);
        assert_int_equal(ivrs.unit_count, 0);
        assert_true(logged(cases[i].why));
    }
}

/* A block of ID at BASE, of the type 10h, with an entry of TYPE: ALL, 28h, or 20h to 2fh. */
static void names(unsigned id, uint64_t base, unsigned type)
{
    unsigned at = ivhd(0x10, id, base, 0);
    entry(type, type == 1 ? 0 : type == 2 ? 0x28 : 0x20, 0);
    if (type == 3)
        entry(4, 0x2f, 0);
    end(at);
}

/* A device is who names it more narrowly: ALL (1), by itself (2), by a range (3). */
static void test_the_narrower_entry_counts(void **state)
{
    (void)state;
    static const struct {
        unsigned first, second, of;
    } cases[] = {{1, 1, 0}, {1, 2, 1}, {1, 3, 1}, {2, 1, 0}, {2, 2, 0},
                 {2, 3, 0}, {3, 1, 0}, {3, 2, 1}, {3, 3, 0}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        begin();
        names(2, 0xfeb80000, cases[i].first);
        names(3, 0xfec80000, cases[i].second);
        assert_int_equal(parse(), 0);
        assert_int_equal(ivrs.unit_count, 2);
        assert_int_equal(unit_of(0x28), cases[i].of);
    }
}

/* What a unit names that cannot be used is no other's, but one's that names it more narrowly. */
static void test_what_a_lost_unit_names(void **state)
{
    (void)state;
    static const struct {
        unsigned lost, used, of, of_27; /* 27h: of it and of its neighbours nothing is narrower */
    } cases[] = {{1, 1, 99, 99}, {1, 2, 0, 99},  {1, 3, 0, 0},  {2, 1, 99, 0}, {2, 2, 99, 99},
                 {2, 3, 99, 0},  {3, 1, 99, 99}, {3, 2, 0, 99}, {3, 3, 99, 99}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        for (unsigned last = 0; last < 2; last++)
            for (unsigned id = 2; id < 4; id++) { /* two of one type and ID are two units */
                begin();
                if (last == 0)
                    names(id, 0x100000, cases[i].lost);
                names(2, 0xfeb80000, cases[i].used);
                if (last == 1)
                    names(id, 0x100000, cases[i].lost);
                assert_int_equal(parse(), 0);
                assert_true(logged("is over memory; left out"));
                assert_true(logged("it names no I/O APIC"));
                assert_int_equal(ivrs.unit_count, 1);
                assert_int_equal(unit_of(0x28), cases[i].of);
                assert_int_equal(unit_of(0x27), cases[i].of_27);
                assert_int_equal(unit_of(0x30), cases[i].used == 1 && cases[i].lost != 1 ? 0 : 99);
            }
}

/* Of other segments it names none; an I/O APIC or a device of ACPI that it names is nobody's. */
static void test_a_lost_unit_of_another_segment(void **state)
{
    (void)state;
    begin();
    unsigned at = ivhd(0x40, 3, 0x100000, 1);
    entry(1, 0, 0);
    special(1, 0xa0, 1, 0);
    acpi(0xa5, "AMDI0020", 0);
    end(at);
    names(2, 0xfeb80000, 1);
    assert_int_equal(parse(), 0);
    assert_int_equal(unit_of(0x28), 0);
    assert_true(logged("it names no I/O APIC"));
    assert_false(logged("ACPI device"));
}

/* What blocks name that are not there is told by none: what is named by itself alone is sure. */
static void test_a_table_that_is_not_wholly_read(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 5; kind++) {
        begin();
        if (kind == 0)
            put(0x10, 2), put(20, 2), put(3, 2), put(0, 14);
        unsigned at = ivhd(0x10, 2, 0xfeb80000, 0);
        entry(2, 0x20, 0);
        entry(3, 0x30, 0), entry(4, 0x3f, 0);
        entry(1, 0, 0);
        end(at);
        for (unsigned i = 0; i < IVRS_MAX_UNITS + 1 && kind == 1; i++)
            end(ivhd(0x10, 3 + i, 0x100000, 0));
        if (kind == 2)
            put(0x10, 2), put(0, 2), put(3, 2);
        else if (kind == 3)
            put(0, 3);
        at = used;
        if (kind == 4)
            end(ivhd(0x10, 3, 0xfec80000, 0)), bytes[at + 2] = 23, used--;
        assert_int_equal(parse(), 0);
        assert_int_equal(ivrs.unit_count, 1);
        assert_true(ivrs.incomplete);
        assert_int_equal(unit_of(0x20), 0);
        assert_int_equal(unit_of(0x30), 99);
        assert_int_equal(unit_of(0x08), 99);
    }
}

/* A mistake in a unit's entries: what they would name is not another's. */
static void test_entries_that_are_cut(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 4; kind++)
        for (unsigned more = 0; more < 3; more++) { /* no other unit, one in use, a lost one */
            begin();
            unsigned at = ivhd(0x10, 2, 0xfeb80000, 0);
            entry(2, 0x20, 0);
            entry(3, 0x30, 0), entry(4, 0x3f, 0);
            if (kind == 0)
                entry(4, 0x10, 0); /* no begin */
            else if (kind == 1)
                entry(3, 0x60, 0), entry(4, 0x50, 0); /* backwards */
            else if (kind == 2)
                entry(3, 0x40, 0); /* no end */
            else
                entry(0xf1, 0x50, 0);
            end(at);
            if (more != 0)
                end(ivhd(0x10, 3, more == 1 ? 0xfec80000 : 0x100000, 0));
            assert_int_equal(parse(), 0);
            assert_int_equal(unit_of(0x20), 0);
            assert_int_equal(unit_of(0x30), more == 0 ? 0 : 99);
        }
}

static void test_units_twice(void **state)
{
    (void)state;
    begin();
    unsigned at = ivhd(0x10, 2, 0xfeb80000, 0);
    entry(2, 0x20, 0);
    end(at);
    end(ivhd(0x10, 2, 0xfeb80000, 0));
    assert_int_equal(parse(), 0);
    assert_true(logged("the unit at 0xfeb80000 (IVHD 10h) is there twice; left out"));
    assert_int_equal(ivrs.unit_count, 1);
}

static void test_ranges_that_make_no_sense(void **state)
{
    (void)state;
    begin();
    unsigned at = ivhd(0x10, 2, 0xfeb80000, 0);
    entry(4, 0x10, 0);                    /* no begin */
    entry(3, 0x30, 0), entry(4, 0x20, 0); /* backwards */
    entry(3, 0x40, 0), entry(2, 0x50, 0); /* no end */
    special(1, 0x60, 7, 0);
    entry(3, 0x70, 0);
    end(at);
    assert_int_equal(parse(), 0);
    assert_true(logged("0010 ends a range that has not begun"));
    assert_true(logged("devices 0030 to 0020: this ends before it begins"));
    assert_true(logged("the range from 0040 on has no end"));
    assert_true(logged("the range from 0070 on has no end"));
    assert_true(logged("a special device of the kind 7"));
    assert_int_equal(ivrs.entry_count, 1);
    assert_int_equal(unit_of(0x50), 0);
}

static void test_entries_without_length(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 4; kind++) {
        begin();
        unsigned at = ivhd(kind == 2 ? 0x11 : 0x40, 2, 0xfeb80000, 0);
        entry(2, 0x20, 0);
        if (kind == 0)
            put(0x48, 1), put(0, 5); /* of 8 bytes */
        else if (kind == 1)
            entry(0xf1, 0x30, 0), put(0, 40);
        else
            acpi(0x30, "AMDI0020", 3);
        if (kind == 3)
            bytes[used - 4] = 4;
        end(at);
        assert_int_equal(parse(), 0);
        assert_true(logged("has no sensible length; it and the rest are left out"));
        assert_int_equal(unit_of(0x20), 0);
        assert_int_equal(unit_of(0x30), 99);
    }
}

static void test_reserved_memory_at_no_place(void **state)
{
    (void)state;
    static const struct {
        uint64_t start, size;
        const char *why;
    } cases[] = {
        {0x7f000000, 0, "has no sensible length"},
        {0x7f000000, 1, "is not of whole pages"},
        {0x7f000800, 0x1000, "is not of whole pages"},
        {0x7f000000, UINT64_MAX, "has no sensible length"},
        {UINT64_MAX, 0x1000, "has no sensible length"},
        {0x7d000000, 0x1000, "is not all in memory that the firmware keeps"},
        {0x7ffff000, 0x2000, "is not all in memory that the firmware keeps"},
        {0x90000000, 0x1000, "is not all in memory that the firmware keeps"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        desktop();
        end(ivmd(0x21, 7, 0x300, 0, cases[i].start, cases[i].size));
        assert_int_equal(parse(), 0);
        assert_int_equal(ivrs.reserved_count, 0);
        assert_true(logged(cases[i].why));
    }
    desktop();
    end(ivmd(0x22, 7, 0x300, 0x2ff, 0x7f000000, 0x1000));
    assert_int_equal(parse(), 0);
    assert_true(logged("is for devices that end before they begin"));
}

static void test_no_room(void **state)
{
    (void)state;
    begin();
    for (unsigned i = 0; i < IVRS_MAX_UNITS + 1; i++) {
        unsigned at = ivhd(0x10, i, 0xfd000000 + i * 0x4000, 0);
        for (unsigned n = 0; n < 17; n++)
            entry(2, 0x100 + n, 0);
        end(at);
    }
    for (unsigned i = 0; i < IVRS_MAX_RESERVED + 1; i++)
        end(ivmd(0x20, 7, 0, 0, 0x7f000000, 0x1000));
    assert_int_equal(parse(), 0);
    assert_int_equal(ivrs.unit_count, IVRS_MAX_UNITS);
    assert_int_equal(ivrs.reserved_count, IVRS_MAX_RESERVED);
    assert_int_equal(ivrs.entry_count, IVRS_MAX_ENTRIES);
    assert_true(logged("is one too many; left out"));
    assert_true(logged("more than 512 entries of devices; 0102 is left out"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qemu),
        cmocka_unit_test(test_desktop),
        cmocka_unit_test(test_the_highest_type_counts),
        cmocka_unit_test(test_the_highest_type_makes_no_sense),
        cmocka_unit_test(test_units_without_tables),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_reserved_memory),
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_too_short),
        cmocka_unit_test(test_blocks_without_length),
        cmocka_unit_test(test_blocks_that_end_outside),
        cmocka_unit_test(test_blocks_that_are_too_short),
        cmocka_unit_test(test_units_at_no_place),
        cmocka_unit_test(test_the_narrower_entry_counts),
        cmocka_unit_test(test_what_a_lost_unit_names),
        cmocka_unit_test(test_a_lost_unit_of_another_segment),
        cmocka_unit_test(test_a_table_that_is_not_wholly_read),
        cmocka_unit_test(test_entries_that_are_cut),
        cmocka_unit_test(test_units_twice),
        cmocka_unit_test(test_ranges_that_make_no_sense),
        cmocka_unit_test(test_entries_without_length),
        cmocka_unit_test(test_reserved_memory_at_no_place),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
