/* The machine's other CPUs: how they are started, and where they wait for work. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/firmware.h"
#include "vmm/host.h"

/*
 * Starts the CPUs of FOUND, at most LIMIT in all with the running one (0: as many as there is room
 * for), and parks them. One that does not come, or is not as the first, is named in the log and
 * left out.
 */
void smp_start(struct host *host, const struct firmware_cpus *found, uint32_t limit);

/* The CPUs that are up. */
struct cpu_set smp_cpus(void);

/* Makes all other CPUs halt for good, wherever they are; comes back after a while even so. */
void smp_stop_others(void);

/* The running CPU tells that it halts for good. */
void smp_stopped(void);
