/* Memory-type policies: their names and knobs, and the leaves that they make. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/typing/policy.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/format.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/memtype.h"

#define PAT_ALL_WB 0x0606060606060606ull
#define PAT_ALL_UC 0ull

static bool has_rules(const struct preset *preset, const struct policy_means *means)
{
    return means->has_ipat ? preset->with_ipat : preset->without_ipat;
}

/* What follows from the knobs. */
static void derive(struct policy *p)
{
    bool own = p->mtrr == KNOB_MTRR_PRESET;
    p->disabled_is_uc = own ? p->disabled_is_uc : p->mtrr == KNOB_MTRR_GUEST;
    p->cd_view = p->cd == KNOB_CD_VIEW || p->cd >= KNOB_CD_UC_IPAT;
    p->wants = own ? p->preset->wants : 0;
}

/* The preset's rules for P's means. */
static void fill(struct policy *p, const struct preset *preset, bool noncoherent)
{
    *p = (struct policy){.preset = preset,
                         .noncoherent = noncoherent,
                         .report = p->report,
                         .reset = p->reset,
                         .means = p->means};
    preset->fill(p);
    derive(p);
}

/* Knobs of the config that are set take the place of the policy's. */
static void turn_knobs(const struct vm_config *config, struct policy *p)
{
    if (config->mtrr != KNOB_MTRR_DEFAULT) {
        p->mtrr = config->mtrr;
        p->pat_by_enable = false;
    }
    if (config->pat != KNOB_PAT_DEFAULT)
        p->pat = config->pat;
    if (config->cd != KNOB_CD_DEFAULT)
        p->cd = config->cd;
    if (config->mmio != KNOB_MMIO_DEFAULT) {
        p->mmio = config->mmio;
        p->mmio_ipat = false;
    }
    if (config->report != KNOB_REPORT_DEFAULT)
        p->report = config->report;
    if (config->reset != KNOB_RESET_DEFAULT)
        p->reset = config->reset;
    derive(p);
}

static int refuse(const struct vm_config *config, const char *what, const char *cure)
{
    log_line("vm %s: %s; %s", config->name, what, cure);
    return -EINVAL;
}

static const char *cd_name(enum knob_cd cd)
{
    static const char *const names[] = {"",       "view",    "hw",      "ignore",
                                        "pat-uc", "uc-ipat", "wb-ipat", "wb"};
    return names[cd];
}

static int check(const struct vm_config *config, const struct policy *p)
{
    char what[96];
    if (p->cd_view && !p->means.has_ipat) {
        format(what, sizeof(what), "cd = %s: this CPU's nested tables cannot override a PAT",
               cd_name(p->cd));
        return refuse(config, what, "write cd = hw, ignore or pat-uc");
    }
    if (p->cd == KNOB_CD_HW && !p->means.owns_cr0_cd && !p->means.runs_uncached)
        return refuse(config, "cd = hw: this CPU's guests do not own CR0.CD", "write cd = view");
    if (p->cd == KNOB_CD_PAT_UC && p->pat == KNOB_PAT_IGNORE && p->means.has_ipat)
        return refuse(config, "cd = pat-uc: leaves ignore the PAT, so that it cannot act",
                      "write pat = guest, or another cd");
    if (p->pat_by_enable && p->pat == KNOB_PAT_IGNORE && p->means.has_ipat)
        return refuse(config, "pat = ignore: this policy acts by the PAT alone",
                      "write pat = guest, or another policy");
    return 0;
}

/* Refuses a preset; says which there are. */
static int refuse_preset(const struct vm_config *config, const struct policy_means *means,
                         const char *name, const char *why)
{
    char there_are[200];
    size_t used = 0;
    for (unsigned i = 0; i < POLICIES; i++) {
        const struct preset *preset = preset_find((enum policy_number)i);
        if (has_rules(preset, means))
            used += format(there_are + used, sizeof(there_are) - used, used == 0 ? "%s" : ", %s",
                           preset->name);
    }
    log_line("vm %s: policy = %s %s; write one of: %s", config->name, name, why, there_are);
    return -EINVAL;
}

int policy_resolve(const struct vm_config *config, const struct policy_means *means,
                   bool noncoherent, struct policy *policy)
{
    const char *name = config->policy[0] != '\0' ? config->policy : noncoherent ? "exact" : "wb";
    const struct preset *preset = preset_named(name);
    if (preset == NULL)
        return refuse_preset(config, means, name, "is no policy");
    if (!has_rules(preset, means))
        return refuse_preset(config, means, name,
                             means->has_ipat ? "has no rules for EPT" : "has no rules for NPT");
    *policy = (struct policy){
        .report = KNOB_REPORT_STORED, .reset = KNOB_RESET_FIRMWARE, .means = *means};
    fill(policy, preset, noncoherent);
    turn_knobs(config, policy);
    return check(config, policy);
}

int policy_take(enum policy_number number, bool noncoherent, struct policy *policy)
{
    const struct preset *preset = preset_find(number);
    if (preset == NULL)
        return -EINVAL;
    if (!has_rules(preset, &policy->means))
        return -EOPNOTSUPP;
    fill(policy, preset, noncoherent);
    return 0;
}

