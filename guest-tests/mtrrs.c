/*
 * Random writes of MTRRs, PAT and CR0 in any order, under each policy: after each, registers read
 * as they were written, the oracle's answers are those of the guest's own model, and what the
 * hypervisor reads and writes for the guest is right. The command line says what the policy is.
 *
 * row: mtrrs end=0 set=policy=exact set=control=yes
 * row: mtrrs.wb end=0 set=policy=wb set=control=yes cmdline="mtrr=ignore pat=wb cd=ignore"
 * row: mtrrs.pat end=0 set=policy=exact set=pat=ignore set=control=yes cmdline="pat=ignore"
 * row: mtrrs.cd end=0 set=policy=exact set=cd=ignore set=control=yes cmdline="cd=ignore"
 * row: mtrrs.hw end=0 set=policy=exact set=cd=hw set=control=yes
 * row: mtrrs.mtrr end=0 set=policy=exact set=mtrr=ignore set=control=yes cmdline="mtrr=ignore"
 *
 * tests/system/test_typing.py gives it regions, and a start as after a reset.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/memtypes.h"
#include "lib/string.h"

/* Memory that nothing else uses, to the end of RAM; the part of it that ranges like best. */
#define FREE      0x1800000ull
#define SPOT      0x2000000ull
#define SPOT_SIZE 0x800000ull

enum { MAX_REGIONS = 8, STEPS_OF_A_CASE = 100, PROBES = 6 };

extern const struct type_answer early_answer; /* of SPOT, in 32-bit code, without paging */
extern const uint32_t entry_cr0;
extern const char code_start[], code_end[], hole_code_start[], hole_code_end[];

/* --- what is to be ---------------------------------------------------------------------------- */

static struct {
    struct mtrrs mtrrs;
    uint64_t pat, cr0;
} model;

struct region {
    uint64_t start, end;
    unsigned type;
};

static struct {
    bool mtrr_ignored, pat_ignored, cd_ignored;
    struct region region[MAX_REGIONS];
    unsigned regions;
} policy;

/* Regions of the rows that have them: one of each type across an edge of 2 MiB, and low ones. */
static void add_regions(void)
{
    uint64_t at = SPOT + 2 * MIB - 3 * PAGE_SIZE;
    for (unsigned i = 0; i < TYPES; i++, at += 2 * MIB)
        policy.region[policy.regions++] = (struct region){at, at + 5 * PAGE_SIZE, mtrr_types[i]};
    policy.region[policy.regions++] = (struct region){0x9f000, 0xa1000, MT_WT};
}

static void read_policy(void)
{
    policy.mtrr_ignored = cmdline_has("mtrr", "ignore");
    policy.cd_ignored = cmdline_has("cd", "ignore");
    policy.pat_ignored =
        cmdline_has("pat", "ignore") || (cmdline_has("pat", "wb") && machine.intel);
    if (cmdline_has("regions", "yes"))
        add_regions();
}

/* The region of AT, as a place in policy.region; MAX_REGIONS: none. */
static unsigned region_of(uint64_t at)
{
    for (unsigned i = 0; i < policy.regions; i++)
        if (at >= policy.region[i].start && at < policy.region[i].end)
            return i;
    return MAX_REGIONS;
}

static bool is_ram(uint64_t at)
{
    for (unsigned i = 0; i < machine.ram_count; i++)
        if (at >= machine.ram[i].start && at < machine.ram[i].end)
            return true;
    return at < MIB; /* also what the loader does not list */
}

/* What decides of memory at AT with the guest's RULE, and what TYPE it gives. */
static unsigned decide(uint64_t at, unsigned rule, unsigned *type)
{
    unsigned region = region_of(at);
    if (region < MAX_REGIONS) {
        *type = policy.region[region].type;
        return TYPE_RULE_REGION;
    }
    if (policy.mtrr_ignored) {
        *type = MT_WB;
        return TYPE_RULE_POLICY;
    }
    return rule;
}

