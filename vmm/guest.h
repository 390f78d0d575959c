/* Puts a guest's files into its memory before its first entry. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "boot/boot_info.h"
#include "vmm/vm.h"

/*
 * Loads the kernel and the modules that the VM's config names out of INFO's files, and sets the
 * entry state of the Multiboot Specification. What was written is flushed from the caches. Returns
 * 0 or a negative errno, logged.
 */
int guest_load(struct vm *vm, const struct boot_info *info);
