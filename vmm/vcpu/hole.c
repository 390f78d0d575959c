/* Second-level faults: the MMIO hole, where APICs and the PCI bus answer, and where nothing is. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/assert.h"
#include "lib/x86.h"
#include "vmm/vcpu/access.h"
#include "vmm/devices/devices.h"
#include "vmm/vcpu/exits.h"
#include "vmm/vcpu/interrupts.h"
#include "vmm/passthrough/passthrough.h"

static uint64_t truncated(uint64_t value, unsigned bytes)
{
    return bytes == 8 ? value : value & ((1ull << 8 * bytes) - 1);
}

static uint64_t sign_extended(uint64_t value, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;
    return (uint64_t)((int64_t)(value << shift) >> shift);
}

void vcpu_set_register(struct vcpu *vcpu, const struct insn *insn, uint64_t value)
{
    assert(insn->reg < GPRS);
    uint64_t *reg = &vcpu->state.gpr[insn->reg];
    unsigned shift = insn->high_byte ? 8 : 0;
    if (insn->op_size >= 4) {
        *reg = truncated(value, insn->op_size);
        return;
    }
    uint64_t mask = truncated(UINT64_MAX, insn->op_size) << shift;
    *reg = (*reg & ~mask) | (value << shift & mask);
}

static uint64_t get_register(const struct vcpu *vcpu, const struct insn *insn)
{
    assert(insn->reg < GPRS);
    return vcpu->state.gpr[insn->reg] >> (insn->high_byte ? 8 : 0);
}

static uint64_t effective_address(const struct vcpu *vcpu, const struct insn *insn)
{
    uint64_t address = (uint64_t)insn->disp;
    if (insn->base == INSN_RIP)
        address += vcpu->state.rip + insn->length;
    else if (insn->base != INSN_NO_REG)
        address += vcpu->state.gpr[insn->base];
    if (insn->index != INSN_NO_REG)
        address += vcpu->state.gpr[insn->index] * insn->scale;
    return truncated(address, insn->addr_size);
}

bool vcpu_operand(struct vcpu *vcpu, const struct insn *insn, bool write, gva_t *linear)
{
    return vcpu_linear(vcpu, (enum seg_reg)insn->seg, effective_address(vcpu, insn), insn->width,
                       write, linear);
}

/* The memory operand: of a device's page by its offset, else by the guest's own translation. */
enum page {
    MEMORY,
    LOCAL_APIC,
    IO_APIC,
    REGISTERS,  /* of a device that the VM has been given */
    PCI_CONFIG, /* that of the first function; those of others follow */
    PCI_CONFIG_LAST = PCI_CONFIG + VPCI_ECAM_SIZE / PAGE_SIZE - 1,
};
struct place {
    enum page page;
    unsigned offset;
    gpa_t gpa;    /* where it is REGISTERS */
    gva_t linear; /* where it is MEMORY */
};

static bool read_place(struct vcpu *vcpu, const struct insn *insn, const struct place *at,
                       uint64_t *value)
{
    *value = 0;
    if (at->page == MEMORY)
        return vcpu_access(vcpu, at->linear, WALK_READ, value, insn->width);
    if (at->page == LOCAL_APIC)
        *value = vcpu_read_apic(vcpu, at->offset, insn->width);
    else if (at->page == IO_APIC)
        *value = devices_read_ioapic(vcpu, at->offset, insn->width);
    else if (at->page == REGISTERS)
        *value = passthrough_read(vcpu, at->gpa, insn->width);
    else
        *value = devices_read_pci(vcpu, at->page - PCI_CONFIG, at->offset, insn->width);
    *value = truncated(*value, insn->width);
    return true;
}

static bool write_place(struct vcpu *vcpu, const struct insn *insn, const struct place *at,
                        uint64_t value)
{
    if (at->page == LOCAL_APIC)
        vcpu_write_apic(vcpu, at->offset, insn->width, (uint32_t)value);
    else if (at->page == IO_APIC)
        devices_write_ioapic(vcpu, at->offset, insn->width, value);
    else if (at->page == REGISTERS)
        passthrough_write(vcpu, at->gpa, insn->width, value);
    else if (at->page != MEMORY)
        devices_write_pci(vcpu, at->page - PCI_CONFIG, at->offset, insn->width, value);
    else
        return vcpu_access(vcpu, at->linear, WALK_WRITE, &value, insn->width);
    return true;
}

