/* No IOMMU, by its operations. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/iommu.h"

/*
 * All requesters reach all memory at its own addresses, and nothing blocks them; start() says so in
 * the log. map() is a check that a VM's memory is there: -EINVAL, logged, where it is not, but
 * for what lies below 1 MiB.
 */
extern const struct iommu_ops iommu_identity_ops;
