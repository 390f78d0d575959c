/*
 * VMs of several vCPUs under a random scheduler: vmm/typing/views.c and all below it, with a model
 * of each CPU's TLB. Entries live until they are invalidated, by root as Intel's CPUs tag them or
 * all at once as AMD's. A hit that the tables no longer say, a page that is missing while its view
 * is held, a type that is not that of the vCPU's own MTRRs: each is a mistake. So are, when all
 * have come to rest, other tables where the types are the same, and table pages that no view has.
 *
 * What these changes of the code do is seen here, each tried: no mark for other CPUs when a view is
 * made or changed, no forgetting by who comes to it, the change of a view that others hold, a
 * policy's switch for which others do not let go, or after which they enter before they follow it,
 * and a WBINVD of the switching CPU alone.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include "lib/x86.h"
#include "svm/npt.h"
#include "svm/types.h"
#include "tests/unit/host.h"
#include "vmm/host/host.h"
#include "vmm/instruments/trace.h"
#include "vmx/ept.h"
#include "vmx/types.h"

enum { MOST = 8, STACK = 256 * 1024, TLB_ENTRIES = 256, POOL_PAGES = 4096, SPOTS = 12, REST = 400 };
#define POOL_BASE 0x7000000000ull
#define MEMORY    (64 * MIB)

static void step(void);
static void empty_caches(void);

static struct cpu areas[MOST];
static unsigned current;

/* Each access that other CPUs see is a place where they may come between. */
#define load_step(from, order)       (step(), __atomic_load_n(from, order))
#define store_step(to, value, order) (step(), __atomic_store_n(to, value, order))
#define or_step(to, value, order)    (step(), __atomic_fetch_or(to, value, order))
#define add_step(to, value, order)   (step(), __atomic_add_fetch(to, value, order))
#define exchange_step(to, v, order)  (step(), __atomic_exchange_n(to, v, order))
#define REQUEST_LOAD                 load_step
#define REQUEST_STORE                store_step
#define REQUEST_OR                   or_step
#define REQUEST_ADD                  add_step
#define REQUEST_EXCHANGE             exchange_step

/* The machine's instructions, and where a page is mapped. */
#define this_cpu()                         (&areas[current])
#define wbinvd()                           empty_caches()
#define window_open(cpu, slot, page, type) ((void)(page), (void)(type), window)
#define window_close(cpu, slot)            ((void)0)
#define frames_at(frames, page)            (step(), frames_at(frames, page))

static char window[PAGE_SIZE];

#include "vmm/host/request.c"
#include "vmm/typing/views.c"

/* --- a machine: CPUs as coroutines, their TLBs ---------------------------------------------- */

struct tlb_entry {
    uint64_t tag, va;
    struct pt_leaf leaf;
};

/* On the coroutines' stacks assert(), which aborts, takes the place of cmocka's jumps. */
static struct {
    ucontext_t context;
    char stack[STACK];
    struct vcpu vcpu;
    struct tlb_entry tlb[TLB_ENTRIES];
    unsigned tlb_count;
    hpa_t root;     /* of the tables that the next entry uses */
    bool flushes;   /* the next entry forgets all */
    uint64_t empty; /* when its caches were emptied last */
    bool done;      /* it does no more by itself */
} cpus[MOST];

static struct vm vm;
static struct host host;
static struct virt_caps caps;
static struct vm_config config;
static ucontext_t scheduler;
static bool scheduled;
static uint64_t random_state, now;
static _Alignas(4096) uint8_t pool[POOL_PAGES * PAGE_SIZE];

static uint64_t below(uint64_t n)
{
    return (host_random(&random_state) >> 16) % n;
}

static void pass(void)
{
    swapcontext(&cpus[current].context, &scheduler);
}

static void step(void)
{
    if (scheduled && below(4) == 0)
        pass();
}

/* The linker puts it in the place of mm/mtrr.c's: others may come between while types are asked. */
struct mtrr_answer __real_mtrr_type(const struct mtrr_state *state, uint64_t address);
struct mtrr_answer __wrap_mtrr_type(const struct mtrr_state *state, uint64_t address);

