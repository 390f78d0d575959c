/* Exceptions that a test expects: run something, and get the vector, error code and CR2, or none.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/assert.h"
#include "lib/x86.h"

/* In the order of the GDT in start.asm; CPL 3 ones with their RPL. */
enum selector {
    SEL_CODE64 = 0x08,
    SEL_DATA = 0x10,
    SEL_CODE32 = 0x18,
    SEL_USER_CODE64 = 0x20 | 3,
    SEL_USER_DATA = 0x28 | 3,
    SEL_TSS = 0x30,
    SEL_CODE16 = 0x40, /* its base is set by segment_set_base() */
    SEL_BASED = 0x48,  /* data; so is its base */
};

/* In the order of x86's encodings. */
enum gpr { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, GPRS };

struct registers {
    uint64_t gpr[GPRS];
    uint64_t rflags;
};

enum { FAULT_NONE = -1 };

struct fault {
    int vector; /* FAULT_NONE: there was none */
    uint32_t error;
    uint64_t cr2; /* with #PF */
    uint64_t rip;
};

/* As pushed by the runtime's handlers and the CPU. */
struct fault_frame {
    uint64_t registers[15];
    uint64_t cr2, vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

struct idt_gate {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};
static_assert(sizeof(struct idt_gate) == 16, "SDM, \"64-Bit Mode IDT\"");

struct tss64 {
    uint32_t reserved0;
    uint32_t rsp[6];
    uint32_t reserved1[2];
    uint32_t ist[14];
    uint32_t reserved2[2];
    uint16_t reserved3, io_bitmap;
};
static_assert(sizeof(struct tss64) == 104, "SDM, \"Task Management in 64-bit Mode\"");

enum { EXCEPTIONS = 32 };

/* NMIs have a stack of their own, as they come in the middle of other exceptions' handlers. */
enum { EXCEPTION_IST = 1, NMI_IST = 3 };

/* For tests of delivery itself, which change them and put them back. */
extern struct idt_gate fault_idt[EXCEPTIONS];
extern struct tss64 fault_tss;

/* Asked first at every exception, if it is not NULL; true: the frame is where to go on. */
extern bool (*fault_hook)(struct fault_frame *frame);

/* Where a form ends, with CS = SEL_CODE64 and SS = SEL_DATA. */
extern const char form_done[];

/* What the last guarded code or form ended with. */
extern struct fault fault_taken;

/* Where the next exception goes on; 0: it is unexpected. For GUARDED and form_run() alone. */
extern uint64_t fault_resume;

/* Makes TSS that of a CPU with these stacks, given by their ends. */
void fault_set_stacks(struct tss64 *tss, void *exceptions, void *nmi);

/* Sets up the IDT and the TSS. An unexpected exception is reported and ends the machine. */
void fault_init(void);

static inline void fault_clear(void)
{
    fault_taken = (struct fault){.vector = FAULT_NONE};
}

/* Extended asm for CODE whose fault goes on behind it, with the registers as at the fault. */
#define GUARDED(code) "movq $771f, fault_resume\n\t" code "\n771: movq $0, fault_resume\n\t"

/*
 * Runs CODE, made by form.inc, with REGISTERS, in the segment CS (enum selector): 64-bit code at
 * CPL 0 or 3, or 32-bit or 16-bit code. RIP is its address or, in a 16-bit segment, its offset.
 * Registers are then those at its end or at its fault; in modes below 64 bits only their low halves
 * count. Code of CPL 3 can end only by a fault.
 */
struct fault form_run(const void *rip, enum selector cs, struct registers *registers);

/* Sets the base of SEL_CODE16 or SEL_BASED, and loads ES with the latter. */
void segment_set_base(enum selector selector, uint32_t base);

/* RDMSR and WRMSR that may fault. */
struct fault try_rdmsr(uint32_t msr, uint64_t *value);
struct fault try_wrmsr(uint32_t msr, uint64_t value);

/* A #GP with error code 0, as MSRs and ports raise it. */
static inline bool is_gp0(struct fault fault)
{
    return fault.vector == VECTOR_GP && fault.error == 0;
}

/* Forms of forms.asm, named after their instructions. */
extern const char form_cpuid[], form_rdmsr[], form_wrmsr[], form_vmcall[], form_vmmcall[];
extern const char form_in_al_dx[], form_out_dx_al[];
