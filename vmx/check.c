/* The rules of VM entry: predicates first, then the table that names them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/check.h"

#include "lib/assert.h"
#include "vmx/controls.h"
#include "vmx/fields.h"

#define CR0_PE         (1ull << 0)
#define CR0_WP         (1ull << 16)
#define CR0_NW         (1ull << 29)
#define CR0_CD         (1ull << 30)
#define CR0_PG         (1ull << 31)
#define CR4_PAE        (1ull << 5)
#define CR4_PCIDE      (1ull << 17)
#define CR4_CET        (1ull << 23)
#define CR4_FRED       (1ull << 32)
#define EFER_LME       (1ull << 8)
#define EFER_LMA       (1ull << 10)
#define RFLAGS_TF      (1ull << 8)
#define RFLAGS_IF      (1ull << 9)
#define RFLAGS_VM      (1ull << 17)
#define DEBUGCTL_BTF   (1ull << 1)
#define S_CET_SUPPRESS (1ull << 10)
#define S_CET_TRACKER  (1ull << 11)

/* Reserved in every CPU. (SDM, "Model-Specific Registers"; "IA-32e Mode" for IA32_EFER) */
#define EFER_RESERVED        (~0xd01ull)
#define DEBUGCTL_RESERVED    (~0xffffull | 0x38ull)
#define PERF_GLOBAL_RESERVED (0xfffeull << 48)
#define S_CET_RESERVED       0x3c0ull
#define BNDCFGS_RESERVED     0xffcull
#define RFLAGS_RESERVED      (~0x3fffffull | 0x8028ull)

#define HIGH_HALF 0xffffffff00000000ull
#define PAGE      4096

/* Segment registers in the order in which their fields are encoded, two apart. */
enum segment { ES, CS, SS, DS, FS, GS, LDTR, TR };

static_assert(VMCS_GUEST_TR_SELECTOR == VMCS_GUEST_ES_SELECTOR + 2 * TR, "selectors");
static_assert(VMCS_GUEST_TR_LIMIT == VMCS_GUEST_ES_LIMIT + 2 * TR, "limits");
static_assert(VMCS_GUEST_TR_ACCESS_RIGHTS == VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * TR, "rights");
static_assert(VMCS_GUEST_TR_BASE == VMCS_GUEST_ES_BASE + 2 * TR, "bases");

/* What many rules ask for, read once. */
struct vmx_state {
    const struct vmcs_reader *reader;
    const struct vmx_msrs *msrs;
    uint64_t control[VMX_WORDS]; /* in effect: 0 where the activating control is 0 */
    uint64_t cr0, cr4, rflags;
    uint64_t event; /* VM-entry interruption information; 0 if not valid */
    uint64_t blocking, activity;
};

static uint64_t get(const struct vmx_state *s, uint32_t field)
{
    return s->reader->read(s->reader->ctx, field);
}

static bool on(const struct vmx_state *s, enum vmx_word word, uint64_t bits)
{
    return (s->control[word] & bits) == bits;
}

static bool unrestricted(const struct vmx_state *s)
{
    return on(s, VMX_PROC2, PROC2_UNRESTRICTED_GUEST);
}

static bool ia32e(const struct vmx_state *s)
{
    return on(s, VMX_ENTRY, ENTRY_CTL_IA32E_MODE_GUEST);
}

static bool v86(const struct vmx_state *s)
{
    return (s->rflags & RFLAGS_VM) != 0;
}

static uint64_t rights(const struct vmx_state *s, uint32_t segment)
{
    return get(s, VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * segment);
}

static uint64_t type(const struct vmx_state *s, uint32_t segment)
{
    return rights(s, segment) & RIGHTS_TYPE;
}

static uint64_t dpl(const struct vmx_state *s, uint32_t segment)
{
    return (rights(s, segment) & RIGHTS_DPL) >> 5;
}

static bool usable(const struct vmx_state *s, uint32_t segment)
{
    return !(rights(s, segment) & RIGHTS_UNUSABLE);
}

static bool is_event(const struct vmx_state *s, uint32_t event_type)
{
    return (s->event & EVENT_VALID) && (s->event & EVENT_TYPE) == event_type;
}

static bool fits(const struct vmx_state *s, uint64_t address)
{
    return s->msrs->physical_bits >= 64 || address >> s->msrs->physical_bits == 0;
}

/* Bits 63 to FROM are all alike. */
static bool sign_extends(uint64_t value, unsigned from)
{
    uint64_t top = from >= 64 ? 0 : value >> from;
    return top == 0 || top == ~0ull >> from;
}

static bool is_canonical(const struct vmx_state *s, uint64_t address)
{
    return sign_extends(address, s->msrs->linear_bits - 1u);
}

static bool is_fixed(uint64_t value, uint64_t fixed0, uint64_t fixed1)
{
    return (value & fixed0) == fixed0 && (value & ~fixed1) == 0;
}

/* --- predicates of one field ---------------------------------------------------------------- */

static bool clear(const struct vmx_state *s, const struct vmx_rule *r)
{
    return (get(s, r->field) & r->arg) == 0;
}

static bool set(const struct vmx_state *s, const struct vmx_rule *r)
{
    return (get(s, r->field) & r->arg) == r->arg;
}

static bool nonzero(const struct vmx_state *s, const struct vmx_rule *r)
{
    return get(s, r->field) != 0;
}

static bool canonical(const struct vmx_state *s, const struct vmx_rule *r)
{
    return is_canonical(s, get(s, r->field));
}

/* A physical address that is a multiple of the argument. */
static bool physical(const struct vmx_state *s, const struct vmx_rule *r)
{
    uint64_t address = get(s, r->field);
    return is_aligned(address, r->arg) && fits(s, address);
}

static bool pat(const struct vmx_state *s, const struct vmx_rule *r)
{
    for (uint64_t rest = get(s, r->field); rest != 0; rest >>= 8) {
        uint64_t entry = rest & 0xff;
        if (entry > MT_UC_MINUS || entry == 2 || entry == 3)
            return false;
    }
    return true;
}

static bool not_suppressed_while_tracking(const struct vmx_state *s, const struct vmx_rule *r)
{
    uint64_t both = S_CET_SUPPRESS | S_CET_TRACKER;
    return (get(s, r->field) & both) != both;
}

/* --- predicates of control words: FIELD is the word, ARG its bits --------------------------- */

static bool supported(const struct vmx_state *s, const struct vmx_rule *r)
{
    enum vmx_word word = (enum vmx_word)r->field;
    return is_fixed(s->control[word], vmx_required1(s->msrs, word), vmx_allowed1(s->msrs, word));
}

static bool with(const struct vmx_state *s, const struct vmx_rule *r)
{
    return on(s, (enum vmx_word)r->field, r->arg);
}

static bool without(const struct vmx_state *s, const struct vmx_rule *r)
{
    return (s->control[r->field] & r->arg) == 0;
}

/* --- execution controls --------------------------------------------------------------------- */

static bool cr3_targets(const struct vmx_state *s, const struct vmx_rule *r)
{
    return get(s, r->field) <= (s->msrs->misc >> 16 & 0x1ff);
}

static bool eptp_list(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !on(s, VMX_VMFUNC, VMFUNC_EPTP_SWITCHING) || physical(s, r);
}

static bool eptp_switching_has_ept(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return !on(s, VMX_VMFUNC, VMFUNC_EPTP_SWITCHING) || on(s, VMX_PROC2, PROC2_ENABLE_EPT);
}

static bool tpr_threshold(const struct vmx_state *s, const struct vmx_rule *r)
{
    return on(s, VMX_PROC2, PROC2_VIRTUAL_INTERRUPT_DELIVERY) || clear(s, r);
}

static bool last_pid_entry(const struct vmx_state *s, const struct vmx_rule *r)
{
    uint64_t table = get(s, VMCS_PID_POINTER_TABLE_ADDRESS);
    return !fits(s, table) || fits(s, table + 8 * get(s, r->field));
}

static bool eptp_type(const struct vmx_state *s, const struct vmx_rule *r)
{
    uint64_t caps = s->msrs->word[VMX_EPT_VPID_CAP];
    uint64_t memtype = get(s, r->field) & 7;
    return (memtype == MT_UC && (caps & EPT_CAP_TYPE_UC)) ||
           (memtype == MT_WB && (caps & EPT_CAP_TYPE_WB));
}

static bool eptp_walk(const struct vmx_state *s, const struct vmx_rule *r)
{
    uint64_t caps = s->msrs->word[VMX_EPT_VPID_CAP];
    uint64_t length = (get(s, r->field) >> 3 & 7) + 1;
    return (length == 4 && (caps & EPT_CAP_WALK_LENGTH_4)) ||
           (length == 5 && (caps & EPT_CAP_WALK_LENGTH_5));
}

static bool eptp_accessed_dirty(const struct vmx_state *s, const struct vmx_rule *r)
{
    return (s->msrs->word[VMX_EPT_VPID_CAP] & EPT_CAP_ACCESSED_DIRTY) ||
           !(get(s, r->field) & EPTP_ACCESSED_DIRTY);
}

static bool eptp_reserved(const struct vmx_state *s, const struct vmx_rule *r)
{
    bool sss = (s->msrs->word[VMX_EPT_VPID_CAP] & EPT_CAP_SUPERVISOR_SHADOW_STACK) != 0;
    return !(get(s, r->field) & (sss ? 0xf00u : 0xf80u));
}

static bool in_width(const struct vmx_state *s, const struct vmx_rule *r)
{
    return fits(s, get(s, r->field));
}

/* --- areas of MSRs: FIELD is the address, ARG the field of the count ------------------------ */

static bool msr_area(const struct vmx_state *s, const struct vmx_rule *r)
{
    uint64_t address = get(s, r->field);
    return get(s, (uint32_t)r->arg) == 0 || (is_aligned(address, 16) && fits(s, address));
}

