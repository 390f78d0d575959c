/* Control registers and XCR0: what of a guest's access the CPU leaves to the hypervisor. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/assert.h"
#include "lib/x86.h"
#include "vmm/vcpu/access.h"
#include "vmm/host/cpu.h"
#include "vmm/vcpu/exits.h"
#include "vmm/vcpu/interrupts.h"
#include "vmm/instruments/trace.h"
#include "vmm/typing/views.h"

struct cr4_bit {
    uint64_t bit;
    uint32_t leaf;
    uint8_t reg, cpuid;
};

uint64_t cr4_allowed(void)
{
    static const struct cr4_bit bits[] = {
        {CR4_VME | CR4_PVI, 1, 3, 1}, {CR4_TSD, 1, 3, 4},         {CR4_DE, 1, 3, 2},
        {CR4_PSE, 1, 3, 3},           {CR4_PAE, 1, 3, 6},         {CR4_PGE, 1, 3, 13},
        {CR4_OSFXSR, 1, 3, 24},       {CR4_OSXMMEXCPT, 1, 3, 25}, {CR4_OSXSAVE, 1, 2, 26},
        {CR4_FSGSBASE, 7, 1, 0},      {CR4_SMEP, 7, 1, 7},        {CR4_SMAP, 7, 1, 20},
        {CR4_UMIP, 7, 2, 2},          {CR4_LA57, 7, 2, 16},
    };
    uint64_t allowed = CR4_MCE | CR4_PCE;
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
        if (cpu_has(bits[i].leaf, bits[i].reg, bits[i].cpuid))
            allowed |= bits[i].bit;
    return allowed;
}

/* SDM, "Control Registers": what MOV to CR4 refuses with #GP. */
static bool cr4_legal(const struct vcpu *vcpu, uint64_t value)
{
    const struct guest_state *state = &vcpu->state;
    bool long_mode = (state->efer & EFER_LMA) != 0;
    if ((value & ~vcpu->vm->cr4_allowed) != 0)
        return false;
    return !long_mode || ((value & CR4_PAE) != 0 && ((value ^ state->cr4) & CR4_LA57) == 0);
}

static bool pae_paging(const struct guest_state *state)
{
    return (state->cr0 & CR0_PG) != 0 && (state->cr4 & CR4_PAE) != 0 &&
           (state->efer & EFER_LMA) == 0;
}

/* Commits NEXT, unless PAE paging needs PDPTEs that are not legal: then false. */
static bool take(struct vcpu *vcpu, struct guest_state *next, bool load_pdptes)
{
    if (load_pdptes && vcpu->vm->caps->has_pdptes && pae_paging(next) &&
        !vcpu_read_pdptes(vcpu, next->cr3, next->pdpte))
        return false;
    vcpu->state = *next;
    vcpu->changed |= STATE_CR | STATE_MODE;
    return true;
}

static bool set_cr4(struct vcpu *vcpu, uint64_t value)
{
    const uint64_t reload = CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP;
    struct guest_state next = vcpu->state;
    next.cr4 = value;
    return cr4_legal(vcpu, value) && take(vcpu, &next, ((value ^ vcpu->state.cr4) & reload) != 0);
}

/* SDM, "Initializing IA-32e Mode": what the first MOV to CR0 that sets PG must find. */
static bool may_enter_long_mode(struct vcpu *vcpu)
{
    const uint16_t tss_of_16_bits = 0x1,
                   busy = 0x2; /* that a loaded TR is busy goes without saying */
    vcpu_fetch(vcpu, STATE_CODE | STATE_SEG);
    const struct seg *seg = vcpu->state.seg;
    return (vcpu->state.cr4 & CR4_PAE) != 0 && (seg[SEG_CS].attr & SEG_L) == 0 &&
           (seg[SEG_TR].attr & SEG_TYPE & ~busy) != tss_of_16_bits;
}

/* SDM, "Control Registers" and "Initializing IA-32e Mode": what MOV to CR0 refuses with #GP. */
static bool cr0_legal(struct vcpu *vcpu, uint64_t value)
{
    const struct guest_state *state = &vcpu->state;
    bool paging = (value & CR0_PG) != 0, was_paging = (state->cr0 & CR0_PG) != 0;
    if (value >> 32 != 0 || (paging && (value & CR0_PE) == 0))
        return false;
    if (paging && !was_paging && (state->efer & EFER_LME) != 0)
        return may_enter_long_mode(vcpu);
    return paging || (state->efer & EFER_LMA) == 0 || vcpu_code_size(vcpu) != 8;
}

