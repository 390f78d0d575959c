/*
 * A passed-through function as its guest sees it, against tables of what each register has and
 * which of its bits can be written (PCI Local Bus Specification; PCI Express Base Specification),
 * by every kind of access at random; and what its owner is told, against what the guest sees.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/device_ops.h"
#include "tests/unit/host.h"
#include "tests/unit/vpci_fake.h"
#include "tests/unit/vpci_records.h"

enum { OPERATIONS = 1000000, DWORDS = 64 };

static struct fake fake;
static struct vpci vpci;
static uint64_t seed;

static uint64_t below(uint64_t n)
{
    return host_random(&seed) % n;
}

static void set_registers(const struct record *record)
{
    const struct word *word = record->real;
    for (unsigned i = 0; i < ARRAY_SIZE(record->real) && (i == 0 || word[i].reg != 0); i++)
        fake_put(&fake, word[i].reg, 4, word[i].value);
    if (record->pcie != 0) /* "Device Control Register": defaults */
        fake_put(&fake, record->pcie + 8, 2, 0x2810);
}

static struct vpci_setup setup_of(const struct record *record)
{
    memset(&fake, 0, sizeof(fake));
    fake.allows = true;
    fake.pcie = record->pcie;
    for (unsigned i = 0; i < PCI_BARS; i++)
        fake.real.bar[i] = record->bar[i];
    fake.real.msi = (uint16_t)record->msi;
    fake.real.msix = (uint16_t)record->msix;
    fake.real.pcie = (uint16_t)record->pcie;
    set_registers(record);
    memcpy(fake.at_reset, fake.config, sizeof(fake.config));
    fake_put(&fake, 4, 2, 0x0006);
    return (struct vpci_setup){
        .real = &fake.real,
        .ops = &fake_ops,
        .context = &fake,
        .entries = fake.entries,
        .entry_count = FAKE_ENTRIES,
        .vectors = 32,
        .line = 11,
        .intx = true,
        .resets = true,
    };
}

static void create(const struct record *record)
{
    struct vpci_setup setup = setup_of(record);
    vpci_create(&vpci, &setup);
    fake_check(&vpci, &fake);
}

static const struct record *find_record(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(records); i++)
        if (strcmp(records[i].name, name) == 0)
            return &records[i];
    fail();
    return NULL;
}

static void write16(unsigned reg, uint32_t value)
{
    unsigned shift = reg % 4 * 8;
    vpci_write(&vpci, reg / 4 * 4, 0xffffu << shift, value << shift);
    fake_check(&vpci, &fake);
}

static void write32(unsigned reg, uint32_t value)
{
    vpci_write(&vpci, reg, UINT32_MAX, value);
    fake_check(&vpci, &fake);
}

/* --- a second model --------------------------------------------------------------------------- */

struct naive {
    const struct record *record;
    uint32_t value[DWORDS], writable[DWORDS];
    bool device[DWORDS]; /* the real function's own value, as far as SHOWN says */
    uint32_t shown[DWORDS];
    unsigned resets;
};

static struct naive naive;

static void naive_clear(void)
{
    memset(naive.value, 0, sizeof(naive.value));
    for (unsigned i = 0; i < ARRAY_SIZE(naive.record->shown); i++) {
        const struct shown *shown = &naive.record->shown[i];
        if (i == 0 || shown->reg != 0)
            naive.value[shown->reg / 4] = shown->value;
    }
}

static void naive_of_device(unsigned reg, uint32_t shown)
{
    naive.device[reg / 4] = true;
    naive.shown[reg / 4] = shown;
}

/* Where pending bits of MSI are, if there are any. */
static unsigned pending_of(const struct record *record)
{
    uint32_t control = record->msi != 0 ? fake_get(&fake, record->msi + 2, 2) : 0;
    return (control & 0x100) == 0 ? 0 : record->msi + ((control & 0x80) != 0 ? 0x14 : 0x10);
}

