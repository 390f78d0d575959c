/* The page-table engine: every change is counted and its pages reserved first, then made. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/pt.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"

enum { ENTRIES = 512, MAX_LEVELS = 5 };
static_assert(ENTRIES * sizeof(uint64_t) == PAGE_SIZE, "a table is one page");

enum change_kind { CHANGE_MAP, CHANGE_UNMAP, CHANGE_RETYPE };

/* What is wanted of a range. Offsets are addresses without their sign extension. */
struct change {
    enum change_kind kind;
    uint64_t start, end; /* offsets, multiples of 4096, start < end */
    uint64_t delta;      /* CHANGE_MAP: HPA minus offset, modulo 2^64 */
    struct pt_attr attr; /* but for CHANGE_UNMAP */
};

/* What a change makes of one entry; STEP_SET takes all of it, STEP_DESCEND parts. */
enum step { STEP_KEEP, STEP_SET, STEP_DESCEND };

/* Bytes that an entry of LEVEL stands for; one level above the root: all. */
static uint64_t span(unsigned level)
{
    return PAGE_SIZE << 9 * (level - 1);
}

static uint64_t reach(const struct pt *pt)
{
    return span(pt->format->levels + 1u);
}

static uint64_t offset_to_va(const struct pt *pt, uint64_t offset)
{
    bool high = pt->format->sign_extended && offset >= reach(pt) / 2;
    return high ? offset | -reach(pt) : offset;
}

/* False: no table of this format reaches VA. */
static bool va_to_offset(const struct pt *pt, uint64_t va, uint64_t *offset)
{
    *offset = va & (reach(pt) - 1);
    return offset_to_va(pt, *offset) == va;
}

static bool is_present(const struct pt *pt, uint64_t entry)
{
    return (entry & pt->format->present) != 0;
}

static bool is_leaf(const struct pt *pt, uint64_t entry, unsigned level)
{
    return is_present(pt, entry) && pt->format->is_leaf(entry, level);
}

static bool is_table(const struct pt *pt, uint64_t entry, unsigned level)
{
    return is_present(pt, entry) && !pt->format->is_leaf(entry, level);
}

static uint64_t *table_of(const struct pt *pt, uint64_t entry)
{
    return pt->owner->at(pt, hpa(entry & pt->format->address));
}

/* Of a leaf, also of one that is not present for the moment. */
static uint64_t leaf_hpa(const struct pt *pt, uint64_t entry, unsigned level)
{
    return align_down(entry & pt->format->address, span(level));
}

static uint64_t make_leaf(const struct pt *pt, uint64_t hpa, struct pt_attr attr, unsigned level)
{
    assert(is_aligned(hpa, span(level)) && level <= pt->max_leaf);
    return hpa | pt->format->leaf(attr, level);
}

/* An entry that points to the table PAGE of LEVEL. */
static uint64_t make_link(const struct pt *pt, hpa_t page, unsigned level)
{
    uint8_t shift = pt->format->level_shift;
    return page.v | pt->format->table | (shift != 0 ? (uint64_t)level << shift : 0);
}

/* What would point to the root. */
static uint64_t root_link(const struct pt *pt)
{
    return make_link(pt, pt->root, pt->format->levels);
}

static void flush(const struct pt *pt, const void *at, size_t n)
{
    if (pt->owner->flush != NULL)
        pt->owner->flush(pt, at, n);
}

/* The table may be walked at any time: every entry changes by one write, in program order. */
static void store(const struct pt *pt, uint64_t *entry, uint64_t value)
{
    __atomic_store_n(entry, value, __ATOMIC_RELEASE);
    flush(pt, entry, sizeof(*entry));
}

/* The OLD of an invalidation that changes no byte's translation. */
static void invalidate_shape(struct pt *pt, uint64_t offset, unsigned level)
{
    pt->owner->invalidate(pt, offset_to_va(pt, offset), span(level), (struct pt_attr){0});
}

static void tell(struct pt *pt, enum pt_step_kind kind, unsigned level, uint64_t offset,
                 uint64_t size, struct pt_attr old, struct pt_attr new)
{
    const struct pt_step step = {kind, (uint8_t)level, offset_to_va(pt, offset), size, old, new};
    if (pt->owner->told != NULL)
        pt->owner->told(pt, &step);
}

/* --- table pages ------------------------------------------------------------------------------ */

