/*
 * Aliases of different cacheability: planted ones are found, by both their paths, and no others,
 * in every paging mode; and tables made to keep the detector busy do not.
 *
 * row: alias end=0 timeout=60 set=policy=exact set=control=yes control=skip
 *      control-reason="no detector"
 * row: alias.denied end=0 set=policy=exact cmdline="denied=yes" control=skip
 *      control-reason="no detector"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/memtypes.h"
#include "guest-tests/runtime/mode.h"
#include "lib/string.h"

/* Memory that nothing else uses: one of the 2 MiB pages, a multiple of 4 MiB. */
#define SPOT      0x2000000ull
#define SPOT_SIZE (2 * MIB)
#define WINDOW    (4 * GIB)
#define RAM       (64 * MIB)

/* Bits of entries, and the slot of the PAT that they choose: 0 is WB, 1 WT, 2 UC-, 3 UC. */
enum { PW = PAGE_P | PAGE_W, PWT = 1 << 3, PCD = 1 << 4, PS = 1 << 7, PAT_4K = 1 << 7 };

enum { ERROR_2BIG = -7, ERROR_INVAL = -22, PF_WRITE = 2 };

typedef uint64_t table[512] __attribute__((aligned(PAGE_SIZE)));

extern uint64_t pdpt[512], page_directories[4][512], page_table[512];
extern uint64_t window_directory[512], window_table[512];
extern const struct mode_code op_vmcall, op_vmmcall;

static table other_pml4, other_pdpt, other_directory;
static uint32_t table32[1024] __attribute__((aligned(PAGE_SIZE)));
static struct alias_question question; /* of the cases that name other roots */

/* --- asking ----------------------------------------------------------------------------------- */

/* Asks for the alias with the number INDEX; Q may be NULL. */
static int64_t ask(const struct alias_question *q, uint64_t index, struct alias_answer *a)
{
    int64_t result = HYPERCALL_ALIAS;
    memset(a, 0xff, sizeof(*a));
    if (machine.intel)
        __asm__ volatile("vmcall" : "+a"(result) : "b"(q), "c"(a), "d"(index) : "memory");
    else
        __asm__ volatile("vmmcall" : "+a"(result) : "b"(q), "c"(a), "d"(index) : "memory");
    return result;
}

/* A path that is expected, or a part of it. */
struct path {
    uint64_t root, linear, page;
    uint8_t pat_type;
    unsigned effective;
};

/* One of MTRR type WB. */
static struct path path(uint64_t linear, uint64_t page, unsigned pat_type)
{
    unsigned mtrr = index_of(mtrr_types, TYPES, MT_WB);
    unsigned effective = expected(mtrr, index_of(pat_types, PATS, pat_type));
    return (struct path){read_cr3(), linear, page, (uint8_t)pat_type, effective};
}

static void expect_path(const struct alias_path *got, const struct path *want, uint64_t gpa)
{
    expect(got->root == want->root && got->linear == want->linear && got->page == want->page,
           "CR3 %lx, linear %lx, page %x, not %lx, %lx, %lx", got->root, got->linear, got->page,
           want->root, want->linear, want->page);
    expect(got->gpa == gpa && got->pat_type == want->pat_type, "GPA %lx, PAT type %u, not %lx, %u",
           got->gpa, got->pat_type, gpa, want->pat_type);
    expect(got->effective == want->effective, "%s, not %s", type_name(got->effective),
           type_name(want->effective));
}

static void check_answer(const struct alias_answer *a, uint64_t gpa, uint64_t size,
                         struct path cacheable, struct path uncacheable)
{
    struct type_answer type;
    oracle_ask(HYPERCALL_TYPE_PHYSICAL, gpa, MT_WB, &type);
    expect(a->hpa == type.hpa && a->size == size, "HPA %lx+%lx, not %lx+%lx", a->hpa, a->size,
           type.hpa, size);
    expect_path(&a->cacheable, &cacheable, gpa);
    expect_path(&a->uncacheable, &uncacheable, gpa);
}

