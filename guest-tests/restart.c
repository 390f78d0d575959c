/*
 * Resets under `on_reset = restart`: each boot finds the machine as the first one did, whatever the
 * one before has left in it, and RAM that nothing is loaded to keeps its contents.
 *
 * row: restart.port64 end=0 cmdline="by=port64" set="on_reset=restart"
 * row: restart.port92 end=0 cmdline="by=port92" set="on_reset=restart"
 * row: restart.cf9 end=0 cmdline="by=cf9" set="on_reset=restart"
 * row: restart.triple end=0 cmdline="by=triple" set="on_reset=restart"
 * row: restart.cd-hw end=0 cmdline="by=triple" set="on_reset=restart" set=policy=exact set=cd=hw
 *
 * tests/system/test_restart.py also gives it a module, other numbers of boots, and a single step
 * that is pending at the reset; and looks at the CPU while the last boot waits (`wait=yes`).
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/fault.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/assert.h"
#include "lib/string.h"

enum { KEYBOARD = 0x64, PORT_92 = 0x92, RESET_CONTROL = 0xcf9, BOOTS = 4 };
enum way { PLAIN, STI_SHADOW, MOV_SS_SHADOW, STEP }; /* as in restart.asm */
enum { COM1_IER = 0x3f9, COM1_MCR = 0x3fc };
enum { MODULE_BYTE = 'M' }; /* what a module must consist of */

#define DIRT     0x5a5a5a5a5a5a5a5aull /* as in restart.asm */
#define KEPT_RAM 0x2000000ull          /* nothing is loaded there */
#define MAGIC    0x706574737572616cull
#define FAR_TSC  (1ull << 50)

/* Written by restart.asm: what the guest found at its entry. */
enum entry { E_ECX, E_ESI, E_EDI, E_EBP, E_EDX_HIGH, E_EFLAGS, E_CR0, E_CR2, E_CR3, E_CR4, E_EFER };
enum { E_TR = E_EFER + 1, E_LDTR, E_IER, E_LCR, E_MCR, E_SCRATCH, E_COUNT };

extern const uint32_t entry_state[E_COUNT], entry_cr0, multiboot_info;
void leave_by_port(uint16_t port, uint8_t value, unsigned way);

enum group {
    GENERAL,
    CONTROL,
    DEBUG,
    FPU,
    MSRS,
    TYPES,
    TSC,
    TASK_PRIORITY,
    APIC,
    UART,
    IMAGE,
    BOOT_INFO,
    MODULE,
    RAM,
    GROUPS
};

/* As the first boot found it, and the first thing in each group that a boot found otherwise. */
struct record {
    uint64_t magic;
    unsigned boots;
    char cmdline[256];
    uint64_t types[28]; /* MTRRs */
    struct wrong {
        const char *what;
        unsigned boot;
        uint64_t got, expected;
    } wrong[GROUPS];
    uint64_t last[512];
};

static struct record *const record = (struct record *)KEPT_RAM;
static volatile uint32_t *const apic = (volatile uint32_t *)0xfee00000;
static uint64_t data = MAGIC, bss;

static void check(enum group group, const char *what, uint64_t got, uint64_t expected)
{
    if (got != expected && record->wrong[group].what == NULL)
        record->wrong[group] = (struct wrong){what, record->boots, got, expected};
}

/* The MSRs that the runtime leaves alone, with a legal value that is not their first one. */
static const struct {
    const char *name;
    uint32_t msr;
    uint64_t dirt, reset;
} msrs[] = {
    {"SYSENTER_CS", MSR_SYSENTER_CS, 0x5a58, 0},
    {"SYSENTER_ESP", MSR_SYSENTER_ESP, 0x5a5a5a5a, 0},
    {"SYSENTER_EIP", MSR_SYSENTER_EIP, 0x5a5a5a5a, 0},
    {"STAR", MSR_STAR, DIRT, 0},
    {"LSTAR", MSR_LSTAR, 0x5a5a5a5a, 0},
    {"CSTAR", MSR_CSTAR, 0x5a5a5a5a, 0},
    {"SFMASK", MSR_SFMASK, 0x5a5a, 0},
    {"KERNEL_GS_BASE", MSR_KERNEL_GS_BASE, 0x5a5a5a5a, 0},
    {"FS_BASE", MSR_FS_BASE, 0x5a5a5a5a, 0},
    {"GS_BASE", MSR_GS_BASE, 0x5a5a5a5a, 0},
    {"TSC_AUX", MSR_TSC_AUX, 0x5a5a, 0},
};

