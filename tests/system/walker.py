"""Walks page tables in a memory dump, and shares nothing with the hypervisor's own code."""
# SPDX-License-Identifier: BSD-2-Clause
# Intel SDM, "4-Level Paging and 5-Level Paging", "The Extended Page Table Mechanism (EPT)"; AMD
# APM, "Long-Mode Page Translation", "Nested Paging", "Page-Attribute Table Mechanism"; VT-d, "Root
# Entry", "Context Entry", "Second-Stage Paging Entries"; AMD IOMMU, "Device Table Entry Format",
# "I/O Page Tables for Host Translations".
import struct
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_

PRESENT, WRITE, USER, LARGE, NO_EXECUTE = 1 << 0, 1 << 1, 1 << 2, 1 << 7, 1 << 63
PWT, PCD, PAT_SMALL, PAT_LARGE = 1 << 3, 1 << 4, 1 << 7, 1 << 12
EPT_ANY, EPT_READ, EPT_WRITE, EPT_EXECUTE, EPT_IPAT = 7, 1 << 0, 1 << 1, 1 << 2, 1 << 6
ADDRESS = 0x000FFFFFFFFFF000
DMA_READ, DMA_WRITE, DMA_SNOOP = 1 << 0, 1 << 1, 1 << 11
AMD_FORCE_COHERENT, AMD_READ, AMD_WRITE = 1 << 60, 1 << 61, 1 << 62
AMD_RESERVED = 0xF << 52 | 7 << 56
TOP_LEVEL = 4
UC, WC, WT, WP, WB, UC_MINUS = 0, 1, 4, 5, 6, 7  # as MTRRs, PATs and EPT entries encode them


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


@dataclass(frozen=True)
class Leaf:
    """One leaf of a guest's second-level tables; RIGHTS: which of rwx all levels allow."""
    gpa: int
    hpa: int
    size: int
    type: int
    ipat: bool
    rights: str


def canonical(va):
    """VA with bit 47 copied upwards."""
    return va | 0xFFFF << 48 if va >> 47 & 1 else va


def paths(read_page, table, present, level=TOP_LEVEL, start=0, above=()):
    """
    Of each leaf under TABLE: its address, its size, and the entries that lead to it, its own last.
    READ_PAGE(address) gives a table's 4096 bytes; an entry without any bit of PRESENT is none.
    """
    size = 4096 << 9 * (level - 1)
    for index, entry in enumerate(struct.unpack("<512Q", read_page(table))):
        if not entry & present:
            continue
        at = start + index * size
        if level == 1 or entry & LARGE:
            assert level < TOP_LEVEL, f"a leaf in a table of level {level} at {table:#x}"
            yield at, size, (*above, entry)
        else:
            yield from paths(read_page, entry & ADDRESS, present, level - 1, at, (*above, entry))


def walk(read_page, cr3):
    """All Mappings under CR3."""
    for va, size, path in paths(read_page, cr3 & ADDRESS, PRESENT):
        every, some = reduce(and_, path), reduce(or_, path)
        yield Mapping(canonical(va), path[-1] & ADDRESS & -size, size, bool(every & WRITE),
                      not some & NO_EXECUTE, bool(every & USER))


def rights(read, write, execute):
    """As `ls` writes them."""
    return "".join(letter if has else "-" for letter, has in zip("rwx", (read, write, execute)))


def walk_ept(read_page, root):
    """All Leafs of extended page tables."""
    for gpa, size, path in paths(read_page, root, EPT_ANY):
        *tables, leaf = path
        assert all(entry & 0xF8 == 0 for entry in tables), f"reserved bits above GPA {gpa:#x}"
        assert all(entry & 3 != EPT_WRITE for entry in path), f"GPA {gpa:#x} is only writable"
        assert leaf & ADDRESS & (size - 1) == 0, f"reserved bits in the leaf of GPA {gpa:#x}"
        kind = leaf >> 3 & 7
        assert kind in (UC, WC, WT, WP, WB), f"GPA {gpa:#x} has the type {kind}"
        every = reduce(and_, path)
        yield Leaf(gpa, leaf & ADDRESS, size, kind, bool(leaf & EPT_IPAT),
                   rights(every & EPT_READ, every & EPT_WRITE, every & EPT_EXECUTE))