static bool msr_area_end(const struct vmx_state *s, const struct vmx_rule *r)
{
    uint64_t address = get(s, r->field);
    uint64_t count = (uint32_t)get(s, (uint32_t)r->arg);
    return count == 0 || !fits(s, address) || fits(s, address + count * 16 - 1);
}

/* --- event injection ------------------------------------------------------------------------ */

/* #DF, #TS, #NP, #SS, #GP, #PF, #AC */
#define VECTORS_WITH_ERROR_CODE                                                                    \
    (1ull << 8 | 1ull << 10 | 1ull << 11 | 1ull << 12 | 1ull << 13 | 1ull << 14 | 1ull << 17)

static uint64_t vector(const struct vmx_state *s)
{
    return s->event & EVENT_VECTOR;
}

static bool has_error_code(const struct vmx_state *s)
{
    return vector(s) < 64 && (VECTORS_WITH_ERROR_CODE >> vector(s) & 1);
}

/* An error code can be delivered at all: a hardware exception, and not in real mode. */
static bool may_have_error_code(const struct vmx_state *s)
{
    return is_event(s, EVENT_HARDWARE_EXCEPTION) && (!unrestricted(s) || (s->cr0 & CR0_PE));
}

static bool event_type(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    if (is_event(s, EVENT_OTHER))
        return (vmx_allowed1(s->msrs, VMX_PROC) & PROC_MONITOR_TRAP_FLAG) || (s->cr4 & CR4_FRED);
    return !is_event(s, 1u << 8);
}

static bool event_vector_nmi(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return !is_event(s, EVENT_NMI) || vector(s) == 2;
}

static bool event_vector_exception(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return !is_event(s, EVENT_HARDWARE_EXCEPTION) || vector(s) <= 31;
}

static bool event_vector_other(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return !is_event(s, EVENT_OTHER) || vector(s) <= (s->cr4 & CR4_FRED ? 2 : 0);
}

static bool event_error_code_given(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    bool must =
        may_have_error_code(s) && !(s->msrs->basic & VMX_BASIC_ANY_ERROR_CODE) && has_error_code(s);
    return !must || (s->event & EVENT_DELIVER_ERROR_CODE);
}

static bool event_error_code_not_given(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    bool may = may_have_error_code(s) &&
               ((s->msrs->basic & VMX_BASIC_ANY_ERROR_CODE) || vector(s) > 31 || has_error_code(s));
    return may || !(s->event & EVENT_DELIVER_ERROR_CODE);
}

static bool event_nested(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    bool may =
        is_event(s, EVENT_HARDWARE_EXCEPTION) && (s->msrs->basic & VMX_BASIC_NESTED_EXCEPTION);
    return may || !(s->event & EVENT_NESTED_EXCEPTION);
}

static bool event_reserved(const struct vmx_state *s, const struct vmx_rule *r)
{
    return (s->event & r->arg) == 0;
}

static bool event_error_code_width(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !(s->event & EVENT_DELIVER_ERROR_CODE) || clear(s, r);
}

static bool event_length(const struct vmx_state *s, const struct vmx_rule *r)
{
    bool used = is_event(s, EVENT_SOFTWARE_INTERRUPT) || is_event(s, EVENT_SOFTWARE_EXCEPTION) ||
                is_event(s, EVENT_PRIVILEGED_SOFTWARE_EXCEPTION) ||
                (is_event(s, EVENT_OTHER) && vector(s) != 0);
    uint64_t least = s->msrs->misc & VMX_MISC_ZERO_INSTRUCTION_LENGTH ? 0 : 1;
    uint64_t length = get(s, r->field);
    return !used || (length >= least && length <= 15);
}

/* --- host state ----------------------------------------------------------------------------- */

static bool host_cr0(const struct vmx_state *s, const struct vmx_rule *r)
{
    uint64_t ignored = CR0_NW | CR0_CD;
    return is_fixed(get(s, r->field) & ~ignored, s->msrs->cr0_fixed0 & ~ignored,
                    s->msrs->cr0_fixed1);
}

static bool cr4_fixed(const struct vmx_state *s, const struct vmx_rule *r)
{
    return is_fixed(get(s, r->field), s->msrs->cr4_fixed0, s->msrs->cr4_fixed1);
}

static bool host_cet_has_wp(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !(get(s, r->field) & CR4_CET) || (get(s, VMCS_HOST_CR0) & CR0_WP);
}

/* --- guest control registers and MSRs ------------------------------------------------------- */

static bool guest_cr0(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    uint64_t ignored = CR0_NW | CR0_CD | (unrestricted(s) ? CR0_PE | CR0_PG : 0);
    return is_fixed(s->cr0 & ~ignored, s->msrs->cr0_fixed0 & ~ignored, s->msrs->cr0_fixed1);
}

static bool paging_is_protected(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return !(s->cr0 & CR0_PG) || (s->cr0 & CR0_PE);
}

static bool guest_cet_has_wp(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return !(s->cr4 & CR4_CET) || (s->cr0 & CR0_WP);
}

static bool only_in_ia32e(const struct vmx_state *s, const struct vmx_rule *r)
{
    return ia32e(s) || clear(s, r);
}

static bool guest_lma(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !(get(s, r->field) & EFER_LMA) == !ia32e(s);
}

static bool guest_lme(const struct vmx_state *s, const struct vmx_rule *r)
{
    uint64_t efer = get(s, r->field);
    return !(s->cr0 & CR0_PG) || !(efer & EFER_LME) == !(efer & EFER_LMA);
}

static bool bounds_directory(const struct vmx_state *s, const struct vmx_rule *r)
{
    return is_canonical(s, align_down(get(s, r->field), PAGE));
}

/* --- guest segments: FIELD is the segment register ------------------------------------------ */

/* The access rights of this register count: not as in virtual-8086 mode, and usable where it
 * matters. */
static bool is_checked(const struct vmx_state *s, uint32_t segment)
{
    if (segment == TR)
        return true;
    if (segment == LDTR)
        return usable(s, LDTR);
    return !v86(s) && (segment == CS || usable(s, segment));
}

/* A data segment register whose type matters. */
static bool is_data(const struct vmx_state *s, uint32_t segment)
{
    return !v86(s) && usable(s, segment);
}

static bool selector_ti(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !is_checked(s, r->field) || !(get(s, VMCS_GUEST_ES_SELECTOR + 2 * r->field) & 4);
}

static bool ss_rpl_is_cs_rpl(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return v86(s) || unrestricted(s) ||
           !((get(s, VMCS_GUEST_SS_SELECTOR) ^ get(s, VMCS_GUEST_CS_SELECTOR)) & 3);
}

static bool base_v86(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !v86(s) || get(s, VMCS_GUEST_ES_BASE + 2 * r->field) ==
                          get(s, VMCS_GUEST_ES_SELECTOR + 2 * r->field) << 4;
}

static bool limit_v86(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !v86(s) || get(s, VMCS_GUEST_ES_LIMIT + 2 * r->field) == 0xffff;
}

static bool rights_v86(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !v86(s) || rights(s, r->field) == 0xf3;
}

static bool ldtr_base(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !usable(s, LDTR) || canonical(s, r);
}

static bool base_32(const struct vmx_state *s, const struct vmx_rule *r)
{
    return (r->field != CS && !usable(s, r->field)) ||
           !(get(s, VMCS_GUEST_ES_BASE + 2 * r->field) & HIGH_HALF);
}

static bool cs_type(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return v86(s) || (type(s, CS) & 9) == 9 || (type(s, CS) == 3 && unrestricted(s));
}

static bool ss_type(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return !is_data(s, SS) || type(s, SS) == 3 || type(s, SS) == 7;
}

static bool accessed(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !is_data(s, r->field) || (type(s, r->field) & 1);
}

static bool readable(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !is_data(s, r->field) || !(type(s, r->field) & 8) || (type(s, r->field) & 2);
}

static bool not_system(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !is_checked(s, r->field) || (rights(s, r->field) & RIGHTS_S);
}

static bool is_system(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !is_checked(s, r->field) || !(rights(s, r->field) & RIGHTS_S);
}

static bool cs_dpl_data(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return v86(s) || type(s, CS) != 3 || dpl(s, CS) == 0;
}

static bool cs_dpl_non_conforming(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return v86(s) || (type(s, CS) & 0xd) != 9 || dpl(s, CS) == dpl(s, SS);
}

static bool cs_dpl_conforming(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return v86(s) || (type(s, CS) & 0xd) != 0xd || dpl(s, CS) <= dpl(s, SS);
}

static bool ss_dpl_rpl(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return v86(s) || unrestricted(s) || dpl(s, SS) == (get(s, VMCS_GUEST_SS_SELECTOR) & 3);
}

static bool ss_dpl_zero(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return v86(s) || (type(s, CS) != 3 && (s->cr0 & CR0_PE)) || dpl(s, SS) == 0;
}

static bool data_dpl(const struct vmx_state *s, const struct vmx_rule *r)
{
    uint64_t rpl = get(s, VMCS_GUEST_ES_SELECTOR + 2 * r->field) & 3;
    return unrestricted(s) || !is_data(s, r->field) || type(s, r->field) > 11 ||
           dpl(s, r->field) >= rpl;
}

static bool present(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !is_checked(s, r->field) || (rights(s, r->field) & RIGHTS_P);
}

static bool rights_reserved(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !is_checked(s, r->field) || !(rights(s, r->field) & r->arg);
}

static bool cs_long_is_not_32(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    uint64_t both = RIGHTS_L | RIGHTS_DB;
    return v86(s) || !ia32e(s) || (rights(s, CS) & both) != both;
}

