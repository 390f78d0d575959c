/* boot/: both doors' inputs, recorded ones (QEMU 7.2, OVMF 2022.11) and hostile ones made by hand.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/host.h"
#include "boot/boot_info.h"
#include "boot/efi/elf.h"
#include "boot/mb1.h"
#include "lib/errno.h"

static struct boot_info info;

/* Expected values: start, end, kind, source of each range in order. */
static void expect_ranges(const struct mem_range *expected, uint32_t count)
{
    assert_int_equal(info.range_count, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(info.ranges[i].start, expected[i].start);
        assert_int_equal(info.ranges[i].end, expected[i].end);
        assert_int_equal(info.ranges[i].kind, expected[i].kind);
        assert_int_equal(info.ranges[i].source, expected[i].source);
    }
}

static int forget(void **state)
{
    (void)state;
    memset(&info, 0, sizeof(info));
    host_log_reset();
    return 0;
}

/* --- physical memory as the multiboot door sees it ---------------------------------------------
 */

struct piece {
    uint64_t hpa;
    const void *bytes;
    size_t size;
};

static const struct piece *pieces;
static unsigned piece_count;

/* What is in no piece is not there: NULL. Reads beyond a piece are found by the address sanitizer.
 */
static const void *at(uint64_t hpa)
{
    for (unsigned i = 0; i < piece_count; i++)
        if (hpa >= pieces[i].hpa && hpa - pieces[i].hpa < pieces[i].size)
            return (const uint8_t *)pieces[i].bytes + (hpa - pieces[i].hpa);
    return NULL;
}

static int take(const struct mb1_info *mb, const struct piece *p, unsigned n)
{
    pieces = p;
    piece_count = n;
    memset(&info, 0xa5, sizeof(info));
    host_log_reset();
    return mb1_boot_info(mb, at, &info);
}

/* qemu-system-x86_64 -M q35 -m 64 -kernel STUB -initrd 'nosnoop.cfg,two arg  x' */
static const uint8_t qemu_info[] = {
    0x4f, 0x02, 0x00, 0x00, 0x7f, 0x02, 0x00, 0x00, 0x7c, 0xfb, 0x00, 0x00, 0xff, 0xff, 0x00,
    0x80, 0x37, 0x60, 0x10, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x60, 0x10, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xd8,
    0x00, 0x00, 0x00, 0x00, 0x90, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x3f, 0x60, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};

static const uint8_t qemu_mmap[] = {
    0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xfc, 0x09, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0xfc, 0x09, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
    0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0xf0, 0xed, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
    0x14, 0x00, 0x00, 0x00, 0x00, 0xf0, 0xfd, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x02, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xb0,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
    0x14, 0x00, 0x00, 0x00, 0x00, 0xc0, 0xd1, 0xfe, 0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0xfc, 0xff,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
    0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xfd, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x03, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
};

static const uint8_t qemu_modules[] = {
    0x00, 0x70, 0x10, 0x00, 0x04, 0x70, 0x10, 0x00, 0x20, 0x60, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x80, 0x10, 0x00, 0x06, 0x80, 0x10, 0x00, 0x2c, 0x60, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00,
};

static const char qemu_strings[] = "nosnoop.cfg\0two arg  x\0mb.elf \0qemu";

static const struct piece qemu[] = {
    {0x9000, qemu_mmap, sizeof(qemu_mmap)},
    {0x106000, qemu_modules, sizeof(qemu_modules)},
    {0x106020, qemu_strings, sizeof(qemu_strings)},
};

static void mb1_recorded_memory(void **state)
{
    (void)state;
    static const struct mem_range expected[] = {
        {0x0, 0x9fc00, MEM_RAM, 1},
        {0x9fc00, 0xa0000, MEM_FIRMWARE, 2},
        {0xf0000, 0x100000, MEM_FIRMWARE, 2},
        {0x100000, 0x3fdf000, MEM_RAM, 1},
        {0x3fdf000, 0x4000000, MEM_FIRMWARE, 2},
        {0xb0000000, 0xc0000000, MEM_FIRMWARE, 2},
        {0xfed1c000, 0xfed20000, MEM_FIRMWARE, 2},
        {0xfffc0000, 0x100000000, MEM_FIRMWARE, 2},
        {0xfd00000000, 0x10000000000, MEM_FIRMWARE, 2},
    };
    struct mb1_info mb;
    memcpy(&mb, qemu_info, sizeof(mb));
    assert_int_equal(take(&mb, qemu, ARRAY_SIZE(qemu)), 0);
    expect_ranges(expected, ARRAY_SIZE(expected));
    assert_int_equal(info.dropped_ranges, 0);
    assert_string_equal(host_log, "");
}

