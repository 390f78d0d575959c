/*
 * Interrupts and NMIs from another CPU while a CPU executes what exits, again and again, kind by
 * kind: none is lost, none comes twice, and the instruction does what it must.
 *
 * row: exits.2 end=0 cpus=2 timeout=60 control-timeout=30
 * row: exits.4 end=0 cpus=4 timeout=90 control-timeout=60
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/taken.h"
#include "lib/string.h"
#include "vmm/abi.h"

enum { ROUNDS = 8, SLOW_ROUNDS = 4, WAKE = 0x20, WAKE_PAUSE = 5000 };
enum { UNUSED_PORT = 0x580, STRING = 16, RAX_OF_FRAME = 14 };

#define HOLE_PAGE 0xd0000000ull
#define NOT_THERE (4ull << 30) /* the window's first page, which nothing is mapped to */

static const uint8_t vectors[] = {0x21, 0x33, 0x34, 0x47, 0x58, 0x59, 0x60, 0x7f,
                                  0x80, 0x91, 0x92, 0x93, 0xb7, 0xc8, 0xed, 0xfe};

static uint64_t rounds[SMP_MAX];
static volatile uint64_t faults[SMP_MAX];
static bool (*count_nmi)(struct fault_frame *frame);
static bool stop;

/* --- kinds ----------------------------------------------------------------------------------- */

static void by_cpuid(unsigned cpu)
{
    expect(cpuid(1, 0).ebx >> 24 == cpu, "CPUID on CPU %u: EBX %x", cpu, cpuid(1, 0).ebx);
}

static void by_rdmsr(unsigned cpu)
{
    expect(rdmsr(MSR_MTRRCAP) != 0, "CPU %u: MTRRcap is 0", cpu);
}

static void by_wrmsr(unsigned cpu)
{
    (void)cpu;
    wrmsr(MSR_SYSENTER_EIP, rounds[cpu]);
    wrmsr(MSR_MTRR_FIX64K, rdmsr(MSR_MTRR_FIX64K));
    expect(rdmsr(MSR_SYSENTER_EIP) == rounds[cpu], "CPU %u: SYSENTER_EIP %lx", cpu,
           rdmsr(MSR_SYSENTER_EIP));
}

static void by_cr0(unsigned cpu)
{
    (void)cpu;
    write_cr0(read_cr0() ^ CR0_AM);
    __asm__ volatile("clts");
}

static void by_cr3(unsigned cpu)
{
    (void)cpu;
    write_cr3(read_cr3());
}

static void by_cr4(unsigned cpu)
{
    uint64_t wanted = read_cr4() ^ CR4_TSD;
    write_cr4(wanted);
    expect(read_cr4() == wanted, "CPU %u: CR4 %lx, not %lx", cpu, read_cr4(), wanted);
}

static void by_cr8(unsigned cpu)
{
    uint64_t found;
    __asm__ volatile("mov %1, %%cr8\n\tmov %%cr8, %0\n\tmov %2, %%cr8"
                     : "=r"(found)
                     : "r"(3ull), "r"(0ull)
                     : "memory");
    expect(found == 3, "CPU %u: CR8 %lx", cpu, found);
}

static void by_io(unsigned cpu)
{
    uint8_t found = 0;
    out8(UNUSED_PORT, 5);
    if (machine.nosnoop)
        found = (uint8_t)~in8(UNUSED_PORT);
    expect(found == 0, "CPU %u: port %x", cpu, found);
}

static void by_string_io(unsigned cpu)
{
    uint8_t bytes[STRING] = {0};
    void *at = bytes;
    uint64_t left = STRING;
    __asm__ volatile("rep outsb" : "+S"(at), "+c"(left) : "d"(UNUSED_PORT) : "memory");
    expect(left == 0 && at == bytes + STRING, "CPU %u: %lu are left", cpu, left);
}

static void by_hole(unsigned cpu)
{
    volatile uint32_t *place = (volatile uint32_t *)HOLE_PAGE;
    *place = cpu;
    uint32_t found = *place;
    if (machine.nosnoop)
        expect(found == 0xffffffff, "CPU %u: %x in the hole", cpu, found);
}

static void by_apic(unsigned cpu)
{
    uint32_t id = apic_get(ID);
    expect(id == (apic_x2 ? cpu : cpu << 24), "CPU %u: APIC ID %x", cpu, id);
    apic_set(TPR, 0x20);
    apic_set(TPR, 0);
}

