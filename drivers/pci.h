/* PCI: configuration space, and what the machine's functions are. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

struct vm;

struct pci_bdf {
    uint16_t segment;
    uint8_t bus, device, function;
};

static inline bool pci_same_bdf(struct pci_bdf a, struct pci_bdf b)
{
    return a.segment == b.segment && a.bus == b.bus && a.device == b.device &&
           a.function == b.function;
}

/* Bus, device and function as requests carry them ("Requester ID"), and back. */
static inline uint16_t pci_id(struct pci_bdf bdf)
{
    return (uint16_t)(bdf.bus << 8 | bdf.device << 3 | bdf.function);
}

static inline struct pci_bdf pci_of_id(uint16_t segment, uint16_t id)
{
    return (struct pci_bdf){segment, (uint8_t)(id >> 8), id >> 3 & 0x1f, id & 7};
}

/* A BDF as the log has it, with its segment where that is not 0: at most sizeof(name) bytes. */
struct pci_name {
    char text[16];
};
struct pci_name pci_name(struct pci_bdf bdf);

/* --- configuration space ---------------------------------------------------------------------- */

/* PCI Local Bus Specification, "Configuration Space Organization"; of bridges PCI-to-PCI Bridge
 * Architecture Specification, "PCI-to-PCI Bridge Configuration Space Header Format". */
enum pci_register {
    PCI_VENDOR = 0x00,  /* 16 bits */
    PCI_DEVICE = 0x02,  /* 16 bits */
    PCI_COMMAND = 0x04, /* 16 bits */
    PCI_STATUS = 0x06,  /* 16 bits, cleared by ones */
    PCI_REVISION = 0x08,
    PCI_CLASS = 0x09, /* 24 bits: interface, subclass, base class */
    PCI_HEADER = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_SECONDARY = 0x19,   /* of a bridge */
    PCI_SUBORDINATE = 0x1a, /* of a bridge */
    PCI_SUBSYSTEM = 0x2c,
    PCI_ROM = 0x30,
    PCI_CAPABILITIES = 0x34,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,
    PCI_BRIDGE_CONTROL = 0x3e, /* 16 bits, of a bridge */
    PCI_EXTENDED = 0x100,      /* from here on by ECAM alone */
    PCI_CONFIG_END = 0x1000,
};

#define PCI_COMMAND_IO      (1u << 0)
#define PCI_COMMAND_MEMORY  (1u << 1)
#define PCI_COMMAND_MASTER  (1u << 2)
#define PCI_COMMAND_NO_INTX (1u << 10)

/*
 * Any register of any function: REG is a multiple of the size, below PCI_CONFIG_END. What is not
 * there or cannot be reached (registers from PCI_EXTENDED on, and segments but 0, without ECAM)
 * reads all ones, and writes to it do nothing. Several CPUs may do this at once.
 */
uint8_t pci_read8(struct pci_bdf bdf, unsigned reg);
uint16_t pci_read16(struct pci_bdf bdf, unsigned reg);
uint32_t pci_read32(struct pci_bdf bdf, unsigned reg);
void pci_write8(struct pci_bdf bdf, unsigned reg, uint8_t value);
void pci_write16(struct pci_bdf bdf, unsigned reg, uint16_t value);
void pci_write32(struct pci_bdf bdf, unsigned reg, uint32_t value);

/* How configuration space is reached. SIZE is 1, 2 or 4. */
struct pci_access {
    uint32_t (*read)(struct pci_bdf bdf, unsigned reg, unsigned size);
    void (*write)(struct pci_bdf bdf, unsigned reg, unsigned size, uint32_t value);
};

/* From here on ACCESS is how: a host test's own. Until then it is the machine's. */
void pci_use(const struct pci_access *access);

/* A part of a segment that is reached by ECAM. */
struct pci_ecam {
    uint64_t base; /* of bus 0, also where FIRST is another; a multiple of 1 MiB */
    uint16_t segment;
    uint8_t first, last; /* buses */
};

