/* CPUID exits: the answers stand in a table, but for what follows the guest's own state. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/vcpu/cpuid.h"

#include "vmm/abi.h"
#include "vmm/host/clock.h"
#include "vmm/vcpu/exits.h"

#define BIT(n) (1u << (n))

/* Leaves that are asked of live_leaf(). */
#define LIVE_BASIC    (BIT(0x1) | BIT(0x4) | BIT(0x7) | BIT(0xb) | BIT(0xd))
#define LIVE_EXTENDED (BIT(0x1) | BIT(0x1d) | BIT(0x1e))
static_assert(CPUID_BASIC < 32 && CPUID_EXTENDED_COUNT <= 32, "a bit a leaf");

/* The answers are taken once: they are the same for ever, and no exit asks the CPU again. */
void cpuid_init(struct vm *vm)
{
    cpuid_table_init(&vm->cpuid, cpuid, cpu_phys_bits(), clock_tsc_khz(), vm->config->cpus);
    if (vm->config->report == KNOB_REPORT_HIDDEN) { /* MTRR */
        vm->cpuid.basic[1].edx &= ~BIT(12);
        vm->cpuid.extended[1].edx &= ~BIT(12);
    }
}

static bool in_64_bit_code(struct vcpu *vcpu)
{
    vcpu_fetch(vcpu, STATE_MODE | STATE_CODE);
    return (vcpu->state.efer & EFER_LMA) != 0 && (vcpu->state.seg[SEG_CS].attr & SEG_L) != 0;
}

static bool has_osxsave(struct vcpu *vcpu)
{
    vcpu_fetch(vcpu, STATE_MODE);
    return (vcpu->state.cr4 & CR4_OSXSAVE) != 0;
}

/* Leaves whose answer depends on the guest's own state (its XCR0 is loaded) or on the subleaf. */
static __attribute__((noinline)) struct cpuid_regs live_leaf(struct vcpu *vcpu, uint32_t leaf,
                                                             uint32_t subleaf)
{
    const struct cpuid_table *table = &vcpu->vm->cpuid;
    struct cpuid_regs r = table->basic[leaf <= CPUID_BASIC ? leaf : 1];
    switch (leaf) {
    case 0x1:
        if (!has_osxsave(vcpu))
            r.ecx &= ~BIT(27);
        if (!lapic_enabled(&vcpu->lapic))
            r.edx &= ~BIT(9);
        r.ebx |= vcpu->index << 24;
        return r;
    case 0xb:
        return cpuid_topology(table, subleaf, vcpu->index);
    case 0xd:
        return cpuid_xsave(table, subleaf, table->xsave[0].eax != 0 ? xgetbv() : 0);
    case CPUID_EXTENDED + 1:
        r = table->extended[1];
        if (vcpu->vm->caps->syscall_is_64_bit && !in_64_bit_code(vcpu))
            r.edx &= ~BIT(11);
        if (!lapic_enabled(&vcpu->lapic))
            r.edx &= ~BIT(9);
        return r;
    case 0x7:
        return subleaf == 0 ? r : (struct cpuid_regs){0, 0, 0, 0};
    case CPUID_EXTENDED + 0x1e: /* APM, "Function 8000_001Eh": APIC ID, core, node 0 */
        r = (struct cpuid_regs){vcpu->index, vcpu->index, 0, 0};
        return (table->extended[1].ecx & BIT(22)) != 0 ? r : (struct cpuid_regs){0, 0, 0, 0};
    default: /* 4 and 8000001Dh */
        return cpuid_cache(table, leaf, subleaf);
    }
}

/* What lies in no range is on some CPUs the highest basic leaf (SDM, "CPUID"), else 0. */
static __attribute__((noinline)) struct cpuid_regs other_leaf(struct vcpu *vcpu, uint32_t leaf,
                                                              uint32_t subleaf)
{
    const struct cpuid_table *table = &vcpu->vm->cpuid;
    uint32_t last = table->last;
    if (leaf >= CPUID_HYPERVISOR && leaf <= CPUID_HYPERVISOR_LAST)
        return cpuid_hypervisor(table, leaf);
    if (!vcpu->vm->caps->repeats_last_leaf)
        return (struct cpuid_regs){0, 0, 0, 0};
    return (LIVE_BASIC >> last & 1) != 0 ? live_leaf(vcpu, last, subleaf) : table->basic[last];
}

static struct cpuid_regs answer(struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    const struct cpuid_table *table = &vcpu->vm->cpuid;
    uint32_t index = leaf - CPUID_EXTENDED;
    if (leaf <= table->last)
        return (LIVE_BASIC >> leaf & 1) != 0 ? live_leaf(vcpu, leaf, subleaf) : table->basic[leaf];
    if (index <= table->last_extended)
        return (LIVE_EXTENDED >> index & 1) != 0 ? live_leaf(vcpu, leaf, subleaf)
                                                 : table->extended[index];
    return other_leaf(vcpu, leaf, subleaf);
}

void exit_cpuid(struct vcpu *vcpu, const struct vm_exit *exit)
{
    uint64_t *gpr = vcpu->state.gpr;
    uint64_t next = vcpu_next_rip(vcpu, INSN_CPUID);
    (void)exit;
    if (next == 0)
        return;
    struct cpuid_regs r = answer(vcpu, (uint32_t)gpr[RAX], (uint32_t)gpr[RCX]);
    gpr[RAX] = r.eax;
    gpr[RBX] = r.ebx;
    gpr[RCX] = r.ecx;
    gpr[RDX] = r.edx;
    vcpu_skip(vcpu, next);
}
