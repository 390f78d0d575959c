/* AMD-Vi's driver on a model of its units, in every combination of what units can and cannot. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/fake_amdvi.h"

#include "drivers/amdvi.h"
#include "lib/errno.h"

enum { ID_A = 0x0010, ID_B = 0x0018, ID_C = 0x0208, ID_IOAPIC = 0x00a0, ID_ALIAS = 0x0300 };
static const struct pci_bdf A = {0, 0, 2, 0}, B = {0, 0, 3, 0}, C = {0, 2, 1, 0};
static const struct pci_bdf APIC = {0, 0, 0x14, 0}, ALIASED = {0, 3, 1, 0}, OTHER = {0, 3, 2, 0};

#define GUEST_RAM 0x200000000ull

/* --- the machine ------------------------------------------------------------------------------ */

/*
 * An IVRS, made from the manual: VASize 64, PASize 48. Unit 0 (its function 00:00.2) has bus 0 and
 * I/O APIC 5, and 03:01.0 and 03:02.0, which send as 03:00.0; unit 1 (00:00.3) has bus 2.
 */
static const uint8_t usual[] = {
    /* the header, which has been checked, and IVinfo */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0x40, 0x30, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    /* IVHD 10h at fed8 0000, flags B5: HtTunEn, ResPassPW */
    0x10, 0xb5, 60, 0, 2, 0, 0x40, 0, 0, 0, 0xd8, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    /* 0008 to 00ff */
    3, 8, 0, 0, 4, 0xff, 0, 0,
    /* 0308 to 0310 as 0300 */
    0x43, 8, 3, 0, 0, 0, 3, 0, 4, 0x10, 3, 0,
    /* I/O APIC 5 is 00a0, whose NMIs and ExtINTs are to pass; an HPET is 00a1 */
    0x48, 0, 0, 6, 5, 0xa0, 0, 1, 0x48, 0, 0, 0, 0, 0xa1, 0, 2,
    /* IVHD 10h at fed9 0000 */
    0x10, 0, 32, 0, 3, 0, 0x40, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    /* 0200 to 02ff */
    3, 0, 2, 0, 4, 0xff, 2, 0,
    /* IVMD of A: 7f000000 to 7f0fffff, and an exclusion range of all: 7f100000 to 7f100fff */
    0x21, 7, 32, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0x10, 0,
    0, 0, 0, 0, 0x20, 8, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x7f, 0, 0, 0, 0, 0,
    0x10, 0, 0, 0, 0, 0, 0};

/* Where what may be changed for a test begins. */
enum {
    AT_UNIT = 48,
    AT_ALIASES = 80,
    AT_IOAPIC = 92,
    AT_HPET = 100,
    AT_BEHIND = 132,
    AT_MEMORY = 140
};

static uint8_t table[sizeof(usual)];

/* "IVHD Device Entries" of 8 bytes: requests of ID carry TO. */
static void put_alias(unsigned at, unsigned id, unsigned to)
{
    const uint8_t entry[8] = {0x42, (uint8_t)id, (uint8_t)(id >> 8), 0,
                              0,    (uint8_t)to, (uint8_t)(to >> 8), 0};
    memcpy(table + at, entry, sizeof(entry));
}

/* 0310 sends as 0308, and that as 0300. */
static void put_chain(void)
{
    memset(table + AT_ALIASES, 0, 12);
    put_alias(AT_ALIASES, 0x310, 0x308);
    put_alias(AT_HPET, 0x308, 0x300);
}

/* A MADT: its header, and I/O APICs 5 and 9. */
static const uint8_t madt[] = {0,    0, 0, 0, 0, 0, 0,  0, 0, 0, 0,    0,    0,    0,  0, 0, 0,
                               0,    0, 0, 0, 0, 0, 0,  0, 0, 0, 0,    0,    0,    0,  0, 0, 0,
                               0,    0, 0, 0, 0, 0, 0,  0, 0, 0, 1,    12,   5,    0,  0, 0, 0xc0,
                               0xfe, 0, 0, 0, 0, 1, 12, 9, 0, 0, 0x10, 0xc0, 0xfe, 24, 0, 0, 0};

static bool there_is_a_table, there_is_a_madt;

static bool read_table(const struct firmware *firmware, uint64_t at, void *to, size_t n)
{
    (void)firmware;
    const uint8_t *from = at < 0x9000 ? table : madt;
    uint64_t start = at < 0x9000 ? 0x1000 : 0x9000,
             size = at < 0x9000 ? sizeof(table) : sizeof(madt);
    if (at < start || at - start > size || n > size - (at - start))
        return false;
    memcpy(to, from + (at - start), n);
    return true;
}

static bool find_table(const char *signature, struct acpi_table *found)
{
    bool is_madt = strcmp(signature, "APIC") == 0;
    *found = is_madt ? (struct acpi_table){0x9000, sizeof(madt)}
                     : (struct acpi_table){0x1000, sizeof(table)};
    return is_madt ? there_is_a_madt : strcmp(signature, "IVRS") == 0 && there_is_a_table;
}

static struct fake_unit *unit_of_function(struct pci_bdf bdf)
{
    assert_true(bdf.segment <= 1 && bdf.bus == 0 && bdf.device == 0);
    assert_true(bdf.function == 2 || bdf.function == 3);
    return &fake[bdf.function - 2];
}

static uint32_t config(struct pci_bdf bdf, unsigned reg)
{
    assert_int_equal(reg % 4, 0);
    return read_function(unit_of_function(bdf), reg);
}

static void set_config(struct pci_bdf bdf, unsigned reg, uint32_t value)
{
    write_function(unit_of_function(bdf), reg, value);
}

static const struct firmware firmware = {read_table};
static struct memmap map;
static struct iommu_machine machine;
static struct iommu_ioapics ioapics;

static const struct model modern = {.has_features = true,
                                    .all = true,
                                    .wide = true,
                                    .x2apic = true,
                                    .msi = true,
                                    .msi_64 = true,
                                    .smi_filters = 4};

static void reset(const struct model *model)
{
    fake_iommu_reset();
    memcpy(table, usual, sizeof(table));
    memset(fake, 0, sizeof(fake));
    there_is_a_table = true;
    there_is_a_madt = false;
    for (unsigned i = 0; i < UNITS; i++) {
        fake[i].model = *model;
        fake[i].msi[0] = 0x700005 | (uint32_t)model->msi_64 << 23;
        fake[i].msi[2] = model->msi_64 ? 0x100 : 0;
        fake[i].exclusion = 3;
    }
    map.count = 1;
    map.r[0] = (struct mem_range){.start = 0x7f000000, .end = 0x7f101000, .kind = MEM_FIRMWARE};
    machine = (struct iommu_machine){
        .firmware = &firmware,
        .find = find_table,
        .map = &map,
        .phys_bits = 40,
        .x2apic = true,
        .alloc = fake_alloc,
        .free = free_page,
        .take = fake_take,
        .hpa = fake_hpa,
        .at = fake_at,
        .map_mmio = fake_map,
        .read = fake_read,
        .write = fake_write,
        .stop = fake_stop,
        .faults = {.address = 0xfee02000, .data = 0xf2},
        .flush = fake_flush,
        .config = config,
        .set_config = set_config,
    };
    host_log_reset();
}

/* After reset(). */
static const struct iommu_ops *go(void)
{
    const struct iommu_ops *ops = iommu_start(&machine, &ioapics);
    assert_ptr_equal(ops, &amdvi_ops);
    return ops;
}

