"""Tests of tools/test: the rows in guests' comments, how a cell is judged, the report's end."""
# SPDX-License-Identifier: BSD-2-Clause
from pathlib import Path

import pytest

from nosnoop import beds, columns, paths, rows, suite
from nosnoop.columns import Cell, Column
from nosnoop.ktap import Ktap
from nosnoop.status import Refusal

ROOT = Path(__file__).resolve().parents[2]
BED = Column("svm", "svm")
CONTROL = Column("control", "svm", control=True, extra_time=5)


def test_row_defaults():
    row = rows.parse_row("a end=0", "a")
    assert (row.name, row.guest, row.end, row.control) == ("a", "a", 0, 0)
    assert (row.timeout, row.control_timeout) == (30, 10)
    assert BED.end(row) == CONTROL.end(row) == 0
    assert CONTROL.timeout(row) == 15


def test_row_with_everything():
    row = rows.parse_row('a.b end=126 stopped="halted for good" cmdline="x=1 y" memory=128M '
                         'set="pat=ignore" set="unmapped=stop" timeout=5 control=skip '
                         'control-reason="7 bits" control-timeout=3 plan=no cpus=4', "a")
    assert row.stopped == "halted for good" and row.cmdline == "x=1 y"
    assert row.memory == "128M" and row.sets == ["pat=ignore", "unmapped=stop"]
    assert BED.end(row) == 126 and BED.timeout(row) == 5
    assert CONTROL.end(row) is None and CONTROL.timeout(row) == 8
    assert not row.plan
    argv = columns.command(BED, row)
    assert "--cmdline" in argv and argv[argv.index("--mem") + 1] == "128M"
    assert argv[argv.index("--cpus") + 1] == "4"
    assert argv.count("--set") == 2 and argv[-1].endswith("guests/a.elf")


@pytest.mark.parametrize("words, runs", [
    ([], False), (["--long"], True), (["--filter", "a"], False), (["--filter", "a.b"], True),
    (["--filter", "b", "--long"], True), (["--filter", "c", "--long"], False)])
def test_what_takes_long_runs_if_that_is_said(words, runs):
    row = rows.parse_row("a.b end=0 long=yes", "a")
    assert suite.wanted(row, suite.parse(words)) == runs
    assert suite.wanted(rows.parse_row("a.b end=0", "a"), suite.parse([]))


def test_options_of_columns():
    assert Column("x", "vmx", "uefi").options() == ["--bed", "vmx", "--door", "uefi"]
    assert CONTROL.options() == ["--bed", "svm", "--control"]


def test_only_bochs_is_told_how_fast_it_is():
    row = rows.parse_row("a end=0 ips=20000000", "a")
    assert columns.command(Column("x", "vmx"), row)[-2:] == ["--", "cpu: ips=20000000"]
    assert "--" not in columns.command(BED, row)


def test_time_is_made_short_where_cpus_need_not_run_at_once():
    row = rows.parse_row("a end=0 waits=yes", "a")
    assert columns.command(Column("x", "svm"), row)[-3:] == ["--", "-icount", "shift=7,sleep=off"]
    assert "--" not in columns.command(Column("x", "kvm"), row)


def test_every_short_column_has_rows():
    names = {row.name for row in rows.of_tree(ROOT / "guest-tests")}
    for column in columns.COLUMNS:
        assert column.only is None or column.only and column.only <= names, column.name


def test_long_runs_all_rows_of_all_columns():
    row = rows.parse_row("a end=0", "a")
    short = [column.name for column in columns.chosen(None, False) if column.runs(row)]
    everything = [column.name for column in columns.chosen(None, True) if column.runs(row)]
    assert short == ["svm", "vmx", "control"]
    assert everything == [column.name for column in columns.COLUMNS + columns.LONG_COLUMNS]
    assert [column.name for column in columns.chosen(["vmx-snb", "host"], False)] == ["vmx-snb"]


def test_a_bed_that_does_not_exist_is_skipped(monkeypatch):
    monkeypatch.setattr(beds, "machine_facts", lambda: (False, [], None))
    cell = columns.run_cell(Column("kvm", "kvm"), rows.parse_row("a end=0", "a"))
    assert (cell.verdict, cell.details) == ("SKIP", ["/dev/kvm does not open"])


@pytest.mark.parametrize("text", [
    "a", "b end=0", "a end=zero", "a end=0 end=1", "a end=0 nonsense", "a end=0 colour=red",
    "a end=0 control=skip", 'a end=0 control-reason="why"', 'a end=0 cmdline="open', "",
    "a end=0 plan=maybe", "a end=0 device=teapot", "a end=0 device=", "a end=0 iommu=maybe",
    "a end=0 waits=yes cpus=2", "a end=0 waits=yes ips=1",
])
def test_bad_rows(text):
    with pytest.raises(Refusal, match="a: row"):
        rows.parse_row(text, "a")


