/*
 * Fuzzes the two image loaders: the guest's (multiboot 1, ELF or address fields) and the UEFI
 * loader's of the kernel. Any file is answered; a plan keeps its promises, and the multiboot
 * information that the guest finds is read back by the multiboot door.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/efi/elf.h"
#include "boot/mb1.h"
#include "lib/errno.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/image.h"

enum { INFO_SIZE = 4096, MOST_BUILT = 0x10000 };

/* The guest's RAM; a small one where the file's last byte is odd. */
static const struct range large_ram[] = {{0, 0xc0000000}, {0x100000000, 0x110000000}};
static const struct range small_ram[] = {{0, 0x200000}};
static const struct range *ram;
static unsigned ram_count;

/* --- the guest's image ------------------------------------------------------------------------ */

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
    for (unsigned i = 0; i < ram_count; i++)
        if (a.start >= ram[i].start && a.end <= ram[i].end)
            return true;
    return false;
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

/* --- what the guest finds --------------------------------------------------------------------- */

static uint8_t built[INFO_SIZE];
static uint64_t built_at, built_size;

static const void *at(uint64_t hpa)
{
    return hpa >= built_at && hpa < built_at + built_size ? built + (hpa - built_at) : NULL;
}

/* A file whose string and bytes are those of the module. */
static void check_module(const struct boot_file *file, const struct image_module *module)
{
    require(strcmp(file->string, module->string) == 0);
    require(file->hpa == module->gpa.v && file->size == module->size);
}

/* RAM is where the guest has RAM, less the two ranges that the guest-physical map reserves. */
static void check_map(const struct boot_info *info)
{
    for (unsigned i = 0; i < info->range_count; i++) {
        struct range r = {info->ranges[i].start, info->ranges[i].end};
        bool reserved = meet(r, (struct range){0x9fc00, 0x100000}) ||
                        meet(r, (struct range){0xc0000000, 0x100000000});
        require(info->ranges[i].kind == (reserved ? MEM_FIRMWARE : MEM_RAM));
        require(reserved || in_ram(r));
    }
    require(info->range_count == 3 + ram_count);
}

static void check_read_back(const struct image_boot *boot, size_t used)
{
    static struct boot_info info;
    struct mb1_info mb;
    built_at = boot->info.v;
    built_size = used;
    memcpy(&mb, built, sizeof(mb));
    require(mb1_boot_info(&mb, at, &info) == 0);
    require(strcmp(info.loader, "nosnoop") == 0 && at(mb.cmdline) != NULL);
    require(strcmp(at(mb.cmdline), boot->cmdline) == 0);
    require(mb.mem_lower == 639 && mb.mem_upper == (ram[0].end - 0x100000) / 1024);
    require(info.file_count == boot->module_count);
    require(info.dropped_files == 0 && info.dropped_ranges == 0);
    for (unsigned i = 0; i < boot->module_count; i++)
        check_module(&info.files[i], &boot->modules[i]);
    check_map(&info);
}

/* Neither the modules nor the information lie over each other or over the image. */
static void check_places(const struct image_plan *plan, const struct image_boot *boot, size_t used)
{
    struct range places[3];
    for (unsigned i = 0; i < 2; i++) {
        const struct image_module *module = &boot->modules[i];
        places[i] = (struct range){module->gpa.v, module->gpa.v + module->size};
    }
    places[2] = (struct range){boot->info.v, boot->info.v + used};
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

/* The sizes of the modules come from the file, too. */
static void check_information(const struct image_plan *plan, const uint8_t *data, size_t size)
{
    struct image_module modules[2] = {{0, "one", {0}}, {0x1234, "two x y", {0}}};
    struct image_boot boot = {ram, ram_count, "a command line", modules, 2, {0}, IMAGE_LOW_END};
    size_t used;
    if (size >= sizeof(modules[0].size))
        memcpy(&modules[0].size, data + size - sizeof(modules[0].size), sizeof(modules[0].size));
    int result = image_boot_info(plan, &boot, built, sizeof(built), &used);
    require(result == 0 || (result == -E2BIG && host_log[0] != '\0'));
    if (result != 0)
        return;
    check_places(plan, &boot, used);
    check_read_back(&boot, used);
}

static void check_guest(const uint8_t *data, size_t size)
{
    struct image_file file = {"fuzz", size, read_bytes, (void *)(uintptr_t)data};
    static struct image_plan plan;
    bool small = size > 0 && data[size - 1] % 2 != 0;
    ram = small ? small_ram : large_ram;
    ram_count = small ? ARRAY_SIZE(small_ram) : ARRAY_SIZE(large_ram);
    int result = image_plan(&file, ram, ram_count, &plan);
    if (result != 0) {
        require((result == -ENOEXEC || result == -E2BIG) && host_log[0] != '\0');
        return;
    }
    check_plan(&plan, size);
    check_information(&plan, data, size);
}

/* --- the kernel's image ----------------------------------------------------------------------- */

static void check_kernel(const uint8_t *data, size_t size)
{
    static uint8_t image[MOST_BUILT];
    struct elf_plan plan;
    uint64_t end = 0;
    bool in_code = false;
    if (elf_plan(data, size, &plan) != NULL)
        return;
    require(plan.count >= 1 && plan.count <= ELF_MAX_SEGMENTS);
    for (unsigned i = 0; i < plan.count; i++) {
        const struct elf_segment *s = &plan.segments[i];
        require(s->mem_size > 0 && s->file_size <= s->mem_size && s->image_offset >= end);
        require(s->file_offset <= size && s->file_size <= size - s->file_offset);
        end = s->image_offset + s->mem_size;
        require(end > s->image_offset && end <= KERNEL_MAX_SIZE);
        in_code = in_code || (s->executable && plan.entry >= s->image_offset &&
                              plan.entry < s->image_offset + s->file_size);
    }
    require(plan.image_size == end && in_code);
    if (end <= sizeof(image))
        elf_build(data, &plan, image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    host_log_reset();
    check_guest(data, size);
    check_kernel(data, size);
    return 0;
}
