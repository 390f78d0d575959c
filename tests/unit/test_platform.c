/*
 * The tables that a guest finds, byte by byte as the specifications have them, and as the kernel's
 * own readers of firmware tables see them. `test_platform CPUS FILE` writes them for iasl.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>

#include "drivers/acpi.h"
#include "drivers/mptable.h"
#include "tests/unit/host.h"
#include "vmm/devices/platform.h"

enum { SIZE = 16 * KIB, IOAPIC_ID = 5, SIGNATURE = 0x00800f12, FEATURES = 0x178bfbff };

#define GPA 0xf0000u

static _Alignas(64) uint8_t area[SIZE];
static size_t used;

/* Functions of PCI that interrupt: for iasl alone. */
static const struct platform_intx functions[] = {{0, 3}, {1, 1},  {5, 1},  {7, 4},
                                                 {8, 2}, {13, 1}, {16, 2}, {31, 4}};
static unsigned function_count;

static void build(unsigned cpus, unsigned coms)
{
    struct platform platform = {
        .cpus = cpus,
        .ioapic_id = IOAPIC_ID,
        .coms = coms,
        .signature = SIGNATURE,
        .features = FEATURES,
        .dsdt = dsdt_start,
        .dsdt_size = (size_t)(dsdt_end - dsdt_start),
    };
    memcpy(platform.pci, functions, sizeof(functions));
    platform.pci_count = function_count;
    memset(area, 0xcc, sizeof(area));
    used = platform_tables(area, sizeof(area), GPA, &platform);
}

/* --- reading --------------------------------------------------------------------------------- */

/* A little-endian number of N bytes at the guest-physical address AT. */
static uint64_t number(uint64_t at, unsigned n)
{
    uint64_t value = 0;
    assert_true(at >= GPA && at + n <= GPA + used);
    for (unsigned i = 0; i < n; i++)
        value += (uint64_t)area[at - GPA + i] << 8 * i;
    return value;
}

static void expect_text(uint64_t at, const char *text)
{
    for (unsigned i = 0; text[i] != '\0'; i++)
        assert_int_equal(number(at + i, 1), (uint8_t)text[i]);
}

static void expect_sum(uint64_t at, uint64_t n)
{
    uint8_t sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + number(at + i, 1));
    assert_int_equal(sum, 0);
}

/* The only paragraph that begins so. */
static uint64_t find(const char *signature)
{
    uint64_t found = 0;
    for (uint64_t at = 0; at < used; at += 16)
        if (memcmp(area + at, signature, strlen(signature)) == 0) {
            assert_int_equal(found, 0);
            found = GPA + at;
        }
    assert_true(found != 0);
    return found;
}

/* Each byte belongs to one table at most. */
static bool taken[SIZE];

static void claim(uint64_t at, uint64_t n)
{
    assert_true(at >= GPA && at + n <= GPA + used);
    for (uint64_t i = at - GPA; i < at - GPA + n; i++) {
        assert_false(taken[i]);
        taken[i] = true;
    }
}

/* --- MultiProcessor Specification ------------------------------------------------------------ */

struct mp {
    unsigned cpus, buses, ioapics, interrupts, locals;
    unsigned pins; /* bits: which an interrupt leads to */
};

static void check_cpu(struct mp *mp, uint64_t at)
{
    assert_int_equal(number(at + 1, 1), mp->cpus);
    assert_int_equal(number(at + 2, 1), 0x14);
    assert_int_equal(number(at + 3, 1), mp->cpus == 0 ? 3 : 1);
    assert_int_equal(number(at + 4, 4), SIGNATURE);
    assert_int_equal(number(at + 8, 4), FEATURES);
    assert_int_equal(number(at + 12, 8), 0);
    mp->cpus++;
}

static void check_interrupt(struct mp *mp, uint64_t at)
{
    uint64_t irq = number(at + 5, 1), pin = number(at + 7, 1);
    assert_int_equal(number(at + 1, 1), 0);
    assert_int_equal(number(at + 2, 2), irq == 9 ? 13 : 0);
    assert_int_equal(number(at + 4, 1), 1);
    assert_int_not_equal(irq, 2);
    assert_int_equal(number(at + 6, 1), IOAPIC_ID);
    assert_int_equal(pin, irq == 0 ? 2 : irq);
    assert_int_equal(mp->pins >> pin & 1, 0);
    mp->pins |= 1u << pin;
    mp->interrupts++;
}

