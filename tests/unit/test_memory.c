/* Memory map, frames, extents and PATs against per-page models and hand-made odd cases. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/host.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/errno.h"
#include "mm/extents.h"
#include "mm/frames.h"
#include "mm/memmap.h"
#include "mm/memtype.h"

enum { PAGES = 512 };

/* --- PATs ------------------------------------------------------------------------------------- */

static void test_pat(void **state)
{
    (void)state;
    /* SDM, "Memory Types That Can Be Encoded With PAT": 0 1 4 5 6 7; reset value 0007040600070406h.
     */
    static const uint8_t slots[8] = {6, 4, 7, 0, 1, 5, 7, 0};
    for (unsigned slot = 0; slot < 8; slot++) {
        assert_int_equal(pat_type(HOST_PAT, slot), slots[slot]);
        for (uint64_t type = 0; type < 256; type++) {
            bool legal = type == 0 || type == 1 || (type >= 4 && type <= 7);
            uint64_t pat = (HOST_PAT & ~(0xffull << 8 * slot)) | type << 8 * slot;
            assert_int_equal(pat_is_legal(pat), legal);
        }
    }
    assert_int_equal(HOST_PAT & 0xffffffff, 0x0007040600070406ull & 0xffffffff);
    assert_int_equal(host_pat_slot(MT_WB), 0);
    assert_int_equal(host_pat_slot(MT_WT), 1);
    assert_int_equal(host_pat_slot(MT_UC_MINUS), 2);
    assert_int_equal(host_pat_slot(MT_UC), 3);
    assert_int_equal(host_pat_slot(MT_WC), 4);
    assert_int_equal(host_pat_slot(MT_WP), 5);
    static const char *const names[] = {"UC", "WC", "?", "?", "WT", "WP", "WB", "UC-", "?"};
    for (unsigned type = 0; type < ARRAY_SIZE(names); type++)
        assert_string_equal(memtype_name(type), names[type]);
}

/* --- memory map ------------------------------------------------------------------------------- */

static struct boot_info info;
static struct memmap map;
static uint8_t kinds[PAGES]; /* the model */

static void add(uint64_t start, uint64_t end, uint32_t kind)
{
    info.ranges[info.range_count++] = (struct mem_range){start, end, kind, 99};
}

static void check_shape(void)
{
    for (unsigned i = 0; i < map.count; i++) {
        const struct mem_range *r = &map.r[i];
        assert_true(r->start < r->end && r->end <= 1ull << 52 && (r->start | r->end) % 4096 == 0);
        assert_true(r->kind >= MEM_RAM && r->kind <= MEM_HYPERVISOR && r->source == 0);
        if (i > 0)
            assert_true(r->start > r[-1].end || (r->start == r[-1].end && r->kind != r[-1].kind));
    }
}

/* Every answer of the map for the pages at BASE, and that it ends where the answer changes. */
static void check_kinds(uint64_t base)
{
    check_shape();
    for (unsigned i = 0; i < PAGES; i++) {
        uint64_t next, at = base + i * 4096ull;
        assert_int_equal(memmap_kind_at(&map, at, &next), kinds[i]);
        assert_true(next > at && (next == UINT64_MAX || next % 4096 == 0));
        unsigned end = i + 1;
        while (end < PAGES && kinds[end] == kinds[i])
            end++;
        if (end < PAGES)
            assert_int_equal(next, base + end * 4096ull);
        if (end < PAGES)
            assert_false(memmap_is_all(&map, at, base + end * 4096ull + 1, 1u << kinds[i]));
        assert_true(memmap_is_all(&map, at, base + end * 4096ull, 1u << kinds[i]));
        assert_false(memmap_is_all(&map, at, base + end * 4096ull, ~(1u << kinds[i])));
        assert_int_equal(memmap_kind_at(&map, at + 4095, &next), kinds[i]);
    }
}

