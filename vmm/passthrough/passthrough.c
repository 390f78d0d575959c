/* The machine's devices in the hands of VMs: who gets them, and their way from and to reset. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/passthrough/passthrough.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/format.h"
#include "lib/x86.h"
#include "drivers/serial.h"
#include "vmm/passthrough/assign.h"
#include "vmm/host/clock.h"
#include "vmm/host/host.h"
#include "vmm/host/iommu_host.h"
#include "vmm/host/log.h"
#include "vmm/passthrough/passed.h"
#include "vmm/host/pci_host.h"
#include "vmm/passthrough/places.h"
#include "vmm/devices/platform.h"
#include "vmm/host/request.h"
#include "vmm/host/smp.h"
#include "vmm/instruments/trace.h"
#include "vmm/vm.h"
#include "vmm/host/watchdog.h"

/* --- the real function ------------------------------------------------------------------------ */

static uint32_t read_real(void *context, unsigned reg, unsigned size)
{
    const struct pci_bdf bdf = ((const struct passed *)context)->real->bdf;
    return size == 1   ? pci_read8(bdf, reg)
           : size == 2 ? pci_read16(bdf, reg)
                       : pci_read32(bdf, reg);
}

static void write_real(void *context, unsigned reg, unsigned size, uint32_t value)
{
    const struct pci_bdf bdf = ((const struct passed *)context)->real->bdf;
    if (size == 1)
        pci_write8(bdf, reg, (uint8_t)value);
    else if (size == 2)
        pci_write16(bdf, reg, (uint16_t)value);
    else
        pci_write32(bdf, reg, value);
}

/* A device may take long to come back: other CPUs have what they ask for meanwhile. */
static void wait_us(uint32_t us)
{
    uint64_t until = rdtsc() + clock_ticks(us);
    while (rdtsc() < until) {
        request_serve(this_cpu()->index);
        watchdog_look();
        cpu_relax();
    }
}

/*
 * A function that cannot be reset keeps what it has, which the config has accepted. One that does
 * not come back may do anything: it never masters the bus again before it does.
 */
static void reset_real(void *context)
{
    struct passed *d = context;
    if (d->real->reset == PCI_RESET_NONE)
        return;
    bool lost = pci_reset(d->real, wait_us) != 0;
    if (lost && !d->lost)
        log_line("vm %s: device %s does not come back from its reset", d->vm->config->name,
                 pci_name(d->real->bdf).text);
    d->lost = lost;
    pci_restore(d->real, &d->saved);
}

/*
 * What a guest maps of it no view has while it decodes nothing: on some machines a request that
 * nobody answers is an error that ends all (PCI Express Base Specification, "Unsupported Request",
 * "Error Signaling").
 */
static void reset_by_guest(void *context)
{
    const struct passed *d = context;
    if (!d->vm->passthrough->at_rest)
        passthrough_follow(this_cpu()->vcpu);
    reset_real(context);
}

static bool master_bus(void *context, bool on)
{
    const struct passed *d = context;
    const struct pci_bdf id = d->requester;
    bool masters = on && d->reachable && !d->lost;
    trace(TRACE_MASTER, masters, 0, (uint64_t)id.segment << 16 | pci_id(id), 0);
    return masters;
}

static const struct vpci_ops ops = {
    .read = read_real,
    .write = write_real,
    .bus_master = master_bus,
    .decode = passed_decode,
    .interrupts = passed_interrupts,
    .message = passed_message,
    .reset = reset_by_guest,
};

/* --- making ----------------------------------------------------------------------------------- */

int passed_refuse(const struct passed *d, const char *fmt, ...)
{
    char why[160];
    va_list args;
    va_start(args, fmt);
    format_v(why, sizeof(why), fmt, args);
    va_end(args);
    log_line("nosnoop.cfg:%u: vm %s: device %s %s", d->config->line, d->vm->config->name,
             pci_name(d->real->bdf).text, why);
    return -EINVAL;
}

