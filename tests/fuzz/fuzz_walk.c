/*
 * Fuzzes the guest page-table walker. In memory that stays as it is, every read, every answer and
 * every accessed and dirty bit is that of a second walker, written here from the manual and for
 * nothing but to be compared; the short walk for code knows no other answer. In memory that a
 * hostile guest keeps changing, a walk ends soon, reads and changes only aligned entries, sets only
 * accessed and dirty bits, and a success means what it says.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/errno.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/vcpu/walk_code.h"

enum { ACCESSED = 0x20, DIRTY = 0x40, MOST_READS = 5 * 16, MOST_LEVELS = 5 };

/* The input: what does not fit into the state makes up the guest's entries, and its changes. */
struct input {
    uint64_t cr0, cr3, cr4, efer, rflags, pat, address;
    uint64_t pdpte[4];
    uint8_t cpl, phys_bits, access, flags;
    uint8_t hostility; /* up to 128: none */
};

/* A read of an entry, or bits that were set in one. */
struct touch {
    uint64_t gpa, value, bits;
    unsigned width;
    enum memtype type;
};

/* What a walker did; of a long walk in changing memory, the beginning. */
struct record {
    struct touch reads[MOST_LEVELS], sets[MOST_LEVELS];
    unsigned read_count, set_count;
};

struct guest {
    const uint8_t *bytes;
    size_t size;
    uint64_t seed;
    uint8_t hostility; /* of 256 */
    bool write;
    struct record did;
};

static void note(struct touch *touches, unsigned *count, struct touch touch)
{
    if (*count < MOST_LEVELS)
        touches[*count] = touch;
    ++*count;
}

/* The entry of WIDTH bytes at GPA, as the input makes it. */
static uint64_t entry_at(const struct guest *guest, uint64_t gpa, unsigned width)
{
    uint64_t value = 0;
    if (guest->size < sizeof(value))
        return 0;
    size_t at = (size_t)(gpa / 8 * 0x9e3779b97f4a7c15 % (guest->size - sizeof(value) + 1));
    memcpy(&value, guest->bytes + at, width);
    return value;
}

static bool is_missing(uint64_t gpa)
{
    return gpa % 0x100000 == 0xff000;
}

static bool is_hostile(struct guest *guest)
{
    guest->seed = guest->seed * 6364136223846793005 + 1442695040888963407;
    return (guest->seed >> 33) % 256 < guest->hostility;
}

static int guest_read(void *context, gpa_t gpa, unsigned width, enum memtype type, uint64_t *value)
{
    struct guest *guest = context;
    require(guest->did.read_count < MOST_READS);
    require(width == 4 || width == 8);
    require(gpa.v % width == 0 && gpa.v >> 52 == 0);
    require((unsigned)type <= MT_UC_MINUS);
    *value = entry_at(guest, gpa.v, width);
    if (is_hostile(guest))
        *value ^= 1ull << guest->seed % (8 * width);
    note(guest->did.reads, &guest->did.read_count, (struct touch){gpa.v, *value, 0, width, type});
    return is_missing(gpa.v) ? -EIO : 0;
}

static int guest_set_bits(void *context, gpa_t gpa, unsigned width, enum memtype type, uint64_t old,
                          uint64_t bits)
{
    struct guest *guest = context;
    require(gpa.v % width == 0 && (unsigned)type <= MT_UC_MINUS);
    require(bits == ACCESSED || ((bits & DIRTY) && guest->write));
    require((bits & ~(uint64_t)(ACCESSED | DIRTY)) == 0);
    require((old & 1) && (old & bits) != bits);
    note(guest->did.sets, &guest->did.set_count, (struct touch){gpa.v, old, bits, width, type});
    return is_hostile(guest) ? -EEXIST : 0;
}

/* --- the second walker ------------------------------------------------------------------------ */

enum mode { MODE_32, MODE_PAE, MODE_LONG };

struct reference {
    const struct walk_state *state;
    const struct guest *guest;
    uint64_t address;
    unsigned access;
    enum mode mode;
    struct walk_result out;
    struct record did;
    /* Of the entries so far, but for PAE's PDPTEs, which have no such bits. */
    bool writable, user, no_execute;
};

/* Bits FIRST to LAST, FIRST <= LAST; otherwise none. */
static uint64_t span(unsigned first, unsigned last)
{
    uint64_t mask = 0;
    for (unsigned i = first; i <= last; i++)
        mask |= 1ull << i;
    return mask;
}

static bool nx_is_on(const struct reference *r)
{
    return r->mode != MODE_32 && (r->state->efer & EFER_NXE);
}

