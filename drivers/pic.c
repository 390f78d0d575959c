/* The interrupt controllers at start: nothing may interrupt the host before it asks for it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/pic.h"

#include "lib/x86.h"

void pic_mask(void)
{
    out8(0xa1, 0xff);
    out8(0x21, 0xff);
}
