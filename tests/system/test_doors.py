"""The doors lead to the same place: what a run gives does not depend on the firmware."""
# SPDX-License-Identifier: BSD-2-Clause
import re


def test_streams_by_uefi_are_those_by_multiboot(system):
    runs = [system.svm("--door", door, system.guest("cpuid")) for door in ("mb1", "uefi")]
    assert [run.status for run in runs] == [0, 0]
    assert runs[0].guest.startswith(b"KTAP")
    assert runs[0].guest == runs[1].guest
    for run, door in zip(runs, ("multiboot 1", "UEFI")):
        first = run.log_text.splitlines()[0]
        assert re.match(rf"\[ *\d+ 0\] nosnoop \d.* by {door}, on ", first)


def test_icount_repeats_to_the_digit(system):
    logs = [system.svm("--icount", system.guest("cpuid")).log_text for _ in range(2)]
    assert "first entry after" in logs[0]
    assert logs[0] == logs[1]
