/* The model-specific registers of a guest: one table says of each what a read and a write do. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/vcpu/msr.h"

#include "lib/x86.h"
#include "mm/memtype.h"
#include "vmm/vcpu/exits.h"
#include "vmm/vcpu/interrupts.h"
#include "vmm/host/log.h"
#include "vmm/instruments/trace.h"
#include "vmm/typing/views.h"

/* SWITCHED: only where the CPU keeps the guest's value apart from the host's. */
enum { DIRECT_READ = 1, DIRECT_WRITE = 2, DIRECT = DIRECT_READ | DIRECT_WRITE, SWITCHED = 4 };

/* On which CPUs an MSR exists for the guest: as virt_caps tells, or the guest's CPUID. */
enum where { ANY, WITH_MISC_ENABLE, WITH_SYSCFG, WITH_TSC_ADJUST, WITH_RDTSCP };

struct msr_rule {
    uint32_t first, last;
    uint8_t where;     /* enum where; elsewhere: #GP */
    uint8_t direct;    /* what needs no exit */
    uint8_t slot;      /* enum msr_slot, of read_slot() and write_slot() */
    uint32_t reset;    /* read_reset(): its value for ever; read_slot(): at the start */
    uint32_t writable; /* write_slot(): bits that may change */
    msr_reader *read;  /* NULL: #GP */
    msr_writer *write;
};

/* A value of the table's own. */
static bool read_reset(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr,
                       uint64_t *value)
{
    (void)vcpu, (void)msr;
    *value = rule->reset;
    return true;
}

/* Takes only what it reads as. */
static bool write_reset(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr,
                        uint64_t value)
{
    (void)vcpu, (void)msr;
    return value == rule->reset;
}

static bool write_ignored(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr,
                          uint64_t value)
{
    (void)vcpu, (void)rule, (void)msr, (void)value;
    return true;
}

/* A value of the vCPU's. */
static bool read_slot(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr, uint64_t *value)
{
    (void)msr;
    *value = vcpu->msr[rule->slot];
    return true;
}

static bool write_slot(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
    uint64_t *slot = &vcpu->msr[rule->slot];
    (void)msr;
    if (((value ^ *slot) & ~(uint64_t)rule->writable) != 0)
        return false;
    *slot = value;
    return true;
}

/* SDM, "IA32_TSC_ADJUST Register Support": what either write adds to the TSC, both registers get.
 */
static bool write_tsc(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
    uint64_t offset = value - rdtsc();
    (void)rule, (void)msr;
    vcpu_change(vcpu, STATE_MSR);
    vcpu->msr[MSR_SLOT_TSC_ADJUST] += offset - vcpu->state.tsc_offset;
    vcpu->state.tsc_offset = offset;
    vcpu->changed |= STATE_EVENTS; /* a deadline is nearer or farther now */
    return true;
}

static bool write_tsc_adjust(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr,
                             uint64_t value)
{
    (void)rule, (void)msr;
    vcpu_change(vcpu, STATE_MSR);
    vcpu->state.tsc_offset += value - vcpu->msr[MSR_SLOT_TSC_ADJUST];
    vcpu->msr[MSR_SLOT_TSC_ADJUST] = value;
    vcpu->changed |= STATE_EVENTS;
    return true;
}

/*
 * The host's microcode is the guest's. SDM, "Microcode Update Resources": the revision appears by
 * CPUID 1 after a write of 0, which on other CPUs is #GP and not needed.
 */
static bool read_microcode(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr,
                           uint64_t *value)
{
    (void)vcpu, (void)rule;
    (void)wrmsr_safe(msr, 0);
    (void)cpuid(1, 0);
    return rdmsr_safe(msr, value);
}

static bool write_microcode(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr,
                            uint64_t value)
{
    (void)rule, (void)msr, (void)value;
    return vcpu->vm->caps->has_misc_enable;
}

