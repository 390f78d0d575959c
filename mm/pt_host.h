/* The page-table format of the host: four levels of long mode, memory types by slots of HOST_PAT.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/pt.h"

/* Bits of an entry (SDM, "Formats of Paging-Structure Entries"; APM, "Long-Mode Page Translation").
 */
#define PTE_P         (1ull << 0)
#define PTE_W         (1ull << 1)
#define PTE_U         (1ull << 2)
#define PTE_PWT       (1ull << 3)
#define PTE_PCD       (1ull << 4)
#define PTE_A         (1ull << 5)
#define PTE_D         (1ull << 6)
#define PTE_PAT_4K    (1ull << 7) /* in a leaf of level 1 */
#define PTE_PS        (1ull << 7) /* in a larger leaf */
#define PTE_PAT_LARGE (1ull << 12)
#define PTE_NX        (1ull << 63)
#define PTE_ADDRESS   0x000ffffffffff000ull

/*
 * Supervisor leaves, never global, accessed and dirty from the start. Reading is always allowed, so
 * attributes include PT_R; ipat must be false. Needs EFER.NXE=1 and IA32_PAT=HOST_PAT.
 */
extern const struct pt_format pt_host_format;
