/* Effective memory types on Intel's CPUs. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/effective.h"

extern const struct type_rules vmx_type_rules;
