/*
 * Views against a rebuild from scratch, under a model of a TLB and of a cache: an entry or a line
 * lives until something ends it, and one that says what the tables no longer say is a mistake.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>

#include "lib/errno.h"
#include "lib/x86.h"
#include "mm/memtype.h"
#include "svm/npt.h"
#include "svm/types.h"
#include "tests/unit/golden.h"
#include "vmm/typing/typing.h"
#include "vmx/ept.h"
#include "vmx/types.h"

enum { POOL_PAGES = 2048, TLB_ENTRIES = 4096, CACHE_PAGES = 4096 };
#define POOL_BASE 0x7000000000ull

/* --- a machine: table pages, a TLB, a cache --------------------------------------------------- */

struct tlb_entry {
    hpa_t root;
    uint64_t va;
    struct pt_leaf leaf;
};

static struct fake {
    _Alignas(4096) uint64_t pages[POOL_PAGES][512];
    bool used[POOL_PAGES];
    unsigned limit; /* pages that there are */
    struct tlb_entry tlb[TLB_ENTRIES];
    unsigned tlb_count;
    uint64_t cached[CACHE_PAGES]; /* guest pages that have lines in the cache */
    unsigned cached_count;
    unsigned invalidations, flushes;
    unsigned drop_invalidation, drop_flush; /* the Nth is forgotten; 0: none */
    bool others;                            /* other CPUs run the guest at every step */
    bool violated;                          /* one of them met an entry before it was forgotten */
} fake;

static void others_run(const struct typing *typing);

static bool fake_alloc(struct typing *typing, hpa_t *page)
{
    (void)typing;
    for (unsigned i = 0; i < fake.limit; i++)
        if (!fake.used[i]) {
            fake.used[i] = true;
            memset(fake.pages[i], 0, sizeof(fake.pages[i]));
            *page = hpa(POOL_BASE + i * PAGE_SIZE);
            return true;
        }
    return false;
}

static void fake_free(struct typing *typing, hpa_t page)
{
    uint64_t i = (page.v - POOL_BASE) / PAGE_SIZE;
    (void)typing;
    assert_true(i < POOL_PAGES && fake.used[i]);
    fake.used[i] = false;
    memset(fake.pages[i], 0xee, sizeof(fake.pages[i]));
}

static uint64_t *fake_at(const struct typing *typing, hpa_t page)
{
    uint64_t i = (page.v - POOL_BASE) / PAGE_SIZE;
    assert_true(i < POOL_PAGES && fake.used[i]);
    if (fake.others)
        others_run(typing);
    return fake.pages[i];
}

static void fake_invalidate(struct typing *typing, hpa_t root)
{
    unsigned left = 0;
    (void)typing;
    if (++fake.invalidations == fake.drop_invalidation)
        return;
    for (unsigned i = 0; i < fake.tlb_count; i++)
        if (fake.tlb[i].root.v != root.v)
            fake.tlb[left++] = fake.tlb[i];
    fake.tlb_count = left;
}

static void fake_flush(struct typing *typing, gpa_t at, uint64_t size, enum memtype type)
{
    unsigned left = 0;
    (void)typing;
    assert_true(memtype_is_pat(type) && type != MT_UC_MINUS);
    if (++fake.flushes == fake.drop_flush)
        return;
    for (unsigned i = 0; i < fake.cached_count; i++)
        if (fake.cached[i] - at.v >= size)
            fake.cached[left++] = fake.cached[i];
    fake.cached_count = left;
}

static const struct typing_hooks hooks = {fake_alloc, fake_free, fake_at, fake_invalidate,
                                          fake_flush};

static bool is_cacheable(unsigned type)
{
    return type == MT_WT || type == MT_WP || type == MT_WB;
}

/*
 * The guest touches a page: its translation and, where cacheable, a line of it stay. The CD view of
 * some policies is cacheable too, of which they expect no more than that.
 */
static void touch(const struct typing *typing, enum view_kind kind, uint64_t va)
{
    const struct view *view = &typing->views[kind];
    struct pt_leaf leaf = pt_query(&view->pt, va);
    assert_true(leaf.present);
    if (fake.tlb_count < TLB_ENTRIES)
        fake.tlb[fake.tlb_count++] = (struct tlb_entry){view->pt.root, va, leaf};
    if (kind == VIEW_TYPED && is_cacheable(leaf.attr.type) && fake.cached_count < CACHE_PAGES)
        fake.cached[fake.cached_count++] = align_down(va, PAGE_SIZE);
}

static bool same_translation(struct pt_leaf a, struct pt_leaf b)
{
    return a.present == b.present && a.hpa.v == b.hpa.v && a.level == b.level &&
           a.attr.type == b.attr.type && a.attr.ipat == b.attr.ipat && a.attr.perm == b.attr.perm;
}

static const struct pt_leaf *find_in_tlb(hpa_t root, uint64_t va)
{
    for (unsigned i = 0; i < fake.tlb_count; i++)
        if (fake.tlb[i].root.v == root.v && fake.tlb[i].va == va)
            return &fake.tlb[i].leaf;
    return NULL;
}

/*
 * Between any two steps of a change other CPUs may load what the tables say at that moment. What
 * they have already must not be contradicted by what is now present: that is break before make.
 */
static void others_run(const struct typing *typing)
{
    const struct view *view = &typing->views[VIEW_TYPED];
    fake.others = false;
    for (unsigned i = 0; i < 8 && view->made; i++) {
        uint64_t va = GIB + i * (i < 4 ? PAGE_SIZE : 2 * MIB);
        const struct pt_leaf *cached = find_in_tlb(view->pt.root, va);
        struct pt_leaf leaf = pt_query(&view->pt, va);
        if (cached == NULL && leaf.present)
            touch(typing, VIEW_TYPED, va);
        else if (cached != NULL && leaf.present && !same_translation(*cached, leaf))
            fake.violated = true;
    }
    fake.others = true;
}