/* Above the operand's size there may be more. */
static inline uint64_t source(const struct vcpu *vcpu, const struct insn *insn)
{
    return insn->has_imm ? insn->imm : get_register(vcpu, insn);
}

static bool load(struct vcpu *vcpu, const struct insn *insn, const struct place *at)
{
    uint64_t value;
    if (!read_place(vcpu, insn, at, &value))
        return false;
    if (insn->op == INSN_MOVSX)
        value = sign_extended(value, insn->width);
    vcpu_set_register(vcpu, insn, value);
    return true;
}

static bool exchange(struct vcpu *vcpu, const struct insn *insn, const struct place *at)
{
    uint64_t value;
    if (!read_place(vcpu, insn, at, &value) ||
        !write_place(vcpu, insn, at, get_register(vcpu, insn)))
        return false;
    vcpu_set_register(vcpu, insn, value);
    return true;
}

/* What an instruction makes of A and B, AND of TEST too, and SUB of CMP. */
static uint64_t result_of(unsigned op, uint64_t a, uint64_t b)
{
    switch (op) {
    case INSN_ADD:
        return a + b;
    case INSN_SUB:
    case INSN_CMP:
        return a - b;
    case INSN_OR:
        return a | b;
    case INSN_XOR:
        return a ^ b;
    default:
        return a & b;
    }
}

/* The same, and what it makes of RFLAGS; AF is undefined but where it adds or subtracts. */
static uint64_t compute(const struct insn *insn, uint64_t a, uint64_t b, uint64_t *rflags)
{
    const uint64_t all = RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF;
    unsigned top = 8u * insn->width - 1;
    bool adds = insn->op == INSN_ADD, subtracts = insn->op == INSN_SUB || insn->op == INSN_CMP;
    uint64_t result = truncated(result_of(insn->op, a, b), insn->width);
    uint64_t differ = adds ? ~(a ^ b) : a ^ b;
    uint64_t flags = (result == 0 ? RFLAGS_ZF : 0) | (result >> top != 0 ? RFLAGS_SF : 0);
    if (__builtin_parity((unsigned)result & 0xff) == 0)
        flags |= RFLAGS_PF;
    if (adds || subtracts)
        flags |= ((adds ? result < a : a < b) ? RFLAGS_CF : 0) | ((a ^ b ^ result) & RFLAGS_AF) |
                 ((differ & (a ^ result)) >> top & 1 ? RFLAGS_OF : 0);
    *rflags = (*rflags & ~all) | flags;
    return result;
}

static bool combine(struct vcpu *vcpu, const struct insn *insn, const struct place *at)
{
    uint64_t memory, reg = truncated(source(vcpu, insn), insn->width);
    uint64_t rflags = vcpu->state.rflags;
    if (!read_place(vcpu, insn, at, &memory))
        return false;
    uint64_t result =
        insn->to_reg ? compute(insn, reg, memory, &rflags) : compute(insn, memory, reg, &rflags);
    if (insn_writes(insn) && !write_place(vcpu, insn, at, result))
        return false;
    if (insn->to_reg && insn->op != INSN_CMP)
        vcpu_set_register(vcpu, insn, result);
    vcpu->state.rflags = rflags;
    return true;
}

static void step_register(uint64_t *reg, unsigned addr_size, uint64_t step)
{
    uint64_t mask = truncated(UINT64_MAX, addr_size);
    uint64_t sum = (*reg + step) & mask;
    *reg = addr_size == 2 ? (*reg & ~mask) | sum : sum;
}

/* One element of STOS: the guest executes the rest, and comes back here if it must. */
static void stos(struct vcpu *vcpu, const struct insn *insn, const struct place *at)
{
    uint64_t *gpr = vcpu->state.gpr;
    uint64_t step = insn->width;
    if ((vcpu->state.rflags & RFLAGS_DF) != 0)
        step = -step;
    if (!write_place(vcpu, insn, at, gpr[RAX]))
        return;
    step_register(&gpr[RDI], insn->addr_size, step);
    if (insn->rep)
        step_register(&gpr[RCX], insn->addr_size, UINT64_MAX);
    if (!insn->rep || truncated(gpr[RCX], insn->addr_size) == 0)
        vcpu_skip(vcpu, vcpu->state.rip + insn->length);
    else
        vcpu_skip_iteration(vcpu);
}

