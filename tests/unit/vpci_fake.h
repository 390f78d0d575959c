/*
 * A PCI function that a model of one can be tried on: registers, and an owner that believes what it
 * is told. All that is told must be news, and what the guest can see must agree with it.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "vmm/devices/vpci.h"

enum { FAKE_ENTRIES = VPCI_MAX_ENTRIES };

struct fake {
    struct pci_function real;
    uint8_t config[PCI_CONFIG_END], at_reset[PCI_CONFIG_END];
    struct vpci_entry entries[FAKE_ENTRIES];
    unsigned pcie; /* the capability whose Device Control may be written; 0: none */
    bool allows;   /* bus mastering */
    /* The owner: */
    struct vpci_range range[PCI_BARS];
    enum vpci_interrupts how;
    bool masters, live[FAKE_ENTRIES];
    struct vpci_message message[FAKE_ENTRIES];
    unsigned lives, resets;
};

#define must(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #cond);                     \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static inline uint32_t fake_get(const struct fake *f, unsigned reg, unsigned size)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint32_t)f->config[reg + i] << 8 * i;
    return value;
}

static inline void fake_put(struct fake *f, unsigned reg, unsigned size, uint32_t value)
{
    for (unsigned i = 0; i < size; i++)
        f->config[reg + i] = (uint8_t)(value >> 8 * i);
}

static inline uint32_t fake_read(void *context, unsigned reg, unsigned size)
{
    must((size == 1 || size == 2 || size == 4) && reg % size == 0 && reg + size <= 0x100);
    return fake_get(context, reg, size);
}

/* Four registers may be written, whole: two that hold, and two that are cleared by ones. */
static inline void fake_write(void *context, unsigned reg, unsigned size, uint32_t value)
{
    struct fake *f = context;
    must(size == 2 && value <= 0xffff);
    if (reg == 0x04) {
        must((value & ~0x7ffu) == 0 && ((value & 4) == 0 || (f->masters && f->allows)));
        fake_put(f, reg, 2, value);
    } else if (reg == 0x06) {
        must((value & ~0xf900u) == 0);
        fake_put(f, reg, 2, fake_get(f, reg, 2) & ~value);
    } else if (f->pcie != 0 && reg == f->pcie + 8) {
        must((value & 0x8000) == 0);
        fake_put(f, reg, 2, value);
    } else {
        must(f->pcie != 0 && reg == f->pcie + 10 && (value & ~0xfu) == 0);
        fake_put(f, reg, 2, fake_get(f, reg, 2) & ~value);
    }
}

static inline bool fake_bus_master(void *context, bool on)
{
    struct fake *f = context;
    must(on != f->masters && (f->config[4] & 4) == 0);
    f->masters = on;
    return f->allows;
}

static inline void fake_decode(void *context, unsigned bar, struct vpci_range before,
                               struct vpci_range now)
{
    struct fake *f = context;
    must(bar < PCI_BARS && before.start == f->range[bar].start &&
         before.size == f->range[bar].size);
    must(before.start != now.start || before.size != now.size);
    must(now.size == 0 ? now.start == 0 : now.size == f->real.bar[bar].size && now.start != 0);
    f->range[bar] = now;
}

static inline void fake_interrupts(void *context, enum vpci_interrupts how)
{
    struct fake *f = context;
    must(how != f->how);
    f->how = how;
    memset(f->live, 0, sizeof(f->live));
    f->lives = 0;
}

static inline void fake_message(void *context, unsigned entry, const struct vpci_message *message)
{
    struct fake *f = context;
    must(entry < (f->how == VPCI_MSIX ? FAKE_ENTRIES : VPCI_MAX_VECTORS) && f->how >= VPCI_MSI);
    if (message == NULL) {
        must(f->live[entry]);
        f->live[entry] = false;
        f->lives--;
        return;
    }
    must(message->address % 4 == 0);
    must(!f->live[entry] || message->address != f->message[entry].address ||
         message->data != f->message[entry].data);
    f->lives += !f->live[entry];
    f->live[entry] = true;
    f->message[entry] = *message;
}

/* All is quiet then, and what was written is gone. */
static inline void fake_reset(void *context)
{
    struct fake *f = context;
    must(!f->masters && (f->config[4] & 4) == 0 && f->how == VPCI_SILENT && f->lives == 0);
    for (unsigned i = 0; i < PCI_BARS; i++)
        must(f->range[i].size == 0);
    memcpy(f->config, f->at_reset, sizeof(f->config));
    fake_put(f, 0x04, 2, 0);
    f->resets++;
}

static const struct vpci_ops fake_ops = {
    .read = fake_read,
    .write = fake_write,
    .bus_master = fake_bus_master,
    .decode = fake_decode,
    .interrupts = fake_interrupts,
    .message = fake_message,
    .reset = fake_reset,
};

/* --- what follows from what the guest sees ---------------------------------------------------- */

/* Where capability ID begins, by the list; 0: it is not there. */
static inline unsigned fake_find(const struct vpci *v, unsigned id)
{
    unsigned at = (vpci_read(v, 4) >> 20 & 1) != 0 ? vpci_read(v, 0x34) & 0xff : 0;
    for (unsigned n = 0; at != 0; n++) {
        must(n < 48 && at >= 0x40 && at % 4 == 0);
        uint32_t header = vpci_read(v, at);
        if ((header & 0xff) == id)
            return at;
        at = header >> 8 & 0xff;
    }
    return 0;
}

