/* The model-specific registers of a guest: one table says of each what a read and a write do. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/msr.h"

#include "lib/x86.h"
#include "mm/memtype.h"
#include "vmm/exits.h"
#include "vmm/log.h"

/* Both return false where the manual says #GP. */
typedef bool msr_reader(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
typedef bool msr_writer(struct vcpu *vcpu, uint32_t msr, uint64_t value);

/* SWITCHED: only where the CPU keeps the guest's value apart from the host's. */
enum { DIRECT_READ = 1, DIRECT_WRITE = 2, DIRECT = DIRECT_READ | DIRECT_WRITE, SWITCHED = 4 };

struct msr_rule {
    uint32_t first, last;
    uint8_t direct;   /* what needs no exit */
    msr_reader *read; /* NULL: #GP */
    msr_writer *write;
};

static bool write_tsc(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    (void)msr;
    vcpu_change(vcpu, STATE_MSR);
    vcpu->state.tsc_offset = value - rdtsc();
    return true;
}

/* BSP, and globally disabled as long as there is no virtual APIC: CPUID agrees. */
static bool read_apic_base(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)vcpu, (void)msr;
    *value = 0xfee00100;
    return true;
}

static bool read_mtrr(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    *value = mtrr_read(&vcpu->mtrr, msr);
    return true;
}

static bool write_mtrr(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    return mtrr_write(&vcpu->mtrr, msr, value);
}

static bool read_pat(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)msr;
    vcpu_fetch(vcpu, STATE_CR);
    *value = vcpu->state.pat;
    return true;
}

static bool write_pat(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    (void)msr;
    if (!pat_is_legal(value))
        return false;
    vcpu_change(vcpu, STATE_CR);
    vcpu->state.pat = value;
    return true;
}

static bool read_efer(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    (void)msr;
    vcpu_fetch(vcpu, STATE_CR);
    *value = vcpu->state.efer;
    return true;
}

/* EFER bits that the guest's CPUID shows: SYSCALL, NX, long mode, FFXSR. */
static uint64_t efer_allowed(void)
{
    uint64_t allowed = 0;
    allowed |= cpu_has(0x80000001, 3, 11) ? EFER_SCE : 0;
    allowed |= cpu_has(0x80000001, 3, 20) ? EFER_NXE : 0;
    allowed |= cpu_has(0x80000001, 3, 25) ? EFER_FFXSR : 0;
    return allowed | EFER_LME;
}

/* APM, "Extended Feature Enable Register (EFER)": LMA is read-only and ignores writes. */
static bool write_efer(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    (void)msr;
    vcpu_change(vcpu, STATE_CR);
    uint64_t old = vcpu->state.efer;
    uint64_t next = (value & ~EFER_LMA) | (old & EFER_LMA);
    bool paging = (vcpu->state.cr0 & CR0_PG) != 0;
    if ((value & ~(efer_allowed() | EFER_LMA)) != 0 || (paging && ((next ^ old) & EFER_LME) != 0))
        return false;
    vcpu->state.efer = next;
    return true;
}

/* Exists for the guest where the host has it, reads 0 and takes only 0. */
static bool read_zero(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    uint64_t ignored;
    (void)vcpu;
    *value = 0;
    return rdmsr_safe(msr, &ignored);
}

static bool write_zero(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    uint64_t ignored;
    return read_zero(vcpu, msr, &ignored) && value == 0;
}

