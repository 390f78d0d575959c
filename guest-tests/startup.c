/*
 * INIT and STARTUP IPIs: CPUs are started again and again wherever they are, begin in the state and
 * at the place that the manuals say, and keep what INIT leaves alone.
 *
 * row: startup.2 end=0 cpus=2 timeout=60 control-timeout=30
 * row: startup.4 end=0 cpus=4 timeout=90 control-timeout=60
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/taken.h"
#include "lib/string.h"

enum { FIRST_PAGE = 0x51, LAST_PAGE = 0x7f, RECORD = 0x800 };
enum { EACH = 8, VECTOR = 0x61, UNUSED_PORT = 0x580, SHORT_MS = 2, INIT_MS = 30 };

#define HOLE_PAGE 0xd0000000ull

/* As in startup.asm. */
struct record {
    uint32_t gpr[8]; /* in the order of enum gpr */
    uint32_t cr0, cr2, cr3, cr4, dr0, dr6, dr7, eflags;
    uint16_t cs, ds, es, ss, fs, gs;
    uint16_t gdt_limit;
    uint8_t gdt_base[4];
    uint16_t idt_limit;
    uint8_t idt_base[4];
    uint32_t efer, count;
};
static_assert(offsetof(struct record, gdt_limit) == 76, "SGDT");
static_assert(offsetof(struct record, idt_limit) == 82, "SIDT");
static_assert(offsetof(struct record, count) == 92, "count");

extern const uint8_t startup_probe[], startup_probe_end[], startup_spin[], startup_spin_end[];
extern const uint8_t startup_halt[], startup_halt_end[];

static unsigned count; /* of CPUs */
static volatile uint32_t steps[SMP_MAX];

static volatile struct record *record_of(unsigned page)
{
    uintptr_t address = page * 4096 + RECORD;
    __asm__("" : "+r"(address)); /* an object there is unknown to the compiler */
    return (volatile struct record *)address;
}

static void put_code(unsigned page, const uint8_t *code, const uint8_t *end)
{
    uintptr_t address = page * 4096;
    __asm__("" : "+r"(address));
    memset((void *)address, 0, 4096);
    memcpy((void *)address, code, (size_t)(end - code));
}

static void wait_ms(unsigned ms)
{
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(ms);)
        smp_relax();
}

static void wait_short(void)
{
    wait_ms(SHORT_MS);
}

static bool is_qemu(void)
{
    return !machine.nosnoop && cpuid(1, 0).ecx >> 31 != 0;
}

/* --- again and again ------------------------------------------------------------------------- */

static void run_on(unsigned cpu)
{
    sti();
    for (;;)
        steps[cpu]++;
}

static void spin_deaf(unsigned cpu)
{
    for (;;) {
        steps[cpu]++;
        smp_relax();
    }
}

static void halt_listening(unsigned cpu)
{
    for (;;) {
        steps[cpu]++;
        __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
    }
}

static void halt_deaf(unsigned cpu)
{
    for (;;) {
        steps[cpu]++;
        __asm__ volatile("cli\n\thlt" : : : "memory");
    }
}

static void exit_on(unsigned cpu)
{
    for (;;) {
        steps[cpu]++;
        (void)cpuid(0, 0);
        out8(UNUSED_PORT, 0);
        (void)*(volatile uint32_t *)HOLE_PAGE;
        (void)rdmsr(MSR_PAT);
        smp_relax();
    }
}

static void spin_in_handler(unsigned cpu, unsigned vector)
{
    (void)vector;
    spin_deaf(cpu);
}

static void stay_in_nmi(unsigned cpu)
{
    apic_send(cpu, NMI);
    wait_short();
}

static void stay_in_interrupt(unsigned cpu)
{
    apic_send(cpu, VECTOR);
    sti();
    wait_short();
}

/* Starts CPU, gives it WORK, and waits until that has begun. */
static bool begin(unsigned cpu, void (*work)(unsigned cpu))
{
    if (!expect(smp_restart(cpu), "CPU %u has not come", cpu))
        return false;
    steps[cpu] = 0;
    smp_begin(cpu, work);
    for (uint64_t start = rdtsc(); steps[cpu] == 0; smp_relax())
        if (rdtsc() - start > machine_ticks(2000))
            return expect(false, "CPU %u has not begun", cpu);
    return true;
}

