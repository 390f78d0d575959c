/* Every field of the VMCS: its name, its encoding, its width, and the group it is dumped with. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdint.h>

#include "lib/assert.h"

/*
 * X(name, encoding, width, group), in rising order of the encodings. (SDM, "Field Encoding in
 * VMCS")
 *
 * Names are the manual's. Newer editions call VM_ENTRY_INTERRUPTION_INFORMATION the injected-event
 * identification, VM_EXIT_INTERRUPTION_INFORMATION the exiting-event identification and
 * IDT_VECTORING_INFORMATION the original-event identification, and likewise for their error codes.
 * A field exists only where the CPU supports the control that uses it: elsewhere VMREAD fails. Only
 * full accesses are listed: the high half of a 64-bit field (encoding + 1) is for 32-bit hosts.
 */
/* clang-format off */
#define VMCS_FIELDS(X)                                                                      \
    X(VIRTUAL_PROCESSOR_IDENTIFIER,                  0x0000, 16,      EXECUTION)   \
    X(POSTED_INTERRUPT_NOTIFICATION_VECTOR,          0x0002, 16,      EXECUTION)   \
    X(EPTP_INDEX,                                    0x0004, 16,      EXECUTION)   \
    X(HLAT_PREFIX_SIZE,                              0x0006, 16,      EXECUTION)   \
    X(LAST_PID_POINTER_INDEX,                        0x0008, 16,      EXECUTION)   \
    X(GUEST_ES_SELECTOR,                             0x0800, 16,      GUEST)       \
    X(GUEST_CS_SELECTOR,                             0x0802, 16,      GUEST)       \
    X(GUEST_SS_SELECTOR,                             0x0804, 16,      GUEST)       \
    X(GUEST_DS_SELECTOR,                             0x0806, 16,      GUEST)       \
    X(GUEST_FS_SELECTOR,                             0x0808, 16,      GUEST)       \
    X(GUEST_GS_SELECTOR,                             0x080a, 16,      GUEST)       \
    X(GUEST_LDTR_SELECTOR,                           0x080c, 16,      GUEST)       \
    X(GUEST_TR_SELECTOR,                             0x080e, 16,      GUEST)       \
    X(GUEST_INTERRUPT_STATUS,                        0x0810, 16,      GUEST)       \
    X(PML_INDEX,                                     0x0812, 16,      GUEST)       \
    X(GUEST_UINV,                                    0x0814, 16,      GUEST)       \
    X(HOST_ES_SELECTOR,                              0x0c00, 16,      HOST)        \
    X(HOST_CS_SELECTOR,                              0x0c02, 16,      HOST)        \
    X(HOST_SS_SELECTOR,                              0x0c04, 16,      HOST)        \
    X(HOST_DS_SELECTOR,                              0x0c06, 16,      HOST)        \
    X(HOST_FS_SELECTOR,                              0x0c08, 16,      HOST)        \
    X(HOST_GS_SELECTOR,                              0x0c0a, 16,      HOST)        \
    X(HOST_TR_SELECTOR,                              0x0c0c, 16,      HOST)        \
    X(ADDRESS_OF_IO_BITMAP_A,                        0x2000, 64,      EXECUTION)   \
    X(ADDRESS_OF_IO_BITMAP_B,                        0x2002, 64,      EXECUTION)   \
    X(ADDRESS_OF_MSR_BITMAPS,                        0x2004, 64,      EXECUTION)   \
    X(VM_EXIT_MSR_STORE_ADDRESS,                     0x2006, 64,      EXIT)        \
    X(VM_EXIT_MSR_LOAD_ADDRESS,                      0x2008, 64,      EXIT)        \
    X(VM_ENTRY_MSR_LOAD_ADDRESS,                     0x200a, 64,      ENTRY)       \
    X(EXECUTIVE_VMCS_POINTER,                        0x200c, 64,      EXECUTION)   \
    X(PML_ADDRESS,                                   0x200e, 64,      EXECUTION)   \
    X(TSC_OFFSET,                                    0x2010, 64,      EXECUTION)   \
    X(VIRTUAL_APIC_ADDRESS,                          0x2012, 64,      EXECUTION)   \
    X(APIC_ACCESS_ADDRESS,                           0x2014, 64,      EXECUTION)   \
    X(POSTED_INTERRUPT_DESCRIPTOR_ADDRESS,           0x2016, 64,      EXECUTION)   \
    X(VM_FUNCTION_CONTROLS,                          0x2018, 64,      EXECUTION)   \
    X(EPT_POINTER,                                   0x201a, 64,      EXECUTION)   \
    X(EOI_EXIT_BITMAP_0,                             0x201c, 64,      EXECUTION)   \
    X(EOI_EXIT_BITMAP_1,                             0x201e, 64,      EXECUTION)   \
    X(EOI_EXIT_BITMAP_2,                             0x2020, 64,      EXECUTION)   \
    X(EOI_EXIT_BITMAP_3,                             0x2022, 64,      EXECUTION)   \
    X(EPTP_LIST_ADDRESS,                             0x2024, 64,      EXECUTION)   \
    X(VMREAD_BITMAP_ADDRESS,                         0x2026, 64,      EXECUTION)   \
    X(VMWRITE_BITMAP_ADDRESS,                        0x2028, 64,      EXECUTION)   \
    X(VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS,  0x202a, 64,      EXECUTION)   \
    X(XSS_EXITING_BITMAP,                            0x202c, 64,      EXECUTION)   \
    X(ENCLS_EXITING_BITMAP,                          0x202e, 64,      EXECUTION)   \
    X(SUB_PAGE_PERMISSION_TABLE_POINTER,             0x2030, 64,      EXECUTION)   \
    X(TSC_MULTIPLIER,                                0x2032, 64,      EXECUTION)   \
    X(TERTIARY_PROCESSOR_BASED_CONTROLS,             0x2034, 64,      EXECUTION)   \
    X(ENCLV_EXITING_BITMAP,                          0x2036, 64,      EXECUTION)   \
    X(LOW_PASID_DIRECTORY_ADDRESS,                   0x2038, 64,      EXECUTION)   \
    X(HIGH_PASID_DIRECTORY_ADDRESS,                  0x203a, 64,      EXECUTION)   \
    X(SEAM_SHARED_EPT_POINTER,                       0x203c, 64,      EXECUTION)   \
    X(PCONFIG_EXITING_BITMAP,                        0x203e, 64,      EXECUTION)   \
    X(HLAT_POINTER,                                  0x2040, 64,      EXECUTION)   \
    X(PID_POINTER_TABLE_ADDRESS,                     0x2042, 64,      EXECUTION)   \
    X(SECONDARY_VM_EXIT_CONTROLS,                    0x2044, 64,      EXIT)        \
    X(IA32_SPEC_CTRL_MASK,                           0x204a, 64,      EXECUTION)   \
    X(IA32_SPEC_CTRL_SHADOW,                         0x204c, 64,      EXECUTION)   \
    X(INJECTED_EVENT_DATA,                           0x2052, 64,      ENTRY)       \
    X(GUEST_PHYSICAL_ADDRESS,                        0x2400, 64,      INFORMATION) \
    X(MSR_DATA,                                      0x2402, 64,      INFORMATION) \
    X(ORIGINAL_EVENT_DATA,                           0x2404, 64,      INFORMATION) \
    X(VMCS_LINK_POINTER,                             0x2800, 64,      GUEST)       \
    X(GUEST_IA32_DEBUGCTL,                           0x2802, 64,      GUEST)       \
    X(GUEST_IA32_PAT,                                0x2804, 64,      GUEST)       \
    X(GUEST_IA32_EFER,                               0x2806, 64,      GUEST)       \
    X(GUEST_IA32_PERF_GLOBAL_CTRL,                   0x2808, 64,      GUEST)       \
    X(GUEST_PDPTE0,                                  0x280a, 64,      GUEST)       \
    X(GUEST_PDPTE1,                                  0x280c, 64,      GUEST)       \
    X(GUEST_PDPTE2,                                  0x280e, 64,      GUEST)       \
    X(GUEST_PDPTE3,                                  0x2810, 64,      GUEST)       \
    X(GUEST_IA32_BNDCFGS,                            0x2812, 64,      GUEST)       \
    X(GUEST_IA32_RTIT_CTL,                           0x2814, 64,      GUEST)       \
    X(GUEST_IA32_LBR_CTL,                            0x2816, 64,      GUEST)       \
    X(GUEST_IA32_PKRS,                               0x2818, 64,      GUEST)       \
    X(GUEST_IA32_FRED_CONFIG,                        0x281a, 64,      GUEST)       \
    X(GUEST_IA32_FRED_RSP1,                          0x281c, 64,      GUEST)       \
    X(GUEST_IA32_FRED_RSP2,                          0x281e, 64,      GUEST)       \
    X(GUEST_IA32_FRED_RSP3,                          0x2820, 64,      GUEST)       \
    X(GUEST_IA32_FRED_STKLVLS,                       0x2822, 64,      GUEST)       \
    X(GUEST_IA32_FRED_SSP1,                          0x2824, 64,      GUEST)       \
    X(GUEST_IA32_FRED_SSP2,                          0x2826, 64,      GUEST)       \
    X(GUEST_IA32_FRED_SSP3,                          0x2828, 64,      GUEST)       \
    X(HOST_IA32_PAT,                                 0x2c00, 64,      HOST)        \
    X(HOST_IA32_EFER,                                0x2c02, 64,      HOST)        \
    X(HOST_IA32_PERF_GLOBAL_CTRL,                    0x2c04, 64,      HOST)        \
    X(HOST_IA32_PKRS,                                0x2c06, 64,      HOST)        \
    X(HOST_IA32_FRED_CONFIG,                         0x2c08, 64,      HOST)        \
    X(HOST_IA32_FRED_RSP1,                           0x2c0a, 64,      HOST)        \
    X(HOST_IA32_FRED_RSP2,                           0x2c0c, 64,      HOST)        \
    X(HOST_IA32_FRED_RSP3,                           0x2c0e, 64,      HOST)        \
    X(HOST_IA32_FRED_STKLVLS,                        0x2c10, 64,      HOST)        \
    X(HOST_IA32_FRED_SSP1,                           0x2c12, 64,      HOST)        \
    X(HOST_IA32_FRED_SSP2,                           0x2c14, 64,      HOST)        \
    X(HOST_IA32_FRED_SSP3,                           0x2c16, 64,      HOST)        \
    X(PIN_BASED_CONTROLS,                            0x4000, 32,      EXECUTION)   \
    X(PRIMARY_PROCESSOR_BASED_CONTROLS,              0x4002, 32,      EXECUTION)   \
    X(EXCEPTION_BITMAP,                              0x4004, 32,      EXECUTION)   \
    X(PAGE_FAULT_ERROR_CODE_MASK,                    0x4006, 32,      EXECUTION)   \
    X(PAGE_FAULT_ERROR_CODE_MATCH,                   0x4008, 32,      EXECUTION)   \
    X(CR3_TARGET_COUNT,                              0x400a, 32,      EXECUTION)   \
    X(PRIMARY_VM_EXIT_CONTROLS,                      0x400c, 32,      EXIT)        \
    X(VM_EXIT_MSR_STORE_COUNT,                       0x400e, 32,      EXIT)        \
    X(VM_EXIT_MSR_LOAD_COUNT,                        0x4010, 32,      EXIT)        \
    X(VM_ENTRY_CONTROLS,                             0x4012, 32,      ENTRY)       \
    X(VM_ENTRY_MSR_LOAD_COUNT,                       0x4014, 32,      ENTRY)       \
    X(VM_ENTRY_INTERRUPTION_INFORMATION,             0x4016, 32,      ENTRY)       \
    X(VM_ENTRY_EXCEPTION_ERROR_CODE,                 0x4018, 32,      ENTRY)       \
    X(VM_ENTRY_INSTRUCTION_LENGTH,                   0x401a, 32,      ENTRY)       \
    X(TPR_THRESHOLD,                                 0x401c, 32,      EXECUTION)   \
    X(SECONDARY_PROCESSOR_BASED_CONTROLS,            0x401e, 32,      EXECUTION)   \
    X(PLE_GAP,                                       0x4020, 32,      EXECUTION)   \
    X(PLE_WINDOW,                                    0x4022, 32,      EXECUTION)   \
    X(INSTRUCTION_TIMEOUT_CONTROL,                   0x4024, 32,      EXECUTION)   \
    X(SEAM_GUEST_KEYID,                              0x4026, 32,      EXECUTION)   \
    X(VM_INSTRUCTION_ERROR,                          0x4400, 32,      INFORMATION) \
    X(EXIT_REASON,                                   0x4402, 32,      INFORMATION) \
    X(VM_EXIT_INTERRUPTION_INFORMATION,              0x4404, 32,      INFORMATION) \
    X(VM_EXIT_INTERRUPTION_ERROR_CODE,               0x4406, 32,      INFORMATION) \
    X(IDT_VECTORING_INFORMATION,                     0x4408, 32,      INFORMATION) \
    X(IDT_VECTORING_ERROR_CODE,                      0x440a, 32,      INFORMATION) \
    X(VM_EXIT_INSTRUCTION_LENGTH,                    0x440c, 32,      INFORMATION) \
    X(VM_EXIT_INSTRUCTION_INFORMATION,               0x440e, 32,      INFORMATION) \
    X(GUEST_ES_LIMIT,                                0x4800, 32,      GUEST)       \
    X(GUEST_CS_LIMIT,                                0x4802, 32,      GUEST)       \
    X(GUEST_SS_LIMIT,                                0x4804, 32,      GUEST)       \
    X(GUEST_DS_LIMIT,                                0x4806, 32,      GUEST)       \
    X(GUEST_FS_LIMIT,                                0x4808, 32,      GUEST)       \
    X(GUEST_GS_LIMIT,                                0x480a, 32,      GUEST)       \
    X(GUEST_LDTR_LIMIT,                              0x480c, 32,      GUEST)       \
    X(GUEST_TR_LIMIT,                                0x480e, 32,      GUEST)       \
    X(GUEST_GDTR_LIMIT,                              0x4810, 32,      GUEST)       \
    X(GUEST_IDTR_LIMIT,                              0x4812, 32,      GUEST)       \
    X(GUEST_ES_ACCESS_RIGHTS,                        0x4814, 32,      GUEST)       \
    X(GUEST_CS_ACCESS_RIGHTS,                        0x4816, 32,      GUEST)       \
    X(GUEST_SS_ACCESS_RIGHTS,                        0x4818, 32,      GUEST)       \
    X(GUEST_DS_ACCESS_RIGHTS,                        0x481a, 32,      GUEST)       \
    X(GUEST_FS_ACCESS_RIGHTS,                        0x481c, 32,      GUEST)       \
    X(GUEST_GS_ACCESS_RIGHTS,                        0x481e, 32,      GUEST)       \
    X(GUEST_LDTR_ACCESS_RIGHTS,                      0x4820, 32,      GUEST)       \
    X(GUEST_TR_ACCESS_RIGHTS,                        0x4822, 32,      GUEST)       \
    X(GUEST_INTERRUPTIBILITY_STATE,                  0x4824, 32,      GUEST)       \
    X(GUEST_ACTIVITY_STATE,                          0x4826, 32,      GUEST)       \
    X(GUEST_SMBASE,                                  0x4828, 32,      GUEST)       \
    X(GUEST_IA32_SYSENTER_CS,                        0x482a, 32,      GUEST)       \
    X(VMX_PREEMPTION_TIMER_VALUE,                    0x482e, 32,      GUEST)       \
    X(HOST_IA32_SYSENTER_CS,                         0x4c00, 32,      HOST)        \
    X(CR0_GUEST_HOST_MASK,                           0x6000, NATURAL, EXECUTION)   \
    X(CR4_GUEST_HOST_MASK,                           0x6002, NATURAL, EXECUTION)   \
    X(CR0_READ_SHADOW,                               0x6004, NATURAL, EXECUTION)   \
    X(CR4_READ_SHADOW,                               0x6006, NATURAL, EXECUTION)   \
    X(CR3_TARGET_VALUE_0,                            0x6008, NATURAL, EXECUTION)   \
    X(CR3_TARGET_VALUE_1,                            0x600a, NATURAL, EXECUTION)   \
    X(CR3_TARGET_VALUE_2,                            0x600c, NATURAL, EXECUTION)   \
    X(CR3_TARGET_VALUE_3,                            0x600e, NATURAL, EXECUTION)   \
    X(EXIT_QUALIFICATION,                            0x6400, NATURAL, INFORMATION) \
    X(IO_RCX,                                        0x6402, NATURAL, INFORMATION) \
    X(IO_RSI,                                        0x6404, NATURAL, INFORMATION) \
    X(IO_RDI,                                        0x6406, NATURAL, INFORMATION) \
    X(IO_RIP,                                        0x6408, NATURAL, INFORMATION) \
    X(GUEST_LINEAR_ADDRESS,                          0x640a, NATURAL, INFORMATION) \
    X(GUEST_CR0,                                     0x6800, NATURAL, GUEST)       \
    X(GUEST_CR3,                                     0x6802, NATURAL, GUEST)       \
    X(GUEST_CR4,                                     0x6804, NATURAL, GUEST)       \
    X(GUEST_ES_BASE,                                 0x6806, NATURAL, GUEST)       \
    X(GUEST_CS_BASE,                                 0x6808, NATURAL, GUEST)       \
    X(GUEST_SS_BASE,                                 0x680a, NATURAL, GUEST)       \
    X(GUEST_DS_BASE,                                 0x680c, NATURAL, GUEST)       \
    X(GUEST_FS_BASE,                                 0x680e, NATURAL, GUEST)       \
    X(GUEST_GS_BASE,                                 0x6810, NATURAL, GUEST)       \
    X(GUEST_LDTR_BASE,                               0x6812, NATURAL, GUEST)       \
    X(GUEST_TR_BASE,                                 0x6814, NATURAL, GUEST)       \
    X(GUEST_GDTR_BASE,                               0x6816, NATURAL, GUEST)       \
    X(GUEST_IDTR_BASE,                               0x6818, NATURAL, GUEST)       \
    X(GUEST_DR7,                                     0x681a, NATURAL, GUEST)       \
    X(GUEST_RSP,                                     0x681c, NATURAL, GUEST)       \
    X(GUEST_RIP,                                     0x681e, NATURAL, GUEST)       \
    X(GUEST_RFLAGS,                                  0x6820, NATURAL, GUEST)       \
    X(GUEST_PENDING_DEBUG_EXCEPTIONS,                0x6822, NATURAL, GUEST)       \
    X(GUEST_IA32_SYSENTER_ESP,                       0x6824, NATURAL, GUEST)       \
    X(GUEST_IA32_SYSENTER_EIP,                       0x6826, NATURAL, GUEST)       \
    X(GUEST_IA32_S_CET,                              0x6828, NATURAL, GUEST)       \
    X(GUEST_SSP,                                     0x682a, NATURAL, GUEST)       \
    X(GUEST_IA32_INTERRUPT_SSP_TABLE_ADDR,           0x682c, NATURAL, GUEST)       \
    X(HOST_CR0,                                      0x6c00, NATURAL, HOST)        \
    X(HOST_CR3,                                      0x6c02, NATURAL, HOST)        \
    X(HOST_CR4,                                      0x6c04, NATURAL, HOST)        \
    X(HOST_FS_BASE,                                  0x6c06, NATURAL, HOST)        \
    X(HOST_GS_BASE,                                  0x6c08, NATURAL, HOST)        \
    X(HOST_TR_BASE,                                  0x6c0a, NATURAL, HOST)        \
    X(HOST_GDTR_BASE,                                0x6c0c, NATURAL, HOST)        \
    X(HOST_IDTR_BASE,                                0x6c0e, NATURAL, HOST)        \
    X(HOST_IA32_SYSENTER_ESP,                        0x6c10, NATURAL, HOST)        \
    X(HOST_IA32_SYSENTER_EIP,                        0x6c12, NATURAL, HOST)        \
    X(HOST_RSP,                                      0x6c14, NATURAL, HOST)        \
    X(HOST_RIP,                                      0x6c16, NATURAL, HOST)        \
    X(HOST_IA32_S_CET,                               0x6c18, NATURAL, HOST)        \
    X(HOST_SSP,                                      0x6c1a, NATURAL, HOST)        \
    X(HOST_IA32_INTERRUPT_SSP_TABLE_ADDR,            0x6c1c, NATURAL, HOST)
