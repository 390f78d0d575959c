/* How many random operations a device's model is compared by: DEVICE_OPS, or USUAL. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdlib.h>

static inline unsigned long device_ops(unsigned long usual)
{
    const char *text = getenv("DEVICE_OPS");
    return text != NULL ? strtoul(text, NULL, 10) : usual;
}
