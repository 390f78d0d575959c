/* The virtual machine control block (APM volume 2, "VMCB Layout"). */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/assert.h"
#include "mm/types.h"

struct vmcb_seg {
    uint16_t selector;
    uint16_t attrib; /* descriptor bits 55:52 and 47:40, packed to 12 bits */
    uint32_t limit;
    uint64_t base;
};

struct vmcb {
    uint16_t intercept_cr_read, intercept_cr_write;
    uint16_t intercept_dr_read, intercept_dr_write;
    uint32_t intercept_exceptions;
    uint32_t intercept_1, intercept_2, intercept_3;
    uint8_t reserved_018[0x3c - 0x18];
    uint16_t pause_threshold, pause_count;
    uint64_t iopm_base, msrpm_base;
    uint64_t tsc_offset;
    uint32_t asid;
    uint32_t tlb_control; /* low byte */
    uint64_t v_intr;
    uint64_t int_state;
    uint64_t exitcode, exitinfo1, exitinfo2, exitintinfo;
    uint64_t np_enable; /* bit 0 */
    uint8_t reserved_098[0xa8 - 0x98];
    uint64_t eventinj;
    uint64_t n_cr3;
    uint64_t lbr_enable;
    uint32_t clean, reserved_0c4;
    uint64_t nrip;
    uint8_t insn_length;
    uint8_t insn_bytes[15];
    uint8_t reserved_0e0[0x400 - 0xe0];

    struct vmcb_seg es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
    uint8_t reserved_4a0[0x4cb - 0x4a0];
    uint8_t cpl;
    uint32_t reserved_4cc;
    uint64_t efer;
    uint8_t reserved_4d8[0x548 - 0x4d8];
    uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
    uint8_t reserved_580[0x5d8 - 0x580];
    uint64_t rsp;
    uint8_t reserved_5e0[0x5f8 - 0x5e0];
    uint64_t rax, star, lstar, cstar, sfmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip, cr2;
    uint8_t reserved_648[0x668 - 0x648];
    uint64_t g_pat, dbgctl;
    uint8_t reserved_678[0x1000 - 0x678];
};

static_assert(offsetof(struct vmcb, pause_threshold) == 0x3c, "APM, VMCB Layout, Control Area");
static_assert(offsetof(struct vmcb, iopm_base) == 0x40, "APM, VMCB Layout, Control Area");
static_assert(offsetof(struct vmcb, asid) == 0x58, "APM, VMCB Layout, Control Area");
static_assert(offsetof(struct vmcb, exitcode) == 0x70, "APM, VMCB Layout, Control Area");
static_assert(offsetof(struct vmcb, np_enable) == 0x90, "APM, VMCB Layout, Control Area");
static_assert(offsetof(struct vmcb, eventinj) == 0xa8, "APM, VMCB Layout, Control Area");
static_assert(offsetof(struct vmcb, n_cr3) == 0xb0, "APM, VMCB Layout, Control Area");
static_assert(offsetof(struct vmcb, clean) == 0xc0, "APM, VMCB Layout, Control Area");
static_assert(offsetof(struct vmcb, nrip) == 0xc8, "APM, VMCB Layout, Control Area");
static_assert(offsetof(struct vmcb, insn_length) == 0xd0, "APM, VMCB Layout, Control Area");
static_assert(offsetof(struct vmcb, es) == 0x400, "APM, VMCB Layout, State Save Area");
static_assert(offsetof(struct vmcb, tr) == 0x490, "APM, VMCB Layout, State Save Area");
static_assert(offsetof(struct vmcb, cpl) == 0x4cb, "APM, VMCB Layout, State Save Area");
static_assert(offsetof(struct vmcb, efer) == 0x4d0, "APM, VMCB Layout, State Save Area");
static_assert(offsetof(struct vmcb, cr4) == 0x548, "APM, VMCB Layout, State Save Area");
static_assert(offsetof(struct vmcb, rip) == 0x578, "APM, VMCB Layout, State Save Area");
static_assert(offsetof(struct vmcb, rsp) == 0x5d8, "APM, VMCB Layout, State Save Area");
static_assert(offsetof(struct vmcb, rax) == 0x5f8, "APM, VMCB Layout, State Save Area");
static_assert(offsetof(struct vmcb, cr2) == 0x640, "APM, VMCB Layout, State Save Area");
static_assert(offsetof(struct vmcb, g_pat) == 0x668, "APM, VMCB Layout, State Save Area");
static_assert(sizeof(struct vmcb) == 4096, "APM, VMCB Layout");

/* intercept_1 */
#define INTERCEPT_INTR        (1u << 0)
#define INTERCEPT_NMI         (1u << 1)
#define INTERCEPT_INIT        (1u << 3)
#define INTERCEPT_VINTR       (1u << 4)
#define INTERCEPT_RDPMC       (1u << 15)
#define INTERCEPT_CPUID       (1u << 18)
#define INTERCEPT_RSM         (1u << 19)
#define INTERCEPT_IRET        (1u << 20)
#define INTERCEPT_INVD        (1u << 22)
#define INTERCEPT_HLT         (1u << 24)
#define INTERCEPT_INVLPGA     (1u << 26)
#define INTERCEPT_IOIO        (1u << 27)
#define INTERCEPT_MSR         (1u << 28)
#define INTERCEPT_FERR_FREEZE (1u << 30)
#define INTERCEPT_SHUTDOWN    (1u << 31)