/* The MTRRs as the guest may see them, whatever acts: its own, or those of its start. */
static bool read_mtrr(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr, uint64_t *value)
{
    struct mtrr_state first;
    bool fixed = vcpu->vm->map.typing.policy.report == KNOB_REPORT_FIXED;
    (void)rule;
    if (fixed)
        vm_reset_mtrrs(vcpu->vm, &first);
    *value = mtrr_read(fixed ? &first : &vcpu->mtrr, msr);
    return !vcpu->hides_mtrrs;
}

/* A write that has been made, as the instruction has it; WHAT: see enum trace_kind. */
static __attribute__((noinline)) void put_write(const struct vcpu *vcpu, enum trace_kind kind,
                                                unsigned what)
{
    const uint64_t *gpr = vcpu->state.gpr;
    trace_put(kind, what, 0, (uint32_t)gpr[RCX], gpr[RDX] << 32 | (uint32_t)gpr[RAX]);
}

static inline void trace_mtrr(const struct vcpu *vcpu, enum mtrr_written written)
{
    if (trace_is_on() && written != MTRR_REFUSED)
        put_write(vcpu, TRACE_MTRR, written == MTRR_CHANGED);
}

/* Where CPUID hides them, a write is #GP and changes nothing. */
static inline enum mtrr_written put_mtrr(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    if (vcpu->hides_mtrrs)
        return MTRR_REFUSED;
    enum mtrr_written written = mtrr_write(&vcpu->mtrr, msr, value);
    trace_mtrr(vcpu, written);
    return written;
}

static bool write_mtrr(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
    (void)rule;
    enum mtrr_written written = put_mtrr(vcpu, msr, value);
    if (__builtin_expect(written == MTRR_CHANGED, true))
        views_follow_range(vcpu);
    return written != MTRR_REFUSED;
}

static bool write_mtrr_def_type(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr,
                                uint64_t value)
{
    (void)rule;
    enum mtrr_written written = put_mtrr(vcpu, msr, value);
    if (written == MTRR_CHANGED)
        views_follow_mtrr(vcpu, true);
    return written != MTRR_REFUSED;
}

static bool read_pat(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr, uint64_t *value)
{
    (void)rule, (void)msr;
    *value = vcpu->pat;
    return true;
}

static bool write_pat(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
    (void)rule, (void)msr;
    if (!pat_is_legal(value))
        return false;
    vcpu->pat = value;
    if (trace_is_on())
        put_write(vcpu, TRACE_PAT, 0);
    views_put_pat(vcpu);
    return true;
}

static bool read_efer(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr, uint64_t *value)
{
    (void)rule, (void)msr;
    vcpu_fetch(vcpu, STATE_MODE);
    *value = vcpu->state.efer;
    return true;
}

/* EFER bits that the guest's CPUID shows: SYSCALL, NX, long mode, FFXSR. */
static uint64_t efer_allowed(const struct vcpu *vcpu)
{
    uint32_t features = vcpu->vm->cpuid.extended[1].edx;
    uint64_t allowed = EFER_LME | EFER_LMA;
    allowed |= (features & 1u << 11) != 0 ? EFER_SCE : 0;
    allowed |= (features & 1u << 20) != 0 ? EFER_NXE : 0;
    allowed |= (features & 1u << 25) != 0 ? EFER_FFXSR : 0;
    return allowed;
}

/* APM, "Extended Feature Enable Register (EFER)": LMA is read-only and ignores writes. */
static bool write_efer(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
    (void)rule, (void)msr;
    vcpu_change(vcpu, STATE_MODE);
    uint64_t old = vcpu->state.efer;
    uint64_t next = (value & ~EFER_LMA) | (old & EFER_LMA);
    bool paging = (vcpu->state.cr0 & CR0_PG) != 0;
    if ((value & ~efer_allowed(vcpu)) != 0 || (paging && ((next ^ old) & EFER_LME) != 0))
        return false;
    vcpu->state.efer = next;
    return true;
}

