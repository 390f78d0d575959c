/* The local APIC of the running CPU. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

struct host;

/*
 * Software-disables the local APIC, in either mode (SDM, "Spurious-Interrupt Vector Register"),
 * which masks all of its local interrupts; NMI and INIT still arrive. Does nothing where it is off
 * already.
 */
void apic_quiet(struct host *host);
