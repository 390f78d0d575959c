/*
 * Fuzzes the parsers of firmware tables: ACPI's and the MP table. The first byte says what the
 * others are: all of memory, a list of tables, the body of a MADT, an MCFG or an MP table. Lists
 * and bodies get heads whose sums are right. What is in a body is counted here anew.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/acpi.h"
#include "drivers/mptable.h"
#include "tests/fuzz/fuzz.h"

enum { BASE = 0xf0000, SIZE = 4096 };
enum { RSDP = 0, ROOT = 0x40, TABLE = 0x80, MADT_BODY = 44, MP_BODY = 44, ROOT_BODY = 36 };
enum { MCFG_BODY = 44 };

static uint8_t memory[SIZE];

static bool read_memory(const struct firmware *firmware, uint64_t at, void *to, size_t n)
{
    (void)firmware;
    require(n <= 512);
    bool inside = at >= BASE && at <= BASE + SIZE && n <= BASE + SIZE - at;
    if (inside)
        memcpy(to, memory + (at - BASE), n);
    return inside;
}

static const struct firmware firmware = {read_memory};

static void put(unsigned at, uint64_t value, size_t n)
{
    memcpy(&memory[at], &value, n);
}

static void mend(unsigned at, unsigned n, unsigned sum)
{
    uint8_t all = 0;
    memory[sum] = 0;
    for (unsigned i = at; i < at + n; i++)
        all = (uint8_t)(all + memory[i]);
    memory[sum] = (uint8_t)-all;
}

/* --- what is expected ------------------------------------------------------------------------- */

struct expected {
    uint32_t ids[SIZE];
    unsigned ready, disabled, later, senseless;
};

static void expect_cpu(struct expected *e, uint32_t id)
{
    for (unsigned i = 0; i < e->ready; i++)
        if (e->ids[i] == id) {
            e->senseless++;
            return;
        }
    e->ids[e->ready++] = id;
}

