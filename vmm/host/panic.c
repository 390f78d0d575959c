/* The end of the machine: registers, a backtrace with names, and the last line of the log. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/panic.h"

#include "lib/assert.h"
#include "lib/format.h"
#include "lib/x86.h"
#include "vmm/host/cpu.h"
#include "vmm/host/layout.h"
#include "vmm/host/log.h"
#include "vmm/host/smp.h"
#include "vmm/host/symbols.h"
#include "vmm/host/watchdog.h"

/* Index + 1 of the CPU that reports; 0: none. */
static uint32_t panicking;

static noreturn void halt(void)
{
    for (;;)
        __asm__ volatile("cli; hlt");
}

noreturn void end_halt(const char *reason)
{
    log_line("end: %s", reason);
    log_drain();
    halt();
}

static bool is_text(uint64_t rip)
{
    return rip >= (uint64_t)image_start && rip < (uint64_t)text_end;
}

static void log_place(const char *what, uint64_t rip)
{
    uint64_t offset;
    const char *name = symbol_at(rip, &offset);
    log_line("  %s %016lx %s+0x%lx", what, rip, name, offset);
}

/* A frame pointer is believed while it rises, stays near, and its return address lies in the text.
 */
static void backtrace(const uint64_t *frame)
{
    for (unsigned depth = 0; depth < 24; depth++) {
        uint64_t at = (uint64_t)frame;
        if (at < IMAGE_VA || !is_aligned(at, 8) || !is_text(frame[1]))
            return;
        log_place("from", frame[1] - 1);
        const uint64_t *next = (const uint64_t *)frame[0];
        if (next <= frame || (uint64_t)next - at > MAIN_STACK_SIZE)
            return;
        frame = next;
    }
}

void panic_stop_if_elsewhere(void)
{
    uint32_t who = __atomic_load_n(&panicking, __ATOMIC_ACQUIRE);
    if (who == 0 || who == this_cpu()->index + 1)
        return;
    smp_stopped();
    halt();
}

/*
 * A panic in a panic halts at once: its own report is what failed. Of two CPUs the first one
 * reports, and stops all others, so that its report is whole and what it tells of stays.
 */
static void begin(void)
{
    uint32_t who = 0;
    __asm__ volatile("cli");
    if (!__atomic_compare_exchange_n(&panicking, &who, this_cpu()->index + 1, false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        panic_stop_if_elsewhere();
        end_halt("panic");
    }
    watchdog_stop();
    smp_stop_others();
    log_seize();
    log_around(NULL, NULL); /* the monitor may have been at work */
    log_keep(true);
}

noreturn void panic(const char *fmt, ...)
{
    char text[200];
    va_list args;
    begin();
    va_start(args, fmt);
    format_v(text, sizeof(text), fmt, args);
    va_end(args);
    log_line("panic: %s", text);
    backtrace(__builtin_frame_address(0));
    end_halt("panic");
}

noreturn void assert_failed(const char *what, const char *file, int line)
{
    panic("%s:%d: assertion failed: %s", file, line, what);
}

static void log_registers(const struct trap_frame *f)
{
    log_line("  rax %016lx rbx %016lx rcx %016lx rdx %016lx", f->rax, f->rbx, f->rcx, f->rdx);
    log_line("  rsi %016lx rdi %016lx rbp %016lx rsp %016lx", f->rsi, f->rdi, f->rbp, f->rsp);
    log_line("  r8  %016lx r9  %016lx r10 %016lx r11 %016lx", f->r8, f->r9, f->r10, f->r11);
    log_line("  r12 %016lx r13 %016lx r14 %016lx r15 %016lx", f->r12, f->r13, f->r14, f->r15);
    log_line("  rflags %lx cs %lx ss %lx cr0 %lx cr2 %lx cr3 %lx cr4 %lx", f->rflags, f->cs, f->ss,
             read_cr0(), read_cr2(), read_cr3(), read_cr4());
}

static noreturn void report(const struct trap_frame *frame)
{
    log_registers(frame);
    log_place("at  ", frame->rip);
    backtrace((const uint64_t *)frame->rbp);
    end_halt("panic");
}

noreturn void panic_trap(const struct trap_frame *frame)
{
    begin();
    log_line("panic: %s, vector %lu error %lx at rip %016lx", trap_name(frame->vector),
             frame->vector, frame->error, frame->rip);
    report(frame);
}

noreturn void panic_stuck(const struct trap_frame *frame)
{
    begin();
    log_line("panic: CPU %u is stuck in the hypervisor: it has not answered for a second",
             this_cpu()->index);
    report(frame);
}
