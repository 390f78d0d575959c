/* What CPUs of the host ask of each other: flags, which a kick makes a CPU look at. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/host/cpu.h"

enum request_flag {
    REQUEST_TSC = 1 << 0,        /* to answer tsc_compare() */
    REQUEST_LOOK = 1 << 1,       /* to show that it goes on: watchdog_look() */
    REQUEST_LET_GO = 1 << 2,     /* to leave its vCPU's view: views_let_go() */
    REQUEST_WRITE_BACK = 1 << 3, /* to empty its caches */
};

/* What was asked of some CPUs. */
struct request {
    struct cpu_set to;
    uint64_t number[MAX_CPUS]; /* of this request among all of a CPU's */
};

/* CPU ME asks for WHAT (enum request_flag) of the CPUs TO, and kicks them but for itself. */
void request_post(struct request *request, uint32_t me, struct cpu_set to, uint32_t what);

/* The same of one other CPU; returns the request's number among all of that CPU's. */
uint64_t request_ask(uint32_t cpu, uint32_t what);

/* Whether CPU has done the request of that NUMBER. */
bool request_is_done(uint32_t cpu, uint64_t number);

/* Waits until all have done it, and does meanwhile what is asked of CPU ME. */
void request_wait(const struct request *request, uint32_t me);

/* A lock that is held while waiting for others: who waits for it does what is asked of it. */
struct request_lock {
    uint32_t held;
};

void request_lock(struct request_lock *lock, uint32_t me);
void request_unlock(struct request_lock *lock);

/* True where something has been asked of CPU ME and is not done. */
bool request_is_posted(uint32_t me);

/* Does what has been asked of CPU ME, which runs this. */
void request_serve(uint32_t me);

/* --- what the machine does for it (smp.c) ----------------------------------------------------- */

/* Makes CPU look at its requests. */
void request_kick(uint32_t cpu);

/* Does all of FLAGS on the running CPU; must not wait for another. */
void request_do(uint32_t flags);

/*
 * A turn of waiting for CPU, of which *SINCE is 0 at first. One that has not answered for too long
 * is the end of the machine.
 */
void request_waiting(uint32_t cpu, uint64_t *since);
