/*
 * Fuzzes the parser of IVRSs, and the driver of the units that they name. The input is the table's
 * body; its fifth byte, which is reserved there, says what the units are like, and which functions
 * there are. What is taken must lie where it may, every entry within the list, each answer must
 * follow from an entry, and each device of a VM reach its own memory alone.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#define _DEFAULT_SOURCE /* setenv() */
#include "tests/unit/fake_amdvi.h"

#include "drivers/amdvi.h"
#include "tests/fuzz/drive.h"

enum { TABLE = 0x1000, BODY = 36, LIKE = 4, LONGEST = 4096 };

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

/* By itself: 0; by a range: 1; by all: 2; not: 3. */
static unsigned kind_of(const struct ivrs_entry *e, uint16_t id)
{
    if (id < e->first || id > e->last)
        return 3;
    return e->first == e->last ? 0 : e->last - e->first == 0xffff ? 2 : 1;
}

/* Whoever has E's last device names it as narrowly as E, of UNIT, does; more so if that is LOST. */
static void check_unit_of(const struct ivrs_unit *unit, const struct ivrs_entry *e, bool lost)
{
    const struct ivrs_unit *of = ivrs_unit_of(&ivrs, pci_of_id(unit->segment, e->last));
    unsigned best = 3;
    for (unsigned i = 0; of != NULL && i < of->entry_count; i++) {
        unsigned kind = kind_of(&ivrs.entries[of->first_entry + i], e->last);
        best = kind < best ? kind : best;
    }
    bool sure = !ivrs.incomplete && !ivrs.cut && ivrs.lost_count == 0;
    require(of == NULL ? !sure : best + lost <= kind_of(e, e->last));
    require(of == NULL || best == 0 || !ivrs.incomplete);
    if (of != NULL)
        require(ivrs_alias_of(&ivrs, pci_of_id(unit->segment, e->last)) <= of->last);
}

static void check_entries(const struct ivrs_unit *unit, bool lost)
{
    require(unit->first_entry + unit->entry_count <= ivrs.entry_count);
    for (unsigned i = 0; i < unit->entry_count; i++) {
        const struct ivrs_entry *e = &ivrs.entries[unit->first_entry + i];
        require(e->first <= e->last && e->last <= unit->last);
        require(!e->aliased || e->alias <= unit->last);
        require(!e->ioapic || !lost);
        check_unit_of(unit, e, lost);
    }
}

static void check_units(void)
{
    require(ivrs.unit_count <= IVRS_MAX_UNITS && ivrs.entry_count <= IVRS_MAX_ENTRIES);
    for (unsigned i = 0; i < ivrs.unit_count; i++) {
        const struct ivrs_unit *unit = &ivrs.units[i];
        require(unit->base >= 0x7f000000 && unit->base % 0x4000 == 0);
        require(unit->base < (1ull << 40));
        check_entries(unit, false);
        for (unsigned k = 0; k < i; k++)
            require(ivrs.units[k].base != unit->base);
    }
    require(ivrs.lost_count <= IVRS_MAX_UNITS);
    for (unsigned i = 0; i < ivrs.lost_count; i++)
        check_entries(&ivrs.lost[i], true);
}

/* --- the driver ------------------------------------------------------------------------------- */

static uint64_t bases[UNITS]; /* of units that the model has; 0: none yet */
static unsigned starting;     /* the one that has last been mapped */
static struct acpi_table table;

static volatile void *map_registers(hpa_t registers, uint64_t size)
{
    require(size == REGISTERS);
    for (unsigned i = 0; i < UNITS; i++) {
        if (bases[i] != 0)
            continue;
        bases[i] = registers.v;
        starting = i;
        return arena[i];
    }
    return NULL;
}

static struct fake_unit *unit_of(struct pci_bdf requester)
{
    const struct ivrs_unit *unit = ivrs_unit_of(&ivrs, requester);
    for (unsigned i = 0; i < UNITS && unit != NULL; i++)
        if (bases[i] == unit->base)
            return &fake[i];
    return NULL;
}

static bool find_table(const char *signature, struct acpi_table *found)
{
    *found = table;
    return strcmp(signature, "IVRS") == 0;
}

static uint32_t config(struct pci_bdf bdf, unsigned reg)
{
    (void)bdf;
    require(reg % 4 == 0 && reg < 256);
    return read_function(&fake[starting], reg);
}

static void set_config(struct pci_bdf bdf, unsigned reg, uint32_t value)
{
    (void)bdf;
    write_function(&fake[starting], reg, value);
}

static void no_stop(const char *why)
{
    require(why == NULL);
}

static void make_units(unsigned bits)
{
    fake_iommu_reset();
    memset(fake, 0, sizeof(fake));
    memset(bases, 0, sizeof(bases));
    for (unsigned i = 0; i < UNITS; i++)
        fake[i].model = (struct model){.caches_absent = (bits & 1) != 0,
                                       .has_features = true,
                                       .all = (bits >> 1 & 1) == 0,
                                       .wide = (bits >> 2 & 1) != 0,
                                       .smi_filters = (bits >> 3 & 1) != 0 ? 4 : 0};
    fake[0].ones = (bits >> 4 & 1) != 0;
}

static const struct firmware firmware = {read_bytes};
static const struct iommu_machine machine = {.firmware = &firmware,
                                             .find = find_table,
                                             .map = &map,
                                             .phys_bits = 40,
                                             .alloc = fake_alloc,
                                             .free = free_page,
                                             .take = fake_take,
                                             .hpa = fake_hpa,
                                             .at = fake_at,
                                             .map_mmio = map_registers,
                                             .read = fake_read,
                                             .write = fake_write,
                                             .stop = no_stop,
                                             .flush = fake_flush,
                                             .config = config,
                                             .set_config = set_config};

static void drive_units(unsigned bits)
{
    static struct iommu_ioapics ioapics;
    make_units(bits);
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* where the model finds something wrong */
    if (amdvi_ops.start(&machine, &ioapics) != 0)
        return;
    guests.count = 0;
    for (unsigned i = 0; i < ivrs.unit_count; i++)
        for (unsigned k = 0; k < ivrs.units[i].entry_count; k++) {
            const struct ivrs_entry *e = &ivrs.entries[ivrs.units[i].first_entry + k];
            add_guest(pci_of_id(ivrs.units[i].segment, e->first));
            add_guest(pci_of_id(ivrs.units[i].segment, e->last));
            add_guest(pci_of_id(ivrs.units[i].segment, e->alias));
        }
    drive(&amdvi_ops, &ioapics, bits >> 5);
}

/* Each device named has an entry in a table, which is filled at the start. */
static bool is_small(void)
{
    enum { BUSES = 8 };
    for (unsigned i = 0; i < ivrs.unit_count; i++)
        if (ivrs.units[i].last >= BUSES << 8)
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ivrs_reader reader = {&firmware, &map, 40};
    host_log_reset();
    if (size > LONGEST)
        return 0;
    body = data;
    body_size = (unsigned)size;
    table = (struct acpi_table){TABLE, BODY + body_size};
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
    if (ivrs.unit_count != 0 && is_small())
        drive_units(body[LIKE]);
    return 0;
}