/* RAM counts where it fills a page, all else where it touches one; the highest wins. */
static void model_add(uint64_t base, uint64_t start, uint64_t end, unsigned kind)
{
    for (unsigned i = 0; i < PAGES; i++) {
        uint64_t at = base + i * 4096ull;
        bool full = start <= at && end >= at + 4096, touched = start < at + 4096 && end > at;
        if (start < end && at < 1ull << 52 && (kind == MEM_RAM ? full : touched) && kinds[i] < kind)
            kinds[i] = (uint8_t)kind;
    }
}

static void test_memmap_random(void **state)
{
    (void)state;
    static const uint64_t bases[] = {0, 0xfff00000, 1ull << 32, (1ull << 52) - PAGES * 2048ull};
    uint64_t r = 4711;
    for (unsigned n = 0; n < 400; n++) {
        uint64_t base = bases[n % ARRAY_SIZE(bases)];
        memset(&info, 0, sizeof(info));
        memset(kinds, 0, sizeof(kinds));
        add(base, base + 8192, MEM_RAM);
        model_add(base, base, base + 8192, MEM_RAM);
        for (uint64_t count = host_random(&r) % 60; count > 0; count--) {
            uint64_t start = base + host_random(&r) % (PAGES * 4096);
            uint64_t end = start + host_random(&r) % (host_random(&r) % 2 ? 6000 : 200000);
            if (host_random(&r) % 2)
                start &= ~0xfffull;
            if (end > base + PAGES * 4096ull)
                end = base + PAGES * 4096ull;
            unsigned kind = (unsigned)(host_random(&r) % 8);
            add(start, end, kind);
            model_add(base, start, end, kind == 0 ? MEM_FIRMWARE : kind);
        }
        uint64_t file = base + host_random(&r) % (PAGES * 2048);
        info.files[0] = (struct boot_file){.hpa = file, .size = host_random(&r) % 9000};
        info.file_count = 1;
        model_add(base, file, file + info.files[0].size, MEM_FILE);
        int error = memmap_build(&info, &map);
        assert_int_equal(error, memchr(kinds, MEM_RAM, PAGES) != NULL ? 0 : -ENOMEM);
        check_kinds(base);
    }
}

/* Does the search by trying every page. */
static void check_find(uint64_t size, uint64_t align, uint64_t min, uint64_t max)
{
    uint64_t found = UINT64_MAX, expected = UINT64_MAX;
    for (uint64_t at = 0; at + size <= PAGES * 4096 && expected == UINT64_MAX; at += 4096) {
        bool fits = at % align == 0 && at >= min && at + size <= max;
        for (uint64_t i = at / 4096; i < (at + size) / 4096; i++)
            fits = fits && kinds[i] == MEM_RAM;
        if (fits)
            expected = at;
    }
    int error = memmap_find(&map, size, align, min, max, &found);
    assert_int_equal(error, expected == UINT64_MAX ? -ENOMEM : 0);
    assert_int_equal(found, expected);
}

static void test_memmap_set_and_find(void **state)
{
    (void)state;
    uint64_t r = 815;
    memset(kinds, 0, sizeof(kinds));
    map.count = 0;
    for (unsigned n = 0; n < 1500; n++) {
        uint64_t start = host_random(&r) % PAGES;
        uint64_t size = host_random(&r) % (n % 3 == 0 ? 60 : 8) + 1;
        unsigned kind = n % 2 == 0 ? MEM_RAM : (unsigned)(host_random(&r) % 7 + 1);
        if (start + size > PAGES)
            size = PAGES - start;
        memset(&kinds[start], (int)kind, size);
        assert_int_equal(memmap_set(&map, start * 4096, (start + size) * 4096, (enum mem_kind)kind),
                         0);
        check_kinds(0);
        check_find((host_random(&r) % 12 + 1) * 4096, 4096ull << host_random(&r) % 6,
                   host_random(&r) % (PAGES * 4096), host_random(&r) % (PAGES * 8192));
    }
    assert_int_equal(memmap_find(&map, 1ull << 63, 4096, 0, UINT64_MAX, &r), -ENOMEM);
    assert_int_equal(memmap_find(&map, 4096, 1ull << 63, 4096, UINT64_MAX, &r), -ENOMEM);
}