static const struct iommu_ops *begin(const struct model *model)
{
    reset(model);
    return go();
}

/* Unit 0 has A, B and the I/O APIC, unit 1 has C. */
static struct fake_unit *const unit = &fake[0], *const behind = &fake[1];

static void blocked(struct fake_unit *u, uint16_t device, uint64_t address)
{
    assert_int_equal(dma(u, device, address, true, NULL), NO_HPA);
    assert_int_equal(dma(u, device, address, false, NULL), NO_HPA);
}

static void leads(struct fake_unit *u, uint16_t device, uint64_t address, uint64_t to)
{
    assert_int_equal(dma(u, device, address, true, NULL), to);
    assert_int_equal(dma(u, device, address, false, NULL), to);
}

/* What is made with a domain: tables for interrupts. */
static void make_tables(const struct iommu_ops *ops)
{
    static struct iommu_domain domain;
    static struct pci_bdf all[3];
    all[0] = A, all[1] = B, all[2] = C;
    assert_int_equal(ops->create(&domain, all, 3, 40, true), 0);
}

/* Every combination of six facts; without features there are none. */
static struct model model_of(unsigned bits)
{
    struct model m = modern;
    m.has_features = (bits & 1) != 0;
    m.all = m.has_features && (bits & 2) != 0;
    m.caches_absent = (bits & 4) != 0;
    m.wide = m.has_features && (bits & 8) != 0;
    m.x2apic = m.has_features && (bits & 16) != 0;
    m.smi_filters = m.has_features ? m.smi_filters : 0;
    m.msi = (bits & 32) != 0;
    m.msi_64 = (bits & 64) != 0;
    return m;
}
enum { MODELS = 128 };

/* --- start ------------------------------------------------------------------------------------ */

static void check_started(const struct fake_unit *u, uint64_t flags)
{
    bool wide = u->model.wide, x2apic = wide && u->model.x2apic;
    assert_int_equal(u->control, 0x1405 | flags | (uint64_t)u->model.msi << 3 |
                                     (uint64_t)wide << 17 | (uint64_t)x2apic << 50 |
                                     (u->model.smi_filters != 0 ? 0x1400000 : 0));
    assert_int_equal(u->table & 0x1ff, 6); /* 0310 is the last: 7 pages of 128 */
    assert_int_equal(u->exclusion | u->limit, 0);
    assert_int_equal(u->forgot_all, u->model.all);
    if (!u->model.msi)
        return;
    assert_int_equal(u->msi[0], 0x10005 | (uint32_t)u->model.msi_64 << 23);
    assert_int_equal(u->msi[1], 0xfee02000);
    assert_int_equal(u->msi[2], u->model.msi_64 ? 0 : 0xf2);
    assert_int_equal(u->msi[3], u->model.msi_64 ? 0xf2 : 0);
}

static void test_start(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < MODELS; bits++) {
        struct model m = model_of(bits);
        uint64_t word[4];
        begin(&m);
        check_started(unit, 0x202); /* HtTunEn, ResPassPW */
        check_started(behind, 0);
        assert_int_equal(unit->table, behind->table);
        blocked(unit, ID_A, 0);
        blocked(behind, 0xffff, 0x7f000000);
        blocked(unit, 0x37f, 0x7f100000);
        assert_int_equal(message(unit, ID_A, 0xfee00000, 0x41), NO_HPA);
        assert_int_equal(message(unit, ID_IOAPIC, 0xfee00000, 0x41), NO_HPA);
        assert_true(device_entry(unit, ID_IOAPIC, word));
        assert_int_equal(word[2] & ~0xfffffffffffc0ull, 0x2600000000000013); /* what is to pass */
        assert_true(device_entry(unit, ID_A, word));
        assert_int_equal(word[2], 1);
        assert_int_equal(ioapics.count, 1);
        assert_int_equal(ioapics.r[0].id, 5);
        assert_true(pci_same_bdf(ioapics.r[0].requester, APIC));
        assert_true(pci_same_bdf(ioapics.r[0].alias, APIC));
        assert_int_equal(ioapics.r[0].x2apic, m.wide && m.x2apic);
    }
}

static void test_no_table(void **state)
{
    (void)state;
    reset(&modern);
    there_is_a_table = false;
    assert_null(iommu_start(&machine, &ioapics));
}

/* Nobody sends SMIs but the chipset, by the I/O APIC's ID where the firmware says so. */
static void test_smis(void **state)
{
    (void)state;
    static const unsigned filters[] = {0, 1, 4, 16};
    for (unsigned i = 0; i < ARRAY_SIZE(filters); i++)
        for (unsigned setting = 0; setting < 4; setting++) {
            struct model m = modern;
            m.smi_filters = filters[i];
            reset(&m);
            table[AT_IOAPIC + 3] = (uint8_t)(0xc7 | setting << 4);
            table[AT_UNIT + 27] = 0x10; /* the range's, of which VMs may have some */
            for (unsigned k = 0; k < 16; k++)
                unit->filter[k] = 0x10000 | ID_A; /* of another system */
            (void)go();
            bool chipset = setting == 1 || filters[i] == 0;
            assert_int_equal(message(unit, ID_A, 0xfee00000, 0x200),
                             filters[i] == 0 ? PASSES : NO_HPA);
            assert_int_equal(message(unit, ID_IOAPIC, 0xfee00000, 0x200),
                             chipset ? PASSES : NO_HPA);
            assert_int_equal(message(behind, ID_IOAPIC, 0xfee00000, 0x200),
                             filters[i] == 0 ? PASSES : NO_HPA);
            assert_int_equal(strstr(host_log, "iommu 1: it has no filter for SMIs") != NULL,
                             filters[i] == 0);
        }
}

/* What is locked stays; a filter that is on, stays on. */
static void test_smis_that_firmware_lets_pass(void **state)
{
    (void)state;
    reset(&modern);
    table[AT_IOAPIC + 3] = 0x17;
    unit->control = 1 << 22;
    unit->filter[0] = 0x30000 | ID_B;
    unit->filter[1] = 0x20000 | ID_A;
    (void)go();
    assert_int_equal(message(unit, ID_A, 0xfee00000, 0x200), NO_HPA);
    assert_int_equal(message(unit, ID_B, 0xfee00000, 0x200), PASSES);
    assert_int_equal(message(unit, ID_IOAPIC, 0xfee00000, 0x200), PASSES);
    assert_non_null(strstr(host_log, "iommu 0: the firmware lets 00:03.0 send SMIs to any CPU"));
    assert_null(strstr(host_log, "lets 00:02.0"));
    assert_false(unit->smis_passed);
}

/* The firmware's table may name any function as the unit's: nothing is written to another one. */
static void test_a_function_of_another_kind(void **state)
{
    (void)state;
    struct iommu_facts facts;
    struct model m = modern;
    m.no_function = true;
    const struct iommu_ops *ops = begin(&m);
    assert_non_null(strstr(host_log, "iommu 0: 00:00.2 is no function of an IOMMU"));
    assert_int_equal(unit->msi[0], 0xf00005);
    assert_int_equal(unit->msi[1] | unit->msi[3], 0);
    assert_int_equal(unit->control >> 3 & 1, 0);
    assert_true(ops->facts(A, &facts));
}

