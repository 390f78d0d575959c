/*
 * Requests between CPUs under a random scheduler: each CPU is a coroutine, which may have to wait
 * at every step of the protocol. A lock is held while others, who may wait for it, are asked. And
 * what an exchange of TSCs says.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <ucontext.h>

#include "tests/unit/host.h"
#include "vmm/host/tsc.h"

static void step(void);

/* Each access that other CPUs see is a place where they may come between. */
#define load_step(from, order)       (step(), __atomic_load_n(from, order))
#define store_step(to, value, order) (step(), __atomic_store_n(to, value, order))
#define or_step(to, value, order)    (step(), __atomic_fetch_or(to, value, order))
#define add_step(to, value, order)   (step(), __atomic_add_fetch(to, value, order))
#define exchange_step(to, v, order)  (step(), __atomic_exchange_n(to, v, order))
#define REQUEST_LOAD                 load_step
#define REQUEST_STORE                store_step
#define REQUEST_OR                   or_step
#define REQUEST_ADD                  add_step
#define REQUEST_EXCHANGE             exchange_step
#include "vmm/host/request.c"

/* On the coroutines' stacks assert(), which aborts, takes the place of cmocka's jumps. */
enum { MOST = 6, STACK = 64 * 1024, FLAGS = 4, ROUNDS = 400, MOST_TURNS = 1000000 };

static struct {
    ucontext_t context;
    char stack[STACK];
    bool halted;            /* until a kick */
    bool kicked;            /* a kick has come that HLT has not seen */
    bool done;              /* it asks for nothing more */
    uint32_t wished[FLAGS]; /* requests for each flag that have been begun */
    uint32_t served[FLAGS]; /* what WISHED was when the flag was last acted upon */
} cpus[MOST];
static struct request_lock lock;
static unsigned holders; /* CPUs that have it */
static ucontext_t scheduler;
static unsigned cpu_total, current;
static uint64_t random_state;

static unsigned random_below(unsigned n)
{
    return (unsigned)(host_random(&random_state) >> 33) % n;
}

static void step(void)
{
    if (random_below(3) == 0)
        swapcontext(&cpus[current].context, &scheduler);
}

void request_kick(uint32_t cpu)
{
    cpus[cpu].kicked = true;
    cpus[cpu].halted = false;
    step();
}

void request_do(uint32_t flags)
{
    assert(flags != 0 && flags < 1u << FLAGS);
    for (unsigned i = 0; i < FLAGS; i++)
        if ((flags >> i & 1) != 0)
            cpus[current].served[i] = cpus[current].wished[i];
    step();
}

void request_waiting(uint32_t cpu, uint64_t *since)
{
    assert(cpu != current && ++*since < 20000);
    swapcontext(&cpus[current].context, &scheduler);
}

/* As vmm/host/smp.c parks a CPU; a kick that has come since the look ends HLT at once. */
static void park_once(void)
{
    request_serve(current);
    cpus[current].kicked = false;
    if (!request_is_posted(current)) {
        cpus[current].halted = !cpus[current].kicked;
        swapcontext(&cpus[current].context, &scheduler);
    }
}

static void ask(void)
{
    struct request request;
    struct cpu_set to = {host_random(&random_state) >> 20 & ((1ull << cpu_total) - 1)};
    uint32_t flags = 1 + random_below((1u << FLAGS) - 1);
    uint32_t wishes[MOST][FLAGS];
    for (unsigned cpu = 0; cpu < cpu_total; cpu++)
        for (unsigned i = 0; i < FLAGS; i++)
            if ((to.bits >> cpu & 1) != 0 && (flags >> i & 1) != 0)
                wishes[cpu][i] = ++cpus[cpu].wished[i];
    unsigned me = current;
    request_post(&request, me, to, flags);
    request_wait(&request, me);
    for (unsigned cpu = 0; cpu < cpu_total; cpu++)
        for (unsigned i = 0; i < FLAGS; i++)
            if ((to.bits >> cpu & 1) != 0 && (flags >> i & 1) != 0)
                assert(cpus[cpu].served[i] >= wishes[cpu][i]);
}

static void ask_with_lock(void)
{
    request_lock(&lock, current);
    assert(++holders == 1);
    step();
    ask();
    assert(holders-- == 1);
    request_unlock(&lock);
}

static void run_cpu(void)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned what = random_below(8);
        if (what == 0)
            ask();
        else if (what == 1)
            ask_with_lock();
        else
            park_once();
    }
    cpus[current].done = true;
    for (;;)
        park_once();
}

static bool all_done(void)
{
    bool all = true;
    for (unsigned i = 0; i < cpu_total; i++)
        all = all && cpus[i].done;
    return all;
}

/* A CPU that has halted runs again after a kick, or by an interrupt of its own when all have. */
static unsigned next_cpu(void)
{
    bool all_halted = true;
    for (unsigned i = 0; i < cpu_total; i++)
        all_halted = all_halted && cpus[i].halted;
    unsigned next = random_below(cpu_total);
    while (all_halted ? cpus[next].done : cpus[next].halted)
        next = (next + 1) % cpu_total;
    return next;
}

static void make_cpu(unsigned i)
{
    getcontext(&cpus[i].context);
    cpus[i].context.uc_stack.ss_sp = cpus[i].stack;
    cpus[i].context.uc_stack.ss_size = STACK;
    makecontext(&cpus[i].context, run_cpu, 0);
}

static void run_machine(unsigned total, uint64_t seed)
{
    memset(cpus, 0, sizeof(cpus));
    memset(boxes, 0, sizeof(boxes));
    cpu_total = total;
    random_state = seed;
    holders = 0;
    for (unsigned i = 0; i < total; i++)
        make_cpu(i);
    for (unsigned turns = 0; !all_done(); turns++) {
        assert(turns < MOST_TURNS);
        current = next_cpu();
        cpus[current].halted = false;
        swapcontext(&scheduler, &cpus[current].context);
    }
}

static void random_schedules(void **state)
{
    (void)state;
    for (unsigned total = 1; total <= MOST; total++)
        for (uint64_t seed = 1; seed <= 20; seed++)
            run_machine(total, seed * 1000 + total);
}

static void exchanges(void **state)
{
    (void)state;
    assert_int_equal(tsc_ahead(100, 100, 200), 0);
    assert_int_equal(tsc_ahead(100, 150, 200), 0);
    assert_int_equal(tsc_ahead(100, 200, 200), 0);
    assert_int_equal(tsc_ahead(100, 201, 200), 1);
    assert_int_equal(tsc_ahead(100, 99, 200), -1);
    assert_int_equal(tsc_ahead(100, 5000000000, 200), 4999999800);
    assert_int_equal(tsc_ahead(5000000000, 100, 5000000100), -4999999900);
    assert_int_equal(tsc_ahead(UINT64_MAX - 5, 10, 20), 0); /* it wrapped meanwhile */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_schedules),
        cmocka_unit_test(exchanges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
