/*
 * Fuzzes the parser of DMARs. The first byte is a number of functions, of 4 bytes each: device and
 * function, header type, buses behind; the rest is the table's body. What is taken must lie where
 * it may, and every scope within the list.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/dmar.h"
#include "tests/fuzz/fuzz.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct firmware firmware = {read_bytes};
    static const struct dmar_reader reader = {&firmware, &map, 40, config};
    host_log_reset();
    if (size == 0 || size > LONGEST || size - 1 < data[0] % 16u * FUNCTION)
        return 0;
    functions = data + 1;
    function_count = data[0] % 16u;
    body = functions + function_count * FUNCTION;
    body_size = (unsigned)(data + size - body);
    const struct acpi_table table = {TABLE, BODY + body_size};
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
    return 0;
}