static void check_memory(uint64_t at, unsigned pat, const struct type_answer *a)
{
    unsigned rule, guest = mtrrs_type(&model.mtrrs, at, &rule), type = guest;
    unsigned why = decide(at, rule, &type), acting = policy.pat_ignored ? MT_WB : pat;
    bool cd = (model.cr0 & CR0_CD) != 0, acts = cd && !policy.cd_ignored;
    unsigned want = expected(index_of(mtrr_types, TYPES, type), index_of(pat_types, PATS, acting));
    if (acts)
        want = machine.intel ? UC : CD;
    expect(a->gpa == at && a->guest_type == guest && a->guest_rule == rule && a->cd == cd,
           "%lx: GPA %lx, type %u by rule %u, CD %u; not %u by %u, %u", at, a->gpa, a->guest_type,
           a->guest_rule, a->cd, guest, rule, cd);
    if (!is_ram(at)) {
        expect(a->present == 0 && a->rule == TYPE_RULE_NONE, "%lx: a leaf, rule %u", at, a->rule);
        return;
    }
    expect(a->effective == want, "%lx, PAT %u: %s, not %s", at, pat, type_name(a->effective),
           type_name(want));
    expect(a->rule == (acts ? TYPE_RULE_CD : why), "%lx: rule %u, not %u", at, a->rule, why);
    expect(acts || a->leaf_type == type, "%lx: leaf %u, not %u", at, a->leaf_type, type);
}

/* --- what is tried ---------------------------------------------------------------------------- */

static uint64_t seed;

static uint64_t random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static uint64_t below(uint64_t n)
{
    return random() % n;
}

static unsigned random_type(void)
{
    return mtrr_types[below(TYPES)];
}

static void write(uint32_t msr, uint64_t *model_of, uint64_t value)
{
    *model_of = value;
    wrmsr(msr, value);
}

static void write_pair(void)
{
    unsigned i = (unsigned)below(PAIRS);
    uint64_t size = PAGE_SIZE << below(12), base = SPOT + below(SPOT_SIZE);
    if (below(8) == 0) {
        size = PAGE_SIZE << below(22);
        base = below(4 * GIB);
    }
    uint64_t mask = ~(size - 1) & address_mask();
    if (below(8) == 0)
        mask &= ~(1ull << (21 + below(4)));
    write(MSR_MTRR_PHYSBASE0 + 2 * i, &model.mtrrs.pair[2 * i], (base & mask) | random_type());
    write(MSR_MTRR_PHYSBASE0 + 2 * i + 1, &model.mtrrs.pair[2 * i + 1],
          mask | (below(3) != 0 ? MASK_V : 0));
}

static void write_fixed(void)
{
    unsigned i = (unsigned)below(FIXED), shift = 8 * (unsigned)below(8);
    uint64_t old = model.mtrrs.fixed[i] & ~(0xffull << shift);
    write(fixed_msrs[i], &model.mtrrs.fixed[i], old | (uint64_t)random_type() << shift);
}

static void write_def_type(void)
{
    write(MSR_MTRR_DEF_TYPE, &model.mtrrs.def_type,
          random_type() | (below(3) != 0 ? DEF_E : 0) | (below(2) != 0 ? DEF_FE : 0));
}

static void write_pat(void)
{
    uint64_t pat = 0;
    for (unsigned i = 0; i < 64; i += 8)
        pat |= (uint64_t)pat_types[below(PATS)] << i;
    if (below(8) == 0)
        pat = 0x0606060606060606; /* as a PAT in force may be */
    write(MSR_PAT, &model.pat, pat);
}

/* CD and NW, with TS and MP beside them. */
static void write_caches(void)
{
    const uint64_t bits = CR0_CD | CR0_NW | CR0_TS | CR0_MP;
    uint64_t value = model.cr0 & ~bits;
    if (below(2) != 0)
        value |= CR0_CD | (below(2) != 0 ? CR0_NW : 0);
    value |= (below(2) != 0 ? CR0_TS : 0) | (below(2) != 0 ? CR0_MP : 0);
    model.cr0 = value;
    write_cr0(value);
}

static void other_cr0(void)
{
    if (below(2) != 0) {
        __asm__ volatile("clts");
        model.cr0 &= ~(uint64_t)CR0_TS;
    } else {
        uint16_t word =
            (uint16_t)(CR0_PE | (below(2) != 0 ? CR0_TS : 0) | (below(2) != 0 ? CR0_MP : 0));
        __asm__ volatile("lmsw %0" : : "r"(word));
        model.cr0 = (model.cr0 & ~(uint64_t)0xe) | word;
    }
}

