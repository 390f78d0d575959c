/* Makes the area of a CPU: memory that it alone maps, but while it is made. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/area.h"

#include "lib/string.h"
#include "mm/memtype.h"
#include "mm/pt_host.h"

static const struct pt_attr RW = {.perm = PT_R | PT_W, .type = MT_WB};

struct area {
    struct pt pt;
    hpa_t at;
    char *now;     /* where it can be written for the moment */
    uint64_t va;   /* where its CPU maps it */
    uint64_t used; /* bytes given out */
};

static hpa_t take(struct area *area, uint64_t size)
{
    hpa_t taken = hpa(area->at.v + area->used);
    area->used += size;
    assert(area->used <= AREA_SIZE);
    return taken;
}

/* --- its page tables lie in it, too ----------------------------------------------------------- */

static bool table_alloc(struct pt *pt, hpa_t *page)
{
    *page = take(pt->context, PAGE_SIZE);
    return true;
}

/* Nothing in the area is ever unmapped or replaced. */
static void table_free(struct pt *pt, hpa_t page)
{
    (void)pt, (void)page;
    assert(false);
}

static uint64_t *table_at(const struct pt *pt, hpa_t page)
{
    const struct area *area = pt->context;
    assert(page.v - area->at.v < AREA_SIZE);
    return (uint64_t *)(void *)(area->now + (page.v - area->at.v));
}

static void table_invalidate(struct pt *pt, uint64_t va, uint64_t size, struct pt_attr old)
{
    (void)pt, (void)va, (void)size, (void)old;
    assert(false);
}

static const struct pt_owner table_owner = {
    .alloc = table_alloc, .free = table_free, .at = table_at, .invalidate = table_invalidate};

static void map(struct area *area, uint64_t va, hpa_t at, uint64_t size)
{
    int error = pt_map(&area->pt, va, at, size, RW);
    assert(error == 0); /* it has as many pages as it needs */
}

/* --- what is in it ---------------------------------------------------------------------------- */

static void map_stacks(struct area *area, uint32_t index)
{
    map(area, cpu_main_stack(index) - MAIN_STACK_SIZE, take(area, MAIN_STACK_SIZE),
        MAIN_STACK_SIZE);
    for (enum ist ist = IST_DF; ist < IST_COUNT; ist++)
        map(area, cpu_ist_stack(index, ist) - IST_STACK_SIZE, take(area, IST_STACK_SIZE),
            IST_STACK_SIZE);
}

/* A window is an entry of a table page that its CPU writes directly: that page is in its reach. */
static void make_windows(struct area *area, struct cpu *cpu)
{
    uint64_t va = area->va + AREA_WINDOW_OFFSET, table = area->va + AREA_TABLE_OFFSET;
    static_assert(WINDOW_SLOTS * PAGE_SIZE <= CPU_STRIDE - AREA_WINDOW_OFFSET, "in the area");
    map(area, va, area->at, PAGE_SIZE);
    uint64_t *entry = pt_entry(&area->pt, va);
    uint64_t offset = (uint64_t)((char *)entry - area->now);
    map(area, table, hpa(area->at.v + align_down(offset, PAGE_SIZE)), PAGE_SIZE);
    *entry = 0;
    cpu->windows = (char *)va;
    cpu->window_entry = (uint64_t *)(table + offset % PAGE_SIZE);
    for (unsigned type = 0; type < ARRAY_SIZE(cpu->window_bits); type++)
        if (memtype_is_pat(type))
            cpu->window_bits[type] =
                pt_host_format.leaf((struct pt_attr){RW.perm, (uint8_t)type, false}, 1);
}

hpa_t area_make(const struct pt *shared, hpa_t at, char *now, uint32_t index)
{
    struct area area = {.at = at, .now = now, .va = AREA_VA + index * CPU_STRIDE};
    struct cpu *cpu = (struct cpu *)(void *)now;
    assert(index < MAX_CPUS);
    memset(now, 0, AREA_SIZE);
    cpu->index = index;
    hpa_t page = take(&area, PAGE_SIZE);
    int error = pt_init(&area.pt, &pt_host_format, &table_owner, &area, 1);
    assert(error == 0);
    map(&area, (uint64_t)cpu_at(index), page, PAGE_SIZE);
    map_stacks(&area, index);
    make_windows(&area, cpu);
    pt_share(&area.pt, shared, IMAGE_VA);
    assert(area.used == AREA_SIZE);
    return area.pt.root;
}
