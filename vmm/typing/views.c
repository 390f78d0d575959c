/* A VM's memory types at run time: which view a vCPU runs on, and what moves it to another. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/typing/views.h"

#include "lib/errno.h"
#include "lib/x86.h"
#include "mm/memtype.h"
#include "vmm/host/clock.h"
#include "vmm/host/host.h"
#include "vmm/host/log.h"
#include "vmm/passthrough/passthrough.h"
#include "vmm/host/request.h"
#include "vmm/instruments/trace.h"

/* Above this it is cheaper to write back all caches than to flush lines one by one. */
enum { FLUSH_BY_LINE_MAX = 256 * 1024 };

static struct vm *vm_of(const struct typing *typing)
{
    return typing->context;
}

static bool table_alloc(struct typing *typing, hpa_t *page)
{
    struct vm *vm = vm_of(typing);
    struct frames *frames = &vm->host->frames;
    void *p = vm->tables < vm->most_tables ? frames_alloc(frames, 1) : NULL;
    if (p == NULL)
        return false;
    vm->tables++;
    *page = frames_hpa(frames, p);
    return true;
}

static void table_free(struct typing *typing, hpa_t page)
{
    struct vm *vm = vm_of(typing);
    struct frames *frames = &vm->host->frames;
    frames_free(frames, frames_at(frames, page), 1);
    vm->tables--;
}

static uint64_t *table_at(const struct typing *typing, hpa_t page)
{
    return frames_at(&vm_of(typing)->host->frames, page);
}

static void invalidate(struct typing *typing, hpa_t root)
{
    struct vm *vm = vm_of(typing);
    vm->ops->invalidate(vm, root, (struct cpu_set){1ull << this_cpu()->index});
}

/* SDM, "CLFLUSH": CPUID says how long a line is, and whether there is the instruction. */
static unsigned line_size(void)
{
    return cpu_has(1, 3, 19) ? (cpuid(1, 0).ebx >> 8 & 0xff) * 8 : 0;
}

/* All caches of this CPU, for the sake of SIZE bytes at AT, or of everything. */
static __attribute__((noinline)) void write_back(uint64_t at, uint64_t size)
{
    wbinvd();
    trace(TRACE_FLUSH, 0, 0, at, size);
}

static struct cpu_set others_of(const struct vm *vm)
{
    return (struct cpu_set){vm->cpus.bits & ~(1ull << this_cpu()->index)};
}

static bool is_shared(const struct vm *vm)
{
    return vm->sharing.count > 1; /* of all that there will be */
}

static void ask_others(const struct vm *vm, enum request_flag what)
{
    struct request request;
    request_post(&request, this_cpu()->index, others_of(vm), what);
    request_wait(&request, this_cpu()->index);
}

/* The same of all CPUs of the VM: WBINVD is one CPU's (SDM, "WBINVD"). */
static void write_back_all(const struct vm *vm, uint64_t at, uint64_t size)
{
    write_back(at, size);
    if (is_shared(vm))
        ask_others(vm, REQUEST_WRITE_BACK);
}

static void flush_page(const struct vm *vm, gpa_t at, enum memtype type, unsigned line)
{
    hpa_t page;
    bool found = extent_byte(vm->extents, vm->extent_count, at, &page);
    assert(found);
    char *p = window_open(this_cpu(), WINDOW_DATA, page, type);
    for (unsigned i = 0; i < PAGE_SIZE; i += line)
        clflush(p + i);
    window_close(this_cpu(), WINDOW_DATA);
}

static void flush(struct typing *typing, gpa_t at, uint64_t size, enum memtype type)
{
    const struct vm *vm = vm_of(typing);
    unsigned line = line_size();
    hpa_t start;
    bool is_memory = extent_byte(vm->extents, vm->extent_count, at, &start);
    if (size > FLUSH_BY_LINE_MAX || line == 0 || !is_memory) {
        write_back_all(vm, at.v, size);
        return;
    }
    mfence();
    for (uint64_t done = 0; done < size; done += PAGE_SIZE)
        flush_page(vm, gpa(at.v + done), type, line);
    mfence();
    trace(TRACE_FLUSH, 1, 0, at.v, size);
}

