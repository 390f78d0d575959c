/* The host's own memory: the pool, the page tables that map nothing else, and windows to the rest.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/host.h"

#include "lib/errno.h"
#include "lib/string.h"
#include "lib/x86.h"
#include "mm/memtype.h"
#include "mm/pt_host.h"
#include "vmm/host/area.h"
#include "vmm/host/log.h"
#include "vmm/host/watchdog.h"

/* The boot tables' directory of the GiB at IMAGE_VA: boot/entry.asm. */
extern uint64_t early_pd_high[512];

static const struct pt_attr RW = {.perm = PT_R | PT_W, .type = MT_WB};
static const struct pt_attr RO = {.perm = PT_R, .type = MT_WB};
static const struct pt_attr RX = {.perm = PT_R | PT_X, .type = MT_WB};

static bool table_alloc(struct pt *pt, hpa_t *page)
{
    struct host *host = pt->context;
    void *p = frames_alloc(&host->frames, 1);
    if (p == NULL)
        return false;
    *page = frames_hpa(&host->frames, p);
    return true;
}

static void table_free(struct pt *pt, hpa_t page)
{
    struct host *host = pt->context;
    frames_free(&host->frames, frames_at(&host->frames, page), 1);
}

static uint64_t *table_at(const struct pt *pt, hpa_t page)
{
    const struct host *host = pt->context;
    return frames_at(&host->frames, page);
}

static void table_invalidate(struct pt *pt, uint64_t va, uint64_t size, struct pt_attr old)
{
    (void)pt, (void)old;
    for (uint64_t at = 0; at < size; at += PAGE_SIZE)
        invlpg((const void *)(va + at));
}

static const struct pt_owner table_owner = {
    .alloc = table_alloc, .free = table_free, .at = table_at, .invalidate = table_invalidate};

hpa_t host_address(const struct host *host, const void *pointer)
{
    uint64_t va = (uint64_t)pointer;
    if (va >= IMAGE_VA && va < (uint64_t)image_end)
        return hpa(host->image.v + (va - IMAGE_VA));
    return frames_hpa(&host->frames, pointer);
}

int host_find(const struct host *host, uint64_t size, uint64_t align, uint64_t *at)
{
    if (memmap_find(&host->map, size, align, host->image.v, 4 * GIB, at) == 0)
        return 0;
    return memmap_find(&host->map, size, align, MIB, 4 * GIB, at);
}

/* The pool is one 2 MiB page: the boot tables show it where the host's own will. */
static int take_pool(struct host *host)
{
    uint64_t at;
    static_assert(POOL_SIZE == 2 * MIB, "one boot-time directory entry maps the pool");
    if (host_find(host, POOL_SIZE, POOL_SIZE, &at) != 0) {
        log_line("too little memory: no free 2 MiB below 4 GiB for the hypervisor; "
                 "give the machine more RAM");
        return -ENOMEM;
    }
    early_pd_high[(POOL_VA - IMAGE_VA) / (2 * MIB)] = at | 0x83;
    frames_init(&host->frames, (void *)POOL_VA, hpa(at), POOL_SIZE);
    return memmap_set(&host->map, at, at + POOL_SIZE, MEM_HYPERVISOR);
}

static int map_image(struct host *host)
{
    const struct {
        const char *start, *end;
        struct pt_attr attr;
    } parts[] = {
        {image_start, text_end, RX},
        {text_end, rodata_end, RO},
        {rodata_end, image_end, RW},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        uint64_t va = (uint64_t)parts[i].start;
        int error = pt_map(&host->pt, va, host_address(host, parts[i].start),
                           (uint64_t)parts[i].end - va, parts[i].attr);
        if (error != 0)
            return error;
    }
    return pt_map(&host->pt, POOL_VA, host_address(host, (void *)POOL_VA), POOL_SIZE, RW);
}

/* The boot tables map its area one to one. */
static int make_boot_area(struct host *host)
{
    uint64_t at;
    if (host_find(host, AREA_SIZE, PAGE_SIZE, &at) != 0) {
        log_line("too little memory: no free %lu KiB below 4 GiB for a CPU; give the machine more "
                 "RAM",
                 AREA_SIZE / KIB);
        return -ENOMEM;
    }
    int error = memmap_set(&host->map, at, at + AREA_SIZE, MEM_HYPERVISOR);
    if (error == 0)
        host->boot_root = area_make(&host->pt, hpa(at), (char *)at, 0);
    return error;
}

