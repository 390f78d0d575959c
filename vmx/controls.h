/* Bits of the VMX control words, capability bits, events and exit reasons, by the manual's names.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* clang-format off */
/* SDM, "Pin-Based VM-Execution Controls" */
#define PIN_EXTERNAL_INTERRUPT_EXITING        (1u << 0)
#define PIN_NMI_EXITING                       (1u << 3)
#define PIN_VIRTUAL_NMIS                      (1u << 5)
#define PIN_ACTIVATE_VMX_PREEMPTION_TIMER     (1u << 6)
#define PIN_PROCESS_POSTED_INTERRUPTS         (1u << 7)

/* SDM, "Processor-Based VM-Execution Controls": primary */
#define PROC_INTERRUPT_WINDOW_EXITING         (1u << 2)
#define PROC_USE_TSC_OFFSETTING               (1u << 3)
#define PROC_HLT_EXITING                      (1u << 7)
#define PROC_INVLPG_EXITING                   (1u << 9)
#define PROC_MWAIT_EXITING                    (1u << 10)
#define PROC_RDPMC_EXITING                    (1u << 11)
#define PROC_RDTSC_EXITING                    (1u << 12)
#define PROC_CR3_LOAD_EXITING                 (1u << 15)
#define PROC_CR3_STORE_EXITING                (1u << 16)
#define PROC_ACTIVATE_TERTIARY_CONTROLS       (1u << 17)
#define PROC_CR8_LOAD_EXITING                 (1u << 19)
#define PROC_CR8_STORE_EXITING                (1u << 20)
#define PROC_USE_TPR_SHADOW                   (1u << 21)
#define PROC_NMI_WINDOW_EXITING               (1u << 22)
#define PROC_MOV_DR_EXITING                   (1u << 23)
#define PROC_UNCONDITIONAL_IO_EXITING         (1u << 24)
#define PROC_USE_IO_BITMAPS                   (1u << 25)
#define PROC_MONITOR_TRAP_FLAG                (1u << 27)
#define PROC_USE_MSR_BITMAPS                  (1u << 28)
#define PROC_MONITOR_EXITING                  (1u << 29)
#define PROC_PAUSE_EXITING                    (1u << 30)
#define PROC_ACTIVATE_SECONDARY_CONTROLS      (1u << 31)

/* the same section: secondary */
#define PROC2_VIRTUALIZE_APIC_ACCESSES        (1u << 0)
#define PROC2_ENABLE_EPT                      (1u << 1)
#define PROC2_DESCRIPTOR_TABLE_EXITING        (1u << 2)
#define PROC2_ENABLE_RDTSCP                   (1u << 3)
#define PROC2_VIRTUALIZE_X2APIC_MODE          (1u << 4)
#define PROC2_ENABLE_VPID                     (1u << 5)
#define PROC2_WBINVD_EXITING                  (1u << 6)
#define PROC2_UNRESTRICTED_GUEST              (1u << 7)
#define PROC2_APIC_REGISTER_VIRTUALIZATION    (1u << 8)
#define PROC2_VIRTUAL_INTERRUPT_DELIVERY      (1u << 9)
#define PROC2_PAUSE_LOOP_EXITING              (1u << 10)
#define PROC2_RDRAND_EXITING                  (1u << 11)
#define PROC2_ENABLE_INVPCID                  (1u << 12)
#define PROC2_ENABLE_VM_FUNCTIONS             (1u << 13)
#define PROC2_VMCS_SHADOWING                  (1u << 14)
#define PROC2_ENABLE_ENCLS_EXITING            (1u << 15)
#define PROC2_RDSEED_EXITING                  (1u << 16)
#define PROC2_ENABLE_PML                      (1u << 17)
#define PROC2_EPT_VIOLATION_VE                (1u << 18)
#define PROC2_CONCEAL_VMX_FROM_PT             (1u << 19)
#define PROC2_ENABLE_XSAVES_XRSTORS           (1u << 20)
#define PROC2_PASID_TRANSLATION               (1u << 21)
#define PROC2_MODE_BASED_EXECUTE_CONTROL      (1u << 22)
#define PROC2_SUB_PAGE_WRITE_PERMISSIONS      (1u << 23)
#define PROC2_PT_USES_GUEST_PHYSICAL          (1u << 24)
#define PROC2_USE_TSC_SCALING                 (1u << 25)
#define PROC2_ENABLE_USER_WAIT_AND_PAUSE      (1u << 26)
#define PROC2_ENABLE_PCONFIG                  (1u << 27)
#define PROC2_ENABLE_ENCLV_EXITING            (1u << 28)
#define PROC2_VMM_BUS_LOCK_DETECTION          (1u << 30)
#define PROC2_INSTRUCTION_TIMEOUT             (1u << 31)

