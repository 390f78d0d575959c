/* Guest state in the CPU's own registers: nothing of an earlier owner may be left there. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/fpu.h"

#include "lib/assert.h"
#include "lib/x86.h"
#include "vmm/host/cpu.h"

/* SDM, "XSAVE Area": the legacy region with its reset values, and a header that is all zero. */
struct xsave_area {
    uint16_t fcw;
    uint8_t unused_2[22];
    uint32_t mxcsr;
    uint8_t unused_28[484];
    uint8_t header[64];
};
static_assert(offsetof(struct xsave_area, mxcsr) == 24, "SDM, FXSAVE Area");
static_assert(sizeof(struct xsave_area) == 576, "SDM, XSAVE Area");

static const _Alignas(64) struct xsave_area reset_area = {.fcw = 0x37f, .mxcsr = 0x1f80};

static void reset_registers(void)
{
    uint64_t cr4 = read_cr4();
    write_cr4(cr4 | CR4_OSFXSR);
    __asm__ volatile("fxrstor64 %0" : : "m"(reset_area));
    if ((cr4 & CR4_OSXSAVE) != 0) {
        struct cpuid_regs all = cpuid(0xd, 0);
        bool done = xsetbv_safe((uint64_t)all.edx << 32 | all.eax);
        assert(done);
        __asm__ volatile("xrstor64 %0" : : "m"(reset_area), "a"(~0u), "d"(~0u));
        done = xsetbv_safe(XCR0_X87);
        assert(done);
    }
    write_cr4(cr4);
}

void fpu_reset_breakpoints(void)
{
    __asm__ volatile("mov %0, %%dr0\n\t"
                     "mov %0, %%dr1\n\t"
                     "mov %0, %%dr2\n\t"
                     "mov %0, %%dr3"
                     :
                     : "r"(0ull));
}

void fpu_reset(void)
{
    fpu_reset_breakpoints();
    reset_registers();
    /* MSRs that not every CPU has: one that faults is not there. */
    (void)wrmsr_safe(MSR_XSS, 0);
    (void)wrmsr_safe(MSR_TSC_AUX, 0);
}
