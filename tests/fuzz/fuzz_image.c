/* Fuzzes the image planner: any file is answered, and a plan and its information keep their
 * promises. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/host.h"
#include "vmm/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define require(cond)                                                                              \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "broken: %s\n", #cond);                                                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static const struct range ram[] = {{0, 0xc0000000}, {0x100000000, 0x110000000}};

static void read_bytes(const struct image_file *file, uint64_t offset, void *to, size_t n)
{
    require(n <= file->size && offset <= file->size - n);
    memcpy(to, (const char *)file->context + offset, n);
}

static bool meet(struct range a, struct range b)
{
    return a.start < b.end && b.start < a.end;
}

static bool in_ram(struct range a)
{
    return a.end <= ram[0].end || (a.start >= ram[1].start && a.end <= ram[1].end);
}

static struct range place(const struct image_plan *plan, unsigned i)
{
    uint64_t start = plan->segments[i].gpa.v;
    return (struct range){start, start + plan->segments[i].mem_size};
}

static void check_plan(const struct image_plan *plan, uint64_t size)
{
    bool entered = false;
    require(plan->count >= 1 && plan->count <= IMAGE_MAX_SEGMENTS);
    for (unsigned i = 0; i < plan->count; i++) {
        const struct image_segment *s = &plan->segments[i];
        struct range here = place(plan, i);
        require(s->mem_size > 0 && here.start < here.end && in_ram(here) && here.end <= plan->end);
        require(s->file_size <= s->mem_size);
        require(s->file_size == 0 || (s->file_size <= size && s->offset <= size - s->file_size));
        for (unsigned k = 0; k < i; k++)
            require(!meet(place(plan, k), here));
        if (plan->entry >= here.start && plan->entry < here.end)
            entered = true;
    }
    require(entered);
}

/* The sizes of the modules come from the file, too. */
static void check_information(const struct image_plan *plan, const uint8_t *data, size_t size)
{
    static uint8_t out[4096];
    struct image_module modules[2] = {{0, "one", {0}}, {0x123456, "two x y", {0}}};
    struct image_boot boot = {ram, 2, "a command line", modules, 2, {0}};
    struct range places[3];
    size_t used;
    if (size >= sizeof(modules[0].size))
        memcpy(&modules[0].size, data + size - sizeof(modules[0].size), sizeof(modules[0].size));
    if (image_boot_info(plan, &boot, out, sizeof(out), &used) != 0)
        return;
    for (unsigned i = 0; i < 2; i++)
        places[i] = (struct range){modules[i].gpa.v, modules[i].gpa.v + modules[i].size};
    places[2] = (struct range){boot.info.v, boot.info.v + used};
    for (unsigned i = 0; i < 3; i++) {
        struct range p = places[i];
        require(p.start % 4096 == 0 && p.start <= p.end && in_ram(p) && p.end <= UINT32_MAX);
        require(!meet(p, (struct range){0x9fc00, 0x100000}));
        require(i == 2 || p.start >= plan->end);
        for (unsigned k = 0; k < plan->count; k++)
            require(!meet(place(plan, k), p));
        for (unsigned k = 0; k < i; k++)
            require(!meet(places[k], p));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_file file = {"fuzz", size, read_bytes, (void *)(uintptr_t)data};
    struct image_plan plan;
    host_log_reset();
    int result = image_plan(&file, ram, 2, &plan);
    if (result != 0) {
        require(host_log[0] != '\0');
        return 0;
    }
    check_plan(&plan, size);
    check_information(&plan, data, size);
    return 0;
}
