/*
 * A guest that does what it should not: random operations in every mode, at both ends of privilege,
 * recovering by its own exception handlers (guest-tests/hostile/). Other CPUs do odd things
 * meanwhile. The hypervisor must neither fault nor hang nor stop it. Words of the command line:
 * seed=N, ops=N; mode=N for one mode alone; report=N for a line each so many operations. `make
 * soak` runs it for hours.
 *
 * row: hostile.1 end=0 long=yes timeout=120 cmdline="seed=1 ops=300000" control=skip
 *      control-reason="writes a bare machine's ports and MSRs at random"
 * row: hostile.2 end=0 long=yes timeout=120 cmdline="seed=2 ops=300000" control=skip
 *      control-reason="writes a bare machine's ports and MSRs at random"
 * row: hostile.short end=0 cmdline="seed=21 ops=50000" control=skip
 *      control-reason="writes a bare machine's ports and MSRs at random"
 * row: hostile.cpus2 end=0 cpus=2 timeout=60 cmdline="seed=31 ops=30000" control=skip
 *      control-reason="writes a bare machine's ports and MSRs at random"
 * row: hostile.cpus4 end=0 cpus=4 timeout=60 cmdline="seed=32 ops=30000" control=skip
 *      control-reason="writes a bare machine's ports and MSRs at random"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/hostile/hostile.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/string.h"
#include "lib/x86.h"

enum { DEFAULT_SEED = 1, DEFAULT_OPS = 1000000, REPEATS = 8 };

void hostile_run(enum family family);

#define LONG(bits, cpl, cs, ss) FAMILY_LONG, TABLES_4LEVEL, bits, cpl, true, false, false, cs, ss
#define LEGACY(tables, bits, cpl, paged, fragile, cs, ss)                                          \
    FAMILY_LEGACY, tables, bits, cpl, paged, false, fragile, cs, ss
#define V86(tables) FAMILY_LEGACY, tables, 16, 3, true, true, false, 0, 0

static const struct mode modes[] = {
    {"64-bit, CPL 0", LONG(64, 0, H_CODE64, H_FLAT)},
    {"64-bit, CPL 3", LONG(64, 3, H_USER_CODE64, H_USER_FLAT)},
    {"compatibility, 32-bit, CPL 0", LONG(32, 0, H_FLAT32, H_FLAT)},
    {"compatibility, 32-bit, CPL 3", LONG(32, 3, H_USER_FLAT32, H_USER_FLAT)},
    {"compatibility, 16-bit, CPL 0", LONG(16, 0, H_CODE16, H_STACK16)},
    {"compatibility, 16-bit, CPL 3", LONG(16, 3, H_USER_CODE16, H_USER_STACK16)},
    {"PAE, 32-bit, CPL 0", LEGACY(TABLES_PAE, 32, 0, true, true, H_FLAT32, H_STACK16)},
    {"PAE, 32-bit, CPL 3", LEGACY(TABLES_PAE, 32, 3, true, false, H_USER_FLAT32, H_USER_FLAT)},
    {"PAE, 16-bit, CPL 3", LEGACY(TABLES_PAE, 16, 3, true, false, H_USER_CODE16, H_USER_STACK16)},
    {"PAE, virtual-8086", V86(TABLES_PAE)},
    {"paged, 32-bit, CPL 0", LEGACY(TABLES_32BIT, 32, 0, true, true, H_FLAT32, H_STACK16)},
    {"paged, 32-bit, CPL 3", LEGACY(TABLES_32BIT, 32, 3, true, false, H_USER_FLAT32, H_USER_FLAT)},
    {"paged, 16-bit, CPL 0", LEGACY(TABLES_32BIT, 16, 0, true, true, H_CODE16, H_STACK16)},
    {"paged, virtual-8086", V86(TABLES_32BIT)},
    {"protected, 32-bit", LEGACY(TABLES_32BIT, 32, 0, false, true, H_FLAT32, H_STACK16)},
    {"protected, 16-bit", LEGACY(TABLES_32BIT, 16, 0, false, true, H_CODE16, H_STACK16)},
    {"real", FAMILY_REAL, TABLES_32BIT, 16, 0, false, false, true, 0, 0},
};

/* By the name of the CPU that Bochs shows with SVM, "AMD Ryzen ...". */
bool hostile_can_step_exits(void)
{
    static struct cpuid_regs name;
    if (name.eax == 0)
        name = cpuid(0x80000002, 0);
    return memcmp(&name.ebx, "Ryze", 4) != 0;
}

