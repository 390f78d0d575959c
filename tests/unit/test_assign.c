/* Which devices a VM may have, and what is said where it may not. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include "lib/errno.h"
#include "tests/unit/host.h"
#include "vmm/passthrough/assign.h"

/* --- a machine -------------------------------------------------------------------------------- */

enum { DISPLAY, UART, DISK, NIC, NIC_TWIN, BRIDGE, CARD, OTHER_CARD, IDE, OTHER_IDE, FUNCTIONS };

static struct pci_table pci;
static struct config config;
static struct assign_facts facts;
static struct pci_bdf unreached, unremapped, reserved, ioapic, aliased;
static const struct pci_bdf alias = {0, 0, 20, 4};
static bool reserved_more;
static struct range reserved_of_nic;

static bool iommu(struct pci_bdf requester, struct iommu_facts *unit)
{
    *unit = (struct iommu_facts){.remaps = !pci_same_bdf(requester, unremapped),
                                 .alias = pci_same_bdf(requester, aliased) ? alias : requester,
                                 .reserved.count = pci_same_bdf(requester, reserved)};
    if (unit->reserved.count > 0)
        unit->reserved.r[0] = (struct range){0x7f001000, 0x7f003000};
    unit->reserved.more = unit->reserved.count > 0 && reserved_more;
    if (reserved_of_nic.end != 0 && pci_same_bdf(requester, pci.f[NIC].bdf))
        iommu_add_reserved(&unit->reserved, reserved_of_nic);
    return !pci_same_bdf(requester, unreached);
}

static bool is_ioapic(struct pci_bdf id)
{
    return pci_same_bdf(id, ioapic);
}

static uint16_t command; /* of the other IDE controller: nobody else's is asked for */

static uint32_t read_config(struct pci_bdf bdf, unsigned reg, unsigned size)
{
    assert_true(pci_same_bdf(bdf, pci.f[OTHER_IDE].bdf) && reg == 4 && size == 2);
    return command;
}

static const struct pci_bdf nowhere = {0xffff, 0, 0, 0};

static void add(unsigned which, struct pci_bdf bdf, uint32_t class, unsigned group)
{
    pci.f[which] = (struct pci_function){.bdf = bdf,
                                         .class = class,
                                         .group = (uint16_t)group,
                                         .reset = PCI_RESET_FLR,
                                         .port = PCI_PORT_ENDPOINT};
    pci.count = which + 1;
}

static void set_bar(unsigned which, unsigned i, enum pci_bar_kind kind, uint64_t address,
                    uint64_t size)
{
    pci.f[which].bar[i] = (struct pci_bar){.address = address, .size = size, .kind = (uint8_t)kind};
}

static int reset(void **state)
{
    static const struct pci_access access = {.read = read_config};
    (void)state;
    memset(&pci, 0, sizeof(pci));
    memset(&config, 0, sizeof(config));
    add(DISPLAY, (struct pci_bdf){0, 0, 1, 0}, 0x030000, 0);
    add(UART, (struct pci_bdf){0, 0, 2, 0}, 0x070002, 1);
    add(DISK, (struct pci_bdf){0, 0, 3, 0}, 0x010802, 2);
    add(NIC, (struct pci_bdf){0, 0, 4, 0}, 0x020000, 3);
    add(NIC_TWIN, (struct pci_bdf){0, 0, 4, 1}, 0x020000, 3);
    add(BRIDGE, (struct pci_bdf){0, 0, 5, 0}, 0x060400, 4);
    pci.f[BRIDGE].header = 1;
    add(CARD, (struct pci_bdf){0, 1, 0, 0}, 0x020000, 4);
    add(OTHER_CARD, (struct pci_bdf){0, 1, 1, 0}, 0x020000, 4);
    add(IDE, (struct pci_bdf){0, 0, 6, 1}, 0x010185, 5);
    add(OTHER_IDE, (struct pci_bdf){0, 2, 7, 0}, 0x010185, 6);
    pci_use(&access);
    set_bar(DISPLAY, 0, PCI_BAR_MEMORY, 0xc0000000, 0x1000000);
    set_bar(UART, 0, PCI_BAR_IO, 0x3000, 8);
    set_bar(DISK, 0, PCI_BAR_MEMORY, 0xd0000000, 0x4000);
    facts = (struct assign_facts){0x3f8, 0, iommu, is_ioapic};
    unreached = unremapped = reserved = ioapic = aliased = nowhere;
    reserved_more = false;
    reserved_of_nic = (struct range){0, 0};
    config.vm_count = 2;
    strcpy(config.vms[0].name, "one");
    strcpy(config.vms[1].name, "two");
    host_log_reset();
    return 0;
}