static __attribute__((noinline)) bool change_cr0(struct vcpu *vcpu, uint64_t value)
{
    const uint64_t defined =
        CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG;
    const uint64_t reload = CR0_PG | CR0_CD | CR0_NW;
    vcpu_fetch(vcpu, STATE_CR);
    struct guest_state next = vcpu->state;
    next.cr0 = (value & defined) | CR0_ET;
    if ((next.cr0 & CR0_PG) == 0)
        next.efer &= ~EFER_LMA;
    else if ((next.efer & EFER_LME) != 0)
        next.efer |= EFER_LMA;
    return take(vcpu, &next, ((next.cr0 ^ vcpu->state.cr0) & reload) != 0);
}

static __attribute__((noinline)) void put_cr0(const struct vcpu *vcpu)
{
    trace_put(TRACE_CR0, 0, 0, vcpu->state.cr0, 0);
}

/* CD and NW change often, and in most modes nothing but memory types depends on them. */
static bool set_cr0(struct vcpu *vcpu, uint64_t value)
{
    bool caches_alone = ((value ^ vcpu->state.cr0) & ~(CR0_CD | CR0_NW)) == 0;
    if ((value & (CR0_CD | CR0_NW)) == CR0_NW)
        return false;
    if (caches_alone && !pae_paging(&vcpu->state)) {
        vcpu->state.cr0 = value;
        vcpu->changed |= STATE_CD;
    } else if (!cr0_legal(vcpu, value) || !change_cr0(vcpu, value)) {
        return false;
    }
    if (trace_is_on())
        put_cr0(vcpu);
    views_cd_written(vcpu);
    return true;
}

/* Bit 63 is reserved too: the guest has no PCIDE. */
static bool set_cr3(struct vcpu *vcpu, uint64_t value)
{
    struct guest_state next = vcpu->state;
    bool long_mode = (next.efer & EFER_LMA) != 0;
    next.cr3 = value;
    return (!long_mode || value >> vcpu->mtrr.phys_bits == 0) && take(vcpu, &next, true);
}

static __attribute__((noinline)) bool set_cr8(struct vcpu *vcpu, uint64_t value)
{
    if (value > 0xf)
        return false;
    vcpu_set_tpr(vcpu, value << 4);
    return true;
}

/* False: #GP. */
static bool move_to(struct vcpu *vcpu, unsigned cr, uint64_t value)
{
    switch (cr) {
    case 3:
        vcpu_fetch(vcpu, STATE_CR);
        return set_cr3(vcpu, value);
    case 4:
        vcpu_fetch(vcpu, STATE_CR);
        return set_cr4(vcpu, value);
    default:
        assert(cr == 8);
        return set_cr8(vcpu, value);
    }
}

static uint64_t read_cr(struct vcpu *vcpu, unsigned cr)
{
    const struct guest_state *state = &vcpu->state;
    assert(cr == 0 || cr == 3 || cr == 4 || cr == 8); /* no other exists to access */
    if (cr == 3)
        vcpu_fetch(vcpu, STATE_CR);
    return cr == 0   ? state->cr0
           : cr == 3 ? state->cr3
           : cr == 4 ? state->cr4
                     : *lapic_reg(&vcpu->lapic, LAPIC_TPR) >> 4;
}

/* LMSW sets PE but does not clear it. */
static uint64_t lmsw(uint64_t cr0, uint16_t source)
{
    const uint64_t low = CR0_PE | CR0_MP | CR0_EM | CR0_TS;
    return (cr0 & ~(low & ~CR0_PE)) | (source & low);
}

/* A value as wide as the code is, which seldom has to be asked. */
static inline uint64_t as_wide_as_code(struct vcpu *vcpu, uint64_t value)
{
    return value >> 32 == 0 || vcpu_code_size(vcpu) == 8 ? value : (uint32_t)value;
}

static bool perform(struct vcpu *vcpu, const struct exit_cr *cr)
{
    uint64_t *gpr = &vcpu->state.gpr[cr->gpr];
    vcpu_fetch(vcpu, STATE_MODE);
    if (cr->op == CR_MOV_TO && cr->cr == 0) /* the one that is often made */
        return set_cr0(vcpu, as_wide_as_code(vcpu, *gpr));
    switch ((enum cr_op)cr->op) {
    case CR_MOV_TO:
        return move_to(vcpu, cr->cr, as_wide_as_code(vcpu, *gpr));
    case CR_MOV_FROM:
        *gpr = as_wide_as_code(vcpu, read_cr(vcpu, cr->cr));
        return true;
    case CR_CLTS:
        return set_cr0(vcpu, vcpu->state.cr0 & ~CR0_TS);
    case CR_LMSW:
        return set_cr0(vcpu, lmsw(vcpu->state.cr0, cr->source));
    }
    return false;
}

