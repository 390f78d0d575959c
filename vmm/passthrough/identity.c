/* VMs whose memory lies at the machine's own addresses. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/passthrough/identity.h"

#include "boot/boot_info.h"
#include "lib/errno.h"
#include "vmm/host/host.h"
#include "vmm/host/log.h"
#include "vmm/vm.h"

/* --- way for guests' kernels ------------------------------------------------------------------ */

static struct range pages_of(uint64_t at, uint64_t size)
{
    return (struct range){align_down(at, PAGE_SIZE), align_up(at + size, PAGE_SIZE)};
}

/* What is of FROM in RANGE is free from now on. */
static void release(struct host *host, struct range range, enum mem_kind from)
{
    uint64_t next;
    for (uint64_t at = range.start; at < range.end; at = next) {
        unsigned kind = memmap_kind_at(&host->map, at, &next);
        next = min_u64(next, range.end);
        if (kind == from)
            (void)memmap_set(&host->map, at, next, MEM_RAM);
    }
}

/* Its bytes are copied: of the old ones no page is free as long as another file may be there. */
static void move_file(struct host *host, struct boot_file *file)
{
    struct range pages = pages_of(file->hpa, file->size);
    uint64_t size = pages.end - pages.start, to;
    if (size == 0 || memmap_find(&host->map, size, PAGE_SIZE, host->image.v, 4 * GIB, &to) != 0 ||
        memmap_set(&host->map, to, to + size, MEM_FILE) != 0)
        return;
    host_copy(this_cpu(), hpa(to), hpa(pages.start), size);
    file->hpa = to + (file->hpa - pages.start);
}

/* The boot loader's copy lies in memory that is free by firmware's map; firmware's own stays. */
static void release_rsdp(struct host *host, struct boot_info *info)
{
    for (uint32_t i = 0; i < info->range_count; i++) {
        const struct mem_range *r = &info->ranges[i];
        if (r->kind == MEM_RAM && info->rsdp - r->start < r->end - r->start) {
            release(host, pages_of(info->rsdp, 1), MEM_ACPI);
            info->rsdp = 0;
            return;
        }
    }
}

void identity_make_way(struct host *host, struct boot_info *info)
{
    struct range old[BOOT_MAX_FILES];
    for (uint32_t i = 0; i < info->file_count; i++) {
        struct boot_file *file = &info->files[i];
        old[i] = (struct range){0, 0};
        if (file->hpa >= host->image.v)
            continue;
        struct range pages = pages_of(file->hpa, file->size);
        move_file(host, file);
        if (file->hpa >= host->image.v)
            old[i] = pages;
    }
    for (uint32_t i = 0; i < info->file_count; i++)
        release(host, old[i], MEM_FILE);
    release_rsdp(host, info);
}

/* --- memory ----------------------------------------------------------------------------------- */

#define LOW_END (640 * KIB)

static void add_ram(struct vm *vm, const struct extent *e)
{
    struct range *last = &vm->ram[vm->ram_count - 1];
    if (last->end == e->gpa.v)
        last->end += e->size;
    else
        vm->ram[vm->ram_count++] = (struct range){e->gpa.v, e->gpa.v + e->size};
}

/* Adds up to BYTES of GPAS; returns how many. */
static uint64_t add_same(struct vm *vm, struct range gpas, uint64_t bytes)
{
    unsigned count;
    struct extent *next = &vm->extents[vm->extent_count];
    uint64_t got =
        extents_alloc_same(&vm->host->guest, gpas, bytes, next, VM_MAX_RAM - vm->ram_count, &count);
    for (unsigned i = 0; i < count; i++)
        add_ram(vm, &next[i]);
    vm->extent_count += count;
    return got;
}

/* Where what is free from page 1 on ends, below 640 KiB. */
static uint64_t take_low(struct vm *vm)
{
    unsigned count;
    struct extent *e = &vm->extents[vm->extent_count];
    (void)extents_alloc_same(&vm->host->guest, (struct range){PAGE_SIZE, LOW_END},
                             LOW_END - PAGE_SIZE, e, 1, &count);
    if (count == 0 || e->gpa.v != PAGE_SIZE) {
        extents_free(&vm->host->guest, e, count);
        return PAGE_SIZE;
    }
    vm->extent_count++;
    return PAGE_SIZE + e->size;
}

static int add_elsewhere(struct vm *vm, struct range gpas)
{
    unsigned count;
    int error = extents_alloc(&vm->host->guest, gpas, &vm->extents[vm->extent_count],
                              VM_MAX_EXTENTS - vm->extent_count, &count);
    vm->extent_count += count;
    return error;
}

int identity_back(struct vm *vm)
{
    uint64_t bytes = vm->config->memory - MIB, low = take_low(vm);
    vm->low_end = min_u64(low, IMAGE_LOW_END);
    vm->ram[0] = (struct range){0, MIB};
    vm->ram_count = 1;
    uint64_t got = add_same(vm, (struct range){MIB, GUEST_HOLE_START}, bytes);
    got += add_same(vm, (struct range){GUEST_HOLE_END, 1ull << vm_address_bits(vm)}, bytes - got);
    if (got < bytes) {
        log_line("vm %s: memory = %lu KiB, and at addresses that a guest may have (iommu = "
                 "unsafe-identity) the machine has %lu KiB free in %u pieces; lower it",
                 vm->config->name, vm->config->memory / KIB, (MIB + got) / KIB, vm->extent_count);
        return -ENOMEM;
    }
    int error = add_elsewhere(vm, (struct range){0, PAGE_SIZE});
    return error != 0 ? error : add_elsewhere(vm, (struct range){low, MIB});
}