/* intercept_2 */
#define INTERCEPT_VMRUN       (1u << 0)
#define INTERCEPT_VMMCALL     (1u << 1)
#define INTERCEPT_VMLOAD      (1u << 2)
#define INTERCEPT_VMSAVE      (1u << 3)
#define INTERCEPT_STGI        (1u << 4)
#define INTERCEPT_CLGI        (1u << 5)
#define INTERCEPT_SKINIT      (1u << 6)
#define INTERCEPT_WBINVD      (1u << 9)
#define INTERCEPT_MONITOR     (1u << 10)
#define INTERCEPT_MWAIT       (1u << 11)
#define INTERCEPT_MWAIT_ARMED (1u << 12)
#define INTERCEPT_XSETBV      (1u << 13)
#define INTERCEPT_RDPRU       (1u << 14)

/* intercept_3 */
#define INTERCEPT_INVLPGB (1u << 0)
#define INTERCEPT_INVPCID (1u << 2)
#define INTERCEPT_MCOMMIT (1u << 3)
#define INTERCEPT_TLBSYNC (1u << 4)

/* v_intr */
#define V_TPR          0xffull
#define V_IRQ          (1ull << 8)
#define V_IGN_TPR      (1ull << 20)
#define V_INTR_MASKING (1ull << 24)

/* int_state */
#define INT_SHADOW (1ull << 0)

/* tlb_control (APM, "TLB Control") */
#define TLB_KEEP       0u
#define TLB_FLUSH_ALL  1u
#define TLB_FLUSH_ASID 3u

/* eventinj and exitintinfo */
#define EVENT_VECTOR      0xffull
#define EVENT_TYPE_SHIFT  8
#define EVENT_TYPE_MASK   7ull
#define EVENT_ERROR_VALID (1ull << 11)
#define EVENT_VALID       (1ull << 31)

/* exitinfo1 of #NPF and its table bits (APM, "Nested Paging and VMRUN/#VMEXIT") */
#define NPF_PRESENT (1ull << 0)
#define NPF_WRITE   (1ull << 1)
#define NPF_FETCH   (1ull << 4)
#define NPF_TABLE   (1ull << 33)

/* exitinfo1 of IOIO (APM, "IN/OUT Intercept") */
#define IOIO_IN          (1ull << 0)
#define IOIO_STRING      (1ull << 2)
#define IOIO_REP         (1ull << 3)
#define IOIO_WIDTH(info) ((uint8_t)((info) >> 4 & 7))
#define IOIO_PORT(info)  ((uint16_t)((info) >> 16))

enum svm_exitcode {
    SVM_EXIT_CR0_READ = 0x00,
    SVM_EXIT_CR15_WRITE = 0x1f,
    SVM_EXIT_EXCEPTION_0 = 0x40,
    SVM_EXIT_EXCEPTION_31 = 0x5f,
    SVM_EXIT_INTR = 0x60,
    SVM_EXIT_NMI = 0x61,
    SVM_EXIT_INIT = 0x63,
    SVM_EXIT_VINTR = 0x64,
    SVM_EXIT_RDPMC = 0x6f,
    SVM_EXIT_CPUID = 0x72,
    SVM_EXIT_RSM = 0x73,
    SVM_EXIT_IRET = 0x74,
    SVM_EXIT_INVD = 0x76,
    SVM_EXIT_HLT = 0x78,
    SVM_EXIT_INVLPGA = 0x7a,
    SVM_EXIT_IOIO = 0x7b,
    SVM_EXIT_MSR = 0x7c,
    SVM_EXIT_FERR_FREEZE = 0x7e,
    SVM_EXIT_SHUTDOWN = 0x7f,
    SVM_EXIT_VMRUN = 0x80,
    SVM_EXIT_VMMCALL = 0x81,
    SVM_EXIT_VMLOAD = 0x82,
    SVM_EXIT_VMSAVE = 0x83,
    SVM_EXIT_STGI = 0x84,
    SVM_EXIT_CLGI = 0x85,
    SVM_EXIT_SKINIT = 0x86,
    SVM_EXIT_WBINVD = 0x89,
    SVM_EXIT_MONITOR = 0x8a,
    SVM_EXIT_MWAIT = 0x8b,
    SVM_EXIT_MWAIT_ARMED = 0x8c,
    SVM_EXIT_XSETBV = 0x8d,
    SVM_EXIT_RDPRU = 0x8e,
    SVM_EXIT_INVLPGB = 0xa0,
    SVM_EXIT_INVPCID = 0xa2,
    SVM_EXIT_MCOMMIT = 0xa3,
    SVM_EXIT_TLBSYNC = 0xa4,
    SVM_EXIT_NPF = 0x400,
};
#define SVM_EXIT_INVALID 0xffffffffu /* compare the low 32 bits */
