"""Tests of the walker itself with tables made by hand."""
# SPDX-License-Identifier: BSD-2-Clause
import struct

import pytest

from walker import Mapping, walk

NX = 1 << 63


def tables(**pages):
    """A READ_PAGE for pages p1, p2, ...: {index: entry}; page N is at N * 4096."""
    def read_page(address):
        entries = pages[f"p{address >> 12}"]
        return struct.pack("<512Q", *(entries.get(index, 0) for index in range(512)))
    return read_page


def test_small_page():
    read = tables(p1={0: 0x2007}, p2={1: 0x3007}, p3={2: 0x4007}, p4={3: 0x123456007, 4: 0x6})
    va = (1 << 30) + (2 << 21) + (3 << 12)
    assert list(walk(read, 0x1018)) == [Mapping(va, 0x123456000, 4096, True, True, True)]


def test_large_pages_and_the_upper_half():
    read = tables(p1={511: 0x2003}, p2={510: 0x3003, 0: 0x40000083 | NX},
                  p3={511: 0x7FE00083 | 1 << 12})
    assert list(walk(read, 0x1000)) == [
        Mapping(0xFFFFFF8000000000, 0x40000000, 1 << 30, True, False, False),
        Mapping(0xFFFFFFFFBFE00000, 0x7FE00000, 2 << 20, True, True, False)]


@pytest.mark.parametrize("upper, lower, rights", [
    (0x2007, 0x83, (True, True, False)), (0x2001, 0x83, (False, True, False)),
    (0x2003 | NX, 0x83, (True, False, False)), (0x2003, 0x81 | NX, (False, False, False)),
    (0x2005, 0x87, (False, True, True)),
])
def test_rights_are_those_of_all_levels(upper, lower, rights):
    (mapping,) = walk(tables(p1={0: upper}, p2={0: lower}), 0x1000)
    assert (mapping.write, mapping.execute, mapping.user) == rights


def test_a_leaf_at_the_top_is_refused():
    with pytest.raises(AssertionError):
        list(walk(tables(p1={0: 0x83}), 0x1000))


@pytest.mark.parametrize("start, end, overlaps", [
    (0x1000, 0x2000, False), (0x1000, 0x2001, True), (0x2fff, 0x9000, True),
    (0x3000, 0x4000, False), (0, 1 << 40, True)])
def test_overlap(start, end, overlaps):
    assert Mapping(0, 0x2000, 4096, True, False, False).overlaps(start, end) == overlaps