static const struct typing_hooks hooks = {table_alloc, table_free, table_at, invalidate, flush};

/* The types of windows to memory with that leaf, by the guest's PAT types. */
static void fill_window_types(struct map *map, enum view_kind kind, struct pt_attr leaf)
{
    const struct type_rules *types = vm_of(&map->typing)->caps->types;
    map->window_leaf[kind] = leaf;
    for (unsigned pat = 0; pat <= MT_UC_MINUS; pat++)
        if (memtype_is_pat(pat))
            map->window_types[kind][pat] =
                (uint8_t)policy_window(types, leaf, (enum memtype)pat, false, MT_WB);
}

/* The largest part of one extent that is plain in the view. */
static void find_plain(struct map *map, enum view_kind kind)
{
    const struct view *view = &map->typing.views[kind];
    struct plain *plain = &map->plain[kind];
    if (!pt_same_attr(view->plain_leaf, map->window_leaf[kind]))
        fill_window_types(map, kind, view->plain_leaf);
    *plain = (struct plain){.types = map->window_types[kind]};
    for (unsigned i = 0; i < map->typing.extent_count; i++) {
        const struct extent *e = &map->typing.extents[i];
        uint64_t start = max_u64(e->gpa.v, view->plain.start);
        uint64_t end = min_u64(e->gpa.v + e->size, view->plain.end);
        if (start >= end || end - start <= plain->size)
            continue;
        plain->start = start;
        plain->size = end - start;
        plain->to_hpa = e->hpa.v - e->gpa.v;
    }
}

static __attribute__((noinline)) int make_ready(struct vcpu *vcpu, enum view_kind kind)
{
    int error = typing_prepare(&vcpu->vm->map.typing, &vcpu->mtrr, kind);
    find_plain(&vcpu->vm->map, kind);
    return error;
}

/* Makes a view, or brings it up to date, if it must be. 0 or a negative errno, logged. */
static inline int prepare(struct vcpu *vcpu, enum view_kind kind)
{
    return typing_is_ready(&vcpu->vm->map.typing, kind) ? 0 : make_ready(vcpu, kind);
}

static inline bool mtrrs_enabled(const struct vcpu *vcpu)
{
    return (vcpu->mtrr.def_type & MTRR_DEF_E) != 0;
}

static inline enum view_kind view_needed(const struct vcpu *vcpu)
{
    return policy_view(&vcpu->vm->map.typing.policy, mtrrs_enabled(vcpu), vcpu->cd);
}

static inline void take_view(struct vcpu *vcpu, struct map *map, enum view_kind kind)
{
    vcpu->map = map;
    vcpu->view = kind;
    vcpu->plain = &map->plain[kind];
}

hpa_t views_root(const struct vcpu *vcpu)
{
    return vcpu->map->typing.views[vcpu->view].pt.root;
}

void views_stop_without_tables(struct vm *vm)
{
    vm_stop(vm, "its memory types need more tables than there are");
}

/* --- vCPUs that share views ------------------------------------------------------------------- */

static struct map *map_of(struct typing *typing)
{
    static_assert(offsetof(struct map, typing) == 0, "the first");
    return (struct map *)(void *)typing;
}

static void lock_views(struct vm *vm)
{
    if (is_shared(vm))
        request_lock(&vm->views_lock, this_cpu()->index);
}

static void unlock_views(struct vm *vm)
{
    if (is_shared(vm))
        request_unlock(&vm->views_lock);
}

/* Between now and the first time that all vCPUs run by the same MTRRs they may be changing them. */
static void note_split(struct vm *vm)
{
    if (!sharing_is_split(&vm->sharing))
        vm->split = 0;
    else if (vm->split == 0)
        vm->split = rdtsc() | 1;
}

