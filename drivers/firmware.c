/* What the parsers of firmware tables share: sums, searches, and the list of CPUs. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/firmware.h"

#include "lib/assert.h"
#include "lib/string.h"

enum { BLOCK = 512, STEP = 16 };

/* In the BIOS data area: the EBDA's segment, and the KiB of base memory. */
enum { BDA_EBDA = 0x40e, BDA_BASE_KIB = 0x413 };

void firmware_add_cpu(struct firmware_cpus *cpus, uint32_t apic_id)
{
    for (unsigned i = 0; i < cpus->count; i++)
        if (cpus->apic_id[i] == apic_id) {
            cpus->senseless++;
            return;
        }
    if (cpus->count == FIRMWARE_MAX_CPUS)
        cpus->beyond++;
    else
        cpus->apic_id[cpus->count++] = apic_id;
}

bool firmware_sums_up(const struct firmware *firmware, uint64_t at, uint64_t n)
{
    uint8_t block[BLOCK], sum = 0;
    for (uint64_t done = 0, part; done < n; done += part) {
        part = min_u64(n - done, sizeof(block));
        if (!firmware->read(firmware, at + done, block, part))
            return false;
        for (unsigned i = 0; i < part; i++)
            sum = (uint8_t)(sum + block[i]);
    }
    return sum == 0;
}

uint64_t firmware_find(const struct firmware *firmware, struct range range, const char *signature,
                       size_t n)
{
    uint8_t block[BLOCK];
    assert(is_aligned(range.start | range.end, STEP));
    for (uint64_t at = range.start, part; at < range.end; at += part) {
        part = min_u64(range.end - at, sizeof(block));
        if (!firmware->read(firmware, at, block, part))
            continue;
        for (unsigned i = 0; i < part; i += STEP)
            if (memcmp(&block[i], signature, min_u64(strlen(signature), STEP)) == 0 &&
                firmware_sums_up(firmware, at + i, n))
                return at + i;
    }
    return 0;
}

static uint64_t bda_word(const struct firmware *firmware, uint64_t at)
{
    uint16_t word;
    return firmware->read(firmware, at, &word, sizeof(word)) ? word : 0;
}

uint64_t firmware_find_anywhere(const struct firmware *firmware, const char *signature, size_t n)
{
    uint64_t ebda = bda_word(firmware, BDA_EBDA) * 16, top = bda_word(firmware, BDA_BASE_KIB) * KIB;
    const struct range places[] = {
        {ebda, ebda == 0 ? 0 : ebda + KIB},
        {top == 0 ? 0 : top - KIB, top},
        {0xe0000, 0x100000},
    };
    uint64_t found = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(places) && found == 0; i++)
        found = firmware_find(firmware, places[i], signature, n);
    return found;
}
