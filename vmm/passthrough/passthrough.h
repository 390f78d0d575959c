/*
 * The machine's devices in the hands of VMs: what a guest does to the model of a function
 * (vmm/devices/vpci.h) happens to the real one, and what that does reaches the guest.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/iommu.h"
#include "lib/lock.h"
#include "vmm/passthrough/coherence.h"
#include "vmm/host/irq.h"
#include "vmm/typing/typing.h"
#include "vmm/devices/vpci.h"
#include "vmm/devices/vpci_bus.h"

enum { PASSED_MAX_ENTRIES = 128, PASSED_MSI_VECTORS = 1 };

struct passed;

/* An interrupt of a device: an entry of its MSI-X table, or its MSI. */
struct passed_irq {
    struct irq irq;
    struct passed *device;
    uint64_t message;    /* as the guest has written it: address, data; 0: none for the APICs */
    int16_t index;       /* the IOMMU's entry */
    bool leads;          /* that is present */
    uint8_t vector, cpu; /* of the host; 0: none yet */
};

/*
 * A device's line of the machine's I/O APICs, and what it leads to. INTx of devices of one VM may
 * share one: then the first one's has what is the line's.
 */
struct passed_line {
    struct irq irq;
    struct passed *device;
    struct passed_line *line; /* the first one's of that line; NULL: it has none */
    uint32_t gsi;
    bool isa; /* rises for each interrupt; else it is an INTx, active as long as it asks */
    bool high_active;
    bool missing; /* it has an Interrupt Pin, but no line that can be used */
    bool blind;   /* it cannot be kept from its line, nor asked whether it interrupts */
    uint8_t pin;  /* of the guest's I/O APIC; of ISA its IRQ */
    bool open;    /* the guest lets it interrupt */
    bool waits;   /* its pin has been asserted: the line is masked until the guest has served it */
    /* Of a line: */
    struct pci_bdf chip; /* as the source of its messages */
    int16_t index;       /* the IOMMU's entry */
    uint8_t vector;      /* of the host; 0: none yet */
    bool come;
};

/* A device that a VM has. */
struct passed {
    struct vm *vm;
    struct pci_function *real;
    const struct config_device *config;
    struct pci_bdf requester; /* whose its interrupts are */
    struct coherence coherence;
    struct pci_saved saved;   /* as it was before its first reset */
    volatile uint32_t *table; /* the real MSI-X table, as the host maps it, or NULL */
    struct vpci_range at[PCI_BARS];
    bool reachable;    /* its requesters are attached: bus mastering may be on */
    bool lost;         /* it has not come back from its last reset: nothing leads to it */
    bool told_of_none; /* no vector was left */
    uint8_t irq_count; /* of IRQ: what the guest can ask for */
    uint64_t pending[PASSED_MAX_ENTRIES / 64]; /* a bit an entry: it has come */
    struct passed_irq irq[PASSED_MAX_ENTRIES];
    struct passed_line intx, channel[PCI_IDE_CHANNELS];
    struct vpci_entry entries[PASSED_MAX_ENTRIES];
    struct vpci function;
};

struct passed_list {
    struct mmio_range r[MMIO_MAX_RANGES];
    unsigned count;
};

/* Those of a VM, in the host's pool. */
struct passthrough {
    struct passed *devices[CONFIG_MAX_DEVICES];
    unsigned count;
    struct pci_bdf requesters[CONFIG_MAX_DEVICES * IOMMU_MAX_REQUESTERS];
    unsigned requester_count;
    struct iommu_domain domain;
    bool coherent;           /* no DMA of theirs misses the caches: each of them is */
    struct passed_list list; /* what views are to map of their registers */
    struct lock intx_lock;   /* of OPEN and WAITS */
    uint32_t silent;         /* a bit a pin: a device at it interrupts by INTx no more */
    bool moved;   /* what leads to their registers has changed, and is not yet so in the views */
    bool at_rest; /* no vCPU runs: that can wait */
};

/*
 * Gives VM, which has its memory but no views yet, the devices that its config names, each reset:
 * all that is wrong is refused with line, reason and cure. Returns 0 or a negative errno, logged.
 */
int passthrough_create(struct vm *vm, const struct config *config);

/*
 * The running CPU is to run a vCPU of VM's: its devices can interrupt it from now on. Returns 0, or
 * a negative errno, logged: -EINVAL where a message of theirs cannot name it.
 */
int passthrough_prepare_cpu(const struct vm *vm);

/* Whether DMA of a device of VM's may miss the caches. */
bool passthrough_is_noncoherent(const struct vm *vm);

/* At the VM's start and resets, while none of its vCPUs runs: all as firmware leaves it. */
void passthrough_reset(struct vm *vm);

/* At its end: no device of it does anything any more. */
void passthrough_end(struct vm *vm);

/* After an access to the VM's PCI bus: what it has moved moves in the views, too. */
void passthrough_follow(struct vcpu *vcpu);

struct platform;

/* Adds what a VM's firmware says of its devices. */
void passthrough_describe(const struct vm *vm, struct platform *platform);

/* The guest has served PINS of its I/O APIC, which devices of the machine have asserted. */
void passthrough_ended(struct vcpu *vcpu, uint32_t pins);

/* Takes what devices of the VM have sent, on any of its CPUs. */
void passthrough_take(struct vcpu *vcpu);

/* Whether there are registers of a device at GPA; accesses of WIDTH bytes to those that no view
 * maps, and to ports, where all that is no device's is counted. */
bool passthrough_is_mmio(const struct vm *vm, gpa_t gpa);
uint64_t passthrough_read(struct vcpu *vcpu, gpa_t gpa, unsigned width);
void passthrough_write(struct vcpu *vcpu, gpa_t gpa, unsigned width, uint64_t value);
uint32_t passthrough_in(struct vcpu *vcpu, uint16_t port, unsigned width);
void passthrough_out(struct vcpu *vcpu, uint16_t port, unsigned width, uint32_t value);