def test_rows_of_a_tree(tmp_path):
    (tmp_path / "a.c").write_text("/*\n * A.\n *\n * row: a end=0\n * row: a.x end=1\n */\n"
                                  "/* row: a.no end=2 */\n")
    (tmp_path / "b.c").write_text("/* nothing */\n")
    (tmp_path / "c.rows").write_text("/*\n * row: c end=3\n */\n")
    (tmp_path / "d.h").write_text("/* row: d end=3 */\n")
    assert [row.name for row in rows.of_tree(tmp_path)] == ["a", "a.x", "c"]
    (tmp_path / "a.c").write_text("/*\n * row: a end=0\n * row: a end=1\n */\n")
    with pytest.raises(Refusal, match="same name"):
        rows.of_tree(tmp_path)


def test_failed_cases_are_shown_with_what_was_said_of_them():
    output = "# begin\nok 1 a\n# b: 3\n# b: 4\nnot ok 2 b\nok 3 c\nnot ok 4 d\n" + "more\n" * 20
    assert columns.not_ok(output) == ["not ok:", "    # b: 3", "    # b: 4", "    not ok 2 b",
                                      "    not ok 4 d"]
    assert not columns.not_ok("# b: 3\nok 1 a\n")


def test_a_row_goes_on_in_lines_that_are_set_in(tmp_path):
    (tmp_path / "a.c").write_text("/*\n * A:\n *      row of nothing\n * row: a end=0\n"
                                  " *      cmdline=\"x y\"\n *      cpus=4\n * row: a.x end=1\n"
                                  " * And so on.\n */\n")
    one, two = rows.of_file(tmp_path / "a.c")
    assert (one.name, one.end, one.cmdline, one.cpus) == ("a", 0, "x y", 4)
    assert (two.name, two.end, two.cpus) == ("a.x", 1, 1)


STOP_LOG = "[ 1 0] stopped: vm a halted for good\n"
PROBLEMS = [
    ("a end=0", 0, "1..1\nok 1 x", "", None),
    ("a end=0", 1, "1..1\nok 1 x", "", "expected 0"),
    ("a end=0", 0, "hello", "", "no KTAP plan"),
    ("a end=0 plan=no", 0, "hello", "", None),
    ("a end=7", 7, "", "", None),
    ("a end=126 stopped=halted", 126, "", STOP_LOG, None),
    ("a end=126 stopped=reset", 126, "", STOP_LOG, "reset"),
    ("a end=126 stopped=halted", 126, "", "halted\n", "halted"),
]


@pytest.mark.parametrize("text, status, output, log, expected", PROBLEMS)
def test_problems_of_a_cell(text, status, output, log, expected):
    cell = Cell("PASS", ktap=Ktap.of(output), end=status)
    found = "; ".join(columns.problems(BED, rows.parse_row(text, "a"), cell, log))
    assert expected in found if expected else not found


def cells(*outputs, ends=(0, 0, 0)):
    """Cells that printed this."""
    return {str(i): Cell("PASS", ktap=Ktap.of(text), end=end)
            for i, (text, end) in enumerate(zip(outputs, ends))}


SAME = "1..2\nok 1 a\nok 2 b"
COMPARED = [
    (cells(SAME, SAME, SAME), []),
    (cells(SAME, "1..2\nok 1 a\nok 2 b # SKIP why"), []),
    (cells(SAME, "1..2\nok 1 a\nok 2 c"), ["1"]),
    (cells(SAME, "1..2\nok 1 b\nok 2 a"), ["1"]),
    (cells(SAME, "1..1\nok 1 a", SAME), ["1"]),
    (cells("not ok 1 a", "ok 1 a", ends=(7, 7)), ["1"]),
    (cells(SAME, "1..1\nok 1 a", ends=(0, 126)), []),
]


@pytest.mark.parametrize("compared, failing", COMPARED)
def test_comparison_of_beds(compared, failing):
    columns.compare(compared)
    assert [name for name, cell in compared.items() if cell.verdict == "FAIL"] == failing


def write_suite(monkeypatch, tmp_path, end):
    """A guest-tests directory whose guest ends with END under the fake kernel."""
    (tmp_path / "guest-tests").mkdir()
    (tmp_path / "guest-tests/g.c").write_text("/* row: g end=3\n * row: g.x end=3 cmdline=y\n */\n")
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    (tmp_path / "guests").mkdir()
    script = f"L[ 1 0] exit: vm g value {end}\nL[ 1 0] end: all VMs ended\n"
    (tmp_path / "guests/g.elf").write_text(script)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "BUILD", tmp_path)
    monkeypatch.setenv("BUILD", str(tmp_path))
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "")  # which the suite sets


@pytest.mark.parametrize("end, status, last", [(3, 0, "2 passed, 0 failed, 0 skipped"),
                                               (4, 1, "0 passed, 2 failed, 0 skipped")])
def test_report(monkeypatch, capsys, tool, tmp_path, end, status, last):
    write_suite(monkeypatch, tmp_path, end)
    assert suite.main(["--bed", "svm"]) == status
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["test", "svm"]
    assert [line.split()[:2] for line in lines[1:3]] == [
        ["g", "PASS" if end == 3 else "FAIL"], ["g.x", "PASS" if end == 3 else "FAIL"]]
    assert lines[-1] == last
    assert (end == 3) == ("expected 3" not in "\n".join(lines))


def test_filter_that_finds_nothing_fails(monkeypatch, capsys, tool, tmp_path):
    write_suite(monkeypatch, tmp_path, 3)
    assert suite.main(["--bed", "svm", "--filter", "nothing"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 0 failed, 0 skipped"
