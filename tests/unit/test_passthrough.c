/* What becomes of a device that does not come back from a reset, and of CPUs that wait for one. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/host.h"

#undef assert
#include "drivers/pci.h"
#include "lib/errno.h"
#include "vmm/host/clock.h"
#include "vmm/host/cpu.h"
#include "vmm/host/request.h"

static struct cpu the_cpu;
static int result; /* of a reset */
static unsigned served, resets;

/* What masters the bus, by number of device. */
static bool on_bus[32];

static bool none_on_bus(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(on_bus); i++)
        if (on_bus[i])
            return false;
    return true;
}

static uint16_t read_command(struct pci_bdf bdf)
{
    return on_bus[bdf.device] ? 7 : 3;
}

static void write_command(struct pci_bdf bdf, uint16_t command)
{
    assert_int_equal(command & 3, 3);
    on_bus[bdf.device] = (command & 4) != 0;
}

static int reset_function(const struct pci_function *f, void (*delay)(uint32_t us))
{
    assert_true(none_on_bus());
    (void)f;
    resets++;
    delay(100);
    return result;
}

#define this_cpu()                   (&the_cpu)
#define clock_ticks(us)              ((uint64_t)(us)*1000)
#define pci_reset(f, delay)          reset_function(f, delay)
#define pci_restore(f, saved)        ((void)(f), (void)(saved))
#define pci_read16(bdf, reg)         read_command(bdf)
#define pci_write16(bdf, reg, value) write_command(bdf, value)
#pragma GCC diagnostic ignored "-Wframe-larger-than=" /* with sanitizers they are larger */
/* What no test here comes to; clang wants it said before. */
#pragma weak devices_level_pci
#pragma weak iommu_host
#pragma weak iommu_host_registers
#pragma weak log_port
#pragma weak passed_decode
#pragma weak passed_find_lines
#pragma weak passed_interrupts
#pragma weak passed_make_intx
#pragma weak passed_make_irqs
#pragma weak passed_map_table
#pragma weak passed_message
#pragma weak passed_open_channels
#pragma weak passed_place_at_rest
#pragma weak pci_host_ecams
#pragma weak pci_host_functions
#pragma weak vm_address_bits
#include "vmm/passthrough/passthrough.c"

void request_serve(uint32_t me)
{
    assert_int_equal(me, 0);
    served++;
}

static struct vm_config vm_config = {.name = "a"};
static struct vm vm = {.config = &vm_config};
static struct pci_function real = {.bdf = {0, 0, 5, 0}, .reset = PCI_RESET_FLR};
static struct config_device wanted = {.line = 7};
static struct passed device;

static int begin(void **state)
{
    (void)state;
    device = (struct passed){.vm = &vm, .real = &real, .config = &wanted, .reachable = true};
    result = 0;
    served = 0;
    host_log_reset();
    return 0;
}

static void others_go_on(void **state)
{
    (void)state;
    reset_real(&device);
    assert_true(served > 0);
}

/* Nor does it before it has come back. */
static void lost_one_masters_no_bus(void **state)
{
    (void)state;
    reset_real(&device);
    assert_true(master_bus(&device, true));
    result = -EIO;
    reset_real(&device);
    assert_false(master_bus(&device, true));
    reset_real(&device); /* is told of once */
    assert_string_equal(host_log, "vm a: device 00:05.0 does not come back from its reset\n");
    result = 0;
    reset_real(&device);
    assert_true(master_bus(&device, true));
}

static struct vcpu vcpu = {.vm = &vm};
static unsigned followed;

/* The views take up what has moved. */
void passthrough_follow(struct vcpu *of)
{
    assert_ptr_equal(of, &vcpu);
    assert_int_equal(resets, 0); /* before the function decodes nothing */
    followed++;
}

/* No vCPU reaches its registers while it is being reset; at the VM's own reset none runs. */
static void unreached_while_it_is_reset(void **state)
{
    static struct passthrough own;
    (void)state;
    vm.passthrough = &own;
    the_cpu.vcpu = &vcpu;
    for (unsigned at_rest = 0; at_rest < 2; at_rest++) {
        own = (struct passthrough){.moved = true, .at_rest = at_rest != 0};
        followed = resets = 0;
        ops.reset(&device);
        assert_int_equal(resets, 1);
        assert_int_equal(followed, !own.at_rest);
    }
}