def walk_npt(read_page, root, pat):
    """All Leafs of nested page tables, of a host with this PAT; every access is a user's."""
    for gpa, size, path in paths(read_page, root, PRESENT):
        *tables, leaf = path
        assert not any(entry & (PWT | PCD) for entry in tables), f"tables above GPA {gpa:#x}: no WB"
        pat_bit = PAT_SMALL if size == 4096 else PAT_LARGE
        assert leaf & ADDRESS & (size - 1) & ~pat_bit == 0, f"reserved bits of GPA {gpa:#x}"
        slot = bool(leaf & PWT) + 2 * bool(leaf & PCD) + 4 * bool(leaf & pat_bit)
        every, some = reduce(and_, path), reduce(or_, path)
        yield Leaf(gpa, leaf & ADDRESS & -size, size, pat >> 8 * slot & 0xFF, False,
                   rights(every & USER, every & USER and every & WRITE,
                          every & USER and not some & NO_EXECUTE))


@dataclass(frozen=True)
class DmaLeaf:
    """One leaf of a device's tables; RIGHTS: which of rw all levels allow."""
    address: int
    hpa: int
    size: int
    rights: str
    snoop: bool


def entries_of_two_words(read_page, table):
    """(index, low, high) of what is present in a root or a context table."""
    words = struct.unpack("<512Q", read_page(table))
    return [(index // 2, words[index], words[index + 1]) for index in range(0, 512, 2)
            if words[index] & PRESENT]


def walk_vtd(read_page, root):
    """Of each requester that has tables, as `BB:DD.F`: (domain, their address, its DmaLeafs)."""
    found = {}
    for bus, low, _ in entries_of_two_words(read_page, root & ADDRESS):
        for place, context, high in entries_of_two_words(read_page, low & ADDRESS):
            leaves = [DmaLeaf(at, path[-1] & ADDRESS & -size, size,
                              rights(reduce(and_, path) & DMA_READ,
                                     reduce(and_, path) & DMA_WRITE, False)[:2],
                              bool(path[-1] & DMA_SNOOP))
                      for at, size, path in paths(read_page, context & ADDRESS,
                                                  DMA_READ | DMA_WRITE, (high & 7) + 2)]
            found[f"{bus:02x}:{place >> 3:02x}.{place & 7}"] = (high >> 8 & 0xFFFF,
                                                               context & ADDRESS, leaves)
    return found


def paths_of_amd(read_page, entry, start=0):
    """Of each leaf below ENTRY, which says of what level its table is: as paths()."""
    level = entry >> 9 & 7
    size = 4096 << 9 * (level - 1)
    for index, below in enumerate(struct.unpack("<512Q", read_page(entry & ADDRESS))):
        if not below & PRESENT:
            continue
        assert below & AMD_RESERVED == 0, f"reserved bits above {start:#x}"
        at, next_level = start + index * size, below >> 9 & 7
        assert next_level in (0, level - 1), f"a table of level {next_level} below {level}"
        if next_level == 0:
            yield at, size, (entry, below)
        else:
            yield from ((address, leaf_size, (entry, *path))
                        for address, leaf_size, path in paths_of_amd(read_page, below, at))


def walk_amd(read_page, table):
    """
    Of each requester that is not blocked by the device table at TABLE (the register's value), as
    `BB:DD.F`: (domain, its tables' address, its DmaLeafs).
    """
    found = {}
    for page in range((table & 0x1FF) + 1):
        words = struct.unpack("<512Q", read_page((table & ADDRESS) + 4096 * page))
        for index in range(128):
            entry, domain = words[4 * index:4 * index + 2]
            assert entry & 3 == 3 and words[4 * index + 2] & 1, "V, TV or IV is not set"
            assert entry >> 9 & 7 or not entry & (AMD_READ | AMD_WRITE), "it passes untranslated"
            if not entry >> 9 & 7:
                continue
            leaves = [DmaLeaf(at, path[-1] & ADDRESS & -size, size,
                              rights(reduce(and_, path) & AMD_READ,
                                     reduce(and_, path) & AMD_WRITE, False)[:2],
                              bool(path[-1] & AMD_FORCE_COHERENT))
                      for at, size, path in paths_of_amd(read_page, entry)]
            place = page * 128 + index
            found[f"{place >> 8:02x}:{place >> 3 & 31:02x}.{place & 7}"] = (
                domain & 0xFFFF, entry & ADDRESS, leaves)
    return found
