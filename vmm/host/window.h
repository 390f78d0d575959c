/* Windows: pages of memory that the host does not own, mapped for a moment on one CPU. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/x86.h"
#include "vmm/host/cpu.h"

static inline char *window_va(const struct cpu *cpu, enum window_slot slot)
{
    return cpu->windows + slot * PAGE_SIZE;
}

/*
 * Maps the page of AT at this CPU's SLOT, through memory type TYPE (one that a PAT may hold; the
 * host's MTRRs still apply), until window_close(), and returns where AT is. The slot must be
 * closed.
 */
static inline void *window_open(struct cpu *cpu, enum window_slot slot, hpa_t at, enum memtype type)
{
    assert(cpu->window_entry[slot] == 0);
    cpu->window_entry[slot] = align_down(at.v, PAGE_SIZE) | cpu->window_bits[type];
    return window_va(cpu, slot) + at.v % PAGE_SIZE;
}

/* The same at a slot that may be open, in place of what was there. */
static inline void *window_move(struct cpu *cpu, enum window_slot slot, hpa_t at, enum memtype type)
{
    cpu->window_entry[slot] = align_down(at.v, PAGE_SIZE) | cpu->window_bits[type];
    invlpg(window_va(cpu, slot));
    return window_va(cpu, slot) + at.v % PAGE_SIZE;
}

static inline void window_close(struct cpu *cpu, enum window_slot slot)
{
    assert(cpu->window_entry[slot] != 0);
    cpu->window_entry[slot] = 0;
    invlpg(window_va(cpu, slot));
}
