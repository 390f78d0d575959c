/* VT-d's driver on a model of its units, in every combination of what units can and cannot. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/fake_vtd.h"

#include "drivers/vtd.h"

enum { SOURCE_A = 0x0010, SOURCE_B = 0x0018, SOURCE_C = 0x0208, IOAPIC = 0xf0f8 };
static const struct pci_bdf A = {0, 0, 2, 0}, B = {0, 0, 3, 0}, C = {0, 2, 1, 0};
static const struct pci_bdf APIC = {0, 0xf0, 0x1f, 0};

#define GUEST_RAM 0x200000000ull

/* --- the machine ------------------------------------------------------------------------------ */

/* A DMAR of 48 address bits that remaps; unit 1 has C by the bridge 00:01.0, unit 0 the rest. */
static uint8_t table[] = {
    /* the header, which has been checked */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 47, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    /* DRHD at fed a0000: the bridge */
    0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0xda, 0xfe, 0, 0, 0, 0, 2, 8, 0, 0, 0, 0, 1, 0,
    /* DRHD at fed9 0000: all the rest, I/O APIC 5 */
    0, 0, 24, 0, 1, 0, 0, 0, 0, 0, 0xd9, 0xfe, 0, 0, 0, 0, 3, 8, 0, 0, 5, 0xf0, 0x1f, 0,
    /* RMRR of A: 7f000000 to 7f0fffff */
    1, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0xff, 0xff, 0x0f, 0x7f, 0, 0, 0, 0, 1, 8, 0,
    0, 0, 0, 2, 0};

static bool read_table(const struct firmware *firmware, uint64_t at, void *to, size_t n)
{
    (void)firmware;
    if (at < 0x1000 || at - 0x1000 > sizeof(table) || n > sizeof(table) - (at - 0x1000))
        return false;
    memcpy(to, table + (at - 0x1000), n);
    return true;
}

static bool there_is_a_table;

static bool find_table(const char *signature, struct acpi_table *found)
{
    *found = (struct acpi_table){0x1000, sizeof(table)};
    return strcmp(signature, "DMAR") == 0 && there_is_a_table;
}

static uint32_t config(struct pci_bdf bdf, unsigned reg)
{
    bool bridge = bdf.bus == 0 && bdf.device == 1;
    bool there = bridge || pci_id(bdf) == SOURCE_A;
    assert_int_equal(reg % 4, 0);
    if (!there)
        return 0xffffffff;
    return reg == 0x0c ? (bridge ? 0x10000 : 0) : reg == 0x18 ? 0x00030200 : 0x12348086;
}

static const struct firmware firmware = {read_table};
static struct memmap map;
static struct iommu_machine machine;
static struct iommu_ioapics ioapics;

static const struct model modern = {.coherent = true,
                                    .queued = true,
                                    .snoops = true,
                                    .remaps = true,
                                    .eim = true,
                                    .sagaw = 4,
                                    .mgaw = 48,
                                    .leaves = 3,
                                    .nd = 6};

static void reset(const struct model *model)
{
    fake_iommu_reset();
    memset(memory, 0xff, sizeof(memory));
    memset(fake, 0, sizeof(fake));
    there_is_a_table = true;
    for (unsigned i = 0; i < UNITS; i++) {
        fake[i].model = *model;
        fake[i].fectl = 1u << 31;
        fake[i].pmen = model->protects || model->protects_high ? 0x80000001 : 0;
    }
    map.count = 1;
    map.r[0] = (struct mem_range){.start = 0x7f000000, .end = 0x7f100000, .kind = MEM_FIRMWARE};
    machine = (struct iommu_machine){
        .firmware = &firmware,
        .find = find_table,
        .map = &map,
        .phys_bits = 40,
        .x2apic = true,
        .alloc = fake_alloc,
        .free = fake_free,
        .hpa = fake_hpa,
        .at = fake_at,
        .map_mmio = fake_map,
        .read = fake_read,
        .write = fake_write,
        .stop = fake_stop,
        .faults = {.address = 0x100fee02000, .data = 0xf2},
        .flush = fake_flush,
        .config = config,
    };
    host_log_reset();
}

static const struct iommu_ops *begin(const struct model *model)
{
    reset(model);
    const struct iommu_ops *ops = iommu_start(&machine, &ioapics);
    assert_ptr_equal(ops, &vtd_ops);
    return ops;
}

