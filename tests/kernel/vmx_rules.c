/* Enters a guest with one field of an accepted VMCS wrong at a time, which the CPU must refuse. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/assert.h"
#include "vmm/host/log.h"
#include "vmm/host/panic.h"
#include "vmx/controls.h"
#include "vmx/vmx.h"

/* The kernel's own is linked under the second name, and all its callers call the first. */
void __wrap_vmx_run(struct vcpu *vcpu);
void __real_vmx_run(struct vcpu *vcpu);

/* A rule of vmx/check.c, and what breaks it. */
struct row {
    const char *rule;
    enum vmcs_field field;
    uint64_t flip; /* bits of the field */
};

#define NON_CANONICAL (1ull << 47)
#define BEYOND_WIDTH  (1ull << 45)
#define TPR_SHADOW    VMCS_PRIMARY_PROCESSOR_BASED_CONTROLS, PROC_USE_TPR_SHADOW

/* clang-format off */
/* A guest in 32-bit protected mode without paging: the state at the first entry. */
static const struct row rows_32[] = {
    {"pin-reserved",         VMCS_PIN_BASED_CONTROLS, 1 << 1},
    {"virtual-nmis",         VMCS_PIN_BASED_CONTROLS, PIN_NMI_EXITING},
    {"proc-reserved",        VMCS_PRIMARY_PROCESSOR_BASED_CONTROLS, 1 << 1},
    {"proc2-reserved",       VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS, 1u << 31},
    {"x2apic-without-shadow", VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS,
                             PROC2_VIRTUALIZE_X2APIC_MODE},
    {"apic-registers-without-shadow", VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS,
                             PROC2_APIC_REGISTER_VIRTUALIZATION},
    {"delivery-without-shadow", VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS,
                             PROC2_VIRTUAL_INTERRUPT_DELIVERY},
    {"unrestricted-without-ept", VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS, PROC2_ENABLE_EPT},
    {"cr3-target-count",     VMCS_CR3_TARGET_COUNT, 5},
    {"io-bitmap-a",          VMCS_ADDRESS_OF_IO_BITMAP_A, 1},
    {"io-bitmap-b",          VMCS_ADDRESS_OF_IO_BITMAP_B, BEYOND_WIDTH},
    {"msr-bitmap",           VMCS_ADDRESS_OF_MSR_BITMAPS, 0x800},
    {"vpid",                 VMCS_VIRTUAL_PROCESSOR_IDENTIFIER, VMX_GUEST_VPID},
    {"eptp-type",            VMCS_EPT_POINTER, 4},
    {"eptp-walk",            VMCS_EPT_POINTER, 1 << 3},
    {"eptp-reserved",        VMCS_EPT_POINTER, 1 << 9},
    {"eptp-width",           VMCS_EPT_POINTER, BEYOND_WIDTH},
    {"exit-reserved",        VMCS_PRIMARY_VM_EXIT_CONTROLS, 1},
    {"save-timer",           VMCS_PRIMARY_VM_EXIT_CONTROLS, EXIT_CTL_SAVE_VMX_PREEMPTION_TIMER},
    {"entry-reserved",       VMCS_VM_ENTRY_CONTROLS, 1},
    {"deactivate-dual-monitor", VMCS_VM_ENTRY_CONTROLS, ENTRY_CTL_DEACTIVATE_DUAL_MONITOR},
    {"event-type",           VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, 0x80000100},
    {"event-vector-nmi",     VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, 0x80000203},
    {"event-vector-exception", VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, 0x80000320},
    {"event-error-code-given", VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, 0x8000030d},
    {"event-error-code-not-given", VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, 0x80000b06},
    {"event-reserved",       VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, 0x80004306},

    {"host-cr0",             VMCS_HOST_CR0, CR0_NE},
    {"host-cr4",             VMCS_HOST_CR4, CR4_VMXE},
    {"host-cr3",             VMCS_HOST_CR3, BEYOND_WIDTH},
    {"host-sysenter-esp",    VMCS_HOST_IA32_SYSENTER_ESP, NON_CANONICAL},
    {"host-sysenter-eip",    VMCS_HOST_IA32_SYSENTER_EIP, NON_CANONICAL},
    {"host-pat",             VMCS_HOST_IA32_PAT, 4},
    {"host-efer-reserved",   VMCS_HOST_IA32_EFER, 1 << 1},
    {"host-efer-long",       VMCS_HOST_IA32_EFER, EFER_LMA},
    {"host-es",              VMCS_HOST_ES_SELECTOR, 3},
    {"host-cs",              VMCS_HOST_CS_SELECTOR, 4},
    {"host-ss",              VMCS_HOST_SS_SELECTOR, 1},
    {"host-ds",              VMCS_HOST_DS_SELECTOR, 2},
    {"host-fs",              VMCS_HOST_FS_SELECTOR, 3},
    {"host-gs",              VMCS_HOST_GS_SELECTOR, 4},
    {"host-tr",              VMCS_HOST_TR_SELECTOR, 4},
    {"host-fs-base",         VMCS_HOST_FS_BASE, NON_CANONICAL},
    {"host-gs-base",         VMCS_HOST_GS_BASE, NON_CANONICAL},
    {"host-tr-base",         VMCS_HOST_TR_BASE, NON_CANONICAL},
    {"host-gdtr-base",       VMCS_HOST_GDTR_BASE, NON_CANONICAL},
    {"host-idtr-base",       VMCS_HOST_IDTR_BASE, NON_CANONICAL},
    {"host-64-bit",          VMCS_PRIMARY_VM_EXIT_CONTROLS, EXIT_CTL_HOST_ADDRESS_SPACE_SIZE},
    {"host-pae",             VMCS_HOST_CR4, CR4_PAE},
    {"host-rip",             VMCS_HOST_RIP, NON_CANONICAL},

    {"guest-cr0",            VMCS_GUEST_CR0, CR0_NE},
    {"guest-pg-without-pe",  VMCS_GUEST_CR0, CR0_PG | CR0_PE},
    {"guest-cr4",            VMCS_GUEST_CR4, CR4_VMXE},
    {"guest-pcide",          VMCS_GUEST_CR4, CR4_PCIDE},
    {"guest-cr3",            VMCS_GUEST_CR3, BEYOND_WIDTH},
    {"guest-dr7",            VMCS_GUEST_DR7, 1ull << 32},
    {"guest-sysenter-esp",   VMCS_GUEST_IA32_SYSENTER_ESP, NON_CANONICAL},
    {"guest-sysenter-eip",   VMCS_GUEST_IA32_SYSENTER_EIP, NON_CANONICAL},
    {"guest-pat",            VMCS_GUEST_IA32_PAT, 4},
    {"guest-efer-reserved",  VMCS_GUEST_IA32_EFER, 1 << 1},
    {"guest-efer-lma",       VMCS_GUEST_IA32_EFER, EFER_LMA},
    {"guest-tr-ti",          VMCS_GUEST_TR_SELECTOR, 4},
    {"guest-tr-base",        VMCS_GUEST_TR_BASE, NON_CANONICAL},
    {"guest-fs-base",        VMCS_GUEST_FS_BASE, NON_CANONICAL},
    {"guest-gs-base",        VMCS_GUEST_GS_BASE, NON_CANONICAL},
    {"guest-cs-base",        VMCS_GUEST_CS_BASE, 1ull << 32},
    {"guest-ss-base",        VMCS_GUEST_SS_BASE, 1ull << 32},
    {"guest-ds-base",        VMCS_GUEST_DS_BASE, 1ull << 32},
    {"guest-es-base",        VMCS_GUEST_ES_BASE, 1ull << 32},
    {"guest-cs-type",        VMCS_GUEST_CS_ACCESS_RIGHTS, 1},
    {"guest-cs-not-system",  VMCS_GUEST_CS_ACCESS_RIGHTS, RIGHTS_S},
    {"guest-cs-dpl-non-conforming", VMCS_GUEST_CS_ACCESS_RIGHTS, RIGHTS_DPL},
    {"guest-cs-present",     VMCS_GUEST_CS_ACCESS_RIGHTS, RIGHTS_P},
    {"guest-cs-reserved-low", VMCS_GUEST_CS_ACCESS_RIGHTS, 1 << 8},
    {"guest-cs-small-limit", VMCS_GUEST_CS_LIMIT, 1},
    {"guest-cs-large-limit", VMCS_GUEST_CS_ACCESS_RIGHTS, RIGHTS_G},
    {"guest-ss-type",        VMCS_GUEST_SS_ACCESS_RIGHTS, 2},
    {"guest-ds-accessed",    VMCS_GUEST_DS_ACCESS_RIGHTS, 1},
    {"guest-es-not-system",  VMCS_GUEST_ES_ACCESS_RIGHTS, RIGHTS_S},
    {"guest-fs-present",     VMCS_GUEST_FS_ACCESS_RIGHTS, RIGHTS_P},
    {"guest-gs-small-limit", VMCS_GUEST_GS_LIMIT, 1},
    {"guest-tr-type",        VMCS_GUEST_TR_ACCESS_RIGHTS, 4},
    {"guest-tr-system",      VMCS_GUEST_TR_ACCESS_RIGHTS, RIGHTS_S},
    {"guest-tr-present",     VMCS_GUEST_TR_ACCESS_RIGHTS, RIGHTS_P},
    {"guest-tr-usable",      VMCS_GUEST_TR_ACCESS_RIGHTS, RIGHTS_UNUSABLE},
    {"guest-gdtr-base",      VMCS_GUEST_GDTR_BASE, NON_CANONICAL},
    {"guest-idtr-base",      VMCS_GUEST_IDTR_BASE, NON_CANONICAL},
    {"guest-gdtr-limit",     VMCS_GUEST_GDTR_LIMIT, 1 << 16},
    {"guest-idtr-limit",     VMCS_GUEST_IDTR_LIMIT, 1 << 16},
    {"guest-rip-32",         VMCS_GUEST_RIP, 1ull << 32},
    {"guest-rflags-reserved", VMCS_GUEST_RFLAGS, 1 << 3},
    {"guest-rflags-one",     VMCS_GUEST_RFLAGS, 1 << 1},
    {"guest-rflags-if",      VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, 0x80000020},
    {"activity-supported",   VMCS_GUEST_ACTIVITY_STATE, 4},
    {"blocking-reserved",    VMCS_GUEST_INTERRUPTIBILITY_STATE, 1 << 5},
    {"blocking-sti",         VMCS_GUEST_INTERRUPTIBILITY_STATE, BLOCKING_BY_STI},
    {"blocking-smi",         VMCS_GUEST_INTERRUPTIBILITY_STATE, BLOCKING_BY_SMI},
    {"pending-debug-reserved", VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 1 << 4},
    {"link-pointer",         VMCS_VMCS_LINK_POINTER, 1},
};

