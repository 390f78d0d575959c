/*
 * Fuzzes the alias detector: whatever the tables say it ends, stays within its memory and its
 * steps, and each alias is one: both paths lead to it by a walk, through types of different
 * cacheability.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/errno.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/instruments/alias.h"

enum { TABLES = 16, SCAN_SIZE = 12 * PAGE_SIZE, ROOTS = 2 };

/* The input: what does not fit into the state makes up the guest's entries. */
struct input {
    uint64_t cr4, efer, pat;
    uint64_t root[ROOTS], pdpte[4];
    uint8_t phys_bits, flags, reach, part;
};

struct guest {
    const uint8_t *bytes;
    size_t size;
    struct input in;
    struct walk_state state;
    uint64_t work, end;
};

/* The entry of WIDTH bytes at GPA, as the input makes it: most lead to a table or a near page. */
static uint64_t entry_at(const struct guest *guest, uint64_t gpa, unsigned width)
{
    uint64_t value = 0;
    if (guest->size < sizeof(value))
        return 0;
    size_t at = (size_t)(gpa / width * 0x9e3779b97f4a7c15 % (guest->size - sizeof(value) + 1));
    memcpy(&value, guest->bytes + at, width);
    return gpa / width % 8 < guest->in.reach % 8u ? value & (64 * MIB - 1) : value;
}

static int guest_read(void *context, gpa_t gpa, unsigned size, enum memtype type, uint64_t *table)
{
    struct guest *guest = context;
    unsigned width = guest->state.cr4 & CR4_PAE || guest->state.efer & EFER_LMA ? 8 : 4;
    require((size == PAGE_SIZE || size == 32) && gpa.v % size == 0 && gpa.v >> 52 == 0);
    require((unsigned)type <= MT_UC_MINUS);
    if (gpa.v >= TABLES * PAGE_SIZE)
        return -EIO;
    guest->work += size / width;
    memset(table, 0, size);
    for (unsigned i = 0; i < size; i += width)
        table[i / 8] |= entry_at(guest, gpa.v + i, width) << i % 8 * 8;
    return 0;
}

static int walk_read(void *context, gpa_t gpa, unsigned width, enum memtype type, uint64_t *value)
{
    (void)type;
    *value = entry_at(context, gpa.v, width);
    return gpa.v >= TABLES * PAGE_SIZE ? -EIO : 0;
}

/* Parts of 2^PART pages, some of them holes, each with a type of its own for each of the PAT's. */
static void guest_type(void *context, gpa_t gpa, enum memtype pat, struct alias_type *out)
{
    struct guest *guest = context;
    unsigned shift = 12 + guest->in.part % 16;
    uint64_t part = gpa.v >> shift, mixed = (part * 8 + pat) * 0x9e3779b97f4a7c15 >> 40;
    guest->work++;
    *out = (struct alias_type){.present = part % 7 != 3,
                               .effective = (uint8_t)(mixed % EFFECTIVES),
                               .hpa = hpa(gpa.v + 5 * GIB),
                               .next = (part + 1) << shift};
}

static bool is_cacheable(unsigned effective)
{
    return effective == EFFECTIVE_WB || effective == EFFECTIVE_WT || effective == EFFECTIVE_WP;
}

static void check_page(struct guest *guest, const struct alias_run *run, uint64_t offset)
{
    const struct walk_memory memory = {walk_read, NULL, guest};
    struct walk_state state = guest->state;
    struct walk_result at;
    struct alias_type type;
    state.cr3 = guest->in.root[run->root];
    state.pdpte_valid = guest->state.pdpte_valid && run->root == 0;
    state.cr4 &= ~CR4_SMAP; /* who may use a mapping does not matter */
    gva_t linear = gva(run->linear.v + offset);
    require(guest_walk(&state, &memory, linear, WALK_READ | WALK_PEEK, &at) == 0);
    require(at.gpa.v == run->gpa.v + offset && at.page == 1ull << run->page_shift);
    require(at.pat_type == run->pat_type);
    guest_type(guest, at.gpa, (enum memtype)at.pat_type, &type);
    require(type.present && type.effective == run->effective);
    require(type.hpa.v == run->hpa.v + offset);
}

static void found(void *context, const struct alias_run *cacheable,
                  const struct alias_run *uncacheable)
{
    struct guest *guest = context;
    uint64_t size = cacheable->pages * PAGE_SIZE;
    require(size != 0 && uncacheable->pages == cacheable->pages);
    require(cacheable->hpa.v == uncacheable->hpa.v && cacheable->hpa.v >= guest->end);
    require(is_cacheable(cacheable->effective) && !is_cacheable(uncacheable->effective));
    guest->end = cacheable->hpa.v + size;
    for (unsigned i = 0; i < 2; i++) {
        const struct alias_run *run = i == 0 ? cacheable : uncacheable;
        require(run->root < ROOTS);
        check_page(guest, run, 0);
        check_page(guest, run, size / 2 / PAGE_SIZE * PAGE_SIZE);
        check_page(guest, run, size - PAGE_SIZE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint64_t room[SCAN_SIZE / 8];
    struct guest guest = {.bytes = data + sizeof(guest.in)};
    if (size < sizeof(guest.in))
        return 0;
    guest.size = size - sizeof(guest.in);
    memcpy(&guest.in, data, sizeof(guest.in));
    guest.state = (struct walk_state){
        .cr0 = CR0_PG,
        .cr4 = guest.in.cr4,
        .efer = guest.in.efer,
        .pdpte_valid = guest.in.flags & 1,
        .pat = guest.in.pat & 0x0707070707070707,
        .phys_bits = (uint8_t)(32 + guest.in.phys_bits % 21),
        .has_1g = guest.in.flags & 2,
        .reserves_bit8 = guest.in.flags & 4,
    };
    memcpy(guest.state.pdpte, guest.in.pdpte, sizeof(guest.state.pdpte));
    const struct alias_memory memory = {guest_read, guest_type, &guest};
    memset(room, 0, sizeof(room));
    struct alias_scan *scan = alias_begin(room, sizeof(room), &memory);
    struct walk_state state = guest.state;
    int error = 0;
    for (unsigned i = 0; i < ROOTS && error == 0; i++) {
        state.cr3 = guest.in.root[i];
        error = alias_read(scan, &state, i);
        state.pdpte_valid = false;
    }
    require(error == 0 || error == -E2BIG);
    require(guest.work <= ALIAS_STEPS + PAGE_SIZE / 4);
    alias_find(scan, found, &guest);
    return 0;
}
