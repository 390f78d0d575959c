/* One logical CPU of the host: descriptor tables, control registers, PAT. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/cpu.h"

#include "lib/x86.h"
#include "mm/memtype.h"
#include "vmm/host/layout.h"
#include "vmm/host/log.h"
#include "vmm/host/traps.h"

/* SDM, "Segment Descriptors": 64-bit code and data, both accessed, and a 64-bit TSS's first half.
 */
#define DESCRIPTOR_CODE 0x00af9b000000ffffull
#define DESCRIPTOR_DATA 0x00cf93000000ffffull
#define DESCRIPTOR_TSS  0x0000890000000000ull

/* Interrupt stacks until the host's own tables map guarded ones. */
static _Alignas(16) char early_ist[IST_STACK_SIZE];

/* What LGDT and SGDT move. */
struct __attribute__((packed)) table_register {
    uint16_t limit;
    uint64_t base;
};

bool cpu_has(uint32_t leaf, unsigned reg, unsigned bit)
{
    uint32_t first = leaf & 0x80000000u;
    if (leaf > cpuid(first, 0).eax)
        return false;
    struct cpuid_regs r = cpuid(leaf, 0);
    uint32_t values[] = {r.eax, r.ebx, r.ecx, r.edx};
    assert(reg < 4 && bit < 32);
    return (values[reg] >> bit & 1) != 0;
}

unsigned cpu_phys_bits(void)
{
    unsigned bits = cpuid(0x80000000, 0).eax >= 0x80000008 ? cpuid(0x80000008, 0).eax & 0xff : 36;
    assert(bits >= 32 && bits <= 52);
    return bits;
}

uint64_t cpu_main_stack(uint32_t index)
{
    return AREA_VA + index * CPU_STRIDE + PAGE_SIZE + MAIN_STACK_SIZE;
}

uint64_t cpu_ist_stack(uint32_t index, enum ist ist)
{
    assert(ist > IST_NONE && ist < IST_COUNT);
    return cpu_main_stack(index) + ist * (PAGE_SIZE + IST_STACK_SIZE);
}
static_assert(PAGE_SIZE + MAIN_STACK_SIZE + (IST_COUNT - 1) * (PAGE_SIZE + IST_STACK_SIZE) +
                      PAGE_SIZE <=
                  AREA_CPU_OFFSET,
              "a page stays unmapped between a CPU's stacks and what follows");

static void set_ist(struct tss *tss, enum ist ist, uint64_t top)
{
    enum { FIRST = 2 * 3 + 2 };
    unsigned at = FIRST + 2 * ((unsigned)ist - 1);
    tss->rsp_ist[at] = (uint32_t)top;
    tss->rsp_ist[at + 1] = (uint32_t)(top >> 32);
}

static void fill_gdt(struct cpu *cpu)
{
    uint64_t tss = (uint64_t)&cpu->tss;
    uint64_t limit = sizeof(cpu->tss) - 1;
    cpu->gdt[SEL_CODE / 8] = DESCRIPTOR_CODE;
    cpu->gdt[SEL_DATA / 8] = DESCRIPTOR_DATA;
    cpu->gdt[SEL_TSS / 8] =
        DESCRIPTOR_TSS | limit | (tss & 0xffffff) << 16 | (tss >> 24 & 0xff) << 56;
    cpu->gdt[SEL_TSS / 8 + 1] = tss >> 32;
}

static void load_segments(void)
{
    __asm__ volatile("pushq %0\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1: mov %1, %%ds\n\t"
                     "mov %1, %%es\n\t"
                     "mov %1, %%ss\n\t"
                     "mov %2, %%fs\n\t"
                     "mov %2, %%gs\n\t"
                     :
                     : "i"(SEL_CODE), "r"(SEL_DATA), "r"(0)
                     : "rax", "memory");
}

/* GDTR is the host's whatever GS is: it leads to the table in the CPU's area. */
void cpu_reclaim_gs(void)
{
    struct table_register gdtr;
    __asm__ volatile("sgdt %0" : "=m"(gdtr));
    uint64_t cpu = gdtr.base - offsetof(struct cpu, gdt);
    if (rdmsr(MSR_GS_BASE) != cpu)
        wrmsr(MSR_GS_BASE, cpu);
}

void cpu_load_tables(struct cpu *cpu)
{
    bool mapped = cpu->window_entry != NULL;
    for (enum ist ist = IST_DF; ist < IST_COUNT; ist++)
        set_ist(&cpu->tss, ist,
                mapped ? cpu_ist_stack(cpu->index, ist) : (uint64_t)early_ist + sizeof(early_ist));
    cpu->tss.io_map_base = sizeof(cpu->tss);
    cpu->self = cpu;
    fill_gdt(cpu);
    const struct table_register gdtr = {sizeof(cpu->gdt) - 1, (uint64_t)cpu->gdt};
    __asm__ volatile("lgdt %0" : : "m"(gdtr));
    load_segments();
    wrmsr(MSR_GS_BASE, (uint64_t)cpu);
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
    traps_load();
}

struct mode_bit {
    uint8_t leaf7; /* 1: CPUID leaf 7, 0: leaf 1 */
    uint8_t reg, bit;
    uint64_t cr4;
    const char *name;
};

void cpu_set_modes(void)
{
    static const struct mode_bit optional[] = {
        {1, 1, 7, CR4_SMEP, "SMEP"},
        {1, 1, 20, CR4_SMAP, "SMAP"},
        {1, 2, 2, CR4_UMIP, "UMIP"},
    };
    uint64_t cr4 = CR4_PAE | CR4_MCE | CR4_DE;
    for (unsigned i = 0; i < ARRAY_SIZE(optional); i++) {
        const struct mode_bit *m = &optional[i];
        if (cpu_has(m->leaf7 ? 7 : 1, m->reg, m->bit))
            cr4 |= m->cr4;
        else if (this_cpu()->index == 0)
            log_line("cpu: no %s", m->name);
    }
    if (cpu_has(1, 2, 26))
        cr4 |= CR4_OSXSAVE;
    write_cr4(cr4);
    write_cr0(CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE);
    wrmsr(MSR_EFER, EFER_LME | EFER_LMA | EFER_NXE);
    wbinvd();
    wrmsr(MSR_PAT, HOST_PAT);
    write_cr3(read_cr3());
}
