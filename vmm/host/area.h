/* The area of a CPU: memory that it alone maps, with its stacks and the page tables that map it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/pt.h"
#include "vmm/host/cpu.h"

/* Pages of struct cpu, of the stacks, and of four tables, one a level. */
enum { AREA_STACK_PAGES = (MAIN_STACK_SIZE + (IST_COUNT - 1) * IST_STACK_SIZE) / PAGE_SIZE };
enum { AREA_TABLES = 4, AREA_PAGES = 1 + AREA_STACK_PAGES + AREA_TABLES };
#define AREA_SIZE (AREA_PAGES * PAGE_SIZE)

/*
 * Makes the area of CPU INDEX in the AREA_SIZE bytes at AT, which NOW shows for the moment: struct
 * cpu, and page tables with the area and the GiB of SHARED where the image is. Returns their root.
 */
hpa_t area_make(const struct pt *shared, hpa_t at, char *now, uint32_t index);
