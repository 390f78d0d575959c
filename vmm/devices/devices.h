/* The devices of a VM: at which ports they are, and how their interrupts get to its vCPUs. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/devices/com.h"
#include "vmm/devices/fwcfg.h"
#include "vmm/devices/i8259.h"
#include "vmm/devices/ioapic.h"
#include "vmm/devices/legacy.h"
#include "vmm/devices/pit.h"
#include "vmm/devices/platform.h"
#include "vmm/devices/pmtimer.h"
#include "vmm/devices/rtc.h"
#include "vmm/devices/vpci_bus.h"

enum { COMS = 2 };

/* Devices that interrupt. */
enum device { DEVICE_PIT, DEVICE_COM1, DEVICE_COM2, DEVICE_RTC, DEVICE_PM };
enum { DEVICES = DEVICE_PM + 1 };

/* All of it is under the VM's lock. */
struct devices {
    struct i8259 pic;
    struct ioapic ioapic;
    struct pit pit;
    struct com com[COMS];
    struct rtc rtc;
    struct pmtimer pm;
    struct fwcfg fwcfg;
    struct legacy legacy;
    uint64_t now;          /* the latest time that any has seen: the host's TSC */
    uint64_t due[DEVICES]; /* when each may next interrupt by itself, where that can get in */
    uint16_t lines, open;  /* a bit an IRQ: it is high; it can get in */
    bool intr;             /* the 8259s' output, as it was last seen */
    bool stirred;          /* anything of what follows, or a line, or the 8259s' output, is new */
    bool moved;            /* one of DUE is another */
    bool tell;             /* vCPU 0 has to look */
    bool rises;            /* the 8259s' output has risen: LINT0 is to be told */
    uint32_t pci_pins;     /* a bit a pin: it is asserted */
    bool pci_masked;       /* their IRQ was, when that was last looked at */
    uint32_t ended;        /* a bit a pin: it was, and is to be asked for anew */
    bool off;              /* the guest asks for soft off */
    bool resets;           /* it asks for a reset */
};

struct vm;
struct vcpu;

/* At the VM's start, before it has vCPUs, and at its resets. */
void devices_create(struct vm *vm);
void devices_reset(struct vm *vm);

/*
 * Accesses of 1, 2 or 4 bytes by the running vCPU. Bytes of no device read as ones, and are
 * counted. VALUE may have more bits than WIDTH says; false: no device has taken any of it.
 */
uint32_t devices_in(struct vcpu *vcpu, uint16_t port, unsigned width);
bool devices_out(struct vcpu *vcpu, uint16_t port, unsigned width, uint32_t value);

/* The I/O APIC's page. */
static inline bool devices_is_ioapic(uint64_t gpa)
{
    return gpa - IOAPIC_ADDRESS < IOAPIC_SIZE;
}

uint32_t devices_read_ioapic(struct vcpu *vcpu, unsigned offset, unsigned width);
void devices_write_ioapic(struct vcpu *vcpu, unsigned offset, unsigned width, uint64_t value);

static inline bool devices_is_pci(uint16_t port)
{
    return port / VPCI_PORTS == VPCI_PORT_ADDRESS / VPCI_PORTS;
}

/*
 * devices_pci.c: the PCI bus, by its ports, which answer as the others do, and in memory: 1, 2,
 * 4 or 8 bytes of one of the pages of its configuration space.
 */
bool devices_in_pci(struct vcpu *vcpu, uint16_t port, unsigned width, uint32_t *value);
bool devices_out_pci(struct vcpu *vcpu, uint16_t port, unsigned width, uint32_t value);
uint64_t devices_read_pci(struct vcpu *vcpu, unsigned page, unsigned offset, unsigned width);
void devices_write_pci(struct vcpu *vcpu, unsigned page, unsigned offset, unsigned width,
                       uint64_t value);

/* The running vCPU's APIC broadcasts an EOI. */
void devices_eoi(struct vcpu *vcpu, unsigned vector);

/*
 * The I/O APIC's pin of a PCI interrupt, and with all of them an IRQ of the 8259s, is asserted from
 * now on: until the guest has served it, by whatever it takes interrupts, or lets in what it had
 * masked, which passthrough_ended() is told.
 */
void devices_assert_pci_pin(struct vcpu *vcpu, unsigned pin);

/*
 * The line of IRQ, of a device that the machine has, rises from now on, once more if it was high
 * already; or it is low.
 */
void devices_set_irq(struct vcpu *vcpu, unsigned irq, bool rises);

/* Of PINS, a bit each, those that are asserted are no more, as if the guest had served them. */
void devices_drop_pci_pins(struct vcpu *vcpu, uint32_t pins);

/* At a start or reset: the IRQ of PCI interrupts is a level, as firmware sets it up. */
void devices_level_pci(struct vm *vm);

/* The 8259s' vector, which the running vCPU takes. */
uint8_t devices_acknowledge(struct vcpu *vcpu);

/*
 * Whether a device of which something is due can have the I/O APIC send a message of one of MODES,
 * a bit for each enum ipi_mode, whoever it is for; or, BY_INTR, the 8259s' output rise.
 */
bool devices_can_send(struct vcpu *vcpu, unsigned modes, bool by_intr);

/* On vCPU 0, at the time of its mailbox: what is due is done. */
void devices_run(struct vcpu *vcpu);

/* Sends what is left of unfinished lines, and waits until all has left the machine. */
void devices_flush(struct vm *vm);

/* Text for a person, lines that each end with a newline, cut to what fits. */
enum { DEVICES_TEXT = 4096 };
void devices_describe(struct vm *vm, char text[DEVICES_TEXT]);
