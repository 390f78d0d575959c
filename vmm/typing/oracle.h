/* The oracle: what type an access of the guest has, and why, read from the live tables. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/abi.h"
#include "vmm/vm.h"

/* Fills ANSWER for the byte at AT, if the guest's PAT gives PAT_TYPE (enum memtype) for it. */
void oracle_physical(struct vcpu *vcpu, gpa_t at, unsigned pat_type, struct type_answer *answer);

/*
 * The same for the byte at LINEAR by the guest's own tables; TABLE: 0, or the level of the entry
 * that is asked about in its place. Nothing in the tables is changed. -EFAULT: they do not map it,
 * or have no such entry.
 */
int oracle_linear(struct vcpu *vcpu, gva_t linear, unsigned table, struct type_answer *answer);
