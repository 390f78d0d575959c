/* PCI: what is found in configuration spaces, real ones and broken ones, and what is done to it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/acpi.h"
#include "drivers/pci.h"
#include "lib/errno.h"
#include "tests/unit/fake_pci.h"

enum { DEVICE = 0x00ff00, HOST_BRIDGE = 0x060000, PCI_BRIDGE = 0x060400, DISPLAY = 0x030000 };
enum { ALL_ACS = 0x1f };

static struct pci_table table;
static struct pci_ecams ecams;

static int reset(void **state)
{
    (void)state;
    fake_reset();
    ecams.count = 0;
    return 0;
}

static struct pci_bdf at(unsigned bus, unsigned device, unsigned function)
{
    return (struct pci_bdf){0, (uint8_t)bus, (uint8_t)device, (uint8_t)function};
}

static struct fake_function *add(unsigned bus, unsigned device, unsigned function, uint32_t class)
{
    return fake_add(at(bus, device, function), class);
}

static void scan(void)
{
    memset(&table, 0xa5, sizeof(table));
    pci_scan(&table, &ecams);
}

static const struct pci_function *found(unsigned bus, unsigned device, unsigned function)
{
    const struct pci_function *f = pci_find(&table, at(bus, device, function));
    assert_non_null(f);
    return f;
}

static void expect_logged(const char *what)
{
    if (strstr(host_log, what) == NULL)
        fail_msg("not logged: %s\nbut:\n%s", what, host_log);
}

static struct fake_function *add_bridge(unsigned bus, unsigned device, unsigned function,
                                        unsigned secondary, unsigned subordinate)
{
    struct fake_function *f = add(bus, device, function, PCI_BRIDGE);
    fake_bridge(f, secondary, subordinate);
    return f;
}

/* A port of PCI Express; CAN: its ACS, 0 for none. */
static struct fake_function *add_port(unsigned bus, unsigned device, unsigned function,
                                      enum pci_port port, unsigned secondary, unsigned can)
{
    struct fake_function *f = add_bridge(bus, device, function, secondary, secondary);
    fake_express(f, port);
    if (can != 0)
        fake_acs(f, can);
    return f;
}

static struct fake_function *add_endpoint(unsigned bus, unsigned device, unsigned function)
{
    struct fake_function *f = add(bus, device, function, DEVICE);
    fake_express(f, PCI_PORT_ENDPOINT);
    return f;
}

/* --- what is there ---------------------------------------------------------------------------- */

static void names(void **state)
{
    (void)state;
    assert_string_equal(pci_name(at(0, 2, 0)).text, "00:02.0");
    assert_string_equal(pci_name((struct pci_bdf){0xabcd, 0xff, 31, 7}).text, "abcd:ff:1f.7");
}

static void a_machine(void **state)
{
    (void)state;
    add(0, 0, 0, HOST_BRIDGE);
    struct fake_function *edu = add(0, 2, 0, DEVICE);
    fake_set(edu, PCI_VENDOR, 4, 0x11e81234);
    add_port(0, 3, 0, PCI_PORT_ROOT, 1, ALL_ACS);
    struct fake_function *nvme = add_endpoint(1, 0, 0);
    fake_set(nvme, PCI_CLASS, 3, 0x010802);
    scan();
    assert_int_equal(table.count, 4);
    assert_int_equal(table.left_out, 0);
    const struct pci_function *f = found(0, 2, 0);
    assert_int_equal(f->vendor, 0x1234);
    assert_int_equal(f->device, 0x11e8);
    assert_int_equal(f->class, 0x00ff00);
    assert_int_equal(f->port, PCI_PORT_CONVENTIONAL);
    assert_false(f->multifunction);
    assert_null(f->parent);
    assert_null(f->owner);
    assert_true(f->secondary == 0 && !pci_is_bridge(f) && !pci_is_display(f));
    const struct pci_function *port = found(0, 3, 0);
    assert_true(pci_is_bridge(port) && port->header == 1 && port->port == PCI_PORT_ROOT);
    assert_true(port->secondary == 1 && port->subordinate == 1);
    assert_ptr_equal(found(1, 0, 0)->parent, port);
    assert_int_equal(found(1, 0, 0)->class, 0x010802);
    assert_null(pci_find(&table, at(0, 1, 0)));
    assert_string_equal(host_log, "");
}

/* A function 0 that is not there hides the others; a gap behind it does not. */
static void multifunction(void **state)
{
    (void)state;
    add(0, 1, 0, DEVICE);
    add(0, 1, 3, DEVICE);
    add(0, 2, 5, DEVICE);
    add(0, 3, 0, DEVICE);
    add(0, 3, 1, DEVICE);
    fake_at(at(0, 3, 0))->now[PCI_HEADER] = 0; /* it says that it is alone */
    scan();
    assert_int_equal(table.count, 3);
    assert_true(found(0, 1, 0)->multifunction && found(0, 1, 3)->multifunction);
    assert_false(found(0, 3, 0)->multifunction);
}

static void not_there(void **state)
{
    static const uint32_t ids[] = {UINT32_MAX, 0, 0x0000ffff, 0x1234ffff};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++)
        fake_set(add(0, i, 0, DEVICE), PCI_VENDOR, 4, ids[i]);
    scan();
    assert_int_equal(table.count, 0);
}

static void too_many(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 300; i++)
        add(i / 256, i / 8 % 32, i % 8, DEVICE);
    scan();
    assert_int_equal(table.count, PCI_MAX_FUNCTIONS);
    assert_int_equal(table.left_out, 300 - PCI_MAX_FUNCTIONS);
    expect_logged("pci: 44 functions more than 256 are left out");
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(fake_get(&fake.f[i], PCI_COMMAND, 2), 0x0403);
}

static void segments(void **state)
{
    (void)state;
    ecams = (struct pci_ecams){
        {{0xe0000000, 0, 0, 63}, {0x800000000, 1, 0x10, 0x1f}, {0x900000000, 0x8000, 0, 255}}, 3};
    add(0, 5, 0, DEVICE);
    add(200, 5, 0, DEVICE); /* by ports */
    fake_add((struct pci_bdf){1, 0x10, 0, 0}, DEVICE);
    fake_add((struct pci_bdf){1, 0x1f, 31, 0}, DEVICE);
    fake_add((struct pci_bdf){1, 0x0f, 0, 0}, DEVICE); /* out of reach */
    fake_add((struct pci_bdf){1, 0x20, 0, 0}, DEVICE);
    fake_add((struct pci_bdf){0x8000, 255, 31, 0}, DEVICE);
    scan();
    static const struct pci_bdf expected[] = {
        {0, 0, 5, 0}, {0, 200, 5, 0}, {1, 0x10, 0, 0}, {1, 0x1f, 31, 0}, {0x8000, 255, 31, 0}};
    assert_int_equal(table.count, ARRAY_SIZE(expected));
    for (unsigned i = 0; i < table.count; i++)
        assert_true(pci_same_bdf(table.f[i].bdf, expected[i]));
}

/* A bridge of one segment leads to no bus of another one. */
static void bridges_of_segments(void **state)
{
    (void)state;
    ecams = (struct pci_ecams){{{0x800000000, 1, 0, 255}}, 1};
    add_bridge(0, 1, 0, 5, 5);
    add(5, 0, 0, DEVICE);
    fake_add((struct pci_bdf){1, 5, 0, 0}, DEVICE);
    scan();
    assert_non_null(found(5, 0, 0)->parent);
    assert_null(pci_find(&table, (struct pci_bdf){1, 5, 0, 0})->parent);
}

/* --- bridges ---------------------------------------------------------------------------------- */

