/* Entries of a VT-d unit's interrupt remapping table. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/vtd.h"
#include "lib/errno.h"
#include "lib/log.h"

/* VT-d, "Interrupt Remapping Table Entry (IRTE) for Remapped Interrupts". */
#define IRTE_P           (1ull << 0)
#define IRTE_LEVEL       (1ull << 4) /* TM; fixed, physical */
#define IRTE_VECTOR(v)   ((uint64_t)(v) << 16)
#define IRTE_XAPIC(id)   ((uint64_t)(id) << 40)
#define IRTE_X2APIC(id)  ((uint64_t)(id) << 32)
#define IRTE_SOURCE(sid) ((sid) | 1ull << 18) /* SVT: all of SID must agree */

/* "Remappable Interrupt Message Format", "I/OxAPIC Programming". */
#define MESSAGE_REMAPPABLE (0xfee00000u | 1 << 4)
#define MESSAGE_SHV        (1u << 3) /* the data is added to the index */
#define RTE_REMAPPABLE     (1ull << 48)
#define RTE_LEVEL          (1ull << 15)

int vtd_claim_in(struct vtd_unit *u)
{
    lock_take(&u->lock);
    int found = u->claimed < VTD_INTERRUPTS ? (int)u->claimed++ : -ENOSPC;
    lock_release(&u->lock);
    if (found < 0)
        log_line("iommu %u: none of its %u entries for interrupts is left", u->number,
                 VTD_INTERRUPTS);
    return found;
}

/* The source of an entry changes only while it is not present, and the rest by one write. */
void vtd_set_interrupt(struct vtd_unit *u, struct pci_bdf requester, unsigned index,
                       const struct iommu_interrupt *interrupt)
{
    uint64_t *entry = &u->remapping[2 * index], low = 0;
    if (interrupt != NULL) {
        uint32_t id = interrupt->apic_id;
        assert(u->x2apic || id <= UINT8_MAX);
        low = IRTE_P | (interrupt->level ? IRTE_LEVEL : 0) | IRTE_VECTOR(interrupt->vector) |
              (u->x2apic ? IRTE_X2APIC(id) : IRTE_XAPIC(id));
        uint64_t high = IRTE_SOURCE(pci_id(requester));
        assert((entry[0] & IRTE_P) == 0 || entry[1] == high);
        __atomic_store_n(&entry[1], high, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&entry[0], low, __ATOMIC_RELEASE);
    vtd_flush(u, entry, 16);
    vtd_forget_interrupt(u, index);
}

struct iommu_message vtd_message(unsigned index, const struct iommu_interrupt *interrupt)
{
    uint64_t low = index & 0x7fff, bit_15 = index >> 15;
    uint64_t level = interrupt != NULL && interrupt->level ? RTE_LEVEL : 0;
    uint64_t vector = interrupt != NULL ? interrupt->vector : 0;
    return (struct iommu_message){
        .address = MESSAGE_REMAPPABLE | MESSAGE_SHV | low << 5 | bit_15 << 2,
        .data = 0,
        .rte = RTE_REMAPPABLE | low << 49 | bit_15 << 11 | level | vector,
    };
}