static uint32_t number(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void expect_entry(struct expected *e, const uint8_t *entry)
{
    bool wide = entry[0] == 9;
    if (entry[0] != 0 && entry[0] != 9) {
        e->senseless += entry[0] == 5 && entry[1] < 12;
        return;
    }
    if (entry[1] < (wide ? 16 : 8)) {
        e->senseless++;
        return;
    }
    uint32_t flags = number(entry + (wide ? 8 : 4)), id = wide ? number(entry + 4) : entry[3];
    if (flags % 2 == 0)
        *(flags % 4 == 2 ? &e->later : &e->disabled) += 1;
    else if (id == (wide ? 0xffffffff : 0xff))
        e->senseless++;
    else
        expect_cpu(e, id);
}

static void expect_madt(struct expected *e, const uint8_t *body, unsigned size)
{
    unsigned at = 0;
    while (at + 2 <= size && body[at + 1] >= 2 && at + body[at + 1] <= size) {
        expect_entry(e, body + at);
        at += body[at + 1];
    }
}

static void expect_mp(struct expected *e, const uint8_t *body, unsigned size, unsigned entries)
{
    for (unsigned at = 0; entries > 0; entries--) {
        unsigned length = at < size && body[at] == 0 ? 20 : 8;
        if (at + length > size || body[at] > 4)
            return;
        if (body[at] == 0 && body[at + 3] % 2 == 0)
            e->disabled++;
        else if (body[at] == 0 && body[at + 1] == 0xff)
            e->senseless++;
        else if (body[at] == 0)
            expect_cpu(e, body[at + 1]);
        at += length;
    }
}

/* RAM below 2 GiB and from 4 to 5, in MiB; TOP is at 1 TiB. */
static bool is_free(uint64_t mib)
{
    return mib >= 2048 && (mib < 4096 || mib >= 5120) && mib < 1 << 20;
}

/* Entries are of 16 bytes; the first of those that overlap counts. */
static unsigned expect_mcfg(struct pci_ecam *expected, const uint8_t *body, unsigned size)
{
    unsigned n = 0;
    for (unsigned at = 0; at + 16 <= size && n < PCI_MAX_ECAMS; at += 16) {
        uint64_t base = number(body + at) | (uint64_t)number(body + at + 4) << 32;
        struct pci_ecam e = {base, (uint16_t)number(body + at + 8), body[at + 10], body[at + 11]};
        bool good = base % MIB == 0 && e.first <= e.last;
        for (uint64_t bus = e.first; bus <= e.last && good; bus++)
            good = base / MIB < 1 << 20 && is_free(base / MIB + bus);
        for (unsigned i = 0; i < n && good; i++) {
            const struct pci_ecam *x = &expected[i];
            for (uint64_t bus = e.first; bus <= e.last && good; bus++) {
                uint64_t there = base / MIB + bus - x->base / MIB;
                good = !(x->segment == e.segment && x->first <= bus && bus <= x->last) &&
                       !(x->first <= there && there <= x->last);
            }
        }
        if (good)
            expected[n++] = e;
    }
    return n;
}

/* --- what comes ------------------------------------------------------------------------------- */

static void check_sane(const struct firmware_cpus *cpus)
{
    require(cpus->count <= FIRMWARE_MAX_CPUS);
    for (unsigned i = 0; i < cpus->count; i++)
        for (unsigned k = 0; k < i; k++)
            require(cpus->apic_id[i] != cpus->apic_id[k]);
}

/* An ID without room may have come twice: it counts each time. */
static void check(const struct firmware_cpus *cpus, const struct expected *e)
{
    unsigned room = e->ready < FIRMWARE_MAX_CPUS ? e->ready : FIRMWARE_MAX_CPUS;
    check_sane(cpus);
    require(cpus->count == room && memcmp(cpus->apic_id, e->ids, room * sizeof(e->ids[0])) == 0);
    require(cpus->disabled == e->disabled && cpus->later == e->later);
    require(cpus->beyond + cpus->senseless == e->ready - room + e->senseless);
}

static void take(uint64_t rsdp, struct firmware_cpus *cpus)
{
    struct acpi_table madt;
    *cpus = (struct firmware_cpus){0};
    if (!acpi_find(&firmware, rsdp, "APIC", &madt))
        return;
    require(madt.at >= BASE && madt.length >= 36 && madt.length <= BASE + SIZE - madt.at);
    acpi_cpus(&firmware, &madt, cpus);
    check_sane(cpus);
}

/* An RSDP with both lists at ROOT; WIDE: revision 2. */
static void put_root(unsigned length, bool wide)
{
    memcpy(&memory[RSDP], "RSD PTR ", 8);
    memory[RSDP + 15] = wide ? 2 : 0;
    put(RSDP + 16, BASE + ROOT, 4);
    put(RSDP + 20, 36, 4);
    put(RSDP + 24, BASE + ROOT, 8);
    mend(RSDP, 20, RSDP + 8);
    mend(RSDP, 36, RSDP + 32);
    memcpy(&memory[ROOT], wide ? "XSDT" : "RSDT", 4);
    put(ROOT + 4, length, 4);
    mend(ROOT, length, ROOT + 9);
}

/* A list, and behind it what it leads to. */
static void fuzz_list(const uint8_t *data, unsigned size, bool wide)
{
    struct firmware_cpus cpus;
    memcpy(&memory[ROOT + ROOT_BODY], data, size);
    put_root(ROOT_BODY + (size < 64 ? size : 64), wide);
    take(BASE + RSDP, &cpus);
}

static void fuzz_madt(const uint8_t *data, unsigned size, bool wide)
{
    struct firmware_cpus cpus;
    static struct expected e;
    e = (struct expected){.ready = 0};
    put(ROOT + ROOT_BODY, BASE + TABLE, 8);
    put_root(ROOT_BODY + 8, wide);
    memcpy(&memory[TABLE], "APIC", 4);
    memcpy(&memory[TABLE + MADT_BODY], data, size);
    put(TABLE + 4, MADT_BODY + size, 4);
    mend(TABLE, MADT_BODY + size, TABLE + 9);
    take(BASE + RSDP, &cpus);
    expect_madt(&e, data, size);
    check(&cpus, &e);
}

static void fuzz_mp(const uint8_t *data, unsigned size, unsigned entries)
{
    struct firmware_cpus cpus;
    static struct expected e;
    e = (struct expected){.ready = 0};
    memcpy(&memory[RSDP], "_MP_", 4);
    put(RSDP + 4, BASE + TABLE, 4);
    memory[RSDP + 8] = 1;
    mend(RSDP, 16, RSDP + 10);
    memcpy(&memory[TABLE], "PCMP", 4);
    memcpy(&memory[TABLE + MP_BODY], data, size);
    put(TABLE + 4, MP_BODY + size, 2);
    put(TABLE + 34, entries, 2);
    mend(TABLE, MP_BODY + size, TABLE + 7);
    require(mptable_cpus(&firmware, &cpus));
    expect_mp(&e, data, size, entries);
    check(&cpus, &e);
}

static bool has(const struct pci_ecams *ecams, const struct pci_ecam *e)
{
    for (unsigned i = 0; i < ecams->count; i++) {
        const struct pci_ecam *x = &ecams->r[i];
        if (x->base == e->base && x->segment == e->segment && x->first == e->first &&
            x->last == e->last)
            return true;
    }
    return false;
}

static void fuzz_mcfg(const uint8_t *data, unsigned size)
{
    static struct memmap map;
    static struct pci_ecam expected[PCI_MAX_ECAMS];
    static struct pci_ecams ecams;
    map.count = 0;
    require(memmap_set(&map, 0, 2 * GIB, MEM_RAM) == 0);
    require(memmap_set(&map, 3 * GIB, 4 * GIB, MEM_FIRMWARE) == 0);
    require(memmap_set(&map, 4 * GIB, 5 * GIB, MEM_RAM) == 0);
    memcpy(&memory[TABLE + MCFG_BODY], data, size);
    acpi_ecams(&firmware, &(struct acpi_table){BASE + TABLE, MCFG_BODY + size}, &map, 1ull << 40,
               &ecams);
    unsigned n = expect_mcfg(expected, data, size);
    require(ecams.count == n);
    for (unsigned i = 0; i < n; i++)
        require(has(&ecams, &expected[i]));
    for (unsigned i = 1; i < n; i++)
        require(ecams.r[i - 1].segment < ecams.r[i].segment ||
                (ecams.r[i - 1].segment == ecams.r[i].segment &&
                 ecams.r[i - 1].last < ecams.r[i].first));
}

static void fuzz_raw(const uint8_t *data, unsigned size)
{
    struct firmware_cpus cpus;
    memcpy(memory, data, size);
    take(acpi_find_rsdp(&firmware), &cpus);
    (void)mptable_cpus(&firmware, &cpus);
    check_sane(&cpus);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    host_log_reset();
    memset(memory, 0, sizeof(memory));
    if (size == 0 || size > SIZE / 2)
        return 0;
    unsigned mode = data[0] % 8, rest = (unsigned)size - 1;
    if (mode < 2)
        fuzz_madt(data + 1, rest, mode == 1);
    else if (mode < 4)
        fuzz_list(data + 1, rest, mode == 3);
    else if (mode < 6)
        fuzz_mp(data + 1, rest, data[0] / 8);
    else if (mode == 6)
        fuzz_raw(data + 1, rest);
    else
        fuzz_mcfg(data + 1, rest);
    return 0;
}
