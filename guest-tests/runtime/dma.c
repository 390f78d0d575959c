/* Memory of every type for devices. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/dma.h"

#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/memtypes.h"
#include "guest-tests/runtime/policies.h"
#include "guest-tests/runtime/taken.h"
#include "lib/assert.h"
#include "lib/format.h"

/* The pool has one of the 2 MiB pages of the identity map to itself. */
#define POOL       0x2000000ull
#define POOL_SIZE  (DMA_PAGES * PAGE_SIZE)
#define LARGE_PAGE (2 * MIB)
#define RAM_FIRST  (2 * MIB)
#define RAM_END    (64 * MIB)

/* As after reset, but for slot 4: WC. */
#define PAT_WITH_WC 0x0007040100070406ull
enum { PWT = 1 << 3, PCD = 1 << 4, PAT_4K = 1 << 7 };
enum { LINE = 64, WORDS = PAGE_SIZE / 8 };

extern uint64_t page_directories[4][512];

const struct dma_kind dma_kinds[DMA_ALL_TYPES] = {
    [DMA_WB] = {"WB", MT_WB, MT_WB},
    [DMA_UC_PAT] = {"UC by PAT", MT_WB, MT_UC},
    [DMA_UC_MTRR] = {"UC by MTRR", MT_UC, MT_WB},
    [DMA_WC_PAT] = {"WC by PAT", MT_WB, MT_WC},
    [DMA_UC_MINUS_PAT] = {"UC- by PAT", MT_WB, MT_UC_MINUS},
    [DMA_WC_MTRR] = {"WC by MTRR", MT_WC, MT_WB},
    [DMA_WC_MTRR_UC_MINUS_PAT] = {"WC by MTRR, UC- by PAT", MT_WC, MT_UC_MINUS},
    [DMA_WC_MTRR_UC_PAT] = {"WC by MTRR, UC by PAT", MT_WC, MT_UC},
    [DMA_WC_MTRR_WC_PAT] = {"WC by both", MT_WC, MT_WC},
    [DMA_UC_MTRR_UC_MINUS_PAT] = {"UC by MTRR, UC- by PAT", MT_UC, MT_UC_MINUS},
    [DMA_UC_MTRR_UC_PAT] = {"UC by both", MT_UC, MT_UC},
    [DMA_UC_MTRR_WC_PAT] = {"UC by MTRR, WC by PAT", MT_UC, MT_WC},
};

static uint8_t types[DMA_PAGES]; /* enum dma_type */
static bool taken_pages[DMA_PAGES];
static unsigned next_page;
static int free_pair = -1; /* of the MTRRs; -1: there is none */

/* --- pattern ---------------------------------------------------------------------------------- */

/* Of the 8 bytes at a physical address. */
static uint64_t pattern(uint64_t physical)
{
    return (physical + 1) * 0x9e3779b97f4a7c15ull;
}

uint64_t dma_address(const volatile void *at)
{
    uint64_t offset = (uint64_t)at - 4 * GIB;
    assert(offset < POOL_SIZE);
    return POOL + offset;
}

uint8_t dma_pattern(const volatile void *at)
{
    uint64_t physical = dma_address(at);
    return (uint8_t)(pattern(physical & ~7ull) >> 8 * (physical & 7));
}

bool dma_is_pattern(const volatile void *at, size_t size)
{
    const volatile uint8_t *byte = at;
    for (size_t i = 0; i < size; i++)
        if (byte[i] != dma_pattern(byte + i))
            return false;
    return true;
}

static volatile uint64_t *page_at(unsigned page)
{
    return (volatile uint64_t *)(4 * GIB + page * PAGE_SIZE);
}

static bool is_untouched(unsigned page)
{
    volatile uint64_t *words = page_at(page);
    for (unsigned i = 0; i < WORDS; i++)
        if (words[i] != pattern(POOL + page * PAGE_SIZE + 8 * i))
            return false;
    return true;
}

/* --- all other memory ------------------------------------------------------------------------- */

