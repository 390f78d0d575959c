/* A machine's configuration space for host tests: functions whose registers behave as real ones. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdlib.h>

#include "drivers/pci.h"
#include "tests/unit/host.h"

enum { FAKE_MOST = 320 };

struct fake_function {
    struct pci_bdf bdf;
    bool gone;           /* reads all ones */
    unsigned returns;    /* waits until it is there again */
    bool held;           /* its bus is being reset */
    unsigned trains;     /* of a port: waits from the end of that until its link is up, which it */
    unsigned training;   /* shows; 0: it does not; and how many there are left */
    unsigned ends, head; /* the last capability, the last extended one */
    uint8_t now[PCI_CONFIG_END];
    uint8_t writable[PCI_CONFIG_END]; /* bits that take what is written */
    uint8_t cleared_by_1[PCI_CONFIG_END];
};

static struct fake_pci {
    struct fake_function f[FAKE_MOST];
    unsigned count;
    unsigned hot;                /* writes of address bits while the function decodes */
    unsigned reads;              /* of configuration space */
    unsigned flr, af, d3, buses; /* resets begun */
    unsigned waited;             /* microseconds */
    bool no_ecam;
    bool on_bus[256]; /* there is something, in any segment */
} fake;

static inline struct fake_function *fake_at(struct pci_bdf bdf)
{
    for (unsigned i = 0; i < fake.count && fake.on_bus[bdf.bus]; i++)
        if (pci_same_bdf(fake.f[i].bdf, bdf))
            return &fake.f[i];
    return NULL;
}

static inline uint32_t fake_get(const struct fake_function *f, unsigned reg, unsigned size)
{
    uint32_t value = 0;
    memcpy(&value, &f->now[reg], size);
    return value;
}

static inline void fake_set(struct fake_function *f, unsigned reg, unsigned size, uint32_t value)
{
    memcpy(&f->now[reg], &value, size);
}

static inline void fake_let(struct fake_function *f, unsigned reg, unsigned size, uint32_t bits)
{
    memcpy(&f->writable[reg], &bits, size);
}

static inline bool fake_hides(const struct fake_function *f, unsigned reg)
{
    return f == NULL || f->gone || f->held || (fake.no_ecam && reg >= PCI_EXTENDED);
}

static uint32_t fake_read(struct pci_bdf bdf, unsigned reg, unsigned size)
{
    const struct fake_function *f = fake_at(bdf);
    uint32_t ones = size == 4 ? UINT32_MAX : (1u << 8 * size) - 1;
    fake.reads++;
    return fake_hides(f, reg) ? ones : fake_get(f, reg, size);
}

/* What a reset takes: BARs, and what capabilities have been told. */
static inline void fake_forget(struct fake_function *f)
{
    memset(&f->now[PCI_BAR0], 0, 24);
    if (f->now[0x40] == 0x10)
        fake_set(f, 0x48, 2, 0x2810);
    if (f->now[0x100] == 0x0d)
        fake_set(f, 0x106, 2, 0);
}

/* A bus reset holds everything behind the bridge, and takes its registers. */
static inline void fake_hold(const struct fake_function *bridge, bool holds)
{
    for (unsigned i = 0; i < fake.count; i++) {
        struct fake_function *f = &fake.f[i];
        if (f->bdf.segment == bridge->bdf.segment && f->bdf.bus >= bridge->now[PCI_SECONDARY] &&
            f->bdf.bus <= bridge->now[PCI_SUBORDINATE]) {
            f->held = holds;
            fake_forget(f);
        }
    }
}

enum { FAKE_PCIE = 0x40, FAKE_PM = 0x80, FAKE_AF = 0x90, FAKE_BACK = 30 };

/* It is away for some waits. */
static inline void fake_restart(struct fake_function *f, unsigned *count)
{
    ++*count;
    f->gone = true;
    f->returns = FAKE_BACK;
    fake_forget(f);
}

/* What a write does beyond its register; WAS: what that was. */
static inline void fake_react(struct fake_function *f, unsigned reg, uint32_t was, uint32_t value)
{
    if ((f->now[PCI_HEADER] & 0x7f) == 1 && reg == PCI_BRIDGE_CONTROL) {
        fake.buses += (value & ~was & 1 << 6) != 0;
        fake_hold(f, (value & 1 << 6) != 0);
        fake_set(f, FAKE_PCIE + 0x12, 2, 0);
        f->training = f->trains;
    }
    if (f->now[FAKE_PCIE] == 0x10 && reg == FAKE_PCIE + 8 && (value & 1 << 15) != 0)
        fake_restart(f, &fake.flr);
    if (f->now[FAKE_AF] == 0x13 && reg == FAKE_AF + 4 && (value & 1) != 0)
        fake_restart(f, &fake.af);
    if (f->now[FAKE_PM] == 0x01 && reg == FAKE_PM + 4 && (was & 3) == 3 && (value & 3) == 0)
        fake_restart(f, &fake.d3);
}

