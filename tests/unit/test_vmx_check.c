/* Each rule of VM entry is broken by one field of a good VMCS, and named; good variants break none.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/host.h"
#include "tests/unit/vmcs_good.h"

#include "vmx/check.h"

/* IA32_VMX_EPT_VPID_CAP and others: what Bochs 2.7 shows as corei7_skylake_x and sandy bridge. */
#define COMMON_MSRS                                                                                \
    .basic = 0x00d810000000002b, .cr0_fixed0 = 0x80000021, .cr0_fixed1 = 0xffffffff,               \
    .cr4_fixed0 = 0x2000, .feature_control = 5, .physical_bits = 40, .linear_bits = 48

static const struct vmx_msrs skylake = {
    COMMON_MSRS,
    .word = {[VMX_PIN] = 0x0000007f00000016,
             [VMX_PROC] = 0xf7f9fffe04006172,
             [VMX_EXIT] = 0x007fffff00036dfb,
             [VMX_ENTRY] = 0x0000ffff000011fb,
             [VMX_PROC2] = 0x02177fff00000000,
             [VMX_VMFUNC] = 1,
             [VMX_EPT_VPID_CAP] = 0x00000f0106334141},
    .misc = 0x600401e0,
    .cr4_fixed1 = 0x003727ff,
    .features = 0xd19f27eb,
};

static const struct vmx_msrs sandy_bridge = {
    COMMON_MSRS,
    .word = {[VMX_PIN] = 0x0000007f00000016,
             [VMX_PROC] = 0xf7f9fffe04006172,
             [VMX_EXIT] = 0x007fffff00036dfb,
             [VMX_ENTRY] = 0x0000ffff000011fb,
             [VMX_PROC2] = 0x000000ff00000000,
             [VMX_EPT_VPID_CAP] = 0x00000f0106114141},
    .misc = 0x000401e0,
    .cr4_fixed1 = 0x000627ff,
};

/* A CPU that has every control of the manual. */
static const struct vmx_msrs every = {
    COMMON_MSRS,
    .word = {[VMX_PIN] = 0x000000ff00000016,
             [VMX_PROC] = 0xfffbfffe04006172,
             [VMX_EXIT] = 0xffffffff00036dfb,
             [VMX_ENTRY] = 0x00ffffff000011fb,
             [VMX_PROC2] = 0xdfffffff00000000,
             [VMX_PROC3] = 0x13df,
             [VMX_EXIT2] = 0xf,
             [VMX_VMFUNC] = 1,
             [VMX_EPT_VPID_CAP] = 0x00000f0106b341c1},
    .misc = 0x600401e0,
    .cr4_fixed1 = 0x100f77fff,
    .features = 1u << 2 | 1u << 11,
};

/* An older one: no shutdown state, no instruction length of 0. */
static const struct vmx_msrs older = {
    COMMON_MSRS,
    .word = {[VMX_PIN] = 0x0000007f00000016,
             [VMX_PROC] = 0xf7f9fffe04006172,
             [VMX_EXIT] = 0x007fffff00036dfb,
             [VMX_ENTRY] = 0x0000ffff000011fb,
             [VMX_PROC2] = 0x02177fff00000000,
             [VMX_EPT_VPID_CAP] = 0x00000f0106334141},
    .misc = 0x00000060 | 4 << 16,
    .cr4_fixed1 = 0x003727ff,
};

enum { MAX_CHANGES = 24 };

/* A good VMCS: one of vmcs_good.h, some fields of it changed. */
struct variant {
    const struct vmx_msrs *msrs;
    bool long_mode;
    struct vmcs_value changes[MAX_CHANGES];
    unsigned count;
};

#define CHANGED(...)                                                                               \
    .changes = {__VA_ARGS__},                                                                      \
    .count = sizeof((struct vmcs_value[]){__VA_ARGS__}) / sizeof(struct vmcs_value)

static const struct variant g32 = {.msrs = &skylake};
static const struct variant g64 = {.msrs = &skylake, .long_mode = true};
static const struct variant e32 = {.msrs = &every};
static const struct variant sandy = {.msrs = &sandy_bridge,
                                     CHANGED({VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS, 0xea},
                                             {VMCS_EPT_POINTER, 0x30001e},
                                             {VMCS_HOST_CR4, 0x42068})};
static const struct variant old = {.msrs = &older};
static const struct variant old_software_interrupt = {
    .msrs = &older,
    CHANGED({VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, 0x80000480},
            {VMCS_VM_ENTRY_INSTRUCTION_LENGTH, 2})};

