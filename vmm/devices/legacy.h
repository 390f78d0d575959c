/*
 * Of parts of a PC that a guest does not have, the ports that kernels cannot do without: port A
 * (port 92h), the status of the keyboard controller, and the cursor of the display's CRTC.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

enum { PORT_KEYBOARD = 0x64, PORT_A = 0x92, PORT_CRTC = 0x3d4 };

struct legacy {
    uint8_t port_a; /* as last written */
    uint8_t index;  /* of the CRTC's registers */
    uint8_t cursor[2];
};

/* As firmware leaves them: the gate of A20 is open, the cursor is at the first character. */
void legacy_reset(struct legacy *legacy);

/* Reads a byte; false: nothing is at PORT. */
bool legacy_read(const struct legacy *legacy, uint16_t port, uint8_t *value);

/*
 * Writes a byte. A reset is asked for where bit 0 of port A rises, which may be written back as it
 * was read (82801 data sheets, "PORT92-Fast A20 and Init Register").
 */
enum legacy_write { LEGACY_NOTHING, LEGACY_TAKEN, LEGACY_RESETS };
enum legacy_write legacy_write(struct legacy *legacy, uint16_t port, uint8_t value);

/* Text for a person, lines that each end with a newline; returns its length. */
size_t legacy_describe(const struct legacy *legacy, char *text, size_t size);