static void mb1_recorded_rest(void **state)
{
    (void)state;
    uint8_t unaligned[sizeof(qemu_info) + 1];
    memcpy(unaligned + 1, qemu_info, sizeof(qemu_info));
    assert_int_equal(take((const void *)(unaligned + 1), qemu, ARRAY_SIZE(qemu)), 0);
    assert_int_equal(info.version, BOOT_INFO_VERSION);
    assert_int_equal(info.door, DOOR_MULTIBOOT1);
    assert_int_equal(info.rsdp, 0);
    assert_int_equal(info.framebuffer.format, BOOT_PIXEL_NONE);
    assert_string_equal(info.loader, "qemu");
    assert_int_equal(info.file_count, 2);
    assert_int_equal(info.dropped_files, 0);
    assert_string_equal(info.files[0].name, "nosnoop.cfg");
    assert_int_equal(info.files[0].hpa, 0x107000);
    assert_int_equal(info.files[0].size, 4);
    assert_string_equal(info.files[1].name, "two");
    assert_string_equal(info.files[1].string, "two arg  x");
    assert_int_equal(info.files[1].hpa, 0x108000);
    assert_int_equal(info.files[1].size, 6);
}

/* --- hostile memory maps -----------------------------------------------------------------------
 */

enum { MMAP_AT = 0x5000, MODS_AT = 0x9000, TEXT_AT = 0xc000 };

/* Takes a map of LENGTH bytes, of which only SIZE are there. */
static int take_mmap(const void *map, size_t size, uint32_t length)
{
    struct mb1_info mb = {.flags = MB1_HAS_MMAP, .mmap_addr = MMAP_AT, .mmap_length = length};
    struct piece p[] = {{MMAP_AT, map, size}};
    return take(&mb, p, ARRAY_SIZE(p));
}

static const struct mem_range one_mib = {0x100000, 0x200000, MEM_RAM, 1};

static void mb1_entry_sizes(void **state)
{
    (void)state;
    struct mb1_mmap map[3] = {
        {20, 0x100000, 0, 0x100000, 0, MB1_RAM},
        {0, 0x300000, 0, 0x100000, 0, MB1_RAM},
        {20, 0x500000, 0, 0x100000, 0, MB1_RAM},
    };
    static const uint32_t bad[] = {0, 1, 19, 45, 0x7fffffff, 0xfffffffb, 0xfffffffc, 0xffffffff};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        map[1].size = bad[i];
        assert_int_equal(take_mmap(map, sizeof(map), sizeof(map)), 0);
        expect_ranges(&one_mib, 1);
        assert_non_null(strstr(host_log, "72 bytes, of which 24 make sense"));
    }
    map[1].size = 44; /* the rest of the map is its own */
    assert_int_equal(take_mmap(map, sizeof(map), sizeof(map)), 0);
    assert_int_equal(info.range_count, 2);
    assert_string_equal(host_log, "");
}

static void mb1_map_lengths(void **state)
{
    (void)state;
    static const struct mb1_mmap map[1] = {{20, 0x100000, 0, 0x100000, 0, MB1_RAM}};
    static const uint32_t lengths[] = {24, 25, 47};
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        assert_int_equal(take_mmap(map, sizeof(map), lengths[i]), 0);
        expect_ranges(&one_mib, 1);
    }
    assert_int_equal(take_mmap(map, sizeof(map), 0xffffffff), 0);
    expect_ranges(&one_mib, 1);
    assert_int_equal(take_mmap(map, sizeof(map), 23), -EINVAL);
    assert_int_equal(take_mmap(map, sizeof(map), 0), -EINVAL);
    struct mb1_info mb = {.flags = MB1_HAS_MMAP, .mmap_addr = 0, .mmap_length = 24};
    assert_int_equal(take(&mb, NULL, 0), -EINVAL);
    mb.mmap_addr = 0xfffffff0;
    assert_int_equal(take(&mb, (struct piece[]){{0xfffffff0, map, 16}}, 1), -EINVAL);
}

