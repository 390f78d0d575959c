/*
 * Fuzzes what turns a boot loader's data into struct boot_info and that into the memory map:
 * multiboot 1 information, multiboot 2 tags, a UEFI memory map, and any struct boot_info. The
 * ranges are compared with what a second, plain reading of the same maps finds; everything else
 * keeps the promises of boot_info.h, multiboot.h and memmap.h.
 *
 * The first byte of the input says which of the four it is, the second is flags, and the rest is
 * memory at LOW or, by FLAG_TOP, just below 4 GiB.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/mb1.h"
#include "boot/mb2.h"
#include "lib/errno.h"
#include "mm/memmap.h"
#include "tests/fuzz/fuzz.h"

enum { FLAG_TOP = 1, FLAG_ANY_SIZE = 2, FLAG_REPEAT = 4, HEAD = 2 };

enum {
    LOW = 0x10000,
    MOST_TOP = 0x1000,
    MOST_DATA = 0x4000,
    REPEATED = 48, /* bytes: two entries of most tables */
    REPEATS = 140,
    MOST_READ = 0x100000, /* at once, from a byte of the data on: what follows them is zero */
    MOST_MB1_MAP = 0x10000,
};

static_assert(MOST_TOP + REPEATS * REPEATED <= MOST_DATA, "the data and what is repeated");

#define TOP (4 * GIB)

static uint8_t low[MOST_DATA + MOST_READ];
static uint8_t top[MOST_TOP]; /* ends at 4 GiB: a read beyond it is one beyond this array */
static size_t data_size;
static bool at_top;

static struct boot_info info;
static struct memmap map;

static const void *at(uint64_t hpa)
{
    require(hpa != 0 && hpa <= TOP);
    if (at_top && hpa >= TOP - MOST_TOP && hpa < TOP)
        return top + (hpa - (TOP - MOST_TOP));
    return !at_top && hpa >= LOW && hpa < LOW + data_size ? low + (hpa - LOW) : NULL;
}

static uint64_t place_low(const uint8_t *data, size_t size, bool repeat)
{
    memset(low, 0, data_size);
    memcpy(low, data, size);
    data_size = size;
    for (unsigned i = 0; repeat && size >= REPEATED && i < REPEATS; i++) {
        memcpy(low + data_size, data + size - REPEATED, REPEATED);
        data_size += REPEATED;
    }
    at_top = false;
    return LOW;
}

static uint64_t place_top(const uint8_t *data, size_t size)
{
    uint64_t room = align_up(size, 8);
    memset(top, 0, sizeof(top));
    memcpy(top + sizeof(top) - room, data, size);
    at_top = true;
    return TOP - room;
}

/*
 * Puts the data into memory, and by FLAG_REPEAT their end often enough to fill any table; returns
 * where they begin, a multiple of 8.
 */
static uint64_t place(const uint8_t *data, size_t size, unsigned flags)
{
    size = min_u64(size, MOST_TOP);
    return flags & FLAG_TOP ? place_top(data, size) : place_low(data, size, flags & FLAG_REPEAT);
}

/* SIZE bytes at HPA, as the second reading gets them. */
static bool get(uint64_t hpa, void *to, size_t size)
{
    const void *from = hpa == 0 || hpa > TOP - size ? NULL : at(hpa);
    if (from != NULL)
        memcpy(to, from, size);
    return from != NULL;
}

/* --- the second reading: what must be in the ranges ------------------------------------------- */

struct expected {
    uint64_t bytes[MEM_HYPERVISOR + 1]; /* by kind, modulo 2^64 */
    bool ram;
};

/* START to END-1 is in one range of the kind. Where ranges were dropped it need not be. */
static void expect(struct expected *e, uint64_t start, uint64_t end, enum mem_kind kind)
{
    bool found = info.dropped_ranges != 0;
    if (start >= end)
        return;
    e->bytes[kind] += end - start;
    for (unsigned i = 0; i < info.range_count && !found; i++) {
        const struct mem_range *r = &info.ranges[i];
        found = r->kind == kind && r->start <= start && end <= r->end;
    }
    require(found);
}

/* An entry of a multiboot map: 1 is RAM, 3 ACPI tables, 5 defective, any other is reserved. */
static void expect_entry(struct expected *e, uint64_t base, uint64_t length, uint32_t type)
{
    static const uint8_t kinds[] = {MEM_FIRMWARE, MEM_RAM,      MEM_FIRMWARE,
                                    MEM_ACPI,     MEM_FIRMWARE, MEM_BAD};
    if (base + length < base)
        return;
    expect(e, base, base + length, (enum mem_kind)(type < 6 ? kinds[type] : MEM_FIRMWARE));
    e->ram = e->ram || (type == 1 && length != 0);
}

