/* Whether the DMA of a device that a VM has looks into the CPUs' caches, and why. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/passthrough/coherence.h"

#include "lib/errno.h"

static const char *why_not(const struct coherence_facts *facts)
{
    if (facts->dma == DMA_NON_COHERENT)
        return "as the config says";
    if (facts->can_force)
        return "snooping is not forced, as it cannot be for all devices of the VM";
    return facts->has_bit ? "no IOMMU can force it to snoop; dma=coherent would hold its Enable No "
                            "Snoop at 0"
                          : "no IOMMU can force it to snoop, and it has no Enable No Snoop";
}

/*
 * A function whose Enable No Snoop is 0 must not set the attribute, and one without PCI Express has
 * no such bit (PCI Express Base Specification, "Device Control Register"). But there are devices
 * that do not mind it. A coherent device that is taken for one that is not costs time, the other
 * way round data: the bit alone counts only where the config insists.
 */
int coherence_judge(const struct coherence_facts *facts, struct coherence *says)
{
    bool insists = facts->dma == DMA_COHERENT;
    *says = (struct coherence){.why = why_not(facts)};
    if (facts->forces)
        *says = (struct coherence){.coherent = true, .why = "its IOMMU forces snooping"};
    else if (insists && facts->has_bit)
        *says = (struct coherence){true, true,
                                   "its Enable No Snoop is held at 0, which dma=coherent trusts"};
    return insists && !says->coherent ? -EINVAL : 0;
}