static void expect_aliases(int64_t count)
{
    struct alias_answer a;
    int64_t got = ask(&question, 1000000, &a);
    expect(got == count, "%ld aliases, not %ld", got, count);
    expect(a.size == UINT64_MAX, "an answer to what is not there");
}

/* The alias with the number INDEX of COUNT. */
static void expect_alias(int64_t count, uint64_t index, uint64_t gpa, uint64_t size,
                         struct path cacheable, struct path uncacheable)
{
    struct alias_answer a;
    int64_t got = ask(&question, index, &a);
    if (expect(got == count, "%ld aliases, not %ld", got, count))
        check_answer(&a, gpa, size, cacheable, uncacheable);
}

/* --- planting --------------------------------------------------------------------------------- */

static void flush(void)
{
    write_cr3(read_cr3());
}

/* The entry of the map of all memory for the spot. */
static uint64_t *spot_entry(void)
{
    return &page_directories[0][SPOT / (2 * MIB)];
}

/* As the tables were: no case leaves anything behind. */
static void clean(void)
{
    question.count = 0;
    memset(window_table, 0, sizeof(window_table));
    memset(&window_directory[1], 0, sizeof(window_directory) - 8);
    pdpt[5] = 0;
    *spot_entry() = SPOT | PW | PS;
    flush();
    expect_aliases(0);
}

static void none(void)
{
    struct alias_answer a;
    expect_aliases(0);
    expect(ask(NULL, 0, &a) == 0, "with no question");
}

static void small_against_large(void)
{
    const uint64_t page = SPOT + 5 * PAGE_SIZE;
    window_map(3, page, PW | PCD);
    struct path large = path(page, 2 * MIB, MT_WB);
    struct path small = path(WINDOW + 3 * PAGE_SIZE, PAGE_SIZE, MT_UC_MINUS);
    expect_alias(1, 0, page, PAGE_SIZE, large, small);
    window_map(4, page + PAGE_SIZE, PW | PCD);
    expect_alias(1, 0, page, 2 * PAGE_SIZE, large, small);
    window_map(0, page - 2 * PAGE_SIZE, PW | PCD | PWT);
    large.linear -= 2 * PAGE_SIZE;
    expect_alias(2, 0, page - 2 * PAGE_SIZE, PAGE_SIZE, large, path(WINDOW, PAGE_SIZE, MT_UC));
    large.linear += 2 * PAGE_SIZE;
    expect_alias(2, 1, page, 2 * PAGE_SIZE, large, small);
    clean();
}

static void large_against_large(void)
{
    window_directory[7] = SPOT | PW | PS | PCD;
    flush();
    expect_alias(1, 0, SPOT, 2 * MIB, path(SPOT, 2 * MIB, MT_WB),
                 path(WINDOW + 14 * MIB, 2 * MIB, MT_UC_MINUS));
    clean();
}

/* All of memory through one page more: but what the MTRRs have as UC. */
static void huge(void)
{
    struct alias_answer a;
    uint64_t sum = 0, end = 0;
    if ((cpuid(0x80000001, 0).edx >> 26 & 1) == 0) {
        skip("no 1 GiB pages");
        return;
    }
    pdpt[5] = 0 | PW | PS | PCD;
    flush();
    int64_t count = ask(NULL, 0, &a);
    for (int64_t i = 0; i < count; i++) {
        ask(NULL, (uint64_t)i, &a);
        uint64_t gpa = a.uncacheable.gpa;
        expect(gpa >= end && a.uncacheable.linear == 5 * GIB + gpa && a.uncacheable.page == GIB,
               "GPA %lx, linear %lx, page %x", gpa, a.uncacheable.linear, a.uncacheable.page);
        expect(a.cacheable.linear == gpa && a.cacheable.page == (gpa < 2 * MIB ? 4 * KIB : 2 * MIB),
               "GPA %lx, linear %lx, page %x", gpa, a.cacheable.linear, a.cacheable.page);
        sum += a.size;
        end = gpa + a.size;
    }
    expect(sum == RAM - 0x20000 - PAGE_SIZE, "%lx bytes in %ld aliases", sum, count);
    clean();
}