static void bridges(void **state)
{
    (void)state;
    add_bridge(0, 1, 0, 1, 4);
    add_bridge(1, 0, 0, 2, 3);
    add_bridge(1, 1, 0, 4, 4);
    add_bridge(2, 0, 0, 3, 3);
    for (unsigned bus = 1; bus <= 5; bus++)
        add(bus, 9, 0, DEVICE);
    scan();
    assert_int_equal(table.count, 9);
    assert_ptr_equal(found(1, 9, 0)->parent, found(0, 1, 0));
    assert_ptr_equal(found(2, 9, 0)->parent, found(1, 0, 0));
    assert_ptr_equal(found(3, 9, 0)->parent, found(2, 0, 0));
    assert_ptr_equal(found(4, 9, 0)->parent, found(1, 1, 0));
    assert_null(found(5, 9, 0)->parent); /* a root bus of its own */
    assert_string_equal(host_log, "");
}

/* A bus that no bridge names is behind the nearest that has its number. */
static void bus_between(void **state)
{
    (void)state;
    add_bridge(0, 1, 0, 1, 9);
    add_bridge(1, 0, 0, 3, 7);
    add(5, 0, 0, DEVICE);
    add(8, 0, 0, DEVICE);
    scan();
    assert_ptr_equal(found(5, 0, 0)->parent, found(1, 0, 0));
    assert_ptr_equal(found(8, 0, 0)->parent, found(0, 1, 0));
}

static void senseless_bridges(void **state)
{
    static const struct {
        uint8_t bus, secondary, subordinate;
        bool logged;
    } rows[] = {
        {0, 0, 0, false},                                      /* not set up */
        {0, 0, 5, true},  {3, 3, 5, true},    {3, 1, 5, true}, /* to itself, or back */
        {3, 5, 4, true},  {3, 0xff, 0, true}, {0xff, 0xff, 0xff, true},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        reset(state);
        add_bridge(rows[i].bus, 0, 0, rows[i].secondary, rows[i].subordinate);
        add(rows[i].bus, 1, 0, DEVICE);
        scan();
        assert_int_equal(table.count, 2);
        assert_int_equal(found(rows[i].bus, 0, 0)->secondary, 0);
        assert_null(found(rows[i].bus, 1, 0)->parent);
        assert_int_equal(strstr(host_log, "makes no sense") != NULL, rows[i].logged);
    }
}

/* Two bridges that lead to each other's buses, and two to one. */
static void bridges_in_circles(void **state)
{
    (void)state;
    add_bridge(1, 0, 0, 2, 2);
    add_bridge(2, 0, 0, 1, 1);
    add_bridge(5, 0, 0, 6, 6);
    add_bridge(5, 1, 0, 6, 6);
    add(6, 0, 0, DEVICE);
    scan();
    assert_int_equal(table.count, 5);
    assert_null(found(1, 0, 0)->parent);
    assert_ptr_equal(found(2, 0, 0)->parent, found(1, 0, 0));
    assert_ptr_equal(found(6, 0, 0)->parent, found(5, 0, 0));
    expect_logged("pci 02:00.0: a bridge to buses 01 to 01 makes no sense");
}

/* Behind a port there is device 0 alone: others are echoes of it. */
static void behind_a_port(void **state)
{
    (void)state;
    add_port(0, 1, 0, PCI_PORT_ROOT, 1, 0);
    add_port(0, 2, 0, PCI_PORT_DOWNSTREAM, 2, 0);
    add_port(0, 3, 0, PCI_PORT_UPSTREAM, 3, 0);
    add_port(0, 4, 0, PCI_PORT_TO_PCI, 4, 0);
    for (unsigned bus = 1; bus <= 4; bus++)
        for (unsigned device = 0; device < 32; device++)
            add(bus, device, 0, DEVICE);
    scan();
    assert_int_equal(table.count, 4 + 1 + 1 + 32 + 32);
}

/* With ARI the device's number is a part of the function's. */
static void ari(void **state)
{
    (void)state;
    struct fake_function *port = add_port(0, 1, 0, PCI_PORT_ROOT, 1, ALL_ACS);
    fake_set(port, FAKE_PCIE + 0x28, 2, 1 << 5);
    add_endpoint(1, 0, 0);
    add_endpoint(1, 0, 1);
    add_endpoint(1, 7, 3); /* function 59 */
    add_endpoint(1, 8, 0);
    add_endpoint(1, 8, 1);
    fake_at(at(1, 8, 0))->now[PCI_HEADER] = 0; /* only function 0 says that there are others */
    scan();
    assert_int_equal(table.count, 6);
    assert_int_equal(found(1, 8, 1)->group, found(1, 0, 0)->group);
    assert_int_equal(found(1, 7, 3)->group, found(1, 0, 0)->group);
    assert_int_equal(found(1, 0, 1)->group, found(1, 0, 0)->group);
    assert_int_not_equal(found(1, 0, 0)->group, found(0, 1, 0)->group);
    assert_int_equal(fake_get(fake_at(at(1, 7, 3)), PCI_COMMAND, 2), 0x0403);
}

/* --- bus mastering ---------------------------------------------------------------------------- */

static void mastering(void **state)
{
    static const struct {
        uint32_t class;
        bool kept;
    } rows[] = {{0x000000, false}, {0x010601, false}, {0x020000, false}, {0x030000, true},
                {0x038000, true},  {0x060000, true},  {0x060100, true},  {0x060400, true},
                {0x068000, true},  {0x080600, true},  {0x080500, false}, {0x0c0330, false},
                {0xff0000, false}};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        add(0, i, 0, rows[i].class);
    scan();
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(fake_get(&fake.f[i], PCI_COMMAND, 2), rows[i].kept ? 0x0407 : 0x0403);
        assert_int_equal(fake_get(&fake.f[i], PCI_STATUS, 2), 0xf900); /* errors stay */
    }
}

/* It is nobody's: not sized, not reset. */
static void iommu(void **state)
{
    (void)state;
    add_port(0, 1, 0, PCI_PORT_ROOT, 1, ALL_ACS);
    struct fake_function *f = add(1, 0, 0, 0x080600);
    fake_set(f, PCI_BAR0, 4, 0xfed80000);
    fake_let(f, PCI_BAR0, 4, 0xffffc000);
    scan();
    assert_int_equal(found(1, 0, 0)->bar[0].address, 0xfed80000);
    assert_int_equal(found(1, 0, 0)->bar[0].size, 0);
    assert_int_equal(found(1, 0, 0)->reset, PCI_RESET_NONE);
}

/* --- BARs ------------------------------------------------------------------------------------- */

struct bar_row {
    const char *name;
    uint64_t now, writable; /* of registers 10h to 17h, or of 14h to 24h where AT says so */
    struct pci_bar expected;
    unsigned at;
    bool senseless;
};

#define MEM(a, s)                                                                                  \
    {                                                                                              \
        .kind = PCI_BAR_MEMORY, .address = a, .size = s                                            \
    }
#define MEM_P(a, s)                                                                                \
    {                                                                                              \
        .kind = PCI_BAR_MEMORY, .address = a, .size = s, .prefetchable = true                      \
    }
#define WIDE(a, s)                                                                                 \
    {                                                                                              \
        .kind = PCI_BAR_MEMORY, .address = a, .size = s, .wide = true                              \
    }
#define WIDE_P(a, s)                                                                               \
    {                                                                                              \
        .kind = PCI_BAR_MEMORY, .address = a, .size = s, .wide = true, .prefetchable = true        \
    }
#define IO(a, s)                                                                                   \
    {                                                                                              \
        .kind = PCI_BAR_IO, .address = a, .size = s                                                \
    }

