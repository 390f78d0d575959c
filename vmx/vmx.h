/* What the files of vmx/ share. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/vm.h"
#include "vmx/caps.h"
#include "vmx/fields.h"
#include "vmx/insn.h"

/* Linear translations go with a change of the guest's paging, all with a change of its EPT. */
enum vmx_flush { VMX_FLUSH_NONE, VMX_FLUSH_LINEAR, VMX_FLUSH_ALL };

struct vmx_vcpu {
    hpa_t vmcs;
    const struct vmx_caps *caps;
    uint64_t eptp;
    uint32_t proc;     /* primary controls, but for what is awaited */
    uint64_t cr4_host; /* CR4 bits that exit when the guest changes them */
    uint8_t flush;     /* enum vmx_flush: what the next entry makes the CPU forget */
    bool nmi;          /* the guest has been given an NMI, and may be in its handler */
};

static inline struct vmx_vcpu *vmx_of(const struct vcpu *vcpu)
{
    return vcpu->backend;
}

extern const struct virt_ops vmx_ops;

/* Of the current VMCS, which must have the field. */
static inline uint64_t vmread(enum vmcs_field field)
{
    uint64_t value;
    bool done = vmread_insn(field, &value);
    assert(done);
    return value;
}

static inline void vmwrite(enum vmcs_field field, uint64_t value)
{
    bool done = vmwrite_insn(field, value);
    assert(done);
}

/* For fields of every CPU, unchecked: vmx_vcpu_create() has seen that there is a VMCS. */
static inline uint64_t vmread_always(enum vmcs_field field)
{
    uint64_t value;
    (void)vmread_insn(field, &value);
    return value;
}

static inline void vmread_to(enum vmcs_field field, uint64_t *to)
{
    __asm__ volatile("vmread %1, %0" : "=m"(*to) : "r"((uint64_t)field) : "cc");
}

static inline void vmwrite_always(enum vmcs_field field, uint64_t value)
{
    (void)vmwrite_insn(field, value);
}

/* The VPID of every guest on its own CPU; 0 is the host's. */
enum { VMX_GUEST_VPID = 1 };

/* CR0 bits that belong to the host: the guest reads its own from the shadow. */
#define VMX_CR0_HOST (CR0_NE | CR0_NW | CR0_CD)

/* vmx/setup.c: which MSRs and ports guests reach without exits. */
void vmx_fill_bitmaps(const struct virt_caps *caps);

/* The same file: the MSR bitmap of a guest whose PAT is FORCED or not, and that reaches its X2APIC
 * or not. */
const uint8_t *vmx_msr_bitmap(bool forced, bool x2apic);

/* The same file: fills the current VMCS but for the guest's state and what vmx_control() sets. */
void vmx_set_controls(struct vcpu *vcpu);

/*
 * vmx/apic.c: what the CPU does of APICs: fields that never change; and, by the APIC's mode, the
 * primary controls, the secondary ones, which are returned, and whether its MSRs are the page's.
 */
void vmx_set_apic(const struct vcpu *vcpu);
hpa_t vmx_apic_access(const struct vmx_caps *caps, const struct host *host);
uint32_t vmx_control_apic(struct vcpu *vcpu, bool *x2apic);

/* vmx/report.c: logs each broken rule of VM entry, and the VM-instruction ERROR if it is not 0. */
void vmx_explain(struct vcpu *vcpu, uint64_t error);

/* vmx/run.c: makes this CPU forget all translations by an EPTP. */
void vmx_forget(const struct vmx_caps *caps, uint64_t eptp);

/* virt_ops */
void vmx_run(struct vcpu *vcpu);
void vmx_run_uncached(struct vcpu *vcpu);
unsigned vmx_fetch(struct vcpu *vcpu, unsigned groups);
void vmx_commit(struct vcpu *vcpu, unsigned groups);
void vmx_control(struct vcpu *vcpu);
void vmx_await(struct vcpu *vcpu, unsigned what);
unsigned vmx_delivered(const struct vcpu *vcpu);
void vmx_deliver(struct vcpu *vcpu, unsigned highest);
void vmx_dump(struct vcpu *vcpu);

/* vmx/entry.asm: where an exit goes on; the second begins by clearing CR0.CD. */
extern const char vmx_exit_point[], vmx_exit_point_uncached[];
