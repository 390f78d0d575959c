/* IOMMUs: what the machine's units do for vmm/, whoever made them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/acpi.h"
#include "drivers/pci.h"
#include "mm/memmap.h"
#include "mm/pt.h"

/* How the source of an interrupt says which one it is. */
struct iommu_message {
    uint64_t address; /* of an MSI */
    uint32_t data;
    uint64_t rte; /* an I/O APIC's redirection entry, but for its polarity and mask */
};

/*
 * What the units' drivers need of the machine. Several CPUs may call these at once. Tables that the
 * hardware walks are pages from ALLOC, or of TAKE.
 */
struct iommu_machine {
    const struct firmware *firmware;
    /* The first ACPI table of SIGNATURE; false: there is none. */
    bool (*find)(const char *signature, struct acpi_table *table);
    const struct memmap *map;
    uint8_t phys_bits;              /* of addresses */
    bool x2apic;                    /* the CPUs' local APICs are in x2APIC mode */
    void *(*alloc)(unsigned pages); /* so many in a row, zeroed; NULL: none left */
    void (*free)(void *page);       /* one */
    /* SIZE bytes, whole pages, in a row, for good, not zeroed: while start() runs. NULL: no. */
    void *(*take)(uint64_t size, hpa_t *at);
    hpa_t (*hpa)(const void *page);
    void *(*at)(hpa_t page);
    volatile void *(*map_mmio)(hpa_t registers, uint64_t size); /* uncached, for good; NULL: no */
    /* SIZE is 4 or 8. */
    uint64_t (*read)(const volatile void *reg, unsigned size);
    void (*write)(volatile void *reg, unsigned size, uint64_t value);
    void (*stop)(const char *why); /* does not return: a unit no longer answers */
    struct iommu_message faults;   /* by which a unit tells that it has recorded one; no RTE */
    /* Writes the N bytes at AT back to memory, where a unit that does not snoop finds them. */
    void (*flush)(const void *at, size_t n);
    /* As pci_read32() and pci_write32(). */
    uint32_t (*config)(struct pci_bdf bdf, unsigned reg);
    void (*set_config)(struct pci_bdf bdf, unsigned reg, uint32_t value);
};

enum { IOMMU_MAX_RESERVED = 8 };

/* Memory that firmware says a requester goes on to use by itself: ranges, each once. */
struct iommu_reserved {
    struct range r[IOMMU_MAX_RESERVED];
    uint8_t count;
    bool more; /* there are others, for which there is no room */
};

void iommu_add_reserved(struct iommu_reserved *to, struct range r);

/* The fewest bits of addresses of which all below END are; END is above 1. */
static inline unsigned iommu_bits(uint64_t end)
{
    return 64 - (unsigned)__builtin_clzll(end - 1);
}

/* The unit that translates one requester's DMA. */
struct iommu_facts {
    uint8_t unit; /* its number in the log */
    bool snoops;  /* it can make every access of a device look into the CPUs' caches: No Snoop has
                     no effect then */
    bool remaps;  /* interrupts too; false: a device may send any CPU any vector */
    bool x2apic;  /* to APIC IDs above 254 */
    struct pci_bdf alias; /* that its requests carry by the firmware's tables: mostly its own */
    struct iommu_reserved reserved;
};

/* False: no unit that works translates the requester's DMA; ALIAS and RESERVED say what they do. */
typedef bool iommu_facts_of(struct pci_bdf requester, struct iommu_facts *facts);

/*
 * What a VM's devices reach: tables of their own, of no memory type. All is made when it is
 * created but what pt_map() takes. One CPU at a time uses it.
 */
struct iommu_domain {
    struct pt pt;
    const struct pci_bdf *requesters; /* all that will be attached; the caller's */
    unsigned count;
    bool snoops;   /* every access of its devices is made to look into the CPUs' caches */
    bool coherent; /* the driver's: all of its units' walks snoop */
    uint16_t id;   /* the driver's: never 0 */
    const struct iommu_machine *machine; /* the driver's: where its table pages come from */
    uint64_t units;                /* the driver's: those that have its requesters, a bit each */
    const struct iommu_kind *kind; /* the driver's */
};

/* An interrupt as the host wants it: fixed, to one CPU. */
struct iommu_interrupt {
    uint32_t apic_id; /* of the CPU */
    uint8_t vector;   /* 16 to 254 */
    bool level;       /* of an I/O APIC's pin */
};

/* An I/O APIC as a source of interrupts. */
struct iommu_ioapic {
    uint8_t id; /* APIC ID */
    struct pci_bdf requester;
    struct pci_bdf alias; /* that its messages may carry, too: mostly the same */
    bool x2apic;          /* the unit that remaps them leads to APIC IDs above 254 */
};

