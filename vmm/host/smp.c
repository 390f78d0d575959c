/* Starts the machine's other CPUs (SDM, "MP Initialization"), parks them, and gives them work. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/smp.h"

#include "drivers/apic.h"
#include "lib/errno.h"
#include "lib/format.h"
#include "lib/string.h"
#include "lib/x86.h"
#include "vmm/host/alike.h"
#include "vmm/host/area.h"
#include "vmm/host/clock.h"
#include "vmm/host/log.h"
#include "vmm/instruments/monitor.h"
#include "vmm/host/panic.h"
#include "vmm/host/request.h"
#include "vmm/host/traps.h"
#include "vmm/host/tsc.h"
#include "vmm/typing/views.h"
#include "vmm/host/watchdog.h"

/* Where a CPU is on its way; each step is one compare-and-exchange of who makes it. */
enum slot_state {
    SLOT_NONE,
    SLOT_CALLED,  /* the first CPU has sent for it */
    SLOT_COMING,  /* it runs, on its own tables */
    SLOT_UP,      /* it is as the first one is */
    SLOT_REFUSED, /* it is not, and has halted */
    SLOT_LOST,    /* it did not come in time: if it does, it halts */
};

/* boot/trampoline.asm has this layout. */
struct smp_slot {
    _Alignas(64) uint64_t root;
    uint64_t stack;
    uint32_t apic_id;
    uint32_t state; /* enum slot_state */
    bool mended;    /* its MTRRs were not those of the first one */
    bool stopped;
    void (*what)(void *context); /* what it is to do; NULL: nothing, or that is done */
    void *context;
};
static_assert(sizeof(struct smp_slot) == 64 && offsetof(struct smp_slot, apic_id) == 16 &&
                  offsetof(struct smp_slot, state) == 20 && SLOT_CALLED == 1 && SLOT_COMING == 2,
              "boot/trampoline.asm");

struct smp_slot smp_slots[MAX_CPUS];
uint32_t smp_slot_count;
void smp_enter(struct smp_slot *slot);

/* Microseconds: the manual's, then what is far more than any CPU needs. */
enum { AFTER_INIT = 10000, AFTER_STARTUP = 200 };
enum { TO_COME = 1000000, TO_COME_EACH = 100000, TO_ANSWER = 5000000, TO_STOP = 100000 };

enum { VECTOR_KICK = APIC_HOST_VECTORS };