/* No entry of the TLB says what its tables do not. */
static bool tlb_is_true(const struct typing *typing)
{
    for (unsigned i = 0; i < fake.tlb_count; i++)
        for (unsigned kind = 0; kind < VIEWS; kind++) {
            const struct view *view = &typing->views[kind];
            if (!view->made || view->pt.root.v != fake.tlb[i].root.v)
                continue;
            if (!same_translation(pt_query(&view->pt, fake.tlb[i].va), fake.tlb[i].leaf))
                return false;
        }
    return true;
}

/* No line is cached of memory that the typed view now reaches past the caches. */
static bool cache_is_true(const struct typing *typing)
{
    for (unsigned i = 0; i < fake.cached_count; i++)
        if (!is_cacheable(pt_query(&typing->views[VIEW_TYPED].pt, fake.cached[i]).attr.type))
            return false;
    return true;
}

/* --- VMs -------------------------------------------------------------------------------------- */

static struct vm_config config;

/* A machine with types of its own in the memory that the VMs below have. */
static struct mtrr_state host_mtrr;

static void make_host(void)
{
    mtrr_reset_firmware(&host_mtrr, 40);
    host_mtrr.variable[1] =
        (struct mtrr_pair){(GIB + 0x40000) | MT_UC, ((1ull << 40) - 0x10000) | MTRR_MASK_V};
    host_mtrr.variable[2] =
        (struct mtrr_pair){(17 * GIB) | MT_WT, ((1ull << 40) - GIB / 2) | MTRR_MASK_V};
}

struct backend {
    const struct pt_format *format;
    const struct type_rules *rules;
    struct policy_means means;
};

static const struct backend ept = {&ept_format, &vmx_type_rules, {.has_ipat = true}};
static const struct backend npt = {&npt_format, &svm_type_rules, {.owns_cr0_cd = true}};

/* MEMORY bytes as the guest's map has them, each piece in one extent that agrees modulo 1 GiB. */
static void make_vm(struct typing *typing, const struct backend *backend, const char *policy,
                    uint64_t memory, unsigned max_leaf)
{
    static struct extent extents[2];
    uint64_t low = min_u64(memory, 3 * GIB);
    memset(&fake, 0, offsetof(struct fake, tlb));
    fake.limit = POOL_PAGES;
    fake.tlb_count = fake.cached_count = fake.invalidations = fake.flushes = 0;
    fake.drop_invalidation = fake.drop_flush = 0;
    fake.others = fake.violated = false;
    extents[0] = (struct extent){gpa(0), hpa(GIB), low};
    extents[1] = (struct extent){gpa(4 * GIB), hpa(16 * GIB), memory - low};
    make_host();
    memset(&config, 0, sizeof(config));
    strcpy(config.name, "test");
    strcpy(config.policy, policy);
    *typing = (struct typing){.hooks = &hooks,
                              .extents = extents,
                              .extent_count = memory > low ? 2 : 1,
                              .regions = config.regions,
                              .host = &host_mtrr,
                              .format = backend->format,
                              .max_leaf = (uint8_t)max_leaf};
    assert_int_equal(policy_resolve(&config, &backend->means, false, &typing->policy), 0);
}

static enum view_kind prepare(struct typing *typing, const struct mtrr_state *mtrr, bool cd)
{
    enum view_kind kind = policy_view(&typing->policy, (mtrr->def_type & MTRR_DEF_E) != 0, cd);
    if (!typing_is_ready(typing, kind))
        assert_int_equal(typing_prepare(typing, mtrr, kind), 0);
    return kind;
}

/* The same, with the MTRRs that firmware leaves, and the view for them. */
static void begin_vm(struct typing *typing, struct mtrr_state *mtrr, const struct backend *backend,
                     const char *policy, uint64_t memory, unsigned max_leaf)
{
    make_vm(typing, backend, policy, memory, max_leaf);
    mtrr_reset_firmware(mtrr, 40);
    prepare(typing, mtrr, false);
}

/* --- random writes, against a rebuild --------------------------------------------------------- */

static uint64_t seed;

static uint64_t below(uint64_t n)
{
    return host_random(&seed) % n;
}

static uint64_t random_type(void)
{
    static const uint8_t types[] = {MT_UC, MT_WC, MT_WT, MT_WP, MT_WB};
    return types[below(ARRAY_SIZE(types))];
}

static void random_write(struct typing *typing, struct mtrr_state *mtrr)
{
    uint32_t pair = 0x200 + 2 * (uint32_t)below(8);
    uint64_t size = PAGE_SIZE << below(22), all = (1ull << mtrr->phys_bits) - PAGE_SIZE;
    switch (below(5)) {
    case 0:
        mtrr_write(mtrr, 0x2ff,
                   random_type() | (below(4) != 0 ? MTRR_DEF_E : 0) |
                       (below(2) != 0 ? MTRR_DEF_FE : 0));
        break;
    case 1:
        mtrr_write(mtrr, 0x268 + (uint32_t)below(8), 0x0101010101010101 * random_type());
        break;
    case 2:
        mtrr_write(mtrr, pair, align_down(below(10 * GIB), size) | random_type());
        break;
    default:
        mtrr_write(mtrr, pair + 1, (all & ~(size - 1)) | (below(3) != 0 ? MTRR_MASK_V : 0));
        break;
    }
    typing_mark(typing);
}

/* Every leaf of the two is the same, large pages too. */
static void expect_same(const struct pt *one, const struct pt *other, const struct typing *typing)
{
    for (unsigned i = 0; i < typing->extent_count; i++) {
        uint64_t at = typing->extents[i].gpa.v, end = at + typing->extents[i].size;
        while (at < end) {
            struct pt_leaf a = pt_query(one, at), b = pt_query(other, at);
            assert_true(a.present && same_translation(a, b));
            assert_int_equal(a.next, b.next);
            at = a.next;
        }
    }
}

