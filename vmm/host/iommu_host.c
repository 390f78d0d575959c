/* The machine's IOMMUs: found and turned on once, with everything blocked. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/iommu_host.h"

#include "drivers/apic.h"
#include "drivers/gsi.h"
#include "drivers/iommu_identity.h"
#include "lib/x86.h"
#include "vmm/host/clock.h"
#include "vmm/passthrough/coherence.h"
#include "vmm/host/host.h"
#include "vmm/host/log.h"
#include "vmm/host/panic.h"
#include "vmm/host/pci_host.h"
#include "vmm/host/topology.h"
#include "vmm/host/traps.h"
#include "vmm/host/watchdog.h"

enum { VECTOR_FAULT = APIC_HOST_VECTORS + 2 }; /* behind kicks and the timer */

/* Faults are looked at as they come, but so many times a second (microseconds). */
enum { LOOKS = 8, SECOND = 1000000 };

enum { MOST_DISPLAYS = 4 };

static struct host *host;
static const struct iommu_ops *ops;
static struct iommu_ioapics ioapics;
static struct gsi_table gsis;
static struct host_firmware firmware;
static const struct boot_info *boot_info;
static struct range used[128]; /* registers */
static unsigned used_count;

const struct iommu_ops *iommu_host(void)
{
    return ops;
}

const struct iommu_ioapics *iommu_host_ioapics(void)
{
    return &ioapics;
}

const struct range *iommu_host_registers(unsigned *count)
{
    *count = used_count;
    return used;
}

/* --- what drivers need ------------------------------------------------------------------------ */

static bool find(const char *signature, struct acpi_table *table)
{
    return topology_find(&firmware, boot_info, signature, table);
}

static void *alloc(unsigned pages)
{
    return frames_alloc(&host->frames, pages);
}

static void *take(uint64_t size, hpa_t *where)
{
    return host_take(host, size, where);
}

static void free_page(void *page)
{
    frames_free(&host->frames, page, 1);
}

static hpa_t hpa_of(const void *page)
{
    return frames_hpa(&host->frames, page);
}

static void *at(hpa_t page)
{
    return frames_at(&host->frames, page);
}

static bool keep_used(uint64_t at, uint64_t size)
{
    if (used_count == ARRAY_SIZE(used))
        return false;
    used[used_count++] = (struct range){at, at + size};
    return true;
}

static volatile void *map_mmio(hpa_t registers, uint64_t size)
{
    return keep_used(registers.v, size) ? host_map_mmio(host, registers, size) : NULL;
}

static uint64_t read_register(const volatile void *reg, unsigned size)
{
    return size == 8 ? *(const volatile uint64_t *)reg : *(const volatile uint32_t *)reg;
}

static void write_register(volatile void *reg, unsigned size, uint64_t value)
{
    if (size == 8)
        *(volatile uint64_t *)reg = value;
    else
        *(volatile uint32_t *)reg = (uint32_t)value;
}

/* SDM, "CLFLUSH": a line's length is in CPUID. */
static void flush(const void *from, size_t n)
{
    uint64_t line = cpu_has(1, 3, 19) ? (cpuid(1, 0).ebx >> 8 & 0xff) * 8 : 0;
    if (line == 0) {
        wbinvd();
        return;
    }
    uint64_t end = (uint64_t)from + n;
    mfence();
    for (uint64_t p = (uint64_t)from - (uint64_t)from % line; p < end; p += line)
        clflush((const void *)p);
    mfence();
}

static void stop(const char *why)
{
    panic("%s", why);
}

/* SDM, "Message Address Register Format": to this CPU, which has no remapped interrupts itself. */
static struct iommu_message fault_message(void)
{
    uint64_t id = apic_is_on() ? apic_id() : 0;
    if (!apic_is_on())
        return (struct iommu_message){0};
    return (struct iommu_message){
        .address = 0xfee00000 | (id & 0xff) << 12 | (id & 0xffffff00) << 32, .data = VECTOR_FAULT};
}

/* --- faults ----------------------------------------------------------------------------------- */

static uint64_t second; /* TSC: when it began */
static unsigned looks;  /* in it */
static bool looking;    /* a CPU does; a line of the log may lead here again */

/*
 * As long as one fault stands recorded, the unit does not interrupt for others. LAST: there will be
 * no other look.
 */
static void look_at_faults(bool last)
{
    if (ops == NULL || __atomic_exchange_n(&looking, true, __ATOMIC_ACQUIRE))
        return;
    if (rdtsc() - second > clock_ticks(SECOND)) {
        second = rdtsc();
        looks = 0;
    }
    bool more = looks >= LOOKS && !last; /* or there may be */
    if (!more && ops->faults() > 0) {
        more = true;
        if (++looks == LOOKS)
            log_line("iommu: many faults: others of this second are not reported");
    }
    __atomic_store_n(&looking, false, __ATOMIC_RELEASE);
    if (more && this_cpu()->index == 0)
        watchdog_ask();
}

void iommu_host_look(void)
{
    if (this_cpu()->index == 0)
        look_at_faults(false);
}