static void test_memmap_odd(void **state)
{
    (void)state;
    uint64_t next;
    memset(&info, 0, sizeof(info));
    host_log_reset();
    add(0x1800, 0x2800, MEM_RAM);             /* no whole page */
    add(0x5000, 0x4000, MEM_RAM);             /* wraps */
    add(0x6000, 0x6000, MEM_BAD);             /* empty */
    add(0, UINT64_MAX, MEM_MMIO);             /* everything, and more than there is */
    add(UINT64_MAX - 5, UINT64_MAX, MEM_BAD); /* above all */
    assert_int_equal(memmap_build(&info, &map), -ENOMEM);
    assert_non_null(strstr(host_log, "0x5000 to 0x4000 (kind 1) wraps"));
    assert_non_null(strstr(host_log, "0xfffffffffffffffa to 0xffffffffffffffff (kind 6)"));
    assert_non_null(strstr(host_log, "no RAM in it; boot by another door"));
    assert_int_equal(map.count, 1);
    assert_int_equal(memmap_kind_at(&map, (1ull << 52) - 1, &next), MEM_MMIO);
    assert_int_equal(next, 1ull << 52);
    assert_int_equal(memmap_kind_at(&map, 1ull << 52, &next), 0);
    assert_int_equal(next, UINT64_MAX);
    info.dropped_ranges = 3;
    info.range_count = 0;
    add(0, 4096, MEM_RAM);
    info.files[0] = (struct boot_file){.hpa = UINT64_MAX - 10, .size = 4096}; /* wraps */
    info.file_count = 1;
    assert_int_equal(memmap_build(&info, &map), 0);
    assert_int_equal(map.count, 1);
    assert_non_null(strstr(host_log, "3 ranges beyond the first 256"));
}

/* The most pieces that a door can describe: ranges inside ranges, each of a higher kind. */
static void test_memmap_nested(void **state)
{
    (void)state;
    memset(&info, 0, sizeof(info));
    add(0, 256 * 0x10000, MEM_RAM);
    for (uint64_t i = 1; i < BOOT_MAX_RANGES; i++)
        add(i * 0x10000, i * 0x10000 + 0x8000, i % 2 ? MEM_ACPI : MEM_MMIO);
    for (uint64_t i = 0; i < BOOT_MAX_FILES; i++)
        info.files[info.file_count++] = (struct boot_file){.hpa = i * 0x10000 + 0xa000, .size = 1};
    assert_int_equal(memmap_build(&info, &map), 0);
    check_shape();
    assert_int_equal(map.count, 2 * (255 + 32) + 1);
}

static void test_memmap_full(void **state)
{
    (void)state;
    static struct memmap before;
    map.count = 0;
    host_log_reset();
    assert_int_equal(memmap_set(&map, 0, 1ull << 40, MEM_RAM), 0);
    int error = 0;
    for (uint64_t at = 0x10000; error == 0; at += 0x10000) {
        assert_true(map.count <= MEMMAP_MAX && at < 1000 * 0x10000);
        before = map;
        error = memmap_set(&map, at, at + 0x1000, MEM_BAD);
    }
    assert_int_equal(error, -E2BIG);
    assert_true(map.count == before.count && map.count + 2 > MEMMAP_MAX);
    assert_memory_equal(&map.r, &before.r, map.count * sizeof(map.r[0]));
    assert_non_null(strstr(host_log, "memory map: more than 640 ranges"));
}

/* --- frames ----------------------------------------------------------------------------------- */

enum { FRAMES = 300 };
static _Alignas(4096) uint8_t memory[FRAMES][4096];
static struct frames frames;
static bool taken[FRAMES];

static bool has_run(unsigned n)
{
    unsigned run = 0;
    for (unsigned i = 0; i < FRAMES; i++) {
        run = taken[i] ? 0 : run + 1;
        if (run == n)
            return true;
    }
    return false;
}

