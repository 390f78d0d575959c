/* Fills and searches struct boot_info; the kernel's doors, the UEFI loader and host tests share it.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/boot_info.h"
#include "lib/log.h"
#include "lib/string.h"

void boot_add_range(struct boot_info *info, uint64_t start, uint64_t end, enum mem_kind kind,
                    uint32_t source)
{
    assert(info->range_count <= BOOT_MAX_RANGES);
    if (start >= end)
        return;
    if (info->range_count > 0) {
        struct mem_range *last = &info->ranges[info->range_count - 1];
        if (last->end == start && last->kind == kind && last->source == source) {
            last->end = end;
            return;
        }
    }
    if (info->range_count == BOOT_MAX_RANGES) {
        info->dropped_ranges++;
        return;
    }
    info->ranges[info->range_count++] = (struct mem_range){start, end, kind, source};
}

void boot_set_framebuffer(struct boot_info *info, struct boot_framebuffer fb)
{
    uint64_t size = (uint64_t)fb.height * fb.pitch; /* two 32-bit factors */
    bool known = fb.format == BOOT_PIXEL_RGBX || fb.format == BOOT_PIXEL_BGRX;
    if (!known || fb.hpa == 0 || size == 0 || fb.width == 0 || fb.width > fb.pitch / 4)
        return;
    if (fb.hpa + size < fb.hpa)
        return;
    info->framebuffer = fb;
}

/* Copies TEXT, as much of it as SIZE bytes with a NUL hold; looks at no more than SIZE of its
 * bytes. */
static size_t copy_cut(char *to, const char *text, size_t size)
{
    size_t n = 0;
    while (n + 1 < size && text[n] != '\0') {
        to[n] = text[n];
        n++;
    }
    to[n] = '\0';
    if (text[n] != '\0')
        log_line("boot file '%s...': more than %zu characters are cut; use a shorter one", to,
                 size - 1);
    return n;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static const char *after_last_slash(const char *path)
{
    const char *name = path;
    for (; *path != '\0'; path++)
        if (*path == '/')
            name = path + 1;
    return name;
}

/* Ends STRING after its first word, which it returns. */
static const char *first_word(char *string)
{
    while (is_blank(*string))
        string++;
    char *end = string;
    while (*end != '\0' && !is_blank(*end))
        end++;
    *end = '\0';
    return string;
}

void boot_add_file(struct boot_info *info, const char *string, uint64_t hpa, uint64_t size)
{
    assert(info->file_count <= BOOT_MAX_FILES);
    assert(hpa + size >= hpa);
    if (info->file_count == BOOT_MAX_FILES) {
        info->dropped_files++;
        return;
    }
    struct boot_file *file = &info->files[info->file_count++];
    char word[BOOT_STRING_SIZE];
    size_t n = copy_cut(file->string, string, sizeof(file->string));
    memcpy(word, file->string, n + 1);
    copy_cut(file->name, after_last_slash(first_word(word)), sizeof(file->name));
    file->hpa = hpa;
    file->size = size;
}

const struct boot_file *boot_find_file(const struct boot_info *info, const char *name)
{
    assert(info->file_count <= BOOT_MAX_FILES);
    name = after_last_slash(name);
    if (*name == '\0')
        return NULL;
    for (uint32_t i = 0; i < info->file_count; i++)
        if (strcmp(info->files[i].name, name) == 0)
            return &info->files[i];
    return NULL;
}