static inline unsigned fake_power(const struct vpci *v)
{
    unsigned pm = fake_find(v, 1);
    return pm != 0 ? vpci_read(v, pm + 4) & 3 : 0;
}

/* PCI Local Bus Specification, "Base Addresses"; and not at 0, and not up to 4 GiB or the end. */
static inline struct vpci_range fake_range(const struct vpci *v, const struct fake *f, unsigned i)
{
    struct vpci_range range = {0, 0};
    const struct pci_bar *bar = &f->real.bar[i];
    uint32_t command = vpci_read(v, 4), low = vpci_read(v, 0x10 + 4 * i);
    bool io = bar->kind == PCI_BAR_IO;
    if (bar->kind == PCI_BAR_NONE || (command & (io ? 1 : 2)) == 0 || fake_power(v) != 0)
        return range;
    uint64_t start = low & (io ? ~3u : ~15u);
    if (bar->wide)
        start += (uint64_t)vpci_read(v, 0x14 + 4 * i) << 32;
    uint64_t last = start + bar->size - 1;
    if (start == 0 || last == 0xffffffff || last == ~0ull || (io && last > 0xffff))
        return range;
    return (struct vpci_range){start, bar->size};
}

static inline enum vpci_interrupts fake_how(const struct vpci *v)
{
    unsigned msi = fake_find(v, 5), msix = fake_find(v, 0x11);
    if (fake_power(v) != 0)
        return VPCI_SILENT;
    if (msix != 0 && vpci_read(v, msix) >> 31 != 0)
        return VPCI_MSIX;
    if (msi != 0 && (vpci_read(v, msi) >> 16 & 1) != 0)
        return VPCI_MSI;
    bool pin = (vpci_read(v, 0x3c) >> 8 & 0xff) != 0;
    return pin && (vpci_read(v, 4) >> 10 & 1) == 0 ? VPCI_INTX : VPCI_SILENT;
}

static inline void fake_check_message(const struct fake *f, unsigned i, bool live, uint64_t address,
                                      uint32_t data)
{
    must(f->live[i] == live);
    must(!live || (f->message[i].address == address && f->message[i].data == data));
}

/* "MSI Capability Structure": registers behind each other, as its two flags say. */
static inline void fake_check_msi(const struct vpci *v, const struct fake *f)
{
    unsigned at = fake_find(v, 5), control = vpci_read(v, at) >> 16, next = at + 8;
    uint64_t address = vpci_read(v, at + 4);
    if ((control & 0x80) != 0) {
        address |= (uint64_t)vpci_read(v, next) << 32;
        next += 4;
    }
    uint32_t data = vpci_read(v, next);
    uint32_t mask = (control & 0x100) != 0 ? vpci_read(v, next + 4) : 0;
    unsigned count = 1u << (control >> 4 & 7);
    must(count <= 1u << (control >> 1 & 7));
    for (unsigned i = 0; i < 32; i++)
        fake_check_message(f, i, i < count && (mask >> i & 1) == 0, address,
                           data / count * count + i);
}

static inline uint32_t fake_table(const struct vpci *v, uint32_t place, uint32_t offset)
{
    uint64_t value;
    must(vpci_read_table(v, place % 8, place / 8 * 8 + offset, 4, &value) && value <= UINT32_MAX);
    return (uint32_t)value;
}

static inline void fake_check_msix(const struct vpci *v, const struct fake *f)
{
    unsigned at = fake_find(v, 0x11), control = vpci_read(v, at) >> 16;
    uint32_t place = vpci_read(v, at + 4);
    for (unsigned i = 0; i <= (control & 0x7ff); i++) {
        uint64_t address = fake_table(v, place, 16 * i);
        address |= (uint64_t)fake_table(v, place, 16 * i + 4) << 32;
        bool live = (control & 0x4000) == 0 && fake_table(v, place, 16 * i + 12) % 2 == 0;
        fake_check_message(f, i, live, address, fake_table(v, place, 16 * i + 8));
    }
}

/* The owner knows what the guest sees, and the real function is as both say. */
static inline void fake_check(const struct vpci *v, const struct fake *f)
{
    uint32_t command = vpci_read(v, 4), real = fake_get(f, 4, 2);
    bool masters = (command & 4) != 0 && fake_power(v) == 0;
    must(f->masters == masters && ((real & 4) != 0) == (masters && f->allows));
    must(f->pcie == 0 || !v->setup.snoops || (f->config[f->pcie + 9] & 8) == 0);
    must(f->how == fake_how(v) && ((real & 0x400) == 0) == (f->how == VPCI_INTX));
    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct vpci_range range = fake_range(v, f, i);
        must(range.start == f->range[i].start && range.size == f->range[i].size);
    }
    if (f->how == VPCI_MSI)
        fake_check_msi(v, f);
    else if (f->how == VPCI_MSIX)
        fake_check_msix(v, f);
    else
        must(f->lives == 0);
}
