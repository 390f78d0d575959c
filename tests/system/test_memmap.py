"""The pictures of memory maps that tools/memmap makes of a run, against what the guest asks for."""
# SPDX-License-Identifier: BSD-2-Clause
import re
import xml.etree.ElementTree as ElementTree

import pytest

from nosnoop import memmap, paths

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
# The MTRRs that guest-tests/memmap.c sets: from where on, which type, by which rule.
SET = [(0, "WB", "fixed"), (640 * KIB, "UC", "fixed"), (768 * KIB, "WP", "fixed"),
       (800 * KIB, "WT", "fixed"), (832 * KIB, "WB", "fixed"), (864 * KIB, "UC", "fixed"),
       (896 * KIB, "WC", "fixed"), (928 * KIB, "WB", "fixed"), (960 * KIB, "WP", "fixed"),
       (MIB, "WB", "default"), (16 * MIB, "WC", "variable"), (20 * MIB, "WB", "default"),
       (24 * MIB, "UC", "variable"), (24 * MIB + 64 * KIB, "WB", "default"),
       (32 * MIB, "WT", "variable"), (36 * MIB, "WT", "wt-wb"), (40 * MIB, "WB", "default"),
       (44 * MIB, "WP", "variable"), (45 * MIB, "WB", "default"), (48 * MIB, "UC", "variable"),
       (52 * MIB, "UC", "uc-wins"), (52 * MIB + 256 * KIB, "UC", "variable"),
       (56 * MIB, "WB", "default")]
# Where leaves are small: large pages that have more than one type.
SPLIT = [(0, 2 * MIB), (24 * MIB, 26 * MIB), (44 * MIB, 46 * MIB)]
MEMORY = {"svm": [(0, 3 * GIB), (4 * GIB, 6 * GIB)], "vmx": [(0, 64 * MIB)]}
# What a PAT of all types comes to in WB and in UC memory: WB, WT, WP, WC, UC-, UC. SDM and APM:
# see tests/golden.
IN_WB = {"svm": "WB WT WP WC+ CD CD", "vmx": "WB WT WP WC UC UC"}
IN_UC = {"svm": "CD CD CD WC CD CD", "vmx": "UC UC UC WC UC UC"}


@pytest.fixture(scope="module", name="log", params=memmap.RUNS, ids=lambda run: run[0])
def run_guest(request):
    """(bed, the log of a run)."""
    bed, memory = request.param
    return bed, memmap.log_of_run(bed, memory)


def bands(svg):
    """(map, band): its cells, (start, end, text)."""
    found = {}
    for node in ElementTree.fromstring(svg.encode()).iter():
        if "data-band" in node.attrib:
            data = {name[5:]: value for name, value in node.attrib.items()}
            found.setdefault((int(data["map"]), data["band"]), []).append(
                (int(data["start"], 16), int(data["end"], 16), data.get("type") or data["value"]))
    return found


def runs_of(marks, memory):
    """The (start, end, what) that (from where on, what) MARKS come to in the ranges of MEMORY."""
    runs = []
    for low, high in memory:
        edges = sorted({low, high, *(at for at, _ in marks if low < at < high)})
        for start, end in zip(edges, edges[1:]):
            what = [what for at, what in marks if at <= start][-1]
            if runs and runs[-1][1:] == (start, what):
                start = runs.pop()[0]
            runs.append((start, end, what))
    return runs


@pytest.fixture(name="drawn")
def draw(log, monkeypatch, tmp_path):
    """(bed, the bands of its picture, its table)."""
    bed, path = log
    monkeypatch.setattr(paths, "BUILD", tmp_path)
    memmap.write(path, bed)
    picture = tmp_path / f"memmap/memmap-{bed}.svg"
    return bed, bands(picture.read_text()), picture.with_suffix(".txt").read_text()


def test_the_picture_shows_what_the_guest_has_set(drawn):
    bed, found, _ = drawn
    types = runs_of([(at, kind) for at, kind, _ in SET], MEMORY[bed])
    assert found[0, "guest"] == types and found[0, "leaf"] == types
    assert found[0, "guest-rule"] == runs_of([(at, rule) for at, _, rule in SET], MEMORY[bed])
    assert found[0, "rule"] == found[0, "guest-rule"]
    assert [kind for _, _, kind in found[0, "host"]] == ["WB"] * len(MEMORY[bed])
    small = [(low, high) for low, high, size in found[0, "size"] if size == "4K"]
    assert small == SPLIT


def test_the_picture_shows_what_a_pat_comes_to(drawn):
    bed, found, _ = drawn
    for pat, wb, uc in zip(memmap.PATS, IN_WB[bed].split(), IN_UC[bed].split(), strict=True):
        at = {low: kind for start, end, kind in found[0, f"effective-{pat}"]
              for low, _, _ in SET if start <= low < end}
        assert {at[low] for low, kind, _ in SET if kind == "WB"} == {wb}
        assert {at[low] for low, kind, _ in SET if kind == "UC"} == {uc}
        assert {kind for _, _, kind in found[1, f"effective-{pat}"]} == {uc}


def test_the_picture_shows_the_other_views(drawn):
    bed, found, _ = drawn
    uncached = "CD" if bed == "svm" else "UC"
    assert {kind for _, _, kind in found[1, "leaf"]} == {"UC"}
    assert {text for _, _, text in found[1, "rule"]} == {"disabled"}
    assert {text for _, _, text in found[2, "rule"]} == {"cd"}
    assert found[2, "guest"] == found[0, "guest"]
    for pat in memmap.PATS:
        assert {kind for _, _, kind in found[2, f"effective-{pat}"]} == {uncached}
    if bed == "vmx":
        assert found[2, "leaf"] == [(0, 64 * MIB, "UC")]
        assert found[2, "size"] == [(0, 64 * MIB, "2M IPAT")]
    else:
        assert found[2, "leaf"] == found[0, "leaf"]


def test_the_table_has_each_range(drawn):
    bed, _, table = drawn
    starts = [int(line.split()[0], 16) for line in table.split("\n\n")[0].splitlines()[3:]]
    assert set(starts) >= {at for at, _, _ in SET}
    assert starts == sorted(starts)
    assert "E = 0, CD = 0; policy exact, view disabled" in table
    assert (hex(4 * GIB) in table) == (bed == "svm")


def test_more_ranges_than_the_log_takes(system):
    done = system.svm("--set", "policy=exact", "--set", "control=yes", "--cmdline", "many=yes",
                      system.guest("memmap"))
    assert done.status == 0
    first, disabled, _ = memmap.read(done.log)
    assert len(first.ranges) == memmap.MAX_RANGES and len(disabled.ranges) == 1
    # Fixed ranges 3, then to 32 MiB small and large leaves, and each page from there to 64 MiB.
    assert first.more == 3 + 2 + 32 * MIB // memmap.PAGE - memmap.MAX_RANGES
    more = re.search(r"and \d+ more from 0x(\w+)", done.log_text)
    assert int(more[1], 16) == first.ranges[-1].end
