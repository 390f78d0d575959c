/* What CPUID tells a guest, of hosts that no bed has; and how the TSC's rate is found. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/host.h"

#include "vmm/abi.h"
#include "vmm/host/clock.h"
#include "vmm/vcpu/cpuid.h"

enum { EAX, EBX, ECX, EDX };

/* A host: its highest leaves, what some leaves answer, and what all others do. */
static struct {
    uint32_t last, last_extended;
    bool caches_in_4, caches_in_1d;
    uint32_t others, cpus;
} host = {.cpus = 1};

static struct cpuid_regs xsave_of(uint32_t subleaf)
{
    static const struct cpuid_regs parts[] = {
        [0] = {0x602e7, 0xffff, 0x2b00, 1}, /* PKRU, AMX and something above 31 too */
        [1] = {0x1f, 0xffff, 0x1900, 0},    /* XSAVES and XFD too */
        [2] = {256, 576, 0, 0},             /* AVX */
        [5] = {64, 1088, 0, 0},             /* opmask */
        [6] = {512, 1152, 2 | 4, 0},        /* ZMM_Hi256; XFD */
        [7] = {1024, 1664, 2, 0},           /* Hi16_ZMM */
        [9] = {8, 2688, 0, 0},
        [17] = {64, 2752, 2, 0},
    };
    return subleaf < ARRAY_SIZE(parts) ? parts[subleaf] : (struct cpuid_regs){0, 0, 0, 0};
}

static struct cpuid_regs cache_of(bool there, uint32_t subleaf)
{
    struct cpuid_regs r = {0xfdffc000 | (subleaf + 1) << 5 | 3, 0x01c0003f, 0x3f, 4};
    return there && subleaf < 3 ? r : (struct cpuid_regs){0, 0, 0, 0};
}

static struct cpuid_regs read_host(uint32_t leaf, uint32_t subleaf)
{
    uint32_t o = host.others;
    assert_true(leaf <= host.last || (leaf >= CPUID_EXTENDED && leaf <= host.last_extended));
    switch (leaf) {
    case 0:
        return (struct cpuid_regs){host.last, 1, 2, 3};
    case CPUID_EXTENDED:
        return (struct cpuid_regs){host.last_extended, 1, 2, 3};
    case 4:
        return cache_of(host.caches_in_4, subleaf);
    case CPUID_EXTENDED + 0x1d:
        return cache_of(host.caches_in_1d, subleaf);
    case 0xd:
        return xsave_of(subleaf);
    default:
        return (struct cpuid_regs){o, o, o, o};
    }
}

static struct cpuid_table t;

static void make(uint32_t last, uint32_t last_extended, uint32_t others)
{
    host.last = last;
    host.last_extended = CPUID_EXTENDED + last_extended;
    host.others = others;
    cpuid_table_init(&t, read_host, 46, 3000000, host.cpus);
}

static void assert_regs(struct cpuid_regs r, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    assert_int_equal(r.eax, eax);
    assert_int_equal(r.ebx, ebx);
    assert_int_equal(r.ecx, ecx);
    assert_int_equal(r.edx, edx);
}

/* The highest leaves are the lower ones of host and policy. */
static void test_highest(void **state)
{
    (void)state;
    make(0xd, 8, 0);
    assert_int_equal(t.last, 0x15);
    assert_int_equal(t.last_extended, 8);
    assert_regs(t.basic[0], 0x15, 1, 2, 3);
    assert_regs(t.extended[0], 0x80000008, 1, 2, 3);
    make(0x24, 0x28, 0);
    assert_regs(t.basic[0], 0x16, 1, 2, 3);
    assert_regs(t.extended[0], 0x8000001e, 1, 2, 3);
}

/* A CPU that has everything: SDM and APM, "CPUID", say what of it is virtualized. */
static void test_hides(void **state)
{
    (void)state;
    make(0x24, 0x28, 0xffffffff);
    assert_int_equal(t.basic[1].ebx, 0x0001ffff);
    assert_int_equal(t.basic[1].ecx, 0xfff83203);
    assert_int_equal(t.basic[1].edx, 0x078bfbff);
    assert_int_equal(t.basic[7].eax, 0);
    assert_int_equal(t.basic[7].ebx, 0xf1bf23eb);
    assert_int_equal(t.basic[7].ecx, 0x00015f46);
    assert_int_equal(t.basic[7].edx, 0x0000041c);
    assert_int_equal(t.extended[1].ecx, 0x006109e1);
    assert_int_equal(t.extended[1].edx, 0x2fd3fbff);
    assert_regs(t.extended[7], 0, 0, 0, 0x100);
    assert_regs(t.extended[8], 0xff00 | 46, 5, 0, 0);
    assert_regs(t.extended[0xa], 0, 0, 0, 0);
    assert_regs(t.extended[0x1b], 0, 0, 0, 0);
    assert_regs(t.extended[0x1e], 0, 0, 0, 0);
    assert_regs(t.basic[5], 0, 0, 0, 0);
    assert_regs(t.basic[6], 4, 0, 0, 0); /* ARAT */
    assert_regs(t.basic[0xa], 0, 0, 0, 0);
    assert_regs(t.basic[0x12], 0, 0, 0, 0);
    assert_regs(t.basic[0x14], 0, 0, 0, 0);
    assert_regs(t.basic[0x16], 3000, 3000, 188, 0);
}

