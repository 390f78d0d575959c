/* A VM's PCI bus: both ways to configuration space, where functions are, and what firmware does. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/host.h"
#include "tests/unit/vpci_fake.h"
#include "vmm/devices/vpci_bus.h"

enum { RANDOM_ACCESSES = 200000 };

static struct fake fakes[VPCI_BUS_FUNCTIONS];
static struct vpci functions[VPCI_BUS_FUNCTIONS];
static struct vpci_bus bus;
static uint64_t seed;

static uint64_t below(uint64_t n)
{
    return host_random(&seed) % n;
}

/* Functions of the real machine, on an empty bus. */
static void fill(const struct pci_function *real, unsigned count)
{
    struct vpci *all[VPCI_BUS_FUNCTIONS];
    bus = (struct vpci_bus){0};
    for (unsigned i = 0; i < count; i++) {
        memset(&fakes[i], 0, sizeof(fakes[i]));
        fakes[i].real = real[i];
        fakes[i].allows = true;
        fake_put(&fakes[i], 0x00, 4, 0x56781234 + i);
        fake_put(&fakes[i], 0x3c, 4, 0x00000100);
        memcpy(fakes[i].at_reset, fakes[i].config, sizeof(fakes[i].config));
        vpci_create(&functions[i], &(struct vpci_setup){
                                       .real = &fakes[i].real,
                                       .ops = &fake_ops,
                                       .context = &fakes[i],
                                       .line = (uint8_t)(10 + i),
                                       .intx = true,
                                       .resets = true,
                                   });
        all[i] = &functions[i];
    }
    vpci_bus_fill(&bus, all, count);
}

static uint32_t in(unsigned port, unsigned width)
{
    uint32_t value;
    if (!vpci_bus_in(&bus, port, width, &value))
        assert_int_equal(value, UINT32_MAX);
    return width == 4 ? value : value & ((1u << 8 * width) - 1);
}

/* --- the host bridge, and nothing ------------------------------------------------------------- */

static void test_empty(void **state)
{
    (void)state;
    fill(NULL, 0);
    for (uint32_t at = 0; at < VPCI_ECAM_SIZE; at += 4) {
        uint32_t expected = UINT32_MAX;
        if (at < 0x100)
            expected = at == 0 ? 0x00081b36 : at == 8 ? 0x06000000 : at == 0x2c ? 0x11001af4 : 0;
        assert_int_equal(vpci_bus_read(&bus, at, 4), expected);
        if (at % 0x1000 >= 0x100)
            continue;
        vpci_bus_write(&bus, at, 4, UINT32_MAX);
        vpci_bus_out(&bus, 0xcf8, 4, 1u << 31 | at / 0x1000 << 8 | at % 0x100);
        assert_int_equal(in(0xcfc, 4), expected);
    }
    assert_true(vpci_bus_read(&bus, 0, 8) == 0x00081b36);
    assert_int_equal(vpci_bus_read(&bus, 0xa, 2), 0x0600);
    vpci_bus_out(&bus, 0xcf8, 4, 0x80010000); /* another bus */
    assert_int_equal(in(0xcfc, 4), UINT32_MAX);
}

/* "Configuration Mechanism #1": whole dwords alone get to CONFIG_ADDRESS. */
static void test_address(void **state)
{
    uint32_t value;
    (void)state;
    fill(NULL, 0);
    assert_int_equal(in(0xcf8, 4), 0);
    assert_false(vpci_bus_in(&bus, 0xcfc, 4, &value));
    assert_false(vpci_bus_out(&bus, 0xcfc, 4, 0));
    assert_true(vpci_bus_out(&bus, 0xcf8, 4, UINT32_MAX));
    assert_int_equal(in(0xcf8, 4), 0x80fffffc);
    assert_false(vpci_bus_out(&bus, 0xcf8, 1, 0));
    assert_false(vpci_bus_out(&bus, 0xcf8, 2, 0));
    assert_false(vpci_bus_out(&bus, 0xcfa, 2, 0));
    assert_int_equal(in(0xcf8, 2), 0xffff);
    assert_int_equal(in(0xcf8, 4), 0x80fffffc);
    vpci_bus_out(&bus, 0xcf8, 4, 0x80000000);
    assert_int_equal(in(0xcfc, 2), 0x1b36);
    assert_int_equal(in(0xcfe, 2), 0x0008);
    assert_int_equal(in(0xcfd, 1), 0x1b);
    assert_int_equal(in(0xcfb, 2), 0x36ff);     /* begins before the data */
    assert_int_equal(in(0xcfd, 4), 0xff00081b); /* ends behind them */
    assert_int_equal(in(0xcfa, 4), 0x1b36ffff);
    vpci_bus_out(&bus, 0xcf8, 4, 0);
    assert_false(vpci_bus_in(&bus, 0xcfc, 4, &value));
}

