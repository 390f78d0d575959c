/* Makes and ends virtual machines: memory, second-level tables, vCPUs. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/vm.h"

#include "lib/errno.h"
#include "lib/format.h"
#include "lib/string.h"
#include "lib/assert.h"
#include "lib/x86.h"
#include "mm/memtype.h"
#include "vmm/vcpu/exits.h"
#include "vmm/guest.h"
#include "vmm/host/host.h"
#include "vmm/passthrough/identity.h"
#include "vmm/host/log.h"
#include "vmm/passthrough/passthrough.h"
#include "vmm/host/request.h"
#include "vmm/host/smp.h"
#include "vmm/typing/views.h"

enum { EXIT_VALUE_MAX = 99, LOGGED_RESTARTS = 10 };

/* RAM from 0 to the hole, the rest from 4 GiB up. */
static void lay_out(struct vm *vm)
{
    uint64_t low = min_u64(vm->config->memory, GUEST_HOLE_START);
    uint64_t high = vm->config->memory - low;
    vm->ram[0] = (struct range){0, low};
    vm->ram[1] = (struct range){GUEST_HOLE_END, GUEST_HOLE_END + high};
    vm->ram_count = high > 0 ? 2 : 1;
    vm->low_end = IMAGE_LOW_END;
}

static int back_ranges(struct vm *vm)
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
    return 0;
}

static int back_with_memory(struct vm *vm, const struct config *all)
{
    lay_out(vm);
    int error = config_at_own_addresses(all, vm->config) ? identity_back(vm) : back_ranges(vm);
    for (unsigned i = 0; i < vm->extent_count && error == 0; i++) {
        const struct extent *e = &vm->extents[i];
        log_line("vm %s: memory GPA 0x%lx-0x%lx at HPA 0x%lx", vm->config->name, e->gpa.v,
                 e->gpa.v + e->size, e->hpa.v);
    }
    return error;
}

void vm_reset_mtrrs(const struct vm *vm, struct mtrr_state *mtrr)
{
    if (vm->map.typing.policy.reset == KNOB_RESET_ARCHITECTURAL)
        mtrr_reset(mtrr, cpu_phys_bits());
    else
        mtrr_reset_firmware(mtrr, cpu_phys_bits());
}

unsigned vm_address_bits(const struct vm *vm)
{
    (void)vm;
    return cpu_phys_bits();
}

int vm_create(struct vm *vm, const struct config *all, const struct vm_config *config,
              struct host *host)
{
    vm->config = config;
    vm->host = host;
    vm->most_tables = UINT32_MAX;
    vm->cr4_allowed = cr4_allowed();
    vm->tsc_offset = -rdtsc();
    int error = back_with_memory(vm, all);
    if (error != 0)
        return error;
    devices_create(vm);
    cpuid_init(vm);
    error = passthrough_create(vm, all);
    return error != 0 ? error : views_init(vm);
}

int vm_add_vcpu(struct vm *vm, uint32_t index)
{
    struct vcpu *vcpu = frames_alloc(&vm->host->frames, 1);
    static_assert(sizeof(*vcpu) <= PAGE_SIZE, "one page");
    assert(index == vm->vcpu_count);
    if (vcpu != NULL) {
        vcpu->vm = vm;
        vcpu->index = index;
        vcpu->cpu = this_cpu();
        vcpu->cpu_index = this_cpu()->index;
        vcpu->apic_page = frames_alloc(&vm->host->frames, 1);
    }
    if (vcpu == NULL || vcpu->apic_page == NULL || vm->ops->vcpu_create(vcpu) != 0) {
        log_line("vm %s: no memory for vCPU %u", vm->config->name, index);
        return -ENOMEM;
    }
    vm->vcpus[index] = vcpu;
    vm->lapics[index] = &vcpu->lapic;
    vm->cpus.bits |= 1ull << vcpu->cpu_index;
    vm->vcpu_count++;
    int error = passthrough_prepare_cpu(vm);
    return error != 0 ? error : vcpu_reset(vcpu);
}

/* --- the end ---------------------------------------------------------------------------------- */

void vm_kick_others(const struct vm *vm)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        if (vm->vcpus[i]->cpu_index != this_cpu()->index)
            request_kick(vm->vcpus[i]->cpu_index);
}

