/* ACPI and MP tables: those of real firmware, and broken ones. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/gsi.h"
#include "drivers/mptable.h"
#include "lib/assert.h"
#include "tests/unit/firmware_tables.h"
#include "tests/unit/host.h"

/* --- a machine's memory: the first MiB, and 128 KiB at HIGH ----------------------------------- */

enum { HIGH_SIZE = 0x20000 };
static uint8_t low[0x100000], high_bytes[HIGH_SIZE];
static uint64_t high;

static uint8_t *memory_at(uint64_t at, size_t n)
{
    if (at < sizeof(low) && n <= sizeof(low) - at)
        return &low[at];
    if (at >= high && at - high < HIGH_SIZE && n <= HIGH_SIZE - (at - high))
        return &high_bytes[at - high];
    return NULL;
}

static bool read_memory(const struct firmware *firmware, uint64_t at, void *to, size_t n)
{
    const uint8_t *bytes = memory_at(at, n);
    (void)firmware;
    assert_true(n <= 512);
    if (bytes != NULL)
        memcpy(to, bytes, n);
    return bytes != NULL;
}

static const struct firmware memory = {read_memory};
static struct firmware_cpus cpus;

static int reset(void **state)
{
    (void)state;
    memset(low, 0, sizeof(low));
    memset(high_bytes, 0, sizeof(high_bytes));
    high = 0x1ffe0000;
    host_log_reset();
    return 0;
}