static bool move(struct smp_slot *slot, uint32_t from, uint32_t to)
{
    return __atomic_compare_exchange_n(&slot->state, &from, to, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

static bool is_in(const struct smp_slot *slot, uint32_t state)
{
    return __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) == state;
}

struct cpu_set smp_cpus(void)
{
    struct cpu_set up = {0};
    for (uint32_t i = 0; i < smp_slot_count; i++)
        up.bits |= is_in(&smp_slots[i], SLOT_UP) ? 1ull << i : 0;
    return up;
}

/* --- on the CPU that is started --------------------------------------------------------------- */

static noreturn void halt(void)
{
    for (;;)
        __asm__ volatile("cli; hlt");
}

/*
 * Between the looks and HLT no kick is lost: interrupts stay off until HLT has begun. The monitor's
 * commands wait for a VM that is between two runs.
 */
void smp_wait(bool (*is_over)(void))
{
    for (;;) {
        request_serve(this_cpu()->index);
        if (this_cpu()->vcpu == NULL)
            monitor_poll(NULL);
        if (is_over())
            return;
        if (!request_is_posted(this_cpu()->index))
            __asm__ volatile("sti; hlt; cli" : : : "memory");
    }
}

static bool has_work(void)
{
    return __atomic_load_n(&smp_slots[this_cpu()->index].what, __ATOMIC_ACQUIRE) != NULL;
}

static noreturn void park(struct smp_slot *slot)
{
    for (;;) {
        smp_wait(has_work);
        slot->what(slot->context);
        __atomic_store_n(&slot->what, NULL, __ATOMIC_RELEASE);
    }
}

/* From boot/trampoline.asm, on its own stack. */
noreturn void smp_enter(struct smp_slot *slot)
{
    uint32_t me = (uint32_t)(slot - smp_slots);
    cpu_load_tables(cpu_at(me));
    cpu_set_modes();
    enum likeness likeness = alike_check();
    slot->mended = likeness == ALIKE_MENDED;
    if (likeness != UNLIKE)
        apic_join();
    if (!move(slot, SLOT_COMING, likeness == UNLIKE ? SLOT_REFUSED : SLOT_UP) || likeness == UNLIKE)
        halt();
    park(slot);
}

/* --- on the first CPU ------------------------------------------------------------------------- */

/* What the code below 1 MiB has to know; its first three addresses are offsets at first. */
struct __attribute__((packed)) trampoline_patch {
    uint16_t gdt_limit;
    uint32_t gdt;
    uint32_t to_32;
    uint16_t to_32_selector;
    uint32_t to_64;
    uint16_t to_64_selector;
    uint32_t boot_root;
};

extern const char trampoline_start[], trampoline_patch[], trampoline_end[];
extern const char early_pml4[]; /* boot/entry.asm */

/* The first 64 KiB are left alone: some firmware writes there when it should not. */
static int place_trampoline(struct host *host, uint64_t *page)
{
    char code[512];
    struct trampoline_patch patch;
    size_t size = (size_t)(trampoline_end - trampoline_start);
    size_t at = (size_t)(trampoline_patch - trampoline_start);
    if (memmap_find(&host->map, PAGE_SIZE, PAGE_SIZE, 64 * KIB, 640 * KIB, page) != 0) {
        log_line("cpus: no free page below 640 KiB to start them: going on with one");
        return -ENOMEM;
    }
    assert(size <= sizeof(code));
    memcpy(code, trampoline_start, size);
    memcpy(&patch, code + at, sizeof(patch));
    patch.gdt += (uint32_t)*page;
    patch.to_32 += (uint32_t)*page;
    patch.to_64 += (uint32_t)*page;
    patch.boot_root = (uint32_t)host_address(host, early_pml4).v;
    memcpy(code + at, &patch, sizeof(patch));
    host_write(this_cpu(), hpa(*page), code, size);
    return memmap_set(&host->map, *page, *page + PAGE_SIZE, MEM_HYPERVISOR);
}

static void list_cpus(const struct firmware_cpus *found, uint32_t limit)
{
    uint32_t own = apic_id(), left = found->beyond;
    smp_slots[0].apic_id = own;
    for (unsigned i = 0; i < found->count; i++) {
        uint32_t id = found->apic_id[i];
        if (id == own)
            continue;
        if (smp_slot_count == limit || id > apic_last_id())
            left++;
        else
            smp_slots[smp_slot_count++] = (struct smp_slot){.apic_id = id};
    }
    if (left != 0)
        log_line("cpus: %u are not started", left);
}

/* One after the other in memory, so that the log can tell them all in one line. */
static int make_areas(struct host *host)
{
    uint64_t at, count = smp_slot_count - 1;
    if (host_find(host, count * AREA_SIZE, PAGE_SIZE, &at) != 0 ||
        memmap_set(&host->map, at, at + count * AREA_SIZE, MEM_HYPERVISOR) != 0) {
        log_line("cpus: no free %lu KiB below 4 GiB for them: going on with one; give the machine "
                 "more RAM",
                 count * AREA_SIZE / KIB);
        return -ENOMEM;
    }
    for (uint32_t i = 1; i < smp_slot_count; i++) {
        hpa_t root;
        int error = host_make_area(host, hpa(at + (i - 1) * AREA_SIZE), i, &root);
        if (error != 0)
            return error;
        smp_slots[i].root = root.v;
        smp_slots[i].stack = cpu_main_stack(i);
    }
    log_line("cpus: %s, areas of %lu KiB from 0x%lx on, host CR3 of CPU 1 0x%lx",
             apic_last_id() > UINT8_MAX ? "x2APIC" : "xAPIC", AREA_SIZE / KIB, at,
             smp_slots[1].root);
    return 0;
}

/* True where none is on its way. */
static bool all_have_come(void)
{
    for (uint32_t i = 1; i < smp_slot_count; i++)
        if (is_in(&smp_slots[i], SLOT_CALLED) || is_in(&smp_slots[i], SLOT_COMING))
            return false;
    return true;
}

static void wait_for_them(uint64_t us)
{
    uint64_t ticks = clock_ticks(us), start = rdtsc();
    while (!all_have_come() && rdtsc() - start < ticks)
        cpu_relax();
}

/* To all that have been called and have not begun to run. */
static void send_to_called(uint32_t command)
{
    for (uint32_t i = 1; i < smp_slot_count; i++)
        if (is_in(&smp_slots[i], SLOT_CALLED) && !apic_send(smp_slots[i].apic_id, command))
            log_line("cpu %u: an IPI to APIC ID %u is stuck", i, smp_slots[i].apic_id);
}

static void call(uint64_t page)
{
    for (uint32_t i = 1; i < smp_slot_count; i++)
        (void)move(&smp_slots[i], SLOT_NONE, SLOT_CALLED);
    send_to_called(APIC_INIT);
    wait_for_them(AFTER_INIT);
    for (unsigned i = 0; i < 2; i++) {
        send_to_called(APIC_STARTUP | (uint32_t)(page / PAGE_SIZE));
        wait_for_them(AFTER_STARTUP);
    }
    wait_for_them(TO_COME + smp_slot_count * TO_COME_EACH);
}

/* What it was for is looked at where it was waited for. */
static void kicked(uint8_t vector)
{
    (void)vector;
}

/* Names those that have not come. Returns whether the page below 1 MiB may still be needed. */
static bool leave_out_late(void)
{
    bool any = false;
    for (uint32_t i = 1; i < smp_slot_count; i++) {
        struct smp_slot *slot = &smp_slots[i];
        if (!move(slot, SLOT_CALLED, SLOT_LOST) && !move(slot, SLOT_COMING, SLOT_LOST))
            continue;
        any = true;
        log_line("cpu %u: APIC ID %u does not start: left out", i, slot->apic_id);
    }
    return any;
}

/* "1-3,5", as much of it as fits. */
static void format_set(struct cpu_set set, char *text, size_t size)
{
    size_t used = 0;
    for (unsigned i = 0; i < MAX_CPUS; i++) {
        unsigned first = i;
        if ((set.bits >> i & 1) == 0)
            continue;
        while (i + 1 < MAX_CPUS && (set.bits >> (i + 1) & 1) != 0)
            i++;
        used += format(text + used, size - used, first == i ? "%s%u" : "%s%u-%u",
                       used == 0 ? "" : ",", first, i);
    }
}

static void log_set(struct cpu_set set, const char *what)
{
    char text[200];
    format_set(set, text, sizeof(text));
    if (set.bits != 0)
        log_line("cpu %s: %s", text, what);
}

static struct cpu_set mended_of(struct cpu_set up)
{
    struct cpu_set mended = {0};
    for (uint32_t i = 0; i < smp_slot_count; i++)
        if ((up.bits >> i & 1) != 0 && smp_slots[i].mended)
            mended.bits |= 1ull << i;
    return mended;
}

static void start_all(struct host *host)
{
    uint64_t page;
    if (make_areas(host) != 0 || place_trampoline(host, &page) != 0)
        return;
    alike_take_first(host);
    traps_on_interrupt(VECTOR_KICK, kicked);
    call(page);
    if (!leave_out_late())
        (void)memmap_set(&host->map, page, page + PAGE_SIZE, MEM_RAM);
    struct cpu_set others = {smp_cpus().bits & ~1ull};
    log_set(mended_of(others), "MTRRs were not those of CPU 0, and have been made so");
    tsc_compare(others);
    log_set(others, "parked");
}

void smp_start(struct host *host, const struct firmware_cpus *found, uint32_t limit)
{
    smp_slots[0].state = SLOT_UP;
    smp_slot_count = 1;
    if (apic_is_on())
        list_cpus(found, limit == 0 ? MAX_CPUS : limit);
    else
        log_line("cpus: the local APIC is off: going on with one");
    if (smp_slot_count > 1)
        start_all(host);
}

/* --- work ------------------------------------------------------------------------------------- */

void smp_begin(uint32_t cpu, void (*what)(void *context), void *context)
{
    struct smp_slot *slot = &smp_slots[cpu];
    assert(cpu != this_cpu()->index && is_in(slot, SLOT_UP) && slot->what == NULL);
    slot->context = context;
    __atomic_store_n(&slot->what, what, __ATOMIC_RELEASE);
    request_kick(cpu);
}

void smp_call(uint32_t cpu, void (*what)(void *context), void *context)
{
    if (cpu == this_cpu()->index) {
        what(context);
        return;
    }
    smp_begin(cpu, what, context);
    while (__atomic_load_n(&smp_slots[cpu].what, __ATOMIC_ACQUIRE) != NULL) {
        request_serve(this_cpu()->index);
        cpu_relax();
    }
}

/* --- requests --------------------------------------------------------------------------------- */

void request_kick(uint32_t cpu)
{
    if (!apic_send(smp_slots[cpu].apic_id, APIC_FIXED | VECTOR_KICK))
        panic("a kick of CPU %u, APIC ID %u, is stuck", cpu, smp_slots[cpu].apic_id);
}

void request_do(uint32_t flags)
{
    if ((flags & REQUEST_TSC) != 0)
        tsc_answer();
    if ((flags & REQUEST_LOOK) != 0)
        watchdog_look();
    if ((flags & REQUEST_LET_GO) != 0)
        views_let_go();
    if ((flags & REQUEST_WRITE_BACK) != 0)
        wbinvd();
}

void request_waiting(uint32_t cpu, uint64_t *since)
{
    uint64_t now = rdtsc();
    if (*since == 0)
        *since = now;
    if (now - *since > clock_ticks(TO_ANSWER))
        panic("CPU %u, APIC ID %u, does not answer", cpu, smp_slots[cpu].apic_id);
    watchdog_look();
    cpu_relax();
}

/* --- the end ---------------------------------------------------------------------------------- */

static bool all_have_stopped(uint32_t me)
{
    for (uint32_t i = 0; i < smp_slot_count; i++)
        if (i != me && is_in(&smp_slots[i], SLOT_UP) &&
            !__atomic_load_n(&smp_slots[i].stopped, __ATOMIC_ACQUIRE))
            return false;
    return true;
}

void smp_send_nmi(uint32_t cpu)
{
    (void)apic_send(smp_slots[cpu].apic_id, APIC_NMI);
}

void smp_stop_others(void)
{
    uint32_t me = this_cpu()->index;
    uint64_t start = rdtsc(), ticks = clock_ticks(TO_STOP);
    for (uint32_t i = 0; i < smp_slot_count; i++)
        if (i != me && is_in(&smp_slots[i], SLOT_UP))
            smp_send_nmi(i);
    while (!all_have_stopped(me) && rdtsc() - start < ticks)
        cpu_relax();
}

void smp_stopped(void)
{
    __atomic_store_n(&smp_slots[this_cpu()->index].stopped, true, __ATOMIC_RELEASE);
}

uint32_t smp_apic_id(uint32_t cpu)
{
    assert(cpu < smp_slot_count);
    return smp_slots[cpu].apic_id;
}
