/*
 * Control registers and EFER: what is stored and read back, what is #GP and #UD, in 64-bit mode and
 * where the rules are of other modes.
 *
 * row: cr end=0
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/mode.h"

#define NO_GP_CR    "emulator: no #GP from MOV to CR0"
#define NO_LME_EXIT "emulator: an exit with LME and without PAE ends the machine"
#define NO_GP_CR3   "emulator: no #GP from MOV to CR3"
#define NO_GP_PE    "emulator: no #GP from PG without PE in an SVM guest"
#define NO_GP_CR4   "emulator: reserved bits of CR4 end the machine"
#define NO_GP_MSR   "emulator: no #GP from MSRs"
#define NO_GP_CR8   "emulator: no #GP from CR8"
#define CR4_CHANGES (CR4_PAE | CR4_LA57 | CR4_SMEP | CR4_SMAP)
#define LOW_CR0     (CR0_PE | CR0_MP | CR0_EM | CR0_TS)

enum { CRS = 16, FORM_SIZE = 4, AMD_CR3_TOP = 52 };

extern const char *const forms_from[CRS], *const forms_to[CRS];
extern const char form_clts[], form_lmsw[], form_smsw[], form_smsw_ud2[];
extern const char form_cr4_mod0[], form_cr4_mod1[], form_cr4_mod2[], form_cr4_66[];
extern const char form_cr4_rexw[], form_cr4_segment[], form_cr4_long[], form_cr4_rsp[];
extern const char form_cr4_rbp[], form_cr4_r12[], form_cr4_r15[], form_cr8_r12[], form_cr8_rsp[];
extern const struct mode_code op_rdmsr, op_wrmsr, op_to_cr0, op_to_cr3, op_to_cr4, op_cr3_load;
extern const struct mode_code op_pdpte_cr0, op_pdpte_cr4, op_lmsw_pe, op_long_cr0, op_tss16_cr0;

static uint64_t read_cr(unsigned cr)
{
    struct registers r = {.rflags = RFLAGS_FIXED};
    form_run(forms_from[cr], SEL_CODE64, &r);
    return r.gpr[RAX];
}

static struct fault write_cr(unsigned cr, uint64_t value)
{
    struct registers r = {.rflags = RFLAGS_FIXED};
    r.gpr[RAX] = value;
    return form_run(forms_to[cr], SEL_CODE64, &r);
}

/* VALUE is #GP(0) and changes nothing. False: there was no fault. */
static bool expect_refused(unsigned cr, uint64_t value)
{
    uint64_t old = read_cr(cr);
    struct fault fault = write_cr(cr, value);
    uint64_t now = read_cr(cr);
    expect(is_gp0(fault), "CR%u, %lx: vector %d, error %x", cr, value, fault.vector, fault.error);
    expect(now == old, "CR%u: %lx after %lx, not %lx", cr, now, value, old);
    if (now != old)
        write_cr(cr, old);
    return fault.vector != FAULT_NONE;
}

/* VALUE is stored, and reads back as WANT; then the old one is. */
static void expect_reads(unsigned cr, uint64_t value, uint64_t want)
{
    uint64_t old = read_cr(cr);
    struct fault fault = write_cr(cr, value);
    uint64_t got = read_cr(cr);
    write_cr(cr, old);
    expect(fault.vector == FAULT_NONE, "CR%u, %lx: vector %d", cr, value, fault.vector);
    expect(got == want, "CR%u: wrote %lx, read %lx, not %lx", cr, value, got, want);
    expect(read_cr(cr) == old, "CR%u: restored %lx, read %lx", cr, old, read_cr(cr));
}

/*
 * NULL where the CPU raises the #GP of CR0: AMD's hypervisor leaves those to it, and one
 * emulator, that takes bits 63:32 of CR0 without a fault, does other things than it should for
 * others.
 */
static const char *needs_gp(void)
{
    static int lenient = -1;
    if (lenient < 0)
        lenient = !machine.intel && write_cr(0, read_cr(0) | 1ull << 32).vector == FAULT_NONE;
    return lenient ? NO_GP_CR : NULL;
}

