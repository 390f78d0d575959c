"""Tests of the matrix of devices at the end of tools/test's report."""
# SPDX-License-Identifier: BSD-2-Clause
from pathlib import Path

import pytest

from nosnoop import columns, matrix, paths, rows, suite
from nosnoop.columns import Cell, Column
from nosnoop.matrix import Place

ROOT = Path(__file__).resolve().parents[2]
SVM, VMX, BOCHS = Column("svm", "svm"), Column("vmx", "vmx"), Column("svm-bochs", "svm-bochs")
CONTROL = Column("control", "svm", control=True)


def row(words):
    """A row of a guest."""
    return rows.parse_row(f"a end=0 {words}", "a")


@pytest.mark.parametrize("words, bed, place", [
    ("device=edu", "svm", Place("VT-d", "AMD", True)),
    ("device=edu iommu=narrow", "svm", Place("VT-d", "AMD", True)),
    ("device=edu iommu=no-snoop", "svm", Place("VT-d", "AMD", False)),
    ("device='edu dma=non-coherent'", "svm", Place("VT-d", "AMD", False)),
    ("device='nvme dma=coherent' iommu=no-snoop", "svm", Place("VT-d", "AMD", True)),
    ("device=nvme device='edu dma=non-coherent'", "svm", Place("VT-d", "AMD", False)),
    ("device=edu iommu=amd", "svm", Place("AMD-Vi", "AMD", True)),
    ("device='edu dma=non-coherent' iommu=amd", "svm", Place("AMD-Vi", "AMD", False)),
    ("device=edu iommu=none", "svm", Place("none", "AMD", False)),
    ("device=ide", "svm", Place("none", "AMD", False)),
    ("device=e1000 iommu=no-snoop", "vmx", Place("none", "Intel", False)),
    ("device=e1000 iommu=no-snoop", "svm-bochs", Place("none", "AMD", False)),
    ("device=e1000 iommu=amd", "vmx", None), ("device=e1000 iommu=snoop", "vmx", None),
    ("device=edu", "vmx", None),
    ("device=edu", "kvm", None)])
def test_where_a_cell_is(words, bed, place):
    assert matrix.place_of(row(words), bed) == place


def test_every_row_has_its_place():
    for one in rows.of_tree(ROOT / "guest-tests"):
        if one.devices:
            assert matrix.place_of(one, "svm") in matrix.PLACES, one.name


@pytest.mark.parametrize("name, place, has", [
    ("edu", Place("VT-d", "AMD", False), True), ("edu", Place("VT-d", "Intel", True), False),
    ("edu", Place("none", "Intel", False), False), ("e1000", Place("none", "Intel", False), True),
    ("edu-port", Place("VT-d", "AMD", True), True),
    ("edu-port", Place("AMD-Vi", "AMD", True), False),
    ("ide", Place("VT-d", "AMD", True), False), ("ide", Place("none", "AMD", False), True)])
def test_which_a_bed_can_run(name, place, has):
    assert matrix.has_bed(name, place) == has


def table(*ran):
    """{device: {(IOMMU, CPU, coherency): word}} of (words of a row, column, cell), and the rest."""
    heads, body, rest = [], {}, []
    for text in matrix.lines([(row(words), column, cell) for words, column, cell in ran])[1:]:
        name, cells = text[:matrix.NAME_WIDTH], text[matrix.NAME_WIDTH:]
        parts = [cells[i:i + matrix.CELL_WIDTH].strip()
                 for i in range(0, len(cells), matrix.CELL_WIDTH)]
        if len(heads) < 3:
            heads.append(parts)
        elif text.startswith(("coh", "skip")):
            rest.append(text)
        else:
            body[name.strip()] = dict(zip(zip(*heads), parts))
    return body, rest


def test_words():
    body, rest = table(
        ("device=edu", SVM, Cell("PASS")), ("device=edu", SVM, Cell("SKIP", details=["why"])),
        ("device=edu iommu=no-snoop", SVM, Cell("PASS")),
        ("device=edu iommu=no-snoop", SVM, Cell("FAIL")),
        ("device=e1000 iommu=amd", SVM, Cell("SKIP", details=["this"])),
        ("device=e1000", VMX, Cell("SKIP", details=["that"])),
        ("device=e1000", BOCHS, Cell("SKIP", details=["this"])),
        ("device=e1000 iommu=amd", VMX, Cell("SKIP", details=["no IOMMU"])),
        ("device=nvme", CONTROL, Cell("FAIL")), ("", SVM, Cell("FAIL")))
    assert list(body) == ["edu", "e1000"]
    assert body["edu"] == {
        ("VT-d", "AMD", "coh"): "passed", ("VT-d", "AMD", "non"): "FAILED",
        ("VT-d", "Intel", "coh"): "no bed", ("VT-d", "Intel", "non"): "no bed",
        ("AMD-Vi", "AMD", "coh"): "-", ("AMD-Vi", "AMD", "non"): "-",
        ("AMD-Vi", "Intel", "coh"): "no bed", ("AMD-Vi", "Intel", "non"): "no bed",
        ("none", "AMD", "non"): "-", ("none", "Intel", "non"): "no bed"}
    assert body["e1000"]["AMD-Vi", "AMD", "coh"] == body["e1000"]["none", "AMD", "non"] == "skip 1"
    assert body["e1000"]["none", "Intel", "non"] == "skip 2"
    assert rest == [matrix.KEY, "skip 1: this", "skip 2: that"]


def test_no_devices_no_matrix():
    ran = [(row(""), SVM, Cell("PASS")), (row("device=edu"), CONTROL, Cell("PASS"))]
    assert not matrix.lines(ran)


def test_the_report_has_it(monkeypatch, capsys, tmp_path):
    (tmp_path / "guest-tests").mkdir()
    text = "device=edu-port iommu=amd"
    (tmp_path / "guest-tests/a.c").write_text(f"/* row: a end=0 {text}\n */\n")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    suite.main(["--bed", "svm"])
    said = capsys.readouterr().out.splitlines()
    table = matrix.lines([(row(text), SVM, columns.run_cell(SVM, row(text)))])
    assert table and said[2:] == [*table, "", "0 passed, 0 failed, 1 skipped"]
