/* Memory-type policies: their names and knobs, and the leaves that they make. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/policy.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/memtype.h"

#define PAT_ALL_WB 0x0606060606060606ull

/* The guest's own registers decide everything. */
static void exact(struct policy *p)
{
    p->mtrr = KNOB_MTRR_GUEST;
    p->pat = KNOB_PAT_GUEST;
    p->cd = p->means.owns_cr0_cd ? KNOB_CD_HW : KNOB_CD_VIEW;
}

/* Memory that only snooping agents reach is WB, whatever the guest says, as far as tables can. */
static void wb(struct policy *p)
{
    p->mtrr = KNOB_MTRR_IGNORE;
    p->pat = p->means.has_ipat ? KNOB_PAT_IGNORE : KNOB_PAT_GUEST;
    p->cd = KNOB_CD_IGNORE;
}

static const struct preset presets[] = {
    {"exact", POLICY_EXACT, exact},
    {"wb", POLICY_WB, wb},
};

static const struct preset *find_preset(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(presets); i++)
        if (strcmp(presets[i].name, name) == 0)
            return &presets[i];
    return NULL;
}

/* Knobs of the config that are set take the place of the policy's. */
static void turn_knobs(const struct vm_config *config, struct policy *p)
{
    if (config->mtrr != KNOB_MTRR_DEFAULT)
        p->mtrr = config->mtrr;
    if (config->pat != KNOB_PAT_DEFAULT)
        p->pat = config->pat;
    if (config->cd != KNOB_CD_DEFAULT)
        p->cd = config->cd;
    if (config->mmio != KNOB_MMIO_DEFAULT)
        p->mmio = config->mmio;
    if (config->report != KNOB_REPORT_DEFAULT)
        p->report = config->report;
    if (config->reset != KNOB_RESET_DEFAULT)
        p->reset = config->reset;
}

static int refuse(const struct vm_config *config, const char *what, const char *cure)
{
    log_line("vm %s: %s; %s", config->name, what, cure);
    return -EINVAL;
}

static int check(const struct vm_config *config, const struct policy *p)
{
    if (p->cd == KNOB_CD_VIEW && !p->means.has_ipat)
        return refuse(config, "cd = view: this CPU's nested tables cannot override a PAT",
                      "write cd = hw");
    if (p->cd == KNOB_CD_HW && !p->means.owns_cr0_cd && !p->means.runs_uncached)
        return refuse(config, "cd = hw: this CPU's guests do not own CR0.CD", "write cd = view");
    return 0;
}

int policy_resolve(const struct vm_config *config, const struct policy_means *means,
                   bool noncoherent, struct policy *policy)
{
    const char *name = config->policy[0] != '\0' ? config->policy : noncoherent ? "exact" : "wb";
    const struct preset *preset = find_preset(name);
    if (preset == NULL) {
        log_line("vm %s: policy = %s is not supported yet; write exact or wb", config->name, name);
        return -EINVAL;
    }
    *policy = (struct policy){.preset = preset,
                              .noncoherent = noncoherent,
                              .mmio = KNOB_MMIO_CLAMP,
                              .report = KNOB_REPORT_STORED,
                              .reset = KNOB_RESET_FIRMWARE,
                              .means = *means};
    preset->fill(policy);
    turn_knobs(config, policy);
    return check(config, policy);
}

int policy_take(enum policy_number number, bool noncoherent, struct policy *policy)
{
    for (unsigned i = 0; i < ARRAY_SIZE(presets); i++) {
        if (presets[i].number != number)
            continue;
        *policy = (struct policy){.preset = &presets[i],
                                  .noncoherent = noncoherent,
                                  .mmio = KNOB_MMIO_CLAMP,
                                  .report = policy->report,
                                  .reset = policy->reset,
                                  .means = policy->means};
        presets[i].fill(policy);
        return 0;
    }
    return number < POLICIES ? -EOPNOTSUPP : -EINVAL;
}

/* A device's registers are never cacheable, or the machine checks: WC or UC. */
static struct pt_attr mmio_leaf(const struct policy *policy, enum memtype guest)
{
    bool wc = policy->mmio == KNOB_MMIO_CLAMP && guest == MT_WC;
    enum memtype type = policy->mmio == KNOB_MMIO_GUEST ? guest : wc ? MT_WC : MT_UC;
    return (struct pt_attr){.perm = PT_R | PT_W | PT_X, .type = (uint8_t)type};
}

struct pt_attr policy_leaf(const struct policy *policy, enum view_kind view,
                           const struct policy_page *page)
{
    struct pt_attr leaf = {.perm = PT_R | PT_W | PT_X, .type = page->guest};
    assert(memtype_is_pat(page->guest) && page->guest != MT_UC_MINUS && view < VIEWS);
    if (view == VIEW_CD) {
        leaf.type = MT_UC;
        leaf.ipat = true;
    } else if (page->mmio) {
        leaf = mmio_leaf(policy, (enum memtype)page->guest);
    } else {
        if (!page->region && policy->mtrr == KNOB_MTRR_IGNORE)
            leaf.type = MT_WB;
        leaf.ipat = policy->pat == KNOB_PAT_IGNORE && policy->means.has_ipat;
    }
    return leaf;
}

uint64_t policy_pat(const struct policy *policy, bool enabled, bool cd, uint64_t pat)
{
    (void)enabled, (void)cd;
    return policy_forces_pat(policy) ? PAT_ALL_WB : pat;
}

bool policy_forces_pat(const struct policy *policy)
{
    return policy->pat == KNOB_PAT_IGNORE && !policy->means.has_ipat;
}

enum effective policy_effective(const struct type_rules *rules, struct pt_attr leaf,
                                enum memtype pat, bool cd, enum memtype host)
{
    return cd ? rules->cd : rules->nested(leaf, pat, host);
}

enum memtype policy_window(const struct policy *policy, const struct type_rules *rules,
                           struct pt_attr leaf, enum memtype pat, bool cd, enum memtype host)
{
    static const uint8_t types[EFFECTIVES] = {MT_UC, MT_UC, MT_WC, MT_WC, MT_WT, MT_WP, MT_WB};
    if (policy->pat == KNOB_PAT_IGNORE) /* what acts in its place is WB */
        pat = MT_WB;
    return (enum memtype)types[policy_effective(rules, leaf, pat, cd, host)];
}