/*
 * The same of CR3, whose writes do not exit: there what a CPU does that takes more than 4 bits in
 * CR8 is lost.
 */
static const char *needs_gp_cr3(void)
{
    static int lenient = -1;
    if (lenient < 0) {
        lenient = !machine.intel && write_cr(8, 0x10).vector == FAULT_NONE;
        write_cr(8, 0);
    }
    return lenient ? NO_GP_CR3 : NULL;
}

/* On the same CPU, an exit with LME and without PAE ends the machine. */
static const char *needs_lme_exits(void)
{
    return needs_gp_cr3() != NULL ? NO_LME_EXIT : NULL;
}

/* The same of PG without PE, which another emulator takes in a guest of AMD's hypervisor. */
static const char *needs_gp_pe(void)
{
    static int lenient = -1;
    if (needs_gp() != NULL)
        return needs_gp();
    if (lenient < 0) {
        uint64_t cr0 = read_cr(0);
        lenient = !machine.intel && write_cr(0, cr0 & ~CR0_PE).vector == FAULT_NONE;
        write_cr(0, cr0);
    }
    return lenient ? NO_GP_PE : NULL;
}

static const char *needs_intel(void)
{
    return machine.intel ? NULL : "only on Intel";
}

static const char *needs_gp_cr4(void)
{
    return machine.nosnoop || needs_gp() == NULL ? NULL : NO_GP_CR4;
}

static const char *needs_gp_msr(void)
{
    return machine.nosnoop || needs_gp() == NULL ? NULL : NO_GP_MSR;
}

static const char *needs_nosnoop_gp(void)
{
    return needs_gp_cr3() != NULL ? needs_gp_cr3() : needs_nosnoop();
}

static void cr0_high(void)
{
    for (unsigned bit = 32; bit < 64; bit++)
        expect_refused(0, read_cr(0) | 1ull << bit);
}

static void cr0_reserved(void)
{
    static const uint8_t bits[] = {6, 7, 8, 12, 15, 17, 19, 20, 24, 28};
    uint64_t cr0 = read_cr(0);
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
        for (uint64_t cd = 0; cd <= CR0_CD; cd += CR0_CD)
            expect_reads(0, cr0 | cd | 1ull << bits[i], cr0 | cd);
}

static void cr0_stores(void)
{
    static const uint64_t bits[] = {CR0_MP,          CR0_EM,         CR0_TS, CR0_NE,
                                    CR0_WP,          CR0_AM,         CR0_CD, CR0_CD | CR0_NW,
                                    CR0_CD | CR0_NE, CR0_TS | CR0_NE};
    uint64_t cr0 = read_cr(0);
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
        expect_reads(0, cr0 ^ bits[i], cr0 ^ bits[i]);
    expect_reads(0, cr0 & ~CR0_ET, cr0 | CR0_ET);
    expect_reads(0, (cr0 & ~CR0_ET) | CR0_CD, cr0 | CR0_ET | CR0_CD);
}

/* Each change from one legal state to another, so that what the CPU keeps and what it shows agree.
 */
static void cr0_caching(void)
{
    static const uint64_t states[] = {0, CR0_CD, CR0_CD | CR0_NW};
    uint64_t cr0 = read_cr(0) & ~(CR0_CD | CR0_NW);
    for (unsigned from = 0; from < ARRAY_SIZE(states); from++)
        for (unsigned to = 0; to < ARRAY_SIZE(states); to++)
            for (unsigned ne = 0; ne < 4; ne++) {
                uint64_t first = (cr0 & ~CR0_NE) | states[from] | (ne & 1 ? CR0_NE : 0);
                uint64_t second = (cr0 & ~CR0_NE) | states[to] | (ne & 2 ? CR0_NE : 0);
                write_cr(0, first);
                expect(read_cr(0) == first, "%lx, not %lx", read_cr(0), first);
                write_cr(0, second);
                expect(read_cr(0) == second, "%lx, not %lx", read_cr(0), second);
                write_cr(0, cr0);
            }
}