/* --- what needs leave ------------------------------------------------------------------------- */

bool policy_needs_leave(const struct policy *policy)
{
    return policy->noncoherent && policy->preset->number == POLICY_WB;
}

/* What the config's knobs say against a device that does not snoop: NULL if nothing. */
static const char *incoherent(const struct vm_config *config, const struct policy *policy)
{
    if (policy_needs_leave(policy))
        return "policy = wb";
    if (config->mtrr == KNOB_MTRR_IGNORE)
        return "mtrr = ignore";
    if (config->pat == KNOB_PAT_IGNORE)
        return "pat = ignore";
    if (config->cd == KNOB_CD_IGNORE)
        return "cd = ignore";
    return config->cd == KNOB_CD_WB_IPAT ? "cd = wb-ipat" : NULL;
}

static int allow(const struct vm_config *config, const char *what, const char *why)
{
    if (config->dangerous)
        log_line("vm %s: dangerous: %s: %s", config->name, what, why);
    else
        log_line("vm %s: %s: %s; write dangerous = yes in [host] if that is meant", config->name,
                 what, why);
    return config->dangerous ? 0 : -EINVAL;
}

int policy_allow(const struct vm_config *config, const struct policy *policy)
{
    const char *what = policy->noncoherent ? incoherent(config, policy) : NULL;
    int error = 0;
    if (policy->mmio == KNOB_MMIO_GUEST)
        error = allow(config, "mmio = guest",
                      "a cacheable type over device registers can machine-check");
    if (error == 0 && what != NULL)
        error = allow(config, what,
                      "a device that does not look into the caches may read and leave stale data");
    return error;
}

/* --- leaves ----------------------------------------------------------------------------------- */

static struct pt_attr make_leaf(enum memtype type, bool ipat)
{
    return (struct pt_attr){.perm = PT_R | PT_W | PT_X, .type = (uint8_t)type, .ipat = ipat};
}

/* A device's registers are never cacheable, or the machine checks: WC or UC. */
static struct pt_attr mmio_leaf(const struct policy *policy, enum memtype guest)
{
    bool wc = policy->mmio == KNOB_MMIO_CLAMP && guest == MT_WC;
    enum memtype type = policy->mmio == KNOB_MMIO_GUEST ? guest : wc ? MT_WC : MT_UC;
    return make_leaf(type, policy->mmio_ipat);
}

static struct pt_attr cd_leaf(enum knob_cd cd)
{
    bool is_wb = cd == KNOB_CD_WB_IPAT || cd == KNOB_CD_WB;
    return make_leaf(is_wb ? MT_WB : MT_UC, cd != KNOB_CD_WB);
}

static enum memtype ram_type(const struct policy *policy, const struct policy_page *page)
{
    if (page->region || policy->mtrr == KNOB_MTRR_GUEST)
        return (enum memtype)page->guest;
    return policy->mtrr == KNOB_MTRR_PRESET ? policy->preset->ram(page) : MT_WB;
}

struct pt_attr policy_leaf(const struct policy *policy, enum view_kind view,
                           const struct policy_page *page)
{
    assert(memtype_is_pat(page->guest) && page->guest != MT_UC_MINUS && view < VIEWS);
    if (view == VIEW_CD && (!page->mmio || policy->cd == KNOB_CD_VIEW))
        return cd_leaf(policy->cd);
    if (page->mmio)
        return mmio_leaf(policy, (enum memtype)page->guest);
    return make_leaf(ram_type(policy, page),
                     policy->pat == KNOB_PAT_IGNORE && policy->means.has_ipat);
}

static bool forces_wb(const struct policy *policy)
{
    return policy->pat == KNOB_PAT_IGNORE && !policy->means.has_ipat;
}

uint64_t policy_pat(const struct policy *policy, bool enabled, bool cd, uint64_t pat)
{
    if ((cd && policy->cd == KNOB_CD_PAT_UC) || (!enabled && policy->pat_by_enable))
        return PAT_ALL_UC;
    return forces_wb(policy) ? PAT_ALL_WB : pat;
}

bool policy_uncaches(const struct policy *policy)
{
    bool by_cd =
        policy->cd != KNOB_CD_IGNORE && policy->cd != KNOB_CD_WB_IPAT && policy->cd != KNOB_CD_WB;
    return by_cd || policy->pat == KNOB_PAT_GUEST || policy->mtrr != KNOB_MTRR_IGNORE;
}

bool policy_forces_pat(const struct policy *policy)
{
    return policy->cd == KNOB_CD_PAT_UC || policy->pat_by_enable || forces_wb(policy);
}

enum effective policy_effective(const struct type_rules *rules, struct pt_attr leaf,
                                enum memtype pat, bool cd, enum memtype host)
{
    return cd ? rules->cd : rules->nested(leaf, pat, host);
}

enum memtype policy_window(const struct type_rules *rules, struct pt_attr leaf, enum memtype pat,
                           bool cd, enum memtype host)
{
    static const uint8_t types[EFFECTIVES] = {MT_UC, MT_UC, MT_WC, MT_WC, MT_WT, MT_WP, MT_WB};
    return (enum memtype)types[policy_effective(rules, leaf, pat, cd, host)];
}
