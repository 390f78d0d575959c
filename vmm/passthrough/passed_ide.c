/*
 * IDE controllers of guests in compatibility mode: neither BARs nor INTx lead to a channel then,
 * but the ISA bus's ports and its line (PCI IDE Controller Specification; 82371SB PCI ISA IDE
 * Xcelerator). They are the guest's while it has I/O on in the function's Command.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/devices.h"
#include "vmm/passthrough/passed.h"
#include "vmm/vm.h"

enum { COMMAND_PORTS = 8, STATUS = 7 };

static const struct channel {
    uint16_t command, control;
    uint8_t irq;
} channels[PCI_IDE_CHANNELS] = {{PCI_IDE_COMMAND, PCI_IDE_CONTROL, 14},
                                {PCI_IDE_COMMAND_2, PCI_IDE_CONTROL_2, 15}};

int passed_channel_irq(const struct passed *d, unsigned channel)
{
    return pci_has_isa_channel(d->real, channel) ? channels[channel].irq : -1;
}

static bool is_on(const struct vm *vm, unsigned channel)
{
    for (unsigned i = 0; i < vm->passthrough->count; i++) {
        const struct passed *d = vm->passthrough->devices[i];
        if (passed_channel_irq(d, channel) >= 0 && (d->function.command & PCI_COMMAND_IO) != 0)
            return true;
    }
    return false;
}

/* Its data register has 4 bytes for who asks for so many. */
bool passed_is_ide(const struct vm *vm, uint16_t port, unsigned width)
{
    for (unsigned i = 0; i < PCI_IDE_CHANNELS; i++) {
        const struct channel *c = &channels[i];
        unsigned offset = (unsigned)port - c->command;
        bool command = offset < COMMAND_PORTS && width <= COMMAND_PORTS - offset;
        if (command || (port == c->control && width == 1))
            return is_on(vm, i);
    }
    return false;
}

/* AT Attachment, "INTRQ": a read of the status takes the request back, as a new command does. */
void passed_touch_ide(struct vcpu *vcpu, uint16_t port)
{
    for (unsigned i = 0; i < PCI_IDE_CHANNELS; i++)
        if (port == channels[i].command + STATUS && passed_is_ide(vcpu->vm, port, 1))
            devices_set_irq(vcpu, channels[i].irq, false);
}
