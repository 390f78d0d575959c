/* Makes and ends virtual machines: memory, second-level tables, the first vCPU. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/vm.h"

#include "drivers/serial.h"
#include "lib/errno.h"
#include "lib/format.h"
#include "lib/string.h"
#include "lib/x86.h"
#include "mm/memtype.h"
#include "vmm/exits.h"
#include "vmm/guest.h"
#include "vmm/host.h"
#include "vmm/log.h"
#include "vmm/msr.h"
#include "vmm/views.h"

enum { EXIT_VALUE_MAX = 99, LOGGED_RESTARTS = 10 };

/* RAM from 0 to the hole, the rest from 4 GiB up. */
static void lay_out(struct vm *vm)
{
    uint64_t low = min_u64(vm->config->memory, GUEST_HOLE_START);
    uint64_t high = vm->config->memory - low;
    vm->ram[0] = (struct range){0, low};
    vm->ram[1] = (struct range){GUEST_HOLE_END, GUEST_HOLE_END + high};
    vm->ram_count = high > 0 ? 2 : 1;
}

static int back_with_memory(struct vm *vm)
{
    for (unsigned i = 0; i < vm->ram_count; i++) {
        unsigned count = 0;
        struct extent *next = &vm->extents[vm->extent_count];
        int error = extents_alloc(&vm->host->guest, vm->ram[i], next,
                                  VM_MAX_EXTENTS - vm->extent_count, &count);
        if (error != 0) {
            log_line("vm %s: memory = %lu KiB is more than the machine has free; lower it or add "
                     "RAM",
                     vm->config->name, vm->config->memory / KIB);
            return error;
        }
        vm->extent_count += count;
    }
    for (unsigned i = 0; i < vm->extent_count; i++) {
        const struct extent *e = &vm->extents[i];
        log_line("vm %s: memory GPA 0x%lx-0x%lx at HPA 0x%lx", vm->config->name, e->gpa.v,
                 e->gpa.v + e->size, e->hpa.v);
    }
    return 0;
}

void vm_reset_mtrrs(const struct vm *vm, struct mtrr_state *mtrr)
{
    if (vm->typing.policy.reset == KNOB_RESET_ARCHITECTURAL)
        mtrr_reset(mtrr, cpu_phys_bits());
    else
        mtrr_reset_firmware(mtrr, cpu_phys_bits());
}

/* Multiboot Specification 0.6.96, "Machine state": flat 32-bit segments, no paging, no interrupts.
 */
static int reset_vcpu(struct vcpu *vcpu)
{
    const struct seg code = {0x08, SEG_P | SEG_S | SEG_D | SEG_G | 0xb, UINT32_MAX, 0};
    const struct seg data = {0x10, SEG_P | SEG_S | SEG_D | SEG_G | 0x3, UINT32_MAX, 0};
    struct guest_state *state = &vcpu->state;
    memset(vcpu, 0, offsetof(struct vcpu, vm));
    state->rflags = RFLAGS_FIXED;
    state->cr0 = CR0_PE | CR0_ET;
    state->dr6 = DR6_RESET;
    state->dr7 = DR7_RESET;
    vcpu->pat = PAT_RESET;
    state->tsc_offset = -rdtsc();
    for (unsigned i = 0; i < SEG_LDTR; i++)
        state->seg[i] = i == SEG_CS ? code : data;
    state->seg[SEG_LDTR] = (struct seg){0, SEG_P | 0x2, 0xffff, 0};
    state->seg[SEG_TR] = (struct seg){0, SEG_P | 0xb, 0xffff, 0};
    state->gdtr = state->idtr = (struct table_reg){0, 0xffff};
    if (vcpu->vm->typing.policy.reset == KNOB_RESET_ARCHITECTURAL)
        state->cr0 |= CR0_CD | CR0_NW;
    vm_reset_mtrrs(vcpu->vm, &vcpu->mtrr);
    vcpu->hides_mtrrs = vcpu->vm->typing.policy.report == KNOB_REPORT_HIDDEN;
    msr_reset(vcpu);
    lapic_reset(&vcpu->lapic, vcpu->apic_page, 0, true);
    vcpu->walk = (struct walk_state){
        .phys_bits = vcpu->mtrr.phys_bits,
        .has_1g = (vcpu->vm->cpuid.extended[1].edx & 1u << 26) != 0,
        .reserves_bit8 = vcpu->vm->caps->reserves_bit8,
        .pdpte_valid = vcpu->vm->caps->has_pdptes,
    };
    vcpu->fetched = STATE_CR | STATE_CODE | STATE_SEG | STATE_MSR | STATE_MODE;
    vcpu->changed = vcpu->fetched | STATE_EVENTS;
    vcpu->vm->ops->vcpu_reset(vcpu);
    return views_reset(vcpu);
}

