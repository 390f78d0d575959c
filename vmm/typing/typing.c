/* The second-level tables of a VM: making views, and rewriting what has changed. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/typing/typing.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "vmm/instruments/trace.h"
#include "vmm/host/watchdog.h"

/* --- the owner of the tables ------------------------------------------------------------------ */

static struct view *view_of(const struct pt *pt)
{
    return pt->context;
}

static bool page_alloc(struct pt *pt, hpa_t *page)
{
    struct typing *typing = view_of(pt)->typing;
    return typing->hooks->alloc(typing, page);
}

static void page_free(struct pt *pt, hpa_t page)
{
    struct typing *typing = view_of(pt)->typing;
    typing->hooks->free(typing, page);
}

static uint64_t *page_at(const struct pt *pt, hpa_t page)
{
    const struct typing *typing = view_of(pt)->typing;
    return typing->hooks->at(typing, page);
}

static bool is_cacheable(unsigned type)
{
    return type == MT_WT || type == MT_WP || type == MT_WB;
}

/* Between the clearing of leaves and their setting again: first no CPU can reach them, then no line
 * of theirs is left that the new type would not see. */
static void page_invalidate(struct pt *pt, uint64_t va, uint64_t size, struct pt_attr old)
{
    struct typing *typing = view_of(pt)->typing;
    typing->hooks->invalidate(typing, pt->root);
    typing->invalidations++;
    if (old.perm == 0)
        return;
    typing->leaves_changed += size;
    if (is_cacheable(old.type))
        typing->hooks->flush(typing, gpa(va), size, typing->becomes);
}

static uint32_t traced_type(struct pt_attr attr)
{
    return attr.type | (attr.ipat ? TRACE_IPAT : 0u);
}

static void page_told(struct pt *pt, const struct pt_step *step)
{
    static const uint8_t kinds[] = {
        [PT_LEAVES] = TRACE_LEAF,
        [PT_SPLIT] = TRACE_SPLIT,
        [PT_JOIN] = TRACE_JOIN,
    };
    (void)pt;
    trace((enum trace_kind)kinds[step->kind], step->level,
          traced_type(step->old) | traced_type(step->new) << 8, step->va, step->size);
}

static const struct pt_owner owner = {.alloc = page_alloc,
                                      .free = page_free,
                                      .at = page_at,
                                      .invalidate = page_invalidate,
                                      .told = page_told};

/* --- what leaves are to be -------------------------------------------------------------------- */

const struct config_region *typing_region(const struct typing *typing, uint64_t at, uint64_t *next)
{
    const struct config_region *found = NULL;
    for (unsigned i = 0; i < typing->region_count; i++) {
        const struct config_region *region = &typing->regions[i];
        if (at < region->start) {
            *next = min_u64(*next, region->start);
        } else if (at - region->start < region->size) {
            *next = min_u64(*next, region->start + region->size);
            found = region;
        }
    }
    return found;
}

/* What leaves of a view are made by. */
struct rules {
    const struct policy *policy;
    const struct mtrr_state *mtrr;
    const struct mmio_range *mmio; /* where they are; NULL: in memory */
};

/* Whether the guest's MTRRs count in the view. */
static inline bool looks_at_mtrrs(const struct policy *policy, enum view_kind kind)
{
    return kind == VIEW_TYPED && policy->mtrr != KNOB_MTRR_IGNORE;
}

/* The host's type of the memory at AT, WB where there is none; *NEXT comes down to its end. */
static uint8_t host_type(const struct typing *typing, uint64_t at, uint64_t *next)
{
    uint8_t type = MT_WB;
    for (unsigned i = 0; i < typing->extent_count; i++) {
        const struct extent *e = &typing->extents[i];
        uint64_t offset = at - e->gpa.v;
        if (at < e->gpa.v) {
            *next = min_u64(*next, e->gpa.v);
        } else if (offset < e->size) {
            struct mtrr_answer host = mtrr_type(typing->host, e->hpa.v + offset);
            uint64_t holds = min_u64(host.next - (e->hpa.v + offset), e->size - offset);
            *next = min_u64(*next, at + holds);
            type = host.type;
        }
    }
    return type;
}

