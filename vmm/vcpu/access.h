/* Guest memory as an instruction sees it: by segment, linear and guest-physical address. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/vm.h"
#include "vmm/vcpu/walk.h"

/* What lies at a guest-physical address; a hole that must not be touched is nowhere. */
enum gpa_kind { GPA_RAM, GPA_HOLE, GPA_NOWHERE };
enum gpa_kind vm_gpa_kind(const struct vm *vm, gpa_t gpa);

/* Bytes of code at RIP: 2, 4 or 8 (CS.D, and 64-bit mode). */
static inline unsigned vcpu_code_size(struct vcpu *vcpu)
{
    vcpu_fetch(vcpu, STATE_MODE | STATE_CODE);
    const struct seg *cs = &vcpu->state.seg[SEG_CS];
    if ((vcpu->state.efer & EFER_LMA) != 0 && (cs->attr & SEG_L) != 0)
        return 8;
    return (cs->attr & SEG_D) != 0 ? 4 : 2;
}

/* The linear address of the byte of code at RIP + OFFSET. */
static inline gva_t vcpu_code_address(const struct vcpu *vcpu, unsigned code_size, unsigned offset)
{
    uint64_t at = vcpu->state.rip + offset;
    return gva(code_size == 8 ? at : (uint32_t)(vcpu->state.seg[SEG_CS].base + at));
}

/* The linear address of OFFSET in a segment; false: a fault has been queued (limit, canonical). */
bool vcpu_linear(struct vcpu *vcpu, enum seg_reg seg, uint64_t offset, unsigned width, bool write,
                 gva_t *linear);

/*
 * Copies WIDTH bytes at a linear address as an access of the guest would (WALK_READ, WALK_WRITE,
 * WALK_FETCH): RAM through a window, the hole as all ones or dropped. False: a fault has been
 * queued, or the VM was stopped; nothing was written.
 */
bool vcpu_access(struct vcpu *vcpu, gva_t linear, unsigned access, void *data, unsigned width);

/* Reads 8 aligned bytes of RAM; false: they cannot be read, and nothing has come of it. */
bool vcpu_peek(struct vcpu *vcpu, gva_t linear, uint64_t *value);

/* The same as vcpu_access(), but for the copying: whether the access can be made. */
bool vcpu_probe(struct vcpu *vcpu, gva_t linear, unsigned access, unsigned width);

/*
 * Adds to the HAVE bytes of code at RIP in BYTES those up to the end of the next byte's page, but
 * not beyond the 15th: an instruction that ends before a page does not access it. CODE_SIZE as
 * vcpu_code_size() says. Returns how many there are; 0: a fault has been queued, or the VM was
 * stopped.
 */
unsigned vcpu_fetch_code(struct vcpu *vcpu, unsigned code_size, unsigned have, uint8_t *bytes);

/*
 * Reads the four PDPTEs at CR3, as the CPU does when PAE paging begins (SDM, "PDPTE Registers").
 * False: a reserved bit is set (#GP), or they lie nowhere, and the VM is stopped.
 */
bool vcpu_read_pdptes(struct vcpu *vcpu, uint64_t cr3, uint64_t pdpte[4]);

/* What the guest's translation depends on now, for walks that are not accesses of the guest. */
const struct walk_state *vcpu_walk_state(struct vcpu *vcpu);

/* Reads an entry of the guest's tables, as struct walk_memory says. */
int vcpu_read_entry(struct vcpu *vcpu, gpa_t gpa, unsigned width, enum memtype type,
                    uint64_t *value);

/* The same for SIZE bytes in one page, 8 and 8 at once; -EIO: there is no RAM. */
int vcpu_read_table(struct vcpu *vcpu, gpa_t gpa, unsigned size, enum memtype type,
                    uint64_t *table);

/* Stops the VM for an access (PT_*) to nothing, or for page tables there, with GPA and RIP. */
void vcpu_stop_nowhere(struct vcpu *vcpu, gpa_t gpa, unsigned access);
void vcpu_stop_tables(struct vcpu *vcpu, gpa_t gpa);