static struct config_device *give(unsigned vm, unsigned which)
{
    struct vm_config *to = &config.vms[vm];
    struct config_device *device = &to->devices[to->device_count++];
    const struct pci_bdf bdf = pci.f[which].bdf;
    *device = (struct config_device){.segment = bdf.segment,
                                     .bus = bdf.bus,
                                     .device = bdf.device,
                                     .function = bdf.function,
                                     .intx = CONFIG_NOT_GIVEN,
                                     .line = 7};
    memset(device->bar, 0xff, sizeof(device->bar));
    return device;
}

static void expect_given(unsigned which)
{
    struct pci_function *devices[CONFIG_MAX_DEVICES];
    assert_int_equal(assign_devices(&config, &config.vms[0], &pci, &facts, devices), 0);
    assert_ptr_equal(devices[0], &pci.f[which]);
    assert_string_equal(host_log, "");
}

/* Of VM one, with REASON in the log and nothing else. */
static void expect_refused(const char *reason)
{
    struct pci_function *devices[CONFIG_MAX_DEVICES];
    host_log_reset();
    assert_int_equal(assign_devices(&config, &config.vms[0], &pci, &facts, devices), -EINVAL);
    assert_string_equal(host_log, reason);
}

/* --- */

static void given(void **state)
{
    (void)state;
    give(0, DISK);
    expect_given(DISK);
}

static void not_there(void **state)
{
    (void)state;
    give(0, DISK)->function = 3;
    expect_refused("nosnoop.cfg:7: vm one: device 00:03.3 is not there; the lines pci of the log "
                   "name what is\n");
}

static void of_the_host(void **state)
{
    (void)state;
    pci.f[DISK].class = 0x080600;
    give(0, DISK);
    expect_refused("nosnoop.cfg:7: vm one: device 00:03.0 is an IOMMU, which is the host's; leave "
                   "it out\n");
    pci.f[DISK].class = 0x080601;
    ioapic = pci.f[DISK].bdf;
    expect_refused("nosnoop.cfg:7: vm one: device 00:03.0 is an IOMMU, which is the host's; leave "
                   "it out\n");
    pci.f[DISK].class = 0x0c0500;
    const char *refused = "nosnoop.cfg:7: vm one: device 00:03.0 sends interrupts as an I/O APIC "
                          "of the host's does; leave it out\n";
    expect_refused(refused);
    ioapic = alias;
    host_log_reset();
    expect_given(DISK);
    aliased = pci.f[DISK].bdf; /* by the firmware's tables its requests carry the other ID */
    expect_refused(refused);
}

static void bridge(void **state)
{
    (void)state;
    give(0, BRIDGE);
    expect_refused("nosnoop.cfg:7: vm one: device 00:05.0 is a bridge; name what is behind it\n");
}

static void uart_of_the_log(void **state)
{
    (void)state;
    give(0, UART);
    expect_given(UART);
    facts.log_port = 0x3005; /* within its ports */
    expect_refused("nosnoop.cfg:7: vm one: device 00:02.0 has the UART of the log; write another "
                   "log in [host]\n");
    facts.log_port = 0x3008; /* behind them */
    host_log_reset();
    expect_given(UART);
}

static void boot_display(void **state)
{
    (void)state;
    give(0, DISPLAY);
    const char *refused = "nosnoop.cfg:7: vm one: device 00:01.0 is the boot display; write "
                          "dangerous = yes in [host] if that is meant\n";
    expect_refused(refused);
    facts.framebuffer = 0xc0800000;
    expect_refused(refused);
    config.host.dangerous = true;
    host_log_reset();
    expect_given(DISPLAY);
    config.host.dangerous = false;
    facts.framebuffer = 0xc1000000; /* another's */
    expect_given(DISPLAY);
}

