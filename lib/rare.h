/* Marks a function that is not worth the space that speed takes, in a file compiled for speed. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#define RARE __attribute__((cold))
