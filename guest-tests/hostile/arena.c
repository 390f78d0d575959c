/* The arena: page tables, descriptor tables and task states in which the hostile code runs. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/hostile/hostile.h"
#include "guest-tests/runtime/apic.h"
#include "lib/string.h"
#include "lib/x86.h"
#include "mm/types.h"

enum { P = 1, W = 2, U = 4, PWU = P | W | U };
#define HOLE 0xd0000000ull
#define NX   (1ull << 63)

enum { GATE_32 = 0x8e, GATE_DPL3 = 0x60, TSS_AVAILABLE = 0x89, TSS_BUSY = 0x8b };

typedef uint64_t table64[512] __attribute__((aligned(4096)));
typedef uint32_t table32[1024] __attribute__((aligned(4096)));

extern uint64_t hostile_gdt[H_GDT_SIZE / 8], hostile_ldt[4];
extern uint64_t hostile_idt64[256][2], hostile_idt32[256];
extern uint16_t hostile_ivt[256][2];
extern uint32_t hostile_tss64[26], hostile_tss32[26];
extern const char hostile_stack_top[], hostile_core[], hostile_core_end[];
extern const char hostile_text[], hostile_text_end[];
extern const uint8_t hostile_gdt_pointer[10], hostile_idt64_pointer[10];
extern const uint8_t hostile_idt32_pointer[10], hostile_ivt_pointer[10];
extern const char hostile_real[], hostile_real_end[], hostile_real_data[];
extern const uint64_t hostile_long_entries[COUNTERS], hostile_legacy_entries[COUNTERS];
extern const uint16_t hostile_real_entries[COUNTERS];

static table64 pml4, pdpt, directory, low, pdpt_pae, window_pdpt, window_directory, window_table;
static table32 directory32, low32;

static uint64_t entry_of(const void *table)
{
    return (uint64_t)table | PWU;
}

/* The same page by all three kinds of tables: linear is physical. */
static void map(uint64_t start, uint64_t end, uint32_t flags, bool executable)
{
    for (uint64_t at = align_down(start, PAGE_SIZE); at < end; at += PAGE_SIZE) {
        low[at / PAGE_SIZE] = at | flags | (executable ? 0 : NX);
        low32[at / PAGE_SIZE] = (uint32_t)at | flags;
    }
}

static void map_window(void)
{
    pml4[HOLE_WINDOW >> 39 & 511] = entry_of(window_pdpt);
    window_pdpt[HOLE_WINDOW >> 30 & 511] = entry_of(window_directory);
    window_directory[HOLE_WINDOW >> 21 & 511] = entry_of(window_table);
    window_table[HOLE_WINDOW >> 12 & 511] = HOLE | PWU;
}

static void map_apic(void)
{
    static table64 apic_directory, apic_table;
    static table32 apic_table32;
    pdpt[APIC_WINDOW >> 30] = entry_of(apic_directory);
    pdpt_pae[APIC_WINDOW >> 30] = (uint64_t)apic_directory | P;
    apic_directory[APIC_WINDOW >> 21 & 511] = entry_of(apic_table);
    apic_table[APIC_WINDOW >> 12 & 511] = APIC_PAGE | PWU | NX;
    directory32[APIC_WINDOW >> 22] = (uint32_t)entry_of(apic_table32);
    apic_table32[APIC_WINDOW >> 12 & 1023] = (uint32_t)APIC_PAGE | PWU;
}

static void make_tables(void)
{
    pml4[0] = entry_of(pdpt);
    pdpt[0] = entry_of(directory);
    pdpt_pae[0] = (uint64_t)directory | P;
    directory[0] = entry_of(low);
    directory32[0] = (uint32_t)entry_of(low32);
    map(CODE, DATA, P | U, true);
    map(DATA, DATA + 2 * PAGE_SIZE, PWU, false);
    map(STACK, STACK + 0x11000, PWU, false);
    map((uint64_t)hostile_text, (uint64_t)hostile_text_end, P, true);
    map((uint64_t)hostile_core, (uint64_t)hostile_core_end, P | W, true);
    map_window();
    map_apic();
}

static uint64_t descriptor(uint64_t base, uint64_t limit, uint64_t attr)
{
    return (limit & 0xffff) | (base & 0xffffff) << 16 | (attr & 0xff) << 40 |
           (limit >> 16 & 0xf) << 48 | (attr >> 8 & 0xf) << 52 | (base >> 24 & 0xff) << 56;
}