struct mtrr_answer __wrap_mtrr_type(const struct mtrr_state *state, uint64_t address)
{
    if (scheduled && below(32) == 0)
        pass();
    return __real_mtrr_type(state, address);
}

static void empty_caches(void)
{
    cpus[current].empty = ++now;
}

bool cpu_has(uint32_t leaf, unsigned reg, unsigned bit)
{
    return leaf == 1 && reg == 3 && bit == 19;
}

void request_kick(uint32_t cpu)
{
    (void)cpu; /* guests look by themselves, as late as they like */
    step();
}

/* As vmm/host/smp.c has it. */
void request_do(uint32_t flags)
{
    if ((flags & REQUEST_LET_GO) != 0)
        views_let_go();
    if ((flags & REQUEST_WRITE_BACK) != 0)
        wbinvd();
}

void request_waiting(uint32_t cpu, uint64_t *since)
{
    assert(cpu != current && ++*since < 1000000);
    pass();
}

bool passthrough_is_noncoherent(const struct vm *of)
{
    (void)of;
    return false;
}

void vm_stop(struct vm *stopped, const char *fmt, ...)
{
    (void)stopped;
    printf("stopped: %s\n", fmt);
    abort();
}

/* --- the backend --------------------------------------------------------------------------- */

static void fake_run(struct vcpu *vcpu)
{
    (void)vcpu;
}

static unsigned fake_fetch(struct vcpu *vcpu, unsigned groups)
{
    (void)vcpu;
    return groups;
}

static void fake_control(struct vcpu *vcpu)
{
    assert(vcpu == this_cpu()->vcpu);
}

/* APM, "TLB Control": the tag is the ASID. SDM, "Caching Translation Information": EP4TA. */
static void fake_set_view(struct vcpu *vcpu, hpa_t root)
{
    assert(vcpu == this_cpu()->vcpu);
    cpus[current].root = root;
    cpus[current].flushes |= caps.owns_cr0_cd;
}

static void fake_invalidate(struct vm *of, hpa_t root, struct cpu_set set)
{
    unsigned left = 0;
    assert(of == &vm && set.bits == 1ull << current);
    cpus[current].flushes |= caps.owns_cr0_cd;
    for (unsigned i = 0; i < cpus[current].tlb_count; i++)
        if (cpus[current].tlb[i].tag != root.v)
            cpus[current].tlb[left++] = cpus[current].tlb[i];
    cpus[current].tlb_count = left;
}

static const struct virt_ops ops = {.run = fake_run,
                                    .fetch = fake_fetch,
                                    .control = fake_control,
                                    .set_view = fake_set_view,
                                    .invalidate = fake_invalidate};

static const struct virt_caps intel = {
    .format = &ept_format, .types = &vmx_type_rules, .max_leaf = 2, .has_ipat = true};
static const struct virt_caps amd = {
    .format = &npt_format, .types = &svm_type_rules, .max_leaf = 2, .owns_cr0_cd = true};

/* --- what guests do ------------------------------------------------------------------------ */

static uint64_t spot(uint64_t i)
{
    static const uint64_t at[SPOTS] = {0,       0x9f000, 0xa0000,     0xb8000, MIB,      2 * MIB,
                                       4 * MIB, 5 * MIB, 0x801 << 12, 8 * MIB, 16 * MIB, 48 * MIB};
    return at[i % SPOTS];
}

/* SDM, "Fixed Range MTRRs": eight ranges a register, of 64, 16 and 4 KiB. */
static unsigned fixed_of(const struct mtrr_state *mtrr, uint64_t at)
{
    uint64_t reg = at < 0x80000   ? 0
                   : at < 0xc0000 ? 1 + (at - 0x80000) / 0x20000
                                  : 3 + (at - 0xc0000) / 0x8000;
    uint64_t size = at < 0x80000 ? 0x10000 : at < 0xc0000 ? 0x4000 : 0x1000;
    return mtrr->fixed[reg] >> (at / size % 8 * 8) & 0xff;
}

