/* The trace: rings of records, and the exits in them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/instruments/trace.h"

#include "lib/errno.h"
#include "lib/format.h"
#include "lib/string.h"
#include "lib/x86.h"
#include "vmm/host/clock.h"
#include "vmm/host/host.h"
#include "vmm/host/log.h"
#include "vmm/vm.h"

enum { PER_LINE = 3 }; /* as many as a line of the log holds */
enum { RING_PAGES = (sizeof(struct trace_ring) + PAGE_SIZE - 1) / PAGE_SIZE };

struct cpu_set trace_cpus;

int trace_init(struct host *host, struct cpu *cpu)
{
    struct trace_ring *ring = frames_alloc(&host->frames, RING_PAGES);
    if (ring == NULL) {
        log_line("trace: no memory for the ring of CPU %u; there is no trace", cpu->index);
        return -ENOMEM;
    }
    ring->magic = TRACE_MAGIC;
    ring->version = TRACE_VERSION;
    ring->record_size = sizeof(struct trace_record);
    ring->count = TRACE_RECORDS;
    ring->offset = offsetof(struct trace_ring, records);
    ring->cpu = cpu->index;
    ring->khz = clock_tsc_khz();
    cpu->trace = ring;
    cpu->trace_hpa = host_address(host, ring);
    return 0;
}

static struct trace_record *next_record(struct trace_ring *ring)
{
    static_assert((TRACE_RECORDS & (TRACE_RECORDS - 1)) == 0, "slots are found by masking");
    return &ring->records[ring->next++ % TRACE_RECORDS];
}

static bool is_on(const struct cpu *cpu)
{
    return (trace_cpus.bits >> cpu->index & 1) != 0;
}

void trace_put(enum trace_kind kind, unsigned what, uint32_t info, uint64_t a, uint64_t b)
{
    if (!is_on(this_cpu()))
        return;
    *next_record(this_cpu()->trace) =
        (struct trace_record){rdtsc(), (uint16_t)kind, (uint16_t)what, info, a, b};
}

static __attribute__((noinline)) void put_injection(const struct vcpu *vcpu)
{
    const struct event *event = &vcpu->event;
    trace_put(TRACE_INJECT, event->vector, event->has_error ? event->error : 0, vcpu->state.rip,
              event->type);
}

/*
 * B of an exit: its own part of struct vm_exit where the kind has one, as it lies in memory; else
 * EAX, and ECX in the upper half: what an MSR's, CPUID's or a hypercall's number is in.
 */
static void run_traced(struct vcpu *vcpu)
{
    const struct vm_exit *exit = &vcpu->exit;
    const uint64_t *gpr = vcpu->state.gpr;
    if (vcpu->event.valid)
        put_injection(vcpu);
    uint64_t entered = rdtsc();
    vcpu->enter(vcpu);
    uint64_t tsc = rdtsc();
    struct trace_record *r = next_record(vcpu->cpu->trace);
    r->tsc = tsc;
    r->kind = TRACE_EXIT;
    r->what = (uint16_t)exit->kind;
    r->info = (uint32_t)min_u64(tsc - entered, UINT32_MAX);
    r->a = vcpu->state.rip;
    r->b = exit->kind >= EXIT_IO ? exit->code : (uint32_t)gpr[RAX] | gpr[RCX] << 32;
}

void trace_follow(struct vcpu *vcpu)
{
    static_assert(sizeof(vcpu->cpu->trace->vm) == CONFIG_NAME_SIZE, "TRACE_VERSION");
    bool on = is_on(vcpu->cpu);
    vcpu->run = on ? run_traced : vcpu->enter;
    if (on)
        memcpy(vcpu->cpu->trace->vm, vcpu->vm->config->name, sizeof(vcpu->cpu->trace->vm));
}

int trace_set(bool on)
{
    struct cpu *cpu = this_cpu();
    struct trace_ring *ring = cpu->trace;
    if (ring == NULL)
        return -ENOMEM;
    if (on) {
        ring->since = rdtsc();
        ring->next = 0;
        log_line("trace: CPU %u: the last %u records are kept at 0x%lx", cpu->index, ring->count,
                 cpu->trace_hpa.v);
    }
    if (on)
        (void)__atomic_fetch_or(&trace_cpus.bits, 1ull << cpu->index, __ATOMIC_RELAXED);
    else
        (void)__atomic_fetch_and(&trace_cpus.bits, ~(1ull << cpu->index), __ATOMIC_RELAXED);
    if (cpu->vcpu != NULL)
        trace_follow(cpu->vcpu);
    return 0;
}

static void dump_records(const struct trace_ring *ring, uint64_t first, uint64_t end)
{
    char line[PER_LINE * (2 * sizeof(struct trace_record) + 1) + 1];
    size_t n = 0;
    for (uint64_t i = first; i < end; i++) {
        const uint64_t *words = (const void *)&ring->records[i % TRACE_RECORDS];
        n += format(line + n, sizeof(line) - n, " %016lx%016lx%016lx%016lx", words[0], words[1],
                    words[2], words[3]);
        if (i + 1 < end && (i + 1 - first) % PER_LINE != 0)
            continue;
        log_line("trace %u%s", ring->cpu, line);
        n = 0;
    }
}

void trace_dump(void)
{
    const struct trace_ring *ring = this_cpu()->trace;
    if (ring == NULL || ring->next == 0)
        return;
    uint64_t end = ring->next, first = end - min_u64(end, TRACE_RECORDS);
    log_line("trace: CPU %u vm %s version %u size %u records %lu to %lu since 0x%lx khz %u",
             ring->cpu, ring->vm, ring->version, ring->record_size, first, end, ring->since,
             ring->khz);
    dump_records(ring, first, end);
}
