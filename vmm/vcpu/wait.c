/* What a vCPU's CPU does while its guest does nothing. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/rare.h"
#include "vmm/vcpu/interrupts.h"
#include "vmm/instruments/monitor.h"
#include "vmm/host/request.h"
#include "vmm/host/timer.h"
#include "vmm/typing/views.h"

/*
 * A vCPU is asleep where nothing of its own can wake it. When all of a VM are, and nothing that one
 * of them has sent is on its way, none ever wakes. The count is in the lower half of vm->asleep;
 * the upper one changes whenever one wakes, which is before it looks what has come.
 */
#define ASLEEP_ONE  1ull
#define ASLEEP_WOKE (1ull << 32)

static bool any_mail(const struct vm *vm)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        if (__atomic_load_n(&vm->vcpus[i]->mail.flags, __ATOMIC_SEQ_CST) != 0)
            return true;
    return false;
}

/* False: for good, and for all vCPUs of the VM. */
static bool fall_asleep(struct vm *vm)
{
    uint64_t now = __atomic_add_fetch(&vm->asleep, ASLEEP_ONE, __ATOMIC_SEQ_CST);
    return (uint32_t)now != vm->vcpu_count || any_mail(vm) ||
           __atomic_load_n(&vm->asleep, __ATOMIC_SEQ_CST) != now;
}

static void wake_up(struct vm *vm)
{
    (void)__atomic_add_fetch(&vm->asleep, ASLEEP_WOKE - ASLEEP_ONE, __ATOMIC_SEQ_CST);
}

/* What comes between the looks and the HLT is not lost: interrupts stay off until that. */
RARE void vcpu_pause(struct vcpu *vcpu, bool asleep)
{
    struct vm *vm = vcpu->vm;
    if (asleep && !fall_asleep(vm)) {
        vm_stop(vm, "halted for good");
        return;
    }
    if (!request_is_posted(vcpu->cpu_index) &&
        __atomic_load_n(&vcpu->mail.flags, __ATOMIC_ACQUIRE) == 0)
        timer_wait();
    if (asleep)
        wake_up(vm);
    vcpu->timer_due = 0; /* it may have been the timer's */
    request_serve(vcpu->cpu_index);
    views_look_at_split(vm);
    views_return(vcpu);
    monitor_poll(vcpu);
}

void vcpu_wait_for_startup(struct vcpu *vcpu)
{
    while (vcpu->vm->state == VM_RUNNING && vcpu->waits) {
        vcpu_pause(vcpu, true);
        (void)vcpu_take_mail(vcpu);
    }
}
