/*
 * What changes of memory types touch: the manuals' update sequence with the same values, `same=N`
 * times, and then one range of 2 MiB from WB to UC, at `change=N` MiB. With `touch=yes` a byte of
 * every page is read before. The log counts what came of it; with `wait=yes` the guest waits at its
 * end, so that its tables can be dumped. With `pieces=yes` every other MiB of all memory becomes
 * UC in the end, by one range whose mask has a single bit: each 2 MiB need a table of their own.
 *
 * row: retype end=0 set=policy=exact cmdline="same=8 change=32 touch=yes"
 *
 * tests/system/test_retype.py has more memory for it, test_vms.py another VM beside it.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/memtypes.h"
#include "lib/x86.h"

enum { TABLE = 512, FREE_PAIR = 7, PAGE_PS = 1 << 7 };

/* --- the manuals' sequence -------------------------------------------------------------------- */

static void same_values(void)
{
    struct mtrrs before, after;
    mtrrs_read(&before);
    for (uint64_t i = cmdline_number("same", 0); i > 0; i--)
        mtrrs_update(&before);
    mtrrs_read(&after);
    for (unsigned i = 0; i < MTRRS; i++) {
        uint32_t msr;
        uint64_t is = *mtrrs_at(&after, i, &msr), was = *mtrrs_at(&before, i, &msr);
        expect(is == was, "MSR %x: %lx, not %lx", msr, is, was);
    }
}

static void one_range(void)
{
    struct mtrrs values;
    unsigned rule;
    uint64_t at = cmdline_number("change", 0) * MIB;
    if (at == 0)
        return;
    mtrrs_read(&values);
    expect(mtrrs_type(&values, at, &rule) == MT_WB, "there is no WB to begin with");
    values.pair[2 * FREE_PAIR] = at | MT_UC;
    values.pair[2 * FREE_PAIR + 1] = (address_mask() & ~(2 * MIB - 1)) | MASK_V;
    mtrrs_update(&values);
    mtrrs_read(&values);
    expect(mtrrs_type(&values, at, &rule) == MT_UC, "the range is not UC");
}

static void all_in_pieces(void)
{
    struct mtrrs values;
    if (!cmdline_has("pieces", "yes"))
        return;
    mtrrs_read(&values);
    values.pair[2 * FREE_PAIR] = MT_UC;
    values.pair[2 * FREE_PAIR + 1] = MIB | MASK_V;
    mtrrs_update(&values);
}

/* --- all memory ------------------------------------------------------------------------------- */

static const char *needs_large_pages(void)
{
    return (cpuid(0x80000001, 0).edx & 1u << 26) != 0 ? NULL : "the CPU has no 1 GiB pages";
}

/* Reads a byte of each page by tables that map the first 512 GiB. */
static void touch_all(void)
{
    static _Alignas(4096) uint64_t pml4[TABLE], pdpt[TABLE];
    uint64_t cr3 = read_cr3(), pages = 0;
    if (!cmdline_has("touch", "yes"))
        return;
    for (uint64_t i = 0; i < TABLE; i++)
        pdpt[i] = i * GIB | PAGE_PS | PAGE_W | PAGE_P;
    pml4[0] = (uint64_t)pdpt | PAGE_W | PAGE_P;
    write_cr3((uint64_t)pml4);
    for (unsigned i = 0; i < machine.ram_count; i++)
        for (uint64_t at = machine.ram[i].start; at < machine.ram[i].end; at += PAGE_SIZE, pages++)
            (void)*(volatile uint8_t *)at;
    write_cr3(cr3);
    print("# touched %lu pages\n", pages);
}

static const struct test_case cases[] = {
    {"a byte of each page", needs_large_pages, touch_all},
    {"the manuals' sequence with the same values", NULL, same_values},
    {"a range of 2 MiB from WB to UC", NULL, one_range},
    {"every other MiB of all memory", NULL, all_in_pieces},
};

void test_main(void)
{
    ktap_begin(ARRAY_SIZE(cases));
    ktap_run(cases, ARRAY_SIZE(cases));
    if (cmdline_has("wait", "yes")) {
        print("waiting\n");
        for (;;)
            cpu_relax();
    }
    ktap_end();
}
