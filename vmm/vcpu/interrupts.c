/* How a guest's interrupts get from its local APIC to its CPU. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/vcpu/interrupts.h"

#include "lib/rare.h"
#include "lib/x86.h"
#include "vmm/vcpu/access.h"
#include "vmm/devices/devices.h"
#include "vmm/vcpu/exits.h"
#include "vmm/passthrough/passthrough.h"
#include "vmm/host/request.h"
#include "vmm/host/timer.h"
#include "vmm/typing/views.h"

/* TSC ticks between looks at whether an NMI is still blocked, where the CPU does not tell. */
enum { NMI_POLL = 100000 };

/* The least until the timer fires again, where the CPU does not tell whether what it has requested
   has been taken: a guest that takes nothing goes on all the same. */
enum { UNTAKEN_POLL = 10000 };

static struct lapic_now now_of(const struct vcpu *vcpu)
{
    uint64_t host = rdtsc();
    return (struct lapic_now){host, host + vcpu->state.tsc_offset};
}

static __attribute__((noinline)) void pull_vectors(struct vcpu *vcpu)
{
    vcpu->delivered = (uint16_t)vcpu->vm->ops->delivered(vcpu);
    if (vcpu->delivered != 0)
        lapic_follow(&vcpu->lapic, vcpu->delivered);
}

/* What of the APIC is the CPU's is fetched before it counts: CR8, or all that it delivers. */
static __attribute__((noinline)) void pull_apic(struct vcpu *vcpu)
{
    const struct virt_ops *ops = vcpu->vm->ops;
    if (vcpu->delivers) {
        pull_vectors(vcpu);
        return;
    }
    if (ops->cr8 == NULL)
        return;
    uint64_t cr8 = ops->cr8(vcpu);
    uint32_t *tpr = lapic_reg(&vcpu->lapic, LAPIC_TPR);
    if (cr8 != *tpr >> 4)
        *tpr = (uint32_t)cr8 << 4;
}

static void push_tpr(struct vcpu *vcpu)
{
    const struct virt_ops *ops = vcpu->vm->ops;
    if (ops->set_cr8 != NULL)
        ops->set_cr8(vcpu, *lapic_reg(&vcpu->lapic, LAPIC_TPR) >> 4);
}

void vcpu_set_tpr(struct vcpu *vcpu, uint64_t value)
{
    *lapic_reg(&vcpu->lapic, LAPIC_TPR) = (uint32_t)value;
    push_tpr(vcpu);
    if (lapic_requests(&vcpu->lapic))
        vcpu->changed |= STATE_EVENTS;
}

/* --- interprocessor interrupts --------------------------------------------------------------- */

static RARE void post(struct vcpu *to, uint32_t flags)
{
    if (__atomic_fetch_or(&to->mail.flags, flags, __ATOMIC_SEQ_CST) == 0)
        request_kick(to->cpu_index);
}

/* Of which kind the last one was is told before it comes. */
static void post_vector(struct vcpu *to, unsigned vector, bool level)
{
    uint64_t bit = 1ull << vector % 64, *levels = &to->mail.levels[vector / 64];
    if (level)
        (void)__atomic_fetch_or(levels, bit, __ATOMIC_RELAXED);
    else if ((__atomic_load_n(levels, __ATOMIC_RELAXED) & bit) != 0)
        (void)__atomic_fetch_and(levels, ~bit, __ATOMIC_RELAXED);
    (void)__atomic_fetch_or(&to->mail.vectors[vector / 64], bit, __ATOMIC_RELEASE);
    post(to, 1u << vector / 64);
}

/* What an INIT finds on its way does not come any more; what comes behind it stays. */
static RARE void post_init(struct vcpu *to)
{
    (void)__atomic_fetch_and(&to->mail.flags, ~(uint32_t)MAIL_STARTUP, __ATOMIC_SEQ_CST);
    post(to, MAIL_INIT);
}

