/* The MP table of a guest (MultiProcessor Specification 1.4). */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/firmware_format.h"
#include "lib/assert.h"
#include "lib/string.h"
#include "vmm/devices/ioapic.h"
#include "vmm/devices/lapic.h"
#include "vmm/devices/platform.h"

enum { REVISION = 4, PARAGRAPH = 16 };

enum { BUS_PCI, BUS_ISA };

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
        struct mp_cpu cpu = {
            .type = MP_ENTRY_CPU,
            .apic_id = (uint8_t)i,
            .apic_version = 0x14,
            .flags = MP_CPU_ENABLED | (i == 0 ? MP_CPU_BOOT : 0),
            .signature = platform->signature,
            .features = platform->features,
        };
        add(space, header, &cpu, sizeof(cpu));
    }
}

static void add_buses(struct space *space, struct mp_header *header)
{
    static const struct mp_bus buses[] = {
        {MP_ENTRY_BUS, BUS_PCI, {'P', 'C', 'I', ' ', ' ', ' '}},
        {MP_ENTRY_BUS, BUS_ISA, {'I', 'S', 'A', ' ', ' ', ' '}},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(buses); i++)
        add(space, header, &buses[i], sizeof(buses[i]));
}

/* The cascade's interrupt comes from no device. */
static void add_interrupts(struct space *space, struct mp_header *header, uint8_t ioapic)
{
    for (unsigned irq = 0; irq < ISA_IRQS; irq++) {
        struct mp_interrupt entry = {
            .type = MP_ENTRY_INTERRUPT,
            .interrupt = MP_INT,
            .flags = irq == IRQ_SCI ? INTI_HIGH | INTI_LEVEL : INTI_AS_BUS,
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
        struct mp_interrupt entry = {
            .type = MP_ENTRY_INTERRUPT,
            .interrupt = MP_INT,
            .flags = INTI_LOW | INTI_LEVEL,
            .bus = BUS_PCI,
            .irq = (uint8_t)(from->device << 2 | (from->intx - 1)),
            .apic = (uint8_t)platform->ioapic_id,
            .pin = (uint8_t)platform_pci_pin(from->device, from->intx),
        };
        add(space, header, &entry, sizeof(entry));
    }
}

/* The 8259s are at the boot CPU's LINT0, NMI at all LINT1. */
static void add_local_interrupts(struct space *space, struct mp_header *header)
{
    static const struct mp_interrupt entries[] = {
        {MP_ENTRY_LOCAL_INTERRUPT, MP_EXTINT, INTI_AS_BUS, BUS_ISA, 0, 0, 0},
        {MP_ENTRY_LOCAL_INTERRUPT, MP_NMI, INTI_AS_BUS, BUS_ISA, 0, MP_ALL_APICS, 1},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(entries); i++)
        add(space, header, &entries[i], sizeof(entries[i]));
}

static struct mp_header *add_table(struct space *space, const struct platform *platform)
{
    struct mp_header *header = space_take(space, sizeof(*header), PARAGRAPH);
    struct mp_ioapic ioapic = {MP_ENTRY_IOAPIC, (uint8_t)platform->ioapic_id, IOAPIC_VERSION,
                               MP_IOAPIC_ENABLED, IOAPIC_ADDRESS};
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
