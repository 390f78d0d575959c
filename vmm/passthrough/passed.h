/* Between the files that make vmm/passthrough/passthrough.h. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/passthrough/passthrough.h"

/* passed_memory.c: a BAR leads elsewhere. */
void passed_decode(void *context, unsigned bar, struct vpci_range before, struct vpci_range now);

/* The views of a VM of which no vCPU runs get all ranges. */
void passed_place_at_rest(struct vm *vm);

/* Maps the real MSI-X table for the host, if the guest has one. Returns 0 or -ENOMEM, logged. */
int passed_map_table(struct passed *d);

/* passthrough.c: logs that the config must not ask for D so, and why; returns -EINVAL. */
int passed_refuse(const struct passed *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * passed_intx.c: the device's lines, if there are any that can be used, and their entries;
 * returns 0, or -EINVAL, logged: the config asks for what is not there. Then its pin on the guest's
 * bus.
 */
int passed_find_lines(struct passed *d);
void passed_make_intx(struct passed *d);
void passed_open_intx(struct passed *d, bool open);
void passed_open_channels(struct passed *d, bool open);
void passed_take_lines(struct vcpu *vcpu, struct passed *d);

/* After an access to the VM's PCI bus: what is left of a device that interrupts so no more. */
void passed_follow_intx(struct vcpu *vcpu);

/*
 * passed_ide.c: channels in compatibility mode. The IRQ of one, or -1: it has none, or a BAR
 * and INTx as other functions do. Whether WIDTH bytes at PORT are a register of one that the guest
 * has turned on; and what an access to it makes of its line.
 */
int passed_channel_irq(const struct passed *d, unsigned channel);
bool passed_is_ide(const struct vm *vm, uint16_t port, unsigned width);
void passed_touch_ide(struct vcpu *vcpu, uint16_t port);

/* passed_irq.c: how it interrupts, and where an entry leads. */
int passed_make_irqs(struct passed *d);
void passed_interrupts(void *context, enum vpci_interrupts how);
void passed_message(void *context, unsigned entry, const struct vpci_message *message);

/* Nothing of what has come before reaches the guest. */
void passed_forget_irqs(struct passed *d);
