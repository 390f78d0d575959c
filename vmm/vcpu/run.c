/* The run loop of a vCPU: enter, look at the exit, do what its kind asks for. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/assert.h"
#include "lib/x86.h"
#include "vmm/vcpu/exits.h"
#include "vmm/host/fpu.h"
#include "vmm/vcpu/interrupts.h"
#include "vmm/host/log.h"
#include "vmm/instruments/monitor.h"
#include "vmm/host/request.h"
#include "vmm/host/timer.h"
#include "vmm/instruments/trace.h"
#include "vmm/host/traps.h"
#include "vmm/typing/views.h"
#include "vmm/host/watchdog.h"

static const char *const kind_names[EXIT_KINDS] = {
    [EXIT_NONE] = "none",
    [EXIT_CPUID] = "CPUID",
    [EXIT_RDMSR] = "RDMSR",
    [EXIT_WRMSR] = "WRMSR",
    [EXIT_CR] = "CR",
    [EXIT_APIC] = "APIC",
    [EXIT_XSETBV] = "XSETBV",
    [EXIT_IO] = "I/O",
    [EXIT_HLT] = "HLT",
    [EXIT_FREEZE] = "freeze",
    [EXIT_INVD] = "INVD",
    [EXIT_WBINVD] = "WBINVD",
    [EXIT_HYPERCALL] = "hypercall",
    [EXIT_UNDEFINED] = "undefined",
    [EXIT_PRIVILEGED] = "privileged",
    [EXIT_MEMORY] = "memory",
    [EXIT_EXCEPTION] = "exception",
    [EXIT_TRIPLE_FAULT] = "triple fault",
    [EXIT_INIT] = "INIT",
    [EXIT_INTERRUPT] = "interrupt",
    [EXIT_WINDOW] = "window",
    [EXIT_FAILED] = "failed",
    [EXIT_UNKNOWN] = "unknown",
};

const char *exit_kind_name(unsigned kind)
{
    return kind_names[kind];
}

static void exit_none(struct vcpu *vcpu, const struct vm_exit *exit)
{
    (void)vcpu, (void)exit;
}

/*
 * It exits on all CPUs: SVM does not say after another exit that the guest had halted, which would
 * go on behind its HLT with no interrupt taken; and who halts for good is to be told at once.
 * A single step is taken behind it at once, and ends it (SDM, "HLT").
 */
static void exit_hlt(struct vcpu *vcpu, const struct vm_exit *exit)
{
    uint64_t next = vcpu_next_rip(vcpu, INSN_HLT);
    (void)exit;
    if (next == 0)
        return;
    if ((vcpu->state.rflags & RFLAGS_TF) != 0 || vcpu_wait(vcpu))
        vcpu_skip(vcpu, next);
    else
        vcpu_wait_for_startup(vcpu);
}

static void exit_freeze(struct vcpu *vcpu, const struct vm_exit *exit)
{
    (void)exit;
    if (!vcpu_wait(vcpu))
        vcpu_wait_for_startup(vcpu);
}

/* INVD discards nothing: it becomes WBINVD, which is made where there is anything to write back. */
static void exit_invd(struct vcpu *vcpu, const struct vm_exit *exit)
{
    struct insn insn;
    uint64_t next = exit->next_rip;
    if (next == 0) {
        if (!vcpu_decode(vcpu, &insn))
            return;
        if (insn.op != INSN_INVD && insn.op != INSN_WBINVD) {
            vcpu_stop_changed(vcpu);
            return;
        }
        next = vcpu->state.rip + insn.length;
    }
    views_wbinvd(vcpu->vm);
    vcpu_skip(vcpu, next);
}

static void exit_undefined(struct vcpu *vcpu, const struct vm_exit *exit)
{
    (void)exit;
    vcpu_raise(vcpu, VECTOR_UD, 0);
}

static void exit_privileged(struct vcpu *vcpu, const struct vm_exit *exit)
{
    (void)exit;
    vcpu_raise(vcpu, VECTOR_GP, 0);
}

static void exit_triple_fault(struct vcpu *vcpu, const struct vm_exit *exit)
{
    (void)exit;
    vm_reset(vcpu->vm, "triple fault");
}

/* No one sends INITs to this CPU: nothing could be done but to go back to the firmware. */
static void exit_init(struct vcpu *vcpu, const struct vm_exit *exit)
{
    (void)exit;
    vm_stop(vcpu->vm, "an INIT signal came to its CPU");
}

