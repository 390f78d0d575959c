/* Which VM gets which of the machine's devices: what the config asks for, checked. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/iommu.h"
#include "vmm/config.h"

/* What else the answer depends on. */
struct assign_facts {
    uint16_t log_port;    /* the port of the log's UART; 0: none */
    uint64_t framebuffer; /* the address of what the firmware shows; 0: not known */
    /* As iommu_ops.facts(), false where there is no IOMMU. */
    iommu_facts_of *iommu;
    /* Whether an I/O APIC's interrupts carry that ID, too. */
    bool (*is_ioapic)(struct pci_bdf id);
};

/*
 * Finds the functions of DEVICES, which has room for all of VM's, in order. Refused with the line,
 * the reason and the cure: a function that is not there, a bridge, what the host itself uses, what
 * nothing isolates from another VM's, an IDE channel at whose ports another function may answer,
 * what cannot be reset or has reserved memory without the words that accept that, reserved memory
 * that another VM's device has, too, DMA that nothing leads to it, interrupts that nothing remaps.
 * Returns 0 or -EINVAL, logged. The config has been parsed: no device is there twice.
 */
int assign_devices(const struct config *config, const struct vm_config *vm, struct pci_table *pci,
                   const struct assign_facts *facts, struct pci_function *devices[]);