static void check_local(struct mp *mp, uint64_t at)
{
    assert_int_equal(number(at + 1, 1), mp->locals == 0 ? 3 : 1);
    assert_int_equal(number(at + 2, 2), 0);
    assert_int_equal(number(at + 4, 1), 1);
    assert_int_equal(number(at + 5, 1), 0);
    assert_int_equal(number(at + 6, 1), mp->locals == 0 ? 0 : 0xff); /* vCPU 0, and all */
    assert_int_equal(number(at + 7, 1), mp->locals);
    mp->locals++;
}

/* Returns the entry's size; they come in the order of their types. */
static unsigned check_entry(struct mp *mp, uint64_t at, uint64_t *last)
{
    uint64_t type = number(at, 1);
    assert_true(type >= *last && type <= 4);
    *last = type;
    if (type == 0) {
        check_cpu(mp, at);
    } else if (type == 1) {
        assert_int_equal(number(at + 1, 1), mp->buses);
        expect_text(at + 2, mp->buses++ == 0 ? "PCI   " : "ISA   ");
    } else if (type == 2) {
        assert_int_equal(number(at + 1, 3), IOAPIC_ID | 0x20 << 8 | 1 << 16);
        assert_int_equal(number(at + 4, 4), 0xfec00000);
        mp->ioapics++;
    } else if (type == 3) {
        check_interrupt(mp, at);
    } else {
        check_local(mp, at);
    }
    return type == 0 ? 20 : 8;
}

static void check_mp(unsigned cpus)
{
    struct mp mp = {0};
    uint64_t pointer = find("_MP_"), at = number(pointer + 4, 4), last = 0;
    claim(pointer, 16);
    expect_sum(pointer, 16);
    assert_int_equal(number(pointer + 8, 1), 1);
    assert_int_equal(number(pointer + 9, 1), 4);
    assert_int_equal(number(pointer + 11, 5), 0);
    expect_text(at, "PCMP");
    uint64_t length = number(at + 4, 2), count = number(at + 34, 2), entry = at + 44;
    claim(at, length);
    expect_sum(at, length);
    assert_int_equal(number(at + 6, 1), 4);
    expect_text(at + 8, "NOSNOOP VM          ");
    assert_int_equal(number(at + 28, 6), 0);
    assert_int_equal(number(at + 36, 4), 0xfee00000);
    assert_int_equal(number(at + 40, 4), 0);
    for (uint64_t i = 0; i < count; i++)
        entry += check_entry(&mp, entry, &last);
    assert_int_equal(entry, at + length);
    assert_int_equal(mp.cpus, cpus < 255 ? cpus : 255);
    assert_int_equal(mp.buses, 2);
    assert_int_equal(mp.ioapics, 1);
    assert_int_equal(mp.interrupts, 15);
    assert_int_equal(mp.pins, 0xffff & ~1u);
    assert_int_equal(mp.locals, 2);
}

/* --- ACPI ------------------------------------------------------------------------------------ */

static uint64_t check_table(uint64_t at, const char *signature, unsigned revision)
{
    uint64_t length = number(at + 4, 4);
    expect_text(at, signature);
    claim(at, length);
    expect_sum(at, length);
    assert_int_equal(number(at + 8, 1), revision);
    expect_text(at + 10, "NOSNOP");
    assert_int_equal(at % 4, 0);
    return length;
}

struct madt {
    unsigned cpus, ioapics, overrides, nmis, x2apic_nmis;
};

static void check_override(uint64_t at, unsigned index)
{
    static const unsigned irqs[] = {0, 9}, gsis[] = {2, 9}, flags[] = {0, 13};
    assert_true(index < 2);
    assert_int_equal(number(at + 1, 1), 10);
    assert_int_equal(number(at + 2, 1), 0);
    assert_int_equal(number(at + 3, 1), irqs[index]);
    assert_int_equal(number(at + 4, 4), gsis[index]);
    assert_int_equal(number(at + 8, 2), flags[index]);
}

static void check_madt_entry(struct madt *m, uint64_t at)
{
    switch (number(at, 2)) {
    case 0 | 8 << 8:
        assert_true(m->cpus <= 254);
        assert_int_equal(number(at + 2, 1), m->cpus);
        assert_int_equal(number(at + 3, 1), m->cpus++);
        assert_int_equal(number(at + 4, 4), 1);
        break;
    case 9 | 16 << 8:
        assert_true(m->cpus > 254);
        assert_int_equal(number(at + 2, 2), 0);
        assert_int_equal(number(at + 4, 4), m->cpus);
        assert_int_equal(number(at + 8, 4), 1);
        assert_int_equal(number(at + 12, 4), m->cpus++);
        break;
    case 1 | 12 << 8:
        assert_int_equal(number(at + 2, 2), IOAPIC_ID);
        assert_int_equal(number(at + 4, 8), 0xfec00000);
        m->ioapics++;
        break;
    case 2 | 10 << 8:
        check_override(at, m->overrides++);
        break;
    case 4 | 6 << 8:
        assert_int_equal(number(at + 2, 4), 0x010000ff);
        m->nmis++;
        break;
    case 10 | 12 << 8:
        assert_int_equal(number(at + 2, 8), 1ull << 48 | 0x0000ffffffff0000);
        assert_int_equal(number(at + 10, 2), 0);
        m->x2apic_nmis++;
        break;
    default:
        fail();
    }
}