static void shared_group(void **state)
{
    (void)state;
    give(0, CARD);
    expect_given(CARD); /* its bridge does not count, nor a neighbour that nobody has */
    give(1, OTHER_CARD);
    expect_refused("nosnoop.cfg:7: vm one: device 01:00.0 is not isolated from 01:01.0 of vm two; "
                   "give both to one VM\n");
    config.vms[1].device_count = 0;
    give(0, OTHER_CARD);
    host_log_reset();
    expect_given(CARD);
}

static void group_of_the_host(void **state)
{
    (void)state;
    give(0, NIC);
    set_bar(NIC_TWIN, 2, PCI_BAR_IO, 0x3f8, 8);
    expect_refused("nosnoop.cfg:7: vm one: device 00:04.0 is not isolated from 00:04.1, which the "
                   "host uses; leave it out\n");
    facts.log_port = 0;
    host_log_reset();
    expect_given(NIC);
    pci.f[NIC_TWIN].class = 0x030000;
    expect_refused("nosnoop.cfg:7: vm one: device 00:04.0 is not isolated from 00:04.1, which the "
                   "host uses; leave it out\n");
}

/* One that no VM has, and that is not the boot's, goes on by the ID that leads to the VM then. */
static void display_of_the_same_id(void **state)
{
    (void)state;
    give(0, CARD);
    facts.framebuffer = 0xc0800000;
    pci.f[OTHER_CARD].class = 0x030000;
    expect_given(CARD);
    pci.f[BRIDGE].secondary = 1;
    pci.f[BRIDGE].port = PCI_PORT_TO_PCI;
    pci.f[CARD].parent = pci.f[OTHER_CARD].parent = &pci.f[BRIDGE];
    expect_refused("nosnoop.cfg:7: vm one: device 01:00.0 sends by an ID of the display 01:01.0, "
                   "which no VM has; give both to one VM, or leave it out\n");
    give(0, OTHER_CARD);
    host_log_reset();
    expect_given(CARD);
    config.vms[0].device_count = 1;
    pci.f[OTHER_CARD].class = 0x020000;
    expect_given(CARD);
}

/* --- IDE channels ----------------------------------------------------------------------------- */

/* Both functions at the CHANNEL: that the second may answer there is said, if it may. */
static void expect_channel(const char *channel, bool may)
{
    char text[200];
    snprintf(text, sizeof(text),
             "nosnoop.cfg:7: vm one: device 00:06.1 answers at the ports of IDE's %s channel, and "
             "so does 02:07.0; in the firmware's set-up turn one of them off, or to native mode or "
             "AHCI\n",
             channel);
    host_log_reset();
    if (may)
        expect_refused(text);
    else
        expect_given(IDE);
}

/* PCI IDE Controller Specification: bits 0 and 2 of the interface, 1 where it is native mode. */
static void two_of_a_channel(void **state)
{
    static const uint32_t classes[] = {0x010180, 0x01018a, 0x010181, 0x01018b, 0x010184,
                                       0x01018e, 0x010185, 0x01018f, 0x010100, 0x010601};
    static const uint8_t at[] = {3, 3, 2, 2, 1, 1, 0, 0, 3, 0}; /* a bit a channel */
    (void)state;
    give(0, IDE);
    for (unsigned i = 0; i < ARRAY_SIZE(classes); i++)
        for (unsigned k = 0; k < ARRAY_SIZE(classes); k++) {
            unsigned both = at[i] & at[k];
            pci.f[IDE].class = classes[i];
            pci.f[OTHER_IDE].class = classes[k];
            command = 1;
            expect_channel((both & 1) != 0 ? "primary" : "secondary", both != 0);
            command = (uint16_t)~1u;
            expect_channel("", false);
        }
}

