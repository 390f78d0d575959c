/* A virtual machine and its vCPUs. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/lock.h"
#include "lib/x86.h"
#include "mm/extents.h"
#include "mm/mtrr.h"
#include "vmm/config.h"
#include "vmm/vcpu/cpuid.h"
#include "vmm/devices/devices.h"
#include "vmm/image.h"
#include "vmm/devices/lapic.h"
#include "vmm/host/request.h"
#include "vmm/typing/sharing.h"
#include "vmm/virt.h"
#include "vmm/vcpu/decode.h"
#include "vmm/vcpu/walk.h"

enum { VM_MAX_EXTENTS = 32, VM_MAX_RAM = IMAGE_MAX_RAM, VM_LOGGED_MSRS = 32 };

/* The guest-physical map (docs/memory-map.md). */
#define GUEST_HOLE_START 0xc0000000ull
#define GUEST_HOLE_END   0x100000000ull

/* The text screen: plain memory, a character and an attribute for each cell. */
enum { SCREEN_START = 0xb8000, SCREEN_ROWS = 25, SCREEN_COLUMNS = 80 };
enum { SCREEN_SIZE = 2 * SCREEN_ROWS * SCREEN_COLUMNS };

struct boot_info;
struct host;
struct passthrough;

enum vm_state { VM_RUNNING, VM_RESETTING, VM_EXITED, VM_STOPPED };

/* MSRs without effect on the CPU, of struct vcpu. */
enum msr_slot {
    MSR_SLOT_TSC_ADJUST,
    MSR_SLOT_MCG_STATUS,
    MSR_SLOT_MISC_ENABLE,
    MSR_SLOT_HWCR,
    MSR_SLOTS,
};

/* Memory in one extent with leaves of one type in a view: most of what is ever touched. */
struct plain {
    uint64_t start, size; /* guest-physical */
    uint64_t to_hpa;      /* what leads to host-physical addresses, modulo 2^64 */
    const uint8_t *types; /* enum memtype of a window, by the guest's PAT type */
};

/* Second-level tables by some MTRRs, and what the host's own accesses need of them. */
struct map {
    struct typing typing;
    struct plain plain[VIEWS];
    uint8_t window_types[VIEWS][8];    /* of plain memory, by view and the guest's PAT type */
    struct pt_attr window_leaf[VIEWS]; /* the leaves that these are for */
};

/* What has come for a vCPU from others, at which its CPU looks when it is kicked. */
enum mail {
    MAIL_VECTORS = 0xf, /* a bit for each word of them */
    MAIL_NMI = 1 << 4,
    MAIL_INIT = 1 << 5,
    MAIL_STARTUP = 1 << 6,
    MAIL_EXTINT = 1 << 7,  /* it is to take an interrupt of the 8259s */
    MAIL_DEVICES = 1 << 9, /* devices that the VM has been given have sent something */
    MAIL_EVENTS = 1 << 8,  /* it is to look at what of devices is for it */
};

struct mailbox {
    uint32_t flags;      /* enum mail; its CPU has been kicked for them */
    uint8_t startup;     /* of MAIL_STARTUP: its vector */
    bool intr;           /* of vCPU 0: the 8259s' output, which leads to LINT0 */
    uint64_t vectors[4]; /* a bit a vector */
    uint64_t levels[4];  /* whether the last one of each was level-triggered */
    uint64_t due;        /* host TSC at which devices have to be looked at; UINT64_MAX: never */
};

