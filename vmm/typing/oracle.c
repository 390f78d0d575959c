/* The oracle: what type an access of the guest has, and why, read from the live tables. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/typing/oracle.h"

#include "lib/errno.h"
#include "mm/memtype.h"
#include "vmm/vcpu/access.h"
#include "vmm/host/host.h"
#include "vmm/typing/views.h"

/* The range of devices' registers that has AT, or NULL. */
static const struct mmio_range *find_mmio(const struct vm *vm, gpa_t at)
{
    const struct typing *typing = &vm->map.typing;
    for (unsigned i = 0; i < typing->mmio_count; i++)
        if (at.v - typing->mmio[i].at.gpa.v < typing->mmio[i].at.size)
            return &typing->mmio[i];
    return NULL;
}

/* The policy is named where the leaf is not what the guest's MTRRs say. */
static unsigned deciding_rule(const struct vcpu *vcpu, bool cd, bool region,
                              const struct mmio_range *mmio, uint8_t leaf,
                              const struct mtrr_answer *guest)
{
    enum knob_mtrr mtrr = vcpu->vm->map.typing.policy.mtrr;
    if (cd || vcpu->view == VIEW_CD)
        return TYPE_RULE_CD;
    if (region || (mmio != NULL && mmio->type != MMIO_BY_MTRRS))
        return TYPE_RULE_REGION;
    if (mmio != NULL)
        return leaf == guest->type ? guest->rule : (unsigned)TYPE_RULE_MMIO;
    bool by_policy = mtrr == KNOB_MTRR_IGNORE || (mtrr == KNOB_MTRR_PRESET && leaf != guest->type);
    return by_policy ? (unsigned)TYPE_RULE_POLICY : guest->rule;
}

/* The host's type of the memory at HPA; *NEXT, of the guest's AT, comes down to where it ends. */
static enum memtype host_type(const struct vm *vm, hpa_t hpa, gpa_t at, uint64_t *next)
{
    struct mtrr_answer host = mtrr_type(&vm->host->mtrr, hpa.v);
    *next = min_u64(*next, at.v + min_u64(host.next - hpa.v, UINT64_MAX - at.v));
    return (enum memtype)host.type;
}

/* Where memory or a device's registers begin above AT, where there are none. */
static uint64_t next_extent(const struct vm *vm, gpa_t at)
{
    uint64_t next = UINT64_MAX;
    for (unsigned i = 0; i < vm->extent_count; i++)
        if (vm->extents[i].gpa.v > at.v)
            next = min_u64(next, vm->extents[i].gpa.v);
    for (unsigned i = 0; i < vm->map.typing.mmio_count; i++)
        if (vm->map.typing.mmio[i].at.gpa.v > at.v)
            next = min_u64(next, vm->map.typing.mmio[i].at.gpa.v);
    return next;
}

/* PAT is the type that counts. */
static void describe(struct vcpu *vcpu, gpa_t at, enum memtype pat, struct type_answer *answer)
{
    const struct vm *vm = vcpu->vm;
    const struct pt *pt = &vcpu->map->typing.views[vcpu->view].pt;
    struct pt_leaf leaf = pt_query(pt, at.v);
    struct mtrr_answer guest = mtrr_type(&vcpu->mtrr, at.v);
    vcpu_fetch(vcpu, STATE_MODE);
    bool cd = (vcpu->state.cr0 & CR0_CD) != 0;
    uint64_t next = min_u64(leaf.present ? leaf.next : next_extent(vm, at), guest.next);
    bool region = typing_region(&vm->map.typing, at.v, &next) != NULL;
    *answer = (struct type_answer){
        .gpa = at.v,
        .next = next,
        .root = vm->ops->root(vcpu).v, /* the CPU's own, which is that of PT */
        .guest_type = guest.type,
        .guest_rule = guest.rule,
        .rule = TYPE_RULE_NONE,
        .cd = cd,
        .view = (uint8_t)vcpu->view,
    };
    if (!leaf.present || at.v - LAPIC_ADDRESS < PAGE_SIZE) /* what is there is no memory */
        return;
    bool acts = policy_cd_acts(&vm->map.typing.policy, cd);
    enum memtype host = host_type(vm, leaf.hpa, at, &answer->next);
    answer->present = 1;
    answer->hpa = leaf.hpa.v;
    answer->host_type = (uint8_t)host;
    answer->leaf_type = leaf.attr.type;
    answer->leaf_ipat = leaf.attr.ipat;
    answer->leaf_level = leaf.level;
    answer->pat_type = (uint8_t)pat;
    answer->effective = (uint8_t)policy_effective(vm->caps->types, leaf.attr, pat, acts, host);
    answer->rule =
        (uint8_t)deciding_rule(vcpu, acts, region, find_mmio(vm, at), leaf.attr.type, &guest);
}

void oracle_physical(struct vcpu *vcpu, gpa_t at, unsigned pat_type, struct type_answer *answer)
{
    bool enabled = (vcpu->mtrr.def_type & MTRR_DEF_E) != 0;
    uint64_t pat =
        policy_pat(&vcpu->vm->map.typing.policy, enabled, vcpu->cd, pat_type); /* slot 0 */
    describe(vcpu, at, (enum memtype)(pat & 7), answer);
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
    if (guest_walk(vcpu_walk_state(vcpu), &memory, linear, WALK_READ, &at) != 0)
        return -EFAULT;
    if (table == 0) {
        describe(vcpu, at.gpa, (enum memtype)at.pat_type, answer);
        return 0;
    }
    unsigned up = table - level_of(at.page); /* entries between the leaf and the one asked for */
    if (table < level_of(at.page) || up >= trail.count)
        return -EFAULT;
    unsigned i = trail.count - 1 - up;
    describe(vcpu, trail.entry[i].gpa, (enum memtype)trail.entry[i].type, answer);
    return 0;
}
