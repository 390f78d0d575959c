/* The tables that modes need, and the way into a mode and back. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/mode.h"

#include "guest-tests/runtime/machine.h"
#include "lib/assert.h"
#include "lib/string.h"
#include "mm/types.h"

enum { PAGE_PWU = 7, PAGE_LARGE = 0x80, UD2_SIZE = 2 };
enum { SEL_BASED32 = 0x58, TSS_AVAILABLE = 0x89, PORTS = 0x10000 };

/* As in mode.asm. */
struct mode_box {
    uint64_t gpr[GPRS], rflags;
    uint32_t vector, error;
    uint64_t rip;
    uint32_t code;
    uint16_t selector, unused;
    uint32_t cr0, cr3, cr4, efer, kind;
    uint16_t idt_limit;
    uint16_t idt_base[2];
    uint16_t unused2[3];
    uint32_t old[4];
    uint64_t code_64;
};
static_assert(offsetof(struct mode_box, rip) == 144, "BOX_RIP");
static_assert(offsetof(struct mode_box, idt_limit) == 180, "BOX_IDT");
static_assert(offsetof(struct mode_box, code_64) == 208, "BOX_CODE64");

/* SDM, "Task-State Segment (TSS)", with a bit for each port, and the byte of ones behind them. */
struct tss32 {
    uint32_t link, esp0, ss0, rest[22];
    uint16_t trap, io_map;
    uint8_t ports[PORTS / 8 + 1];
} __attribute__((packed));
static_assert(offsetof(struct tss32, ports) == 104, "SDM, \"Task-State Segment (TSS)\"");

static struct tss32 tss32;

uint32_t mode_directory_4k[1024] __attribute__((aligned(PAGE_SIZE)));
uint32_t mode_directory_pse[1024] __attribute__((aligned(PAGE_SIZE)));
uint64_t mode_pdpt[4] __attribute__((aligned(32)));
uint64_t mode_pml5[512] __attribute__((aligned(PAGE_SIZE)));
static uint32_t first_table[1024] __attribute__((aligned(PAGE_SIZE)));
static uint32_t hole_table[1024] __attribute__((aligned(PAGE_SIZE)));

extern uint8_t low_start[], low_end[];
extern uint64_t low_tss[], low_based[];
extern uint8_t low_real_idt[], low_idt32[], low_idt64[];
extern uint64_t page_directories[4][512];
extern uint64_t page_table[512];
void mode_enter(void);

static void *low(const void *place)
{
    return (void *)(uintptr_t)(LOW + ((const uint8_t *)place - low_start));
}

static void make_tables(void)
{
    for (uint32_t i = 0; i < 1024; i++) {
        first_table[i] = i * (uint32_t)PAGE_SIZE | PAGE_PWU;
        hole_table[i] = (MODE_HOLE + i * (uint32_t)PAGE_SIZE) | PAGE_PWU;
        mode_directory_pse[i] = i << 22 | PAGE_LARGE | PAGE_PWU;
    }
    first_table[LOW_HOLE / PAGE_SIZE] = MODE_HOLE | PAGE_PWU;
    mode_directory_4k[0] = mode_directory_pse[0] = (uint32_t)(uintptr_t)first_table | PAGE_PWU;
    mode_directory_4k[MODE_HOLE >> 22] = (uint32_t)(uintptr_t)hole_table | PAGE_PWU;
    for (unsigned i = 0; i < 4; i++)
        mode_pdpt[i] = (uint64_t)page_directories[i] | PAGE_P;
    page_table[LOW_HOLE / PAGE_SIZE] = MODE_HOLE | PAGE_PWU;
    mode_pml5[0] = read_cr3() | PAGE_PWU;
    invlpg((void *)(uintptr_t)LOW_HOLE);
}

static void make_tss(void)
{
    uint64_t base = (uint64_t)&tss32;
    tss32.esp0 = LOW + 0xff00;
    tss32.io_map = offsetof(struct tss32, ports);
    tss32.ports[MODE_DENIED_PORT / 8] = 1 << MODE_DENIED_PORT % 8;
    tss32.ports[PORTS / 8] = 0xff;
    *(uint64_t *)low(low_tss) = (sizeof(tss32) - 1) | (base & 0xffffff) << 16 |
                                (uint64_t)TSS_AVAILABLE << 40 | (base >> 24 & 0xff) << 56;
}

