/*
 * Fuzzes the parser of DMARs, and the driver of the units that they name. The first byte's lower
 * half is a number of functions, of 4 bytes each: device and function, header type, buses behind;
 * its upper half is what the units are like; the rest is the table's body. What is taken must lie
 * where it may, every scope within the list, and each device of a VM reach its own memory alone.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#define _DEFAULT_SOURCE /* setenv() */
#include "tests/unit/fake_vtd.h"

#include "drivers/vtd.h"
#include "tests/fuzz/drive.h"

enum { TABLE = 0x1000, BODY = 36, LONGEST = 4096, FUNCTION = 4 };

static const uint8_t *functions, *body;
static unsigned function_count, body_size;
static struct dmar dmar;

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

static uint32_t config(struct pci_bdf bdf, unsigned reg)
{
    require(bdf.device < 32 && bdf.function < 8 && reg % 4 == 0 && reg < 256);
    for (unsigned i = 0; i < function_count; i++) {
        const uint8_t *f = functions + i * FUNCTION;
        if (f[0] != (bdf.device << 3 | bdf.function))
            continue;
        return reg == 0x0c   ? (uint32_t)f[1] << 16
               : reg == 0x18 ? (uint32_t)f[2] << 8 | (uint32_t)f[3] << 16
                             : 0x12348086;
    }
    return UINT32_MAX;
}

static void check_scopes(struct dmar_scopes scopes)
{
    require(scopes.first + scopes.count <= dmar.scope_count);
    for (unsigned i = scopes.first; i < scopes.first + (unsigned)scopes.count; i++) {
        const struct dmar_scope *scope = &dmar.scopes[i];
        require(scope->type >= 1 && scope->type <= 5);
        require(scope->bdf.device < 32 && scope->bdf.function < 8);
        require(dmar_names(&dmar, scopes, scope->bdf));
    }
}

static void check_units(void)
{
    require(dmar.unit_count <= DMAR_MAX_UNITS);
    for (unsigned i = 0; i < dmar.unit_count; i++) {
        const struct dmar_unit *unit = &dmar.units[i];
        require(unit->base >= 0x7f000000 && unit->base % 4096 == 0 && unit->base < (1ull << 40));
        check_scopes(unit->scopes);
        for (unsigned k = 0; k < i; k++) {
            require(dmar.units[k].base != unit->base);
            require(!unit->all || !dmar.units[k].all || dmar.units[k].segment != unit->segment);
        }
        for (unsigned k = unit->scopes.first; k < unit->scopes.first + unit->scopes.count; k++)
            require(dmar_unit_of(&dmar, dmar.scopes[k].bdf) <= unit);
    }
}

/* --- the driver ------------------------------------------------------------------------------- */

static uint64_t bases[UNITS]; /* of units that the model has; 0: none yet */
static struct acpi_table table;

static volatile void *map_registers(hpa_t registers, uint64_t size)
{
    require(size <= SPACE);
    for (unsigned i = 0; i < UNITS; i++) {
        if (bases[i] != 0 && bases[i] != registers.v)
            continue;
        bases[i] = registers.v;
        mapped[i] = size;
        return arena[i];
    }
    return NULL;
}

static struct fake_unit *unit_of(struct pci_bdf requester)
{
    const struct dmar_unit *unit = dmar_unit_of(&dmar, requester);
    for (unsigned i = 0; i < UNITS && unit != NULL; i++)
        if (bases[i] == unit->base)
            return &fake[i];
    return NULL;
}

static bool find_table(const char *signature, struct acpi_table *found)
{
    *found = table;
    return strcmp(signature, "DMAR") == 0;
}

static void no_stop(const char *why)
{
    require(why == NULL);
}

/* Units that another system has left on, in another mode and with its queue in error, or not. */
static void make_units(unsigned bits)
{
    fake_iommu_reset();
    memset(memory, 0xff, sizeof(memory));
    memset(fake, 0, sizeof(fake));
    memset(bases, 0, sizeof(bases));
    for (unsigned i = 0; i < UNITS; i++) {
        bool left = (bits >> 3 & 1) != 0;
        fake[i].model = (struct model){.coherent = (bits & 1) != 0,
                                       .write_buffer = (bits & 1) == 0,
                                       .queued = (bits >> 1 & 1) != 0 || left,
                                       .caches_absent = (bits >> 2 & 1) != 0,
                                       .protects = left,
                                       .protects_high = left,
                                       .remaps = true,
                                       .snoops = true,
                                       .sagaw = 4,
                                       .mgaw = 48,
                                       .leaves = 3,
                                       .nd = 6};
        if (left) {
            fake[i].gsts = 0xc4000000;
            fake[i].root = fake[i].rtaddr = 1 << 10;
            fake[i].iqt = 0x20;
            fake[i].fsts = 0x10;
        }
    }
}

static const struct firmware firmware = {read_bytes};
static const struct iommu_machine machine = {.firmware = &firmware,
                                             .find = find_table,
                                             .map = &map,
                                             .phys_bits = 40,
                                             .alloc = fake_alloc,
                                             .free = fake_free,
                                             .hpa = fake_hpa,
                                             .at = fake_at,
                                             .map_mmio = map_registers,
                                             .read = fake_read,
                                             .write = fake_write,
                                             .stop = no_stop,
                                             .flush = fake_flush,
                                             .config = config};

static void drive_units(unsigned bits)
{
    static struct iommu_ioapics ioapics;
    make_units(bits);
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* where the model finds something wrong */
    if (vtd_ops.start(&machine, &ioapics) != 0)
        return;
    guests.count = 0;
    for (unsigned i = 0; i < dmar.scope_count; i++)
        if (dmar.scopes[i].type <= DMAR_BRIDGE)
            add_guest(dmar.scopes[i].bdf);
    add_guest((struct pci_bdf){0, 0, 2, 0});
    drive(&vtd_ops, &ioapics, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct dmar_reader reader = {&firmware, &map, 40, config};
    host_log_reset();
    if (size == 0 || size > LONGEST || size - 1 < data[0] % 16u * FUNCTION)
        return 0;
    functions = data + 1;
    function_count = data[0] % 16u;
    body = functions + function_count * FUNCTION;
    body_size = (unsigned)(data + size - body);
    table = (struct acpi_table){TABLE, BODY + body_size};
    if (dmar_parse(&reader, &table, &dmar) != 0)
        return 0;
    check_units();
    require(dmar.reserved_count <= DMAR_MAX_RESERVED);
    for (unsigned i = 0; i < dmar.reserved_count; i++) {
        struct range r = dmar.reserved[i].range;
        require(r.start >= 0x7f000000 && r.start < r.end && r.end <= 0x7f100000);
        require((r.start | r.end) % 4096 == 0 && dmar.reserved[i].scopes.count != 0);
        check_scopes(dmar.reserved[i].scopes);
    }
    if (dmar.unit_count != 0)
        drive_units(data[0] >> 4);
    return 0;
}
