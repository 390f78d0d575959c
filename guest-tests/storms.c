/*
 * Exceptions whose delivery brings them up again, for ever: on a bare machine no instruction is
 * executed any more, and no interrupt taken. The hypervisor stops the VM.
 *
 * row: storms end=126 plan=no stopped="for ever" control=skip control-reason="hangs"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/machine.h"
#include "lib/string.h"

enum { DR7_L0 = 1, DR7_WRITE_8 = 9 << 16, STACK_SIZE = 4096 };

extern const uint64_t exception_entries[EXCEPTIONS];
static uint8_t stack[STACK_SIZE] __attribute__((aligned(16)));

/* A breakpoint that the delivery of #DB hits, whose stack is always the same. */
static void debug_storm(const volatile void *address, uint64_t kind)
{
    fault_idt[VECTOR_DB].ist = 2;
    memcpy(&fault_tss.ist[2], &(uint64_t){(uint64_t)stack + sizeof(stack)}, 8);
    __asm__ volatile("mov %0, %%dr0" : : "r"(address));
    __asm__ volatile("mov %0, %%dr7" : : "r"(DR7_RESET | DR7_L0 | kind));
    __asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq; nop" : : : "memory");
}

void test_main(void)
{
    if (cmdline_has("by", "data"))
        debug_storm(stack + sizeof(stack) - 8, DR7_WRITE_8);
    else
        debug_storm((const void *)exception_entries[VECTOR_DB], 0);
    guest_exit(2);
}