static void two_linear_addresses(void)
{
    *spot_entry() = 0;
    window_map(0, SPOT, PW | PWT);
    window_map(9, SPOT, PW | PCD | PWT);
    expect_alias(1, 0, SPOT, PAGE_SIZE, path(WINDOW, PAGE_SIZE, MT_WT),
                 path(WINDOW + 9 * PAGE_SIZE, PAGE_SIZE, MT_UC));
    clean();
}

/* Types of one class are no aliases. */
static void alike(void)
{
    uint64_t pat = rdmsr(MSR_PAT);
    wrmsr(MSR_PAT, 0x0700010500070406); /* 4 is WP, 5 is WC */
    window_map(0, SPOT, PW | PWT);
    window_map(1, SPOT, PW | PAT_4K);
    window_map(2, SPOT, PW);
    expect_aliases(0);
    *spot_entry() = 0;
    window_map(0, SPOT, PW | PCD);
    window_map(1, SPOT, PW | PAT_4K | PWT);
    window_map(2, SPOT, PW | PCD | PWT);
    expect_aliases(0);
    wrmsr(MSR_PAT, pat);
    clean();
}

/* The types count, not the PAT alone: where the MTRRs say UC there is no alias. */
static void by_mtrrs(void)
{
    const uint32_t base = MSR_MTRR_PHYSBASE0 + 14, mask = base + 1;
    wrmsr(base, (SPOT + PAGE_SIZE) | MT_UC);
    wrmsr(mask, (address_mask() & ~(PAGE_SIZE - 1)) | MASK_V);
    expect_aliases(0);
    for (unsigned i = 0; i < 3; i++)
        window_map(i, SPOT + i * PAGE_SIZE, PW | PCD);
    expect_alias(2, 0, SPOT, PAGE_SIZE, path(SPOT, 2 * MIB, MT_WB),
                 path(WINDOW, PAGE_SIZE, MT_UC_MINUS));
    expect_alias(2, 1, SPOT + 2 * PAGE_SIZE, PAGE_SIZE, path(SPOT + 2 * PAGE_SIZE, 2 * MIB, MT_WB),
                 path(WINDOW + 2 * PAGE_SIZE, PAGE_SIZE, MT_UC_MINUS));
    wrmsr(mask, 0);
    clean();
}

/* Another process: its tables have one 2 MiB page at 3 GiB, and are never loaded. */
static void two_processes(void)
{
    const uint64_t cr3 = (uint64_t)other_pml4;
    *spot_entry() = 0;
    memset(other_pml4, 0, sizeof(table));
    memset(other_pdpt, 0, sizeof(table));
    memset(other_directory, 0, sizeof(table));
    other_pml4[300] = (uint64_t)other_pdpt | PW;
    other_pdpt[3] = (uint64_t)other_directory | PW;
    other_directory[1] = SPOT | PW | PS;
    window_map(5, SPOT + 0x7000, PW | PCD);
    expect_aliases(0);
    question = (struct alias_question){.count = 1, .root = {cr3}};
    struct path theirs = path(0xffff960000000000 + 3 * GIB + 2 * MIB + 0x7000, 2 * MIB, MT_WB);
    theirs.root = cr3;
    expect_alias(1, 0, SPOT + 0x7000, PAGE_SIZE, theirs,
                 path(WINDOW + 5 * PAGE_SIZE, PAGE_SIZE, MT_UC_MINUS));
    window_map(5, SPOT + 0x7000, PW);
    expect_aliases(0);
    clean();
}

/* --- every mode ------------------------------------------------------------------------------- */

#define LONG .cr0 = CR0_PG, .cr4 = CR4_PAE, .efer = EFER_LME

enum { ANSWER = LOW_DATA + 0x800, SMALL = 0x123000, FAR = 100 }; /* FAR: an entry of a directory */
enum { PAE = 4 };                                                /* in the table below */