static void cr0_illegal(void)
{
    uint64_t cr0 = read_cr(0);
    expect_refused(0, (cr0 & ~CR0_CD) | CR0_NW);
    expect_refused(0, cr0 & ~CR0_PG);
    expect_refused(0, (cr0 & ~CR0_PG) | CR0_CD);
    expect_refused(0, (cr0 & ~CR0_PG) ^ CR0_NE);
    expect_refused(0, cr0 & ~(CR0_PG | CR0_PE));
    expect_refused(0, 0);
    write_cr(0, cr0 | CR0_CD | CR0_NW);
    expect_refused(0, (cr0 & ~CR0_CD) | CR0_NW);
    write_cr(0, cr0);
}

static void cr0_no_pe(void)
{
    expect_refused(0, read_cr(0) & ~CR0_PE);
    expect_refused(0, (read_cr(0) & ~CR0_PE) | CR0_CD);
}

static uint64_t machine_status(const char *code, uint64_t rax)
{
    struct registers r = {.rflags = RFLAGS_FIXED};
    r.gpr[RAX] = rax;
    struct fault fault = form_run(code, SEL_CODE64, &r);
    expect(fault.vector == FAULT_NONE, "vector %d", fault.vector);
    return r.gpr[RAX];
}

static void lmsw(void)
{
    uint64_t cr0 = read_cr(0);
    for (uint64_t low = 0; low < 0x10; low++) {
        uint64_t want = (cr0 & ~LOW_CR0) | low | CR0_PE;
        machine_status(form_lmsw, 0xfff0 | low);
        uint64_t got = read_cr(0), msw = machine_status(form_smsw, 0) & 0xffff;
        expect(got == want, "LMSW %lx: %lx, not %lx", low, got, want);
        expect(msw == (uint16_t)want, "SMSW %lx, not %lx", msw, want);
        machine_status(form_clts, 0);
        expect(read_cr(0) == (want & ~CR0_TS), "CLTS: %lx", read_cr(0));
    }
    write_cr(0, cr0);
}

static void cr3_high(void)
{
    for (unsigned bit = machine.intel ? physical_bits() : AMD_CR3_TOP; bit < 64; bit++)
        expect_refused(3, read_cr(3) | 1ull << bit);
}

static void cr3_stores(void)
{
    uint64_t cr3 = read_cr(3);
    for (uint64_t bits = 0; bits < 4; bits++)
        expect_reads(3, cr3 | bits << 3, cr3 | bits << 3);
}

/* SDM, "Control Registers": CR4's bits, and the CPUID bit that offers each. */
static const struct cr4_bit {
    uint8_t bit, leaf, reg, cpuid;
} cr4_bits[] = {
    {0, 1, 3, 1},   {1, 1, 3, 1},  {2, 1, 3, 4},  {3, 1, 3, 2},   {4, 1, 3, 3},   {5, 1, 3, 6},
    {6, 1, 3, 7},   {7, 1, 3, 13}, {9, 1, 3, 24}, {10, 1, 3, 25}, {11, 7, 2, 2},  {12, 7, 2, 16},
    {13, 1, 2, 5},  {14, 1, 2, 6}, {16, 7, 1, 0}, {17, 1, 2, 17}, {18, 1, 2, 26}, {20, 7, 1, 7},
    {21, 7, 1, 20}, {22, 7, 2, 3}, {23, 7, 2, 7},
};

static uint64_t cr4_offered(void)
{
    uint64_t offered = CR4_PCE;
    for (const struct cr4_bit *b = cr4_bits; b < cr4_bits + ARRAY_SIZE(cr4_bits); b++) {
        struct cpuid_regs r = cpuid(b->leaf, 0);
        uint32_t regs[] = {r.eax, r.ebx, r.ecx, r.edx};
        offered |= (uint64_t)(regs[b->reg] >> b->cpuid & 1) << b->bit;
    }
    return offered;
}

static void cr4_reserved(void)
{
    for (unsigned bit = 0; bit < 64; bit++)
        if ((cr4_offered() >> bit & 1) == 0)
            expect_refused(4, read_cr(4) | 1ull << bit);
}

static void cr4_stores(void)
{
    uint64_t cr4 = read_cr(4), can = cr4_offered() & ~CR4_CHANGES;
    for (unsigned bit = 0; bit < 64; bit++)
        if ((can >> bit & 1) != 0)
            expect_reads(4, cr4 ^ 1ull << bit, cr4 ^ 1ull << bit);
    expect_reads(4, cr4 | can, cr4 | can);
}

