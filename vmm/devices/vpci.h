/*
 * A passed-through PCI function as its guest sees it: the configuration space, and the MSI-X table.
 * Pure: what is to happen to the real function, and what the guest wants of its owner, goes through
 * struct vpci_ops. The real BARs and message registers are never the guest's. What is not
 * understood is not in the list of capabilities and cannot be written. All manuals' names are of
 * the PCI Local Bus Specification 3.0 and the PCI Express Base Specification, where nothing else
 * stands. Also runs in a host process.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/pci.h"

/* How the guest has told the function to interrupt. */
enum vpci_interrupts { VPCI_SILENT, VPCI_INTX, VPCI_MSI, VPCI_MSIX };

/* A message as the guest has written it: any values. */
struct vpci_message {
    uint64_t address; /* a multiple of 4 */
    uint32_t data;
};

/* Guest-physical addresses or ports that lead to a BAR; SIZE 0: none do. */
struct vpci_range {
    uint64_t start, size;
};

/*
 * What a function's owner does for it; CONTEXT is the owner's. They are called while the model is
 * in use: they must not call it.
 */
struct vpci_ops {
    /* The real function's registers: REG is a multiple of SIZE, which is 1, 2 or 4. */
    uint32_t (*read)(void *context, unsigned reg, unsigned size);
    void (*write)(void *context, unsigned reg, unsigned size, uint32_t value);
    /* The guest turns bus mastering on or off. Returns whether the real bit may be on. */
    bool (*bus_master)(void *context, bool on);
    /* What led to BAR leads there no more; NOW does. It may be over anything else. */
    void (*decode)(void *context, unsigned bar, struct vpci_range before, struct vpci_range now);
    /* From now on it interrupts this way. All messages so far are void. */
    void (*interrupts)(void *context, enum vpci_interrupts how);
    /* That of an entry (MSI: a vector) is now MESSAGE; NULL: it is masked. */
    void (*message)(void *context, unsigned entry, const struct vpci_message *message);
    /*
     * Resets the real function, whose bus mastering is off and to whose BARs nothing leads any
     * more, and restores its BARs and what else the owner has set, but for Command and Device
     * Control.
     */
    void (*reset)(void *context);
};

/* "MSI-X Table Structure". */
struct vpci_entry {
    uint32_t word[4]; /* Message Address, Message Upper Address, Message Data, Vector Control */
};
enum { VPCI_MAX_ENTRIES = 2048, VPCI_MAX_VECTORS = 32 };

struct vpci_setup {
    const struct pci_function *real;
    const struct vpci_ops *ops;
    void *context;
    struct vpci_entry *entries; /* room for the MSI-X table */
    unsigned entry_count;       /* how many; MSI-X is hidden where its table has more */
    unsigned vectors;           /* MSI: how many at most, a power of two; 0: it is hidden */
    uint8_t line;               /* Interrupt Line as firmware leaves it */
    bool intx;                  /* INTx can be had: else Interrupt Pin is 0 */
    bool snoops;                /* No-Snoop-Enable is held at 0 */
    bool resets; /* the owner can reset the function: else the guest cannot, either */
};

struct vpci_cap {
    uint8_t at, id;
};

/* Where something is in a BAR. */
struct vpci_place {
    uint8_t bar;
    uint32_t offset, size;
};

/* "MSI Capability Structure". */
struct vpci_msi {
    uint64_t address;
    uint32_t data, mask;
    uint16_t control; /* Message Control: what is written of it */
};

enum { VPCI_DWORDS = 64, VPCI_MAX_CAPS = 48 };

struct vpci {
    struct vpci_setup setup;
    uint8_t at;         /* device * 8 + function on the guest's bus */
    bool multifunction; /* its device has others there */
    /* What there is, from the start on: */
    struct vpci_cap caps[VPCI_MAX_CAPS]; /* those that are shown, in the list's order */
    unsigned cap_count;
    uint8_t what[VPCI_DWORDS];        /* registers: enum what, or WHAT_CAP and on: CAPS */
    struct vpci_place table, pending; /* of MSI-X; no size: hidden */
    uint16_t kept;                    /* bits of the real Command that are always on */
    uint16_t msi_offered;             /* Message Control, without what is written */
    uint16_t device_control;          /* of the real function, at the start */
    uint8_t pcie;                     /* the PCI Express capability; 0: there is none */
    /* What the guest has written: */
    uint16_t command, msix_control;
    uint8_t line, power; /* Interrupt Line, PowerState */
    uint32_t bar[PCI_BARS];
    struct vpci_msi msi;
    /* What the owner knows, and the real function: */
    struct vpci_range range[PCI_BARS];
    uint8_t how; /* enum vpci_interrupts */
    bool open;   /* it has been told of messages */
    bool masters;
    uint16_t real_command;
};