/* the same section: tertiary */
#define PROC3_LOADIWKEY_EXITING               (1u << 0)
#define PROC3_ENABLE_HLAT                     (1u << 1)
#define PROC3_EPT_PAGING_WRITE_CONTROL        (1u << 2)
#define PROC3_GUEST_PAGING_VERIFICATION       (1u << 3)
#define PROC3_IPI_VIRTUALIZATION              (1u << 4)
#define PROC3_ENABLE_MSR_LIST_INSTRUCTIONS    (1u << 6)
#define PROC3_VIRTUALIZE_IA32_SPEC_CTRL       (1u << 7)

/* SDM, "VM-Function Controls" */
#define VMFUNC_EPTP_SWITCHING                 (1u << 0)

/* SDM, "VM-Exit Controls": primary */
#define EXIT_CTL_SAVE_DEBUG_CONTROLS          (1u << 2)
#define EXIT_CTL_HOST_ADDRESS_SPACE_SIZE      (1u << 9)
#define EXIT_CTL_LOAD_IA32_PERF_GLOBAL_CTRL   (1u << 12)
#define EXIT_CTL_ACKNOWLEDGE_INTERRUPT        (1u << 15)
#define EXIT_CTL_SAVE_IA32_PAT                (1u << 18)
#define EXIT_CTL_LOAD_IA32_PAT                (1u << 19)
#define EXIT_CTL_SAVE_IA32_EFER               (1u << 20)
#define EXIT_CTL_LOAD_IA32_EFER               (1u << 21)
#define EXIT_CTL_SAVE_VMX_PREEMPTION_TIMER    (1u << 22)
#define EXIT_CTL_CLEAR_IA32_BNDCFGS           (1u << 23)
#define EXIT_CTL_CONCEAL_VMX_FROM_PT          (1u << 24)
#define EXIT_CTL_CLEAR_IA32_RTIT_CTL          (1u << 25)
#define EXIT_CTL_CLEAR_IA32_LBR_CTL           (1u << 26)
#define EXIT_CTL_CLEAR_UINV                   (1u << 27)
#define EXIT_CTL_LOAD_CET_STATE               (1u << 28)
#define EXIT_CTL_LOAD_PKRS                    (1u << 29)
#define EXIT_CTL_SAVE_IA32_PERF_GLOBAL_CTRL   (1u << 30)
#define EXIT_CTL_ACTIVATE_SECONDARY_CONTROLS  (1u << 31)

/* SDM, "VM-Entry Controls" */
#define ENTRY_CTL_LOAD_DEBUG_CONTROLS         (1u << 2)
#define ENTRY_CTL_IA32E_MODE_GUEST            (1u << 9)
#define ENTRY_CTL_ENTRY_TO_SMM                (1u << 10)
#define ENTRY_CTL_DEACTIVATE_DUAL_MONITOR     (1u << 11)
#define ENTRY_CTL_LOAD_IA32_PERF_GLOBAL_CTRL  (1u << 13)
#define ENTRY_CTL_LOAD_IA32_PAT               (1u << 14)
#define ENTRY_CTL_LOAD_IA32_EFER              (1u << 15)
#define ENTRY_CTL_LOAD_IA32_BNDCFGS           (1u << 16)
#define ENTRY_CTL_CONCEAL_VMX_FROM_PT         (1u << 17)
#define ENTRY_CTL_LOAD_IA32_RTIT_CTL          (1u << 18)
#define ENTRY_CTL_LOAD_UINV                   (1u << 19)
#define ENTRY_CTL_LOAD_CET_STATE              (1u << 20)
#define ENTRY_CTL_LOAD_GUEST_IA32_LBR_CTL     (1u << 21)
#define ENTRY_CTL_LOAD_PKRS                   (1u << 22)
#define ENTRY_CTL_LOAD_FRED                   (1u << 23)

/* SDM, "Basic VMX Information" and "Miscellaneous Data": IA32_VMX_BASIC and IA32_VMX_MISC */
#define VMX_BASIC_TRUE_CONTROLS               (1ull << 55)
#define VMX_BASIC_ANY_ERROR_CODE              (1ull << 56)
#define VMX_BASIC_NESTED_EXCEPTION            (1ull << 58)
#define VMX_MISC_ACTIVITY_HLT                 (1ull << 6)
#define VMX_MISC_ZERO_INSTRUCTION_LENGTH      (1ull << 30)

