/* Judges the VMX capability MSRs: pure functions of their values. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/caps.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "vmx/controls.h"

#define FEATURE_CONTROL_LOCK        (1ull << 0)
#define FEATURE_CONTROL_OUTSIDE_SMX (1ull << 2)

/*
 * TAKE: where the CPU has what it hides from the guest it is there too, and elsewhere not missed.
 */
enum need { MUST, WANT, TAKE };

struct feature {
    enum need need;
    enum vmx_word word;
    uint64_t bit;
    const char *name;
};

/* clang-format off */
static const struct feature features[] = {
    {MUST, VMX_PIN,   PIN_EXTERNAL_INTERRUPT_EXITING,   "external-interrupt exiting"},
    {MUST, VMX_PIN,   PIN_NMI_EXITING,                  "NMI exiting"},
    {MUST, VMX_PIN,   PIN_VIRTUAL_NMIS,                 "virtual NMIs"},

    {MUST, VMX_PROC,  PROC_ACTIVATE_SECONDARY_CONTROLS, "secondary controls"},
    {MUST, VMX_PROC,  PROC_HLT_EXITING,                 "HLT exiting"},
    {MUST, VMX_PROC,  PROC_USE_TSC_OFFSETTING,          "TSC offsetting"},
    {MUST, VMX_PROC,  PROC_RDPMC_EXITING,               "RDPMC exiting"},
    {MUST, VMX_PROC,  PROC_MWAIT_EXITING,               "MWAIT exiting"},
    {MUST, VMX_PROC,  PROC_MONITOR_EXITING,             "MONITOR exiting"},
    {MUST, VMX_PROC,  PROC_CR8_LOAD_EXITING,            "CR8-load exiting"},
    {MUST, VMX_PROC,  PROC_CR8_STORE_EXITING,           "CR8-store exiting"},
    {MUST, VMX_PROC,  PROC_USE_IO_BITMAPS,              "I/O bitmaps"},
    {MUST, VMX_PROC,  PROC_USE_MSR_BITMAPS,             "MSR bitmaps"},

    {MUST, VMX_PROC2, PROC2_ENABLE_EPT,                 "EPT"},
    {MUST, VMX_PROC2, PROC2_UNRESTRICTED_GUEST,         "unrestricted guest"},
    {WANT, VMX_PROC,  PROC_USE_TPR_SHADOW,              "TPR shadow"},
    {WANT, VMX_PROC2, PROC2_VIRTUALIZE_APIC_ACCESSES,   "APIC-access virtualization"},
    {WANT, VMX_PROC2, PROC2_VIRTUALIZE_X2APIC_MODE,     "x2APIC-mode virtualization"},
    {WANT, VMX_PROC2, PROC2_APIC_REGISTER_VIRTUALIZATION, "APIC-register virtualization"},
    {WANT, VMX_PROC2, PROC2_VIRTUAL_INTERRUPT_DELIVERY, "virtual-interrupt delivery"},
    {WANT, VMX_PROC2, PROC2_ENABLE_VPID,                "VPID"},
    {WANT, VMX_PROC2, PROC2_ENABLE_RDTSCP,              "RDTSCP"},
    {WANT, VMX_PROC2, PROC2_WBINVD_EXITING,             "WBINVD exiting"},
    {TAKE, VMX_PROC2, PROC2_ENABLE_ENCLS_EXITING,       "ENCLS exiting"},
    {TAKE, VMX_PROC2, PROC2_ENABLE_ENCLV_EXITING,       "ENCLV exiting"},

    {MUST, VMX_EXIT,  EXIT_CTL_HOST_ADDRESS_SPACE_SIZE, "host address-space size"},
    {MUST, VMX_EXIT,  EXIT_CTL_SAVE_DEBUG_CONTROLS,     "save debug controls"},
    {MUST, VMX_EXIT,  EXIT_CTL_SAVE_IA32_PAT,           "save IA32_PAT"},
    {MUST, VMX_EXIT,  EXIT_CTL_LOAD_IA32_PAT,           "load host IA32_PAT"},
    {MUST, VMX_EXIT,  EXIT_CTL_SAVE_IA32_EFER,          "save IA32_EFER"},
    {MUST, VMX_EXIT,  EXIT_CTL_LOAD_IA32_EFER,          "load host IA32_EFER"},

    {MUST, VMX_ENTRY, ENTRY_CTL_LOAD_DEBUG_CONTROLS,    "load debug controls"},
    {MUST, VMX_ENTRY, ENTRY_CTL_LOAD_IA32_PAT,          "load guest IA32_PAT"},
    {MUST, VMX_ENTRY, ENTRY_CTL_LOAD_IA32_EFER,         "load guest IA32_EFER"},

    {MUST, VMX_EPT_VPID_CAP, EPT_CAP_WALK_LENGTH_4,     "4-level EPT"},
    {MUST, VMX_EPT_VPID_CAP, EPT_CAP_TYPE_WB,           "write-back EPT paging structures"},
    {MUST, VMX_EPT_VPID_CAP, EPT_CAP_INVEPT,            "INVEPT"},
    {MUST, VMX_EPT_VPID_CAP, EPT_CAP_INVEPT_ALL,        "INVEPT of all contexts"},
    {WANT, VMX_EPT_VPID_CAP, EPT_CAP_INVEPT_SINGLE,     "INVEPT of one context"},
    {WANT, VMX_EPT_VPID_CAP, EPT_CAP_PAGE_2M,           "2M EPT pages"},
    {WANT, VMX_EPT_VPID_CAP, EPT_CAP_PAGE_1G,           "1G EPT pages"},
    {WANT, VMX_EPT_VPID_CAP, EPT_CAP_ACCESSED_DIRTY,    "EPT accessed and dirty flags"},
    {WANT, VMX_EPT_VPID_CAP, VPID_CAP_INVVPID,          "INVVPID"},
    {WANT, VMX_EPT_VPID_CAP, VPID_CAP_SINGLE_CONTEXT,   "INVVPID of one context"},
    {WANT, VMX_EPT_VPID_CAP, VPID_CAP_ALL_CONTEXTS,     "INVVPID of all contexts"},
};