#define HWCR_INVD_WBINVD (1u << 4)
#define HWCR_TSC_P0      (1u << 24)
#define HWCR_WRITABLE    (1u << 3 | 1u << 6 | 1u << 8 | 1u << 18)

#define MISC_FAST_STRINGS 1u
#define MISC_NO_BTS       (1u << 11)
#define MISC_NO_PEBS      (1u << 12)

/* Rising, none twice: tests/unit/test_msr.c. Names and bits are those of SDM Volume 4, and of APM
 * Volume 2, "MSR Cross-Reference". */
/* clang-format off */
static const struct msr_rule rules[] = {
    /* Machine checks of the Pentium: none. */
    {0x0, 0x1, ANY, .read = read_reset, .write = write_reset},
    {MSR_TSC, MSR_TSC, ANY, .direct = DIRECT_READ, .write = write_tsc},
    /* PLATFORM_ID, BIOS_UPDT_TRIG, BIOS_SIGN_ID or PATCH_LEVEL: nothing is loaded. */
    {0x17, 0x17, WITH_MISC_ENABLE, .read = read_reset},
    {MSR_APIC_BASE, MSR_APIC_BASE, ANY, .read = apic_read_base, .write = apic_write_base},
    {MSR_TSC_ADJUST, MSR_TSC_ADJUST, WITH_TSC_ADJUST, .slot = MSR_SLOT_TSC_ADJUST,
     .read = read_slot, .write = write_tsc_adjust},
    {0x79, 0x79, WITH_MISC_ENABLE, .write = write_ignored},
    {0x8b, 0x8b, ANY, .read = read_microcode, .write = write_microcode},
    {MSR_MTRRCAP, MSR_MTRRCAP, ANY, .read = read_mtrr},
    {MSR_SYSENTER_CS, MSR_SYSENTER_EIP, ANY, .direct = DIRECT},
    /* No banks and no MCG_CTL; MCG_STATUS: RIPV, EIPV, MCIP. */
    {MSR_MCG_CAP, MSR_MCG_CAP, ANY, .read = read_reset},
    {MSR_MCG_STATUS, MSR_MCG_STATUS, ANY, .slot = MSR_SLOT_MCG_STATUS, .writable = 7,
     .read = read_slot, .write = write_slot},
    /* Fast strings may be turned off, to no effect; the rest says what CPUID says. */
    {MSR_MISC_ENABLE, MSR_MISC_ENABLE, WITH_MISC_ENABLE, .slot = MSR_SLOT_MISC_ENABLE,
     .reset = MISC_FAST_STRINGS | MISC_NO_BTS | MISC_NO_PEBS, .writable = MISC_FAST_STRINGS,
     .read = read_slot, .write = write_slot},
    /* DEBUGCTL and its last branches: no recording, no BTF. */
    {MSR_DEBUGCTL, MSR_DEBUGCTL, ANY, .read = read_reset, .write = write_reset},
    {0x1db, 0x1de, WITH_SYSCFG, .read = read_reset, .write = write_reset},
    {MSR_MTRR_PHYSBASE0, MSR_MTRR_PHYSMASK7, ANY, .read = read_mtrr, .write = write_mtrr},
    {MSR_MTRR_FIX64K, MSR_MTRR_FIX64K, ANY, .read = read_mtrr, .write = write_mtrr},
    {MSR_MTRR_FIX16K_0, MSR_MTRR_FIX16K_1, ANY, .read = read_mtrr, .write = write_mtrr},
    {MSR_MTRR_FIX4K_0, MSR_MTRR_FIX4K_7, ANY, .read = read_mtrr, .write = write_mtrr},
    {MSR_PAT, MSR_PAT, ANY, .direct = DIRECT | SWITCHED, .read = read_pat, .write = write_pat},
    {MSR_MTRR_DEF_TYPE, MSR_MTRR_DEF_TYPE, ANY, .read = read_mtrr, .write = write_mtrr_def_type},
    {MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, ANY, .read = apic_read_deadline,
     .write = apic_write_deadline},
    {MSR_X2APIC, MSR_X2APIC + 0xff, ANY, .read = apic_read_msr, .write = apic_write_msr},
    {MSR_EFER, MSR_EFER, ANY, .read = read_efer, .write = write_efer},
    {MSR_STAR, MSR_SFMASK, ANY, .direct = DIRECT},
    {MSR_FS_BASE, MSR_KERNEL_GS_BASE, ANY, .direct = DIRECT},
    {MSR_TSC_AUX, MSR_TSC_AUX, WITH_RDTSCP, .direct = DIRECT},
    /* The host's own mapping of DRAM is none of the guest's business: 0 alone. */
    {MSR_SYSCFG, MSR_SYSCFG, WITH_SYSCFG, .read = read_reset, .write = write_reset},
    /* INVD is WBINVD here. What may be written has no effect. */
    {MSR_HWCR, MSR_HWCR, WITH_SYSCFG, .slot = MSR_SLOT_HWCR,
     .reset = HWCR_INVD_WBINVD | HWCR_TSC_P0, .writable = HWCR_WRITABLE,
     .read = read_slot, .write = write_slot},
    /* IORRs, TOP_MEM. */
    {0xc0010016, 0xc001001a, WITH_SYSCFG, .read = read_reset, .write = write_reset},
    /* TOP_MEM2; PATCH_LOADER: nothing is loaded. */
    {0xc001001d, 0xc001001d, WITH_SYSCFG, .read = read_reset, .write = write_reset},
    {0xc0010020, 0xc0010020, WITH_SYSCFG, .write = write_ignored},
};

