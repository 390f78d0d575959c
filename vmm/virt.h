/*
 * The contract between vmm/, which decides, and the two backends vmx/ and svm/, which translate: a
 * neutral exit, a neutral view of guest state, and one short table of operations.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/effective.h"
#include "mm/pt.h"
#include "vmm/host/cpu.h"

struct host;
struct vm;
struct vcpu;

/* In the order of x86's encodings. */
enum gpr { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, GPRS };

/* In the order of x86's encodings, then the two that have none. */
enum seg_reg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEGS };

/* Attributes as in a descriptor's bits 55:40, with bits 11:8 (the limit) as 0. */
enum seg_attr {
    SEG_TYPE = 0xf,
    SEG_S = 1 << 4,
    SEG_P = 1 << 7,
    SEG_L = 1 << 13,
    SEG_D = 1 << 14,
    SEG_G = 1 << 15,
};

struct seg {
    uint16_t selector;
    uint16_t attr;  /* enum seg_attr; 0: unusable */
    uint32_t limit; /* bytes, granularity applied */
    uint64_t base;
};

struct table_reg {
    uint64_t base;
    uint32_t limit;
};

/* Groups of guest state that a backend fetches when asked and commits when changed. */
enum state_group {
    STATE_CR = 1 << 0,     /* CR2, CR3, PDPTEs, DR6, DR7, IA32_PAT */
    STATE_CODE = 1 << 1,   /* CS and the CPL */
    STATE_SEG = 1 << 2,    /* the other segments, GDTR, IDTR */
    STATE_MSR = 1 << 3,    /* SYSENTER_*, STAR, LSTAR, CSTAR, SFMASK, KERNEL_GS_BASE, TSC */
    STATE_MODE = 1 << 4,   /* CR0, CR4 and EFER as the guest sees them */
    STATE_CD = 1 << 5,     /* is only committed: of STATE_MODE CR0.CD and NW alone have changed */
    STATE_EVENTS = 1 << 6, /* no backend's: before the next entry vcpu_settle() is to be called */
};

struct guest_state {
    uint64_t gpr[GPRS]; /* always valid after an exit, as are the next two */
    uint64_t rip;
    uint64_t rflags;
    /* STATE_MODE */
    uint64_t cr0, cr4, efer;
    /* STATE_CR */
    uint64_t cr2, cr3, dr6, dr7;
    uint64_t pat;      /* the one in force */
    uint64_t pdpte[4]; /* where the CPU holds them (has_pdptes) and PAE paging is on */
    /* STATE_CODE and STATE_SEG */
    struct seg seg[SEGS];
    uint8_t cpl;
    struct table_reg gdtr, idtr;
    /* STATE_MSR */
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
    uint64_t tsc_offset; /* guest TSC less host TSC */
};

/* As in EVENTINJ and the VM-entry interruption-information field, whose encodings agree. */
enum event_type {
    DELIVER_INTERRUPT = 0,
    DELIVER_NMI = 2,
    DELIVER_EXCEPTION = 3,
    DELIVER_SOFT_INTERRUPT = 4,
    DELIVER_ICEBP = 5,          /* INT1; on SVM an exception */
    DELIVER_SOFT_EXCEPTION = 6, /* INT3, INTO; on SVM an exception */
};

struct event {
    bool valid;
    uint8_t vector;
    uint8_t type; /* enum event_type */
    bool has_error;
    uint32_t error;
    uint8_t length; /* of the instruction, for software events */
};

enum exit_kind {
    EXIT_NONE, /* nothing to do: enter again */
    /* Instructions that vmm/ completes. */
    EXIT_CPUID,
    EXIT_RDMSR,
    EXIT_WRMSR,
    EXIT_XSETBV,
    EXIT_HLT,
    EXIT_FREEZE, /* it waits for an interrupt, as after HLT, but is not to go on behind anything */
    EXIT_INVD,
    EXIT_WBINVD,
    EXIT_HYPERCALL,
    EXIT_UNDEFINED,  /* an instruction that this guest does not have: #UD */
    EXIT_PRIVILEGED, /* an instruction that this guest may not use: #GP(0) */
    EXIT_TRIPLE_FAULT,
    EXIT_INIT,
    EXIT_INTERRUPT, /* a physical interrupt, which is still pending, or an NMI, which is not */
    EXIT_WINDOW,    /* what await() asked for has come */
    /* From here on the exit carries more than its kind. */
    EXIT_IO,
    EXIT_CR,        /* an access to CR0, CR4 or CR8 */
    EXIT_APIC,      /* the CPU has put into the APIC's page what was written, and gone on */
    EXIT_MEMORY,    /* a second-level fault */
    EXIT_EXCEPTION, /* an intercepted exception of the guest */
    EXIT_FAILED,    /* the CPU refused the entry: the backend has logged why */
    EXIT_UNKNOWN,   /* a code that was never asked for */
    EXIT_KINDS,
};

