/* The alias detector: runs of pages out of page tables, sorted by memory, and swept once. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/instruments/alias.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "vmm/vcpu/walk_format.h"

/* What holds from START on for SIZE bytes. */
struct known {
    uint64_t start, size;
    struct alias_type type;
};

enum { PAT_TYPES = 8, SEEN = 900, ENTRIES = PAGE_SIZE / 8 };

struct alias_scan {
    const struct alias_memory *memory;
    unsigned steps; /* that are left */
    unsigned count, room;
    unsigned root;
    struct walk_mode mode;
    struct known known[PAT_TYPES];   /* the last answer for each type by the PAT */
    uint64_t seen[SEEN];             /* tables and their levels, those that happen to be kept */
    uint64_t table[LEVELS][ENTRIES]; /* those on the way to the one that is being read */
    struct alias_run run[];
};
static_assert(sizeof(struct alias_scan) <= ALIAS_LEAST - PAGE_SIZE, "there is room for runs");

static bool is_cacheable(unsigned effective)
{
    return effective == EFFECTIVE_WB || effective == EFFECTIVE_WT || effective == EFFECTIVE_WP;
}

/* False: the steps are spent. */
static bool spend(struct alias_scan *scan, unsigned steps)
{
    bool enough = steps <= scan->steps;
    scan->steps = enough ? scan->steps - steps : 0;
    return enough;
}

static uint64_t run_end(const struct alias_run *run)
{
    return run->hpa.v + run->pages * PAGE_SIZE;
}

/* --- sorting ---------------------------------------------------------------------------------- */

/* Of what begins at one address the longest comes first, and then the lowest path. */
static bool is_before(const struct alias_run *a, const struct alias_run *b)
{
    if (a->hpa.v != b->hpa.v)
        return a->hpa.v < b->hpa.v;
    if (a->pages != b->pages)
        return a->pages > b->pages;
    return a->root != b->root ? a->root < b->root : a->linear.v < b->linear.v;
}

static void swap(struct alias_run *a, struct alias_run *b)
{
    struct alias_run old = *a;
    *a = *b;
    *b = old;
}

/* Makes a heap of the COUNT runs from AT on, all below which are heaps. */
static void sift_down(struct alias_run *run, unsigned at, unsigned count)
{
    for (unsigned child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && is_before(&run[child], &run[child + 1]))
            child++;
        if (!is_before(&run[at], &run[child]))
            return;
        swap(&run[at], &run[child]);
    }
}

/* Heapsort: in place, and no order of runs makes it slow. */
static void sort(struct alias_scan *scan)
{
    unsigned n = scan->count;
    for (unsigned at = n / 2; at-- > 0;)
        sift_down(scan->run, at, n);
    while (n > 1) {
        n--;
        swap(&scan->run[0], &scan->run[n]);
        sift_down(scan->run, 0, n);
    }
}

/* --- collecting ------------------------------------------------------------------------------- */

/* Forgets runs that lie in one of the same cacheability, which is in the same aliases. */
static bool make_room(struct alias_scan *scan)
{
    uint64_t end[2] = {0, 0};
    unsigned kept = 0;
    if (!spend(scan, scan->count))
        return false;
    sort(scan);
    for (unsigned i = 0; i < scan->count; i++) {
        const struct alias_run *run = &scan->run[i];
        bool cacheable = is_cacheable(run->effective);
        if (run_end(run) <= end[cacheable])
            continue;
        end[cacheable] = run_end(run);
        scan->run[kept++] = *run;
    }
    scan->count = kept;
    return kept <= scan->room - scan->room / 4;
}

static bool continues(const struct alias_run *last, const struct alias_run *run)
{
    uint64_t size = last->pages * PAGE_SIZE;
    return run->hpa.v == last->hpa.v + size && run->gpa.v == last->gpa.v + size &&
           run->linear.v == last->linear.v + size && run->root == last->root &&
           run->page_shift == last->page_shift && run->pat_type == last->pat_type &&
           run->effective == last->effective && run->pages <= UINT32_MAX - last->pages;
}

static bool add_run(struct alias_scan *scan, const struct alias_run *run)
{
    struct alias_run *last = scan->count > 0 ? &scan->run[scan->count - 1] : NULL;
    if (last != NULL && continues(last, run)) {
        last->pages += run->pages;
        return true;
    }
    if (scan->count == scan->room && !make_room(scan))
        return false;
    scan->run[scan->count++] = *run;
    return true;
}

/* What the byte at AT is, and what follows it; NULL: the steps are spent. */
static const struct known *type_at(struct alias_scan *scan, gpa_t at, enum memtype pat)
{
    struct known *known = &scan->known[pat];
    if (at.v - known->start < known->size)
        return known;
    if (!spend(scan, 1))
        return NULL;
    scan->memory->type(scan->memory->context, at, pat, &known->type);
    assert(known->type.next > at.v);
    known->start = at.v;
    known->size = known->type.next - at.v;
    return known;
}

/* The page that an entry maps at LINEAR, in parts of one type. */
static bool add_page(struct alias_scan *scan, unsigned level, uint64_t entry, uint64_t linear)
{
    const struct walk_mode *mode = &scan->mode;
    enum memtype pat = leaf_type(mode, level, entry);
    gpa_t at = leaf_gpa(mode, level, entry);
    uint64_t end = at.v + (1ull << level_shift(mode, level));
    for (uint64_t part; at.v < end; at.v += part, linear += part) {
        const struct known *known = type_at(scan, at, pat);
        if (known == NULL)
            return false;
        uint64_t offset = at.v - known->start;
        part = min_u64(end - at.v, known->size - offset);
        const struct alias_run run = {
            .hpa = hpa(known->type.hpa.v + offset),
            .gpa = at,
            .linear = gva(linear),
            .pages = (uint32_t)(part / PAGE_SIZE),
            .root = (uint8_t)scan->root,
            .page_shift = (uint8_t)level_shift(mode, level),
            .pat_type = (uint8_t)pat,
            .effective = known->type.effective,
        };
        if (known->type.present && !add_run(scan, &run))
            return false;
    }
    return true;
}