/* The first of several counts (SDM, "MP Initialization"). */
static RARE void post_startup(struct vcpu *to, uint8_t vector)
{
    if ((__atomic_load_n(&to->mail.flags, __ATOMIC_ACQUIRE) & MAIL_STARTUP) != 0)
        return;
    __atomic_store_n(&to->mail.startup, vector, __ATOMIC_RELAXED);
    post(to, MAIL_STARTUP);
}

/* There is no firmware that an INIT could lead the boot CPU to: it is the machine's reset. */
static RARE void deliver(struct vcpu *to, const struct ipi *ipi)
{
    switch ((enum ipi_mode)ipi->mode) {
    case IPI_FIXED:
    case IPI_LOWEST:
        post_vector(to, ipi->vector, ipi->level);
        break;
    case IPI_NMI:
        post(to, MAIL_NMI);
        break;
    case IPI_INIT:
        if (to->index == 0)
            vm_reset(to->vm, "an INIT");
        else
            post_init(to);
        break;
    case IPI_STARTUP:
        post_startup(to, ipi->vector);
        break;
    case IPI_EXTINT:
        post(to, MAIL_EXTINT);
        break;
    case IPI_SMI:
        break;
    }
}

/* What it sends itself waits for no kick, but for an INIT, which changes where it goes on. */
static void deliver_to_self(struct vcpu *vcpu, const struct ipi *ipi)
{
    if (ipi->mode <= IPI_LOWEST)
        lapic_receive(&vcpu->lapic, ipi->vector, ipi->level);
    else if (ipi->mode == IPI_NMI)
        vcpu->nmi = true;
    else if (ipi->mode == IPI_EXTINT)
        vcpu->extint = true;
    else
        deliver(vcpu, ipi);
    vcpu->changed |= STATE_EVENTS;
}

/* Of all vCPUs of the VM, by index; that is the APIC ID, too, and no guest changes it. */
static RARE uint64_t targets_of(const struct vcpu *vcpu, const struct ipi *ipi)
{
    const struct vm *vm = vcpu->vm;
    bool one = ipi->shorthand == IPI_TO_DEST && !ipi->logical && ipi->dest < vm->vcpu_count;
    if (one && ipi->mode != IPI_LOWEST)
        return lapic_enabled(vm->lapics[ipi->dest]) ? 1ull << ipi->dest : 0;
    return lapic_targets(vm->lapics, vm->vcpu_count, vcpu->index, ipi);
}

RARE void vcpu_send(struct vcpu *vcpu, const struct ipi *ipi)
{
    uint64_t targets = targets_of(vcpu, ipi);
    for (; targets != 0; targets &= targets - 1) {
        struct vcpu *to = vcpu->vm->vcpus[__builtin_ctzll(targets)];
        if (to == vcpu)
            deliver_to_self(vcpu, ipi);
        else
            deliver(to, ipi);
    }
}

RARE void vcpu_tell_first(struct vcpu *vcpu)
{
    if (vcpu->index == 0)
        vcpu->changed |= STATE_EVENTS;
    else
        post(vcpu->vm->vcpus[0], MAIL_EVENTS);
}

/* Fixed is by edge or level, ExtINT always by level, the others by edge (SDM, "Local Vector
   Table"): of a level vCPU 0 finds that it is high. */
RARE void vcpu_raise_lint0(struct vcpu *vcpu)
{
    const unsigned edges = 1 << IPI_FIXED | 1 << IPI_NMI | 1 << IPI_INIT;
    uint32_t lint0 = *lapic_reg(vcpu->vm->lapics[0], LAPIC_LVT_LINT0);
    bool level = (lint0 & (LAPIC_LVT_MODE | LAPIC_LVT_LEVEL)) == LAPIC_LVT_LEVEL;
    const struct ipi edge = {.mode = lint0 >> 8 & 7, .vector = (uint8_t)lint0};
    static_assert(IPI_TO_DEST == 0, "what is sent goes to APIC 0");
    vcpu_tell_first(vcpu);
    if ((lint0 & LAPIC_LVT_MASK) == 0 && (edges >> edge.mode & 1) != 0 && !level)
        vcpu_send(vcpu, &edge);
}