/* --- every width, everywhere ------------------------------------------------------------------ */

static const struct pci_function ordinary = {
    .bdf = {.device = 3}, .bar = {{.size = 0x10, .kind = PCI_BAR_MEMORY, .wide = true}}};

/* A byte of the function's registers. */
static uint8_t byte_of(unsigned reg)
{
    return (uint8_t)(vpci_read(&functions[0], reg / 4 * 4) >> reg % 4 * 8);
}

/* A byte at OFFSET of configuration space: whether it is the function's, of which register. */
static bool is_register(uint32_t offset, unsigned *reg)
{
    *reg = offset % 0x1000;
    return offset / 0x1000 == 3 * 8;
}

static uint8_t expected_byte(uint32_t offset)
{
    unsigned reg;
    static const uint8_t bridge[16] = {0x36, 0x1b, 0x08, 0x00, [11] = 0x06};
    if (is_register(offset, &reg))
        return byte_of(reg);
    if (offset < 0x100) /* of its dword 2Ch nothing is asked here */
        return offset < sizeof(bridge) ? bridge[offset] : 0;
    return 0xff;
}

/* BARs, and registers around the ends of functions and of the first 256 bytes. */
static uint32_t random_offset(void)
{
    static const uint32_t starts[] = {0x0, 0x17ff8, 0x18000, 0x18010, 0x18038, 0x180f8, 0x18ff8};
    return starts[below(ARRAY_SIZE(starts))] + (uint32_t)below(8);
}

/* BAR 0 is as the bytes of a write would leave it; its low 4 bits are fixed. */
static void check_write(const uint8_t *before, uint32_t offset, unsigned width, uint64_t value)
{
    for (unsigned reg = 0x10; reg < 0x18; reg++) {
        unsigned i = 0x18000 + reg - offset;
        uint8_t now = (uint8_t)(i < width ? value >> 8 * i : before[reg]);
        if (reg == 0x10)
            now = (now & 0xf0) | 4;
        assert_int_equal(byte_of(reg), now);
    }
}

static void access_memory(uint32_t offset)
{
    unsigned width = 1u << below(4);
    uint64_t value = vpci_bus_read(&bus, offset, width), data = host_random(&seed);
    uint8_t before[0x18];
    for (unsigned i = 0; i < width; i++)
        assert_int_equal((uint8_t)(value >> 8 * i), expected_byte(offset + i));
    assert_true(width == 8 || value >> 8 * width == 0);
    for (unsigned reg = 0x10; reg < 0x18; reg++)
        before[reg] = byte_of(reg);
    vpci_bus_write(&bus, offset, width, data);
    check_write(before, offset, width, data);
}

static void access_ports(uint32_t offset)
{
    unsigned width = 1u << below(3), port = 0xcf9 + (unsigned)below(7);
    uint32_t value, data = (uint32_t)host_random(&seed), at = offset / 4 * 4 - 0xcfc;
    uint8_t before[0x18];
    if (offset % 0x1000 >= 0x100)
        return;
    vpci_bus_out(&bus, 0xcf8, 4, 1u << 31 | offset / 0x1000 << 8 | (offset & 0xfc));
    bool any = vpci_bus_in(&bus, port, width, &value);
    assert_int_equal(any, port + width > 0xcfc);
    for (unsigned i = 0; i < width; i++) {
        bool is_data = port + i >= 0xcfc && port + i < 0xd00;
        assert_int_equal((uint8_t)(value >> 8 * i), is_data ? expected_byte(at + port + i) : 0xff);
    }
    for (unsigned reg = 0x10; reg < 0x18; reg++)
        before[reg] = byte_of(reg);
    unsigned skip = port < 0xcfc ? 0xcfc - port : 0,
             end = port + width < 0xd00 ? port + width : 0xd00;
    vpci_bus_out(&bus, port, width, data);
    if (any)
        check_write(before, at + port + skip, end - port - skip, data >> 8 * skip);
}