/* The part of a range of memory that is nobody's. */
static struct range others(struct range r)
{
    r.start = r.start < RAM_FIRST ? RAM_FIRST : r.start;
    r.end = r.end > RAM_END ? RAM_END : r.end;
    return r;
}

static uint64_t *other_word(uint64_t at)
{
    return at - POOL < LARGE_PAGE ? NULL : (uint64_t *)at;
}

static void fill_memory(void)
{
    for (unsigned i = 0; i < machine.ram_count; i++) {
        struct range r = others(machine.ram[i]);
        for (uint64_t at = r.start; at < r.end; at += 8) {
            uint64_t *word = other_word(at);
            if (word != NULL)
                *word = pattern(at);
        }
    }
}

void dma_check_memory(void)
{
    unsigned wrong = 0;
    for (unsigned i = 0; i < machine.ram_count; i++) {
        struct range r = others(machine.ram[i]);
        for (uint64_t at = r.start; at < r.end; at += 8) {
            const uint64_t *word = other_word(at);
            if (word != NULL && *word != pattern(at))
                expect(wrong++ != 0, "%lx has changed: %lx", at, *word);
        }
    }
    expect(wrong == 0, "%u words have changed", wrong);
}

/* --- types ------------------------------------------------------------------------------------ */

static uint64_t entry_bits(enum dma_type type)
{
    unsigned pat = dma_kinds[type].pat;
    uint64_t slot = pat == MT_UC ? PCD | PWT : pat == MT_UC_MINUS ? PCD : pat == MT_WC ? PAT_4K : 0;
    return PAGE_P | PAGE_W | slot;
}

static void flush(const volatile void *at, size_t size)
{
    const volatile char *line = at;
    for (size_t i = 0; i < size + (uint64_t)at % LINE; i += LINE)
        clflush((const void *)(uintptr_t)(line + i));
}

void dma_sync(const volatile void *at, size_t size)
{
    unsigned page = (unsigned)((dma_address(at) - POOL) / PAGE_SIZE);
    if (types[page] == DMA_WB)
        flush(at, size);
    mfence();
}

/* The free pair gives COUNT pages from PAGE its type, or nothing. */
static void set_pair(unsigned page, unsigned count, unsigned type)
{
    struct mtrrs mtrrs;
    assert(free_pair >= 0 && is_aligned(page, count) && (count & (count - 1)) == 0);
    mtrrs_read(&mtrrs);
    uint64_t mask = count == 0 ? 0 : (address_mask() & ~(count * PAGE_SIZE - 1)) | MASK_V;
    mtrrs.pair[2 * free_pair] = count == 0 ? 0 : (POOL + page * PAGE_SIZE) | type;
    mtrrs.pair[2 * free_pair + 1] = mask;
    mtrrs_update(&mtrrs);
}

/* SDM, "Programming the PAT": no line of the page is cached any more when it has another type. */
static void map(unsigned page, enum dma_type type)
{
    if (types[page] == DMA_WB)
        flush(page_at(page), PAGE_SIZE);
    mfence();
    types[page] = (uint8_t)type;
    window_map(page, POOL + page * PAGE_SIZE, entry_bits(type));
}

static bool is_by_mtrr(unsigned type)
{
    return dma_kinds[type].mtrr != MT_WB;
}

void dma_retype(void *at, unsigned count, enum dma_type type)
{
    unsigned first = (unsigned)((dma_address(at) - POOL) / PAGE_SIZE);
    bool by_mtrr = is_by_mtrr(types[first]);
    for (unsigned i = 0; i < count; i++)
        map(first + i, type);
    if (is_by_mtrr(type))
        set_pair(first, count, dma_kinds[type].mtrr);
    else if (by_mtrr)
        set_pair(0, 0, MT_UC);
}

static void find_free_pair(void)
{
    struct mtrrs mtrrs;
    mtrrs_read(&mtrrs);
    for (int i = 0; i < PAIRS && free_pair < 0; i++)
        if ((mtrrs.pair[2 * i + 1] & MASK_V) == 0)
            free_pair = i;
}