static void naive_create(const struct record *record)
{
    naive = (struct naive){.record = record};
    for (unsigned i = 0; i < ARRAY_SIZE(record->shown); i++)
        if (i == 0 || record->shown[i].reg != 0)
            naive.writable[record->shown[i].reg / 4] = record->shown[i].writable;
    naive.writable[1] = 0x547;
    naive_clear();
    naive_of_device(0x04, 0xffef0000);
    naive_of_device(0x0c, 0x0000ffff);
    if (record->pcie != 0)
        naive_of_device(record->pcie + 8, 0xffffffff);
    if (record->af != 0)
        naive_of_device(record->af + 4, 0x00000100);
    if (pending_of(record) != 0)
        naive_of_device(pending_of(record), 0xffffffff);
}

static uint32_t naive_read(unsigned reg)
{
    uint32_t value = naive.value[reg / 4];
    if (naive.device[reg / 4])
        value |= fake_get(&fake, reg, 4) & naive.shown[reg / 4];
    if (reg == 4 && naive.value[0x34 / 4] != 0)
        value |= 0x00100000;
    if (reg == 4)
        value |= fake_get(&fake, 4, 2) & 0x02b8;
    return value;
}

static void naive_reset(void)
{
    naive_clear();
    naive.resets++;
}

/* "Power Management Control/Status": from D3hot to D0 is a reset without No_Soft_Reset. */
static void naive_power(uint32_t before)
{
    unsigned pm = naive.record->pm;
    uint32_t *now = &naive.value[pm / 4 + 1], was = before & 3, is = *now & 3;
    uint32_t header = naive.value[pm / 4];
    bool there = (is != 1 || (header >> 25 & 1) != 0) && (is != 2 || (header >> 26 & 1) != 0);
    if (!there || (is != 0 && is < was))
        *now = before;
    else if (was == 3 && is == 0 && (*now & 8) == 0)
        naive_reset();
}

/* More vectors than there are cannot be enabled. */
static void naive_msi(void)
{
    uint32_t *control = &naive.value[naive.record->msi / 4];
    while ((*control >> 20 & 7) > (*control >> 17 & 7))
        *control -= 1u << 20;
}

static void naive_write(unsigned reg, uint32_t mask, uint32_t value)
{
    const struct record *record = naive.record;
    if (reg >= 0x100)
        return;
    uint32_t before = naive.value[reg / 4], bits = naive.writable[reg / 4] & mask;
    naive.value[reg / 4] = (before & ~bits) | (value & bits);
    if (record->msi != 0 && reg == record->msi)
        naive_msi();
    if (record->pm != 0 && reg == record->pm + 4)
        naive_power(before);
    bool flr = record->pcie != 0 && reg == record->pcie + 8 && (value & mask & 0x8000) != 0 &&
               (naive.value[reg / 4 - 1] >> 28 & 1) != 0;
    if (flr || (record->af != 0 && reg == record->af + 4 && (value & mask & 1) != 0))
        naive_reset();
}

/* What the real function must have after a write that resets nothing. */
static void check_real(const uint8_t *before, unsigned reg, uint32_t mask, uint32_t value)
{
    unsigned pcie = naive.record->pcie;
    for (unsigned i = 0; i < 4; i++) {
        uint8_t was = before[reg + i], byte = (uint8_t)(value >> 8 * i & mask >> 8 * i), now = was;
        if (reg == 4 && i == 3)
            now = was & (uint8_t) ~(byte & 0xf9);
        if (pcie != 0 && reg == pcie + 8 && i == 2)
            now = was & (uint8_t) ~(byte & 0x0f);
        if (pcie != 0 && reg == pcie + 8 && (mask >> 8 * i & 1) != 0 && i < 2)
            now = (uint8_t)((was & (i == 0 ? 0xef : 0xf7)) | (byte & (i == 0 ? 0x10 : 0x08)));
        assert_true(fake.config[reg + i] == now || (reg == 4 && i < 2));
    }
}

static void compare(void)
{
    for (unsigned reg = 0; reg < 0x100; reg += 4)
        if (vpci_read(&vpci, reg) != naive_read(reg))
            fail_msg("%s: register %x is %x, not %x", naive.record->name, reg,
                     vpci_read(&vpci, reg), naive_read(reg));
    assert_int_equal(fake.resets, naive.resets);
}