/* Unit 0 has A and B, unit 1 has C. The table lists them the other way. */
static struct fake_unit *const unit = &fake[0], *const behind = &fake[1];

static void blocked(struct fake_unit *u, uint16_t source, uint64_t address)
{
    assert_int_equal(dma(u, source, address, true, NULL), NO_HPA);
    assert_int_equal(dma(u, source, address, false, NULL), NO_HPA);
}

static void leads(struct fake_unit *u, uint16_t source, uint64_t address, uint64_t to)
{
    assert_int_equal(dma(u, source, address, true, NULL), to);
    assert_int_equal(dma(u, source, address, false, NULL), to);
}

/* Every combination of seven facts. */
static struct model model_of(unsigned bits)
{
    struct model m = modern;
    m.coherent = (bits & 1) != 0;
    m.queued = (bits & 2) != 0;
    m.caches_absent = (bits & 4) != 0;
    m.write_buffer = (bits & 8) != 0;
    m.snoops = (bits & 16) != 0;
    m.protects = m.protects_high = (bits & 32) != 0;
    m.leaves = (bits & 64) != 0 ? 3 : 0;
    return m;
}
enum { MODELS = 128 };

/* --- start ------------------------------------------------------------------------------------ */

static void test_start(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < MODELS; bits++) {
        struct model m = model_of(bits);
        begin(&m);
        for (unsigned i = 0; i < 2; i++) {
            struct fake_unit *u = &fake[i];
            assert_int_equal(u->gsts >> 31, 1);
            assert_int_equal(u->gsts >> 23 & 1, 0);
            assert_int_equal(u->gsts >> 25 & 1, m.queued);
            assert_int_equal(u->root % 4096, 0);
            assert_int_equal(u->pmen, 0);
            assert_int_equal(u->flushes > 0, m.write_buffer);
            assert_int_equal(u->fectl, 0);
            assert_int_equal(u->fedata, 0xf2);
            assert_int_equal(u->feaddr, 0xfee02000);
            assert_int_equal(u->feuaddr, 0x100);
            blocked(u, SOURCE_A, 0);
            blocked(u, 0xffff, 0x7f000000);
        }
        assert_int_equal(ioapics.count, m.queued); /* only then it remaps */
        assert_true(!m.queued ||
                    (ioapics.r[0].id == 5 && pci_same_bdf(ioapics.r[0].requester, APIC) &&
                     pci_same_bdf(ioapics.r[0].alias, APIC)));
    }
}

static void test_no_table(void **state)
{
    (void)state;
    reset(&modern);
    there_is_a_table = false;
    assert_null(iommu_start(&machine, &ioapics));
}

/* What is on already stays on until the new tables count. */
static void test_after_another_system(void **state)
{
    (void)state;
    reset(&modern);
    void *old = fake_alloc(1);
    for (unsigned i = 0; i < 2; i++) {
        fake[i].gsts = 0xc7800000;
        fake[i].root = fake_hpa(old).v;
        fake[i].iqt = fake[i].iqh = 0x40;
        fake[i].fsts = 0x73;
        fake[i].record[2][1] = 1ull << 63;
        fake[i].context[SOURCE_A].valid = fake[i].context[SOURCE_A].present = true;
    }
    assert_non_null(iommu_start(&machine, &ioapics));
    assert_int_equal(unit->gsts, 0xc7000000);
    assert_int_equal(unit->fsts, 0);
    assert_int_equal(unit->record[2][1], 0);
    blocked(unit, SOURCE_A, 0);
}

/*
 * In another mode, which changes while translation is off alone: memory is protected from DMA until
 * it is on again, by what regions firmware has left, too.
 */
