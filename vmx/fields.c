/* The table of VMCS fields, for dumps and reports. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/fields.h"

#include <stddef.h>

const struct vmcs_field_info vmcs_fields[VMCS_FIELD_COUNT] = {
#define X(name, encoding, width, group) {encoding, VMCS_WIDTH_##width, VMCS_GROUP_##group, #name},
    VMCS_FIELDS(X)
#undef X
};

const struct vmcs_field_info *vmcs_field_find(uint32_t encoding)
{
    for (size_t i = 0; i < VMCS_FIELD_COUNT; i++) {
        if (vmcs_fields[i].encoding == encoding)
            return &vmcs_fields[i];
    }
    return NULL;
}
