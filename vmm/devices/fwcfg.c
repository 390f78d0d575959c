/* QEMU's firmware configuration device, read through its selector and data ports. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/fwcfg.h"

#include "lib/format.h"

/* Keys, of which bit 14 asks for writes and counts for nothing. */
enum {
    KEY_SIGNATURE = 0x00,
    KEY_ID = 0x01,
    KEY_RAM_SIZE = 0x03,
    KEY_CPUS = 0x05,
    KEY_MOST_CPUS = 0x0f,
    KEY_WRITE = 0x4000,
};

/* The only interface is the selector; the other would be DMA. */
enum { ID_SELECTOR = 1 << 0, LONGEST_ITEM = 8 };

#define SIGNATURE 0x554d4551u /* "QEMU" */

/* Items end in zeros without end, which the directory of no files begins with, too. */
static uint64_t item(const struct fwcfg *f)
{
    switch (f->selector & ~KEY_WRITE) {
    case KEY_SIGNATURE:
        return SIGNATURE;
    case KEY_ID:
        return ID_SELECTOR;
    case KEY_RAM_SIZE:
        return f->ram;
    case KEY_CPUS:
    case KEY_MOST_CPUS:
        return f->cpus;
    default:
        return 0;
    }
}

void fwcfg_reset(struct fwcfg *f, unsigned cpus, uint64_t ram)
{
    *f = (struct fwcfg){.ram = ram, .cpus = (uint16_t)cpus};
}

bool fwcfg_read(struct fwcfg *f, unsigned width, uint32_t *value)
{
    if (width != 1)
        return false;
    *value = 0;
    if (f->offset < LONGEST_ITEM)
        *value = item(f) >> 8 * f->offset++ & 0xff;
    return true;
}

bool fwcfg_write(struct fwcfg *f, unsigned port, unsigned width, uint32_t value)
{
    if (width == 2 && port == 0) {
        f->selector = (uint16_t)value;
        f->offset = 0;
    }
    return width == 1 || (width == 2 && port == 0);
}

size_t fwcfg_describe(const struct fwcfg *f, char *text, size_t size)
{
    return format(text, size, "fw_cfg: %u CPUs, %lu bytes, item 0x%x at byte %u\n", f->cpus, f->ram,
                  f->selector, f->offset);
}