static void test_topology(void **state)
{
    (void)state;
    make(0x16, 8, 1);
    assert_regs(cpuid_topology(&t, 0, 0), 0, 1, 0x100, 0);
    assert_regs(cpuid_topology(&t, 1, 0), 0, 1, 0x201, 0);
    assert_regs(cpuid_topology(&t, 2, 0), 0, 0, 2, 0);
    assert_regs(cpuid_topology(&t, 0x1ff, 0), 0, 0, 0xff, 0);
    make(0x16, 8, 0);
    assert_regs(cpuid_topology(&t, 0, 0), 0, 0, 0, 0);
    assert_regs(cpuid_topology(&t, 1, 0), 0, 0, 0, 0);
}

/* Six cores have three bits of the APIC ID; the last has ID 5. */
static void test_cores(void **state)
{
    (void)state;
    host.cpus = 6;
    host.caches_in_4 = true;
    make(0x16, 0x1e, 0xffffffff);
    assert_int_equal(t.basic[1].ebx, 0x0006ffff);
    assert_int_equal(t.basic[1].edx, 0x178bfbff);
    assert_int_equal(t.extended[1].ecx, 0x006109e3);
    assert_int_equal(t.extended[8].ecx, 0x3005);
    assert_int_equal(cpuid_cache(&t, 4, 0).eax, 7u << 26 | 1 << 5 | 3);
    assert_int_equal(cpuid_cache(&t, 4, 3).eax, 0);
    assert_regs(cpuid_topology(&t, 0, 5), 0, 1, 0x100, 5);
    assert_regs(cpuid_topology(&t, 1, 5), 3, 6, 0x201, 5);
    assert_regs(cpuid_topology(&t, 2, 5), 0, 0, 2, 5);
    host.caches_in_4 = false;
    host.cpus = 64;
    make(0x16, 0x1e, 1);
    assert_int_equal(t.basic[1].ebx, 0x00400001);
    assert_int_equal(t.extended[1].ecx, 1);
    assert_int_equal(t.extended[8].ecx, 0);
    assert_regs(cpuid_topology(&t, 1, 63), 6, 64, 0x201, 63);
    host.cpus = 1;
}

static void check_caches(uint32_t leaf, uint32_t other)
{
    for (uint32_t i = 0; i < 3; i++)
        assert_regs(cpuid_cache(&t, leaf, i), (i + 1) << 5 | 3, 0x01c0003f, 0x3f, 4);
    for (uint32_t i = 3; i < 12; i++)
        assert_regs(cpuid_cache(&t, leaf, i), 0, 0, 0, 0);
    assert_regs(cpuid_cache(&t, leaf, UINT32_MAX), 0, 0, 0, 0);
    assert_regs(cpuid_cache(&t, other, 0), 0, 0, 0, 0);
}

static void test_caches(void **state)
{
    (void)state;
    host.caches_in_4 = true;
    host.caches_in_1d = false;
    make(0x16, 8, 0);
    check_caches(4, CPUID_EXTENDED + 0x1d);
    host.caches_in_4 = false;
    host.caches_in_1d = true;
    make(0x10, 0x1f, 1 << 22); /* TopologyExtensions */
    check_caches(CPUID_EXTENDED + 0x1d, 4);
    make(0x10, 0x1f, 0);
    assert_regs(cpuid_cache(&t, CPUID_EXTENDED + 0x1d, 0), 0, 0, 0, 0);
    host.caches_in_1d = false;
}