/* What another system has left on, and cached, counts for nothing. */
static void test_after_another_system(void **state)
{
    (void)state;
    for (unsigned all = 0; all < 2; all++) {
        struct model m = modern;
        m.all = all != 0;
        reset(&m);
        for (unsigned i = 0; i < 2; i++) {
            fake[i].control = 0xf01f | 1ull << 17 | 1ull << 50; /* all logs, GAEn, XTEn */
            fake[i].status = 0x1b;
            fake[i].head = fake[i].tail = 7;
            fake[i].event_head = 3;
            fake[i].event_tail = 9;
            fake[i].entry[4] = (struct cached_entry){true, ID_A, {0x6000000000000003, 5, 1, 0}};
            fake[i].iotlb[0] = (struct cached_page){true, 1, 0, 0x6000000000000001, 1ull << 39};
            fake[i].interrupt[5] = (struct cached_interrupt){true, ID_A, 7, 1, 0};
        }
        const struct iommu_ops *ops = iommu_start(&machine, &ioapics);
        assert_non_null(ops);
        assert_int_equal(unit->status & 0x667, 0);
        assert_int_equal(ops->faults(), 0);
        blocked(unit, ID_A, 0);
        struct iommu_domain domain;
        assert_int_equal(ops->create(&domain, &A, 1, 39, true), 0);
        for (int n = 0; n < 8; n++)
            assert_int_equal(ops->claim(A), n);
        assert_int_equal(message(unit, ID_A, 0xfee00000, 7), NO_HPA);
        ops->attach(A, &domain);
        blocked(unit, ID_A, 0);
    }
}

static void test_units_that_do_not_work(void **state)
{
    (void)state;
    struct iommu_facts facts;
    reset(&modern);
    unit->ones = true;
    const struct iommu_ops *ops = iommu_start(&machine, &ioapics);
    assert_non_null(ops);
    assert_non_null(strstr(host_log, "iommu 0: at 0xfed80000 there is none; left out"));
    assert_false(ops->facts(A, &facts));
    assert_true(ops->facts(C, &facts));
    assert_int_equal(ioapics.count, 0);
    reset(&modern);
    unit->ones = behind->ones = true;
    assert_null(iommu_start(&machine, &ioapics));
}