static const uint32_t mtrrs[] = {0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206,
                                 0x207, 0x208, 0x209, 0x20a, 0x20b, 0x20c, 0x20d,
                                 0x20e, 0x20f, 0x250, 0x258, 0x259, 0x268, 0x269,
                                 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f, 0x2ff};
static_assert(ARRAY_SIZE(mtrrs) == ARRAY_SIZE(record->types), "a place for each");

/* --- what a boot finds ------------------------------------------------------------------------ */

static void check_entry(void)
{
    const uint32_t loaders = 0x8d5; /* of EFLAGS: the runtime's own instructions change them */
    const uint32_t *e = entry_state;
    check(GENERAL, "ECX", e[E_ECX], 0);
    check(GENERAL, "ESI", e[E_ESI], 0);
    check(GENERAL, "EDI", e[E_EDI], 0);
    check(GENERAL, "EBP", e[E_EBP], 0);
    check(GENERAL, "EDX, high", e[E_EDX_HIGH], 0);
    check(GENERAL, "EFLAGS", e[E_EFLAGS] & ~loaders, RFLAGS_FIXED);
    check(CONTROL, "CR0", e[E_CR0], CR0_PE | CR0_ET);
    check(CONTROL, "CR0.CD and NW", entry_cr0 & (CR0_CD | CR0_NW), 0);
    check(CONTROL, "CR2", e[E_CR2], 0);
    check(CONTROL, "CR3", e[E_CR3], 0);
    check(CONTROL, "CR4", e[E_CR4], 0);
    check(CONTROL, "EFER", e[E_EFER], 0);
    check(CONTROL, "TR", e[E_TR], 0);
    check(CONTROL, "LDTR", e[E_LDTR], 0);
    check(UART, "interrupt enable", e[E_IER], 0);
    check(UART, "line control", e[E_LCR], 3);
    check(UART, "modem control", e[E_MCR], 0);
    check(UART, "scratch", e[E_SCRATCH], 0);
}

/* SDM, "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT". */
static void check_debug(void)
{
    uint64_t dr[8] = {0};
    __asm__ volatile("mov %%dr0, %0; mov %%dr1, %1" : "=r"(dr[0]), "=r"(dr[1]));
    __asm__ volatile("mov %%dr2, %0; mov %%dr3, %1" : "=r"(dr[2]), "=r"(dr[3]));
    __asm__ volatile("mov %%dr6, %0; mov %%dr7, %1" : "=r"(dr[6]), "=r"(dr[7]));
    check(DEBUG, "DR0", dr[0], 0);
    check(DEBUG, "DR1", dr[1], 0);
    check(DEBUG, "DR2", dr[2], 0);
    check(DEBUG, "DR3", dr[3], 0);
    check(DEBUG, "DR6", dr[6], DR6_RESET);
    check(DEBUG, "DR7", dr[7], DR7_RESET);
}

static bool has_xsave(void)
{
    return (cpuid(1, 0).ecx & 1 << 26) != 0;
}

static bool has_avx(void)
{
    return has_xsave() && (cpuid(1, 0).ecx & 1 << 28) != 0;
}

static void check_xcr0(void)
{
    uint32_t low, high;
    write_cr4(read_cr4() | CR4_OSXSAVE);
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    check(FPU, "XCR0", (uint64_t)high << 32 | low, XCR0_X87);
}

/* The upper halves are zero: those that are stored, as the header has it. */
static void check_avx(void)
{
    static uint8_t area[1024] __attribute__((aligned(64)));
    uint64_t header, or = 0;
    xsetbv_safe(XCR0_X87 | XCR0_SSE | XCR0_AVX);
    __asm__ volatile("xsave64 %0" : "=m"(area) : "a"(XCR0_AVX), "d"(0) : "memory");
    memcpy(&header, area + 512, sizeof(header));
    for (unsigned i = 576; i < 576 + 256 && (header & XCR0_AVX) != 0; i++)
        or |= area[i];
    check(FPU, "upper halves of YMM", or, 0);
}