/* The same with another field that has to change first. */
static const struct row_of_two {
    struct row row;
    enum vmcs_field also;
    uint64_t also_flip;
} rows_of_two[] = {
    {{"virtual-apic",        VMCS_VIRTUAL_APIC_ADDRESS, 0x800}, TPR_SHADOW},
    {{"virtual-apic",        VMCS_VIRTUAL_APIC_ADDRESS, BEYOND_WIDTH}, TPR_SHADOW},
    {{"tpr-threshold",       VMCS_TPR_THRESHOLD, 0x10}, TPR_SHADOW},
    {{"x2apic-or-apic-accesses", VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS,
                             PROC2_VIRTUALIZE_X2APIC_MODE | PROC2_VIRTUALIZE_APIC_ACCESSES},
                             TPR_SHADOW},
    {{"apic-access",         VMCS_APIC_ACCESS_ADDRESS, 0x800},
                             VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS,
                             PROC2_VIRTUALIZE_APIC_ACCESSES},
};

/* A guest in 64-bit mode. */
static const struct row rows_64[] = {
    {"guest-long-without-pae", VMCS_GUEST_CR4, CR4_PAE},
    {"guest-efer-lme",       VMCS_GUEST_IA32_EFER, EFER_LME},
    {"guest-efer-lma",       VMCS_GUEST_IA32_EFER, EFER_LME | EFER_LMA},
    {"guest-tr-type",        VMCS_GUEST_TR_ACCESS_RIGHTS, 8},
    {"guest-cs-long",        VMCS_GUEST_CS_ACCESS_RIGHTS, RIGHTS_DB},
};
/* clang-format on */

