/* The tables of a guest's firmware: the room that they share. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/platform.h"

#include "lib/assert.h"
#include "lib/string.h"

void *space_take(struct space *space, size_t n, size_t align)
{
    size_t at = (space->used + align - 1) / align * align;
    assert(at + n <= space->size);
    space->used = at + n;
    return space->bytes + at;
}

uint32_t space_gpa(const struct space *space, const void *at)
{
    return space->gpa + (uint32_t)((const uint8_t *)at - space->bytes);
}

uint8_t platform_checksum(const void *bytes, size_t n)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)bytes)[i]);
    return (uint8_t)-sum;
}

size_t platform_tables(void *buffer, size_t size, uint32_t gpa, const struct platform *platform)
{
    struct space space = {buffer, size, 0, gpa};
    assert(gpa % 64 == 0);
    memset(buffer, 0, size);
    platform_mp(&space, platform);
    platform_acpi(&space, platform);
    return space.used;
}