static const struct bar_row bar_rows[] = {
    {"none", 0, 0, {0}, 0, false},
    {"16 bytes", 0xfe000010, 0xfffffff0, MEM(0xfe000010, 16), 0, false},
    {"4K", 0xfe001000, 0xfffff000, MEM(0xfe001000, 4096), 0, false},
    {"below 1 MiB", 0x000c0002, 0xfffe0000, MEM(0xc0000, 0x20000), 0, false},
    {"not placed", 0, 0xfff00000, MEM(0, 1 << 20), 0, false},
    {"prefetchable", 0xe0000008, 0xfc000000, MEM_P(0xe0000000, 64 << 20), 0, false},
    {"2G", 0x80000000, 0x80000000, MEM(0x80000000, 1ull << 31), 0, false},
    {"64 bits", 0x38fe004004, 0xffffffffffffc000, WIDE(0x38fe004000, 16384), 0, false},
    {"64 bits, low", 0xfe004004, 0xffffffffffffc000, WIDE(0xfe004000, 16384), 0, false},
    {"64 bits, prefetchable", 0x400000000c, 0xfffffffff0000000, WIDE_P(0x4000000000, 256 << 20), 0,
     false},
    {"64 bits, 4G", 0x4000000004, 0xffffffff00000000, WIDE(0x4000000000, 4ull << 30), 0, false},
    {"64 bits, 64G", 0x400000000c, 0xfffffff000000000, WIDE_P(0x4000000000, 64ull << 30), 0, false},
    {"64 bits, not there", 4, 0, {0}, 0, false},
    {"I/O", 0xc001, 0xffffffe0, IO(0xc000, 32), 0, false},
    {"I/O of 16 bits", 0xc001, 0xff00, IO(0xc000, 256), 0, false},
    {"I/O, 4 bytes, not placed", 1, 0xfffffffc, IO(0, 4), 0, false},
    {"the last", 0xfe001000, 0xfffff000, MEM(0xfe001000, 4096), 5, false},
    {"the last I/O", 0xe001, 0xfffffffc, IO(0xe000, 4), 5, false},
    {"64 bits in the last two", 0x38fe004004, 0xffffffffffffc000, WIDE(0x38fe004000, 16384), 4,
     false},
    {"64 bits in the last", 0xfe004004, 0xffffc000, {0}, 5, true},
    {"of type 3", 0xfe000006, 0xfffff000, {0}, 0, true},
    {"of ones", 0xffffffff, 0, {0}, 0, true},
    {"bits with a gap", 0xfe000000, 0xfff0f000, {0}, 0, true},
    {"bits that end early", 0x0e000000, 0x0ffff000, {0}, 0, true},
    {"64 bits that end early", 0x38fe004004, 0x000000ffffffc000, {0}, 0, true},
    {"64 bits with a gap", 0x38fe004004, 0xfffffff0ffffc000, {0}, 0, true},
    {"fixed", 0xfec00000, 0, {0}, 0, true},
    {"I/O, fixed", 0x1f1, 0, {0}, 0, true},
    {"I/O too large", 1, 0xfffe0000, {0}, 0, true},
};

static void expect_bar(const struct bar_row *row, const struct pci_bar *bar)
{
    const struct pci_bar *e = &row->expected;
    if (bar->kind != e->kind || bar->address != e->address || bar->size != e->size ||
        bar->wide != e->wide || bar->prefetchable != e->prefetchable)
        fail_msg("%s: kind %u, 0x%lx+0x%lx", row->name, bar->kind, bar->address, bar->size);
}

static void bars(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(bar_rows); i++) {
        const struct bar_row *row = &bar_rows[i];
        static struct fake_function before;
        unsigned size = row->at == 5 ? 4 : 8;
        reset(state);
        struct fake_function *f = add(0, 1, 0, DEVICE);
        memcpy(&f->now[PCI_BAR0 + 4 * row->at], &row->now, size);
        memcpy(&f->writable[PCI_BAR0 + 4 * row->at], &row->writable, size);
        before = *f;
        scan();
        expect_bar(row, &found(0, 1, 0)->bar[row->at]);
        if (row->expected.wide)
            assert_int_equal(found(0, 1, 0)->bar[row->at + 1].kind, PCI_BAR_NONE);
        if ((strstr(host_log, "makes no sense") != NULL) != row->senseless)
            fail_msg("%s: %s", row->name, host_log);
        fake_set(&before, PCI_COMMAND, 2, 0x0403);
        assert_memory_equal(f->now, before.now, sizeof(f->now));
        assert_int_equal(fake.hot, 0);
    }
}

/* An address bit that writing ones has cleared. */
static void bar_that_changes(void **state)
{
    (void)state;
    struct fake_function *f = add(0, 1, 0, DEVICE);
    fake_set(f, PCI_BAR0, 4, 0xfe001000);
    fake_let(f, PCI_BAR0, 4, 0xffff0000);
    f->cleared_by_1[PCI_BAR0 + 1] = 0x10;
    scan();
    assert_int_equal(found(0, 1, 0)->bar[0].kind, PCI_BAR_NONE);
    expect_logged("pci 00:01.0: BAR 0 makes no sense");
}

static void six_bars(void **state)
{
    (void)state;
    struct fake_function *f = add(0, 1, 0, DEVICE);
    for (unsigned i = 0; i < 6; i++) {
        fake_set(f, PCI_BAR0 + 4 * i, 4, 0xfe000000 + 0x10000 * i);
        fake_let(f, PCI_BAR0 + 4 * i, 4, 0xffff0000);
    }
    scan();
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(found(0, 1, 0)->bar[i].address, 0xfe000000 + 0x10000 * i);
}

static void roms(void **state)
{
    static const struct {
        uint32_t now, writable;
        uint64_t address, size;
        bool senseless;
    } rows[] = {
        {0, 0, 0, 0, false},
        {0xfeb60000, 0xffff0001, 0xfeb60000, 0x10000, false},
        {0xfeb60001, 0xffff0001, 0xfeb60000, 0x10000, false}, /* enabled, and stays so */
        {0, 0xfffff801, 0, 2048, false},
        {0, 0xff000000, 0, 16 << 20, false},
        {0, 0xfe000000, 0, 0, true}, /* too large */
        {0xffffffff, 0, 0, 0, true},
        {0, 0xff0f0000, 0, 0, true},
        {0xfeb60001, 0, 0, 0, true},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        reset(state);
        struct fake_function *f = add(0, 1, 0, DEVICE);
        fake_set(f, PCI_ROM, 4, rows[i].now);
        fake_let(f, PCI_ROM, 4, rows[i].writable);
        scan();
        const struct pci_bar *rom = &found(0, 1, 0)->rom;
        assert_int_equal(rom->kind, rows[i].size == 0 ? PCI_BAR_NONE : PCI_BAR_MEMORY);
        assert_int_equal(rom->address, rows[i].address);
        assert_int_equal(rom->size, rows[i].size);
        assert_int_equal(fake_get(f, PCI_ROM, 4), rows[i].now);
        assert_int_equal(strstr(host_log, "ROM 0 makes no sense") != NULL, rows[i].senseless);
        assert_int_equal(fake.hot, 0);
    }
}

/* A bridge's decoding is not touched, nor that of what is no device; their addresses are read. */
static void not_sized(void **state)
{
    static const uint32_t classes[] = {HOST_BRIDGE, PCI_BRIDGE, 0x068000};
    for (unsigned i = 0; i < ARRAY_SIZE(classes); i++) {
        static struct fake_function before;
        reset(state);
        struct fake_function *f = add(0, 1, 0, classes[i]);
        f->now[PCI_HEADER] = classes[i] == PCI_BRIDGE ? 1 : 0;
        fake_set(f, PCI_BAR0, 4, 0xfe000004);
        fake_set(f, PCI_BAR0 + 4, 4, 0x38);
        memset(&f->writable[PCI_BAR0], 0xff, 0x30);
        before = *f;
        scan();
        fake_set(&before, PCI_COMMAND, 2, 0x0407); /* no INTx */
        assert_memory_equal(f->now, before.now, sizeof(f->now));
        const struct pci_bar *bar = &found(0, 1, 0)->bar[0];
        assert_true(bar->kind == PCI_BAR_MEMORY && bar->wide && bar->size == 0);
        assert_int_equal(bar->address, 0x38fe000000);
        assert_int_equal(fake.hot, 0);
        assert_string_equal(host_log, "");
    }
}