/* SDM, "MTRR Precedences", without mm/mtrr.c. */
static unsigned own_type(const struct mtrr_state *mtrr, uint64_t at)
{
    unsigned types = 0;
    if ((mtrr->def_type >> 11 & 1) == 0)
        return MT_UC;
    if ((mtrr->def_type >> 10 & 1) != 0 && at < MIB)
        return fixed_of(mtrr, at);
    for (unsigned i = 0; i < mtrr->count; i++) {
        uint64_t mask = mtrr->variable[i].mask, base = mtrr->variable[i].base;
        if ((mask >> 11 & 1) != 0 && ((at ^ base) & mask & ~0xfffull) == 0)
            types |= 1u << (base & 0xff);
    }
    if (types == 0)
        return mtrr->def_type & 0xff;
    if ((types & (types - 1)) == 0)
        return (unsigned)__builtin_ctz(types);
    return types == (1u << MT_WT | 1u << MT_WB) ? MT_WT : MT_UC;
}

static void check_type(const struct vcpu *vcpu, uint64_t at, struct pt_attr leaf)
{
    const struct policy *policy = &vm.map.typing.policy;
    bool cd = (vcpu->state.cr0 & CR0_CD) != 0;
    if (policy->preset->number == POLICY_WB)
        assert(leaf.type == MT_WB);
    if (policy->preset->number != POLICY_EXACT || (cd && caps.owns_cr0_cd))
        return;
    assert(leaf.type == (cd ? MT_UC : own_type(&vcpu->mtrr, at)));
    assert(leaf.ipat == cd);
}

static const struct pt_leaf *translate(const struct vcpu *vcpu, uint64_t va)
{
    uint64_t tag = caps.owns_cr0_cd ? 0 : cpus[current].root.v;
    for (unsigned i = 0; i < cpus[current].tlb_count; i++)
        if (cpus[current].tlb[i].tag == tag && cpus[current].tlb[i].va == va)
            return &cpus[current].tlb[i].leaf;
    if (cpus[current].tlb_count == TLB_ENTRIES)
        cpus[current].tlb_count = 0;
    struct tlb_entry *entry = &cpus[current].tlb[cpus[current].tlb_count];
    *entry = (struct tlb_entry){tag, va, pt_query(&vcpu->map->typing.views[vcpu->view].pt, va)};
    cpus[current].tlb_count += entry->leaf.present; /* what is not there stays in no TLB */
    return &entry->leaf;
}

/* What the guest's own accesses find, with nothing else in the TLB than what the CPU put there. */
static void access_spot(const struct vcpu *vcpu)
{
    uint64_t va = spot(below(SPOTS));
    const struct pt *pt = &vcpu->map->typing.views[vcpu->view].pt;
    struct pt_leaf leaf = pt_query(pt, va);
    const struct pt_leaf *got = translate(vcpu, va);
    assert(cpus[current].root.v == pt->root.v);
    assert(leaf.present && got->present && got->hpa.v == leaf.hpa.v && got->level == leaf.level);
    assert(pt_same_attr(got->attr, leaf.attr));
    check_type(vcpu, va, got->attr);
}

/* --- the registers of devices: in each of few places is one of few devices, or nothing ------- */

#define PLACES ((uint64_t)0xd0000000)
#define STEP   ((uint64_t)0x5000) /* from one to the next, and the size of each */

enum { PLACE_COUNT = 4, DEVICE_COUNT = 6 };

/* As the last one has set it who has moved a device. */
static const struct mmio_range *device_at(uint64_t va)
{
    for (unsigned i = 0; i < vm.map.typing.mmio_count; i++)
        if (va - vm.sharing.mmio[i].at.gpa.v < STEP)
            return &vm.sharing.mmio[i];
    return NULL;
}

static void access_device(const struct vcpu *vcpu)
{
    uint64_t va = PLACES + below(PLACE_COUNT) * STEP + below(STEP) / PAGE_SIZE * PAGE_SIZE;
    const struct mmio_range *device = device_at(va);
    const struct pt_leaf *got = translate(vcpu, va);
    assert(got->present == (device != NULL));
    if (device == NULL)
        return;
    assert(got->hpa.v - device->at.hpa.v == va - device->at.gpa.v);
    bool cd = (vcpu->state.cr0 & CR0_CD) != 0;
    bool wc = own_type(&vcpu->mtrr, va) == MT_WC && !cd;
    if (vm.map.typing.policy.preset->number == POLICY_EXACT && !(cd && caps.owns_cr0_cd))
        assert(got->attr.type == (wc ? MT_WC : MT_UC) && got->attr.ipat == cd);
}

