/*
 * Memory for devices' DMA, of every type that drivers make it, with guards around: what a device is
 * not meant to write holds a pattern. It is mapped in the window's first pages and nowhere else, so
 * that each page has one type at a time.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mm/types.h"

enum dma_type {
    DMA_WB,
    DMA_UC_PAT,
    DMA_UC_MTRR, /* as systems without a PAT do it */
    DMA_WC_PAT,
    DMA_TYPES, /* those that drivers are tested with */
    DMA_UC_MINUS_PAT = DMA_TYPES,
    DMA_WC_MTRR,
    DMA_WC_MTRR_UC_MINUS_PAT,
    DMA_WC_MTRR_UC_PAT,
    DMA_WC_MTRR_WC_PAT,
    DMA_UC_MTRR_UC_MINUS_PAT,
    DMA_UC_MTRR_UC_PAT,
    DMA_UC_MTRR_WC_PAT,
    DMA_ALL_TYPES
};

/* By what memory has that type: as MTRRs and PATs encode it. */
struct dma_kind {
    const char *name;
    uint8_t mtrr, pat;
};
extern const struct dma_kind dma_kinds[DMA_ALL_TYPES];

enum { DMA_PAGES = 128 };

/* Before all others: memory from 2 MiB up to 64 MiB holds a pattern from here on. */
void dma_init(void);

/* The same after a reset that has left memory as it was: it holds what dma_init() gave it. */
void dma_init_again(void);

/* All pages have TYPE and hold the pattern, and none is taken. */
void dma_begin(enum dma_type type);

/* COUNT pages that hold the pattern, with at least one guard before and behind; what a device
 * writes belongs here. */
void *dma_take(unsigned count);

/* The address by which a device knows what dma_take() gave. */
uint64_t dma_address(const volatile void *at);

/* Changes the type of COUNT pages: a power of two that AT is a multiple of, if by an MTRR. */
void dma_retype(void *at, unsigned count, enum dma_type type);

/*
 * What drivers do before a device that does not snoop looks at memory, and before they look at what
 * it wrote: WB memory is flushed, of others stores are drained.
 */
void dma_sync(const volatile void *at, size_t size);

/* Whether nothing but what was taken has changed, and each page that was has its type. */
void dma_end(void);

/* The byte of the pattern at AT, and whether all SIZE bytes are the pattern's. */
uint8_t dma_pattern(const volatile void *at);
bool dma_is_pattern(const volatile void *at, size_t size);

/* RUN in memory of each type between dma_begin() and dma_end(): a result each, `NAME, TYPE`. */
void dma_run(const char *name, const char *(*needs)(void), void (*run)(void));

/* A test case: whether memory that was no device's is as dma_init() left it. */
void dma_check_memory(void);

/* Waits, with interrupts on, until VECTOR has been taken COUNT times; false: for long it is not. */
bool dma_wait(unsigned vector, uint32_t count);