/* A mode, and the alias that its tables have: at which GPA and by which other path. */
static struct {
    struct mode mode;
    uint64_t gpa, linear, page, cacheable_page;
} modes[] = {
    {{.name = "real", .kind = MODE_REAL, .bits = 16}, 0, 0, 0, 0},
    {{.name = "32-bit, unpaged", .kind = MODE_32, .bits = 32}, 0, 0, 0, 0},
    {{.name = "32-bit paging", .kind = MODE_32, .bits = 32, .cr0 = CR0_PG},
     SMALL,
     (FAR << 22) + 7 * PAGE_SIZE,
     PAGE_SIZE,
     PAGE_SIZE},
    {{.name = "PSE", .kind = MODE_32, .bits = 32, .cr0 = CR0_PG, .cr4 = CR4_PSE},
     SPOT,
     FAR << 22,
     4 * MIB,
     4 * MIB},
    {{.name = "PAE", .kind = MODE_32, .bits = 32, .cr0 = CR0_PG, .cr4 = CR4_PAE},
     SPOT,
     FAR << 21,
     2 * MIB,
     2 * MIB},
    {{.name = "compatibility", .kind = MODE_32, .bits = 32, LONG},
     SPOT,
     FAR << 21,
     2 * MIB,
     2 * MIB},
    {{.name = "64-bit", .kind = MODE_64, .bits = 64, LONG}, SPOT, FAR << 21, 2 * MIB, 2 * MIB},
    {{.name = "64-bit, 5 levels",
      .kind = MODE_64,
      .bits = 64,
      .cr0 = CR0_PG,
      .cr4 = CR4_PAE | CR4_LA57,
      .efer = EFER_LME},
     SPOT,
     FAR << 21,
     2 * MIB,
     2 * MIB},
};

static void ask_in(const struct mode *m, int64_t *result, struct alias_answer *answer)
{
    void *at = (void *)(uintptr_t)ANSWER;
    __asm__("" : "+r"(at)); /* an object there is unknown to the compiler */
    struct registers r = {.rflags = RFLAGS_FIXED};
    memset(at, 0xff, sizeof(*answer));
    r.gpr[RAX] = HYPERCALL_ALIAS;
    r.gpr[RBX] = (uint64_t)&question;
    r.gpr[RCX] = ANSWER;
    struct fault fault = mode_run(m, machine.intel ? &op_vmcall : &op_vmmcall, MODE_CODE, &r);
    expect(fault.vector == FAULT_NONE, "%s: vector %d", m->name, fault.vector);
    *result = (int32_t)r.gpr[RAX];
    memcpy(answer, at, sizeof(*answer));
}

static void check_mode(unsigned i)
{
    struct mode *m = &modes[i].mode;
    struct alias_answer a;
    int64_t result;
    uint64_t gpa = modes[i].gpa;
    m->cr3 = mode_tables(m);
    ask_in(m, &result, &a);
    expect(result == (gpa != 0), "%s: %ld aliases", m->name, result);
    if (gpa == 0)
        return;
    struct path cacheable = path(gpa, modes[i].cacheable_page, MT_WB);
    struct path uncacheable = path(modes[i].linear, modes[i].page, MT_UC_MINUS);
    cacheable.root = uncacheable.root = m->cr3;
    check_answer(&a, gpa, modes[i].page, cacheable, uncacheable);
}

static void plant_in_modes(void)
{
    table32[7] = SMALL | PW | PCD;
    mode_directory_4k[FAR] = (uint32_t)(uintptr_t)table32 | PW;
    mode_directory_pse[FAR] = (uint32_t)SPOT | PW | PS | PCD;
    page_directories[0][FAR] = SPOT | PW | PS | PCD;
    flush();
}

static void every_mode(void)
{
    plant_in_modes();
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
        if ((modes[i].mode.cr4 & CR4_LA57) == 0)
            check_mode(i);
    page_directories[0][FAR] = FAR * 2 * MIB | PW | PS;
    clean();
}

/* Another root's PDPTEs are those in memory, where the CPU holds its own. */
static void other_root_in_pae(void)
{
    struct mode *m = &modes[PAE].mode;
    struct alias_answer a;
    int64_t result;
    memset(other_pdpt, 0, sizeof(table));
    memset(other_directory, 0, sizeof(table));
    other_pdpt[4 + 1] = (uint64_t)other_directory | PAGE_P;
    other_directory[3] = SPOT | PW | PS | PCD;
    question = (struct alias_question){.count = 1, .root = {(uint64_t)&other_pdpt[4]}};
    m->cr3 = mode_tables(m);
    ask_in(m, &result, &a);
    struct path cacheable = path(SPOT, 2 * MIB, MT_WB);
    struct path uncacheable = path(GIB + 6 * MIB, 2 * MIB, MT_UC_MINUS);
    cacheable.root = m->cr3;
    uncacheable.root = question.root[0];
    if (expect(result == 1, "%ld aliases", result))
        check_answer(&a, SPOT, 2 * MIB, cacheable, uncacheable);
    clean();
}