static void cr4_long_mode(void)
{
    expect_refused(4, read_cr(4) & ~CR4_PAE);
    expect_refused(4, read_cr(4) ^ CR4_LA57);
    expect_refused(4, 0);
}

static void no_such_cr(void)
{
    static const uint8_t none[] = {1, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15};
    struct registers r = {.rflags = RFLAGS_FIXED};
    for (unsigned i = 0; i < ARRAY_SIZE(none); i++)
        for (unsigned to = 0; to < 2; to++) {
            const char *form = to ? forms_to[none[i]] : forms_from[none[i]];
            struct fault fault = form_run(form, SEL_CODE64, &r);
            expect(fault.vector == VECTOR_UD && fault.rip == (uint64_t)form,
                   "CR%u, %s: vector %d, RIP + %lx", none[i], to ? "write" : "read", fault.vector,
                   fault.rip - (uint64_t)form);
        }
}

static void cr8_stores(void)
{
    expect(read_cr(8) == 0, "%lx at first", read_cr(8));
    for (uint64_t value = 0; value < 16; value++)
        expect_reads(8, value, value);
}

static void cr8_reserved(void)
{
    write_cr(8, 5);
    if (!machine.intel && write_cr(8, 0x10).vector == FAULT_NONE) {
        skip(NO_GP_CR8);
    } else {
        for (unsigned bit = 4; bit < 64; bit++)
            expect_refused(8, 1ull << bit | 3);
    }
    write_cr(8, 0);
}

/* Read by one register, and written by the same; RAX has it at the end. */
static void encodings(void)
{
    static const struct {
        const char *form;
        unsigned cr;
    } all[] = {
        {form_cr4_mod0, 4}, {form_cr4_mod1, 4}, {form_cr4_mod2, 4},    {form_cr4_66, 4},
        {form_cr4_rexw, 4}, {form_cr4_long, 4}, {form_cr4_segment, 4}, {form_cr4_rsp, 4},
        {form_cr4_rbp, 4},  {form_cr4_r12, 4},  {form_cr4_r15, 4},     {form_cr8_r12, 8},
        {form_cr8_rsp, 8},
    };
    write_cr(8, 9);
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        uint64_t value = read_cr(all[i].cr);
        uint64_t rax = machine_status(all[i].form, 0x5555);
        expect(rax == value && read_cr(all[i].cr) == value, "encoding %u: %lx, then %lx, not %lx",
               i, rax, read_cr(all[i].cr), value);
    }
    write_cr(8, 0);
}

static void expect_privileged(const char *form)
{
    struct registers r = {.rflags = RFLAGS_FIXED};
    r.gpr[RAX] = ~0ull;
    struct fault fault = form_run(form, SEL_USER_CODE64, &r);
    expect(is_gp0(fault) && fault.rip == (uint64_t)form, "vector %d, error %x", fault.vector,
           fault.error);
}

static void user(void)
{
    static const uint8_t crs[] = {0, 2, 3, 4, 8};
    for (unsigned i = 0; i < ARRAY_SIZE(crs); i++) {
        expect_privileged(forms_from[crs[i]]);
        expect_privileged(forms_to[crs[i]]);
    }
    expect_privileged(form_clts);
    expect_privileged(form_lmsw);
}

static void expect_smsw(bool refused)
{
    struct registers r = {.rflags = RFLAGS_FIXED};
    struct fault fault = form_run(form_smsw_ud2, SEL_USER_CODE64, &r);
    if (refused)
        expect(is_gp0(fault), "vector %d, error %x", fault.vector, fault.error);
    else
        expect(fault.vector == VECTOR_UD && (uint16_t)r.gpr[RAX] == (uint16_t)read_cr(0),
               "vector %d, %lx", fault.vector, r.gpr[RAX]);
}

static void user_smsw(void)
{
    expect_smsw(false);
    write_cr(0, read_cr(0) ^ CR0_NE);
    expect_smsw(false);
    write_cr(0, read_cr(0) ^ CR0_NE);
}

