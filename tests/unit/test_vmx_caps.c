/* What the VMX capability MSRs of real, emulated and crippled CPUs lead to: words, lacks, messages.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include "tests/unit/host.h"

#include "lib/errno.h"
#include "vmx/caps.h"

struct msr {
    uint32_t number;
    uint64_t value;
};

/* clang-format off */
/* Read by RDMSR in Bochs 2.7, model corei7_skylake_x. */
static const struct msr skylake[] = {
    {0x03a, 0x5},
    {0x480, 0x00d810000000002b}, {0x481, 0x0000007f00000016}, {0x482, 0xf7f9fffe0401e172},
    {0x483, 0x007fffff00036dff}, {0x484, 0x0000ffff000011ff}, {0x485, 0x00000000600401e0},
    {0x486, 0x0000000080000021}, {0x487, 0x00000000ffffffff}, {0x488, 0x0000000000002000},
    {0x489, 0x00000000003727ff}, {0x48b, 0x02177fff00000000}, {0x48c, 0x00000f0106334141},
    {0x48d, 0x0000007f00000016}, {0x48e, 0xf7f9fffe04006172}, {0x48f, 0x007fffff00036dfb},
    {0x490, 0x0000ffff000011fb}, {0x491, 0x0000000000000001}, {0, 0},
};

/* corei7_sandy_bridge_2600k: no 1G EPT pages, no A/D flags, no VMFUNC. */
static const struct msr sandy_bridge[] = {
    {0x03a, 0x5},
    {0x480, 0x00d810000000002b}, {0x481, 0x0000007f00000016}, {0x482, 0xf7f9fffe0401e172},
    {0x483, 0x007fffff00036dff}, {0x484, 0x0000ffff000011ff}, {0x485, 0x00000000000401e0},
    {0x486, 0x0000000080000021}, {0x487, 0x00000000ffffffff}, {0x488, 0x0000000000002000},
    {0x489, 0x00000000000627ff}, {0x48b, 0x000000ff00000000}, {0x48c, 0x00000f0106114141},
    {0x48d, 0x0000007f00000016}, {0x48e, 0xf7f9fffe04006172}, {0x48f, 0x007fffff00036dfb},
    {0x490, 0x0000ffff000011fb}, {0, 0},
};

/* core2_penryn_t9600: neither EPT nor VPID, so no IA32_VMX_EPT_VPID_CAP. TRUE MSRs taken away. */
static const struct msr penryn[] = {
    {0x03a, 0x5},
    {0x480, 0x005810000000002b}, {0x481, 0x0000003f00000016}, {0x482, 0xf7f9fffe0401e172},
    {0x483, 0x0003ffff00036dff}, {0x484, 0x00003fff000011ff}, {0x485, 0x00000000000401e0},
    {0x486, 0x0000000080000021}, {0x487, 0x00000000ffffffff}, {0x488, 0x0000000000002000},
    {0x489, 0x00000000000467ff}, {0x48b, 0x0000004100000000}, {0, 0},
};

/* Made up: tertiary controls and secondary VM-exit controls, and nothing secondary. */
static const struct msr odd[] = {
    {0x03a, 0x0},
    {0x480, 0x00d810000000002b}, {0x485, 0}, {0x486, 0}, {0x487, 0}, {0x488, 0}, {0x489, 0},
    {0x48d, 0x0000007f00000016}, {0x48e, 0x77fbfffe04006172}, {0x48f, 0x807fffff00036dfb},
    {0x490, 0x0000ffff000011fb}, {0x492, 0x10}, {0x493, 0x8}, {0, 0},
};

/* Made up: of the secondary controls VPID alone. */
static const struct msr vpid_only[] = {
    {0x03a, 0x0},
    {0x480, 0x005810000000002b}, {0x481, 0x0000003f00000016}, {0x482, 0xf7f9fffe0401e172},
    {0x483, 0x0003ffff00036dff}, {0x484, 0x00003fff000011ff}, {0x485, 0}, {0x486, 0}, {0x487, 0},
    {0x488, 0}, {0x489, 0}, {0x48b, 0x0000002000000000}, {0x48c, 0x00000f0100000000}, {0, 0},
};
/* clang-format on */

static const struct msr *cpu;

/* An MSR that the CPU lacks would fault. */
static uint64_t rdmsr(uint32_t number)
{
    for (const struct msr *m = cpu; m->number != 0; m++) {
        if (m->number == number)
            return m->value;
    }
    fail_msg("RDMSR of 0x%x faults", number);
    return 0;
}

static struct vmx_msrs msrs_of(const struct msr *table)
{
    struct vmx_msrs msrs;
    cpu = table;
    vmx_msrs_read(&msrs, rdmsr, 0x3028, 0xd19f27eb);
    return msrs;
}