static bool small_limit_in_bytes(const struct vmx_state *s, const struct vmx_rule *r)
{
    uint64_t limit = get(s, VMCS_GUEST_ES_LIMIT + 2 * r->field);
    return !is_checked(s, r->field) || (limit & 0xfff) == 0xfff ||
           !(rights(s, r->field) & RIGHTS_G);
}

static bool large_limit_in_pages(const struct vmx_state *s, const struct vmx_rule *r)
{
    uint64_t limit = get(s, VMCS_GUEST_ES_LIMIT + 2 * r->field);
    return !is_checked(s, r->field) || !(limit & 0xfff00000) || (rights(s, r->field) & RIGHTS_G);
}

static bool tr_type(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return type(s, TR) == 11 || (type(s, TR) == 3 && !ia32e(s));
}

static bool tr_usable(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return usable(s, TR);
}

static bool ldtr_type(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return !usable(s, LDTR) || type(s, LDTR) == 2;
}

/* --- guest RIP, RFLAGS and SSP -------------------------------------------------------------- */

static bool is_64_bit(const struct vmx_state *s)
{
    return ia32e(s) && (rights(s, CS) & RIGHTS_L);
}

static bool rip_32(const struct vmx_state *s, const struct vmx_rule *r)
{
    return is_64_bit(s) || clear(s, r);
}

static bool rip_64(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !is_64_bit(s) || sign_extends(get(s, r->field), s->msrs->linear_bits);
}

static bool ssp_width(const struct vmx_state *s, const struct vmx_rule *r)
{
    return sign_extends(get(s, r->field), s->msrs->linear_bits);
}

static bool v86_is_legal(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return !v86(s) || (!ia32e(s) && (s->cr0 & CR0_PE));
}

static bool injected_interrupt_is_enabled(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return !is_event(s, EVENT_EXTERNAL_INTERRUPT) || (s->rflags & RFLAGS_IF);
}

/* --- guest non-register state --------------------------------------------------------------- */

static bool activity_supported(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return s->activity == ACTIVITY_ACTIVE ||
           (s->activity <= ACTIVITY_WAIT_FOR_SIPI &&
            (s->msrs->misc & VMX_MISC_ACTIVITY_HLT << (s->activity - ACTIVITY_HLT)));
}

static bool hlt_at_cpl_0(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return s->activity != ACTIVITY_HLT || dpl(s, SS) == 0;
}

static bool active_if_blocking(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return s->activity == ACTIVITY_ACTIVE ||
           !(s->blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS));
}

static bool is_exception(const struct vmx_state *s, unsigned number)
{
    return is_event(s, EVENT_HARDWARE_EXCEPTION) && vector(s) == number;
}

static bool event_while_hlt(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return s->activity != ACTIVITY_HLT || !s->event || is_event(s, EVENT_EXTERNAL_INTERRUPT) ||
           is_event(s, EVENT_NMI) || is_exception(s, 1) || is_exception(s, 18) ||
           (is_event(s, EVENT_OTHER) && vector(s) == 0);
}

static bool event_while_shutdown(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return s->activity != ACTIVITY_SHUTDOWN || !s->event || is_event(s, EVENT_NMI) ||
           is_exception(s, 18);
}

static bool event_while_waiting(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return s->activity != ACTIVITY_WAIT_FOR_SIPI || !s->event;
}

static bool blocking_by_one(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    uint64_t both = BLOCKING_BY_STI | BLOCKING_BY_MOV_SS;
    return (s->blocking & both) != both;
}

static bool sti_with_if(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return !(s->blocking & BLOCKING_BY_STI) || (s->rflags & RFLAGS_IF);
}

static bool injection_not_blocked(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return !(is_event(s, EVENT_EXTERNAL_INTERRUPT) || is_event(s, EVENT_NMI)) ||
           !(s->blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS));
}

static bool nmi_not_blocked(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return !is_event(s, EVENT_NMI) || !(s->blocking & BLOCKING_BY_NMI);
}

static bool enclave_interruption(const struct vmx_state *s, const struct vmx_rule *r)
{
    (void)r;
    return !(s->blocking & ENCLAVE_INTERRUPTION) ||
           (!(s->blocking & BLOCKING_BY_MOV_SS) && (s->msrs->features & CPUID_7_EBX_SGX));
}

/* A single step would be pending when execution starts, if one is on. */
static bool step_is_held(const struct vmx_state *s)
{
    return (s->blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS)) || s->activity == ACTIVITY_HLT;
}

static bool is_stepping(const struct vmx_state *s)
{
    return (s->rflags & RFLAGS_TF) && !(get(s, VMCS_GUEST_IA32_DEBUGCTL) & DEBUGCTL_BTF);
}

static bool step_is_pending(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !step_is_held(s) || !is_stepping(s) || (get(s, r->field) & PENDING_DEBUG_BS);
}

static bool no_step_is_pending(const struct vmx_state *s, const struct vmx_rule *r)
{
    return !step_is_held(s) || is_stepping(s) || !(get(s, r->field) & PENDING_DEBUG_BS);
}

static bool pending_in_transaction(const struct vmx_state *s, const struct vmx_rule *r)
{
    uint64_t pending = get(s, r->field);
    return !(pending & PENDING_DEBUG_RTM) ||
           (pending == (PENDING_DEBUG_RTM | PENDING_DEBUG_ENABLED_BREAKPOINT) &&
            (s->msrs->features & CPUID_7_EBX_RTM) && !(s->blocking & BLOCKING_BY_MOV_SS));
}

static bool link_pointer(const struct vmx_state *s, const struct vmx_rule *r)
{
    return get(s, r->field) == ~0ull || physical(s, r);
}

static bool pdpte(const struct vmx_state *s, const struct vmx_rule *r)
{
    uint64_t entry = get(s, r->field);
    bool pae = (s->cr0 & CR0_PG) && (s->cr4 & CR4_PAE) && !ia32e(s);
    return !pae || !(entry & 1) || (!(entry & 0x1e6) && fits(s, entry));
}

/* --- the table ------------------------------------------------------------------------------ */

const char *const vmx_rule_group_names[VMX_RULE_GROUPS] = {
    [VMX_RULES_EXECUTION_CONTROLS] = "VM-execution controls",
    [VMX_RULES_EXIT_CONTROLS] = "VM-exit controls",
    [VMX_RULES_ENTRY_CONTROLS] = "VM-entry controls",
    [VMX_RULES_HOST_REGISTERS] = "host registers",
    [VMX_RULES_HOST_SEGMENTS] = "host segments",
    [VMX_RULES_ADDRESS_SPACE] = "address-space size",
    [VMX_RULES_GUEST_REGISTERS] = "guest registers",
    [VMX_RULES_GUEST_SEGMENTS] = "guest segments",
    [VMX_RULES_GUEST_TABLES] = "guest descriptor tables",
    [VMX_RULES_GUEST_RIP] = "guest RIP, RFLAGS and SSP",
    [VMX_RULES_GUEST_NON_REGISTER] = "guest non-register state",
    [VMX_RULES_GUEST_PDPTES] = "guest PDPTEs",
};

/* clang-format off */
#define ALWAYS        VMX_PIN, 0
#define PIN(bit)      VMX_PIN, PIN_##bit
#define PROC(bit)     VMX_PROC, PROC_##bit
#define PROC2(bit)    VMX_PROC2, PROC2_##bit
#define PROC3(bit)    VMX_PROC3, PROC3_##bit
#define EXIT_CTL(bit) VMX_EXIT, EXIT_CTL_##bit
#define ENTRY(bit)    VMX_ENTRY, ENTRY_CTL_##bit

/* All eight registers. */
#define SEGMENT_RULES(name, register)                                                              \
    {"guest-" name "-present", VMX_RULES_GUEST_SEGMENTS, ALWAYS, present, register, 0,             \
     "P (bit 7 of the access rights) is 1"},                                                       \
    {"guest-" name "-reserved-low", VMX_RULES_GUEST_SEGMENTS, ALWAYS, rights_reserved, register,   \
     0xf00, "bits 11:8 of the access rights are 0"},                                               \
    {"guest-" name "-reserved-high", VMX_RULES_GUEST_SEGMENTS, ALWAYS, rights_reserved, register,  \
     0xfffe0000, "bits 31:17 of the access rights are 0"},                                         \
    {"guest-" name "-small-limit", VMX_RULES_GUEST_SEGMENTS, ALWAYS, small_limit_in_bytes,         \
     register, 0, "G is 0 if bits 11:0 of the limit are not all 1"},                               \
    {"guest-" name "-large-limit", VMX_RULES_GUEST_SEGMENTS, ALWAYS, large_limit_in_pages,         \
     register, 0, "G is 1 if one of bits 31:20 of the limit is 1"}

/* The six that virtual-8086 mode uses. */
#define CODE_OR_DATA_RULES(name, register)                                                         \
    SEGMENT_RULES(name, register),                                                                 \
    {"guest-" name "-not-system", VMX_RULES_GUEST_SEGMENTS, ALWAYS, not_system, register, 0,       \
     "S (bit 4 of the access rights) is 1"},                                                       \
    {"guest-" name "-base-v86", VMX_RULES_GUEST_SEGMENTS, ALWAYS, base_v86, register, 0,           \
     "in virtual-8086 mode the base is the selector times 16"},                                    \
    {"guest-" name "-limit-v86", VMX_RULES_GUEST_SEGMENTS, ALWAYS, limit_v86, register, 0,         \
     "in virtual-8086 mode the limit is FFFFH"},                                                   \
    {"guest-" name "-rights-v86", VMX_RULES_GUEST_SEGMENTS, ALWAYS, rights_v86, register, 0,       \
     "in virtual-8086 mode the access rights are F3H"}

