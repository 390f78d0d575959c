/*
 * Messages of a device that a guest has, from the guest's registers to its APIC: what the real
 * function is told, so that none is lost or comes twice, against a function that sends, masks and
 * keeps as "MSI and MSI-X Operation" (PCI Local Bus Specification 3.0) says.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#define _DEFAULT_SOURCE /* syscall() */
#include <asm/prctl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/host.h"

#include "drivers/apic.h"
#include "lib/errno.h"
#include "vmm/host/host.h"
#include "vmm/vcpu/interrupts.h"
#include "vmm/host/iommu_host.h"
#include "vmm/passthrough/passed.h"
#include "vmm/host/smp.h"
#include "vmm/host/traps.h"

enum { CPUS = 2, ENTRIES = 4, VECTORS = 0xf0 - 0x40, MSI = 0x50, MSIX = 0x80, BASE = 7 };

static struct host host;
static _Alignas(PAGE_SIZE) uint8_t pool[CPUS * PAGE_SIZE];
static struct vm vm;
static struct vcpu vcpus[CPUS];
static struct vm_config vm_config = {.name = "a"};
static struct passthrough all;
static struct pci_function real;
static struct passed device;

/* --- the machine ------------------------------------------------------------------------------ */

static struct cpu cpus[CPUS], *running;
static void (*handler)(uint8_t vector);
static bool remapped; /* by an IOMMU: what the function says depends on its entry alone */

/* The IOMMU's entries, of which so many are another's. */
static struct {
    bool claimed, present;
    struct iommu_interrupt to;
} entries[BASE + ENTRIES];
static unsigned no_more;

static int claim(struct pci_bdf requester)
{
    assert_true(pci_same_bdf(requester, real.bdf));
    for (int i = BASE; i < BASE + ENTRIES - (int)no_more; i++)
        if (!entries[i].claimed) {
            entries[i].claimed = true;
            return i;
        }
    return -ENOSPC;
}

static void interrupt(struct pci_bdf requester, unsigned index, const struct iommu_interrupt *to,
                      struct iommu_message *says)
{
    assert_true(pci_same_bdf(requester, real.bdf) && entries[index].claimed);
    entries[index].present = to != NULL;
    if (to != NULL)
        entries[index].to = *to;
    if (says == NULL || to == NULL)
        return;
    says->address = remapped ? 0xfee00018 | index << 5 : 0xfee00000 | to->apic_id << 12;
    says->data = remapped ? 0 : to->vector;
}

static const struct iommu_ops ops = {.claim = claim, .interrupt = interrupt};

const struct iommu_ops *iommu_host(void)
{
    return &ops;
}

uint32_t smp_apic_id(uint32_t cpu)
{
    return 10 + cpu;
}

void apic_take_from(unsigned vector)
{
    assert_int_equal(vector, IRQ_FIRST_VECTOR);
}

void traps_on_interrupt(uint8_t vector, void (*with)(uint8_t vector))
{
    (void)vector;
    handler = with;
}

static void run_on(unsigned cpu)
{
    running = &cpus[cpu];
}

/* A vector comes to a CPU. */
static void come(unsigned cpu, uint8_t vector)
{
    run_on(cpu);
    handler(vector);
    run_on(0);
}

static void send(uint64_t address, uint32_t data)
{
    if (!remapped) {
        come((unsigned)(address >> 12 & 0xff) - 10, (uint8_t)data);
        return;
    }
    unsigned index = address >> 5 & 0x7fff;
    assert_true(address >> 20 == 0xfee && data == 0 && index < BASE + ENTRIES);
    if (entries[index].present)
        come(entries[index].to.apic_id - 10, entries[index].to.vector);
}

/* --- the guest -------------------------------------------------------------------------------- */

static struct ipi sent[64];
static unsigned sent_count;

void vcpu_send(struct vcpu *vcpu, const struct ipi *ipi)
{
    assert_ptr_equal(vcpu, &vcpus[0]);
    sent[sent_count++ % 64] = *ipi;
}