static void user_umip(void)
{
    if ((cr4_offered() & CR4_UMIP) == 0) {
        skip("the CPU has no UMIP");
        return;
    }
    write_cr(4, read_cr(4) | CR4_UMIP);
    expect_smsw(true);
    machine_status(form_smsw, 0);
    write_cr(4, read_cr(4) & ~CR4_UMIP);
    expect_smsw(false);
}

/* --- other modes ----------------------------------------------------------------------------- */

static struct mode real = {.name = "real", .kind = MODE_REAL, .bits = 16};
static struct mode unpaged = {.name = "unpaged", .kind = MODE_32, .bits = 32};
static struct mode unpaged_pae = {
    .name = "unpaged, PAE", .kind = MODE_32, .bits = 32, .cr4 = CR4_PAE};
static struct mode pae = {
    .name = "PAE", .kind = MODE_32, .bits = 32, .cr0 = CR0_PG, .cr4 = CR4_PAE};
static struct mode compatibility = {.name = "compatibility",
                                    .kind = MODE_32,
                                    .bits = 32,
                                    .cr0 = CR0_PG,
                                    .cr4 = CR4_PAE,
                                    .efer = EFER_LME};

static void set_tables(void)
{
    unpaged.cr3 = unpaged_pae.cr3 = pae.cr3 = (uint64_t)mode_pdpt;
    compatibility.cr3 = read_cr(3);
}

static struct fault run(const struct mode *m, const struct mode_code *code, uint64_t rax,
                        struct registers *r)
{
    r->rflags = RFLAGS_FIXED;
    r->gpr[RAX] = rax;
    return mode_run(m, code, MODE_CODE, r);
}

static void refused_in(const struct mode *m, const struct mode_code *code, uint64_t rax)
{
    struct registers r = {.rflags = 0};
    struct fault fault = run(m, code, rax, &r);
    expect(is_gp0(fault) && fault.rip == 0, "%s, %lx: vector %d, error %x, RIP + %lx", m->name, rax,
           fault.vector, fault.error, fault.rip);
}

static void takes_in(const struct mode *m, const struct mode_code *code, uint64_t rax)
{
    struct registers r = {.rflags = 0};
    struct fault fault = run(m, code, rax, &r);
    expect(fault.vector == FAULT_NONE, "%s, %lx: vector %d, error %x, RIP + %lx", m->name, rax,
           fault.vector, fault.error, fault.rip);
}

static void other_cr0(void)
{
    const uint64_t off = CR0_ET | CR0_NE, on = off | CR0_PE;
    refused_in(&real, &op_to_cr0, off | CR0_NW);
    refused_in(&unpaged, &op_to_cr0, on | CR0_NW);
    refused_in(&pae, &op_to_cr0, on | CR0_PG | CR0_NW);
    takes_in(&unpaged, &op_to_cr0, on | CR0_CD | CR0_NW);
    takes_in(&pae, &op_to_cr0, on);
    takes_in(&pae, &op_to_cr0, on | CR0_PG | CR0_CD);
}

static void other_no_pe(void)
{
    const uint64_t cr0 = CR0_ET | CR0_NE | CR0_PG;
    refused_in(&real, &op_to_cr0, cr0);
    refused_in(&real, &op_to_cr0, cr0 | CR0_CD);
    refused_in(&unpaged, &op_to_cr0, cr0);
    refused_in(&pae, &op_to_cr0, cr0);
    refused_in(&pae, &op_to_cr0, cr0 | CR0_CD);
    refused_in(&compatibility, &op_to_cr0, cr0);
}

/* SDM, "Initializing IA-32e Mode": LME wants PAE. */
static void long_without_pae(void)
{
    struct mode m = unpaged;
    m.efer = EFER_LME;
    refused_in(&m, &op_to_cr0, CR0_ET | CR0_NE | CR0_PE | CR0_PG);
    refused_in(&m, &op_to_cr0, CR0_ET | CR0_NE | CR0_PE | CR0_PG | CR0_CD);
}

