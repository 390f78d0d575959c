"""Tests of what tools/soak does without a machine: seeds, shares, and the end at a failure."""
# SPDX-License-Identifier: BSD-2-Clause
import pytest

from nosnoop import soak


@pytest.mark.parametrize("operations, last", [(1, 1), (10**6, 10**6), (10**6 + 1, 1),
                                              (10**8, 10**6), (2_300_000, 300_000)])
def test_seeds_follow_one_another_and_make_all_operations(operations, last):
    runs = soak.seeds(7, operations)
    assert [seed for seed, _ in runs] == list(range(7, 7 + len(runs)))
    assert sum(count for _, count in runs) == operations
    assert all(count == soak.RUN for _, count in runs[:-1])
    assert runs[-1][1] == last


def test_runs_are_handed_out_once_in_order():
    runs = soak.Runs([(1, 10), (2, 10), (3, 5)])
    assert next(runs) == (1, 10)
    assert list(runs) == [(2, 10), (3, 5)]
    assert not list(runs)


def test_no_run_after_the_end():
    runs = soak.Runs([(1, 10), (2, 10)])
    for seed, _ in runs:
        assert seed == 1
        runs.end()


@pytest.mark.parametrize("text, value", [(None, 5), ("", 5), ("1", 1), ("100000000", 10**8)])
def test_number(monkeypatch, text, value):
    monkeypatch.delenv("SOAK_SEED", raising=False)
    if text is not None:
        monkeypatch.setenv("SOAK_SEED", text)
    assert soak.number("SOAK_SEED", 5) == value


@pytest.mark.parametrize("text", ["0", "-1", "1e6", "0x10", " "])
def test_no_number(monkeypatch, text):
    monkeypatch.setenv("SOAK_OPS", text)
    with pytest.raises(ValueError, match="SOAK_OPS="):
        soak.number("SOAK_OPS", 5)


@pytest.fixture
def beds(tmp_path, monkeypatch):
    """Two beds with three runs for both; a run's command is a shell script."""
    def command(bed, seed, operations):
        bed.log(seed).write_text("boot: fine\n", encoding="utf-8")
        return ["sh", "-c", f"exit {int(seed == 12 and operations == 10)}"]

    monkeypatch.setattr(soak.Bed, "command", command)

    def make(*runs):
        handed = soak.Runs(runs)
        return [soak.Bed(name, handed, tmp_path) for name in soak.BEDS]

    return make


def test_shares_of_the_beds(beds):
    svm, vmx = beds((1, 10), (2, 10), (3, 5))
    next(svm.runs)
    vmx.follow()
    svm.follow()
    assert soak.shares([svm, vmx]) == "0 on svm, 15 on vmx"
    assert soak.problems([svm, vmx], 15) == []


def test_a_failed_run_is_the_last(beds):
    svm, vmx = beds((11, 10), (12, 10), (13, 10))
    svm.follow()
    vmx.follow()
    assert (svm.done, vmx.done) == (10, 0)
    assert vmx.failure is None and "svm: seed 12: status 1" in svm.failure
    assert svm.log(12).exists() and not svm.log(11).exists()
    assert soak.problems([svm, vmx], 30) == [svm.failure]


def test_runs_that_are_missing_are_a_problem(beds):
    svm, vmx = beds((1, 10))
    svm.follow()
    assert soak.problems([svm, vmx], 20) == ["only 10 of 20 operations were made"]


@pytest.mark.parametrize("status, log, part", [
    (0, "boot: fine\n", None), (0, None, None), (3, "boot: fine\n", "status 3"),
    (0, "[1 0] panic: assert\n", "panic: assert"), (0, "vm a: stopped: shutdown\n", "stopped:")])
def test_problem_of_a_run(tmp_path, status, log, part):
    path = tmp_path / "log"
    if log is not None:
        path.write_text(log, encoding="utf-8")
    problem = soak.problem(status, path)
    assert problem is None if part is None else part in problem


def test_storm_ends_with_its_time():
    assert not list(soak.Timed(soak.time.monotonic() - 1))
    runs = soak.Timed(soak.time.monotonic() + 60)
    assert next(runs) == (1, 1)
    assert next(runs) == (2, 1)
    runs.end()
    assert not list(runs)


def test_storm_adds_up_what_the_guest_counts(tmp_path):
    bed = soak.Storm("svm", soak.Runs([]), tmp_path)
    for _ in range(2):
        bed.count("ok 1 xAPIC\n# IPIs 40, timers 7, MTRR writes 6, policies 1\n", 1)
    assert bed.line() == ("svm, 4 CPUs, 2 runs: 80 IPIs, 14 timers, 12 MTRR writes, 2 policies")