/* MSRs that are #GP because CPUID hides what they belong to, and why: for the log alone. */
static const struct { uint32_t first, last; const char *of; } hidden[] = {
    {0x3a, 0x3a, "VMX, SMX, SGX"},         {0x48, 0x49, "speculation control"},
    {0x9b, 0x9b, "VMX, SMX"},              {0xc1, 0xc8, "performance counters"},
    {0xcf, 0xcf, "speculation control"},   {0xe7, 0xe8, "power management"},
    {0x10a, 0x10b, "speculation control"}, {0x122, 0x123, "speculation control"},
    {0x17b, 0x17b, "MCG_CTL"},             {0x186, 0x18d, "performance counters"},
    {0x198, 0x19d, "power management"},    {0x1a2, 0x1a2, "power management"},
    {0x1b0, 0x1b2, "power management"},    {0x1f2, 0x1f3, "SMM"},
    {0x280, 0x29f, "machine-check banks"}, {0x309, 0x30c, "performance counters"},
    {0x345, 0x345, "performance counters"},{0x38d, 0x391, "performance counters"},
    {0x400, 0x47f, "machine-check banks"}, {0x480, 0x493, "VMX"},
    {0x4c1, 0x4c8, "performance counters"},{0x560, 0x587, "processor trace"},
    {0x600, 0x600, "debug store"},         {0x601, 0x65f, "power management"},
    {0x6a0, 0x6a8, "CET"},
    {0x770, 0x777, "power management"},
    {0xc80, 0xc80, "silicon debug"},       {0xc81, 0xd8f, "resource director"},
    {0xd90, 0xd90, "MPX"},                 {MSR_XSS, MSR_XSS, "XSAVES"},
    {0xc00000e7, 0xc00000e9, "power management"},
    {0xc0000104, 0xc0000104, "SVM"},       {0xc0000400, 0xc000040f, "machine-check banks"},
    {0xc0010000, 0xc0010007, "performance counters"},
    {0xc0010061, 0xc001006b, "power management"},
    {0xc0010111, 0xc0010113, "SMM"},       {MSR_VM_CR, 0xc001011b, "SVM"},
    {0xc0010130, 0xc0010131, "SEV"},       {0xc0010140, 0xc0010141, "OSVW"},
    {0xc0010200, 0xc001020b, "performance counters"},
    {0xc0011019, 0xc001101b, "breakpoint masks"},
    {0xc0011027, 0xc0011027, "breakpoint masks"},
    {0xc0011030, 0xc001103d, "IBS"},
};
/* clang-format on */