static void mb1_entry_values(void **state)
{
    (void)state;
    static const struct mb1_mmap map[] = {
        {20, 0, 1, 0, 0xffffffff, MB1_RAM},        /* ends at 2^64: wraps */
        {20, 0x1000, 0, 0, 0, MB1_RAM},            /* empty */
        {20, 0xfffff000, 0xffffffff, 0xfff, 0, 0}, /* ends one byte below 2^64 */
        {20, 0x1000, 0, 0x1000, 0, MB1_ACPI},
        {20, 0x2000, 0, 0x1000, 0, MB1_NVS},
        {20, 0x3000, 0, 0x1000, 0, MB1_BAD},
        {20, 0x4000, 0, 0x1000, 0, 7},
        {20, 0x100000, 0, 0x80000, 0, MB1_RAM},
        {20, 0x180000, 0, 0x80000, 0, MB1_RAM},
    };
    static const struct mem_range expected[] = {
        {0xfffffffffffff000, 0xffffffffffffffff, MEM_FIRMWARE, 0},
        {0x1000, 0x2000, MEM_ACPI, 3},
        {0x2000, 0x3000, MEM_FIRMWARE, 4},
        {0x3000, 0x4000, MEM_BAD, 5},
        {0x4000, 0x5000, MEM_FIRMWARE, 7},
        {0x100000, 0x200000, MEM_RAM, 1},
    };
    assert_int_equal(take_mmap(map, sizeof(map), sizeof(map)), 0);
    expect_ranges(expected, ARRAY_SIZE(expected));
    assert_non_null(strstr(host_log, "entry at 100000000 wraps around"));
    assert_int_equal(take_mmap(map, 3 * sizeof(map[0]), 3 * sizeof(map[0])), -EINVAL);
}

static void mb1_too_many_ranges(void **state)
{
    (void)state;
    static struct mb1_mmap map[300];
    for (uint32_t i = 0; i < ARRAY_SIZE(map); i++)
        map[i] = (struct mb1_mmap){20, i * 0x2000, 0, 0x1000, 0, MB1_RAM};
    assert_int_equal(take_mmap(map, sizeof(map), sizeof(map)), 0);
    assert_int_equal(info.range_count, 256);
    assert_int_equal(info.ranges[255].start, 255 * 0x2000);
    assert_int_equal(info.dropped_ranges, 44);
    assert_int_equal(info.file_count, 0); /* nothing was written behind the ranges */
}

/* 3000 entries of 24 bytes: 2730 whole ones are in the 65536 bytes that are looked at. */
static void mb1_long_map(void **state)
{
    (void)state;
    static struct mb1_mmap map[3000];
    for (uint32_t i = 0; i < ARRAY_SIZE(map); i++)
        map[i] = (struct mb1_mmap){20, i * 0x2000, 0, 0x1000, 0, MB1_RAM};
    assert_int_equal(take_mmap(map, sizeof(map), sizeof(map)), 0);
    assert_int_equal(info.dropped_ranges, 2730 - 256);
    assert_non_null(strstr(host_log, "72000 bytes, of which 65520 make sense"));
}

static void mb1_amount_of_memory(void **state)
{
    (void)state;
    struct mb1_info mb = {.flags = MB1_HAS_MEMORY, .mem_lower = 639, .mem_upper = 64512};
    const struct mem_range usual[] = {{0, 0x9fc00, MEM_RAM, 1}, {0x100000, 0x4000000, MEM_RAM, 1}};
    assert_int_equal(take(&mb, NULL, 0), 0);
    expect_ranges(usual, 2);
    mb.mem_lower = mb.mem_upper = 0xffffffff;
    const struct mem_range most[] = {{0, 0xa0000, MEM_RAM, 1},
                                     {0x100000, 0x400000ffc00, MEM_RAM, 1}};
    assert_int_equal(take(&mb, NULL, 0), 0);
    expect_ranges(most, 2);
    mb.flags = 0;
    assert_int_equal(take(&mb, NULL, 0), -EINVAL);
    assert_non_null(strstr(host_log, "no memory map"));
    mb.flags = MB1_HAS_MEMORY;
    mb.mem_upper = 0;
    assert_int_equal(take(&mb, NULL, 0), -EINVAL);
}

/* --- hostile modules and strings ---------------------------------------------------------------
 */

static int take_modules(const struct mb1_module *modules, size_t size, uint32_t count)
{
    static char text[600];
    memset(text, 'x', sizeof(text));
    memcpy(text, "boot/dir/guest.elf a=/b", 24);
    memcpy(text + 100, "  \tlead  ", 10);
    struct mb1_info mb = {.flags = MB1_HAS_MODULES | MB1_HAS_MEMORY,
                          .mem_upper = 1024,
                          .mods_count = count,
                          .mods_addr = MODS_AT};
    struct piece p[] = {{MODS_AT, modules, size}, {TEXT_AT, text, sizeof(text)}};
    return take(&mb, p, ARRAY_SIZE(p));
}

