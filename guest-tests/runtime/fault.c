/* The guest's IDT and TSS, and the resuming of code whose exception was expected. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/fault.h"

#include "guest-tests/runtime/console.h"
#include "lib/assert.h"
#include "lib/string.h"
#include "mm/types.h"

enum { CRASH_VALUE = 2, GATE_INTERRUPT = 0x8e, TSS_AVAILABLE = 0x89 };

struct table_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

extern const uint64_t exception_entries[EXCEPTIONS];
extern uint64_t gdt[];
void fault_handle(struct fault_frame *frame);
void form_enter(struct registers *registers, uint64_t rip, uint64_t cs, uint64_t ss);

struct fault fault_taken;
uint64_t fault_resume;

struct idt_gate fault_idt[EXCEPTIONS];
struct tss64 fault_tss;
bool (*fault_hook)(struct fault_frame *frame);
static uint8_t exception_stack[8192] __attribute__((aligned(16)));
static uint8_t nmi_stack[4096] __attribute__((aligned(16)));

static void set_gate(struct idt_gate *gate, uint64_t entry)
{
    *gate = (struct idt_gate){.offset_low = (uint16_t)entry,
                              .selector = SEL_CODE64,
                              .ist = EXCEPTION_IST,
                              .type = GATE_INTERRUPT,
                              .offset_middle = (uint16_t)(entry >> 16),
                              .offset_high = (uint32_t)(entry >> 32)};
}

void fault_set_stacks(struct tss64 *tss, void *exceptions, void *nmi)
{
    uint64_t stack = (uint64_t)exceptions, stack_of_nmi = (uint64_t)nmi;
    memcpy(&tss->ist[2 * (EXCEPTION_IST - 1)], &stack, sizeof(stack));
    memcpy(&tss->ist[2 * (NMI_IST - 1)], &stack_of_nmi, sizeof(stack));
    memcpy(&tss->rsp[0], &stack, sizeof(stack));
    tss->io_bitmap = sizeof(*tss); /* beyond the limit: no port belongs to CPL 3 */
}

void fault_init(void)
{
    uint64_t base = (uint64_t)&fault_tss;
    fault_set_stacks(&fault_tss, exception_stack + sizeof(exception_stack),
                     nmi_stack + sizeof(nmi_stack));
    gdt[SEL_TSS / 8] = (sizeof(fault_tss) - 1) | (base & 0xffffff) << 16 |
                       (uint64_t)TSS_AVAILABLE << 40 | (base >> 24 & 0xff) << 56;
    gdt[SEL_TSS / 8 + 1] = base >> 32;
    for (unsigned i = 0; i < EXCEPTIONS; i++)
        set_gate(&fault_idt[i], exception_entries[i]);
    fault_idt[VECTOR_NMI].ist = NMI_IST;
    struct table_pointer pointer = {sizeof(fault_idt) - 1, (uint64_t)fault_idt};
    __asm__ volatile("lidt %0; ltr %w1" : : "m"(pointer), "r"(SEL_TSS));
}

void fault_handle(struct fault_frame *frame)
{
    if (fault_hook != NULL && fault_hook(frame))
        return;
    fault_taken = (struct fault){.vector = (int)frame->vector,
                                 .error = (uint32_t)frame->error,
                                 .cr2 = frame->cr2,
                                 .rip = frame->rip};
    if (fault_resume == 0) {
        print("# unexpected exception %lu, error %lx, CR2 %lx, RIP %lx\n", frame->vector,
              frame->error, frame->cr2, frame->rip);
        guest_exit(CRASH_VALUE);
    }
    frame->rip = fault_resume;
    frame->cs = SEL_CODE64;
    frame->ss = SEL_DATA;
    frame->rflags &= ~RFLAGS_TF; /* of a step: what follows is none */
    fault_resume = 0;
}

struct fault form_run(const void *rip, enum selector cs, struct registers *registers)
{
    fault_clear();
    form_enter(registers, (uint64_t)rip, cs, cs == SEL_USER_CODE64 ? SEL_USER_DATA : SEL_DATA);
    return fault_taken;
}

void segment_set_base(enum selector selector, uint32_t base)
{
    assert(selector == SEL_CODE16 || selector == SEL_BASED);
    uint64_t *descriptor = &gdt[selector / 8];
    *descriptor &= ~(0xffffffull << 16 | 0xffull << 56);
    *descriptor |= (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(base >> 24) << 56;
    if (selector == SEL_BASED)
        __asm__ volatile("mov %w0, %%es" : : "r"(SEL_BASED));
}

struct fault try_rdmsr(uint32_t msr, uint64_t *value)
{
    uint32_t low = 0, high = 0;
    fault_clear();
    __asm__ volatile(GUARDED("rdmsr") : "+a"(low), "+d"(high) : "c"(msr) : "memory");
    *value = (uint64_t)high << 32 | low;
    return fault_taken;
}

struct fault try_wrmsr(uint32_t msr, uint64_t value)
{
    fault_clear();
    __asm__ volatile(GUARDED("wrmsr")
                     :
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
    return fault_taken;
}