/* Emulator deviation: QEMU's TCG ends itself where it finds that a virtual interrupt is pending. */
bool hostile_can_write_cr8(void)
{
    return machine.intel || !hostile_can_step_exits();
}

struct total {
    uint64_t operations;
    uint64_t faults[COUNTERS];
};
static struct total totals[ARRAY_SIZE(modes)];

/* What a handler cannot put right; SYSENTER works in Intel's long mode only. */
static void reset_registers(const struct mode *mode)
{
    uint64_t landing = (uint64_t)hostile_landing;
    bool sysenter = mode->family == FAMILY_LONG && machine.intel;
    wrmsr(MSR_STAR, (uint64_t)H_FLAT << 48 | (uint64_t)H_CODE64 << 32);
    wrmsr(MSR_LSTAR, landing);
    wrmsr(MSR_CSTAR, landing);
    wrmsr(MSR_SYSENTER_CS, sysenter ? H_CODE64 : 0);
    wrmsr(MSR_SYSENTER_EIP, landing);
    __asm__ volatile("mov %0, %%dr0; mov %0, %%dr1; mov %0, %%dr2; mov %0, %%dr3" : : "r"(0ull));
    wrmsr(MSR_EFER, EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE);
}

/* All flags but TF, VM and RF; IOPL 3 in virtual-8086 mode half the time lets it do more. */
static uint64_t random_flags(void)
{
    return random64() & (0xeff | 3 << 12 | RFLAGS_AC | 1 << 21);
}

static void count(const struct mode *mode)
{
    struct total *total = &totals[mode - modes];
    const uint32_t *counts = hostile_counts;
    total->operations += SLOTS - 1;
    if (mode->family == FAMILY_REAL)
        counts = arena_real_counts();
    for (unsigned i = 0; i < COUNTERS; i++)
        total->faults[i] += counts[i];
}

/* What was generated runs several times, each time with other registers and flags. */
static void run_batch(const struct mode *mode)
{
    arena_set_mode(mode);
    generate(mode);
    for (unsigned i = 0; i < REPEATS; i++) {
        generate_registers();
        arena_begin(mode, random_flags());
        reset_registers(mode);
        apic_begin();
        others_start();
        hostile_run((enum family)mode->family);
        count(mode);
    }
}

static void run(uint64_t operations, uint64_t report)
{
    uint64_t done = 0, next = report, only = cmdline_number("mode", ARRAY_SIZE(modes));
    while (done < operations) {
        uint64_t i = only < ARRAY_SIZE(modes) ? only : random_below(ARRAY_SIZE(modes));
        run_batch(&modes[i]);
        done += REPEATS * (SLOTS - 1);
        if (report != 0 && done >= next) {
            print("# %lu operations\n", done);
            next += report;
        }
    }
}

static uint64_t faults(unsigned vector)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
        sum += totals[i].faults[vector];
    return sum;
}

/* A mode in which nothing was refused or single-stepped did not run. */
static void judge(const struct mode *mode)
{
    const struct total *total = &totals[mode - modes];
    static const uint8_t vectors[] = {VECTOR_DB, VECTOR_BP, VECTOR_UD, VECTOR_GP};
    ktap_start(mode->name);
    for (unsigned i = 0; total->operations != 0 && i < sizeof(vectors); i++)
        expect(total->faults[vectors[i]] != 0, "no exception %u", vectors[i]);
    if (total->operations == 0)
        skip("not asked for");
    ktap_finish();
    print("# %s: %lu operations, #DB %lu #UD %lu #GP %lu #PF %lu\n", mode->name, total->operations,
          total->faults[VECTOR_DB], total->faults[VECTOR_UD], total->faults[VECTOR_GP],
          total->faults[VECTOR_PF]);
}

void test_main(void)
{
    uint64_t seed = cmdline_number("seed", DEFAULT_SEED);
    uint64_t operations = cmdline_number("ops", DEFAULT_OPS);
    ktap_begin(ARRAY_SIZE(modes) + 1);
    print("# seed %lu, %lu operations\n", seed, operations);
    random_seed(seed);
    arena_init();
    others_begin();
    run(operations, cmdline_number("report", 0));
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
        judge(&modes[i]);
    ktap_run(&(struct test_case){"the other CPUs", needs_others, others_judge}, 1);
    others_report();
    for (unsigned i = 0; i < kind_count; i++)
        print("# operation %s: %lu\n", kinds[i].name, generated[i] * REPEATS);
    for (unsigned i = 0; i < COUNTERS; i++)
        if (faults(i) != 0)
            print("# exceptions of vector %u%s: %lu\n", i, i == COUNTERS - 1 ? " and up" : "",
                  faults(i));
    ktap_end();
}
