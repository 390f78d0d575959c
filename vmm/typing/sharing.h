/*
 * How the vCPUs of a VM share second-level tables. Each vCPU has MTRRs of its own: those whose
 * MTRRs say the same run on the same typed view, and no view changes while another vCPU runs on it.
 * Who comes to one that has changed since forgets first what its CPU may still have of it. Also
 * runs in a host process.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "vmm/typing/typing.h"

/* As many as there are vCPUs: the first has the uncached views of all. */
struct sharing {
    struct typing *typings[MAX_CPUS];
    unsigned count;
    struct mmio_range mmio[MMIO_MAX_RANGES]; /* what each typing->mmio points to */
};

struct shared_view {
    struct typing *typing;
    bool changed; /* its leaves are not those of before */
    int error;    /* of typing_prepare(): the VM must not run on */
};

/*
 * The view of that KIND that vCPU ME is to run on by its MTRR: made, up to date, and with nothing
 * else in the TLB of its CPU, which runs this. Not on two CPUs at once.
 */
struct shared_view sharing_take(const struct sharing *sharing, unsigned me, enum view_kind kind,
                                const struct mtrr_state *mtrr);

/* The vCPUs of the set run on no view. */
void sharing_leave(const struct sharing *sharing, struct cpu_set vcpus);

/* All views are to be brought up to date with POLICY: no vCPU runs on any. */
void sharing_set_policy(const struct sharing *sharing, const struct policy *policy);

/* typing_set_mmio() for all views: no vCPU runs on any. 0 or -ENOMEM, logged. */
int sharing_set_mmio(struct sharing *sharing, const struct mmio_range *ranges, unsigned count);

/* Whether vCPUs run on more than one typed view. */
bool sharing_is_split(const struct sharing *sharing);