void vcpu_device_has_sent(const struct vm *it)
{
    assert_ptr_equal(it, &vm);
}

void passed_open_intx(struct passed *d, bool open)
{
    assert_true(d == &device && !open);
}

void passed_open_channels(struct passed *d, bool open)
{
    assert_true(d == &device && !open);
}

void passed_take_lines(struct vcpu *vcpu, struct passed *d)
{
    assert_true(vcpu == &vcpus[0] && d == &device);
}

int passed_refuse(const struct passed *d, const char *fmt, ...)
{
    assert_ptr_equal(d, &device);
    assert_non_null(strstr(fmt, "has no entries left"));
    return -EINVAL;
}

/* How many have come since, and the last one's vector. */
static void expect_come(unsigned count, unsigned vector)
{
    passthrough_take(&vcpus[0]);
    assert_int_equal(sent_count, count);
    if (count > 0)
        assert_int_equal(sent[count - 1].vector, vector);
    sent_count = 0;
}

/* --- the function ----------------------------------------------------------------------------- */

static struct {
    uint8_t config[256];
    bool raises;   /* an event before and behind each write of its registers */
    unsigned lost; /* events that came while it was off */
    bool pending[ENTRIES];
    volatile uint32_t table[4 * ENTRIES];
} function;

static uint32_t get(unsigned reg, unsigned size)
{
    uint32_t value = 0;
    memcpy(&value, &function.config[reg], size);
    return value;
}

static void set(unsigned reg, unsigned size, uint32_t value)
{
    memcpy(&function.config[reg], &value, size);
}

static bool wide(void)
{
    return (get(MSI + 2, 2) & 0x80) != 0;
}

static unsigned mask_register(void)
{
    return (get(MSI + 2, 2) & 0x100) == 0 ? 0 : MSI + (wide() ? 0x10 : 0x0c);
}

/* What is pending and not masked is sent; without a mask nothing is ever pending. */
static void settle(void)
{
    unsigned mask = mask_register();
    if (function.pending[0] && (get(MSI + 2, 2) & 1) != 0 && (mask == 0 || get(mask, 4) == 0)) {
        function.pending[0] = false;
        send(get(MSI + 4, 4) | (wide() ? (uint64_t)get(MSI + 8, 4) << 32 : 0),
             get(MSI + (wide() ? 12 : 8), 2));
    }
    if (mask == 0 || (get(MSI + 2, 2) & 1) == 0) {
        function.lost += function.pending[0];
        function.pending[0] = false;
    }
    if (mask != 0)
        set(mask + 4, 4, function.pending[0]);
}

static void settle_table(void)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        volatile uint32_t *words = &function.table[4 * i];
        if (function.pending[i] && (get(MSIX + 2, 2) >> 15) != 0 && words[3] == 0) {
            function.pending[i] = false;
            send(words[0] | (uint64_t)words[1] << 32, words[2]);
        }
    }
}

static void raise(unsigned entry)
{
    function.pending[entry] = true;
    if ((get(MSIX + 2, 2) >> 15) != 0)
        settle_table();
    else
        settle();
}

static uint32_t read_config(struct pci_bdf bdf, unsigned reg, unsigned size)
{
    assert_true(pci_same_bdf(bdf, real.bdf));
    return get(reg, size);
}

static void write_config(struct pci_bdf bdf, unsigned reg, unsigned size, uint32_t value)
{
    assert_true(pci_same_bdf(bdf, real.bdf));
    if (function.raises)
        raise(0);
    set(reg, size, value);
    settle();
    if (function.raises)
        raise(0);
}

static const struct pci_access fake_access = {read_config, write_config};

/* --- what the guest does ---------------------------------------------------------------------- */