static void check_alloc(unsigned n)
{
    uint8_t *p = frames_alloc(&frames, n);
    assert_int_equal(p != NULL, has_run(n));
    if (p == NULL)
        return;
    unsigned first = (unsigned)((size_t)(p - memory[0]) / 4096);
    assert_true(p == memory[first] && first + n <= FRAMES);
    for (unsigned i = first; i < first + n; i++) {
        assert_false(taken[i]);
        taken[i] = true;
    }
    for (unsigned i = 0; i < n * 4096; i++)
        assert_true(p[i] == 0);
    memset(p, 0xa5, n * 4096);
    assert_int_equal(frames_hpa(&frames, p + 5).v, 0x40000000 + first * 4096 + 5);
    assert_ptr_equal(frames_at(&frames, hpa(0x40000000 + first * 4096 + 5)), p + 5);
}

static void test_frames(void **state)
{
    (void)state;
    uint64_t r = 42;
    memset(memory, 0xa5, sizeof(memory));
    frames_init(&frames, memory, hpa(0x40000000), sizeof(memory));
    assert_int_equal(frames.count, FRAMES);
    for (unsigned n = 0; n < 6000; n++) {
        unsigned size = host_random(&r) % 4 != 0 ? 1 : (unsigned)(host_random(&r) % 70 + 1);
        unsigned at = (unsigned)(host_random(&r) % FRAMES), used = 0;
        bool all = at + size <= FRAMES;
        for (unsigned i = at; all && i < at + size; i++)
            all = taken[i];
        if (n / 600 % 2 == 0 || !all) {
            check_alloc(size);
        } else {
            frames_free(&frames, memory[at], size);
            memset(&taken[at], false, size);
        }
        for (unsigned i = 0; i < FRAMES; i++)
            used += taken[i];
        assert_int_equal(frames.free, FRAMES - used);
    }
    while (has_run(1))
        check_alloc(1);
    assert_null(frames_alloc(&frames, 1));
    assert_int_equal(frames.free, 0);
}

