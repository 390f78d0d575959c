/* The multiboot 1 door: turns what the loader left in memory into struct boot_info. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/mb1.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

/* Far more than BOOT_MAX_RANGES entries: a longer map is a damaged one. */
enum { MMAP_MAX_LENGTH = 64 * 1024 };

static void take_module(struct boot_info *info, physical_at *at, uint64_t hpa, uint32_t number)
{
    struct mb1_module module;
    char string[BOOT_STRING_SIZE + 1]; /* one more than fits: boot_add_file reports what it cuts */
    if (!multiboot_fetch(at, hpa, &module, sizeof(module)) || module.end < module.start) {
        multiboot_drop_module(info, number);
        return;
    }
    multiboot_fetch_string(at, module.string, 4 * GIB, string, sizeof(string));
    boot_add_file(info, string, module.start, module.end - module.start);
}

static void take_modules(struct boot_info *info, physical_at *at, const struct mb1_info *mb)
{
    uint32_t count = (uint32_t)min_u64(mb->mods_count, BOOT_MAX_FILES);
    if (mb->mods_addr == 0)
        count = 0;
    for (uint32_t i = 0; i < count; i++)
        take_module(info, at, mb->mods_addr + (uint64_t)i * sizeof(struct mb1_module), i);
    info->dropped_files += mb->mods_count - count;
}

static uint64_t join(uint32_t low, uint32_t high)
{
    return (uint64_t)high << 32 | low;
}

/* Returns true if there is RAM in the map. */
static bool take_mmap(struct boot_info *info, physical_at *at, const struct mb1_info *mb)
{
    uint64_t length = min_u64(mb->mmap_length, MMAP_MAX_LENGTH);
    uint64_t used = 0;
    bool ram = false;
    struct mb1_mmap entry;
    while (length - used >= sizeof(entry)) {
        if (!multiboot_fetch(at, mb->mmap_addr + used, &entry, sizeof(entry)) ||
            entry.size < sizeof(entry) - sizeof(entry.size) ||
            entry.size + sizeof(entry.size) > length - used)
            break;
        ram |= multiboot_add_entry(info, join(entry.base_low, entry.base_high),
                                   join(entry.length_low, entry.length_high), entry.type);
        used += entry.size + sizeof(entry.size);
    }
    if (used != mb->mmap_length)
        log_line("multiboot memory map: %u bytes, of which %u make sense; the rest is left out, "
                 "check the boot loader",
                 mb->mmap_length, (uint32_t)used);
    return ram;
}

static int take_memory(struct boot_info *info, physical_at *at, const struct mb1_info *mb)
{
    if ((mb->flags & MB1_HAS_MMAP) != 0 && take_mmap(info, at, mb))
        return 0;
    bool has = (mb->flags & MB1_HAS_MEMORY) != 0;
    return multiboot_amount_of_memory(info, mb->mem_lower, has ? mb->mem_upper : 0);
}

static void take_framebuffer(struct boot_info *info, const struct mb1_info *mb)
{
    enum boot_pixel format =
        multiboot_pixel(mb->framebuffer_type, mb->framebuffer_bpp, &mb->colors);
    boot_set_framebuffer(info, (struct boot_framebuffer){
                                   .hpa = join(mb->framebuffer_addr_low, mb->framebuffer_addr_high),
                                   .width = mb->framebuffer_width,
                                   .height = mb->framebuffer_height,
                                   .pitch = mb->framebuffer_pitch,
                                   .format = format,
                               });
}

int mb1_boot_info(const struct mb1_info *given, physical_at *at, struct boot_info *info)
{
    struct mb1_info mb;
    memcpy(&mb, given, sizeof(mb)); /* may be aligned to less than 4 bytes */
    memset(info, 0, sizeof(*info));
    info->version = BOOT_INFO_VERSION;
    info->door = DOOR_MULTIBOOT1;
    if ((mb.flags & MB1_HAS_LOADER_NAME) != 0)
        multiboot_fetch_string(at, mb.boot_loader_name, 4 * GIB, info->loader,
                               sizeof(info->loader));
    if ((mb.flags & MB1_HAS_FRAMEBUFFER) != 0)
        take_framebuffer(info, &mb);
    if ((mb.flags & MB1_HAS_MODULES) != 0)
        take_modules(info, at, &mb);
    return take_memory(info, at, &mb);
}
