/* Whether a CPU is as the first one is: what differs would show to a guest, or break it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/host/host.h"

enum likeness {
    ALIKE,
    ALIKE_MENDED, /* once it had got the first one's MTRRs */
    UNLIKE,
};

/* Notes what the first CPU is, which runs this. */
void alike_take_first(const struct host *host);

/*
 * Compares the running CPU's features and MTRRs with those of the first one, after the same PAT has
 * been set on both. What cannot be mended is logged.
 */
enum likeness alike_check(void);