static bool is_missing(const struct vmx_caps *caps, const char *name)
{
    for (unsigned i = 0; i < caps->missing_count; i++) {
        if (strcmp(caps->missing[i], name) == 0)
            return true;
    }
    return false;
}

static void test_read(void **state)
{
    (void)state;
    struct vmx_msrs msrs = msrs_of(skylake);
    assert_int_equal(msrs.word[VMX_PROC], 0xf7f9fffe04006172);
    assert_int_equal(msrs.word[VMX_ENTRY], 0x0000ffff000011fb);
    assert_int_equal(msrs.word[VMX_VMFUNC], 1);
    assert_int_equal(msrs.word[VMX_PROC3], 0);
    assert_int_equal(msrs.physical_bits, 40);
    assert_int_equal(msrs.linear_bits, 48);
    assert_int_equal(msrs.features, 0xd19f27eb);
    msrs = msrs_of(penryn);
    assert_int_equal(msrs.word[VMX_PROC], 0xf7f9fffe0401e172);
    assert_int_equal(msrs.word[VMX_EXIT], 0x0003ffff00036dff);
    assert_int_equal(msrs.word[VMX_EPT_VPID_CAP], 0);
    msrs = msrs_of(vpid_only);
    assert_int_equal(msrs.word[VMX_EPT_VPID_CAP], 0x00000f0100000000);
    msrs = msrs_of(odd);
    assert_int_equal(msrs.word[VMX_PROC2], 0);
    assert_int_equal(msrs.word[VMX_PROC3], 0x10);
    assert_int_equal(msrs.word[VMX_EXIT2], 8);
    assert_int_equal(vmx_allowed1(&msrs, VMX_PROC3), 0x10);
    assert_int_equal(vmx_required1(&msrs, VMX_PROC3), 0);
    assert_int_equal(vmx_allowed1(&msrs, VMX_PIN), 0x7f);
    assert_int_equal(vmx_required1(&msrs, VMX_PIN), 0x16);
}

static void test_skylake(void **state)
{
    (void)state;
    struct vmx_caps caps;
    struct vmx_msrs msrs = msrs_of(skylake);
    host_log_reset();
    assert_int_equal(vmx_caps_init(&caps, &msrs), 0);
    assert_int_equal(caps.missing_count, 0);
    assert_int_equal(caps.control[VMX_PIN], 0x0000003f);
    assert_int_equal(caps.control[VMX_PROC], 0xb6386dfa);
    assert_int_equal(caps.control[VMX_PROC2], 0x000003fb);
    assert_int_equal(caps.control[VMX_EXIT], 0x003f6fff);
    assert_int_equal(caps.control[VMX_ENTRY], 0x0000d1ff);
    assert_int_equal(caps.ept_vpid, 0x00000f0106334141);
    assert_string_equal(host_log, "");
}

static void test_sandy_bridge(void **state)
{
    (void)state;
    struct vmx_caps caps;
    struct vmx_msrs msrs = msrs_of(sandy_bridge);
    assert_int_equal(vmx_caps_init(&caps, &msrs), 0);
    assert_int_equal(caps.control[VMX_PROC2], 0xfb);
    assert_int_equal(caps.missing_count, 4);
    assert_true(is_missing(&caps, "APIC-register virtualization"));
    assert_true(is_missing(&caps, "virtual-interrupt delivery"));
    assert_true(is_missing(&caps, "1G EPT pages"));
    assert_true(is_missing(&caps, "EPT accessed and dirty flags"));
}

static void test_penryn(void **state)
{
    (void)state;
    struct vmx_caps caps;
    struct vmx_msrs msrs = msrs_of(penryn);
    host_log_reset();
    assert_int_equal(vmx_caps_init(&caps, &msrs), -ENODEV);
    assert_non_null(strstr(host_log, "lacks unrestricted guest (secondary control bit 7): needs "
                                     "Westmere or later\n"));
    assert_non_null(strstr(host_log, "lacks EPT (secondary control bit 1)"));
    assert_non_null(strstr(host_log, "lacks save IA32_PAT (VM-exit control bit 18)"));
    assert_non_null(strstr(host_log, "lacks load guest IA32_EFER (VM-entry control bit 15)"));
    assert_null(strstr(host_log, "MSR bitmaps"));
}

/* One bit is taken from the skylake's: exactly that is missed. */
struct lack {
    enum vmx_word word;
    unsigned bit; /* of the word */
    const char *line;
};