static void test_after_a_system_in_another_mode(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 4 * 2 * 2 * 2; bits++) {
        struct model m = modern;
        uint64_t mode = bits & 3;
        bool on = (bits & 8) != 0;
        m.protects = (bits & 4) != 0;
        m.protects_high = (bits & 16) != 0;
        reset(&m);
        void *old = fake_alloc(1);
        unit->rtaddr = unit->root = fake_hpa(old).v | mode << 10;
        unit->gsts = on ? 0xc4000000 : 0x44000000;
        unit->protected[0] = 0x100000;
        unit->protected[1] = 0x1fffff;
        assert_non_null(iommu_start(&machine, &ioapics));
        assert_int_equal(unit->offs, on && mode != 0);
        assert_int_equal(strstr(host_log, "it has been left in another mode") != NULL,
                         on && mode != 0);
        assert_int_equal(strstr(host_log, "with memory protected from DMA") != NULL,
                         on && mode != 0 && (m.protects || m.protects_high));
        assert_int_equal(strstr(host_log, "from DMA below 4 GiB alone") != NULL,
                         on && mode != 0 && m.protects && !m.protects_high);
        assert_int_equal(strstr(host_log, "from DMA above 4 GiB alone") != NULL,
                         on && mode != 0 && !m.protects && m.protects_high);
        assert_int_equal(unit->gsts, 0xc7000000);
        assert_int_equal(unit->root % 4096, 0);
        assert_int_equal(unit->pmen, 0);
        blocked(unit, SOURCE_A, 0);
    }
}

/* A queue with what is no descriptor at its head, or with one whose device has not answered. */
static void test_after_an_error_of_the_queue(void **state)
{
    (void)state;
    static const uint32_t errors[] = {0, 0x10, 0x40, 0x50};
    for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
        reset(&modern);
        unit->iqa = fake_hpa(fake_alloc(1)).v;
        unit->iqh = 0x40;
        unit->iqt = errors[i] != 0 ? 0x80 : 0x40;
        unit->fsts = errors[i];
        unit->gsts = 0xc4000000;
        unit->rtaddr = unit->root = fake_hpa(fake_alloc(1)).v;
        assert_non_null(iommu_start(&machine, &ioapics));
        assert_null(strstr(host_log, "IQH"));
        assert_int_equal(unit->gsts, 0xc7000000);
        assert_int_equal(unit->fsts, 0);
        blocked(unit, SOURCE_A, 0);
    }
}

static void test_units_that_do_not_work(void **state)
{
    (void)state;
    struct iommu_facts facts;
    reset(&modern);
    fake[0].ones = true;
    assert_ptr_equal(iommu_start(&machine, &ioapics), &vtd_ops);
    assert_non_null(strstr(host_log, "at 0xfed90000 there is none"));
    assert_false(vtd_ops.facts(A, &facts));
    assert_true(vtd_ops.facts(C, &facts));
    reset(&modern);
    fake[0].ones = fake[1].ones = true;
    assert_null(iommu_start(&machine, &ioapics));
    reset(&modern);
    for (unsigned i = 0; i < UNITS; i++)
        fake[i].model.sagaw = 1;
    assert_null(iommu_start(&machine, &ioapics));
}

static void stuck(struct model m, unsigned reg, const char *name)
{
    struct iommu_facts facts;
    reset(&m);
    unit->stuck = reg;
    assert_ptr_equal(iommu_start(&machine, &ioapics), &vtd_ops);
    assert_non_null(strstr(host_log, name));
    assert_false(vtd_ops.facts(A, &facts));
    assert_true(vtd_ops.facts(C, &facts));
}

static void test_registers_that_are_stuck(void **state)
{
    (void)state;
    struct model m = modern, by_registers = modern;
    by_registers.queued = false;
    m.protects = m.protects_high = true;
    stuck(modern, 0x1c, "iommu 1: GSTS.RTPS: it has not come in time");
    stuck(modern, 0x88, "iommu 1: IQH: ");
    stuck(m, 0x64, "iommu 1: PMEN.PRS: ");
    stuck(by_registers, 0x28, "iommu 1: CCMD.ICC: ");
    stuck(by_registers, 0x1008, "iommu 1: IOTLB.IVT: ");
}

static void test_no_memory(void **state)
{
    (void)state;
    for (unsigned pages = 0; pages < 7; pages++) {
        reset(&modern);
        budget = pages;
        assert_int_equal(iommu_start(&machine, &ioapics) != NULL, pages >= 4);
    }
}

/* --- facts ------------------------------------------------------------------------------------ */

