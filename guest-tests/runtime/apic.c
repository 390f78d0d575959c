/* What tests ask of the local APIC before they use it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"

#include <stddef.h>

#include "mm/types.h"

bool apic_x2;

const char *needs_x2apic(void)
{
    return (cpuid(1, 0).ecx & ECX_X2APIC) != 0 ? NULL : "the CPU has no x2APIC";
}

const char *needs_deadline(void)
{
    return (cpuid(1, 0).ecx & ECX_DEADLINE) != 0 ? NULL : "the CPU has no TSC-deadline timer";
}

void apic_enable(void)
{
    static const unsigned entries[] = {LVT_TIMER, LVT_THERMAL, LVT_PMC,
                                       LVT_LINT0, LVT_LINT1,   LVT_ERROR};
    apic_set(SVR, SVR_ON);
    for (unsigned i = 0; i < ARRAY_SIZE(entries); i++)
        apic_set(entries[i], MASKED);
    apic_set(INITIAL, 0);
    apic_set(TPR, 0);
}

void apic_sleep(unsigned vector, uint32_t ticks)
{
    apic_set(DIVIDE, BY_1);
    apic_set(LVT_TIMER, vector);
    apic_set(INITIAL, ticks);
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    apic_set(INITIAL, 0);
    apic_set(LVT_TIMER, MASKED);
}
