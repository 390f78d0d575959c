/*
 * Spin-locks of several makes under all CPUs at once, with and without exits while they are held,
 * and with interrupts meanwhile: what they guard is exact.
 *
 * row: locks.2 end=0 cpus=2 timeout=60 control-timeout=30
 * row: locks.4 end=0 cpus=4 timeout=90 control-timeout=60
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/taken.h"
#include "lib/string.h"
#include "vmm/abi.h"

enum { TURNS = 2000, EXIT_TURNS = 250, VECTOR = 0x55, UNUSED_PORT = 0x580, WORDS = 8 };

#define HOLE_PAGE 0xd0000000ull

/* --- locks ----------------------------------------------------------------------------------- */

static uint32_t word, next, serving;

static void take_xchg(unsigned cpu)
{
    uint32_t held = 1;
    (void)cpu;
    for (;;) {
        __asm__ volatile("xchgl %0, %1" : "+r"(held), "+m"(word) : : "memory");
        if (held == 0)
            return;
        smp_relax();
    }
}

static void take_cmpxchg(unsigned cpu)
{
    for (;;) {
        uint32_t found = 0;
        __asm__ volatile("lock cmpxchgl %2, %1"
                         : "+a"(found), "+m"(word)
                         : "r"(cpu + 1)
                         : "memory", "cc");
        if (found == 0)
            return;
        smp_relax();
    }
}

static void take_bts(unsigned cpu)
{
    bool held = false; /* for cppcheck */
    (void)cpu;
    do
        __asm__ volatile("lock btsl $31, %1" : "=@ccc"(held), "+m"(word) : : "memory");
    while (held);
}

static void release_word(unsigned cpu)
{
    (void)cpu;
    __atomic_store_n(&word, 0, __ATOMIC_RELEASE);
}

static void take_ticket(unsigned cpu)
{
    uint32_t mine = 1;
    (void)cpu;
    __asm__ volatile("lock xaddl %0, %1" : "+r"(mine), "+m"(next) : : "memory", "cc");
    while (__atomic_load_n(&serving, __ATOMIC_ACQUIRE) != mine)
        smp_relax();
}

static void release_ticket(unsigned cpu)
{
    (void)cpu;
    __atomic_store_n(&serving, serving + 1, __ATOMIC_RELEASE);
}

/* A queue: each waits for the place before its own (Mellor-Crummey and Scott's). */
static struct place {
    struct place *behind;
    bool wait;
} places[SMP_MAX], *last;

static void take_queue(unsigned cpu)
{
    struct place *mine = &places[cpu];
    mine->behind = NULL;
    mine->wait = true;
    struct place *before = __atomic_exchange_n(&last, mine, __ATOMIC_ACQ_REL);
    if (before == NULL)
        return;
    __atomic_store_n(&before->behind, mine, __ATOMIC_RELEASE);
    while (__atomic_load_n(&mine->wait, __ATOMIC_ACQUIRE))
        smp_relax();
}

