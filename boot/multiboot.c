/* What the doors of both multiboot versions share: how the loader's data are read and judged. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/multiboot.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

const void *multiboot_data(physical_at *at, uint64_t hpa, uint64_t size)
{
    return hpa == 0 || size > 4 * GIB || hpa > 4 * GIB - size ? NULL : at(hpa);
}

bool multiboot_fetch(physical_at *at, uint64_t hpa, void *to, size_t size)
{
    const void *from = multiboot_data(at, hpa, size);
    if (from == NULL)
        return false;
    memcpy(to, from, size);
    return true;
}

void multiboot_fetch_string(physical_at *at, uint64_t hpa, uint64_t end, char *to, size_t size)
{
    assert(end <= 4 * GIB && size > 0);
    const char *from = multiboot_data(at, hpa, 1);
    size_t n = 0;
    while (from != NULL && n + 1 < size && hpa + n < end && from[n] != '\0') {
        to[n] = from[n];
        n++;
    }
    to[n] = '\0';
}

void multiboot_drop_module(struct boot_info *info, uint32_t number)
{
    log_line("multiboot module %u: bad address or end before start; left out, check the boot "
             "loader",
             number);
    info->dropped_files++;
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

bool multiboot_add_entry(struct boot_info *info, uint64_t base, uint64_t length, uint32_t type)
{
    enum mem_kind kind = kind_of(type);
    if (base + length < base) {
        log_line(
            "multiboot memory map: entry at %llx wraps around; left out, check the boot loader",
            (unsigned long long)base);
        return false;
    }
    boot_add_range(info, base, base + length, kind, type);
    return kind == MEM_RAM && length > 0;
}

/* What the BIOS area and the ISA hole leave of the first MiB is 640 KiB at most. */
int multiboot_amount_of_memory(struct boot_info *info, uint32_t lower, uint32_t upper)
{
    if (upper == 0) {
        log_line("multiboot: the boot loader gave no memory map; use one that does (GRUB, QEMU)");
        return -EINVAL;
    }
    log_line("multiboot: no memory map, only the amount of memory; taking %u KiB from 1 MiB up",
             upper);
    boot_add_range(info, 0, min_u64(lower, 640) * KIB, MEM_RAM, MB1_RAM);
    boot_add_range(info, MIB, MIB + upper * KIB, MEM_RAM, MB1_RAM);
    return 0;
}

static bool is_byte(uint8_t position, uint8_t size, uint8_t expected)
{
    return size == 8 && position == expected;
}

enum boot_pixel multiboot_pixel(uint8_t type, uint8_t bpp, const struct multiboot_colors *c)
{
    if (type != 1 || bpp != 32 || !is_byte(c->green_position, c->green_size, 8))
        return BOOT_PIXEL_NONE;
    if (is_byte(c->red_position, c->red_size, 0) && is_byte(c->blue_position, c->blue_size, 16))
        return BOOT_PIXEL_RGBX;
    if (is_byte(c->red_position, c->red_size, 16) && is_byte(c->blue_position, c->blue_size, 0))
        return BOOT_PIXEL_BGRX;
    return BOOT_PIXEL_NONE;
}
