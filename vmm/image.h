/*
 * Reads a multiboot 1 kernel image (ELF32, ELF64 or address fields) and plans where its parts go,
 * and builds the boot information a multiboot kernel finds. Pure: images and guest memory are
 * callbacks.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

enum { IMAGE_MAX_SEGMENTS = 16, IMAGE_MAX_MODULES = 8, IMAGE_MAX_RAM = 12 };

/* Where RAM that is free for the guest ends below 1 MiB, as on a PC. */
enum { IMAGE_LOW_END = 0x9fc00 };

/* A file of SIZE bytes; READ copies N bytes at OFFSET, which lie inside it, to TO. */
struct image_file {
    const char *name; /* for messages */
    uint64_t size;
    void (*read)(const struct image_file *file, uint64_t offset, void *to, size_t n);
    void *context;
};

struct image_segment {
    uint64_t offset;    /* in the file */
    uint64_t file_size; /* bytes to copy */
    gpa_t gpa;          /* where they go */
    uint64_t mem_size;  /* bytes in memory; what is beyond file_size is zeroed */
};

struct image_plan {
    struct image_segment segments[IMAGE_MAX_SEGMENTS];
    unsigned count;
    uint32_t entry;          /* 32-bit, physical */
    uint64_t end;            /* first byte after the highest segment */
    bool page_align_modules; /* header flags bit 0 */
};

/*
 * Plans the image for a guest whose RAM is the N ranges of RAM. Every refusal is logged with the
 * file's name, the problem and the cure: no multiboot header, truncated, not x86, entry above 4 GiB
 * or in no segment, overlapping or wrapping segments (-ENOEXEC), segments outside RAM (-E2BIG). An
 * entry in a segment's virtual range is that segment's physical one, as GRUB has it. Returns 0 or
 * one of these. (Multiboot Specification 0.6.96, "The layout of Multiboot header".)
 */
int image_plan(const struct image_file *file, const struct range *ram, unsigned n,
               struct image_plan *plan);

struct image_module {
    uint64_t size;      /* bytes */
    const char *string; /* what the guest finds as its string */
    gpa_t gpa;          /* out: where its bytes go, page aligned */
};

struct image_boot {
    const struct range *ram; /* guest RAM: rising, whole pages, at most IMAGE_MAX_RAM */
    unsigned ram_count;
    const char *cmdline;
    struct image_module *modules;
    unsigned module_count; /* at most IMAGE_MAX_MODULES */
    gpa_t info;            /* out: address of the information structure: the guest's EBX */
    uint64_t low_end;      /* of what is called RAM below 1 MiB: at most IMAGE_LOW_END, not 0 */
};

/*
 * Places the modules (above the image, below 4 GiB, inside RAM) and the multiboot information (at
 * the lowest free page but the first), and builds the latter: flags, mem_lower and mem_upper,
 * command line, modules, memory map, loader name "nosnoop". The map reports RAM but for what the
 * guest-physical map reserves: from LOW_END to FFFFF, C0000000-FFFFFFFF, and what lies between
 * ranges of RAM. The bytes go to OUT, USED says how many, and they belong at BOOT->info. OUT has
 * SIZE bytes. Returns 0 or -E2BIG, logged. (Multiboot Specification 0.6.96, "Boot information
 * format".)
 */
int image_boot_info(const struct image_plan *plan, struct image_boot *boot, uint8_t *out,
                    size_t size, size_t *used);
