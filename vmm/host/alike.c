/* Whether a CPU is as the first one is: features by CPUID, and the MTRRs. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/alike.h"

#include "lib/string.h"
#include "lib/x86.h"
#include "mm/host_types.h"
#include "vmm/host/log.h"

/* Answers of CPUID, and which of their bits say what a CPU can do. */
static const struct {
    uint32_t leaf;
    struct cpuid_regs bits;
} leaves[] = {
    {0x1, {~0xfu, 0, ~(1u << 27), UINT32_MAX}},     /* but the stepping, and what is a CR4 bit */
    {0x7, {0, UINT32_MAX, ~(1u << 4), UINT32_MAX}}, /* so is OSPKE */
    {0xd, {UINT32_MAX, 0, 0, UINT32_MAX}},          /* state components */
    {0x80000001, {0, 0, UINT32_MAX, UINT32_MAX}},
    {0x80000008, {UINT32_MAX, UINT32_MAX, 0, 0}}, /* address sizes */
    {0x8000000a, {0, 0, 0, UINT32_MAX}},
};

static struct cpuid_regs first[ARRAY_SIZE(leaves)];
static const struct mtrr_state *first_mtrr;

static struct cpuid_regs read_leaf(unsigned i)
{
    const struct cpuid_regs *bits = &leaves[i].bits;
    struct cpuid_regs r = {0};
    if (leaves[i].leaf <= cpuid(leaves[i].leaf & 0x80000000u, 0).eax)
        r = cpuid(leaves[i].leaf, 0);
    return (struct cpuid_regs){r.eax & bits->eax, r.ebx & bits->ebx, r.ecx & bits->ecx,
                               r.edx & bits->edx};
}

void alike_take_first(const struct host *host)
{
    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++)
        first[i] = read_leaf(i);
    first_mtrr = &host->mtrr;
}

static bool has_features_of_first(void)
{
    bool alike = true;
    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++) {
        struct cpuid_regs r = read_leaf(i), *f = &first[i];
        if (memcmp(&r, f, sizeof(r)) == 0)
            continue;
        alike = false;
        log_line("cpu: CPUID 0x%x differs from CPU 0's, by bits 0x%x 0x%x 0x%x 0x%x: left out",
                 leaves[i].leaf, r.eax ^ f->eax, r.ebx ^ f->ebx, r.ecx ^ f->ecx, r.edx ^ f->edx);
    }
    return alike;
}

/* SDM, "MTRR Considerations in MP Systems": CR4.PGE is never set here. */
static void set_mtrrs(const struct mtrr_state *state)
{
    uint64_t cr0 = read_cr0();
    write_cr0((cr0 | CR0_CD) & ~CR0_NW);
    wbinvd();
    write_cr3(read_cr3());
    host_types_write(wrmsr, state);
    wbinvd();
    write_cr3(read_cr3());
    write_cr0(cr0);
}

static bool has_mtrrs_of_first(void)
{
    struct mtrr_state mtrr;
    (void)host_types_read(rdmsr_safe, cpu_phys_bits(), &mtrr);
    return host_types_equal(&mtrr, first_mtrr);
}

enum likeness alike_check(void)
{
    if (!has_features_of_first())
        return UNLIKE;
    if (has_mtrrs_of_first())
        return ALIKE;
    set_mtrrs(first_mtrr);
    if (has_mtrrs_of_first())
        return ALIKE_MENDED;
    log_line("cpu: its MTRRs cannot be made those of CPU 0: left out; mend the firmware's set-up");
    return UNLIKE;
}
