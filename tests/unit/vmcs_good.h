/*
 * Two VMCSs that every rule of VM entry allows, of a 32-bit and of a 64-bit guest: recorded under
 * Bochs 2.7, CPU model corei7_skylake_x, from entries that it accepted. The kernel of
 * tests/kernel/vmx_rules.c logs them. Fields that are 0 are left out, and those that exits write.
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
#define VMCS_GOOD_COMMON                                                       \
    {VMCS_VIRTUAL_PROCESSOR_IDENTIFIER,             0x1},                      \
    {VMCS_GUEST_ES_SELECTOR,                        0x10},                     \
    {VMCS_GUEST_CS_SELECTOR,                        0x8},                      \
    {VMCS_GUEST_SS_SELECTOR,                        0x10},                     \
    {VMCS_GUEST_DS_SELECTOR,                        0x10},                     \
    {VMCS_GUEST_FS_SELECTOR,                        0x10},                     \
    {VMCS_GUEST_GS_SELECTOR,                        0x10},                     \
    {VMCS_HOST_ES_SELECTOR,                         0x10},                     \
    {VMCS_HOST_CS_SELECTOR,                         0x8},                      \
    {VMCS_HOST_SS_SELECTOR,                         0x10},                     \
    {VMCS_HOST_DS_SELECTOR,                         0x10},                     \
    {VMCS_HOST_TR_SELECTOR,                         0x18},                     \
    {VMCS_ADDRESS_OF_IO_BITMAP_A,                   0x4059000},                \
    {VMCS_ADDRESS_OF_IO_BITMAP_B,                   0x405a000},                \
    {VMCS_ADDRESS_OF_MSR_BITMAPS,                   0x405b000},                \
    {VMCS_TSC_OFFSET,                               0xfffffffffb04ff82},       \
    {VMCS_EPT_POINTER,                              0x21305e},                 \
    {VMCS_XSS_EXITING_BITMAP,                       0xffffffffffffffff},       \
    {VMCS_VMCS_LINK_POINTER,                        0xffffffffffffffff},       \
    {VMCS_GUEST_IA32_PAT,                           0x7040600070406},          \
    {VMCS_HOST_IA32_PAT,                            0x7050100070406},          \
    {VMCS_HOST_IA32_EFER,                           0xd00},                    \
    {VMCS_PIN_BASED_CONTROLS,                       0x3f},                     \
    {VMCS_PRIMARY_PROCESSOR_BASED_CONTROLS,         0xb6186dfa},               \
    {VMCS_EXCEPTION_BITMAP,                         0x60002},                  \
    {VMCS_PRIMARY_VM_EXIT_CONTROLS,                 0x3f6fff},                 \
    {VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS,       0xea},                 \
    {VMCS_GUEST_ES_LIMIT,                           0xffffffff},               \
    {VMCS_GUEST_CS_LIMIT,                           0xffffffff},               \
    {VMCS_GUEST_SS_LIMIT,                           0xffffffff},               \
    {VMCS_GUEST_DS_LIMIT,                           0xffffffff},               \
    {VMCS_GUEST_FS_LIMIT,                           0xffffffff},               \
    {VMCS_GUEST_GS_LIMIT,                           0xffffffff},               \
    {VMCS_GUEST_LDTR_LIMIT,                         0xffff},                   \
    {VMCS_GUEST_TR_LIMIT,                           0xffff},                   \
    {VMCS_GUEST_IDTR_LIMIT,                         0xffff},                   \
    {VMCS_GUEST_ES_ACCESS_RIGHTS,                   0xc093},                   \
    {VMCS_GUEST_SS_ACCESS_RIGHTS,                   0xc093},                   \
    {VMCS_GUEST_DS_ACCESS_RIGHTS,                   0xc093},                   \
    {VMCS_GUEST_FS_ACCESS_RIGHTS,                   0xc093},                   \
    {VMCS_GUEST_GS_ACCESS_RIGHTS,                   0xc093},                   \
    {VMCS_GUEST_LDTR_ACCESS_RIGHTS,                 0x82},                     \
    {VMCS_GUEST_TR_ACCESS_RIGHTS,                   0x8b},                     \
    {VMCS_CR0_GUEST_HOST_MASK,                      0x60000020},               \
    {VMCS_CR4_GUEST_HOST_MASK,                      0xffffffffffcaf840},       \
    {VMCS_GUEST_DR7,                                0x400},                    \
    {VMCS_HOST_CR0,                                 0x80010033},               \
    {VMCS_HOST_CR3,                                 0x200000},                 \
    {VMCS_HOST_CR4,                                 0x342068},                 \
    {VMCS_HOST_GS_BASE,                             0xffffffff80052e40},       \
    {VMCS_HOST_TR_BASE,                             0xffffffff80052e78},       \
    {VMCS_HOST_GDTR_BASE,                           0xffffffff80052e50},       \
    {VMCS_HOST_IDTR_BASE,                           0xffffffff80052f50},       \
    {VMCS_HOST_RSP,                                 0xffffffffc0004ea8},       \
    {VMCS_HOST_RIP,                                 0xffffffff80013fcb}

static const struct vmcs_value vmcs_good_32[] = {
    VMCS_GOOD_COMMON,
    {VMCS_VM_ENTRY_CONTROLS,                        0xd1ff},
    {VMCS_GUEST_GDTR_LIMIT,                         0xffff},
    {VMCS_GUEST_CS_ACCESS_RIGHTS,                   0xc09b},
    {VMCS_CR0_READ_SHADOW,                          0x11},
    {VMCS_GUEST_CR0,                                0x31},
    {VMCS_GUEST_CR4,                                0x2040},
    {VMCS_GUEST_RIP,                                0x101cd0},
    {VMCS_GUEST_RFLAGS,                             0x2},
};

static const struct vmcs_value vmcs_good_64[] = {
    VMCS_GOOD_COMMON,
    {VMCS_GUEST_IA32_EFER,                          0x500},
    {VMCS_VM_ENTRY_CONTROLS,                        0xd3ff},
    {VMCS_GUEST_GDTR_LIMIT,                         0x4f},
    {VMCS_GUEST_CS_ACCESS_RIGHTS,                   0xa09b},
    {VMCS_CR0_READ_SHADOW,                          0x80010031},
    {VMCS_CR4_READ_SHADOW,                          0x20},
    {VMCS_GUEST_CR0,                                0x80010031},
    {VMCS_GUEST_CR3,                                0x104000},
    {VMCS_GUEST_CR4,                                0x2060},
    {VMCS_GUEST_GDTR_BASE,                          0x103000},
    {VMCS_GUEST_RSP,                                0x113638},
    {VMCS_GUEST_RIP,                                0x100146},
    {VMCS_GUEST_RFLAGS,                             0x46},
};
/* clang-format on */