/* All are idle again, with nothing left over from what they were in the middle of. */
static void end_all(void)
{
    taken_hook = NULL;
    for (unsigned i = 1; i < count; i++)
        expect(smp_restart(i), "CPU %u has not come back", i);
}

static void take_one(unsigned cpu)
{
    sti();
    expect(taken_wait(cpu, VECTOR, 1), "CPU %u takes no interrupt", cpu);
    expect(taken_wait(cpu, VECTOR_NMI, 1), "CPU %u takes no NMI", cpu);
    cli();
}

/* Interrupts and NMIs come, once each. */
static void all_hear(void)
{
    taken_clear();
    for (unsigned i = 1; i < count; i++) {
        smp_begin(i, take_one);
        apic_send(i, VECTOR);
        apic_send(i, NMI);
    }
    for (unsigned i = 1; i < count; i++) {
        smp_wait(i);
        expect(taken_of(i, VECTOR) == 1 && taken_of(i, VECTOR_NMI) == 1,
               "CPU %u has taken %u interrupts and %u NMIs", i, taken_of(i, VECTOR),
               taken_of(i, VECTOR_NMI));
    }
}

static void again_while(void (*work)(unsigned cpu))
{
    for (unsigned round = 0; round < EACH; round++)
        for (unsigned i = 1; i < count; i++) {
            if (!begin(i, work))
                return;
            if (round % 4 == 1 && i == 1)
                wait_short();
        }
    end_all();
    all_hear();
}

static void while_running(void)
{
    again_while(run_on);
}

static void while_spinning(void)
{
    again_while(spin_deaf);
}

static void while_halted(void)
{
    again_while(halt_listening);
}

static void while_halted_deaf(void)
{
    again_while(halt_deaf);
}

static void while_exiting(void)
{
    again_while(exit_on);
}

static const char *needs_nmis_unblocked(void)
{
    return machine.nosnoop && machine.intel && machine_is_bochs()
               ? "emulator: a VM entry does not end the blocking of NMIs"
               : NULL;
}

static void while_in_nmi(void)
{
    taken_hook = spin_in_handler;
    again_while(stay_in_nmi);
}

static void while_in_interrupt(void)
{
    taken_hook = spin_in_handler;
    again_while(stay_in_interrupt);
}

static bool wait_for_count(unsigned page, uint32_t wanted)
{
    for (uint64_t start = rdtsc(); record_of(page)->count < wanted; smp_relax())
        if (rdtsc() - start > machine_ticks(2000))
            return false;
    return true;
}

static void while_in_real_mode(void)
{
    put_code(FIRST_PAGE, startup_spin, startup_spin_end);
    put_code(LAST_PAGE, startup_halt, startup_halt_end);
    for (unsigned round = 0; round < EACH; round++)
        for (unsigned i = 1; i < count; i++) {
            unsigned page = round % 2 != 0 ? FIRST_PAGE : LAST_PAGE;
            record_of(page)->count = 0;
            smp_init(i);
            apic_send(i, STARTUP | page);
            expect(wait_for_count(page, 1), "CPU %u is not at page %x", i, page);
            expect(smp_restart(i), "CPU %u does not come from page %x", i, page);
        }
    all_hear();
}

/* Two INITs, and one while it waits for the STARTUP IPI. */
static void while_waiting(void)
{
    for (unsigned round = 0; round < EACH; round++)
        for (unsigned i = 1; i < count; i++) {
            smp_init(i);
            smp_init(i);
            expect(smp_restart(i), "CPU %u has not come", i);
        }
    all_hear();
}

/* --- where and how --------------------------------------------------------------------------- */

