/* The rules of VM entry as a table, so that a failed entry can be explained and a VMCS be checked.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmx/caps.h"

/* Where the manual states the rule: a section of its chapter "VM Entries". */
enum vmx_rule_group {
    VMX_RULES_EXECUTION_CONTROLS, /* "VM-Execution Control Fields" */
    VMX_RULES_EXIT_CONTROLS,      /* "VM-Exit Control Fields" */
    VMX_RULES_ENTRY_CONTROLS,     /* "VM-Entry Control Fields" */
    VMX_RULES_HOST_REGISTERS,     /* "Checks on Host Control Registers, MSRs, and SSP" */
    VMX_RULES_HOST_SEGMENTS,      /* "Checks on Host Segment and Descriptor-Table Registers" */
    VMX_RULES_ADDRESS_SPACE,      /* "Checks Related to Address-Space Size" */
    VMX_RULES_GUEST_REGISTERS, /* "Checks on Guest Control Registers, Debug Registers, and MSRs" */
    VMX_RULES_GUEST_SEGMENTS,  /* "Checks on Guest Segment Registers" */
    VMX_RULES_GUEST_TABLES,    /* "Checks on Guest Descriptor-Table Registers" */
    VMX_RULES_GUEST_RIP,       /* "Checks on Guest RIP, RFLAGS, and SSP" */
    VMX_RULES_GUEST_NON_REGISTER, /* "Checks on Guest Non-Register State" */
    VMX_RULES_GUEST_PDPTES,       /* "Checks on Guest Page-Directory-Pointer-Table Entries" */
    VMX_RULE_GROUPS
};

extern const char *const vmx_rule_group_names[VMX_RULE_GROUPS];

/* Gives the value of a field of the VMCS; 0 for a field that the CPU lacks. */
struct vmcs_reader {
    uint64_t (*read)(void *ctx, uint32_t field);
    void *ctx;
};

struct vmx_state;

/* A rule applies while all bits WHEN_MASK of the control word WHEN are 1. */
struct vmx_rule {
    const char *name; /* short, and never changed */
    enum vmx_rule_group group;
    enum vmx_word when;
    uint64_t when_mask;
    bool (*holds)(const struct vmx_state *state, const struct vmx_rule *rule);
    uint32_t field; /* the predicate's: an encoding, a control word or a segment register */
    uint64_t arg;   /* the predicate's */
    const char *text;
};

extern const struct vmx_rule vmx_rules[];
extern const unsigned vmx_rule_count;

/*
 * Calls REPORT for each rule that the VMCS breaks, and returns how many there are. REPORT may be
 * NULL. The CPU is taken to be in IA-32e mode and outside SMM.
 *
 * Not checked, as no field tells it: what addresses point to (VTPR, the linked VMCS, MSR areas),
 * whether the link pointer is the current VMCS, and bits whose meaning depends on the CPU model
 * (IA32_DEBUGCTL, IA32_PERF_GLOBAL_CTRL, IA32_RTIT_CTL, IA32_LBR_CTL: only what is reserved in all
 * of them). Not known here: FRED state, SEAM, TME, and the loading of IA32_SPEC_CTRL.
 */
unsigned vmx_check(const struct vmcs_reader *reader, const struct vmx_msrs *msrs,
                   void (*report)(void *ctx, const struct vmx_rule *rule), void *ctx);