static void expect_rebuilt(const struct typing *typing, const struct mtrr_state *mtrr,
                           enum view_kind kind)
{
    static struct typing fresh;
    fresh = *typing;
    memset(fresh.views, 0, sizeof(fresh.views));
    assert_int_equal(typing_prepare(&fresh, mtrr, kind), 0);
    expect_same(&typing->views[kind].pt, &fresh.views[kind].pt, typing);
    typing_destroy(&fresh);
}

/* The leaf of every sampled page is what the policy says of the second decoder's answer. */
static void expect_exact(const struct typing *typing, const struct mtrr_state *mtrr,
                         const struct type_rules *rules)
{
    for (unsigned k = 0; k < 16; k++) {
        uint64_t at = below(3 * GIB);
        struct pt_leaf leaf = pt_query(&typing->views[VIEW_TYPED].pt, at);
        enum memtype want = (enum memtype)mtrr_type(mtrr, at).type;
        assert_int_equal(leaf.attr.type, want);
        assert_false(leaf.attr.ipat);
        enum memtype pat = (enum memtype)random_type();
        enum effective native = rules->native(want, pat);
        enum effective nested = policy_effective(rules, leaf.attr, pat, false, MT_WB);
        assert_int_equal(effective_class(nested), effective_class(native));
    }
}

/* What run_writes() forgets: the Nth invalidation or flush; 0: nothing. */
struct forget {
    unsigned invalidation, flush;
};

/* Random writes and accesses; true if no mistake shows. DEEP: rebuilds are compared as well. */
static bool run_writes(const struct backend *backend, unsigned max_leaf, unsigned n, bool deep,
                       struct forget forget)
{
    static struct typing typing;
    struct mtrr_state mtrr;
    bool sound = true;
    make_vm(&typing, backend, "exact", 6 * GIB, max_leaf);
    fake.drop_invalidation = forget.invalidation;
    fake.drop_flush = forget.flush;
    mtrr_reset_firmware(&mtrr, 40);
    prepare(&typing, &mtrr, false);
    for (unsigned i = 0; i < n && sound; i++) {
        for (uint64_t k = below(3); k > 0; k--)
            random_write(&typing, &mtrr);
        enum view_kind kind = prepare(&typing, &mtrr, below(8) == 0);
        sound = tlb_is_true(&typing) && (kind != VIEW_TYPED || cache_is_true(&typing));
        for (unsigned k = 0; k < 8; k++)
            touch(&typing, kind, below(3 * GIB));
        if (deep && kind == VIEW_TYPED && i % 16 == 0) {
            expect_rebuilt(&typing, &mtrr, kind);
            expect_exact(&typing, &mtrr, backend->rules);
        }
    }
    typing_destroy(&typing);
    return sound;
}

/* Every few writes another policy; those that the backend cannot have leave all as it is. */
static void random_policy(struct typing *typing)
{
    int result = policy_take((enum policy_number)below(POLICIES), below(2) != 0, &typing->policy);
    assert_true(result == 0 || result == -EOPNOTSUPP);
    typing_mark_policy(typing);
}

static void run_policies(const struct backend *backend, unsigned n)
{
    static struct typing typing;
    struct mtrr_state mtrr;
    begin_vm(&typing, &mtrr, backend, "exact", 6 * GIB, 3);
    for (unsigned i = 0; i < n; i++) {
        for (uint64_t k = below(3); k > 0; k--)
            random_write(&typing, &mtrr);
        if (below(4) == 0)
            random_policy(&typing);
        enum view_kind kind = prepare(&typing, &mtrr, below(8) == 0);
        assert_true(tlb_is_true(&typing));
        assert_true(kind != VIEW_TYPED || cache_is_true(&typing));
        for (unsigned k = 0; k < 8; k++)
            touch(&typing, kind, below(3 * GIB));
        if (i % 8 == 0)
            expect_rebuilt(&typing, &mtrr, kind);
    }
    typing_destroy(&typing);
}

static void test_policy_changes(void **unused)
{
    (void)unused;
    seed = 23;
    run_policies(&ept, 4000);
    run_policies(&npt, 4000);
}

static void test_writes(void **unused)
{
    (void)unused;
    for (unsigned max_leaf = 2; max_leaf <= 3; max_leaf++) {
        seed = 11 + max_leaf;
        assert_true(run_writes(&ept, max_leaf, 2000, true, (struct forget){0, 0}));
        assert_true(run_writes(&npt, max_leaf, 2000, true, (struct forget){0, 0}));
    }
}

/* A guest that touches and retypes one place again and again: each step left out must show. */
static bool run_steps(const struct backend *backend, struct forget forget)
{
    static const uint64_t sizes[] = {2 * MIB, 4 * KIB, GIB, 64 * KIB, 2 * MIB};
    static struct typing typing;
    struct mtrr_state mtrr;
    bool sound = true;
    make_vm(&typing, backend, "exact", 4 * GIB, 3);
    fake.drop_invalidation = forget.invalidation;
    fake.drop_flush = forget.flush;
    mtrr_reset_firmware(&mtrr, 40);
    prepare(&typing, &mtrr, false);
    fake.others = true;
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(sizes) && sound; i++) {
        uint64_t mask = ((1ull << 40) - sizes[i / 2]) | MTRR_MASK_V;
        mtrr_write(&mtrr, 0x202, GIB | (i % 4 < 2 ? MT_UC : MT_WC));
        mtrr_write(&mtrr, 0x203, i % 2 == 0 ? mask : 0);
        typing_mark(&typing);
        prepare(&typing, &mtrr, false);
        fake.others = false;
        sound = !fake.violated && tlb_is_true(&typing) && cache_is_true(&typing);
        fake.others = true;
    }
    fake.others = false;
    typing_destroy(&typing);
    return sound;
}

