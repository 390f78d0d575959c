/* Whether a function's BARs have places of their own. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/host.h"
#include "vmm/passthrough/places.h"

#define REAL 0xf0000000ull
enum { IT, OTHER, BRIDGE, FUNCTIONS, LOG = 0x3f8 };

static struct memmap map;
static struct pci_table pci;
static const struct pci_ecams ecams = {{{0xb0000000, 0, 0x10, 0x1f}}, 1};
static const struct range used[] = {{0xfed90000, 0xfed91000}, {0xd0000000, 0xd0001000}};
static struct places places;

static const char own[] = "has a BAR over registers that the host uses; change the firmware's "
                          "set-up";
static const char memory[] = "has a BAR over memory; change the firmware's set-up";
static const char anothers[] = "has a BAR over another function's; change the firmware's set-up";
static const char unplaced[] = "has a BAR that the firmware has not placed; change the firmware's "
                               "set-up";
static const char host_ports[] = "has a BAR over ports that the host uses; change the firmware's "
                                 "set-up";

static void set(unsigned which, unsigned i, enum pci_bar_kind kind, uint64_t address, uint64_t size)
{
    pci.f[which].bar[i] = (struct pci_bar){.address = address, .size = size, .kind = (uint8_t)kind};
}

static int reset(void **state)
{
    (void)state;
    memset(&pci, 0, sizeof(pci));
    pci.count = FUNCTIONS;
    for (unsigned i = 0; i < FUNCTIONS; i++)
        pci.f[i].bdf.device = (uint8_t)(i + 1);
    set(OTHER, 5, PCI_BAR_MEMORY, 0xe0000000, 0x4000);
    set(OTHER, 0, PCI_BAR_IO, 0x6000, 0x20);
    set(OTHER, 1, PCI_BAR_IO, 0, 0x20);
    set(BRIDGE, 0, PCI_BAR_MEMORY, 0xe1000000, 0); /* is not sized */
    map.count = 3;
    map.r[0] = (struct mem_range){.start = 0x100000, .end = 0x80000000, .kind = MEM_RAM};
    map.r[1] = (struct mem_range){.start = 0xc0100000, .end = 0xc0200000, .kind = MEM_FIRMWARE};
    map.r[2] = (struct mem_range){.start = 0xc0400000, .end = 0xc0500000, .kind = MEM_MMIO};
    places = (struct places){&map, &pci, &ecams, used, ARRAY_SIZE(used), LOG};
    return 0;
}

static void expect(const char *why)
{
    const char *said = places_judge(&places, &pci.f[IT]);
    if (why == NULL)
        assert_null(said);
    else
        assert_string_equal(said == NULL ? "" : said, why);
}

static void places_of_memory(void **state)
{
    static const struct {
        uint64_t address, size;
        const char *why;
    } cases[] = {
        {REAL, 0x1000, NULL},
        {0x10000000000, 0x4000000000, NULL},
        {REAL, 0,
         "goes on decoding when it is told not to, so that its BARs cannot be sized; leave it out"},
        {0, 0x1000, unplaced},
        {REAL + 0x1000, 0x2000, unplaced},
        /* its first, its last and all but these bytes; and beside it */
        {0x7ffff000, 0x1000, memory},
        {0x80000000, 0x1000, NULL},
        {0, 0x100000, unplaced},
        {0xc0000000, 0x200000, memory},
        {0xc0000000, 0x100000, NULL},
        {0xc0000000, 0x1000000, memory},
        {0xc0200000, 0x200000, NULL},
        {0xc0400000, 0x1000, NULL},
        {0xfec00000, 0x1000, own},
        {0xfecff000, 0x1000, own},
        {0xfed00000, 0x1000, NULL},
        {0xfee00000, 0x10, own},
        {0xfeeff000, 0x1000, own},
        {0xfef00000, 0x1000, NULL},
        {0xfe000000, 0x1000000, own},
        {0xfed90000, 0x100, own},
        {0xfed80000, 0x20000, own},
        {0xfed91000, 0x1000, NULL},
        {0xd0000800, 0x10, own},
        /* buses 10h to 1fh */
        {0xb0f00000, 0x100000, NULL},
        {0xb1000000, 0x1000, own},
        {0xb1fff000, 0x1000, own},
        {0xb2000000, 0x1000, NULL},
        {0xb0000000, 0x4000000, own},
        {0xe0003000, 0x1000, anothers},
        {0xe0000000, 0x10, anothers},
        {0xe0004000, 0x1000, NULL},
        {0xe1000000, 0x1000, anothers},
        {0xe1001000, 0x1000, NULL},
        {0x6000, 0x20, NULL}, /* ports are elsewhere */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        reset(state);
        set(IT, 3, PCI_BAR_MEMORY, cases[i].address, cases[i].size);
        expect(cases[i].why);
    }
}

static void places_of_ports(void **state)
{
    static const struct {
        uint64_t address, size;
        const char *why;
    } cases[] = {
        {0xc000, 0x100, NULL},    {0, 0x100, NULL}, /* not placed: nothing leads there */
        {0x10, 0x10, host_ports}, {0xfc, 4, host_ports},      {0x100, 4, NULL},
        {0xcf8, 8, host_ports},   {0xc00, 0x100, host_ports}, {0xcfc, 4, host_ports},
        {0xcf0, 8, NULL},         {0xd00, 8, NULL},           {0x3f8, 8, host_ports},
        {0x3fc, 4, host_ports},   {0x300, 0x100, host_ports}, {0x3f0, 8, NULL},
        {0x400, 8, NULL},         {0x6000, 0x100, anothers},  {0x601c, 4, anothers},
        {0x6020, 0x20, NULL},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        reset(state);
        set(IT, 0, PCI_BAR_IO, cases[i].address, cases[i].size);
        expect(cases[i].why);
    }
    reset(state);
    places.log_port = 0;
    set(IT, 0, PCI_BAR_IO, 0x3f8, 8);
    expect(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(places_of_memory, reset),
        cmocka_unit_test_setup(places_of_ports, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
