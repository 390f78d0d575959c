/* Reads multiboot information and CPUID into struct machine, and starts the test. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/machine.h"

#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/fault.h"
#include "lib/assert.h"
#include "lib/string.h"
#include "lib/x86.h"
#include "vmm/abi.h"

/* Multiboot Specification 0.6.96, "Boot information format". */
enum {
    MULTIBOOT_MAGIC = 0x2badb002,
    INFO_CMDLINE = 1 << 2,
    INFO_MODULES = 1 << 3,
    INFO_MAP = 1 << 6
};
enum { MAP_AVAILABLE = 1 };

struct multiboot_info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline;
    uint32_t mods_count, mods_addr;
    uint32_t symbols[4];
    uint32_t mmap_length, mmap_addr;
};
static_assert(sizeof(struct multiboot_info) == 52, "Multiboot information, up to its memory map");

struct multiboot_module {
    uint32_t start, end, string, reserved;
};

struct multiboot_map {
    uint32_t size; /* of what follows */
    uint64_t base, length;
    uint32_t type;
} __attribute__((packed));

extern const uint32_t multiboot_magic, multiboot_info;
extern uint64_t window_table[WINDOW_PAGES];
noreturn void runtime_main(void);

struct machine machine;

static const void *physical(uint32_t address)
{
    return (const void *)(uintptr_t)address;
}

static void add_range(struct range *ranges, unsigned *count, uint64_t start, uint64_t end)
{
    assert(*count < MACHINE_MAX_RANGES);
    ranges[(*count)++] = (struct range){start, end};
}

static void read_map(uint32_t address, uint32_t length)
{
    for (uint32_t at = address; at - address < length;) {
        struct multiboot_map entry;
        memcpy(&entry, physical(at), sizeof(entry));
        if (entry.type == MAP_AVAILABLE)
            add_range(machine.ram, &machine.ram_count, entry.base, entry.base + entry.length);
        at += entry.size + (uint32_t)sizeof(entry.size);
    }
}

static void read_boot_info(void)
{
    assert(multiboot_magic == MULTIBOOT_MAGIC);
    const struct multiboot_info *info = physical(multiboot_info);
    if (info->flags & INFO_CMDLINE) {
        const char *text = physical(info->cmdline);
        size_t n = strlen(text);
        memcpy(machine.cmdline, text,
               n < sizeof(machine.cmdline) ? n : sizeof(machine.cmdline) - 1);
    }
    const struct multiboot_module *module = physical(info->mods_addr);
    for (uint32_t i = 0; (info->flags & INFO_MODULES) && i < info->mods_count; i++)
        add_range(machine.modules, &machine.module_count, module[i].start, module[i].end);
    if (info->flags & INFO_MAP)
        read_map(info->mmap_addr, info->mmap_length);
}

static bool signature_is(uint32_t a, uint32_t b, uint32_t c, const char *text)
{
    uint32_t words[3] = {a, b, c};
    return memcmp(words, text, sizeof(words)) == 0;
}

void machine_init(void)
{
    struct cpuid_regs vendor = cpuid(0, 0);
    machine.intel = signature_is(vendor.ebx, vendor.edx, vendor.ecx, "GenuineIntel");
    if (cpuid(1, 0).ecx >> 31) {
        struct cpuid_regs name = cpuid(CPUID_HYPERVISOR, 0);
        machine.nosnoop = signature_is(name.ebx, name.ecx, name.edx, NOSNOOP_SIGNATURE);
    }
    read_boot_info();
}

const char *needs_nosnoop(void)
{
    return machine.nosnoop ? NULL : "only under the hypervisor";
}

const char *needs_nosnoop_amd(void)
{
    if (machine.nosnoop && machine.intel)
        return "only on AMD";
    return needs_nosnoop();
}

/* The text behind `KEY=`, NULL if no word begins so. */
static const char *find_word(const char *key)
{
    size_t n = strlen(key);
    for (const char *at = machine.cmdline; at != NULL; at = strchr(at, ' ')) {
        while (*at == ' ')
            at++;
        if (strncmp(at, key, n) == 0 && at[n] == '=')
            return at + n + 1;
    }
    return NULL;
}

uint64_t cmdline_number(const char *key, uint64_t fallback)
{
    const char *at = find_word(key);
    if (at == NULL)
        return fallback;
    uint64_t value = 0;
    for (; *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    return value;
}

bool cmdline_has(const char *key, const char *value)
{
    const char *at = find_word(key);
    size_t n = strlen(value);
    return at != NULL && strncmp(at, value, n) == 0 && (at[n] == ' ' || at[n] == '\0');
}

volatile void *window_map(unsigned index, uint64_t physical_address, uint64_t flags)
{
    assert(index < WINDOW_PAGES && is_aligned(physical_address, PAGE_SIZE));
    window_table[index] = flags == 0 ? 0 : physical_address | flags;
    uint8_t *page = (uint8_t *)(4 * GIB + index * PAGE_SIZE);
    invlpg(page);
    return page;
}

int64_t hypercall(uint64_t number)
{
    int64_t result = (int64_t)number;
    if (machine.intel)
        __asm__ volatile(GUARDED("vmcall") : "+a"(result) : : "memory");
    else
        __asm__ volatile(GUARDED("vmmcall") : "+a"(result) : : "memory");
    return result;
}

int64_t hypercall_trace(uint64_t what)
{
    int64_t result = HYPERCALL_TRACE;
    if (machine.intel)
        __asm__ volatile("vmcall" : "+a"(result) : "b"(what) : "memory");
    else
        __asm__ volatile("vmmcall" : "+a"(result) : "b"(what) : "memory");
    return result;
}

/*
 * Of the bare emulators QEMU tells that it is there; its TSC is the host's, or slower where it
 * counts instructions. Bochs has 10 MHz, where it is not told another rate.
 */
static uint64_t tsc_khz(void)
{
    enum { QEMU_KHZ = 2500000, BOCHS_KHZ = 10000 };
    uint32_t told = machine.nosnoop ? cpuid(CPUID_HYPERVISOR_TIMING, 0).eax : 0;
    return told != 0 ? told : cpuid(1, 0).ecx >> 31 != 0 ? QEMU_KHZ : BOCHS_KHZ;
}

uint64_t machine_ticks(unsigned ms)
{
    static uint64_t khz;
    if (khz == 0)
        khz = tsc_khz();
    return khz * ms;
}

void machine_spin(unsigned ms)
{
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(ms);)
        cpu_relax();
}

bool machine_is_bochs(void)
{
    enum { LESS_THAN_KHZ = 100000 };
    return machine_ticks(1) < LESS_THAN_KHZ;
}

unsigned physical_bits(void)
{
    return cpuid(0x80000008, 0).eax & 0xff;
}

noreturn void runtime_main(void)
{
    console_init();
    fault_init();
    machine_init();
    if (cmdline_has("caches", "off"))
        write_cr0(read_cr0() | CR0_CD);
    test_main();
    guest_exit(1);
}
