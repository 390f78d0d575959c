/* QEMU's firmware configuration device, against what its documentation says of each item. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/device_ops.h"
#include "tests/unit/host.h"
#include "vmm/devices/fwcfg.h"

enum { CPUS = 0x0104 };

#define RAM 0x123456789abcd000ull

/* By key, what its first bytes are; all other bytes, and all other keys, are 0. */
static const struct {
    unsigned key, size;
    uint8_t bytes[8];
} items[] = {
    {0x00, 4, {'Q', 'E', 'M', 'U'}},
    {0x01, 4, {1, 0, 0, 0}}, /* no DMA */
    {0x03, 8, {0x00, 0xd0, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12}},
    {0x05, 2, {0x04, 0x01}},
    {0x0f, 2, {0x04, 0x01}},
    {0x19, 4, {0, 0, 0, 0}}, /* how many files there are */
};

static unsigned byte_of(unsigned selector, uint64_t offset)
{
    for (unsigned i = 0; i < ARRAY_SIZE(items); i++)
        if ((selector & 0xbfff) == items[i].key && offset < items[i].size)
            return items[i].bytes[offset];
    return 0;
}

static unsigned next_byte(struct fwcfg *f)
{
    uint32_t value = UINT32_MAX;
    assert_true(fwcfg_read(f, 1, &value));
    return value;
}

static void every_key(void **context)
{
    struct fwcfg f;
    (void)context;
    fwcfg_reset(&f, CPUS, RAM);
    for (unsigned i = 0; i < 10; i++) /* the signature is what a reset selects */
        assert_int_equal(next_byte(&f), byte_of(0, i));
    for (unsigned key = 0; key < 0x10000; key++) {
        assert_true(fwcfg_write(&f, 0, 2, key));
        for (unsigned i = 0; i < 12; i++)
            assert_int_equal(next_byte(&f), byte_of(key, i));
    }
}

static void past_the_end(void **context)
{
    struct fwcfg f;
    (void)context;
    fwcfg_reset(&f, CPUS, RAM);
    for (uint64_t i = 0; i < 70000; i++)
        assert_int_equal(next_byte(&f), byte_of(0, i));
}

static void odd_accesses(void **context)
{
    struct fwcfg f;
    uint32_t value = 0;
    (void)context;
    fwcfg_reset(&f, CPUS, RAM);
    assert_true(fwcfg_write(&f, 0, 2, 0xabcd0005));
    assert_false(fwcfg_read(&f, 2, &value));
    assert_false(fwcfg_read(&f, 4, &value));
    assert_false(fwcfg_write(&f, 1, 2, 0));
    assert_false(fwcfg_write(&f, 0, 4, 0));
    assert_true(fwcfg_write(&f, 0, 1, 0)); /* data, which cannot be written */
    assert_true(fwcfg_write(&f, 1, 1, 0));
    assert_int_equal(next_byte(&f), 0x04);
    assert_int_equal(next_byte(&f), 0x01);
    assert_int_equal(next_byte(&f), 0x00);
}

static void random_operations(void **context)
{
    struct fwcfg f;
    uint64_t seed = 1, offset = 0;
    unsigned selector = 0;
    (void)context;
    fwcfg_reset(&f, CPUS, RAM);
    for (unsigned long i = device_ops(10000000); i > 0; i--) {
        uint64_t random = host_random(&seed);
        unsigned port = random & 1, width = 1u << (random >> 1) % 3;
        if ((random >> 4) % 8 != 0) {
            assert_int_equal(next_byte(&f), byte_of(selector, offset++));
            continue;
        }
        unsigned key = (random >> 8 & 0xffff) >> (random >> 24) % 16;
        bool selects = port == 0 && width == 2;
        assert_int_equal(fwcfg_write(&f, port, width, key), selects || width == 1);
        selector = selects ? key : selector;
        offset = selects ? 0 : offset;
    }
}

static void text(void **context)
{
    static char line[2048];
    size_t length;
    (void)context;
    struct fwcfg f;
    fwcfg_reset(&f, 4, 64 * MIB);
    fwcfg_write(&f, 0, 2, 3);
    next_byte(&f);
    length = fwcfg_describe(&f, line, sizeof(line));
    assert_int_equal(length, strlen(line));
    assert_string_equal(line, "fw_cfg: 4 CPUs, 67108864 bytes, item 0x3 at byte 1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key),    cmocka_unit_test(past_the_end),
        cmocka_unit_test(odd_accesses), cmocka_unit_test(random_operations),
        cmocka_unit_test(text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