/* A device that goes on decoding is not asked for sizes. */
static void cannot_be_sized(void **state)
{
    (void)state;
    struct fake_function *f = add(0, 1, 0, DEVICE);
    f->writable[PCI_COMMAND] = 4;
    fake_set(f, PCI_BAR0, 4, 0xfe000000);
    fake_let(f, PCI_BAR0, 4, 0xfff00000);
    scan();
    assert_int_equal(fake.hot, 0);
    assert_int_equal(found(0, 1, 0)->bar[0].kind, PCI_BAR_MEMORY);
    assert_int_equal(found(0, 1, 0)->bar[0].address, 0xfe000000);
    assert_int_equal(found(0, 1, 0)->bar[0].size, 0);
}

/* Decoding is as it was, whatever that was. */
static void decoding_stays(void **state)
{
    for (unsigned command = 0; command < 4; command++) {
        reset(state);
        struct fake_function *f = add(0, 1, 0, DISPLAY);
        fake_set(f, PCI_COMMAND, 2, 0x0144 | command);
        fake_set(f, PCI_BAR0, 4, 0xfe000000);
        fake_let(f, PCI_BAR0, 4, 0xfff00000);
        scan();
        assert_int_equal(fake_get(f, PCI_COMMAND, 2), 0x0544 | command);
        assert_int_equal(found(0, 1, 0)->bar[0].size, 1 << 20);
    }
}

/* --- capabilities ----------------------------------------------------------------------------- */

static void capabilities(void **state)
{
    (void)state;
    struct fake_function *f = add_endpoint(0, 1, 0);
    fake_cap(f, 0x01, 0x80);
    fake_cap(f, 0x13, 0x90);
    fake_cap(f, 0x05, 0xa0);
    fake_cap(f, 0x11, 0xb0);
    fake_cap(f, 0x09, 0xc0);
    fake_cap(f, 0x05, 0xd0); /* a second one does not count */
    fake_acs(f, 0x0c);
    fake_extended(f, 0x0f, 0x140);
    fake_extended(f, 0x13, 0x150);
    fake_extended(f, 0x1b, 0x160);
    fake_extended(f, 0x10, 0xfc0);
    f->now[0x41] |= 3; /* the two lowest bits of a pointer do not count */
    scan();
    const struct pci_function *p = found(0, 1, 0);
    assert_int_equal(p->pcie, 0x40);
    assert_int_equal(p->pm, 0x80);
    assert_int_equal(p->af, 0x90);
    assert_int_equal(p->msi, 0xa0);
    assert_int_equal(p->msix, 0xb0);
    assert_int_equal(p->acs, 0x100);
    assert_int_equal(p->ats, 0x140);
    assert_int_equal(p->pri, 0x150);
    assert_int_equal(p->pasid, 0x160);
    assert_int_equal(p->sriov, 0xfc0);
    assert_string_equal(host_log, "");
}

/* "ATS Control Register" and the like: as firmware may have left them, and as they are to be. */
static void translation_is_off(void **state)
{
    (void)state;
    struct fake_function *f = add_endpoint(0, 1, 0);
    unsigned ats = fake_extended(f, 0x0f, 0x100) + 6, pri = fake_extended(f, 0x13, 0x110) + 4;
    unsigned pasid = fake_extended(f, 0x1b, 0x120) + 6;
    fake_set(f, ats, 2, 0x8005);
    fake_let(f, ats, 2, 0x801f);
    fake_set(f, pri, 2, 1);
    fake_let(f, pri, 2, 3);
    fake_set(f, pasid, 2, 7);
    fake_let(f, pasid, 2, 7);
    scan();
    assert_int_equal(fake_get(f, ats, 2), 0x0005);
    assert_int_equal(fake_get(f, pri, 2), 0);
    assert_int_equal(fake_get(f, pasid, 2), 6);
}

static void no_list(void **state)
{
    (void)state;
    struct fake_function *f = add_endpoint(0, 1, 0);
    f->now[PCI_STATUS] &= (uint8_t) ~(1 << 4);
    scan();
    assert_int_equal(found(0, 1, 0)->pcie, 0);
    assert_int_equal(found(0, 1, 0)->port, PCI_PORT_CONVENTIONAL);
}

/* In circles, into the header, or to nothing: what was before that counts. */
static void broken_lists(void **state)
{
    static const uint8_t next[] = {0x40, 0x80, 0x3c, 0x04, 0xfc};
    for (unsigned i = 0; i < ARRAY_SIZE(next); i++) {
        reset(state);
        struct fake_function *f = add_endpoint(0, 1, 0);
        fake_cap(f, 0x01, 0x80);
        f->now[0x81] = next[i];
        f->now[0xfc] = 0xff;
        scan();
        assert_int_equal(found(0, 1, 0)->pcie, 0x40);
        assert_int_equal(found(0, 1, 0)->pm, 0x80);
        expect_logged("its list of capabilities makes no sense");
        assert_true(fake.reads < 20000); /* of which 8192 look for functions */
    }
}

/* What does not fit into the space of capabilities is not there. */
static void beyond_the_end(void **state)
{
    static const struct {
        unsigned id, at, word;
        bool fits;
    } rows[] = {
        {0x01, 0xf8, 0, true},      {0x01, 0xfc, 0, false},     {0x05, 0xf4, 0, true},
        {0x05, 0xf8, 0, false},     {0x05, 0xf0, 0x80, true},   {0x05, 0xf4, 0x80, false},
        {0x05, 0xec, 0x100, true},  {0x05, 0xf0, 0x100, false}, {0x05, 0xe8, 0x180, true},
        {0x05, 0xec, 0x180, false}, {0x10, 0xf4, 1, true},      {0x10, 0xf8, 1, false},
        {0x10, 0xd4, 2, true},      {0x10, 0xd8, 2, false},     {0x11, 0xf4, 0, true},
        {0x11, 0xf8, 0, false},     {0x13, 0xf8, 0, true},      {0x13, 0xfc, 0, false},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        reset(state);
        struct fake_function *f = add(0, 1, 0, DEVICE);
        fake_set(f, fake_cap(f, rows[i].id, rows[i].at) + 2, 2, rows[i].word);
        scan();
        const struct pci_function *p = found(0, 1, 0);
        unsigned sum = 0u + p->pm + p->msi + p->pcie + p->msix + p->af;
        assert_int_equal(sum, rows[i].fits ? rows[i].at : 0);
    }
}

static void broken_extended(void **state)
{
    static const struct {
        uint32_t entry, next;
        bool logged;
    } rows[] = {
        {0x1000000f, 0, true},          /* to itself */
        {0x14010001, 0x10010002, true}, /* in a circle */
        {0x0ff10001, 0, true},          /* below 100h */
        {0x14010001, UINT32_MAX, true}, /* to nothing */
        {0x14010001, 0, false},         {0x1400000f, 0x0001000f, false},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        reset(state);
        struct fake_function *f = add_endpoint(0, 1, 0);
        fake_set(f, 0x100, 4, rows[i].entry);
        fake_set(f, 0x140, 4, rows[i].next);
        scan();
        assert_int_equal(found(0, 1, 0)->ats, (rows[i].entry & 0xffff) == 0x0f ? 0x100 : 0);
        assert_int_equal(strstr(host_log, "makes no sense") != NULL, rows[i].logged);
        assert_true(fake.reads < 20000);
    }
    reset(state);
    fake_extended(add_endpoint(0, 1, 0), 0x10, 0xfc4); /* SR-IOV takes 64 bytes */
    fake_set(&fake.f[0], 0x100, 4, 0xfc410002);
    scan();
    assert_int_equal(found(0, 1, 0)->sriov, 0);
}

