/* The machine's 16550 UARTs, by polling. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/serial.h"

#include "lib/x86.h"

enum { THR = 0, DLL = 0, DLM = 1, IER = 1, FCR = 2, LCR = 3, MCR = 4, LSR = 5 };
enum { LSR_THRE = 0x20, LSR_TEMT = 0x40, LCR_8N1 = 0x03, LCR_DLAB = 0x80 };

/* At 115200 baud a byte takes 87 us: far fewer port reads than this on any machine. */
enum { PATIENCE = 1000000 };

static bool reg_wait(uint16_t port, uint8_t bit)
{
    for (unsigned i = 0; i < PATIENCE; i++)
        if ((in8((uint16_t)(port + LSR)) & bit) != 0)
            return true;
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
    out8((uint16_t)(port + MCR), 0x03);
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