static void other_cr4(void)
{
    refused_in(&compatibility, &op_to_cr4, 0);
    refused_in(&compatibility, &op_to_cr4, CR4_PAE | CR4_LA57);
    refused_in(&unpaged, &op_to_cr4, 1u << 15);
    refused_in(&real, &op_to_cr4, 1u << 31);
    if (machine.nosnoop) /* VMXE, which a bare CPU may have */
        refused_in(&pae, &op_to_cr4, CR4_PAE | CR4_VMXE);
    takes_in(&unpaged, &op_to_cr4, CR4_PAE | CR4_MCE);
    takes_in(&real, &op_to_cr4, CR4_PSE);
}

static uint64_t efer_in(const struct mode *m)
{
    struct registers r = {.rflags = 0};
    r.gpr[RCX] = MSR_EFER;
    struct fault fault = run(m, &op_rdmsr, 0, &r);
    expect(fault.vector == FAULT_NONE, "%s: vector %d", m->name, fault.vector);
    return (uint32_t)r.gpr[RAX] & (EFER_LME | EFER_LMA | EFER_NXE);
}

static void expect_efer(const struct mode *m, uint64_t want)
{
    uint64_t got = efer_in(m);
    expect(got == want, "%s: %lx, not %lx", m->name, got, want);
}

static void efer_follows(void)
{
    struct mode m = unpaged_pae;
    uint64_t nxe = rdmsr(MSR_EFER) & EFER_NXE;
    m.efer = EFER_LME;
    expect_efer(&real, nxe);
    expect_efer(&unpaged, nxe);
    expect_efer(&pae, nxe);
    expect_efer(&m, nxe | EFER_LME);
    expect_efer(&compatibility, nxe | EFER_LME | EFER_LMA);
    m.efer = EFER_NXE;
    expect_efer(&m, EFER_NXE);
    expect((rdmsr(MSR_EFER) & (EFER_LME | EFER_LMA)) == (EFER_LME | EFER_LMA), "at last %lx",
           rdmsr(MSR_EFER));
}

static void efer_in_paging(void)
{
    struct registers r = {.rflags = 0};
    static const struct mode *const all[] = {&pae, &compatibility};
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        r.gpr[RCX] = MSR_EFER;
        r.gpr[RDX] = 0;
        struct fault fault = run(all[i], &op_wrmsr, all[i]->efer ^ EFER_LME, &r);
        expect(is_gp0(fault) && fault.rip == 0, "%s: vector %d", all[i]->name, fault.vector);
    }
}

/* With bits beside PG that one vendor's hypervisor handles, and without. */
static void long_by_cr0(void)
{
    static const uint64_t bits[] = {0, CR0_CD, CR0_CD | CR0_NW, CR0_NE};
    const uint64_t off = CR0_ET | CR0_PE, lme = EFER_LME, lma = EFER_LME | EFER_LMA;
    struct mode m = unpaged_pae;
    m.cr3 = read_cr(3);
    m.efer = EFER_LME;
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
        struct registers r = {.rflags = 0};
        r.gpr[RDI] = off;
        struct fault fault = run(&m, &op_long_cr0, off | CR0_PG | bits[i], &r);
        expect(fault.vector == FAULT_NONE, "vector %d, RIP + %lx", fault.vector, fault.rip);
        expect((uint32_t)r.gpr[RSI] == cpuid(0, 0).ebx, "CPUID: %lx", r.gpr[RSI]);
        expect((r.gpr[RBX] & lma) == lma, "EFER %lx in long mode", r.gpr[RBX]);
        expect((r.gpr[RAX] & lma) == lme, "EFER %lx behind it", r.gpr[RAX]);
    }
}

/* SDM, "Initializing IA-32e Mode": TR may not hold a 16-bit TSS. */
static void long_tss16(void)
{
    static const uint64_t bits[] = {0, CR0_CD};
    struct mode m = unpaged_pae;
    m.cr3 = read_cr(3);
    m.efer = EFER_LME;
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
        struct registers r = {.rflags = 0};
        r.gpr[RBX] = mode_tss();
        struct fault fault = run(&m, &op_tss16_cr0, CR0_ET | CR0_PE | CR0_PG | bits[i], &r);
        expect(is_gp0(fault), "vector %d, RIP + %lx", fault.vector, fault.rip);
    }
}

