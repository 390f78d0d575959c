/* Whose rules there are: one small function for each system, which sets the knobs (docs/policies.md
 * says why each does what it does), and one more where leaves follow a rule that no knob says. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/string.h"
#include "mm/mtrr.h"
#include "vmm/typing/policy.h"

static void set(struct policy *p, enum knob_mtrr mtrr, enum knob_pat pat, enum knob_cd cd,
                enum knob_mmio mmio)
{
    p->mtrr = mtrr;
    p->pat = pat;
    p->cd = cd;
    p->mmio = mmio;
}

/* Leaves that ignore the PAT, where leaves can. */
static enum knob_pat ignored_pat(const struct policy *p)
{
    return p->means.has_ipat ? KNOB_PAT_IGNORE : KNOB_PAT_GUEST;
}

/* The guest's own registers decide everything. */
static void exact(struct policy *p)
{
    enum knob_cd cd = p->means.owns_cr0_cd ? KNOB_CD_HW : KNOB_CD_VIEW;
    set(p, KNOB_MTRR_GUEST, KNOB_PAT_GUEST, cd, KNOB_MMIO_CLAMP);
}

/* Memory that only snooping agents reach is WB, whatever the guest says, as far as tables can. */
static void wb(struct policy *p)
{
    set(p, KNOB_MTRR_IGNORE, ignored_pat(p), KNOB_CD_IGNORE, KNOB_MMIO_CLAMP);
}

/* The guest's MTRRs for each VM, and never its PAT. */
static void kvm_2008(struct policy *p)
{
    set(p, KNOB_MTRR_PRESET, KNOB_PAT_IGNORE, KNOB_CD_IGNORE, KNOB_MMIO_CLAMP);
    p->mmio_ipat = true;
}

/* With E and FE clear all is WB; with either set fixed ranges count; with E clear the default. */
static enum memtype kvm_2008_ram(const struct policy_page *page)
{
    if ((page->def_type & (MTRR_DEF_E | MTRR_DEF_FE)) == 0)
        return MT_WB;
    if (page->low)
        return (enum memtype)page->fixed;
    return (enum memtype)((page->def_type & MTRR_DEF_E) != 0 ? page->guest : page->def_type & 7);
}

/* The guest decides only where a device does not snoop. */
static void kvm(struct policy *p, enum knob_mtrr mtrr, enum knob_cd cd)
{
    if (p->noncoherent)
        set(p, mtrr, KNOB_PAT_GUEST, cd, KNOB_MMIO_UC);
    else
        set(p, KNOB_MTRR_IGNORE, KNOB_PAT_IGNORE, KNOB_CD_IGNORE, KNOB_MMIO_UC);
}

static void kvm_4_19(struct policy *p)
{
    kvm(p, KNOB_MTRR_GUEST, KNOB_CD_WB_IPAT);
}

static void kvm_6_7(struct policy *p)
{
    kvm(p, KNOB_MTRR_GUEST, KNOB_CD_WB);
}

/* Its PAT alone. */
static void kvm_6_11(struct policy *p)
{
    kvm(p, KNOB_MTRR_IGNORE, KNOB_CD_IGNORE);
}

static void kvm_svm(struct policy *p)
{
    set(p, KNOB_MTRR_IGNORE, KNOB_PAT_GUEST, KNOB_CD_IGNORE, KNOB_MMIO_UC);
}

static void kvm_svm_2015(struct policy *p)
{
    bool honored = p->noncoherent;
    set(p, honored ? KNOB_MTRR_PRESET : KNOB_MTRR_IGNORE,
        honored ? KNOB_PAT_GUEST : KNOB_PAT_IGNORE, KNOB_CD_HW, KNOB_MMIO_CLAMP);
    p->disabled_is_uc = true;
}

/* The host's PAT had no slot for WP. */
static enum memtype kvm_2015_ram(const struct policy_page *page)
{
    return page->guest == MT_WP ? MT_UC : (enum memtype)page->guest;
}

static void xen(struct policy *p)
{
    if (!p->means.has_ipat)
        set(p, KNOB_MTRR_IGNORE, KNOB_PAT_GUEST, KNOB_CD_IGNORE, KNOB_MMIO_UC);
    else if (p->noncoherent)
        set(p, KNOB_MTRR_PRESET, KNOB_PAT_GUEST, KNOB_CD_PAT_UC, KNOB_MMIO_UC);
    else
        set(p, KNOB_MTRR_IGNORE, KNOB_PAT_IGNORE, KNOB_CD_IGNORE, KNOB_MMIO_UC);
    p->disabled_is_uc = true;
}

