/* What CPUID tells a guest: the host's answer, less what is not virtualized (SDM and APM, "CPUID").
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/string.h"
#include "lib/x86.h"
#include "vmm/abi.h"
#include "vmm/exits.h"

#define BIT(n) (1u << (n))

#define ALL 0xffffffffu

/* Bits that pass, by leaf of each half; a leaf that is not here reads as 0. */
static const struct cpuid_regs basic[VM_CPUID_BASIC + 1] = {
    [0x00] = {0, ALL, ALL, ALL},
    /* Hidden: APIC, DTES64, MONITOR, DS-CPL, VMX, SMX, EIST, TM2, DCA, x2APIC,
       TSC-deadline, PDCM, PCID. */
    [0x01] = {ALL, 0x0000ffff,
              BIT(0) | BIT(1) | BIT(9) | BIT(12) | BIT(13) | BIT(19) | BIT(20) | BIT(22) | BIT(23) |
                  BIT(25) | BIT(26) | BIT(27) | BIT(28) | BIT(29) | BIT(30),
              BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) |
                  BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(15) | BIT(16) | BIT(17) | BIT(19) |
                  BIT(23) | BIT(24) | BIT(25) | BIT(26)},
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

static const struct cpuid_regs extended[VM_CPUID_EXTENDED + 1] = {
    [0x00] = {0, ALL, ALL, ALL},
    /* Hidden: SVM, extended APIC space, IBS, SKINIT, watchdog, performance counters, MWAITX. */
    [0x01] = {ALL, ALL, BIT(0) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(11) | BIT(16) | BIT(21),
              BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) |
                  BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(15) | BIT(16) | BIT(17) | BIT(20) |
                  BIT(22) | BIT(23) | BIT(24) | BIT(25) | BIT(26) | BIT(27) | BIT(29)},
    [0x02] = {ALL, ALL, ALL, ALL},
    [0x03] = {ALL, ALL, ALL, ALL},
    [0x04] = {ALL, ALL, ALL, ALL},
    [0x05] = {ALL, ALL, ALL, ALL},
    [0x06] = {ALL, ALL, ALL, ALL},
    [0x07] = {0, 0, 0, BIT(8)},
    /* Address widths; CLZERO, no RDPRU; one core. */
    [0x08] = {ALL, BIT(0), 0, 0},
};

#define EXTENDED 0x80000000u

static struct cpuid_regs filter(struct cpuid_regs r, const struct cpuid_regs *keep)
{
    return (struct cpuid_regs){r.eax & keep->eax, r.ebx & keep->ebx, r.ecx & keep->ecx,
                               r.edx & keep->edx};
}

/* The answers are taken once: they are the same for ever, and no exit asks the CPU again. */
void cpuid_init(struct vm *vm)
{
    uint32_t last = cpuid(0, 0).eax, last_extended = cpuid(EXTENDED, 0).eax;
    for (uint32_t i = 0; i <= min_u64(last, VM_CPUID_BASIC); i++)
        vm->cpuid_basic[i] = filter(cpuid(i, 0), &basic[i]);
    for (uint32_t i = 0; EXTENDED + i <= min_u64(last_extended, EXTENDED + VM_CPUID_EXTENDED); i++)
        vm->cpuid_extended[i] = filter(cpuid(EXTENDED + i, 0), &extended[i]);
    vm->cpuid_basic[0].eax = (uint32_t)min_u64(last, VM_CPUID_BASIC);
    vm->cpuid_basic[1].ebx |= BIT(16); /* one logical processor, APIC id 0 */
    vm->cpuid_basic[1].ecx |= BIT(31); /* a hypervisor is there */
    vm->cpuid_extended[0].eax = (uint32_t)min_u64(last_extended, EXTENDED + VM_CPUID_EXTENDED);
    vm->cpuid_extended[8].eax = (vm->cpuid_extended[8].eax & 0xff00) | vm->vcpu.mtrr.phys_bits;
    if (vm->caps->repeats_last_leaf)
        vm->cpuid_beyond = vm->cpuid_basic[vm->cpuid_basic[0].eax];
}

static struct cpuid_regs hypervisor_leaf(void)
{
    struct cpuid_regs r = {.eax = CPUID_HYPERVISOR};
    memcpy(&r.ebx, NOSNOOP_SIGNATURE, 4);
    memcpy(&r.ecx, &NOSNOOP_SIGNATURE[4], 4);
    memcpy(&r.edx, &NOSNOOP_SIGNATURE[8], 4);
    return r;
}

/*
 * SDM, "CPUID", leaf 0Dh: of the state components those that XSETBV lets the guest enable; of the
 * instructions not XSAVES, whose IA32_XSS the guest does not have.
 */
static struct cpuid_regs xsave_leaf(uint32_t subleaf)
{
    const uint32_t instructions = BIT(0) | BIT(1) | BIT(2);
    struct cpuid_regs r = cpuid(0xd, subleaf);
    struct cpuid_regs none = {0, 0, 0, 0};
    if (subleaf == 0) {
        r.eax &= XCR0_GUEST;
        r.ecx = 512 + 64;
        for (uint32_t i = 2; i < 32; i++)
            if ((r.eax & BIT(i)) != 0)
                r.ecx = (uint32_t)max_u64(r.ecx, cpuid(0xd, i).eax + cpuid(0xd, i).ebx);
        r.edx = 0;
    } else if (subleaf == 1) {
        r.eax &= instructions;
        r.ecx = r.edx = 0;
    } else if (subleaf >= 32 || (XCR0_GUEST & BIT(subleaf)) == 0) {
        return none;
    }
    return r;
}

/* Leaves whose answer depends on the guest's own state (its XCR0 is loaded) or on the subleaf. */
static __attribute__((noinline)) struct cpuid_regs live_leaf(struct vcpu *vcpu, uint32_t leaf,
                                                             uint32_t subleaf)
{
    struct cpuid_regs r = vcpu->vm->cpuid_basic[leaf];
    if (leaf == 1) {
        vcpu_fetch(vcpu, STATE_CR);
        if ((vcpu->state.cr4 & CR4_OSXSAVE) == 0)
            r.ecx &= ~BIT(27);
    } else if (leaf == 0xd && vcpu->vm->cpuid_basic[0].eax >= leaf) {
        r = xsave_leaf(subleaf);
    } else if (subleaf != 0) {
        r = (struct cpuid_regs){0, 0, 0, 0};
    }
    return r;
}

static bool is_live(uint32_t leaf)
{
    return leaf == 0x1 || leaf == 0x7 || leaf == 0xd;
}

static struct cpuid_regs answer(struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    const struct vm *vm = vcpu->vm;
    if (leaf <= VM_CPUID_BASIC)
        return is_live(leaf) ? live_leaf(vcpu, leaf, subleaf) : vm->cpuid_basic[leaf];
    if (leaf - EXTENDED <= VM_CPUID_EXTENDED)
        return vm->cpuid_extended[leaf - EXTENDED];
    return leaf == CPUID_HYPERVISOR ? hypervisor_leaf() : vm->cpuid_beyond;
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