static void by_self_ipi(unsigned cpu)
{
    enum { OWN = 0xa5 };
    uint32_t before = taken_of(cpu, OWN);
    apic_send(cpu, OWN);
    __asm__ volatile("nop\n\tnop");
    expect(taken_wait(cpu, OWN, before + 1), "CPU %u: its own IPI is lost", cpu);
    expect(taken_of(cpu, OWN) == before + 1, "CPU %u: its own IPI came twice", cpu);
}

static void by_hlt(unsigned cpu)
{
    (void)cpu;
    __asm__ volatile("sti\n\thlt" : : : "memory");
}

static void by_shadow(unsigned cpu)
{
    (void)cpu;
    __asm__ volatile("cli\n\txor %%eax, %%eax\n\tsti\n\tcpuid" : : : "rax", "rbx", "rcx", "rdx");
}

static void by_hypercall(unsigned cpu)
{
    int64_t number = HYPERCALL_VERSION;
    if (machine.intel)
        __asm__ volatile("vmcall" : "+a"(number) : : "memory");
    else
        __asm__ volatile("vmmcall" : "+a"(number) : : "memory");
    expect(number == HYPERCALL_ABI, "CPU %u: version %ld", cpu, number);
}

static void by_xsetbv(unsigned cpu)
{
    (void)cpu;
    write_cr4(read_cr4() | CR4_OSXSAVE);
    __asm__ volatile("xsetbv" : : "c"(0), "a"(XCR0_X87 | XCR0_SSE), "d"(0));
    expect(xgetbv() == (XCR0_X87 | XCR0_SSE), "CPU %u: XCR0 %lx", cpu, xgetbv());
}

static void by_debug_register(unsigned cpu)
{
    uint64_t found, wanted = rounds[cpu] << 12;
    __asm__ volatile("mov %1, %%dr1\n\tmov %%dr1, %0" : "=r"(found) : "r"(wanted));
    expect(found == wanted, "CPU %u: DR1 %lx, not %lx", cpu, found, wanted);
}

static void by_wbinvd(unsigned cpu)
{
    (void)cpu;
    wbinvd();
    for (unsigned pause = 0; pause < 100; pause++)
        cpu_relax(); /* emulators are slow after it */
}

static void by_tsc(unsigned cpu)
{
    uint64_t before = rdtsc();
    expect(rdtsc() >= before, "CPU %u: the TSC goes back", cpu);
}

/* The handler goes on behind the instruction, with ~0 for what was not read. */
static bool on_fault(struct fault_frame *frame)
{
    bool page = frame->vector == VECTOR_PF && frame->cr2 == NOT_THERE;
    if (!page && frame->vector != VECTOR_BP)
        return count_nmi(frame);
    faults[smp_index()]++;
    if (!page)
        return true;
    frame->registers[RAX_OF_FRAME] = ~0ull;
    frame->rip += 3;
    return true;
}

static void by_page_fault(unsigned cpu)
{
    uint64_t value = NOT_THERE, before = faults[cpu];
    __asm__ volatile("mov (%%rax), %%rax" : "+a"(value)); /* 48 8b 00 */
    expect(faults[cpu] == before + 1 && value == ~0ull, "CPU %u: %lu faults, value %lx", cpu,
           faults[cpu] - before, value);
}

static void by_breakpoint(unsigned cpu)
{
    uint64_t before = faults[cpu];
    __asm__ volatile("int3");
    expect(faults[cpu] == before + 1, "CPU %u: %lu faults", cpu, faults[cpu] - before);
}

/* --- and all at once ------------------------------------------------------------------------- */

static void (*kind)(unsigned cpu);

static void be_hit(unsigned cpu)
{
    sti();
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        kind(cpu);
        rounds[cpu]++;
    }
    cli();
}

/* One of each and an NMI to each CPU, after a pause that differs. */
static bool hit(uint32_t round)
{
    for (unsigned pause = round * 7 % 61; pause > 0; pause--)
        cpu_relax();
    for (unsigned v = 0; v < ARRAY_SIZE(vectors); v++)
        for (unsigned i = 1; i < smp_count(); i++)
            apic_send(i, vectors[v]);
    for (unsigned i = 1; i < smp_count(); i++)
        apic_send(i, NMI);
    bool come = true;
    for (unsigned i = 1; i < smp_count(); i++) {
        for (unsigned v = 0; v < ARRAY_SIZE(vectors); v++)
            come &= expect(taken_wait(i, vectors[v], round), "round %u: CPU %u has lost %x", round,
                           i, vectors[v]);
        come &=
            expect(taken_wait(i, VECTOR_NMI, round), "round %u: CPU %u has lost an NMI", round, i);
    }
    return come;
}

/* Each exit costs Bochs much. */
static uint32_t rounds_of_all(void)
{
    return machine_is_bochs() ? SLOW_ROUNDS : ROUNDS;
}

