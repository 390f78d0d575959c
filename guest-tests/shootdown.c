/*
 * TLB shootdown as operating systems do it: a CPU changes page tables and sends an IPI to all
 * others, which forget the translation and answer; from then on nobody may use the old one.
 *
 * row: shootdown.2 end=0 cpus=2 timeout=60 control-timeout=30
 * row: shootdown.4 end=0 cpus=4 timeout=90 control-timeout=60
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/taken.h"
#include "mm/types.h"

enum { VECTOR = 0xf1, CHANGES = 30, FRAMES = 4, INDEX = 3, RAX_OF_FRAME = 14 };

#define WINDOW     (4 * GIB)
#define PLACE      (WINDOW + INDEX * PAGE_SIZE)
#define NOTHING    UINT64_MAX /* what is read where nothing is mapped */
#define FIRST_PAGE 0x60000ull /* of FRAMES that are mapped in turn */

extern uint64_t window_table[WINDOW_PAGES];

static void (*forget)(void); /* what a CPU does with its translation */

static volatile uint64_t completed; /* the number of the last change that all have answered */
static volatile uint64_t current;   /* of the one that is being made */
static volatile uint64_t answered[SMP_MAX];
static volatile bool over;
static uint64_t reads[SMP_MAX];
static bool (*count_nmi)(struct fault_frame *frame);

static volatile uint64_t *frame_of(uint64_t number)
{
    uintptr_t address = FIRST_PAGE + number % FRAMES * PAGE_SIZE;
    __asm__("" : "+r"(address)); /* an object there is unknown to the compiler */
    return (volatile uint64_t *)address;
}

/* --- how to forget --------------------------------------------------------------------------- */

static void by_invlpg(void)
{
    invlpg((void *)PLACE);
}

static void by_cr3(void)
{
    write_cr3(read_cr3());
}

static void by_pge(void)
{
    write_cr4(read_cr4() ^ CR4_PGE);
}

/* --- changes --------------------------------------------------------------------------------- */

/* Every third leaves nothing there, so that the next makes something of nothing. */
static uint64_t entry_of(uint64_t number)
{
    return number % 3 == 2 ? 0 : (uint64_t)frame_of(number) | PAGE_P | PAGE_W;
}

/* What must be read after change NUMBER. */
static uint64_t value_of(uint64_t number)
{
    return (entry_of(number) & PAGE_P) != 0 ? number : NOTHING;
}

static bool on_fault(struct fault_frame *frame)
{
    if (frame->vector != VECTOR_PF || frame->cr2 != PLACE)
        return count_nmi(frame);
    frame->registers[RAX_OF_FRAME] = NOTHING;
    frame->rip += 3;
    return true;
}

static uint64_t read_place(void)
{
    uint64_t value = PLACE;
    __asm__ volatile("mov (%%rax), %%rax" : "+a"(value) : : "memory"); /* 48 8b 00 */
    return value;
}

/* --- the protocol ---------------------------------------------------------------------------- */

static void on_request(unsigned cpu, unsigned vector)
{
    if (vector != VECTOR)
        return;
    forget();
    uint64_t found = read_place();
    expect(found == value_of(current), "CPU %u reads %lx as it answers, not %lx", cpu, found,
           value_of(current));
    answered[cpu] = current;
}

/* The others are asked, and have answered when this returns. */
static bool shoot(unsigned cpu)
{
    apic_send(0, VECTOR | TO_OTHERS);
    for (unsigned i = 0; i < smp_count(); i++)
        for (uint64_t start = rdtsc(); i != cpu && answered[i] != current; smp_relax())
            if (rdtsc() - start > machine_ticks(2000))
                return expect(false, "CPU %u does not answer CPU %u", i, cpu);
    return true;
}

static bool change(unsigned cpu, uint64_t number)
{
    *frame_of(number) = number;
    current = number;
    __atomic_store_n(&window_table[INDEX], entry_of(number), __ATOMIC_RELEASE);
    forget();
    bool fine = shoot(cpu);
    completed = number;
    return fine;
}

/* Reads until all is over: nothing that was over before the read may be seen. */
static void look(unsigned cpu)
{
    uint64_t before = completed, found = read_place(), after = current;
    bool fine = false;
    for (uint64_t number = before; number <= after; number++)
        fine |= found == value_of(number);
    expect(fine, "CPU %u reads %lx in changes %lu to %lu", cpu, found, before, after);
    reads[cpu]++;
}

/* The CPUs change in turn; those that do not look on, with interrupts on. */
static void take_turns(unsigned cpu)
{
    unsigned count = smp_count();
    sti();
    while (!over) {
        uint64_t number = completed + 1;
        if (number % count != cpu || number > CHANGES) {
            look(cpu);
            continue;
        }
        if (!change(cpu, number) || number == CHANGES)
            over = true;
    }
    cli();
}

static void begin_without(unsigned cpu)
{
    (void)cpu;
    by_invlpg();
}

static void play(void (*how)(void))
{
    taken_clear();
    taken_hook = on_request;
    forget = how;
    over = false;
    completed = current = 0;
    *frame_of(0) = 0;
    for (unsigned i = 0; i < smp_count(); i++)
        answered[i] = reads[i] = 0;
    window_map(INDEX, (uint64_t)frame_of(0), PAGE_P | PAGE_W);
    smp_run(begin_without);
    smp_run(take_turns);
    taken_hook = NULL;
    expect(completed == CHANGES, "%lu changes, of %u", completed, CHANGES);
    for (unsigned i = 0; i < smp_count(); i++)
        expect(reads[i] != 0, "CPU %u has read nothing", i);
}

static void with_invlpg(void)
{
    play(by_invlpg);
}

static void with_cr3(void)
{
    play(by_cr3);
}

static void with_pge(void)
{
    play(by_pge);
}

static void x2apic(void)
{
    smp_set_x2apic(true);
    play(by_invlpg);
}

static const struct test_case cases[] = {
    {"INVLPG", NULL, with_invlpg},
    {"MOV to CR3", NULL, with_cr3},
    {"CR4.PGE", NULL, with_pge},
    {"INVLPG, asked for by x2APIC", needs_x2apic, x2apic},
};

void test_main(void)
{
    taken_init();
    count_nmi = fault_hook;
    fault_hook = on_fault;
    smp_start();
    ktap_all(cases, ARRAY_SIZE(cases));
}