static void expect_record(unsigned page, const struct record *r)
{
    static const uint32_t zero[3];
    expect(r->cs == page << 8, "page %x: CS %x", page, r->cs);
    expect((r->ds | r->es | r->ss | r->fs | r->gs) == 0, "a segment is not 0");
    expect(r->eflags == 2, "EFLAGS %x", r->eflags);
    expect(r->gpr[RAX] == 0 && r->gpr[RCX] == 0 && r->gpr[RBX] == 0 && r->gpr[RSP] == 0 &&
               r->gpr[RBP] == 0 && r->gpr[RSI] == 0 && r->gpr[RDI] == 0,
           "a general register is not 0");
    expect((r->cr0 & ~(uint32_t)(CR0_CD | CR0_NW)) == CR0_ET, "CR0 %x", r->cr0);
    expect(r->cr2 == 0 && r->cr3 == 0 && r->cr4 == 0, "CR2 %x, CR3 %x, CR4 %x", r->cr2, r->cr3,
           r->cr4);
    expect(r->efer == 0, "EFER %x", r->efer);
    expect(r->gdt_limit == 0xffff && r->idt_limit == 0xffff, "limits %x, %x", r->gdt_limit,
           r->idt_limit);
    expect(memcmp(r->gdt_base, zero, 4) == 0 && memcmp(r->idt_base, zero, 4) == 0,
           "the GDT or the IDT is not at 0");
}

/* Starts CPU at PAGE, where the probe lies, and returns what it has found. */
static struct record probe(unsigned cpu, unsigned page)
{
    put_code(page, startup_probe, startup_probe_end);
    smp_init(cpu);
    apic_send(cpu, STARTUP | page);
    expect(smp_has_come(cpu), "CPU %u has not come by page %x", cpu, page);
    struct record found = *record_of(page);
    expect(found.count == 1, "page %x was run %u times", page, found.count);
    return found;
}

static void vectors(void)
{
    for (unsigned page = FIRST_PAGE; page <= LAST_PAGE; page += 4) {
        struct record found = probe(1 + page % (count - 1), page);
        expect_record(page, &found);
    }
}

static void make_dirty(unsigned cpu)
{
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_PGE);
    write_cr2(0x123456789);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE | EFER_NXE);
    wrmsr(MSR_FS_BASE, 0x1111);
    wrmsr(MSR_GS_BASE, 0x2222);
    __asm__ volatile("mov %0, %%dr0" : : "r"(0x3333ull));
    __asm__ volatile("mov %0, %%dr7" : : "r"(DR7_RESET | 1));
    __asm__ volatile("std");
    steps[cpu]++;
    for (;;)
        smp_relax();
}

/* SDM, "Processor State After Reset"; APM, "Processor Initialization State". */
static void reset_by_init(void)
{
    for (unsigned i = 1; i < count; i++) {
        begin(i, make_dirty);
        struct record found = probe(i, FIRST_PAGE);
        expect_record(FIRST_PAGE, &found);
    }
}

static const char *needs_signature(void)
{
    return !machine.nosnoop && machine_is_bochs() ? "emulator: INIT clears EDX" : NULL;
}

static void signature(void)
{
    for (unsigned i = 1; i < count; i++) {
        struct record found = probe(i, FIRST_PAGE);
        expect(found.gpr[RDX] == cpuid(1, 0).eax, "EDX %x, not %x", found.gpr[RDX],
               cpuid(1, 0).eax);
    }
}

static const char *needs_debug_reset(void)
{
    return is_qemu() ? "emulator: INIT leaves DR0 alone" : NULL;
}

static void debug_registers(void)
{
    for (unsigned i = 1; i < count; i++) {
        begin(i, make_dirty);
        struct record found = probe(i, FIRST_PAGE);
        expect(found.dr0 == 0 && found.dr6 == DR6_RESET && found.dr7 == DR7_RESET,
               "DR0 %x, DR6 %x, DR7 %x", found.dr0, found.dr6, found.dr7);
    }
}

/* --- what is kept ---------------------------------------------------------------------------- */

static const char *needs_cd_kept(void)
{
    return machine.nosnoop ? NULL : "emulator: INIT sets CD and NW";
}

static void stop_caching(unsigned cpu)
{
    write_cr0(read_cr0() | CR0_CD);
    steps[cpu]++;
    for (;;)
        smp_relax();
}