static void lost_one_is_given_to_nobody(void **state)
{
    (void)state;
    result = -EIO;
    assert_int_equal(make_function_of(&device), -EINVAL);
    assert_non_null(strstr(host_log, "nosnoop.cfg:7: vm a: device 00:05.0 cannot be used without "
                                     "a reset; turn the machine off and on\n"));
}

/* --- what the IOMMU is told ------------------------------------------------------------------- */

static const struct pci_bdf bus = {0, 6, 0, 0};
static struct pci_function bridge = {
    .bdf = {0, 0, 28, 0}, .header = 1, .secondary = 6, .port = PCI_PORT_TO_PCI};
static struct pci_function behind = {.bdf = {0, 6, 1, 0}, .parent = &bridge};
static struct passthrough all;
static struct pci_bdf reserved_of, no_x2apic, unknown, aliased;
static const struct pci_bdf alias = {0, 0, 20, 4};
static const struct range reserved = {0x7f000000, 0x7f100000};
static struct range mapped;
static uint32_t apic_id_here;

static bool facts_of(struct pci_bdf requester, struct iommu_facts *facts)
{
    *facts = (struct iommu_facts){.alias = pci_same_bdf(requester, aliased) ? alias : requester,
                                  .x2apic = !pci_same_bdf(requester, no_x2apic)};
    if (pci_same_bdf(requester, reserved_of))
        iommu_add_reserved(&facts->reserved, reserved);
    return !pci_same_bdf(requester, unknown);
}

static struct pci_bdf attached[4];
static unsigned attached_count, created;

static void attach_one(struct pci_bdf requester, struct iommu_domain *domain)
{
    assert_true(domain == NULL || domain == &all.domain);
    assert_true(domain != NULL || none_on_bus());
    attached[attached_count++] = requester;
}

static int create_none(struct iommu_domain *domain, const struct pci_bdf *requesters,
                       unsigned count, unsigned bits, bool snoop)
{
    (void)bits, (void)snoop;
    assert_ptr_equal(domain, &all.domain);
    assert_ptr_equal(requesters, all.requesters);
    created = count;
    return -ENOMEM;
}

static int map_range(struct iommu_domain *domain, uint64_t address, hpa_t to, uint64_t size,
                     unsigned perm)
{
    assert_ptr_equal(domain, &all.domain);
    assert_true(address == to.v && perm == (PT_R | PT_W));
    mapped = (struct range){address, address + size};
    return 0;
}

const struct iommu_ops *iommu_host(void)
{
    static const struct iommu_ops fake = {
        .facts = facts_of, .map = map_range, .attach = attach_one, .create = create_none};
    return &fake;
}

uint32_t smp_apic_id(uint32_t cpu)
{
    (void)cpu;
    return apic_id_here;
}

int irq_prepare(struct host *host)
{
    (void)host;
    return 0;
}

static int begin_behind(void **state)
{
    all = (struct passthrough){.devices = {&device}, .count = 1};
    vm.passthrough = &all;
    mapped = (struct range){0, 0};
    reserved_of = no_x2apic = unknown = aliased = (struct pci_bdf){0xffff, 0, 0, 0};
    (void)begin(state);
    device.real = &behind;
    device.requester = bus;
    return 0;
}

/* Memory that firmware keeps is that of each ID which a device's requests may carry. */
static void reserved_of_any_id(void **state)
{
    const struct pci_bdf ids[] = {bus, behind.bdf};
    (void)state;
    assert_int_equal(map_reserved(&all, &device), 0);
    assert_int_equal(mapped.end, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
        reserved_of = ids[i];
        mapped = (struct range){0, 0};
        assert_int_equal(end_of_reach(&vm), reserved.end);
        assert_int_equal(map_reserved(&all, &device), 0);
        assert_true(mapped.start == reserved.start && mapped.end == reserved.end);
    }
}

/*
 * A bridge to PCI-X may leave a device's own ID in its requests: that leads to the VM as the bus's
 * does, where a unit knows it. What an alias adds is the driver's affair: it has one, too, which no
 * request of the device carries.
 */
static void attached_by_any_id(void **state)
{
    const struct pci_bdf ids[] = {bus, behind.bdf};
    (void)state;
    aliased = bus;
    for (unsigned known = 1; known <= 2; known++) {
        if (known == 1)
            unknown = behind.bdf;
        for (unsigned end = 0; end < 2; end++) {
            attached_count = 0;
            attach(&device, end == 0 ? &all.domain : NULL);
            assert_int_equal(attached_count, known);
            for (unsigned i = 0; i < known; i++)
                assert_true(pci_same_bdf(attached[i], ids[i]));
        }
        assert_int_equal(make_domain(&vm), -ENOMEM);
        assert_int_equal(created, known);
        for (unsigned i = 0; i < known; i++)
            assert_true(pci_same_bdf(all.requesters[i], ids[i]));
        unknown = (struct pci_bdf){0xffff, 0, 0, 0};
    }
}

