/* Starts the machine's other CPUs and hands them work. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/smp.h"

#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/machine.h"
#include "lib/string.h"

enum { STACK = 4096, TSS_AVAILABLE = 0x89, CRASH_VALUE = 2 };
enum { SEL_FIRST_TSS = 0x50, TSS_SIZE = 16, COPIED = SEL_FIRST_TSS / 8 };
enum { COME_MS = 3000, DONE_MS = 20000 };

#define EDX_HTT     (1u << 28)
#define INIT_TICKS  10000
#define BASE_ENABLE (1ull << 11)
#define BASE_EXTD   (1ull << 10)

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct cpu {
    void (*work)(unsigned cpu); /* NULL: it has none, or has done it */
    bool come;
    struct tss64 tss;
    uint8_t exception_stack[STACK] __attribute__((aligned(16)));
    uint8_t nmi_stack[STACK] __attribute__((aligned(16)));
};

extern uint64_t gdt[];
extern const uint8_t smp_trampoline[], smp_trampoline_end[];
extern const uint64_t smp_nmi_entries[2];
noreturn void smp_enter(unsigned index);

static struct cpu cpus[SMP_MAX];
void (*smp_first)(unsigned cpu);
/* The first CPU's own GDT, and behind it a TSS for each of the others. */
static uint64_t smp_gdt[COPIED + 2 * SMP_MAX];
static struct table_pointer idtr;
static unsigned waiting, turn; /* of the barrier */

static unsigned count_by_cpuid(void)
{
    if (cpuid(0, 0).eax >= 0xb && cpuid(0xb, 1).ebx != 0)
        return cpuid(0xb, 1).ebx & 0xffff;
    struct cpuid_regs one = cpuid(1, 0);
    return (one.edx & EDX_HTT) != 0 ? one.ebx >> 16 & 0xff : 1;
}

unsigned smp_count(void)
{
    static unsigned count;
    if (count == 0)
        count = count_by_cpuid();
    return count;
}

/* Each has a TSS at a selector of its own, the first one the runtime's. */
unsigned smp_index(void)
{
    uint32_t selector;
    __asm__ volatile("str %0" : "=r"(selector));
    return selector < SEL_FIRST_TSS ? 0 : (selector - SEL_FIRST_TSS) / TSS_SIZE;
}

static void load_tables(unsigned index)
{
    struct cpu *cpu = &cpus[index];
    unsigned selector = SEL_FIRST_TSS + index * TSS_SIZE;
    uint64_t base = (uint64_t)&cpu->tss;
    fault_set_stacks(&cpu->tss, cpu->exception_stack + STACK, cpu->nmi_stack + STACK);
    smp_gdt[selector / 8] = (sizeof(cpu->tss) - 1) | (base & 0xffffff) << 16 |
                            (uint64_t)TSS_AVAILABLE << 40 | (base >> 24 & 0xff) << 56;
    smp_gdt[selector / 8 + 1] = base >> 32;
    struct table_pointer gdtr = {sizeof(smp_gdt) - 1, (uint64_t)smp_gdt};
    __asm__ volatile("lgdt %0; ltr %w1; lidt %2" : : "m"(gdtr), "r"(selector), "m"(idtr));
}

/* The running CPU's APIC goes to the mode that apic_x2 says. */
static void set_apic_mode(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE), mode = BASE_ENABLE | (apic_x2 ? BASE_EXTD : 0);
    if ((base & (BASE_ENABLE | BASE_EXTD)) == mode)
        return;
    base &= ~(BASE_ENABLE | BASE_EXTD);
    if (!apic_x2)
        wrmsr(MSR_APIC_BASE, base); /* SDM, "x2APIC State Transitions": no other way back */
    wrmsr(MSR_APIC_BASE, base | mode);
}

noreturn void smp_enter(unsigned index)
{
    struct cpu *cpu = &cpus[index];
    load_tables(index);
    if (smp_first != NULL)
        smp_first(index);
    set_apic_mode();
    apic_enable();
    __atomic_store_n(&cpu->come, true, __ATOMIC_RELEASE);
    for (;;) {
        void (*work)(unsigned) = __atomic_load_n(&cpu->work, __ATOMIC_ACQUIRE);
        if (work == NULL) {
            smp_relax();
            continue;
        }
        work(index);
        __atomic_store_n(&cpu->work, NULL, __ATOMIC_RELEASE);
    }
}

static bool wait_until_come(const struct cpu *cpu, uint64_t ticks)
{
    for (uint64_t start = rdtsc(); !__atomic_load_n(&cpu->come, __ATOMIC_ACQUIRE);) {
        if (rdtsc() - start >= ticks)
            return false;
        smp_relax();
    }
    return true;
}