/* Flags of an I/O access; the values are those of SVM's EXITINFO1. */
enum { IO_IN = 1 << 0, IO_STRING = 1 << 2, IO_REP = 1 << 3 };

struct exit_io {
    uint16_t port;
    uint8_t width; /* bytes: 1, 2, 4 */
    uint8_t flags; /* IO_* */
};

/* As in VMX's exit qualification. */
enum cr_op { CR_MOV_TO, CR_MOV_FROM, CR_CLTS, CR_LMSW };

struct exit_cr {
    bool known;      /* false: the CPU did not say, the instruction does */
    uint8_t op;      /* enum cr_op */
    uint8_t cr, gpr; /* of the MOVs */
    uint16_t source; /* of LMSW */
};

struct exit_memory {
    gpa_t gpa;
    uint8_t access; /* PT_R, PT_W, PT_X: what was tried */
    bool present;   /* a leaf was there and forbade it */
    bool walk;      /* by the CPU's walk of the guest's tables, not by the access itself */
    bool pdptes;    /* walk: by a MOV to CR that loads the PDPTEs */
};

struct vm_exit {
    enum exit_kind kind;
    uint64_t next_rip; /* 0: the CPU did not say */
    union {
        struct exit_io io;
        struct exit_cr cr;
        struct exit_memory memory;
        struct {
            uint32_t apic_reg;    /* EXIT_APIC: enum lapic_reg */
            uint32_t apic_vector; /* of an EOI */
            bool apic_ended;      /* that is all that has happened */
        };
        struct event exception; /* EXIT_EXCEPTION; #PF has its address in CR2 */
        uint64_t code;          /* EXIT_UNKNOWN, EXIT_FAILED: the backend's own number */
    };
};

/* What the running CPU can do beyond what every supported CPU can. */
struct virt_caps {
    const struct pt_format *format; /* second-level tables */
    const struct type_rules *types; /* what the CPU makes of memory types */
    uint8_t max_leaf;               /* level of their largest leaf: 2 or 3 */
    bool has_ipat;                  /* leaves can ignore the guest's PAT */
    bool has_nrips;                 /* exits carry the next RIP */
    bool has_nmi_window;            /* await() can wait for NMIs to be no longer blocked */
    bool has_pdptes;                /* the CPU holds the PDPTEs of PAE paging */
    bool reserves_bit8;             /* of PML4 and PML5 entries */
    bool switches_pat;              /* the guest's IA32_PAT is its own without exits */
    bool owns_cr0_cd;               /* the guest's CR0.CD acts by itself, without exits */
    bool host_types_count;          /* the host's MTRRs act on guests' memory too */
    bool self_snoops;               /* uncached accesses look into the CPU's own caches */
    bool repeats_last_leaf; /* CPUID beyond the highest leaf answers the highest basic one */
    bool has_misc_enable;   /* IA32_MISC_ENABLE and the MSRs of its CPUs */
    bool has_syscfg;        /* SYSCFG, HWCR, TOP_MEM and the other MSRs from C0010010h on */
    bool syscall_is_64_bit; /* SYSCALL is there, and CPUID says so, in 64-bit mode alone */
    hpa_t apic_access; /* where this page is mapped, the CPU reads and writes the APIC's page in
                               its place, in xAPIC mode; 0: none does */
    bool delivers;     /* it delivers what an APIC in its care requests, and keeps its page */
    uint8_t hypercall; /* enum insn_op: the instruction of this vendor */
};

/* What of a vCPU's control structure follows from its policy and state, as vmm/typing/ decides. */
enum control {
    CONTROL_CR0_READS = 1 << 0,  /* where the guest owns CR0.CD: reads of CR0 exit all the same */
    CONTROL_CR0_WRITES = 1 << 1, /* the same for writes */
    CONTROL_PAT = 1 << 2,        /* accesses of IA32_PAT exit, also where the CPU switches it */
    CONTROL_WBINVD = 1 << 3,     /* WBINVD exits, where the CPU can do that */
};