/* An implicit access to a system structure is a supervisor-mode one at any CPL. */
static bool in_user_mode(const struct reference *r)
{
    return !(r->access & WALK_SYSTEM) && r->state->cpl == 3;
}

/* SDM volume 3, "Page-Fault Exceptions": P, W/R, U/S, RSVD, I/D are bits 0 to 4. */
static int fault(struct reference *r, bool present, bool reserved)
{
    bool fetch = r->access & WALK_FETCH;
    r->out.error = (present ? 1u : 0) | (r->access & WALK_WRITE ? 2u : 0) |
                   (in_user_mode(r) ? 4u : 0) | (reserved ? 8u : 0);
    if (fetch && (nx_is_on(r) || (r->state->cr4 & CR4_SMEP)))
        r->out.error |= 16;
    return -EFAULT;
}

/* SDM volume 3, "Determination of Access Rights". */
static bool may_access(const struct reference *r)
{
    const struct walk_state *state = r->state;
    bool fetch = r->access & WALK_FETCH, write = r->access & WALK_WRITE;
    bool data = write || (r->access & WALK_READ);
    if (fetch && r->no_execute)
        return false;
    if (in_user_mode(r))
        return r->user && (!write || r->writable);
    if (fetch && r->user && (state->cr4 & CR4_SMEP))
        return false;
    if (data && r->user && (state->cr4 & CR4_SMAP) &&
        ((r->access & WALK_SYSTEM) || !(state->rflags & RFLAGS_AC)))
        return false;
    return !write || r->writable || !(state->cr0 & CR0_WP);
}

/* The memory type that the PAT gives for PWT, PCD (bits 3, 4 of VALUE) and a PAT bit. */
static enum memtype type_of(const struct reference *r, uint64_t value, bool pat_bit)
{
    unsigned index = (value & 8 ? 1u : 0) + (value & 16 ? 2u : 0) + (pat_bit ? 4u : 0);
    return (enum memtype)(uint8_t)(r->state->pat >> 8 * index);
}

/* The bits that must be 0 in a present entry: "Formats of CR3 and Paging-Structure Entries". */
static uint64_t must_be_zero(const struct reference *r, unsigned level, bool page)
{
    unsigned width = r->state->phys_bits;
    uint64_t mask = r->mode == MODE_LONG ? span(width, 51) : span(width, 62);
    if (r->mode == MODE_32) /* a 4 MiB page: bits 20:13 are address bits 39:32 */
        return page && level == 2 ? span(21, 21) | (width < 40 ? span(width - 19, 20) : 0) : 0;
    if (r->mode == MODE_PAE && level == 3) /* bit 5: the accessed bit, where a CPU walks them */
        return span(1, 2) | span(6, 8) | span(width, 63);
    if (!nx_is_on(r))
        mask |= span(63, 63);
    if (page && level == 2)
        mask |= span(13, 20);
    if (page && level == 3)
        mask |= span(13, 29);
    if (!page) /* no bit 7 where it would not make a page */
        mask |= span(7, 7);
    return mask;
}

static bool maps_page(const struct reference *r, unsigned level, uint64_t entry)
{
    bool large = entry & 0x80;
    if (level == 1)
        return true;
    if (r->mode == MODE_32)
        return large && (r->state->cr4 & CR4_PSE);
    return large && (level == 2 || (level == 3 && r->mode == MODE_LONG && r->state->has_1g));
}

/* An entry of LEVEL that allows the access so far. */
static void take_rights(struct reference *r, unsigned level, uint64_t entry)
{
    if (r->mode == MODE_PAE && level == 3)
        return;
    r->writable = r->writable && (entry & 2);
    r->user = r->user && (entry & 4);
    r->no_execute = r->no_execute || (nx_is_on(r) && entry >> 63);
}

/* Where the table begins that ENTRY (CR3 for the highest) points to, for entries of LEVEL. */
static uint64_t table_of(const struct reference *r, unsigned level, uint64_t entry)
{
    if (r->mode == MODE_PAE && level == 3)
        return entry & span(5, 31);
    return entry & (r->mode == MODE_32 ? span(12, 31) : span(12, r->state->phys_bits - 1u));
}

/* Reads the entry of LEVEL from memory. */
static int read_one(struct reference *r, unsigned level, uint64_t parent, uint64_t *entry)
{
    unsigned width = r->mode == MODE_32 ? 4 : 8, count = 4096 / width;
    uint64_t page_number = r->address / 4096;
    for (unsigned i = 1; i < level; i++)
        page_number /= count;
    uint64_t gpa = table_of(r, level, parent) + page_number % count * width;
    if (r->mode == MODE_PAE && level == 3)
        gpa = table_of(r, level, parent) + r->address / GIB * width;
    *entry = entry_at(r->guest, gpa, width);
    note(r->did.reads, &r->did.read_count,
         (struct touch){gpa, *entry, 0, width, type_of(r, parent, false)});
    r->out.at.v = gpa;
    return is_missing(gpa) ? -EIO : 0;
}

