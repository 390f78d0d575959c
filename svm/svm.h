/* What the files of svm/ share. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "svm/vmcb.h"
#include "vmm/vm.h"

/*
 * Whether NMIs are blocked: the CPU does not keep account of it for the guest. The IRET that ends
 * the handler exits before it executes: it has done so when RIP or RSP are others.
 */
enum svm_nmi { NMI_OPEN, NMI_BLOCKED, NMI_RETURNING };

struct svm_vcpu {
    struct vmcb *vmcb;
    uint64_t vmcb_hpa;
    uint64_t host_vmcb_hpa;      /* this CPU's: what VMLOAD and VMSAVE keep for the host */
    uint8_t nmi;                 /* enum svm_nmi */
    uint64_t iret_rip, iret_rsp; /* NMI_RETURNING: where the IRET is */
    uint32_t flush;              /* TLB_CONTROL that makes the CPU forget the ASID's translations */
};

static inline struct svm_vcpu *svm_of(const struct vcpu *vcpu)
{
    return vcpu->backend;
}

/* At the next entry. */
void svm_flush(struct svm_vcpu *svm);

extern const struct virt_ops svm_ops;

/* Fills the guest-independent part of a VMCB: what is intercepted, and the permission maps. */
void svm_set_controls(struct vmcb *vmcb);

/* virt_ops */
void svm_run(struct vcpu *vcpu);
unsigned svm_fetch(struct vcpu *vcpu, unsigned groups);
void svm_commit(struct vcpu *vcpu, unsigned groups);
void svm_dump(struct vcpu *vcpu);