/* With the lock. */
static int take_shared(struct vcpu *vcpu, enum view_kind kind)
{
    struct vm *vm = vcpu->vm;
    struct shared_view taken = sharing_take(&vm->sharing, vcpu->index, kind, &vcpu->mtrr);
    struct map *map = map_of(taken.typing);
    bool moves = map != vcpu->map || kind != vcpu->view;
    if (taken.changed)
        find_plain(map, kind);
    take_view(vcpu, map, kind);
    note_split(vm);
    if (moves && taken.error == 0)
        vm->ops->set_view(vcpu, views_root(vcpu));
    return taken.error;
}

static __attribute__((noinline)) void go_to_shared_view(struct vcpu *vcpu, enum view_kind kind)
{
    if (kind == vcpu->view && kind != VIEW_TYPED)
        return;
    lock_views(vcpu->vm);
    int error = vcpu->let_go ? 0 : take_shared(vcpu, kind);
    unlock_views(vcpu->vm);
    if (error != 0)
        views_stop_without_tables(vcpu->vm);
    views_return(vcpu);
}

void views_leave(struct vcpu *vcpu)
{
    if (!is_shared(vcpu->vm))
        return;
    lock_views(vcpu->vm);
    sharing_leave(&vcpu->vm->sharing, (struct cpu_set){1ull << vcpu->index});
    note_split(vcpu->vm);
    vcpu->map = NULL;
    vcpu->let_go = false;
    unlock_views(vcpu->vm);
}

/* Goes to the view that the guest's state asks for, in which all that is owed has been done. */
static inline void go_to_view(struct vcpu *vcpu)
{
    enum view_kind kind = view_needed(vcpu), old = vcpu->view;
    if (is_shared(vcpu->vm)) {
        go_to_shared_view(vcpu, kind);
        return;
    }
    if (prepare(vcpu, kind) != 0) {
        views_stop_without_tables(vcpu->vm);
        return;
    }
    take_view(vcpu, &vcpu->vm->map, kind);
    if (kind != old)
        vcpu->vm->ops->set_view(vcpu, views_root(vcpu));
}

/* --- what follows from the policy ------------------------------------------------------------- */

/* All of the VM, whatever its guest does. */
static void take_policy(struct vm *vm)
{
    const struct policy *policy = &vm->map.typing.policy;
    bool hides_cd = vm->caps->owns_cr0_cd && !policy_cd_acts(policy, true);
    bool uncaches = policy_uncaches(policy) || vm->config->region_count > 0;
    vm->native_wbinvd = policy->noncoherent || (!vm->caps->self_snoops && uncaches);
    vm->controls = (hides_cd ? CONTROL_CR0_WRITES : 0u) |
                   (policy_forces_pat(policy) ? CONTROL_PAT : 0u) |
                   (vm->native_wbinvd ? 0u : CONTROL_WBINVD);
}

/* A CD that does not act is kept from the CPU: the guest must not see that it is 0 there. */
static inline unsigned controls_of(const struct vcpu *vcpu)
{
    unsigned by_policy = vcpu->vm->controls;
    bool shows_cd = (vcpu->state.cr0 & (CR0_CD | CR0_NW)) != 0;
    bool hides_cd = (by_policy & CONTROL_CR0_WRITES) != 0;
    return by_policy | (hides_cd && shows_cd ? CONTROL_CR0_READS : 0u) |
           (vcpu->owes ? CONTROL_CR0_WRITES : 0u);
}

static inline void update_controls(struct vcpu *vcpu)
{
    unsigned controls = controls_of(vcpu);
    if (controls == vcpu->controls)
        return;
    vcpu->controls = controls;
    vcpu->vm->ops->control(vcpu);
}

