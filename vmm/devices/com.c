/* A guest's COM port: a UART, and the way of its bytes. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/com.h"

#include "drivers/serial.h"
#include "lib/assert.h"
#include "lib/x86.h"
#include "vmm/host/log.h"

enum { MACHINE_DATA = 0, MACHINE_LSR = 5, LSR_READY = 0x01, IER_DATA = 1 << 0 };

void com_init_alone(struct com *com, uint16_t base, uint32_t khz)
{
    assert(khz != 0);
    *com = (struct com){.base = base};
    uart_reset(&com->uart, khz);
}

void com_init(struct com *com, uint16_t base, uint32_t khz, enum config_port where,
              const char *name)
{
    com_init_alone(com, where == PORT_NONE ? 0 : base, khz);
    if (where == PORT_LOG)
        com->name = name;
    else if (where == PORT_COM1 || where == PORT_COM2)
        com->machine = where == PORT_COM1 ? COM1 : COM2;
    if (com->machine != 0 && !serial_start(com->machine)) {
        log_line("serial: no UART at port 0x%x: lines of %s go to the log", com->machine, name);
        com->machine = 0;
        com->name = name;
    }
}

static void end_line(struct com *com)
{
    if (com->used > 0)
        log_line("[%s] %.*s", com->name, (int)com->used, com->line);
    com->used = 0;
}

static void send(struct com *com, uint8_t byte)
{
    if (com->machine != 0)
        serial_put(com->machine, (char)byte);
    if (com->name == NULL || byte == '\r')
        return;
    if (byte == '\n')
        end_line(com);
    else
        com->line[com->used++] = byte >= ' ' && byte < 0x7f ? (char)byte : '?';
    if (com->used == COM_LINE_SIZE)
        end_line(com);
}

void com_poll(struct com *com, uint64_t now)
{
    for (unsigned room = uart_room(&com->uart); com->machine != 0 && room > 0; room--) {
        uint8_t status = in8((uint16_t)(com->machine + MACHINE_LSR));
        if ((status & LSR_READY) == 0)
            return;
        uint8_t byte = in8((uint16_t)(com->machine + MACHINE_DATA));
        uart_receive(&com->uart, byte, status & UART_ERRORS, now);
    }
}

/* Of the machine's port nothing tells what comes in. */
uint64_t com_due(const struct com *com, uint64_t now)
{
    bool listens = com->machine != 0 && (com->uart.ier & IER_DATA) != 0;
    return min_u64(uart_due(&com->uart), listens ? now + com->uart.khz : UINT64_MAX);
}

uint8_t com_read(struct com *com, unsigned reg, uint64_t now)
{
    com_poll(com, now);
    return uart_read(&com->uart, reg, now);
}

void com_write(struct com *com, unsigned reg, uint8_t value, uint64_t now)
{
    int sent = uart_write(&com->uart, reg, value, now);
    if (sent != UART_SENT_NOTHING)
        send(com, (uint8_t)sent);
}

void com_flush(struct com *com)
{
    if (com->name != NULL)
        end_line(com);
    if (com->machine != 0)
        serial_drain(com->machine);
}

void com_reset(struct com *com)
{
    com_flush(com);
    uart_reset(&com->uart, com->uart.khz);
}
