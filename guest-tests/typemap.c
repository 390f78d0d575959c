/*
 * The map of memory types: what the oracle says of each leaf in each view. The guest sets MTRRs
 * that split and join large pages, after some random changes (`changes=N seed=N`). With `wait=yes`
 * it prints the maps and then waits, in the view that `state=typed|disabled|cd` chooses: so its
 * tables can be dumped and compared.
 *
 * row: typemap end=0 set=policy=exact set=control=yes control=skip control-reason="no oracle"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/x86.h"
#include "vmm/abi.h"

enum { PAIRS = 8, TYPES = 5, FIXED = 11 };
enum { DEF_FE = 1 << 10, DEF_E = 1 << 11, MASK_V = 1 << 11 };
enum { ADDRESSED = 64 << 20 }; /* where random ranges begin: in this VM's memory */

static const uint8_t types[TYPES] = {MT_UC, MT_WC, MT_WT, MT_WP, MT_WB};
static const uint32_t fixed_msrs[FIXED] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                           0x26b, 0x26c, 0x26d, 0x26e, 0x26f};

/* Whether it prints what it finds, and then waits. */
static bool waits(void)
{
    return cmdline_has("wait", "yes");
}

/* --- the MTRRs -------------------------------------------------------------------------------- */

static void set_pair(uint32_t i, uint64_t base, uint64_t mask, unsigned type)
{
    uint64_t bits = (1ull << physical_bits()) - PAGE_SIZE;
    wrmsr(MSR_MTRR_PHYSBASE0 + 2 * i + 1, 0);
    wrmsr(MSR_MTRR_PHYSBASE0 + 2 * i, base | type);
    wrmsr(MSR_MTRR_PHYSBASE0 + 2 * i + 1, (mask & bits) | MASK_V);
}

static void set_range(uint32_t i, uint64_t base, uint64_t size, unsigned type)
{
    set_pair(i, base, ~(size - 1), type);
}

/* Each of the eight ranges of a fixed MSR has another type than its neighbours. */
static void set_fixed(unsigned i, unsigned first)
{
    uint64_t value = 0;
    for (unsigned byte = 0; byte < 8; byte++)
        value |= (uint64_t)types[(first + byte) % TYPES] << 8 * byte;
    wrmsr(fixed_msrs[i], value);
}

static void set_all(void)
{
    set_range(0, 32 * MIB, 2 * MIB, MT_UC);                   /* a large page */
    set_range(1, 36 * MIB + 0x5000, PAGE_SIZE, MT_WC);        /* a page inside one */
    set_pair(2, 40 * MIB, ~(2 * MIB - 1) | 0x1ed000, MT_WT);  /* pages 0, 2, 16 and 18 */
    set_range(3, 48 * MIB, 8 * MIB, MT_WP);                   /* several large pages */
    set_range(4, 51 * MIB, 64 * KIB, MT_WC);                  /* WC and WP: undefined */
    set_range(5, 56 * MIB, 4 * MIB, MT_WT);                   /* half of it with WB: WT */
    set_range(6, 58 * MIB, 2 * MIB, MT_WB);                   /* */
    set_range(7, 58 * MIB + 256 * KIB, 2 * PAGE_SIZE, MT_UC); /* UC wins */
    for (unsigned i = 0; i < FIXED; i++)
        set_fixed(i, i);
    wrmsr(MSR_MTRR_DEF_TYPE, DEF_E | DEF_FE | MT_WB);
}

static uint64_t seed;

static unsigned random_below(unsigned end)
{
    seed = seed * 6364136223846793005 + 1442695040888963407;
    return (unsigned)(seed >> 33) % end;
}

static void change_something(void)
{
    uint32_t pair = random_below(PAIRS);
    unsigned type = types[random_below(TYPES)];
    uint64_t size = PAGE_SIZE << random_below(14);
    switch (random_below(8)) {
    case 0:
        wrmsr(MSR_MTRR_PHYSBASE0 + 2 * pair + 1, 0);
        break;
    case 1:
        wrmsr(MSR_MTRR_DEF_TYPE, (random_below(4) << 10) | type);
        break;
    case 2:
        write_cr0(read_cr0() ^ CR0_CD);
        break;
    case 3:
        set_fixed(random_below(FIXED), random_below(TYPES));
        break;
    default:
        set_range(pair, random_below(ADDRESSED) & ~(size - 1), size, type);
        break;
    }
}

/* As they read, for who compares the map with them. */
static void print_mtrrs(void)
{
    print("# default %lx\n", rdmsr(MSR_MTRR_DEF_TYPE));
    for (uint32_t i = 0; i < 2 * PAIRS; i += 2)
        print("# variable %lx %lx\n", rdmsr(MSR_MTRR_PHYSBASE0 + i),
              rdmsr(MSR_MTRR_PHYSBASE0 + i + 1));
    for (unsigned i = 0; i < FIXED; i++)
        print("# fixed %lx\n", rdmsr(fixed_msrs[i]));
}

/* --- the map ---------------------------------------------------------------------------------- */