static void five_levels(void)
{
    if ((cpuid(7, 0).ecx >> 16 & 1) == 0) {
        skip("no 5-level paging");
        return;
    }
    plant_in_modes();
    check_mode(ARRAY_SIZE(modes) - 1);
    page_directories[0][FAR] = FAR * 2 * MIB | PW | PS;
    clean();
}

/* --- bad questions ---------------------------------------------------------------------------- */

static void bad_questions(void)
{
    struct registers r = {.rflags = RFLAGS_FIXED};
    const void *form = machine.intel ? form_vmcall : form_vmmcall;
    question.count = ALIAS_ROOTS + 1;
    expect_aliases(ERROR_INVAL);
    question.count = UINT64_MAX;
    expect_aliases(ERROR_INVAL);
    clean();
    r.gpr[RAX] = HYPERCALL_ALIAS;
    r.gpr[RBX] = WINDOW + 8;
    struct fault fault = form_run(form, SEL_CODE64, &r);
    expect(fault.vector == VECTOR_PF && fault.error == 0 && fault.cr2 == WINDOW + 8,
           "no question: vector %d, error %x, CR2 %lx", fault.vector, fault.error, fault.cr2);
    window_map(1, SPOT, PW | PCD);
    r = (struct registers){.rflags = RFLAGS_FIXED};
    r.gpr[RAX] = HYPERCALL_ALIAS;
    r.gpr[RCX] = WINDOW + 2 * PAGE_SIZE - 16;
    fault = form_run(form, SEL_CODE64, &r);
    expect(fault.vector == VECTOR_PF && fault.error == PF_WRITE &&
               fault.cr2 == WINDOW + 2 * PAGE_SIZE,
           "no room: vector %d, error %x, CR2 %lx", fault.vector, fault.error, fault.cr2);
    expect(r.gpr[RAX] == HYPERCALL_ALIAS && fault.rip == (uint64_t)form, "RAX %lx", r.gpr[RAX]);
    clean();
}

/* --- hostile tables --------------------------------------------------------------------------- */

static void ask_of(uint64_t root, int64_t count)
{
    question = (struct alias_question){.count = 1, .root = {root}};
    expect_aliases(count);
}

/* A table all of whose entries lead to itself: as one of every level, and as a page. */
static void self_reference(void)
{
    const uint64_t self = (uint64_t)other_pml4;
    struct alias_answer a;
    for (unsigned i = 0; i < 512; i++)
        other_pml4[i] = self | PW;
    ask_of(self, 0);
    for (unsigned i = 0; i < 512; i++)
        other_pml4[i] = self | PW | PCD;
    ask_of(self, 1);
    ask(&question, 0, &a);
    expect(a.size == PAGE_SIZE && a.cacheable.linear == self && a.uncacheable.gpa == self,
           "size %lx, linear %lx, GPA %lx", a.size, a.cacheable.linear, a.uncacheable.gpa);
    clean();
    uint64_t *pml4 = (uint64_t *)read_cr3();
    pml4[511] = (uint64_t)pml4 | PW; /* as kernels do to reach their tables */
    flush();
    expect_aliases(0);
    pml4[511] |= PCD; /* then that is how they reach the root */
    flush();
    expect_alias(1, 0, (uint64_t)pml4, PAGE_SIZE, path((uint64_t)pml4, PAGE_SIZE, MT_WB),
                 path(0xfffffffffffff000, PAGE_SIZE, MT_UC_MINUS));
    pml4[511] = 0;
    clean();
}