/* In a VM's hands it decodes, whatever the firmware has left. */
static void two_of_a_channel_in_vms(void **state)
{
    (void)state;
    pci.f[IDE].class = pci.f[OTHER_IDE].class = 0x010180;
    command = 0;
    give(0, IDE);
    expect_channel("", false);
    give(1, OTHER_IDE);
    expect_channel("primary", true);
    config.vms[1].device_count = 0;
    give(0, OTHER_IDE);
    pci.f[OTHER_IDE].class = 0x010181;
    expect_refused("nosnoop.cfg:7: vm one: device 00:06.1 answers at the ports of IDE's secondary "
                   "channel, and so does 02:07.0; in the firmware's set-up turn one of them off, "
                   "or to native mode or AHCI\n"
                   "nosnoop.cfg:7: vm one: device 02:07.0 answers at the ports of IDE's secondary "
                   "channel, and so does 00:06.1; in the firmware's set-up turn one of them off, "
                   "or to native mode or AHCI\n");
}

/* Ports 1F0h-1F7h and 3F6h, 170h-177h and 376h, which may be a BAR's, too. */
static void channel_and_bar(void **state)
{
    static const struct {
        uint16_t address, size;
        uint8_t at;
    } cases[] = {
        {0x1e8, 8, 0}, {0x1f0, 8, 1}, {0x1f4, 4, 1}, {0x1f8, 8, 0},    {0x100, 0x100, 3},
        {0x160, 8, 0}, {0x170, 4, 2}, {0x174, 4, 2}, {0x178, 8, 0},    {0x3f0, 4, 0},
        {0x3f4, 4, 1}, {0x374, 4, 2}, {0x370, 4, 0}, {0x300, 0x80, 2}, {0, 8, 0},
    };
    (void)state;
    give(0, IDE);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        for (unsigned channel = 0; channel < 2; channel++)
            for (unsigned which = IDE; which <= OTHER_IDE; which++) {
                const struct pci_bar bar = {cases[i].address, cases[i].size, .kind = PCI_BAR_IO};
                pci.f[IDE].bar[2] = pci.f[OTHER_IDE].bar[2] = (struct pci_bar){.size = 0};
                pci.f[which].bar[2] = bar;
                pci.f[which].class = 0x020000;
                pci.f[IDE + OTHER_IDE - which].class = channel == 0 ? 0x010184 : 0x010181;
                command = 1;
                expect_channel(channel == 0 ? "primary" : "secondary",
                               (cases[i].at >> channel & 1) != 0);
                command = 0;
                expect_channel("", false);
            }
}

static void no_reset(void **state)
{
    (void)state;
    struct config_device *device = give(0, DISK);
    pci.f[DISK].reset = PCI_RESET_NONE;
    expect_refused("nosnoop.cfg:7: vm one: device 00:03.0 cannot be reset; write reset=none behind "
                   "it if that is meant\n");
    device->no_reset = 1;
    host_log_reset();
    expect_given(DISK);
}

static void no_iommu(void **state)
{
    (void)state;
    give(0, DISK);
    unreached = pci.f[DISK].bdf;
    expect_refused("nosnoop.cfg:7: vm one: device 00:03.0 has no IOMMU in use; turn it on in the "
                   "firmware's set-up, or write iommu = unsafe-identity in [host] if that is "
                   "meant\n");
}

static void no_remapping(void **state)
{
    (void)state;
    give(0, DISK);
    unremapped = pci.f[DISK].bdf;
    const char *refused = "nosnoop.cfg:7: vm one: device 00:03.0 has an IOMMU that does not remap "
                          "interrupts: it could send any CPU any vector; turn remapping on in the "
                          "firmware's set-up, or write iommu = unsafe-identity in [host] if that "
                          "is meant\n";
    expect_refused(refused);
    unremapped = alias;
    host_log_reset();
    expect_given(DISK);
    aliased = pci.f[DISK].bdf; /* what it sends may go by that one's unit */
    expect_refused(refused);
    unremapped = pci.f[DISK].bdf;
    expect_refused(refused);
    config.host.iommu = IOMMU_UNSAFE_IDENTITY;
    host_log_reset();
    expect_given(DISK);
}

static void reserved_memory(void **state)
{
    (void)state;
    struct config_device *device = give(0, DISK);
    reserved = pci.f[DISK].bdf;
    const char *refused = "nosnoop.cfg:7: vm one: device 00:03.0 has reserved memory that the "
                          "firmware may go on to use; write rmrr=map behind it if that is meant\n";
    expect_refused(refused);
    device->map_rmrr = 1;
    host_log_reset();
    expect_given(DISK);
    device->map_rmrr = 0;
    reserved = alias;
    expect_given(DISK);
    aliased = pci.f[DISK].bdf;
    expect_refused(refused);
    pci.f[BRIDGE].secondary = 1; /* behind a bridge to PCI requests carry another's ID */
    pci.f[BRIDGE].port = PCI_PORT_TO_PCI;
    pci.f[DISK].parent = &pci.f[BRIDGE];
    aliased = nowhere;
    reserved = pci.f[CARD].bdf;
    expect_refused(refused);
    reserved = pci.f[DISK].bdf;
    expect_refused(refused);
}

