/*
 * Guest-physical memory: RAM, the hole at C0000000h that reads all ones by every form of access,
 * and what stops the VM (a bare machine goes on): an access to nothing elsewhere, and to the hole
 * where the config says so or by a form that is not completed for the guest.
 *
 * row: memory end=0
 * row: memory.hole end=0 cmdline="part=hole"
 * row: memory.nowhere end=126 plan=no stopped="b0000000" cmdline="part=nowhere"
 * row: memory.nowhere-write end=126 plan=no stopped="b0000000" cmdline="part=nowhere-write"
 * row: memory.unmapped-stop end=126 plan=no stopped="d0000" cmdline="part=one" set="unmapped=stop"
 * row: memory.hole-form end=126 plan=no stopped="f0 0f c1 03" cmdline="part=form"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/assert.h"
#include "lib/format.h"
#include "lib/string.h"

#define HOLE    0xd0000000ull
#define NOWHERE 0xb0000000ull

#define VGA_START 0xa0000ull
#define ROM_START 0xc0000ull

/* As memory.asm lays it out. */
struct hole_form {
    const char *name;
    const char *code;
    uint64_t keep, set; /* a load leaves (old & keep) | set in its register */
    int32_t mode;       /* 64, 32, 16 */
    int32_t reg;        /* enum gpr; -1: none changes */
    int32_t rdi_step;   /* bytes that STOS advances by, negative: with DF=1 */
    int32_t flags;      /* as memory.asm says */
};
static_assert(sizeof(struct hole_form) == 48, "table in memory.asm");

extern const struct hole_form hole_forms[], hole_forms_end[];
extern const char form_lock_xadd[];
extern uint64_t page_directories[4][512]; /* one for each GiB below 4 GiB */
extern const char image_start[], image_end[];

static volatile uint64_t *at(uint64_t physical)
{
    volatile uint8_t *page = window_map(0, align_down(physical, PAGE_SIZE), PAGE_P | PAGE_W);
    volatile void *place = page + physical % PAGE_SIZE;
    return place;
}

static bool is_used(uint64_t page)
{
    bool used = page + PAGE_SIZE > (uint64_t)image_start && page < (uint64_t)image_end;
    for (unsigned i = 0; i < machine.module_count; i++)
        used |= page + PAGE_SIZE > machine.modules[i].start && page < machine.modules[i].end;
    return used;
}

/* Different for every page and both of its ends. */
static uint64_t pattern(uint64_t address)
{
    return (address ^ 0x5aa55aa5) * 0x9e3779b97f4a7c15;
}

/* Calls VISIT for every whole page of RAM that holds neither the image nor a module. */
static uint64_t each_page(void (*visit)(uint64_t page))
{
    uint64_t count = 0;
    for (unsigned i = 0; i < machine.ram_count; i++) {
        uint64_t page = align_up(machine.ram[i].start, PAGE_SIZE);
        for (; page + PAGE_SIZE <= machine.ram[i].end; page += PAGE_SIZE) {
            if (is_used(page))
                continue;
            visit(page);
            count++;
        }
    }
    return count;
}

static void fill(uint64_t page)
{
    volatile uint64_t *words = at(page);
    words[0] = pattern(page);
    words[PAGE_SIZE / 8 - 1] = pattern(page + PAGE_SIZE - 8);
}

static void check(uint64_t page)
{
    volatile uint64_t *words = at(page);
    expect(words[0] == pattern(page), "%lx: %lx", page, words[0]);
    expect(words[PAGE_SIZE / 8 - 1] == pattern(page + PAGE_SIZE - 8), "end of %lx: %lx", page,
           words[PAGE_SIZE / 8 - 1]);
}

static void map(void)
{
    bool image = false;
    for (unsigned i = 0; i < machine.ram_count; i++) {
        const struct range *r = &machine.ram[i];
        expect(r->start < r->end, "%lx to %lx is empty", r->start, r->end);
        expect(i == 0 || machine.ram[i - 1].end <= r->start, "%lx follows %lx", r->start,
               i == 0 ? 0 : machine.ram[i - 1].end);
        image |= r->start <= (uint64_t)image_start && (uint64_t)image_end <= r->end;
    }
    expect(image, "the image is not in RAM");
}

static void ram(void)
{
    uint64_t filled = each_page(fill);
    expect(filled > 0, "no RAM");
    each_page(check);
    print("# RAM: %lu pages\n", filled);
}

static void low_holes(void)
{
    for (uint64_t page = VGA_START; page < MIB; page += PAGE_SIZE)
        fill(page);
    for (uint64_t page = VGA_START; page < MIB; page += PAGE_SIZE)
        check(page);
}

static const struct test_case ram_cases[] = {
    {"memory map: rising ranges, the image in one", NULL, map},
    {"RAM: every page keeps its own", NULL, ram},
    {"A0000h to FFFFFh: plain memory", needs_nosnoop, low_holes},
};

/* RAM that stands for the hole in a control run, and the table that maps it everywhere there. */
static uint8_t ones[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static uint64_t ones_table[512] __attribute__((aligned(PAGE_SIZE)));

/*
 * What answers where nothing is is up to the bare machine. So that a control run proves the table
 * of forms nevertheless, it maps RAM full of ones wherever linear addresses of the hole lead.
 */
static void map_ones(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(ones_table); i++) {
        ones_table[i] = (uint64_t)ones | PAGE_P | PAGE_W;
        page_directories[3][i] = (uint64_t)ones_table | PAGE_P | PAGE_W;
    }
    write_cr3(read_cr3());
}

