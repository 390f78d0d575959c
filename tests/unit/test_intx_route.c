/* Where INTx comes in, by firmware's tables: those of emulators, and made-up ones. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>

#include "tests/unit/firmware_tables.h"
#include "tests/unit/host.h"
#include "vmm/passthrough/intx_route.h"

/* SeaBIOS on QEMU's q35, with devices at 5 (INTA), 6, 7 and 9, and on i440fx at 1, 5, 7 and 9. */
static const char q35_mp_table[] =
    "50434d50e8000423424f434853435055302e3120202020202020202000000000000016000000e0fe"
    "0000000000001403b10f0600fdfb8b07000000000000000001005043492020200101495341202020"
    "020011010000c0fe030001000014000a030001000018000b03000100001c000b030001000024000a"
    "03000100007c000a0300000001000002030000000101000103000000010300030300000001040004"
    "03000000010600060300000001070007030000000108000803000000010c000c03000000010d000d"
    "03000000010e000e03000000010f000f0403000001000000040100000100ff01";
static const char i440fx_mp_table[] =
    "50434d50e00004cc424f434853435055302e3120202020202020202000000000000015000000e0fe"
    "0000000000001403b10f0600fdfb8b07000000000000000001005043492020200101495341202020"
    "020011010000c0fe0300010000040009030001000014000a03000100001c000b030001000024000a"
    "03000000010000020300000001010001030000000103000303000000010400040300000001060006"
    "0300000001070007030000000108000803000000010c000c03000000010d000d03000000010e000e"
    "03000000010f000f0403000001000000040100000100ff01";

/* --- a machine's first MiB -------------------------------------------------------------------- */

enum { POINTER = 0xf0000, TABLE = 0xf0100, NO_LINE = 0xff };

static uint8_t low[0x100000];

static bool read_memory(const struct firmware *firmware, uint64_t at, void *to, size_t n)
{
    (void)firmware;
    if (at >= sizeof(low) || n > sizeof(low) - at)
        return false;
    memcpy(to, low + at, n);
    return true;
}

static const struct firmware memory = {read_memory};
static struct gsi_table gsis;
static struct intx_sources from;

/* Makes the N bytes at AT sum up to 0 by the one at SUM. */
static void mend(unsigned at, size_t n, unsigned sum)
{
    uint8_t all = 0;
    low[sum] = 0;
    for (size_t i = 0; i < n; i++)
        all = (uint8_t)(all + low[at + i]);
    low[sum] = (uint8_t)-all;
}

static void put(unsigned at, const char *hex)
{
    for (size_t i = 0; hex[2 * i] != '\0'; i++) {
        const char two[] = {hex[2 * i], hex[2 * i + 1], '\0'};
        low[at + i] = (uint8_t)strtoul(two, NULL, 16);
    }
}

/* HEX is a table: its header, and entries, of which both are counted. */
static void put_table(const char *hex)
{
    size_t length = strlen(hex) / 2;
    put(TABLE, hex);
    low[TABLE + 4] = (uint8_t)length;
    low[TABLE + 5] = (uint8_t)(length >> 8);
    mend(TABLE, length, TABLE + 7);
    put(POINTER, "5f4d505f00010f000104000000000000");
    mend(POINTER, 16, POINTER + 10);
}

static int reset(void **state)
{
    (void)state;
    memset(low, 0, sizeof(low));
    gsis = (struct gsi_table){.chip = {{0xfec00000, 0, 0}, {0xfec10000, 24, 9}}, .count = 2};
    for (unsigned i = 0; i < GSI_ISA_LINES; i++)
        gsis.isa[i] = i;
    from = (struct intx_sources){&gsis, &memory, INTX_NO_IRQ};
    return 0;
}

/* As QEMU's MADT has them: IRQ 5, 9, 10 and 11 are levels, active high. */
static void override_as_qemu(void)
{
    static const unsigned levels[] = {5, 9, 10, 11};
    for (unsigned i = 0; i < ARRAY_SIZE(levels); i++)
        gsis.isa_flags[levels[i]] = 13;
    from.sci = 9;
}

static struct pci_function bridge = {.bdf = {0, 0, 7, 0}}, far_bridge = {.bdf = {0, 1, 3, 0}};

/* Lives until the next one is made. */
static struct pci_function *device(unsigned bus, unsigned number, const struct pci_function *parent)
{
    static struct pci_function f;
    f = (struct pci_function){.bdf = {0, (uint8_t)bus, (uint8_t)number, 0}, .parent = parent};
    return &f;
}

static void expect(const struct pci_function *f, unsigned pin, unsigned line, uint32_t gsi,
                   bool high)
{
    struct intx_line found = {0};
    assert_true(intx_find(&from, f, pin, line, &found));
    assert_int_equal(found.gsi, gsi);
    assert_int_equal(found.high_active, high);
}

static void expect_none(const struct pci_function *f, unsigned pin, unsigned line)
{
    struct intx_line found;
    assert_false(intx_find(&from, f, pin, line, &found));
}

/* --- emulators' ------------------------------------------------------------------------------- */

static void q35(void **state)
{
    static const struct pci_function port = {.bdf = {0, 0, 6, 0}};
    (void)state;
    put_table(q35_mp_table);
    override_as_qemu();
    expect(device(0, 5, NULL), 1, NO_LINE, 10, true);
    expect(device(0, 6, NULL), 1, 5, 11, true); /* the table counts, not the register */
    expect(device(0, 0x1f, NULL), 1, NO_LINE, 10, true);
    expect(device(1, 0, &port), 1, NO_LINE, 11, true); /* behind a port: its own */
    expect_none(device(2, 1, &bridge), 1, NO_LINE);    /* INTB of 7: nothing says where */
    expect(device(2, 1, &bridge), 1, 10, 10, true);    /* but the register does */
    expect(device(2, 0, &bridge), 1, NO_LINE, 11, true);
    expect(device(2, 4, &bridge), 1, NO_LINE, 11, true); /* 4 pins on */
    expect_none(device(0, 5, NULL), 2, NO_LINE);
    expect_none(device(0, 3, NULL), 1, 9); /* that is ACPI's own */
    expect_none(device(0, 3, NULL), 1, 3); /* no level */
    expect_none(device(0, 3, NULL), 1, 0);
    expect_none(device(0, 3, NULL), 1, 16);
}