static unsigned digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void put(uint64_t at, const char *hex)
{
    uint8_t *bytes = memory_at(at, strlen(hex) / 2);
    assert_non_null(bytes);
    for (size_t i = 0; i < strlen(hex) / 2; i++)
        bytes[i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
}

static void put_number(uint64_t at, uint64_t value, size_t n)
{
    memcpy(memory_at(at, n), &value, n);
}

/* Makes the N bytes at AT sum up to 0 by the one at SUM. */
static void mend(uint64_t at, size_t n, uint64_t sum)
{
    uint8_t *bytes = memory_at(at, n), all = 0;
    bytes[sum - at] = 0;
    for (size_t i = 0; i < n; i++)
        all = (uint8_t)(all + bytes[i]);
    bytes[sum - at] = (uint8_t)-all;
}

static void expect_ids(unsigned count)
{
    assert_int_equal(cpus.count, count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(cpus.apic_id[i], i);
    assert_int_equal(cpus.local_apic, 0xfee00000);
}

static void expect_logged(const char *words)
{
    if (strstr(host_log, words) == NULL)
        fail_msg("\"%s\" is not in: %s", words, host_log);
}

/* --- recorded tables -------------------------------------------------------------------------- */

static void put_seabios(void)
{
    put(0xf59e0, seabios_rsdp);
    put(0x1ffe2470, seabios_rsdt);
    put(0x1ffe2334, seabios_madt);
}

static void put_ovmf(void)
{
    high = 0x1f770000;
    put(0x1f77d014, ovmf_rsdp);
    put(0x1f77c074, ovmf_rsdt);
    put(0x1f77c0e8, ovmf_xsdt);
    put(0x1f777000, ovmf_madt);
}

static bool take(uint64_t rsdp)
{
    struct acpi_table madt;
    bool found = acpi_find(&memory, rsdp, "APIC", &madt);
    if (found)
        acpi_cpus(&memory, &madt, &cpus);
    return found;
}

static struct gsi_table gsis;

static void take_gsis(uint64_t madt, uint32_t length)
{
    acpi_gsis(&memory, &(struct acpi_table){madt, length}, &gsis);
}

/* One chip of PCs; IRQ 0 comes in at pin 2. */
static void expect_pc(uint8_t id)
{
    assert_int_equal(gsis.count, 1);
    assert_int_equal(gsis.chip[0].address, 0xfec00000);
    assert_int_equal(gsis.chip[0].first, 0);
    assert_int_equal(gsis.chip[0].id, id);
    for (unsigned i = 0; i < GSI_ISA_LINES; i++)
        assert_int_equal(gsis.isa[i], i == 0 ? 2 : i);
    assert_int_equal(gsis.senseless, 0);
}

static void seabios(void **state)
{
    (void)state;
    put_seabios();
    assert_int_equal(acpi_find_rsdp(&memory), 0xf59e0);
    assert_true(take(0xf59e0));
    expect_ids(4);
    assert_int_equal(cpus.disabled, 2);
    assert_true(cpus.later == 0 && cpus.senseless == 0 && cpus.beyond == 0);
    take_gsis(0x1ffe2334, 0xa0);
    expect_pc(0);
    assert_string_equal(host_log, "");
}

static void ovmf(void **state)
{
    (void)state;
    put_ovmf();
    assert_int_equal(acpi_find_rsdp(&memory), 0);
    assert_true(take(0x1f77d014));
    expect_ids(2);
    assert_string_equal(host_log, "");
}

static void bochs(void **state)
{
    (void)state;
    high = 0x200f0000;
    put(0xfa060, bochs_rsdp);
    put(0x200f0000, bochs_rsdt);
    put(0x200f0f98, bochs_madt);
    assert_true(take(acpi_find_rsdp(&memory)));
    expect_ids(4);
    take_gsis(0x200f0f98, 0x62);
    expect_pc(4);
    assert_string_equal(host_log, "");
}

static void mp_tables(void **state)
{
    (void)state;
    put(0xf5ba0, seabios_mp_pointer);
    put(0xf5bb0, seabios_mp_table);
    assert_true(mptable_cpus(&memory, &cpus));
    expect_ids(1);
    reset(NULL);
    put(0xf9eb0, bochs_mp_pointer);
    put(0xf9da0, bochs_mp_table);
    assert_true(mptable_cpus(&memory, &cpus));
    expect_ids(4);
    assert_string_equal(host_log, "");
}

/* --- ACPI, broken ----------------------------------------------------------------------------- */

static void no_rsdp(void **state)
{
    (void)state;
    assert_int_equal(acpi_find_rsdp(&memory), 0);
    assert_false(take(0x1000));
    expect_logged("no valid RSDP at 0x1000");
    assert_false(take(0x12345678));
    put_seabios();
    low[0xf59e0 + 9]++;
    assert_int_equal(acpi_find_rsdp(&memory), 0);
    assert_false(take(0xf59e0));
    expect_logged("no valid RSDP at 0xf59e0");
}

/* The EBDA is looked at first, then the last KiB of base memory. */
static void rsdp_elsewhere(void **state)
{
    (void)state;
    put(0xf59e0, seabios_rsdp);
    put_number(0x413, 640, 2);
    put(0x9fff0 - 0x10, seabios_rsdp);
    assert_int_equal(acpi_find_rsdp(&memory), 0x9ffe0);
    put_number(0x40e, 0x9000, 2);
    put(0x903e0, seabios_rsdp);
    assert_int_equal(acpi_find_rsdp(&memory), 0x903e0);
    put(0x90008, seabios_rsdp); /* not at a multiple of 16 */
    assert_int_equal(acpi_find_rsdp(&memory), 0x903e0);
}

/* Without an XSDT that can be used the RSDT is. */
static void broken_xsdt(void **state)
{
    (void)state;
    put_ovmf();
    *memory_at(0x1f77c0e8 + 40, 1) ^= 1;
    assert_true(take(0x1f77d014));
    expect_ids(2);
    expect_logged("XSDT at 0x1f77c0e8: its length (84) or its sum is wrong");
    expect_logged("no XSDT at 0x1f77c0e8");
    *memory_at(0x1f77d014 + 33, 1) ^= 1; /* the RSDP's second sum is wrong, the first is right */
    host_log_reset();
    assert_true(take(0x1f77d014));
    assert_string_equal(host_log, "");
    put_number(0x1f77d014 + 20, 35, 4); /* a length that is too short */
    mend(0x1f77d014, 36, 0x1f77d014 + 32);
    assert_true(take(0x1f77d014));
    *memory_at(0x1f77c074, 1) ^= 1;
    assert_false(take(0x1f77d014));
    expect_logged("no RSDT at 0x1f77c074");
}

static void broken_madt(void **state)
{
    (void)state;
    put_seabios();
    *memory_at(0x1ffe2334 + 50, 1) ^= 1;
    assert_false(take(0xf59e0));
    expect_logged("APIC at 0x1ffe2334: its length (160) or its sum is wrong; left out");
    static const uint32_t lengths[] = {0, 35, 0x100001, UINT32_MAX, 0x1ffff};
    for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
        put_number(0x1ffe2334 + 4, lengths[i], 4);
        host_log_reset();
        assert_false(take(0xf59e0));
        expect_logged("its length");
    }
}

/* A second MADT stands in for a broken one; addresses that lead nowhere are passed over. */
static void broken_list(void **state)
{
    (void)state;
    put_seabios();
    put(0x1fff0000, seabios_madt);
    *memory_at(0x1ffe2334 + 50, 1) ^= 1;
    put_number(0x1ffe2470 + 36, 0xfffffff0, 4);
    put_number(0x1ffe2470 + 36 + 8, 0, 4);
    put_number(0x1ffe2470 + 36 + 12, 0x1ffe2470, 4); /* the list itself */
    put_number(0x1ffe2470 + 36 + 16, 0x1fff0000, 4);
    mend(0x1ffe2470, 56, 0x1ffe2470 + 9);
    assert_true(take(0xf59e0));
    expect_ids(4);
    expect_logged("APIC at 0x1ffe2334");
    expect_logged("1 addresses of tables where no table can be");
}

/* A list of nothing but itself, as long as there is memory. */
static void endless_list(void **state)
{
    (void)state;
    put_seabios();
    put_number(0x1ffe2470 + 4, 0x1d000, 4);
    for (uint64_t at = 0x1ffe2470 + 36; at < 0x1ffe2470 + 0x1d000; at += 4)
        put_number(at, 0x1ffe2470, 4);
    mend(0x1ffe2470, 0x1d000, 0x1ffe2470 + 9);
    assert_false(take(0xf59e0));
}

/* --- the MADT's entries ----------------------------------------------------------------------- */

static uint64_t end;

static void begin_madt(void)
{
    reset(NULL);
    put_seabios();
    end = 0x1ffe2334 + 44;
}

static void add_entry(const char *hex)
{
    put(end, hex);
    end += strlen(hex) / 2;
}

static void add_x2apic(uint32_t id, uint32_t flags)
{
    put(end, "09100000");
    put_number(end + 4, id, 4);
    put_number(end + 8, flags, 4);
    put_number(end + 12, 0, 4);
    end += 16;
}

/* At another place than the recorded one, where there is room. */
static void end_madt(void)
{
    uint32_t length = (uint32_t)(end - 0x1ffe2334);
    memmove(memory_at(0x1fff0000, length), memory_at(0x1ffe2334, length), length);
    put_number(0x1fff0004, length, 4);
    mend(0x1fff0000, length, 0x1fff0009);
    acpi_cpus(&memory, &(struct acpi_table){0x1fff0000, length}, &cpus);
}

static void io_apics(void **state)
{
    (void)state;
    begin_madt();
    add_entry("010c0900000010fe18000000"); /* a second chip, of GSI 24 on */
    add_entry("010c0a0000000000"
              "30000000"); /* at no address */
    add_entry("010c0b000100c0fe"
              "30000000"); /* at none that a page has */
    add_entry("010b0c000000c1fe"
              "300000");               /* too short */
    add_entry("020a00051d0000000000"); /* IRQ 5 at GSI 29 */
    add_entry("020a01061d0000000000"); /* of another bus than ISA */
    add_entry("020a00101d0000000000"); /* an IRQ that there is not */
    add_entry("020900071d00000000");   /* too short */
    end_madt();
    take_gsis(0x1fff0000, (uint32_t)(end - 0x1ffe2334));
    assert_int_equal(gsis.count, 1);
    assert_int_equal(gsis.chip[0].address, 0xfe100000);
    assert_int_equal(gsis.chip[0].first, 24);
    assert_int_equal(gsis.chip[0].id, 9);
    for (unsigned i = 0; i < GSI_ISA_LINES; i++)
        assert_int_equal(gsis.isa[i], i == 5 ? 29 : i);
    assert_int_equal(gsis.senseless, 6);
    begin_madt();
    for (unsigned i = 0; i < GSI_MAX_CHIPS + 3; i++)
        add_entry("010c0900000010fe18000000");
    end_madt();
    take_gsis(0x1fff0000, (uint32_t)(end - 0x1ffe2334));
    assert_int_equal(gsis.count, GSI_MAX_CHIPS);
    assert_int_equal(gsis.senseless, 3);
}

static void kinds_of_cpus(void **state)
{
    (void)state;
    begin_madt();
    add_entry("0008000001000000"); /* enabled */
    add_entry("0008010000000000"); /* disabled */
    add_entry("0008020202000000"); /* online-capable */
    add_entry("0008030303000000"); /* both, which ACPI forbids: ready */
    add_entry("000804ff00000000"); /* not there, as some firmware says it */
    add_entry("000805ff01000000"); /* the broadcast ID */
    add_x2apic(0x12345, 1);
    add_x2apic(UINT32_MAX, 1);
    add_x2apic(0xff, 1); /* an ID like any other here */
    add_x2apic(7, 2);
    end_madt();
    static const uint32_t ids[] = {0, 3, 0x12345, 0xff};
    assert_int_equal(cpus.count, ARRAY_SIZE(ids));
    assert_memory_equal(cpus.apic_id, ids, sizeof(ids));
    assert_int_equal(cpus.disabled, 2);
    assert_int_equal(cpus.later, 2);
    assert_int_equal(cpus.senseless, 2);
}

static void twice_and_short(void **state)
{
    (void)state;
    begin_madt();
    add_entry("0008000001000000");
    add_x2apic(0, 1);
    add_entry("0008000101000000");
    add_entry("0008000001000000");
    add_entry("00070001010000"); /* a byte too short */
    add_entry("090800000000");   /* with a length of 8 that covers the next bytes */
    add_entry("0100");
    add_entry("0502");         /* an address override without the address */
    add_entry("ff06aabbccdd"); /* of an unknown type */
    end_madt();
    expect_ids(2);
    assert_int_equal(cpus.senseless, 5);
    assert_string_equal(host_log, "");
}

static void override(void **state)
{
    (void)state;
    begin_madt();
    add_entry("050c0000efcdab0901000000");
    end_madt();
    assert_int_equal(cpus.local_apic, 0x109abcdef);
}

/* The list ends there, and what was before it counts. */
static void no_length(void **state)
{
    static const char *const broken[] = {"0000",           "0001", "00090102", "0009010201000000",
                                         "00ff0102010000", "00"};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(broken); i++) {
        begin_madt();
        add_entry("0008000001000000");
        add_entry("0008000101000000");
        add_entry(broken[i]);
        end_madt();
        expect_ids(2);
        expect_logged("the entry at byte 60 has the length");
        expect_logged("left out");
    }
}