static void free_page(struct pt *pt, hpa_t page)
{
    assert(pt->pages > 0);
    pt->pages--;
    pt->owner->free(pt, page);
}

static hpa_t take_spare(struct pt *pt)
{
    assert(pt->spares > 0);
    hpa_t page = pt->spare;
    uint64_t *link = pt->owner->at(pt, page);
    pt->spare = hpa(link[0]);
    pt->spares--;
    link[0] = 0;
    return page;
}

static int reserve(struct pt *pt, uint64_t count)
{
    hpa_t page;
    while (pt->spares < count && pt->owner->alloc(pt, &page)) {
        assert(is_aligned(page.v, PAGE_SIZE));
        pt->owner->at(pt, page)[0] = pt->spare.v;
        pt->spare = page;
        pt->spares++;
        pt->pages++;
    }
    if (pt->spares == count)
        return 0;
    log_line("%s: no memory for %llu table pages; make the host pool larger", pt->format->name,
             (unsigned long long)count);
    while (pt->spares > 0)
        free_page(pt, take_spare(pt));
    return -ENOMEM;
}

static void free_tables(struct pt *pt, uint64_t entry, unsigned level)
{
    const uint64_t *table = table_of(pt, entry);
    for (unsigned i = 0; i < ENTRIES; i++)
        if (is_table(pt, table[i], level - 1))
            free_tables(pt, table[i], level - 1);
    free_page(pt, hpa(entry & pt->format->address));
}

/* --- what a change means for an entry --------------------------------------------------------- */

/* True where the leaf already says what the change wants, so that no part of it need be touched. */
static bool is_wanted(const struct pt *pt, const struct change *c, uint64_t leaf, unsigned level,
                      uint64_t offset)
{
    if (c->kind == CHANGE_UNMAP || !pt_same_attr(pt->format->attr(leaf, level), c->attr))
        return false;
    return c->kind == CHANGE_RETYPE || leaf_hpa(pt, leaf, level) - offset == c->delta;
}

static enum step decide(const struct pt *pt, const struct change *c, uint64_t entry, unsigned level,
                        uint64_t offset)
{
    if (!is_present(pt, entry) && c->kind != CHANGE_MAP)
        return STEP_KEEP;
    if (is_leaf(pt, entry, level) && is_wanted(pt, c, entry, level, offset))
        return STEP_KEEP;
    bool whole = c->start <= offset && offset + span(level) <= c->end;
    bool fits = true;
    if (c->kind == CHANGE_MAP)
        fits = level <= pt->max_leaf && is_aligned(offset + c->delta, span(level));
    else if (c->kind == CHANGE_RETYPE)
        fits = is_leaf(pt, entry, level);
    return whole && fits ? STEP_SET : STEP_DESCEND;
}

/* What STEP_SET puts in the place of OLD, of which only the address need be left. */
static uint64_t new_entry(const struct pt *pt, const struct change *c, uint64_t old, unsigned level,
                          uint64_t offset)
{
    if (c->kind == CHANGE_UNMAP)
        return 0;
    uint64_t to = c->kind == CHANGE_MAP ? offset + c->delta : leaf_hpa(pt, old, level);
    return make_leaf(pt, to, c->attr, level);
}

/* Entry I of the table below ENTRY, or of the one that would say the same as ENTRY. */
static uint64_t child_entry(const struct pt *pt, uint64_t entry, unsigned level, unsigned i)
{
    if (!is_present(pt, entry))
        return 0;
    if (is_table(pt, entry, level))
        return table_of(pt, entry)[i];
    return make_leaf(pt, leaf_hpa(pt, entry, level) + i * span(level - 1),
                     pt->format->attr(entry, level), level - 1);
}

/* First and last entry that a change meets in the table of LEVEL at OFFSET. */
struct slots {
    unsigned first, last;
};

static struct slots slots_of(const struct change *c, unsigned level, uint64_t offset)
{
    uint64_t first = max_u64(c->start, offset) - offset;
    uint64_t end = min_u64(c->end - offset, span(level + 1));
    assert(first < end);
    return (struct slots){(unsigned)(first / span(level)), (unsigned)((end - 1) / span(level))};
}