/* Leaves of the same kind, of memory that goes on. */
struct piece {
    uint64_t end;
    struct type_answer first;
};

static struct type_answer ask(uint64_t at)
{
    struct type_answer answer = {.next = UINT64_MAX};
    int64_t result = HYPERCALL_TYPE_PHYSICAL;
    if (machine.intel)
        __asm__ volatile("vmcall" : "+a"(result) : "b"(at), "c"(&answer), "d"(MT_WB) : "memory");
    else
        __asm__ volatile("vmmcall" : "+a"(result) : "b"(at), "c"(&answer), "d"(MT_WB) : "memory");
    expect(result == 0, "asking about GPA %lx: %ld", at, result);
    expect(answer.next > at, "GPA %lx goes on at %lx", at, answer.next);
    return answer;
}

/* Start, end, HPA, level, type, IPAT. Every character takes its time, so there are few. */
static void print_piece(const struct piece *piece)
{
    const struct type_answer *a = &piece->first;
    if (waits() && piece->end != 0)
        print("# leaves %lx %lx %lx %u %u %u\n", a->gpa, piece->end, a->hpa, a->leaf_level,
              a->leaf_type, a->leaf_ipat);
}

static bool goes_on(const struct piece *piece, const struct type_answer *b)
{
    const struct type_answer *a = &piece->first;
    return piece->end == b->gpa && b->hpa - a->hpa == b->gpa - a->gpa &&
           a->leaf_level == b->leaf_level && a->leaf_type == b->leaf_type &&
           a->leaf_ipat == b->leaf_ipat;
}

/* Goes through the map of the view in use; CHECK says what else must hold of a leaf. */
static void go_through(const char *name, void (*check)(const struct type_answer *answer))
{
    struct piece piece = {0};
    struct type_answer a = ask(0);
    if (waits())
        print("# map %s root %lx\n", name, a.root);
    for (;; a = ask(a.next)) {
        if (a.present != 0) {
            check(&a);
            if (!goes_on(&piece, &a)) {
                print_piece(&piece);
                piece.first = a;
            }
            piece.end = a.next;
        }
        if (a.next == UINT64_MAX)
            break;
    }
    print_piece(&piece);
    expect(machine.ram_count > 0 && piece.end == machine.ram[machine.ram_count - 1].end,
           "the last leaf ends at %lx", piece.end);
}

static void check_typed(const struct type_answer *a)
{
    expect(a->leaf_type == a->guest_type && a->leaf_ipat == 0 && a->view == 0,
           "GPA %lx: type %u, IPAT %u, view %u; MTRR %u", a->gpa, a->leaf_type, a->leaf_ipat,
           a->view, a->guest_type);
}

static void check_disabled(const struct type_answer *a)
{
    expect(a->leaf_type == MT_UC && a->leaf_ipat == 0 && a->view == 1,
           "GPA %lx: type %u, IPAT %u, view %u", a->gpa, a->leaf_type, a->leaf_ipat, a->view);
}

static void check_cd(const struct type_answer *a)
{
    if (!machine.intel) { /* CD acts by itself, and the leaves stay as they are */
        check_typed(a);
        return;
    }
    expect(a->leaf_type == MT_UC && a->leaf_ipat == 1 && a->view == 2,
           "GPA %lx: type %u, IPAT %u, view %u", a->gpa, a->leaf_type, a->leaf_ipat, a->view);
}

/* --- cases ------------------------------------------------------------------------------------ */

static void set_state(bool enabled, bool cd)
{
    wrmsr(MSR_MTRR_DEF_TYPE, (enabled ? DEF_E : 0) | DEF_FE | MT_WB);
    write_cr0((read_cr0() & ~(uint64_t)CR0_CD) | (cd ? CR0_CD : 0));
}

static void typed(void)
{
    set_state(true, false);
    go_through("typed", check_typed);
}

static void disabled(void)
{
    set_state(false, false);
    go_through("disabled", check_disabled);
}

static void cache_disable(void)
{
    set_state(true, true);
    go_through("cd", check_cd);
}

static const struct test_case cases[] = {
    {"E = 1: the MTRRs' types", NULL, typed},
    {"E = 0: UC", NULL, disabled},
    {"CR0.CD = 1: UC, or as if it were 0", NULL, cache_disable},
};

static void change_much(void)
{
    seed = cmdline_number("seed", 0);
    for (uint64_t i = cmdline_number("changes", 100); i > 0; i--)
        change_something();
    set_all();
    if (waits())
        print_mtrrs();
}

void test_main(void)
{
    unsigned last = cmdline_has("state", "typed") ? 0 : cmdline_has("state", "disabled") ? 1 : 2;
    ktap_begin(ARRAY_SIZE(cases));
    change_much();
    for (unsigned i = 1; i <= ARRAY_SIZE(cases); i++)
        ktap_run(&cases[(last + i) % ARRAY_SIZE(cases)], 1);
    if (waits()) {
        print("waiting\n");
        for (;;)
            cpu_relax();
    }
    ktap_end();
}