uint32_t mode_tss(void)
{
    return (uint32_t)(uintptr_t)low(low_tss);
}

void mode_init(void)
{
    assert((size_t)(low_end - low_start) <= MODE_CODE);
    memcpy((void *)(uintptr_t)LOW, low_start, (size_t)(low_end - low_start));
    make_tables();
    make_tss();
}

static bool in_long_mode(const struct mode *mode)
{
    return (mode->efer & EFER_LME) != 0 && (mode->cr0 & CR0_PG) != 0;
}

static void set_idt(struct mode_box *box, const struct mode *mode)
{
    bool real = mode->kind == MODE_REAL || mode->kind == MODE_BIG_REAL;
    bool is_long = in_long_mode(mode);
    void *idt = low(real ? low_real_idt : is_long ? low_idt64 : low_idt32);
    box->idt_limit = (uint16_t)(32 * (real ? 4 : is_long ? 16 : 8) - 1);
    box->idt_base[0] = (uint16_t)(uintptr_t)idt;
    box->idt_base[1] = (uint16_t)((uintptr_t)idt >> 16);
}

uint64_t mode_length(const struct mode *mode, const struct mode_code *code)
{
    return code->size[mode->bits / 32] - UD2_SIZE;
}

/* Where RIP is as the code begins, and with what CS. */
static uint32_t place(struct mode_box *box, const struct mode *mode, const struct mode_code *code,
                      uint32_t at)
{
    bool offset = mode->bits == 16;
    box->selector = SEL_CODE32;
    box->code = offset ? at : LOW + at;
    if (mode->based) {
        uint32_t first = code->first != 0 ? code->first : (uint32_t)mode_length(mode, code);
        uint32_t base = LOW + at + first;
        uint64_t *descriptor = low(low_based);
        *descriptor =
            0x00cf9b000000ffff | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(base >> 24) << 56;
        box->selector = SEL_BASED32;
        box->code = -first;
    }
    box->code_64 = box->code;
    return box->code;
}

static struct mode_box *box_at_low(void)
{
    uintptr_t address = LOW;
    __asm__("" : "+r"(address)); /* an object there is unknown to the compiler */
    return (struct mode_box *)address;
}

struct fault mode_run(const struct mode *mode, const struct mode_code *code, uint32_t at,
                      struct registers *registers)
{
    struct mode_box *box = box_at_low();
    uint32_t start = place(box, mode, code, at);
    bool real = mode->kind == MODE_REAL || mode->kind == MODE_BIG_REAL;
    memcpy((uint8_t *)box + at, code->code[mode->bits / 32], code->size[mode->bits / 32]);
    memcpy(box->gpr, registers->gpr, sizeof(box->gpr));
    box->rflags = registers->rflags | (mode->kind == MODE_V86 ? RFLAGS_VM : 0);
    box->cr0 = (uint32_t)((read_cr0() & ~CR0_PG) | mode->cr0);
    box->cr3 = (uint32_t)mode->cr3;
    box->cr4 = (uint32_t)((read_cr4() & ~CR4_PAE) | mode->cr4);
    box->efer = (uint32_t)((rdmsr(MSR_EFER) & ~(EFER_LME | EFER_LMA)) | mode->efer);
    box->kind = mode->kind;
    tss32.ss0 = in_long_mode(mode) ? 0 : SEL_DATA; /* in long mode the top of RSP0 */
    set_idt(box, mode);
    mode_enter();
    memcpy(registers->gpr, box->gpr, sizeof(box->gpr));
    registers->rflags = box->rflags;
    struct fault fault = {.vector = (int)box->vector, .error = box->error, .cr2 = read_cr2()};
    fault.rip = real               ? (uint16_t)(box->rip - start)
                : mode->bits == 64 ? box->rip - start
                                   : (uint32_t)(box->rip - start);
    if (fault.vector == VECTOR_UD && fault.rip == mode_length(mode, code))
        fault.vector = FAULT_NONE;
    return fault;
}

uint64_t mode_tables(const struct mode *mode)
{
    return (mode->cr4 & CR4_LA57) != 0    ? (uint64_t)mode_pml5
           : (mode->efer & EFER_LME) != 0 ? read_cr3()
           : (mode->cr4 & CR4_PAE) != 0   ? (uint64_t)mode_pdpt
           : (mode->cr4 & CR4_PSE) != 0   ? (uint64_t)mode_directory_pse
                                          : (uint64_t)mode_directory_4k;
}
