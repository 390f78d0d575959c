/* The model-specific registers of a guest: one table says of each what a read and a write do. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/virt.h"

struct msr_rule;

/* What a rule of the table does; both return false where the manual says #GP. */
typedef bool msr_reader(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr,
                        uint64_t *value);
typedef bool msr_writer(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr,
                        uint64_t value);

/* Gives the MSRs that VCPU->msr holds their values at a reset. */
void msr_reset(struct vcpu *vcpu);

/* MSRs that the guest accesses without an exit; what is not listed exits. */
struct msr_direct {
    uint32_t msr;
    bool read, write;
};

/* The I-th of them; false: there are no more. Backends make their MSR bitmaps of these. */
bool msr_direct(const struct virt_caps *caps, unsigned i, struct msr_direct *direct);