/* Extended registers are only asked for where they can be. */
static void no_extended(void **state)
{
    (void)state;
    fake_acs(add(0, 1, 0, DEVICE), 0x0c); /* conventional */
    add_port(0, 2, 0, PCI_PORT_TO_PCI, 1, 0);
    fake_acs(add_endpoint(1, 0, 0), 0x0c);
    add_bridge(0, 3, 0, 2, 2);
    fake_acs(add_endpoint(2, 0, 0), 0x0c);
    scan();
    assert_int_equal(found(0, 1, 0)->acs, 0);
    assert_int_equal(found(1, 0, 0)->acs, 0);
    assert_int_equal(found(2, 0, 0)->acs, 0);
    reset(state);
    fake.no_ecam = true;
    fake_acs(add_endpoint(0, 1, 0), 0x0c);
    scan();
    assert_int_equal(found(0, 1, 0)->acs, 0);
    assert_string_equal(host_log, "");
}

static void virtual_functions(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct fake_function *f = add_endpoint(0, i, 0);
        fake_extended(f, 0x10, 0x100);
        fake_set(f, 0x108, 2, i == 0 ? 0x10 : 0x19);
        fake_let(f, 0x108, 2, 0x1f);
    }
    scan();
    assert_false(found(0, 0, 0)->virtual_functions);
    assert_true(found(0, 1, 0)->virtual_functions);
    assert_int_equal(fake_get(&fake.f[0], 0x108, 2), 0x10);
    assert_int_equal(fake_get(&fake.f[1], 0x108, 2), 0x10);
}

/* Of ACS what isolates is turned on, and what makes exceptions is turned off. */
static void acs_control(void **state)
{
    (void)state;
    struct fake_function *f = add_port(0, 1, 0, PCI_PORT_ROOT, 1, 0x7f);
    fake_set(f, 0x106, 2, 0x60);
    scan();
    assert_int_equal(fake_get(f, 0x106, 2), 0x1f);
}

/* --- groups ----------------------------------------------------------------------------------- */

/* GROUPS: of the functions in the order of the table. */
static void expect_groups(const char *groups)
{
    char got[FAKE_MOST];
    scan();
    assert_int_equal(table.count, strlen(groups));
    for (unsigned i = 0; i < table.count; i++)
        got[i] = (char)('a' + table.f[i].group);
    got[table.count] = '\0';
    assert_string_equal(got, groups);
}

static void groups_of_a_root_bus(void **state)
{
    (void)state;
    add(0, 0, 0, HOST_BRIDGE);
    add(0, 1, 0, DEVICE); /* conventional, alone */
    add(0, 2, 0, DEVICE); /* conventional, of three */
    add(0, 2, 1, DEVICE);
    add(0, 2, 5, DEVICE);
    add_endpoint(0, 3, 0);
    add_endpoint(0, 4, 0); /* with other functions, and no ACS */
    add_endpoint(0, 4, 1);
    fake_acs(add_endpoint(0, 5, 0), 0x0c); /* with ACS */
    fake_acs(add_endpoint(0, 5, 1), 0x0c);
    fake_acs(add_endpoint(0, 6, 0), 0x0c);
    add_endpoint(0, 6, 1); /* of three, two without */
    add_endpoint(0, 6, 2);
    expect_groups("abcccdeefghii");
}

static void groups_behind_ports(void **state)
{
    (void)state;
    add_port(0, 1, 0, PCI_PORT_ROOT, 1, ALL_ACS);
    add_port(0, 2, 0, PCI_PORT_ROOT, 2, 0);
    add_port(0, 3, 0, PCI_PORT_ROOT, 3, 0x03); /* it never redirects: it has no peers */
    add_port(0, 4, 0, PCI_PORT_ROOT, 4, 0x1c); /* no source validation */
    add_endpoint(1, 0, 0);
    add_endpoint(2, 0, 0);
    add_endpoint(3, 0, 0);
    add_endpoint(4, 0, 0);
    expect_groups("abcdebfd");
}

/* Root ports that are functions of one device. */
static void groups_of_one_root_complex(void **state)
{
    add_port(0, 1, 0, PCI_PORT_ROOT, 1, 0);
    add_port(0, 1, 1, PCI_PORT_ROOT, 2, 0);
    add_port(0, 1, 2, PCI_PORT_ROOT, 3, ALL_ACS);
    add_endpoint(1, 0, 0);
    add_endpoint(2, 0, 0);
    add_endpoint(3, 0, 0);
    expect_groups("aabaac");
    reset(state);
    add_port(0, 1, 0, PCI_PORT_ROOT, 1, ALL_ACS);
    add_port(0, 1, 1, PCI_PORT_ROOT, 2, ALL_ACS);
    add_endpoint(1, 0, 0);
    add_endpoint(2, 0, 0);
    expect_groups("abcd");
}

static void add_switch(unsigned acs_of_root, unsigned acs_of_ports)
{
    struct fake_function *root = add_port(0, 1, 0, PCI_PORT_ROOT, 1, acs_of_root);
    struct fake_function *up = add_port(1, 0, 0, PCI_PORT_UPSTREAM, 2, 0);
    root->now[PCI_SUBORDINATE] = up->now[PCI_SUBORDINATE] = 4;
    add_port(2, 0, 0, PCI_PORT_DOWNSTREAM, 3, acs_of_ports);
    add_port(2, 1, 0, PCI_PORT_DOWNSTREAM, 4, acs_of_ports);
    add_endpoint(3, 0, 0);
    add_endpoint(4, 0, 0);
}