/* A CD that acts, but not by the guest's CR0 in the CPU, is the run function's. */
static void choose_way_in(struct vcpu *vcpu)
{
    const struct virt_ops *ops = vcpu->vm->ops;
    bool uncached =
        policy_cd_acts(&vcpu->vm->map.typing.policy, vcpu->cd) && ops->run_uncached != NULL;
    vcpu_enter_by(vcpu, uncached ? ops->run_uncached : ops->run);
}

/* Where the PAT is not forced and the CPU switches it, the guest's own is not known here. */
void views_put_pat(struct vcpu *vcpu)
{
    vcpu_change(vcpu, STATE_CR);
    vcpu->state.pat =
        policy_pat(&vcpu->vm->map.typing.policy, mtrrs_enabled(vcpu), vcpu->cd, vcpu->pat);
}

/* E or CD has changed, and with it perhaps the PAT in force. */
static inline void follow_state_by_pat(struct vcpu *vcpu)
{
    if ((vcpu->controls & CONTROL_PAT) != 0)
        views_put_pat(vcpu);
}

/*
 * All of the vCPU, of which STATE_CR and STATE_MODE are known, at its start and when the policy has
 * become another; with the lock. Returns 0 or a negative errno, logged.
 */
static int follow_policy(struct vcpu *vcpu)
{
    const struct virt_ops *ops = vcpu->vm->ops;
    vcpu->moot = policy_cd_acts(&vcpu->vm->map.typing.policy, true) ? CR0_CD : 0;
    vcpu->cd = (vcpu->state.cr0 & CR0_CD) != 0;
    vcpu->owes = false;
    vcpu->changed |= STATE_CR | STATE_MODE;
    choose_way_in(vcpu);
    views_put_pat(vcpu);
    vcpu->controls = controls_of(vcpu);
    ops->control(vcpu);
    enum view_kind kind = view_needed(vcpu);
    if (is_shared(vcpu->vm)) {
        vcpu->map = NULL;
        return take_shared(vcpu, kind);
    }
    int error = prepare(vcpu, kind);
    if (error != 0)
        return error;
    take_view(vcpu, &vcpu->vm->map, kind);
    ops->set_view(vcpu, views_root(vcpu));
    return 0;
}

uint64_t views_own_pat(const struct vcpu *vcpu)
{
    bool switched = vcpu->vm->caps->switches_pat && (vcpu->controls & CONTROL_PAT) == 0;
    return switched ? vcpu->state.pat : vcpu->pat;
}

/* The rules of the old policy say which PAT is whose. */
static void leave_policy(struct vcpu *vcpu)
{
    vcpu_fetch(vcpu, STATE_CR | STATE_MODE);
    vcpu->pat = views_own_pat(vcpu);
}

void views_let_go(void)
{
    struct vcpu *vcpu = this_cpu()->vcpu;
    if (vcpu != NULL && vcpu->map != NULL)
        vcpu->let_go = true;
}

void views_return(struct vcpu *vcpu)
{
    int error = 0;
    if (!vcpu->let_go)
        return;
    lock_views(vcpu->vm);
    vcpu->let_go = false;
    leave_policy(vcpu);
    error = follow_policy(vcpu);
    unlock_views(vcpu->vm);
    if (error != 0)
        views_stop_without_tables(vcpu->vm);
}

/*
 * With the lock: where the others have let go, they wait for it. No caches but this CPU's are
 * filled by the VM until they have been emptied.
 */
static int take_switch(struct vcpu *vcpu, enum policy_number number, bool noncoherent)
{
    struct vm *vm = vcpu->vm;
    struct policy policy = vm->map.typing.policy;
    bool has_device = passthrough_is_noncoherent(vm);
    int error = policy_take(number, noncoherent || has_device, &policy);
    if (error == 0 && has_device && policy_needs_leave(&policy) && !vm->config->dangerous)
        error = -EPERM;
    if (error != 0)
        return error;
    leave_policy(vcpu);
    if (is_shared(vm))
        ask_others(vm, REQUEST_LET_GO);
    sharing_leave(&vm->sharing, (struct cpu_set){UINT64_MAX});
    sharing_set_policy(&vm->sharing, &policy);
    take_policy(vm);
    if (follow_policy(vcpu) != 0)
        views_stop_without_tables(vm);
    write_back_all(vm, 0, 0);
    return 0;
}