/* Runs F in a child, which must die of an assertion. */
static void expect_assertion(void (*f)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        if (freopen("/dev/null", "w", stderr) != NULL)
            f();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void fresh_frames(void)
{
    frames_init(&frames, memory, hpa(0x40000000), sizeof(memory));
}

static void double_free(void)
{
    fresh_frames();
    uint8_t *p = frames_alloc(&frames, 3);
    frames_free(&frames, p + 4096, 1);
    frames_free(&frames, p, 3);
}

static void free_outside(void)
{
    fresh_frames();
    frames_free(&frames, memory + FRAMES, 1);
}

static void free_beyond(void)
{
    fresh_frames();
    frames_free(&frames, memory[FRAMES - 1], 2);
}

static void free_inside(void)
{
    fresh_frames();
    uint8_t *p = frames_alloc(&frames, 1);
    frames_free(&frames, p + 8, 1);
}

static void at_below(void)
{
    fresh_frames();
    frames_at(&frames, hpa(0x3fffffff));
}

static struct extents extents;

static void free_extent_twice(void)
{
    struct extent e[2];
    unsigned n;
    map.count = 0;
    memmap_set(&map, 0, 64 * MIB, MEM_RAM);
    extents_init(&extents, &map, MIB);
    extents_alloc(&extents, (struct range){0, 8 * MIB}, e, 2, &n);
    extents_free(&extents, e, n);
    extents_free(&extents, e, n);
}

static void test_assertions(void **state)
{
    (void)state;
    expect_assertion(double_free);
    expect_assertion(free_outside);
    expect_assertion(free_beyond);
    expect_assertion(free_inside);
    expect_assertion(at_below);
    expect_assertion(free_extent_twice);
}

/* --- extents ---------------------------------------------------------------------------------- */

struct layout {
    struct range ram[4]; /* MiB */
    struct range gpas;   /* MiB */
    struct {
        uint64_t gpa, hpa, size; /* MiB */
    } expected[4];
};

static const struct layout layouts[] = {
    /* One range: the lowest place where both agree modulo 2 MiB. */
    {{{0, 4096}}, {0, 64}, {{0, 2, 64}}},
    /* A whole GiB in it: modulo 1 GiB. */
    {{{0, 4096}}, {0, 2048}, {{0, 1024, 2048}}},
    {{{0, 4096}}, {1024, 3072}, {{1024, 1024, 2048}}},
    /* The longest piece that holds a whole GiB first, the rest where 2 MiB leaves fit. */
    {{{0, 2560}}, {0, 2048}, {{0, 2048, 2}, {2, 2, 2046}}},
    /* A cut at an odd MiB is moved to a multiple of 2 MiB. */
    {{{0, 2561}, {4097, 4200}}, {0, 2600}, {{0, 4138, 2}, {2, 2, 2558}, {2560, 4098, 40}}},
    /* A hole: the GiB below it and the GiB above it, each with its surroundings. */
    {{{0, 3072}, {4096, 8192}}, {0, 5120}, {{0, 4096, 4096}, {4096, 1024, 1024}}},
    /* No whole GiB anywhere: modulo 2 MiB, longest first. */
    {{{512, 1536}, {2560, 3584}}, {0, 1200}, {{0, 512, 1024}, {1024, 2560, 176}}},
    /* The smallest range that takes it all, so that the large one lasts. */
    {{{16, 2064}, {4096, 4352}, {5000, 5064}}, {0, 64}, {{0, 5000, 64}}},
    /* Guest memory from 4 GiB up. */
    {{{0, 1024}, {4096, 6144}}, {4096, 5120}, {{4096, 4096, 1024}}},
    /* An odd MiB at each end of both: pages, but the middle by 2 MiB. */
    {{{3, 6}}, {1, 4}, {{1, 3, 3}}},
    {{{4, 7}}, {1, 4}, {{1, 6, 1}, {2, 4, 2}}},
};

static void set_ram(const struct range *ram, unsigned n, uint64_t unit)
{
    map.count = 0;
    for (unsigned i = 0; i < n && ram[i].end != 0; i++)
        assert_int_equal(memmap_set(&map, ram[i].start * unit, ram[i].end * unit, MEM_RAM), 0);
    assert_int_equal(extents_init(&extents, &map, MIB), 0);
}

static void test_extents_layouts(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(layouts); i++) {
        const struct layout *l = &layouts[i];
        struct extent out[4];
        unsigned count, expected = 0;
        set_ram(l->ram, 4, MIB);
        uint64_t bytes = extents_bytes(&extents);
        struct range gpas = {l->gpas.start * MIB, l->gpas.end * MIB};
        assert_int_equal(extents_alloc(&extents, gpas, out, 4, &count), 0);
        for (; expected < 4 && l->expected[expected].size != 0; expected++) {
            assert_int_equal(out[expected].gpa.v, l->expected[expected].gpa * MIB);
            assert_int_equal(out[expected].hpa.v, l->expected[expected].hpa * MIB);
            assert_int_equal(out[expected].size, l->expected[expected].size * MIB);
        }
        assert_int_equal(count, expected);
        assert_int_equal(extents_bytes(&extents), bytes - (gpas.end - gpas.start));
        assert_int_equal(extents.taken, count);
    }
}