static void mb1_module_strings(void **state)
{
    (void)state;
    static const struct mb1_module modules[] = {
        {0x200000, 0x200000, TEXT_AT, 0},
        {0x200000, 0x200001, TEXT_AT + 100, 0},
        {0x200000, 0x200002, TEXT_AT + 200, 0}, /* 400 times x, no end but the memory's */
        {0x200000, 0x200003, 0, 0},
        {0x200000, 0x200004, 0x10, 0},
    };
    assert_int_equal(take_modules(modules, sizeof(modules), 5), 0);
    assert_int_equal(info.file_count, 5);
    assert_string_equal(info.files[0].name, "guest.elf");
    assert_string_equal(info.files[0].string, "boot/dir/guest.elf a=/b");
    assert_int_equal(info.files[0].size, 0);
    assert_string_equal(info.files[1].name, "lead");
    assert_int_equal(strlen(info.files[2].string), 255);
    assert_int_equal(strlen(info.files[2].name), 63);
    assert_non_null(strstr(host_log, "more than 255 characters are cut"));
    assert_string_equal(info.files[3].name, "");
    assert_string_equal(info.files[4].string, "");
    assert_int_equal(info.files[4].size, 4);
    assert_null(boot_find_file(&info, ""));
    assert_null(boot_find_file(&info, "dir/"));
}

static void mb1_modules_hostile(void **state)
{
    (void)state;
    static struct mb1_module modules[40];
    for (uint32_t i = 0; i < ARRAY_SIZE(modules); i++)
        modules[i] = (struct mb1_module){0x200000 + i, 0x200000 + i + 1, TEXT_AT, 0};
    assert_int_equal(take_modules(modules, sizeof(modules), 40), 0);
    assert_int_equal(info.file_count, 32);
    assert_int_equal(info.files[31].hpa, 0x20001f);
    assert_int_equal(info.dropped_files, 8);
    modules[1].end = modules[1].start - 1;
    assert_int_equal(take_modules(modules, 3 * sizeof(modules[0]), 5), 0);
    assert_int_equal(info.file_count, 2);
    assert_int_equal(info.files[1].hpa, 0x200002);
    assert_int_equal(info.dropped_files, 3);
    assert_non_null(strstr(host_log, "module 1: bad address or end before start"));
    assert_int_equal(take_modules(modules, sizeof(modules), 0xffffffff), 0);
    assert_int_equal(info.file_count + info.dropped_files, 0xffffffff);
    struct mb1_info mb = {.flags = MB1_HAS_MODULES | MB1_HAS_MEMORY, .mem_upper = 1};
    mb.mods_count = 3;
    assert_int_equal(take(&mb, (struct piece[]){{0, modules, sizeof(modules)}}, 1), 0);
    assert_int_equal(info.file_count, 0);
    assert_int_equal(info.dropped_files, 3);
}

static void mb1_loader_name(void **state)
{
    (void)state;
    static char name[100];
    memset(name, 'n', sizeof(name)); /* no NUL: 63 of them fit */
    struct mb1_info mb = {.flags = MB1_HAS_MEMORY | MB1_HAS_LOADER_NAME, .mem_upper = 1024};
    struct piece p[] = {{TEXT_AT, name, sizeof(name)}};
    mb.boot_loader_name = TEXT_AT;
    assert_int_equal(take(&mb, p, 1), 0);
    assert_int_equal(strlen(info.loader), 63);
    mb.boot_loader_name = 0;
    assert_int_equal(take(&mb, p, 1), 0);
    assert_string_equal(info.loader, "");
    mb.boot_loader_name = TEXT_AT;
    mb.flags = MB1_HAS_MEMORY;
    assert_int_equal(take(&mb, p, 1), 0);
    assert_string_equal(info.loader, "");
}

/* --- framebuffers ------------------------------------------------------------------------------
 */

static uint32_t pixel_format(const struct mb1_info *mb)
{
    assert_int_equal(take(mb, NULL, 0), 0);
    return info.framebuffer.format;
}

static struct mb1_info bgrx(void)
{
    return (struct mb1_info){
        .flags = MB1_HAS_MEMORY | MB1_HAS_FRAMEBUFFER,
        .mem_upper = 1024,
        .framebuffer_addr_low = 0xe0000000,
        .framebuffer_addr_high = 0x12,
        .framebuffer_pitch = 4096,
        .framebuffer_width = 1024,
        .framebuffer_height = 768,
        .framebuffer_bpp = 32,
        .framebuffer_type = 1,
        .red_position = 16,
        .red_size = 8,
        .green_position = 8,
        .green_size = 8,
        .blue_size = 8,
    };
}