/* What few policies want of a page. */
static __attribute__((noinline)) void add_facts(const struct typing *typing, struct rules rules,
                                                uint64_t at, uint64_t *next,
                                                struct policy_page *page)
{
    if ((rules.policy->wants & WANTS_HOST) != 0)
        page->host = host_type(typing, at, next);
    if ((rules.policy->wants & WANTS_FIXED) == 0)
        return;
    page->def_type = (uint16_t)rules.mtrr->def_type;
    page->low = at < MIB;
    if (page->low) {
        struct mtrr_answer fixed = mtrr_fixed_type(rules.mtrr, at);
        page->fixed = fixed.type;
        *next = min_u64(*next, fixed.next);
    }
}

/* What the leaf of the page at AT is to be in a view, up to where that holds, and by which rule. */
static struct pt_attr leaf_and_rule(const struct typing *typing, enum view_kind kind,
                                    struct rules rules, uint64_t at, uint64_t *next, unsigned *rule)
{
    struct mtrr_answer answer = {MT_UC, MTRR_RULE_DISABLED, UINT64_MAX};
    if (looks_at_mtrrs(rules.policy, kind))
        answer = mtrr_type(rules.mtrr, at);
    *next = answer.next;
    const struct config_region *region = typing_region(typing, at, next);
    struct policy_page page = {.guest = region != NULL ? (uint8_t)region->type : answer.type,
                               .region = region != NULL,
                               .mmio = rules.mmio != NULL};
    if (page.mmio && rules.mmio->type != MMIO_BY_MTRRS)
        page.guest = rules.mmio->type;
    if (rules.policy->wants != 0)
        add_facts(typing, rules, at, next, &page);
    *rule = answer.rule;
    return policy_leaf(rules.policy, kind, &page);
}

/* What the leaf at AT was made to be. */
static struct pt_attr made_leaf(const struct view *view, const struct mmio_range *mmio, uint64_t at,
                                uint64_t *next)
{
    const struct rules rules = {&view->policy, &view->applied, mmio};
    unsigned rule;
    return leaf_and_rule(view->typing, view->kind, rules, at, next, &rule);
}

/* --- going through memory by pieces of one leaf ----------------------------------------------- */

/* A run of guest memory whose leaves are to be LEAF. */
struct piece {
    gpa_t gpa;
    uint64_t size;
    struct pt_attr leaf;
};

/* False: there are too many. They may take longer than the watchdog waits. */
static inline bool step(unsigned *steps)
{
    if (++*steps % 256 == 0)
        watchdog_look();
    return *steps <= TYPING_MAX_STEPS;
}

/* Once for each VM. */
static void report_undefined(struct typing *typing, uint64_t at)
{
    if (!typing->undefined)
        log_line("memory types: the guest's MTRRs overlap at GPA 0x%llx, undefined by the manuals: "
                 "%s",
                 (unsigned long long)at, mtrr_rule_name(MTRR_RULE_UNDEFINED));
    typing->undefined = true;
}

static int map_piece(struct view *view, const struct extent *extent, const struct piece *piece)
{
    hpa_t to = hpa(extent->hpa.v + (piece->gpa.v - extent->gpa.v));
    return pt_map(&view->pt, piece->gpa.v, to, piece->size, piece->leaf);
}

/* A part of what the VM has: its memory comes first, then its devices' registers. */
struct part {
    const struct extent *extent;
    const struct mmio_range *mmio; /* NULL: it is memory */
};

static inline unsigned count_parts(const struct typing *typing)
{
    return typing->extent_count + typing->mmio_count;
}

static inline struct part get_part(const struct typing *typing, unsigned i)
{
    if (i < typing->extent_count)
        return (struct part){&typing->extents[i], NULL};
    const struct mmio_range *mmio = &typing->mmio[i - typing->extent_count];
    return (struct part){&mmio->at, mmio};
}

