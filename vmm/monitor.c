/* The monitor's prompt: opened and closed by Ctrl-], and kept whole while the log goes on. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/monitor.h"

#include "drivers/serial.h"
#include "lib/format.h"
#include "vmm/line.h"
#include "vmm/log.h"

enum { ESCAPE_KEY = ']' & 0x1f };

#define PROMPT    "nosnoop> "
#define WIPE_LINE "\r\033[K" /* ECMA-48, "Erase in line" */

static const struct cpu *listener; /* the CPU that the port's interrupts come to */
static struct line line;
static bool is_open;

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
    put(text);
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

/* What the command logs is not in the way of anything. A VM that ends takes the prompt with it. */
static void entered(struct vcpu *vcpu)
{
    monitor_print("\n");
    log_around(NULL, NULL);
    bool goes_on = monitor_command(vcpu, line_entered(&line));
    if (!goes_on || vcpu->vm->state == VM_STOPPED) {
        close_prompt();
        return;
    }
    log_around(wipe, draw);
    draw();
}

static void key(struct vcpu *vcpu, uint8_t byte)
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
        entered(vcpu);
        break;
    }
}

void monitor_poll(struct vcpu *vcpu)
{
    uint8_t byte;
    while (vcpu->cpu == listener && vcpu->vm->state == VM_RUNNING && serial_get(&byte)) {
        if (byte == ESCAPE_KEY)
            is_open ? close_prompt() : open_prompt();
        else if (is_open)
            key(vcpu, byte);
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
