/* Port A, the keyboard controller's status and the CRTC's cursor: latches, and nothing behind. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/legacy.h"

#include "lib/format.h"

enum { PORT_A_RESET = 1 << 0, PORT_A_A20 = 1 << 1 };

/* "Cursor Location High" and, behind it, "Low". */
enum { CRTC_CURSOR = 0x0e, PORT_CRTC_DATA = PORT_CRTC + 1 };

/* Neither is there anything to be read, nor is anything written still on its way. */
enum { KEYBOARD_IDLE = 0 };

void legacy_reset(struct legacy *l)
{
    *l = (struct legacy){.port_a = PORT_A_A20};
}

static bool is_cursor(const struct legacy *l)
{
    return (l->index & ~1u) == CRTC_CURSOR;
}

bool legacy_read(const struct legacy *l, uint16_t port, uint8_t *value)
{
    switch (port) {
    case PORT_KEYBOARD:
        *value = KEYBOARD_IDLE;
        return true;
    case PORT_A:
        *value = l->port_a;
        return true;
    case PORT_CRTC:
        *value = l->index;
        return true;
    case PORT_CRTC_DATA:
        if (is_cursor(l))
            *value = l->cursor[l->index & 1];
        return is_cursor(l);
    default:
        return false;
    }
}

static enum legacy_write write_port_a(struct legacy *l, uint8_t value)
{
    bool rises = (value & ~l->port_a & PORT_A_RESET) != 0;
    l->port_a = value;
    return rises ? LEGACY_RESETS : LEGACY_TAKEN;
}

static enum legacy_write write_cursor(struct legacy *l, uint8_t value)
{
    if (!is_cursor(l))
        return LEGACY_NOTHING;
    l->cursor[l->index & 1] = value;
    return LEGACY_TAKEN;
}

enum legacy_write legacy_write(struct legacy *l, uint16_t port, uint8_t value)
{
    switch (port) {
    case PORT_A:
        return write_port_a(l, value);
    case PORT_CRTC:
        l->index = value;
        return LEGACY_TAKEN;
    case PORT_CRTC_DATA:
        return write_cursor(l, value);
    default:
        return LEGACY_NOTHING;
    }
}

size_t legacy_describe(const struct legacy *l, char *text, size_t size)
{
    return format(text, size, "port A: %02x, CRTC: register %02x, cursor at %u\n", l->port_a,
                  l->index, (unsigned)l->cursor[0] << 8 | l->cursor[1]);
}
