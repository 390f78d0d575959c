/* Requests between CPUs of the host: a box for each, with flags and two counts. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/request.h"

/* Host tests let other CPUs come between any two of these. */
#ifndef REQUEST_LOAD
#define REQUEST_LOAD     __atomic_load_n
#define REQUEST_STORE    __atomic_store_n
#define REQUEST_OR       __atomic_fetch_or
#define REQUEST_ADD      __atomic_add_fetch
#define REQUEST_EXCHANGE __atomic_exchange_n
#endif

/*
 * Who asks sets flags and then counts up ASKED. The box's CPU reads ASKED, takes the flags, does
 * what they say, and makes that reading DONE: whatever was counted in it had its flags set before.
 */
struct box {
    _Alignas(64) uint32_t flags;
    uint64_t asked, done;
    bool serves; /* its CPU is at it */
};

static struct box boxes[MAX_CPUS];

static uint64_t post(uint32_t cpu, uint32_t what)
{
    REQUEST_OR(&boxes[cpu].flags, what, __ATOMIC_RELEASE);
    return REQUEST_ADD(&boxes[cpu].asked, 1, __ATOMIC_RELEASE);
}

uint64_t request_ask(uint32_t cpu, uint32_t what)
{
    uint64_t number = post(cpu, what);
    request_kick(cpu);
    return number;
}

bool request_is_done(uint32_t cpu, uint64_t number)
{
    return REQUEST_LOAD(&boxes[cpu].done, __ATOMIC_ACQUIRE) >= number;
}

void request_post(struct request *request, uint32_t me, struct cpu_set to, uint32_t what)
{
    request->to = to;
    for (uint32_t cpu = 0; cpu < MAX_CPUS; cpu++) {
        if ((to.bits >> cpu & 1) == 0)
            continue;
        request->number[cpu] = cpu == me ? post(cpu, what) : request_ask(cpu, what);
    }
}

void request_wait(const struct request *request, uint32_t me)
{
    assert(!boxes[me].serves);
    for (uint32_t cpu = 0; cpu < MAX_CPUS; cpu++) {
        uint64_t since = 0;
        if ((request->to.bits >> cpu & 1) == 0)
            continue;
        while (!request_is_done(cpu, request->number[cpu])) {
            request_serve(me);
            if (cpu != me)
                request_waiting(cpu, &since);
        }
    }
}

void request_lock(struct request_lock *lock, uint32_t me)
{
    while (REQUEST_EXCHANGE(&lock->held, 1, __ATOMIC_ACQUIRE) != 0)
        request_serve(me);
}

void request_unlock(struct request_lock *lock)
{
    REQUEST_STORE(&lock->held, 0, __ATOMIC_RELEASE);
}

bool request_is_posted(uint32_t me)
{
    return REQUEST_LOAD(&boxes[me].asked, __ATOMIC_ACQUIRE) != boxes[me].done;
}

void request_serve(uint32_t me)
{
    struct box *box = &boxes[me];
    uint64_t asked = REQUEST_LOAD(&box->asked, __ATOMIC_ACQUIRE);
    if (asked == box->done)
        return;
    box->serves = true;
    uint32_t flags = REQUEST_EXCHANGE(&box->flags, 0, __ATOMIC_ACQ_REL);
    if (flags != 0)
        request_do(flags);
    box->serves = false;
    REQUEST_STORE(&box->done, asked, __ATOMIC_RELEASE);
}