/* Fields that every entry writes anew, from here; NULL for all others. */
static uint64_t *kept_in(struct guest_state *state, enum vmcs_field field)
{
    if (field == VMCS_GUEST_RIP)
        return &state->rip;
    if (field == VMCS_GUEST_RFLAGS)
        return &state->rflags;
    return NULL;
}

static void set(struct vcpu *vcpu, enum vmcs_field field, uint64_t value)
{
    uint64_t *kept = kept_in(&vcpu->state, field);
    if (kept != NULL)
        *kept = value;
    vmwrite(field, value);
}

static void try(struct vcpu *vcpu, const struct row *row)
{
    const struct event event = vcpu->event;
    const uint64_t *kept = kept_in(&vcpu->state, row->field);
    uint64_t accepted = kept != NULL ? *kept : vmread(row->field);
    assert(!event.valid);
    set(vcpu, row->field, accepted ^ row->flip);
    __real_vmx_run(vcpu);
    if (vcpu->exit.kind != EXIT_FAILED)
        panic("rule %s accepted", row->rule);
    log_line("rule %s refused, code 0x%lx", row->rule, vcpu->exit.code);
    set(vcpu, row->field, accepted);
    vcpu->event = event;
}

static void try_two(struct vcpu *vcpu, const struct row_of_two *two)
{
    uint64_t accepted = vmread(two->also);
    vmwrite(two->also, accepted ^ two->also_flip);
    try(vcpu, &two->row);
    vmwrite(two->also, accepted);
}

static void try_all(struct vcpu *vcpu, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        try(vcpu, &rows[i]);
}

static bool is_64_bit(void)
{
    return (vmread(VMCS_VM_ENTRY_CONTROLS) & ENTRY_CTL_IA32E_MODE_GUEST) != 0 &&
           (vmread(VMCS_GUEST_CS_ACCESS_RIGHTS) & RIGHTS_L) != 0;
}

static void try_32(struct vcpu *vcpu)
{
    try_all(vcpu, rows_32, ARRAY_SIZE(rows_32));
    for (size_t i = 0; i < ARRAY_SIZE(rows_of_two); i++)
        try_two(vcpu, &rows_of_two[i]);
}

/* The first entry of a 32-bit and of a 64-bit guest is tried with each row before it is made. */
void __wrap_vmx_run(struct vcpu *vcpu)
{
    static bool seen[2];
    bool long_mode = is_64_bit();
    if (!seen[long_mode]) {
        seen[long_mode] = true;
        if (long_mode)
            try_all(vcpu, rows_64, ARRAY_SIZE(rows_64));
        else
            try_32(vcpu);
        log_line("accepted state of a %s-bit guest:", long_mode ? "64" : "32");
        vmx_dump(vcpu);
    }
    __real_vmx_run(vcpu);
}