int host_init(struct host *host, const struct boot_info *info, hpa_t image)
{
    host->image = image;
    int error = memmap_build(info, &host->map);
    if (error == 0)
        error = memmap_set(&host->map, image.v, image.v + (uint64_t)(image_end - image_start),
                           MEM_HYPERVISOR);
    if (error == 0)
        error = take_pool(host);
    unsigned max_leaf = cpu_has(0x80000001, 3, 26) ? 3 : 2;
    if (error == 0)
        error = pt_init(&host->pt, &pt_host_format, &table_owner, host, max_leaf);
    if (error == 0)
        error = map_image(host);
    if (error == 0)
        error = make_boot_area(host);
    return error;
}

int host_make_area(struct host *host, hpa_t at, uint32_t index, hpa_t *root)
{
    int error = pt_map(&host->pt, BUILD_VA, at, AREA_SIZE, RW);
    if (error == 0) {
        *root = area_make(&host->pt, at, (char *)BUILD_VA, index);
        error = pt_unmap(&host->pt, BUILD_VA, AREA_SIZE);
    }
    return error;
}

_Noreturn void host_enter(const struct host *host, void (*next)(void))
{
    write_cr3(host->boot_root.v);
    cpu_load_tables(cpu_at(0));
    __asm__ volatile("mov %0, %%rsp\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "call *%1\n\t"
                     "ud2"
                     :
                     : "r"(cpu_main_stack(0)), "r"(next)
                     : "memory");
    __builtin_unreachable();
}

/* Calls for each page's part of a physical range: the window's bytes, and how many count. */
static void each_page(struct cpu *cpu, hpa_t at, uint64_t n, void *data, const void *source)
{
    for (uint64_t done = 0; done < n;) {
        uint64_t offset = (at.v + done) % PAGE_SIZE;
        uint64_t part = min_u64(n - done, PAGE_SIZE - offset);
        char *bytes = window_open(cpu, WINDOW_BOOT, hpa(at.v + done), MT_WB);
        watchdog_look(); /* a guest's files may be large */
        if (data != NULL)
            memcpy((char *)data + done, bytes, part);
        else if (source != NULL)
            memcpy(bytes, (const char *)source + done, part);
        else
            memset(bytes, 0, part);
        window_close(cpu, WINDOW_BOOT);
        done += part;
    }
}

void host_read(struct cpu *cpu, hpa_t from, void *to, size_t n)
{
    each_page(cpu, from, n, to, NULL);
}

void host_write(struct cpu *cpu, hpa_t to, const void *from, size_t n)
{
    each_page(cpu, to, n, NULL, from);
}

void host_zero(struct cpu *cpu, hpa_t to, uint64_t n)
{
    each_page(cpu, to, n, NULL, NULL);
}

void host_copy(struct cpu *cpu, hpa_t to, hpa_t from, uint64_t n)
{
    for (uint64_t done = 0; done < n;) {
        uint64_t offset = (from.v + done) % PAGE_SIZE;
        uint64_t part = min_u64(n - done, PAGE_SIZE - offset);
        const char *bytes = window_open(cpu, WINDOW_LOAD, hpa(from.v + done), MT_WB);
        host_write(cpu, hpa(to.v + done), bytes, part);
        window_close(cpu, WINDOW_LOAD);
        done += part;
    }
}

/* Maps whole pages for good, where registers are; NULL: out of room. */
static void *map_for_good(struct host *host, hpa_t at, uint64_t bytes, struct pt_attr attr)
{
    uint64_t va = MMIO_VA + host->mmio_used;
    assert(bytes > 0 && bytes <= AREA_VA - va);
    if (pt_map(&host->pt, va, at, bytes, attr) != 0)
        return NULL;
    host->mmio_used += bytes;
    return (void *)va;
}

void *host_take(struct host *host, uint64_t size, hpa_t *at)
{
    if (memmap_find(&host->map, size, PAGE_SIZE, MIB, MEMMAP_END, &at->v) != 0 ||
        memmap_set(&host->map, at->v, at->v + size, MEM_HYPERVISOR) != 0)
        return NULL;
    return map_for_good(host, *at, size, RW);
}

volatile void *host_map_mmio(struct host *host, hpa_t registers, uint64_t size)
{
    const struct pt_attr uncached = {.perm = PT_R | PT_W, .type = MT_UC};
    uint64_t first = align_down(registers.v, PAGE_SIZE);
    uint64_t bytes = align_up(registers.v + size, PAGE_SIZE) - first;
    volatile char *at = map_for_good(host, hpa(first), bytes, uncached);
    if (at == NULL) {
        log_line("host: no memory to map the registers at 0x%lx", registers.v);
        return NULL;
    }
    return at + registers.v % PAGE_SIZE;
}