struct vcpu {
    struct guest_state state;
    uint32_t fetched;    /* groups of STATE that are valid */
    uint32_t changed;    /* groups that must be committed before the next entry */
    struct vm_exit exit; /* the last one */
    struct event event; /* to be injected by the next entry, which also repeats a broken delivery */
    bool completed; /* an instruction is done or a fault raised: the next entry ends the shadow */
    struct mtrr_state mtrr;
    bool hides_mtrrs; /* CPUID and the MSRs say that there are none */
    uint64_t msr[MSR_SLOTS];
    struct map *map;           /* where the second-level tables are that it runs on, or NULL */
    enum view_kind view;       /* of these */
    const struct plain *plain; /* the same */
    bool let_go;               /* it has to follow another policy before it runs on */
    uint64_t moot;             /* CR0 bits with which all memory is UC, whatever its leaves say */
    struct walk_state walk;    /* what does not change of it is set by a reset */
    bool cd;                   /* the guest's CR0.CD, where its changes exit */
    bool owes;                 /* CR0.CD = 1 acts, and its end exits: its view has to change then */
    uint64_t pat;              /* the guest's IA32_PAT, where its accesses exit */
    uint32_t controls;         /* enum control: what holds for the next entry */
    struct lapic lapic;        /* its registers are in APIC_PAGE */
    bool delivers;             /* the CPU itself delivers what the APIC requests */
    uint16_t delivered;        /* and what it had left of that, when it was last looked at */
    uint64_t timer_due;        /* host TSC at which its CPU's timer comes, plus 1; 0: it does not */
    uint32_t again;            /* STATE_EVENTS while something is blocked: any exit may end that */
    uint8_t awaits;            /* enum await: what it is to exit for */
    bool nmi;                  /* one is pending */
    bool extint;               /* an interrupt of the 8259s is, by message */
    bool waits;                /* after a reset or an INIT, for a startup IPI */
    /* The last instructions that were decoded, by the low bits of RIP. */
    struct decoded decoded[16];
    /* A reset clears what stands above, and leaves the rest alone. */
    struct vm *vm;
    unsigned round;                 /* of vm->rounds: how many of them it has seen */
    uint32_t index;                 /* among its VM's, and its APIC's first ID; 0 is the boot CPU */
    void (*run)(struct vcpu *vcpu); /* what the run loop calls: ENTER, or the trace around it */
    void (*enter)(struct vcpu *vcpu); /* of the backend: its run() or run_uncached() */
    struct cpu *cpu;                  /* which no other CPU may look at */
    uint32_t cpu_index;               /* its number */
    uint32_t *apic_page;              /* of the host pool */
    void *backend;
    uint64_t exits[EXIT_KINDS];
    uint64_t hole_reads, hole_writes; /* accesses to nothing in the hole */
    uint64_t port_reads, port_writes; /* accesses to unassigned ports */
    _Alignas(64) struct mailbox mail; /* of which others write */
};

struct vm {
    const struct vm_config *config;
    const struct virt_ops *ops;
    const struct virt_caps *caps;
    struct host *host;
    const struct boot_info *boot; /* where its files are */
    struct range ram[VM_MAX_RAM]; /* guest-physical, rising */
    unsigned ram_count;
    uint64_t low_end; /* of what its guest is told of below 1 MiB */
    struct extent extents[VM_MAX_EXTENTS];
    unsigned extent_count;
    struct map map; /* the first of its maps */
    struct sharing sharing;
    struct request_lock views_lock; /* of all maps, where there are several vCPUs */
    uint64_t split;                 /* TSC since when its vCPUs' MTRRs differ; 0: they do not */
    bool split_logged;
    bool native_wbinvd;   /* the guest's WBINVD is the CPU's */
    uint32_t controls;    /* those of its vCPUs' controls that the policy alone decides */
    uint64_t cr4_allowed; /* CR4 bits that the guest may set */
    struct cpuid_table cpuid;
    struct vcpu *vcpus[MAX_CPUS]; /* of the host pool */
    struct lapic *lapics[MAX_CPUS];
    unsigned vcpu_count;
    struct cpu_set cpus; /* that its vCPUs run on */
    enum vm_state state; /* what ends VM_RUNNING is told to all its CPUs */
    unsigned met;        /* vCPUs, all but the boot CPU, that have left their guest for its end */
    unsigned rounds;     /* how often all have met */
    bool over;           /* and whether that was the last time */
    unsigned ready;      /* vCPUs, all but the boot CPU, that have been reset since */
    uint64_t asleep;     /* see wait.c */
    uint64_t tsc_offset; /* of a vCPU whose TSC has not been written */
    uint64_t restarts;
    struct lock lock; /* for the next four */
    struct devices devices;
    uint32_t logged_msr[VM_LOGGED_MSRS]; /* unknown MSRs that the log has named already */
    unsigned logged_msrs;
    unsigned tables, most_tables;    /* pages of the host pool for second-level tables */
    struct passthrough *passthrough; /* the machine's devices that it has; NULL: none */
    struct request_lock pci_lock;    /* for the next one */
    struct vpci_bus pci;
    uint8_t information[PAGE_SIZE];         /* what its guest finds as multiboot information */
    uint8_t firmware[PLATFORM_TABLES_SIZE]; /* and as tables of its firmware */
};