/* Wherever interrupts are taken, mail is looked at behind it: no kick is needed. */
void vcpu_device_has_sent(const struct vm *vm)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        if (vm->vcpus[i]->cpu_index == this_cpu()->index)
            (void)__atomic_fetch_or(&vm->vcpus[i]->mail.flags, (uint32_t)MAIL_DEVICES,
                                    __ATOMIC_RELEASE);
}

static RARE void take_vectors(struct vcpu *vcpu, uint32_t words)
{
    for (; words != 0; words &= words - 1) {
        unsigned i = (unsigned)__builtin_ctz(words);
        uint64_t bits = __atomic_exchange_n(&vcpu->mail.vectors[i], 0, __ATOMIC_ACQUIRE);
        uint64_t levels = __atomic_load_n(&vcpu->mail.levels[i], __ATOMIC_RELAXED);
        for (; bits != 0; bits &= bits - 1) {
            unsigned bit = (unsigned)__builtin_ctzll(bits);
            lapic_receive(&vcpu->lapic, 64 * i + bit, (levels >> bit & 1) != 0);
        }
    }
}

/* What is seldom among it. */
static __attribute__((noinline)) void take_others(struct vcpu *vcpu, uint32_t flags)
{
    if ((flags & MAIL_DEVICES) != 0)
        passthrough_take(vcpu);
    if ((flags & MAIL_NMI) != 0 && !vcpu->waits)
        vcpu->nmi = true;
    if ((flags & MAIL_EXTINT) != 0 && !vcpu->waits)
        vcpu->extint = true;
    if ((flags & MAIL_STARTUP) != 0 && vcpu->waits)
        vcpu_startup(vcpu, __atomic_load_n(&vcpu->mail.startup, __ATOMIC_RELAXED));
}

/* After an INIT its APIC takes no vectors, and nothing but a startup IPI does anything. */
RARE bool vcpu_take_mail(struct vcpu *vcpu)
{
    if (__atomic_load_n(&vcpu->mail.flags, __ATOMIC_ACQUIRE) == 0)
        return false;
    uint32_t flags = __atomic_exchange_n(&vcpu->mail.flags, 0, __ATOMIC_SEQ_CST);
    bool begins = (flags & MAIL_INIT) != 0;
    if (begins)
        vcpu_init(vcpu);
    take_vectors(vcpu, flags & MAIL_VECTORS);
    if ((flags & ~(uint32_t)MAIL_VECTORS) != 0)
        take_others(vcpu, flags);
    vcpu->changed |= STATE_EVENTS;
    return begins;
}

/* --- accesses -------------------------------------------------------------------------------- */

/*
 * Its mode has changed, or whether it is enabled by software: one that is not must not take what
 * the guest sends to itself, which a CPU would deliver all the same.
 */
static RARE void follow_apic(struct vcpu *vcpu)
{
    const struct lapic *lapic = &vcpu->lapic;
    bool cared_for = lapic_x2apic(lapic) ? vcpu->vm->config->apic == APIC_HARDWARE
                                         : lapic_enabled(lapic) && vcpu_has_apic_access(vcpu);
    bool enabled = (*lapic_reg(lapic, LAPIC_SVR) & LAPIC_SVR_ENABLE) != 0;
    vcpu->delivers = vcpu->vm->caps->delivers && cared_for && enabled;
    vcpu->vm->ops->control(vcpu);
}

/* What a write that was not refused has come to. */
static inline void written(struct vcpu *vcpu, unsigned reg, enum lapic_effect effect,
                           const struct ipi *ipi)
{
    if (reg == LAPIC_TPR)
        push_tpr(vcpu);
    if (effect == LAPIC_DONE)
        return;
    if (effect == LAPIC_SEND) {
        vcpu_send(vcpu, ipi);
        return;
    }
    if (effect > LAPIC_SEND)
        devices_eoi(vcpu, ipi->vector);
    if (reg == LAPIC_SVR)
        follow_apic(vcpu);
    vcpu->changed |= STATE_EVENTS;
}