static void test_registers_that_are_stuck(void **state)
{
    (void)state;
    static const unsigned registers[] = {0x18, 0x2008};
    for (unsigned i = 0; i < ARRAY_SIZE(registers); i++) {
        reset(&modern);
        unit->stuck = registers[i];
        unit->status = registers[i] == 0x18 ? 8 : 0;
        struct iommu_facts facts;
        const struct iommu_ops *ops = iommu_start(&machine, &ioapics);
        assert_non_null(ops);
        assert_non_null(strstr(host_log, "it has not come in time"));
        assert_int_equal(stopped, 0);
        assert_false(ops->facts(A, &facts));
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    reset(&modern);
    (void)iommu_start(&machine, &ioapics);
    unsigned needed = used_count;
    for (unsigned n = 0; n < needed; n++) {
        reset(&modern);
        budget = n;
        const struct iommu_ops *ops = iommu_start(&machine, &ioapics);
        assert_true(ops == NULL || n >= needed - 4);
        assert_non_null(strstr(host_log, "no memory"));
    }
}

/* --- facts ------------------------------------------------------------------------------------ */

/* Where the firmware's tables name none, they say so themselves. */
static void test_ioapics_that_nothing_remaps(void **state)
{
    (void)state;
    for (unsigned named = 0; named < 2; named++) {
        reset(&modern);
        there_is_a_madt = true;
        if (named == 0)
            memset(table + AT_IOAPIC, 0, 8);
        (void)go();
        assert_int_equal(strstr(host_log, "nothing remaps what I/O APIC 9 sends") != NULL, named);
        assert_null(strstr(host_log, "what I/O APIC 5 sends"));
        assert_int_equal(strstr(host_log, "it names no I/O APIC") == NULL, named);
    }
}

/* Interrupts of an I/O APIC go by the unit that names it, whatever other ones say of its ID. */
static void test_ioapic_of_another_unit(void **state)
{
    (void)state;
    static const uint8_t entry[] = {0x48, 0, 0, 6, 5, 0xa0, 0, 1};
    for (unsigned twice = 0; twice < 2; twice++)
        for (unsigned dead = 0; dead < 2; dead++) {
            const struct iommu_interrupt to_cpu = {.apic_id = 3, .vector = 0x55};
            struct iommu_message x;
            reset(&modern);
            if (twice == 0)
                memset(table + AT_IOAPIC, 0, 8);
            memcpy(table + AT_BEHIND, entry, sizeof(entry));
            unit->ones = dead != 0;
            behind->model.x2apic = false;
            const struct iommu_ops *ops = go();
            struct fake_unit *by = twice != 0 && dead == 0 ? unit : behind;
            assert_int_equal(ioapics.count, twice != 0 && dead == 0 ? 2 : 1);
            for (unsigned i = 0; i < ioapics.count; i++) /* unit 1 leads to 8 bits alone */
                assert_int_equal(ioapics.r[i].x2apic, ioapics.count == 2 && i == 0);
            int index = ops->claim(APIC);
            ops->interrupt(APIC, (unsigned)index, &to_cpu, &x);
            assert_int_equal(message(by, ID_IOAPIC, x.address, x.data), 3ull << 32 | 0x55);
            ops->interrupt(APIC, (unsigned)index, NULL, NULL);
            assert_int_equal(message(by, ID_IOAPIC, x.address, x.data), NO_HPA);
        }
}

/* What the firmware's table has it send as is the I/O APIC's, too: its messages pass. */
static void test_alias_of_an_ioapic(void **state)
{
    (void)state;
    const struct iommu_interrupt to_cpu = {.apic_id = 3, .vector = 0x55};
    struct iommu_message x;
    reset(&modern);
    memset(table + AT_ALIASES, 0, 12);
    put_alias(AT_ALIASES, ID_IOAPIC, 0x98);
    const struct iommu_ops *ops = go();
    ops->interrupt(APIC, (unsigned)ops->claim(APIC), &to_cpu, &x);
    assert_int_equal(message(unit, 0x98, x.address, x.data), 3ull << 32 | 0x55);
    assert_int_equal(ioapics.count, 1);
    assert_true(pci_same_bdf(ioapics.r[0].requester, APIC));
    assert_true(pci_same_bdf(ioapics.r[0].alias, (struct pci_bdf){0, 0, 0x13, 0}));
}

static void test_facts(void **state)
{
    (void)state;
    for (unsigned hats = 0; hats < 3; hats++)
        for (unsigned x2apic = 0; x2apic < 4; x2apic++) {
            struct iommu_facts facts;
            struct model m = modern;
            m.hats = hats;
            m.x2apic = (x2apic & 1) != 0;
            reset(&m);
            machine.x2apic = (x2apic & 2) != 0;
            const struct iommu_ops *ops = iommu_start(&machine, &ioapics);
            assert_true(ops->facts(A, &facts));
            assert_true(facts.snoops && facts.remaps);
            assert_int_equal(facts.x2apic, x2apic == 3);
            assert_int_equal(facts.unit, 0);
            assert_int_equal(facts.reserved.count, 2);
            assert_int_equal(facts.reserved.r[0].start, 0x7f000000);
            assert_int_equal(facts.reserved.r[0].end, 0x7f100000);
            assert_int_equal(facts.reserved.r[1].end, 0x7f101000); /* the exclusion range */
            assert_true(pci_same_bdf(facts.alias, A));
            assert_true(ops->facts(C, &facts));
            assert_int_equal(facts.unit, 1);
            assert_int_equal(facts.reserved.count, 1);
            assert_true(ops->facts(ALIASED, &facts));
            assert_true(pci_same_bdf(facts.alias, (struct pci_bdf){0, 3, 0, 0}));
            assert_false(ops->facts((struct pci_bdf){0, 4, 0, 0}, &facts));
            assert_false(ops->facts((struct pci_bdf){1, 0, 2, 0}, &facts));
        }
}

/* Reserved memory may be that of an ID which is named as others' alias alone. */
static void test_reserved_of_an_alias(void **state)
{
    (void)state;
    static const struct pci_function f = {.bdf = {0, 3, 1, 0}};
    struct iommu_facts facts;
    reset(&modern);
    table[AT_MEMORY + 4] = ID_ALIAS & 0xff;
    table[AT_MEMORY + 5] = ID_ALIAS >> 8;
    const struct iommu_ops *ops = go();
    assert_false(ops->facts((struct pci_bdf){0, 3, 0, 0}, &facts));
    struct iommu_reserved reserved = iommu_reserved(ops->facts, &f);
    assert_int_equal(reserved.count, 2); /* and what is of all */
    assert_int_equal(reserved.r[0].start + reserved.r[1].start, 0xfe100000);
}

/* HATS is 3, or bit 0 of an IVHD 11h's attributes is set: such a unit protects, and no more. */
static void test_a_unit_without_tables(void **state)
{
    (void)state;
    static const uint8_t range[] = {3, 8, 0, 0, 4, 0xff, 0, 0};
    for (unsigned why = 0; why < 3; why++) {
        struct iommu_facts facts;
        struct model m = modern;
        m.hats = why == 2 ? 3 : 0;
        reset(&m);
        table[AT_UNIT] = 0x11;
        table[AT_UNIT + 20] = why == 1;
        memset(table + AT_UNIT + 24, 0, 36);
        memcpy(table + AT_UNIT + 40, range, sizeof(range));
        const struct iommu_ops *ops = go();
        assert_int_equal(ops->facts(A, &facts), why == 0);
        assert_int_equal(ops->facts(C, &facts), why < 2);
        blocked(unit, ID_A, 0x1000);
        blocked(behind, ID_C, 0x1000);
        assert_int_equal(message(unit, ID_A, 0xfee00000, 0x41), NO_HPA);
        assert_int_equal(strstr(host_log, "HATS is 3): no VM can have one") != NULL, why != 0);
    }
}

/* Firmware's "DTE Settings" are of devices that nobody has: SysMgt, and what passes unmapped. */
static void test_settings(void **state)
{
    (void)state;
    for (unsigned setting = 0; setting < 256; setting++) {
        uint64_t word[4], pass = (uint64_t)(setting & 0xc7) << 56;
        struct iommu_domain domain;
        reset(&modern);
        table[AT_UNIT + 27] = table[AT_IOAPIC + 3] = (uint8_t)setting;
        const struct iommu_ops *ops = go();
        for (unsigned round = 0; round < 2; round++) {
            assert_true(device_entry(unit, ID_A, word));
            assert_int_equal(word[1], (uint64_t)(setting >> 4 & 3) << 40);
            assert_int_equal(word[2] & 0xcf00000000000001, pass | 1);
            assert_int_equal(word[0] >> 61 & 3, (setting >> 4 & 3) == 1 ? 2 : 0); /* IW */
            blocked(unit, ID_A, 0x1000);
            blocked(unit, ID_A, 0xfdf9100000);
            assert_int_equal(message(unit, ID_A, 0xfee00000, 0x400),
                             (setting & 4) != 0 ? PASSES : NO_HPA);
            if (round == 1)
                break;
            assert_int_equal(ops->create(&domain, &A, 1, 40, true), 0);
            ops->attach(A, &domain);
            assert_true(device_entry(unit, ID_A, word));
            assert_int_equal(word[1], domain.id);
            assert_int_equal(word[2] & 0xcf00000000000001, 1);
            for (unsigned type = 2; type < 8; type++)
                assert_int_equal(message(unit, ID_A, 0xfee00000, type << 8), NO_HPA);
            ops->attach(A, NULL);
        }
        assert_true(device_entry(unit, ID_IOAPIC, word));
        assert_int_equal(word[1], (uint64_t)(setting >> 4 & 3) << 40);
        assert_int_equal(word[2] & 0xcf00000000000001, pass | 1);
        assert_true(device_entry(unit, ID_ALIAS, word));
        assert_int_equal(word[1], 0);
        assert_int_equal(word[2], 1);
    }
}

static void test_groups(void **state)
{
    (void)state;
    static struct pci_table functions;
    static const struct pci_bdf bdfs[] = {
        {0, 0, 2, 0}, {0, 3, 0, 0}, {0, 3, 1, 0}, {0, 3, 2, 0}, {0, 4, 0, 0}};
    const struct iommu_ops *ops = begin(&modern);
    functions.count = ARRAY_SIZE(bdfs);
    for (unsigned i = 0; i < functions.count; i++)
        functions.f[i] = (struct pci_function){.bdf = bdfs[i], .group = (uint16_t)(10 + i)};
    host_log_reset();
    iommu_join_groups(ops, &functions);
    assert_int_equal(functions.f[0].group, 10);
    assert_int_equal(functions.f[1].group, 11);
    assert_int_equal(functions.f[2].group, 11);
    assert_int_equal(functions.f[3].group, 11);
    assert_int_equal(functions.f[4].group, 14);
    assert_non_null(strstr(host_log, "nothing tells 03:01.0 from 03:00.0: they are one group"));
}

/* Of two that share any ID: 0310 may send as 0308, which may send as 0300. */
static void test_groups_of_a_chain(void **state)
{
    (void)state;
    static struct pci_table functions;
    static struct pci_function bridge;
    static const struct pci_bdf bdfs[] = {
        {0, 0, 2, 0}, {0, 3, 0, 0}, {0, 3, 1, 0}, {0, 3, 2, 0}, {0, 4, 1, 0}};
    for (unsigned with_first = 0; with_first < 2; with_first++) {
        reset(&modern);
        put_chain();
        const struct iommu_ops *ops = go();
        functions.count = ARRAY_SIZE(bdfs);
        for (unsigned i = 0; i < functions.count; i++)
            functions.f[i] = (struct pci_function){.bdf = bdfs[i], .group = (uint16_t)(10 + i)};
        if (with_first == 0)
            functions.f[1].bdf = (struct pci_bdf){0, 4, 0, 0};
        bridge = (struct pci_function){.port = PCI_PORT_CONVENTIONAL, .bdf = OTHER};
        functions.f[4].parent = &bridge; /* what is behind it sends as 0310 */
        iommu_join_groups(ops, &functions);
        assert_int_equal(functions.f[0].group, 10);
        assert_int_equal(functions.f[1].group, 11);
        for (unsigned i = 2; i < 5; i++)
            assert_int_equal(functions.f[i].group, with_first != 0 ? 11 : 12);
    }
}

/* --- domains ---------------------------------------------------------------------------------- */

static void test_address_width(void **state)
{
    (void)state;
    static const struct {
        unsigned hats, bits, levels;
    } cases[] = {{0, 39, 3}, {0, 40, 4}, {0, 48, 4}, {0, 49, 0},
                 {1, 49, 5}, {2, 57, 5}, {2, 58, 0}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct iommu_domain domain;
        struct model m = modern;
        m.hats = cases[i].hats;
        const struct iommu_ops *ops = begin(&m);
        int error = ops->create(&domain, &A, 1, cases[i].bits, true);
        assert_int_equal(error, cases[i].levels == 0 ? -ERANGE : 0);
        if (error != 0)
            continue;
        assert_int_equal(domain.pt.format->levels, cases[i].levels);
        uint64_t top = (1ull << cases[i].bits) - 4096;
        assert_int_equal(ops->map(&domain, top, hpa(GUEST_RAM), 4096, PT_R | PT_W), 0);
        ops->attach(A, &domain);
        leads(unit, ID_A, top + 5, GUEST_RAM + 5);
    }
}

static void test_domain(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < MODELS; bits++) {
        struct model m = model_of(bits);
        struct iommu_domain domain;
        const struct iommu_ops *ops = begin(&m);
        assert_int_equal(ops->create(&domain, &A, 1, 40, true), 0);
        assert_true(domain.snoops);
        unit->busy = bits % 3 == 0 ? ID_A : 0;
        ops->attach(A, &domain);
        blocked(unit, ID_A, 0x1234);
        assert_int_equal(ops->map(&domain, 0, hpa(GUEST_RAM), 64 * MIB, PT_R | PT_W), 0);
        leads(unit, ID_A, 0x1234, GUEST_RAM + 0x1234);
        leads(unit, ID_A, 63 * MIB, GUEST_RAM + 63 * MIB);
        blocked(unit, ID_A, 64 * MIB);
        blocked(unit, ID_B, 0x1234);
        blocked(behind, ID_A, 64 * MIB);
        assert_int_equal(ops->map(&domain, 0x1000, hpa(0), 0x1000, 0), 0);
        blocked(unit, ID_A, 0x1234);
        leads(unit, ID_A, 0x234, GUEST_RAM + 0x234);
        assert_int_equal(ops->map(&domain, 0x1000, hpa(GUEST_RAM * 2), 0x1000, PT_R), 0);
        assert_int_equal(dma(unit, ID_A, 0x1008, true, NULL), GUEST_RAM * 2 + 8);
        assert_int_equal(dma(unit, ID_A, 0x1008, false, NULL), NO_HPA);
        assert_int_equal(ops->map(&domain, 0, hpa(GUEST_RAM), 64 * MIB, PT_R | PT_W), 0);
        leads(unit, ID_A, 0x1234, GUEST_RAM + 0x1234);
        ops->attach(A, NULL);
        blocked(unit, ID_A, 0x1234);
    }
}

