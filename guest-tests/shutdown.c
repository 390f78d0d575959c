/*
 * What resets a PC: a triple fault, the keyboard controller, port 92h and port CF9h; and writes to
 * the same ports that must not. And what kernels read there, and of the CRTC.
 *
 * row: shutdown.harmless end=0 cmdline="by=nothing"
 * row: shutdown.triple end=126 stopped="reset" cmdline="by=triple" control=127
 * row: shutdown.port64 end=126 stopped="reset" cmdline="by=port64" control=127
 * row: shutdown.port92 end=126 stopped="reset" cmdline="by=port92" control=127
 * row: shutdown.cf9 end=126 stopped="reset" cmdline="by=cf9" control=127
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/x86.h"

enum { KEYBOARD = 0x64, PORT_92 = 0x92, RESET_CONTROL = 0xcf9 };
enum { KEYBOARD_RESET = 0xfe, KEYBOARD_DISABLE = 0xad, A20 = 1 << 1, FAST_RESET = 1 << 0 };
enum { KEYBOARD_READ = 0x60, KEYBOARD_DATA = 1 << 0, KEYBOARD_FULL = 1 << 1 };
enum { CRTC = 0x3d4, CURSOR_HIGH = 0x0e, CURSOR_LOW = 0x0f };
enum { RST_HARD = 1 << 1, RST_CPU = 1 << 2, SPINS = 1000000, POLLS = 1000 };

static void reset(void)
{
    if (cmdline_has("by", "triple"))
        triple_fault();
    if (cmdline_has("by", "port64"))
        out8(KEYBOARD, KEYBOARD_RESET);
    if (cmdline_has("by", "port92"))
        out8(PORT_92, A20 | FAST_RESET);
    if (cmdline_has("by", "cf9")) {
        out8(RESET_CONTROL, RST_HARD);
        out8(RESET_CONTROL, RST_HARD | RST_CPU);
    }
}

/* A machine resets some instructions after the write. */
static void wait(void)
{
    for (unsigned i = 0; i < SPINS; i++)
        cpu_relax();
}

static void other_commands(void)
{
    out8(KEYBOARD, KEYBOARD_DISABLE);
    wait();
}

static void a20_alone(void)
{
    out8(PORT_92, A20);
    wait();
}

/* As every kernel opens A20. */
static void a20_by_reading(void)
{
    out8(PORT_92, in8(PORT_92) | A20);
    wait();
    expect((in8(PORT_92) & (A20 | FAST_RESET)) == A20, "port 92h is %x", in8(PORT_92));
}

/* What waits until a command can be given, and what empties the controller. */
static void keyboard_is_idle(void)
{
    unsigned waits = 0, data = 0;
    while ((in8(KEYBOARD) & KEYBOARD_FULL) != 0 && waits < POLLS)
        waits++;
    while ((in8(KEYBOARD) & KEYBOARD_DATA) != 0 && data < POLLS) {
        in8(KEYBOARD_READ);
        data++;
    }
    expect(waits < POLLS && data < POLLS, "waited %u times, read %u", waits, data);
}

static const char *needs_crtc(void)
{
    out8(CRTC, CURSOR_LOW);
    return machine.nosnoop || in8(CRTC) != 0xff ? NULL : "there is no VGA";
}

static void cursor(void)
{
    for (unsigned place = 0; place < 2000; place += 333) {
        out8(CRTC, CURSOR_HIGH);
        out8(CRTC + 1, (uint8_t)(place >> 8));
        out8(CRTC, CURSOR_LOW);
        out8(CRTC + 1, (uint8_t)place);
        unsigned found = in8(CRTC + 1);
        out8(CRTC, CURSOR_HIGH);
        found |= (unsigned)in8(CRTC + 1) << 8;
        expect(found == place, "%u, not %u", found, place);
    }
}

static void hard_without_reset(void)
{
    out8(RESET_CONTROL, RST_HARD);
    wait();
}

static const struct test_case harmless[] = {
    {"port 64h: another command", NULL, other_commands},
    {"port 64h: idle", NULL, keyboard_is_idle},
    {"port 92h: bit 0 clear", NULL, a20_alone},
    {"port 92h: what was read, and A20", NULL, a20_by_reading},
    {"port CF9h: bit 2 clear", NULL, hard_without_reset},
    {"the CRTC's cursor", needs_crtc, cursor},
};

void test_main(void)
{
    if (cmdline_has("by", "nothing")) {
        ktap_all(harmless, ARRAY_SIZE(harmless));
    }
    reset();
    wait();
}