#define V86_SEGMENT(s)                                                                             \
    {VMCS_GUEST_##s##_SELECTOR, 0x1000}, {VMCS_GUEST_##s##_BASE, 0x10000},                         \
        {VMCS_GUEST_##s##_LIMIT, 0xffff},                                                          \
    {                                                                                              \
        VMCS_GUEST_##s##_ACCESS_RIGHTS, 0xf3                                                       \
    }
static const struct variant v8086 = {
    .msrs = &skylake,
    CHANGED(V86_SEGMENT(ES), V86_SEGMENT(CS), V86_SEGMENT(SS), V86_SEGMENT(DS), V86_SEGMENT(FS),
            {VMCS_GUEST_GS_SELECTOR, 0}, {VMCS_GUEST_GS_LIMIT, 0xffff},
            {VMCS_GUEST_GS_ACCESS_RIGHTS, 0xf3}, {VMCS_GUEST_RFLAGS, 0x20002})};
static const struct variant real = {.msrs = &skylake,
                                    CHANGED({VMCS_GUEST_CR0, 0x30}, {VMCS_GUEST_CS_LIMIT, 0xffff},
                                            {VMCS_GUEST_CS_ACCESS_RIGHTS, 0x93},
                                            {VMCS_GUEST_SS_LIMIT, 0xffff},
                                            {VMCS_GUEST_SS_ACCESS_RIGHTS, 0x93})};
static const struct variant restricted = {
    .msrs = &skylake,
    .long_mode = true,
    CHANGED({VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS, 0x10106a})};
static const struct variant conforming = {
    .msrs = &skylake,
    .long_mode = true,
    CHANGED({VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS, 0x10106a},
            {VMCS_GUEST_CS_ACCESS_RIGHTS, 0xa09f})};
static const struct variant user = {
    .msrs = &skylake,
    .long_mode = true,
    CHANGED({VMCS_GUEST_CS_ACCESS_RIGHTS, 0xa0fb}, {VMCS_GUEST_SS_ACCESS_RIGHTS, 0xc0f3})};
static const struct variant ldt = {.msrs = &skylake,
                                   CHANGED({VMCS_GUEST_LDTR_SELECTOR, 0x28},
                                           {VMCS_GUEST_LDTR_LIMIT, 0x67},
                                           {VMCS_GUEST_LDTR_ACCESS_RIGHTS, 0x82})};
static const struct variant no_ldt = {.msrs = &skylake,
                                      CHANGED({VMCS_GUEST_LDTR_ACCESS_RIGHTS, 0x10000})};
static const struct variant task = {
    .msrs = &skylake, .long_mode = true, CHANGED({VMCS_GUEST_TR_LIMIT, 0x67})};
static const struct variant high = {
    .msrs = &skylake, .long_mode = true, CHANGED({VMCS_GUEST_RIP, 0xffffffff80100000})};
static const struct variant pae = {.msrs = &skylake,
                                   CHANGED({VMCS_GUEST_CR0, 0x80000031}, {VMCS_GUEST_CR4, 0x2020},
                                           {VMCS_GUEST_PDPTE0, 0x5001},
                                           {VMCS_GUEST_PDPTE3, 0x1e6})};

static const struct variant apic = {.msrs = &every,
                                    CHANGED({VMCS_PRIMARY_PROCESSOR_BASED_CONTROLS, 0xb6386dfa},
                                            {VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS, 0x1010eb},
                                            {VMCS_VIRTUAL_APIC_ADDRESS, 0x304000},
                                            {VMCS_APIC_ACCESS_ADDRESS, 0x305000})};
static const struct variant posted = {
    .msrs = &every,
    CHANGED({VMCS_PIN_BASED_CONTROLS, 0xbf}, {VMCS_PRIMARY_PROCESSOR_BASED_CONTROLS, 0xb63a6dfa},
            {VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS, 0x1013fa},
            {VMCS_TERTIARY_PROCESSOR_BASED_CONTROLS, 0x10},
            {VMCS_PRIMARY_VM_EXIT_CONTROLS, 0x3fefff},
            {VMCS_POSTED_INTERRUPT_NOTIFICATION_VECTOR, 0xf2},
            {VMCS_POSTED_INTERRUPT_DESCRIPTOR_ADDRESS, 0x306040},
            {VMCS_PID_POINTER_TABLE_ADDRESS, 0xfffffffff0}, {VMCS_LAST_PID_POINTER_INDEX, 1},
            {VMCS_TPR_THRESHOLD, 0x10})};
static const struct variant tertiary = {
    .msrs = &every, CHANGED({VMCS_PRIMARY_PROCESSOR_BASED_CONTROLS, 0xb61a6dfa})};
static const struct variant unvirtual_nmis = {.msrs = &skylake,
                                              CHANGED({VMCS_PIN_BASED_CONTROLS, 0x1f})};
static const struct variant full = {
    .msrs = &every,
    CHANGED({VMCS_PRIMARY_PROCESSOR_BASED_CONTROLS, 0xb61a6dfa},
            {VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS, 0x03f670ea},
            {VMCS_TERTIARY_PROCESSOR_BASED_CONTROLS, 0xe}, {VMCS_VM_FUNCTION_CONTROLS, 1},
            {VMCS_PRIMARY_VM_EXIT_CONTROLS, 0x823f6fff}, {VMCS_VM_ENTRY_CONTROLS, 0x4d1ff},
            {VMCS_TSC_MULTIPLIER, 1ull << 48}, {VMCS_HLAT_POINTER, 0x307018})};
static const struct variant no_ept = {.msrs = &every,
                                      .long_mode = true,
                                      CHANGED({VMCS_PRIMARY_PROCESSOR_BASED_CONTROLS, 0xb61a6dfa},
                                              {VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS, 0x103068},
                                              {VMCS_PRIMARY_VM_EXIT_CONTROLS, 0x23f6fff},
                                              {VMCS_VM_ENTRY_CONTROLS, 0x4d3ff})};
static const struct variant areas = {
    .msrs = &skylake,
    CHANGED({VMCS_VM_EXIT_MSR_STORE_COUNT, 2}, {VMCS_VM_EXIT_MSR_STORE_ADDRESS, 0xffffffffe0},
            {VMCS_VM_EXIT_MSR_LOAD_COUNT, 2}, {VMCS_VM_EXIT_MSR_LOAD_ADDRESS, 0xffffffffe0},
            {VMCS_VM_ENTRY_MSR_LOAD_COUNT, 2}, {VMCS_VM_ENTRY_MSR_LOAD_ADDRESS, 0xffffffffe0})};
static const struct variant loads = {
    .msrs = &every,
    CHANGED({VMCS_PRIMARY_VM_EXIT_CONTROLS, 0x303f7fff}, {VMCS_VM_ENTRY_CONTROLS, 0x59f1ff},
            {VMCS_HOST_CR4, 0x802060}, {VMCS_GUEST_CR4, 0x802000}, {VMCS_GUEST_CR0, 0x10031})};

static const struct variant protection = {
    .msrs = &skylake, CHANGED({VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, 0x80000b0d})};
static const struct variant software_interrupt = {
    .msrs = &skylake,
    CHANGED({VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, 0x80000480},
            {VMCS_VM_ENTRY_INSTRUCTION_LENGTH, 0})};
static const struct variant interrupt = {
    .msrs = &skylake,
    CHANGED({VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, 0x80000020}, {VMCS_GUEST_RFLAGS, 0x202})};
static const struct variant nmi = {.msrs = &skylake,
                                   CHANGED({VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, 0x80000202})};
static const struct variant enabled = {.msrs = &skylake, CHANGED({VMCS_GUEST_RFLAGS, 0x202})};
static const struct variant after_sti = {
    .msrs = &skylake, CHANGED({VMCS_GUEST_RFLAGS, 0x202}, {VMCS_GUEST_INTERRUPTIBILITY_STATE, 1})};
static const struct variant stepping = {.msrs = &skylake,
                                        CHANGED({VMCS_GUEST_RFLAGS, 0x302},
                                                {VMCS_GUEST_INTERRUPTIBILITY_STATE, 1},
                                                {VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0x4000})};
static const struct variant halted = {.msrs = &skylake, CHANGED({VMCS_GUEST_ACTIVITY_STATE, 1})};
static const struct variant shut_down = {.msrs = &skylake, CHANGED({VMCS_GUEST_ACTIVITY_STATE, 2})};
static const struct variant waiting = {.msrs = &skylake, CHANGED({VMCS_GUEST_ACTIVITY_STATE, 3})};
static const struct variant transaction = {.msrs = &every,
                                           CHANGED({VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0x11000})};

static const struct variant pending_mtf = {
    .msrs = &every, CHANGED({VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, 0x80000700})};
static const struct variant unpaged = {.msrs = &skylake, CHANGED({VMCS_GUEST_PDPTE0, 0x5003})};
static const struct variant data_dpl_1 = {
    .msrs = &skylake,
    .long_mode = true,
    CHANGED({VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS, 0x10106a},
            {VMCS_GUEST_DS_ACCESS_RIGHTS, 0xc0b3})};
static const struct variant data_in_cs = {.msrs = &skylake,
                                          CHANGED({VMCS_GUEST_CS_ACCESS_RIGHTS, 0xc093})};
static const struct variant real_code = {
    .msrs = &skylake, CHANGED({VMCS_GUEST_CR0, 0x30}, {VMCS_GUEST_CS_ACCESS_RIGHTS, 0xc09f})};

static const struct variant null_ds = {.msrs = &skylake,
                                       CHANGED({VMCS_GUEST_DS_ACCESS_RIGHTS, 0x10000})};
static const struct variant length_16 = {.msrs = &skylake,
                                         CHANGED({VMCS_VM_ENTRY_INSTRUCTION_LENGTH, 16})};
static const struct variant code_in_ds = {
    .msrs = &skylake,
    .long_mode = true,
    CHANGED({VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS, 0x10106a}, {VMCS_GUEST_DS_SELECTOR, 0x11},
            {VMCS_GUEST_DS_ACCESS_RIGHTS, 0xc09f})};
static const struct variant halted_enabled = {
    .msrs = &skylake, CHANGED({VMCS_GUEST_ACTIVITY_STATE, 1}, {VMCS_GUEST_RFLAGS, 0x202})};

/* FIELD of a variant gets VALUE: exactly RULES are broken then, none if it names none. */
struct row {
    const struct variant *variant;
    uint32_t field;
    uint64_t value;
    const char *rules[2]; /* the first is what the row is for, the other cannot be avoided */
};

#define SEGMENT_ROWS(name, s, v, ok)                                                               \
    {v, VMCS_GUEST_##s##_ACCESS_RIGHTS, (ok) & ~0x80u, {"guest-" name "-present"}},                \
        {v, VMCS_GUEST_##s##_ACCESS_RIGHTS, (ok) | 0x100, {"guest-" name "-reserved-low"}},        \
        {v, VMCS_GUEST_##s##_ACCESS_RIGHTS, (ok) | 0x800, {"guest-" name "-reserved-low"}},        \
        {v, VMCS_GUEST_##s##_ACCESS_RIGHTS, (ok) | 0x20000, {"guest-" name "-reserved-high"}},     \
    {                                                                                              \
        v, VMCS_GUEST_##s##_ACCESS_RIGHTS, (ok) | 0x80000000,                                      \
        {                                                                                          \
            "guest-" name "-reserved-high"                                                         \
        }                                                                                          \
    }

/* The six flat segments: G is 1, the limit FFFFFFFFH. */
#define FLAT_ROWS(name, s, ok)                                                                     \
    SEGMENT_ROWS(name, s, &g32, ok),                                                               \
        {&g32, VMCS_GUEST_##s##_LIMIT, 0xfffffffe, {"guest-" name "-small-limit"}},                \
        {&g32, VMCS_GUEST_##s##_ACCESS_RIGHTS, (ok) & ~0x8000u, {"guest-" name "-large-limit"}},   \
        {&g32, VMCS_GUEST_##s##_LIMIT, 0x000fffff, {0}},                                           \
        {&g32, VMCS_GUEST_##s##_ACCESS_RIGHTS, (ok) & ~0x10u, {"guest-" name "-not-system"}},      \
        {&v8086, VMCS_GUEST_##s##_BASE, 0x10010, {"guest-" name "-base-v86"}},                     \
        {&v8086, VMCS_GUEST_##s##_SELECTOR, 0x1001, {"guest-" name "-base-v86"}},                  \
        {&v8086, VMCS_GUEST_##s##_LIMIT, 0xfffff, {"guest-" name "-limit-v86"}},                   \
    {                                                                                              \
        &v8086, VMCS_GUEST_##s##_ACCESS_RIGHTS, 0x93,                                              \
        {                                                                                          \
            "guest-" name "-rights-v86"                                                            \
        }                                                                                          \
    }

#define DATA_ROWS(name, s)                                                                         \
    FLAT_ROWS(name, s, 0xc093),                                                                    \
        {&g32, VMCS_GUEST_##s##_ACCESS_RIGHTS, 0xc092, {"guest-" name "-accessed"}},               \
        {&g32, VMCS_GUEST_##s##_ACCESS_RIGHTS, 0xc099, {"guest-" name "-readable"}},               \
        {&g32, VMCS_GUEST_##s##_ACCESS_RIGHTS, 0x10000, {0}},                                      \
        {&restricted, VMCS_GUEST_##s##_SELECTOR, 0x11, {"guest-" name "-dpl"}},                    \
    {                                                                                              \
        &g32, VMCS_GUEST_##s##_SELECTOR, 0x11,                                                     \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/* TR and LDTR: G is 0, the limit 67H. */
#define SYSTEM_ROWS(name, s, v, ok)                                                                \
    SEGMENT_ROWS(name, s, v, ok),                                                                  \
        {v, VMCS_GUEST_##s##_ACCESS_RIGHTS, (ok) | 0x8000, {"guest-" name "-small-limit"}},        \
        {v, VMCS_GUEST_##s##_LIMIT, 0x100fff, {"guest-" name "-large-limit"}},                     \
        {v, VMCS_GUEST_##s##_SELECTOR, 0x2c, {"guest-" name "-ti"}},                               \
        {v, VMCS_GUEST_##s##_BASE, 1ull << 47, {"guest-" name "-base"}},                           \
        {v, VMCS_GUEST_##s##_ACCESS_RIGHTS, (ok) | 0x10, {"guest-" name "-system"}},               \
    {                                                                                              \
        v, VMCS_GUEST_##s##_ACCESS_RIGHTS, (ok) ^ 2,                                               \
        {                                                                                          \
            "guest-" name "-type"                                                                  \
        }                                                                                          \
    }

#define PAGE_ROWS(name, v, field)                                                                  \
    {v, VMCS_##field, 0x308800, {name}}, {v, VMCS_##field, 1ull << 40, {name}},                    \
    {                                                                                              \
        v, VMCS_##field, 0xfffffff000,                                                             \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

#define AREA_ROWS(name, field)                                                                     \
    {&areas, VMCS_##field, 0x308008, {name "-area"}},                                              \
        {&areas, VMCS_##field, 1ull << 40, {name "-area"}},                                        \
    {                                                                                              \
        &areas, VMCS_##field, 0xfffffffff0,                                                        \
        {                                                                                          \
            name "-area-end"                                                                       \
        }                                                                                          \
    }

#define PROC1 VMCS_PRIMARY_PROCESSOR_BASED_CONTROLS
#define PROC2 VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS
#define PROC3 VMCS_TERTIARY_PROCESSOR_BASED_CONTROLS
#define EVENT VMCS_VM_ENTRY_INTERRUPTION_INFORMATION

/* clang-format off */
static const struct row rows[] = {
    {&g32, VMCS_PIN_BASED_CONTROLS, 0x13f, {"pin-reserved"}},
    {&g32, VMCS_PIN_BASED_CONTROLS, 0x03d, {"pin-reserved"}},
    {&g32, PROC1, 0xb6186dfb, {"proc-reserved"}},
    {&g32, PROC1, 0xb6186df8, {"proc-reserved"}},
    {&g32, PROC2, 0x001090ea, {"proc2-reserved"}},
    {&tertiary, PROC3, 0x20, {"proc3-reserved"}},
    {&g32, VMCS_CR3_TARGET_COUNT, 5, {"cr3-target-count"}},
    {&g32, VMCS_CR3_TARGET_COUNT, 4, {0}},
    PAGE_ROWS("io-bitmap-a", &g32, ADDRESS_OF_IO_BITMAP_A),
    PAGE_ROWS("io-bitmap-b", &g32, ADDRESS_OF_IO_BITMAP_B),
    PAGE_ROWS("msr-bitmap", &g32, ADDRESS_OF_MSR_BITMAPS),
    PAGE_ROWS("virtual-apic", &apic, VIRTUAL_APIC_ADDRESS),
    PAGE_ROWS("apic-access", &apic, APIC_ACCESS_ADDRESS),
    PAGE_ROWS("pml", &full, PML_ADDRESS),
    PAGE_ROWS("spp-table", &full, SUB_PAGE_PERMISSION_TABLE_POINTER),
    PAGE_ROWS("eptp-list", &full, EPTP_LIST_ADDRESS),
    PAGE_ROWS("vmread-bitmap", &full, VMREAD_BITMAP_ADDRESS),
    PAGE_ROWS("vmwrite-bitmap", &full, VMWRITE_BITMAP_ADDRESS),
    PAGE_ROWS("ve-information", &full, VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS),
    PAGE_ROWS("pasid-low", &full, LOW_PASID_DIRECTORY_ADDRESS),
    PAGE_ROWS("pasid-high", &full, HIGH_PASID_DIRECTORY_ADDRESS),
    {&g32, VMCS_VIRTUAL_APIC_ADDRESS, 0x123, {0}},
    {&apic, VMCS_TPR_THRESHOLD, 0x10, {"tpr-threshold"}},
    {&apic, VMCS_TPR_THRESHOLD, 0x0f, {0}},
    {&g32, VMCS_PIN_BASED_CONTROLS, 0x37, {"virtual-nmis"}},
    {&unvirtual_nmis, PROC1, 0xb6586dfa, {"nmi-window"}},
    {&g32, PROC1, 0xb6586dfa, {0}},
    {&e32, PROC2, 0x1010fa, {"x2apic-without-shadow"}},
    {&e32, PROC2, 0x1011ea, {"apic-registers-without-shadow"}},
    {&e32, PROC2, 0x1012ea, {"delivery-without-shadow"}},
    {&tertiary, PROC3, 0x10, {"ipi-without-shadow"}},
    {&posted, PROC2, 0x1013fb, {"x2apic-or-apic-accesses"}},
    {&posted, VMCS_PIN_BASED_CONTROLS, 0xbe, {"delivery-without-exiting"}},
    {&posted, PROC2, 0x1011fa, {"posted-without-delivery", "tpr-threshold"}},
    {&posted, VMCS_PRIMARY_VM_EXIT_CONTROLS, 0x3f6fff, {"posted-without-acknowledge"}},
    {&posted, VMCS_POSTED_INTERRUPT_NOTIFICATION_VECTOR, 0x100, {"posted-vector"}},
    {&posted, VMCS_POSTED_INTERRUPT_DESCRIPTOR_ADDRESS, 0x306020, {"posted-descriptor"}},
    {&posted, VMCS_POSTED_INTERRUPT_DESCRIPTOR_ADDRESS, 1ull << 40, {"posted-descriptor"}},
    {&posted, VMCS_PID_POINTER_TABLE_ADDRESS, 0x306004, {"pid-table"}},
    {&posted, VMCS_PID_POINTER_TABLE_ADDRESS, 1ull << 63, {"pid-table"}},
    {&posted, VMCS_LAST_PID_POINTER_INDEX, 2, {"pid-table-end"}},
    {&g32, VMCS_VIRTUAL_PROCESSOR_IDENTIFIER, 0, {"vpid"}},
    {&g32, VMCS_EPT_POINTER, 0x30005c, {"eptp-type"}},
    {&g32, VMCS_EPT_POINTER, 0x300058, {0}},
    {&g32, VMCS_EPT_POINTER, 0x300066, {"eptp-walk"}},
    {&g32, VMCS_EPT_POINTER, 0x300056, {"eptp-walk"}},
    {&e32, VMCS_EPT_POINTER, 0x300066, {0}},
    {&sandy, VMCS_EPT_POINTER, 0x30005e, {"eptp-accessed-dirty"}},
    {&g32, VMCS_EPT_POINTER, 0x3000de, {"eptp-reserved"}},
    {&e32, VMCS_EPT_POINTER, 0x3000de, {0}},
    {&e32, VMCS_EPT_POINTER, 0x30015e, {"eptp-reserved"}},
    {&g32, VMCS_EPT_POINTER, 0x1000030005e, {"eptp-width"}},
    {&no_ept, PROC2, 0x123068, {"pml-without-ept"}},
    {&g32, PROC2, 0x1010e8, {"unrestricted-without-ept"}},
    {&no_ept, PROC2, 0x503068, {"mode-based-without-ept"}},
    {&no_ept, PROC2, 0x903068, {"spp-without-ept"}},
    {&no_ept, PROC2, 0x1103068, {"pt-without-ept"}},
    {&no_ept, PROC3, 2, {"hlat-without-ept"}},
    {&no_ept, PROC3, 4, {"paging-write-without-ept"}},
    {&no_ept, PROC3, 8, {"paging-verification-without-ept"}},
    {&full, VMCS_VM_FUNCTION_CONTROLS, 3, {"vm-functions"}},
    {&no_ept, VMCS_VM_FUNCTION_CONTROLS, 1, {"eptp-switching-without-ept"}},
    {&full, VMCS_VM_ENTRY_CONTROLS, 0x0d1ff, {"pt-without-load"}},
    {&full, VMCS_PRIMARY_VM_EXIT_CONTROLS, 0x803f6fff, {"pt-without-clear"}},
    {&full, VMCS_TSC_MULTIPLIER, 0, {"tsc-multiplier"}},
    {&full, VMCS_HLAT_POINTER, 0x307020, {"hlatp-reserved"}},
    {&full, VMCS_HLAT_POINTER, 0x307004, {"hlatp-reserved"}},
    {&full, VMCS_HLAT_POINTER, 1ull << 40, {"hlatp-width"}},

    {&g32, VMCS_PRIMARY_VM_EXIT_CONTROLS, 0x103f6fff, {"exit-reserved"}},
    {&g32, VMCS_PRIMARY_VM_EXIT_CONTROLS, 0x003f6ffe, {"exit-reserved"}},
    {&full, VMCS_SECONDARY_VM_EXIT_CONTROLS, 0x10, {"exit2-reserved"}},
    {&g32, VMCS_PRIMARY_VM_EXIT_CONTROLS, 0x007f6fff, {"save-timer"}},
    AREA_ROWS("exit-msr-store", VM_EXIT_MSR_STORE_ADDRESS),
    AREA_ROWS("exit-msr-load", VM_EXIT_MSR_LOAD_ADDRESS),
    {&areas, VMCS_VM_EXIT_MSR_LOAD_COUNT, 3, {"exit-msr-load-area-end"}},
    {&areas, VMCS_VM_EXIT_MSR_LOAD_COUNT, 0, {0}},

    {&g32, VMCS_VM_ENTRY_CONTROLS, 0x0001d1ff, {"entry-reserved"}},
    {&g32, VMCS_VM_ENTRY_CONTROLS, 0x0000c1ff, {"entry-reserved"}},
    {&g32, EVENT, 0x80000100, {"event-type"}},
    {&g32, EVENT, 0x00000100, {0}},
    {&e32, EVENT, 0x80000700, {0}},
    {&g32, EVENT, 0x80000700, {"event-type"}},
    {&g32, EVENT, 0x80000203, {"event-vector-nmi"}},
    {&g32, EVENT, 0x80000320, {"event-vector-exception"}},
    {&g32, EVENT, 0x8000031f, {0}},
    {&g32, EVENT, 0x80000b1f, {"event-error-code-not-given"}},
    {&e32, EVENT, 0x80000701, {"event-vector-other"}},
    {&g32, EVENT, 0x8000030d, {"event-error-code-given"}},
    {&g32, EVENT, 0x80000311, {"event-error-code-given"}},
    {&real, EVENT, 0x8000030d, {0}},
    {&restricted, EVENT, 0x80000308, {"event-error-code-given"}},
    {&g32, EVENT, 0x80000b06, {"event-error-code-not-given"}},
    {&g32, EVENT, 0x80000a02, {"event-error-code-not-given"}},
    {&real, EVENT, 0x80000b0d, {"event-error-code-not-given"}},
    {&g32, EVENT, 0x80002b0d, {"event-nested"}},
    {&g32, EVENT, 0x80001306, {"event-reserved"}},
    {&g32, EVENT, 0x80004306, {"event-reserved"}},
    {&protection, VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE, 0x10000, {"event-error-code-width"}},
    {&protection, VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE, 0x0fff8, {0}},
    {&g32, VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE, 0x10000, {0}},
    {&software_interrupt, VMCS_VM_ENTRY_INSTRUCTION_LENGTH, 16, {"event-length"}},
    {&length_16, EVENT, 0x80000480, {"event-length"}},
    {&length_16, EVENT, 0x80000501, {"event-length"}},
    {&length_16, EVENT, 0x80000603, {"event-length"}},
    {&software_interrupt, VMCS_VM_ENTRY_INSTRUCTION_LENGTH, 15, {0}},
    {&old_software_interrupt, VMCS_VM_ENTRY_INSTRUCTION_LENGTH, 0, {"event-length"}},
    {&g32, VMCS_VM_ENTRY_INSTRUCTION_LENGTH, 16, {0}},
    AREA_ROWS("entry-msr-load", VM_ENTRY_MSR_LOAD_ADDRESS),
    {&g32, VMCS_VM_ENTRY_CONTROLS, 0xd5ff, {"entry-to-smm"}},
    {&g32, VMCS_VM_ENTRY_CONTROLS, 0xd9ff, {"deactivate-dual-monitor"}},

    {&g32, VMCS_HOST_CR0, 0x80050013, {"host-cr0"}},
    {&g32, VMCS_HOST_CR0, 0x180050033, {"host-cr0"}},
    {&g32, VMCS_HOST_CR4, 0x60, {"host-cr4"}},
    {&g32, VMCS_HOST_CR4, 0x802060, {"host-cr4"}},
    {&loads, VMCS_HOST_CR0, 0x80040033, {"host-cet-without-wp"}},
    {&g32, VMCS_HOST_CR3, 1ull << 40, {"host-cr3"}},
    {&g32, VMCS_HOST_IA32_SYSENTER_ESP, 1ull << 47, {"host-sysenter-esp"}},
    {&g32, VMCS_HOST_IA32_SYSENTER_EIP, 1ull << 47, {"host-sysenter-eip"}},
    {&loads, VMCS_HOST_IA32_PERF_GLOBAL_CTRL, 1ull << 62, {"host-perf-global-ctrl"}},
    {&g32, VMCS_HOST_IA32_PERF_GLOBAL_CTRL, 1ull << 62, {0}},
    {&g32, VMCS_HOST_IA32_PAT, 0x0205040600070406, {"host-pat"}},
    {&g32, VMCS_HOST_IA32_PAT, 0x0105040600070403, {"host-pat"}},
    {&g32, VMCS_HOST_IA32_PAT, 0x0805040600070406, {"host-pat"}},
    {&g32, VMCS_HOST_IA32_EFER, 0x0d03, {"host-efer-reserved"}},
    {&g32, VMCS_HOST_IA32_EFER, 0x1d01, {"host-efer-reserved"}},
    {&g32, VMCS_HOST_IA32_EFER, 0x0901, {"host-efer-long"}},
    {&g32, VMCS_HOST_IA32_EFER, 0x0c01, {"host-efer-long"}},
    {&loads, VMCS_HOST_IA32_S_CET, 0x40, {"host-s-cet-reserved"}},
    {&loads, VMCS_HOST_IA32_S_CET, 0xc00, {"host-s-cet-tracker"}},
    {&loads, VMCS_HOST_SSP, 2, {"host-ssp"}},
    {&loads, VMCS_HOST_IA32_PKRS, 1ull << 32, {"host-pkrs"}},
    {&g32, VMCS_HOST_ES_SELECTOR, 3, {"host-es"}},
    {&g32, VMCS_HOST_CS_SELECTOR, 0x0c, {"host-cs"}},
    {&g32, VMCS_HOST_SS_SELECTOR, 0x11, {"host-ss"}},
    {&g32, VMCS_HOST_SS_SELECTOR, 0, {0}},
    {&g32, VMCS_HOST_DS_SELECTOR, 4, {"host-ds"}},
    {&g32, VMCS_HOST_FS_SELECTOR, 1, {"host-fs"}},
    {&g32, VMCS_HOST_GS_SELECTOR, 2, {"host-gs"}},
    {&g32, VMCS_HOST_TR_SELECTOR, 0x1c, {"host-tr"}},
    {&g32, VMCS_HOST_CS_SELECTOR, 0, {"host-cs-null"}},
    {&g32, VMCS_HOST_TR_SELECTOR, 0, {"host-tr-null"}},
    {&g32, VMCS_HOST_FS_BASE, 1ull << 47, {"host-fs-base"}},
    {&g32, VMCS_HOST_GS_BASE, 1ull << 47, {"host-gs-base"}},
    {&g32, VMCS_HOST_TR_BASE, 1ull << 47, {"host-tr-base"}},
    {&g32, VMCS_HOST_GDTR_BASE, 1ull << 47, {"host-gdtr-base"}},
    {&g32, VMCS_HOST_IDTR_BASE, 0xffff7fffffffffff, {"host-idtr-base"}},

    {&g32, VMCS_PRIMARY_VM_EXIT_CONTROLS, 0x3f6dff, {"host-64-bit"}},
    {&g32, VMCS_HOST_CR4, 0x2040, {"host-pae"}},
    {&g32, VMCS_HOST_RIP, 1ull << 47, {"host-rip"}},
    {&loads, VMCS_HOST_IA32_S_CET, 1ull << 47, {"host-s-cet-canonical"}},
    {&loads, VMCS_HOST_SSP, 1ull << 47, {"host-ssp-canonical"}},
    {&loads, VMCS_HOST_IA32_INTERRUPT_SSP_TABLE_ADDR, 1ull << 47, {"host-ssp-table"}},

    {&g32, VMCS_GUEST_CR0, 0x11, {"guest-cr0"}},
    {&g32, VMCS_GUEST_CR0, 0x60000031, {0}},
    {&g32, VMCS_GUEST_CR0, 0x30, {0}},
    {&restricted, VMCS_GUEST_CR0, 0x80000013, {"guest-cr0"}},
    {&g32, VMCS_GUEST_CR0, 0x80000030, {"guest-pg-without-pe"}},
    {&g32, VMCS_GUEST_CR4, 0, {"guest-cr4"}},
    {&g32, VMCS_GUEST_CR4, 0x802000, {"guest-cr4", "guest-cet-without-wp"}},
    {&loads, VMCS_GUEST_CR0, 0x31, {"guest-cet-without-wp"}},
    {&g32, VMCS_GUEST_IA32_DEBUGCTL, 0x10, {"guest-debugctl"}},
    {&g32, VMCS_GUEST_IA32_DEBUGCTL, 0x10000, {"guest-debugctl"}},
    {&g32, VMCS_GUEST_IA32_DEBUGCTL, 3, {0}},
    {&g64, VMCS_GUEST_CR0, 0x33, {"guest-long-without-pg"}},
    {&g64, VMCS_GUEST_CR4, 0x2000, {"guest-long-without-pae"}},
    {&g32, VMCS_GUEST_CR4, 0x22000, {"guest-pcide"}},
    {&g64, VMCS_GUEST_CR4, 0x22020, {0}},
    {&e32, VMCS_GUEST_CR4, 0x100002000, {"guest-fred"}},
    {&g32, VMCS_GUEST_CR3, 1ull << 40, {"guest-cr3"}},
    {&g32, VMCS_GUEST_DR7, 0x100000400, {"guest-dr7"}},
    {&g32, VMCS_GUEST_IA32_SYSENTER_ESP, 1ull << 47, {"guest-sysenter-esp"}},
    {&g32, VMCS_GUEST_IA32_SYSENTER_EIP, 1ull << 47, {"guest-sysenter-eip"}},
    {&loads, VMCS_GUEST_IA32_S_CET, 1ull << 47, {"guest-s-cet-canonical"}},
    {&loads, VMCS_GUEST_IA32_INTERRUPT_SSP_TABLE_ADDR, 1ull << 47, {"guest-ssp-table"}},
    {&loads, VMCS_GUEST_IA32_PERF_GLOBAL_CTRL, 1ull << 49, {"guest-perf-global-ctrl"}},
    {&g32, VMCS_GUEST_IA32_PAT, 0x0007040600070402, {"guest-pat"}},
    {&g32, VMCS_GUEST_IA32_PAT, 0x0007040600070426, {"guest-pat"}},
    {&g32, VMCS_GUEST_IA32_EFER, 2, {"guest-efer-reserved"}},
    {&g32, VMCS_GUEST_IA32_EFER, 0x400, {"guest-efer-lma"}},
    {&g32, VMCS_GUEST_IA32_EFER, 0x100, {0}},
    {&g64, VMCS_GUEST_IA32_EFER, 0x400, {"guest-efer-lme"}},
    {&loads, VMCS_GUEST_IA32_BNDCFGS, 0x800, {"guest-bndcfgs-reserved"}},
    {&loads, VMCS_GUEST_IA32_BNDCFGS, 1ull << 47, {"guest-bndcfgs-canonical"}},
    {&loads, VMCS_GUEST_IA32_S_CET, 0x200, {"guest-s-cet-reserved"}},
    {&loads, VMCS_GUEST_IA32_S_CET, 0xc00, {"guest-s-cet-tracker"}},
    {&loads, VMCS_GUEST_IA32_PKRS, 1ull << 63, {"guest-pkrs"}},
    {&loads, VMCS_GUEST_UINV, 0x100, {"guest-uinv"}},

    FLAT_ROWS("cs", CS, 0xc09b),
    FLAT_ROWS("ss", SS, 0xc093),
    DATA_ROWS("ds", DS),
    DATA_ROWS("es", ES),
    DATA_ROWS("fs", FS),
    DATA_ROWS("gs", GS),
    SYSTEM_ROWS("tr", TR, &task, 0x8b),
    SYSTEM_ROWS("ldtr", LDTR, &ldt, 0x82),
    {&no_ldt, VMCS_GUEST_LDTR_BASE, 1ull << 47, {0}},
    {&restricted, VMCS_GUEST_CS_SELECTOR, 0x0b, {"guest-ss-rpl"}},
    {&g32, VMCS_GUEST_CS_SELECTOR, 0x0b, {0}},
    {&g32, VMCS_GUEST_FS_BASE, 1ull << 47, {"guest-fs-base"}},
    {&g32, VMCS_GUEST_GS_BASE, 1ull << 47, {"guest-gs-base"}},
    {&g32, VMCS_GUEST_CS_BASE, 1ull << 32, {"guest-cs-base"}},
    {&g32, VMCS_GUEST_SS_BASE, 1ull << 32, {"guest-ss-base"}},
    {&g32, VMCS_GUEST_DS_BASE, 1ull << 63, {"guest-ds-base"}},
    {&g32, VMCS_GUEST_ES_BASE, 1ull << 32, {"guest-es-base"}},
    {&g32, VMCS_GUEST_CS_ACCESS_RIGHTS, 0xc097, {"guest-cs-type"}},
    {&g32, VMCS_GUEST_CS_ACCESS_RIGHTS, 0xc09a, {"guest-cs-type"}},
    {&g32, VMCS_GUEST_CS_ACCESS_RIGHTS, 0xc093, {0}},
    {&restricted, VMCS_GUEST_CS_ACCESS_RIGHTS, 0xa093, {"guest-cs-type"}},
    {&real, VMCS_GUEST_CS_ACCESS_RIGHTS, 0xf3, {"guest-cs-dpl-data"}},
    {&g32, VMCS_GUEST_CS_ACCESS_RIGHTS, 0xc0fb, {"guest-cs-dpl-non-conforming"}},
    {&g32, VMCS_GUEST_CS_ACCESS_RIGHTS, 0xc0bf, {"guest-cs-dpl-conforming"}},
    {&g64, VMCS_GUEST_CS_ACCESS_RIGHTS, 0xe09b, {"guest-cs-long"}},
    {&g32, VMCS_GUEST_CS_ACCESS_RIGHTS, 0xe09b, {0}},
    {&null_ds, VMCS_GUEST_DS_BASE, 1ull << 32, {0}},
    {&code_in_ds, VMCS_GUEST_DS_ACCESS_RIGHTS, 0xc09b, {"guest-ds-dpl"}},
    {&code_in_ds, VMCS_GUEST_DS_ACCESS_RIGHTS, 0x10000, {0}},
    {&data_dpl_1, VMCS_GUEST_DS_SELECTOR, 0x13, {"guest-ds-dpl"}},
    {&data_dpl_1, VMCS_GUEST_DS_SELECTOR, 0x11, {0}},
    {&data_in_cs, VMCS_GUEST_SS_ACCESS_RIGHTS, 0xc0f3, {"guest-ss-dpl-zero"}},
    {&real_code, VMCS_GUEST_SS_ACCESS_RIGHTS, 0xc0f3, {"guest-ss-dpl-zero"}},
    {&g32, VMCS_GUEST_SS_ACCESS_RIGHTS, 0xc091, {"guest-ss-type"}},
    {&g32, VMCS_GUEST_DS_ACCESS_RIGHTS, 0xc09b, {0}},
    {&g32, VMCS_GUEST_DS_ACCESS_RIGHTS, 0xc091, {0}},
    {&g32, VMCS_GUEST_SS_ACCESS_RIGHTS, 0xc097, {0}},
    {&conforming, VMCS_GUEST_SS_ACCESS_RIGHTS, 0xc0f3, {"guest-ss-dpl-rpl"}},
    {&real, VMCS_GUEST_SS_ACCESS_RIGHTS, 0xf3, {"guest-ss-dpl-zero"}},
    {&g64, VMCS_GUEST_TR_ACCESS_RIGHTS, 0x83, {"guest-tr-type"}},
    {&g32, VMCS_GUEST_TR_ACCESS_RIGHTS, 0x83, {0}},
    {&g32, VMCS_GUEST_TR_ACCESS_RIGHTS, 0x1008b, {"guest-tr-usable"}},

    {&g32, VMCS_GUEST_GDTR_BASE, 1ull << 47, {"guest-gdtr-base"}},
    {&g32, VMCS_GUEST_IDTR_BASE, 1ull << 47, {"guest-idtr-base"}},
    {&g32, VMCS_GUEST_GDTR_LIMIT, 0x10000, {"guest-gdtr-limit"}},
    {&g32, VMCS_GUEST_IDTR_LIMIT, 0x1ffff, {"guest-idtr-limit"}},
    {&g32, VMCS_GUEST_RIP, 1ull << 32, {"guest-rip-32"}},
    {&high, VMCS_GUEST_CS_ACCESS_RIGHTS, 0xc09b, {"guest-rip-32"}},
    {&g64, VMCS_GUEST_RIP, 1ull << 47, {0}},
    {&g64, VMCS_GUEST_RIP, 1ull << 48, {"guest-rip-64"}},
    {&g32, VMCS_GUEST_RFLAGS, 0x400002, {"guest-rflags-reserved"}},
    {&g32, VMCS_GUEST_RFLAGS, 0x8002, {"guest-rflags-reserved"}},
    {&g32, VMCS_GUEST_RFLAGS, 0x22, {"guest-rflags-reserved"}},
    {&g32, VMCS_GUEST_RFLAGS, 0x0a, {"guest-rflags-reserved"}},
    {&g32, VMCS_GUEST_RFLAGS, 0, {"guest-rflags-one"}},
    {&v8086, VMCS_GUEST_CR0, 0x30, {"guest-rflags-vm"}},
    {&interrupt, VMCS_GUEST_RFLAGS, 2, {"guest-rflags-if"}},
    {&loads, VMCS_GUEST_SSP, 1, {"guest-ssp"}},
    {&loads, VMCS_GUEST_SSP, 1ull << 48, {"guest-ssp-width"}},
    {&loads, VMCS_GUEST_SSP, 1ull << 47, {0}},

    {&g32, VMCS_GUEST_ACTIVITY_STATE, 4, {"activity-supported"}},
    {&old, VMCS_GUEST_ACTIVITY_STATE, 2, {"activity-supported"}},
    {&old, VMCS_GUEST_ACTIVITY_STATE, 1, {0}},
    {&user, VMCS_GUEST_ACTIVITY_STATE, 1, {"activity-hlt-cpl"}},
    {&after_sti, VMCS_GUEST_ACTIVITY_STATE, 1, {"activity-blocking"}},
    {&halted, EVENT, 0x80000480, {"activity-event-hlt"}},
    {&halted, EVENT, 0x80000400, {"activity-event-hlt"}},
    {&halted, EVENT, 0x80000301, {0}},
    {&halted, EVENT, 0x80000312, {0}},
    {&halted, EVENT, 0x80000202, {0}},
    {&halted_enabled, EVENT, 0x80000020, {0}},
    {&pending_mtf, VMCS_GUEST_ACTIVITY_STATE, 1, {0}},
    {&pending_mtf, VMCS_VM_ENTRY_INSTRUCTION_LENGTH, 16, {0}},
    {&halted, EVENT, 0x80000306, {"activity-event-hlt"}},
    {&shut_down, EVENT, 0x80000301, {"activity-event-shutdown"}},
    {&shut_down, EVENT, 0x80000312, {0}},
    {&waiting, EVENT, 0x80000202, {"activity-event-sipi"}},
    {&g32, VMCS_GUEST_INTERRUPTIBILITY_STATE, 0x20, {"blocking-reserved"}},
    {&enabled, VMCS_GUEST_INTERRUPTIBILITY_STATE, 3, {"blocking-both"}},
    {&g32, VMCS_GUEST_INTERRUPTIBILITY_STATE, 1, {"blocking-sti"}},
    {&g32, VMCS_GUEST_INTERRUPTIBILITY_STATE, 2, {0}},
    {&interrupt, VMCS_GUEST_INTERRUPTIBILITY_STATE, 1, {"blocking-event"}},
    {&nmi, VMCS_GUEST_INTERRUPTIBILITY_STATE, 2, {"blocking-event"}},
    {&g32, VMCS_GUEST_INTERRUPTIBILITY_STATE, 4, {"blocking-smi"}},
    {&nmi, VMCS_GUEST_INTERRUPTIBILITY_STATE, 8, {"blocking-nmi"}},
    {&g32, VMCS_GUEST_INTERRUPTIBILITY_STATE, 8, {0}},
    {&g32, VMCS_GUEST_INTERRUPTIBILITY_STATE, 0x10, {"blocking-enclave"}},
    {&e32, VMCS_GUEST_INTERRUPTIBILITY_STATE, 0x10, {0}},
    {&e32, VMCS_GUEST_INTERRUPTIBILITY_STATE, 0x12, {"blocking-enclave"}},
    {&g32, VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0x10, {"pending-debug-reserved"}},
    {&g32, VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0x8000, {"pending-debug-reserved"}},
    {&g32, VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0x20000, {"pending-debug-reserved"}},
    {&halted, VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0x4000, {"pending-debug-no-step"}},
    {&g32, VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0x4000, {0}},
    {&stepping, VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0, {"pending-debug-step"}},
    {&stepping, VMCS_GUEST_IA32_DEBUGCTL, 2, {"pending-debug-no-step"}},
    {&after_sti, VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0x4000, {"pending-debug-no-step"}},
    {&transaction, VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0x10000, {"pending-debug-rtm"}},
    {&transaction, VMCS_GUEST_INTERRUPTIBILITY_STATE, 2, {"pending-debug-rtm"}},
    {&g32, VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0x11000, {"pending-debug-rtm"}},
    PAGE_ROWS("link-pointer", &g32, VMCS_LINK_POINTER),
    {&pae, VMCS_GUEST_PDPTE0, 0x5003, {"pdpte0"}},
    {&pae, VMCS_GUEST_PDPTE1, 0x5021, {"pdpte1"}},
    {&pae, VMCS_GUEST_PDPTE1, 0x5041, {"pdpte1"}},
    {&pae, VMCS_GUEST_PDPTE2, 1ull << 40 | 1, {"pdpte2"}},
    {&pae, VMCS_GUEST_PDPTE3, 0x1e7, {"pdpte3"}},
    {&g32, VMCS_GUEST_PDPTE0, 0x5003, {0}},
    {&g64, VMCS_GUEST_PDPTE0, 0x5003, {0}},
    {&unpaged, VMCS_GUEST_CR4, 0x2020, {0}},
    {&unpaged, VMCS_GUEST_CR0, 0x80000031, {0}},
};
/* clang-format on */

/* A variant and perhaps one field more: what the reader's context is. */
struct vmcs {
    const struct variant *variant;
    struct vmcs_value last;
};

static bool find(const struct vmcs_value *values, unsigned n, uint32_t field, uint64_t *value)
{
    for (unsigned i = 0; i < n; i++) {
        if (values[i].field == field) {
            *value = values[i].value;
            return true;
        }
    }
    return false;
}

static uint64_t read_field(void *ctx, uint32_t field)
{
    const struct vmcs *vmcs = ctx;
    const struct variant *v = vmcs->variant;
    uint64_t value = 0;
    if (find(&vmcs->last, 1, field, &value) || find(v->changes, v->count, field, &value))
        return value;
    if (v->long_mode)
        (void)find(vmcs_good_64, ARRAY_SIZE(vmcs_good_64), field, &value);
    else
        (void)find(vmcs_good_32, ARRAY_SIZE(vmcs_good_32), field, &value);
    return value;
}

enum { MAX_BROKEN = 8 };

struct broken {
    const char *names[MAX_BROKEN];
    unsigned count;
};

static void note(void *ctx, const struct vmx_rule *rule)
{
    struct broken *broken = ctx;
    assert_non_null(strchr(rule->text, ' '));
    if (broken->count < MAX_BROKEN)
        broken->names[broken->count] = rule->name;
    broken->count++;
}

static struct broken check(struct vmcs vmcs)
{
    struct broken broken = {.count = 0};
    struct vmcs_reader reader = {read_field, &vmcs};
    unsigned count = vmx_check(&reader, vmcs.variant->msrs, note, &broken);
    assert_int_equal(count, broken.count);
    assert_int_equal(count, vmx_check(&reader, vmcs.variant->msrs, NULL, NULL));
    return broken;
}

static bool breaks(const struct broken *broken, const char *name)
{
    for (unsigned i = 0; i < broken->count && i < MAX_BROKEN; i++) {
        if (strcmp(broken->names[i], name) == 0)
            return true;
    }
    return false;
}

static void expect(size_t index, const struct broken *broken, const char *const *names, unsigned n)
{
    bool good = broken->count == n;
    for (unsigned i = 0; i < n; i++)
        good = good && breaks(broken, names[i]);
    if (good)
        return;
    for (unsigned i = 0; i < broken->count && i < MAX_BROKEN; i++)
        print_error("row %zu breaks %s\n", index, broken->names[i]);
    for (unsigned i = 0; i < n; i++)
        print_error("row %zu is to break %s\n", index, names[i]);
    fail_msg("row %zu: field 0x%x = 0x%llx", index, rows[index].field,
             (unsigned long long)rows[index].value);
}

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct broken broken = check((struct vmcs){rows[i].variant, {UINT32_MAX, 0}});
        expect(i, &broken, NULL, 0);
    }
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        unsigned n = 0;
        while (n < ARRAY_SIZE(rows[i].rules) && rows[i].rules[n])
            n++;
        struct broken broken =
            check((struct vmcs){rows[i].variant, {rows[i].field, rows[i].value}});
        expect(i, &broken, rows[i].rules, n);
    }
}

static void test_every_rule_has_a_row(void **state)
{
    (void)state;
    assert_true(vmx_rule_count >= 90);
    for (unsigned r = 0; r < vmx_rule_count; r++) {
        size_t i = 0;
        while (i < ARRAY_SIZE(rows) &&
               (!rows[i].rules[0] || strcmp(rows[i].rules[0], vmx_rules[r].name) != 0))
            i++;
        if (i == ARRAY_SIZE(rows))
            fail_msg("no row breaks %s", vmx_rules[r].name);
    }
}

static void test_names_are_unique(void **state)
{
    (void)state;
    for (unsigned a = 0; a < vmx_rule_count; a++) {
        assert_non_null(vmx_rule_group_names[vmx_rules[a].group]);
        for (unsigned b = 0; b < a; b++)
            assert_string_not_equal(vmx_rules[a].name, vmx_rules[b].name);
    }
}

static void test_new_cpus_take_any_error_code(void **state)
{
    (void)state;
    static struct vmx_msrs msrs;
    static const struct variant v = {.msrs = &msrs};
    msrs = skylake;
    msrs.basic |= 1ull << 56 | 1ull << 58;
    const uint64_t events[] = {0x8000030d, 0x80000b06, 0x80002306, 0x80002b0d};
    for (size_t i = 0; i < ARRAY_SIZE(events); i++)
        assert_int_equal(check((struct vmcs){&v, {EVENT, events[i]}}).count, 0);
    assert_int_equal(check((struct vmcs){&v, {EVENT, 0x80002202}}).count, 1);
}

static void test_fields(void **state)
{
    (void)state;
    for (size_t i = 1; i < VMCS_FIELD_COUNT; i++)
        assert_true(vmcs_fields[i - 1].encoding < vmcs_fields[i].encoding);
    for (size_t i = 0; i < VMCS_FIELD_COUNT; i++)
        assert_ptr_equal(vmcs_field_find(vmcs_fields[i].encoding), &vmcs_fields[i]);
    assert_string_equal(vmcs_field_find(0x681e)->name, "GUEST_RIP");
    assert_int_equal(vmcs_field_find(0x4402)->group, VMCS_GROUP_INFORMATION);
    assert_int_equal(vmcs_field_find(0x2c00)->width, VMCS_WIDTH_64);
    assert_null(vmcs_field_find(0x2001));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_every_rule_has_a_row),
        cmocka_unit_test(test_names_are_unique),
        cmocka_unit_test(test_new_cpus_take_any_error_code),
        cmocka_unit_test(test_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