/* Roots and tables in the hole and where nothing is. */
static void nowhere(void)
{
    static const uint64_t places[] = {0xd0000000, 0xb0000000, 0xffffffffff000, UINT64_MAX};
    memset(other_pml4, 0, sizeof(table));
    memset(other_pdpt, 0, sizeof(table));
    other_pml4[0] = (uint64_t)other_pdpt | PW;
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        ask_of(places[i], 0);
        other_pml4[1] = (places[i] & address_mask()) | PW;
        for (unsigned j = 0; j < 512; j++)
            other_pdpt[j] = (places[i] & address_mask()) | PW | (j % 2 == 0 ? PS : 0);
        ask_of((uint64_t)other_pml4, 0);
    }
    clean();
}

/* More tables than are read, 512 at each of DIRECTORIES places: empty ones, but who knows? */
static void many_tables(void)
{
    enum { DIRECTORIES = 5 };
    uint64_t(*directory)[512] = (uint64_t(*)[512])SPOT;
    uint64_t empty = SPOT + DIRECTORIES * PAGE_SIZE;
    memset(other_pml4, 0, sizeof(table));
    memset(other_pdpt, 0, sizeof(table));
    other_pml4[0] = (uint64_t)other_pdpt | PW;
    for (unsigned i = 0; i < DIRECTORIES; i++) {
        other_pdpt[i] = (uint64_t)directory[i] | PW;
        for (unsigned j = 0; j < 512; j++, empty += PAGE_SIZE)
            directory[i][j] = empty | PW;
    }
    ask_of((uint64_t)other_pml4, ERROR_2BIG);
    clean();
}

/* All of memory page by page in falling order: more runs than there is room for. */
static void fragments(void)
{
    enum { TABLES = RAM / (512 * PAGE_SIZE) };
    uint64_t(*tables)[512] = (uint64_t(*)[512])SPOT;
    uint64_t page = RAM;
    memset(other_pml4, 0, sizeof(table));
    memset(other_pdpt, 0, sizeof(table));
    memset(other_directory, 0, sizeof(table));
    other_pml4[0] = (uint64_t)other_pdpt | PW;
    other_pdpt[0] = (uint64_t)other_directory | PW;
    for (unsigned i = 0; i < TABLES; i++) {
        other_directory[i] = (uint64_t)tables[i] | PW;
        for (unsigned j = 0; j < 512; j++)
            tables[i][j] = (page -= PAGE_SIZE) | PW | PCD;
    }
    ask_of((uint64_t)other_pml4, ERROR_2BIG);
    clean();
}

/* --- without the right to ask ----------------------------------------------------------------- */

static void denied(void)
{
    struct alias_answer a;
    expect(ask(NULL, 0, &a) == -1 && a.size == UINT64_MAX, "allowed");
}

static const struct test_case without_control[] = {
    {"aliases without control = yes", needs_nosnoop, denied},
};

static const struct test_case cases[] = {
    {"no alias in clean tables", needs_nosnoop, none},
    {"4 KiB against 2 MiB", needs_nosnoop, small_against_large},
    {"2 MiB against 2 MiB", needs_nosnoop, large_against_large},
    {"1 GiB against all of memory", needs_nosnoop, huge},
    {"two linear addresses", needs_nosnoop, two_linear_addresses},
    {"types of one class", needs_nosnoop, alike},
    {"types by MTRRs", needs_nosnoop, by_mtrrs},
    {"two processes' tables", needs_nosnoop, two_processes},
    {"aliases in every mode", needs_nosnoop, every_mode},
    {"another root in PAE", needs_nosnoop, other_root_in_pae},
    {"aliases with 5 levels", needs_nosnoop, five_levels},
    {"bad questions about aliases", needs_nosnoop, bad_questions},
    {"tables that lead to themselves", needs_nosnoop, self_reference},
    {"tables where nothing is", needs_nosnoop, nowhere},
    {"more tables than are read", needs_nosnoop, many_tables},
    {"all of memory in fragments", needs_nosnoop, fragments},
};

void test_main(void)
{
    if (cmdline_has("denied", "yes")) {
        ktap_all(without_control, ARRAY_SIZE(without_control));
    }
    mode_init();
    ktap_all(cases, ARRAY_SIZE(cases));
}
