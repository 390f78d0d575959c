/* Entries of AMD-Vi's interrupt remapping tables. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/amdvi.h"
#include "lib/x86.h"

/*
 * AMD IOMMU, "Interrupt Remapping Table Entry Formats": fixed, physical. Of 32 bits, or, where
 * guest virtual APICs are supported, of two words.
 */
#define IRTE_REMAP_EN        1u
#define IRTE_DESTINATION(id) (((id)&0xff) << 8)
#define IRTE_VECTOR(vector)  ((uint32_t)(vector) << 16)
#define IRTE_WIDE_LOW(id)    ((uint64_t)((id)&0xffffff) << 8)
#define IRTE_WIDE_HIGH(id)   ((uint64_t)((id) >> 24) << 56)
enum { NARROW = 4, WIDE = 16 };
static_assert(AMDVI_INTERRUPTS * WIDE == 2 * PAGE_SIZE && AMDVI_INTERRUPTS * NARROW <= PAGE_SIZE,
              "a table's pages");

/* SDM, "Message Address Register Format"; the data is the index, of up to 11 bits. */
#define MESSAGE_ADDRESS 0xfee00000u
#define RTE_LEVEL       (1ull << 15)

void *amdvi_make_interrupts(const struct amdvi_unit *u)
{
    return u->machine->alloc(u->wide ? 2 : 1);
}

/* By one write: an interrupt goes where the entry leads before, or where it leads after. */
void amdvi_write_interrupt(const struct amdvi_unit *u, void *table, unsigned index,
                           const struct iommu_interrupt *interrupt)
{
    uint32_t id = interrupt != NULL ? interrupt->apic_id : 0;
    uint8_t vector = interrupt != NULL ? interrupt->vector : 0;
    uint32_t on = interrupt != NULL ? IRTE_REMAP_EN : 0;
    assert(u->x2apic || id <= UINT8_MAX);
    if (u->wide)
        store16((uint64_t *)table + (size_t)2 * index, on | IRTE_WIDE_LOW(id),
                vector | IRTE_WIDE_HIGH(id));
    else
        __atomic_store_n((uint32_t *)table + index, on | IRTE_DESTINATION(id) | IRTE_VECTOR(vector),
                         __ATOMIC_RELEASE);
}

/*
 * "MSI Address and Data": the entry's index is the data, so of an I/O APIC's entry vector and
 * delivery mode. Its EOI must name that, and not the vector that the CPU gets.
 */
struct iommu_message amdvi_message(unsigned index, const struct iommu_interrupt *interrupt)
{
    uint64_t level = interrupt != NULL && interrupt->level ? RTE_LEVEL : 0;
    return (struct iommu_message){.address = MESSAGE_ADDRESS, .data = index, .rte = level | index};
}
