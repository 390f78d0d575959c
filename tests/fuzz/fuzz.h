/* What every fuzz target includes. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/host.h"

/* Takes one input; a promise that is broken aborts. replay.c and the unit tests call it, too. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define require(cond)                                                                              \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #cond);                     \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* FIELD, an array of characters, ends within itself. */
#define require_string(field) require(memchr(field, '\0', sizeof(field)) != NULL)