/* Table pages that a change will take below ENTRY: exactly what commit_table() takes. */
static uint64_t pages_needed(const struct pt *pt, const struct change *c, uint64_t entry,
                             unsigned level, uint64_t offset)
{
    assert(level > 1);
    uint64_t needed = 0;
    struct slots s = slots_of(c, level - 1, offset);
    for (unsigned i = s.first; i <= s.last; i++) {
        uint64_t child = child_entry(pt, entry, level, i);
        uint64_t at = offset + i * span(level - 1);
        if (decide(pt, c, child, level - 1, at) != STEP_DESCEND)
            continue;
        needed += is_table(pt, child, level - 1) ? 0 : 1;
        needed += pages_needed(pt, c, child, level - 1, at);
    }
    return needed;
}

/* --- the change ------------------------------------------------------------------------------- */

/* How many of S, from the first on, are leaves of the same attributes that C replaces (NULL: any).
 */
static unsigned leaf_run(const struct pt *pt, const struct change *c, const uint64_t *table,
                         struct slots s, unsigned level, uint64_t offset)
{
    struct pt_attr attr = pt->format->attr(table[s.first], level);
    unsigned i = s.first;
    while (i <= s.last && is_leaf(pt, table[i], level) &&
           pt_same_attr(pt->format->attr(table[i], level), attr) &&
           (c == NULL || decide(pt, c, table[i], level, offset + i * span(level)) == STEP_SET))
        i++;
    return i - s.first;
}

/* Invalidates every leaf below ENTRY, which the CPU no longer finds. */
static void invalidate_below(struct pt *pt, uint64_t entry, unsigned level, uint64_t offset)
{
    const uint64_t *table = table_of(pt, entry);
    level--;
    for (unsigned i = 0, n; i < ENTRIES; i += n) {
        uint64_t at = offset + i * span(level);
        n = 1;
        if (is_table(pt, table[i], level)) {
            invalidate_below(pt, table[i], level, at);
        } else if (is_leaf(pt, table[i], level)) {
            n = leaf_run(pt, NULL, table, (struct slots){i, ENTRIES - 1}, level, offset);
            pt->owner->invalidate(pt, offset_to_va(pt, at), n * span(level),
                                  pt->format->attr(table[i], level));
        }
    }
}

static void replace_table(struct pt *pt, const struct change *c, uint64_t *entry, unsigned level,
                          uint64_t offset)
{
    uint64_t old = *entry;
    store(pt, entry, 0);
    invalidate_below(pt, old, level, offset);
    invalidate_shape(pt, offset, level);
    free_tables(pt, old, level);
    store(pt, entry, new_entry(pt, c, 0, level, offset));
    tell(pt, PT_LEAVES, level, offset, span(level), (struct pt_attr){0}, c->attr);
}

/* Replaces a run of leaves with one invalidation. Returns its length. */
static unsigned replace_leaves(struct pt *pt, const struct change *c, uint64_t *table,
                               struct slots s, unsigned level, uint64_t offset)
{
    unsigned n = leaf_run(pt, c, table, s, level, offset);
    uint64_t at = offset + s.first * span(level);
    struct pt_attr old = pt->format->attr(table[s.first], level);
    assert(n > 0);
    for (unsigned i = s.first; i < s.first + n; i++)
        store(pt, &table[i], table[i] & ~pt->format->present);
    pt->owner->invalidate(pt, offset_to_va(pt, at), n * span(level), old);
    for (unsigned i = s.first; i < s.first + n; i++)
        store(pt, &table[i], new_entry(pt, c, table[i], level, offset + i * span(level)));
    tell(pt, PT_LEAVES, level, at, n * span(level), old, c->attr);
    return n;
}

/* STEP_SET for the first of S, and as many after it as go with it. Returns how many. */
static unsigned replace(struct pt *pt, const struct change *c, uint64_t *table, struct slots s,
                        unsigned level, uint64_t offset)
{
    uint64_t at = offset + s.first * span(level);
    uint64_t *entry = &table[s.first];
    if (is_leaf(pt, *entry, level))
        return replace_leaves(pt, c, table, s, level, offset);
    if (is_table(pt, *entry, level))
        replace_table(pt, c, entry, level, at);
    else
        store(pt, entry, new_entry(pt, c, *entry, level, at));
    return 1;
}

