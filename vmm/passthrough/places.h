/* Whether a function's registers are its own: what its BARs lead to, a guest reaches. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/pci.h"
#include "mm/memmap.h"

/* What there is beside the function. */
struct places {
    const struct memmap *map;
    const struct pci_table *pci;
    const struct pci_ecams *ecams;
    const struct range *used; /* registers that the host uses: of IOMMUs and I/O APICs */
    unsigned used_count;
    uint16_t log_port; /* the port of the log's UART; 0: none */
};

/*
 * Whether each of F's BARs, one of PLACES.pci, has a place that is nothing else's: no memory, no
 * interrupt controller, no configuration space, no other function's. NULL: it has; else why not,
 * and what helps. One for ports that firmware has not placed is none.
 */
const char *places_judge(const struct places *places, const struct pci_function *f);