static const struct lack lacks[] = {
    {VMX_PIN, 0, "external-interrupt exiting (pin-based control bit 0)"},
    {VMX_PIN, 3, "NMI exiting (pin-based control bit 3)"},
    {VMX_PIN, 5, "virtual NMIs (pin-based control bit 5)"},
    {VMX_PROC, 3, "TSC offsetting (primary control bit 3)"},
    {VMX_PROC, 7, "HLT exiting (primary control bit 7)"},
    {VMX_PROC, 10, "MWAIT exiting (primary control bit 10)"},
    {VMX_PROC, 11, "RDPMC exiting (primary control bit 11)"},
    {VMX_PROC, 19, "CR8-load exiting (primary control bit 19)"},
    {VMX_PROC, 20, "CR8-store exiting (primary control bit 20)"},
    {VMX_PROC, 29, "MONITOR exiting (primary control bit 29)"},
    {VMX_PROC, 25, "I/O bitmaps (primary control bit 25)"},
    {VMX_PROC, 28, "MSR bitmaps (primary control bit 28)"},
    {VMX_PROC, 31, "secondary controls (primary control bit 31)"},
    {VMX_PROC2, 1, "EPT (secondary control bit 1)"},
    {VMX_PROC2, 7, "unrestricted guest (secondary control bit 7)"},
    {VMX_EXIT, 2, "save debug controls (VM-exit control bit 2)"},
    {VMX_EXIT, 9, "host address-space size (VM-exit control bit 9)"},
    {VMX_EXIT, 18, "save IA32_PAT (VM-exit control bit 18)"},
    {VMX_EXIT, 19, "load host IA32_PAT (VM-exit control bit 19)"},
    {VMX_EXIT, 20, "save IA32_EFER (VM-exit control bit 20)"},
    {VMX_EXIT, 21, "load host IA32_EFER (VM-exit control bit 21)"},
    {VMX_ENTRY, 2, "load debug controls (VM-entry control bit 2)"},
    {VMX_ENTRY, 14, "load guest IA32_PAT (VM-entry control bit 14)"},
    {VMX_ENTRY, 15, "load guest IA32_EFER (VM-entry control bit 15)"},
    {VMX_EPT_VPID_CAP, 6, "4-level EPT (IA32_VMX_EPT_VPID_CAP bit 6)"},
    {VMX_EPT_VPID_CAP, 14, "write-back EPT paging structures (IA32_VMX_EPT_VPID_CAP bit 14)"},
    {VMX_EPT_VPID_CAP, 20, "INVEPT (IA32_VMX_EPT_VPID_CAP bit 20)"},
    {VMX_EPT_VPID_CAP, 26, "INVEPT of all contexts (IA32_VMX_EPT_VPID_CAP bit 26)"},
};

static void take(struct vmx_msrs *msrs, enum vmx_word word, unsigned bit)
{
    msrs->word[word] &= ~(1ull << (word < VMX_CONTROL_WORDS ? bit + 32 : bit));
}

static void test_each_must_have(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lacks); i++) {
        struct vmx_caps caps;
        struct vmx_msrs msrs = msrs_of(skylake);
        char line[160];
        take(&msrs, lacks[i].word, lacks[i].bit);
        snprintf(line, sizeof(line), "vmx: the CPU lacks %s: needs Westmere or later\n",
                 lacks[i].line);
        host_log_reset();
        assert_int_equal(vmx_caps_init(&caps, &msrs), -ENODEV);
        assert_string_equal(host_log, line);
    }
}

static const struct lack wants[] = {
    {VMX_PROC2, 3, "RDTSCP"},
    {VMX_PROC2, 5, "VPID"},
    {VMX_PROC2, 6, "WBINVD exiting"},
    {VMX_EPT_VPID_CAP, 16, "2M EPT pages"},
    {VMX_EPT_VPID_CAP, 17, "1G EPT pages"},
    {VMX_EPT_VPID_CAP, 21, "EPT accessed and dirty flags"},
    {VMX_EPT_VPID_CAP, 25, "INVEPT of one context"},
    {VMX_EPT_VPID_CAP, 41, "INVVPID of one context"},
    {VMX_EPT_VPID_CAP, 42, "INVVPID of all contexts"},
};

static void test_each_want(void **state)
{
    (void)state;
    static struct vmx_caps all;
    struct vmx_msrs good = msrs_of(skylake);
    assert_int_equal(vmx_caps_init(&all, &good), 0);
    for (size_t i = 0; i < ARRAY_SIZE(wants); i++) {
        struct vmx_caps caps;
        struct vmx_msrs msrs = good;
        take(&msrs, wants[i].word, wants[i].bit);
        assert_int_equal(vmx_caps_init(&caps, &msrs), 0);
        assert_int_equal(caps.missing_count, 1);
        assert_string_equal(caps.missing[0], wants[i].line);
        if (wants[i].word < VMX_CONTROL_WORDS)
            assert_int_equal(caps.control[wants[i].word],
                             all.control[wants[i].word] & ~(1u << wants[i].bit));
        else
            assert_memory_equal(caps.control, all.control, sizeof(all.control));
    }
}