static void test_snooping_is_forced(void **state)
{
    (void)state;
    uint64_t leaf;
    for (unsigned asked = 0; asked < 2; asked++) {
        struct iommu_domain domain;
        const struct iommu_ops *ops = begin(&modern);
        assert_int_equal(ops->create(&domain, &A, 1, 40, asked != 0), 0);
        assert_int_equal(domain.snoops, asked);
        assert_int_equal(ops->map(&domain, 0, hpa(GUEST_RAM), 4 * MIB, PT_R | PT_W), 0);
        ops->attach(A, &domain);
        assert_int_equal(dma(unit, ID_A, 0, true, &leaf), GUEST_RAM);
        assert_int_equal(leaf >> 60 & 1, asked); /* FC */
    }
}

static void test_domain_of_two_units(void **state)
{
    (void)state;
    struct iommu_domain domain;
    const struct pci_bdf both[] = {A, C};
    reset(&modern);
    behind->model.caches_absent = true;
    unit->model.hats = 2;
    assert_ptr_equal(iommu_start(&machine, &ioapics), &amdvi_ops);
    assert_int_equal(amdvi_ops.create(&domain, both, 2, 49, true), -ERANGE);
    assert_int_equal(amdvi_ops.create(&domain, both, 2, 40, true), 0);
    amdvi_ops.attach(A, &domain);
    amdvi_ops.attach(C, &domain);
    blocked(behind, ID_C, 0);
    assert_int_equal(amdvi_ops.map(&domain, 0, hpa(GUEST_RAM), 4 * GIB, PT_R | PT_W), 0);
    leads(unit, ID_A, 3 * GIB, GUEST_RAM + 3 * GIB);
    leads(behind, ID_C, 3 * GIB, GUEST_RAM + 3 * GIB);
    assert_int_equal(amdvi_ops.map(&domain, 3 * GIB, hpa(0), 4096, 0), 0);
    blocked(unit, ID_A, 3 * GIB);
    blocked(behind, ID_C, 3 * GIB);
    amdvi_ops.attach(C, NULL);
    blocked(behind, ID_C, 0);
    leads(unit, ID_A, 0, GUEST_RAM);
}

/* A device's requests carry its own ID, or the one of its alias: both lead to its domain. */
static void test_aliases(void **state)
{
    (void)state;
    struct iommu_domain domain;
    struct iommu_message x;
    const struct iommu_interrupt to_cpu = {.apic_id = 3, .vector = 0x55};
    const struct iommu_ops *ops = begin(&modern);
    assert_int_equal(ops->create(&domain, &ALIASED, 1, 40, true), 0);
    assert_int_equal(ops->map(&domain, 0, hpa(GUEST_RAM), 4 * MIB, PT_R | PT_W), 0);
    blocked(unit, ID_ALIAS, 0);
    ops->attach(ALIASED, &domain);
    leads(unit, ID_ALIAS, 0, GUEST_RAM);
    leads(unit, 0x308, 0, GUEST_RAM);
    blocked(unit, 0x310, 0);
    int index = ops->claim(ALIASED);
    ops->interrupt(ALIASED, (unsigned)index, &to_cpu, &x);
    assert_int_equal(message(unit, ID_ALIAS, x.address, x.data), 3ull << 32 | 0x55);
    assert_int_equal(message(unit, 0x308, x.address, x.data), 3ull << 32 | 0x55);
    ops->interrupt(ALIASED, (unsigned)index, NULL, NULL);
    assert_int_equal(message(unit, ID_ALIAS, x.address, x.data), NO_HPA);
    assert_int_equal(message(unit, 0x308, x.address, x.data), NO_HPA);
    ops->attach(ALIASED, NULL);
    blocked(unit, ID_ALIAS, 0);
    blocked(unit, 0x308, 0);
}

/*
 * The second device of an alias has the first one's table, by its own ID as well; and what has been
 * cached by any of these IDs is forgotten.
 */
static void test_two_of_an_alias(void **state)
{
    (void)state;
    struct iommu_domain domain;
    struct iommu_message x;
    const struct pci_bdf both[] = {ALIASED, OTHER};
    const struct iommu_interrupt to_cpu = {.apic_id = 3, .vector = 0x55};
    const struct iommu_ops *ops = begin(&modern);
    unsigned before = used_count;
    assert_int_equal(ops->create(&domain, both, 2, 40, true), 0);
    assert_int_equal(used_count, before + 2 + domain.pt.pages);
    int first = ops->claim(ALIASED), second = ops->claim(OTHER);
    assert_int_not_equal(first, second);
    ops->interrupt(OTHER, (unsigned)second, &to_cpu, &x);
    for (unsigned id = ID_ALIAS; id <= 0x310; id += 8)
        assert_int_equal(message(unit, (uint16_t)id, x.address, x.data), 3ull << 32 | 0x55);
    assert_int_equal(message(unit, 0x318, x.address, x.data), NO_HPA);
    ops->interrupt(OTHER, (unsigned)second, NULL, NULL);
    for (unsigned id = ID_ALIAS; id <= 0x310; id += 8)
        assert_int_equal(message(unit, (uint16_t)id, x.address, x.data), NO_HPA);
}

