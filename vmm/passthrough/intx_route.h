/*
 * Where the INTx of one of the machine's functions comes in, by what firmware says. Pure; also
 * runs in a host process.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/gsi.h"

#define INTX_NO_IRQ UINT16_MAX

struct intx_sources {
    const struct gsi_table *gsis;    /* by ACPI */
    const struct firmware *mp_table; /* where it is looked for; NULL: there can be none */
    uint16_t sci;                    /* ACPI's own IRQ, or INTX_NO_IRQ */
};

/* A line, which is triggered by its level. */
struct intx_line {
    uint32_t gsi; /* there may be no such one */
    bool high_active;
    const char *by; /* who says so, for the log */
};

/*
 * Finds that of F, whose Interrupt Pin is PIN (1 to 4) and Interrupt Line LINE: by the MP table, or
 * where PCI's interrupts come as ISA's by LINE. (ACPI says it by code, for which there is no
 * interpreter.) False: nothing says it.
 */
bool intx_find(const struct intx_sources *from, const struct pci_function *f, unsigned pin,
               unsigned line, struct intx_line *found);

/* The line that the config says. */
struct intx_line intx_given(const struct intx_sources *from, uint32_t gsi);
