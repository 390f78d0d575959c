/* What CPUID tells a guest: the host's answer, less what is not virtualized (SDM and APM, "CPUID").
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/string.h"
#include "lib/x86.h"
#include "vmm/abi.h"
#include "vmm/exits.h"

#define BIT(n) (1u << (n))

/* Bits that pass, by leaf of each half; a leaf that is not here reads as 0. */

#define ALL 0xffffffffu

static const struct cpuid_regs basic[] = {
    [0x00] = {0, ALL, ALL, ALL},
    /* Hidden: APIC, MCE, MCA, DTES64, MONITOR, DS-CPL, VMX, SMX, EIST, TM2, DCA, x2APIC,
       TSC-deadline, PDCM, PCID. */
    [0x01] = {ALL, 0x0000ffff,
              BIT(0) | BIT(1) | BIT(9) | BIT(12) | BIT(13) | BIT(19) | BIT(20) | BIT(22) | BIT(23) |
                  BIT(25) | BIT(26) | BIT(28) | BIT(29) | BIT(30),
              BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(11) |
                  BIT(12) | BIT(13) | BIT(15) | BIT(16) | BIT(17) | BIT(19) | BIT(23) | BIT(24) |
                  BIT(25) | BIT(26)},
    /* Extended features whose state is the guest's own: no PKU, CET, TSX, MPX, SGX, PT, INVPCID. */
    [0x07] = {0,
              BIT(0) | BIT(3) | BIT(5) | BIT(7) | BIT(8) | BIT(9) | BIT(16) | BIT(17) | BIT(18) |
                  BIT(19) | BIT(20) | BIT(21) | BIT(23) | BIT(24) | BIT(28) | BIT(29) | BIT(30) |
                  BIT(31),
              BIT(1) | BIT(2) | BIT(6) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(14) |
                  BIT(16),
              BIT(2) | BIT(3) | BIT(4)},
    [0x0d] = {ALL, ALL, ALL, ALL},
};

static const struct cpuid_regs extended[] = {
    [0x00] = {0, ALL, ALL, ALL},
    /* Hidden: SVM, extended APIC space, IBS, SKINIT, watchdog, performance counters, MWAITX. */
    [0x01] = {ALL, ALL, BIT(0) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(11) | BIT(16) | BIT(21),
              BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(11) |
                  BIT(12) | BIT(13) | BIT(15) | BIT(16) | BIT(17) | BIT(20) | BIT(22) | BIT(23) |
                  BIT(24) | BIT(25) | BIT(26) | BIT(27) | BIT(29)},
    [0x02] = {ALL, ALL, ALL, ALL},
    [0x03] = {ALL, ALL, ALL, ALL},
    [0x04] = {ALL, ALL, ALL, ALL},
    [0x05] = {ALL, ALL, ALL, ALL},
    [0x06] = {ALL, ALL, ALL, ALL},
    [0x07] = {0, 0, 0, BIT(8)},
    /* Address widths; CLZERO, no RDPRU; one core. */
    [0x08] = {ALL, BIT(0), 0, 0},
};

enum { BASIC_MAX = ARRAY_SIZE(basic) - 1, EXTENDED_MAX = ARRAY_SIZE(extended) - 1 };
#define EXTENDED 0x80000000u

static const struct cpuid_regs *find_rule(uint32_t leaf)
{
    if (leaf <= BASIC_MAX)
        return &basic[leaf];
    return leaf >= EXTENDED && leaf - EXTENDED <= EXTENDED_MAX ? &extended[leaf - EXTENDED] : NULL;
}

static struct cpuid_regs filtered(uint32_t leaf, uint32_t subleaf)
{
    const struct cpuid_regs *keep = find_rule(leaf);
    if (keep == NULL || (leaf == 7 && subleaf != 0))
        return (struct cpuid_regs){0, 0, 0, 0};
    struct cpuid_regs r = cpuid(leaf, subleaf);
    return (struct cpuid_regs){r.eax & keep->eax, r.ebx & keep->ebx, r.ecx & keep->ecx,
                               r.edx & keep->edx};
}

static struct cpuid_regs hypervisor_leaf(void)
{
    struct cpuid_regs r = {.eax = CPUID_HYPERVISOR};
    memcpy(&r.ebx, NOSNOOP_SIGNATURE, 4);
    memcpy(&r.ecx, &NOSNOOP_SIGNATURE[4], 4);
    memcpy(&r.edx, &NOSNOOP_SIGNATURE[8], 4);
    return r;
}

/* Bits that follow the guest's own state rather than the host's. */
static void adjust(struct vcpu *vcpu, uint32_t leaf, struct cpuid_regs *r)
{
    switch (leaf) {
    case 0x00000000:
        r->eax = (uint32_t)min_u64(cpuid(0, 0).eax, BASIC_MAX);
        break;
    case 0x00000001:
        vcpu_fetch(vcpu, STATE_CR);
        r->ebx |= BIT(16); /* one logical processor, APIC id 0 */
        r->ecx |= BIT(31);
        r->ecx &= ~BIT(27);
        if ((vcpu->state.cr4 & CR4_OSXSAVE) != 0)
            r->ecx |= BIT(27);
        break;
    case 0x80000000:
        r->eax = (uint32_t)min_u64(cpuid(EXTENDED, 0).eax, EXTENDED | EXTENDED_MAX);
        break;
    case 0x80000008:
        r->eax = (r->eax & 0xff00) | vcpu->mtrr.phys_bits;
        break;
    default:
        break;
    }
}

void exit_cpuid(struct vcpu *vcpu, const struct vm_exit *exit)
{
    uint64_t *gpr = vcpu->state.gpr;
    uint32_t leaf = (uint32_t)gpr[RAX];
    struct cpuid_regs r;
    if (leaf == CPUID_HYPERVISOR) {
        r = hypervisor_leaf();
    } else {
        r = filtered(leaf, (uint32_t)gpr[RCX]);
        adjust(vcpu, leaf, &r);
    }
    gpr[RAX] = r.eax;
    gpr[RBX] = r.ebx;
    gpr[RCX] = r.ecx;
    gpr[RDX] = r.edx;
    vcpu_advance(vcpu, exit, INSN_CPUID);
}