static void cd_is_kept(void)
{
    for (unsigned i = 1; i < count; i++) {
        begin(i, spin_deaf);
        struct record found = probe(i, FIRST_PAGE);
        expect(found.cr0 == CR0_ET, "CR0 %x after caching", found.cr0);
        begin(i, stop_caching);
        found = probe(i, FIRST_PAGE);
        expect(found.cr0 == (CR0_ET | CR0_CD), "CR0 %x after CD was 1", found.cr0);
    }
}

static uint64_t kept_pat, kept_tsc[SMP_MAX];

#define OTHER_PAT 0x0007040600070401ull

static void set_pat(unsigned cpu)
{
    kept_pat = rdmsr(MSR_PAT);
    wrmsr(MSR_PAT, OTHER_PAT);
    kept_tsc[cpu] = rdtsc();
    steps[cpu]++;
    for (;;)
        smp_relax();
}

static void expect_pat(unsigned cpu)
{
    uint64_t now = rdtsc();
    expect(rdmsr(MSR_PAT) == OTHER_PAT, "CPU %u: PAT %lx", cpu, rdmsr(MSR_PAT));
    expect(now > kept_tsc[cpu], "CPU %u: TSC %lu after %lu", cpu, now, kept_tsc[cpu]);
    wrmsr(MSR_PAT, kept_pat);
}

static void pat_and_tsc(void)
{
    for (unsigned i = 1; i < count; i++)
        begin(i, set_pat);
    end_all();
    for (unsigned i = 1; i < count; i++) {
        smp_begin(i, expect_pat);
        smp_wait(i);
    }
}

static const char *needs_mtrrs_kept(void)
{
    return is_qemu() ? "emulator: INIT clears the MTRRs" : NULL;
}

static uint64_t kept_default, kept_fixed, kept_mask;

#define OTHER_FIXED 0x0606060606060600ull
#define OTHER_BASE  0x8000000ull
#define OTHER_MASK  (0xff8000000ull | 0x800)

static void set_mtrrs(unsigned cpu)
{
    kept_default = rdmsr(MSR_MTRR_DEF_TYPE);
    kept_fixed = rdmsr(MSR_MTRR_FIX64K);
    kept_mask = rdmsr(MSR_MTRR_PHYSMASK7);
    wrmsr(MSR_MTRR_PHYSMASK7 - 1, OTHER_BASE);
    wrmsr(MSR_MTRR_PHYSMASK7, OTHER_MASK);
    wrmsr(MSR_MTRR_FIX64K, OTHER_FIXED);
    steps[cpu]++;
    for (;;)
        smp_relax();
}

static void expect_mtrrs(unsigned cpu)
{
    expect(rdmsr(MSR_MTRR_DEF_TYPE) == kept_default, "CPU %u: default %lx, not %lx", cpu,
           rdmsr(MSR_MTRR_DEF_TYPE), kept_default);
    expect(rdmsr(MSR_MTRR_FIX64K) == OTHER_FIXED, "CPU %u: %lx", cpu, rdmsr(MSR_MTRR_FIX64K));
    expect(rdmsr(MSR_MTRR_PHYSMASK7 - 1) == OTHER_BASE && rdmsr(MSR_MTRR_PHYSMASK7) == OTHER_MASK,
           "CPU %u: base %lx, mask %lx", cpu, rdmsr(MSR_MTRR_PHYSMASK7 - 1),
           rdmsr(MSR_MTRR_PHYSMASK7));
    wrmsr(MSR_MTRR_PHYSMASK7, kept_mask);
    wrmsr(MSR_MTRR_FIX64K, kept_fixed);
}

static void mtrrs(void)
{
    for (unsigned i = 1; i < count; i++) {
        begin(i, set_mtrrs);
        expect(smp_restart(i), "CPU %u has not come", i);
        smp_begin(i, expect_mtrrs);
        smp_wait(i);
    }
}

/* --- the APIC -------------------------------------------------------------------------------- */

static const char *needs_apic_reset(void)
{
    return machine.nosnoop ? NULL : "emulator: INIT does not reset all of the APIC";
}

