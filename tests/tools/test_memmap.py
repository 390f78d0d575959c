"""Tests of tools/memmap: logs that it reads and refuses, and what its pictures hold."""
# SPDX-License-Identifier: BSD-2-Clause
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from nosnoop import memmap, paths
from nosnoop.status import USAGE, Refusal

HEAD = "[ 12 0] memmap a "
BEGIN = HEAD + ("begin policy exact noncoherent 0 view typed enabled 1 cd 0 "
                "pat 0x0007040600070406 root 0x1000")
PLAIN = ("host WB leaf WB 2M ipat 0 rule default pat guest "
         "effective WB=WB WT=WT WP=WP WC=WC UC-=UC UC=UC")
LOW = HEAD + "0x0 0x200000 guest WB default " + PLAIN
HIGH = HEAD + "0x200000 0x400000 guest WB default " + PLAIN
FORCED = HEAD + ("0x40000000 0x80000000 guest UC undefined-is-uc host WC leaf WT 1G ipat 1 "
                 "rule policy pat UC- effective WB=CD WT=WT WP=WP WC=WC+ UC-=CD UC=UC")
END = HEAD + "end {}"
OTHER = "[ 13 0] vm a: first entry after 12 ticks"


def maps_of(*lines):
    """The maps of a log."""
    reader = memmap.Reader("log")
    for line in lines:
        reader.line(line)
    return reader.finish()


def cells(svg):
    """All cells of a picture: their data attributes."""
    return [{name.removeprefix("data-"): value for name, value in node.attrib.items()
             if name.startswith("data-")}
            for node in ElementTree.fromstring(svg.encode()).iter()
            if "data-band" in node.attrib]


def band(svg, name, number=0):
    """(start, end, type or text) of the cells of a band."""
    return [(int(cell["start"], 16), int(cell["end"], 16), cell.get("type") or cell["value"])
            for cell in cells(svg) if (cell["band"], cell["map"]) == (name, str(number))]


def test_a_map():
    (found,) = maps_of(OTHER, BEGIN, LOW, OTHER, FORCED, END.format(2))
    assert (found.vm, found.policy, found.view, found.enabled, found.cd) == (
        "a", "exact", "typed", True, False)
    assert found.slots() == "WB WT UC- UC WB WT UC- UC"
    assert found.ranges[1] == memmap.Range(
        0x40000000, 0x80000000, "UC", "undefined-is-uc", "WC", "WT", "1G", True, "policy", "UC-",
        ("CD", "WT", "WP", "WC+", "CD", "UC"))


def test_a_map_behind_the_monitors_prompt():
    prompted = [f"\r\033[Knosnoop> \r\033[K{line}" for line in (BEGIN, LOW, END.format(1))]
    assert maps_of(*prompted) == maps_of(BEGIN, LOW, END.format(1))


def test_maps_of_two_vms_may_alternate():
    other = [line.replace("memmap a", "memmap b") for line in (BEGIN, LOW, END.format(1))]
    found = maps_of(BEGIN, other[0], LOW, other[1], END.format(1), other[2], BEGIN, END.format(0))
    assert {vm: len(maps) for vm, maps in memmap.by_vm(found).items()} == {"a": 2, "b": 1}


def test_a_picture_has_the_last_maps():
    found = maps_of(*[line for index in range(memmap.MAX_MAPS + 1)
                      for line in (BEGIN, *[LOW] * (index > 0), END.format(int(index > 0)))])
    (maps,) = memmap.by_vm(found).values()
    assert len(maps) == memmap.MAX_MAPS and all(each.ranges for each in maps)