/* A read may have found that the timer has fired, or be an error. */
static void has_read(struct vcpu *vcpu)
{
    if (lapic_requests(&vcpu->lapic))
        vcpu->changed |= STATE_EVENTS;
}

bool apic_read_base(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr, uint64_t *value)
{
    (void)rule, (void)msr;
    *value = vcpu->lapic.base;
    return true;
}

RARE bool apic_write_base(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr,
                          uint64_t value)
{
    (void)rule, (void)msr;
    pull_apic(vcpu);
    if (!lapic_set_base(&vcpu->lapic, value))
        return false;
    push_tpr(vcpu);
    if (lapic_x2apic(&vcpu->lapic) || !lapic_enabled(&vcpu->lapic))
        views_unmap_apic(vcpu);
    follow_apic(vcpu);
    vcpu->changed |= STATE_EVENTS;
    return true;
}

RARE bool apic_read_msr(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr,
                        uint64_t *value)
{
    (void)rule;
    pull_apic(vcpu);
    bool legal = lapic_read_msr(&vcpu->lapic, msr, now_of(vcpu), value);
    has_read(vcpu);
    return legal;
}

/* What I/O APICs send then has itself looked at. */
static __attribute__((noinline)) bool write_eoi(struct vcpu *vcpu)
{
    unsigned ended = lapic_end(&vcpu->lapic);
    if (ended != 0)
        devices_eoi(vcpu, ended);
    if (lapic_requests(&vcpu->lapic))
        vcpu->changed |= STATE_EVENTS;
    return true;
}

static __attribute__((noinline)) bool write_msr(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    struct ipi ipi;
    if (vcpu->delivers)
        pull_vectors(vcpu);
    enum lapic_effect effect = lapic_write_msr(&vcpu->lapic, msr, value, now_of(vcpu), &ipi);
    if (effect == LAPIC_REFUSED)
        return false;
    written(vcpu, msr - LAPIC_MSRS, effect, &ipi);
    return true;
}

bool apic_write_msr(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
    bool ends = msr == LAPIC_MSRS + LAPIC_EOI && value == 0;
    (void)rule;
    return ends && lapic_x2apic(&vcpu->lapic) && !vcpu->delivers ? write_eoi(vcpu)
                                                                 : write_msr(vcpu, msr, value);
}

RARE void exit_apic(struct vcpu *vcpu, const struct vm_exit *exit)
{
    uint32_t reg = exit->apic_reg;
    struct ipi ipi;
    if (exit->apic_ended) { /* the CPU has made it */
        devices_eoi(vcpu, exit->apic_vector);
        return;
    }
    if (lapic_x2apic(&vcpu->lapic)) {
        (void)write_msr(vcpu, LAPIC_MSRS + reg, *lapic_reg(&vcpu->lapic, reg));
        return;
    }
    pull_vectors(vcpu);
    enum lapic_effect effect = lapic_wrote(&vcpu->lapic, reg, now_of(vcpu), &ipi);
    written(vcpu, reg, effect, &ipi);
}

RARE bool apic_read_deadline(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr,
                             uint64_t *value)
{
    (void)rule, (void)msr;
    *value = lapic_deadline(&vcpu->lapic, now_of(vcpu));
    has_read(vcpu);
    return true;
}

bool apic_write_deadline(struct vcpu *vcpu, const struct msr_rule *rule, uint32_t msr,
                         uint64_t value)
{
    (void)rule, (void)msr;
    lapic_set_deadline(&vcpu->lapic, value, now_of(vcpu));
    vcpu->changed |= STATE_EVENTS;
    return true;
}

RARE bool vcpu_leave_apic(struct vcpu *vcpu)
{
    if (views_map_apic(vcpu))
        return true;
    pull_apic(vcpu);
    if (vcpu->delivers)
        vcpu->changed |= STATE_EVENTS; /* whatever changes, the CPU has to know */
    return false;
}

