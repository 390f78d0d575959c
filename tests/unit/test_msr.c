/* The table of MSRs: in order, found as a plain search finds, and each rule's legality. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/host.h"

/* The table and its search are the file's own. */
#include "vmm/vcpu/msr.c"

static struct vm_config config = {.name = "test"};
static struct virt_caps caps;
static struct vm vm = {.config = &config, .caps = &caps};
static struct vcpu vcpu = {.vm = &vm, .map = &vm.map};
static unsigned faults, advances;

void vcpu_raise(struct vcpu *v, enum vector vector, uint32_t error)
{
    (void)v;
    assert_int_equal(vector, VECTOR_GP);
    assert_int_equal(error, 0);
    faults++;
}

void vcpu_skip_rarely(struct vcpu *v)
{
    (void)v;
    advances++;
}

void vm_reset_mtrrs(const struct vm *v, struct mtrr_state *mtrr)
{
    (void)v;
    mtrr_reset_firmware(mtrr, 40);
}

void views_put_pat(struct vcpu *v)
{
    (void)v;
}

void views_follow_mtrr(struct vcpu *v, bool def_type)
{
    (void)v, (void)def_type;
}

static struct lapic_now now;
static uint32_t apic_page[PAGE_SIZE / sizeof(uint32_t)];

bool apic_read_base(struct vcpu *v, const struct msr_rule *rule, uint32_t msr, uint64_t *value)
{
    (void)rule, (void)msr;
    *value = v->lapic.base;
    return true;
}

bool apic_write_base(struct vcpu *v, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
    (void)rule, (void)msr;
    return lapic_set_base(&v->lapic, value);
}

bool apic_read_msr(struct vcpu *v, const struct msr_rule *rule, uint32_t msr, uint64_t *value)
{
    (void)rule;
    return lapic_read_msr(&v->lapic, msr, now, value);
}

bool apic_write_msr(struct vcpu *v, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
    struct ipi ipi;
    (void)rule;
    return lapic_write_msr(&v->lapic, msr, value, now, &ipi) != LAPIC_REFUSED;
}

bool apic_read_deadline(struct vcpu *v, const struct msr_rule *rule, uint32_t msr, uint64_t *value)
{
    (void)rule, (void)msr;
    *value = lapic_deadline(&v->lapic, now);
    return true;
}

bool apic_write_deadline(struct vcpu *v, const struct msr_rule *rule, uint32_t msr, uint64_t value)
{
    (void)rule, (void)msr;
    lapic_set_deadline(&v->lapic, value, now);
    return true;
}

uint64_t vcpu_decode_next(struct vcpu *v, enum insn_op op)
{
    (void)v, (void)op;
    return 0;
}

static void test_order(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
        assert_true(rules[i].first <= rules[i].last);
        assert_true(i == 0 || rules[i - 1].last < rules[i].first);
        assert_true(rules[i].read != NULL || rules[i].write != NULL || rules[i].direct != 0);
        assert_true((rules[i].read == read_slot) >= (rules[i].write == write_slot));
    }
    for (unsigned i = 0; i < ARRAY_SIZE(hidden); i++) {
        assert_true(hidden[i].first <= hidden[i].last);
        for (unsigned r = 0; r < ARRAY_SIZE(rules); r++)
            assert_true(hidden[i].last < rules[r].first || hidden[i].first > rules[r].last);
    }
}

static const struct msr_rule *plain_search(uint32_t msr)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rules); i++)
        if (msr >= rules[i].first && msr <= rules[i].last)
            return &rules[i];
    return NULL;
}

static void check_search(uint32_t msr)
{
    const struct msr_rule *at = find_place(msr);
    assert_true(at >= rules && at < rules + ARRAY_SIZE(rules));
    bool found = msr >= at->first && msr <= at->last;
    assert_ptr_equal(found ? at : NULL, plain_search(msr));
}

static void test_search(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 0x4000; i++) {
        check_search(i);
        check_search(0xc0000000 + i);
        check_search(0xc0010000 + i);
        check_search(0x40000000 + i);
        check_search(UINT32_MAX - i);
    }
}

/* By an exit with RIP at hand; true: no #GP. */
static bool access(bool write, uint32_t msr, uint64_t *value)
{
    unsigned before = faults;
    vcpu.exit.next_rip = 0x1000;
    vcpu.state.gpr[RCX] = msr;
    if (write) {
        vcpu.state.gpr[RAX] = (uint32_t)*value;
        vcpu.state.gpr[RDX] = *value >> 32;
        exit_wrmsr(&vcpu, &vcpu.exit);
    } else {
        exit_rdmsr(&vcpu, &vcpu.exit);
        *value = vcpu.state.gpr[RDX] << 32 | vcpu.state.gpr[RAX];
    }
    return faults == before;
}

static bool reads(uint32_t msr, uint64_t want)
{
    uint64_t value = 0;
    return access(false, msr, &value) && value == want;
}

static bool writes(uint32_t msr, uint64_t value)
{
    return access(true, msr, &value);
}

static void reset(bool misc_enable, bool syscfg)
{
    caps = (struct virt_caps){.has_misc_enable = misc_enable, .has_syscfg = syscfg};
    vm.cpuid = (struct cpuid_table){.last = 0x16};
    vm.logged_msrs = 0;
    vcpu.fetched = UINT32_MAX;
    msr_reset(&vcpu);
    lapic_reset(&vcpu.lapic, apic_page, 0, true);
    host_log_reset();
}

