/* The machine's PCI functions: finds them by the firmware's tables, and logs what they are. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/pci_host.h"

#include "lib/format.h"
#include "mm/host_types.h"
#include "mm/memtype.h"
#include "vmm/host/host.h"
#include "vmm/host/log.h"
#include "vmm/host/topology.h"

enum { MOST_PIECES = 64 }; /* of a BAR, by type, that are looked at */

static struct pci_ecams ecams;
static struct pci_table functions;

struct pci_table *pci_host_functions(void)
{
    return &functions;
}

const struct pci_ecams *pci_host_ecams(void)
{
    return &ecams;
}

static void find_ecams(const struct host *host, const struct boot_info *info)
{
    const struct host_firmware from = topology_firmware(host);
    struct acpi_table mcfg;
    if (topology_find(&from, info, "MCFG", &mcfg))
        acpi_ecams(&from.firmware, &mcfg, &host->map, 1ull << cpu_phys_bits(), &ecams);
    pci_use_ecams(&ecams);
    for (unsigned i = 0; i < ecams.count; i++)
        log_line("pci: segment %x buses %02x-%02x by ECAM at 0x%lx", ecams.r[i].segment,
                 ecams.r[i].first, ecams.r[i].last, ecams.r[i].base);
}

/* --- the host's types ------------------------------------------------------------------------- */

/* The type that all of BAR has by the host's MTRRs, or "mixed". A cacheable one is warned of. */
static const char *judge(const struct mtrr_state *mtrr, const struct pci_bar *bar, const char *name)
{
    uint64_t at = bar->address, end = at + bar->size;
    struct mtrr_answer first = mtrr_type(mtrr, at), next = first;
    for (unsigned i = 0; at < end && next.type == first.type && i < MOST_PIECES; i++) {
        at = next.next;
        next = mtrr_type(mtrr, at);
    }
    host_types_judge_bar(mtrr, bar->address, name);
    if (at >= end)
        return memtype_name(first.type);
    host_types_judge_bar(mtrr, at, name);
    return "mixed";
}

/* --- the table -------------------------------------------------------------------------------- */

enum { LINE_SIZE = 200, LONGEST_BAR = 48 };

/* A function's line, or lines where it has much. */
struct line {
    char name[16], text[LINE_SIZE];
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    line->used += format_v(line->text + line->used, sizeof(line->text) - line->used, fmt, args);
    va_end(args);
}

static void end_line(struct line *line)
{
    log_line("pci %s: %s", line->name, line->text);
    line->used = 0;
}

static void add_range(struct line *line, const struct pci_bar *bar)
{
    static const char units[] = "BKMGTPE";
    uint64_t size = bar->size;
    unsigned unit = 0;
    for (; size >= KIB && unit + 2 < sizeof(units); unit++)
        size /= KIB;
    add(line, " 0x%lx", bar->address);
    if (size != 0)
        add(line, "+%lu%c", size, units[unit]);
}

/* As "bar0 mem64p 0xc0000000+16M UC"; the p is for prefetchable. */
static void add_bar(struct line *line, const struct pci_bar *bar, const char *what,
                    const struct mtrr_state *mtrr)
{
    if (bar->kind == PCI_BAR_NONE)
        return;
    if (line->used > LINE_SIZE - LONGEST_BAR)
        end_line(line);
    add(line, "%s%s %s%s%s", line->used == 0 ? "" : ", ", what,
        bar->kind == PCI_BAR_IO ? "io" : "mem", bar->wide ? "64" : "",
        bar->prefetchable ? "p" : "");
    add_range(line, bar);
    if (bar->kind == PCI_BAR_MEMORY && bar->address != 0)
        add(line, " %s", judge(mtrr, bar, line->name));
}

static void log_function(const struct pci_function *f, const struct mtrr_state *mtrr)
{
    static const char *const resets[] = {"none", "FLR", "AF", "PM", "bus"};
    static_assert(ARRAY_SIZE(resets) == PCI_RESET_BUS + 1, "a name for each");
    struct line line = {.used = 0};
    format(line.name, sizeof(line.name), "%s", pci_name(f->bdf).text);
    add(&line, "%04x:%04x class %06x, group %u", f->vendor, f->device, f->class, f->group);
    if (f->secondary != 0)
        add(&line, ", buses %02x-%02x", f->secondary, f->subordinate);
    if (!pci_is_bridge(f))
        add(&line, ", reset %s", resets[f->reset]);
    if (f->sriov != 0)
        add(&line, ", SR-IOV %s", f->virtual_functions ? "turned off" : "off");
    for (unsigned i = 0; i < PCI_BARS; i++) {
        char what[] = {'b', 'a', 'r', (char)('0' + i), 0};
        add_bar(&line, &f->bar[i], what, mtrr);
    }
    add_bar(&line, &f->rom, "rom", mtrr);
    end_line(&line);
}

void pci_host_init(const struct host *host, const struct boot_info *info)
{
    find_ecams(host, info);
    pci_scan(&functions, &ecams);
    for (unsigned i = 0; i < functions.count; i++)
        log_function(&functions.f[i], &host->mtrr);
}
