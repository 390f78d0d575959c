/*
 * Questions about memory types in every mode, with every kind of place for the answer; and CR0
 * while a rewrite of memory types waits for CD to clear.
 *
 * row: oracle end=0 set=policy=exact set=control=yes
 * row: oracle.denied end=0 set=policy=exact cmdline="denied=yes"
 * row: oracle.restart end=0 set=policy=exact set=control=yes set=on_reset=restart cmdline="boots=5"
 *
 * tests/system/test_typing.py counts the exits of what the command line has it repeat:
 * `repeat=clean|owed|cancelled n=N`.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/memtypes.h"
#include "guest-tests/runtime/mode.h"
#include "lib/string.h"

#define SPOT      0x2000000ull
#define SPOT_SIZE 0x200000ull

enum { ASKED = LOW_DATA + 0x123, ANSWER = LOW_DATA + 0x800 };
enum { LAST_BASE = MSR_MTRR_PHYSBASE0 + 14, LAST_MASK };
enum { PF_PRESENT = 1, PF_WRITE = 2 };

extern const struct mode_code op_vmcall, op_vmmcall, op_owed;

#define LONG .cr0 = CR0_PG, .cr4 = CR4_PAE, .efer = EFER_LME

static struct mode modes[] = {
    {.name = "real", .kind = MODE_REAL, .bits = 16},
    {.name = "big real", .kind = MODE_BIG_REAL, .bits = 16},
    {.name = "16-bit, unpaged", .kind = MODE_16, .bits = 16},
    {.name = "32-bit, unpaged", .kind = MODE_32, .bits = 32},
    {.name = "32-bit paging", .kind = MODE_32, .bits = 32, .cr0 = CR0_PG},
    {.name = "PSE", .kind = MODE_32, .bits = 32, .cr0 = CR0_PG, .cr4 = CR4_PSE},
    {.name = "PSE, 16-bit", .kind = MODE_16, .bits = 16, .cr0 = CR0_PG, .cr4 = CR4_PSE},
    {.name = "PAE", .kind = MODE_32, .bits = 32, .cr0 = CR0_PG, .cr4 = CR4_PAE},
    {.name = "compatibility", .kind = MODE_32, .bits = 32, LONG},
    {.name = "compatibility, 16-bit", .kind = MODE_16, .bits = 16, LONG},
    {.name = "64-bit", .kind = MODE_64, .bits = 64, LONG},
    {.name = "virtual-8086", .kind = MODE_V86, .bits = 16, .cr0 = CR0_PG, .cr4 = CR4_PSE},
    {.name = "compatibility, CPL 3", .kind = MODE_USER, .bits = 32, LONG},
    {.name = "64-bit, 5 levels",
     .kind = MODE_64,
     .bits = 64,
     .cr0 = CR0_PG,
     .cr4 = CR4_PAE | CR4_LA57,
     .efer = EFER_LME},
};

static bool is_there(const struct mode *m)
{
    return (m->cr4 & CR4_LA57) == 0 || (cpuid(7, 0).ecx >> 16 & 1) != 0;
}

static bool privileged(const struct mode *m)
{
    return m->kind != MODE_V86 && m->kind != MODE_USER;
}

static void set_tables(void)
{
    mode_init();
    for (struct mode *m = modes; m < modes + ARRAY_SIZE(modes); m++)
        m->cr3 = mode_tables(m);
}

static void ask_in(const struct mode *m)
{
    struct type_answer *answer = (struct type_answer *)(uintptr_t)ANSWER;
    __asm__("" : "+r"(answer)); /* an object there is unknown to the compiler */
    struct registers r = {.rflags = RFLAGS_FIXED};
    r.gpr[RAX] = HYPERCALL_TYPE_LINEAR;
    r.gpr[RBX] = ASKED;
    r.gpr[RCX] = ANSWER;
    *answer = (struct type_answer){.effective = 0xff};
    struct fault fault = mode_run(m, machine.intel ? &op_vmcall : &op_vmmcall, MODE_CODE, &r);
    if (!privileged(m)) {
        expect(fault.vector == VECTOR_UD && fault.rip == 0 && answer->effective == 0xff,
               "%s: vector %d, RIP + %lx, %u", m->name, fault.vector, fault.rip, answer->effective);
        return;
    }
    expect(fault.vector == FAULT_NONE && (uint32_t)r.gpr[RAX] == 0, "%s: vector %d, result %lx",
           m->name, fault.vector, r.gpr[RAX]);
    expect(answer->gpa == ASKED && answer->pat_type == MT_WB && answer->effective == WB,
           "%s: GPA %lx, PAT %u, %s", m->name, answer->gpa, answer->pat_type,
           type_name(answer->effective));
}