int views_switch(struct vcpu *vcpu, enum policy_number number, bool noncoherent)
{
    lock_views(vcpu->vm);
    int error = take_switch(vcpu, number, noncoherent);
    unlock_views(vcpu->vm);
    views_return(vcpu);
    return error;
}

/* With the lock: as in take_switch() they come back, and forget what they may have had. */
static int take_mmio(struct vcpu *vcpu, const struct mmio_range *ranges, unsigned count)
{
    struct vm *vm = vcpu->vm;
    leave_policy(vcpu);
    if (is_shared(vm))
        ask_others(vm, REQUEST_LET_GO);
    sharing_leave(&vm->sharing, (struct cpu_set){UINT64_MAX});
    int error = sharing_set_mmio(&vm->sharing, ranges, count);
    return error != 0 ? error : follow_policy(vcpu);
}

void views_set_mmio(struct vcpu *vcpu, const struct mmio_range *ranges, unsigned count)
{
    lock_views(vcpu->vm);
    int error = take_mmio(vcpu, ranges, count);
    unlock_views(vcpu->vm);
    if (error != 0)
        views_stop_without_tables(vcpu->vm);
    views_return(vcpu);
}

void views_set_mmio_at_rest(struct vm *vm, const struct mmio_range *ranges, unsigned count)
{
    if (sharing_set_mmio(&vm->sharing, ranges, count) != 0)
        views_stop_without_tables(vm);
}

void views_log(const struct vm *vm)
{
    const struct policy *policy = &vm->map.typing.policy;
    const struct vcpu *vcpu = vm->vcpus[0];
    const struct pt *pt = &vcpu->map->typing.views[vcpu->view].pt;
    log_line("vm %s: policy %s, %u table pages, format %s, root 0x%lx", vm->config->name,
             policy->preset->name, pt->pages, pt->format->name, pt->root.v);
}

/* A cacheable type over device registers may end in a machine check. */
static int check_regions(const struct vm_config *config)
{
    for (unsigned i = 0; i < config->region_count; i++) {
        const struct config_region *r = &config->regions[i];
        bool hole = r->start < GUEST_HOLE_END && r->start + r->size > GUEST_HOLE_START;
        if (hole && r->type != MT_UC && r->type != MT_WC) {
            log_line("nosnoop.cfg:%u: %s: region 0x%lx+0x%lx has device registers, which a "
                     "cacheable type lets machine-check; write uc or wc",
                     r->line, config->name, r->start, r->size);
            return -EINVAL;
        }
    }
    return 0;
}

static int make_maps(struct vm *vm)
{
    enum { PAGES = (sizeof(struct map) + PAGE_SIZE - 1) / PAGE_SIZE };
    vm->sharing.typings[0] = &vm->map.typing;
    for (unsigned i = 1; i < vm->config->cpus; i++) {
        struct map *map = frames_alloc(&vm->host->frames, PAGES);
        if (map == NULL) {
            log_line("vm %s: no memory for the maps of its vCPUs", vm->config->name);
            return -ENOMEM;
        }
        map->typing = vm->map.typing;
        vm->sharing.typings[i] = &map->typing;
    }
    vm->sharing.count = vm->config->cpus;
    return 0;
}

