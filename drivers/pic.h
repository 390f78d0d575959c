/* The interrupt controllers at start: nothing may interrupt the host before it asks for it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdint.h>

/* Masks both 8259s. */
void pic_mask(void);
