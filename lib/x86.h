/* Instructions that C lacks, and the architecture's constants, with the manuals' names. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CR0_PE (1ull << 0)
#define CR0_MP (1ull << 1)
#define CR0_EM (1ull << 2)
#define CR0_TS (1ull << 3)
#define CR0_ET (1ull << 4)
#define CR0_NE (1ull << 5)
#define CR0_WP (1ull << 16)
#define CR0_AM (1ull << 18)
#define CR0_NW (1ull << 29)
#define CR0_CD (1ull << 30)
#define CR0_PG (1ull << 31)

#define CR4_VME        (1ull << 0)
#define CR4_PVI        (1ull << 1)
#define CR4_TSD        (1ull << 2)
#define CR4_DE         (1ull << 3)
#define CR4_PSE        (1ull << 4)
#define CR4_PAE        (1ull << 5)
#define CR4_MCE        (1ull << 6)
#define CR4_PGE        (1ull << 7)
#define CR4_PCE        (1ull << 8)
#define CR4_OSFXSR     (1ull << 9)
#define CR4_OSXMMEXCPT (1ull << 10)
#define CR4_UMIP       (1ull << 11)
#define CR4_LA57       (1ull << 12)
#define CR4_VMXE       (1ull << 13)
#define CR4_FSGSBASE   (1ull << 16)
#define CR4_PCIDE      (1ull << 17)
#define CR4_OSXSAVE    (1ull << 18)
#define CR4_SMEP       (1ull << 20)
#define CR4_SMAP       (1ull << 21)

#define RFLAGS_CF    (1ull << 0)
#define RFLAGS_FIXED (1ull << 1)
#define RFLAGS_PF    (1ull << 2)
#define RFLAGS_AF    (1ull << 4)
#define RFLAGS_ZF    (1ull << 6)
#define RFLAGS_SF    (1ull << 7)
#define RFLAGS_TF    (1ull << 8)
#define RFLAGS_IF    (1ull << 9)
#define RFLAGS_DF    (1ull << 10)
#define RFLAGS_OF    (1ull << 11)
#define RFLAGS_RF    (1ull << 16)
#define RFLAGS_VM    (1ull << 17)
#define RFLAGS_AC    (1ull << 18)

#define EFER_SCE   (1ull << 0)
#define EFER_LME   (1ull << 8)
#define EFER_LMA   (1ull << 10)
#define EFER_NXE   (1ull << 11)
#define EFER_SVME  (1ull << 12)
#define EFER_FFXSR (1ull << 14)

/* State components that a guest may enable: x87, SSE, AVX, AVX-512. */
#define XCR0_X87    (1u << 0)
#define XCR0_SSE    (1u << 1)
#define XCR0_AVX    (1u << 2)
#define XCR0_AVX512 (7u << 5)
#define XCR0_GUEST  (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512)

#define DR6_BS     (1ull << 14)
#define DR6_RESET  0xffff0ff0ull
#define DR7_ENABLE 0xffull /* L0 to G3 */
#define DR7_GD     (1ull << 13)
#define DR7_RESET  0x400ull

enum vector {
    VECTOR_DE = 0,
    VECTOR_DB = 1,
    VECTOR_NMI = 2,
    VECTOR_BP = 3,
    VECTOR_OF = 4,
    VECTOR_UD = 6,
    VECTOR_NM = 7,
    VECTOR_DF = 8,
    VECTOR_TS = 10,
    VECTOR_NP = 11,
    VECTOR_SS = 12,
    VECTOR_GP = 13,
    VECTOR_PF = 14,
    VECTOR_AC = 17,
    VECTOR_MC = 18,
};

#define MSR_TSC             0x00000010u
#define MSR_APIC_BASE       0x0000001bu
#define MSR_FEATURE_CONTROL 0x0000003au
#define MSR_TSC_ADJUST      0x0000003bu
#define MSR_MTRRCAP         0x000000feu
#define MSR_SYSENTER_CS     0x00000174u
#define MSR_SYSENTER_ESP    0x00000175u
#define MSR_SYSENTER_EIP    0x00000176u
#define MSR_MCG_CAP         0x00000179u
#define MSR_MCG_STATUS      0x0000017au
#define MSR_MISC_ENABLE     0x000001a0u
#define MSR_DEBUGCTL        0x000001d9u
#define MSR_MTRR_PHYSBASE0  0x00000200u
#define MSR_MTRR_PHYSMASK7  0x0000020fu
#define MSR_MTRR_FIX64K     0x00000250u
#define MSR_MTRR_FIX16K_0   0x00000258u
#define MSR_MTRR_FIX16K_1   0x00000259u
#define MSR_MTRR_FIX4K_0    0x00000268u
#define MSR_MTRR_FIX4K_7    0x0000026fu
#define MSR_PAT             0x00000277u
#define MSR_MTRR_DEF_TYPE   0x000002ffu
#define MSR_MC0_STATUS      0x00000401u
#define MSR_TSC_DEADLINE    0x000006e0u
#define MSR_X2APIC          0x00000800u
#define MSR_XSS             0x00000da0u
#define MSR_EFER            0xc0000080u
#define MSR_STAR            0xc0000081u
#define MSR_LSTAR           0xc0000082u
#define MSR_CSTAR           0xc0000083u
#define MSR_SFMASK          0xc0000084u
#define MSR_FS_BASE         0xc0000100u
#define MSR_GS_BASE         0xc0000101u
#define MSR_KERNEL_GS_BASE  0xc0000102u
#define MSR_TSC_AUX         0xc0000103u
#define MSR_SYSCFG          0xc0010010u
#define MSR_HWCR            0xc0010015u
#define MSR_TOP_MEM2        0xc001001du
#define MSR_VM_CR           0xc0010114u
#define MSR_VM_HSAVE_PA     0xc0010117u