static void three_hundred(void **state)
{
    (void)state;
    begin_madt();
    for (uint32_t i = 0; i < 300; i++)
        add_x2apic(i, 1);
    end_madt();
    expect_ids(FIRMWARE_MAX_CPUS);
    assert_int_equal(cpus.beyond, 300 - FIRMWARE_MAX_CPUS);
}

/* A table that ends in its header. */
static void no_entries(void **state)
{
    (void)state;
    for (uint32_t length = 36; length <= 44; length++) {
        begin_madt();
        acpi_cpus(&memory, &(struct acpi_table){0x1ffe2334, length}, &cpus);
        assert_int_equal(cpus.count, 0);
        assert_int_equal(cpus.local_apic, length == 44 ? 0xfee00000 : 0);
    }
}

/* --- MP tables, broken ------------------------------------------------------------------------ */

static void put_mp(void)
{
    reset(NULL);
    put(0xf9eb0, bochs_mp_pointer);
    put(0xf9da0, bochs_mp_table);
}

static void default_configurations(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 256; n++) {
        put_mp();
        low[0xf9eb0 + 11] = (uint8_t)n;
        mend(0xf9eb0, 16, 0xf9eb0 + 10);
        assert_int_equal(mptable_cpus(&memory, &cpus), n <= 7);
        if (n <= 7)
            expect_ids(2);
        else
            expect_logged("no default configuration has the number");
    }
}