/* In the order: root port, upstream port, two downstream ports, their devices. */
static void groups_behind_a_switch(void **state)
{
    static const struct {
        unsigned root, ports;
        const char *groups;
    } rows[] = {
        {ALL_ACS, ALL_ACS, "abcdef"},
        {ALL_ACS, 0, "abcdcd"},
        {ALL_ACS, 0x1e, "abcdcd"}, /* each of the four must be there */
        {ALL_ACS, 0x1b, "abcdcd"},
        {ALL_ACS, 0x17, "abcdcd"},
        {ALL_ACS, 0x0f, "abcdcd"},
        {ALL_ACS, 0x1d, "abcdef"}, /* blocking of translated requests is not one */
        {0, ALL_ACS, "aaaaaa"},
        {0, 0, "aaaaaa"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        reset(state);
        add_switch(rows[i].root, rows[i].ports);
        expect_groups(rows[i].groups);
    }
}

/* A conventional bus is one group with its bridge, and all that is behind that. */
static void groups_of_conventional_buses(void **state)
{
    add_port(0, 1, 0, PCI_PORT_ROOT, 1, ALL_ACS)->now[PCI_SUBORDINATE] = 3;
    add_port(1, 0, 0, PCI_PORT_TO_PCI, 2, 0)->now[PCI_SUBORDINATE] = 3;
    add(2, 3, 0, DEVICE);
    add(2, 4, 0, DEVICE);
    add_bridge(2, 5, 0, 3, 3);
    add(3, 0, 0, DEVICE);
    expect_groups("abbbbb");
    reset(state);
    add(0, 1, 0, DEVICE);
    add_bridge(0, 0x1e, 0, 1, 1);
    add(1, 0, 0, DEVICE);
    add(1, 1, 0, DEVICE);
    add(1, 1, 1, DEVICE);
    expect_groups("abbbb");
    reset(state);
    struct fake_function *cardbus = add(0, 1, 0, 0x060700);
    fake_bridge(cardbus, 1, 4);
    cardbus->now[PCI_HEADER] = 2;
    add(1, 0, 0, DEVICE);
    expect_groups("aa");
}

/* ACS that does not stay on is none. */
static void groups_of_stubborn_ports(void **state)
{
    (void)state;
    struct fake_function *f = add_port(0, 1, 0, PCI_PORT_ROOT, 1, ALL_ACS);
    fake_let(f, 0x106, 2, 0x0f);
    add_endpoint(1, 0, 0);
    expect_groups("aa");
}

static void expect_requester(struct pci_bdf of, struct pci_bdf is)
{
    struct pci_bdf got = pci_requester(pci_find(&table, of));
    if (!pci_same_bdf(got, is))
        fail_msg("%s: %s", pci_name(of).text, pci_name(got).text);
}

static void requesters(void **state)
{
    (void)state;
    add(0, 2, 0, DEVICE);
    add_port(0, 1, 0, PCI_PORT_ROOT, 1, ALL_ACS)->now[PCI_SUBORDINATE] = 4;
    add_port(1, 0, 0, PCI_PORT_TO_PCI, 2, 0)->now[PCI_SUBORDINATE] = 4;
    add(2, 3, 0, DEVICE);
    add_bridge(2, 5, 0, 3, 4);
    add(3, 0, 0, DEVICE);
    add(3, 0, 1, DEVICE);
    add_port(0, 3, 0, PCI_PORT_ROOT, 5, 0);
    add_endpoint(5, 0, 0);
    add_bridge(0, 0x1e, 0, 6, 7);
    add(6, 1, 0, DEVICE);
    add_port(6, 2, 0, PCI_PORT_FROM_PCI, 7, 0);
    add_endpoint(7, 0, 0);
    add_port(0, 0x1f, 0, PCI_PORT_FROM_PCI, 8, 0);
    add_endpoint(8, 0, 0);
    scan();
    expect_requester(at(8, 0, 0), at(0, 0x1f, 0));
    expect_requester(at(0, 2, 0), at(0, 2, 0));
    expect_requester(at(5, 0, 0), at(5, 0, 0));
    expect_requester(at(2, 3, 0), at(2, 0, 0));
    expect_requester(at(3, 0, 1), at(2, 0, 0));
    expect_requester(at(6, 1, 0), at(0, 0x1e, 0));
    expect_requester(at(7, 0, 0), at(0, 0x1e, 0));
    expect_requester(at(1, 0, 0), at(1, 0, 0));
}

/* --- resets ----------------------------------------------------------------------------------- */

static void add_flr(struct fake_function *f)
{
    fake_set(f, FAKE_PCIE + 4, 4, 1 << 28);
}

static void add_af(struct fake_function *f)
{
    fake_set(f, fake_cap(f, 0x13, FAKE_AF) + 2, 2, 0x0306);
}

static void add_pm(struct fake_function *f, bool soft_reset)
{
    unsigned reg = fake_cap(f, 0x01, FAKE_PM) + 4;
    fake_set(f, reg, 2, 0x8000 | (soft_reset ? 0 : 8));
    fake_let(f, reg, 2, 0x0103);
    memset(&f->cleared_by_1[reg + 1], 0x80, 1);
}

static void expect_reset(enum pci_reset_method method, const unsigned *count, unsigned least)
{
    struct fake_function *f = fake_at(at(1, 0, 0));
    scan();
    assert_int_equal(found(1, 0, 0)->reset, method);
    fake_set(f, PCI_BAR0, 4, 0xfe000000);
    fake_set(f, PCI_COMMAND, 2, 7);
    fake.waited = 0;
    assert_int_equal(pci_reset(found(1, 0, 0), fake_delay), 0);
    assert_int_equal(fake.flr + fake.af + fake.d3 + fake.buses, 1);
    assert_int_equal(*count, 1);
    assert_false(f->gone || f->held);
    assert_int_equal(fake_get(f, PCI_BAR0, 4), 0);
    assert_true(fake.waited >= least);
}

static struct fake_function *begin_reset(void **state, bool express)
{
    reset(state);
    add_port(0, 1, 0, PCI_PORT_ROOT, 1, ALL_ACS);
    return express ? add_endpoint(1, 0, 0) : add(1, 0, 0, DEVICE);
}

/* The waits are those of the specifications, in microseconds. */
static void reset_methods(void **state)
{
    struct fake_function *f = begin_reset(state, true);
    add_flr(f);
    add_af(f);
    add_pm(f, true);
    expect_reset(PCI_RESET_FLR, &fake.flr, 100000);
    f = begin_reset(state, false);
    add_af(f);
    add_pm(f, true);
    expect_reset(PCI_RESET_AF, &fake.af, 100000);
    f = begin_reset(state, true);
    add_pm(f, true);
    add_endpoint(1, 0, 1);
    expect_reset(PCI_RESET_PM, &fake.d3, 20000);
    assert_int_equal(fake_get(f, FAKE_PM + 4, 2), 0x8000);
    f = begin_reset(state, true);
    add_pm(f, true);
    expect_reset(PCI_RESET_BUS, &fake.buses, 101000);
    f = begin_reset(state, true);
    add_pm(f, false);
    expect_reset(PCI_RESET_BUS, &fake.buses, 101000);
    assert_int_equal(fake_get(&fake.f[0], PCI_BRIDGE_CONTROL, 2), 0);
    begin_reset(state, false); /* whatever it says of itself, a link leads to it */
    expect_reset(PCI_RESET_BUS, &fake.buses, 101000);
    assert_true(fake.waited < 1000000);
    reset(state);
    add_bridge(0, 1, 0, 1, 1);
    add(1, 0, 0, DEVICE);
    expect_reset(PCI_RESET_BUS, &fake.buses, 1001000);
}

/* One that is not there any more costs little, where its port shows that. */
static void reset_of_what_is_gone(void **state)
{
    struct fake_function *f = begin_reset(state, true);
    add_flr(f);
    scan();
    f->gone = true;
    fake_set(&fake.f[0], FAKE_PCIE + 0x0c, 4, 1 << 20);
    assert_int_equal(pci_reset(found(1, 0, 0), fake_delay), -EIO);
    expect_logged("pci 01:00.0: its link is down: it cannot be reset");
    assert_int_equal(fake.waited, 0);
    fake.f[0].gone = true; /* and its port */
    assert_int_equal(pci_reset(found(1, 0, 0), fake_delay), -EIO);
    assert_int_equal(fake.waited, 0);
    f = begin_reset(state, true); /* a new one in its place may need the reset of its link */
    fake_set(&fake.f[0], FAKE_PCIE + 0x0c, 4, 1 << 20);
    scan();
    f->gone = true;
    assert_int_equal(pci_reset(found(1, 0, 0), fake_delay), -EIO);
    expect_logged("pci 01:00.0: its link is down after its reset");
    assert_int_equal(fake.buses, 1);
    assert_true(fake.waited >= 1000000 && fake.waited < 1500000);
    f = begin_reset(state, true); /* it answers, whatever its port says */
    add_flr(f);
    scan();
    fake_set(&fake.f[0], FAKE_PCIE + 0x0c, 4, 1 << 20);
    assert_int_equal(pci_reset(found(1, 0, 0), fake_delay), 0);
    assert_int_equal(fake.flr, 1);
    f = begin_reset(state, true); /* its link is up: it may yet come */
    add_flr(f);
    scan();
    fake_set(&fake.f[0], FAKE_PCIE + 0x0c, 4, 1 << 20);
    fake_set(&fake.f[0], FAKE_PCIE + 0x12, 2, 1 << 13);
    f->gone = true;
    f->returns = 5000;
    assert_int_equal(pci_reset(found(1, 0, 0), fake_delay), 0);
}

/* It would take from another function what that one's owner has made of it. */
static void reset_of_a_bus(void **state)
{
    begin_reset(state, true);
    expect_reset(PCI_RESET_BUS, &fake.buses, 100000);
    add_pm(begin_reset(state, true), false);
    add_endpoint(1, 0, 1); /* another function of the device */
    scan();
    assert_int_equal(found(1, 0, 0)->reset, PCI_RESET_NONE);
    assert_int_equal(found(1, 0, 1)->reset, PCI_RESET_NONE);
    reset(state);
    add_bridge(0, 1, 0, 1, 1);
    add(1, 0, 0, DEVICE);
    add(1, 5, 0, DEVICE); /* another device */
    add(0, 2, 0, DEVICE); /* no bridge */
    scan();
    assert_int_equal(found(1, 0, 0)->reset, PCI_RESET_NONE);
    assert_int_equal(found(0, 2, 0)->reset, PCI_RESET_NONE);
    assert_int_equal(found(0, 1, 0)->reset, PCI_RESET_NONE);
    assert_int_equal(pci_reset(found(1, 0, 0), fake_delay), -ENODEV);
    assert_int_equal(fake.buses, 0);
}

/* What there was no room for may be on the bus, too. */
static void no_reset_of_a_bus_half_known(void **state)
{
    (void)state;
    add_bridge(0, 0, 0, 200, 200);
    for (unsigned i = 8; i < 262; i++)
        add(i / 256, i / 8 % 32, i % 8, DEVICE);
    add(200, 0, 0, DEVICE);
    add(200, 1, 0, DEVICE);
    scan();
    assert_int_equal(table.count, 256);
    assert_int_equal(table.left_out, 1);
    assert_int_equal(found(200, 0, 0)->reset, PCI_RESET_NONE);
}

/* The 100 ms begin when the link is up, where the port has shown that it was; not for ever. */
static void reset_of_a_link(void **state)
{
    static const struct {
        unsigned trains, waited;
    } cases[] = {{0, 102000}, {50, 152000}, {1000000, 1102000}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        begin_reset(state, true);
        fake.f[0].trains = cases[i].trains;
        fake_set(&fake.f[0], FAKE_PCIE + 0x0c, 4, 1 << 20);
        fake_set(&fake.f[0], FAKE_PCIE + 0x12, 2, cases[i].trains != 0 ? 1 << 13 : 0);
        expect_reset(PCI_RESET_BUS, &fake.buses, cases[i].waited);
        assert_true(fake.waited < cases[i].waited + 5000);
    }
}

/* Pending transactions are waited for, not for ever; so is a device that is away. */
static void reset_takes_long(void **state)
{
    struct fake_function *f = begin_reset(state, true);
    add_flr(f);
    fake_set(f, FAKE_PCIE + 0x0a, 2, 1 << 5);
    expect_reset(PCI_RESET_FLR, &fake.flr, 200000);
    expect_logged("pci 01:00.0: transactions are pending");
    f = begin_reset(state, true);
    add_flr(f);
    scan();
    f->gone = true; /* for good */
    assert_int_equal(pci_reset(found(1, 0, 0), fake_delay), -EIO);
    expect_logged("pci 01:00.0: it does not answer 10 s after its reset");
    assert_true(fake.waited >= 10000000 && fake.waited < 12000000);
    f = begin_reset(state, true);
    add_flr(f);
    scan();
    fake_set(f, PCI_VENDOR, 4, 0xffff0001); /* "ask again" */
    assert_int_equal(pci_reset(found(1, 0, 0), fake_delay), -EIO);
}

/* Decoding and bus mastering are off before the reset. */
static void silent_before_the_reset(void **state)
{
    struct fake_function *f = begin_reset(state, true);
    add_flr(f);
    scan();
    fake_set(f, PCI_COMMAND, 2, 7);
    assert_int_equal(pci_reset(found(1, 0, 0), fake_delay), 0);
    assert_int_equal(fake_get(f, PCI_COMMAND, 2), 0x0400);
}

/* BARs, what the ports before it expect of it, and what its group rests on. */
static void restored_after_the_reset(void **state)
{
    enum { SOURCE_AND_MORE = 0x1d, WORDS = 6 };
    struct fake_function *f = begin_reset(state, true);
    struct pci_saved saved;
    add_flr(f);
    fake_acs(f, SOURCE_AND_MORE);
    fake_let(f, FAKE_PCIE + 8, 2, 0xffff);
    fake_set(f, FAKE_PCIE + 8, 2, 0x5936); /* payloads of 256 bytes */
    scan();
    for (unsigned i = 0; i < WORDS; i++) {
        fake_let(f, PCI_BAR0 + 4 * i, 4, UINT32_MAX);
        fake_set(f, PCI_BAR0 + 4 * i, 4, 0xfe000000 + i * 0x10000);
    }
    pci_save(found(1, 0, 0), &saved);
    assert_int_equal(pci_reset(found(1, 0, 0), fake_delay), 0);
    assert_int_equal(fake_get(f, FAKE_PCIE + 8, 2), 0x2810);
    pci_restore(found(1, 0, 0), &saved);
    for (unsigned i = 0; i < WORDS; i++)
        assert_int_equal(fake_get(f, PCI_BAR0 + 4 * i, 4), 0xfe000000 + i * 0x10000);
    assert_int_equal(fake_get(f, FAKE_PCIE + 8, 2), 0x5936);
    assert_int_equal(fake_get(f, 0x106, 2), SOURCE_AND_MORE);
    assert_int_equal(fake.flr, 1);
}

/* --- MCFG ------------------------------------------------------------------------------------- */

static struct __attribute__((packed)) {
    uint8_t head[44];
    struct __attribute__((packed)) {
        uint64_t base;
        uint16_t segment;
        uint8_t first, last;
        uint32_t reserved;
    } entry[40];
} mcfg;

static bool read_mcfg(const struct firmware *firmware, uint64_t from, void *to, size_t n)
{
    (void)firmware;
    uint64_t offset = from - 0x1000;
    if (from < 0x1000 || offset > sizeof(mcfg) || n > sizeof(mcfg) - offset)
        return false;
    memcpy(to, (const char *)&mcfg + offset, n);
    return true;
}

static struct memmap map;

static void take_mcfg(uint32_t length)
{
    static const struct firmware firmware = {read_mcfg};
    host_log_reset();
    map.count = 0;
    assert_int_equal(memmap_set(&map, 0, 0xa0000, MEM_RAM), 0);
    assert_int_equal(memmap_set(&map, 0x100000, 0x80000000, MEM_RAM), 0);
    assert_int_equal(memmap_set(&map, 0xe0000000, 0xf0000000, MEM_FIRMWARE), 0);
    assert_int_equal(memmap_set(&map, 0x100000000, 0x140000000, MEM_RAM), 0);
    memset(&ecams, 0xa5, sizeof(ecams));
    acpi_ecams(&firmware, &(struct acpi_table){0x1000, length}, &map, 1ull << 40, &ecams);
}

static void put_ecam(unsigned i, uint64_t base, unsigned segment, unsigned first, unsigned last)
{
    mcfg.entry[i].base = base;
    mcfg.entry[i].segment = (uint16_t)segment;
    mcfg.entry[i].first = (uint8_t)first;
    mcfg.entry[i].last = (uint8_t)last;
}

static void expect_ecam(unsigned i, uint64_t base, unsigned segment, unsigned first, unsigned last)
{
    assert_int_equal(ecams.r[i].base, base);
    assert_int_equal(ecams.r[i].segment, segment);
    assert_int_equal(ecams.r[i].first, first);
    assert_int_equal(ecams.r[i].last, last);
}

static void mcfg_tables(void **state)
{
    (void)state;
    put_ecam(0, 0xe0000000, 0, 0, 255);
    take_mcfg(60);
    assert_int_equal(ecams.count, 1);
    expect_ecam(0, 0xe0000000, 0, 0, 255);
    assert_string_equal(host_log, "");
    for (uint32_t length = 36; length < 60; length++) {
        take_mcfg(length);
        assert_int_equal(ecams.count, 0);
    }
    put_ecam(0, 0x8000000000, 2, 0, 0x7f); /* in any order */
    put_ecam(1, 0x8010000000, 0, 0x80, 0xff);
    put_ecam(2, 0x8020000000, 2, 0x80, 0xff);
    put_ecam(3, 0x8030000000, 0, 0, 0x7f);
    take_mcfg(44 + 4 * 16);
    assert_int_equal(ecams.count, 4);
    expect_ecam(0, 0x8030000000, 0, 0, 0x7f);
    expect_ecam(1, 0x8010000000, 0, 0x80, 0xff);
    expect_ecam(2, 0x8000000000, 2, 0, 0x7f);
    expect_ecam(3, 0x8020000000, 2, 0x80, 0xff);
}

/* Each is left out, and the good one beside it stays. */
static void broken_mcfg(void **state)
{
    static const struct {
        uint64_t base;
        unsigned segment, first, last;
    } rows[] = {
        {0, 1, 0, 0},            /* over the first MiB */
        {0x08000000, 1, 0, 3},   /* over RAM */
        {0x7ff00000, 1, 0, 0},   /* the last MiB of it */
        {0x70000000, 1, 0, 255}, /* and partly */
        {0xf8000000, 1, 0, 128}, /* into RAM above 4 GiB */
        {0xc0080000, 1, 0, 0},   /* not at a MiB */
        {0xc0000001, 1, 0, 0},
        {0xc0000000, 1, 5, 4},           /* no buses */
        {0xfffff00000, 1, 0, 1},         /* beyond 2^40 */
        {0xfffffffffff00000, 1, 0, 255}, /* and beyond 2^64 */
        {0xfffffffff0000000, 1, 0x10, 0xff},
        {0xc0000000, 0, 255, 255}, /* a bus twice */
        {0xe0000000, 1, 0, 255},   /* an address twice */
        {0xd0100000, 1, 0, 255},
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        put_ecam(0, 0xe0000000, 0, 0, 255);
        put_ecam(1, rows[i].base, rows[i].segment, rows[i].first, rows[i].last);
        take_mcfg(44 + 2 * 16);
        assert_int_equal(ecams.count, 1);
        expect_ecam(0, 0xe0000000, 0, 0, 255);
        expect_logged("acpi: MCFG: 1 of its entries make no sense");
    }
    put_ecam(1, 0xfffff00000, 1, 0, 0); /* the last that fits */
    put_ecam(2, 0x80000000, 2, 0, 255);
    put_ecam(3, 0x7ff00000, 3, 1, 16); /* it begins at bus 1, over the one before */
    take_mcfg(44 + 4 * 16);
    assert_int_equal(ecams.count, 3);
    put_ecam(3, 0x8ff00000, 3, 1, 16);
    take_mcfg(44 + 4 * 16);
    assert_int_equal(ecams.count, 4);
    assert_string_equal(host_log, "");
}

static void many_ecams(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 40; i++)
        put_ecam(i, 0x8000000000 + 0x10000000ull * i, 40 - i, 0, 255);
    take_mcfg(44 + 40 * 16);
    assert_int_equal(ecams.count, PCI_MAX_ECAMS);
    expect_logged("acpi: MCFG: 8 of its entries make no sense");
    take_mcfg(1 << 20); /* longer than there is memory */
    assert_int_equal(ecams.count, PCI_MAX_ECAMS);
}

