/* Checks the kernel's ELF file, every field of it before its use, and builds its image. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/efi/elf.h"
#include "lib/assert.h"
#include "lib/string.h"

/* ELF-64 Object File Format, "ELF header" and "Program header table". */
struct elf_header {
    uint8_t ident[16]; /* magic, class, data encoding, version */
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct elf_program_header {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

static_assert(sizeof(struct elf_header) == 64, "ELF-64 Object File Format");
static_assert(sizeof(struct elf_program_header) == 56, "ELF-64 Object File Format");

enum { ELF_CLASS64 = 2, ELF_LITTLE = 1, ELF_CURRENT = 1, ET_EXEC = 2, EM_X86_64 = 62 };
enum { PT_LOAD = 1, PF_EXECUTE = 1, PHNUM_MAX = 64 };

/* What boot/entry.asm puts into the image for this loader. */
struct kernel_mark {
    char magic[8];
    uint64_t entry; /* offset in the image */
};

enum { MARK_OFFSET = 0x38 };

static const char *check_header(const struct elf_header *h, uint64_t size)
{
    static const uint8_t ident[] = {0x7f, 'E', 'L', 'F', ELF_CLASS64, ELF_LITTLE, ELF_CURRENT};
    if (memcmp(h->ident, ident, sizeof(ident)) != 0 || h->version != ELF_CURRENT)
        return "is not a little-endian ELF64 file";
    if (h->type != ET_EXEC || h->machine != EM_X86_64)
        return "is not an executable for x86-64";
    if (h->phentsize != sizeof(struct elf_program_header) || h->phnum > PHNUM_MAX)
        return "has a bad program header table";
    uint64_t table = (uint64_t)h->phnum * sizeof(struct elf_program_header);
    if (h->phoff > size || table > size - h->phoff)
        return "is truncated in its program header table";
    return NULL;
}

static const char *add_segment(struct elf_plan *plan, const struct elf_program_header *p,
                               uint64_t size)
{
    if (p->filesz > p->memsz || p->offset > size || p->filesz > size - p->offset)
        return "is truncated in a segment";
    uint64_t image_offset = p->vaddr - KERNEL_BASE; /* of lower addresses: 2 GiB and more */
    if (image_offset > KERNEL_MAX_SIZE || p->memsz > KERNEL_MAX_SIZE - image_offset)
        return "has a segment outside the kernel's addresses";
    if (image_offset < plan->image_size)
        return "has segments that overlap or do not rise";
    if (plan->count == ELF_MAX_SEGMENTS)
        return "has too many segments";
    plan->segments[plan->count++] = (struct elf_segment){
        p->offset, p->filesz, image_offset, p->memsz, (p->flags & PF_EXECUTE) != 0,
    };
    plan->image_size = image_offset + p->memsz;
    return NULL;
}

static const char *add_segments(struct elf_plan *plan, const uint8_t *table, uint16_t count,
                                uint64_t size)
{
    const char *wrong = NULL;
    for (uint16_t i = 0; i < count && wrong == NULL; i++) {
        struct elf_program_header p;
        memcpy(&p, table + i * sizeof(p), sizeof(p));
        if (p.type == PT_LOAD && p.memsz != 0)
            wrong = add_segment(plan, &p, size);
    }
    return wrong;
}

static bool is_code(const struct elf_plan *plan, uint64_t offset)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct elf_segment *s = &plan->segments[i];
        if (s->executable && offset >= s->image_offset && offset - s->image_offset < s->file_size)
            return true;
    }
    return false;
}

static const char *find_entry(struct elf_plan *plan, const uint8_t *file)
{
    static const char magic[] = {'N', 'O', 'S', 'N', 'O', 'O', 'P', '1'};
    const struct elf_segment *first = &plan->segments[0];
    struct kernel_mark mark;
    if (plan->count == 0 || first->image_offset != 0 ||
        first->file_size < MARK_OFFSET + sizeof(mark))
        return "has no segment at the image's start";
    memcpy(&mark, file + first->file_offset + MARK_OFFSET, sizeof(mark));
    if (memcmp(mark.magic, magic, sizeof(magic)) != 0)
        return "lacks the mark NOSNOOP1 at offset 38h of its image";
    if (!is_code(plan, mark.entry))
        return "has its UEFI entry outside its code";
    plan->entry = mark.entry;
    return NULL;
}

const char *elf_plan(const uint8_t *file, uint64_t size, struct elf_plan *plan)
{
    struct elf_header header;
    memset(plan, 0, sizeof(*plan));
    if (size < sizeof(header))
        return "is truncated in its ELF header";
    memcpy(&header, file, sizeof(header));
    const char *wrong = check_header(&header, size);
    if (wrong == NULL)
        wrong = add_segments(plan, file + header.phoff, header.phnum, size);
    return wrong != NULL ? wrong : find_entry(plan, file);
}

void elf_build(const uint8_t *file, const struct elf_plan *plan, uint8_t *image)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct elf_segment *s = &plan->segments[i];
        assert(s->image_offset + s->file_size <= plan->image_size);
        memcpy(image + s->image_offset, file + s->file_offset, s->file_size);
    }
}