static void test_extents_limits(void **state)
{
    (void)state;
    struct extent out[3];
    unsigned count;
    static const struct range islands[] = {{3, 5}, {8, 10}, {13, 15}, {20, 22}};
    set_ram(islands, 4, MIB);
    static struct extents before;
    before = extents;
    host_log_reset();
    assert_int_equal(extents_alloc(&extents, (struct range){0, 9 * MIB}, out, 3, &count), -ENOMEM);
    assert_int_equal(extents_alloc(&extents, (struct range){0, 8 * MIB}, out, 3, &count), -ENOMEM);
    assert_int_equal(count, 0);
    assert_memory_equal(&extents, &before, sizeof(extents));
    assert_non_null(strstr(host_log, "guest memory: 9216 KiB wanted, 8192 KiB free in 4 ranges"));
    unsigned given = 0;
    for (uint64_t at = 0;; at += 4096, given++)
        if (extents_alloc(&extents, (struct range){at, at + 4096}, out, 3, &count) != 0)
            break;
    assert_int_equal(given, EXTENTS_MAX_TAKEN);
    map.count = 0;
    assert_int_equal(memmap_set(&map, 0, MIB, MEM_RAM), 0);
    assert_int_equal(memmap_set(&map, MIB, 2 * MIB, MEM_FILE), 0);
    assert_int_equal(extents_init(&extents, &map, MIB), -ENOMEM);
}

/* GPA = HPA: the lowest free pieces in the range, around what is not, until there are so many. */
static void test_extents_same(void **state)
{
    (void)state;
    struct extent out[3];
    unsigned count;
    static const struct range islands[] = {{0, 4}, {5, 8}, {10, 12}, {20, 22}};
    set_ram(islands, 4, MIB);
    uint64_t all = extents_bytes(&extents);
    assert_int_equal(
        extents_alloc_same(&extents, (struct range){2 * MIB, 21 * MIB}, 6 * MIB, out, 3, &count),
        6 * MIB);
    assert_int_equal(count, 3);
    static const struct range wanted[] = {{2, 4}, {5, 8}, {10, 11}};
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(out[i].gpa.v, wanted[i].start * MIB);
        assert_int_equal(out[i].hpa.v, out[i].gpa.v);
        assert_int_equal(out[i].size, (wanted[i].end - wanted[i].start) * MIB);
    }
    assert_int_equal(extents_bytes(&extents), all - 6 * MIB);
    struct extent more[3];
    unsigned n; /* what is left there: 1 MiB at 11, and 1 MiB of what lies across its end */
    assert_int_equal(
        extents_alloc_same(&extents, (struct range){2 * MIB, 21 * MIB}, 6 * MIB, more, 3, &n),
        2 * MIB);
    assert_int_equal(n, 2);
    assert_true(more[0].gpa.v == 11 * MIB && more[1].gpa.v == 20 * MIB && more[1].size == MIB);
    extents_free(&extents, more, n);
    assert_int_equal(
        extents_alloc_same(&extents, (struct range){2 * MIB, 21 * MIB}, 6 * MIB, more, 1, &n), MIB);
    assert_int_equal(n, 1);
    assert_int_equal(
        extents_alloc_same(&extents, (struct range){30 * MIB, 40 * MIB}, MIB, &more[1], 1, &n), 0);
    assert_int_equal(n, 0);
    extents_free(&extents, more, 1);
    extents_free(&extents, out, count);
    assert_int_equal(extents_bytes(&extents), all);
}

/* Where guests' RAM begins is the caller's affair. */
static void test_extents_from(void **state)
{
    (void)state;
    struct extent out;
    unsigned count;
    map.count = 0;
    assert_int_equal(memmap_set(&map, 0, 640 * KIB, MEM_RAM), 0);
    assert_int_equal(extents_init(&extents, &map, MIB), -ENOMEM);
    assert_int_equal(extents_init(&extents, &map, PAGE_SIZE), 0);
    assert_int_equal(extents_alloc_same(&extents, (struct range){0, MIB}, MIB, &out, 1, &count),
                     636 * KIB);
    assert_int_equal(out.gpa.v, PAGE_SIZE);
}

/* Owner of each host page of a small machine: 0 no RAM, 1 free, else 2 + number of the allocation.
 */
enum { MACHINE = 16384, LIVE = 6, PIECES = 40 };
static uint8_t owners[MACHINE];

struct live {
    struct range gpas;
    struct extent e[PIECES];
    unsigned count;
};