/* Values that the manuals refuse: nothing changes. */
static void write_illegal(void)
{
    uint32_t msr;
    uint64_t *at = mtrrs_at(&model.mtrrs, (unsigned)below(MTRRS), &msr), value = *at;
    if ((msr & ~0xfu) == MSR_MTRR_PHYSBASE0 && (msr & 1) != 0)
        value |= 1;
    else
        value = (value & ~0xffull) | 2;
    struct fault fault = try_wrmsr(msr, value);
    expect(is_gp0(fault), "MSR %x, %lx: vector %d", msr, value, fault.vector);
}

/* The caches are emptied, or so it says: memory keeps what it has. */
static void empty_caches(void)
{
    volatile uint64_t *at = (volatile uint64_t *)SPOT;
    *at = random();
    if ((seed & 1) != 0)
        wbinvd();
    else
        __asm__ volatile("invd" : : : "memory");
    expect(*at == seed, "emptied caches: %lx, not %lx", *at, seed);
}

static void change(void)
{
    static void (*const changes[])(void) = {
        write_pair,   write_pair,   write_fixed, write_def_type, write_def_type, write_pat,
        write_caches, write_caches, other_cr0,   write_illegal,  empty_caches};
    changes[below(ARRAY_SIZE(changes))]();
}

/* --- what is then looked at ------------------------------------------------------------------- */

/* An address near an edge of something. */
static uint64_t probe_address(void)
{
    unsigned i = (unsigned)below(PAIRS);
    uint64_t base = model.mtrrs.pair[2 * i] & address_mask();
    uint64_t mask = model.mtrrs.pair[2 * i + 1] & address_mask();
    switch (below(5)) {
    case 0:
        return base + below(2) - 1;
    case 1:
        return base + (mask & -mask) + below(2) - 1;
    case 2:
        return below(0x101) * PAGE_SIZE + below(2) - 1;
    case 3:
        if (policy.regions > 0) {
            i = (unsigned)below(policy.regions);
            base = below(2) != 0 ? policy.region[i].start : policy.region[i].end;
            return base + below(2) - 1;
        }
        break;
    default:
        break;
    }
    return below(64 * MIB);
}

/* Each view has a root of its own, and keeps it. */
static void check_root(const struct type_answer *a)
{
    static uint64_t roots[3];
    if (!expect(a->view < ARRAY_SIZE(roots), "view %u", a->view))
        return;
    if (roots[a->view] == 0)
        roots[a->view] = a->root;
    for (unsigned view = 0; view < ARRAY_SIZE(roots); view++)
        expect((roots[view] == a->root) == (view == a->view), "view %u: root %lx, as view %u: %lx",
               a->view, a->root, view, roots[view]);
}

/* Between an answer and its end there is nothing else. */
static void check_next(uint64_t at, unsigned pat, const struct type_answer *a)
{
    struct type_answer b;
    uint64_t last = a->next - 1;
    expect(a->next > at || at == UINT64_MAX, "%lx: next %lx", at, a->next);
    oracle_ask(HYPERCALL_TYPE_PHYSICAL, last, pat, &b);
    expect(b.present == a->present && b.effective == a->effective && b.rule == a->rule &&
               b.guest_type == a->guest_type && b.leaf_level == a->leaf_level &&
               b.host_type == a->host_type && (!a->present || b.hpa - a->hpa == last - at),
           "%lx and %lx, before its next: another answer", at, last);
}

static void check_answers(void)
{
    for (unsigned i = 0; i < PROBES; i++) {
        struct type_answer a;
        uint64_t at = probe_address();
        unsigned pat = pat_types[below(PATS)];
        int64_t result = oracle_ask(HYPERCALL_TYPE_PHYSICAL, at, pat, &a);
        expect(result == 0, "%lx: %ld", at, result);
        check_memory(at, pat, &a);
        check_root(&a);
        if (i == 0)
            check_next(at, pat, &a);
    }
}