/*
 * Makes the function from the real one's registers, whose Command and Device Control become the
 * model's; vpci_bus_fill() says where it is. SETUP is copied.
 */
void vpci_create(struct vpci *v, const struct vpci_setup *setup);

/* Whether the guest can have it interrupt by messages: MSI or MSI-X. */
bool vpci_has_messages(const struct vpci *v);

/* With SNOOPS: whether the function's No-Snoop-Enable is there to be held, and reads as 0. */
bool vpci_holds_no_snoop(const struct vpci *v);

/*
 * The 4 bytes at REG of its configuration space, a multiple of 4 below PCI_CONFIG_END. A write
 * changes the bytes for which MASK has FFh; the others of it are 0.
 */
uint32_t vpci_read(const struct vpci *v, unsigned reg);
void vpci_write(struct vpci *v, unsigned reg, uint32_t mask, uint32_t value);

/*
 * A reset, by the guest or at the VM's: all as at the start, the owner told of it, and the real
 * function reset.
 */
void vpci_reset(struct vpci *v);

/* How many entries the MSI-X table has; 0: it is hidden. */
unsigned vpci_table_entries(const struct vpci *v);

/*
 * An access of WIDTH bytes (1, 2, 4 or 8) at OFFSET in BAR to the MSI-X table or pending bits.
 * False: it is for the device, as are reads of pending bits. Where it is the table's that does not
 * belong to one or two whole words a write is dropped ("MSI-X Table Structure").
 */
bool vpci_read_table(const struct vpci *v, unsigned bar, uint64_t offset, unsigned width,
                     uint64_t *value);
bool vpci_write_table(struct vpci *v, unsigned bar, uint64_t offset, unsigned width,
                      uint64_t value);

/* --- between the files that do this ----------------------------------------------------------- */

/* What a dword of the first 256 bytes is. */
enum what { WHAT_DEVICE, WHAT_NOTHING, WHAT_CAP };

/* "Power Management States". */
enum { POWER_D0, POWER_D1, POWER_D2, POWER_D3 };

/* "Capability IDs" (PCI Code and ID Assignment Specification). */
enum {
    CAP_PM = 0x01,
    CAP_MSI = 0x05,
    CAP_VENDOR = 0x09,
    CAP_PCIE = 0x10,
    CAP_MSIX = 0x11,
    CAP_AF = 0x13,
};

static inline uint32_t vpci_real(const struct vpci *v, unsigned reg, unsigned size)
{
    return v->setup.ops->read(v->setup.context, reg, size);
}

static inline void vpci_set_real(const struct vpci *v, unsigned reg, unsigned size, uint32_t value)
{
    v->setup.ops->write(v->setup.context, reg, size, value);
}

/* OLD with the bytes that MASK chooses from VALUE, as far as they are in BITS. */
static inline uint32_t vpci_merge(uint32_t old, uint32_t bits, uint32_t mask, uint32_t value)
{
    return (old & ~(bits & mask)) | (value & bits & mask);
}

/* vpci_caps.c: finds what is shown; the registers of capability I, by their places in all of
 * the space; and gives the real function its Device Control of the start. */
void vpci_find_caps(struct vpci *v);
uint32_t vpci_read_cap(const struct vpci *v, unsigned i, unsigned reg);
void vpci_write_cap(struct vpci *v, unsigned i, unsigned reg, uint32_t mask, uint32_t value);
void vpci_restore_caps(const struct vpci *v);

/*
 * vpci_msi.c: MSI and MSI-X, of which the capability at AT begins with HEADER; REG is a
 * register of it. Accepting one is to know it; false: it is to be hidden.
 */
unsigned vpci_msi_size(uint32_t header);
bool vpci_accept_msi(struct vpci *v, uint32_t header);
uint32_t vpci_read_msi(const struct vpci *v, unsigned at, unsigned reg);
void vpci_write_msi(struct vpci *v, unsigned reg, uint32_t mask, uint32_t value);
bool vpci_accept_msix(struct vpci *v, unsigned at, uint32_t header);
uint32_t vpci_read_msix(const struct vpci *v, unsigned at, unsigned reg);
void vpci_write_msix(struct vpci *v, unsigned reg, uint32_t mask, uint32_t value);
void vpci_clear_msi(struct vpci *v);

/* Tells the owner how the function interrupts now, where that has changed. */
void vpci_tell_interrupts(struct vpci *v);

/* vpci.c: tells of all that has changed. */
void vpci_tell(struct vpci *v);