/* --- PAE's PDPTEs ---------------------------------------------------------------------------- */

enum { LAST = 3 }; /* the PDPTE of the hole, which no code and data lie below */

static uint64_t bad_pdpt[4] __attribute__((aligned(32)));

static void make_bad(unsigned bit)
{
    for (unsigned i = 0; i < 4; i++)
        bad_pdpt[i] = mode_pdpt[i];
    bad_pdpt[LAST] |= 1ull << bit;
}

static bool reserved_in_pdpte(unsigned bit)
{
    return bit == 1 || bit == 2 || (bit >= 5 && bit <= 8) || bit >= physical_bits();
}

/* SDM, "PDPTE Registers": MOV to CR3 checks all four. */
static void pdptes_intel(void)
{
    for (unsigned bit = 0; bit < 64; bit++)
        if (reserved_in_pdpte(bit)) {
            make_bad(bit);
            refused_in(&pae, &op_to_cr3, (uint64_t)bad_pdpt);
        }
    make_bad(3);
    takes_in(&pae, &op_to_cr3, (uint64_t)bad_pdpt);
    make_bad(62);
    bad_pdpt[LAST] &= ~(uint64_t)PAGE_P;
    takes_in(&pae, &op_to_cr3, (uint64_t)bad_pdpt);
}

/* APM, "Nested Paging and Legacy PAE": they are read, and found wrong, by the walk that uses them.
 */
static void pdptes_amd(void)
{
    for (unsigned bit = physical_bits(); bit < 64; bit++) {
        struct registers r = {.rflags = 0};
        make_bad(bit);
        r.gpr[RBX] = MODE_HOLE;
        struct fault fault = run(&pae, &op_cr3_load, (uint64_t)bad_pdpt, &r);
        expect(fault.vector == VECTOR_PF && fault.error == 9 && fault.rip == 3,
               "bit %u: vector %d, error %x, RIP + %lx", bit, fault.vector, fault.error, fault.rip);
    }
}

static void pdptes(void)
{
    if (machine.intel)
        pdptes_intel();
    else
        pdptes_amd();
}

/* What is written to the PDPTE in memory counts from the next MOV to CR0 or CR4 that loads it. */
static void expect_loads(const struct mode_code *code, uint64_t value, bool loads)
{
    struct mode m = pae;
    struct registers r = {.rflags = 0};
    make_bad(0);
    m.cr3 = (uint64_t)bad_pdpt;
    r.gpr[RBX] = (uint64_t)&bad_pdpt[LAST];
    r.gpr[RCX] = (uint32_t)bad_pdpt[LAST] | 2;
    struct fault fault = run(&m, code, value, &r);
    if (loads)
        expect(is_gp0(fault), "%lx: vector %d", value, fault.vector);
    else if (!machine.nosnoop && is_gp0(fault))
        skip("emulator: MOV to CR0 loads PDPTEs whatever it changes");
    else
        expect(fault.vector == FAULT_NONE, "%lx: vector %d", value, fault.vector);
}

static void pdptes_reload(void)
{
    const uint64_t cr0 = CR0_PG | CR0_PE | CR0_ET | CR0_NE | CR0_WP;
    expect_loads(&op_pdpte_cr0, cr0 | CR0_CD, true);
    expect_loads(&op_pdpte_cr0, cr0 | CR0_CD | CR0_NW, true);
    expect_loads(&op_pdpte_cr0, cr0 & ~CR0_NE, false);
    expect_loads(&op_pdpte_cr4, CR4_PAE | CR4_PGE, true);
    expect_loads(&op_pdpte_cr4, CR4_PAE | CR4_PSE, true);
    expect_loads(&op_pdpte_cr4, CR4_PAE | CR4_MCE | CR4_PGE, true);
    expect_loads(&op_pdpte_cr4, CR4_PAE | CR4_MCE, false);
    expect_loads(&op_pdpte_cr4, CR4_PAE | CR4_TSD, false);
}