static void fake_write(struct pci_bdf bdf, unsigned reg, unsigned size, uint32_t value)
{
    struct fake_function *f = fake_at(bdf);
    if (fake_hides(f, reg))
        return;
    uint32_t was = fake_get(f, reg, size);
    bool address = (reg >= PCI_BAR0 && reg < 0x28) || reg == PCI_ROM;
    if (address && (f->now[PCI_HEADER] & 0x7f) == 0 && (f->now[PCI_COMMAND] & 3) != 0)
        fake.hot++;
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> 8 * i), bits = f->writable[reg + i];
        uint8_t *now = &f->now[reg + i];
        *now = (uint8_t)((*now & ~bits) | (byte & bits));
        *now &= (uint8_t) ~(byte & f->cleared_by_1[reg + i]);
    }
    fake_react(f, reg, was, value);
}

static void fake_delay(uint32_t us)
{
    fake.waited += us;
    for (unsigned i = 0; i < fake.count; i++) {
        struct fake_function *f = &fake.f[i];
        if (f->returns > 0 && --f->returns == 0)
            f->gone = false;
        if (f->training > 0 && --f->training == 0)
            fake_set(f, FAKE_PCIE + 0x12, 2, 1 << 13);
    }
}

static const struct pci_access fake_access = {fake_read, fake_write};

static inline void fake_reset(void)
{
    memset(fake.f, 0, fake.count * sizeof(fake.f[0]));
    memset(&fake.count, 0, sizeof(fake) - offsetof(struct fake_pci, count));
    pci_use(&fake_access);
    host_log_reset();
}

/* --- builders --------------------------------------------------------------------------------- */

/* A device or a bridge: CLASS of 24 bits. All that decodes is on, and bus mastering. */
static inline struct fake_function *fake_add(struct pci_bdf bdf, uint32_t class)
{
    struct fake_function *f = &fake.f[fake.count++];
    if (fake.count > FAKE_MOST)
        abort();
    f->bdf = bdf;
    fake.on_bus[bdf.bus] = true;
    fake_set(f, PCI_VENDOR, 4, 0x12348086);
    fake_set(f, PCI_CLASS, 3, class);
    fake_set(f, PCI_COMMAND, 4, 0xf9000007); /* with errors in the status */
    fake_let(f, PCI_COMMAND, 2, 0x0547);
    memset(&f->cleared_by_1[PCI_STATUS + 1], 0xf9, 1);
    if (bdf.function != 0)
        f->now[PCI_HEADER] = 0x80;
    struct fake_function *first = fake_at((struct pci_bdf){bdf.segment, bdf.bus, bdf.device, 0});
    if (bdf.function != 0 && first != NULL)
        first->now[PCI_HEADER] |= 0x80;
    return f;
}

/* A capability of ID behind those that are there. */
static inline unsigned fake_cap(struct fake_function *f, unsigned id, unsigned at)
{
    f->now[f->ends == 0 ? PCI_CAPABILITIES : f->ends + 1] = (uint8_t)at;
    f->now[PCI_STATUS] |= 1 << 4;
    f->now[at] = (uint8_t)id;
    f->ends = at;
    return at;
}

static inline unsigned fake_extended(struct fake_function *f, unsigned id, unsigned at)
{
    if (f->head != 0)
        fake_set(f, f->head, 4, fake_get(f, f->head, 4) | at << 20);
    fake_set(f, at, 4, id | 1 << 16);
    f->head = at;
    return at;
}

/* PCI Express, version 2, at 40h. */
static inline void fake_express(struct fake_function *f, enum pci_port port)
{
    unsigned at = fake_cap(f, 0x10, FAKE_PCIE);
    fake_set(f, at + 2, 2, 2 | (unsigned)port << 4);
    fake_let(f, at + 8, 2, 0x7fff);
}

/* ACS at 100h, which can do what the bits of CAN say. */
static inline void fake_acs(struct fake_function *f, unsigned can)
{
    unsigned at = fake_extended(f, 0x0d, 0x100);
    fake_set(f, at + 4, 2, can);
    fake_let(f, at + 6, 2, can);
}

static inline void fake_bridge(struct fake_function *f, unsigned secondary, unsigned subordinate)
{
    f->now[PCI_HEADER] |= 1;
    f->now[PCI_SECONDARY] = (uint8_t)secondary;
    f->now[PCI_SUBORDINATE] = (uint8_t)subordinate;
    fake_let(f, PCI_BRIDGE_CONTROL, 2, 0xffff);
}