static void test_facts(void **state)
{
    (void)state;
    struct iommu_facts facts;
    for (unsigned bits = 0; bits < MODELS; bits++) {
        struct model m = model_of(bits);
        const struct iommu_ops *ops = begin(&m);
        assert_true(ops->facts(A, &facts));
        assert_int_equal(facts.unit, 1);
        assert_int_equal(facts.snoops, m.snoops);
        assert_int_equal(facts.remaps, m.queued);
        assert_int_equal(facts.x2apic, m.queued);
        assert_int_equal(facts.reserved.count, 1);
        assert_int_equal(facts.reserved.r[0].start, 0x7f000000);
        assert_int_equal(facts.reserved.r[0].end, 0x7f100000);
    }
    assert_true(vtd_ops.facts(C, &facts));
    assert_int_equal(facts.unit, 0);
    assert_int_equal(facts.reserved.count, 0);
    assert_false(vtd_ops.facts((struct pci_bdf){1, 0, 2, 0}, &facts));
}

static void test_address_width(void **state)
{
    (void)state;
    static const struct {
        unsigned sagaw, mgaw, bits, asked, levels; /* LEVELS 0: refused */
    } cases[] = {
        {2, 39, 39, 39, 3}, {2, 39, 39, 40, 0},  {4, 48, 48, 33, 4},  {6, 48, 48, 39, 3},
        {6, 48, 48, 40, 4}, {6, 39, 39, 40, 0},  {14, 57, 57, 49, 5}, {8, 57, 57, 33, 5},
        {4, 39, 39, 39, 4}, {14, 52, 52, 52, 5}, {14, 52, 52, 53, 0},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct model m = modern;
        struct iommu_domain domain;
        m.sagaw = cases[i].sagaw;
        m.mgaw = cases[i].mgaw;
        const struct iommu_ops *ops = begin(&m);
        int error = ops->create(&domain, &A, 1, cases[i].asked, true);
        assert_int_equal(error, cases[i].levels == 0 ? -ERANGE : 0);
        if (error != 0)
            continue;
        assert_int_equal(domain.pt.format->levels, cases[i].levels);
        assert_int_equal(ops->map(&domain, GIB, hpa(GUEST_RAM), GIB, PT_R | PT_W), 0);
        ops->attach(A, &domain);
        leads(unit, SOURCE_A, GIB + 0x1234, GUEST_RAM + 0x1234);
        blocked(unit, SOURCE_A, 1ull << (cases[i].bits - 1));
    }
}

/* --- domains ---------------------------------------------------------------------------------- */

static void test_domain(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < MODELS; bits++) {
        struct model m = model_of(bits);
        const struct iommu_ops *ops = begin(&m);
        struct iommu_domain domain;
        blocked(unit, SOURCE_A, 0x1000);
        assert_int_equal(ops->create(&domain, &A, 1, 48, true), 0);
        assert_int_equal(domain.snoops, m.snoops);
        ops->attach(A, &domain);
        blocked(unit, SOURCE_A, 0x1000);
        assert_int_equal(ops->map(&domain, 0, hpa(GUEST_RAM), 64 * MIB, PT_R | PT_W), 0);
        leads(unit, SOURCE_A, 0x1234, GUEST_RAM + 0x1234);
        leads(unit, SOURCE_A, 64 * MIB - 8, GUEST_RAM + 64 * MIB - 8);
        blocked(unit, SOURCE_A, 64 * MIB);
        blocked(unit, SOURCE_B, 0x1234);
        blocked(behind, SOURCE_A, 0x1234);
        assert_int_equal(ops->map(&domain, 0x1000, hpa(0), 0x1000, 0), 0);
        blocked(unit, SOURCE_A, 0x1234);
        leads(unit, SOURCE_A, 0x234, GUEST_RAM + 0x234);
        assert_int_equal(ops->map(&domain, 0x1000, hpa(GUEST_RAM * 2), 0x1000, PT_R), 0);
        assert_int_equal(dma(unit, SOURCE_A, 0x1008, true, NULL), GUEST_RAM * 2 + 8);
        assert_int_equal(dma(unit, SOURCE_A, 0x1008, false, NULL), NO_HPA);
        assert_int_equal(ops->map(&domain, 0, hpa(GUEST_RAM), 64 * MIB, PT_R | PT_W), 0);
        leads(unit, SOURCE_A, 0x1234, GUEST_RAM + 0x1234);
        ops->attach(A, NULL);
        blocked(unit, SOURCE_A, 0x1234);
    }
}