#define DATA_RULES(name, register)                                                                 \
    CODE_OR_DATA_RULES(name, register),                                                            \
    {"guest-" name "-accessed", VMX_RULES_GUEST_SEGMENTS, ALWAYS, accessed, register, 0,           \
     "the type says accessed"},                                                                    \
    {"guest-" name "-readable", VMX_RULES_GUEST_SEGMENTS, ALWAYS, readable, register, 0,           \
     "a code segment is readable"},                                                                \
    {"guest-" name "-dpl", VMX_RULES_GUEST_SEGMENTS, ALWAYS, data_dpl, register, 0,                \
     "without unrestricted guest, DPL is not below RPL, conforming code aside"}

#define MSR_AREA_RULES(name, group, which)                                                         \
    {name "-area", group, ALWAYS, msr_area, VMCS_##which##_ADDRESS, VMCS_##which##_COUNT,          \
     "the area is a multiple of 16, within the physical-address width"},                           \
    {name "-area-end", group, ALWAYS, msr_area_end, VMCS_##which##_ADDRESS,                        \
     VMCS_##which##_COUNT, "the area's last byte is within the physical-address width"}

const struct vmx_rule vmx_rules[] = {
    {"pin-reserved", VMX_RULES_EXECUTION_CONTROLS, ALWAYS, supported, VMX_PIN, 0,
     "the pin-based controls are as IA32_VMX_(TRUE_)PINBASED_CTLS allows"},
    {"proc-reserved", VMX_RULES_EXECUTION_CONTROLS, ALWAYS, supported, VMX_PROC, 0,
     "the primary controls are as IA32_VMX_(TRUE_)PROCBASED_CTLS allows"},
    {"proc2-reserved", VMX_RULES_EXECUTION_CONTROLS, PROC(ACTIVATE_SECONDARY_CONTROLS),
     supported, VMX_PROC2, 0, "the secondary controls are as IA32_VMX_PROCBASED_CTLS2 allows"},
    {"proc3-reserved", VMX_RULES_EXECUTION_CONTROLS, PROC(ACTIVATE_TERTIARY_CONTROLS),
     supported, VMX_PROC3, 0, "the tertiary controls are as IA32_VMX_PROCBASED_CTLS3 allows"},
    {"cr3-target-count", VMX_RULES_EXECUTION_CONTROLS, ALWAYS, cr3_targets,
     VMCS_CR3_TARGET_COUNT, 0, "there are no more CR3 targets than IA32_VMX_MISC says"},
    {"io-bitmap-a", VMX_RULES_EXECUTION_CONTROLS, PROC(USE_IO_BITMAPS), physical,
     VMCS_ADDRESS_OF_IO_BITMAP_A, PAGE, "I/O bitmap A is a page within the physical width"},
    {"io-bitmap-b", VMX_RULES_EXECUTION_CONTROLS, PROC(USE_IO_BITMAPS), physical,
     VMCS_ADDRESS_OF_IO_BITMAP_B, PAGE, "I/O bitmap B is a page within the physical width"},
    {"msr-bitmap", VMX_RULES_EXECUTION_CONTROLS, PROC(USE_MSR_BITMAPS), physical,
     VMCS_ADDRESS_OF_MSR_BITMAPS, PAGE, "the MSR bitmap is a page within the physical width"},
    {"virtual-apic", VMX_RULES_EXECUTION_CONTROLS, PROC(USE_TPR_SHADOW), physical,
     VMCS_VIRTUAL_APIC_ADDRESS, PAGE, "the virtual APIC is a page within the physical width"},
    {"apic-access", VMX_RULES_EXECUTION_CONTROLS, PROC2(VIRTUALIZE_APIC_ACCESSES), physical,
     VMCS_APIC_ACCESS_ADDRESS, PAGE, "the APIC-access page is a page within the physical width"},
    {"pml", VMX_RULES_EXECUTION_CONTROLS, PROC2(ENABLE_PML), physical,
     VMCS_PML_ADDRESS, PAGE, "the page-modification log is a page within the physical width"},
    {"spp-table", VMX_RULES_EXECUTION_CONTROLS, PROC2(SUB_PAGE_WRITE_PERMISSIONS), physical,
     VMCS_SUB_PAGE_PERMISSION_TABLE_POINTER, PAGE,
     "the sub-page-permission table is a page within the physical width"},
    {"eptp-list", VMX_RULES_EXECUTION_CONTROLS, PROC2(ENABLE_VM_FUNCTIONS), eptp_list,
     VMCS_EPTP_LIST_ADDRESS, PAGE, "the EPTP list is a page within the physical width"},
    {"vmread-bitmap", VMX_RULES_EXECUTION_CONTROLS, PROC2(VMCS_SHADOWING), physical,
     VMCS_VMREAD_BITMAP_ADDRESS, PAGE, "the VMREAD bitmap is a page within the physical width"},
    {"vmwrite-bitmap", VMX_RULES_EXECUTION_CONTROLS, PROC2(VMCS_SHADOWING), physical,
     VMCS_VMWRITE_BITMAP_ADDRESS, PAGE, "the VMWRITE bitmap is a page within the physical width"},
    {"ve-information", VMX_RULES_EXECUTION_CONTROLS, PROC2(EPT_VIOLATION_VE), physical,
     VMCS_VIRTUALIZATION_EXCEPTION_INFORMATION_ADDRESS, PAGE,
     "the virtualization-exception information is a page within the physical width"},
    {"pasid-low", VMX_RULES_EXECUTION_CONTROLS, PROC2(PASID_TRANSLATION), physical,
     VMCS_LOW_PASID_DIRECTORY_ADDRESS, PAGE,
     "the low PASID directory is a page within the physical width"},
    {"pasid-high", VMX_RULES_EXECUTION_CONTROLS, PROC2(PASID_TRANSLATION), physical,
     VMCS_HIGH_PASID_DIRECTORY_ADDRESS, PAGE,
     "the high PASID directory is a page within the physical width"},
    {"tpr-threshold", VMX_RULES_EXECUTION_CONTROLS, PROC(USE_TPR_SHADOW), tpr_threshold,
     VMCS_TPR_THRESHOLD, 0xfffffff0,
     "bits 31:4 of the TPR threshold are 0, unless virtual interrupts are delivered"},
    {"virtual-nmis", VMX_RULES_EXECUTION_CONTROLS, PIN(VIRTUAL_NMIS), with,
     PIN(NMI_EXITING), "virtual NMIs need NMI exiting"},
    {"nmi-window", VMX_RULES_EXECUTION_CONTROLS, PROC(NMI_WINDOW_EXITING), with,
     PIN(VIRTUAL_NMIS), "NMI-window exiting needs virtual NMIs"},
    {"x2apic-without-shadow", VMX_RULES_EXECUTION_CONTROLS, PROC2(VIRTUALIZE_X2APIC_MODE), with,
     PROC(USE_TPR_SHADOW), "virtualizing the x2APIC needs the TPR shadow"},
    {"apic-registers-without-shadow", VMX_RULES_EXECUTION_CONTROLS,
     PROC2(APIC_REGISTER_VIRTUALIZATION), with, PROC(USE_TPR_SHADOW),
     "virtualizing APIC registers needs the TPR shadow"},
    {"delivery-without-shadow", VMX_RULES_EXECUTION_CONTROLS,
     PROC2(VIRTUAL_INTERRUPT_DELIVERY), with, PROC(USE_TPR_SHADOW),
     "virtual-interrupt delivery needs the TPR shadow"},
    {"ipi-without-shadow", VMX_RULES_EXECUTION_CONTROLS, PROC3(IPI_VIRTUALIZATION), with,
     PROC(USE_TPR_SHADOW), "IPI virtualization needs the TPR shadow"},
    {"x2apic-or-apic-accesses", VMX_RULES_EXECUTION_CONTROLS, PROC2(VIRTUALIZE_X2APIC_MODE),
     without, PROC2(VIRTUALIZE_APIC_ACCESSES),
     "x2APIC mode and APIC accesses are not virtualized together"},
    {"delivery-without-exiting", VMX_RULES_EXECUTION_CONTROLS,
     PROC2(VIRTUAL_INTERRUPT_DELIVERY), with, PIN(EXTERNAL_INTERRUPT_EXITING),
     "virtual-interrupt delivery needs external-interrupt exiting"},
    {"posted-without-delivery", VMX_RULES_EXECUTION_CONTROLS, PIN(PROCESS_POSTED_INTERRUPTS),
     with, PROC2(VIRTUAL_INTERRUPT_DELIVERY),
     "posted interrupts need virtual-interrupt delivery"},
    {"posted-without-acknowledge", VMX_RULES_EXECUTION_CONTROLS,
     PIN(PROCESS_POSTED_INTERRUPTS), with, EXIT_CTL(ACKNOWLEDGE_INTERRUPT),
     "posted interrupts need acknowledging interrupts on exit"},
    {"posted-vector", VMX_RULES_EXECUTION_CONTROLS, PIN(PROCESS_POSTED_INTERRUPTS), clear,
     VMCS_POSTED_INTERRUPT_NOTIFICATION_VECTOR, 0xff00, "the notification vector is below 256"},
    {"posted-descriptor", VMX_RULES_EXECUTION_CONTROLS, PIN(PROCESS_POSTED_INTERRUPTS), physical,
     VMCS_POSTED_INTERRUPT_DESCRIPTOR_ADDRESS, 64,
     "the posted-interrupt descriptor is a multiple of 64 within the physical width"},
    {"pid-table", VMX_RULES_EXECUTION_CONTROLS, PROC3(IPI_VIRTUALIZATION), physical,
     VMCS_PID_POINTER_TABLE_ADDRESS, 8,
     "the PID-pointer table is a multiple of 8 within the physical width"},
    {"pid-table-end", VMX_RULES_EXECUTION_CONTROLS, PROC3(IPI_VIRTUALIZATION), last_pid_entry,
     VMCS_LAST_PID_POINTER_INDEX, 0, "the table's last entry is within the physical width"},
    {"vpid", VMX_RULES_EXECUTION_CONTROLS, PROC2(ENABLE_VPID), nonzero,
     VMCS_VIRTUAL_PROCESSOR_IDENTIFIER, 0, "the VPID is not 0"},
    {"eptp-type", VMX_RULES_EXECUTION_CONTROLS, PROC2(ENABLE_EPT), eptp_type, VMCS_EPT_POINTER, 0,
     "the EPTP's memory type is UC or WB, and one that the CPU has"},
    {"eptp-walk", VMX_RULES_EXECUTION_CONTROLS, PROC2(ENABLE_EPT), eptp_walk, VMCS_EPT_POINTER, 0,
     "the EPTP's walk length is one that the CPU has"},
    {"eptp-accessed-dirty", VMX_RULES_EXECUTION_CONTROLS, PROC2(ENABLE_EPT), eptp_accessed_dirty,
     VMCS_EPT_POINTER, 0, "the EPTP turns on accessed and dirty flags only if the CPU has them"},
    {"eptp-reserved", VMX_RULES_EXECUTION_CONTROLS, PROC2(ENABLE_EPT), eptp_reserved,
     VMCS_EPT_POINTER, 0, "bits 11:7 of the EPTP are 0 (bit 7 may be 1 if the CPU knows it)"},
    {"eptp-width", VMX_RULES_EXECUTION_CONTROLS, PROC2(ENABLE_EPT), in_width, VMCS_EPT_POINTER, 0,
     "the EPTP is within the physical width"},
    {"pml-without-ept", VMX_RULES_EXECUTION_CONTROLS, PROC2(ENABLE_PML), with,
     PROC2(ENABLE_EPT), "page-modification logging needs EPT"},
    {"unrestricted-without-ept", VMX_RULES_EXECUTION_CONTROLS, PROC2(UNRESTRICTED_GUEST), with,
     PROC2(ENABLE_EPT), "unrestricted guest needs EPT"},
    {"mode-based-without-ept", VMX_RULES_EXECUTION_CONTROLS, PROC2(MODE_BASED_EXECUTE_CONTROL),
     with, PROC2(ENABLE_EPT), "mode-based execute control needs EPT"},
    {"spp-without-ept", VMX_RULES_EXECUTION_CONTROLS, PROC2(SUB_PAGE_WRITE_PERMISSIONS), with,
     PROC2(ENABLE_EPT), "sub-page write permissions need EPT"},
    {"pt-without-ept", VMX_RULES_EXECUTION_CONTROLS, PROC2(PT_USES_GUEST_PHYSICAL), with,
     PROC2(ENABLE_EPT), "Intel PT with guest-physical addresses needs EPT"},
    {"hlat-without-ept", VMX_RULES_EXECUTION_CONTROLS, PROC3(ENABLE_HLAT), with,
     PROC2(ENABLE_EPT), "HLAT needs EPT"},
    {"paging-write-without-ept", VMX_RULES_EXECUTION_CONTROLS, PROC3(EPT_PAGING_WRITE_CONTROL),
     with, PROC2(ENABLE_EPT), "EPT paging-write control needs EPT"},
    {"paging-verification-without-ept", VMX_RULES_EXECUTION_CONTROLS,
     PROC3(GUEST_PAGING_VERIFICATION), with, PROC2(ENABLE_EPT),
     "guest-paging verification needs EPT"},
    {"vm-functions", VMX_RULES_EXECUTION_CONTROLS, PROC2(ENABLE_VM_FUNCTIONS), supported,
     VMX_VMFUNC, 0, "the VM-function controls are as IA32_VMX_VMFUNC allows"},
    {"eptp-switching-without-ept", VMX_RULES_EXECUTION_CONTROLS, PROC2(ENABLE_VM_FUNCTIONS),
     eptp_switching_has_ept, 0, 0, "EPTP switching needs EPT"},
    {"pt-without-load", VMX_RULES_EXECUTION_CONTROLS, PROC2(PT_USES_GUEST_PHYSICAL), with,
     ENTRY(LOAD_IA32_RTIT_CTL),
     "Intel PT with guest-physical addresses needs loading IA32_RTIT_CTL"},
    {"pt-without-clear", VMX_RULES_EXECUTION_CONTROLS, PROC2(PT_USES_GUEST_PHYSICAL), with,
     EXIT_CTL(CLEAR_IA32_RTIT_CTL),
     "Intel PT with guest-physical addresses needs clearing IA32_RTIT_CTL"},
    {"tsc-multiplier", VMX_RULES_EXECUTION_CONTROLS, PROC2(USE_TSC_SCALING), nonzero,
     VMCS_TSC_MULTIPLIER, 0, "the TSC multiplier is not 0"},
    {"hlatp-reserved", VMX_RULES_EXECUTION_CONTROLS, PROC3(ENABLE_HLAT), clear,
     VMCS_HLAT_POINTER, 0xfe7, "bits 2:0 and 11:5 of the HLATP are 0"},
    {"hlatp-width", VMX_RULES_EXECUTION_CONTROLS, PROC3(ENABLE_HLAT), in_width,
     VMCS_HLAT_POINTER, 0, "the HLATP is within the physical width"},

    {"exit-reserved", VMX_RULES_EXIT_CONTROLS, ALWAYS, supported, VMX_EXIT, 0,
     "the VM-exit controls are as IA32_VMX_(TRUE_)EXIT_CTLS allows"},
    {"exit2-reserved", VMX_RULES_EXIT_CONTROLS, EXIT_CTL(ACTIVATE_SECONDARY_CONTROLS), supported,
     VMX_EXIT2, 0, "the secondary VM-exit controls are as IA32_VMX_EXIT_CTLS2 allows"},
    {"save-timer", VMX_RULES_EXIT_CONTROLS, EXIT_CTL(SAVE_VMX_PREEMPTION_TIMER), with,
     PIN(ACTIVATE_VMX_PREEMPTION_TIMER), "the VMX-preemption timer is saved only if it runs"},
    MSR_AREA_RULES("exit-msr-store", VMX_RULES_EXIT_CONTROLS, VM_EXIT_MSR_STORE),
    MSR_AREA_RULES("exit-msr-load", VMX_RULES_EXIT_CONTROLS, VM_EXIT_MSR_LOAD),

    {"entry-reserved", VMX_RULES_ENTRY_CONTROLS, ALWAYS, supported, VMX_ENTRY, 0,
     "the VM-entry controls are as IA32_VMX_(TRUE_)ENTRY_CTLS allows"},
    {"event-type", VMX_RULES_ENTRY_CONTROLS, ALWAYS, event_type, 0, 0,
     "the event's type is not 1, and 7 only if the CPU has the monitor trap flag or FRED"},
    {"event-vector-nmi", VMX_RULES_ENTRY_CONTROLS, ALWAYS, event_vector_nmi, 0, 0,
     "an NMI has vector 2"},
    {"event-vector-exception", VMX_RULES_ENTRY_CONTROLS, ALWAYS, event_vector_exception, 0, 0,
     "a hardware exception has a vector below 32"},
    {"event-vector-other", VMX_RULES_ENTRY_CONTROLS, ALWAYS, event_vector_other, 0, 0,
     "another event has vector 0 (1 and 2 too with FRED)"},
    {"event-error-code-given", VMX_RULES_ENTRY_CONTROLS, ALWAYS, event_error_code_given, 0, 0,
     "an exception that has an error code delivers one, but in real mode"},
    {"event-error-code-not-given", VMX_RULES_ENTRY_CONTROLS, ALWAYS, event_error_code_not_given,
     0, 0, "an event that has no error code delivers none, nor any event in real mode"},
    {"event-nested", VMX_RULES_ENTRY_CONTROLS, ALWAYS, event_nested, 0, 0,
     "only a hardware exception is nested, and only if IA32_VMX_BASIC[58] says so"},
    {"event-reserved", VMX_RULES_ENTRY_CONTROLS, ALWAYS, event_reserved, 0, 0x7fffd000,
     "bits 30:14 and 12 of the event are 0"},
    {"event-error-code-width", VMX_RULES_ENTRY_CONTROLS, ALWAYS, event_error_code_width,
     VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE, 0xffff0000, "an error code has 16 bits"},
    {"event-length", VMX_RULES_ENTRY_CONTROLS, ALWAYS, event_length,
     VMCS_VM_ENTRY_INSTRUCTION_LENGTH, 0,
     "a software event's instruction length is 1 to 15 (0 too if IA32_VMX_MISC[30] says so)"},
    MSR_AREA_RULES("entry-msr-load", VMX_RULES_ENTRY_CONTROLS, VM_ENTRY_MSR_LOAD),
    {"entry-to-smm", VMX_RULES_ENTRY_CONTROLS, ALWAYS, without, ENTRY(ENTRY_TO_SMM),
     "outside SMM there is no entry to SMM"},
    {"deactivate-dual-monitor", VMX_RULES_ENTRY_CONTROLS, ALWAYS, without,
     ENTRY(DEACTIVATE_DUAL_MONITOR), "outside SMM the dual-monitor treatment is not deactivated"},

    {"host-cr0", VMX_RULES_HOST_REGISTERS, ALWAYS, host_cr0, VMCS_HOST_CR0, 0,
     "host CR0 is as IA32_VMX_CR0_FIXED0 and 1 allow"},
    {"host-cr4", VMX_RULES_HOST_REGISTERS, ALWAYS, cr4_fixed, VMCS_HOST_CR4, 0,
     "host CR4 is as IA32_VMX_CR4_FIXED0 and 1 allow"},
    {"host-cet-without-wp", VMX_RULES_HOST_REGISTERS, ALWAYS, host_cet_has_wp, VMCS_HOST_CR4, 0,
     "host CR4.CET needs CR0.WP"},
    {"host-cr3", VMX_RULES_HOST_REGISTERS, ALWAYS, in_width, VMCS_HOST_CR3, 0,
     "host CR3 is within the physical width"},
    {"host-sysenter-esp", VMX_RULES_HOST_REGISTERS, ALWAYS, canonical, VMCS_HOST_IA32_SYSENTER_ESP,
     0, "host IA32_SYSENTER_ESP is canonical"},
    {"host-sysenter-eip", VMX_RULES_HOST_REGISTERS, ALWAYS, canonical, VMCS_HOST_IA32_SYSENTER_EIP,
     0, "host IA32_SYSENTER_EIP is canonical"},
    {"host-perf-global-ctrl", VMX_RULES_HOST_REGISTERS, EXIT_CTL(LOAD_IA32_PERF_GLOBAL_CTRL),
     clear, VMCS_HOST_IA32_PERF_GLOBAL_CTRL, PERF_GLOBAL_RESERVED,
     "reserved bits of host IA32_PERF_GLOBAL_CTRL are 0"},
    {"host-pat", VMX_RULES_HOST_REGISTERS, EXIT_CTL(LOAD_IA32_PAT), pat, VMCS_HOST_IA32_PAT, 0,
     "each byte of host IA32_PAT is 0, 1, 4, 5, 6 or 7"},
    {"host-efer-reserved", VMX_RULES_HOST_REGISTERS, EXIT_CTL(LOAD_IA32_EFER), clear,
     VMCS_HOST_IA32_EFER, EFER_RESERVED, "reserved bits of host IA32_EFER are 0"},
    {"host-efer-long", VMX_RULES_HOST_REGISTERS, EXIT_CTL(LOAD_IA32_EFER), set,
     VMCS_HOST_IA32_EFER, EFER_LME | EFER_LMA, "LME and LMA of the 64-bit host are 1"},
    {"host-s-cet-reserved", VMX_RULES_HOST_REGISTERS, EXIT_CTL(LOAD_CET_STATE), clear,
     VMCS_HOST_IA32_S_CET, S_CET_RESERVED, "reserved bits of host IA32_S_CET are 0"},
    {"host-s-cet-tracker", VMX_RULES_HOST_REGISTERS, EXIT_CTL(LOAD_CET_STATE),
     not_suppressed_while_tracking, VMCS_HOST_IA32_S_CET, 0,
     "SUPPRESS and TRACKER of host IA32_S_CET are not both 1"},
    {"host-ssp", VMX_RULES_HOST_REGISTERS, EXIT_CTL(LOAD_CET_STATE), clear, VMCS_HOST_SSP, 3,
     "host SSP is a multiple of 4"},
    {"host-pkrs", VMX_RULES_HOST_REGISTERS, EXIT_CTL(LOAD_PKRS), clear, VMCS_HOST_IA32_PKRS,
     HIGH_HALF, "bits 63:32 of host IA32_PKRS are 0"},

    {"host-es", VMX_RULES_HOST_SEGMENTS, ALWAYS, clear, VMCS_HOST_ES_SELECTOR, 7,
     "RPL and TI of host ES are 0"},
    {"host-cs", VMX_RULES_HOST_SEGMENTS, ALWAYS, clear, VMCS_HOST_CS_SELECTOR, 7,
     "RPL and TI of host CS are 0"},
    {"host-ss", VMX_RULES_HOST_SEGMENTS, ALWAYS, clear, VMCS_HOST_SS_SELECTOR, 7,
     "RPL and TI of host SS are 0"},
    {"host-ds", VMX_RULES_HOST_SEGMENTS, ALWAYS, clear, VMCS_HOST_DS_SELECTOR, 7,
     "RPL and TI of host DS are 0"},
    {"host-fs", VMX_RULES_HOST_SEGMENTS, ALWAYS, clear, VMCS_HOST_FS_SELECTOR, 7,
     "RPL and TI of host FS are 0"},
    {"host-gs", VMX_RULES_HOST_SEGMENTS, ALWAYS, clear, VMCS_HOST_GS_SELECTOR, 7,
     "RPL and TI of host GS are 0"},
    {"host-tr", VMX_RULES_HOST_SEGMENTS, ALWAYS, clear, VMCS_HOST_TR_SELECTOR, 7,
     "RPL and TI of host TR are 0"},
    {"host-cs-null", VMX_RULES_HOST_SEGMENTS, ALWAYS, nonzero, VMCS_HOST_CS_SELECTOR, 0,
     "host CS is not null"},
    {"host-tr-null", VMX_RULES_HOST_SEGMENTS, ALWAYS, nonzero, VMCS_HOST_TR_SELECTOR, 0,
     "host TR is not null"},
    {"host-fs-base", VMX_RULES_HOST_SEGMENTS, ALWAYS, canonical, VMCS_HOST_FS_BASE, 0,
     "the base of host FS is canonical"},
    {"host-gs-base", VMX_RULES_HOST_SEGMENTS, ALWAYS, canonical, VMCS_HOST_GS_BASE, 0,
     "the base of host GS is canonical"},
    {"host-tr-base", VMX_RULES_HOST_SEGMENTS, ALWAYS, canonical, VMCS_HOST_TR_BASE, 0,
     "the base of host TR is canonical"},
    {"host-gdtr-base", VMX_RULES_HOST_SEGMENTS, ALWAYS, canonical, VMCS_HOST_GDTR_BASE, 0,
     "the base of the host's GDT is canonical"},
    {"host-idtr-base", VMX_RULES_HOST_SEGMENTS, ALWAYS, canonical, VMCS_HOST_IDTR_BASE, 0,
     "the base of the host's IDT is canonical"},

    {"host-64-bit", VMX_RULES_ADDRESS_SPACE, ALWAYS, with, EXIT_CTL(HOST_ADDRESS_SPACE_SIZE),
     "a CPU in IA-32e mode exits to a 64-bit host"},
    {"host-pae", VMX_RULES_ADDRESS_SPACE, ALWAYS, set, VMCS_HOST_CR4, CR4_PAE,
     "a 64-bit host has CR4.PAE"},
    {"host-rip", VMX_RULES_ADDRESS_SPACE, ALWAYS, canonical, VMCS_HOST_RIP, 0,
     "host RIP is canonical"},
    {"host-s-cet-canonical", VMX_RULES_ADDRESS_SPACE, EXIT_CTL(LOAD_CET_STATE), canonical,
     VMCS_HOST_IA32_S_CET, 0, "host IA32_S_CET is canonical"},
    {"host-ssp-canonical", VMX_RULES_ADDRESS_SPACE, EXIT_CTL(LOAD_CET_STATE), canonical,
     VMCS_HOST_SSP, 0, "host SSP is canonical"},
    {"host-ssp-table", VMX_RULES_ADDRESS_SPACE, EXIT_CTL(LOAD_CET_STATE), canonical,
     VMCS_HOST_IA32_INTERRUPT_SSP_TABLE_ADDR, 0, "host IA32_INTERRUPT_SSP_TABLE_ADDR is canonical"},

    {"guest-cr0", VMX_RULES_GUEST_REGISTERS, ALWAYS, guest_cr0, VMCS_GUEST_CR0, 0,
     "guest CR0 is as IA32_VMX_CR0_FIXED0 and 1 allow (PE and PG are free if unrestricted)"},
    {"guest-pg-without-pe", VMX_RULES_GUEST_REGISTERS, ALWAYS, paging_is_protected,
     VMCS_GUEST_CR0, 0, "guest CR0.PG needs CR0.PE"},
    {"guest-cr4", VMX_RULES_GUEST_REGISTERS, ALWAYS, cr4_fixed, VMCS_GUEST_CR4, 0,
     "guest CR4 is as IA32_VMX_CR4_FIXED0 and 1 allow"},
    {"guest-cet-without-wp", VMX_RULES_GUEST_REGISTERS, ALWAYS, guest_cet_has_wp,
     VMCS_GUEST_CR4, 0, "guest CR4.CET needs CR0.WP"},
    {"guest-debugctl", VMX_RULES_GUEST_REGISTERS, ENTRY(LOAD_DEBUG_CONTROLS), clear,
     VMCS_GUEST_IA32_DEBUGCTL, DEBUGCTL_RESERVED, "reserved bits of IA32_DEBUGCTL are 0"},
    {"guest-long-without-pg", VMX_RULES_GUEST_REGISTERS, ENTRY(IA32E_MODE_GUEST), set,
     VMCS_GUEST_CR0, CR0_PG, "an IA-32e mode guest has CR0.PG"},
    {"guest-long-without-pae", VMX_RULES_GUEST_REGISTERS, ENTRY(IA32E_MODE_GUEST), set,
     VMCS_GUEST_CR4, CR4_PAE, "an IA-32e mode guest has CR4.PAE"},
    {"guest-pcide", VMX_RULES_GUEST_REGISTERS, ALWAYS, only_in_ia32e, VMCS_GUEST_CR4, CR4_PCIDE,
     "guest CR4.PCIDE is for IA-32e mode"},
    {"guest-fred", VMX_RULES_GUEST_REGISTERS, ALWAYS, only_in_ia32e, VMCS_GUEST_CR4, CR4_FRED,
     "guest CR4.FRED is for IA-32e mode"},
    {"guest-cr3", VMX_RULES_GUEST_REGISTERS, ALWAYS, in_width, VMCS_GUEST_CR3, 0,
     "guest CR3 is within the physical width"},
    {"guest-dr7", VMX_RULES_GUEST_REGISTERS, ENTRY(LOAD_DEBUG_CONTROLS), clear, VMCS_GUEST_DR7,
     HIGH_HALF, "bits 63:32 of DR7 are 0"},
    {"guest-sysenter-esp", VMX_RULES_GUEST_REGISTERS, ALWAYS, canonical,
     VMCS_GUEST_IA32_SYSENTER_ESP, 0, "guest IA32_SYSENTER_ESP is canonical"},
    {"guest-sysenter-eip", VMX_RULES_GUEST_REGISTERS, ALWAYS, canonical,
     VMCS_GUEST_IA32_SYSENTER_EIP, 0, "guest IA32_SYSENTER_EIP is canonical"},
    {"guest-s-cet-canonical", VMX_RULES_GUEST_REGISTERS, ENTRY(LOAD_CET_STATE), canonical,
     VMCS_GUEST_IA32_S_CET, 0, "guest IA32_S_CET is canonical"},
    {"guest-ssp-table", VMX_RULES_GUEST_REGISTERS, ENTRY(LOAD_CET_STATE), canonical,
     VMCS_GUEST_IA32_INTERRUPT_SSP_TABLE_ADDR, 0,
     "guest IA32_INTERRUPT_SSP_TABLE_ADDR is canonical"},
    {"guest-perf-global-ctrl", VMX_RULES_GUEST_REGISTERS, ENTRY(LOAD_IA32_PERF_GLOBAL_CTRL), clear,
     VMCS_GUEST_IA32_PERF_GLOBAL_CTRL, PERF_GLOBAL_RESERVED,
     "reserved bits of guest IA32_PERF_GLOBAL_CTRL are 0"},
    {"guest-pat", VMX_RULES_GUEST_REGISTERS, ENTRY(LOAD_IA32_PAT), pat, VMCS_GUEST_IA32_PAT, 0,
     "each byte of guest IA32_PAT is 0, 1, 4, 5, 6 or 7"},
    {"guest-efer-reserved", VMX_RULES_GUEST_REGISTERS, ENTRY(LOAD_IA32_EFER), clear,
     VMCS_GUEST_IA32_EFER, EFER_RESERVED, "reserved bits of guest IA32_EFER are 0"},
    {"guest-efer-lma", VMX_RULES_GUEST_REGISTERS, ENTRY(LOAD_IA32_EFER), guest_lma,
     VMCS_GUEST_IA32_EFER, 0, "guest LMA is the control IA-32e mode guest"},
    {"guest-efer-lme", VMX_RULES_GUEST_REGISTERS, ENTRY(LOAD_IA32_EFER), guest_lme,
     VMCS_GUEST_IA32_EFER, 0, "guest LME is LMA while CR0.PG is 1"},
    {"guest-bndcfgs-reserved", VMX_RULES_GUEST_REGISTERS, ENTRY(LOAD_IA32_BNDCFGS), clear,
     VMCS_GUEST_IA32_BNDCFGS, BNDCFGS_RESERVED, "bits 11:2 of IA32_BNDCFGS are 0"},
    {"guest-bndcfgs-canonical", VMX_RULES_GUEST_REGISTERS, ENTRY(LOAD_IA32_BNDCFGS),
     bounds_directory, VMCS_GUEST_IA32_BNDCFGS, 0, "the address in IA32_BNDCFGS is canonical"},
    {"guest-s-cet-reserved", VMX_RULES_GUEST_REGISTERS, ENTRY(LOAD_CET_STATE), clear,
     VMCS_GUEST_IA32_S_CET, S_CET_RESERVED, "reserved bits of guest IA32_S_CET are 0"},
    {"guest-s-cet-tracker", VMX_RULES_GUEST_REGISTERS, ENTRY(LOAD_CET_STATE),
     not_suppressed_while_tracking, VMCS_GUEST_IA32_S_CET, 0,
     "SUPPRESS and TRACKER of guest IA32_S_CET are not both 1"},
    {"guest-pkrs", VMX_RULES_GUEST_REGISTERS, ENTRY(LOAD_PKRS), clear, VMCS_GUEST_IA32_PKRS,
     HIGH_HALF, "bits 63:32 of guest IA32_PKRS are 0"},
    {"guest-uinv", VMX_RULES_GUEST_REGISTERS, ENTRY(LOAD_UINV), clear, VMCS_GUEST_UINV, 0xff00,
     "bits 15:8 of guest UINV are 0"},

    {"guest-tr-ti", VMX_RULES_GUEST_SEGMENTS, ALWAYS, selector_ti, TR, 0, "TI of TR is 0"},
    {"guest-ldtr-ti", VMX_RULES_GUEST_SEGMENTS, ALWAYS, selector_ti, LDTR, 0,
     "TI of a usable LDTR is 0"},
    {"guest-ss-rpl", VMX_RULES_GUEST_SEGMENTS, ALWAYS, ss_rpl_is_cs_rpl, SS, 0,
     "without unrestricted guest, RPL of SS is that of CS"},
    {"guest-tr-base", VMX_RULES_GUEST_SEGMENTS, ALWAYS, canonical, VMCS_GUEST_TR_BASE, 0,
     "the base of TR is canonical"},
    {"guest-fs-base", VMX_RULES_GUEST_SEGMENTS, ALWAYS, canonical, VMCS_GUEST_FS_BASE, 0,
     "the base of FS is canonical"},
    {"guest-gs-base", VMX_RULES_GUEST_SEGMENTS, ALWAYS, canonical, VMCS_GUEST_GS_BASE, 0,
     "the base of GS is canonical"},
    {"guest-ldtr-base", VMX_RULES_GUEST_SEGMENTS, ALWAYS, ldtr_base, VMCS_GUEST_LDTR_BASE, 0,
     "the base of a usable LDTR is canonical"},
    {"guest-cs-base", VMX_RULES_GUEST_SEGMENTS, ALWAYS, base_32, CS, 0,
     "bits 63:32 of the base of CS are 0"},
    {"guest-ss-base", VMX_RULES_GUEST_SEGMENTS, ALWAYS, base_32, SS, 0,
     "bits 63:32 of the base of a usable SS are 0"},
    {"guest-ds-base", VMX_RULES_GUEST_SEGMENTS, ALWAYS, base_32, DS, 0,
     "bits 63:32 of the base of a usable DS are 0"},
    {"guest-es-base", VMX_RULES_GUEST_SEGMENTS, ALWAYS, base_32, ES, 0,
     "bits 63:32 of the base of a usable ES are 0"},
    CODE_OR_DATA_RULES("cs", CS),
    {"guest-cs-type", VMX_RULES_GUEST_SEGMENTS, ALWAYS, cs_type, CS, 0,
     "the type of CS is accessed code, or 3 if unrestricted"},
    {"guest-cs-dpl-data", VMX_RULES_GUEST_SEGMENTS, ALWAYS, cs_dpl_data, CS, 0,
     "DPL of CS is 0 if its type is 3"},
    {"guest-cs-dpl-non-conforming", VMX_RULES_GUEST_SEGMENTS, ALWAYS, cs_dpl_non_conforming,
     CS, 0, "DPL of non-conforming CS is that of SS"},
    {"guest-cs-dpl-conforming", VMX_RULES_GUEST_SEGMENTS, ALWAYS, cs_dpl_conforming, CS, 0,
     "DPL of conforming CS is not above that of SS"},
    {"guest-cs-long", VMX_RULES_GUEST_SEGMENTS, ALWAYS, cs_long_is_not_32, CS, 0,
     "in IA-32e mode D/B of CS is 0 if L is 1"},
    CODE_OR_DATA_RULES("ss", SS),
    {"guest-ss-type", VMX_RULES_GUEST_SEGMENTS, ALWAYS, ss_type, SS, 0,
     "the type of a usable SS is 3 or 7"},
    {"guest-ss-dpl-rpl", VMX_RULES_GUEST_SEGMENTS, ALWAYS, ss_dpl_rpl, SS, 0,
     "without unrestricted guest, DPL of SS is its RPL"},
    {"guest-ss-dpl-zero", VMX_RULES_GUEST_SEGMENTS, ALWAYS, ss_dpl_zero, SS, 0,
     "DPL of SS is 0 in real mode and if the type of CS is 3"},
    DATA_RULES("ds", DS),
    DATA_RULES("es", ES),
    DATA_RULES("fs", FS),
    DATA_RULES("gs", GS),
    SEGMENT_RULES("tr", TR),
    {"guest-tr-system", VMX_RULES_GUEST_SEGMENTS, ALWAYS, is_system, TR, 0, "S of TR is 0"},
    {"guest-tr-type", VMX_RULES_GUEST_SEGMENTS, ALWAYS, tr_type, TR, 0,
     "the type of TR is a busy TSS: 11, or 3 outside IA-32e mode"},
    {"guest-tr-usable", VMX_RULES_GUEST_SEGMENTS, ALWAYS, tr_usable, TR, 0, "TR is usable"},
    SEGMENT_RULES("ldtr", LDTR),
    {"guest-ldtr-system", VMX_RULES_GUEST_SEGMENTS, ALWAYS, is_system, LDTR, 0,
     "S of a usable LDTR is 0"},
    {"guest-ldtr-type", VMX_RULES_GUEST_SEGMENTS, ALWAYS, ldtr_type, LDTR, 0,
     "the type of a usable LDTR is 2"},

    {"guest-gdtr-base", VMX_RULES_GUEST_TABLES, ALWAYS, canonical, VMCS_GUEST_GDTR_BASE, 0,
     "the base of the guest's GDT is canonical"},
    {"guest-idtr-base", VMX_RULES_GUEST_TABLES, ALWAYS, canonical, VMCS_GUEST_IDTR_BASE, 0,
     "the base of the guest's IDT is canonical"},
    {"guest-gdtr-limit", VMX_RULES_GUEST_TABLES, ALWAYS, clear, VMCS_GUEST_GDTR_LIMIT, 0xffff0000,
     "the limit of the guest's GDT has 16 bits"},
    {"guest-idtr-limit", VMX_RULES_GUEST_TABLES, ALWAYS, clear, VMCS_GUEST_IDTR_LIMIT, 0xffff0000,
     "the limit of the guest's IDT has 16 bits"},

    {"guest-rip-32", VMX_RULES_GUEST_RIP, ALWAYS, rip_32, VMCS_GUEST_RIP, HIGH_HALF,
     "bits 63:32 of RIP are 0 outside 64-bit mode"},
    {"guest-rip-64", VMX_RULES_GUEST_RIP, ALWAYS, rip_64, VMCS_GUEST_RIP, 0,
     "bits of RIP above the linear width are alike in 64-bit mode"},
    {"guest-rflags-reserved", VMX_RULES_GUEST_RIP, ALWAYS, clear, VMCS_GUEST_RFLAGS,
     RFLAGS_RESERVED, "bits 63:22, 15, 5 and 3 of RFLAGS are 0"},
    {"guest-rflags-one", VMX_RULES_GUEST_RIP, ALWAYS, set, VMCS_GUEST_RFLAGS, 2,
     "bit 1 of RFLAGS is 1"},
    {"guest-rflags-vm", VMX_RULES_GUEST_RIP, ALWAYS, v86_is_legal, VMCS_GUEST_RFLAGS, 0,
     "RFLAGS.VM is 0 in IA-32e mode and in real mode"},
    {"guest-rflags-if", VMX_RULES_GUEST_RIP, ALWAYS, injected_interrupt_is_enabled,
     VMCS_GUEST_RFLAGS, 0, "RFLAGS.IF is 1 if an external interrupt is injected"},
    {"guest-ssp", VMX_RULES_GUEST_RIP, ENTRY(LOAD_CET_STATE), clear, VMCS_GUEST_SSP, 3,
     "guest SSP is a multiple of 4"},
    {"guest-ssp-width", VMX_RULES_GUEST_RIP, ENTRY(LOAD_CET_STATE), ssp_width, VMCS_GUEST_SSP, 0,
     "bits of guest SSP above the linear width are alike"},

    {"activity-supported", VMX_RULES_GUEST_NON_REGISTER, ALWAYS, activity_supported,
     VMCS_GUEST_ACTIVITY_STATE, 0, "the activity state is one that IA32_VMX_MISC names"},
    {"activity-hlt-cpl", VMX_RULES_GUEST_NON_REGISTER, ALWAYS, hlt_at_cpl_0,
     VMCS_GUEST_ACTIVITY_STATE, 0, "HLT needs DPL 0 of SS"},
    {"activity-blocking", VMX_RULES_GUEST_NON_REGISTER, ALWAYS, active_if_blocking,
     VMCS_GUEST_ACTIVITY_STATE, 0, "the guest is active if STI or MOV SS blocks"},
    {"activity-event-hlt", VMX_RULES_GUEST_NON_REGISTER, ALWAYS, event_while_hlt, 0, 0,
     "in HLT only interrupts, NMI, #DB, #MC and a pending MTF exit are injected"},
    {"activity-event-shutdown", VMX_RULES_GUEST_NON_REGISTER, ALWAYS, event_while_shutdown, 0, 0,
     "in shutdown only NMI and #MC are injected"},
    {"activity-event-sipi", VMX_RULES_GUEST_NON_REGISTER, ALWAYS, event_while_waiting, 0, 0,
     "in wait-for-SIPI nothing is injected"},
    {"blocking-reserved", VMX_RULES_GUEST_NON_REGISTER, ALWAYS, clear,
     VMCS_GUEST_INTERRUPTIBILITY_STATE, 0xffffffe0,
     "bits 31:5 of the interruptibility state are 0"},
    {"blocking-both", VMX_RULES_GUEST_NON_REGISTER, ALWAYS, blocking_by_one, 0, 0,
     "STI and MOV SS do not both block"},
    {"blocking-sti", VMX_RULES_GUEST_NON_REGISTER, ALWAYS, sti_with_if, 0, 0,
     "STI blocks only while RFLAGS.IF is 1"},
    {"blocking-event", VMX_RULES_GUEST_NON_REGISTER, ALWAYS, injection_not_blocked, 0, 0,
     "an interrupt or NMI is injected only if neither STI nor MOV SS blocks"},
    {"blocking-smi", VMX_RULES_GUEST_NON_REGISTER, ALWAYS, clear,
     VMCS_GUEST_INTERRUPTIBILITY_STATE, BLOCKING_BY_SMI, "outside SMM, SMIs are not blocked"},
    {"blocking-nmi", VMX_RULES_GUEST_NON_REGISTER, PIN(VIRTUAL_NMIS), nmi_not_blocked, 0, 0,
     "with virtual NMIs, an NMI is injected only if NMIs are not blocked"},
    {"blocking-enclave", VMX_RULES_GUEST_NON_REGISTER, ALWAYS, enclave_interruption, 0, 0,
     "an enclave is interrupted only on a CPU with SGX, and while MOV SS does not block"},
    {"pending-debug-reserved", VMX_RULES_GUEST_NON_REGISTER, ALWAYS, clear,
     VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, ~0x1ffffull | 0xaff0,
     "bits 63:17, 15, 13 and 11:4 of the pending debug exceptions are 0"},
    {"pending-debug-step", VMX_RULES_GUEST_NON_REGISTER, ALWAYS, step_is_pending,
     VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0,
     "BS is 1 if the guest single-steps while blocked or in HLT"},
    {"pending-debug-no-step", VMX_RULES_GUEST_NON_REGISTER, ALWAYS, no_step_is_pending,
     VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0,
     "BS is 0 if the guest does not single-step while blocked or in HLT"},
    {"pending-debug-rtm", VMX_RULES_GUEST_NON_REGISTER, ALWAYS, pending_in_transaction,
     VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0,
     "RTM stands with bit 12 alone, on a CPU with RTM, while MOV SS does not block"},
    {"link-pointer", VMX_RULES_GUEST_NON_REGISTER, ALWAYS, link_pointer, VMCS_VMCS_LINK_POINTER,
     PAGE, "the VMCS link pointer is all ones or a page within the physical width"},

    {"pdpte0", VMX_RULES_GUEST_PDPTES, PROC2(ENABLE_EPT), pdpte, VMCS_GUEST_PDPTE0, 0,
     "with PAE paging, reserved bits of a present PDPTE0 are 0"},
    {"pdpte1", VMX_RULES_GUEST_PDPTES, PROC2(ENABLE_EPT), pdpte, VMCS_GUEST_PDPTE1, 0,
     "with PAE paging, reserved bits of a present PDPTE1 are 0"},
    {"pdpte2", VMX_RULES_GUEST_PDPTES, PROC2(ENABLE_EPT), pdpte, VMCS_GUEST_PDPTE2, 0,
     "with PAE paging, reserved bits of a present PDPTE2 are 0"},
    {"pdpte3", VMX_RULES_GUEST_PDPTES, PROC2(ENABLE_EPT), pdpte, VMCS_GUEST_PDPTE3, 0,
     "with PAE paging, reserved bits of a present PDPTE3 are 0"},
};
/* clang-format on */

const unsigned vmx_rule_count = ARRAY_SIZE(vmx_rules);

static void read_controls(struct vmx_state *s)
{
    s->control[VMX_PIN] = get(s, VMCS_PIN_BASED_CONTROLS);
    s->control[VMX_PROC] = get(s, VMCS_PRIMARY_PROCESSOR_BASED_CONTROLS);
    s->control[VMX_EXIT] = get(s, VMCS_PRIMARY_VM_EXIT_CONTROLS);
    s->control[VMX_ENTRY] = get(s, VMCS_VM_ENTRY_CONTROLS);
    if (on(s, VMX_PROC, PROC_ACTIVATE_SECONDARY_CONTROLS))
        s->control[VMX_PROC2] = get(s, VMCS_SECONDARY_PROCESSOR_BASED_CONTROLS);
    if (on(s, VMX_PROC, PROC_ACTIVATE_TERTIARY_CONTROLS))
        s->control[VMX_PROC3] = get(s, VMCS_TERTIARY_PROCESSOR_BASED_CONTROLS);
    if (on(s, VMX_EXIT, EXIT_CTL_ACTIVATE_SECONDARY_CONTROLS))
        s->control[VMX_EXIT2] = get(s, VMCS_SECONDARY_VM_EXIT_CONTROLS);
    if (on(s, VMX_PROC2, PROC2_ENABLE_VM_FUNCTIONS))
        s->control[VMX_VMFUNC] = get(s, VMCS_VM_FUNCTION_CONTROLS);
}

static void read_state(struct vmx_state *s)
{
    read_controls(s);
    s->cr0 = get(s, VMCS_GUEST_CR0);
    s->cr4 = get(s, VMCS_GUEST_CR4);
    s->rflags = get(s, VMCS_GUEST_RFLAGS);
    s->blocking = get(s, VMCS_GUEST_INTERRUPTIBILITY_STATE);
    s->activity = get(s, VMCS_GUEST_ACTIVITY_STATE);
    s->event = get(s, VMCS_VM_ENTRY_INTERRUPTION_INFORMATION);
    if (!(s->event & EVENT_VALID))
        s->event = 0;
}

unsigned vmx_check(const struct vmcs_reader *reader, const struct vmx_msrs *msrs,
                   void (*report)(void *ctx, const struct vmx_rule *rule), void *ctx)
{
    struct vmx_state state = {.reader = reader, .msrs = msrs};
    unsigned broken = 0;
    assert(msrs->linear_bits > 32 && msrs->linear_bits <= 64);
    assert(msrs->physical_bits >= 32);
    read_state(&state);
    for (const struct vmx_rule *r = vmx_rules; r < vmx_rules + vmx_rule_count; r++) {
        if (!on(&state, r->when, r->when_mask) || r->holds(&state, r))
            continue;
        broken++;
        if (report)
            report(ctx, r);
    }
    return broken;
}