static void release_queue(unsigned cpu)
{
    struct place *mine = &places[cpu], *me = mine;
    if (__atomic_compare_exchange_n(&last, &me, NULL, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return;
    while (__atomic_load_n(&mine->behind, __ATOMIC_ACQUIRE) == NULL)
        smp_relax();
    __atomic_store_n(&mine->behind->wait, false, __ATOMIC_RELEASE);
}

/* Where it is fair, a CPU that an emulator does not run holds up all: fewer turns then. */
struct maker {
    void (*take)(unsigned cpu), (*release)(unsigned cpu);
    unsigned share;
};

static const struct maker makers[] = {
    {take_xchg, release_word, 1},     {take_cmpxchg, release_word, 1}, {take_bts, release_word, 1},
    {take_ticket, release_ticket, 8}, {take_queue, release_queue, 8},
};

/* --- what they guard ------------------------------------------------------------------------- */

static const struct maker *maker;
static volatile uint64_t guarded[WORDS];
static volatile unsigned inside;
static unsigned turns, done[SMP_MAX];
static bool exits, interrupts;

/* Something that exits, another one each time. */
static void leave(unsigned i)
{
    switch (i % 6) {
    case 0:
        (void)cpuid(0, 0);
        break;
    case 1:
        out8(UNUSED_PORT, 0);
        break;
    case 2:
        (void)*(volatile uint32_t *)HOLE_PAGE;
        break;
    case 3:
        wrmsr(MSR_PAT, rdmsr(MSR_PAT));
        break;
    case 4:
        (void)apic_get(ID);
        break;
    default:
        write_cr4(read_cr4() ^ CR4_TSD);
        break;
    }
}

static void turn(unsigned cpu, unsigned i)
{
    maker->take(cpu);
    expect(inside == 0, "CPU %u is not alone", cpu);
    inside = 1;
    uint64_t before = guarded[0];
    for (unsigned w = 0; w < WORDS; w++) {
        if (exits && w == i % WORDS)
            leave(i);
        expect(guarded[w] == before, "word %u is %lu, the first %lu", w, guarded[w], before);
        guarded[w] = before + 1;
    }
    inside = 0;
    maker->release(cpu);
    done[cpu]++;
}

/* The turns are made with a timer that is known to run. */
static void let_interrupts_in(unsigned cpu)
{
    sti();
    expect(taken_wait(cpu, VECTOR, 1), "CPU %u has taken no interrupt", cpu);
}

static void take_turns(unsigned cpu)
{
    if (interrupts)
        let_interrupts_in(cpu);
    for (unsigned i = 0; i < turns; i++)
        turn(cpu, i);
    smp_barrier();
    cli();
}

static void torture(const struct maker *with, unsigned how_often)
{
    maker = with;
    turns = how_often / with->share;
    memset((void *)(uintptr_t)guarded, 0, sizeof(guarded));
    memset(done, 0, sizeof(done));
    word = next = serving = inside = 0;
    last = NULL;
    smp_run(take_turns);
    for (unsigned w = 0; w < WORDS; w++)
        expect(guarded[w] == (uint64_t)turns * smp_count(), "word %u is %lu after %u", w,
               guarded[w], turns * smp_count());
    for (unsigned i = 0; i < smp_count(); i++)
        expect(done[i] == turns, "CPU %u has made %u turns", i, done[i]);
}

static void all_makers(unsigned how_often)
{
    for (unsigned i = 0; i < ARRAY_SIZE(makers); i++)
        torture(&makers[i], how_often);
}

static void plain(void)
{
    exits = interrupts = false;
    all_makers(TURNS);
}

static void with_exits(void)
{
    exits = true;
    all_makers(EXIT_TURNS);
}

/* Each holder may be interrupted, by the next CPU and its own timer. */
static void poke_next(unsigned cpu, unsigned vector)
{
    (void)vector;
    if (taken[cpu][VECTOR] % 2 == 0)
        (void)cpuid(0, 0);
}

static void start_timer(unsigned cpu)
{
    apic_set(DIVIDE, BY_1);
    apic_set(LVT_TIMER, VECTOR | PERIODIC);
    apic_set(INITIAL, 3000 + 100 * cpu);
}

static void stop_timer(unsigned cpu)
{
    (void)cpu;
    apic_set(INITIAL, 0);
    apic_set(LVT_TIMER, MASKED);
    sti_nop_cli();
}

static void with_interrupts(void)
{
    taken_clear();
    taken_hook = poke_next;
    interrupts = true;
    smp_run(start_timer);
    all_makers(EXIT_TURNS);
    smp_run(stop_timer);
    taken_hook = NULL;
    interrupts = false;
}

/* --- single instructions --------------------------------------------------------------------- */

static uint64_t sum, least, flags;
static __uint128_t pair __attribute__((aligned(16)));

static void add_and_more(unsigned cpu)
{
    for (uint64_t i = 1; i <= TURNS; i++) {
        __asm__ volatile("lock addq %1, %0" : "+m"(sum) : "r"(i) : "cc");
        __asm__ volatile("lock decq %0" : "+m"(least) : : "cc");
        __asm__ volatile("lock xorq %1, %0" : "+m"(flags) : "r"(1ull << cpu) : "cc");
        uint64_t low = (uint64_t)pair, high = (uint64_t)(pair >> 64);
        bool same = false; /* for cppcheck */
        do
            __asm__ volatile("lock cmpxchg16b %0"
                             : "+m"(pair), "+a"(low), "+d"(high), "=@ccz"(same)
                             : "b"(low + 1), "c"(high - 1));
        while (!same);
    }
}

static void locked_instructions(void)
{
    uint64_t all = (uint64_t)TURNS * smp_count();
    sum = least = flags = 0;
    pair = 0;
    smp_run(add_and_more);
    expect(sum == all * (TURNS + 1) / 2, "sum %lu", sum);
    expect(least == -all, "down to %lx", least);
    expect(flags == 0, "bits %lx", flags);
    expect((uint64_t)pair == all && (uint64_t)(pair >> 64) == -all, "pair %lx %lx",
           (uint64_t)(pair >> 64), (uint64_t)pair);
}

static const struct test_case cases[] = {
    {"locked instructions", NULL, locked_instructions},
    {"locks", NULL, plain},
    {"locks, held over exits", NULL, with_exits},
    {"locks, held over exits and interrupts", NULL, with_interrupts},
};

void test_main(void)
{
    taken_init();
    smp_start();
    ktap_all(cases, ARRAY_SIZE(cases));
}
