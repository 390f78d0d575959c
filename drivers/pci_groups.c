/* PCI: which functions nothing keeps from each other, and under whose name they write memory. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/pci_parts.h"

bool pci_same_device(const struct pci_function *a, const struct pci_function *b)
{
    bool one_bus = a->bdf.segment == b->bdf.segment && a->bdf.bus == b->bdf.bus;
    bool ari = a->parent != NULL && a->parent->ari && a->parent->secondary == a->bdf.bus;
    return one_bus && (ari || a->bdf.device == b->bdf.device);
}

/* What is behind this bridge reaches nothing else but by the way up. */
static bool keeps_apart(const struct pci_function *bridge)
{
    bool express = bridge->port == PCI_PORT_ROOT || bridge->port == PCI_PORT_UPSTREAM ||
                   bridge->port == PCI_PORT_DOWNSTREAM;
    return express && bridge->isolates;
}

/*
 * The function that stands for F's group: the topmost bridge that does not keep apart what is
 * behind it, or F; and of a device whose functions reach each other, the first.
 */
static const struct pci_function *leader(const struct pci_table *table,
                                         const struct pci_function *f)
{
    const struct pci_function *top = f;
    for (const struct pci_function *b = f->parent; b != NULL; b = b->parent)
        if (!keeps_apart(b))
            top = b;
    for (unsigned i = 0; i < table->count && top->multifunction && !top->isolates; i++) {
        const struct pci_function *other = &table->f[i];
        if (pci_same_device(top, other) && !other->isolates)
            return other;
    }
    return top;
}

/* A leader comes before the others: it is nearer to the root, or of a lower number. */
void pci_make_groups(struct pci_table *table)
{
    uint16_t groups = 0;
    for (unsigned i = 0; i < table->count; i++) {
        const struct pci_function *first = leader(table, &table->f[i]);
        table->f[i].group = first == &table->f[i] ? groups++ : first->group;
    }
}

void pci_join_groups(struct pci_table *table, uint16_t a, uint16_t b)
{
    for (unsigned i = 0; i < table->count; i++)
        if (table->f[i].group == b)
            table->f[i].group = a;
}

struct pci_bdf pci_requester(const struct pci_function *f)
{
    struct pci_bdf bdf = f->bdf;
    for (const struct pci_function *b = f->parent; b != NULL; b = b->parent) {
        if (b->port == PCI_PORT_TO_PCI)
            bdf = (struct pci_bdf){b->bdf.segment, b->secondary, 0, 0};
        else if (b->port == PCI_PORT_CONVENTIONAL || b->port == PCI_PORT_FROM_PCI)
            bdf = b->bdf;
    }
    return bdf;
}
