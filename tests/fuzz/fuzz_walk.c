/*
 * Fuzzes the guest page-table walker in memory that a hostile guest keeps changing. Whatever it
 * does, a walk ends soon, reads and changes only aligned entries, sets only accessed and dirty
 * bits, and a success means what it says.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/errno.h"
#include "vmm/walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ACCESSED = 0x20, DIRTY = 0x40, MOST_READS = 5 * 16 };

/* The input: what does not fit into the state makes up the guest's entries, and its changes. */
struct input {
    uint64_t cr0, cr3, cr4, efer, rflags, pat, address;
    uint64_t pdpte[4];
    uint8_t cpl, phys_bits, access, flags;
    uint8_t hostility; /* of 256 */
};

struct guest {
    const uint8_t *bytes;
    size_t size;
    uint64_t seed;
    unsigned reads;
    uint8_t hostility;
    bool write;
};

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The entry at GPA, as the input and the guest's changes until now make it. */
static uint64_t entry_at(struct guest *guest, uint64_t gpa)
{
    uint64_t value = 0;
    if (guest->size < sizeof(value))
        return 0;
    size_t at = (size_t)(gpa / 8 * 0x9e3779b97f4a7c15 % (guest->size - sizeof(value) + 1));
    memcpy(&value, guest->bytes + at, sizeof(value));
    return value;
}

static bool is_hostile(struct guest *guest)
{
    guest->seed = guest->seed * 6364136223846793005 + 1442695040888963407;
    return (guest->seed >> 33) % 256 < guest->hostility;
}

static int guest_read(void *context, gpa_t gpa, unsigned width, enum memtype type, uint64_t *value)
{
    struct guest *guest = context;
    guest->reads++;
    CHECK(guest->reads <= MOST_READS);
    CHECK(width == 4 || width == 8);
    CHECK(gpa.v % width == 0 && gpa.v >> 52 == 0);
    CHECK((unsigned)type <= MT_UC_MINUS);
    *value = entry_at(guest, gpa.v);
    if (is_hostile(guest))
        *value ^= 1ull << guest->seed % 64;
    if (width == 4)
        *value &= 0xffffffff;
    return gpa.v % 0x100000 == 0xff000 ? -EIO : 0;
}

static int guest_set_bits(void *context, gpa_t gpa, unsigned width, enum memtype type, uint64_t old,
                          uint64_t bits)
{
    struct guest *guest = context;
    CHECK(gpa.v % width == 0 && (unsigned)type <= MT_UC_MINUS);
    CHECK(bits == ACCESSED || ((bits & DIRTY) && guest->write));
    CHECK((bits & ~(uint64_t)(ACCESSED | DIRTY)) == 0);
    CHECK((old & 1) && (old & bits) != bits);
    return is_hostile(guest) ? -EEXIST : 0;
}

static void check(const struct walk_state *state, struct guest *guest, uint64_t address,
                  unsigned access)
{
    struct walk_memory memory = {guest_read, guest_set_bits, guest};
    struct walk_result out;
    int result = guest_walk(state, &memory, gva(address), access, &out);
    CHECK(result == 0 || result == -EFAULT || result == -EINVAL || result == -EIO);
    CHECK(result != -EINVAL || guest->reads == 0);
    if (result == -EFAULT)
        CHECK(out.error < 0x20 && (out.error & 9) != 8);
    if (result != 0)
        return;
    CHECK(out.page == 4 * KIB || out.page == 2 * MIB || out.page == 4 * MIB || out.page == GIB);
    CHECK(out.gpa.v >> state->phys_bits == 0);
    CHECK(((out.gpa.v ^ address) & (out.page - 1)) == 0);
    CHECK(out.levels <= 5 && out.pat_type <= MT_UC_MINUS);
    CHECK(!(access & WALK_FETCH) || out.executable);
    CHECK(state->cpl != 3 || (access & WALK_SYSTEM) || out.user);
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
                          .hostility = in.hostility,
                          .write = access & WALK_WRITE};
    check(&state, &guest, in.address, access);
    return 0;
}