/* --- random operations ------------------------------------------------------------------------ */

static uint32_t random_value(void)
{
    uint32_t value = (uint32_t)host_random(&seed);
    switch (below(6)) {
    case 0:
        return UINT32_MAX;
    case 1:
        return 0;
    case 2:
        return value & (uint32_t)host_random(&seed) & (uint32_t)host_random(&seed);
    case 3:
        return 1u << below(32);
    default:
        return value;
    }
}

/* Any bytes of a register. */
static uint32_t random_mask(void)
{
    static const uint32_t usual[] = {UINT32_MAX, UINT32_MAX, 0xffff, 0xffff0000};
    uint64_t bytes = below(16);
    if (below(2) == 0)
        return usual[below(ARRAY_SIZE(usual))];
    return (uint32_t)((bytes & 1) | (bytes & 2) << 7 | (bytes & 4) << 14 | (bytes & 8) << 21) * 255;
}

static unsigned random_register(void)
{
    const struct record *r = naive.record;
    const unsigned caps[] = {r->pm, r->msi, r->msix, r->pcie, r->af};
    unsigned cap = caps[below(ARRAY_SIZE(caps))];
    if (below(16) == 0)
        return (unsigned)below(0x400) * 4;
    if (cap != 0 && below(2) == 0)
        return (cap + (unsigned)below(6) * 4) & 0xfc;
    return (unsigned)below(16) * 4;
}

static void random_write(void)
{
    uint8_t before[0x104];
    unsigned reg = random_register(), resets = fake.resets;
    uint32_t mask = random_mask(), value = random_value();
    memcpy(before, fake.config, 0x100);
    vpci_write(&vpci, reg, mask, value & mask);
    naive_write(reg, mask, value);
    if (reg < 0x100 && fake.resets == resets)
        check_real(before, reg, mask, value);
}

/* The device has something to say: in its status, its pending bits. */
static void random_event(void)
{
    unsigned pcie = naive.record->pcie, pending = pending_of(naive.record);
    fake_put(&fake, 6, 2, fake_get(&fake, 6, 2) | (random_value() & 0xf908));
    if (pcie != 0)
        fake_put(&fake, pcie + 10, 2, (uint32_t)below(0x40));
    if (pending != 0)
        fake_put(&fake, pending, 4, random_value());
    if (naive.record->af != 0)
        fake_put(&fake, naive.record->af + 5, 1, (uint32_t)below(256));
}

/* "MSI-X Table Structure": which bits of an entry's four words can be written. */
static const uint32_t entry_bits[4] = {0xfffffffc, 0xffffffff, 0xffffffff, 1};

static void random_table(void)
{
    unsigned entries = naive.record->entries, width = 1u << below(4);
    uint32_t place = fake_get(&fake, naive.record->msix + 4, 4), start = place & ~7u;
    uint64_t value = random_value() | (uint64_t)random_value() << 32, seen;
    uint64_t at = start + below(16ull * entries) / (below(4) == 0 ? 1 : width) * width;
    bool aligned = width >= 4 && (at - start) % width == 0;
    uint8_t expected[16];
    if (at - start + width > 16ull * entries)
        return;
    for (unsigned i = 0; i < width; i++) {
        unsigned byte = (unsigned)(at - start + i);
        uint32_t was = fake.entries[byte / 16].word[byte / 4 % 4];
        uint32_t now = (uint32_t)(value >> 8 * (i / 4 * 4)) & entry_bits[byte / 4 % 4];
        expected[i] = (uint8_t)((aligned ? now : was) >> 8 * (byte % 4));
    }
    assert_true(vpci_write_table(&vpci, place & 7, at, width, value));
    assert_true(vpci_read_table(&vpci, place & 7, at, width, &seen));
    assert_memory_equal(&seen, expected, width);
}

static void random_operation(void)
{
    switch (below(32)) {
    case 0:
        random_event();
        break;
    case 1:
        if (below(64) == 0) {
            vpci_reset(&vpci);
            naive_reset();
        }
        break;
    case 2:
    case 3:
    case 4:
    case 5:
        if (naive.record->entries != 0)
            random_table();
        break;
    default:
        random_write();
        break;
    }
}