/* What cannot all be mapped is not. */
static void much_reserved_memory(void **state)
{
    (void)state;
    give(0, DISK)->map_rmrr = 1;
    reserved = pci.f[DISK].bdf;
    expect_given(DISK);
    reserved_more = true;
    expect_refused("nosnoop.cfg:7: vm one: device 00:03.0 has reserved memory at more than 8 "
                   "places; leave it out\n");
}

/* Whatever of it two VMs' devices would reach. */
static void common_reserved_memory(void **state)
{
    static const struct {
        struct range nic;
        bool common;
    } cases[] = {
        {{0x7f001000, 0x7f003000}, true},  {{0x7f002000, 0x7f004000}, true},
        {{0x7f000000, 0x7f002000}, true},  {{0x7f000000, 0x7f004000}, true},
        {{0x7f000000, 0x7f001000}, false}, {{0x7f003000, 0x7f004000}, false},
    };
    (void)state;
    give(0, DISK)->map_rmrr = 1;
    reserved = pci.f[DISK].bdf;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        reserved_of_nic = cases[i].nic;
        config.vms[1].device_count = 0;
        host_log_reset();
        expect_given(DISK); /* no VM has the other */
        give(1, NIC)->map_rmrr = 1;
        if (cases[i].common)
            expect_refused("nosnoop.cfg:7: vm one: device 00:03.0 has reserved memory in common "
                           "with 00:04.0 of vm two; give both to one VM\n");
        else
            expect_given(DISK);
    }
    reserved_of_nic = cases[0].nic;
    config.vms[1].device_count = 0;
    give(0, NIC)->map_rmrr = 1;
    host_log_reset();
    expect_given(DISK);
}

static void type_of_no_bar(void **state)
{
    (void)state;
    struct config_device *device = give(0, DISK);
    device->bar[0] = MT_WC;
    expect_given(DISK);
    device->bar[1] = MT_WC;
    expect_refused("nosnoop.cfg:7: vm one: device 00:03.0 has no memory at BAR 1; leave bar1= "
                   "out\n");
}

/* All that is wrong is said at once. */
static void two_mistakes(void **state)
{
    (void)state;
    give(0, BRIDGE);
    give(0, DISK);
    give(0, UART)->device = 9;
    expect_refused("nosnoop.cfg:7: vm one: device 00:05.0 is a bridge; name what is behind it\n"
                   "nosnoop.cfg:7: vm one: device 00:09.0 is not there; the lines pci of the log "
                   "name what is\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(given, reset),
        cmocka_unit_test_setup(not_there, reset),
        cmocka_unit_test_setup(of_the_host, reset),
        cmocka_unit_test_setup(bridge, reset),
        cmocka_unit_test_setup(uart_of_the_log, reset),
        cmocka_unit_test_setup(boot_display, reset),
        cmocka_unit_test_setup(shared_group, reset),
        cmocka_unit_test_setup(group_of_the_host, reset),
        cmocka_unit_test_setup(display_of_the_same_id, reset),
        cmocka_unit_test_setup(two_of_a_channel, reset),
        cmocka_unit_test_setup(two_of_a_channel_in_vms, reset),
        cmocka_unit_test_setup(channel_and_bar, reset),
        cmocka_unit_test_setup(no_reset, reset),
        cmocka_unit_test_setup(no_iommu, reset),
        cmocka_unit_test_setup(no_remapping, reset),
        cmocka_unit_test_setup(reserved_memory, reset),
        cmocka_unit_test_setup(much_reserved_memory, reset),
        cmocka_unit_test_setup(common_reserved_memory, reset),
        cmocka_unit_test_setup(type_of_no_bar, reset),
        cmocka_unit_test_setup(two_mistakes, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