static inline struct range pci_ecam_range(const struct pci_ecam *e)
{
    enum { BUS_SHIFT = 20 };
    return (struct range){e->base + ((uint64_t)e->first << BUS_SHIFT),
                          e->base + ((e->last + 1ull) << BUS_SHIFT)};
}

enum { PCI_MAX_ECAMS = 32 };

struct pci_ecams {
    struct pci_ecam r[PCI_MAX_ECAMS];
    unsigned count;
};

/* Where ECAM has the function's PCI_CONFIG_END bytes; 0: ECAMS do not cover it. */
uint64_t pci_ecam_address(const struct pci_ecams *ecams, struct pci_bdf bdf);

/*
 * Reaches by ECAM what these cover, from now on; by ports what they do not. Those of segment 0 that
 * lead elsewhere than the ports are taken out first, logged. Kept by reference. Nothing is mapped
 * for good: an access maps its function's page for that moment, on its CPU alone.
 */
void pci_use_ecams(struct pci_ecams *ecams);

/* --- functions -------------------------------------------------------------------------------- */

enum pci_bar_kind {
    PCI_BAR_NONE, /* not there, senseless, or the upper half of the one before */
    PCI_BAR_IO,
    PCI_BAR_MEMORY,
};

struct pci_bar {
    uint64_t address;  /* as the firmware has placed it; 0: not placed */
    uint64_t size;     /* bytes, a power of two; 0: not known, of a function that is not sized */
    uint8_t kind;      /* enum pci_bar_kind */
    bool wide;         /* 64 bits: the next one is its upper half */
    bool prefetchable; /* of memory */
};

/* PCI Express Base Specification, "PCI Express Capabilities Register": Device/Port Type. */
enum pci_port {
    PCI_PORT_ENDPOINT = 0,
    PCI_PORT_LEGACY_ENDPOINT = 1,
    PCI_PORT_ROOT = 4,
    PCI_PORT_UPSTREAM = 5,
    PCI_PORT_DOWNSTREAM = 6,
    PCI_PORT_TO_PCI = 7,   /* a bridge from PCI Express to PCI or PCI-X */
    PCI_PORT_FROM_PCI = 8, /* the other way */
    PCI_PORT_INTEGRATED_ENDPOINT = 9,
    PCI_PORT_EVENT_COLLECTOR = 10,
    PCI_PORT_CONVENTIONAL = 16, /* not PCI Express */
};

enum pci_reset_method {
    PCI_RESET_NONE,
    PCI_RESET_FLR, /* by the PCI Express capability */
    PCI_RESET_AF,  /* by the Advanced Features capability */
    PCI_RESET_PM,  /* to D3hot and back */
    PCI_RESET_BUS, /* of the bus behind its bridge: no other function is there */
};

enum { PCI_BARS = 6 };

struct pci_function {
    struct pci_bdf bdf;
    uint16_t vendor, device;
    uint32_t class; /* 24 bits: base class, subclass, interface */
    uint8_t header; /* 0: a device, 1: a PCI-to-PCI bridge, 2: a CardBus bridge */
    uint8_t port;   /* enum pci_port */
    bool multifunction;
    bool isolates; /* it, and what is behind it, reaches no other function but by the root */
    bool ari;      /* of a port: the bus behind it has one device, of up to 256 functions */
    bool virtual_functions; /* the firmware had them on (SR-IOV) */
    struct pci_bar bar[PCI_BARS], rom;
    uint16_t msi, msix, pm, pcie, af;     /* capabilities: their registers; 0: not there */
    uint16_t acs, ats, pri, pasid, sriov; /* the same of extended ones */
    uint8_t secondary, subordinate;       /* buses behind a bridge; 0: none, or senseless */
    uint16_t group;                       /* of functions that nothing isolates: from 0 on */
    uint8_t reset;                        /* enum pci_reset_method */
    const struct pci_function *parent;    /* the bridge before it; NULL: on a root bus */
    struct vm *owner;                     /* left to vmm/: NULL at first */
};

