"""Tests of tools/policies: bare metal's types, what it reads of a guest, and its picture."""
# SPDX-License-Identifier: BSD-2-Clause
import csv
import xml.etree.ElementTree as ElementTree

import pytest

from nosnoop import memtypes, paths, policies
from nosnoop.status import Refusal

CODES = {name: code for code, name in memtypes.BY_CODE.items()}
MASK = 0xFFFFE00800  # of 2 MiB
REGISTERS = ["# cpu intel", "# default c06", "# variable 1000000 ffffe00800", "# variable 0 0",
             *["# fixed 606060606060606"] * 11]
PLACES = ["# place 1000000 WB", "# place 1800000 UC-", "# place 0 WC"]
STATES = ("1 0", "0 0", "1 1")


def golden(name):
    """The rows of one of the manuals' tables."""
    with open(paths.ROOT / "tests/golden" / name, encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))


# --- bare metal ---

def test_fixed_ranges():
    rows = golden("mtrr_fixed_ranges.csv")
    kinds = ["UC", "WC", "WT", "WP", "WB"]
    values = [sum(CODES[kinds[(8 * register + byte) % 5]] << 8 * byte for byte in range(8))
              for register in range(11)]
    mtrrs = memtypes.Mtrrs(0xC06, [], values)
    assert len(rows) == 88
    for index, row in enumerate(rows):
        for at in (int(row["first"], 16), int(row["last"], 16)):
            assert mtrrs.type_of(at) == kinds[index % 5]
    mtrrs.default = 0x806
    assert mtrrs.type_of(0) == "WB" and mtrrs.type_of(0, enabled=False) == "UC"


def test_overlaps():
    for row in golden("mtrr_variable_overlap.csv"):
        pairs = [(CODES[row[kind]], MASK) for kind in ("type_a", "type_b")]
        want = row["result"].replace("UNDEFINED", "UC")
        mtrrs = memtypes.Mtrrs(0xC04, [*pairs, (1, MASK & ~memtypes.VALID)], [0] * 11)
        assert mtrrs.type_of(0xFFFFF) == "UC"  # the fixed ranges win
        assert mtrrs.type_of(0x100000) == want and mtrrs.type_of(0x1FFFFF) == want
        assert mtrrs.type_of(0x200000) == "WT"


def test_tables_are_whole():
    differ = {(row["mtrr"], row["pat"]): (row["intel_T11-7"], row["amd_T7-11"])
              for row in golden("intel_vs_amd_native.csv")}
    assert len(differ) == 30
    for index, vendor in enumerate(("intel", "amd")):
        assert memtypes.native_table(vendor) == {at: both[index] for at, both in differ.items()}


@pytest.mark.parametrize("kind, bare, how", [
    ("WB", "WB", policies.SAME), ("CD", "UC", policies.CLASSMATE),
    ("UC", "CD", policies.CLASSMATE), ("WC+", "WC", policies.CLASSMATE),
    ("WB", "UC", policies.MORE), ("WB", "CD", policies.MORE), ("WC", "UC", policies.MORE),
    ("WT", "WC+", policies.MORE), ("UC", "WB", policies.LESS), ("CD", "WC", policies.LESS),
    ("WC+", "WP", policies.LESS), ("WT", "WP", policies.OTHER), ("WP", "WT", policies.OTHER),
])
def test_relation(kind, bare, how):
    assert policies.relation(kind, bare) == how


# --- what the guest says ---

def types(policy, noncoherent, *kinds):
    """The guest's lines of a policy."""
    return [f"# types {policy} {noncoherent} {state} {line}"
            for state, line in zip(STATES, kinds, strict=True)]


LINES = [*REGISTERS, *PLACES,
         *types("exact", 0, "UC UC WC", "UC UC WC", "UC UC UC"),
         *types("exact", 1, "UC UC WC", "UC UC WC", "UC UC UC"),
         *types("xen", 0, "WB WB WB", "WB WB WB", "WB WB WB"),
         *types("xen", 1, "UC CD WT", "UC UC WC", "UC UC UC"),
         "# refused kvm-svm"]