/* An entry of LEVEL from memory or, of PAE, from the CPU, which has checked it. */
static int next_entry(struct reference *r, unsigned level, uint64_t parent, uint64_t *entry)
{
    if (r->mode == MODE_PAE && level == 3 && r->state->pdpte_valid) {
        *entry = r->state->pdpte[r->address / GIB];
        return *entry & 1 ? 0 : fault(r, false, false);
    }
    int error = read_one(r, level, parent, entry);
    if (error != 0)
        return error;
    if (!(*entry & 1))
        return fault(r, false, false);
    bool page = maps_page(r, level, *entry);
    return *entry & must_be_zero(r, level, page) ? fault(r, true, true) : 0;
}

/* The translation by the leaf ENTRY of LEVEL. */
static void finish(struct reference *r, unsigned level, uint64_t entry)
{
    static const uint64_t sizes[] = {0, 4 * KIB, 2 * MIB, GIB};
    uint64_t page = r->mode == MODE_32 && level == 2 ? 4 * MIB : sizes[level];
    uint64_t frame = entry & span(12, r->state->phys_bits - 1u);
    if (page == 4 * MIB)
        frame = (entry & span(22, 31)) + ((entry >> 13 & 0xff) << 32);
    r->out.page = page;
    r->out.gpa.v = frame / page * page + r->address % page;
    r->out.pat_type = (uint8_t)type_of(r, entry, entry & (level == 1 ? 1u << 7 : 1u << 12));
    r->out.writable = r->writable;
    r->out.user = r->user;
    r->out.executable = !r->no_execute;
}

/* "Accessed and Dirty Flags": in each entry used, from the root; dirty where a page is written. */
static void expect_flags(struct reference *r)
{
    for (unsigned i = 0; i < r->did.read_count; i++) {
        const struct touch *read = &r->did.reads[i];
        bool leaf = i + 1 == r->did.read_count;
        bool pdpte = r->mode == MODE_PAE && i == 0 && !r->state->pdpte_valid;
        uint64_t flags = leaf && (r->access & WALK_WRITE) ? ACCESSED | DIRTY : ACCESSED;
        if (pdpte || (read->value & flags) == flags)
            continue;
        struct touch set = *read;
        set.bits = flags;
        note(r->did.sets, &r->did.set_count, set);
    }
}

static int walk_tables(struct reference *r, unsigned levels, uint64_t cr3)
{
    uint64_t entry = cr3;
    unsigned level = levels + 1;
    do {
        level--;
        uint64_t parent = entry;
        int error = next_entry(r, level, parent, &entry);
        if (error != 0)
            return error;
        take_rights(r, level, entry);
    } while (!maps_page(r, level, entry));
    finish(r, level, entry);
    if (!may_access(r))
        return fault(r, true, false);
    expect_flags(r);
    return 0;
}

/* "Paging Modes and Control Bits". */
static int reference_walk(struct reference *r)
{
    const struct walk_state *state = r->state;
    uint64_t cr3 = state->cr3;
    r->writable = r->user = true;
    if (!(state->efer & EFER_LMA)) {
        r->address = (uint32_t)r->address;
        r->mode = state->cr4 & CR4_PAE ? MODE_PAE : MODE_32;
        return walk_tables(r, r->mode == MODE_PAE ? 3 : 2, cr3);
    }
    r->mode = MODE_LONG;
    unsigned levels = state->cr4 & CR4_LA57 ? 5 : 4;
    int64_t sign = (int64_t)r->address >> (9 * levels + 11);
    if (sign != 0 && sign != -1)
        return -EINVAL;
    if (state->cr4 & CR4_PCIDE) /* bits 11:0 are the PCID; PWT and PCD count as 0 */
        cr3 &= ~0xfffull;
    return walk_tables(r, levels, cr3);
}

static void same_touches(const struct touch *a, const struct touch *b, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        require(a[i].gpa == b[i].gpa && a[i].value == b[i].value && a[i].bits == b[i].bits);
        require(a[i].width == b[i].width && a[i].type == b[i].type);
    }
}

