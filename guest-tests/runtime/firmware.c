/* Finds firmware's tables (MultiProcessor Specification 1.4; ACPI Specification). */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/firmware.h"

enum { EBDA_SEGMENT = 0x40e, BASE_MEMORY = 0x413, PARAGRAPH = 16 };
enum { MP_ENTRIES = 44, MP_COUNT = 34, ENTRY_CPU = 0, ENTRY_BUS = 1, ENTRY_INTERRUPT = 3 };
enum { SDT_ENTRIES = 36, RSDP_RSDT = 16, RSDP_XSDT = 24, RSDP_REVISION = 15 };

#define BIOS_START 0xe0000ull
#define BIOS_END   0x100000ull
#define MP_START   0xf0000ull

static const volatile uint8_t *memory(uint64_t address)
{
    __asm__("" : "+r"(address)); /* low addresses are no objects of C's */
    return (const volatile uint8_t *)address;
}

uint64_t firmware_number(uint64_t address, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)memory(address)[i] << 8 * i;
    return value;
}

uint8_t firmware_sum(uint64_t address, uint64_t bytes)
{
    uint8_t total = 0;
    for (uint64_t i = 0; i < bytes; i++)
        total = (uint8_t)(total + memory(address)[i]);
    return total;
}

bool firmware_has(uint64_t address, const char *text)
{
    for (unsigned i = 0; text[i] != '\0'; i++)
        if (memory(address)[i] != (uint8_t)text[i])
            return false;
    return true;
}

/* The paragraph from START with that signature and a sum of 0 over SIZE bytes, or 0. */
static uint64_t find(uint64_t start, uint64_t end, const char *signature, unsigned size)
{
    for (uint64_t at = start; at + size <= end; at += PARAGRAPH)
        if (firmware_has(at, signature) && firmware_sum(at, size) == 0)
            return at;
    return 0;
}

/* The first KiB of the EBDA, if there is one. */
static uint64_t find_in_ebda(const char *signature, unsigned size)
{
    uint64_t ebda = firmware_number(EBDA_SEGMENT, 2) << 4;
    return ebda < 0x80000 || ebda >= 0xa0000 ? 0 : find(ebda, ebda + 1024, signature, size);
}

/* --- the MP table ----------------------------------------------------------------------------- */

uint64_t mp_pointer(void)
{
    uint64_t at = find_in_ebda("_MP_", 16);
    uint64_t last = firmware_number(BASE_MEMORY, 2) * 1024;
    if (at == 0 && last >= 1024 && last <= 0xa0000)
        at = find(last - 1024, last, "_MP_", 16);
    return at != 0 ? at : find(MP_START, BIOS_END, "_MP_", 16);
}

uint64_t mp_table(void)
{
    uint64_t pointer = mp_pointer();
    return pointer == 0 ? 0 : firmware_number(pointer + 4, 4);
}

/* The entry behind the one at AT, which is 0 to begin with; 0: there is none. */
static uint64_t next_entry(uint64_t table, uint64_t at, unsigned *left)
{
    if (at == 0)
        *left = (unsigned)firmware_number(table + MP_COUNT, 2);
    if (*left == 0)
        return 0;
    (*left)--;
    return at == 0 ? table + MP_ENTRIES : at + (firmware_number(at, 1) == ENTRY_CPU ? 20 : 8);
}

static bool is_pci(uint64_t table, uint64_t id)
{
    unsigned left;
    for (uint64_t at = next_entry(table, 0, &left); at != 0; at = next_entry(table, at, &left))
        if (firmware_number(at, 1) == ENTRY_BUS && firmware_number(at + 1, 1) == id)
            return firmware_has(at + 2, "PCI");
    return false;
}

/* "I/O Interrupt Assignment Entries": as its bus has it, PCI's are low and levels. */
static struct mp_interrupt interrupt_of(uint64_t entry)
{
    unsigned flags = (unsigned)firmware_number(entry + 2, 2);
    return (struct mp_interrupt){
        .pin = (unsigned)firmware_number(entry + 7, 1),
        .low_active = (flags & 3) != 1,
        .level = (flags >> 2 & 3) != 1,
    };
}

bool mp_pci_interrupt(unsigned bus, unsigned device, unsigned intx, struct mp_interrupt *found)
{
    unsigned left;
    uint64_t table = mp_table();
    if (table == 0 || !is_pci(table, bus))
        return false;
    for (uint64_t at = next_entry(table, 0, &left); at != 0; at = next_entry(table, at, &left))
        if (firmware_number(at, 1) == ENTRY_INTERRUPT && firmware_number(at + 1, 1) == 0 &&
            firmware_number(at + 4, 1) == bus &&
            firmware_number(at + 5, 1) == (device << 2 | (intx - 1))) {
            *found = interrupt_of(at);
            return true;
        }
    return false;
}

/* --- ACPI ------------------------------------------------------------------------------------- */

uint64_t acpi_rsdp(void)
{
    uint64_t at = find_in_ebda("RSD PTR ", 20);
    return at != 0 ? at : find(BIOS_START, BIOS_END, "RSD PTR ", 20);
}

uint64_t acpi_table(const char *name, bool by_xsdt)
{
    uint64_t rsdp = acpi_rsdp();
    if (rsdp == 0 || (by_xsdt && firmware_number(rsdp + RSDP_REVISION, 1) < 2))
        return 0;
    unsigned size = by_xsdt ? 8 : 4;
    uint64_t root = firmware_number(rsdp + (by_xsdt ? RSDP_XSDT : RSDP_RSDT), size);
    uint64_t end = root + firmware_number(root + 4, 4);
    for (uint64_t at = root + SDT_ENTRIES; at < end; at += size)
        if (firmware_has(firmware_number(at, size), name))
            return firmware_number(at, size);
    return 0;
}
