/* A VM's memory types at run time: which view a vCPU runs on, and what moves it to another. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/vm.h"

/* Resolves the policy of a VM that has its memory. Returns 0 or a negative errno, logged. */
int views_init(struct vm *vm);

/*
 * What the policy makes of a vCPU after its CR0, MTRRs, PAT and backend have been reset. Returns 0
 * or a negative errno, logged.
 */
int views_reset(struct vcpu *vcpu);

/* Stops the VM, whose memory types need more tables than there are. */
void views_stop_without_tables(struct vm *vm);

/*
 * The rules of another preset from now on, as they are with a device that does not snoop where the
 * VM has one, whatever NONCOHERENT says. policy_take() has the errors, and -EPERM: with that device
 * they need `dangerous = yes`; then nothing changes. All that follows from a policy follows at
 * once, whatever the guest's CR0.CD is. Leaves that another view has are rewritten when it is
 * needed. The caches are written back and emptied, as types change of which a guest knows nothing.
 * A VM whose tables do not suffice is stopped.
 */
int views_switch(struct vcpu *vcpu, enum policy_number number, bool noncoherent);

/*
 * The registers of the VM's devices are at COUNT RANGES from now on (at most MMIO_MAX_RANGES),
 * which overlap neither memory, nor pages that are trapped, nor each other. One that was there
 * before, and is the same, stays mapped. A VM whose tables do not suffice is stopped.
 */
void views_set_mmio(struct vcpu *vcpu, const struct mmio_range *ranges, unsigned count);

/* The same while no vCPU runs, before the next reset of each. */
void views_set_mmio_at_rest(struct vm *vm, const struct mmio_range *ranges, unsigned count);

/* The vCPU runs on no view until its next reset. */
void views_leave(struct vcpu *vcpu);

/*
 * The vCPU of the running CPU, if it has a view, is to let go of it: it enters no more before
 * views_return(), which does nothing where that was not asked.
 */
void views_let_go(void);
void views_return(struct vcpu *vcpu);

/* Logs how often leaves have changed since the VM's start. */
void views_log_changes(const struct vm *vm);

/* Logs once that vCPUs have had MTRRs of different effect for long, if they have. */
void views_look_at_split(struct vm *vm);

/* Logs the policy, and the view that the vCPU is on. */
void views_log(const struct vm *vm);

/* The guest's PAT, or what the PAT in force depends on, was written. */
void views_put_pat(struct vcpu *vcpu);

/* The guest's IA32_PAT as it wrote it; STATE_CR has been fetched, whose PAT is the one in force. */
uint64_t views_own_pat(const struct vcpu *vcpu);

/* The root of the tables that the vCPU runs on. */
hpa_t views_root(const struct vcpu *vcpu);

/*
 * IA32_MTRR_DEF_TYPE, or else an MTRR that counts now, has another value: what follows from that
 * happens now, or is owed.
 */
void views_follow_mtrr(struct vcpu *vcpu, bool def_type);

/* The same for any MTRR but IA32_MTRR_DEF_TYPE; often it does not count. */
static inline void views_follow_range(struct vcpu *vcpu)
{
    typing_mark(&vcpu->map->typing);
    if (vcpu->view == VIEW_TYPED && !vcpu->owes)
        views_follow_mtrr(vcpu, false);
}

/* The guest's CR0 was written, its CD and NW perhaps with it. */
void views_cd_written(struct vcpu *vcpu);

/*
 * The guest has touched the page of its APIC, in xAPIC mode: maps what makes the CPU do such
 * accesses, if it can. False: the view is as it was. And takes it away from all views: the APIC is
 * not in xAPIC mode any more.
 */
bool views_map_apic(struct vcpu *vcpu);
void views_unmap_apic(struct vcpu *vcpu);

/*
 * The guest executes WBINVD or INVD, or begins anew: where a device does not look into the caches,
 * this CPU's are written back. Nothing is discarded.
 */
void views_wbinvd(const struct vm *vm);