static struct registers before(const struct hole_form *form)
{
    struct registers r = {.rflags = RFLAGS_FIXED | RFLAGS_CF};
    if (form->rdi_step < 0)
        r.rflags |= RFLAGS_DF;
    for (uint64_t i = 0; i < GPRS; i++)
        r.gpr[i] = (i + 1) * 0x0301010101010101;
    r.gpr[RCX] = 16;
    r.gpr[RBX] = HOLE + 0x2000;
    r.gpr[RSP] = HOLE + 0x3000;
    r.gpr[RBP] = HOLE + 0x4000;
    r.gpr[R12] = HOLE + 0x5000;
    r.gpr[R13] = HOLE + 0x6000;
    r.gpr[RDI] = HOLE + 0x7000;
    if (form->mode == 16) {
        r.gpr[RSI] = 0x40;
        r.gpr[RDI] = 0x80;
    }
    return r;
}

enum { AF_DEFINED = 1 << 16 };

static void check_flags(const struct hole_form *form, uint64_t old, uint64_t now)
{
    uint64_t some = RFLAGS_CF | RFLAGS_PF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF;
    uint64_t want = old, mask = RFLAGS_DF | some;
    if (form->flags >= 0)
        want = (old & RFLAGS_DF) | ((uint64_t)form->flags & ~(uint64_t)AF_DEFINED);
    if (form->flags < 0 || (form->flags & AF_DEFINED) != 0)
        mask |= RFLAGS_AF;
    expect(((now ^ want) & mask) == 0, "flags %lx, not %lx", now & mask, want & mask);
}

static void check_registers(const struct hole_form *form, const struct registers *old,
                            const struct registers *now)
{
    uint64_t mask = form->mode == 64 ? ~0ull : 0xffffffff;
    int32_t count = form->rdi_step < 0 ? -form->rdi_step : form->rdi_step;
    for (int32_t i = 0; i < (form->mode == 64 ? GPRS : RDI + 1); i++) {
        uint64_t want = old->gpr[i];
        if (i == form->reg)
            want = (want & form->keep) | form->set;
        if (i == RDI)
            want += (uint64_t)(int64_t)form->rdi_step;
        if (i == RCX && count >= 16) /* only repeated STOS goes so far */
            want = 0;
        expect((now->gpr[i] & mask) == (want & mask), "register %d: %lx, not %lx", i, now->gpr[i],
               want);
    }
    check_flags(form, old->rflags, now->rflags);
}

static void run_form(const struct hole_form *form)
{
    const void *rip = form->code;
    enum selector cs = form->mode == 32 ? SEL_CODE32 : SEL_CODE64;
    if (form->mode == 16) {
        segment_set_base(SEL_CODE16, (uint32_t)(uint64_t)form->code);
        segment_set_base(SEL_BASED, (uint32_t)HOLE);
        rip = NULL;
        cs = SEL_CODE16;
    }
    struct registers old = before(form), now = old;
    struct fault fault = form_run(rip, cs, &now);
    expect(fault.vector == FAULT_NONE, "vector %d, error %x", fault.vector, fault.error);
    check_registers(form, &old, &now);
}

/* Several forms do the same at another width, or in another mode: named by both. */
static const char *form_name(const struct hole_form *form)
{
    static char name[128];
    format(name, sizeof(name), "%d-bit: %s%s", form->mode, form->name,
           form->rdi_step < 0 ? ", DF=1" : "");
    return name;
}

static void hole(void)
{
    if (!machine.nosnoop)
        map_ones();
    wrmsr(MSR_FS_BASE, 0x1000);
    wrmsr(MSR_GS_BASE, 0x2000);
    ktap_begin((unsigned)(hole_forms_end - hole_forms));
    for (const struct hole_form *form = hole_forms; form < hole_forms_end; form++) {
        ktap_start(form_name(form));
        memset(ones, 0xff, sizeof(ones));
        run_form(form);
        if (machine.nosnoop)
            expect(*at(HOLE + 0x2040) == ~0ull, "the store was kept");
        ktap_finish();
    }
    ktap_end();
}

static void nowhere(void)
{
    (void)*at(NOWHERE);
}

static void nowhere_write(void)
{
    *at(NOWHERE) = 0;
}

static void one_read(void)
{
    (void)*at(HOLE);
}

static void one_form(void)
{
    struct registers r = {.rflags = RFLAGS_FIXED};
    r.gpr[RBX] = HOLE;
    form_run(form_lock_xadd, SEL_CODE64, &r);
}

/* What ends the VM; a bare machine goes on. */
static const struct {
    const char *part;
    void (*run)(void);
} ends[] = {
    {"nowhere", nowhere},
    {"nowhere-write", nowhere_write},
    {"one", one_read},
    {"form", one_form},
};

void test_main(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(ends); i++)
        if (cmdline_has("part", ends[i].part)) {
            ends[i].run();
            guest_exit(machine.nosnoop ? 1 : 0);
        }
    if (cmdline_has("part", "hole"))
        hole();
    ktap_all(ram_cases, ARRAY_SIZE(ram_cases));
}