static void mb1_framebuffer(void **state)
{
    (void)state;
    struct mb1_info mb = bgrx();
    assert_int_equal(pixel_format(&mb), BOOT_PIXEL_BGRX);
    assert_int_equal(info.framebuffer.hpa, 0x12e0000000);
    assert_int_equal(info.framebuffer.width, 1024);
    assert_int_equal(info.framebuffer.height, 768);
    assert_int_equal(info.framebuffer.pitch, 4096);
    mb.red_position = 0;
    mb.blue_position = 16;
    assert_int_equal(pixel_format(&mb), BOOT_PIXEL_RGBX);
    mb.blue_position = 24;
    assert_int_equal(pixel_format(&mb), BOOT_PIXEL_NONE);
    mb = bgrx();
    mb.framebuffer_bpp = 24;
    assert_int_equal(pixel_format(&mb), BOOT_PIXEL_NONE);
    mb = bgrx();
    mb.framebuffer_type = 2; /* EGA text */
    assert_int_equal(pixel_format(&mb), BOOT_PIXEL_NONE);
    mb = bgrx();
    mb.green_size = 6;
    assert_int_equal(pixel_format(&mb), BOOT_PIXEL_NONE);
    mb = bgrx();
    mb.flags = MB1_HAS_MEMORY;
    assert_int_equal(pixel_format(&mb), BOOT_PIXEL_NONE);
}

static void framebuffer_numbers(void **state)
{
    (void)state;
    const struct boot_framebuffer good = {0xc0000000, 1280, 800, 5120, BOOT_PIXEL_RGBX};
    struct boot_framebuffer bad[6];
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        bad[i] = good;
    bad[0].hpa = 0;
    bad[1].width = 0;
    bad[2].height = 0;
    bad[3].pitch = 5119;
    bad[4].format = 3;
    bad[5].hpa = UINT64_MAX - 5120 * 800 + 1; /* ends at 2^64 */
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        boot_set_framebuffer(&info, bad[i]);
        assert_int_equal(info.framebuffer.format, BOOT_PIXEL_NONE);
    }
    boot_set_framebuffer(&info, good);
    assert_memory_equal(&info.framebuffer, &good, sizeof(good));
}

/* --- UEFI memory maps --------------------------------------------------------------------------
 */

/* Of OVMF on QEMU (-M q35 -m 512): its first six descriptors and its last seventeen, of 142. */
static const uint8_t ovmf_map[] = {
    0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x9f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x06, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x60, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x81, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc0, 0x08, 0x1f, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf0, 0x08, 0x1f, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x5d, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x06, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc0, 0x4e, 0x1f, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc0, 0x5e, 0x1f, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc0, 0x6e, 0x1f, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc0, 0x76, 0x1f, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x12, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xe0, 0x77, 0x1f, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xe0, 0x7f, 0x1f, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x06, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xe0, 0x1f, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x81, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0xe8, 0x1f, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0xea, 0x1f, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x2e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf0, 0xec, 0x1f, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x11, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xee, 0x1f, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x06, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0xef, 0x1f, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0xf7, 0x1f, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x88, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xb0, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc0, 0xff, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};

static void efi_recorded(void **state)
{
    (void)state;
    static const struct mem_range expected[] = {
        {0x0, 0xa0000, MEM_RAM, 7},
        {0x100000, 0x806000, MEM_RAM, 7},
        {0x806000, 0x808000, MEM_FIRMWARE, 10},
        {0x808000, 0x810000, MEM_RAM, 7},
        {0x810000, 0x900000, MEM_FIRMWARE, 10},
        {0x1f08c000, 0x1f4ec000, MEM_RAM, 7},
        {0x1f4ec000, 0x1f5ec000, MEM_FIRMWARE, 6},
        {0x1f5ec000, 0x1f6ec000, MEM_FIRMWARE, 5},
        {0x1f6ec000, 0x1f76c000, MEM_FIRMWARE, 0},
        {0x1f76c000, 0x1f77e000, MEM_ACPI, 9},
        {0x1f77e000, 0x1f7fe000, MEM_FIRMWARE, 10},
        {0x1f7fe000, 0x1fef4000, MEM_RAM, 7},
        {0x1fef4000, 0x1ff78000, MEM_FIRMWARE, 6},
        {0x1ff78000, 0x20000000, MEM_FIRMWARE, 10},
        {0xb0000000, 0xc0000000, MEM_FIRMWARE, 0},
        {0xffc00000, 0x100000000, MEM_MMIO, 11},
    };
    assert_int_equal(efi_memory_map(ovmf_map, sizeof(ovmf_map), 48, &info), 0);
    expect_ranges(expected, ARRAY_SIZE(expected));
    assert_string_equal(host_log, "");
}

struct descriptor {
    uint32_t type, padding;
    uint64_t start, virtual_start, pages, attribute;
};

static enum mem_kind kind_of(uint32_t type, uint64_t attribute)
{
    struct descriptor d = {type, 0, 0x1000, 0, 1, attribute};
    forget(NULL);
    assert_int_equal(efi_memory_map(&d, sizeof(d), sizeof(d), &info), 0);
    assert_int_equal(info.range_count, 1);
    return (enum mem_kind)info.ranges[0].kind;
}

