/* Where the INTx of one of the machine's functions comes in, by what firmware says. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/passthrough/intx_route.h"

#include "drivers/firmware_format.h"
#include "drivers/mptable.h"

enum { PINS = 4 };

/* False: it is said to be an edge, which no INTx is, or no chip is there. */
static bool take(const struct intx_sources *from, const struct mptable_input *input,
                 struct intx_line *found)
{
    if ((input->flags & INTI_TRIGGER) == INTI_EDGE)
        return false;
    for (unsigned i = 0; i < from->gsis->count; i++)
        if (from->gsis->chip[i].address == input->ioapic) {
            *found =
                (struct intx_line){from->gsis->chip[i].first + input->pin,
                                   (input->flags & INTI_POLARITY) == INTI_HIGH, "the MP table"};
            return true;
        }
    return false;
}

/*
 * Behind a bridge that the table does not know, pins are the bridge's own, in turn by device
 * (PCI-to-PCI Bridge Architecture Specification, "Interrupt Support"; PCI Express Base
 * Specification, "INTx Interrupt Signaling - Rules"). With ARI there is one device, number 0.
 */
static bool by_mp_table(const struct intx_sources *from, const struct pci_function *f, unsigned pin,
                        struct intx_line *found)
{
    struct mptable_input input;
    for (; f != NULL && f->bdf.segment == 0; f = f->parent) {
        unsigned device = f->parent != NULL && f->parent->ari ? 0 : f->bdf.device;
        if (mptable_pci(from->mp_table, f->bdf.bus, device, pin, &input))
            return take(from, &input, found);
        pin = (pin - 1 + device) % PINS + 1;
    }
    return false;
}

/*
 * Interrupt Line has an IRQ of the 8259s. That is a line of an I/O APIC, too, where the MP table
 * knows of no PCI bus, or ACPI says of the IRQ that it is a level, and not its own. Of the MP
 * table's entry nothing but the pin counts: it is for a device of the ISA bus.
 */
static bool by_line(const struct intx_sources *from, unsigned line, struct intx_line *found)
{
    struct mptable_input input;
    if (line == 0 || line >= GSI_ISA_LINES || line == from->sci)
        return false;
    uint16_t flags = from->gsis->isa_flags[line];
    if ((flags & INTI_TRIGGER) == INTI_LEVEL) {
        *found = (struct intx_line){from->gsis->isa[line], (flags & INTI_POLARITY) == INTI_HIGH,
                                    "Interrupt Line"};
        return true;
    }
    if (from->mp_table == NULL || !mptable_isa(from->mp_table, line, &input))
        return false;
    input.flags = INTI_AS_BUS;
    bool found_it = take(from, &input, found);
    found->by = "Interrupt Line";
    return found_it;
}

bool intx_find(const struct intx_sources *from, const struct pci_function *f, unsigned pin,
               unsigned line, struct intx_line *found)
{
    return (from->mp_table != NULL && by_mp_table(from, f, pin, found)) ||
           by_line(from, line, found);
}

struct intx_line intx_given(const struct intx_sources *from, uint32_t gsi)
{
    struct intx_line line = {.gsi = gsi, .by = "the config"};
    for (unsigned i = 0; i < GSI_ISA_LINES; i++)
        line.high_active |=
            from->gsis->isa[i] == gsi && from->gsis->isa_flags[i] == (INTI_HIGH | INTI_LEVEL);
    return line;
}
