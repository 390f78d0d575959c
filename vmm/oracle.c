/* The oracle: what type an access of the guest has, and why, read from the live tables. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/oracle.h"

#include "lib/errno.h"
#include "mm/memtype.h"
#include "vmm/access.h"
#include "vmm/host.h"
#include "vmm/views.h"

static bool in_region(const struct vm *vm, gpa_t at)
{
    for (unsigned i = 0; i < vm->config->region_count; i++)
        if (at.v - vm->config->regions[i].start < vm->config->regions[i].size)
            return true;
    return false;
}

static unsigned deciding_rule(const struct vcpu *vcpu, gpa_t at, bool cd, unsigned guest_rule)
{
    const struct vm *vm = vcpu->vm;
    if (cd || vcpu->view == VIEW_CD)
        return TYPE_RULE_CD;
    if (in_region(vm, at))
        return TYPE_RULE_REGION;
    return vm->typing.policy.mtrr == KNOB_MTRR_IGNORE ? TYPE_RULE_POLICY : guest_rule;
}

/* Type of slot 0 of the PAT that acts, where the guest's own PAT does not. */
static unsigned pat_in_force(const struct vcpu *vcpu, unsigned pat_type)
{
    uint64_t own = vcpu->state.pat, acts = policy_pat(&vcpu->vm->typing.policy, own);
    return acts == own ? pat_type : (unsigned)(acts & 7);
}

void oracle_physical(struct vcpu *vcpu, gpa_t at, unsigned pat_type, struct type_answer *answer)
{
    const struct vm *vm = vcpu->vm;
    const struct pt *pt = &vm->typing.views[vcpu->view].pt;
    struct pt_leaf leaf = pt_query(pt, at.v);
    struct mtrr_answer guest = mtrr_type(&vcpu->mtrr, at.v);
    vcpu_fetch(vcpu, STATE_CR | STATE_MODE);
    bool cd = (vcpu->state.cr0 & CR0_CD) != 0;
    *answer = (struct type_answer){
        .gpa = at.v,
        .next = min_u64(leaf.next, guest.next),
        .root = pt->root.v,
        .guest_type = guest.type,
        .guest_rule = guest.rule,
        .rule = TYPE_RULE_NONE,
        .cd = cd,
        .view = (uint8_t)vcpu->view,
    };
    if (!leaf.present)
        return;
    bool acts = policy_cd_acts(&vm->typing.policy, cd);
    enum memtype host = (enum memtype)mtrr_type(&vm->host->mtrr, leaf.hpa.v).type;
    enum memtype pat = (enum memtype)pat_in_force(vcpu, pat_type);
    answer->present = 1;
    answer->hpa = leaf.hpa.v;
    answer->host_type = (uint8_t)host;
    answer->leaf_type = leaf.attr.type;
    answer->leaf_ipat = leaf.attr.ipat;
    answer->leaf_level = leaf.level;
    answer->pat_type = (uint8_t)pat;
    answer->effective = (uint8_t)policy_effective(vm->caps->types, leaf.attr, pat, acts, host);
    answer->rule = (uint8_t)deciding_rule(vcpu, at, acts, guest.rule);
}

/* The entries that a walk has read, from the root down. */
struct trail {
    struct vcpu *vcpu;
    unsigned count;
    struct {
        gpa_t gpa;
        uint8_t type;
    } entry[5];
};

static int read_noted(void *context, gpa_t at, unsigned width, enum memtype type, uint64_t *value)
{
    struct trail *trail = context;
    if (trail->count < ARRAY_SIZE(trail->entry)) {
        trail->entry[trail->count].gpa = at;
        trail->entry[trail->count++].type = (uint8_t)type;
    }
    return vcpu_read_entry(trail->vcpu, at, width, type, value);
}

static int keep_bits(void *context, gpa_t at, unsigned width, enum memtype type, uint64_t old,
                     uint64_t bits)
{
    (void)context, (void)at, (void)width, (void)type, (void)old, (void)bits;
    return 0;
}

/* The level of the entry that maps a page of that size. */
static unsigned level_of(uint64_t page)
{
    return page == PAGE_SIZE ? 1 : page == GIB ? 3 : 2;
}

int oracle_linear(struct vcpu *vcpu, gva_t linear, unsigned table, struct type_answer *answer)
{
    struct trail trail = {.vcpu = vcpu};
    const struct walk_memory memory = {read_noted, keep_bits, &trail};
    struct walk_result at;
    struct walk_state state = *vcpu_walk_state(vcpu);
    state.cpl = 0;
    if (guest_walk(&state, &memory, linear, WALK_READ | WALK_SYSTEM, &at) != 0)
        return -EFAULT;
    if (table == 0) {
        oracle_physical(vcpu, at.gpa, at.pat_type, answer);
        return 0;
    }
    unsigned up = table - level_of(at.page); /* entries between the leaf and the one asked for */
    if (table < level_of(at.page) || up >= trail.count)
        return -EFAULT;
    unsigned i = trail.count - 1 - up;
    oracle_physical(vcpu, trail.entry[i].gpa, trail.entry[i].type, answer);
    return 0;
}