/* UEFI 2.10, table "Memory Type Usage after ExitBootServices()". */
static void efi_types(void **state)
{
    (void)state;
    static const enum mem_kind expected[] = {
        MEM_FIRMWARE, MEM_RAM,      MEM_RAM,      MEM_RAM,      MEM_RAM,      MEM_FIRMWARE,
        MEM_FIRMWARE, MEM_RAM,      MEM_BAD,      MEM_ACPI,     MEM_FIRMWARE, MEM_MMIO,
        MEM_MMIO,     MEM_FIRMWARE, MEM_FIRMWARE, MEM_FIRMWARE,
    };
    for (uint32_t type = 0; type < ARRAY_SIZE(expected); type++)
        assert_int_equal(kind_of(type, 0xf), expected[type]);
    assert_int_equal(kind_of(0x70000000, 0xf), MEM_FIRMWARE);
    assert_int_equal(kind_of(0xffffffff, 0xf), MEM_FIRMWARE);
    assert_int_equal(kind_of(7, 0x800000000000000f), MEM_FIRMWARE);
    assert_int_equal(kind_of(11, 0x8000000000000001), MEM_MMIO);
}

static void efi_strides(void **state)
{
    (void)state;
    static const uint64_t bad[] = {0, 1, 39};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(efi_memory_map(ovmf_map, sizeof(ovmf_map), bad[i], &info), -EINVAL);
        assert_int_equal(info.range_count, 0);
    }
    const struct descriptor d[] = {{7, 0, 0x1000, 0, 1, 15}, {7, 0, 0x5000, 0, 1, 15}};
    const struct mem_range expected[] = {{0x1000, 0x2000, MEM_RAM, 7},
                                         {0x5000, 0x6000, MEM_RAM, 7}};
    assert_int_equal(efi_memory_map(d, 79, 40, &info), 0); /* the second one is cut off */
    expect_ranges(expected, 1);
    forget(NULL);
    assert_int_equal(efi_memory_map(d, 80, 40, &info), 0);
    expect_ranges(expected, 2);
    forget(NULL);
    assert_int_equal(efi_memory_map(d, 80, UINT64_MAX, &info), 0);
    assert_int_equal(efi_memory_map(NULL, 0, 48, &info), 0);
    assert_int_equal(info.range_count, 0);
}

static void efi_hostile(void **state)
{
    (void)state;
    static struct descriptor d[1000];
    for (uint64_t i = 0; i < ARRAY_SIZE(d); i++)
        d[i] = (struct descriptor){7, 0, i * 0x2000, 0, 1, 15};
    d[10].pages = UINT64_MAX;
    d[11].start = 0xfffffffffffff000; /* ends at 2^64 */
    d[12].pages = 0;
    d[13].pages = 1ull << 52; /* its size is 0 in 64 bits */
    assert_int_equal(efi_memory_map(d, sizeof(d), sizeof(d[0]), &info), 0);
    assert_int_equal(info.range_count, 256);
    assert_int_equal(info.ranges[10].start, 14 * 0x2000);
    assert_int_equal(info.dropped_ranges, 1000 - 256 - 4);
    assert_int_equal(info.file_count, 0);
    assert_non_null(strstr(host_log, "3 descriptors wrap around"));
}

/* --- what both share ---------------------------------------------------------------------------
 */

static void ranges_join(void **state)
{
    (void)state;
    static const struct mem_range expected[] = {
        {0x1000, 0x3000, MEM_RAM, 1},      {0x3000, 0x4000, MEM_RAM, 2},
        {0x4000, 0x5000, MEM_FIRMWARE, 2}, {0x5001, 0x6000, MEM_FIRMWARE, 2},
        {0x1000, 0x5001, MEM_FIRMWARE, 2},
    };
    boot_add_range(&info, 0x1000, 0x2000, MEM_RAM, 1);
    boot_add_range(&info, 0x2000, 0x3000, MEM_RAM, 1);
    boot_add_range(&info, 0x3000, 0x3000, MEM_BAD, 1);
    boot_add_range(&info, 0x3000, 0x2000, MEM_BAD, 1);
    boot_add_range(&info, 0x3000, 0x4000, MEM_RAM, 2);
    boot_add_range(&info, 0x4000, 0x5000, MEM_FIRMWARE, 2);
    boot_add_range(&info, 0x5001, 0x6000, MEM_FIRMWARE, 2);
    boot_add_range(&info, 0x1000, 0x5001, MEM_FIRMWARE, 2);
    expect_ranges(expected, ARRAY_SIZE(expected));
}

