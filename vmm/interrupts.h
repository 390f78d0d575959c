/* How a guest's interrupts get from its local APIC to its CPU. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/msr.h"
#include "vmm/vm.h"

/*
 * Before an entry that STATE_EVENTS asks for: what is due is injected, and what is due but blocked
 * makes the guest exit when it no longer is.
 */
void vcpu_settle(struct vcpu *vcpu);

/* Waits until an interrupt can wake the guest that has halted; stops the VM where none ever can. */
void vcpu_wait(struct vcpu *vcpu);

/* IA32_APIC_BASE, IA32_TSC_DEADLINE, and the MSRs of x2APIC mode. */
msr_reader apic_read_base, apic_read_deadline, apic_read_msr;
msr_writer apic_write_base, apic_write_deadline, apic_write_msr;

/* Whether the local APIC's registers are at GPA; they are then accessed by their offset. */
static inline bool vcpu_is_apic(const struct vcpu *vcpu, gpa_t gpa)
{
    return gpa.v - LAPIC_ADDRESS < PAGE_SIZE && lapic_enabled(&vcpu->lapic) &&
           !lapic_x2apic(&vcpu->lapic);
}

uint32_t vcpu_read_apic(struct vcpu *vcpu, unsigned offset, unsigned width);
void vcpu_write_apic(struct vcpu *vcpu, unsigned offset, unsigned width, uint32_t value);

/* TPR by a MOV to CR8 that has exited. */
void vcpu_set_tpr(struct vcpu *vcpu, uint64_t value);
