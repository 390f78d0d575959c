/* The multiboot 2 door: turns what the loader left in memory into struct boot_info. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/mb2.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

/* Far more than any loader gives: longer information is damaged. */
enum { MAX_SIZE = 1024 * 1024 };

enum { RSDP_OLD_SIZE = 20, RSDP_NEW_SIZE = 36 }; /* ACPI, "Root System Description Pointer" */

/* What follows a tag's head. */
struct body {
    uint64_t hpa;
    uint32_t size; /* bytes; 0 where there is no such tag */
};

/* The information while it is read; what can only be judged with all tags known is kept here. */
struct reader {
    physical_at *at;
    struct boot_info *info;
    struct body memory, mmap, efi_mmap, rsdp_old, rsdp_new;
    bool boot_services;
    uint32_t modules;
};

/* Copies SIZE bytes from OFFSET in BODY. Returns false where it has none. */
static bool fetch(const struct reader *r, struct body body, uint64_t offset, void *to, size_t size)
{
    if (offset > body.size || size > body.size - offset)
        return false;
    return multiboot_fetch(r->at, body.hpa + offset, to, size);
}

static void take_string(const struct reader *r, struct body body, uint64_t offset, char *to,
                        size_t size)
{
    multiboot_fetch_string(r->at, body.hpa + offset, body.hpa + body.size, to, size);
}

static void take_module(struct reader *r, struct body body)
{
    struct mb2_module module;
    char string[BOOT_STRING_SIZE + 1]; /* one more than fits: boot_add_file reports what it cuts */
    uint32_t number = r->modules++;
    if (!fetch(r, body, 0, &module, sizeof(module)) || module.end < module.start) {
        multiboot_drop_module(r->info, number);
        return;
    }
    take_string(r, body, sizeof(module), string, sizeof(string));
    boot_add_file(r->info, string, module.start, module.end - module.start);
}

static void take_framebuffer(const struct reader *r, struct body body)
{
    struct mb2_framebuffer fb;
    struct multiboot_colors colors;
    if (!fetch(r, body, 0, &fb, sizeof(fb)) || !fetch(r, body, sizeof(fb), &colors, sizeof(colors)))
        return;
    boot_set_framebuffer(r->info, (struct boot_framebuffer){
                                      .hpa = fb.hpa,
                                      .width = fb.width,
                                      .height = fb.height,
                                      .pitch = fb.pitch,
                                      .format = multiboot_pixel(fb.type, fb.bpp, &colors),
                                  });
}

static void take_tag(struct reader *r, uint32_t type, struct body body)
{
    switch (type) {
    case MB2_LOADER_NAME:
        take_string(r, body, 0, r->info->loader, sizeof(r->info->loader));
        break;
    case MB2_MODULE:
        take_module(r, body);
        break;
    case MB2_MEMORY:
        r->memory = body;
        break;
    case MB2_MMAP:
        r->mmap = body;
        break;
    case MB2_FRAMEBUFFER:
        take_framebuffer(r, body);
        break;
    case MB2_ACPI_OLD:
        r->rsdp_old = body;
        break;
    case MB2_ACPI_NEW:
        r->rsdp_new = body;
        break;
    case MB2_EFI_MMAP:
        r->efi_mmap = body;
        break;
    case MB2_BOOT_SERVICES:
        r->boot_services = true;
        break;
    default:
        break;
    }
}

/* Takes each tag of ALL that lies in it as a whole, up to the end tag. */
static void take_tags(struct reader *r, struct body all)
{
    uint64_t offset = sizeof(struct mb2_head);
    struct mb2_tag tag;
    while (fetch(r, all, offset, &tag, sizeof(tag)) && tag.size >= sizeof(tag) &&
           tag.size <= all.size - offset) {
        if (tag.type == MB2_END)
            return;
        take_tag(r, tag.type,
                 (struct body){all.hpa + offset + sizeof(tag), tag.size - (uint32_t)sizeof(tag)});
        offset += align_up(tag.size, 8);
    }
    log_line("multiboot 2 information: no end tag; what follows its first %llu bytes is left out, "
             "check the boot loader",
             (unsigned long long)offset);
}

/* Its tables are the firmware's; the copy lies in memory that would be free, and stays. */
static void take_rsdp(struct reader *r)
{
    bool new = r->rsdp_new.size >= RSDP_NEW_SIZE;
    struct body rsdp = new ? r->rsdp_new : r->rsdp_old;
    if (rsdp.size < RSDP_OLD_SIZE)
        return;
    r->info->rsdp = rsdp.hpa;
    boot_add_range(r->info, rsdp.hpa, rsdp.hpa + rsdp.size, MEM_ACPI, MB1_ACPI);
}

/* Returns true if there is RAM in the map. */
static bool take_mmap(const struct reader *r)
{
    struct mb2_map map;
    struct mb2_mmap entry;
    bool ram = false;
    if (!fetch(r, r->mmap, 0, &map, sizeof(map)))
        return false;
    if (map.entry_size < sizeof(entry)) {
        log_line("multiboot memory map: entries of %u bytes, at least 24 expected; left out, check "
                 "the boot loader",
                 map.entry_size);
        return false;
    }
    for (uint64_t at = sizeof(map); fetch(r, r->mmap, at, &entry, sizeof(entry));
         at += map.entry_size)
        ram |= multiboot_add_entry(r->info, entry.base, entry.length, entry.type);
    return ram;
}

static bool has_ram(const struct boot_info *info)
{
    for (uint32_t i = 0; i < info->range_count; i++)
        if (info->ranges[i].kind == MEM_RAM)
            return true;
    return false;
}

/* While boot services run, their map still changes: the loader's own is used then. */
static bool take_efi_mmap(const struct reader *r)
{
    struct mb2_map map;
    if (r->boot_services || !fetch(r, r->efi_mmap, 0, &map, sizeof(map)))
        return false;
    uint64_t size = r->efi_mmap.size - sizeof(map);
    const void *descriptors = multiboot_data(r->at, r->efi_mmap.hpa + sizeof(map), size);
    return descriptors != NULL && efi_memory_map(descriptors, size, map.entry_size, r->info) == 0 &&
           has_ram(r->info);
}

static int take_memory(const struct reader *r)
{
    struct mb2_memory memory = {0};
    if (take_efi_mmap(r) || take_mmap(r))
        return 0;
    fetch(r, r->memory, 0, &memory, sizeof(memory));
    return multiboot_amount_of_memory(r->info, memory.lower, memory.upper);
}

int mb2_boot_info(uint64_t hpa, physical_at *at, struct boot_info *info)
{
    struct reader r = {.at = at, .info = info};
    struct mb2_head head;
    memset(info, 0, sizeof(*info));
    info->version = BOOT_INFO_VERSION;
    info->door = DOOR_MULTIBOOT2;
    if (!is_aligned(hpa, 8) || !multiboot_fetch(at, hpa, &head, sizeof(head)) ||
        head.total_size > 4 * GIB - hpa) {
        log_line("multiboot 2 information: none can be at 0x%llx; use another boot loader",
                 (unsigned long long)hpa);
        return -EINVAL;
    }
    take_tags(&r, (struct body){hpa, (uint32_t)min_u64(head.total_size, MAX_SIZE)});
    take_rsdp(&r);
    return take_memory(&r);
}
