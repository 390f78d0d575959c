"""Walks x86-64 page tables in a memory dump, and shares nothing with the hypervisor's own code."""
# SPDX-License-Identifier: BSD-2-Clause
# Intel SDM, "4-Level Paging and 5-Level Paging"; AMD APM, "Long-Mode Page Translation".
import struct
from dataclasses import dataclass

PRESENT, WRITE, USER, LARGE, NO_EXECUTE = 1 << 0, 1 << 1, 1 << 2, 1 << 7, 1 << 63
ADDRESS = 0x000FFFFFFFFFF000
TOP_LEVEL = 4


@dataclass(frozen=True)
class Mapping:
    """One leaf with what all levels above it allow."""
    va: int
    pa: int
    size: int
    write: bool
    execute: bool
    user: bool

    def overlaps(self, start, end):
        """Whether it maps any of the physical bytes START to END."""
        return self.pa < end and start < self.pa + self.size


def canonical(va):
    """VA with bit 47 copied upwards."""
    return va | 0xFFFF << 48 if va >> 47 & 1 else va


def walk(read_page, cr3):
    """All Mappings under CR3; READ_PAGE(address) gives a table's 4096 bytes."""
    yield from walk_table(read_page, cr3 & ADDRESS, TOP_LEVEL, 0, WRITE | USER)


def walk_table(read_page, table, level, va, allowed):
    """The Mappings of one table of LEVEL, for VA on; ALLOWED: what the levels above allow."""
    size = 4096 << 9 * (level - 1)
    for index, entry in enumerate(struct.unpack("<512Q", read_page(table))):
        if not entry & PRESENT:
            continue
        at = va + index * size
        rights = allowed & entry & (WRITE | USER) | (allowed | entry) & NO_EXECUTE
        if level == 1 or entry & LARGE:
            assert level < TOP_LEVEL, f"a leaf in a table of level {level} at {table:#x}"
            yield Mapping(canonical(at), entry & ADDRESS & -size, size, bool(rights & WRITE),
                          not rights & NO_EXECUTE, bool(rights & USER))
        else:
            yield from walk_table(read_page, entry & ADDRESS, level - 1, at, rights)
