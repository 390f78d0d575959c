/* The machine's 16550 UARTs: output by polling, input by interrupts. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/serial.h"

#include <stddef.h>

#include "drivers/pic.h"
#include "lib/x86.h"
#include "vmm/host/traps.h"
#include "vmm/host/watchdog.h"

enum { RBR = 0, THR = 0, DLL = 0, DLM = 1, IER = 1, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5 };
enum { LSR_DR = 0x01, LSR_THRE = 0x20, LSR_TEMT = 0x40, LCR_8N1 = 0x03, LCR_DLAB = 0x80 };
enum { IER_RECEIVED = 1 << 0, IER_EMPTY = 1 << 1 };
enum { MCR_DTR_RTS = 0x03, MCR_OUT2 = 1 << 3 }; /* OUT2 lets a PC's interrupt out of the chip */

/* At 115200 baud a byte takes 87 us: far fewer port reads than this on any machine. */
enum { PATIENCE = 1000000 };

static bool reg_wait(uint16_t port, uint8_t bit)
{
    for (unsigned i = 0; i < PATIENCE; i++) {
        watchdog_look();
        if ((in8((uint16_t)(port + LSR)) & bit) != 0)
            return true;
    }
    return false;
}

bool serial_start(uint16_t port)
{
    if (in8((uint16_t)(port + LSR)) == 0xff)
        return false;
    out8((uint16_t)(port + IER), 0);
    out8((uint16_t)(port + LCR), LCR_DLAB);
    out8((uint16_t)(port + DLL), 1);
    out8((uint16_t)(port + DLM), 0);
    out8((uint16_t)(port + LCR), LCR_8N1);
    out8((uint16_t)(port + FCR), 0x07);
    out8((uint16_t)(port + MCR), MCR_DTR_RTS);
    return true;
}

void serial_put(uint16_t port, char c)
{
    if (reg_wait(port, LSR_THRE))
        out8((uint16_t)(port + THR), (uint8_t)c);
}

void serial_drain(uint16_t port)
{
    (void)reg_wait(port, LSR_TEMT);
}

/* What has come in and has not been taken yet; more is dropped. */
enum { INPUT_SIZE = 64 };
static struct {
    uint16_t port;
    bool interrupted;
    unsigned put, taken; /* bytes, ever: modulo 2^32 */
    uint8_t bytes[INPUT_SIZE];
} input;

/*
 * Takes a bounded number of bytes, whatever the chip's status says. The 8259 sees edges: where more
 * are left the line falls, and rises again.
 */
static void receive(uint8_t vector)
{
    (void)vector;
    input.interrupted = true;
    (void)in8((uint16_t)(input.port + IIR)); /* acknowledges that the transmitter is empty */
    for (unsigned i = 0; i < INPUT_SIZE; i++) {
        if ((in8((uint16_t)(input.port + LSR)) & LSR_DR) == 0)
            return;
        uint8_t byte = in8((uint16_t)(input.port + RBR));
        if (input.put - input.taken < INPUT_SIZE)
            input.bytes[input.put++ % INPUT_SIZE] = byte;
    }
    out8((uint16_t)(input.port + IER), 0);
    out8((uint16_t)(input.port + IER), IER_RECEIVED);
}

/* An empty transmitter interrupts as soon as it may, and no byte need be sent for that. */
static bool interrupts(uint16_t port)
{
    enum { LOOKS = 10000 }; /* a port read takes about 1 us */
    serial_drain(port);
    out8((uint16_t)(port + IER), IER_EMPTY);
    for (unsigned i = 0; i < LOOKS && !input.interrupted; i++) {
        (void)in8((uint16_t)(port + LSR));
        traps_take_interrupts();
    }
    return input.interrupted;
}

const char *serial_listen(uint16_t port)
{
    if (port != COM1 && port != COM2)
        return "its port has no interrupt of its own";
    unsigned line = port == COM1 ? 4 : 3;
    input.port = port;
    traps_on_interrupt((uint8_t)(PIC_VECTOR + line), receive);
    out8((uint16_t)(port + MCR), MCR_DTR_RTS | MCR_OUT2);
    pic_unmask(line);
    bool works = interrupts(port);
    out8((uint16_t)(port + IER), works ? IER_RECEIVED : 0);
    if (works)
        return NULL;
    pic_mask(line);
    return "its interrupt does not come";
}

bool serial_get(uint8_t *byte)
{
    if (input.taken == input.put)
        return false;
    *byte = input.bytes[input.taken++ % INPUT_SIZE];
    return true;
}