static void broken_mp_pointer(void **state)
{
    (void)state;
    put_mp();
    low[0xf9eb0 + 12] = 0x80;
    assert_false(mptable_cpus(&memory, &cpus));
    assert_string_equal(host_log, "");
    put_mp();
    put_number(0xf9eb0 + 4, 0x7f000000, 4);
    mend(0xf9eb0, 16, 0xf9eb0 + 10);
    assert_false(mptable_cpus(&memory, &cpus));
    expect_logged("no valid configuration table at 0x7f000000");
}

static void broken_mp_table(void **state)
{
    (void)state;
    put_mp();
    low[0xf9da0 + 50]++;
    assert_false(mptable_cpus(&memory, &cpus));
    expect_logged("no valid configuration table at 0xf9da0");
    put_mp();
    put_number(0xf9da0 + 4, 43, 2); /* the length */
    mend(0xf9da0, 43, 0xf9da0 + 7);
    assert_false(mptable_cpus(&memory, &cpus));
}

static void mp_entries(void **state)
{
    (void)state;
    put_mp();
    low[0xf9da0 + 44 + 20 + 3] = 0;    /* the second CPU is disabled */
    low[0xf9da0 + 44 + 40 + 1] = 0;    /* the third has the first one's ID */
    low[0xf9da0 + 44 + 60 + 1] = 0xff; /* the fourth the broadcast ID */
    put_number(0xf9da0 + 34, 100, 2);  /* more entries than there are bytes for */
    mend(0xf9da0, 0x104, 0xf9da0 + 7);
    assert_true(mptable_cpus(&memory, &cpus));
    expect_ids(1);
    assert_true(cpus.disabled == 1 && cpus.senseless == 2);
    expect_logged("entry 21 is of no known type, or beyond the table's end");
    put_mp();
    low[0xf9da0 + 44 + 20] = 5; /* the second entry's type */
    mend(0xf9da0, 0x104, 0xf9da0 + 7);
    assert_true(mptable_cpus(&memory, &cpus));
    expect_ids(1);
    expect_logged("entry 1 is of no known type");
    put_mp();
    put_number(0xf9da0 + 4, 44 + 20 + 19, 2); /* the second CPU's last byte is missing */
    mend(0xf9da0, 44 + 20 + 19, 0xf9da0 + 7);
    assert_true(mptable_cpus(&memory, &cpus));
    expect_ids(1);
    expect_logged("entry 1 is of no known type, or beyond the table's end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(seabios, reset),
        cmocka_unit_test_setup(ovmf, reset),
        cmocka_unit_test_setup(bochs, reset),
        cmocka_unit_test_setup(mp_tables, reset),
        cmocka_unit_test_setup(no_rsdp, reset),
        cmocka_unit_test_setup(rsdp_elsewhere, reset),
        cmocka_unit_test_setup(broken_xsdt, reset),
        cmocka_unit_test_setup(broken_madt, reset),
        cmocka_unit_test_setup(broken_list, reset),
        cmocka_unit_test_setup(endless_list, reset),
        cmocka_unit_test_setup(io_apics, reset),
        cmocka_unit_test_setup(kinds_of_cpus, reset),
        cmocka_unit_test_setup(twice_and_short, reset),
        cmocka_unit_test_setup(override, reset),
        cmocka_unit_test_setup(no_length, reset),
        cmocka_unit_test_setup(three_hundred, reset),
        cmocka_unit_test_setup(no_entries, reset),
        cmocka_unit_test_setup(default_configurations, reset),
        cmocka_unit_test_setup(broken_mp_pointer, reset),
        cmocka_unit_test_setup(broken_mp_table, reset),
        cmocka_unit_test_setup(mp_entries, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