enum { IOMMU_MAX_IOAPICS = 32 };

struct iommu_ioapics {
    struct iommu_ioapic r[IOMMU_MAX_IOAPICS];
    unsigned count;
};

/*
 * One kind of IOMMU. A requester is an ID that iommu_requesters() gives, or an I/O APIC's; where it
 * is about a device's interrupts, what pci_requester() gives. What is done for a requester is done
 * for its alias, too, but not for that one's.
 */
struct iommu_ops {
    /*
     * Finds the units and turns them on, with all DMA blocked and, where they can, no interrupt
     * but by an entry; logs them, and fills IOAPICS with those whose interrupts they remap. MACHINE
     * is kept. Once, by the first CPU.
     * Returns 0, -ENODEV (there are none), or another negative errno, logged; then those that were
     * on stay on.
     */
    int (*start)(const struct iommu_machine *machine, struct iommu_ioapics *ioapics);

    iommu_facts_of *facts;

    /*
     * Makes an empty domain, for good, for COUNT >= 1 of REQUESTERS (kept by reference), each with
     * facts, that reaches addresses below 2^BITS. SNOOP: force snooping, if all of their units can.
     * Returns 0, -ENOMEM, -ENOSPC, -ERANGE (what all of the units reach is less), or -EINVAL (the
     * firmware's tables make one of them two things), logged.
     */
    int (*create)(struct iommu_domain *domain, const struct pci_bdf *requesters, unsigned count,
                  unsigned bits, bool snoop);

    /*
     * From its return on the requester's DMA goes by DOMAIN, which names it; NULL: is blocked, and
     * what was under way is done. Takes no memory.
     */
    void (*attach)(struct pci_bdf requester, struct iommu_domain *domain);

    /*
     * Maps as pt_map() with PERM (PT_R, PT_W), 0: unmaps. From its return on devices see it so, and
     * what was under way by an older mapping is done. Returns 0 or -ENOMEM, logged.
     */
    int (*map)(struct iommu_domain *domain, uint64_t address, hpa_t hpa, uint64_t size,
               unsigned perm);

    /*
     * Takes an entry for the requester's interrupts, for good. It is not present yet. The requester
     * is one of IOAPICS, or one for which a domain has been made and whose unit remaps. Takes no
     * memory. Returns its index, or -ENOSPC, logged.
     */
    int (*claim)(struct pci_bdf requester);

    /*
     * From its return on entry INDEX leads to INTERRUPT, for that requester alone; NULL: nowhere.
     * MESSAGE, or NULL: what the source is to say for it, which depends on INDEX and level alone,
     * but for the vector in an I/O APIC's.
     */
    void (*interrupt)(struct pci_bdf requester, unsigned index,
                      const struct iommu_interrupt *interrupt, struct iommu_message *message);

    /* Logs the faults that units have recorded since, at most so many a second. Returns how many
     * there were. */
    unsigned (*faults)(void);
};

enum { IOMMU_MAX_REQUESTERS = 2, IOMMU_MAX_CARRIED = 2 * IOMMU_MAX_REQUESTERS };

/* IDs, each once. */
struct iommu_carried {
    struct pci_bdf id[IOMMU_MAX_CARRIED];
    unsigned count;
};

/*
 * The requesters that F is to a driver: what pci_requester() gives and its own ID, for a bridge to
 * PCI-X may leave that as it is, each if it has facts. Their aliases are the driver's to add.
 */
struct iommu_carried iommu_requesters(iommu_facts_of *facts, const struct pci_function *f);

/* What F's requests may carry: those IDs, facts or not, and the aliases of those with facts. */
struct iommu_carried iommu_carried(iommu_facts_of *facts, const struct pci_function *f);

/* Whether the two have one in common. */
bool iommu_share_id(const struct iommu_carried *a, const struct iommu_carried *b);

/* What firmware says of any of these: nothing tells for which of them it meant it. */
struct iommu_reserved iommu_reserved(iommu_facts_of *facts, const struct pci_function *f);

/*
 * Makes those functions of TABLE one group whose requests may carry the same BDF, by a bridge or by
 * the firmware's tables: no unit can tell them apart.
 */
void iommu_join_groups(const struct iommu_ops *ops, struct pci_table *table);

/* The machine's kind of IOMMU, started; NULL: none, or none that works. */
const struct iommu_ops *iommu_start(const struct iommu_machine *machine,
                                    struct iommu_ioapics *ioapics);