static void test_widths(void **state)
{
    (void)state;
    fill(&ordinary, 1);
    seed = 1;
    for (unsigned i = 0; i < RANDOM_ACCESSES; i++) {
        if (below(2) == 0)
            access_memory(random_offset());
        else
            access_ports(random_offset());
    }
    fake_check(&functions[0], &fakes[0]);
}

/* --- places ----------------------------------------------------------------------------------- */

/* Real bus, device and function as 16 bits; device and function on the guest's bus, many. */
struct place {
    uint16_t real;
    uint8_t at;
    bool many;
};

#define AT(device, function)        (uint8_t)((device)*8 + (function))
#define REAL(bus, device, function) (uint16_t)((bus) << 8 | AT(device, function))

static void check_places(const struct place *places, unsigned count)
{
    static struct pci_function real[VPCI_BUS_FUNCTIONS];
    for (unsigned i = 0; i < count; i++)
        real[i].bdf = (struct pci_bdf){.bus = (uint8_t)(places[i].real >> 8),
                                       .device = (uint8_t)(places[i].real >> 3 & 31),
                                       .function = (uint8_t)(places[i].real & 7)};
    fill(real, count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(functions[i].at, places[i].at);
        assert_int_equal(vpci_bus_read(&bus, (uint32_t)places[i].at << 12, 4), 0x56781234 + i);
        uint64_t header = vpci_bus_read(&bus, ((uint32_t)places[i].at << 12) + 0xe, 1);
        assert_int_equal(header, places[i].many ? 0x80 : 0);
    }
}

static void test_places(void **state)
{
    static const struct place same[] = {{REAL(0, 3, 0), AT(3, 0), false},
                                        {REAL(0, 31, 2), AT(31, 0), false}};
    static const struct place taken[] = {{REAL(1, 0, 0), AT(1, 0), false},
                                         {REAL(2, 0, 0), AT(2, 0), false},
                                         {REAL(0, 1, 0), AT(3, 0), false},
                                         {REAL(5, 31, 0), AT(31, 0), false},
                                         {REAL(6, 31, 0), AT(4, 0), false}};
    static const struct place one[] = {{REAL(4, 5, 3), AT(5, 3), true},
                                       {REAL(9, 5, 0), AT(6, 0), false},
                                       {REAL(4, 5, 0), AT(5, 0), true},
                                       {REAL(4, 5, 1), AT(5, 1), true}};
    static const struct place none[] = {{REAL(4, 5, 3), AT(5, 0), false},
                                        {REAL(4, 5, 1), AT(6, 0), false}};
    (void)state;
    check_places(same, ARRAY_SIZE(same));
    check_places(taken, ARRAY_SIZE(taken));
    check_places(one, ARRAY_SIZE(one));
    check_places(none, ARRAY_SIZE(none));
}

/* --- firmware --------------------------------------------------------------------------------- */

#define MEMORY(bytes)                                                                              \
    {                                                                                              \
        .size = (bytes), .kind = PCI_BAR_MEMORY, .address = 0x1000                                 \
    }
#define LARGE(bytes)                                                                               \
    {                                                                                              \
        .size = (bytes), .kind = PCI_BAR_MEMORY, .address = 0x1000, .wide = true                   \
    }
#define PORTS(bytes)                                                                               \
    {                                                                                              \
        .size = (bytes), .kind = PCI_BAR_IO, .address = 0x1000                                     \
    }

