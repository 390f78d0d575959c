/* What every door hands to the kernel, in one form. Fixed size: it is copied before memory is
 * known. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/assert.h"
#include "mm/types.h"

enum {
    BOOT_MAX_RANGES = 256,
    BOOT_MAX_FILES = 32,
    BOOT_NAME_SIZE = 64,
    BOOT_STRING_SIZE = 256,
    BOOT_INFO_VERSION = 1,
};

enum boot_door { DOOR_MULTIBOOT1 = 1, DOOR_MULTIBOOT2, DOOR_UEFI };

/* In rising order of precedence where ranges overlap. */
enum mem_kind {
    MEM_RAM = 1,    /* free once the doors' own data are copied */
    MEM_FILE,       /* RAM that holds a boot file */
    MEM_ACPI,       /* ACPI tables, reclaimable: kept */
    MEM_FIRMWARE,   /* runtime services, ACPI NVS, reserved */
    MEM_MMIO,       /* device registers that the firmware's map names */
    MEM_BAD,        /* defective */
    MEM_HYPERVISOR, /* the image, and what the kernel takes for itself */
};

struct mem_range {
    uint64_t start, end; /* bytes; not aligned, in any order, may overlap, as the firmware said */
    uint32_t kind;       /* enum mem_kind */
    uint32_t source;     /* the firmware's own type number, for the log */
};

struct boot_file {
    char name[BOOT_NAME_SIZE];     /* last path component, without directories */
    char string[BOOT_STRING_SIZE]; /* the whole module string as the door got it */
    uint64_t hpa, size;            /* where its bytes are, below 4 GiB */
};

enum boot_pixel { BOOT_PIXEL_NONE, BOOT_PIXEL_RGBX, BOOT_PIXEL_BGRX }; /* bytes in memory order */

struct boot_framebuffer {
    uint64_t hpa;
    uint32_t width, height, pitch; /* pixels, pixels, bytes a line */
    uint32_t format;               /* enum boot_pixel; 0: there is none */
};

struct boot_info {
    uint32_t version; /* BOOT_INFO_VERSION */
    uint32_t door;    /* enum boot_door */
    uint64_t rsdp;    /* host-physical address of the ACPI RSDP, 0: none given */
    struct boot_framebuffer framebuffer;
    uint32_t range_count, file_count;
    struct mem_range ranges[BOOT_MAX_RANGES];
    struct boot_file files[BOOT_MAX_FILES];
    char loader[BOOT_NAME_SIZE]; /* the boot loader's name for itself, may be empty */
    uint32_t dropped_ranges;     /* ranges beyond BOOT_MAX_RANGES that the door had to leave out */
    uint32_t dropped_files;      /* files that do not fit or make no sense */
};

static_assert(sizeof(struct mem_range) == 24, "the loader and the kernel share this layout");
static_assert(sizeof(struct boot_file) == 336, "the loader and the kernel share this layout");
static_assert(sizeof(struct boot_framebuffer) == 24, "the loader and the kernel share this layout");
static_assert(offsetof(struct boot_info, ranges) == 48,
              "the loader and the kernel share this layout");
static_assert(sizeof(struct boot_info) == 17016, "the loader and the kernel share this layout");

/*
 * Adds a UEFI memory map (UEFI, "EFI_BOOT_SERVICES.GetMemoryMap()") of SIZE bytes with descriptors
 * of STRIDE bytes to INFO's ranges; they are as after ExitBootServices(), and all RAM has the type
 * EfiConventionalMemory. Returns 0, or -EINVAL, logged, for a stride smaller than a descriptor.
 */
int efi_memory_map(const void *map, uint64_t size, uint64_t stride, struct boot_info *info);

/*
 * Adds a range, joining it with the last one where that one ends at START and they agree; counts
 * what does not fit. A range with START >= END is passed over.
 */
void boot_add_range(struct boot_info *info, uint64_t start, uint64_t end, enum mem_kind kind,
                    uint32_t source);

/*
 * Adds a file of SIZE bytes at HPA (HPA + SIZE does not wrap): its name is the last path component
 * of the first word of STRING. Counts what does not fit; a string that is too long is cut, and
 * logged.
 */
void boot_add_file(struct boot_info *info, const char *string, uint64_t hpa, uint64_t size);

/* The first file of that name (last path component of NAME), or NULL. */
const struct boot_file *boot_find_file(const struct boot_info *info, const char *name);

/* Takes a framebuffer; one of an unknown format or whose numbers contradict each other is not
 * taken. */
void boot_set_framebuffer(struct boot_info *info, struct boot_framebuffer fb);
