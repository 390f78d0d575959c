/* Multiboot 1 images: what of the file goes where, and the information that their kernel finds. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/image.h"

#include "boot/mb1.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"

/* Multiboot Specification 0.6.96, "The layout of Multiboot header". */
enum {
    HEADER_MAGIC = 0x1badb002,
    HEADER_SEARCH = 8192,
    HEADER_CHUNK = 128, /* bytes read at a time */
    HEADER_MINIMUM = 12,
    HEADER_PAGE_ALIGN = 1 << 0,
    HEADER_VIDEO = 1 << 2,
    HEADER_UNKNOWN = 0xfff8, /* bits that a loader must know or refuse; bit 1 is always granted */
    HEADER_ADDRESSES = 1 << 16,
};

struct header {
    uint32_t magic, flags, checksum;
    uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

/* System V ABI, "Object Files". */
enum {
    ELF_MAGIC = 0x464c457f,
    ELF_CLASS32 = 1,
    ELF_CLASS64 = 2,
    ELF_LITTLE_ENDIAN = 1,
    ELF_EXECUTABLE = 2,
    ELF_386 = 3,
    ELF_X86_64 = 62,
    ELF_LOAD = 1,
};

struct elf_ident {
    uint32_t magic;
    uint8_t class, data, version, padding[9];
    uint16_t type, machine;
    uint32_t file_version;
};

struct elf32 {
    struct elf_ident ident;
    uint32_t entry, phoff, shoff, flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct elf64 {
    struct elf_ident ident;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct phdr32 {
    uint32_t type, offset, vaddr, paddr, filesz, memsz, flags, align;
};

struct phdr64 {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

static_assert(sizeof(struct header) == 32, "The layout of Multiboot header");
static_assert(sizeof(struct elf_ident) == 24 && sizeof(struct elf32) == 52, "ELF header");
static_assert(sizeof(struct elf64) == 64, "ELF header");
static_assert(sizeof(struct phdr32) == 32 && sizeof(struct phdr64) == 56, "Program header");

/* What the rest needs of either class's ELF header. */
struct elf {
    uint64_t entry, phoff;
    unsigned class, phentsize, phnum;
};

struct planner {
    const struct image_file *file;
    const struct range *ram;
    unsigned ram_count;
    struct image_plan *plan;
};

/* Logs a refusal with the file's name; its value is the error. */
#define REFUSE(error, file, fmt, ...)                                                              \
    (log_line("guest image %s: " fmt, (file)->name, __VA_ARGS__), -(error))

static bool in_file(const struct image_file *file, uint64_t offset, uint64_t size)
{
    return size <= file->size && offset <= file->size - size;
}

static bool read(const struct image_file *file, uint64_t offset, void *to, size_t size)
{
    if (!in_file(file, offset, size))
        return false;
    file->read(file, offset, to, size);
    return true;
}

/* Returns the offset of the header, of which its first three fields are sound, or HEADER_SEARCH. */
static uint32_t find_header(const struct image_file *file)
{
    uint8_t bytes[HEADER_CHUNK + HEADER_MINIMUM];
    uint32_t limit = (uint32_t)min_u64(file->size, HEADER_SEARCH);
    for (uint32_t start = 0; start + HEADER_MINIMUM <= limit; start += HEADER_CHUNK) {
        uint32_t n = (uint32_t)min_u64(sizeof(bytes), limit - start);
        file->read(file, start, bytes, n);
        for (uint32_t i = 0; i < HEADER_CHUNK && i + HEADER_MINIMUM <= n; i += 4) {
            uint32_t fields[3];
            memcpy(fields, bytes + i, sizeof(fields));
            if (fields[0] == HEADER_MAGIC && fields[0] + fields[1] + fields[2] == 0)
                return start + i;
        }
    }
    return HEADER_SEARCH;
}

static int read_header(const struct image_file *file, struct header *header, uint32_t *offset)
{
    memset(header, 0, sizeof(*header));
    *offset = find_header(file);
    if (*offset == HEADER_SEARCH)
        return REFUSE(ENOEXEC, file, "no multiboot header in the first %u bytes; link one there",
                      HEADER_SEARCH);
    file->read(file, *offset, header, HEADER_MINIMUM);
    uint32_t unknown = header->flags & HEADER_UNKNOWN;
    if (unknown != 0)
        return REFUSE(ENOEXEC, file,
                      "its multiboot header needs unknown features, flags 0x%x; clear these bits",
                      unknown);
    if ((header->flags & HEADER_VIDEO) != 0)
        log_line("guest image %s: its wish for a video mode is ignored; there is none", file->name);
    if ((header->flags & HEADER_ADDRESSES) == 0)
        return 0;
    if (*offset + sizeof(*header) > HEADER_SEARCH || !read(file, *offset, header, sizeof(*header)))
        return REFUSE(ENOEXEC, file,
                      "the address fields of its multiboot header are cut at 0x%x; "
                      "move the header up",
                      *offset);
    return 0;
}

static bool in_ram(const struct planner *planner, uint64_t start, uint64_t end)
{
    for (unsigned i = 0; i < planner->ram_count; i++)
        if (start >= planner->ram[i].start && end <= planner->ram[i].end)
            return true;
    return false;
}

static bool overlaps(const struct image_segment *s, uint64_t start, uint64_t end)
{
    return s->gpa.v < end && start < s->gpa.v + s->mem_size;
}

/* Adds the bytes at OFFSET, which are to stand at ADDRESS. MEM_SIZE is not 0. */
static int add_segment(const struct planner *planner, uint64_t offset, uint64_t file_size,
                       uint64_t address, uint64_t mem_size)
{
    const struct image_file *file = planner->file;
    struct image_plan *plan = planner->plan;
    uint64_t end;
    if (__builtin_add_overflow(address, mem_size, &end) || file_size > mem_size)
        return REFUSE(ENOEXEC, file,
                      "a segment of 0x%lx bytes, 0x%lx of them in the file, at 0x%lx is malformed; "
                      "link it again",
                      mem_size, file_size, address);
    if (file_size != 0 && !in_file(file, offset, file_size))
        return REFUSE(ENOEXEC, file,
                      "it ends at 0x%lx, before its segment of 0x%lx bytes at 0x%lx does; copy it "
                      "again",
                      file->size, file_size, offset);
    if (!in_ram(planner, address, end))
        return REFUSE(E2BIG, file,
                      "0x%lx-0x%lx is not in the guest's RAM; raise memory or link it elsewhere",
                      address, end - 1);
    if (plan->count == IMAGE_MAX_SEGMENTS)
        return REFUSE(ENOEXEC, file, "more than %u segments; join some", IMAGE_MAX_SEGMENTS);
    for (unsigned i = 0; i < plan->count; i++)
        if (overlaps(&plan->segments[i], address, end))
            return REFUSE(ENOEXEC, file, "two segments overlap at 0x%lx; link it again",
                          max_u64(address, plan->segments[i].gpa.v));
    plan->segments[plan->count++] = (struct image_segment){
        .offset = offset, .file_size = file_size, .gpa = gpa(address), .mem_size = mem_size};
    plan->end = max_u64(plan->end, end);
    return 0;
}

static int set_entry(const struct planner *planner, uint64_t entry)
{
    struct image_plan *plan = planner->plan;
    for (unsigned i = 0; i < plan->count; i++) {
        if (entry <= UINT32_MAX && overlaps(&plan->segments[i], entry, entry + 1)) {
            plan->entry = (uint32_t)entry;
            return 0;
        }
    }
    return REFUSE(ENOEXEC, planner->file,
                  "its entry 0x%lx is not in a segment below 4 GiB; correct the entry", entry);
}

/* "load_end_addr" and "bss_end_addr" may be 0: the whole file, and no bss. */
static int plan_addresses(const struct planner *planner, const struct header *h, uint32_t at)
{
    const struct image_file *file = planner->file;
    uint32_t before = h->header_addr - h->load_addr;
    if (h->load_addr > h->header_addr || before > at)
        return REFUSE(ENOEXEC, file,
                      "header_addr 0x%x and load_addr 0x%x do not agree with a header at 0x%x; "
                      "correct them",
                      h->header_addr, h->load_addr, at);
    if ((h->load_end_addr != 0 && h->load_end_addr < h->load_addr) ||
        (h->bss_end_addr != 0 && h->bss_end_addr < h->load_addr))
        return REFUSE(ENOEXEC, file, "load_addr 0x%x lies above the end addresses; correct them",
                      h->load_addr);
    uint32_t offset = at - before;
    uint64_t load_size =
        h->load_end_addr == 0 ? file->size - offset : (uint64_t)h->load_end_addr - h->load_addr;
    uint64_t mem_size = h->bss_end_addr == 0 ? load_size : (uint64_t)h->bss_end_addr - h->load_addr;
    if (mem_size == 0)
        return REFUSE(ENOEXEC, file, "there is nothing to load at 0x%x; correct load_end_addr",
                      h->load_addr);
    int error = add_segment(planner, offset, load_size, h->load_addr, mem_size);
    return error != 0 ? error : set_entry(planner, h->entry_addr);
}

static int read_elf(const struct image_file *file, struct elf *elf)
{
    union {
        struct elf_ident ident;
        struct elf32 elf32;
        struct elf64 elf64;
    } u;
    if (!read(file, 0, &u.ident, sizeof(u.ident)) || u.ident.magic != ELF_MAGIC)
        return REFUSE(ENOEXEC, file,
                      "neither ELF nor address fields (header flags bit %u); link it as ELF", 16);
    unsigned class = u.ident.class;
    if (u.ident.data != ELF_LITTLE_ENDIAN || u.ident.type != ELF_EXECUTABLE ||
        (u.ident.machine != ELF_386 && u.ident.machine != ELF_X86_64))
        return REFUSE(ENOEXEC, file,
                      "an ELF file of type %u for machine %u; link an x86 executable (not PIE)",
                      u.ident.type, u.ident.machine);
    if (class == ELF_CLASS32 && read(file, 0, &u.elf32, sizeof(u.elf32)))
        *elf = (struct elf){u.elf32.entry, u.elf32.phoff, class, u.elf32.phentsize, u.elf32.phnum};
    else if (class == ELF_CLASS64 && read(file, 0, &u.elf64, sizeof(u.elf64)))
        *elf = (struct elf){u.elf64.entry, u.elf64.phoff, class, u.elf64.phentsize, u.elf64.phnum};
    else
        return REFUSE(ENOEXEC, file, "its ELF header of class %u is cut; copy it again", class);
    if (elf->phentsize < (class == ELF_CLASS32 ? sizeof(struct phdr32) : sizeof(struct phdr64)))
        return REFUSE(ENOEXEC, file, "program headers of %u bytes are too small; link it again",
                      elf->phentsize);
    return 0;
}

static bool read_phdr(const struct image_file *file, const struct elf *elf, unsigned index,
                      struct phdr64 *out)
{
    struct phdr32 p;
    /* Cannot wrap for an INDEX above 0: header 0, at phoff, was found to lie in the file. */
    uint64_t offset = elf->phoff + (uint64_t)index * elf->phentsize;
    if (elf->class == ELF_CLASS64)
        return read(file, offset, out, sizeof(*out));
    if (!read(file, offset, &p, sizeof(p)))
        return false;
    *out = (struct phdr64){p.type, p.flags, p.offset, p.vaddr, p.paddr, p.filesz, p.memsz, p.align};
    return true;
}

static int plan_elf(const struct planner *planner)
{
    const struct image_file *file = planner->file;
    struct elf elf;
    struct phdr64 p;
    int error = read_elf(file, &elf);
    if (error != 0)
        return error;
    uint64_t entry = elf.entry;
    bool converted = false;
    for (unsigned i = 0; i < elf.phnum; i++) {
        if (!read_phdr(file, &elf, i, &p))
            return REFUSE(ENOEXEC, file, "its program header %u lies behind its end; copy it again",
                          i);
        if (p.type != ELF_LOAD || p.memsz == 0)
            continue;
        error = add_segment(planner, p.offset, p.filesz, p.paddr, p.memsz);
        if (error != 0)
            return error;
        if (!converted && elf.entry >= p.vaddr && elf.entry - p.vaddr < p.memsz) {
            entry = elf.entry - p.vaddr + p.paddr;
            converted = true;
        }
    }
    if (planner->plan->count == 0)
        return REFUSE(ENOEXEC, file,
                      "none of its %u program headers is to be loaded; link it again", elf.phnum);
    return set_entry(planner, entry);
}

int image_plan(const struct image_file *file, const struct range *ram, unsigned n,
               struct image_plan *plan)
{
    struct planner planner = {file, ram, n, plan};
    struct header header;
    uint32_t offset;
    memset(plan, 0, sizeof(*plan));
    int error = read_header(file, &header, &offset);
    if (error != 0)
        return error;
    plan->page_align_modules = (header.flags & HEADER_PAGE_ALIGN) != 0;
    if ((header.flags & HEADER_ADDRESSES) != 0)
        return plan_addresses(&planner, &header, offset);
    return plan_elf(&planner);
}

/* --- the information -------------------------------------------------------------------------- */

/* The end of what 32-bit fields can name: the last page is left out, so that an end fits too. */
#define TOP_32 0xfffff000ull

/* What the guest-physical map (docs/memory-map.md) has for no RAM, or does not call so. */
enum { RESERVED = 2, HAS_CMDLINE = 1 << 2 };

/* Each range of RAM, each gap, and what is reserved, which can cut one of these in two. */
enum { MAX_ENTRIES = 2 * IMAGE_MAX_RAM - 1 + 2 * RESERVED };

/* The memory map, rising. */
struct map {
    struct range r[MAX_ENTRIES];
    uint8_t type[MAX_ENTRIES]; /* enum mb1_type */
    unsigned count;
};

static void add_entry(struct map *map, uint64_t start, uint64_t end, enum mb1_type type)
{
    unsigned i = map->count++;
    assert(map->count <= MAX_ENTRIES);
    for (; i > 0 && map->r[i - 1].start > start; i--) {
        map->r[i] = map->r[i - 1];
        map->type[i] = map->type[i - 1];
    }
    map->r[i] = (struct range){start, end};
    map->type[i] = (uint8_t)type;
}

static void add_without(struct map *map, const struct range reserved[RESERVED], uint64_t at,
                        uint64_t end, enum mb1_type type)
{
    for (unsigned k = 0; k < RESERVED; k++) {
        if (reserved[k].end <= at || reserved[k].start >= end)
            continue;
        if (reserved[k].start > at)
            add_entry(map, at, reserved[k].start, type);
        at = reserved[k].end;
    }
    if (at < end)
        add_entry(map, at, end, type);
}

/* A gap between ranges of RAM is no place for devices. */
static void build_map(const struct image_boot *boot, struct map *map)
{
    const struct range reserved[RESERVED] = {{boot->low_end, MIB}, {0xc0000000, 0x100000000}};
    const struct range *ram = boot->ram;
    map->count = 0;
    for (unsigned i = 0; i < boot->ram_count; i++) {
        add_without(map, reserved, ram[i].start, ram[i].end, MB1_RAM);
        if (i > 0)
            add_without(map, reserved, ram[i - 1].end, ram[i].start, MB1_RESERVED);
    }
    for (unsigned k = 0; k < RESERVED; k++)
        add_entry(map, reserved[k].start, reserved[k].end, MB1_RESERVED);
}

/* KiB of RAM from START on, without a gap. */
static uint32_t kib_from(const struct map *map, uint64_t start)
{
    for (unsigned i = 0; i < map->count; i++) {
        const struct range *r = &map->r[i];
        if (map->type[i] == MB1_RAM && r->start <= start && start < r->end)
            return (uint32_t)((r->end - start) / KIB);
    }
    return 0;
}

/* Where a thing that overlaps START to END-1 ends, of the image and the first N modules; or 0. */
static uint64_t end_of_obstacle(const struct image_plan *plan, const struct image_boot *boot,
                                unsigned n, uint64_t start, uint64_t end)
{
    for (unsigned i = 0; i < plan->count; i++)
        if (overlaps(&plan->segments[i], start, end))
            return plan->segments[i].gpa.v + plan->segments[i].mem_size;
    for (unsigned i = 0; i < n; i++) {
        uint64_t at = boot->modules[i].gpa.v, size = boot->modules[i].size;
        if (at < end && start < at + size)
            return at + size;
    }
    return 0;
}

struct search {
    const struct image_plan *plan;
    const struct image_boot *boot;
    struct map map;
};

/* The lowest page from FROM on where SIZE bytes of RAM are free. N modules have their place. */
static bool find_room(const struct search *search, unsigned n, uint64_t from, uint64_t size,
                      gpa_t *out)
{
    for (unsigned i = 0; i < search->map.count; i++) {
        const struct range *r = &search->map.r[i];
        uint64_t end = min_u64(r->end, TOP_32);
        uint64_t at = align_up(max_u64(from, r->start), PAGE_SIZE);
        while (search->map.type[i] == MB1_RAM && at <= end && size <= end - at) {
            uint64_t next = end_of_obstacle(search->plan, search->boot, n, at, at + size);
            if (next == 0) {
                *out = gpa(at);
                return true;
            }
            at = align_up(next, PAGE_SIZE);
        }
    }
    return false;
}

/* The bytes being built: those at OUT stand at guest address BASE. */
struct builder {
    uint8_t *out;
    size_t size, used;
    uint32_t base;
};

/* Appends, and returns the guest address of what was appended. */
static uint32_t append(struct builder *b, const void *from, size_t n)
{
    uint32_t at = b->base + (uint32_t)b->used;
    assert(n <= b->size - b->used);
    memcpy(b->out + b->used, from, n);
    b->used += n;
    return at;
}

static uint32_t append_string(struct builder *b, const char *text)
{
    return append(b, text, strlen(text) + 1);
}

static void append_modules(struct builder *b, const struct image_boot *boot, uint32_t strings)
{
    for (unsigned i = 0; i < boot->module_count; i++) {
        const struct image_module *m = &boot->modules[i];
        struct mb1_module module = {
            .start = (uint32_t)m->gpa.v, .end = (uint32_t)(m->gpa.v + m->size), .string = strings};
        append(b, &module, sizeof(module));
        strings += (uint32_t)strlen(m->string) + 1;
    }
}

static void append_map(struct builder *b, const struct map *map)
{
    for (unsigned i = 0; i < map->count; i++) {
        const struct range *r = &map->r[i];
        uint64_t length = r->end - r->start;
        struct mb1_mmap entry = {
            .size = sizeof(entry) - sizeof(entry.size),
            .base_low = (uint32_t)r->start,
            .base_high = (uint32_t)(r->start >> 32),
            .length_low = (uint32_t)length,
            .length_high = (uint32_t)(length >> 32),
            .type = map->type[i],
        };
        append(b, &entry, sizeof(entry));
    }
}

static size_t module_strings_size(const struct image_boot *boot)
{
    size_t size = 0;
    for (unsigned i = 0; i < boot->module_count; i++)
        size += strlen(boot->modules[i].string) + 1;
    return size;
}

static const char loader_name[] = "nosnoop";

static size_t information_size(const struct image_boot *boot, const struct map *map)
{
    return sizeof(struct mb1_info) + boot->module_count * sizeof(struct mb1_module) +
           map->count * sizeof(struct mb1_mmap) + module_strings_size(boot) +
           strlen(boot->cmdline) + 1 + sizeof(loader_name);
}

/* Out of line, as the map takes much of its caller's stack. */
static __attribute__((noinline)) void build_information(const struct image_boot *boot,
                                                        const struct map *map, struct builder *b)
{
    struct mb1_info info = {
        .flags =
            MB1_HAS_MEMORY | HAS_CMDLINE | MB1_HAS_MODULES | MB1_HAS_MMAP | MB1_HAS_LOADER_NAME,
        .mem_lower = kib_from(map, 0),
        .mem_upper = kib_from(map, MIB),
        .mods_count = boot->module_count,
        .mmap_length = map->count * (uint32_t)sizeof(struct mb1_mmap),
    };
    b->used = sizeof(info); /* written last, when all addresses are known */
    info.mods_addr = b->base + (uint32_t)b->used;
    info.mmap_addr = info.mods_addr + info.mods_count * (uint32_t)sizeof(struct mb1_module);
    append_modules(b, boot, info.mmap_addr + info.mmap_length);
    append_map(b, map);
    for (unsigned i = 0; i < boot->module_count; i++)
        append_string(b, boot->modules[i].string);
    info.cmdline = append_string(b, boot->cmdline);
    info.boot_loader_name = append_string(b, loader_name);
    memcpy(b->out, &info, sizeof(info));
}

static int place_modules(struct search *search, struct image_boot *boot)
{
    for (unsigned i = 0; i < boot->module_count; i++) {
        struct image_module *m = &boot->modules[i];
        if (!find_room(search, i, search->plan->end, m->size, &m->gpa)) {
            log_line("guest module %.60s: no room for its 0x%lx bytes above the image, which ends "
                     "at 0x%lx; raise memory",
                     m->string, m->size, search->plan->end);
            return -E2BIG;
        }
    }
    return 0;
}

int image_boot_info(const struct image_plan *plan, struct image_boot *boot, uint8_t *out,
                    size_t size, size_t *used)
{
    struct search search = {.plan = plan, .boot = boot};
    assert(boot->ram_count <= IMAGE_MAX_RAM && boot->module_count <= IMAGE_MAX_MODULES);
    assert(boot->low_end > 0 && boot->low_end <= IMAGE_LOW_END);
    build_map(boot, &search.map);
    size_t needed = information_size(boot, &search.map);
    if (needed > size) {
        log_line("guest: the multiboot information has %zu bytes, of at most %zu; shorten cmdline "
                 "and the modules' strings",
                 needed, size);
        return -E2BIG;
    }
    int error = place_modules(&search, boot);
    if (error != 0)
        return error;
    if (!find_room(&search, boot->module_count, PAGE_SIZE, needed, &boot->info)) {
        log_line("guest: no room for the %zu bytes of multiboot information; raise memory", needed);
        return -E2BIG;
    }
    struct builder builder = {.out = out, .size = needed, .base = (uint32_t)boot->info.v};
    build_information(boot, &search.map, &builder);
    assert(builder.used == needed);
    *used = needed;
    return 0;
}
