/* lib/format.c against texts written down by hand from C11, "The fprintf function". */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <limits.h>

#include "tests/unit/host.h"
#include "lib/format.h"

/* Without its attribute, for the calls that a compiler would warn of. */
static size_t (*volatile unchecked)(char *out, size_t size, const char *fmt, ...) = format;

__attribute__((format(printf, 2, 3))) static void expect(const char *text, const char *fmt, ...)
{
    char out[64];
    va_list args;
    va_start(args, fmt);
    size_t n = format_v(out, sizeof(out), fmt, args);
    va_end(args);
    assert_string_equal(out, text);
    assert_int_equal(n, strlen(text));
}

static void numbers(void **state)
{
    (void)state;
    expect("0", "%d", 0);
    expect("-1 1", "%d %d", -1, 1);
    expect("-2147483648", "%d", INT_MIN);
    expect("4294967295", "%u", UINT_MAX);
    expect("-9223372036854775808", "%ld", LONG_MIN);
    expect("9223372036854775807", "%lld", LLONG_MAX);
    expect("18446744073709551615", "%lu", ULONG_MAX);
    expect("18446744073709551615", "%zu", SIZE_MAX);
    expect("deadbeef DEADBEEF", "%x %X", 0xdeadbeefu, 0xdeadbeefu);
    expect("fedcba9876543210", "%lx", 0xfedcba9876543210ul);
    expect("ffffffff", "%x", 0xffffffffu);
    expect("0x1000", "%p", (void *)0x1000);
}

static void widths(void **state)
{
    (void)state;
    expect("   42|42   |00042", "%5d|%-5d|%05d", 42, 42, 42);
    expect("  -42|-42  |-0042", "%5d|%-5d|%05d", -42, -42, -42);
    expect("12345", "%3d", 12345);
    expect("   7|7   |0007", "%*d|%*d|%0*d", 4, 7, -4, 7, 4, 7);
    expect("00000000000000ff", "%016lx", 0xfful);
    expect("       x|x", "%8c|%c", 'x', 'x');
}

static void strings(void **state)
{
    (void)state;
    const char no_end[3] = {'a', 'b', 'c'};
    expect("abc", "%s", "abc");
    expect("  abc|abc  ", "%5s|%-5s", "abc", "abc");
    expect("abc", "%.3s", no_end);
    expect("ab|", "%.*s|%.0s", 2, no_end, no_end);
    expect("   ab|ab   ", "%5.2s|%-5.2s", no_end, no_end);
    expect("all", "%.*s", -1, "all");
}

static void other_text(void **state)
{
    (void)state;
    char out[64];
    expect("100% a%b", "100%% a%%b");
    assert_int_equal(unchecked(out, sizeof(out), "%s", NULL), 6);
    assert_string_equal(out, "(null)");
    assert_int_equal(unchecked(out, sizeof(out), "%-05d|", -7), 6);
    assert_string_equal(out, "-7   |");
    assert_int_equal(unchecked(out, sizeof(out), "%q %"), 3);
    assert_string_equal(out, "%q ");
    assert_int_equal(format(out, sizeof(out), "%s", ""), 0);
    assert_string_equal(out, "");
}

/* Whatever the size, nothing is written behind it and the NUL is there. */
static void cut(void **state)
{
    (void)state;
    const char *whole = "ab   12345    cd";
    for (size_t size = 1; size <= 17; size++) {
        char out[24];
        memset(out, '#', sizeof(out));
        size_t n = format(out, size, "%s%8d%6s", "ab", 12345, "cd");
        assert_int_equal(n, size - 1);
        assert_memory_equal(out, whole, n);
        assert_int_equal(out[n], '\0');
        for (size_t i = size; i < sizeof(out); i++)
            assert_int_equal(out[i], '#');
    }
    char one[2] = "##";
    assert_int_equal(unchecked(one, 1, "%*d", INT_MAX, 1), 0);
    assert_memory_equal(one, "\0#", 2);
    assert_int_equal(unchecked(one, 2, "%*d", INT_MIN, 1), 1);
    assert_memory_equal(one, "1", 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),    cmocka_unit_test(widths), cmocka_unit_test(strings),
        cmocka_unit_test(other_text), cmocka_unit_test(cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
