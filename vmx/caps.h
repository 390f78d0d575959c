/* What this CPU's VMX can do, and the control words that follow: must have, want, allowed. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/assert.h"
#include "mm/types.h"

/* Words of control or capability bits. The first five are pairs in their MSR: bits 31:0 must be 1.
 */
enum vmx_word {
    VMX_PIN,
    VMX_PROC,
    VMX_EXIT,
    VMX_ENTRY,
    VMX_PROC2,
    VMX_CONTROL_WORDS, /* what struct vmx_caps decides */

    VMX_PROC3 = VMX_CONTROL_WORDS,
    VMX_EXIT2,
    VMX_VMFUNC,
    VMX_EPT_VPID_CAP,
    VMX_WORDS
};

/* (SDM, "VMX Capability Reporting Facility") A word that the CPU lacks is 0. */
struct vmx_msrs {
    uint64_t word[VMX_WORDS]; /* the TRUE MSRs where IA32_VMX_BASIC says that there are any */
    uint64_t basic;
    uint64_t misc;
    uint64_t cr0_fixed0, cr0_fixed1; /* bits that must be 1; bits that may be 1 */
    uint64_t cr4_fixed0, cr4_fixed1;
    uint64_t feature_control;
    uint8_t physical_bits, linear_bits; /* widths of addresses, CPUID.80000008H:EAX */
    uint32_t features;                  /* CPUID.07H.00H:EBX */
};

#define CPUID_7_EBX_SGX (1u << 2)
#define CPUID_7_EBX_RTM (1u << 11)

enum {
    MSR_IA32_FEATURE_CONTROL = 0x3a,
    MSR_IA32_VMX_BASIC = 0x480,
    MSR_IA32_VMX_PINBASED_CTLS = 0x481,
    MSR_IA32_VMX_PROCBASED_CTLS = 0x482,
    MSR_IA32_VMX_EXIT_CTLS = 0x483,
    MSR_IA32_VMX_ENTRY_CTLS = 0x484,
    MSR_IA32_VMX_MISC = 0x485,
    MSR_IA32_VMX_CR0_FIXED0 = 0x486,
    MSR_IA32_VMX_CR0_FIXED1 = 0x487,
    MSR_IA32_VMX_CR4_FIXED0 = 0x488,
    MSR_IA32_VMX_CR4_FIXED1 = 0x489,
    MSR_IA32_VMX_PROCBASED_CTLS2 = 0x48b,
    MSR_IA32_VMX_EPT_VPID_CAP = 0x48c,
    MSR_IA32_VMX_TRUE_PINBASED_CTLS = 0x48d,
    MSR_IA32_VMX_TRUE_PROCBASED_CTLS = 0x48e,
    MSR_IA32_VMX_TRUE_EXIT_CTLS = 0x48f,
    MSR_IA32_VMX_TRUE_ENTRY_CTLS = 0x490,
    MSR_IA32_VMX_VMFUNC = 0x491,
    MSR_IA32_VMX_PROCBASED_CTLS3 = 0x492,
    MSR_IA32_VMX_EXIT_CTLS2 = 0x493,
};

/*
 * Fills MSRS by READ, which is never asked for an MSR that this CPU lacks: CPUID.01H:ECX.VMX must
 * be set. ADDRESS_SIZES is CPUID.80000008H:EAX, FEATURES is CPUID.07H.00H:EBX.
 */
void vmx_msrs_read(struct vmx_msrs *msrs, uint64_t (*read)(uint32_t msr), uint32_t address_sizes,
                   uint32_t features);

/* Bits of a word that may be 1. */
static inline uint64_t vmx_allowed1(const struct vmx_msrs *msrs, enum vmx_word word)
{
    assert(word < VMX_WORDS);
    // cppcheck-suppress arrayIndexOutOfBoundsCond ; it does not see what the assertion excludes
    return word < VMX_CONTROL_WORDS ? msrs->word[word] >> 32 : msrs->word[word];
}

/* Bits of a word that must be 1. */
static inline uint64_t vmx_required1(const struct vmx_msrs *msrs, enum vmx_word word)
{
    return word < VMX_CONTROL_WORDS ? (uint32_t)msrs->word[word] : 0;
}

/* (SDM, "Enabling and Entering VMX Operation") */
enum vmx_firmware {
    VMX_FIRMWARE_OPEN, /* not locked: *SET is to be written first */
    VMX_FIRMWARE_ON,   /* locked, VMXON is allowed outside SMX */
    VMX_FIRMWARE_OFF,  /* locked, VMXON faults */
};

/* Judges IA32_FEATURE_CONTROL; *SET is the value that it must have, VALUE itself unless open. */
enum vmx_firmware vmx_judge_firmware(uint64_t value, uint64_t *set);

enum { VMX_MAX_MISSING = 16 };

struct vmx_caps {
    struct vmx_msrs msrs;
    uint32_t control[VMX_CONTROL_WORDS];  /* must have, and of what we want all that is allowed */
    uint64_t ept_vpid;                    /* IA32_VMX_EPT_VPID_CAP */
    const char *missing[VMX_MAX_MISSING]; /* names of what we want and the CPU lacks */
    unsigned missing_count;
};

/*
 * Decides the control words. VPID is wanted only where INVVPID can flush one context or all of
 * them. Returns 0; -EPERM if the firmware has locked VMX off; -ENODEV if the CPU lacks what we must
 * have. Each lack is logged by name.
 */
int vmx_caps_init(struct vmx_caps *caps, const struct vmx_msrs *msrs);