static const char *const word_names[VMX_WORDS] = {
    [VMX_PIN] = "pin-based control",      [VMX_PROC] = "primary control",
    [VMX_PROC2] = "secondary control",    [VMX_EXIT] = "VM-exit control",
    [VMX_ENTRY] = "VM-entry control",     [VMX_EPT_VPID_CAP] = "IA32_VMX_EPT_VPID_CAP",
};
/* clang-format on */

static_assert(VMX_CONTROL_WORDS == VMX_PROC2 + 1, "the pairs come first");

static bool allows(const struct vmx_msrs *msrs, enum vmx_word word, uint64_t bits)
{
    return (vmx_allowed1(msrs, word) & bits) == bits;
}

static void read_controls(struct vmx_msrs *msrs, uint64_t (*read)(uint32_t msr))
{
    bool exact = (msrs->basic & VMX_BASIC_TRUE_CONTROLS) != 0;
    msrs->word[VMX_PIN] =
        read(exact ? MSR_IA32_VMX_TRUE_PINBASED_CTLS : MSR_IA32_VMX_PINBASED_CTLS);
    msrs->word[VMX_PROC] =
        read(exact ? MSR_IA32_VMX_TRUE_PROCBASED_CTLS : MSR_IA32_VMX_PROCBASED_CTLS);
    msrs->word[VMX_EXIT] = read(exact ? MSR_IA32_VMX_TRUE_EXIT_CTLS : MSR_IA32_VMX_EXIT_CTLS);
    msrs->word[VMX_ENTRY] = read(exact ? MSR_IA32_VMX_TRUE_ENTRY_CTLS : MSR_IA32_VMX_ENTRY_CTLS);
    if (allows(msrs, VMX_PROC, PROC_ACTIVATE_SECONDARY_CONTROLS))
        msrs->word[VMX_PROC2] = read(MSR_IA32_VMX_PROCBASED_CTLS2);
    if (allows(msrs, VMX_PROC, PROC_ACTIVATE_TERTIARY_CONTROLS))
        msrs->word[VMX_PROC3] = read(MSR_IA32_VMX_PROCBASED_CTLS3);
    if (allows(msrs, VMX_EXIT, EXIT_CTL_ACTIVATE_SECONDARY_CONTROLS))
        msrs->word[VMX_EXIT2] = read(MSR_IA32_VMX_EXIT_CTLS2);
    if (allows(msrs, VMX_PROC2, PROC2_ENABLE_VM_FUNCTIONS))
        msrs->word[VMX_VMFUNC] = read(MSR_IA32_VMX_VMFUNC);
    if (allows(msrs, VMX_PROC2, PROC2_ENABLE_EPT) || allows(msrs, VMX_PROC2, PROC2_ENABLE_VPID))
        msrs->word[VMX_EPT_VPID_CAP] = read(MSR_IA32_VMX_EPT_VPID_CAP);
}

