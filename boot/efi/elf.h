/* Checks the kernel's ELF file and plans its image. Pure: the loader and host tests share it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

/* The image's first byte is linked here; p_vaddr - KERNEL_BASE is an offset in the image. */
#define KERNEL_BASE 0xffffffff80000000ull

enum {
    ELF_MAX_SEGMENTS = 16,
    KERNEL_MAX_SIZE = 256 << 20, /* bytes of image; what is larger is a mistake */
};

struct elf_segment {
    uint64_t file_offset, file_size;
    uint64_t image_offset, mem_size; /* what is beyond file_size is zero */
    bool executable;
};

struct elf_plan {
    struct elf_segment segments[ELF_MAX_SEGMENTS]; /* rising, not overlapping, none empty */
    uint32_t count;
    uint64_t image_size; /* bytes from KERNEL_BASE to the end of the last segment */
    uint64_t entry;      /* of the UEFI door: offset in the image */
};

/*
 * Plans the image of the SIZE bytes at FILE (ELF-64 Object File Format; System V ABI, AMD64
 * supplement): PT_LOAD segments at KERNEL_BASE and above, and at offset 38h of the image the bytes
 * "NOSNOOP1" and the offset of the UEFI entry. Returns NULL, or what is wrong with the file.
 */
const char *elf_plan(const uint8_t *file, uint64_t size, struct elf_plan *plan);

/* Builds the image in plan->image_size zeroed bytes at IMAGE. */
void elf_build(const uint8_t *file, const struct elf_plan *plan, uint8_t *image);
