/* CPUs, I/O APIC and the routes of ISA's IRQs, by ACPI's MADT or by the MP table. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tick.h"

struct machine machine;

static const uint8_t *memory(uint32_t address)
{
    const uint8_t *at = (const uint8_t *)(uintptr_t)address;
    __asm__("" : "+r"(at)); /* it is no object that the compiler knows */
    return at;
}

static uint16_t word(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t dword(const uint8_t *at)
{
    return word(at) | (uint32_t)word(at + 2) << 16;
}

static bool is(const uint8_t *at, const char *name, unsigned length)
{
    for (unsigned i = 0; i < length; i++)
        if (at[i] != (uint8_t)name[i])
            return false;
    return true;
}

static bool sums_up(const uint8_t *at, unsigned length)
{
    uint8_t sum = 0;
    for (unsigned i = 0; i < length; i++)
        sum = (uint8_t)(sum + at[i]);
    return sum == 0;
}

static const uint8_t *search(uint32_t start, uint32_t size, const char *name, unsigned length)
{
    for (uint32_t at = start; at < start + size; at += 16)
        if (is(memory(at), name, length) && sums_up(memory(at), length == 4 ? 16 : 20))
            return memory(at);
    return NULL;
}

/* In the EBDA's first KiB, the last KiB of base memory, the BIOS. */
static const uint8_t *find(const char *name, unsigned length)
{
    uint32_t ebda = (uint32_t)word(memory(0x40e)) << 4;
    const uint8_t *found = NULL;
    if (ebda >= 0x80000 && ebda < 0xa0000)
        found = search(ebda, 1024, name, length);
    if (found == NULL)
        found = search((uint32_t)word(memory(0x413)) * 1024 - 1024, 1024, name, length);
    if (found == NULL)
        found = search(0xf0000, 0x10000, name, length);
    return found;
}

static void begin(void)
{
    machine = (struct machine){.lapic = 0xfee00000};
    for (unsigned i = 0; i < ISA_IRQS; i++)
        machine.gsi[i] = i;
}

static void add_cpu(uint8_t id)
{
    if (machine.cpus < MAX_CPUS)
        machine.apic_id[machine.cpus++] = id;
}

static void add_route(unsigned irq, uint32_t gsi, uint16_t flags)
{
    if (irq >= ISA_IRQS)
        return;
    machine.gsi[irq] = gsi;
    machine.flags[irq] = flags;
}

/* --- ACPI --- */

static void read_madt(const uint8_t *madt)
{
    const uint8_t *end = madt + dword(madt + 4);
    machine.lapic = dword(madt + 36);
    for (const uint8_t *at = madt + 44; at + 2 <= end && at[1] >= 2; at += at[1]) {
        if (at[0] == 0 && (at[4] & 1) != 0)
            add_cpu(at[3]);
        if (at[0] == 1 && machine.ioapic == 0) {
            machine.ioapic = dword(at + 4);
            machine.ioapic_base = dword(at + 8);
        }
        if (at[0] == 2 && at[2] == 0)
            add_route(at[3], dword(at + 4), word(at + 8));
    }
}

static void read_table(const uint8_t *table)
{
    if (!sums_up(table, dword(table + 4)))
        fail("a table's checksum");
    if (is(table, "APIC", 4))
        read_madt(table);
    if (is(table, "FACP", 4))
        machine.pm_timer = (uint16_t)dword(table + 76);
}

bool find_by_acpi(void)
{
    const uint8_t *rsdp = find("RSD PTR ", 8);
    if (rsdp == NULL)
        return false;
    bool wide = rsdp[15] >= 2 && dword(rsdp + 24) != 0;
    const uint8_t *list = memory(dword(rsdp + (wide ? 24 : 16)));
    unsigned size = wide ? 8 : 4;
    begin();
    if (!is(list, wide ? "XSDT" : "RSDT", 4) || !sums_up(list, dword(list + 4)))
        return false;
    for (unsigned i = 36; i + size <= dword(list + 4); i += size)
        read_table(memory(dword(list + i)));
    return machine.cpus != 0 && machine.ioapic != 0;
}

/* --- MP table --- */

static void read_mp(const uint8_t *config)
{
    const uint8_t *at = config + 44;
    int isa = -1;
    machine.lapic = dword(config + 36);
    for (unsigned i = 0; i < word(config + 34); i++) {
        if (at[0] == 0 && (at[3] & 1) != 0)
            add_cpu(at[1]);
        if (at[0] == 1 && is(at + 2, "ISA", 3))
            isa = at[1];
        if (at[0] == 2 && (at[3] & 1) != 0 && machine.ioapic == 0)
            machine.ioapic = dword(at + 4);
        if (at[0] == 3 && at[1] == 0 && at[4] == isa)
            add_route(at[5], at[7], word(at + 2));
        at += at[0] == 0 ? 20 : 8;
    }
}

bool find_by_mp(void)
{
    const uint8_t *pointer = find("_MP_", 4);
    if (pointer == NULL || dword(pointer + 4) == 0)
        return false;
    const uint8_t *config = memory(dword(pointer + 4));
    begin();
    if (!is(config, "PCMP", 4) || !sums_up(config, word(config + 4)))
        return false;
    read_mp(config);
    return machine.cpus != 0 && machine.ioapic != 0;
}