static void every_mode(void)
{
    for (const struct mode *m = modes; m < modes + ARRAY_SIZE(modes); m++)
        if ((m->cr4 & CR4_LA57) == 0)
            ask_in(m);
}

static void five_levels(void)
{
    for (const struct mode *m = modes; m < modes + ARRAY_SIZE(modes); m++)
        if ((m->cr4 & CR4_LA57) != 0)
            ask_in(m);
}

static const char *needs_five_levels(void)
{
    bool there = is_there(&modes[ARRAY_SIZE(modes) - 1]);
    return needs_nosnoop() != NULL ? needs_nosnoop() : there ? NULL : "no 5-level paging";
}

/* While CD is 1: a pair is written, then LMSW, SMSW, CLTS and MOV act as ever; then CD is 0. */
static void owe_in(const struct mode *m)
{
    const uint64_t mask = (address_mask() & ~(SPOT_SIZE - 1)) | MASK_V;
    const uint64_t low = CR0_PE | CR0_MP | CR0_EM | CR0_TS;
    struct registers r = {.rflags = RFLAGS_FIXED};
    struct type_answer a;
    uint64_t pe = m->kind != MODE_REAL && m->kind != MODE_BIG_REAL ? (uint64_t)CR0_PE : 0;
    wrmsr(LAST_MASK, 0);
    wrmsr(LAST_BASE, SPOT | MT_WC);
    r.gpr[RAX] = (uint32_t)mask;
    r.gpr[RDX] = mask >> 32;
    r.gpr[RCX] = LAST_MASK;
    r.gpr[RBP] = pe | CR0_MP | CR0_TS;
    struct fault fault = mode_run(m, &op_owed, MODE_CODE, &r);
    uint64_t before = (uint32_t)r.gpr[RBX], want = (before & ~low) | pe | CR0_MP;
    expect(fault.vector == FAULT_NONE, "%s: vector %d, RIP + %lx", m->name, fault.vector,
           fault.rip);
    expect((uint16_t)r.gpr[RDI] == (uint16_t)(want | CR0_TS), "%s: SMSW %lx", m->name, r.gpr[RDI]);
    expect((uint32_t)r.gpr[RSI] == (want | CR0_CD), "%s: CR0 %lx, not %lx", m->name, r.gpr[RSI],
           want | (uint64_t)CR0_CD);
    oracle_ask(HYPERCALL_TYPE_PHYSICAL, SPOT, MT_WB, &a);
    expect(a.cd == 0 && a.view == 0 && a.effective == WC, "%s: then CD %u, view %u, %s", m->name,
           a.cd, a.view, type_name(a.effective));
    wrmsr(LAST_MASK, 0);
}

static void owed_in_every_mode(void)
{
    for (const struct mode *m = modes; m < modes + ARRAY_SIZE(modes); m++)
        if (is_there(m) && privileged(m))
            owe_in(m);
}

/* --- where the answer goes -------------------------------------------------------------------- */

#define PLACE ((uint8_t *)(4 * GIB))

static const void *form(void)
{
    return machine.intel ? form_vmcall : form_vmmcall;
}

/* A question whose answer goes to TO. */
static struct fault answer_to(uint64_t to, enum selector cs, uint64_t *result)
{
    struct registers r = {.rflags = RFLAGS_FIXED};
    r.gpr[RAX] = HYPERCALL_TYPE_PHYSICAL;
    r.gpr[RBX] = SPOT;
    r.gpr[RCX] = to;
    r.gpr[RDX] = MT_WB;
    struct fault fault = form_run(form(), cs, &r);
    *result = r.gpr[RAX];
    return fault;
}

/* The store of the answer faults at FAULTS, with the instruction not done. */
static void expect_fault(uint64_t to, uint64_t faults, uint32_t error)
{
    uint64_t result;
    struct fault fault = answer_to(to, SEL_CODE64, &result);
    expect(fault.vector == VECTOR_PF && fault.error == error && fault.cr2 == faults &&
               fault.rip == (uint64_t)form(),
           "%lx: vector %d, error %x, CR2 %lx, RIP %lx", to, fault.vector, fault.error, fault.cr2,
           fault.rip);
    expect(result == HYPERCALL_TYPE_PHYSICAL, "%lx: RAX %lx", to, result);
}