static int map_part(struct view *view, struct part part, unsigned *steps)
{
    struct typing *typing = view->typing;
    const struct extent *extent = part.extent;
    uint64_t end = extent->gpa.v + extent->size, next;
    const struct rules rules = {&view->policy, &view->applied, part.mmio};
    struct piece piece = {.gpa = extent->gpa};
    unsigned rule;
    for (uint64_t at = extent->gpa.v; at < end; at = next) {
        struct pt_attr leaf = leaf_and_rule(typing, view->kind, rules, at, &next, &rule);
        if (rule == MTRR_RULE_UNDEFINED)
            report_undefined(typing, at);
        next = min_u64(next, end);
        if (!step(steps))
            return -E2BIG;
        if (piece.size > 0 && !pt_same_attr(leaf, piece.leaf)) {
            int error = map_piece(view, extent, &piece);
            if (error != 0)
                return error;
            piece = (struct piece){.gpa = gpa(at)};
        }
        piece.leaf = leaf;
        piece.size += next - at;
    }
    return map_piece(view, extent, &piece);
}

/* Seldom is it cut into more pieces; then less is known to be plain. */
static void find_plain(struct view *view)
{
    uint64_t at = looks_at_mtrrs(&view->policy, view->kind) ? MIB : 0, next;
    view->plain_leaf = made_leaf(view, NULL, at, &next);
    view->plain = (struct range){at, next};
    for (unsigned i = 1; i < 4 && view->plain.end != UINT64_MAX; i++) {
        if (!pt_same_attr(made_leaf(view, NULL, view->plain.end, &next), view->plain_leaf))
            return;
        view->plain.end = next;
    }
}

/* Its leaves have become what policy and MTRRs ask for. */
static void now_applies(struct view *view, const struct mtrr_state *mtrr)
{
    if ((view->stale & STALE_POLICY) != 0)
        view->policy = view->typing->policy;
    view->applied = *mtrr;
    view->stale = 0;
    find_plain(view);
}

static int make(struct typing *typing, enum view_kind kind, const struct mtrr_state *mtrr)
{
    struct view *view = &typing->views[kind];
    unsigned steps = 0;
    *view = (struct view){.typing = typing, .kind = kind, .made = true, .stale = STALE_POLICY};
    now_applies(view, mtrr);
    int error = pt_init(&view->pt, typing->format, &owner, view, typing->max_leaf);
    for (unsigned i = 0; i < count_parts(typing) && error == 0; i++)
        error = map_part(view, get_part(typing, i), &steps);
    return error;
}

static int retype(struct view *view, const struct piece *piece)
{
    if (piece->size == 0)
        return 0;
    view->typing->becomes = (enum memtype)piece->leaf.type;
    return pt_retype(&view->pt, piece->gpa.v, piece->size, piece->leaf);
}

/*
 * Finds the next piece of [*AT, END) that the view has otherwise than RULES want it; a SIZE of 0:
 * there is none. *AT goes behind it.
 */
static int next_change(struct view *view, struct rules rules, uint64_t *at, uint64_t end,
                       unsigned *steps, struct piece *piece)
{
    uint64_t old_next, next;
    unsigned rule;
    *piece = (struct piece){.size = 0};
    for (; *at < end; *at = next) {
        struct pt_attr old = made_leaf(view, rules.mmio, *at, &old_next);
        struct pt_attr leaf = leaf_and_rule(view->typing, view->kind, rules, *at, &next, &rule);
        if (rule == MTRR_RULE_UNDEFINED)
            report_undefined(view->typing, *at);
        next = min_u64(min_u64(next, old_next), end);
        bool changes = !pt_same_attr(old, leaf);
        if (piece->size > 0 && (!changes || !pt_same_attr(leaf, piece->leaf)))
            return 0;
        if (!step(steps))
            return -E2BIG;
        if (changes && piece->size == 0)
            *piece = (struct piece){gpa(*at), 0, leaf};
        if (changes)
            piece->size += next - *at;
    }
    return 0;
}

