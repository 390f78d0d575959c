/* The local APIC of the running CPU. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/apic.h"

#include "lib/x86.h"
#include "vmm/host.h"

enum { BASE_ENABLE = 1 << 11, BASE_X2APIC = 1 << 10, SVR = 0xf0, SVR_ENABLE = 1 << 8 };

void apic_quiet(struct host *host)
{
    uint64_t base;
    if (!rdmsr_safe(MSR_APIC_BASE, &base) || (base & BASE_ENABLE) == 0)
        return;
    if ((base & BASE_X2APIC) != 0) {
        wrmsr(MSR_X2APIC_SVR, rdmsr(MSR_X2APIC_SVR) & ~(uint64_t)SVR_ENABLE);
        return;
    }
    volatile char *registers = host_map_mmio(host, hpa(align_down(base, PAGE_SIZE)), PAGE_SIZE);
    if (registers != NULL) {
        volatile uint32_t *svr = (volatile uint32_t *)(volatile void *)(registers + SVR);
        *svr &= ~(uint32_t)SVR_ENABLE;
    }
}
