/*
 * A prefetchable BAR as drivers type it, WC by the PAT or, as old systems do it, by an MTRR, and in
 * every other way: data go through each mapping and come back through another, and each has the
 * type that bare metal gives it. It is the memory of a display or of ivshmem, which do no DMA; the
 * policy is exact without being asked for where no IOMMU could make them snoop.
 *
 * row: wc end=0 timeout=60 control-timeout=30 device=bochs-display iommu=no-snoop set=control=yes
 * row: wc.snoop end=0 timeout=60 device=bochs-display iommu=snoop set=policy=exact set=control=yes
 *      control=skip control-reason="as wc"
 * row: wc.amd end=0 timeout=60 device=bochs-display iommu=amd set=policy=exact set=control=yes
 *      control=skip control-reason="as wc"
 * row: wc.ivshmem end=0 timeout=60 control-timeout=30 device=ivshmem set=policy=exact
 *      set=control=yes
 * row: wc.ivshmem-no-snoop end=0 timeout=60 device=ivshmem iommu=no-snoop set=control=yes
 *      control=skip control-reason="as wc.ivshmem"
 * row: wc.amd-ivshmem end=0 timeout=60 device=ivshmem iommu=amd set=policy=exact set=control=yes
 *      control=skip control-reason="as wc.ivshmem"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/memtypes.h"
#include "guest-tests/runtime/pci.h"
#include "lib/x86.h"

/* As after reset, but for slot 4: WC. */
#define PAT_WITH_WC 0x0007040100070406ull
enum { PWT = 1 << 3, PCD = 1 << 4, PAT_4K = 1 << 7, PAGES = 16, BARS = 6 };

/* What each has first, in the order of the PAT's slots 0 to 4. */
static const uint8_t slot_types[] = {MT_WB, MT_WT, MT_UC_MINUS, MT_UC, MT_WC};
enum { SLOT_UC = 3, SLOTS = 5 };

/* Bochs's display keeps no data there while it is in text mode: only types are looked at then. */
#define NO_DATA "emulator: no data in the display's memory in text mode"

static const struct {
    uint16_t vendor, device;
} known[] = {{0x1234, 0x1111}, {0x1af4, 0x1110}, {0x1013, 0x00b8}};

static struct pci_bar bar;
static bool keeps_data;
static struct mtrrs firmware;

static const char *needs_bar(void)
{
    if (bar.size == 0)
        return "there is no prefetchable BAR";
    return machine.nosnoop || keeps_data ? NULL : NO_DATA;
}

/* --- types ------------------------------------------------------------------------------------ */

static bdf_t find_function(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
        bdf_t bdf = pci_find(known[i].vendor, known[i].device);
        if (bdf != PCI_NOT_THERE)
            return bdf;
    }
    return PCI_NOT_THERE;
}

static void find(void)
{
    bdf_t bdf = find_function();
    for (unsigned i = 0; i < BARS && bdf != PCI_NOT_THERE && bar.size == 0; i++) {
        struct pci_bar found = pci_bar(bdf, i);
        if (found.prefetchable)
            bar = found;
        i += found.wide;
    }
    if (bar.size != 0)
        pci_command(bdf, COMMAND_MEMORY, 0);
}

static uint64_t size_mask(uint64_t size)
{
    return (address_mask() & ~(size - 1)) | MASK_V;
}

/* The BAR has TYPE by an MTRR of its own: memory is WB by others, and all else is UC. */
static void set_mtrr(unsigned type)
{
    struct mtrrs mtrrs = firmware;
    for (unsigned i = 0; i < 2 * PAIRS; i++)
        mtrrs.pair[i] = 0;
    mtrrs.def_type = (firmware.def_type & ~7ull) | MT_UC;
    mtrrs.pair[0] = 0 | MT_WB;
    mtrrs.pair[1] = size_mask(2 * GIB);
    mtrrs.pair[2] = 2 * GIB | MT_WB;
    mtrrs.pair[3] = size_mask(GIB);
    mtrrs.pair[4] = bar.address | type;
    mtrrs.pair[5] = size_mask(bar.size);
    mtrrs_update(&mtrrs);
}

/* The first pages, through a slot of the PAT. */
static volatile uint64_t *map(unsigned slot)
{
    uint64_t bits = ((slot & 1) != 0 ? PWT : 0u) | ((slot & 2) != 0 ? PCD : 0u) |
                    ((slot & 4) != 0 ? PAT_4K : 0u);
    volatile void *first = NULL;
    mfence();
    for (unsigned i = 0; i < PAGES; i++) {
        volatile void *page = window_map(i, bar.address + i * PAGE_SIZE, PAGE_P | PAGE_W | bits);
        first = i == 0 ? page : first;
    }
    return first;
}

/*
 * As on bare metal, where it is never WB, WT or WP: that an MTRR calls it so does not count. AMD's
 * nested paging may have CD for UC and WC+ for WC, which snoop more.
 */
static void expect_type(const volatile void *at, unsigned mtrr, unsigned slot)
{
    struct type_answer a;
    unsigned leaf = index_of(mtrr_types, TYPES, mtrr == MT_WC ? MT_WC : MT_UC);
    bool wc = native(leaf, index_of(pat_types, PATS, slot_types[slot])) == WC;
    int64_t result = oracle_ask(HYPERCALL_TYPE_LINEAR, (uint64_t)at, 0, &a);
    if (!expect(result == 0 && a.gpa == bar.address, "the oracle says %ld, GPA %lx", result, a.gpa))
        return;
    bool same = a.effective == (wc ? WC : UC);
    bool snoops = !machine.intel && a.effective == (wc ? WCP : CD);
    expect(same || snoops, "MTRR %u, PAT %u: %s, not %s", mtrr, slot_types[slot],
           type_name(a.effective), type_name(wc ? WC : UC));
}