/* SDM, "XSAVE Area": the legacy region of FXSAVE; its pointers depend on the CPU. */
static void check_fpu(void)
{
    static uint8_t area[512] __attribute__((aligned(16)));
    uint16_t word;
    uint32_t mxcsr;
    uint64_t st = 0, xmm = 0;
    write_cr4(read_cr4() | CR4_OSFXSR);
    __asm__ volatile("fxsave64 %0" : "=m"(area));
    memcpy(&word, area, sizeof(word));
    check(FPU, "FCW", word, 0x37f);
    memcpy(&word, area + 2, sizeof(word));
    check(FPU, "FSW", word, 0);
    check(FPU, "FTW", area[4], 0);
    memcpy(&mxcsr, area + 24, sizeof(mxcsr));
    check(FPU, "MXCSR", mxcsr, 0x1f80);
    for (unsigned i = 0; i < 128; i++)
        st |= area[32 + i];
    for (unsigned i = 0; i < 256; i++)
        xmm |= area[160 + i];
    check(FPU, "ST", st, 0);
    check(FPU, "XMM", xmm, 0);
    if (has_xsave())
        check_xcr0();
    if (has_avx())
        check_avx();
}

static void check_msrs(void)
{
    uint64_t value;
    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
        if (try_rdmsr(msrs[i].msr, &value).vector == FAULT_NONE)
            check(MSRS, msrs[i].name, value, msrs[i].reset);
    try_rdmsr(MSR_PAT, &value);
    check(TYPES, "PAT", value, 0x0007040600070406);
    for (unsigned i = 0; i < ARRAY_SIZE(mtrrs); i++) {
        try_rdmsr(mtrrs[i], &value);
        if (record->boots == 1)
            record->types[i] = value;
        check(TYPES, "an MTRR", value, record->types[i]);
    }
    check(TSC, "TSC, above 2^50", rdtsc() / FAR_TSC, 0);
    __asm__ volatile("mov %%cr8, %0" : "=r"(value));
    check(TASK_PRIORITY, "CR8", value, 0);
    try_rdmsr(MSR_APIC_BASE, &value);
    check(APIC, "IA32_APIC_BASE", value, 0xfee00900);
    check(APIC, "SVR", apic[0xf0 / 4], 0x1ff);
    check(APIC, "the timer's entry", apic[0x320 / 4], 0x10000);
    check(APIC, "the timer's count", apic[0x380 / 4], 0);
}

static void check_module(uint64_t start, uint64_t end)
{
    for (const uint8_t *at = (const uint8_t *)start; at < (const uint8_t *)end; at++)
        check(MODULE, "a byte", *at, MODULE_BYTE);
}

static void check_memory(void)
{
    if (record->boots == 1)
        memcpy(record->cmdline, machine.cmdline, sizeof(record->cmdline));
    check(IMAGE, "data", data, MAGIC);
    check(IMAGE, "zeroed data", bss, 0);
    check(BOOT_INFO, "equal command lines",
          memcmp(machine.cmdline, record->cmdline, sizeof(record->cmdline)) == 0, true);
    if (machine.module_count > 0)
        check_module(machine.modules[0].start, machine.modules[0].end);
    for (unsigned i = 0; record->boots > 1 && i < ARRAY_SIZE(record->last); i++)
        check(RAM, "a word", record->last[i], record->boots - 1 + i);
}

static void check_all(void)
{
    check_entry();
    check_debug();
    check_fpu();
    check_msrs();
    check_memory();
}

/* --- what it leaves --------------------------------------------------------------------------- */

static void dirty_debug(void)
{
    __asm__ volatile("mov %0, %%dr0; mov %0, %%dr1; mov %0, %%dr2; mov %0, %%dr3"
                     :
                     : "r"(DIRT >> 20));
    __asm__ volatile("mov %0, %%dr6" : : "r"(DR6_RESET | 0xf));
    __asm__ volatile("mov %0, %%dr7" : : "r"(DR7_RESET | 0xff | DR7_GD));
}

static void dirty_fpu(void)
{
    const uint16_t fcw = 0x27f;
    const uint32_t mxcsr = 0x1f00;
    static const uint64_t ones[2] = {UINT64_MAX, UINT64_MAX};
    __asm__ volatile("fldpi; fld1; fldcw %0; ldmxcsr %1" : : "m"(fcw), "m"(mxcsr));
    __asm__ volatile("movdqu %0, %%xmm0; movdqu %0, %%xmm7; movdqu %0, %%xmm15" : : "m"(ones));
    if (has_xsave())
        xsetbv_safe(XCR0_X87 | XCR0_SSE | (has_avx() ? XCR0_AVX : 0));
    if (has_avx())
        __asm__ volatile("vcmptrueps %ymm0, %ymm0, %ymm3; vcmptrueps %ymm0, %ymm0, %ymm12");
}

