/* Exceptions and interrupts of the host: expected faults are resumed, all others stop the machine.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/traps.h"

#include "drivers/apic.h"
#include "drivers/pic.h"
#include "lib/assert.h"
#include "lib/x86.h"
#include "vmm/host/cpu.h"
#include "vmm/host/log.h"
#include "vmm/host/panic.h"
#include "vmm/host/watchdog.h"

enum { VECTORS = 256, GATE_INTERRUPT = 0x8e };

/* SDM, "64-Bit Mode IDT". */
struct gate {
    uint16_t offset_0;
    uint16_t selector;
    uint8_t ist;
    uint8_t type;
    uint16_t offset_16;
    uint32_t offset_32;
    uint32_t reserved;
};
static_assert(sizeof(struct gate) == 16, "SDM, 64-Bit Mode IDT");

static _Alignas(16) struct gate idt[VECTORS];

static void (*handlers[VECTORS])(uint8_t vector);

extern const char trap_stubs[]; /* vmm/host/traps.asm: 32 of 16 bytes, then of 8 */
extern const uint64_t extable_start[], extable_end[]; /* pairs: where it faults, where it goes on */

void trap(struct trap_frame *frame);

static uint8_t ist_of(unsigned vector)
{
    return vector == VECTOR_DF    ? IST_DF
           : vector == VECTOR_NMI ? IST_NMI
           : vector == VECTOR_MC  ? IST_MC
                                  : IST_NONE;
}

void traps_init(void)
{
    for (unsigned i = 0; i < VECTORS; i++) {
        uint64_t stub = (uint64_t)trap_stubs + (i < 32 ? 16 * i : 16 * 32 + 8 * (i - 32));
        idt[i] = (struct gate){
            .offset_0 = (uint16_t)stub,
            .selector = SEL_CODE,
            .ist = ist_of(i),
            .type = GATE_INTERRUPT,
            .offset_16 = (uint16_t)(stub >> 16),
            .offset_32 = (uint32_t)(stub >> 32),
        };
    }
}

void traps_load(void)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } idtr = {sizeof(idt) - 1, (uint64_t)idt};
    __asm__ volatile("lidt %0" : : "m"(idtr));
}

uint64_t traps_idt_base(void)
{
    return (uint64_t)idt;
}

const char *trap_name(uint64_t vector)
{
    static const char *const names[32] = {
        "#DE divide error",
        "#DB debug",
        "NMI",
        "#BP breakpoint",
        "#OF overflow",
        "#BR bound range",
        "#UD invalid opcode",
        "#NM no device",
        "#DF double fault",
        "coprocessor overrun",
        "#TS invalid TSS",
        "#NP segment not present",
        "#SS stack fault",
        "#GP protection",
        "#PF page fault",
        "reserved exception",
        "#MF x87 error",
        "#AC alignment check",
        "#MC machine check",
        "#XM SIMD error",
        "#VE virtualization",
        "#CP control protection",
        "reserved exception",
        "reserved exception",
        "reserved exception",
        "reserved exception",
        "reserved exception",
        "reserved exception",
        "#HV hypervisor injection",
        "#VC VMM communication",
        "#SX security",
        "reserved exception",
    };
    return vector < 32 ? names[vector] : "interrupt";
}

void machine_check(void)
{
    uint64_t cap = 0;
    if (rdmsr_safe(MSR_MCG_CAP, &cap))
        for (uint32_t bank = 0; bank < (cap & 0xff); bank++) {
            uint64_t status = 0;
            if (rdmsr_safe(MSR_MC0_STATUS + 4 * bank, &status) && status >> 63 != 0)
                log_line("machine check: bank %u status %016lx", bank, status);
        }
    panic("machine check: the hardware reports an error; see the banks above");
}

static bool fixed_up(struct trap_frame *frame)
{
    for (const uint64_t *pair = extable_start; pair < extable_end; pair += 2)
        if (pair[0] == frame->rip) {
            frame->rip = pair[1];
            frame->rflags |= RFLAGS_CF;
            return true;
        }
    return false;
}

void traps_on_interrupt(uint8_t vector, void (*handler)(uint8_t vector))
{
    assert(vector >= 32);
    handlers[vector] = handler;
}

/* One without a handler was pending before its source was masked, or is spurious. */
static void interrupt(uint8_t vector)
{
    if (handlers[vector] != NULL)
        handlers[vector](vector);
    else if (this_cpu()->strays++ == 0)
        log_line("cpu: interrupt %u, which the host did not ask for", vector);
    pic_end(vector);
    apic_end(vector);
}

void trap(struct trap_frame *frame)
{
    if (frame->vector == VECTOR_NMI) {
        this_cpu()->nmis++;
        panic_stop_if_elsewhere();
        watchdog_nmi(frame);
        return;
    }
    if (frame->vector == VECTOR_GP && fixed_up(frame))
        return;
    if (frame->vector < 32)
        cpu_reclaim_gs();
    if (frame->vector == VECTOR_MC)
        machine_check();
    if (frame->vector < 32)
        panic_trap(frame);
    interrupt((uint8_t)frame->vector);
}
