/* Compares TSCs: one CPU asks, another reads its own, and the first sees when it has the answer. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/tsc.h"

#include "lib/x86.h"
#include "vmm/host/clock.h"
#include "vmm/host/log.h"
#include "vmm/host/request.h"

/* Microseconds: of one side for the other, and until no more rounds are begun. */
enum { PATIENCE = 1000000, ENOUGH = 1000 };
enum { ROUNDS = 16, TURN_OVER = 2 * ROUNDS + 1 };

/* What the two sides write in turns: the asker odd numbers, the other even ones. */
static struct {
    _Alignas(64) uint32_t turn;
    uint64_t theirs;
} exchange;

/* In the order of the program, which RDTSC alone would not keep. */
static uint64_t read_now(void)
{
    __asm__ volatile("lfence" : : : "memory");
    uint64_t now = rdtsc();
    __asm__ volatile("lfence" : : : "memory");
    return now;
}

/* Waits for the other side to go on from TURN; returns its turn, TURN_OVER after too long. */
static uint32_t wait_behind(uint32_t turn)
{
    uint64_t ticks = clock_ticks(PATIENCE), start = rdtsc();
    uint32_t now = turn;
    while (now == turn && rdtsc() - start < ticks) {
        cpu_relax();
        now = __atomic_load_n(&exchange.turn, __ATOMIC_ACQUIRE);
    }
    return now == turn ? TURN_OVER : now;
}

static void set_turn(uint32_t turn)
{
    __atomic_store_n(&exchange.turn, turn, __ATOMIC_RELEASE);
}

void tsc_answer(void)
{
    for (uint32_t turn = 0; (turn = wait_behind(turn)) != TURN_OVER; set_turn(++turn))
        exchange.theirs = read_now();
}

/* The best of all rounds: *WITHIN gets the shortest time of an exchange. */
static int64_t compare_with(uint32_t cpu, uint64_t *within)
{
    struct request request;
    int64_t ahead = 0;
    uint64_t best = UINT64_MAX;
    set_turn(0);
    request_post(&request, this_cpu()->index, (struct cpu_set){1ull << cpu}, REQUEST_TSC);
    uint64_t start = rdtsc();
    for (uint32_t i = 0; i < ROUNDS && (i < 2 || rdtsc() - start < clock_ticks(ENOUGH)); i++) {
        uint64_t before = read_now();
        set_turn(2 * i + 1);
        if (wait_behind(2 * i + 1) != 2 * i + 2)
            break;
        uint64_t after = read_now();
        if (after - before < best) {
            best = after - before;
            ahead = tsc_ahead(before, exchange.theirs, after);
        }
    }
    set_turn(TURN_OVER);
    request_wait(&request, this_cpu()->index);
    *within = max_u64(*within, best);
    return ahead;
}

void tsc_compare(struct cpu_set others)
{
    uint64_t within = 0;
    bool agree = true;
    for (uint32_t cpu = 0; cpu < MAX_CPUS; cpu++) {
        if ((others.bits >> cpu & 1) == 0)
            continue;
        int64_t ahead = compare_with(cpu, &within);
        if (ahead != 0)
            log_line("clock: CPU %u's TSC is %ld ticks %s CPU 0's", cpu, ahead < 0 ? -ahead : ahead,
                     ahead < 0 ? "behind" : "ahead of");
        agree = agree && ahead == 0;
    }
    if (agree && others.bits != 0)
        log_line("clock: the TSCs of all CPUs agree, to within %lu ticks", within);
}