/* SDM, "VM-Execution Control Fields": all need the TPR shadow, and not to be worse than none the
 * delivery of interrupts needs x2APIC mode and its registers, and they need it. */
static void test_apic_controls(void **state)
{
    static const struct {
        struct lack lack;
        uint32_t left; /* of the secondary controls */
    } rows[] = {
        {{VMX_PROC, 21, "TPR shadow"}, 0xea},
        {{VMX_PROC2, 0, "APIC-access virtualization"}, 0x3fa},
        {{VMX_PROC2, 4, "x2APIC-mode virtualization"}, 0xeb},
        {{VMX_PROC2, 8, "APIC-register virtualization"}, 0xfb},
        {{VMX_PROC2, 9, "virtual-interrupt delivery"}, 0xfb},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct vmx_caps caps;
        struct vmx_msrs msrs = msrs_of(skylake);
        take(&msrs, rows[i].lack.word, rows[i].lack.bit);
        assert_int_equal(vmx_caps_init(&caps, &msrs), 0);
        assert_int_equal(caps.control[VMX_PROC2], rows[i].left);
        assert_int_equal(caps.control[VMX_PROC] >> 21 & 1, i != 0);
        assert_int_equal(caps.missing_count, 1);
        assert_string_equal(caps.missing[0], rows[i].lack.line);
    }
}

/* Neither Bochs model has SGX: the controls that hide it are added. */
static void test_taken_where_there(void **state)
{
    (void)state;
    struct vmx_caps caps;
    struct vmx_msrs msrs = msrs_of(skylake);
    const uint32_t encls = 1u << 15, enclv = 1u << 28;
    msrs.word[VMX_PROC2] |= (uint64_t)(encls | enclv) << 32;
    assert_int_equal(vmx_caps_init(&caps, &msrs), 0);
    assert_int_equal(caps.control[VMX_PROC2], 0x000003fb | encls | enclv);
    assert_int_equal(caps.missing_count, 0);
}

static void test_vpid_that_cannot_be_flushed(void **state)
{
    (void)state;
    struct vmx_caps caps;
    struct vmx_msrs msrs = msrs_of(skylake);
    take(&msrs, VMX_EPT_VPID_CAP, 32);
    assert_int_equal(vmx_caps_init(&caps, &msrs), 0);
    assert_int_equal(caps.control[VMX_PROC2], 0x000003db);
    assert_true(is_missing(&caps, "VPID"));
    msrs = msrs_of(skylake);
    take(&msrs, VMX_EPT_VPID_CAP, 41);
    take(&msrs, VMX_EPT_VPID_CAP, 42);
    assert_int_equal(vmx_caps_init(&caps, &msrs), 0);
    assert_int_equal(caps.control[VMX_PROC2], 0x3db);
}

static void test_firmware(void **state)
{
    (void)state;
    uint64_t set = 0;
    assert_int_equal(vmx_judge_firmware(0, &set), VMX_FIRMWARE_OPEN);
    assert_int_equal(set, 5);
    assert_int_equal(vmx_judge_firmware(0x20000, &set), VMX_FIRMWARE_OPEN);
    assert_int_equal(set, 0x20005);
    assert_int_equal(vmx_judge_firmware(4, &set), VMX_FIRMWARE_OPEN);
    assert_int_equal(set, 5);
    assert_int_equal(vmx_judge_firmware(5, &set), VMX_FIRMWARE_ON);
    assert_int_equal(set, 5);
    assert_int_equal(vmx_judge_firmware(1, &set), VMX_FIRMWARE_OFF);
    assert_int_equal(set, 1);
    assert_int_equal(vmx_judge_firmware(3, &set), VMX_FIRMWARE_OFF);
}

static void test_locked_off(void **state)
{
    (void)state;
    struct vmx_caps caps;
    struct vmx_msrs msrs = msrs_of(skylake);
    msrs.feature_control = 1;
    host_log_reset();
    assert_int_equal(vmx_caps_init(&caps, &msrs), -EPERM);
    assert_string_equal(host_log,
                        "vmx: the firmware has VMX disabled (IA32_FEATURE_CONTROL is locked at "
                        "0x1): enable it in the firmware set-up\n");
    msrs.feature_control = 0;
    assert_int_equal(vmx_caps_init(&caps, &msrs), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_skylake),
        cmocka_unit_test(test_sandy_bridge),
        cmocka_unit_test(test_penryn),
        cmocka_unit_test(test_each_must_have),
        cmocka_unit_test(test_each_want),
        cmocka_unit_test(test_apic_controls),
        cmocka_unit_test(test_taken_where_there),
        cmocka_unit_test(test_vpid_that_cannot_be_flushed),
        cmocka_unit_test(test_firmware),
        cmocka_unit_test(test_locked_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
