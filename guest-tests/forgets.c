/*
 * A guest that leaves values in the registers of its network controller, an 82574, has the function
 * reset by power management, leaves them again, and is reset itself under `on_reset = restart`: it
 * finds them as after power-on each time or, with `kept=yes` on the command line, as it left them.
 *
 * tests/system/test_restart.py runs it with a function whose bus is reset, and with one that only
 * D3hot resets.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/nic.h"
#include "lib/assert.h"
#include "lib/x86.h"

enum { KEYBOARD = 0x64, RESET = 0xfe, CAP_PM = 0x01, PM_CONTROL = 4, D0 = 0, D3HOT = 3 };

/* Addresses of rings, which nothing but a reset changes: bits 3:0 are always 0. */
static const struct {
    unsigned reg;
    uint32_t value;
} marks[] = {{NIC_RDBAL, 0x12345670}, {NIC_TDBAL, 0x89abcde0}};

/* Where nothing is loaded: a reset leaves it alone. */
static struct record {
    uint64_t magic;
    struct found {
        uint32_t value[ARRAY_SIZE(marks)];
    } before, after_d3, after_reset;
} *const record = (struct record *)0x70000;
#define MAGIC 0x7374656772666fe0ull

static struct nic nic;

static struct found look(void)
{
    struct found found;
    for (unsigned i = 0; i < ARRAY_SIZE(marks); i++)
        found.value[i] = nic_get(&nic, marks[i].reg);
    return found;
}

static void leave_marks(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(marks); i++)
        nic_put(&nic, marks[i].reg, marks[i].value);
}

/* The function's BAR and command are the guest's to set again. */
static void sleep_and_wake(void)
{
    unsigned control = pci_capability(nic.bdf, CAP_PM) + PM_CONTROL;
    pci_put(nic.bdf, control, 2, D3HOT);
    pci_put(nic.bdf, control, 2, D0);
    pci_move_bar(nic.bdf, 0, nic.bar.address);
    pci_command(nic.bdf, COMMAND_MEMORY, 0);
}

static void first_boot(void)
{
    *record = (struct record){.magic = MAGIC};
    leave_marks();
    record->before = look();
    sleep_and_wake();
    record->after_d3 = look();
    leave_marks();
    out8(KEYBOARD, RESET);
}

static void expect_marks(const struct found *found, bool there)
{
    for (unsigned i = 0; i < ARRAY_SIZE(marks); i++)
        expect(found->value[i] == (there ? marks[i].value : 0), "register %x: %x", marks[i].reg,
               found->value[i]);
}

static void hold_values(void)
{
    expect_marks(&record->before, true);
}

static void after_d3(void)
{
    expect_marks(&record->after_d3, cmdline_has("kept", "yes"));
}

static void after_reset(void)
{
    expect_marks(&record->after_reset, cmdline_has("kept", "yes"));
}

static const struct test_case cases[] = {
    {"registers hold values", NULL, hold_values},
    {"D3hot and back", NULL, after_d3},
    {"a reset of the guest", NULL, after_reset},
};

void test_main(void)
{
    pci_init();
    nic_find(&nic, NIC_82574);
    if (nic.bdf != PCI_NOT_THERE && record->magic != MAGIC)
        first_boot();
    if (nic.bdf != PCI_NOT_THERE)
        record->after_reset = look();
    ktap_begin(ARRAY_SIZE(cases));
    ktap_run(cases, ARRAY_SIZE(cases));
    ktap_end();
}