static int rewrite_part(struct view *view, struct rules rules, const struct extent *extent,
                        unsigned *steps)
{
    uint64_t at = extent->gpa.v, end = at + extent->size;
    struct piece piece;
    do {
        int error = next_change(view, rules, &at, end, steps, &piece);
        if (error == 0)
            error = retype(view, &piece);
        if (error != 0)
            return error;
    } while (piece.size > 0);
    return 0;
}

static int rewrite(struct view *view, const struct mtrr_state *mtrr)
{
    const struct typing *typing = view->typing;
    unsigned steps = 0;
    int error = 0;
    for (unsigned i = 0; i < count_parts(typing) && error == 0; i++) {
        const struct part part = get_part(typing, i);
        const struct rules rules = {&typing->policy, mtrr, part.mmio};
        error = rewrite_part(view, rules, part.extent, &steps);
    }
    now_applies(view, mtrr);
    return error;
}

bool typing_owes(struct typing *typing, const struct mtrr_state *mtrr)
{
    struct view *view = &typing->views[VIEW_TYPED];
    unsigned steps = 0;
    if (!view->made)
        return true;
    for (unsigned i = 0; i < count_parts(typing); i++) {
        const struct part part = get_part(typing, i);
        const struct rules rules = {&typing->policy, mtrr, part.mmio};
        uint64_t at = part.extent->gpa.v, end = at + part.extent->size;
        struct piece piece;
        if (next_change(view, rules, &at, end, &steps, &piece) != 0 || piece.size > 0)
            return true;
    }
    return false;
}

int typing_prepare(struct typing *typing, const struct mtrr_state *mtrr, enum view_kind kind)
{
    assert(!typing_is_ready(typing, kind));
    struct view *view = &typing->views[kind];
    int error = view->made ? rewrite(view, mtrr) : make(typing, kind, mtrr);
    if (error == -E2BIG)
        log_line("memory types: the guest's MTRRs cut its memory into more than %u pieces",
                 TYPING_MAX_STEPS);
    return error;
}

/* --- the registers of devices ----------------------------------------------------------------- */

static bool has_range(const struct mmio_range *ranges, unsigned count,
                      const struct mmio_range *range)
{
    for (unsigned i = 0; i < count; i++)
        if (ranges[i].at.gpa.v == range->at.gpa.v && ranges[i].at.hpa.v == range->at.hpa.v &&
            ranges[i].at.size == range->at.size && ranges[i].type == range->type)
            return true;
    return false;
}

/* What was is gone before what comes: a place may be another range's. */
static int set_mmio(struct view *view, const struct mmio_range *ranges, unsigned count)
{
    const struct typing *typing = view->typing;
    const struct mmio_range *old = typing->mmio;
    unsigned steps = 0;
    int error = 0;
    for (unsigned i = 0; i < typing->mmio_count && error == 0; i++)
        if (!has_range(ranges, count, &old[i]))
            error = pt_unmap(&view->pt, old[i].at.gpa.v, old[i].at.size);
    for (unsigned i = 0; i < count && error == 0; i++)
        if (!has_range(old, typing->mmio_count, &ranges[i]))
            error = map_part(view, (struct part){&ranges[i].at, &ranges[i]}, &steps);
    return error;
}

int typing_set_mmio(struct typing *typing, const struct mmio_range *ranges, unsigned count)
{
    int error = 0;
    for (unsigned kind = 0; kind < VIEWS && error == 0; kind++)
        if (typing->views[kind].made)
            error = set_mmio(&typing->views[kind], ranges, count);
    typing->mmio_count = count;
    return error;
}

void typing_destroy(struct typing *typing)
{
    for (unsigned kind = 0; kind < VIEWS; kind++)
        if (typing->views[kind].made)
            pt_destroy(&typing->views[kind].pt);
}