/* --- reading ---------------------------------------------------------------------------------- */

/*
 * Whether a table has been read as one of LEVEL: the types of what it maps are the same by every
 * path. Some are forgotten, and read again.
 */
static bool was_seen(struct alias_scan *scan, unsigned level, gpa_t table)
{
    uint64_t name = table.v + level; /* a table is aligned to 32 bytes at least */
    uint64_t *seen = &scan->seen[(table.v / PAGE_SIZE + level * (SEEN / LEVELS)) % SEEN];
    if (*seen == name)
        return true;
    *seen = name;
    return false;
}

/* Bits above those that are translated are copies of the highest of them. */
static uint64_t canonical(const struct walk_mode *mode, uint64_t linear)
{
    unsigned shift = 64 - 9 - level_shift(mode, mode->root);
    return mode->paging == PAGING_LONG ? (uint64_t)((int64_t)(linear << shift) >> shift) : linear;
}

/* Makes the table of LEVEL that PARENT points to that of the scan. */
static int take_table(struct alias_scan *scan, unsigned level, uint64_t parent, unsigned size)
{
    const struct walk_mode *mode = &scan->mode;
    const struct alias_memory *memory = scan->memory;
    gpa_t at = entry_gpa(mode, level, parent, 0);
    bool pdptes = level == mode->pdpte_level;
    if (pdptes && mode->state->pdpte_valid) {
        memcpy(scan->table[level - 1], mode->state->pdpte, size);
        return 0;
    }
    if (was_seen(scan, level, at))
        return -EEXIST;
    return memory->read(memory->context, at, size, entry_type(mode->state, parent, 0),
                        scan->table[level - 1]);
}

/* All that a table of LEVEL maps from LINEAR on. False: the scan gives up. */
static bool read_table(struct alias_scan *scan, unsigned level, uint64_t parent, uint64_t linear)
{
    const struct walk_mode *mode = &scan->mode;
    unsigned width = mode->width, size = level == mode->pdpte_level ? 32 : (unsigned)PAGE_SIZE;
    if (take_table(scan, level, parent, size) != 0)
        return true;
    if (!spend(scan, size / width))
        return false;
    for (unsigned i = 0; i < size; i += width) {
        /* Kernels have a map of all memory in their half, which covers most of the rest. */
        unsigned offset = level > LEVEL_PDPT ? size - width - i : i;
        uint64_t index = offset / width, entry = scan->table[level - 1][offset / 8];
        if (width == 4)
            entry = (uint32_t)(entry >> offset % 8 * 8);
        if (!(entry & PTE_P))
            continue;
        bool leaf = is_leaf(mode, level, entry);
        if (entry & reserved_bits(mode, level, leaf))
            continue;
        uint64_t at = canonical(mode, linear + (index << level_shift(mode, level)));
        if (leaf ? !add_page(scan, level, entry, at) : !read_table(scan, level - 1, entry, at))
            return false;
    }
    return true;
}

struct alias_scan *alias_begin(void *zeroed, size_t size, const struct alias_memory *memory)
{
    struct alias_scan *scan = zeroed;
    assert(size >= ALIAS_LEAST);
    scan->memory = memory;
    scan->steps = ALIAS_STEPS;
    scan->room = (unsigned)((size - sizeof(*scan)) / sizeof(scan->run[0]));
    return scan;
}

int alias_read(struct alias_scan *scan, const struct walk_state *state, unsigned root)
{
    walk_mode_init(&scan->mode, state);
    scan->root = root;
    return read_table(scan, scan->mode.root, root_entry(&scan->mode), 0) ? 0 : -E2BIG;
}

/* --- finding ---------------------------------------------------------------------------------- */

/* The part of a run that begins at START. */
static struct alias_run part_of(const struct alias_run *run, uint64_t start, uint64_t end)
{
    struct alias_run part = *run;
    uint64_t offset = start - run->hpa.v;
    part.hpa.v += offset;
    part.gpa.v += offset;
    part.linear.v += offset;
    part.pages = (uint32_t)((end - start) / PAGE_SIZE);
    return part;
}

unsigned alias_find(struct alias_scan *scan,
                    void (*found)(void *context, const struct alias_run *cacheable,
                                  const struct alias_run *uncacheable),
                    void *context)
{
    /* Of the runs so far that which ends last, by cacheability; what is below DONE is told. */
    const struct alias_run *last[2] = {NULL, NULL};
    uint64_t done = 0;
    unsigned n = 0;
    sort(scan);
    for (unsigned i = 0; i < scan->count; i++) {
        const struct alias_run *run = &scan->run[i];
        bool cacheable = is_cacheable(run->effective);
        const struct alias_run *other = last[!cacheable];
        uint64_t start = max_u64(done, run->hpa.v);
        uint64_t end = other != NULL ? min_u64(run_end(run), run_end(other)) : 0;
        if (start < end) {
            struct alias_run one = part_of(run, start, end), two = part_of(other, start, end);
            found(context, cacheable ? &one : &two, cacheable ? &two : &one);
            done = end;
            n++;
        }
        if (last[cacheable] == NULL || run_end(last[cacheable]) < run_end(run))
            last[cacheable] = run;
    }
    return n;
}
