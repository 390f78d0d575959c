/*
 * Whether the DMA of a device that a VM has looks into the CPUs' caches, and why. Pure; also runs
 * in a host process.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/config.h"

struct coherence_facts {
    enum config_dma dma; /* as the config says */
    bool forces;         /* its IOMMU is to make all of its accesses snoop */
    bool can_force;      /* and could, were it for this device alone */
    bool has_bit; /* it has an Enable No Snoop bit (PCI Express, "Device Control Register") */
};

struct coherence {
    bool coherent;
    bool by_bit;     /* only as long as that bit is held at 0 */
    const char *why; /* for the log; where it is refused, why that is */
};

/* Returns 0, or -EINVAL: it cannot be as the config insists. */
int coherence_judge(const struct coherence_facts *facts, struct coherence *says);
