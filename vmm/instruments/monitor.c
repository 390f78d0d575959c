/* The monitor's prompt: opened and closed by Ctrl-], and kept whole while the log goes on. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/instruments/monitor.h"

#include "drivers/serial.h"
#include "lib/format.h"
#include "vmm/instruments/line.h"
#include "vmm/host/log.h"
#include "vmm/host/request.h"
#include "vmm/vms.h"

enum { ESCAPE_KEY = ']' & 0x1f };

#define PROMPT    "nosnoop> "
#define WIPE_LINE "\r\033[K" /* ECMA-48, "Erase in line" */

static const struct cpu *listener; /* the CPU that the port's interrupts come to */
static struct line line;           /* under log_hold(), as lines of the log draw it again */
static bool is_open;
static uint32_t worker; /* index + 1 of the CPU that carries out what was entered; 0: none */

static void put(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            serial_put(log_port(), '\r');
        serial_put(log_port(), *text);
    }
}

void monitor_print(const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    format_v(text, sizeof(text), fmt, args);
    va_end(args);
    bool held = log_hold();
    put(text);
    log_release(held);
}

static void wipe(void)
{
    monitor_print(WIPE_LINE);
}

static void draw(void)
{
    monitor_print(WIPE_LINE PROMPT "%s", line.text);
    if (line.cursor < line.length)
        monitor_print("\033[%uD", line.length - line.cursor);
}

static void open_prompt(void)
{
    is_open = true;
    monitor_print("\nCtrl-] or quit closes the prompt, help lists the commands; guests run on\n");
    log_around(wipe, draw);
    draw();
}

static void close_prompt(void)
{
    is_open = false;
    line = (struct line){.length = 0};
    log_around(NULL, NULL);
    monitor_print("\n");
}

/* What is logged meanwhile is not in the way of anything. Further keys wait. */
static void entered(void)
{
    monitor_print("\n");
    log_around(NULL, NULL);
    const struct vm *vm = monitor_subject(line_entered(&line));
    uint32_t cpu = vm == NULL ? this_cpu()->index : vm->vcpus[0]->cpu_index;
    __atomic_store_n(&worker, cpu + 1, __ATOMIC_RELEASE);
    if (cpu != this_cpu()->index)
        request_kick(cpu);
}

/* The last VM that ends takes the prompt with it. VCPU: what runs on this CPU, or NULL. */
static void carry_out(struct vcpu *vcpu)
{
    bool goes_on = monitor_command(vcpu, line_entered(&line));
    bool held = log_hold();
    if (!goes_on || !vms_any_is_running()) {
        close_prompt();
    } else {
        log_around(wipe, draw);
        draw();
    }
    log_release(held);
    __atomic_store_n(&worker, 0, __ATOMIC_RELEASE);
    if (this_cpu() != listener)
        request_kick(0);
}

static void key(uint8_t byte)
{
    switch (line_key(&line, byte)) {
    case LINE_SAME:
        break;
    case LINE_APPENDED:
        monitor_print("%c", byte);
        break;
    case LINE_CANCELLED:
        monitor_print("^C\n");
        draw();
        break;
    case LINE_CHANGED:
        draw();
        break;
    case LINE_ENTERED:
        entered();
        break;
    }
}

static void take(uint8_t byte)
{
    bool held = log_hold();
    if (byte == ESCAPE_KEY)
        is_open ? close_prompt() : open_prompt();
    else if (is_open)
        key(byte);
    log_release(held);
}

void monitor_poll(struct vcpu *vcpu)
{
    uint8_t byte;
    while (vcpu == NULL || vcpu->vm->state == VM_RUNNING) {
        uint32_t who = __atomic_load_n(&worker, __ATOMIC_ACQUIRE);
        if (who == this_cpu()->index + 1)
            carry_out(vcpu);
        else if (who == 0 && this_cpu() == listener && serial_get(&byte))
            take(byte);
        else
            return;
    }
}

void monitor_init(void)
{
    listener = this_cpu();
    const char *why = log_port() == 0 ? "the log has no port" : serial_listen(log_port());
    if (why == NULL)
        log_line("monitor: Ctrl-] on the log's port opens a prompt");
    else
        log_line("monitor: none: %s", why);
}