/* Whether none of its DMA misses the caches; and that the config agrees. */
static int judge_coherence(struct passed *d, bool forces)
{
    struct iommu_facts unit;
    const struct coherence_facts facts = {
        .dma = d->config->dma,
        .forces = forces,
        .can_force = iommu_host()->facts(d->requester, &unit) && unit.snoops,
        .has_bit = d->real->pcie != 0,
    };
    int error = coherence_judge(&facts, &d->coherence);
    if (error != 0)
        return passed_refuse(d, "cannot be made coherent: %s; leave dma=coherent out",
                             d->coherence.why);
    log_line("vm %s: device %s is %s: %s", d->vm->config->name, pci_name(d->real->bdf).text,
             d->coherence.coherent ? "coherent" : "not coherent", d->coherence.why);
    return 0;
}

static int check_places(const struct passed *d)
{
    struct places places = {.map = &d->vm->host->map,
                            .pci = pci_host_functions(),
                            .ecams = pci_host_ecams(),
                            .log_port = log_port()};
    places.used = iommu_host_registers(&places.used_count);
    const char *why = places_judge(&places, d->real);
    return why == NULL ? 0 : passed_refuse(d, "%s", why);
}

static struct passed *make_one(struct vm *vm, unsigned i, struct pci_function *real)
{
    enum { PAGES = (sizeof(struct passed) + PAGE_SIZE - 1) / PAGE_SIZE };
    struct passed *d = frames_alloc(&vm->host->frames, PAGES);
    if (d == NULL) {
        log_line("vm %s: no memory for its devices", vm->config->name);
        return NULL;
    }
    *d = (struct passed){.vm = vm, .real = real, .config = &vm->config->devices[i]};
    d->requester = pci_requester(real);
    real->owner = vm;
    return d;
}

/* All that D sends reaches DOMAIN; NULL: nothing. */
static void attach(const struct passed *d, struct iommu_domain *domain)
{
    struct iommu_carried requesters = iommu_requesters(iommu_host()->facts, d->real);
    for (unsigned i = 0; i < requesters.count; i++)
        iommu_host()->attach(requesters.id[i], domain);
}

static void make_function(struct passed *d)
{
    const struct vpci_setup setup = {
        .real = d->real,
        .ops = &ops,
        .context = d,
        .entries = d->entries,
        .entry_count = PASSED_MAX_ENTRIES,
        .vectors = PASSED_MSI_VECTORS,
        .line = IRQ_PCI,
        .intx = d->intx.line != NULL,
        .snoops = d->coherence.coherent,
        .resets = d->real->reset != PCI_RESET_NONE,
    };
    vpci_create(&d->function, &setup);
}

static int map_memory(struct vm *vm)
{
    int error = 0;
    for (unsigned i = 0; i < vm->extent_count && error == 0; i++) {
        const struct extent *e = &vm->extents[i];
        error = iommu_host()->map(&vm->passthrough->domain, e->gpa.v, e->hpa, e->size, PT_R | PT_W);
    }
    return error;
}

/* Whether the VM's devices know memory of its own by these addresses. */
static bool is_own(const struct vm *vm, struct range r)
{
    for (unsigned i = 0; i < vm->ram_count; i++)
        if (ranges_overlap(r, vm->ram[i]))
            return true;
    return false;
}

/* What firmware goes on to use by a device, which the config has allowed. */
static int map_reserved(struct passthrough *p, const struct passed *d)
{
    struct iommu_reserved reserved = iommu_reserved(iommu_host()->facts, d->real);
    int error = 0;
    for (unsigned i = 0; i < reserved.count && error == 0; i++) {
        struct range r = reserved.r[i];
        if (is_own(d->vm, r))
            return passed_refuse(d, "has reserved memory where the VM has its own; give the VM "
                                    "less, or leave the device out");
        error = iommu_host()->map(&p->domain, r.start, hpa(r.start), r.end - r.start, PT_R | PT_W);
    }
    return error;
}

/* Behind the last address that the VM's devices are to reach. */
static uint64_t end_of_reach(const struct vm *vm)
{
    const struct passthrough *p = vm->passthrough;
    uint64_t end = PAGE_SIZE;
    for (unsigned i = 0; i < vm->extent_count; i++)
        end = max_u64(end, vm->extents[i].gpa.v + vm->extents[i].size);
    for (unsigned i = 0; i < p->count; i++) {
        struct iommu_reserved reserved = iommu_reserved(iommu_host()->facts, p->devices[i]->real);
        for (unsigned k = 0; k < reserved.count; k++)
            end = max_u64(end, reserved.r[k].end);
    }
    return end;
}