/* KiB from 0 and from 1 MiB up, as the BIOS counts them. */
static void expect_amount(struct expected *e, uint32_t lower, uint32_t upper)
{
    if (upper == 0)
        return;
    expect(e, 0, (lower < 640 ? lower : 640) * KIB, MEM_RAM);
    expect(e, MIB, MIB + upper * KIB, MEM_RAM);
    e->ram = true;
}

static void expect_mb1(struct expected *e, const uint8_t *bytes)
{
    struct mb1_info mb;
    struct mb1_mmap entry;
    memcpy(&mb, bytes, sizeof(mb));
    uint64_t left = mb.flags & 1 << 6 ? mb.mmap_length : 0, hpa = mb.mmap_addr;
    if (left > MOST_MB1_MAP)
        left = MOST_MB1_MAP;
    while (left >= 24 && get(hpa, &entry, 24) && entry.size >= 20 && entry.size + 4ull <= left) {
        expect_entry(e, entry.base_low + ((uint64_t)entry.base_high << 32),
                     entry.length_low + ((uint64_t)entry.length_high << 32), entry.type);
        hpa += entry.size + 4ull;
        left -= entry.size + 4ull;
    }
    if (!e->ram && (mb.flags & 1))
        expect_amount(e, mb.mem_lower, mb.mem_upper);
}

/* UEFI, "Memory Type Usage after ExitBootServices()". */
static void expect_descriptor(struct expected *e, const uint8_t *descriptor)
{
    uint32_t type;
    uint64_t start, pages, attribute;
    memcpy(&type, descriptor, 4);
    memcpy(&start, descriptor + 8, 8);
    memcpy(&pages, descriptor + 24, 8);
    memcpy(&attribute, descriptor + 32, 8);
    enum mem_kind kind = MEM_FIRMWARE;
    if ((type >= 1 && type <= 4) || type == 7)
        kind = attribute >> 63 ? MEM_FIRMWARE : MEM_RAM;
    else if (type == 8)
        kind = MEM_BAD;
    else if (type == 9)
        kind = MEM_ACPI;
    else if (type == 11 || type == 12)
        kind = MEM_MMIO;
    if (pages >> 52 != 0 || start + pages * 4096 < start)
        return;
    expect(e, start, start + pages * 4096, kind);
    e->ram = e->ram || (kind == MEM_RAM && pages != 0);
}

static void expect_efi(struct expected *e, const uint8_t *bytes, uint64_t size, uint64_t stride)
{
    for (uint64_t used = 0; stride >= 40 && size - used >= stride; used += stride)
        expect_descriptor(e, bytes + used);
}

/* The last tag of a type counts. */
struct tags {
    uint64_t hpa[32];
    uint32_t size[32]; /* with the tag's head; 0: there is none */
};

static void find_tags(uint64_t hpa, struct tags *tags)
{
    struct mb2_head head;
    struct mb2_tag tag;
    uint64_t end = hpa, next = hpa + 8;
    if (get(hpa, &head, 8))
        end = hpa + min_u64(head.total_size, MOST_READ);
    while (next + 8 <= end && get(next, &tag, 8) && tag.size >= 8 && tag.size <= end - next &&
           tag.type != 0) {
        if (tag.type < 32) {
            tags->hpa[tag.type] = next;
            tags->size[tag.type] = tag.size;
        }
        next += (tag.size + 7ull) / 8 * 8;
    }
}

/* The UEFI map first, unless boot services run; then the loader's map, then its amounts. */
static void expect_mb2(struct expected *e, uint64_t hpa)
{
    struct tags tags = {.size = {0}};
    struct mb2_map head;
    struct mb2_mmap entry;
    uint32_t amounts[2];
    find_tags(hpa, &tags);
    uint32_t rsdp = tags.size[15] >= 8 + 36 ? 15 : 14;
    if (tags.size[rsdp] >= 8 + 20)
        expect(e, tags.hpa[rsdp] + 8, tags.hpa[rsdp] + tags.size[rsdp], MEM_ACPI);
    if (tags.size[17] >= 16 && tags.size[18] == 0 && get(tags.hpa[17] + 8, &head, 8) &&
        at(tags.hpa[17] + 16) != NULL)
        expect_efi(e, at(tags.hpa[17] + 16), tags.size[17] - 16, head.entry_size);
    if (!e->ram && tags.size[6] >= 16 && get(tags.hpa[6] + 8, &head, 8) && head.entry_size >= 24)
        for (uint64_t used = 16; used + 24 <= tags.size[6] && get(tags.hpa[6] + used, &entry, 24);
             used += head.entry_size)
            expect_entry(e, entry.base, entry.length, entry.type);
    if (!e->ram && tags.size[4] >= 16 && get(tags.hpa[4] + 8, amounts, 8))
        expect_amount(e, amounts[0], amounts[1]);
}

