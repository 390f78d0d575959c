/*
 * The monitor: a prompt on the log's serial port, with guests running on. Text of its own goes to
 * that port alone, not into the log's ring.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/vm.h"

/* Listens on the log's port for Ctrl-], or logs why it cannot. On the CPU that has the 8259. */
void monitor_init(void);

/*
 * Does what has been typed, if that came to this CPU or is about the VM that runs here. VCPU is in
 * an exit here, or NULL: nothing runs.
 */
void monitor_poll(struct vcpu *vcpu);

/* Writes to the log's port; each newline in the text becomes CR LF. For its commands. */
__attribute__((format(printf, 1, 2))) void monitor_print(const char *fmt, ...);

/*
 * monitor_commands.c: the VM on whose CPU the line TEXT is to be carried out; NULL: on any.
 * Then carries it out, where VCPU is what runs, or NULL. False: the prompt is to be closed.
 */
const struct vm *monitor_subject(const char *text);
bool monitor_command(struct vcpu *vcpu, const char *text);