static const struct pci_bdf chip = {0, 0xf0, 31, 7}, chip_alias = {0, 0xf0, 31, 6};
static struct iommu_ioapics chips;

const struct iommu_ioapics *iommu_host_ioapics(void)
{
    return &chips;
}

static void set_chips(bool x2apic, bool x2apic_of_twin)
{
    chips = (struct iommu_ioapics){
        .r = {{.requester = {0, 0xf0, 31, 5}},
              {.requester = chip, .alias = chip_alias, .x2apic = x2apic},
              {.requester = chip, .alias = chip_alias, .x2apic = x2apic_of_twin}},
        .count = 3};
}

/* What sends as an I/O APIC does, by whichever ID. */
static void ids_of_ioapics(void **state)
{
    (void)state;
    set_chips(true, true);
    assert_true(is_ioapic(chip));
    assert_true(is_ioapic(chip_alias));
    assert_false(is_ioapic(bus));
}

static unsigned forgotten, looked;

void passed_forget_irqs(struct passed *d)
{
    (void)d;
    forgotten++;
}

void iommu_host_look_last(void)
{
    assert_int_equal(resets, 2);
    looked++;
}

/* Of two behind one bridge both leave the bus before the ID leads nowhere by which both send. */
static void devices_at_the_end(void **state)
{
    static struct pci_function next = {
        .bdf = {0, 6, 2, 0}, .parent = &bridge, .reset = PCI_RESET_FLR};
    static struct passed other;
    (void)state;
    other = device;
    other.real = &next;
    behind.reset = PCI_RESET_FLR;
    all.devices[1] = &other;
    all.count = 2;
    on_bus[1] = on_bus[2] = true;
    attached_count = resets = forgotten = looked = 0;
    passthrough_end(&vm);
    assert_true(none_on_bus() && !device.reachable && !other.reachable);
    assert_int_equal(attached_count, 4);
    assert_true(forgotten == 2 && resets == 2 && looked == 1);
}

/* In 8 bits 255 is no CPU's ID. A line's interrupts go by another unit than the device's do. */
static void cpus_that_interrupts_reach(void **state)
{
    struct passed_line *const lines[] = {&device.intx, &device.channel[0], &device.channel[1]};
    (void)state;
    set_chips(true, true);
    apic_id_here = 0x12345;
    assert_int_equal(passthrough_prepare_cpu(&vm), 0);
    no_x2apic = bus;
    for (apic_id_here = 254; apic_id_here < 257; apic_id_here++)
        assert_int_equal(passthrough_prepare_cpu(&vm), apic_id_here == 254 ? 0 : -EINVAL);
    assert_non_null(strstr(host_log, "vm a: device 06:01.0 cannot interrupt CPUs with APIC IDs "
                                     "above 254; pin the VM to others\n"));
    no_x2apic = chip; /* says nothing of the unit that remaps what the chip sends */
    for (unsigned i = 0; i < ARRAY_SIZE(lines); i++)
        for (unsigned far = 0; far < 4; far++) {
            set_chips((far & 1) != 0, (far & 2) != 0);
            assert_int_equal(passthrough_prepare_cpu(&vm), 0);
            *lines[i] = (struct passed_line){.line = lines[i], .chip = chip};
            assert_int_equal(passthrough_prepare_cpu(&vm), far == 3 ? 0 : -EINVAL);
            *lines[i] = (struct passed_line){.line = NULL};
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(others_go_on, begin),
        cmocka_unit_test_setup(lost_one_masters_no_bus, begin),
        cmocka_unit_test_setup(unreached_while_it_is_reset, begin),
        cmocka_unit_test_setup(lost_one_is_given_to_nobody, begin),
        cmocka_unit_test_setup(reserved_of_any_id, begin_behind),
        cmocka_unit_test_setup(attached_by_any_id, begin_behind),
        cmocka_unit_test_setup(ids_of_ioapics, begin),
        cmocka_unit_test_setup(devices_at_the_end, begin_behind),
        cmocka_unit_test_setup(cpus_that_interrupts_reach, begin_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