/* A device ID has one table: where firmware leads two to it, the third is refused. */
static void test_a_chain_of_aliases(void **state)
{
    (void)state;
    const struct pci_bdf all[3] = {OTHER, ALIASED, {0, 3, 0, 0}};
    static const unsigned orders[][3] = {{0, 1, 2}, {2, 1, 0}, {0, 2, 1}};
    for (unsigned i = 0; i < ARRAY_SIZE(orders); i++) {
        struct iommu_domain domain;
        struct pci_bdf bdfs[3];
        reset(&modern);
        put_chain();
        memset(table + AT_IOAPIC, 0, 8);
        const uint8_t one[] = {2, 0, 3, 0};
        memcpy(table + AT_IOAPIC, one, sizeof(one));
        const struct iommu_ops *ops = go();
        for (unsigned k = 0; k < 3; k++)
            bdfs[k] = all[orders[i][k]];
        assert_int_equal(ops->create(&domain, bdfs, 3, 40, true), i == 2 ? -EINVAL : 0);
        assert_int_equal(strstr(host_log, "03:01.0: the firmware makes it one with two") != NULL,
                         i == 2);
        assert_int_equal(strstr(host_log, "firmware, or leave one of them out\n") != NULL, i == 2);
        uint64_t word[4], tables[3];
        for (unsigned k = 0; k < 3; k++) {
            assert_true(device_entry(unit, (uint16_t)(0x300 + 8 * k), word));
            tables[k] = word[2];
            (void)word_at(word[2] & 0xfffffffffffc0);
        }
        assert_int_equal(tables[1], tables[2]);
        assert_int_equal(tables[0] == tables[1], i != 2);
    }
}

/* 0310 may send as 0308, and never as that one's alias: 0300 is another VM's. */
static void test_a_chain_of_two_vms(void **state)
{
    (void)state;
    static const struct pci_function ends[] = {{.bdf = {0, 3, 2, 0}}, {.bdf = {0, 3, 0, 0}}};
    for (unsigned first = 0; first < 2; first++) {
        struct iommu_domain domains[2];
        struct iommu_carried of[2];
        reset(&modern);
        put_chain();
        memset(table + AT_IOAPIC, 0, 8);
        const uint8_t one[] = {2, 0, 3, 0};
        memcpy(table + AT_IOAPIC, one, sizeof(one));
        const struct iommu_ops *ops = go();
        for (unsigned n = 0; n < 2; n++) {
            unsigned i = (n + first) % 2;
            of[i] = iommu_requesters(ops->facts, &ends[i]);
            assert_int_equal(ops->create(&domains[i], of[i].id, of[i].count, 40, true), 0);
            hpa_t own = hpa(GUEST_RAM + i * GIB);
            assert_int_equal(ops->map(&domains[i], 0, own, 4 * MIB, PT_R | PT_W), 0);
            for (unsigned k = 0; k < of[i].count; k++)
                ops->attach(of[i].id[k], &domains[i]);
        }
        leads(unit, 0x310, 0, GUEST_RAM);
        leads(unit, 0x308, 0, GUEST_RAM);
        leads(unit, 0x300, 0, GUEST_RAM + GIB);
        for (unsigned k = 0; k < of[0].count; k++)
            ops->attach(of[0].id[k], NULL);
        blocked(unit, 0x308, 0);
        leads(unit, 0x300, 0, GUEST_RAM + GIB);
    }
}

/* What a device has had by one domain it has not by the next. */
static void test_other_domains(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < MODELS; bits++) {
        struct model m = model_of(bits);
        const struct iommu_ops *ops = begin(&m);
        struct iommu_domain first, second;
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(ops->create(&first, &A, 1, 40, true), 0);
            assert_int_equal(ops->create(&second, &B, 1, 40, true), 0);
            assert_int_not_equal(first.id, second.id);
            ops->attach(A, &first);
            ops->attach(B, &second);
            uint64_t at = GUEST_RAM + i * GIB;
            assert_int_equal(ops->map(&first, 0, hpa(at), 2 * MIB, PT_R | PT_W), 0);
            assert_int_equal(ops->map(&second, 2 * MIB, hpa(at * 4), 2 * MIB, PT_R | PT_W), 0);
            leads(unit, ID_A, 0x5000, at + 0x5000);
            leads(unit, ID_B, 2 * MIB + 0x5000, at * 4 + 0x5000);
            blocked(unit, ID_A, 2 * MIB);
            blocked(unit, ID_B, 0x5000);
            ops->attach(i % 2 == 0 ? A : B, NULL);
            ops->attach(i % 2 == 0 ? B : A, NULL);
        }
    }
}

static void test_domains_run_out(void **state)
{
    (void)state;
    static struct iommu_domain domains[64];
    const struct iommu_ops *ops = begin(&modern);
    for (unsigned n = 0; n < 63; n++)
        assert_int_equal(ops->create(&domains[n], &A, 1, 40, true), 0);
    assert_int_equal(ops->create(&domains[63], &A, 1, 40, true), -ENOSPC);
}

static void test_domain_without_memory(void **state)
{
    (void)state;
    struct iommu_domain domain;
    const struct iommu_ops *ops = begin(&modern);
    for (unsigned n = 0; n < 3; n++) { /* the table for interrupts has two pages */
        budget = n;
        assert_int_equal(ops->create(&domain, &A, 1, 40, true), -ENOMEM);
    }
    budget = 1; /* A's interrupts have their table */
    assert_int_equal(ops->create(&domain, &A, 1, 40, true), 0);
    assert_int_equal(domain.id, 1);
    assert_int_equal(ops->claim(A), 0); /* takes none */
    assert_int_equal(ops->map(&domain, 0, hpa(GUEST_RAM), 0x5000, PT_R), -ENOMEM);
    ops->attach(A, &domain); /* takes none */
    blocked(unit, ID_A, 0);
}

static void test_too_many_devices(void **state)
{
    (void)state;
    enum { ROOM = 95 }; /* and one for the I/O APIC */
    static struct pci_bdf all[ROOM + 1];
    struct iommu_domain domain;
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
        all[i] = (struct pci_bdf){0, 0, (uint8_t)(1 + i / 8), i % 8};
    const struct iommu_ops *ops = begin(&modern);
    assert_int_equal(ops->create(&domain, all, ROOM, 40, true), 0);
    assert_int_equal(ops->create(&domain, all, ROOM + 1, 40, true), -ENOSPC);
    assert_non_null(strstr(host_log, "00:0c.7: of so many devices interrupts cannot be remapped"));
    assert_null(strstr(host_log, "no memory"));
    assert_int_equal(ops->create(&domain, all, ROOM, 40, true), 0);
}

/* The table pages of an 8 GiB VM as memory lies: below A0000h, to C0000000h, and from 4 GiB on. */
static void test_pages_of_8_gib(void **state)
{
    (void)state;
    struct iommu_domain domain;
    const struct iommu_ops *ops = begin(&modern);
    assert_int_equal(ops->create(&domain, &A, 1, 40, true), 0);
    assert_int_equal(ops->map(&domain, 0, hpa(0x200000000), 3 * GIB, PT_R | PT_W), 0);
    assert_int_equal(ops->map(&domain, 4 * GIB, hpa(0x300000000), 5 * GIB, PT_R | PT_W), 0);
    assert_in_range(domain.pt.pages, 1, 4);
    ops->attach(A, &domain);
    leads(unit, ID_A, 9 * GIB - 4, 0x300000000 + 5 * GIB - 4);
}

