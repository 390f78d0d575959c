/* May this CPU run guests by SVM? A pure judgement of what CPUID and VM_CR say. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

struct svm_cpu {
    bool has_svm;      /* CPUID 80000001h ECX bit 2 */
    uint32_t asids;    /* CPUID 8000000Ah EBX */
    uint32_t features; /* CPUID 8000000Ah EDX */
    uint64_t vm_cr;    /* the VM_CR MSR */
};

#define SVM_FEATURE_NP            (1u << 0)
#define SVM_FEATURE_SVML          (1u << 2)
#define SVM_FEATURE_NRIPS         (1u << 3)
#define SVM_FEATURE_FLUSH_BY_ASID (1u << 6)

#define VM_CR_LOCK   (1ull << 3)
#define VM_CR_SVMDIS (1ull << 4)

/* APM, "Enabling SVM": 0, or -ENODEV, logged with what is missing and the cure. */
int svm_check(const struct svm_cpu *cpu);
