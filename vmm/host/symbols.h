/* Names of the kernel's functions, from a table that the build appends to the image. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdint.h>

/* The function that holds RIP, and how far into it RIP is; "?" where none does. */
const char *symbol_at(uint64_t rip, uint64_t *offset);