void smp_forget(unsigned index)
{
    __atomic_store_n(&cpus[index].come, false, __ATOMIC_RELEASE);
    __atomic_store_n(&cpus[index].work, NULL, __ATOMIC_RELEASE);
}

void smp_init(unsigned index)
{
    smp_forget(index);
    apic_send(index, INIT | ASSERT);
    wait_until_come(&cpus[index], INIT_TICKS);
}

bool smp_has_come(unsigned index)
{
    return wait_until_come(&cpus[index], machine_ticks(COME_MS));
}

bool smp_restart(unsigned index)
{
    const struct cpu *cpu = &cpus[index];
    smp_init(index);
    for (unsigned i = 0; i < 2; i++) {
        apic_send(index, STARTUP | SMP_PAGE / 4096);
        if (wait_until_come(cpu, machine_ticks(COME_MS) / 2))
            return true;
    }
    return false;
}

void smp_put_start(uintptr_t address)
{
    memcpy((void *)address, smp_trampoline, (size_t)(smp_trampoline_end - smp_trampoline));
}

/* IDTR as an INIT leaves it: vectors of real mode, gates of 8 bytes, gates of 16; all are #2's. */
void smp_bear_nmis(uintptr_t address)
{
    enum { GATE = 0x8e00 };
    uintptr_t page = 0;
    uint64_t legacy = smp_nmi_entries[0], wide = smp_nmi_entries[1];
    __asm__("" : "+r"(page)); /* an object there is unknown to the compiler */
    ((volatile uint32_t *)page)[VECTOR_NMI] = (uint32_t)(address >> 4) << 16;
    ((volatile uint64_t *)page)[VECTOR_NMI] =
        (legacy & 0xffff) | SEL_CODE32 << 16 | (uint64_t)GATE << 32 | (legacy >> 16) << 48;
    ((volatile uint64_t *)page)[2 * VECTOR_NMI] =
        (wide & 0xffff) | SEL_CODE64 << 16 | (uint64_t)GATE << 32 | (wide >> 16) << 48;
    ((volatile uint64_t *)page)[2 * VECTOR_NMI + 1] = 0;
}

void smp_start(void)
{
    unsigned count = smp_count();
    assert(count <= SMP_MAX && cpuid(1, 0).ebx >> 24 == 0);
    smp_put_start(SMP_PAGE);
    memcpy(smp_gdt, gdt, COPIED * sizeof(smp_gdt[0]));
    __asm__ volatile("sidt %0" : "=m"(idtr));
    apic_enable();
    for (unsigned i = 1; i < count; i++)
        if (!smp_restart(i)) {
            print("# CPU %u has not come\n", i);
            guest_exit(CRASH_VALUE);
        }
}

void smp_begin(unsigned index, void (*work)(unsigned cpu))
{
    __atomic_store_n(&cpus[index].work, work, __ATOMIC_RELEASE);
}

bool smp_is_done(unsigned index)
{
    return __atomic_load_n(&cpus[index].work, __ATOMIC_ACQUIRE) == NULL;
}

void smp_wait(unsigned index)
{
    for (uint64_t start = rdtsc(); !smp_is_done(index);) {
        if (rdtsc() - start >= machine_ticks(DONE_MS)) {
            print("# CPU %u does not come to an end\n", index);
            guest_exit(CRASH_VALUE);
        }
        smp_relax();
    }
}

void smp_run(void (*work)(unsigned cpu))
{
    unsigned count = smp_count();
    for (unsigned i = 1; i < count; i++)
        smp_begin(i, work);
    work(0);
    for (unsigned i = 1; i < count; i++)
        smp_wait(i);
}

void smp_barrier(void)
{
    unsigned now = __atomic_load_n(&turn, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&waiting, 1, __ATOMIC_ACQ_REL) == smp_count()) {
        __atomic_store_n(&waiting, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&turn, now + 1, __ATOMIC_RELEASE);
        return;
    }
    while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) == now)
        smp_relax();
}

static bool next_apic_x2;

/* No handler runs anywhere while its CPU's mode is not the one that APIC_X2 says. */
static void follow_apic_mode(unsigned cpu)
{
    uint64_t flags;
    __asm__ volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
    smp_barrier();
    if (cpu == 0)
        apic_x2 = next_apic_x2;
    smp_barrier();
    set_apic_mode();
    apic_enable();
    if ((flags & RFLAGS_IF) != 0)
        __asm__ volatile("sti" : : : "memory");
}

void smp_set_x2apic(bool x2)
{
    next_apic_x2 = x2;
    smp_run(follow_apic_mode);
}