static void test_forgotten(void **unused)
{
    static const struct backend *const backends[] = {&ept, &npt};
    (void)unused;
    for (unsigned b = 0; b < 2; b++) {
        assert_true(run_steps(backends[b], (struct forget){0, 0}));
        unsigned invalidations = fake.invalidations, flushes = fake.flushes;
        assert_true(invalidations >= 10 && flushes >= 5);
        for (unsigned i = 1; i <= invalidations; i++)
            if (run_steps(backends[b], (struct forget){i, 0}))
                fail_msg("invalidation %u of %u is not missed", i, invalidations);
        for (unsigned i = 1; i <= flushes; i++)
            assert_false(run_steps(backends[b], (struct forget){0, i}));
    }
}

/* --- figures ---------------------------------------------------------------------------------- */

static uint64_t before[POOL_PAGES][512];

/* Pages whose contents are not as in BEFORE. */
static unsigned pages_touched(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < POOL_PAGES; i++)
        count += memcmp(before[i], fake.pages[i], sizeof(before[i])) != 0;
    return count;
}

static void set_uc(struct mtrr_state *mtrr, uint64_t base, uint64_t size)
{
    assert_true(mtrr_write(mtrr, 0x202, base | MT_UC));
    assert_true(mtrr_write(mtrr, 0x203, ((1ull << 40) - size) | MTRR_MASK_V));
}

/* One 2 MiB range from WB to UC and back: as much work in a large VM as in a small one. */
static void test_cost(void **unused)
{
    static const uint64_t sizes[] = {GIB, 8 * GIB, 64 * GIB};
    (void)unused;
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        static struct typing typing;
        struct mtrr_state mtrr;
        begin_vm(&typing, &mtrr, &ept, "exact", sizes[i], 3);
        memcpy(before, fake.pages, sizeof(before));
        set_uc(&mtrr, 512 * MIB, 2 * MIB);
        typing_mark(&typing);
        prepare(&typing, &mtrr, false);
        assert_in_range(pages_touched(), 1, 2);
        assert_int_equal(typing.leaves_changed, 2 * MIB);
        assert_int_equal(fake.flushes, 1);
        assert_in_range(fake.invalidations, 1, 2); /* of the split, if there is one; the leaf */
        mtrr_write(&mtrr, 0x203, 0);
        typing_mark(&typing);
        prepare(&typing, &mtrr, false);
        assert_int_equal(typing.leaves_changed, 4 * MIB);
        assert_int_equal(fake.flushes, 1); /* UC leaves no lines */
        typing_destroy(&typing);
    }
}

/* Another policy of 8 GiB: what is the same by both is not touched, and the rest is once. */
static void test_policy_cost(void **unused)
{
    static const struct {
        enum policy_number from, to;
        uint64_t bytes; /* that change */
        unsigned pages; /* of tables that are written at most */
    } rows[] = {
        {POLICY_EXACT, POLICY_BITVISOR, 0, 0},
        {POLICY_EXACT, POLICY_KVM_4_19, 0, 0},
        {POLICY_KVM_6_11, POLICY_KVM_6_16, 0, 0},
        {POLICY_EXACT, POLICY_ACRN, 2 * MIB, 2},               /* its fixed ranges stay */
        {POLICY_EXACT, POLICY_KVM_6_11, 2 * MIB + 0x20000, 3}, /* A0000 to BFFFF too */
        {POLICY_JAILHOUSE, POLICY_ACRN, 0x20000, 3},           /* out of a leaf of 1 GiB */
        {POLICY_KVM_6_11, POLICY_EXACT, 2 * MIB + 0x20000, 3},
        {POLICY_WB, POLICY_KVM_6_11, 8 * GIB, 4}, /* with the PAT and without */
    };
    (void)unused;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        static struct typing typing;
        struct mtrr_state mtrr;
        make_vm(&typing, &ept, "exact", 8 * GIB, 3);
        assert_int_equal(policy_take(rows[i].from, true, &typing.policy), 0);
        mtrr_reset_firmware(&mtrr, 40);
        mtrr_reset_firmware(&host_mtrr, 40);
        set_uc(&mtrr, 512 * MIB, 2 * MIB);
        prepare(&typing, &mtrr, false);
        memcpy(before, fake.pages, sizeof(before));
        assert_int_equal(policy_take(rows[i].to, true, &typing.policy), 0);
        typing_mark_policy(&typing);
        assert_int_equal(typing_owes(&typing, &mtrr), rows[i].bytes != 0);
        assert_int_equal(prepare(&typing, &mtrr, false), VIEW_TYPED);
        assert_int_equal(typing.leaves_changed, rows[i].bytes);
        assert_in_range(pages_touched(), rows[i].bytes != 0, rows[i].pages);
        assert_false(typing_owes(&typing, &mtrr));
        typing_destroy(&typing);
    }
}

static void test_pages(void **unused)
{
    static struct typing typing;
    struct mtrr_state mtrr;
    (void)unused;
    begin_vm(&typing, &mtrr, &ept, "wb", 8 * GIB, 3);
    assert_true(typing.views[VIEW_TYPED].pt.pages <= 4);
    typing_destroy(&typing);
    make_vm(&typing, &ept, "exact", 8 * GIB, 3);
    prepare(&typing, &mtrr, false); /* A0000 to BFFFF: a 4 KiB table and a 2 MiB table more */
    assert_true(typing.views[VIEW_TYPED].pt.pages <= 4);
    mtrr.def_type &= ~MTRR_DEF_E;
    assert_int_equal(prepare(&typing, &mtrr, false), VIEW_DISABLED);
    assert_true(typing.views[VIEW_DISABLED].pt.pages <= 4);
    assert_int_equal(prepare(&typing, &mtrr, true), VIEW_CD);
    assert_true(typing.views[VIEW_CD].pt.pages <= 4);
    typing_destroy(&typing);
}