static void check_madt(uint64_t at, unsigned cpus)
{
    struct madt m = {0};
    uint64_t length = check_table(at, "APIC", 4), entry = at + 44;
    assert_int_equal(number(at + 36, 8), 0x1fee00000);
    for (; entry < at + length; entry += number(entry + 1, 1))
        check_madt_entry(&m, entry);
    assert_int_equal(entry, at + length);
    assert_int_equal(m.cpus, cpus);
    assert_int_equal(m.ioapics, 1);
    assert_int_equal(m.overrides, 2);
    assert_int_equal(m.nmis, 1);
    assert_int_equal(m.x2apic_nmis, cpus > 255 ? 1 : 0);
}

/* "Fixed ACPI Description Table (FADT)": offset, size and value of what is not 0. */
static const struct {
    unsigned offset, size;
    uint64_t value;
} fadt_fields[] = {
    {46, 2, 9},                                         /* SCI_INT */
    {56, 4, 0x600},                                     /* PM1a_EVT_BLK */
    {64, 4, 0x604},                                     /* PM1a_CNT_BLK */
    {76, 4, 0x608},                                     /* PM_TMR_BLK */
    {88, 1, 4},                                         /* PM1_EVT_LEN */
    {89, 1, 2},                                         /* PM1_CNT_LEN */
    {91, 1, 4},                                         /* PM_TMR_LEN */
    {96, 2, 101},                                       /* P_LVL2_LAT */
    {98, 2, 1001},                                      /* P_LVL3_LAT */
    {108, 1, 0x32},                                     /* CENTURY */
    {109, 2, 5},                                        /* IAPC_BOOT_ARCH */
    {112, 4, 0x475},                                    /* Flags: a timer of 24 bits */
    {116, 4, 0x01000801}, {120, 8, 0xcf9}, {128, 1, 6}, /* RESET_REG, RESET_VALUE */
    {148, 4, 0x02002001}, {152, 8, 0x600},              /* X_PM1a_EVT_BLK */
    {172, 4, 0x02001001}, {176, 8, 0x604},              /* X_PM1a_CNT_BLK */
    {208, 4, 0x03002001}, {212, 8, 0x608},              /* X_PM_TMR_BLK */
};

static void check_dsdt(uint64_t at, unsigned coms)
{
    uint64_t length = check_table(at, "DSDT", 2);
    assert_int_equal(length, dsdt_end - dsdt_start);
    unsigned differ = 0;
    for (uint64_t i = 36; i < length; i++)
        if (number(at + i, 1) != dsdt_start[i]) {
            assert_memory_equal(dsdt_start + i - 5, "COMS\x0a\xa5", 6);
            assert_int_equal(number(at + i, 1), coms);
            differ++;
        }
    assert_int_equal(differ, 1);
}

static void check_fadt(uint64_t at, unsigned coms)
{
    bool known[244] = {false};
    assert_int_equal(check_table(at, "FACP", 4), 244);
    for (unsigned i = 0; i < ARRAY_SIZE(fadt_fields); i++) {
        unsigned offset = fadt_fields[i].offset, size = fadt_fields[i].size;
        assert_int_equal(number(at + offset, size), fadt_fields[i].value);
        memset(known + offset, true, size);
    }
    uint64_t facs = number(at + 36, 4), dsdt = number(at + 40, 4);
    assert_int_equal(number(at + 140, 8), dsdt);
    memset(known, true, 44);
    memset(known + 140, true, 8);
    for (unsigned i = 0; i < sizeof(known); i++)
        assert_int_equal(known[i] ? 0 : number(at + i, 1), 0);
    check_dsdt(dsdt, coms);
    claim(facs, 64);
    assert_int_equal(facs % 64, 0);
    expect_text(facs, "FACS");
    assert_int_equal(number(facs + 4, 8), 64);
    for (unsigned i = 12; i < 64; i++)
        assert_int_equal(number(facs + i, 1), i == 32 ? 2 : 0);
}