/* Brings groups of guest state up to date before they are read. */
static inline void vcpu_fetch(struct vcpu *vcpu, unsigned groups)
{
    unsigned missing = groups & ~vcpu->fetched;
    if (missing != 0)
        vcpu->fetched |= vcpu->vm->ops->fetch(vcpu, missing);
}

/* The backend's way into the guest; what wraps it stays where it is. */
static inline void vcpu_enter_by(struct vcpu *vcpu, void (*enter)(struct vcpu *vcpu))
{
    if (vcpu->run == vcpu->enter)
        vcpu->run = enter;
    vcpu->enter = enter;
}

/* Whether the CPU can do for the guest's APIC in xAPIC mode what it does in x2APIC mode: the view
 * of a VM of one vCPU can change with its mode. */
static inline bool vcpu_has_apic_access(const struct vcpu *vcpu)
{
    const struct vm_config *config = vcpu->vm->config;
    return vcpu->vm->caps->apic_access.v != 0 && config->apic == APIC_HARDWARE && config->cpus == 1;
}

/* The same, for groups that are about to be written. */
static inline void vcpu_change(struct vcpu *vcpu, unsigned groups)
{
    vcpu_fetch(vcpu, groups);
    vcpu->changed |= groups;
}

/*
 * Makes the VM that CONFIG describes on the backend of VM->ops and VM->caps, without its vCPUs:
 * memory from HOST, and what they share. Returns 0 or a negative errno, logged.
 */
int vm_create(struct vm *vm, const struct config *all, const struct vm_config *config,
              struct host *host);

/* Makes vCPU INDEX of the VM on the running CPU; they are made in order. The same. */
int vm_add_vcpu(struct vm *vm, uint32_t index);

/* Bits of the guest's physical addresses. */
unsigned vm_address_bits(const struct vm *vm);

/* The MTRRs that a vCPU begins with. */
void vm_reset_mtrrs(const struct vm *vm, struct mtrr_state *mtrr);

/* vmm/vcpu/cpuid.c: fills what CPUID answers to the VM's guest. */
void cpuid_init(struct vm *vm);

/* Makes the CPUs of the VM's other vCPUs than the running one leave their guest. */
void vm_kick_others(const struct vm *vm);

/* Ends the VM with the value that its guest gave: `exit: vm NAME value N`. */
void vm_exit_value(struct vm *vm, unsigned value);

/* Stops the VM: `stopped: vm NAME reason`, with the state of the running vCPU. */
__attribute__((format(printf, 2, 3))) void vm_stop(struct vm *vm, const char *fmt, ...);

/* The guest asked for a reset, or ended in a triple fault: does what the config says. */
void vm_reset(struct vm *vm, const char *why);

/* The same, whatever the config says: its vCPUs are to be reset. */
void vm_begin_reset(struct vm *vm, const char *why);

/*
 * The running vCPU has left its guest since the VM no longer runs: waits for the others, and
 * carries out the reset that was asked for, as at the VM's start, but RAM that nothing is loaded to
 * keeps its contents, and a policy that was taken at run time stays. False: the VM has ended.
 */
bool vm_restart(struct vcpu *vcpu);

/* Logs the lines of the text screen that its guest has written to. */
void vm_show_screen(const struct vm *vm);

/* vmm/vcpu/reset.c: a vCPU as its VM starts it, after an INIT, and at the startup IPI that ends it.
 * The first returns 0 or a negative errno, logged. */
int vcpu_reset(struct vcpu *vcpu);
void vcpu_init(struct vcpu *vcpu);
void vcpu_startup(struct vcpu *vcpu, uint8_t vector);

/* Runs the vCPU on the CPU that it is pinned to, until its VM ends. */
void vcpu_run(struct vcpu *vcpu);

/* Queues an exception, merged with one in delivery as the manuals say (double and triple faults).
 */
void vcpu_raise(struct vcpu *vcpu, enum vector vector, uint32_t error);
void vcpu_raise_page_fault(struct vcpu *vcpu, gva_t address, uint32_t error);
/* A #DB; STATUS: what it adds to DR6. The CPU clears DR7.GD when it raises one itself. */
void vcpu_raise_debug(struct vcpu *vcpu, uint64_t status);