void msr_reset(struct vcpu *vcpu)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rules); i++)
        if (rules[i].read == read_slot)
            vcpu->msr[rules[i].slot] = rules[i].reset;
}

static bool is_there(const struct vcpu *vcpu, const struct msr_rule *rule)
{
    const struct vm *vm = vcpu->vm;
    switch ((enum where)rule->where) {
    case WITH_MISC_ENABLE:
        return vm->caps->has_misc_enable;
    case WITH_SYSCFG:
        return vm->caps->has_syscfg;
    case WITH_TSC_ADJUST:
        return (vm->cpuid.basic[7].ebx & 1u << 1) != 0;
    case WITH_RDTSCP:
        return (vm->cpuid.extended[1].edx & 1u << 27) != 0;
    case ANY:
        break;
    }
    return true;
}

/* Where the rule of MSR stands if there is one, in steps that the compiler knows. */
static const struct msr_rule *find_place(uint32_t msr)
{
    enum { HALF = 16, REST = ARRAY_SIZE(rules) - HALF };
    static_assert(REST > 0 && REST <= HALF, "two halves cover the table");
    const struct msr_rule *at = rules[REST].first <= msr ? &rules[REST] : rules;
    for (unsigned step = HALF / 2; step != 0; step /= 2)
        at = at[step].first <= msr ? at + step : at;
    return at;
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

static void name_unknown(const struct vcpu *vcpu, uint32_t msr)
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
    for (unsigned i = 0; i < ARRAY_SIZE(hidden); i++)
        if (msr >= hidden[i].first && msr <= hidden[i].last) {
            log_line("vm %s: MSR 0x%x at RIP 0x%lx: #GP, as CPUID hides %s", vm->config->name, msr,
                     vcpu->state.rip, hidden[i].of);
            return;
        }
    log_line("vm %s: unknown MSR 0x%x at RIP 0x%lx: #GP", vm->config->name, msr, vcpu->state.rip);
}

static __attribute__((noinline)) void log_unknown(const struct vcpu *vcpu, uint32_t msr)
{
    lock_take(&vcpu->vm->lock);
    name_unknown(vcpu, msr);
    lock_release(&vcpu->vm->lock);
}

static inline const struct msr_rule *rule_or_log(struct vcpu *vcpu, uint32_t msr)
{
    const struct msr_rule *rule = find_place(msr);
    if (msr >= rule->first && msr <= rule->last && (rule->where == ANY || is_there(vcpu, rule)))
        return rule;
    log_unknown(vcpu, msr);
    return NULL;
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
    if (rule == NULL || rule->read == NULL || !rule->read(vcpu, rule, msr, &value)) {
        vcpu_raise(vcpu, VECTOR_GP, 0);
        return;
    }
    gpr[RAX] = (uint32_t)value;
    gpr[RDX] = value >> 32;
    vcpu_skip(vcpu, next);
}

void exit_wrmsr(struct vcpu *vcpu, const struct vm_exit *exit)
{
    const uint64_t *gpr = vcpu->state.gpr;
    uint64_t next = vcpu_next_rip(vcpu, INSN_WRMSR);
    (void)exit;
    if (next == 0)
        return;
    uint32_t msr = (uint32_t)gpr[RCX];
    uint64_t value = gpr[RDX] << 32 | (uint32_t)gpr[RAX];
    const struct msr_rule *rule = rule_or_log(vcpu, msr);
    if (rule == NULL || rule->write == NULL || !rule->write(vcpu, rule, msr, value))
        vcpu_raise(vcpu, VECTOR_GP, 0);
    else
        vcpu_skip(vcpu, next);
}