/* SDM Volume 4, "IA32_MISC_ENABLE"; APM Volume 2, "Hardware Configuration Register (HWCR)". */
static void test_vendors(void **state)
{
    (void)state;
    reset(true, false);
    assert_true(reads(0x1a0, 0x1801));
    assert_true(writes(0x1a0, 0x1800) && reads(0x1a0, 0x1800));
    assert_false(writes(0x1a0, 0x1801 | 1ull << 34));
    assert_true(reads(0x1a0, 0x1800));
    assert_false(reads(0xc0010015, 0x1000010));
    assert_true(writes(0x79, 0x1000));
    assert_false(writes(0xc0010020, 0x1000));
    reset(false, true);
    assert_false(reads(0x1a0, 0x1801));
    assert_true(reads(0xc0010015, 0x1000010));
    assert_true(writes(0xc0010015, 0x1040010) && reads(0xc0010015, 0x1040010));
    assert_false(writes(0xc0010015, 0x1000000));
    assert_true(reads(0xc0010010, 0) && reads(0xc001001a, 0) && reads(0xc001001d, 0));
    assert_false(writes(0xc0010010, 1));
    assert_false(writes(0x79, 0x1000));
    assert_true(writes(0xc0010020, 0x1000));
}

/* The MSRs of the local APIC lead to it: those of x2APIC mode in that mode alone. */
static void test_apic(void **state)
{
    (void)state;
    reset(true, false);
    assert_true(reads(0x1b, 0xfee00900));
    assert_false(writes(0x1b, 0xfee00500) || reads(0x803, 0x50014));
    assert_true(writes(0x1b, 0xfee00d00) && reads(0x1b, 0xfee00d00));
    assert_true(reads(0x803, 0x50014) && writes(0x808, 0x20) && reads(0x808, 0x20));
    assert_false(writes(0x803, 0x50014) || writes(0x840, 0) || writes(0x8ff, 0));
    assert_true(writes(0x6e0, 1000) && reads(0x6e0, 0));
    assert_true(writes(0x832, 0x50030) && writes(0x6e0, 1000) && reads(0x6e0, 1000));
}

/* SDM, "IA32_TSC_ADJUST Register Support"; the MSR is there if CPUID says so. */
static void test_tsc_adjust(void **state)
{
    (void)state;
    reset(true, false);
    assert_false(reads(0x3b, 0));
    vm.cpuid.basic[7].ebx = 1 << 1;
    vcpu.state.tsc_offset = 1000;
    assert_true(reads(0x3b, 0));
    assert_true(writes(0x3b, 500) && reads(0x3b, 500));
    assert_int_equal(vcpu.state.tsc_offset, 1500);
    assert_true(writes(0x10, 0));
    assert_int_equal(vcpu.msr[MSR_SLOT_TSC_ADJUST] - 500, vcpu.state.tsc_offset - 1500);
    assert_true((vcpu.changed & STATE_MSR) != 0);
}

static unsigned lines(void)
{
    unsigned n = 0;
    for (const char *at = host_log; *at != '\0'; at++)
        n += *at == '\n';
    return n;
}

/* Each is named once, at most 32 of them, with the reason where there is one. */
static void test_logged_once(void **state)
{
    uint64_t value;
    (void)state;
    reset(true, false);
    for (unsigned i = 0; i < 3; i++)
        access(false, 0x480, &value);
    assert_non_null(strstr(host_log, "MSR 0x480 at RIP 0x1000: #GP, as CPUID hides VMX"));
    assert_int_equal(lines(), 1);
    access(false, 0x12345, &value);
    assert_non_null(strstr(host_log, "unknown MSR 0x12345"));
    for (uint32_t msr = 0x5000; msr < 0x6000; msr++)
        access(false, msr, &value);
    assert_int_equal(lines(), VM_LOGGED_MSRS + 1);
}

/* What the guest reads is a knob of its own; writes are checked all the same, or are not there. */
static void test_reports(void **state)
{
    (void)state;
    reset(true, false);
    vm_reset_mtrrs(&vm, &vcpu.mtrr);
    for (unsigned report = KNOB_REPORT_STORED; report <= KNOB_REPORT_HIDDEN; report++) {
        bool there = report != KNOB_REPORT_HIDDEN, own = report == KNOB_REPORT_STORED;
        vm.map.typing.policy.report = (enum knob_report)report;
        vcpu.hides_mtrrs = !there;
        assert_int_equal(writes(0x2ff, 0xc04), there);
        assert_int_equal(writes(0x20f, 0x800), there);
        assert_int_equal(writes(0x250, 0), there);
        assert_false(writes(0x2ff, 0xc02));
        assert_int_equal(vcpu.mtrr.def_type, there ? 0xc04 : 0xc06);
        assert_int_equal(reads(0x2ff, own ? 0xc04 : 0xc06), there);
        assert_int_equal(reads(0x20f, own ? 0x800 : 0), there);
        assert_int_equal(reads(0x250, own ? 0 : 0x0606060606060606), there);
        assert_int_equal(reads(0xfe, 0x508), there);
        vm_reset_mtrrs(&vm, &vcpu.mtrr);
    }
    vm.map.typing.policy.report = KNOB_REPORT_STORED;
    vcpu.hides_mtrrs = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),       cmocka_unit_test(test_search),
        cmocka_unit_test(test_vendors),     cmocka_unit_test(test_tsc_adjust),
        cmocka_unit_test(test_logged_once), cmocka_unit_test(test_reports),
        cmocka_unit_test(test_apic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