/* SDM, "MTRR Considerations in MP Systems": CD=1, E=0, the same values again, E=1, CD=0. */
static void test_same_sequence(void **unused)
{
    static struct typing typing;
    struct mtrr_state mtrr;
    (void)unused;
    begin_vm(&typing, &mtrr, &ept, "exact", 8 * GIB, 3);
    struct mtrr_state saved = mtrr;
    memcpy(before, fake.pages, sizeof(before));
    mtrr_write(&mtrr, 0x2ff, mtrr.def_type & ~MTRR_DEF_E);
    for (uint32_t i = 0; i < 16; i++) {
        mtrr_write(&mtrr, 0x200 + i, 0);
        mtrr_write(&mtrr, 0x200 + i, mtrr_read(&saved, 0x200 + i));
        typing_mark(&typing);
    }
    mtrr_write(&mtrr, 0x2ff, saved.def_type);
    assert_false(typing_owes(&typing, &mtrr));
    assert_int_equal(prepare(&typing, &mtrr, false), VIEW_TYPED);
    assert_int_equal(pages_touched(), 0);
    assert_int_equal(fake.invalidations + fake.flushes, 0);
    assert_int_equal(typing.leaves_changed, 0);
    set_uc(&mtrr, 512 * MIB, 2 * MIB);
    typing_mark(&typing);
    assert_true(typing_owes(&typing, &mtrr));
    typing_destroy(&typing);
}

/* Types that alternate by the page in all of memory: refused in bounded time, nothing is lost. */
static void test_too_fine(void **unused)
{
    static struct typing typing;
    struct mtrr_state mtrr;
    (void)unused;
    begin_vm(&typing, &mtrr, &ept, "exact", 8 * GIB, 3);
    mtrr_write(&mtrr, 0x202, MT_WB);
    mtrr_write(&mtrr, 0x203, PAGE_SIZE | MTRR_MASK_V); /* every second page, WB as the others */
    typing_mark(&typing);
    host_log_reset();
    assert_int_equal(typing_prepare(&typing, &mtrr, VIEW_TYPED), -E2BIG);
    assert_non_null(strstr(host_log, "more than 262144 pieces"));
    typing_destroy(&typing);
    make_vm(&typing, &ept, "exact", 8 * GIB, 3);
    fake.limit = 400;
    mtrr_reset_firmware(&mtrr, 40);
    prepare(&typing, &mtrr, false);
    mtrr_write(&mtrr, 0x202, MT_UC);
    mtrr_write(&mtrr, 0x203, PAGE_SIZE | MTRR_MASK_V);
    typing_mark(&typing);
    assert_int_equal(typing_prepare(&typing, &mtrr, VIEW_TYPED), -ENOMEM);
    typing_destroy(&typing);
}

/* --- policies --------------------------------------------------------------------------------- */

struct leaf_row {
    const struct backend *backend;
    const char *policy;
    enum view_kind view;
    enum memtype guest;
    bool region, mmio;
    enum memtype type;
    bool ipat;
};

static void test_leaves(void **unused)
{
    /*
     * design: exact is the guest's type with its PAT; wb is WB, and without the PAT where it can.
     */
    static const struct leaf_row rows[] = {
        {&ept, "exact", VIEW_TYPED, MT_WP, false, false, MT_WP, false},
        {&ept, "exact", VIEW_DISABLED, MT_UC, false, false, MT_UC, false},
        {&ept, "exact", VIEW_CD, MT_WB, false, false, MT_UC, true},
        {&ept, "exact", VIEW_TYPED, MT_WB, false, true, MT_UC, false},
        {&ept, "exact", VIEW_TYPED, MT_WT, false, true, MT_UC, false},
        {&ept, "exact", VIEW_TYPED, MT_WC, false, true, MT_WC, false},
        {&ept, "exact", VIEW_TYPED, MT_WP, false, true, MT_UC, false},
        {&ept, "exact", VIEW_TYPED, MT_WC, true, false, MT_WC, false},
        {&ept, "exact", VIEW_CD, MT_WC, true, false, MT_UC, true},
        {&ept, "wb", VIEW_TYPED, MT_UC, false, false, MT_WB, true},
        {&ept, "wb", VIEW_TYPED, MT_UC, true, false, MT_UC, true},
        {&ept, "wb", VIEW_TYPED, MT_WC, false, true, MT_WC, false},
        {&npt, "exact", VIEW_TYPED, MT_WT, false, false, MT_WT, false},
        {&npt, "exact", VIEW_DISABLED, MT_UC, false, false, MT_UC, false},
        {&npt, "wb", VIEW_TYPED, MT_UC, false, false, MT_WB, false},
        {&npt, "wb", VIEW_TYPED, MT_WC, true, false, MT_WC, false},
    };
    (void)unused;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct leaf_row *row = &rows[i];
        static struct typing typing;
        make_vm(&typing, row->backend, row->policy, GIB, 3);
        struct policy_page page = {
            .guest = (uint8_t)row->guest, .region = row->region, .mmio = row->mmio};
        struct pt_attr leaf = policy_leaf(&typing.policy, row->view, &page);
        assert_int_equal(leaf.type, row->type);
        assert_int_equal(leaf.ipat, row->ipat);
        assert_int_equal(leaf.perm, PT_R | PT_W | PT_X);
    }
}