static void test_random(void **state)
{
    unsigned long operations = device_ops(OPERATIONS) / ARRAY_SIZE(records);
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(records); i++) {
        unsigned every = records[i].entries / 16 + 1;
        seed = 1 + i;
        create(&records[i]);
        naive_create(&records[i]);
        for (unsigned long k = 0; k < operations; k++) {
            random_operation();
            compare();
            if (k % every == 0)
                fake_check(&vpci, &fake);
        }
        print_message("%s: %lu operations, %u resets\n", records[i].name, operations, fake.resets);
    }
}

/* --- one by one ------------------------------------------------------------------------------- */

static void test_registers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(records); i++) {
        create(&records[i]);
        naive_create(&records[i]);
        compare();
        for (unsigned reg = 0x100; reg < 0x1000; reg += 4)
            assert_int_equal(vpci_read(&vpci, reg), records[i].pcie != 0 ? 0 : UINT32_MAX);
    }
}

/* "Base Address Register Sizing", of a function that goes on decoding as of one that does not. */
static void test_sizing(void **state)
{
    (void)state;
    for (unsigned decodes = 0; decodes < 2; decodes++) {
        create(find_record("conventional"));
        write32(0x10, 0x0000000c);
        write32(0x14, 0x00000008);
        write16(0x04, decodes != 0 ? 2 : 0);
        write32(0x10, UINT32_MAX);
        assert_int_equal(vpci_read(&vpci, 0x10), 0x0000000c);
        write32(0x14, UINT32_MAX);
        assert_int_equal(vpci_read(&vpci, 0x14), 0xfffffffe);
        assert_int_equal(fake.range[0].size, 0);
        write32(0x14, 0x00000008);
        assert_true(fake.range[0].start == (decodes != 0 ? 0x800000000 : 0));
        assert_int_equal(vpci_read(&vpci, 0x30), 0); /* no ROM */
        assert_int_equal(fake_get(&fake, 0x14, 4), 4);
    }
}

/* A BAR of ports ends with them. */
static void test_ports(void **state)
{
    (void)state;
    create(find_record("e1000e"));
    write16(0x04, 1);
    write32(0x18, 0x0000ffc0);
    assert_int_equal(fake.range[2].start, 0xffc0);
    write32(0x18, 0x00010000);
    assert_int_equal(fake.range[2].size, 0);
    write32(0x18, 0x0000c000);
    write16(0x04, 2);
    assert_int_equal(fake.range[2].size, 0);
}

static void test_bus_master(void **state)
{
    (void)state;
    for (unsigned allows = 0; allows < 2; allows++) {
        create(find_record("edu"));
        fake.allows = allows != 0;
        assert_int_equal(fake_get(&fake, 4, 2), 0x0002); /* INTx is on, memory decodes */
        write16(0x04, 0x0006);
        assert_int_equal(fake_get(&fake, 4, 2), allows != 0 ? 0x0006 : 0x0002);
        assert_int_equal(vpci_read(&vpci, 0x04) & 0xffff, 0x0006);
        write16(0x04, 0x0547);
        assert_int_equal(fake_get(&fake, 4, 2), allows != 0 ? 0x0406 : 0x0402);
        write16(0x04, 0);
        assert_int_equal(fake_get(&fake, 4, 2), 0x0002);
    }
}

/* What firmware has set that is not the guest's stays, and is seen. */
static void test_kept(void **state)
{
    struct vpci_setup setup = setup_of(find_record("edu"));
    (void)state;
    fake_put(&fake, 4, 2, 0xffff);
    vpci_create(&vpci, &setup);
    assert_int_equal(vpci_read(&vpci, 4) & 0xffff, 0x02b8);
    assert_int_equal(fake_get(&fake, 4, 2), 0x03fb);
    write16(0x04, 0xffff);
    assert_int_equal(vpci_read(&vpci, 4) & 0xffff, 0x07ff);
    vpci_reset(&vpci);
    assert_int_equal(fake_get(&fake, 4, 2), 0x03fb);
}

