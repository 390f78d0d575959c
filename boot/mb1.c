/* The multiboot 1 door: turns what the loader left in memory into struct boot_info. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/mb1.h"
#include "boot/boot_info.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

/* Far more than BOOT_MAX_RANGES entries: a longer map is a damaged one. */
enum { MMAP_MAX_LENGTH = 64 * 1024 };

typedef const void *physical_at(uint64_t hpa);

/* A pointer to SIZE bytes of the loader's data, or NULL where they cannot be: all lie below 4 GiB.
 */
static const void *data_at(physical_at *at, uint64_t hpa, uint64_t size)
{
    return hpa == 0 || hpa + size > 4 * GIB ? NULL : at(hpa);
}

static bool fetch(physical_at *at, uint64_t hpa, void *to, size_t size)
{
    const void *from = data_at(at, hpa, size);
    if (from == NULL)
        return false;
    memcpy(to, from, size);
    return true;
}

/* An address that holds no string gives the empty one; a string that is too long is cut. */
static void fetch_string(physical_at *at, uint64_t hpa, char *to, size_t size)
{
    const char *from = data_at(at, hpa, 1);
    size_t n = 0;
    while (from != NULL && n + 1 < size && hpa + n < 4 * GIB && from[n] != '\0') {
        to[n] = from[n];
        n++;
    }
    to[n] = '\0';
}

static void take_module(struct boot_info *info, physical_at *at, uint64_t hpa, uint32_t number)
{
    struct mb1_module module;
    char string[BOOT_STRING_SIZE + 1]; /* one more than fits: boot_add_file reports what it cuts */
    if (!fetch(at, hpa, &module, sizeof(module)) || module.end < module.start) {
        log_line("multiboot module %u: bad address or end before start; left out, check the boot "
                 "loader",
                 number);
        info->dropped_files++;
        return;
    }
    fetch_string(at, module.string, string, sizeof(string));
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

/* "All other values currently indicated a reserved area." */
static enum mem_kind kind_of(uint32_t type)
{
    switch (type) {
    case MB1_RAM:
        return MEM_RAM;
    case MB1_ACPI:
        return MEM_ACPI;
    case MB1_BAD:
        return MEM_BAD;
    default:
        return MEM_FIRMWARE;
    }
}

/* Returns true for RAM. */
static bool take_entry(struct boot_info *info, const struct mb1_mmap *entry)
{
    uint64_t base = join(entry->base_low, entry->base_high);
    uint64_t length = join(entry->length_low, entry->length_high);
    enum mem_kind kind = kind_of(entry->type);
    if (base + length < base) {
        log_line(
            "multiboot memory map: entry at %llx wraps around; left out, check the boot loader",
            (unsigned long long)base);
        return false;
    }
    boot_add_range(info, base, base + length, kind, entry->type);
    return kind == MEM_RAM && length > 0;
}

/* Returns true if there is RAM in the map. */
static bool take_mmap(struct boot_info *info, physical_at *at, const struct mb1_info *mb)
{
    uint64_t length = min_u64(mb->mmap_length, MMAP_MAX_LENGTH);
    uint64_t used = 0;
    bool ram = false;
    struct mb1_mmap entry;
    while (length - used >= sizeof(entry)) {
        if (!fetch(at, mb->mmap_addr + used, &entry, sizeof(entry)) ||
            entry.size < sizeof(entry) - sizeof(entry.size) ||
            entry.size + sizeof(entry.size) > length - used)
            break;
        ram |= take_entry(info, &entry);
        used += entry.size + sizeof(entry.size);
    }
    if (used != mb->mmap_length)
        log_line("multiboot memory map: %u bytes, of which %u make sense; the rest is left out, "
                 "check the boot loader",
                 mb->mmap_length, (uint32_t)used);
    return ram;
}

/* What the BIOS area and the ISA hole leave of the first MiB is 640 KiB at most. */
static void take_basic_memory(struct boot_info *info, const struct mb1_info *mb)
{
    uint64_t lower = min_u64(mb->mem_lower, 640);
    boot_add_range(info, 0, lower * KIB, MEM_RAM, MB1_RAM);
    boot_add_range(info, MIB, MIB + mb->mem_upper * KIB, MEM_RAM, MB1_RAM);
}

static int take_memory(struct boot_info *info, physical_at *at, const struct mb1_info *mb)
{
    if ((mb->flags & MB1_HAS_MMAP) != 0 && take_mmap(info, at, mb))
        return 0;
    if ((mb->flags & MB1_HAS_MEMORY) != 0 && mb->mem_upper != 0) {
        log_line("multiboot: no memory map, only the amount of memory; taking %u KiB from 1 MiB up",
                 mb->mem_upper);
        take_basic_memory(info, mb);
        return 0;
    }
    log_line("multiboot: the boot loader gave no memory map; use one that does (GRUB, QEMU)");
    return -EINVAL;
}

static bool is_byte(uint8_t position, uint8_t size, uint8_t expected)
{
    return size == 8 && position == expected;
}

static void take_framebuffer(struct boot_info *info, const struct mb1_info *mb)
{
    uint32_t format = BOOT_PIXEL_NONE;
    if (mb->framebuffer_type != 1 || mb->framebuffer_bpp != 32 ||
        !is_byte(mb->green_position, mb->green_size, 8))
        return;
    if (is_byte(mb->red_position, mb->red_size, 0) && is_byte(mb->blue_position, mb->blue_size, 16))
        format = BOOT_PIXEL_RGBX;
    if (is_byte(mb->red_position, mb->red_size, 16) && is_byte(mb->blue_position, mb->blue_size, 0))
        format = BOOT_PIXEL_BGRX;
    boot_set_framebuffer(info, (struct boot_framebuffer){
                                   .hpa = join(mb->framebuffer_addr_low, mb->framebuffer_addr_high),
                                   .width = mb->framebuffer_width,
                                   .height = mb->framebuffer_height,
                                   .pitch = mb->framebuffer_pitch,
                                   .format = format,
                               });
}

int mb1_boot_info(const struct mb1_info *given, const void *(*at)(uint64_t hpa),
                  struct boot_info *info)
{
    struct mb1_info mb;
    memcpy(&mb, given, sizeof(mb)); /* may be aligned to less than 4 bytes */
    memset(info, 0, sizeof(*info));
    info->version = BOOT_INFO_VERSION;
    info->door = DOOR_MULTIBOOT1;
    if ((mb.flags & MB1_HAS_LOADER_NAME) != 0)
        fetch_string(at, mb.boot_loader_name, info->loader, sizeof(info->loader));
    if ((mb.flags & MB1_HAS_FRAMEBUFFER) != 0)
        take_framebuffer(info, &mb);
    if ((mb.flags & MB1_HAS_MODULES) != 0)
        take_modules(info, at, &mb);
    return take_memory(info, at, &mb);
}