void iommu_host_look_last(void)
{
    look_at_faults(true);
}

/* --- displays --------------------------------------------------------------------------------- */

struct display {
    struct iommu_domain domain;
    struct iommu_carried requesters;
};

static bool show(struct display *d, const struct iommu_reserved *reserved)
{
    uint64_t end = PAGE_SIZE;
    for (unsigned i = 0; i < reserved->count; i++)
        end = max_u64(end, reserved->r[i].end);
    if (ops->create(&d->domain, d->requesters.id, d->requesters.count, iommu_bits(end), false) != 0)
        return false;
    for (unsigned i = 0; i < reserved->count; i++) {
        struct range r = reserved->r[i];
        if (ops->map(&d->domain, r.start, hpa(r.start), r.end - r.start, PT_R | PT_W) != 0)
            return false;
    }
    for (unsigned i = 0; i < d->requesters.count; i++)
        ops->attach(d->requesters.id[i], &d->domain);
    return true;
}

/* Gives F, which firmware has left running, the memory that it goes on to show. */
static void keep_display(const struct pci_function *f)
{
    static struct display displays[MOST_DISPLAYS];
    static unsigned count;
    struct iommu_reserved reserved = iommu_reserved(ops->facts, f);
    struct iommu_carried requesters = iommu_requesters(ops->facts, f);
    if (reserved.count == 0 || requesters.count == 0 || count == ARRAY_SIZE(displays))
        return;
    struct display *d = &displays[count++];
    d->requesters = requesters;
    if (!show(d, &reserved))
        return;
    log_line("iommu: the display %s keeps the memory that firmware gave it%s",
             pci_name(f->bdf).text, reserved.more ? ", but not all of it" : "");
}

static void on_fault(uint8_t vector)
{
    (void)vector;
    look_at_faults(false);
}

/* --- lines ------------------------------------------------------------------------------------ */

/* The machine's lines: all of them masked. */
static void start_gsis(struct host *of, const struct boot_info *info)
{
    struct acpi_table madt;
    if (!topology_find(&firmware, info, "APIC", &madt))
        return;
    acpi_gsis(&firmware.firmware, &madt, &gsis);
    (void)gsi_init(of, &gsis);
    for (unsigned i = 0; i < gsis.count; i++)
        (void)keep_used(gsis.chip[i].address, PAGE_SIZE);
}

struct intx_sources iommu_host_intx(void)
{
    struct acpi_table fadt;
    bool found = find("FACP", &fadt);
    return (struct intx_sources){
        .gsis = &gsis,
        .mp_table = boot_info->door == DOOR_UEFI ? NULL : &firmware.firmware,
        .sci = found ? acpi_sci(&firmware.firmware, &fadt) : INTX_NO_IRQ,
    };
}

/* --- the table of devices --------------------------------------------------------------------- */

/* As the device is where no config says more. */
static void log_device(const struct pci_function *f)
{
    struct iommu_facts unit;
    struct coherence says;
    if (!ops->facts(pci_requester(f), &unit)) {
        log_line("pci %s: no IOMMU translates its DMA", pci_name(f->bdf).text);
        return;
    }
    const struct coherence_facts facts = {
        .forces = unit.snoops, .can_force = unit.snoops, .has_bit = f->pcie != 0};
    (void)coherence_judge(&facts, &says);
    log_line("pci %s: iommu %u, %s: %s", pci_name(f->bdf).text, unit.unit,
             says.coherent ? "coherent" : "not coherent", says.why);
}

static void look_at_devices(const struct pci_table *table)
{
    for (const struct pci_function *f = table->f; f < table->f + table->count; f++) {
        if (pci_is_display(f))
            keep_display(f);
        if (!pci_is_bridge(f) && !pci_is_iommu(f))
            log_device(f);
    }
}

/* --- start ------------------------------------------------------------------------------------ */

void iommu_host_start(struct host *of, const struct boot_info *info, bool identity)
{
    static struct iommu_machine machine;
    host = of;
    boot_info = info;
    firmware = topology_firmware(of);
    machine = (struct iommu_machine){
        .firmware = &firmware.firmware,
        .find = find,
        .map = &of->map,
        .phys_bits = (uint8_t)cpu_phys_bits(),
        .x2apic = apic_is_on() && apic_last_id() >= UINT8_MAX,
        .alloc = alloc,
        .free = free_page,
        .take = take,
        .hpa = hpa_of,
        .at = at,
        .map_mmio = map_mmio,
        .read = read_register,
        .write = write_register,
        .flush = flush,
        .stop = stop,
        .faults = fault_message(),
        .config = pci_read32,
        .set_config = pci_write32,
    };
    start_gsis(of, info);
    traps_on_interrupt(VECTOR_FAULT, on_fault);
    if (!identity)
        ops = iommu_start(&machine, &ioapics);
    else if (iommu_identity_ops.start(&machine, &ioapics) == 0)
        ops = &iommu_identity_ops;
    if (identity || ops == NULL)
        return;
    iommu_join_groups(ops, pci_host_functions());
    look_at_devices(pci_host_functions());
}
