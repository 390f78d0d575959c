"""Memory types on bare metal: MTRRs as the manuals read them, and the manuals' tables."""
# SPDX-License-Identifier: BSD-2-Clause
import csv
from dataclasses import dataclass, field

from nosnoop import paths

BY_CODE = {0: "UC", 1: "WC", 4: "WT", 5: "WP", 6: "WB", 7: "UC-"}  # of MTRRs and PATs
E, FE, VALID = 1 << 11, 1 << 10, 1 << 11
PAGE, MIB = 1 << 12, 1 << 20
# Sizes of the ranges of the fixed MTRRs, rising (SDM, "Fixed Range MTRRs").
FIXED_SIZES = [0x10000] + 2 * [0x4000] + 8 * [0x1000]
# Tables by the CPU's vendor: file, and the columns of the MTRR's type, the PAT's and the result.
TABLES = {
    "intel": ("intel_mtrr_or_ept_x_pat.csv", "mtrr_or_ept_type", "pat_type", "effective"),
    "amd": ("amd_native_mtrr_x_pat.csv", "mtrr_type", "pat_type", "effective"),
}
# While CR0.CD is 1 (SDM, "Cache Control Registers and Bits"; APM, "Memory Types").
CACHE_DISABLED = {"intel": "UC", "amd": "CD"}


@dataclass
class Mtrrs:
    """The values of a CPU's MTRRs."""
    default: int = 0
    variable: list = field(default_factory=list)  # (base, mask)
    fixed: list = field(default_factory=list)

    def type_of(self, at, enabled=True):
        """The type of the byte at AT, with E as given (SDM, "MTRR Precedences")."""
        if not enabled:
            return "UC"
        if at < MIB and self.default & FE:
            return self.fixed_type(at)
        kinds = {BY_CODE[base & 7] for base, mask in self.variable
                 if mask & VALID and (at ^ base) & mask & -PAGE == 0}
        if len(kinds) < 2:
            return next(iter(kinds), BY_CODE[self.default & 7])
        return "WT" if kinds == {"WT", "WB"} else "UC"

    def fixed_type(self, at):
        """The type of a fixed range."""
        start = 0
        for size, value in zip(FIXED_SIZES, self.fixed, strict=True):
            if at < start + 8 * size:
                return BY_CODE[value >> 8 * ((at - start) // size) & 0xFF]
            start += 8 * size
        raise AssertionError("no fixed range")


def native_table(vendor):
    """(MTRR type, PAT type): effective type, without a hypervisor."""
    name, mtrr, pat, effective = TABLES[vendor]
    with open(paths.ROOT / "tests/golden" / name, encoding="utf-8", newline="") as table:
        return {(row[mtrr], row[pat]): row[effective] for row in csv.DictReader(table)}
