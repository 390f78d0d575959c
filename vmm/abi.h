/* Hypercalls: VMCALL on Intel, VMMCALL on AMD. Shared with the guests; numbers are never reused. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdint.h>

/*
 * Number in RAX, arguments RBX RCX RDX RSI, result in RAX: >= 0, or a negative errno. CPL 0 only.
 * Those of the oracle need `control = yes` (else -1, EPERM), and write a struct type_answer, or
 * what they say, at the linear address in RCX, as a store of the guest would, with its faults.
 */
enum hypercall {
    HYPERCALL_VERSION = 0, /* result: HYPERCALL_ABI */

    /* The byte at guest-physical RBX, where the guest's PAT says the type RDX (as encoded in a
       PAT): -22 (EINVAL) for no such type. */
    HYPERCALL_TYPE_PHYSICAL = 1,

    /* The byte at linear RBX as the guest's own page tables map it for a read of CPL 0; nothing is
       changed in them. -14 (EFAULT) where they do not. */
    HYPERCALL_TYPE_LINEAR = 2,

    /* The entry of level RDX (1: of a page table) by which linear RBX is translated: the memory
       that the entry lies in, through the type by which the CPU reads it. -14 where there is none.
     */
    HYPERCALL_TYPE_TABLE = 3,

    /* The memory types follow the rules RBX (enum policy_number) from now on, as they are with a
       device that does not snoop if the VM has one, or bit 0 of RDX is 1. -22: no such rules, or
       another bit; -95 (EOPNOTSUPP): none for this CPU's second-level tables; -1: not beside the
       VM's device without `dangerous = yes`. RBX all ones: nothing changes, the result is the
       number of those in force. Needs `control = yes`, else -1. */
    HYPERCALL_POLICY = 4,

    /*
     * Memory that the guest's page tables reach through types of different cacheability: by its own
     * CR3, and by the other roots that the struct alias_question at linear RBX names (RBX = 0: by
     * none). Result: how many aliases there are; the struct alias_answer of the one with the number
     * RDX, from 0, is written where RCX points, if there is one. -7 (E2BIG): the tables are too
     * much to be read; -12 (ENOMEM): no memory for the search.
     */
    HYPERCALL_ALIAS = 5,

    /* The trace, by RBX, an enum trace_call; needs `control = yes`, else -1. -22 for no such call,
       -12 (ENOMEM) where there was no memory for a ring. */
    HYPERCALL_TRACE = 6,

    /* Writes the map of the VM's memory to the log; needs `control = yes`, else -1. */
    HYPERCALL_LOG_MAP = 7,
};

/* Whose rules make a guest's memory types (vmm/typing/policy.h); the config has them by name. */
enum policy_number {
    POLICY_EXACT = 0,
    POLICY_WB,
    POLICY_KVM_2008,
    POLICY_KVM_4_19,
    POLICY_KVM_6_7,
    POLICY_KVM_6_11,
    POLICY_KVM_6_16,
    POLICY_KVM_SVM,
    POLICY_KVM_SVM_2015,
    POLICY_XEN,
    POLICY_BHYVE,
    POLICY_ACRN,
    POLICY_JAILHOUSE,
    POLICY_BITVISOR,
    POLICIES,
};

/* What HYPERCALL_TRACE does. */
enum trace_call {
    TRACE_CALL_OFF,
    TRACE_CALL_ON,   /* with an empty ring */
    TRACE_CALL_DUMP, /* writes what the ring has to the log */
};

/* What decided a type: enum mtrr_rule of mm/mtrr.h, or one of these. */
enum type_rule {
    TYPE_RULE_REGION = 16, /* a region of the config */
    TYPE_RULE_POLICY,      /* the policy gives memory a type whatever the MTRRs say */
    TYPE_RULE_CD,          /* CR0.CD = 1 */
    TYPE_RULE_NONE,        /* no memory: no leaf */
    TYPE_RULE_MMIO,        /* a device's registers, that are never cacheable */
};

/* Types are those of MTRRs and PATs; EFFECTIVE is an enum effective of mm/effective.h. */
struct type_answer {
    uint64_t gpa;
    uint64_t next; /* the first guest-physical address above, where the answer may be another */
    uint64_t hpa;
    uint64_t root;      /* of the second-level tables in use */
    uint8_t guest_type; /* by the guest's MTRRs as it wrote them */
    uint8_t guest_rule; /* which of them decided: enum mtrr_rule */
    uint8_t host_type;  /* by the host's MTRRs */
    uint8_t present;    /* 0: no leaf; the rest then is 0 but for RULE */
    uint8_t leaf_type, leaf_ipat, leaf_level;
    uint8_t pat_type;  /* that counts: the guest's, or the one that is in force instead */
    uint8_t effective; /* enum effective */
    uint8_t rule;      /* enum mtrr_rule or enum type_rule */
    uint8_t cd;        /* the guest's CR0.CD */
    uint8_t view;      /* enum view_kind of vmm/typing/policy.h */
    uint8_t unused[4];
};

/* The values of CR3 that other processes of the guest have, in the paging mode that it is in. */
enum { ALIAS_ROOTS = 7 };
struct alias_question {
    uint64_t count; /* of roots, at most ALIAS_ROOTS: else -22 (EINVAL) */
    uint64_t root[ALIAS_ROOTS];
};

/* One way to an alias. */
struct alias_path {
    uint64_t root;   /* the value of CR3 */
    uint64_t linear; /* address of the first byte */
    uint64_t gpa;
    uint32_t page;     /* bytes of each of the guest's pages */
    uint8_t pat_type;  /* by the guest's entry */
    uint8_t effective; /* enum effective */
    uint8_t unused[2];
};

/* An alias: as much memory as both ways have without a gap. */
struct alias_answer {
    uint64_t hpa, size;
    struct alias_path cacheable; /* WB, WT or WP */
    struct alias_path uncacheable;
};

enum { HYPERCALL_ABI = 3 };

/* CPUID leaf 40000000h: EBX, ECX, EDX spell NOSNOOP_SIGNATURE; EAX is the highest hypervisor leaf.
 */
#define CPUID_HYPERVISOR  0x40000000u
#define NOSNOOP_SIGNATURE "NoSnoopHyper"

/* EAX: the rate of the guest's TSC in kHz; EBX: that of the APIC's bus. 0: not known. */
#define CPUID_HYPERVISOR_TIMING 0x40000010u
#define CPUID_HYPERVISOR_LAST   CPUID_HYPERVISOR_TIMING

/* A write of any width ends the VM with the value. */
#define PORT_EXIT 0xf4
