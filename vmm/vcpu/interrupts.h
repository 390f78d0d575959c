/* How a guest's interrupts get from its local APIC to its CPU. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/vcpu/msr.h"
#include "vmm/vm.h"

/*
 * Before an entry that STATE_EVENTS asks for: what is due is injected, and what is due but blocked
 * makes the guest exit when it no longer is.
 */
void vcpu_settle(struct vcpu *vcpu);

/*
 * Takes what others have sent to the running vCPU, after a kick. True: an INIT was among it, and
 * its guest does not go on where it was.
 */
bool vcpu_take_mail(struct vcpu *vcpu);

/*
 * Where the host takes interrupts: a device of VM's has sent one to the running CPU, which looks at
 * that before its next entry.
 */
void vcpu_device_has_sent(const struct vm *vm);

/*
 * Waits until an interrupt can wake the guest that has halted; stops the VM where none ever can.
 * False: the VM no longer runs, or an INIT has come.
 */
bool vcpu_wait(struct vcpu *vcpu);

/* The running vCPU, or a device that it has touched, sends an interrupt to vCPUs of its VM. */
void vcpu_send(struct vcpu *vcpu, const struct ipi *ipi);

/* Makes vCPU 0 look at what devices want of it. */
void vcpu_tell_first(struct vcpu *vcpu);

/* The same, as LINT0 of vCPU 0 rises: this may be an interrupt of its own. */
void vcpu_raise_lint0(struct vcpu *vcpu);

/* wait.c: waits until a startup IPI has come, or the VM no longer runs. */
void vcpu_wait_for_startup(struct vcpu *vcpu);

/*
 * One pause in which the CPU has nothing to do but what others ask of it, until anything comes.
 * ASLEEP: nothing but another vCPU can wake the guest; stops the VM where none ever can.
 */
void vcpu_pause(struct vcpu *vcpu, bool asleep);

/* IA32_APIC_BASE, IA32_TSC_DEADLINE, and the MSRs of x2APIC mode. */
msr_reader apic_read_base, apic_read_deadline, apic_read_msr;
msr_writer apic_write_base, apic_write_deadline, apic_write_msr;

/* Whether the local APIC's registers are at GPA; they are then accessed by their offset. */
static inline bool vcpu_is_apic(const struct vcpu *vcpu, gpa_t gpa)
{
    return gpa.v - LAPIC_ADDRESS < PAGE_SIZE && lapic_enabled(&vcpu->lapic) &&
           !lapic_x2apic(&vcpu->lapic);
}

/*
 * On CPUs that can do such accesses. True: the CPU does this one, if the guest tries it again.
 * False: it does not, and one of the next two is to follow.
 */
bool vcpu_leave_apic(struct vcpu *vcpu);
uint32_t vcpu_read_apic(struct vcpu *vcpu, unsigned offset, unsigned width);
void vcpu_write_apic(struct vcpu *vcpu, unsigned offset, unsigned width, uint32_t value);

/* TPR by a MOV to CR8 that has exited. */
void vcpu_set_tpr(struct vcpu *vcpu, uint64_t value);