/* --- data ------------------------------------------------------------------------------------- */

static uint64_t word(unsigned i, uint64_t seed)
{
    return (i + seed) * 0x9e3779b97f4a7c15ull;
}

static unsigned wrong_words(const volatile uint64_t *words, uint64_t seed)
{
    unsigned wrong = 0;
    for (unsigned i = 0; i < PAGES * PAGE_SIZE / 8; i++)
        wrong += words[i] != word(i, seed);
    return wrong;
}

static void fill(volatile uint64_t *words, uint64_t seed)
{
    for (unsigned i = 0; i < PAGES * PAGE_SIZE / 8; i++)
        words[i] = word(i, seed);
}

/* There through the typed mapping and back uncached, and the other way round. */
static void through(unsigned mtrr, unsigned slot)
{
    static uint64_t seed;
    volatile uint64_t *words = map(slot);
    if (machine.nosnoop)
        expect_type(words, mtrr, slot);
    if (!keeps_data)
        return;
    fill(words, ++seed);
    unsigned wrong = wrong_words(map(SLOT_UC), seed);
    fill(map(SLOT_UC), ++seed);
    wrong += wrong_words(map(slot), seed);
    expect(wrong == 0, "MTRR %u, PAT %u: %u words are wrong", mtrr, slot_types[slot], wrong);
}

static void look_for_data(void)
{
    fill(map(SLOT_UC), 1);
    keeps_data = wrong_words(map(SLOT_UC), 1) == 0;
}

static void through_all(unsigned mtrr)
{
    expect(keeps_data || machine_is_bochs(), "it keeps no data");
    for (unsigned slot = 0; slot < SLOTS; slot++)
        through(mtrr, slot);
}

/* --- cases ------------------------------------------------------------------------------------ */

static void is_found(void)
{
    expect(bar.size != 0, "there is no prefetchable BAR");
}

static void as_firmware_has_it(void)
{
    unsigned rule, type = mtrrs_type(&firmware, bar.address, &rule);
    if (!machine.nosnoop && type != MT_UC)
        skip("emulator: firmware has not made it UC");
    else
        through_all(type);
}

static void by_mtrr(unsigned type)
{
    set_mtrr(type);
    through_all(type);
    mtrrs_update(&firmware);
}

static void uc_by_mtrr(void)
{
    by_mtrr(MT_UC);
}

static void wc_by_mtrr(void)
{
    by_mtrr(MT_WC);
}

/* What no driver may do on bare metal. */
static void cacheable_by_mtrr(void)
{
    by_mtrr(MT_WB);
    by_mtrr(MT_WT);
    by_mtrr(MT_WP);
}

static const char *needs_nosnoop_and_bar(void)
{
    return needs_nosnoop() != NULL ? needs_nosnoop() : needs_bar();
}

/* --- registers of less than a page ------------------------------------------------------------ */

static struct pci_bar small;

static void find_small(void)
{
    bdf_t bdf = find_function();
    for (unsigned i = 0; i < BARS && bdf != PCI_NOT_THERE && small.size == 0; i++) {
        struct pci_bar found = pci_bar(bdf, i);
        if (!found.io && found.size != 0 && found.size < PAGE_SIZE)
            small = found;
    }
}

static const char *needs_small(void)
{
    if (small.size == 0)
        return "no BAR is smaller than a page";
    return needs_nosnoop();
}

static const char *needs_to_know_size(void)
{
    return small.size == 0 ? "no BAR is smaller than a page" : NULL;
}

/* ivshmem's first register holds what is written (docs/specs/ivshmem-spec.txt: Interrupt Mask). */
static void small_registers(void)
{
    volatile uint32_t *registers = pci_map(&small);
    for (uint32_t value = 1; value != 0; value <<= 3) {
        registers[0] = value;
        expect(registers[0] == value, "%x: %x", value, registers[0]);
    }
    registers[0] = 0;
}

/* What is behind them may be another's: an access that ends there is none at all. */
static void over_the_end(void)
{
    volatile uint8_t *end = (volatile uint8_t *)pci_map(&small) + small.size;
    uint64_t low = *(volatile uint64_t *)(uintptr_t)(end - 4);
    expect(low == UINT64_MAX, "8 bytes of which 4 are there: %lx", low);
    expect(*(volatile uint32_t *)(uintptr_t)(end - 4) != UINT32_MAX, "the last 4 are not there");
    expect(*(volatile uint16_t *)(uintptr_t)(end - 1) == UINT16_MAX, "2 bytes of which 1 is there");
    *(volatile uint64_t *)(uintptr_t)(end - 4) = 0;
    expect(*end == UINT8_MAX, "something is behind: %x", *end);
}

static const struct test_case cases[] = {
    {"the function is found", NULL, is_found},
    {"as firmware has its MTRRs", needs_bar, as_firmware_has_it},
    {"UC by MTRR", needs_bar, uc_by_mtrr},
    {"WC by MTRR", needs_bar, wc_by_mtrr},
    {"WB, WT and WP by MTRR: never cached", needs_nosnoop_and_bar, cacheable_by_mtrr},
    {"registers of less than a page", needs_to_know_size, small_registers},
    {"an access over their end", needs_small, over_the_end},
};

void test_main(void)
{
    wrmsr(MSR_PAT, PAT_WITH_WC);
    pci_init();
    find();
    find_small();
    mtrrs_read(&firmware);
    if (bar.size != 0)
        look_for_data();
    ktap_all(cases, ARRAY_SIZE(cases));
}