struct cpuid_regs {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid_regs cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_regs r;
    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr"
                     :
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

/*
 * A fault at label 1 goes on at label 2 with the carry flag set: the trap handler finds the pair in
 * the exception table.
 */
#define EXTABLE ".pushsection .extable,\"a\"\n\t.quad 1b, 2b\n\t.popsection\n\t"

/* Reads an MSR that may not exist; false: it raised #GP. */
static inline bool rdmsr_safe(uint32_t msr, uint64_t *value)
{
    uint32_t low = 0, high = 0;
    bool fault;
    __asm__ volatile("clc\n1: rdmsr\n2:\n\t" EXTABLE
                     : "+a"(low), "+d"(high), "=@ccc"(fault)
                     : "c"(msr));
    *value = (uint64_t)high << 32 | low;
    return !fault;
}

/* Writes an MSR that may not exist or take the value; false: it raised #GP. */
static inline bool wrmsr_safe(uint32_t msr, uint64_t value)
{
    bool fault;
    __asm__ volatile("clc\n1: wrmsr\n2:\n\t" EXTABLE
                     : "=@ccc"(fault)
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
    return !fault;
}

/* XCR0; CR4.OSXSAVE must be set. */
static inline uint64_t xgetbv(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Sets XCR0; false: it raised #GP. */
static inline bool xsetbv_safe(uint64_t value)
{
    bool fault;
    __asm__ volatile("clc\n1: xsetbv\n2:\n\t" EXTABLE
                     : "=@ccc"(fault)
                     : "c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
    return !fault;
}

static inline uint32_t in32(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %w1, %k0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %k0, %w1" : : "a"(value), "Nd"(port));
}

static inline uint16_t in16(uint16_t port)
{
    uint16_t value;
    __asm__ volatile("inw %w1, %w0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %w0, %w1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %w1, %b0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %b0, %w1" : : "a"(value), "Nd"(port));
}

#define X86_CR(n)                                                                                  \
    static inline uint64_t read_cr##n(void)                                                        \
    {                                                                                              \
        uint64_t value;                                                                            \
        __asm__ volatile("mov %%cr" #n ", %0" : "=r"(value));                                      \
        return value;                                                                              \
    }                                                                                              \
    static inline void write_cr##n(uint64_t value)                                                 \
    {                                                                                              \
        __asm__ volatile("mov %0, %%cr" #n : : "r"(value) : "memory");                             \
    }

X86_CR(0)
X86_CR(2)
X86_CR(3)
X86_CR(4)

static inline uint64_t read_dr6(void)
{
    uint64_t value;
    __asm__ volatile("mov %%dr6, %0" : "=r"(value));
    return value;
}

static inline void write_dr6(uint64_t value)
{
    __asm__ volatile("mov %0, %%dr6" : : "r"(value));
}

static inline void invlpg(const void *address)
{
    __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

static inline void clflush(const void *line)
{
    __asm__ volatile("clflush (%0)" : : "r"(line) : "memory");
}

static inline void mfence(void)
{
    __asm__ volatile("mfence" : : : "memory");
}

/* Makes the 16 bytes at AT, a multiple of 16, LOW and HIGH in one write. */
static inline void store16(uint64_t *at, uint64_t low, uint64_t high)
{
    struct pair {
        uint64_t word[2];
    } *pair = (struct pair *)(void *)at;
    uint64_t old_low = at[0], old_high = at[1];
    __asm__ volatile("1: lock cmpxchg16b %0\n\t"
                     "jnz 1b"
                     : "+m"(*pair), "+a"(old_low), "+d"(old_high)
                     : "b"(low), "c"(high)
                     : "cc", "memory");
}

static inline void wbinvd(void)
{
    __asm__ volatile("wbinvd" : : : "memory");
}

static inline void cpu_relax(void)
{
    __asm__ volatile("pause");
}
