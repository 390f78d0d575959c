/* Hypercalls: vmm/abi.h has their numbers. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/abi.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/x86.h"
#include "mm/memtype.h"
#include "vmm/vcpu/access.h"
#include "vmm/instruments/alias.h"
#include "vmm/vcpu/exits.h"
#include "vmm/instruments/map.h"
#include "vmm/typing/oracle.h"
#include "vmm/instruments/trace.h"
#include "vmm/typing/views.h"

/* Outside 64-bit code a register, or an address, has 32 bits. */
static uint64_t narrowed(struct vcpu *vcpu, uint64_t value)
{
    return vcpu_code_size(vcpu) == 8 ? value : (uint32_t)value;
}

static uint64_t argument(struct vcpu *vcpu, enum gpr reg)
{
    return narrowed(vcpu, vcpu->state.gpr[reg]);
}

/* The oracle's answer to the call NUMBER. */
static int ask(struct vcpu *vcpu, uint64_t number, struct type_answer *answer)
{
    const uint64_t gpr[] = {[RBX] = argument(vcpu, RBX), [RDX] = argument(vcpu, RDX)};
    if (number == HYPERCALL_TYPE_PHYSICAL) {
        if (gpr[RDX] > MT_UC_MINUS || !memtype_is_pat((unsigned)gpr[RDX]))
            return -EINVAL;
        oracle_physical(vcpu, gpa(gpr[RBX]), (unsigned)gpr[RDX], answer);
        return 0;
    }
    unsigned table = number == HYPERCALL_TYPE_TABLE ? (unsigned)min_u64(gpr[RDX], 255) : 0;
    if (number == HYPERCALL_TYPE_TABLE && table == 0)
        return -EINVAL;
    return oracle_linear(vcpu, gva(gpr[RBX]), table, answer);
}

/* Copies SIZE bytes where REG points as an access of the guest; false: a fault has been queued. */
static bool copy(struct vcpu *vcpu, enum gpr reg, unsigned access, void *data, size_t size)
{
    const unsigned part = 16;
    assert(size % part == 0);
    for (size_t done = 0; done < size; done += part) {
        gva_t at = gva(narrowed(vcpu, vcpu->state.gpr[reg] + done));
        if (!vcpu_access(vcpu, at, access, (char *)data + done, part))
            return false;
    }
    return true;
}

/* All ones: the number of the policy in force is asked for. */
static int64_t set_policy(struct vcpu *vcpu, uint64_t number, uint64_t flags)
{
    if (!vcpu->vm->config->control)
        return -EPERM;
    if (number == narrowed(vcpu, UINT64_MAX))
        return vcpu->vm->map.typing.policy.preset->number;
    if (number >= POLICIES || flags > 1)
        return -EINVAL;
    return views_switch(vcpu, (enum policy_number)number, flags == 1);
}

static int64_t log_map(struct vm *vm)
{
    if (!vm->config->control)
        return -EPERM;
    map_log(vm);
    return 0;
}

/* What returns a bool below: false where the instruction has not been completed. */
static bool oracle(struct vcpu *vcpu, uint64_t number, int64_t *result)
{
    struct type_answer answer;
    *result = vcpu->vm->config->control ? ask(vcpu, number, &answer) : -EPERM;
    return *result != 0 || copy(vcpu, RCX, WALK_WRITE, &answer, sizeof(answer));
}

static bool aliases(struct vcpu *vcpu, int64_t *result)
{
    struct alias_question question = {.count = 0};
    struct alias_answer answer;
    uint64_t index = argument(vcpu, RDX);
    *result = -EPERM;
    if (!vcpu->vm->config->control)
        return true;
    if (argument(vcpu, RBX) != 0 && !copy(vcpu, RBX, WALK_READ, &question, sizeof(question)))
        return false;
    *result = oracle_alias(vcpu, &question, index, &answer);
    return *result < 0 || (uint64_t)*result <= index ||
           copy(vcpu, RCX, WALK_WRITE, &answer, sizeof(answer));
}

static __attribute__((noinline)) int64_t trace_call(uint64_t what)
{
    switch (what) {
    case TRACE_CALL_OFF:
    case TRACE_CALL_ON:
        return trace_set(what == TRACE_CALL_ON);
    case TRACE_CALL_DUMP:
        trace_dump();
        return 0;
    default:
        return -EINVAL;
    }
}

static bool call(struct vcpu *vcpu, uint64_t number, int64_t *result)
{
    switch (number) {
    case HYPERCALL_VERSION:
        *result = HYPERCALL_ABI;
        return true;
    case HYPERCALL_TYPE_PHYSICAL:
    case HYPERCALL_TYPE_LINEAR:
    case HYPERCALL_TYPE_TABLE:
        return oracle(vcpu, number, result);
    case HYPERCALL_POLICY:
        *result = set_policy(vcpu, argument(vcpu, RBX), argument(vcpu, RDX));
        return true;
    case HYPERCALL_ALIAS:
        return aliases(vcpu, result);
    case HYPERCALL_TRACE:
        *result = vcpu->vm->config->control ? trace_call(argument(vcpu, RBX)) : -EPERM;
        return true;
    case HYPERCALL_LOG_MAP:
        *result = log_map(vcpu->vm);
        return true;
    default:
        *result = -ENOSYS;
        return true;
    }
}

void exit_hypercall(struct vcpu *vcpu, const struct vm_exit *exit)
{
    int64_t result;
    (void)exit;
    vcpu_fetch(vcpu, STATE_CODE);
    if (vcpu->state.cpl != 0 || (vcpu->state.rflags & RFLAGS_VM) != 0) {
        vcpu_raise(vcpu, VECTOR_UD, 0);
        return;
    }
    uint64_t next = vcpu_next_rip(vcpu, vcpu->vm->caps->hypercall);
    if (next == 0 || !call(vcpu, argument(vcpu, RAX), &result))
        return;
    vcpu->state.gpr[RAX] = (uint64_t)result;
    vcpu_skip(vcpu, next);
}