/* clang-format on */

/* VMCS_GUEST_RIP = 0x681e and so on. */
enum vmcs_field {
#define X(name, encoding, width, group) VMCS_##name = (encoding),
    VMCS_FIELDS(X)
#undef X
};

/* Bits 14:13 of an encoding. (SDM, "VMREAD, VMWRITE, and Encodings of VMCS Fields") */
enum vmcs_width {
    VMCS_WIDTH_16 = 0,
    VMCS_WIDTH_64 = 1,
    VMCS_WIDTH_32 = 2,
    VMCS_WIDTH_NATURAL = 3,
};

/* What a dump shows together. The first three are of one type, control, in the encoding. */
enum vmcs_group {
    VMCS_GROUP_EXECUTION,
    VMCS_GROUP_EXIT,
    VMCS_GROUP_ENTRY,
    VMCS_GROUP_INFORMATION,
    VMCS_GROUP_GUEST,
    VMCS_GROUP_HOST,
};

/* Bits 11:10 of the encodings of a group's fields. */
#define VMCS_TYPE_EXECUTION   0
#define VMCS_TYPE_EXIT        0
#define VMCS_TYPE_ENTRY       0
#define VMCS_TYPE_INFORMATION 1
#define VMCS_TYPE_GUEST       2
#define VMCS_TYPE_HOST        3

/* An encoding is its width, its type and an even number of ten bits; no other bit is set. */
#define X(name, encoding, width, group)                                                            \
    static_assert(((encoding) & ~0x3fe) == (VMCS_WIDTH_##width << 13 | VMCS_TYPE_##group << 10),   \
                  "encoding of " #name);
VMCS_FIELDS(X)
#undef X

struct vmcs_field_info {
    uint16_t encoding;
    uint8_t width;    /* enum vmcs_width */
    uint8_t group;    /* enum vmcs_group */
    const char *name; /* without VMCS_ */
};

/* All fields in rising order of the encodings. */
enum {
#define X(name, encoding, width, group) VMCS_INDEX_##name,
    VMCS_FIELDS(X)
#undef X
        VMCS_FIELD_COUNT
};
extern const struct vmcs_field_info vmcs_fields[VMCS_FIELD_COUNT];

/* The field with that encoding, NULL if there is none. */
const struct vmcs_field_info *vmcs_field_find(uint32_t encoding);
