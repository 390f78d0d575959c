/* The format of extended page tables. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/pt.h"

/* Bits of an entry (SDM, "The Extended Page Table Mechanism (EPT)"). */
#define EPT_R          (1ull << 0)
#define EPT_W          (1ull << 1)
#define EPT_X          (1ull << 2)
#define EPT_TYPE_SHIFT 3 /* bits 5:3 of a leaf: enum memtype without UC- */
#define EPT_IPAT       (1ull << 6)
#define EPT_LARGE      (1ull << 7)
#define EPT_ADDRESS    0x000ffffffffff000ull

/*
 * Attributes that would be a misconfiguration (SDM, "EPT Misconfigurations") are refused: PT_W
 * without PT_R, MT_UC_MINUS. Execute-only leaves need that capability. Accessed and dirty bits
 * start as 0.
 */
extern const struct pt_format ept_format;