static void set_apic(unsigned cpu)
{
    static const unsigned entries[] = {LVT_TIMER, LVT_LINT0, LVT_LINT1, LVT_ERROR};
    for (unsigned i = 0; i < ARRAY_SIZE(entries); i++)
        apic_set(entries[i], VECTOR);
    apic_set(TPR, 0x30);
    apic_set(DIVIDE, BY_1);
    apic_set(INITIAL, 0xffffffff);
    if (!apic_x2) {
        apic_set(DFR, 0x0fffffff);
        apic_set(LDR, 0x11000000);
    }
    apic_send(cpu, VECTOR); /* is requested, but not taken */
    steps[cpu]++;
    for (;;)
        smp_relax();
}

static void expect_reg(unsigned cpu, unsigned reg, uint32_t value)
{
    uint32_t found = apic_get(reg);
    expect(found == value, "CPU %u: register %x is %x", cpu, reg, found);
}

/* SDM, "Local APIC State After It Receives an INIT-Reset IPI". */
static void expect_apic(unsigned cpu)
{
    static const unsigned zero[] = {TPR, PPR, ESR, INITIAL, CURRENT, DIVIDE};
    uint64_t base = APIC_PAGE | 0x800 | (apic_x2 ? 0x400 : 0);
    expect(rdmsr(MSR_APIC_BASE) == base, "CPU %u: APIC base %lx", cpu, rdmsr(MSR_APIC_BASE));
    expect_reg(cpu, ID, apic_x2 ? cpu : cpu << 24);
    expect_reg(cpu, LDR, apic_x2 ? 1u << cpu : 0);
    expect_reg(cpu, SVR, 0xff);
    for (unsigned i = 0; i < ARRAY_SIZE(zero); i++)
        expect_reg(cpu, zero[i], 0);
    for (unsigned reg = LVT_TIMER; reg <= LVT_ERROR; reg += 16)
        expect_reg(cpu, reg, MASKED);
    for (unsigned i = 0; i < 8; i++) {
        expect_reg(cpu, IRR + 16 * i, 0);
        expect_reg(cpu, ISR + 16 * i, 0);
    }
    if (!apic_x2)
        expect_reg(cpu, DFR, 0xffffffff);
}

static void apic_is_reset(void)
{
    for (unsigned i = 1; i < count; i++) {
        begin(i, set_apic);
        smp_first = expect_apic;
        expect(smp_restart(i), "CPU %u has not come", i);
        smp_first = NULL;
    }
}

static void expect_x2apic(unsigned cpu)
{
    expect(rdmsr(MSR_APIC_BASE) == (APIC_PAGE | 0xc00), "CPU %u: APIC base %lx", cpu,
           rdmsr(MSR_APIC_BASE));
    expect_reg(cpu, ID, cpu);
}

static const char *needs_x2apic_reset(void)
{
    const char *unmet = needs_x2apic();
    return unmet != NULL ? unmet : needs_apic_reset();
}

static void while_running_x2apic(void)
{
    smp_set_x2apic(true);
    while_running();
}

static const char *needs_x2apic_kept(void)
{
    const char *unmet = needs_x2apic();
    return unmet == NULL && !machine.nosnoop && machine_is_bochs()
               ? "emulator: INIT leaves x2APIC mode"
               : unmet;
}

static void x2apic_is_kept(void)
{
    smp_set_x2apic(true);
    for (unsigned round = 0; round < EACH; round++)
        for (unsigned i = 1; i < count; i++) {
            smp_first = expect_x2apic;
            expect(smp_restart(i), "CPU %u has not come", i);
            smp_first = NULL;
        }
    all_hear();
}

/* --- which are ignored ----------------------------------------------------------------------- */

static bool goes_on(unsigned cpu)
{
    uint32_t before = steps[cpu];
    for (uint64_t start = rdtsc(); steps[cpu] == before; smp_relax())
        if (rdtsc() - start > machine_ticks(1000))
            return false;
    return true;
}