RARE uint32_t vcpu_read_apic(struct vcpu *vcpu, unsigned offset, unsigned width)
{
    pull_apic(vcpu);
    uint32_t value = (uint32_t)lapic_read_mmio(&vcpu->lapic, offset, width, now_of(vcpu));
    has_read(vcpu);
    return value;
}

void vcpu_write_apic(struct vcpu *vcpu, unsigned offset, unsigned width, uint32_t value)
{
    struct ipi ipi;
    if (offset == LAPIC_EOI * LAPIC_STRIDE && width == 4 && !vcpu->delivers) {
        (void)write_eoi(vcpu); /* of any value */
        return;
    }
    enum lapic_effect effect =
        lapic_write_mmio(&vcpu->lapic, offset, width, value, now_of(vcpu), &ipi);
    written(vcpu, offset / LAPIC_STRIDE, effect, &ipi);
}

/* --- delivery -------------------------------------------------------------------------------- */

static void inject(struct vcpu *vcpu, enum event_type type, unsigned vector)
{
    vcpu->event = (struct event){.valid = true, .vector = (uint8_t)vector, .type = (uint8_t)type};
}

/* Injects an NMI, if one is pending; else what is to be awaited for it. */
static unsigned settle_nmi(struct vcpu *vcpu, unsigned blocked)
{
    if (!vcpu->nmi)
        return 0;
    if (vcpu->event.valid || blocked != 0)
        return AWAIT_NMI;
    inject(vcpu, DELIVER_NMI, VECTOR_NMI);
    vcpu->nmi = false;
    return 0;
}

/* What is at RIP, if that is in the page of the instruction before: then it may be executed too. */
static uint8_t next_byte(struct vcpu *vcpu)
{
    unsigned code_size = vcpu_code_size(vcpu);
    gva_t at = vcpu_code_address(vcpu, code_size, 0);
    uint64_t bytes;
    if (at.v % PAGE_SIZE == 0 ||
        (code_size != 8 && vcpu->state.rip > vcpu->state.seg[SEG_CS].limit) ||
        !vcpu_peek(vcpu, gva(at.v & ~7ull), &bytes))
        return 0;
    return (uint8_t)(bytes >> at.v % 8 * 8);
}

/*
 * Completes a HLT that alone keeps an interrupt from the guest: the one in the shadow of STI or MOV
 * SS, as kernels wait. It would exit at once and be woken; and where an entry loses the shadow, as
 * it may under another hypervisor, the guest would handle the interrupt and then sleep for good.
 */
static __attribute__((noinline)) bool pass_halt(struct vcpu *vcpu, unsigned blocked)
{
    struct guest_state *state = &vcpu->state;
    if (vcpu->event.valid || (blocked & BLOCKED_BY_SHADOW) == 0 ||
        (state->rflags & (RFLAGS_IF | RFLAGS_TF)) != RFLAGS_IF)
        return false;
    vcpu_fetch(vcpu, STATE_CODE | STATE_CR);
    if (state->cpl != 0 || (state->dr7 & DR7_ENABLE) != 0 || next_byte(vcpu) != 0xf4)
        return false;
    vcpu_skip(vcpu, state->rip + 1);
    return true;
}

/* The same of the APIC's interrupts; what one in service holds back, its EOI will bring up. */
static unsigned settle_interrupt(struct vcpu *vcpu, unsigned blocked)
{
    if (!lapic_requests(&vcpu->lapic))
        return 0;
    int vector = lapic_pending(&vcpu->lapic);
    if (vector < 0)
        return AWAIT_CR8;
    if ((vcpu->event.valid || (blocked & BLOCKED_BY_SHADOW) != 0 ||
         (vcpu->state.rflags & RFLAGS_IF) == 0) &&
        !pass_halt(vcpu, blocked))
        return AWAIT_INTERRUPT;
    lapic_take(&vcpu->lapic, (unsigned)vector);
    inject(vcpu, DELIVER_INTERRUPT, (unsigned)vector);
    return 0;
}

