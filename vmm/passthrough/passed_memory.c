/* Registers of devices that guests have: which of them views map, and the rest, one at a time. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/errno.h"
#include "lib/x86.h"
#include "vmm/host/host.h"
#include "vmm/passthrough/passed.h"
#include "vmm/typing/views.h"
#include "vmm/host/window.h"

/* --- what leads where ------------------------------------------------------------------------- */

static bool overlaps(struct vpci_range a, uint64_t start, uint64_t size)
{
    return a.start < start + size && start < a.start + a.size;
}

/* The guest's own memory and what the hypervisor has in its map win over any BAR. */
static bool is_free(const struct vm *vm, struct vpci_range range)
{
    if (range.start + range.size < range.start ||
        range.start + range.size > 1ull << vm_address_bits(vm))
        return false;
    for (unsigned i = 0; i < vm->ram_count; i++)
        if (overlaps(range, vm->ram[i].start, vm->ram[i].end - vm->ram[i].start))
            return false;
    return !overlaps(range, IOAPIC_ADDRESS, IOAPIC_SIZE) && !overlaps(range, LAPIC_ADDRESS, MIB) &&
           !overlaps(range, VPCI_ECAM_START, VPCI_ECAM_SIZE);
}

/* Of two BARs at one place the first in the config's order counts. */
static bool is_first(const struct passed *d, unsigned bar)
{
    const struct passthrough *p = d->vm->passthrough;
    for (unsigned i = 0; i < p->count; i++)
        for (unsigned k = 0; k < PCI_BARS; k++) {
            const struct passed *other = p->devices[i];
            if (other == d && k == bar)
                return true;
            if (other->real->bar[k].kind == PCI_BAR_MEMORY && other->at[k].size > 0 &&
                overlaps(d->at[bar], other->at[k].start, other->at[k].size))
                return false;
        }
    return true;
}

static bool counts(const struct passed *d, unsigned bar)
{
    return d->real->bar[bar].kind == PCI_BAR_MEMORY && d->at[bar].size > 0 &&
           is_free(d->vm, d->at[bar]) && is_first(d, bar);
}

/* --- what is mapped: whole pages, all but those of an MSI-X table ----------------------------- */

static void add(struct passed_list *list, const struct passed *d, unsigned bar, uint64_t from,
                uint64_t to)
{
    uint16_t type = d->config->bar[bar];
    if (from >= to || list->count == MMIO_MAX_RANGES)
        return;
    list->r[list->count++] = (struct mmio_range){
        .at = {gpa(d->at[bar].start + from), hpa(d->real->bar[bar].address + from), to - from},
        .type = type == CONFIG_NOT_GIVEN ? MMIO_BY_MTRRS : (uint8_t)type,
    };
}

static void add_bar(struct passed_list *list, const struct passed *d, unsigned bar)
{
    const struct vpci_place *table = &d->function.table;
    uint64_t size = d->at[bar].size;
    if (size < PAGE_SIZE)
        return;
    if (table->size == 0 || table->bar != bar) {
        add(list, d, bar, 0, size);
        return;
    }
    add(list, d, bar, 0, align_down(table->offset, PAGE_SIZE));
    add(list, d, bar, align_up(table->offset + table->size, PAGE_SIZE), size);
}

static void list_all(const struct vm *vm, struct passed_list *list)
{
    list->count = 0;
    for (unsigned i = 0; i < vm->passthrough->count; i++)
        for (unsigned bar = 0; bar < PCI_BARS; bar++)
            if (counts(vm->passthrough->devices[i], bar))
                add_bar(list, vm->passthrough->devices[i], bar);
}

void passed_decode(void *context, unsigned bar, struct vpci_range before, struct vpci_range now)
{
    struct passed *d = context;
    const struct vpci_range nowhere = {0, 0};
    (void)before;
    d->at[bar] = d->lost ? nowhere : now;
    d->vm->passthrough->moved |= d->real->bar[bar].kind == PCI_BAR_MEMORY;
}

void passthrough_follow(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    struct passthrough *p = vm->passthrough;
    if (p == NULL)
        return;
    passed_follow_intx(vcpu);
    if (!p->moved)
        return;
    p->moved = false;
    list_all(vm, &p->list);
    views_set_mmio(vcpu, p->list.r, p->list.count);
}

void passed_place_at_rest(struct vm *vm)
{
    struct passthrough *p = vm->passthrough;
    p->moved = false;
    list_all(vm, &p->list);
    views_set_mmio_at_rest(vm, p->list.r, p->list.count);
}

int passed_map_table(struct passed *d)
{
    const struct vpci_place *table = &d->function.table;
    if (table->size == 0)
        return 0;
    uint64_t at = d->real->bar[table->bar].address + table->offset;
    uint64_t start = align_down(at, PAGE_SIZE);
    volatile char *mapped =
        host_map_mmio(d->vm->host, hpa(start), align_up(at + table->size, PAGE_SIZE) - start);
    if (mapped == NULL)
        return -ENOMEM;
    d->table = (volatile uint32_t *)(volatile void *)(mapped + (at - start));
    return 0;
}

/* --- what is not mapped ----------------------------------------------------------------------- */

/* A BAR for ports that firmware has not placed leads to none of the device's. */
static struct passed *find(const struct vm *vm, uint64_t at, enum pci_bar_kind kind, unsigned *bar)
{
    const struct passthrough *p = vm->passthrough;
    for (unsigned i = 0; p != NULL && i < p->count; i++)
        for (*bar = 0; *bar < PCI_BARS; ++*bar) {
            struct passed *d = p->devices[i];
            if (d->real->bar[*bar].kind == kind && at - d->at[*bar].start < d->at[*bar].size &&
                (kind == PCI_BAR_IO ? d->real->bar[*bar].address != 0 : counts(d, *bar)))
                return d;
        }
    return NULL;
}

