/* The local APIC of the running CPU, in either mode. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/apic.h"

#include "lib/x86.h"
#include "vmm/host.h"

enum { BASE_ENABLE = 1 << 11, BASE_X2APIC = 1 << 10 };

/* SDM, "Local APIC Register Address Map". */
enum { TPR = 0x80, EOI = 0xb0, SVR = 0xf0, ISR = 0x100, LVT_LINT0 = 0x350 };
enum { SVR_ENABLE = 1 << 8, LVT_EXTINT = 7 << 8 };

static volatile char *registers; /* NULL: none, or by MSRs */
static bool by_msrs;

static uint32_t read_reg(unsigned reg)
{
    if (by_msrs)
        return (uint32_t)rdmsr(MSR_X2APIC + reg / 16);
    return *(volatile uint32_t *)(volatile void *)(registers + reg);
}

static void write_reg(unsigned reg, uint32_t value)
{
    if (by_msrs)
        wrmsr(MSR_X2APIC + reg / 16, value);
    else
        *(volatile uint32_t *)(volatile void *)(registers + reg) = value;
}

static bool is_on(void)
{
    return by_msrs || registers != NULL;
}

/* Every CPU's registers are at the same place. */
static void find(struct host *host)
{
    uint64_t base;
    if (!rdmsr_safe(MSR_APIC_BASE, &base) || (base & BASE_ENABLE) == 0)
        return;
    by_msrs = (base & BASE_X2APIC) != 0;
    if (!by_msrs)
        registers = host_map_mmio(host, hpa(align_down(base, PAGE_SIZE)), PAGE_SIZE);
}

void apic_init(struct host *host)
{
    if (!is_on())
        find(host);
    if (!is_on())
        return;
    write_reg(SVR, APIC_SPURIOUS); /* masks every entry of the LVT, for good */
    write_reg(TPR, APIC_HOST_VECTORS - 1);
    write_reg(SVR, SVR_ENABLE | APIC_SPURIOUS);
}

void apic_take_pic(void)
{
    if (is_on())
        write_reg(LVT_LINT0, LVT_EXTINT);
}

void apic_end(uint8_t vector)
{
    if (is_on() && (read_reg(ISR + vector / 32 * 16u) >> vector % 32 & 1) != 0)
        write_reg(EOI, 0);
}