/* A port that the log has: on a machine with one port, lines of both go there. */
static enum config_port serial_of(const struct vm_config *config)
{
    enum config_port port = config->serial;
    bool shared =
        (port == PORT_COM1 && log_port() == COM1) || (port == PORT_COM2 && log_port() == COM2);
    return shared ? PORT_LOG : port;
}

static int create_vcpus(struct vm *vm)
{
    static_assert(sizeof(*vm->vcpus) <= PAGE_SIZE, "one page");
    vm->vcpus = frames_alloc(&vm->host->frames, 1);
    if (vm->vcpus == NULL)
        return -ENOMEM;
    vm->vcpu_count = 1;
    vm->vcpus->vm = vm;
    vm->vcpus->cpu = this_cpu();
    vm->vcpus->cpu_index = this_cpu()->index;
    vm->vcpus->apic_page = frames_alloc(&vm->host->frames, 1);
    if (vm->vcpus->apic_page == NULL)
        return -ENOMEM;
    return vm->ops->vcpu_create(vm->vcpus);
}

int vm_create(struct vm *vm, const struct vm_config *config, struct host *host)
{
    vm->config = config;
    vm->host = host;
    vm->most_tables = UINT32_MAX;
    vm->cr4_allowed = cr4_allowed();
    lay_out(vm);
    int error = back_with_memory(vm);
    if (error != 0)
        return error;
    uart_init(&vm->uart, serial_of(config), config->name);
    error = create_vcpus(vm);
    if (error != 0) {
        log_line("vm %s: no memory for its vCPU", config->name);
        return error;
    }
    cpuid_init(vm);
    error = views_init(vm);
    if (error == 0)
        error = reset_vcpu(vm->vcpus);
    if (error == 0)
        views_log(vm);
    return error;
}

void vm_exit_value(struct vm *vm, unsigned value)
{
    uart_flush(&vm->uart);
    if (value > EXIT_VALUE_MAX)
        log_line("vm %s: exit value %u is larger than %u", vm->config->name, value, EXIT_VALUE_MAX);
    log_line("exit: vm %s value %u", vm->config->name, value);
    vm->state = VM_EXITED;
}

static void log_seg(const char *name, const struct seg *seg)
{
    log_line("  %s %04x base %016lx limit %08x attr %04x", name, seg->selector, seg->base,
             seg->limit, seg->attr);
}

static void log_state(struct vcpu *vcpu)
{
    const struct guest_state *s = &vcpu->state;
    const uint64_t *r = s->gpr;
    vcpu_fetch(vcpu, STATE_CR | STATE_MODE | STATE_CODE | STATE_SEG);
    log_line("  rip %016lx rflags %lx cpl %u", s->rip, s->rflags, s->cpl);
    for (unsigned i = 0; i < GPRS; i += 4)
        log_line("  r%-2u %016lx %016lx %016lx %016lx", i, r[i], r[i + 1], r[i + 2], r[i + 3]);
    log_line("  cr0 %lx cr2 %lx cr3 %lx cr4 %lx efer %lx", s->cr0, s->cr2, s->cr3, s->cr4, s->efer);
    log_seg("cs", &s->seg[SEG_CS]);
    log_seg("ss", &s->seg[SEG_SS]);
}

void vm_stop(struct vm *vm, const char *fmt, ...)
{
    char reason[128];
    va_list args;
    if (vm->state != VM_RUNNING)
        return;
    va_start(args, fmt);
    format_v(reason, sizeof(reason), fmt, args);
    va_end(args);
    uart_flush(&vm->uart);
    log_line("stopped: vm %s %s", vm->config->name, reason);
    log_state(vm->vcpus);
    vm->state = VM_STOPPED;
}

void vm_begin_reset(struct vm *vm, const char *why)
{
    if (vm->state != VM_RUNNING)
        return;
    uint64_t n = ++vm->restarts;
    if (n <= LOGGED_RESTARTS || (n & (n - 1)) == 0) /* one without end must not flood the log */
        log_line("vm %s: reset by %s: restart %lu", vm->config->name, why, n);
    vm->state = VM_RESETTING;
}

void vm_reset(struct vm *vm, const char *why)
{
    if (vm->config->on_reset == ON_RESET_STOP) {
        log_line("vm %s: reset by %s", vm->config->name, why);
        vm_stop(vm, "reset");
    } else {
        vm_begin_reset(vm, why);
    }
}

bool vm_restart(struct vm *vm)
{
    if (vm->state != VM_RESETTING)
        return false;
    vm->state = VM_RUNNING;
    uart_reset(&vm->uart);
    if (reset_vcpu(vm->vcpus) != 0 || guest_load(vm, vm->boot) != 0)
        vm_stop(vm, "it cannot be started again");
    return vm->state == VM_RUNNING;
}
