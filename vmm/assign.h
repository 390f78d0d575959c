/* Which VM gets which of the machine's devices: what the config asks for, checked. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/pci.h"
#include "vmm/config.h"

/* What else the answer depends on. */
struct assign_facts {
    uint16_t log_port;    /* the port of the log's UART; 0: none */
    uint64_t framebuffer; /* the address of what the firmware shows; 0: not known */
    /* Whether DMA by that requester ID can be led to a VM's memory. */
    bool (*reaches)(struct pci_bdf requester);
    /* Whether an I/O APIC's interrupts carry it, too. */
    bool (*is_ioapic)(struct pci_bdf requester);
    /* Whether an interrupt by that requester ID comes by an entry alone, if it is reached. */
    bool (*remaps)(struct pci_bdf requester);
    /* Whether firmware has memory for the device, which it goes on to use by itself (RMRR). */
    bool (*has_reserved_memory)(struct pci_bdf bdf);
};

/*
 * Finds the functions of DEVICES, which has room for all of VM's, in order. Refused with the line,
 * the reason and the cure: a function that is not there, a bridge, what the host itself uses, what
 * nothing isolates from another VM's, what cannot be reset or has reserved memory without the words
 * that accept that, DMA that nothing leads to it, interrupts that nothing remaps. Returns 0 or
 * -EINVAL, logged. The config has been parsed: no device is there twice.
 */
int assign_devices(const struct config *config, const struct vm_config *vm, struct pci_table *pci,
                   const struct assign_facts *facts, struct pci_function *devices[]);