static void test_snooping_is_forced(void **state)
{
    (void)state;
    uint64_t leaf;
    for (unsigned asked = 0; asked < 2; asked++)
        for (unsigned can = 0; can < 2; can++) {
            struct model m = modern;
            struct iommu_domain domain;
            m.snoops = can != 0;
            const struct iommu_ops *ops = begin(&m);
            assert_int_equal(ops->create(&domain, &A, 1, 40, asked != 0), 0);
            assert_int_equal(domain.snoops, asked & can);
            assert_int_equal(ops->map(&domain, 0, hpa(GUEST_RAM), 4 * MIB, PT_R | PT_W), 0);
            ops->attach(A, &domain);
            assert_int_equal(dma(unit, SOURCE_A, 0, true, &leaf), GUEST_RAM);
            assert_int_equal(leaf >> 11 & 1, asked & can);
        }
}

/* Units that differ: what all of them can. */
static void test_domain_of_two_units(void **state)
{
    (void)state;
    struct iommu_domain domain;
    const struct pci_bdf both[] = {A, C};
    reset(&modern);
    behind->model.snoops = behind->model.coherent = false;
    behind->model.leaves = 1;
    behind->model.caches_absent = true;
    unit->model.sagaw = 6;
    assert_ptr_equal(iommu_start(&machine, &ioapics), &vtd_ops);
    assert_int_equal(vtd_ops.create(&domain, both, 2, 39, true), 0);
    assert_false(domain.snoops);
    assert_int_equal(domain.pt.format->levels, 4);
    vtd_ops.attach(A, &domain);
    vtd_ops.attach(C, &domain);
    blocked(behind, SOURCE_C, 0);
    assert_int_equal(vtd_ops.map(&domain, 0, hpa(GUEST_RAM), 4 * GIB, PT_R | PT_W), 0);
    leads(unit, SOURCE_A, 3 * GIB, GUEST_RAM + 3 * GIB);
    leads(behind, SOURCE_C, 3 * GIB, GUEST_RAM + 3 * GIB);
    assert_int_equal(vtd_ops.map(&domain, 3 * GIB, hpa(0), 4096, 0), 0);
    blocked(unit, SOURCE_A, 3 * GIB);
    blocked(behind, SOURCE_C, 3 * GIB);
    vtd_ops.attach(C, NULL);
    blocked(behind, SOURCE_C, 0);
    leads(unit, SOURCE_A, 0, GUEST_RAM);
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
            leads(unit, SOURCE_A, 0x5000, at + 0x5000);
            leads(unit, SOURCE_B, 2 * MIB + 0x5000, at * 4 + 0x5000);
            blocked(unit, SOURCE_A, 2 * MIB);
            blocked(unit, SOURCE_B, 0x5000);
            ops->attach(i % 2 == 0 ? A : B, NULL);
            ops->attach(i % 2 == 0 ? B : A, NULL);
        }
    }
}

static void test_domains_run_out(void **state)
{
    (void)state;
    static struct iommu_domain domains[64];
    static const struct {
        unsigned nd, most;
    } cases[] = {{0, 15}, {1, 63}, {6, 63}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct model m = modern;
        m.nd = cases[i].nd;
        const struct iommu_ops *ops = begin(&m);
        for (unsigned n = 0; n < cases[i].most; n++)
            assert_int_equal(ops->create(&domains[n], &A, 1, 40, true), 0);
        assert_int_equal(ops->create(&domains[63], &A, 1, 40, true), -ENOSPC);
    }
}

static void test_domain_without_memory(void **state)
{
    (void)state;
    struct iommu_domain domain;
    const struct iommu_ops *ops = begin(&modern);
    unsigned before = used_count;
    for (budget = 0;; budget++) {
        unsigned had = budget;
        int error = ops->create(&domain, &A, 1, 40, true);
        budget = had;
        if (error == 0)
            break;
        assert_int_equal(error, -ENOMEM);
    }
    assert_int_equal(used_count, before + 2);
    budget = 0;
    assert_int_equal(ops->map(&domain, 0, hpa(GUEST_RAM), 0x5000, PT_R), -ENOMEM);
    ops->attach(A, &domain); /* takes none */
    blocked(unit, SOURCE_A, 0);
    assert_int_equal(domain.id, 1);
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
    leads(unit, SOURCE_A, 9 * GIB - 4, 0x300000000 + 5 * GIB - 4);
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
    unit->stuck = 0x88;
    if (setjmp(on_stop) == 0)
        ops->attach(A, &domain);
    assert_int_equal(stopped, 1);
    assert_non_null(strstr(host_log, "iommu 1: IQH: "));
}

