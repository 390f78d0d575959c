/* All VMs of the machine: which CPU each has, how they are made, and how they run side by side. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/vm.h"

/*
 * Makes the VMs of CONFIG, each on a CPU of its own, with their files of INFO in their memory.
 * Returns 0 or a negative errno, logged; then none may run.
 */
int vms_make(const struct config *config, struct host *host, const struct boot_info *info);

/* Runs them all, on their CPUs; returns on the first CPU when the last has ended. */
void vms_run(void);

/* By the order of the config; NULL: there are no more, or they are not made yet. */
struct vm *vms_get(unsigned index);

/* Whether VM, or any, has not ended; any CPU may ask. */
bool vms_is_running(const struct vm *vm);
bool vms_any_is_running(void);

/* The VM of that name, or NULL. */
struct vm *vms_named(const char *name);