static void make(unsigned msi_control)
{
    memset(&function, 0, sizeof(function));
    memset(entries, 0, sizeof(entries));
    memset(&device, 0, sizeof(device));
    memset(pool, 0, sizeof(pool)); /* nobody has a vector */
    host_log_reset();
    sent_count = no_more = 0;
    remapped = true;
    syscall(SYS_arch_prctl, ARCH_SET_GS, &running);
    if (host.frames.count == 0)
        frames_init(&host.frames, pool, hpa(0x40000000), sizeof(pool));
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        cpus[cpu].index = cpu;
        vcpus[cpu].cpu_index = cpu;
        vcpus[cpu].vm = &vm;
        vm.vcpus[cpu] = &vcpus[cpu];
        run_on(cpu);
        assert_int_equal(irq_prepare(&host), 0);
    }
    run_on(0);
    vm.config = &vm_config;
    vm.vcpu_count = CPUS;
    vm.passthrough = &all;
    all = (struct passthrough){.devices = {&device}, .count = 1};
    real = (struct pci_function){.bdf = {0, 3, 2, 1}, .msi = MSI, .msix = MSIX};
    device = (struct passed){.vm = &vm, .real = &real, .requester = real.bdf};
    device.table = function.table;
    device.function.table.size = sizeof(function.table);
    set(MSI + 2, 2, msi_control);
    set(MSIX + 2, 2, ENTRIES - 1);
    pci_use(&fake_access);
}

static void begin(unsigned msi_control)
{
    make(msi_control);
    assert_int_equal(passed_make_irqs(&device), 0);
}

static void open(enum vpci_interrupts how)
{
    device.function.how = (uint8_t)how;
    passed_interrupts(&device, how);
}

static void tell(unsigned entry, unsigned cpu, unsigned vector)
{
    const struct vpci_message message = {0xfee00000 | cpu << 12, vector};
    passed_message(&device, entry, &message);
}

static void mask(unsigned entry)
{
    passed_message(&device, entry, NULL);
}

/* --- tests ------------------------------------------------------------------------------------ */

static const unsigned kinds[] = {0x000, 0x080, 0x100, 0x180, 0x18a};

static void msi_comes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        begin(kinds[i]);
        raise(0);
        expect_come(0, 0);
        open(VPCI_MSI);
        tell(0, 0, 0x31);
        raise(0);
        expect_come(1, 0x31);
        tell(0, 1, 0x32);
        raise(0);
        expect_come(1, 0x32);
        assert_int_equal(get(MSI + 2, 2), kinds[i] | 1);
        open(VPCI_SILENT);
        raise(0);
        expect_come(0, 0);
        assert_int_equal(get(MSI + 2, 2), kinds[i]);
    }
}

/* What comes while it is masked comes once when it no longer is, and is seen to be pending. */
static void msi_masked(void **state)
{
    (void)state;
    for (unsigned control = 0x100; control <= 0x180; control += 0x80) {
        begin(control);
        open(VPCI_MSI); /* masked from the start on */
        raise(0);
        expect_come(0, 0);
        assert_int_equal(get(mask_register() + 4, 4), 1);
        tell(0, 0, 0x31);
        expect_come(1, 0x31);
        mask(0);
        raise(0);
        raise(0);
        expect_come(0, 0);
        assert_int_equal(get(mask_register() + 4, 4), 1);
        tell(0, 1, 0x32);
        expect_come(1, 0x32);
        assert_int_equal(get(mask_register() + 4, 4), 0);
    }
}

/* While the guest changes its message none is lost, and the function goes on saying the same. */
static void msi_rewritten(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        begin(kinds[i]);
        open(VPCI_MSI);
        tell(0, 0, 0x31);
        uint32_t address = get(MSI + 4, 4);
        function.raises = true;
        for (unsigned n = 0; n < 10; n++) {
            tell(0, n % CPUS, 0x31 + n);
            raise(0);
            passthrough_take(&vcpus[0]);
            assert_true(sent_count > 0 && sent[sent_count - 1].vector == 0x31 + n);
            assert_int_equal(get(MSI + 4, 4), address);
            sent_count = 0;
        }
        assert_int_equal(function.lost, 0);
    }
}