static void test_an_error_of_the_queue(void **state)
{
    (void)state;
    struct iommu_domain domain;
    const struct iommu_ops *ops = begin(&modern);
    assert_int_equal(ops->create(&domain, &A, 1, 40, true), 0);
    unit->fsts = 0x10;
    if (setjmp(on_stop) == 0)
        ops->attach(A, &domain);
    assert_int_equal(stopped, 1);
    assert_non_null(strstr(host_log, "FSTS.IQE"));
}

/* --- interrupts ------------------------------------------------------------------------------- */

static uint64_t to(uint32_t apic_id, bool level, uint8_t vector)
{
    return (uint64_t)apic_id << 32 | (uint64_t)level << 8 | vector;
}

static void test_interrupts(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < MODELS; bits++) {
        struct model m = model_of(bits | 2);
        const struct iommu_ops *ops = begin(&m);
        struct iommu_message x;
        struct iommu_interrupt to_cpu = {.apic_id = 0x12345678, .vector = 0x41};
        int index = ops->claim(A), other = ops->claim(A);
        assert_true(index >= 0 && other >= 0 && index != other);
        ops->interrupt(A, (unsigned)other, &to_cpu, &x);
        assert_int_equal(message(unit, SOURCE_A, x.address, x.data), to(0x12345678, false, 0x41));
        ops->interrupt(A, (unsigned)index, NULL, &x);
        assert_int_equal(message(unit, SOURCE_A, x.address, x.data), NO_HPA);
        ops->interrupt(A, (unsigned)index, &to_cpu, NULL);
        assert_int_equal(message(unit, SOURCE_A, x.address, x.data), to(0x12345678, false, 0x41));
        assert_int_equal(message(unit, SOURCE_B, x.address, x.data), NO_HPA);
        to_cpu = (struct iommu_interrupt){.apic_id = 3, .vector = 0x52};
        ops->interrupt(A, (unsigned)index, &to_cpu, NULL);
        assert_int_equal(message(unit, SOURCE_A, x.address, x.data), to(3, false, 0x52));
        assert_int_equal(message(unit, SOURCE_A, 0xfee03000, 0x52), NO_HPA);
        assert_int_equal(message(unit, SOURCE_A, x.address, 200), NO_HPA);
        ops->interrupt(A, (unsigned)index, NULL, NULL);
        assert_int_equal(message(unit, SOURCE_A, x.address, x.data), NO_HPA);
        ops->interrupt(A, (unsigned)other, NULL, NULL);
    }
}

/* The message that an I/O APIC makes of its entry (82093AA, and 8259-less chipsets since). */
static uint64_t message_of(uint64_t rte, uint32_t *data)
{
    *data = (uint32_t)(rte & 0xff) | (uint32_t)(rte >> 8 & 7) << 8;
    return 0xfee00000 | (rte >> 48 & 0xffff) << 4 | (rte >> 11 & 1) << 2;
}

static void test_interrupts_of_an_ioapic(void **state)
{
    (void)state;
    struct iommu_message x;
    const struct iommu_interrupt to_cpu = {.apic_id = 7, .vector = 0x61, .level = true};
    const struct iommu_ops *ops = begin(&modern);
    int index = ops->claim(APIC);
    uint32_t data;
    ops->interrupt(APIC, (unsigned)index, &to_cpu, &x);
    uint64_t address = message_of(x.rte, &data);
    assert_int_equal(x.rte & 0xff, 0x61); /* by which an EOI finds it */
    assert_int_equal(x.rte >> 15 & 1, 1);
    assert_int_equal(x.rte & 0x17700, 0); /* fixed, high, not masked */
    assert_int_equal(message(unit, IOAPIC, address, data), to(7, true, 0x61));
}

static void test_8_bit_apic_ids(void **state)
{
    (void)state;
    struct iommu_facts facts;
    struct iommu_message x;
    const struct iommu_interrupt to_cpu = {.apic_id = 0xfe, .vector = 0xef};
    (void)begin(&modern);
    assert_true(ioapics.r[0].x2apic);
    reset(&modern);
    machine.x2apic = false;
    const struct iommu_ops *ops = iommu_start(&machine, &ioapics);
    assert_false(ioapics.r[0].x2apic);
    assert_true(ops->facts(A, &facts));
    assert_true(facts.remaps && !facts.x2apic);
    ops->interrupt(A, (unsigned)ops->claim(A), &to_cpu, &x);
    assert_int_equal(message(unit, SOURCE_A, x.address, x.data), to(0xfe, false, 0xef));
}