/* The 8259s are at LINT0 of vCPU 0, here in ExtINT mode; where its APIC is off, at its CPU. */
static bool takes_intr(const struct vcpu *vcpu)
{
    uint32_t lint0 = *lapic_reg(&vcpu->lapic, LAPIC_LVT_LINT0);
    return !lapic_enabled(&vcpu->lapic) ||
           (lint0 & (LAPIC_LVT_MASK | LAPIC_LVT_MODE)) == LAPIC_LVT_EXTINT;
}

static inline bool has_extint(const struct vcpu *vcpu)
{
    return vcpu->extint ||
           (__atomic_load_n(&vcpu->mail.intr, __ATOMIC_ACQUIRE) && takes_intr(vcpu));
}

/*
 * The same of the 8259s' interrupts, which come before. With an automatic EOI the next one may be
 * requested at once; and an EOI may bring up an NMI by the I/O APIC.
 */
static __attribute__((noinline)) unsigned settle_extint(struct vcpu *vcpu, unsigned blocked)
{
    if (!has_extint(vcpu)) {
        lapic_hold_lint0(&vcpu->lapic); /* it is high */
        return 0;
    }
    if ((vcpu->event.valid || (blocked & BLOCKED_BY_SHADOW) != 0 ||
         (vcpu->state.rflags & RFLAGS_IF) == 0) &&
        !pass_halt(vcpu, blocked))
        return AWAIT_INTERRUPT;
    vcpu->extint = false;
    inject(vcpu, DELIVER_INTERRUPT, devices_acknowledge(vcpu));
    return (has_extint(vcpu) ? AWAIT_INTERRUPT : 0u) | (vcpu->nmi ? AWAIT_NMI : 0u);
}

/* The CPU awaits by itself that it can deliver them. */
static __attribute__((noinline)) unsigned push_vectors(struct vcpu *vcpu)
{
    if (vcpu->delivered != 0 || !lapic_is_idle(&vcpu->lapic))
        vcpu->vm->ops->deliver(vcpu, lapic_highest(&vcpu->lapic));
    return 0;
}

static unsigned blocked_of(struct vcpu *vcpu)
{
    unsigned blocked = vcpu->vm->ops->blocked(vcpu);
    return vcpu->completed ? blocked & ~(unsigned)BLOCKED_BY_SHADOW : blocked;
}

/* What the timer has requested the CPU may deliver unseen. */
static __attribute__((noinline)) uint64_t left_unseen(const struct vcpu *vcpu, struct lapic_now now)
{
    uint64_t left = lapic_timer_left(&vcpu->lapic, now);
    return left != UINT64_MAX ? left : max_u64(lapic_timer_next(&vcpu->lapic, now), UNTAKEN_POLL);
}

static __attribute__((noinline)) void set_timer(struct vcpu *vcpu, struct lapic_now now)
{
    uint64_t left = vcpu->delivers ? left_unseen(vcpu, now) : lapic_timer_left(&vcpu->lapic, now);
    if ((vcpu->awaits & AWAIT_NMI) != 0 && !vcpu->vm->caps->has_nmi_window)
        left = min_u64(left, NMI_POLL);
    uint64_t due = left == UINT64_MAX ? left : now.host + left;
    due = min_u64(due, __atomic_load_n(&vcpu->mail.due, __ATOMIC_RELAXED));
    if (due + 1 == vcpu->timer_due)
        return;
    vcpu->timer_due = due + 1;
    timer_set(due == UINT64_MAX ? due : max_u64(due, now.host) - now.host);
}

