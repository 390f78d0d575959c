/*
 * The MultiProcessor Specification's tables: the machine's CPUs where there is no ACPI, and where
 * interrupts of its buses come in.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/firmware.h"

/*
 * Fills CPUS from the configuration table, or from the default configuration that firmware says
 * the machine has (MultiProcessor Specification 1.4). False: there is neither; what is broken on
 * the way is logged.
 */
bool mptable_cpus(const struct firmware *firmware, struct firmware_cpus *cpus);

/* An input of an I/O APIC, by the address of its registers. */
struct mptable_input {
    uint64_t ioapic;
    uint8_t pin;
    uint16_t flags; /* INTI_* */
};

/*
 * "I/O Interrupt Assignment Entries": where pin INTX (1: INTA) of a device on a PCI bus comes in.
 * False: no table says so.
 */
bool mptable_pci(const struct firmware *firmware, unsigned bus, unsigned device, unsigned intx,
                 struct mptable_input *input);

/*
 * Where an IRQ of the ISA bus comes in, by a table that knows of no PCI bus: PCI's interrupts come
 * as ISA's there. False: there is no such table, or it does not say.
 */
bool mptable_isa(const struct firmware *firmware, unsigned irq, struct mptable_input *input);
