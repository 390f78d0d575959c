/* A guest's serial port: registers of a 16550, polled, whose bytes go to a machine port or the log.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/uart.h"

#include "drivers/serial.h"
#include "lib/assert.h"
#include "lib/x86.h"
#include "vmm/log.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCRATCH };
enum { LCR_DLAB = 0x80, IIR_NONE = 0x01, LSR_EMPTY = 0x60, LSR_READY = 0x01, MSR_READY = 0xb0 };

void uart_init(struct uart *uart, enum config_port where, const char *name)
{
    *uart = (struct uart){.base = where == PORT_NONE ? 0 : COM1};
    if (where == PORT_LOG)
        uart->name = name;
    else if (where == PORT_COM1 || where == PORT_COM2)
        uart->machine = where == PORT_COM1 ? COM1 : COM2;
    if (uart->machine != 0 && !serial_start(uart->machine)) {
        log_line("serial: no UART at port 0x%x: lines of %s go to the log", uart->machine, name);
        uart->machine = 0;
        uart->name = name;
    }
}

static void end_line(struct uart *uart)
{
    if (uart->used > 0)
        log_line("[%s] %.*s", uart->name, (int)uart->used, uart->line);
    uart->used = 0;
}

static void send(struct uart *uart, uint8_t byte)
{
    if (uart->machine != 0)
        serial_put(uart->machine, (char)byte);
    if (uart->name == NULL || byte == '\r')
        return;
    if (byte == '\n')
        end_line(uart);
    else
        uart->line[uart->used++] = byte >= ' ' && byte < 0x7f ? (char)byte : '?';
    if (uart->used == UART_LINE_SIZE)
        end_line(uart);
}

static bool input_ready(const struct uart *uart)
{
    return uart->machine != 0 && (in8((uint16_t)(uart->machine + LSR)) & LSR_READY) != 0;
}

uint8_t uart_read(struct uart *uart, unsigned reg)
{
    bool divisor = (uart->lcr & LCR_DLAB) != 0;
    switch (reg) {
    case DATA:
        if (divisor)
            return uart->divisor[0];
        return input_ready(uart) ? in8(uart->machine) : 0;
    case IER:
        return divisor ? uart->divisor[1] : uart->ier;
    case IIR:
        return IIR_NONE;
    case LCR:
        return uart->lcr;
    case MCR:
        return uart->mcr;
    case LSR:
        return (uint8_t)(LSR_EMPTY | (input_ready(uart) ? LSR_READY : 0));
    case MSR:
        return MSR_READY;
    default:
        assert(reg == SCRATCH);
        return uart->scratch;
    }
}

void uart_write(struct uart *uart, unsigned reg, uint8_t value)
{
    bool divisor = (uart->lcr & LCR_DLAB) != 0;
    assert(reg < UART_PORTS);
    switch (reg) {
    case DATA:
        if (divisor)
            uart->divisor[0] = value;
        else
            send(uart, value);
        break;
    case IER:
        if (divisor)
            uart->divisor[1] = value;
        else
            uart->ier = value & 0x0f;
        break;
    case LCR:
        uart->lcr = value;
        break;
    case MCR:
        uart->mcr = value & 0x1f;
        break;
    case SCRATCH:
        uart->scratch = value;
        break;
    default: /* FIFO control, and the status registers that ignore writes */
        break;
    }
}

void uart_flush(struct uart *uart)
{
    if (uart->name != NULL)
        end_line(uart);
    if (uart->machine != 0)
        serial_drain(uart->machine);
}

void uart_reset(struct uart *uart)
{
    uart_flush(uart);
    *uart = (struct uart){.base = uart->base, .machine = uart->machine, .name = uart->name};
}
