/* Which VM gets which of the machine's devices. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/passthrough/assign.h"

#include "lib/errno.h"
#include "lib/format.h"
#include "lib/log.h"

/* A device of a VM that is looked at. */
struct candidate {
    const struct config *config;
    const struct vm_config *vm;
    const struct config_device *wanted;
    const struct pci_table *pci;
    const struct assign_facts *facts;
    const struct pci_function *f;
    struct iommu_carried carried; /* by its requests */
};

static __attribute__((format(printf, 2, 3))) int refuse(const struct candidate *c, const char *fmt,
                                                        ...)
{
    char why[200];
    va_list args;
    va_start(args, fmt);
    format_v(why, sizeof(why), fmt, args);
    va_end(args);
    log_line("nosnoop.cfg:%u: vm %s: device %s %s", c->wanted->line, c->vm->name,
             pci_name((struct pci_bdf){c->wanted->segment, c->wanted->bus, c->wanted->device,
                                       c->wanted->function})
                 .text,
             why);
    return -EINVAL;
}

static bool is_wanted(const struct config_device *device, const struct pci_function *f)
{
    const struct pci_bdf bdf = {device->segment, device->bus, device->device, device->function};
    return pci_same_bdf(bdf, f->bdf);
}

/* The VM that the config gives F to, or NULL. */
static const struct vm_config *vm_of(const struct config *config, const struct pci_function *f)
{
    for (const struct vm_config *vm = config->vms; vm < config->vms + config->vm_count; vm++)
        for (unsigned i = 0; i < vm->device_count; i++)
            if (is_wanted(&vm->devices[i], f))
                return vm;
    return NULL;
}

static bool has_address(const struct pci_function *f, enum pci_bar_kind kind, uint64_t address)
{
    for (unsigned i = 0; i < PCI_BARS; i++)
        if (f->bar[i].kind == kind && f->bar[i].address != 0 &&
            address - f->bar[i].address < f->bar[i].size)
            return true;
    return false;
}

static bool is_log(const struct assign_facts *facts, const struct pci_function *f)
{
    return facts->log_port != 0 && has_address(f, PCI_BAR_IO, facts->log_port);
}

/* Where the firmware says nothing, it is any VGA: it may show what the machine last said. */
static bool is_boot_display(const struct assign_facts *facts, const struct pci_function *f)
{
    const uint32_t vga = 0x030000;
    if (facts->framebuffer != 0)
        return has_address(f, PCI_BAR_MEMORY, facts->framebuffer);
    return f->class == vga;
}

/* Then its entries are the I/O APIC's, too. */
static bool is_like_ioapic(const struct candidate *c)
{
    for (unsigned i = 0; i < c->carried.count; i++)
        if (c->facts->is_ioapic(c->carried.id[i]))
            return true;
    return false;
}

static int check_use(const struct candidate *c)
{
    if (pci_is_bridge(c->f))
        return refuse(c, "is a bridge; name what is behind it");
    if (pci_is_iommu(c->f))
        return refuse(c, "is an IOMMU, which is the host's; leave it out");
    if (is_like_ioapic(c))
        return refuse(c, "sends interrupts as an I/O APIC of the host's does; leave it out");
    if (is_log(c->facts, c->f))
        return refuse(c, "has the UART of the log; write another log in [host]");
    if (is_boot_display(c->facts, c->f) && !c->config->host.dangerous)
        return refuse(c, "is the boot display; write dangerous = yes in [host] if that is meant");
    return 0;
}

/* A display goes on showing its memory, by whatever its ID leads to. */
static bool is_display_with_its_id(const struct candidate *c, const struct pci_function *f)
{
    struct iommu_carried carried = iommu_carried(c->facts->iommu, f);
    return pci_is_display(f) && iommu_share_id(&carried, &c->carried);
}

/* Other functions that no VM has do nothing, and bridges only carry. */
static int check_group(const struct candidate *c)
{
    for (const struct pci_function *f = c->pci->f; f < c->pci->f + c->pci->count; f++) {
        const struct vm_config *vm = vm_of(c->config, f);
        if (f == c->f || f->group != c->f->group || pci_is_bridge(f))
            continue;
        if (vm != NULL && vm != c->vm)
            return refuse(c, "is not isolated from %s of vm %s; give both to one VM",
                          pci_name(f->bdf).text, vm->name);
        if (is_log(c->facts, f) || (vm == NULL && is_boot_display(c->facts, f)))
            return refuse(c, "is not isolated from %s, which the host uses; leave it out",
                          pci_name(f->bdf).text);
        if (vm == NULL && is_display_with_its_id(c, f))
            return refuse(c,
                          "sends by an ID of the display %s, which no VM has; give both to one "
                          "VM, or leave it out",
                          pci_name(f->bdf).text);
    }
    return 0;
}

/* By a port of each 4 that it has there: a BAR for ports has no fewer. */
static bool is_at_channel(const struct pci_function *f, unsigned channel)
{
    static const uint16_t ports[PCI_IDE_CHANNELS][3] = {
        {PCI_IDE_COMMAND, PCI_IDE_COMMAND + 4, PCI_IDE_CONTROL},
        {PCI_IDE_COMMAND_2, PCI_IDE_COMMAND_2 + 4, PCI_IDE_CONTROL_2}};
    bool is = pci_has_isa_channel(f, channel);
    for (unsigned i = 0; i < ARRAY_SIZE(ports[channel]); i++)
        is = is || has_address(f, PCI_BAR_IO, ports[channel][i]);
    return is;
}