/* One domain for all: they snoop if every one of their units can make them, and nobody minds. */
static int make_domain(struct vm *vm)
{
    struct passthrough *p = vm->passthrough;
    bool snoops = true;
    p->requester_count = 0;
    for (unsigned i = 0; i < p->count; i++) {
        struct iommu_carried known = iommu_requesters(iommu_host()->facts, p->devices[i]->real);
        snoops = snoops && p->devices[i]->config->dma != DMA_NON_COHERENT;
        for (unsigned k = 0; k < known.count; k++) {
            struct iommu_facts facts;
            snoops = snoops && iommu_host()->facts(known.id[k], &facts) && facts.snoops;
            p->requesters[p->requester_count++] = known.id[k];
        }
    }
    int error = iommu_host()->create(&p->domain, p->requesters, p->requester_count,
                                     iommu_bits(end_of_reach(vm)), snoops);
    if (error == 0)
        error = map_memory(vm);
    for (unsigned i = 0; i < p->count && error == 0; i++)
        error = map_reserved(p, p->devices[i]);
    if (error == 0 && p->domain.pt.pages > 0)
        log_line("vm %s: its devices reach its memory by %u table pages", vm->config->name,
                 p->domain.pt.pages);
    p->coherent = error == 0;
    for (unsigned i = 0; i < p->count && error == 0; i++) {
        error = judge_coherence(p->devices[i], p->domain.snoops);
        p->coherent &= p->devices[i]->coherence.coherent;
    }
    return error;
}

static int make_devices(struct vm *vm, struct pci_function *const *real)
{
    struct passthrough *p = vm->passthrough;
    int error = 0;
    for (unsigned i = 0; i < vm->config->device_count && error == 0; i++) {
        p->devices[i] = make_one(vm, i, real[i]);
        if (p->devices[i] == NULL)
            return -ENOMEM;
        p->count++;
        pci_save(p->devices[i]->real, &p->devices[i]->saved);
        error = check_places(p->devices[i]);
        if (error == 0)
            error = passed_find_lines(p->devices[i]);
    }
    return error;
}

static int make_function_of(struct passed *d)
{
    reset_real(d);
    if (d->lost)
        return passed_refuse(d, "cannot be used without a reset; turn the machine off and on");
    make_function(d);
    if (d->coherence.by_bit && !vpci_holds_no_snoop(&d->function))
        return passed_refuse(
            d, "does not keep its Enable No Snoop at 0, and dma=coherent is asked for; "
               "leave that out");
    if (d->intx.missing && !vpci_has_messages(&d->function))
        return passed_refuse(d, "has no INTx and no other interrupt, as the line above says; write "
                                "intx=GSI behind it");
    int error = passed_map_table(d);
    return error != 0 ? error : passed_make_irqs(d);
}

static int fill_bus(struct vm *vm)
{
    struct vpci *functions[CONFIG_MAX_DEVICES];
    struct passthrough *p = vm->passthrough;
    for (unsigned i = 0; i < p->count; i++) {
        int error = make_function_of(p->devices[i]);
        if (error != 0)
            return error;
        functions[i] = &p->devices[i]->function;
        attach(p->devices[i], &p->domain);
        p->devices[i]->reachable = true;
    }
    vpci_bus_fill(&vm->pci, functions, p->count);
    for (unsigned i = 0; i < p->count; i++)
        passed_make_intx(p->devices[i]);
    return 0;
}

static bool iommu_of(struct pci_bdf requester, struct iommu_facts *facts)
{
    *facts = (struct iommu_facts){.alias = requester};
    return iommu_host() != NULL && iommu_host()->facts(requester, facts);
}

static bool is_ioapic(struct pci_bdf id)
{
    const struct iommu_ioapics *chips = iommu_host_ioapics();
    for (unsigned i = 0; i < chips->count; i++)
        if (pci_same_bdf(chips->r[i].requester, id) || pci_same_bdf(chips->r[i].alias, id))
            return true;
    return false;
}

