"""Tests of the walker itself with tables made by hand."""
# SPDX-License-Identifier: BSD-2-Clause
import struct

import pytest

from walker import UC, UC_MINUS, WB, WC, WP, WT, Leaf, Mapping, walk, walk_ept, walk_npt

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


# --- extended page tables ---

GIGABYTE, MEGABYTE = 1 << 30, 1 << 20
EPT_RWX, EPT_TABLES = 7, {"p1": {0: 0x2007}, "p2": {1: 0x3007}, "p3": {2: 0x4007}}
SPOT = GIGABYTE + 4 * MEGABYTE  # what index 0 of p4 maps


def ept_leaves(**pages):
    """The leaves under p1."""
    return list(walk_ept(tables(**pages), 0x1000))


@pytest.mark.parametrize("ipat", [0, 1])
@pytest.mark.parametrize("kind", [UC, WC, WT, WP, WB])
def test_ept_types(kind, ipat):
    entry = 0x123456000 | ipat << 6 | kind << 3 | EPT_RWX
    assert ept_leaves(**EPT_TABLES, p4={3: entry, 4: entry & ~7}) == [
        Leaf(SPOT + 0x3000, 0x123456000, 4096, kind, bool(ipat), "rwx")]


def test_ept_large_pages():
    found = ept_leaves(p1={0: 0x2007}, p2={0: 0x3007, 5: 0x1C00000B7}, p3={511: 0x7FE000CF})
    assert found == [Leaf(1022 * MEGABYTE, 0x7FE00000, 2 * MEGABYTE, WC, True, "rwx"),
                     Leaf(5 * GIGABYTE, 7 * GIGABYTE, GIGABYTE, WB, False, "rwx")]


@pytest.mark.parametrize("upper, lower, rights", [
    (7, 1, "r--"), (7, 3, "rw-"), (5, 7, "r-x"), (4, 7, "--x"), (3, 5, "r--"), (4, 3, "---")])
def test_ept_rights_are_those_of_all_levels(upper, lower, rights):
    (leaf,) = ept_leaves(p1={0: 0x2007}, p2={0: 0x3000 | upper}, p3={0: 0x80 | lower})
    assert leaf.rights == rights


@pytest.mark.parametrize("pages", [
    {"p1": {0: 0x200F}}, {"p2": {1: 0x3047}}, {"p3": {2: 0x4002}}, {"p4": {0: 0x17}},
    {"p4": {0: 0x3F}}, {"p4": {0: 0x36}}, {"p3": {2: 0x100B7}}, {"p2": {1: 0x2000B7}},
    {"p1": {0: 0x20B7}}])
def test_what_is_misconfigured_in_ept_is_refused(pages):
    good = {**EPT_TABLES, "p4": {0: 0x37}}
    assert len(ept_leaves(**good)) == 1
    with pytest.raises(AssertionError):
        ept_leaves(**{**good, **pages})


# --- nested page tables ---

PAT = 0x0007050100070406  # WB WT UC- UC WC WP UC- UC


def npt_leaves(**pages):
    """The leaves under p1."""
    return list(walk_npt(tables(**pages), 0x1000, PAT))


@pytest.mark.parametrize("bits, kind", [
    (0, WB), (0x8, WT), (0x10, UC_MINUS), (0x18, UC), (0x80, WC), (0x88, WP), (0x90, UC_MINUS),
    (0x98, UC)])
def test_npt_types(bits, kind):
    small = npt_leaves(**EPT_TABLES, p4={0: 0x5007 | bits})
    assert small == [Leaf(SPOT, 0x5000, 4096, kind, False, "rwx")]
    large = bits & 0x18 | (bits & 0x80) << 5 | 0x87  # the PAT's bit is 12 there
    assert npt_leaves(p1={0: 0x2007}, p2={0: 0x3007, 5: 0x1C0000000 | large},
                      p3={1: 0x600000 | large}) == [
        Leaf(2 * MEGABYTE, 0x600000, 2 * MEGABYTE, kind, False, "rwx"),
        Leaf(5 * GIGABYTE, 7 * GIGABYTE, GIGABYTE, kind, False, "rwx")]


@pytest.mark.parametrize("upper, lower, rights", [
    (0x3003, 0x87, "---"), (0x3005, 0x87, "r-x"), (0x3007 | NX, 0x87, "rw-"),
    (0x3007, 0x85 | NX, "r--"), (0x3007, 0x83, "---")])
def test_npt_rights_are_those_of_all_levels(upper, lower, rights):
    (leaf,) = npt_leaves(p1={0: 0x2007}, p2={0: upper}, p3={0: lower})
    assert leaf.rights == rights


@pytest.mark.parametrize("pages", [
    {"p1": {0: 0x200F}}, {"p2": {1: 0x3017}}, {"p3": {2: 0x2087}}, {"p2": {1: 0x200087}},
    {"p1": {0: 0x2087}}])
def test_what_no_npt_should_have_is_refused(pages):
    good = {**EPT_TABLES, "p4": {0: 0x7}}
    assert len(npt_leaves(**good)) == 1
    with pytest.raises(AssertionError):
        npt_leaves(**{**good, **pages})