static void full_table_still_joins(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < BOOT_MAX_RANGES; i++)
        boot_add_range(&info, i * 0x2000, i * 0x2000 + 0x1000, MEM_RAM, 1);
    boot_add_range(&info, 255 * 0x2000 + 0x1000, 256 * 0x2000, MEM_RAM, 1);
    assert_int_equal(info.ranges[255].end, 256 * 0x2000);
    assert_int_equal(info.dropped_ranges, 0);
    boot_add_range(&info, 256 * 0x2000, 257 * 0x2000, MEM_BAD, 1);
    assert_int_equal(info.dropped_ranges, 1);
}

static void files_are_found(void **state)
{
    (void)state;
    boot_add_file(&info, "/boot/nosnoop.cfg", 0x1000, 10);
    boot_add_file(&info, "a/same first", 0x2000, 20);
    boot_add_file(&info, "b/same second", 0x3000, 30);
    boot_add_file(&info, "dir/", 0x4000, 40);
    assert_ptr_equal(boot_find_file(&info, "nosnoop.cfg"), &info.files[0]);
    assert_ptr_equal(boot_find_file(&info, "x/y/nosnoop.cfg"), &info.files[0]);
    assert_ptr_equal(boot_find_file(&info, "same"), &info.files[1]);
    assert_null(boot_find_file(&info, "nosnoop"));
    assert_null(boot_find_file(&info, "nosnoop.cfg2"));
    assert_null(boot_find_file(&info, "first"));
    assert_null(boot_find_file(&info, ""));
    assert_null(boot_find_file(&info, "/"));
    assert_int_equal(info.range_count, 0); /* the files' memory is in the files' table */
}

static void too_many_files(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 35; i++)
        boot_add_file(&info, "name", i, 1);
    assert_int_equal(info.file_count, 32);
    assert_int_equal(info.files[31].hpa, 31);
    assert_int_equal(info.dropped_files, 3);
    assert_string_equal(info.loader, ""); /* what lies behind the files */
}

/* --- the kernel's ELF file ---------------------------------------------------------------------
 */

enum { ELF_SIZE = 0x200, CODE = 0x100, CODE_SIZE = 0x80 };

/* Two segments: code of 80h bytes at file offset 100h, then 1000h bytes of zeros at image offset
 * 1000h. */
static void make_elf(uint8_t *elf)
{
    static const uint8_t start[] = {
        0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0,  0, 0, 0, 0, 0, 0, 0, /* ident */
        2,    0,   62,  0,   1, 0, 0, 0,                          /* type, machine, version */
        0,    0,   0,   0,   0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, /* entry, phoff */
        0,    0,   0,   0,   0, 0, 0, 0, 0,  0, 0, 0,             /* shoff, flags */
        64,   0,   56,  0,   2, 0,                                /* ehsize, phentsize, phnum */
    };
    const uint64_t headers[2][7] = {
        {5ull << 32 | 1, CODE, 0xffffffff80000000, 0x4000000, CODE_SIZE, CODE_SIZE, 0x1000},
        {6ull << 32 | 1, CODE + CODE_SIZE, 0xffffffff80001000, 0, 0, 0x1000, 0x1000},
    };
    const uint64_t entry = 0x7f;
    memset(elf, 0xcc, ELF_SIZE);
    memcpy(elf, start, sizeof(start));
    memcpy(elf + 64, headers, sizeof(headers));
    memcpy(elf + CODE + 0x38, "NOSNOOP1", 8);
    memcpy(elf + CODE + 0x40, &entry, sizeof(entry));
}

static void elf_good(void **state)
{
    (void)state;
    static uint8_t elf[ELF_SIZE], image[0x2000];
    struct elf_plan plan;
    make_elf(elf);
    assert_null(elf_plan(elf, ELF_SIZE, &plan));
    assert_int_equal(plan.count, 2);
    assert_int_equal(plan.image_size, 0x2000);
    assert_int_equal(plan.entry, 0x7f);
    elf_build(elf, &plan, image);
    assert_memory_equal(image, elf + CODE, CODE_SIZE);
    for (size_t i = CODE_SIZE; i < sizeof(image); i++)
        assert_int_equal(image[i], 0);
}

/* Every length below the code's end is refused, and nothing behind it is read. */
static void elf_truncated(void **state)
{
    (void)state;
    static uint8_t elf[ELF_SIZE];
    struct elf_plan plan;
    make_elf(elf);
    for (size_t size = 0; size < CODE + CODE_SIZE; size++) {
        uint8_t *cut = test_malloc(size + 1);
        memcpy(cut + 1, elf, size); /* not aligned, too */
        assert_non_null(elf_plan(cut + 1, size, &plan));
        test_free(cut);
    }
    assert_null(elf_plan(elf, CODE + CODE_SIZE, &plan));
}