bool passthrough_is_noncoherent(const struct vm *vm)
{
    return vm->passthrough != NULL && !vm->passthrough->coherent;
}

int passthrough_create(struct vm *vm, const struct config *config)
{
    enum { PAGES = (sizeof(struct passthrough) + PAGE_SIZE - 1) / PAGE_SIZE };
    struct pci_function *real[CONFIG_MAX_DEVICES];
    const struct assign_facts facts = {
        .log_port = log_port(),
        .framebuffer = vm->boot->framebuffer.format != 0 ? vm->boot->framebuffer.hpa : 0,
        .iommu = iommu_of,
        .is_ioapic = is_ioapic,
    };
    if (vm->config->device_count == 0)
        return 0;
    int error = assign_devices(config, vm->config, pci_host_functions(), &facts, real);
    if (error != 0)
        return error;
    vm->passthrough = frames_alloc(&vm->host->frames, PAGES);
    if (vm->passthrough == NULL)
        return -ENOMEM;
    error = make_devices(vm, real);
    if (error == 0)
        error = make_domain(vm);
    return error != 0 ? error : fill_bus(vm);
}

/*
 * SDM, "Message Address Register Format", "Physical Destination Mode": without remapping an APIC ID
 * has 8 bits there, and 255 are all CPUs.
 */
static bool reaches(struct pci_bdf requester, uint32_t apic_id)
{
    struct iommu_facts facts;
    return apic_id < UINT8_MAX || (iommu_host()->facts(requester, &facts) && facts.x2apic);
}

/* A line's interrupts go by the I/O APIC's unit, which the firmware's tables name for it. */
static bool line_reaches(const struct passed_line *line, uint32_t apic_id)
{
    const struct iommu_ioapics *chips = iommu_host_ioapics();
    bool far = true;
    for (unsigned i = 0; i < chips->count && line->line != NULL; i++)
        if (pci_same_bdf(chips->r[i].requester, line->line->chip))
            far = far && chips->r[i].x2apic;
    return apic_id < UINT8_MAX || far;
}

int passthrough_prepare_cpu(const struct vm *vm)
{
    const struct passthrough *p = vm->passthrough;
    uint32_t id = smp_apic_id(this_cpu()->index);
    for (unsigned i = 0; p != NULL && i < p->count; i++) {
        const struct passed *d = p->devices[i];
        bool all = reaches(d->requester, id) && line_reaches(&d->intx, id);
        for (unsigned k = 0; k < PCI_IDE_CHANNELS; k++)
            all = all && line_reaches(&d->channel[k], id);
        if (!all)
            return passed_refuse(d, "cannot interrupt CPUs with APIC IDs above 254; pin the VM to "
                                    "others");
    }
    return p != NULL ? irq_prepare(vm->host) : 0;
}

/* --- reset and end ---------------------------------------------------------------------------- */

void passthrough_reset(struct vm *vm)
{
    struct passthrough *p = vm->passthrough;
    if (p == NULL)
        return;
    for (unsigned i = 0; i < p->count; i++)
        passed_forget_irqs(p->devices[i]);
    p->at_rest = true;
    vpci_bus_reset(&vm->pci);
    p->at_rest = false;
    for (unsigned i = 0; i < p->count; i++)
        passed_open_channels(p->devices[i], true);
    p->silent = 0;
    devices_level_pci(vm);
    passed_place_at_rest(vm);
}

static void leave_bus(struct passed *d)
{
    uint16_t command = pci_read16(d->real->bdf, PCI_COMMAND);
    d->reachable = false;
    pci_write16(d->real->bdf, PCI_COMMAND, command & (uint16_t)~PCI_COMMAND_MASTER);
}

/* Devices may share an ID: none masters the bus any more as the first one's leads nowhere. */
void passthrough_end(struct vm *vm)
{
    struct passthrough *p = vm->passthrough;
    if (p == NULL)
        return;
    for (unsigned i = 0; i < p->count; i++)
        leave_bus(p->devices[i]);
    for (unsigned i = 0; i < p->count; i++) {
        passed_forget_irqs(p->devices[i]);
        attach(p->devices[i], NULL);
    }
    for (unsigned i = 0; i < p->count; i++)
        reset_real(p->devices[i]);
    iommu_host_look_last();
}