/* Where nothing remaps the function itself says which CPU and vector. */
static void msi_without_remapping(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        begin(kinds[i]);
        remapped = false;
        open(VPCI_MSI);
        for (unsigned n = 0; n < 6; n++) {
            tell(0, n % CPUS, 0x31 + n);
            raise(0);
            expect_come(1, 0x31 + n);
        }
    }
}

static void msix_comes(void **state)
{
    (void)state;
    begin(0);
    for (unsigned i = 0; i < ENTRIES; i++)
        function.table[4 * i + 3] = 0; /* as an older use has left them */
    open(VPCI_MSIX);
    assert_int_equal(get(MSIX + 2, 2), 0x8000 | (ENTRIES - 1));
    for (unsigned i = 0; i < ENTRIES; i++) {
        raise(i);
        expect_come(0, 0);
        tell(i, i % CPUS, 0x50 + i);
        settle_table();
        expect_come(1, 0x50 + i);
    }
    for (unsigned i = 0; i < ENTRIES; i++) {
        mask(i);
        raise(i);
        raise(i);
        expect_come(0, 0);
        tell(i, i % CPUS, 0x60 + i);
        settle_table();
        expect_come(1, 0x60 + i);
    }
    open(VPCI_SILENT);
    assert_int_equal(get(MSIX + 2, 2), ENTRIES - 1);
}

/* Where entry I leads. */
static struct iommu_interrupt leads(unsigned i)
{
    assert_true(entries[BASE + i].present);
    return entries[BASE + i].to;
}

/* One that was under way when its interrupt went elsewhere is still that interrupt's. */
static void late(void **state)
{
    (void)state;
    begin(0);
    open(VPCI_MSIX);
    tell(0, 0, 0x50);
    struct iommu_interrupt was = leads(0);
    tell(0, 1, 0x51);
    assert_int_equal(leads(0).apic_id, 11);
    tell(1, 0, 0x60);
    assert_int_equal(leads(1).apic_id, 10);
    come(0, was.vector);
    expect_come(1, 0x51);
    tell(0, 0, 0x52);
    assert_int_equal(leads(0).vector, was.vector);
}

/* Nothing of what came for the guest before reaches the one that has been started anew. */
static void late_for_another_guest(void **state)
{
    (void)state;
    begin(0);
    open(VPCI_MSIX);
    tell(0, 1, 0x50);
    tell(1, 1, 0x51);
    struct iommu_interrupt first = leads(0), second = leads(1);
    come(1, first.vector);
    passed_forget_irqs(&device);
    assert_false(entries[BASE].present || entries[BASE + 1].present);
    expect_come(0, 0);
    come(1, second.vector);
    open(VPCI_SILENT);
    open(VPCI_MSIX);
    tell(0, 1, 0x60);
    tell(1, 1, 0x61);
    expect_come(0, 0);
    come(1, first.vector);
    expect_come(1, 0x60);
}

/* One that has not come back from its reset has no table that can be written. */
static void lost(void **state)
{
    (void)state;
    begin(0);
    device.lost = true;
    for (unsigned i = 0; i < 4 * ENTRIES; i++)
        function.table[i] = 0x12345678 + i;
    open(VPCI_MSIX);
    tell(0, 0, 0x50);
    mask(0);
    for (unsigned i = 0; i < 4 * ENTRIES; i++)
        assert_int_equal(function.table[i], 0x12345678 + i);
}

/* All that the guest can ask for is taken at the start, or the device is refused. */
static void entries_are_taken_at_the_start(void **state)
{
    (void)state;
    for (no_more = 0; no_more <= ENTRIES; no_more++) {
        unsigned missing = no_more;
        make(0);
        no_more = missing;
        assert_int_equal(passed_make_irqs(&device), missing == 0 ? 0 : -EINVAL);
    }
    make(0);
    device.function.table.size = 0; /* MSI alone */
    no_more = ENTRIES - 1;
    assert_int_equal(passed_make_irqs(&device), 0);
}