static void test_memory_that_dma_does_not_reach(void **state)
{
    (void)state;
    struct iommu_domain domain;
    const struct iommu_ops *ops = begin(&modern);
    assert_int_equal(ops->create(&domain, &A, 1, 48, true), 0);
    assert_int_equal(ops->map(&domain, 0, hpa((1ull << 48) - 4096), 4096, PT_R), 0);
    assert_int_equal(ops->map(&domain, 0, hpa((1ull << 48) - 4096), 8192, PT_R), -ERANGE);
}

static void test_a_unit_that_stops_answering(void **state)
{
    (void)state;
    struct iommu_domain domain;
    const struct iommu_ops *ops = begin(&modern);
    assert_int_equal(ops->create(&domain, &A, 1, 40, true), 0);
    unit->stuck = 0x2008;
    if (setjmp(on_stop) == 0)
        ops->attach(A, &domain);
    assert_int_equal(stopped, 1);
    assert_non_null(strstr(host_log, "iommu 0: what COMPLETION_WAIT writes: it has not come"));
}

/* The buffer has stopped at an illegal command: the event says so, and so does the log. */
static void test_an_error_of_a_command(void **state)
{
    (void)state;
    struct iommu_domain domain;
    const struct iommu_ops *ops = begin(&modern);
    assert_int_equal(ops->create(&domain, &A, 1, 40, true), 0);
    unit->status &= ~0x10ull;
    (void)record(unit, 5ull << 60, 0x1230);
    if (setjmp(on_stop) == 0)
        ops->attach(A, &domain);
    assert_int_equal(stopped, 1);
    assert_non_null(strstr(host_log, "iommu 0: event 0x5: 0x5000000000000000 0x1230"));
    assert_non_null(strstr(host_log, "what follows an error in the command buffer"));
}

/* --- interrupts ------------------------------------------------------------------------------- */

static uint64_t to(uint32_t apic_id, uint8_t vector)
{
    return (uint64_t)apic_id << 32 | vector;
}

static void test_interrupts(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < MODELS; bits++) {
        struct model m = model_of(bits);
        const struct iommu_ops *ops = begin(&m);
        make_tables(ops);
        uint32_t far = m.wide && m.x2apic ? 0x12345678 : 0xfe;
        struct iommu_message x;
        struct iommu_interrupt to_cpu = {.apic_id = far, .vector = 0x41};
        int index = ops->claim(A), other = ops->claim(A);
        assert_true(index >= 0 && other >= 0 && index != other);
        ops->interrupt(A, (unsigned)other, &to_cpu, &x);
        assert_int_equal(message(unit, ID_A, x.address, x.data), to(far, 0x41));
        ops->interrupt(A, (unsigned)index, NULL, &x);
        assert_int_equal(message(unit, ID_A, x.address, x.data), NO_HPA);
        ops->interrupt(A, (unsigned)index, &to_cpu, NULL);
        assert_int_equal(message(unit, ID_A, x.address, x.data), to(far, 0x41));
        assert_int_equal(message(unit, ID_B, x.address, x.data), NO_HPA);
        to_cpu = (struct iommu_interrupt){.apic_id = 3, .vector = 0x52};
        ops->interrupt(A, (unsigned)index, &to_cpu, NULL);
        assert_int_equal(message(unit, ID_A, x.address, x.data), to(3, 0x52));
        assert_int_equal(message(unit, ID_A, x.address, 200), NO_HPA);
        assert_int_equal(message(unit, ID_A, x.address, 0x1ff), NO_HPA);
        for (unsigned type = 2; type < 8; type++)
            if (type != 2 || m.smi_filters != 0)
                assert_int_equal(message(unit, ID_A, x.address, x.data | type << 8), NO_HPA);
        ops->interrupt(A, (unsigned)index, NULL, NULL);
        assert_int_equal(message(unit, ID_A, x.address, x.data), NO_HPA);
        ops->interrupt(A, (unsigned)other, NULL, NULL);
    }
}

/* The message that an I/O APIC makes of its entry. */
static uint64_t message_of(uint64_t rte, uint32_t *data)
{
    *data = (uint32_t)(rte & 0xff) | (uint32_t)(rte >> 8 & 7) << 8;
    return 0xfee00000 | (rte >> 56 & 0xff) << 12 | (rte >> 11 & 1) << 2;
}

static void test_interrupts_of_an_ioapic(void **state)
{
    (void)state;
    struct iommu_message x;
    const struct iommu_ops *ops = begin(&modern);
    for (unsigned i = 0; i < 260; i++) {
        const struct iommu_interrupt to_cpu = {
            .apic_id = 7, .vector = (uint8_t)(0x20 + i % 128), .level = i % 2 != 0};
        int index = ops->claim(APIC);
        uint32_t data;
        ops->interrupt(APIC, (unsigned)index, &to_cpu, &x);
        uint64_t address = message_of(x.rte, &data);
        assert_int_equal(x.rte >> 15 & 1, i % 2);
        assert_int_equal(x.rte & 0x1f800, 0x8000 * (i % 2)); /* physical, high, not masked */
        assert_int_equal(message(unit, ID_IOAPIC, address, data), to(7, to_cpu.vector));
    }
}

static void test_entries_run_out(void **state)
{
    (void)state;
    const struct iommu_ops *ops = begin(&modern);
    make_tables(ops);
    bool seen[512] = {false};
    for (unsigned i = 0; i < ARRAY_SIZE(seen); i++) {
        int index = ops->claim(A);
        assert_true(index >= 0 && !seen[index]);
        seen[index] = true;
    }
    assert_int_equal(ops->claim(A), -ENOSPC);
    assert_int_equal(ops->claim(C), 0); /* another device's */
    assert_int_equal(ops->claim(B), 0);
}

/* --- faults ----------------------------------------------------------------------------------- */

static void test_faults(void **state)
{
    (void)state;
    const struct iommu_ops *ops = begin(&modern);
    assert_int_equal(ops->faults(), 0);
    host_log_reset();
    (void)dma(unit, ID_A, 0x123456789, false, NULL);
    (void)dma(behind, ID_C, 0x5008, true, NULL);
    (void)dma(unit, 0x4000, 0x77, true, NULL); /* beyond the table */
    (void)message(unit, ID_B, 0xfee00418, 0);
    (void)record(unit, 4ull << 60 | 0x10, 0x7fff000);
    assert_int_equal(unit->messages, 4);
    assert_int_equal(ops->faults(), 5);
    assert_non_null(strstr(host_log, "iommu 0: fault: 00:02.0, write of 0x123456789, event 0x2"));
    assert_non_null(strstr(host_log, "iommu 1: fault: 02:01.0, read of 0x5008, event 0x2"));
    assert_non_null(strstr(host_log, "iommu 0: fault: 40:00.0, read of 0x77, event 0x1"));
    assert_non_null(strstr(host_log, "iommu 0: fault: 00:03.0, interrupt, event 0x2"));
    assert_non_null(strstr(host_log, "iommu 0: event 0x4: 0x4000000000000010 0x7fff000"));
    assert_int_equal(unit->status & 3, 0);
    host_log_reset();
    assert_int_equal(ops->faults(), 0);
    assert_string_equal(host_log, "");
}