/* SMSW stores the low half of CR0, or all that fits a register. */
static void smsw(struct vcpu *vcpu, const struct insn *insn)
{
    uint64_t value = vcpu->state.cr0;
    gva_t linear;
    if (!insn->memory)
        vcpu_set_register(vcpu, insn, value);
    else if (!vcpu_operand(vcpu, insn, true, &linear) ||
             !vcpu_access(vcpu, linear, WALK_WRITE, &value, insn->width))
        return;
    vcpu_skip(vcpu, vcpu->state.rip + insn->length);
}

/* False: a fault has been queued. */
static bool lmsw_source(struct vcpu *vcpu, const struct insn *insn, uint16_t *source)
{
    gva_t linear;
    if (insn->memory)
        return vcpu_operand(vcpu, insn, false, &linear) &&
               vcpu_access(vcpu, linear, WALK_READ, source, sizeof(*source));
    *source = (uint16_t)vcpu->state.gpr[insn->reg];
    return true;
}

/* What the instruction at RIP does, where the CPU did not say; false: no CR is to be changed. */
static __attribute__((noinline)) bool describe(struct vcpu *vcpu, struct exit_cr *cr,
                                               uint64_t *next_rip)
{
    struct insn insn;
    if (!vcpu_decode(vcpu, &insn))
        return false;
    *next_rip = vcpu->state.rip + insn.length;
    *cr = (struct exit_cr){.cr = insn.extra, .gpr = insn.reg};
    switch (insn.op) {
    case INSN_MOV_TO_CR:
    case INSN_MOV_FROM_CR:
        if (insn.extra != 0 && insn.extra != 4 && insn.extra != 8) { /* no other exits here */
            vcpu_stop_changed(vcpu);
            return false;
        }
        cr->op = insn.op == INSN_MOV_TO_CR ? CR_MOV_TO : CR_MOV_FROM;
        return true;
    case INSN_CLTS:
        *cr = (struct exit_cr){.op = CR_CLTS};
        return true;
    case INSN_LMSW:
        *cr = (struct exit_cr){.op = CR_LMSW};
        return lmsw_source(vcpu, &insn, &cr->source);
    case INSN_SMSW:
        vcpu_fetch(vcpu, STATE_MODE);
        smsw(vcpu, &insn);
        return false;
    default:
        vcpu_stop_changed(vcpu);
        return false;
    }
}

void exit_cr(struct vcpu *vcpu, const struct vm_exit *exit)
{
    struct exit_cr described;
    const struct exit_cr *cr = &exit->cr;
    uint64_t next_rip = exit->next_rip;
    if (!cr->known) {
        if (!describe(vcpu, &described, &next_rip))
            return;
        cr = &described;
    }
    assert(cr->gpr < GPRS);
    if (perform(vcpu, cr))
        vcpu_skip(vcpu, next_rip);
    else
        vcpu_raise(vcpu, VECTOR_GP, 0);
}

/* SDM, "XSETBV": XCR0 as a set of state components that may be enabled together. */
static bool xcr0_legal(uint64_t value)
{
    uint64_t supported = cpuid(0xd, 0).eax & XCR0_GUEST;
    if ((value & XCR0_X87) == 0 || (value & ~supported) != 0)
        return false;
    if ((value & XCR0_AVX) != 0 && (value & XCR0_SSE) == 0)
        return false;
    return (value & XCR0_AVX512) == 0 ||
           ((value & XCR0_AVX512) == XCR0_AVX512 && (value & XCR0_AVX) != 0);
}

void exit_xsetbv(struct vcpu *vcpu, const struct vm_exit *exit)
{
    uint64_t *gpr = vcpu->state.gpr;
    uint64_t value = gpr[RDX] << 32 | (uint32_t)gpr[RAX];
    uint64_t next = vcpu_next_rip(vcpu, INSN_XSETBV);
    (void)exit;
    if (next == 0)
        return;
    vcpu_fetch(vcpu, STATE_CODE);
    if (vcpu->state.cpl != 0 || (uint32_t)gpr[RCX] != 0 || !xcr0_legal(value) ||
        !xsetbv_safe(value))
        vcpu_raise(vcpu, VECTOR_GP, 0);
    else
        vcpu_skip(vcpu, next);
}
