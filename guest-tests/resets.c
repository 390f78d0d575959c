/*
 * Resets of a VM of several CPUs under `on_reset = restart`, while its CPUs exit without end and
 * have just been sent an interrupt: each boot finds all of them waiting, starts them, and none gets
 * what was sent in the boot before.
 *
 * row: resets.2 end=0 cpus=2 set="on_reset=restart" timeout=60
 * row: resets.4 end=0 cpus=4 set="on_reset=restart" timeout=90
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/taken.h"
#include "lib/string.h"

/* The two vectors are near each other, and the one of the boot before goes first. */
enum { FRESH = 0x41, STALE = 0x51, BOOTS = 20, KEYBOARD = 0x64, RESET = 0xfe };

#define KEPT_RAM 0x2000000ull /* nothing is loaded there: a reset leaves it alone */
#define MAGIC    0x73746573657231ull

static struct record {
    uint64_t magic;
    unsigned boots, stale, lost;
} *const record = (struct record *)KEPT_RAM;

static volatile unsigned busy;

static void listen(unsigned cpu)
{
    sti();
    if (!taken_wait(cpu, FRESH, 1))
        record->lost++;
    cli();
}

static void exit_for_ever(unsigned cpu)
{
    (void)cpu;
    __atomic_add_fetch(&busy, 1, __ATOMIC_RELAXED);
    for (;;) {
        (void)cpuid(0, 0);
        smp_relax();
    }
}

static void check_boot(void)
{
    for (unsigned cpu = 1; cpu < smp_count(); cpu++) {
        smp_begin(cpu, listen);
        apic_send(cpu, FRESH);
        smp_wait(cpu);
        record->stale += taken_of(cpu, STALE);
    }
}

/* At another moment of what they do each time. */
static void leave(void)
{
    for (unsigned cpu = 1; cpu < smp_count(); cpu++)
        smp_begin(cpu, exit_for_ever);
    while (busy != smp_count() - 1)
        smp_relax();
    for (unsigned i = 0; i < 97 * record->boots; i++)
        cpu_relax();
    for (unsigned cpu = 1; cpu < smp_count(); cpu++)
        apic_send(cpu, STALE);
    out8(KEYBOARD, RESET);
}

static void all_boots(void)
{
    expect(record->boots == BOOTS, "%u boots", record->boots);
    expect(record->lost == 0, "%u interrupts did not come", record->lost);
    expect(record->stale == 0, "%u interrupts of earlier boots came", record->stale);
}

static const char *needs_resets(void)
{
    return machine.nosnoop ? NULL : "emulator: it ends at its first reset (-no-reboot)";
}

static const struct test_case cases[] = {{"interrupts and resets", needs_resets, all_boots}};

void test_main(void)
{
    if (record->magic != MAGIC) {
        memset(record, 0, sizeof(*record));
        record->magic = MAGIC;
    }
    record->boots++;
    taken_init();
    smp_start();
    check_boot();
    if (record->boots < BOOTS && machine.nosnoop)
        leave();
    ktap_all(cases, ARRAY_SIZE(cases));
}
