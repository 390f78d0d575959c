/* vmm/instruments/line.c by the keys that a terminal sends (ECMA-48, xterm's control sequences). */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/host.h"
#include "lib/assert.h"
#include "vmm/instruments/line.h"

#define UP    "\033[A"
#define DOWN  "\033[B"
#define RIGHT "\033[C"
#define LEFT  "\033[D"

static enum line_event type(struct line *line, const char *keys)
{
    enum line_event event = LINE_SAME;
    for (; *keys != '\0'; keys++)
        event = line_key(line, (unsigned char)*keys);
    return event;
}

static void expect(const struct line *line, const char *text, unsigned cursor)
{
    assert_string_equal(line->text, text);
    assert_int_equal(line->length, strlen(text));
    assert_int_equal(line->cursor, cursor);
}

static void editing(void **state)
{
    struct line line = {.length = 0};
    (void)state;
    assert_int_equal(type(&line, "vms"), LINE_APPENDED);
    expect(&line, "vms", 3);
    assert_int_equal(type(&line, "\b\x7f"), LINE_CHANGED);
    expect(&line, "v", 1);
    assert_int_equal(type(&line, "\b\b"), LINE_SAME);
    expect(&line, "", 0);
    type(&line, "acd" LEFT LEFT);
    assert_int_equal(type(&line, "b"), LINE_CHANGED);
    expect(&line, "abcd", 2);
    type(&line, "\b");
    expect(&line, "acd", 1);
    type(&line, "\033[3~");
    expect(&line, "ad", 1);
    assert_int_equal(type(&line, RIGHT RIGHT), LINE_SAME);
    assert_int_equal(type(&line, "\033[3~"), LINE_SAME);
    type(&line, "\033[H<\033[F>\001[\005]");
    expect(&line, "[<ad>]", 6);
    assert_int_equal(type(&line, "\033[H" LEFT), LINE_SAME);
    type(&line, "\033OC\033OD");
    expect(&line, "[<ad>]", 0);
    assert_int_equal(type(&line, "\025"), LINE_CHANGED);
    expect(&line, "", 0);
    assert_int_equal(type(&line, "stop\003"), LINE_CANCELLED);
    expect(&line, "", 0);
}

static void entering(void **state)
{
    struct line line = {.length = 0};
    (void)state;
    assert_int_equal(type(&line, "log 3" LEFT "\r"), LINE_ENTERED);
    assert_string_equal(line_entered(&line), "log 3");
    expect(&line, "", 0);
    assert_int_equal(type(&line, "\n"), LINE_ENTERED);
    assert_string_equal(line_entered(&line), "");
}

static void history(void **state)
{
    struct line line = {.length = 0};
    (void)state;
    assert_int_equal(type(&line, UP), LINE_SAME);
    type(&line, "one\rtwo\rtwo\r\rthr");
    assert_int_equal(type(&line, UP), LINE_CHANGED);
    expect(&line, "two", 3);
    type(&line, UP);
    expect(&line, "one", 3);
    assert_int_equal(type(&line, UP), LINE_SAME);
    expect(&line, "one", 3);
    type(&line, DOWN DOWN);
    expect(&line, "thr", 3);
    assert_int_equal(type(&line, DOWN), LINE_SAME);
    type(&line, UP UP "s\r");
    assert_string_equal(line_entered(&line), "ones");
    type(&line, UP UP);
    expect(&line, "two", 3);
}

static void history_is_bounded(void **state)
{
    struct line line = {.length = 0};
    (void)state;
    for (char c = 'a'; c <= 'z'; c++)
        type(&line, (char[]){c, '\r', '\0'});
    for (char c = 'z'; c > 'z' - LINE_HISTORY; c--) {
        type(&line, UP);
        expect(&line, (char[]){c, '\0'}, 1);
    }
    assert_int_equal(type(&line, UP), LINE_SAME);
}

static void a_full_line(void **state)
{
    struct line line = {.length = 0};
    (void)state;
    for (unsigned i = 1; i < LINE_SIZE; i++)
        assert_int_equal(type(&line, "x"), LINE_APPENDED);
    assert_int_equal(type(&line, "y"), LINE_SAME);
    assert_int_equal(type(&line, LEFT "y"), LINE_SAME);
    assert_int_equal(line.length, LINE_SIZE - 1);
    assert_null(strchr(line.text, 'y'));
    type(&line, "\r" UP);
    assert_int_equal(line.length, LINE_SIZE - 1);
}

/* What is no key changes nothing, and what follows is as it was. */
static void other_bytes(void **state)
{
    static const char *const bytes[] = {
        "\001\002\004", "\200\377\303\244", "\033", "\033[", "\033[1;5Z", "\033[999999", "\033x",
        "\033O",        "\033[?25~",        "\t",   "\035",
    };
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++) {
        struct line line = {.length = 0};
        type(&line, bytes[i]);
        expect(&line, "", 0);
        type(&line, "\025vms");
        expect(&line, "vms", 3);
    }
}

static void any_bytes(void **state)
{
    static const unsigned char likely[] = {'\033', '[', 'A', 'B', 'C', 'D', '3', '~', '\b', '\r'};
    struct line line = {.length = 0};
    uint64_t seed = 1;
    (void)state;
    for (unsigned i = 0; i < 200000; i++) {
        uint64_t r = host_random(&seed);
        line_key(&line, r & 1 ? likely[(r >> 8) % sizeof(likely)] : (unsigned char)(r >> 8));
        assert_true(line.cursor <= line.length && line.length < LINE_SIZE);
        assert_int_equal(strlen(line.text), line.length);
        assert_true(strlen(line_entered(&line)) < LINE_SIZE);
        for (unsigned at = 0; at < line.length; at++)
            assert_in_range(line.text[at], ' ', '~');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(editing),     cmocka_unit_test(entering),
        cmocka_unit_test(history),     cmocka_unit_test(history_is_bounded),
        cmocka_unit_test(a_full_line), cmocka_unit_test(other_bytes),
        cmocka_unit_test(any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