@pytest.mark.parametrize("lines, problem", [
    ([], "log: no memory map; have the guest"),
    ([OTHER], "log: no memory map"),
    ([LOW], "log:1: a map of a that has no beginning"),
    ([END.format(0)], "log:1: a map of a that has no beginning"),
    ([OTHER, BEGIN, LOW], "log:2: the map of a that begins here has no end"),
    ([BEGIN, LOW[:-1]], "log:2: no line of a memory map"),
    ([BEGIN, LOW, BEGIN], "log:3: a map of a begins, but the one of line 1 has not ended"),
    ([BEGIN, HIGH, LOW], "log:3: 0x0 comes after 0x400000"),
    ([BEGIN, LOW, LOW], "log:3: 0x0 comes after 0x200000"),
    ([BEGIN, LOW, END.format(2)], "log:3: the map of a has 1 ranges, not 2"),
    ([BEGIN, LOW, HEAD + "and 7 more from 0x200000", END.format(9)], "8 ranges, not 9"),
    ([BEGIN, LOW.replace("0x200000", "0x200001")], "log:2: no range of pages: 0x0 to 0x200001"),
    ([BEGIN, LOW.replace("0x200000", "0x0")], "no range of pages"),
    ([BEGIN, LOW.replace("leaf WB", "leaf XX")], "no line of a memory map"),
    ([BEGIN, LOW.replace("leaf WB", "leaf UC-")], "no line of a memory map"),
    ([BEGIN, LOW.replace("2M", "8M")], "no line of a memory map"),
    ([BEGIN, LOW.replace("0x200000", "0x" + "f" * 17)], "no line of a memory map"),
    ([BEGIN.replace("pat 0x00", "pat 0x02")], "log:1: 0207040600070406 is no PAT"),
    ([BEGIN, HEAD + "end " + "9" * 5000], "no line of a memory map"),
    ([BEGIN, HEAD + "\x1b[2J\ud800"], "no line of a memory map"),
    ([BEGIN] + [HEAD + f"{page:#x}000 {page + 1:#x}000 guest WB default {PLAIN}"
                for page in range(257)], "log:258: more than 256 ranges"),
])
def test_refused(lines, problem):
    with pytest.raises(Refusal) as refused:
        maps_of(*lines)
    assert problem in str(refused.value) and len(str(refused.value)) < 250


@pytest.mark.parametrize("line", [
    "memmap a end 0", "[ 1 0] [a] memmap a begin", "[1 0] memmap ../a end 0",
    "[x 0] memmap a end 0",
])
def test_a_guests_own_lines_are_no_map(line):
    """What begins otherwise is somebody else's."""
    assert len(maps_of(line, BEGIN, LOW, line, END.format(1))) == 1


def test_a_picture():
    svg = memmap.picture("A & B <x>", maps_of(BEGIN, LOW, HIGH, FORCED, END.format(3), BEGIN, LOW,
                                             END.format(1)))
    assert band(svg, "guest") == [(0, 0x400000, "WB"), (0x40000000, 0x80000000, "UC")]
    assert band(svg, "guest-rule")[1][2] == "undefined"
    assert band(svg, "host")[1][2] == "WC" and band(svg, "leaf")[1][2] == "WT"
    assert band(svg, "size") == [(0, 0x400000, "2M"), (0x40000000, 0x80000000, "1G IPAT")]
    assert band(svg, "rule")[1][2] == "PAT UC-"
    assert [band(svg, f"effective-{pat}")[1][2] for pat in memmap.PATS] == [
        "CD", "WT", "WP", "WC+", "CD", "UC"]
    assert band(svg, "guest", 1) == [(0, 0x200000, "WB")]
    assert "A &amp; B &lt;x&gt;" in svg and svg.count(">no memory<") == 1


def test_what_is_left_out_is_said():
    found = maps_of(BEGIN, LOW, HEAD + "and 41 more from 0x200000", HEAD + "cut at 0x900000",
                    END.format(42))
    for text in (memmap.picture("x", found), memmap.table(found)):
        assert "and 41 more ranges, cut at 0x900000" in text


def test_cells_have_room_for_their_letters():
    """Whatever the sizes: the axis rises, and the smallest piece has a line's height."""
    lines = [HEAD + f"{at:#x} {end:#x} guest WB default {PLAIN}"
             for at, end in ((0, 0x1000), (0x1000, 0x2000), (1 << 39, 1 << 40))]
    found = maps_of(BEGIN, *lines, END.format(3))
    axis = memmap.Axis(found)
    heights = [axis.y[high] - axis.y[low] for low, high in zip(axis.edges, axis.edges[1:])]
    assert len(heights) == 4 and min(heights) >= 15 and max(heights) < 100


def run(tmp_path, text):
    """Runs tools/memmap on a log."""
    log = tmp_path / "my log.txt"
    log.write_bytes(text)
    return subprocess.run([sys.executable, str(paths.ROOT / "tools/memmap"), str(log)],
                          env={"BUILD": str(tmp_path)}, capture_output=True, text=True,
                          check=False)


def test_the_tool(tmp_path):
    done = run(tmp_path, "\r\n".join((BEGIN, LOW, END.format(1), "")).encode() + b"\xff\x00\n")
    assert done.returncode == 0, done.stderr
    svg = tmp_path / "memmap/a-my_log.svg"
    assert done.stdout.splitlines()[-1] == str(svg)
    assert band(svg.read_text(), "leaf") == [(0, 0x200000, "WB")]
    assert "0x200000" in svg.with_suffix(".txt").read_text()


def test_the_tool_refuses(tmp_path):
    done = run(tmp_path, BEGIN.encode())
    assert done.returncode == USAGE and "Traceback" not in done.stderr
    assert done.stderr.startswith("tools/memmap: ") and "has no end" in done.stderr