static void check_registers(void)
{
    uint32_t msr;
    uint64_t want = *mtrrs_at(&model.mtrrs, (unsigned)below(MTRRS), &msr), got = rdmsr(msr);
    uint64_t smsw;
    expect(got == want, "MSR %x: %lx, not %lx", msr, got, want);
    expect(rdmsr(MSR_PAT) == model.pat, "PAT %lx, not %lx", rdmsr(MSR_PAT), model.pat);
    expect(read_cr0() == model.cr0, "CR0 %lx, not %lx", read_cr0(), model.cr0);
    __asm__ volatile("smsw %0" : "=r"(smsw));
    expect((uint32_t)smsw == (uint32_t)model.cr0, "SMSW %lx, not %lx", smsw, model.cr0);
}

enum { PWT = 1 << 3, PCD = 1 << 4, PAT_4K = 1 << 7, WINDOW_BITS = PWT | PCD | PAT_4K };

/* A free page through a slot of the PAT, in a window that the page after it follows. */
static volatile uint8_t *map_free(uint64_t *page, unsigned *slot)
{
    *page = FREE + below((SPOT + SPOT_SIZE - FREE) / PAGE_SIZE - 1) * PAGE_SIZE;
    *slot = (unsigned)below(8);
    uint64_t flags =
        PAGE_P | PAGE_W | (*slot & 1 ? PWT : 0) | (*slot & 2 ? PCD : 0) | (*slot & 4 ? PAT_4K : 0);
    window_map(1, *page + PAGE_SIZE, flags);
    return window_map(0, *page, flags);
}

static void check_linear(const volatile uint8_t *at, uint64_t page, unsigned slot)
{
    struct type_answer a;
    unsigned pat = model.pat >> 8 * slot & 7;
    uint64_t offset = below(PAGE_SIZE);
    int64_t result = oracle_ask(HYPERCALL_TYPE_LINEAR, (uint64_t)(at + offset), 0, &a);
    unsigned acting = policy.pat_ignored && !machine.intel ? MT_WB : pat;
    expect(result == 0 && a.pat_type == acting, "slot %u: %ld, PAT type %u, not %u", slot, result,
           a.pat_type, acting);
    check_memory(page + offset, pat, &a);
}

/* String I/O across two pages, by way of a port that keeps a byte. */
static void check_strings(volatile uint8_t *at)
{
    volatile uint8_t *string = at + PAGE_SIZE - 4;
    const volatile uint8_t *from = string;
    volatile uint8_t *to = string;
    uint64_t count = 8;
    for (unsigned i = 0; i < 8; i++)
        string[i] = (uint8_t)(seed >> i);
    uint8_t last = string[7];
    __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(COM1_SCRATCH) : "memory");
    expect(from == string + 8 && count == 0, "OUTS went to %lx", (uint64_t)from);
    count = 8;
    __asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(COM1_SCRATCH) : "memory");
    for (unsigned i = 0; i < 8; i++)
        expect(string[i] == last, "INS: byte %u is %x, not %x", i, string[i], last);
}

/* Code that exits, across two pages: CPUID, and a load from the hole whose operand is decoded. */
static void check_code(volatile uint8_t *at)
{
    uint32_t value = 0, eax = 0;
    volatile uint8_t *code = at + PAGE_SIZE - 1;
    const uint32_t *hole = (const uint32_t *)0xd0000000;
    memcpy((void *)(uintptr_t)code, code_start, (size_t)(code_end - code_start));
    __asm__ volatile("call *%2" : "+a"(eax) : "c"(0), "r"(code) : "rbx", "rdx", "memory");
    expect(eax == cpuid(0, 0).eax, "CPUID in that memory: %x", eax);
    memcpy((void *)(uintptr_t)code, hole_code_start, (size_t)(hole_code_end - hole_code_start));
    __asm__ volatile("call *%2" : "+a"(value) : "b"(hole), "r"(code) : "memory");
    expect(value == UINT32_MAX, "the hole reads %x", value);
}

static void check_windows(void)
{
    uint64_t page;
    unsigned slot;
    volatile uint8_t *at = map_free(&page, &slot);
    check_linear(at, page, slot);
    check_strings(at);
    check_code(at);
}

/* --- cases ------------------------------------------------------------------------------------ */

static void begin(void)
{
    mtrrs_read(&model.mtrrs);
    model.pat = rdmsr(MSR_PAT);
    model.cr0 = read_cr0();
}