static void test_snoops(void **state)
{
    struct vpci_setup setup = setup_of(find_record("nvme"));
    (void)state;
    setup.snoops = true;
    vpci_create(&vpci, &setup);
    assert_int_equal(fake_get(&fake, 0x88, 2), 0x2010);
    write16(0x88, 0x7fff);
    assert_int_equal(vpci_read(&vpci, 0x88) & 0xffff, 0x2010);
    write16(0x88, 0x8000); /* a reset brings the default back, for a moment */
    assert_int_equal(fake.resets, 1);
    assert_int_equal(fake_get(&fake, 0x88, 2), 0x2010);
    assert_true(vpci_holds_no_snoop(&vpci));
    fake_put(&fake, 0x88, 2, 0x2810); /* a function that does not let it be cleared */
    assert_false(vpci_holds_no_snoop(&vpci));
    setup = setup_of(find_record("edu"));
    setup.snoops = true;
    vpci_create(&vpci, &setup);
    assert_false(vpci_holds_no_snoop(&vpci));
    setup = setup_of(find_record("nvme"));
    vpci_create(&vpci, &setup);
    assert_int_equal(fake_get(&fake, 0x88, 2), 0x2810);
    write16(0x88, 0x7000);
    assert_int_equal(fake_get(&fake, 0x88, 2), 0x2000);
    fake_put(&fake, 0x88, 2, 0xa000); /* it always reads as 0 */
    assert_int_equal(vpci_read(&vpci, 0x88) & 0xffff, 0x2000);
    write16(0x88, 0x0010);
    assert_int_equal(fake_get(&fake, 0x88, 2), 0x2010);
}

static bool has_messages(const char *name, unsigned vectors, unsigned entries)
{
    struct vpci_setup setup = setup_of(find_record(name));
    setup.vectors = vectors;
    setup.entry_count = entries;
    vpci_create(&vpci, &setup);
    return vpci_has_messages(&vpci);
}

/* MSI and MSI-X are hidden where the owner has no room for them. */
static void test_has_messages(void **state)
{
    (void)state;
    assert_true(has_messages("edu", 1, 0));
    assert_false(has_messages("edu", 0, 128));
    assert_true(has_messages("nvme", 0, 65));
    assert_false(has_messages("nvme", 0, 64)); /* of 65 */
}

/* In D3hot nothing leads to it, and it has no bus and no interrupt; back in D0 it has. */
static void test_power(void **state)
{
    (void)state;
    create(find_record("nvme"));
    write32(0x10, 0xc0000000);
    write16(0x04, 6);
    write16(0x64, 3);
    assert_int_equal(fake.range[0].size, 0);
    assert_int_equal(fake.how, VPCI_SILENT);
    assert_int_equal(fake_get(&fake, 4, 2), 0x0402);
    write16(0x64, 0);
    assert_int_equal(fake.range[0].start, 0xc0000000);
    assert_int_equal(fake.how, VPCI_INTX);
    assert_int_equal(fake_get(&fake, 4, 2), 0x0006);
    assert_int_equal(fake.resets, 0); /* No_Soft_Reset */
    create(find_record("e1000e"));
    write32(0x10, 0xc0000000);
    write16(0xcc, 3);
    assert_int_equal(vpci_read(&vpci, 0x10), 0xc0000000);
    write16(0xcc, 0);
    assert_int_equal(vpci_read(&vpci, 0x10), 0);
    assert_int_equal(fake.resets, 1);
    create(find_record("conventional"));
    write16(0x5c, 2); /* there is no D2 */
    assert_int_equal(vpci_read(&vpci, 0x5c), 0);
    write16(0x5c, 1);
    assert_int_equal(vpci_read(&vpci, 0x5c), 1);
    assert_int_equal(fake.how, VPCI_SILENT);
    write16(0x5c, 3);
    write16(0x5c, 1); /* up, but not to D0 */
    assert_int_equal(vpci_read(&vpci, 0x5c), 3);
}