static void expect_refused(const struct backend *backend, const char *message)
{
    struct policy policy;
    host_log_reset();
    assert_int_equal(policy_resolve(&config, &backend->means, false, &policy), -EINVAL);
    assert_string_equal(host_log, message);
}

static void test_policies(void **unused)
{
    static struct typing typing;
    struct policy policy;
    (void)unused;
    make_vm(&typing, &ept, "", GIB, 3);
    assert_string_equal(typing.policy.preset->name, "wb");
    assert_int_equal(policy_resolve(&config, &ept.means, true, &policy), 0);
    assert_string_equal(policy.preset->name, "exact");
    assert_int_equal(policy.cd, KNOB_CD_VIEW);
    assert_int_equal(policy_view(&policy, true, true), VIEW_CD);
    assert_int_equal(policy_view(&policy, false, true), VIEW_CD);
    assert_int_equal(policy_view(&policy, false, false), VIEW_DISABLED);
    assert_int_equal(policy_view(&typing.policy, false, true), VIEW_TYPED);
    assert_false(policy_cd_acts(&policy, true));
    assert_int_equal(policy_resolve(&config, &npt.means, true, &policy), 0);
    assert_int_equal(policy.cd, KNOB_CD_HW);
    assert_int_equal(policy_view(&policy, true, true), VIEW_TYPED);
    assert_true(policy_cd_acts(&policy, true));
    assert_int_equal(policy_pat(&policy, true, false, 0x0007040600070406), 0x0007040600070406);
    config.pat = KNOB_PAT_IGNORE;
    assert_int_equal(policy_resolve(&config, &npt.means, true, &policy), 0);
    assert_int_equal(policy_pat(&policy, true, false, 0x0007040600070406), 0x0606060606060606);
    assert_true(policy_forces_pat(&policy));
    config.cd = KNOB_CD_VIEW;
    expect_refused(&npt, "vm test: cd = view: this CPU's nested tables cannot override a PAT; "
                         "write cd = hw, ignore or pat-uc\n");
    config.cd = KNOB_CD_HW;
    expect_refused(&ept, "vm test: cd = hw: this CPU's guests do not own CR0.CD; "
                         "write cd = view\n");
}

/* A region's type counts in the typed and in the E=0 view, to the byte. */
static void test_regions(void **unused)
{
    static struct typing typing;
    struct mtrr_state mtrr;
    (void)unused;
    make_vm(&typing, &ept, "exact", GIB, 3);
    config.regions[0] = (struct config_region){0x10000000, 0x3000, MT_WC, 1};
    typing.region_count = 1;
    mtrr_reset_firmware(&mtrr, 40);
    prepare(&typing, &mtrr, false);
    mtrr.def_type &= ~MTRR_DEF_E;
    prepare(&typing, &mtrr, false);
    prepare(&typing, &mtrr, true);
    static const uint8_t want[VIEWS][2] = {{MT_WB, MT_WC}, {MT_UC, MT_WC}, {MT_UC, MT_UC}};
    for (unsigned kind = 0; kind < VIEWS; kind++) {
        const struct pt *pt = &typing.views[kind].pt;
        assert_int_equal(pt_query(pt, 0x0fffffff).attr.type, want[kind][0]);
        assert_int_equal(pt_query(pt, 0x10000000).attr.type, want[kind][1]);
        assert_int_equal(pt_query(pt, 0x10002fff).attr.type, want[kind][1]);
        assert_int_equal(pt_query(pt, 0x10003000).attr.type, want[kind][0]);
    }
    typing_destroy(&typing);
}

/* --- the registers of devices ----------------------------------------------------------------- */

static struct mmio_range registers[3];

static void set_registers(struct typing *typing, const struct mmio_range *ranges, unsigned count)
{
    assert_int_equal(typing_set_mmio(typing, ranges, count), 0);
    if (count > 0)
        memcpy(registers, ranges, count * sizeof(*ranges));
}

/* A frame buffer, a page, and what the config gives a type, above all memory. */
static const struct mmio_range three[] = {
    {{{0xd0000000}, {0x4010000000}, 16 * MIB}, MMIO_BY_MTRRS},
    {{{0xc0001000}, {0xfebd5000}, PAGE_SIZE}, MMIO_BY_MTRRS},
    {{{6 * GIB}, {0x8000200000}, 2 * MIB}, MT_WC},
};

static void begin_mmio(struct typing *typing, struct mtrr_state *mtrr)
{
    begin_vm(typing, mtrr, &ept, "exact", GIB, 3);
    typing->mmio = registers;
}

/* TYPES: of the three, by enum memtype; all of three have their places. */
static void expect_registers(const struct typing *typing, enum view_kind kind,
                             const uint8_t types[3])
{
    for (unsigned i = 0; i < 3; i++) {
        const struct extent *at = &three[i].at;
        for (uint64_t offset = 0; offset < at->size; offset += PAGE_SIZE) {
            struct pt_leaf leaf = pt_query(&typing->views[kind].pt, at->gpa.v + offset);
            assert_true(leaf.present && leaf.hpa.v == at->hpa.v + offset);
            assert_int_equal(leaf.attr.type, types[i]);
            assert_int_equal(leaf.attr.ipat, kind == VIEW_CD);
            assert_int_equal(leaf.level, i == 1 ? 1 : 2);
        }
        assert_false(pt_query(&typing->views[kind].pt, at->gpa.v - 1).present);
        assert_false(pt_query(&typing->views[kind].pt, at->gpa.v + at->size).present);
    }
}