static void dirty_msrs(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
        try_wrmsr(msrs[i].msr, msrs[i].dirt);
    try_wrmsr(MSR_PAT, 0x0505040106070006);
    try_wrmsr(0x20e, 0xf0000001);
    try_wrmsr(0x20f, 0xff000800);
    try_wrmsr(MSR_MTRR_FIX64K, 0x0505050505050505);
    try_wrmsr(MSR_MTRR_DEF_TYPE, 0xc00);
    try_wrmsr(MSR_TSC, FAR_TSC);
    try_wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE | EFER_NXE);
    __asm__ volatile("mov %0, %%cr8" : : "r"(5ull));
    apic[0xf0 / 4] = 0x1fe;
    apic[0x320 / 4] = 0x20040; /* periodic; interrupts are off */
    apic[0x380 / 4] = 100000;
    try_wrmsr(MSR_APIC_BASE, 0xfee00d00);
}

static void dirty_memory(void)
{
    data = bss = DIRT;
    for (unsigned i = 0; i < machine.module_count; i++)
        memset((void *)machine.modules[i].start, 0,
               machine.modules[i].end - machine.modules[i].start);
    memset((void *)align_down(multiboot_info, PAGE_SIZE), 0x5a, PAGE_SIZE);
    for (unsigned i = 0; i < ARRAY_SIZE(record->last); i++)
        record->last[i] = record->boots + i;
}

static void dirty_all(void)
{
    dirty_fpu();
    dirty_msrs();
    dirty_memory();
    out8(COM1_SCRATCH, 0x5a);
    out8(COM1_MCR, 0x0b);
    out8(COM1_IER, 1);
    write_cr2(DIRT);
    write_cr4(read_cr4() | CR4_TSD | CR4_DE | CR4_PGE | CR4_PCE | CR4_OSXMMEXCPT);
    write_cr0(read_cr0() | CR0_MP | CR0_TS | CR0_AM | CR0_CD);
    dirty_debug();
}

static void leave(unsigned way)
{
    if (cmdline_has("by", "triple"))
        triple_fault();
    else if (cmdline_has("by", "port64"))
        leave_by_port(KEYBOARD, 0xfe, way);
    else if (cmdline_has("by", "port92"))
        leave_by_port(PORT_92, 3, way);
    else if (cmdline_has("by", "cf9"))
        leave_by_port(RESET_CONTROL, 6, way);
}

static const char *const names[GROUPS] = {
    [GENERAL] = "general registers and flags",
    [CONTROL] = "control registers, EFER, TR and LDTR",
    [DEBUG] = "debug registers",
    [FPU] = "x87, SSE and AVX registers, XCR0",
    [MSRS] = "MSRs of SYSCALL, SYSENTER, FS, GS and TSC_AUX",
    [TYPES] = "PAT and MTRRs",
    [TSC] = "TSC",
    [TASK_PRIORITY] = "CR8",
    [APIC] = "the local APIC",
    [UART] = "the UART",
    [IMAGE] = "the image's data",
    [BOOT_INFO] = "the boot information",
    [MODULE] = "the module",
    [RAM] = "other RAM keeps its contents",
};

static void report(void)
{
    ktap_begin(GROUPS);
    for (unsigned i = 0; i < GROUPS; i++) {
        const struct wrong *w = &record->wrong[i];
        ktap_start(names[i]);
        expect(w->what == NULL, "%s: %lx in boot %u, expected %lx", w->what, w->got, w->boot,
               w->expected);
        if (!machine.nosnoop)
            skip("emulator: it ends at its first reset (-no-reboot)");
        else if (i == MODULE && machine.module_count == 0)
            skip("none was given");
        ktap_finish();
    }
    record->magic = 0; /* for a machine whose RAM outlives it */
    ktap_end();
}

void test_main(void)
{
    if (record->magic != MAGIC) {
        memset(record, 0, sizeof(*record));
        record->magic = MAGIC;
    }
    record->boots++;
    if (machine.nosnoop)
        check_all();
    if (record->boots == BOOTS && cmdline_has("wait", "yes")) {
        print("waiting\n");
        for (;;)
            cpu_relax();
    }
    if (record->boots == cmdline_number("boots", BOOTS) || !machine.nosnoop)
        report();
    dirty_all();
    leave(cmdline_has("step", "yes") ? STEP : record->boots % STEP);
}