static const struct msr_rule rules[] = {
    {MSR_TSC, MSR_TSC, DIRECT_READ, NULL, write_tsc},
    {MSR_APIC_BASE, MSR_APIC_BASE, 0, read_apic_base, NULL},
    {MSR_MTRRCAP, MSR_MTRRCAP, 0, read_mtrr, NULL},
    {MSR_SYSENTER_CS, MSR_SYSENTER_EIP, DIRECT, NULL, NULL},
    {MSR_MCG_CAP, MSR_MCG_CAP + 1, 0, read_zero, write_zero},
    {MSR_MTRR_PHYSBASE0, MSR_MTRR_PHYSMASK7, 0, read_mtrr, write_mtrr},
    {MSR_MTRR_FIX64K, MSR_MTRR_FIX64K, 0, read_mtrr, write_mtrr},
    {MSR_MTRR_FIX16K_0, MSR_MTRR_FIX16K_1, 0, read_mtrr, write_mtrr},
    {MSR_MTRR_FIX4K_0, MSR_MTRR_FIX4K_7, 0, read_mtrr, write_mtrr},
    {MSR_PAT, MSR_PAT, DIRECT | SWITCHED, read_pat, write_pat},
    {MSR_MTRR_DEF_TYPE, MSR_MTRR_DEF_TYPE, 0, read_mtrr, write_mtrr},
    {MSR_EFER, MSR_EFER, 0, read_efer, write_efer},
    {MSR_STAR, MSR_SFMASK, DIRECT, NULL, NULL},
    {MSR_FS_BASE, MSR_KERNEL_GS_BASE, DIRECT, NULL, NULL},
    {MSR_TSC_AUX, MSR_TSC_AUX, DIRECT, NULL, NULL},
    /* SYSCFG, and from the first IORR to TOP_MEM2. */
    {MSR_SYSCFG, MSR_SYSCFG, 0, read_zero, write_zero},
    {0xc0010016, 0xc001001a, 0, read_zero, write_zero},
    {0xc001001d, 0xc001001d, 0, read_zero, write_zero},
};

static const struct msr_rule *find_rule(uint32_t msr)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rules) && rules[i].first <= msr; i++)
        if (msr <= rules[i].last)
            return &rules[i];
    return NULL;
}

bool msr_direct(const struct virt_caps *caps, unsigned i, struct msr_direct *direct)
{
    for (unsigned r = 0; r < ARRAY_SIZE(rules); r++) {
        const struct msr_rule *rule = &rules[r];
        bool can = (rule->direct & SWITCHED) == 0 || caps->switches_pat;
        unsigned count = rule->direct != 0 && can ? rule->last - rule->first + 1 : 0;
        if (i < count) {
            *direct = (struct msr_direct){rule->first + i, (rule->direct & DIRECT_READ) != 0,
                                          (rule->direct & DIRECT_WRITE) != 0};
            return true;
        }
        i -= count;
    }
    return false;
}

static void log_unknown(struct vcpu *vcpu, uint32_t msr)
{
    struct vm *vm = vcpu->vm;
    for (unsigned i = 0; i < min_u64(vm->logged_msrs, VM_LOGGED_MSRS); i++)
        if (vm->logged_msr[i] == msr)
            return;
    if (vm->logged_msrs == VM_LOGGED_MSRS + 1)
        return;
    if (vm->logged_msrs++ == VM_LOGGED_MSRS) {
        log_line("vm %s: further unknown MSRs are not named", vm->config->name);
        return;
    }
    vm->logged_msr[vm->logged_msrs - 1] = msr;
    log_line("vm %s: unknown MSR 0x%x at RIP 0x%lx: #GP", vm->config->name, msr, vcpu->state.rip);
}

static const struct msr_rule *rule_or_log(struct vcpu *vcpu, uint32_t msr)
{
    const struct msr_rule *rule = find_rule(msr);
    if (rule == NULL)
        log_unknown(vcpu, msr);
    return rule;
}

void exit_rdmsr(struct vcpu *vcpu, const struct vm_exit *exit)
{
    uint64_t *gpr = vcpu->state.gpr;
    uint32_t msr = (uint32_t)gpr[RCX];
    uint64_t value, next = vcpu_next_rip(vcpu, INSN_RDMSR);
    (void)exit;
    if (next == 0)
        return;
    const struct msr_rule *rule = rule_or_log(vcpu, msr);
    if (rule == NULL || rule->read == NULL || !rule->read(vcpu, msr, &value)) {
        vcpu_raise(vcpu, VECTOR_GP, 0);
        return;
    }
    gpr[RAX] = (uint32_t)value;
    gpr[RDX] = value >> 32;
    vcpu_skip(vcpu, next);
}

void exit_wrmsr(struct vcpu *vcpu, const struct vm_exit *exit)
{
    uint64_t *gpr = vcpu->state.gpr;
    uint32_t msr = (uint32_t)gpr[RCX];
    uint64_t value = gpr[RDX] << 32 | (uint32_t)gpr[RAX];
    uint64_t next = vcpu_next_rip(vcpu, INSN_WRMSR);
    (void)exit;
    if (next == 0)
        return;
    const struct msr_rule *rule = rule_or_log(vcpu, msr);
    if (rule == NULL || rule->write == NULL || !rule->write(vcpu, msr, value))
        vcpu_raise(vcpu, VECTOR_GP, 0);
    else
        vcpu_skip(vcpu, next);
}