void vmx_msrs_read(struct vmx_msrs *msrs, uint64_t (*read)(uint32_t msr), uint32_t address_sizes,
                   uint32_t features_ebx)
{
    *msrs = (struct vmx_msrs){
        .basic = read(MSR_IA32_VMX_BASIC),
        .misc = read(MSR_IA32_VMX_MISC),
        .cr0_fixed0 = read(MSR_IA32_VMX_CR0_FIXED0),
        .cr0_fixed1 = read(MSR_IA32_VMX_CR0_FIXED1),
        .cr4_fixed0 = read(MSR_IA32_VMX_CR4_FIXED0),
        .cr4_fixed1 = read(MSR_IA32_VMX_CR4_FIXED1),
        .feature_control = read(MSR_IA32_FEATURE_CONTROL),
        .physical_bits = (uint8_t)address_sizes,
        .linear_bits = (uint8_t)(address_sizes >> 8),
        .features = features_ebx,
    };
    read_controls(msrs, read);
}

enum vmx_firmware vmx_judge_firmware(uint64_t value, uint64_t *set)
{
    *set = value;
    if (!(value & FEATURE_CONTROL_LOCK)) {
        *set = value | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_OUTSIDE_SMX;
        return VMX_FIRMWARE_OPEN;
    }
    return value & FEATURE_CONTROL_OUTSIDE_SMX ? VMX_FIRMWARE_ON : VMX_FIRMWARE_OFF;
}

static uint32_t bits_of(enum need need, enum vmx_word word)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
        if (features[i].need == need && features[i].word == word)
            bits |= features[i].bit;
    }
    return (uint32_t)bits;
}

static uint32_t control_word(const struct vmx_msrs *msrs, enum vmx_word word)
{
    uint32_t must = bits_of(MUST, word) | (uint32_t)vmx_required1(msrs, word);
    uint32_t want = bits_of(WANT, word) | bits_of(TAKE, word);
    return must | (want & (uint32_t)vmx_allowed1(msrs, word));
}

static void add_missing(struct vmx_caps *caps, const char *name)
{
    assert(caps->missing_count < VMX_MAX_MISSING);
    caps->missing[caps->missing_count++] = name;
}

/* A VPID that cannot be flushed is worse than none. */
static void drop_useless_vpid(struct vmx_caps *caps)
{
    uint64_t types = VPID_CAP_SINGLE_CONTEXT | VPID_CAP_ALL_CONTEXTS;
    bool flushes = (caps->ept_vpid & VPID_CAP_INVVPID) && (caps->ept_vpid & types);
    if (flushes || !(caps->control[VMX_PROC2] & PROC2_ENABLE_VPID))
        return;
    caps->control[VMX_PROC2] &= ~PROC2_ENABLE_VPID;
    add_missing(caps, "VPID");
}

/* What the controls for APICs need of each other, and what is of use only with others. */
static void drop_useless_apic(struct vmx_caps *caps)
{
    const uint32_t delivers = PROC2_APIC_REGISTER_VIRTUALIZATION | PROC2_VIRTUAL_INTERRUPT_DELIVERY;
    uint32_t *proc2 = &caps->control[VMX_PROC2];
    if ((caps->control[VMX_PROC] & PROC_USE_TPR_SHADOW) == 0)
        *proc2 &= ~(PROC2_VIRTUALIZE_APIC_ACCESSES | PROC2_VIRTUALIZE_X2APIC_MODE);
    if ((*proc2 & PROC2_VIRTUALIZE_X2APIC_MODE) == 0 || (*proc2 & delivers) != delivers)
        *proc2 &= ~delivers;
}

/* Names what is missing. Returns how many must-haves are. */
static unsigned find_missing(struct vmx_caps *caps)
{
    unsigned lacks = 0;
    for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
        const struct feature *f = &features[i];
        if (allows(&caps->msrs, f->word, f->bit))
            continue;
        if (f->need == WANT)
            add_missing(caps, f->name);
        if (f->need != MUST)
            continue;
        lacks++;
        log_line("vmx: the CPU lacks %s (%s bit %d): needs Westmere or later", f->name,
                 word_names[f->word], __builtin_ctzll(f->bit));
    }
    return lacks;
}

int vmx_caps_init(struct vmx_caps *caps, const struct vmx_msrs *msrs)
{
    uint64_t set;
    *caps = (struct vmx_caps){.msrs = *msrs, .ept_vpid = msrs->word[VMX_EPT_VPID_CAP]};
    if (vmx_judge_firmware(msrs->feature_control, &set) == VMX_FIRMWARE_OFF) {
        log_line("vmx: the firmware has VMX disabled (IA32_FEATURE_CONTROL is locked at 0x%llx): "
                 "enable it in the firmware set-up",
                 (unsigned long long)msrs->feature_control);
        return -EPERM;
    }
    if (find_missing(caps) > 0)
        return -ENODEV;
    for (unsigned word = 0; word < VMX_CONTROL_WORDS; word++)
        caps->control[word] = control_word(msrs, (enum vmx_word)word);
    drop_useless_vpid(caps);
    drop_useless_apic(caps);
    return 0;
}
