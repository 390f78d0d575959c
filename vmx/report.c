/* Says why a VM entry failed: the broken rules by name, and the whole VMCS. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/log.h"
#include "vmx/check.h"
#include "vmx/vmx.h"

static uint64_t read_field(void *context, uint32_t field)
{
    uint64_t value;
    (void)context;
    return vmread_insn(field, &value) ? value : 0;
}

static void report_rule(void *context, const struct vmx_rule *rule)
{
    (void)context;
    log_line("broken rule of VM entry: %s: %s (SDM, \"%s\")", rule->name, rule->text,
             vmx_rule_group_names[rule->group]);
}

void vmx_explain(struct vcpu *vcpu, uint64_t error)
{
    const struct vmcs_reader reader = {read_field, NULL};
    if (error != 0)
        log_line("VM-instruction error %lu", error);
    if (vmx_check(&reader, &vmx_of(vcpu)->caps->msrs, report_rule, NULL) == 0)
        log_line("no rule of VM entry that nosnoop knows is broken");
}

void vmx_dump(struct vcpu *vcpu)
{
    log_line("VMCS at 0x%lx:", vmx_of(vcpu)->vmcs.v);
    for (unsigned i = 0; i < VMCS_FIELD_COUNT; i++) {
        const struct vmcs_field_info *field = &vmcs_fields[i];
        uint64_t value;
        if (vmread_insn(field->encoding, &value))
            log_line("  %-46s %0*lx", field->name, field->width / 4, value);
    }
}
