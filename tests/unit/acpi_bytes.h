/* An ACPI table that a test makes byte by byte, in a machine that has little else. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdlib.h>

#include "drivers/firmware.h"
#include "mm/memmap.h"
#include "tests/unit/host.h"

enum { TABLE = 0x7000, SIZE = 8192 };

static uint8_t bytes[SIZE];
static unsigned used;
static struct memmap map;

static bool read_bytes(const struct firmware *firmware, uint64_t at, void *to, size_t n)
{
    (void)firmware;
    assert_true(n <= 512);
    if (at < TABLE || at - TABLE > SIZE || n > SIZE - (at - TABLE))
        return false;
    memcpy(to, bytes + (at - TABLE), n);
    return true;
}

static const struct firmware firmware = {read_bytes};

/* N bytes of VALUE; those behind the eighth are 0. */
static void put(uint64_t value, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        bytes[used++] = (uint8_t)(i < 8 ? value >> 8 * i : 0);
}

/* A table of which 48 bytes are there, 0 but for SIGNATURE; the units' registers are REGISTERS. */
static void begin_table(const char *signature, struct range registers)
{
    memset(bytes, 0, sizeof(bytes));
    memcpy(bytes, signature, 4);
    used = 48;
    map = (struct memmap){.count = 4};
    map.r[0] = (struct mem_range){.start = 0, .end = 0x7e000000, .kind = MEM_RAM};
    map.r[1] = (struct mem_range){.start = 0x7e000000, .end = 0x80000000, .kind = MEM_FIRMWARE};
    map.r[2] = (struct mem_range){.start = registers.start, .end = registers.end, .kind = MEM_MMIO};
    map.r[3] = (struct mem_range){.start = 4 * GIB, .end = 5 * GIB, .kind = MEM_RAM};
}

/* The structure from AT on is at its end: its bytes 2 and 3 are the length. */
static void end(unsigned at)
{
    bytes[at + 2] = (uint8_t)(used - at);
    bytes[at + 3] = (uint8_t)((used - at) >> 8);
}

/* The table is TEXT, pairs of digits. */
static void unhex(const char *text)
{
    for (used = 0; text[2 * used] != '\0'; used++) {
        char pair[3] = {text[2 * used], text[2 * used + 1], 0};
        bytes[used] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

static bool logged(const char *text)
{
    return strstr(host_log, text) != NULL;
}
