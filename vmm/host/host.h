/* The host's own memory: the pool, the page tables that map nothing else, and windows to the rest.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "boot/boot_info.h"
#include "mm/extents.h"
#include "mm/frames.h"
#include "mm/memmap.h"
#include "mm/mtrr.h"
#include "mm/pt.h"
#include "vmm/host/cpu.h"
#include "vmm/host/window.h"

struct host {
    hpa_t image;            /* where the image lies */
    hpa_t boot_root;        /* the first CPU's page tables */
    struct memmap map;      /* all of physical memory, and who has it */
    struct frames frames;   /* the host pool */
    struct pt pt;           /* what all CPUs map: image, pool, registers */
    struct extents guest;   /* RAM for guests */
    struct mtrr_state mtrr; /* the machine's own memory types */
    uint64_t mmio_used;     /* bytes of MMIO_VA given out */
};

/*
 * Takes the pool and the first CPU's area out of the memory that INFO describes, and builds the
 * host's tables: image (W^X) and pool for all CPUs, and for each its area; nothing else. Returns 0
 * or a negative errno, logged.
 */
int host_init(struct host *host, const struct boot_info *info, hpa_t image);

/*
 * SIZE bytes of RAM for the hypervisor at a multiple of ALIGN, below 4 GiB: as close behind the
 * image as there are, or else anywhere from 1 MiB up, as guests' kernels want low addresses. Sizes
 * and result as memmap_find().
 */
int host_find(const struct host *host, uint64_t size, uint64_t align, uint64_t *at);

/*
 * Leaves the boot tables for the host's own, and continues in NEXT as the first CPU, on its guarded
 * stack.
 */
_Noreturn void host_enter(const struct host *host, void (*next)(void));

/*
 * Makes the area of CPU INDEX in the AREA_SIZE bytes at AT, and gives the ROOT of its page tables.
 * Returns 0, or -ENOMEM, logged.
 */
int host_make_area(struct host *host, hpa_t at, uint32_t index, hpa_t *root);

/* Where a byte of the image or the pool is. */
hpa_t host_address(const struct host *host, const void *pointer);

/* Copies N bytes from or to any physical address through WB, by windows. */
void host_read(struct cpu *cpu, hpa_t from, void *to, size_t n);
void host_write(struct cpu *cpu, hpa_t to, const void *from, size_t n);
void host_zero(struct cpu *cpu, hpa_t to, uint64_t n);
void host_copy(struct cpu *cpu, hpa_t to, hpa_t from, uint64_t n);

/*
 * Takes SIZE bytes, whole pages in a row, for what the pool is too small for, and maps them, not
 * zeroed, for good; AT: where they lie. While the machine is made. Returns NULL where there is no
 * room, logged if it is none for tables.
 */
void *host_take(struct host *host, uint64_t size, hpa_t *at);

/* Maps SIZE bytes of device registers, uncached, for good. Returns NULL, logged, when out of room.
 */
volatile void *host_map_mmio(struct host *host, hpa_t registers, uint64_t size);
