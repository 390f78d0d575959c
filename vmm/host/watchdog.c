/* Whether the host's CPUs go on: each is looked at by another, and one that is stuck is named. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/watchdog.h"

#include "lib/x86.h"
#include "vmm/host/clock.h"
#include "vmm/host/iommu_host.h"
#include "vmm/host/log.h"
#include "vmm/host/panic.h"
#include "vmm/host/request.h"
#include "vmm/host/smp.h"
#include "vmm/host/timer.h"
#include "vmm/vm.h"

/* Microseconds: between looks, and between looks at a CPU that has been asked. */
enum { LOOK = 1000000, LOOK_AGAIN = 250000 };

/* It is asked once. Where the whole machine has stood still, one look would find no answer. */
enum { UNANSWERED = LOOK / LOOK_AGAIN };

struct watch {
    _Alignas(64) uint64_t due; /* TSC */
    uint64_t looks;            /* how often this CPU has looked: that it goes on */
    const struct vcpu *vcpu;   /* whose exits tell the same; or NULL */
    uint32_t next;             /* the CPU that it looks at */
    uint32_t unanswered;       /* looks at that since it was asked; 0: it was not */
    uint64_t seen, number;     /* what it showed last; of the request */
};

static struct watch watches[MAX_CPUS];
static bool on;
static uint32_t suspect; /* index + 1 of the CPU that is to report where it is; 0: none */

static bool is_on(void)
{
    return __atomic_load_n(&on, __ATOMIC_RELAXED);
}

/* What changes as long as CPU goes on. */
static uint64_t shown(uint32_t cpu)
{
    const struct watch *watch = &watches[cpu];
    const struct vcpu *vcpu = __atomic_load_n(&watch->vcpu, __ATOMIC_ACQUIRE);
    uint64_t sum = __atomic_load_n(&watch->looks, __ATOMIC_RELAXED);
    for (unsigned kind = 0; vcpu != NULL && kind < EXIT_KINDS; kind++)
        sum += __atomic_load_n(&vcpu->exits[kind], __ATOMIC_RELAXED);
    return sum;
}

static bool next_lives(struct watch *own)
{
    uint64_t seen = own->seen;
    own->seen = shown(own->next);
    return own->seen != seen || (own->unanswered != 0 && request_is_done(own->next, own->number));
}

static bool answers_nmi(struct watch *own)
{
    uint64_t start = rdtsc(), ticks = clock_ticks(LOOK_AGAIN);
    bool lives;
    smp_send_nmi(own->next);
    while (!(lives = next_lives(own)) && rdtsc() - start < ticks)
        cpu_relax();
    return lives;
}

/*
 * The first NMI makes a guest exit, whatever holds back the kick. By the second one the CPU reports
 * where it is: no other maps its stack.
 */
static void accuse(struct watch *own)
{
    if (answers_nmi(own))
        return;
    __atomic_store_n(&suspect, own->next + 1, __ATOMIC_RELEASE);
    if (!answers_nmi(own))
        panic("CPU %u is stuck in the hypervisor, and does not even take an NMI", own->next);
    __atomic_store_n(&suspect, 0, __ATOMIC_RELEASE);
}

/* Microseconds until the next look. */
static uint64_t look_at_next(struct watch *own)
{
    if (next_lives(own)) {
        own->unanswered = 0;
        return LOOK;
    }
    if (own->unanswered == 0)
        own->number = request_ask(own->next, REQUEST_LOOK);
    else if (own->unanswered == UNANSWERED)
        accuse(own);
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
    iommu_host_look();
    __atomic_store_n(&own->looks, own->looks + 1, __ATOMIC_RELAXED);
    if (own->next != this_cpu()->index)
        own->due = now + clock_ticks(look_at_next(own));
}

/* As at an interrupt of the timer: who set that for a guest sets it again. */
void watchdog_ask(void)
{
    struct watch *own = &watches[this_cpu()->index];
    uint64_t due = rdtsc() + clock_ticks(LOOK);
    if (!is_on() || due >= own->due)
        return;
    own->due = due;
    timer_set(UINT64_MAX);
}

uint64_t watchdog_left(void)
{
    if (!is_on())
        return UINT64_MAX;
    uint64_t now = rdtsc(), due = watches[this_cpu()->index].due;
    if (due == UINT64_MAX)
        return due;
    return due > now ? due - now : 0;
}

void watchdog_nmi(const struct trap_frame *frame)
{
    uint32_t me = this_cpu()->index;
    if (__atomic_load_n(&suspect, __ATOMIC_ACQUIRE) == me + 1 && request_is_posted(me))
        panic_stuck(frame);
}

void watchdog_follow(const struct vcpu *vcpu)
{
    __atomic_store_n(&watches[this_cpu()->index].vcpu, vcpu, __ATOMIC_RELEASE);
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
    bool alone = cpu_count(cpus) == 1;
    uint64_t due = alone ? UINT64_MAX : rdtsc() + clock_ticks(LOOK);
    uint32_t next = 0;
    if (alone && iommu_host() == NULL)
        return;
    for (uint32_t cpu = MAX_CPUS; cpu-- > 0;)
        if ((cpus.bits >> cpu & 1) != 0) {
            watches[cpu] = (struct watch){.due = due, .next = next};
            next = cpu;
        }
    __atomic_store_n(&on, true, __ATOMIC_RELEASE);
    for (; cpus.bits != 0; cpus.bits &= cpus.bits - 1)
        smp_call((uint32_t)__builtin_ctzll(cpus.bits), start_timer, NULL);
    if (!alone)
        log_line("watchdog: each CPU is looked at by another, once a second");
}

void watchdog_stop(void)
{
    __atomic_store_n(&on, false, __ATOMIC_RELEASE);
}
