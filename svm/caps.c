/* May this CPU run guests by SVM? A pure judgement of what CPUID and VM_CR say. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "svm/caps.h"

#include "lib/errno.h"
#include "lib/log.h"

static int refuse(const char *why)
{
    log_line("SVM: %s", why);
    return -ENODEV;
}

int svm_check(const struct svm_cpu *cpu)
{
    if (!cpu->has_svm)
        return refuse("the CPU lacks it (CPUID 80000001h ECX bit 2); use one that has it");
    if ((cpu->vm_cr & VM_CR_SVMDIS) != 0) {
        if ((cpu->features & SVM_FEATURE_SVML) == 0)
            return refuse("disabled by the firmware (VM_CR.SVMDIS); enable SVM in its set-up");
        if ((cpu->vm_cr & VM_CR_LOCK) != 0)
            return refuse("disabled and locked by the firmware (VM_CR.SVMDIS, LOCK); enable SVM "
                          "in its set-up, where a key may be needed");
        return refuse("disabled (VM_CR.SVMDIS), not locked; enable SVM in the firmware's set-up");
    }
    if ((cpu->features & SVM_FEATURE_NP) == 0)
        return refuse("the CPU lacks nested paging (CPUID 8000000Ah EDX bit 0); use one with it");
    if (cpu->asids < 2)
        return refuse("the CPU has no ASID for a guest (CPUID 8000000Ah EBX)");
    return 0;
}
