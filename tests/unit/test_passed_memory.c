/*
 * Where a guest's accesses to what it takes for a BAR go, by memory and by ports, while another of
 * its vCPUs moves the BAR whenever nobody holds the bus.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/host.h"

#undef assert
#include "lib/x86.h"
#include "vmm/host/host.h"
#include "vmm/passthrough/passed.h"
#include "vmm/typing/views.h"
#include "vmm/host/window.h"

static unsigned last_port; /* that the machine was asked for */

static uint32_t ask(uint16_t port, uint32_t value)
{
    last_port = port;
    return value;
}

/* The machine's own instructions. */
#define invlpg(at)        ((void)(at))
#define in8(port)         ((uint8_t)ask(port, 0x12))
#define in16(port)        ((uint16_t)ask(port, 0x1234))
#define in32(port)        ask(port, 0x12345678)
#define out8(port, v)     (void)ask(port, v)
#define out16(port, v)    (void)ask(port, v)
#define out32(port, v)    (void)ask(port, v)
#define window_open(...)  open_window(__VA_ARGS__)
#define window_close(...) close_window(__VA_ARGS__)
static void *open_window(struct cpu *cpu, enum window_slot slot, hpa_t at, enum memtype type);
static void close_window(struct cpu *cpu, enum window_slot slot);
#pragma weak passed_follow_intx /* no test here comes to it */
#include "vmm/passthrough/passed_memory.c"

#define REAL 0xfe000000ull
enum { MEMORY = 0, SMALL = 1, PORTS = 2, UNPLACED = 3, SIZE = 0x10, NO_PORT = 0x10000 };
#define GUEST 0xc0000000ull

static struct cpu cpu;
static struct vm vm;
static struct vcpu vcpu = {.vm = &vm, .cpu = &cpu};
static struct passthrough all;
static struct pci_function real;
static struct config_device config;
static struct passed device;
static uint64_t opened; /* the HPA of the last window; 0: none */
static uint64_t content;
static bool races; /* another vCPU moves BARs when it can */

static void move(void)
{
    if (races && vm.pci_lock.held == 0)
        for (unsigned i = 0; i < PCI_BARS; i++)
            device.at[i].start += 4;
}

/* --- what that file needs --------------------------------------------------------------------- */

static void *open_window(struct cpu *on, enum window_slot slot, hpa_t at, enum memtype type)
{
    assert_true(on == &cpu && slot == WINDOW_DATA && type == MT_UC && opened == 0);
    opened = at.v;
    return &content;
}

static void close_window(struct cpu *on, enum window_slot slot)
{
    assert_true(on == &cpu && slot == WINDOW_DATA && opened != 0);
}

unsigned vm_address_bits(const struct vm *of)
{
    assert_ptr_equal(of, &vm);
    move();
    return 40;
}

void request_lock(struct request_lock *lock, uint32_t me)
{
    assert_true(me == 0 && lock->held == 0);
    lock->held = 1;
}

void request_unlock(struct request_lock *lock)
{
    lock->held = 0;
    move();
}

void views_set_mmio(struct vcpu *of, const struct mmio_range *ranges, unsigned count)
{
    (void)of, (void)ranges, (void)count;
}

void views_set_mmio_at_rest(struct vm *of, const struct mmio_range *ranges, unsigned count)
{
    (void)of, (void)ranges, (void)count;
}

volatile void *host_map_mmio(struct host *host, hpa_t registers, uint64_t size)
{
    (void)host, (void)registers, (void)size;
    return NULL;
}

bool passed_is_ide(const struct vm *of, uint16_t port, unsigned width)
{
    (void)of, (void)port, (void)width;
    return false;
}

void passed_touch_ide(struct vcpu *of, uint16_t port)
{
    (void)of, (void)port;
}

/* --- */

static void set(unsigned bar, enum pci_bar_kind kind, uint64_t address, uint64_t at, uint64_t size)
{
    real.bar[bar] = (struct pci_bar){.address = address, .size = size, .kind = (uint8_t)kind};
    device.at[bar] = (struct vpci_range){at, size};
}

static int reset(void **state)
{
    (void)state;
    device = (struct passed){.vm = &vm, .real = &real, .config = &config};
    set(MEMORY, PCI_BAR_MEMORY, REAL, GUEST, PAGE_SIZE);
    set(SMALL, PCI_BAR_MEMORY, REAL + 0x2000, GUEST + 0x2000, SIZE);
    set(PORTS, PCI_BAR_IO, 0x6000, 0xc000, SIZE);
    set(UNPLACED, PCI_BAR_IO, 0, 0xd000, 0x100);
    all = (struct passthrough){.devices = {&device}, .count = 1};
    vm.passthrough = &all;
    opened = 0;
    last_port = NO_PORT;
    races = false;
    content = 0x1122334455667788;
    return 0;
}