static void i440fx(void **state)
{
    (void)state;
    put_table(i440fx_mp_table);
    expect(device(0, 1, NULL), 1, NO_LINE, 9, true);
    expect(device(0, 9, NULL), 1, NO_LINE, 10, true);
    expect_none(device(2, 1, &bridge), 1, 11); /* without a word of ACPI */
}

/* It has no PCI bus: its devices' interrupts come as ISA's, low-active as PCI's are. */
static void bochs(void **state)
{
    (void)state;
    put_table(bochs_mp_table);
    expect(device(0, 3, NULL), 1, 11, 11, false);
    expect(device(0, 3, NULL), 3, 9, 9, false);
    expect_none(device(0, 3, NULL), 1, 2); /* the cascade */
    expect_none(device(0, 3, NULL), 1, NO_LINE);
}

/* --- made up ---------------------------------------------------------------------------------- */

#define HEADER                                                                                     \
    "50434d5000000400424f434853435055302e312020202020202020200000000000000a000000e0fe"             \
    "00000000"

/* Bus 0 and 1 of PCI, ISA as 2; two I/O APICs, and one that is not in use. */
static const char several[] =
    HEADER "0100504349202020"
           "0101504349202020"
           "0102495341202020"
           "020a20000000c2fe"
           "020a20010000c1fe"
           "020520010000c0fe"
           "0300000000140a03"  /* 0.5 INTA: pin 3 of ID 10, as PCI has it */
           "03000f00010d0507"  /* 1.3 INTB: pin 7 of ID 5, low, a level */
           "030005000118ff02"  /* 1.6 INTA: an edge */
           "03010f00011c0501"; /* 1.7 INTA: an NMI */

static void made_up(void **state)
{
    (void)state;
    put_table(several);
    expect(device(0, 5, NULL), 1, NO_LINE, 24 + 3, false);
    expect(device(1, 3, NULL), 2, NO_LINE, 7, false);
    expect_none(device(1, 6, NULL), 1, NO_LINE);
    expect_none(device(1, 7, NULL), 1, NO_LINE);
    expect_none(device(3, 5, NULL), 1, NO_LINE);
    low[TABLE + 44 + 6 * 8 + 2] = 0x0d; /* high, a level */
    low[TABLE + 44 + 6 * 8 + 6] = 0xff; /* of all I/O APICs: the first in use */
    mend(TABLE, 44 + 80, TABLE + 7);
    expect(device(0, 5, NULL), 1, NO_LINE, 24 + 3, true);
    gsis.count = 1; /* that one ACPI does not know */
    expect_none(device(0, 5, NULL), 1, NO_LINE);
}

/* INTC of 2.1 is INTD of 1.3 behind one bridge, and INTC of 0.7 behind the next. */
static void bridges(void **state)
{
    struct pci_function *f = device(2, 1, &far_bridge);
    (void)state;
    far_bridge.parent = &bridge;
    put_table(several);
    low[TABLE + 44 + 6 * 8 + 5] = 7 << 2 | 2;
    mend(TABLE, 44 + 80, TABLE + 7);
    expect(f, 3, NO_LINE, 24 + 3, false);
    expect_none(f, 2, NO_LINE);
    expect(f, 1, NO_LINE, 7, false); /* INTB of 1.3, which the table knows itself */
    far_bridge.ari = true;           /* the bits of 1 are of its function's number then */
    expect_none(f, 3, NO_LINE);
    expect(f, 2, NO_LINE, 7, false);
    far_bridge.ari = false;
    f->bdf.segment = 1;
    expect_none(f, 3, NO_LINE);
}

static void without_tables(void **state)
{
    (void)state;
    expect_none(device(0, 5, NULL), 1, 11);
    put_table(q35_mp_table);
    from.mp_table = NULL; /* as behind UEFI */
    expect_none(device(0, 5, NULL), 1, 11);
    override_as_qemu();
    gsis.isa[11] = 27;
    expect(device(0, 5, NULL), 1, 11, 27, true);
    gsis.isa_flags[11] = 15;
    expect(device(0, 5, NULL), 1, 11, 27, false);
    from.mp_table = &memory;
    low[TABLE + 50]++; /* a sum that is wrong */
    expect_none(device(0, 6, NULL), 1, NO_LINE);
}

/* Low-active, but for a line of which ACPI says otherwise. */
static void as_the_config_says(void **state)
{
    (void)state;
    override_as_qemu();
    assert_int_equal(intx_given(&from, 21).gsi, 21);
    assert_false(intx_given(&from, 21).high_active);
    assert_false(intx_given(&from, 12).high_active);
    assert_true(intx_given(&from, 11).high_active);
    gsis.isa[11] = 29;
    assert_false(intx_given(&from, 11).high_active);
    assert_true(intx_given(&from, 29).high_active);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(q35, reset),
        cmocka_unit_test_setup(i440fx, reset),
        cmocka_unit_test_setup(bochs, reset),
        cmocka_unit_test_setup(made_up, reset),
        cmocka_unit_test_setup(bridges, reset),
        cmocka_unit_test_setup(without_tables, reset),
        cmocka_unit_test_setup(as_the_config_says, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