int views_init(struct vm *vm)
{
    const struct virt_caps *caps = vm->caps;
    const struct policy_means means = {.has_ipat = caps->has_ipat,
                                       .owns_cr0_cd = caps->owns_cr0_cd,
                                       .runs_uncached = vm->ops->run_uncached != NULL};
    struct typing *typing = &vm->map.typing;
    int error = policy_resolve(vm->config, &means, passthrough_is_noncoherent(vm), &typing->policy);
    if (error == 0)
        error = policy_allow(vm->config, &typing->policy);
    if (error == 0)
        error = check_regions(vm->config);
    if (error != 0)
        return error;
    typing->hooks = &hooks;
    typing->context = vm;
    typing->extents = vm->extents;
    typing->extent_count = vm->extent_count;
    typing->regions = vm->config->regions;
    typing->region_count = vm->config->region_count;
    typing->mmio = vm->sharing.mmio;
    typing->host = &vm->host->mtrr;
    typing->format = caps->format;
    typing->max_leaf = caps->max_leaf;
    take_policy(vm);
    return make_maps(vm);
}

int views_reset(struct vcpu *vcpu)
{
    lock_views(vcpu->vm);
    typing_mark(&vcpu->vm->map.typing);
    vcpu->let_go = false;
    int error = follow_policy(vcpu);
    unlock_views(vcpu->vm);
    if (error != 0)
        log_line("vm %s: no memory for its tables; give it less", vcpu->vm->config->name);
    return error;
}

/* --- CR0.CD where the guest owns it ----------------------------------------------------------- */

static bool cd_acts(const struct vcpu *vcpu)
{
    return policy_cd_acts(&vcpu->vm->map.typing.policy, true);
}

/*
 * CR0.CD = 1 makes the types of leaves moot, so a switch or a rewrite can wait until it clears: an
 * exit is owed then, unless it has become needless (APM, "Memory Types"). Whether leaves would
 * change is asked only when a sequence of writes has come to its end, MTRRdefType.
 */
static void owe(struct vcpu *vcpu, bool ends)
{
    struct typing *typing = &vcpu->map->typing;
    enum view_kind kind = view_needed(vcpu);
    bool owes =
        kind != vcpu->view || (kind == VIEW_TYPED && (!ends || typing_owes(typing, &vcpu->mtrr)));
    vcpu->owes = owes;
    update_controls(vcpu);
}

void views_follow_mtrr(struct vcpu *vcpu, bool def_type)
{
    if (def_type)
        follow_state_by_pat(vcpu);
    if (vcpu->vm->map.typing.policy.mtrr == KNOB_MTRR_IGNORE)
        return;
    typing_mark(&vcpu->map->typing);
    if (cd_acts(vcpu)) {
        vcpu_fetch(vcpu, STATE_MODE);
        vcpu->cd = (vcpu->state.cr0 & CR0_CD) != 0;
        if (vcpu->cd) {
            owe(vcpu, def_type);
            return;
        }
    }
    go_to_view(vcpu);
}

/* The view bypasses what is dirty in the caches (SDM, "Cache Control Protocol"). */
static __attribute__((noinline)) void go_to_uncached_view(struct vcpu *vcpu)
{
    write_back(0, 0);
    go_to_view(vcpu);
}

static inline void follow_cd(struct vcpu *vcpu)
{
    if (vcpu->cd && !vcpu->vm->caps->self_snoops && policy_cd_flushes(&vcpu->vm->map.typing.policy))
        go_to_uncached_view(vcpu);
    else
        go_to_view(vcpu);
}

/* CD acts in the CPU, or by a PAT, or not at all. */
static __attribute__((noinline)) void follow_cd_otherwise(struct vcpu *vcpu, bool was)
{
    enum knob_cd effect = vcpu->vm->map.typing.policy.cd;
    choose_way_in(vcpu);
    if (effect == KNOB_CD_HW && !vcpu->cd) {
        vcpu->owes = false;
        go_to_view(vcpu);
    } else if (effect != KNOB_CD_HW && effect != KNOB_CD_IGNORE && vcpu->cd != was) {
        follow_state_by_pat(vcpu);
        follow_cd(vcpu);
    }
    update_controls(vcpu);
}