static bool has_pool(void)
{
    for (unsigned i = 0; i < machine.ram_count; i++)
        if (machine.ram[i].start <= POOL && machine.ram[i].end >= POOL + LARGE_PAGE)
            return true;
    return false;
}

void dma_init(void)
{
    assert(has_pool());
    fill_memory();
    dma_init_again();
}

void dma_init_again(void)
{
    find_free_pair();
    wrmsr(MSR_PAT, PAT_WITH_WC);
    for (unsigned page = 0; page < DMA_PAGES; page++)
        window_map(page, POOL + page * PAGE_SIZE, entry_bits(DMA_WB));
    flush((const void *)POOL, POOL_SIZE);
    page_directories[0][POOL / LARGE_PAGE] = 0;
    write_cr3(read_cr3());
}

/* --- cases ------------------------------------------------------------------------------------ */

void dma_begin(enum dma_type type)
{
    dma_retype((void *)(uintptr_t)page_at(0), DMA_PAGES, type);
    for (unsigned page = 0; page < DMA_PAGES; page++) {
        taken_pages[page] = false;
        for (unsigned i = 0; i < WORDS; i++)
            page_at(page)[i] = pattern(POOL + page * PAGE_SIZE + 8 * i);
    }
    dma_sync(page_at(0), POOL_SIZE);
    next_page = 1;
}

void *dma_take(unsigned count)
{
    unsigned first = next_page;
    assert(first + count < DMA_PAGES);
    next_page += count + 1;
    for (unsigned i = 0; i < count; i++)
        taken_pages[first + i] = true;
    return (void *)(uintptr_t)page_at(first);
}

/*
 * The rules in force: exact ones, as the device does not snoop, unless the command line has
 * `dma=coherent`. NULL: they are others.
 */
static const struct rules *find_rules(void)
{
    bool coherent = cmdline_has("dma", "coherent");
    unsigned policy = coherent ? POLICY_WB : POLICY_EXACT;
    int64_t told = policy_call(POLICY_ASK, 0);
    bool same = expect(told == policy, "policy %ld, not %s", told, policy_names[policy]);
    return same ? rules_of(policy, !coherent) : NULL;
}

static void expect_type(unsigned page, const struct rules *rules, const struct mtrrs *mtrrs)
{
    struct type_answer a;
    int64_t result = oracle_ask(HYPERCALL_TYPE_LINEAR, (uint64_t)page_at(page), 0, &a);
    if (!expect(result == 0, "the oracle says %ld", result))
        return;
    uint64_t at = POOL + page * PAGE_SIZE;
    unsigned want = memory_by(rules, mtrrs, false, at, dma_kinds[types[page]].pat).effective;
    expect(a.gpa == at && a.effective == want, "%s: GPA %lx is %s, not %s",
           dma_kinds[types[page]].name, a.gpa, type_name(a.effective), type_name(want));
}

void dma_end(void)
{
    struct mtrrs mtrrs;
    const struct rules *rules = machine.nosnoop ? find_rules() : NULL;
    mtrrs_read(&mtrrs);
    for (unsigned page = 0; page < DMA_PAGES; page++)
        if (!taken_pages[page])
            expect(is_untouched(page), "page %u of the pool, a guard, has changed", page);
        else if (rules != NULL)
            expect_type(page, rules, &mtrrs);
}

void dma_run(const char *name, const char *(*needs)(void), void (*run)(void))
{
    for (unsigned type = 0; type < DMA_TYPES; type++) {
        char text[96];
        format(text, sizeof(text), "%s, %s", name, dma_kinds[type].name);
        ktap_start(text);
        const char *unmet = needs == NULL ? NULL : needs();
        if (unmet == NULL && is_by_mtrr(type) && free_pair < 0)
            unmet = "firmware uses all MTRRs";
        if (unmet != NULL) {
            skip(unmet);
        } else {
            dma_begin((enum dma_type)type);
            run();
            dma_end();
        }
        ktap_finish();
    }
}

bool dma_wait(unsigned vector, uint32_t count)
{
    sti();
    bool comes = taken_wait(smp_index(), vector, count);
    cli();
    return comes;
}
