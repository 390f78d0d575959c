/* The machine's IOMMUs: found and turned on once, with everything blocked. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/iommu.h"
#include "vmm/passthrough/intx_route.h"

struct boot_info;
struct host;

/*
 * Turns the IOMMUs on; devices' DMA is blocked from then on, but that of displays to the memory
 * that firmware has set aside for them. IDENTITY: leaves them alone, and gives devices to VMs whose
 * memory lies at the machine's own addresses. Once, by the first CPU, after pci_host_init().
 */
void iommu_host_start(struct host *host, const struct boot_info *info, bool identity);

/* What they do; NULL: there is none, or none is to be used. */
const struct iommu_ops *iommu_host(void);

/* The I/O APICs whose interrupts they remap. */
const struct iommu_ioapics *iommu_host_ioapics(void);

/* The registers of IOMMUs and I/O APICs that the host uses: COUNT ranges. */
const struct range *iommu_host_registers(unsigned *count);

/* What says where INTx of the machine's functions come in. */
struct intx_sources iommu_host_intx(void);

/*
 * To be called once a second by the first CPU, or as it has asked for by watchdog_ask(): faults
 * that were too many to be reported at once, and those that came while others were.
 */
void iommu_host_look(void);

/* The same by any CPU, whose VM's devices have just been stopped: however many there were. */
void iommu_host_look_last(void);
