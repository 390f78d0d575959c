/*
 * VMs whose memory lies at the machine's own addresses, as the addresses that their guests give
 * devices go to memory as they are: no IOMMU translates them.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

struct boot_info;
struct host;
struct vm;

/*
 * Moves what the boot loader has left below the image, where guests' kernels want to be, to the
 * hypervisor's other memory: boot files, of which INFO then says where they are, and its copy of
 * the RSDP, which nobody reads any more. What has no room elsewhere stays. On the first CPU.
 */
void identity_make_way(struct host *host, struct boot_info *info);

/*
 * Gives VM its memory: from 1 MiB up the machine's lowest that is free, at the same addresses,
 * around holes. So is what is free from 1000h to 9FFFFh. What is not free below 1 MiB, and page 0,
 * is backed by pages elsewhere, for which devices have no address; the guest is told that it is
 * reserved, but for page 0. Returns 0 or -ENOMEM, logged.
 */
int identity_back(struct vm *vm);