/* Where a CPU has no more vectors another one of the VM's takes it, or it stays where it is. */
static void no_vectors(void **state)
{
    static struct irq others[CPUS * VECTORS];
    (void)state;
    begin(0);
    open(VPCI_MSIX);
    tell(0, 0, 0x50);
    for (unsigned i = 0; i < VECTORS; i++) {
        others[i].came = device.irq[0].irq.came;
        irq_take(1, &others[i]);
    }
    tell(0, 1, 0x51);
    assert_int_equal(leads(0).apic_id, 10);
    raise(0);
    expect_come(1, 0x51);
    tell(1, 1, 0x52);
    assert_int_equal(leads(1).apic_id, 10);
    for (unsigned i = VECTORS; i < 2 * VECTORS; i++) {
        others[i].came = device.irq[0].irq.came;
        irq_take(0, &others[i]);
    }
    for (unsigned n = 0; n < 10; n++) {
        tell(3, 0, 0x53);
        assert_int_equal(function.table[4 * 3 + 3], 1);
        tell(2, 0, 0x53);
    }
    const char *line = "vm a: device 03:02.1: no vector is left for its entry 3\n";
    assert_string_equal(host_log, line);
}

/*
 * A guest's message is any: one that is not for the APICs goes nowhere, and what is in it is passed
 * on as it is, vectors below 16 and levels too.
 */
static void odd_messages(void **state)
{
    static const uint64_t addresses[] = {0, 0xfed00000, 0x1fee00000, 0xfffffffffee00000};
    struct vpci_message message = {0xfee01000, 0xc103};
    (void)state;
    begin(0x80);
    open(VPCI_MSI);
    for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++) {
        passed_message(&device, 0, &(struct vpci_message){addresses[i], 0x31});
        raise(0);
        expect_come(0, 0);
    }
    passed_message(&device, 0, &message);
    assert_true(leads(0).vector >= IRQ_FIRST_VECTOR && leads(0).apic_id == 11 && !leads(0).level);
    raise(0);
    expect_come(1, 3);
    assert_true(sent[0].level && sent[0].dest == 1 && sent[0].mode == 1);
}

enum { TOLD = 200000 };
static unsigned told;

/* The guest's other CPU, which goes on changing the message. */
static void *tell_in_turn(void *context)
{
    (void)context;
    syscall(SYS_arch_prctl, ARCH_SET_GS, &running);
    for (unsigned n = 1; n <= TOLD; n++) {
        tell(0, n % CPUS, 0x31 + n % CPUS);
        __atomic_store_n(&told, n, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* What comes while the guest changes the message is the old or the new one, never half of each. */
static void told_while_it_comes(void **state)
{
    pthread_t other;
    unsigned wrong = 0;
    (void)state;
    begin(0x180);
    open(VPCI_MSI);
    tell(0, 0, 0x31);
    told = 0;
    assert_int_equal(pthread_create(&other, NULL, tell_in_turn, NULL), 0);
    for (sent_count = 0; __atomic_load_n(&told, __ATOMIC_RELAXED) < TOLD; sent_count = 0) {
        (void)__atomic_fetch_or(&device.pending[0], 1, __ATOMIC_RELEASE);
        passthrough_take(&vcpus[0]);
        wrong += sent_count != 1 || sent[0].vector != 0x31 + sent[0].dest;
    }
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(msi_comes),
        cmocka_unit_test(msi_masked),
        cmocka_unit_test(msi_rewritten),
        cmocka_unit_test(msi_without_remapping),
        cmocka_unit_test(msix_comes),
        cmocka_unit_test(late),
        cmocka_unit_test(late_for_another_guest),
        cmocka_unit_test(lost),
        cmocka_unit_test(entries_are_taken_at_the_start),
        cmocka_unit_test(odd_messages),
        cmocka_unit_test(told_while_it_comes),
        cmocka_unit_test(no_vectors), /* of which others have none left then */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