/* SDM Volume 1, "XSAVE Area": sizes by hand, of both forms. */
static void test_xsave(void **state)
{
    (void)state;
    make(0x16, 8, 1 << 26);
    assert_regs(cpuid_xsave(&t, 0, 1), 0xe7, 576, 2688, 0);
    assert_regs(cpuid_xsave(&t, 0, 7), 0xe7, 832, 2688, 0);
    assert_regs(cpuid_xsave(&t, 0, 0xe7), 0xe7, 2688, 2688, 0);
    assert_regs(cpuid_xsave(&t, 1, 1), 7, 576, 0, 0);
    assert_regs(cpuid_xsave(&t, 1, 7), 7, 832, 0, 0);
    /* 832 + 64 = 896, a multiple of 64; + 512 + 1024 */
    assert_regs(cpuid_xsave(&t, 1, 0xe7), 7, 2432, 0, 0);
    assert_regs(cpuid_xsave(&t, 2, 1), 256, 576, 0, 0);
    assert_regs(cpuid_xsave(&t, 6, 1), 512, 1152, 2, 0);
    for (uint32_t i = 3; i < 70; i++)
        if (i < 5 || i > 7)
            assert_regs(cpuid_xsave(&t, i, 0xe7), 0, 0, 0, 0);
    make(0x16, 8, 0); /* no XSAVE */
    assert_regs(cpuid_xsave(&t, 0, 1), 0, 0, 0, 0);
    make(0xb, 8, 1 << 26); /* no leaf 0Dh */
    assert_regs(cpuid_xsave(&t, 0, 1), 0, 0, 0, 0);
}

static void test_hypervisor(void **state)
{
    (void)state;
    make(0x16, 8, 0);
    struct cpuid_regs r = cpuid_hypervisor(&t, 0x40000000);
    assert_int_equal(r.eax, 0x40000010);
    assert_memory_equal(&r.ebx, "NoSnoopHyper", 12);
    assert_regs(cpuid_hypervisor(&t, 0x40000001), 0, 0, 0, 0);
    assert_regs(cpuid_hypervisor(&t, 0x4000000f), 0, 0, 0, 0);
    assert_regs(cpuid_hypervisor(&t, 0x40000010), 3000000, 187500, 0, 0);
}

/* x2APIC, TSC-deadline and ARAT need nothing of the CPU. */
static void test_apic(void **state)
{
    (void)state;
    make(0x24, 8, 0);
    assert_int_equal(t.basic[1].ecx, 0x81200000);
    make(5, 8, 2);
    assert_regs(t.basic[6], 4, 0, 0, 0);
}

/* Leaf 15h is there whatever the host has; neither where the rate is not known. */
static void test_rates(void **state)
{
    static const uint32_t last[] = {5, 0x14, 0x15, 0x24};
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(last); i++) {
        make(last[i], 8, 0);
        assert_regs(t.basic[0x15], 1, 16, 187500000, 0);
        assert_int_equal(clock_khz_of_crystal(t.basic[0x15]), 3000000);
        assert_int_equal(t.last, last[i] < 0x16 ? 0x15 : 0x16);
        assert_int_equal(t.basic[0x16].eax, last[i] < 0x16 ? 0 : 3000);
    }
    cpuid_table_init(&t, read_host, 46, 0, 1);
    assert_regs(t.basic[0x15], 0, 0, 0, 0);
    assert_regs(t.basic[0x16], 0, 0, 0, 0);
    host.last = 5;
    cpuid_table_init(&t, read_host, 46, 0, 1);
    assert_int_equal(t.last, 5);
}

/* SDM, "CPUID", leaf 15h: TSC = ECX * EBX / EAX, where none is 0. */
static void test_crystal(void **state)
{
    (void)state;
    struct cpuid_regs skylake = {2, 292, 24000000, 0}, unknown = {2, 292, 0, 0};
    struct cpuid_regs none = {0, 292, 24000000, 0}, fast = {1, UINT32_MAX, UINT32_MAX, 0};
    struct cpuid_regs slow = {292, 2, 24000, 0};
    assert_int_equal(clock_khz_of_crystal(skylake), 3504000);
    assert_int_equal(clock_khz_of_crystal(unknown), 0);
    assert_int_equal(clock_khz_of_crystal(none), 0);
    assert_int_equal(clock_khz_of_crystal(fast), 0);
    assert_int_equal(clock_khz_of_crystal(slow), 0);
}

/* 3579 counts of 1193182 Hz are 2999.54 microseconds. */
static void test_pit(void **state)
{
    (void)state;
    assert_in_range(clock_khz_of_pit(2999543), 999990, 1000010);
    assert_in_range(clock_khz_of_pit(8998627), 2999990, 3000010);
    assert_int_equal(clock_khz_of_pit(0), 0);
    assert_int_equal(clock_khz_of_pit(2700), 0);
    assert_int_equal(clock_khz_of_pit(UINT64_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_highest),    cmocka_unit_test(test_hides),
        cmocka_unit_test(test_topology),   cmocka_unit_test(test_cores),
        cmocka_unit_test(test_caches),     cmocka_unit_test(test_xsave),
        cmocka_unit_test(test_hypervisor), cmocka_unit_test(test_apic),
        cmocka_unit_test(test_rates),      cmocka_unit_test(test_crystal),
        cmocka_unit_test(test_pit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