/* SDM, "VPID and EPT Capabilities": IA32_VMX_EPT_VPID_CAP */
#define EPT_CAP_EXECUTE_ONLY                  (1ull << 0)
#define EPT_CAP_WALK_LENGTH_4                 (1ull << 6)
#define EPT_CAP_WALK_LENGTH_5                 (1ull << 7)
#define EPT_CAP_TYPE_UC                       (1ull << 8)
#define EPT_CAP_TYPE_WB                       (1ull << 14)
#define EPT_CAP_PAGE_2M                       (1ull << 16)
#define EPT_CAP_PAGE_1G                       (1ull << 17)
#define EPT_CAP_INVEPT                        (1ull << 20)
#define EPT_CAP_ACCESSED_DIRTY                (1ull << 21)
#define EPT_CAP_SUPERVISOR_SHADOW_STACK       (1ull << 23)
#define EPT_CAP_INVEPT_SINGLE                 (1ull << 25)
#define EPT_CAP_INVEPT_ALL                    (1ull << 26)
#define VPID_CAP_INVVPID                      (1ull << 32)
#define VPID_CAP_INDIVIDUAL_ADDRESS           (1ull << 40)
#define VPID_CAP_SINGLE_CONTEXT               (1ull << 41)
#define VPID_CAP_ALL_CONTEXTS                 (1ull << 42)
#define VPID_CAP_SINGLE_RETAINING_GLOBALS     (1ull << 43)

/* SDM, "Extended-Page-Table Pointer (EPTP)" */
#define EPTP_ACCESSED_DIRTY                   (1ull << 6)
#define EPTP_SUPERVISOR_SHADOW_STACK          (1ull << 7)

/* SDM, "VM-Entry Controls for Event Injection": the interruption-information field */
#define EVENT_VECTOR                          0x000000ffu
#define EVENT_TYPE                            0x00000700u
#define EVENT_EXTERNAL_INTERRUPT              (0u << 8)
#define EVENT_NMI                             (2u << 8)
#define EVENT_HARDWARE_EXCEPTION              (3u << 8)
#define EVENT_SOFTWARE_INTERRUPT              (4u << 8)
#define EVENT_PRIVILEGED_SOFTWARE_EXCEPTION   (5u << 8)
#define EVENT_SOFTWARE_EXCEPTION              (6u << 8)
#define EVENT_OTHER                           (7u << 8)
#define EVENT_DELIVER_ERROR_CODE              (1u << 11)
#define EVENT_NESTED_EXCEPTION                (1u << 13)
#define EVENT_VALID                           (1u << 31)

/* SDM, "Guest Non-Register State": activity, interruptibility, pending debug exceptions */
#define ACTIVITY_ACTIVE                       0u
#define ACTIVITY_HLT                          1u
#define ACTIVITY_SHUTDOWN                     2u
#define ACTIVITY_WAIT_FOR_SIPI                3u
#define BLOCKING_BY_STI                       (1u << 0)
#define BLOCKING_BY_MOV_SS                    (1u << 1)
#define BLOCKING_BY_SMI                       (1u << 2)
#define BLOCKING_BY_NMI                       (1u << 3)
#define ENCLAVE_INTERRUPTION                  (1u << 4)
#define PENDING_DEBUG_ENABLED_BREAKPOINT      (1u << 12)
#define PENDING_DEBUG_BS                      (1u << 14)
#define PENDING_DEBUG_RTM                     (1u << 16)

/* SDM, "Guest Register State": access rights of a segment */
#define RIGHTS_TYPE                           0x0000000fu
#define RIGHTS_S                              (1u << 4)
#define RIGHTS_DPL                            0x00000060u
#define RIGHTS_P                              (1u << 7)
#define RIGHTS_L                              (1u << 13)
#define RIGHTS_DB                             (1u << 14)
#define RIGHTS_G                              (1u << 15)
#define RIGHTS_UNUSABLE                       (1u << 16)

/* SDM, "Basic VM-Exit Information": the exit reason */
#define EXIT_REASON_BASIC                     0x0000ffffu
#define EXIT_REASON_ENTRY_FAILURE             (1u << 31)

