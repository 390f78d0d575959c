"""What the programs in tools/ share."""
# SPDX-License-Identifier: BSD-2-Clause