static void test_entries_run_out(void **state)
{
    (void)state;
    const struct iommu_ops *ops = begin(&modern);
    static bool seen[1024];
    for (unsigned i = 0; i < ARRAY_SIZE(seen); i++) {
        int index = ops->claim(A);
        assert_true(index >= 0 && !seen[index]);
        seen[index] = true;
    }
    assert_int_equal(ops->claim(A), -ENOSPC);
    assert_int_equal(ops->claim(C), 0); /* another unit's */
}

/* --- faults ----------------------------------------------------------------------------------- */

static void test_faults(void **state)
{
    (void)state;
    const struct iommu_ops *ops = begin(&modern);
    assert_int_equal(ops->faults(), 0);
    host_log_reset();
    (void)dma(unit, SOURCE_A, 0x123456789, false, NULL);
    (void)dma(behind, SOURCE_C, 0x5008, true, NULL);
    (void)message(unit, SOURCE_B, 0xfee00418, 0);
    assert_int_equal(ops->faults(), 3);
    assert_non_null(strstr(host_log, "iommu 1: fault: 00:02.0, write of 0x123456000, reason 0x2"));
    assert_non_null(strstr(host_log, "iommu 0: fault: 02:01.0, read of 0x5000, reason 0x2"));
    assert_non_null(
        strstr(host_log, "iommu 1: fault: 00:03.0, interrupt of index 32, reason 0x22"));
    assert_int_equal(unit->fsts, 0);
    host_log_reset();
    assert_int_equal(ops->faults(), 0);
    assert_string_equal(host_log, "");
}

/* Unit 0 and what it translates are in segment 1. */
static void test_faults_of_a_segment(void **state)
{
    (void)state;
    table[48 + 6] = 1;
    const struct iommu_ops *ops = begin(&modern);
    table[48 + 6] = 0;
    (void)dma(behind, SOURCE_C, 0x5008, true, NULL);
    (void)message(behind, SOURCE_C, 0xfee00418, 0);
    assert_int_equal(ops->faults(), 2);
    assert_non_null(strstr(host_log, "iommu 0: fault: 0001:02:01.0, read of 0x5000, reason 0x2"));
    assert_non_null(
        strstr(host_log, "iommu 0: fault: 0001:02:01.0, interrupt of index 32, reason 0x22"));
}

static void test_faults_overflow(void **state)
{
    (void)state;
    const struct iommu_ops *ops = begin(&modern);
    for (unsigned round = 0; round < 2; round++) {
        host_log_reset();
        for (unsigned i = 0; i < 100; i++)
            (void)dma(unit, SOURCE_A, i * 4096, true, NULL);
        assert_int_equal(ops->faults(), RECORDS);
        assert_non_null(strstr(host_log, "4 faults recorded, and others for which there was"));
        assert_int_equal(unit->fsts, 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_no_table),
        cmocka_unit_test(test_after_another_system),
        cmocka_unit_test(test_after_a_system_in_another_mode),
        cmocka_unit_test(test_after_an_error_of_the_queue),
        cmocka_unit_test(test_units_that_do_not_work),
        cmocka_unit_test(test_registers_that_are_stuck),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_address_width),
        cmocka_unit_test(test_domain),
        cmocka_unit_test(test_snooping_is_forced),
        cmocka_unit_test(test_domain_of_two_units),
        cmocka_unit_test(test_other_domains),
        cmocka_unit_test(test_domains_run_out),
        cmocka_unit_test(test_domain_without_memory),
        cmocka_unit_test(test_pages_of_8_gib),
        cmocka_unit_test(test_memory_that_dma_does_not_reach),
        cmocka_unit_test(test_a_unit_that_stops_answering),
        cmocka_unit_test(test_an_error_of_the_queue),
        cmocka_unit_test(test_interrupts),
        cmocka_unit_test(test_interrupts_of_an_ioapic),
        cmocka_unit_test(test_8_bit_apic_ids),
        cmocka_unit_test(test_entries_run_out),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_faults_of_a_segment),
        cmocka_unit_test(test_faults_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