/* Puts a table in the place of a leaf or of nothing, that says the same. */
static void grow(struct pt *pt, uint64_t *entry, unsigned level, uint64_t offset)
{
    hpa_t page = take_spare(pt);
    uint64_t *table = pt->owner->at(pt, page), old = *entry;
    if (is_present(pt, old)) {
        for (unsigned i = 0; i < ENTRIES; i++)
            table[i] = child_entry(pt, old, level, i);
        store(pt, entry, 0);
        invalidate_shape(pt, offset, level);
    }
    flush(pt, table, PAGE_SIZE);
    store(pt, entry, make_link(pt, page, level - 1));
    if (is_present(pt, old)) {
        struct pt_attr attr = pt->format->attr(old, level);
        tell(pt, PT_SPLIT, level, offset, span(level), attr, attr);
    }
}

static bool is_empty(const struct pt *pt, const uint64_t *table)
{
    unsigned i = 0;
    while (i < ENTRIES && !is_present(pt, table[i]))
        i++;
    return i == ENTRIES;
}

/* True where one leaf of LEVEL says the same as all of TABLE, which is one level below. */
static bool is_one_leaf(const struct pt *pt, const uint64_t *table, unsigned level)
{
    unsigned below = level - 1;
    uint64_t first = leaf_hpa(pt, table[0], below);
    struct pt_attr attr = pt->format->attr(table[0], below);
    if (level > pt->max_leaf || !is_aligned(first, span(level)))
        return false;
    for (unsigned i = 0; i < ENTRIES; i++)
        if (!is_leaf(pt, table[i], below) ||
            leaf_hpa(pt, table[i], below) != first + i * span(below) ||
            !pt_same_attr(pt->format->attr(table[i], below), attr))
            return false;
    return true;
}

/* Frees the table below ENTRY if nothing or one leaf can take its place. */
static void shrink(struct pt *pt, uint64_t *entry, unsigned level, uint64_t offset)
{
    uint64_t old = *entry, new = 0;
    const uint64_t *table = table_of(pt, old);
    if (is_one_leaf(pt, table, level))
        new = make_leaf(pt, leaf_hpa(pt, table[0], level - 1),
                        pt->format->attr(table[0], level - 1), level);
    else if (!is_empty(pt, table))
        return;
    store(pt, entry, 0);
    invalidate_shape(pt, offset, level);
    free_page(pt, hpa(old & pt->format->address));
    store(pt, entry, new);
    if (new != 0) {
        struct pt_attr attr = pt->format->attr(new, level);
        tell(pt, PT_JOIN, level, offset, span(level), attr, attr);
    }
}

/* Makes the change in a table of LEVEL whose first entry stands for OFFSET. */
static void commit_table(struct pt *pt, const struct change *c, uint64_t *table, unsigned level,
                         uint64_t offset)
{
    struct slots s = slots_of(c, level, offset);
    while (s.first <= s.last) {
        uint64_t *entry = &table[s.first];
        uint64_t at = offset + s.first * span(level);
        enum step step = decide(pt, c, *entry, level, at);
        unsigned done = 1;
        if (step == STEP_SET) {
            done = replace(pt, c, table, s, level, offset);
        } else if (step == STEP_DESCEND) {
            if (!is_table(pt, *entry, level))
                grow(pt, entry, level, at);
            commit_table(pt, c, table_of(pt, *entry), level - 1, at);
            shrink(pt, entry, level, at);
        }
        s.first += done;
    }
}

static int apply(struct pt *pt, struct change c, uint64_t va, uint64_t size)
{
    bool reached = va_to_offset(pt, va, &c.start);
    assert(reached && is_aligned(va | size, PAGE_SIZE) && size <= reach(pt) - c.start);
    if (size == 0)
        return 0;
    c.end = c.start + size;
    assert(offset_to_va(pt, c.end - 1) - va == size - 1);
    c.delta -= c.start;
    uint64_t root = root_link(pt);
    unsigned levels = pt->format->levels;
    int error = reserve(pt, pages_needed(pt, &c, root, levels + 1, 0));
    if (error != 0)
        return error;
    commit_table(pt, &c, table_of(pt, root), levels, 0);
    assert(pt->spares == 0);
    return 0;
}

/* True if ATTR survives being written as bits: the format can say it. */
static bool is_sayable(const struct pt *pt, struct pt_attr attr)
{
    uint64_t bits = pt->format->leaf(attr, 1);
    return is_present(pt, bits) && pt_same_attr(pt->format->attr(bits, 1), attr);
}

/* --- the interface ---------------------------------------------------------------------------- */