/* One place gets another device, or none: under a lock, as whoever has the devices does it. */
static void move_device(struct vcpu *vcpu)
{
    static bool moves;
    struct mmio_range ranges[PLACE_COUNT];
    uint64_t moved = PLACES + below(PLACE_COUNT) * STEP, device = below(DEVICE_COUNT);
    unsigned count = 0;
    if (moves)
        return;
    moves = true;
    for (uint64_t at = PLACES; at < PLACES + PLACE_COUNT * STEP; at += STEP) {
        const struct mmio_range *was = device_at(at);
        struct extent to = {gpa(at), hpa(0xfe000000 + device * STEP), STEP};
        if (at == moved && device != 0)
            ranges[count++] = (struct mmio_range){to, MMIO_BY_MTRRS};
        else if (at != moved && was != NULL)
            ranges[count++] = *was;
    }
    views_set_mmio(vcpu, ranges, count);
    assert(vm.map.typing.mmio_count == count);
    assert(memcmp(vm.sharing.mmio, ranges, count * sizeof(ranges[0])) == 0);
    moves = false;
}

/* A kick's exit. */
static void take_kick(struct vcpu *vcpu)
{
    request_serve(current);
    views_look_at_split(&vm);
    views_return(vcpu);
}

/* Runs the guest for a while; a kick for what has been asked ends that, soon or late. */
static void run_guest(struct vcpu *vcpu, unsigned accesses)
{
    assert(!vcpu->let_go);
    assert(vcpu->view != VIEW_TYPED || (vcpu->map->typing.on.bits >> vcpu->index & 1) != 0);
    if (cpus[current].flushes)
        cpus[current].tlb_count = 0;
    cpus[current].flushes = false;
    for (unsigned i = 0; i < accesses; i++) {
        access_spot(vcpu);
        access_device(vcpu);
        if (below(2) == 0)
            pass();
    }
    take_kick(vcpu);
}

static void write_msr(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    if (mtrr_write(&vcpu->mtrr, msr, value) != MTRR_CHANGED)
        return;
    if (msr == 0x2ff)
        views_follow_mtrr(vcpu, true);
    else
        views_follow_range(vcpu);
}

/* Where the guest owns CD, its writes exit only where that is asked for. */
static void write_cd(struct vcpu *vcpu, bool cd)
{
    vcpu->state.cr0 = (vcpu->state.cr0 & ~CR0_CD) | (cd ? CR0_CD : 0);
    if (!caps.owns_cr0_cd || (vcpu->controls & CONTROL_CR0_WRITES) != 0)
        views_cd_written(vcpu);
}

static uint64_t some_type(uint64_t i)
{
    static const uint8_t types[] = {MT_UC, MT_WC, MT_WT, MT_WP, MT_WB};
    return types[i % ARRAY_SIZE(types)];
}

static uint64_t some_place(void)
{
    return below(4) == 0 ? PLACES : spot(below(SPOTS));
}

/* Few values, so that vCPUs often say the same. */
static void write_some(struct vcpu *vcpu)
{
    uint64_t kind = below(5), size = below(2) == 0 ? PAGE_SIZE : 2 * MIB;
    uint32_t pair = 0x202 + 2 * (uint32_t)below(2);
    if (kind == 0)
        write_msr(vcpu, 0x2ff, (below(2) == 0 ? MT_WB : MT_UC) | below(4) << 10);
    else if (kind == 1)
        write_msr(vcpu, 0x258, 0x0101010101010101 * some_type(below(5)));
    else if (kind == 2)
        write_msr(vcpu, pair, align_down(some_place(), size) | some_type(below(5)));
    else if (kind == 3)
        write_msr(vcpu, pair + 1, ((1ull << 40) - size) | below(2) << 11);
    else
        write_cd(vcpu, below(2) == 0);
}