/* True: RIP is to go on. */
static bool perform(struct vcpu *vcpu, const struct insn *insn, const struct place *at)
{
    if (insn->op == INSN_MOV_STORE) /* most are */
        return write_place(vcpu, insn, at, source(vcpu, insn));
    switch (insn->op) {
    case INSN_MOV_LOAD:
    case INSN_MOVZX:
    case INSN_MOVSX:
        return load(vcpu, insn, at);
    case INSN_XCHG:
        return exchange(vcpu, insn, at);
    case INSN_ADD:
    case INSN_SUB:
    case INSN_OR:
    case INSN_AND:
    case INSN_XOR:
    case INSN_CMP:
    case INSN_TEST:
        return combine(vcpu, insn, at);
    case INSN_STOS:
        stos(vcpu, insn, at);
        return false;
    default:
        vm_stop(vcpu->vm, "instruction at RIP 0x%lx is not emulated on the hole", vcpu->state.rip);
        return false;
    }
}

/*
 * The CPU has translated the address of an access to a device. One that is not all in the page, or
 * begins it, can have begun or end in another: it finds no device, and nor does one that is not as
 * the CPU says. All but local APICs have a register there, and who begins it has the page's offset.
 * False: a fault is queued.
 */
static bool find_place(struct vcpu *vcpu, const struct insn *insn, const struct exit_memory *fault,
                       enum page page, struct place *at)
{
    bool as_told =
        (fault->access & PT_W) != 0 || (insn->op != INSN_MOV_STORE && insn->op != INSN_STOS);
    at->offset = (unsigned)(fault->gpa.v % PAGE_SIZE);
    at->gpa = fault->gpa;
    at->page = as_told && at->offset + insn->width <= PAGE_SIZE ? page : MEMORY;
    if (at->offset != 0 && at->page != MEMORY)
        return true;
    if (!vcpu_operand(vcpu, insn, insn_writes(insn), &at->linear))
        return false;
    if (page == LOCAL_APIC || at->linear.v % PAGE_SIZE != 0)
        at->page = MEMORY;
    return true;
}

static void emulate(struct vcpu *vcpu, const struct exit_memory *fault, enum page page)
{
    struct insn insn;
    struct place at;
    if (!vcpu_decode(vcpu, &insn))
        return;
    if (find_place(vcpu, &insn, fault, page, &at) && perform(vcpu, &insn, &at))
        vcpu_skip(vcpu, vcpu->state.rip + insn.length);
}

/*
 * What is fetched from the hole is ones, and FF FF is no instruction (SDM, "Opcode Map"). Where the
 * instruction only ends there, the VM is stopped: ones can be its operand.
 */
static void fetch(struct vcpu *vcpu, gpa_t gpa)
{
    uint16_t opcode;
    gva_t linear = vcpu_code_address(vcpu, vcpu_code_size(vcpu), 0);
    if (!vcpu_access(vcpu, linear, WALK_FETCH, &opcode, sizeof(opcode)))
        return;
    if (opcode == 0xffff)
        vcpu_raise(vcpu, VECTOR_UD, 0);
    else
        vm_stop(vcpu->vm, "fetch from the hole at GPA 0x%lx", gpa.v);
}

static enum page page_at(struct vcpu *vcpu, gpa_t gpa)
{
    if (vcpu_is_apic(vcpu, gpa))
        return LOCAL_APIC;
    if (devices_is_ioapic(gpa.v))
        return IO_APIC;
    uint64_t offset = gpa.v - VPCI_ECAM_START;
    if (offset < VPCI_ECAM_SIZE)
        return PCI_CONFIG + (unsigned)(offset / PAGE_SIZE);
    return passthrough_is_mmio(vcpu->vm, gpa) ? REGISTERS : MEMORY;
}

void exit_memory(struct vcpu *vcpu, const struct vm_exit *exit)
{
    const struct exit_memory *fault = &exit->memory;
    struct vm *vm = vcpu->vm;
    enum page page = page_at(vcpu, fault->gpa);
    if (fault->walk)
        vcpu_tables_fault(vcpu, fault);
    else if (vcpu->event.valid)
        vm_stop(vm, "delivery of vector %u touches GPA 0x%lx, where nothing is", vcpu->event.vector,
                fault->gpa.v);
    else if (page == MEMORY && vm_gpa_kind(vm, fault->gpa) != GPA_HOLE)
        vcpu_stop_nowhere(vcpu, fault->gpa, fault->access);
    else if ((fault->access & PT_X) != 0)
        fetch(vcpu, fault->gpa);
    else if (page != LOCAL_APIC || !vcpu_has_apic_access(vcpu) || !vcpu_leave_apic(vcpu))
        emulate(vcpu, fault, page);
}