static void pdptes_begin(void)
{
    struct mode m = unpaged_pae;
    m.cr3 = (uint64_t)bad_pdpt;
    make_bad(2);
    refused_in(&m, &op_to_cr0, CR0_PG | CR0_PE | CR0_ET | CR0_NE);
    refused_in(&m, &op_to_cr0, CR0_PG | CR0_PE | CR0_ET | CR0_NE | CR0_CD);
    make_bad(3);
    takes_in(&m, &op_to_cr0, CR0_PG | CR0_PE | CR0_ET | CR0_NE);
    takes_in(&m, &op_to_cr0, CR0_PG | CR0_PE | CR0_ET | CR0_NE | CR0_CD);
}

static void lmsw_protected(void)
{
    struct registers r = {.rflags = 0};
    uint32_t ebx = cpuid(0, 0).ebx;
    struct fault fault = run(&real, &op_lmsw_pe, CR0_PE, &r);
    expect(fault.vector == FAULT_NONE, "vector %d, RIP + %lx", fault.vector, fault.rip);
    expect((r.gpr[RSI] & 1) != 0 && (r.gpr[RDI] & 1) != 0, "%lx, %lx", r.gpr[RSI], r.gpr[RDI]);
    expect((uint32_t)r.gpr[RBP] == ebx, "CPUID in protected mode: %lx", r.gpr[RBP]);
    expect((uint32_t)r.gpr[RBX] == ebx, "CPUID in real mode: %lx", r.gpr[RBX]);
}

static const struct test_case cases[] = {
    {"CR0: bits 63:32 are #GP", needs_gp, cr0_high},
    {"CR0: reserved bits below are not stored", needs_gp, cr0_reserved},
    {"CR0: stored and read back, ET is 1", NULL, cr0_stores},
    {"CR0: CD, NW and NE from every state to every other", NULL, cr0_caching},
    {"CR0: NW without CD, and no PG in 64-bit code, are #GP", needs_gp, cr0_illegal},
    {"CR0: PG without PE is #GP", needs_gp_pe, cr0_no_pe},
    {"CR0: LMSW leaves PE set, SMSW, CLTS", NULL, lmsw},
    {"CR3: reserved bits are #GP", needs_gp_cr3, cr3_high},
    {"CR3: PWT and PCD", NULL, cr3_stores},
    {"CR4: bits that CPUID does not offer are #GP", needs_gp_cr4, cr4_reserved},
    {"CR4: bits that it offers are stored", NULL, cr4_stores},
    {"CR4: PAE and LA57 are fixed in long mode", needs_gp_cr4, cr4_long_mode},
    {"CR1, CR5 to CR7, CR9 to CR15: #UD", NULL, no_such_cr},
    {"CR8: 0 to 15", NULL, cr8_stores},
    {"CR8: reserved bits are #GP", NULL, cr8_reserved},
    {"CR4, CR8: encodings", NULL, encodings},
    {"control registers, CLTS, LMSW: #GP at CPL 3", NULL, user},
    {"SMSW at CPL 3", NULL, user_smsw},
    {"SMSW at CPL 3 with UMIP is #GP", NULL, user_umip},
    {"CR0 in other modes", needs_gp, other_cr0},
    {"CR0: PG without PE is #GP in other modes", needs_gp_pe, other_no_pe},
    {"CR0: PG with LME and without PAE is #GP", needs_lme_exits, long_without_pae},
    {"CR0: to long mode and back by PG", NULL, long_by_cr0},
    {"CR0: PG with LME and a 16-bit TSS is #GP", needs_intel, long_tss16},
    {"CR4 in other modes", needs_gp_cr4, other_cr4},
    {"EFER: LMA follows PG and LME", NULL, efer_follows},
    {"EFER: LME is fixed while paging is on, in other modes", needs_gp_msr, efer_in_paging},
    {"PAE: reserved bits of PDPTEs", needs_nosnoop_gp, pdptes},
    {"PAE: MOV to CR0 and CR4 loads PDPTEs", needs_intel, pdptes_reload},
    {"PAE: PDPTEs as paging begins", needs_intel, pdptes_begin},
    {"real mode by LMSW to protected mode and back", NULL, lmsw_protected},
};

void test_main(void)
{
    mode_init();
    set_tables();
    ktap_all(cases, ARRAY_SIZE(cases));
}