/* There is nothing else in the ranges. */
static void check_total(const struct expected *e, int result)
{
    require(result == (e->ram ? 0 : -EINVAL));
    require(result == 0 || host_log[0] != '\0');
    if (info.dropped_ranges != 0)
        return;
    for (unsigned kind = MEM_RAM; kind <= MEM_HYPERVISOR; kind++) {
        uint64_t bytes = 0;
        for (unsigned i = 0; i < info.range_count; i++)
            if (info.ranges[i].kind == kind)
                bytes += info.ranges[i].end - info.ranges[i].start;
        require(bytes == e->bytes[kind]);
    }
}

/* --- struct boot_info, whatever its door ------------------------------------------------------ */

static void check_ranges(void)
{
    require(info.range_count <= BOOT_MAX_RANGES);
    require(info.dropped_ranges == 0 || info.range_count == BOOT_MAX_RANGES);
    for (unsigned i = 0; i < info.range_count; i++) {
        const struct mem_range *r = &info.ranges[i];
        require(r->start < r->end && r->kind >= MEM_RAM && r->kind < MEM_HYPERVISOR);
        require(i == 0 || r[-1].end != r->start || r[-1].kind != r->kind ||
                r[-1].source != r->source);
    }
}

/* The name is what follows the last slash of the string's first word, cut to fit. */
static void check_file(const struct boot_file *file)
{
    require_string(file->name);
    require_string(file->string);
    require(file->hpa <= UINT32_MAX && file->size <= UINT32_MAX - file->hpa);
    const char *word = file->string + strspn(file->string, " \t");
    const char *end = word + strcspn(word, " \t"), *name = end;
    while (name > word && name[-1] != '/')
        name--;
    size_t length = min_u64((uint64_t)(end - name), BOOT_NAME_SIZE - 1);
    require(strlen(file->name) == length && memcmp(file->name, name, length) == 0);
    const struct boot_file *found = boot_find_file(&info, file->name);
    require(length == 0 ? found == NULL : found != NULL && found <= file);
}

static void check_framebuffer(const struct boot_framebuffer *fb)
{
    static const struct boot_framebuffer none = {0};
    if (fb->format == BOOT_PIXEL_NONE) {
        require(memcmp(fb, &none, sizeof(none)) == 0);
        return;
    }
    uint64_t size = (uint64_t)fb->pitch * fb->height;
    require(fb->format <= BOOT_PIXEL_BGRX && fb->hpa != 0 && size != 0 && fb->width != 0);
    require(4ull * fb->width <= fb->pitch && size <= UINT64_MAX - fb->hpa);
}

static void check_info(enum boot_door door)
{
    require(info.version == BOOT_INFO_VERSION && info.door == door);
    require_string(info.loader);
    require(info.rsdp < TOP && (info.rsdp == 0 || door == DOOR_MULTIBOOT2));
    require(info.file_count <= BOOT_MAX_FILES);
    check_ranges();
    check_framebuffer(&info.framebuffer);
    for (unsigned i = 0; i < info.file_count; i++)
        check_file(&info.files[i]);
}

/* --- the memory map --------------------------------------------------------------------------- */

/* What the page at PAGE is by one of the firmware's ranges: RAM as a whole, all else in part. */
static unsigned kind_by(uint64_t start, uint64_t end, unsigned kind, uint64_t page)
{
    if (kind < MEM_RAM || kind > MEM_HYPERVISOR)
        kind = MEM_FIRMWARE;
    bool whole = start <= page && page + PAGE_SIZE <= end;
    bool part = start < end && start < page + PAGE_SIZE && page < end;
    return (kind == MEM_RAM ? whole : part) ? kind : 0;
}