/* Who cannot be reset does not say that it can. */
static void test_no_reset(void **state)
{
    struct vpci_setup setup = setup_of(find_record("nvme"));
    (void)state;
    setup.resets = false;
    fake_put(&fake, 0x84, 4, 0x10008018); /* with phantom functions */
    vpci_create(&vpci, &setup);
    assert_int_equal(vpci_read(&vpci, 0x84), 0x00008000);
    write16(0x88, 0x8000);
    setup = setup_of(find_record("conventional"));
    setup.resets = false;
    vpci_create(&vpci, &setup);
    assert_int_equal(vpci_read(&vpci, 0x50), 0x01065813);
    write16(0x54, 1);
    write16(0x5c, 3);
    assert_int_equal(vpci_read(&vpci, 0x5c), 0x0000000b);
    write16(0x5c, 0);
    assert_int_equal(fake.resets, 0);
}

static void test_no_intx(void **state)
{
    struct vpci_setup setup = setup_of(find_record("edu"));
    (void)state;
    setup.intx = false;
    vpci_create(&vpci, &setup);
    assert_int_equal(vpci_read(&vpci, 0x3c), 0);
    write16(0x04, 2);
    assert_int_equal(fake.how, VPCI_SILENT);
    assert_int_equal(fake_get(&fake, 4, 2), 0x0402);
    setup = setup_of(find_record("edu"));
    fake.config[0x3d] = 5; /* there are four pins */
    vpci_create(&vpci, &setup);
    assert_int_equal(vpci_read(&vpci, 0x3c), 0);
    assert_int_equal(fake.how, VPCI_SILENT);
}

static void expect_message(unsigned entry, uint64_t address, uint32_t data)
{
    assert_true(fake.live[entry]);
    assert_true(fake.message[entry].address == address);
    assert_int_equal(fake.message[entry].data, data);
}

/* "MSI Operation": the vector's number is in the low bits of the data. */
static void test_msi(void **state)
{
    struct vpci_setup setup = setup_of(find_record("large"));
    (void)state;
    setup.vectors = 4;
    vpci_create(&vpci, &setup);
    assert_int_equal(vpci_read(&vpci, 0x60) >> 16, 0x0184);
    write32(0x64, 0xfee01003);
    write32(0x68, 0x1);
    write32(0x6c, 0x12344045);
    assert_int_equal(fake.how, VPCI_INTX);
    write16(0x62, 0x0071);
    assert_int_equal(vpci_read(&vpci, 0x60) >> 16, 0x01a5);
    assert_int_equal(fake.how, VPCI_MSI);
    assert_int_equal(fake.lives, 4);
    expect_message(0, 0x1fee01000, 0x4044);
    expect_message(3, 0x1fee01000, 0x4047);
    write32(0x70, 0xffffffff);
    assert_int_equal(vpci_read(&vpci, 0x70), 0xf);
    assert_int_equal(fake.lives, 0);
    write32(0x70, 0xb);
    write32(0x6c, 0x4050);
    assert_int_equal(fake.lives, 1);
    expect_message(2, 0x1fee01000, 0x4052);
    write16(0x62, 0x0001); /* one vector, that is masked */
    assert_int_equal(fake.lives, 0);
    setup = setup_of(find_record("edu"));
    setup.vectors = 0;
    vpci_create(&vpci, &setup);
    assert_int_equal(vpci_read(&vpci, 0x34), 0);
    assert_int_equal(vpci_read(&vpci, 0x04) >> 16, 0);
}

static void write_table(uint64_t offset, unsigned width, uint64_t value)
{
    assert_true(vpci_write_table(&vpci, 0, offset, width, value));
    fake_check(&vpci, &fake);
}