/*
 * The guest's MTRRs merged with the host's: the one that is not WB; of two others that differ UC,
 * but WP of WP and WT.
 */
static enum memtype xen_ram(const struct policy_page *page)
{
    enum memtype guest = (enum memtype)page->guest, host = (enum memtype)page->host;
    if (guest == host || host == MT_WB)
        return guest;
    if (guest == MT_WB)
        return host;
    bool wt_wp = (guest == MT_WT && host == MT_WP) || (guest == MT_WP && host == MT_WT);
    return wt_wp ? MT_WP : MT_UC;
}

static void bhyve(struct policy *p)
{
    set(p, KNOB_MTRR_IGNORE, ignored_pat(p), KNOB_CD_IGNORE, KNOB_MMIO_UC);
    p->mmio_ipat = p->means.has_ipat;
}

static void acrn(struct policy *p)
{
    set(p, KNOB_MTRR_PRESET, KNOB_PAT_GUEST, KNOB_CD_PAT_UC, KNOB_MMIO_UC);
}

/* Fixed ranges alone; where E or FE is clear, the default type in their place. */
static enum memtype acrn_ram(const struct policy_page *page)
{
    uint64_t on = MTRR_DEF_E | MTRR_DEF_FE;
    if (!page->low)
        return MT_WB;
    return (enum memtype)((page->def_type & on) == on ? page->fixed : page->def_type & 7);
}

/* Of the MTRRs E alone acts, and through the PAT. */
static void jailhouse(struct policy *p)
{
    enum knob_cd cd = p->means.owns_cr0_cd ? KNOB_CD_HW : KNOB_CD_IGNORE;
    set(p, KNOB_MTRR_IGNORE, KNOB_PAT_GUEST, cd, KNOB_MMIO_UC);
    p->pat_by_enable = true;
}

static void bitvisor(struct policy *p)
{
    set(p, KNOB_MTRR_GUEST, KNOB_PAT_GUEST, KNOB_CD_IGNORE, KNOB_MMIO_CLAMP);
}

/* By number. */
/* clang-format off */
static const struct preset presets[POLICIES] = {
    {"exact",        POLICY_EXACT,        true,  true,  0,           exact,        NULL},
    {"wb",           POLICY_WB,           true,  true,  0,           wb,           NULL},
    {"kvm-2008",     POLICY_KVM_2008,     true,  false, WANTS_FIXED, kvm_2008,     kvm_2008_ram},
    {"kvm-4.19",     POLICY_KVM_4_19,     true,  false, 0,           kvm_4_19,     NULL},
    {"kvm-6.7",      POLICY_KVM_6_7,      true,  false, 0,           kvm_6_7,      NULL},
    {"kvm-6.11",     POLICY_KVM_6_11,     true,  false, 0,           kvm_6_11,     NULL},
    {"kvm-6.16",     POLICY_KVM_6_16,     true,  false, 0,           kvm_6_11,     NULL},
    {"kvm-svm",      POLICY_KVM_SVM,      false, true,  0,           kvm_svm,      NULL},
    {"kvm-svm-2015", POLICY_KVM_SVM_2015, false, true,  0,           kvm_svm_2015, kvm_2015_ram},
    {"xen",          POLICY_XEN,          true,  true,  WANTS_HOST,  xen,          xen_ram},
    {"bhyve",        POLICY_BHYVE,        true,  true,  0,           bhyve,        NULL},
    {"acrn",         POLICY_ACRN,         true,  false, WANTS_FIXED, acrn,         acrn_ram},
    {"jailhouse",    POLICY_JAILHOUSE,    true,  true,  0,           jailhouse,    NULL},
    {"bitvisor",     POLICY_BITVISOR,     true,  true,  0,           bitvisor,     NULL},
};
/* clang-format on */

const struct preset *preset_find(enum policy_number number)
{
    return number < POLICIES ? &presets[number] : NULL;
}

const struct preset *preset_named(const char *name)
{
    for (unsigned i = 0; i < POLICIES; i++)
        if (strcmp(presets[i].name, name) == 0)
            return &presets[i];
    return NULL;
}