bool passthrough_is_mmio(const struct vm *vm, gpa_t gpa)
{
    unsigned bar;
    return find(vm, gpa.v, PCI_BAR_MEMORY, &bar) != NULL;
}

static uint64_t read_register(const volatile void *at, unsigned width)
{
    return width == 1   ? *(const volatile uint8_t *)at
           : width == 2 ? *(const volatile uint16_t *)at
           : width == 4 ? *(const volatile uint32_t *)at
                        : *(const volatile uint64_t *)at;
}

static void write_register(volatile void *at, unsigned width, uint64_t value)
{
    if (width == 1)
        *(volatile uint8_t *)at = (uint8_t)value;
    else if (width == 2)
        *(volatile uint16_t *)at = (uint16_t)value;
    else if (width == 4)
        *(volatile uint32_t *)at = (uint32_t)value;
    else
        *(volatile uint64_t *)at = value;
}

/*
 * False: there is none, or the access leaves it: behind it may be another device's. With the bus's
 * lock, until the access is done: another vCPU could move the BAR in between.
 */
static bool find_register(const struct vm *vm, gpa_t gpa, unsigned width, struct passed **d,
                          unsigned *bar, uint64_t *offset)
{
    *d = find(vm, gpa.v, PCI_BAR_MEMORY, bar);
    *offset = *d == NULL ? 0 : gpa.v - (*d)->at[*bar].start;
    return *d != NULL && *offset + width <= (*d)->at[*bar].size;
}

/* The MSI-X table is the model's. */
static uint64_t read_at(struct vcpu *vcpu, gpa_t gpa, unsigned width)
{
    unsigned bar;
    struct passed *d;
    uint64_t value = UINT64_MAX, offset;
    if (!find_register(vcpu->vm, gpa, width, &d, &bar, &offset) ||
        vpci_read_table(&d->function, bar, offset, width, &value))
        return value;
    hpa_t at = hpa(d->real->bar[bar].address + offset);
    value = read_register(window_open(vcpu->cpu, WINDOW_DATA, at, MT_UC), width);
    window_close(vcpu->cpu, WINDOW_DATA);
    return value;
}

static void write_at(struct vcpu *vcpu, gpa_t gpa, unsigned width, uint64_t value)
{
    unsigned bar;
    struct passed *d;
    uint64_t offset;
    if (!find_register(vcpu->vm, gpa, width, &d, &bar, &offset) ||
        vpci_write_table(&d->function, bar, offset, width, value))
        return;
    hpa_t at = hpa(d->real->bar[bar].address + offset);
    write_register(window_open(vcpu->cpu, WINDOW_DATA, at, MT_UC), width, value);
    window_close(vcpu->cpu, WINDOW_DATA);
}

uint64_t passthrough_read(struct vcpu *vcpu, gpa_t gpa, unsigned width)
{
    request_lock(&vcpu->vm->pci_lock, vcpu->cpu_index);
    uint64_t value = read_at(vcpu, gpa, width);
    request_unlock(&vcpu->vm->pci_lock);
    return value;
}

void passthrough_write(struct vcpu *vcpu, gpa_t gpa, unsigned width, uint64_t value)
{
    request_lock(&vcpu->vm->pci_lock, vcpu->cpu_index);
    write_at(vcpu, gpa, width, value);
    request_unlock(&vcpu->vm->pci_lock);
}

/* --- ports ------------------------------------------------------------------------------------ */

/* The machine's port behind a guest's, which an IDE channel's are; an access that leaves the BAR is
 * none. */
static bool real_port(const struct vm *vm, uint16_t port, unsigned width, uint16_t *real)
{
    unsigned bar;
    const struct passed *d = find(vm, port, PCI_BAR_IO, &bar);
    *real = port;
    if (d == NULL)
        return passed_is_ide(vm, port, width);
    if (port - d->at[bar].start + width > d->at[bar].size)
        return false;
    *real = (uint16_t)(d->real->bar[bar].address + (port - d->at[bar].start));
    return true;
}

/* The same, and where there is one the bus is locked: as with registers. */
static bool lock_port(struct vcpu *vcpu, uint16_t port, unsigned width, uint16_t *real)
{
    struct vm *vm = vcpu->vm;
    if (vm->passthrough == NULL)
        return false;
    request_lock(&vm->pci_lock, vcpu->cpu_index);
    if (real_port(vm, port, width, real))
        return true;
    request_unlock(&vm->pci_lock);
    return false;
}

uint32_t passthrough_in(struct vcpu *vcpu, uint16_t port, unsigned width)
{
    uint16_t real;
    if (!lock_port(vcpu, port, width, &real)) {
        vcpu->port_reads++;
        return UINT32_MAX;
    }
    uint32_t value = width == 1 ? in8(real) : width == 2 ? in16(real) : in32(real);
    request_unlock(&vcpu->vm->pci_lock);
    passed_touch_ide(vcpu, port);
    return value;
}

void passthrough_out(struct vcpu *vcpu, uint16_t port, unsigned width, uint32_t value)
{
    uint16_t real;
    if (!lock_port(vcpu, port, width, &real)) {
        vcpu->port_writes++;
        return;
    }
    if (width == 1)
        out8(real, (uint8_t)value);
    else if (width == 2)
        out16(real, (uint16_t)value);
    else
        out32(real, value);
    request_unlock(&vcpu->vm->pci_lock);
    passed_touch_ide(vcpu, port);
}
