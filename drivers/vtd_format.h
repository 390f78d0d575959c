/* The format of VT-d's second-level tables. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/pt.h"

enum { VTD_MIN_LEVELS = 3, VTD_MAX_LEVELS = 5 };

/*
 * VT-d, "Second-Level Paging Entries": of VTD_MIN_LEVELS to VTD_MAX_LEVELS levels. An attribute has
 * PT_R or PT_W, and a type: MT_WB where each access is made to snoop (SNP), else MT_UC. That is no
 * memory type: without SNP the device's requests say whether they snoop.
 */
extern const struct pt_format vtd_formats[VTD_MAX_LEVELS - VTD_MIN_LEVELS + 1];
