/* Two VMCSs that every rule of VM entry allows, as literal field values: 32-bit and 64-bit guests.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdint.h>

#include "vmx/fields.h"

struct vmcs_value {
    uint32_t field;
    uint64_t value;
};

/* clang-format off */
/* Controls and host state: of both. */
#define VMCS_GOOD_COMMON                                                    \
    {VMCS_VIRTUAL_PROCESSOR_IDENTIFIER,         1},                         \
    {VMCS_PIN_BASED_CONTROLS,                   0x0000003f},                \
    {VMCS_PRIMARY_PROCESSOR_BASED_CONTROLS,     0x960061f2},                \
    {VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS,   0x001010ea},                \
    {VMCS_PRIMARY_VM_EXIT_CONTROLS,             0x003f6fff},                \
    {VMCS_ADDRESS_OF_IO_BITMAP_A,               0x00301000},                \
    {VMCS_ADDRESS_OF_IO_BITMAP_B,               0x00302000},                \
    {VMCS_ADDRESS_OF_MSR_BITMAPS,               0x00303000},                \
    {VMCS_EPT_POINTER,                          0x0030005e},                \
    {VMCS_VMCS_LINK_POINTER,                    0xffffffffffffffff},        \
    {VMCS_CR0_GUEST_HOST_MASK,                  0x60000020},                \
    {VMCS_CR4_GUEST_HOST_MASK,                  0x00002040},                \
    {VMCS_HOST_CS_SELECTOR,                     0x08},                      \
    {VMCS_HOST_SS_SELECTOR,                     0x10},                      \
    {VMCS_HOST_TR_SELECTOR,                     0x18},                      \
    {VMCS_HOST_CR0,                             0x80050033},                \
    {VMCS_HOST_CR3,                             0x00200000},                \
    {VMCS_HOST_CR4,                             0x00002060},                \
    {VMCS_HOST_IA32_PAT,                        0x0105040600070406},        \
    {VMCS_HOST_IA32_EFER,                       0x00000d01},                \
    {VMCS_HOST_GS_BASE,                         0xffffffff80204000},        \
    {VMCS_HOST_TR_BASE,                         0xffffffff80205000},        \
    {VMCS_HOST_GDTR_BASE,                       0xffffffff80206000},        \
    {VMCS_HOST_IDTR_BASE,                       0xffffffff80207000},        \
    {VMCS_HOST_RSP,                             0xffffffff80209000},        \
    {VMCS_HOST_RIP,                             0xffffffff80101000},        \
    {VMCS_GUEST_IA32_PAT,                       0x0007040600070406},        \
    {VMCS_GUEST_ES_SELECTOR,                    0x10},                      \
    {VMCS_GUEST_CS_SELECTOR,                    0x08},                      \
    {VMCS_GUEST_SS_SELECTOR,                    0x10},                      \
    {VMCS_GUEST_DS_SELECTOR,                    0x10},                      \
    {VMCS_GUEST_FS_SELECTOR,                    0x10},                      \
    {VMCS_GUEST_GS_SELECTOR,                    0x10},                      \
    {VMCS_GUEST_TR_SELECTOR,                    0x18},                      \
    {VMCS_GUEST_ES_LIMIT,                       0xffffffff},                \
    {VMCS_GUEST_CS_LIMIT,                       0xffffffff},                \
    {VMCS_GUEST_SS_LIMIT,                       0xffffffff},                \
    {VMCS_GUEST_DS_LIMIT,                       0xffffffff},                \
    {VMCS_GUEST_FS_LIMIT,                       0xffffffff},                \
    {VMCS_GUEST_GS_LIMIT,                       0xffffffff},                \
    {VMCS_GUEST_TR_LIMIT,                       0x00000067},                \
    {VMCS_GUEST_GDTR_LIMIT,                     0x0000ffff},                \
    {VMCS_GUEST_IDTR_LIMIT,                     0x0000ffff},                \
    {VMCS_GUEST_ES_ACCESS_RIGHTS,               0x0000c093},                \
    {VMCS_GUEST_SS_ACCESS_RIGHTS,               0x0000c093},                \
    {VMCS_GUEST_DS_ACCESS_RIGHTS,               0x0000c093},                \
    {VMCS_GUEST_FS_ACCESS_RIGHTS,               0x0000c093},                \
    {VMCS_GUEST_GS_ACCESS_RIGHTS,               0x0000c093},                \
    {VMCS_GUEST_LDTR_ACCESS_RIGHTS,             0x00010000},                \
    {VMCS_GUEST_TR_ACCESS_RIGHTS,               0x0000008b},                \
    {VMCS_GUEST_DR7,                            0x00000400},                \
    {VMCS_GUEST_RSP,                            0x00090000},                \
    {VMCS_GUEST_RFLAGS,                         0x00000002}

static const struct vmcs_value vmcs_good_32[] = {
    VMCS_GOOD_COMMON,
    {VMCS_VM_ENTRY_CONTROLS,                    0x0000d1ff},
    {VMCS_GUEST_CR0,                            0x00000031},
    {VMCS_GUEST_CR4,                            0x00002000},
    {VMCS_GUEST_CS_ACCESS_RIGHTS,               0x0000c09b},
    {VMCS_GUEST_RIP,                            0x00100000},
};

static const struct vmcs_value vmcs_good_64[] = {
    VMCS_GOOD_COMMON,
    {VMCS_VM_ENTRY_CONTROLS,                    0x0000d3ff},
    {VMCS_GUEST_CR0,                            0x80000033},
    {VMCS_GUEST_CR3,                            0x00001000},
    {VMCS_GUEST_CR4,                            0x00002020},
    {VMCS_GUEST_IA32_EFER,                      0x00000500},
    {VMCS_GUEST_CS_ACCESS_RIGHTS,               0x0000a09b},
    {VMCS_GUEST_RIP,                            0xffffffff80100000},
};
/* clang-format on */