/* One that a VM has always decodes; one that no VM has goes on as firmware has left it. */
static bool may_answer(const struct candidate *c, const struct pci_function *f)
{
    return vm_of(c->config, f) != NULL || (pci_read16(f->bdf, PCI_COMMAND) & PCI_COMMAND_IO) != 0;
}

/* What a guest does at an IDE channel's ports is that of one function: no BAR tells which. */
static int check_channel(const struct candidate *c, unsigned channel)
{
    if (!is_at_channel(c->f, channel))
        return 0;
    for (const struct pci_function *f = c->pci->f; f < c->pci->f + c->pci->count; f++)
        if (f != c->f && is_at_channel(f, channel) && may_answer(c, f))
            return refuse(c,
                          "answers at the ports of IDE's %s channel, and so does %s; in the "
                          "firmware's set-up turn one of them off, or to native mode or AHCI",
                          channel == 0 ? "primary" : "secondary", pci_name(f->bdf).text);
    return 0;
}

static int check_channels(const struct candidate *c)
{
    int error = 0;
    for (unsigned i = 0; i < PCI_IDE_CHANNELS && error == 0; i++)
        error = check_channel(c, i);
    return error;
}

static int check_reset(const struct candidate *c)
{
    if (c->f->reset == PCI_RESET_NONE && !c->wanted->no_reset)
        return refuse(c, "cannot be reset; write reset=none behind it if that is meant");
    return 0;
}

/* Facts are large: they have a frame of their own. */
static __attribute__((noinline)) int check_dma(const struct candidate *c)
{
    struct iommu_facts unit;
    bool remaps = true; /* by whichever unit what it sends goes */
    for (unsigned i = 0; i < c->carried.count; i++)
        if (c->facts->iommu(c->carried.id[i], &unit))
            remaps = remaps && unit.remaps;
    if (!c->facts->iommu(pci_requester(c->f), &unit))
        return refuse(c, "has no IOMMU in use; turn it on in the firmware's set-up, or write "
                         "iommu = unsafe-identity in [host] if that is meant");
    if (c->config->host.iommu != IOMMU_UNSAFE_IDENTITY && !remaps)
        return refuse(c, "has an IOMMU that does not remap interrupts: it could send any CPU any "
                         "vector; turn remapping on in the firmware's set-up, or write "
                         "iommu = unsafe-identity in [host] if that is meant");
    return 0;
}

static bool overlap(const struct iommu_reserved *a, const struct iommu_reserved *b)
{
    for (unsigned i = 0; i < a->count; i++)
        for (unsigned k = 0; k < b->count; k++)
            if (ranges_overlap(a->r[i], b->r[k]))
                return true;
    return false;
}

/* What two VMs' devices reach would lead from one VM to the other. Places are many, too. */
static __attribute__((noinline)) int check_reserved(const struct candidate *c)
{
    struct iommu_reserved own = iommu_reserved(c->facts->iommu, c->f);
    if (own.more)
        return refuse(c, "has reserved memory at more than %u places; leave it out",
                      IOMMU_MAX_RESERVED);
    if (own.count > 0 && !c->wanted->map_rmrr)
        return refuse(c, "has reserved memory that the firmware may go on to use; write rmrr=map "
                         "behind it if that is meant");
    for (const struct pci_function *f = c->pci->f; f < c->pci->f + c->pci->count; f++) {
        const struct vm_config *vm = vm_of(c->config, f);
        if (own.count == 0 || vm == NULL || vm == c->vm)
            continue;
        struct iommu_reserved other = iommu_reserved(c->facts->iommu, f);
        if (overlap(&own, &other))
            return refuse(c, "has reserved memory in common with %s of vm %s; give both to one VM",
                          pci_name(f->bdf).text, vm->name);
    }
    return 0;
}

static int check_bars(const struct candidate *c)
{
    for (unsigned i = 0; i < CONFIG_BARS; i++)
        if (c->wanted->bar[i] != CONFIG_NOT_GIVEN && c->f->bar[i].kind != PCI_BAR_MEMORY)
            return refuse(c, "has no memory at BAR %u; leave bar%u= out", i, i);
    return 0;
}

static int check(struct candidate *c)
{
    c->carried = iommu_carried(c->facts->iommu, c->f);
    int error = check_use(c);
    if (error == 0)
        error = check_group(c);
    if (error == 0)
        error = check_channels(c);
    if (error == 0)
        error = check_reset(c);
    if (error == 0)
        error = check_dma(c);
    if (error == 0)
        error = check_reserved(c);
    return error != 0 ? error : check_bars(c);
}

static struct pci_function *find(struct pci_table *pci, const struct config_device *device)
{
    return pci_find(
        pci, (struct pci_bdf){device->segment, device->bus, device->device, device->function});
}

int assign_devices(const struct config *config, const struct vm_config *vm, struct pci_table *pci,
                   const struct assign_facts *facts, struct pci_function *devices[])
{
    int result = 0;
    for (unsigned i = 0; i < vm->device_count; i++) {
        struct candidate c = {
            .config = config, .vm = vm, .wanted = &vm->devices[i], .pci = pci, .facts = facts};
        devices[i] = find(pci, c.wanted);
        c.f = devices[i];
        if ((c.f == NULL ? refuse(&c, "is not there; the lines pci of the log name what is")
                         : check(&c)) != 0)
            result = -EINVAL;
    }
    return result;
}