static bool is_placed(struct vpci_range r, bool io)
{
    if (io)
        return r.start >= 0xc000 && r.start + r.size <= 0x10000;
    return (r.start >= 0xc0000000 && r.start + r.size <= 0xe0000000) ||
           (r.start >= 0xe0100000 && r.start + r.size <= 0xfec00000);
}

/* Each on its own; two of memory on no page of both. */
static bool overlap(struct vpci_range a, struct vpci_range b, unsigned step)
{
    return a.start / step <= (b.start + b.size - 1) / step &&
           b.start / step <= (a.start + a.size - 1) / step;
}

static void check_placed(unsigned count)
{
    for (unsigned i = 0; i < count * 6; i++) {
        const struct pci_bar *bar = &fakes[i / 6].real.bar[i % 6];
        struct vpci_range r = fakes[i / 6].range[i % 6];
        bool io = bar->kind == PCI_BAR_IO;
        if (bar->kind == PCI_BAR_NONE || bar->size > 0x80000000) {
            assert_int_equal(r.size, 0);
            continue;
        }
        assert_true(r.size == bar->size && r.start % r.size == 0 && is_placed(r, io));
        for (unsigned k = 0; k < i; k++) {
            struct vpci_range other = fakes[k / 6].range[k % 6];
            if (other.size != 0 && fakes[k / 6].real.bar[k % 6].kind == bar->kind)
                assert_false(overlap(r, other, io ? 1 : 4096));
        }
    }
}

static void test_firmware(void **state)
{
    static const struct pci_function real[] = {
        {.bdf = {.device = 3}, .bar = {MEMORY(0x100), MEMORY(0x10000000), PORTS(0x20)}},
        {.bdf = {.device = 4}, .bar = {LARGE(0x10000000), {0}, MEMORY(0x10), PORTS(4)}},
        {.bdf = {.device = 5}, .bar = {LARGE(0x400000000), {0}, LARGE(0x8000000), {0}, PORTS(256)}},
        {.bdf = {.device = 6}, .bar = {MEMORY(0x1000), MEMORY(0x100), MEMORY(0x2000000)}},
    };
    (void)state;
    fill(real, ARRAY_SIZE(real));
    vpci_bus_out(&bus, 0xcf8, 4, 0x80001234);
    for (unsigned round = 1; round <= 2; round++) {
        vpci_bus_reset(&bus);
        assert_int_equal(in(0xcf8, 4), 0);
        check_placed(ARRAY_SIZE(real));
        for (unsigned i = 0; i < ARRAY_SIZE(real); i++) {
            assert_int_equal(fakes[i].resets, round);
            assert_int_equal(vpci_read(&functions[i], 4) & 0xffff, 3);
            assert_int_equal(vpci_read(&functions[i], 0x3c), 0x100 + 10 + i);
            vpci_write(&functions[i], 0x10, UINT32_MAX, 0xd0000000);
            vpci_write(&functions[i], 4, 0xffff, 7);
            fake_check(&functions[i], &fakes[i]);
        }
    }
}

/* What finds no room is nowhere. */
static void test_no_room(void **state)
{
    static const struct pci_function real[] = {
        {.bdf = {.device = 3}, .bar = {MEMORY(0x20000000), MEMORY(0x20000000), MEMORY(0x1000)}},
    };
    (void)state;
    fill(real, ARRAY_SIZE(real));
    vpci_bus_reset(&bus);
    assert_int_equal(fakes[0].range[0].start, 0xc0000000);
    assert_int_equal(fakes[0].range[1].size, 0);
    assert_int_equal(vpci_read(&functions[0], 0x14), 0);
    assert_int_equal(fakes[0].range[2].start, 0xe0100000);
}

static void test_describe(void **state)
{
    char text[200];
    (void)state;
    fill(&ordinary, 1);
    size_t length = vpci_bus_describe(&bus, text, sizeof(text));
    assert_int_equal(length, strlen(text));
    assert_string_equal(text, "PCI: address 0x0, 00.0 a host bridge\n"
                              "PCI: 03.0 0000:0000, command 0x0\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),    cmocka_unit_test(test_address),
        cmocka_unit_test(test_widths),   cmocka_unit_test(test_places),
        cmocka_unit_test(test_firmware), cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_describe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