/* True where the caller is the one who has ended it. */
static bool leave(struct vm *vm, enum vm_state to)
{
    enum vm_state from = VM_RUNNING;
    if (!__atomic_compare_exchange_n(&vm->state, &from, to, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        return false;
    vm_kick_others(vm);
    return true;
}

static void flush_serial(struct vm *vm)
{
    lock_take(&vm->lock);
    devices_flush(vm);
    lock_release(&vm->lock);
}

void vm_exit_value(struct vm *vm, unsigned value)
{
    if (!leave(vm, VM_EXITED))
        return;
    flush_serial(vm);
    if (value > EXIT_VALUE_MAX)
        log_line("vm %s: exit value %u is larger than %u", vm->config->name, value, EXIT_VALUE_MAX);
    log_line("exit: vm %s value %u", vm->config->name, value);
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
    if (vcpu->vm->vcpu_count > 1)
        log_line("  vCPU %u on CPU %u", vcpu->index, vcpu->cpu_index);
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
    if (!leave(vm, VM_STOPPED))
        return;
    va_start(args, fmt);
    format_v(reason, sizeof(reason), fmt, args);
    va_end(args);
    flush_serial(vm);
    log_line("stopped: vm %s %s", vm->config->name, reason);
    log_state(this_cpu()->vcpu);
}

void vm_begin_reset(struct vm *vm, const char *why)
{
    if (!leave(vm, VM_RESETTING))
        return;
    uint64_t n = ++vm->restarts;
    if (n <= LOGGED_RESTARTS || (n & (n - 1)) == 0) /* one without end must not flood the log */
        log_line("vm %s: reset by %s: restart %lu", vm->config->name, why, n);
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

/* On the boot CPU, while all others wait. */
static void reset_all(struct vm *vm)
{
    vm->state = VM_RUNNING;
    vm->asleep = 0;
    vm->tsc_offset = -rdtsc();
    devices_reset(vm);
    passthrough_reset(vm);
    if (vcpu_reset(vm->vcpus[0]) != 0 || guest_load(vm, vm->boot) != 0)
        vm_stop(vm, "it cannot be started again");
}

static bool all_others_are_in(const unsigned *count)
{
    return __atomic_load_n(count, __ATOMIC_ACQUIRE) == this_cpu()->vcpu->vm->vcpu_count - 1;
}

static bool others_have_met(void)
{
    return all_others_are_in(&this_cpu()->vcpu->vm->met);
}

static bool others_are_ready(void)
{
    return all_others_are_in(&this_cpu()->vcpu->vm->ready);
}

static bool has_gone_on(void)
{
    const struct vcpu *vcpu = this_cpu()->vcpu;
    return __atomic_load_n(&vcpu->vm->rounds, __ATOMIC_ACQUIRE) != vcpu->round;
}

/* Says for all whether the VM goes on: its state may have changed again when they look at it. */
static void lead(struct vm *vm)
{
    smp_wait(others_have_met);
    vm->over = vm->state != VM_RESETTING;
    if (vm->over)
        passthrough_end(vm);
    else
        reset_all(vm);
    vm->met = vm->ready = 0;
    (void)__atomic_add_fetch(&vm->rounds, 1, __ATOMIC_ACQ_REL);
    vm_kick_others(vm);
    if (!vm->over)
        smp_wait(others_are_ready); /* for what its guest sends them */
}

static void tell_boot_cpu(const struct vm *vm, unsigned *count)
{
    (void)__atomic_add_fetch(count, 1, __ATOMIC_ACQ_REL);
    request_kick(vm->vcpus[0]->cpu_index);
}

static void follow(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    tell_boot_cpu(vm, &vm->met);
    smp_wait(has_gone_on);
    vcpu->round++;
    if (vm->over)
        return;
    views_wbinvd(vm);       /* what the new guest's devices write is not to be overwritten later */
    (void)vcpu_reset(vcpu); /* it has no view, of which there could be too few tables */
    tell_boot_cpu(vm, &vm->ready);
}

bool vm_restart(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    assert(vm->state != VM_RUNNING);
    if (vcpu->index == 0)
        lead(vm);
    else
        follow(vcpu);
    return !vm->over;
}