static void check_page(uint64_t address)
{
    uint64_t page = align_down(address, PAGE_SIZE), next;
    unsigned kind = 0;
    if (page >= MEMMAP_END)
        return;
    for (unsigned i = 0; i < info.range_count; i++) {
        const struct mem_range *r = &info.ranges[i];
        unsigned one = kind_by(r->start, r->end, r->kind, page);
        kind = one > kind ? one : kind;
    }
    for (unsigned i = 0; i < info.file_count; i++) {
        const struct boot_file *f = &info.files[i];
        unsigned one = kind_by(f->hpa, f->hpa + f->size, MEM_FILE, page);
        kind = one > kind ? one : kind;
    }
    require(memmap_kind_at(&map, page, &next) == kind);
    require(next > page && next % PAGE_SIZE == (next == UINT64_MAX ? PAGE_SIZE - 1 : 0));
}

/* At the edges of the first ranges, where it could be wrong. */
static void check_pages(void)
{
    for (unsigned i = 0; i < info.range_count && i < 8; i++) {
        const struct mem_range *r = &info.ranges[i];
        check_page(r->start);
        check_page(r->start - 1);
        check_page(r->end);
        check_page(r->end - 1);
    }
    for (unsigned i = 0; i < info.file_count && i < 4; i++) {
        check_page(info.files[i].hpa);
        check_page(info.files[i].hpa + info.files[i].size);
    }
}

static void check_map(void)
{
    bool ram = false;
    int result = memmap_build(&info, &map);
    require(map.count <= MEMMAP_MAX);
    for (unsigned i = 0; i < map.count; i++) {
        const struct mem_range *r = &map.r[i];
        require(r->start < r->end && r->end <= MEMMAP_END && (r->start | r->end) % PAGE_SIZE == 0);
        require(r->kind >= MEM_RAM && r->kind <= MEM_HYPERVISOR && r->source == 0);
        require(i == 0 || r[-1].end < r->start || (r[-1].end == r->start && r[-1].kind != r->kind));
        ram = ram || r->kind == MEM_RAM;
    }
    require(result == (ram ? 0 : -ENOMEM));
    check_pages();
}

/* --- the four doors --------------------------------------------------------------------------- */

static void fuzz_mb1(const uint8_t *data, size_t size, unsigned flags)
{
    struct expected e = {.ram = false};
    if (size < sizeof(struct mb1_info))
        return;
    place(data, size, flags);
    int result = mb1_boot_info((const struct mb1_info *)(const void *)data, at, &info);
    expect_mb1(&e, data);
    check_total(&e, result);
    check_info(DOOR_MULTIBOOT1);
}

/* A size of megabytes takes its time: only by a flag. */
static void fuzz_mb2(const uint8_t *data, size_t size, unsigned flags)
{
    struct expected e = {.ram = false};
    uint64_t hpa = place(data, size, flags);
    if (!(flags & FLAG_ANY_SIZE) && !at_top)
        memset(low + 2, 0, 2);
    int result = mb2_boot_info(hpa, at, &info);
    uint32_t total_size = 0;
    if (get(hpa, &total_size, sizeof(total_size)) && total_size <= TOP - hpa)
        expect_mb2(&e, hpa);
    check_total(&e, result);
    check_info(DOOR_MULTIBOOT2);
}

static void fuzz_efi(const uint8_t *data, size_t size, unsigned flags)
{
    struct expected e = {.ram = true};
    uint64_t stride = flags;
    memset(&info, 0, sizeof(info));
    int result = efi_memory_map(data, size, stride, &info);
    require((result == 0) == (stride >= 40));
    if (result == 0) {
        expect_efi(&e, data, size, stride);
        check_total(&e, result);
    }
    check_ranges();
}

/* FLAGS files, the rest ranges, of any numbers but files that wrap, which no door lets through. */
static void fuzz_info(const uint8_t *data, size_t size, unsigned flags)
{
    info.range_count = info.file_count = info.dropped_ranges = 0;
    for (; size >= 16 && info.file_count < flags % BOOT_MAX_FILES; data += 16, size -= 16) {
        struct boot_file *file = &info.files[info.file_count];
        memcpy(&file->hpa, data, 8);
        memcpy(&file->size, data + 8, 8);
        if (file->hpa + file->size >= file->hpa)
            info.file_count++;
    }
    for (; size >= 24 && info.range_count < BOOT_MAX_RANGES; data += 24, size -= 24)
        memcpy(&info.ranges[info.range_count++], data, 24);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const doors[])(const uint8_t *, size_t, unsigned) = {fuzz_mb1, fuzz_mb2, fuzz_efi,
                                                                       fuzz_info};
    if (size < HEAD)
        return 0;
    host_log_reset();
    doors[data[0] % ARRAY_SIZE(doors)](data + HEAD, size - HEAD, data[1]);
    check_map();
    return 0;
}
