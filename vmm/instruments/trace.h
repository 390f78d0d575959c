/*
 * The trace: what happened on a CPU, in a ring of records of one size. Off by default; then nothing
 * of it is executed at an exit. The layout is for dumps: tools/trace reads it, of memory or the
 * log.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stddef.h>

#include "lib/assert.h"
#include "vmm/host/cpu.h"

struct host;
struct vcpu;

/* The number of the layout and of what kinds mean: it changes with either. */
enum { TRACE_VERSION = 3 };

#define TRACE_MAGIC 0x4352544eu /* "NTRC" */

enum { TRACE_RECORDS = 2048 }; /* of a CPU: the last that it has made */

/* What the fields of a record are, by its kind. Addresses and sizes are the guest's physical ones.
 */
enum trace_kind {
    TRACE_NONE,
    TRACE_EXIT,       /* what: enum exit_kind; info: ticks in the guest, UINT32_MAX: that or more;
                         a: RIP; b: see trace.c */
    TRACE_INJECT,     /* at an entry; what: vector; info: error code; a: RIP; b: enum event_type */
    TRACE_MTRR,       /* a write; what: 1: of another value; a: MSR; b: value */
    TRACE_PAT,        /* a write that exits; a: MSR; b: value */
    TRACE_CR0,        /* a write that exits; a: the value that the guest then reads */
    TRACE_VIEW,       /* what: enum view_kind; a: host-physical root of its tables */
    TRACE_LEAF,       /* leaves have changed; what: level; info: old type, and new one in bits 15:8,
                         each with TRACE_IPAT; a: address; b: size */
    TRACE_SPLIT,      /* a leaf has become a table; the same, where what is the leaf's level */
    TRACE_JOIN,       /* a table has become one leaf; the same */
    TRACE_INVALIDATE, /* what: enum trace_scope; info: the operand that said so to the CPU; a: root
                         of the tables, host-physical, 0 where they do not matter */
    TRACE_FLUSH,      /* of caches; what: 0: all by WBINVD, 1: lines; a, b: address and size of what
                         it is for, 0: everything */
    TRACE_MASTER,     /* of a device that the VM has; what: 1: it may do DMA from here on; a: its
                         requester ID and, above 16 bits, its segment */
    TRACE_KINDS,
};

enum { TRACE_IPAT = 1 << 7 };

/* What an invalidation ends. */
enum trace_scope {
    TRACE_BY_ROOT,    /* all translations by the tables at a root */
    TRACE_OF_GUEST,   /* all that are tagged as the guest's */
    TRACE_NEXT_ENTRY, /* as the last, done by the next entry */
};

struct trace_record {
    uint64_t tsc;  /* of the host */
    uint16_t kind; /* enum trace_kind */
    uint16_t what;
    uint32_t info;
    uint64_t a, b;
};
static_assert(sizeof(struct trace_record) == 32, "TRACE_VERSION");
static_assert(offsetof(struct trace_record, kind) == 8, "TRACE_VERSION");
static_assert(offsetof(struct trace_record, info) == 12, "TRACE_VERSION");

struct trace_ring {
    uint32_t magic;
    uint16_t version;
    uint16_t record_size;
    uint32_t count;  /* of records in the ring */
    uint32_t offset; /* of the first from the ring's beginning */
    uint32_t cpu;
    uint32_t khz;   /* of the TSC; 0: not known */
    uint64_t since; /* TSC when the trace was turned on */
    uint64_t next;  /* how many records there were since; the next has the slot NEXT % COUNT */
    char vm[32];    /* the name of the VM that the CPU runs */
    uint64_t reserved[3];
    struct trace_record records[TRACE_RECORDS];
};
static_assert(offsetof(struct trace_ring, since) == 24, "TRACE_VERSION");
static_assert(offsetof(struct trace_ring, vm) == 40, "TRACE_VERSION");
static_assert(offsetof(struct trace_ring, records) == 96, "TRACE_VERSION");

/* Takes the ring of CPU from the pool. Returns 0 or -ENOMEM, logged; then there is no trace. */
int trace_init(struct host *host, struct cpu *cpu);

/* Turns the trace of the running CPU on, with an empty ring, or off. 0, or -ENOMEM: it has none. */
int trace_set(bool on);

/* Writes this CPU's ring to the log: two kinds of lines, which tools/trace reads. */
void trace_dump(void);

/* Has VCPU entered by VCPU->enter, with a trace around it while that is on. */
void trace_follow(struct vcpu *vcpu);

extern struct cpu_set trace_cpus; /* whose trace is on; is only read through the next */

/* On any CPU. */
static inline bool trace_is_on(void)
{
    return __builtin_expect(trace_cpus.bits != 0, false);
}

/* Makes a record, if the trace of this CPU is on. */
void trace_put(enum trace_kind kind, unsigned what, uint32_t info, uint64_t a, uint64_t b);

static inline void trace(enum trace_kind kind, unsigned what, uint32_t info, uint64_t a, uint64_t b)
{
    if (trace_is_on())
        trace_put(kind, what, info, a, b);
}