enum { PCI_MAX_FUNCTIONS = 256 };

/* Rising by segment, bus, device and function. */
struct pci_table {
    struct pci_function f[PCI_MAX_FUNCTIONS];
    unsigned count;
    unsigned left_out; /* functions for which there was no room */
};

/* Base class, and base class with subclass (PCI Code and ID Assignment Specification). */
enum { PCI_CLASS_DISPLAY = 0x03, PCI_CLASS_BRIDGE = 0x06 };
enum { PCI_CLASS_IDE = 0x0101, PCI_CLASS_PCI_BRIDGE = 0x0604, PCI_CLASS_IOMMU = 0x0806 };

static inline bool pci_is_bridge(const struct pci_function *f)
{
    return f->class >> 16 == PCI_CLASS_BRIDGE || f->header != 0;
}

static inline bool pci_is_display(const struct pci_function *f)
{
    return f->class >> 16 == PCI_CLASS_DISPLAY;
}

static inline bool pci_is_iommu(const struct pci_function *f)
{
    return f->class >> 8 == PCI_CLASS_IOMMU;
}

/* Of an IDE controller. In compatibility mode each has 8 ports for commands, one for control. */
enum { PCI_IDE_CHANNELS = 2, PCI_IDE_COMMAND = 0x1f0, PCI_IDE_CONTROL = 0x3f6 };
enum { PCI_IDE_COMMAND_2 = 0x170, PCI_IDE_CONTROL_2 = 0x376 };

/*
 * Whether F is an IDE controller that has CHANNEL in compatibility mode: at the ISA bus's ports and
 * line, whatever its BARs say (PCI IDE Controller Specification, "Programming Interface").
 */
static inline bool pci_has_isa_channel(const struct pci_function *f, unsigned channel)
{
    return f->class >> 8 == PCI_CLASS_IDE && (f->class >> 2 * channel & 1) == 0;
}

/*
 * Fills TABLE with the functions of segment 0 and of those of ECAMS, root buses and what is behind
 * bridges. Every function but displays, bridges and IOMMUs loses its bus mastering first, and each
 * its INTx, whether there is room for it or not; SR-IOV, ATS, PRI and PASID are turned off, ACS on.
 * Then devices are sized: for a moment with decoding off, so nothing may use one meanwhile; nothing
 * is logged then. What makes no sense is logged.
 */
void pci_scan(struct pci_table *table, const struct pci_ecams *ecams);

/* The function at BDF, or NULL. */
struct pci_function *pci_find(struct pci_table *table, struct pci_bdf bdf);

/* Makes the functions of group B of group A. */
void pci_join_groups(struct pci_table *table, uint16_t a, uint16_t b);

/*
 * The BDF that its DMA and its MSIs carry: its own, or behind a bridge to a conventional bus that
 * of the bridge or the bus. (PCI Express to PCI/PCI-X Bridge Specification, "Requester ID".)
 */
struct pci_bdf pci_requester(const struct pci_function *f);

/*
 * Resets F by its method, with its decoding and bus mastering off before, and waits until it
 * answers again: 100 ms and more, but of one whose link is seen to be down not much more than a
 * second. DELAY waits for at least US microseconds. What it had in its configuration space is lost:
 * the caller restores what it needs. Returns 0, -ENODEV (no method), or -EIO, logged.
 */
int pci_reset(const struct pci_function *f, void (*delay)(uint32_t us));

/* What the host has set of a function, and firmware before it, that a reset takes. */
struct pci_saved {
    uint32_t bar[PCI_BARS];
    uint16_t device_control, acs_control; /* of capabilities that are there */
};

/* Takes it from F; and gives it back, after a reset, while F's decoding is off. */
void pci_save(const struct pci_function *f, struct pci_saved *saved);
void pci_restore(const struct pci_function *f, const struct pci_saved *saved);