/* PCI Express Base Specification, "PCI Express Enhanced Configuration Access Mechanism (ECAM)". */
static void ecam_addresses(void **state)
{
    (void)state;
    ecams = (struct pci_ecams){{{0xe0000000, 0, 0, 63}, {0x800000000, 1, 0x10, 0x1f}}, 2};
    assert_int_equal(pci_ecam_address(&ecams, at(0, 0, 0)), 0xe0000000);
    assert_int_equal(pci_ecam_address(&ecams, at(63, 31, 7)), 0xe3fff000);
    assert_int_equal(pci_ecam_address(&ecams, at(1, 2, 3)), 0xe0113000);
    assert_int_equal(pci_ecam_address(&ecams, at(64, 0, 0)), 0);
    struct pci_bdf bdf = {1, 0x10, 0, 1};
    assert_int_equal(pci_ecam_address(&ecams, bdf), 0x801001000);
    bdf.bus = 0x0f;
    assert_int_equal(pci_ecam_address(&ecams, bdf), 0);
    bdf = (struct pci_bdf){2, 0x10, 0, 1};
    assert_int_equal(pci_ecam_address(&ecams, bdf), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(names, reset),
        cmocka_unit_test_setup(a_machine, reset),
        cmocka_unit_test_setup(multifunction, reset),
        cmocka_unit_test_setup(not_there, reset),
        cmocka_unit_test_setup(too_many, reset),
        cmocka_unit_test_setup(segments, reset),
        cmocka_unit_test_setup(bridges_of_segments, reset),
        cmocka_unit_test_setup(bridges, reset),
        cmocka_unit_test_setup(bus_between, reset),
        cmocka_unit_test_setup(senseless_bridges, reset),
        cmocka_unit_test_setup(bridges_in_circles, reset),
        cmocka_unit_test_setup(behind_a_port, reset),
        cmocka_unit_test_setup(ari, reset),
        cmocka_unit_test_setup(mastering, reset),
        cmocka_unit_test_setup(iommu, reset),
        cmocka_unit_test_setup(bars, reset),
        cmocka_unit_test_setup(bar_that_changes, reset),
        cmocka_unit_test_setup(six_bars, reset),
        cmocka_unit_test_setup(roms, reset),
        cmocka_unit_test_setup(not_sized, reset),
        cmocka_unit_test_setup(cannot_be_sized, reset),
        cmocka_unit_test_setup(decoding_stays, reset),
        cmocka_unit_test_setup(capabilities, reset),
        cmocka_unit_test_setup(translation_is_off, reset),
        cmocka_unit_test_setup(no_list, reset),
        cmocka_unit_test_setup(broken_lists, reset),
        cmocka_unit_test_setup(beyond_the_end, reset),
        cmocka_unit_test_setup(broken_extended, reset),
        cmocka_unit_test_setup(no_extended, reset),
        cmocka_unit_test_setup(virtual_functions, reset),
        cmocka_unit_test_setup(acs_control, reset),
        cmocka_unit_test_setup(groups_of_a_root_bus, reset),
        cmocka_unit_test_setup(groups_behind_ports, reset),
        cmocka_unit_test_setup(groups_of_one_root_complex, reset),
        cmocka_unit_test_setup(groups_behind_a_switch, reset),
        cmocka_unit_test_setup(groups_of_conventional_buses, reset),
        cmocka_unit_test_setup(groups_of_stubborn_ports, reset),
        cmocka_unit_test_setup(requesters, reset),
        cmocka_unit_test_setup(reset_methods, reset),
        cmocka_unit_test_setup(reset_of_a_bus, reset),
        cmocka_unit_test_setup(no_reset_of_a_bus_half_known, reset),
        cmocka_unit_test_setup(reset_of_a_link, reset),
        cmocka_unit_test_setup(reset_of_what_is_gone, reset),
        cmocka_unit_test_setup(reset_takes_long, reset),
        cmocka_unit_test_setup(silent_before_the_reset, reset),
        cmocka_unit_test_setup(restored_after_the_reset, reset),
        cmocka_unit_test_setup(mcfg_tables, reset),
        cmocka_unit_test_setup(broken_mcfg, reset),
        cmocka_unit_test_setup(many_ecams, reset),
        cmocka_unit_test_setup(ecam_addresses, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
