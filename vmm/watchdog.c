/* Whether the host's CPUs go on: each is looked at by another, and one that is stuck is named. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/watchdog.h"

#include "lib/x86.h"
#include "vmm/clock.h"
#include "vmm/log.h"
#include "vmm/panic.h"
#include "vmm/request.h"
#include "vmm/smp.h"
#include "vmm/timer.h"

/* Microseconds: between looks, and between looks at a CPU that has been asked. */
enum { LOOK = 1000000, LOOK_AGAIN = 250000 };

/* It is asked once. Where the whole machine has stood still, one look would find no answer. */
enum { UNANSWERED = LOOK / LOOK_AGAIN };

struct watch {
    _Alignas(64) uint64_t due; /* TSC */
    uint64_t looks;            /* how often this CPU has looked: that it goes on */
    uint32_t next;             /* the CPU that it looks at */
    uint32_t unanswered;       /* looks at that since it was asked; 0: it was not */
    uint64_t seen, number;     /* its LOOKS when it last went on; that of the request */
};

static struct watch watches[MAX_CPUS];
static bool on;
static uint32_t suspect; /* index + 1 of the CPU that is to report where it is; 0: none */

static bool is_on(void)
{
    return __atomic_load_n(&on, __ATOMIC_RELAXED);
}

static bool answers_nmi(uint32_t cpu, uint64_t number)
{
    uint64_t start = rdtsc(), ticks = clock_ticks(LOOK_AGAIN);
    smp_send_nmi(cpu);
    while (!request_is_done(cpu, number) && rdtsc() - start < ticks)
        cpu_relax();
    return request_is_done(cpu, number);
}

/*
 * The first NMI makes a guest exit, whatever holds back the kick. By the second one the CPU reports
 * where it is: no other maps its stack.
 */
static void accuse(uint32_t cpu, uint64_t number)
{
    if (answers_nmi(cpu, number))
        return;
    __atomic_store_n(&suspect, cpu + 1, __ATOMIC_RELEASE);
    if (!answers_nmi(cpu, number))
        panic("CPU %u is stuck in the hypervisor, and does not even take an NMI", cpu);
    __atomic_store_n(&suspect, 0, __ATOMIC_RELEASE);
}

/* Microseconds until the next look. A guest that never exits on its own answers when asked. */
static uint64_t look_at_next(struct watch *own)
{
    uint64_t looks = __atomic_load_n(&watches[own->next].looks, __ATOMIC_RELAXED);
    bool lives =
        looks != own->seen || (own->unanswered != 0 && request_is_done(own->next, own->number));
    own->seen = looks;
    if (lives) {
        own->unanswered = 0;
        return LOOK;
    }
    if (own->unanswered == 0)
        own->number = request_ask(own->next, REQUEST_LOOK);
    else if (own->unanswered == UNANSWERED)
        accuse(own->next, own->number);
    own->unanswered++;
    return LOOK_AGAIN;
}

void watchdog_look(void)
{
    struct watch *own = &watches[this_cpu()->index];
    uint64_t now = rdtsc();
    if (!is_on() || now < own->due)
        return;
    own->due = UINT64_MAX; /* what it does now may look too */
    __atomic_store_n(&own->looks, own->looks + 1, __ATOMIC_RELAXED);
    own->due = now + clock_ticks(look_at_next(own));
}

uint64_t watchdog_left(void)
{
    if (!is_on())
        return UINT64_MAX;
    uint64_t now = rdtsc(), due = watches[this_cpu()->index].due;
    return due > now ? due - now : 0;
}

void watchdog_nmi(const struct trap_frame *frame)
{
    uint32_t me = this_cpu()->index;
    if (__atomic_load_n(&suspect, __ATOMIC_ACQUIRE) == me + 1 && request_is_posted(me))
        panic_stuck(frame);
}

static void start_timer(void *unused)
{
    (void)unused;
    timer_init();
    timer_set(UINT64_MAX);
}

void watchdog_start(void)
{
    struct cpu_set cpus = smp_cpus();
    uint64_t due = rdtsc() + clock_ticks(LOOK);
    uint32_t next = 0;
    if (cpu_count(cpus) == 1)
        return;
    for (uint32_t cpu = MAX_CPUS; cpu-- > 0;)
        if ((cpus.bits >> cpu & 1) != 0) {
            watches[cpu] = (struct watch){.due = due, .next = next};
            next = cpu;
        }
    __atomic_store_n(&on, true, __ATOMIC_RELEASE);
    for (; cpus.bits != 0; cpus.bits &= cpus.bits - 1)
        smp_call((uint32_t)__builtin_ctzll(cpus.bits), start_timer, NULL);
    log_line("watchdog: each CPU is looked at by another, once a second");
}

void watchdog_stop(void)
{
    __atomic_store_n(&on, false, __ATOMIC_RELEASE);
}
