/* The log as every file sees it; vmm/host/, the loader and the host tests each implement it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* Writes one line: no newline in FMT. Formats are those of lib/format.h. */
__attribute__((format(printf, 1, 2))) void log_line(const char *fmt, ...);