static void set(unsigned selector, uint64_t base, uint64_t limit, unsigned attr)
{
    hostile_gdt[selector / 8] = descriptor(base, limit, attr);
}

/* Attributes: type, S, DPL, P, and then AVL, L, D, G. */
static void make_gdt(void)
{
    memset(hostile_gdt, 0, sizeof(hostile_gdt));
    set(H_CODE64, 0, 0xfffff, 0xa9b);
    set(H_FLAT, 0, 0xfffff, 0xc93);
    set(H_FLAT32, 0, 0xfffff, 0xc9b);
    set(H_USER_CODE64, 0, 0xfffff, 0xafb);
    set(H_USER_FLAT, 0, 0xfffff, 0xcf3);
    set(H_USER_FLAT32, 0, 0xfffff, 0xcfb);
    set(H_CODE16, CODE, 0xffff, 0x09b);
    set(H_USER_CODE16, CODE, 0xffff, 0x0fb);
    set(H_STACK16, STACK, 0x1f, 0x893);
    set(H_USER_STACK16, STACK, 0x1f, 0x8f3);
    set(H_LDT, (uint64_t)hostile_ldt, sizeof(hostile_ldt) - 1, 0x082);
    set(H_CONFORMING, 0, 0xfffff, 0xc9f);
    set(H_EXPAND_DOWN, 0, 0x20, 0xcf7);
    set(H_ABSENT, 0, 0xfffff, 0xc1b);
    set(H_REAL_DATA, 0, 0xffff, 0x093);
    set(H_REAL_CODE, REAL, 0xffff, 0x09b);
}

/*
 * A task switch is not what this guest is for: outside of long mode there is no TSS that is
 * available, and no task gate.
 */
static void make_system_descriptors(enum family family)
{
    bool is_long = family == FAMILY_LONG;
    uint64_t landing = (uint64_t)hostile_landing;
    uint64_t code = is_long ? H_CODE64 : H_FLAT32;
    set(H_TSS64, (uint64_t)hostile_tss64, sizeof(hostile_tss64) - 1,
        is_long ? TSS_AVAILABLE : TSS_BUSY);
    set(H_TSS32, (uint64_t)hostile_tss32, sizeof(hostile_tss32) - 1,
        is_long ? TSS_BUSY : TSS_AVAILABLE);
    if (is_long)
        set(H_OTHER_TSS, (uint64_t)hostile_tss64, sizeof(hostile_tss64) - 1, TSS_AVAILABLE);
    hostile_gdt[H_CALL_GATE / 8] =
        (landing & 0xffff) | code << 16 | 0xecull << 40 | (landing >> 16 & 0xffff) << 48;
}

static void make_idt(void)
{
    for (unsigned i = 0; i < 256; i++) {
        unsigned stub = i < COUNTERS ? i : COUNTERS - 1;
        uint64_t entry = hostile_long_entries[stub];
        uint64_t type = GATE_32 | (i == VECTOR_BP || i == VECTOR_OF || i >= 32 ? GATE_DPL3 : 0);
        uint64_t ist = 1;
        hostile_idt64[i][0] = (entry & 0xffff) | H_CODE64 << 16 | ist << 32 | type << 40 |
                              (entry >> 16 & 0xffff) << 48;
        entry = hostile_legacy_entries[stub];
        hostile_idt32[i] =
            (entry & 0xffff) | H_FLAT32 << 16 | type << 40 | (entry >> 16 & 0xffff) << 48;
        hostile_ivt[i][0] = hostile_real_entries[stub];
        hostile_ivt[i][1] = REAL >> 4;
    }
}

/* SDM, "Task-State Segment (TSS)", "Task Management in 64-bit Mode": no port is allowed. */
static void make_tss(void)
{
    enum { RSP0 = 1, IST1 = 9, ESP0 = 1, SS0 = 2, IO_MAP = 25 };
    uint32_t stack = (uint32_t)(uint64_t)hostile_stack_top;
    hostile_tss64[RSP0] = hostile_tss64[IST1] = stack;
    hostile_tss32[ESP0] = stack;
    hostile_tss32[SS0] = H_FLAT;
    hostile_tss64[IO_MAP] = hostile_tss32[IO_MAP] = 104u << 16;
}