static void registers(void **state)
{
    (void)state;
    assert_int_equal(passthrough_read(&vcpu, gpa(GUEST + 0x124), 4), 0x55667788);
    assert_int_equal(opened, REAL + 0x124);
    opened = 0;
    passthrough_write(&vcpu, gpa(GUEST + 0x2008), 8, 7);
    assert_int_equal(opened, REAL + 0x2008);
    assert_int_equal(content, 7);
    assert_int_equal(passthrough_in(&vcpu, 0xc004, 2), 0x1234);
    assert_int_equal(last_port, 0x6004);
    passthrough_out(&vcpu, 0xc00f, 1, 0);
    assert_int_equal(last_port, 0x600f);
}

/* An access that is not all in a BAR is none. */
static void ends(void **state)
{
    (void)state;
    for (unsigned width = 2; width <= 8; width *= 2) {
        assert_true(passthrough_read(&vcpu, gpa(GUEST + 0x2011 - width), width) == UINT64_MAX);
        passthrough_write(&vcpu, gpa(GUEST + 0x200f), width, 0);
        assert_int_equal(passthrough_in(&vcpu, 0xc00f, width < 4 ? width : 4), UINT32_MAX);
        passthrough_out(&vcpu, 0xc00f, width < 4 ? width : 4, 0);
    }
    assert_true(opened == 0 && last_port == NO_PORT);
}

/* What firmware has not placed is at the machine's port 0 for nobody. */
static void unplaced_ports(void **state)
{
    (void)state;
    assert_int_equal(passthrough_in(&vcpu, 0xd021, 1), UINT32_MAX);
    passthrough_out(&vcpu, 0xd021, 1, 0xff);
    assert_int_equal(last_port, NO_PORT);
}

/* It stays the register that the BAR was at when it was found, or it is none. */
static void moved_meanwhile(void **state)
{
    (void)state;
    races = true;
    for (unsigned i = 0; i < 64; i++) {
        uint64_t at = device.at[MEMORY].start, small = device.at[SMALL].start;
        uint16_t ports = (uint16_t)device.at[PORTS].start;
        opened = 0;
        (void)passthrough_read(&vcpu, gpa(at + i), 8);
        assert_int_equal(opened, REAL + i);
        opened = 0;
        small = device.at[SMALL].start;
        passthrough_write(&vcpu, gpa(small + 1), 4, i);
        assert_int_equal(opened, REAL + 0x2001);
        ports = (uint16_t)device.at[PORTS].start;
        (void)passthrough_in(&vcpu, ports, 4);
        assert_int_equal(last_port, 0x6000);
    }
}

/* Nothing leads to one that has not come back from its reset, before it has. */
static void lost(void **state)
{
    const struct vpci_range nowhere = {0, 0}, memory = device.at[MEMORY], ports = device.at[PORTS];
    (void)state;
    for (unsigned is_lost = 0; is_lost < 2; is_lost++) {
        passed_decode(&device, MEMORY, memory, nowhere);
        passed_decode(&device, PORTS, ports, nowhere);
        device.lost = is_lost == 0;
        passed_decode(&device, MEMORY, nowhere, memory);
        passed_decode(&device, PORTS, nowhere, ports);
        assert_int_equal(passthrough_is_mmio(&vm, gpa(GUEST)), is_lost);
        (void)passthrough_in(&vcpu, 0xc004, 1);
        assert_int_equal(last_port, is_lost == 0 ? NO_PORT : 0x6004);
        passed_place_at_rest(&vm);
        assert_int_equal(all.list.count, is_lost);
    }
}

/* Its page would be the guest's then. */
static void no_room_for_a_table(void **state)
{
    (void)state;
    assert_int_equal(passed_map_table(&device), 0);
    device.function.table = (struct vpci_place){.bar = MEMORY, .offset = 0, .size = 16};
    assert_int_equal(passed_map_table(&device), -ENOMEM);
    assert_int_equal(device.function.table.size, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(registers, reset),
        cmocka_unit_test_setup(ends, reset),
        cmocka_unit_test_setup(unplaced_ports, reset),
        cmocka_unit_test_setup(moved_meanwhile, reset),
        cmocka_unit_test_setup(lost, reset),
        cmocka_unit_test_setup(no_room_for_a_table, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
