/* Port I/O of a guest: which port is what, and the string forms. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/assert.h"
#include "lib/x86.h"
#include "vmm/abi.h"
#include "vmm/vcpu/access.h"
#include "vmm/vcpu/exits.h"
#include "vmm/passthrough/passthrough.h"

enum {
    KEYBOARD_RESET = 0xfe,
    RESET_CPU = 4,
};

#define EIGHT(port) (1ull << (port) / 8 % 64)

/* Elements of a REP string moved in one exit: bounds the time away from the guest. */
enum { STRING_BATCH = 256 };

static uint32_t narrow(uint64_t value, unsigned width)
{
    return (uint32_t)(value & (width == 4 ? UINT32_MAX : (1u << 8 * width) - 1));
}

/* Ports of devices and those that have a meaning, by eights: all others are unassigned. */
static bool is_assigned(uint16_t port)
{
    static const uint64_t eights[] = {
        [0] = EIGHT(0x20) | EIGHT(0x40) | EIGHT(0x60) | EIGHT(0x70) | EIGHT(0x90) | EIGHT(0xa0) |
              EIGHT(0xf0),
        [1] = EIGHT(0x2f8) | EIGHT(0x3d0) | EIGHT(0x3f8),
        [2] = EIGHT(0x4d0) | EIGHT(0x510),
        [3] = EIGHT(0x600) | EIGHT(0x608),
        [6] = EIGHT(0xcf8),
    };
    unsigned word = port / 512;
    return word < ARRAY_SIZE(eights) && (eights[word] >> port / 8 % 64 & 1) != 0;
}

static inline uint32_t port_in(struct vcpu *vcpu, uint16_t port, unsigned width)
{
    if (is_assigned(port))
        return devices_in(vcpu, port, width);
    if (vcpu->vm->passthrough != NULL)
        return passthrough_in(vcpu, port, width);
    vcpu->port_reads++;
    return UINT32_MAX;
}

/* A write that resets the machine if its value is, or has, what the port asks for. */
static void reset_out(struct vcpu *vcpu, bool resets)
{
    if (resets)
        vm_reset(vcpu->vm, "a port");
    else
        vcpu->port_writes++;
}

/* VALUE may have more bits than WIDTH says. */
static __attribute__((noinline)) void other_out(struct vcpu *vcpu, uint16_t port, unsigned width,
                                                uint32_t value)
{
    switch (port) {
    case PORT_EXIT:
        vm_exit_value(vcpu->vm, narrow(value, width));
        break;
    case PORT_KEYBOARD:
        reset_out(vcpu, (value & 0xff) == KEYBOARD_RESET);
        break;
    case PORT_RESET:
        reset_out(vcpu, (value & RESET_CPU) != 0);
        break;
    default:
        if (!devices_is_pci(port) || !devices_out_pci(vcpu, port, width, value))
            vcpu->port_writes++;
        break;
    }
}

static inline void port_out(struct vcpu *vcpu, uint16_t port, unsigned width, uint32_t value)
{
    if (!is_assigned(port) && vcpu->vm->passthrough != NULL)
        passthrough_out(vcpu, port, width, value);
    else if (!is_assigned(port))
        vcpu->port_writes++;
    else if (!devices_out(vcpu, port, width, value))
        other_out(vcpu, port, width, value);
}

/* IN writes AL, AX, or EAX, which clears the rest of RAX. */
static void set_accumulator(uint64_t *rax, unsigned width, uint32_t value)
{
    uint64_t mask = width == 1 ? 0xff : width == 2 ? 0xffff : UINT64_MAX;
    uint64_t low = width == 4 ? value : value & mask;
    *rax = (*rax & ~mask) | low;
}

/* A register as an address of ADDR_SIZE bytes is written back: 32 bits clear the upper half. */
static void set_index(uint64_t *reg, unsigned addr_size, uint64_t value)
{
    if (addr_size == 2)
        *reg = (*reg & ~0xffffull) | (value & 0xffff);
    else
        *reg = addr_size == 4 ? (uint32_t)value : value;
}

static uint64_t get_index(uint64_t reg, unsigned addr_size)
{
    return addr_size == 2 ? (uint16_t)reg : addr_size == 4 ? (uint32_t)reg : reg;
}

/* One element of INS or OUTS; false: a fault is queued or the VM has ended, nothing has moved. */
static bool string_element(struct vcpu *vcpu, const struct exit_io *io, const struct insn *insn)
{
    bool in = (io->flags & IO_IN) != 0;
    enum gpr index_reg = in ? RDI : RSI;
    uint64_t *index = &vcpu->state.gpr[index_reg];
    enum seg_reg seg = in ? SEG_ES : (enum seg_reg)insn->seg;
    uint64_t offset = get_index(*index, insn->addr_size);
    uint64_t step = (vcpu->state.rflags & RFLAGS_DF) != 0 ? -(uint64_t)io->width : io->width;
    uint32_t value = UINT32_MAX;
    gva_t linear;
    if (!vcpu_linear(vcpu, seg, offset, io->width, in, &linear))
        return false;
    if (in) {
        if (!vcpu_probe(vcpu, linear, WALK_WRITE, io->width))
            return false;
        value = port_in(vcpu, io->port, io->width);
        if (!vcpu_access(vcpu, linear, WALK_WRITE, &value, io->width))
            return false;
    } else {
        if (!vcpu_access(vcpu, linear, WALK_READ, &value, io->width))
            return false;
        port_out(vcpu, io->port, io->width, value);
    }
    set_index(index, insn->addr_size, offset + step);
    return true;
}

/* Out of line, so that the common forms need few registers. */
static __attribute__((noinline)) void string_io(struct vcpu *vcpu, const struct vm_exit *exit)
{
    struct insn insn;
    uint64_t *count = &vcpu->state.gpr[RCX];
    if (!vcpu_expect(vcpu, (exit->io.flags & IO_IN) != 0 ? INSN_INS : INSN_OUTS, &insn))
        return;
    uint64_t left = insn.rep ? get_index(*count, insn.addr_size) : 1;
    unsigned batch = (vcpu->state.rflags & RFLAGS_TF) != 0 ? 1 : STRING_BATCH;
    for (unsigned i = 0; i < batch && left > 0; i++) {
        if (!string_element(vcpu, &exit->io, &insn))
            return;
        left--;
        if (insn.rep)
            set_index(count, insn.addr_size, left);
        if (vcpu->vm->state != VM_RUNNING)
            return;
    }
    if (left == 0)
        vcpu_skip(vcpu, vcpu->state.rip + insn.length);
    else
        vcpu_skip_iteration(vcpu);
}

/* Every CPU says where an I/O instruction ends. */
void exit_io(struct vcpu *vcpu, const struct vm_exit *exit)
{
    const struct exit_io *io = &exit->io;
    uint64_t *rax = &vcpu->state.gpr[RAX];
    if ((io->flags & IO_STRING) != 0) {
        string_io(vcpu, exit);
    } else if ((io->flags & IO_IN) != 0) {
        set_accumulator(rax, io->width, port_in(vcpu, io->port, io->width));
        vcpu_skip(vcpu, exit->next_rip);
    } else {
        port_out(vcpu, io->port, io->width, (uint32_t)*rax);
        vcpu_skip(vcpu, exit->next_rip);
    }
}