/* Here alone the host takes interrupts while guests run: none comes in the midst of anything. */
static void exit_interrupt(struct vcpu *vcpu, const struct vm_exit *exit)
{
    (void)exit;
    traps_take_interrupts();
    request_serve(vcpu->cpu_index);
    views_look_at_split(vcpu->vm);
    views_return(vcpu);
    vcpu->timer_due = 0; /* it may have been the timer's */
    vcpu->changed |= STATE_EVENTS;
    (void)vcpu_take_mail(vcpu);
    vcpu_wait_for_startup(vcpu);
    monitor_poll(vcpu);
}

static void exit_window(struct vcpu *vcpu, const struct vm_exit *exit)
{
    (void)exit;
    vcpu->changed |= STATE_EVENTS;
}

static void exit_fatal(struct vcpu *vcpu, const struct vm_exit *exit)
{
    vm_stop(vcpu->vm, "%s exit, code 0x%lx", kind_names[exit->kind], exit->code);
    vcpu->vm->ops->dump(vcpu);
}

static exit_handler *const handlers[EXIT_KINDS] = {
    [EXIT_NONE] = exit_none,
    [EXIT_CPUID] = exit_cpuid,
    [EXIT_RDMSR] = exit_rdmsr,
    [EXIT_WRMSR] = exit_wrmsr,
    [EXIT_CR] = exit_cr,
    [EXIT_APIC] = exit_apic,
    [EXIT_XSETBV] = exit_xsetbv,
    [EXIT_IO] = exit_io,
    [EXIT_HLT] = exit_hlt,
    [EXIT_FREEZE] = exit_freeze,
    [EXIT_INVD] = exit_invd,
    [EXIT_WBINVD] = exit_invd,
    [EXIT_HYPERCALL] = exit_hypercall,
    [EXIT_UNDEFINED] = exit_undefined,
    [EXIT_PRIVILEGED] = exit_privileged,
    [EXIT_MEMORY] = exit_memory,
    [EXIT_EXCEPTION] = exit_exception,
    [EXIT_TRIPLE_FAULT] = exit_triple_fault,
    [EXIT_INIT] = exit_init,
    [EXIT_INTERRUPT] = exit_interrupt,
    [EXIT_WINDOW] = exit_window,
    [EXIT_FAILED] = exit_fatal,
    [EXIT_UNKNOWN] = exit_fatal,
};

/* Of all vCPUs together: what is at OFFSET of each. */
static uint64_t total(const struct vm *vm, size_t offset)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        sum += *(const uint64_t *)(const void *)((const char *)vm->vcpus[i] + offset);
    return sum;
}

#define TOTAL(vm, field) total(vm, offsetof(struct vcpu, field))

static void log_exits(const struct vm *vm)
{
    const char *name = vm->config->name;
    for (unsigned kind = 0; kind < EXIT_KINDS; kind++) {
        uint64_t exits = total(vm, offsetof(struct vcpu, exits) + kind * sizeof(uint64_t));
        if (exits != 0)
            log_line("vm %s: exits %s %lu", name, kind_names[kind], exits);
    }
    views_log_changes(vm);
    log_line("vm %s: hole %lu reads %lu writes, unassigned ports %lu reads %lu writes", name,
             TOTAL(vm, hole_reads), TOTAL(vm, hole_writes), TOTAL(vm, port_reads),
             TOTAL(vm, port_writes));
}

/* Until the VM ends or is to be reset. */
static void run_until_end_or_reset(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    struct vm_exit *exit = &vcpu->exit;
    while (vm->state == VM_RUNNING) {
        if (vcpu->changed != 0) {
            if ((vcpu->changed & STATE_EVENTS) != 0)
                vcpu_settle(vcpu);
            vm->ops->commit(vcpu, vcpu->changed);
            vcpu->changed = vcpu->again;
        }
        vcpu->fetched = 0;
        vcpu->run(vcpu);
        assert(exit->kind < EXIT_KINDS);
        vcpu->exits[exit->kind]++;
        handlers[exit->kind](vcpu, exit);
    }
}

void vcpu_run(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    assert(vcpu->cpu == this_cpu());
    watchdog_follow(vcpu);
    vcpu->cpu->vcpu = vcpu;
    trace_follow(vcpu);
    if (vcpu->index == 0)
        log_line("vm %s: first entry after %lu ticks", vm->config->name, log_ticks());
    do {
        fpu_reset();
        vcpu_wait_for_startup(vcpu);
        monitor_poll(vcpu); /* what was typed behind a command that reset the VM */
        run_until_end_or_reset(vcpu);
        views_leave(vcpu);
    } while (vm_restart(vcpu));
    trace_dump();
    vcpu->cpu->vcpu = NULL;
    timer_set(UINT64_MAX);
    if (vcpu->index != 0)
        return;
    log_exits(vm);
    vm_show_screen(vm);
}
