/* The VMX instructions (SDM, "VMX Instruction Reference"). All but VMREAD say whether they
 * succeeded. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

/* VMfailInvalid sets CF, VMfailValid ZF: "above" is neither. */
#define VMX_POINTER_INSN(name)                                                                     \
    static inline bool name(hpa_t page)                                                            \
    {                                                                                              \
        bool done;                                                                                 \
        __asm__ volatile(#name " %1" : "=@cca"(done) : "m"(page.v) : "memory");                    \
        return done;                                                                               \
    }

VMX_POINTER_INSN(vmxon)
VMX_POINTER_INSN(vmclear)
VMX_POINTER_INSN(vmptrld)

static inline void vmxoff(void)
{
    __asm__ volatile("vmxoff" : : : "cc");
}

/* *VALUE is undefined where it fails. */
static inline bool vmread_insn(uint64_t field, uint64_t *value)
{
    bool done;
    __asm__ volatile("vmread %2, %1" : "=@cca"(done), "=rm"(*value) : "r"(field));
    return done;
}

static inline bool vmwrite_insn(uint64_t field, uint64_t value)
{
    bool done;
    __asm__ volatile("vmwrite %2, %1" : "=@cca"(done) : "r"(field), "rm"(value));
    return done;
}

/* Types of INVEPT and INVVPID. */
enum { INVALIDATE_SINGLE = 1, INVALIDATE_ALL = 2 };

struct invalidate_descriptor {
    uint64_t first, second;
};

static inline bool invept(uint64_t type, struct invalidate_descriptor descriptor)
{
    bool done;
    __asm__ volatile("invept %1, %2" : "=@cca"(done) : "m"(descriptor), "r"(type) : "memory");
    return done;
}

static inline bool invvpid(uint64_t type, struct invalidate_descriptor descriptor)
{
    bool done;
    __asm__ volatile("invvpid %1, %2" : "=@cca"(done) : "m"(descriptor), "r"(type) : "memory");
    return done;
}