static void check_pool(void)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < extents.count; i++) {
        const struct range *r = &extents.r[i];
        assert_true(r->start < r->end && (i == 0 || r[-1].end < r->start));
        bytes += r->end - r->start;
        for (uint64_t page = r->start / 4096; page < r->end / 4096; page++)
            assert_true(owners[page] == 1);
    }
    for (unsigned page = 0; page < MACHINE; page++)
        bytes -= owners[page] == 1 ? 4096 : 0;
    assert_int_equal(bytes, 0);
}

static void check_live(const struct live *l, uint8_t owner)
{
    uint64_t at = l->gpas.start;
    for (unsigned i = 0; i < l->count; i++) {
        const struct extent *e = &l->e[i];
        assert_int_equal(e->gpa.v, at);
        assert_true(e->size > 0 && e->size % 4096 == 0 && e->hpa.v % 4096 == 0);
        for (uint64_t page = e->hpa.v / 4096; page < (e->hpa.v + e->size) / 4096; page++) {
            assert_true(owners[page] == 1);
            owners[page] = owner;
        }
        hpa_t to = hpa(0);
        assert_true(extent_hpa(l->e, l->count, gpa(at + 3), e->size - 3, &to));
        assert_int_equal(to.v, e->hpa.v + 3);
        assert_false(extent_hpa(l->e, l->count, gpa(at + 3), e->size - 2, &to));
        assert_false(extent_hpa(l->e, l->count, gpa(at + 3), UINT64_MAX, &to));
        at += e->size;
    }
    hpa_t to;
    assert_int_equal(at, l->gpas.end);
    assert_false(extent_hpa(l->e, l->count, gpa(at), 1, &to));
    assert_false(extent_hpa(l->e, l->count, gpa(l->gpas.start - 1), 1, &to));
}

static void make_machine(uint64_t *r)
{
    map.count = 0;
    memset(owners, 0, sizeof(owners));
    for (uint64_t page = host_random(r) % 300; page < MACHINE - 4000;) {
        uint64_t size = host_random(r) % 3000 + 1;
        assert_int_equal(memmap_set(&map, page * 4096, (page + size) * 4096, MEM_RAM), 0);
        for (uint64_t i = page; i < page + size; i++)
            owners[i] = i >= 256;
        page += size + host_random(r) % 900 + 1;
    }
    assert_int_equal(extents_init(&extents, &map, MIB), 0);
}

static void test_extents_random(void **state)
{
    (void)state;
    static struct live live[LIVE];
    uint64_t r = 77;
    for (unsigned n = 0; n < 1500; n++) {
        if (n % 300 == 0) {
            memset(live, 0, sizeof(live));
            make_machine(&r);
        }
        unsigned i = (unsigned)(host_random(&r) % LIVE);
        struct live *l = &live[i];
        if (l->count > 0) {
            extents_free(&extents, l->e, l->count);
            l->count = 0;
            for (unsigned page = 0; page < MACHINE; page++)
                owners[page] = owners[page] == 2 + i ? 1 : owners[page];
        } else {
            l->gpas.start = (host_random(&r) % 4096 + 1) * (n % 2 ? 4096 : PAGE_SIZE * 512);
            l->gpas.end = l->gpas.start + (host_random(&r) % 4000 + 1) * 4096;
            bool enough = extents_bytes(&extents) >= l->gpas.end - l->gpas.start;
            int error = extents_alloc(&extents, l->gpas, l->e, PIECES, &l->count);
            assert_int_equal(error, enough ? 0 : -ENOMEM);
            if (error == 0)
                check_live(l, (uint8_t)(2 + i));
        }
        check_pool();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pat),
        cmocka_unit_test(test_memmap_random),
        cmocka_unit_test(test_memmap_set_and_find),
        cmocka_unit_test(test_memmap_odd),
        cmocka_unit_test(test_memmap_nested),
        cmocka_unit_test(test_memmap_full),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_assertions),
        cmocka_unit_test(test_extents_layouts),
        cmocka_unit_test(test_extents_limits),
        cmocka_unit_test(test_extents_same),
        cmocka_unit_test(test_extents_from),
        cmocka_unit_test(test_extents_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