def read(lines):
    """The scenario of a run on vmx."""
    return policies.read("vmx", "\r\n".join(["KTAP version 1", *lines, "ok 1 x"]))


def test_a_scenario():
    found = read(LINES)
    assert [found.bare(state) for state in policies.STATES] == [
        ["UC", "UC", "WC"], ["UC", "UC", "WC"], ["UC", "UC", "UC"]]
    assert [name for name, _ in found.rows()] == ["exact", "xen", "xen, non-coherent"]
    assert found.refused == ["kvm-svm"]


def without(*parts):
    """The lines but for those that begin with a part."""
    return [line for line in LINES if not line.startswith(parts)]


@pytest.mark.parametrize("lines, problem", [
    ([], "vmx: the guest has not said its CPU and all its MTRRs"),
    (LINES[1:], "vmx: the guest has not said its CPU"),
    (without("# fixed"), "all its MTRRs"),
    (without("# place"), "the guest has not said any place"),
    (without("# types"), "or any types"),
    (LINES[:-2], "types are missing of xen, non-coherent 1, E = 1, CD = 1"),
    (without("# types exact 0"), "types are missing of exact, non-coherent 0, E = 1, CD = 0"),
    ([*LINES, "# place 0 WB"], "types are missing"),
    ([*LINES, "# types xen 1 1 1 UC UC XX"], "not understood: '# types xen 1 1 1 UC UC XX'"),
    ([*LINES, "# place 0 ZZ"], "not understood"),
    ([*LINES, "# fixed " + "0" * 17], "not understood"),
    ([*LINES, "# cpu \x1b[2J" + "x" * 5000], "not understood"),
])
def test_refused(lines, problem):
    with pytest.raises(Refusal) as refused:
        read(lines)
    assert problem in str(refused.value) and len(str(refused.value)) < 250


# --- what comes out ---

def cells(svg):
    """(row, state, column): the cell's data."""
    nodes = ElementTree.fromstring(svg.encode()).iter()
    found = ({name.removeprefix("data-"): value for name, value in node.attrib.items()}
             for node in nodes if "data-row" in node.attrib)
    return {(data["row"], data["state"], int(data["column"])): data for data in found}


def test_the_picture():
    found = cells(policies.picture([read(LINES)]))
    assert len(found) == 4 * 3 * 3
    enabled = "E = 1, CD = 0"
    assert {data["relation"] for (row, _, _), data in found.items()
            if row in ("bare metal", "exact")} == {policies.SAME}
    assert [found["xen", enabled, column]["relation"] for column in range(3)] == [policies.MORE] * 3
    row = [found["xen, non-coherent", enabled, column] for column in range(3)]
    assert [data["type"] for data in row] == ["UC", "CD", "WT"]
    assert [data["relation"] for data in row] == [policies.SAME, policies.CLASSMATE, policies.MORE]
    assert [data["bare"] for data in row] == ["UC", "UC", "WC"]


def test_the_picture_marks_what_differs():
    svg = policies.picture([read(LINES)])
    texts = [node.text for node in ElementTree.fromstring(svg.encode()).iter()
             if node.tag.endswith("text")]
    assert texts.count("WB↑") == 9 + 1 and texts.count("WT↑") == 1  # one of them in the legend
    assert texts.count("CD·") == 1 + 1
    assert "no rules for this CPU's tables: kvm-svm" in texts


def test_the_tables(tmp_path, capsys):
    policies.write([read(LINES)], tmp_path)
    text = (tmp_path / "policies.txt").read_text()
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "policies.svg")
    assert "xen, non-coherent           UC        CD·       WT↑" in text.splitlines()
    rows = list(csv.DictReader((tmp_path / "policies.csv").read_text().splitlines()))
    assert len(rows) == 4 * 3 * 3
    (row,) = [row for row in rows if (row["policy"], row["noncoherent"], row["enabled"], row["cd"],
                                      row["address"]) == ("xen", "1", "1", "0", "0x0")]
    assert (row["mtrr"], row["pat"], row["bare_metal"], row["effective"], row["relation"]) == (
        "WB", "WC", "WC", "WT", policies.MORE)