/* What can keep an event from being injected, of what only the backend knows. */
enum blocked {
    BLOCKED_BY_SHADOW = 1 << 0, /* that of STI or MOV SS, on the guest's next instruction */
    BLOCKED_NMI = 1 << 1,       /* an NMI, by one whose handler has not returned */
};

/* What makes the guest exit as soon as it is so; EXIT_WINDOW but for the last. */
enum await {
    AWAIT_INTERRUPT = 1 << 0, /* the guest can take an interrupt */
    AWAIT_NMI = 1 << 1,       /* it can take an NMI */
    AWAIT_CR8 = 1 << 2,       /* it lowers the class of TPR as it is now, if not before */
};

struct virt_ops {
    const char *name;

    /*
     * Checks the running CPU and turns virtualization on: before any guest runs, and not on two
     * CPUs at once. On the first CPU it fills CAPS, which have no format before; others must be as
     * that is. 0, -ENODEV or -ENOMEM, logged.
     */
    int (*cpu_start)(struct cpu *cpu, struct host *host, struct virt_caps *caps);
    /* Turns it off on the running CPU. */
    void (*cpu_stop)(struct cpu *cpu);

    /* On VCPU's CPU, as all below: takes the memory of the backend's part. 0 or -ENOMEM. */
    int (*vcpu_create)(struct vcpu *vcpu);
    /*
     * Puts the backend's part of VCPU, but for what commit() moves, in its state before any entry:
     * no event, no shadow, nothing pending, nothing cached. control() and set_view() follow.
     */
    void (*vcpu_reset)(struct vcpu *vcpu);

    /*
     * Enters the guest with committed state and VCPU->event; returns at the next exit, with
     * VCPU->exit, and in VCPU->event the event whose delivery it interrupted.
     */
    void (*run)(struct vcpu *vcpu);
    /*
     * The same with the CPU's CR0.CD set while the guest runs, and nothing in its caches before:
     * for CPUs where that does not follow from the guest's CR0, else NULL.
     */
    void (*run_uncached)(struct vcpu *vcpu);

    /* Moves groups of guest state (enum state_group) between VCPU->state and the CPU's structure.
     */
    unsigned (*fetch)(struct vcpu *vcpu, unsigned groups); /* returns those that it fetched */
    void (*commit)(struct vcpu *vcpu, unsigned groups);

    /* VCPU's next entry uses the second-level tables at ROOT; they need not have been flushed. */
    void (*set_view)(struct vcpu *vcpu, hpa_t root);

    /* The root of the second-level tables that VCPU's next entry uses. */
    hpa_t (*root)(const struct vcpu *vcpu);

    /*
     * Makes CPUS forget every translation of VM by the tables at ROOT before they enter it again.
     */
    void (*invalidate)(struct vm *vm, hpa_t root, struct cpu_set cpus);

    /*
     * Makes VCPU->controls hold, and has the CPU do by itself what it can of the guest's APIC in
     * its mode, if the config allows it.
     */
    void (*control)(struct vcpu *vcpu);

    /* The guest's CR8, where it accesses it without exits but for what await() says; else NULL. */
    uint64_t (*cr8)(const struct vcpu *vcpu);
    void (*set_cr8)(struct vcpu *vcpu, uint64_t value);

    /* What blocks events (enum blocked) since the last exit. */
    unsigned (*blocked)(struct vcpu *vcpu);

    /*
     * VCPU is to exit when it comes to any of WHAT (enum await), until this is called again. Called
     * also before an entry that injects an NMI, which blocks others.
     */
    void (*await)(struct vcpu *vcpu, unsigned what);

    /*
     * For VCPU->delivers, else NULL: the highest vectors that the CPU has left requested and in
     * service, and those that it is to go on from, both as lapic_highest() has them.
     */
    unsigned (*delivered)(const struct vcpu *vcpu);
    void (*deliver)(struct vcpu *vcpu, unsigned highest);

    /* Logs every field of the backend's control structure by name. */
    void (*dump)(struct vcpu *vcpu);
};

/* Picks the backend by CPUID feature bit: the one place that names a vendor. NULL, logged: none. */
const struct virt_ops *backend_pick(void);
