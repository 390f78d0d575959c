/* The memory map of a VM in the log: each range with all that makes its memory type. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/instruments/map.h"

#include "lib/string.h"
#include "mm/memtype.h"
#include "vmm/host/log.h"
#include "vmm/typing/oracle.h"

/* Memory of one kind from FIRST.gpa to END. */
struct map_range {
    struct type_answer first;
    uint64_t end;
};

const char *map_view_name(unsigned view)
{
    static const char *const names[VIEWS] = {"typed", "disabled", "cd"};
    return names[view];
}

const char *map_rule_name(unsigned rule)
{
    return rule == TYPE_RULE_REGION   ? "region"
           : rule == TYPE_RULE_POLICY ? "policy"
           : rule == TYPE_RULE_CD     ? "cd"
           : rule == TYPE_RULE_MMIO   ? "mmio"
                                      : mtrr_rule_name(rule);
}

/* Whether two answers differ in their place alone. */
static bool same_kind(const struct type_answer *a, struct type_answer b)
{
    b.gpa = a->gpa;
    b.next = a->next;
    b.hpa = a->hpa;
    return memcmp(a, &b, sizeof(b)) == 0;
}

/* The first range from *AT up, which becomes its end; false: none, or *STEPS are used up. */
static bool next_range(struct vcpu *vcpu, uint64_t *at, unsigned *steps, struct map_range *range)
{
    for (range->end = 0; *at != UINT64_MAX && *steps > 0; --*steps) {
        struct type_answer a;
        oracle_physical(vcpu, gpa(*at), MT_WB, &a);
        if (range->end != 0 && !same_kind(&range->first, a))
            break;
        if (a.present) {
            if (range->end == 0)
                range->first = a;
            range->end = *at = a.next;
        } else {
            *at = pt_query(&vcpu->map->typing.views[vcpu->view].pt, *at).next;
        }
    }
    return range->end != 0;
}

static void log_begin(struct vcpu *vcpu)
{
    const struct vm *vm = vcpu->vm;
    vcpu_fetch(vcpu, STATE_MODE | STATE_CR);
    log_line("memmap %s begin policy %s noncoherent %u view %s enabled %u cd %u pat 0x%016lx "
             "root 0x%lx",
             vm->config->name, vm->map.typing.policy.preset->name,
             vm->map.typing.policy.noncoherent, map_view_name(vcpu->view),
             (vcpu->mtrr.def_type & MTRR_DEF_E) != 0, (vcpu->state.cr0 & CR0_CD) != 0,
             vcpu->state.pat, vm->ops->root(vcpu).v);
}

/* What each type of the guest's PAT comes to; PAT: the type that acts in the place of all. */
static void log_range(struct vcpu *vcpu, const struct map_range *range)
{
    static const uint8_t pats[] = {MT_WB, MT_WT, MT_WP, MT_WC, MT_UC_MINUS, MT_UC};
    static const char *const sizes[] = {"?", "4K", "2M", "1G"};
    const struct type_answer *first = &range->first;
    const char *effective[ARRAY_SIZE(pats)], *pat = "guest";
    for (unsigned i = 0; i < ARRAY_SIZE(pats); i++) {
        struct type_answer a;
        oracle_physical(vcpu, gpa(first->gpa), pats[i], &a);
        effective[i] = effective_name(a.effective);
        if (a.pat_type != pats[i])
            pat = memtype_name(a.pat_type);
    }
    log_line("memmap %s 0x%lx 0x%lx guest %s %s host %s leaf %s %s ipat %u rule %s pat %s "
             "effective WB=%s WT=%s WP=%s WC=%s UC-=%s UC=%s",
             vcpu->vm->config->name, first->gpa, range->end, memtype_name(first->guest_type),
             mtrr_rule_name(first->guest_rule), memtype_name(first->host_type),
             memtype_name(first->leaf_type), sizes[first->leaf_level & 3], first->leaf_ipat,
             map_rule_name(first->rule), pat, effective[0], effective[1], effective[2],
             effective[3], effective[4], effective[5]);
}

void map_log(struct vm *vm)
{
    struct vcpu *vcpu = this_cpu()->vcpu;
    struct map_range range;
    unsigned count = 0, steps = MAP_MAX_STEPS;
    uint64_t at = 0, rest = 0;
    log_begin(vcpu);
    while (next_range(vcpu, &at, &steps, &range)) {
        if (count < MAP_MAX_LINES)
            log_range(vcpu, &range);
        else if (count == MAP_MAX_LINES)
            rest = range.first.gpa;
        count++;
    }
    if (rest != 0)
        log_line("memmap %s and %u more from 0x%lx", vm->config->name, count - MAP_MAX_LINES, rest);
    if (steps == 0)
        log_line("memmap %s cut at 0x%lx", vm->config->name, at);
    log_line("memmap %s end %u", vm->config->name, count);
}
