/*
 * Fuzzes what goes through PCI functions. The input is a list of functions, each of a head of 8
 * bytes and registers that follow it: any register may hold anything, and may be written or not.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/fake_pci.h"

enum { HEAD = 8, MOST_FUNCTIONS = 40 };
enum { REGISTERS_KEPT = 0x10 }; /* registers that say what a function is stay as they are */

static struct fake_function before[MOST_FUNCTIONS];
static struct pci_table table;
static struct pci_ecams ecams = {{{0x800000000, 3, 0, 15}}, 1};

/*
 * Of the head: bus, device and function, class, header, then where in configuration space the next
 * bytes go, and their number; each comes twice, as what is there and what can be written. Returns
 * the bytes that are used.
 */
static size_t take_function(const uint8_t *data, size_t size)
{
    struct pci_bdf bdf = {(data[0] & 0x80) != 0 ? 3 : 0, data[0] & 0x0f, data[1] >> 3, data[1] & 7};
    size_t n = min_u64(data[7], (size - HEAD) / 2);
    unsigned from = (unsigned)(data[5] | data[6] << 8) % PCI_CONFIG_END;
    struct fake_function *f = fake_at(bdf);
    if (f == NULL)
        f = fake_add(bdf, (uint32_t)data[2] << 16 | (uint32_t)data[3] << 8);
    f->now[PCI_HEADER] = data[4];
    n = min_u64(n, PCI_CONFIG_END - from);
    memcpy(&f->now[from], data + HEAD, n);
    memcpy(&f->writable[from], data + HEAD + n, n);
    if (from < REGISTERS_KEPT && from + n > PCI_COMMAND)
        fake_let(f, PCI_COMMAND, 2, 7);
    return HEAD + 2 * n;
}

static void check_bar(const struct pci_bar *bar)
{
    require(bar->kind <= PCI_BAR_MEMORY);
    require(bar->kind != PCI_BAR_NONE || (bar->address == 0 && bar->size == 0 && !bar->wide));
    require((bar->size & (bar->size - 1)) == 0);
    require(bar->size == 0 || bar->address % bar->size == 0);
    require(bar->wide || bar->address <= UINT32_MAX);
    require(bar->size == 0 || bar->address + (bar->size - 1) >= bar->address);
}

static void check_capabilities(const struct pci_function *f)
{
    const uint16_t plain[] = {f->msi, f->msix, f->pm, f->pcie, f->af};
    const uint16_t extended[] = {f->acs, f->ats, f->pri, f->pasid, f->sriov};
    for (unsigned i = 0; i < ARRAY_SIZE(plain); i++)
        require(plain[i] == 0 || (plain[i] >= 0x40 && plain[i] <= 0xf8 && plain[i] % 4 == 0));
    for (unsigned i = 0; i < ARRAY_SIZE(extended); i++)
        require(extended[i] == 0 || (f->pcie != 0 && extended[i] >= 0x100 && extended[i] <= 0xff8));
}

static void check_place(unsigned i)
{
    const struct pci_function *f = &table.f[i];
    struct pci_bdf requester = pci_requester(f);
    require(f->group <= i);
    require(f->secondary == 0 || (f->secondary > f->bdf.bus && f->subordinate >= f->secondary));
    require(requester.segment == f->bdf.segment);
    for (const struct pci_function *b = f; b->parent != NULL; b = b->parent) {
        const struct pci_function *parent = b->parent;
        require(parent >= table.f && parent < table.f + i);
        require(parent->bdf.bus < b->bdf.bus && parent->bdf.segment == b->bdf.segment);
        require(parent->secondary <= b->bdf.bus && b->bdf.bus <= parent->subordinate);
    }
    for (unsigned k = 0; k < i; k++)
        require(!pci_same_bdf(table.f[k].bdf, f->bdf));
}

/* What was there is there again, but for bus mastering, INTx, ACS, and what else is turned off. */
static void check_kept(const struct pci_function *f)
{
    struct fake_function *now = fake_at(f->bdf), *was = &before[now - fake.f];
    bool kept = f->class >> 16 == 0x03 || f->class >> 16 == 0x06 || f->class >> 8 == 0x0806;
    unsigned command = fake_get(was, PCI_COMMAND, 2) | (now->writable[PCI_COMMAND + 1] & 4u) << 8;
    if (!kept && (now->writable[PCI_COMMAND] & 4) != 0)
        command &= ~4u;
    require(fake_get(now, PCI_COMMAND, 2) == command);
    require(memcmp(&now->now[PCI_STATUS], &was->now[PCI_STATUS], 0x100 - PCI_STATUS) == 0);
    for (unsigned reg = PCI_EXTENDED; reg < PCI_CONFIG_END; reg++) {
        bool acs = f->acs != 0 && reg - f->acs - 6u < 2;
        bool sriov = f->sriov != 0 && reg - f->sriov - 8u < 2;
        bool ats = f->ats != 0 && reg - f->ats - 6u < 2;
        bool pri = f->pri != 0 && reg - f->pri - 4u < 2;
        bool pasid = f->pasid != 0 && reg - f->pasid - 6u < 2;
        require(acs || sriov || ats || pri || pasid || now->now[reg] == was->now[reg]);
    }
}

static void check(void)
{
    require(table.count <= fake.count && table.left_out == 0);
    require(fake.hot == 0 && fake.waited == 0);
    for (unsigned i = 0; i < table.count; i++) {
        const struct pci_function *f = &table.f[i];
        require(pci_find(&table, f->bdf) == f);
        check_place(i);
        check_capabilities(f);
        check_kept(f);
        for (unsigned k = 0; k < PCI_BARS; k++)
            check_bar(&f->bar[k]);
        check_bar(&f->rom);
    }
}

/* Each ends, in bounded time. */
static void reset_all(void)
{
    for (unsigned i = 0; i < table.count; i++) {
        fake.waited = 0;
        int error = pci_reset(&table.f[i], fake_delay);
        require((error == -19) == (table.f[i].reset == PCI_RESET_NONE)); /* ENODEV */
        require(error == 0 || error == -5 || error == -19);
        require(fake.waited <= 12000000);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fake_reset();
    while (size >= HEAD && fake.count < MOST_FUNCTIONS) {
        size_t used = take_function(data, size);
        data += used;
        size -= used;
    }
    memcpy(before, fake.f, fake.count * sizeof(before[0]));
    pci_scan(&table, &ecams);
    check();
    reset_all();
    return 0;
}
