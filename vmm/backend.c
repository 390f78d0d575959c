/* Picks the backend by CPUID feature bit: the one file of vmm/ that names a vendor. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/x86.h"
#include "vmm/host/log.h"
#include "svm/svm.h"
#include "vmx/vmx.h"

const struct virt_ops *backend_pick(void)
{
    if (cpu_has(0x80000001, 2, 2))
        return &svm_ops;
    if (cpu_has(1, 2, 5))
        return &vmx_ops;
    log_line("no virtualization: CPUID shows neither VMX nor SVM; enable it in the firmware "
             "set-up, or run on a CPU (or an emulated model) that has it");
    return NULL;
}