/* One allocation: segment 0, bus 0 alone. */
static void check_mcfg(uint64_t at)
{
    assert_int_equal(check_table(at, "MCFG", 1), 60);
    assert_int_equal(number(at + 36, 8), 0);
    assert_int_equal(number(at + 44, 8), 0xe0000000);
    assert_int_equal(number(at + 52, 8), 0);
}

static void check_acpi(unsigned cpus, unsigned coms)
{
    uint64_t rsdp = find("RSD PTR "), rsdt = number(rsdp + 16, 4), xsdt = number(rsdp + 24, 8);
    claim(rsdp, 36);
    expect_sum(rsdp, 20);
    expect_sum(rsdp, 36);
    expect_text(rsdp + 9, "NOSNOP\x02");
    assert_int_equal(number(rsdp + 20, 4), 36);
    assert_int_equal(check_table(rsdt, "RSDT", 1), 36 + 3 * 4);
    assert_int_equal(check_table(xsdt, "XSDT", 1), 36 + 3 * 8);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(number(rsdt + 36 + 4 * i, 4), number(xsdt + 36 + 8 * i, 8));
    check_fadt(number(rsdt + 36, 4), coms);
    check_madt(number(rsdt + 40, 4), cpus);
    check_mcfg(number(rsdt + 44, 4));
}

/* --- tests ----------------------------------------------------------------------------------- */

static void every_table(void **context)
{
    static const unsigned counts[] = {1, 2, 4, 63, 64, 254, 255, 256, 300};
    (void)context;
    for (unsigned i = 0; i < ARRAY_SIZE(counts); i++)
        for (unsigned coms = 0; coms < 4; coms++) {
            build(counts[i], coms);
            memset(taken, 0, sizeof(taken));
            check_mp(counts[i]);
            check_acpi(counts[i], coms);
            for (size_t byte = 0; byte < sizeof(area); byte++)
                assert_true(taken[byte] || area[byte] == 0);
        }
}

static void largest(void **context)
{
    (void)context;
    build(64, 3);
    assert_true(used <= PLATFORM_TABLES_SIZE);
    assert_true(PLATFORM_TABLES_GPA + PLATFORM_TABLES_SIZE <= 1 * MIB);
}

static bool read_area(const struct firmware *firmware, uint64_t at, void *to, size_t n)
{
    (void)firmware;
    memset(to, 0, n);
    if (at >= GPA && at + n <= GPA + used)
        memcpy(to, area + (at - GPA), n);
    return at + n <= 1 * MIB;
}

static void expect_cpus(const struct firmware_cpus *cpus, unsigned count)
{
    assert_int_equal(cpus->count, count < FIRMWARE_MAX_CPUS ? count : FIRMWARE_MAX_CPUS);
    assert_int_equal(cpus->beyond + cpus->count, count);
    assert_int_equal(cpus->disabled + cpus->later + cpus->senseless, 0);
    assert_int_equal(cpus->local_apic, 0xfee00000);
    for (unsigned i = 0; i < cpus->count; i++)
        assert_int_equal(cpus->apic_id[i], i);
}

/* The kernel finds and takes its own. */
static void by_the_kernel(void **context)
{
    static const unsigned counts[] = {1, 3, 64, 255, 256, 300};
    const struct firmware firmware = {read_area};
    struct firmware_cpus cpus;
    struct acpi_table table;
    (void)context;
    host_log_reset();
    for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
        build(counts[i], 1);
        uint64_t rsdp = acpi_find_rsdp(&firmware);
        assert_int_equal(rsdp, find("RSD PTR "));
        assert_true(acpi_find(&firmware, rsdp, "FACP", &table));
        assert_true(acpi_find(&firmware, rsdp, "APIC", &table));
        acpi_cpus(&firmware, &table, &cpus);
        expect_cpus(&cpus, counts[i]);
        assert_true(mptable_cpus(&firmware, &cpus));
        if (counts[i] < 256)
            expect_cpus(&cpus, counts[i]);
    }
    assert_string_equal(host_log, "");
}

static int write_tables(unsigned cpus, const char *name)
{
    FILE *file = fopen(name, "wb");
    function_count = ARRAY_SIZE(functions);
    build(cpus, 3);
    return file != NULL && fwrite(area, 1, used, file) == used && fclose(file) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_table),
        cmocka_unit_test(largest),
        cmocka_unit_test(by_the_kernel),
    };
    if (argc == 3)
        return write_tables((unsigned)atoi(argv[1]), argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