static void faults(void)
{
    const uint64_t at = (uint64_t)PLACE;
    window_map(0, SPOT, PAGE_P);
    window_map(1, SPOT + PAGE_SIZE, 0);
    window_map(2, SPOT, PAGE_P | PAGE_W);
    window_map(3, SPOT, 0);
    expect_fault(at, at, PF_PRESENT | PF_WRITE);
    expect_fault(at + 8, at + 8, PF_PRESENT | PF_WRITE);
    expect_fault(at + PAGE_SIZE + 8, at + PAGE_SIZE + 8, PF_WRITE);
    expect_fault(at + 3 * PAGE_SIZE - 8, at + 3 * PAGE_SIZE, PF_WRITE);
    expect_fault(at + 3 * PAGE_SIZE - 40, at + 3 * PAGE_SIZE, PF_WRITE);
    uint64_t result;
    struct fault fault = answer_to(1ull << 62, SEL_CODE64, &result);
    expect(is_gp0(fault) && fault.rip == (uint64_t)form(), "not canonical: vector %d",
           fault.vector);
}

static void crossing(void)
{
    struct type_answer want, got;
    const uint64_t first = SPOT + 5 * PAGE_SIZE, second = SPOT + 3 * PAGE_SIZE;
    oracle_ask(HYPERCALL_TYPE_PHYSICAL, SPOT, MT_WB, &want);
    window_map(0, first, PAGE_P | PAGE_W);
    window_map(1, second, PAGE_P | PAGE_W);
    for (unsigned n = 1; n < sizeof(got); n++) { /* bytes in the first page */
        uint64_t result;
        struct fault fault = answer_to((uint64_t)PLACE + PAGE_SIZE - n, SEL_CODE64, &result);
        memcpy(&got, (const void *)(first + PAGE_SIZE - n), n);
        memcpy((char *)&got + n, (const void *)second, sizeof(got) - n);
        expect(fault.vector == FAULT_NONE && result == 0 && memcmp(&got, &want, sizeof(got)) == 0,
               "%u bytes in one page: vector %d, result %lx", n, fault.vector, result);
    }
}

static void user(void)
{
    uint64_t result;
    struct fault fault = answer_to((uint64_t)SPOT, SEL_USER_CODE64, &result);
    expect(fault.vector == VECTOR_UD && fault.rip == (uint64_t)form(), "vector %d, RIP %lx",
           fault.vector, fault.rip);
}

/* --- all of memory ---------------------------------------------------------------------------- */

/* By `next` from 0 to the end of all addresses: RAM without gaps, in few questions. */
static void whole_map(void)
{
    const uint64_t end = address_mask() + PAGE_SIZE;
    uint64_t present = 0, at = 0;
    unsigned questions = 0;
    for (struct type_answer a; at < end && questions < 800; at = a.next, questions++) {
        int64_t result = oracle_ask(HYPERCALL_TYPE_PHYSICAL, at, MT_WB, &a);
        if (!expect(result == 0 && a.gpa == at && a.next > at, "%lx: %ld, next %lx", at, result,
                    a.next))
            return;
        present += a.present ? a.next - at : 0;
        expect(a.present == (at < 64 * MIB), "%lx: present %u", at, a.present);
    }
    expect(at >= end, "%u questions, and only at %lx", questions, at);
    expect(present == 64 * MIB, "%lx bytes of memory", present);
}

/* --- without the right to ask ----------------------------------------------------------------- */

static void denied(void)
{
    struct type_answer a;
    for (uint64_t n = HYPERCALL_TYPE_PHYSICAL; n <= HYPERCALL_TYPE_TABLE; n++)
        for (uint64_t what = 0; what < 3; what++) {
            int64_t result = oracle_ask(n, SPOT, what, &a);
            expect(result == -1 && a.effective == 0xff, "call %lu: %ld, %u", n, result,
                   a.effective);
        }
    expect(hypercall(HYPERCALL_LOG_MAP) == -1, "the map in the log");
    expect(hypercall(HYPERCALL_VERSION) == HYPERCALL_ABI, "the version");
}

/* --- what has its exits counted --------------------------------------------------------------- */

static void repeat(void)
{
    const uint64_t cr0 = read_cr0(), mask = (address_mask() & ~(SPOT_SIZE - 1)) | MASK_V;
    bool owed = cmdline_has("repeat", "owed"), cancelled = cmdline_has("repeat", "cancelled");
    uint64_t def_type = rdmsr(MSR_MTRR_DEF_TYPE), n = cmdline_number("n", 0);
    for (uint64_t i = 0; i < n; i++) {
        write_cr0(cr0 | CR0_CD);
        if (owed)
            wrmsr(LAST_MASK, i % 2 == 0 ? mask : 0);
        if (cancelled) { /* the manuals' sequence, with the same values */
            wrmsr(MSR_MTRR_DEF_TYPE, def_type & ~(uint64_t)DEF_E);
            wrmsr(LAST_MASK, mask);
            wrmsr(LAST_MASK, 0);
            wrmsr(MSR_MTRR_DEF_TYPE, def_type);
        }
        write_cr0(cr0);
    }
}