static void switch_policy(struct vcpu *vcpu)
{
    static const enum policy_number numbers[] = {POLICY_EXACT, POLICY_WB, POLICY_EXACT};
    uint64_t before = ++now;
    int error = views_switch(vcpu, numbers[below(ARRAY_SIZE(numbers))], false);
    assert(error == 0);
    for (unsigned i = 0; i < vm.vcpu_count; i++)
        assert(cpus[i].empty > before);
}

static void begin(struct vcpu *vcpu)
{
    int error = views_reset(vcpu);
    assert(error == 0);
}

/* After an INIT it has no view until a startup IPI. */
static void start_again(struct vcpu *vcpu)
{
    views_leave(vcpu);
    for (uint64_t turns = below(20); turns > 0; turns--) {
        take_kick(vcpu);
        pass();
    }
    begin(vcpu);
}

static void do_something(struct vcpu *vcpu)
{
    uint64_t what = below(100);
    if (what < 60)
        write_some(vcpu);
    else if (what < 64)
        switch_policy(vcpu);
    else if (what < 68)
        start_again(vcpu);
    else if (what < 72)
        move_device(vcpu);
    run_guest(vcpu, 1 + (unsigned)below(8));
}

/* --- the machine's runs -------------------------------------------------------------------- */

static unsigned rounds;
static void (*program)(struct vcpu *vcpu);

static void run_cpu(void)
{
    struct vcpu *vcpu = &cpus[current].vcpu;
    if (vcpu->index != 0)
        begin(vcpu);
    for (unsigned i = 0; i < rounds; i++)
        program(vcpu);
    cpus[current].done = true;
    for (;;)
        run_guest(vcpu, 2);
}

/* As in vmm/vm.c, the first one has its view before there are others. */
static void make_cpu(unsigned i)
{
    struct vcpu *vcpu = &cpus[i].vcpu;
    *vcpu = (struct vcpu){.vm = &vm, .index = i, .cpu = &areas[i], .cpu_index = i};
    vcpu->fetched = UINT32_MAX;
    vcpu->run = vcpu->enter = fake_run;
    mtrr_reset_firmware(&vcpu->mtrr, 40);
    areas[i].index = i;
    areas[i].vcpu = vcpu;
    vm.vcpus[i] = vcpu;
    vm.cpus.bits |= 1ull << i;
    vm.vcpu_count++;
    if (i == 0)
        begin(vcpu);
    getcontext(&cpus[i].context);
    cpus[i].context.uc_stack.ss_sp = cpus[i].stack;
    cpus[i].context.uc_stack.ss_size = STACK;
    makecontext(&cpus[i].context, run_cpu, 0);
}

static void make_machine(const struct virt_caps *as, unsigned count)
{
    memset(cpus, 0, sizeof(cpus));
    memset(boxes, 0, sizeof(boxes));
    memset(&host, 0, sizeof(host));
    caps = *as;
    config = (struct vm_config){.name = "test", .policy = "exact", .cpus = count};
    frames_init(&host.frames, pool, hpa(POOL_BASE), sizeof(pool));
    mtrr_reset_firmware(&host.mtrr, 40);
    vm = (struct vm){.config = &config, .ops = &ops, .caps = &caps, .host = &host};
    vm.most_tables = POOL_PAGES;
    vm.extent_count = 1;
    vm.extents[0] = (struct extent){gpa(0), hpa(GIB), MEMORY};
    assert_int_equal(views_init(&vm), 0);
    current = 0;
    for (unsigned i = 0; i < count; i++)
        make_cpu(i);
}

static bool all_done(void)
{
    bool all = true;
    for (unsigned i = 0; i < vm.vcpu_count; i++)
        all = all && cpus[i].done;
    return all;
}

static void run_one(void)
{
    current = (unsigned)below(vm.vcpu_count);
    swapcontext(&scheduler, &cpus[current].context);
}