static void test_msix(void **state)
{
    uint64_t value;
    (void)state;
    create(find_record("nvme"));
    write_table(0x2000, 8, 0x1fee02003);
    write_table(0x2008, 8, 0x0000000e00004051); /* of Vector Control bit 0 is all there is */
    write16(0x42, 0x8000);
    assert_int_equal(fake.how, VPCI_MSIX);
    assert_int_equal(fake.lives, 1);
    expect_message(0, 0x1fee02000, 0x4051);
    write_table(0x2408, 4, 0x4071);
    write_table(0x240c, 4, 0);
    expect_message(64, 0, 0x4071);
    write16(0x42, 0xc000);
    assert_int_equal(fake.lives, 0);
    write_table(0x2008, 4, 0x4052);
    write16(0x42, 0x8000);
    assert_int_equal(fake.lives, 2);
    expect_message(0, 0x1fee02000, 0x4052);
    write_table(0x2008, 2, 0xffff); /* no whole word */
    write_table(0x200a, 4, 0xffffffff);
    expect_message(0, 0x1fee02000, 0x4052);
    assert_false(vpci_write_table(&vpci, 0, 0x1ffc, 4, 0));
    assert_false(vpci_write_table(&vpci, 0, 0x2410, 4, 0));
    assert_false(vpci_write_table(&vpci, 1, 0x2000, 4, 0));
    assert_false(vpci_read_table(&vpci, 0, 0x3000, 8, &value)); /* pending bits are the device's */
    assert_true(vpci_write_table(&vpci, 0, 0x3008, 8, 0));      /* but cannot be written */
    assert_false(vpci_write_table(&vpci, 0, 0x3010, 8, 0));
    assert_true(vpci_read_table(&vpci, 0, 0x240c, 8, &value)); /* it ends in between */
    assert_int_equal(value, 0);
    assert_true(vpci_write_table(&vpci, 0, 0x1ffe, 4, UINT64_MAX));
    write16(0x64, 3);
    write16(0x64, 0);
    assert_int_equal(fake.lives, 2); /* the table is as it was */
}

/* Where the owner has no room for the table the guest finds none. */
static void test_no_room(void **state)
{
    struct vpci_setup setup = setup_of(find_record("nvme"));
    uint64_t value;
    (void)state;
    setup.entry_count = 64;
    vpci_create(&vpci, &setup);
    assert_int_equal(vpci_read(&vpci, 0x34), 0x80);
    assert_int_equal(vpci_read(&vpci, 0x40), 0);
    assert_false(vpci_read_table(&vpci, 0, 0x2000, 4, &value));
}

/* Both at once is not to be: MSI-X is what counts, and its messages alone. */
static void test_both(void **state)
{
    (void)state;
    create(find_record("large"));
    write16(0x62, 0x0031);
    assert_int_equal(fake.lives, 8);
    assert_true(vpci_write_table(&vpci, 1, 0x12345c, 4, 0));
    fake_check(&vpci, &fake);
    write16(0xf6, 0x8000);
    assert_int_equal(fake.how, VPCI_MSIX);
    assert_int_equal(fake.lives, 1);
    write32(0x6c, 0x4099);
    write16(0xf6, 0);
    assert_int_equal(fake.how, VPCI_MSI);
    expect_message(7, 0, 0x409f);
}

/* --- lists that lead astray ------------------------------------------------------------------- */

struct list {
    const char *name;
    struct word real[8];
    uint32_t first, sum; /* what the guest's list begins with, and how many are in it */
};

static const struct list lists[] = {
    {"leads to itself", {{0x34, 0x40}, {0x40, 0x00024001}}, 0x40, 1},
    {"leads back", {{0x34, 0x40}, {0x40, 0x00026009}, {0x60, 0x00804005}}, 0x40, 2},
    {"is not in the list's part", {{0x34, 0x10}}, 0, 0},
    {"goes on in the header", {{0x34, 0x40}, {0x40, 0x00023001}}, 0x40, 1},
    {"has all ones", {{0x34, 0xff}, {0xfc, 0xffffffff}}, 0, 0},
    {"MSI beyond the end", {{0x34, 0xf4}, {0xf4, 0x00800005}}, 0, 0},
    {"MSI up to the end", {{0x34, 0xf0}, {0xf0, 0x00800005}}, 0xf0, 1},
    {"overlap", {{0x34, 0x40}, {0x40, 0x01804805}, {0x48, 0x00020001}}, 0x48, 1},
    {"two of one kind", {{0x34, 0x40}, {0x40, 0x00025001}, {0x50, 0x00020001}}, 0x40, 1},
    {"a vendor's of no length", {{0x34, 0x40}, {0x40, 0x00005009}, {0x50, 0x00ff0009}}, 0x40, 2},
    {"PCI Express cut short", {{0x34, 0xf4}, {0xf4, 0x00020010}}, 0xf4, 1},
    {"PCI Express cut too short", {{0x34, 0xf8}, {0xf8, 0x00020010}}, 0, 0},
    {"MSI-X in no BAR", {{0x34, 0x40}, {0x40, 0x00000011}, {0x44, 6}, {0x48, 0}}, 0, 0},
    {"MSI-X beyond its BAR", {{0x34, 0x40}, {0x40, 0x00000011}, {0x44, 0xff8}, {0x48, 0}}, 0, 0},
    {"MSI-X in its BAR", {{0x34, 0x40}, {0x40, 0x00000011}, {0x44, 0xff0}, {0x48, 0xff8}}, 0x40, 1},
    {"bits beyond", {{0x34, 0x40}, {0x40, 0x00000011}, {0x44, 0}, {0x48, 0x1000}}, 0, 0},
    {"MSI-X among ports", {{0x34, 0x40}, {0x40, 0x00000011}, {0x44, 1}, {0x48, 0}}, 0, 0},
};