void views_cd_written(struct vcpu *vcpu)
{
    bool was = vcpu->cd;
    vcpu->cd = (vcpu->state.cr0 & CR0_CD) != 0;
    if (vcpu->vm->map.typing.policy.cd != KNOB_CD_VIEW)
        follow_cd_otherwise(vcpu, was);
    else if (vcpu->cd != was)
        follow_cd(vcpu);
}

void views_wbinvd(const struct vm *vm)
{
    if (vm->native_wbinvd)
        write_back(0, 0);
}

/* --- reports ---------------------------------------------------------------------------------- */

void views_log_changes(const struct vm *vm)
{
    uint64_t bytes = 0, invalidations = 0;
    for (unsigned i = 0; i < vm->sharing.count; i++) {
        bytes += vm->sharing.typings[i]->leaves_changed;
        invalidations += vm->sharing.typings[i]->invalidations;
    }
    log_line("vm %s: types %lu bytes of leaves rewritten, %lu invalidations", vm->config->name,
             bytes, invalidations);
}

/* Longer than the manuals' sequence takes on all CPUs (SDM, "MTRR Considerations in MP Systems").
 */
enum { SPLIT_US = 200000, SPLIT_STEPS = 4096 };

/* The first address where two typed views differ, or UINT64_MAX. */
static uint64_t first_difference(const struct view *a, const struct view *b)
{
    uint64_t at = 0;
    for (unsigned i = 0; i < SPLIT_STEPS && at < UINT64_MAX; i++) {
        struct mtrr_answer one = mtrr_type(&a->applied, at), other = mtrr_type(&b->applied, at);
        if (one.type != other.type)
            return at;
        at = min_u64(one.next, other.next);
    }
    return UINT64_MAX;
}

static void log_split(const struct vm *vm)
{
    const struct typing *first = NULL;
    for (unsigned i = 0; i < vm->sharing.count; i++) {
        const struct typing *typing = vm->sharing.typings[i];
        if (typing->on.bits == 0)
            continue;
        if (first == NULL) {
            first = typing;
            continue;
        }
        log_line("vm %s: the MTRRs of vCPU %u are not those of vCPU %u from GPA 0x%lx on",
                 vm->config->name, (unsigned)__builtin_ctzll(typing->on.bits),
                 (unsigned)__builtin_ctzll(first->on.bits),
                 first_difference(&first->views[VIEW_TYPED], &typing->views[VIEW_TYPED]));
    }
}

void views_look_at_split(struct vm *vm)
{
    if (vm->split == 0 || vm->split_logged || rdtsc() - vm->split < clock_ticks(SPLIT_US))
        return;
    lock_views(vm);
    if (vm->split != 0 && !vm->split_logged) {
        log_split(vm);
        vm->split_logged = true;
    }
    unlock_views(vm);
}

/* --- the page of the APIC --------------------------------------------------------------------- */

bool views_map_apic(struct vcpu *vcpu)
{
    const struct pt_attr leaf = {.perm = PT_R | PT_W, .type = MT_UC};
    struct view *view = &vcpu->map->typing.views[vcpu->view];
    if (view->has_apic || !vcpu_has_apic_access(vcpu))
        return false;
    view->has_apic = true;
    return pt_map(&view->pt, LAPIC_ADDRESS, vcpu->vm->caps->apic_access, PAGE_SIZE, leaf) == 0;
}

void views_unmap_apic(struct vcpu *vcpu)
{
    struct typing *typing = &vcpu->map->typing;
    for (unsigned kind = 0; kind < VIEWS; kind++) {
        struct view *view = &typing->views[kind];
        if (!view->made || !view->has_apic)
            continue;
        int error = pt_unmap(&view->pt, LAPIC_ADDRESS, PAGE_SIZE);
        assert(error == 0); /* it is a leaf of its own */
        view->has_apic = false;
    }
}