static void exact(void)
{
    for (unsigned i = 1; i < smp_count(); i++) {
        for (unsigned v = 0; v < ARRAY_SIZE(vectors); v++)
            expect(taken_of(i, vectors[v]) == rounds_of_all(), "CPU %u has taken %x %u times", i,
                   vectors[v], taken_of(i, vectors[v]));
        expect(taken_of(i, VECTOR_NMI) == rounds_of_all(), "CPU %u has taken %u NMIs", i,
               taken_of(i, VECTOR_NMI));
        expect(rounds[i] > 0, "CPU %u has done nothing", i);
    }
}

static void under_fire(void (*what)(unsigned cpu))
{
    taken_clear();
    memset(rounds, 0, sizeof(rounds));
    kind = what;
    stop = false;
    for (unsigned i = 1; i < smp_count(); i++)
        smp_begin(i, be_hit);
    bool come = true;
    for (uint32_t round = 1; come && round <= rounds_of_all(); round++)
        come = hit(round);
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    if (come)
        exact();
    for (unsigned i = 1; i < smp_count(); i++)
        while (!smp_is_done(i)) { /* it may halt */
            apic_send(i, WAKE);
            for (unsigned pause = 0; pause < WAKE_PAUSE; pause++)
                cpu_relax();
        }
}

static void during_cpuid(void)
{
    under_fire(by_cpuid);
}

static void during_rdmsr(void)
{
    under_fire(by_rdmsr);
}

static void during_wrmsr(void)
{
    under_fire(by_wrmsr);
}

static void during_cr0(void)
{
    under_fire(by_cr0);
}

static void during_cr3(void)
{
    under_fire(by_cr3);
}

static void during_cr4(void)
{
    under_fire(by_cr4);
}

static void during_cr8(void)
{
    under_fire(by_cr8);
}

static void during_io(void)
{
    under_fire(by_io);
}

static void during_string_io(void)
{
    under_fire(by_string_io);
}

static void during_hole(void)
{
    under_fire(by_hole);
}

static void during_apic(void)
{
    under_fire(by_apic);
}

static void during_self_ipi(void)
{
    under_fire(by_self_ipi);
}

static void during_hlt(void)
{
    under_fire(by_hlt);
}

static void during_shadow(void)
{
    under_fire(by_shadow);
}

static void during_hypercall(void)
{
    under_fire(by_hypercall);
}

static void during_xsetbv(void)
{
    under_fire(by_xsetbv);
}

static void during_debug_register(void)
{
    under_fire(by_debug_register);
}

static void during_wbinvd(void)
{
    under_fire(by_wbinvd);
}

static void during_tsc(void)
{
    under_fire(by_tsc);
}

static void during_page_fault(void)
{
    under_fire(by_page_fault);
}

static void during_breakpoint(void)
{
    under_fire(by_breakpoint);
}

static void during_x2apic(void)
{
    smp_set_x2apic(true);
    under_fire(by_apic);
    under_fire(by_self_ipi);
    under_fire(by_hlt);
}

static const char *needs_xsave(void)
{
    return (cpuid(1, 0).ecx >> 26 & 1) != 0 ? NULL : "the CPU has no XSAVE";
}

static const struct test_case cases[] = {
    {"CPUID", NULL, during_cpuid},
    {"RDMSR", NULL, during_rdmsr},
    {"WRMSR", NULL, during_wrmsr},
    {"CR0", NULL, during_cr0},
    {"CR3", NULL, during_cr3},
    {"CR4", NULL, during_cr4},
    {"CR8", NULL, during_cr8},
    {"IN and OUT", NULL, during_io},
    {"REP OUTS", NULL, during_string_io},
    {"the hole", NULL, during_hole},
    {"the APIC", NULL, during_apic},
    {"IPIs to itself", NULL, during_self_ipi},
    {"HLT", NULL, during_hlt},
    {"the shadow of STI", NULL, during_shadow},
    {"hypercalls", needs_nosnoop, during_hypercall},
    {"XSETBV", needs_xsave, during_xsetbv},
    {"debug registers", NULL, during_debug_register},
    {"WBINVD", NULL, during_wbinvd},
    {"RDTSC", NULL, during_tsc},
    {"page faults", NULL, during_page_fault},
    {"INT3", NULL, during_breakpoint},
    {"the APIC, IPIs to itself, and HLT, by x2APIC", needs_x2apic, during_x2apic},
};

void test_main(void)
{
    taken_init();
    count_nmi = fault_hook;
    fault_hook = on_fault;
    smp_start();
    ktap_all(cases, ARRAY_SIZE(cases));
}