int pt_init(struct pt *pt, const struct pt_format *format, const struct pt_owner *owner,
            void *context, unsigned max_leaf)
{
    assert(format->levels >= format->largest_leaf && format->levels <= MAX_LEVELS);
    assert(max_leaf >= 1 && max_leaf <= 3);
    *pt = (struct pt){
        .format = format,
        .owner = owner,
        .context = context,
        .max_leaf = max_leaf < format->largest_leaf ? (uint8_t)max_leaf : format->largest_leaf,
    };
    int error = reserve(pt, 1);
    if (error == 0) {
        pt->root = take_spare(pt);
        flush(pt, table_of(pt, pt->root.v), PAGE_SIZE);
    }
    return error;
}

/* The entry for OFFSET in the table of LEVEL, which must be there. */
static uint64_t *entry_of_level(const struct pt *pt, uint64_t offset, unsigned level)
{
    uint64_t entry = root_link(pt);
    for (unsigned at = pt->format->levels;; at--) {
        assert(is_table(pt, entry, at + 1));
        uint64_t *table = table_of(pt, entry);
        if (at == level)
            return &table[offset / span(at) % ENTRIES];
        entry = table[offset / span(at) % ENTRIES];
    }
}

void pt_share(struct pt *to, const struct pt *from, uint64_t va)
{
    enum { LEVEL = 3 };
    uint64_t offset;
    bool reached = va_to_offset(from, va, &offset);
    assert(reached && is_aligned(va, GIB) && to->format == from->format);
    uint64_t *entry = entry_of_level(to, offset, LEVEL);
    uint64_t shared = *entry_of_level(from, offset, LEVEL);
    assert(!is_present(to, *entry) && is_table(from, shared, LEVEL));
    store(to, entry, shared);
}

void pt_destroy(struct pt *pt)
{
    free_tables(pt, root_link(pt), pt->format->levels + 1u);
    assert(pt->pages == 0);
}

int pt_map(struct pt *pt, uint64_t va, hpa_t hpa, uint64_t size, struct pt_attr attr)
{
    assert(is_sayable(pt, attr) && is_aligned(hpa.v, PAGE_SIZE));
    assert((hpa.v & ~pt->format->address) == 0);
    assert(size <= pt->format->address + PAGE_SIZE - hpa.v);
    return apply(pt, (struct change){.kind = CHANGE_MAP, .delta = hpa.v, .attr = attr}, va, size);
}

int pt_unmap(struct pt *pt, uint64_t va, uint64_t size)
{
    return apply(pt, (struct change){.kind = CHANGE_UNMAP}, va, size);
}

int pt_retype(struct pt *pt, uint64_t va, uint64_t size, struct pt_attr attr)
{
    assert(is_sayable(pt, attr));
    return apply(pt, (struct change){.kind = CHANGE_RETYPE, .attr = attr}, va, size);
}

/* The entry that answers for OFFSET: the first on the way that leads to no table. */
static uint64_t *find_entry(const struct pt *pt, uint64_t offset, unsigned *level)
{
    uint64_t *table = pt->owner->at(pt, pt->root);
    for (*level = pt->format->levels;; --*level) {
        uint64_t *entry = &table[offset / span(*level) % ENTRIES];
        if (!is_table(pt, *entry, *level))
            return entry;
        table = table_of(pt, *entry);
    }
}

struct pt_leaf pt_query(const struct pt *pt, uint64_t va)
{
    uint64_t offset;
    unsigned level = pt->format->levels;
    if (!va_to_offset(pt, va, &offset))
        return (struct pt_leaf){
            .level = (uint8_t)level,
            .next = pt->format->sign_extended ? -(reach(pt) / 2) : UINT64_MAX,
        };
    uint64_t entry = *find_entry(pt, offset, &level);
    uint64_t inside = offset & (span(level) - 1);
    uint64_t next = offset_to_va(pt, offset - inside) + span(level);
    struct pt_leaf answer = {.level = (uint8_t)level, .next = next == 0 ? UINT64_MAX : next};
    if (is_present(pt, entry)) {
        answer.present = true;
        answer.hpa = hpa(leaf_hpa(pt, entry, level) + inside);
        answer.attr = pt->format->attr(entry, level);
    }
    return answer;
}

uint64_t *pt_entry(struct pt *pt, uint64_t va)
{
    uint64_t offset;
    unsigned level;
    bool reached = va_to_offset(pt, va, &offset);
    assert(reached);
    uint64_t *entry = find_entry(pt, offset, &level);
    assert(level == 1 && is_present(pt, *entry));
    return entry;
}