static bool same_types(const struct vcpu *a, const struct vcpu *b)
{
    uint64_t at = 0;
    while (at < MEMORY && own_type(&a->mtrr, at) == own_type(&b->mtrr, at))
        at += PAGE_SIZE;
    return at >= MEMORY;
}

/* Where E and CD, and the types of all memory, are the same, so are the tables. */
static void check_roots(void)
{
    for (unsigned i = 0; i < vm.vcpu_count; i++)
        for (unsigned k = 0; k < i; k++) {
            const struct vcpu *a = vm.vcpus[k], *b = vm.vcpus[i];
            bool moot = caps.owns_cr0_cd && ((a->state.cr0 | b->state.cr0) & CR0_CD) != 0;
            if (a->view == b->view && !moot && same_types(a, b))
                assert(views_root(a).v == views_root(b).v);
        }
}

/* All that was taken is in a view, and comes back with it. */
static void check_tables(void)
{
    unsigned pages = 0;
    for (unsigned i = 0; i < vm.sharing.count; i++)
        for (unsigned kind = 0; kind < VIEWS; kind++)
            pages += vm.sharing.typings[i]->views[kind].pt.pages;
    assert(vm.tables == pages);
    for (unsigned i = 0; i < vm.sharing.count; i++)
        typing_destroy(vm.sharing.typings[i]);
    assert(vm.tables == 0);
}

static void run_machine(const struct virt_caps *as, unsigned count, uint64_t seed)
{
    random_state = seed;
    make_machine(as, count);
    scheduled = true;
    while (!all_done())
        run_one();
    for (unsigned i = 0; i < REST * count; i++)
        run_one();
    scheduled = false;
    check_roots();
    check_tables();
}

static void random_schedules(void **state)
{
    (void)state;
    program = do_something;
    rounds = 200;
    for (unsigned count = 2; count <= MOST; count++)
        for (uint64_t seed = 1; seed <= 4; seed++) {
            run_machine(&intel, count, seed);
            run_machine(&amd, count, seed);
        }
}

/* --- the manuals' sequence ----------------------------------------------------------------- */

static unsigned arrived;
static uint64_t turn[MOST];

static void meet(struct vcpu *vcpu)
{
    unsigned target = (arrived++ / vm.vcpu_count + 1) * vm.vcpu_count;
    while (arrived < target)
        run_guest(vcpu, 1);
}

/* SDM, "MTRR Considerations in MP Systems": the same values on all, which run on none meanwhile. */
static void sequence(struct vcpu *vcpu)
{
    uint64_t n = turn[current]++;
    meet(vcpu);
    write_cd(vcpu, true);
    write_msr(vcpu, 0x2ff, MT_WB | 1 << 10);
    run_guest(vcpu, 2);
    write_msr(vcpu, 0x202, (8 * MIB) | (n % 2 != 0 ? MT_UC : MT_WT));
    write_msr(vcpu, 0x203, ((1ull << 40) - 2 * MIB) | 1 << 11);
    run_guest(vcpu, 2);
    write_msr(vcpu, 0x2ff, MT_WB | 3 << 10);
    write_cd(vcpu, false);
    run_guest(vcpu, 4);
    meet(vcpu);
    assert(!sharing_is_split(&vm.sharing));
}

/*
 * At most one rewrites the leaves, of 2 MiB, and all others join it. Some may still be on the old
 * view then, so that there are two, but never more.
 */
static void sequences(void **state)
{
    (void)state;
    program = sequence;
    rounds = 50;
    for (unsigned i = 0; i < 6; i++) {
        uint64_t bytes = 0;
        unsigned made = 0;
        arrived = 0;
        memset(turn, 0, sizeof(turn));
        run_machine(i % 2 == 0 ? &intel : &amd, 2 + i / 2 * 2, 100 + i);
        for (unsigned k = 0; k < vm.sharing.count; k++) {
            bytes += vm.sharing.typings[k]->leaves_changed;
            made += vm.sharing.typings[k]->views[VIEW_TYPED].made;
        }
        assert_in_range(made, 1, 2);
        assert_in_range(bytes, 2 * MIB, 50 * 2 * MIB);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_schedules),
        cmocka_unit_test(sequences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