/* Of a guest that changes nothing: RESULT and OUT are those of the second walker. */
static void compare(const struct walk_state *state, const struct guest *guest, uint64_t address,
                    unsigned access, int result, const struct walk_result *out)
{
    static struct reference r;
    r = (struct reference){.state = state, .guest = guest, .address = address, .access = access};
    const struct walk_result *want = &r.out;
    int expected = reference_walk(&r);
    require(result == expected);
    require(guest->did.read_count == r.did.read_count && guest->did.set_count == r.did.set_count);
    same_touches(guest->did.reads, r.did.reads, r.did.read_count);
    same_touches(guest->did.sets, r.did.sets, r.did.set_count);
    require(result != -EFAULT || out->error == want->error);
    require(result != -EIO || out->at.v == want->at.v);
    if (result != 0)
        return;
    require(out->gpa.v == want->gpa.v && out->page == want->page);
    require(out->pat_type == want->pat_type && out->levels == r.did.read_count);
    require(out->writable == want->writable && out->user == want->user);
    require(out->executable == want->executable);
}

/* --- any guest -------------------------------------------------------------------------------- */

static void check_unpaged(uint64_t address, const struct guest *guest,
                          const struct walk_result *out)
{
    require(out->gpa.v == (uint32_t)address && out->page == 4 * KIB && out->pat_type == MT_WB);
    require(out->writable && out->user && out->executable && guest->did.read_count == 0);
}

/* What the short walk for code reads from: by one type alone. */
struct code {
    struct guest guest;
    enum memtype type;
};

static bool code_read(void *context, gpa_t gpa, uint64_t *entry)
{
    struct code *code = context;
    return guest_read(&code->guest, gpa, 8, code->type, entry) == 0;
}

/* Of a guest that changes nothing, and what the walk has said of it. */
static __attribute__((noinline)) void check_code(const struct walk_state *state,
                                                 const struct guest *guest, uint64_t address,
                                                 int result, const struct walk_result *out)
{
    static struct code code;
    struct walk_result quick;
    code = (struct code){*guest, (enum memtype)(state->pat & 7)};
    code.guest.did = (struct record){.read_count = 0};
    if (!walk_code(state, code_read, &code, gva(address), &quick))
        return;
    require(result == 0 && guest->did.set_count == 0);
    require(quick.gpa.v == out->gpa.v && quick.pat_type == out->pat_type);
    require(guest->did.read_count == code.guest.did.read_count);
    same_touches(guest->did.reads, code.guest.did.reads, guest->did.read_count);
}

static void check(const struct walk_state *state, struct guest *guest, uint64_t address,
                  unsigned access)
{
    struct walk_memory memory = {guest_read, guest_set_bits, guest};
    struct walk_result out;
    int result = guest_walk(state, &memory, gva(address), access, &out);
    if (!(state->cr0 & CR0_PG)) {
        require(result == 0);
        check_unpaged(address, guest, &out);
    } else if (guest->hostility == 0) {
        compare(state, guest, address, access, result, &out);
        if (access == WALK_FETCH)
            check_code(state, guest, address, result, &out);
    }
    require(result == 0 || result == -EFAULT || result == -EINVAL || result == -EIO);
    require(result != -EINVAL || guest->did.read_count == 0);
    if (result == -EFAULT)
        require(out.error < 0x20 && (out.error & 9) != 8);
    if (result != 0)
        return;
    require(out.page == 4 * KIB || out.page == 2 * MIB || out.page == 4 * MIB || out.page == GIB);
    require(out.gpa.v >> state->phys_bits == 0);
    require(((out.gpa.v ^ address) & (out.page - 1)) == 0);
    require(out.levels <= 5 && out.pat_type <= MT_UC_MINUS);
    require(!(access & WALK_FETCH) || out.executable);
    require(state->cpl != 3 || (access & WALK_SYSTEM) || out.user);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in;
    if (size < sizeof(in))
        return 0;
    memcpy(&in, data, sizeof(in));
    struct walk_state state = {
        .cr0 = in.cr0,
        .cr3 = in.cr3,
        .cr4 = in.cr4,
        .efer = in.efer,
        .rflags = in.rflags,
        .pdpte_valid = in.flags & 1,
        .pat = in.pat & 0x0707070707070707,
        .cpl = in.cpl % 4,
        .phys_bits = (uint8_t)(32 + in.phys_bits % 21),
        .has_1g = in.flags & 2,
    };
    memcpy(state.pdpte, in.pdpte, sizeof(state.pdpte));
    unsigned access = in.access % 16;
    if ((access & (WALK_READ | WALK_WRITE | WALK_FETCH)) == 0)
        access |= WALK_READ;
    struct guest guest = {.bytes = data + sizeof(in),
                          .size = size - sizeof(in),
                          .seed = in.address,
                          .hostility = in.hostility > 128 ? in.hostility - 128 : 0,
                          .write = access & WALK_WRITE};
    check(&state, &guest, in.address, access);
    return 0;
}