/* X(NAME, number, text): VMX_EXIT_NAME is the number. (SDM, "VMX Basic Exit Reasons") */
#define VMX_EXIT_REASONS(X)                                         \
    X(EXCEPTION_OR_NMI,        0, "exception or NMI")               \
    X(EXTERNAL_INTERRUPT,      1, "external interrupt")             \
    X(TRIPLE_FAULT,            2, "triple fault")                   \
    X(INIT,                    3, "INIT signal")                    \
    X(SIPI,                    4, "start-up IPI")                   \
    X(IO_SMI,                  5, "I/O SMI")                        \
    X(OTHER_SMI,               6, "other SMI")                      \
    X(INTERRUPT_WINDOW,        7, "interrupt window")               \
    X(NMI_WINDOW,              8, "NMI window")                     \
    X(TASK_SWITCH,             9, "task switch")                    \
    X(CPUID,                  10, "CPUID")                          \
    X(GETSEC,                 11, "GETSEC")                         \
    X(HLT,                    12, "HLT")                            \
    X(INVD,                   13, "INVD")                           \
    X(INVLPG,                 14, "INVLPG")                         \
    X(RDPMC,                  15, "RDPMC")                          \
    X(RDTSC,                  16, "RDTSC")                          \
    X(RSM,                    17, "RSM")                            \
    X(VMCALL,                 18, "VMCALL")                         \
    X(VMCLEAR,                19, "VMCLEAR")                        \
    X(VMLAUNCH,               20, "VMLAUNCH")                       \
    X(VMPTRLD,                21, "VMPTRLD")                        \
    X(VMPTRST,                22, "VMPTRST")                        \
    X(VMREAD,                 23, "VMREAD")                         \
    X(VMRESUME,               24, "VMRESUME")                       \
    X(VMWRITE,                25, "VMWRITE")                        \
    X(VMXOFF,                 26, "VMXOFF")                         \
    X(VMXON,                  27, "VMXON")                          \
    X(CR_ACCESS,              28, "control-register access")        \
    X(MOV_DR,                 29, "MOV DR")                         \
    X(IO_INSTRUCTION,         30, "I/O instruction")                \
    X(RDMSR,                  31, "RDMSR")                          \
    X(WRMSR,                  32, "WRMSR")                          \
    X(ENTRY_GUEST_STATE,      33, "VM entry: invalid guest state")  \
    X(ENTRY_MSR_LOADING,      34, "VM entry: MSR loading")          \
    X(MWAIT,                  36, "MWAIT")                          \
    X(MONITOR_TRAP_FLAG,      37, "monitor trap flag")              \
    X(MONITOR,                39, "MONITOR")                        \
    X(PAUSE,                  40, "PAUSE")                          \
    X(ENTRY_MACHINE_CHECK,    41, "VM entry: machine check")        \
    X(TPR_BELOW_THRESHOLD,    43, "TPR below threshold")            \
    X(APIC_ACCESS,            44, "APIC access")                    \
    X(VIRTUALIZED_EOI,        45, "virtualized EOI")                \
    X(GDTR_IDTR_ACCESS,       46, "access to GDTR or IDTR")         \
    X(LDTR_TR_ACCESS,         47, "access to LDTR or TR")           \
    X(EPT_VIOLATION,          48, "EPT violation")                  \
    X(EPT_MISCONFIGURATION,   49, "EPT misconfiguration")           \
    X(INVEPT,                 50, "INVEPT")                         \
    X(RDTSCP,                 51, "RDTSCP")                         \
    X(VMX_PREEMPTION_TIMER,   52, "VMX-preemption timer expired")   \
    X(INVVPID,                53, "INVVPID")                        \
    X(WBINVD,                 54, "WBINVD or WBNOINVD")             \
    X(XSETBV,                 55, "XSETBV")                         \
    X(APIC_WRITE,             56, "APIC write")                     \
    X(RDRAND,                 57, "RDRAND")                         \
    X(INVPCID,                58, "INVPCID")                        \
    X(VMFUNC,                 59, "VMFUNC")                         \
    X(ENCLS,                  60, "ENCLS")                          \
    X(RDSEED,                 61, "RDSEED")                         \
    X(PML_FULL,               62, "page-modification log full")     \
    X(XSAVES,                 63, "XSAVES")                         \
    X(XRSTORS,                64, "XRSTORS")                        \
    X(PCONFIG,                65, "PCONFIG")                        \
    X(SPP_EVENT,              66, "sub-page permission event")      \
    X(UMWAIT,                 67, "UMWAIT")                         \
    X(TPAUSE,                 68, "TPAUSE")                         \
    X(LOADIWKEY,              69, "LOADIWKEY")                      \
    X(ENCLV,                  70, "ENCLV")                          \
    X(ENQCMD_PASID,           72, "ENQCMD PASID translation")       \
    X(ENQCMDS_PASID,          73, "ENQCMDS PASID translation")      \
    X(BUS_LOCK,               74, "bus lock")                       \
    X(INSTRUCTION_TIMEOUT,    75, "instruction timeout")            \
    X(SEAMCALL,               76, "SEAMCALL")                       \
    X(TDCALL,                 77, "TDCALL")                         \
    X(RDMSRLIST,              78, "RDMSRLIST")                      \
    X(WRMSRLIST,              79, "WRMSRLIST")                      \
    X(URDMSR,                 80, "URDMSR")                         \
    X(UWRMSR,                 81, "UWRMSR")                         \
    X(RDMSR_IMMEDIATE,        84, "RDMSR with an immediate")        \
    X(WRMSR_IMMEDIATE,        85, "WRMSR with an immediate")

enum vmx_exit_reason {
#define X(name, number, text) VMX_EXIT_##name = (number),
    VMX_EXIT_REASONS(X)
#undef X
};
/* clang-format on */
