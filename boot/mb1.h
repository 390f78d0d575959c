/* What a multiboot 1 loader leaves in memory for the kernel. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "boot/multiboot.h"

/* EAX at the kernel's entry (Multiboot Specification 0.6.96, "Machine state"). */
#define MB1_LOADER_MAGIC 0x2badb002u

/* Bits of mb1_info.flags: which of the fields below are valid ("Boot information format"). */
enum {
    MB1_HAS_MEMORY = 1 << 0,
    MB1_HAS_MODULES = 1 << 3,
    MB1_HAS_MMAP = 1 << 6,
    MB1_HAS_LOADER_NAME = 1 << 9,
    MB1_HAS_FRAMEBUFFER = 1 << 12,
};

/* Addresses are physical. The structure is aligned to 4 bytes only. */
struct mb1_info {
    uint32_t flags;
    uint32_t mem_lower, mem_upper; /* KiB from 0, KiB from 1 MiB */
    uint32_t boot_device;
    uint32_t cmdline;
    uint32_t mods_count, mods_addr;
    uint32_t syms[4];
    uint32_t mmap_length, mmap_addr; /* bytes */
    uint32_t drives_length, drives_addr;
    uint32_t config_table;
    uint32_t boot_loader_name;
    uint32_t apm_table;
    uint32_t vbe_control_info, vbe_mode_info;
    uint16_t vbe_mode, vbe_interface_seg, vbe_interface_off, vbe_interface_len;
    uint32_t framebuffer_addr_low, framebuffer_addr_high;
    uint32_t framebuffer_pitch;                     /* bytes a line */
    uint32_t framebuffer_width, framebuffer_height; /* pixels */
    uint8_t framebuffer_bpp;
    uint8_t framebuffer_type; /* 1: direct colour, and the colours hold */
    struct multiboot_colors colors;
};

struct mb1_module {
    uint32_t start, end; /* bytes START to END-1 */
    uint32_t string;
    uint32_t reserved;
};

/* An entry of the memory map; the next one begins SIZE bytes after the field SIZE itself. */
struct mb1_mmap {
    uint32_t size;
    uint32_t base_low, base_high;
    uint32_t length_low, length_high;
    uint32_t type; /* enum mb1_type */
};

static_assert(offsetof(struct mb1_info, mmap_length) == 44, "Boot information format");
static_assert(offsetof(struct mb1_info, boot_loader_name) == 64, "Boot information format");
static_assert(offsetof(struct mb1_info, vbe_mode) == 80, "Boot information format");
static_assert(offsetof(struct mb1_info, framebuffer_addr_low) == 88, "Boot information format");
static_assert(offsetof(struct mb1_info, framebuffer_bpp) == 108, "Boot information format");
static_assert(sizeof(struct mb1_info) == 116, "Boot information format");
static_assert(sizeof(struct mb1_module) == 16, "Boot information format");
static_assert(sizeof(struct mb1_mmap) == 24, "Boot information format");

/*
 * Turns the information structure of the Multiboot Specification 0.6.96 ("Boot information format")
 * into INFO, all of which is set. MB points at it; AT maps a physical address of the loader's data
 * to a pointer that can be read (identity in the kernel), or to NULL. Modules that make no sense
 * are logged and counted in dropped_files. Returns 0, or -EINVAL, logged, where there is neither a
 * memory map with RAM in it nor an amount of memory.
 */
int mb1_boot_info(const struct mb1_info *mb, physical_at *at, struct boot_info *info);
