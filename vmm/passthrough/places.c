/* Whether a function's registers are its own. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/passthrough/places.h"

/* SDM, "Message Address Register Format": what is written there is an interrupt; and where I/O
 * APICs are by custom. */
static const struct range interrupts[] = {{0xfec00000, 0xfed00000}, {0xfee00000, 0xfef00000}};

/* Of the ISA bus's and the chipset's own devices; configuration mechanism 1, and the reset. */
static const struct range ports[] = {{0, 0x100}, {0xcf8, 0xd00}};

enum { LOG_PORTS = 8 };

static bool is_in(const struct range *ranges, unsigned count, struct range r)
{
    for (unsigned i = 0; i < count; i++)
        if (ranges_overlap(ranges[i], r))
            return true;
    return false;
}

/* Of a BAR that is not sized the first byte. */
static struct range range_of(const struct pci_bar *bar)
{
    return (struct range){bar->address, bar->address + (bar->size != 0 ? bar->size : 1)};
}

static bool is_memory(const struct memmap *map, struct range r)
{
    return !memmap_is_all(map, r.start, r.end, 1 | 1 << MEM_MMIO);
}

static bool is_config(const struct pci_ecams *ecams, struct range r)
{
    for (unsigned i = 0; i < ecams->count; i++)
        if (ranges_overlap(pci_ecam_range(&ecams->r[i]), r))
            return true;
    return false;
}

/* What bridges pass on is theirs only as far as a BAR says so. */
static bool is_anothers(const struct places *p, const struct pci_function *f, unsigned kind,
                        struct range r)
{
    for (const struct pci_function *other = p->pci->f; other < p->pci->f + p->pci->count; other++)
        for (unsigned i = 0; i < PCI_BARS && other != f; i++)
            if (other->bar[i].kind == kind && other->bar[i].address != 0 &&
                ranges_overlap(range_of(&other->bar[i]), r))
                return true;
    return false;
}

static const char *judge_memory(const struct places *p, const struct pci_bar *bar)
{
    struct range r = range_of(bar);
    if (bar->size == 0)
        return "goes on decoding when it is told not to, so that its BARs cannot be sized; leave "
               "it out";
    if (bar->address == 0 || bar->address % bar->size != 0 || r.end < r.start)
        return "has a BAR that the firmware has not placed; change the firmware's set-up";
    if (is_in(interrupts, ARRAY_SIZE(interrupts), r) || is_in(p->used, p->used_count, r) ||
        is_config(p->ecams, r))
        return "has a BAR over registers that the host uses; change the firmware's set-up";
    if (is_memory(p->map, r))
        return "has a BAR over memory; change the firmware's set-up";
    return NULL;
}

static const char *judge_ports(const struct places *p, const struct pci_bar *bar)
{
    const struct range log = {p->log_port, (uint64_t)p->log_port + LOG_PORTS};
    struct range r = range_of(bar);
    if (is_in(ports, ARRAY_SIZE(ports), r) || (p->log_port != 0 && ranges_overlap(log, r)))
        return "has a BAR over ports that the host uses; change the firmware's set-up";
    return NULL;
}

const char *places_judge(const struct places *p, const struct pci_function *f)
{
    const char *why = NULL;
    for (unsigned i = 0; i < PCI_BARS && why == NULL; i++) {
        const struct pci_bar *bar = &f->bar[i];
        bool io = bar->kind == PCI_BAR_IO;
        if (bar->kind == PCI_BAR_NONE || (io && bar->address == 0))
            continue;
        why = io ? judge_ports(p, bar) : judge_memory(p, bar);
        if (why == NULL && is_anothers(p, f, bar->kind, range_of(bar)))
            why = "has a BAR over another function's; change the firmware's set-up";
    }
    return why;
}
