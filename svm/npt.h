/* The format of nested page tables. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/pt.h"

/*
 * APM, "Nested Paging": the host's long-mode format, walked as user accesses, with memory types by
 * the PAT that the host has at VMRUN (HOST_PAT). Attributes include PT_R; there is no ipat.
 */
extern const struct pt_format npt_format;
