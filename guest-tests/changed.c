/*
 * A MOV to CR0 that is a MOV to CR2 when the hypervisor looks: the entry of its page becomes
 * another while the CPU still has the old translation. A CPU that says what it executed lets the
 * guest go on; else the VM must be stopped, and nothing else. So there is no row:
 * tests/system/test_endings.py runs it.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/assert.h"
#include "lib/string.h"
#include "lib/x86.h"

extern uint64_t window_table[WINDOW_PAGES];

static _Alignas(4096) uint8_t pages[2][4096];

static void changed_entry(void)
{
    static const uint8_t before[] = {0x48, 0x89, 0x37, /* mov [rdi], rsi */
                                     0x0f, 0x22, 0xc0, /* mov cr0, rax */
                                     0xc3};
    const uint8_t mov_to_cr2 = 0xd0;
    uint64_t cr0 = read_cr0(), flags = PAGE_P | PAGE_W;
    memcpy(pages[0], before, sizeof(before));
    memcpy(pages[1], before, sizeof(before));
    pages[1][5] = mov_to_cr2;
    const volatile void *code = window_map(0, (uint64_t)pages[0], flags);
    __asm__ volatile("call *%0"
                     :
                     : "r"(code), "D"(&window_table[0]), "S"((uint64_t)pages[1] | flags), "a"(cr0)
                     : "memory");
    expect(read_cr0() == cr0, "CR0 %lx, not %lx", read_cr0(), cr0);
}

static const struct test_case cases[] = {{"an entry that changes", NULL, changed_entry}};

void test_main(void)
{
    ktap_all(cases, ARRAY_SIZE(cases));
}
