/* The MP table of a guest (MultiProcessor Specification 1.4). */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/firmware_format.h"
#include "lib/assert.h"
#include "lib/string.h"
#include "vmm/ioapic.h"
#include "vmm/lapic.h"
#include "vmm/platform.h"

enum { REVISION = 4, PARAGRAPH = 16 };

enum { ENTRY_CPU, ENTRY_BUS, ENTRY_IOAPIC, ENTRY_INTERRUPT, ENTRY_LOCAL_INTERRUPT };

/* "Processor Entries". */
struct cpu_entry {
    uint8_t type, apic_id, apic_version, flags;
    uint32_t signature, features, reserved[2];
};
static_assert(sizeof(struct cpu_entry) == 20, "Processor Entries");
enum { CPU_ENABLED = 1 << 0, CPU_BOOT = 1 << 1 };

/* "Bus Entries". */
struct bus_entry {
    uint8_t type, id;
    char name[6];
};
static_assert(sizeof(struct bus_entry) == 8, "Bus Entries");
enum { BUS_PCI, BUS_ISA };

/* "I/O APIC Entries". */
struct ioapic_entry {
    uint8_t type, id, version, flags;
    uint32_t address;
};
static_assert(sizeof(struct ioapic_entry) == 8, "I/O APIC Entries");
enum { IOAPIC_ENABLED = 1 };

/* "I/O Interrupt Assignment Entries", "Local Interrupt Assignment Entries". */
struct interrupt_entry {
    uint8_t type, interrupt;
    uint16_t flags;
    uint8_t bus, irq, apic, pin;
};
static_assert(sizeof(struct interrupt_entry) == 8, "I/O Interrupt Assignment Entries");
enum { INT = 0, NMI = 1, EXTINT = 3 };
enum { AS_BUS = 0, HIGH_ACTIVE_LEVEL = 1 | 3 << 2, LOW_ACTIVE_LEVEL = 3 | 3 << 2 };
enum { ALL_APICS = 0xff };

/* APIC IDs have 8 bits here, and one of them is all CPUs'. */
enum { MOST_CPUS = 255 };

/* Entries follow each other without a gap: all are multiples of 4 bytes. */
static void add(struct space *space, struct mp_header *header, const void *entry, size_t n)
{
    memcpy(space_take(space, n, 4), entry, n);
    header->entries++;
    header->length = (uint16_t)(header->length + n);
}

static void add_cpus(struct space *space, struct mp_header *header, const struct platform *platform)
{
    for (unsigned i = 0; i < platform->cpus && i < MOST_CPUS; i++) {
        struct cpu_entry cpu = {
            .type = ENTRY_CPU,
            .apic_id = (uint8_t)i,
            .apic_version = 0x14,
            .flags = CPU_ENABLED | (i == 0 ? CPU_BOOT : 0),
            .signature = platform->signature,
            .features = platform->features,
        };
        add(space, header, &cpu, sizeof(cpu));
    }
}

static void add_buses(struct space *space, struct mp_header *header)
{
    static const struct bus_entry buses[] = {
        {ENTRY_BUS, BUS_PCI, {'P', 'C', 'I', ' ', ' ', ' '}},
        {ENTRY_BUS, BUS_ISA, {'I', 'S', 'A', ' ', ' ', ' '}},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(buses); i++)
        add(space, header, &buses[i], sizeof(buses[i]));
}

/* The cascade's interrupt comes from no device. */
static void add_interrupts(struct space *space, struct mp_header *header, uint8_t ioapic)
{
    for (unsigned irq = 0; irq < ISA_IRQS; irq++) {
        struct interrupt_entry entry = {
            .type = ENTRY_INTERRUPT,
            .interrupt = INT,
            .flags = irq == IRQ_SCI ? HIGH_ACTIVE_LEVEL : AS_BUS,
            .bus = BUS_ISA,
            .irq = (uint8_t)irq,
            .apic = ioapic,
            .pin = irq == IRQ_PIT ? PIN_PIT : (uint8_t)irq,
        };
        if (irq != IRQ_CASCADE)
            add(space, header, &entry, sizeof(entry));
    }
}

/* "Source Bus IRQ" of PCI: the device, and INTA as 0. */
static void add_pci(struct space *space, struct mp_header *header, const struct platform *platform)
{
    for (unsigned i = 0; i < platform->pci_count; i++) {
        const struct platform_intx *from = &platform->pci[i];
        struct interrupt_entry entry = {
            .type = ENTRY_INTERRUPT,
            .interrupt = INT,
            .flags = LOW_ACTIVE_LEVEL,
            .bus = BUS_PCI,
            .irq = (uint8_t)(from->device << 2 | (from->intx - 1)),
            .apic = (uint8_t)platform->ioapic_id,
            .pin = (uint8_t)platform_pci_pin(from->device, from->intx),
        };
        add(space, header, &entry, sizeof(entry));
    }
}

/* The 8259s are at all CPUs' LINT0, NMI at LINT1. */
static void add_local_interrupts(struct space *space, struct mp_header *header)
{
    static const struct interrupt_entry entries[] = {
        {ENTRY_LOCAL_INTERRUPT, EXTINT, AS_BUS, BUS_ISA, 0, ALL_APICS, 0},
        {ENTRY_LOCAL_INTERRUPT, NMI, AS_BUS, BUS_ISA, 0, ALL_APICS, 1},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(entries); i++)
        add(space, header, &entries[i], sizeof(entries[i]));
}

static struct mp_header *add_table(struct space *space, const struct platform *platform)
{
    struct mp_header *header = space_take(space, sizeof(*header), PARAGRAPH);
    struct ioapic_entry ioapic = {ENTRY_IOAPIC, (uint8_t)platform->ioapic_id, IOAPIC_VERSION,
                                  IOAPIC_ENABLED, IOAPIC_ADDRESS};
    *header = (struct mp_header){
        .signature = {'P', 'C', 'M', 'P'},
        .length = sizeof(*header),
        .revision = REVISION,
        .oem_id = {'N', 'O', 'S', 'N', 'O', 'O', 'P', ' '},
        .product_id = {'V', 'M', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '},
        .local_apic = (uint32_t)LAPIC_ADDRESS,
    };
    add_cpus(space, header, platform);
    add_buses(space, header);
    add(space, header, &ioapic, sizeof(ioapic));
    add_interrupts(space, header, ioapic.id);
    add_pci(space, header, platform);
    add_local_interrupts(space, header);
    header->checksum = platform_checksum(header, header->length);
    return header;
}

/* No feature bit: there is a table, and virtual wire mode. */
void platform_mp(struct space *space, const struct platform *platform)
{
    struct mp_pointer *pointer = space_take(space, sizeof(*pointer), PARAGRAPH);
    *pointer = (struct mp_pointer){
        .signature = {'_', 'M', 'P', '_'},
        .table = space_gpa(space, add_table(space, platform)),
        .length = sizeof(*pointer) / PARAGRAPH,
        .revision = REVISION,
    };
    pointer->checksum = platform_checksum(pointer, sizeof(*pointer));
}