/* A capability that begins there a scan has found. */
static void set_word(struct word word)
{
    fake_put(&fake, word.reg, 4, word.value);
    unsigned id = word.reg >= 0x40 ? word.value & 0xff : 0;
    if (id == 0x05)
        fake.real.msi = word.reg;
    if (id == 0x11)
        fake.real.msix = word.reg;
    if (id == 0x10)
        fake.pcie = fake.real.pcie = word.reg;
}

static void test_lists(void **state)
{
    static const struct record base = {
        .bar = {MEMORY32(0xfe000000, 0x1000), PORTS(0xc000, 0x100)},
        .real = {{0x00, 0x56781234}, {0x04, 0x00100000}},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(lists); i++) {
        struct vpci_setup setup = setup_of(&base);
        for (unsigned k = 0; k < ARRAY_SIZE(lists[i].real); k++)
            if (lists[i].real[k].reg != 0)
                set_word(lists[i].real[k]);
        vpci_create(&vpci, &setup);
        unsigned at = vpci_read(&vpci, 0x34), sum = 0;
        if (at != lists[i].first)
            fail_msg("%s: begins at %x", lists[i].name, at);
        for (; at != 0; at = vpci_read(&vpci, at) >> 8 & 0xff)
            sum++;
        if (sum != lists[i].sum || (sum != 0) != (vpci_read(&vpci, 4) >> 20 & 1))
            fail_msg("%s: %u capabilities", lists[i].name, sum);
    }
}

/*
 * What the owner would act on, it must know: a function may show its guest what a scan has not
 * found, or has found elsewhere.
 */
static void test_known_to_the_owner(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(records); i++)
        for (unsigned where = 0; where <= 0xfc; where += 0xfc) {
            struct vpci_setup setup = setup_of(&records[i]);
            fake.real.msi = fake.real.msix = fake.real.pcie = (uint16_t)where;
            fake.pcie = 0;
            vpci_create(&vpci, &setup);
            assert_int_equal(fake_find(&vpci, 0x05), 0);
            assert_int_equal(fake_find(&vpci, 0x11), 0);
            assert_int_equal(fake_find(&vpci, 0x10), 0);
            assert_false(vpci_has_messages(&vpci));
            for (unsigned reg = 0x40; reg < 0x100; reg += 4)
                write32(reg, UINT32_MAX);
            assert_true(fake.how < VPCI_MSI);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registers),    cmocka_unit_test(test_sizing),
        cmocka_unit_test(test_ports),        cmocka_unit_test(test_bus_master),
        cmocka_unit_test(test_kept),         cmocka_unit_test(test_snoops),
        cmocka_unit_test(test_has_messages), cmocka_unit_test(test_power),
        cmocka_unit_test(test_no_reset),     cmocka_unit_test(test_no_intx),
        cmocka_unit_test(test_msi),          cmocka_unit_test(test_msix),
        cmocka_unit_test(test_no_room),      cmocka_unit_test(test_both),
        cmocka_unit_test(test_lists),        cmocka_unit_test(test_known_to_the_owner),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