struct change {
    size_t offset, size;
    uint64_t value;
    const char *wrong; /* part of the message */
};

static void elf_hostile(void **state)
{
    (void)state;
    enum { P0 = 64, P1 = 64 + 56 };
    static const struct change changes[] = {
        {4, 1, 1, "little-endian ELF64"},
        {5, 1, 2, "little-endian ELF64"},
        {16, 2, 3, "executable for x86-64"},
        {18, 2, 3, "executable for x86-64"},
        {32, 8, ELF_SIZE - 111, "program header table"},
        {32, 8, UINT64_MAX - 55, "program header table"},
        {54, 2, 32, "program header table"},
        {56, 2, 65, "program header table"},
        {56, 2, 0, "no segment at the image's start"},
        {P0 + 8, 8, UINT64_MAX, "truncated in a segment"},
        {P0 + 8, 8, ELF_SIZE - CODE_SIZE + 1, "truncated in a segment"},
        {P0 + 32, 8, CODE_SIZE + 1, "truncated in a segment"},
        {P0 + 16, 8, 0x100000, "outside the kernel's addresses"},
        {P0 + 16, 8, 0xffffffff7fffffff, "outside the kernel's addresses"},
        {P1 + 16, 8, 0xffffffffffffffff, "outside the kernel's addresses"},
        {P1 + 40, 8, 0x10000000, "outside the kernel's addresses"},
        {P1 + 40, 8, UINT64_MAX, "outside the kernel's addresses"},
        {P1 + 16, 8, 0xffffffff8000007f, "overlap"},
        {P0 + 16, 8, 0xffffffff80002000, "overlap"},
        {P0, 4, 2, "no segment at the image's start"},
        {P0 + 32, 8, 0x47, "no segment at the image's start"},
        {CODE + 0x3f, 1, '2', "lacks the mark"},
        {CODE + 0x40, 8, 0x80, "entry outside its code"},
        {CODE + 0x40, 8, 0x1000, "entry outside its code"},
        {CODE + 0x40, 8, UINT64_MAX, "entry outside its code"},
        {P0 + 4, 4, 4, "entry outside its code"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        static uint8_t elf[ELF_SIZE];
        struct elf_plan plan;
        make_elf(elf);
        memcpy(elf + changes[i].offset, &changes[i].value, changes[i].size);
        const char *wrong = elf_plan(elf, ELF_SIZE, &plan);
        assert_non_null(wrong);
        if (strstr(wrong, changes[i].wrong) == NULL)
            fail_msg("change %zu: '%s' instead of '%s'", i, wrong, changes[i].wrong);
    }
}

static void elf_many_segments(void **state)
{
    (void)state;
    static uint8_t elf[64 + 64 * 56 + CODE_SIZE];
    struct elf_plan plan;
    const uint16_t counts[] = {16, 17, 64};
    make_elf(elf);
    memmove(elf + 64 + 64 * 56, elf + CODE, CODE_SIZE);
    for (uint64_t i = 0; i < 64; i++) {
        const uint64_t p[7] = {5ull << 32 | 1, 64 + 64 * 56, KERNEL_BASE + i * 0x1000, 0, CODE_SIZE,
                               CODE_SIZE,      0x1000};
        memcpy(elf + 64 + i * 56, p, sizeof(p));
    }
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        memcpy(elf + 56, &counts[i], 2);
        const char *wrong = elf_plan(elf, sizeof(elf), &plan);
        if (counts[i] == 16)
            assert_null(wrong);
        else
            assert_string_equal(wrong, "has too many segments");
    }
}

#define TEST(name) cmocka_unit_test_setup(name, forget)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(mb1_recorded_memory),
        TEST(mb1_recorded_rest),
        TEST(mb1_entry_sizes),
        TEST(mb1_map_lengths),
        TEST(mb1_entry_values),
        TEST(mb1_too_many_ranges),
        TEST(mb1_long_map),
        TEST(mb1_amount_of_memory),
        TEST(mb1_module_strings),
        TEST(mb1_modules_hostile),
        TEST(mb1_loader_name),
        TEST(mb1_framebuffer),
        TEST(framebuffer_numbers),
        TEST(efi_recorded),
        TEST(efi_types),
        TEST(efi_strides),
        TEST(efi_hostile),
        TEST(ranges_join),
        TEST(full_table_still_joins),
        TEST(files_are_found),
        TEST(too_many_files),
        TEST(elf_good),
        TEST(elf_truncated),
        TEST(elf_hostile),
        TEST(elf_many_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