/* A range of the guest's whole memory. */
static void check_range(uint64_t start, uint64_t end, unsigned want)
{
    const uint64_t places[] = {start, (start + end) / 2, end - 1};
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        struct type_answer a;
        oracle_ask(HYPERCALL_TYPE_PHYSICAL, places[i], MT_WB, &a);
        expect(a.guest_type == want, "%lx: type %u, not %u", places[i], a.guest_type, want);
        check_memory(places[i], MT_WB, &a);
    }
}

static void as_firmware_leaves(void)
{
    uint64_t ram_end = 64 * MIB;
    check_range(0, 0xa0000, MT_WB);
    check_range(0xa0000, 0xc0000, MT_UC);
    check_range(0xc0000, ram_end, MT_WB);
    check_range(0xc0000000, 0x100000000, MT_UC);
    check_range(0x100000000, address_mask() + 1, MT_WB);
    expect(model.mtrrs.def_type == (DEF_E | DEF_FE | MT_WB), "%lx", model.mtrrs.def_type);
}

/* What firmware does after a reset, by the manuals' sequence; CD is 0 already. */
static void set_up(void)
{
    write_cr0(model.cr0 | CR0_CD);
    wbinvd();
    for (unsigned i = 0; i < FIXED; i++)
        write(fixed_msrs[i], &model.mtrrs.fixed[i], i == 2 ? 0 : 0x0606060606060606);
    write(MSR_MTRR_PHYSBASE0, &model.mtrrs.pair[0], 0xc0000000 | MT_UC);
    write(MSR_MTRR_PHYSBASE0 + 1, &model.mtrrs.pair[1], (address_mask() & ~0x3fffffffull) | MASK_V);
    write(MSR_MTRR_DEF_TYPE, &model.mtrrs.def_type, DEF_E | DEF_FE | MT_WB);
    write_cr0(model.cr0);
}

/* SDM, "Processor States Following Power-up, Reset, or INIT" and "MTRR Initialization". */
static void as_a_reset_leaves(void)
{
    for (unsigned i = 0; i < MTRRS; i++) {
        uint32_t msr;
        uint64_t value = *mtrrs_at(&model.mtrrs, i, &msr);
        expect(value == 0, "MSR %x: %lx", msr, value);
    }
    expect(early_answer.guest_type == MT_UC && early_answer.guest_rule == 0 &&
               early_answer.effective == expected(0, PATS - 1) && early_answer.view == 1,
           "at first: type %u by rule %u, %s, view %u", early_answer.guest_type,
           early_answer.guest_rule, type_name(early_answer.effective), early_answer.view);
    check_range(0, 64 * MIB, MT_UC);
    set_up();
}

static void start(void)
{
    uint32_t caches = entry_cr0 & (CR0_CD | CR0_NW);
    bool reset = cmdline_has("reset", "architectural");
    begin();
    expect(model.pat == 0x0007040600070406, "PAT %lx", model.pat);
    expect(caches == (reset ? CR0_CD | CR0_NW : 0), "CR0 was %x", entry_cr0);
    if (reset)
        as_a_reset_leaves();
    as_firmware_leaves();
}

static void run_from(uint64_t first_seed)
{
    struct mtrrs old;
    begin();
    old = model.mtrrs;
    uint64_t pat = model.pat, cr0 = model.cr0;
    seed = first_seed;
    for (unsigned i = 0; i < STEPS_OF_A_CASE; i++) {
        change();
        check_registers();
        check_answers();
        if (i % 4 == 0)
            check_windows();
    }
    wrmsr(MSR_PAT, pat);
    mtrrs_write(&old);
    write_cr0(cr0);
    begin();
    check_answers();
}

static void first_run(void)
{
    run_from(0x1234567);
}

static void second_run(void)
{
    run_from(0x9e3779b97f4a7c15);
}

static void third_run(void)
{
    run_from(0xdeadbeefcafe);
}

static const struct test_case cases[] = {
    {"MTRRs, PAT and caches at the start", needs_nosnoop, start},
    {"random writes: a first run", needs_nosnoop, first_run},
    {"random writes: a second run", needs_nosnoop, second_run},
    {"random writes: a third run", needs_nosnoop, third_run},
};

void test_main(void)
{
    read_policy();
    ktap_all(cases, ARRAY_SIZE(cases));
}