/* Registers are UC, or WC where the guest's MTRRs say that, in views of before and of after. */
static void test_mmio_types(void **unused)
{
    static struct typing typing;
    struct mtrr_state mtrr;
    uint64_t mask = ((1ull << 40) - 16 * MIB) | MTRR_MASK_V;
    (void)unused;
    begin_mmio(&typing, &mtrr);
    set_registers(&typing, three, 3);
    expect_registers(&typing, VIEW_TYPED, (const uint8_t[]){MT_UC, MT_UC, MT_WC});
    mtrr.variable[1] = (struct mtrr_pair){0xd0000000 | MT_WB, mask};
    mtrr.variable[0] = (struct mtrr_pair){0};
    typing_mark(&typing);
    prepare(&typing, &mtrr, false); /* all of the hole is cacheable, says the guest */
    expect_registers(&typing, VIEW_TYPED, (const uint8_t[]){MT_UC, MT_UC, MT_WC});
    mtrr.variable[1].base = 0xd0000000 | MT_WC;
    typing_mark(&typing);
    mtrr.def_type = MTRR_DEF_E | MT_UC;
    assert_true(typing_owes(&typing, &mtrr));
    prepare(&typing, &mtrr, false);
    expect_registers(&typing, VIEW_TYPED, (const uint8_t[]){MT_WC, MT_UC, MT_WC});
    expect_rebuilt(&typing, &mtrr, VIEW_TYPED);
    prepare(&typing, &mtrr, true);
    expect_registers(&typing, VIEW_CD, (const uint8_t[]){MT_UC, MT_UC, MT_UC});
    mtrr.def_type = MT_UC;
    prepare(&typing, &mtrr, false);
    expect_registers(&typing, VIEW_DISABLED, (const uint8_t[]){MT_UC, MT_UC, MT_WC});
    typing_destroy(&typing);
}

/* What stays is not touched; what has gone is in no TLB, and leaves no table behind. */
static void test_mmio_moves(void **unused)
{
    static struct typing typing;
    struct mtrr_state mtrr;
    struct mmio_range moved[] = {three[2], three[0]};
    (void)unused;
    begin_mmio(&typing, &mtrr);
    uint32_t pages = typing.views[VIEW_TYPED].pt.pages;
    set_registers(&typing, three, 3);
    for (unsigned i = 0; i < 3; i++)
        touch(&typing, VIEW_TYPED, three[i].at.gpa.v);
    moved[1].at.gpa.v = three[1].at.gpa.v - PAGE_SIZE;
    set_registers(&typing, moved, 2);
    assert_true(tlb_is_true(&typing));
    assert_false(pt_query(&typing.views[VIEW_TYPED].pt, three[0].at.gpa.v).present);
    assert_true(pt_query(&typing.views[VIEW_TYPED].pt, moved[1].at.gpa.v + 16 * MIB - 1).present);
    fake.invalidations = 0;
    set_registers(&typing, moved, 2);
    assert_int_equal(fake.invalidations, 0);
    set_registers(&typing, NULL, 0);
    assert_int_equal(typing.views[VIEW_TYPED].pt.pages, pages);
    typing_destroy(&typing);
}

/* --- windows ---------------------------------------------------------------------------------- */

/* What the hypervisor's own access by a PAT TYPE is: the host's MTRRs say WB, CR0.CD is 0. */
static enum effective window_acts_as(const struct type_rules *rules, enum memtype type)
{
    return effective_class(rules->native(MT_WB, type));
}

/*
 * A window acts as the guest's own access: of each MTRR and PAT type, in each view, and with CD
 * set. Bare metal's type by the golden tables' functions, in class.
 */
static void check_windows(const struct backend *backend, const struct policy *policy)
{
    static const uint8_t types[] = {MT_UC, MT_WC, MT_WT, MT_WP, MT_WB};
    static const uint8_t pats[] = {MT_UC, MT_WC, MT_WT, MT_WP, MT_WB, MT_UC_MINUS};
    const struct type_rules *rules = backend->rules;
    for (unsigned t = 0; t < ARRAY_SIZE(types); t++)
        for (unsigned p = 0; p < ARRAY_SIZE(pats); p++)
            for (unsigned view = 0; view < (backend->means.has_ipat ? VIEWS : VIEW_CD); view++) {
                enum memtype guest = view == VIEW_TYPED ? types[t] : MT_UC, pat = pats[p];
                struct policy_page page = {.guest = (uint8_t)guest};
                struct pt_attr leaf = policy_leaf(policy, view, &page);
                enum memtype acting = policy->pat == KNOB_PAT_IGNORE ? MT_WB : pat;
                enum memtype forced = policy_pat(policy, true, false, pat) & 7;
                enum effective want = effective_class(rules->native(guest, acting));
                if (view == VIEW_CD)
                    want = EFFECTIVE_UC;
                assert_int_equal(
                    window_acts_as(rules, policy_window(rules, leaf, forced, false, MT_WB)), want);
                assert_int_equal(policy_window(rules, leaf, forced, true, MT_WB), MT_UC);
            }
}

static void test_windows(void **unused)
{
    static const struct backend *const backends[] = {&ept, &npt};
    static struct typing typing;
    (void)unused;
    for (unsigned b = 0; b < 2; b++) {
        make_vm(&typing, backends[b], "exact", GIB, 3);
        check_windows(backends[b], &typing.policy);
        typing.policy.pat = KNOB_PAT_IGNORE;
        check_windows(backends[b], &typing.policy);
    }
}

/* --- what is stale, and what is reported ------------------------------------------------------ */