/* --- restarts --------------------------------------------------------------------------------- */

enum { KEYBOARD = 0x64, RESET = 0xfe, PLACES = 96 };

/* In memory that nothing is loaded to: what the first boot was told, and how many there were. */
struct record {
    uint64_t magic, boots, wrong_boot;
    struct type_answer first[PLACES], wrong, right;
};

static struct record *const record = (struct record *)0x3000000;

#define MAGIC 0x736570797479726full

static struct type_answer answer_at(unsigned i)
{
    struct type_answer a;
    uint64_t at = i < 32 ? i * 0x8000ull : SPOT - 32 * PAGE_SIZE + (i - 32) * PAGE_SIZE;
    oracle_ask(HYPERCALL_TYPE_PHYSICAL, at, MT_WC, &a);
    return a;
}

/* What is left behind, another thing each time: leaves, CD with a rewrite owed, E = 0, all. */
static void dirty(uint64_t boot)
{
    wrmsr(LAST_BASE, (SPOT - 8 * PAGE_SIZE) | MT_WP);
    wrmsr(MSR_PAT, 0x0101010101010101);
    if ((boot & 1) == 0)
        write_cr0(read_cr0() | CR0_CD | CR0_NW);
    wrmsr(LAST_MASK, (address_mask() & ~(16 * PAGE_SIZE - 1)) | MASK_V);
    wrmsr(MSR_MTRR_FIX64K, 0x0504050105000405);
    if ((boot & 2) == 0)
        wrmsr(MSR_MTRR_DEF_TYPE, MT_WC);
}

static void begin_boots(void)
{
    *record = (struct record){.magic = MAGIC};
    for (unsigned i = 0; i < PLACES; i++)
        record->first[i] = answer_at(i);
}

/* The first answer that is another than that of the first boot, for the last one to report. */
static void check_boot(void)
{
    for (unsigned i = 0; i < PLACES; i++) {
        struct type_answer a = answer_at(i);
        if (record->wrong_boot == 0 && memcmp(&a, &record->first[i], sizeof(a)) != 0) {
            record->wrong_boot = record->boots;
            record->wrong = a;
            record->right = record->first[i];
        }
    }
}

static void boot(void)
{
    if (record->magic != MAGIC)
        begin_boots();
    record->boots++;
    check_boot();
    if (record->boots < cmdline_number("boots", 0)) {
        dirty(record->boots);
        out8(KEYBOARD, RESET);
    }
}

static void restarts(void)
{
    const struct type_answer *a = &record->wrong, *first = &record->right;
    expect(record->boots == cmdline_number("boots", 0), "boot %lu", record->boots);
    expect(record->wrong_boot == 0,
           "boot %lu, %lx: %s by rule %u in view %u, not %s by rule %u in view %u",
           record->wrong_boot, a->gpa, type_name(a->effective), a->rule, a->view,
           type_name(first->effective), first->rule, first->view);
}

static const struct test_case restarted[] = {
    {"the same memory types after each restart", needs_nosnoop, restarts},
};

static const struct test_case cases[] = {
    {"questions in every mode", needs_nosnoop, every_mode},
    {"questions with 5 levels", needs_five_levels, five_levels},
    {"CR0 while a rewrite is owed, in every mode", needs_nosnoop, owed_in_every_mode},
    {"an answer whose store faults", needs_nosnoop, faults},
    {"an answer in two pages", needs_nosnoop, crossing},
    {"a question by CPL 3", needs_nosnoop, user},
    {"all of memory", needs_nosnoop, whole_map},
};

static const struct test_case without_control[] = {
    {"questions without control = yes", needs_nosnoop, denied},
};

static const struct test_case repeated[] = {
    {"CD again and again", NULL, repeat},
};

void test_main(void)
{
    set_tables();
    if (cmdline_has("denied", "yes"))
        ktap_all(without_control, ARRAY_SIZE(without_control));
    if (cmdline_number("n", UINT64_MAX) != UINT64_MAX)
        ktap_all(repeated, ARRAY_SIZE(repeated));
    if (cmdline_number("boots", 0) == 0)
        ktap_all(cases, ARRAY_SIZE(cases));
    if (machine.nosnoop)
        boot();
    ktap_all(restarted, ARRAY_SIZE(restarted));
}