void arena_init(void)
{
    make_tables();
    make_idt();
    make_tss();
    memset((void *)LANDING, 0xcc, PAGE_SIZE);
    hostile_ldt[1] = descriptor(0, 0xfffff, 0xc9b);
    hostile_ldt[2] = descriptor(0, 0xfffff, 0xcfb);
    hostile_ldt[3] = descriptor(0, 0xfffff, 0xcf3);
}

uint32_t arena_base(uint16_t selector)
{
    uint64_t d = (selector & 4) == 0 && selector < H_GDT_SIZE ? hostile_gdt[selector / 8] : 0;
    bool has_base = (d >> 44 & 1) != 0;
    return has_base ? (uint32_t)((d >> 16 & 0xffffff) | (d >> 56) << 24) : 0;
}

static uint64_t cr3_of(const struct mode *mode)
{
    if (mode->tables == TABLES_4LEVEL)
        return (uint64_t)pml4;
    return mode->tables == TABLES_PAE ? (uint64_t)pdpt_pae : (uint64_t)directory32;
}

static uint64_t cr4_of(const struct mode *mode)
{
    uint64_t cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
    if ((cpuid(1, 0).ecx >> 26 & 1) != 0)
        cr4 |= CR4_OSXSAVE;
    return mode->tables == TABLES_32BIT ? cr4 : cr4 | CR4_PAE;
}

static uint64_t cr0_of(const struct mode *mode)
{
    uint64_t cr0 = CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM;
    if (mode->family != FAMILY_REAL)
        cr0 |= CR0_PE;
    return mode->paged ? cr0 | CR0_PG : cr0;
}

/* The last slot ends the run by its fault. */
static void end_code(const struct mode *mode)
{
    const void *idt = mode->family == FAMILY_LONG     ? hostile_idt64_pointer
                      : mode->family == FAMILY_LEGACY ? hostile_idt32_pointer
                                                      : hostile_ivt_pointer;
    memcpy((void *)(GOOD_GDT - 4), "\x0f\x0b", 2);
    memcpy((void *)GOOD_GDT, hostile_gdt_pointer, 10);
    memcpy((void *)GOOD_IDT, idt, 10);
}

static void copy_real(void)
{
    const struct mode_state *s = &hostile_mode;
    size_t offset = (size_t)(hostile_real_data - hostile_real);
    struct real_data data = {(uint32_t)s->cr0, (uint16_t)s->flags, 0,  0, 0,
                             (uint16_t)s->sp,  STACK >> 4,         {0}};
    memcpy((void *)REAL, hostile_real, (size_t)(hostile_real_end - hostile_real));
    memcpy((char *)REAL + offset, &data, sizeof(data));
    memcpy((char *)REAL + REAL_POOL, hostile_pool, sizeof(hostile_pool));
}

static bool has_stack16(const struct mode *mode)
{
    return mode->v86 || mode->family == FAMILY_REAL || mode->ss == H_STACK16 ||
           mode->ss == H_USER_STACK16;
}

void arena_set_mode(const struct mode *mode)
{
    bool user = mode->cpl == 3;
    hostile_mode = (struct mode_state){
        .cs = mode->v86 ? CODE >> 4 : mode->cs,
        .ss = mode->v86 ? STACK >> 4 : mode->ss,
        .ds = mode->v86 ? DATA >> 4
              : user    ? H_USER_FLAT
                        : H_FLAT,
        .sp = has_stack16(mode) ? 0x8000 : STACK + 0x8000,
        .base = mode->bits == 16 ? 0 : CODE,
        .cr0 = cr0_of(mode),
        .cr3 = cr3_of(mode),
        .cr4 = cr4_of(mode),
        .efer = mode->family == FAMILY_LONG ? EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE : EFER_NXE,
    };
    hostile_mode.stack_sp = (uint32_t)hostile_mode.sp;
    hostile_mode.stack_ss = mode->ss;
    end_code(mode);
}

void arena_begin(const struct mode *mode, uint64_t flags)
{
    hostile_mode.flags = flags | RFLAGS_FIXED | (mode->v86 ? RFLAGS_VM : 0);
    make_gdt();
    make_system_descriptors((enum family)mode->family);
    if (mode->family == FAMILY_REAL)
        copy_real();
    memset(hostile_counts, 0, sizeof(hostile_counts));
}

const uint32_t *arena_real_counts(void)
{
    static uint32_t counts[COUNTERS];
    struct real_data data;
    memcpy(&data, (char *)REAL + (hostile_real_data - hostile_real), sizeof(data));
    memcpy(counts, data.counts, sizeof(counts));
    return counts;
}