/* Nothing is rewritten while another view is in use, and all of it by the first that needs it. */
static void test_stale(void **unused)
{
    static struct typing typing;
    struct mtrr_state mtrr;
    (void)unused;
    make_vm(&typing, &ept, "exact", GIB, 3);
    mtrr_reset_firmware(&mtrr, 40);
    assert_true(typing_owes(&typing, &mtrr)); /* not made yet */
    prepare(&typing, &mtrr, false);
    assert_false(typing_owes(&typing, &mtrr));
    mtrr.def_type &= ~MTRR_DEF_E;
    set_uc(&mtrr, 512 * MIB, 2 * MIB);
    typing_mark(&typing);
    assert_int_equal(prepare(&typing, &mtrr, false), VIEW_DISABLED);
    assert_int_equal(prepare(&typing, &mtrr, true), VIEW_CD);
    assert_int_equal(typing.leaves_changed, 0);
    mtrr.def_type |= MTRR_DEF_E;
    typing_mark(&typing);
    assert_int_equal(prepare(&typing, &mtrr, true), VIEW_CD);
    assert_int_equal(typing.leaves_changed, 0);
    assert_true(typing_owes(&typing, &mtrr));
    assert_int_equal(prepare(&typing, &mtrr, false), VIEW_TYPED);
    assert_int_equal(typing.leaves_changed, 2 * MIB);
    assert_int_equal(pt_query(&typing.views[VIEW_TYPED].pt, 512 * MIB).attr.type, MT_UC);
    assert_false(typing_owes(&typing, &mtrr));
    typing_destroy(&typing);
}

/* Memory that is said to be plain has the leaf that is said to be that of all. */
static uint64_t check_plain(const struct typing *typing, enum view_kind kind)
{
    const struct view *view = &typing->views[kind];
    uint64_t end = min_u64(view->plain.end, 3 * GIB);
    for (uint64_t at = view->plain.start; at < end;) {
        struct pt_leaf leaf = pt_query(&view->pt, at);
        assert_int_equal(leaf.attr.type, view->plain_leaf.type);
        assert_int_equal(leaf.attr.ipat, view->plain_leaf.ipat);
        at = leaf.next;
    }
    return end - view->plain.start;
}

static void test_plain(void **unused)
{
    static struct typing typing;
    struct mtrr_state mtrr;
    (void)unused;
    seed = 5;
    begin_vm(&typing, &mtrr, &ept, "exact", 6 * GIB, 3);
    assert_int_equal(check_plain(&typing, VIEW_TYPED), 3 * GIB - MIB);
    mtrr.def_type &= ~MTRR_DEF_E;
    assert_int_equal(check_plain(&typing, prepare(&typing, &mtrr, false)), 3 * GIB);
    assert_int_equal(check_plain(&typing, prepare(&typing, &mtrr, true)), 3 * GIB);
    for (unsigned i = 0; i < 1000; i++) {
        random_write(&typing, &mtrr);
        if (i >= 500 && below(4) == 0)
            random_policy(&typing);
        (void)check_plain(&typing, prepare(&typing, &mtrr, below(8) == 0));
    }
    typing_destroy(&typing);
    make_vm(&typing, &ept, "exact", 6 * GIB, 3); /* up to a region in views without MTRRs */
    config.regions[0] = (struct config_region){0x10000000, 0x3000, MT_WC, 1};
    typing.region_count = 1;
    assert_int_equal(prepare(&typing, &mtrr, true), VIEW_CD);
    assert_int_equal(check_plain(&typing, VIEW_CD), 3 * GIB);
    mtrr.def_type &= ~MTRR_DEF_E;
    assert_int_equal(prepare(&typing, &mtrr, false), VIEW_DISABLED);
    assert_int_equal(check_plain(&typing, VIEW_DISABLED), 0x10000000);
    typing_destroy(&typing);
}

static void test_undefined(void **unused)
{
    static struct typing typing;
    struct mtrr_state mtrr;
    (void)unused;
    begin_vm(&typing, &mtrr, &ept, "exact", GIB, 3);
    set_uc(&mtrr, 512 * MIB, 4 * MIB);
    for (unsigned i = 0; i < 2; i++) {
        host_log_reset();
        mtrr_write(&mtrr, 0x202, 512 * MIB | MT_WC);
        mtrr_write(&mtrr, 0x204, 512 * MIB | MT_WP);
        mtrr_write(&mtrr, 0x205, ((1ull << 40) - 2 * MIB) | MTRR_MASK_V);
        typing_mark(&typing);
        prepare(&typing, &mtrr, false);
        assert_string_equal(host_log, i > 0 ? ""
                                            : "memory types: the guest's MTRRs overlap at GPA "
                                              "0x20000000, undefined by the manuals: "
                                              "undefined-is-uc\n");
        assert_int_equal(pt_query(&typing.views[VIEW_TYPED].pt, 512 * MIB).attr.type, MT_UC);
        assert_int_equal(pt_query(&typing.views[VIEW_TYPED].pt, 514 * MIB).attr.type, MT_WC);
        mtrr_write(&mtrr, 0x205, 0);
        typing_mark(&typing);
        prepare(&typing, &mtrr, false);
    }
    typing_destroy(&typing);
    make_vm(&typing, &ept, "exact", GIB, 3); /* there already when the view is made */
    mtrr_write(&mtrr, 0x205, ((1ull << 40) - 2 * MIB) | MTRR_MASK_V);
    host_log_reset();
    prepare(&typing, &mtrr, false);
    assert_non_null(strstr(host_log, "undefined-is-uc"));
    typing_destroy(&typing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaves),         cmocka_unit_test(test_policies),
        cmocka_unit_test(test_regions),        cmocka_unit_test(test_writes),
        cmocka_unit_test(test_policy_changes), cmocka_unit_test(test_policy_cost),
        cmocka_unit_test(test_forgotten),      cmocka_unit_test(test_cost),
        cmocka_unit_test(test_pages),          cmocka_unit_test(test_same_sequence),
        cmocka_unit_test(test_too_fine),       cmocka_unit_test(test_windows),
        cmocka_unit_test(test_stale),          cmocka_unit_test(test_plain),
        cmocka_unit_test(test_undefined),      cmocka_unit_test(test_mmio_types),
        cmocka_unit_test(test_mmio_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