/* A STARTUP IPI without an INIT before it, and the de-assertion of one. */
static void ignored(void)
{
    put_code(FIRST_PAGE, startup_probe, startup_probe_end);
    for (unsigned i = 1; i < count; i++) {
        begin(i, spin_deaf);
        apic_send(i, STARTUP | FIRST_PAGE);
        apic_send(i, STARTUP | FIRST_PAGE);
        apic_send(i, INIT | LEVEL);
        wait_short();
        expect(record_of(FIRST_PAGE)->count == 0, "CPU %u is started, though it runs", i);
        expect(goes_on(i), "CPU %u does not go on", i);
    }
    end_all();
}

/* Whether CPU makes no step for a while; its INIT may come late where an emulator is held up. */
static bool falls_quiet(unsigned cpu)
{
    enum { QUIET_MS = 50 };
    unsigned quiet = 0;
    for (uint64_t start = rdtsc(); quiet < QUIET_MS; quiet++) {
        uint32_t before = steps[cpu];
        wait_ms(1);
        if (steps[cpu] != before)
            quiet = 0;
        if (rdtsc() - start > machine_ticks(2000))
            return false;
    }
    return true;
}

/* After an INIT it does nothing until the STARTUP IPI, whatever else comes. */
static void nothing_before_startup(void)
{
    for (unsigned i = 1; i < count; i++) {
        begin(i, run_on);
        smp_init(i);
        expect(falls_quiet(i), "CPU %u goes on after an INIT", i);
        uint32_t stopped_at = steps[i];
        apic_send(i, VECTOR);
        wait_ms(INIT_MS);
        expect(steps[i] == stopped_at, "CPU %u goes on after an interrupt", i);
    }
    end_all();
    all_hear();
}

/* All others at once. */
static void to_others(void)
{
    for (unsigned round = 0; round < EACH; round++) {
        for (unsigned i = 1; i < count; i++)
            begin(i, round % 2 != 0 ? run_on : halt_deaf);
        put_code(FIRST_PAGE, startup_probe, startup_probe_end);
        for (unsigned i = 1; i < count; i++)
            smp_forget(i);
        apic_send(0, INIT | TO_OTHERS);
        wait_short();
        apic_send(0, STARTUP | TO_OTHERS | FIRST_PAGE);
        for (unsigned i = 1; i < count; i++)
            expect(smp_has_come(i), "CPU %u has not come", i);
    }
    all_hear();
}

static const struct test_case cases[] = {
    {"again while it runs", NULL, while_running},
    {"again while it spins with interrupts off", NULL, while_spinning},
    {"again while it halts", NULL, while_halted},
    {"again while it halts with interrupts off", NULL, while_halted_deaf},
    {"again while it exits", NULL, while_exiting},
    {"again in an NMI handler", needs_nmis_unblocked, while_in_nmi},
    {"again in an interrupt handler", NULL, while_in_interrupt},
    {"again in real mode", NULL, while_in_real_mode},
    {"INIT while it waits for STARTUP", NULL, while_waiting},
    {"nothing runs before STARTUP", NULL, nothing_before_startup},
    {"all others at once", NULL, to_others},
    {"the vector says where", NULL, vectors},
    {"registers after INIT", NULL, reset_by_init},
    {"EDX after INIT", needs_signature, signature},
    {"debug registers after INIT", needs_debug_reset, debug_registers},
    {"CD and NW are kept", needs_cd_kept, cd_is_kept},
    {"PAT is kept, and the TSC goes on", NULL, pat_and_tsc},
    {"MTRRs are kept", needs_mtrrs_kept, mtrrs},
    {"the APIC after INIT", needs_apic_reset, apic_is_reset},
    {"STARTUP is ignored while it runs", NULL, ignored},
    {"x2APIC mode is kept", needs_x2apic_kept, x2apic_is_kept},
    {"x2APIC: the APIC after INIT", needs_x2apic_reset, apic_is_reset},
    {"x2APIC: again while it runs", needs_x2apic, while_running_x2apic},
};

void test_main(void)
{
    count = smp_count();
    taken_init();
    smp_start();
    ktap_all(cases, ARRAY_SIZE(cases));
}