RARE void vcpu_settle(struct vcpu *vcpu)
{
    struct lapic_now now = now_of(vcpu);
    pull_apic(vcpu);
    lapic_tick(&vcpu->lapic, now);
    if (now.host >= vcpu->mail.due)
        devices_run(vcpu);
    unsigned blocked = blocked_of(vcpu);
    unsigned awaits = settle_nmi(vcpu, blocked);
    if (vcpu->mail.intr || vcpu->extint)
        awaits |= settle_extint(vcpu, blocked);
    awaits |= vcpu->delivers ? push_vectors(vcpu) : settle_interrupt(vcpu, blocked);
    vcpu->again = awaits != 0 ? STATE_EVENTS : 0;
    bool injects_nmi = vcpu->event.valid && vcpu->event.type == DELIVER_NMI;
    if (awaits != vcpu->awaits || injects_nmi || (awaits & AWAIT_CR8) != 0) {
        vcpu->awaits = (uint8_t)awaits;
        vcpu->vm->ops->await(vcpu, awaits);
    }
    set_timer(vcpu, now);
}

/* --- HLT ------------------------------------------------------------------------------------- */

/* INTR is high. */
static RARE bool intr_wakes(struct vcpu *vcpu)
{
    if (takes_intr(vcpu))
        return true;
    lapic_hold_lint0(&vcpu->lapic);
    return lapic_pending(&vcpu->lapic) >= 0;
}

static bool is_woken(struct vcpu *vcpu)
{
    return (vcpu->nmi && (blocked_of(vcpu) & BLOCKED_NMI) == 0) ||
           ((vcpu->state.rflags & RFLAGS_IF) != 0 &&
            (lapic_pending(&vcpu->lapic) >= 0 || vcpu->extint ||
             (__atomic_load_n(&vcpu->mail.intr, __ATOMIC_ACQUIRE) && intr_wakes(vcpu))));
}

/* Whether what the timer will request can be delivered to a guest that does nothing. */
static bool timer_can_wake(const struct vcpu *vcpu, struct lapic_now now)
{
    const struct lapic *lapic = &vcpu->lapic;
    return (vcpu->state.rflags & RFLAGS_IF) != 0 && lapic_timer_left(lapic, now) != UINT64_MAX &&
           (*lapic_reg(lapic, LAPIC_LVT_TIMER) & 0xf0) > (lapic_ppr(lapic) & 0xf0);
}

/* Whether what a device has due may come as an NMI or an INIT, which no IF keeps away. */
static RARE bool device_breaks_in(struct vcpu *vcpu)
{
    uint32_t lint0 = *lapic_reg(&vcpu->lapic, LAPIC_LVT_LINT0);
    unsigned modes = 1 << IPI_NMI | 1 << IPI_INIT;
    if ((blocked_of(vcpu) & BLOCKED_NMI) != 0)
        modes = 1 << IPI_INIT;
    bool by_lint0 = (lint0 & LAPIC_LVT_MASK) == 0 && (modes >> (lint0 >> 8 & 7) & 1) != 0;
    return lapic_enabled(&vcpu->lapic) && devices_can_send(vcpu, modes, by_lint0);
}

/* The same of devices, which may also wake another vCPU. */
static bool device_can_wake(struct vcpu *vcpu)
{
    return vcpu->mail.due != UINT64_MAX && ((vcpu->state.rflags & RFLAGS_IF) != 0 ||
                                            vcpu->vm->vcpu_count > 1 || device_breaks_in(vcpu));
}

RARE bool vcpu_wait(struct vcpu *vcpu)
{
    pull_apic(vcpu);
    for (;;) {
        struct lapic_now now = now_of(vcpu);
        if (vcpu_take_mail(vcpu) || vcpu->vm->state != VM_RUNNING)
            return false;
        lapic_tick(&vcpu->lapic, now);
        if (now.host >= vcpu->mail.due)
            devices_run(vcpu);
        if (is_woken(vcpu))
            break;
        bool timed = timer_can_wake(vcpu, now) || device_can_wake(vcpu);
        if (timed)
            set_timer(vcpu, now);
        vcpu_pause(vcpu, !timed && vcpu->vm->passthrough == NULL);
    }
    vcpu->changed |= STATE_EVENTS;
    return true;
}
