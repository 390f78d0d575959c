/* The format of AMD-Vi's host page tables. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/pt.h"

enum { AMDVI_MIN_LEVELS = 3, AMDVI_MAX_LEVELS = 5 };

/*
 * AMD IOMMU, "I/O Page Tables for Host Translations": of AMDVI_MIN_LEVELS to AMDVI_MAX_LEVELS
 * levels. An attribute has PT_R or PT_W, and a type: MT_WB where each access is made to snoop (FC),
 * else MT_UC. That is no memory type: without FC the device's requests say whether they snoop.
 */
extern const struct pt_format amdvi_formats[AMDVI_MAX_LEVELS - AMDVI_MIN_LEVELS + 1];
