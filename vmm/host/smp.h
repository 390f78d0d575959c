/* The machine's other CPUs: how they are started, and how they get work. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/firmware.h"
#include "vmm/host/host.h"

/*
 * Starts the CPUs of FOUND, at most LIMIT in all with the running one (0: as many as there is room
 * for), and parks them. One that does not come, or is not as the first, is named in the log and
 * left out.
 */
void smp_start(struct host *host, const struct firmware_cpus *found, uint32_t limit);

/* The APIC ID of a CPU that is up. */
uint32_t smp_apic_id(uint32_t cpu);

/* The CPUs that are up. */
struct cpu_set smp_cpus(void);

/*
 * Has CPU, which is parked or the running one, do WHAT; the first returns when it is done, the
 * second at once, for another CPU than the running one. CONTEXT is not on a stack: CPUs do not map
 * those of others.
 */
void smp_call(uint32_t cpu, void (*what)(void *context), void *context);
void smp_begin(uint32_t cpu, void (*what)(void *context), void *context);

/*
 * The running CPU waits for IS_OVER, which is asked after each interrupt or kick, and does what
 * others ask of it meanwhile.
 */
void smp_wait(bool (*is_over)(void));

/* Sends CPU an NMI. */
void smp_send_nmi(uint32_t cpu);

/* Makes all other CPUs halt for good, wherever they are; comes back after a while even so. */
void smp_stop_others(void);

/* The running CPU tells that it halts for good. */
void smp_stopped(void);