/* Unit 1 and what it translates are in segment 1. */
static void test_faults_of_a_segment(void **state)
{
    (void)state;
    enum { SEGMENT = 48 + 60 + 16 };
    reset(&modern);
    table[SEGMENT] = 1;
    const struct iommu_ops *ops = go();
    (void)dma(behind, ID_C, 0x5008, true, NULL);
    (void)message(behind, ID_C, 0xfee00418, 0);
    assert_int_equal(ops->faults(), 2);
    assert_non_null(strstr(host_log, "iommu 1: fault: 0001:02:01.0, read of 0x5008, event 0x2"));
    assert_non_null(strstr(host_log, "iommu 1: fault: 0001:02:01.0, interrupt, event 0x2"));
}

/* Of many a few are logged; the log goes round, and starts again when it was full. */
static void test_faults_overflow(void **state)
{
    (void)state;
    const struct iommu_ops *ops = begin(&modern);
    for (unsigned round = 0; round < 3; round++) {
        host_log_reset();
        for (unsigned i = 0; i < 200; i++)
            (void)dma(unit, ID_A, i * 4096, true, NULL);
        assert_int_equal(ops->faults(), 200);
        assert_non_null(strstr(host_log, "iommu 0: 200 faults recorded\n"));
        assert_null(strstr(host_log, "read of 0x4000,"));
        assert_non_null(strstr(host_log, "read of 0x3000,"));
    }
    for (unsigned round = 0; round < 2; round++) {
        host_log_reset();
        for (unsigned i = 0; i < 300; i++)
            (void)dma(unit, ID_A, i * 4096, true, NULL);
        assert_int_equal(unit->status & 9, 1);
        assert_int_equal(ops->faults(), 255);
        assert_non_null(strstr(host_log, "255 faults recorded, and others for which there was"));
        assert_int_equal(unit->status & 9, 8);
    }
}

static void put_event(unsigned i, uint64_t address)
{
    uint64_t at = (unit->event_base & 0xffffffffff000) + i * 16;
    *word_at(at + 8) = address;
    *word_at(at) = 2ull << 60 | ID_B;
}

/* The tail may come before the event: it is waited for, and else taken the next time. */
static void test_an_event_that_is_late(void **state)
{
    (void)state;
    const struct iommu_ops *ops = begin(&modern);
    enum { FIRST = 400 % 256 };
    for (unsigned i = 0; i < 400; i++) {
        (void)dma(unit, ID_A, 0x5000, true, NULL);
        assert_true(i % 200 != 199 || ops->faults() == 200);
    }
    (void)dma(unit, ID_A, 0x1000, true, NULL);
    unit->event_tail = FIRST + 2;
    assert_int_equal(ops->faults(), 2); /* the second is to come */
    assert_int_equal(unit->event_head, FIRST + 1);
    assert_int_equal(ops->faults(), 1);
    put_event(FIRST + 1, 0x2000);
    host_log_reset();
    assert_int_equal(ops->faults(), 1);
    assert_non_null(strstr(host_log, "00:03.0, read of 0x2000"));
    assert_int_equal(ops->faults(), 0);
}

/* The unit writes it while it is looked for in vain: it is not lost, nor are others behind it. */
static void test_an_event_that_comes_as_it_is_looked_for(void **state)
{
    (void)state;
    const struct iommu_ops *ops = begin(&modern);
    unit->event_tail = 20;
    for (unsigned i = 1; i < 20; i++)
        put_event(i, 0x1000);
    *word_at((unit->event_base & 0xffffffffff000) + 8) = 0x2000; /* the code comes last */
    assert_int_equal(ops->faults(), 1);
    *word_at(unit->event_base & 0xffffffffff000) = 2ull << 60 | ID_B;
    host_log_reset();
    assert_int_equal(ops->faults(), 20);
    assert_non_null(strstr(host_log, "00:03.0, read of 0x2000"));
}

/* It never comes: after some looks those behind it are reported. */
static void test_an_event_that_never_comes(void **state)
{
    (void)state;
    const struct iommu_ops *ops = begin(&modern);
    unit->event_tail = 3;
    put_event(1, 0x1000);
    unsigned looks = 0;
    for (; ops->faults() == 1; looks++)
        assert_int_equal(unit->event_head, 0);
    assert_in_range(looks, 4, 20);
    assert_non_null(strstr(host_log, "iommu 0: an event has not reached memory; left out"));
    assert_non_null(strstr(host_log, "00:03.0, read of 0x1000"));
    assert_int_equal(unit->event_head, 2);
    put_event(2, 0x3000);
    assert_int_equal(ops->faults(), 1);
    assert_int_equal(ops->faults(), 0);
}

/* Or it comes when its place has been passed: the next round has another event there. */
static void test_an_event_that_comes_too_late(void **state)
{
    (void)state;
    for (unsigned comes = 0; comes < 2; comes++) {
        const struct iommu_ops *ops = begin(&modern);
        unit->event_tail = 1;
        while (unit->event_head == 0)
            assert_int_equal(ops->faults(), 1);
        if (comes != 0)
            put_event(0, 0x9000);
        for (unsigned i = 1; i < 256; i++) {
            (void)dma(unit, ID_A, 0x5000, true, NULL);
            assert_int_equal(ops->faults(), 1);
        }
        host_log_reset();
        unit->event_tail = 1; /* of the next round, and not there yet */
        assert_int_equal(ops->faults(), 1);
        assert_string_equal(host_log, "");
        put_event(0, 0x3000);
        assert_int_equal(ops->faults(), 1);
        assert_non_null(strstr(host_log, "00:03.0, read of 0x3000"));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_no_table),
        cmocka_unit_test(test_smis),
        cmocka_unit_test(test_smis_that_firmware_lets_pass),
        cmocka_unit_test(test_a_function_of_another_kind),
        cmocka_unit_test(test_after_another_system),
        cmocka_unit_test(test_units_that_do_not_work),
        cmocka_unit_test(test_registers_that_are_stuck),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_ioapics_that_nothing_remaps),
        cmocka_unit_test(test_ioapic_of_another_unit),
        cmocka_unit_test(test_alias_of_an_ioapic),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_reserved_of_an_alias),
        cmocka_unit_test(test_a_unit_without_tables),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_groups_of_a_chain),
        cmocka_unit_test(test_address_width),
        cmocka_unit_test(test_domain),
        cmocka_unit_test(test_snooping_is_forced),
        cmocka_unit_test(test_domain_of_two_units),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_two_of_an_alias),
        cmocka_unit_test(test_a_chain_of_aliases),
        cmocka_unit_test(test_a_chain_of_two_vms),
        cmocka_unit_test(test_other_domains),
        cmocka_unit_test(test_domains_run_out),
        cmocka_unit_test(test_domain_without_memory),
        cmocka_unit_test(test_too_many_devices),
        cmocka_unit_test(test_pages_of_8_gib),
        cmocka_unit_test(test_memory_that_dma_does_not_reach),
        cmocka_unit_test(test_a_unit_that_stops_answering),
        cmocka_unit_test(test_an_error_of_a_command),
        cmocka_unit_test(test_interrupts),
        cmocka_unit_test(test_interrupts_of_an_ioapic),
        cmocka_unit_test(test_entries_run_out),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_faults_of_a_segment),
        cmocka_unit_test(test_faults_overflow),
        cmocka_unit_test(test_an_event_that_is_late),
        cmocka_unit_test(test_an_event_that_comes_as_it_is_looked_for),
        cmocka_unit_test(test_an_event_that_never_comes),
        cmocka_unit_test(test_an_event_that_comes_too_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
